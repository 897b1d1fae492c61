"""What every verifier must do (floor 7): subclass, fill in a fixture, run pytest."""

# ruff: noqa: PT018 - these assertions are the product, and each has a message of its own
from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azr_env import prompts, registry, rewards
from azr_env.errors import AzrError
from azr_env.protocols import Domain, Verifier
from azr_env.testing import probes
from azr_env.testing.answers import PROGRAMS, VALUES, with_canary
from azr_env.testing.probes import short
from azr_env.testing.strategies import near_misses, task_of, wild_text
from azr_env.types import BLANK, Mode, Slot, Status, Task, Verdict
from azr_env.verifiers.relation import claim

Answers = Sequence[tuple[Task, str]]
ODD_TEXTS = ("", " ", "\n", "\0", "\ud800", "\udfff7", "None", "...", "\N{FULLWIDTH DIGIT SEVEN}", "```", "</answer>")
"""Short texts that break what reads them carelessly."""
_EACH_MODE = 4
_TELLING = 4
"""Characters from which on a key in a reason is no accident."""
_DUE, _RULE = "give a Verdict, `rejected` where a text cannot be read", "What a model writes never raises"
_BARE_DUE = "look whether there is an example before you take one, and where there is none give Status.ERROR"
_BARE_RULE = "These tasks have no example, and a broken task does not raise either"


class VerifierConformance:
    """Checks of a verifier. Fill in ``make`` (best) or ``verifier``::

        class TestMine(VerifierConformance):
            @pytest.fixture
            def make(self):
                return MyVerifier  # called with a domain, as your entry point is

    ``domain`` is the Python domain, and ``tasks`` are some that the domain generates in each mode, whichever domain
    that is, unless you give your own.
    What is right is settled by :meth:`judge`, the domain's relation unless you say otherwise.
    """

    stricter: ClassVar[bool] = False
    """Set it where your verifier may, on purpose, refuse answers of which the relation holds.

    ``test_every_right_answer_counts`` is then skipped, and every other check that compares verdicts with
    :meth:`judge` (changed keys, parts of the key, attacks, nothing hidden) looks at one half only: that nothing is
    graded correct of which the relation does not hold.
    """

    @pytest.fixture
    def make(self) -> Callable[[Domain], Verifier] | None:
        """What makes the verifier for a domain: the class, or the factory that the entry point names."""
        return None

    @pytest.fixture
    def domain(self) -> Domain:
        """The domain whose tasks are answered."""
        return _python()

    @pytest.fixture
    def verifier(self, make: Callable[[Domain], Verifier] | None, domain: Domain) -> Verifier:
        """The verifier under test."""
        if make is None:
            raise AzrError("VerifierConformance needs one of the fixtures `make` and `verifier`: fill one in")
        return make(domain)

    @pytest.fixture
    def tasks(self, domain: Domain) -> list[Task]:
        """Tasks to answer, of every mode that the verifier serves."""
        return [task_of(domain, mode, seed) for mode in Mode for seed in range(_EACH_MODE)]

    def right(self, domain: Domain, task: Task) -> str:
        """An answer that is right; the task's stored key unless you override it."""
        return prompts.key(task)

    def judge(self, domain: Domain, task: Task, answer: str) -> bool:
        """Whether ``answer`` is right; asks the domain unless you override it with a judge that shares no code."""
        return domain.holds([claim(task, answer)])[0].status is Status.CORRECT

    @pytest.fixture
    def answers(self, domain: Domain, tasks: list[Task]) -> list[tuple[Task, str]]:
        """A mixed batch: right, wrong, other tasks' keys, and texts that are no answer."""
        batch = []
        for task, other in zip(tasks, tasks[1:] + tasks[:1], strict=True):
            key = self.right(domain, task)
            texts = [
                key,
                f" {key} ",
                key + key[-1:],
                prompts.slot_text(other, BLANK[task.mode]),
                f"The answer is {key}",
            ]
            batch += [(task, text) for text in [*texts, "0", "7", "", "print(1)"]]
        return batch

    # Any text gets a verdict

    def test_any_text_gets_a_verdict(self, verifier: Verifier, tasks: list[Task]) -> None:
        """Any text at all gets one verdict, never an exception, and its reward is finite and in range."""

        @probes.examples()
        @given(text=wild_text)
        def check(text: str) -> None:
            _verdicts(verifier, [(task, text) for task in _one_each(tasks)])

        check()
        _verdicts(verifier, [(task, text) for task in _one_each(tasks) for text in ODD_TEXTS])

    def test_attacks_are_refused(self, verifier: Verifier, domain: Domain, tasks: list[Task], tmp_path: Path) -> None:
        """No hostile text is credited, raises, or does what it tries."""
        canary = tmp_path / "canary"
        texts = [with_canary(text, str(canary)) for text in [*VALUES.values(), *PROGRAMS.values()]]
        batch = [(task, text) for task in _one_each(tasks) for text in texts]
        with probes.watchdog("Verifying the attack texts"):
            found = _verdicts(verifier, batch)
        assert not canary.exists(), (
            "a file came into being that only an answer's own code could have made: the verifier runs what a model "
            "writes (eval, exec, a format string?). Read values with azr_env.values.parse and run programs in an "
            "executor"
        )
        self._agree(domain, batch, found)

    def test_a_megabyte_ends_in_time(self, verifier: Verifier, tasks: list[Task]) -> None:
        """A megabyte of brackets, digits, lines or surrogates gets its verdict without stalling."""
        for task in _one_each(tasks):
            with probes.watchdog(f"Verifying megabytes of nonsense in {task.mode}"):
                _verdicts(verifier, [(task, probes.bulk(piece, 1_048_576)) for piece in probes.PIECES])

    def test_work_grows_no_faster_than_the_text(self, verifier: Verifier, tasks: list[Task]) -> None:
        """Four times the text costs about four times the work, counted in executed lines."""
        for task in _one_each(tasks):
            probes.check_linear(partial(_verdict, verifier, task), f"Verifying an answer in {task.mode}")

    # Right is right and wrong is wrong

    def test_a_right_answer_is_correct(self, verifier: Verifier, domain: Domain, tasks: list[Task]) -> None:
        """The answer key is graded correct, in every mode."""
        batch = [(task, self.right(domain, task)) for task in tasks]
        for (task, key), verdict in zip(batch, _verdicts(verifier, batch), strict=True):
            assert verdict.status is Status.CORRECT, (
                f"the right answer {short(key)} to {_named(task)} was {_said(verdict)}"
            )

    def test_a_changed_key_is_judged_anew(self, verifier: Verifier, domain: Domain, tasks: list[Task]) -> None:
        """A near miss of the key is correct only where the relation holds for it."""

        @probes.examples()
        @given(data=st.data())
        def check(data: st.DataObject) -> None:
            task = data.draw(st.sampled_from(tasks))
            batch = [(task, data.draw(near_misses(self.right(domain, task)))) for _ in range(3)]
            self._agree(domain, batch, _verdicts(verifier, batch))

        check()

    def test_parts_of_the_key_earn_nothing(self, verifier: Verifier, domain: Domain, tasks: list[Task]) -> None:
        """Text around the key, a piece of it, or a list of guesses is no answer."""
        batch = []
        for task in tasks:
            key = self.right(domain, task)
            around = (
                f"The answer is {key}.",
                f"{key} or not {key}",
                f"not {key}",
                f"<{key}>",
                f"{key} {key}",
                f"{key}{key}",
            )
            pieces = {key[:cut] for cut in (1, len(key) // 2, len(key) - 1)} | {key[cut:] for cut in (1, len(key) // 2)}
            guesses = [prompts.slot_text(other, BLANK[task.mode]) for other in tasks] + [str(n) for n in range(30)]
            texts = [*around, *sorted(pieces), ", ".join([*guesses, key]), "\n".join([*guesses, key])]
            batch += [(task, text) for text in texts]
        self._agree(domain, batch, _verdicts(verifier, batch))

    def test_every_right_answer_counts(self, verifier: Verifier, domain: Domain, tasks: list[Task]) -> None:
        """Another answer than the stored key is correct where the relation holds: another preimage, another layout."""
        if self.stricter:
            pytest.skip("`stricter` is set: this verifier may refuse answers of which the relation holds")
        served = [mode for mode in Mode if any(task.mode is mode for task in tasks)]
        pool = tasks + [task_of(domain, mode, 1000 + seed) for mode in served for seed in range(12)]
        batch = []
        for task in pool:
            blank = BLANK[task.mode]
            others = {prompts.slot_text(other, blank) for other in pool} | {str(n) for n in range(24)}
            texts = sorted(others - {prompts.key(task)}) if blank is not Slot.OUTPUT else []
            batch += [(task, text) for text in [f" {prompts.key(task)}", f"{prompts.key(task)}\n", *texts[:40]]]
        self._agree(domain, batch, _verdicts(verifier, batch))

    def test_nothing_hidden_is_still_graded(self, verifier: Verifier, domain: Domain, tasks: list[Task]) -> None:
        """An induction task that hides no example is graded on those shown: an empty list of checks proves nothing."""
        inductions = [replace(task, shown=len(task.examples)) for task in tasks if task.mode is Mode.INDUCTION]
        if not inductions:
            pytest.skip("none of `tasks` is an induction task")
        batch = [(task, text) for task in inductions for text in (other.program for other in inductions)]
        batch += [(task, text) for task in inductions for text in ("0", "nonsense", "def f(*x): return 'nonsense'")]
        self._agree(domain, batch, _verdicts(verifier, batch))

    def test_nothing_to_check_is_no_success(self, verifier: Verifier, tasks: list[Task]) -> None:
        """A task without any example is broken: whatever is answered, nothing was shown to hold."""
        bare = [replace(task, examples=(), shown=0) for task in tasks if task.mode is Mode.INDUCTION]
        if not bare:
            pytest.skip("none of `tasks` is an induction task")
        batch = [(task, task.program) for task in bare]
        for (task, answer), verdict in zip(batch, _verdicts(verifier, batch, _BARE_DUE, _BARE_RULE), strict=True):
            assert verdict.status is Status.ERROR, (
                f"{short(answer)} was {_said(verdict)} for {_named(task)} without its examples: where nothing is left "
                "to check the status is `error`, and never `correct` because all of no checks passed"
            )

    def test_reasons_do_not_tell_the_key(self, verifier: Verifier, domain: Domain, tasks: list[Task]) -> None:
        """The reason of a wrong answer may be shown before a second attempt, so it does not hold the key."""
        for task in tasks:
            key = self.right(domain, task)
            wrong = ["0", "7", "", "nonsense", "def f(*x): return 'nonsense'", "[1, 2, 3]"]
            for answer, verdict in zip(wrong, _verdicts(verifier, [(task, text) for text in wrong]), strict=True):
                assert len(key) < _TELLING or key not in verdict.reason, (
                    f"the reason for {short(answer)} to {_named(task)} is {short(verdict.reason)}, which holds the key "
                    f"{short(key)}: an environment with several attempts would show it"
                )

    def _agree(self, domain: Domain, batch: Answers, found: Sequence[Verdict]) -> None:
        """Fails where a verdict and the judge differ."""
        for (task, answer), verdict in zip(batch, found, strict=True):
            if verdict.status is Status.CORRECT:
                assert self.judge(domain, task, answer), (
                    f"{short(answer)} was graded correct for {_named(task)}, though the relation does not hold for it: "
                    "compare whole values, never texts or pieces of them"
                )
            elif not self.stricter:
                assert not self.judge(domain, task, answer), (
                    f"{short(answer)} was {_said(verdict)} for {_named(task)}, though the relation holds for it: any "
                    "right answer counts, not the stored key alone (if you mean to refuse some: `stricter = True` in a "
                    "test, `--stricter` for azr check)"
                )
            assert verdict.status is not Status.ERROR, (
                f"{short(answer)} was graded `error` ({verdict.reason!r}) for {_named(task)}, though nothing of ours "
                "failed: a text that a model writes must not be able to end in `error`"
            )

    # Our failures are ours

    def test_our_failure_is_no_wrong_answer(
        self, make: Callable[[Domain], Verifier] | None, domain: Domain, tasks: list[Task]
    ) -> None:
        """Where the domain reports `error`, so does the verifier: nobody is paid or blamed for a dead server."""
        if make is None:
            pytest.skip("only with the fixture `make`: a verifier has to be made on a domain that fails")
        for task in tasks:
            for answer in (self.right(domain, task), "0", ""):
                double = probes.FailingDomain(domain)
                verdict = _verdict(make(double), task, answer)
                assert verdict.status is Status.ERROR or not double.asked, _blame(task, answer, verdict)

    def test_a_dead_executor_is_no_wrong_answer(
        self, make: Callable[[Domain], Verifier] | None, domain: Domain, tasks: list[Task]
    ) -> None:
        """Where a program could not be run because the executor failed, the verdict is `error`."""
        if make is None:
            pytest.skip("only with the fixture `make`: a verifier has to be made on a domain that fails")
        if domain.name not in registry.names("domain"):
            pytest.skip(f"no installed domain is named {domain.name!r}, so none can be made with a dead executor")
        asked = 0
        for task in tasks:
            for answer in (self.right(domain, task), "0"):
                executor = probes.failing_executor()
                verdict = _verdict(make(registry.domain(domain.name, executor=executor)), task, answer)
                assert verdict.status is Status.ERROR or not executor.jobs, _blame(task, answer, verdict)
                asked += len(executor.jobs)
        if not asked:
            pytest.skip(f"verifying answers of the domain {domain.name!r} runs nothing")

    # The same question gets the same answer

    def test_an_empty_batch_gives_nothing(self, verifier: Verifier) -> None:
        """No answers, no verdicts."""
        found = verifier.verify([])
        assert list(found) == [], f"verify([]) gave {short(found)}: no answers, no verdicts"

    def test_a_batch_equals_one_by_one(self, verifier: Verifier, answers: list[tuple[Task, str]]) -> None:
        """An answer gets the same verdict alone and in any batch."""
        together = _verdicts(verifier, answers)
        alone = [_verdicts(verifier, [answer])[0] for answer in answers]
        _same(answers, together, alone, "in a batch", "alone")

    def test_order_and_duplicates_do_not_matter(self, verifier: Verifier, answers: list[tuple[Task, str]]) -> None:
        """An answer gets the same verdict in any order, and each time it occurs."""
        first = _verdicts(verifier, answers)
        for seed in range(3):
            order = [*range(len(answers)), *range(0, len(answers), 3)]
            random.Random(seed).shuffle(order)
            shuffled = _verdicts(verifier, [answers[k] for k in order])
            _same(
                [answers[k] for k in order],
                [first[k] for k in order],
                shuffled,
                "in order",
                "shuffled, with duplicates",
            )
        _same(answers, first, _verdicts(verifier, answers[::-1])[::-1], "in order", "in reverse")

    def test_asking_again_changes_nothing(self, verifier: Verifier, answers: list[tuple[Task, str]]) -> None:
        """A verifier keeps nothing from one call to the next that a verdict depends on."""
        first = _verdicts(verifier, answers)
        for _ in range(3):
            _same(answers, first, _verdicts(verifier, answers), "at first", "when asked again")

    def test_another_instance_agrees(
        self, make: Callable[[Domain], Verifier] | None, domain: Domain, answers: list[tuple[Task, str]]
    ) -> None:
        """Two verifiers made alike give the same verdicts, whatever one of them saw before."""
        if make is None:
            pytest.skip("only with the fixture `make`: two verifiers have to be made")
        seasoned = make(domain)
        _verdicts(seasoned, answers[::-1])
        old, new = _verdicts(seasoned, answers), _verdicts(make(domain), answers)
        _same(answers, old, new, "by one instance", "by a new one")

    def test_other_processes_agree(
        self, verifier: Verifier, answers: list[tuple[Task, str]], request: pytest.FixtureRequest
    ) -> None:
        """Fresh processes with other hash seeds give the same verdicts, reasons included."""
        found = [[str(verdict.status), ascii(verdict.reason)] for verdict in _verdicts(verifier, answers)]
        for seed, other in probes.elsewhere(request, found):
            for (task, answer), here, there in zip(answers, found, other, strict=True):
                assert here == there, (
                    f"{short(answer)} for {_named(task)} is {here} in this process and {there} in a fresh one "
                    f"under PYTHONHASHSEED={seed}: does a verdict depend on the order of a set, a hash, an address, "
                    "chance or time?"
                )

    # Nothing else happens

    def test_global_random_state_is_left_alone(self, verifier: Verifier, answers: list[tuple[Task, str]]) -> None:
        """The global random state is neither changed nor read."""
        with probes.quiet_random_state("the verifier"):
            first = _verdicts(verifier, answers)
        for seed in range(3):
            with probes.global_seeds(seed):
                again = _verdicts(verifier, answers)
            _same(answers, first, again, "at first", "with the global random state seeded otherwise")

    def test_answers_are_left_as_they_are(self, verifier: Verifier, answers: list[tuple[Task, str]]) -> None:
        """The batch is not changed, and any sequence will do."""
        batch = list(answers)
        verifier.verify(batch)
        assert batch == answers, "verify() changed the list that it was given: work on a copy"
        _verdicts(verifier, tuple(answers))

    def test_nothing_is_printed(
        self, verifier: Verifier, answers: list[tuple[Task, str]], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Standard output and error stay empty."""
        capsys.readouterr()
        verifier.verify(answers)
        printed = "".join(capsys.readouterr())
        assert not printed, (
            f"verify() printed {short(printed)}: a verifier says what it has to say in the verdict's reason"
        )


@cache
def _python() -> Domain:
    return registry.domain("python", limits={"timeout_s": 2.0}, induction_inputs=4)


def _one_each(tasks: Sequence[Task]) -> list[Task]:
    """The first task of each mode."""
    return list({task.mode: task for task in reversed(tasks)}.values())


def _verdicts(verifier: Verifier, batch: Answers, due: str = _DUE, rule: str = _RULE) -> list[Verdict]:
    """The verifier's verdicts, each of which is one."""
    found = probes.one_each("verify()", verifier.verify, batch, "answer", due, "verdict", rule)
    low, high = rewards.REWARD_RANGE
    for (_, answer), verdict in zip(batch, found, strict=True):
        assert (
            isinstance(verdict, Verdict) and isinstance(verdict.status, Status) and isinstance(verdict.reason, str)
        ), (
            f"verify() gave {short(verdict)} for {short(answer)}: an azr_env.Verdict(status, reason) with an "
            "azr_env.Status is due"
        )
        reward = rewards.solver_reward(verdict)
        assert (reward is None) == (verdict.status is Status.ERROR), f"{verdict} is paid {reward!r}"
        assert reward is None or low <= reward <= high, f"{verdict} is paid {reward!r}, outside {low} to {high}"
    return found


def _verdict(verifier: Verifier, task: Task, answer: str) -> Verdict:
    return _verdicts(verifier, [(task, answer)])[0]


def _blame(task: Task, answer: str, verdict: Verdict) -> str:
    return (
        f"{short(answer)} for {_named(task)} was {_said(verdict)} though the machinery behind the domain failed: say "
        "Status.ERROR, which blames nobody, or a broken server trains the policy"
    )


def _same(batch: Answers, one: Sequence[Verdict], other: Sequence[Verdict], when: str, then: str) -> None:
    for (task, answer), a, b in zip(batch, one, other, strict=True):
        assert a == b, (
            f"{short(answer)} for {_named(task)} was {_said(a)} {when} and {_said(b)} {then}: a verdict depends on the "
            "task and the answer alone"
        )


def _named(task: Task) -> str:
    return f"the {task.mode} task {short(task.program, 200)} with {short(task.examples, 300)}"


def _said(verdict: Verdict) -> str:
    return f"graded `{verdict.status}`" + (f" ({short(verdict.reason)})" if verdict.reason else "")
