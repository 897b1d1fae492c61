"""The plug-in guides run as they stand: every block of Python, every signature, every name, the packages they hold.

In a guide, a fenced block below a line "`PATH`:" or "From `PATH`:" is that file, or a piece of it; every other block
of Python runs as if it were copied alone, in an interpreter that has the guide's package installed.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from azr_env.registry import GROUPS
from azr_env.rewards import SOLVER_REWARDS
from azr_env.types import Status

ROOT = Path(__file__).parents[2]
DOMAIN_GUIDE = ROOT / "docs" / "write-a-domain.md"
VERIFIER_GUIDE = ROOT / "docs" / "write-a-verifier.md"
EXAMPLE = ROOT / "examples" / "azr-env-modular-sqrt"
GUIDES = pytest.mark.parametrize("guide", [DOMAIN_GUIDE, VERIFIER_GUIDE], ids=lambda path: path.stem)


@dataclass(frozen=True)
class Block:
    """A fenced block: its info string, its text, the number of its first line, and the file it belongs to."""

    info: str
    text: str
    line: int
    path: str


def blocks(guide: Path) -> list[Block]:
    lines = guide.read_text(encoding="utf-8").split("\n")
    found: list[Block] = []
    above, start = "", None
    for number, line in enumerate(lines):
        if start is None and line.startswith("```"):
            start = number
        elif start is not None and line == "```":
            named = re.fullmatch(r"(?:From )?`([^`]+)`:", above)
            path = named[1] if named else ""
            found.append(Block(lines[start][3:], "\n".join(lines[start + 1 : number]), start + 1, path))
            above, start = "", None
        elif start is None and line.strip():
            above = line
    assert start is None, f"{guide.name}: the block at line {start} is never closed"
    return found


def files(guide: Path) -> dict[str, str]:
    """The files that a guide holds, their pieces joined."""
    pieces: dict[str, list[str]] = {}
    for block in blocks(guide):
        if block.path:
            pieces.setdefault(block.path, []).append(block.text)
    return {path: "\n\n".join(texts) + "\n" for path, texts in pieces.items()}


def installed(package: Path, site: Path) -> dict[str, str]:
    """Environment of an interpreter that has `package`: its `src` and its entry points, without a build."""
    project = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = [
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in named.items())
        for group, named in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(points))
    paths = [str(package / "src"), str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}


def package_of(guide: Path, folder: Path) -> Path:
    """The example's folder, or the package of the page, written out."""
    if guide == DOMAIN_GUIDE:
        return EXAMPLE
    for path, text in files(guide).items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    return folder


def run(arguments: list[str], env: dict[str, str], cwd: Path) -> None:
    done = subprocess.run([sys.executable, *arguments], env=env, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-6000:]}"


@GUIDES
def test_every_block_of_python_runs_alone(guide: Path, tmp_path: Path) -> None:
    loose = [block for block in blocks(guide) if block.info == "python" and not block.path]
    assert len(loose) >= 3
    for block in loose:  # each in names of its own; a traceback gives the line of the page
        script = tmp_path / f"{guide.stem}-line-{block.line}.py"
        script.write_text("\n" * block.line + block.text + "\n", encoding="utf-8")
    env = installed(package_of(guide, tmp_path / "package"), tmp_path / "site")
    one_by_one = "import runpy, sys; [runpy.run_path(script) for script in sys.argv[1:]]"
    run(["-c", one_by_one, *sorted(map(str, tmp_path.glob("*.py")))], env, tmp_path)


@pytest.mark.slow
@GUIDES
def test_the_package_of_a_guide_passes_its_own_tests(guide: Path, tmp_path: Path) -> None:
    package = package_of(guide, tmp_path / "package")
    env = installed(package, tmp_path / "site")
    run(
        ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(package), str(package / "tests")],
        env,
        tmp_path,
    )


def test_the_domain_guide_shows_the_example_from_its_first_line_to_its_last() -> None:
    shown = files(DOMAIN_GUIDE)
    assert "src/azr_env_modular_sqrt/domain.py" in shown
    for path, text in shown.items():
        here, there = (
            [line for line in each.split("\n") if line.strip()]
            for each in (text, (EXAMPLE / path).read_text(encoding="utf-8"))
        )
        assert here == there, f"docs/write-a-domain.md and {path} differ: copy the file into the page, piece by piece"


@GUIDES
def test_the_signatures_are_those_of_the_code(guide: Path) -> None:
    lines = [line for block in blocks(guide) if block.info == "signatures" for line in block.text.split("\n")]
    assert len(lines) > 10
    for line in lines:
        assert line == signature(line.partition("(")[0])


@GUIDES
def test_every_name_of_the_package_exists(guide: Path) -> None:
    named = set(re.findall(r"`(azr_env(?:\.\w+)+)`", guide.read_text(encoding="utf-8")))
    assert len(named) >= 3
    for name in named - set(GROUPS.values()):
        resolve(name)


def test_the_page_pays_what_the_code_pays() -> None:
    rows = re.findall(r"^\| `Status\.(\w+)` \|.*\| ([^|]+) \|$", VERIFIER_GUIDE.read_text(encoding="utf-8"), re.M)
    assert {name for name, _ in rows} == set(Status.__members__)
    for name, reward in rows:
        paid = SOLVER_REWARDS[Status[name]]
        assert reward.startswith("nobody is paid") if paid is None else float(reward) == paid


@GUIDES
def test_links_lead_somewhere(guide: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", guide.read_text(encoding="utf-8")):
        assert (guide.parent / target).exists(), target


def resolve(name: str) -> object:
    """The object of a dotted name; its longest importable beginning is a module."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            found = getattr(found, part)
        return found
    raise AssertionError(f"no module {name}")


def signature(name: str) -> str:
    """`name(parameters) -> return`, without `self`, and for a class without the return."""
    found = resolve(name)
    assert callable(found)
    read = inspect.signature(found)
    parameters = [
        f"{p.name}: {p.annotation}" + ("" if p.default is p.empty else f" = {p.default!r}")
        for p in read.parameters.values()
        if p.name != "self"
    ]
    result = "" if isinstance(found, type) else f" -> {read.return_annotation}"
    return f"{name}({', '.join(parameters)}){result}"
