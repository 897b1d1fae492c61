"""The GRPOTrainer adapter: the only file that touches TRL.

``rollout_func`` hands each generation batch to :class:`azr_agents.selfplay.SelfPlay`, which binds the prompts late, in
two phases; then the advantages of the batch are replaced by ours. Everything else is TRL's: generation backends,
loss, clipping, optimiser, checkpoints, processes.

Tested with TRL 1.16. Three of its private methods are touched: ``_generate_single_turn`` is called (the backend of
all its generation paths), ``_generate_and_score_completions`` is post-processed, and
``_get_per_token_logps_and_entropies`` is fed by chunks.
"""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import numpy as np
import torch
from accelerate.utils import gather_object
from datasets import Dataset
from transformers import PreTrainedTokenizerBase, TrainerCallback
from transformers.trainer_callback import PrinterCallback
from trl import GRPOConfig, GRPOTrainer
from trl import __version__ as trl_version

from azr_agents.advantages import ADVANTAGES, dealt_anew
from azr_agents.policy import encode
from azr_agents.run import Run
from azr_agents.selfplay import Completion, Rollout, SelfPlay
from azr_env.errors import SettingError
from azr_env.types import Role

STATE_FILE = "selfplay.json"
"""Self-play's own state, beside each checkpoint."""

CHUNKS = 4
"""Chunks of a batch by length."""
_IMAGES = ("pixel_values", "image_grid_thw", "token_type_ids", "mm_token_type_ids")

_SINGLE_TURN = ["self", "prompt_ids", "images", "multimodal_fields", "num_generations", "has_tool_images"]


def check_trl() -> None:
    """Refuses a TRL whose private method has another signature than the tested one.

    Raises:
        SettingError: names the version found and the versions that work.
    """
    method = getattr(GRPOTrainer, "_generate_single_turn", None)
    found = list(inspect.signature(method).parameters) if method else []
    if found != _SINGLE_TURN:
        raise SettingError(
            f"trl {trl_version} generates by another method than trl 1.16, the tested version: install trl>=1.16,<1.17"
        )


def batch_hint(rows: int) -> str:
    """Which batch settings fit a round of ``rows`` rows, as a sentence for an error message."""
    divisors = [n for n in range(2, rows + 1) if rows % n == 0]
    return (
        f"A round has {rows} rows, so num_generations must be one of {', '.join(map(str, divisors))} (advantages are "
        f"relative to the cell: it changes only TRL's own statistics), and per_device_train_batch_size x processes x "
        f"steps_per_generation must be {rows}."
    )


def check_arithmetic(args: GRPOConfig, rows: int, processes: int) -> None:
    """Refuses batch settings that do not make one generation batch one round of ``rows`` rows.

    Raises:
        SettingError: names the setting and the values that would do.
    """
    if rows % args.num_generations:
        raise SettingError(f"num_generations={args.num_generations} does not fit. {batch_hint(rows)}")
    if args.generation_batch_size != rows:
        raise SettingError(
            f"one generation batch is {args.generation_batch_size} rows: per_device_train_batch_size="
            f"{args.per_device_train_batch_size} x {processes} processes x "
            f"steps_per_generation={args.steps_per_generation}. {batch_hint(rows)}"
        )
    every = round_steps(args)
    if every < 1:
        raise SettingError(
            f"gradient_accumulation_steps={args.gradient_accumulation_steps} spans more than one round "
            f"(steps_per_generation={args.steps_per_generation} x "
            f"num_iterations={args.num_iterations}); lower it to a divisor of that"
        )
    if args.save_strategy != "no" and args.save_steps % every:
        raise SettingError(
            f"save_steps={args.save_steps:g} is off the round's boundary, and resuming is exact only there: "
            f"use a multiple of {every}, for example {max(every, round(args.save_steps / every) * every):g}"
        )


def round_steps(args: GRPOConfig) -> int:
    """Optimiser steps of one round; 0 when the settings do not fit."""
    micro = args.steps_per_generation * args.num_iterations
    return 0 if micro % args.gradient_accumulation_steps else int(micro // args.gradient_accumulation_steps)


class SelfPlayTrainer(GRPOTrainer):  # type: ignore[misc]  # TRL is untyped
    """GRPOTrainer whose generation batch is one round of self-play.

    Args:
        selfplay: plays the rounds.
        advantage: name in :data:`azr_agents.advantages.ADVANTAGES`.
        record: receives the rollouts of each round, advantages filled in.
        model: path or id, as GRPOTrainer takes it.
        args: TRL's settings; one generation batch must be one round.
        tokenizer: of the model.
        callbacks: transformers' callbacks.
        control: ``random-reward`` and ``frozen-proposer`` act here; see :data:`azr_agents.config.CONTROLS`.
    """

    def __init__(
        self,
        selfplay: SelfPlay,
        advantage: str,
        record: Callable[[list[Rollout]], None],
        model: str,
        args: GRPOConfig,
        tokenizer: PreTrainedTokenizerBase,
        callbacks: Sequence[TrainerCallback] = (),
        control: str = "none",
        **kwargs: Any,
    ) -> None:
        if advantage not in ADVANTAGES:
            raise SettingError(f"advantage={advantage!r} is unknown; choose one of {', '.join(ADVANTAGES)}")
        check_trl()
        self.selfplay = selfplay
        self.rounds_done = 0
        self._advantage = ADVANTAGES[advantage]
        self._record = record
        self._plan = selfplay.plan()
        self._rollouts: list[Rollout] = []
        groups = len(self._plan) // args.num_generations
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            super().__init__(
                model=model,
                reward_funcs=_reward,
                args=args,
                train_dataset=Dataset.from_dict({"prompt": [str(group) for group in range(groups)]}),
                processing_class=tokenizer,
                rollout_func=_play,
                callbacks=[_State(self), *callbacks],
                **kwargs,
            )
        self.remove_callback(PrinterCallback)
        selfplay.gather = self._gather
        self._random_reward = control == "random-reward"
        self._frozen_proposer = control == "frozen-proposer"
        if self._frozen_proposer:
            self._base = self._copied_weights()
            selfplay.proposer = self.generate_by_base

    def _gather(self, items: list[Any]) -> list[Any]:
        return list(gather_object(items)) if self.accelerator.num_processes > 1 else items

    def generate(self, prompts: list[str]) -> list[Completion]:
        """One completion per prompt, by whichever backend the settings chose.

        Every process asks for the same number of prompts (vLLM's server mode and sharded models need that), so short
        lists are padded.
        """
        wanted = max(self._gather([len(prompts)])) if prompts or self.accelerator.num_processes > 1 else 0
        if wanted == 0:
            return []
        padded = prompts + [prompts[0] if prompts else "0"] * (wanted - len(prompts))
        prompt_ids = [encode(self.processing_class, prompt) for prompt in padded]
        # num_generations is 1, always: the backends de-duplicate prompts by it, and ours are all bound apart.
        completion_ids, logprobs = self._generate_single_turn(prompt_ids, None, {}, 1)
        texts = self.processing_class.batch_decode(completion_ids, skip_special_tokens=True)
        return [
            Completion(texts[k], prompt_ids[k], completion_ids[k], logprobs[k] if logprobs else None)
            for k in range(len(prompts))
        ]

    def _copied_weights(self) -> list[torch.Tensor]:
        if self.use_vllm or self.is_fsdp_enabled or self.is_deepspeed_enabled:
            raise SettingError(
                "control=frozen-proposer keeps the base beside the model: it needs whole weights, no vLLM"
            )
        return [parameter.detach().clone() for parameter in self.model.parameters()]

    def generate_by_base(self, prompts: list[str]) -> list[Completion]:
        """As :meth:`generate`, by the weights that the trainer was made with."""
        self._swap()
        try:
            return self.generate(prompts)
        finally:
            self._swap()

    def _swap(self) -> None:
        for k, parameter in enumerate(self.model.parameters()):
            parameter.data, self._base[k] = self._base[k].to(parameter.device), parameter.data

    def play(self, prompts: list[str]) -> dict[str, Any]:
        """One round for TRL: ids, and what the reward function needs."""
        base = self.accelerator.process_index * len(prompts)
        rows = self._plan[base : base + len(prompts)]
        self._rollouts = self.selfplay.round(self.rounds_done, rows, self.generate)
        self.rounds_done += 1
        completions = [rollout.completion for rollout in self._rollouts]
        logprobs = [completion.logprobs for completion in completions]
        return {
            "prompt_ids": [completion.prompt_ids for completion in completions],
            "completion_ids": [completion.completion_ids for completion in completions],
            "logprobs": logprobs if all(value is not None for value in logprobs) else None,
            "azr_reward": [rollout.reward for rollout in self._rollouts],
            "azr_prompt": [rollout.prompt for rollout in self._rollouts],
            "azr_cell": [rollout.row.cell for rollout in self._rollouts],
            "azr_metrics": [self.selfplay.metrics] * len(self._rollouts),
        }

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Any, attention_mask: Any, logits_to_keep: int, *args: Any, **kwargs: Any
    ) -> tuple[Any, Any, Any]:
        """The same numbers, computed over rows sorted by length in chunks cut to their longest.

        A round mixes answers of three tokens with worked ones of a hundred, and most of a padded batch is padding.
        """
        if (
            args
            or len(input_ids) < 2 * CHUNKS
            or any(value is not None for key, value in kwargs.items() if key in _IMAGES)
        ):
            return super()._get_per_token_logps_and_entropies(  # type: ignore[no-any-return]
                model, input_ids, attention_mask, logits_to_keep, *args, **kwargs
            )
        lengths = attention_mask[:, -logits_to_keep:].sum(1)
        order = torch.argsort(lengths, stable=True)
        parts = []
        for rows in order.tensor_split(CHUNKS):
            spare = logits_to_keep - max(1, int(lengths[rows].max()))
            end = input_ids.shape[1] - spare
            found = super()._get_per_token_logps_and_entropies(
                model, input_ids[rows, :end], attention_mask[rows, :end], logits_to_keep - spare, **kwargs
            )
            parts.append([None if t is None else _widen(t, spare) for t in found])
        back = torch.argsort(order)
        logps, entropies, losses = zip(*parts, strict=True)
        return (
            torch.cat(logps)[back],
            None if entropies[0] is None else torch.cat(entropies)[back],
            None if losses[0] is None else torch.stack(losses).mean(),
        )

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        mine = [
            (rollout.reward, rollout.row.cell, len(rollout.completion.completion_ids)) for rollout in self._rollouts
        ]
        rewards, cells, lengths = map(list, zip(*self._gather(mine), strict=True))
        if self._random_reward:
            seed = np.random.SeedSequence([self.selfplay.settings.seed, self.rounds_done])
            rewards = dealt_anew(rewards, cells, np.random.default_rng(seed))
        advantages = self._advantage(rewards, cells, lengths)
        if self._frozen_proposer:
            advantages = np.where([cell.startswith(Role.PROPOSER) for cell in cells], 0.0, advantages)
        base = self.accelerator.process_index * len(mine)
        local = torch.tensor(advantages[base : base + len(mine)])
        output["advantages"] = local.to(output["advantages"])
        for rollout, value in zip(self._rollouts, local.tolist(), strict=True):
            rollout.advantage = value
        everyone = self._gather(self._rollouts)
        if self.accelerator.is_main_process:
            self._record(everyone)
        return output


def _widen(values: torch.Tensor, spare: int) -> torch.Tensor:
    return torch.nn.functional.pad(values, (0, spare)) if values.dim() == 2 else values


def _play(prompts: list[str], trainer: SelfPlayTrainer) -> dict[str, Any]:
    return trainer.play(prompts)


def _reward(
    completions: list[str],
    azr_reward: list[float | None],
    azr_prompt: list[str],
    azr_cell: list[str],
    azr_metrics: list[dict[str, float]],
    log_extra: Callable[[str, list[Any]], None],
    log_metric: Callable[[str, float], None],
    **columns: Any,
) -> list[float | None]:
    log_extra("cell", azr_cell)
    log_extra("bound_prompt", azr_prompt)
    for name, value in azr_metrics[0].items():
        log_metric(f"azr/{name}", value)
    return azr_reward


class _State(TrainerCallback):  # type: ignore[misc]
    """Keeps the number of rounds beside each checkpoint."""

    def __init__(self, trainer: SelfPlayTrainer) -> None:
        self._trainer = trainer

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            checkpoint = Run(Path(args.output_dir) / f"checkpoint-{state.global_step}")
            checkpoint.write(STATE_FILE, {"rounds": self._trainer.rounds_done})
