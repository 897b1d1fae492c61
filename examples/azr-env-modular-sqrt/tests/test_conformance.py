"""The kit of azr-env, on the domain and on the verifier that judges by it."""

from __future__ import annotations

import re

import pytest
from azr_env_modular_sqrt import ModularSqrtDomain

from azr_env.testing import DomainConformance, VerifierConformance
from azr_env.types import BLANK, Slot
from azr_env.verifiers.relation import RelationVerifier


def holds(task, answer):
    """R a second time, for primes up to 31, sharing no code with the domain."""
    written = re.fullmatch(r"\s*(0|[1-9][0-9]{0,8})\s*", answer)
    if written is None:
        return False
    example = task.examples[0]
    slots = {Slot.PROGRAM: task.program, Slot.INPUT: example.input, Slot.OUTPUT: example.output}
    p, x, n = (int(text) for text in (slots | {BLANK[task.mode]: written[1]}).values())
    return p in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31) and 0 < x < p and 0 < n < p and (x * x - n) % p == 0


class TestModularSqrt(DomainConformance):
    """The domain alone."""

    @pytest.fixture
    def make(self):
        return lambda executor: ModularSqrtDomain(31, executor)

    def judge(self, domain, task, answer):
        return holds(task, answer)


class TestRelationOnModularSqrt(VerifierConformance):
    """The default verifier, on this domain."""

    @pytest.fixture
    def make(self):
        return RelationVerifier

    @pytest.fixture
    def domain(self):
        return ModularSqrtDomain(31)

    def judge(self, domain, task, answer):
        return holds(task, answer)
