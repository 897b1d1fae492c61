"""The examples of the bridges, each run whole; skipped where the library is not installed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(*arguments: str | Path) -> str:
    """What an example prints on its standard output."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.skipif(find_spec("trl") is None, reason="TRL is not installed")
def test_trl_trains_on_rows() -> None:
    steps = re.findall(r"^step (\d): mean reward ([+-]\d\.\d+), spread (\d\.\d+)$", run(EXAMPLES / "trl_grpo.py"), re.M)
    assert [number for number, _, _ in steps] == ["1", "2", "3"]
    assert any(float(spread) > 0 for _, _, spread in steps)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("verifiers") is None, reason="verifiers is not installed")
def test_verifiers_own_command_line_finds_and_evaluates_us() -> None:
    means = re.findall(r"mean reward (\S+), due (\S+)$", run(EXAMPLES / "azr-verifiers" / "evaluate_stand_in.py"), re.M)
    assert len(means) == 5
    assert all(found == due for found, due in means)


BROKEN = """
from azr_env.types import Status, Verdict


class Broken:
    def __init__(self, domain):
        pass

    def verify(self, answers):
        return [Verdict(Status.ERROR, "the server died twice") for _ in answers]
"""


@pytest.mark.slow
@pytest.mark.skipif(find_spec("verifiers") is None, reason="verifiers is not installed")
def test_our_failure_fails_the_rollout_and_scores_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = tmp_path / "broken_plugin-0.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-plugin\nVersion: 0.1\n")
    (about / "entry_points.txt").write_text("[azr_env.verifiers]\nbroken = broken_plugin:Broken\n")
    (tmp_path / "broken_plugin.py").write_text(BROKEN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(EXAMPLES / "azr-verifiers")
    example = import_module("evaluate_stand_in")
    settings = {"domain": "prime_inversion", "style": "compact", "verifier": "broken"}
    with example.server(lambda messages: "5") as url:
        traces = example.evaluate(tmp_path / "out", "AZR-Deduction-v0", 2, 0, url, **settings)
    assert [trace["ok"] for trace in traces] == [False, False]
    assert all("died twice" in json.dumps(trace["errors"]) for trace in traces)
    assert not any((trace["rewards"].get("reward") or {}).get("score") for trace in traces)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("openenv") is None, reason="openenv is not installed")
def test_openenv_plays_each_mode_against_a_server_of_its_own() -> None:
    lines = run(EXAMPLES / "openenv" / "play.py").splitlines()
    assert len(lines) == 6
    assert all(line.endswith("correct, reward 1.0, done True") for line in lines[::2])
    assert all(line.endswith("malformed, reward -1.0, done True") for line in lines[1::2])
