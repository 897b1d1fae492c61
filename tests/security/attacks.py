"""Programs and texts that try to cheat or to do harm, as data. Every test of an executor or a verifier may use them.

What each may end in is written beside it. ``values`` lists the only results an attack may have when it is ``ok``: a
result that is not listed means that it saw or did something.
"""

# ruff: noqa: E501 - a short program reads best on one line
from __future__ import annotations

from dataclasses import dataclass

from azr_env.types import OutcomeStatus

OK, RAISED, TIMEOUT = OutcomeStatus.OK, OutcomeStatus.RAISED, OutcomeStatus.TIMEOUT
MEMORY, CRASH = OutcomeStatus.MEMORY, OutcomeStatus.CRASH
UNSUPPORTED, PROTOCOL = OutcomeStatus.UNSUPPORTED, OutcomeStatus.PROTOCOL


@dataclass(frozen=True)
class Attack:
    """One hostile program.

    Attributes:
        id: names the test.
        tries: what it wants.
        program: defines ``f``, or does its harm on the way.
        allowed: the statuses that mean it was contained.
        values: canonical texts it may return; empty means any.
        calls: canonical texts of arguments.
        hangs: it is expected to run into its time limit, so give it a short one.
    """

    id: str
    tries: str
    program: str
    allowed: frozenset[OutcomeStatus]
    values: tuple[str, ...] = ()
    calls: tuple[str, ...] = ("()",)
    hangs: bool = False


def _attack(
    name: str, tries: str, program: str, *allowed: OutcomeStatus, values: tuple[str, ...] = (), hangs: bool = False
) -> Attack:
    return Attack(name, tries, program, frozenset(allowed), values, hangs=hangs)


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
)  # fmt: skip

RESOURCES = (
    _attack("endless-loop", "never end", "def f():\n while True: pass", TIMEOUT, hangs=True),
    _attack("endless-program", "never begin", "while True: pass", TIMEOUT, hangs=True),
    _attack("catch-all-loop", "catch its own end", "def f():\n while True:\n  try:\n   while True: pass\n"
            "  except BaseException: pass", TIMEOUT, hangs=True),
    _attack("sleep", "never end", "import time\ndef f(): time.sleep(1e6)", TIMEOUT, hangs=True),
    _attack("power", "one endless instruction", "def f(): return 10**10**8", TIMEOUT, hangs=True),
    _attack("regular-expression", "one endless call", "import re\ndef f(): return bool(re.match('(a+)+$', 'a'*40+'b'))",
            TIMEOUT, hangs=True),
    _attack("slow-message", "hang the report", "class E(Exception):\n def __str__(self):\n  while 1: pass\n"
            "def f(): raise E", TIMEOUT, hangs=True),
    _attack("colliding-hashes", "slow tables", "def f(): return len({i * (2**61 - 1) for i in range(10**5)})", TIMEOUT,
            hangs=True),
    _attack("memory-list", "use up memory", "def f(): return len([0] * 10**10)", MEMORY),
    _attack("memory-steps", "use up memory", "def f():\n a = []\n while 1: a.append(bytearray(10**6))", MEMORY),
    _attack("memory-at-start", "use up memory", "x = 'x' * 10**11\ndef f(): return 1", MEMORY),
    _attack("memory-caught", "use up memory and go on", "def f():\n a = []\n try:\n  while 1: a.append([0] * 10**4)\n"
            " except MemoryError: return 1", OK, MEMORY, values=("i1;",)),
    _attack("print-much", "fill a disk or a pipe", "def f():\n for _ in range(1000): print('x' * 10**6)\n return 1", OK,
            TIMEOUT, values=("i1;",)),
    _attack("many-files", "use up descriptors", "import os\ndef f(): return len([open(os.__file__) for _ in range(99)])",
            RAISED),
    _attack("deep-recursion", "overflow the stack", "def f(): return f()", RAISED),
    _attack("deeper-recursion", "overflow the stack", "import sys\nsys.setrecursionlimit(10**9)\ndef f(): return f()",
            CRASH, MEMORY, RAISED, TIMEOUT, hangs=True),
    _attack("read-stdin", "wait for input", "def f(): return input()", RAISED),
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

ATTACKS = (*FILES, *NETWORK, *PROCESSES, *ENDINGS, *CHANNEL, *PATCHES, *RESOURCES, *RESULTS, *SOURCES)

HOSTILE_TEXTS = {
    "or-true": "0) or True or f(1",
    "comment": "0) if False else 7 #",
    "newline-code": "0\nimport os; os._exit(0)",
    "equal-to-all": "type('E', (), {'__eq__': lambda s, o: True})()",
    "int-subclass": "type('I', (int,), {'__eq__': lambda s, o: True})(3)",
    "rewrite-f": "setattr(f, '__code__', (lambda *a: 1).__code__)",
    "patch-eval": "__import__('builtins').__dict__.__setitem__('eval', lambda *a: True)",
    "patch-repr": "__import__('builtins').__dict__.__setitem__('repr', lambda *a: '1')",
    "lambda": "lambda: 1",
    "walrus": "(x := 3)",
    "starred": "*[3]",
    "expression": "sum(range(4))+1",
    "signs": "-" * 1500 + "1",
    "power": "10**10**8",
    "brackets": "[" * 100_000 + "]" * 100_000,
    "open-brackets": "[" * 100_000,
    "nul": "1\0",
    "surrogate": "\ud800",
    "quoted-surrogate": "'\ud800'",
    "colliding-hashes": "{" + ", ".join(str(i * (2**61 - 1)) for i in range(1500)) + "}",
    "long-integer": "9" * 5000,
    "long-text": "'" + "a" * 10**6 + "'",
    "format": "f'{open(\"/etc/passwd\").read()}'",
    "call-of-f": "f(1)",
    "ellipsis": "...",
    "empty": "",
    "blank": " \n\t ",
    "fence": "```\n1\n```",
}
"""Texts for the slots input and output; none is a value that any sensible task has as its answer."""
