"""Every benchmark keeps the common flags, and the harness checks figures against bars."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
BENCHMARKS = sorted(path.name for path in FOLDER.glob("*.py") if not path.name.startswith("_"))


@pytest.fixture(scope="module")
def harness() -> ModuleType:
    spec = importlib.util.spec_from_file_location("_harness", FOLDER / "_harness.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["_harness"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_takes_the_common_flags(name: str) -> None:
    shown = subprocess.run(
        [sys.executable, str(FOLDER / name), "--help"], capture_output=True, text=True, check=True, timeout=120
    ).stdout
    for flag in ("--quick", "--json", "--check"):
        assert flag in shown


def _run(harness: ModuleType, monkeypatch: pytest.MonkeyPatch, figures: dict[str, float], *flags: str) -> int:
    def measure(options: object) -> object:
        return harness.Report(["name", "value"], [["a", 1.0]], figures)

    monkeypatch.setattr(sys, "argv", ["benchmark", *flags])
    return int(harness.main("A benchmark.", measure, {"speed": harness.Bar(10), "bytes": harness.Bar(5, at_most=True)}))


@pytest.mark.parametrize(
    ("figures", "code", "named"),
    [
        ({"speed": 10.0, "bytes": 5.0}, 0, []),
        ({"speed": 9.0, "bytes": 5.0}, 1, ["speed"]),
        ({"speed": 9.0, "bytes": 6.0}, 1, ["speed", "bytes"]),
        ({"speed": float("nan"), "bytes": 5.0}, 1, ["speed"]),
        ({"speed": 10.0}, 1, ["bytes"]),
    ],
)
def test_check_names_each_figure_that_falls_short(
    harness: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    figures: dict[str, float],
    code: int,
    named: list[str],
) -> None:
    assert _run(harness, monkeypatch, figures, "--check") == code
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FALLS SHORT")]
    assert [line.split()[2] for line in lines] == named
    assert _run(harness, monkeypatch, figures) == 0


def test_json_holds_machine_table_and_figures(
    harness: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _run(harness, monkeypatch, {"speed": 12.5}, "--json", str(tmp_path / "out.json"))
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["figures"] == {"speed": 12.5}
    assert found["table"] == [{"name": "a", "value": 1.0}]
    assert found["machine"]["python"]
