"""Policies: what completes prompts outside of training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from azr_agents import tiny
from azr_env.errors import SettingError


def encode(tokenizer: Any, prompt: str) -> list[int]:
    """Token ids of a prompt: through the chat template if the tokenizer has one, else as plain text."""
    if tokenizer.chat_template:
        conversation = [{"role": "user", "content": prompt}]
        ids = tokenizer.apply_chat_template(conversation, add_generation_prompt=True, return_dict=False)
        return list(ids)
    return list(tokenizer(prompt)["input_ids"])


class TransformersPolicy:
    """A causal language model of transformers.

    Args:
        model: in memory, on any device.
        tokenizer: of the model, with a padding token.
        temperature: 0 for greedy decoding.
        batch_size: prompts per call of ``generate``.
    """

    def __init__(self, model: Any, tokenizer: Any, temperature: float = 1.0, batch_size: int = 256) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.temperature = temperature
        self.batch_size = batch_size

    def complete(self, prompts: Sequence[str], max_new_tokens: int, seeds: Sequence[int]) -> list[str]:
        """One completion per prompt; torch's own random state is left as it was.

        The whole batch is sampled from one stream, seeded by the first seed.
        """
        ids = [encode(self.tokenizer, prompt) for prompt in prompts]
        order = sorted(range(len(ids)), key=lambda k: len(ids[k]))
        texts = [""] * len(ids)
        was_training = self.model.training
        self.model.eval()
        devices = [self.model.device] if self.model.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), torch.no_grad():
            torch.manual_seed(seeds[0] if seeds else 0)
            for start in range(0, len(order), self.batch_size):
                rows = order[start : start + self.batch_size]
                for row, text in zip(rows, self._generate([ids[k] for k in rows], max_new_tokens), strict=True):
                    texts[row] = text
        self.model.train(was_training)
        return texts

    def _generate(self, ids: list[list[int]], max_new_tokens: int) -> list[str]:
        batch = self.tokenizer.pad({"input_ids": ids}, padding_side="left", return_tensors="pt").to(self.model.device)
        sampling: dict[str, Any] = (
            {"do_sample": True, "temperature": self.temperature, "top_k": 0, "top_p": 1.0}
            if self.temperature > 0
            else {"do_sample": False}
        )
        output = self.model.generate(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            max_new_tokens=max_new_tokens,
            pad_token_id=self.tokenizer.pad_token_id,
            eos_token_id=self._ends(),
            repetition_penalty=1.0,  # some models bring one in their generation_config.json, and training has none
            **sampling,
        )
        texts: list[str] = self.tokenizer.batch_decode(
            output[:, batch["input_ids"].shape[1] :], skip_special_tokens=True
        )
        return texts

    def _ends(self) -> list[int] | None:
        """Tokens that end a completion, as in training: the tokenizer's and those of the model's own settings."""
        own = self.model.generation_config.eos_token_id
        found = [self.tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])]
        return list(dict.fromkeys(end for end in found if end is not None)) or None


def pretrained(argument: str, temperature: float = 1.0, batch_size: int = 256) -> TransformersPolicy:
    """The policy ``transformers:PATH_OR_ID``: a causal language model, by default sampled at temperature 1.

    Raises:
        SettingError: no model can be loaded from there.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(argument, padding_side="left")
        model = AutoModelForCausalLM.from_pretrained(argument)
    except (OSError, ValueError) as exc:
        raise SettingError(
            f"transformers:{argument} cannot be loaded: {str(exc).splitlines()[0]} "
            "Give the path of a folder that save_pretrained wrote, or the id of a causal LM on the hub."
        ) from None
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return TransformersPolicy(model.to(device), tokenizer, temperature, batch_size)


def embedded(argument: str, temperature: float = 1.0, batch_size: int = 256) -> TransformersPolicy:
    """The policy ``embedded:DOMAIN``: the small base that is shipped for the domain, before any training.

    Raises:
        SettingError: the domain has none; the message lists those that have.
    """
    try:
        path = tiny.path(argument)
    except ValueError as exc:
        raise SettingError(f"embedded:{argument}: {exc}") from None
    return pretrained(str(path), temperature, batch_size)


class ScriptedPolicy:
    """A public test double: completions come from a function of the prompt and the seed."""

    def __init__(self, complete: Callable[[str, int], str]) -> None:
        self._complete = complete

    def complete(self, prompts: Sequence[str], max_new_tokens: int, seeds: Sequence[int]) -> list[str]:
        """One completion per prompt; ``max_new_tokens`` is not used."""
        return [self._complete(prompt, seed) for prompt, seed in zip(prompts, seeds, strict=True)]
