"""What a new interpreter of the level ``subprocess`` runs: one job from standard input, then nothing more.

    python -s -P -S -B interpreter_child.py .../child.py .../frames.py .../wire.py RESULTS

A script, never imported: standard library only, the rest is loaded by path. Frames, and what runs the program and
encodes its results, are those of the strict level; what that level has around them is absent here.
"""

from __future__ import annotations

import builtins
import contextlib
import os
import resource
import signal
import sys
from importlib.machinery import SourceFileLoader
from types import ModuleType


def load(name: str, path: str) -> ModuleType:
    """Runs a file of ours as a module that no program finds in ``sys.modules``, with builtins of its own."""
    module = ModuleType(name)
    module.__dict__["__builtins__"] = dict(builtins.__dict__)
    SourceFileLoader(name, path).exec_module(module)
    return module


def read(size: int) -> bytes:
    """So many bytes of standard input."""
    data = b""
    while len(data) < size:
        part = os.read(0, size - len(data))
        if not part:
            os._exit(1)
        data += part
    return data


def confine(results: int, timeout_s: float, memory_mib: int) -> None:
    """Keeps the results' descriptor as number 3 and no other that is open; sets what limits the system knows."""
    os.dup2(results, 3, False)
    os.dup2(1, 0)  # standard output is the null device
    os.closerange(4, 1 << 12)
    signal.alarm(int(timeout_s) + 5)  # should the host die
    for name, value in (
        ("CPU", int(timeout_s) + 2), ("AS", memory_mib << 20), ("NPROC", 0), ("FSIZE", 0), ("NOFILE", 32), ("CORE", 0),
    ):  # fmt: skip
        with contextlib.suppress(OSError, ValueError, AttributeError):  # not every system has them all
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))


def main() -> None:
    """Reads the job, confines this process, runs the program and exits without any clean-up that it could hook."""
    status, leave = 1, os._exit
    child, frames, wire = (load(f"azr_{n}", path) for n, path in enumerate(sys.argv[1:4]))
    results = int(sys.argv[4])
    sys.argv, sys.executable, sys.orig_argv[:] = [""], "", []
    os.environ.clear()
    try:
        length, _, timeout_s, memory_mib, most, _, programs, _ = frames.REQUEST.unpack(read(frames.REQUEST.size))
        ((program, calls),) = frames.unpack_programs(memoryview(read(length)), programs)
        kit = child.Kit(wire, frames, None)
        confine(results, timeout_s, memory_mib)
        os.write(3, frames.LOCKED)
        child.run(kit, program, calls, most, child.sender(frames))
        status = 0
    except MemoryError:
        status = frames.EXIT_MEMORY
    finally:
        leave(status)


main()
