"""The conformance kit (floor 7): what a verifier, domain, executor or environment must do, as pytest classes.

Subclass one, fill in a fixture, run pytest. Needs the extra ``test`` (pytest and Hypothesis)::

    from azr_env.testing import VerifierConformance

    class TestMine(VerifierConformance):
        @pytest.fixture
        def make(self):
            return MyVerifier

:mod:`~azr_env.testing.strategies` gives tasks, programs, completions and near misses to your own property tests,
:mod:`~azr_env.testing.answers` and :mod:`~azr_env.testing.attacks` hold hostile texts as data.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from azr_env.testing.domains import DomainConformance
    from azr_env.testing.envs import EnvConformance
    from azr_env.testing.executors import ExecutorConformance
    from azr_env.testing.learnability import check_learnability
    from azr_env.testing.verifiers import VerifierConformance

__all__ = [
    "DomainConformance",
    "EnvConformance",
    "ExecutorConformance",
    "VerifierConformance",
    "check_learnability",
]

_HOMES: Final = {
    "DomainConformance": "domains",
    "EnvConformance": "envs",
    "ExecutorConformance": "executors",
    "VerifierConformance": "verifiers",
    "check_learnability": "learnability",
}


def __getattr__(name: str) -> Any:
    """A class of the kit, its module imported when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
