"""The run directory: whole files or none, torn lines cut, nothing overwritten."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azr_agents.run import SCHEMA_VERSION, Run, versions
from azr_env.errors import SettingError

json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=8,
)


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text("domain: prime_inversion  # with a comment\n", encoding="utf-8")
    return path


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "run").mkdir()
    return Run(tmp_path / "run")


def test_begin_and_open(tmp_path: Path, recipe_file: Path) -> None:
    begun = Run.begin(tmp_path / "deep" / "er", ["--config", "x"], recipe_file)
    assert (begun.path / "recipe.yaml").read_bytes() == recipe_file.read_bytes()
    found, argv = Run.open(str(begun.path))
    assert (found.path, argv) == (begun.path, ["--config", "x"])
    head = begun.read("run.json")
    assert head["schema"] == SCHEMA_VERSION
    assert head["versions"] == versions()
    assert {"python", "torch", "trl"} <= set(head["versions"])


def test_begin_in_an_empty_folder(tmp_path: Path, recipe_file: Path) -> None:
    (tmp_path / "empty").mkdir()
    Run.begin(tmp_path / "empty", [], recipe_file)


def test_begin_twice_is_refused_and_changes_nothing(tmp_path: Path, recipe_file: Path) -> None:
    Run.begin(tmp_path / "run", ["one"], recipe_file)
    with pytest.raises(SettingError, match="azr train --resume"):
        Run.begin(tmp_path / "run", ["two"], recipe_file)
    assert Run.open(tmp_path / "run")[1] == ["one"]


def test_another_schema_is_named(run: Run) -> None:
    run.write("run.json", {"schema": SCHEMA_VERSION + 1})
    with pytest.raises(SettingError, match=f"schema {SCHEMA_VERSION + 1}, this version reads {SCHEMA_VERSION}"):
        Run.open(run.path)


@given(json_values)
def test_written_is_read(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    run = Run(tmp_path_factory.mktemp("run"))
    run.write("some.json", data)
    assert run.read("some.json") == data
    assert [path.name for path in run.path.iterdir()] == ["some.json"]


def test_a_file_that_is_not_there_reads_as_none(run: Run) -> None:
    assert run.read("none.json") is None


@pytest.mark.parametrize("bad", [math.nan, math.inf, object()])
def test_a_failed_write_leaves_the_old_file(run: Run, bad: object) -> None:
    run.write("some.json", {"a": 1})
    with pytest.raises((ValueError, TypeError)):
        run.write("some.json", {"a": bad})
    assert run.read("some.json") == {"a": 1}


def test_a_write_cut_short_leaves_the_old_file(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fills up, or the process dies, between writing and renaming."""
    run.write("some.json", {"a": 1})

    def die(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        run.write("some.json", {"a": 2})
    assert run.read("some.json") == {"a": 1}


# JSON lines


def steps(run: Run) -> list[int]:
    return [json.loads(line)["step"] for line in (run.path / "x.jsonl").read_text(encoding="utf-8").splitlines()]


def test_append_and_cut(run: Run) -> None:
    for step in range(4):
        run.append("x.jsonl", [{"step": step, "row": row, "text": "a\nb\u2028\ud800"} for row in range(3)])
    run.cut("x.jsonl", 2)
    assert steps(run) == [0, 0, 0, 1, 1, 1]
    run.append("x.jsonl", [{"step": 2}])
    run.cut("x.jsonl", 5)
    assert steps(run) == [0, 0, 0, 1, 1, 1, 2]
    run.cut("x.jsonl", 0)
    assert steps(run) == []
    assert [path.name for path in run.path.iterdir()] == ["x.jsonl"]


def test_cutting_takes_no_room(run: Run) -> None:
    """A run that a full disk has ended may have little more room than before when it goes on."""
    run.append("x.jsonl", [{"step": step} for step in range(4)])
    same = (run.path / "x.jsonl").stat().st_ino
    run.cut("x.jsonl", 2)
    assert (run.path / "x.jsonl").stat().st_ino == same
    assert steps(run) == [0, 1]


def test_cutting_nothing_makes_nothing(run: Run) -> None:
    run.cut("x.jsonl", 3)
    assert list(run.path.iterdir()) == []


@given(st.integers(0, 10**6))
def test_a_torn_last_line_is_cut_wherever_it_tore(tmp_path_factory: pytest.TempPathFactory, at: int) -> None:
    run = Run(tmp_path_factory.mktemp("run"))
    path = run.path / "x.jsonl"
    run.append("x.jsonl", [{"step": step, "text": "é" * step} for step in range(6)])
    whole = path.read_bytes()
    torn = whole[: at % (len(whole) + 1)]
    path.write_bytes(torn)
    run.cut("x.jsonl", 100)
    left = path.read_bytes()
    assert whole.startswith(left)
    assert left in (torn[: torn.rfind(b"\n") + 1], torn + b"\n")
    assert steps(run) == list(range(len(steps(run))))
    run.append("x.jsonl", [{"step": 99}])
    assert steps(run)[-1] == 99


# Checkpoints


def checkpoint(run: Run, step: int, whole: bool = True) -> None:
    (run.path / f"checkpoint-{step}").mkdir()
    if whole:
        Run(run.path / f"checkpoint-{step}").write("selfplay.json", {"rounds": step})


def test_the_newest_whole_checkpoint_counts_by_number(run: Run) -> None:
    for step in (9, 100, 20):
        checkpoint(run, step)
    checkpoint(run, 101, whole=False)
    assert run.last_checkpoint().name == "checkpoint-100"


def test_no_whole_checkpoint(run: Run) -> None:
    checkpoint(run, 3, whole=False)
    with pytest.raises(SettingError, match="no whole checkpoint"):
        run.last_checkpoint()


def test_half_written_checkpoints_are_dropped_by_the_first_process(run: Run) -> None:
    for step in (9, 20, 30):
        checkpoint(run, step, whole=step != 20)
    Run(run.path, writes=False).drop_torn_checkpoints()
    assert (run.path / "checkpoint-20").is_dir()
    run.drop_torn_checkpoints()
    assert sorted(path.name for path in run.path.iterdir()) == ["checkpoint-30", "checkpoint-9"]
