"""The solver's environments, through `gym.make`.

The vectors are in test_vector.py, the proposer's and self-play ids in test_propose.py and test_selfplay.py.
"""

from __future__ import annotations

import copy
import json
import pickle
import random
import warnings
from collections.abc import Sequence

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st

import azr_env
from azr_env import prompts
from azr_env.domains.prime_inversion import PrimeInversionDomain
from azr_env.domains.python import PythonDomain
from azr_env.envs.single import MAX_COMPLETION
from azr_env.envs.solve import SolveEnv
from azr_env.errors import SettingError, TaskFileError, UnknownNameError, UnknownOptionError
from azr_env.executors.scripted import ScriptedExecutor
from azr_env.parsing import Style
from azr_env.sources.stored import ListSource, write_jsonl
from azr_env.testing.strategies import wild_text
from azr_env.types import Example, Mode, Status, Task, Verdict

IDS = {mode: f"AZR-{mode.capitalize()}-v0" for mode in Mode}
CELLS = [(mode, domain, style) for mode in Mode for domain in ("python", "prime_inversion") for style in Style]


def solved(env: gym.Env[str, str], info: dict[str, object], style: str = "paper") -> str:
    """The completion that answers the task of `info`."""
    inner = env.unwrapped
    assert isinstance(inner, SolveEnv)
    task = inner.source.get(str(info["task_id"]))
    return prompts.completion_of(inner.domain, task.mode, prompts.key(task), Style(style))


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("spelling", ["{}", "azr_env:{}"])
def test_both_spellings(mode: Mode, spelling: str) -> None:
    env = gym.make(spelling.format(IDS[mode]), domain="prime_inversion")
    assert isinstance(env.unwrapped, SolveEnv)
    assert env.unwrapped.mode is mode
    env.close()


def test_exactly_these_ids_are_registered() -> None:
    proposers = {f"AZR-{mode.capitalize()}-Propose-v0" for mode in Mode}
    known = {name for name in gym.registry if name.startswith("AZR-")}
    assert known == set(IDS.values()) | proposers | {"AZR-SelfPlay-v0"}
    assert azr_env.__version__


@pytest.mark.parametrize(("mode", "domain", "style"), CELLS)
def test_check_env(mode: Mode, domain: str, style: Style) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make(IDS[mode], domain=domain, style=str(style), disable_env_checker=True)
        check_env(env.unwrapped)
    assert env.spec is not None
    env.close()


@pytest.mark.parametrize(("mode", "domain", "style"), CELLS)
def test_an_episode(mode: Mode, domain: str, style: Style) -> None:
    env = gym.make(IDS[mode], domain=domain, style=str(style))
    for seed, right in ((1, True), (2, False)):
        prompt, info = env.reset(seed=seed)
        assert prompt in env.observation_space
        assert info["mode"] == str(mode)
        assert info["role"] == "solver"
        wrong = prompts.completion_of(
            env.unwrapped.domain, mode, "def f(x): pass" if mode is Mode.INDUCTION else "-99", style
        )  # type: ignore[attr-defined]
        completion = solved(env, info, style) if right else wrong
        observation, reward, terminated, truncated, after = env.step(completion)
        assert (observation, reward, terminated, truncated) == ("", 1.0 if right else -0.5, True, False)
        assert after["verdict"]["status"] in (["correct"] if right else ["incorrect", "rejected"])
        assert after["task_id"] == info["task_id"]
        json.dumps(after)
    env.close()


def draws(env: gym.Env[str, str], seed: int | None, count: int = 5) -> list[str]:
    return [env.reset(seed=seed if k == 0 else None)[1]["task_id"] for k in range(count)]


@pytest.mark.parametrize("domain", ["python", "prime_inversion"])
def test_seeding(domain: str) -> None:
    one, two = (gym.make(IDS[Mode.DEDUCTION], domain=domain) for _ in range(2))
    first = draws(one, 7)
    assert draws(two, 7) == first
    assert draws(one, 7) == first, "the same environment again"
    assert set(draws(two, 8)).isdisjoint(first)
    assert len(set(first)) == 5
    assert set(draws(one, None)).isdisjoint(first), "no seed goes on where it was"
    unseeded = [draws(gym.make(IDS[Mode.DEDUCTION], domain=domain), None) for _ in range(2)]
    assert unseeded[0] != unseeded[1]


def test_the_seed_decides_and_not_the_global_state() -> None:
    env = gym.make(IDS[Mode.DEDUCTION], domain="prime_inversion")
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)
    states = np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    first = draws(env, 3)
    assert (np.random.get_state()[1].tolist(), random.getstate()) == states  # noqa: NPY002
    np.random.seed(2)  # noqa: NPY002
    assert draws(env, 3) == first


def test_steps_do_not_disturb_the_draws() -> None:
    one, two = (gym.make(IDS[Mode.DEDUCTION], domain="prime_inversion") for _ in range(2))
    left, right = [], []
    for k in range(4):
        left.append(one.reset(seed=5 if k == 0 else None)[1]["task_id"])
        one.step("anything")
        right.append(two.reset(seed=5 if k == 0 else None)[1]["task_id"])
    assert left == right


@pytest.mark.parametrize("domain", ["python", "prime_inversion"])
@pytest.mark.parametrize("mode", Mode)
def test_a_task_by_its_id(mode: Mode, domain: str) -> None:
    env = gym.make(IDS[mode], domain=domain)
    prompt, info = env.reset(seed=11)
    env.reset(seed=12)
    again = gym.make(IDS[mode], domain=domain).reset(seed=99, options={"task_id": info["task_id"]})
    assert again == (prompt, info)


def test_wrong_options_leave_the_episode_as_it_was() -> None:
    env = gym.make(IDS[Mode.DEDUCTION], domain="prime_inversion")
    _, info = env.reset(seed=1)
    completion = solved(env, info)
    other = gym.make(IDS[Mode.ABDUCTION], domain="prime_inversion").reset(seed=1)[1]["task_id"]
    with pytest.raises(SettingError, match="'id' is unknown; there is 'task_id'"):
        env.reset(options={"id": "x"})
    with pytest.raises(UnknownNameError, match="no task 'nope'"):
        env.reset(options={"task_id": "nope"})
    with pytest.raises(SettingError, match="is a abduction task; this environment does deduction"):
        env.reset(options={"task_id": other})
    assert env.step(completion)[1] == 1.0, "still the task of before"


@given(text=wild_text, mode=st.sampled_from(Mode), style=st.sampled_from(Style))
def test_any_string_is_a_legal_action(text: str, mode: Mode, style: Style) -> None:
    env = gym.make(IDS[mode], domain="prime_inversion", style=str(style))
    env.reset(seed=0)
    assert text in env.action_space
    observation, reward, terminated, truncated, info = env.step(text)
    assert observation in env.observation_space
    assert -1 <= reward <= 1
    assert terminated
    assert not truncated
    json.dumps(info)


@pytest.mark.parametrize("text", ["", "\0", "\ud800", "[" * 1_048_576, "```" * 400_000, "</think>" * 130_000])
@pytest.mark.parametrize("domain", ["python", "prime_inversion"])
def test_hard_strings(domain: str, text: str) -> None:
    env = gym.make(IDS[Mode.ABDUCTION], domain=domain)
    env.reset(seed=0)
    _, reward, terminated, truncated, info = env.step(text)
    assert (reward, terminated, truncated, info["verdict"]["status"]) == (-1.0, True, False, "malformed")


def test_the_action_space_covers_a_long_completion() -> None:
    env = gym.make(IDS[Mode.DEDUCTION], domain="prime_inversion")
    assert "a" * MAX_COMPLETION in env.action_space


@pytest.mark.parametrize("action", [None, b"5", 5, ["5"], ("5",)])
def test_an_action_that_is_no_string_is_the_callers_mistake(action: object) -> None:
    env = SolveEnv("deduction", domain="prime_inversion")
    env.reset(seed=0)
    with pytest.raises(SettingError, match="an action is a string, not "):
        env.step(action)  # type: ignore[arg-type]
    assert env.step("")[1] == -1.0


@pytest.mark.parametrize("mode", [Mode.ABDUCTION, Mode.INDUCTION])
def test_a_failure_of_ours_truncates(mode: Mode, broken_executor: ScriptedExecutor) -> None:
    task = Task("t", "python", mode, "def f(x): return x", (Example("1", "1"),), 1 if mode is Mode.INDUCTION else 0)
    env = gym.make(IDS[mode], domain=PythonDomain(broken_executor), tasks=ListSource([task]))
    _, info = env.reset(seed=0)
    observation, reward, terminated, truncated, info = env.step(solved(env, info))
    assert (observation, reward, terminated, truncated) == ("", 0.0, False, True)
    assert info["verdict"] == {"status": "error", "reason": "infra: the server died twice", "answer": prompts.key(task)}
    with pytest.raises(gym.error.ResetNeeded):
        env.step("again")


def test_step_before_reset_and_after_the_end() -> None:
    for env in (
        gym.make(IDS[Mode.DEDUCTION], domain="prime_inversion"),
        SolveEnv("deduction", domain="prime_inversion"),
    ):
        with pytest.raises(gym.error.ResetNeeded):
            env.step("5")
        env.reset(seed=0)
        env.step("5")
    with pytest.raises(gym.error.ResetNeeded, match="no episode is under way"):
        env.step("5")


def test_a_spec_survives_pickle_and_json() -> None:
    env = gym.make(
        IDS[Mode.INDUCTION], domain="prime_inversion", max_prime=13, style="compact", tasks="builtin:primes=5-13"
    )
    assert env.spec is not None
    expected = env.reset(seed=4)
    for spec in (
        pickle.loads(pickle.dumps(env.spec)),  # noqa: S301
        gym.envs.registration.EnvSpec.from_json(env.spec.to_json()),
        copy.deepcopy(env.spec),
    ):
        again = gym.make(spec)
        assert again.reset(seed=4) == expected
        assert again.unwrapped.domain.max_prime == 13  # type: ignore[attr-defined]
    for mode in Mode:
        assert json.loads(gym.spec(IDS[mode]).to_json())["kwargs"] == {"mode": str(mode)}


def test_no_time_limit_wrapper() -> None:
    """`max_episode_steps=1` would make a solved episode terminated and truncated at once."""
    assert gym.spec(IDS[Mode.DEDUCTION]).max_episode_steps is None


def test_async_vectors_need_their_shared_memory_off() -> None:
    with pytest.raises(TypeError, match=r"shared_memory.*False"):
        gym.make_vec(IDS[Mode.DEDUCTION], num_envs=2, vectorization_mode="async", domain="prime_inversion")


def vector_episode(envs: gym.vector.VectorEnv) -> list[float]:
    prompts_seen, info = envs.reset(seed=5)
    assert len(set(prompts_seen)) == len(prompts_seen) == 3
    assert all("program: " in text for text in prompts_seen)
    answers: Sequence[str] = [_solve_compact(text) for text in prompts_seen]
    _, rewards, terminated, truncated, info = envs.step((answers[0], "0", ""))  # type: ignore[arg-type]
    assert terminated.tolist() == [True] * 3
    assert truncated.tolist() == [False] * 3
    assert [item["status"] for item in _verdicts(info)] == ["correct", "incorrect", "malformed"]
    envs.close()
    return rewards.tolist()


def _solve_compact(prompt: str) -> str:
    p, x = (int(line.partition(": ")[2]) for line in prompt.splitlines()[:2])
    return str(pow(x, -1, p))


def _verdicts(info: dict[str, object]) -> list[dict[str, str]]:
    verdict = info["verdict"]
    if isinstance(verdict, dict):
        return [{"status": status} for status in verdict["status"]]
    return list(verdict)  # type: ignore[call-overload]


def test_sync_vector() -> None:
    envs = gym.make_vec(
        IDS[Mode.DEDUCTION], num_envs=3, vectorization_mode="sync", domain="prime_inversion", style="compact"
    )
    assert vector_episode(envs) == [1.0, -0.5, -1.0]


def test_async_vector_without_shared_memory() -> None:
    envs = gym.make_vec(
        IDS[Mode.DEDUCTION],
        num_envs=3,
        vectorization_mode="async",
        vector_kwargs={"shared_memory": False},
        domain="prime_inversion",
        style="compact",
    )
    assert vector_episode(envs) == [1.0, -0.5, -1.0]


def test_async_workers_verify_python(python_domain: PythonDomain) -> None:
    """Workers are forks of this process, whose executor is already running: none may read another's results."""
    assert python_domain.admit(python_domain.seeds(Mode.DEDUCTION))
    envs = gym.make_vec(
        IDS[Mode.ABDUCTION], num_envs=3, vectorization_mode="async", vector_kwargs={"shared_memory": False}
    )
    for seed in range(4):
        _, info = envs.reset(seed=seed)
        source = SolveEnv("abduction", domain="python").source
        tasks = [source.get(task_id) for task_id in info["task_id"]]
        completions = [prompts.completion_of(python_domain, Mode.ABDUCTION, prompts.key(task)) for task in tasks]
        assert envs.step(tuple(completions))[1].tolist() == [1.0] * 3  # type: ignore[arg-type]
        envs.reset(seed=seed)
        wrong = prompts.completion_of(python_domain, Mode.ABDUCTION, "None")
        assert 1.0 not in envs.step((wrong,) * 3)[1].tolist()  # type: ignore[arg-type]
    envs.close()


def test_render() -> None:
    env = gym.make(IDS[Mode.DEDUCTION], domain="prime_inversion", style="compact", render_mode="ansi")
    prompt, info = env.reset(seed=0)
    assert env.render() == prompt
    completion = solved(env, info, "compact")
    env.step(completion)
    shown = env.render()
    assert isinstance(shown, str)
    assert shown.startswith(prompt)
    assert completion in shown
    assert "\033[32mcorrect\033[0m, reward 1" in shown
    env.reset(seed=0)
    assert env.render() == prompt
    env.step("<think>")
    assert "\033[31mmalformed\033[0m (<think> is never closed), reward -1" in env.render()  # type: ignore[operator]
    env.close()


def test_render_of_an_error_shows_no_reward(broken_executor: ScriptedExecutor) -> None:
    task = Task("t", "python", Mode.ABDUCTION, "def f(x): return x", (Example("1", "1"),))
    env = SolveEnv("abduction", domain=PythonDomain(broken_executor), tasks=ListSource([task]), render_mode="ansi")
    assert env.render() == ""
    env.reset(seed=0)
    env.step(prompts.completion_of(env.domain, Mode.ABDUCTION, "1"))
    assert "error\033[0m (infra: the server died twice), reward none" in env.render()  # type: ignore[operator]


def test_render_without_a_mode_warns() -> None:
    env = SolveEnv("deduction", domain="prime_inversion")
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="render_mode='ansi'"):
        assert env.render() is None


@pytest.mark.parametrize(
    ("kwargs", "error", "says"),
    [
        ({"domain": "pyton"}, UnknownNameError, ["'pyton'", "prime_inversion", "Did you mean 'python'"]),
        ({"verifier": "exactly"}, UnknownNameError, ["'exactly'", "relation"]),
        ({"tasks": "bultin"}, UnknownNameError, ["'bultin'", "builtin", "jsonl", "cruxeval", "buffer"]),
        ({"executor": "docker", "domain": "python"}, UnknownNameError, ["'docker'", "zygote"]),
        ({"style": "terse"}, SettingError, ["'terse'", "paper", "compact"]),
        ({"style": None}, SettingError, ["paper", "compact"]),
        ({"max_primes": 5}, UnknownOptionError, ["max_primes"]),
        ({"max_prime": 1}, SettingError, ["from 3 to 1000003"]),
        ({"tasks": "jsonl:/no/such"}, TaskFileError, ["/no/such"]),
        ({"tasks": "builtin:colour=red"}, SettingError, ["colour", "primes=LOW-HIGH"]),
    ],
)
def test_wrong_settings_say_what_would_work(kwargs: dict[str, object], error: type[Exception], says: list[str]) -> None:
    with pytest.raises(error) as caught:
        gym.make(IDS[Mode.DEDUCTION], **({"domain": "prime_inversion"} | kwargs))
    for words in says:
        assert words in str(caught.value)


def test_wrong_modes() -> None:
    with pytest.raises(SettingError, match="deduction, abduction, induction"):
        SolveEnv("reduction", domain="prime_inversion")
    with pytest.raises(SettingError, match="choose None or 'ansi'"):
        SolveEnv("deduction", domain="prime_inversion", render_mode="human")


def test_objects_instead_of_names(prime_domain: PrimeInversionDomain) -> None:
    class Generous:
        def verify(self, answers: Sequence[tuple[Task, str]]) -> list[Verdict]:
            return [Verdict(Status.CORRECT, "why not") for _ in answers]

    tasks = ListSource([prime_domain.task(Mode.DEDUCTION, 7, 3)])
    env = gym.make(IDS[Mode.DEDUCTION], domain=prime_domain, tasks=tasks, verifier=Generous(), style=Style.COMPACT)
    _, info = env.reset(seed=0)
    assert info["task_id"] == "deduction-7-3"
    assert env.step("nonsense")[1] == 1.0


def test_a_task_file(tmp_path, prime_domain: PrimeInversionDomain) -> None:
    write_jsonl(tmp_path / "t.jsonl", [prime_domain.task(Mode.DEDUCTION, 7, 3)])
    env = gym.make(IDS[Mode.DEDUCTION], domain="prime_inversion", tasks=f"jsonl:{tmp_path / 't.jsonl'}")
    _, info = env.reset(seed=0)
    assert env.step(solved(env, info))[1] == 1.0
    other = gym.make(IDS[Mode.ABDUCTION], domain="prime_inversion", tasks=f"jsonl:{tmp_path / 't.jsonl'}")
    with pytest.raises(SettingError, match="has no abduction task; it has deduction"):
        other.reset(seed=0)


def test_the_reward_range_is_declared_and_kept() -> None:
    env = gym.make(IDS[Mode.DEDUCTION], domain="prime_inversion")
    assert env.unwrapped.reward_range == (-1.0, 1.0)  # type: ignore[attr-defined]


def test_info_holds_no_times() -> None:
    """`check_env` fails an environment with wall-clock time in `info`, and so would any golden hash."""
    env = gym.make(IDS[Mode.DEDUCTION], domain="python")
    infos = []
    for _ in range(2):
        _, first = env.reset(seed=3)
        infos.append((first, env.step("x")[4]))
    assert infos[0] == infos[1]
