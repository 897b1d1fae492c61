"""What all benchmarks share: flags, the line about the machine, the table, JSON, and bars to check against."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
"""Where data for benchmarks lies, if it is there."""


@dataclass(frozen=True)
class Bar:
    """A bound that a figure has to keep: at least or at most ``value``."""

    value: float
    at_most: bool = False

    def kept(self, figure: float) -> bool:
        """Whether ``figure`` keeps the bound; NaN never does."""
        return figure <= self.value if self.at_most else figure >= self.value

    def __str__(self) -> str:
        return f"at {'most' if self.at_most else 'least'} {self.value:g}"


@dataclass
class Report:
    """What a benchmark found.

    Attributes:
        columns: heads of the table.
        rows: the table.
        figures: numbers by name; those that have a bar are checked.
        notes: lines printed below.
    """

    columns: Sequence[str] = ()
    rows: list[Sequence[object]] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def machine() -> dict[str, str]:
    """Machine and versions that the figures belong to."""
    found = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
    }
    for name in ("azr-env", "gymnasium", "numpy", "torch", "transformers", "trl"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def main(
    description: str,
    measure: Callable[[argparse.Namespace], Report],
    bars: Mapping[str, Bar],
    arguments: Callable[[argparse.ArgumentParser], None] | None = None,
) -> int:
    """Runs a benchmark from its command line.

    Returns:
        The exit code: 1 if ``--check`` finds a figure short of its bar, or not measured.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a small version, to see that it runs")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures there")
    parser.add_argument("--check", action="store_true", help="exit 1 if a figure falls short of its bar")
    if arguments:
        arguments(parser)
    options = parser.parse_args()
    print(" · ".join(f"{key} {value}" for key, value in machine().items()))
    report = measure(options)
    _table(report.columns, report.rows)
    for note in report.notes:
        print(note)
    if options.json:
        data: dict[str, Any] = {"machine": machine(), "quick": options.quick, "figures": report.figures}
        data["table"] = [dict(zip(report.columns, row, strict=True)) for row in report.rows]
        options.json.write_text(json.dumps(data, indent=2, default=str) + "\n", encoding="utf-8")
    short = [
        f"{name} = {report.figures[name]:g}, bar: {bar}"
        for name, bar in bars.items()
        if name in report.figures and not bar.kept(report.figures[name])
    ]
    missing = [f"{name} was not measured, bar: {bar}" for name, bar in bars.items() if name not in report.figures]
    for line in short + missing if options.check else []:
        print(f"FALLS SHORT: {line}")
    return 1 if options.check and (short or missing) else 0


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    texts = [list(columns), *[[_text(cell) for cell in row] for row in rows]]
    widths = [max(len(row[k]) for row in texts) for k in range(len(columns))]
    for number, row in enumerate(texts):
        cells = [cell.ljust(widths[k]) if k == 0 else cell.rjust(widths[k]) for k, cell in enumerate(row)]
        print("  ".join(cells).rstrip())
        if number == 0:
            print("  ".join("-" * width for width in widths))


def _text(cell: object) -> str:
    if not isinstance(cell, float):
        return str(cell)
    return f"{cell:,.3g}" if abs(cell) < 1000 else f"{cell:,.0f}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


if __name__ == "__main__":
    sys.exit("this file holds what the benchmarks share; run one of them")
