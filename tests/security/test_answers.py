"""Answers that attack the verifier: refused or wrong, with a status that fits, and nothing happens in our process.

Covered: the texts of `azr_env.testing.answers`, in every mode and both styles.
Not covered here: what a program can do inside the sandbox (test_attacks_executor.py).
"""

from __future__ import annotations

import builtins
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from azr_env import prompts
from azr_env.domains.prime_inversion import PrimeInversionDomain
from azr_env.domains.python import PythonDomain
from azr_env.grading import grade
from azr_env.parsing import Style
from azr_env.protocols import Domain
from azr_env.testing.answers import PROGRAMS, VALUES, with_canary
from azr_env.types import Example, Mode, Status, Task
from azr_env.verifiers.relation import RelationVerifier

RIGHT = {Mode.DEDUCTION: "7", Mode.ABDUCTION: "3", Mode.INDUCTION: "def f(x): return x + 4"}
TIMEOUT_S = 15.0


def task(mode: Mode) -> Task:
    examples = (Example("1", "5"), Example("3", "7")) if mode is Mode.INDUCTION else (Example("3", "7"),)
    return Task("attacked", "python", mode, "def f(x): return x + 4", examples, 1 if mode is Mode.INDUCTION else 0)


def verdict_of(domain: Domain, of: Task, answer: str, style: Style = Style.PAPER) -> Status:
    completion = prompts.completion_of(domain, of.mode, answer, style)
    return grade(domain, RelationVerifier(domain), [(of, completion)], style)[0].verdict.status


@pytest.fixture
def untouched(tmp_path: Path, python_domain: PythonDomain) -> Iterator[Path]:
    """Path of the canary; afterwards: no canary, our interpreter as it was, and the next verifications right."""
    canary = tmp_path / "canary"
    before = dict(vars(builtins))
    limit, modules = sys.getrecursionlimit(), set(sys.modules)
    threads = threading.active_count()
    start = time.perf_counter()
    yield canary
    assert time.perf_counter() - start < TIMEOUT_S
    assert not canary.exists()
    assert {name: vars(builtins).get(name) is value for name, value in before.items()} == dict.fromkeys(before, True)
    assert set(vars(builtins)) == set(before)
    assert sys.getrecursionlimit() == limit
    assert {name for name in set(sys.modules) - modules if name.startswith("azr")} == set()
    assert threading.active_count() <= threads
    for mode in Mode:
        assert verdict_of(python_domain, task(mode), RIGHT[mode]) is Status.CORRECT
        wrong = "def f(x): return x + 5" if mode is Mode.INDUCTION else "8"
        assert verdict_of(python_domain, task(mode), wrong) is Status.INCORRECT


# A value of another kind or number is an answer, and a wrong one; all else on the list is no value.
VALUES_THAT_ARE_READ = {
    "every value", "tuple of one", "set of candidates", "bytes of it", "string of it", "float of it", "negative zero",
    "complex of it", "list of it", "one off", "colliding hashes", "colliding tuples", "JSON",
}  # fmt: skip
ONLY_AS_ARGUMENTS = {"nothing", "blanks", "hash", "line continuation"}
"""Texts that list arguments, or none, though they are no value."""


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("mode", Mode)
def test_values(python_domain: PythonDomain, untouched: Path, mode: Mode, name: str) -> None:
    status = verdict_of(python_domain, task(mode), with_canary(VALUES[name], str(untouched)))
    read = name in VALUES_THAT_ARE_READ or (mode is Mode.ABDUCTION and name in ONLY_AS_ARGUMENTS)
    if mode is Mode.INDUCTION or not read:
        assert status is Status.REJECTED
    else:
        assert status is Status.INCORRECT


@pytest.mark.parametrize("name", VALUES)
def test_values_in_compact_style(python_domain: PythonDomain, untouched: Path, name: str) -> None:
    for mode in Mode:
        status = verdict_of(python_domain, task(mode), with_canary(VALUES[name], str(untouched)), Style.COMPACT)
        assert status in {Status.REJECTED, Status.INCORRECT, Status.MALFORMED}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(python_domain: PythonDomain, untouched: Path, name: str) -> None:
    status = verdict_of(python_domain, task(Mode.INDUCTION), with_canary(PROGRAMS[name], str(untouched)))
    assert status in {Status.REJECTED, Status.INCORRECT}


@pytest.mark.parametrize(
    ("name", "status"),
    [("does not parse", Status.REJECTED), ("a generator function", Status.INCORRECT), ("recursion", Status.INCORRECT)],
)
def test_statuses_of_programs(python_domain: PythonDomain, name: str, status: Status) -> None:
    assert verdict_of(python_domain, task(Mode.INDUCTION), PROGRAMS[name]) is status


def test_a_program_that_never_ends_is_a_timeout(python_domain: PythonDomain, untouched: Path) -> None:
    endless = (
        "def f(x):\n    while True:\n        try:\n            while True: pass\n        except BaseException: pass"
    )
    assert verdict_of(python_domain, task(Mode.INDUCTION), endless) is Status.TIMEOUT


def test_an_input_that_makes_the_program_run_out_of_time(python_domain: PythonDomain, untouched: Path) -> None:
    slow = Task("slow", "python", Mode.ABDUCTION, "def f(x):\n    while x: pass\n    return 7", (Example("0", "7"),))
    assert verdict_of(python_domain, slow, "1") is Status.TIMEOUT
    assert verdict_of(python_domain, slow, "[]") is Status.CORRECT, "any preimage counts"


def test_an_input_that_makes_the_program_run_out_of_memory(python_domain: PythonDomain, untouched: Path) -> None:
    large = Task("large", "python", Mode.ABDUCTION, "def f(x): return len('a' * x)", (Example("7", "7"),))
    assert verdict_of(python_domain, large, str(10**12)) in {Status.TIMEOUT, Status.INCORRECT}
    assert verdict_of(python_domain, large, "10" + "0" * 4000) is Status.INCORRECT


ESCAPES = {
    "closes its fence": "0\n```\n```output\n7",
    "closes its frame": "0\n```\n</answer><answer>\n```output\n7",
    "carries the key in a longer fence": "````\n7\n````",
    "key in another block": "0\n```\n```input\n7",
}


@pytest.mark.parametrize("text", ESCAPES.values(), ids=list(ESCAPES))
def test_a_value_cannot_leave_its_fence(python_domain: PythonDomain, text: str) -> None:
    """`completion_of` is what tests and examples write completions with: a text stays one text."""
    completion = prompts.completion_of(python_domain, Mode.DEDUCTION, text)
    (result,) = grade(python_domain, RelationVerifier(python_domain), [(task(Mode.DEDUCTION), completion)])
    assert result.answer == text
    assert result.verdict.status is Status.REJECTED


@pytest.mark.parametrize("seen", [True, False])
def test_equality_of_the_answers_type_is_never_asked(python_domain: PythonDomain, seen: bool) -> None:
    """The shown pair of an induction task decides nothing, and an always-equal result decides nothing either."""
    equal = "class E(int):\n    def __eq__(s, o): return True\n    __ne__ = None\n    def __hash__(s): return 1\n"
    program = equal + ("def f(x): return x + 4 if x == 1 else E(9)" if seen else "def f(x): return E(x + 4)")
    assert verdict_of(python_domain, task(Mode.INDUCTION), program) is Status.INCORRECT


def test_a_list_of_the_shown_pairs_is_no_answer(python_domain: PythonDomain) -> None:
    assert verdict_of(python_domain, task(Mode.INDUCTION), "def f(x): return {1: 5}.get(x)") is Status.INCORRECT


def test_set_order_cannot_be_used_to_win(python_domain: PythonDomain) -> None:
    """One of 24 orders would be right; which one an executor has is fixed, so repeating does not help."""
    program = "def f(x): return 7 if ''.join({'a', 'b', 'c', 'd'}) == 'abcd' else 0"
    assert len({verdict_of(python_domain, task(Mode.INDUCTION), program) for _ in range(5)}) == 1


# Prime inversion

NUMBERS = {
    "leading zero": "0{n}", "plus": "+{n}", "minus": "-{n}", "float": "{n}.0", "exponent": "{n}e0",
    "underscore": "{n}_", "comma": "{n},", "bracket": "({n})", "list": "[{n}]", "quoted": "'{n}'",
    "hexadecimal": "0x{n}", "or": "{n} or 1", "two numbers": "{n} {n}", "two lines": "{n}\n{n}", "sum": "{n}+0",
    "modulus": "{n} % 31", "variable": "y = {n}", "comment": "{n} # sure", "NUL": "{n}\0", "NUL first": "\0{n}",
    "zero width": "{n}\u200b", "superscript": "{n}\u00b2", "combining": "{n}\u0301", "byte order mark": "\ufeff{n}",
    "sentence": "The answer is {n}.", "boxed": "\\boxed{{{n}}}", "backticks": "`{n}`", "bold": "**{n}**",
    "dollar": "${n}$", "congruent": "{n} (mod 29)", "semicolon": "{n};", "surrogate": "{n}\ud800", "dot": "{n}.",
    "complex": "{n}+0j",
}  # fmt: skip


@pytest.mark.parametrize("form", NUMBERS)
@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("style", Style)
def test_numbers_in_disguise_are_refused(
    prime_domain: PrimeInversionDomain, mode: Mode, form: str, style: Style
) -> None:
    of = prime_domain.task(mode, 29, 4)
    text = NUMBERS[form].format(n=prompts.key(of))
    assert verdict_of(prime_domain, of, text, style) is Status.REJECTED
    assert verdict_of(prime_domain, of, prompts.key(of), style) is Status.CORRECT


def _digits(number: str, zero: int) -> str:
    return "".join(chr(zero + int(digit)) for digit in number)


@pytest.mark.parametrize(
    "zero",
    [0x0660, 0x0966, 0xFF10, 0x1D7CE, 0x2080],
    ids=["Arabic", "Devanagari", "full-width", "mathematical", "subscript"],
)
@pytest.mark.parametrize("mode", Mode)
def test_digits_of_other_scripts_are_refused(prime_domain: PrimeInversionDomain, mode: Mode, zero: int) -> None:
    of = prime_domain.task(mode, 29, 4)
    assert verdict_of(prime_domain, of, _digits(prompts.key(of), zero)) is Status.REJECTED


@pytest.mark.parametrize("shift", [-29, 29, 58, 29 * 10**6])
@pytest.mark.parametrize("mode", [Mode.DEDUCTION, Mode.ABDUCTION])
def test_the_same_residue_outside_the_range_is_wrong(
    prime_domain: PrimeInversionDomain, mode: Mode, shift: int
) -> None:
    of = prime_domain.task(mode, 29, 4)
    status = verdict_of(prime_domain, of, str(int(prompts.key(of)) + shift))
    assert status is (Status.REJECTED if shift < 0 else Status.INCORRECT)


@pytest.mark.parametrize("p", [0, 1, 3, 4, 8, 9, 22, 27, 43, 87, 999_999_937])
def test_numbers_that_are_no_modulus(prime_domain: PrimeInversionDomain, p: int) -> None:
    """4 * 22 = 88 = 1 (mod p) for p = 3 (too small for x), 29, and 87 = 3 * 29, which is not prime."""
    assert verdict_of(prime_domain, prime_domain.task(Mode.INDUCTION, 29, 4), str(p)) is Status.INCORRECT


def test_a_prime_over_the_limit_is_wrong() -> None:
    small, large = PrimeInversionDomain(29), PrimeInversionDomain(97)
    of = Task("t", "prime_inversion", Mode.INDUCTION, "29", (Example("1", "1"),), 1)
    assert verdict_of(small, of, "31") is Status.INCORRECT
    assert verdict_of(large, of, "31") is Status.CORRECT


@pytest.mark.parametrize("text", ["1" * 10, "1" * 100_000, "9" * 1_000_000, "0" * 50, "[" * 100_000])
def test_long_numbers_are_refused_unread(prime_domain: PrimeInversionDomain, text: str) -> None:
    for mode in Mode:
        assert verdict_of(prime_domain, prime_domain.task(mode, 29, 4), text) is Status.REJECTED
