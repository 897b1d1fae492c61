"""The level `subprocess`: what it keeps in, what it leaves behind, and that it says what it does not keep in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from azr_env import values
from azr_env.errors import ExecutorUnavailableError, SettingError
from azr_env.executors import interpreter
from azr_env.executors.interpreter import SubprocessExecutor
from azr_env.executors.zygote import ZygoteExecutor
from azr_env.protocols import Executor
from azr_env.types import Job, Limits, OutcomeStatus

PATIENT = Limits(timeout_s=30.0)
HASTY = Limits(timeout_s=0.5)


@pytest.fixture(scope="module")
def executor() -> Iterator[SubprocessExecutor]:
    with SubprocessExecutor(workers=2) as made:
        yield made


def job(program: str, *arguments: object, limits: Limits = PATIENT, lane: int = 0) -> Job:
    return Job(program, (values.encode(arguments, ordered=True),), limits, lane)


def test_is_an_executor_and_its_own_authority(executor: SubprocessExecutor) -> None:
    assert isinstance(executor, Executor)
    assert executor.authority is executor
    assert executor.level == "subprocess"
    assert executor.fingerprint.startswith("subprocess-")


def test_layers_say_what_is_not_contained(executor: SubprocessExecutor) -> None:
    layers = executor.layers()
    assert all(layers[name].startswith("NOT contained") for name in ("files", "network", "processes"))


def test_says_what_the_strict_level_says(executor: SubprocessExecutor) -> None:
    programs = (
        "def f(x): return x",
        "def f(x): return list({str(i) for i in range(60)})",
        "def f(x):\n try: return 1 + f(x)\n except RecursionError: return 1",
        "import sys\ndef f(x): return __name__, sys.argv, sys.getrecursionlimit() > 900",
        "def f(x): raise ValueError('a' * 1000)",
        "import random\nrandom.seed(7)\ndef f(x): return random.random()",
        "def f(x): return 'é€\\ud800'",
        "print('f')",
    )
    jobs = [job(program, 1, lane=lane) for program in programs for lane in (0, 1)]
    with ZygoteExecutor(workers=1) as strict:
        expected = [[(o.status, o.value, o.detail) for o in outcomes] for outcomes in strict.run(jobs)]
    assert [[(o.status, o.value, o.detail) for o in outcomes] for outcomes in executor.run(jobs)] == expected


def test_the_interpreter_is_bare(executor: SubprocessExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZR_SECRET", "1")
    program = (
        "import os, sys\n"
        "def f():\n"
        "    descriptors = []\n"
        "    for n in range(64):\n"
        "        try: os.fstat(n)\n"
        "        except OSError: continue\n"
        "        descriptors.append(n)\n"
        "    return dict(os.environ), os.listdir(), descriptors, os.getsid(0) == os.getpid(), 'azr_env' in sys.modules"
    )
    (outcomes,) = executor.run([job(program)])
    assert values.decode(outcomes[0].value) == ({}, [], [0, 1, 2, 3], True, False)


def test_its_folder_is_removed_and_takes_no_bytes(
    executor: SubprocessExecutor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    program = "import os\ndef f():\n open('a', 'w').close()\n os.mkdir('b')\n open('b/c', 'w').write('x' * 10**5)"
    (outcomes,) = executor.run([job(program)])
    assert outcomes[0].status is OutcomeStatus.RAISED
    assert "File too large" in outcomes[0].detail
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_the_whole_group_is_killed(executor: SubprocessExecutor, tmp_path: Path) -> None:
    """A child that holds the results open makes the job late; it dies with its group, as does one that is only left."""
    left = "import os, time\ndef f(path):\n if os.fork() == 0:\n  os.mkdir(path + str(os.getpid()))\n"
    holds = left + "  time.sleep(60)\n return 1"
    leaves = left + "  os.closerange(0, 9)\n  time.sleep(60)\n return 1"
    outcomes = executor.run([job(text, f"{tmp_path}/", limits=HASTY) for text in (holds, leaves)])
    if all(each[0].status is OutcomeStatus.RAISED for each in outcomes):
        pytest.skip("this user's processes are limited, so the program cannot fork: nothing to kill")
    deadline = time.monotonic() + 10
    while alive := [pid.name for pid in tmp_path.iterdir() if _runs(pid.name)]:
        assert time.monotonic() < deadline, f"still running: {alive}"
        time.sleep(0.05)


def _runs(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_flood_and_a_forgery_are_told_as_such(executor: SubprocessExecutor) -> None:
    flood = "import os\nwhile True: os.write(3, b'x' * 65536)"
    forged = "import os, struct\nos.write(3, struct.pack('<BI', 7, 0))\nos._exit(0)"
    statuses = [outcomes[0].status for outcomes in executor.run([job(flood), job(forged)])]
    assert statuses == [OutcomeStatus.PROTOCOL] * 2


def test_no_interpreter_is_infra_after_some_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def refuse(*arguments: object, **settings: object) -> None:
        asked.append(arguments)
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with SubprocessExecutor(workers=1) as made:
        (outcomes,) = made.run([Job("def f(x): return x", ("(i1;)", "(i2;)"))])
    assert [(o.status, o.level) for o in outcomes] == [(OutcomeStatus.INFRA, "subprocess")] * 2
    assert "no more processes" in outcomes[0].detail
    assert len(asked) == interpreter.TRIES


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_an_interpreter_that_is_killed_before_its_program_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    started = subprocess.Popen
    killed: list[int] = []

    def start(*arguments: object, **settings: object) -> object:
        process = started(*arguments, **settings)  # type: ignore[call-overload]
        if not killed:
            killed.append(process.pid)
            os.kill(process.pid, signal.SIGKILL)
        return process

    monkeypatch.setattr(subprocess, "Popen", start)
    with SubprocessExecutor(workers=1) as made:
        assert made.run([job("def f(x): return x", 1)])[0][0].value == "i1;"
    assert killed


def test_settings_that_cannot_work() -> None:
    with pytest.raises(SettingError, match="workers=0"):
        SubprocessExecutor(workers=0)
    with SubprocessExecutor(workers=1) as made:
        with pytest.raises(SettingError, match="lane=2"):
            made.run([job("def f(): return 1", lane=2)])
        with pytest.raises(SettingError, match="timeout_s"):
            made.run([job("def f(): return 1", limits=Limits(timeout_s=0))])


def test_needs_posix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreter, "os", type("os", (), {"name": "nt"}))
    with pytest.raises(ExecutorUnavailableError, match="monty"):
        SubprocessExecutor()
