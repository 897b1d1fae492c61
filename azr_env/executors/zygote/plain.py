"""The gate of shared processes: which programs can leave nothing behind in the process that runs them.

A program is *plain* when its syntax tree holds only what stands on the lists below. Everything else is not plain, which
costs it speed and nothing more: it gets a process of its own. The reasoning, in one paragraph: what outlives a
program is the interpreter's own state, and a program reaches that by storing to an attribute, by a class, by a name
such as ``type`` or ``setattr``, by a module that has state, by frames, or by an underscore name. None of these is on
the lists. What is left are functions, literals, operators and methods of built-in values, which are made
anew by every call. Nor does a plain program keep state of its own between calls: at module level it
binds functions and immutable constants, and no function can bind a name there.
"""

from __future__ import annotations

import ast
import builtins
import re
import string
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, ClassVar

MAX_PROGRAM = 8_000
"""Longest program, in characters, that is looked at."""
MAX_NODES = 4_000
"""Most syntax-tree nodes of a plain program."""

NODES = frozenset(
    getattr(ast, name)
    for name in (
        "Module FunctionDef arguments arg Return Delete Assign AugAssign AnnAssign For While If Raise Try "
        "ExceptHandler Assert Import ImportFrom alias Expr Pass Break Continue Nonlocal BoolOp NamedExpr BinOp "
        "UnaryOp Lambda IfExp Dict Set ListComp SetComp DictComp GeneratorExp comprehension Compare Call keyword "
        "FormattedValue JoinedStr Constant Attribute Subscript Starred Name List Tuple Slice Load Store Del And Or "
        "Add Sub Mult MatMult Div Mod Pow LShift RShift BitOr BitXor BitAnd FloorDiv Invert Not UAdd USub Eq NotEq "
        "Lt LtE Gt GtE Is IsNot In NotIn"
    ).split()
)
"""The only node types. No class, decorator, ``global``, ``yield``, ``with``, ``match`` or ``async``."""

TYPES = frozenset("bool bytes complex dict float frozenset int list set str tuple".split())
EXCEPTIONS = frozenset(
    "ArithmeticError AssertionError AttributeError EOFError FloatingPointError IndexError KeyError LookupError "
    "NameError NotImplementedError OverflowError RecursionError RuntimeError StopIteration TypeError UnboundLocalError "
    "UnicodeDecodeError UnicodeEncodeError UnicodeError ValueError ZeroDivisionError".split()
)
"""What a handler may catch. Not ``MemoryError``, nor what it is one of: the memory left depends on what ran before."""
BUILTINS = (
    TYPES
    | EXCEPTIONS
    | frozenset(
        "abs all any ascii bin bytearray callable chr divmod enumerate filter format hex isinstance issubclass iter "
        "len map max min next oct ord pow print range repr reversed round slice sorted sum zip Exception".split()
    )
)
"""The only built-in names. ``type(x)`` is allowed besides where it is compared at once."""

METHODS = frozenset(
    "add append as_integer_ratio bit_count bit_length capitalize casefold center clear conjugate copy count decode "
    "denominator difference difference_update discard encode endswith expandtabs extend find from_bytes fromhex "
    "fromkeys get hex imag index insert intersection intersection_update is_integer isalnum isalpha isascii "
    "isdecimal isdigit isdisjoint isidentifier islower isnumeric isprintable isspace issubset issuperset istitle "
    "isupper items join keys ljust lower lstrip maketrans numerator partition pop popitem real remove removeprefix "
    "removesuffix replace reverse rfind rindex rjust rpartition rsplit rstrip setdefault sort split splitlines "
    "start startswith step stop strip swapcase symmetric_difference symmetric_difference_update title to_bytes "
    "translate union update upper values zfill".split()
)
"""Attributes of built-in values that may be read. ``format`` besides, on a literal whose fields name no attribute."""
MODULES = {
    "math": "acos acosh asin asinh atan atan2 atanh ceil comb copysign cos cosh degrees dist e erf erfc exp expm1 fabs "
    "factorial floor fmod frexp fsum gamma gcd hypot inf isclose isfinite isinf isnan isqrt lcm ldexp lgamma log log10 "
    "log1p log2 modf nan perm pi pow prod radians remainder sin sinh sqrt tan tanh tau trunc",
    "collections": "Counter OrderedDict defaultdict deque",
    "itertools": "accumulate chain combinations combinations_with_replacement compress count cycle dropwhile "
    "filterfalse groupby islice pairwise permutations product repeat starmap takewhile zip_longest",
    "functools": "reduce",
    "string": "ascii_letters ascii_lowercase ascii_uppercase digits hexdigits octdigits printable punctuation "
    "whitespace",
    "heapq": "heapify heappop heappush heappushpop heapreplace nlargest nsmallest",
    "bisect": "bisect bisect_left bisect_right insort insort_left insort_right",
}
"""Modules without state, and what may be used of each. All are loaded before any program runs."""
HINTS = frozenset(
    "Any Callable Deque Dict FrozenSet Generator Iterable Iterator List Mapping Optional Sequence Set Tuple "
    "Union".split()
)
"""What may be imported from ``typing``, for annotations only."""
ATTRIBUTES = METHODS.union(
    *(names.split() for names in MODULES.values()),
    "appendleft elements extendleft from_iterable most_common move_to_end popleft rotate subtract".split(),
)

_REFUSED_NAMES = frozenset(dir(builtins)) - BUILTINS
_SIMPLE_FIELD = re.compile(r"\w*")


class _Refused(Exception):
    """Why a program is not plain."""


def plain(program: str) -> bool:
    """Whether the program can leave nothing behind and keeps no state between calls. Total for any text."""
    return not why_not(program)


@lru_cache(maxsize=16_384)
def why_not(program: str) -> str:
    """Why a program is not plain, or ``""`` if it is.

    >>> why_not("def f(x): return sorted(x)"), why_not("import os")
    ('', 'import of os')
    """
    if len(program) > MAX_PROGRAM:
        return "too long"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(program)
        _Gate().check(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return "syntax"
    except _Refused as exc:
        return str(exc)
    return ""


class _Gate:
    """One walk over a tree. Raises at the first thing that is not on the lists."""

    def __init__(self) -> None:
        self._hints: set[str] = set()
        self._annotations: set[str] = set()
        self._caught: set[str] = set()
        self._bound: set[str] = set()

    def check(self, tree: ast.Module) -> None:
        """Raises if anything in the tree is not on the lists."""
        for statement in tree.body:
            _check_top(statement)
        special = self._special
        stack: list[ast.AST] = [tree]
        count = 0
        while stack:
            node = stack.pop()
            count += 1
            kind = type(node)
            handler = special.get(kind)
            if handler is not None:
                stack.extend(handler(self, node))
            elif kind in NODES:
                stack.extend(ast.iter_child_nodes(node))
            else:
                raise _Refused(kind.__name__)
            if count > MAX_NODES:
                raise _Refused("too many nodes")
        if not self._annotations <= (TYPES | self._hints) - self._bound:
            raise _Refused("an annotation that is no type")
        if self._caught & self._bound:
            raise _Refused("an exception's name bound anew")

    def _bind(self, name: str | None) -> None:
        if name is None:
            return
        if name in _REFUSED_NAMES or name.startswith("__"):
            raise _Refused(f"the name {name}")
        self._bound.add(name)

    def _name(self, node: ast.Name) -> list[ast.AST]:
        if type(node.ctx) is not ast.Load:
            self._bind(node.id)
        elif node.id in _REFUSED_NAMES or node.id in HINTS or node.id.startswith("__"):
            raise _Refused(f"the name {node.id}")
        return []

    def _attribute(self, node: ast.Attribute) -> list[ast.AST]:
        if node.attr not in ATTRIBUTES or type(node.ctx) is not ast.Load:
            raise _Refused(f"the attribute {node.attr}")
        return [node.value]

    def _call(self, node: ast.Call) -> Iterator[ast.AST]:
        match node.func:
            case ast.Attribute(attr="format", value=ast.Constant(value=str() as text)):
                if not _simple_format(text):
                    raise _Refused("a format that names an attribute")
            case _:
                yield node.func
        yield from node.args
        yield from node.keywords

    def _compare(self, node: ast.Compare) -> Iterator[ast.AST]:
        operands = [node.left, *node.comparators]
        for operation, left, right in zip(node.ops, operands, operands[1:], strict=False):
            # Identity of other values tells what the interpreter has kept of earlier ones.
            if isinstance(operation, ast.Is | ast.IsNot) and not (_lasting(left) or _lasting(right)):
                raise _Refused("identity of values")
        for operand in operands:
            yield operand.args[0] if _type_of(operand) else operand  # type: ignore[attr-defined]

    def _function(self, node: ast.FunctionDef) -> Iterator[ast.AST]:
        self._bind(node.name)
        if node.decorator_list:
            raise _Refused("a decorator")
        self._annotate(node.returns)
        for child in ast.iter_child_nodes(node):
            if child is not node.returns:
                yield child

    def _arg(self, node: ast.arg) -> list[ast.AST]:
        self._bind(node.arg)
        self._annotate(node.annotation)
        return []

    def _annotated(self, node: ast.AnnAssign) -> list[ast.AST]:
        self._annotate(node.annotation)
        return [node.target, node.value] if node.value else [node.target]

    def _annotate(self, node: ast.expr | None) -> None:
        match node:
            case None | ast.Constant(value=None):
                return
            case ast.Name(id=name):
                self._annotations.add(name)
            case ast.Constant(value=value) if value is ...:
                return
            case ast.Subscript(value=ast.Name() as outer, slice=inner):
                self._annotate(outer)
                self._annotate(inner)
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                for part in parts:
                    self._annotate(part)
            case _:
                raise _Refused("an annotation that is no type")

    def _try(self, node: ast.Try) -> Iterator[ast.AST]:
        if node.finalbody:
            raise _Refused("finally")
        yield from ast.iter_child_nodes(node)

    def _handler(self, node: ast.ExceptHandler) -> list[ast.AST]:
        caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        for kind in caught:
            if not (isinstance(kind, ast.Name) and kind.id in EXCEPTIONS):
                raise _Refused("a handler that catches too much")
            self._caught.add(kind.id)
        self._bind(node.name)
        return list(node.body)

    def _import(self, node: ast.Import) -> list[ast.AST]:
        for alias in node.names:
            if alias.name not in MODULES:
                raise _Refused(f"import of {alias.name}")
            self._bind(alias.asname)
        return []

    def _import_from(self, node: ast.ImportFrom) -> list[ast.AST]:
        for alias in node.names:
            if not node.level and node.module == "typing" and alias.name in HINTS and alias.asname is None:
                self._hints.add(alias.name)
            elif not node.level and alias.name in MODULES.get(node.module or "", "").split():
                self._bind(alias.asname)
            else:
                raise _Refused(f"import from {node.module}")
        return []

    _special: ClassVar[dict[type[ast.AST], Callable[[Any, Any], Iterable[ast.AST]]]] = {
        ast.Name: _name,
        ast.Attribute: _attribute,
        ast.Call: _call,
        ast.Compare: _compare,
        ast.FunctionDef: _function,
        ast.arg: _arg,
        ast.AnnAssign: _annotated,
        ast.Try: _try,
        ast.ExceptHandler: _handler,
        ast.Import: _import,
        ast.ImportFrom: _import_from,
    }


def _check_top(node: ast.stmt) -> None:
    """At module level: functions, imports, docstrings, and names for immutable constants."""
    match node:
        case ast.FunctionDef(args=arguments):
            given = [*arguments.defaults, *arguments.kw_defaults]
            if not all(default is None or _immutable(default) for default in given):
                raise _Refused("a default that can change")
        case ast.Import() | ast.ImportFrom() | ast.Pass() | ast.Expr(value=ast.Constant()):
            return
        case ast.Assign(targets=targets, value=value) if _immutable(value):
            if not all(isinstance(target, ast.Name) for target in targets):
                raise _Refused("an assignment at module level")
        case ast.AnnAssign(target=ast.Name(), value=value) if value is None or _immutable(value):
            return
        case _:
            raise _Refused(f"{type(node).__name__} at module level")


def _immutable(node: ast.expr) -> bool:
    match node:
        case ast.Constant():
            return True
        case ast.UnaryOp(operand=ast.Constant()):
            return True
        case ast.Tuple(elts=parts):
            return all(map(_immutable, parts))
    return False


def _lasting(node: ast.expr) -> bool:
    """Whether the value exists once and for all: None, True, False, or a type."""
    if isinstance(node, ast.Constant):
        return node.value is None or isinstance(node.value, bool)
    return _type_of(node)


def _type_of(node: ast.expr) -> bool:
    """Whether this is ``type(x)``. Only the operand of a comparison may be."""
    match node:
        case ast.Call(func=ast.Name(id="type"), args=[argument], keywords=[]):
            return not isinstance(argument, ast.Starred)
    return False


def _simple_format(text: str) -> bool:
    """Whether every field is a number or a name, also those inside of a field's width."""
    for _, field, spec, _ in string.Formatter().parse(text):
        if field is not None and not _SIMPLE_FIELD.fullmatch(field):
            return False
        if spec and not _simple_format(spec):
            return False
    return True
