"""The server process: started as a script in a clean interpreter, locks itself once, then forks one child per load.

    python -s -P -S -B server.py '{"fd": 3, "host": 1234, "wire": "/.../wire.py", ...}'

Two processes: the guardian waits for the end of either side, outside of the pid namespace but inside all
other layers; the server is pid 1 of its namespace, so that with it everything in it dies. Never imports azr_env: that
would load numpy into every child. The server reads exactly one load at a time, and wipes it before the next
fork: a child finds no other load in its memory.
"""

from __future__ import annotations

import builtins
import contextlib
import gc
import json
import os
import select
import signal
import sys
import time
from types import ModuleType

HERE = os.path.dirname(os.path.abspath(__file__))
_SMALL = 1 << 16  # the buffer's usual size; also how much a read asks for
_POLL_SLICE_MS = 4
_ENDING_S = 0.5  # far longer than the kernel takes to end a process that has closed its descriptors
_YIELDS = 300
_PAUSE_S = 0.00002
_exit = os._exit  # before any program runs: one may put another function in its place


def load(name: str, path: str) -> ModuleType:
    """Runs a file as a module that no program finds in ``sys.modules``, with builtins of its own."""
    module = ModuleType(name)
    module.__dict__["__builtins__"] = dict(builtins.__dict__)
    module.__file__ = path
    with open(path, encoding="utf-8") as file:
        exec(compile(file.read(), path, "exec", dont_inherit=True), module.__dict__)
    return module


class Buffer:
    """The only memory through which jobs and results pass; wiped after each."""

    def __init__(self) -> None:
        self.data = bytearray(_SMALL)

    def reserve(self, size: int) -> memoryview:
        """A view of ``size`` bytes or more, with the bytes that were written."""
        if len(self.data) < size:
            grown = bytearray(max(size, 2 * len(self.data)))
            grown[: len(self.data)] = self.data
            self.wipe(len(self.data))
            self.data = grown
        return memoryview(self.data)

    def wipe(self, size: int) -> None:
        """Zeroes the first ``size`` bytes, and lets go of memory that a large job needed."""
        self.data[:size] = bytes(size)
        if len(self.data) > 16 * _SMALL:
            self.data = bytearray(_SMALL)


def read_into(fd: int, view: memoryview) -> None:
    """Fills ``view``; ends the process when the host has gone."""
    while view:
        count = os.readv(fd, [view])
        if not count:
            os._exit(0)
        view = view[count:]


def write_all(fd: int, view: memoryview) -> None:
    """Writes the whole of ``view``."""
    while view:
        view = view[os.write(fd, view) :]


def collect(results: int, timeout_s: float, most: int, buffer: Buffer, frames: ModuleType) -> tuple[int, int]:
    """Reads what the child writes until it closes its end, behind room for the reply. Gives the ending and the size.

    For the first milliseconds it waits for the end only, and lets the pipe hold the frames: waking for every
    frame would cost more than most calls.
    """
    deadline = time.monotonic() + timeout_s
    poll, size = select.poll(), frames.REPLY.size
    most += size
    poll.register(results, 0)
    if not poll.poll(min(_POLL_SLICE_MS, timeout_s * 1000)):
        poll.modify(results, select.POLLIN)
    else:
        deadline += 1.0  # the child has ended; its frames only wait to be read
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000 + 1):
            return frames.DEADLINE, size
        view = buffer.reserve(size + _SMALL)
        count = os.readv(results, [view[size : size + _SMALL]])
        if not count:
            return frames.FINISHED, size
        size += count
        if size > most:
            return frames.OVERFLOW, size


def serve(fd: int, wire: ModuleType, frames: ModuleType, child: ModuleType, lock: object, lane: int) -> None:
    """Runs jobs until the host closes its end."""
    kit, buffer = child.Kit(wire, frames, lock), Buffer()
    header = bytearray(frames.REQUEST.size)
    core, cores = frames.ANY_CORE, os.sched_getaffinity(0)
    child.warm(kit)
    gc.collect()
    kit.kept = child.settle(lane)
    gc.freeze()
    while True:
        read_into(fd, memoryview(header))
        length, ticket, timeout_s, memory_mib, most, calls, programs, wanted = frames.REQUEST.unpack(header)
        if wanted != core:
            core = wanted
            with contextlib.suppress(OSError):  # not ours any more: then where we are
                os.sched_setaffinity(0, cores if core == frames.ANY_CORE else {core})
        body = buffer.reserve(length)[:length]
        read_into(fd, body)
        results, results_in = os.pipe()
        try:
            pid = os.fork()
        except OSError:
            pid = -1
        if pid == 0:
            run_child(kit, child, body, results_in, (timeout_s, memory_mib, most, programs))
        os.close(results_in)
        body.release()
        buffer.wipe(length)
        ending, size, status = frames.NO_FORK, frames.REPLY.size, 0
        if pid > 0:
            ending, size = collect(results, timeout_s, frames.most_bytes(calls, most), buffer, frames)
            ending, status = end_child(pid, ending, frames)
        os.close(results)
        frames.REPLY.pack_into(buffer.data, 0, size - frames.REPLY.size, ticket, ending, status)
        write_all(fd, memoryview(buffer.data)[:size])  # at once: each write may wake the host
        buffer.wipe(size)


def end_child(pid: int, ending: int, frames: ModuleType) -> tuple[int, int]:
    """Kills the child, if it does not end by itself. Gives the ending and its wait status.

    A child that closed its end of the pipe is about to end, or its program closed it: told apart by waiting, so that
    a kill from outside is never taken for one of ours. It mostly takes some microseconds, far less than a sleep.
    """
    give_up = time.monotonic() + _ENDING_S
    tries = 0
    while ending == frames.FINISHED:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return ending, status
        tries += 1
        if tries < _YIELDS:
            os.sched_yield()
            continue
        if time.monotonic() > give_up:
            ending = frames.CLOSED
        time.sleep(_PAUSE_S)
    os.kill(pid, signal.SIGKILL)
    return ending, os.waitpid(pid, 0)[1]


def run_child(
    kit: object, child: ModuleType, body: memoryview, results: int, load: tuple[float, int, int, int]
) -> None:
    """The child's whole life: confined, it runs its load and exits without any clean-up that a program could hook."""
    status = 1
    timeout_s, memory_mib, most, programs = load
    try:
        child.confine(kit, results, timeout_s, memory_mib)
        child.work(kit, body, programs, most, kit.send)  # type: ignore[attr-defined]
        status = 0
    except MemoryError:
        status = kit.frames.EXIT_MEMORY  # type: ignore[attr-defined]
    finally:
        _exit(status)


def readable_paths() -> list[str]:
    """The directories that programs import from: the standard library, each once."""
    folders = {os.path.dirname(os.__file__), *(path for path in sys.path if os.path.isdir(path))}
    return sorted(path for path in folders if not any(path.startswith(other + "/") for other in folders))


def guard(server: int, host: int) -> None:
    """Ends the server when the host dies, and itself when either has."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    poll, watched = select.poll(), os.pidfd_open(server)
    poll.register(watched, select.POLLIN)
    poll.register(host, select.POLLIN)
    try:
        poll.poll()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.kill(server, signal.SIGKILL)
        os.waitpid(server, 0)
        os._exit(0)


def isolate(options: dict[str, object], lockdown: ModuleType) -> dict[str, str]:
    """Applies every layer that guardian and server share, in the order that each permits the next."""
    missing, layers = options.get("simulate_missing"), {}
    paths = readable_paths()
    hidden = [path + "/" + name for path in paths for name in ("site-packages", "dist-packages")]
    hidden = [path for path in hidden if os.path.isdir(path)]
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")  # no layer, a courtesy: when the machine runs out of memory, not the trainer goes first
    with lockdown.layer("user namespace", missing):
        lockdown.enter_user_namespace()
        layers["user namespace"] = "own"
    for name in ("mount", "net", "ipc", "uts", "pid"):
        with lockdown.layer(f"{name} namespace", missing):
            lockdown.enter_namespace(name)
            layers[f"{name} namespace"] = "own"
    shown = {path: os.open(path, os.O_PATH) for path in paths}  # in the new mount namespace, while we still may
    with lockdown.layer("no uid 0", missing):
        lockdown.become_nobody()
        layers["no uid 0"] = f"uid {lockdown.NOBODY}"
    with lockdown.layer("mount namespace", missing):
        lockdown.change_root(shown, hidden)
        layers["mount namespace"] = "own root: standard library, read-only"
    for fd in shown.values():
        os.close(fd)
    with lockdown.layer("capabilities", missing):
        lockdown.drop_privileges()
        layers["capabilities"] = "none"
        layers["no_new_privs"] = "set"
    with lockdown.layer("landlock", missing):
        layers["landlock"] = lockdown.restrict_files(paths)
    with lockdown.layer("rlimits", missing):
        lockdown.limit_resources()
        layers["rlimits"] = "CPU AS NPROC FSIZE NOFILE CORE STACK"
    os.environ.clear()
    layers["environment"] = "empty"
    return layers


def lock_server(options: dict[str, object], lockdown: ModuleType, seccomp: ModuleType, alive: int) -> object:
    """The layers of the server alone; ``alive`` is for ``die_with_parent``. Gives what locks a child further."""
    with lockdown.layer("parent-death signal", options.get("simulate_missing")):
        lockdown.die_with_parent(alive)
    with lockdown.layer("seccomp", options.get("simulate_missing")):
        program, address = seccomp.child_filter(), None
        address = lockdown.ctypes.addressof(program)
        lockdown.filter_calls(seccomp.server_filter())
    lockdown.confirm()
    install, arguments = lockdown.install, (lockdown.PR_SET_SECCOMP, 2, address, 0, 0)

    def lock() -> None:
        if install(*arguments):
            raise OSError("the child's filter was refused")

    lock.program = program  # type: ignore[attr-defined]
    return lock


def say(fd: int, hello: dict[str, object]) -> None:
    """The one message before service: the layers in force, or the one that is missing."""
    data = json.dumps(hello).encode()
    os.write(fd, len(data).to_bytes(4, "little") + data)


def innermost(exc: BaseException) -> str:
    """Where an error arose, for our own start-up errors."""
    trace = exc.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_name}, line {trace.tb_lineno}" if trace else "?"


def main() -> None:
    """Loads, locks, says hello, serves. Guardian and server part ways at the fork."""
    options = json.loads(sys.argv[1])
    fd, frames = os.dup(options["fd"]), load("frames", HERE + "/frames.py")
    os.close(options["fd"])  # its number may be beyond the limit that is to come; the duplicate's is small
    lockdown, seccomp = load("lockdown", HERE + "/lockdown.py"), load("seccomp", HERE + "/seccomp.py")
    wire = load("wire", options["wire"])
    load("preload", HERE + "/preload.py").load()
    child = load("child", HERE + "/child.py")
    sys.argv, sys.executable, sys.orig_argv[:] = [""], "", []
    gc.disable()
    try:
        host = os.pidfd_open(options["host"])
        if os.getppid() != options["host"]:
            os._exit(0)
        layers = isolate(options, lockdown)
        alive, held = os.pipe()
        server = os.fork()
        if server:
            os.close(fd)
            os.close(alive)
            guard(server, host)
        os.close(host)
        os.close(held)
        lock = lock_server(options, lockdown, seccomp, alive)
    except lockdown.MissingLayer as exc:
        say(fd, {"missing": exc.layer, "reason": exc.reason})
        os._exit(1)
    except Exception as exc:  # noqa: BLE001
        say(fd, {"missing": "start-up", "reason": f"{type(exc).__name__}: {exc} (in {innermost(exc)})"})
        os._exit(1)
    lane = options.pop("lane")
    options.clear()
    say(fd, {"layers": {**layers, "seccomp": "allow-list, stricter in the child", "parent-death signal": "SIGKILL"}})
    serve(fd, wire, frames, child, lock, lane)


if __name__ == "__main__":
    main()
