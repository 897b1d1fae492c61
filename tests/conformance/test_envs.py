"""The kit on our environments: all seven ids pass in both domains, every planted defect fails by the right check."""

# ruff: noqa: RUF012 - class attributes as the author of a plug-in writes them
from __future__ import annotations

from typing import Any

import planted
import pytest
from broken import envs
from broken.envs import OnSums, Sound

from azr_env.testing import EnvConformance

SUMS = envs.planted(Sound)


class TestDeductionOnPrimes(EnvConformance):
    env_id = "AZR-Deduction-v0"
    kwargs = {"domain": "prime_inversion", "style": "compact"}


class TestAbductionOnPrimes(EnvConformance):
    env_id = "AZR-Abduction-v0"
    kwargs = {"domain": "prime_inversion", "attempts": 3}


class TestInductionOnPrimes(EnvConformance):
    env_id = "AZR-Induction-v0"
    kwargs = {"domain": "prime_inversion", "max_prime": 61}


class TestDeductionOnPython(EnvConformance):
    env_id = "AZR-Deduction-v0"


class TestAbductionOnPython(EnvConformance):
    env_id = "AZR-Abduction-v0"


class TestInductionOnPython(EnvConformance):
    env_id = "AZR-Induction-v0"
    kwargs = {"induction_inputs": 4, "style": "compact", "attempts": 2}


class TestProposeDeductionOnPrimes(EnvConformance):
    env_id = "AZR-Deduction-Propose-v0"
    kwargs = {"domain": "prime_inversion"}


class TestProposeAbductionOnPrimes(EnvConformance):
    env_id = "AZR-Abduction-Propose-v0"
    kwargs = {"domain": "prime_inversion", "style": "compact", "learnability": "variance"}


class TestProposeInductionOnPrimes(EnvConformance):
    env_id = "AZR-Induction-Propose-v0"
    kwargs = {"domain": "prime_inversion", "references": 2}


class TestProposeDeductionOnPython(EnvConformance):
    env_id = "AZR-Deduction-Propose-v0"
    kwargs = {"references": 2}


class TestProposeAbductionOnPython(EnvConformance):
    env_id = "AZR-Abduction-Propose-v0"
    kwargs = {"references": 2, "solver_samples": 4}


class TestProposeInductionOnPython(EnvConformance):
    env_id = "AZR-Induction-Propose-v0"
    kwargs = {"induction_inputs": 4}


class TestSelfPlayOnPrimes(EnvConformance):
    env_id = "AZR-SelfPlay-v0"
    kwargs = {"domain": "prime_inversion"}


class TestSelfPlayOnPython(EnvConformance):
    env_id = "AZR-SelfPlay-v0"
    kwargs = {"references": 2, "induction_inputs": 4, "solver_samples": 2}


class TestSums(OnSums):
    """The kit asks for nothing that only our environments have."""

    env_id = SUMS


class TestExcused(OnSums):
    """A check that cannot apply is skipped with its reason, and not run."""

    env_id = SUMS
    excused = {"test_a_seed_is_honoured": "an example of a reason"}

    def test_a_seed_is_honoured(self) -> None:
        pytest.fail("it was excused, and ran")


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    return planted.run(envs, tmp_path_factory.mktemp("planted"))


@pytest.mark.parametrize("defect", planted.defects(envs))
def test_planted_defects_are_caught(ends: dict[str, tuple[str, str]], defect: Any) -> None:
    end, message = ends[defect.__name__]
    assert (end, defect.says in message) == ("failed", True), f"{defect.caught_by} {end}: {message[:500]}"
