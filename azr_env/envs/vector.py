"""A game as a Gymnasium vector environment: one call of each plug-in for the whole batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils.seeding import np_random
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from azr_env.envs.game import Episode, Game, Turn, whole
from azr_env.envs.single import (
    MAX_COMPLETION,
    MAX_PROMPT,
    OPTIONS,
    check_action,
    check_options,
    check_render_mode,
    transcript,
)
from azr_env.envs.spaces import AnyText
from azr_env.errors import SettingError

_Batch = tuple[tuple[str, ...], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]


class TextVectorEnv(VectorEnv[tuple[str, ...], Sequence[str], NDArray[Any]]):
    """``num_envs`` text environments that share one task source, one verifier and one executor call a step.

    Results equal those of ``num_envs`` single environments of which number ``i`` was reset with ``seed + i``, in
    Gymnasium's ``SyncVectorEnv`` with SAME_STEP autoreset, unless they draw from a buffer that grows meanwhile: where
    an episode ends, the observation is the next episode's prompt, and ``info`` holds ``final_obs`` and ``final_info``.

    Args:
        game: the rules.
        num_envs: at least 1.
        render_mode: ``None`` or ``ansi``.

    Raises:
        SettingError: an unknown render mode, or fewer than one environment.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  (gymnasium types it so)
        "render_modes": ["ansi"],
        "render_fps": 1,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(self, game: Game, num_envs: int = 1, render_mode: str | None = None) -> None:
        check_render_mode(render_mode)
        self.num_envs = whole(num_envs, "num_envs", 1, 1 << 20)
        self.render_mode = render_mode
        self.game = game
        self.reward_range = game.reward_range
        self.single_observation_space = AnyText(MAX_PROMPT)
        self.single_action_space = AnyText(MAX_COMPLETION)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._rngs: list[np.random.Generator] = []
        self._seeds: list[int] = []
        self._episodes: list[Episode] = []
        self._seen: list[tuple[str, tuple[str, Turn] | None]] = [("", None)] * num_envs

    @property  # type: ignore[misc]
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """The generators of the single environments; reset() makes them."""
        return tuple(self._rngs)

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """The seeds of the single environments; reset() sets them."""
        return tuple(self._seeds)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[tuple[str, ...], dict[str, Any]]:
        """Begins an episode in every environment, or in those that a mask names.

        Args:
            seed: ``s`` seeds environment ``i`` with ``s + i``; or one seed or None per environment.
            options: ``task_id``: one id for all, or a sequence with an id or None per environment;
                ``reset_mask``: boolean array of shape (num_envs,), the environments to reset.

        Raises:
            UnknownNameError: no task of an id.
            SettingError: another option, a task that does not fit, or a sequence of another length than ``num_envs``.
        """
        check_options(options, OPTIONS | {"reset_mask"})
        options = options or {}
        chosen = self._masked(options.get("reset_mask"))
        self._seed(seed, chosen)
        wanted = self._each(options.get("task_id"), "task_id")
        dealt = self.game.deal([(self._rngs[k], wanted[k]) for k in chosen])
        infos: list[dict[str, Any] | None] = [None] * self.num_envs
        episodes = self._episodes or [dealt[0]] * self.num_envs
        for k, episode in zip(chosen, dealt, strict=True):
            episodes[k] = episode
            infos[k] = episode.info
            self._seen[k] = (episode.observation, None)
        self._episodes = episodes
        return self._observations(), columns(infos)

    def step(self, actions: Sequence[str]) -> _Batch:
        """Judges one completion per environment; those whose episode ends begin the next one at once.

        Raises:
            gymnasium.error.ResetNeeded: before :meth:`reset`.
            SettingError: another number of actions than environments, or one that is no string.
        """
        if not self._episodes:
            raise gym.error.ResetNeeded("call reset() before step(): no episode is under way")
        if not isinstance(actions, Sequence | np.ndarray) or isinstance(actions, str) or len(actions) != self.num_envs:
            raise SettingError(f"give a sequence of {self.num_envs} strings, one action per environment")
        for action in actions:
            check_action(action)
        turns = self.game.judge(list(zip(self._episodes, actions, strict=True)))
        if self.render_mode:
            moves = zip(self._episodes, actions, turns, strict=True)
            self._seen = [(episode.observation, (action, turn)) for episode, action, turn in moves]
        over = [k for k, turn in enumerate(turns) if turn.next is None]
        dealt = self.game.deal([(self._rngs[k], None) for k in over]) if over else []
        infos: list[dict[str, Any] | None] = [turn.info for turn in turns]
        last: list[dict[str, Any] | None] = [None] * self.num_envs
        for k, episode in zip(over, dealt, strict=True):
            last[k], infos[k] = infos[k], episode.info
        fresh = dict(zip(over, dealt, strict=True))
        self._episodes = [turn.next or fresh[k] for k, turn in enumerate(turns)]
        return (
            self._observations(),
            np.array([turn.reward for turn in turns], dtype=np.float64),
            np.array([turn.next is None and not turn.truncated for turn in turns], dtype=np.bool_),
            np.array([turn.truncated for turn in turns], dtype=np.bool_),
            self._finals(over, last) | columns(infos),
        )

    def render(self) -> tuple[str, ...] | None:
        """For each environment, its last prompt and completion with what became of it (``ansi``)."""
        if self.render_mode is None:
            gym.logger.warn("render() without a render mode: gym.make_vec(..., render_mode='ansi')")
            return None
        return tuple(transcript(prompt, last) for prompt, last in self._seen)

    def _observations(self) -> tuple[str, ...]:
        return tuple([episode.observation for episode in self._episodes])

    def _finals(self, over: list[int], last: list[dict[str, Any] | None]) -> dict[str, Any]:
        if not over:
            return {}
        mask = np.zeros(self.num_envs, dtype=np.bool_)
        mask[over] = True
        observations = np.full(self.num_envs, None, dtype=object)
        observations[over] = ""
        return {
            "final_obs": observations,
            "_final_obs": mask,
            "final_info": columns(last),
            "_final_info": mask.copy(),
        }

    def _masked(self, mask: Any) -> list[int]:
        if mask is None:
            return list(range(self.num_envs))
        mask = np.asarray(mask)
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_ or not mask.any():
            raise SettingError(f"reset_mask is a boolean array of shape ({self.num_envs},) with a True in it")
        if not self._episodes and not mask.all():
            raise SettingError("the first reset() is of all environments: leave reset_mask out")
        return [int(k) for k in np.flatnonzero(mask)]

    def _seed(self, seed: int | Sequence[int | None] | None, chosen: list[int]) -> None:
        seeds = self._each(seed, "seed")
        if isinstance(seed, int):
            seeds = [seed + k for k in range(self.num_envs)]
        first = not self._rngs  # then all are chosen
        made = {k: np_random(seeds[k]) for k in chosen if first or seeds[k] is not None}
        if first:
            self._rngs, self._seeds = [made[k][0] for k in chosen], [made[k][1] for k in chosen]
        for k, (rng, number) in made.items():
            self._rngs[k], self._seeds[k] = rng, number

    def _each(self, value: Any, name: str) -> list[Any]:
        """One value per environment."""
        if value is None or isinstance(value, str | int):
            return [value] * self.num_envs
        if not isinstance(value, Sequence | np.ndarray) or isinstance(value, bytes):
            raise SettingError(f"{name}={value!r}; give one for all, or a sequence with one per environment")
        if len(value) != self.num_envs:
            raise SettingError(f"{name} has {len(value)} entries for {self.num_envs} environments: give one each")
        return list(value)


def columns(infos: Sequence[dict[str, Any] | None]) -> dict[str, Any]:
    """Infos of single environments as Gymnasium's vector info: an array per key, and a mask ``_key`` of who has it.

    The same as ``VectorEnv._add_info`` builds one environment at a time.
    """
    keys: dict[str, None] = {}
    for info in infos:
        if info is not None:
            keys.update(dict.fromkeys(info))
    found: dict[str, Any] = {}
    for key in keys:
        has = [info is not None and key in info for info in infos]
        values = [info[key] if info is not None and key in info else None for info in infos]
        found[key] = _column(values, has)
        found[f"_{key}"] = np.array(has, dtype=np.bool_)
    return found


def _column(values: list[Any], has: list[bool]) -> Any:
    first = values[has.index(True)]
    if isinstance(first, dict):
        return columns(values)
    if type(first) in (int, float, bool):
        return np.array([value if there else 0 for value, there in zip(values, has, strict=True)], dtype=type(first))
    column = np.full(len(values), None, dtype=object)
    for k, value in enumerate(values):
        column[k] = value
    return column
