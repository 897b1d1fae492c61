"""The kit passes our verifier on both domains, and fails every planted defect by the check that is named beside it."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence
from typing import Any

import planted
import pytest
from broken import verifiers

from azr_env.domains.prime_inversion import PrimeInversionDomain
from azr_env.protocols import Domain, Verifier
from azr_env.testing import VerifierConformance
from azr_env.types import Mode, Status, Task, Verdict
from azr_env.verifiers.relation import RelationVerifier

pytestmark = [pytest.mark.filterwarnings(f"ignore::{name}") for name in ("DeprecationWarning", "SyntaxWarning")]
"""The judge of literals parses near misses too, and CPython warns about some of them."""


def is_prime(n: int) -> bool:
    return n > 1 and all(n % d for d in range(2, n))


def inverse(p: int, x: int, y: int) -> bool:
    return p <= 31 and is_prime(p) and 0 < x < p and 0 < y < p and x * y % p == 1


def same(a: object, b: object) -> bool:
    """Equality of the values that our generator's programs return, with their types."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


class TestRelationOnPython(VerifierConformance):
    @pytest.fixture
    def make(self) -> Callable[[Domain], Verifier]:
        return RelationVerifier

    def judge(self, domain: Domain, task: Task, answer: str) -> bool:
        """In deduction `ast.literal_eval`, which shares no code with ours; elsewhere the domain."""
        if task.mode is not Mode.DEDUCTION:
            return super().judge(domain, task, answer)
        try:
            return same(ast.literal_eval(answer.strip()), ast.literal_eval(task.examples[0].output))
        except (SyntaxError, ValueError, TypeError, OverflowError, MemoryError, RecursionError):
            return False


class TestRelationOnPrimes(VerifierConformance):
    @pytest.fixture
    def make(self) -> Callable[[Domain], Verifier]:
        return RelationVerifier

    @pytest.fixture
    def domain(self) -> Domain:
        return PrimeInversionDomain(31)

    def judge(self, domain: Domain, task: Task, answer: str) -> bool:
        """Plain arithmetic, written again."""
        if not re.fullmatch(r"(0|[1-9][0-9]{0,8})", answer.strip()):
            return False
        number, p, x, y = map(int, (answer.strip(), task.program, task.examples[0].input, task.examples[0].output))
        right = {Mode.DEDUCTION: (p, x, number), Mode.ABDUCTION: (p, number, y), Mode.INDUCTION: (number, x, y)}
        return inverse(*right[task.mode])


class TestAFinishedVerifier(VerifierConformance):
    """The fixture `verifier` in place of `make`: what needs two verifiers is skipped."""

    @pytest.fixture
    def domain(self) -> Domain:
        return PrimeInversionDomain(31)

    @pytest.fixture
    def verifier(self, domain: Domain) -> Verifier:
        return RelationVerifier(domain)


class TidyVerifier:
    """Wraps the relation and refuses, on purpose, what has blanks around it."""

    def __init__(self, domain: Domain) -> None:
        self._inner = RelationVerifier(domain)

    def verify(self, answers: Sequence[tuple[Task, str]]) -> list[Verdict]:
        found = self._inner.verify(answers)
        untidy = Verdict(Status.REJECTED, "blanks around the answer")
        return [untidy if answer != answer.strip() else v for (_, answer), v in zip(answers, found, strict=True)]


class TestAStricterVerifier(VerifierConformance):
    stricter = True

    @pytest.fixture
    def make(self) -> Callable[[Domain], Verifier]:
        return TidyVerifier

    @pytest.fixture
    def domain(self) -> Domain:
        return PrimeInversionDomain(31)


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    return planted.run(verifiers, tmp_path_factory.mktemp("planted"))


@pytest.mark.parametrize("defect", planted.defects(verifiers))
def test_planted_defects_are_caught(ends: dict[str, tuple[str, str]], defect: Any) -> None:
    end, message = ends[defect.__name__]
    assert (end, defect.says in message) == ("failed", True), f"{defect.caught_by} {end}: {message[:500]}"
