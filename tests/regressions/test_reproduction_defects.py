"""The defects of the ARENA reproduction (design/method.md, section 4) that concern the environments.

The sign of the loss, the log-probabilities, the clip and the size of the held-out set concern training and are
tested with it.
"""

from __future__ import annotations

import gymnasium as gym
import pytest

import azr_env
from azr_env import prompts, rewards
from azr_env.domains.prime_inversion import PrimeInversionDomain
from azr_env.domains.prime_inversion.arithmetic import moduli
from azr_env.grading import grade
from azr_env.parsing import Style, parse_answer, parse_proposal
from azr_env.types import Draft, Example, Mode, Role, Status, Task
from azr_env.verifiers.relation import RelationVerifier

DOMAIN = PrimeInversionDomain(617)
VERIFIER = RelationVerifier(DOMAIN)


def statuses(task: Task, *answers: str) -> list[Status]:
    attempts = [(task, prompts.completion_of(DOMAIN, task.mode, answer)) for answer in answers]
    return [result.verdict.status for result in grade(DOMAIN, VERIFIER, attempts)]


# Solver slots mixed task types and graded the wrong unknown.


def test_each_mode_grades_its_own_unknown() -> None:
    """7: 3 * 5 = 15 = 1. The three unknowns of one fact differ, and each counts in its own mode alone."""
    tasks = {mode: DOMAIN.task(mode, 7, 3) for mode in Mode}
    right = {Mode.DEDUCTION: "5", Mode.ABDUCTION: "3", Mode.INDUCTION: "7"}
    for mode, task in tasks.items():
        for owner, answer in right.items():
            assert statuses(task, answer) == [Status.CORRECT if owner is mode else Status.INCORRECT]


def test_a_mixed_batch_grades_each_by_its_own_mode() -> None:
    tasks = [DOMAIN.task(mode, 7, 3) for mode in Mode] * 3
    attempts = [(task, prompts.completion_of(DOMAIN, task.mode, prompts.key(task))) for task in tasks]
    assert {result.verdict.status for result in grade(DOMAIN, VERIFIER, attempts)} == {Status.CORRECT}
    shifted = [(task, completion) for task, (_, completion) in zip(tasks, attempts[1:] + attempts[:1], strict=True)]
    assert Status.CORRECT not in {result.verdict.status for result in grade(DOMAIN, VERIFIER, shifted)}


def test_the_block_of_another_mode_is_not_read() -> None:
    completion = prompts.completion_of(DOMAIN, Mode.ABDUCTION, "5")
    (result,) = grade(DOMAIN, VERIFIER, [(DOMAIN.task(Mode.DEDUCTION, 7, 3), completion)])
    assert result.verdict.status is Status.MALFORMED


# Induction demanded the stored prime though any valid prime is right.


@pytest.mark.parametrize(("x", "y", "count"), [(1, 1, 113), (4, 22, 1), (3, 5, 1), (500, 58, 1)])
def test_any_valid_prime_is_right(x: int, y: int, count: int) -> None:
    """1 * 1 = 1 modulo each of the 113 primes; otherwise x*y - 1 has at most one prime factor over both."""
    valid = [str(p) for p in moduli(x, y, 617)]
    assert len(valid) == count
    task = Task("t", "prime_inversion", Mode.INDUCTION, valid[0], (Example(str(x), str(y)),), 1)
    assert statuses(task, *valid) == [Status.CORRECT] * count
    others = [str(n) for n in range(700) if str(n) not in valid]
    assert set(statuses(task, *others)) == {Status.INCORRECT}


# An answer of 0 divided by zero.


@pytest.mark.parametrize("mode", Mode)
def test_zero_is_wrong_and_no_crash(mode: Mode) -> None:
    task = DOMAIN.task(mode, 7, 3)
    assert statuses(task, "0", "1", "-0", "00") == [
        Status.INCORRECT,
        Status.INCORRECT,
        Status.REJECTED,
        Status.REJECTED,
    ]


def test_zero_in_a_proposal_is_refused() -> None:
    for p, x in (("0", "0"), ("0", "1"), ("7", "0"), ("1", "0")):
        (result,) = DOMAIN.admit([Draft(Mode.DEDUCTION, p, (x,))])
        assert not isinstance(result, Task)


# The proposer's reward averaged unrelated tasks, and could reach 2.0.


def test_a_proposers_reward_is_its_own_tasks_and_never_over_one() -> None:
    rates = [0.0, 1.0, 0.5, 0.125]
    paid = [rewards.proposer_reward(None, rate, rewards.azr) for rate in rates]
    assert paid == [0.0, 0.0, 0.5, 0.875]
    for name in rewards.LEARNABILITY:
        for eighths in range(9):
            reward = rewards.proposer_reward(None, eighths / 8, rewards.learnability(name))
            assert reward is not None
            assert -1 <= reward <= 1


# Truncation to 128 tokens removed the format part of the prompt.


@pytest.mark.parametrize("name", ["AZR-Deduction-v0", "AZR-Abduction-v0", "AZR-Induction-v0"])
def test_the_format_stands_at_the_end_of_the_observation(name: str) -> None:
    env = gym.make(name, domain="prime_inversion", max_prime=617)
    prompt, info = env.reset(seed=1)
    fence = DOMAIN.fences[azr_env.types.BLANK[Mode(info["mode"])]]
    assert prompt.endswith(f"The answer holds one fenced block:\n```{fence}\n...\n```")
    assert "<think> </think>" in prompt
    env.close()


# The parser refused the format that the prompt asked for.


@pytest.mark.parametrize("mode", Mode)
def test_the_asked_format_is_the_read_format(mode: Mode) -> None:
    task = DOMAIN.task(mode, 7, 3)
    shown = prompts.solver_prompt(DOMAIN, task).rpartition("one fenced block:\n")[2]
    completion = f"<think>hm</think> <answer>{shown.replace('...', prompts.key(task))}</answer>"
    assert parse_answer(completion, Style.PAPER, mode, DOMAIN.fences) == prompts.key(task)
    assert [result.reward for result in grade(DOMAIN, VERIFIER, [(task, completion)])] == [1.0]


@pytest.mark.parametrize("mode", Mode)
def test_the_format_a_proposer_is_asked_for_is_read(mode: Mode) -> None:
    text = prompts.proposer_prompt(DOMAIN, mode, [DOMAIN.task(mode, 7, 3)])
    assert "```prime block with p" in text
    assert "```input block with x" in text
    completion = "<think></think><answer>```prime\n11\n```\n```input\n4\n```</answer>"
    assert parse_proposal(completion, Style.PAPER, mode, DOMAIN.fences) == Draft(mode, "11", ("4",))


@pytest.mark.parametrize("mode", Mode)
def test_references_are_shown_in_the_format_asked_for(mode: Mode) -> None:
    text = prompts.proposer_prompt(DOMAIN, mode, [DOMAIN.task(mode, 7, 3)])
    reference = text.partition("Reference 1:")[2]
    assert parse_proposal(f"<think></think><answer>{reference}</answer>", Style.PAPER, mode, DOMAIN.fences) == Draft(
        mode, "7", ("3",)
    )


# The chart labels swapped proposer and solver.


@pytest.mark.parametrize("mode", Mode)
def test_labels(mode: Mode) -> None:
    assert prompts.label(mode, Role.PROPOSER) == f"proposer/{mode}"
    assert prompts.label(mode, Role.SOLVER) == f"solver/{mode}"
    env = gym.make(f"AZR-{mode.capitalize()}-v0", domain="prime_inversion")
    _, info = env.reset(seed=0)
    assert (info["role"], info["mode"], info["cell"]) == ("solver", str(mode), f"solver/{mode}")
    env.close()
