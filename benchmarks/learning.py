"""Does self-play learn, and is it self-play that does it? The main run and its controls, three seeds, both domains.

    python benchmarks/learning.py --folder runs/learning --check

Each run is the real ``azr train`` in a process of its own, and lies in ``FOLDER/DOMAIN/ARM-sSEED``. A run that is
there whole is not run again, so a broken series goes on where it stopped, and a run made by hand can be put there. What
all of them say goes to ``docs/learning``: figures, ``results.json``, and the tables of its ``README.md``.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from _harness import ROOT, Bar, Report, main

DOMAINS = ("python", "prime_inversion")
ARMS = ("main", "random-reward", "frozen-proposer", "random-tasks", "solver-only")
WHOLE = ("base.json", "after.json", "evaluation.json", "metrics.jsonl")
WALL = "wall.json"
"""Seconds that a run took from its command to its end, beside what the run itself leaves."""
QUICK = ["--max_steps", "4", "--eval_tasks", "12", "--seed_tasks", "8"]
SMALLEST = 0.01
"""The smallest lower end of an interval, in points, that counts as above zero."""
BARS = {
    "python_slowest_minutes": Bar(10, at_most=True),
    "python_smallest_deduction_gain": Bar(25),
    "python_smallest_abduction_gain": Bar(25),
    "python_smallest_induction_gain": Bar(10),
    "python_smallest_lower_end": Bar(SMALLEST),
    "python_random_reward_beyond_noise": Bar(0, at_most=True),
    "prime_inversion_slowest_minutes": Bar(6, at_most=True),
    "prime_inversion_smallest_deduction_gain": Bar(12),
    "prime_inversion_smallest_abduction_gain": Bar(12),
    "prime_inversion_smallest_induction_gain": Bar(0),
    "prime_inversion_random_reward_beyond_noise": Bar(0, at_most=True),
}
"""Points on held-out tasks, sampled at temperature 1, except for the minutes."""


@dataclass(frozen=True)
class Arm:
    """One run of the series: where it lies and what starts it."""

    folder: Path
    domain: str
    arm: str
    seed: int

    @property
    def path(self) -> Path:
        """The run directory."""
        return self.folder / self.domain / f"{self.arm}-s{self.seed}"

    @property
    def name(self) -> str:
        """``domain/arm/seed``."""
        return f"{self.domain}/{self.arm}/{self.seed}"

    @property
    def whole(self) -> bool:
        """Whether the run is there and measured."""
        return all((self.path / name).is_file() for name in WHOLE)

    def command(self, more: Iterable[str] = ()) -> list[str]:
        """What trains it, or goes on with it from its last checkpoint."""
        azr = [str(Path(sys.executable).with_name("azr")), "train"]
        if any(self.path.glob("checkpoint-*/selfplay.json")):
            return [*azr, "--resume", str(self.path)]
        control = [] if self.arm == "main" else ["--control", self.arm]
        settings = ["--domain", self.domain, "--seed", str(self.seed), "--output_dir", str(self.path)]
        return [*azr, *settings, *control, *more]


def arms(folder: Path, patterns: Iterable[str], seeds: Iterable[int]) -> list[Arm]:
    """The runs of the series that one of the patterns names, in the order in which they are worth having."""
    found = [
        Arm(folder, domain, arm, seed)
        for seed, arm, domain in ((seed, arm, domain) for seed in seeds for arm in ARMS for domain in DOMAINS)
    ]
    found.sort(key=lambda one: one.arm != "main")
    return [one for one in found if any(fnmatch(one.name, pattern) for pattern in patterns)]


def play(one: Arm, more: Iterable[str] = ()) -> str:
    """Runs it unless it is whole. Returns a line about it, empty for a run that was there."""
    one.path.parent.mkdir(parents=True, exist_ok=True)
    with open(one.path.with_suffix(".lock"), "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return f"{one.name}: another process is at it"
        if one.whole:
            return ""
        command = one.command(more)
        resumed = "--resume" in command
        if one.path.exists() and not resumed:
            if not one.path.with_suffix(".log").exists():
                return f"{one.name}: {one.path} was not made here, is not whole and has no checkpoint: move it away"
            shutil.rmtree(one.path)
        begun = time.monotonic()
        with open(one.path.with_suffix(".log"), "a", encoding="utf-8") as log:
            done = subprocess.run(command, stdout=log, stderr=log, check=False)
        seconds = time.monotonic() - begun
        if done.returncode or not one.whole:
            return f"{one.name}: exit code {done.returncode}, see {one.path.with_suffix('.log')}"
        if not resumed:
            (one.path / WALL).write_text(json.dumps({"seconds": round(seconds, 1)}) + "\n", encoding="utf-8")
        return f"{one.name}: {seconds / 60:.1f} min{', resumed' if resumed else ''}"


def measure(options: argparse.Namespace) -> Report:
    """The series, then the report on all that is whole."""
    from _learning_report import pass_at_k, report

    more = QUICK if options.quick else options.flags.split()
    chosen = arms(options.folder, options.only, options.seeds[:1] if options.quick else options.seeds)
    if not options.report_only:
        with ThreadPoolExecutor(options.jobs) as pool:
            for line in pool.map(lambda one: play(one, more), chosen):
                if line:
                    print(line, flush=True)
    every = [one for one in arms(options.folder, ["*"], options.seeds) if one.whole]
    if options.passk:
        pass_at_k(every, tasks=6 if options.quick else options.passk_tasks, samples=64)
    docs = options.docs or (options.folder / "report" if options.quick else ROOT / "docs" / "learning")
    return report(every, docs)


def minutes(one: Arm) -> float:
    """Minutes of a run, measuring included; for a run made by hand from the first file it wrote to the last."""
    if (one.path / WALL).is_file():
        found: Mapping[str, float] = json.loads((one.path / WALL).read_text(encoding="utf-8"))
        return found["seconds"] / 60
    return ((one.path / "after.json").stat().st_mtime - (one.path / "run.json").stat().st_mtime) / 60


def arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this benchmark."""
    parser.add_argument("--folder", type=Path, default=Path("runs/learning"), help="where the runs lie")
    parser.add_argument("--only", nargs="+", default=["*"], metavar="DOMAIN/ARM/SEED", help="* stands for any")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time; minutes mean little with more than one")
    parser.add_argument("--flags", default="", help='more flags for azr train, as in "--heldout_every 20"')
    parser.add_argument("--report-only", action="store_true", help="run nothing")
    parser.add_argument("--passk", action="store_true", help="pass@k of the bases and the main runs, 64 answers a task")
    parser.add_argument("--passk-tasks", type=int, default=100, help="held-out tasks a mode for pass@k")
    parser.add_argument("--docs", type=Path, help="where figures and tables go (docs/learning)")


if __name__ == "__main__":
    sys.exit(main(__doc__.splitlines()[0], measure, BARS, arguments))
