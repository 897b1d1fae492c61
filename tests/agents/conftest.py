"""A tiny Llama with a tokenizer of its own, in a folder that ``from_pretrained`` reads, and a recipe that trains it."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pytest
import torch
import yaml
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from azr_env.domains.prime_inversion import PrimeInversionDomain
from azr_env.parsing import Style
from azr_env.prompts import completion_of, key, proposal_of, proposer_prompt, solver_prompt
from azr_env.types import Mode, Task

torch.set_num_threads(1)

MAX_PRIME = 13
"""Primes of the trained tests: small, so that a model of thirty thousand weights meets right and wrong answers."""


@pytest.fixture(scope="session")
def small_primes() -> PrimeInversionDomain:
    """The range of the trained tests."""
    return PrimeInversionDomain(MAX_PRIME)


def _tokenizer() -> PreTrainedTokenizerFast:
    """One token per label, per small number and per other printable character."""
    words = ["<pad>", "<eos>", "<unk>", "<think>", "</think>", "program:", "input:", "output:", "propose"]
    words += [f" {mode}" for mode in Mode] + [f" {n}" for n in range(20)]
    words += [chr(c) for c in range(32, 127)] + ["\n"]
    pattern = "|".join(
        [*(word for word in words[3:9]), *(f" {mode}" for mode in Mode), r" (?:1\d|\d)(?!\d)", r"[\s\S]"]
    )
    backend = Tokenizer(models.WordLevel({word: k for k, word in enumerate(words)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
    backend.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )


def _save(folder: Path, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _new_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
        )
    )


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a Llama (hidden 32, two layers) with random weights."""
    tokenizer = _tokenizer()
    return _save(tmp_path_factory.mktemp("random"), _new_model(tokenizer), tokenizer)


@pytest.fixture(scope="session")
def base_model(tmp_path_factory: pytest.TempPathFactory, small_primes: PrimeInversionDomain) -> Path:
    """The same model after a second of imitation: it knows the formats and little arithmetic.

    A random model is right so seldom that every advantage is 0, and a test of training would test nothing.
    """
    tokenizer = _tokenizer()
    model = _new_model(tokenizer)
    rng = np.random.default_rng(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(WARMUP_STEPS):
        batch = [_pair(small_primes, rng) for _ in range(48)]
        texts = [tokenizer(prompt)["input_ids"] for prompt, _ in batch]
        answers = [[*tokenizer(answer)["input_ids"], tokenizer.eos_token_id] for _, answer in batch]
        width = max(len(p) + len(a) for p, a in zip(texts, answers, strict=True))
        ids = torch.tensor([[0] * (width - len(p) - len(a)) + p + a for p, a in zip(texts, answers, strict=True)])
        labels = torch.tensor([[-100] * (width - len(a)) + a for a in answers])
        optimizer.zero_grad()
        model(input_ids=ids, attention_mask=(ids != 0).long(), labels=labels).loss.backward()
        optimizer.step()
    return _save(tmp_path_factory.mktemp("base"), model, tokenizer)


WARMUP_STEPS = 120


def _pair(domain: PrimeInversionDomain, rng: np.random.Generator) -> tuple[str, str]:
    """A prompt and a completion that is well formed and mostly right."""
    mode = list(Mode)[int(rng.integers(3))]
    draft = domain.generate(mode, rng, {})
    task = domain.admit([draft])[0]
    assert isinstance(task, Task)
    if rng.random() < 0.4:
        shown = [domain.admit([domain.generate(mode, rng, {})])[0]] if rng.random() < 0.8 else []
        prompt = proposer_prompt(domain, mode, [t for t in shown if isinstance(t, Task)], Style.COMPACT)
        return prompt, proposal_of(domain, draft.program, draft.inputs, Style.COMPACT)
    thought = f"{rng.integers(9)}" if rng.random() < 0.3 else ""
    return solver_prompt(domain, task, Style.COMPACT), completion_of(domain, mode, key(task), Style.COMPACT, thought)


@pytest.fixture(scope="session")
def loaded(base_model: Path) -> Callable[[], tuple[Any, Any]]:
    """A fresh (model, tokenizer) of :func:`base_model` for every call."""

    def load() -> tuple[Any, Any]:
        tokenizer = AutoTokenizer.from_pretrained(base_model, padding_side="left")
        return AutoModelForCausalLM.from_pretrained(base_model, dtype=torch.float32), tokenizer

    return load


@pytest.fixture(scope="session")
def write_recipe(base_model: Path) -> Callable[..., Path]:
    """Writes a recipe of 36 rows a round (4 proposals and 8 answers a mode) with changes; ``None`` removes a key."""

    def write(folder: Path, name: str = "recipe.yaml", **changes: Any) -> Path:
        settings = {
            "domain": "prime_inversion",
            "domain_options": f"max_prime={MAX_PRIME}",
            "model": str(base_model),
            "style": "compact",
            "tasks": f"builtin:primes=3-{MAX_PRIME}",
            "eval_tasks": 4,
            "proposer_rows": 4,
            "solver_rows": 8,
            "references": 1,
            "seed_tasks": 4,
            "max_steps": 4,
            "learning_rate": 1e-3,
            "lr_scheduler_type": "constant",
            "per_device_train_batch_size": 36,
            "steps_per_generation": 1,
            "num_generations": 4,
            "max_completion_length": 12,
            "temperature": 1.0,
            "beta": 0.0,
            "shuffle_dataset": False,
            "bf16": False,
            "gradient_checkpointing": False,
            "use_cpu": True,
            "model_init_kwargs": {"dtype": "float32"},
            "logging_steps": 1,
            "save_strategy": "steps",
            "save_steps": 2,
            "disable_tqdm": True,
            "report_to": "none",
        } | changes
        path = folder / name
        path.write_text(yaml.safe_dump({k: v for k, v in settings.items() if v is not None}), encoding="utf-8")
        return path

    return write


@pytest.fixture
def recipe(tmp_path: Path, write_recipe: Callable[..., Path]) -> Callable[..., Path]:
    """Writes a recipe into the test's own folder."""
    return partial(write_recipe, tmp_path)
