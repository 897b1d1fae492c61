"""learning.py: which runs it starts, and what it makes of what they leave."""

from __future__ import annotations

import fcntl
import importlib
import itertools
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from azr_agents.evaluate import Result, stored
from azr_agents.heldout import is_heldout
from azr_agents.run import SCHEMA_VERSION, Run
from azr_env.types import Mode

RECIPE = """\
domain: prime_inversion
domain_options: max_prime=53
tasks: builtin:primes=3-53
eval_tasks: 10
"""
pytestmark = pytest.mark.usefixtures("benchmarks")


@pytest.fixture
def learning(benchmarks: Path) -> ModuleType:
    return importlib.import_module("learning")


@pytest.fixture
def reporting(benchmarks: Path) -> ModuleType:
    pytest.importorskip("matplotlib")
    return importlib.import_module("_learning_report")


def result(right: Sequence[float], worked: float = 0.0) -> Result:
    """A result on ten tasks a mode, two answers each; ``right`` has the share of correct ones per mode."""
    modes = tuple(mode for mode in Mode for _ in range(10))
    correct = np.array([[float(k < 10 * share)] * 2 for share in right for k in range(10)])
    shape = correct.shape
    thought = np.full(shape, worked)
    return Result(tuple(f"t{k}" for k in range(30)), modes, correct, thought)


def make(path: Path, base: Sequence[float], after: Sequence[float], *, steps: int = 3) -> None:
    """A run directory as ``azr train`` leaves it."""
    path.mkdir(parents=True)
    before = {name: {key: stored(result(base)) for key in ("sampled", "greedy")} for name in ("in_domain", "heldout")}
    then = {name: {key: stored(result(after, 1)) for key in ("sampled", "greedy")} for name in ("in_domain", "heldout")}
    (path / "run.json").write_text(json.dumps({"schema": SCHEMA_VERSION, "argv": []}))
    (path / "recipe.yaml").write_text(RECIPE)
    (path / "base.json").write_text(json.dumps(before))
    (path / "after.json").write_text(json.dumps(then))
    (path / "evaluation.json").write_text(json.dumps({"steps": steps, "train_seconds": 60.0}))
    lines = [
        {"step": k, "worked": k / steps, "length/solver": 5.0 + k, "accuracy/deduction": 0.5} for k in range(steps)
    ]
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    watched = [{"step": k, "figures": {"entropy": 0.3}, "warnings": [], "frozen": False} for k in range(steps)]
    (path / "monitors.jsonl").write_text("".join(json.dumps(line) + "\n" for line in watched))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two seeds of prime inversion with one control, where the main run gains 30, 20 and 0 points."""
    for seed in (1, 2):
        make(tmp_path / "runs" / "prime_inversion" / f"main-s{seed}", (0.2, 0.3, 0.1), (0.5, 0.5, 0.1))
        make(tmp_path / "runs" / "prime_inversion" / f"random-reward-s{seed}", (0.2, 0.3, 0.1), (0.2, 0.3, 0.1))
    return tmp_path / "runs"


def test_main_runs_come_first_and_patterns_choose(learning: ModuleType, tmp_path: Path) -> None:
    every = learning.arms(tmp_path, ["*"], [1, 2, 3])
    assert len(every) == 2 * 5 * 3
    assert {one.arm for one in every[:6]} == {"main"}
    some = learning.arms(tmp_path, ["python/main/*", "prime_inversion/solver-only/2"], [1, 2, 3])
    assert [one.name for one in some] == [
        "python/main/1",
        "python/main/2",
        "python/main/3",
        "prime_inversion/solver-only/2",
    ]


def test_a_control_is_one_flag_and_a_broken_run_is_resumed(learning: ModuleType, tmp_path: Path) -> None:
    one = learning.Arm(tmp_path, "python", "random-tasks", 2)
    command = one.command(["--max_steps", "4"])
    assert command[1:4] == ["train", "--domain", "python"]
    assert command[-4:] == ["--control", "random-tasks", "--max_steps", "4"]
    assert "--control" not in learning.Arm(tmp_path, "python", "main", 2).command()
    (one.path / "checkpoint-25").mkdir(parents=True)
    (one.path / "checkpoint-25" / "selfplay.json").write_text("{}")
    assert one.command(["--max_steps", "4"])[1:] == ["train", "--resume", str(one.path)]


def test_a_whole_run_is_not_run_again(learning: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning.subprocess, "run", lambda *args, **kwargs: pytest.fail("it was run"))
    assert learning.play(learning.Arm(folder, "prime_inversion", "main", 1)) == ""


def test_a_run_that_another_process_is_at_is_left_alone(learning: ModuleType, folder: Path) -> None:
    one = learning.Arm(folder, "prime_inversion", "main", 1)
    (one.path / "after.json").unlink()
    with open(one.path.with_suffix(".lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another process" in learning.play(one)
    assert one.path.is_dir()


def test_only_what_the_series_has_made_itself_is_deleted(
    learning: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning.subprocess, "run", lambda *args, **kwargs: SimpleNamespace(returncode=2))
    one = learning.Arm(folder, "prime_inversion", "main", 1)
    (one.path / "after.json").unlink()
    assert "move it away" in learning.play(one)
    assert (one.path / "base.json").is_file()
    one.path.with_suffix(".log").touch()
    assert "exit code 2" in learning.play(one)
    assert not one.path.exists()


def test_a_run_that_fails_is_told(learning: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning.subprocess, "run", lambda *args, **kwargs: SimpleNamespace(returncode=2))
    assert "exit code 2" in learning.play(learning.Arm(tmp_path, "python", "main", 1))


def test_pass_at_k_is_the_share_of_subsets_with_a_right_answer(reporting: ModuleType) -> None:
    samples = 6
    for right in range(samples + 1):
        answers = [1] * right + [0] * (samples - right)
        for k in range(1, samples + 1):
            share = np.mean([any(chosen) for chosen in itertools.combinations(answers, k)])
            assert reporting.pass_at(samples, np.array([right]), k)[0] == pytest.approx(share)


def test_the_report_has_figures_tables_and_bars(learning: ModuleType, reporting: ModuleType, folder: Path) -> None:
    docs = folder.parent / "docs"
    every = [one for one in learning.arms(folder, ["*"], [1, 2, 3]) if one.whole]
    found = reporting.report(every, docs)
    assert found.figures["prime_inversion_smallest_deduction_gain"] == pytest.approx(30)
    assert found.figures["prime_inversion_smallest_induction_gain"] == pytest.approx(0)
    assert found.figures["prime_inversion_random_reward_beyond_noise"] == 0
    assert set(found.figures) <= set(learning.BARS) | {"prime_inversion_smallest_lower_end"}
    page = (docs / "README.md").read_text()
    for name in ("sampled", "greedy", "pooled", "worked", "rounds"):
        assert f"<!-- prime_inversion-{name} -->" in page
    assert "main less random-reward" in page
    data = json.loads((docs / "results.json").read_text())
    gained = data["domains"]["prime_inversion"]["against_main"]["random-reward"]["heldout"]["sampled"]
    assert gained["deduction"]["mean"] == pytest.approx(0.3)
    assert {path.name for path in docs.glob("*.png")} == {"prime_inversion-gain.png", "prime_inversion-curves.png"}


def test_pass_at_k_of_base_and_trained_is_reported(learning: ModuleType, reporting: ModuleType, folder: Path) -> None:
    domain = folder / "prime_inversion"
    counts = {"samples": 64, "ids": ["a", "b"], "modes": ["deduction", "abduction"], "right": [0, 32]}
    for path in (domain / "base-passk.json", domain / "main-s1" / "passk.json"):
        path.write_text(json.dumps(counts))
    every = [one for one in learning.arms(folder, ["*"], [1]) if one.whole]
    reporting.report(every, folder.parent / "docs")
    found = json.loads((folder.parent / "docs" / "results.json").read_text())["passk"]["prime_inversion"]
    assert found["base"]["deduction"]["64"] == 0
    assert found["trained"]["abduction"]["1"] == pytest.approx(0.5)
    assert (folder.parent / "docs" / "prime_inversion-passk.png").is_file()


def test_seeds_that_differ_widen_the_pooled_interval(reporting: ModuleType, folder: Path) -> None:
    domain = folder / "prime_inversion"
    shutil.rmtree(domain / "main-s2")
    make(domain / "main-s2", (0.2, 0.3, 0.1), (0.9, 0.5, 0.1))
    one, two = (reporting.Measured(domain / f"main-s{seed}") for seed in (1, 2))
    alone = reporting.pooled([one], "heldout", "sampled", Mode.DEDUCTION)
    both = reporting.pooled([one, two], "heldout", "sampled", Mode.DEDUCTION)
    assert both.mean == pytest.approx((0.3 + 0.7) / 2)
    assert both.high - both.low > alone.high - alone.low


def drawn(rng: np.random.Generator, seeds: int, tasks: int, between: float, within: float) -> np.ndarray:
    """(seeds, tasks) gains whose true mean is 0: a part of the seed, a part of the task, and the rest."""
    parts = between * rng.normal(size=(seeds, 1)), within * rng.normal(size=(1, tasks))
    return sum(parts) + 0.3 * rng.normal(size=(seeds, tasks))


@pytest.mark.parametrize(
    ("sizes", "least", "most"),
    [
        ((3, 60, 0.1, 0.2), 0.92, 1),
        ((3, 60, 0.02, 0.5), 0.92, 1),
        ((6, 30, 0.1, 0.3), 0.92, 1),
        ((2, 100, 0.1, 0.1), 0.84, 0.9),
    ],
)
def test_how_often_an_interval_over_few_seeds_covers(
    reporting: ModuleType, sizes: tuple[int, int, float, float], least: float, most: float
) -> None:
    rng = np.random.default_rng(0)
    found = [reporting.crossed(drawn(rng, *sizes)) for _ in range(1_000)]
    assert least < np.mean([each.low <= 0 <= each.high for each in found]) < most


def test_a_bootstrap_over_few_seeds_would_cover_less() -> None:
    rng, hits = np.random.default_rng(0), 0
    for _ in range(400):
        values = drawn(rng, 3, 60, 0.1, 0.2)
        means = [values[rng.integers(3, size=3)][:, rng.integers(60, size=60)].mean() for _ in range(200)]
        low, high = np.percentile(means, [2.5, 97.5])
        hits += low <= 0 <= high
    assert hits / 400 < 0.91


def test_an_interval_of_one_seed_is_for_other_tasks(reporting: ModuleType) -> None:
    values = np.random.default_rng(0).normal(1, 0.5, size=(1, 400))
    found = reporting.crossed(values)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * 0.5 / 20, rel=0.1)
    assert reporting.crossed(np.ones((3, 5))) == reporting.Interval(1.0, 1.0, 1.0)


def test_primes_never_seen_stand_beside_the_others(reporting: ModuleType, folder: Path) -> None:
    runs = [reporting.Measured(folder / "prime_inversion" / f"main-s{seed}") for seed in (1, 2)]
    assert reporting._carried_table(runs) == ""  # measured on other tasks than those of the recipe
    domain, tasks = reporting._heldout_tasks(Run(runs[0].path).settings(), 10)
    assert len(tasks) == 30
    assert all(is_heldout(domain, task) for task in tasks)
    whole = np.array(["53" in {fact.split(":")[0] for fact in domain.facts(task)} for task in tasks])
    for run in runs:
        for found, right in ((run.before, 0.0 * whole), (run.after, 1.0 * whole)):
            correct = np.repeat(right[:, None], 2, axis=1)
            found["heldout"]["sampled"] = Result.of(tasks, correct, np.zeros_like(correct))
    rows = [line.split(" | ") for line in reporting._carried_table(runs).splitlines()[2:]]
    assert [row[3:5] for row in rows] == [["0.000", "1.000"]] * 4 + [["0.000", "0.000"]] * 4
    assert sum(int(row[2]) for row in rows if row[1] == "all") == 30
    assert rows[0][5].startswith("+100.0 [100.0, 100.0]")


def test_results_on_different_tasks_are_not_compared(reporting: ModuleType, folder: Path) -> None:
    path = folder / "prime_inversion" / "main-s1" / "after.json"
    path.write_text(path.read_text().replace('"t0"', '"other"'))
    with pytest.raises(ValueError, match="different tasks"):
        reporting.pooled([reporting.Measured(path.parent)], "heldout", "sampled", None)


def test_text_between_the_marks_is_replaced_and_the_rest_stays(reporting: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("# Title\n\nProse.\n\n<!-- a -->\nold\n<!-- /a -->\n\nMore prose.\n")
    reporting.fill(page, {"a": r"new \1", "b": "table"})
    text = page.read_text()
    assert "old" not in text
    assert "Prose.\n\n<!-- a -->\n\nnew \\1\n\n<!-- /a -->\n\nMore prose." in text
    assert text.endswith("<!-- b -->\n\ntable\n\n<!-- /b -->\n")
