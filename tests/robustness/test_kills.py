"""Kill -9 at any moment: every job gets one list of outcomes, its own, and nothing is left behind.

The thousand kills are in `benchmarks/executor_robustness.py`; here are some of each kind, and the moments that matter.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
import time
from pathlib import Path
from types import ModuleType

import pytest

from azr_env.executors.zygote import ZygoteChunkExecutor, ZygoteExecutor
from azr_env.types import Job, Limits, OutcomeStatus

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
PATIENT = Limits(timeout_s=60.0)


@pytest.fixture(scope="module")
def robustness() -> ModuleType:
    """The benchmark that kills."""
    sys.path.insert(0, str(FOLDER))
    try:
        spec = importlib.util.spec_from_file_location("executor_robustness", FOLDER / "executor_robustness.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(FOLDER))
    return module


class Killer(threading.Thread):
    """Kills the first ``kills`` processes of a kind that it finds, each once."""

    def __init__(self, robustness: ModuleType, kind: str, kills: int = 1) -> None:
        super().__init__()
        self.robustness, self.kind, self.kills = robustness, kind, kills
        self.spared = robustness.of_executors(os.getpid())
        self.killed: set[int] = set()

    def run(self) -> None:
        end = time.monotonic() + 60
        while len(self.killed) < self.kills and time.monotonic() < end:
            for pid in set(self.robustness.victims(os.getpid(), self.kind, self.spared)) - self.killed:
                if len(self.killed) < self.kills and self.robustness.kill(pid, os.getpid()):
                    self.killed.add(pid)
            time.sleep(0.001)


def slow_square(n: int, seconds: float = 0.5) -> Job:
    return Job(f"import time\ndef f(n):\n time.sleep({seconds})\n return n * n", (f"(i{n:x};)",), PATIENT)


def check(tally: dict[str, int], kills: int) -> None:
    assert tally["kills"] == kills
    wrong = {name: tally[name] for name in ("lost", "doubled", "wrong", "left_behind") if tally[name]}
    assert not wrong, tally


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["guardian", "server", "child"])
def test_kills_at_random_moments(robustness: ModuleType, kind: str) -> None:
    check(robustness.kill_servers(10, seed=7, kinds=[kind]), 10)


@pytest.mark.slow
def test_hosts_killed_at_random_moments(robustness: ModuleType) -> None:
    check(robustness.kill_hosts(5, seed=7), 5)


@pytest.mark.parametrize("made", [ZygoteExecutor, ZygoteChunkExecutor])
def test_a_killed_child_runs_again(robustness: ModuleType, made: type[ZygoteExecutor]) -> None:
    killer = Killer(robustness, "child")
    with made(workers=1, cache_size=0) as executor:
        executor.run([slow_square(1, 0)])
        killer.start()
        results = executor.run([slow_square(n) for n in (2, 3)])
        killer.join()
    assert len(killer.killed) == 1
    assert [outcome.value for (outcome,) in results] == ["i4;", "i9;"]


def test_a_server_killed_while_it_starts_is_replaced(robustness: ModuleType) -> None:
    killer = Killer(robustness, "guardian")
    with ZygoteExecutor(workers=1) as executor:
        killer.start()
        ((outcome,),) = executor.run([slow_square(5, 0)])
        killer.join()
    assert len(killer.killed) == 1
    assert (outcome.status, outcome.value) == (OutcomeStatus.OK, "i19;")


def test_a_replacement_killed_while_it_starts_is_replaced(robustness: ModuleType) -> None:
    with ZygoteExecutor(workers=1, cache_size=0) as executor:
        killer = Killer(robustness, "guardian", kills=2)
        executor.layers()
        killer.start()
        results = executor.run([slow_square(n, 0.2) for n in range(4)])
        killer.join()
    assert len(killer.killed) == 2
    assert [outcome.value for (outcome,) in results] == ["i0;", "i1;", "i4;", "i9;"]


def test_a_program_that_has_itself_killed_is_a_crash_and_no_failure_of_ours() -> None:
    """The server kills a child that closed its channel: it looks like a kill from outside, and is tried again."""
    program = "import os\ndef f():\n os.close(3)\n while True: pass"
    with ZygoteExecutor(workers=1) as executor:
        ((outcome,),) = executor.run([Job(program, ("()",), PATIENT)])
    assert (outcome.status, outcome.detail) == (OutcomeStatus.CRASH, "signal SIGKILL")
