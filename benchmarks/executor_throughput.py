"""How many programs and calls per second: strict, in chunks, an unsandboxed pool, a fresh interpreter each?

    python benchmarks/executor_throughput.py --check

Nothing cached; each part of the programs goes to one executor after the other, several times over, and the best time
of each part counts: other work on the machine slows them all. Two workers get twice as many programs at once, so that
a timed piece takes as long as with one. A worker has a core of its own, and the host's process, which hands out
the work, may use another; "all on one core" holds both to one. The chunks are timed with their gate, their sample
and what they leave to the strict level. The pool (pebble) reuses one process and protects nothing. "right" counts
answer keys that were reached.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from _harness import DATA, Bar, Report, main
from pebble import ProcessPool

from azr_env import values
from azr_env.domains.python import PythonDomain
from azr_env.errors import ValueFormatError
from azr_env.executors.zygote import ZygoteChunkExecutor, ZygoteExecutor, plain
from azr_env.types import Claim, Example, Job, Limits, Mode, OutcomeStatus, Task

BARS = {
    "strict_programs_per_s": Bar(600),
    "strict_calls_per_s": Bar(4200),
    "strict_wrong": Bar(0, at_most=True),
    "chunk_programs_per_s": Bar(2500),
    "chunk_wrong": Bar(0, at_most=True),
    "two_workers_over_one": Bar(1.8),
}
CALLS = 10
PASSES = 5
PART = 112
"""How many programs are timed at once: seven chunks."""
PIECE = 28
"""The same for each worker of the strict level, which takes longer."""
SHARES = (0.0, 0.1, 0.25, 0.5, 1.0)
SLOW_PROGRAMS = 40
"""How many programs the fresh interpreters get; they are slow enough for that to be a measure."""

Program = tuple[str, tuple[object, ...], object]
"""Source, arguments, output."""
_ALONE = "import sys, json\ng = {}\nexec(sys.stdin.read(), g)\nprint(json.dumps(repr(g['f'](*eval(sys.argv[1])))))"


@dataclass
class Contender:
    """Something that runs programs: each with the given number of calls, and gives how many were right."""

    name: str
    sandboxed: str
    run: Callable[[list[Program], int], int]
    piece: int = PART
    cores: frozenset[int] = field(default_factory=lambda: frozenset(os.sched_getaffinity(0)))
    seconds: dict[tuple[int, int], float] = field(default_factory=dict)
    right: dict[tuple[int, int], int] = field(default_factory=dict)

    def time(self, part: list[Program], first: int, calls: int) -> None:
        """Runs a part of the programs, of which the first is number ``first``, once more; best times are kept."""
        with held_to(self.cores):
            self._time(part, first, calls)

    def _time(self, part: list[Program], first: int, calls: int) -> None:
        for at in range(0, len(part), self.piece):
            begun = time.perf_counter()
            right = self.run(part[at : at + self.piece], calls)
            seconds = time.perf_counter() - begun
            key = first + at, calls
            self.seconds[key] = min(seconds, self.seconds.get(key, seconds))
            self.right[key] = min(right, self.right.get(key, right))

    def total(self, calls: int) -> tuple[float, int]:
        """Best seconds, and how many were right, of all parts."""
        parts = [key for key in self.seconds if key[1] == calls]
        return sum(self.seconds[key] for key in parts), sum(self.right[key] for key in parts)


@contextmanager
def held_to(cores: frozenset[int]) -> Iterator[None]:
    """This process, and what it starts, on these cores alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def programs(path: Path) -> list[Program]:
    """CRUXEval's programs with literal inputs, or a built-in handful where its file is absent."""
    if not path.is_file():
        print(f"no file {path}: using generated programs")
        return [
            (f"def f(xs, k):\n    out = []\n    for x in xs:\n        out.append(x * k + {n})\n    return out[::-1]",
             ([1, 2, 3, n], 2), [k * 2 + n for k in (n, 3, 2, 1)])
            for n in range(200)
        ]  # fmt: skip
    found: list[Program] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        try:
            found.append((row["code"], values.parse_arguments(row["input"]), values.parse(row["output"])))
        except ValueFormatError:
            continue
    return found


def jobs(work: list[Program], calls: int) -> list[Job]:
    """What an executor gets."""
    return [Job(source, (values.encode(given, ordered=True),) * calls, Limits()) for source, given, _ in work]


def count(work: list[Program], results: list[list[object]]) -> int:
    """How many programs gave their output in every call."""
    return sum(
        all(o.status is OutcomeStatus.OK and values.decode(o.value) == output for o in outcomes)  # type: ignore[attr-defined]
        for (_, _, output), outcomes in zip(work, results, strict=True)
    )


def run_in_process(source: str, arguments: str, calls: int) -> list[str]:
    """What a worker of the unsandboxed pool does."""
    names: dict[str, object] = {}
    exec(source, names)  # noqa: S102 - this is what the comparison is about
    return [repr(names["f"](*eval(arguments))) for _ in range(calls)]  # type: ignore[operator]  # noqa: S307


def spin(rounds: int) -> float:
    """Seconds of a fixed piece of work."""
    begun = time.perf_counter()
    for _ in range(rounds):
        pass
    return time.perf_counter() - begun


def two_cores() -> float:
    """How much more two processes get done than one: what no program on this machine can go beyond by much."""
    with multiprocessing.get_context("spawn").Pool(2) as both:
        both.map(spin, [1000] * 2, chunksize=1)
        together = min(max(both.map(spin, [2_000_000] * 2, chunksize=1)) for _ in range(9))
    return 2 * min(spin(2_000_000) for _ in range(9)) / together


def contenders(stack: ExitStack) -> list[Contender]:
    """Every executor, warm."""
    one = frozenset([max(os.sched_getaffinity(0))])
    strict = stack.enter_context(ZygoteExecutor(workers=1, cache_size=0))
    strict_one = stack.enter_context(ZygoteExecutor(workers=1, cache_size=0))
    chunk_one = stack.enter_context(ZygoteChunkExecutor(workers=1, cache_size=0))
    both = stack.enter_context(ZygoteExecutor(workers=2, cache_size=0))
    chunk = stack.enter_context(ZygoteChunkExecutor(workers=1, cache_size=0))
    processes = stack.enter_context(ProcessPool(max_workers=1))

    def strictly(executor: ZygoteExecutor) -> Callable[[list[Program], int], int]:
        return lambda work, calls: count(work, executor.run(jobs(work, calls), fresh=True))  # type: ignore[arg-type]

    def in_chunks(executor: ZygoteChunkExecutor) -> Callable[[list[Program], int], int]:
        def run(work: list[Program], calls: int) -> int:
            plain.why_not.cache_clear()
            return count(work, executor.run(jobs(work, calls)))  # type: ignore[arg-type]

        return run

    def run_pool(work: list[Program], calls: int) -> int:
        futures: list[Future[list[str]]] = [
            processes.schedule(run_in_process, (source, repr(given), calls), timeout=10) for source, given, _ in work
        ]
        return sum(set(f.result()) == {repr(output)} for f, (_, _, output) in zip(futures, work, strict=True))

    return [
        Contender("strict zygote", "yes", strictly(strict), PIECE),
        Contender("strict zygote, two workers", "yes", strictly(both), 2 * PIECE),
        Contender("zygote-chunk", "yes, 16 plain programs share a process", in_chunks(chunk)),
        Contender("pebble pool", "no", run_pool),
        Contender("strict zygote, all on one core", "yes", strictly(strict_one), PIECE, one),
        Contender("zygote-chunk, all on one core", "yes, as above", in_chunks(chunk_one), cores=one),
    ]


def fresh(work: list[Program], _calls: int) -> int:
    """A new interpreter for each program."""
    return sum(
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", _ALONE, repr(given)],
            input=source,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        ).stdout.strip()
        == json.dumps(repr(output))
        for source, given, output in work
    )


def claims(work: list[Program], right: float, number: int) -> list[Claim]:
    """The task's own input as the answer to each program; of the share that is not right, the task wants another value.

    No two numbers give equal claims.
    """
    found = []
    for at, (source, given, output) in enumerate(work):
        wanted = output if at % 20 < 20 * right else "another value"
        example = Example(values.render_arguments(given), values.render(wanted))
        program = f"{source}\n# {number}"
        task = Task(str(at), "python", Mode.ABDUCTION, program, (example,))
        found.append(Claim(task, example.input, program, (example,)))
    return found


def verify(work: list[Program], passes: int) -> Iterator[tuple[float, float, float]]:
    """Share of right answers, and claims per second at the strict level and in chunks, whose right ones run again."""
    numbers = itertools.count()
    with ZygoteExecutor(workers=1) as strict, ZygoteChunkExecutor(workers=1) as chunk:
        domains = [PythonDomain(strict), PythonDomain(chunk)]
        for domain in domains:
            domain.holds(claims(work, 0.5, next(numbers)))
        for share in SHARES:
            best = [float("inf"), float("inf")]
            for _ in range(passes):
                asked = claims(work, share, next(numbers))
                for which, domain in enumerate(domains):
                    plain.why_not.cache_clear()
                    begun = time.perf_counter()
                    domain.holds(asked)
                    best[which] = min(best[which], time.perf_counter() - begun)
            yield share, len(work) / best[0], len(work) / best[1]


def gate_us(work: list[Program]) -> float:
    """Microseconds of the gate per program."""
    best = float("inf")
    for _ in range(PASSES):
        plain.why_not.cache_clear()
        begun = time.perf_counter()
        for source, _, _ in work:
            plain.why_not(source)
        best = min(best, time.perf_counter() - begun)
    return best / len(work) * 1e6


def share_plain(work: list[Program]) -> float:
    """Share of the programs that pass the gate."""
    return sum(plain.plain(source) for source, _, _ in work) / len(work)


def measure(options: argparse.Namespace) -> Report:
    """Times all of them, with one call and with ten inputs per program."""
    work = programs(options.data)[: PART if options.quick else None]
    parts = [work[at : at + PART] for at in range(0, len(work), PART)]
    with ExitStack() as stack:
        running = contenders(stack)
        for contender in running:
            with held_to(contender.cores):  # its servers start here
                contender.run(work[:20], 1)
        for _ in range(2 if options.quick else PASSES):
            for number, part in enumerate(parts):
                for contender in running:
                    for calls in (1, CALLS):
                        contender.time(part, number * PART, calls)
    alone = Contender("fresh subprocess", "no", fresh)
    alone.time(work[:SLOW_PROGRAMS], 0, 1)
    report = Report(["executor", "sandboxed", "programs", "right", "programs/s", f"calls/s ({CALLS} each)"])
    speed: dict[str, float] = {}
    per_call: float | str
    for contender in [*running, alone]:
        seconds, right = contender.total(1)
        programs_run = SLOW_PROGRAMS if contender is alone else len(work)
        speed[contender.name] = programs_run / seconds
        per_call = "-" if contender is alone else programs_run * CALLS / contender.total(CALLS)[0]
        report.rows.append([contender.name, contender.sandboxed, programs_run, right, speed[contender.name], per_call])
    strict, both, chunk, pool, strict_one, chunk_one = running
    report.figures = {
        "strict_programs_per_s": speed[strict.name],
        "strict_calls_per_s": len(work) * CALLS / strict.total(CALLS)[0],
        "strict_wrong": len(work) - min(strict.total(1)[1], strict.total(CALLS)[1]),
        "chunk_programs_per_s": speed[chunk.name],
        "chunk_wrong": len(work) - min(chunk.total(1)[1], chunk.total(CALLS)[1]),
        "strict_one_core_programs_per_s": speed[strict_one.name],
        "chunk_one_core_programs_per_s": speed[chunk_one.name],
        "two_workers_over_one": speed[both.name] / speed[strict.name],
        "two_cores_over_one": two_cores(),
        "pebble_programs_per_s": speed[pool.name],
        "fresh_programs_per_s": speed[alone.name],
    }
    report.notes += [
        f"Two workers do {report.figures['two_workers_over_one']:.2f} times the work of one; two processes that only "
        f"count do {report.figures['two_cores_over_one']:.2f} times the work of one on this machine.",
        "The pool and the fresh interpreter compare repr texts, so set order may count against them.",
        f"The gate takes {gate_us(work):.0f} microseconds a program, once; {share_plain(work):.1%} are plain.",
    ]
    for right, strict_rate, chunk_rate in verify(work[:PART], 2 if options.quick else PASSES):
        report.figures[f"strict_claims_per_s_{right:.0%}_right"] = strict_rate
        report.figures[f"chunk_claims_per_s_{right:.0%}_right"] = chunk_rate
        report.notes.append(
            f"Abduction answers verified per second, {right:.0%} of them right: strict {strict_rate:,.0f}, in chunks "
            f"{chunk_rate:,.0f}, where the right ones run strictly too."
        )
    return report


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds ``--data``."""
    parser.add_argument("--data", type=Path, default=DATA / "cruxeval.jsonl", help="CRUXEval's file")


if __name__ == "__main__":
    sys.exit(main((__doc__ or "").splitlines()[0], measure, BARS, arguments))
