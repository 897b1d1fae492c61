"""Executors that say what a test tells them: real implementations of the plug-in surface, nothing is patched."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from azr_env.types import Job, Outcome, OutcomeStatus

INFRA = Outcome(OutcomeStatus.INFRA, detail="the server died twice", level="scripted")


class ScriptedExecutor:
    """Answers every call with what ``script`` says of it, and keeps the jobs it was given."""

    level = "scripted"
    fingerprint = "scripted"

    def __init__(self, script: Callable[[Job, str], Outcome]) -> None:
        self._script = script
        self.jobs: list[Job] = []

    def run(self, jobs: Sequence[Job]) -> list[list[Outcome]]:
        self.jobs += jobs
        return [[self._script(job, call) for call in job.calls] for job in jobs]

    def close(self) -> None:
        pass


def failing() -> ScriptedExecutor:
    """An executor whose machinery always fails."""
    return ScriptedExecutor(lambda job, call: INFRA)
