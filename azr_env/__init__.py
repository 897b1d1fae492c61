"""Absolute Zero as Gymnasium environments: verifiable rewards for reasoning models that train by self-play.

Importing this module registers the environments. It imports gymnasium and numpy and nothing heavier.
"""

from __future__ import annotations

from typing import Final

import gymnasium as gym

from azr_env.types import Example, Limits, Mode, Role, Slot, Status, Task, Verdict

__version__: Final = "0.1.0"

__all__ = ["Example", "Limits", "Mode", "Role", "Slot", "Status", "Task", "Verdict", "__version__"]

for _mode in Mode:
    gym.register(
        id=f"AZR-{_mode.capitalize()}-v0",
        entry_point="azr_env.envs.solve:SolveEnv",
        kwargs={"mode": str(_mode)},
    )
del _mode
