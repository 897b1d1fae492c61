"""The examples that train or roll out with other people's libraries, each run whole; skipped where one is absent."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, *arguments: str, cwd: Path) -> str:
    """What an example prints; it has to succeed, which each decides for itself."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.skipif(find_spec("sb3_contrib") is None, reason="sb3-contrib is not installed")
def test_sb3_learns(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    printed = run("sb3_ppo.py", "--quick", "--plot", "curve.png", cwd=tmp_path)
    rates = re.findall(r"^(\w+) +before +(\S+)% +after +(\S+)% \[", printed, re.M)
    assert [name for name, _, _ in rates] == ["PPO", "MaskablePPO"]
    assert all(float(after) > 31 > float(before) for _, before, after in rates)
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
def test_one_file_ppo_learns(tmp_path: Path) -> None:
    printed = run("cleanrl_ppo.py", "--quick", cwd=tmp_path)
    before, after = re.findall(r"^before (\S+)% +after (\S+)% \[", printed, re.M)[0]
    assert float(after) > 31 > float(before)


@pytest.mark.skipif(find_spec("torchrl") is None, reason="TorchRL is not installed")
def test_torchrl_rolls_out(tmp_path: Path) -> None:
    printed = run("torchrl_rollout.py", "--steps", "4", cwd=tmp_path)
    assert re.findall(r"reward (\S+)$", printed, re.M) == ["1", "1", "-0.5", "1"]
