"""Every row of docs/values.md holds: both ways round, under both equalities, and in the sandbox."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from azr_env import values
from azr_env.errors import ValueFormatError
from azr_env.protocols import Executor
from azr_env.types import Job, Limits, OutcomeStatus

PAGE = (Path(__file__).parents[2] / "docs" / "values.md").read_text(encoding="utf-8")
PATIENT = Limits(timeout_s=30.0)


def table(heading: str) -> list[list[str]]:
    """The rows of the table below a heading, without head and backticks."""
    part = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")][2:]
    assert lines, heading
    return [[cell.strip().strip("`") for cell in line.strip("|").split(" | ")] for line in lines]


EQUALITY = table("Equality")
WRITTEN = table("How values are written")
REFUSED = table("Texts that are refused")
RETURNED = table("What a program may return and is no value")
LIMITS = table("Limits")


@pytest.mark.parametrize(("kind", "left", "right", "strict", "python"), EQUALITY, ids=[row[0] for row in EQUALITY])
def test_equality(kind: str, left: str, right: str, strict: str, python: str) -> None:
    for a, b in ((left, right), (right, left)):
        for name, due in (("strict", strict), ("python", python)):
            assert values.equal(values.parse(a), values.parse(b), name) is {"yes": True, "no": False}[due]  # type: ignore[arg-type]


def test_values_come_back_from_the_sandbox_as_they_went_in(executor: Executor) -> None:
    texts = [text for row in EQUALITY for text in row[1:3]] + [row[0] for row in WRITTEN]
    given = [values.parse(text) for text in texts]
    jobs = [Job("def f(x): return x", (values.encode((value,), ordered=True),), PATIENT) for value in given]
    for value, (outcome,) in zip(given, executor.run(jobs), strict=True):
        assert (outcome.status, outcome.value) == (OutcomeStatus.OK, values.encode(value))


def test_inputs_keep_the_order_of_a_dict() -> None:
    texts = re.search(r"`(\{.*\})` and `(\{.*\})` are two inputs", PAGE)
    assert texts is not None
    one, other = (values.parse(text) for text in texts.groups())
    assert values.encode(one) == values.encode(other)
    assert values.encode((one,), ordered=True) != values.encode((other,), ordered=True)


@pytest.mark.parametrize(("text", "rendered", "canonical"), WRITTEN, ids=[row[0] for row in WRITTEN])
def test_texts(text: str, rendered: str, canonical: str) -> None:
    canonical = canonical.replace("\\ud800", "\ud800")
    value = values.parse(text)
    assert (values.render(value), values.encode(value)) == (rendered, canonical)
    assert values.encode(values.parse(rendered)) == canonical
    assert values.encode(values.decode(canonical)) == canonical


@pytest.mark.parametrize("z", [complex(-0.0, 1), complex(1, -0.0), complex(1, math.inf), complex(1, math.nan)])
def test_complex_numbers_without_a_literal(z: complex) -> None:
    assert values.equal(z, values.decode(values.encode(z)))
    with pytest.raises(ValueFormatError, match="no literal"):
        values.render(z)


@pytest.mark.parametrize(("text", "reason"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refused_texts(text: str, reason: str) -> None:
    with pytest.raises(ValueFormatError, match=reason):
        values.parse(text)
    with pytest.raises(ValueFormatError):
        values.parse_arguments(text)
    with pytest.raises(ValueFormatError):
        values.parse(f"[{text}]")


@cache
def prelude() -> str:
    found = re.search(r"```python\n(from array.*?)```", PAGE, re.S)
    assert found is not None
    return found[1]


def test_what_a_program_returns_and_is_no_value(executor: Executor) -> None:
    jobs = [Job(f"{prelude()}\ndef f():\n    return {text}", ("()",), PATIENT) for text, _ in RETURNED]
    for (text, kind), (outcome,) in zip(RETURNED, executor.run(jobs), strict=True):
        found = outcome.status, outcome.value, outcome.detail.rpartition("type ")[2]
        assert found == (OutcomeStatus.UNSUPPORTED, "", kind), text


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


PROBES: dict[str, Callable[[int], object]] = {
    "characters of a text that is read as a value": lambda n: values.parse("'" + "a" * (n - 2) + "'"),
    "brackets within brackets": lambda n: values.parse(nested(n)),
    "values in one value": lambda n: values.encode([None] * (n - 1)),
    "bits of an int": lambda n: values.encode(2**n - 1),
    "decimal digits of an int in a text": lambda n: values.parse("9" * n),
}


@pytest.mark.parametrize("row", LIMITS, ids=[row[0] for row in LIMITS])
def test_limits(row: list[str], executor: Executor) -> None:
    name, largest, beyond = row[0], int(row[1]), row[2]
    if beyond == "refused":
        PROBES[name](largest)
        with pytest.raises(ValueFormatError):
            PROBES[name](largest + 1)
    elif beyond == "hexadecimal":
        assert [values.render(2**n - 1)[:2] == "0x" for n in (largest, largest + 1)] == [False, True]
    else:
        size = largest * 1024 - len(f"s{largest * 1024}:")
        jobs = [Job("def f(n): return 'a' * n", (f"(i{n:x};)",), PATIENT) for n in (size, size + 1)]
        assert [str(outcome.status) for (outcome,) in executor.run(jobs)] == ["ok", beyond]
