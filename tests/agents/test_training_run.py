"""Whole runs of ``azr train`` on a tiny model: what they leave behind, and that they can be stopped anywhere."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerControl, TrainerState

from azr_agents import cli, tiny
from azr_agents.advantages import ADVANTAGES
from azr_agents.heldout import is_heldout
from azr_agents.launch import _full_disk_told, _parse
from azr_agents.policy import TransformersPolicy
from azr_agents.run import Run
from azr_agents.selfplay import Settings
from azr_agents.train import Interrupt, _selfplay, prepare
from azr_env import registry
from azr_env.buffer import TaskBuffer
from azr_env.domains.prime_inversion import PrimeInversionDomain
from azr_env.errors import SettingError
from azr_env.parsing import Style
from azr_env.prompts import solver_prompt
from azr_env.types import Draft, Mode
from azr_env.verifiers.relation import RelationVerifier

ROWS = 36
Lines = list[dict[str, Any]]


def lines(run: Path, name: str) -> Lines:
    return [json.loads(line) for line in (run / name).read_text(encoding="utf-8").splitlines()]


def train(*args: str | Path) -> int:
    return cli.main(["train", *map(str, args)])


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).state_dict())


def same_weights(one: Path, two: Path) -> bool:
    mine, other = weights(one), weights(two)
    return mine.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in mine.items())


def buffer_digest(run: Path) -> str:
    buffer = TaskBuffer(run / "buffer.sqlite", read_only=True)
    try:
        return buffer.digest()
    finally:
        buffer.close()


# What a run leaves behind


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, write_recipe: Callable[..., Path]) -> Path:
    """A run of three steps, checkpoint after the second."""
    folder = tmp_path_factory.mktemp("finished")
    run = folder / "run"
    assert train("--config", write_recipe(folder, max_steps=3, seed=3), "--output_dir", run) == 0
    return run


def test_files_of_a_run(finished: Path) -> None:
    names = {path.name for path in finished.iterdir()}
    assert names >= {
        "run.json",
        "recipe.yaml",
        "metrics.jsonl",
        "rollouts.jsonl",
        "buffer.sqlite",
        "base.json",
        "after.json",
        "evaluation.json",
        "checkpoint-2",
        "model",
    }
    assert not list(finished.rglob("*.part"))
    assert (finished / "recipe.yaml").read_bytes() == (finished.parent / "recipe.yaml").read_bytes()
    head = json.loads((finished / "run.json").read_text())
    assert head["schema"] == 1
    assert head["argv"][:2] == ["--config", str(finished.parent / "recipe.yaml")]
    assert {"python", "torch", "trl", "transformers", "azr-env"} <= set(head["versions"])


def test_rollouts_are_complete_and_in_order(finished: Path) -> None:
    rollouts = lines(finished, "rollouts.jsonl")
    assert [(r["step"], r["row"]) for r in rollouts] == [(step, row) for step in range(3) for row in range(ROWS)]
    per_round = Counter((r["step"], r["role"], r["mode"]) for r in rollouts)
    assert set(per_round.values()) == {4, 8}
    assert all(r["tokens"] <= 12 for r in rollouts)


def test_recorded_advantages_follow_from_recorded_rewards(finished: Path) -> None:
    rollouts = lines(finished, "rollouts.jsonl")
    moved = 0
    for step in range(3):
        mine = [r for r in rollouts if r["step"] == step]
        cells = [f"{r['role']}/{r['mode']}" for r in mine]
        expected = ADVANTAGES["trr++"]([r["reward"] for r in mine], cells, [r["tokens"] for r in mine])
        assert [r["advantage"] for r in mine] == pytest.approx(expected.tolist(), abs=1e-6)
        moved += sum(value != 0 for value in expected)
    assert moved > 20


def test_recorded_solve_rates_are_those_of_the_recorded_answers(finished: Path) -> None:
    rollouts = lines(finished, "rollouts.jsonl")
    seen = 0
    for r in rollouts:
        if r["role"] == "proposer" and r["status"] == "admitted":
            tried = [
                a["reward"] == 1.0
                for a in rollouts
                if a["step"] == r["step"] and a["role"] == "solver" and a["fresh"] and a["task_id"] == r["task_id"]
            ]
            rate = float(np.mean(tried)) if tried else None
            assert r["solve_rate"] == rate
            assert r["reward"] == (None if rate is None else 1 - rate if 0 < rate < 1 else 0)
            seen += 1
    assert seen > 5


def test_recorded_answers_are_graded_as_the_verifier_grades_them(
    finished: Path, small_primes: PrimeInversionDomain
) -> None:
    buffer = TaskBuffer(finished / "buffer.sqlite", read_only=True)
    for r in lines(finished, "rollouts.jsonl"):
        if r["role"] == "solver":
            task = buffer.get(r["task_id"])
            assert task.mode == r["mode"]
            assert r["prompt"] == solver_prompt(small_primes, task, Style.COMPACT)
            answer = r["completion"].partition("</think>")[2] or r["completion"]
            (verdict,) = RelationVerifier(small_primes).verify([(task, answer.strip())])
            assert (verdict.status == "correct") == (r["reward"] == 1.0)
    buffer.close()


def test_the_buffer_holds_what_was_admitted_and_nothing_held_out(
    finished: Path, small_primes: PrimeInversionDomain
) -> None:
    buffer = TaskBuffer(finished / "buffer.sqlite", read_only=True)
    kept = {task.id: task for mode in Mode for task in buffer.tasks(mode)}
    assert buffer.last_step() == 2
    sizes = buffer.sizes()
    buffer.close()
    rollouts = lines(finished, "rollouts.jsonl")
    proposed = [r for r in rollouts if r["role"] == "proposer"]
    assert {r["task_id"] for r in proposed if r["status"] == "admitted"} <= set(kept)
    assert not any(is_heldout(small_primes, task) for task in kept.values())
    assert all(r["reward"] is None and r["advantage"] == 0 for r in proposed if r["status"] == "heldout")
    assert {r["task_id"] for r in rollouts if r["role"] == "solver"} <= set(kept)
    last = lines(finished, "metrics.jsonl")[-1]
    assert {f"buffer/{mode}": size for mode, size in sizes.items()} == {
        k: v for k, v in last.items() if k.startswith("buffer/")
    }
    with sqlite3.connect(finished / "buffer.sqlite") as db:
        new = dict(db.execute("SELECT born, count(*) FROM tasks WHERE born >= 0 GROUP BY born").fetchall())
        assert db.execute("SELECT count(*) FROM tasks WHERE born < 0").fetchone()[0] >= 3 * 4
    assert [m["proposals/new"] for m in lines(finished, "metrics.jsonl")] == [new.get(step, 0) for step in range(3)]


def test_metrics_agree_with_rollouts(finished: Path) -> None:
    metrics, rollouts = lines(finished, "metrics.jsonl"), lines(finished, "rollouts.jsonl")
    assert [m["step"] for m in metrics] == [0, 1, 2]
    for step, found in enumerate(metrics):
        mine = [r for r in rollouts if r["step"] == step]
        solved = [r for r in mine if r["role"] == "solver"]
        assert found["accuracy/all"] == pytest.approx(np.mean([r["status"] == "correct" for r in solved]))
        assert found["length/solver"] == pytest.approx(np.mean([r["tokens"] for r in solved]))
        for mode in Mode:
            cell = [r["reward"] for r in solved if r["mode"] == mode]
            assert found[f"reward/solver/{mode}"] == pytest.approx(np.mean(cell))


def test_checkpoints_and_the_final_model_load(finished: Path, base_model: Path) -> None:
    base, middle, last = weights(base_model), weights(finished / "checkpoint-2"), weights(finished / "model")
    assert base.keys() == middle.keys() == last.keys()
    assert any(not torch.equal(base[name], middle[name]) for name in base)
    assert any(not torch.equal(middle[name], last[name]) for name in base)
    assert json.loads((finished / "checkpoint-2" / "selfplay.json").read_text()) == {"rounds": 2}
    policy = TransformersPolicy(
        AutoModelForCausalLM.from_pretrained(finished / "model"), AutoTokenizer.from_pretrained(finished / "model")
    )
    assert len(policy.complete(["program: 7\ninput: 2\noutput:"], 8, [0])) == 1


def test_evaluations_agree(finished: Path) -> None:
    table = json.loads((finished / "evaluation.json").read_text())
    assert table["steps"] == 3
    assert set(table["base"]) == set(table["after"]) == {"in_domain", "heldout"}
    for side, name in (("base", "base.json"), ("after", "after.json")):
        stored = json.loads((finished / name).read_text())
        for part, decodings in stored.items():
            assert set(decodings) == {"sampled", "greedy"}
            for decoding, found in decodings.items():
                row = table[side][part][decoding]["all"]
                assert row["accuracy"] == pytest.approx(np.mean(found["correct"]))
                assert row["low"] <= row["accuracy"] <= row["high"]
                assert row["tasks"] == len(found["tasks"]) == len(found["correct"])
                assert row["samples"] == len(found["correct"][0]) == {"sampled": 2, "greedy": 1}[decoding]


def test_training_is_deterministic(finished: Path, tmp_path: Path, write_recipe: Callable[..., Path]) -> None:
    again, other = tmp_path / "again", tmp_path / "other"
    path = write_recipe(tmp_path, max_steps=3, seed=3)
    assert train("--config", path, "--output_dir", again) == 0
    assert same_weights(finished / "model", again / "model")
    assert buffer_digest(finished) == buffer_digest(again)
    for name in ("rollouts.jsonl", "metrics.jsonl", "base.json", "after.json"):
        assert (finished / name).read_bytes() == (again / name).read_bytes()
    assert train("--config", path, "--output_dir", other, "--seed", 4) == 0
    assert (finished / "rollouts.jsonl").read_bytes() != (other / "rollouts.jsonl").read_bytes()
    assert {k: v["greedy"]["tasks"] for k, v in json.loads((other / "base.json").read_text()).items()} == {
        k: v["greedy"]["tasks"] for k, v in json.loads((finished / "base.json").read_text()).items()
    }


def test_the_evaluation_sets_lie_on_their_sides_of_the_split(
    finished: Path, small_primes: PrimeInversionDomain
) -> None:
    source = registry.source("builtin:primes=3-13", small_primes)
    stored = json.loads((finished / "after.json").read_text())
    for part, held in (("in_domain", False), ("heldout", True)):
        tasks = [source.get(name) for name in stored[part]["greedy"]["tasks"]]
        assert Counter(task.mode for task in tasks) == dict.fromkeys(Mode, 4)
        assert {is_heldout(small_primes, task) for task in tasks} == {held}


def test_every_setting_of_self_play_arrives(tmp_path: Path, recipe: Callable[..., Path]) -> None:
    chosen = {
        "buffer_share": 0.25,
        "references": 3,
        "learnability": "variance",
        "capacity": 77,
        "eviction": "reservoir",
    }
    game = _selfplay(prepare(*_parse(["--seed", "5"], recipe(style="paper", **chosen))), Run(tmp_path))
    assert game.settings == Settings(
        4, 8, buffer_share=0.25, references=3, learnability="variance", style=Style.PAPER, seed=5
    )
    assert (game.buffer.capacity, game.buffer.eviction) == (77, "reservoir")
    assert game.excluded(small := game.domain.admit([Draft(Mode.DEDUCTION, "13", ("2",))])[0]) == is_heldout(
        game.domain, small
    )
    assert game.fits("a" * 2000)
    assert not game.fits("a" * 2048)
    game.buffer.close()


def test_flags_go_over_the_recipe(tmp_path: Path, recipe: Callable[..., Path]) -> None:
    run = tmp_path / "run"
    flags = "--max_steps=1 --eval_tasks 0 --proposer_rows 0 --per_device_train_batch_size 24 --advantage tokens"
    assert train("--config", recipe(), "--output-dir", run, *flags.split(), "--save-strategy", "no") == 0
    rollouts = lines(run, "rollouts.jsonl")
    assert len(rollouts) == 24
    assert {r["role"] for r in rollouts} == {"solver"}
    assert json.loads((run / "evaluation.json").read_text())["base"] == {}


def test_paper_style_runs_too(tmp_path: Path, recipe: Callable[..., Path]) -> None:
    run = tmp_path / "run"
    assert train("--config", recipe(style="paper", max_steps=1, eval_tasks=0, seed_tasks=1), "--output_dir", run) == 0
    assert all("<answer>" in r["prompt"] for r in lines(run, "rollouts.jsonl"))


@pytest.mark.slow
@pytest.mark.parametrize("domain", ["prime_inversion", "python"])
def test_the_embedded_model_trains_as_shipped(domain: str, tmp_path: Path) -> None:
    """One round of the shipped recipe, and a prompt of every cell that the tokenizer gives back unchanged."""
    if not (tiny.WEIGHTS / domain / "warmup.json").is_file():
        pytest.skip(f"no embedded base for {domain}")
    run = tmp_path / "run"
    threads = torch.get_num_threads()
    flags = "--max_steps 1 --save_steps 1 --eval_tasks 8 --seed_tasks 8"
    assert train("--domain", domain, "--output_dir", run, *flags.split()) == 0
    assert torch.get_num_threads() == threads == 1
    rollouts = lines(run, "rollouts.jsonl")
    tokenizer = AutoTokenizer.from_pretrained(run / "model")
    assert {(r["role"], r["mode"]) for r in rollouts} == {
        (role, mode) for role in ("proposer", "solver") for mode in Mode
    }
    for r in rollouts:
        assert tokenizer.decode(tokenizer(r["prompt"])["input_ids"]) == r["prompt"]
    assert sum(r["advantage"] != 0 for r in rollouts) > len(rollouts) / 4
    assert sum(r["status"] == "malformed" for r in rollouts) < len(rollouts) / 4


# Resuming


VARIANTS = {
    "plain": {"max_steps": 4, "save_steps": 2},
    "several steps a round": {
        "max_steps": 8,
        "save_steps": 4,
        "per_device_train_batch_size": 18,
        "steps_per_generation": 2,
        "num_iterations": 2,
    },
    "accumulation, warm-up, reservoir": {
        "max_steps": 4,
        "save_steps": 2,
        "per_device_train_batch_size": 12,
        "steps_per_generation": 3,
        "gradient_accumulation_steps": 3,
        "lr_scheduler_type": "linear",
        "warmup_steps": 2,
        "eviction": "reservoir",
        "capacity": 8,
    },
}


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_a_resumed_run_equals_an_unbroken_one(variant: str, tmp_path: Path, recipe: Callable[..., Path]) -> None:
    """Later records and tasks are already there when it is resumed, as after a crash; they must leave no trace."""
    changes = VARIANTS[variant]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert train("--config", recipe(**changes), "--output_dir", whole, "--learning_rate", 3e-3, "--references=2") == 0
    shutil.copytree(whole, broken)
    last = changes["max_steps"]
    for name in (f"checkpoint-{last}", "model"):
        shutil.rmtree(broken / name)
    (broken / "evaluation.json").unlink()
    (broken / "after.json").unlink()
    with open(broken / "rollouts.jsonl", "a", encoding="utf-8") as file:
        file.write('{"step": 3, "row')  # torn
    assert train("--resume", broken) == 0
    assert same_weights(whole / "model", broken / "model")
    assert not same_weights(whole / "model", whole / f"checkpoint-{last // 2}")
    assert buffer_digest(whole) == buffer_digest(broken)
    for name in ("rollouts.jsonl", "metrics.jsonl", "base.json", "after.json"):
        assert (whole / name).read_bytes() == (broken / name).read_bytes(), name
    ours, theirs = (json.loads((run / "evaluation.json").read_text()) for run in (whole, broken))
    assert {k: ours[k] for k in ("base", "after", "steps")} == {k: theirs[k] for k in ("base", "after", "steps")}


def test_a_finished_run_can_be_resumed_and_changes_nothing(tmp_path: Path, recipe: Callable[..., Path]) -> None:
    run = tmp_path / "run"
    assert train("--config", recipe(max_steps=2), "--output_dir", run) == 0
    before = {name: (run / name).read_bytes() for name in ("rollouts.jsonl", "metrics.jsonl", "after.json")}
    digest = buffer_digest(run)
    assert train(f"--resume={run}") == 0
    assert {name: (run / name).read_bytes() for name in before} == before
    assert buffer_digest(run) == digest


def test_a_run_directory_may_be_moved(tmp_path: Path, recipe: Callable[..., Path]) -> None:
    run, moved = tmp_path / "run", tmp_path / "elsewhere" / "run"
    assert train("--config", recipe(), "--output_dir", run) == 0
    recipe(max_steps=77)  # the run keeps its own copy of the recipe
    shutil.rmtree(run / "checkpoint-4")
    moved.parent.mkdir()
    run.rename(moved)
    assert train("--resume", moved) == 0
    assert (moved / "checkpoint-4").is_dir()
    assert not run.exists()


def test_a_half_written_checkpoint_is_passed_over(tmp_path: Path, recipe: Callable[..., Path]) -> None:
    run = tmp_path / "run"
    assert train("--config", recipe(), "--output_dir", run) == 0
    (run / "checkpoint-4" / "selfplay.json").unlink()
    (run / "checkpoint-4" / "optimizer.pt").unlink()
    assert train("--resume", run) == 0
    assert Run(run).last_checkpoint().name == "checkpoint-4"


def test_a_half_written_checkpoint_takes_no_place_of_a_whole_one(tmp_path: Path, recipe: Callable[..., Path]) -> None:
    """Left behind it counts for ``save_total_limit``: the next checkpoint would drive out the only whole one."""
    run = tmp_path / "run"
    assert train("--config", recipe(save_total_limit=2), "--output_dir", run) == 0
    shutil.rmtree(run / "checkpoint-4")
    (run / "checkpoint-3").mkdir()
    assert train("--resume", run) == 0
    assert sorted(path.name for path in run.glob("checkpoint-*")) == ["checkpoint-2", "checkpoint-4"]


def test_a_run_saves_as_often_as_it_is_told_when_it_goes_on(tmp_path: Path, recipe: Callable[..., Path]) -> None:
    """The checkpoint holds the ``save_steps`` and ``logging_steps`` of its own time."""
    run = tmp_path / "run"
    assert train("--config", recipe(max_steps=2, eval_tasks=1), "--output_dir", run) == 0
    flags = ("--max_steps", 5, "--save_steps", 1, "--logging_steps", 3)
    assert train("--resume", run, *flags) == 0
    assert {path.name for path in run.glob("checkpoint-*")} == {f"checkpoint-{step}" for step in (2, 3, 4, 5)}
    history = json.loads((run / "checkpoint-5" / "trainer_state.json").read_text())["log_history"]
    assert [line["step"] for line in history if "loss" in line] == [1, 2, 3]


def test_a_run_goes_on_for_more_steps_and_says_so(
    tmp_path: Path, recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    whole_run, longer = tmp_path / "whole", tmp_path / "longer"
    assert train("--config", recipe(), "--output_dir", whole_run) == 0
    assert train("--config", recipe(max_steps=2), "--output_dir", longer) == 0
    head = json.loads((longer / "run.json").read_text())
    (longer / "run.json").write_text(json.dumps(head | {"versions": head["versions"] | {"trl": "1.15.0"}}))
    capsys.readouterr()
    assert train("--resume", longer, "--max_steps", 4, "--learning_rate", 1e-3) == 0
    out = capsys.readouterr().out
    assert "differs from the run as it began: max_steps 2 -> 4" in out
    assert f"differs from the run as it began: trl 1.15.0 -> {head['versions']['trl']}" in out
    assert out.count("differs from") == 2
    assert same_weights(whole_run / "model", longer / "model")
    assert (whole_run / "rollouts.jsonl").read_bytes() == (longer / "rollouts.jsonl").read_bytes()
    shutil.rmtree(longer / "checkpoint-4")
    assert train("--resume", longer) == 0  # it remembers
    assert json.loads((longer / "evaluation.json").read_text())["steps"] == 4


def test_settings_that_a_run_may_not_change_are_named(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    head = (run / "run.json").read_bytes()
    assert train("--resume", run, "--learning_rate", 0.5, "--seed=4", "--proposer_rows", 4, "--max_steps", 9) == 2
    err = capsys.readouterr().err
    assert "learning_rate (0.001 then, 0.5 now), seed (3 then, 4 now)" in err
    assert "only max_steps, save_steps, save_total_limit, logging_steps may change" in err
    assert train("--resume", run, "--with-controls") == 2
    assert "its controls must train as the main run did" in capsys.readouterr().err
    (run / "run.json").write_text(json.dumps(json.loads(head) | {"processes": 4}))
    assert train("--resume", run) == 2
    assert "was begun with 4 as the number of processes, and now it is 1" in capsys.readouterr().err


def test_a_run_under_way_is_not_resumed(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two at one buffer would each take back what the other has done."""
    run = shutil.copytree(finished, tmp_path / "run")
    before = {path: path.read_bytes() for path in run.rglob("*.json*")}
    other = os.open(run, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    assert train("--resume", run) == 2
    assert f"{run} is being trained by another process" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in run.rglob("*.json*")} == before
    os.close(other)
    assert train("--resume", run) == 0


# A full disk


@pytest.mark.parametrize(
    "fault",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        sqlite3.OperationalError("database or disk is full"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 21632 vs 21520"),
    ],
)
def test_whoever_finds_the_disk_full_the_message_names_the_folder(fault: Exception, tmp_path: Path) -> None:
    told = pytest.raises(SettingError, match=f"no room is left for writing into {tmp_path}.* and begin anew")
    with told, _full_disk_told(Run(tmp_path)):
        raise fault
    (tmp_path / "checkpoint-2").mkdir()
    (tmp_path / "checkpoint-2" / "selfplay.json").write_text("{}")
    told = pytest.raises(SettingError, match=f"the last checkpoint: azr train --resume {tmp_path}")
    with told, _full_disk_told(Run(tmp_path)):
        raise fault


def test_other_faults_are_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="something else"), _full_disk_told(Run(tmp_path)):
        raise RuntimeError("something else")


ON_A_SMALL_DISK = """
mount -t tmpfs -o size={size} tmpfs {disk} || exit 77
{azr} --config {recipe} --output_dir {disk}/run; echo code $? >&2
mount -o remount,size=64m {disk}
{azr} --resume {disk}/run || exit 1
cp -r {disk}/run {out}
"""


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.5, 0.7, 0.95])
def test_a_full_disk_costs_nothing_that_was_committed(
    share: float, finished: Path, tmp_path: Path, recipe: Callable[..., Path]
) -> None:
    """A run on a disk that holds so much of it, and on with more room: it ends as a run that had room all along."""
    (tmp_path / "disk").mkdir()
    room = sum(path.stat().st_size for path in finished.rglob("*"))
    path = recipe(max_steps=3, seed=3, save_steps=1)
    script = ON_A_SMALL_DISK.format(
        size=int(share * (room + checkpoint_size(finished))),
        disk=tmp_path / "disk",
        azr=f"{sys.executable} -m azr_agents train",
        recipe=path,
        out=tmp_path / "run",
    )
    done = subprocess.run(["unshare", "-Urm", "sh", "-c", script], capture_output=True, text=True, check=False)
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip(f"no disk of one's own can be made here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    assert "code 2" in done.stderr
    assert f"azr: no room is left for writing into {tmp_path}/disk/run" in done.stderr
    assert "Traceback" not in done.stderr
    assert same_weights(tmp_path / "run" / "model", finished / "model")
    assert (tmp_path / "run" / "rollouts.jsonl").read_bytes() == (finished / "rollouts.jsonl").read_bytes()
    assert buffer_digest(tmp_path / "run") == buffer_digest(finished)


def checkpoint_size(run: Path) -> int:
    return sum(path.stat().st_size for path in (run / "checkpoint-2").iterdir())


# Stopping


STEPS = 24
LONG = {"max_steps": STEPS, "eval_tasks": 1, "save_total_limit": 2}


@pytest.fixture
def started(tmp_path: Path, recipe: Callable[..., Path]) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A run of many steps in a process of its own."""
    run = tmp_path / "run"
    path = recipe(**LONG)
    code = "import sys; from azr_agents.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "train", "--config", str(path), "--output_dir", str(run)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    yield process, run
    if process.poll() is None:
        process.kill()
    process.communicate()


def wait_for(process: subprocess.Popen[str], ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not ready():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.001)


def whole(run: Path, steps: int) -> None:
    """Checks that the records of a run of so many steps are complete and its buffer is sound."""
    assert [(r["step"], r["row"]) for r in lines(run, "rollouts.jsonl")] == [
        (s, r) for s in range(steps) for r in range(ROWS)
    ]
    assert [m["step"] for m in lines(run, "metrics.jsonl")] == list(range(steps))
    with sqlite3.connect(run / "buffer.sqlite") as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("SELECT max(step), count(*) FROM steps WHERE step >= 0").fetchone() == (steps - 1, steps)
        twice = "SELECT mode, identity FROM tasks WHERE evicted IS NULL GROUP BY 1, 2 HAVING count(*) > 1"
        assert db.execute(twice).fetchall() == []
    assert json.loads((run / "evaluation.json").read_text())["steps"] == steps


MOMENTS: dict[str, Callable[[Path], bool]] = {
    "while a checkpoint is written or an old one deleted": lambda run: any(
        not (path / "selfplay.json").is_file() for path in run.glob("checkpoint-*")
    ),
    "at any moment": lambda run: not time.sleep(np.random.default_rng().uniform(0, 0.3)),
}
"""When to kill."""


@pytest.mark.slow
@pytest.mark.parametrize("moment", list(MOMENTS))
def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    moment: str, started: tuple[subprocess.Popen[str], Path], tmp_path: Path, recipe: Callable[..., Path]
) -> None:
    process, run = started
    wait_for(process, lambda: (run / "checkpoint-4" / "selfplay.json").is_file())
    wait_for(process, lambda: MOMENTS[moment](run))
    process.send_signal(signal.SIGKILL)
    assert process.wait(20) == -signal.SIGKILL
    assert not (run / "evaluation.json").exists()
    assert train("--resume", run) == 0
    whole(run, STEPS)
    unbroken = tmp_path / "unbroken"
    assert train("--config", recipe("other.yaml", **LONG), "--output_dir", unbroken) == 0
    assert same_weights(run / "model", unbroken / "model")
    assert buffer_digest(run) == buffer_digest(unbroken)
    assert (run / "rollouts.jsonl").read_bytes() == (unbroken / "rollouts.jsonl").read_bytes()


@pytest.mark.slow
def test_a_stopped_run_says_how_to_go_on(started: tuple[subprocess.Popen[str], Path]) -> None:
    process, run = started
    wait_for(process, lambda: (run / "metrics.jsonl").is_file() and len(lines(run, "metrics.jsonl")) >= 3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "stopping after this round" in err
    command = re.search(r"azr train --resume \S+$", out, re.MULTILINE)
    assert command
    stopped = re.search(r"stopped after step (\d+)", out)
    assert stopped
    assert Run(run).last_checkpoint().name == f"checkpoint-{stopped[1]}"
    assert 3 <= int(stopped[1]) < STEPS
    assert not (run / "evaluation.json").exists()
    assert cli.main(shlex.split(command[0])[1:]) == 0
    whole(run, STEPS)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_interrupt_stops_at_once(number: signal.Signals) -> None:
    interrupt = Interrupt(1)
    previous = signal.getsignal(number)
    with interrupt.listening():
        signal.raise_signal(number)
        assert interrupt.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) is previous


@pytest.mark.parametrize(("every", "stops"), [(1, [1, 2, 3, 4]), (2, [2, 4]), (4, [4])])
def test_an_interrupt_waits_for_the_end_of_the_round(every: int, stops: list[int]) -> None:
    interrupt = Interrupt(every)
    for asked in (False, True):
        interrupt.asked = asked
        found = []
        for step in range(1, 5):
            control = TrainerControl()
            interrupt.on_step_end(None, TrainerState(global_step=step), control)
            assert control.should_save is control.should_training_stop
            found += [step] if control.should_save else []
        assert found == (stops if asked else [])


@pytest.mark.parametrize("changes", [{"max_steps": 8, "save_steps": 4, "num_iterations": 4}])
def test_an_interrupted_round_of_several_steps_is_finished_and_resumed(
    changes: dict[str, Any], tmp_path: Path, recipe: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked in the first of the four steps of a round: the checkpoint is the one at its end."""
    whole_run, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert train("--config", recipe(**changes), "--output_dir", whole_run) == 0
    with monkeypatch.context() as patch:
        patch.setattr(
            Interrupt, "on_step_begin", lambda self, args, state, control, **rest: setattr(self, "asked", True)
        )
        assert train("--config", recipe(**changes), "--output_dir", stopped) == 130
    assert Run(stopped).last_checkpoint().name == "checkpoint-4"
    assert train("--resume", stopped) == 0
    assert same_weights(whole_run / "model", stopped / "model")
