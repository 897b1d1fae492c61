"""The kit passes our domains, and fails every planted defect by the check that is named beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import planted
import pytest
from broken import domains

from azr_env.domains.prime_inversion import PrimeInversionDomain
from azr_env.domains.python import PythonDomain
from azr_env.protocols import Domain, Executor
from azr_env.testing import DomainConformance
from azr_env.types import Limits


class TestPython(DomainConformance):
    @pytest.fixture
    def make(self) -> Callable[[str | Executor], Domain]:
        return lambda executor: PythonDomain(executor, Limits(timeout_s=2.0), induction_inputs=4)


class TestPrimes(DomainConformance):
    @pytest.fixture
    def make(self) -> Callable[[str | Executor], Domain]:
        return lambda executor: PrimeInversionDomain(31, executor)


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    return planted.run(domains, tmp_path_factory.mktemp("planted"))


@pytest.mark.parametrize("defect", planted.defects(domains))
def test_planted_defects_are_caught(ends: dict[str, tuple[str, str]], defect: Any) -> None:
    end, message = ends[defect.__name__]
    assert (end, defect.says in message) == ("failed", True), f"{defect.caught_by} {end}: {message[:500]}"
