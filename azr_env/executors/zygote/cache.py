"""Outcomes of earlier jobs, the latest used last. Safe to share between threads."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

from azr_env.types import Job, Outcome, OutcomeStatus

CACHED_CHARS: Final = 16_384
"""A job with more text than this, program, calls and values together, is not cached."""
_DETERMINISTIC = {OutcomeStatus.OK, OutcomeStatus.RAISED, OutcomeStatus.UNSUPPORTED}


class OutcomeCache:
    """Outcomes by job: by program, calls, limits and lane.

    Args:
        size: most jobs that are kept; 0 keeps none.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._known: OrderedDict[Job, list[Outcome]] = OrderedDict()
        self._lock = threading.Lock()

    def recall(self, job: Job) -> list[Outcome] | None:
        """A copy of what is known of the job."""
        with self._lock:
            known = self._known.get(job)
            if known is None:
                return None
            self._known.move_to_end(job)
            return list(known)

    def remember(self, job: Job, outcomes: list[Outcome]) -> None:
        """Keeps the outcomes, unless they are large or may be others next time."""
        size = len(job.program) + sum(map(len, job.calls)) + sum(len(outcome.value) for outcome in outcomes)
        if size > CACHED_CHARS or any(outcome.status not in _DETERMINISTIC for outcome in outcomes):
            return
        with self._lock:
            self._known[job] = list(outcomes)
            while len(self._known) > self._size:
                self._known.popitem(last=False)
