"""Serves each solver's environment with OpenEnv on a free port of the loopback, and plays it through OpenEnv's client.

python examples/openenv/play.py
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import gymnasium as gym

from azr_env import prompts
from azr_env.bridges.openenv import TextAction, TextClient
from azr_env.envs.single import TextEnv
from azr_env.types import Mode

SETTINGS = {"domain": "prime_inversion", "style": "compact"}


@contextmanager
def server(env_id: str, *settings: str) -> Iterator[str]:
    """A server in a process of its own; gives its address, and ends it with SIGTERM."""
    command = [sys.executable, "-m", "azr_env.bridges.openenv", env_id, "--port", "0", *settings]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"the server ended with {process.wait()} before it listened")
            yield line.split()[-1]
        finally:
            process.terminate()
            code = process.wait(timeout=30)
    if code != 0:
        raise RuntimeError(f"the server ended with {code}")


def right_answer(env_id: str, task_id: str) -> str:
    """A completion that solves a task, from an environment of our own; the server never tells."""
    env = gym.make(env_id, **SETTINGS).unwrapped
    assert isinstance(env, TextEnv)
    task = env.source.get(task_id)
    return prompts.completion_of(env.domain, task.mode, prompts.key(task), env.style)


def main() -> None:
    """Plays a right and a malformed answer in each mode."""
    for mode in Mode:
        env_id = f"AZR-{mode.capitalize()}-v0"
        with (
            server(env_id, *(f"{key}={value}" for key, value in SETTINGS.items())) as url,
            TextClient(base_url=url).sync() as env,
        ):
            task_id = env.reset(seed=7).observation.metadata["task_id"]
            for text in (right_answer(env_id, task_id), "<think>what is this?"):
                prompt = env.reset(seed=7).observation.text
                result = env.step(TextAction(text=text))
                status = result.observation.metadata["verdict"]["status"]
                print(f"{env_id:18} {prompt!r} -> {text!r}: {status}, reward {result.reward}, done {result.done}")


if __name__ == "__main__":
    main()
