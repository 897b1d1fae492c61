"""The default verifier: fill the blank slot, ask the domain whether R holds (floor 3)."""

from __future__ import annotations

from collections.abc import Sequence

from azr_env.prompts import graded
from azr_env.protocols import Domain
from azr_env.types import BLANK, Claim, Example, Slot, Task, Verdict


class RelationVerifier:
    """Serves every domain and all three modes: an answer is right when R holds for every graded example.

    Args:
        domain: decides R.
    """

    def __init__(self, domain: Domain) -> None:
        self._domain = domain

    def verify(self, answers: Sequence[tuple[Task, str]]) -> list[Verdict]:
        """One verdict per (task, answer), in order, by one call of the domain."""
        return self._domain.holds([claim(task, answer) for task, answer in answers])


def claim(task: Task, answer: str) -> Claim:
    """The relation with ``answer`` in the blank slot of ``task``."""
    blank = BLANK[task.mode]
    program = answer if blank is Slot.PROGRAM else task.program
    examples = tuple(
        Example(
            input=answer if blank is Slot.INPUT else example.input,
            output=answer if blank is Slot.OUTPUT else example.output,
        )
        for example in graded(task)
    )
    return Claim(task, answer, program, examples)
