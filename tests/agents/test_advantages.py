"""Advantages against a formula written by hand, and the laws that any baseline must keep."""

from __future__ import annotations

import math
import random
import statistics
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from azr_agents.advantages import ADVANTAGES, EPSILON, trr, trr_tokens

rewards = st.one_of(st.none(), st.sampled_from([-1.0, -0.5, 0.0, 0.25, 0.875, 1.0]))
rows = st.lists(st.tuples(rewards, st.sampled_from("abc"), st.integers(1, 40)), min_size=1, max_size=30)
names = pytest.mark.parametrize("name", list(ADVANTAGES))
Rows = list[tuple[float | None, str, int]]


def _of(name: str, batch: Rows) -> list[float]:
    r, c, t = zip(*batch, strict=True)
    return [float(a) for a in ADVANTAGES[name](r, c, t)]


def test_one_cell_by_hand() -> None:
    found = trr([1.0, -0.5, -0.5, None], ["s"] * 4, [3, 3, 3, 3])
    mean, std = 0.0, math.sqrt((1 + 0.25 + 0.25) / 2)
    assert found.tolist() == pytest.approx(
        [(1 - mean) / (std + 1e-4), -0.5 / (std + 1e-4), -0.5 / (std + 1e-4), 0], rel=1e-9
    )


@given(rows)
def test_trr_is_the_standard_score_within_the_cell(batch: Rows) -> None:
    for (r, cell, _), found in zip(batch, _of("trr++", batch), strict=True):
        peers = [other for other, name, _ in batch if name == cell and other is not None]
        if r is None or len(peers) < 2 or len(set(peers)) == 1:
            assert found == 0
        else:
            assert found == pytest.approx((r - statistics.mean(peers)) / (statistics.stdev(peers) + EPSILON), abs=1e-9)


@given(rows)
def test_token_weights_are_rows_repeated_once_per_token(batch: Rows) -> None:
    tokens: Rows = [(r, cell, 1) for r, cell, length in batch for _ in range(length)]
    by_token = iter(_of("trr++", tokens))
    expected = [list(islice(by_token, length))[-1] for _, _, length in batch]
    counted = {cell: sum(r is not None for r, name, _ in batch if name == cell) for _, cell, _ in batch}
    for row, found, wanted in zip(batch, _of("trr++tokens", batch), expected, strict=True):
        assert found == pytest.approx(wanted if counted[row[1]] > 1 else 0, abs=1e-9)


def test_a_long_answer_weighs_more_in_the_token_variant_only() -> None:
    batch: Rows = [(1.0, "s", 90), (-0.5, "s", 10)]
    assert sum(_of("trr++", batch)) == pytest.approx(0)
    long, short = _of("trr++tokens", batch)
    assert 0 < long < -short
    assert 90 * long + 10 * short == pytest.approx(0)


@names
@given(batch=rows, seed=st.integers(0, 2**16))
def test_order_of_rows_does_not_matter(name: str, batch: Rows, seed: int) -> None:
    order = list(range(len(batch)))
    random.Random(seed).shuffle(order)
    straight = _of(name, batch)
    assert _of(name, [batch[k] for k in order]) == pytest.approx([straight[k] for k in order], abs=1e-9)


@names
@given(batch=rows, other=rows)
def test_a_cell_does_not_see_other_cells(name: str, batch: Rows, other: Rows) -> None:
    apart: Rows = [(r, cell + "'", t) for r, cell, t in other]
    assert _of(name, batch + apart)[: len(batch)] == pytest.approx(_of(name, batch), abs=1e-12)


@names
@given(batch=rows)
def test_ungraded_rows_count_nowhere(name: str, batch: Rows) -> None:
    graded = [row for row in batch if row[0] is not None]
    found = _of(name, batch)
    assert all(a == 0 for (r, _, _), a in zip(batch, found, strict=True) if r is None)
    if graded:
        kept = [a for (r, _, _), a in zip(batch, found, strict=True) if r is not None]
        assert kept == pytest.approx(_of(name, graded), abs=1e-12)


@names
@given(batch=rows)
def test_results_are_finite_and_follow_the_rewards(name: str, batch: Rows) -> None:
    found = _of(name, batch)
    assert all(math.isfinite(a) for a in found)
    for (r, cell, _), a in zip(batch, found, strict=True):
        for (other, name_, _), b in zip(batch, found, strict=True):
            if cell == name_ and r is not None and other is not None and r > other:
                assert a > b


@names
@pytest.mark.parametrize("reward", [1.0, -0.5, 0.1, 1 / 3])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_cells_without_spread_give_exactly_nothing(name: str, reward: float, size: int) -> None:
    assert _of(name, [(reward, "s", 1 + k % 5) for k in range(size)]) == [0.0] * size


@names
def test_shape_and_type(name: str) -> None:
    found = ADVANTAGES[name]([1.0, None], ["a", "b"], [3, 1])
    assert found.shape == (2,)
    assert found.dtype == np.float64


@names
def test_an_empty_batch_is_an_empty_answer(name: str) -> None:
    assert ADVANTAGES[name]([], [], []).shape == (0,)


def test_lengths_do_not_touch_the_sequence_variant() -> None:
    r, c = [1.0, -0.5, -1.0], ["s"] * 3
    assert trr(r, c, [1, 2, 3]).tolist() == trr(r, c, [30, 20, 10]).tolist()
    assert trr_tokens(r, c, [1, 2, 3]).tolist() != trr_tokens(r, c, [30, 20, 10]).tolist()
