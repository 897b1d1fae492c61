"""The level ``subprocess``: a clean interpreter for every program, where the kernel gives no namespaces.

Contained: time, memory, output and exits of a program; forged results; what it leaves in its own interpreter. **Not
contained**: the program is an ordinary process of the user who runs this one. It may read, empty and delete the files
of that user, open connections, signal and trace processes of that user, this one included, and leave behind a process
that went into a session of its own. Use it for programs that you would run yourself, or inside a container or a
virtual machine that holds nothing of worth.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final

from azr_env import wire
from azr_env.errors import ExecutorClosedError, ExecutorUnavailableError, SettingError
from azr_env.executors.zygote import frames, reports
from azr_env.executors.zygote.load import Load
from azr_env.types import Job, Outcome, OutcomeStatus

LEVEL: Final = "subprocess"
TRIES: Final = 3
"""How often a job is run when no interpreter can be started; then its outcome is ``infra``."""
START_S: Final = 60.0
"""Longest time until an interpreter has started, on a machine under heavy load; a program's own time begins then."""
_REVISION = 1  # part of the fingerprint: raise it when the same job may come out differently
_SCRIPT = Path(__file__).with_name("interpreter_child.py")
_CHILD = Path(frames.__file__).with_name("child.py")  # not imported here: it needs POSIX
_READ = 1 << 16


class SubprocessExecutor:
    """Runs every program in a new interpreter. POSIX, and chosen by name only. Thread-safe.

    The interpreter gets an empty environment, no site packages, a session of its own, an empty folder that is removed
    afterwards, and limits on processor time, memory, processes and file sizes. When its time is up, or its results are
    in, its process group is killed.

    Args:
        workers: interpreters at a time, >= 1; None means one per core.
    """

    def __init__(self, workers: int | None = None) -> None:
        if os.name != "posix":
            raise ExecutorUnavailableError(
                f"executor level {LEVEL!r} needs a POSIX system, and this is {os.name!r}: it limits programs by "
                "rlimits and ends them by process groups. Ways out: executor='monty', which runs on any system"
            )
        if workers is not None and workers < 1:
            raise SettingError(f"workers={workers} must be at least 1, or None for one per core")
        self._workers = workers or os.cpu_count() or 1
        self._closed = False

    @property
    def level(self) -> str:
        """``subprocess``."""
        return LEVEL

    @property
    def authority(self) -> SubprocessExecutor:
        """Itself: whoever chose this level by name takes its word."""
        return self

    @property
    def fingerprint(self) -> str:
        """Interpreter, system and revision of the executor."""
        version = ".".join(map(str, sys.version_info[:3]))
        return f"{LEVEL}-{_REVISION}/{sys.implementation.name}-{version}/{sys.platform}"

    def layers(self) -> dict[str, str]:
        """What keeps a program in, and what does not."""
        return {
            "process": "own session, killed with its group",
            "interpreter": "new, isolated from site packages and environment",
            "rlimits": "CPU AS NPROC FSIZE NOFILE CORE",
            "files": "NOT contained: those of the user",
            "network": "NOT contained",
            "processes": "NOT contained: those of the user, and new sessions",
        }

    def run(self, jobs: Sequence[Job]) -> list[list[Outcome]]:
        """One list of outcomes per job, one outcome per call, in order. Never raises for what a program does.

        Equal jobs of one batch run once and share their outcomes.

        Raises:
            ExecutorClosedError: after :meth:`close`.
            SettingError: limits or a lane that cannot work.
        """
        if self._closed:
            raise ExecutorClosedError("this SubprocessExecutor was closed; make a new one")
        for job in jobs:
            _check(job)
        wanted = [job for job in dict.fromkeys(jobs) if job.calls]
        with ThreadPoolExecutor(self._workers) as threads:
            found = dict(zip(wanted, threads.map(_run, wanted), strict=True))
        return [list(found.get(job, ())) for job in jobs]

    def close(self) -> None:
        """Refuses further runs; between runs there is no process. Idempotent."""
        self._closed = True

    def __enter__(self) -> SubprocessExecutor:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _check(job: Job) -> None:
    if job.lane not in (0, 1):
        raise SettingError(f"lane={job.lane} does not exist; lanes are 0 and 1")
    if not 0 < job.limits.timeout_s <= 86_400 or job.limits.memory_mib < 64 or job.limits.output_kib < 1:
        raise SettingError(
            f"{job.limits}: timeout_s must be above 0 and at most 86400, memory_mib at least 64, output_kib at least 1"
        )


def _run(job: Job) -> list[Outcome]:
    """The outcomes of a job; ``infra`` when no interpreter can be had."""
    reason = ""
    for _ in range(TRIES):
        folder = tempfile.mkdtemp(prefix="azr-")
        try:
            found = reports.outcomes(Load((job,)), *_attempt(job, folder))
            return [replace(outcome, level=LEVEL) for outcome in found]
        except (OSError, reports.OurFault) as exc:
            reason = str(exc)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return [Outcome(OutcomeStatus.INFRA, detail=reason, level=LEVEL)] * len(job.calls)


def _attempt(job: Job, folder: str) -> tuple[int, int, bytes]:
    """Runs a job in an interpreter. Gives the ending, the wait status and what was written."""
    results, results_in = os.pipe()
    try:
        # Not -I: it would make the interpreter ignore PYTHONHASHSEED, by which the lanes differ.
        paths = [str(_SCRIPT), str(_CHILD), frames.__file__, wire.__file__]
        process = subprocess.Popen(
            [sys.executable, "-s", "-P", "-S", "-B", "-Wignore", *paths, str(results_in)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={"PYTHONHASHSEED": str(job.lane + 1)},
            pass_fds=[results_in],
            start_new_session=True,
        )
        os.close(results_in)
        results_in = -1
        try:
            _send(process, job)
            ending, body = _collect(results, job)
        finally:
            status = _end(process)
    finally:
        os.close(results)
        if results_in >= 0:
            os.close(results_in)
    if ending == frames.FINISHED and status & 0x7F == signal.SIGKILL:
        ending = frames.CLOSED  # here a program can kill itself, so a kill is never somebody else's fault
    return ending, status, body


def _send(process: subprocess.Popen[bytes], job: Job) -> None:
    """Writes the job to the interpreter, which reads all of it before it runs anything."""
    limits, body = job.limits, frames.pack_programs([(job.program, job.calls)])
    numbers = limits.timeout_s, limits.memory_mib, limits.output_kib * 1024, len(job.calls), 1
    stdin = process.stdin
    if stdin is not None:
        with stdin:
            stdin.write(frames.REQUEST.pack(len(body), 0, *numbers, frames.ANY_CORE) + body)


def _collect(results: int, job: Job) -> tuple[int, bytes]:
    """Reads results until their end is closed, the time is up, or there are more than there can be."""
    body = bytearray()
    most = frames.most_bytes(len(job.calls), job.limits.output_kib * 1024)
    poll = select.poll()
    poll.register(results, select.POLLIN)
    deadline = time.monotonic() + START_S
    started = False
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000 + 1):
            return frames.DEADLINE, bytes(body)
        data = os.read(results, _READ)
        if not data:
            return frames.FINISHED, bytes(body)
        if not started:
            started, deadline = True, time.monotonic() + job.limits.timeout_s
        body += data
        if len(body) > most:
            return frames.OVERFLOW, bytes(body)


def _end(process: subprocess.Popen[bytes]) -> int:
    """Kills the process group and gives the wait status of its leader."""
    try:
        os.killpg(process.pid, signal.SIGKILL)  # not yet waited for, so the number is still its own
    except (ProcessLookupError, PermissionError):
        process.kill()
    code = process.wait()
    return -code if code < 0 else code << 8
