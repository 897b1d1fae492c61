"""Do all levels give the answer keys of CRUXEval and of the AZR authors' tasks, and if not, why not?

    python benchmarks/executor_agreement.py --check

Every level that is installed runs every program, one worker each, nothing cached. "differ from strict" counts calls
that end otherwise than at the strict level, refusals apart. Inputs that are expressions (12 of CRUXEval's 800) are
made part of their program; keys that are expressions are run as programs of their own, at the strict level. Below the
table stands each disagreement's cause, with its number and the first cases, by line of the file. The programs of these
files are known; do not give others to the level subprocess.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from _harness import DATA, Bar, Report, main

from azr_env import values
from azr_env.errors import ExecutorUnavailableError, ValueFormatError
from azr_env.executors.cluster import RayExecutor
from azr_env.executors.interpreter import SubprocessExecutor
from azr_env.executors.monty import MontyExecutor
from azr_env.executors.zygote import ZygoteChunkExecutor, ZygoteExecutor
from azr_env.protocols import Executor
from azr_env.types import Job, Limits, Outcome, OutcomeStatus

BARS = {
    "zygote_cruxeval_keys": Bar(800),
    "zygote-chunk_cruxeval_keys": Bar(800),
    "subprocess_cruxeval_keys": Bar(800),
    "cpython_levels_differ": Bar(0, at_most=True),
    "unexplained": Bar(0, at_most=True),
}
LEVELS: dict[str, Callable[[], Executor]] = {
    "zygote": lambda: ZygoteExecutor(workers=1, cache_size=0),
    "zygote-chunk": lambda: ZygoteChunkExecutor(workers=1, cache_size=0),
    "subprocess": lambda: SubprocessExecutor(workers=1),
    "ray": lambda: RayExecutor(actors=1),
    "monty": lambda: MontyExecutor(workers=1, sampled=0),
}
LIMITS = Limits(timeout_s=10.0)
QUICK = 40
SHOWN = 3
CUT = 400
"""Characters at which the AZR authors' files cut a key."""
WITH_INPUT = "\n\n_f = f\ndef f(*a, **k): return _f(*a, **k) if a or k else _f({})\n"
"""Behind a program whose input is an expression, in which ``f`` may be named."""
UNEXPLAINED = "unexplained"
KNOWN = {("cruxeval", "622"): "the codec shift_jis is absent, and the program catches that"}
"""Causes that no rule here finds, by file and line."""


@dataclass(frozen=True)
class Key:
    """One call whose output is on file.

    Attributes:
        name: file and line.
        job: index of the job.
        call: index of its call.
        text: the output as the file has it.
    """

    name: str
    job: int
    call: int
    text: str


def read(path: Path, rows: int | None) -> tuple[list[Job], list[Key]]:
    """The jobs of a file, one per program but for inputs that are expressions, and its keys."""
    jobs: list[Job] = []
    keys: list[Key] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()[:rows], 1):
        row = json.loads(line)
        program = row["code"] if "code" in row else row["snippet"]
        inputs, outputs = row.get("inputs", [row.get("input")]), row.get("outputs", [row.get("output")])
        together: list[str] = []
        at = len(jobs)
        jobs.append(Job(program, (), LIMITS))
        for place, (given, output) in enumerate(zip(inputs, outputs, strict=True)):
            name = f"{number}" if len(inputs) == 1 else f"{number}.{place}"
            try:
                call = values.encode(values.parse_arguments(given), ordered=True)
            except ValueFormatError:
                keys.append(Key(name, len(jobs), 0, output))
                jobs.append(Job(program + WITH_INPUT.format(given), ("()",), LIMITS))
            else:
                keys.append(Key(name, at, len(together), output))
                together.append(call)
        jobs[at] = replace(jobs[at], calls=tuple(together))
    return jobs, keys


class Reference:
    """What the strict level says: of the jobs, again under another hash seed, and of keys that are expressions."""

    def __init__(self, strict: ZygoteExecutor, jobs: list[Job], keys: list[Key]) -> None:
        self.outcomes = strict.run(jobs)
        self.elsewhere = strict.run([replace(job, lane=1) for job in jobs])
        unread = [key.text for key in keys if parsed(key.text) is None]
        evaluated = strict.run(
            [Job(f"from collections import *\ndef f(): return {text}\n", ("()",)) for text in unread]
        )
        self.evaluated = {text: outcomes[0] for text, outcomes in zip(unread, evaluated, strict=True)}

    def key(self, text: str) -> str:
        """Canonical text of a key, or the empty text."""
        return parsed(text) or self.evaluated[text].value

    def depends_on_seed(self, key: Key) -> bool:
        """Whether two hash seeds give two results."""
        return self.outcomes[key.job][key.call].value != self.elsewhere[key.job][key.call].value


def parsed(text: str) -> str | None:
    """Canonical text of a literal."""
    try:
        return values.encode(values.parse(text))
    except ValueFormatError:
        return None


def why_not_key(key: Key, outcome: Outcome, reference: Reference) -> str:
    """The cause of a result that is not the key's."""
    due = reference.key(key.text)
    if not key.text.strip():
        return "the key is empty"
    if outcome.status is not OutcomeStatus.OK:
        return ending(outcome)
    if not due:
        return "the key is cut" if len(key.text) >= CUT else "the key is no plain value"
    strict = reference.outcomes[key.job][key.call]
    if reference.depends_on_seed(key):
        return "the order of a set, which depends on the hash seed"
    cause = why_not_equal(outcome.value, due)
    if cause == UNEXPLAINED and strict == replace(outcome, level=strict.level):
        return "CPython returns another value than the key"
    return cause


def why_not_strict(key: Key, outcome: Outcome, reference: Reference) -> str:
    """The cause of an ending that is not the strict level's."""
    strict = reference.outcomes[key.job][key.call]
    if outcome.status is OutcomeStatus.UNSUPPORTED:
        return f"refused: {outcome.detail.partition(': ')[0]}"
    if {outcome.status, strict.status} != {OutcomeStatus.OK}:
        return f"{ending(outcome)} here, {ending(strict)} at the strict level"
    if reference.depends_on_seed(key):
        return "the order of a set, which depends on the hash seed"
    return why_not_equal(outcome.value, strict.value)


def why_not_equal(given: str, due: str) -> str:
    """How two canonical texts differ."""
    one, other = values.decode(given), values.decode(due)
    if values.equal(one, other, "python"):
        return "equal as Python compares, but of another type"
    if near(one, other):
        return "the last digits of a float"
    if sorted(given) == sorted(due):
        return "the same members in another order"
    return UNEXPLAINED


def near(one: object, other: object) -> bool:
    """Whether two values differ in the last digits of floats only."""
    if isinstance(one, list | tuple) and type(one) is type(other):
        return len(one) == len(other) and all(map(near, one, other))  # type: ignore[arg-type]
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(near(one[name], other[name]) for name in one)
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9)
    return one == other


def ending(outcome: Outcome) -> str:
    """What became of a call, in a few words."""
    if outcome.status is OutcomeStatus.OK:
        return "ok"
    return f"{outcome.status} ({outcome.detail.partition(': ')[0]})"


def listed(cases: Iterable[tuple[str, str]], title: str) -> Iterator[str]:
    """Lines for causes: how many, and the first cases."""
    causes: dict[str, list[str]] = {}
    for cause, name in cases:
        causes.setdefault(cause, []).append(name)
    if causes:
        yield title
    for cause, names in sorted(causes.items(), key=lambda item: -len(item[1])):
        yield f"  {len(names):4} {cause} ({', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''})"


def installed(stack: ExitStack, report: Report) -> dict[str, Executor]:
    """A warm executor of every level that is there."""
    found: dict[str, Executor] = {}
    for level, make in LEVELS.items():
        try:
            found[level] = stack.enter_context(make())  # type: ignore[arg-type]
            found[level].run([Job("def f(): return 1", ("()",))])
        except ExecutorUnavailableError as exc:
            found.pop(level, None)
            report.notes.append(f"not here: {level} ({str(exc)[:90]}...)")
    return found


def measure(options: argparse.Namespace) -> Report:
    """Runs all files on all levels."""
    report = Report(["file", "level", "keys", "reached", "refused", "differ from strict", "programs/s"])
    paths = [path for path in options.data if path.is_file()]
    if not paths:
        sys.exit("no data: give files like cruxeval.jsonl with --data")
    differ = 0
    with ExitStack() as stack:
        levels = installed(stack, report)
        for path in paths:
            jobs, keys = read(path, QUICK if options.quick else None)
            strict = levels.get("zygote")
            if not isinstance(strict, ZygoteExecutor):
                sys.exit("the strict level does not start here, so there is nothing to compare with")
            reference = Reference(strict, jobs, keys)
            for level, executor in levels.items():
                begun = time.perf_counter()
                results = executor.run(jobs)
                seconds = time.perf_counter() - begun
                told = _tell(report, path.stem, level, keys, results, reference)
                report.rows.append([path.stem, level, len(keys), *told, sum(bool(j.calls) for j in jobs) / seconds])
                report.figures[f"{level}_{path.stem}_keys"] = told[0]
                report.figures[f"{level}_{path.stem}_programs_per_s"] = report.rows[-1][-1]  # type: ignore[assignment]
                differ += 0 if level == "monty" else told[2]
    unexplained = sum(int(line.split()[0]) for line in report.notes if f" {UNEXPLAINED} (" in line)
    report.figures |= {"cpython_levels_differ": differ, "unexplained": unexplained}
    return report


def _tell(
    report: Report, file: str, level: str, keys: list[Key], results: list[list[Outcome]], reference: Reference
) -> tuple[int, int, int]:
    """Adds the causes of a file on a level. Gives how many keys were reached, refused, and differ from strict."""
    off_key: list[tuple[str, str]] = []
    off_strict: list[tuple[str, str]] = []
    refused = 0
    for key in keys:
        outcome, strict = results[key.job][key.call], reference.outcomes[key.job][key.call]
        if outcome.status is not OutcomeStatus.OK or outcome.value != reference.key(key.text):
            off_key.append((why_not_key(key, outcome, reference), key.name))
        if (outcome.status, outcome.value) != (strict.status, strict.value):
            cause = why_not_strict(key, outcome, reference)
            cause = KNOWN.get((file, key.name), cause) if cause == UNEXPLAINED else cause
            off_strict.append((cause, key.name))
            refused += outcome.status is OutcomeStatus.UNSUPPORTED
    if level == "zygote":
        report.notes += listed(off_key, f"{file}: keys that CPython does not reach, at the strict level")
    report.notes += listed(off_strict, f"{file}: {level} and the strict level end otherwise")
    return len(keys) - len(off_key), refused, len(off_strict) - refused


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds ``--data``."""
    files: list[Any] = [DATA / "cruxeval.jsonl", *sorted(DATA.glob("azr_*.jsonl"))]
    parser.add_argument("--data", type=Path, nargs="+", default=files, help="files of programs with keys")


if __name__ == "__main__":
    sys.exit(main((__doc__ or "").splitlines()[0], measure, BARS, arguments))
