"""The controls: each differs from the main run in one thing, and that thing is really different."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from azr_agents import cli
from azr_agents.advantages import dealt_anew
from azr_agents.config import CONTROLS
from azr_agents.heldout import is_heldout
from azr_agents.run import Run
from azr_env.buffer import TaskBuffer
from azr_env.domains.prime_inversion import PrimeInversionDomain
from azr_env.types import Mode

Recipe = Callable[..., Path]


def train(*args: str | Path) -> int:
    return cli.main(["train", *map(str, args)])


def rollouts(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "rollouts.jsonl").read_text(encoding="utf-8").splitlines()]


@given(
    st.lists(st.tuples(st.sampled_from([None, 1.0, -0.5, -1.0, 0.25]), st.sampled_from("abc")), max_size=40),
    st.integers(0, 99),
)
def test_rewards_dealt_anew_stay_in_their_cell(rows: list[tuple[float | None, str]], seed: int) -> None:
    rewards, cells = [reward for reward, _ in rows], [cell for _, cell in rows]
    dealt = dealt_anew(rewards, cells, np.random.default_rng(seed))
    assert dealt == dealt_anew(rewards, cells, np.random.default_rng(seed))
    assert [r is None for r in dealt] == [r is None for r in rewards]
    for cell in set(cells):
        mine = [r for r, c in zip(rewards, cells, strict=True) if c == cell and r is not None]
        assert sorted(mine) == sorted(r for r, c in zip(dealt, cells, strict=True) if c == cell and r is not None)


def test_rewards_dealt_anew_say_nothing_of_the_answer() -> None:
    rewards: list[float | None] = [1.0] * 500 + [-1.0] * 500
    dealt = dealt_anew(rewards, ["c"] * 1000, np.random.default_rng(0))
    assert abs(sum(r or 0 for r in dealt[:500])) < 100


def test_random_reward(recipe: Recipe, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert train("--config", recipe(max_steps=3), "--output_dir", run, "--control", "random-reward") == 0
    found = rollouts(run)
    solver = [r for r in found if r["role"] == "solver" and r["advantage"] != 0]
    order = [(r["step"], r["mode"], r["reward"], r["advantage"]) for r in solver]
    agree = [a > b for s, m, a, x in order for t, n, b, y in order if (s, m) == (t, n) and x > y and a != b]
    assert 0 < sum(agree) < len(agree), "a larger reward no longer means a larger advantage"
    assert all(r["reward"] == (1.0 if r["status"] == "correct" else r["reward"]) for r in solver), "records stay true"


def test_frozen_proposer(recipe: Recipe, tmp_path: Path, base_model: Path) -> None:
    run = tmp_path / "run"
    changes = {"max_steps": 4, "learning_rate": 0.05, "proposer_rows": 8, "per_device_train_batch_size": None}
    assert train("--config", recipe(**changes), "--output_dir", run, "--control", "frozen-proposer") == 0
    found = rollouts(run)
    assert {r["advantage"] for r in found if r["role"] == "proposer"} == {0.0}
    assert len({r["advantage"] for r in found if r["role"] == "solver"}) > 1
    admitted = {
        role: [r["status"] in ("admitted", "duplicate") for r in found if r["role"] == role and r["step"] == 3]
        for role in ("proposer",)
    }
    assert np.mean(admitted["proposer"]) > 0.3, "the base still proposes, however broken the solver has become"
    before = AutoModelForCausalLM.from_pretrained(base_model, dtype=torch.float32).state_dict()
    after = AutoModelForCausalLM.from_pretrained(run / "model", dtype=torch.float32).state_dict()
    assert any(not torch.equal(value, after[name]) for name, value in before.items()), "what is saved is the solver"


def test_a_frozen_proposer_is_the_base_after_resuming_too(recipe: Recipe, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for run, steps in ((whole, 4), (broken, 4)):
        flags = ("--config", recipe(max_steps=steps, learning_rate=0.02), "--control", "frozen-proposer")
        assert train(*flags, "--output_dir", run) == 0
    for path in ("model", "checkpoint-4", "evaluation.json", "after.json"):
        target = broken / path
        (shutil.rmtree if target.is_dir() else Path.unlink)(target)
    assert train("--resume", broken) == 0
    assert rollouts(whole) == rollouts(broken)


def test_random_tasks(recipe: Recipe, tmp_path: Path, small_primes: PrimeInversionDomain) -> None:
    run = tmp_path / "run"
    settings = recipe(max_steps=3, per_device_train_batch_size=None)
    assert train("--config", settings, "--output_dir", run, "--control", "random-tasks") == 0
    found = rollouts(run)
    assert {r["role"] for r in found} == {"solver"}
    assert len(found) == 3 * 24
    assert any(r["fresh"] for r in found)
    buffer = TaskBuffer(run / "buffer.sqlite", read_only=True)
    tasks = [task for mode in Mode for task in buffer.tasks(mode)]
    assert not any(is_heldout(small_primes, task) for task in tasks)
    assert all(r["task_id"].startswith("builtin-") for r in found if r["fresh"])
    assert any(task.id.startswith("builtin-") for task in tasks), "they enter the buffer as proposals do"


def test_solver_only(recipe: Recipe, tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = recipe(max_steps=2, per_device_train_batch_size=None)
    assert train("--config", settings, "--output_dir", run, "--control", "solver-only") == 0
    found = rollouts(run)
    assert {r["role"] for r in found} == {"solver"}
    assert not any(r["fresh"] for r in found)


def test_with_controls(recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    settings = recipe(max_steps=2, per_device_train_batch_size=None)
    assert train("--config", settings, "--output_dir", run, "--with-controls") == 0
    told = capsys.readouterr().out
    assert all((run / "controls" / name / "after.json").is_file() for name in CONTROLS)
    assert "gain over the base" in told
    assert all(f"control {name}" in told for name in CONTROLS)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("evaluation.json")}
    (run / "controls" / "solver-only" / "evaluation.json").unlink()
    assert train("--resume", run) == 0, "goes on with what is missing"
    after = {path: path.stat().st_mtime_ns for path in run.rglob("evaluation.json")}
    changed = {path.parent.name for path in after if before[path] != after[path]}
    assert changed == {"solver-only"}


def test_controls_that_cannot_run_are_refused_before_the_main_run(
    recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A round without proposals has 24 rows; found out after the main run, it would have been for nothing."""
    ninths = {"per_device_train_batch_size": None, "steps_per_generation": 9, "gradient_accumulation_steps": 9}
    for changes in ({}, ninths):
        assert train("--config", recipe(**changes), "--output_dir", tmp_path / "run", "--with-controls") == 2
        told = capsys.readouterr().err
        assert "the control random-tasks cannot run with the settings of the main run" in told
        assert "must be 24" in told
        assert not (tmp_path / "run").exists()


def test_a_control_killed_between_its_last_two_files_is_measured_again(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    settings = recipe(max_steps=1, save_steps=1, eval_tasks=1, per_device_train_batch_size=None)
    write, left = Run.write, [2]

    def killed(self: Run, name: str, data: Any) -> None:
        if name in ("after.json", "evaluation.json") and "random-reward" in str(self.path):
            left[0] -= 1
            if not left[0]:
                raise KeyboardInterrupt
        write(self, name, data)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "write", killed)
        assert train("--config", settings, "--output_dir", run, "--with-controls") == 130
    assert train("--resume", run) == 0
    assert all((run / "controls" / name / "after.json").is_file() for name in CONTROLS)


def test_wrong_settings(recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("--config", recipe(), "--control", "rewards", "--output_dir", tmp_path / "a") == 2
    assert "control='rewards' is unknown; choose one of none, random-reward" in capsys.readouterr().err
    both = ("--control", "random-reward", "--with-controls")
    assert train("--config", recipe(), *both, "--output_dir", tmp_path / "b") == 2
    assert "leave --control out" in capsys.readouterr().err
