"""The nouns: frozen data without behaviour (floor 0).

One idea carries the package: a domain is a relation R(program, input, output), a mode names the slot
that is left blank, a role says who is graded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class Slot(StrEnum):
    """One of the three places of the relation R(program, input, output)."""

    PROGRAM = "program"
    INPUT = "input"
    OUTPUT = "output"


class Mode(StrEnum):
    """Which slot is blank: the reasoning mode of Absolute Zero (arXiv 2505.03335, section 3.2)."""

    DEDUCTION = "deduction"
    ABDUCTION = "abduction"
    INDUCTION = "induction"


class Role(StrEnum):
    """Who is graded."""

    PROPOSER = "proposer"
    SOLVER = "solver"


BLANK: Final[Mapping[Mode, Slot]] = {
    Mode.DEDUCTION: Slot.OUTPUT,
    Mode.ABDUCTION: Slot.INPUT,
    Mode.INDUCTION: Slot.PROGRAM,
}
"""The slot that each mode leaves blank."""


class Status(StrEnum):
    """What a verifier says of one answer.

    ``malformed``: no answer could be read. ``rejected``: an answer was read and refused unseen (too
    long, an expression where a value is due, a forbidden import). ``timeout``: the answer made the
    program run out of time or memory. ``error``: our own machinery failed; never the answer's fault.
    """

    CORRECT = "correct"
    INCORRECT = "incorrect"
    MALFORMED = "malformed"
    REJECTED = "rejected"
    TIMEOUT = "timeout"
    ERROR = "error"


class OutcomeStatus(StrEnum):
    """What became of one call of a program in an executor. Only ``infra`` is ever retried."""

    OK = "ok"
    RAISED = "raised"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    CRASH = "crash"
    UNSUPPORTED = "unsupported"
    PROTOCOL = "protocol"
    INFRA = "infra"


@dataclass(frozen=True, slots=True)
class Example:
    """One (input, output) pair of a program, both as canonical text."""

    input: str
    output: str


@dataclass(frozen=True, slots=True)
class Task:
    """One task: a program with examples of which R holds, and a mode.

    Attributes:
        id: unique within its source; enough for the source to give the task again.
        domain: name of the domain.
        mode: which slot is blank.
        program: text of the program slot.
        examples: at least one; exactly one in deduction and abduction.
        shown: in induction, how many leading examples the solver sees; the rest are hidden. When
            none is hidden, the shown ones are graded. 0 in the other modes.
        message: in induction, the proposer's hint. May be empty.
    """

    id: str
    domain: str
    mode: Mode
    program: str
    examples: tuple[Example, ...]
    shown: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """A parsed, unchecked proposal: a program and the inputs it is to run on."""

    mode: Mode
    program: str
    inputs: tuple[str, ...]
    message: str = ""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A refused draft. ``reason`` is a short stable word for counting, ``detail`` is for people.

    ``reason="error"`` says that our machinery failed, not the proposer.
    """

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """The question put to a domain: does R hold for every example once ``answer`` fills the blank slot?

    Attributes:
        task: the task, with its trusted key.
        answer: text for the blank slot ``BLANK[task.mode]``.
        program: program slot of the filled relation.
        examples: the examples of which R is to hold.
    """

    task: Task
    answer: str
    program: str
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verifier says: a status, and the reason in words."""

    status: Status
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one program run.

    Attributes:
        timeout_s: wall-clock seconds for one program with all its calls, > 0. The paper uses 10.
        memory_mib: address space in MiB.
        output_kib: size of one encoded result in KiB; a larger one is ``unsupported``.
    """

    timeout_s: float = 10.0
    memory_mib: int = 512
    output_kib: int = 64


@dataclass(frozen=True, slots=True)
class Job:
    """One program and the calls of its function ``f`` to make, in order, in one process.

    Attributes:
        program: source text that defines ``f``.
        calls: canonical texts (:func:`azr_env.values.encode`, ordered) of argument tuples.
        limits: bounds on the whole job.
        lane: 0 or 1. Lanes differ in ``PYTHONHASHSEED``, so comparing them shows set-order dependence.
    """

    program: str
    calls: tuple[str, ...]
    limits: Limits = field(default_factory=Limits)
    lane: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of one call.

    Attributes:
        status: what became of the call.
        value: canonical text of the returned value when ``ok``, else ``""``. Text from inside the
            sandbox: well-formed is not guaranteed, decode it with :func:`azr_env.values.decode`.
        detail: exception name, limit, or reason.
        level: isolation level that was active, for example ``zygote``.
    """

    status: OutcomeStatus
    value: str = ""
    detail: str = ""
    level: str = ""
