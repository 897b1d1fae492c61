"""What single and vector environments share: a game deals episodes and judges actions, for a whole batch at once.

A game keeps nothing between calls but its plug-ins; what an episode needs stands in the episode. So a batch of one
and a batch of a thousand are the same code and give the same results.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from azr_env import registry
from azr_env.errors import SettingError
from azr_env.parsing import Style
from azr_env.protocols import Domain, Executor, TaskSource, Verifier


@dataclass(frozen=True, slots=True)
class Parts:
    """The plug-ins that a game is made of, and its prompt style."""

    domain: Domain
    verifier: Verifier
    source: TaskSource
    style: Style


@dataclass(frozen=True, slots=True)
class Episode:
    """An episode that waits for an action.

    Attributes:
        observation: what the policy reads now.
        info: Gymnasium's info to go with it.
        state: what the game needs to judge the action; the game's own.
    """

    observation: str
    info: dict[str, Any]
    state: Any


@dataclass(frozen=True, slots=True)
class Turn:
    """What an action led to.

    Attributes:
        reward: 0 where our machinery failed.
        info: Gymnasium's info of the step.
        next: the episode as it goes on, or ``None`` at its end.
        truncated: it ended because our machinery failed, and not by the action.
    """

    reward: float
    info: dict[str, Any]
    next: Episode | None = None
    truncated: bool = False


class Game(Protocol):
    """The rules of one environment id."""

    parts: Parts
    reward_range: tuple[float, float]

    def deal(self, requests: Sequence[tuple[np.random.Generator, str | None]]) -> list[Episode]:
        """A new episode per request of a generator and, where one is wanted, a task's id.

        Each is a function of its own request alone.

        Raises:
            UnknownNameError: no task of that id.
            SettingError: that task does not fit the game.
        """
        ...

    def judge(self, moves: Sequence[tuple[Episode, str]]) -> list[Turn]:
        """What each action leads to, in order; one call of each plug-in for all of them."""
        ...


def parts(
    domain: str | Domain = "python",
    tasks: str | TaskSource = "builtin",
    verifier: str | Verifier = "relation",
    executor: str | Executor = "zygote",
    style: Style | str = Style.PAPER,
    **options: Any,
) -> Parts:
    """The plug-ins of those names.

    Args:
        domain: a domain, or a name.
        tasks: a task source, or ``NAME`` or ``NAME:ARGUMENT``.
        verifier: a verifier, or a name.
        executor: an executor, or a name; for a domain given by name.
        style: ``paper`` or ``compact``.
        **options: settings of a domain given by name, for example ``max_prime=31``.

    Raises:
        UnknownNameError: a name that no plug-in has; the message lists those that exist.
        SettingError: a setting that cannot work.
    """
    known: Style = member(Style, style, "style")
    made = registry.domain(domain, executor, **options)
    return Parts(made, registry.verifier(verifier, made), registry.source(tasks, made), known)


def divided(settings: dict[str, Any], own: set[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of those names, and the others, which make the game's parts."""
    mine = {name: value for name, value in settings.items() if name in own}
    return mine, {name: value for name, value in settings.items() if name not in own}


def member(kind: Any, value: Any, name: str) -> Any:
    """The member of an enumeration that ``value`` names.

    Raises:
        SettingError: there is none; the message lists them.
    """
    try:
        return kind(value)
    except ValueError:
        raise SettingError(f"{name}={value!r} is unknown; choose one of {', '.join(kind)}") from None


def whole(value: Any, name: str, least: int, most: int) -> int:
    """``value``, if it is a whole number of the range.

    Raises:
        SettingError: it is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise SettingError(f"{name}={value!r}; it is a whole number from {least} to {most}")
    return value
