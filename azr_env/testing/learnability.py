"""What a learnability function must do, for the proposer's reward to mean what it says (floor 7)."""

# ruff: noqa: PT018 - these assertions are the product, and each has a message of its own
from __future__ import annotations

import math
from collections.abc import Callable

from azr_env.rewards import REWARD_RANGE

_MOST = 16


def check_learnability(function: Callable[[float], float], extreme: float = 0.0) -> None:
    """Checks a learnability function on every solve rate of 1 to 16 answers.

    It must give one finite number inside :data:`~azr_env.rewards.REWARD_RANGE` for each solve rate, ``extreme`` where
    nobody and where everybody solves the task, more than that somewhere in between, and the same number whatever was
    asked before: a mean over earlier tasks pays a task for its neighbours.

    Args:
        extreme: what solve rates 0 and 1 are to pay. The only built-in with another than 0 is ``azr-code`` (-0.5).

    Raises:
        AssertionError: a rule is broken; the message says which, with the value.
    """
    low, high = REWARD_RANGE
    rates = sorted({k / n for n in range(1, _MOST + 1) for k in range(n + 1)})
    first = {p: function(p) for p in rates}
    for p, paid in first.items():
        assert isinstance(paid, int | float) and not isinstance(paid, bool), (
            f"learnability({p!r}) is {paid!r}, which is no number: return a float"
        )
        assert math.isfinite(paid), f"learnability({p!r}) is {paid!r}: a reward must be finite"
        assert low <= paid <= high, f"learnability({p!r}) is {paid!r}, outside the range of rewards {low} to {high}"
    for orders in (rates[::-1], rates[::2] + rates[1::2]):
        for p in orders:
            again = function(p)
            assert again == first[p], (
                f"learnability({p!r}) was {first[p]!r} and is now {again!r}: it must depend on this task's solve rate "
                "alone, not on earlier calls (a running mean does)"
            )
    for p, who in ((0.0, "nobody"), (1.0, "everybody")):
        assert first[p] == extreme, (
            f"learnability({p!r}) is {first[p]!r}, not {extreme!r}: a task that {who} solves teaches nothing, and a "
            "proposer that is paid for it will make only such tasks"
        )
    assert any(paid > extreme for paid in first.values()), (
        f"no solve rate between 0 and 1 pays more than the extremes' {extreme!r}: nothing is left to be gained"
    )
