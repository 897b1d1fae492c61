"""What earns a reward is said by the authority, and the level below changes no verdict."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from azr_env.domains.python import PythonDomain
from azr_env.executors.scripted import ScriptedExecutor
from azr_env.executors.zygote import ZygoteChunkExecutor, ZygoteExecutor
from azr_env.protocols import Executor
from azr_env.types import Draft, Example, Job, Mode, Outcome, OutcomeStatus, Status, Task
from azr_env.verifiers.relation import RelationVerifier

ONE, TWO = Outcome(OutcomeStatus.OK, "i1;"), Outcome(OutcomeStatus.OK, "i2;")
INFRA = Outcome(OutcomeStatus.INFRA, detail="the server died twice")


class Weak:
    """Says one thing of every call, and has an authority that says another."""

    def __init__(self, says: Outcome, authority: ScriptedExecutor) -> None:
        self._double = ScriptedExecutor({}, says)
        self.jobs = self._double.jobs
        self.authority: Executor = authority
        self.level = self.fingerprint = "weak"

    def run(self, jobs: Sequence[Job]) -> list[list[Outcome]]:
        return self._double.run(jobs)

    def close(self) -> None:
        self._double.close()


def task(mode: Mode, program: str = "def f(x): return x", output: str = "1") -> Task:
    return Task("t", "python", mode, program, (Example("1", output),))


ANSWERS = {Mode.ABDUCTION: "7", Mode.INDUCTION: "def f(x): return 1"}


@pytest.mark.parametrize("mode", ANSWERS)
@pytest.mark.parametrize(("strict", "status"), [(ONE, Status.CORRECT), (TWO, Status.INCORRECT), (INFRA, Status.ERROR)])
def test_the_authority_has_the_last_word_on_what_is_right(mode: Mode, strict: Outcome, status: Status) -> None:
    authority = ScriptedExecutor({}, strict)
    weak = Weak(ONE, authority)
    assert isinstance(weak, Executor)
    (verdict,) = RelationVerifier(PythonDomain(weak)).verify([(task(mode), ANSWERS[mode])])
    assert verdict.status is status
    assert authority.jobs == weak.jobs != []


@pytest.mark.parametrize("says", [TWO, INFRA])
def test_the_authority_is_not_asked_about_what_earns_nothing(says: Outcome) -> None:
    authority = ScriptedExecutor({}, ONE)
    verdicts = RelationVerifier(PythonDomain(Weak(says, authority))).verify(
        [(task(mode), answer) for mode, answer in ANSWERS.items()] + [(task(Mode.DEDUCTION), "1")]
    )
    assert [verdict.status is Status.CORRECT for verdict in verdicts] == [False, False, True]
    assert authority.jobs == []


def test_the_authority_is_asked_once_for_a_batch() -> None:
    asked: list[int] = []

    class Counting(ScriptedExecutor):
        def run(self, jobs: Sequence[Job]) -> list[list[Outcome]]:
            asked.append(len(jobs))
            return super().run(jobs)

    pairs = [(task(Mode.ABDUCTION), str(n)) for n in range(5)] + [(task(Mode.ABDUCTION, output="9"), "1")]
    verdicts = RelationVerifier(PythonDomain(Weak(ONE, Counting({}, ONE)))).verify(pairs)
    assert [verdict.status for verdict in verdicts] == [Status.CORRECT] * 5 + [Status.INCORRECT]
    assert asked == [5]


def test_proposals_are_admitted_by_the_authority_alone() -> None:
    authority = ScriptedExecutor({}, ONE)
    weak = Weak(TWO, authority)
    (admitted,) = PythonDomain(weak).admit([Draft(Mode.DEDUCTION, "def f(x): return 1", ("5",))])
    assert isinstance(admitted, Task)
    assert admitted.examples[0].output == "1"
    assert weak.jobs == []
    assert {job.lane for job in authority.jobs} == {0, 1}


GROUPS = [
    ("def f(x): return sorted(set(x))", "[1, 2]", ["[1, 2]", "[2, 1]", "[2, 1]", "'21'", "3", "{1, 2}", "x", "(2, 1)"]),
    ("def f(x):\n while x == 3: x = x\n return x // x", "1", ["1", "2", "0", "3", "'a'", "True", "-1", ""]),
    ("seen = []\ndef f(x):\n seen.append(x)\n return len(seen)", "1", ["1", "2", "3", "4"]),
    ("n = 0\ndef f(x):\n global n\n n += x\n return n", "3", ["1", "2", "3", "3"]),
]  # fmt: skip
"""A program, an output, and a group of answers."""


def test_a_group_has_the_verdicts_of_its_answers_one_by_one_at_either_level() -> None:
    pairs = [
        (task(Mode.ABDUCTION, program, output), answer) for program, output, answers in GROUPS for answer in answers
    ]
    limits = {"timeout_s": 1.0}
    with ZygoteExecutor(workers=1, cache_size=0) as strict:
        verifier = RelationVerifier(PythonDomain(strict, limits))
        alone = [verifier.verify([pair])[0] for pair in pairs]
        assert strict.stats.shared == 0
        forks = strict.stats.forks
        assert verifier.verify(pairs) == alone
        assert strict.stats.shared > 0
        assert strict.stats.forks - forks < forks
        assert verifier.verify(pairs[::-1]) == alone[::-1]
    with ZygoteChunkExecutor(workers=1, cache_size=0, sampled=0) as chunk:
        assert RelationVerifier(PythonDomain(chunk, limits)).verify(pairs) == alone
    statuses = {verdict.status for verdict in alone}
    assert statuses >= {Status.CORRECT, Status.INCORRECT, Status.REJECTED, Status.TIMEOUT}


def test_a_group_of_eight_is_one_fork_and_a_later_equal_answer_none() -> None:
    of = task(Mode.ABDUCTION, "def f(x): return x * x", "4")
    with ZygoteExecutor(workers=1) as strict:
        verifier = RelationVerifier(PythonDomain(strict))
        verdicts = verifier.verify([(of, str(n - 2)) for n in range(8)])
        assert [n for n, verdict in enumerate(verdicts) if verdict.status is Status.CORRECT] == [0, 4]
        assert strict.stats.forks == 1
        assert verifier.verify([(of, "2")])[0].status is Status.CORRECT
        assert (strict.stats.forks, strict.stats.cache_hits) == (1, 1)
