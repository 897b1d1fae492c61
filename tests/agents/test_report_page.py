"""The page of a report in a browser: it loads alone, shows the run's numbers, filters, and runs no text of a model."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from made_runs import lines, made
from test_report import ATTACKS, hostile

from azr_agents.report import report
from azr_agents.report_data import PANELS
from azr_env.types import Mode

sync_api = pytest.importorskip("playwright.sync_api")
pytest.importorskip("plotly")

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next((path for path in map(shutil.which, NAMES) if path), None)
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no Chromium here")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield opened
        opened.close()


class Shown:
    """A page that is open, with what it told the console and what it asked the network for."""

    def __init__(self, browser: Any, path: Path, scheme: str = "light", width: int = 1280) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.told: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.told.append(message.text))
        self.page.on("pageerror", lambda error: self.told.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("body[data-ready=yes][data-charts=yes]")

    def do(self, script: str, value: Any = None) -> Any:
        return self.page.evaluate(script, value)

    def texts(self, selector: str) -> list[str]:
        return [str(text) for text in self.page.locator(selector).all_text_contents()]

    def lines(self, caption: str) -> list[dict[str, Any]]:
        """The lines of a chart, as the plotting library has them."""
        return list(
            self.do(
                """(caption) => {
                    const chart = charts.find((one) => one.place.ariaLabel === caption);
                    draw(chart);
                    return chart.place.data.map(({name, x, y, line}) => ({name, x, y, colour: line && line.color}));
                }""",
                caption,
            )
        )

    def cells(self, rows: str) -> list[list[str]]:
        """The texts of the cells of rows of a table."""
        found = self.do(
            "(at) => [...document.querySelectorAll(at)].map((row) => [...row.cells].map((cell) => cell.textContent))",
            rows,
        )
        return list(found)

    def quiet(self) -> None:
        """Says that the page loaded nothing but itself and left the console empty."""
        self.page.wait_for_timeout(100)
        assert self.told == []
        assert [url for url in self.asked if not url.startswith(("file:", "data:", "blob:"))] == []
        assert len([url for url in self.asked if url.startswith("file:")]) == 1


Open = Callable[..., Shown]


@pytest.fixture
def opened(browser: Any) -> Iterator[Open]:
    """Opens pages, which must stay quiet."""
    every: list[Shown] = []

    def open_one(path: Path, **options: Any) -> Shown:
        every.append(Shown(browser, path, **options))
        return every[-1]

    yield open_one
    for shown in every:
        shown.quiet()
        shown.page.close()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run with a control."""
    main = made(tmp_path_factory.mktemp("page") / "main")
    return main, made(main / "controls" / "random-reward", rounds=9, seed=5)


@pytest.fixture(scope="module")
def page(runs: tuple[Path, Path]) -> Path:
    """Their report, with all rollouts."""
    out = runs[0] / "report.html"
    report([runs[0]], out, 10_000)
    return out


@pytest.fixture(scope="module")
def whole(browser: Any, page: Path) -> Iterator[Shown]:
    """The page, open, with all of its charts drawn."""
    shown = Shown(browser, page)
    shown.do("drawAll()")
    yield shown
    shown.quiet()


@pytest.fixture
def shown(whole: Shown) -> Shown:
    """The page as it is when it has just been opened, without the time that takes."""
    whole.page.locator("#filters button").click()
    whole.page.locator("#smoothing").select_option("1")
    whole.page.wait_for_timeout(50)
    return whole


def test_the_headline_shows_the_numbers_of_the_runs(runs: tuple[Path, Path], shown: Shown) -> None:
    assert shown.page.locator("#missing").is_hidden()
    found = [json.loads((run / "evaluation.json").read_text()) for run in runs]
    for place in ("heldout", "in_domain"):
        for decoding in ("sampled", "greedy"):
            rows = shown.cells(f"table[data-set={place}][data-decoding={decoding}] tbody tr")
            assert [row[:2] for row in rows] == [
                [mode, name] for mode in (*Mode, "all") for name in ("main", "random-reward")
            ]
            for row, k in zip(rows, [0, 1] * 4, strict=True):
                for cell, end in ((3, "base"), (4, "after")):
                    one = found[k][end][place][decoding][row[0]]
                    expected = f"{one['accuracy']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"
                    assert close(row[cell], expected), (row, expected)
                assert re.fullmatch(r"\+?-?[\d.]+ \[\+?-?[\d.]+, \+?-?[\d.]+\]", row[5])
    cards = shown.texts("#headline .card")
    assert "main" in cards[0]
    assert "dealt out anew" in cards[1]
    one = found[0]["after"]["heldout"]["sampled"]["all"]["accuracy"]
    assert close(cards[0].split("→")[1].split("+")[0], f"{one:.3f}")


def close(text: str, other: str) -> bool:
    """Whether two texts hold the same numbers but for the rounding of the last digit."""
    mine, others = (re.findall(r"\d+\.\d+", each) for each in (text, other))
    return len(mine) == len(others) and all(
        abs(float(a) - float(b)) < 0.0011 for a, b in zip(mine, others, strict=True)
    )


def test_curves_are_the_figures_of_the_runs(runs: tuple[Path, Path], shown: Shown) -> None:
    metrics = [lines(run / "metrics.jsonl") for run in runs]
    assert shown.texts("#curves h3")[0] == "Accuracy of the solver"
    panels = dict(
        shown.do(
            """() => [...document.querySelectorAll('#curves .chart')].map((place) =>
                   [place.ariaLabel, place.data.map((line) => [line.name, line.x, line.y])])"""
        )
    )
    compared = 0
    for panel in PANELS:
        for place, figure in panel.places.items():
            if any(figure in line for line in metrics[0]):
                traces = panels[f"{panel.title}, {place}"]
                for (name, x, y), run, title in zip(traces, metrics, ("main", "random-reward"), strict=True):
                    assert name == title
                    assert x == [line["step"] for line in run]
                    assert y == [line.get(figure) for line in run], figure
                compared += 1
    assert compared == 13  # accuracy, two rewards and buffer by mode, and new tasks
    entropy = panels["Entropy of the policy, all cells together"]
    assert entropy[0][2] == [line["figures"]["entropy"] for line in lines(runs[0] / "monitors.jsonl")]
    solver = panels["Entropy of the solver, induction"]
    assert solver[0][2] == [line["figures"]["entropy/solver/induction"] for line in lines(runs[0] / "monitors.jsonl")]
    axes = shown.do(
        """[...document.querySelectorAll('#curves .chart, #monitors .chart')].map((place) => place.layout)
           .map((layout) => [layout.xaxis.title.text, layout.yaxis.title.text])"""
    )
    assert all(x == "round" and y for x, y in axes)


def test_smoothing_is_a_mean_of_neighbours(runs: tuple[Path, Path], shown: Shown) -> None:
    shown.page.locator("#smoothing").select_option("5")
    values = [line["accuracy/deduction"] for line in lines(runs[0] / "metrics.jsonl")]
    smooth = shown.lines("Accuracy of the solver, deduction")[0]["y"]
    assert smooth[0] == pytest.approx(sum(values[:3]) / 3)
    assert smooth[6] == pytest.approx(sum(values[4:9]) / 5)
    grown = [line["buffer/abduction"] for line in lines(runs[0] / "metrics.jsonl")]
    assert shown.lines("Growth of the buffer, abduction")[0]["y"] == grown  # a count is no noise


def test_monitors_show_bounds_and_warnings(runs: tuple[Path, Path], shown: Shown) -> None:
    watched = [line for run in runs for line in lines(run / "monitors.jsonl")]
    told = [[str(line["step"]), text] for line in watched for text in line["warnings"]]
    rows = shown.cells(".warnings tbody tr")
    assert told
    assert [row[1:] for row in rows] == told
    traces = shown.lines("entropy")
    assert traces[0]["y"][7] == pytest.approx(sum(0.3 * 0.5**k for k in range(8)) / 8)
    assert traces[0]["y"][:7] == [None] * 7
    marks = [trace for trace in traces if trace["name"] == "main: warning"]
    assert [mark["x"] for mark in marks] == [[int(step) for step, text in told if "hardly varies" in text][:1]]


def test_a_run_can_be_switched_off(shown: Shown) -> None:
    assert [line["name"] for line in shown.lines("Accuracy of the solver, abduction")] == ["main", "random-reward"]
    shown.page.locator("#runs input").nth(0).uncheck()
    assert [line["name"] for line in shown.lines("Accuracy of the solver, abduction")] == ["random-reward"]
    shown.page.locator("#runs input").nth(0).check()
    assert len(shown.lines("Accuracy of the solver, abduction")) == 2


def test_filters_filter(runs: tuple[Path, Path], shown: Shown) -> None:
    every = [{**line, "run": str(k)} for k, run in enumerate(runs) for line in lines(run / "rollouts.jsonl")]
    total = len(every)

    def matching() -> int:
        found = re.match(r"([\d,]+) of ([\d,]+) rollouts", shown.page.locator("#matches").inner_text())
        assert found
        assert int(found[2].replace(",", "")) == total
        return int(found[1].replace(",", ""))

    def choose(**wanted: str) -> None:
        for name, value in wanted.items():
            shown.page.locator(f"#filters [name={name}]").select_option(value)

    assert matching() == total
    for name in ("mode", "role", "status"):
        for value, number in Counter(line[name] for line in every).items():
            choose(**{name: value})
            assert matching() == number
            heads = shown.texts("#rollouts summary")
            assert 0 < len(heads) <= 25
            assert all(value in head for head in heads)
        choose(**{name: "*"})
    choose(mode="induction", role="solver", status="correct", run="1")
    shown.page.locator("[name=from]").fill("3")
    shown.page.locator("[name=to]").fill("5")
    wanted = {"mode": "induction", "role": "solver", "status": "correct", "run": "1"}
    right = [line for line in every if wanted.items() <= line.items() and 3 <= line["step"] <= 5]
    assert matching() == len(right) > 0
    shown.page.locator("#filters button").click()
    shown.page.wait_for_timeout(50)
    assert matching() == total
    shown.page.locator("[name=text]").fill("is PRIME</think>")
    assert matching() == sum("is prime</think>" in line["completion"] for line in every)
    shown.page.locator("[name=text]").fill("no such text anywhere")
    assert matching() == 0
    assert shown.texts("#rollouts summary") == []


def test_more_are_shown_on_demand(shown: Shown) -> None:
    assert shown.page.locator("#rollouts details").count() == 25
    shown.page.locator("#more").click()
    assert shown.page.locator("#rollouts details").count() == 50


def test_a_rollout_is_shown_as_it_was(runs: tuple[Path, Path], shown: Shown) -> None:
    shown.page.locator("#filters [name=status]").select_option("correct")
    shown.page.locator("[name=text]").fill("is prime")
    shown.page.locator("#filters [name=mode]").select_option("abduction")
    line = next(
        line
        for line in lines(runs[0] / "rollouts.jsonl")
        if (line["mode"], line["role"], line["status"]) == ("abduction", "solver", "correct")
        and "prime" in line["completion"]
    )
    first = shown.page.locator("#rollouts details").first
    assert (
        first.locator("summary")
        .text_content()
        .startswith(f"step {line['step']} row {line['row']}abduction solvercorrect")
    )
    assert first.locator("pre.prompt").text_content() == line["prompt"]
    worked, answer = line["completion"].split("</think>")
    assert first.locator("pre.worked").text_content() == f"{worked}</think>"
    assert first.locator("pre.answer").text_content() == answer
    inside = first.text_content()
    assert f"reward {line['reward']:+.2f}" in inside
    assert f"advantage {line['advantage']:+.2f}" in inside
    program = line["prompt"].split("\n")[0].removeprefix("program: ")
    assert first.locator("pre.program").text_content().startswith(f"{program}\n")
    shown.page.locator("#rollouts details summary").nth(1).click()
    shown.page.locator("#rollouts details").nth(1).locator("pre.prompt").wait_for()


def test_the_lineage_of_a_task(runs: tuple[Path, Path], shown: Shown) -> None:
    every = lines(runs[0] / "rollouts.jsonl")
    born = {line["task_id"]: line for line in every if line["role"] == "proposer" and line["task_id"]}
    child = next(
        line
        for line in reversed(every)
        if line["task_id"] in born and line["role"] == "proposer" and set(line["references"]) & set(born)
    )
    field = shown.page.locator("#ask [name=task]")
    field.fill(child["task_id"])
    field.press("Enter")
    family, name = [], child["task_id"]
    while name in born and len(family) < 6:
        name = born[name]["references"][0]
        family.insert(0, name)
    assert shown.texts(".line.before button") == family
    here = shown.page.locator(".task.here").text_content()
    assert f"proposed in step {child['step']} row {child['row']}" in here
    answers = [line for line in every if line["role"] == "solver" and line["task_id"] == child["task_id"]]
    right = sum(line["status"] == "correct" for line in answers)
    assert f"Solved by {right} of {len(answers)} answers" in shown.page.locator("#life").text_content()
    shown.page.locator(".line.before button").last.click()
    assert field.input_value() == family[-1]
    assert child["task_id"] in shown.texts(".line.after button")
    shown.page.locator(".task.here button").click()
    shown.page.wait_for_timeout(100)
    assert shown.page.locator("[name=text]").input_value() == family[-1]
    assert shown.page.locator("#rollouts details").count() > 0


def test_light_and_dark_differ_and_follow_the_reader(page: Path, opened: Open) -> None:
    shown = opened(page, scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark, colour = shown.do(ground), shown.lines("Accuracy of the solver, deduction")[0]["colour"]
    assert dark == "rgb(20, 24, 31)"
    shown.page.emulate_media(color_scheme="light")
    assert shown.do(ground) == "rgb(255, 255, 255)"
    assert shown.lines("Accuracy of the solver, deduction")[0]["colour"] != colour


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_window(page: Path, opened: Open, width: int) -> None:
    shown = opened(page, width=width)
    assert shown.do("document.documentElement.scrollWidth") <= width


def test_texts_of_a_model_do_nothing(tmp_path: Path, opened: Open) -> None:
    path = hostile(made(tmp_path / "run"))
    report([path], tmp_path / "page.html", 10_000)
    shown = opened(tmp_path / "page.html")
    shown.page.locator("[name=from]").fill("14")
    assert shown.page.locator("#rollouts details").count() == len(ATTACKS)
    for k, entry in enumerate(shown.page.locator("#rollouts details").all()):
        if k:
            entry.locator("summary").click()
        entry.locator("pre.answer").wait_for()
        entry.locator("button").first.click()
    assert shown.do("window.hacked") is None
    assert shown.do("document.querySelectorAll('main img, main svg[onload], b b, a[href^=javascript]').length") == 0
    answers = shown.texts("#rollouts pre.answer")
    for attack in (text for text in ATTACKS if text.isprintable()):
        assert attack in answers
    assert "U+0000U+0007U+001B[31mredU+007FU+0085" in answers
    assert "U+D800 alone U+DFFF" in answers
    assert any("U+202Eesrever" in text for text in answers)
    assert shown.texts("#rollouts pre.worked")[0] == f"<think>{ATTACKS[0]}</think>"


def test_a_run_that_has_only_begun_says_so(tmp_path: Path, opened: Open) -> None:
    path = made(tmp_path / "run", rounds=1)
    for name in ("metrics.jsonl", "monitors.jsonl", "rollouts.jsonl", "evaluation.json", "base.json", "after.json"):
        (path / name).unlink()
    report([path], tmp_path / "page.html")
    shown = opened(tmp_path / "page.html")
    missing = shown.page.locator("#missing").inner_text()
    assert "under way or was broken off: 0 round(s)" in missing
    assert "rollouts.jsonl is missing" in missing
    assert "No run has a round on record yet." in shown.page.locator("#curves").inner_text()
    assert shown.page.locator("#sampled").inner_text() == "There is no rollout on record."


def test_a_hundred_thousand_rollouts_are_sampled(tmp_path: Path, opened: Open) -> None:
    path = made(tmp_path / "run")
    every = lines(path / "rollouts.jsonl")
    with open(path / "rollouts.jsonl", "w") as file:
        for k in range(100_000):
            file.write(json.dumps({**every[k % len(every)], "step": k // 200}) + "\n")
    report([path], tmp_path / "page.html")
    shown = opened(tmp_path / "page.html")
    said = shown.page.locator("#sampled").inner_text()
    assert said.startswith("A sample: 2,000 of 100,000 rollouts")
    kinds = {(line["mode"], line["role"], line["status"]) for line in every}
    found = shown.do("ROLLOUTS.map((one) => [one.mode, one.role, one.status])")
    assert {tuple(one) for one in found} == kinds
    assert (tmp_path / "page.html").stat().st_size < 12_000_000
