"""The executor as the rest of the package sees it: a pool of servers, a cache, and one loop that feeds them."""

from __future__ import annotations

import os
import platform
import sys
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final

from azr_env.errors import ExecutorClosedError, SettingError
from azr_env.executors.zygote import frames
from azr_env.executors.zygote.cache import OutcomeCache
from azr_env.executors.zygote.dispatch import Slot, Ticket, dispatch, greet
from azr_env.executors.zygote.load import Load
from azr_env.executors.zygote.plain import plain
from azr_env.executors.zygote.reports import LEVEL
from azr_env.types import Job, Limits, Outcome

LANES: Final = 2
TOGETHER: Final = 16
"""Most jobs that share a process."""
_REVISION = 2  # part of the fingerprint: raise it when the same job may come out differently


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts since the executor was made.

    Attributes:
        forks: processes that ran jobs.
        calls: calls asked for, cached ones included.
        cache_hits: jobs that were answered without running.
        retries: processes run again because a server died.
        shared: jobs that were first run in a process with others.
    """

    forks: int = 0
    calls: int = 0
    cache_hits: int = 0
    retries: int = 0
    shared: int = 0


class ZygoteExecutor:
    """Runs every program in a fork of a locked, clean interpreter. Linux only. Thread-safe and fork-safe.

    Jobs of one batch with the same plain program (:mod:`azr_env.executors.zygote.plain`) share a fork: many answers to
    one task. A job that does not end well there, and each behind it, is run again in a fork of its own.

    Servers start when first needed: lane 0 with the first job, lane 1 with the first job of that lane. A forked copy
    of the host starts servers of its own.

    Args:
        workers: servers per lane, >= 1; None means one per core that this process may use; the processes of one
            training run on a machine (``LOCAL_WORLD_SIZE``, as torchrun and accelerate set it) share the cores.
        cache_size: most jobs whose outcomes are kept, >= 0; 0 switches the cache off.
    """

    def __init__(self, workers: int | None = None, cache_size: int = 4096) -> None:
        if workers is not None and workers < 1:
            raise SettingError(f"workers={workers} must be at least 1, or None for one per core")
        if cache_size < 0:
            raise SettingError(f"cache_size={cache_size} must be at least 0; 0 switches the cache off")
        self._workers = workers or _share(len(_cores()))
        self._cache_size = cache_size
        self._simulate_missing: str | None = None  # for tests: the name of a layer that is to fail
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._closed = False
        self._slots = [Slot(lane) for lane in range(LANES) for _ in range(self._workers)]
        self._idle = list(self._slots)
        self._free = threading.Condition()
        self._cache = OutcomeCache(self._cache_size)
        self._stats = Stats()
        self._finalizer = weakref.finalize(self, _end, self._slots, self._pid)

    @property
    def level(self) -> str:
        """``zygote``."""
        return LEVEL

    @property
    def authority(self) -> ZygoteExecutor:
        """Itself."""
        return self

    @property
    def fingerprint(self) -> str:
        """Interpreter, machine and revision of the executor."""
        version = ".".join(map(str, sys.version_info[:3]))
        return f"{LEVEL}-{_REVISION}/{sys.implementation.name}-{version}/{platform.machine()}"

    @property
    def workers(self) -> int:
        """Servers per lane."""
        return self._workers

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
            return dict(greet(slots[0], self._simulate_missing))
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
        self.check(jobs)
        if fresh:
            asked = [job for job in jobs if job.calls]
            tickets = iter(self.run_loads([Load((job,)) for job in asked], asked))
            self._count(jobs, hits=0)
            return [next(tickets).outcomes if job.calls else [] for job in jobs]
        known = {job: self._cache.recall(job) if job.calls else [] for job in jobs}
        wanted = [job for job, outcomes in known.items() if outcomes is None]
        found = self._run_wanted(wanted)
        for job, outcomes in found.items():
            self._cache.remember(job, outcomes)
        self._count(jobs, hits=sum(1 for job in jobs if job.calls) - len(wanted))
        return [list(found.get(job) or known[job] or ()) for job in jobs]

    def check(self, jobs: Sequence[Job]) -> None:
        """Raises what :meth:`run` would raise before it runs anything: closed, or a job that cannot work."""
        self._check_open()
        for job in jobs:
            _check(job)

    def run_loads(self, loads: Iterable[Load], jobs: Sequence[Job]) -> list[Ticket]:
        """Runs loads, without the cache. Gives a ticket with its outcomes for each, in order.

        Args:
            loads: drawn as servers get free.
            jobs: all jobs of the loads.
        """
        needed = {lane: sum(job.lane == lane for job in jobs) for lane in range(LANES)}
        if not any(needed.values()):
            return []
        tickets: list[Ticket] = []

        def draw() -> Iterator[Ticket]:
            for load in loads:
                tickets.append(Ticket(load))
                yield tickets[-1]

        slots = self._acquire({lane: count for lane, count in needed.items() if count})
        try:
            _place(slots)
            retries = dispatch(draw(), slots, self._simulate_missing)
        finally:
            self._release(slots)
        shared = sum(len(ticket.load.jobs) for ticket in tickets if len(ticket.load.jobs) > 1)
        self._add(forks=len(tickets) + retries, retries=retries, shared=shared)
        return tickets

    def _run_wanted(self, jobs: list[Job]) -> dict[Job, list[Outcome]]:
        """Outcomes by job: answers to one plain program together, and alone what did not end well there."""
        found: dict[Job, list[Outcome]] = {}
        again: list[Job] = []
        for ticket in self.run_loads(_by_program(jobs), jobs):
            for job, outcomes in ticket.settled():
                if outcomes is None:
                    again.append(job)
                else:
                    found[job] = outcomes
        for ticket in self.run_loads([Load((job,)) for job in again], again):
            found[ticket.load.jobs[0]] = ticket.outcomes
        return found

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

    def _count(self, jobs: Sequence[Job], hits: int) -> None:
        self._add(calls=sum(len(job.calls) for job in jobs), cache_hits=hits)

    def _add(self, **counts: int) -> None:
        with self._free:
            old = self._stats
            self._stats = replace(old, **{name: getattr(old, name) + count for name, count in counts.items()})


def _cores() -> list[int]:
    """The cores that this process may use, by number."""
    return sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else [0]


def _place(slots: list[Slot]) -> None:
    """Gives each server of a batch a core of its own where there is one server to every core, and else none.

    A child then finds its memory in the caches, and its end wakes no other core. With fewer servers than cores the
    system had better choose: other processes may run theirs.
    """
    cores = _cores()
    for lane in range(LANES):
        ours = [slot for slot in slots if slot.lane == lane]
        own = cores if len(ours) == len(cores) else [frames.ANY_CORE] * len(ours)
        for slot, core in zip(ours, own, strict=True):
            slot.core = core


def _share(cores: int) -> int:
    """This process's part of the cores, at least one."""
    sharing = os.environ.get("LOCAL_WORLD_SIZE", "")
    return max(1, cores // int(sharing)) if sharing.isdecimal() and int(sharing) else cores


def _by_program(jobs: Sequence[Job]) -> Iterator[Load]:
    """Each job alone, but for those with one plain program."""
    groups: dict[tuple[str, Limits, int], list[Job]] = {}
    for job in jobs:
        groups.setdefault((job.program, job.limits, job.lane), []).append(job)
    for (program, _, _), group in groups.items():
        size = TOGETHER if len(group) > 1 and plain(program) else 1
        for at in range(0, len(group), size):
            yield Load(tuple(group[at : at + size]))


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
