"""PPO in one file, in the style of CleanRL, on a Gymnasium vector of token-level environments.

    python -m pip install -c constraints.txt -e . torch
    python examples/cleanrl_ppo.py

The policy reads "program: 7 / input: 3 / output:" as characters and writes the y with 3*y = 1 (mod 7), character by
character, among those that `info["action_mask"]` leaves. PPO is that of Schulman et al. (arXiv 1707.06347) with
generalised advantages (arXiv 1506.02438), undiscounted, since only the last token of an answer is paid.

What is learned is a table: p = 3, 5, 7 give twelve different prompts, and training sees them all. The chance line is
the best that an answer can do without reading x, the mean of 1/(p-1) over the primes. Prints the success rate before
and after on fresh draws, with a 95 % interval, and exits with 1 unless it ends above chance.
"""

from __future__ import annotations

import argparse
import functools
import math
import string
import sys
import time
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from torch import nn
from torch.distributions import Categorical

import azr_env  # noqa: F401  (registers the ids)
from azr_env.wrappers import TokenWrapper

PRIMES = (3, 5, 7)
CHANCE = sum(1 / (p - 1) for p in PRIMES) / len(PRIMES)
ALPHABET = string.ascii_lowercase + string.digits + ": \n"


@dataclass(frozen=True)
class Settings:
    """PPO's usual knobs."""

    steps: int = 60_000
    num_envs: int = 16
    rollout: int = 128
    epochs: int = 4
    minibatch: int = 256
    learning_rate: float = 2e-3
    gae_lambda: float = 0.95
    clip: float = 0.2
    value_weight: float = 0.5
    entropy_weight: float = 0.05
    max_grad_norm: float = 0.5


def make_envs(num_envs: int) -> gym.vector.VectorEnv:
    """Text environments, each in a TokenWrapper; an episode that ends is followed by the next one in the same step."""
    tokens = functools.partial(
        TokenWrapper, max_prompt_tokens=27, max_answer_tokens=2, alphabet=ALPHABET, allowed=string.digits
    )
    return gym.make_vec(
        "AZR-Deduction-v0",
        num_envs=num_envs,
        vectorization_mode="sync",
        wrappers=[tokens],
        vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
        domain="prime_inversion",
        tasks="builtin:primes=3-7",
        style="compact",
    )


class ActorCritic(nn.Module):
    """Token embeddings, side by side, under two small networks."""

    def __init__(self, window: int, vocabulary: int, width: int = 16, hidden: int = 128) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Embedding(vocabulary, width), nn.Flatten())
        self.actor = nn.Sequential(nn.Linear(window * width, hidden), nn.Tanh(), nn.Linear(hidden, vocabulary))
        self.critic = nn.Sequential(nn.Linear(window * width, hidden), nn.Tanh(), nn.Linear(hidden, 1))
        nn.init.orthogonal_(self.actor[-1].weight, 0.01)

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> tuple[Categorical, torch.Tensor]:
        """The distribution over the allowed tokens, and the value; shapes (batch, window), (batch, vocabulary)."""
        seen = self.embed(tokens)
        logits = self.actor(seen).masked_fill(~mask, -1e9)
        return Categorical(logits=logits), self.critic(seen).squeeze(-1)


@torch.no_grad()
def advantages(
    rewards: torch.Tensor, values: torch.Tensor, ends: torch.Tensor, last_value: torch.Tensor, lam: float
) -> torch.Tensor:
    """Generalised advantages with gamma = 1; all of shape (time, env) but ``last_value`` (env).

    ``ends[t]`` says that the episode ended with step t, so that what follows belongs to another one.
    """
    result = torch.zeros_like(rewards)
    running = torch.zeros_like(last_value)
    for t in reversed(range(len(rewards))):
        goes_on = 1.0 - ends[t]
        following = values[t + 1] if t + 1 < len(rewards) else last_value
        running = rewards[t] + goes_on * following - values[t] + goes_on * lam * running
        result[t] = running
    return result


def outcomes(infos: dict) -> list[bool]:
    """Whether each episode that ended in this step was solved."""
    if "final_info" not in infos:
        return []
    ended, statuses = infos["_final_info"], infos["final_info"]["verdict"]["status"]
    return [status == "correct" for status in statuses[ended]]


@torch.no_grad()
def success_rate(agent: ActorCritic, episodes: int, seed: int) -> float:
    """Share of so many fresh episodes that are solved, with sampled tokens."""
    envs = make_envs(16)
    observation, infos = envs.reset(seed=seed)
    solved: list[bool] = []
    while len(solved) < episodes:
        choice, _ = agent(torch.as_tensor(observation), torch.as_tensor(infos["action_mask"]))
        observation, _, _, _, infos = envs.step(choice.sample().numpy())
        solved += outcomes(infos)
    envs.close()
    return float(np.mean(solved[:episodes]))


def train(agent: ActorCritic, settings: Settings, seed: int) -> None:
    """Rollouts and clipped updates, with a learning rate that falls to zero."""
    envs = make_envs(settings.num_envs)
    optimizer = torch.optim.Adam(agent.parameters(), eps=1e-5)
    batch = settings.rollout * settings.num_envs
    updates = max(settings.steps // batch, 1)
    observation, infos = envs.reset(seed=seed)
    for update in range(updates):
        optimizer.param_groups[0]["lr"] = settings.learning_rate * (1 - update / updates)
        kept: dict[str, list[torch.Tensor]] = {
            name: [] for name in ("tokens", "mask", "action", "logprob", "value", "reward", "end")
        }
        solved: list[bool] = []
        for _ in range(settings.rollout):
            tokens, mask = torch.as_tensor(observation), torch.as_tensor(infos["action_mask"])
            with torch.no_grad():
                choice, value = agent(tokens, mask)
                action = choice.sample()
            observation, reward, terminated, truncated, infos = envs.step(action.numpy())
            solved += outcomes(infos)
            step = {
                "tokens": tokens,
                "mask": mask,
                "action": action,
                "logprob": choice.log_prob(action),
                "value": value,
                "reward": torch.as_tensor(reward, dtype=torch.float32),
                "end": torch.as_tensor(terminated | truncated, dtype=torch.float32),
            }
            for name, tensor in step.items():
                kept[name].append(tensor)
        data = {name: torch.stack(tensors) for name, tensors in kept.items()}
        with torch.no_grad():
            _, last_value = agent(torch.as_tensor(observation), torch.as_tensor(infos["action_mask"]))
        data["advantage"] = advantages(data["reward"], data["value"], data["end"], last_value, settings.gae_lambda)
        data["return"] = data["advantage"] + data["value"]
        flat = {name: tensor.flatten(0, 1) for name, tensor in data.items()}
        for _ in range(settings.epochs):
            for part in torch.randperm(batch).split(settings.minibatch):
                optimizer.zero_grad()
                loss(agent, {name: tensor[part] for name, tensor in flat.items()}, settings).backward()
                nn.utils.clip_grad_norm_(agent.parameters(), settings.max_grad_norm)
                optimizer.step()
        if (update + 1) % 5 == 0:
            print(f"step {(update + 1) * batch:6d}   success {np.mean(solved):6.1%}", flush=True)
    envs.close()


def loss(agent: ActorCritic, part: dict[str, torch.Tensor], settings: Settings) -> torch.Tensor:
    """PPO's clipped surrogate, the value's squared error, and the entropy, of one minibatch."""
    choice, value = agent(part["tokens"], part["mask"])
    ratio = (choice.log_prob(part["action"]) - part["logprob"]).exp()
    gain = part["advantage"]
    gain = (gain - gain.mean()) / (gain.std() + 1e-8)
    surrogate = torch.minimum(ratio * gain, ratio.clamp(1 - settings.clip, 1 + settings.clip) * gain).mean()
    error = (value - part["return"]).square().mean()
    return settings.value_weight * error - surrogate - settings.entropy_weight * choice.entropy().mean()


def main() -> int:
    """Measures, trains, measures again, and gives the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer steps and episodes")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    settings = Settings(steps=40_000) if arguments.quick else Settings()
    episodes = 200 if arguments.quick else 500
    envs = make_envs(1)
    agent = ActorCritic(envs.single_observation_space.shape[0], int(envs.single_action_space.n))
    envs.close()
    began = time.monotonic()
    before = success_rate(agent, episodes, seed=1_000_000)
    train(agent, settings, arguments.seed)
    after = success_rate(agent, episodes, seed=2_000_000)
    low, high = wilson(after, episodes)
    print(
        f"before {before:.1%}   after {after:.1%} [{low:.1%}, {high:.1%}]   chance {CHANCE:.1%}   "
        f"{settings.steps} steps, {time.monotonic() - began:.0f} s"
    )
    return 0 if low > CHANCE else 1


def wilson(rate: float, trials: int) -> tuple[float, float]:
    """Wilson's 95 % interval."""
    z = 1.96
    centre = (rate + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials**2)) / (1 + z * z / trials)
    return centre - half, centre + half


if __name__ == "__main__":
    sys.exit(main())
