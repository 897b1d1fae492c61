"""Propose a task, then solve it: both roles in one episode."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from azr_env.envs.game import Episode, Parts, Turn, divided, member, parts
from azr_env.envs.propose import OWN, Propose, opened
from azr_env.envs.single import TextEnv
from azr_env.envs.solve import Solve
from azr_env.envs.vector import TextVectorEnv
from azr_env.errors import SettingError
from azr_env.rewards import REWARD_RANGE
from azr_env.types import Mode


class SelfPlay:
    """The rules: the first action is a proposal, and if it is admitted the next ones answer it.

    Each step is paid for itself: a proposal by its learnability, as :class:`Propose` says, an answer by its verdict, as
    :class:`Solve` says. Credit must not flow from answers back to the proposal, or easy tasks pay best: train with a
    discount of 0, or group steps by ``info["cell"]``. For self-play proper give ``solver=`` the policy that acts.

    ``info`` is that of the game whose turn it is.

    Args:
        parts: domain, verifier, source of the references, and style.
        modes: an episode's mode is one of these, drawn uniformly.
        attempts: answers that the second half allows, as in :class:`Solve`.
        **settings: of :class:`Propose`.

    Raises:
        SettingError: no mode, or a setting that the games refuse.
    """

    reward_range = REWARD_RANGE

    def __init__(
        self, parts: Parts, modes: Sequence[Mode | str] = tuple(Mode), attempts: int = 1, **settings: Any
    ) -> None:
        if not isinstance(modes, Iterable) or isinstance(modes, str) or not modes:
            raise SettingError(f"modes={modes!r}; give at least one of {', '.join(Mode)} in a list")
        self.parts = parts
        self.modes = tuple(member(Mode, mode, "modes") for mode in modes)
        shared = settings | {"buffer": opened(settings.get("buffer"))}
        self.proposing = {mode: Propose(mode, parts, **shared) for mode in self.modes}
        self.solving = {mode: Solve(mode, parts, attempts) for mode in self.modes}

    def deal(self, requests: Sequence[tuple[np.random.Generator, str | None]]) -> list[Episode]:
        """An episode per (generator, id or None); an id asks for that task as the only reference."""
        modes = [self.modes[int(rng.integers(len(self.modes)))] for rng, _ in requests]
        dealt = _split(list(zip(modes, requests, strict=True)), {m: g.deal for m, g in self.proposing.items()})
        return [_marked(episode, mode, True) for episode, mode in zip(dealt, modes, strict=True)]

    def judge(self, moves: Sequence[tuple[Episode, str]]) -> list[Turn]:
        """Judges proposals and answers, each kind and mode in one batch."""
        kinds = [episode.state[:2] for episode, _ in moves]
        bare = [(replace(episode, state=episode.state[2]), action) for episode, action in moves]
        games: dict[Any, Any] = {(mode, True): self._proposed(mode) for mode in self.modes}
        games |= {(mode, False): game.judge for mode, game in self.solving.items()}
        turns = _split(list(zip(kinds, bare, strict=True)), games)
        return [
            turn if turn.next is None else replace(turn, next=_marked(turn.next, mode, False))
            for turn, (mode, _) in zip(turns, kinds, strict=True)
        ]

    def _proposed(self, mode: Mode) -> Any:
        def judge(moves: Sequence[tuple[Episode, str]]) -> list[Turn]:
            found = self.proposing[mode].admitted(moves)
            begin = self.solving[mode].begin
            return [turn if task is None or turn.truncated else replace(turn, next=begin(task)) for turn, task in found]

        return judge


class SelfPlayEnv(TextEnv):
    """``AZR-SelfPlay-v0``: see :class:`SelfPlay` and :class:`TextEnv`.

    Args:
        modes: an episode's mode is one of these, drawn uniformly.
        attempts: answers that an admitted task allows.
        render_mode: ``None`` or ``ansi``.
        **settings: those of :class:`~azr_env.envs.propose.ProposeEnv`.

    Raises:
        UnknownNameError: a name that no plug-in has; the message lists those that exist.
        SettingError: a setting that cannot work.
    """

    def __init__(self, render_mode: str | None = None, **settings: Any) -> None:
        super().__init__(_selfplay(settings), render_mode)


class SelfPlayVectorEnv(TextVectorEnv):
    """A vector of :class:`SelfPlayEnv`; arguments as there, and ``num_envs``."""

    def __init__(self, num_envs: int = 1, render_mode: str | None = None, **settings: Any) -> None:
        super().__init__(_selfplay(settings), num_envs, render_mode)


def _selfplay(settings: dict[str, Any]) -> SelfPlay:
    own, rest = divided(settings, OWN | {"modes", "attempts"})
    return SelfPlay(parts(**rest), **own)


def _marked(episode: Episode, mode: Mode, proposing: bool) -> Episode:
    return replace(episode, state=(mode, proposing, episode.state))


def _split(items: list[tuple[Any, Any]], games: dict[Any, Any]) -> list[Any]:
    """The results of each item by the game of its kind, one call a kind, in the order of the items."""
    results: list[Any] = [None] * len(items)
    for kind in dict.fromkeys(kind for kind, _ in items):
        places = [k for k, (other, _) in enumerate(items) if other == kind]
        for place, result in zip(places, games[kind]([items[k][1] for k in places]), strict=True):
            results[place] = result
    return results
