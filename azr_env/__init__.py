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
    for _id, _module, _class in (("", "solve", "Solve"), ("-Propose", "propose", "Propose")):
        gym.register(
            id=f"AZR-{_mode.capitalize()}{_id}-v0",
            entry_point=f"azr_env.envs.{_module}:{_class}Env",
            vector_entry_point=f"azr_env.envs.{_module}:{_class}VectorEnv",
            kwargs={"mode": str(_mode)},
        )
gym.register(
    id="AZR-SelfPlay-v0",
    entry_point="azr_env.envs.selfplay:SelfPlayEnv",
    vector_entry_point="azr_env.envs.selfplay:SelfPlayVectorEnv",
)
del _mode, _id, _module, _class
