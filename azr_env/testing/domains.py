"""What every domain must do (floor 7): subclass, fill in a fixture, run pytest."""

# ruff: noqa: PT017, PT018 - these assertions are the product, and each has a message of its own
from __future__ import annotations

import copy
import pickle
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from azr_env import prompts, proposals
from azr_env.errors import AzrError, SettingError
from azr_env.parsing import MESSAGE, Style, parse_answer
from azr_env.protocols import Domain, Executor
from azr_env.sources.stored import jsonl, write_jsonl
from azr_env.testing import probes
from azr_env.testing.answers import PROGRAMS, VALUES
from azr_env.testing.probes import short
from azr_env.testing.strategies import UNSTABLE_PROGRAMS, near_misses, programs, task_of, wild_text
from azr_env.types import BLANK, Draft, Mode, Rejection, Slot, Status, Task, Verdict
from azr_env.verifiers.relation import claim

MEMBERS = ("name", "fences", "instructions", "induction_inputs")
METHODS = ("holds", "admit", "generate", "seeds", "identity", "facts")
_EACH_MODE = 4
_TELLING = 8
"""A hidden text of fewer characters may stand in a prompt by chance."""
_REASON = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_PROSE = ("The answer is {}.", "I think {}", "{} is the answer", "maybe {}, maybe not")


class DomainConformance:
    """Checks of a domain. Fill in ``make`` (best) or ``domain``::

        class TestMine(DomainConformance):
            @pytest.fixture
            def make(self):
                return lambda executor: MyDomain(executor=executor)

    Tasks are generated and admitted by the domain itself. Override :meth:`judge` where something that shares no
    code with your domain can say what is right.
    """

    @pytest.fixture
    def make(self) -> Callable[[str | Executor], Domain] | None:
        """What makes the domain for an executor, or for an executor's name."""
        return None

    @pytest.fixture
    def domain(self, make: Callable[[str | Executor], Domain] | None) -> Domain:
        """The domain under test."""
        if make is None:
            raise AzrError("DomainConformance needs one of the fixtures `make` and `domain`: fill one in")
        return make("zygote")

    @pytest.fixture
    def tasks(self, domain: Domain) -> list[Task]:
        """Tasks of every mode, generated and admitted."""
        return [task_of(domain, mode, seed) for mode in Mode for seed in range(_EACH_MODE)]

    def judge(self, domain: Domain, task: Task, answer: str) -> bool | None:
        """Whether ``answer`` is right, by other means than the domain's; ``None`` where nothing can say."""
        return None

    @pytest.fixture
    def unstable_programs(self, domain: Domain) -> Mapping[str, str]:
        """Programs whose output for one input varies, by name, and so must be refused; empty if there can be none."""
        return UNSTABLE_PROGRAMS if domain.fences.get(Slot.PROGRAM) == "python" else {}

    @pytest.fixture
    def drafts(self, domain: Domain) -> list[Draft]:
        """A mixed batch: drafts that are admitted and drafts that are not."""
        good = [_generated(domain, mode, seed) for mode in Mode for seed in range(3)]
        spoilt = [replace(draft, program=draft.program + "?") for draft in good]
        empty = [replace(draft, inputs=()) for draft in good]
        odd = [replace(draft, inputs=("\ud800",) * len(draft.inputs)) for draft in good]
        return [*good, *spoilt, *empty, *odd, Draft(Mode.DEDUCTION, "", ("",))]

    # Members

    def test_members_are_there(self, domain: Domain) -> None:
        """Every member of the protocol is there, with a value that works."""
        for member in (*MEMBERS, *METHODS):
            assert getattr(domain, member, None) is not None, (
                f"the domain has no member {member!r}: see azr_env.protocols.Domain"
            )
        name = domain.name
        assert isinstance(name, str) and name.strip() == name != "", f"name is {name!r}: a non-empty text is due"
        assert set(domain.fences) == set(Slot), f"fences has {short(list(domain.fences))}: the three slots are due"
        labels = [domain.fences[slot] for slot in Slot]
        for label in labels:
            assert isinstance(label, str) and re.fullmatch(r"[^\s`]+", label), (
                f"the fence {label!r} is no single word: it stands behind ``` and is read back"
            )
        assert len({label.lower() for label in labels} | {MESSAGE}) == 4, (
            f"the fences {labels} are not distinct from each other and from {MESSAGE!r}: an answer's slot could not be "
            "told"
        )
        for key in (*Mode, *(f"propose-{mode}" for mode in Mode)):
            words = domain.instructions.get(key)
            assert isinstance(words, str) and words.strip(), f"instructions[{str(key)!r}] is {words!r}: a text is due"
        counts = domain.induction_inputs
        assert isinstance(counts, tuple) and len(counts) == 2 and all(type(n) is int for n in counts), (
            f"induction_inputs is {counts!r}: (inputs, shown) is due"
        )
        assert 1 <= counts[1] <= counts[0], f"induction_inputs is {counts!r}: 1 <= shown <= inputs is due"

    def test_members_stay_as_they_are(self, domain: Domain, drafts: list[Draft]) -> None:
        """Name, fences, instructions and counts do not change while the domain works."""
        before = copy.deepcopy([_plain(getattr(domain, member)) for member in MEMBERS])
        _admitted(domain, drafts)
        for member, was in zip(MEMBERS, before, strict=True):
            now = _plain(getattr(domain, member))
            assert now == was, f"{member} was {short(was)} and is {short(now)} after admitting drafts: it must be fixed"

    # Drafts

    def test_generate_draws_from_its_generator(self, domain: Domain) -> None:
        """The same generator state gives the same draft, other states give others, and nothing else has a say."""
        for mode in Mode:
            with probes.quiet_random_state("generate()"):
                first = [_generated(domain, mode, seed) for seed in range(30)]
            for seed, draft in enumerate(first):
                with probes.global_seeds(seed):
                    again = _generated(domain, mode, seed)
                assert again == draft, (
                    f"generate({mode}) gave {short(draft)} and then {short(again)} for generators of equal state: draw "
                    "from `rng` and from nothing else"
                )
            assert len(set(first)) > 1, (
                f"generate({mode}) gave {short(first[0])} for 30 different generators: draw from `rng`"
            )

    def test_unknown_settings_are_refused(self, domain: Domain) -> None:
        """A setting that the generator does not know raises SettingError, which names it."""
        for mode in Mode:
            try:
                domain.generate(mode, np.random.default_rng(0), {"no-such-setting": "1"})
            except SettingError as exc:
                assert "no-such-setting" in str(exc), (
                    f"the SettingError says {short(str(exc))}: it should name the setting and those that exist"
                )
            else:
                raise AssertionError(
                    f"generate({mode}) took the setting 'no-such-setting': raise SettingError, or a typing error goes "
                    "unseen"
                )

    def test_generated_drafts_are_mostly_admitted(self, domain: Domain) -> None:
        """At least half of what the domain generates passes its own gate."""
        for mode in Mode:
            results = _admitted(domain, [_generated(domain, mode, seed) for seed in range(30)])
            refused = [result for result in results if isinstance(result, Rejection)]
            assert len(refused) <= 15, (
                f"{len(refused)} of 30 generated {mode} drafts were refused, the last as {refused[-1]}"
            )

    def test_seeds_are_admitted(self, domain: Domain) -> None:
        """The drafts that start an empty buffer are tasks."""
        for mode in Mode:
            seeds = domain.seeds(mode)
            assert seeds, f"seeds({mode}) is empty: an empty buffer could not be started"
            for draft, result in zip(seeds, _admitted(domain, seeds), strict=True):
                assert isinstance(draft, Draft) and draft.mode is mode, f"seeds({mode}) holds {short(draft)}"
                assert isinstance(result, Task), f"the seed {short(draft)} was refused: {result}"

    def test_any_draft_is_admitted_or_refused(self, domain: Domain) -> None:
        """Any draft gives a task or a rejection, whatever its texts are; an admitted one satisfies the relation."""
        good = {mode: _generated(domain, mode, 0) for mode in Mode}

        @probes.examples()
        @given(data=st.data())
        def check(data: st.DataObject) -> None:
            drafts = []
            for mode in Mode:
                one = good[mode]
                text = st.one_of(wild_text, near_misses(one.inputs[0]), st.sampled_from([*VALUES.values()]))
                inputs = tuple(data.draw(st.lists(text, max_size=len(one.inputs) + 1)))
                program = data.draw(st.one_of(programs(), near_misses(one.program), wild_text))
                message = data.draw(wild_text)
                drafts += [
                    Draft(mode, program, one.inputs, message),
                    Draft(mode, one.program, inputs, message),
                    Draft(mode, program, inputs),
                ]
            for draft, result in zip(drafts, _admitted(domain, drafts), strict=True):
                if isinstance(result, Task):
                    _sound(domain, draft, result)

        check()
        texts = [*VALUES.values(), *PROGRAMS.values()]
        drafts = [Draft(mode, text, good[mode].inputs) for mode in Mode for text in texts]
        drafts += [Draft(mode, good[mode].program, (text,) * len(good[mode].inputs)) for mode in Mode for text in texts]
        with probes.watchdog("Admitting the attack texts"):
            _admitted(domain, drafts)
        bulks = [probes.bulk(piece, 1_048_576) for piece in probes.PIECES]
        one = good[Mode.DEDUCTION]
        with probes.watchdog("Admitting megabytes of nonsense"):
            _admitted(domain, [Draft(one.mode, bulk, one.inputs) for bulk in bulks])
            _admitted(domain, [Draft(one.mode, one.program, (bulk,)) for bulk in bulks])
        probes.check_linear(lambda text: _admitted(domain, [Draft(one.mode, text, one.inputs)]), "Admitting a program")
        probes.check_linear(
            lambda text: _admitted(domain, [Draft(one.mode, one.program, (text,))]), "Admitting an input"
        )

    def test_admitting_depends_on_the_draft_alone(self, domain: Domain, drafts: list[Draft]) -> None:
        """The same draft gets the same result again, in a batch, alone, and in any order."""
        first = _admitted(domain, drafts)
        order = list(range(len(drafts)))
        random.Random(7).shuffle(order)
        shuffled = dict(zip(order, _admitted(domain, [drafts[k] for k in order]), strict=True))
        ways = {
            "again": _admitted(domain, drafts),
            "alone": [_admitted(domain, [draft])[0] for draft in drafts],
            "in another order": [shuffled[k] for k in range(len(drafts))],
        }
        for way, results in ways.items():
            for draft, a, b in zip(drafts, first, results, strict=True):
                assert a == b, (
                    f"{short(draft)} gave {short(a)} at first and {short(b)} {way}: admit() may depend on the draft "
                    "alone"
                )
        assert list(domain.admit([])) == [], "admit([]) is not []"

    def test_programs_that_vary_are_refused(self, domain: Domain, unstable_programs: Mapping[str, str]) -> None:
        """A program that gives different outputs for one input becomes no task."""
        if not unstable_programs:
            pytest.skip("no program of this domain can vary (fixture `unstable_programs`)")
        for mode in Mode:
            inputs = tuple(str(number) for number in range(max(1, domain.induction_inputs[0])))
            inputs = inputs if mode is Mode.INDUCTION else inputs[:1]
            drafts = [Draft(mode, program, inputs) for program in unstable_programs.values()]
            for name, result in zip(unstable_programs, _admitted(domain, drafts), strict=True):
                assert isinstance(result, Rejection), (
                    f"a program that varies ({name}) was admitted as {short(result)}: run drafts more than once, under "
                    "more than one hash seed, and compare"
                )

    # Tasks and the relation

    def test_admitted_tasks_satisfy_the_relation(self, domain: Domain) -> None:
        """Every example of an admitted task satisfies the relation, and the task is well formed."""
        drafts = [_generated(domain, mode, seed) for mode in Mode for seed in range(10)]
        drafts += [draft for mode in Mode for draft in domain.seeds(mode)]
        for draft, result in zip(drafts, _admitted(domain, drafts), strict=True):
            if isinstance(result, Task):
                _sound(domain, draft, result)

    def test_any_answer_gets_a_verdict(self, domain: Domain, tasks: list[Task]) -> None:
        """`holds` gives one verdict per claim, for any text in the blank slot, and never `error` for a text."""
        few = list({task.mode: task for task in tasks}.values())

        @probes.examples()
        @given(text=wild_text)
        def check(text: str) -> None:
            _held(domain, [(task, text) for task in few])

        check()
        texts = [*VALUES.values(), *PROGRAMS.values()]
        with probes.watchdog("Judging the attack texts"):
            _held(domain, [(task, text) for task in few for text in texts])
        for task in few:
            with probes.watchdog(f"Judging megabytes of nonsense in {task.mode}"):
                _held(domain, [(task, probes.bulk(piece, 1_048_576)) for piece in probes.PIECES])
            probes.check_linear(partial(_held_one, domain, task), f"Judging an answer in {task.mode}")
        assert list(domain.holds([])) == [], "holds([]) is not []"

    def test_right_is_right_and_wrong_is_wrong(self, domain: Domain, tasks: list[Task]) -> None:
        """The key holds in every mode; prose around it does not, nor most near misses, nor what the judge refuses."""
        for task in tasks:
            key = prompts.key(task)
            (verdict,) = _held(domain, [(task, key)])
            assert verdict.status is Status.CORRECT, f"the key {short(key)} of {_named(task)} is {verdict}"
            prose = [words.format(key) for words in _PROSE]
            for text, found in zip(prose, _held(domain, [(task, text) for text in prose]), strict=True):
                assert found.status is not Status.CORRECT, (
                    f"{short(text)} is correct for {_named(task)}: read the whole answer, not a piece of it"
                )

        edited = right = 0

        @probes.examples(0.5)
        @given(data=st.data())
        def check(data: st.DataObject) -> None:
            nonlocal edited, right
            task = data.draw(st.sampled_from(tasks))
            text = data.draw(near_misses(prompts.key(task)))
            (found,) = _held(domain, [(task, text)])
            expected = self.judge(domain, task, text)
            assert expected in (None, found.status is Status.CORRECT), (
                f"{short(text)} is {found} for {_named(task)}, though the judge says {expected}"
            )
            edited += 1
            right += found.status is Status.CORRECT

        check()
        swapped = [(task, prompts.key(other)) for task in tasks for other in tasks if other.mode is task.mode]
        verdicts = _held(domain, [(task, key) for task, key in swapped if key != prompts.key(task)])
        edited += len(verdicts)
        right += sum(verdict.status is Status.CORRECT for verdict in verdicts)
        assert 2 * right < edited or edited < 10, (
            f"{right} of {edited} edited keys and keys of other tasks are correct: does the relation look at the "
            "answer?"
        )

    def test_claims_do_not_mix(self, domain: Domain, tasks: list[Task]) -> None:
        """A claim gets the same verdict again, alone, and in any order."""
        pairs = [(task, text) for task in tasks for text in (prompts.key(task), "0", "", prompts.key(tasks[0]))]
        first = _held(domain, pairs)
        order = list(range(len(pairs)))
        random.Random(3).shuffle(order)
        shuffled = dict(zip(order, _held(domain, [pairs[k] for k in order]), strict=True))
        ways = {
            "again": _held(domain, pairs),
            "alone": [_held(domain, [pair])[0] for pair in pairs],
            "in another order": [shuffled[k] for k in range(len(pairs))],
        }
        for way, verdicts in ways.items():
            for (task, text), a, b in zip(pairs, first, verdicts, strict=True):
                assert a == b, f"{short(text)} for {_named(task)} was {a} at first and {b} {way}"

    def test_a_dead_executor_blames_nobody(
        self, make: Callable[[str | Executor], Domain] | None, tasks: list[Task], drafts: list[Draft]
    ) -> None:
        """Where the executor fails, a claim is `error` and a draft is refused as `error`: nobody is paid or blamed."""
        if make is None:
            pytest.skip("only with the fixture `make`: a domain has to be made on an executor that fails")
        asked = 0
        for task in tasks:
            for answer in (prompts.key(task), "0"):
                executor = probes.failing_executor()
                (verdict,) = make(executor).holds([claim(task, answer)])
                asked += len(executor.jobs)
                assert verdict.status is Status.ERROR or not executor.jobs, (
                    f"{short(answer)} for {_named(task)} is {verdict} though the executor's own machinery failed "
                    "(infra): say Status.ERROR"
                )
        for draft in drafts:
            executor = probes.failing_executor()
            (result,) = make(executor).admit([draft])
            asked += len(executor.jobs)
            blamed = not (isinstance(result, Rejection) and result.reason == "error")
            assert not (executor.jobs and blamed), (
                f"{short(draft)} gave {result} though the executor's own machinery failed (infra): say "
                "Rejection('error', ...)"
            )
        if not asked:
            pytest.skip(f"the domain {make('zygote').name!r} runs nothing")

    # Identity and facts

    def test_identity_tells_tasks_apart(self, domain: Domain, tasks: list[Task]) -> None:
        """One identity for the same task under another id; another one for another input, program or mode."""
        pool = tasks + [task_of(domain, mode, 100 + seed) for mode in Mode for seed in range(8)]
        for task in pool:
            identity = domain.identity(task)
            assert isinstance(identity, str) and identity, f"identity is {identity!r} for {_named(task)}: a text is due"
            assert domain.identity(replace(task, id="another")) == identity, (
                f"identity changes with the id of {_named(task)}: it is about what the task asks"
            )
        drafts = [
            Draft(task.mode, task.program, tuple(example.input for example in other.examples))
            for task in pool
            for other in pool
            if other.mode is task.mode and other.examples != task.examples
        ][:200]
        cousins = [result for result in _admitted(domain, drafts) if isinstance(result, Task)]
        known: dict[str, Task] = {}
        for task in [*pool, *cousins]:
            other = known.setdefault(domain.identity(task), task)
            assert other.mode is task.mode, f"{_named(task)} and {_named(other)} have one identity, in two modes"
            same = other.program != task.program or sorted(other.examples, key=str) == sorted(task.examples, key=str)
            assert same, f"{_named(task)} and {_named(other)} have one identity, though their inputs differ"
        different = {(task.mode, task.program, task.examples) for task in [*pool, *cousins]}
        assert 2 * len(known) >= len(different), (
            f"{len(different)} different tasks have {len(known)} identities: tasks would be lost as duplicates"
        )

    def test_ids_tell_tasks_apart(self, domain: Domain, tasks: list[Task]) -> None:
        """Tasks of different content have different ids."""
        known: dict[str, Task] = {}
        for task in tasks + [task_of(domain, mode, 100 + seed) for mode in Mode for seed in range(8)]:
            other = known.setdefault(task.id, task)
            assert domain.identity(other) == domain.identity(task), (
                f"{_named(task)} and {_named(other)} have one id, {task.id!r}: a source could not give them again"
            )

    def test_facts_hold_across_modes(self, domain: Domain, tasks: list[Task]) -> None:
        """A task has facts; the deduction and the abduction of one example share some."""
        for task in tasks:
            facts = domain.facts(task)
            assert isinstance(facts, frozenset) and facts and all(isinstance(fact, str) and fact for fact in facts), (
                f"facts is {short(facts)} for {_named(task)}: a non-empty frozenset of texts is due"
            )
            assert domain.facts(replace(task, id="another")) == facts, f"facts change with the id of {_named(task)}"
            example = task.examples[:1]
            both = [replace(task, mode=mode, examples=example, shown=0) for mode in (Mode.DEDUCTION, Mode.ABDUCTION)]
            one, other = (domain.facts(each) for each in both)
            assert one & other, (
                f"deduction and abduction of {short(example[0])} share no fact ({short(one)} and {short(other)}): one "
                "could stand in training and the other in held-out, though solving one solves the other"
            )

    # Texts

    def test_prompts_show_the_given_and_hide_the_rest(self, domain: Domain, tasks: list[Task]) -> None:
        """A solver's prompt holds the slots that are given, and neither the key nor a hidden example."""
        pool = [*tasks]
        pool += [
            result for mode in Mode for result in _admitted(domain, domain.seeds(mode)) if isinstance(result, Task)
        ]
        for task in pool:
            if task.mode is Mode.INDUCTION:
                given = [text for example in prompts.shown(task) for text in (example.input, example.output)]
                hidden = [text for example in task.examples[task.shown :] for text in (example.input, example.output)]
            else:
                given = [prompts.slot_text(task, slot) for slot in Slot if slot is not BLANK[task.mode]]
                hidden = []
            telling = [
                text
                for text in (prompts.key(task), *hidden)
                if len(text) >= _TELLING and not any(text in other for other in given)
            ]
            for style in Style:
                prompt = prompts.solver_prompt(domain, task, style)
                for text in given:
                    assert text in prompt, f"the {style} prompt of {_named(task)} lacks the given text {short(text)}"
                for text in telling:
                    assert text not in prompt, (
                        f"the {style} prompt of {_named(task)} holds {short(text)}, which the solver is to find: look "
                        "at the instructions, and at the message that admit() let through"
                    )

    def test_proposals_come_back_as_tasks(self, domain: Domain) -> None:
        """A draft that is written as a completion, read and admitted gives the same task, in both styles."""
        for mode in Mode:
            drafts = [_generated(domain, mode, seed) for seed in range(5)] + domain.seeds(mode)
            for draft, expected in zip(drafts, _admitted(domain, drafts), strict=True):
                for style in Style:
                    given = draft.program if prompts.gives_program(domain, mode) else None
                    program = None if given is not None else draft.program
                    text = prompts.proposal_of(domain, program, draft.inputs, style, draft.message)
                    (found,) = proposals.admit(domain, [proposals.Proposed(mode, text, given)], style)
                    assert expected in (found.task, found.rejection), (
                        f"{short(draft)} is {short(expected)}, but {short(found.task or found.rejection)} after it was "
                        f"written as a {style} completion and read back: {short(text, 300)}"
                    )

    def test_keys_come_back_from_completions(self, domain: Domain, tasks: list[Task]) -> None:
        """A key that is written as a completion and read back still holds, in both styles."""
        for task in tasks:
            for style in Style:
                completion = prompts.completion_of(domain, task.mode, prompts.key(task), style)
                answer = parse_answer(completion, style, task.mode, domain.fences)
                assert isinstance(answer, str), f"{short(completion, 300)} cannot be read back: {answer}"
                (verdict,) = _held(domain, [(task, answer)])
                assert verdict.status is Status.CORRECT, (
                    f"the key of {_named(task)} is {verdict} after it was written as a {style} completion and read "
                    f"back as {short(answer)}"
                )

    def test_tasks_survive_files_and_processes(self, domain: Domain, tasks: list[Task], tmp_path: Path) -> None:
        """A task is the same after JSON lines and after pickling, as worker processes do."""
        path = tmp_path / "tasks.jsonl"
        distinct = list({task.id: task for task in tasks}.values())
        write_jsonl(path, distinct)
        source = jsonl(str(path), domain)
        for task in distinct:
            assert source.get(task.id) == task, f"{_named(task)} is {short(source.get(task.id))} after JSON lines"
            assert pickle.loads(pickle.dumps(task)) == task, f"{_named(task)} differs after pickling"  # noqa: S301

    # The same everywhere, and nothing else happens

    def test_other_processes_agree(
        self, domain: Domain, tasks: list[Task], drafts: list[Draft], request: pytest.FixtureRequest
    ) -> None:
        """Fresh processes with other hash seeds generate, admit, judge, identify and split alike."""
        found = {
            "generate": [ascii(_generated(domain, mode, seed)) for mode in Mode for seed in range(5)],
            "admit": [ascii(result) for result in _admitted(domain, drafts)],
            "holds": [ascii(v) for v in _held(domain, [(t, a) for t in tasks for a in (prompts.key(t), "0", "")])],
            "identity": [ascii(domain.identity(task)) for task in tasks],
            "facts": [ascii(sorted(domain.facts(task))) for task in tasks],
            "seeds": [ascii(domain.seeds(mode)) for mode in Mode],
        }
        for seed, other in probes.elsewhere(request, found):
            for method, values in found.items():
                for here, there in zip(values, other[method], strict=True):
                    assert here == there, (
                        f"{method} gave {short(here, 300)} in this process and {short(there, 300)} in a fresh one "
                        f"under PYTHONHASHSEED={seed}: does it depend on the order of a set, a hash, an address, "
                        "chance or time?"
                    )

    def test_global_random_state_is_left_alone(self, domain: Domain, tasks: list[Task], drafts: list[Draft]) -> None:
        """The global random state is neither changed nor read by any method."""

        def work() -> list[object]:
            found: list[object] = [*_admitted(domain, drafts)]
            found += _held(domain, [(task, text) for task in tasks for text in (prompts.key(task), "0")])
            found += [(domain.identity(task), domain.facts(task)) for task in tasks]
            return found + [domain.seeds(mode) for mode in Mode]

        with probes.quiet_random_state("the domain"):
            first = work()
        for seed in range(2):
            with probes.global_seeds(seed):
                again = work()
            for a, b in zip(first, again, strict=True):
                assert a == b, f"{short(a)} became {short(b)} when the global random state was seeded otherwise"

    def test_nothing_is_printed(
        self, domain: Domain, tasks: list[Task], drafts: list[Draft], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Standard output and error stay empty."""
        capsys.readouterr()
        _admitted(domain, drafts)
        _held(domain, [(task, text) for task in tasks for text in (prompts.key(task), "0", "")])
        printed = "".join(capsys.readouterr())
        assert not printed, f"the domain printed {short(printed)}: say it in the verdict's or rejection's reason"


def _generated(domain: Domain, mode: Mode, seed: int) -> Draft:
    draft = domain.generate(mode, np.random.default_rng(seed), {})
    assert isinstance(draft, Draft) and draft.mode is mode, (
        f"generate({mode}) gave {short(draft)}: an azr_env Draft of that mode is due"
    )
    assert draft.inputs and all(isinstance(text, str) for text in (draft.program, *draft.inputs)), (
        f"generate({mode}) gave {short(draft)}: a program and at least one input, all of them texts, are due"
    )
    return draft


def _admitted(domain: Domain, drafts: Sequence[Draft]) -> list[Task | Rejection]:
    """What `admit` makes of the drafts, each of which is a task or a rejection with a stable reason."""
    results = probes.one_each("admit()", domain.admit, drafts, "draft", "give a Rejection")
    for draft, result in zip(drafts, results, strict=True):
        assert isinstance(result, Task | Rejection), f"admit() gave {short(result)} for {short(draft)}"
        if isinstance(result, Rejection):
            assert isinstance(result.reason, str) and _REASON.fullmatch(result.reason), (
                f"{short(draft)} was refused with the reason {short(result.reason)}: a short stable word is due, for "
                "counting; the rest goes into `detail`"
            )
            assert result.reason != "error", (
                f"{short(draft)} was refused as `error` ({short(result.detail)}), though nothing of ours failed: that "
                "word is for our own machinery"
            )
    return results


def _held(domain: Domain, pairs: Sequence[tuple[Task, str]]) -> list[Verdict]:
    """The verdicts of `holds`, each of which is one, and none of them `error`."""
    claims = [claim(task, answer) for task, answer in pairs]
    due = "give a Verdict, `rejected` where a text cannot be read"
    found = probes.one_each("holds()", domain.holds, claims, "claim", due)
    for (task, answer), verdict in zip(pairs, found, strict=True):
        assert isinstance(verdict, Verdict) and isinstance(verdict.status, Status), (
            f"holds() gave {short(verdict)} for {short(answer)}: an azr_env Verdict with a Status is due"
        )
        assert verdict.status is not Status.ERROR, (
            f"{short(answer)} is `error` ({short(verdict.reason)}) for {_named(task)}, though nothing of ours failed: "
            "a text must not be able to end in `error`"
        )
    return found


def _held_one(domain: Domain, task: Task, answer: str) -> Verdict:
    return _held(domain, [(task, answer)])[0]


def _sound(domain: Domain, draft: Draft, task: Task) -> None:
    """Fails where a task is not of its draft, is out of shape, or the relation does not hold for an example."""
    due = domain.induction_inputs if draft.mode is Mode.INDUCTION else (1, 0)
    assert (task.mode, task.domain) == (draft.mode, domain.name), f"{short(draft)} became {short(task)}"
    assert isinstance(task.id, str) and task.id, f"{_named(task)} has the id {task.id!r}: a non-empty text is due"
    assert (len(task.examples), task.shown) == due, (
        f"{_named(task)} has {len(task.examples)} examples and shows {task.shown}; (examples, shown) = {due} is due in "
        f"{task.mode}"
    )
    for example in task.examples:
        for mode in Mode:
            alone = replace(task, mode=mode, examples=(example,), shown=1 if mode is Mode.INDUCTION else 0)
            (verdict,) = _held(domain, [(alone, prompts.key(alone))])
            assert verdict.status is Status.CORRECT, (
                f"{short(draft)} was admitted with {short(example)}, of which the relation does not hold ({mode}: "
                f"{verdict})"
            )


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else value


def _named(task: Task) -> str:
    return f"the {task.mode} task {short(task.program, 200)} with {short(task.examples, 300)}"
