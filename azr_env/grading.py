"""READ FIRST: how a completion becomes a reward (floor 5).

(task, completion) -> parse -> verify -> reward. Nothing here raises for what a model writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from azr_env.errors import AzrError
from azr_env.parsing import Malformed, Style, parse_answer
from azr_env.protocols import Domain, Verifier
from azr_env.rewards import solver_reward
from azr_env.types import Status, Task, Verdict


@dataclass(frozen=True, slots=True)
class Grade:
    """What became of one completion.

    Attributes:
        answer: the text read from the completion, ``""`` if malformed.
        verdict: status and reason.
        reward: in [-1, 1], or ``None`` when our machinery failed.
    """

    answer: str
    verdict: Verdict
    reward: float | None


def grade(
    domain: Domain, verifier: Verifier, attempts: Sequence[tuple[Task, str]], style: Style = Style.PAPER
) -> list[Grade]:
    """Grades of (task, completion) pairs, in order; one call of the verifier for all of them.

    Raises:
        AzrError: the verifier gave another number of verdicts than it was given answers.
    """
    answers = [parse_answer(completion, style, task.mode, domain.fences) for task, completion in attempts]
    readable = [
        (task, answer) for (task, _), answer in zip(attempts, answers, strict=True) if not isinstance(answer, Malformed)
    ]
    given = verifier.verify(readable) if readable else []
    if len(given) != len(readable):
        raise AzrError(
            f"{type(verifier).__name__} gave {len(given)} verdicts for {len(readable)} answers: one each is due"
        )
    verdicts = iter(given)
    grades = []
    for answer in answers:
        if isinstance(answer, Malformed):
            verdict, text = Verdict(Status.MALFORMED, answer.reason), ""
        else:
            verdict, text = next(verdicts), answer
        grades.append(Grade(text, verdict, solver_reward(verdict)))
    return grades
