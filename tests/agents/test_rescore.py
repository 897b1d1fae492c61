"""``azr rescore``: old verdicts against new ones, tasks that are gone, torn records, and no model text run here."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from azr_agents import cli, rescore
from azr_agents.run import Run
from azr_env import registry
from azr_env.buffer import TaskBuffer
from azr_env.domains.prime_inversion import PrimeInversionDomain
from azr_env.prompts import key
from azr_env.protocols import Domain
from azr_env.types import Draft, Mode, Status, Task, Verdict

DOMAIN = PrimeInversionDomain(13)


class Lenient:
    """A verifier that takes every answer."""

    def verify(self, answers: Sequence[tuple[Task, str]]) -> list[Verdict]:
        return [Verdict(Status.CORRECT)] * len(answers)


def tasks() -> list[Task]:
    drafts = [Draft(mode, "7", (f"{x}",)) for mode in (Mode.DEDUCTION, Mode.ABDUCTION) for x in (2, 3, 4)]
    return [task for task in DOMAIN.admit(drafts) if isinstance(task, Task)]


def row(task: Task, completion: str, status: str, **changes: Any) -> dict[str, Any]:
    record = {"step": 0, "row": 0, "role": "solver", "mode": str(task.mode), "task_id": task.id}
    return {**record, "completion": completion, "status": status, **changes}


def right(task: Task) -> dict[str, Any]:
    return row(task, f" {key(task)}", "correct")


Made = Callable[..., Path]
Refused = Callable[..., str]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Writes a run directory with these rollouts, and a buffer that has the tasks."""

    def make(rows: list[dict[str, Any]], end: str = "", kept: Sequence[Task] | None = None) -> Path:
        (tmp_path / "recipe").write_text("domain: python\nstyle: compact\n")
        argv = ["--domain", "prime_inversion", "--domain-options=max_prime=13", "--bf16"]
        run = Run.begin(tmp_path / "run", argv, tmp_path / "recipe")
        run.append("rollouts.jsonl", rows)
        with open(run.path / "rollouts.jsonl", "a") as file:
            file.write(end)
        buffer = TaskBuffer(run.path / "buffer.sqlite")
        with buffer.step(0):
            buffer.add([(task, task.id) for task in tasks() if kept is None or task in kept], np.random.default_rng(0))
        buffer.close()
        return run.path

    return make


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """Runs a command that must be refused with one line, and gives the line."""

    def run(*args: object) -> str:
        code = cli.main(["rescore", *map(str, args)])
        out, err = capsys.readouterr()
        assert (code, out, err.count("\n")) == (2, "", 1), err
        return err

    return run


def found(path: Path, capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, Any]:
    capsys.readouterr()
    assert cli.main(["rescore", str(path), "--json", *args]) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_the_same_verifier_says_the_same(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    one, *_, other = tasks()
    rows = [right(one), row(one, "1", "incorrect"), row(other, "", "malformed"), right(other)]
    rows.insert(1, {"step": 0, "row": 9, "role": "proposer", "task_id": None, "completion": "x", "status": "malformed"})
    data = found(made(rows), capsys)
    assert data["table"] == {"correct": {"correct": 2}, "incorrect": {"incorrect": 1}, "malformed": {"malformed": 1}}
    assert (data["graded"], data["same"], data["not_found"], data["torn"], data["changed"]) == (4, 4, 0, False, [])
    assert (data["verifier"], data["executor"]) == ("relation", "zygote")


def test_the_executor_of_the_run_unless_another_is_named(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    path = made([right(task) for task in tasks()])
    record = json.loads((path / "run.json").read_text())
    for name in ("zygote", "zygote-chunk"):
        argv = ["--domain", "prime_inversion", "--domain-options", f"max_prime=13,executor={name}"]
        (path / "run.json").write_text(json.dumps({**record, "argv": argv}))
        assert found(path, capsys)["executor"] == name
    assert found(path, capsys, "--executor", "zygote")["executor"] == "zygote"


def test_another_verifier_and_the_table(
    made: Made, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    factory = registry.factory
    lenient: Callable[[Domain], Lenient] = lambda domain: Lenient()  # noqa: E731
    monkeypatch.setattr(registry, "factory", lambda kind, name: lenient if name == "lenient" else factory(kind, name))
    one = tasks()[0]
    wrong = [row(one, "1", "incorrect", row=number) for number in range(7)]
    path = made([right(one), *wrong, row(one, "", "malformed")])
    data = found(path, capsys, "--verifier", "lenient")
    assert data["table"] == {
        "correct": {"correct": 1},
        "incorrect": {"correct": 7},
        "malformed": {"malformed": 1},
    }
    assert [change["row"] for change in data["changed"]] == [0, 1, 2, 3, 4]
    assert cli.main(["rescore", str(path), "--verifier", "lenient"]) == 0  # however much differs
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["stored,", "new", "correct", "incorrect", "malformed"]
    assert lines[4].split() == ["incorrect", "7", ".", "."]
    assert "9 answers graded, 2 with the same verdict (22.22 %)" in lines
    assert f"  step 0, row 0, task {one.id}: incorrect -> correct ''" in lines
    assert lines[-1] == "  and 2 more"


def test_batches_give_what_one_batch_gives(
    made: Made, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made([right(task) for task in tasks()] + [row(tasks()[0], "1", "correct")])
    whole = found(path, capsys)
    sizes = []
    grade = rescore.grade
    monkeypatch.setattr(rescore, "BATCH", 2)
    monkeypatch.setattr(rescore, "grade", lambda *args: sizes.append(len(args[2])) or grade(*args))
    assert found(path, capsys) == whole
    assert sizes == [2, 2, 2, 1]
    assert found(path, capsys, "--limit", "3")["graded"] == 3


def test_tasks_that_are_gone_and_a_torn_line(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    kept, gone, *_ = tasks()
    data = found(made([right(kept), right(gone), right(kept)], '{"step": 0, "ro', [kept]), capsys)
    assert (data["graded"], data["same"], data["not_found"], data["torn"]) == (2, 2, 1, True)
    assert cli.main(["rescore", data["run"]]) == 0
    out = capsys.readouterr().out
    assert "1 answers left out: the buffer does not have their task" in out
    assert "half-written" in out


def test_a_run_without_an_answer(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rescore", str(made([]))]) == 0
    assert "0 answers graded" in capsys.readouterr().out


def test_model_text_runs_in_the_sandbox_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "recipe").write_text("domain: python\nstyle: compact\n")
    run = Run.begin(tmp_path / "run", [], tmp_path / "recipe")
    domain = registry.domain("python")
    draft = Draft(Mode.INDUCTION, "def f(x): return x + 1", tuple(map(str, range(domain.induction_inputs[0]))))
    (task,) = domain.admit([draft])
    assert isinstance(task, Task)
    buffer = TaskBuffer(run.path / "buffer.sqlite")
    with buffer.step(0):
        buffer.add([(task, "one")], np.random.default_rng(0))
    buffer.close()
    mark = tmp_path / "mark"
    escape = f"def f(x):\n    open({str(mark)!r}, 'w').write('x')\n    return x + 1"
    run.append("rollouts.jsonl", [row(task, f"\n{escape}", "correct"), row(task, " def f(x): return x + 1", "correct")])
    data = found(run.path, capsys)
    assert data["table"]["correct"]["correct"] == 1
    assert sum(data["table"]["correct"].values()) == 2
    assert not mark.exists()


@pytest.mark.parametrize(
    "line",
    [
        "no json\n",
        "[" * 100_000 + "\n",
        "[]\n",
        '{"role": "solver"}\n',
        '{"role":"solver","task_id":[],"completion":"","status":""}\n',
    ],
)
def test_a_line_that_is_no_rollout(made: Made, refused: Refused, line: str) -> None:
    path = made([right(tasks()[0])], line + json.dumps(right(tasks()[0])) + "\n")
    assert "rollouts.jsonl, line 2 is no rollout" in refused(path)


def test_bad_input(made: Made, refused: Refused, tmp_path: Path) -> None:
    path = made([right(tasks()[0])])
    assert "no run directory" in refused(tmp_path / "none")
    assert "no verifier is named 'relatio'" in refused(path, "--verifier", "relatio")
    assert "--limit 0" in refused(path, "--limit", 0)
    (path / "rollouts.jsonl").unlink()
    assert "rollouts.jsonl cannot be read" in refused(path)
    (path / "buffer.sqlite").unlink()
    assert "buffer.sqlite" in refused(path)
    (path / "recipe.yaml").write_text("domain: python\nstyle: loud\n")
    assert "style='loud'" in refused(path)
    (path / "recipe.yaml").write_text("a: [")
    assert "recipe.yaml cannot be read" in refused(path)
    (path / "recipe.yaml").write_text("- a")
    assert "a recipe is a mapping" in refused(path)


def test_a_stored_status_steers_no_terminal(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    path = made([right(tasks()[0]) | {"status": "\x1b[2J\u202e"}])
    assert cli.main(["rescore", str(path)]) == 0
    out = capsys.readouterr().out
    assert "\\x1b[2J\\u202e" in out
    assert not {"\x1b", "\u202e"} & set(out)


def test_an_unknown_executor(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "recipe").write_text("domain: python\n")
    run = Run.begin(tmp_path / "run", [], tmp_path / "recipe")
    assert "no executor is named 'zygot'" in refused(run.path, "--executor", "zygot")


def test_tasks_of_another_domain(made: Made, refused: Refused) -> None:
    path = made([right(tasks()[0])])
    head = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps(head | {"argv": []}))
    assert "holds prime_inversion tasks, and the run's domain is python" in refused(path)


def test_it_needs_no_torch(made: Made) -> None:
    path = made([right(tasks()[0])])
    code = (
        "import sys; from azr_agents.cli import main; code = main(sys.argv[1:]); "
        "sys.exit(3 if {'torch', 'transformers', 'trl', 'rich'} & set(sys.modules) else code)"
    )
    done = subprocess.run([sys.executable, "-c", code, "rescore", str(path)], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
