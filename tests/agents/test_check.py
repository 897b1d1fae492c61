"""``azr check``: the kit on a named plug-in, its report, its exit codes, and what it says to mistakes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from azr_agents import cli

ENVS = '''
import gymnasium as gym
from azr_env.envs.spaces import AnyText

class Guess(gym.Env):
    """Seven is right. Rewards what holds a seven, and raises on an empty action."""

    metadata = {"render_modes": []}
    reward_range = (0.0, 1.0)
    observation_space = action_space = AnyText(1 << 21)

    def __init__(self, render_mode=None):
        self.open = False

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.open = True
        return f"guess {self.np_random.integers(1000)}", {}

    def step(self, action):
        if not self.open:
            raise gym.error.ResetNeeded("reset first")
        self.open = False
        return "", float(action[0] == "7"), True, False, {}

gym.register("Guess-v0", entry_point="planted_plug_ins:Guess")
'''
EXECUTORS = '''
from azr_env.executors.zygote import ZygoteExecutor

class Short:
    """Forgets the last of many outcomes."""

    level, fingerprint = "zygote", "short"
    authority = property(lambda self: self)

    def __init__(self):
        self._inner = ZygoteExecutor(workers=1)

    def run(self, jobs):
        return [outcomes[:30] for outcomes in self._inner.run(jobs)]

    def close(self):
        self._inner.close()

def broken():
    raise OSError("no such device")
'''


@pytest.fixture
def plug_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed distribution with plug-ins of its own; gives the folder to run in."""
    site, work = tmp_path / "site", tmp_path / "work"
    work.mkdir()
    (site / "planted-1.0.dist-info").mkdir(parents=True)
    (site / "planted-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: planted\nVersion: 1.0\n")
    points = "[azr_env.executors]\nshort = planted_plug_ins:Short\nbroken = planted_plug_ins:broken\n"
    (site / "planted-1.0.dist-info" / "entry_points.txt").write_text(points + "gone = planted_plug_ins:Gone\n")
    (site / "planted_plug_ins.py").write_text(ENVS + EXECUTORS)
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setenv("PYTEST_ADDOPTS", "--no-such-option")  # of the user's own tests: not for us
    return work


def azr(folder: Path, *args: str) -> tuple[int, str, str]:
    command = [Path(sys.executable).parent / "azr", "check", *args]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert list(folder.iterdir()) == [], "nothing is left behind"
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    assert "azr check verifier|domain|executor|env NAME" in capsys.readouterr().out
    assert cli.main(["check", "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: azr check")
    assert "Exit code: 0 nothing failed" in shown
    for kind, words in (
        ("verifier", "--domain"),
        ("env", "--kwarg"),
        ("executor", "--uncontained"),
        ("domain", "--json"),
    ):
        assert cli.main(["check", kind, "--help"]) == 0
        assert words in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["verifier", "relatoin"], "Did you mean 'relation'?"),
        (["verifier", "relation", "--domain", "pythn"], "Did you mean 'python'?"),
        (["domain", "prime"], "no domain is named 'prime'"),
        (["executor", "zygot"], "Did you mean 'zygote'?"),
        (["env", "AZR-Deducton-v0"], "Did you mean 'AZR-Deduction-v0'?"),
        (["env", "AZR-Deduction-v0", "--kwarg", "domain=pythn"], "Did you mean 'python'?"),
        (["env", "AZR-Deduction-v0", "--kwarg", "domein=python"], "domein"),
        (["env", "AZR-Deduction-v0", "--kwarg", "domain"], "not of the form NAME=VALUE"),
        (["env", "AZR-Deduction-v0", "--kwarg", "attempts=0"], "attempts=0"),
        (["env", "no_such_module:X-v0"], "the module 'no_such_module' cannot be made: ModuleNotFoundError"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_mistakes_are_named_in_one_line(args: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", *args]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("azr: ")
    assert err.count("\n") == 1
    assert says in err


@pytest.mark.parametrize("args", [[], ["thing", "x"], ["verifier"], ["env", "X", "--colour"]])
def test_wrong_usage(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", *args]) == 2
    assert capsys.readouterr().err.startswith("usage: azr check")


@pytest.mark.parametrize("module", ["pytest", "hypothesis"])
def test_a_missing_extra_says_how_to_install(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    assert cli.main(["check", "verifier", "relation"]) == 2
    assert f"checking needs {module}, the extra `test`" in capsys.readouterr().err


def test_the_command_needs_no_pytest_to_begin() -> None:
    code = "import sys; from azr_env.testing import check; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_a_sound_environment_as_json(tmp_path: Path) -> None:
    code, out, err = azr(tmp_path, "env", "AZR-Deduction-v0", "--kwarg", "domain=prime_inversion", "--json")
    assert code == 0, out + err
    report = json.loads(out)
    assert report["kwargs"] == {"domain": "prime_inversion"}
    assert (report["failed"], report["skipped"]) == (0, 0)
    assert {"check": "test_a_seed_is_honoured", "status": "ok", "cases": 1, "failures": [], "skipped": []} in report[
        "checks"
    ]


def test_a_broken_environment(plug_ins: Path) -> None:
    code, out, err = azr(plug_ins, "env", "planted_plug_ins:Guess-v0")
    assert code == 1, out + err
    lines = out.splitlines()
    assert lines[0] == "env planted_plug_ins:Guess-v0"
    (line,) = [line for line in lines if line.startswith("FAILED  any string is a legal action: ")]
    assert "step('') raised IndexError" in line
    assert "skipped a right action earns the most: no right action is known: override right_action()" in lines
    assert "ok      a step needs an episode" in lines
    assert lines[-1].startswith("18 checks, 18 cases: ")


def test_a_broken_executor(plug_ins: Path) -> None:
    code, out, err = azr(plug_ins, "executor", "short", "--uncontained", "it is a test")
    assert code == 1, out + err
    lines = out.splitlines()
    assert "FAILED  one outcome per call in order: a job of 40 calls has 30 outcomes: one per call is due" in lines
    (line,) = [line for line in lines if line.startswith("skipped attack is contained (")]
    assert line.endswith(" cases): it is a test")
    assert "ok      endings are told apart (16 cases)" in lines
    assert sum(line.startswith("FAILED") for line in lines) == 1


@pytest.mark.parametrize(("name", "says"), [("broken", "OSError: no such device"), ("gone", "AttributeError: ")])
def test_a_plug_in_that_cannot_be_made(plug_ins: Path, name: str, says: str) -> None:
    code, out, err = azr(plug_ins, "executor", name)
    assert (code, out) == (2, "")
    assert f"the executor {name!r} cannot be made: {says}" in err


def test_the_isolation_layers_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the executor that is named when none is; its checks are `tests/conformance`'s."""
    from azr_env.testing import check

    monkeypatch.setattr(check, "_run", lambda settings, layers, out, as_json: 0)
    with open(tmp_path / "out", "w+") as out:
        assert check.run(["executor"], out) == 0
        out.seek(0)
        first, second, *rest = out.read().splitlines()
    assert (first, second) == ("executor zygote", "isolation layers in force:")
    assert {line.split("  ")[1] for line in rest} >= {"user namespace", "landlock", "seccomp", "pid namespace"}
    assert os.environ.get(check.SETTINGS) is None
