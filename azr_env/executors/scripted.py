"""A public test double: outcomes that are written down instead of computed. Runs nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from azr_env.errors import ExecutorClosedError
from azr_env.types import Job, Outcome, OutcomeStatus

Answer = Callable[[str, str, int], Outcome]
"""(program, call text, lane) -> outcome."""


class ScriptedExecutor:
    """Answers from a table or a function, and records the jobs it was given.

    >>> from azr_env.types import Job, Outcome, OutcomeStatus
    >>> double = ScriptedExecutor({("def f(x): ...", "(i1;)"): Outcome(OutcomeStatus.OK, "i2;")})
    >>> double.run([Job("def f(x): ...", ("(i1;)",))])[0][0].value
    'i2;'

    Args:
        answers: a table by (program, call text), or a function. What the table lacks is ``default``.
        default: outcome of a call that the table lacks; None means ``infra``, naming the call.
    """

    def __init__(self, answers: Mapping[tuple[str, str], Outcome] | Answer, default: Outcome | None = None) -> None:
        self._answers = answers
        self._default = default
        self._closed = False
        self.jobs: list[Job] = []
        """Every job so far, in the order given."""

    @property
    def level(self) -> str:
        """``scripted``."""
        return "scripted"

    @property
    def authority(self) -> ScriptedExecutor:
        """Itself."""
        return self

    @property
    def fingerprint(self) -> str:
        """``scripted``."""
        return "scripted"

    def run(self, jobs: Sequence[Job]) -> list[list[Outcome]]:
        """One list of outcomes per job, one outcome per call, in order.

        Raises:
            ExecutorClosedError: after :meth:`close`.
        """
        if self._closed:
            raise ExecutorClosedError("this ScriptedExecutor was closed; make a new one")
        self.jobs += jobs
        return [[self._outcome(job, call) for call in job.calls] for job in jobs]

    def close(self) -> None:
        """Refuses further runs. Idempotent."""
        self._closed = True

    def _outcome(self, job: Job, call: str) -> Outcome:
        if callable(self._answers):
            outcome = self._answers(job.program, call, job.lane)
        else:
            unknown = Outcome(OutcomeStatus.INFRA, detail=f"no scripted answer for {(job.program, call)!r}")
            outcome = self._answers.get((job.program, call), self._default or unknown)
        return outcome if outcome.level else replace(outcome, level=self.level)
