"""The vector environments: equal to single ones, with one call of each plug-in a step."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from azr_env import prompts, registry
from azr_env.domains.prime_inversion import PrimeInversionDomain
from azr_env.domains.python import PythonDomain
from azr_env.envs.vector import TextVectorEnv, columns
from azr_env.errors import SettingError, UnknownNameError
from azr_env.executors.scripted import ScriptedExecutor
from azr_env.protocols import Executor
from azr_env.sources.stored import ListSource
from azr_env.types import Job, Mode, Outcome, OutcomeStatus

SOLVE = [f"AZR-{mode.capitalize()}-v0" for mode in Mode]
PROPOSE = [f"AZR-{mode.capitalize()}-Propose-v0" for mode in Mode]
IDS = [*SOLVE, *PROPOSE, "AZR-SelfPlay-v0"]
PRIME = {"domain": "prime_inversion", "style": "compact"}
ACTIONS = ("3", "1", "2", "", "<think>x", "7\ninput: 3", "11\ninput: 4", "5", "13")


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return isinstance(b, dict) and set(a) == set(b) and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tolist() == b.tolist()
    return bool(a == b)


def pair(env_id: str, count: int, **settings: Any) -> tuple[gym.vector.VectorEnv, gym.vector.VectorEnv]:
    ours = gym.make_vec(env_id, num_envs=count, **settings)
    theirs = gym.make_vec(
        env_id,
        num_envs=count,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
        **settings,
    )
    assert isinstance(ours.unwrapped, TextVectorEnv)
    assert isinstance(theirs.unwrapped, SyncVectorEnv)
    return ours, theirs


def compare(env_id: str, actions: Sequence[Sequence[str]], **settings: Any) -> None:
    ours, theirs = pair(env_id, len(actions[0]), **settings)
    for got, wanted in zip(ours.reset(seed=5), theirs.reset(seed=5), strict=True):
        assert equal(got, wanted)
    for row in actions:
        for got, wanted in zip(ours.step(row), theirs.step(row), strict=True):
            assert equal(got, wanted), (row, got, wanted)
    ours.close()
    theirs.close()


@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize("attempts", [1, 3])
def test_equal_to_gymnasiums_own_vector(env_id: str, attempts: int) -> None:
    settings = PRIME | ({} if "Propose" in env_id else {"attempts": attempts})
    rows = [[ACTIONS[(k + 2 * step) % len(ACTIONS)] for k in range(5)] for step in range(8)]
    compare(env_id, rows, **settings)


@pytest.mark.parametrize(
    "env_id", ["AZR-Abduction-v0", "AZR-Induction-v0", "AZR-Deduction-Propose-v0", "AZR-SelfPlay-v0"]
)
def test_equal_in_python(env_id: str) -> None:
    actions = ["5", "def f(x): return x", "def f(x):\n    return x * 3\ninput: 4", "import os", "1, 2"]
    settings = {"domain": "python", "style": "compact", "induction_inputs": 2}
    settings |= {"references": 1} if "Propose" in env_id or "Self" in env_id else {}
    compare(env_id, [actions[k:] + actions[:k] for k in range(3)], **settings)


def test_machinery_failure_is_truncated_in_its_place_only() -> None:
    def answers(program: str, call: str, lane: int) -> Outcome:
        broken = call == "(i1;)"
        return Outcome(OutcomeStatus.INFRA, detail="gone") if broken else Outcome(OutcomeStatus.OK, "i-1;")

    domain = PythonDomain(ScriptedExecutor(answers))
    task = {"tasks": "builtin:types=int", "domain": PythonDomain(registry.executor("zygote"))}
    source = gym.make("AZR-Abduction-v0", **task).unwrapped.source  # type: ignore[attr-defined]
    env = gym.make_vec("AZR-Abduction-v0", num_envs=2, domain=domain, tasks=source, style="compact")
    env.reset(seed=0)
    _, rewards, terminated, truncated, info = env.step(["1", "2"])
    assert rewards.tolist() == [0.0, -0.5]
    assert terminated.tolist() == [False, True]
    assert truncated.tolist() == [True, False]
    assert info["final_info"]["verdict"]["status"].tolist() == ["error", "incorrect"]


class Counting:
    """An executor that counts its calls."""

    def __init__(self, inner: Executor) -> None:
        self.inner, self.calls = inner, 0
        self.level, self.fingerprint = inner.level, inner.fingerprint

    @property
    def authority(self) -> Counting:
        return self

    def run(self, jobs: Sequence[Job]) -> list[list[Outcome]]:
        self.calls += 1
        return self.inner.run(jobs)

    def close(self) -> None:
        pass


@pytest.mark.parametrize("env_id", ["AZR-Abduction-v0", "AZR-Induction-v0"])
def test_one_executor_call_verifies_the_batch(env_id: str, executor: Executor) -> None:
    counting = Counting(executor)
    domain = PythonDomain(counting, induction_inputs=2)  # type: ignore[arg-type]
    tasks = gym.make(env_id, domain=PythonDomain(executor, induction_inputs=2)).unwrapped.source  # type: ignore[attr-defined]
    env = gym.make_vec(env_id, num_envs=16, domain=domain, tasks=tasks, style="compact")
    env.reset(seed=0)
    env.step([f"def f(x): return {k}" if "Induction" in env_id else str(k) for k in range(16)])
    assert counting.calls == 1


def test_task_ids_by_environment() -> None:
    env = gym.make_vec("AZR-Deduction-v0", num_envs=3, **PRIME)
    single = gym.make("AZR-Deduction-v0", **PRIME)
    prompt, told = single.reset(seed=9)
    observations, info = env.reset(seed=1, options={"task_id": [None, told["task_id"], None]})
    assert observations[1] == prompt
    assert info["task_id"][1] == told["task_id"]
    alone = gym.make_vec("AZR-Deduction-v0", num_envs=3, **PRIME)
    other, _ = alone.reset(seed=1)
    assert (observations[0], observations[2]) == (other[0], other[2]), "its neighbours draw as ever"
    everywhere, _ = env.reset(options={"task_id": told["task_id"]})
    assert set(everywhere) == {prompt}


def test_a_group_of_answers_to_one_task() -> None:
    tasks = ListSource([PrimeInversionDomain().task(Mode.ABDUCTION, 7, x) for x in (2, 3)])
    env = gym.make_vec("AZR-Abduction-v0", num_envs=4, tasks=tasks, **PRIME)
    _, info = env.reset(options={"task_id": "abduction-7-3"})
    _, rewards, *_ = env.step(["3", "5", "x", ""])
    assert rewards.tolist() == [1.0, -0.5, -0.5, -1.0]
    assert info["task_id"].tolist() == ["abduction-7-3"] * 4


def test_reset_mask() -> None:
    env = gym.make_vec("AZR-Deduction-v0", num_envs=3, **PRIME)
    before, _ = env.reset(seed=1)
    after, info = env.reset(options={"reset_mask": np.array([False, True, False])})
    assert (after[0], after[2]) == (before[0], before[2])
    assert info["_task_id"].tolist() == [False, True, False]
    for wrong in (np.array([True]), np.array([1, 0, 0]), np.zeros(3, dtype=bool)):
        with pytest.raises(SettingError, match="reset_mask is a boolean array"):
            env.reset(options={"reset_mask": wrong})


def test_seeds() -> None:
    one, two = (gym.make_vec("AZR-Deduction-v0", num_envs=4, **PRIME) for _ in range(2))
    first = one.reset(seed=3)[0]
    assert two.reset(seed=[3, 4, 5, 6])[0] == first
    assert one.np_random_seed == (3, 4, 5, 6)
    assert one.reset(seed=[3, None, None, 6])[0][::3] == first[::3]
    assert two.reset()[0] != first
    assert gym.make_vec("AZR-Deduction-v0", num_envs=8, **PRIME).reset()[0] != one.reset()[0]


def test_wrong_use() -> None:
    env = gym.make_vec("AZR-Deduction-v0", num_envs=2, **PRIME)
    with pytest.raises(gym.error.ResetNeeded):
        env.step(["1", "2"])
    with pytest.raises(SettingError, match="leave reset_mask out"):
        env.reset(options={"reset_mask": np.array([True, False])})
    env.reset(seed=0)
    for wrong in (["1"], "12", ["1", "2", "3"]):
        with pytest.raises(SettingError, match="sequence of 2 strings"):
            env.step(wrong)
    with pytest.raises(SettingError, match="not int"):
        env.step(["1", 2])
    with pytest.raises(SettingError, match="seed has 3 entries for 2"):
        env.reset(seed=[1, 2, 3])
    with pytest.raises(SettingError, match="'nope' is unknown; there is 'reset_mask' and 'task_id'"):
        env.reset(options={"nope": 1})
    with pytest.raises(UnknownNameError):
        env.reset(options={"task_id": ["nope", None]})
    with pytest.raises(SettingError, match="num_envs=0"):
        gym.make_vec("AZR-Deduction-v0", num_envs=0, **PRIME)


@pytest.mark.parametrize("env_id", IDS)
def test_make_vec_warns_of_nothing_and_spaces_hold(env_id: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make_vec(env_id, num_envs=3, render_mode="ansi", **PRIME)
        observations, _ = env.reset(seed=0)
    assert observations in env.observation_space
    assert env.action_space.sample() in env.action_space
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    env.step(("1", "2", "7\ninput: 3"))
    rendered = env.render()
    assert rendered is not None
    assert len(rendered) == 3
    assert all("reward" in text for text in rendered)
    assert env.spec is not None
    assert env.spec.id == env_id
    env.close()


def test_columns_as_gymnasium_builds_them() -> None:
    infos: list[dict[str, Any] | None] = [
        {"a": 1, "b": {"c": "x"}, "l": [1]},
        None,
        {"a": 2, "f": 0.5, "b": {"c": "y", "d": True}},
        {"t": ("x", "y")},
    ]
    env = gym.vector.VectorEnv()
    env.num_envs = 4
    wanted: dict[str, Any] = {}
    for k, info in enumerate(infos):
        wanted = env._add_info(wanted, info or {}, k)
    assert equal(columns(infos), wanted)


def test_prompts_stay_those_of_the_single_environment() -> None:
    vector = gym.make_vec("AZR-Induction-v0", num_envs=1, domain="prime_inversion")
    (prompt,), info = vector.reset(seed=2)
    single = gym.make("AZR-Induction-v0", domain="prime_inversion")
    assert single.reset(seed=2)[0] == prompt
    task = single.unwrapped.source.get(info["task_id"][0])  # type: ignore[attr-defined]
    right = prompts.completion_of(single.unwrapped.domain, Mode.INDUCTION, prompts.key(task))  # type: ignore[attr-defined]
    assert vector.step([right])[1].tolist() == [1.0]
