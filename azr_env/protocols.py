"""The whole plug-in surface on one page (floor 1).

Everything here is structural: a class that has the members is a plug-in, nothing is to be inherited. Name
it in an entry point (see :mod:`azr_env.registry`) or pass the object itself. Rules for all of them: text from a
model never raises, the same question gets the same answer in any order and any batch, and no global
random state is touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from azr_env.types import Claim, Draft, Job, Mode, Outcome, Rejection, Slot, Task, Verdict


@runtime_checkable
class Executor(Protocol):
    """Runs programs somewhere that they cannot hurt. Expected values never enter it."""

    @property
    def level(self) -> str:
        """Name of the isolation that is active; written into every outcome."""
        ...

    @property
    def fingerprint(self) -> str:
        """Interpreter and level: two executors with one fingerprint give the same outcomes."""
        ...

    @property
    def authority(self) -> Executor:
        """The executor whose word settles what earns a reward. A strict executor is its own."""
        ...

    def run(self, jobs: Sequence[Job]) -> list[list[Outcome]]:
        """One list of outcomes per job, one outcome per call, in order. Never raises for what a program does.

        Raises:
            ExecutorClosedError: after :meth:`close`.
        """
        ...

    def close(self) -> None:
        """Ends every process. Idempotent."""
        ...


@runtime_checkable
class Domain(Protocol):
    """A relation R(program, input, output) over texts, with what is needed to talk about it."""

    @property
    def name(self) -> str: ...

    @property
    def fences(self) -> Mapping[Slot, str]:
        """Info string of the fenced block that holds each slot, for example ``python``."""
        ...

    @property
    def instructions(self) -> Mapping[str, str]:
        """Paper-style prompt texts by key: the three modes for the solver, ``propose-<mode>`` for the proposer."""
        ...

    @property
    def induction_inputs(self) -> tuple[int, int]:
        """How many inputs an induction task has, and how many of them the solver sees."""
        ...

    def holds(self, claims: Sequence[Claim]) -> list[Verdict]:
        """For each claim: does R hold for every example? Total, and one batch is one executor call."""
        ...

    def admit(self, drafts: Sequence[Draft]) -> list[Task | Rejection]:
        """Checks drafts and works out their outputs. Every example of a returned task satisfies R."""
        ...

    def generate(self, mode: Mode, rng: np.random.Generator, settings: Mapping[str, str]) -> Draft:
        """A random draft for the built-in task source. Draws only from ``rng``.

        Raises:
            SettingError: unknown or impossible settings, naming those that exist.
        """
        ...

    def seeds(self, mode: Mode) -> list[Draft]:
        """Drafts that start an empty buffer (the paper's identity task)."""
        ...

    def identity(self, task: Task) -> str:
        """Equal for tasks that are the same task but for layout and names: the key of de-duplication."""
        ...

    def facts(self, task: Task) -> frozenset[str]:
        """What solving the task would reveal, as keys: tasks that share a fact never stand on both sides of a
        split between training and held-out."""
        ...


@runtime_checkable
class Verifier(Protocol):
    """Decides whether answers are right."""

    def verify(self, answers: Sequence[tuple[Task, str]]) -> list[Verdict]:
        """One verdict per (task, answer for the blank slot), in order."""
        ...


@runtime_checkable
class TaskSource(Protocol):
    """Where tasks come from."""

    def draw(self, mode: Mode, rngs: Sequence[np.random.Generator]) -> list[Task]:
        """One task of the mode per generator, drawn with that generator alone and in order.

        So a batch draws what its members would have drawn one by one, and ``[rng] * n`` gives ``n`` tasks.

        Raises:
            SettingError: the source has no task of the mode.
        """
        ...

    def get(self, task_id: str) -> Task:
        """The task of that id.

        Raises:
            UnknownNameError: no such id.
        """
        ...


@runtime_checkable
class Policy(Protocol):
    """Something that completes prompts: a language model, a server, or a scripted double."""

    def complete(self, prompts: Sequence[str], max_new_tokens: int, seeds: Sequence[int]) -> list[str]:
        """One completion per prompt; there is one seed per prompt, and equal calls give equal texts.

        A policy that samples a whole batch from one stream may use the first seed for all.
        """
        ...
