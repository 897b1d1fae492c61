"""Trackers: our figures arrive under the names that the documentation lists."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event

from azr_agents import cli
from azr_env.types import Mode

DOCS = Path(__file__).parents[2] / "docs" / "training.md"
PLACES = {"mode": [str(mode) for mode in Mode], "role": ["proposer", "solver"], "reason": [r"\w+"]}


def documented() -> set[str]:
    """Regular expressions of the names in the table of docs/training.md."""
    table = DOCS.read_text(encoding="utf-8").partition("### Trackers")[2]
    return {
        re.sub(r"\{(\w+)\}", lambda m: f"({'|'.join(PLACES[m[1]])})", n) for n in re.findall(r"`(azr/\S+?)`", table)
    }


def events(folder: Path) -> Iterator[tuple[int, str, float]]:
    """Step, name and value of everything in TensorBoard's files: length, checksum, record, checksum."""
    for path in sorted(folder.rglob("events.out.tfevents.*")):
        data = path.read_bytes()
        while data:
            (size,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + size])
            yield from ((event.step, value.tag, value.simple_value) for value in event.summary.value)
            data = data[16 + size :]


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory, write_recipe: Callable[..., Path]) -> list[tuple[int, str, float]]:
    """What TensorBoard was told in three steps of PPO, whose names are those of the others and two more."""
    folder = tmp_path_factory.mktemp("trackers")
    path = write_recipe(folder, max_steps=3, report_to="tensorboard", algorithm="ppo", save_strategy="no")
    assert cli.main(["train", "--config", str(path), "--output_dir", str(folder / "run")]) == 0
    return list(events(folder))


def test_names_and_steps(logged: list[tuple[int, str, float]]) -> None:
    for name in (
        "azr/accuracy/all",
        "azr/accuracy/deduction",
        "azr/proposals/admitted",
        "azr/proposals/new",
        "azr/buffer/abduction",
        "azr/length/solver",
        "azr/entropy/solver/deduction",
        "azr/zero_spread_cells",
        "azr/worked",
        "azr/value_loss",
        "loss",
        "entropy",
    ):
        assert [step for step, tag, _ in logged if tag == f"train/{name}"] == [1, 2, 3], name
    assert all(0 <= value <= 1 for _, tag, value in logged if tag.startswith("train/azr/accuracy"))


def test_every_name_is_documented_and_every_documented_name_is_told(logged: list[tuple[int, str, float]]) -> None:
    names = {tag.removeprefix("train/") for _, tag, _ in logged if tag.startswith("train/azr/")}
    patterns = documented()
    assert len(patterns) > 15
    assert {name for name in names if not any(re.fullmatch(pattern, name) for pattern in patterns)} == set()
    never = {pattern for pattern in patterns if not any(re.fullmatch(pattern, name) for name in names)}
    assert never <= {"azr/proposals/composite"}  # an option of the Python domain


@pytest.mark.parametrize(
    ("name", "words"),
    [("tensorbord", ["report_to='tensorbord' is unknown", "tensorboard"]), ("swanlab", ["pip install swanlab"])],
)
def test_refused_before_the_run_begins(
    tmp_path: Path, recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str], name: str, words: list[str]
) -> None:
    path = recipe(report_to=name)
    assert cli.main(["train", "--config", str(path), "--output_dir", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in words), said
    assert not (tmp_path / "run").exists()
