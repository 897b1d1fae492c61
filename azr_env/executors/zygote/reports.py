"""What a server says of a job, turned into outcomes. Every byte comes from inside the sandbox: nothing is believed."""

from __future__ import annotations

import signal
from typing import Final

from azr_env.executors.zygote import frames
from azr_env.executors.zygote.load import Load
from azr_env.types import Outcome, OutcomeStatus

LEVEL: Final = "zygote"
_STATUS = {
    frames.OK: OutcomeStatus.OK,
    frames.RAISED: OutcomeStatus.RAISED,
    frames.MEMORY: OutcomeStatus.MEMORY,
    frames.UNSUPPORTED: OutcomeStatus.UNSUPPORTED,
}


class OurFault(Exception):
    """The job was not run, or not to its end, for a reason that no program can bring about."""


class _Forged(Exception):
    """Bytes that our child does not write."""


def outcomes(load: Load, ending: int, status: int, body: bytes) -> list[Outcome]:
    """One outcome per call of every job of ``load``, in order.

    Args:
        load: what was asked.
        ending: one of the endings of :mod:`frames`.
        status: the child's wait status.
        body: what the child wrote.

    Raises:
        OurFault: the program never started, or its process was killed by another.
    """
    if ending == frames.NO_FORK:
        raise OurFault("the server could not fork")
    if not body.startswith(frames.LOCKED):
        raise OurFault(f"the child ended before its program began (wait status {status})")
    if ending == frames.FINISHED and status & 0x7F == signal.SIGKILL:
        raise OurFault("the child was killed from outside")
    ended_well = ending == frames.FINISHED and status == 0
    try:
        if ending == frames.OVERFLOW:
            raise _Forged("more bytes than its calls may give")
        done = _finished(load, body, whole=ended_well)
    except _Forged as exc:
        return [_outcome(OutcomeStatus.PROTOCOL, detail=str(exc))] * load.calls
    return done + [_unfinished(load, ending, status)] * (load.calls - len(done))


def _outcome(status: OutcomeStatus, value: str = "", detail: str = "") -> Outcome:
    return Outcome(status=status, value=value, detail=detail, level=LEVEL)


def _finished(load: Load, body: bytes, whole: bool) -> list[Outcome]:
    """The outcomes of complete frames. A last frame cut short is a forgery only if the child ended ``whole``."""
    found: list[Outcome] = []
    at, end = len(frames.LOCKED), len(body)
    while at < end:
        if len(found) == load.calls:
            raise _Forged("more results than calls")
        text_at = at + frames.MARK.size
        if text_at <= end:
            mark, size = frames.MARK.unpack_from(body, at)
            status = _STATUS.get(mark)
            if status is None:
                raise _Forged(f"status {mark}")
            if size > (load.limits.output_kib * 1024 if status is OutcomeStatus.OK else frames.MAX_DETAIL):
                raise _Forged(f"a result of {size} bytes")
            if text_at + size <= end:
                found.append(_read(status, body[text_at : text_at + size]))
                at = text_at + size
                continue
        if whole:
            raise _Forged("a result cut short")
        break
    return found


def _read(status: OutcomeStatus, data: bytes) -> Outcome:
    try:
        text = data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise _Forged("a result that is no UTF-8") from None
    if status is OutcomeStatus.OK:
        return _outcome(status, value=text)
    return _outcome(status, detail=text)


def _unfinished(load: Load, ending: int, status: int) -> Outcome:
    """Why a call has no result."""
    if ending == frames.DEADLINE:
        return _outcome(OutcomeStatus.TIMEOUT, detail=f"timeout_s={load.timeout_s:g}")
    killer, code = status & 0x7F, status >> 8
    if killer == signal.SIGXCPU:
        return _outcome(OutcomeStatus.TIMEOUT, detail=f"CPU time beyond timeout_s={load.timeout_s:g}")
    if killer:
        name = signal.Signals(killer).name if killer in set(signal.Signals) else str(killer)
        return _outcome(OutcomeStatus.CRASH, detail=f"signal {name}")
    if code == frames.EXIT_MEMORY:
        return _outcome(OutcomeStatus.MEMORY, detail=f"memory_mib={load.limits.memory_mib}")
    return _outcome(OutcomeStatus.CRASH, detail=f"exit status {code} without a result")
