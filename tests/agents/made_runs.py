"""A run directory as ``azr train`` leaves it, played by a scripted policy: real rounds, without a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from azr_agents.evaluate import Result, stored, summary
from azr_agents.monitors import Watch
from azr_agents.run import Run
from azr_agents.selfplay import Completion, SelfPlay, Settings
from azr_env.buffer import TaskBuffer
from azr_env.domains.prime_inversion import PrimeInversionDomain
from azr_env.domains.prime_inversion.arithmetic import primes
from azr_env.parsing import Style
from azr_env.prompts import key, proposal_of, solver_prompt
from azr_env.types import Mode, Task
from azr_env.verifiers.relation import RelationVerifier

DOMAIN = PrimeInversionDomain(31)
SETTINGS = Settings(proposer_rows=4, solver_rows=8, references=1, style=Style.COMPACT)
TASKS = [DOMAIN.task(mode, p, x) for mode in Mode for p in primes(31) if p > 3 for x in range(2, p)]
BY_PROMPT = {solver_prompt(DOMAIN, task, Style.COMPACT): task for task in TASKS}
LIMIT = 40
"""Most tokens of a completion."""


class Script:
    """A policy that answers rightly with a chance that grows, works half of its answers out, and proposes at random."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.skill = 0.2

    def __call__(self, prompts: Sequence[str]) -> list[Completion]:
        return [
            Completion(text, [1], [1] * (2 + len(text) // 4))
            for text in (self._proposal(p) if "propose" in p else self._answer(BY_PROMPT[p]) for p in prompts)
        ]

    def _proposal(self, prompt: str) -> str:
        if self.rng.random() < 0.15:
            return "no proposal"
        task = TASKS[int(self.rng.integers(len(TASKS)))]
        return proposal_of(DOMAIN, task.program, [task.examples[0].input], Style.COMPACT)

    def _answer(self, task: Task) -> str:
        if self.rng.random() < 0.1:
            return "<think> never closed"
        answer = key(task) if self.rng.random() < self.skill else "1"
        return f"<think> {task.program} is prime</think> {answer}" if self.rng.random() < 0.5 else f" {answer}"


def made(path: Path, rounds: int = 14, seed: int = 0) -> Path:
    """A whole run of some rounds."""
    path.mkdir(parents=True)
    run = Run(path)
    run.write("run.json", {"schema": 1, "argv": ["--seed", str(seed)], "versions": {"azr-env": "0"}, "processes": 1})
    (path / "recipe.yaml").write_text("domain: prime_inversion\n", encoding="utf-8")
    script, watch = Script(seed), Watch()
    buffer = TaskBuffer(path / "buffer.sqlite")
    game = SelfPlay(DOMAIN, RelationVerifier(DOMAIN), buffer, SETTINGS)
    with buffer.step(-1):
        buffer.add([(task, DOMAIN.identity(task)) for task in TASKS[::20]], np.random.default_rng(seed))
    for number in range(rounds):
        script.skill = 0.2 + 0.7 * number / rounds
        rollouts = game.round(number, game.plan(), script)
        for rollout in rollouts:
            rollout.advantage = (rollout.reward or 0.0) / 3
        run.append("rollouts.jsonl", [rollout.record() for rollout in rollouts])
        run.append("metrics.jsonl", [{"step": number, **game.metrics}])
        figures = dict(game.metrics)
        figures["length/limit"] = figures["length/solver"] / LIMIT
        figures["entropy"] = 0.3 * 0.5**number  # under the monitor's bound in the end
        for mode in Mode:
            figures[f"entropy/solver/{mode}"] = figures["entropy"] + 0.01 * len(mode)
        run.append(
            "monitors.jsonl", [{"step": number, "figures": figures, "warnings": watch.round(figures), "frozen": False}]
        )
    buffer.close()
    base, after = results(0.2, seed), results(0.8, seed + 1)
    for name, found in (("base.json", base), ("after.json", after)):
        run.write(name, _each(found, stored))
    run.write(
        "evaluation.json",
        {"base": _each(base, summary), "after": _each(after, summary), "steps": rounds, "train_seconds": 12.5},
    )
    return path


def results(skill: float, seed: int) -> dict[str, dict[str, Result]]:
    """Made-up results on held-out and in-domain tasks."""
    rng = np.random.default_rng(seed)
    found: dict[str, dict[str, Result]] = {}
    for place in ("in_domain", "heldout"):
        for decoding, answers in (("sampled", 2), ("greedy", 1)):
            shape = (60, answers)
            correct = (rng.random(shape) < skill).astype(float)
            worked = (rng.random(shape) < skill).astype(float)
            found.setdefault(place, {})[decoding] = Result.of(TASKS[:: len(TASKS) // 60][:60], correct, worked)
    return found


def lines(path: Path) -> list[dict[str, Any]]:
    """The records of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _each(found: dict[str, dict[str, Result]], of: Any) -> dict[str, Any]:
    return {place: {key: of(result) for key, result in row.items()} for place, row in found.items()}
