"""What the whole suite shares: the Hypothesis profiles, and one executor with the domains that use it."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from azr_env import registry
from azr_env.domains.prime_inversion import PrimeInversionDomain
from azr_env.domains.python import PythonDomain
from azr_env.executors.scripted import ScriptedExecutor
from azr_env.protocols import Domain, Executor, Verifier
from azr_env.types import Limits, Outcome, OutcomeStatus
from azr_env.verifiers.relation import RelationVerifier

settings.register_profile("dev", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("dev"), derandomize=True)
settings.register_profile("thorough", parent=settings.get_profile("dev"), max_examples=1500)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "dev")

LIMITS = Limits(timeout_s=2.0)


@pytest.fixture(scope="session")
def executor() -> Executor:
    """The process's shared zygote; the registry closes it."""
    return registry.executor("zygote")


@pytest.fixture(scope="session")
def python_domain(executor: Executor) -> PythonDomain:
    """The Python domain with four induction inputs, so that tests stay short."""
    return PythonDomain(executor, LIMITS, induction_inputs=4)


@pytest.fixture(scope="session")
def prime_domain() -> PrimeInversionDomain:
    return PrimeInversionDomain(31)


@pytest.fixture(scope="session", params=["python", "prime_inversion"])
def domain(request: pytest.FixtureRequest) -> Domain:
    """Each built-in domain in turn."""
    name = "python_domain" if request.param == "python" else "prime_domain"
    return request.getfixturevalue(name)  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def verifier(domain: Domain) -> Verifier:
    return RelationVerifier(domain)


@pytest.fixture
def broken_executor() -> ScriptedExecutor:
    """An executor whose own machinery always fails."""
    return ScriptedExecutor({}, Outcome(OutcomeStatus.INFRA, detail="the server died twice"))
