"""Environments as a taskset of the library ``verifiers`` (v1): extra ``verifiers``.

Its command line finds packages by name and not modules inside one: ``examples/azr-verifiers`` is the package, of one
line, that exports these classes.

1. An item of the taskset is an episode: an environment's id, its settings and a seed. The taskset has no end.
2. A reward plays the model's messages again from the seed. So it holds in every ``Env`` and in a later ``vf-replay``.
3. A failure of our own machinery fails the rollout, which ``verifiers`` can retry; it is never a reward.
4. Nothing a model writes runs in this process: the environment's executor is the sandbox, and the chat needs none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import Any

import gymnasium as gym
import verifiers.v1 as vf
from openai import AsyncOpenAI
from verifiers.v1.dialects.chat import message_to_wire

from azr_env.bridges.rows import row_seed, settings_of, settings_text, text_of
from azr_env.errors import AzrError
from azr_env.types import Status

__all__ = ["AzrEnv", "AzrHarness", "AzrTaskset"]

_KEPT = 256


@dataclass(frozen=True, slots=True)
class Played:
    """How far some completions brought an episode.

    Attributes:
        prompt: what to ask next, or ``""`` when the episode is over.
        reward: the sum over the steps.
        correct: whether the last answer was right.
    """

    prompt: str
    reward: float
    correct: bool = False


@lru_cache(maxsize=_KEPT)
def play(env_id: str, settings: str, seed: int, completions: tuple[str, ...]) -> Played:
    """Plays an episode from its beginning; completions behind its end are not looked at.

    Args:
        env_id: of the environment.
        settings: keywords of ``gym.make`` as JSON text.
        seed: of the episode.
        completions: one per step. May be empty.

    Raises:
        AzrError: our own machinery failed.
    """
    env = gym.make(env_id, disable_env_checker=True, **settings_of(settings))
    prompt, _ = env.reset(seed=seed)
    played = Played(prompt, 0.0)
    for completion in completions:
        prompt, reward, terminated, truncated, info = env.step(completion)
        found = info.get("verdict", {})
        if truncated:
            raise AzrError(f"{env_id}, seed {seed}: the answer could not be judged: {found.get('reason') or info}")
        played = Played(prompt, played.reward + float(reward), found.get("status") == Status.CORRECT)
        if terminated:
            return Played("", played.reward, played.correct)
    return played


class AzrData(vf.TaskData):  # type: ignore[misc]
    """An episode, beside its first prompt."""

    env_id: str
    settings: str
    seed: int


class AzrTask(vf.Task[AzrData]):  # type: ignore[misc]
    """Scores a rollout by playing the model's messages in the environment."""

    @vf.reward  # type: ignore[untyped-decorator]
    async def reward(self, trace: vf.Trace) -> float:
        """Sum of the environment's rewards."""
        return (await self.played(trace)).reward

    @vf.metric  # type: ignore[untyped-decorator]
    async def correct(self, trace: vf.Trace) -> float:
        """1 if the last answer was right, else 0."""
        return float((await self.played(trace)).correct)

    async def played(self, trace: vf.Trace) -> Played:
        """How far the messages of a rollout brought the episode; those that call tools are not spoken to it."""
        spoken = [message for message in trace.assistant_messages if not message.tool_calls]
        texts = tuple(text_of([message.model_dump()]) for message in spoken)
        return await asyncio.to_thread(play, self.data.env_id, self.data.settings, self.data.seed, texts)


class AzrTasksetConfig(vf.TasksetConfig):  # type: ignore[misc]
    """Which episodes there are: ``--env.taskset.*`` of the command line."""

    env_id: str = "AZR-Deduction-v0"
    """Id of the environment."""
    settings: dict[str, Any] = {}  # noqa: RUF012  (pydantic copies it)
    """Keywords of ``gym.make``: ``domain``, ``tasks``, ``style``, ``attempts``, ..."""
    seed: int = 0
    """Fixes all episodes; with equal seeds the first of many are those of few."""


class AzrTaskset(vf.Taskset[AzrTask, AzrTasksetConfig]):  # type: ignore[misc]
    """Episodes without end; bound them with ``-n``."""

    INFINITE = True

    def load(self) -> Iterator[AzrTask]:
        """Yields the episodes in order."""
        config = self.config
        settings = settings_text(config.settings)
        env = gym.make(config.env_id, disable_env_checker=True, **config.settings)
        for index in count():
            seed = row_seed(config.env_id, config.seed, index)
            prompt, _ = env.reset(seed=seed)
            name = f"{config.env_id}#{index}"
            data = AzrData(name=name, prompt=prompt, env_id=config.env_id, settings=settings, seed=seed)
            yield AzrTask(data, config.task)


class AzrEnvConfig(vf.SingleAgentEnvConfig):  # type: ignore[misc]
    """One seat, whose program is a chat in this process: no container and no cloud is needed."""

    agent: vf.AgentConfig = vf.AgentConfig(runtime=vf.SubprocessConfig())


class AzrEnv(vf.SingleAgentEnv, vf.Env[AzrEnvConfig]):  # type: ignore[misc]
    """A conversation with the environment: each observation after the first is the next message of the user."""

    async def run(self, task: AzrTask, agents: vf.Agents) -> None:
        """Asks until the episode is over or the model stops."""
        async with agents.agent.interaction(task) as interaction:
            segment = await interaction.turn()
            while not segment.terminated:
                played = await task.played(interaction.trace)
                if not played.prompt:
                    break
                segment = await interaction.turn(played.prompt)


class AzrHarness(vf.Harness[vf.HarnessConfig]):  # type: ignore[misc]
    """A plain chat without tools, in this process. The library's own loops fetch packages at every start."""

    APPENDS_SYSTEM_PROMPT = True
    SUPPORTS_RESUME = True
    EXECUTES_CODE = False
    NEEDS_CONTAINER = False

    async def launch(
        self,
        ctx: vf.ModelContext,
        trace: vf.Trace,
        runtime: vf.Runtime,
        endpoint: str,
        secret: str,
        mcp_urls: dict[str, str],
        data: vf.TaskData,
    ) -> vf.ProgramResult:
        """Asks the model once; the endpoint keeps the record."""
        system, prompt = self.resolve_prompt(data)
        messages = [{"role": "system", "content": system}] if system else []
        if isinstance(prompt, str):
            messages.append({"role": "user", "content": prompt})
        else:
            messages += [message_to_wire(message) for message in prompt or []]
        async with AsyncOpenAI(base_url=endpoint, api_key=secret) as client:
            await client.chat.completions.create(model=ctx.model, messages=messages)
        return vf.ProgramResult(exit_code=0, stdout="", stderr="")
