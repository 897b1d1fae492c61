"""TorchRL collects rollouts of a text environment, with strings as observations and actions.

    python -m pip install -c constraints.txt -e ".[torchrl]"
    python examples/torchrl_rollout.py

No adapter is needed: TorchRL maps Gymnasium's `Text` space, and so ours, to non-tensor data. `import azr_env` registers
the ids that `GymEnv` then makes by name. The policy is a scripted one that knows the rule and gets every third task
wrong, so that the rewards are known beforehand; they are asserted. A language model takes its place as any callable
from "observation" to "action". For a policy over tokens, `GymWrapper` takes an `azr_env.wrappers.TokenWrapper`.
"""

from __future__ import annotations

import argparse
import sys

from torchrl.envs import GymEnv

import azr_env  # noqa: F401  (registers the ids)


class Scripted:
    """Inverts x modulo p, and answers every third prompt wrongly."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, observation: str) -> str:
        p, x = (int(line.partition(": ")[2]) for line in observation.splitlines()[:2])
        self.asked += 1
        return "0" if self.asked % 3 == 0 else str(pow(x, -1, p))


def main() -> int:
    """Collects one rollout over several episodes, prints it, and checks its rewards."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=6, help="steps of the rollout, each an episode of its own")
    steps = parser.parse_args().steps
    env = GymEnv("AZR-Deduction-v0", domain="prime_inversion", style="compact")
    env.set_seed(0)
    rollout = env.rollout(steps, Scripted(), break_when_any_done=False)
    rewards = rollout["next", "reward"].flatten().tolist()
    for prompt, action, reward in zip(rollout["observation"], rollout["action"], rewards, strict=True):
        print(f"{' / '.join(prompt.splitlines())} {action}   reward {reward:g}")
    env.close()
    expected = [-0.5 if k % 3 == 2 else 1.0 for k in range(steps)]
    assert rewards == expected, f"expected {expected}"
    assert rollout["next", "terminated"].all(), "every answer ends its episode"
    assert len(set(rollout["observation"])) > 1, "episodes bring tasks of their own"
    print(f"{steps} steps, rewards as expected")
    return 0


if __name__ == "__main__":
    sys.exit(main())
