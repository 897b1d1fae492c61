"""``azr export``: what it writes loads, is the run's, and says where it comes from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from azr_agents import cli


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, write_recipe: Callable[..., Path]) -> Path:
    folder = tmp_path_factory.mktemp("export")
    run = folder / "run"
    flags = ["--config", str(write_recipe(folder, max_steps=2)), "--output_dir", str(run), "--seed", "5"]
    assert cli.main(["train", *flags]) == 0
    return run


def same(one: Path, two: Path) -> bool:
    mine, other = (AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).state_dict() for path in (one, two))
    return all(torch.equal(value, other[name]) for name, value in mine.items())


def test_the_final_weights(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", str(finished)]) == 0
    out = finished / "export"
    assert str(out) in capsys.readouterr().out
    assert same(out, finished / "model")
    tokenizer = AutoTokenizer.from_pretrained(out)
    settings = GenerationConfig.from_pretrained(out)
    assert settings.eos_token_id == tokenizer.eos_token_id
    ids = tokenizer("program: 7\ninput: 2\noutput:", return_tensors="pt")
    model = AutoModelForCausalLM.from_pretrained(out)
    asked = {key: ids[key] for key in ("input_ids", "attention_mask")}
    assert model.generate(**asked, max_new_tokens=3).shape[0] == 1


def test_whoever_loads_it_sets_the_length(finished: Path, tmp_path: Path) -> None:
    assert cli.main(["export", str(finished), "--output", str(tmp_path / "out")]) == 0
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files >= {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"}
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    ids = tokenizer("program: 7\ninput: 2\noutput:", return_tensors="pt")
    given, new = ids["input_ids"].shape[1], 30  # more than the 12 of the run
    asked = {"max_length": given + new, "min_new_tokens": new, "do_sample": False}
    assert model.generate(**{key: ids[key] for key in ("input_ids", "attention_mask")}, **asked).shape[1] == given + new


def test_the_card(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "card"
    assert cli.main(["export", str(finished), "--output", str(out)]) == 0
    card = (out / "README.md").read_text(encoding="utf-8")
    head = yaml.safe_load(card.split("---")[1])
    assert head["library_name"] == "transformers"
    for piece in (
        "domain `prime_inversion`",
        "| heldout | sampled | all |",
        "seed: 5",
        "learning_rate: 0.001",
        "output:",
    ):
        assert piece in card
    assert str(finished.parent) not in card.replace(str(finished.parent / "recipe.yaml"), "").split("## How it was")[0]


def test_a_checkpoint(finished: Path, tmp_path: Path) -> None:
    assert cli.main(["export", str(finished), "--step", "2", "--output", str(tmp_path / "two")]) == 0
    assert same(tmp_path / "two", finished / "checkpoint-2")
    assert "not at this checkpoint" in (tmp_path / "two" / "README.md").read_text(encoding="utf-8")


def test_mistakes(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", str(finished), "--step", "7"]) == 2
    assert "no checkpoint of step 7; checkpoints there are: 2" in capsys.readouterr().err
    (finished / "checkpoint-1").mkdir()  # half written when its run was killed
    assert cli.main(["export", str(finished), "--step", "1"]) == 2
    assert "no checkpoint of step 1; checkpoints there are: 2" in capsys.readouterr().err
    assert cli.main(["export", str(tmp_path)]) == 2
    assert "is no run directory" in capsys.readouterr().err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    assert cli.main(["export", str(finished), "--output", str(tmp_path / "full")]) == 2
    assert "holds something already" in capsys.readouterr().err
