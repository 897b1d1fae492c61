"""The taskset for verifiers v1. Skipped where that library is not installed.

The whole way, by its own command line, is in tests/examples/test_servers.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from itertools import islice
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import pytest

from azr_env import prompts
from azr_env.bridges.rows import row_seed, rows, settings_text
from azr_env.envs.single import TextEnv
from azr_env.errors import AzrError, UnknownOptionError
from azr_env.types import Mode, Status, Task, Verdict

pytest.importorskip("verifiers.v1")
bridge = pytest.importorskip("azr_env.bridges.verifiers")

SETTINGS: dict[str, Any] = {"domain": "prime_inversion", "style": "compact"}
TEXT = settings_text(SETTINGS)


class Broken:
    """A verifier whose machinery always fails."""

    def verify(self, answers: Sequence[tuple[Task, str]]) -> list[Verdict]:
        return [Verdict(Status.ERROR, "the server died twice") for _ in answers]


def taskset(**config: Any) -> Any:
    return bridge.AzrTaskset(bridge.AzrTasksetConfig(id="azr-verifiers", **config))


def right(env_id: str, seed: int, **settings: Any) -> str:
    env = gym.make(env_id, **settings).unwrapped
    assert isinstance(env, TextEnv)
    _, info = env.reset(seed=seed)
    task = env.source.get(info["task_id"])
    return prompts.completion_of(env.domain, task.mode, prompts.key(task), env.style)


def traced(*texts: str) -> Any:
    """As much of a trace as scoring looks at."""
    return SimpleNamespace(assistant_messages=[bridge.vf.AssistantMessage(content=text) for text in texts])


@pytest.mark.parametrize("mode", Mode)
def test_tasks_are_the_rows_of_the_same_seed(mode: Mode) -> None:
    env_id = f"AZR-{mode.capitalize()}-v0"
    tasks = list(islice(taskset(env_id=env_id, settings=SETTINGS, seed=4), 5))
    due = rows(env_id, 5, seed=4, **SETTINGS)
    assert [task.data.prompt for task in tasks] == [row["prompt"] for row in due]
    assert [task.data.seed for task in tasks] == [row["seed"] for row in due]
    assert [task.data.idx for task in tasks] == [0, 1, 2, 3, 4]
    assert len({task.key for task in tasks}) == 5
    assert not taskset().bounded


def test_nothing_that_is_recorded_holds_the_key() -> None:
    (task,) = islice(taskset(env_id="AZR-Deduction-v0", settings=SETTINGS), 1)
    own = set(type(task.data).model_fields) - set(bridge.vf.TaskData.model_fields)
    assert own == {"env_id", "settings", "seed"}


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("kind", ["right", "wrong", "malformed"])
def test_reward_and_metric(mode: Mode, kind: str) -> None:
    env_id = f"AZR-{mode.capitalize()}-v0"
    (task,) = islice(taskset(env_id=env_id, settings=SETTINGS), 1)
    text = {"right": right(env_id, task.data.seed, **SETTINGS), "wrong": "0", "malformed": "<think>"}[kind]
    trace = traced(text)
    assert asyncio.run(task.reward(trace)) == {"right": 1.0, "wrong": -0.5, "malformed": -1.0}[kind]
    assert asyncio.run(task.correct(trace)) == float(kind == "right")


def test_playing_over_several_turns() -> None:
    seed = row_seed("AZR-Deduction-v0", 0, 0)
    text = settings_text({**SETTINGS, "attempts": 3})
    answer = right("AZR-Deduction-v0", seed, **SETTINGS)
    begun = bridge.play("AZR-Deduction-v0", text, seed, ())
    assert begun.reward == 0.0
    assert begun.prompt
    again = bridge.play("AZR-Deduction-v0", text, seed, ("0",))
    assert again.prompt not in ("", begun.prompt)
    assert bridge.play("AZR-Deduction-v0", text, seed, ("0", answer)) == bridge.Played("", 1.0, True)
    assert bridge.play("AZR-Deduction-v0", text, seed, ("0", answer, "more")) == bridge.Played("", 1.0, True)
    assert bridge.play("AZR-Deduction-v0", text, seed, ("0", "0", "0")) == bridge.Played("", -0.5)


def test_self_play_is_a_conversation() -> None:
    seed = row_seed("AZR-SelfPlay-v0", 0, 0)
    text = settings_text({**SETTINGS, "modes": ["deduction"]})
    proposed = bridge.play("AZR-SelfPlay-v0", text, seed, (" 29\ninput: 4",))
    assert proposed.prompt == "program: 29\ninput: 4\noutput:"
    solved = bridge.play("AZR-SelfPlay-v0", text, seed, (" 29\ninput: 4", "22"))
    assert solved == bridge.Played("", proposed.reward + 1.0, True)
    refused = bridge.play("AZR-SelfPlay-v0", text, seed, ("nothing",))
    assert refused == bridge.Played("", -1.0)


def test_our_failure_is_an_error_and_no_reward(monkeypatch: pytest.MonkeyPatch) -> None:
    seed = row_seed("AZR-Deduction-v0", 1, 0)
    monkeypatch.setattr(bridge.gym, "make", partial(gym.make, verifier=Broken()))
    for _ in range(2):
        with pytest.raises(AzrError, match="died twice"):
            bridge.play("AZR-Deduction-v0", TEXT, seed, ("5",))


def test_thinking_that_a_server_split_off_counts() -> None:
    (task,) = islice(taskset(env_id="AZR-Deduction-v0", settings={"domain": "prime_inversion"}), 1)
    whole = right("AZR-Deduction-v0", task.data.seed, domain="prime_inversion")
    answer = whole.removeprefix("<think></think>")
    message = bridge.vf.AssistantMessage(content=answer, reasoning_content="hm")
    assert asyncio.run(task.reward(SimpleNamespace(assistant_messages=[message]))) == 1.0
    assert asyncio.run(task.reward(traced(answer))) == -1.0


def test_a_call_of_a_tool_is_no_answer() -> None:
    (task,) = islice(taskset(env_id="AZR-Deduction-v0", settings=SETTINGS), 1)
    call = bridge.vf.AssistantMessage(content="0", tool_calls=[bridge.vf.ToolCall(id="1", name="bash", arguments="{}")])
    answer = bridge.vf.AssistantMessage(content=right("AZR-Deduction-v0", task.data.seed, **SETTINGS))
    assert asyncio.run(task.reward(SimpleNamespace(assistant_messages=[call, answer]))) == 1.0


def test_a_wrong_setting_is_told_when_tasks_are_made() -> None:
    with pytest.raises(UnknownOptionError, match="max_prim"):
        next(iter(taskset(settings={"domain": "prime_inversion", "max_prim": 3})))
