"""Each attack on a warm executor: contained, with a status that says what happened, and nothing left behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from attacks import ATTACKS, HOSTILE_TEXTS, Attack

from azr_env.executors.zygote import ZygoteExecutor
from azr_env.types import Job, Limits, Outcome, OutcomeStatus

QUICK = Limits(timeout_s=1.0, memory_mib=256)
PATIENT = Limits(timeout_s=30.0, memory_mib=256)
CANARY = Job(
    "import math, collections\n"
    "def f(s, n): return sorted(collections.Counter(s).items()), math.sqrt(n), s.upper(), len(s)",
    ("(s4:abbai10;)",),
    PATIENT,
)
CANARY_VALUE = "([(s1:ai2;)(s1:bi2;)]f0x1.0000000000000p+2;s4:ABBAi4;)"
SECRET = Job("def f(x): return x + 'SECRET-of-another'", ("(s17:SECRET-of-another)",), PATIENT)

pytestmark = pytest.mark.skipif(os.name != "posix" or not Path("/proc/self/ns").exists(), reason="needs Linux")


@pytest.fixture(scope="module")
def executor() -> Iterator[ZygoteExecutor]:
    with ZygoteExecutor(workers=1, cache_size=0) as made:
        check_canary(made)
        yield made


def job(attack: Attack) -> Job:
    return Job(attack.program, attack.calls, QUICK if attack.hangs else PATIENT)


def check_canary(executor: ZygoteExecutor) -> None:
    ((outcome,),) = executor.run([CANARY])
    assert outcome == Outcome(OutcomeStatus.OK, CANARY_VALUE, level="zygote")


def world() -> dict[str, object]:
    """What an attack must not change on the host."""
    children = Path(f"/proc/{os.getpid()}/task")
    return {
        "children": sorted(pid for task in children.iterdir() for pid in (task / "children").read_text().split()),
        "descriptors": sorted(os.listdir("/proc/self/fd")),
        "environment": dict(os.environ),
        "folder": sorted(os.listdir()),
        "harm": os.path.exists("/tmp/azr-harm"),
        "library": os.stat(os.__file__).st_mtime_ns,
    }


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.id)
def test_attack_is_contained(executor: ZygoteExecutor, attack: Attack) -> None:
    before, retries = world(), executor.stats.retries
    _, outcomes, _ = executor.run([SECRET, job(attack), SECRET])
    assert len(outcomes) == len(attack.calls)
    for outcome in outcomes:
        assert outcome.status in attack.allowed, outcome
        if outcome.status is OutcomeStatus.OK and attack.values:
            assert outcome.value in attack.values
        assert len(outcome.detail) <= 400
    check_canary(executor)
    assert world() == before
    assert executor.stats.retries == retries, "an attack must never look like a failure of ours"


@pytest.mark.parametrize("name", ["kill-all", "patch-runner", "memory-steps", "flood"])
def test_attack_on_a_fresh_executor(name: str) -> None:
    (attack,) = (attack for attack in ATTACKS if attack.id == name)
    with ZygoteExecutor(workers=1) as executor:
        ((outcome,),) = executor.run([job(attack)])
        assert outcome.status in attack.allowed
        check_canary(executor)


def test_all_attacks_in_one_batch_leave_the_neighbours_right(executor: ZygoteExecutor) -> None:
    hostile = [job(attack) for attack in ATTACKS if not attack.hangs]
    results = executor.run([each for attack in hostile for each in (attack, CANARY)], fresh=True)
    assert all(outcomes[0].value == CANARY_VALUE for outcomes in results[1::2])


def test_a_hostile_text_is_never_an_argument(executor: ZygoteExecutor) -> None:
    """The executor reads canonical texts only; what is meant for ``eval`` is refused unread."""
    (outcomes,) = executor.run([Job("def f(*a): return a", tuple(HOSTILE_TEXTS.values()), PATIENT)])
    assert {outcome.status for outcome in outcomes} == {OutcomeStatus.UNSUPPORTED}
    check_canary(executor)


def test_attack_ids_are_unique() -> None:
    assert len({attack.id for attack in ATTACKS}) == len(ATTACKS) >= 60
