"""Domains with one planted defect each, and the check of the kit that must fail it.

``caught_by`` names the check, ``says`` is a piece of the message by which it must fail. Pytest does not collect this
file by itself; `test_domains.py` runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from azr_env import values
from azr_env.domains.prime_inversion import PrimeInversionDomain
from azr_env.domains.python import PythonDomain
from azr_env.domains.python.admission import check
from azr_env.errors import ValueFormatError
from azr_env.protocols import Domain, Executor
from azr_env.testing import DomainConformance
from azr_env.types import (
    Claim,
    Draft,
    Example,
    Job,
    Limits,
    Mode,
    OutcomeStatus,
    Rejection,
    Slot,
    Status,
    Task,
    Verdict,
)


class OnPrimes(DomainConformance):
    """The kit on a spoilt prime domain."""

    domain_class: ClassVar[type[PrimeInversionDomain]]

    @pytest.fixture
    def make(self) -> Callable[[str | Executor], Domain]:
        return lambda executor: type(self).domain_class(31, executor)


class OnPython(DomainConformance):
    """The kit on a spoilt Python domain."""

    domain_class: ClassVar[type[PythonDomain]]

    @pytest.fixture
    def make(self) -> Callable[[str | Executor], Domain]:
        return lambda executor: type(self).domain_class(executor, Limits(timeout_s=2.0), induction_inputs=4)


class IgnoresItsGenerator(PrimeInversionDomain):
    """Draws from a generator of its own."""

    def generate(self, mode: Mode, rng: np.random.Generator, settings: Mapping[str, str]) -> Draft:
        return super().generate(mode, np.random.default_rng(), settings)


class TestIgnoresItsGenerator(OnPrimes):
    caught_by = "test_generate_draws_from_its_generator"
    says = "for generators of equal state"
    domain_class = IgnoresItsGenerator


class DrawsNothing(PrimeInversionDomain):
    """Gives one draft for ever."""

    def generate(self, mode: Mode, rng: np.random.Generator, settings: Mapping[str, str]) -> Draft:
        return super().generate(mode, np.random.default_rng(0), settings)


class TestDrawsNothing(OnPrimes):
    caught_by = "test_generate_draws_from_its_generator"
    says = "for 30 different generators"
    domain_class = DrawsNothing


class TouchesNumpy(PrimeInversionDomain):
    """Shuffles with numpy's global generator."""

    def admit(self, drafts: Sequence[Draft]) -> list[Task | Rejection]:
        order = np.random.permutation(len(drafts))  # noqa: NPY002
        results = dict(zip(order, super().admit([drafts[k] for k in order]), strict=True))
        return [results[k] for k in range(len(drafts))]


class TestTouchesNumpy(OnPrimes):
    caught_by = "test_global_random_state_is_left_alone"
    says = "changed the global state of `numpy.random`"
    domain_class = TouchesNumpy


class TakesAnySetting(PrimeInversionDomain):
    """Ignores settings that it does not know."""

    def generate(self, mode: Mode, rng: np.random.Generator, settings: Mapping[str, str]) -> Draft:
        return super().generate(mode, rng, {key: text for key, text in settings.items() if key == "primes"})


class TestTakesAnySetting(OnPrimes):
    caught_by = "test_unknown_settings_are_refused"
    says = "'no-such-setting'"
    domain_class = TakesAnySetting


class GeneratesNonsense(PrimeInversionDomain):
    """Draws any number for a prime."""

    def generate(self, mode: Mode, rng: np.random.Generator, settings: Mapping[str, str]) -> Draft:
        super().generate(mode, rng, settings)
        return Draft(mode, str(rng.integers(3, 32)), (str(rng.integers(1, 32)),))


class TestGeneratesNonsense(OnPrimes):
    caught_by = "test_generated_drafts_are_mostly_admitted"
    says = "generated deduction drafts were refused"
    domain_class = GeneratesNonsense


class RunsOnce(PythonDomain):
    """Runs a draft once, so that a program that varies becomes a task."""

    def admit(self, drafts: Sequence[Draft]) -> list[Task | Rejection]:
        return [self._once(draft) for draft in drafts]

    def _once(self, draft: Draft) -> Task | Rejection:
        refused = check(draft.program)
        if refused is not None:
            return refused
        try:
            calls = tuple(values.encode(values.parse_arguments(text), ordered=True) for text in draft.inputs)
            outcomes = self.executor.run([Job(draft.program, calls, self.limits)])[0]
            outputs = [values.render(values.decode(outcome.value)) for outcome in outcomes]
        except ValueFormatError as exc:
            return Rejection("input", str(exc))
        if not outcomes or any(outcome.status is not OutcomeStatus.OK for outcome in outcomes):
            return Rejection("failed")
        shown = self.induction_inputs[1] if draft.mode is Mode.INDUCTION else 0
        examples = tuple(Example(text, output) for text, output in zip(draft.inputs, outputs, strict=True))
        return Task(f"{draft.mode}-{draft.program}", self.name, draft.mode, draft.program, examples, shown)


class TestRunsOnce(OnPython):
    caught_by = "test_programs_that_vary_are_refused"
    says = "a program that varies"
    domain_class = RunsOnce


class RefusesItsSeeds(PrimeInversionDomain):
    """Starts buffers with 4, which is no prime."""

    def seeds(self, mode: Mode) -> list[Draft]:
        return [Draft(mode, "4", ("3",))]


class TestRefusesItsSeeds(OnPrimes):
    caught_by = "test_seeds_are_admitted"
    says = "was refused"
    domain_class = RefusesItsSeeds


class IdentityIgnoresInputs(PrimeInversionDomain):
    """Takes all tasks about one prime for one."""

    def identity(self, task: Task) -> str:
        return f"{task.mode} {task.program}"


class TestIdentityIgnoresInputs(OnPrimes):
    caught_by = "test_identity_tells_tasks_apart"
    says = "though their inputs differ"
    domain_class = IdentityIgnoresInputs


class IdentityHasTheId(PrimeInversionDomain):
    """Takes the id into the identity, so that nothing is ever a duplicate."""

    def identity(self, task: Task) -> str:
        return task.id


class TestIdentityHasTheId(OnPrimes):
    caught_by = "test_identity_tells_tasks_apart"
    says = "identity changes with the id"
    domain_class = IdentityHasTheId


class FactsByMode(PrimeInversionDomain):
    """Has other facts in every mode, so that held-out tasks are trained on the other way round."""

    def facts(self, task: Task) -> frozenset[str]:
        return frozenset({f"{task.mode} {task.program} {task.examples[0].input}"})


class TestFactsByMode(OnPrimes):
    caught_by = "test_facts_hold_across_modes"
    says = "share no fact"
    domain_class = FactsByMode


class LeaksTheProgram(PythonDomain):
    """Lets the program through as the message of its own induction task."""

    def admit(self, drafts: Sequence[Draft]) -> list[Task | Rejection]:
        results = super().admit(drafts)
        return [
            replace(result, message=f"It reads {result.program}") if isinstance(result, Task) else result
            for result in results
        ]


class TestLeaksTheProgram(OnPython):
    caught_by = "test_prompts_show_the_given_and_hide_the_rest"
    says = "which the solver is to find"
    domain_class = LeaksTheProgram


class AdmitsWrongOutputs(PrimeInversionDomain):
    """Works out the output with an error for large primes."""

    def admit(self, drafts: Sequence[Draft]) -> list[Task | Rejection]:
        results = super().admit(drafts)
        return [
            replace(result, examples=(replace(result.examples[0], output="1"),), id=f"{result.id}'")
            if isinstance(result, Task) and int(result.program) > 19
            else result
            for result in results
        ]


class TestAdmitsWrongOutputs(OnPrimes):
    caught_by = "test_admitted_tasks_satisfy_the_relation"
    says = "of which the relation does not hold"
    domain_class = AdmitsWrongOutputs


class RaisesOnNonsense(PrimeInversionDomain):
    """Reads every answer as a number."""

    def holds(self, claims: Sequence[Claim]) -> list[Verdict]:
        return [super(RaisesOnNonsense, self).holds([claim])[0] for claim in claims if int(claim.answer) or True]


class TestRaisesOnNonsense(OnPrimes):
    caught_by = "test_any_answer_gets_a_verdict"
    says = "holds() raised ValueError"
    domain_class = RaisesOnNonsense


class AdmitRaises(PrimeInversionDomain):
    """Takes the first input without looking whether there is one."""

    def admit(self, drafts: Sequence[Draft]) -> list[Task | Rejection]:
        return super().admit([replace(draft, inputs=(draft.inputs[0],)) for draft in drafts])


class TestAdmitRaises(OnPrimes):
    caught_by = "test_any_draft_is_admitted_or_refused"
    says = "admit() raised IndexError"
    domain_class = AdmitRaises


class ReasonsHoldTexts(PrimeInversionDomain):
    """Puts the text into the reason, so that no two refusals count as one."""

    def admit(self, drafts: Sequence[Draft]) -> list[Task | Rejection]:
        return [
            Rejection(f"bad program {draft.program!r}") if isinstance(result, Rejection) else result
            for draft, result in zip(drafts, super().admit(drafts), strict=True)
        ]


class TestReasonsHoldTexts(OnPrimes):
    caught_by = "test_any_draft_is_admitted_or_refused"
    says = "a short stable word is due"
    domain_class = ReasonsHoldTexts


class BlamesTheAnswer(PythonDomain):
    """Scores a failure of our own machinery as a wrong answer."""

    def holds(self, claims: Sequence[Claim]) -> list[Verdict]:
        found = super().holds(claims)
        return [Verdict(Status.INCORRECT) if verdict.status is Status.ERROR else verdict for verdict in found]


class TestBlamesTheAnswer(OnPython):
    caught_by = "test_a_dead_executor_blames_nobody"
    says = "say Status.ERROR"
    domain_class = BlamesTheAnswer


class BlamesTheProposer(PythonDomain):
    """Refuses a draft for a failure of our own machinery."""

    def admit(self, drafts: Sequence[Draft]) -> list[Task | Rejection]:
        found = super().admit(drafts)
        return [Rejection("crash") if isinstance(r, Rejection) and r.reason == "error" else r for r in found]


class TestBlamesTheProposer(OnPython):
    caught_by = "test_a_dead_executor_blames_nobody"
    says = "say Rejection('error', ...)"
    domain_class = BlamesTheProposer


class DependsOnHashes(PrimeInversionDomain):
    """Names tasks by a hash of their texts."""

    def admit(self, drafts: Sequence[Draft]) -> list[Task | Rejection]:
        results = super().admit(drafts)
        return [replace(r, id=f"{hash(r.id):x}") if isinstance(r, Task) else r for r in results]


class TestDependsOnHashes(OnPrimes):
    caught_by = "test_other_processes_agree"
    says = "under PYTHONHASHSEED="
    domain_class = DependsOnHashes


class RefusesRepeats(PrimeInversionDomain):
    """Refuses a draft that it has seen."""

    def __init__(self, max_prime: int, executor: str | Executor) -> None:
        super().__init__(max_prime, executor)
        self._seen: set[Draft] = set()

    def admit(self, drafts: Sequence[Draft]) -> list[Task | Rejection]:
        results: list[Task | Rejection] = []
        for draft in drafts:
            results += [Rejection("repeated")] if draft in self._seen else super().admit([draft])
            self._seen.add(draft)
        return results


class TestRefusesRepeats(OnPrimes):
    caught_by = "test_admitting_depends_on_the_draft_alone"
    says = "Rejection(reason='repeated'"
    domain_class = RefusesRepeats


class RemembersByTask(PrimeInversionDomain):
    """Keeps the verdict of a task, whatever the answer."""

    def holds(self, claims: Sequence[Claim]) -> list[Verdict]:
        known: dict[str, Verdict] = {}
        return [known.setdefault(claim.task.id, super(RemembersByTask, self).holds([claim])[0]) for claim in claims]


class TestRemembersByTask(OnPrimes):
    caught_by = "test_claims_do_not_mix"
    says = "alone"
    domain_class = RemembersByTask


class AnythingHolds(PrimeInversionDomain):
    """Looks at the task's key in place of the answer."""

    def holds(self, claims: Sequence[Claim]) -> list[Verdict]:
        return [Verdict(Status.CORRECT) for _ in claims]


class TestAnythingHolds(OnPrimes):
    caught_by = "test_right_is_right_and_wrong_is_wrong"
    says = "read the whole answer"
    domain_class = AnythingHolds


class FindsTheNumber(PrimeInversionDomain):
    """Reads an answer by its digits, wherever they stand."""

    def holds(self, claims: Sequence[Claim]) -> list[Verdict]:
        return super().holds([self._digits(claim) for claim in claims])

    def _digits(self, claim: Claim) -> Claim:
        digits = "".join(letter for letter in claim.answer if letter in "0123456789")
        example = claim.examples[0]
        swap = {claim.answer: digits}
        example = Example(swap.get(example.input, example.input), swap.get(example.output, example.output))
        return replace(claim, answer=digits, program=swap.get(claim.program, claim.program), examples=(example,))


class TestFindsTheNumber(OnPrimes):
    caught_by = "test_right_is_right_and_wrong_is_wrong"
    says = "read the whole answer"
    domain_class = FindsTheNumber


class OneId(PrimeInversionDomain):
    """Names all tasks of a mode alike."""

    def admit(self, drafts: Sequence[Draft]) -> list[Task | Rejection]:
        return [replace(r, id=f"{r.mode}-1") if isinstance(r, Task) else r for r in super().admit(drafts)]


class TestOneId(OnPrimes):
    caught_by = "test_ids_tell_tasks_apart"
    says = "have one id"
    domain_class = OneId


class OneFence(PrimeInversionDomain):
    """Fences inputs and outputs alike."""

    fences: Mapping[Slot, str] = {Slot.PROGRAM: "prime", Slot.INPUT: "number", Slot.OUTPUT: "number"}


class TestOneFence(OnPrimes):
    caught_by = "test_members_are_there"
    says = "are not distinct"
    domain_class = OneFence


class HintsInItsInstructions(PrimeInversionDomain):
    """Shows the last admitted output as an example of an answer."""

    def admit(self, drafts: Sequence[Draft]) -> list[Task | Rejection]:
        results = super().admit(drafts)
        outputs = [r.examples[0].output for r in results if isinstance(r, Task)]
        hint = f" For instance {outputs[-1]}." if outputs else ""
        self.instructions = {key: text + hint for key, text in self.instructions.items()}
        return results


class TestHintsInItsInstructions(OnPrimes):
    caught_by = "test_members_stay_as_they_are"
    says = "it must be fixed"
    domain_class = HintsInItsInstructions


class NeedsALastLine(PrimeInversionDomain):
    """Wants a line end behind each input, which no completion keeps."""

    def generate(self, mode: Mode, rng: np.random.Generator, settings: Mapping[str, str]) -> Draft:
        draft = super().generate(mode, rng, settings)
        return replace(draft, inputs=(draft.inputs[0] + "\n",))

    def seeds(self, mode: Mode) -> list[Draft]:
        return [replace(draft, inputs=(draft.inputs[0] + "\n",)) for draft in super().seeds(mode)]

    def admit(self, drafts: Sequence[Draft]) -> list[Task | Rejection]:
        ends = [all(text.endswith("\n") for text in draft.inputs) for draft in drafts]
        return [r if end else Rejection("line") for end, r in zip(ends, super().admit(drafts), strict=True)]


class TestNeedsALastLine(OnPrimes):
    caught_by = "test_proposals_come_back_as_tasks"
    says = "and read back"
    domain_class = NeedsALastLine


class Prints(PrimeInversionDomain):
    """Says what it refuses."""

    def admit(self, drafts: Sequence[Draft]) -> list[Task | Rejection]:
        results = super().admit(drafts)
        for result in results:
            if isinstance(result, Rejection):
                print("refused:", result.reason)
        return results


class TestPrints(OnPrimes):
    caught_by = "test_nothing_is_printed"
    says = "the domain printed"
    domain_class = Prints
