"""One loop that spreads jobs over servers, keeps a few in flight at each, and survives a server's death."""

from __future__ import annotations

import select
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from azr_env.errors import ExecutorUnavailableError
from azr_env.executors.zygote.connection import Server, ServerDied
from azr_env.executors.zygote.reports import LEVEL, OurFault, outcomes
from azr_env.types import Job, Outcome, OutcomeStatus

WINDOW: Final = 6
"""Jobs in flight at one server: the next is there when one ends, and few are sent again when it dies."""
RETRIES: Final = 2
"""How often a job is run again after a failure that is ours."""
_TICK_MS = 1000


@dataclass(slots=True)
class Ticket:
    """A job of one batch, where its outcomes go, and how often it was tried in vain."""

    job: Job
    indices: list[int]
    failures: int = 0
    outcomes: list[Outcome] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Slot:
    """A place for one server of a lane; the server comes and goes."""

    lane: int
    server: Server | None = None

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
    """The tickets of one batch: those that wait, by lane, and how many are not answered."""

    def __init__(self, tickets: list[Ticket]) -> None:
        self.tickets = tickets
        self.waiting: dict[int, deque[int]] = {}
        for number, ticket in enumerate(tickets):
            self.waiting.setdefault(ticket.job.lane, deque()).append(number)
        self.open = len(tickets)
        self.retries = 0

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
            self.waiting[ticket.job.lane].appendleft(number)

    def give_up(self, lane: int, reason: str) -> None:
        """No server of the lane can be had any more."""
        while self.waiting[lane]:
            self._end_as_infra(self.waiting[lane].popleft(), reason)

    def _end_as_infra(self, number: int, reason: str) -> None:
        infra = Outcome(status=OutcomeStatus.INFRA, detail=reason, level=LEVEL)
        self.answer(number, [infra] * len(self.tickets[number].job.calls))


def dispatch(tickets: list[Ticket], slots: list[Slot], simulate_missing: str | None = None) -> int:
    """Fills in the outcomes of every ticket. Gives the number of retries.

    Args:
        tickets: at least one slot has the lane of each.
        slots: ours alone until this returns. No server is left with a job of this batch.
        simulate_missing: handed to new servers.

    Raises:
        ExecutorUnavailableError: a server cannot start.
    """
    batch = _Batch(tickets)
    try:
        for slot in slots:
            slot.started(simulate_missing)
        for slot in slots:
            _greet(slot)
        usable = list(slots)
        while batch.open:
            _feed(batch, usable, simulate_missing)
            _listen(batch, usable)
    finally:
        for slot in slots:
            if slot.server and slot.server.pending:  # interrupted: its answers would reach the next batch
                slot.stop()
    return batch.retries


def _greet(slot: Slot) -> None:
    try:
        slot.started().greet()
    except ExecutorUnavailableError:
        slot.stop()
        raise


def _feed(batch: _Batch, slots: list[Slot], simulate_missing: str | None) -> None:
    """Replaces dead servers, and tops up every server's window, evenly."""
    for slot in [slot for slot in slots if slot.server is None and batch.waiting.get(slot.lane)]:
        try:
            slot.started(simulate_missing)
            _greet(slot)
        except ExecutorUnavailableError as exc:  # it could start before: a passing failure, so no exception
            slots.remove(slot)
            if all(other.lane != slot.lane for other in slots):
                batch.give_up(slot.lane, str(exc))
    for depth in range(1, WINDOW + 1):
        for slot in slots:
            queue = batch.waiting.get(slot.lane)
            if queue and slot.server and len(slot.server.pending) < depth:
                number = queue.popleft()
                slot.server.submit(number, batch.tickets[number].job)
    for slot in slots:
        if slot.server:
            try:
                slot.server.flush()
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
                for number, job, ending, status, body in slot.started().replies():
                    _take(batch, number, job, ending, status, body)
        except ServerDied as exc:
            _bury(batch, slot, str(exc))
    for slot in busy.values():
        if slot.server and slot.server.silent:
            _bury(batch, slot, "the server fell silent")


def _take(batch: _Batch, number: int, job: Job, ending: int, status: int, body: bytes) -> None:
    try:
        batch.answer(number, outcomes(job, ending, status, body))
    except OurFault as exc:
        batch.fail(number, str(exc))


def _bury(batch: _Batch, slot: Slot, reason: str) -> None:
    """Ends a dead server. The job at the head may be to blame and is counted; those behind it just move."""
    server = slot.started()
    unanswered = [number for number, _ in server.pending]
    slot.stop()
    for number in reversed(unanswered[1:]):
        batch.waiting[batch.tickets[number].job.lane].appendleft(number)
    if unanswered:
        batch.fail(unanswered[0], f"server died: {reason}")
