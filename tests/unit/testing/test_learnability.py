"""`check_learnability` passes the built-in functions and fails those that pay for the wrong thing."""

from __future__ import annotations

import pytest

from azr_env.rewards import LEARNABILITY, azr, azr_code
from azr_env.testing import check_learnability


@pytest.mark.parametrize("name", LEARNABILITY)
def test_the_built_in_functions_pass(name: str) -> None:
    check_learnability(LEARNABILITY[name], extreme=-0.5 if name == "azr-code" else 0.0)


class RunningMean:
    """Pays how far a task is from the mean of those before it."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def __call__(self, p: float) -> float:
        self.seen.append(p)
        mean = sum(self.seen) / len(self.seen)
        return abs(p - mean) if 0 < p < 1 else 0.0


DEFECTS = {
    "running mean": (RunningMean(), "not on earlier calls"),
    "pays what nobody solves": (lambda p: 1 - p, "a task that nobody solves"),
    "pays what everybody solves": (lambda p: p, "a task that everybody solves"),
    "punishes extremes": (azr_code, "not 0.0"),
    "NaN": (lambda p: azr(p) if p != 0.5 else float("nan"), "must be finite"),
    "infinite": (lambda p: azr(p) if p < 1 else float("inf"), "must be finite"),
    "out of range": (lambda p: 4 * azr(p), "outside the range"),
    "None": (lambda p: azr(p) or None, "which is no number"),
    "truth": (lambda p: 0 < p < 1, "which is no number"),
    "nothing": (lambda p: 0.0, "nothing is left to be gained"),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_named(name: str) -> None:
    function, says = DEFECTS[name]
    with pytest.raises(AssertionError, match=says):
        check_learnability(function)  # type: ignore[arg-type]
