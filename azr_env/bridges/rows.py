"""Episodes as rows of plain data: an environment's id, its settings and a seed are enough to meet one again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils.seeding import np_random

from azr_env.envs.game import Game, whole
from azr_env.envs.propose import Propose
from azr_env.envs.single import TextEnv
from azr_env.envs.solve import Solve
from azr_env.errors import SettingError


def rows(env_id: str, n: int, seed: int = 0, **settings: Any) -> list[dict[str, Any]]:
    """``n`` episodes of one action each, as dicts that JSON and ``datasets.Dataset.from_list`` take.

    Keys: ``prompt``; ``env_id``, ``seed`` and ``settings`` (JSON text), from which the episode is met again; ``digest``
    of the prompt, which shows a task that has changed in between.

    Args:
        env_id: of an environment of this package, for example ``AZR-Deduction-v0``.
        n: number of rows, >= 0.
        seed: fixes the rows; the first of many are those of few.
        **settings: keywords of ``gym.make``, such as ``domain``, ``tasks`` and ``style``; names, not objects.

    Raises:
        SettingError: settings that are no JSON, or episodes that take more than one action.
    """
    whole(n, "n", 0, 1 << 40)
    whole(seed, "seed", 0, 1 << 128)
    text = settings_text(settings)
    game = game_of(env_id, text)
    seeds = [row_seed(env_id, seed, index) for index in range(n)]
    episodes = game.deal([(np_random(each)[0], None) for each in seeds])
    return [
        {
            "prompt": episode.observation,
            "env_id": env_id,
            "seed": each,
            "settings": text,
            "digest": digest(episode.observation),
        }
        for each, episode in zip(seeds, episodes, strict=True)
    ]


def row_seed(env_id: str, seed: int, index: int) -> int:
    """Seed of the row ``index``, in [0, 2**63). Ids and neighbours get different ones, and so do not share tasks."""
    words = [seed, index, int.from_bytes(env_id.encode())]
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> np.uint64(1))


def settings_text(settings: Mapping[str, Any]) -> str:
    """Keywords of ``gym.make`` as JSON text, the same for equal settings.

    Raises:
        SettingError: a value that is no JSON.
    """
    try:
        return json.dumps(settings, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as exc:
        raise SettingError(
            f"settings {settings!r} are no JSON ({exc}): give plug-ins by name, not as objects"
        ) from None


def settings_of(text: str) -> dict[str, Any]:
    """The keywords that :func:`settings_text` wrote."""
    return dict(json.loads(text))


def game_of(env_id: str, settings: str, **overrides: Any) -> Game:
    """The rules of the environment of that id and those settings.

    Raises:
        SettingError: an episode of it may take more than one action, or the id is not one of this package's.
    """
    env = gym.make(env_id, **{**settings_of(settings), **overrides}).unwrapped
    match env:
        case TextEnv(game=Propose() as game):
            return game
        case TextEnv(game=Solve(attempts=1) as game):
            return game
    raise SettingError(
        f"a row is one prompt and one completion, and {env_id} with settings {settings} may take more; "
        "rows are of AZR-<Mode>-v0 with attempts=1 and of AZR-<Mode>-Propose-v0"
    )


def digest(prompt: str) -> str:
    """Sixteen hexadecimal digits that stand for a prompt."""
    return hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def text_of(completion: str | Sequence[Mapping[str, Any]]) -> str:
    """All the text of a completion: a string, or a conversation whose last message counts.

    Thinking that a server has split off (``reasoning_content``) goes back inside ``<think>``.
    """
    if isinstance(completion, str):
        return completion
    if not completion:
        return ""
    message = completion[-1]
    content = message.get("content") or ""
    if not isinstance(content, str):
        content = "".join(part.get("text") or "" for part in content)
    thought = message.get("reasoning_content")
    return f"<think>{thought}</think>{content}" if thought else content
