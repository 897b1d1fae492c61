"""The verification work of one step of the paper, on real proposals: how long does the sandbox keep training waiting?

    python benchmarks/training_step.py --check

192 proposals are admitted (64 a mode, those of induction with ten inputs), each under two hash seeds; then 1,536
answers are verified: eight different ones to each of 64 tasks a mode, induction on five hidden inputs. Programs, inputs
and tasks are those that a 3B model proposed for the AZR authors; an answer is the key or what answers another task.
Those that run out of time are left out: each would cost its time limit, whatever the executor. Nothing is known
beforehand: a fresh executor, all cores, servers already up.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from typing import Any

from _harness import DATA, Bar, Report, main

from azr_env import prompts, registry, values
from azr_env.domains.python import PythonDomain
from azr_env.errors import ValueFormatError
from azr_env.types import BLANK, Draft, Limits, Mode, Rejection, Slot, Status, Task
from azr_env.verifiers.relation import RelationVerifier

BARS = {"strict seconds": Bar(1.5, at_most=True)}
LIMITS = Limits(timeout_s=10.0)
TASKS, ANSWERS, INPUTS = 64, 8, 10
PASSES = 5


def literal(text: str) -> bool:
    """Whether a real input is a list of values, as the gate wants it."""
    try:
        return bool(values.parse_arguments(text))
    except ValueFormatError:
        return False


def proposals(count: int) -> list[Draft]:
    """Real drafts: ``count`` a mode; those of which some input is an expression are left out."""
    singles = [row for row in _rows("azr_tasks_3b_coder.jsonl") if literal(row["input"])]
    many = [
        (row["snippet"], tuple(text for text in row["inputs"] if literal(text))[:INPUTS])
        for row in _rows("azr_induction_3b_coder.jsonl")
    ]
    drafts = [Draft(Mode.DEDUCTION, row["snippet"], (row["input"],)) for row in singles[:count]]
    drafts += [Draft(Mode.ABDUCTION, row["snippet"], (row["input"],)) for row in singles[count : 2 * count]]
    return (
        drafts + [Draft(Mode.INDUCTION, program, inputs) for program, inputs in many if len(inputs) == INPUTS][:count]
    )


def tasks(domain: PythonDomain, count: int) -> dict[Mode, list[Task]]:
    """Tasks to answer, admitted beforehand; other ones than those that are proposed, as far as there are enough."""
    found: dict[Mode, list[Task]] = {}
    everything = proposals(1000)
    singles = [draft for draft in everything if draft.mode is Mode.DEDUCTION]
    drafts = {
        Mode.DEDUCTION: singles[::-1],
        Mode.ABDUCTION: [Draft(Mode.ABDUCTION, d.program, d.inputs) for d in singles[::-1]],
        Mode.INDUCTION: [draft for draft in everything if draft.mode is Mode.INDUCTION][::-1],
    }
    for mode, mine in drafts.items():
        admitted = [task for task in domain.admit(mine) if isinstance(task, Task)]
        found[mode] = (admitted * 2)[:count]
    return found


def answers(by_mode: dict[Mode, list[Task]]) -> list[tuple[Task, str]]:
    """To each task its key, and keys of other tasks: some right, some wrong, some that do not fit at all."""
    batch = []
    for mode, mine in by_mode.items():
        blank = BLANK[mode]
        others = list(dict.fromkeys(prompts.slot_text(task, blank) for task in mine))
        for number, task in enumerate(mine):
            texts = dict.fromkeys(
                [prompts.key(task), *(others[(number + k) % len(others)] for k in range(1, 3 * ANSWERS))]
            )
            if blank is not Slot.PROGRAM:
                texts |= dict.fromkeys(str(k) for k in range(ANSWERS))
            batch.append([(task, text) for text in texts])
    flat = [pair for pairs in batch for pair in pairs]
    hasty = RelationVerifier(PythonDomain("zygote", Limits(timeout_s=0.5), induction_inputs=INPUTS))
    slow = {pair for pair, v in zip(flat, hasty.verify(flat), strict=True) if v.status is Status.TIMEOUT}
    return [pair for pairs in batch for pair in [pair for pair in pairs if pair not in slow][:ANSWERS]]


def step(level: str, drafts: list[Draft], batch: list[tuple[Task, str]]) -> tuple[float, float, dict[str, Any]]:
    """Seconds of admission and of verification, and what was done."""
    executor = registry.factory("executor", level)(cache_size=4096)
    domain = PythonDomain(executor, LIMITS, induction_inputs=INPUTS)
    verifier = RelationVerifier(domain)
    warm = [Draft(Mode.DEDUCTION, f"def f(x): return x + {k}", ("1",)) for k in range(32)]
    domain.admit(warm)
    before = executor.stats
    start = time.perf_counter()
    admitted = domain.admit(drafts)
    middle = time.perf_counter()
    verdicts = verifier.verify(batch)
    end = time.perf_counter()
    after = executor.stats
    done = {
        "forks": after.forks - before.forks,
        "calls": after.calls - before.calls,
        "cache hits": after.cache_hits - before.cache_hits,
        "admitted": sum(isinstance(result, Task) for result in admitted),
        "refused": dict(Counter(result.reason for result in admitted if isinstance(result, Rejection))),
        "verdicts": dict(Counter(str(verdict.status) for verdict in verdicts)),
    }
    executor.close()
    return middle - start, end - middle, done


def measure(options: argparse.Namespace) -> Report:
    report = Report(("level", "admission s", "answers s", "together s", "forks", "calls", "cache hits"))
    if not (DATA / "azr_tasks_3b_coder.jsonl").is_file():
        report.notes.append(f"skipped: the real proposals are not in {DATA}")
        return report
    count = 8 if options.quick else TASKS
    drafts = proposals(count)
    batch = answers(tasks(PythonDomain("zygote", LIMITS, induction_inputs=INPUTS), count))
    report.notes.append(f"{len(drafts)} proposals, {len(batch)} answers, all different within their task")
    for level in ("zygote", "zygote-chunk"):
        runs = [step(level, drafts, batch) for _ in range(1 if options.quick else PASSES)]
        admission, answering, done = min(runs, key=lambda run: run[0] + run[1])
        row = (level, admission, answering, admission + answering, done["forks"], done["calls"], done["cache hits"])
        report.rows.append(row)
        report.figures["strict seconds" if level == "zygote" else f"{level} seconds"] = admission + answering
        report.notes.append(
            f"{level}: {done['admitted']} admitted, refused {done['refused']}; verdicts {done['verdicts']}"
        )
    return report


def _rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    sys.exit(main((__doc__ or "").splitlines()[0], measure, BARS))
