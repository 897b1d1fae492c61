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
VERIFIERS = '''
from azr_env.errors import SettingError
from azr_env.types import Status, Verdict
from azr_env.verifiers.relation import RelationVerifier

class Two:
    def __init__(self, domain, most):
        self.most = most

class Picky(RelationVerifier):
    def __init__(self, domain):
        raise SettingError(f"only python,\\n  not {domain.name}")

def seven(domain):
    return 7

class Tidy:
    """Refuses blanks on purpose, loses a verdict of every fourth batch, and takes the first example unasked."""

    def __init__(self, domain):
        self._inner = RelationVerifier(domain)

    def verify(self, answers):
        found = [self._one(task.examples[0], answer, verdict)
                 for (task, answer), verdict in zip(answers, self._inner.verify(answers))]
        return found[:-1] if len(answers) == 16 else found

    def _one(self, example, answer, verdict):
        return verdict if answer == answer.strip() else Verdict(Status.REJECTED, "blanks")
'''
CHECKS = """
from hypothesis import given, strategies as st

def test_drawn():
    @given(text=st.integers(), data=st.data())
    def check(text, data):
        data.draw(st.just("seen"), label="a word")
        raise ValueError("too\\nbad")
    check()

def test_flaky():
    seen = []
    @given(text=st.text())
    def check(text):
        seen.append(text)
        if len(seen) == 1:
            raise AssertionError("it was the first")
    check()

def test_in_words():
    @given(text=st.text())
    def check(text):
        if text:
            raise AssertionError("a sentence")
    check()

def test_bare():
    raise AssertionError
"""


@pytest.fixture
def plug_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed distribution with plug-ins of its own; gives the folder to run in."""
    site, work = tmp_path / "site", tmp_path / "work"
    work.mkdir()
    (site / "planted-1.0.dist-info").mkdir(parents=True)
    (site / "planted-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: planted\nVersion: 1.0\n")
    executors = "".join(f"{name.lower()} = planted_plug_ins:{name}\n" for name in ("Short", "broken", "Gone"))
    verifiers = "".join(f"{name.lower()} = planted_verifiers:{name}\n" for name in ("Two", "Picky", "seven", "Tidy"))
    points = f"[azr_env.executors]\n{executors}\n[azr_env.verifiers]\n{verifiers}"
    (site / "planted-1.0.dist-info" / "entry_points.txt").write_text(points)
    (site / "planted_plug_ins.py").write_text(ENVS + EXECUTORS)
    (site / "planted_verifiers.py").write_text(VERIFIERS)
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setenv("PYTEST_ADDOPTS", "--no-such-option")  # of the user's own tests: not for us
    return work


def azr(folder: Path, *args: str) -> tuple[int, str, str]:
    command = [str(Path(sys.executable).parent / "azr"), "check", *args]
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
        ("verifier", "--stricter"),
        ("domain", "--examples"),
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
        (["verifier", "relation", "--examples", "3"], "--examples=3"),
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


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["executor", "broken"], "the executor 'broken' cannot be made: OSError: no such device"),
        (["executor", "gone"], "module 'planted_plug_ins' has no attribute 'Gone'"),
        (["verifier", "two"], "the verifier 'two' cannot be made for the domain 'prime_inversion': TypeError: Two."),
        (["verifier", "picky"], "cannot be made for the domain 'prime_inversion': only python, not prime_inversion"),
        (["verifier", "seven"], "its factory gives 7, which is no object with a method verify(answers)"),
    ],
    ids=lambda each: each[1] if isinstance(each, list) else "",
)
def test_a_plug_in_that_cannot_be_made(plug_ins: Path, args: list[str], says: str) -> None:
    code, out, err = azr(plug_ins, *args, *(["--domain", "prime_inversion"] if args[0] == "verifier" else []))
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1


def test_a_verifier_that_is_stricter_on_purpose(plug_ins: Path) -> None:
    code, out, err = azr(plug_ins, "verifier", "tidy", "--domain", "prime_inversion", "--stricter", "--examples", "20")
    assert code == 1, out + err
    lines = out.splitlines()
    assert lines[0] == "verifier tidy (examples=20, domain='prime_inversion', stricter=True)"
    assert "ok      a changed key is judged anew" in lines
    (line,) = [line for line in lines if line.startswith("skipped every right answer counts: ")]
    assert line.endswith("`stricter` is set: this verifier may refuse answers of which the relation holds")
    (line,) = [line for line in lines if line.startswith("FAILED  a megabyte ends in time: ")]
    assert "FAILED  a megabyte ends in time: 15 verdicts for 16 answers: " in line
    (line,) = [line for line in lines if line.startswith("FAILED  nothing to check is no success: ")]
    assert line.endswith(
        "look whether there is an example before you take one, and where there is none give Status.ERROR"
    )
    assert sum(line.startswith("FAILED") for line in lines) == 2


def test_reasons_are_sentences(tmp_path: Path) -> None:
    file = tmp_path / "test_some.py"
    file.write_text(CHECKS)
    code = (
        "import json, pytest, sys; from azr_env.testing.reporting import Reporter; reporter = Reporter(id)\n"
        "pytest.main([sys.argv[1], '-p', 'no:terminal', '-p', 'no:cacheprovider'], plugins=[reporter])\n"
        "print(json.dumps({check.name: check.failures[0][1] for check in reporter.finished()}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, file], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True
    )
    reasons = json.loads(done.stdout)
    place = f"(raised at {file}:"
    assert reasons["test_in_words"] == "a sentence"
    assert reasons["test_bare"].startswith(f"AssertionError {place}")
    assert reasons["test_drawn"].startswith(f"ValueError: too bad {place}")
    assert reasons["test_drawn"].endswith("), where these were drawn: 0; 'seen'")
    assert reasons["test_flaky"] == "not every time, so something other than the text decides: it was the first"


def test_drawn_texts_are_the_same_on_each_run() -> None:
    code = (
        "from azr_env.testing import named; from hypothesis import settings; now = settings()\n"
        "print(now.derandomize, now.database, now.max_examples)"
    )
    env = {**os.environ, "AZR_CHECK": json.dumps({"examples": 17})}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["True", "None", "17"]


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
