"""The split: one hash, by facts, the same for every mode and process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azr_agents.heldout import WHOLE_PRIMES, bucket, is_heldout, part
from azr_env.domains.prime_inversion import PrimeInversionDomain
from azr_env.domains.prime_inversion.arithmetic import moduli, primes
from azr_env.domains.python import PythonDomain
from azr_env.types import Draft, Mode, Task

DOMAIN = PrimeInversionDomain(97)
PAIRS = [(p, x) for p in primes(97) if p > 2 for x in range(1, p)]


def held(mode: Mode, p: int, x: int) -> bool:
    return is_heldout(DOMAIN, DOMAIN.task(mode, p, x))


def test_twins_stand_on_the_same_side() -> None:
    """(p, x) and (p, y) are one fact, in deduction and in abduction: knowing one is knowing the other."""
    for p, x in PAIRS:
        y = pow(x, -1, p)
        sides = {held(mode, p, z) for mode in (Mode.DEDUCTION, Mode.ABDUCTION) for z in (x, y)}
        assert len(sides) == 1


def test_an_unordered_pair_is_one_fact() -> None:
    for p, x in PAIRS:
        y = pow(x, -1, p)
        assert DOMAIN.facts(DOMAIN.task(Mode.DEDUCTION, p, x)) == {f"{p}:{min(x, y)}:{max(x, y)}"}
        assert DOMAIN.facts(DOMAIN.task(Mode.ABDUCTION, p, y)) == {f"{p}:{min(x, y)}:{max(x, y)}"}


def test_induction_counts_every_prime_that_is_a_right_answer() -> None:
    for p, x in PAIRS:
        y = pow(x, -1, p)
        facts = DOMAIN.facts(DOMAIN.task(Mode.INDUCTION, p, x))
        assert facts == {f"{q}:{min(x, y)}:{max(x, y)}" for q in moduli(x, y, 97)}
        assert held(Mode.INDUCTION, p, x) == any(part(fact) == "heldout" for fact in facts)


def test_no_trained_task_gives_away_a_held_out_one() -> None:
    """Every fact of what may be trained on is free; 1*1 = 1 holds modulo every prime and is the only shared one."""
    tasks = [DOMAIN.task(mode, p, x) for mode in Mode for p, x in PAIRS]
    trained = {fact for task in tasks if not is_heldout(DOMAIN, task) for fact in DOMAIN.facts(task)}
    kept = {fact for task in tasks if is_heldout(DOMAIN, task) for fact in DOMAIN.facts(task)}
    assert not any(part(fact) == "heldout" for fact in trained)
    assert {fact.partition(":")[2] for fact in trained & kept} <= {"1:1"}


@pytest.mark.parametrize("p", WHOLE_PRIMES)
def test_whole_primes_are_never_trained_on(p: int) -> None:
    assert all(held(mode, p, x) for mode in Mode for x in range(1, p))


def test_other_primes_are_never_whole() -> None:
    for p in primes(97):
        if p > 13 and p not in WHOLE_PRIMES:
            assert {held(Mode.DEDUCTION, p, x) for x in range(1, p)} == {False, True}


def test_a_longer_prime_with_the_same_first_digits_is_not_whole() -> None:
    domain = PrimeInversionDomain(839)
    assert {is_heldout(domain, domain.task(Mode.DEDUCTION, 839, x)) for x in range(1, 839)} == {False, True}


def test_sizes_of_the_parts() -> None:
    """Two buckets of ten held out, three to train on, five of the corpus; whole primes come on top."""
    facts = {fact for p, x in PAIRS for fact in DOMAIN.facts(DOMAIN.task(Mode.DEDUCTION, p, x))}
    drawn = [fact for fact in facts if not fact.startswith(tuple(f"{p}:" for p in WHOLE_PRIMES))]
    counts = Counter(part(fact) for fact in drawn)
    for name, share in (("heldout", 0.2), ("train", 0.3), ("corpus", 0.5)):
        assert counts[name] / len(drawn) == pytest.approx(share, abs=0.07)


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_has_a_part(fact: str) -> None:
    assert bucket(fact) in range(10)
    assert part(fact) in ("heldout", "train", "corpus")
    assert part(fact) == part(fact)


def test_the_split_is_pinned_and_does_not_depend_on_the_process() -> None:
    """A moved boundary would turn every shipped base into one that has seen its own exam."""
    pinned = {
        "61:17:18": "train",
        "7:3:5": "corpus",
        "def f(x):\n    return x": "corpus",
        "53:2:27": "heldout",
        "97:2:49": "corpus",
    }
    facts = list(pinned)
    code = f"from azr_agents.heldout import part; print([part(f) for f in {facts!r}])"
    shown = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "77"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.strip() == str(list(pinned.values())) == str([part(fact) for fact in facts])


def test_python_tasks_are_placed_by_program_whatever_mode_layout_and_names(python_domain: PythonDomain) -> None:
    for k in range(12):
        programs = [f"def f(a):\n    return a + {k}", f"def f( b ):\n    # the same\n    return b+{k}\n"]
        drafts = [
            Draft(mode, program, (str(n),))
            for mode in (Mode.DEDUCTION, Mode.ABDUCTION)
            for program in programs
            for n in (1, 2)
        ]
        tasks = [task for task in python_domain.admit(drafts) if isinstance(task, Task)]
        assert len(tasks) == len(drafts)
        assert len({is_heldout(python_domain, task) for task in tasks}) == 1


def test_seed_drafts_are_free() -> None:
    """Seeding adds them without asking the split."""
    assert not any(
        is_heldout(DOMAIN, t) for mode in Mode for t in DOMAIN.admit(DOMAIN.seeds(mode)) if isinstance(t, Task)
    )


def test_python_seed_drafts_are_free(python_domain: PythonDomain) -> None:
    drafts = [draft for mode in Mode for draft in python_domain.seeds(mode)]
    tasks = [task for task in python_domain.admit(drafts) if isinstance(task, Task)]
    assert len(tasks) == len(drafts) == 3
    assert not any(is_heldout(python_domain, task) for task in tasks)
