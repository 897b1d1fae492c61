"""Does a bare `azr train` learn, with several seeds, within its time?

    python benchmarks/train_embedded.py --check

Runs `azr train` for each seed in a process of its own, one after the other, and reads what each wrote to
`evaluation.json`. The in-domain bar is this project's first promise; held-out accuracy stands beside it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _harness import Bar, Report, main

MAX_MINUTES = 6.0
MIN_GAIN_POINTS = 25.0
BARS = {
    "slowest_minutes": Bar(MAX_MINUTES, at_most=True),
    "smallest_in_domain_gain_points": Bar(MIN_GAIN_POINTS),
}
QUICK = ["--max_steps", "6", "--eval_tasks", "20"]


def measure(options: argparse.Namespace) -> Report:
    """One run a seed."""
    report = Report(["seed", "minutes", "tasks", "mode", "count", "base", "after", "95 %", "gain, points", "worked"])
    minutes, gains = [], []
    seeds = options.seeds[:1] if options.quick else options.seeds
    for seed in seeds:
        folder = Path(tempfile.mkdtemp(prefix="azr-benchmark-"))
        command = ["azr", "train", "--domain", options.domain, "--seed", str(seed), "--output_dir", str(folder / "run")]
        begun = time.monotonic()
        subprocess.run(command + (QUICK if options.quick else []), check=True, stdout=subprocess.DEVNULL)
        minutes.append((time.monotonic() - begun) / 60)
        found = json.loads((folder / "run" / "evaluation.json").read_text(encoding="utf-8"))
        gains.append(_rows(report, seed, minutes[-1], found))
        shutil.rmtree(folder)
    report.figures["slowest_minutes"] = max(minutes)
    report.figures["smallest_in_domain_gain_points"] = min(gains)
    report.notes.append(
        "sampled at temperature 1; intervals by bootstrap over tasks; 'in_domain' tasks lie in the "
        "range that training draws from,"
    )
    report.notes.append("'heldout' tasks are never in the base's warm-up and never admitted to the buffer")
    return report


def _rows(
    report: Report, seed: int, minutes: float, found: dict[str, dict[str, dict[str, dict[str, dict[str, float]]]]]
) -> float:
    for name, results in found["base"].items():
        for mode, base in results["sampled"].items():
            after = found["after"][name]["sampled"][mode]
            gain = 100 * (after["accuracy"] - base["accuracy"])
            report.figures[f"seed{seed}_{name}_{mode}_gain_points"] = gain
            report.rows.append(
                [
                    seed,
                    f"{minutes:.1f}",
                    name,
                    mode,
                    int(base["tasks"]),
                    f"{base['accuracy']:.3f}",
                    f"{after['accuracy']:.3f}",
                    f"[{after['low']:.3f}, {after['high']:.3f}]",
                    f"{gain:+.1f}",
                    f"{base['worked']:.2f} -> {after['worked']:.2f}",
                ]
            )
    return report.figures[f"seed{seed}_in_domain_all_gain_points"]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds ``--domain`` and ``--seeds``."""
    parser.add_argument("--domain", default="prime_inversion")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])


if __name__ == "__main__":
    sys.exit(main(__doc__.splitlines()[0], measure, BARS, arguments))
