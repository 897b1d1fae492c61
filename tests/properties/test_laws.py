"""The eight laws of design/architecture.md, for both domains, both styles and all modes.

The judges here are independent of the code they judge: `ast.literal_eval`, CPython itself on programs of our own
generator, and plain arithmetic. Not covered: induction answers that are edits of programs (law 3) are judged by
CPython only where our generator wrote them; the sandbox has its own tests.
"""

from __future__ import annotations

import ast
import json
import math
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from azr_env import prompts, rewards, values
from azr_env.domains.prime_inversion import PrimeInversionDomain
from azr_env.domains.python import PythonDomain
from azr_env.domains.python.generator import random_program
from azr_env.executors.scripted import ScriptedExecutor
from azr_env.grading import grade
from azr_env.parsing import Style
from azr_env.proposals import Proposed, admit
from azr_env.protocols import Domain
from azr_env.sources.builtin import BuiltinSource
from azr_env.testing.answers import PROGRAMS, VALUES
from azr_env.testing.strategies import near_misses, plain_values, wild_text
from azr_env.types import BLANK, Draft, Example, Mode, Outcome, OutcomeStatus, Rejection, Slot, Status, Task
from azr_env.verifiers.relation import RelationVerifier

# The independent judge parses near misses too, and CPython warns about some of them.
pytestmark = [pytest.mark.filterwarnings(f"ignore::{name}") for name in ("DeprecationWarning", "SyntaxWarning")]

keys = st.integers(0, 2**40)
modes = st.sampled_from(Mode)
styles = st.sampled_from(Style)


@cache
def source(domain: Domain, settings: str = "") -> BuiltinSource:
    return BuiltinSource(settings, domain)


def builtin(domain: Domain, mode: Mode, key: int, settings: str = "") -> Task:
    return source(domain, settings).get(f"builtin-{mode}-{key:x}")


def status(domain: Domain, task: Task, answer: str, style: Style = Style.PAPER) -> Status:
    completion = prompts.completion_of(domain, task.mode, answer, style)
    return judged(domain, task, completion, style)


def judged(domain: Domain, task: Task, completion: str, style: Style = Style.PAPER) -> Status:
    return grade(domain, RelationVerifier(domain), [(task, completion)], style)[0].verdict.status


def cpython(program: str) -> Callable[..., Any]:
    """The function `f` of a program that our own generator wrote."""
    space: dict[str, Any] = {}
    exec(program, space)  # noqa: S102
    return space["f"]  # type: ignore[no-any-return]


def same(a: object, b: object) -> bool:
    """Equality of literals with their types, written again from scratch."""
    if type(a) is not type(b):
        return False
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))  # type: ignore[arg-type]
    if isinstance(a, float):
        return a == b and math.copysign(1, a) == math.copysign(1, b)  # type: ignore[arg-type]
    return a == b


def arguments(text: str) -> tuple[Any, ...] | None:
    """The arguments that a text lists, by `ast.literal_eval`."""
    for end in ("\n,)", "\n)"):
        try:
            value = ast.literal_eval(f"({text}{end}")
        except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
            continue
        if isinstance(value, tuple):
            return value
    return None


@st.composite
def echoes(draw: st.DrawFn, domain: PythonDomain) -> Task:
    """An admitted task about the identity function on any plain value."""
    mode = draw(modes)
    count = domain.induction_inputs[0] if mode is Mode.INDUCTION else 1
    chosen = draw(st.lists(plain_values, min_size=count, max_size=count, unique_by=values.encode))
    (result,) = domain.admit([Draft(mode, "def f(x):\n    return x", tuple(values.render(v) for v in chosen))])
    assume(not (isinstance(result, Rejection) and result.reason == "size"))
    assert isinstance(result, Task), result
    return result


# Law 1. Every example of an admitted task satisfies R.


@given(key=keys, mode=modes, family=st.sampled_from(["chain", "affine", "statements"]))
def test_law_1_examples_are_what_cpython_gives(python_domain: PythonDomain, key: int, mode: Mode, family: str) -> None:
    task = builtin(python_domain, mode, key, f"family={family}")
    f = cpython(task.program)
    for example in task.examples:
        given_arguments = arguments(example.input)
        assert given_arguments is not None
        assert same(f(*given_arguments), ast.literal_eval(example.output))


@given(key=keys, mode=modes)
def test_law_1_prime_examples_are_inverses(prime_domain: PrimeInversionDomain, key: int, mode: Mode) -> None:
    task = builtin(prime_domain, mode, key)
    p, x, y = int(task.program), int(task.examples[0].input), int(task.examples[0].output)
    assert is_prime(p)
    assert p <= 31
    assert 0 < x < p
    assert 0 < y < p
    assert x * y % p == 1


@given(data=st.data())
def test_law_1_holds_for_each_example_alone(python_domain: PythonDomain, data: st.DataObject) -> None:
    task = data.draw(echoes(python_domain))
    for example in task.examples:
        alone = Task("t", "python", Mode.ABDUCTION, task.program, (example,))
        assert status(python_domain, alone, example.input) is Status.CORRECT


# Law 2. The answer key, rendered as a completion, is graded correct.


@given(key=keys, mode=modes, style=styles)
def test_law_2_generated(domain: Domain, key: int, mode: Mode, style: Style) -> None:
    task = builtin(domain, mode, key)
    completion = prompts.completion_of(domain, mode, prompts.key(task), style, thought="so")
    (result,) = grade(domain, RelationVerifier(domain), [(task, completion)], style)
    assert (result.verdict.status, result.reward, result.answer) == (Status.CORRECT, 1.0, prompts.key(task))


@given(data=st.data(), style=styles)
def test_law_2_any_value(python_domain: PythonDomain, data: st.DataObject, style: Style) -> None:
    task = data.draw(echoes(python_domain))
    assert status(python_domain, task, prompts.key(task), style) is Status.CORRECT


# Law 3. No text but a right answer is graded correct.


def is_prime(n: int) -> bool:
    return n > 1 and all(n % d for d in range(2, n))


def right_prime(task: Task, text: str) -> bool:
    if not re.fullmatch(r"(0|[1-9][0-9]{0,8})", text.strip()):
        return False
    number = int(text.strip())
    p, x, y = int(task.program), int(task.examples[0].input), int(task.examples[0].output)
    p, x, y = {Slot.PROGRAM: (number, x, y), Slot.INPUT: (p, number, y), Slot.OUTPUT: (p, x, number)}[BLANK[task.mode]]
    return p <= 31 and is_prime(p) and 0 < x < p and 0 < y < p and x * y % p == 1


@given(data=st.data(), key=keys, mode=modes, style=styles)
def test_law_3_primes(
    prime_domain: PrimeInversionDomain, data: st.DataObject, key: int, mode: Mode, style: Style
) -> None:
    task = builtin(prime_domain, mode, key)
    text = data.draw(st.one_of(near_misses(prompts.key(task)), st.integers(-3, 40).map(str), wild_text))
    assume("think>" not in text)
    result = status(prime_domain, task, text, style)
    assert (result is Status.CORRECT) == right_prime(task, text)


@given(data=st.data(), key=keys, style=styles)
def test_law_3_python_deduction(python_domain: PythonDomain, data: st.DataObject, key: int, style: Style) -> None:
    task = builtin(python_domain, Mode.DEDUCTION, key)
    text = data.draw(st.one_of(near_misses(prompts.key(task)), st.integers(-50, 50).map(str), wild_text))
    assume("think>" not in text)
    try:
        right = same(ast.literal_eval(text.strip()), ast.literal_eval(prompts.key(task)))
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        right = False
    assert (status(python_domain, task, text, style) is Status.CORRECT) == right


@given(data=st.data(), key=keys, style=styles)
def test_law_3_python_abduction(python_domain: PythonDomain, data: st.DataObject, key: int, style: Style) -> None:
    task = builtin(python_domain, Mode.ABDUCTION, key)
    text = data.draw(st.one_of(near_misses(prompts.key(task)), st.integers(-5, 15).map(str), wild_text))
    assume("think>" not in text and text.strip())
    listed = arguments(text.strip())
    try:
        returned = cpython(task.program)(*(listed or ()))
        right = listed is not None and same(returned, ast.literal_eval(task.examples[0].output))
    except Exception:  # noqa: BLE001  whatever CPython raises, the answer is wrong
        right = False
    assert (status(python_domain, task, text, style) is Status.CORRECT) == right


@given(key=keys, other=keys, style=styles)
def test_law_3_python_induction(python_domain: PythonDomain, key: int, other: int, style: Style) -> None:
    """Answers are programs of the same family, which agree with the hidden examples now and then."""
    task = builtin(python_domain, Mode.INDUCTION, key, "family=affine")
    answer = random_program(np.random.default_rng(other), family="affine").source
    hidden = task.examples[task.shown :]
    right = all(same(cpython(answer)(*arguments(e.input)), ast.literal_eval(e.output)) for e in hidden)  # type: ignore[misc]
    assert (status(python_domain, task, answer, style) is Status.CORRECT) == right


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("style", Style)
def test_law_3_attacks(domain: Domain, mode: Mode, style: Style) -> None:
    task = _attacked(domain, mode)
    texts = [*VALUES.values(), *PROGRAMS.values()]
    attempts = [(task, prompts.completion_of(domain, mode, text, style)) for text in texts]
    attempts += [(task, text) for text in texts]
    fooled = [
        completion[:80]
        for (_, completion), result in zip(
            attempts, grade(domain, RelationVerifier(domain), attempts, style), strict=True
        )
        if result.verdict.status is Status.CORRECT or result.verdict.status is Status.ERROR
    ]
    assert fooled == []


def _attacked(domain: Domain, mode: Mode) -> Task:
    """A task that no text of the attack list answers."""
    if isinstance(domain, PrimeInversionDomain):
        return domain.task(mode, 29, 4)
    examples = (Example("3", "7"),) if mode is not Mode.INDUCTION else (Example("1", "5"), Example("3", "7"))
    return Task("attacked", "python", mode, "def f(x): return x + 4", examples, 1 if mode is Mode.INDUCTION else 0)


# Law 4. Parsing, `holds` and verifying are total, in bounded time.


@given(text=wild_text, mode=modes, style=styles)
def test_law_4_grading_is_total(domain: Domain, text: str, mode: Mode, style: Style) -> None:
    task = _attacked(domain, mode)
    wrapped = [
        text,
        prompts.completion_of(domain, mode, text, style),
        prompts.completion_of(domain, mode, f"def f(x): return {text}", style),
    ]
    results = grade(domain, RelationVerifier(domain), [(task, completion) for completion in wrapped], style)
    for result in results:
        assert result.verdict.status in set(Status) - {Status.ERROR}
        assert result.reward is not None
        assert -1 <= result.reward <= 1
        json.dumps([result.answer, result.verdict.reason])


@given(text=st.one_of(wild_text, st.sampled_from([*VALUES.values(), *PROGRAMS.values()])), mode=modes, style=styles)
def test_law_4_admission_is_total(domain: Domain, text: str, mode: Mode, style: Style) -> None:
    program = "def f(*x):\n    return x" if domain.name == "python" else "7"
    count = domain.induction_inputs[0] if mode is Mode.INDUCTION else 1
    for completion in (
        text,
        prompts.proposal_of(domain, text, [text] * count, style),
        prompts.proposal_of(domain, program, [text] * count, style),
    ):
        (result,) = admit(domain, [Proposed(mode, completion)], style)
        assert (result.task is None) != (result.rejection is None)
        assert result.rejection is None or result.rejection.reason != "error"


MEGABYTES = [
    "[",
    "(\n",
    "{1:",
    "a",
    "9",
    "-",
    "\0",
    "\ud800",
    "\n",
    "```\n",
    "'",
    "\\",
    "0,",
    "lambda:",
    " ",
    "</answer>",
    "#\n",
    "\t\n",
]


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("style", Style)
def test_law_4_megabytes_take_bounded_time(domain: Domain, mode: Mode, style: Style) -> None:
    task = _attacked(domain, mode)
    bulks = [piece * (1_048_576 // len(piece)) for piece in MEGABYTES]
    attempts = [(task, prompts.completion_of(domain, mode, bulk, style)) for bulk in bulks] + [
        (task, bulk) for bulk in bulks
    ]
    start = time.perf_counter()
    results = grade(domain, RelationVerifier(domain), attempts, style)
    assert time.perf_counter() - start < 15, "36 megabytes; about a second on one core"
    assert {result.verdict.status for result in results} <= {Status.MALFORMED, Status.REJECTED, Status.INCORRECT}


# Law 5. Same task and completion: same verdict.

ATTEMPTS: list[tuple[str, Mode, str]] = [
    *(("python", mode, text) for mode in Mode for text in VALUES.values() if len(text) < 2000),
    *(("python", Mode.INDUCTION, text) for text in PROGRAMS.values()),
    ("python", Mode.DEDUCTION, "7"),
    ("python", Mode.ABDUCTION, "3"),
    ("python", Mode.INDUCTION, "def f(x): return x + 4"),
    ("python", Mode.INDUCTION, "def f(x): return len({str(k) for k in range(x + 4)})"),
    ("python", Mode.INDUCTION, "def f(x): return [x + 4 for _ in sorted({'a', 'b', 'c'})][0]"),
    ("python", Mode.INDUCTION, "def f(x): return 7 if list({'a', 'b', 'c', 'd'})[0] == 'a' else 0"),
    ("python", Mode.INDUCTION, "def f(x): return hash('a') % 9"),
    *(("prime_inversion", mode, str(k)) for mode in Mode for k in (0, 2, 4, 22, 29, 31)),
]


def verdicts_of(
    order: list[int], one_by_one: bool, python: PythonDomain, prime: PrimeInversionDomain
) -> list[list[str]]:
    """Status and reason of each attempt, in the order of `ATTEMPTS`."""
    found: dict[int, list[str]] = {}
    for domain in (python, prime):
        mine = [k for k in order if ATTEMPTS[k][0] == domain.name]
        batches = [[k] for k in mine] if one_by_one else [mine]
        for batch in batches:
            pairs = [
                (_attacked(domain, ATTEMPTS[k][1]), prompts.completion_of(domain, *ATTEMPTS[k][1:])) for k in batch
            ]
            for k, result in zip(batch, grade(domain, RelationVerifier(domain), pairs), strict=True):
                found[k] = [str(result.verdict.status), result.verdict.reason]
    return [found[k] for k in range(len(ATTEMPTS))]


@pytest.fixture(scope="module")
def reference(python_domain: PythonDomain, prime_domain: PrimeInversionDomain) -> list[list[str]]:
    return verdicts_of(list(range(len(ATTEMPTS))), False, python_domain, prime_domain)


@pytest.mark.parametrize("one_by_one", [False, True])
def test_law_5_in_any_order_alone_or_in_a_batch(
    python_domain: PythonDomain, prime_domain: PrimeInversionDomain, reference: list[list[str]], one_by_one: bool
) -> None:
    assert {status for status, _ in reference} >= {"correct", "incorrect", "rejected"}
    order = list(range(len(ATTEMPTS)))
    random.Random(5).shuffle(order)
    assert verdicts_of(order, one_by_one, python_domain, prime_domain) == reference


@pytest.mark.parametrize("seed", ["0", "1", "31337"])
def test_law_5_in_other_processes_under_other_hash_seeds(reference: list[list[str]], seed: str) -> None:
    code = (
        "import json, sys; sys.path[:0] = sys.argv[1:]\n"
        "from test_laws import *\n"
        "from azr_env.types import Limits\n"
        "python = PythonDomain('zygote', Limits(timeout_s=2.0), induction_inputs=4)\n"
        "print(json.dumps(verdicts_of(list(range(len(ATTEMPTS))), False, python, PrimeInversionDomain(31))))"
    )
    here = [path for path in sys.path if path.endswith(("/tests", "/tests/properties"))]
    assert len(here) == 2
    done = subprocess.run(
        [sys.executable, "-c", code, *here], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1]) == reference


@given(key=keys, mode=modes)
def test_law_5_admission_gives_the_same_task_again(domain: Domain, key: int, mode: Mode) -> None:
    draft = domain.generate(mode, np.random.default_rng(key), {})
    decoy = domain.generate(Mode.DEDUCTION, np.random.default_rng(key + 1), {})
    alone = domain.admit([draft])
    assert domain.admit([decoy, draft, decoy, draft])[1::2] == alone * 2


# Law 6. Rewards are finite and in their range.


@given(p=st.floats(0, 1), name=st.sampled_from(list(rewards.LEARNABILITY)))
def test_law_6_proposer(p: float, name: str) -> None:
    function = rewards.learnability(name)
    for rate in (p, 0.0, 1.0):
        reward = rewards.proposer_reward(None, rate, function)
        assert reward is not None
        assert math.isfinite(reward)
        assert -1 <= reward <= 1
    if name != "azr-code":  # the authors' code pays -0.5 there; kept under that name to reproduce it
        assert rewards.proposer_reward(None, 0.0, function) == rewards.proposer_reward(None, 1.0, function) == 0


@given(key=keys, mode=modes, text=wild_text, style=styles)
def test_law_6_solver(domain: Domain, key: int, mode: Mode, text: str, style: Style) -> None:
    task = builtin(domain, mode, key)
    texts = [
        text,
        prompts.completion_of(domain, mode, text, style),
        prompts.completion_of(domain, mode, prompts.key(task), style),
    ]
    for result in grade(domain, RelationVerifier(domain), [(task, completion) for completion in texts], style):
        assert result.reward in {1.0, -0.5, -1.0}
        assert (result.reward == 1.0) == (result.verdict.status is Status.CORRECT)
        assert (result.reward == -1.0) == (result.verdict.status is Status.MALFORMED)


# Law 7. Layout does not matter; a changed value does.

LAYOUTS: dict[str, Callable[[str], str]] = {
    "text before the frame": lambda c: "Let me see.\n\n" + c,
    "text after the frame": lambda c: c + "\nThat is my answer.",
    "upper-case fences": lambda c: re.sub(r"```(\w+)\n", lambda m: f"```{m[1].upper()}\n", c),
    "a space before the label": lambda c: re.sub(r"```(\w+)\n", r"``` \1\n", c),
    "spaces behind the fences": lambda c: re.sub(r"```(\w*)\n", "```\\1  \t\n", c),
    "longer fences": lambda c: c.replace("```", "`````"),
    "blank lines": lambda c: c.replace("\n", "\n\n"),
    "blanks at line ends": lambda c: c.replace("\n", " \t\n"),
    "carriage returns": lambda c: c.replace("\n", "\r\n"),
    "one line less": lambda c: c.replace("<answer>\n", "<answer>").replace("\n</answer>", "</answer>"),
    "more lines": lambda c: c.replace("<answer>", "\n<answer>\n\n").replace("</answer>", "\n\n</answer>\n"),
    "words within the frame": lambda c: c.replace("<answer>", "<answer>Here:").replace("</answer>", "\nDone.</answer>"),
    "no opening tag": lambda c: c.replace("<think>", ""),
    "long thoughts": lambda c: c.replace("<think>", "<think>" + "x\n" * 2000),
    "thoughts with a block": lambda c: c.replace("<think>", "<think><answer>\n```output\n0\n```\n</answer>"),
    "another block first": lambda c: c.replace("<answer>", "<answer>\n```text\n0\n```\n"),
    "a first try of the same kind": lambda c: re.sub(r"(```\w+\n)", r"\g<1>0\n```\n\g<1>", c),
}


@given(key=keys, mode=modes, layout=st.sampled_from(list(LAYOUTS)))
def test_law_7_layout_of_the_completion(domain: Domain, key: int, mode: Mode, layout: str) -> None:
    task = builtin(domain, mode, key)
    wrong = "0" if mode is not Mode.INDUCTION or domain.name != "python" else "def f(x):\n    return None"
    for answer in (prompts.key(task), wrong):
        plain = prompts.completion_of(domain, mode, answer)
        changed = LAYOUTS[layout](plain)
        assert changed != plain
        assert judged(domain, task, changed) is judged(domain, task, plain)
    assert (
        judged(domain, task, LAYOUTS[layout](prompts.completion_of(domain, mode, prompts.key(task)))) is Status.CORRECT
    )


@given(
    key=keys,
    mode=modes,
    thought=st.sampled_from(["", "<think>so</think>", "<think>\n</think>\n\n", "so</think>"]),
    gap=st.sampled_from(["", " ", "\n", "\r\n", "\t \n"]),
)
def test_law_7_layout_of_a_compact_completion(domain: Domain, key: int, mode: Mode, thought: str, gap: str) -> None:
    task = builtin(domain, mode, key)
    assert judged(domain, task, f"{thought}{gap}{prompts.key(task)}{gap}", Style.COMPACT) is Status.CORRECT


@given(key=keys, gap=st.sampled_from([" ", "  ", "\n", "\t", " # so\n"]))
def test_law_7_layout_of_a_value(python_domain: PythonDomain, key: int, gap: str) -> None:
    task = builtin(python_domain, Mode.DEDUCTION, key, "types=list")
    text = prompts.key(task)
    assume(text.startswith("["))
    spread = text.replace("[", f"[{gap}").replace(",", f"{gap},{gap}").replace("]", f"{gap}]")
    assert status(python_domain, task, spread) is Status.CORRECT
    assert status(python_domain, task, spread.replace("]", ",]") if text != "[]" else "[0]") is (
        Status.CORRECT if text != "[]" else Status.INCORRECT
    )
    assert status(python_domain, task, text.replace("[", "[7, ")) is Status.INCORRECT


@given(key=keys, mode=st.sampled_from([Mode.DEDUCTION, Mode.ABDUCTION]), step=st.sampled_from([-1, 1]))
def test_law_7_a_changed_value_changes_the_verdict(
    prime_domain: PrimeInversionDomain, key: int, mode: Mode, step: int
) -> None:
    task = builtin(prime_domain, mode, key)
    assert status(prime_domain, task, str(max(0, int(prompts.key(task)) + step))) is Status.INCORRECT


@given(data=st.data(), key=keys)
def test_law_7_another_value_is_incorrect(python_domain: PythonDomain, data: st.DataObject, key: int) -> None:
    task = builtin(python_domain, Mode.DEDUCTION, key)
    value = data.draw(plain_values)
    assume(not values.equal(value, values.parse(prompts.key(task))))
    assert status(python_domain, task, values.render(value)) is Status.INCORRECT


# Law 8. A failure of our own machinery is `error`, never `incorrect`.


@given(text=st.one_of(wild_text, st.just("3"), st.just("def f(x): return x + 4")), mode=modes, style=styles)
def test_law_8_a_dead_executor_blames_nobody(text: str, mode: Mode, style: Style) -> None:
    domain = PythonDomain(ScriptedExecutor({}, Outcome(OutcomeStatus.INFRA, detail="x")))
    task = _attacked(domain, mode)
    (result,) = grade(
        domain, RelationVerifier(domain), [(task, prompts.completion_of(domain, mode, text, style))], style
    )
    if domain.executor.jobs:  # type: ignore[attr-defined]
        assert (result.verdict.status, result.reward) == (Status.ERROR, None)
    else:  # refused unrun, or compared without running: nothing of ours failed
        assert result.verdict.status is not Status.ERROR


@settings(max_examples=30)
@given(dead=st.sets(st.integers(0, 7)), answers=st.lists(st.sampled_from(["3", "4"]), min_size=8, max_size=8))
def test_law_8_the_rest_of_a_batch_is_unharmed(dead: set[int], answers: list[str]) -> None:
    asked = iter(range(8))

    def script(program: str, call: str, lane: int) -> Outcome:
        right = call == values.encode((3,))
        return (
            Outcome(OutcomeStatus.INFRA)
            if next(asked) in dead
            else Outcome(OutcomeStatus.OK, "i7;" if right else "i8;")
        )

    domain = PythonDomain(ScriptedExecutor(script))
    task = _attacked(domain, Mode.ABDUCTION)
    attempts = [(task, prompts.completion_of(domain, Mode.ABDUCTION, answer)) for answer in answers]
    assert [result.verdict.status for result in grade(domain, RelationVerifier(domain), attempts)] == [
        Status.ERROR if k in dead else Status.CORRECT if answer == "3" else Status.INCORRECT
        for k, answer in enumerate(answers)
    ]


def test_law_8_a_proposal_that_could_not_be_run_is_not_refused_for_it(broken_executor: ScriptedExecutor) -> None:
    domain = PythonDomain(broken_executor)
    for mode in Mode:
        for result in domain.admit(domain.seeds(mode)):
            assert isinstance(result, Rejection)
            assert rewards.proposer_reward(result, None, rewards.azr) is None
