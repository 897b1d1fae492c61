"""``azr report``: run directories as one HTML page that opens without a network."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from azr_agents import report_data
from azr_env.errors import SettingError

ROLLOUTS = 2_000
"""Rollouts on a page, over all of its runs, where ``--rollouts`` says nothing."""
_EPILOG = """\
examples:
  azr report runs/python-20250503-120000
  azr report runs/a runs/b --output both.html     several runs overlaid
  azr report runs/a --png figures                 the main figures as pictures as well

The controls of a run (RUN/controls/*) are taken in. Of a run that is under way or lacks files, the report says so.
docs/report.md says what the page shows."""


def run(args: Sequence[str]) -> int:
    """Writes the report that the arguments ask for. Returns the exit code.

    Raises:
        SettingError: no run there, or a file that cannot be written.
    """
    options = _parser().parse_args(args)
    if options.rollouts < 0:
        raise SettingError(f"--rollouts {options.rollouts}; it is a whole number from 0 up")
    out = options.output or Path(options.runs[0]) / "report.html"
    if out.is_dir():
        raise SettingError(f"--output {out} is a folder: give the file that the page goes to")
    runs = report(options.runs, out, options.rollouts, options.png)
    for one in runs:
        for notice in one.notices:
            sys.stderr.write(f"{one.name}: {notice}\n")
    sys.stdout.write(f"{out}: {len(runs)} run(s)" + (f"; figures in {options.png}" if options.png else "") + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="azr report",
        description="Draws run directories as one HTML page that opens without a network.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("runs", metavar="RUN", nargs="+", help="a run directory")
    add("--output", type=Path, metavar="FILE", help="default: report.html in the first RUN")
    add("--png", type=Path, metavar="DIR", help="write the main figures there as well, as PNG")
    add("--rollouts", type=int, default=ROLLOUTS, metavar="N", help=f"most rollouts on the page (default: {ROLLOUTS})")
    return parser


def report(
    paths: Sequence[str | Path], output: Path, rollouts: int = ROLLOUTS, png: Path | None = None
) -> list[report_data.RunReport]:
    """Reads the runs, writes the page, and on demand the figures.

    Args:
        paths: run directories; their controls are found.
        output: the file of the page, written whole or not at all.
        rollouts: most rollouts on the page, over all runs.
        png: folder for the figures; ``None`` for none.

    Returns:
        What was read.

    Raises:
        SettingError: no run there, or a file that cannot be written.
    """
    from azr_agents import report_page  # it needs the extra `report`, and `--help` does not

    found = report_data.directories(paths)
    runs = [report_data.read(name, path, rollouts // len(found)) for name, path in found.items()]
    text = report_page.page(runs)
    part = output.with_name(output.name + ".part")
    try:
        part.write_bytes(text.encode("utf-8"))
        part.replace(output)
        if png is not None:
            from azr_agents import report_figures

            report_figures.draw(png, runs)
    except OSError as exc:
        raise SettingError(f"{exc.filename or output} cannot be written: {exc.strerror}. Give another path.") from None
    return runs
