"""The space of texts."""

from __future__ import annotations

import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector.utils import create_empty_array, create_shared_memory
from hypothesis import given

from azr_env.envs.spaces import AnyText
from azr_env.testing.strategies import wild_text

SPACE = AnyText(100)


@given(wild_text)
def test_any_string_up_to_the_length_is_in(text: str) -> None:
    assert (text in SPACE) == (len(text) <= 100)
    assert text in AnyText(1_000_000)


@pytest.mark.parametrize("thing", [b"a", None, 1, ["a"], ("a",), np.array("a"), object()])
def test_nothing_else_is_in(thing: object) -> None:
    assert thing not in SPACE


def test_edges() -> None:
    assert "" in SPACE
    assert "a" * 100 in SPACE
    assert "a" * 101 not in SPACE
    assert np.str_("a") in SPACE


def test_samples_are_members_and_follow_the_seed() -> None:
    one, two, three = (AnyText(100, seed=seed) for seed in (1, 1, 2))
    samples = [[space.sample() for _ in range(20)] for space in (one, two, three)]
    assert samples[0] == samples[1] != samples[2]
    assert all(text in SPACE and len(text) <= 64 for text in samples[0])
    assert len(set(samples[0])) > 15
    assert {len(AnyText(2, seed=k).sample()) for k in range(30)} == {0, 1, 2}


def test_masks_are_refused() -> None:
    for kwargs in ({"mask": (1, np.ones(1))}, {"probability": (1, np.ones(1))}):
        with pytest.raises(ValueError, match="neither mask nor probability"):
            SPACE.sample(**kwargs)


def test_small_in_every_way() -> None:
    assert repr(AnyText(1_000_000)) == "AnyText(1000000)"
    assert len(pickle.dumps(AnyText(1_000_000))) < 5000
    assert pickle.loads(pickle.dumps(SPACE)) == SPACE  # noqa: S301


def test_equality() -> None:
    assert AnyText(5) == AnyText(5)
    assert AnyText(5) != AnyText(6)
    assert AnyText(5) != gym.spaces.Text(5)
    assert len({AnyText(5), AnyText(5), AnyText(6)}) == 2


def test_shared_memory_is_refused_with_the_way_out() -> None:
    """With it every observation would read "000...0" and nothing would say so."""
    for space in (SPACE, gym.spaces.Dict({"a": SPACE}), gym.spaces.Tuple((SPACE,))):
        with pytest.raises(TypeError, match=r"shared_memory.*False.*sync"):
            create_shared_memory(space, 2)


def test_batches_are_tuples_of_texts() -> None:
    batch = gym.vector.utils.batch_space(SPACE, 3)
    assert ("a", "", "b\0") in batch
    assert ("a", "") not in batch
    assert len(create_empty_array(SPACE, 3)) == 3
