"""The life of the server processes: who may kill whom, and what is left afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from azr_env.executors.zygote import ZygoteExecutor
from azr_env.types import Job, Limits, OutcomeStatus

PATIENT = Limits(timeout_s=30.0)
ROOT = Path(__file__).resolve().parents[3]


def processes(host: int) -> list[int]:
    """Every process of an executor that ``host`` started: guardians, servers, children."""
    mark, found = f'"host": {host},'.encode(), []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return sorted(found)


def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def squares(count: int, seconds: float = 0.0) -> list[Job]:
    program = f"import time\ndef f(n):\n time.sleep({seconds})\n return n * n"
    return [Job(program, (f"(i{n:x};)",), PATIENT) for n in range(count)]


def expected(count: int) -> list[str]:
    return [f"i{n * n:x};" for n in range(count)]


def test_close_leaves_no_process() -> None:
    before = processes(os.getpid())  # another test's executor may be alive
    executor = ZygoteExecutor(workers=2)
    executor.run(squares(8))
    assert len(processes(os.getpid())) >= len(before) + 4
    executor.close()
    assert eventually(lambda: processes(os.getpid()) == before)


def test_a_forgotten_executor_leaves_no_process() -> None:
    before = processes(os.getpid())
    executor = ZygoteExecutor(workers=1)
    executor.layers()
    del executor
    assert eventually(lambda: processes(os.getpid()) == before)


def test_a_killed_host_leaves_no_process() -> None:
    script = """
        import sys, threading
        from azr_env.executors.zygote import ZygoteExecutor
        from azr_env.types import Job
        executor = ZygoteExecutor(workers=2)
        jobs = [Job(f"def f():\\n while {n} < 99: pass", ("()",)) for n in range(6)]
        thread = threading.Thread(target=executor.layers)  # started by a thread that ends: the server must not
        thread.start(); thread.join()
        print("ready", flush=True)
        executor.run(jobs)
    """
    host = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": "."},
    )
    assert host.stdout is not None
    assert host.stdout.readline() == b"ready\n"
    assert eventually(lambda: len(processes(host.pid)) >= 5)
    host.kill()
    host.wait()
    host.stdout.close()
    assert eventually(lambda: not processes(host.pid)), "a killed host must leave nothing"


def servers(executor: ZygoteExecutor) -> list[int]:
    """The servers proper: children of the guardians."""
    guardians = [slot.server.pid for slot in executor._slots if slot.server]
    return [int(pid) for g in guardians for pid in Path(f"/proc/{g}/task/{g}/children").read_text().split()]


@pytest.mark.parametrize("victim", ["guardian", "server"])
def test_a_server_killed_in_the_middle_is_replaced(victim: str) -> None:
    before = processes(os.getpid())
    with ZygoteExecutor(workers=1, cache_size=0) as executor:
        executor.layers()
        pids = servers(executor) if victim == "server" else [s.server.pid for s in executor._slots if s.server]
        timer = threading.Timer(0.3, lambda: [os.kill(pid, signal.SIGKILL) for pid in pids])
        timer.start()
        results = executor.run(squares(40, seconds=0.03))
        timer.join()
        assert [outcomes[0].value for outcomes in results] == expected(40)
        assert executor.stats.retries == 1
    assert eventually(lambda: processes(os.getpid()) == before)


def test_a_server_that_keeps_dying_gives_infra_and_nothing_else() -> None:
    done = threading.Event()
    with ZygoteExecutor(workers=1, cache_size=0) as executor:

        def killer() -> None:
            while not done.wait(0.2):
                for pid in processes(os.getpid()):
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        continue

        executor.layers()
        thread = threading.Thread(target=killer)
        thread.start()
        try:
            results = executor.run(squares(2, seconds=20.0))
        finally:
            done.set()
            thread.join()
        assert [outcomes[0].status for outcomes in results] == [OutcomeStatus.INFRA] * 2
        assert executor.run(squares(3))[2][0].value == "i4;"


def test_an_interrupted_batch_does_not_reach_the_next() -> None:
    class Stop(Exception):
        pass

    def interrupt(*_: object) -> None:
        raise Stop

    old = signal.signal(signal.SIGALRM, interrupt)
    try:
        with ZygoteExecutor(workers=1, cache_size=0) as executor:
            executor.layers()
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            with pytest.raises(Stop):
                executor.run(squares(50, seconds=0.05))
            assert [outcomes[0].value for outcomes in executor.run(squares(5))] == expected(5)
    finally:
        signal.signal(signal.SIGALRM, old)


WHERE = "import os, time\ndef f(n):\n time.sleep(0.02)\n return sorted(os.sched_getaffinity(0))"


def test_each_server_keeps_to_a_core_only_while_all_cores_have_one() -> None:
    cores = sorted(os.sched_getaffinity(0))
    every = "[" + "".join(f"i{core:x};" for core in cores) + "]"
    each = {f"[i{core:x};]" for core in cores}
    with ZygoteExecutor() as executor:
        many = [Job(f"{WHERE}#{n}", ("(i1;)",), PATIENT) for n in range(8 * len(cores))]
        assert {outcomes[0].value for outcomes in executor.run(many)} == each
        if len(cores) > 1:
            assert executor.run(many[:1], fresh=True)[0][0].value == every
    with ZygoteExecutor(workers=len(cores) + 1) as executor:
        assert {outcomes[0].value for outcomes in executor.run(many[: len(cores) + 2])} == {every}


def test_what_an_address_gives_differs_between_the_lanes() -> None:
    program = "def f(n):\n return [hash(object()) % 2, hash(iter([1])) % 2, hash(i for i in [1]) % 2]"
    with ZygoteExecutor(workers=1) as executor:
        seen = [
            [executor.run([Job(program + "\n" * n, ("(i1;)",), PATIENT, lane)])[0][0].value for n in range(6)]
            for lane in (0, 1)
        ]
    assert all(value.startswith("[i") for lane in seen for value in lane)
    assert seen[0] != seen[1]


def test_a_program_cannot_choose_its_core() -> None:
    program = "import os\ndef f(n):\n os.sched_setaffinity(0, {n})"
    with ZygoteExecutor(workers=1) as executor:
        (outcome,) = executor.run([Job(program, (f"(i{min(os.sched_getaffinity(0)):x};)",), PATIENT)])[0]
    assert outcome.status is OutcomeStatus.RAISED
    assert outcome.detail.startswith("PermissionError")


def test_many_threads_share_one_executor() -> None:
    with ZygoteExecutor(workers=2) as executor, ThreadPoolExecutor(8) as threads:
        both = [each for n in range(12) for each in squares(n)]
        runs = [threads.submit(executor.run, squares(n)) for n in range(12)]
        lane_1 = threads.submit(executor.run, [Job(j.program, j.calls, j.limits, 1) for j in squares(6)])
        assert [o[0].value for run in runs for o in run.result()] == [v for n in range(12) for v in expected(n)]
        assert [o[0].value for o in lane_1.result()] == expected(6)
        assert executor.stats.calls == len(both) + 6


def test_a_forked_host_starts_servers_of_its_own() -> None:
    earlier = processes(os.getpid())
    with ZygoteExecutor(workers=1) as executor:
        assert executor.run(squares(3))[2][0].value == "i4;"
        before = servers(executor)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                values = [outcomes[0].value for outcomes in executor.run(squares(5), fresh=True)]
                code = 0 if values == expected(5) and servers(executor) != before else 2
                executor.close()
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert servers(executor) == before
        assert executor.run(squares(6), fresh=True)[5][0].value == "i19;"
    assert eventually(lambda: not processes(pid) and processes(os.getpid()) == earlier)


def memory_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


def test_memory_stays_flat() -> None:
    hostile = [
        "def f(n): return 'x' * 10**6",
        "import os\nos.write(3, b'x' * 10**6)\nf = id",
        "def f(n): return [0] * 10**10",
    ]
    jobs = [
        Job(hostile[n // 10 % 3] if n % 10 == 0 else f"def f(n): return [n] * {n}", (f"(i{n:x};)",), PATIENT)
        for n in range(500)
    ]
    with ZygoteExecutor(workers=1, cache_size=0) as executor:
        executor.run(jobs[:100])
        (server,) = servers(executor)
        before, descriptors = memory_kib(server), len(os.listdir("/proc/self/fd"))
        executor.run(jobs)
        assert servers(executor) == [server]
        assert memory_kib(server) - before < 2048
        assert len(os.listdir("/proc/self/fd")) == descriptors


def memory_holds(pid: int, word: bytes) -> bool:
    """Whether any readable page of a process holds ``word``."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            start, end = (int(part, 16) for part in line.split()[0].split("-"))
            if line.split()[1][0] == "r" and "[v" not in line:
                memory.seek(start)
                if word in memory.read(end - start):
                    return True
    return False


@pytest.mark.skipif(os.geteuid() != 0, reason="reading a locked server's memory takes root")
def test_a_server_remembers_nothing_of_its_jobs() -> None:
    """So a later program finds nothing of an earlier one, however deep it digs."""
    word = "pomegranate"
    jobs = [
        Job(f"def f(x): return x + '{word}'", (f"(s11:{word})",), PATIENT),
        Job(f"x = '{word}'\ndef f(x): raise ValueError(x * 30)", (f"(s11:{word})",) * 9, PATIENT),
        Job(f"def f(x): return [x] * 3000  # {word}" + "#" * 3_000_000, (f"(s11:{word})",) * 9, PATIENT),
    ]
    with ZygoteExecutor(workers=1, cache_size=0) as executor:
        results = executor.run(jobs)
        assert word in results[2][8].value
        executor.run(squares(1))  # the wipe comes after the answer and before the next fork
        (server,) = servers(executor)
        assert not memory_holds(server, word.encode())
        assert memory_holds(server, b"REQUEST"), "the search itself works"
