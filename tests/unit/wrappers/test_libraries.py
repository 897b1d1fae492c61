"""What reinforcement learning libraries ask of our environments before they train; skipped where one is absent."""

from __future__ import annotations

import functools
import string
import warnings

import gymnasium as gym
import numpy as np
import pytest

import azr_env  # noqa: F401  (registers the ids)
from azr_env.wrappers import TokenWrapper

IDS = sorted(name for name in gym.registry if name.startswith("AZR-"))
DIGITS = {"max_prompt_tokens": 12, "max_answer_tokens": 3, "alphabet": string.digits + "\n", "allowed": string.digits}


def digits() -> TokenWrapper:
    return TokenWrapper(gym.make("AZR-Deduction-v0", domain="prime_inversion", style="compact"), **DIGITS)


@pytest.mark.parametrize("domain", ["python", "prime_inversion"])
@pytest.mark.parametrize("name", IDS)
def test_sb3_check_env(name: str, domain: str) -> None:
    """Without one warning."""
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make(name, domain=domain, disable_env_checker=True)
        checker.check_env(TokenWrapper(env, max_prompt_tokens=8192, max_answer_tokens=4))


def test_sb3_contrib_finds_the_masks() -> None:
    maskable = pytest.importorskip("sb3_contrib.common.maskable.utils")
    make_vec_env = pytest.importorskip("stable_baselines3.common.env_util").make_vec_env
    envs = make_vec_env(digits, n_envs=2, seed=0)
    envs.reset()
    assert maskable.is_masking_supported(envs)
    assert maskable.get_action_masks(envs).sum(axis=1).tolist() == [10, 10]
    envs.step(np.array([1, 2]))
    assert maskable.get_action_masks(envs).sum(axis=1).tolist() == [11, 11]


@pytest.mark.parametrize("name", IDS)
def test_torchrl_knows_texts(name: str) -> None:
    torchrl = pytest.importorskip("torchrl.envs")
    env = torchrl.GymEnv(name, domain="prime_inversion", style="compact")
    torchrl.check_env_specs(env)
    assert isinstance(env.reset()["observation"], str)


def test_torchrl_knows_tokens() -> None:
    torchrl = pytest.importorskip("torchrl.envs")
    env = torchrl.GymWrapper(digits(), categorical_action_encoding=True)
    torchrl.check_env_specs(env)
    assert env.rollout(3, break_when_any_done=False)["observation"].shape == (3, 15)


def test_torchrl_makes_workers() -> None:
    """One process per environment, strings across: TorchRL's own vectors."""
    torchrl = pytest.importorskip("torchrl.envs")
    make = functools.partial(torchrl.GymEnv, "AZR-Deduction-v0", domain="prime_inversion", style="compact")
    envs = torchrl.SerialEnv(2, make)
    envs.set_seed(0)
    prompts = envs.reset()["observation"]
    assert len(set(prompts)) == 2
    envs.close()
