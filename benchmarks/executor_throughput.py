"""How many programs and calls per second: the strict executor, an unsandboxed pool, a fresh interpreter each?

    python benchmarks/executor_throughput.py --check

One worker each, one after the other in one run, nothing cached; the best of several passes over the same programs.
The pool (pebble) reuses one process and protects nothing. "right" counts answer keys that were reached.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from _harness import DATA, Bar, Report, main

from azr_env import values
from azr_env.errors import ValueFormatError
from azr_env.executors.zygote import ZygoteExecutor
from azr_env.types import Job, Limits, OutcomeStatus

BARS = {"strict_programs_per_s": Bar(450), "strict_calls_per_s": Bar(3500), "strict_wrong": Bar(0, at_most=True)}
CALLS = 10
PASSES = 3
SLOW_PROGRAMS = 60
"""How many programs the fresh interpreters get; they are slow enough for that to be a measure."""

T = TypeVar("T")
Program = tuple[str, tuple[object, ...], object]
"""Source, arguments, output."""
_ALONE = "import sys, json\ng = {}\nexec(sys.stdin.read(), g)\nprint(json.dumps(repr(g['f'](*eval(sys.argv[1])))))"


def programs(path: Path) -> list[Program]:
    """CRUXEval's programs with literal inputs, or a built-in handful where its file is absent."""
    if not path.is_file():
        print(f"no file {path}: using generated programs")
        return [
            (f"def f(xs, k):\n    out = []\n    for x in xs:\n        out.append(x * k + {n})\n    return out[::-1]",
             ([1, 2, 3, n], 2), [k * 2 + n for k in (n, 3, 2, 1)])
            for n in range(200)
        ]  # fmt: skip
    found: list[Program] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        try:
            found.append((row["code"], values.parse_arguments(row["input"]), values.parse(row["output"])))
        except ValueFormatError:
            continue
    return found


def strict(work: list[Program], calls: int, passes: int) -> tuple[float, int]:
    """Seconds of the best pass, and how many programs gave their output in every call."""
    jobs = [Job(source, (values.encode(given, ordered=True),) * calls, Limits()) for source, given, _ in work]
    with ZygoteExecutor(workers=1, cache_size=0) as executor:
        executor.run(jobs[:5])
        seconds, results = _best(lambda: executor.run(jobs, fresh=True), passes)
    right = 0
    for (_, _, output), outcomes in zip(work, results, strict=True):
        ok = all(outcome.status is OutcomeStatus.OK for outcome in outcomes)
        right += ok and all(values.decode(outcome.value) == output for outcome in outcomes)
    return seconds, right


def run_in_process(source: str, arguments: str, calls: int) -> list[str]:
    """What a worker of the unsandboxed pool does."""
    names: dict[str, object] = {}
    exec(source, names)  # noqa: S102 - this is what the comparison is about
    return [repr(names["f"](*eval(arguments))) for _ in range(calls)]  # type: ignore[operator]  # noqa: S307


def pool(work: list[Program], calls: int, passes: int) -> tuple[float, int]:
    """The same with pebble's process pool, one worker."""
    from pebble import ProcessPool

    with ProcessPool(max_workers=1) as processes:

        def once() -> list[list[str]]:
            futures = [processes.schedule(run_in_process, (s, repr(given), calls), timeout=10) for s, given, _ in work]
            return [future.result() for future in futures]

        processes.schedule(run_in_process, ("f = int", "()", 1)).result()
        seconds, results = _best(once, passes)
    return seconds, sum(set(r) == {repr(output)} for r, (_, _, output) in zip(results, work, strict=True))


def fresh(work: list[Program], _calls: int, _passes: int) -> tuple[float, int]:
    """The same with a new interpreter for each program."""

    def once() -> list[str]:
        return [
            subprocess.run(
                [sys.executable, "-I", "-S", "-c", _ALONE, repr(given)],
                input=source,
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            ).stdout
            for source, given, _ in work
        ]

    seconds, results = _best(once, 1)
    return seconds, sum(r.strip() == json.dumps(repr(output)) for r, (_, _, output) in zip(results, work, strict=True))


def _best(action: Callable[[], list[T]], passes: int) -> tuple[float, list[T]]:
    best, result = float("inf"), []
    for _ in range(passes):
        begun = time.perf_counter()
        result = action()
        best = min(best, time.perf_counter() - begun)
    return best, result


def measure(options: argparse.Namespace) -> Report:
    """Runs the three, with one call and with ten inputs per program."""
    work = programs(options.data)[: 100 if options.quick else None]
    passes = 1 if options.quick else PASSES
    report = Report(["executor", "sandboxed", "programs", "right", "programs/s", f"calls/s ({CALLS} each)"])
    for name, sandboxed, run, part in (
        ("strict zygote", "yes", strict, work),
        ("pebble pool", "no", pool, work),
        ("fresh subprocess", "no", fresh, work[:SLOW_PROGRAMS]),
    ):
        seconds, right = run(part, 1, passes)
        per_call = "-"
        if run is not fresh:
            per_call = len(part) * CALLS / run(part, CALLS, passes)[0]
        report.rows.append([name, sandboxed, len(part), right, len(part) / seconds, per_call])
        if run is strict:
            report.figures["strict_programs_per_s"] = len(part) / seconds
            report.figures["strict_calls_per_s"] = float(per_call)
            report.figures["strict_wrong"] = len(part) - right
        else:
            report.figures[f"{name.split()[0]}_programs_per_s"] = len(part) / seconds
    report.notes.append("The pool and the fresh interpreter compare repr texts, so set order may count against them.")
    return report


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds ``--data``."""
    parser.add_argument("--data", type=Path, default=DATA / "cruxeval.jsonl", help="CRUXEval's file")


if __name__ == "__main__":
    sys.exit(main((__doc__ or "").splitlines()[0], measure, BARS, arguments))
