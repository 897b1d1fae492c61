"""How long does the report of a run of 100,000 rollouts take to write and to open?

    python benchmarks/report_page.py --check

The run is a real one of `azr train` on prime inversion (two rounds, or ``--run``), its rounds repeated until there are
as many rollouts. Opened in a headless Chromium, a new one each time: seconds from the command to open the file until
the page is ready and the charts in view are drawn. Wants Chromium and playwright.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _harness import Bar, Report, main
from playwright.sync_api import sync_playwright

from azr_agents.report import report as write_page

BARS = {"open_s": Bar(3, at_most=True), "console_lines": Bar(0, at_most=True)}
"""The slowest opening counts."""
SMALL = ["--domain", "prime_inversion", "--max_steps", "2", "--eval_tasks", "12"]
ROUNDS = ("rollouts.jsonl", "metrics.jsonl", "monitors.jsonl")
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def measure(options: argparse.Namespace) -> Report:
    """Writes the page once and opens it several times."""
    browser = next((path for path in map(shutil.which, NAMES) if path), None)
    if browser is None:
        raise SystemExit(f"no Chromium on PATH ({', '.join(NAMES)}): install one, such as the package chromium")
    rollouts = 2_000 if options.quick else 100_000
    with tempfile.TemporaryDirectory() as folder:
        run, page = Path(folder, "run"), Path(folder, "page.html")
        if options.run:
            shutil.copytree(options.run, run)
        else:
            azr = [str(Path(sys.executable).with_name("azr")), "train"]
            subprocess.run([*azr, *SMALL, "--output_dir", str(run)], check=True, stdout=subprocess.DEVNULL)
        rounds = lengthen(run, rollouts)
        begun = time.perf_counter()
        write_page([run], page)
        writing = time.perf_counter() - begun
        opened = [open_page(browser, page) for _ in range(2 if options.quick else 5)]
        size = page.stat().st_size / 2**20
    seconds = [each for each, _ in opened]
    found = Report(["rollouts", "rounds", "page MiB", "written in s", "opened in s"])
    found.rows.append([rollouts, rounds, size, writing, ", ".join(f"{each:.2f}" for each in seconds)])
    found.figures = {
        "open_s": max(seconds),
        "console_lines": sum(told for _, told in opened),
        "write_s": writing,
        "page_mib": size,
    }
    return found


def lengthen(run: Path, rollouts: int) -> int:
    """Repeats the rounds of a run until it has so many rollouts. Gives the number of rounds."""
    lines = {name: [json.loads(line) for line in (run / name).read_text().splitlines()] for name in ROUNDS}
    rounds = 1 + max(line["step"] for line in lines["rollouts.jsonl"])
    times = -(-rollouts // len(lines["rollouts.jsonl"]))
    for name, found in lines.items():
        most = rollouts if name == "rollouts.jsonl" else times * len(found)
        with open(run / name, "w", encoding="utf-8") as file:
            for number in range(most):
                again, at = divmod(number, len(found))
                file.write(json.dumps({**found[at], "step": found[at]["step"] + again * rounds}) + "\n")
    return times * rounds


def open_page(browser: str, page: Path) -> tuple[float, int]:
    """Seconds until the page is there, and how many lines its console got."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=FLAGS)
        shown = chromium.new_page(viewport={"width": 1280, "height": 900})
        told: list[str] = []
        shown.on("console", lambda message: told.append(message.text))
        shown.on("pageerror", lambda error: told.append(str(error)))
        begun = time.perf_counter()
        shown.goto(page.as_uri())
        shown.wait_for_selector("body[data-ready=yes][data-charts=yes]")
        seconds = time.perf_counter() - begun
        chromium.close()
    return seconds, len(told)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds ``--run``."""
    parser.add_argument("--run", type=Path, help="a run directory whose rounds are repeated")


if __name__ == "__main__":
    sys.exit(main(__doc__.splitlines()[0], measure, BARS, arguments))
