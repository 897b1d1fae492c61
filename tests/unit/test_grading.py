"""(task, completion) -> parse -> verify -> reward: order, batches, and what reaches the verifier."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from azr_env import prompts
from azr_env.domains.prime_inversion import PrimeInversionDomain
from azr_env.domains.python import PythonDomain
from azr_env.errors import AzrError
from azr_env.executors.scripted import ScriptedExecutor
from azr_env.grading import Grade, grade
from azr_env.parsing import Style
from azr_env.types import Example, Mode, Status, Task, Verdict
from azr_env.verifiers.relation import RelationVerifier, claim


class Recording:
    """A verifier of the public surface that keeps what it is asked."""

    def __init__(self, inner: RelationVerifier) -> None:
        self.inner = inner
        self.calls: list[list[tuple[Task, str]]] = []

    def verify(self, answers: Sequence[tuple[Task, str]]) -> list[Verdict]:
        self.calls.append(list(answers))
        return self.inner.verify(answers)


@pytest.fixture
def recording(prime_domain: PrimeInversionDomain) -> Recording:
    return Recording(RelationVerifier(prime_domain))


def test_grades_stand_in_order_and_the_verifier_is_called_once(
    prime_domain: PrimeInversionDomain, recording: Recording
) -> None:
    tasks = {mode: prime_domain.task(mode, 7, 3) for mode in Mode}
    attempts = [
        (tasks[Mode.DEDUCTION], "5"),
        (tasks[Mode.DEDUCTION], ""),
        (tasks[Mode.ABDUCTION], "3"),
        (tasks[Mode.INDUCTION], "11"),
        (tasks[Mode.INDUCTION], "<think>"),
        (tasks[Mode.INDUCTION], "seven"),
        (tasks[Mode.INDUCTION], "7"),
    ]
    grades = grade(prime_domain, recording, attempts, Style.COMPACT)
    assert [(item.answer, str(item.verdict.status), item.reward) for item in grades] == [
        ("5", "correct", 1.0),
        ("", "malformed", -1.0),
        ("3", "correct", 1.0),
        ("11", "incorrect", -0.5),
        ("", "malformed", -1.0),
        ("seven", "rejected", -0.5),
        ("7", "correct", 1.0),
    ]
    assert [[text for _, text in call] for call in recording.calls] == [["5", "3", "11", "seven", "7"]]


def test_nothing_to_verify_calls_nobody(prime_domain: PrimeInversionDomain, recording: Recording) -> None:
    assert grade(prime_domain, recording, []) == []
    assert (
        grade(prime_domain, recording, [(prime_domain.task(Mode.DEDUCTION, 7, 3), "5")])[0].verdict.status
        is Status.MALFORMED
    )
    assert recording.calls == []


def test_a_malformed_completion_has_a_reason_and_no_answer(
    prime_domain: PrimeInversionDomain, recording: Recording
) -> None:
    task = prime_domain.task(Mode.INDUCTION, 7, 3)
    (item,) = grade(prime_domain, recording, [(task, "<think></think><answer>7</answer>")])
    assert item == Grade("", Verdict(Status.MALFORMED, "no ```prime block in the answer"), -1.0)


def test_our_own_failure_has_no_reward(broken_executor: ScriptedExecutor) -> None:
    domain = PythonDomain(broken_executor)
    task = Task("t", "python", Mode.ABDUCTION, "def f(x): return x", (Example("1", "1"),))
    completion = prompts.completion_of(domain, Mode.ABDUCTION, "1")
    (item,) = grade(domain, RelationVerifier(domain), [(task, completion)])
    assert item == Grade("1", Verdict(Status.ERROR, "infra: the server died twice"), None)


@pytest.mark.parametrize("mode", Mode)
def test_a_claim_fills_the_blank_slot_and_no_other(mode: Mode) -> None:
    examples = tuple(Example(f"i{k}", f"o{k}") for k in range(3 if mode is Mode.INDUCTION else 1))
    task = Task("t", "python", mode, "p", examples, 1 if mode is Mode.INDUCTION else 0)
    filled = claim(task, "ANSWER")
    assert filled.task is task
    assert {
        Mode.DEDUCTION: ("p", (Example("i0", "ANSWER"),)),
        Mode.ABDUCTION: ("p", (Example("ANSWER", "o0"),)),
        Mode.INDUCTION: ("ANSWER", (Example("i1", "o1"), Example("i2", "o2"))),
    }[mode] == (filled.program, filled.examples)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_verifier_that_miscounts_is_told_so(prime_domain: PrimeInversionDomain, count: int) -> None:
    """Too few would have ended a caller's iteration without a word; too many would have shifted the next batch."""

    class Miscounting:
        def verify(self, answers: Sequence[tuple[Task, str]]) -> list[Verdict]:
            return [Verdict(Status.CORRECT)] * count

    attempts = [(prime_domain.task(Mode.DEDUCTION, 7, 3), "5")] * 2
    with pytest.raises(AzrError, match=f"Miscounting gave {count} verdicts for 2 answers"):
        grade(prime_domain, Miscounting(), attempts, Style.COMPACT)
