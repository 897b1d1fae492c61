"""Attacks as data: texts that try to cheat or to do harm. Every test of a plug-in may use them.

Four kinds. A *program* is run by an executor; a *bomb* is a program that wants time, memory or space without end; an *answer* fills
the blank slot of a task; a *proposal* is a draft. What each may end in is written beside it.
"""

# ruff: noqa: E501 - a short program reads best on one line
from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from azr_env.testing import answers
from azr_env.types import Draft, Mode, OutcomeStatus, Status

OK, RAISED, TIMEOUT = OutcomeStatus.OK, OutcomeStatus.RAISED, OutcomeStatus.TIMEOUT
MEMORY, CRASH = OutcomeStatus.MEMORY, OutcomeStatus.CRASH
UNSUPPORTED, PROTOCOL = OutcomeStatus.UNSUPPORTED, OutcomeStatus.PROTOCOL


class Kind(StrEnum):
    """What an attack is fed to."""

    ANSWER = "answer"
    PROGRAM = "program"
    PROPOSAL = "proposal"
    BOMB = "bomb"


@dataclass(frozen=True, slots=True)
class Attack:
    """One hostile text.

    Attributes:
        id: unique among all attacks; names the test.
        kind: what it is fed to.
        tries: what it wants.
        text: a program that defines ``f`` or does its harm on the way; or the text of an answer. May hold
            :data:`azr_env.testing.answers.CANARY`, for a path that must never come into being.
        allowed: what it may end in: outcome statuses for programs and bombs, verdict statuses for answers, reasons of
            a rejection for proposals.
        values: canonical texts that a program may return; empty means any. Another one means that it saw or did
            something.
        inputs: of a proposal, the texts of its inputs.
        message: of a proposal in induction, its message.
        hangs: it is expected to run into its time limit, so give it a short one.
    """

    id: str
    kind: Kind
    tries: str
    text: str
    allowed: frozenset[str]
    values: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    message: str = ""
    hangs: bool = False


def _attack(
    name: str, tries: str, program: str, *allowed: OutcomeStatus, values: tuple[str, ...] = (), hangs: bool = False
) -> Attack:
    return Attack(name, Kind.PROGRAM, tries, program, frozenset(allowed), values, hangs=hangs)


def _bomb(
    name: str, tries: str, program: str, *allowed: OutcomeStatus, values: tuple[str, ...] = (), hangs: bool = False
) -> Attack:
    return Attack(name, Kind.BOMB, tries, program, frozenset(allowed), values, hangs=hangs)


def _proposal(
    name: str,
    tries: str,
    program: str,
    *allowed: str,
    inputs: tuple[str, ...] = ("1",),
    message: str = "",
    hangs: bool = False,
) -> Attack:
    return Attack(name, Kind.PROPOSAL, tries, program, frozenset(allowed), (), inputs, message, hangs)


FILES = (
    _attack("read-passwd", "read a file of the host", "def f(): return open('/etc/passwd').read()", RAISED),
    _attack("list-root", "list the host's root", "import os\ndef f(): return os.listdir('/')", RAISED),
    _attack(
        "read-proc-mem", "its own memory as a file", "def f(): return open('/proc/self/mem', 'r+b').read(1)", RAISED
    ),
    _attack("read-proc-environ", "the server's environment", "def f(): return open('/proc/1/environ').read()", RAISED),
    _attack("write-cwd", "write a file", "def f(): return open('harm', 'w').write('x')", RAISED),
    _attack("write-tmp", "write a file", "def f(): return open('/tmp/azr-harm', 'w').write('x')", RAISED),
    _attack(
        "write-stdlib",
        "change the library of later programs",
        "import os\ndef f(): return open(os.__file__, 'a').write('import evil')",
        RAISED,
    ),
    _attack("remove-stdlib", "remove the library", "import os\ndef f(): os.unlink(os.__file__)", RAISED),
    _attack("make-folder", "write", "import os\ndef f(): os.mkdir('/harm')", RAISED),
    _attack("link", "write", "import os\ndef f(): os.symlink('/etc', 'harm')", RAISED),
    _attack("chmod", "change modes", "import os\ndef f(): os.chmod(os.__file__, 0o777)", RAISED),
    _attack("temp-file", "write", "import tempfile\ndef f(): return tempfile.mkstemp()[1]", RAISED),
    _attack("site-packages", "read the host's packages", "import numpy\ndef f(): return 1", RAISED),
    _attack("environment", "read secrets", "import os\ndef f(): return dict(os.environ)", OK, values=("{}",)),
    _attack(
        "c-environment",
        "read secrets from the C library",
        "import ctypes\ndef f(): return ctypes.CDLL(None).getenv(b'PATH')",
        OK,
        values=("i0;",),
    ),
    _attack(
        "descriptors", "find an open file", "import os\ndef f(): return [os.read(n, 9) for n in range(4, 32)]", RAISED
    ),
    _attack("working-directory", "see the host", "import os\ndef f(): return os.getcwd()", OK, values=("s1:/",)),
    _attack("host-name", "see the host", "import os\ndef f(): return os.uname().nodename", OK, values=("s7:sandbox",)),
)

NETWORK = (
    _attack("inet-socket", "reach the network", "import socket\ndef f(): return str(socket.socket())", RAISED),
    _attack(
        "unix-socket",
        "reach a local service",
        "import socket\ndef f(): socket.socket(socket.AF_UNIX).connect('/x')",
        RAISED,
    ),
    _attack(
        "resolve", "reach a name server", "import socket\ndef f(): return socket.gethostbyname('example.org')", RAISED
    ),
    _attack("socket-pair", "open a channel", "import socket\ndef f(): return str(socket.socketpair())", RAISED),
)

_NATIVE = "import ctypes\nc = ctypes.CDLL(None, use_errno=True)\n"
PROCESSES = (
    _attack("fork", "outlive the job", "import os\ndef f(): return os.fork()", RAISED),
    _attack(
        "fork-bomb",
        "use up the machine",
        "import os\ndef f():\n n = 0\n for _ in range(1000):\n  try: os.fork(); n += 1\n  except OSError: pass\n return n",
        OK,
        values=("i0;",),
    ),
    _attack("vfork", "fork without Python", _NATIVE + "def f(): return c.syscall(58)", OK, values=("i-1;",)),
    _attack("clone", "fork without Python", _NATIVE + "def f(): return c.syscall(56, 17, 0, 0, 0, 0)", OK, values=("i-1;",)),
    _attack("clone-3", "fork the newest way", _NATIVE + "def f(): return c.syscall(435, 0, 0)", OK, values=("i-1;",)),
    _attack("thread", "run on", "import threading\ndef f(): threading.Thread(target=print).start()", RAISED),
    _attack("shell", "run a command", "import os\ndef f(): return os.system('echo x > /tmp/azr-harm')", OK, RAISED,
            values=("i-1;", "i7f00;")),
    _attack("subprocess", "run a command", "import subprocess\ndef f(): return subprocess.run(['/bin/true'])", RAISED),
    _attack("execute", "become another program", "import os, sys\ndef f(): os.execv('/bin/true', ['x'])", RAISED),
    _attack("kill-parent", "kill the server", "import os\ndef f(): os.kill(os.getppid(), 9)", RAISED),
    _attack("kill-first", "kill the server", "import os\ndef f(): os.kill(1, 9)", RAISED),
    _attack("kill-all", "kill everything", "import os\ndef f(): os.kill(-1, 9)", RAISED),
    _attack("kill-group", "kill its group", "import os\ndef f(): os.kill(0, 9)", RAISED),
    _attack(
        "signal-by-descriptor",
        "have the kernel signal the server",
        "import fcntl, os\ndef f():\n fcntl.fcntl(3, fcntl.F_SETOWN, 1)\n fcntl.fcntl(3, fcntl.F_SETFL, os.O_ASYNC)",
        RAISED,
    ),
    _attack("trace", "read the server", _NATIVE + "def f(): return c.ptrace(16, 1, 0, 0)", OK, values=("i-1;",)),
    _attack("read-memory", "read the server", _NATIVE + "def f(): return c.syscall(310, 1, 0, 0, 0, 0, 0)", OK,
            values=("i-1;",)),
    _attack("unshare", "gain rights", _NATIVE + "def f(): return c.unshare(0x10000000)", OK, values=("i-1;",)),
    _attack("mount", "gain files", _NATIVE + "def f(): return c.mount(b'proc', b'/', b'proc', 0, None)", OK,
            values=("i-1;",)),
    _attack("become-root", "gain rights", "import os\ndef f(): os.setuid(0)", RAISED),
    _attack("prctl", "undo a lock", _NATIVE + "def f(): return c.prctl(1, 0, 0, 0, 0)", OK, values=("i-1;",)),
    _attack("other-convention", "slip by the filter", _NATIVE + "def f(): return c.syscall(0x40000000 + 39)", CRASH, OK,
            values=("i-1;",)),
    _attack(
        "raise-limits",
        "lift its memory limit",
        "import resource\ndef f(): resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
        RAISED,
    ),
    _attack("new-pipe", "open a channel", "import os\ndef f(): return os.pipe()", RAISED),
    _attack("memory-file", "run code from memory", "import os\ndef f(): return os.memfd_create('x')", RAISED),
    *[
        _attack(name, tries, _NATIVE + f"def f(): return c.syscall({number}, 0, 0, 0, 0, 0, 0)", OK, values=("i-1;",))
        for name, tries, number in (
            ("io-uring", "slip by the filter", 425), ("pidfd-open", "reach other processes", 434),
            ("pidfd-signal", "signal other processes", 424), ("open-tree", "gain files", 428), ("close-range-unshare", "share memory", 438),
            ("landlock", "undo a lock", 444), ("process-madvise", "reach other processes", 440),
        )
    ],
    _attack("alarm", "be interrupted later", "import signal\ndef f(): signal.alarm(1); return 1", OK, RAISED, CRASH, values=("i1;",)),
    _attack("priority", "take the processor", "import os\ndef f(): return os.nice(-5)", RAISED, CRASH),
    _attack("new-group", "leave its group", "import os\ndef f(): os.setsid()", RAISED, CRASH),
    _attack("write-memory", "change the interpreter", "import ctypes\ndef f(): ctypes.memset(id(1) + 16, 0x41, 16); return 1",
            OK, CRASH, RAISED, UNSUPPORTED, MEMORY, TIMEOUT, hangs=True),
    _attack("null-function", "crash", "import ctypes\ndef f(): ctypes.CFUNCTYPE(None)(0)()", CRASH, RAISED),
    _attack("bad-code", "crash", "def g(): pass\ndef f():\n f2 = type(g)(g.__code__.replace(co_code=b'\\xff' * 64), {})\n return f2()",
            CRASH, RAISED, OK, TIMEOUT, MEMORY, UNSUPPORTED, hangs=True),
)  # fmt: skip

ENDINGS = (
    _attack("sys-exit", "end without a result", "import sys\ndef f(): sys.exit(0)", RAISED),
    _attack("early-sys-exit", "end before the call", "import sys\nsys.exit(0)", RAISED),
    _attack("os-exit", "end without a result", "import os\ndef f(): os._exit(0)", CRASH),
    _attack("early-os-exit", "end before the call", "import os\nos._exit(0)", CRASH),
    *[
        _attack(f"os-exit-{code}", "look like our own failure", f"import os\nos._exit({code})", CRASH, MEMORY)
        for code in (1, 70, 71, 255)
    ],
    _attack("abort", "crash", "import os\ndef f(): os.abort()", CRASH),
    _attack("segfault", "crash", "import ctypes\ndef f(): ctypes.string_at(0)", CRASH),
    _attack("own-death", "crash", "import os, signal\ndef f(): signal.raise_signal(signal.SIGKILL)", RAISED, CRASH, OK),
    _attack("interrupt", "look like Ctrl-C", "def f(): raise KeyboardInterrupt", RAISED),
    _attack("generator-exit", "odd exception", "def f(): raise GeneratorExit", RAISED),
    _attack("at-exit", "run on", "import atexit, os\natexit.register(os._exit, 7)\ndef f(): return 1", OK, values=("i1;",)),
    _attack(
        "destructor",
        "change the result on the way out",
        "class D:\n def __del__(self):\n  import os\n  os.write(3, b'harm')\n  os._exit(0)\nD.x = D()\ndef f(): return 1",
        OK, values=("i1;",),
    ),
    _attack("exit-patched", "return into the server's code", "import os\nos._exit = lambda *a: None\ndef f(): return 1", OK,
            values=("i1;",)),
    _attack("dead-handler", "survive", "import signal\nfor s in (2, 10, 14, 15, 24): signal.signal(s, lambda *a: 0)\n"
            "def f():\n while 1: pass", TIMEOUT, hangs=True),
)  # fmt: skip

_FORGE = "import os, struct\ndef say(mark, data, size=None):\n"
_FORGE += " os.write(3, struct.pack('<BI', mark, len(data) if size is None else size) + data)\n"
CHANNEL = (
    _attack("junk", "break the framing", "import os\ndef f(): os.write(3, b'\\xff' * 100); return 1", PROTOCOL),
    _attack("junk-everywhere", "break the framing", "import os\ndef f():\n for n in range(40):\n  try: os.write(n, b'x')\n"
            "  except OSError: pass\n return 1", PROTOCOL),
    _attack("two-results", "one result too many", _FORGE + "def f(): say(0, b'i2;'); return 1", PROTOCOL),
    _attack("unknown-mark", "a status of its own", _FORGE + "say(9, b'')\nos._exit(0)", PROTOCOL),
    _attack("infra-mark", "look like our own failure", _FORGE + "say(7, b'')\nos._exit(0)", PROTOCOL),
    _attack("not-text", "break the decoder", _FORGE + "say(0, b'\\xff\\xfe')\nos._exit(0)", PROTOCOL),
    _attack("too-long", "a giant length", _FORGE + "say(0, b'', 0xFFFFFFFF)\nos._exit(0)", PROTOCOL),
    _attack("cut-short", "half a frame", _FORGE + "say(0, b'i', 3)\nos._exit(0)", PROTOCOL),
    _attack("flood", "fill the server's memory", "import os\ndef f():\n while 1: os.write(3, b'x' * 65536)", PROTOCOL),
    _attack("close-channel", "lose the result", "import os\ndef f(): os.close(3); return 1", CRASH),
    _attack("close-and-hang", "hang the server", "import os\ndef f():\n os.close(3)\n while 1: pass", CRASH),
    _attack("grow-pipe", "use kernel memory", "import fcntl\ndef f(): return fcntl.fcntl(3, 1031, 1 << 20)", RAISED),
    _attack(
        "read-frames",
        "read another job through the server's frames",
        "import sys\ndef f():\n frame, seen = sys._getframe(), b''\n while frame:\n"
        "  if 'buffer' in frame.f_locals: seen += bytes(frame.f_locals['buffer'].data)\n  frame = frame.f_back\n"
        " return b'SECRET' + b'-of-another' in seen",
        OK, values=("F",),
    ),
    _attack(
        "read-garbage",
        "find an expected value among all objects",
        "import gc\ndef f():\n word = '-'.join(['SECRET', 'of', 'another'])\n return any(word in v for o in gc.get_objects()"
        " if type(o) in (list, tuple, dict, set) for v in list(o) if type(v) is str and len(v) < 10**6)",
        OK, values=("F",),
    ),
)  # fmt: skip

PATCHES = (
    _attack("patch-len", "break the encoder", "import builtins\nbuiltins.len = lambda x: 0\ndef f(): return 'abc'", OK,
            values=("s3:abc",)),
    _attack("patch-type", "pass a lie as plain", "import builtins\nclass I(int): pass\nbuiltins.type = lambda x: int\n"
            "def f(): return I(3)", UNSUPPORTED),
    _attack("patch-sorted", "break the encoder", "import builtins\nbuiltins.sorted = None\ndef f(): return {1}", OK,
            values=("<i1;>",)),
    _attack("patch-repr-eval", "fool the comparison", "import builtins\nbuiltins.eval = builtins.repr = lambda *a: True\n"
            "def f(): return 1", OK, values=("i1;",)),
    _attack("patch-math", "fool the next program", "import math\nmath.sqrt = lambda x: 42\ndef f(): return 1", OK,
            values=("i1;",)),
    _attack("patch-counter", "fool the next program", "import collections\ncollections.Counter = dict\n"
            "def f(): return 1", OK, values=("i1;",)),
    _attack("patch-str", "fool the next program", _NATIVE + "import gc\n"
            "gc.get_referents(str.__dict__)[0]['upper'] = lambda s: 'x'\ndef f(): return 1", OK, values=("i1;",)),
    _attack("empty-modules", "break imports", "import sys\nsys.modules.clear()\ndef f(): return 1", OK, values=("i1;",)),
    _attack("no-recursion", "break the runner", "import sys\ndef f(): sys.setrecursionlimit(9); return [[1]]",
            OK, RAISED, UNSUPPORTED, CRASH),
    _attack("trace-runner", "change the runner", "import sys\ndef t(fr, *a):\n fr.f_locals.clear()\n return t\n"
            "sys.settrace(t)\ndef f(): return 1", OK, RAISED, CRASH, UNSUPPORTED),
    _attack("patch-runner", "change the runner", "import sys\nfr = sys._getframe()\nwhile fr:\n fr.f_globals.clear()\n"
            " fr = fr.f_back\nsys.setrecursionlimit(10**6)\ndef f(): return 1", OK, CRASH, RAISED, UNSUPPORTED, PROTOCOL),
    _attack("no-streams", "break printing", "import sys\nsys.stdout = sys.stderr = None\ndef f(): print(1); return 1", OK,
            values=("i1;",)),
    *[
        _attack(name, "fool the next program", source + "\ndef f(): return 1", OK, values=("i1;",))
        for name, source in (
            ("patch-environment", "import os\nos.environ['AZR_LEAK'] = '1'"),
            ("patch-path", "import sys\nsys.path.insert(0, '/leak')\nsys.path_hooks.clear()"),
            ("patch-modules", "import sys, types\nsys.modules['math'] = types.ModuleType('math')"),
            ("patch-import", "import builtins\nbuiltins.__import__ = lambda *a, **k: None"),
            ("patch-build-class", "import builtins\nbuiltins.__build_class__ = None"),
            ("patch-dict-get", "import builtins\nbuiltins.dict = builtins.list = builtins.str = builtins.int = None"),
            ("patch-exceptions", "import builtins\nbuiltins.BaseException = builtins.Exception = builtins.MemoryError = None"),
            ("patch-json", "import json\njson.dumps = json.loads = lambda *a: 42"),
            ("patch-decimal", "import decimal\ndecimal.getcontext().prec = 1"),
            ("patch-warnings", "import warnings\nwarnings.simplefilter('error')"),
            ("patch-hooks", "import sys\nsys.excepthook = sys.unraisablehook = sys.displayhook = lambda *a: 1 / 0"),
            ("patch-codecs", "import codecs\ncodecs.register_error('surrogatepass', lambda e: ('', e.end))"),
            ("patch-integer-limit", "import sys\nsys.set_int_max_str_digits(640)"),
            ("leave-builtin", "import builtins\nbuiltins.azr_leak = 1"),
            ("leave-module", "import sys, types\nsys.modules['azr_leak'] = types.ModuleType('azr_leak')"),
            ("no-collector", "import gc\ngc.disable()\ngc.callbacks.append(lambda *a: 1 / 0)"),
        )
    ],
    _attack("audit-hook", "refuse the runner's calls", "import sys\ndef h(*a): raise ValueError\nsys.addaudithook(h)\ndef f(): return 1",
            OK, RAISED, CRASH, UNSUPPORTED, values=("i1;",)),
    _attack("profile-runner", "change the runner", "import sys\nsys.setprofile(lambda *a: 1 / 0)\ndef f(): return 1", OK, RAISED, CRASH, UNSUPPORTED, values=("i1;",)),
)  # fmt: skip

_BOMBS = (
    _bomb("endless-loop", "never end", "def f():\n while True: pass", TIMEOUT, hangs=True),
    _bomb("endless-program", "never begin", "while True: pass", TIMEOUT, hangs=True),
    _bomb("catch-all-loop", "catch its own end", "def f():\n while True:\n  try:\n   while True: pass\n"
            "  except BaseException: pass", TIMEOUT, hangs=True),
    _bomb("sleep", "never end", "import time\ndef f(): time.sleep(1e6)", TIMEOUT, hangs=True),
    _bomb("power", "one endless instruction", "def f(): return 10**10**8", TIMEOUT, hangs=True),
    _bomb("regular-expression", "one endless call", "import re\ndef f(): return bool(re.match('(a+)+$', 'a'*40+'b'))",
            TIMEOUT, OK, values=("F",), hangs=True),
    _bomb("slow-message", "hang the report", "class E(Exception):\n def __str__(self):\n  while 1: pass\n"
            "def f(): raise E", TIMEOUT, hangs=True),
    _bomb("colliding-hashes", "slow tables", "def f(): return len({i * (2**61 - 1) for i in range(10**5)})", TIMEOUT, OK,
            values=("i186a0;",), hangs=True),
    _bomb("memory-list", "use up memory", "def f(): return len([0] * 10**10)", MEMORY),
    _bomb("memory-steps", "use up memory", "def f():\n a = []\n while 1: a.append(bytearray(10**6))", MEMORY),
    _bomb("memory-at-start", "use up memory", "x = 'x' * 10**11\ndef f(): return 1", MEMORY),
    _bomb("memory-caught", "use up memory and go on", "def f():\n a = []\n try:\n  while 1: a.append([0] * 10**4)\n"
            " except MemoryError: return 1", OK, MEMORY, values=("i1;",)),
    _bomb("print-much", "fill a disk or a pipe", "def f():\n for _ in range(300): print('x' * 10**6)\n return 1", OK,
            TIMEOUT, MEMORY, values=("i1;",)),
    _bomb("many-files", "use up descriptors", "import os\ndef f(): return len([open(os.__file__) for _ in range(99)])",
            RAISED),
    _bomb("deep-recursion", "overflow the stack", "def f(): return f()", RAISED),
    _bomb("deeper-recursion", "overflow the stack", "import sys\nsys.setrecursionlimit(10**9)\ndef f(): return f()",
            CRASH, MEMORY, RAISED, TIMEOUT, hangs=True),
    _bomb("read-stdin", "wait for input", "def f(): return input()", RAISED),
    _bomb("bytes", "use up memory", "def f(): return len(bytes(1 << 40))", MEMORY),
    _bomb("doubling", "use up memory", "def f():\n s = 'x'\n while 1: s += s", MEMORY),
    _bomb("doubling-bytes", "use up memory", "def f():\n s = bytearray(b'x')\n while 1: s *= 2", MEMORY),
    _bomb("wide-format", "use up memory", "def f(): return len('{:10000000000}'.format(1))", MEMORY, RAISED),
    _bomb("endless-list", "use up memory", "import itertools\ndef f(): return len(list(itertools.repeat(0)))", MEMORY),
    _bomb("endless-join", "use up memory", "import itertools\ndef f(): return len(''.join(itertools.repeat('x')))", MEMORY),
    _bomb("long-range", "use up memory", "def f(): return len(list(range(10**12)))", MEMORY, RAISED),
    _bomb("power-set", "use up memory", "def f():\n a = [[]]\n for i in range(64): a += [s + [i] * 100 for s in a]\n return len(a)", MEMORY),
    _bomb("growing-dict", "use up memory", "def f():\n d = {}\n while 1: d[len(d)] = [0] * 1000", MEMORY),
    _bomb("shared-laughs", "a small object with a giant text", "def f():\n a = [0]\n for _ in range(50): a = [a] * 10\n return a", UNSUPPORTED),
    _bomb("wide-laughs", "a small object with a giant text", "def f(): return ['x' * 10**4] * 10**4", UNSUPPORTED),
    _bomb("endless-sum", "one endless call", "import itertools\ndef f(): return sum(itertools.count())", TIMEOUT, hangs=True),
    _bomb("factorial", "one endless call", "import math\ndef f(): return math.factorial(10**8) % 7", TIMEOUT, MEMORY, hangs=True),
    _bomb("endless-search", "one endless call", "import itertools\ndef f(): return 'x' in itertools.repeat('y')", TIMEOUT, hangs=True),
    _bomb("long-division", "one endless instruction", "def f(): return (7 ** 10**7) // (3 ** 10**6) % 7", TIMEOUT, hangs=True),
    _bomb("endless-generator", "never end", "def g():\n while 1: yield 1\ndef f(): return sum(g())", TIMEOUT, hangs=True),
    _bomb("endless-iterator", "hang in a method", "class I:\n def __iter__(s): return s\n def __next__(s): return 1\ndef f(): return max(I())", TIMEOUT, hangs=True),
    _bomb("endless-hash", "hang in a method", "class H:\n def __hash__(s):\n  while 1: pass\ndef f(): return {H()}", TIMEOUT, hangs=True),
    _bomb("endless-import", "hang in an import", "import builtins\ndef i(*a):\n while 1: pass\nbuiltins.__import__ = i\ndef f():\n import math", TIMEOUT, hangs=True),
    _bomb("endless-exit", "hang on the way out", "def f():\n try: return 1\n finally:\n  while 1: pass", TIMEOUT, hangs=True),
    _bomb("own-lock", "wait for itself", "import _thread\ndef f():\n k = _thread.allocate_lock()\n k.acquire()\n k.acquire()", TIMEOUT, RAISED, CRASH, hangs=True),
    _bomb("wait-for-nothing", "wait for a descriptor", "import select\ndef f(): return len(select.select([], [], []))", TIMEOUT, RAISED, CRASH, hangs=True),
    _bomb("wait-for-signal", "wait for a signal", "import signal\ndef f(): signal.pause()", TIMEOUT, OK, CRASH, values=("N",), hangs=True),
    _bomb("mutual-recursion", "overflow the stack", "def g(): return f()\ndef f(): return g()", RAISED),
    _bomb("recursive-method", "overflow the C stack", "class R:\n def __repr__(s): return repr(s)\ndef f(): return repr(R())", RAISED, CRASH),
    _bomb("deep-pattern", "overflow the pattern compiler", "import re\ndef f(): return bool(re.match('(' * 5000 + ')' * 5000, ''))", RAISED, OK, CRASH, MEMORY),
    _bomb("deep-json", "overflow the parser", "import json\ndef f(): return len(json.loads('[' * 10**6))", RAISED, CRASH, MEMORY),
    _bomb("long-number", "stall the parser", "def f(): return int('9' * 10**6) % 7", RAISED),
    _bomb("huge-shift", "use up memory", "def f(): return (1 << 10**13) % 7", MEMORY, RAISED),
)  # fmt: skip

RESULTS = (
    _attack("equal-to-all", "equal the gold", "class E:\n def __eq__(self, o): return True\ndef f(): return E()",
            UNSUPPORTED),
    _attack("int-subclass", "equal the gold", "class I(int):\n def __eq__(self, o): return True\n __hash__ = int.__hash__\n"
            "def f(): return I(3)", UNSUPPORTED),
    _attack("nested-subclass", "equal the gold", "class S(str): pass\ndef f(): return [(1, {S('a')})]", UNSUPPORTED),
    _attack("lying-class", "look plain", "class L:\n __class__ = int\ndef f(): return L()", UNSUPPORTED),
    _attack("lying-metaclass", "run code in the report", "class M(type):\n @property\n def __name__(c):\n"
            "  raise SystemExit\nclass C(metaclass=M): pass\ndef f(): return C()", UNSUPPORTED),
    _attack("lambda", "no value", "def f(): return lambda: 1", UNSUPPORTED),
    _attack("generator", "no value", "def f(): yield 1", UNSUPPORTED),
    _attack("coroutine", "no value", "async def f(): return 1", UNSUPPORTED),
    _attack("counter", "no plain value", "import collections\ndef f(): return collections.Counter('aab')", UNSUPPORTED),
    _attack("ellipsis", "no plain value", "def f(): return ...", UNSUPPORTED),
    _attack("own-member", "endless result", "def f():\n a = []\n a.append(a)\n return a", UNSUPPORTED),
    _attack("deep-result", "overflow the encoder", "def f():\n a = 1\n for _ in range(10**5): a = [a]\n return a",
            UNSUPPORTED, CRASH),
    _attack("wide-result", "flood the encoder", "def f(): return [0] * 10**6", UNSUPPORTED),
    _attack("long-result", "flood the channel", "def f(): return 'x' * 10**7", UNSUPPORTED),
    _attack("long-integer", "stall printing", "def f(): return 1 << 10**6", UNSUPPORTED),
    _attack("changing-dict", "change while it is read", "class K(str): pass\ndef f():\n d = {}\n d[K('a')] = 1\n return d",
            UNSUPPORTED),
    _attack("surrogate", "break UTF-8", "def f(): return '\\ud800'", OK, values=("s1:\ud800",)),
    _attack("nul", "break C strings", "def f(): return 'a\\0b'", OK, values=("s3:a\0b",)),
    _attack("many-nan", "equal nothing", "def f(): return {float('nan') for _ in range(3)}", OK,
            values=("<fnan;fnan;fnan;>",)),
    _attack("long-message", "flood the report", "def f(): raise ValueError('x' * 10**7)", RAISED),
    _attack("raising-message", "break the report", "class E(Exception):\n def __str__(self): raise E\ndef f(): raise E",
            RAISED),
    _attack("odd-message", "break the report", "class S(str):\n def __getitem__(self, i): raise SystemExit\n"
            "class E(Exception):\n def __str__(self): return S('x')\ndef f(): raise E", RAISED),
    _attack("surrogate-message", "break UTF-8", "def f(): raise ValueError('\\ud800' * 500)", RAISED),
    _attack("pickle", "run code on reading", "import pickle\nclass P:\n def __reduce__(self): return eval, ('1/0',)\n"
            "def f(): return pickle.dumps(P())", RAISED, OK, CRASH),
)  # fmt: skip

SOURCES = (
    _attack("no-source", "nothing to run", "", RAISED),
    _attack("no-function", "no f", "def g(): return 1", RAISED),
    _attack("no-callable", "f is no function", "f = 3", RAISED),
    _attack("syntax", "no Python", "def f(:", RAISED),
    _attack("nul-source", "break the compiler", "def f(): return 1\0", RAISED),
    _attack("surrogate-source", "break the compiler", "def f(): return '\ud800'", RAISED),
    _attack("encoding-line", "change the encoding", "# coding: utf-16\ndef f(): return 1", OK, values=("i1;",)),
    _attack("many-signs", "overflow the compiler", "f = lambda: " + "-" * 1500 + "1", OK, RAISED, MEMORY, CRASH),
    _attack("many-brackets", "overflow the compiler", "f = lambda: " + "[" * 100_000 + "]" * 100_000, RAISED, MEMORY, CRASH),
    _attack("many-operators", "overflow the compiler", "f = lambda: " + "+".join("1" * 50_000), OK, RAISED, MEMORY, CRASH),
    _attack("huge-constant", "stall the compiler", "f = lambda: 'a' * (1 << 40)", MEMORY),
    _attack("server-names", "see the server's names", "def f(): return sorted(k for k in globals() if k[:2] != '__')", OK,
            values=("[s1:f]",)),
)  # fmt: skip

PROGRAMS: Final = (*FILES, *NETWORK, *PROCESSES, *ENDINGS, *CHANNEL, *PATCHES, *RESULTS, *SOURCES)
"""Programs that want files, the network, other processes, the channel of results, the next program or the comparison."""
BOMBS: Final = _BOMBS
"""Programs that want time, memory or space without end."""

_F = "def f(x): return x"
PROPOSALS: Final = (
    _proposal("time", "a task of chance", "import time\ndef f(x): return time.time()", "forbidden"),
    _proposal("chance", "a task of chance", "import random\ndef f(x): return random.random()", "forbidden"),
    _proposal("system", "reach the system", "from os import path\ndef f(x): return path.exists('/')", "forbidden"),
    _proposal("inner-import", "reach the system", "def f(x):\n import subprocess as s\n return s.getoutput('id')", "forbidden"),
    _proposal("renamed-import", "reach the system", "import os.path as math\ndef f(x): return math.abspath('.')", "forbidden"),
    _proposal("relative-import", "reach our package", "from . import values\ndef f(x): return 1", "forbidden"),
    _proposal("dunder-import", "reach the system", "def f(x): return __import__('os').getpid()", "forbidden"),
    _proposal("evaluate", "run text", "def f(x): return eval('x')", "forbidden"),
    _proposal("alias-of-eval", "run text", "e = eval\ndef f(x): return e('x')", "forbidden"),
    _proposal("open-file", "read a file", "def f(x): return open('/etc/passwd').read()", "forbidden"),
    _proposal("all-globals", "see the runner", "def f(x): return sorted(globals())", "forbidden"),
    _proposal("all-classes", "reach every class", "def f(x): return len(().__class__.__base__.__subclasses__())", "forbidden"),
    _proposal("frame-of-generator", "see the runner", "def f(x):\n g = (y for y in [1])\n return g.gi_frame.f_back.f_lineno", "forbidden"),
    _proposal("ask-the-user", "wait for input", "def f(x): return input()", "forbidden"),
    _proposal("address", "a task of chance", "def f(x): return id(x)", "forbidden"),
    _proposal("asynchronous", "a task without value", "async def f(x): return x", "forbidden"),
    _proposal("no-entry", "a task without a program", "def g(x): return x", "entry"),
    _proposal("lambda-entry", "a program without f", "f = lambda x: x", "entry"),
    _proposal("nested-entry", "a program without f", "def g():\n def f(x): return x", "entry"),
    _proposal("no-argument", "a task without input", "def f(): return 7", "entry"),
    _proposal("broken-syntax", "stop the parser", "def f(x) return x", "syntax"),
    _proposal("nul-in-program", "stop the parser", "def f(x): return x\0", "syntax"),
    _proposal("surrogate-in-program", "stop the parser", "def f(x): return '\ud800'", "syntax"),
    _proposal("deep-program", "overflow the parser", "def f(x): return " + "(" * 2000 + "x" + ")" * 2000, "syntax"),
    _proposal("long-program", "fill the prompts", _F + " # " + "x" * 10_000, "size"),
    _proposal("wide-program", "fill the prompts", "def f(x): return [" + "1," * 3_950 + "]", "size"),
    _proposal("hash-of-text", "a task of chance", "def f(x): return hash('a' * x)", "forbidden"),
    _proposal("set-order", "a task of chance", "def f(x): return ''.join({'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'})", "nondeterministic"),
    _proposal("text-of-object", "a task of chance", "class C: pass\nkept = []\ndef f(x):\n kept.append(C())\n return str(kept[-1])", "nondeterministic"),
    _proposal("global-count", "another value each time", "n = 0\ndef f(x):\n global n\n n += 1\n return n", "nondeterministic"),
    _proposal("default-list", "another value each time", "def f(x, seen=[]):\n seen.append(x)\n return len(seen)", "nondeterministic"),
    _proposal("function-attribute", "another value each time", "def f(x):\n f.n = getattr(f, 'n', 0) + 1\n return f.n", "nondeterministic"),
    _proposal("decimal-context", "another value each time", "import decimal\ndef f(x):\n decimal.getcontext().prec += 1\n return decimal.getcontext().prec", "nondeterministic"),
    _proposal("one-shot-iterator", "another value each time", "it = iter(range(9))\ndef f(x): return next(it)", "nondeterministic"),
    _proposal("equal-to-all-result", "a key that equals everything", "class E:\n def __eq__(s, o): return True\ndef f(x): return E()", "unsupported"),
    _proposal("int-subclass-result", "a key that equals everything", "class E(int):\n def __eq__(s, o): return True\ndef f(x): return E(7)", "unsupported"),
    _proposal("function-result", "a key that is no value", "def f(x): return f", "unsupported"),
    _proposal("long-output", "fill the prompts", "def f(x): return 'a' * 5_000", "size"),
    _proposal("giant-output", "fill the memory", "def f(x): return 'a' * 10**7", "unsupported"),
    _proposal("endless", "stop the gate", "def f(x):\n while True: pass", "timeout", hangs=True),
    _proposal("endless-at-import", "stop the gate", "while True: pass\n" + _F, "timeout", hangs=True),
    _proposal("hungry", "use up memory", "def f(x): return len([0] * 10**11)", "memory"),
    _proposal("recursive", "overflow the stack", "def f(x): return f(x)", "raised"),
    _proposal("leaves", "end the gate", "raise SystemExit\n" + _F, "raised"),
    _proposal("input-call", "run text as input", _F, "input", inputs=("open('{canary}', 'w')",)),
    _proposal("input-expression", "run text as input", _F, "input", inputs=("1 if True else 2",)),
    _proposal("input-lambda", "an input that is no value", _F, "input", inputs=("lambda: 1",)),
    _proposal("input-power", "stall the parser", _F, "input", inputs=("10**10**8",)),
    _proposal("input-closes-call", "leave the brackets", _F, "input", inputs=("1) or f(2",)),
    _proposal("input-star", "another number of arguments", _F, "input", inputs=("*[1]",)),
    _proposal("input-keyword", "a named argument", _F, "input", inputs=("x=1",)),
    _proposal("input-brackets", "overflow the parser", _F, "input", inputs=("[" * 5_000,)),
    _proposal("input-nothing", "no argument", _F, "input", inputs=("",)),
    _proposal("input-long", "fill the prompts", _F, "size", "input", inputs=("'" + "a" * 5_000 + "'",)),
    _proposal("no-input", "a task without input", _F, "inputs", inputs=()),
    _proposal("one-input-for-all", "a task that shows all it hides", _F, "inputs", inputs=("1",) * 64, message="Give it back."),
    _proposal("telling-message", "give the key away", "def f(number): return number * 2 + 1", "leak",
              inputs=tuple(map(str, range(64))), message="It is: def f(number): return number * 2 + 1"),
)  # fmt: skip
"""Drafts for the Python domain; none may become a task."""

NOT_CONTAINED_BY_SUBPROCESS: Final = frozenset(
    {attack.id for attack in (*FILES, *NETWORK, *PROCESSES)} | {"grow-pipe"}  # the system's own bound on a user's pipes
)
"""Names of the attacks that the level ``subprocess`` does not claim to contain. Some end well by luck, and none is tested."""


def draft_of(attack: Attack) -> Draft:
    """The draft of a proposal: for induction if it has a message, else for deduction."""
    return Draft(Mode.INDUCTION if attack.message else Mode.DEDUCTION, attack.text, attack.inputs, attack.message)


_NEVER_CORRECT: Final = frozenset(Status) - {Status.CORRECT, Status.ERROR}


def _answer(name: str, text: str, slot: str) -> Attack:
    return Attack(
        f"answer-{slot}-{name.replace(' ', '-')}", Kind.ANSWER, f"pass for an answer: {name}", text, _NEVER_CORRECT
    )


ANSWER_VALUES: Final = tuple(_answer(name, text, "value") for name, text in answers.VALUES.items())
"""Answers in place of a value; for the output 7 of ``def f(x): return x + 4`` at 3, none is right in any mode."""
ANSWER_PROGRAMS: Final = tuple(_answer(name, text, "program") for name, text in answers.PROGRAMS.items())
"""Answers in place of a program; for the hidden pair 3 -> 7, none is right."""

ATTACKS: Final = (*PROGRAMS, *BOMBS, *ANSWER_VALUES, *ANSWER_PROGRAMS, *PROPOSALS)
"""All of them."""
