"""Does the strict executor stay flat over 20,000 programs, a tenth of them hostile, and leave nothing behind?

    python benchmarks/executor_soak.py --check

Memory is resident memory of host, guardians and servers, after the first tenth and at the end.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from pathlib import Path

from _harness import Bar, Report, main

from azr_env.executors.zygote import ZygoteExecutor
from azr_env.testing.attacks import BOMBS
from azr_env.testing.attacks import PROGRAMS as HOSTILE
from azr_env.types import Job, Limits, OutcomeStatus

BARS = {
    "wrong": Bar(0, at_most=True),
    "not_contained": Bar(0, at_most=True),
    "retries": Bar(0, at_most=True),
    "host_growth_mib": Bar(16, at_most=True),
    "servers_growth_mib": Bar(4, at_most=True),
    "processes_left": Bar(0, at_most=True),
    "descriptors_left": Bar(0, at_most=True),
    "files_left": Bar(0, at_most=True),
}
PROGRAMS, QUICK = 20_000, 1_000
BATCH = 200
SLOW = (
    "memory-steps",
    "memory-caught",
    "print-much",
    "read-garbage",
    "wide-result",
    "deep-result",
    "flood",
    "power-set",
    "growing-dict",
    "wide-laughs",
)
"""Contained like the others but slow; left out so that the run is about counts, not about single programs."""


def resident_kib(pid: int) -> int:
    """Resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


def children(pid: int) -> list[int]:
    """Every process below ``pid``."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *children(int(child))]
    return found


def work(count: int) -> list[tuple[Job, str | None]]:
    """Jobs, each with the text it must give, or None if it is hostile."""
    hostile = [attack for attack in (*HOSTILE, *BOMBS) if not attack.hangs and attack.id not in SLOW]
    found: list[tuple[Job, str | None]] = []
    for n in range(count):
        if n % 10 == 0:
            attack = hostile[n // 10 % len(hostile)]
            found.append((Job(attack.text, ("()",), Limits(memory_mib=256)), None))
        else:
            source = f"def f(n):\n    return sum(k * {n} for k in range(n)), str(n)[::-1]"
            found.append((Job(source, ("(i64;)",)), f"(i{4950 * n:x};s3:001)"))
    return found


def measure(options: argparse.Namespace) -> Report:
    """Runs the soak."""
    count = QUICK if options.quick else PROGRAMS
    allowed = {attack.text: attack.allowed for attack in (*HOSTILE, *BOMBS)}
    jobs = work(count)
    tally: Counter[str] = Counter()
    wrong = escaped = 0
    descriptors, files = len(os.listdir("/proc/self/fd")), sorted(os.listdir())
    memory: list[tuple[int, int]] = []
    with ZygoteExecutor(workers=options.workers) as executor:
        begun = time.perf_counter()
        for start in range(0, count, BATCH):
            part = jobs[start : start + BATCH]
            for (job, due), outcomes in zip(part, executor.run([job for job, _ in part], fresh=True), strict=True):
                tally[str(outcomes[0].status)] += 1
                if due is None:
                    escaped += outcomes[0].status not in allowed[job.program]
                else:
                    wrong += outcomes[0].value != due or outcomes[0].status is not OutcomeStatus.OK
            if start + BATCH >= count // 10:
                memory.append((resident_kib(os.getpid()), sum(map(resident_kib, children(os.getpid())))))
        seconds = time.perf_counter() - begun
        retries = executor.stats.retries
    time.sleep(0.5)
    (host, servers), (last_host, last_servers) = memory[0], memory[-1]
    figures = {
        "wrong": wrong,
        "not_contained": escaped,
        "retries": retries,
        "host_growth_mib": (last_host - host) / 1024,
        "servers_growth_mib": (last_servers - servers) / 1024,
        "processes_left": len(children(os.getpid())),
        "descriptors_left": len(os.listdir("/proc/self/fd")) - descriptors,
        "files_left": len(set(os.listdir()) ^ set(files)),
    }
    report = Report(["figure", "found", "bar"], [[name, figures[name], str(BARS[name])] for name in figures])
    report.figures.update({name: float(value) for name, value in figures.items()})
    report.notes.append(
        f"{count} programs in {seconds:.0f} s; " + ", ".join(f"{v} {k}" for k, v in tally.most_common())
    )
    report.notes.append(f"resident at the end: host {last_host / 1024:.0f} MiB, servers {last_servers / 1024:.0f} MiB")
    return report


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds ``--workers``."""
    parser.add_argument("--workers", type=int, default=None, help="servers per lane; default one per core")


if __name__ == "__main__":
    sys.exit(main((__doc__ or "").splitlines()[0], measure, BARS, arguments))
