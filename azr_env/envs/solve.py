"""One task, one answer: the solver's environments."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from azr_env import registry
from azr_env.envs.spaces import AnyText
from azr_env.errors import SettingError
from azr_env.grading import Grade, grade
from azr_env.parsing import Style
from azr_env.prompts import label, solver_prompt
from azr_env.protocols import Domain, Executor, TaskSource, Verifier
from azr_env.rewards import REWARD_RANGE
from azr_env.types import Mode, Role, Status, Task

MAX_PROMPT = 1_000_000
"""Longest observation, in characters."""
MAX_COMPLETION = 1_000_000
"""Longest action, in characters."""


class SolveEnv(gym.Env[str, str]):
    """A single-step text environment: the observation is a solver's prompt, the action a completion.

    Any string is a legal action. The reward is the verdict's: 1 correct, -0.5 wrong, -1 malformed. When our own
    machinery fails, the episode is truncated with reward 0 instead of terminated.

    ``info`` of ``reset``: ``task_id``, ``mode``, ``role``. ``info`` of ``step`` adds ``verdict`` with ``status``,
    ``reason`` and ``answer``.

    Args:
        mode: which slot is blank; set by the environment's id.
        domain: a domain, or a name.
        tasks: a task source, or ``NAME`` or ``NAME:ARGUMENT``.
        verifier: a verifier, or a name.
        executor: an executor, or a name; for a domain given by name.
        style: ``paper`` or ``compact``.
        render_mode: ``None`` or ``ansi``.
        **options: settings of a domain given by name, for example ``max_prime=31``.

    Raises:
        UnknownNameError: a name that no plug-in has; the message lists those that exist.
        SettingError: a setting that cannot work.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012  (gymnasium types it so)

    def __init__(
        self,
        mode: Mode | str,
        domain: str | Domain = "python",
        tasks: str | TaskSource = "builtin",
        verifier: str | Verifier = "relation",
        executor: str | Executor = "zygote",
        style: Style | str = Style.PAPER,
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        self.mode = _member(Mode, mode, "mode")
        self.style = _member(Style, style, "style")
        if render_mode not in (None, "ansi"):
            raise SettingError(f"render_mode={render_mode!r}; choose None or 'ansi'")
        self.render_mode = render_mode
        self.domain = registry.domain(domain, executor, **options)
        self.verifier = registry.verifier(verifier, self.domain)
        self.source = registry.source(tasks, self.domain)
        self.observation_space = AnyText(MAX_PROMPT)
        self.action_space = AnyText(MAX_COMPLETION)
        self.reward_range = REWARD_RANGE
        self._task: Task | None = None
        self._last: tuple[str, Grade] | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Draws a task.

        Args:
            seed: fixes all tasks from here on.
            options: ``{"task_id": ID}`` asks for one task.

        Raises:
            UnknownNameError: no task of that id.
            SettingError: an option other than ``task_id``, or a task of another mode.
        """
        super().reset(seed=seed)
        options = options or {}
        if set(options) - {"task_id"}:
            raise SettingError(f"reset option {sorted(set(options) - {'task_id'})[0]!r} is unknown; there is 'task_id'")
        if "task_id" in options:
            task = self.source.get(options["task_id"])
            if task.mode is not self.mode:
                raise SettingError(f"task {task.id!r} is a {task.mode} task; this environment does {self.mode}")
        else:
            task = self.source.draw(self.mode, self.np_random, 1)[0]
        self._task, self._last = task, None
        return solver_prompt(self.domain, task, self.style), self._info(task)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Grades a completion and ends the episode.

        Raises:
            gymnasium.error.ResetNeeded: before :meth:`reset`, or after the episode's end.
            SettingError: the action is no string.
        """
        if self._task is None or self._last is not None:
            raise gym.error.ResetNeeded("call reset() before step(): an episode is one step")
        if not isinstance(action, str):
            raise SettingError(f"an action is a string, not {type(action).__name__}")
        graded = grade(self.domain, self.verifier, [(self._task, action)], self.style)[0]
        self._last = (action, graded)
        failed = graded.reward is None
        info = self._info(self._task) | {
            "verdict": {
                "status": str(graded.verdict.status),
                "reason": graded.verdict.reason,
                "answer": graded.answer,
            }
        }
        return "", 0.0 if graded.reward is None else graded.reward, not failed, failed, info

    def render(self) -> str | None:
        """The prompt, and the completion with its verdict once there is one (``ansi``)."""
        if self.render_mode is None:
            gym.logger.warn("render() without a render mode: gym.make(..., render_mode='ansi')")
            return None
        if self._task is None:
            return ""
        text = solver_prompt(self.domain, self._task, self.style)
        if self._last is None:
            return text
        completion, graded = self._last
        reward = "none" if graded.reward is None else f"{graded.reward:g}"
        mark = "\033[32m" if graded.verdict.status is Status.CORRECT else "\033[31m"
        reason = f" ({graded.verdict.reason})" if graded.verdict.reason else ""
        return f"{text}\n\n{completion}\n\n{mark}{graded.verdict.status}\033[0m{reason}, reward {reward}"

    def _info(self, task: Task) -> dict[str, Any]:
        return {
            "task_id": task.id,
            "mode": str(task.mode),
            "role": str(Role.SOLVER),
            "cell": label(task.mode, Role.SOLVER),
        }


def _member(kind: Any, value: Any, name: str) -> Any:
    try:
        return kind(value)
    except ValueError:
        raise SettingError(f"{name}={value!r} is unknown; choose one of {', '.join(kind)}") from None
