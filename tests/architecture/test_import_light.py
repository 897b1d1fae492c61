"""`import azr_env` registers the environments and loads nothing heavy: every async worker runs it."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = [
    "torch",
    "transformers",
    "trl",
    "azr_agents",
    "rich",
    "accelerate",
    "datasets",
    "hypothesis",
    "pytest",
    "sqlite3",
]


def loaded_by(code: str) -> set[str]:
    """Top-level modules in a fresh interpreter after `code`."""
    report = "import json, sys; print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_import_is_light() -> None:
    loaded = loaded_by("import azr_env")
    assert {"azr_env", "gymnasium", "numpy"} <= loaded
    assert loaded.isdisjoint(HEAVY)


def test_import_loads_no_plug_in() -> None:
    code = (
        "import azr_env, sys\n"
        "lazy = ('azr_env.domains', 'azr_env.envs', 'azr_env.executors', 'azr_env.verifiers', 'azr_env.sources')\n"
        "assert not [name for name in sys.modules if name.startswith(lazy)]"
    )
    assert "azr_env" in loaded_by(code)


def test_playing_an_episode_is_light() -> None:
    loaded = loaded_by(
        "import gymnasium as gym, azr_env\n"
        "env = gym.make('AZR-Deduction-v0', domain='prime_inversion')\n"
        "env.reset(seed=0); env.step('')"
    )
    assert loaded.isdisjoint(set(HEAVY) - {"sqlite3"})
