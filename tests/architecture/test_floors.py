"""The floors of design/architecture.md and the style rules that are cheap to enforce, read off the syntax trees."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import azr_env

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "azr_env"
AGENTS = ROOT / "agents" / "azr_agents"
FLOORS = {
    **dict.fromkeys(("types", "errors", "wire", "values"), 0),
    "protocols": 1,
    **dict.fromkeys(("registry", "parsing", "prompts", "rewards", "buffer"), 2),
    **dict.fromkeys(("executors", "verifiers"), 3),
    "domains": 4,
    **dict.fromkeys(("grading", "proposals", "sources"), 5),
    "envs": 6,
    **dict.fromkeys(("wrappers", "bridges", "testing", "__init__"), 7),
}
NEVER = {"torch", "transformers", "trl", "azr_agents", "rich"}
SANDBOX = PACKAGE / "executors" / "zygote"
KIT = PACKAGE / "testing"
"""The conformance kit is made of tests: it asserts, and looks at the global random state."""


def files(*roots: Path) -> list[Path]:
    return sorted(path for root in roots for path in root.rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def nodes(*roots: Path, but: Path | tuple[Path, ...] = ()) -> Iterator[tuple[str, ast.AST]]:
    """Every node of every file, with where it is."""
    for path in files(*roots):
        if not set(but if isinstance(but, tuple) else (but,)) & set(path.parents):
            for node in ast.walk(tree(path)):
                yield f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}", node


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Full names of the modules that a file imports, wherever in it."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module_of(path).split(".")
                package = package if path.name == "__init__.py" else package[:-1]
                base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [base])])
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                place = ROOT.joinpath(*whole.split("."))
                yield node.lineno, whole if place.is_dir() or place.with_suffix(".py").is_file() else base


def floor(module: str) -> int:
    part = module.split(".")[1] if "." in module else "__init__"
    return FLOORS[part]


def folder(module: str) -> str:
    """The folder of a module's file, as a dotted name."""
    return module if ROOT.joinpath(*module.split(".")).is_dir() else module.rpartition(".")[0]


def ours() -> Iterator[tuple[Path, int, str, str]]:
    for path in files(PACKAGE):
        for line, target in imported(path):
            if target.split(".")[0] == "azr_env":
                yield path, line, module_of(path), target


def test_every_module_has_a_floor() -> None:
    unknown = {
        module_of(path).split(".")[1] for path in files(PACKAGE) if path.parent != PACKAGE or path.stem != "__init__"
    }
    assert unknown <= set(FLOORS), f"give {sorted(unknown - set(FLOORS))} a floor in design/architecture.md and here"


def test_modules_import_lower_floors_or_their_own_folder() -> None:
    """Their own folder, or one inside of it."""
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {source} (F{floor(source)}) imports {target} (F{floor(target)})"
        for path, line, source, target in ours()
        if not floor(target) < floor(source)
        and not (floor(target) == floor(source) and f"{folder(target)}.".startswith(f"{folder(source)}."))
    ]
    assert wrong == []


def test_the_walk_sees_imports() -> None:
    # Guards the two tests above: an import finder that finds nothing would pass them.
    seen = {(source, target) for _, _, source, target in ours()}
    assert ("azr_env.values", "azr_env.wire") in seen
    assert ("azr_env.domains.python.domain", "azr_env.domains.python.admission") in seen
    assert ("azr_env.envs.solve", "azr_env.grading") in seen


def test_no_import_cycle() -> None:
    graph: dict[str, set[str]] = {}
    for _, _, source, target in ours():
        graph.setdefault(source, set()).add(target)
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module not in done:
            for target in graph.get(module, ()):
                visit(target, (*path, module))
            done.add(module)

    for module in list(graph):
        visit(module, ())


def test_nothing_heavy_is_imported() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {target}"
        for path in files(PACKAGE)
        for line, target in imported(path)
        if target.split(".")[0] in NEVER
    ]
    assert wrong == []


def test_the_core_needs_gymnasium_and_numpy_only() -> None:
    allowed = set(sys.stdlib_module_names) | {"azr_env", "gymnasium", "numpy"}
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {target}"
        for path in files(PACKAGE)
        for line, target in imported(path)
        if target.split(".")[0] not in allowed
        and path.relative_to(PACKAGE).parts[0] not in ("bridges", "testing", "executors")
    ]
    assert wrong == []


def test_agents_is_a_folder_and_no_package() -> None:
    assert AGENTS.joinpath("__init__.py").is_file()
    assert not AGENTS.parent.joinpath("__init__.py").exists(), "it would shadow the package `agents` of openai-agents"


def test_few_public_names() -> None:
    assert len(azr_env.__all__) <= 20
    assert [name for name in azr_env.__all__ if not hasattr(azr_env, name)] == []


def test_no_bare_except() -> None:
    assert [where for where, n in nodes(PACKAGE, AGENTS) if isinstance(n, ast.ExceptHandler) and n.type is None] == []


def test_no_assert_as_validation() -> None:
    asserts = [where for where, node in nodes(PACKAGE, AGENTS, but=KIT) if isinstance(node, ast.Assert)]
    assert asserts == []


def test_nothing_evaluates_text() -> None:
    wrong = []
    for where, node in nodes(PACKAGE, AGENTS, but=SANDBOX):
        match node:
            case ast.Call(func=ast.Name(id="eval" | "exec" | "compile" | "__import__" as name)):
                wrong.append(f"{where} calls {name}")
            case ast.Attribute(value=ast.Name(id="builtins"), attr="eval" | "exec" | "compile" as name):
                wrong.append(f"{where} uses builtins.{name}")
            case ast.Attribute(value=ast.Name(id="ast"), attr="literal_eval"):
                wrong.append(f"{where} uses literal_eval, which has no caps: use azr_env.values.parse")
    for path in files(PACKAGE, AGENTS):
        for line, target in imported(path) if KIT not in path.parents else ():
            if target.split(".")[0] in ("pickle", "marshal", "shelve", "dill", "cloudpickle", "pty", "code"):
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {target}")
    assert wrong == []


def test_no_global_random_state() -> None:
    makers = {"default_rng", "Generator", "SeedSequence", "PCG64", "Philox", "Random", "SystemRandom", "BitGenerator"}
    wrong = []
    for where, node in nodes(PACKAGE, AGENTS, but=(SANDBOX, KIT)):
        match node:
            case ast.Attribute(value=ast.Attribute(value=ast.Name(id="np" | "numpy"), attr="random"), attr=name):
                if name not in makers:
                    wrong.append(f"{where} np.random.{name}")
            case ast.Attribute(value=ast.Name(id="random"), attr=name) if name not in makers:
                wrong.append(f"{where} random.{name}")
            case ast.ImportFrom(module="random" | "numpy.random", names=names):
                wrong += [f"{where} from random import {alias.name}" for alias in names if alias.name not in makers]
    assert wrong == []


def test_no_vague_module_names() -> None:
    vague = {"utils", "util", "common", "helpers", "helper", "misc", "base", "manager", "core"}
    assert [str(path) for path in files(PACKAGE, AGENTS) if vague & {path.stem, path.parent.name}] == []


def test_no_refused_class_names() -> None:
    ends = ("Manager", "Factory", "Base", "Helper", "Utils", "Mixin")
    classes = [(where, node) for where, node in nodes(PACKAGE, AGENTS) if isinstance(node, ast.ClassDef)]
    assert len(classes) > 20
    assert [f"{where} {node.name}" for where, node in classes if node.name.endswith(ends)] == []


def test_nothing_async_and_no_hasattr_in_the_core() -> None:
    wrong = []
    for where, node in nodes(PACKAGE, but=PACKAGE / "bridges"):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await):
            wrong.append(f"{where} async")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "hasattr":
            wrong.append(f"{where} hasattr")
    assert wrong == []


def test_inheritance_is_one_deep() -> None:
    """A class of ours that has a subclass of ours derives from nothing of ours; `errors` is one flat level."""
    parents = {
        node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
        for _, node in nodes(PACKAGE)
        if isinstance(node, ast.ClassDef)
    }
    deep = {
        name: base
        for name, bases in parents.items()
        for base in bases
        if base in parents and parents[base] & set(parents)
    }
    assert deep == {}


def _undocumented(body: list[ast.stmt], methods: bool) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            if ast.get_docstring(node) is None:
                yield node
            if isinstance(node, ast.ClassDef) and methods:
                yield from _undocumented(node.body, methods)


@pytest.mark.parametrize(("package", "methods"), [(PACKAGE, True), (AGENTS, False)], ids=["azr_env", "azr_agents"])
def test_public_names_have_docstrings(package: Path, methods: bool) -> None:
    """Functions and classes; in the core also methods. Those of the trainer are TRL's, and documented there."""
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in files(package)
        for node in _undocumented(tree(path).body, methods)
        if (path.name, node.name) != ("protocols.py", "name")  # a name is a name
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", [PACKAGE, AGENTS], ids=lambda path: path.name)
def test_every_module_says_what_it_is(package: Path) -> None:
    assert [str(path) for path in files(package) if ast.get_docstring(tree(path)) is None] == []
