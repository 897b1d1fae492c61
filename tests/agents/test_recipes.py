"""The recipes for large models load, fit their number of devices, and can be planned without the model."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import launch_command_parser
from accelerate.utils import DistributedType

from azr_agents import cli
from azr_agents.config import recipe_folders
from azr_agents.launch import _check_controls, _parse

FOLDER = next(folder for folder in recipe_folders() if (folder / "accelerate").is_dir())
LARGE = {
    "qwen2.5-0.5b-1gpu": ("qwen2.5-0.5b", 1),
    "qwen2.5-coder-3b-1gpu": ("qwen2.5-coder-3b", 1),
    "coder-7b-4gpu": ("qwen2.5-coder-7b", 4),
}
"""Name of the folder with the model's configuration, and the number of devices."""


def planned(name: str) -> list[str]:
    model, processes = LARGE[name]
    flags = ["--config", FOLDER / f"{name}.yaml", "--model", FOLDER / "models" / model, "--processes", processes]
    return ["train", "--dry-run", *map(str, flags)]


@pytest.mark.parametrize("name", LARGE)
def test_planned(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(planned(name)) == 0
    out = capsys.readouterr().out
    assert "8 answers to a proposal" in out
    assert "optimiser steps a round: 3" in out
    assert "nothing was written" in out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "sharding", "most"),
    [("qwen2.5-0.5b-1gpu", 0, 80), ("qwen2.5-coder-3b-1gpu", 0, 0.65 * 80), ("coder-7b-4gpu", 2, 0.7 * 80)],
)
def test_it_fits_the_devices_that_it_names(
    name: str, sharding: int, most: float, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside vLLM's share of 80 GB, where it runs on the same device, with a tenth to spare."""
    assert cli.main(planned(name)) == 0
    peak = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("│ at most"))
    gib = [float(value) for value in peak.strip("│ ").split("│")[1:]]
    assert gib[sharding] * 2**30 < 0.9 * most * 1e9


@pytest.mark.parametrize("name", LARGE)
def test_a_wrong_number_of_devices(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    flags = planned(name)
    flags[flags.index("--processes") + 1] = "7"
    assert cli.main(flags) == 2
    assert "x 7 processes" in capsys.readouterr().err


@pytest.mark.parametrize("name", LARGE)
def test_a_model_that_cannot_be_reached(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    flags = planned(name)
    place = flags.index("--model")
    assert cli.main(flags[:place] + flags[place + 2 :]) == 2
    said = capsys.readouterr().err
    assert yaml.safe_load((FOLDER / f"{name}.yaml").read_text())["model"] in said
    assert "a folder with its config.json will do" in said


def test_the_papers_constants() -> None:
    config, play, args = _parse(["--use_cpu", "true"], FOLDER / "coder-7b-4gpu.yaml")
    assert (config.max_prompt_length, args.max_completion_length, args.vllm_max_model_length) == (6144, 8096, 14_240)
    assert (play.proposer_rows, play.solver_rows // play.proposer_rows) == (64, 8)
    assert (play.references, play.seed_tasks, play.capacity) == (6, 256, 16_384)
    assert (play.algorithm, play.learnability, play.advantage) == ("trr++", "azr", "sequences")
    assert (args.learning_rate, args.lr_scheduler_type, args.max_grad_norm) == (1e-6, "constant", 1.0)
    assert (args.beta, args.entropy_coef, args.epsilon, args.temperature, args.top_p) == (0, 0.001, 0.2, 1.0, 1.0)
    assert args.max_steps == 500 * 3


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_names_settings_that_exist(path: Path) -> None:
    assert _parse(["--use_cpu", "true"], path)


@pytest.mark.parametrize("name", ["default", "embedded-python", "embedded-prime_inversion"])
def test_controls_can_run_after_it(name: str) -> None:
    _check_controls(["--with-controls", "--use_cpu", "true"], FOLDER / f"{name}.yaml")


# Accelerate


def settings_of(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        yield action.dest


@pytest.mark.parametrize(
    ("name", "kind", "part", "values"),
    [
        ("fsdp", DistributedType.FSDP, "fsdp_config", {"fsdp_version": 2, "fsdp_state_dict_type": "FULL_STATE_DICT"}),
        ("deepspeed-zero2", DistributedType.DEEPSPEED, "deepspeed_config", {"zero_stage": 2}),
        ("deepspeed-zero3", DistributedType.DEEPSPEED, "deepspeed_config", {"zero_stage": 3}),
    ],
)
def test_accelerate_loads_its_files(name: str, kind: DistributedType, part: str, values: dict[str, Any]) -> None:
    found = load_config_from_file(str(FOLDER / "accelerate" / f"{name}.yaml"))
    assert found.distributed_type is kind
    assert (found.num_processes, found.mixed_precision) == (4, "bf16")
    own = getattr(found, part)
    assert own.items() >= values.items()
    assert set(own) <= set(settings_of(launch_command_parser()))
