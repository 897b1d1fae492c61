"""Rows and a reward function for TRL's plain ``GRPOTrainer`` (or RLOO), for those with a trainer of their own.

Needs neither TRL nor torch. The self-play of ``azr train`` is another matter: see ``azr_agents``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gymnasium.utils.seeding import np_random

from azr_env.bridges.rows import digest, game_of, rows, text_of
from azr_env.envs.game import Episode, Game
from azr_env.errors import SettingError

__all__ = ["reward_function", "rows"]

Reward = Callable[..., list[float | None]]


def reward_function(**overrides: Any) -> Reward:
    """A function for ``reward_funcs``: grades completions of the prompts that :func:`rows` gave.

    It meets each episode again by the columns ``env_id``, ``settings`` and ``seed``, and judges a batch by one call of
    the verifier for each id with its settings that occurs there. Where our machinery failed the reward is ``None``, and
    TRL leaves the row out. Completions may be strings or lists of messages; the prompt column is not looked at.

    Args:
        **overrides: keywords of ``gym.make`` that rows cannot hold, for example a verifier object.

    Raises:
        SettingError: on grading, a row whose task is no longer the one it was made from.
    """
    games: dict[tuple[str, str], Game] = {}

    def azr_reward(
        completions: Sequence[str | Sequence[Mapping[str, Any]]],
        env_id: Sequence[str],
        seed: Sequence[int],
        settings: Sequence[str],
        digest: Sequence[str],
        **columns: Any,
    ) -> list[float | None]:
        rewards: list[float | None] = [None] * len(completions)
        names = list(zip(env_id, settings, strict=True))
        for name in dict.fromkeys(names):
            if name not in games:
                games[name] = game_of(*name, **overrides)
            places = [place for place, other in enumerate(names) if other == name]
            episodes = _deal(games[name], {(seed[place], digest[place]) for place in places})
            moves = [(episodes[seed[place]], text_of(completions[place])) for place in places]
            for place, turn in zip(places, games[name].judge(moves), strict=True):
                rewards[place] = None if turn.truncated else turn.reward
        return rewards

    return azr_reward


def _deal(game: Game, digests: set[tuple[int, str]]) -> dict[int, Episode]:
    """The episodes of those seeds, each checked against the digest of its prompt."""
    seeds = sorted({seed for seed, _ in digests})
    episodes = dict(zip(seeds, game.deal([(np_random(seed)[0], None) for seed in seeds]), strict=True))
    for seed, due in digests:
        if digest(episodes[seed].observation) != due:
            raise SettingError(
                f"the row of seed {seed} was made from another task than this environment has now: "
                "its task file, its settings or this package has changed; make the rows anew"
            )
    return episodes
