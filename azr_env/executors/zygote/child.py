"""One load, in a process of its own that runs nothing else. Standard library only: loaded by its path.

The server hands this file, ``wire`` and ``frames`` a private copy of the builtins, so a program that patches
``builtins`` does not reach them by accident. A program that goes through frames can still forge its own
results: that gains nothing over returning them, for no expected value and no other job is in this process.
"""

from __future__ import annotations

import builtins
import gc
import os
import resource
import sys
import types
from collections.abc import Callable

FRAMES_OF_F = 999
"""How deep ``f`` may recurse, itself included: as in a fresh interpreter that calls it from a script."""
RESULTS_FD = 3
_WARM_ROUNDS = 60
_WARM = """
def g(item, k):
    return [k * x for x in item if x] + list(reversed(item))

def f(nums, text='a b', table=None):
    output, seen = {}, set()
    for i, n in enumerate(nums):
        output[n] = [(nums.count(n), str(n))] + sorted(set(nums))[:2]
        seen.add(n)
        while i > 10 and n in seen:
            i -= 1
    words = [w.upper().strip() for w in text.split() if w.isalpha()]
    table = dict(table or {}, **{'k%d' % n: n / 2 for n in nums})
    if len(words) < 0:
        raise ValueError(f'{words}')
    return output, 1.5, ''.join(words), g(nums, 2), table, max(nums), text.replace('a', 'b')[::-1], None, True
"""

_POOL, _POOL_HEAD, _BYTES_HEAD, _SMALLEST_BLOCK = 16_384, 48, 33, 513  # of CPython's allocator, and of bytes
_SHIFT, _ODD_BLOCK = 7, 569  # the C library adds eight bytes and rounds to 592: an odd number of sixteens
_MOST_KEPT = 1 << 20  # bytes of one size: where the allocator works otherwise, settling gives up
_EXIT_IMPORT = 72  # frames.EXIT_IMPORT
# Names of our own, for what only a child calls: an attribute looked up there first costs it pages of the interpreter.
_exit, _dup2, _closerange, _setrlimit = os._exit, os.dup2, os.closerange, resource.setrlimit
_CPU, _AS, _NPROC = resource.RLIMIT_CPU, resource.RLIMIT_AS, resource.RLIMIT_NPROC
_name_of = type.__dict__["__name__"].__get__  # a metaclass can lie about __name__; the slot cannot
_write = os.write


class Kit:
    """What the child needs from the server: modules loaded by path, and the call that installs its filter.

    ``depth`` is found in the first run, and that of each: a run of :func:`warm` lies as deep as one in a child.
    """

    def __init__(self, wire: types.ModuleType, frames: types.ModuleType, lock: Callable[[], object]) -> None:
        self.encode, self.decode, self.not_plain = wire.encode, wire.decode, wire.NotPlain
        self.frames = frames
        self.lock = lock
        self.send = sender(frames)
        self.depth = 0
        self.kept: list[object] = []
        self._last: tuple[str, types.CodeType] | None = None

    def forget(self) -> None:
        """Lets go of the last program: a child that did would write to every page on which its names are counted."""
        self._last = None

    def compiled(self, program: str) -> types.CodeType:
        """The program's code; that of the last program is remembered."""
        if self._last is None or self._last[0] != program:
            self._last = program, compile(program, "<program>", "exec", dont_inherit=True)
        return self._last[1]


def confine(kit: Kit, results: int, timeout_s: float, memory_mib: int) -> None:
    """Keeps the descriptor of the results and no other; sets this job's limits; gives up fork, kill and the like."""
    _dup2(results, RESULTS_FD, False)
    _closerange(RESULTS_FD + 1, 1 << 16)
    cpu, space = int(timeout_s) + 2, memory_mib << 20
    _setrlimit(_CPU, (cpu, cpu))
    _setrlimit(_AS, (space, space))
    _setrlimit(_NPROC, (0, 0))
    kit.lock()
    _write(RESULTS_FD, kit.frames.LOCKED)


def warm(kit: Kit) -> None:
    """In the server, before the first fork: makes interpreter and C library settle, so that children share the pages.

    Runs only the text above, by the way that a load takes. Without it every child resolves symbols, looks up
    attributes and specialises byte code on pages of its own.
    """
    kept = sys.modules["__main__"], sys.getrecursionlimit()
    call = kit.encode(([1, 2, 3, 4], "a cd e", {"x": 1.5}), True)
    body = memoryview(kit.frames.pack_programs([(_WARM, [call, kit.encode(("x",), True)])]))
    results, results_in = os.pipe()
    send = sender(kit.frames, results_in)
    for _ in range(_WARM_ROUNDS):
        work(kit, body, 1, 1 << 16, send)
        os.read(results, 1 << 16)
    os.close(results)
    os.close(results_in)
    kit.forget()
    sys.modules["__main__"] = kept[0]
    sys.setrecursionlimit(kept[1])
    gc.disable()


def settle(lane: int) -> list[object]:
    """In the server, last before service: fills the gaps of its memory. Gives what must be kept for that.

    A child's first objects then lie side by side on new pages, and not in gaps all over pages that it shares
    with the server, each of which the kernel would have to copy for it. In the second lane they lie an odd number of
    places further on: what a program makes of the address of an object then differs between the lanes.
    """
    kept: list[object] = []
    for size in range(16, _SMALLEST_BLOCK, 16):  # Python's own allocator: pools of one size each
        for _ in range(_MOST_KEPT // size):
            kept.append(_block(size))
            if id(kept[-1]) % _POOL == _POOL_HEAD:  # the first of a new pool
                break
    end = id(bytes(120_000))  # larger than any gap, so it lies behind the last
    for size in (65_536, 32_768, 16_384, 8_192, 4_096, 2_048, 1_536, 1_024, 800, 640, 528):  # the C library's
        for _ in range(_MOST_KEPT // size):
            block = bytes(size)
            if id(block) >= end:
                break
            kept.append(block)
    if lane:
        for size in (*range(16, _SMALLEST_BLOCK, 16), _ODD_BLOCK):
            kept += [_block(size) for _ in range(_SHIFT)]
    return kept


def _block(size: int) -> object:
    """An object of ``size`` bytes, a multiple of 16 where Python's own allocator serves it."""
    if size == 16:
        return object()
    return complex(size, size) if size == 32 else bytes(size - _BYTES_HEAD)


def work(kit: Kit, body: memoryview, programs: int, most: int, send: Callable[[int, str, int], bool]) -> None:
    """Runs the programs of a request's body."""
    run_all(kit, kit.frames.unpack_programs(body, programs), most, send)


def run_all(kit: Kit, programs: list[tuple[str, list[str]]], most: int, send: Callable[[int, str, int], bool]) -> None:
    """Runs the programs one after the other, each in a module of its own.

    Several share a process only if they are plain (:mod:`azr_env.executors.zygote.plain`). Loading a module would
    outlast its program, so it ends the process; the host runs what is left one by one.
    """
    if len(programs) == 1:
        ((program, calls),) = programs
        run(kit, program, calls, most, send)
        return
    sys.meta_path[:] = [_NoMoreModules]
    for program, calls in programs:
        run(kit, program, calls, most, send).clear()


class _NoMoreModules:
    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        _exit(_EXIT_IMPORT)


def run(
    kit: Kit, program: str, calls: list[str], most: int, send: Callable[[int, str, int], bool]
) -> dict[str, object]:
    """Runs the program, makes the calls, and sends one frame for each as soon as it is done. Gives its names."""
    frames = kit.frames
    module = types.ModuleType("__main__")
    module.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = module
    gc.enable()
    if not kit.depth:
        kit.depth = _depth()
    sys.setrecursionlimit(FRAMES_OF_F + kit.depth)  # before the program: it may set its own
    try:
        exec(kit.compiled(program), module.__dict__)  # noqa: S102
        f = _lookup(module)
    except BaseException as exc:  # noqa: BLE001
        mark, text = _failure(frames, exc)
        for _ in calls:
            send(mark, text, frames.MAX_DETAIL)
        return module.__dict__
    for call in calls:
        mark, text = _call(kit, f, call)
        if mark != frames.OK:
            send(mark, text, frames.MAX_DETAIL)
        elif not send(mark, text, most):
            send(frames.UNSUPPORTED, f"result larger than {most} bytes", frames.MAX_DETAIL)
    return module.__dict__


def _lookup(module: types.ModuleType) -> Callable[..., object]:
    try:
        return module.__dict__["f"]  # type: ignore[no-any-return]
    except KeyError:
        raise NameError("name 'f' is not defined") from None


def _depth() -> int:
    """Frames from here outwards, less this one: what stands below ``_call``'s frame."""
    depth = 0
    frame: types.FrameType | None = sys._getframe()
    while frame:
        depth, frame = depth + 1, frame.f_back
    return depth


def _call(kit: Kit, f: Callable[..., object], call: str) -> tuple[int, str]:
    frames = kit.frames
    try:
        arguments = kit.decode(call)
        if type(arguments) is not tuple:
            return frames.UNSUPPORTED, "the argument text is no tuple"
    except kit.not_plain as exc:
        return frames.UNSUPPORTED, f"argument: {exc}"
    try:
        result = f(*arguments)
    except BaseException as exc:  # noqa: BLE001
        return _failure(frames, exc)
    try:
        return frames.OK, kit.encode(result)
    except kit.not_plain as exc:
        return frames.UNSUPPORTED, str(exc)
    except MemoryError:
        return frames.MEMORY, "while reading the result"
    except BaseException as exc:  # noqa: BLE001
        return frames.UNSUPPORTED, f"{_name_of(type(exc))} while reading the result"


def _failure(frames: types.ModuleType, exc: BaseException) -> tuple[int, str]:
    name = _name_of(type(exc))
    if isinstance(exc, MemoryError):
        return frames.MEMORY, name
    try:
        message = "".join([str(exc)])  # an exact str, whatever __str__ gave
    except BaseException:  # noqa: BLE001
        message = ""
    return frames.RAISED, f"{name}: {message[:200]}" if message else name


def sender(frames: types.ModuleType, results: int = RESULTS_FD) -> Callable[[int, str, int], bool]:
    """Writes a frame to the results; False, and nothing written, for a result of more than ``most`` bytes."""
    pack = frames.MARK.pack

    def send(mark: int, text: str, most: int) -> bool:
        data = text.encode("utf-8", "surrogatepass")
        if len(data) > most:
            if mark == frames.OK:
                return False
            data = data[:most].decode("utf-8", "ignore").encode()
        data = pack(mark, len(data)) + data
        while data:
            data = data[_write(results, data) :]
        return True

    return send
