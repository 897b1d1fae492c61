"""The Python domain: syntax checks, normal forms, the relation, and what becomes of an executor's outcomes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azr_env import values
from azr_env.domains.python import PythonDomain, admission
from azr_env.errors import SettingError
from azr_env.executors.scripted import ScriptedExecutor
from azr_env.protocols import Executor
from azr_env.sources.stored import cruxeval
from azr_env.testing.strategies import wild_text
from azr_env.types import (
    BLANK,
    Draft,
    Example,
    Limits,
    Mode,
    Outcome,
    OutcomeStatus,
    Rejection,
    Slot,
    Status,
    Task,
    Verdict,
)
from azr_env.verifiers.relation import RelationVerifier, claim

DATA = Path(__file__).parents[4] / "shared" / "data"
AZR_TASKS, CRUXEVAL = DATA / "azr_tasks_3b_coder.jsonl", DATA / "cruxeval.jsonl"
CANON = {text: values.encode(values.parse_arguments(text)) for text in ("1", "2", "3", "4")}


def task(
    mode: Mode = Mode.ABDUCTION, program: str = "def f(x): return x", *pairs: tuple[str, str], shown: int = 0
) -> Task:
    return Task("t", "python", mode, program, tuple(Example(i, o) for i, o in pairs or [("1", "1")]), shown)


def verdict(domain: PythonDomain, of: Task, answer: str) -> Verdict:
    return RelationVerifier(domain).verify([(of, answer)])[0]


# What an executor's outcome becomes

OUTCOMES = {
    OutcomeStatus.RAISED: Status.INCORRECT,
    OutcomeStatus.TIMEOUT: Status.TIMEOUT,
    OutcomeStatus.MEMORY: Status.TIMEOUT,
    OutcomeStatus.CRASH: Status.INCORRECT,
    OutcomeStatus.UNSUPPORTED: Status.INCORRECT,
    OutcomeStatus.PROTOCOL: Status.INCORRECT,
    OutcomeStatus.INFRA: Status.ERROR,
}


def test_every_outcome_has_a_verdict() -> None:
    assert set(OUTCOMES) | {OutcomeStatus.OK} == set(OutcomeStatus)


@pytest.mark.parametrize(("outcome", "status"), OUTCOMES.items())
@pytest.mark.parametrize("mode", [Mode.ABDUCTION, Mode.INDUCTION])
def test_outcome_to_verdict(mode: Mode, outcome: OutcomeStatus, status: Status) -> None:
    domain = PythonDomain(ScriptedExecutor({}, Outcome(outcome, value="i1;", detail="why")))
    answer = "1" if mode is Mode.ABDUCTION else "def f(x): return x"
    told = mode is Mode.ABDUCTION or outcome is OutcomeStatus.INFRA
    reason = f"{outcome}: why" if told else str(outcome)
    assert verdict(domain, task(mode, shown=0), answer) == Verdict(status, reason)


@pytest.mark.parametrize(
    ("raises", "reason"),
    [
        ("ValueError(x)", "raised: ValueError"),
        ("KeyError", "raised: KeyError"),
        ("type(x, (Exception,), {})", "raised"),
        ("E(x)", "raised"),
    ],
)
def test_an_induction_answer_cannot_write_hidden_inputs_into_the_reason(
    python_domain: PythonDomain, raises: str, reason: str
) -> None:
    examples = (Example("'shown'", "1"), Example("'hidden_input'", "2"))
    hiding = Task("t", "python", Mode.INDUCTION, "def f(x): return len(x)", examples, 1)
    answer = f"class E(Exception):\n    pass\nE.__name__ = 'E'\ndef f(x):\n    E.__name__ = x\n    raise {raises}"
    found = verdict(python_domain, hiding, answer)
    assert found == Verdict(Status.INCORRECT, reason)


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_outcome_to_rejection(outcome: OutcomeStatus) -> None:
    domain = PythonDomain(ScriptedExecutor({}, Outcome(outcome, detail="why")))
    (result,) = domain.admit([Draft(Mode.DEDUCTION, "def f(x): return x", ("1",))])
    assert result == Rejection("error" if outcome is OutcomeStatus.INFRA else str(outcome), "why")


@pytest.mark.parametrize(
    "text", ["", "i01;", "i1", "T", "i1;i1;", "garbage", "[" * 1000, "f0x1.0000000000000p+0;", "\ud800"]
)
def test_what_the_sandbox_sends_is_not_believed(text: str) -> None:
    domain = PythonDomain(ScriptedExecutor({}, Outcome(OutcomeStatus.OK, text)))
    assert verdict(domain, task(), "1").status is Status.INCORRECT
    if text not in ("T", "f0x1.0000000000000p+0;"):
        (result,) = domain.admit([Draft(Mode.DEDUCTION, "def f(x): return x", ("1",))])
        assert isinstance(result, Rejection)
        assert result.reason == "unsupported"


def _induction(bad: int, outcome: Outcome) -> PythonDomain:
    """Two hidden inputs, 3 and 4; the executor answers one of them with `outcome` and the other rightly."""
    right = {"3": Outcome(OutcomeStatus.OK, "i3;"), "4": Outcome(OutcomeStatus.OK, "i4;")}
    table = right | {("3", "4")[bad]: outcome}
    return PythonDomain(ScriptedExecutor({("def f(x): return x", CANON[key]): value for key, value in table.items()}))


INDUCTION = task(Mode.INDUCTION, "def f(x): return x", ("1", "1"), ("2", "2"), ("3", "3"), ("4", "4"), shown=2)


@pytest.mark.parametrize("bad", [0, 1])
@pytest.mark.parametrize(("outcome", "status"), [*OUTCOMES.items(), (OutcomeStatus.OK, Status.INCORRECT)])
def test_every_hidden_example_counts(bad: int, outcome: OutcomeStatus, status: Status) -> None:
    domain = _induction(bad, Outcome(outcome, "i7;"))
    assert verdict(domain, INDUCTION, "def f(x): return x").status is status
    assert (
        verdict(_induction(bad, Outcome(OutcomeStatus.OK, f"i{3 + bad};")), INDUCTION, "def f(x): return x").status
        is Status.CORRECT
    )


def test_only_what_is_needed_enters_the_executor() -> None:
    """No expected value, and of an induction task only the hidden inputs."""
    executor = ScriptedExecutor({}, Outcome(OutcomeStatus.OK, "i5;"))
    domain = PythonDomain(executor)
    secret = task(Mode.INDUCTION, "def f(x): return 'secret'", ("1", "'shown'"), ("2", "'secret'"), shown=1)
    RelationVerifier(domain).verify(
        [(secret, "def f(x): return 1"), (task(Mode.ABDUCTION, "P", ("1", "'gold'")), "2"), (task(Mode.DEDUCTION), "1")]
    )
    assert [(job.program, job.calls, job.lane) for job in executor.jobs] == [
        ("def f(x): return 1", (CANON["2"],), 0),
        ("P", (CANON["2"],), 0),
    ]
    assert not any("secret" in repr(job) or "gold" in repr(job) for job in executor.jobs)


def test_deduction_runs_nothing(broken_executor: ScriptedExecutor) -> None:
    domain = PythonDomain(broken_executor)
    assert verdict(domain, task(Mode.DEDUCTION), "1").status is Status.CORRECT
    assert verdict(domain, task(Mode.DEDUCTION), "2").status is Status.INCORRECT
    assert verdict(domain, task(Mode.DEDUCTION), "f(1)").status is Status.REJECTED
    assert broken_executor.jobs == []


def test_admission_runs_in_two_lanes_and_the_hidden_half_first_in_the_second() -> None:
    executor = ScriptedExecutor({}, Outcome(OutcomeStatus.OK, "i5;"))
    PythonDomain(executor, induction_inputs=4).admit(
        [Draft(Mode.INDUCTION, "def f(x): return 5", ("1", "2", "3", "4"))]
    )
    one, two, three, four = CANON.values()
    assert [(job.lane, job.calls) for job in executor.jobs] == [
        (0, (one, two, three, four) * 2),
        (1, (three, four, one, two)),
    ]


@pytest.mark.parametrize("inputs", [2, 3, 5, 7])
def test_odd_numbers_of_inputs_keep_their_outputs(python_domain: PythonDomain, inputs: int) -> None:
    domain = PythonDomain(python_domain.executor, python_domain.limits, induction_inputs=inputs)
    (made,) = domain.admit([Draft(Mode.INDUCTION, "def f(x): return -x", tuple(str(k) for k in range(inputs)))])
    assert isinstance(made, Task)
    assert [(e.input, e.output) for e in made.examples] == [(str(k), str(-k)) for k in range(inputs)]
    assert made.shown == inputs // 2


STATEFUL = {
    "a flag set by a shown input": "s = []\ndef f(x):\n    if x == 1: s.append(x)\n    return 0 if x == 1 else len(s)",
    "a flag set by a hidden input": "s = []\ndef f(x):\n    if x == 4: s[:] = [x]\n    return 0 if x == 4 else len(s)",
    "the first call differs": "seen = set()\ndef f(x):\n    first = not seen\n    seen.add(x)\n    return first",
    "the third input after any other": "s = []\ndef f(x):\n    s.append(x)\n    return len(s) > 1 if x == 3 else 0",
    "a cache of the last": "last = [None]\ndef f(x):\n    old, last[0] = last[0], x\n    return old == 2",
}


@pytest.mark.parametrize("program", STATEFUL.values(), ids=list(STATEFUL))
def test_state_between_calls_is_refused(python_domain: PythonDomain, program: str) -> None:
    """It would make the stored key fail: the verifier runs the hidden inputs alone."""
    (result,) = python_domain.admit([Draft(Mode.INDUCTION, program, ("1", "2", "3", "4"))])
    assert isinstance(result, Rejection)
    assert result.reason == "nondeterministic"


# Values of a task that cannot be read


@pytest.mark.parametrize("output", ["f(1)", "...", "", "'cut", "Counter()", "\ud800"])
@pytest.mark.parametrize("mode", Mode)
def test_an_unreadable_key_is_our_error(python_domain: PythonDomain, mode: Mode, output: str) -> None:
    of = task(mode, "def f(x): return x", ("1", output), shown=1 if mode is Mode.INDUCTION else 0)
    answer = {Slot.OUTPUT: "1", Slot.INPUT: "1", Slot.PROGRAM: "def f(x): return x"}[BLANK[mode]]
    assert verdict(python_domain, of, answer).status is Status.ERROR


@pytest.mark.parametrize("text", ["f(1)", "x", "*[1]", "x=1"])
def test_an_unreadable_input_is_our_error_unless_it_is_the_answer(python_domain: PythonDomain, text: str) -> None:
    assert (
        verdict(
            python_domain, task(Mode.INDUCTION, "def f(x): return x", (text, "1"), shown=1), "def f(x): return x"
        ).status
        is Status.ERROR
    )
    assert verdict(python_domain, task(Mode.ABDUCTION), text).status is Status.REJECTED


# Equality of the domain


@pytest.mark.parametrize(("answer", "strict"), [("1.0", False), ("True", False), ("1", True), ("(1+0j)", False)])
def test_python_equality_is_a_setting(python_domain: PythonDomain, answer: str, strict: bool) -> None:
    loose = PythonDomain(python_domain.executor, python_domain.limits, equality="python")
    assert (verdict(python_domain, task(Mode.DEDUCTION), answer).status is Status.CORRECT) == strict
    assert verdict(loose, task(Mode.DEDUCTION), answer).status is Status.CORRECT


def test_an_output_that_does_not_equal_itself_is_no_key_under_python_equality(python_domain: PythonDomain) -> None:
    loose = PythonDomain(python_domain.executor, python_domain.limits, equality="python")
    draft = Draft(Mode.DEDUCTION, "def f(x): return [float('nan')]", ("1",))
    assert loose.admit([draft])[0] == Rejection("unsupported", "under python equality the output does not equal itself")
    (made,) = python_domain.admit([draft])
    assert isinstance(made, Task)
    assert verdict(python_domain, made, "[nan]").status is Status.CORRECT


def test_dict_arguments_keep_their_order(python_domain: PythonDomain) -> None:
    draft = Draft(Mode.ABDUCTION, "def f(d): return list(d)", ("{'b': 1, 'a': 2}",))
    (made,) = python_domain.admit([draft])
    assert isinstance(made, Task)
    assert made.examples == (Example("{'b': 1, 'a': 2}", "['b', 'a']"),)
    assert verdict(python_domain, made, "{'b': 9, 'a': 9}").status is Status.CORRECT
    assert verdict(python_domain, made, "{'a': 2, 'b': 1}").status is Status.INCORRECT


# Admission

SLIPPED = {
    "import os": "import os",
    "import os.path": "import os.path as p",
    "from os": "from os import getcwd",
    "import random": "import random",
    "within": "def g():\n    import time",
    "relative": "from . import x",
    "dunder import": "g = __import__",
    "open": "g = open",
    "eval": "g = eval",
    "exec": "exec('1')",
    "compile": "compile('1', '', 'eval')",
    "builtins": "__builtins__",
    "input": "input()",
    "globals": "globals()",
    "subclasses": "().__class__",
    "frame": "g.gi_frame",
    "async": "async def g(): pass",
    "hashlib": "from hashlib import md5",
    "datetime": "import datetime",
    "hmac": "import hmac",
    "second of two": "import math, os",
}


@pytest.mark.parametrize("line", SLIPPED.values(), ids=list(SLIPPED))
def test_forbidden(line: str) -> None:
    rejection = admission.check(f"{line}\ndef f(x): return x")
    assert rejection is not None
    assert rejection.reason == "forbidden"


PAPER_LIST = (
    "logging random multiprocessing pebble subprocess threading datetime time hashlib calendar bcrypt sys shutil hmac"
).split()


@pytest.mark.parametrize("name", [*PAPER_LIST, "os.path", "os.environ"])
def test_the_papers_list_is_forbidden(name: str) -> None:
    for line in (f"import {name}", f"import {name} as m", f"from {name} import a"):
        assert admission.check(f"{line}\ndef f(x): return x") is not None


@pytest.mark.parametrize(
    "program",
    [
        "def f(x): return x",
        "def f(x):\n    def g(y):\n        return y\n    return g(x)",
        "def g(y): return y\ndef f(x): return g(x)",
        "class A:\n    def __init__(self): self.x = 1\ndef f(x): return A().x",
        "import math\nfrom collections import Counter\ndef f(x): return math.sqrt(x)",
        "def f(*args): return args",
        "def f(x, /): return x",
        "@staticmethod\ndef f(x): return x",
        "def f(input): return input",
        "def f(x):\n    id = 1\n    return id + x",
    ],
)
def test_allowed(program: str) -> None:
    assert admission.check(program) is None


@given(wild_text)
def test_check_and_normalise_are_total(text: str) -> None:
    for program in (text, f"def f(x): return {text}", f"def f(x):\n    '''{text}'''\n    return 1"):
        result = admission.check(program)
        assert result is None or result.reason in {"size", "syntax", "forbidden", "entry"}
        assert isinstance(admission.normalise(program), str)


SAME = [
    ("def f(a): return a", "def f(b):\n    # comment\n    return   b"),
    ("def f(a): return a", 'def f(value: int) -> int:\n    """Doc."""\n    return value'),
    ("def f(a):\n    b = a\n    return b", "def f(u):\n    v = u\n    return v"),
    ("def f(a):\n    def g(b): return b\n    return g(a)", "def f(q):\n    def h(z): return z\n    return h(q)"),
    ("def f(a): return [k for k in a]", "def f(x): return [x1 for x1 in x]"),
    ("def f(a): return (lambda b: b)(a)", "def f(b): return (lambda a: a)(b)"),
    ("def f(x): return (x)", "def f(x): return x"),
    ("def f(x): return 'a'", 'def f(x): return "a"'),
]
DIFFERENT = [
    ("def f(a, b): return a", "def f(a, b): return b"),
    ("def f(a): return a + 1", "def f(a): return 1 + a"),
    ("def f(a): return a", "def f(a): return a.real"),
    ("def f(a): return max(a)", "def f(a): return min(a)"),
    ("class A:\n y = 1\n z = 2\ndef f(a): return A.y", "class A:\n z = 1\n y = 2\ndef f(a): return A.y"),
    (
        "class A:\n def y(s): return 1\n def z(s): return 2\ndef f(a): return A().y()",
        "class A:\n def z(s): return 1\n def y(s): return 2\ndef f(a): return A().y()",
    ),
    ("def g(p, q): return p\ndef f(a): return g(p=a, q=1)", "def g(q, p): return p\ndef f(a): return g(p=a, q=1)"),
    ("def f(a):\n    b = 1\n    return a", "def f(a):\n    b = 1\n    return b"),
    ("import math as m\ndef f(a): return m.pi", "import cmath as m\ndef f(a): return m.pi"),
    ("def f(a, b=1): return b", "def f(a, b=2): return b"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_programs_that_are_one(one: str, other: str) -> None:
    assert admission.normalise(one) == admission.normalise(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_programs_that_are_two(one: str, other: str) -> None:
    assert admission.normalise(one) != admission.normalise(other)


@given(st.sampled_from([program for pair in SAME + DIFFERENT for program in pair]))
def test_a_normal_form_is_its_own(program: str) -> None:
    assert admission.normalise(admission.normalise(program)) == admission.normalise(program)


@pytest.mark.skipif(not CRUXEVAL.is_file(), reason=f"{CRUXEVAL} is absent")
def test_normal_forms_compute_the_same(python_domain: PythonDomain) -> None:
    """Renaming that changed what a program does would make one task of two."""
    tasks = cruxeval(str(CRUXEVAL), python_domain).tasks(Mode.ABDUCTION)[::4]
    renamed = [replace(of, program=admission.normalise(of.program)) for of in tasks]
    assert sum(one.program != other.program for one, other in zip(tasks, renamed, strict=True)) > 150
    verdicts = RelationVerifier(python_domain).verify([(of, of.examples[0].input) for of in renamed])
    assert {item.status for item in verdicts} == {
        Status.CORRECT,
        Status.REJECTED,
    }  # rejected: inputs that are no values
    assert sum(item.status is Status.REJECTED for item in verdicts) < 6


def test_identity_knows_mode_inputs_and_their_number(python_domain: PythonDomain) -> None:
    base = task(Mode.DEDUCTION, "def f(a): return a", ("1", "1"))
    same = task(Mode.DEDUCTION, "def f(b):  return b", ("1", "1"))
    others = [
        task(Mode.ABDUCTION, "def f(a): return a", ("1", "1")),
        task(Mode.DEDUCTION, "def f(a): return a", ("2", "2")),
        task(Mode.DEDUCTION, "def f(a): return -a", ("1", "-1")),
        task(Mode.INDUCTION, "def f(a): return a", ("1", "1"), ("2", "2"), shown=1),
    ]
    assert python_domain.identity(base) == python_domain.identity(same)
    assert len({python_domain.identity(item) for item in [base, *others]}) == 5
    assert (
        python_domain.facts(base)
        == python_domain.facts(same)
        == python_domain.facts(others[0])
        == python_domain.facts(others[1])
    )


def test_seeds_are_admitted_in_every_mode(python_domain: PythonDomain) -> None:
    for mode in Mode:
        for domain in (
            python_domain,
            PythonDomain(python_domain.executor, induction_inputs=10),
            PythonDomain(python_domain.executor, induction_inputs=20),
        ):
            assert [type(result) for result in domain.admit(domain.seeds(mode))] == [Task]


@pytest.mark.skipif(not AZR_TASKS.is_file(), reason=f"{AZR_TASKS} is absent")
def test_real_proposals_are_judged_and_mostly_admitted(python_domain: PythonDomain) -> None:
    rows = [json.loads(line) for line in AZR_TASKS.read_text(encoding="utf-8").splitlines()]
    results = python_domain.admit([Draft(Mode.DEDUCTION, row["snippet"], (row["input"],)) for row in rows])
    admitted = [result for result in results if isinstance(result, Task)]
    assert len(admitted) > 0.8 * len(rows)
    assert "error" not in {result.reason for result in results if isinstance(result, Rejection)}
    verifier = RelationVerifier(python_domain)
    assert {item.status for item in verifier.verify([(of, of.examples[0].output) for of in admitted])} == {
        Status.CORRECT
    }


def test_claims_of_both_kinds_in_one_batch_stand_in_order(python_domain: PythonDomain) -> None:
    double = "def f(x): return 2 * x"
    asked = [
        (task(Mode.DEDUCTION, double, ("3", "6")), "6"),
        (task(Mode.ABDUCTION, double, ("3", "6")), "3"),
        (task(Mode.DEDUCTION, double, ("3", "6")), "7"),
        (task(Mode.INDUCTION, double, ("3", "6"), ("4", "8"), shown=1), "def f(y): return y + y"),
        (task(Mode.ABDUCTION, double, ("3", "6")), "4"),
        (task(Mode.INDUCTION, double, ("3", "6"), ("4", "8"), shown=1), "def f(y): return 6"),
        (task(Mode.ABDUCTION, double, ("3", "6")), "f(3)"),
    ]
    assert [str(item.status) for item in python_domain.holds([claim(*pair) for pair in asked])] == [
        "correct", "correct", "incorrect", "correct", "incorrect", "incorrect", "rejected",
    ]  # fmt: skip


def test_limits_may_be_a_plain_mapping(executor: Executor) -> None:
    assert PythonDomain(executor, {"timeout_s": 2.5}).limits == Limits(timeout_s=2.5)
    with pytest.raises(SettingError, match=r"'seconds'.*timeout_s, memory_mib, output_kib"):
        PythonDomain(executor, {"seconds": 2})
