"""``azr train``, top to bottom: settings -> base -> seed buffer -> measure -> self-play -> measure.

Deviations from the paper (those of one round stand in :mod:`azr_agents.selfplay`):

1. Half of the solver's rows come from the buffer (``buffer_share``): without them the proposer drifts to what is solved
   already. The paper fills up from the buffer only when a round has too few proposals.
2. Rewards 0 at both extremes of the solve rate, as the paper says; the authors' code pays -0.5 (learnability
   ``azr-code``).
3. Advantages over sequences, as equation 8 says; the code whitens over tokens (``advantage: tokens``).
4. The buffer evicts its oldest task; the code keeps its oldest and drops every new one.
5. A proposal of a task that the buffer has is refused (``duplicates``); the paper's gate does not look.
6. Everything is measured before and after on the same tasks, held-out ones included, which never enter the buffer.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
from rich.console import Console
from transformers import AutoConfig, AutoTokenizer, TrainerCallback
from trl import GRPOConfig

from azr_agents import tiny
from azr_agents.adapters import lora, weightless
from azr_agents.advantages import GROUPED
from azr_agents.config import EMBEDDED, RunConfig, SelfPlayConfig, options, round_rows
from azr_agents.curriculum import growing
from azr_agents.evaluate import Result, accuracy, evaluate, pick_tasks, restored, stored, summary
from azr_agents.guard import Guard
from azr_agents.heldout import is_heldout
from azr_agents.policy import TransformersPolicy, encode
from azr_agents.progress import TITLES, Progress, table
from azr_agents.ranks import Gather, agree
from azr_agents.run import Run
from azr_agents.selfplay import Rollout, SelfPlay, Settings
from azr_agents.trainer import (
    SelfPlayTrainer,
    check_arithmetic,
    check_groups,
    check_heard,
    check_trackers,
    ranks_of,
    round_steps,
)
from azr_env import registry
from azr_env.buffer import TaskBuffer
from azr_env.domains.python import PythonDomain, composite
from azr_env.errors import SettingError
from azr_env.parsing import Style
from azr_env.prompts import gives_program, proposer_prompt
from azr_env.protocols import Domain, Verifier
from azr_env.types import Mode, Task

EVALUATION_SEED = 20_250_503
SEED_ROUNDS = 40
"""Most rounds of proposals before training."""


Sets = dict[str, list[Task]]
"""Evaluation tasks by the name of the set."""


@dataclass
class Setup:
    """Everything that is checked before anything starts."""

    config: RunConfig
    play: SelfPlayConfig
    args: GRPOConfig
    model: str
    tokenizer: Any
    domain: Domain
    verifier: Verifier
    style: Style
    room: int
    sets: Sets

    def fits(self, prompt: str) -> bool:
        """Whether the model has room for the prompt and a completion."""
        return len(encode(self.tokenizer, prompt)) + int(self.args.max_completion_length) <= self.room


def prepare(config: RunConfig, play: SelfPlayConfig, args: GRPOConfig, dry: int = 0) -> Setup:
    """Checks every setting and loads what is small: tokenizer, domain, verifier.

    Args:
        dry: processes that a dry run plans for, the batch of ``args`` being that of all of them; 0 for a real run. In a
            dry run a model folder with nothing but ``config.json`` will do; without a tokenizer no prompt is measured.

    Raises:
        AzrError: a setting that cannot work; the message names it and the values that would.
    """
    if config.style not in list(Style):
        raise SettingError(f"style={config.style!r} is unknown; choose one of {', '.join(Style)}")
    if not 0 <= args.seed < 2**32:
        raise SettingError(f"seed={args.seed}; it is a whole number from 0 to 2**32 - 1")
    given: dict[str, Any] = options(config.domain_options)
    domain = registry.domain(config.domain, **given)
    processes = dry or int(os.environ.get("WORLD_SIZE", "1"))
    if dry:
        args.per_device_train_batch_size //= dry
    check_batch(play, args, processes)
    check_trackers(args)
    check_heard(args)
    try:
        model = str(tiny.path(config.domain)) if config.model == EMBEDDED else config.model
        room = int(getattr(AutoConfig.from_pretrained(model), "max_position_embeddings", 1 << 30))
        bare = dry and Path(model).is_dir() and not [*Path(model).glob("tokenizer*")]
        tokenizer = None if bare else AutoTokenizer.from_pretrained(model, padding_side="left")
        if config.lora_r:
            weightless(model, config)
    except SettingError:
        raise
    except (OSError, ValueError) as exc:
        raise SettingError(
            f"model={config.model!r} cannot be loaded: {str(exc).splitlines()[0]} "
            "Give the path of a folder that save_pretrained wrote, or the id of a causal LM on the hub."
            + (" For a plan without the model a folder with its config.json will do." if dry else "")
        ) from None
    if tokenizer is not None and tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer is not None and tokenizer.pad_token is None:
        raise SettingError(
            f"the tokenizer of {config.model!r} has neither a padding nor an end token; set one and save it"
        )
    if not dry and Path(model).is_dir() and not [*Path(model).glob("*.safetensors"), *Path(model).glob("*.bin")]:
        raise SettingError(f"model={config.model!r} has no weights: no *.safetensors and no *.bin in that folder")
    if config.max_prompt_length:
        room = min(room, config.max_prompt_length + int(args.max_completion_length))
    if args.use_vllm and args.vllm_max_model_length:
        room = min(room, int(args.vllm_max_model_length))
    _check_steps(args)
    if play.composite and not isinstance(domain, PythonDomain):
        raise SettingError(f"composite={play.composite:g} is for domain=python; {config.domain} composes no functions")
    verifier = registry.verifier("relation", domain)
    sets = _evaluation_sets(config, domain)
    setup = Setup(config, play, args, model, tokenizer, domain, verifier, Style(config.style), room, sets)
    if tokenizer is not None:
        _check_room(setup)
    return setup


def check_batch(play: SelfPlayConfig, args: GRPOConfig, processes: int) -> None:
    """Refuses batch settings that do not make one generation batch one round, or groups that do not fill its cells.

    Raises:
        SettingError: names the setting and the values that would do.
    """
    check_arithmetic(args, round_rows(play), processes)
    check_groups(args, play.algorithm, play.proposals, play.solver_rows, play.buffer_share)
    if args.use_vllm and (play.control == "frozen-proposer" or play.on_collapse == "freeze-proposer"):
        raise SettingError(
            "use_vllm=True leaves no room for a frozen proposer, which control=frozen-proposer and "
            "on_collapse=freeze-proposer need: choose another, or generate without vLLM"
        )


def _check_steps(args: GRPOConfig) -> None:
    """Refuses a number of optimiser steps that is none, or that ends within a round."""
    every = round_steps(args)
    if args.max_steps < 1:
        raise SettingError(f"max_steps={args.max_steps}; give the number of optimiser steps, 1 or more")
    if args.max_steps % every:
        raise SettingError(
            f"max_steps={args.max_steps} ends within a round, and a run cannot go on from there: use a multiple of "
            f"{every}, for example {-(-args.max_steps // every) * every}"
        )


def _check_room(setup: Setup) -> None:
    """Refuses a model whose context is too short for the shortest prompts of the style."""
    for mode in Mode:
        for draft in setup.domain.seeds(mode):
            program = draft.program if gives_program(setup.domain, mode) else None
            prompt = proposer_prompt(setup.domain, mode, [], setup.style, program)
            if setup.fits(prompt):
                continue
            tokens, most = len(encode(setup.tokenizer, prompt)), setup.config.max_prompt_length
            found = f"a {mode} proposer's prompt in {setup.style} style has {tokens} tokens without references, and "
            if 0 < most < tokens:
                raise SettingError(f"{found}max_prompt_length={most}: raise it, or use the compact style")
            raise SettingError(
                f"{found}max_completion_length={setup.args.max_completion_length}; the model has room for "
                f"{setup.room} together. Use the compact style, a smaller max_completion_length, or another model."
            )


def train(setup: Setup, run: Run, console: Console, resume: Path | None = None) -> dict[str, Any]:
    """One run, from the base to the table.

    Args:
        resume: the checkpoint to go on from; ``None`` for a new run.

    Returns:
        What it wrote to ``evaluation.json``; empty if it was interrupted.
    """
    args = setup.args
    args.output_dir = str(run.path)
    sets = setup.sets
    selfplay = _selfplay(setup, run)
    progress = Progress(console, max(1, int(args.logging_steps) // round_steps(args)))
    interrupt = Interrupt(round_steps(args), ranks_of(args).gather)
    every = setup.config.heldout_every if sets.get("heldout") else 0
    guard = Guard(run, console, setup.play.on_collapse, lambda: _heldout_gain(setup, trainer.model, before), every)

    def record(rollouts: list[Rollout]) -> None:
        run.append("rollouts.jsonl", [rollout.record() for rollout in rollouts])
        run.append("metrics.jsonl", [{"step": rollouts[0].round, **selfplay.metrics}])
        progress.round(selfplay.metrics)

    trainer = SelfPlayTrainer(
        selfplay,
        setup.play.algorithm,
        record,
        setup.model,
        args,
        setup.tokenizer,
        callbacks=[progress, interrupt, guard],
        control=setup.play.control,
        advantage=setup.play.advantage,
        peft_config=lora(setup.config),
    )
    if resume is None:
        console.print(_describe(setup, sets), highlight=False, soft_wrap=True)
        before = _begin(setup, run, trainer, sets, console)
    else:
        before = _go_on(run, trainer, resume, console)
    guard.begin(trainer)
    begun = time.monotonic()
    with interrupt.listening():
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    seconds = time.monotonic() - begun
    if interrupt.asked:
        console.print(
            f"stopped after step {trainer.state.global_step}. Go on with: azr train --resume {run.path}",
            highlight=False,
            soft_wrap=True,
        )
        return {}
    if guard.stopped:
        console.print(f"stopped by on_collapse: {guard.stopped}", highlight=False, soft_wrap=True)
    found = _conclude(setup, run, trainer, before, seconds, console)
    selfplay.buffer.close()
    return found


def _conclude(
    setup: Setup, run: Run, trainer: SelfPlayTrainer, before: Results, seconds: float, console: Console
) -> dict[str, Any]:
    """Saves and measures what the run has made of the base, and prints the tables."""
    trainer.save_model(str(run.path / "model"))
    after = _measure(setup, trainer.model, setup.sets)
    found = {
        "base": _summaries(before),
        "after": _summaries(after),
        "steps": trainer.state.global_step,
        "train_seconds": round(seconds, 1),
    }
    run.write("after.json", _stored(after))
    run.write("evaluation.json", found)  # the mark of a finished run comes last
    for title, name in TITLES.items():
        if name in before:
            console.print(table(title, before[name], after[name]), soft_wrap=True)
    console.print(
        f"{trainer.state.global_step} steps in {seconds:.0f} s; everything is in {run.path}",
        highlight=False,
        soft_wrap=True,
    )
    return found


def round_settings(setup: Setup) -> Settings:
    """What a round of this run is made of."""
    play = setup.play
    return Settings(
        proposer_rows=play.proposals,
        solver_rows=play.solver_rows,
        buffer_share=play.buffer_share,
        references=play.references,
        conditioning=play.conditioning,  # type: ignore[arg-type]
        duplicates=play.duplicates,
        composite=play.composite,
        learnability=play.learnability,
        style=setup.style,
        seed=setup.args.seed,
        group=setup.args.num_generations if play.algorithm in GROUPED else 1,
    )


def answers_each(setup: Setup) -> str:
    """In words, how many answers each new task gets if none repeats another; its solve rate comes from them."""
    settings = replace(round_settings(setup), duplicates="refuse")
    if not settings.proposer_rows:
        return "no proposals"
    each = settings.group * settings.most_answers
    if each == 1:
        return (
            "one answer to a proposal, so that every solve rate is 0 or 1 and no proposal is learnable: lower "
            "proposer_rows or raise solver_rows"
        )
    return f"{each} answers to a proposal, the rest to tasks of the buffer"


def _selfplay(setup: Setup, run: Run) -> SelfPlay:
    play, rank = setup.play, setup.args.process_index
    return SelfPlay(
        setup.domain,
        setup.verifier,
        TaskBuffer(run.path / f"buffer{f'-{rank}' if rank else ''}.sqlite", play.capacity, play.eviction),  # type: ignore[arg-type]
        round_settings(setup),
        excluded=lambda task: is_heldout(setup.domain, task),
        fits=setup.fits,
        source=growing(setup.config.tasks, setup.domain, play.curriculum) if play.control == "random-tasks" else None,
        modes=play.played,
        composer=composite if play.composite else None,
    )


def _begin(setup: Setup, run: Run, trainer: SelfPlayTrainer, sets: Sets, console: Console) -> Results:
    """Grows the seed buffer from the base's own proposals and measures the base."""
    selfplay, play = trainer.selfplay, setup.play
    trainer.model.eval()
    selfplay.seed(trainer.generate, play.seed_tasks, SEED_ROUNDS, max(play.proposer_rows, 16))
    trainer.model.train()
    console.print(
        f"seed tasks, proposed by the base: {_counts(selfplay.buffer.sizes())}", highlight=False, soft_wrap=True
    )
    agree(selfplay.gather, selfplay.buffer.digest(), "buffers after the seed tasks")
    before = _measure(setup, trainer.model, sets)
    run.write("base.json", _stored(before))
    return before


def _go_on(run: Run, trainer: SelfPlayTrainer, resume: Path, console: Console) -> Results:
    """Takes buffer and records back to the checkpoint."""
    trainer.rounds_done = int(Run(resume).read("selfplay.json")["rounds"])
    selfplay = trainer.selfplay
    selfplay.buffer.resume(trainer.rounds_done - 1)
    agree(selfplay.gather, selfplay.buffer.digest(), f"buffers of {resume.name}")
    for name in ("rollouts.jsonl", "metrics.jsonl"):
        run.cut(name, trainer.rounds_done)
    run.drop_torn_checkpoints()
    console.print(f"resuming from {resume.name}, round {trainer.rounds_done}", highlight=False, soft_wrap=True)
    return _restored(run.read("base.json"))


Results = dict[str, dict[str, Result]]
"""Results by the name of the set and by decoding, ``sampled`` or ``greedy``."""


def _evaluation_sets(config: RunConfig, domain: Domain) -> Sets:
    """In-domain and held-out tasks; both stay the same for every seed of training."""
    per_mode = config.eval_tasks
    if not per_mode:
        return {}
    source = registry.source(config.tasks, domain)

    def held(task: Task) -> bool:
        return is_heldout(domain, task)

    return {
        "in_domain": pick_tasks(domain, source, lambda task: not held(task), per_mode, EVALUATION_SEED),
        "heldout": pick_tasks(domain, source, held, per_mode, EVALUATION_SEED),
    }


def _measure(setup: Setup, model: Any, sets: Sets) -> Results:
    found: Results = {}
    for name, tasks in sets.items():
        found[name] = {}
        for decoding, temperature, samples in (("sampled", 1.0, setup.config.eval_samples), ("greedy", 0.0, 1)):
            policy = TransformersPolicy(model, setup.tokenizer, temperature)
            found[name][decoding] = _answers(setup, policy, tasks, samples)
    return found


def _answers(setup: Setup, policy: TransformersPolicy, tasks: Sequence[Task], samples: int) -> Result:
    """What a policy does on the tasks; each process answers and grades its part of them."""
    ranks = ranks_of(setup.args)
    mine = ranks.share(range(len(tasks)))
    found = evaluate(
        policy,
        setup.domain,
        setup.verifier,
        [tasks[k] for k in mine],
        setup.style,
        setup.args.max_completion_length,
        samples,
        EVALUATION_SEED + ranks.rank,
    )
    rows = ranks.gather(list(zip(mine, found.correct.tolist(), found.worked.tolist(), strict=True)))
    _, correct, worked = zip(*sorted(rows), strict=True) if rows else ((), (), ())
    shape = (len(tasks), samples)
    return Result.of(tasks, np.array(correct).reshape(shape), np.array(worked).reshape(shape))


def _heldout_gain(setup: Setup, model: Any, before: Results) -> float:
    """Held-out accuracy of one sampled answer a task, less the base's."""
    found = _answers(setup, TransformersPolicy(model, setup.tokenizer), setup.sets["heldout"], 1)
    return accuracy(found).mean - accuracy(before["heldout"]["sampled"]).mean


def _summaries(results: Results) -> dict[str, Any]:
    return {name: {key: summary(result) for key, result in row.items()} for name, row in results.items()}


def _stored(results: Results) -> dict[str, Any]:
    return {name: {key: stored(result) for key, result in row.items()} for name, row in results.items()}


def _restored(data: dict[str, Any]) -> Results:
    return {name: {key: restored(result) for key, result in row.items()} for name, row in data.items()}


def _describe(setup: Setup, sets: Sets) -> str:
    play, args = setup.play, setup.args
    measured = {name: len(tasks) for name, tasks in sets.items()}
    return (
        f"{setup.config.domain}, {setup.config.model} model, {setup.style} prompts; per round and mode "
        f"{play.proposals} proposals and {play.solver_rows} answers ({answers_each(setup)}); "
        f"{args.max_steps} steps, learning rate {args.learning_rate:g}, "
        f"{play.algorithm}{' over tokens' if play.advantage == 'tokens' else ''}; "
        f"measured on {_counts(measured)} tasks"
    )


def _counts(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {size}" for name, size in sizes.items()) or "none"


class Interrupt(TrainerCallback):  # type: ignore[misc]
    """Turns the first Ctrl-C into a checkpoint and a clean stop at the end of the round; the second one stops at once.

    Args:
        every: optimiser steps of a round.
        gather: of the processes; all of them stop where one was asked.
    """

    def __init__(self, every: int, gather: Gather = list) -> None:
        self.asked = False
        self._every = every
        self._gather = gather

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Takes over SIGINT and SIGTERM for the time of training."""

        def ask(number: int, frame: Any) -> None:
            if self.asked:
                raise KeyboardInterrupt
            self.asked = True
            sys.stderr.write("\nstopping after this round; once more to stop at once\n")

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Asks the trainer for a checkpoint and a stop at the boundary of a round."""
        if state.global_step % self._every:
            return
        self.asked = any(self._gather([self.asked]))
        if self.asked:
            control.should_save = True
            control.should_training_stop = True
