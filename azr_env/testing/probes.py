"""How the kit looks at a plug-in: fresh processes, guards, doubles that fail, executed lines (floor 7)."""

# ruff: noqa: NPY002 - looks at the global random state, which nothing else here may touch
from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from azr_env.executors.scripted import ScriptedExecutor
from azr_env.protocols import Domain
from azr_env.types import Claim, Outcome, OutcomeStatus, Status, Verdict

HASH_SEEDS = ("0", "31337")
"""Values of ``PYTHONHASHSEED`` under which a check is run again."""
WATCHDOG_S = 60.0
"""Far more than any check needs on a slow machine, and far less than a hang."""
_REPORT = "AZR_CONFORMANCE_REPORT"


def short(value: object, most: int = 120) -> str:
    """``repr(value)``, cut in the middle where it is long."""
    try:
        text = ascii(value)
    except ValueError:  # an integer of over 4,300 digits has no decimal text
        text = f"a {type(value).__name__} without a text"
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 3 :]} ({len(text)} characters)"


def examples(share: float = 1.0) -> settings:
    """The Hypothesis settings in force, without deadlines, ``share`` of their examples; one failure a check."""
    return settings(
        report_multiple_bugs=False,
        deadline=None,
        max_examples=max(10, int(settings().max_examples * share)),
        suppress_health_check=list(HealthCheck),
    )


def elsewhere(request: pytest.FixtureRequest, found: Any) -> Iterator[tuple[str, Any]]:
    """What the running check finds in fresh processes, each under another ``PYTHONHASHSEED``.

    Pytest runs the one check again, with the same fixtures, in every one of them.

    Args:
        found: what it found in this process, as data that JSON keeps as it is.

    Yields:
        The hash seed and what was found under it. Nothing in those other processes.
    """
    report = os.environ.get(_REPORT)
    if report is not None:
        Path(report).write_text(json.dumps(found), encoding="utf-8")
        return
    with tempfile.TemporaryDirectory() as folder:
        started = [(seed, Path(folder, seed), _again(request, seed, Path(folder, seed))) for seed in HASH_SEEDS]
        for seed, path, process in started:
            try:
                output, _ = process.communicate(timeout=2 * WATCHDOG_S)
            finally:
                process.kill()
            assert path.is_file(), (
                f"the check could not be run again in a fresh process under PYTHONHASHSEED={seed}, though it ran here: "
                f"do your fixtures depend on this process? Its output ends in:\n{output[-2000:]}"
            )
            yield seed, json.loads(path.read_text(encoding="utf-8"))


def _again(request: pytest.FixtureRequest, seed: str, report: Path) -> subprocess.Popen[str]:
    config = request.config
    node = f"{request.path}::{request.node.nodeid.partition('::')[2]}"
    command = [sys.executable, "-m", "pytest", "-q", "-o", "addopts=", "-p", "no:cacheprovider"]
    command += [f"--rootdir={config.rootpath}"] + ([f"--config-file={config.inipath}"] if config.inipath else [])
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    environment |= {"PYTHONHASHSEED": seed, _REPORT: str(report)}
    return subprocess.Popen(
        [*command, node],
        cwd=config.invocation_params.dir,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextmanager
def quiet_random_state(who: str) -> Iterator[None]:
    """Fails where the block changes the global state of ``random`` or of ``numpy.random``."""
    python, numpy = random.getstate(), np.random.get_state(legacy=False)
    yield
    assert random.getstate() == python, (
        f"{who} changed the global state of `random`: draw from a generator of your own, or from the one you are given"
    )
    now = np.random.get_state(legacy=False)
    assert repr(now) == repr(numpy), (
        f"{who} changed the global state of `numpy.random`: draw from a `numpy.random.Generator` of your own, or from "
        "the one you are given"
    )


@contextmanager
def global_seeds(seed: int) -> Iterator[None]:
    """``random`` and ``numpy.random`` seeded with ``seed`` inside the block, and as they were after it."""
    python, numpy = random.getstate(), np.random.get_state(legacy=False)
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


class _Late(BaseException):
    """No ``except Exception`` of a plug-in swallows it."""


@contextmanager
def watchdog(what: str, seconds: float = WATCHDOG_S) -> Iterator[None]:
    """Fails where the block takes longer than ``seconds``; without effect outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def bark(number: int, frame: FrameType | None) -> None:
        raise _Late

    old = signal.signal(signal.SIGALRM, bark)
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except _Late:
        raise AssertionError(f"{what} took over {seconds:g} s: bound the work that a text can cause") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, left, interval)
        signal.signal(signal.SIGALRM, old)


def lines_run(function: Callable[[], Any], most: int = 10_000_000) -> int:
    """How many lines of Python ``function()`` runs, in itself and in all that it calls; counted up to ``most``.

    Counts do not depend on the machine's load, as seconds do.
    """
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        count += event == "line"
        if count > most:
            sys.settrace(None)
            frame.f_trace = None
            return None
        return trace

    old = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(old)
    return count


def one_each(
    name: str,
    call: Callable[[Sequence[Any]], Any],
    batch: Sequence[Any],
    item: str,
    due: str,
    result: str = "result",
    rule: str = "What a model writes never raises",
) -> list[Any]:
    """What ``call(batch)`` gives; fails where it raises, or does not give a list with one result per item.

    Args:
        name: how messages call ``call``.
        item: what the batch is made of.
        due: what to do in place of raising.
        result: what the list is made of.
        rule: why it must not raise.
    """
    try:
        found = call(batch)
    except Exception as exc:
        culprit = next((short(one, 400) for one in batch if _raises(call, one)), "none of them alone")
        raise AssertionError(
            f"{name} raised {type(exc).__name__} ({exc}) in a batch of {len(batch)}; the first {item} that makes it "
            f"raise: {culprit}. {rule}: {due}"
        ) from exc
    assert isinstance(found, list), (
        f"{name} gave a {type(found).__name__} ({short(found)}): a list with one {result} for each {item} is due"
    )
    assert len(found) == len(batch), (
        f"{_counted(found, result)} for {_counted(batch, item)}: {name} has to give a list with one result for each "
        f"{item}, in order; it gave {short(found, 80)}"
    )
    return found


def _counted(things: Sequence[Any], word: str) -> str:
    return f"{len(things)} {word}{'' if len(things) == 1 else 's'}"


def _raises(call: Callable[[Sequence[Any]], Any], one: Any) -> bool:
    try:
        call([one])
    except Exception:  # noqa: BLE001  whatever it is, it is reported
        return True
    return False


PIECES = ("[", "(", "{1:", "a", "9", "-", "1,", "\n", "'", "\\", "\0", "\ud800", "lambda:", " ", "#\n", "0+")
"""What the long texts are made of."""


def bulk(piece: str, size: int) -> str:
    """``piece`` again and again, ``size`` characters in all."""
    return (piece * (size // len(piece) + 1))[:size]


def check_linear(work: Callable[[str], Any], what: str) -> None:
    """Fails where ``work(text)`` runs more lines than in proportion to the length of ``text``."""
    for piece in PIECES:
        work(bulk(piece, 100))
        least = lines_run(lambda piece=piece: work(bulk(piece, 500)))  # type: ignore[misc]
        bound = 8 * least + 5_000
        most = lines_run(lambda piece=piece: work(bulk(piece, 2_000)), bound + 1)  # type: ignore[misc]
        assert most <= bound, (
            f"{what} of 2,000 characters made of {piece!r} runs over {bound} lines, though one of 500 characters runs "
            f"{least}: work must grow in proportion to the text, or an answer can stall a whole run"
        )


class FailingDomain:
    """A double around a domain: its ``holds`` always reports a failure of our own machinery, and counts claims.

    Args:
        domain: gives everything else.
    """

    def __init__(self, domain: Domain) -> None:
        self._domain = domain
        self.asked = 0
        """How many claims ``holds`` was given."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._domain, name)

    def holds(self, claims: Sequence[Claim]) -> list[Verdict]:
        """``error``, for every claim."""
        self.asked += len(claims)
        return [Verdict(Status.ERROR, "the server died twice") for _ in claims]


def failing_executor() -> ScriptedExecutor:
    """An executor whose own machinery always fails."""
    return ScriptedExecutor({}, Outcome(OutcomeStatus.INFRA, detail="the server died twice"))
