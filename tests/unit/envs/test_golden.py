"""What a policy meets in each id is pinned; see docs/versioning.md before you change ``golden.json``.

python tests/unit/envs/test_golden.py       pins anew
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

import azr_env
from azr_env import prompts
from azr_env.parsing import Style
from azr_env.types import Mode

PAIRS = 50
FILE = Path(__file__).with_name("golden.json")
IDS = sorted(name for name in gym.registry if name.startswith("AZR-"))
DOMAINS: dict[str, dict[str, Any]] = {"prime_inversion": {}, "python": {"induction_inputs": 4}}
CASES = [f"{env_id} {domain} {style}" for env_id in IDS for domain in DOMAINS for style in Style]


def pairs(case: str) -> list[tuple[str, float]]:
    """The first observations, each with the reward of a scripted action."""
    env_id, domain, style = case.split()
    settings = {"domain": domain, "style": style} | DOMAINS[domain]
    settings |= {"references": 2} if "Propose" in env_id or "SelfPlay" in env_id else {}
    env = gym.make(env_id, **settings)
    observation, info = env.reset(seed=20_250_503)
    found = []
    for number in range(PAIRS):
        action = scripted(env.unwrapped, info, number, Style(style))
        following, reward, terminated, truncated, info = env.step(action)
        assert not truncated, info
        found.append((observation, float(reward)))
        observation = following
        if terminated:
            observation, info = env.reset()
    env.close()
    return found


def scripted(env: Any, info: dict[str, Any], number: int, style: Style) -> str:
    """In turn a good action, a wrong one and an unreadable one."""
    mode = Mode(info["mode"])
    if number % 3 == 2:
        return "<think>I do not know."
    if info["role"] == "proposer":
        if env.domain.name == "prime_inversion":
            return prompts.proposal_of(env.domain, "89", [str(1 + number)], style)
        given = prompts.gives_program(env.domain, mode)
        inputs = [str(k * number) for k in range(4)] if mode is Mode.INDUCTION else [str(number)]
        program = f"def f(x):\n    y = x * {number}\n    return [y, x + {number}]"
        return prompts.proposal_of(env.domain, None if given else program, inputs, style, "" if not given else "Look.")
    wrong = {Mode.DEDUCTION: "4", Mode.ABDUCTION: "4", Mode.INDUCTION: "4"}[mode]
    if number % 3 == 1 or info["task_id"].startswith(("deduction", "abduction", "induction")):
        return prompts.completion_of(env.domain, mode, wrong, style)
    return prompts.completion_of(env.domain, mode, prompts.key(env.source.get(info["task_id"])), style)


def digest(case: str) -> str:
    return hashlib.sha256(json.dumps(pairs(case)).encode()).hexdigest()[:32]


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str) -> None:
    if " python " in case and sys.version_info[:2] != (3, 11):
        pytest.skip("pinned on CPython 3.11: see docs/versioning.md")
    pinned = json.loads(FILE.read_text(encoding="utf-8"))
    assert digest(case) == pinned[case], "what a policy meets has changed: read docs/versioning.md"


def test_every_case_is_pinned_and_tells_good_from_bad() -> None:
    assert set(json.loads(FILE.read_text(encoding="utf-8"))) == set(CASES)
    for env_id in IDS:
        rewards = {reward for _, reward in pairs(f"{env_id} prime_inversion compact")}
        assert len(rewards) > 2, (env_id, rewards)
    assert azr_env.__version__


if __name__ == "__main__":
    FILE.write_text(json.dumps({case: digest(case) for case in CASES}, indent=1) + "\n", encoding="utf-8")
