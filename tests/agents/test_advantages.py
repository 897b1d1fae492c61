"""Advantages against a formula written by hand, and the laws that any baseline must keep."""

from __future__ import annotations

import math
import random
import statistics
import threading
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from azr_agents.advantages import (
    ADVANTAGES,
    ALGORITHMS,
    EPSILON,
    check_algorithm,
    explained_variance,
    gae,
    grpo,
    trr,
    trr_tokens,
    whitened,
)
from azr_env.errors import SettingError

FUNCTIONS = {**ADVANTAGES, "trr++ over tokens": trr_tokens}

rewards = st.one_of(st.none(), st.sampled_from([-1.0, -0.5, 0.0, 0.25, 0.875, 1.0]))
rows = st.lists(st.tuples(rewards, st.sampled_from("abc"), st.integers(1, 40)), min_size=1, max_size=30)
names = pytest.mark.parametrize("name", list(FUNCTIONS))
Rows = list[tuple[float | None, str, int]]


def _of(name: str, batch: Rows) -> list[float]:
    r, c, t = zip(*batch, strict=True)
    return [float(a) for a in FUNCTIONS[name](r, c, t)]


def test_one_cell_by_hand() -> None:
    found = trr([1.0, -0.5, -0.5, None], ["s"] * 4, [3, 3, 3, 3])
    mean, std = 0.0, math.sqrt((1 + 0.25 + 0.25) / 2)
    assert found.tolist() == pytest.approx(
        [(1 - mean) / (std + 1e-4), -0.5 / (std + 1e-4), -0.5 / (std + 1e-4), 0], rel=1e-9
    )


@pytest.mark.parametrize("name", ["trr++", "grpo"])
@given(batch=rows)
def test_trr_and_grpo_are_the_standard_score_within_the_group(name: str, batch: Rows) -> None:
    for (r, cell, _), found in zip(batch, _of(name, batch), strict=True):
        peers = [other for other, name, _ in batch if name == cell and other is not None]
        if r is None or len(peers) < 2 or len(set(peers)) == 1:
            assert found == 0
        else:
            assert found == pytest.approx((r - statistics.mean(peers)) / (statistics.stdev(peers) + EPSILON), abs=1e-9)


@given(rows)
def test_rloo_is_the_distance_to_the_mean_of_the_others(batch: Rows) -> None:
    for k, ((r, group, _), found) in enumerate(zip(batch, _of("rloo", batch), strict=True)):
        others = [x for j, (x, name, _) in enumerate(batch) if j != k and name == group and x is not None]
        wanted = r - sum(others) / len(others) if r is not None and others else 0
        assert found == pytest.approx(wanted, abs=1e-9)


@given(rows)
def test_rloo_sums_to_nothing_and_is_never_divided_by_the_spread(batch: Rows) -> None:
    found = np.array(_of("rloo", batch))
    for group in {name for _, name, _ in batch}:
        assert found[[name == group for _, name, _ in batch]].sum() == pytest.approx(0, abs=1e-9)
    half = [(None if r is None else r / 2, name, t) for r, name, t in batch]
    assert np.array(_of("rloo", half)) == pytest.approx(found / 2, abs=1e-12)


@given(rows)
def test_token_weights_are_rows_repeated_once_per_token(batch: Rows) -> None:
    tokens: Rows = [(r, cell, 1) for r, cell, length in batch for _ in range(length)]
    by_token = iter(_of("trr++", tokens))
    expected = [list(islice(by_token, length))[-1] for _, _, length in batch]
    counted = {cell: sum(r is not None for r, name, _ in batch if name == cell) for _, cell, _ in batch}
    for row, found, wanted in zip(batch, _of("trr++ over tokens", batch), expected, strict=True):
        assert found == pytest.approx(wanted if counted[row[1]] > 1 else 0, abs=1e-9)


def test_a_long_answer_weighs_more_in_the_token_variant_only() -> None:
    batch: Rows = [(1.0, "s", 90), (-0.5, "s", 10)]
    assert sum(_of("trr++", batch)) == pytest.approx(0)
    long, short = _of("trr++ over tokens", batch)
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
    found = FUNCTIONS[name]([1.0, None], ["a", "b"], [3, 1])
    assert found.shape == (2,)
    assert found.dtype == np.float64


@names
def test_an_empty_batch_is_an_empty_answer(name: str) -> None:
    assert FUNCTIONS[name]([], [], []).shape == (0,)


def test_lengths_do_not_touch_the_sequence_variant() -> None:
    r, c = [1.0, -0.5, -1.0], ["s"] * 3
    assert trr(r, c, [1, 2, 3]).tolist() == trr(r, c, [30, 20, 10]).tolist()
    assert trr_tokens(r, c, [1, 2, 3]).tolist() != trr_tokens(r, c, [30, 20, 10]).tolist()
    assert grpo(r, c, [1, 2, 3]).tolist() == trr(r, c, [30, 20, 10]).tolist()


# Generalised advantages


def batches() -> st.SearchStrategy[tuple[list[float | None], np.ndarray, np.ndarray]]:
    """Rewards, values, and masks whose tokens come first in their row; some rows have none."""

    def build(rows: list[tuple[float | None, int, list[float]]]) -> Any:
        size = 6
        values = np.array([row[2] for row in rows]).reshape(len(rows), size)
        mask = np.array([[t < row[1] for t in range(size)] for row in rows]).reshape(len(rows), size)
        return [row[0] for row in rows], values, mask

    value = st.floats(-2, 2, width=32)
    row = st.tuples(rewards, st.integers(0, 6), st.lists(value, min_size=6, max_size=6))
    return st.lists(row, min_size=1, max_size=8).map(build)


weights = st.sampled_from([0.0, 0.5, 0.95, 1.0])


@given(batch=batches(), gamma=weights, lam=weights)
def test_gae_is_the_weighted_sum_of_the_errors_ahead(batch: Any, gamma: float, lam: float) -> None:
    r, values, mask = batch
    advantages, returns = gae(r, values, mask, gamma, lam)
    for row in range(len(r)):
        length = int(mask[row].sum()) if r[row] is not None else 0
        v = [*values[row, :length], 0.0]
        errors = [(r[row] if t == length - 1 else 0) + gamma * v[t + 1] - v[t] for t in range(length)]
        for t in range(values.shape[1]):
            wanted = sum((gamma * lam) ** (later - t) * errors[later] for later in range(t, length))
            assert advantages[row, t] == pytest.approx(wanted if t < length else 0, abs=1e-9)
            assert returns[row, t] == pytest.approx(wanted + values[row, t] if t < length else 0, abs=1e-9)


@given(batch=batches())
def test_gae_at_its_ends(batch: Any) -> None:
    r, values, mask = batch
    paid = np.array([0.0 if x is None else x for x in r])[:, None]
    inside = mask & np.array([x is not None for x in r])[:, None]
    far, returns = gae(r, values, mask, 1.0, 1.0)
    assert far == pytest.approx(np.where(inside, paid - values, 0), abs=1e-9), "lam = 1: reward less value"
    assert returns == pytest.approx(np.where(inside, np.broadcast_to(paid, mask.shape), 0), abs=1e-9)
    perfect, _ = gae(r, np.broadcast_to(paid, mask.shape), mask)
    assert perfect == pytest.approx(0, abs=1e-9), "a critic that knows the reward leaves no advantage"


@given(batch=batches())
def test_whitened_advantages(batch: Any) -> None:
    _, values, mask = batch
    found = whitened(values, mask)
    assert (found[~mask] == 0).all()
    inside = values[mask]
    if len(inside) > 1:
        wanted = (inside - inside.mean()) / (inside.std(ddof=1) + EPSILON)
        assert found[mask] == pytest.approx(wanted, abs=1e-9)
    else:
        assert (found == 0).all()


class Ranks:
    """Two processes as two threads: each gets the lists of both, in order."""

    def __init__(self) -> None:
        self._barrier = threading.Barrier(2)
        self._lists: dict[int, list[Any]] = {}

    def run(self, work: Any) -> list[Any]:
        """What ``work(rank, gather)`` returns on each."""
        found: dict[int, Any] = {}

        def gather(rank: int, items: list[Any]) -> list[Any]:
            self._lists[rank] = items
            self._barrier.wait(10)
            everything = [*self._lists[0], *self._lists[1]]
            self._barrier.wait(10)
            return everything

        def go(rank: int) -> None:
            found[rank] = work(rank, lambda items: gather(rank, items))

        threads = [threading.Thread(target=go, args=(rank,)) for rank in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        return [found[0], found[1]]


def test_whitening_and_explained_variance_do_not_depend_on_the_processes() -> None:
    rng = np.random.default_rng(0)
    values, mask = rng.normal(size=(8, 5)), rng.random((8, 5)) < 0.6
    r = rng.choice([1.0, -0.5], 8).tolist()
    parts = [slice(0, 3), slice(3, 8)]
    halves = Ranks().run(lambda rank, gather: whitened(values[parts[rank]], mask[parts[rank]], gather))
    assert np.concatenate(halves) == pytest.approx(whitened(values, mask), abs=1e-12)
    whole = explained_variance(r, values, mask)
    both = Ranks().run(
        lambda rank, gather: explained_variance(r[parts[rank]], values[parts[rank]], mask[parts[rank]], gather)
    )
    assert both == pytest.approx([whole, whole], abs=1e-12)


def test_explained_variance() -> None:
    mask = np.array([[True, True], [True, False]])
    r: list[float | None] = [1.0, -1.0]
    paid = np.array([[1.0, 1.0], [-1.0, -1.0]])
    assert explained_variance(r, paid, mask) == pytest.approx(1)
    assert explained_variance(r, np.full((2, 2), 0.3), mask) == pytest.approx(0)
    assert explained_variance(r, -paid, mask) < 0
    assert math.isnan(explained_variance([1.0, 1.0], paid, mask))
    assert math.isnan(explained_variance(r, paid, np.zeros((2, 2), dtype=bool)))


# Names


def test_names() -> None:
    for algorithm in ALGORITHMS:
        check_algorithm(algorithm, "sequences")
    check_algorithm("trr++", "tokens")


@pytest.mark.parametrize(
    ("algorithm", "advantage", "words"),
    [
        ("trr", "sequences", r"algorithm='trr' is unknown; choose one of trr\+\+, grpo, rloo, ppo"),
        ("trr++", "trr++tokens", "advantage='trr\\+\\+tokens' is unknown; choose one of sequences, tokens"),
        *((name, "tokens", f"variant of trr.*algorithm={name} leave it at") for name in ("grpo", "rloo", "ppo")),
    ],
)
def test_names_that_do_not_fit(algorithm: str, advantage: str, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        check_algorithm(algorithm, advantage)
