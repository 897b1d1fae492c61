"""The GRPOTrainer adapter: the only file that touches TRL.

``rollout_func`` hands each generation batch to :class:`azr_agents.selfplay.SelfPlay`, which binds the prompts late, in
two phases; then the advantages of the batch are replaced by ours. Everything else is TRL's: generation backends,
loss, clipping, optimiser, checkpoints, processes. PPO adds the loss of its critic (:mod:`azr_agents.critic`); TRL's
loss takes advantages of shape (B,) and (B, T).

Tested with TRL 1.16. Four of its private methods are touched: ``_generate_single_turn`` is called (the backend of
all its generation paths), ``_generate_and_score_completions`` and ``_compute_loss`` are post-processed, and
``_get_per_token_logps_and_entropies`` is fed by chunks.
"""

from __future__ import annotations

import inspect
import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Final

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import numpy as np
import torch
from accelerate.utils import gather_object, is_peft_model
from datasets import Dataset
from transformers import PreTrainedTokenizerBase, TrainerCallback
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK, get_available_reporting_integrations
from transformers.trainer_callback import PrinterCallback
from trl import GRPOConfig, GRPOTrainer
from trl import __version__ as trl_version

from azr_agents.advantages import ADVANTAGES, GROUPED, Floats, check_algorithm, dealt_anew, trr_tokens
from azr_agents.critic import VALUE_COEFFICIENT, Critic, judge, value_loss
from azr_agents.entropies import ALL, CellEntropies
from azr_agents.policy import encode
from azr_agents.ranks import Ranks
from azr_agents.run import Run
from azr_agents.selfplay import Completion, Rollout, SelfPlay
from azr_env.errors import SettingError
from azr_env.types import Role

STATE_FILE = "selfplay.json"
"""Self-play's own state, beside each checkpoint."""

CHUNKS = 4
"""Chunks of a batch by length."""
_IMAGES = ("pixel_values", "image_grid_thw", "token_type_ids", "mm_token_type_ids")

_METHODS = {
    "_generate_single_turn": ["prompt_ids", "images", "multimodal_fields", "num_generations", "has_tool_images"],
    "_generate_and_score_completions": ["inputs"],
    "_compute_loss": ["model", "inputs"],
    "_get_per_token_logps_and_entropies": ["model", "input_ids", "attention_mask", "logits_to_keep"],
}
"""The private methods that are touched, and the parameters they begin with."""


def check_trl() -> None:
    """Refuses a TRL whose private methods have other signatures than the tested ones.

    Raises:
        SettingError: names the version found and the versions that work.
    """
    for name, expected in _METHODS.items():
        method = getattr(GRPOTrainer, name, None)
        found = list(inspect.signature(method).parameters)[1:] if method else []
        if found[: len(expected)] != expected:
            raise SettingError(
                f"trl {trl_version} has another {name} than trl 1.16, the tested version: install trl>=1.16,<1.17"
            )


def batch_hint(rows: int) -> str:
    """Which batch settings fit a round of ``rows`` rows, as a sentence for an error message."""
    divisors = [n for n in range(2, rows + 1) if rows % n == 0]
    return (
        f"A round has {rows} rows, so num_generations must be one of {', '.join(map(str, divisors))} (the answers to "
        f"one prompt with grpo and rloo; with the others it changes only TRL's own statistics), and "
        f"per_device_train_batch_size x processes x steps_per_generation must be {rows}."
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
    if args.save_strategy != "no" and args.save_total_limit == 1:
        raise SettingError(
            "save_total_limit=1 deletes the only checkpoint before the next one is whole, and a run that dies then is "
            "lost: use 2 or more"
        )


def check_groups(args: GRPOConfig, algorithm: str, proposals: int, answers: int, buffer_share: float) -> None:
    """Refuses groups of ``num_generations`` rows that do not fill the cells of an algorithm that needs them.

    Args:
        proposals: of a mode and round.
        answers: of a mode and round.
        buffer_share: share of the answers that are bound to tasks of the buffer.

    Raises:
        SettingError: names the values that would do.
    """
    if algorithm not in GROUPED:
        return
    size = math.gcd(proposals, answers)
    rows = f"a mode has {proposals} proposals and {answers} answers a round"
    if size % args.num_generations:
        divisors = [str(n) for n in range(2, size + 1) if size % n == 0]
        raise SettingError(
            f"algorithm={algorithm} compares groups of num_generations={args.num_generations} rows of one cell that "
            f"share a prompt, and {rows}: "
            + (
                f"num_generations must be one of {', '.join(divisors)}"
                if divisors
                else "make proposer_rows and solver_rows multiples of it"
            )
        )
    if proposals and buffer_share < 1 and not round(answers // args.num_generations * (1 - buffer_share)):
        raise SettingError(
            f"algorithm={algorithm} binds answers in groups of num_generations={args.num_generations}, {rows}, and "
            f"with buffer_share={buffer_share:g} not one group goes to a proposal: lower one of the two"
        )


def check_trackers(args: GRPOConfig) -> None:
    """Refuses a tracker of ``report_to`` that is unknown or not installed.

    Raises:
        SettingError: names it, and those that would do.
    """
    for name in args.report_to:
        if name not in INTEGRATION_TO_CALLBACK:
            known = ", ".join(sorted(INTEGRATION_TO_CALLBACK))
            raise SettingError(f"report_to={name!r} is unknown; choose none, or some of {known}")
        if name not in get_available_reporting_integrations():
            raise SettingError(f"report_to={name!r} needs a package: python -m pip install {name}; or report_to: none")


UNHEARD: Final[Mapping[str, str]] = {
    "eval_strategy": "azr train measures before and after, and with heldout_every on the way",
    "scale_rewards": "advantages are taken as algorithm and advantage say",
    "multi_objective_aggregation": "advantages are taken as algorithm and advantage say",
    "reward_weights": "there is one reward",
    "chat_template_kwargs": "prompts are put into the chat template as it is",
    "resume_from_checkpoint": "azr train --resume RUN goes on with a run",
    "save_only_model": "a run could not go on from such a checkpoint; azr export takes the weights out of a whole one",
    "sync_ref_model": "a run that goes on would have lost the reference it had come to",
}
"""Settings of TRL that a run would not heed, or could not be resumed with, and why; they stay at their defaults."""


KNOWN: Final[Mapping[str, tuple[str, ...]]] = {
    "loss_type": ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo"),
    "save_strategy": ("steps", "epoch", "no"),
}
"""Values that TRL and transformers check too late, or not at all."""


def check_heard(args: GRPOConfig) -> None:
    """Refuses settings that would do nothing without a word, or end the run later.

    Raises:
        SettingError: names the setting, and what to leave it at or to choose.
    """
    given = {name: getattr(args, name) for name in (*UNHEARD, *KNOWN)}
    given = {name: value.value if isinstance(value, Enum) else value for name, value in given.items()}
    for name, why in UNHEARD.items():
        default = GRPOConfig.__dataclass_fields__[name].default
        if given[name] != default:
            raise SettingError(f"{name}={given[name]!r} cannot be had here: {why}. Leave it at {default!r}.")
    for name, known in KNOWN.items():
        if given[name] not in known:
            raise SettingError(f"{name}={given[name]!r} is unknown here; choose one of {', '.join(known)}")


def ranks_of(args: GRPOConfig) -> Ranks:
    """The processes that the launcher has started; one without a launcher."""
    several = args.world_size > 1
    return Ranks(args.process_index, args.world_size, gather_object) if several else Ranks()


def round_steps(args: GRPOConfig) -> int:
    """Optimiser steps of one round; 0 when the settings do not fit."""
    micro = args.steps_per_generation * args.num_iterations
    return 0 if micro % args.gradient_accumulation_steps else int(micro // args.gradient_accumulation_steps)


class SelfPlayTrainer(GRPOTrainer):  # type: ignore[misc]  # TRL is untyped
    """GRPOTrainer whose generation batch is one round of self-play.

    Args:
        selfplay: plays the rounds.
        algorithm: name in :data:`azr_agents.advantages.ALGORITHMS`; with one of ``GROUPED`` the groups of ``selfplay``
            are of ``num_generations`` rows.
        record: receives the rollouts of each round, advantages filled in.
        model: path or id, as GRPOTrainer takes it.
        args: TRL's settings; one generation batch must be one round.
        tokenizer: of the model.
        callbacks: transformers' callbacks.
        control: ``random-reward`` and ``frozen-proposer`` act here; see :data:`azr_agents.config.CONTROLS`.
        advantage: name in :data:`azr_agents.advantages.VARIANTS`.
    """

    def __init__(
        self,
        selfplay: SelfPlay,
        algorithm: str,
        record: Callable[[list[Rollout]], None],
        model: str,
        args: GRPOConfig,
        tokenizer: PreTrainedTokenizerBase,
        callbacks: Sequence[TrainerCallback] = (),
        control: str = "none",
        advantage: str = "sequences",
        **kwargs: Any,
    ) -> None:
        check_algorithm(algorithm, advantage)
        _check_fit(selfplay, algorithm, args)
        check_trl()
        self.ranks = ranks_of(args)
        self.selfplay = selfplay
        self.rounds_done = 0
        self._algorithm = algorithm
        self._over_tokens = advantage == "tokens"
        self.critic: Critic | None = None
        self._values: Any = None
        self._entropies: torch.Tensor | None = None
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
        selfplay.gather, selfplay.share = self.ranks.gather, self.ranks.share
        self._by_cell = CellEntropies(
            list(dict.fromkeys(row.cell for row in self._plan)),
            self.accelerator.device,
            lambda sums: self.accelerator.reduce(sums.clone(), "sum"),
        )
        if algorithm == "ppo":
            causal = self.model.get_base_model() if is_peft_model(self.model) else self.model
            self.critic = Critic(
                causal.base_model, causal.config.get_text_config().hidden_size, self.accelerator.device
            )
        self._random_reward = control == "random-reward"
        self.proposer_frozen = False
        if control == "frozen-proposer":
            self.freeze_proposer()

    def generate(self, prompts: list[str]) -> list[Completion]:
        """One completion per prompt, by whichever backend the settings chose.

        Every process asks for the same number of prompts (vLLM's server mode and sharded models need that), so short
        lists are padded.
        """
        wanted = max(self.ranks.gather([len(prompts)]))
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

    def entropies(self) -> dict[str, float]:
        """Mean entropy of the policy's tokens since the last call, in nats, together and by cell.

        It is of all batches of a round, where TRL's own figure is a mean of their means. Every process calls it.
        """
        found = {f"entropy/{cell}": value for cell, value in self._by_cell.take().items()}
        together = found.pop(f"entropy/{ALL}", None)
        for name, value in found.items():
            self._log(f"azr/{name}", value)
        return found if together is None else {"entropy": together} | found

    def check_freezable(self) -> None:
        """Refuses to freeze the proposer of a model of which no whole copy can be kept.

        Raises:
            SettingError: it is sharded, or vLLM writes the proposals.
        """
        if self.use_vllm or self.is_fsdp_enabled or self.is_deepspeed_enabled:
            raise SettingError(
                "a frozen proposer is kept beside the model, which needs whole weights and no vLLM: train without "
                "FSDP, DeepSpeed and vLLM, or choose another control or on_collapse"
            )

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: a run directory is no model; ``azr export`` writes the card of one."""

    def freeze_proposer(self, path: Path | None = None) -> None:
        """From here on the proposals are written by the weights of now, and not trained on.

        Args:
            path: file of other weights, which :meth:`save_frozen` wrote, in the place of those of now.

        Raises:
            SettingError: no whole copy of the weights can be kept.
        """
        self.check_freezable()
        if path is not None:
            self._frozen = torch.load(path, map_location=self.accelerator.device, weights_only=True)
        else:
            self._frozen = [parameter.detach().clone() for parameter in self._trained()]
        self.proposer_frozen = True
        self.selfplay.proposer = self.generate_frozen

    def save_frozen(self, path: Path) -> None:
        """Writes the weights of the frozen proposer to a file, whole or not at all; on the first process."""
        if self.accelerator.is_main_process:
            part = path.with_suffix(".part")
            torch.save(self._frozen, part)
            part.replace(path)

    def generate_frozen(self, prompts: list[str]) -> list[Completion]:
        """As :meth:`generate`, by the weights of the frozen proposer."""
        self._swap()
        try:
            return self.generate(prompts)
        finally:
            self._swap()

    def _trained(self) -> list[torch.nn.Parameter]:
        """All weights, or the adapters alone."""
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def _swap(self) -> None:
        for k, parameter in enumerate(self._trained()):
            parameter.data, self._frozen[k] = self._frozen[k].to(parameter.device), parameter.data

    def play(self, prompts: list[str]) -> dict[str, Any]:
        """One round for TRL: ids, and what the reward function needs."""
        rows = self.ranks.share(self._plan)  # proposers stand first in the plan: each process gets its part of them
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
            *found, self._values = self._scored(model, input_ids, attention_mask, logits_to_keep, *args, **kwargs)
            self._entropies = found[1]
            return tuple(found)
        lengths = attention_mask[:, -logits_to_keep:].sum(1)
        order = torch.argsort(lengths, stable=True)
        parts = []
        for rows in order.tensor_split(CHUNKS):
            spare = logits_to_keep - max(1, int(lengths[rows].max()))
            end = input_ids.shape[1] - spare
            scored = self._scored(
                model, input_ids[rows, :end], attention_mask[rows, :end], logits_to_keep - spare, **kwargs
            )
            parts.append([None if t is None else _widen(t, spare) for t in scored])
        back = torch.argsort(order)
        logps, entropies, losses, values = zip(*parts, strict=True)
        self._values = None if values[0] is None else torch.cat(values)[back]
        self._entropies = None if entropies[0] is None else torch.cat(entropies)[back]
        return (
            torch.cat(logps)[back],
            self._entropies,
            None if losses[0] is None else torch.stack(losses).mean(),
        )

    def _scored(self, model: Any, ids: Any, mask: Any, keep: int, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """What TRL finds, and the critic's values of the same pass; ``None`` without a critic or for another model."""
        if self.critic is None:
            return (*super()._get_per_token_logps_and_entropies(model, ids, mask, keep, *args, **kwargs), None)
        with self.critic.listening(keep) as caught:
            found = super()._get_per_token_logps_and_entropies(model, ids, mask, keep, *args, **kwargs)
        return (*found, torch.cat(caught) if caught else None)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        mine = [
            (r.row.number, r.reward, r.row.cell, r.row.group, len(r.completion.completion_ids)) for r in self._rollouts
        ]
        # In the order of the plan: what is computed is then the same for any number of processes.
        _, rewards, cells, groups, lengths = map(list, zip(*sorted(self.ranks.gather(mine)), strict=True))
        if self._random_reward:
            seed = np.random.SeedSequence([self.selfplay.settings.seed, self.rounds_done])
            rewards = dealt_anew(rewards, cells, np.random.default_rng(seed))
        if self.proposer_frozen:
            rewards = [None if cell.startswith(Role.PROPOSER) else r for r, cell in zip(rewards, cells, strict=True)]
        here = [number for number, *_ in mine]
        if self.critic is not None:
            each = self._judge(output, [rewards[number] for number in here])
        else:
            if self._algorithm in GROUPED:
                cells = [f"{cell}/{group}" for cell, group in zip(cells, groups, strict=True)]
            advantage = trr_tokens if self._over_tokens else ADVANTAGES[self._algorithm]
            each = advantage(rewards, cells, lengths)[here]
            output["advantages"] = torch.tensor(each).to(output["advantages"])
        for rollout, value in zip(self._rollouts, each.tolist(), strict=True):
            rollout.advantage = value
        output["azr_places"] = self._by_cell.places([rollout.row.cell for rollout in self._rollouts])
        everyone = self.ranks.gather(self._rollouts)
        if self.accelerator.is_main_process:
            self._record(sorted(everyone, key=lambda rollout: rollout.row.number))
        return output

    def _judge(self, output: dict[str, Any], rewards: Sequence[float | None]) -> Floats:
        """Puts into a batch what PPO's loss reads. Returns the mean advantage of each row's tokens."""
        ids, mask = (torch.cat([output[f"prompt_{name}"], output[f"completion_{name}"]], 1) for name in ("ids", "mask"))
        keep, size = output["completion_ids"].shape[1], self.args.per_device_train_batch_size
        with torch.no_grad():
            self._get_per_token_logps_and_entropies(self.model, ids, mask, keep, batch_size=size)
        judgement = judge(rewards, self._take_values(), output["completion_mask"], self.ranks.gather)
        output |= judgement.tensors
        self._log("azr/explained_variance", judgement.explained)
        return judgement.means

    def _take_values(self) -> torch.Tensor:
        """The values of the last pass; they are kept no longer, for they hold its graph."""
        values, self._values = self._values, None
        return values

    def _log(self, name: str, value: float) -> None:
        if not math.isnan(value):
            self._metrics["train"][name].append(value)

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Any:
        loss = super()._compute_loss(model, inputs)
        entropies, self._entropies = self._entropies, None
        if entropies is not None:
            self._by_cell.add(inputs["azr_places"], entropies, inputs["completion_mask"])
        if self.critic is None:
            return loss
        total, count = value_loss(self._take_values(), inputs)
        everyones = self.accelerator.reduce(torch.stack([total.detach(), count]), "sum").tolist()
        self._log("azr/value_loss", everyones[0] / everyones[1] if everyones[1] else math.nan)
        # The mean over the accumulated batches of all processes, as TRL takes it for loss_type "dapo".
        share = self.current_gradient_accumulation_steps / self.args.steps_per_generation
        tokens = inputs["value_tokens"].clamp(min=1) / self.accelerator.num_processes * share
        return loss + VALUE_COEFFICIENT * total / tokens

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if self.critic is not None and checkpoint is not None:
            self.critic.load(Path(checkpoint))


def _check_fit(selfplay: SelfPlay, algorithm: str, args: GRPOConfig) -> None:
    """Refuses settings of TRL that the rounds or the algorithm cannot go with."""
    if algorithm in GROUPED and selfplay.settings.group != args.num_generations:
        raise SettingError(
            f"algorithm={algorithm}: the rows of a round are in groups of {selfplay.settings.group}, and "
            f"num_generations={args.num_generations}; the two are one number"
        )
    if algorithm == "ppo" and args.fp16:
        raise SettingError("algorithm=ppo steps its value head without loss scaling: use bf16 in the place of fp16")


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
    """Keeps the number of rounds and the critic beside each checkpoint, and steps the critic with the model."""

    def __init__(self, trainer: SelfPlayTrainer) -> None:
        self._trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        state.compute_steps(args, state.max_steps)  # a checkpoint brings the steps of its own time with it

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        trainer = self._trainer
        if trainer.critic is not None:
            lr = trainer.optimizer.param_groups[0]["lr"]
            trainer.critic.step(lr, args.max_grad_norm, lambda t: trainer.accelerator.reduce(t, "mean"))

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._trainer.accelerator.wait_for_everyone()  # the mark of a whole checkpoint comes after every process's part
        if state.is_world_process_zero:
            checkpoint = Run(Path(args.output_dir) / f"checkpoint-{state.global_step}")
            if self._trainer.critic is not None:
                self._trainer.critic.save(checkpoint.path)
            checkpoint.write(STATE_FILE, {"rounds": self._trainer.rounds_done})
