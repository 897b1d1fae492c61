"""The kit on the levels that are chosen by name: as far as each claims, with the reason where it does not."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from azr_env import values
from azr_env.executors.cluster import RayExecutor
from azr_env.executors.interpreter import SubprocessExecutor
from azr_env.executors.monty import MontyExecutor
from azr_env.protocols import Executor
from azr_env.testing import ExecutorConformance, attacks
from azr_env.testing import executors as kit
from azr_env.testing.attacks import Attack
from azr_env.types import Job, Limits, OutcomeStatus

needs_monty = pytest.mark.skipif(
    not importlib.util.find_spec("pydantic_monty"), reason="pydantic-monty is not installed"
)
needs_ray = pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="no Ray here")

SUBPROCESS_CONTAINS = [
    attack
    for attack in (
        *attacks.ENDINGS, *attacks.CHANNEL, *attacks.PATCHES, *attacks.RESULTS, *attacks.SOURCES, *attacks.BOMBS
    )
    if attack.id != "grow-pipe"  # the system's own bound on a user's pipes is all that holds here
]  # fmt: skip
EVERYTHING = (*attacks.PROGRAMS, *attacks.BOMBS)


class TestSubprocess(ExecutorConformance):
    """A clean interpreter per program: contains time, memory, output, exits and forged results."""

    contains_attacks = False
    why_not_contained = (
        "the level `subprocess` keeps no program from the user's files, processes and network; the attacks on time, "
        "memory, output, exits and results are run by test_what_subprocess_contains"
    )

    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls) -> Iterator[Executor]:
        with SubprocessExecutor() as made:
            yield made


@pytest.mark.parametrize("attack", SUBPROCESS_CONTAINS, ids=lambda attack: attack.id)
def test_what_subprocess_contains(attack: Attack) -> None:
    """Its neighbours are right, its ending is one that is allowed, and no process, file or descriptor is left."""
    with SubprocessExecutor() as executor:
        before = kit._world()
        jobs = [kit.CANARY, kit._hostile(attack), Job(kit.CANARY.program + "\n", kit.CANARY.calls, kit.PATIENT)]
        first, (outcome,), last = executor.run(jobs)
        assert (first[0].value, last[0].value) == (kit.CANARY_VALUE,) * 2
        assert outcome.status in attack.allowed, outcome
        if outcome.status is OutcomeStatus.OK and attack.values:
            assert outcome.value in attack.values
        assert kit._world() == before


@needs_monty
class TestMonty(ExecutorConformance):
    """An interpreter for a subset of Python."""

    excused: ClassVar = {
        "test_lanes_differ_in_hash_seed": "pydantic-monty has no hash seed: sets keep the order of insertion",
        "test_attack_is_contained": "the kit's canary needs modules that are absent: see test_what_monty_contains",
        "test_all_attacks_in_one_batch_leave_their_neighbours_right": "likewise",
    }

    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls) -> Iterator[Executor]:
        with MontyExecutor(workers=2, sampled=0) as made:
            yield made

    def test_values_come_back_as_canonical_text(self, executor: Executor) -> None:
        """The whole table, but for texts with lone surrogates, which are refused."""
        results = executor.run([kit._job(kit._IDENTITY, (value,)) for value in kit.PLAIN_VALUES])
        told = [(outcome.status, outcome.value) for (outcome,) in results]
        texts = [values.encode(value) for value in kit.PLAIN_VALUES]
        refused = [number for number, text in enumerate(texts) if "\ud800" in text]
        assert len(refused) == 2
        assert told == [
            (OutcomeStatus.UNSUPPORTED, "") if number in refused else (OutcomeStatus.OK, text)
            for number, text in enumerate(texts)
        ]

    @pytest.mark.parametrize(("program", "status"), kit._STATUSES, ids=lambda each: repr(each)[:60])
    def test_endings_are_told_apart(self, executor: Executor, program: str, status: OutcomeStatus) -> None:
        """As everywhere, but for the exits that are absent: a refusal, and neither a value nor a crash."""
        absent = "_exit" in program or "abort" in program or "SystemExit(3)" in program
        outcome = kit._one(executor, program, 1)
        assert outcome.status is (OutcomeStatus.UNSUPPORTED if absent else status), outcome
        assert outcome.value == ""

    def test_limits_of_memory_and_output_are_honoured(self, executor: Executor) -> None:
        """As everywhere, with text for the bytearray that is absent."""
        assert kit._one(executor, "def f(n): return len('x' * (n << 20))", 1024).status is OutcomeStatus.MEMORY
        jobs = [
            kit._job("def f(n): return 'x' * n", (n,), limits=Limits(30.0, 256, kib))
            for n, kib in ((900, 1), (2_000, 1), (2_000, 64))
        ]
        assert [str(outcomes[0].status) for outcomes in executor.run(jobs)] == ["ok", "unsupported", "ok"]

    @pytest.mark.parametrize(
        ("leaves", "looks"),
        [
            ("leak = 1", "def f():\n try: return leak == 1\n except NameError: return False"),
            ("import math\nmath.sqrt = lambda x: 42", "import math\ndef f(): return math.sqrt(4) != 2.0"),
            ("import math\nmath.leak = 1", "import math\ndef f(): return 'leak' in dir(math)"),
            ("len = max = print = None", "def f(): return len([1]) != 1"),
            ("class int: pass\nstr = 5", "def f(): return str(int('7')) != '7'"),
            ("def azr_look(value): return 1", "def f(): return False"),
            ("import random\nrandom.seed(1)", "import random\ndef f(): return 0.1343 < random.random() < 0.1344"),
        ],
        ids=["globals", "patched module", "module attribute", "builtins", "types", "prelude", "random state"],
    )  # fmt: skip
    def test_a_job_leaves_nothing_to_the_next(self, executor: Executor, leaves: str, looks: str) -> None:
        """As everywhere, by ways that this interpreter has."""
        spoil, look = kit._job(leaves + "\ndef f(): return 1", ()), kit._job(looks, ())
        for outcomes in executor.run([spoil, look, spoil, kit._job(looks + "\n", ())])[1::2]:
            assert outcomes[0].value == "F" or outcomes[0].status is not OutcomeStatus.OK, outcomes


@pytest.fixture(scope="module")
def monty() -> Iterator[Executor]:
    with MontyExecutor(workers=2, sampled=0) as made:
        yield made


@needs_monty
@pytest.mark.parametrize("attack", EVERYTHING, ids=lambda attack: attack.id)
def test_what_monty_contains(monty: Executor, attack: Attack) -> None:
    """Every attack: refused or contained, with nothing seen and nothing done; or harmless and run to its end."""
    good = kit._job(kit._IDENTITY, ("good",))
    assert monty.run([good])[0][0].value == "s4:good"
    before = kit._world()
    first, (outcome,), last = monty.run([good, kit._hostile(attack), kit._job(kit._IDENTITY + "\n", ("last",))])
    assert (first[0].value, last[0].value) == ("s4:good", "s4:last")
    assert outcome.status is not OutcomeStatus.INFRA
    if outcome.status is OutcomeStatus.OK and attack.values:
        assert outcome.value in attack.values or attack.id == "many-nan"  # NaN equals itself in sets here
    assert outcome.status is not OutcomeStatus.CRASH or outcome.status in attack.allowed
    after = kit._world()
    own = ("processes", "descriptors")  # those of the pool: it replaces a process that it had to kill
    assert len(after.get("processes", [])) <= 3, "more than the pool's two and one of the authority"
    assert {name: after[name] for name in after if name not in own} == {n: before[n] for n in before if n not in own}


@needs_ray
class TestRay(ExecutorConformance):
    """The strict level in actors."""

    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls) -> Iterator[Executor]:
        with RayExecutor(actors=2) as made:
            yield made

    @pytest.fixture(autouse=True)
    def _own_connections(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Ray's client opens and closes connections when it likes: they are no trace of a program."""
        world = kit._world

        def seen(folder: Path | None = None) -> dict[str, Any]:
            return {name: what for name, what in world(folder).items() if name != "descriptors"}

        monkeypatch.setattr(kit, "_world", seen)
