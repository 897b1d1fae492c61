"""Every algorithm by name, for real on a tiny model: it runs, learns, resumes to the bit, and serves the controls."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from transformers import AutoTokenizer
from trl import GRPOConfig, RLOOConfig, RLOOTrainer

from azr_agents import cli
from azr_agents.advantages import ADVANTAGES, ALGORITHMS, GROUPED, rloo
from azr_agents.critic import CRITIC_FILE
from azr_agents.selfplay import Rollout, SelfPlay, Settings
from azr_agents.trainer import SelfPlayTrainer
from azr_env.buffer import TaskBuffer
from azr_env.domains.prime_inversion import PrimeInversionDomain
from azr_env.parsing import Style
from azr_env.types import Mode, Status, Task, Verdict

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

algorithms = pytest.mark.parametrize("algorithm", ALGORITHMS)
Recipe = Callable[..., Path]


def train(*args: str | Path | int | float) -> int:
    return cli.main(["train", *map(str, args)])


def lines(run: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / name).read_text(encoding="utf-8").splitlines()]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load_file(folder / "model.safetensors"))


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(value, two[name]) for name, value in one.items())


def critic_of(checkpoint: Path) -> dict[str, torch.Tensor]:
    found = torch.load(checkpoint / CRITIC_FILE, weights_only=True)
    state = found["optimizer"]["state"]
    return found["head"] | {f"{k}/{name}": value for k, row in state.items() for name, value in row.items()}


# Runs


@algorithms
def test_a_run_and_its_resumption(algorithm: str, tmp_path: Path, recipe: Recipe, base_model: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    # two steps a round, so that the second is off the policy that wrote the completions
    changes = {"per_device_train_batch_size": 18, "steps_per_generation": 2, "max_steps": 8, "save_steps": 4}
    settings = recipe(algorithm=algorithm, eval_tasks=1, **changes)
    assert train("--config", settings, "--output_dir", whole, "--learning_rate", 3e-3) == 0
    base, last = weights(base_model), weights(whole / "model")
    assert last.keys() == base.keys(), "a plain causal language model"
    assert weights(whole / "checkpoint-4").keys() == base.keys()
    assert not same(base, last)
    assert not same(weights(whole / "checkpoint-4"), last)
    shutil.copytree(whole, broken)
    for name in ("checkpoint-8", "model"):
        shutil.rmtree(broken / name)
    for name in ("evaluation.json", "after.json"):
        (broken / name).unlink()
    assert train("--resume", broken) == 0
    assert same(last, weights(broken / "model"))
    for name in ("rollouts.jsonl", "metrics.jsonl", "after.json"):
        assert (whole / name).read_bytes() == (broken / name).read_bytes(), name
    logs = [json.loads((run / "checkpoint-8" / "trainer_state.json").read_text()) for run in (whole, broken)]
    logs = [[{k: v for k, v in row.items() if "time" not in k} for row in log["log_history"]] for log in logs]
    assert logs[0] == logs[1]
    assert (whole / "checkpoint-8" / CRITIC_FILE).is_file() == (algorithm == "ppo")
    assert not (whole / "model" / CRITIC_FILE).exists()
    values = [row["azr/value_loss"] for row in logs[0] if "azr/value_loss" in row]
    assert len(values) == (8 if algorithm == "ppo" else 0)
    if algorithm == "ppo":
        assert same(critic_of(whole / "checkpoint-8"), critic_of(broken / "checkpoint-8"))
        assert not same(critic_of(whole / "checkpoint-8"), critic_of(whole / "checkpoint-4"))
        assert all(value > 0 for value in values)
        assert all(row["azr/explained_variance"] <= 1 for row in logs[0] if "azr/explained_variance" in row)
        assert sum("azr/explained_variance" in row for row in logs[0]) == 4, "once a round"


@algorithms
def test_rows_of_a_group_share_a_prompt(algorithm: str, tmp_path: Path, recipe: Recipe) -> None:
    run = tmp_path / "run"
    settings = recipe(algorithm=algorithm, proposer_rows=8, references=2, per_device_train_batch_size=None, max_steps=2)
    assert train("--config", settings, "--output_dir", run, "--eval_tasks", 0) == 0
    found = lines(run, "rollouts.jsonl")
    groups = defaultdict(list)
    for r in found:
        groups[r["step"], r["row"] // 4].append(r)
    for rows in groups.values():
        assert len({(r["role"], r["mode"]) for r in rows}) == 1
        if algorithm in GROUPED:
            assert len({(r["prompt"], r["task_id"] if r["role"] == "solver" else "") for r in rows}) == 1
            assert len({tuple(r["references"]) for r in rows}) == 1
    shared = [len({r["prompt"] for r in rows}) == 1 for rows in groups.values()]
    assert all(shared) == (algorithm in GROUPED)
    if algorithm != "ppo":
        names = [f"{r['role']} {r['mode']} {r['row'] // 4 if algorithm in GROUPED else ''}" for r in found]
        for step in range(2):
            mine = [(r, name) for r, name in zip(found, names, strict=True) if r["step"] == step]
            expected = ADVANTAGES[algorithm]([r["reward"] for r, _ in mine], [n for _, n in mine], [0] * len(mine))
            assert [r["advantage"] for r, _ in mine] == pytest.approx(expected.tolist(), abs=1e-6)
    assert sum(r["advantage"] != 0 for r in found) > 8
    assert all(r["advantage"] == 0 for r in found if r["reward"] is None)


@algorithms
def test_random_reward(algorithm: str, tmp_path: Path, recipe: Recipe) -> None:
    true, dealt = tmp_path / "true", tmp_path / "dealt"
    settings = recipe(algorithm=algorithm, max_steps=1, eval_tasks=0, save_strategy="no")
    assert train("--config", settings, "--output_dir", true) == 0
    assert train("--config", settings, "--output_dir", dealt, "--control", "random-reward") == 0
    one, two = lines(true, "rollouts.jsonl"), lines(dealt, "rollouts.jsonl")
    assert [{**r, "advantage": 0} for r in one] == [{**r, "advantage": 0} for r in two], "the first round is the same"
    assert [r["advantage"] for r in one] != [r["advantage"] for r in two]


@algorithms
def test_frozen_proposer(algorithm: str, tmp_path: Path, recipe: Recipe) -> None:
    run = tmp_path / "run"
    settings = recipe(algorithm=algorithm, max_steps=2, eval_tasks=0)
    assert train("--config", settings, "--output_dir", run, "--control", "frozen-proposer") == 0
    found = lines(run, "rollouts.jsonl")
    assert {r["advantage"] for r in found if r["role"] == "proposer"} == {0.0}
    assert any(r["reward"] for r in found if r["role"] == "proposer"), "records stay true"
    assert len({r["advantage"] for r in found if r["role"] == "solver"}) > 1


def test_groups_that_do_not_fit(tmp_path: Path, recipe: Recipe, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--config", recipe(num_generations=9), "--output_dir", tmp_path / "run")
    assert train(*flags, "--algorithm", "grpo") == 2
    assert "num_generations must be one of 2, 4" in capsys.readouterr().err
    assert train(*flags, "--algorithm", "rloo", "--advantage", "tokens") == 2
    assert "advantage=tokens is a variant of trr++" in capsys.readouterr().err


# Learning


class Says:
    """An answer is right when it has a word in it."""

    def __init__(self, word: str) -> None:
        self._word = word

    def verify(self, answers: Sequence[tuple[Task, str]]) -> list[Verdict]:
        return [
            Verdict(Status.CORRECT) if self._word in answer else Verdict(Status.INCORRECT, "says something else")
            for _, answer in answers
        ]


class Pays:
    """Every answer of one mode is right, and no other."""

    def __init__(self, mode: Mode) -> None:
        self._mode = mode

    def verify(self, answers: Sequence[tuple[Task, str]]) -> list[Verdict]:
        return [
            Verdict(Status.CORRECT if task.mode is self._mode else Status.INCORRECT, "by its mode")
            for task, _ in answers
        ]


class Down:
    """Fails on our side, always."""

    def verify(self, answers: Sequence[tuple[Task, str]]) -> list[Verdict]:
        return [Verdict(Status.ERROR, "down") for _ in answers]


def bandit(folder: Path, model: Path, domain: PrimeInversionDomain, algorithm: str, **changes: Any) -> SelfPlayTrainer:
    """A trainer whose answers are paid for saying 7; 48 rows a round, all of them the solver's."""
    settings: dict[str, Any] = {
        "per_device_train_batch_size": 48,
        "steps_per_generation": 1,
        "num_generations": 8,
        "max_steps": 30,
        "max_completion_length": 6,
        "learning_rate": 2e-3,
        "lr_scheduler_type": "constant",
        "beta": 0.0,
        "shuffle_dataset": False,
        "model_init_kwargs": {"dtype": "float32"},
        "save_strategy": "no",
    } | changes
    args = GRPOConfig(
        str(folder),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        disable_tqdm=True,
        **settings,
    )
    sizes = Settings(
        0, 16, buffer_share=1.0, style=Style.COMPACT, group=args.num_generations if algorithm in GROUPED else 1
    )
    selfplay = SelfPlay(domain, Says("7"), TaskBuffer(), sizes)
    with selfplay.buffer.step(-1):
        tasks = [domain.task(mode, p, x) for mode in Mode for p in (5, 11, 13) for x in (2, 3, 4)]
        selfplay.buffer.add([(task, domain.identity(task)) for task in tasks], np.random.default_rng(0))
    rounds: list[list[Rollout]] = []
    tokenizer = AutoTokenizer.from_pretrained(model, padding_side="left")
    torch.manual_seed(0)
    trainer = SelfPlayTrainer(selfplay, algorithm, rounds.append, str(model), args, tokenizer)
    trainer.rounds = rounds
    return trainer


def accuracy(rounds: Sequence[Sequence[Rollout]]) -> float:
    return float(np.mean([r.status == Status.CORRECT for rollouts in rounds for r in rollouts]))


@algorithms
def test_it_learns(algorithm: str, tmp_path: Path, base_model: Path, small_primes: PrimeInversionDomain) -> None:
    trainer = bandit(tmp_path, base_model, small_primes, algorithm)
    trainer.train()
    before, after = accuracy(trainer.rounds[:3]), accuracy(trainer.rounds[-3:])
    assert before < 0.35
    assert after > 0.75, f"{before:.2f} -> {after:.2f}"


def test_the_critic_learns_what_is_paid(tmp_path: Path, base_model: Path, small_primes: PrimeInversionDomain) -> None:
    """Deduction is paid and nothing else, which the prompt tells; the policy stands still.

    The last hidden state shows little of the prompt once an answer has begun: the best linear head explains half of
    the variance, and a regression of its own on the same states goes the same way at the same pace.
    """
    trainer = bandit(tmp_path, base_model, small_primes, "ppo", max_steps=60, logging_steps=10)
    trainer.selfplay.verifier = Pays(Mode.DEDUCTION)
    model, critic = list(trainer.model.parameters()), trainer.critic
    before = [parameter.detach().clone() for parameter in model]
    assert critic is not None
    step = critic.step

    def head_only(lr: float, most: float, mean: Any) -> None:
        step(0.02, 0, mean)
        for parameter in model:
            parameter.grad = None

    critic.step = head_only
    trainer.train()
    assert all(torch.equal(one, two) for one, two in zip(model, before, strict=True))
    found = [row["azr/explained_variance"] for row in trainer.state.log_history if "azr/explained_variance" in row]
    losses = [row["azr/value_loss"] for row in trainer.state.log_history if "azr/value_loss" in row]
    assert found[-1] > max(0.15, found[0] + 0.08)
    assert losses[-1] < losses[0]


# The loss


def gradients(trainer: SelfPlayTrainer) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradients of the critic's head and of the model in the first step."""
    found: list[tuple[torch.Tensor, torch.Tensor]] = []
    critic = trainer.critic
    assert critic is not None
    torch.nn.init.constant_(critic.head.weight, 0.1)  # at 0 the value loss says nothing to the model
    step = critic.step

    def catch(lr: float, most: float, mean: Any) -> None:
        grad = critic.head.weight.grad
        assert grad is not None
        model = torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])
        found.append((grad.clone(), model.clone()))
        step(lr, most, mean)

    critic.step = catch
    trainer.train()
    return found[0]


def test_batches_of_any_size_have_one_gradient(
    tmp_path: Path, base_model: Path, small_primes: PrimeInversionDomain
) -> None:
    """48 rows at once, in three batches, and in twelve: too few for chunks by length, and padded to the longest."""
    results = []
    for size in (48, 16, 4):
        parts = 48 // size
        changes = {"steps_per_generation": parts, "gradient_accumulation_steps": parts, "max_grad_norm": 0.0}
        trainer = bandit(
            tmp_path, base_model, small_primes, "ppo", max_steps=1, per_device_train_batch_size=size, **changes
        )
        results.append(gradients(trainer))
    for head, model in results[1:]:
        assert torch.allclose(head, results[0][0], rtol=1e-3, atol=1e-6)
        assert torch.allclose(model, results[0][1], rtol=1e-3, atol=1e-5)
    assert results[0][0].abs().sum() > 0


def test_values_come_back_in_the_order_of_the_rows(
    tmp_path: Path, base_model: Path, small_primes: PrimeInversionDomain, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = bandit(tmp_path, base_model, small_primes, "ppo")
    critic = trainer.critic
    assert critic is not None
    torch.nn.init.normal_(critic.head.weight)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(3, 40, (13, 20), generator=generator)
    mask = torch.ones_like(ids)
    for row in range(13):
        mask[row, : row % 5] = 0
        mask[row, 8 + (7 * row) % 12 + 1 :] = 0
    shown = mask[:, -12:].bool()
    found = []
    for chunks in (4, 100):  # 100: more chunks than rows allow, so one pass as TRL has it
        monkeypatch.setattr("azr_agents.trainer.CHUNKS", chunks)
        trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, 12, batch_size=3)
        found.append(trainer._take_values().detach())
        assert found[-1].shape == (13, 12)
        assert trainer._values is None
    assert torch.allclose(found[0][shown], found[1][shown], atol=1e-5)
    assert found[0][shown].std() > 0.1


def test_a_row_without_reward_moves_nothing(
    tmp_path: Path, base_model: Path, small_primes: PrimeInversionDomain
) -> None:
    trainer = bandit(tmp_path, base_model, small_primes, "ppo", max_steps=1, max_grad_norm=0.0)
    trainer.selfplay.verifier = Down()
    head, model = gradients(trainer)
    assert {r.reward for r in trainer.rounds[0]} == {None}
    assert not head.any()
    assert not model.any()


# Against TRL


def test_rloo_is_trls_own(tmp_path: Path, base_model: Path) -> None:
    """TRL's RLOOTrainer on its own rollouts, rewards of every kind, some of them missing."""
    rng = np.random.default_rng(0)
    paid: list[float | None] = []

    def reward(completions: list[str], **columns: Any) -> list[float | None]:
        found = [None if x == 0 else float(x) / 4 - 1 for x in rng.integers(0, 9, len(completions))]
        found[:4] = [None, None, 0.5, None]  # one reward is no baseline
        paid.extend(found)
        return found

    args = RLOOConfig(
        str(tmp_path),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        disable_tqdm=True,
        per_device_train_batch_size=32,
        num_generations=4,
        max_steps=2,
        max_completion_length=4,
        beta=0.0,
        save_strategy="no",
        model_init_kwargs={"dtype": "float32"},
    )
    theirs: list[float] = []

    class Kept(RLOOTrainer):  # type: ignore[misc]
        def _generate_and_score_completions(self, inputs: Any) -> Any:
            output = super()._generate_and_score_completions(inputs)
            theirs.extend(output["advantages"].tolist())
            return output

    prompts = Dataset.from_dict({"prompt": ["program: 5\ninput: 2\noutput:"] * 16})
    tokenizer = AutoTokenizer.from_pretrained(base_model, padding_side="left")
    Kept(str(base_model), reward, args=args, train_dataset=prompts, processing_class=tokenizer).train()
    assert len(theirs) == len(paid) == 64
    ours = rloo(paid, [str(k // 4) for k in range(64)], [1] * 64)
    assert ours.tolist() == pytest.approx(theirs, abs=1e-6)
    assert sum(a != 0 for a in ours) > 40
