"""Rows: plain data from which an episode is met again."""

from __future__ import annotations

import json
from typing import Any

import gymnasium as gym
import pytest
from hypothesis import given

from azr_env.bridges.rows import digest, game_of, row_seed, rows, settings_of, settings_text, text_of
from azr_env.envs.solve import SolveEnv
from azr_env.errors import SettingError, UnknownNameError
from azr_env.testing.strategies import wild_text
from azr_env.types import Mode

SOLVE = [f"AZR-{mode.capitalize()}-v0" for mode in Mode]
PROPOSE = [f"AZR-{mode.capitalize()}-Propose-v0" for mode in Mode]


@pytest.mark.parametrize("domain", ["prime_inversion", "python"])
@pytest.mark.parametrize("env_id", SOLVE + PROPOSE)
def test_a_row_is_what_reset_shows(env_id: str, domain: str) -> None:
    found = rows(env_id, 3, seed=5, domain=domain)
    env = gym.make(env_id, domain=domain)
    assert [row["prompt"] for row in found] == [env.reset(seed=row["seed"])[0] for row in found]
    assert len({row["seed"] for row in found}) == 3


def test_rows_are_plain_data_and_hold_every_setting() -> None:
    settings: dict[str, Any] = {"domain": "prime_inversion", "style": "compact", "max_prime": 31}
    (row,) = rows("AZR-Deduction-v0", 1, **settings)
    assert json.loads(json.dumps(row)) == row
    assert set(row) == {"prompt", "env_id", "seed", "settings", "digest"}
    assert settings_of(row["settings"]) == settings
    assert row["prompt"].startswith("program: ")
    assert row["digest"] == digest(row["prompt"])


def test_equal_seeds_equal_rows_and_the_first_of_many_are_those_of_few() -> None:
    many = rows("AZR-Abduction-v0", 12, seed=3, domain="prime_inversion")
    assert rows("AZR-Abduction-v0", 4, seed=3, domain="prime_inversion") == many[:4]
    assert rows("AZR-Abduction-v0", 12, seed=4, domain="prime_inversion") != many
    assert rows("AZR-Abduction-v0", 0, domain="prime_inversion") == []


def test_ids_seeds_and_places_get_seeds_of_their_own() -> None:
    seeds = {row_seed(env_id, seed, index) for env_id in SOLVE for seed in range(20) for index in range(20)}
    assert len(seeds) == 3 * 20 * 20
    assert all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.parametrize(("env_id", "settings"), [("AZR-SelfPlay-v0", {}), ("AZR-Deduction-v0", {"attempts": 2})])
def test_an_episode_of_several_actions_is_no_row(env_id: str, settings: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match="one prompt and one completion"):
        rows(env_id, 1, domain="prime_inversion", **settings)


def test_other_environments_and_names_are_refused() -> None:
    with pytest.raises(SettingError, match="CartPole"):
        game_of("CartPole-v1", "{}")
    with pytest.raises(UnknownNameError, match="no domain"):
        rows("AZR-Deduction-v0", 1, domain="primes")


@pytest.mark.parametrize("value", [object(), float("nan"), {1, 2}])
def test_settings_are_json(value: object) -> None:
    with pytest.raises(SettingError, match="by name, not as objects"):
        rows("AZR-Deduction-v0", 1, domain=value)


def test_settings_text_does_not_depend_on_order() -> None:
    assert settings_text({"a": 1, "b": 2}) == settings_text({"b": 2, "a": 1})


@pytest.mark.parametrize(
    ("completion", "text"),
    [
        ("plain", "plain"),
        ([{"role": "assistant", "content": "hello"}], "hello"),
        ([{"role": "tool", "content": "x"}, {"role": "assistant", "content": "last"}], "last"),
        ([{"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}], "ab"),
        ([{"role": "assistant", "content": [{"type": "image"}, {"type": "text", "text": None}]}], ""),
        (
            [{"role": "assistant", "content": "42", "reasoning_content": "six by seven"}],
            "<think>six by seven</think>42",
        ),
        ([{"role": "assistant", "content": None}], ""),
        ([{"role": "assistant"}], ""),
        ([], ""),
        ("", ""),
    ],
)
def test_text_of(completion: Any, text: str) -> None:
    assert text_of(completion) == text


@given(wild_text)
def test_any_text_has_a_digest_and_is_itself(text: str) -> None:
    assert len(digest(text)) == 16
    assert text_of(text) == text_of([{"content": text}]) == text


def test_game_of_takes_objects() -> None:
    env = gym.make("AZR-Deduction-v0", domain="prime_inversion").unwrapped
    assert isinstance(env, SolveEnv)
    assert game_of("AZR-Deduction-v0", "{}", domain=env.domain).parts.domain is env.domain
