"""What an executor must do (floor 7): subclass :class:`ExecutorConformance` and fill in the fixture ``executor``."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Final

import pytest

from azr_env import values
from azr_env.errors import ExecutorClosedError, ValueFormatError
from azr_env.protocols import Executor
from azr_env.testing import probes
from azr_env.testing.attacks import BOMBS, PROGRAMS, Attack
from azr_env.types import Job, Limits, Outcome, OutcomeStatus

_NAN, _INF = float("nan"), float("inf")
PLAIN_VALUES: Final[tuple[object, ...]] = (
    *(None, True, False, 0, 1, -1, 255, 2**63, -(2**300), 1 << 65_535),
    *(0.0, -0.0, 1.0, 0.1, 1e308, 5e-324, _INF, -_INF, _NAN),
    *(0j, complex(-0.0, 0.0), complex(0.0, -0.0), complex(1.5, _NAN), complex(-_INF, 2)),
    *("", "a", "é€😀", "\0", "\ud800", "\udfff\ud800", "a\r\nb\tc", "'\"\\", "s1:a", "x" * 30_000, "é" * 20_000),
    *(b"", b"\0\xff", b"abc", bytes(range(256))),
    *([], (), {}, set(), frozenset(), [[]], ((),), {(): ()}, {frozenset()}, frozenset({frozenset()})),
    [1, 1.0, True, "1", b"1", (1,), [1], {1}, frozenset({1}), {1: 1}, None],
    *({True: 1}, {0: False, "0": 0.0}, {1.5: -0.0, None: [], (1, "a"): {2: {3}}}, {_NAN: _NAN}),
    *({1, "1", (1,), b"1", 1.5, None, 2j}, {-1, -2, -3, 10**20}, {_NAN, _INF, -0.0}),
    [{"k": [({1: (2, {3, 4})}, frozenset({"x", ("y",)}))]}] * 2,
    {"z": 1, "a": {"y": 2, "b": 3}},
    list(range(5_000)),
)
"""Plain values of every kind, the awkward ones among them; all must survive a journey through an executor."""

PATIENT: Final = Limits(timeout_s=30.0, memory_mib=256)
"""Limits of a job that is to end by itself."""
HASTY: Final = Limits(timeout_s=0.3, memory_mib=256)
"""Limits of a job that is expected to hang."""
_IDENTITY: Final = "def f(x): return x"
_SECRET: Final = "SECRET-of-another"
_SECRET_JOB: Final = Job(f"def f(x): return x + {_SECRET!r}", (values.encode((_SECRET,)),), PATIENT)
CANARY: Final = Job(
    "import builtins, collections, decimal, json, math, os, sys\n"
    "def f(s, n):\n"
    "    left = [m for m in sys.modules if 'leak' in m] + [p for p in sys.path if 'leak' in p] + [*os.environ]\n"
    "    left += [n for n in dir(builtins) if 'leak' in n]\n"
    "    return (sorted(collections.Counter(s).items()), math.sqrt(n), s.upper(), len(s), json.dumps([n]),\n"
    "            str(decimal.Decimal(1) / 3), 'AZR_LEAK' in left, [name for name in left if 'leak' in name])",
    (values.encode(("abba", 16)),),
    PATIENT,
)
"""A harmless job that sees whether an earlier one left something behind."""
CANARY_VALUE: Final = values.encode(
    ([("a", 2), ("b", 2)], 4.0, "ABBA", 4, "[16]", "0.3333333333333333333333333333", False, [])
)
"""What :data:`CANARY` returns where nothing was left."""
CORE_CANARY: Final = Job(
    "def f(s, n):\n"
    "    counts = {}\n"
    "    for letter in s: counts[letter] = counts.get(letter, 0) + 1\n"
    "    return sorted(counts.items()), s.upper(), len(s), str(n), int('7') + n, n / 3, [n] * 2, max(n, 3)",
    CANARY.calls,
    PATIENT,
)
"""The same for an executor that runs a subset of Python: what none may lack."""
CORE_CANARY_VALUE: Final = values.encode(([("a", 2), ("b", 2)], "ABBA", 4, "16", 23, 16 / 3, [16, 16], 16))
"""What :data:`CORE_CANARY` returns where nothing was left."""

_STATUSES: Final[tuple[tuple[str, OutcomeStatus], ...]] = (
    ("def f(x): return x / 0", OutcomeStatus.RAISED),
    ("def f(x): raise SystemExit(3)", OutcomeStatus.RAISED),
    ("def f(x): raise KeyboardInterrupt", OutcomeStatus.RAISED),
    ("def f(x): return f(x)", OutcomeStatus.RAISED),
    ("def f(): return 1", OutcomeStatus.RAISED),
    ("def g(x): return 1", OutcomeStatus.RAISED),
    ("f = 3", OutcomeStatus.RAISED),
    ("def f(:", OutcomeStatus.RAISED),
    ("raise ValueError('early')", OutcomeStatus.RAISED),
    ("def f(x): return object()", OutcomeStatus.UNSUPPORTED),
    ("def f(x): return lambda: x", OutcomeStatus.UNSUPPORTED),
    ("def f(x): return ...", OutcomeStatus.UNSUPPORTED),
    ("class I(int): pass\ndef f(x): return [I(x)]", OutcomeStatus.UNSUPPORTED),
    ("def f(x): return [0] * 10**11", OutcomeStatus.MEMORY),
    ("import os\ndef f(x): os._exit(3)", OutcomeStatus.CRASH),
    ("import os\ndef f(x): os.abort()", OutcomeStatus.CRASH),
)
_SEARCH: Final = """\
import gc, sys
def f():
    word, found = "-".join(["SECRET", "of", "another"]), False
    def look(value):
        return type(value) is str and len(value) < 10**6 and word in value and value is not word
    for kept in gc.get_objects():
        if type(kept) in (list, tuple, set):
            found = found or any(look(value) for value in list(kept))
        elif type(kept) is dict:
            found = found or any(look(value) for value in [*kept, *kept.values()])
    frame = sys._getframe().f_back
    while frame:
        found = found or any(look(value) for value in frame.f_locals.values())
        frame = frame.f_back
    return found
"""
_SIMPLE: Final[tuple[Job, ...]] = (
    Job(_IDENTITY, ("(i1;)", "([i2;i3;])", "(s1:a)"), PATIENT),
    Job("def f(x): return x + 1", ("(i1;)", "(i-1;)"), PATIENT),
    Job("def f(x): return x / 0", ("(i1;)",), PATIENT),
    Job("def f(x): return {x: [x, str(x)]}", ("(i7;)", "(F)"), PATIENT),
    Job("def f(*a): return len(a)", ("()", "(NN)", "(NNN)"), PATIENT),
    Job("def f(x): return object()", ("(i1;)",), PATIENT),
    Job("def f(n): return list({str(i) for i in range(n)})", ("(i28;)",), PATIENT),
    Job("def f(n): return list({str(i) for i in range(n)})", ("(i28;)",), PATIENT, 1),
    Job("n = 0\ndef f():\n    global n\n    n += 1\n    return n", ("()", "()", "()"), PATIENT),
    Job("def f(:", ("()",), PATIENT),
)
_GENTLE: Final[Mapping[str, str]] = {
    "writes files": "def f(path):\n    open(path, 'w').close()\n    return True",
    "reads the files of the host": "def f(path): return bool(open(path + '.host').read())",
    "sees processes of the host": "import os\ndef f(path):\n    os.kill({pid}, 0)\n    return True",
    "starts processes": "import os\ndef f(path):\n    pid = os.fork()\n    pid or os._exit(0)\n"
    "    os.waitpid(pid, 0)\n    return True",
    "sees the environment of the host": "import os\ndef f(path): return 'AZR_GENTLE_PROBE' in os.environ",
    "opens sockets": "import socket\ndef f(path):\n    socket.socket().close()\n    return True",
}

_HARM: Final = (Path("harm"), Path("/tmp/azr-harm"))
_SETTLE_S: Final = 1.0  # until a process that was killed is gone from the table
_COUNTED: Final = frozenset({"processes", "descriptors"})
_ROUNDS: Final = 3
_MANY: Final = 8
_gaps_of: weakref.WeakKeyDictionary[Executor, list[str]] = weakref.WeakKeyDictionary()


class ExecutorConformance:
    """Everything that :class:`azr_env.protocols.Executor` promises, as tests.

    ::

        class TestMine(ExecutorConformance):
            @pytest.fixture(scope="class")
            @classmethod
            def executor(cls):
                made = MyExecutor()
                yield made
                made.close()

    Override :meth:`make_executor` if your class needs arguments. An executor that does not keep hostile programs in
    says so: ``contains_attacks = False`` with a reason in ``why_not_contained``; the attacks are then skipped with that
    reason. They are run only where harmless probes show that programs are kept in: some end processes and fill disks.

    An executor that runs a subset of Python says so in one more member, ``subset``: a sentence. Then `unsupported` is
    accepted, and told as a skipped check, wherever a check asks for a part of the language. It must still run
    :data:`CORE_CANARY`, return right values or none, and name an authority that runs all of Python.
    """

    contains_attacks: ClassVar[bool] = True
    """Whether hostile programs are kept from harming the host and other jobs."""
    why_not_contained: ClassVar[str] = ""
    """Why not, where ``contains_attacks`` is False."""
    patience_s: ClassVar[float] = 30.0
    """Seconds after which a job of a third of a second counts as never ended."""
    excused: ClassVar[Mapping[str, str]] = {}
    """Names of checks that cannot apply to this executor, each with the reason; they are reported as skipped."""

    @pytest.fixture(scope="class")
    def executor(self) -> Executor:
        """The executor under test; fill this in."""
        pytest.fail("fill in the fixture `executor`: it returns (or yields, and then closes) your executor")

    @pytest.fixture
    def make_executor(self, executor: Executor) -> Callable[[], Executor]:
        """Makes another executor of the same kind; the default calls its class without arguments."""
        return type(executor)

    @pytest.fixture(autouse=True)
    def _excuse(self, request: pytest.FixtureRequest) -> None:
        name = request.node.originalname
        if name in self.excused:
            pytest.skip(self.excused[name])

    def check_contained(self, executor: Executor, temporary: pytest.TempPathFactory) -> None:
        """Skips or fails the running check, unless harmless probes show that programs are kept in."""
        if not self.contains_attacks:
            reason = self.why_not_contained
            assert reason, "contains_attacks is False without a reason: say in why_not_contained what is not contained"
            pytest.skip(reason)
        if executor not in _gaps_of:
            _gaps_of[executor] = _gaps(executor, temporary.mktemp("gentle"))
        gaps = _gaps_of[executor]
        assert not gaps, (
            f"a harmless program {gaps[0]} ({len(gaps)} of {len(_GENTLE)} gentle probes went through), so the attack "
            "was not run: it could harm this machine. If your executor is not meant to contain hostile programs, set "
            "contains_attacks = False and why_not_contained"
        )

    def test_has_the_members_of_an_executor(self, executor: Executor) -> None:
        """Level and fingerprint say what is active and do not change while it lives."""
        names = ("level", "fingerprint", "authority", "run", "close")
        lacking = [name for name in names if getattr(executor, name, None) is None]
        assert not lacking, (
            f"{type(executor).__name__} lacks {', '.join(lacking)}: azr_env.protocols.Executor lists the members of an "
            "executor"
        )
        for name in ("level", "fingerprint"):
            first = getattr(executor, name)
            assert isinstance(first, str), f"{name} is {first!r}: it must be a string"
            assert first, f"{name} is empty: it must name what is active"
            _run(executor, [_job(_IDENTITY, (1,))])
            again = getattr(executor, name)
            assert again == first, f"{name} was {first!r} and is {again!r} after a job: it must not change"

    def test_names_an_authority(self, executor: Executor) -> None:
        """The executor whose word settles what earns a reward is an executor, and its own authority."""
        authority = executor.authority
        assert isinstance(authority, Executor), f"authority is {probes.short(authority)}, which is no executor"
        assert authority.authority is authority, (
            f"the authority of the authority is another executor ({probes.short(authority.authority)}): it must be the "
            "last word"
        )
        assert not _subset(authority), (
            f"the authority {authority.level!r} runs a subset of Python ({_subset(authority)}): what it refuses as "
            "`unsupported` would have no last word. Name an authority that runs all of it"
        )

    def test_one_outcome_per_call_in_order(self, executor: Executor) -> None:
        """Jobs with one call, many, and none; an empty batch."""
        counts = [1, 0, 3, 2, 0, 40, 1]
        jobs = [_job(f"def f(x): return ({n}, x)", *[(k,) for k in range(count)]) for n, count in enumerate(counts)]
        due = [[values.encode((n, k)) for k in range(count)] for n, count in enumerate(counts)]
        for batch, expected in (([], []), (jobs[1:2], due[1:2]), (jobs, due), (jobs * 8, due * 8)):
            results = executor.run(batch)
            assert isinstance(results, list), f"run() gave {probes.short(results)}: a list of lists is due"
            assert len(results) == len(batch), (
                f"run() of {len(batch)} jobs gave {len(results)} lists of outcomes: one list per job is due, an empty "
                "one for a job without calls"
            )
            for job, outcomes, wanted in zip(batch, results, expected, strict=True):
                assert len(outcomes) == len(job.calls), (
                    f"a job of {len(job.calls)} calls has {len(outcomes)} outcomes: one per call is due"
                )
                given = [outcome.value for outcome in outcomes]
                assert given == wanted, (
                    f"the calls of the job {job.program!r} gave {probes.short(given)}, not {probes.short(wanted)}: one "
                    "list per job and one outcome per call, in the order in which they were given"
                )

    def test_every_outcome_carries_its_level(self, executor: Executor) -> None:
        """The isolation that was active is written into every outcome, whatever became of it."""
        known = {executor.level, executor.authority.level}
        jobs = [*_SIMPLE, *[_job(program, (1,)) for program, _ in _STATUSES]]
        for job, outcomes in zip(jobs, _run(executor, jobs), strict=True):
            for outcome in outcomes:
                assert outcome.level in known, (
                    f"the outcome {outcome.status} of {job.program!r} has level={outcome.level!r}; the executor's is "
                    f"{executor.level!r}. Write the active level into every outcome"
                )

    def test_values_come_back_as_canonical_text(self, executor: Executor) -> None:
        """A value goes in and the strictly equal value comes back: type, sign of zero, NaN, surrogates, any nesting."""
        results = _run(executor, [_job(_IDENTITY, (value,)) for value in PLAIN_VALUES])
        refused: list[str] = []
        for value, (outcome,) in zip(PLAIN_VALUES, results, strict=True):
            text = values.encode(value)
            if outcome.value == text and outcome.status is OutcomeStatus.OK:
                continue
            if _refuses(executor, outcome) and len(refused) < len(PLAIN_VALUES) // 8:
                refused.append(_shown(value))
                continue
            told = f"the identity of {_shown(value)} ended in {_say(outcome)}, not in the value {probes.short(text)}"
            try:
                values.decode(outcome.value)
            except ValueFormatError as exc:
                told += f", and that is no canonical text ({probes.short(str(exc))})"
            pytest.fail(f"{told}. Values leave an executor as azr_env.values.encode writes them, not as repr")
        if refused:
            pytest.skip(
                f"outside the subset, refused as `unsupported`: {', '.join(refused)}; the other "
                f"{len(PLAIN_VALUES) - len(refused)} values came back as they must"
            )

    def test_dict_arguments_keep_their_order(self, executor: Executor) -> None:
        """A function can see the order of a dict that it is given, nested ones included."""
        given = {"z": 1, "a": {"y": 2, "b": 3}}
        outcome = _one(executor, "def f(d): return list(d), list(d['a'])", given)
        assert outcome.value == values.encode((["z", "a"], ["y", "b"])), (
            f"a function that lists the keys of the argument {given} saw {probes.short(outcome.value)}: decode "
            "arguments with azr_env.values.decode, which keeps the order of the text"
        )

    def test_calls_of_a_job_share_a_process_and_get_fresh_arguments(self, executor: Executor) -> None:
        """The calls of a job run in order in one process; what one does to its arguments the next does not see."""
        program = "n = 0\ndef f(a):\n    global n\n    n += 1\n    a.append(n)\n    return a"
        (outcomes,) = _run(executor, [_job(program, ([],), ([],), ([],))])
        given = [outcome.value for outcome in outcomes]
        assert given == ["[i1;]", "[i2;]", "[i3;]"], (
            f"three calls of a counting function gave {given}, not [1], [2], [3]: the calls of one job run in order in "
            "one process, each with arguments of its own"
        )

    def test_text_that_is_no_argument_tuple(self, executor: Executor) -> None:
        """A call that is no canonical text of a tuple is refused unread and does not disturb its neighbours."""
        texts = ("i1;", "(i1", "", "\ud800", "[i1;]", "(i1;)x", "__import__('os').getpid()", "(i1;)")
        (outcomes,) = _run(executor, [Job(_IDENTITY, texts, PATIENT)])
        for text, outcome in zip(texts[:-1], outcomes, strict=False):
            assert outcome.status is OutcomeStatus.UNSUPPORTED, (
                f"the call {text!r} is no canonical tuple and ended in {_say(outcome)}: it must be `unsupported`"
            )
        assert outcomes[-1].value == "i1;", f"a good call after bad ones ended in {_say(outcomes[-1])}"

    @pytest.mark.parametrize(("program", "status"), _STATUSES, ids=lambda each: str(each).replace("\n", "; ")[:60])
    def test_endings_are_told_apart(self, executor: Executor, program: str, status: OutcomeStatus) -> None:
        """Raised, unsupported, memory and crash each have their status, a value only where ``ok``."""
        outcome = _one(executor, program, 1)
        refused = outcome.status is OutcomeStatus.RAISED and "import" in program and "Error" in outcome.detail
        assert outcome.status is status or refused or _refuses(executor, outcome), (
            f"the program {program!r} ended in {_say(outcome)}: `{status}` is due (azr_env.types.OutcomeStatus)"
        )
        assert outcome.value == "", (
            f"an outcome `{outcome.status}` holds the value {outcome.value!r}: only `ok` has one"
        )
        if outcome.status is not status and not refused:
            pytest.skip(f"outside the subset: {probes.short(outcome.detail)}")

    def test_run_never_raises_for_what_a_program_does(self, executor: Executor) -> None:
        """Exits, interrupts and unreadable programs are outcomes, and their neighbours run."""
        programs = [
            *("raise SystemExit", "raise KeyboardInterrupt", "raise GeneratorExit", "raise MemoryError"),
            *("def f(x): raise SystemExit(0)", "def f(x): raise KeyboardInterrupt", "def f(x): raise BaseException"),
            *("def f(x): raise GeneratorExit", "def f(x): raise StopIteration", "import sys\ndef f(x): sys.exit(1)"),
            *("", "\0", "\ud800", "def f(x): return x\0", "f = ", "(" * 300, "def f(x): return input()"),
            "class E(Exception):\n    def __str__(self): raise SystemExit\ndef f(x): raise E",
            "class R:\n    def __repr__(self): raise SystemExit\ndef f(x): return R()",
            "class M(type):\n    @property\n    def __name__(c): raise SystemExit\n"
            "class C(metaclass=M): pass\ndef f(x): return C()",
        ]
        one, two = _job(_IDENTITY, (1,)), _job(_IDENTITY, (2,))
        for program in programs:
            try:
                before, outcomes, after = _run(executor, [one, _job(program, (1,)), two])
            except BaseException as exc:  # noqa: BLE001 - the check is that nothing gets here
                raise AssertionError(
                    f"run() raised {type(exc).__name__} ({probes.short(str(exc))}) for the program {program!r}: what a "
                    "program does is an outcome, never an exception"
                ) from None
            (outcome,) = outcomes
            assert outcome.status not in (OutcomeStatus.OK, OutcomeStatus.INFRA), (
                f"the program {program!r} ended in {_say(outcome)}: it failed by itself, so neither `ok` nor `infra`"
            )
            assert (before[0].value, after[0].value) == ("i1;", "i2;"), (
                f"the neighbours of {program!r} ended in {_say(before[0])} and {_say(after[0])}"
            )

    def test_a_hanging_job_costs_only_itself(self, executor: Executor) -> None:
        """A job over its time is ended as ``timeout``; calls before it and jobs around it keep their outcomes."""
        good = _job(_IDENTITY, (1,))
        _run(executor, [good])
        hanging = _job("def f(x):\n    while x == 2: pass\n    return x", (1,), (2,), (3,), limits=HASTY)
        with probes.watchdog(f"a job with timeout_s={HASTY.timeout_s} that hangs", self.patience_s):
            before, outcomes, after = executor.run([good, hanging, replace(good, calls=("(i9;)",))])
        statuses = [str(outcome.status) for outcome in outcomes]
        assert statuses[1:] == ["timeout"] * 2, (
            f"a job whose second of three calls never ends gave {statuses} under timeout_s={HASTY.timeout_s}: that "
            "call and those after it are `timeout`"
        )
        assert statuses[0] in ("ok", "timeout"), f"the call before the one that hangs ended in {_say(outcomes[0])}"
        assert (before[0].value, after[0].value) == ("i1;", "i9;"), (
            f"the neighbours of a hanging job ended in {_say(before[0])} and {_say(after[0])}, not in their values"
        )

    def test_limits_of_memory_and_output_are_honoured(self, executor: Executor) -> None:
        """``memory_mib`` and ``output_kib`` bound each job by its own limits."""
        hungry = "def f(n):\n    a = 'x' * (n << 20)\n    return len(a)"
        (outcome,) = _run(executor, [_job(hungry, (1024,))])[0]
        assert outcome.status is OutcomeStatus.MEMORY, (
            f"a program that allocates 1024 MiB under memory_mib={PATIENT.memory_mib} ended in {_say(outcome)}: "
            "`memory` is due"
        )
        cases = ((900, 1), (2_000, 1), (2_000, 64))
        jobs = [_job("def f(n): return 'x' * n", (n,), limits=Limits(30.0, 256, kib)) for n, kib in cases]
        statuses = [str(outcomes[0].status) for outcomes in _run(executor, jobs)]
        assert statuses == ["ok", "unsupported", "ok"], (
            f"results of 900 and 2,000 characters under output_kib=1 and of 2,000 under 64 ended in {statuses}: a "
            "result over the limit is `unsupported`, one within it `ok`"
        )

    def test_lanes_differ_in_hash_seed(self, executor: Executor) -> None:
        """Set order is the same within a lane, run after run, and differs between lanes 0 and 1."""
        jobs = [_job("def f(n): return list({str(i) for i in range(n)})", (60,), lane=lane) for lane in (0, 1)]
        first, again = _run(executor, jobs), _run(executor, jobs[::-1])[::-1]
        behind = _run(executor, [jobs[0], *jobs])[1:]
        for lane in (0, 1):
            seen = {results[lane][0].value for results in (first, again, behind)}
            assert len(seen) == 1, f"lane {lane} showed {len(seen)} orders of one set: its hash seed must be fixed"
        if _subset(executor) and first[0][0].value == first[1][0].value:
            pytest.skip("both lanes show one order of sets: what depends on it is found by the authority, which admits")
        assert first[0][0].value != first[1][0].value, (
            "lanes 0 and 1 showed one order of a set of 60 strings: they must differ in PYTHONHASHSEED, and a cache "
            "must keep them apart"
        )

    def test_equal_jobs_have_equal_outcomes(self, executor: Executor) -> None:
        """Alone, in a batch, in any order, twice in one batch: the outcomes are the same, but for their level."""
        expected = [_run(executor, [job])[0] for job in _SIMPLE]
        orders: list[tuple[str, list[int]]] = [
            ("in one batch", list(range(len(_SIMPLE)))),
            ("in reverse order", list(range(len(_SIMPLE)))[::-1]),
            ("twice in one batch", [n for n in range(len(_SIMPLE)) for _ in range(2)]),
            ("in a large batch", list(range(len(_SIMPLE))) * 6),
        ]
        for words, order in orders:
            for number, outcomes in zip(order, _run(executor, [_SIMPLE[n] for n in order]), strict=True):
                job, alone = _SIMPLE[number], expected[number]
                given = [replace(outcome, level="") for outcome in outcomes]
                assert given == [replace(outcome, level="") for outcome in alone], (
                    f"the job {job.program!r} of lane {job.lane} gave {_brief(alone)} alone and {_brief(outcomes)} "
                    f"{words}: a job's outcomes depend on the job only"
                )

    @pytest.mark.parametrize(
        ("leaves", "looks"),
        [
            ("leak = 1", "def f(): return 'leak' in globals()"),
            ("import builtins\nbuiltins.leak = 1", "import builtins\ndef f(): return 'leak' in dir(builtins)"),
            ("import math\nmath.sqrt = lambda x: 42", "import math\ndef f(): return math.sqrt(4) != 2.0"),
            ("import os\nos.environ['LEAK'] = '1'", "import os\ndef f(): return 'LEAK' in os.environ"),
            ("import sys\nsys.path.append('leak')", "import sys\ndef f(): return 'leak' in sys.path"),
            ("import sys\nsys.modules['leak'] = sys", "import sys\ndef f(): return 'leak' in sys.modules"),
            ("import sys\nsys.setrecursionlimit(77)", "import sys\ndef f(): return sys.getrecursionlimit() == 77"),
            ("leak = 1", "def f():\n    try: return leak == 1\n    except NameError: return False"),
            ("len = max = str = None", "def f(): return str(len([1]) + max(1, 2)) != '3'"),
            ("import math\nmath.leak = 1", "import math\ndef f(): return 'leak' in dir(math)"),
            ("import random\nrandom.seed(1)", "import random\ndef f(): return 0.1343 < random.random() < 0.1344"),
        ],
        ids=[
            *("globals", "builtins", "patched module", "environment", "path", "modules", "recursion limit"),
            *("global name", "shadowed built-ins", "module attribute", "random state"),
        ],
    )
    def test_a_job_leaves_nothing_to_the_next(self, executor: Executor, leaves: str, looks: str) -> None:
        """No global, patched module or variable of the environment reaches a later job, in this batch or the next."""
        spoil, look = _job(leaves + "\ndef f(): return 1", ()), _job(looks, ())
        results = [*_run(executor, [spoil, look, spoil])[1], *_run(executor, [replace(look, program=looks + "\n")])[0]]
        if all(_refuses(executor, outcome) for outcome in results):
            pytest.skip(f"outside the subset: {probes.short(results[0].detail)}")
        for outcome in results:
            assert outcome.value == "F" or outcome.status is OutcomeStatus.RAISED, (
                f"after a job that ran {leaves!r} another job saw it: {looks!r} gave {_say(outcome)}. Every job starts "
                "from the same clean interpreter"
            )

    def test_no_job_finds_what_another_holds(self, executor: Executor) -> None:
        """A program that searches all reachable objects and frames does not find a text of another job of the batch."""
        for batch in ([_SECRET_JOB, _job(_SEARCH, ())], [_job(_SEARCH, ()), _SECRET_JOB]):
            for outcomes in _run(executor, batch):
                if outcomes[0].status is OutcomeStatus.OK and outcomes[0].value in "TF":
                    assert outcomes[0].value == "F", (
                        "a program found a text of another job of its batch by searching the objects of its "
                        "interpreter: a process that runs a program may hold no other job"
                    )

    def test_several_threads_may_run_batches(self, executor: Executor) -> None:
        """Four threads run batches at once, and each gets the outcomes of its own jobs."""
        _run(executor, [_job(_IDENTITY, (0,))])
        wrong: list[str] = []

        def work(number: int) -> None:
            for turn in range(5):
                jobs = [_job(f"def f(x): return ({number}, {turn}, x)", (k,)) for k in range(4)]
                try:
                    given = [outcomes[0].value for outcomes in executor.run(jobs)]
                except Exception as exc:  # noqa: BLE001
                    wrong.append(f"run() raised {type(exc).__name__}: {exc}")
                    return
                if given != [values.encode((number, turn, k)) for k in range(4)]:
                    wrong.append(f"thread {number} got {given} in turn {turn}")

        threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(probes.WATCHDOG_S)
            assert not thread.is_alive(), "four threads that run batches at once never end: run() must not deadlock"
        assert not wrong, f"{wrong[0]}: run() must be usable from several threads at once"

    def test_the_host_stays_as_it_was(
        self, executor: Executor, make_executor: Callable[[], Executor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Random state, environment, folder, files, processes, descriptors: nothing is changed, nothing is left."""
        folder = tmp_path / "temporary"
        folder.mkdir()
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("TMPDIR", str(folder))
        monkeypatch.setattr(tempfile, "tempdir", str(folder))

        def use() -> None:
            with probes.quiet_random_state(type(executor).__name__):
                made = make_executor()
                _run(made, [*_SIMPLE, *[_job(program, (1,)) for program, _ in _STATUSES]])
                made.close()

        changed = _changes(use, tmp_path)
        assert not changed, (
            f"after run() and close() the host's {changed}. close() must end and remove all that the executor made"
        )

    def test_a_closed_executor_says_so(self, make_executor: Callable[[], Executor]) -> None:
        """``close()`` is idempotent; ``run()`` after it raises ExecutorClosedError."""
        for used in (True, False):
            made = make_executor()
            if used:
                _run(made, [_job(_IDENTITY, (1,))])
            made.close()
            try:
                made.close()
            except Exception as exc:
                raise AssertionError(
                    f"a second close() raised {type(exc).__name__}: {exc}; close() is idempotent"
                ) from exc
            try:
                results = made.run([_job(_IDENTITY, (1,))])
            except ExecutorClosedError:
                continue
            except Exception as exc:
                raise AssertionError(
                    f"run() after close() raised {type(exc).__name__}, not azr_env.errors.ExecutorClosedError"
                ) from exc
            raise AssertionError(f"run() after close() gave {probes.short(results)}: it must raise ExecutorClosedError")

    @pytest.mark.parametrize("attack", [*PROGRAMS, *BOMBS], ids=lambda attack: attack.id)
    def test_attack_is_contained(
        self, executor: Executor, tmp_path_factory: pytest.TempPathFactory, attack: Attack
    ) -> None:
        """A hostile program ends in a status that says what happened, harms nobody, and the next job runs right."""
        self.check_contained(executor, tmp_path_factory)
        changed = _changes(
            lambda: check_attack(executor, attack, self.patience_s), ready=lambda: check_canaries(executor)
        )
        assert not changed, f"the attack {attack.id!r} ({attack.tries}) changed the host's {changed}"

    def test_all_attacks_in_one_batch_leave_their_neighbours_right(
        self, executor: Executor, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        """Every attack that ends by itself, each followed by a harmless job, in one batch."""
        self.check_contained(executor, tmp_path_factory)
        hostile = [attack for attack in (*PROGRAMS, *BOMBS) if not attack.hangs]
        canary, due = _canary(executor)
        jobs = [job for attack in hostile for job in (_hostile(attack), canary)]
        for attack, outcomes in zip(hostile, _run(executor, jobs)[1::2], strict=True):
            assert outcomes[0].value == due, (
                f"in one batch with all attacks the harmless job behind {attack.id!r} ended in {_say(outcomes[0])}"
            )


def check_attack(executor: Executor, attack: Attack, patience_s: float = 30.0) -> None:
    """Runs a program or bomb between two harmless jobs, and a canary after it.

    Raises:
        AssertionError: it ended as it may not, saw something, or disturbed another job.
    """
    with probes.watchdog(f"the attack {attack.id!r}", PATIENT.timeout_s + patience_s):
        _, outcomes, neighbour = executor.run([_SECRET_JOB, _hostile(attack), _SECRET_JOB])
    assert len(outcomes) == 1, f"the attack {attack.id!r} has {len(outcomes)} outcomes: one per call is due"
    outcome = outcomes[0]
    assert outcome.status in attack.allowed or _refuses(executor, outcome), (
        f"the attack {attack.id!r} ({attack.tries}) ended in {_say(outcome)}; contained, it ends in "
        f"{' or '.join(sorted(attack.allowed))}"
    )
    if outcome.status is OutcomeStatus.OK and attack.values:
        assert outcome.value in attack.values, (
            f"the attack {attack.id!r} ({attack.tries}) returned {probes.short(outcome.value)}: it saw or did "
            "something that it must not"
        )
    assert neighbour[0].value == values.encode(_SECRET * 2), (
        f"the job after the attack {attack.id!r} in its batch ended in {_say(neighbour[0])}"
    )
    _check_canary(executor, f"after the attack {attack.id!r}")


def check_canaries(executor: Executor) -> None:
    """Runs harmless jobs, enough of them that every process of the executor is up.

    Raises:
        AssertionError: one ended in another value than its own.
    """
    canary, due = _canary(executor)
    jobs = [replace(canary, program=canary.program + "\n" * number) for number in range(_MANY)]
    for (outcome,) in _run(executor, jobs):
        assert outcome.value == due, f"before the attack a harmless job ended in {_say(outcome)}"


def _subset(executor: Executor) -> str:
    """What an executor says of the part of Python that it runs; empty where it runs all."""
    return str(getattr(executor, "subset", ""))


def _refuses(executor: Executor, outcome: Outcome) -> bool:
    """Whether a program was refused by an executor that may: one that runs a subset."""
    return bool(_subset(executor)) and outcome.status is OutcomeStatus.UNSUPPORTED and not outcome.value


def _canary(executor: Executor) -> tuple[Job, str]:
    return (CORE_CANARY, CORE_CANARY_VALUE) if _subset(executor) else (CANARY, CANARY_VALUE)


def _job(program: str, *calls: tuple[object, ...], limits: Limits = PATIENT, lane: int = 0) -> Job:
    return Job(program, tuple(values.encode(call, ordered=True) for call in calls), limits, lane)


def _hostile(attack: Attack) -> Job:
    return Job(attack.text, ("()",), HASTY if attack.hangs else PATIENT)


def _run(executor: Executor, jobs: Sequence[Job]) -> list[list[Outcome]]:
    """The outcomes of well-behaved jobs, one per call, or a failure that says what is missing."""
    results = executor.run(jobs)
    counts, due = [len(outcomes) for outcomes in results], [len(job.calls) for job in jobs]
    assert counts == due, f"jobs with {due} calls have {counts} outcomes: one list per job, one outcome per call"
    return results


def _one(executor: Executor, program: str, *arguments: object) -> Outcome:
    return _run(executor, [_job(program, arguments)])[0][0]


def _say(outcome: Outcome) -> str:
    words = outcome.value if outcome.status is OutcomeStatus.OK else outcome.detail
    return f"`{outcome.status}` ({probes.short(words)})"


def _shown(value: object) -> str:
    try:
        text = values.render(value)
    except ValueFormatError:  # complex parts without a literal
        text = ascii(value)
    return text if len(text) <= 120 else f"{text[:80]} ... ({len(text)} characters)"


def _brief(outcomes: Sequence[Outcome]) -> str:
    return ", ".join(_say(outcome) for outcome in outcomes)


def _check_canary(executor: Executor, when: str) -> None:
    canary, due = _canary(executor)
    outcome = _run(executor, [canary])[0][0]
    assert outcome.value == due, (
        f"{when} a harmless job ended in {_say(outcome)}, not in {probes.short(due)}: something was left behind"
    )


def _gaps(executor: Executor, folder: Path) -> list[str]:
    """What harmless programs can do that contained ones cannot."""
    path = folder / "written"
    Path(f"{path}.host").write_text("a file of the host", encoding="utf-8")
    os.environ["AZR_GENTLE_PROBE"] = "1"
    try:
        made = [_job(text.replace("{pid}", str(os.getpid())), (str(path),)) for text in _GENTLE.values()]
        results = _run(executor, made)
    finally:
        del os.environ["AZR_GENTLE_PROBE"]
    return [words for words, outcomes in zip(_GENTLE, results, strict=True) if outcomes[0].value == "T"]


def _world(folder: Path | None = None) -> dict[str, Any]:
    """What no job may change on the host: by name, as data; of files all in a folder, or those that attacks make."""
    seen: dict[str, Any] = {
        "environment": dict(os.environ),
        "working directory": str(Path.cwd()),
        "files": sorted(str(path) for path in (folder.rglob("*") if folder else _HARM) if path.exists()),
        "standard library": Path(os.__file__).stat().st_mtime_ns,
    }
    if sys.platform == "linux":
        seen["processes"] = sorted(_descendants())
        seen["descriptors"] = sorted(os.listdir("/proc/self/fd"), key=int)
    return seen


def _changes(act: Callable[[], None], folder: Path | None = None, ready: Callable[[], None] = lambda: None) -> str:
    """What ``act`` changed on the host after ``ready``, and left so, in words; empty for nothing.

    Processes and descriptors count where more come each time: an executor may replace a process that it had to kill,
    and a library may open its own descriptors once, when it likes.
    """
    for _ in range(_ROUNDS):
        ready()
        before = _world(folder)
        act()
        until = time.monotonic() + _SETTLE_S
        while (changed := _changed(before, _world(folder))) and time.monotonic() < until:
            time.sleep(0.05)
        if not changed or not changed.keys() <= _COUNTED:
            break
    return "; ".join(f"{name} changed: {how}" for name, how in changed.items())


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, str]:
    """What is otherwise than before, by name, in words."""
    more = {
        name: list((Counter(after[name]) - Counter(before[name])).elements()) for name in before if name in _COUNTED
    }
    grown = {name: probes.short(f"new {new}") for name, new in more.items() if len(after[name]) > len(before[name])}
    others = [name for name in before if name not in _COUNTED and after[name] != before[name]]
    return grown | {name: _difference(before[name], after[name]) for name in others}


def _descendants() -> list[str]:
    """The names of all processes below this one."""
    found, waiting = [], [str(os.getpid())]
    while waiting:
        tasks = Path("/proc", waiting.pop(), "task")
        try:
            children = [pid for task in tasks.iterdir() for pid in _words(task / "children")]
        except OSError:  # it has just ended
            continue
        waiting += children
        found += [" ".join(_words(Path("/proc", pid, "comm"))) for pid in children]
    return found


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").split()
    except OSError:  # the thread or the process has just ended
        return []


def _difference(was: Any, now: Any) -> str:
    if isinstance(was, list):
        new, gone = [each for each in now if each not in was], [each for each in was if each not in now]
        return probes.short(f"new {new}, gone {gone}")
    return f"it was {probes.short(was)} and is {probes.short(now)}"
