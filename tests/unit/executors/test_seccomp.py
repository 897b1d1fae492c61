"""The filters decide as they are meant to, on both machines: they are run here, instruction by instruction."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import struct
from pathlib import Path

import pytest

from azr_env.executors.zygote import seccomp

ALLOW, KILL, REFUSE, ABSENT = 0x7FFF0000, 0x80000000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
HEADERS = {"x86_64": "/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "aarch64": "/usr/include/asm-generic/unistd.h"}


def verdict(program: seccomp.Program, number: int, arch: int, *arguments: int) -> int:
    """What the kernel would decide of one call."""
    data = struct.pack("<IIQ6Q", number, arch, 0, *arguments, *[0] * (6 - len(arguments)))
    code = ctypes.string_at(program.filter, program.length * 8)
    at, value = 0, 0
    while True:
        operation, then, other, operand = struct.unpack_from("<HBBI", code, at * 8)
        at += 1
        match operation:
            case 0x20:
                (value,) = struct.unpack_from("<I", data, operand)
            case 0x54:
                value &= operand
            case 0x15:
                at += then if value == operand else other
            case 0x35:
                at += then if value >= operand else other
            case 0x06:
                return operand
            case _:
                raise AssertionError(f"unknown instruction {operation:#x}")


@pytest.fixture(params=sorted(MACHINES))
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Column of the table and audit number of each machine in turn, as if we ran there."""
    found = MACHINES[request.param]
    monkeypatch.setattr(seccomp, "_arch", lambda: found)
    return found


def test_listed_calls_pass_and_all_others_are_refused(machine: tuple[int, int]) -> None:
    column, arch = machine
    server, child = seccomp.server_filter(), seccomp.child_filter()
    shared = {numbers[column] for numbers in seccomp.SHARED.values()}
    only = {numbers[column] for numbers in seccomp.SERVER_ONLY.values()}
    conditional = {numbers[column] for numbers in (seccomp._OPEN, seccomp._OPENAT, seccomp._FCNTL, seccomp._CLONE)}
    for number in set(range(600)) - conditional - {seccomp._CLONE3[column]}:
        expected = ALLOW if number in shared | only else REFUSE
        assert verdict(server, number, arch) == expected
        assert (verdict(child, number, arch) == REFUSE) == (number in only)
    assert verdict(server, seccomp._CLONE3[column], arch) == ABSENT


def test_a_foreign_convention_kills(machine: tuple[int, int]) -> None:
    for program in (seccomp.server_filter(), seccomp.child_filter()):
        assert verdict(program, 0, 0x40000003) == KILL
        if machine[0] == 0:
            assert verdict(program, 0x40000000, machine[1]) == KILL


def test_files_open_for_reading_only(machine: tuple[int, int]) -> None:
    column, arch = machine
    program, openat = seccomp.server_filter(), seccomp._OPENAT[column]
    for flags in (os.O_RDONLY, os.O_CLOEXEC, os.O_DIRECTORY | os.O_CLOEXEC, os.O_NOFOLLOW):
        assert verdict(program, openat, arch, 0, 0, flags) == ALLOW
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC, os.O_APPEND, os.O_TMPFILE):
        assert verdict(program, openat, arch, 0, 0, flags | os.O_CLOEXEC) == REFUSE


def test_only_a_plain_fork_may_clone_and_only_in_the_server(machine: tuple[int, int]) -> None:
    column, arch = machine
    server, clone = seccomp.server_filter(), seccomp._CLONE[column]
    assert verdict(server, clone, arch, 0x01200011) == verdict(server, clone, arch, 17) == ALLOW
    for flags in (0x3D0F00, 0x10000011, 0x20000011, 0x00008011):  # a thread, namespaces, a sibling
        assert verdict(server, clone, arch, flags) == REFUSE
    assert verdict(seccomp.child_filter(), clone, arch, 17) == REFUSE


def test_descriptors_cannot_be_made_to_send_signals(machine: tuple[int, int]) -> None:
    column, arch = machine
    program, fcntl = seccomp.server_filter(), seccomp._FCNTL[column]
    assert [verdict(program, fcntl, arch, 3, command) for command in (1, 3, 1030)] == [ALLOW] * 3
    assert {verdict(program, fcntl, arch, 3, command) for command in (4, 8, 10, 15, 1031, 1033)} == {REFUSE}


@pytest.mark.parametrize("name", sorted(MACHINES))
def test_the_numbers_are_the_kernels(name: str) -> None:
    header = Path(HEADERS[name])
    if not header.is_file():
        pytest.skip(f"no {header}")
    text = re.sub(r"__NR3264_", "__NR_", header.read_text())
    known = {key: int(number) for key, number in re.findall(r"#define __NR_(\w+)\s+(\d+)\b", text)}
    known |= {"newfstatat": known.get("newfstatat", known.get("fstatat", -1))}
    column = MACHINES[name][0]
    for call, numbers in {**seccomp.SHARED, **seccomp.SERVER_ONLY}.items():
        if numbers[column] >= 0:
            assert known[call] == numbers[column], call
