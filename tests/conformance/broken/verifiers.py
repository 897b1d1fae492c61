"""Verifiers with one planted defect each, and the check of the kit that must fail it.

``caught_by`` names the check, ``says`` is a piece of the message by which it must fail. Pytest does not collect this
file by itself; `test_verifiers.py` runs it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
import pytest

from azr_env import prompts
from azr_env.domains.prime_inversion import PrimeInversionDomain
from azr_env.protocols import Domain, Verifier
from azr_env.testing import VerifierConformance
from azr_env.types import Mode, Status, Task, Verdict
from azr_env.verifiers.relation import RelationVerifier

RIGHT, WRONG = Verdict(Status.CORRECT), Verdict(Status.INCORRECT)
Answers = Sequence[tuple[Task, str]]


class OnPrimes(VerifierConformance):
    """The kit on the cheapest domain; `verifier_class` is the verifier under test."""

    verifier_class: ClassVar[Callable[[Domain], Verifier]]

    @pytest.fixture
    def make(self) -> Callable[[Domain], Verifier]:
        return type(self).verifier_class

    @pytest.fixture
    def domain(self) -> Domain:
        return PrimeInversionDomain(31)


class OnPython(VerifierConformance):
    """The kit on the Python domain."""

    verifier_class: ClassVar[Callable[[Domain], Verifier]]

    @pytest.fixture
    def make(self) -> Callable[[Domain], Verifier]:
        return type(self).verifier_class


class SubstringCredit(RelationVerifier):
    """Finds the key somewhere in the answer."""

    def verify(self, answers: Answers) -> list[Verdict]:
        return [RIGHT if prompts.key(task) in answer else WRONG for task, answer in answers]


class TestSubstringCredit(OnPrimes):
    caught_by = "test_parts_of_the_key_earn_nothing"
    says = "was graded correct"
    verifier_class = SubstringCredit


class StoredKeyOnly(RelationVerifier):
    """Compares with the stored key, so that another preimage is wrong."""

    def verify(self, answers: Answers) -> list[Verdict]:
        return [RIGHT if prompts.key(task).strip() == answer.strip() else WRONG for task, answer in answers]


class TestStoredKeyOnly(OnPython):
    caught_by = "test_every_right_answer_counts"
    says = "though the relation holds for it"
    verifier_class = StoredKeyOnly


class BlamesTheAnswer(RelationVerifier):
    """Scores a failure of our own machinery as a wrong answer."""

    def verify(self, answers: Answers) -> list[Verdict]:
        return [WRONG if verdict.status is Status.ERROR else verdict for verdict in super().verify(answers)]


class TestBlamesTheAnswer(OnPrimes):
    caught_by = "test_our_failure_is_no_wrong_answer"
    says = "the machinery behind the domain failed"
    verifier_class = BlamesTheAnswer


class TestBlamesTheAnswerForADeadExecutor(OnPython):
    caught_by = "test_a_dead_executor_is_no_wrong_answer"
    says = "the machinery behind the domain failed"
    verifier_class = BlamesTheAnswer


class EvaluatesTheAnswer(RelationVerifier):
    """Evaluates the answer, behind a list of forbidden words."""

    def verify(self, answers: Answers) -> list[Verdict]:
        return [self._one(task, answer) for task, answer in answers]

    def _one(self, task: Task, answer: str) -> Verdict:
        if task.mode is not Mode.DEDUCTION or any(word in answer for word in ("**", "setattr", "import os", "*[")):
            return super().verify([(task, answer)])[0]
        try:
            return RIGHT if eval(answer) == eval(prompts.key(task)) else WRONG  # noqa: S307
        except Exception:  # noqa: BLE001
            return Verdict(Status.REJECTED)


class TestEvaluatesTheAnswer(OnPython):
    caught_by = "test_attacks_are_refused"
    says = "a file came into being"
    verifier_class = EvaluatesTheAnswer


class ReusesTheLastVerdict(RelationVerifier):
    """Verifies each task of a batch once."""

    def verify(self, answers: Answers) -> list[Verdict]:
        known: dict[str, Verdict] = {}
        return [
            known.setdefault(task.id, super(ReusesTheLastVerdict, self).verify([(task, answer)])[0])
            for task, answer in answers
        ]


class TestReusesTheLastVerdict(OnPrimes):
    caught_by = "test_a_batch_equals_one_by_one"
    says = "in a batch"
    verifier_class = ReusesTheLastVerdict


class PaysTheFirstOnly(RelationVerifier):
    """Pays an answer once in a batch."""

    def verify(self, answers: Answers) -> list[Verdict]:
        seen: set[tuple[str, str]] = set()
        found = []
        for (task, answer), verdict in zip(answers, super().verify(answers), strict=True):
            found.append(WRONG if (task.id, answer) in seen else verdict)
            seen.add((task.id, answer))
        return found


class TestPaysTheFirstOnly(OnPrimes):
    caught_by = "test_order_and_duplicates_do_not_matter"
    says = "shuffled, with duplicates"
    verifier_class = PaysTheFirstOnly


class RunningMean(RelationVerifier):
    """Calls correct what beats the mean of what it saw so far."""

    def __init__(self, domain: Domain) -> None:
        super().__init__(domain)
        self._seen: list[float] = []

    def verify(self, answers: Answers) -> list[Verdict]:
        found = []
        for verdict in super().verify(answers):
            self._seen.append(float(verdict.status is Status.CORRECT))
            mean = sum(self._seen) / len(self._seen)
            found.append(RIGHT if self._seen[-1] >= mean and (len(self._seen) < 99 or mean > 0.3) else WRONG)
        return found


class TestRunningMean(OnPrimes):
    caught_by = "test_asking_again_changes_nothing"
    says = "when asked again"
    verifier_class = RunningMean


class LearnsFromItsFirstBatch(RelationVerifier):
    """Refuses for ever the answer that it saw first."""

    def __init__(self, domain: Domain) -> None:
        super().__init__(domain)
        self._first: str | None = None

    def verify(self, answers: Answers) -> list[Verdict]:
        if self._first is None and answers:
            self._first = answers[0][1]
        return [
            WRONG if answer == self._first else v
            for (_, answer), v in zip(answers, super().verify(answers), strict=True)
        ]


class TestLearnsFromItsFirstBatch(OnPrimes):
    caught_by = "test_another_instance_agrees"
    says = "by a new one"
    verifier_class = LearnsFromItsFirstBatch


class HiddenExamplesOnly(RelationVerifier):
    """Asks whether all hidden examples hold, also where none is hidden: all([]) is true."""

    def verify(self, answers: Answers) -> list[Verdict]:
        nothing = [task.mode is Mode.INDUCTION and not task.examples[task.shown :] for task, _ in answers]
        return [RIGHT if free else v for free, v in zip(nothing, super().verify(answers), strict=True)]


class TestHiddenExamplesOnly(OnPrimes):
    caught_by = "test_nothing_hidden_is_still_graded"
    says = "was graded correct"
    verifier_class = HiddenExamplesOnly


class AllOfNothing(RelationVerifier):
    """Checks the examples one by one, and is content where there is none."""

    def verify(self, answers: Sequence[tuple[Task, str]]) -> list[Verdict]:
        given = iter(super().verify([pair for pair in answers if pair[0].examples]))
        return [next(given) if task.examples else Verdict(Status.CORRECT) for task, _ in answers]


class TestAllOfNothing(OnPrimes):
    caught_by = "test_nothing_to_check_is_no_success"
    says = "all of no checks passed"
    verifier_class = AllOfNothing


class TellsTheKey(RelationVerifier):
    """Helpful to a fault."""

    def verify(self, answers: Sequence[tuple[Task, str]]) -> list[Verdict]:
        return [
            verdict if verdict.status is Status.CORRECT else Verdict(verdict.status, f"expected {prompts.key(task)}")
            for (task, _), verdict in zip(answers, super().verify(answers), strict=True)
        ]


class TestTellsTheKey(OnPython):
    caught_by = "test_reasons_do_not_tell_the_key"
    says = "which holds the key"
    verifier_class = TellsTheKey


class RaisesOnSurrogates(RelationVerifier):
    """Encodes the answer, which a lone surrogate has no UTF-8 for."""

    def verify(self, answers: Answers) -> list[Verdict]:
        return super().verify([(task, answer.encode().decode()) for task, answer in answers])


class TestRaisesOnSurrogates(OnPrimes):
    caught_by = "test_any_text_gets_a_verdict"
    says = "verify() raised UnicodeEncodeError"
    verifier_class = RaisesOnSurrogates


class DropsTheUnreadable(RelationVerifier):
    """Gives no verdict for an empty answer."""

    def verify(self, answers: Answers) -> list[Verdict]:
        return super().verify([(task, answer) for task, answer in answers if answer])


class TestDropsTheUnreadable(OnPrimes):
    caught_by = "test_any_text_gets_a_verdict"
    says = "one result for each answer"
    verifier_class = DropsTheUnreadable


class GivesRewards(RelationVerifier):
    """Gives rewards in place of verdicts, and NaN for what it cannot read."""

    def verify(self, answers: Answers) -> list[Verdict]:
        return [
            {Status.CORRECT: 1.0, Status.INCORRECT: 0.0}.get(v.status, float("nan")) for v in super().verify(answers)
        ]  # type: ignore[misc]


class TestGivesRewards(OnPrimes):
    caught_by = "test_any_text_gets_a_verdict"
    says = "verify() gave nan"
    verifier_class = GivesRewards


class QuadraticWork(RelationVerifier):
    """Looks for the longest piece of the answer between equal letters, from every letter to every other."""

    def verify(self, answers: Answers) -> list[Verdict]:
        for _, answer in answers:
            for start in range(min(len(answer), 4000)):
                for end in range(start + 1, min(len(answer), 4000)):
                    if answer[start] == answer[end] == "\1":
                        return [WRONG] * len(answers)
        return super().verify(answers)


class TestQuadraticWork(OnPrimes):
    caught_by = "test_work_grows_no_faster_than_the_text"
    says = "work must grow in proportion to the text"
    verifier_class = QuadraticWork


class DependsOnHashes(RelationVerifier):
    """Lets a hash decide what is right."""

    def verify(self, answers: Answers) -> list[Verdict]:
        return [RIGHT if hash(answer) % 2 else WRONG for _, answer in answers]


class TestDependsOnHashes(OnPrimes):
    caught_by = "test_other_processes_agree"
    says = "under PYTHONHASHSEED="
    verifier_class = DependsOnHashes


class WordsInSetOrder(RelationVerifier):
    """Gives its reason in the order of a set."""

    def verify(self, answers: Answers) -> list[Verdict]:
        letters = ", ".join({"prime", "input", "output", "claim", "answer"})
        return [Verdict(verdict.status, letters) for verdict in super().verify(answers)]


class TestWordsInSetOrder(OnPrimes):
    caught_by = "test_other_processes_agree"
    says = "under PYTHONHASHSEED="
    verifier_class = WordsInSetOrder


class TouchesNumpy(RelationVerifier):
    """Draws from numpy's global generator."""

    def verify(self, answers: Answers) -> list[Verdict]:
        np.random.rand()  # noqa: NPY002
        return super().verify(answers)


class TestTouchesNumpy(OnPrimes):
    caught_by = "test_global_random_state_is_left_alone"
    says = "changed the global state of `numpy.random`"
    verifier_class = TouchesNumpy


class ReadsNumbersLoosely(RelationVerifier):
    """Reads numbers with `int`, which takes signs, underscores, leading zeros and digits of other scripts."""

    def verify(self, answers: Answers) -> list[Verdict]:
        found = []
        for task, answer in answers:
            try:
                found += super().verify([(task, str(int(answer)))])
            except ValueError:
                found.append(Verdict(Status.REJECTED, "no number"))
        return found


class TestReadsNumbersLoosely(OnPrimes):
    caught_by = "test_a_changed_key_is_judged_anew"
    says = "was graded correct"
    verifier_class = ReadsNumbersLoosely


class ErrorForNonsense(RelationVerifier):
    """Says `error` for what it cannot read, so that a model can call off any episode."""

    def verify(self, answers: Answers) -> list[Verdict]:
        rejected = [verdict.status is Status.REJECTED for verdict in super().verify(answers)]
        return [Verdict(Status.ERROR) if bad else v for bad, v in zip(rejected, super().verify(answers), strict=True)]


class TestErrorForNonsense(OnPrimes):
    caught_by = "test_attacks_are_refused"
    says = "though nothing of ours failed"
    verifier_class = ErrorForNonsense


class SortsTheBatch(RelationVerifier):
    """Sorts the list that it is given."""

    def verify(self, answers: Answers) -> list[Verdict]:
        place = {id(pair): k for k, pair in enumerate(answers)}
        answers.sort(key=lambda pair: pair[0].mode)  # type: ignore[attr-defined]
        found = {place[id(pair)]: v for pair, v in zip(answers, super().verify(answers), strict=True)}
        return [found[k] for k in range(len(answers))]


class TestSortsTheBatch(OnPrimes):
    caught_by = "test_answers_are_left_as_they_are"
    says = "changed the list"
    verifier_class = SortsTheBatch


class NeedsOne(RelationVerifier):
    """Fails for an empty batch."""

    def verify(self, answers: Answers) -> list[Verdict]:
        max(len(answer) for _, answer in answers)
        return super().verify(answers)


class TestNeedsOne(OnPrimes):
    caught_by = "test_an_empty_batch_gives_nothing"
    says = "max()"
    verifier_class = NeedsOne


class Prints(RelationVerifier):
    """Says what it thinks on the way."""

    def verify(self, answers: Answers) -> list[Verdict]:
        found = super().verify(answers)
        print(f"{len(found)} answers verified")
        return found


class TestPrints(OnPrimes):
    caught_by = "test_nothing_is_printed"
    says = "verify() printed"
    verifier_class = Prints


class RefusesKeysOfOneDigit(RelationVerifier):
    """Wants two digits."""

    def verify(self, answers: Answers) -> list[Verdict]:
        pairs = zip(answers, super().verify(answers), strict=True)
        return [v if re.fullmatch(r"\s*[0-9]{2,}\s*", answer) else WRONG for (_, answer), v in pairs]


class TestRefusesKeysOfOneDigit(OnPrimes):
    caught_by = "test_a_right_answer_is_correct"
    says = "the right answer"
    verifier_class = RefusesKeysOfOneDigit
