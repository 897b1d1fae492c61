"""What follows a warning of the monitors, in real runs over so few tasks that every proposal is soon known."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from azr_agents import cli
from azr_agents.guard import FROZEN_FILE, MONITORS_FILE, Guard
from azr_agents.monitors import WINDOW

STEPS = WINDOW + 4
SMALL: dict[str, Any] = {
    "domain_options": "max_prime=5",
    "tasks": "builtin:primes=3-5",
    "max_steps": STEPS,
    "eval_tasks": 2,
    "save_steps": 2,
}
Recipe = Callable[..., Path]


def train(*args: str | Path) -> int:
    return cli.main(["train", *map(str, args)])


def lines(run: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / name).read_text(encoding="utf-8").splitlines()]


def warned(run: Path) -> list[int]:
    return [line["step"] for line in lines(run, MONITORS_FILE) if line["warnings"]]


def test_warn(recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert train("--config", recipe(**SMALL), "--output_dir", run) == 0
    found = lines(run, MONITORS_FILE)
    assert [line["step"] for line in found] == list(range(STEPS))
    assert warned(run)
    assert "nearly every valid proposal is known already" in capsys.readouterr().out
    figures = found[-1]["figures"]
    assert figures["proposals/duplicate"] > 0.9
    assert 0 < figures["entropy"] < 10
    each = [value for name, value in figures.items() if name.startswith("entropy/")]
    assert len(each) == 6
    assert min(each) < figures["entropy"] < max(each)
    assert 0 < figures["length/limit"] <= 1


def test_stop(recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert train("--config", recipe(**SMALL), "--output_dir", run, "--on_collapse", "stop") == 0
    assert "stopped by on_collapse" in capsys.readouterr().out
    done = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))["steps"]
    assert done == warned(run)[0] + 1 < STEPS
    assert (run / f"checkpoint-{done}").is_dir()
    assert train("--resume", run, "--max_steps", done - 1) == 2
    assert f"max_steps={done - 1} lies behind {run}, which has done {done}" in capsys.readouterr().err
    assert json.loads((run / "evaluation.json").read_text(encoding="utf-8"))["steps"] == done
    assert train("--resume", run) == 0
    assert "going on behind a stop by on_collapse (nearly every valid proposal" in " ".join(
        capsys.readouterr().out.split()
    )
    assert json.loads((run / "evaluation.json").read_text(encoding="utf-8"))["steps"] == STEPS


def test_freeze_the_proposer_and_resume(recipe: Recipe, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    flags = ("--config", recipe(**SMALL), "--on_collapse", "freeze-proposer")
    assert train(*flags, "--output_dir", whole) == 0
    (since,) = [line["step"] for line in lines(whole, MONITORS_FILE) if line["frozen"]]
    assert (whole / FROZEN_FILE).is_file()
    proposals = [r for r in lines(whole, "rollouts.jsonl") if r["role"] == "proposer"]
    assert {r["advantage"] for r in proposals if r["step"] > since} == {0.0}
    assert {r["advantage"] for r in proposals if r["step"] <= since} != {0.0}

    shutil.copytree(whole, broken)
    for path in ("model", f"checkpoint-{STEPS}", "evaluation.json", "after.json"):
        target = broken / path
        (shutil.rmtree if target.is_dir() else Path.unlink)(target)
    assert train("--resume", broken) == 0
    assert lines(whole, "rollouts.jsonl") == lines(broken, "rollouts.jsonl")
    assert lines(whole, MONITORS_FILE) == lines(broken, MONITORS_FILE)


def test_a_proposer_that_cannot_be_frozen_is_told_before_the_first_round(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At the moment of the collapse it would end the run, and every run that goes on with it."""
    begin = Guard.begin

    def sharded(self: Guard, trainer: Any) -> None:
        trainer.is_fsdp_enabled = True
        begin(self, trainer)

    monkeypatch.setattr(Guard, "begin", sharded)
    run = tmp_path / "run"
    assert train("--config", recipe(**SMALL), "--output_dir", run, "--on_collapse", "freeze-proposer") == 2
    assert "needs whole weights" in capsys.readouterr().err
    assert not (run / "metrics.jsonl").exists()


def test_heldout_during_training(recipe: Recipe, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert train("--config", recipe(max_steps=4), "--output_dir", run, "--heldout_every", "2") == 0
    gains = {line["step"]: line["figures"].get("heldout/gain") for line in lines(run, MONITORS_FILE)}
    assert [step for step, gain in gains.items() if gain is not None] == [1, 3]


def test_wrong_settings(recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("--config", recipe(), "--output_dir", tmp_path / "run", "--on_collapse", "panic") == 2
    assert "on_collapse='panic' is unknown; choose one of warn, freeze-proposer, stop" in capsys.readouterr().err
