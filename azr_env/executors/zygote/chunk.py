"""The level ``zygote-chunk``: plain programs share a fork, and the strict level has the last word."""

from __future__ import annotations

import hashlib
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final

from azr_env.errors import SettingError
from azr_env.executors.zygote.cache import OutcomeCache
from azr_env.executors.zygote.client import TOGETHER, ZygoteExecutor
from azr_env.executors.zygote.load import Load
from azr_env.executors.zygote.plain import plain
from azr_env.types import Job, Limits, Outcome, OutcomeStatus

LEVEL: Final = "zygote-chunk"
SAMPLED: Final = 1 / 64
"""Share of the jobs settled in a chunk that are run strictly too."""
_REVISION = 1  # part of the fingerprint: raise it when the same job may come out differently
_FEWEST = 4  # smaller chunks save nothing worth having


@dataclass(frozen=True, slots=True)
class ChunkStats:
    """Counts since the executor was made.

    Attributes:
        forks: processes that ran jobs, chunks and strict ones.
        calls: calls asked for, cached ones included.
        cache_hits: jobs that were answered without running.
        retries: processes run again because a server died.
        chunked: jobs settled in a chunk.
        strict: jobs settled alone: not plain, or not settled by their chunk.
        sampled: jobs settled in a chunk that were run strictly too.
        disagreements: sampled jobs of which the chunk said another thing. Anything but 0 is a defect: report it.
    """

    forks: int = 0
    calls: int = 0
    cache_hits: int = 0
    retries: int = 0
    chunked: int = 0
    strict: int = 0
    sampled: int = 0
    disagreements: int = 0


class ZygoteChunkExecutor:
    """Runs plain programs 16 to a fork, and every other in a fork of its own. Linux only. Thread-safe and fork-safe.

    The sandbox is that of ``zygote``. What is weaker: plain programs (:mod:`azr_env.executors.zygote.plain`) share a
    process, one after the other. So nothing here earns a reward by itself: see :attr:`authority`. What a chunk does not
    end with a value or an exception is run again strictly, a sample of the rest too, and where they differ
    the strict outcome wins, for the whole chunk, with a warning.

    Args:
        workers: servers per lane, >= 1; None means one per core that this process may use.
        cache_size: most jobs whose outcomes are kept, >= 0, at each of the two levels; 0 switches the caches off.
        sampled: share of the jobs settled in chunks that are run strictly too, 0 to 1.
        seed: decides which; by a job's text, so that neither order nor company matters.
    """

    def __init__(
        self, workers: int | None = None, cache_size: int = 4096, sampled: float = SAMPLED, seed: int = 0
    ) -> None:
        if not 0 <= sampled <= 1:
            raise SettingError(f"sampled={sampled} must be 0 to 1: the share of jobs to run strictly too")
        self._strict = ZygoteExecutor(workers, cache_size)
        self._cache_size = cache_size
        self._below = int(sampled * (1 << 64))
        self._key = hashlib.sha256(str(seed).encode()).digest()
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._cache = OutcomeCache(self._cache_size)
        self._stats = ChunkStats()

    @property
    def level(self) -> str:
        """``zygote-chunk``."""
        return LEVEL

    @property
    def authority(self) -> ZygoteExecutor:
        """The strict executor, on the same servers: it is to be asked again about what earns a reward."""
        return self._strict

    @property
    def fingerprint(self) -> str:
        """Level, and the fingerprint of the strict executor."""
        return f"{LEVEL}-{_REVISION}/{self._strict.fingerprint}"

    @property
    def stats(self) -> ChunkStats:
        """Counts so far; ``forks`` and ``retries`` include what the authority was asked directly."""
        own = self._strict.stats
        return replace(self._stats, forks=own.forks, retries=own.retries)

    def layers(self) -> dict[str, str]:
        """Each isolation layer and how it is in force, as :meth:`ZygoteExecutor.layers`."""
        return self._strict.layers()

    def run(self, jobs: Sequence[Job]) -> list[list[Outcome]]:
        """One list of outcomes per job, one outcome per call, in order. Never raises for what a program does.

        Raises:
            ExecutorUnavailableError: the first server cannot start.
            ExecutorClosedError: after :meth:`close`.
            SettingError: limits or a lane that cannot work.
        """
        self._strict.check(jobs)
        if os.getpid() != self._pid:  # a forked copy of the host: the lock may be held for ever
            self._begin()
        known = {job: self._cache.recall(job) if job.calls else [] for job in jobs}
        wanted = [job for job, outcomes in known.items() if outcomes is None]
        found = self._run_wanted(wanted)
        for job, outcomes in found.items():
            self._cache.remember(job, outcomes)
        hits = sum(1 for job in jobs if job.calls) - len(wanted)
        self._add(calls=sum(len(job.calls) for job in jobs), cache_hits=hits)
        return [list(found.get(job) or known[job] or ()) for job in jobs]

    def close(self) -> None:
        """Ends every process. Idempotent. Waits for batches that other threads are running."""
        self._strict.close()

    def __enter__(self) -> ZygoteChunkExecutor:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _run_wanted(self, jobs: list[Job]) -> dict[Job, list[Outcome]]:
        """Outcomes by job: first the chunks, then in one strict batch what they left and the sample."""
        alone: list[Job] = []
        said: dict[Job, list[Outcome]] = {}
        chunks: dict[Job, Load] = {}
        for ticket in self._strict.run_loads(self._chunks(jobs, alone), jobs):
            for job, outcomes in ticket.settled():
                if outcomes is None:
                    alone.append(job)
                else:
                    said[job] = [replace(outcome, level=LEVEL) for outcome in outcomes]
                    chunks[job] = ticket.load
        sample = [job for job in said if self._is_sampled(job)]
        strict = dict(zip(alone + sample, self._strict.run(alone + sample), strict=True))
        doubted = [job for job in sample if not _agree(said[job], strict[job])]
        if doubted:
            self._warn(doubted[0], said[doubted[0]], strict[doubted[0]], len(doubted))
            again = [other for job in doubted for other in chunks[job].jobs if other not in strict]
            strict.update(zip(again, self._strict.run(again), strict=True))
        self._add(
            chunked=len(said.keys() - strict.keys()) + len(sample) - len(doubted),
            strict=len(strict) - len(sample) + len(doubted),
            sampled=len(sample),
            disagreements=len(doubted),
        )
        return said | strict

    def _chunks(self, jobs: list[Job], alone: list[Job]) -> Iterator[Load]:
        """Loads of plain jobs. What is not plain is added to ``alone`` on the way."""
        size = min(TOGETHER, max(_FEWEST, -(-len(jobs) // self._strict.workers)))
        gathered: dict[tuple[Limits, int], list[Job]] = {}
        for job in jobs:
            if not plain(job.program):
                alone.append(job)
                continue
            chunk = gathered.setdefault((job.limits, job.lane), [])
            chunk.append(job)
            if len(chunk) == size:
                yield Load(tuple(chunk))
                chunk.clear()
        for chunk in gathered.values():
            if len(chunk) > 1:
                yield Load(tuple(chunk))
            else:
                alone += chunk

    def _is_sampled(self, job: Job) -> bool:
        digest = hashlib.blake2b(job.program.encode("utf-8", "surrogatepass"), digest_size=8, key=self._key)
        for call in job.calls:
            digest.update(call.encode("utf-8", "surrogatepass"))
        return int.from_bytes(digest.digest()) < self._below

    def _warn(self, job: Job, said: list[Outcome], strict: list[Outcome], count: int) -> None:
        warnings.warn(
            f"zygote-chunk disagreed with zygote on {count} sampled jobs, and the strict outcomes are used. This is a "
            f"defect of the gate, or a program that is not deterministic: please report {job.program!r}, called with "
            f"{job.calls!r}: {said!r} in the chunk, {strict!r} alone",
            RuntimeWarning,
            stacklevel=5,
        )

    def _add(self, **counts: int) -> None:
        with self._lock:
            old = self._stats
            self._stats = replace(old, **{name: getattr(old, name) + count for name, count in counts.items()})


def _agree(said: list[Outcome], strict: list[Outcome]) -> bool:
    """Whether both tell the same. A reason may differ: it may hold the address of an object."""
    if any(outcome.status is OutcomeStatus.INFRA for outcome in strict):
        return True  # there is nothing to compare with
    return [(a.status, a.value) for a in said] == [(b.status, b.value) for b in strict]
