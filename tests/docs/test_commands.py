"""Every command in the pages: ``azr`` is run, training as a plan of it, and of the rest the tests say where it runs.

A block that cannot run here stands below ``<!-- not run: WHY -->``. The names that pages use for a person's own files,
such as ``RUN`` or ``my-recipe.yaml``, are real files in the folder where a block is run.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import shutil
import tomllib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("trl", reason="azr needs the extra train")

from markdown_pages import PAGES, ROOT, Block, blocks, commands, name_of, prose
from test_plugin_guides import DOMAIN_GUIDE, VERIFIER_GUIDE
from trl import GRPOConfig

from azr_agents import cli, launch, tiny
from azr_agents.config import EMBEDDED, RunConfig, SelfPlayConfig, recipe

MARKED = 3
"""Blocks that are not run, of all pages: a further one is a choice, to be made here."""
WHOLE = ("export", "eval", "report", "rescore", "list")
"""Commands of ``azr`` that are run as they stand; of eval a task a mode."""
READ = ("check", "play", "watch")
"""Commands that tests/agents runs: here their flags are looked up."""
ELSEWHERE = {
    "pytest": ".ci/run",
    "ruff check .": ".ci/run",
    "ruff format --check .": ".ci/run",
    "mypy": ".ci/run",
    "mkdocs build --strict": "tests/docs/test_site.py",
    "python examples/trl_grpo.py": "tests/examples/test_servers.py",
    "python examples/azr-verifiers/evaluate_stand_in.py": "tests/examples/test_servers.py",
    "python examples/openenv/play.py": "tests/examples/test_servers.py",
    "python examples/sb3_ppo.py": "tests/examples/test_rl_libraries.py",
    "python examples/torchrl_rollout.py": "tests/examples/test_rl_libraries.py",
    "python examples/cleanrl_ppo.py": "tests/examples/test_rl_libraries.py",
    "python -m azr_env.bridges.openenv": "examples/openenv/play.py",
    "python -m pytest examples/azr-env-modular-sqrt/tests": ".ci/run",
}
"""Other commands, and the file that runs them."""
NEVER = {
    "azr eval --base-url": "wants a server with a model",
    "evalplus.evaluate": "downloads its tasks",
    "lm_eval": "downloads its tasks",
}
"""Commands that nothing runs, and why."""
LAUNCHED = re.compile(
    r"(?:torchrun|accelerate launch) .*?(?:--nproc_per_node|--num_processes) (\d+) -m azr_agents (.*)"
)
HUB = {
    "agents/recipes/coder-7b-4gpu.yaml": "qwen2.5-coder-7b",
    "agents/recipes/qwen2.5-coder-3b-1gpu.yaml": "qwen2.5-coder-3b",
    "agents/recipes/qwen2.5-0.5b-1gpu.yaml": "qwen2.5-0.5b",
}
"""Recipes whose model is on the hub, and the folder that stands for it."""
SHELL = [
    block
    for page in PAGES
    if page not in (DOMAIN_GUIDE, VERIFIER_GUIDE)
    for block in blocks(page)
    if block.info in ("", "bash") and not block.not_run
]
INLINE = [(page, span) for page in PAGES for span in re.findall(r"`(azr [^`\n]+)`", prose(page))]


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of four rounds."""
    folder = tmp_path_factory.mktemp("documented") / "run"
    sizes = "--max_steps 4 --save_steps 2 --eval_tasks 2 --eval_samples 1 --seed_tasks 4 --proposer_rows 4"
    rows = "--solver_rows 12 --num_generations 4"
    assert cli.main(["train", "--output_dir", str(folder), *sizes.split(), *rows.split()]) == 0
    return folder


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which a block is run: what pages name lies there."""
    (tmp_path / "runs").mkdir()
    for name in ("agents", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    for name in ("PATH_OR_ID", "BEFORE", "AFTER"):
        (tmp_path / name).symlink_to(tiny.path("python"))
    for name in ("my-recipe.yaml", "coder.yaml"):
        shutil.copy(ROOT / "agents" / "recipes" / "embedded-prime_inversion.yaml", tmp_path / name)
    row = {"code": "def f(a):\n    return a + 1", "input": "1", "output": "2", "id": "sample_0"}
    (tmp_path / "cruxeval.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    (tmp_path / "GENERATIONS.json").write_text(json.dumps({"sample_0": ["2"]}), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("block", SHELL, ids=lambda block: block.place)
def test_every_block_of_commands_runs(block: Block, place: Path, request: pytest.FixtureRequest) -> None:
    for command in commands(block):
        if command.startswith(tuple(NEVER)):
            continue
        launched = LAUNCHED.fullmatch(command)
        if launched:
            command = f"azr {launched[2]} --processes {launched[1]}"
        if re.search(r"\bRUN\b|runs/", command) and not (place / "RUN").exists():
            shutil.copytree(request.getfixturevalue("small_run"), place / "RUN")
            (place / "runs" / "python-...").symlink_to(place / "RUN")
        check(block, command)


def check(block: Block, command: str) -> None:
    words = shlex.split(command)
    if words[0] == "azr":
        assert ran(words[1:]) == 0, f"{block.place}: {command}"
    elif words[:4] == ["python", "-m", "pip", "install"]:
        check_install(words[4:])
    else:
        where = next((file for known, file in ELSEWHERE.items() if command.startswith(known)), None)
        assert where, f"{block.place}: {command!r} is run nowhere: name it in ELSEWHERE, or mark its block"
        assert (ROOT / where).is_file()


def ran(args: list[str]) -> int:
    """Exit code of a command of ``azr``, made small."""
    name = args[0]
    if name == "train" and "--resume" in args:
        return cli.main([*args, "--max_steps", "6"] if "--max_steps" in args else args)
    if name == "train":
        given = args[args.index("--config") + 1] if "--config" in args else ""
        if given in HUB and "--model" not in args:
            args = [*args, "--model", f"agents/recipes/models/{HUB[given]}"]
        args = ["agents/recipes/models/qwen2.5-0.5b" if arg == "PATH_OR_ID" else arg for arg in args]
        measured = "1" if "--heldout_every" in args else "0"
        return cli.main([*args, *([] if "--dry-run" in args else ["--dry-run"]), "--eval_tasks", measured])
    if name == "report" and find_spec("plotly") is None:  # the extra report, which CI has
        return 0
    if name in WHOLE:
        few = ["--limit", "1"] if name == "eval" and not {"--protocol", "--limit"} & set(args) else []
        return cli.main([*args, *few])
    assert name in READ, f"azr {name}: say in WHOLE or READ how it is tested"
    assert set(flags(args)) <= set(flags(said(*args[: 2 if name == "check" else 1])))
    return 0


def check_install(words: list[str]) -> None:
    """The extras, the constraints and the folders that are named exist."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for word in words:
        if word.startswith("."):
            named = re.fullmatch(r"\.(?:\[([\w,]+)\])?", word)
            assert named, word
            assert set(filter(None, (named[1] or "").split(","))) <= set(extras), word
        elif not word.startswith("-"):
            assert (ROOT / word).exists(), word


@cache
def said(*command: str) -> tuple[str, ...]:
    """The words of a command's help."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        cli.main([*command, "--help"])
    return tuple(re.findall(r"[\w-]+", out.getvalue()))


def flags(words: list[str] | tuple[str, ...]) -> list[str]:
    return [word.partition("=")[0] for word in words if word.startswith("--")]


TRAIN = {
    *(f"--{name}" for kind in (RunConfig, SelfPlayConfig, GRPOConfig) for name in kind.__dataclass_fields__),
    *("--config", "--resume", "--dry-run", "--processes", "--with-controls", "--help"),
}


@pytest.mark.parametrize(("page", "span"), INLINE, ids=lambda part: part if isinstance(part, str) else name_of(part))
def test_flags_of_commands_within_sentences_exist(page: Path, span: str) -> None:
    _, name, *words = span.split()
    if name == "train":
        assert set(flags(words)) <= TRAIN
    elif name in (*WHOLE, *READ):
        command = (name, *words[: name == "check" and len(words)])
        assert set(flags(words)) <= {*flags(said(*command[:2])), "--help"}
    else:
        assert name in ("...", "COMMAND"), f"{name_of(page)}: `{span}`"


def paper_flags() -> list[str]:
    text = (ROOT / "docs" / "papers.md").read_text(encoding="utf-8")
    return sorted(set(re.findall(r"`(--[\w]+ [^`]+)`", text)))


@pytest.mark.parametrize("flag", paper_flags())
def test_the_flags_of_the_papers_are_taken(flag: str) -> None:
    launch._parse(["--domain", "python", *flag.split()], recipe("python", EMBEDDED))


def test_blocks_that_are_not_run_are_counted() -> None:
    marked = [block.place for page in PAGES for block in blocks(page) if block.not_run]
    assert len(marked) == MARKED, marked


def test_where_other_commands_run_is_true() -> None:
    for command, file in ELSEWHERE.items():
        named = command.split()[-1].rpartition("/")[2] if ".py" in command else command.split()[0]
        assert named in (ROOT / file).read_text(encoding="utf-8"), f"{file} does not run {command}"
