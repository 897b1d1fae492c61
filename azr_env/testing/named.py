"""The kit on the one plug-in that ``azr check`` names, in an environment variable as JSON (floor 7).

Pytest collects one of these classes; see :mod:`azr_env.testing.check`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Final, cast

import pytest
from hypothesis import Phase, settings

from azr_env import registry
from azr_env.protocols import Domain, Executor, Verifier
from azr_env.testing import DomainConformance, EnvConformance, ExecutorConformance, VerifierConformance
from azr_env.testing.check import SETTINGS

_ASKED: Final[dict[str, Any]] = json.loads(os.environ.get(SETTINGS, "{}"))
_PHASES: Final = (Phase.explicit, Phase.generate, Phase.target, Phase.shrink)  # no explanations: reasons are in words

settings.register_profile(
    "azr-check", derandomize=True, database=None, max_examples=_ASKED.get("examples", 100), phases=_PHASES
)
settings.load_profile("azr-check")  # the same drawn answers on each run


class TestVerifier(VerifierConformance):
    """A verifier, on a domain by name."""

    stricter: ClassVar[bool] = _ASKED.get("stricter", False)

    @pytest.fixture
    def make(self) -> Callable[[Domain], Verifier]:
        """What the entry point names."""
        return cast(Callable[[Domain], Verifier], registry.factory("verifier", _ASKED["name"]))

    @pytest.fixture
    def domain(self) -> Domain:
        """The domain of that name, as it comes."""
        return registry.domain(_ASKED["domain"])


class TestDomain(DomainConformance):
    """A domain, as it comes."""

    @pytest.fixture
    def make(self) -> Callable[[str | Executor], Domain]:
        """The domain of that name, on any executor."""
        return lambda executor: registry.domain(_ASKED["name"], executor=executor)


class TestExecutor(ExecutorConformance):
    """An executor, as it comes."""

    contains_attacks: ClassVar[bool] = not _ASKED.get("uncontained")
    why_not_contained: ClassVar[str] = _ASKED.get("uncontained", "")

    @pytest.fixture
    def make_executor(self) -> Callable[[], Executor]:
        """What the entry point names."""
        return cast(Callable[[], Executor], registry.factory("executor", _ASKED["name"]))

    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls) -> Iterator[Executor]:
        """A new executor of that name."""
        made: Executor = registry.factory("executor", _ASKED["name"])()
        yield made
        made.close()


class TestEnv(EnvConformance):
    """An environment, with the settings that were given."""

    env_id: ClassVar[str] = _ASKED.get("name", "")
    kwargs: ClassVar[dict[str, Any]] = _ASKED.get("kwargs", {})
