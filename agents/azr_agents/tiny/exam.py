"""Measures a base: held-out accuracy when it answers at once, when it works, and when it may choose."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from transformers import LogitsProcessor, LogitsProcessorList, PreTrainedModel, PreTrainedTokenizerFast

from azr_agents.tiny.rows import MODES, Corpus, bare
from azr_agents.tiny.tokenizer import THINK

Style = Literal["plain", "direct", "worked"]
STYLES: tuple[Style, ...] = ("direct", "worked", "plain")
_AT_ONCE = 24
"""Room in tokens for an answer without steps, and for a proposal."""
_BATCH = 256


class _NoThinking(LogitsProcessor):  # type: ignore[misc]
    def __init__(self, token: int) -> None:
        self._token = token

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        scores[:, self._token] = -math.inf
        return scores


def complete(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[str],
    room: int,
    temperature: float,
    style: Style = "plain",
) -> list[str]:
    """One completion per prompt, of at most `room` new tokens; temperature 0 is greedy.

    `direct` bans the token <think>; `worked` puts it first.
    """
    model.eval()
    start = THINK if style == "worked" else ""
    options: dict[str, object] = {"do_sample": temperature > 0}
    if temperature > 0:
        options |= {"temperature": temperature, "top_k": 0, "top_p": 1.0}
    if style == "direct":
        ban = _NoThinking(tokenizer.convert_tokens_to_ids(THINK))
        options["logits_processor"] = LogitsProcessorList([ban])
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    completions = [""] * len(prompts)
    for begin in range(0, len(order), _BATCH):
        chosen = order[begin : begin + _BATCH]
        encoded = tokenizer([prompts[i] + start for i in chosen], return_tensors="pt", padding=True)
        with torch.no_grad():
            output = model.generate(**encoded, max_new_tokens=room, **options)
        fresh = output[:, encoded["input_ids"].shape[1] :]
        for i, text in zip(chosen, tokenizer.batch_decode(fresh, skip_special_tokens=True), strict=True):
            completions[i] = start + text
    return completions


def _lengths(tokenizer: PreTrainedTokenizerFast, completions: Sequence[str]) -> list[int]:
    return [len(ids) + 1 for ids in tokenizer(list(completions))["input_ids"]]


def examine(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, corpus: Corpus, count: int, seed: int = 7
) -> list[dict[str, object]]:
    """One row per mode and style: accuracy sampled at temperature 1 and greedy, and tokens used."""
    table: list[dict[str, object]] = []
    torch.manual_seed(seed)
    for mode in MODES:
        questions = corpus.questions(mode, count, seed)
        prompts = [question.prompt for question in questions]
        for style in STYLES:
            room = _AT_ONCE if style == "direct" else corpus.longest
            row: dict[str, object] = {"mode": mode, "style": style, "tasks": len(questions)}
            for name, temperature in (("sampled", 1.0), ("greedy", 0.0)):
                completions = complete(model, tokenizer, prompts, room, temperature, style)
                answers = [bare(completion) for completion in completions]
                right = [a is not None and q.accepts(a) for q, a in zip(questions, answers, strict=True)]
                row[name] = round(sum(right) / len(right), 3)
                if temperature:
                    lengths = _lengths(tokenizer, completions)
                    row["share_worked"] = round(sum(THINK in text for text in completions) / len(completions), 3)
                    row["tokens"] = round(sum(lengths) / len(lengths), 1)
                    row["tokens_max"] = max(lengths)
            table.append(row)
    return table


def examine_proposer(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, corpus: Corpus, count: int = 120, seed: int = 7
) -> list[dict[str, object]]:
    """One row per mode: the share of valid proposals, and how many of them differ."""
    table: list[dict[str, object]] = []
    torch.manual_seed(seed)
    for mode in MODES:
        prompts = corpus.proposer_prompts(mode, count, seed)
        completions = complete(model, tokenizer, prompts, 2 * _AT_ONCE, temperature=1.0)
        valid = [text for text in completions if corpus.proposes(mode, text)]
        table.append({"mode": mode, "valid": round(len(valid) / count, 3), "distinct": len(set(valid)), "of": count})
    return table


def show(table: Sequence[dict[str, object]]) -> str:
    """The table as aligned text."""
    if not table:
        return ""
    names = list(table[0])
    lines = [names] + [[str(row[name]) for name in names] for row in table]
    widths = [max(len(line[i]) for line in lines) for i in range(len(names))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
