"""Syntax-tree checks of programs: what is refused unrun, and when two programs are one.

These checks keep tasks deterministic and self-contained. They are not the sandbox: a program that slips through
meets the executor's isolation.
"""

from __future__ import annotations

import ast
import builtins
import symtable
import warnings
from collections.abc import Iterator
from functools import lru_cache

from azr_env.types import Rejection

MAX_PROGRAM = 8_000
"""Longest program, in characters."""
MAX_NODES = 4_000
"""Most syntax-tree nodes of a program."""

FORBIDDEN_MODULES = frozenset(
    "logging random multiprocessing pebble subprocess threading datetime time hashlib calendar bcrypt os sys shutil "
    "hmac socket ctypes secrets uuid tempfile pathlib io asyncio concurrent signal resource inspect gc importlib "
    "builtins pickle shelve atexit faulthandler mmap select ssl urllib http posix posixpath ntpath platform pty "
    "fcntl _thread site code codeop pdb traceback weakref runpy zoneinfo locale gettext webbrowser".split()
)
"""Modules that bring chance, time, the outside world or the interpreter's inside into a program: the paper's list
(section C.1), ``hmac`` from the authors' code, and their kin. Any import that begins with one of them is refused."""

FORBIDDEN_NAMES = frozenset(
    "__import__ open eval exec compile input breakpoint globals locals vars exit quit help id hash "
    "memoryview __builtins__ __loader__ __spec__".split()
)
"""Names that a program may not mention. ``id``, and ``hash`` of most objects, tell an address, which is chance."""

_ORDINARY_NAMES = frozenset("input id hash vars help exit quit".split())
"""Forbidden names that are usual names of variables too: allowed in a program that binds them."""

_DUNDER_ATTRIBUTES = frozenset(
    "__init__ __name__ __len__ __eq__ __lt__ __iter__ __next__ __add__ __getitem__ __str__ __repr__".split()
)
"""The only attributes of the form ``__x__`` that a program may mention."""


def parse(program: str) -> ast.Module | Rejection:
    """The syntax tree of a program, or why it is refused. Total for any text."""
    if len(program) > MAX_PROGRAM:
        return Rejection("size", f"{len(program)} characters, at most {MAX_PROGRAM}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(program)
        if sum(1 for _ in ast.walk(tree)) > MAX_NODES:
            return Rejection("size", f"more than {MAX_NODES} syntax-tree nodes")
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as exc:
        return Rejection("syntax", f"{type(exc).__name__}: {getattr(exc, 'msg', exc)}")
    return tree


def check(program: str, parameters: bool = True) -> Rejection | None:
    """Why a program is refused before it is run, or ``None``.

    It must parse, keep to the size limits, define the function ``f`` at top level, and mention nothing forbidden. A
    name that the program binds itself, as a parameter called ``input``, is its own and not the forbidden one.

    Args:
        parameters: whether ``f`` must take at least one parameter, as a proposal must.
    """
    tree = parse(program)
    if isinstance(tree, Rejection):
        return tree
    allowed = _own(program, _ORDINARY_NAMES & bound_names(tree))
    modules = _imported(tree)
    for node in ast.walk(tree):
        found = _forbidden(node) or _passed_on(node, modules)
        if found and not (isinstance(node, ast.Name) and node.id in allowed):
            return Rejection("forbidden", found)
    entries = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "f"]
    if not entries:
        return Rejection("entry", "no top-level function f")
    arguments = entries[-1].args
    if parameters and not (arguments.posonlyargs or arguments.args or arguments.vararg):
        return Rejection("entry", "f takes no positional argument")
    return None


def _own(program: str, names: frozenset[str]) -> frozenset[str]:
    """Those of the names that are the program's own wherever it reads them, and the builtin nowhere."""
    if not names:
        return names
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            top = symtable.symtable(program, "<program>", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return frozenset()
    found = names - {symbol.get_name() for symbol in top.get_symbols() if symbol.is_assigned()}
    builtin: set[str] = set()
    scopes = [top]
    while scopes:
        scope = scopes.pop()
        scopes += scope.get_children()
        read = [symbol for symbol in scope.get_symbols() if symbol.get_name() in found and symbol.is_referenced()]
        builtin |= {symbol.get_name() for symbol in read if symbol.is_global() or scope is top}
    return names - builtin


def bodies(program: str) -> list[list[str]]:
    """Statements of each function of a program, as texts; none for a program that does not parse."""
    tree = parse(program)
    if isinstance(tree, Rejection):
        return []
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    try:
        return [[ast.unparse(statement) for statement in node.body] for node in functions]
    except (RecursionError, ValueError):
        return []


def _imported(tree: ast.Module) -> set[str]:
    """Names that imports bind."""
    return {
        alias.asname or alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }


def _passed_on(node: ast.AST, modules: set[str]) -> str:
    """A forbidden module that an allowed one has imported, as ``contextlib.os``, in words."""
    match node:
        case ast.ImportFrom(module=module, names=names):
            found = [alias.name for alias in names if alias.name.lstrip("_") in FORBIDDEN_MODULES]
            return f"import of {found[0]} from {module}" if found else ""
        case ast.Attribute(value=ast.Name(id=name), attr=attr) if name in modules:
            return f"{name}.{attr}" if attr.lstrip("_") in FORBIDDEN_MODULES else ""
    return ""


def _forbidden(node: ast.AST) -> str:
    match node:
        case ast.Import(names=names):
            for alias in names:
                if alias.name.partition(".")[0] in FORBIDDEN_MODULES:
                    return f"import of {alias.name}"
        case ast.ImportFrom(module=module, level=level):
            if level or module is None or module.partition(".")[0] in FORBIDDEN_MODULES:
                return f"import from {module or 'a package'}"
        case ast.Name(id=name) if name in FORBIDDEN_NAMES:
            return f"the name {name}"
        case ast.Attribute(attr=name) if name.startswith("__") and name not in _DUNDER_ATTRIBUTES:
            return f"the attribute {name}"
        case ast.Attribute(attr="gi_frame" | "cr_frame" | "ag_frame" | "tb_frame" | "f_globals" | "f_back" as name):
            return f"the attribute {name}"
        case ast.AsyncFunctionDef() | ast.Await():
            return "async"
    return ""


@lru_cache(maxsize=16_384)
def normalise(program: str) -> str:
    """A text that is equal for programs that differ only in layout, comments, docstrings and local names.

    The names that the program itself binds (but for ``f``) are renamed in order of appearance to x, x1, x2, ...
    A program that does not parse is its own normal form.
    """
    tree = parse(program)
    if isinstance(tree, Rejection):
        return program
    try:
        return ast.unparse(_Renamed(tree).visit(_bare(tree)))
    except (RecursionError, ValueError):  # ValueError: an integer that has no decimal text, an f-string without a form
        return program


def _bare(tree: ast.Module) -> ast.Module:
    """The tree without docstrings, annotations and statements that do nothing."""
    for node in ast.walk(tree):
        if (
            isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Module))
            and ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list):
                kept = [item for item in block if not _does_nothing(item)]
                if not isinstance(node, ast.ClassDef):  # there an annotation makes a field
                    kept = [_plain(item) for item in kept]
                setattr(node, name, kept or ([ast.Pass()] if block else []))
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
    return tree


def _does_nothing(node: ast.AST) -> bool:
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def _plain(node: ast.stmt) -> ast.stmt:
    """An assignment without its annotation."""
    if isinstance(node, ast.AnnAssign) and node.value is not None:
        return ast.copy_location(ast.Assign([node.target], node.value), node)
    return node


class _Renamed(ast.NodeTransformer):
    def __init__(self, tree: ast.Module) -> None:
        keywords = {node.arg for node in ast.walk(tree) if isinstance(node, ast.keyword)}
        bound = bound_names(tree) - keywords - {"f"} - set(dir(builtins))
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - bound
        fresh = (name for name in _names() if name not in used and name not in keywords)
        self._names: dict[str, str] = {}
        for node in _in_order(tree):
            name = _name_of(node)
            if name in bound and name not in self._names:
                self._names[name] = next(fresh)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = self._names.get(node.id, node.id)
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.arg = self._names.get(node.arg, node.arg)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.name = self._names.get(node.name, node.name)
        self.generic_visit(node)
        return node


def _names() -> Iterator[str]:
    yield "x"
    number = 1
    while True:
        yield f"x{number}"
        number += 1


def _in_order(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _in_order(child)


def _name_of(node: ast.AST) -> str:
    match node:
        case ast.Name(id=name) | ast.arg(arg=name) | ast.FunctionDef(name=name):
            return name
    return ""


def bound_names(tree: ast.Module) -> set[str]:
    """Names bound by parameters, assignments and nested functions; not by classes, imports or ``global``."""
    bound: set[str] = set()
    kept: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.arg(arg=name) | ast.FunctionDef(name=name):
                bound.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                bound.add(name)
            case ast.ClassDef(name=name, body=body):
                kept |= {name} | _attributes(body)
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                kept |= {alias.asname or alias.name.partition(".")[0] for alias in names}
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                kept |= set(names)
            case ast.ExceptHandler(name=str(name)):
                kept.add(name)
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                kept.add(name)
    return bound - kept


def _attributes(body: list[ast.stmt]) -> set[str]:
    """Names of a class's methods and of what its body assigns, which attribute access finds by name."""
    names: set[str] = set()
    for item in body:
        if isinstance(item, ast.FunctionDef):
            names.add(item.name)
        else:
            names |= {
                node.id for node in ast.walk(item) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
            }
    return names
