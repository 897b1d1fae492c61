"""Who answers a proposed task: a policy, or a scripted solver that needs no model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

from azr_env import registry
from azr_env.envs.game import Parts
from azr_env.errors import AzrError
from azr_env.prompts import completion_of, key, solver_prompt
from azr_env.protocols import Policy
from azr_env.types import Task

HALF = 24
"""Characters of a task's identity at which the scripted solver is right half of the time."""


class Solver(Protocol):
    """Answers tasks with completions."""

    def answer(self, tasks: Sequence[Task], seeds: Sequence[int]) -> list[str]:
        """One completion per task, a function of the task and its seed."""
        ...


class PolicySolver:
    """A policy that reads the tasks' prompts."""

    def __init__(self, policy: Policy, parts: Parts, max_new_tokens: int) -> None:
        self._policy = policy
        self._parts = parts
        self._max_new_tokens = max_new_tokens

    def answer(self, tasks: Sequence[Task], seeds: Sequence[int]) -> list[str]:
        """One completion per task, all in one call of the policy."""
        prompts = [solver_prompt(self._parts.domain, task, self._parts.style) for task in tasks]
        completions = self._policy.complete(prompts, self._max_new_tokens, seeds)
        who = type(self._policy).__name__
        if len(completions) != len(prompts):
            raise AzrError(f"the policy {who} gave {len(completions)} completions for {len(prompts)} prompts: one each")
        strange = next((text for text in completions if not isinstance(text, str)), "")
        if strange != "":
            raise AzrError(f"the policy {who} gave a {type(strange).__name__} as completion: a string is due")
        return completions


class ScriptedSolver:
    """Stands in for a model: it knows the key, and gives it less often the more complex the task is.

    It is right with probability 1 / (1 + L / ``HALF``), L being the length of the task's identity: its program without
    layout, comments and chosen names, and its inputs. Chance comes from the seed and the task alone.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def answer(self, tasks: Sequence[Task], seeds: Sequence[int]) -> list[str]:
        """The key, or an empty answer."""
        return [self._one(task, seed) for task, seed in zip(tasks, seeds, strict=True)]

    def _one(self, task: Task, seed: int) -> str:
        parts = self._parts
        identity = parts.domain.identity(task)
        digest = hashlib.sha256(f"{seed} {identity}".encode("utf-8", "surrogatepass")).digest()
        right = int.from_bytes(digest[:8], "big") / 2**64 < 1 / (1 + len(identity) / HALF)
        return completion_of(parts.domain, task.mode, key(task) if right else "", parts.style)


def solver_of(spec: str | Policy, parts: Parts, max_new_tokens: int) -> Solver:
    """The solver that a policy makes, or the one of that name.

    Raises:
        UnknownNameError: no policy of that name.
    """
    if spec == "scripted":
        return ScriptedSolver(parts)
    return PolicySolver(registry.policy(spec), parts, max_new_tokens)
