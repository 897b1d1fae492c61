"""The public strategies give what they say."""

from __future__ import annotations

import ast
import random
from collections.abc import Callable

import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

from azr_env import values
from azr_env.domains.python import PythonDomain
from azr_env.domains.python.admission import parse
from azr_env.errors import SettingError, ValueFormatError
from azr_env.grading import grade
from azr_env.parsing import Style
from azr_env.protocols import Domain
from azr_env.testing import strategies
from azr_env.types import Draft, Mode, Rejection, Status, Task
from azr_env.verifiers.relation import RelationVerifier


@given(data=st.data())
def test_tasks_are_tasks_of_the_domain(domain: Domain, data: st.DataObject) -> None:
    task = data.draw(strategies.tasks(domain))
    assert isinstance(task, Task)
    assert task.domain == domain.name


@pytest.mark.parametrize("mode", Mode)
def test_tasks_of_one_mode(domain: Domain, mode: Mode) -> None:
    @settings(max_examples=10)
    @given(task=strategies.tasks(domain, mode))
    def check(task: Task) -> None:
        assert task.mode is mode

    check()


def test_a_seed_gives_one_task(domain: Domain) -> None:
    assert strategies.task_of(domain, Mode.ABDUCTION, 5) == strategies.task_of(domain, Mode.ABDUCTION, 5)
    assert len({strategies.task_of(domain, Mode.ABDUCTION, seed) for seed in range(20)}) > 3


def test_a_domain_that_admits_nothing_is_told(prime_domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        type(prime_domain), "admit", lambda self, drafts: [Rejection("closed", "today") for _ in drafts]
    )
    with pytest.raises(SettingError, match=r"admitted none of 50 .* 'closed': today"):
        strategies.task_of(prime_domain, Mode.DEDUCTION, 0)


@given(program=strategies.programs())
def test_programs_are_texts_and_most_of_them_parse(program: str) -> None:
    assert isinstance(program, str)
    assert not isinstance(parse(program), Rejection) or program in strategies.ODD_PROGRAMS


@pytest.mark.parametrize("style", Style)
@pytest.mark.parametrize("status", [Status.CORRECT, Status.INCORRECT, Status.REJECTED, Status.MALFORMED])
def test_completions_of_every_kind_come_up(prime_domain: Domain, style: Style, status: Status) -> None:
    task = strategies.task_of(prime_domain, Mode.DEDUCTION, 0)

    def ends(completion: str) -> bool:
        (result,) = grade(prime_domain, RelationVerifier(prime_domain), [(task, completion)], style)
        return result.verdict.status is status

    found = find(
        strategies.completions(task, prime_domain, style),
        ends,
        settings=settings(max_examples=3000, database=None),
        random=random.Random(0),
    )
    assert ends(found)


@given(data=st.data())
def test_near_misses_are_near(data: st.DataObject) -> None:
    near = data.draw(strategies.near_misses("[1, 2]"))
    assert abs(len(near) - 6) <= 6


def test_near_misses_hold_right_answers_too() -> None:
    found = find(
        strategies.near_misses("[1, 2]"),
        lambda near: near != "[1, 2]" and _value(near) == [1, 2],
        settings=settings(max_examples=3000, database=None),
        random=random.Random(0),
    )
    assert ast.literal_eval(found.strip()) == [1, 2]


def _value(text: str) -> object:
    try:
        return values.parse(text)
    except ValueFormatError:
        return None


KINDS: dict[str, Callable[[str], bool]] = {
    "empty": lambda text: not text,
    "NUL": lambda text: "\0" in text,
    "line ends": lambda text: "\n" in text,
    "surrogates": lambda text: any("\ud800" <= c <= "\udfff" for c in text),
    "beyond the basic plane": lambda text: any(c > "\uffff" for c in text),
}


@pytest.mark.parametrize("kind", KINDS)
def test_wild_text_is_wild(kind: str) -> None:
    often = settings(max_examples=3000, database=None)
    assert KINDS[kind](find(strategies.wild_text, KINDS[kind], settings=often, random=random.Random(0)))


@given(value=strategies.plain_values)
def test_plain_values_have_a_text(value: object) -> None:
    assert values.equal(values.parse(values.render(value)), value)


@pytest.mark.parametrize("name", strategies.UNSTABLE_PROGRAMS)
def test_unstable_programs_parse_and_are_refused(python_domain: PythonDomain, name: str) -> None:
    program = strategies.UNSTABLE_PROGRAMS[name]
    assert not isinstance(parse(program), Rejection)
    (result,) = python_domain.admit([Draft(Mode.DEDUCTION, program, ("1",))])
    assert isinstance(result, Rejection)
