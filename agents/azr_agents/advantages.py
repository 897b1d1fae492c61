"""Advantages as pure functions over one generation batch.

Symbols: r (B,) rewards, NaN where a row could not be graded; c (B,) cell of each row, a cell being one
(mode, role); T (B,) completion lengths in tokens. Source: Absolute Zero, arXiv 2505.03335, equation 8.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

EPSILON: Final = 1e-4
"""Added to a standard deviation, as TRL does."""

Floats = NDArray[np.float64]


def trr(rewards: Sequence[float | None], cells: Sequence[str], lengths: Sequence[int]) -> Floats:
    """TRR++, the task-relative baseline: A = (r - mean_cell) / (std_cell + EPSILON), over sequences.

    The standard deviation is the unbiased one, as torch's and TRL's. A row without reward gets 0 and counts
    nowhere; a cell whose rewards are all equal, or that has fewer than two, gets 0.

    Args:
        rewards: B rewards, ``None`` for a row that could not be graded.
        cells: B cell names.
        lengths: unused here; see :func:`trr_tokens`.

    Returns:
        (B,) advantages.
    """
    return _normalised(rewards, cells, np.ones(len(cells)))


def trr_tokens(rewards: Sequence[float | None], cells: Sequence[str], lengths: Sequence[int]) -> Floats:
    """The authors' code's variant of :func:`trr`: mean and deviation over the tokens of a cell.

    Every token carries the reward of its sequence, so a sequence weighs in by its length.
    """
    return _normalised(rewards, cells, np.asarray(lengths, dtype=np.float64))


def _normalised(rewards: Sequence[float | None], cells: Sequence[str], weights: Floats) -> Floats:
    r = np.array([np.nan if reward is None else reward for reward in rewards], dtype=np.float64)
    names = np.asarray(cells)
    out = np.zeros(len(r))
    for cell in dict.fromkeys(cells):
        rows = (names == cell) & ~np.isnan(r)
        w = weights[rows]
        total = w.sum()
        if rows.sum() < 2 or total <= 1 or np.ptp(r[rows]) == 0:
            continue
        mean = (w * r[rows]).sum() / total
        variance = (w * (r[rows] - mean) ** 2).sum() / (total - 1)
        if variance > 0:
            out[rows] = (r[rows] - mean) / (np.sqrt(variance) + EPSILON)
    return out


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


ADVANTAGES: Final[Mapping[str, Callable[[Sequence[float | None], Sequence[str], Sequence[int]], Floats]]] = {
    "trr++": trr,
    "trr++tokens": trr_tokens,
}
"""Advantage functions by name."""
