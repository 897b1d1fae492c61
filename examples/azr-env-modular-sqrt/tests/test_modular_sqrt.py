"""The domain, asked directly and through Gymnasium."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from azr_env_modular_sqrt import ModularSqrtDomain

import azr_env  # noqa: F401  (registers the environments)
from azr_env import registry
from azr_env.errors import SettingError
from azr_env.prompts import completion_of, key, proposal_of, solver_prompt
from azr_env.protocols import Domain
from azr_env.types import Claim, Draft, Example, Mode, Rejection, Status, Task
from azr_env.verifiers.relation import RelationVerifier

DOMAIN = ModularSqrtDomain(31)


def task(mode: Mode, p: int, x: int) -> Task:
    (made,) = DOMAIN.admit([Draft(mode, str(p), (str(x),))])
    assert isinstance(made, Task)
    return made


def status(made: Task, answer: str) -> Status:
    return RelationVerifier(DOMAIN).verify([(made, answer)])[0].status


def test_the_entry_point_is_found_and_has_every_member() -> None:
    made = registry.domain("modular_sqrt", max_prime=31)
    assert isinstance(made, ModularSqrtDomain)
    assert isinstance(made, Domain)
    assert made.max_prime == 31


@pytest.mark.parametrize("mode", Mode)
def test_against_every_number_there_is(mode: Mode) -> None:
    """The relation, written here a second time, agrees on every answer to every task of a small range."""
    for p in (3, 5, 7, 11, 13):
        for x in range(1, p):
            made = DOMAIN.admit([Draft(mode, str(p), (str(x),))])[0]
            if isinstance(made, Rejection):
                assert mode is Mode.INDUCTION
                assert x * x < p
                continue
            n = int(made.examples[0].output)
            right = {
                Mode.DEDUCTION: {pow(x, 2, p)},
                Mode.ABDUCTION: {x, p - x},
                Mode.INDUCTION: {q for q in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31) if max(x, n) < q}
                & {q for q in range(1, 32) if (x * x - n) % q == 0},
            }[mode]
            answers = [str(k) for k in range(40)]
            verdicts = RelationVerifier(DOMAIN).verify([(made, answer) for answer in answers])
            assert {k for k, v in enumerate(verdicts) if v.status is Status.CORRECT} == right


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize(
    "answer",
    ["", "x", "-2", "+2", "02", "2.0", "2 2", "1e1", "0x2", "²", "٢", "9" * 10_000, "2\0", "\ud800", "(" * 9999],
)
def test_what_is_no_plain_number_is_rejected(mode: Mode, answer: str) -> None:
    assert status(task(mode, 7, 4), answer) is Status.REJECTED


@pytest.mark.parametrize("mode", Mode)
def test_a_broken_key_is_an_error_and_no_wrong_answer(mode: Mode) -> None:
    made = Task("broken", "modular_sqrt", mode, "seven", (Example("two", "four"),), int(mode is Mode.INDUCTION))
    assert status(made, "3") is Status.ERROR


def test_nothing_to_check_is_no_success() -> None:
    made = task(Mode.DEDUCTION, 7, 3)
    assert DOMAIN.holds([Claim(made, "2", "7", ())])[0].status is Status.ERROR


@pytest.mark.parametrize(
    ("program", "inputs", "reason"),
    [
        ("7", (), "inputs"),
        ("7", ("2", "3"), "inputs"),
        ("seven", ("2",), "syntax"),
        ("7", ("02",), "syntax"),
        ("9", ("2",), "invalid"),
        ("37", ("9",), "invalid"),
        ("7", ("0",), "invalid"),
        ("7", ("7",), "invalid"),
        ("7", ("2",), "trivial"),
    ],
)
def test_refused_drafts(program: str, inputs: tuple[str, ...], reason: str) -> None:
    (refused,) = DOMAIN.admit([Draft(Mode.INDUCTION, program, inputs)])
    assert isinstance(refused, Rejection)
    assert refused.reason == reason


def test_both_roots_are_one_fact_in_every_mode_and_two_tasks() -> None:
    made = [task(mode, 13, x) for mode in Mode for x in (6, 7)]
    assert {DOMAIN.facts(each) for each in made} == {frozenset({"13:6"})}
    assert len({DOMAIN.identity(each) for each in made}) == len(made)


def test_the_facts_of_an_induction_task_name_every_prime_that_fits() -> None:
    several = Task("t", "modular_sqrt", Mode.INDUCTION, "7", (Example("2", "4"),), 1)
    assert DOMAIN.facts(several) == {f"{p}:2" for p in (5, 7, 11, 13, 17, 19, 23, 29, 31)}


def test_generated_drafts_are_admitted_and_come_from_the_generator_alone() -> None:
    for mode in Mode:
        drafts = [DOMAIN.generate(mode, np.random.default_rng(k), {}) for k in range(100)]
        assert drafts == [DOMAIN.generate(mode, np.random.default_rng(k), {}) for k in range(100)]
        assert len(set(drafts)) > 30
        assert all(isinstance(made, Task) for made in DOMAIN.admit(drafts))


def test_settings_of_the_generator() -> None:
    rng = np.random.default_rng(0)
    assert {DOMAIN.generate(Mode.DEDUCTION, rng, {"primes": "12-18"}).program for _ in range(40)} == {"13", "17"}
    for wrong in ({"prime": "3-7"}, {"primes": ""}, {"primes": "7"}, {"primes": "24-28"}, {"primes": "3-37"}):
        with pytest.raises(SettingError, match=r"primes=LOW-HIGH|give LOW-HIGH"):
            DOMAIN.generate(Mode.DEDUCTION, rng, wrong)


@pytest.mark.parametrize("max_prime", [2, 10_001, "31", 31.0, None, True])
def test_impossible_settings(max_prime: object) -> None:
    with pytest.raises(SettingError, match="max_prime"):
        ModularSqrtDomain(max_prime)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("style", ["paper", "compact"])
def test_episodes(mode: Mode, style: str) -> None:
    env = gym.make(f"AZR-{mode.capitalize()}-v0", domain="modular_sqrt", max_prime=31, style=style)
    domain, source = env.unwrapped.domain, env.unwrapped.source  # type: ignore[attr-defined]
    rewards = []
    for seed in range(5):
        prompt, info = env.reset(seed=seed)
        given = source.get(info["task_id"])
        assert prompt == solver_prompt(domain, given, style)  # type: ignore[arg-type]
        for answer in (key(given), "30030", "no idea"):
            env.reset(options={"task_id": info["task_id"]})
            _, reward, terminated, truncated, _ = env.step(completion_of(domain, mode, answer, style))  # type: ignore[arg-type]
            assert terminated
            assert not truncated
            rewards.append(reward)
    assert rewards == [1.0, -0.5, -0.5] * 5


@pytest.mark.parametrize("mode", Mode)
def test_proposals(mode: Mode) -> None:
    env = gym.make(f"AZR-{mode.capitalize()}-Propose-v0", domain="modular_sqrt", max_prime=31)
    domain = env.unwrapped.domain  # type: ignore[attr-defined]
    found = []
    for prime in ("29", "27", "p"):
        env.reset(seed=0)
        _, reward, _, truncated, info = env.step(proposal_of(domain, prime, ["17"]))
        assert not truncated
        assert 0 <= float(reward) <= 1 if prime == "29" else reward == -1
        found.append(info["proposal"]["status"])
    assert found == ["admitted", "invalid", "syntax"]
