"""The proposer's environments, and the one that plays both roles."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.utils.env_checker import check_env

from azr_env import rewards
from azr_env.buffer import TaskBuffer
from azr_env.envs.game import parts
from azr_env.envs.solvers import HALF, ScriptedSolver
from azr_env.errors import SettingError, UnknownNameError
from azr_env.executors.scripted import ScriptedExecutor
from azr_env.types import Draft, Mode, Outcome, OutcomeStatus, Task

IDS = {mode: f"AZR-{mode.capitalize()}-Propose-v0" for mode in Mode}
PRIME: dict[str, Any] = {"domain": "prime_inversion", "style": "compact"}


class Right:
    """A policy that solves the first ``n`` prompts of every eight, in prime inversion."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.calls: list[tuple[list[str], list[int]]] = []

    def complete(self, prompts: Sequence[str], max_new_tokens: int, seeds: Sequence[int]) -> list[str]:
        self.calls.append((list(prompts), list(seeds)))
        return [self._answer(prompt) if k % 8 < self.n else "1" for k, prompt in enumerate(prompts)]

    def _answer(self, prompt: str) -> str:
        p, x = (int(line.partition(":")[2]) for line in prompt.split("\n")[:2])
        return str(pow(x, -1, p))


def step(env: gym.Env[str, str], action: str, seed: int = 0) -> tuple[float, bool, dict[str, Any]]:
    env.reset(seed=seed)
    _, reward, terminated, truncated, info = env.step(action)
    assert terminated != truncated
    json.dumps(info)
    return float(reward), truncated, info["proposal"]


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("settings", [PRIME, {"domain": "python", "references": 1}], ids=["primes", "python"])
def test_check_env(mode: Mode, settings: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make(IDS[mode], disable_env_checker=True, **settings).unwrapped)


def test_the_prompt_holds_the_references() -> None:
    env = gym.make(IDS[Mode.DEDUCTION], references=3, **PRIME)
    prompt, info = env.reset(seed=4)
    assert len(info["references"]) == 3
    assert prompt.count("program:") == 4
    assert info["role"] == "proposer"
    assert info["cell"] == "proposer/deduction"
    assert "propose deduction" in prompt
    assert gym.make(IDS[Mode.DEDUCTION], references=0, **PRIME).reset(seed=4)[1]["references"] == []


def test_in_python_induction_the_program_is_given() -> None:
    env = gym.make(IDS[Mode.INDUCTION], domain="python", induction_inputs=2, solver_samples=2)
    prompt, info = env.reset(seed=1)
    assert len(info["references"]) == 1
    task = env.unwrapped.source.get(info["references"][0])  # type: ignore[attr-defined]
    assert task.program in prompt
    blocks = "```input\n0\n```\n```input\n1\n```\n```message\nTry.\n```"
    drafts = [f"<think></think><answer>\n{blocks}\n</answer>", "<think></think><answer>\n```input\n0\n```\n</answer>"]
    found = [step(env, text, seed=1)[2]["status"] for text in drafts]
    assert found[1] == "inputs"
    assert found[0] in ("admitted", "raised"), "the program decides whether 0 and 1 are inputs of it"


@pytest.mark.parametrize(("right", "reward"), [(0, 0.0), (1, 0.875), (4, 0.5), (7, 0.125), (8, 0.0)])
def test_pays_the_learnability_that_the_solver_finds(right: int, reward: float) -> None:
    policy = Right(right)
    env = gym.make(IDS[Mode.DEDUCTION], solver=policy, **PRIME)
    assert step(env, "89\ninput: 17") == (
        reward,
        False,
        {"status": "admitted", "reason": "", "task_id": "deduction-89-17", "solve_rate": right / 8},
    )
    ((prompts, seeds),) = policy.calls
    assert prompts == ["program: 89\ninput: 17\noutput:"] * 8
    assert len(set(seeds)) == 8


@pytest.mark.parametrize("name", rewards.LEARNABILITY)
def test_learnability_by_name(name: str) -> None:
    env = gym.make(IDS[Mode.DEDUCTION], solver=Right(2), learnability=name, solver_samples=8, **PRIME)
    assert step(env, "89\ninput: 17")[0] == pytest.approx(rewards.learnability(name)(0.25))


@pytest.mark.parametrize(
    ("action", "status"),
    [
        ("", "malformed"),
        ("91\ninput: 2", "invalid"),
        ("7", "malformed"),
        ("7\ninput: 9", "invalid"),
        ("x\ninput: y", "syntax"),
    ],
)
def test_a_refused_proposal_costs(action: str, status: str) -> None:
    reward, truncated, told = step(gym.make(IDS[Mode.ABDUCTION], **PRIME), action)
    assert (reward, truncated, told["status"]) == (-1.0, False, status)
    assert set(told) == {"status", "reason"}


def test_a_copied_reference_is_refused() -> None:
    env = gym.make(IDS[Mode.DEDUCTION], references=1, domain="python", style="compact")
    _, info = env.reset(seed=3)
    task: Task = env.unwrapped.source.get(info["references"][0])  # type: ignore[attr-defined]
    copy = f"\n{task.program}  # a comment\ninput: {task.examples[0].input}"
    reward, _, told = step(env, copy, seed=3)
    assert (reward, told["status"]) == (-1.0, "duplicate")


def test_our_failures_are_truncations() -> None:
    broken = ScriptedExecutor({}, Outcome(OutcomeStatus.INFRA, detail="gone"))
    settings = {"executor": broken, "references": 0, "style": "compact"}
    env = gym.make(IDS[Mode.DEDUCTION], domain="python", **settings)
    assert step(env, "\ndef f(x): return x\ninput: 3")[:2] == (0.0, True)


def test_a_task_id_names_the_reference() -> None:
    env = gym.make(IDS[Mode.ABDUCTION], **PRIME)
    _, info = env.reset(seed=0)
    wanted = info["references"][2]
    _, info = env.reset(options={"task_id": wanted})
    assert info["references"] == [wanted]
    with pytest.raises(UnknownNameError):
        env.reset(options={"task_id": "nope"})


def test_the_buffer_grows_gives_references_and_refuses_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "buffer.sqlite"
    env = gym.make_vec(IDS[Mode.DEDUCTION], num_envs=3, buffer=str(path), references=2, solver=Right(4), **PRIME)
    env.reset(seed=0)
    proposals = ["89\ninput: 17", "89\ninput: 17", "83\ninput: 5"]
    _, rewards_, _, _, info = env.step(proposals)
    assert info["final_info"]["proposal"]["status"].tolist() == ["admitted", "duplicate", "admitted"]
    assert rewards_.tolist() == [0.5, -1.0, 0.5]
    assert {name for names in info["references"] for name in names} <= {"deduction-89-17", "deduction-83-5"}
    assert TaskBuffer(path, read_only=True).sizes() == {"deduction": 2}
    assert env.step(proposals)[4]["final_info"]["proposal"]["status"].tolist() == ["duplicate"] * 3


def test_equal_seeds_equal_rewards() -> None:
    found = []
    for _ in range(2):
        env = gym.make(IDS[Mode.DEDUCTION], **PRIME)
        env.reset(seed=11)
        found.append([(env.step("97\ninput: 35")[1], env.reset()[0]) for _ in range(6)])
    assert found[0] == found[1]
    assert len({reward for reward, _ in found[0]}) > 1, "another episode, other chance"


def test_the_scripted_solver_fails_more_the_more_complex_the_program() -> None:
    made = parts(domain="python", style="compact")
    programs = [
        "def f(x): return x",
        "def f(x):\n    y = x * 3 + 1\n    for i in range(4):\n        y = y * i - x\n    return y",
    ]
    tasks = made.domain.admit([Draft(Mode.DEDUCTION, program, ("5",)) for program in programs])
    solver = ScriptedSolver(made)
    rates = []
    for task in tasks:
        assert isinstance(task, Task)
        answers = solver.answer([task] * 2000, range(2000))
        rates.append(sum(answer.strip() == task.examples[0].output for answer in answers) / 2000)
        assert rates[-1] == pytest.approx(1 / (1 + len(made.domain.identity(task)) / HALF), abs=0.04)
    assert rates[0] > rates[1] + 0.1
    assert solver.answer([tasks[0]], [3]) == solver.answer([tasks[0]], [3])  # type: ignore[list-item]


def test_wrong_settings() -> None:
    for settings, message in [
        ({"solver_samples": 0}, "solver_samples=0"),
        ({"references": -1}, "references=-1"),
        ({"max_new_tokens": True}, "max_new_tokens=True"),
    ]:
        with pytest.raises(SettingError, match=message):
            gym.make(IDS[Mode.DEDUCTION], **PRIME, **settings)
    with pytest.raises(UnknownNameError, match="no learnability is named 'arz'"):
        gym.make(IDS[Mode.DEDUCTION], learnability="arz", **PRIME)
    with pytest.raises(UnknownNameError, match="no policy is named 'nobody'"):
        gym.make(IDS[Mode.DEDUCTION], solver="nobody", **PRIME)
    with pytest.raises(SettingError, match=r"modes=\[\]"):
        gym.make("AZR-SelfPlay-v0", modes=[], **PRIME)
    with pytest.raises(SettingError, match="modes='intuition' is unknown"):
        gym.make("AZR-SelfPlay-v0", modes=["intuition"], **PRIME)


def test_an_episode_of_self_play() -> None:
    env = gym.make("AZR-SelfPlay-v0", modes=["abduction"], solver=Right(0), render_mode="ansi", **PRIME)
    prompt, info = env.reset(seed=0)
    assert "propose abduction" in prompt
    assert info["cell"] == "proposer/abduction"
    prompt, reward, terminated, truncated, info = env.step("89\ninput: 17")
    assert (reward, terminated, truncated) == (0.0, False, False)
    assert info["proposal"]["task_id"] == "abduction-89-17"
    assert prompt == "program: 89\noutput: 21\ninput:"
    assert "admitted" in (env.render() or "")  # type: ignore[operator]
    last, reward, terminated, truncated, info = env.step("17")
    assert (last, reward, terminated, truncated) == ("", 1.0, True, False)
    assert info["cell"] == "solver/abduction"
    assert info["verdict"]["status"] == "correct"
    with pytest.raises(gym.error.ResetNeeded):
        env.step("17")


def test_self_play_ends_at_a_refused_proposal_and_allows_attempts() -> None:
    env = gym.make("AZR-SelfPlay-v0", modes=["deduction"], attempts=2, **PRIME)
    env.reset(seed=0)
    assert env.step("nothing")[1:4] == (-1.0, True, False)
    env.reset(seed=0)
    env.step("89\ninput: 17")
    observation, reward, terminated, _, _ = env.step("5")
    assert (reward, terminated) == (0.0, False)
    assert "Attempt 1: incorrect" in observation
    assert env.step("21")[1:3] == (1.0, True)


def test_self_play_draws_every_mode() -> None:
    env = gym.make("AZR-SelfPlay-v0", **PRIME)
    modes = {env.reset(seed=seed)[1]["mode"] for seed in range(30)}
    assert modes == set(Mode)


@pytest.mark.parametrize("settings", [PRIME, {"domain": "python", "references": 1}], ids=["primes", "python"])
def test_check_env_of_self_play(settings: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make("AZR-SelfPlay-v0", disable_env_checker=True, **settings).unwrapped)
