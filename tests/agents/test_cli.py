"""What ``azr`` says to bad input: exit code 2, one line that names the value and what would do, nothing left behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from trl import GRPOConfig

from azr_agents import cli, launch, tiny
from azr_agents.config import RunConfig, SelfPlayConfig, options
from azr_agents.launch import _parse
from azr_env.errors import SettingError

Recipe = Callable[..., Path]
Refused = Callable[..., str]


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Refused:
    """Runs ``azr`` with arguments that it must refuse, and gives back the line it said."""
    monkeypatch.chdir(tmp_path)

    def run(*args: object) -> str:
        before = sorted(tmp_path.rglob("*"))
        code = cli.main([str(arg) for arg in args])
        out, err = capsys.readouterr()
        assert code == 2, (code, err)
        assert out == ""
        assert "Traceback" not in err
        assert err.startswith("azr: ")
        assert err.count("\n") == 1, err
        assert sorted(tmp_path.rglob("*")) == before  # no run directory was begun
        return err

    return run


def says(message: str, *words: str) -> None:
    for word in words:
        assert word in message, message


# The command


@pytest.mark.parametrize("args", [["--help"], ["-h"]])
def test_help(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(args) == 0
    says(capsys.readouterr().out, "usage: azr train", "--resume RUN", "with no arguments")


def test_no_command_and_an_unknown_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "usage: azr train" in capsys.readouterr().out
    assert cli.main(["tarin"]) == 2
    says(capsys.readouterr().err, "no command 'tarin'", "usage: azr train")


def test_help_needs_no_torch_and_the_script_is_installed() -> None:
    code = "import sys; from azr_agents.cli import main; main(['--help']); sys.exit('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert shown.returncode == 0, shown.stderr
    script = Path(sys.executable).parent / "azr"
    shown = subprocess.run([script, "--help"], capture_output=True, text=True, timeout=60)
    assert shown.returncode == 0
    assert shown.stdout.startswith("usage: azr train")


def test_train_help_lists_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["train", "--help"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: azr train")
    for kind in (RunConfig, SelfPlayConfig):
        for setting in fields(kind):
            assert re.search(rf"--{setting.name}\b", out)
            assert setting.metadata["help"].split()[0] in out
    says(out, "--learning_rate", "--num_generations", "--resume RUN", "--with-controls", "--dry-run", "--config FILE")


def test_training_without_its_packages_says_what_to_install() -> None:
    code = """
import builtins, sys
real = builtins.__import__
def fake(name, *args, **kwargs):
    if name.split(".")[0] == "torch":
        raise ModuleNotFoundError("No module named 'torch'", name="torch")
    return real(name, *args, **kwargs)
builtins.__import__ = fake
from azr_agents.cli import main
sys.exit(main(["train"]))
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert shown.returncode == 2, shown.stderr
    says(shown.stderr, "'torch'", "pip install", "[train]")
    assert "Traceback" not in shown.stderr


def test_an_interrupt_outside_of_training_ends_quietly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*args: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(launch, "run", interrupted)
    assert cli.main(["train"]) == 130
    assert capsys.readouterr().err == "azr: stopped\n"


# Names


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("domain", "prime_inversio", ["'prime_inversio'", "python", "Did you mean 'prime_inversion'?"]),
        ("style", "papr", ["style='papr'", "paper, compact"]),
        ("learnability", "azrr", ["learnability='azrr'", "azr, azr-code, variance, nearest, gaussian"]),
        ("algorithm", "trr", ["algorithm='trr'", "trr++, grpo, rloo, ppo"]),
        ("advantage", "words", ["advantage='words'", "sequences, tokens"]),
        ("eviction", "lifo", ["eviction='lifo'", "fifo, reservoir"]),
        ("tasks", "builtn", ["'builtn'", "Did you mean 'builtin'?", "jsonl"]),
        ("tasks", "builtin:prims=3-7", ["'prims'", "primes=LOW-HIGH"]),
        ("tasks", "jsonl:/no/such.jsonl", ["/no/such.jsonl"]),
        ("model", "/no/such/model", ["model='/no/such/model'", "save_pretrained", "hub"]),
        ("model", "no-such-org/no-such-model", ["model='no-such-org/no-such-model'", "save_pretrained"]),
        ("domain_options", "max_prime", ["'max_prime' is not KEY=VALUE", "max_prime=61"]),
        ("domain_options", "=5", ["'=5' is not KEY=VALUE"]),
        ("domain_options", "max_prime=two", ["max_prime='two'", "from 3 to"]),
        ("domain_options", "max_prime=2", ["max_prime=2", "from 3 to"]),
        ("domain_options", "max_prim=13", ["'max_prim'", "prime_inversion"]),
    ],
)
@pytest.mark.parametrize("by_flag", [True, False])
def test_unknown_names(
    refused: Refused, recipe: Recipe, setting: str, value: str, words: list[str], by_flag: bool
) -> None:
    if by_flag:
        message = refused("train", "--config", recipe(), f"--{setting}", value, "--output_dir", "run")
    else:
        message = refused("train", "--config", recipe(**{setting: value}), "--output_dir", "run")
    says(message, *words)


def test_a_misspelt_domain_without_a_recipe(refused: Refused) -> None:
    says(refused("train", "--domain", "prime_inversio"), "'prime_inversio'", "Did you mean 'prime_inversion'?")


def test_there_is_no_setting_for_the_verifier(refused: Refused, recipe: Recipe) -> None:
    says(refused("train", "--config", recipe(), "--verifier", "exact"), "'--verifier', 'exact'")


def test_no_embedded_model_for_a_domain(
    refused: Refused, recipe: Recipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from azr_agents import tiny

    (tmp_path / "weights").mkdir()
    monkeypatch.setattr(tiny, "WEIGHTS", tmp_path / "weights")
    says(refused("train", "--config", recipe(model="embedded")), "model='embedded'", "'prime_inversion'", "path")


def test_a_folder_without_a_tokenizer(refused: Refused, recipe: Recipe, base_model: Path, tmp_path: Path) -> None:
    shutil.copytree(base_model, tmp_path / "half", ignore=shutil.ignore_patterns("tokenizer*"))
    says(
        refused("train", "--config", recipe(), "--model", tmp_path / "half"),
        f"model='{tmp_path}/half' cannot be loaded",
    )


def test_a_tokenizer_that_can_end_nothing(refused: Refused, recipe: Recipe, base_model: Path, tmp_path: Path) -> None:
    shutil.copytree(base_model, tmp_path / "endless")
    path = tmp_path / "endless" / "tokenizer_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in config.items() if k not in ("pad_token", "eos_token")}))
    says(refused("train", "--config", recipe(model=str(tmp_path / "endless"))), "neither a padding nor an end token")


# Numbers


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_generations": 5}, ["num_generations", "5", "must be one of 2, 3, 4, 6, 9, 12, 18, 36"]),
        ({"num_generations": 8}, ["num_generations", "8", "must be one of 2, 3, 4, 6, 9, 12, 18, 36"]),
        ({"num_generations": 1}, ["at least 2", "1"]),
        ({"per_device_train_batch_size": 10}, ["10", "must be 36"]),
        ({"per_device_train_batch_size": 16}, ["per_device_train_batch_size=16", "must be 36"]),
        ({"per_device_train_batch_size": 72}, ["per_device_train_batch_size=72", "must be 36"]),
        ({"gradient_accumulation_steps": 2}, ["gradient_accumulation_steps=2", "divisor"]),
        ({"num_iterations": 3, "save_steps": 4}, ["save_steps=4", "multiple of 3", "for example 3"]),
        ({"save_steps": 0.3}, ["save_steps=0.3", "multiple of 1"]),
        ({"num_iterations": 3, "save_steps": 3}, ["max_steps=4", "multiple of 3", "for example 6"]),
        ({"scale_rewards": "none"}, ["scale_rewards='none'", "algorithm", "Leave it at 'group'"]),
        ({"save_only_model": True}, ["save_only_model=True", "could not go on", "Leave it at False"]),
        ({"eval_strategy": "steps"}, ["eval_strategy='steps'", "heldout_every", "Leave it at 'no'"]),
        ({"save_strategy": "best"}, ["save_strategy='best'", "choose one of steps, epoch, no"]),
        ({"loss_type": "dap"}, ["loss_type='dap'", "choose one of grpo, dr_grpo, dapo"]),
        ({"use_vllm": True, "on_collapse": "freeze-proposer"}, ["use_vllm=True", "frozen proposer"]),
        ({"proposer_rows": -1}, ["proposer_rows=-1", "from 0 up"]),
        ({"proposer_rows": 1}, ["proposer_rows=1", "at least 2", "or 0"]),
        ({"solver_rows": 1}, ["solver_rows=1", "at least 2"]),
        ({"solver_rows": 0}, ["solver_rows=0", "at least 2"]),
        ({"buffer_share": 1.5}, ["buffer_share=1.5", "from 0 to 1"]),
        ({"buffer_share": -0.1}, ["buffer_share=-0.1", "from 0 to 1"]),
        ({"buffer_share": "nan"}, ["buffer_share=nan", "from 0 to 1"]),
        ({"references": -1}, ["references=-1", "from 0 up"]),
        ({"seed_tasks": -1}, ["seed_tasks=-1", "from 0 up"]),
        ({"capacity": 0}, ["capacity=0", "from 1 up"]),
        ({"eval_tasks": -1}, ["eval_tasks=-1", "from 0 up"]),
        ({"eval_samples": 0}, ["eval_samples=0", "from 1 up"]),
        ({"heldout_every": 2, "eval_tasks": 0}, ["heldout_every=2", "eval_tasks=0"]),
        ({"seed": -1}, ["seed=-1", "from 0 to"]),
        ({"seed": 2**32}, [f"seed={2**32}", "from 0 to"]),
    ],
)
@pytest.mark.parametrize("by_flag", [True, False])
def test_numbers_out_of_range(
    refused: Refused, recipe: Recipe, changes: dict[str, Any], words: list[str], by_flag: bool
) -> None:
    if by_flag:
        flags = [f"--{name}={value}" for name, value in changes.items()]
        message = refused("train", "--config", recipe(), *flags, "--output_dir", "run")
    else:
        message = refused("train", "--config", recipe(**changes), "--output_dir", "run")
    says(message, *words)


@pytest.mark.parametrize("value", [2.5, [3]])
def test_recipe_values_of_a_wrong_kind(refused: Refused, recipe: Recipe, value: object) -> None:
    says(refused("train", "--config", recipe(solver_rows=value)), f"solver_rows={value!r}", "whole number")


@pytest.mark.parametrize("how", [{"solver_rows": "many"}, {"max_steps": "soon"}])
def test_words_for_numbers(recipe: Recipe, how: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    ((name, value),) = how.items()
    for args in (["--config", str(recipe("bad.yaml", **how))], ["--config", str(recipe()), f"--{name}", value]):
        with pytest.raises(SystemExit) as stopped:
            cli.main(["train", *args])
        assert stopped.value.code == 2
        err = capsys.readouterr().err
        assert re.search(rf"--{name}.*invalid int value: '{value}'", err.splitlines()[-1])
        assert "Traceback" not in err


# Recipes and flags


def test_a_recipe_of_the_package_is_had_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    model = Path(__file__).parents[2] / "agents/recipes/models/qwen2.5-0.5b"
    assert cli.main(["train", "--config", "qwen2.5-0.5b-1gpu", "--dry-run", "--model", str(model)]) == 0
    assert "dry run: nothing was generated" in capsys.readouterr().out


def test_recipe_that_is_not_there(refused: Refused, tmp_path: Path) -> None:
    says(refused("train", "--config", tmp_path / "none.yaml"), f"--config {tmp_path}/none.yaml", "no such file")
    says(refused("train", "--config", tmp_path), "no such file")
    says(refused("train", "--config", "coder-7b"), "no recipe of that name; recipes: coder-7b-4gpu, default,")
    says(refused("train", "--config"), "--config needs a value")


@pytest.mark.parametrize(
    "text",
    [b"a: [1, 2\nb: }", b"- 1\n- 2\n", b"just words", b"", b"\xff\xfe\x00ab\x80", b"a: !!python/object:os.system x"],
)
def test_recipe_that_is_no_mapping(refused: Refused, tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(text)
    assert re.search(
        rf"{re.escape(str(path))}(: a recipe is a mapping| is no YAML)", refused("train", "--config", path)
    )


def test_unknown_key_of_a_recipe(refused: Refused, recipe: Recipe) -> None:
    says(refused("train", "--config", recipe(proposer_row=3)), "--proposer_row", "config file")


@pytest.mark.parametrize("flag", ["--proposer_row", "--frobnicate", "--out"])
def test_unknown_flag(refused: Refused, recipe: Recipe, flag: str) -> None:
    """Nothing is guessed from the beginning of a word."""
    says(refused("train", "--config", recipe(), flag, "3"), flag)


def test_flags_that_begin_like_others_are_told_apart(recipe: Recipe) -> None:
    _, play, args = _parse(["--seed", "7", "--seed_tasks=9"], recipe(seed=1))
    assert (args.seed, play.seed_tasks) == (7, 9)


def test_flags_go_over_the_recipe_and_the_recipe_over_defaults(recipe: Recipe) -> None:
    config, play, args = _parse(["--solver_rows", "12", "--learning-rate=0.5"], recipe(references=2))
    assert (play.solver_rows, play.references, play.buffer_share) == (12, 2, 0.5)
    assert args.learning_rate == 0.5
    assert config.style == "compact"


# Run directories


def test_output_dir_that_is_not_empty(refused: Refused, recipe: Recipe, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.tex").write_text("mine")
    message = refused("train", "--config", recipe(), "--output_dir", full)
    says(message, f"output_dir={full}", "not empty", "another --output_dir")
    assert "--resume" not in message
    (full / "run.json").write_text("{}")
    says(refused("train", "--config", recipe(), f"--output_dir={full}"), f"azr train --resume {full}")
    says(refused("train", "--config", recipe(), "--output-dir", full), f"output_dir={full}")
    says(refused("train", "--config", recipe(), "--output_dir", full / "thesis.tex"), "not empty")
    says(refused("train", "--config", recipe(), "--output_dir", full / "thesis.tex" / "x"), "cannot be made")
    assert (full / "thesis.tex").read_text() == "mine"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["no run directory", "run.json"]),
        ("{", ["no run directory", "run.json"]),
        ("[]", ["no run directory"]),
        ("{}", ["no run directory", "schema"]),
        ('{"schema": 1}', ["no run directory", "argv"]),
        ('{"schema": 99, "argv": []}', ["schema 99", "reads 1"]),
        ('{"schema": 1, "argv": []}', ["no whole checkpoint", "begin a new run"]),
    ],
)
def test_resume_of_what_is_no_run(refused: Refused, tmp_path: Path, content: str | None, words: list[str]) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    if content is not None:
        (folder / "run.json").write_text(content)
    says(refused("train", "--resume", folder), str(folder), *words)


def test_resume_of_nothing(refused: Refused, tmp_path: Path) -> None:
    says(refused("train", "--resume"), "--resume needs a value")
    says(refused("train", "--resume", tmp_path / "none"), f"{tmp_path}/none is no run directory")
    for args in (
        ["--resume", tmp_path, "--max_steps", 3],
        [f"--resume={tmp_path}", "--max_steps=3"],
        ["--max_steps=3", f"--resume={tmp_path}"],
    ):
        says(refused("train", *args), f"{tmp_path} is no run directory")


def test_without_an_output_dir_the_run_goes_under_runs(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "--config", str(recipe(max_steps=1, eval_tasks=0, save_strategy="no"))]) == 0
    (run,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"prime_inversion-\d{8}-\d{6}", run.name)
    assert str(run) in capsys.readouterr().out.replace("\n", "")


# Units


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("max_prime=61", {"max_prime": 61}),
        (" a=1 , b=2.5,c=strict ,", {"a": 1, "b": 2.5, "c": "strict"}),
        ("a=", {"a": ""}),
        ("a=b=c", {"a": "b=c"}),
        ("a=-3", {"a": -3}),
    ],
)
def test_options(text: str, found: dict[str, Any]) -> None:
    assert options(text) == found


@pytest.mark.parametrize("text", ["a", "=1", "1a=2", "a b=2", "a=1;b=2,c"])
def test_malformed_options(text: str) -> None:
    with pytest.raises(SettingError, match="is not KEY=VALUE"):
        options(text)


@pytest.mark.parametrize(
    "path",
    [
        path
        for pattern in ("default.yaml", "embedded-*.yaml")
        for path in sorted((Path(__file__).parents[2] / "agents" / "recipes").glob(pattern))
    ],
    ids=lambda p: p.stem,
)
def test_recipes_for_one_processor_are_valid(path: Path) -> None:
    """Those for a GPU are in test_recipes.py."""
    from azr_agents.config import round_rows
    from azr_agents.trainer import check_arithmetic

    config, play, args = _parse([], path)
    assert isinstance(args, GRPOConfig)
    check_arithmetic(args, round_rows(play), int(os.environ.get("WORLD_SIZE", "1")))
    assert path.stem in ("default", f"embedded-{config.domain}")


def test_a_style_that_the_model_has_no_room_for(refused: Refused) -> None:
    says(refused("train", "--style", "paper"), "paper style", "room for 512", "compact")


def test_no_number_of_steps(refused: Refused) -> None:
    says(refused("train", "--max_steps=-1"), "max_steps=-1", "1 or more")


def test_a_model_folder_without_weights(refused: Refused, tmp_path: Path) -> None:
    shutil.copytree(tiny.path("prime_inversion"), tmp_path / "empty", ignore=shutil.ignore_patterns("*.safetensors"))
    says(refused("train", "--model", tmp_path / "empty"), "has no weights", "*.safetensors")


def test_a_task_file_that_lacks_a_mode_is_refused_before_the_run_begins(refused: Refused, tmp_path: Path) -> None:
    row = {"mode": "deduction", "program": "7", "examples": [["3", "5"]]}
    (tmp_path / "tasks.jsonl").write_text(json.dumps(row) + "\n")
    says(refused("train", "--tasks", f"jsonl:{tmp_path / 'tasks.jsonl'}"), "has no abduction task", "deduction")
