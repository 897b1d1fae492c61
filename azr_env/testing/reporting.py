"""What ``azr check`` hears from pytest: each check of the kit, its cases, and in words why one failed (floor 7)."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import pytest

_MOST = 1_500


@dataclass(slots=True)
class Check:
    """One check of the kit: a test function with all its cases.

    Attributes:
        name: of the test function.
        cases: how many ran or were skipped.
        failures: each failed case, ``""`` for a check without cases, with the reason.
        skips: reasons of skipped cases.
    """

    name: str
    cases: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)
    skips: list[str] = field(default_factory=list)

    @property
    def words(self) -> str:
        """The name as words."""
        return self.name.removeprefix("test_").replace("_", " ")

    @property
    def status(self) -> str:
        """``failed`` if a case failed, ``skipped`` if all were skipped, else ``ok``."""
        if self.failures:
            return "failed"
        return "skipped" if self.cases and len(self.skips) == self.cases else "ok"

    def as_data(self) -> dict[str, Any]:
        """The check as JSON holds it."""
        failures = [{"case": case, "reason": reason} for case, reason in self.failures]
        told = {"check": self.name, "status": self.status, "cases": self.cases}
        return {**told, "failures": failures, "skipped": self.skips[:1]}


class Reporter:
    """A pytest plug-in that gathers cases into checks.

    Args:
        told: called with each check as soon as it is done.
    """

    def __init__(self, told: Callable[[Check], None]) -> None:
        self._told = told
        self._checks: list[Check] = []
        self._reasons: dict[str, str] = {}
        self.trouble = ""
        """Why pytest could not begin, if it could not."""

    def finished(self) -> list[Check]:
        """Every check, in order."""
        return self._checks

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Keeps the reason of a failure in words, and not its traceback."""
        report = yield
        if report.failed and call.excinfo is not None:
            self._reasons.setdefault(item.nodeid, _words(call.excinfo))
        return report

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Notes why the checks could not be read."""
        if report.failed:
            self.trouble = str(report.longrepr).strip().splitlines()[-1]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Counts a case; one that fails before or after its call is a failure too."""
        name, _, case = report.nodeid.rpartition("::")[2].partition("[")
        if not self._checks or self._checks[-1].name != name:
            self._end()
            self._checks.append(Check(name))
        check = self._checks[-1]
        check.cases += report.when == "setup"
        if report.failed:
            check.failures.append((case.removesuffix("]"), self._reasons.get(report.nodeid, "no reason is known")))
        elif report.skipped:
            why = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            check.skips.append(why.removeprefix("Skipped: "))

    def pytest_sessionfinish(self) -> None:
        """Ends the last check."""
        self._end()

    def _end(self) -> None:
        if self._checks:
            self._told(self._checks[-1])


def _words(caught: pytest.ExceptionInfo[BaseException]) -> str:
    """The message of a failed check; of another exception also its type, where it was raised, and what was drawn."""
    error = caught.value
    if isinstance(error, BaseExceptionGroup):  # Hypothesis: what failed once did not fail again
        text = f"not every time, so something other than the text decides: {_one_line(_first(error))}"
    elif isinstance(error, AssertionError | pytest.fail.Exception) and str(error):
        text = _one_line(error)
    else:
        place = caught.traceback[-1]
        words = f"{type(error).__name__}: {_one_line(error)}".removesuffix(": ")
        text = f"{words} (raised at {place.path}:{place.lineno + 1}){_drawn(error)}"
    return text if len(text) <= _MOST else f"{text[:_MOST]} ..."


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _first(error: BaseException) -> BaseException:
    """The first exception of a group, which may be of groups."""
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


def _drawn(error: BaseException) -> str:
    """What Hypothesis drew for a call that failed, from its notes."""
    notes = "\n".join(getattr(error, "__notes__", ()))
    found = re.findall(r"^(?: +(?!data=)\w+=|Draw \d+(?: \([^)\n]*\))?: )(.*?),?(?:  # .*)?$", notes, re.M)
    return f", where these were drawn: {'; '.join(found)}" if found else ""
