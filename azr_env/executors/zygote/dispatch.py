"""One loop that spreads loads over servers, keeps a few in flight at each, and survives a server's death."""

from __future__ import annotations

import select
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from azr_env.errors import ExecutorUnavailableError
from azr_env.executors.zygote import frames
from azr_env.executors.zygote.connection import Server, ServerDied, unavailable
from azr_env.executors.zygote.load import Load
from azr_env.executors.zygote.reports import LEVEL, OurFault, outcomes
from azr_env.types import Job, Outcome, OutcomeStatus

WINDOW: Final = 6
"""Loads in flight at one server: the next is there when one ends, and few are sent again when it dies."""
RETRIES: Final = 2
"""How often a load is run again after a failure that is ours."""
STARTS: Final = 5
"""How often a server is started, at most, until one says its first word."""
_TICK_MS = 1000
_BELIEVED = {OutcomeStatus.OK, OutcomeStatus.RAISED}


@dataclass(slots=True)
class Ticket:
    """A load of one batch, how often it was tried in vain, and one outcome per call of its jobs, in order."""

    load: Load
    failures: int = 0
    outcomes: list[Outcome] = field(default_factory=list)

    def settled(self) -> Iterator[tuple[Job, list[Outcome] | None]]:
        """Each job of the load with its outcomes, or with None: it shared a process and is to be run again, alone.

        In a shared process only values and exceptions are believed, and nothing behind a job that ended the process.
        """
        at, ended = 0, False
        shared = len(self.load.jobs) > 1
        for job in self.load.jobs:
            outcomes = self.outcomes[at : at + len(job.calls)]
            at += len(job.calls)
            odd = {outcome.status for outcome in outcomes} - _BELIEVED if shared else set()
            ended = ended or bool(odd - {OutcomeStatus.UNSUPPORTED})
            yield job, None if odd or ended else outcomes


@dataclass(slots=True, eq=False)
class Slot:
    """A place for one server of a lane; the server comes and goes.

    Attributes:
        core: the one that the loads of this batch are to run on, if any.
        proven: a server could start here.
    """

    lane: int
    server: Server | None = None
    proven: bool = False
    core: int = frames.ANY_CORE

    def started(self, simulate_missing: str | None = None) -> Server:
        """The server of this place, started if need be, not yet greeted."""
        if self.server is None:
            self.server = Server(self.lane, simulate_missing)
        return self.server

    def stop(self) -> None:
        """Ends the server, if there is one."""
        server, self.server = self.server, None
        if server:
            server.end()


class _Batch:
    """The tickets of one batch, drawn when a server is free for them: those that wait, by lane, and those in flight."""

    def __init__(self, source: Iterable[Ticket]) -> None:
        self.tickets: list[Ticket] = []
        self.waiting: dict[int, deque[int]] = {}
        self.open = 0
        self.retries = 0
        self._source = iter(source)
        self.drawn = False

    def waits(self, lane: int) -> bool:
        """Whether there is another ticket of the lane."""
        queue = self.waiting.setdefault(lane, deque())
        while not queue and not self.drawn:
            ticket = next(self._source, None)
            if ticket is None:
                self.drawn = True
            else:
                self.waiting.setdefault(ticket.load.lane, deque()).append(len(self.tickets))
                self.tickets.append(ticket)
                self.open += 1
        return bool(queue)

    def answer(self, number: int, result: list[Outcome]) -> None:
        self.tickets[number].outcomes = result
        self.open -= 1

    def fail(self, number: int, reason: str) -> None:
        """A failure of ours: to the head of the queue, or ``infra`` when it has been tried enough."""
        ticket = self.tickets[number]
        ticket.failures += 1
        if ticket.failures > RETRIES:
            self._end_as_infra(number, reason)
        else:
            self.retries += 1
            self.waiting[ticket.load.lane].appendleft(number)

    def give_up(self, lane: int, reason: str) -> None:
        """No server of the lane can be had any more."""
        while self.waits(lane):
            self._end_as_infra(self.waiting[lane].popleft(), reason)

    def _end_as_infra(self, number: int, reason: str) -> None:
        infra = Outcome(status=OutcomeStatus.INFRA, detail=reason, level=LEVEL)
        self.answer(number, [infra] * self.tickets[number].load.calls)


def dispatch(tickets: Iterable[Ticket], slots: list[Slot], simulate_missing: str | None = None) -> int:
    """Fills in the outcomes of every ticket. Gives the number of retries.

    Args:
        tickets: at least one slot has the lane of each. Drawn as servers get free: making one may take its time
            while servers work.
        slots: ours alone until this returns. No server is left with a load of this batch.
        simulate_missing: handed to new servers.

    Raises:
        ExecutorUnavailableError: no server could ever start. One that cannot be replaced is no exception: the loads
            that nothing is left for end as ``infra``.
    """
    batch = _Batch(tickets)
    try:
        for slot in slots:
            slot.started(simulate_missing)
        usable, proven = list(slots), any(slot.proven for slot in slots)
        for slot in slots:
            slot.proven = proven
            _ready(batch, usable, slot, simulate_missing)
        while batch.open or not batch.drawn:
            _feed(batch, usable, simulate_missing)
            _listen(batch, usable)
    finally:
        for slot in slots:
            if slot.server and slot.server.pending:  # interrupted: its answers would reach the next batch
                slot.stop()
    return batch.retries


def greet(slot: Slot, simulate_missing: str | None = None) -> dict[str, str]:
    """Starts the server of a place, if need be, and waits until it is locked. Gives its layers.

    A server that dies before its first word may have been killed, and is replaced. One that names a missing layer is
    not: nothing would change.

    Raises:
        ExecutorUnavailableError: a layer is missing, or no server lives to say so.
    """
    for _ in range(STARTS):
        try:
            layers = slot.started(simulate_missing).greet()
            slot.proven = True
            return layers
        except ServerDied as exc:
            slot.stop()
            reason = str(exc)
        except ExecutorUnavailableError:
            slot.stop()
            raise
    raise unavailable("start-up", reason)


def _ready(batch: _Batch, slots: list[Slot], slot: Slot, simulate_missing: str | None) -> None:
    """Greets the slot's server, or takes the slot out of ``slots``, if a server could start before."""
    try:
        greet(slot, simulate_missing)
    except ExecutorUnavailableError as exc:
        if not any(other.proven for other in slots):
            raise
        slots.remove(slot)
        if all(other.lane != slot.lane for other in slots):
            batch.give_up(slot.lane, str(exc))


def _feed(batch: _Batch, slots: list[Slot], simulate_missing: str | None) -> None:
    """Replaces dead servers, and tops up every server's window, evenly."""
    for slot in [slot for slot in slots if slot.server is None and batch.waits(slot.lane)]:
        _ready(batch, slots, slot, simulate_missing)
    for depth in range(1, WINDOW + 1):
        for slot in slots:
            if slot.server and len(slot.server.pending) < depth and batch.waits(slot.lane):
                number = batch.waiting[slot.lane].popleft()
                slot.server.submit(number, batch.tickets[number].load, slot.core)
                _flush(batch, slot)


def _flush(batch: _Batch, slot: Slot) -> None:
    try:
        slot.started().flush()
    except ServerDied as exc:
        _bury(batch, slot, str(exc))


def _listen(batch: _Batch, slots: list[Slot]) -> None:
    """Waits for any server and takes in what it says."""
    busy = {slot.server.socket.fileno(): slot for slot in slots if slot.server and slot.server.pending}
    if not busy:
        return
    poll = select.poll()
    for fd, slot in busy.items():
        poll.register(fd, slot.started().events)
    ready = poll.poll(_TICK_MS)
    for fd, events in ready:
        slot = busy[fd]
        try:
            if events & select.POLLOUT:
                slot.started().flush()
            if events & ~select.POLLOUT:
                for number, load, ending, status, body in slot.started().replies():
                    _take(batch, number, load, ending, status, body)
        except ServerDied as exc:
            _bury(batch, slot, str(exc))
    for slot in busy.values():
        if slot.server and slot.server.silent:
            _bury(batch, slot, "the server fell silent")


def _take(batch: _Batch, number: int, load: Load, ending: int, status: int, body: bytes) -> None:
    try:
        batch.answer(number, outcomes(load, ending, status, body))
    except OurFault as exc:
        batch.fail(number, str(exc))


def _bury(batch: _Batch, slot: Slot, reason: str) -> None:
    """Ends a dead server. The load at the head may be to blame and is counted; those behind it just move."""
    server = slot.started()
    unanswered = [number for number, _ in server.pending]
    slot.stop()
    for number in reversed(unanswered[1:]):
        batch.waiting[batch.tickets[number].load.lane].appendleft(number)
    if unanswered:
        batch.fail(unanswered[0], f"server died: {reason}")
