"""System-call filters, assembled by hand. Standard library only: the server loads this file by its path.

Two filters, and a call passes only if both let it. The server's is an allow-list and is inherited by every child. The
child's takes away what only the server needs: fork, kill, wait, pipes, limits, moving descriptors,
more filters. Refused calls fail with ``EPERM``, so that a program sees an exception; a foreign calling convention
(32-bit, x32) kills.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_REFUSE, _ABSENT = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
_LOAD, _AND, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16
_X32 = 0x40000000
_SET_MODE_FILTER = 1

# name: (x86_64, aarch64); -1 where the machine has no such call.
SHARED = {
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "lseek": (8, 62), "readv": (19, 65), "pread64": (17, 67),
    "stat": (4, -1), "fstat": (5, 80), "lstat": (6, -1), "newfstatat": (262, 79), "statx": (332, 291),
    "access": (21, -1), "faccessat": (269, 48), "faccessat2": (439, 439), "getdents64": (217, 61),
    "readlink": (89, -1), "readlinkat": (267, 78), "getcwd": (79, 17), "poll": (7, -1), "ppoll": (271, 73),
    "select": (23, -1), "pselect6": (270, 72), "mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215),
    "mremap": (25, 216), "madvise": (28, 233), "brk": (12, 214), "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "sigaltstack": (131, 132), "futex": (202, 98),
    "set_robust_list": (273, 99), "set_tid_address": (218, 96), "rseq": (334, 293), "getpid": (39, 172),
    "gettid": (186, 178), "getppid": (110, 173), "getuid": (102, 174), "geteuid": (107, 175), "getgid": (104, 176),
    "getegid": (108, 177), "getresuid": (118, 148), "getresgid": (120, 150),
    "getrusage": (98, 165), "times": (100, 153), "sysinfo": (99, 179), "uname": (63, 160),
    "getrandom": (318, 278), "gettimeofday": (96, 169), "clock_gettime": (228, 113), "clock_getres": (229, 114),
    "nanosleep": (35, 101), "clock_nanosleep": (230, 115), "restart_syscall": (219, 128), "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123), "exit": (60, 93), "exit_group": (231, 94),
}  # fmt: skip
SERVER_ONLY = {
    "fork": (57, -1), "kill": (62, 129), "wait4": (61, 260), "pipe2": (293, 59), "dup2": (33, -1), "dup3": (292, 24),
    "close_range": (436, 436), "prlimit64": (302, 261), "setrlimit": (160, 164), "seccomp": (317, 277),
    "prctl": (157, 167), "sched_setaffinity": (203, 122),
}  # fmt: skip
_OPENAT, _OPEN, _FCNTL, _CLONE, _CLONE3 = (257, 56), (2, -1), (72, 25), (56, 220), (435, 435)

# Not F_SETOWN and F_SETSIG: with them a descriptor could be made to signal the server.
_FCNTL_COMMANDS = (0, 1, 2, 3, 1030)  # F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC
_CLONE_AS_FORK = 0x01200000  # CHILD_CLEARTID and CHILD_SETTID: the flags that fork() may add to SIGCHLD
_SIGCHLD = 17
_ARCHES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}


class Program(ctypes.Structure):
    """The kernel's ``struct sock_fprog``; ``keep`` holds its instructions alive."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))
    keep: object


def _op(code: int, operand: int, then: int = 0, other: int = 0) -> bytes:
    return struct.pack("<HBBI", code, then, other, operand)


def _arch() -> tuple[int, int]:
    try:
        return _ARCHES[os.uname().machine]
    except KeyError:
        raise OSError(errno.ENOSYS, f"no table of system calls for {os.uname().machine!r}") from None


def _header(column: int, audit: int) -> list[bytes]:
    code = [_op(_LOAD, _ARCH), _op(_EQUAL, audit, 1, 0), _op(_RETURN, _KILL), _op(_LOAD, _NUMBER)]
    if column == 0:
        code += [_op(_AT_LEAST, _X32, 0, 1), _op(_RETURN, _KILL)]
    return code


def _returns(table: dict[str, tuple[int, int]], column: int, verdict: int) -> list[bytes]:
    code = []
    for numbers in table.values():
        if numbers[column] >= 0:
            code += [_op(_EQUAL, numbers[column], 0, 1), _op(_RETURN, verdict)]
    return code


def _when(number: int, argument: int, mask: int, values: tuple[int, ...]) -> list[bytes]:
    """Allow ``number`` if the low half of ``argument``, masked, is one of ``values``; refuse it otherwise."""
    if number < 0:
        return []
    body = [_op(_LOAD, _ARGUMENTS + 8 * argument), _op(_AND, mask)]
    for value in values:
        body += [_op(_EQUAL, value, 0, 1), _op(_RETURN, _ALLOW)]
    body.append(_op(_RETURN, _REFUSE))
    return [_op(_EQUAL, number, 0, len(body)), *body]


def server_filter() -> Program:
    """Allow-list of everything that a server or a child may ever call.

    Raises:
        OSError: this machine has no table.
    """
    column, audit = _arch()
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | getattr(os, "O_TMPFILE", 0)
    code = _header(column, audit)
    code += _returns(SHARED, column, _ALLOW) + _returns(SERVER_ONLY, column, _ALLOW)
    code += _when(_OPENAT[column], 2, writing & ~os.O_DIRECTORY, (0,))
    code += _when(_OPEN[column], 1, writing & ~os.O_DIRECTORY, (0,))
    code += _when(_FCNTL[column], 1, 0xFFFFFFFF, _FCNTL_COMMANDS)
    code += _when(_CLONE[column], 0, 0xFFFFFFFF & ~_CLONE_AS_FORK, (_SIGCHLD,))
    code += _returns({"clone3": _CLONE3}, column, _ABSENT)  # its flags lie behind a pointer; the C library falls back
    return _program([*code, _op(_RETURN, _REFUSE)])


def child_filter() -> Program:
    """Takes away what only the server needs; to be stacked on :func:`server_filter`."""
    column, audit = _arch()
    code = _header(column, audit) + _returns({**SERVER_ONLY, "clone": _CLONE}, column, _REFUSE)
    return _program([*code, _op(_RETURN, _ALLOW)])


def _program(code: list[bytes]) -> Program:
    data = b"".join(code)
    buffer = ctypes.create_string_buffer(data, len(data))
    program = Program(len(code), ctypes.addressof(buffer))
    program.keep = buffer
    return program
