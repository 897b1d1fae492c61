"""The executor as the rest of the package sees it: a pool of servers, a cache, and one loop that feeds them."""

from __future__ import annotations

import os
import platform
import sys
import threading
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final

from azr_env.errors import ExecutorClosedError, SettingError
from azr_env.executors.zygote.dispatch import Slot, Ticket, dispatch
from azr_env.executors.zygote.reports import LEVEL
from azr_env.types import Job, Outcome, OutcomeStatus

LANES: Final = 2
CACHED_CHARS: Final = 16_384
"""A job with more text than this, program, calls and values together, is not cached."""
_REVISION = 1  # part of the fingerprint: raise it when the same job may come out differently
_DETERMINISTIC = {OutcomeStatus.OK, OutcomeStatus.RAISED, OutcomeStatus.UNSUPPORTED}


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts since the executor was made.

    Attributes:
        forks: jobs that were run in a process of their own.
        calls: calls asked for, cached ones included.
        cache_hits: jobs that were answered without running.
        retries: jobs run again because a server died.
    """

    forks: int = 0
    calls: int = 0
    cache_hits: int = 0
    retries: int = 0


class ZygoteExecutor:
    """Runs every job in a fork of a locked, clean interpreter. Linux only. Thread-safe and fork-safe.

    Servers start when first needed: lane 0 with the first job, lane 1 with the first job of that lane. A forked copy
    of the host starts servers of its own.

    Args:
        workers: servers per lane, >= 1; None means one per core that this process may use.
        cache_size: most jobs whose outcomes are kept, >= 0; 0 switches the cache off.
    """

    def __init__(self, workers: int | None = None, cache_size: int = 4096) -> None:
        if workers is not None and workers < 1:
            raise SettingError(f"workers={workers} must be at least 1, or None for one per core")
        if cache_size < 0:
            raise SettingError(f"cache_size={cache_size} must be at least 0; 0 switches the cache off")
        self._workers = workers or (len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1)
        self._cache_size = cache_size
        self._simulate_missing: str | None = None  # for tests: the name of a layer that is to fail
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._closed = False
        self._slots = [Slot(lane) for lane in range(LANES) for _ in range(self._workers)]
        self._idle = list(self._slots)
        self._free = threading.Condition()
        self._cache: OrderedDict[Job, list[Outcome]] = OrderedDict()
        self._stats = Stats()
        self._finalizer = weakref.finalize(self, _end, self._slots, self._pid)

    @property
    def level(self) -> str:
        """``zygote``."""
        return LEVEL

    @property
    def fingerprint(self) -> str:
        """Interpreter, machine and revision of the executor."""
        version = ".".join(map(str, sys.version_info[:3]))
        return f"{LEVEL}-{_REVISION}/{sys.implementation.name}-{version}/{platform.machine()}"

    @property
    def stats(self) -> Stats:
        """Counts so far."""
        return self._stats

    def layers(self) -> dict[str, str]:
        """Each isolation layer and how it is in force; starts a server if none runs. A missing layer raises.

        Raises:
            ExecutorUnavailableError: a layer is missing on this machine.
            ExecutorClosedError: after :meth:`close`.
        """
        slots = self._acquire({0: 1})
        try:
            return dict(slots[0].started(self._simulate_missing).greet())
        finally:
            self._release(slots)

    def run(self, jobs: Sequence[Job], *, fresh: bool = False) -> list[list[Outcome]]:
        """One list of outcomes per job, one outcome per call, in order. Never raises for what a program does.

        Equal jobs of one batch run once and share their outcomes; a job with the same call twice makes it twice.

        Args:
            jobs: any number.
            fresh: run every job, equal ones too, and leave the cache alone.

        Raises:
            ExecutorUnavailableError: the first server cannot start.
            ExecutorClosedError: after :meth:`close`.
            SettingError: limits or a lane that cannot work.
        """
        self._check_open()
        for job in jobs:
            _check(job)
        results: list[list[Outcome] | None] = [None] * len(jobs)
        wanted: dict[Job, list[int]] = {}
        tickets: list[Ticket] = []
        for index, job in enumerate(jobs):
            if not job.calls:
                results[index] = []
            elif fresh or not self._recall(job, index, results):
                if not fresh and job in wanted:
                    wanted[job].append(index)
                    continue
                wanted[job] = [index]
                tickets.append(Ticket(job, wanted[job]))
        retries = self._run(tickets)
        for ticket in tickets:
            for index in ticket.indices:
                results[index] = list(ticket.outcomes)
            if not fresh:
                self._remember(ticket)
        self._count(jobs, tickets, retries)
        return [result if result is not None else [] for result in results]

    def close(self) -> None:
        """Ends every process. Idempotent. Waits for batches that other threads are running."""
        if os.getpid() != self._pid:
            self._forget()
        with self._free:
            self._closed = True
            self._free.wait_for(lambda: len(self._idle) == len(self._slots))
        self._finalizer()

    def __enter__(self) -> ZygoteExecutor:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _check_open(self) -> None:
        if os.getpid() != self._pid:
            self._forget()
        if self._closed:
            raise ExecutorClosedError("this ZygoteExecutor was closed; make a new one")

    def _forget(self) -> None:
        """This is a forked copy of the host: the servers, and a lock that may be held for ever, are the parent's."""
        closed = self._closed
        self._finalizer.detach()
        for slot in self._slots:
            if slot.server:
                slot.server.forget()
        self._begin()
        self._closed = closed

    def _run(self, tickets: list[Ticket]) -> int:
        """Runs every ticket. Gives the number of retries."""
        if not tickets:
            return 0
        needed = {lane: sum(ticket.job.lane == lane for ticket in tickets) for lane in range(LANES)}
        slots = self._acquire({lane: count for lane, count in needed.items() if count})
        try:
            return dispatch(tickets, slots, self._simulate_missing)
        finally:
            self._release(slots)

    def _acquire(self, needed: dict[int, int]) -> list[Slot]:
        """Up to ``needed`` idle slots per lane, at least one of each, warm ones first."""
        self._check_open()
        with self._free:
            self._free.wait_for(lambda: self._closed or all(any(s.lane == lane for s in self._idle) for lane in needed))
            if self._closed:
                raise ExecutorClosedError("this ZygoteExecutor was closed; make a new one")
            taken: list[Slot] = []
            for lane, count in needed.items():
                idle = sorted((s for s in self._idle if s.lane == lane), key=lambda slot: slot.server is None)
                taken += idle[:count]
            self._idle = [slot for slot in self._idle if slot not in taken]
            return taken

    def _release(self, slots: list[Slot]) -> None:
        with self._free:
            self._idle += slots
            self._free.notify_all()

    def _recall(self, job: Job, index: int, results: list[list[Outcome] | None]) -> bool:
        with self._free:
            known = self._cache.get(job)
            if known is None:
                return False
            self._cache.move_to_end(job)
            results[index] = list(known)
            return True

    def _remember(self, ticket: Ticket) -> None:
        outcomes = ticket.outcomes
        size = len(ticket.job.program) + sum(map(len, ticket.job.calls)) + sum(len(o.value) for o in outcomes)
        if size > CACHED_CHARS or any(outcome.status not in _DETERMINISTIC for outcome in outcomes):
            return
        with self._free:
            self._cache[ticket.job] = outcomes
            while len(self._cache) > self._cache_size:
                self._cache.popitem(last=False)

    def _count(self, jobs: Sequence[Job], tickets: list[Ticket], retries: int) -> None:
        asked = sum(1 for job in jobs if job.calls)
        with self._free:
            old = self._stats
            self._stats = replace(
                old,
                forks=old.forks + len(tickets) + retries,
                calls=old.calls + sum(len(job.calls) for job in jobs),
                cache_hits=old.cache_hits + asked - len(tickets),
                retries=old.retries + retries,
            )


def _check(job: Job) -> None:
    limits = job.limits
    if job.lane not in range(LANES):
        raise SettingError(f"lane={job.lane} does not exist; lanes are 0 and 1")
    if not 0 < limits.timeout_s <= 86_400:
        raise SettingError(f"timeout_s={limits.timeout_s} must be above 0 and at most 86400")
    if not 64 <= limits.memory_mib <= 1 << 20:
        raise SettingError(f"memory_mib={limits.memory_mib} must be 64 to {1 << 20}: the interpreter needs some itself")
    if not 1 <= limits.output_kib <= 1 << 16:
        raise SettingError(f"output_kib={limits.output_kib} must be 1 to {1 << 16}")


def _end(slots: list[Slot], pid: int) -> None:
    if os.getpid() == pid:
        for slot in slots:
            slot.stop()
