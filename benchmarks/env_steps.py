"""Steps per second of the environments, single and in vectors, beside the nearest tasks of reasoning-gym and gem-llm.

    python benchmarks/env_steps.py --check

A step is one answer graded and the next prompt given, on one core. Tasks are prepared beforehand; half of the answers
are right, each step asks something that was not asked before, and the executor's cache is off. In a group of eight,
eight environments answer one task, as a GRPO group does. The neighbours run where they are installed
(``pip install -c constraints.txt reasoning-gym gem-llm``), on tasks prepared beforehand too, as far as they allow it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
from _harness import Bar, Report, main

import azr_env  # noqa: F401  (registers the ids)
from azr_env import prompts
from azr_env.domains.prime_inversion import PrimeInversionDomain
from azr_env.domains.python import PythonDomain
from azr_env.executors.zygote import ZygoteExecutor
from azr_env.protocols import Domain
from azr_env.sources.builtin import BuiltinSource
from azr_env.sources.stored import ListSource
from azr_env.types import Mode, Task

VECTOR = 256
GROUP = 8
SIZES = (1, 4, 16, 64, 256, 1024, 4096)
BARS = {
    "python deduction": Bar(15_000),
    "python abduction, groups of 8": Bar(2_500),
    **{f"prime_inversion {mode}": Bar(30_000) for mode in Mode},
    "cost of a step in 4,096 environments over that in 256": Bar(1.25, at_most=True),
}
THOUGHT = "The program is short, so I follow it step by step and write down every value on the way. " * 2


def prepared(domain: Domain, mode: Mode, count: int) -> ListSource:
    """That many tasks of the built-in generator, with ids of their own."""
    rng = np.random.default_rng(0)
    tasks = BuiltinSource("", domain).draw(mode, [rng] * count)
    return ListSource([replace(task, id=str(k)) for k, task in enumerate(tasks)])


class Answers:
    """A completion for each environment: in turn the key, and one that nobody gave before."""

    def __init__(self, domain: Domain, source: ListSource, mode: Mode) -> None:
        self.mode, self.domain = mode, domain
        self.right = {task.id: self.completion(prompts.key(task)) for task in source.tasks(mode)}
        self.fresh = itertools.count(1)

    def completion(self, answer: str) -> str:
        return prompts.completion_of(self.domain, self.mode, answer, thought=THOUGHT)

    def row(self, ids: list[str], right: int) -> list[str]:
        return [self.right[name] if k % 2 == right else self.wrong() for k, name in enumerate(ids)]

    def wrong(self) -> str:
        number = next(self.fresh)
        return self.completion(f"def f(*a): return {number}" if self.mode is Mode.INDUCTION else str(-number))


def groups(tasks: list[Task], envs: int, rng: np.random.Generator) -> list[str]:
    """Ids of random tasks, each for a group of environments."""
    return [tasks[int(k)].id for k in rng.integers(len(tasks), size=envs // GROUP) for _ in range(GROUP)]


def steps_per_s(domain: Domain, source: ListSource, mode: Mode, envs: int, steps: int, grouped: bool = False) -> float:
    """Steps of single environments per second, in a vector of ``envs``; answers are written outside of the time."""
    env = gym.make_vec(f"AZR-{mode.capitalize()}-v0", num_envs=envs, domain=domain, tasks=source)
    answers = Answers(domain, source, mode)
    rng = np.random.default_rng(1)
    _, info = env.reset(seed=0)
    spent = 0.0
    for number in range(-1, steps):
        if grouped:
            _, info = env.reset(options={"task_id": groups(source.tasks(mode), envs, rng)})
        row = answers.row(list(info["task_id"]), number % 2)
        start = time.perf_counter()
        _, rewards, _, _, info = env.step(row)
        if number >= 0:  # the first warms up
            spent += time.perf_counter() - start
        if (rewards == 1.0).sum() < envs // 2:
            raise SystemExit(f"{mode}: {(rewards == 1.0).sum()} of {envs} answers right, half of them are")
    env.close()
    return envs * steps / spent


def single(domain: Domain, source: ListSource, mode: Mode, steps: int) -> float:
    """Steps per second of one environment, reset included."""
    env = gym.make(f"AZR-{mode.capitalize()}-v0", domain=domain, tasks=source)
    answers = Answers(domain, source, mode)
    _, info = env.reset(seed=0)
    spent = 0.0
    for number in range(steps):
        (completion,) = answers.row([info["task_id"]], number % 2)
        start = time.perf_counter()
        env.step(completion)
        _, info = env.reset()
        spent += time.perf_counter() - start
    env.close()
    return steps / spent


def neighbours(steps: int) -> Iterator[tuple[str, str, float]]:
    """Name, what it does, steps per second."""
    quiet, aside = contextlib.redirect_stdout(io.StringIO()), tempfile.TemporaryDirectory()
    with contextlib.suppress(ModuleNotFoundError), quiet, aside as folder, contextlib.chdir(folder):
        import reasoning_gym  # its tasks may write files

        data = reasoning_gym.create_dataset("codeio", size=min(steps, 1000), seed=0)
        entries = [data[k] for k in range(len(data))]
        yield (
            "reasoning-gym, codeio",
            "one by one",
            timed(
                lambda k: data.score_answer(
                    entries[k % len(entries)]["answer"] if k % 2 else str(-k), entries[k % len(entries)]
                ),
                steps,
            ),
        )
    with contextlib.suppress(ModuleNotFoundError), contextlib.redirect_stdout(io.StringIO()):
        import gem

        for name in ("rg:list_functions", "game:GuessTheNumber-v0-easy"):
            vector = gem.make_vec([name] * VECTOR)
            vector.reset()
            rate = timed(lambda k, v=vector: v.step([f"\\boxed{{{-k}}}"] * VECTOR), max(1, steps // VECTOR))
            yield f"gem-llm, {name}", f"vector of {VECTOR}", rate * VECTOR


def timed(step: Callable[[int], Any], steps: int) -> float:
    """Calls per second."""
    step(0)
    start = time.perf_counter()
    for k in range(steps):
        step(k)
    return steps / (time.perf_counter() - start)


def measure(options: argparse.Namespace) -> Report:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one core for all, the sandbox included
    tasks, steps = (400, 512) if options.quick else (10_000, 10_240)
    report = Report(("environment", "how", "steps/s"))

    def row(name: str, how: str, rate: float) -> None:
        report.rows.append((name, how, rate))
        report.figures[name] = rate

    primes = PrimeInversionDomain(97 if options.quick else 997)
    for mode in Mode:
        source = prepared(primes, mode, tasks)
        row(
            f"prime_inversion {mode}", f"vector of {VECTOR}", steps_per_s(primes, source, mode, VECTOR, steps // VECTOR)
        )
    with ZygoteExecutor(workers=1, cache_size=0) as executor:
        python = PythonDomain(executor)
        source = prepared(python, Mode.DEDUCTION, tasks)
        for size in SIZES:
            rate = steps_per_s(python, source, Mode.DEDUCTION, size, max(2, steps // size))
            row("python deduction" if size == VECTOR else f"python deduction, {size}", f"vector of {size}", rate)
        row("python deduction, single", "gym.make", single(python, source, Mode.DEDUCTION, steps // 4))
        report.figures["cost of a step in 4,096 environments over that in 256"] = (
            report.figures["python deduction"] / report.figures["python deduction, 4096"]
        )
        source = prepared(python, Mode.ABDUCTION, tasks)
        few = max(2, steps // VECTOR // 4)
        rate = steps_per_s(python, source, Mode.ABDUCTION, VECTOR, few, grouped=True)
        row("python abduction, groups of 8", f"vector of {VECTOR}, 32 programs", rate)
        rate = steps_per_s(python, source, Mode.ABDUCTION, VECTOR, few)
        row("python abduction, all programs different", f"vector of {VECTOR}, 256 programs", rate)
        source = prepared(python, Mode.INDUCTION, tasks // 20)
        rate = steps_per_s(python, source, Mode.INDUCTION, VECTOR, few)
        row("python induction, all programs different", f"vector of {VECTOR}, 5 hidden inputs each", rate)
    for name, how, rate in neighbours(steps):
        row(name, how, rate)
    return report


if __name__ == "__main__":
    sys.exit(main(__doc__ or "", measure, BARS))
