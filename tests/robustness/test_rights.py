"""Root and other users, with user namespaces and without: the same layers, or an error that names the missing one."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from azr_env.executors.zygote import ZygoteExecutor

ROOT = Path(__file__).resolve().parents[2]
MACHINE = {"x86_64": 0, "aarch64": 1}.get(platform.machine())
CALLS = {
    "unshare": (272, 97),
    "mount": (165, 40),
    "pivot_root": (155, 41),
    "setresuid": (117, 147),
    "capset": (126, 91),
    "landlock_create_ruleset": (444, 444),
}
EPERM, ENOSYS = 1, 38

START = """
import ctypes, os, struct, sys
sys.path.insert(0, ".")
from azr_env.errors import ExecutorUnavailableError
from azr_env.executors.zygote import ZygoteChunkExecutor, ZygoteExecutor, lockdown
from azr_env.types import Job

def become_ordinary():
    # An interpreter below a folder that is closed to others is shown in a mount namespace of this process alone.
    path = "/"
    for part in sys.base_prefix.strip("/").split("/"):
        path = os.path.join(path, part)
        if not os.stat(path).st_mode & 1:
            lockdown.enter_namespace("mount")
            lockdown._do_mount(None, "/", None, 16384 | 1 << 18)
            fd = os.open(sys.base_prefix, os.O_PATH)
            lockdown._do_mount("tmpfs", path, "tmpfs", 0, "mode=755")
            os.makedirs(sys.base_prefix)
            lockdown._do_mount(f"/proc/self/fd/{fd}", sys.base_prefix, None, 4096)
            break
    os.setgroups([]); os.setresgid(65533, 65533, 65533); os.setresuid(65533, 65533, 65533)

def forbid(number, error):
    # A filter as containers have them: the one call fails, for this process and all that come from it.
    rules = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x00050000 | error), (0x06, 0, 0, 0x7FFF0000)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *rule) for rule in rules))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(rules), ctypes.addressof(code)))
    assert lockdown.prctl(38, 1, None, 0, 0) == 0
    assert lockdown.prctl(22, 2, ctypes.addressof(program), 0, 0) == 0
"""
WORKS = """
with ZygoteExecutor(workers=1) as executor:
    print(sorted(executor.layers()))
    ((outcome,),) = executor.run([Job("import os\\ndef f(): return os.getuid()", ("()",))])
    print(outcome.value)
"""
REFUSES = """
job = Job("def f(): return 1", ("()",))
for made in (ZygoteExecutor, ZygoteChunkExecutor):
    for ask in (lambda e: e.layers(), lambda e: e.run([job]), lambda e: e.run([job])):
        with made(workers=1) as executor:
            try:
                print("RAN", ask(executor))
            except ExecutorUnavailableError as exc:
                print(exc)
"""


def say(script: str, *before: str) -> list[str]:
    done = subprocess.run(
        [*before, sys.executable, "-c", START + script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def check_refused(lines: list[str], layer: str) -> None:
    assert len(lines) == 6
    for line in lines:
        assert f"isolation layer {layer!r} is missing here" in line
        assert "nothing weaker is chosen silently" in line


def in_a_user_namespace() -> list[str]:
    """Command that makes us root of a namespace that maps one identity, as some containers do."""
    if shutil.which("unshare") is None:
        pytest.skip("no unshare command here")
    command = ["unshare", "--user", "--map-root-user"]
    tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no user namespaces for this user: {tried.stderr.strip()}")
    return command


def without_user_namespaces() -> list[str]:
    """Command that makes us root of a namespace in which no further one can be made."""
    command = in_a_user_namespace()
    limit = "echo 0 > /proc/sys/user/max_user_namespaces"
    tried = subprocess.run([*command, "sh", "-c", limit], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"the limit on user namespaces cannot be set here: {tried.stderr.strip()}")
    return [*command, "sh", "-c", f'{limit} && exec "$@"', "sh"]


def layers() -> str:
    with ZygoteExecutor(workers=1) as executor:
        return str(sorted(executor.layers()))


def test_root_of_a_container_that_maps_one_identity_gets_the_same_layers() -> None:
    assert say(WORKS, *in_a_user_namespace()) == [layers(), "ifffe;"]


def test_no_user_namespaces_is_an_error() -> None:
    check_refused(say(REFUSES, *without_user_namespaces()), "user namespace")


@pytest.mark.skipif(MACHINE is None, reason="no system call numbers for this machine")
@pytest.mark.parametrize(
    ("call", "error", "layer"),
    [
        ("unshare", EPERM, "user namespace"),
        ("mount", EPERM, "mount namespace"),
        ("pivot_root", EPERM, "mount namespace"),
        ("setresuid", EPERM, "no uid 0"),
        ("capset", EPERM, "capabilities"),
        ("landlock_create_ruleset", ENOSYS, "landlock"),
    ],
)
def test_a_container_that_forbids_a_call_is_an_error(call: str, error: int, layer: str) -> None:
    assert MACHINE is not None
    check_refused(say(f"forbid({CALLS[call][MACHINE]}, {error})\n{REFUSES}"), layer)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user; the other tests run as one here")
def test_an_ordinary_user_gets_the_same_layers() -> None:
    assert say(f"become_ordinary()\n{WORKS}") == [layers(), "ifffe;"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user; the other tests run as one here")
@pytest.mark.skipif(MACHINE is None, reason="no system call numbers for this machine")
def test_an_ordinary_user_without_user_namespaces_gets_an_error() -> None:
    assert MACHINE is not None
    check_refused(say(f"become_ordinary()\nforbid({CALLS['unshare'][MACHINE]}, {EPERM})\n{REFUSES}"), "user namespace")
