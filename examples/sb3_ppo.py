"""PPO of Stable-Baselines3 and MaskablePPO of sb3-contrib learn modular inverses, one token at a time.

    python -m pip install -c constraints.txt -e ".[sb3]"
    python examples/sb3_ppo.py

The prompt "program: 7 / input: 3 / output:" asks for the y with 3*y = 1 (mod 7). A policy that knows no language reads
its characters through `TokenWrapper` and writes the answer character by character: PPO chooses among 39 characters and
the end token, MaskablePPO among those that the mask leaves, the digits and then also the end token.

What is learned is a table. For p = 3, 5, 7 there are twelve different prompts, training sees them all, and "fresh
seeds" below means fresh draws of them and not unseen ones. It shows that the loop learns; nothing here generalises to
another prime. The chance line is the best that an answer can do without reading x: right for one x in p-1, so the mean
of 1/(p-1) over the primes, 31 %. A policy that writes at random is far below it.

Prints the success rate before and after, with a 95 % interval, draws the curve, and exits with 1 unless both end above
chance. Under two minutes on one busy core.
"""

from __future__ import annotations

import argparse
import math
import string
import sys
import time
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

import azr_env  # noqa: F401  (registers the ids)
from azr_env.wrappers import TokenWrapper

PRIMES = (3, 5, 7)
CHANCE = sum(1 / (p - 1) for p in PRIMES) / len(PRIMES)
ALGORITHMS: dict[str, type[PPO] | type[MaskablePPO]] = {"PPO": PPO, "MaskablePPO": MaskablePPO}


def make_env() -> gym.Env[Any, Any]:
    """Deduction over small primes; the mask allows digits, and PPO does not look at it."""
    env = gym.make("AZR-Deduction-v0", domain="prime_inversion", tasks="builtin:primes=3-7", style="compact")
    return TokenWrapper(
        env,
        max_prompt_tokens=27,
        max_answer_tokens=2,
        alphabet=string.ascii_lowercase + string.digits + ": \n",
        allowed=string.digits,
    )


class Embedded(BaseFeaturesExtractor):
    """Each of the last tokens as a learned vector, one after the other: ids have no order that a network could use."""

    def __init__(self, space: gym.spaces.Box, width: int = 16) -> None:
        super().__init__(space, space.shape[0] * width)
        self.embedding = torch.nn.Embedding(int(space.high.max()) + 1, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.embedding(tokens.long()).flatten(1)


class SuccessCurve(BaseCallback):
    """Success rate of the episodes that ended in each rollout, by training step."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[int] = []
        self.rates: list[float] = []
        self._solved: list[bool] = []

    def _on_step(self) -> bool:
        self._solved += [info["verdict"]["status"] == "correct" for info in self.locals["infos"] if "verdict" in info]
        return True

    def _on_rollout_end(self) -> None:
        self.steps.append(self.num_timesteps)
        self.rates.append(float(np.mean(self._solved)))
        self._solved = []


def successes(model: PPO | MaskablePPO, episodes: int, seed: int) -> int:
    """How many of so many freshly seeded episodes the policy solves, its tokens sampled as in training."""
    env = make_env()
    solved = 0
    for k in range(episodes):
        observation, info = env.reset(seed=seed + k)
        over = False
        while not over:
            masks = {"action_masks": info["action_mask"]} if isinstance(model, MaskablePPO) else {}
            action, _ = model.predict(observation, deterministic=False, **masks)
            observation, _, terminated, truncated, info = env.step(action)
            over = terminated or truncated
        solved += info["verdict"]["status"] == "correct"
    return solved


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a rate."""
    z, p = 1.96, successes / trials
    centre = (p + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * math.sqrt(p * (1 - p) / trials + z * z / (4 * trials**2)) / (1 + z * z / trials)
    return centre - half, centre + half


def train(name: str, steps: int, episodes: int, seed: int) -> tuple[SuccessCurve, bool]:
    """Trains, prints before and after, and says whether the interval after training lies above chance."""
    model = ALGORITHMS[name](
        "MlpPolicy",
        make_vec_env(make_env, n_envs=16, seed=seed),
        learning_rate=lambda left: 2e-3 * left,
        n_steps=128,
        batch_size=256,
        n_epochs=4,
        gamma=1.0,
        ent_coef=0.05,
        policy_kwargs={"features_extractor_class": Embedded, "net_arch": [128]},
        seed=seed,
        device="cpu",
    )
    curve, began = SuccessCurve(), time.monotonic()
    before = successes(model, episodes, seed=1_000_000)
    model.learn(steps, callback=curve)
    after = successes(model, episodes, seed=2_000_000)
    low, high = wilson(after, episodes)
    print(
        f"{name:12} before {before / episodes:6.1%}   after {after / episodes:6.1%} [{low:.1%}, {high:.1%}]   "
        f"chance {CHANCE:.1%}   {steps} steps, {time.monotonic() - began:.0f} s",
        flush=True,
    )
    return curve, low > CHANCE


def draw(curves: dict[str, SuccessCurve], path: str) -> None:
    """The success rate over training steps, with the chance line."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 3.6), layout="constrained")
    for name, curve in curves.items():
        axes.plot(curve.steps, curve.rates, label=name)
    axes.axhline(CHANCE, color="grey", linestyle="--", label="best answer without reading x")
    axes.set(
        xlabel="token steps", ylabel="success rate", ylim=(0, 1), title="Inverses modulo 3, 5 and 7, token by token"
    )
    axes.legend(loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def main() -> int:
    """Trains both, draws, and gives the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer steps and episodes, and no plot unless asked for")
    parser.add_argument("--steps", type=int, help="training steps of each algorithm (default 100000, quick 50000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plot", help="where the curve goes (default sb3_prime_inversion.png, quick none)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    steps = arguments.steps or (50_000 if arguments.quick else 100_000)
    episodes = 200 if arguments.quick else 500
    results = {name: train(name, steps, episodes, arguments.seed) for name in ALGORITHMS}
    plot = arguments.plot or ("" if arguments.quick else "sb3_prime_inversion.png")
    if plot:
        draw({name: curve for name, (curve, _) in results.items()}, plot)
        print(f"drawn: {plot}")
    return 0 if all(above for _, above in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
