"""Rewards and learnability: values of the paper, range, extremes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azr_env import rewards
from azr_env.errors import UnknownNameError
from azr_env.types import Rejection, Status, Verdict

rates = st.floats(0, 1)
names = st.sampled_from(list(rewards.LEARNABILITY))


def test_solver_rewards_are_the_papers() -> None:
    paid = {status: rewards.solver_reward(Verdict(status)) for status in Status}
    assert paid == {
        Status.CORRECT: 1.0,
        Status.INCORRECT: -0.5,
        Status.REJECTED: -0.5,
        Status.TIMEOUT: -0.5,
        Status.MALFORMED: -1.0,
        Status.ERROR: None,
    }


def test_only_a_correct_answer_is_paid() -> None:
    assert [status for status in Status if (rewards.solver_reward(Verdict(status)) or 0) > 0] == [Status.CORRECT]


@given(names, rates)
def test_learnability_stays_in_range(name: str, p: float) -> None:
    low, high = rewards.REWARD_RANGE
    reward = rewards.proposer_reward(None, p, rewards.learnability(name))
    assert reward is not None
    assert math.isfinite(reward)
    assert low <= reward <= high


@pytest.mark.parametrize("name", rewards.LEARNABILITY)
def test_extremes_earn_nothing(name: str) -> None:
    function = rewards.learnability(name)
    expected = -0.5 if name == "azr-code" else 0.0
    assert function(0.0) == function(1.0) == expected
    assert function(0.5) > 0


@pytest.mark.parametrize(("p", "r"), [(1 / 8, 7 / 8), (0.5, 0.5), (7 / 8, 1 / 8), (0, 0), (1, 0), (5e-324, 1.0)])
def test_azr_is_equation_4(p: float, r: float) -> None:
    assert rewards.azr(p) == r


@given(st.integers(0, 4096).map(lambda k: k / 4096))
def test_symmetric_ones_are_symmetric_and_peak_at_a_half(p: float) -> None:
    for function in (rewards.variance, rewards.nearest, rewards.gaussian):
        assert function(p) == pytest.approx(function(1 - p))
        assert function(p) <= function(0.5)


def test_harder_earns_more_under_azr() -> None:
    eighths = [rewards.azr(k / 8) for k in range(1, 8)]
    assert eighths == sorted(eighths, reverse=True)


@given(st.text(max_size=10).filter(lambda reason: reason != "error"), st.one_of(st.none(), rates), names)
def test_a_refused_proposal_earns_minus_one_whatever_else(reason: str, p: float | None, name: str) -> None:
    assert rewards.proposer_reward(Rejection(reason), p, rewards.learnability(name)) == -1.0


def test_nobody_pays_for_our_failures_or_for_what_nobody_tried() -> None:
    assert rewards.proposer_reward(Rejection("error", "x"), 0.5, rewards.azr) is None
    assert rewards.proposer_reward(None, None, rewards.azr) is None


def test_unknown_learnability_lists_the_known() -> None:
    with pytest.raises(UnknownNameError, match="'azrr'; choose one of azr, azr-code, variance, nearest, gaussian"):
        rewards.learnability("azrr")
