"""``azr train --dry-run``: its arithmetic by hand, what it prints, and that it leaves nothing behind."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import Qwen2Config, Qwen2ForCausalLM
from trl import GRPOConfig

from azr_agents import cli
from azr_agents.adapters import weightless
from azr_agents.config import RunConfig, recipe_folders
from azr_agents.plan import (
    Decoder,
    Precision,
    activations,
    cache,
    divided,
    head,
    layer_bytes,
    sixteen_bit_copies,
    standing,
    word_logits,
)
from azr_env.errors import SettingError

Recipe = Callable[..., Path]
MODELS = next(folder for folder in recipe_folders() if (folder / "models").is_dir()) / "models"
FULL = Precision(4, autocast=True)
HALF = Precision(2, autocast=True)


def qwen(name: str, rank: int = 0) -> Decoder:
    return Decoder.of(weightless(str(MODELS / name), RunConfig(lora_r=rank)), rank)


SMALL = qwen("qwen2.5-0.5b")
ADAPTED = qwen("qwen2.5-coder-3b", 64)
LARGE = qwen("qwen2.5-coder-7b")


# Numbers of the models: weights as published on their cards


@pytest.mark.parametrize(
    ("decoder", "weights", "shape"),
    [
        (SMALL, 494_032_768, (24, 896, 4864, 14, 2, 64, 151_936)),
        (qwen("qwen2.5-coder-3b"), 3_085_938_688, (36, 2048, 11_008, 16, 2, 128, 151_936)),
        (LARGE, 7_615_616_512, (28, 3584, 18_944, 28, 4, 128, 152_064)),
    ],
    ids=["0.5B", "3B", "7B"],
)
def test_published_weights(decoder: Decoder, weights: int, shape: tuple[int, ...]) -> None:
    assert decoder.weights == decoder.trained == weights
    found = (decoder.layers, decoder.hidden, decoder.inner, decoder.heads, decoder.kv_heads, decoder.head_size)
    assert (*found, decoder.vocabulary) == shape


def test_weights_of_a_7b_by_hand() -> None:
    h, inner, keys, words = 3584, 18_944, 512, 152_064
    attention = 2 * h * h + h + 2 * (h * keys + keys)  # no bias on the way out
    layer = attention + 3 * h * inner + 2 * h
    assert LARGE.weights == 28 * layer + 2 * words * h + h


def test_adapters_of_a_3b_by_hand() -> None:
    h, inner, keys = 2048, 11_008, 256
    ends = 2 * (h + h) + 2 * (h + keys) + 3 * (h + inner)  # in and out of q and o, k and v, and the three of the inner
    assert ADAPTED.trained == 36 * 64 * ends == 119_734_272
    assert ADAPTED.weights == 3_085_938_688 + ADAPTED.trained


# Memory


def test_standing_memory_is_sixteen_bytes_a_weight() -> None:
    for decoder in (SMALL, LARGE):
        parts = standing(decoder, FULL)
        assert parts == {
            "weights": 4 * decoder.weights,
            "gradients": 4 * decoder.weights,
            "moments": 8 * decoder.weights,
        }
    assert sum(standing(LARGE, FULL).values()) == 121_849_864_192


def test_standing_memory_of_adapters_and_of_copies() -> None:
    parts = standing(ADAPTED, HALF, copies=7)
    assert parts["weights"] == 2 * 3_085_938_688 + 4 * 119_734_272
    assert parts["gradients"] == 4 * 119_734_272
    assert parts["moments"] == 8 * 119_734_272
    assert parts["copies"] == 7


def test_sharding() -> None:
    parts = {"weights": 100, "gradients": 10, "moments": 21, "copies": 3}
    assert divided(parts, "whole", 4) == parts
    assert divided(parts, "ZeRO-2", 4) == {"weights": 100, "gradients": 3, "moments": 6, "copies": 3}
    assert divided(parts, "ZeRO-3, FSDP", 4) == {"weights": 25, "gradients": 3, "moments": 6, "copies": 3}


def test_bytes_of_a_token_in_a_layer() -> None:
    assert layer_bytes(SMALL, Precision(2, autocast=False)) == 60_480
    assert layer_bytes(ADAPTED, HALF) == 146_376
    assert layer_bytes(LARGE, FULL) == 273_528


def test_activations_of_a_7b() -> None:
    length = 14_240
    mask, inputs, layer = length**2, 28 * length * 3584 * 4, length * 273_528 + 2 * length**2
    assert activations(LARGE, FULL, 1, length, checkpointing=True) == mask + inputs + layer == 10_219_421_440
    assert activations(LARGE, FULL, 1, length, checkpointing=False) == mask + 28 * layer


def test_head() -> None:
    tile = 4096 * 32_768 * 2
    assert head(LARGE, FULL, 8096) == tile + 4 * 3584 * (8096 + 152_064) == 2_564_489_216
    assert head(ADAPTED, HALF, 16_384) == tile + 4 * 2048 * 16_384  # the head has no gradient
    assert head(SMALL, Precision(4, autocast=False), 10) == 10 * 32_768 * 4 + 4 * 896 * (10 + 151_936)


def test_sixteen_bit_copies() -> None:
    assert sixteen_bit_copies(LARGE, FULL) == 15_231_233_024
    assert sixteen_bit_copies(LARGE, FULL, "ZeRO-3, FSDP") == 543_972_608
    assert sixteen_bit_copies(LARGE, Precision(2, autocast=True)) == 0
    assert sixteen_bit_copies(LARGE, Precision(4, autocast=False)) == 0
    assert sixteen_bit_copies(ADAPTED, HALF) == 2 * 119_734_272


def test_generation() -> None:
    assert cache(SMALL, 2, 1, 1) == 12_288
    assert cache(qwen("qwen2.5-coder-3b"), 2, 1, 1) == 36_864
    assert cache(LARGE, 2, 1, 1) == 57_344
    assert cache(SMALL, 4, 384, 3072) == 28_991_029_248
    assert word_logits(SMALL, 384) == 466_747_392


def saved(layers: int, kind: str, checkpointing: bool, sequences: int, length: int) -> int:
    """Bytes that autograd keeps of a padded batch, weights aside."""
    config = Qwen2Config(
        vocab_size=64,
        hidden_size=128,
        intermediate_size=320,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    model: Any = Qwen2ForCausalLM(config).to(torch.bfloat16 if kind in ("16 bits", "adapters") else torch.float32)
    if kind == "adapters":
        model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=8, target_modules="all-linear"))
    model.train()
    if checkpointing:
        model.gradient_checkpointing_enable()
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    ids = torch.ones((sequences, length), dtype=torch.long)
    mask = ids.clone()
    mask[:, :3] = 0
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=kind != "32 bits"),
    ):
        trunk = model.get_base_model().model if kind == "adapters" else model.model
        trunk(input_ids=ids, attention_mask=mask, use_cache=False)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["16 bits", "32 bits", "autocast", "adapters"])
def test_layers_are_counted_again(kind: str) -> None:
    """The difference that two layers make to what autograd keeps is the one that the formula gives."""
    sequences, length, inner = 2, 48, 128 * 128 * 2 + 128 * 64 * 2 + 3 * 128 * 320
    precision = Precision(2 if kind in ("16 bits", "adapters") else 4, autocast=kind != "32 bits")

    def decoder(layers: int) -> Decoder:
        return Decoder(0, 0, layers, 128, 320, 4, 2, 32, 64, rank=8 if kind == "adapters" else 0)

    def counted(checkpointing: bool) -> tuple[int, int]:
        found = [saved(layers, kind, checkpointing, sequences, length) for layers in (2, 4)]
        said = [activations(decoder(layers), precision, sequences, length, checkpointing) for layers in (2, 4)]
        return found[1] - found[0], said[1] - said[0]

    found, said = counted(checkpointing=False)
    copies = {"autocast": 2 * 2 * inner, "adapters": 2 * 2 * 8 * (2 * 256 + 2 * 192 + 3 * 448)}.get(kind, 0)
    assert found == said + copies
    found, said = counted(checkpointing=True)
    assert found == said


@pytest.mark.parametrize(
    ("given", "own", "weight"),
    [
        (None, torch.bfloat16, 4),
        ({"dtype": "bfloat16"}, None, 2),
        ({"dtype": "auto"}, torch.bfloat16, 2),
        ({"dtype": "auto"}, None, 4),
    ],
)
def test_precision(tmp_path: Path, given: dict[str, str] | None, own: torch.dtype | None, weight: int) -> None:
    args = GRPOConfig(str(tmp_path), use_cpu=True, bf16=True, model_init_kwargs=given, report_to="none")
    assert Precision.of(args, own) == Precision(weight, autocast=True)


def test_an_unknown_precision(tmp_path: Path) -> None:
    args = GRPOConfig(str(tmp_path), use_cpu=True, model_init_kwargs={"dtype": "float9"}, report_to="none")
    with pytest.raises(SettingError, match=r"dtype='float9'; use float32"):
        Precision.of(args, None)


# The command


@pytest.fixture
def dry(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs ``azr train --dry-run`` and gives back what it printed, if it has left nothing behind."""
    monkeypatch.chdir(tmp_path)

    def run(*args: object) -> str:
        before = sorted(tmp_path.rglob("*"))
        assert cli.main(["train", "--dry-run", *map(str, args)]) == 0
        assert sorted(tmp_path.rglob("*")) == before
        return capsys.readouterr().out

    return run


def test_a_plan(dry: Callable[..., str], recipe: Recipe) -> None:
    out = dry("--config", recipe(proposer_rows=2, solver_rows=10, gradient_accumulation_steps=1))
    for words in (
        "36 rows: 3 modes of 2 proposals and 10 answers; 3 answers to a proposal, the rest to tasks of the buffer",
        "36 rows = per_device_train_batch_size 36 x processes 1 x steps_per_generation 1;",
        "optimiser steps a round: 1",
        "4 steps, rounds: 4; learning rate 0.001; a checkpoint every 2 steps",
        "at most 2,036 of a prompt and 12 of a completion; a round at most 432 generated and 73,728 trained on",
        "by transformers, in the process that trains",
        "nothing was generated and nothing was written",
    ):
        assert words in out, out
    assert re.search(r"at most\s+│\s+\d+\.\d\d", out)


def test_nothing_is_generated(dry: Callable[..., str], recipe: Recipe, base_model: Path, tmp_path: Path) -> None:
    """Weights that cannot be read are not missed."""
    shutil.copytree(base_model, tmp_path / "broken")
    (tmp_path / "broken" / "model.safetensors").write_bytes(b"none")
    assert "trained: all\n" in dry("--config", recipe(), "--model", tmp_path / "broken")


def test_a_folder_with_config_json_alone(
    dry: Callable[..., str], recipe: Recipe, base_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bare").mkdir()
    shutil.copy(base_model / "config.json", tmp_path / "bare")
    out = dry("--config", recipe(), "--model", tmp_path / "bare")
    assert "no weights there, so only its config.json was read; no tokenizer there, so no prompt was measured" in out
    assert cli.main(["train", "--config", str(recipe()), "--model", str(tmp_path / "bare")]) == 2
    assert "cannot be loaded" in capsys.readouterr().err


def test_other_numbers_of_processes(dry: Callable[..., str], recipe: Recipe) -> None:
    path = recipe(per_device_train_batch_size=None)
    for processes, each in ((1, 36), (3, 12), (4, 9)):
        out = dry("--config", path, "--processes", processes)
        assert f"per_device_train_batch_size {each} x processes {processes} x steps_per_generation 1" in out
        assert ("ZeRO-3, FSDP" in out) == (processes > 1)


def test_warns_of_single_answers(dry: Callable[..., str], recipe: Recipe) -> None:
    assert "one answer to a proposal, so that every solve rate is 0 or 1" in dry("--config", recipe())
    assert "no proposals" in dry("--config", recipe(), "--control", "solver-only", "--per_device_train_batch_size", 24)


def test_copies_of_a_frozen_proposer_and_a_reference(dry: Callable[..., str], recipe: Recipe) -> None:
    assert "│ copies" not in dry("--config", recipe())
    assert "│ copies" in dry("--config", recipe(), "--control", "frozen-proposer")
    assert "│ copies" in dry("--config", recipe(), "--beta", 0.04)


def test_adapters_and_prompt_lengths(dry: Callable[..., str], recipe: Recipe) -> None:
    out = dry("--config", recipe(), "--lora_r", 4, "--max_prompt_length", 300)
    assert "in adapters of rank 4" in out
    assert "at most 300 of a prompt and 12 of a completion" in out


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["--per_device_train_batch_size", "7"], ["batch", "36"]),
        (["--processes", "5"], ["x 5 processes", "must be 36"]),
        (["--processes", "two"], ["--processes two", "1 or more"]),
        (["--processes", "0"], ["--processes 0", "1 or more"]),
        (["--resume", "runs/x"], ["--dry-run plans a new run"]),
        (["--model", "no-such-org/no-such-model"], ["no-such-org/no-such-model", "a folder with its config.json"]),
        (["--style", "paper", "--max_prompt_length", "20"], ["max_prompt_length=20: raise it"]),
        (["--max_prompt_length", "-1"], ["max_prompt_length=-1"]),
    ],
)
def test_refusals(
    tmp_path: Path, recipe: Recipe, capsys: pytest.CaptureFixture[str], changes: list[str], words: list[str]
) -> None:
    assert cli.main(["train", "--dry-run", "--config", str(recipe()), *changes]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert all(word in said for word in words), said
