"""A proposer's completion to a task or a rejection."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azr_env import prompts, rewards
from azr_env.domains.prime_inversion import PrimeInversionDomain
from azr_env.domains.python import PythonDomain
from azr_env.errors import AzrError
from azr_env.executors.scripted import ScriptedExecutor
from azr_env.parsing import Style
from azr_env.proposals import Proposed, admit
from azr_env.protocols import Domain
from azr_env.testing.strategies import wild_text
from azr_env.types import Draft, Example, Mode, Outcome, OutcomeStatus, Rejection, Task

PROGRAM = "def f(x):\n    return x * 2"
INPUTS = ("1", "'ab'", "[0]", "(1, 2)")


def proposed(
    domain: Domain,
    mode: Mode,
    program: str | None,
    inputs: Sequence[str],
    style: Style = Style.PAPER,
    message: str = "",
) -> Proposed:
    given = prompts.gives_program(domain, mode)
    text = prompts.proposal_of(domain, None if given else program, inputs, style, message)
    return Proposed(mode, text, program if given else None)


@pytest.mark.parametrize("style", Style)
def test_admitted_tasks(python_domain: PythonDomain, style: Style) -> None:
    batch = [
        proposed(python_domain, mode, PROGRAM, INPUTS if mode is Mode.INDUCTION else INPUTS[:1], style, "doubles")
        for mode in Mode
    ]
    deduction, abduction, induction = (item.task for item in admit(python_domain, batch, style))
    for task in (deduction, abduction):
        assert task is not None
        assert (task.program, task.examples, task.shown) == (PROGRAM, (Example("1", "2"),), 0)
    assert induction is not None
    assert induction.examples == (
        Example("1", "2"),
        Example("'ab'", "'abab'"),
        Example("[0]", "[0, 0]"),
        Example("(1, 2)", "(1, 2, 1, 2)"),
    )
    assert (induction.shown, induction.message) == (2, "doubles")


@pytest.mark.parametrize("style", Style)
def test_prime_tasks(prime_domain: PrimeInversionDomain, style: Style) -> None:
    for mode in Mode:
        (item,) = admit(prime_domain, [proposed(prime_domain, mode, "7", ["3"], style)], style)
        assert item.task == prime_domain.task(mode, 7, 3)
        assert item.rejection is None


REJECTED = {
    "no frame": ("hello", "malformed"),
    "no input": ("<think></think><answer>```python\ndef f(x): return x\n```</answer>", "malformed"),
    "two inputs": (
        "<think></think><answer>```python\nP\n```\n```input\n1\n```\n```input\n2\n```</answer>",
        "malformed",
    ),
    "does not parse": ("def f(x) return x", "syntax"),
    "not f": ("def g(x): return x", "entry"),
    "no parameter": ("def f(): return 1", "entry"),
    "keywords only": ("def f(*, x=1): return x", "entry"),
    "import os": ("import os\ndef f(x): return x", "forbidden"),
    "too long": ("def f(x): return x #" + "x" * 8000, "size"),
    "raises": ("def f(x): return x / 0", "raised"),
    "raises at once": ("raise ValueError\ndef f(x): return x", "raised"),
    "leaves": ("def f(x): raise SystemExit", "raised"),
    "returns a function": ("def f(x): return f", "unsupported"),
    "returns a set of an object": ("def f(x): return [object()]", "unsupported"),
    "returns too much": ("def f(x): return 'a' * 4001", "size"),
    "set order": ("def f(x): return list({str(k) for k in range(20)})", "nondeterministic"),
    "hash": ("def f(x): return hash(object()) % 2", "forbidden"),
    "hash by attribute": ("def f(x): return object().__hash__() % 2", "forbidden"),
    "a counter": ("n = 0\ndef f(x):\n    global n\n    n += 1\n    return n", "nondeterministic"),
    "a growing default": ("def f(x, seen=[]):\n    seen.append(x)\n    return len(seen)", "nondeterministic"),
    "address": ("def f(x): return str(object())", "nondeterministic"),
    "id, and another's": ("def g(id): return id\ndef f(x): return (id(object()) >> 4) % 2", "forbidden"),
    "vars by default": ("def f(x, vars=vars): return len(str(vars))", "forbidden"),
    "endless": ("def f(x):\n    while True: pass", "timeout"),
}


@pytest.mark.parametrize(("text", "reason"), REJECTED.values(), ids=list(REJECTED))
def test_rejections(python_domain: PythonDomain, text: str, reason: str) -> None:
    whole = reason == "malformed"
    item = Proposed(Mode.DEDUCTION, text) if whole else proposed(python_domain, Mode.DEDUCTION, text, ["7"])
    (result,) = admit(python_domain, [item])
    assert result.task is None
    assert result.rejection is not None
    assert result.rejection.reason == reason
    assert rewards.proposer_reward(result.rejection, None, rewards.azr) == -1.0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("f(1)", "input"),
        ("x", "input"),
        ("x=1", "input"),
        ("*[1]", "input"),
        ("1) or f(2", "input"),
        ("", "input"),
        ("# nothing", "input"),
        ("'" + "a" * 4000 + "'", "size"),
        ("lambda: 1", "input"),
        ("1" + "0" * 400 + "+1j", "input"),
    ],
)
def test_inputs_that_are_refused(python_domain: PythonDomain, text: str, reason: str) -> None:
    (result,) = admit(python_domain, [proposed(python_domain, Mode.ABDUCTION, "def f(*x): return x", [text])])
    assert result.rejection is not None
    assert result.rejection.reason == reason


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        (INPUTS[:3], "inputs"),
        (("1", "2", "3", "1"), "inputs"),
        (("1", "2", "3", " 1 "), "inputs"),
        (("{1: 2}", "{1:2,}", "3", "4"), "inputs"),
        (("1", "2", "3", "x"), "input"),
    ],
)
def test_induction_inputs_that_are_refused(python_domain: PythonDomain, inputs: tuple[str, ...], reason: str) -> None:
    (result,) = admit(python_domain, [proposed(python_domain, Mode.INDUCTION, PROGRAM, inputs)])
    assert result.rejection is not None
    assert result.rejection.reason == reason


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (PROGRAM, f"it is\n{PROGRAM}"),
        (PROGRAM, "it is def f(x): return x*2."),
        ("def f(x): return x * 2 + 10 - 10", "so: return x*2 + 10 - 10"),
        ("def f(x):\n    def g(y): return y * 2 + 10\n    return g(x) - 10", "g gives y * 2: return y*2+10"),
        ("def f(x):\n    return x * 2 + 0 - 0", "return   x*2 + 0-0"),
        ("def f(x):\n    return x * 2 + 0 - 0", "so: return x * 2 + 0 - 0!"),
    ],
)
def test_a_message_with_code_of_the_program_is_refused(python_domain: PythonDomain, program: str, message: str) -> None:
    (result,) = admit(
        python_domain, [proposed(python_domain, Mode.INDUCTION, program, ["1", "2", "3", "4"], message=message)]
    )
    assert result.rejection == Rejection("leak", "the message contains code of the program")
    (result,) = admit(
        python_domain, [proposed(python_domain, Mode.INDUCTION, program, ["1", "2", "3", "4"], message="twice x")]
    )
    assert result.rejection is None


def test_surplus_inputs_are_not_used(python_domain: PythonDomain) -> None:
    (result,) = admit(python_domain, [proposed(python_domain, Mode.INDUCTION, PROGRAM, [*INPUTS, "nonsense"])])
    assert result.task is not None
    assert [example.input for example in result.task.examples] == list(INPUTS)


def test_order_and_one_call_for_all(python_domain: PythonDomain) -> None:
    texts = [PROGRAM, "import os", "def f(x): return x / 0", "def f(x): return x"]
    batch = [proposed(python_domain, Mode.DEDUCTION, text, ["3"]) for text in texts]
    batch.insert(1, Proposed(Mode.DEDUCTION, "nothing"))
    together = admit(python_domain, batch)
    assert together == [admit(python_domain, [item])[0] for item in batch]
    assert [item.rejection.reason if item.rejection else None for item in together] == [
        None,
        "malformed",
        "forbidden",
        "raised",
        None,
    ]
    assert all((item.task is None) != (item.rejection is None) for item in together)


def test_nothing_to_admit(python_domain: PythonDomain, prime_domain: PrimeInversionDomain) -> None:
    assert admit(python_domain, []) == []
    assert admit(prime_domain, []) == []


def test_a_failure_of_ours_is_not_the_proposers(broken_executor: ScriptedExecutor) -> None:
    domain = PythonDomain(broken_executor)
    (result,) = admit(domain, [proposed(domain, Mode.DEDUCTION, PROGRAM, ["1"])])
    assert result.rejection == Rejection("error", "the server died twice")
    assert rewards.proposer_reward(result.rejection, None, rewards.azr) is None


def test_a_domain_that_miscounts_is_told_so() -> None:
    class Miscounting(PrimeInversionDomain):
        def admit(self, drafts: Sequence[Draft]) -> list[Task | Rejection]:
            return super().admit(drafts)[1:]

    domain = Miscounting(31)
    with pytest.raises(AzrError, match="'prime_inversion' gave 1 results for 2 drafts"):
        admit(domain, [proposed(domain, Mode.DEDUCTION, "7", ["3"])] * 2)


CRASHERS = {
    "an integer without decimal text": "def f(x): return x + 0 * 0x" + "f" * 4000,
    "deep but legal": "def f(x): return " + "-" * 80 + "x",
    "an f-string of f-strings": "def f(x): return f\"{f'{x!r:>{10}}'}\"",
    "a string of surrogates": "def f(x): return '\\ud800' + str(x)",
    "a real surrogate": "def f(x): return '\ud800'",
    "NUL": "def f(x): return 1\0",
    "form feed": "\fdef f(x): return x\f",
    "old line ends": "def f(x):\r\treturn x\r",
    "a class": "class A:\n    y = 1\n    def m(self): return self.y\ndef f(x): return A().m() + 0 * len(str(x))",
    "match": "def f(x):\n match x:\n  case [a, *b]: return a\n  case {'k': v, **r}: return v\n  case _: return 7",
    "star names": "def f(*args, **kw): return args",
    "global x": "x = 1\ndef f(a):\n    global x\n    x = 1\n    return x",
    "lambda and walrus": "def f(a): return [(y := k, (lambda q, *r: q)(y)) for k in range(3)]",
    "type comment": "def f(x): # type: (int) -> int\n    return x",
    "del": "def f(x):\n    y = x\n    del y\n    return x",
    "two f": "def f(x): return 1\ndef f(x): return 2",
    "long names": "def f(" + "a" * 3000 + "): return 1",
    "many names": "def f(x):\n" + "".join(f"    v{k} = x\n" for k in range(700)) + "    return 1",
    "nested functions": "def f(x):\n"
    + "".join(" " * (k + 1) + f"def g{k}(y):\n" for k in range(40))
    + " " * 41
    + "pass\n return 1",
    "exception names": "def f(x):\n    try: raise ValueError\n    except* ValueError as e: pass\n    return 1",
}


@pytest.mark.parametrize("program", CRASHERS.values(), ids=list(CRASHERS))
def test_no_program_raises_in_us(python_domain: PythonDomain, program: str) -> None:
    """`0xff...` of 4,000 digits made `ast.unparse` raise, and with it the whole admission."""
    (result,) = admit(python_domain, [proposed(python_domain, Mode.DEDUCTION, program, ["7"])])
    assert (result.task is None) != (result.rejection is None)
    if result.task is not None:
        assert python_domain.identity(result.task)
        assert python_domain.facts(result.task)


@given(wild_text, st.lists(wild_text, max_size=3), wild_text, st.sampled_from(Mode), st.sampled_from(Style))
def test_total(domain: Domain, program: str, inputs: list[str], message: str, mode: Mode, style: Style) -> None:
    parts = "".join(f"```input\n{text}\n```\n" for text in inputs)
    fence = "python" if domain.name == "python" else "prime"
    for completion in (
        program,
        f"<think></think><answer>```{fence}\n{program}\n```\n{parts}```message\n{message}\n```</answer>",
    ):
        for given_program in (None, program):
            (result,) = admit(domain, [Proposed(mode, completion, given_program)], style)
            assert (result.task is None) != (result.rejection is None)
            if result.rejection is not None:
                assert result.rejection.reason != "error"


@pytest.mark.parametrize(
    ("p", "x", "reason"),
    [
        ("7", "3", None), ("2", "1", None), ("31", "30", None), ("7", "0", "invalid"), ("7", "7", "invalid"),
        ("7", "8", "invalid"), ("9", "2", "invalid"), ("1", "1", "invalid"), ("0", "0", "invalid"), ("37", "2", "size"),
        ("999999999", "2", "size"), ("9999999999", "2", "syntax"), ("07", "3", "syntax"), ("+7", "3", "syntax"),
        ("-7", "3", "syntax"), ("7.0", "3", "syntax"), ("7", "-4", "syntax"), ("seven", "3", "syntax"),
        ("\u0667", "3", "syntax"), ("7", "\u00b2", "syntax"), ("7", "0x3", "syntax"), ("7\0", "3", "syntax"),
    ],
)  # fmt: skip
def test_prime_proposals(prime_domain: PrimeInversionDomain, p: str, x: str, reason: str | None) -> None:
    (result,) = admit(prime_domain, [proposed(prime_domain, Mode.DEDUCTION, p, [x])])
    assert (result.rejection.reason if result.rejection else None) == reason


def test_a_task_of_prime_inversion_is_right_for_every_pair(prime_domain: PrimeInversionDomain) -> None:
    for p in (2, 3, 5, 7, 11, 31):
        for x in range(1, p):
            task: Task = prime_domain.task(Mode.DEDUCTION, p, x)
            assert x * int(task.examples[0].output) % p == 1


def test_the_second_lane_has_half_the_time() -> None:
    executor = ScriptedExecutor({}, default=Outcome(OutcomeStatus.OK, "i5;"))
    domain = PythonDomain(executor, {"timeout_s": 3})
    (task,) = domain.admit([Draft(Mode.DEDUCTION, "def f(x): return x + 4", ("1",))])
    assert isinstance(task, Task)
    assert [(job.lane, job.limits.timeout_s) for job in executor.jobs] == [(0, 3), (1, 1.5)]
