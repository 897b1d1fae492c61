"""What one child runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from azr_env.types import Job, Limits

SHARED_S: Final = 1.0
"""Longest time that jobs in one child have together. What is not done by then is run again, alone."""


@dataclass(frozen=True, slots=True)
class Load:
    """One job; or several jobs of plain programs, alike in limits and lane, one after the other in one child."""

    jobs: tuple[Job, ...]

    @property
    def limits(self) -> Limits:
        """Those of every job."""
        return self.jobs[0].limits

    @property
    def lane(self) -> int:
        """That of every job."""
        return self.jobs[0].lane

    @property
    def calls(self) -> int:
        """How many calls all jobs make."""
        return sum(len(job.calls) for job in self.jobs)

    @property
    def timeout_s(self) -> float:
        """Wall-clock seconds for all jobs together."""
        timeout_s = self.limits.timeout_s
        return timeout_s if len(self.jobs) == 1 else min(timeout_s, SHARED_S)
