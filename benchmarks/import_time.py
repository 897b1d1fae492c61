"""What does `import azr_env` cost on top of `import gymnasium`?

    python benchmarks/import_time.py --check

Fresh interpreters, the two in turn; the first pair only warms the disk.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

from _harness import Bar, Report, main

MAX_ADDED_SECONDS = 0.2
BARS = {"added_seconds": Bar(MAX_ADDED_SECONDS, at_most=True), "heavy_modules": Bar(0, at_most=True)}
HEAVY = ("torch", "transformers", "trl", "datasets", "rich", "azr_agents")
_TIMED = "import time; t = time.perf_counter(); {imports}; print(time.perf_counter() - t)"
_LOADED = f"import sys, azr_env; print(sum(name in sys.modules for name in {HEAVY!r}))"


def measure(options: argparse.Namespace) -> Report:
    """Median seconds of each, and of the difference pair by pair."""
    pairs = 3 if options.quick else 15
    found = [(_run("import gymnasium"), _run("import gymnasium, azr_env")) for _ in range(pairs + 1)][1:]
    alone, both = ([pair[k] for pair in found] for k in range(2))
    added = [b - a for a, b in found]
    report = Report(["import", "median s", "min s", "max s"])
    for name, seconds in (("gymnasium", alone), ("gymnasium, azr_env", both), ("difference", added)):
        report.rows.append([name, statistics.median(seconds), min(seconds), max(seconds)])
    report.figures["added_seconds"] = statistics.median(added)
    report.figures["heavy_modules"] = int(_python(_LOADED))
    report.notes.append(f"of {', '.join(HEAVY)}, azr_env loads {report.figures['heavy_modules']:.0f}")
    return report


def _run(imports: str) -> float:
    return float(_python(_TIMED.format(imports=imports)))


def _python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    sys.exit(main(__doc__.splitlines()[0], measure, BARS))
