"""One server process as the host sees it: start, bytes out, bytes in, end."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

from azr_env import wire
from azr_env.errors import ExecutorUnavailableError
from azr_env.executors.zygote import frames
from azr_env.executors.zygote.load import Load

_SERVER = Path(__file__).with_name("server.py")
_START_S = 60.0  # an interpreter's start on a machine under heavy load
_GRACE_S = 20.0  # how long beyond a job's own time a server may be silent before it counts as dead
_READ = 1 << 18
_HINTS = {
    "user namespace": "allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1 or "
    "kernel.apparmor_restrict_unprivileged_userns=0, user.max_user_namespaces>0), or start the container with a "
    "seccomp profile that permits unshare",
    "mount namespace": "permit mount and pivot_root inside user namespaces (the container's seccomp or AppArmor "
    "profile; on Ubuntu also sysctl kernel.apparmor_restrict_unprivileged_userns=0)",
    "no uid 0": "let the process map uid 65534",
    "landlock": "boot a kernel of 5.13 or later with landlock in CONFIG_LSM or lsm=",
    "seccomp": "run on x86_64 or aarch64 with CONFIG_SECCOMP_FILTER",
}


class ServerDied(Exception):
    """The server's end of the connection closed, stayed silent, or spoke nonsense."""


def unavailable(layer: str, reason: str) -> ExecutorUnavailableError:
    """The error for a layer that this machine does not give: what, why, and the ways out."""
    hint = _HINTS.get(layer, "give the process the rights that the layer needs")
    return ExecutorUnavailableError(
        f"executor level 'zygote' cannot start: isolation layer {layer!r} is missing here ({reason}). Programs that a "
        f"model wrote are not run without it, and nothing weaker is chosen silently. Ways out: {hint}; or use "
        f"domain='prime_inversion', which runs no programs; or name another level as executor=...: 'monty' or "
        f"'subprocess' (docs/executors.md says what each does not contain), or one of your own "
        f"(azr_env.protocols.Executor says what it needs)."
    )


class Server:
    """A locked server process, and the loads that were sent to it and are not answered yet.

    ``Server(...)`` starts it and returns at once; :meth:`greet` waits until it is locked.
    """

    def __init__(self, lane: int, simulate_missing: str | None = None) -> None:
        if sys.platform != "linux":
            raise unavailable("Linux", f"this is {sys.platform}")
        ours, theirs = socket.socketpair()
        options = {
            "fd": theirs.fileno(),
            "host": os.getpid(),
            "wire": wire.__file__,
            "lane": lane,
            "simulate_missing": simulate_missing,
        }
        # Not -I: it would make the interpreter ignore PYTHONHASHSEED, by which the lanes differ.
        command = [sys.executable, "-s", "-P", "-S", "-B", "-Wignore", str(_SERVER), json.dumps(options)]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"PYTHONHASHSEED": str(lane + 1), "LD_BIND_NOW": "1"},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except OSError as exc:
            ours.close()
            raise unavailable("interpreter", f"{sys.executable!r}: {exc}") from None
        finally:
            theirs.close()
        self.socket = ours
        self.pending: deque[tuple[int, Load]] = deque()
        self.layers: dict[str, str] | None = None
        self._out = bytearray()
        self._in = bytearray()
        self._head_deadline = 0.0

    @property
    def pid(self) -> int:
        """Process id of the guardian; the server is its child."""
        return self._process.pid

    def greet(self) -> dict[str, str]:
        """Waits until the server is locked. Gives its layers.

        Raises:
            ExecutorUnavailableError: a layer is missing.
            ServerDied: it ended before it was locked.
        """
        if self.layers is None:
            try:
                self.socket.settimeout(_START_S)
                length = int.from_bytes(self._receive(4), "little")
                hello = json.loads(self._receive(min(length, _READ)))
            except (OSError, ValueError) as exc:
                raise ServerDied(f"the server ended before its first word: {exc}") from None
            if hello.get("missing") == "start-up":
                raise ServerDied(hello["reason"])
            if "missing" in hello:
                self.end()
                raise unavailable(hello["missing"], hello["reason"])
            self.layers = dict(hello["layers"])
            self.socket.setblocking(False)
        return self.layers

    def _receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise OSError(f"exit status {self._process.wait(_START_S)}")
            data += part
        return data

    def submit(self, ticket: int, load: Load, core: int = frames.ANY_CORE) -> None:
        """Queues a load, to run on ``core``; :meth:`flush` sends it."""
        body = frames.pack_programs((job.program, job.calls) for job in load.jobs)
        limits = load.limits
        numbers = limits.memory_mib, limits.output_kib * 1024, load.calls, len(load.jobs), core
        self._out += frames.REQUEST.pack(len(body), ticket, load.timeout_s, *numbers)
        self._out += body
        if not self.pending:
            self._watch(load)
        self.pending.append((ticket, load))

    def _watch(self, load: Load) -> None:
        self._head_deadline = time.monotonic() + load.timeout_s + _GRACE_S

    @property
    def silent(self) -> bool:
        """Whether the load at the head is so late that the server must be dead."""
        return bool(self.pending) and time.monotonic() > self._head_deadline

    @property
    def events(self) -> int:
        """What to poll the socket for."""
        return select.POLLIN | (select.POLLOUT if self._out else 0)

    def flush(self) -> None:
        """Sends what the socket takes.

        Raises:
            ServerDied: the connection is closed.
        """
        try:
            while self._out:
                del self._out[: self.socket.send(self._out)]
        except BlockingIOError:
            return
        except OSError as exc:
            raise ServerDied(str(exc)) from None

    def replies(self) -> list[tuple[int, Load, int, int, bytes]]:
        """Every complete answer that has come: ticket, load, ending, wait status, bytes.

        Raises:
            ServerDied: the connection is closed, or an answer is not the one that is due.
        """
        try:
            data = self.socket.recv(_READ)
        except BlockingIOError:
            return []
        except OSError as exc:
            raise ServerDied(str(exc)) from None
        if not data:
            raise ServerDied("connection closed")
        self._in += data
        found, at = [], 0
        while len(self._in) - at >= frames.REPLY.size:
            size, ticket, ending, status = frames.REPLY.unpack_from(self._in, at)
            if not self.pending or ticket != self.pending[0][0]:
                raise ServerDied(f"answer {ticket} is not the one that is due")
            load = self.pending[0][1]
            if size > frames.most_bytes(load.calls, load.limits.output_kib * 1024) + _READ:
                raise ServerDied(f"an answer of {size} bytes")
            start = at + frames.REPLY.size
            if len(self._in) < start + size:
                break
            at = start + size
            found.append((*self.pending.popleft(), ending, status, bytes(self._in[start:at])))
            if self.pending:
                self._watch(self.pending[0][1])
        del self._in[:at]
        return found

    def end(self) -> None:
        """Ends guardian, server and children, and waits for them."""
        self.socket.close()
        self._process.terminate()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def forget(self) -> None:
        """In a forked copy of the host: lets go of the parent's server without touching it."""
        self.socket.close()
        self._process.returncode = 0
