"""The defects of the authors' code (design/method.md, section 3): none may come back.

One test, or group, per number. 10 to 12 concern the training loop and are tested with it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from azr_env import prompts
from azr_env.buffer import TaskBuffer
from azr_env.domains.python import PythonDomain
from azr_env.grading import grade
from azr_env.types import Draft, Example, Mode, Rejection, Status, Task
from azr_env.verifiers.relation import RelationVerifier


def admitted(domain: PythonDomain, program: str, text: str = "7") -> Task | Rejection:
    return domain.admit([Draft(Mode.DEDUCTION, program, (text,))])[0]


def status(domain: PythonDomain, task: Task, answer: str) -> Status:
    completion = prompts.completion_of(domain, task.mode, answer)
    return grade(domain, RelationVerifier(domain), [(task, completion)])[0].verdict.status


# 1. Non-deterministic programs, NaN outputs and exceptions without "error" in their name were accepted with output ''.


@pytest.mark.parametrize(
    "program",
    [
        "def f(x): return id(x)",
        "def f(x): return str(object())",
        "def f(x): return hash(str(x))",
        "n = [0]\ndef f(x):\n    n[0] += 1\n    return n[0]",
        "from collections import UserDict\ndef f(x): return repr(UserDict().data.keys).split('at')[1]",
    ],
)
def test_1_non_deterministic_programs(python_domain: PythonDomain, program: str) -> None:
    result = admitted(python_domain, program)
    assert isinstance(result, Rejection)
    assert result.reason in {"nondeterministic", "forbidden"}


@pytest.mark.parametrize(
    "exception",
    [
        "StopIteration",
        "KeyboardInterrupt",
        "GeneratorExit",
        "StopAsyncIteration",
        "SystemExit",
        "Exception",
        "Warning",
        "Mine",
        "ValueError",
    ],
)
def test_1_exceptions_of_any_name(python_domain: PythonDomain, exception: str) -> None:
    result = admitted(python_domain, f"class Mine(BaseException): pass\ndef f(x): raise {exception}")
    assert isinstance(result, Rejection)
    assert result.reason == "raised"
    assert exception in result.detail


def test_1_nan_is_a_value_and_not_the_empty_text(python_domain: PythonDomain) -> None:
    task = admitted(python_domain, "def f(x): return [float('nan'), x]")
    assert isinstance(task, Task)
    assert status(python_domain, task, prompts.key(task)) is Status.CORRECT
    assert status(python_domain, task, "[nan, 7]") is Status.CORRECT
    for wrong in ("", "''", "[0.0, 7]", "[None, 7]", "nan"):
        assert status(python_domain, task, wrong) in {Status.INCORRECT, Status.REJECTED}


def test_1_no_output_is_ever_empty(python_domain: PythonDomain) -> None:
    for program in ("def f(x): pass", "def f(x): return ''", "def f(x): return None", "def f(x): print(x)"):
        task = admitted(python_domain, program)
        assert isinstance(task, Task)
        assert task.examples[0].output in {"None", "''"}


# 2. Outputs over 400 characters were cut to 200...200 and stored as truth.


@pytest.mark.parametrize("length", [398, 399, 400, 401, 3998])
def test_2_long_outputs_are_whole(python_domain: PythonDomain, length: int) -> None:
    task = admitted(python_domain, f"def f(x): return 'ab' * {length // 2} + 'c' * {length % 2}")
    assert isinstance(task, Task)
    whole = "ab" * (length // 2) + "c" * (length % 2)
    assert task.examples[0].output == repr(whole)
    assert status(python_domain, task, repr(whole)) is Status.CORRECT
    assert status(python_domain, task, repr(f"{whole[:200]}...{whole[-200:]}")) is Status.INCORRECT


def test_2_longer_ones_are_refused(python_domain: PythonDomain) -> None:
    result = admitted(python_domain, "def f(x): return 'a' * 3999")
    assert isinstance(result, Rejection)
    assert result.reason == "size"


# 3. The ban-list matched dotted components of imports only.


@pytest.mark.parametrize(
    "line",
    [
        "import os", "import sys", "import shutil", "x = __import__('random')", "x = open('/etc/passwd')",
        "x = eval('1')", "exec('x = 1')", "import os as harmless", "from os import system", "import random",
        "from random import random as r", "import subprocess, math", "def g():\n    import socket",
        "x = globals()['__builtins__']", "x = getattr(__builtins__, 'open')", "import importlib",
        "x = ().__class__.__base__.__subclasses__()", "import builtins",
    ],
)  # fmt: skip
def test_3_imports_and_builtins_that_passed(python_domain: PythonDomain, line: str) -> None:
    result = admitted(python_domain, f"{line}\ndef f(x): return x")
    assert isinstance(result, Rejection)
    assert result.reason == "forbidden"


# 4. Answers were spliced into source.


@pytest.mark.parametrize(
    "answer",
    [
        "1) or (True",
        "5) == (10",
        "1) == 2 or (2",
        "0) if False else 7 #",
        "1)\nor True or (1",
        "*[3]",
        "x := 3",
        "3) + (0",
        "f(-1)",
        "3 if f else 0",
        "1) or f(1",
    ],
)
def test_4_abduction_answers_are_values(python_domain: PythonDomain, answer: str) -> None:
    task = Task("t", "python", Mode.ABDUCTION, "def f(x): return x + 4", (Example("3", "7"),))
    assert status(python_domain, task, answer) is Status.REJECTED
    assert status(python_domain, task, "3") is Status.CORRECT


# 5. An object with an always-true __eq__ scored 1.0, as an answer and as a program's result.


@pytest.mark.parametrize("base", ["object", "int", "str", "list", "dict", "tuple", "float"])
def test_5_always_equal_results(python_domain: PythonDomain, base: str) -> None:
    program = (
        f"class E({base}):\n    def __eq__(self, other): return True\n    def __ne__(self, other): return False\n"
        "    def __hash__(self): return 0\n    def __repr__(self): return '7'\ndef f(x): return E()"
    )
    task = Task("t", "python", Mode.INDUCTION, "def f(x): return x + 4", (Example("1", "5"), Example("3", "7")), 1)
    assert status(python_domain, task, program) is Status.INCORRECT
    result = admitted(python_domain, program)
    assert isinstance(result, Rejection)
    assert result.reason == "unsupported"


def test_5_always_equal_answers(python_domain: PythonDomain) -> None:
    for mode in (Mode.DEDUCTION, Mode.ABDUCTION):
        task = Task("t", "python", mode, "def f(x): return x + 4", (Example("3", "7"),))
        assert status(python_domain, task, "type('E', (), {'__eq__': lambda s, o: True})()") is Status.REJECTED


# 6. Deduction answers were evaluated in the trainer's own process.


def test_6_nothing_runs_in_our_process(python_domain: PythonDomain, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    task = Task("t", "python", Mode.DEDUCTION, "def f(x): return x + 4", (Example("3", "7"),))
    for answer in (
        f"__import__('pathlib').Path({str(canary)!r}).touch()",
        f"open({str(canary)!r}, 'w')",
        f"[7, open({str(canary)!r}, 'w')][0]",
    ):
        assert status(python_domain, task, answer) is Status.REJECTED
    assert not canary.exists()


# 7. Both determinism runs shared a process and a hash seed, so that set and hash order went unnoticed.


@pytest.mark.parametrize(
    "program",
    [
        "def f(x): return list({'apple', 'pear', 'plum', 'fig', 'kiwi'})",
        "def f(x): return next(iter({str(k) for k in range(40)}))",
        "def f(x): return ''.join(frozenset('abcdefghij'))",
        "from collections import Counter\ndef f(x): return list(set(Counter('hello world')))",
    ],
)
def test_7_set_and_hash_order(python_domain: PythonDomain, program: str) -> None:
    assert admitted(python_domain, program) == Rejection(
        "nondeterministic", "runs on the same input gave different values"
    )


@pytest.mark.parametrize("program", ["def f(x): return hash('salt')", "def f(x): return sorted('abc', key=hash)"])
def test_7_hash_is_refused_by_name(python_domain: PythonDomain, program: str) -> None:
    assert admitted(python_domain, program) == Rejection("forbidden", "the name hash")


def test_7_sets_that_are_used_in_order_are_welcome(python_domain: PythonDomain) -> None:
    assert isinstance(admitted(python_domain, "def f(x): return sorted({'b', 'a', str(x)})"), Task)
    assert isinstance(admitted(python_domain, "def f(x): return {'b', 'a', str(x)}"), Task)


# 8. The full buffer kept its oldest tasks and dropped every new one.


@pytest.mark.parametrize("eviction", ["fifo", "reservoir"])
def test_8_a_full_buffer_takes_new_tasks(eviction: str) -> None:
    buffer = TaskBuffer(capacity=16, eviction=eviction)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    for step in range(64):
        with buffer.step(step):
            buffer.add([(Task(f"{step}", "python", Mode.DEDUCTION, "p", (Example("1", "1"),)), f"{step}")], rng)
    steps = {int(task.id) for task in buffer.tasks(Mode.DEDUCTION)}
    assert len(steps) == 16
    assert max(steps) >= 32
    assert len(steps & set(range(16))) < 16
    if eviction == "fifo":
        assert steps == set(range(48, 64))


# 9. Programs with more than one `def` were refused, though the prompt allows them.


@pytest.mark.parametrize(
    "program",
    [
        "def g(y): return y + 1\ndef f(x): return g(x)",
        "def f(x):\n    def g(y):\n        return y + 1\n    return g(x)",
        "class A:\n    def __init__(s, v): s.v = v\n    def up(s): return s.v + 1\ndef f(x): return A(x).up()",
    ],
)
def test_9_several_defs(python_domain: PythonDomain, program: str) -> None:
    task = admitted(python_domain, program)
    assert isinstance(task, Task)
    assert task.examples == (Example("7", "8"),)
