"""The level `monty`: never its own authority, what it cannot run is refused, and where it is wrong it is found out."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from azr_env import values
from azr_env.domains.python import PythonDomain
from azr_env.errors import ExecutorUnavailableError, SettingError
from azr_env.executors import monty as level
from azr_env.executors.interpreter import SubprocessExecutor
from azr_env.executors.monty import MontyExecutor
from azr_env.executors.scripted import ScriptedExecutor
from azr_env.executors.zygote import ZygoteExecutor
from azr_env.protocols import Executor
from azr_env.types import Claim, Example, Job, Limits, Mode, Outcome, OutcomeStatus, Status, Task

OK, RAISED, UNSUPPORTED = OutcomeStatus.OK, OutcomeStatus.RAISED, OutcomeStatus.UNSUPPORTED
PATIENT, HASTY = Limits(timeout_s=30.0), Limits(timeout_s=0.3, memory_mib=256)
SET_ORDER = "def f(x): return [c for c in set(x)]"
"""Sets keep the order of insertion in this interpreter."""


@pytest.fixture(scope="module")
def strict() -> Iterator[ZygoteExecutor]:
    with ZygoteExecutor(workers=1) as made:
        yield made


@pytest.fixture(scope="module")
def monty(strict: ZygoteExecutor) -> Iterator[MontyExecutor]:
    pytest.importorskip("pydantic_monty", reason="no pydantic-monty here")
    with MontyExecutor(authority=strict, workers=1, sampled=0) as made:
        yield made


def job(program: str, *arguments: object, limits: Limits = PATIENT) -> Job:
    return Job(program, (values.encode(arguments, ordered=True),), limits)


def one(executor: Executor, program: str, *arguments: object, limits: Limits = PATIENT) -> Outcome:
    return executor.run([job(program, *arguments, limits=limits)])[0][0]


def test_without_the_library_the_error_says_how_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic_monty", None)
    with pytest.raises(ExecutorUnavailableError, match=r"azr-env\[monty\]"):
        MontyExecutor()


def test_is_an_executor_and_not_its_own_authority(monty: MontyExecutor, strict: ZygoteExecutor) -> None:
    assert isinstance(monty, Executor)
    assert monty.authority is strict
    assert (monty.level, monty.fingerprint.partition("/")[0]) == ("monty", "monty-1")


def test_the_authority_is_the_strict_level_unless_another_is_named() -> None:
    pytest.importorskip("pydantic_monty")
    with MontyExecutor(workers=1) as default, MontyExecutor("subprocess", workers=1) as weaker:
        assert default.authority.level == "zygote"
        assert weaker.authority.level == "subprocess"
    with MontyExecutor(SubprocessExecutor(workers=1), workers=1) as given:
        assert given.authority.level == "subprocess"
    with MontyExecutor(given, workers=1) as wrong, pytest.raises(SettingError, match="its own authority"):
        _ = wrong.authority


def test_an_authority_that_cannot_start_is_not_replaced_silently() -> None:
    pytest.importorskip("pydantic_monty")
    with ZygoteExecutor(workers=1) as broken:
        broken._simulate_missing = "landlock"
        with MontyExecutor(broken, workers=1, sampled=1) as made:
            with pytest.raises(ExecutorUnavailableError, match="authority='subprocess'"):
                _ = made.authority
            with pytest.raises(ExecutorUnavailableError, match="landlock"):
                made.run([job("def f(x): return x", 1)])


@pytest.mark.parametrize(
    "program",
    [
        "import heapq\ndef f(): return 1",
        "from collections import OrderedDict\ndef f(): return 1",
        "def f(): return (5).bit_length()",
        "def f(): return memoryview(b'a')[0]",
        "class A(int): pass\ndef f(): return 1",
        "def f(): return object() is None",
        "f = lambda: " + "-" * 1500 + "1",
        "def f(): return '\\ud800'",
        "def f(): return lambda: 1",
        "def f(): return [range(3)]",
        "def f(): return {1: len}",
        "def f(): return {1: 2}.keys()",
        "class C: pass\ndef f(): return [C()]",
        "def f():\n a = []\n a.append(a)\n return a",
        "def f():\n a = [0]\n for _ in range(50): a = [a] * 10\n return a",
    ],
)
def test_what_it_cannot_run_or_give_back_is_unsupported(monty: MontyExecutor, program: str) -> None:
    outcome = one(monty, program)
    assert (outcome.status, outcome.value, outcome.level) == (UNSUPPORTED, "", "monty")
    assert outcome.detail


def test_a_program_that_undoes_the_look_at_types_gains_text_and_costs_nothing(monty: MontyExecutor) -> None:
    undone = "def f():\n global azr_look\n azr_look = lambda value, *rest: value\n "
    laughs = undone + "a = [0]\n for _ in range(50): a = [a] * 10\n return a"
    assert one(monty, laughs).detail == "result larger than 65536 bytes"
    assert one(monty, undone + "return ['x' * 10**4] * 10**4").detail == "result larger than 65536 bytes"
    assert one(monty, undone + "a = 1\n for _ in range(10**4): a = [a]\n return a").status is UNSUPPORTED
    assert one(monty, undone + "return 7").value == "i7;"


def test_raised_is_what_the_program_did(monty: MontyExecutor, strict: ZygoteExecutor) -> None:
    for program in ("def f(): return 1 / 0", "def f(): return {}['a']", "def g(): return 1", "def f(: pass", "f = 3"):
        assert (one(monty, program).status, one(strict, program).status) == (RAISED, RAISED), program
    assert one(monty, "def f(): return [][1]").detail == "IndexError: list index out of range"


@pytest.mark.parametrize(
    "program",
    [
        "def f(): return 10**10**8",
        "def f():\n while True: pass",
        "import time\ndef f(): time.sleep(1e6)",
        "while 1: pass",
    ],
)
def test_time_is_bounded_even_where_the_interpreter_does_not_look(monty: MontyExecutor, program: str) -> None:
    outcomes, (after,) = monty.run([Job(program, ("()", "()"), HASTY), job("def f(x): return x", 5)])
    assert [outcome.status for outcome in outcomes] == [OutcomeStatus.TIMEOUT] * 2
    assert after.value == "i5;"


def test_calls_together_have_the_time_of_the_job(monty: MontyExecutor) -> None:
    slow = "def f():\n n = 0\n for i in range(10**7): n += i\n return n"
    outcomes = monty.run([Job(slow, ("()",) * 40, HASTY)])[0]
    assert len(outcomes) == 40
    assert outcomes[-1].status is OutcomeStatus.TIMEOUT


def test_recursion_is_as_deep_as_at_the_strict_level(monty: MontyExecutor, strict: ZygoteExecutor) -> None:
    program = "def f(n=0):\n try: return f(n + 1)\n except RecursionError: return n"
    assert one(monty, program).value == one(strict, program).value


def test_what_is_printed_is_bounded(monty: MontyExecutor) -> None:
    assert one(monty, "def f():\n print('x' * 1000)\n return 1").value == "i1;"
    assert one(monty, "def f():\n for _ in range(40): print('x' * 10**5)").status is OutcomeStatus.MEMORY
    assert one(monty, "def f():\n while 1: print('x' * 10**5)", limits=HASTY).status is OutcomeStatus.TIMEOUT


def test_a_killed_process_is_replaced_and_its_job_run_again() -> None:
    pytest.importorskip("pydantic_monty")
    with MontyExecutor(workers=1, sampled=0) as made:
        assert one(made, "def f(x): return x", 1).value == "i1;"
        with made._pool.checkout() as session:
            pid = session.worker_pid
        os.kill(pid, signal.SIGKILL)
        assert one(made, "def f(x): return x", 2).value == "i2;"


@pytest.mark.skipif(os.name != "posix", reason="needs fork")
def test_a_forked_copy_refuses_instead_of_waiting_for_ever(monty: MontyExecutor) -> None:
    assert one(monty, "def f(x): return x", 1).value == "i1;"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer interpreters warn of forks beside threads
        pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        try:
            one(monty, "def f(x): return x", 1)
        except ExecutorUnavailableError:
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    assert one(monty, "def f(x): return x + 1", 1).value == "i2;"


def test_a_disagreement_is_counted_kept_and_warned_of_once(monty: MontyExecutor) -> None:
    texts = ["edcba", "zyxwv", "hgfed"]
    authority = ScriptedExecutor(lambda program, call, lane: Outcome(OK, "[]", level="scripted"))
    with MontyExecutor(authority, workers=1, sampled=1) as made:
        with pytest.warns(RuntimeWarning, match="monty disagreed with scripted"):
            (first,) = made.run([job(SET_ORDER, texts[0])])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            made.run([job(SET_ORDER, text) for text in texts[1:]] + [job("def f(): import nothing")])
        assert (first[0].value, first[0].level) == ("[]", "scripted"), "the authority's outcome is the one that counts"
        assert made.stats == level.MontyStats(jobs=4, unsupported=1, sampled=3, disagreements=3)
        kept = made.disagreements
        assert [each.job for each in kept] == [job(SET_ORDER, text) for text in texts]
        assert values.decode(kept[0].here[0].value) == list("edcba")
        for number in range(level.KEPT + 5):
            made.run([job(SET_ORDER, f"{number:05d}")])
        assert len(made.disagreements) == level.KEPT


def test_a_real_disagreement_is_found(strict: ZygoteExecutor) -> None:
    pytest.importorskip("pydantic_monty")
    with MontyExecutor(strict, workers=1, sampled=1) as made:
        with pytest.warns(RuntimeWarning, match="monty disagreed"):
            (outcomes,) = made.run([job(SET_ORDER, "the order of a set of letters")])
        assert outcomes == strict.run([job(SET_ORDER, "the order of a set of letters")])[0]
        assert made.stats.disagreements == 1


@pytest.mark.parametrize("status", [OutcomeStatus.INFRA, OutcomeStatus.TIMEOUT, OutcomeStatus.MEMORY])
def test_no_disagreement_where_the_authority_came_to_no_end(monty: MontyExecutor, status: OutcomeStatus) -> None:
    """The first job of all is how the authority shows that it can start."""
    authority = ScriptedExecutor({}, default=Outcome(status))
    with MontyExecutor(authority, workers=1, sampled=1) as made:
        assert one(made, "def f(x): return x", 1).value == "i1;"
        assert (made.stats.sampled, made.stats.disagreements) == (1, 0)


def test_the_sample_depends_on_the_job_alone(monty: MontyExecutor) -> None:
    jobs = [job(f"def f(x): return x + {number}", 1) for number in range(200)]

    def sampled(given: Sequence[Job], **settings: Any) -> set[Job]:
        authority = ScriptedExecutor({}, default=Outcome(OutcomeStatus.INFRA))
        with MontyExecutor(authority, workers=1, sampled=0.25, **settings) as made:
            for asked in given:
                made.run([asked])
        return set(authority.jobs)

    first = sampled(jobs)
    assert 20 < len(first) < 90
    assert sampled(jobs[::-1]) == first
    assert sampled(jobs, seed=1) != first


def test_a_right_verdict_is_settled_by_the_authority(strict: ZygoteExecutor) -> None:
    """An answer that is right in this interpreter only earns nothing."""
    pytest.importorskip("pydantic_monty")
    with MontyExecutor(strict, workers=1, sampled=0) as made:
        domain = PythonDomain(executor=made)
        text = "the order of a set of letters"
        here = values.render(values.decode(one(made, SET_ORDER, text).value))
        right, wrong = Example("'abc'", "'abc'"), Example(repr(text), here)
        tasks = [
            Task(str(n), "python", Mode.ABDUCTION, program, (example,))
            for n, (program, example) in enumerate([("def f(x): return x", right), (SET_ORDER, wrong)])
        ]
        verdicts = domain.holds([Claim(t, t.examples[0].input, t.program, t.examples) for t in tasks])
    assert [verdict.status for verdict in verdicts] == [Status.CORRECT, Status.INCORRECT]


def test_settings_that_cannot_work(monty: MontyExecutor) -> None:
    for settings in ({"workers": 0}, {"sampled": 1.5}, {"sampled": -1}):
        with pytest.raises(SettingError):
            MontyExecutor(**settings)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="longest_s"):
        monty.run([job("def f(): return 1", limits=Limits(timeout_s=61))])
    with pytest.raises(SettingError, match="lane"):
        monty.run([Job("def f(): return 1", ("()",), PATIENT, lane=2)])
