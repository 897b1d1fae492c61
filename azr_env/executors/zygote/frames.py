"""The bytes between host, server and child. Standard library only: the server loads this file by its path.

Host to server: ``REQUEST``, then for each program the number of its calls, its text and the calls', every text with its
``SIZE`` before it, in UTF-8 (lone surrogates pass).
Server to host: ``REPLY``, then what the child wrote, unread by the server.
Child to server: ``LOCKED``, then one ``MARK`` and text per finished call. Lengths frame everything; no byte separates.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

SIZE = struct.Struct("<I")
REQUEST = struct.Struct("<IIdIIIIi")
"""Length of the body, ticket, timeout in seconds, memory in MiB, most bytes of one result, number of calls of all
programs together, number of programs, the core to run on."""
ANY_CORE = -1
"""In the place of a core: where the system likes."""
REPLY = struct.Struct("<IIBi")
"""Length of the body, ticket, ending, wait status of the child."""
MARK = struct.Struct("<BI")
"""What became of one call, length of the text."""

OK, RAISED, MEMORY, UNSUPPORTED = range(4)
FINISHED, DEADLINE, OVERFLOW, NO_FORK, CLOSED = range(5)
"""``CLOSED``: the child closed its end of the pipe and lived on, until the server killed it."""

MAX_DETAIL = 400
"""Most bytes of a reason; a result has the job's own limit."""

LOCKED = b"L"
"""The child's first byte, written once it is locked and before the program runs. Without it the failure is ours; with
it nothing that a program does can look like a failure of ours."""
EXIT_MEMORY, EXIT_IMPORT = 71, 72
"""Exit status of a child that had no memory left to say so; of a shared one in which a module was to be loaded."""


def most_bytes(calls: int, output_bytes: int) -> int:
    """More than a child may write for its calls; the server stops reading beyond."""
    return calls * (max(output_bytes, MAX_DETAIL) + MARK.size) + (1 << 16)


def pack_programs(programs: Iterable[tuple[str, Sequence[str]]]) -> bytes:
    """The body of a request: programs, each with the texts of its calls."""
    parts = []
    for program, calls in programs:
        parts.append(SIZE.pack(len(calls)))
        for text in (program, *calls):
            data = text.encode("utf-8", "surrogatepass")
            parts += [SIZE.pack(len(data)), data]
    return b"".join(parts)


def unpack_programs(body: memoryview, count: int) -> list[tuple[str, list[str]]]:
    """The ``count`` programs of a body that :func:`pack_programs` wrote."""
    programs, at = [], 0
    for _ in range(count):
        (calls,) = SIZE.unpack_from(body, at)
        at += SIZE.size
        texts = []
        for _ in range(calls + 1):
            (size,) = SIZE.unpack_from(body, at)
            at += SIZE.size
            texts.append(str(body[at : at + size], "utf-8", "surrogatepass"))
            at += size
        programs.append((texts[0], texts[1:]))
    return programs
