"""A game as a Gymnasium environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym

from azr_env.envs.game import Episode, Game, Turn
from azr_env.envs.spaces import AnyText
from azr_env.errors import SettingError

MAX_PROMPT = 1_000_000
"""Longest observation, in characters."""
MAX_COMPLETION = 1_000_000
"""Longest action, in characters."""
OPTIONS = {"task_id"}


class TextEnv(gym.Env[str, str]):
    """A text environment: the observation is a prompt, the action a completion, and any string is legal.

    When our own machinery fails, the episode is truncated with reward 0 instead of terminated.

    Args:
        game: the rules.
        render_mode: ``None`` or ``ansi``.

    Raises:
        SettingError: an unknown render mode.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012  (gymnasium types it so)

    def __init__(self, game: Game, render_mode: str | None = None) -> None:
        check_render_mode(render_mode)
        self.render_mode = render_mode
        self.game = game
        self.domain = game.parts.domain
        self.verifier = game.parts.verifier
        self.source = game.parts.source
        self.style = game.parts.style
        self.reward_range = game.reward_range
        self.observation_space = AnyText(MAX_PROMPT)
        self.action_space = AnyText(MAX_COMPLETION)
        self._episode: Episode | None = None
        self._seen = ""
        self._last: tuple[str, Turn] | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begins an episode.

        Args:
            seed: fixes all episodes from here on.
            options: ``{"task_id": ID}`` asks for one task.

        Raises:
            UnknownNameError: no task of that id.
            SettingError: another option than ``task_id``, or a task that does not fit.
        """
        super().reset(seed=seed)
        check_options(options, OPTIONS)
        task_id = (options or {}).get("task_id")
        (self._episode,) = self.game.deal([(self.np_random, task_id)])
        self._seen, self._last = self._episode.observation, None
        return self._episode.observation, dict(self._episode.info)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Judges a completion. At an episode's end the observation is the empty text.

        Raises:
            gymnasium.error.ResetNeeded: before :meth:`reset`, or after the episode's end.
            SettingError: the action is no string.
        """
        if self._episode is None:
            raise gym.error.ResetNeeded("call reset() before step(): no episode is under way")
        check_action(action)
        (turn,) = self.game.judge([(self._episode, action)])
        self._seen, self._last = self._episode.observation, (action, turn)
        self._episode = turn.next
        observation = "" if turn.next is None else turn.next.observation
        over = turn.next is None
        return observation, turn.reward, over and not turn.truncated, turn.truncated, turn.info

    def render(self) -> str | None:
        """The prompt, and the last completion with what became of it once there is one (``ansi``)."""
        if self.render_mode is None:
            gym.logger.warn("render() without a render mode: gym.make(..., render_mode='ansi')")
            return None
        return transcript(self._seen, self._last)


def transcript(prompt: str, last: tuple[str, Turn] | None) -> str:
    """A prompt, and a completion of it with what became of it, for a terminal."""
    if last is None:
        return prompt
    completion, turn = last
    found = turn.info.get("proposal") or turn.info["verdict"]
    colour = "32" if found["status"] in ("correct", "admitted") else "31"
    reason = f" ({found['reason']})" if found["reason"] else ""
    reward = "none" if turn.truncated else f"{turn.reward:g}"
    return f"{prompt}\n\n{completion}\n\n\033[{colour}m{found['status']}\033[0m{reason}, reward {reward}"


def check_render_mode(render_mode: str | None) -> None:
    """Refuses a render mode that there is not, with a :class:`~azr_env.errors.SettingError`."""
    if render_mode not in (None, "ansi"):
        raise SettingError(f"render_mode={render_mode!r}; choose None or 'ansi'")


def check_options(options: dict[str, Any] | None, known: set[str]) -> None:
    """Refuses reset options that there are not, with a :class:`~azr_env.errors.SettingError`."""
    if options is not None and not isinstance(options, Mapping):
        raise SettingError(f"options={options!r}; give a dict, such as {{'task_id': ID}}")
    unknown = sorted(set(options or {}) - known, key=repr)
    if unknown:
        exist = " and ".join(repr(name) for name in sorted(known))
        raise SettingError(f"reset option {unknown[0]!r} is unknown; there is {exist}")


def check_action(action: Any) -> None:
    """Refuses what is no string, with a :class:`~azr_env.errors.SettingError`."""
    if not isinstance(action, str):
        raise SettingError(f"an action is a string, not {type(action).__name__}")
