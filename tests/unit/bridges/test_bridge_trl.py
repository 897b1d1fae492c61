"""The reward function for plain GRPOTrainer; no TRL is needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from azr_env import prompts
from azr_env.bridges.trl import reward_function, rows
from azr_env.domains.prime_inversion import PrimeInversionDomain
from azr_env.envs.single import TextEnv
from azr_env.errors import SettingError
from azr_env.executors.scripted import ScriptedExecutor
from azr_env.sources.stored import ListSource, write_jsonl
from azr_env.types import Example, Mode, Status, Task, Verdict
from azr_env.verifiers.relation import RelationVerifier

SOLVE = [f"AZR-{mode.capitalize()}-v0" for mode in Mode]
SETTINGS: dict[str, Any] = {"domain": "prime_inversion", "style": "compact", "max_prime": 31}


class Counting:
    """A verifier that counts its calls."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self._inner = RelationVerifier(PrimeInversionDomain(31))

    def verify(self, answers: Sequence[tuple[Task, str]]) -> list[Verdict]:
        self.batches.append(len(answers))
        return self._inner.verify(answers)


class Broken:
    """A verifier whose machinery fails for one answer."""

    def verify(self, answers: Sequence[tuple[Task, str]]) -> list[Verdict]:
        return [Verdict(Status.ERROR if answer == "7" else Status.INCORRECT) for _, answer in answers]


def columns(found: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """What TRL passes: every column but the prompt as a list, and the prompts under another name."""
    names = {key: [row[key] for row in found] for key in found[0]}
    return {"prompts": names.pop("prompt"), **names}


def right(row: dict[str, Any], **settings: Any) -> str:
    """A completion that solves the task of a row."""
    env = gym.make(row["env_id"], **(settings or SETTINGS)).unwrapped
    assert isinstance(env, TextEnv)
    _, info = env.reset(seed=row["seed"])
    task = env.source.get(info["task_id"])
    return prompts.completion_of(env.domain, task.mode, prompts.key(task), env.style)


@pytest.mark.parametrize("env_id", SOLVE)
def test_rewards_are_those_of_stepping(env_id: str) -> None:
    found = rows(env_id, 6, seed=1, **SETTINGS)
    completions = [right(found[0]), "2", "", "<think>", right(found[4]), right(found[0])]
    env = gym.make(env_id, **SETTINGS)
    due = []
    for row, completion in zip(found, completions, strict=True):
        env.reset(seed=row["seed"])
        due.append(env.step(completion)[1])
    assert reward_function()(completions=completions, **columns(found)) == due
    assert due[0] == due[4] == 1.0
    assert {-1.0, 1.0} <= set(due)


@pytest.mark.parametrize("mode", Mode)
def test_the_python_domain(mode: Mode) -> None:
    found = rows(f"AZR-{mode.capitalize()}-v0", 2, seed=2, domain="python")
    completions = [right(found[0], domain="python"), "no answer"]
    assert reward_function()(completions=completions, **columns(found)) == [1.0, -1.0]


def test_a_batch_is_one_call_of_the_verifier() -> None:
    verifier = Counting()
    found = [row for row in rows("AZR-Deduction-v0", 4, **SETTINGS) for _ in range(8)]
    reward = reward_function(verifier=verifier)
    rewards = reward(completions=[right(row) for row in found], trainer_state=None, log_metric=None, **columns(found))
    assert rewards == [1.0] * 32
    assert verifier.batches == [32]


def test_ids_and_settings_may_be_mixed_in_any_order() -> None:
    parts = [rows(env_id, 3, **SETTINGS) for env_id in SOLVE]
    parts.append(rows("AZR-Deduction-v0", 3, **{**SETTINGS, "style": "paper"}))
    found = [row for group in zip(*parts, strict=True) for row in group]
    completions = [right(row, **SETTINGS | {"style": "paper"} if "```" in row["prompt"] else SETTINGS) for row in found]
    assert reward_function()(completions=completions, **columns(found)) == [1.0] * 12


def test_our_failure_is_none_and_no_reward() -> None:
    found = rows("AZR-Deduction-v0", 3, **SETTINGS)
    reward = reward_function(verifier=Broken())
    assert reward(completions=["7", "8", ""], **columns(found)) == [None, -0.5, -1.0]


def test_a_broken_executor_is_none(broken_executor: ScriptedExecutor, tmp_path: Path) -> None:
    task = Task("one", "python", Mode.ABDUCTION, "def f(x):\n    return x", (Example("1", "1"),))
    write_jsonl(tmp_path / "tasks.jsonl", [task])
    found = rows("AZR-Abduction-v0", 1, domain="python", tasks=f"jsonl:{tmp_path / 'tasks.jsonl'}", style="compact")
    reward = reward_function(executor=broken_executor)
    assert reward(completions=["1"], **columns(found)) == [None]


def test_conversations() -> None:
    found = rows("AZR-Abduction-v0", 2, **SETTINGS)
    spoken = [[{"role": "assistant", "content": right(found[0])}], [{"role": "assistant", "content": "<think>"}]]
    asked = columns(found) | {"prompts": [[{"role": "user", "content": row["prompt"]}] for row in found]}
    assert reward_function()(completions=spoken, **asked) == [1.0, -1.0]


def test_proposals_are_rewarded() -> None:
    found = rows("AZR-Deduction-Propose-v0", 2, **SETTINGS)
    rewards = reward_function()(completions=["29\ninput: 4", ""], **columns(found))
    assert rewards[1] == -1.0
    assert rewards[0] is not None
    assert 0.0 <= rewards[0] <= 1.0


def test_a_task_that_has_changed_is_told(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    task = Task("one", "prime_inversion", Mode.DEDUCTION, "7", (Example("2", "4"),))
    write_jsonl(path, [task])
    found = rows("AZR-Deduction-v0", 1, domain="prime_inversion", tasks=f"jsonl:{path}", style="compact")
    assert reward_function()(completions=["4"], **columns(found)) == [1.0]
    write_jsonl(path, [Task("one", "prime_inversion", Mode.DEDUCTION, "7", (Example("3", "5"),))])
    with pytest.raises(SettingError, match="another task"):
        reward_function()(completions=["4"], **columns(found))


def test_an_empty_batch_and_the_name_in_logs() -> None:
    reward = reward_function()
    assert reward(completions=[], env_id=[], seed=[], settings=[], digest=[]) == []
    assert reward.__name__ == "azr_reward"


def test_sources_as_objects() -> None:
    task = Task("one", "prime_inversion", Mode.DEDUCTION, "7", (Example("2", "4"),))
    found = rows("AZR-Deduction-v0", 1, **SETTINGS)
    with pytest.raises(SettingError, match="another task"):
        reward_function(tasks=ListSource([task]))(completions=["4"], **columns(found))
