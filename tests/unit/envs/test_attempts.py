"""Several attempts at one task: what is paid, what is told, and what is never told."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import pytest

from azr_env import prompts
from azr_env.domains.python import PythonDomain
from azr_env.errors import SettingError
from azr_env.parsing import Style
from azr_env.sources.stored import ListSource
from azr_env.types import Example, Mode, Status, Task, Verdict

PRIME: dict[str, Any] = {"domain": "prime_inversion", "style": "compact"}


def python_env(domain: PythonDomain, task: Task, attempts: int, style: str = "compact") -> gym.Env[str, str]:
    env_id = f"AZR-{task.mode.capitalize()}-v0"
    return gym.make(env_id, domain=domain, tasks=ListSource([task]), attempts=attempts, style=style)


def test_right_at_last() -> None:
    env = gym.make("AZR-Deduction-v0", attempts=3, **PRIME)
    first, info = env.reset(seed=1)
    assert info["attempt"] == 1
    task = env.unwrapped.source.get(info["task_id"])  # type: ignore[attr-defined]
    right = prompts.key(task)
    second, reward, terminated, truncated, info = env.step("0")
    assert (reward, terminated, truncated) == (0.0, False, False)
    assert info["verdict"]["status"] == "incorrect"
    assert second == first.removesuffix("output:") + "Attempt 1: incorrect: x and y must lie in 1..p-1: 0\noutput:"
    third, *_ = env.step("x")
    assert "Attempt 2: rejected: the answer is not one plain natural number: x" in third
    assert env.step(right)[1:4] == (1.0, True, False)


@pytest.mark.parametrize(("last", "reward"), [("0", -0.5), ("", -1.0)])
def test_the_last_wrong_answer_is_paid_as_an_only_one(last: str, reward: float) -> None:
    env = gym.make("AZR-Deduction-v0", attempts=2, **PRIME)
    env.reset(seed=1)
    env.step("")
    observation, paid, terminated, truncated, info = env.step(last)
    assert (observation, paid, terminated, truncated) == ("", reward, True, False)
    assert info["attempt"] == 2


@pytest.mark.parametrize("attempts", [0, 65, 1.5, True])
def test_wrong_settings(attempts: Any) -> None:
    with pytest.raises(SettingError, match="attempts="):
        gym.make("AZR-Deduction-v0", attempts=attempts, **PRIME)


def test_abduction_tells_what_the_program_did(python_domain: PythonDomain) -> None:
    task = Task("t", "python", Mode.ABDUCTION, "def f(x): return 100 // x", (Example("4", "25"),))
    env = python_env(python_domain, task, 3)
    env.reset(seed=0)
    assert "Attempt 1: incorrect: the program returns 20: 5" in env.step("5")[0]
    assert "Attempt 2: incorrect: raised: ZeroDivisionError" in env.step("0")[0]


def test_an_induction_answer_cannot_read_the_hidden_inputs(python_domain: PythonDomain) -> None:
    hidden = ("'secret-one'", "'secret-two'")
    examples = (Example("'a'", "'A'"), Example("'b'", "'B'"), *(Example(text, text.upper()) for text in hidden))
    task = Task("t", "python", Mode.INDUCTION, "def f(x): return x.upper()", examples, 2)
    for answer in (
        "def f(x): return x",
        "def f(x): raise ValueError(x)",
        "def f(x): raise __builtins__",
        "def f(x):\n    class E(Exception): pass\n    E.__name__ = x\n    raise E",
        "def f(x): raise type(x, (Exception,), {})",
        "def f(x): assert False, x",
        "def f(x): return {x: 1}[0]",
    ):
        for style in Style:
            env = python_env(python_domain, task, 2, style)
            env.reset(seed=0)
            observation = env.step(prompts.completion_of(python_domain, Mode.INDUCTION, answer, style))[0]
            assert "ttempt 1" in observation
            assert "secret" not in observation.lower()


@pytest.mark.parametrize("style", Style)
@pytest.mark.parametrize("mode", Mode)
def test_feedback_never_holds_the_key(mode: Mode, style: Style, python_domain: PythonDomain) -> None:
    task = Task(
        "t",
        "python",
        mode,
        "def f(x): return x * 10007",
        (Example("98765", "988341355"),),
        1 if mode == "induction" else 0,
    )
    key = prompts.key(task)
    env = python_env(python_domain, task, 8, style)
    prompt, _ = env.reset(seed=0)
    for answer in ("1", "def f(x): return 5", "'y'", "[", "", "lambda x: x", "0" * 5000):
        text = prompts.completion_of(python_domain, mode, answer, style)
        prompt, _, _, _, info = env.step(text)
        assert key not in prompt
        assert info["verdict"]["status"] != "correct"


def test_how_a_wrong_program_ended_is_not_told(python_domain: PythonDomain) -> None:
    """Time and memory are an answer's to choose by what it meets: a bit of the hidden inputs for each attempt."""
    task = Task("t", "python", Mode.INDUCTION, "def f(x): return x", (Example("1", "1"), Example("2", "2")), 1)
    told = set()
    for answer in ("def f(x): return [0] * 10**11", "def f(x): return 5", "def f(x): raise ValueError", "f = 1 / 0"):
        env = python_env(python_domain, task, 2)
        env.reset(seed=0)
        told.add(env.step(answer)[0].partition("Attempt 1: ")[2].partition(":")[0])
    assert told == {"incorrect", "rejected"}, "and what was refused unrun is told with its reason"


def test_long_answers_are_cut() -> None:
    env = gym.make("AZR-Deduction-v0", attempts=64, **PRIME)
    env.reset(seed=0)
    for _ in range(63):
        observation = env.step("9" * 100_000)[0]
    assert len(observation) < 64 * 3 * prompts.MAX_TOLD


def test_paper_style_shows_each_answer_in_its_fence(python_domain: PythonDomain) -> None:
    task = Task("t", "python", Mode.DEDUCTION, "def f(x): return x", (Example("4", "4"),))
    past = [("[1]", Verdict(Status.INCORRECT, "another value")), ("", Verdict(Status.MALFORMED, "no frame"))]
    text = prompts.retry_prompt(python_domain, task, past)
    assert text.startswith(prompts.solver_prompt(python_domain, task))
    assert "Attempt 1: incorrect: another value\n```output\n[1]\n```\n\nAttempt 2: malformed: no frame\n\n" in text
