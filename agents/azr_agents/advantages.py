"""Advantages as pure functions over one generation batch.

Symbols: r (B,) rewards, ``None`` where a row could not be graded; g (B,) group of each row, the rows that share a
baseline; T (B,) completion lengths in tokens; V (B, T) a critic's values of the states before each token; A advantages.
A row without reward gets 0 and counts nowhere.

| algorithm | group | A | source |
|---|---|---|---|
| trr++ | the cell: one (mode, role) | (r - mean) / std | Absolute Zero, arXiv 2505.03335, equation 8 |
| grpo | rows of one cell that share a prompt | (r - mean) / std | DeepSeekMath, arXiv 2402.03300, section 4.1.2 |
| rloo | rows of one cell that share a prompt | r - mean of the others | Back to Basics, arXiv 2402.14740 |
| ppo | none | GAE over V | arXiv 1506.02438, equation 16; PPO: arXiv 1707.06347 |
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from azr_env.errors import SettingError

EPSILON: Final = 1e-4
"""Added to a standard deviation, as TRL does."""

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Gather = Callable[[list[Any]], list[Any]]
"""Concatenates the lists of all processes and gives the whole to each."""


def trr(rewards: Sequence[float | None], groups: Sequence[str], lengths: Sequence[int]) -> Floats:
    """TRR++, the task-relative baseline: A = (r - mean_g) / (std_g + EPSILON), over sequences; g is the cell.

    The standard deviation is the unbiased one, as torch's and TRL's. A group whose rewards are all equal, or that has
    fewer than two, gets 0.

    Args:
        rewards: B rewards, ``None`` for a row that could not be graded.
        groups: B names; equal names share a baseline.
        lengths: unused here; see :func:`trr_tokens`.

    Returns:
        (B,) advantages.
    """
    return _normalised(rewards, groups, np.ones(len(groups)))


def trr_tokens(rewards: Sequence[float | None], groups: Sequence[str], lengths: Sequence[int]) -> Floats:
    """The authors' code's variant of :func:`trr`: mean and deviation over the tokens of a cell.

    Every token carries the reward of its sequence, so a sequence weighs in by its length.
    """
    return _normalised(rewards, groups, np.asarray(lengths, dtype=np.float64))


def grpo(rewards: Sequence[float | None], groups: Sequence[str], lengths: Sequence[int]) -> Floats:
    """GRPO: the formula of :func:`trr`, where a group is the answers to one prompt."""
    return _normalised(rewards, groups, np.ones(len(groups)))


def rloo(rewards: Sequence[float | None], groups: Sequence[str], lengths: Sequence[int]) -> Floats:
    """REINFORCE leave-one-out: A_i = r_i - mean of r_j over j != i in the group of i, the answers to one prompt.

    A group with fewer than two rewards gets 0. Shapes as in :func:`trr`; ``lengths`` is unused.
    """
    r, out = _floats(rewards), np.zeros(len(rewards))
    for rows in _groups(r, groups):
        n = int(rows.sum())
        if n > 1 and np.ptp(r[rows]) > 0:
            out[rows] = r[rows] - (r[rows].sum() - r[rows]) / (n - 1)
    return out


def gae(
    rewards: Sequence[float | None], values: Floats, mask: Bools, gamma: float = 1.0, lam: float = 0.95
) -> tuple[Floats, Floats]:
    """Generalised advantages of answers that are paid once, with their last token.

    delta_t = r_t + gamma V_{t+1} - V_t and A_t = delta_t + gamma lam A_{t+1}, where r_t is 0 before the last token and
    V and A are 0 behind it.

    Args:
        rewards: B rewards; ``None`` makes a row 0 everywhere.
        values: (B, T) values of the states before each token.
        mask: (B, T), true for the tokens of a completion, which come first in its row.
        gamma: discount in [0, 1].
        lam: weight of longer estimates in [0, 1].

    Returns:
        (B, T) advantages and (B, T) returns A + V; both 0 where there is no token.
    """
    r = _floats(rewards)
    inside = mask & ~np.isnan(r)[:, None]
    advantages = np.zeros(values.shape)
    size = values.shape[1]
    after, next_value, next_inside = np.zeros(len(r)), np.zeros(len(r)), np.zeros(len(r), dtype=bool)
    for t in reversed(range(size)):
        here = inside[:, t]
        paid = np.where(here & ~next_inside, r, 0.0)
        after = np.where(here, paid + gamma * next_value - values[:, t] + gamma * lam * after, 0.0)
        next_value, next_inside = np.where(here, values[:, t], 0.0), here
        advantages[:, t] = after
    return advantages, np.where(inside, advantages + values, 0.0)


def whitened(advantages: Floats, mask: Bools, gather: Gather = lambda items: items) -> Floats:
    """Advantages (B, T) with mean 0 and deviation 1 over the tokens of ``mask`` on all processes; 0 elsewhere."""
    n, mean, variance = _moments(advantages[mask], gather)
    if n < 2:
        return np.zeros(advantages.shape)
    return np.where(mask, (advantages - mean) / (np.sqrt(variance) + EPSILON), 0.0)


def explained_variance(
    rewards: Sequence[float | None], values: Floats, mask: Bools, gather: Gather = lambda items: items
) -> float:
    """1 - var(r - V) / var(r) over the tokens of ``mask``: 1 for a critic that knows every reward, 0 for a constant.

    Shapes as in :func:`gae`; rows without reward may not be in ``mask``. NaN where the rewards do not differ.
    """
    r = np.broadcast_to(_floats(rewards)[:, None], values.shape)
    _, _, left = _moments((r - values)[mask], gather)
    _, _, whole = _moments(r[mask], gather)
    return 1.0 - left / whole if whole > 0 else math.nan


def dealt_anew(rewards: Sequence[float | None], cells: Sequence[str], rng: np.random.Generator) -> list[float | None]:
    """The rewards of each cell in a random order: the control that shows what learning owes to the reward.

    The distribution of each cell's rewards stays; a row without reward keeps none.
    """
    dealt = list(rewards)
    for cell in dict.fromkeys(cells):
        rows = [k for k, name in enumerate(cells) if name == cell and rewards[k] is not None]
        for row, other in zip(rows, rng.permutation(rows).tolist(), strict=True):
            dealt[row] = rewards[other]
    return dealt


def _floats(rewards: Sequence[float | None]) -> Floats:
    return np.array([np.nan if reward is None else reward for reward in rewards], dtype=np.float64)


def _groups(r: Floats, groups: Sequence[str]) -> list[Bools]:
    """The graded rows of each group."""
    names = np.asarray(groups)
    return [(names == group) & ~np.isnan(r) for group in dict.fromkeys(groups)]


def _normalised(rewards: Sequence[float | None], groups: Sequence[str], weights: Floats) -> Floats:
    r, out = _floats(rewards), np.zeros(len(rewards))
    for rows in _groups(r, groups):
        w = weights[rows]
        total = w.sum()
        if rows.sum() < 2 or total <= 1 or np.ptp(r[rows]) == 0:
            continue
        mean = (w * r[rows]).sum() / total
        variance = (w * (r[rows] - mean) ** 2).sum() / (total - 1)
        if variance > 0:
            out[rows] = (r[rows] - mean) / (np.sqrt(variance) + EPSILON)
    return out


def _moments(values: Floats, gather: Gather) -> tuple[int, float, float]:
    """Number, mean and unbiased variance of a flat array that is spread over processes."""
    n = sum(gather([values.size]))
    if n < 2:
        return n, 0.0, 0.0
    mean = sum(gather([float(values.sum())])) / n
    return n, mean, sum(gather([float(((values - mean) ** 2).sum())])) / (n - 1)


ADVANTAGES: Final[Mapping[str, Callable[[Sequence[float | None], Sequence[str], Sequence[int]], Floats]]] = {
    "trr++": trr,
    "grpo": grpo,
    "rloo": rloo,
}
"""Advantages relative to a group, by the name of the algorithm."""

ALGORITHMS: Final = (*ADVANTAGES, "ppo")
"""Algorithms by name."""

GROUPED: Final = ("grpo", "rloo")
"""Algorithms whose group is ``num_generations`` rows that share a prompt."""

VARIANTS: Final = ("sequences", "tokens")
"""What TRR++ takes mean and deviation over, by name: :func:`trr` or :func:`trr_tokens`."""


def check_algorithm(algorithm: str, advantage: str) -> None:
    """Refuses an unknown algorithm or variant, and a variant of an algorithm that has none.

    Raises:
        SettingError: names the setting and the values that work.
    """
    if algorithm not in ALGORITHMS:
        raise SettingError(f"algorithm={algorithm!r} is unknown; choose one of {', '.join(ALGORITHMS)}")
    if advantage not in VARIANTS:
        raise SettingError(f"advantage={advantage!r} is unknown; choose one of {', '.join(VARIANTS)}")
    if advantage != "sequences" and algorithm != "trr++":
        raise SettingError(
            f"advantage={advantage} is a variant of trr++: with algorithm={algorithm} leave it at 'sequences'"
        )
