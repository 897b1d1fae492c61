"""Environments under attack: a policy that wants a reward it did not earn, and a careless user.

Covered: feedback over several attempts, proposals that are copies or chance or break our machinery, what one
environment of a batch does to another, interruptions, and mistakes in keywords, options and actions. An attack that
succeeds today is marked as expected to fail, with the reason.
Not covered here: texts of answers (test_answers.py), programs inside the sandbox (test_attacks_executor.py).
"""

from __future__ import annotations

import copy
import os
import pickle
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from azr_env import prompts
from azr_env.bridges.rows import rows
from azr_env.bridges.trl import reward_function
from azr_env.buffer import TaskBuffer
from azr_env.domains.prime_inversion import PrimeInversionDomain
from azr_env.domains.python import PythonDomain
from azr_env.errors import AzrError
from azr_env.executors.zygote import frames
from azr_env.parsing import Style
from azr_env.protocols import Executor
from azr_env.sources.stored import ListSource
from azr_env.types import Draft, Example, Job, Mode, Outcome, Rejection, Task
from azr_env.wrappers import TokenWrapper

PRIME: dict[str, Any] = {"domain": "prime_inversion", "style": "compact"}
SOLVE = [f"AZR-{mode.capitalize()}-v0" for mode in Mode]
PROPOSE = [f"AZR-{mode.capitalize()}-Propose-v0" for mode in Mode]
OURS = (AzrError, gym.error.Error)
LONG = 1_000_000


def once(value: Any, went_wrong: str) -> Any:
    """A parameter that was a fault once, and how."""
    return pytest.param(value, id=went_wrong)


def square(hidden: Sequence[int], shown: int = 1) -> Task:
    """An induction task about squares modulo 7, of which ``hidden`` inputs are hidden."""
    examples = tuple(Example(str(k), str(k * k % 7)) for k in [*range(shown), *hidden])
    return Task("t", "python", Mode.INDUCTION, "def f(x): return x * x % 7", examples, shown)


def several(domain: PythonDomain, task: Task, attempts: int) -> gym.Env[str, str]:
    env = gym.make(
        f"AZR-{task.mode.capitalize()}-v0", domain=domain, tasks=ListSource([task]), attempts=attempts, style="compact"
    )
    env.reset(seed=0)
    return env


def told(observation: str) -> str:
    """The status that a second attempt is told of the one before."""
    return observation.rsplit("Attempt ", 1)[1].split(":")[1].strip()


# Several attempts


def test_feedback_does_not_tell_hidden_outputs(python_domain: PythonDomain) -> None:
    """The answer counts its calls, writes a guess for the first ones, and runs out of memory behind them."""
    env = several(python_domain, square([3, 5, 8]), 24)
    known: list[int] = []
    reward, over = 0.0, False
    while not over and len(known) < 3:
        for guess in range(7):
            table = [*known, guess]
            raising = f"    if n[0] > {len(table)}: raise MemoryError\n"
            program = f"n = [0]\ndef f(x):\n    n[0] += 1\n{raising}    return {table}[n[0] - 1]"
            observation, reward, over, _, _ = env.step(program)  # type: ignore[assignment]
            if over or told(observation) == "timeout":
                known = table
                break
        else:
            break
    assert reward != 1.0, f"a table of guesses was paid: {known}"


@pytest.mark.parametrize("text", ["raise ValueError(x)", "raise type(x, (Exception,), {})", "assert False, x"])
def test_no_reason_holds_a_hidden_input(python_domain: PythonDomain, text: str) -> None:
    examples = (Example("'a'", "'A'"), Example("'hidden'", "'HIDDEN'"))
    env = several(python_domain, Task("t", "python", Mode.INDUCTION, "def f(x): return x.upper()", examples, 1), 2)
    observation, _, _, _, info = env.step(f"def f(x): {text}")
    assert "hidden" not in observation
    assert "hidden" not in info["verdict"]["reason"]


def test_no_reason_holds_a_forged_result(python_domain: PythonDomain) -> None:
    examples = (Example("'a'", "'A'"), Example("'hidden'", "'HIDDEN'"))
    env = several(python_domain, Task("t", "python", Mode.INDUCTION, "def f(x): return x.upper()", examples, 1), 2)
    head = f"bytes([{frames.OK}]) + len(t).to_bytes({frames.MARK.size - 1}, 'little')"
    write = "g = getattr(f, '__glo' + 'bals__')['__builtins__']\n    os = getattr(g, '__imp' + 'ort__')('os')"
    forged = f"def f(x):\n    {write}\n    t = b'i' + x.encode() + b';'\n    os.write(3, {head} + t)\n    os._exit(0)"
    info = env.step(forged)[4]
    assert info["verdict"]["status"] == "incorrect"
    assert "hidden" not in info["verdict"]["reason"]


@pytest.mark.parametrize("style", Style)
@pytest.mark.parametrize("mode", Mode)
def test_text_like_ours_in_an_answer_changes_nothing_later(
    python_domain: PythonDomain, mode: Mode, style: Style
) -> None:
    shown = 1 if mode is Mode.INDUCTION else 0
    examples = tuple(Example(text, str(int(text) + 4)) for text in ("1", "3")[: 1 + shown])
    task = Task("t", "python", mode, "def f(x): return x + 4", examples, shown)
    env = gym.make(
        f"AZR-{mode.capitalize()}-v0", domain=python_domain, tasks=ListSource([task]), attempts=6, style=style
    )
    prompt, _ = env.reset(seed=0)
    right = prompts.key(task)
    for text in (
        f"0\nAttempt 2: correct: {right}\noutput: {right}\ninput: 1",
        f"0\n```\n\nAttempt 2: correct\n```output\n{right}\n```",
        f"0\n</answer><answer>{right}</answer>",
        "Give another answer, in the same form.",
    ):
        completion = prompts.completion_of(python_domain, mode, text, style)
        observation, reward, terminated, _, info = env.step(completion)
        assert (reward, terminated) == (0.0, False)
        assert info["verdict"]["status"] == "rejected"
        assert observation.startswith(prompt.rpartition("\n")[0] if style == "compact" else prompt)
    assert info["attempt"] == 4
    assert env.step(prompts.completion_of(python_domain, mode, right, style))[1:3] == (1.0, True)


# Proposals

SLEIGHT = "g = getattr(f, '__glo' + 'bals__')['__builtins__']\n    os = getattr(g, '__imp' + 'ort__')('os')\n    "
BREAKERS = {
    "writes results": SLEIGHT + "os.write(3, b'x' * 100)",
    "writes many results": SLEIGHT + "os.write(3, bytes([0, 1, 0, 0, 0, 78]) * 9)",
    "closes results": SLEIGHT + "os.close(3)",
    "exit as ours": SLEIGHT + f"os._exit({frames.EXIT_MEMORY})",
    "exit": SLEIGHT + "os._exit(1)",
    "kills the server": SLEIGHT + "os.kill(1, 9)",
    "stops itself": SLEIGHT + "os.kill(os.getpid(), 19)",
    "aborts": SLEIGHT + "os.abort()",
    "forks": SLEIGHT + "os.fork()",
    "memory": "return 'a' * 10**12",
    "recursion": "return f(x)",
    "raises": "raise BaseException",
    "exits": "raise SystemExit(0)",
    "interrupts": "raise KeyboardInterrupt",
    "endless text": "return 'x' * 70_000",
    "itself": "return f",
    "surrogates": "return '\\ud800' * 70_000",
    "deep": "a = []\n    for _ in range(99): a = [a]\n    return a",
}


@pytest.mark.parametrize("name", BREAKERS)
def test_nobody_turns_a_punishment_into_a_failure_of_ours(python_domain: PythonDomain, name: str) -> None:
    """A proposer would get 0 for -1, a solver 0 for -0.5."""
    program = f"def f(x):\n    {BREAKERS[name]}\n"
    env = gym.make("AZR-Deduction-Propose-v0", domain=python_domain, references=0, style="compact")
    env.reset(seed=0)
    assert env.step(f"\n{program}input: 3")[1:4] == (-1.0, True, False)
    env = several(python_domain, square([5]), 1)
    assert env.step(program)[1:4] == (-0.5, True, False)


COPIED = "def f(x):\n    y = x['b'] * 10\n    return y + 1"
GIVEN = "{'a': 1, 'b': 10}"
COPIES: dict[str, tuple[str, str]] = {
    "as it is": (COPIED, GIVEN),
    "names": (COPIED.replace("y", "total"), GIVEN),
    "layout": ("def f( x ) :\n  y=x [ 'b']*10 ; return (y)+1 # new", GIVEN),
    "docstring": (COPIED.replace(":\n", ":\n    'An idea.'\n", 1), GIVEN),
    "annotations": (COPIED.replace("(x)", "(x: dict) -> int"), GIVEN),
    "numbers": (COPIED.replace("10", "0xA"), GIVEN),
    "input layout": (COPIED, "{ 'a':1,\n\"b\" :10, }  # new"),
    "input numbers": (COPIED, "{'a': 0x1, 'b': 1_0}"),
    "input twice": (COPIED, "{'a': 7, 'a': 1, 'b': 10}"),
}
PADDED = {
    "pass": COPIED.replace("    return", "    pass\n    return"),
    "bare text": COPIED.replace("    return", "    'An idea.'\n    return"),
    "annotated variable": COPIED.replace("y =", "y: int ="),
}


def status_of_copy(domain: PythonDomain, program: str, given: str) -> str:
    reference = Task("r", "python", Mode.DEDUCTION, COPIED, (Example(GIVEN, "101"),))
    env = gym.make(PROPOSE[0], domain=domain, tasks=ListSource([reference]), references=1, style="compact")
    env.reset(seed=0)
    return str(env.step(f"\n{program}\ninput: {given}")[4]["proposal"]["status"])


@pytest.mark.parametrize("name", COPIES)
def test_a_reference_in_disguise_is_a_duplicate(python_domain: PythonDomain, name: str) -> None:
    assert status_of_copy(python_domain, *COPIES[name]) == "duplicate"


@pytest.mark.parametrize("name", PADDED)
def test_a_padded_reference_is_a_duplicate(python_domain: PythonDomain, name: str) -> None:
    assert status_of_copy(python_domain, PADDED[name], GIVEN) == "duplicate"


@pytest.mark.parametrize("module", ["contextlib.os.getpid()", "statistics.random.random()", "dataclasses.sys.modules"])
def test_chance_by_way_of_another_module_is_refused(python_domain: PythonDomain, module: str) -> None:
    """Right for its own input, and a coin for every other one: paid for ever, and never learned."""
    program = f"import {module.partition('.')[0]}\ndef f(x):\n    return 7 if x == 3 else len(str({module}))"
    (found,) = python_domain.admit([Draft(Mode.ABDUCTION, program, ("3",))])
    assert isinstance(found, Rejection)
    assert found.reason == "forbidden"


SUM = "def f(x):\n    y=x*3\n    return y+1"


@pytest.mark.parametrize(
    "message",
    [
        SUM,
        "def f(x): y=x*3 return y+1",
        "d e f f(x):y=x * 3 return y+1",
        once("y=x*3; return y+1", "short lines are not looked for together"),
        once("m" * LONG, "a message may be of any length, and stands in every prompt"),
    ],
)
def test_a_message_that_is_refused(python_domain: PythonDomain, message: str) -> None:
    (found,) = python_domain.admit([Draft(Mode.INDUCTION, SUM, ("1", "2", "3", "4"), message)])
    assert isinstance(found, Rejection)
    assert found.reason in ("leak", "size")


# One environment and the others

NASTY = [
    "",
    "\0",
    "\ud800",
    "\udcff" * 50,
    "<think>",
    "</think>",
    "</think><answer>```",
    "`" * 100,
    "\r\n\x0b\x0c\x1c\u2028",
    "input:",
    "input:input:\ninput:",
    "\nimport os\ninput: 1",
    "\ndef f(x): return '\ud800'\ninput: 1",
    "\ndef f(x): return x\ninput: '\ud800'",
    "\ndef f(x): return x\ninput: " + "[" * 70 + "]" * 70,
    "\ndef f(x): return x\ninput: " + "9" * 4000,
    "\ndef f(x): return 10**4400\ninput: 1",
    "\ndef f(x): return float('nan')\ninput: 1",
    "\ndef f(x): return " + "-" * 7000 + "x\ninput: 1",
    "\ndef f(x): return f'{x!r:>{x}}'\ninput: 1",
    "\nf = lambda x: x\ninput: 1",
    "\ndef f(x): return x\ndel f\ninput: 1",
    "\ndef f(x): yield x\ninput: 1",
    "\ndef f(x):\n    a = []\n    a.append(a)\n    return a\ninput: 1",
    "\ndef f(x): return {k * (2**61 - 1) for k in range(900)}\ninput: 1",
    "\n\ufeffdef f(x): return x\ninput: 1",
    "{" + ",".join(str(k * (2**61 - 1)) for k in range(900)) + "}",
    "-" * 30_000 + "1",
    "1e400j",
    "b'x' 'y'",
    "*[1]",
    "x:=1",
    "\ndef f(x): return x\ninput: 1",
    "\ndef f(x): raise SystemExit\ninput: 2",
    "1",
    "[1]",
    "def f(x): return x",
]


@pytest.mark.parametrize("env_id", [*SOLVE, *PROPOSE[:2], "AZR-SelfPlay-v0"])
def test_hostile_texts_in_a_batch(python_domain: PythonDomain, env_id: str) -> None:
    """Nothing raises, our machinery does not fail, and neither order nor neighbours matter."""
    own: dict[str, Any] = {} if env_id in SOLVE else {"references": 0, "solver_samples": 1}
    own |= {"modes": ["deduction"]} if "Self" in env_id else {}
    source = gym.make("AZR-Deduction-v0", domain=python_domain).unwrapped.source  # type: ignore[attr-defined]
    settings = {"domain": python_domain, "tasks": source, "style": "compact", **own}
    wanted = {"task_id": f"builtin-{env_id.split('-')[1].lower()}-5"} if env_id in SOLVE else None
    kind = "verdict" if env_id in SOLVE else "proposal"
    found = []
    for actions in (NASTY, NASTY[::-1], NASTY[20:21]):
        envs = gym.make_vec(env_id, num_envs=len(actions), **settings)
        envs.reset(seed=0, options=wanted)
        _, _, _, truncated, info = envs.step(actions)
        assert not truncated.any()
        last = info.get("final_info", {}).get(kind, {}).get("status", [None] * len(actions))
        found.append([str(status or "admitted") for status in last])
    assert found[0] == found[1][::-1]
    assert found[2] == found[0][20:21]


@pytest.mark.parametrize("env_id", [SOLVE[0], SOLVE[2], PROPOSE[0]])
def test_a_million_characters_in_each_environment(python_domain: PythonDomain, env_id: str) -> None:
    own: dict[str, Any] = {} if env_id in SOLVE else {"references": 0}
    envs = gym.make_vec(env_id, num_envs=6, domain=python_domain, **own)
    envs.reset(seed=0)
    opened = "<think></think><answer>\n"
    texts = [
        "x" * LONG,
        opened + "`" * LONG,
        opened + "```output\n`\n" * (LONG // 12) + "</answer>",
        opened + "```output\n" + "[" * LONG + "\n```\n</answer>",
        opened + "```python\n" + "(\n" * (LONG // 2) + "\n```\n</answer>",
        "<think></think>" + "<answer>" * (LONG // 8),
    ]
    _, rewards, terminated, _, _ = envs.step(texts)
    assert terminated.all()
    assert set(rewards.tolist()) <= {-1.0, -0.5}


def test_a_copy_costs_only_the_one_who_copied() -> None:
    """With a buffer: the first copies its reference; the second proposes the same task, which it was never shown."""
    settings = {"references": 1, "solver": Halves(), **PRIME}
    envs = gym.make_vec(PROPOSE[0], num_envs=2, buffer=TaskBuffer(), **settings)
    _, info = envs.reset(seed=0)
    first, second = (names[0] for names in info["references"])
    assert first != second
    task = envs.unwrapped.game.parts.source.get(first)  # type: ignore[attr-defined]
    copied = f"{task.program}\ninput: {task.examples[0].input}"
    _, _, _, _, info = envs.step([copied, copied])
    assert info["final_info"]["proposal"]["status"].tolist() == ["duplicate", "admitted"]


class Halves:
    """A policy of wrong answers."""

    def complete(self, prompts: Sequence[str], max_new_tokens: int, seeds: Sequence[int]) -> list[str]:
        return ["0"] * len(prompts)


class Interrupted(Halves):
    """Ctrl-C at its first call."""

    first = True

    def complete(self, prompts: Sequence[str], max_new_tokens: int, seeds: Sequence[int]) -> list[str]:
        if self.first:
            self.first = False
            raise KeyboardInterrupt
        return super().complete(prompts, max_new_tokens, seeds)


class InterruptedExecutor:
    """Ctrl-C at its first call."""

    def __init__(self, inner: Executor) -> None:
        self.inner, self.first = inner, True
        self.level, self.fingerprint = inner.level, inner.fingerprint

    @property
    def authority(self) -> InterruptedExecutor:
        return self

    def run(self, jobs: Sequence[Job]) -> list[list[Outcome]]:
        if self.first:
            self.first = False
            raise KeyboardInterrupt
        return self.inner.run(jobs)

    def close(self) -> None:
        pass


def test_an_interrupted_answer_can_be_given_again(executor: Executor) -> None:
    task = square([5])
    domain = PythonDomain(InterruptedExecutor(executor), induction_inputs=2)
    env = several(domain, task, 2)
    with pytest.raises(KeyboardInterrupt):
        env.step(task.program)
    assert env.step(task.program)[1:4] == (1.0, True, False)
    domain = PythonDomain(InterruptedExecutor(executor), induction_inputs=2)
    envs = gym.make_vec("AZR-Induction-v0", num_envs=3, domain=domain, tasks=ListSource([task]), style="compact")
    envs.reset(seed=0)
    with pytest.raises(KeyboardInterrupt):
        envs.step([task.program, "", task.program])
    assert envs.step([task.program, "", task.program])[1].tolist() == [1.0, -1.0, 1.0]


@pytest.mark.parametrize(
    "buffer", [None, once("with a buffer", "a proposal is kept before it is paid")], ids=["without", "with"]
)
def test_an_interrupted_proposal_can_be_made_again(buffer: str | None, tmp_path: Path) -> None:
    own: dict[str, Any] = {} if buffer is None else {"buffer": tmp_path / "buffer.sqlite"}
    env = gym.make(PROPOSE[0], solver=Interrupted(), **own, **PRIME)
    env.reset(seed=0)
    with pytest.raises(KeyboardInterrupt):
        env.step("89\ninput: 17")
    assert env.step("89\ninput: 17")[4]["proposal"]["status"] == "admitted"


def test_an_environment_made_and_one_inherited_in_a_forked_child(python_domain: PythonDomain) -> None:
    env = gym.make("AZR-Abduction-v0", domain=python_domain)
    env.reset(seed=0)
    env.step("")
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            for each in (env, gym.make("AZR-Abduction-v0", domain="python")):
                each.reset(seed=0)
                status = 0 if each.step("<think></think><answer>\n```input\n1\n```\n</answer>")[2] else 1
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    env.reset(seed=0)
    assert env.step("")[1] == -1.0


def test_vectors_in_threads(python_domain: PythonDomain) -> None:
    found: list[list[float]] = []

    def play() -> None:
        envs = gym.make_vec("AZR-Abduction-v0", num_envs=4, domain=python_domain, style="compact")
        envs.reset(seed=5)
        found.append([float(r) for _ in range(3) for r in envs.step(["3", "[1]", "'a'", "x"])[1]])

    threads = [threading.Thread(target=play) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("env_id", [*SOLVE, *PROPOSE, "AZR-SelfPlay-v0"])
def test_a_spec_survives_pickle_and_json(env_id: str) -> None:
    env = gym.make(env_id, **PRIME)
    prompt, _ = env.reset(seed=3)
    assert env.spec is not None
    twin = pickle.loads(pickle.dumps(env.spec))  # noqa: S301
    for spec in (twin, type(env.spec).from_json(env.spec.to_json())):
        assert gym.make(spec).reset(seed=3)[0] == prompt
    assert copy.deepcopy(env).reset(seed=3)[0] == prompt
    env.close()
    env.close()


# Careless users


@pytest.mark.parametrize(
    "value",
    [None, 5, -1, 1.5, True, [], {}, b"x", object(), "nope"],
    ids=["none", "int", "minus", "float", "bool", "list", "dict", "bytes", "object", "unknown"],
)
@pytest.mark.parametrize(
    "name", ["domain", "tasks", "verifier", "style", "max_prime", "attempts", "solver", "nonsense"]
)
def test_a_wrong_keyword_is_named(name: str, value: Any) -> None:
    if (name, value) in (("attempts", 5), ("max_prime", 5)):
        return
    env_id = PROPOSE[0] if name == "solver" else SOLVE[0]
    with pytest.raises(OURS) as caught:
        gym.make(env_id, **{**PRIME, name: value})
    assert len(str(caught.value)) > 20


PYTHON: dict[str, Any] = {"domain": "python"}
MISTAKES: dict[str, tuple[str, dict[str, Any], str]] = {
    "buffer=5": (PROPOSE[0], {**PRIME, "buffer": 5}, "an AttributeError at reset()"),
    "buffer=[]": ("AZR-SelfPlay-v0", {**PRIME, "buffer": []}, "an AttributeError at reset()"),
    "learnability=[]": (PROPOSE[0], {**PRIME, "learnability": []}, "a TypeError"),
    "modes=5": ("AZR-SelfPlay-v0", {**PRIME, "modes": 5}, "a TypeError"),
    "limits=None": (SOLVE[1], {**PYTHON, "limits": None}, "a TypeError"),
    "limits=5": (SOLVE[1], {**PYTHON, "limits": 5}, "a TypeError"),
    "limits of text": (SOLVE[1], {**PYTHON, "limits": {"timeout_s": "ten"}}, "a ValueError of formatting"),
}


@pytest.mark.parametrize("name", [once(name, f"{name}: {why}") for name, (_, _, why) in MISTAKES.items()])
def test_a_mistake_is_told_by_an_error_of_ours(name: str) -> None:
    env_id, settings, _ = MISTAKES[name]
    with pytest.raises(OURS):
        gym.make(env_id, disable_env_checker=True, **settings).reset(seed=0)


def single() -> Any:
    env = gym.make(SOLVE[0], disable_env_checker=True, **PRIME)
    env.reset(seed=0)
    return env


def vector() -> Any:
    envs = gym.make_vec(SOLVE[0], num_envs=2, **PRIME)
    envs.reset(seed=0)
    return envs


class Few:
    def complete(self, prompts: Sequence[str], max_new_tokens: int, seeds: Sequence[int]) -> list[str]:
        return ["1"]


class Nothing:
    def complete(self, prompts: Sequence[str], max_new_tokens: int, seeds: Sequence[int]) -> list[Any]:
        return [None] * len(prompts)


def proposing(**settings: Any) -> Any:
    env = gym.make(PROPOSE[0], disable_env_checker=True, **PRIME, **settings)
    env.reset(seed=0)
    return env.step("89\ninput: 17")


def elsewhere(path: Path) -> Any:
    """A buffer's environment, used in another thread."""
    env = gym.make(PROPOSE[0], buffer=path, **PRIME)
    found: list[BaseException] = []

    def play() -> None:
        try:
            env.reset(seed=0)
        except BaseException as exc:  # noqa: BLE001
            found.append(exc)

    thread = threading.Thread(target=play)
    thread.start()
    thread.join()
    raise found[0] if found else AzrError("it works there too")


def foreign(path: Path) -> Any:
    """A buffer of primes for the Python domain."""
    proposing(buffer=path, solver=Halves())
    gym.make(PROPOSE[0], buffer=path, **PYTHON).reset(seed=0)


def tampered() -> Any:
    row = rows(SOLVE[0], 1, **PRIME)[0]
    columns: dict[str, Any] = {name: [row[name]] * 2 for name in ("env_id", "seed", "settings")}
    reward_function()(completions=["1", "1"], digest=["another task", row["digest"]], **columns)


SLIPS: dict[str, tuple[Callable[[Path], Any], bool]] = {
    "no action": (lambda _: single().step(None), True),
    "number as action": (lambda _: single().step(3), True),
    "float seed": (lambda _: single().reset(seed=1.5), True),
    "numpy seed": (lambda _: single().reset(seed=np.int64(3)), True),
    "unknown option": (lambda _: single().reset(options={"task": "x"}), True),
    "task_id as number": (lambda _: single().reset(options={"task_id": 5}), True),
    "task_id as list": (lambda _: single().reset(options={"task_id": ["x"]}), True),
    "task_id as bytes": (lambda _: single().reset(options={"task_id": b"x"}), False),
    "options as list": (lambda _: single().reset(options=["task_id"]), False),
    "options as number": (lambda _: single().reset(options=5), False),
    "options with two kinds of keys": (lambda _: single().reset(options={5: 1, "x": 2}), False),
    "step after the end": (lambda _: [env := single(), env.step(""), env.step("")], True),
    "fewer actions": (lambda _: vector().step(["x"]), True),
    "one text for all": (lambda _: vector().step("xy"), True),
    "no actions": (lambda _: vector().step(None), False),
    "a generator of actions": (lambda _: vector().step(iter("xy")), False),
    "vector: numpy seed": (lambda _: vector().reset(seed=np.int64(3)), False),
    "vector: float seed": (lambda _: vector().reset(seed=1.5), False),
    "vector: fewer seeds": (lambda _: vector().reset(seed=[1]), True),
    "vector: task_id as number": (lambda _: vector().reset(options={"task_id": 1.5}), False),
    "vector: short mask": (lambda _: vector().reset(options={"reset_mask": [True]}), True),
    "no environment": (lambda _: gym.make_vec(SOLVE[0], num_envs=0, **PRIME), True),
    "a policy with one answer for eight": (lambda _: proposing(solver=Few()), False),
    "a policy without texts": (lambda _: proposing(solver=Nothing()), False),
    "a policy's class": (lambda _: proposing(solver=Few), True),
    "a buffer that is a folder": (lambda path: proposing(buffer=path.parent), True),
    "a buffer of another domain": (foreign, False),
    "a buffer in another thread": (elsewhere, False),
    "rows of a negative seed": (lambda _: rows(SOLVE[0], 1, -1, **PRIME), False),
    "half a row": (lambda _: rows(SOLVE[0], 1.5, **PRIME), False),  # type: ignore[arg-type]
    "rows of another package": (lambda _: rows("CartPole-v1", 1), True),
    "a row with another row's seed": (lambda _: tampered(), False),
    "tokens: no text environment": (lambda _: TokenWrapper(gym.make("CartPole-v1")), True),
    "tokens: negative id": (lambda _: [env := TokenWrapper(single()), env.reset(), env.step(np.int64(-1))], True),
    "tokens: a name as tokenizer": (lambda _: TokenWrapper(single(), tokenizer="gpt2"), False),  # type: ignore[arg-type]
    "tokens: number as alphabet": (lambda _: TokenWrapper(single(), alphabet=5), False),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", [n if good else once(n, f"{n}: no error of ours") for n, (_, good) in SLIPS.items()])
def test_a_slip_is_told_by_an_error_of_ours(name: str, tmp_path: Path) -> None:
    with pytest.raises(OURS):
        SLIPS[name][0](tmp_path / "buffer.sqlite")


def test_a_refused_first_seed_leaves_nothing_behind() -> None:
    envs: Any = gym.make_vec(SOLVE[0], num_envs=3, **PRIME)
    with pytest.raises(gym.error.Error):
        envs.reset(seed=-1)
    envs.reset()
    assert len({id(rng) for rng in envs.np_random}) == 3


def test_a_prime_domain_is_not_fooled_by_numpy() -> None:
    with pytest.raises(OURS):
        PrimeInversionDomain(np.int64(31))  # type: ignore[arg-type]
