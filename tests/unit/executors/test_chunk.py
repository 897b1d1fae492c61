"""The chunk level says what the strict level says, whatever shares the process; and what it cannot say, strict says."""

from __future__ import annotations

import json
import os
import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from contaminators import HARMLESS, REFUSED

from azr_env import values
from azr_env.errors import ExecutorClosedError, SettingError, ValueFormatError
from azr_env.executors.zygote import ZygoteChunkExecutor, ZygoteExecutor
from azr_env.executors.zygote.plain import plain
from azr_env.protocols import Executor
from azr_env.types import Job, Limits, Outcome, OutcomeStatus

PATIENT = Limits(timeout_s=30.0)
QUICK = Limits(timeout_s=0.5, memory_mib=256)
CRUXEVAL = Path(__file__).parents[4] / "shared" / "data" / "cruxeval.jsonl"


@pytest.fixture(scope="module")
def executor() -> Iterator[ZygoteChunkExecutor]:
    with ZygoteChunkExecutor(workers=1, cache_size=0, sampled=0) as made:
        yield made


def job(program: str, *arguments: object, limits: Limits = PATIENT) -> Job:
    return Job(program, (values.encode(arguments, ordered=True),), limits)


def told(outcomes: Sequence[Outcome]) -> list[tuple[OutcomeStatus, str]]:
    return [(outcome.status, outcome.value) for outcome in outcomes]


def canary(number: int, limits: Limits = PATIENT) -> Job:
    """Uses much of what a contaminator may have touched. No two are equal, so each one runs."""
    program = (
        "from collections import Counter\nimport math\n"
        f"def f(s, n):\n canary = {number}\n def g(k): return 0 if k == 0 else 1 + g(k - 1)\n"
        " try: text = s.encode('latin-1').decode('ascii')\n except UnicodeDecodeError as e: text = str(e)\n"
        " return sorted(Counter(s).items()), math.sqrt(n), s.upper(), len(s), g(900), text, canary, str({3, 1, 2}),"
        " '{:>4}'.format(n), type(s) is str, int('7') + sum([1, 2])"
    )
    assert plain(program)
    return job(program, "abba\u00e9", 16, limits=limits)


def test_is_an_executor(executor: ZygoteChunkExecutor) -> None:
    assert isinstance(executor, Executor)
    assert executor.level == "zygote-chunk"
    assert executor.authority.level == "zygote"
    assert executor.authority.authority is executor.authority
    assert executor.fingerprint.startswith("zygote-chunk")
    assert executor.fingerprint.endswith(executor.authority.fingerprint)
    assert executor.layers() == executor.authority.layers()


def test_plain_programs_share_a_fork_and_others_do_not(executor: ZygoteChunkExecutor) -> None:
    before = executor.stats
    jobs = [job(f"def f(x): return x + {n}", 1) for n in range(20)] + [job("import os\ndef f(x): return x", 1)]
    results = executor.run(jobs)
    assert [outcomes[0].value for outcomes in results] == [f"i{n + 1:x};" for n in range(20)] + ["i1;"]
    assert [outcomes[0].level for outcomes in results] == ["zygote-chunk"] * 20 + ["zygote"]
    after = executor.stats
    assert after.forks - before.forks == 3, "16, 4, and the one that is not plain"
    assert (after.chunked - before.chunked, after.strict - before.strict) == (20, 1)


def test_contaminators_between_canaries(executor: ZygoteChunkExecutor) -> None:
    """Where a contaminator does not end the process, the canary behind it runs in the same one."""
    before, behind = canary(0), canary(1)
    expected = [told(outcomes) for outcomes in executor.authority.run([before, behind], fresh=True)]
    in_the_same: list[str] = []
    for name in sorted(HARMLESS.keys() - {"loop", "loop-in-one-call"}):
        contaminator = job(HARMLESS[name], "ab")
        first, together, last = executor.run([before, contaminator, behind])
        assert [told(first), told(last)] == expected, name
        assert told(together) == told(executor.authority.run([contaminator], fresh=True)[0]), name
        if last[0].level == "zygote-chunk":
            in_the_same.append(name)
    ends = {"codec", "codec-by-type", "codec-by-map", "codec-deep", "codec-unknown", "memory", "many-arguments"}
    assert set(HARMLESS) - {"loop", "loop-in-one-call"} - set(in_the_same) <= ends


def test_what_hangs_costs_only_itself(executor: ZygoteChunkExecutor) -> None:
    jobs = [canary(0, QUICK), job(HARMLESS["loop"], 1, limits=QUICK), canary(1, QUICK)]
    first, loop, last = executor.run(jobs)
    assert told(loop) == [(OutcomeStatus.TIMEOUT, "")]
    assert loop[0].detail == "timeout_s=0.5"
    assert [first[0].status, last[0].status] == [OutcomeStatus.OK] * 2


def test_the_refused_run_alone(executor: ZygoteChunkExecutor) -> None:
    names = ["patch-module", "dunder-builtins", "type-makes-a-class", "global-counter", "frames-by-sys", "catch-all"]
    jobs = [each for n, name in enumerate(names) for each in (canary(n), job(REFUSED[name], 3))]
    results = executor.run(jobs)
    assert told(results[1::2][0]) == [(OutcomeStatus.OK, "i3;")]
    assert {outcomes[0].level for outcomes in results[1::2]} == {"zygote"}
    assert {outcomes[0].level for outcomes in results[::2]} == {"zygote-chunk"}


def test_a_module_is_not_loaded_in_a_chunk(executor: ZygoteChunkExecutor) -> None:
    before = executor.stats
    results = executor.run([canary(0), job(HARMLESS["codec"], "ab"), canary(1)])
    assert [outcomes[0].level for outcomes in results] == ["zygote-chunk", "zygote", "zygote"]
    assert executor.stats.strict - before.strict == 2


def real_jobs() -> list[Job]:
    if not CRUXEVAL.is_file():
        return [job(f"def f(xs): return [x * {n} for x in xs][::-1]", [1, 2, n]) for n in range(96)]
    jobs = []
    for line in CRUXEVAL.read_text(encoding="utf-8").splitlines()[:120]:
        row = json.loads(line)
        try:
            jobs.append(job(row["code"], *values.parse_arguments(row["input"])))
        except ValueFormatError:
            continue
    return jobs


def test_equal_to_strict_in_any_order_and_company(executor: ZygoteChunkExecutor) -> None:
    jobs = real_jobs()
    strict = {each: told(outcomes) for each, outcomes in zip(jobs, executor.authority.run(jobs), strict=True)}
    for order in (jobs, jobs[::-1], jobs[1::2] + jobs[::2], jobs[:3]):
        for each, outcomes in zip(order, executor.run(order), strict=True):
            assert told(outcomes) == strict[each], each.program


def test_lanes_and_limits_do_not_mix(executor: ZygoteChunkExecutor) -> None:
    program = "def f(n): return [str(k) for k in {str(i) for i in range(n)}]"
    jobs = [Job(f"{program}\n# {n}", ("(i14;)",), PATIENT, lane=n % 2) for n in range(8)]
    results = executor.run(jobs)
    assert results[0] == results[2] == results[6] != results[1] == results[7]


def test_state_between_jobs_of_one_program_does_not_exist(executor: ZygoteChunkExecutor) -> None:
    program = "LIMIT = 3\ndef f(x, *a): return [x, LIMIT] + list(a)"
    results = executor.run([job(program, n) for n in range(5)])
    assert [outcomes[0].value for outcomes in results] == [f"[i{n};i3;]" for n in range(5)]


def test_cache_and_duplicates() -> None:
    with ZygoteChunkExecutor(workers=1, sampled=0) as executor:
        jobs = [job(f"def f(x): return x * {n % 4}", 2) for n in range(8)]
        first = executor.run(jobs)
        assert first[:4] == first[4:] == executor.run(jobs[:4])
        assert (executor.stats.forks, executor.stats.calls, executor.stats.cache_hits) == (1, 12, 8)
        assert executor.run([Job("def f(): return 1", ())]) == [[]]
        assert executor.run([]) == []


def test_a_disagreement_is_loud_and_the_strict_outcome_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gate with a hole, such as ours must not be: everything passes it."""
    monkeypatch.setattr("azr_env.executors.zygote.chunk.plain", lambda program: True)
    patch = job("import math\nmath.sqrt = lambda x: 42.0\ndef f(x): return x", 1)
    jobs = [patch, *[job(f"import math\ndef f(x): return math.sqrt(x) + {n}", 4) for n in range(9)]]
    with ZygoteChunkExecutor(workers=1, cache_size=0, sampled=0) as executor:
        assert executor.run(jobs)[1][0].value == values.encode(42.0), "the hole is there"
    with ZygoteChunkExecutor(workers=1, cache_size=0, sampled=0.3, seed=5) as executor:
        with pytest.warns(RuntimeWarning, match="disagreed with zygote"):
            results = executor.run(jobs)
        assert [outcomes[0].value for outcomes in results[1:]] == [values.encode(2.0 + n) for n in range(9)]
        stats = executor.stats
        assert 1 <= stats.disagreements <= stats.sampled < 10
        assert stats.chunked + stats.strict == 10


def test_the_sample_agrees_and_does_not_depend_on_company() -> None:
    jobs = [job(f"def f(x): return x + {n}", 1) for n in range(60)]
    with ZygoteChunkExecutor(workers=1, cache_size=0, sampled=0.25) as executor, warnings.catch_warnings():
        warnings.simplefilter("error")
        executor.run(jobs)
        together = executor.stats.sampled
        for at in range(0, 60, 20):
            executor.run(jobs[at : at + 20][::-1])
        assert executor.stats.sampled == 2 * together
        assert 5 <= together <= 25
        assert executor.stats.disagreements == 0
    with ZygoteChunkExecutor(workers=1, cache_size=0, sampled=1) as executor:
        executor.run(jobs[:20])
        assert executor.stats.sampled == executor.stats.chunked == 20


def test_a_server_killed_in_the_middle_costs_nothing() -> None:
    programs = [f"def f(x):\n n = 0\n for _ in range(200_000): n += {k}\n return n + x" for k in range(48)]
    with ZygoteChunkExecutor(workers=1, cache_size=0, sampled=0) as executor:
        executor.layers()
        pids = [slot.server.pid for slot in executor.authority._slots if slot.server]
        timer = threading.Timer(0.1, lambda: [os.kill(pid, signal.SIGKILL) for pid in pids])
        timer.start()
        results = executor.run([job(program, 1) for program in programs])
        timer.join()
        assert [outcomes[0].value for outcomes in results] == [values.encode(200_000 * k + 1) for k in range(48)]
        assert executor.stats.retries >= 1


def test_a_forked_host_has_a_cache_and_servers_of_its_own() -> None:
    jobs = [job(f"def f(x): return x + {n}", 1) for n in range(5)]
    with ZygoteChunkExecutor(workers=1, sampled=0) as executor:
        expected = executor.run(jobs)
        executor._lock.acquire()  # as if another thread were in it
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = 0 if executor.run(jobs) == expected else 2
                executor.close()
            finally:
                os._exit(code)
        executor._lock.release()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_settings_and_closing() -> None:
    for sampled in (-0.1, 1.1, float("nan")):
        with pytest.raises(SettingError, match="sampled"):
            ZygoteChunkExecutor(sampled=sampled)
    executor = ZygoteChunkExecutor(workers=1)
    with pytest.raises(SettingError, match="lane"):
        executor.run([Job("def f(): return 1", ("()",), lane=5)])
    executor.close()
    executor.close()
    for closed in (executor, executor.authority):
        with pytest.raises(ExecutorClosedError):
            closed.run([job("def f(x): return x", 1)])


# The strict level: answers to one plain program in one fork


def test_answers_to_one_plain_program_share_a_fork() -> None:
    with ZygoteExecutor(workers=1) as strict:
        jobs = [job("def f(x): return 10 // x", n) for n in (1, 2, 0, 5, 2)]
        results = strict.run(jobs)
        assert [outcomes[0].value for outcomes in results] == ["ia;", "i5;", "", "i2;", "i5;"]
        assert results[2][0].detail.startswith("ZeroDivisionError")
        assert (strict.stats.forks, strict.stats.shared, strict.stats.cache_hits) == (1, 4, 1)
        assert strict.run([jobs[3]]) == [results[3]], "one answer is found alone, too"
        assert strict.stats.forks == 1
        assert strict.run(jobs, fresh=True) == results
        assert strict.stats.forks == 6


def test_answers_to_a_program_with_state_do_not() -> None:
    with ZygoteExecutor(workers=1) as strict:
        results = strict.run([job(REFUSED["global-counter"], n) for n in range(4)])
        assert {outcomes[0].value for outcomes in results} == {"i1;"}
        assert strict.stats.forks == 4


def test_a_bad_answer_does_not_touch_the_others() -> None:
    program = "def f(x):\n while x == 1: pass\n return [0] * (10**10 if x == 3 else x)"
    with ZygoteExecutor(workers=1) as strict:
        answers = [job(program, n, limits=QUICK) for n in range(5)]
        together = strict.run(answers)
        assert together == [strict.run([answer], fresh=True)[0] for answer in answers]
        assert [outcomes[0].status.value for outcomes in together] == ["ok", "timeout", "ok", "memory", "ok"]
