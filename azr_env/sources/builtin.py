"""``builtin`` or ``builtin:KEY=VALUE,...``: a seeded generator of tasks, without end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from azr_env.errors import AzrError, SettingError, UnknownNameError
from azr_env.protocols import Domain
from azr_env.types import Draft, Mode, Task

_ATTEMPTS = 100


class BuiltinSource:
    """Tasks that the domain generates and admits; each is a function of its id alone.

    Args:
        argument: the domain's generator settings, ``KEY=VALUE`` joined by commas. May be empty.
        domain: generates and admits.

    Raises:
        SettingError: malformed or unknown settings.
    """

    def __init__(self, argument: str, domain: Domain) -> None:
        self._argument = argument
        self._domain = domain
        self._settings = _settings(argument)
        domain.generate(Mode.DEDUCTION, np.random.default_rng(0), self._settings)

    def draw(self, mode: Mode, rngs: Sequence[np.random.Generator]) -> list[Task]:
        """Tasks whose keys are drawn with ``rngs``; one call of the executor a round of retries."""
        return self._make(mode, [int(rng.integers(2**63)) for rng in rngs])

    def get(self, task_id: str) -> Task:
        """The task of an id that :meth:`draw` gave, under the same settings."""
        try:
            name, mode, key = task_id.split("-")
            number = int(key, 16)
            if task_id != _id(Mode(mode), number) or name != "builtin":
                raise ValueError
        except (AttributeError, TypeError, ValueError):
            raise UnknownNameError(
                f"the builtin source has no task {task_id!r}; its ids look like builtin-deduction-1f2e3d"
            ) from None
        return self._make(Mode(mode), [number])[0]

    def _make(self, mode: Mode, keys: list[int]) -> list[Task]:
        done: dict[int, Task] = {}
        for attempt in range(_ATTEMPTS):
            todo = [place for place in range(len(keys)) if place not in done]
            if not todo:
                break
            drafts = [self._draft(mode, keys[place], attempt) for place in todo]
            for place, result in zip(todo, self._domain.admit(drafts), strict=True):
                if isinstance(result, Task):
                    done[place] = Task(
                        _id(mode, keys[place]),
                        result.domain,
                        mode,
                        result.program,
                        result.examples,
                        result.shown,
                        result.message,
                    )
                elif result.reason == "error":
                    raise AzrError(f"the executor failed while tasks were generated: {result.detail}")
        else:
            raise SettingError(
                f"builtin:{self._argument} gave no admissible task in {_ATTEMPTS} tries; loosen its settings"
            )
        return [done[place] for place in range(len(keys))]

    def _draft(self, mode: Mode, key: int, attempt: int) -> Draft:
        return self._domain.generate(
            mode, np.random.default_rng(np.random.SeedSequence([key, attempt])), self._settings
        )


def _id(mode: Mode, key: int) -> str:
    return f"builtin-{mode}-{key:x}"


def _settings(argument: str) -> dict[str, str]:
    settings = {}
    for part in filter(None, argument.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise SettingError(f"builtin setting {part!r} is not KEY=VALUE, as in builtin:difficulty=2-4")
        settings[key.strip()] = value.strip()
    return settings
