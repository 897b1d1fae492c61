"""Does the verifier agree with CRUXEval's 800 answer keys, and refuse mutated ones?

    python benchmarks/cruxeval_gold.py --check

Each program is asked in all three modes with its key as the answer, then with a mutated key. Twelve inputs are
expressions and no literals; what happens to each is listed. Nothing is cached.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from _harness import DATA, Bar, Report, main

from azr_env import registry, values
from azr_env.domains.python import PythonDomain
from azr_env.errors import ValueFormatError
from azr_env.executors.zygote import ZygoteExecutor
from azr_env.prompts import key
from azr_env.types import Mode, Status, Task

BARS = {
    "deduction_correct": Bar(800),
    "abduction_correct": Bar(788),
    "induction_correct": Bar(788),
    "not_literal": Bar(12, at_most=True),
    "mutated_correct": Bar(0, at_most=True),
}
QUICK = 40


def mutate(task: Task) -> str:
    """A wrong answer as near to the key as can be: the output changed in one place, or a program that changes it."""
    if task.mode is Mode.INDUCTION:
        return task.program + "\n\n_right = f\ndef f(*args):\n    return [_right(*args)]\n"
    output = values.parse(task.examples[0].output)
    return values.render(_near(output))


def _near(value: object) -> object:
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return value + " "
    if isinstance(value, list):
        return [*value, 0] if not value else [*value[:-1], _near(value[-1])]
    if isinstance(value, tuple):
        return (*value, 0)
    if isinstance(value, dict):
        return {**value, "another key": 0}
    return [value]


def measure(options: argparse.Namespace) -> Report:
    """Grades the keys, then the mutations."""
    if not options.data.is_file():
        sys.exit(f"no file {options.data}: give CRUXEval's cruxeval.jsonl with --data")
    executor = ZygoteExecutor(cache_size=0)
    domain = PythonDomain(executor)
    source = registry.source(f"cruxeval:{options.data}", domain)
    verifier = registry.verifier("relation", domain)
    report = Report(["mode", "answers", "correct", "refused", "other", "answers/s"])
    refused: dict[str, dict[str, str]] = {}
    wrong = 0
    for mode in Mode:
        tasks = source.tasks(mode)[: QUICK if options.quick else None]
        begun = time.perf_counter()
        verdicts = verifier.verify([(task, key(task)) for task in tasks])
        seconds = time.perf_counter() - begun
        correct = sum(verdict.status is Status.CORRECT for verdict in verdicts)
        left = [(t, v) for t, v in zip(tasks, verdicts, strict=True) if v.status is not Status.CORRECT]
        unread = [(t, v) for t, v in left if not _literal(t)]
        for task, verdict in unread:
            refused.setdefault(task.examples[0].input, {})[str(mode)] = f"{verdict.status}: {verdict.reason}"
        report.rows.append([str(mode), len(tasks), correct, len(unread), len(left) - len(unread), len(tasks) / seconds])
        report.figures[f"{mode}_correct"] = correct
        wrong += _mutated(verifier, tasks)
    report.figures["not_literal"] = len(refused)
    report.figures["mutated_correct"] = wrong
    report.notes.append(f"mutated keys graded correct: {wrong}")
    for text, modes in refused.items():
        report.notes.append(f"  {text}")
        report.notes += [f"    {mode}: {what}" for mode, what in modes.items()]
    report.notes.insert(
        1, f"inputs that are no literals: {len(refused)}. As an answer such a text is refused, never evaluated;"
    )
    report.notes.insert(
        2,
        "as a task's own input it cannot be run, which is our task's fault and no answer's: an error,"
        " never 'incorrect'.",
    )
    executor.close()
    return report


def _mutated(verifier: object, tasks: list[Task]) -> int:
    """How many mutated keys are graded correct. In abduction the output of the task is mutated, and the key kept."""
    answers = []
    for task in tasks:
        if not _literal(task):
            continue
        if task.mode is Mode.ABDUCTION:
            example = task.examples[0]
            other = type(example)(example.input, mutate(task))
            answers.append((Task(task.id, task.domain, task.mode, task.program, (other,)), key(task)))
        else:
            answers.append((task, mutate(task)))
    return sum(verdict.status is Status.CORRECT for verdict in verifier.verify(answers))  # type: ignore[attr-defined]


def _literal(task: Task) -> bool:
    try:
        values.parse_arguments(task.examples[0].input)
    except ValueFormatError:
        return False
    return True


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds ``--data``."""
    parser.add_argument("--data", type=Path, default=DATA / "cruxeval.jsonl", help="CRUXEval's file")


if __name__ == "__main__":
    sys.exit(main(__doc__.splitlines()[0], measure, BARS, arguments))
