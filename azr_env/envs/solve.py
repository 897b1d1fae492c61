"""One task, and an answer to it: the solver's environments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from azr_env.envs.game import Episode, Parts, Turn, member, parts, whole
from azr_env.envs.single import TextEnv
from azr_env.envs.vector import TextVectorEnv
from azr_env.errors import SettingError
from azr_env.grading import Grade, grade
from azr_env.prompts import label, retry_prompt, solver_prompt
from azr_env.rewards import REWARD_RANGE
from azr_env.types import Mode, Role, Status, Task, Verdict

MAX_ATTEMPTS = 64
_REMEMBERED = 16_384  # by a vector; a single environment meets a task again less often, and there may be many


@dataclass(frozen=True, slots=True)
class _State:
    task: Task
    past: tuple[tuple[str, Verdict], ...] = ()


class Solve:
    """The rules: an episode shows a task and grades the answer.

    ``info`` of a new episode: ``task_id``, ``mode``, ``role``, ``cell``; with ``attempts`` over 1 also ``attempt``,
    counted from 1. A step adds ``verdict``: ``status``, ``reason`` and ``answer``.

    Args:
        mode: which slot is blank.
        parts: domain, verifier, task source and style.
        attempts: answers that an episode allows, 1 to 64. A wrong answer that is not the last one earns 0 and gets
            feedback, which never holds the key; the last one earns what an only one would.
        remembered: how many tasks keep their prompt for the next time they are drawn.

    Raises:
        SettingError: ``attempts`` out of range.
    """

    reward_range = REWARD_RANGE

    def __init__(self, mode: Mode, parts: Parts, attempts: int = 1, remembered: int = 64) -> None:
        self.mode = mode
        self.parts = parts
        self.attempts = whole(attempts, "attempts", 1, MAX_ATTEMPTS)
        self._first = lru_cache(remembered)(self._begin)

    def deal(self, requests: Sequence[tuple[np.random.Generator, str | None]]) -> list[Episode]:
        """An episode per (generator, task's id or None); those without an id are drawn in one batch."""
        rngs = [rng for rng, task_id in requests if task_id is None]
        drawn = iter(self.parts.source.draw(self.mode, rngs) if rngs else [])
        return [self.begin(next(drawn) if task_id is None else self._task(task_id)) for _, task_id in requests]

    def begin(self, task: Task) -> Episode:
        """The episode that asks for an answer to ``task``."""
        return self._first(task)

    def judge(self, moves: Sequence[tuple[Episode, str]]) -> list[Turn]:
        """Grades every answer in one call of the verifier."""
        parts = self.parts
        answers = [(episode.state.task, action) for episode, action in moves]
        grades = grade(parts.domain, parts.verifier, answers, parts.style)
        return [self._turn(episode, graded) for (episode, _), graded in zip(moves, grades, strict=True)]

    def _task(self, task_id: str) -> Task:
        task = self.parts.source.get(task_id)
        if task.mode is not self.mode:
            raise SettingError(f"task {task.id!r} is a {task.mode} task; this environment does {self.mode}")
        return task

    def _begin(self, task: Task) -> Episode:
        info: dict[str, Any] = {
            "task_id": task.id,
            "mode": str(task.mode),
            "role": str(Role.SOLVER),
            "cell": label(task.mode, Role.SOLVER),
        }
        if self.attempts > 1:
            info["attempt"] = 1
        return Episode(solver_prompt(self.parts.domain, task, self.parts.style), info, _State(task))

    def _turn(self, episode: Episode, graded: Grade) -> Turn:
        verdict = graded.verdict
        told = {"status": str(verdict.status), "reason": verdict.reason, "answer": graded.answer}
        info = {**episode.info, "verdict": told}
        if graded.reward is None:
            return Turn(0.0, info, truncated=True)
        past = (*episode.state.past, (graded.answer, verdict))
        if verdict.status is Status.CORRECT or len(past) >= self.attempts:
            return Turn(graded.reward, info)
        return Turn(0.0, info, self._again(episode, past))

    def _again(self, episode: Episode, past: tuple[tuple[str, Verdict], ...]) -> Episode:
        task = episode.state.task
        prompt = retry_prompt(self.parts.domain, task, past, self.parts.style)
        return Episode(prompt, {**episode.info, "attempt": len(past) + 1}, replace(episode.state, past=past))


class SolveEnv(TextEnv):
    """The solver's environment of one mode, ``AZR-<Mode>-v0``: see :class:`Solve` and :class:`TextEnv`.

    The reward is 1 for a right answer, -0.5 for a wrong one, and -1 for one that cannot be read.

    Args:
        mode: which slot is blank; set by the environment's id.
        attempts: answers that an episode allows.
        render_mode: ``None`` or ``ansi``.
        **settings: ``domain``, ``tasks``, ``verifier``, ``executor``, ``style`` and the domain's own: see
            :func:`azr_env.envs.game.parts`.

    Raises:
        UnknownNameError: a name that no plug-in has; the message lists those that exist.
        SettingError: a setting that cannot work.
    """

    def __init__(self, mode: Mode | str, attempts: int = 1, render_mode: str | None = None, **settings: Any) -> None:
        self.mode: Mode = member(Mode, mode, "mode")
        super().__init__(Solve(self.mode, parts(**settings), attempts), render_mode)


class SolveVectorEnv(TextVectorEnv):
    """A vector of :class:`SolveEnv`; arguments as there, and ``num_envs``."""

    def __init__(
        self,
        mode: Mode | str,
        num_envs: int = 1,
        attempts: int = 1,
        render_mode: str | None = None,
        **settings: Any,
    ) -> None:
        self.mode: Mode = member(Mode, mode, "mode")
        super().__init__(Solve(self.mode, parts(**settings), attempts, _REMEMBERED), num_envs, render_mode)
