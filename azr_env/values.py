"""Text to plain value and back, and when two values are equal (floor 0).

A *plain value* is None, bool, int, float (infinities and NaN included), complex, str, bytes, or a list, tuple,
dict, set or frozenset of plain values. Anything else has no text here: not Ellipsis, not a lambda, not a
``Counter``. Nothing is evaluated: text is parsed to a syntax tree and only literal nodes are read.
"""

from __future__ import annotations

import ast
import warnings
from typing import Literal, get_args

from azr_env import wire
from azr_env.errors import SettingError, ValueFormatError

Equality = Literal["strict", "python"]
"""``strict``: same types all the way down (True is not 1, 0.0 is not -0.0, NaN is NaN, list is not tuple).
``python``: ``==`` between the decoded values, to reproduce published scores."""

MAX_TEXT = 32_768
"""Longest text, in characters, that is read as a value."""

_NAMED = ("inf", "nan")
_INT_REPR_BITS = 12_000  # CPython refuses decimal text beyond 4300 digits; longer ones are written in hexadecimal


def encode(value: object, ordered: bool = False) -> str:
    """Canonical text of a plain value; equal texts mean strictly equal values.

    Args:
        ordered: keep the order of dicts, as the arguments of a call need; see :func:`azr_env.wire.encode`.

    Raises:
        ValueFormatError: the value is not plain, or too large (see :mod:`azr_env.wire`).
    """
    try:
        return wire.encode(value, ordered)
    except wire.NotPlain as exc:
        raise ValueFormatError(f"not a plain value: {exc}") from None


def decode(text: str) -> object:
    """The value of a canonical text.

    Raises:
        ValueFormatError: not a canonical text. Total: nothing else is raised, for any text.
    """
    try:
        return wire.decode(text)
    except wire.NotPlain as exc:
        raise ValueFormatError(f"not a canonical text: {exc}") from None


def parse(text: str) -> object:
    """The value that a Python literal denotes.

    Beyond ``ast.literal_eval``: ``inf``, ``nan``, ``float('inf')``, ``set()``, ``frozenset(...)``; strictly
    less: no Ellipsis.

    Args:
        text: at most ``MAX_TEXT`` characters; blanks around it are ignored.

    Raises:
        ValueFormatError: no literal, or too long or too deep. Nothing else, for any text.
    """
    return _value(_tree(text.strip()))


def parse_arguments(text: str) -> tuple[object, ...]:
    """The positional arguments that ``text`` lists, separated by commas; empty text means none.

    >>> parse_arguments("(1, 2), 'a'")
    ((1, 2), 'a')

    Raises:
        ValueFormatError: as :func:`parse`; keyword and starred arguments are refused too.
    """
    text = text.strip()
    # Read as what stands between the brackets of a call; text that closes them early gives another tree than one call.
    match _tree(text, "f(", "\n)"):
        case ast.Call(func=ast.Name(id="f"), args=items, keywords=[]):
            result = tuple(_value(item) for item in items)
            encode(result)
            return result
    raise ValueFormatError(f"not a list of arguments: {_short(text)}")


def render(value: object) -> str:
    """Python literal text of a plain value, one line, the same for equal values but for dict order.

    ``parse(render(v))`` is strictly equal to ``v``, where the text is not longer than ``MAX_TEXT``.

    Raises:
        ValueFormatError: the value is not plain, or complex with a part that no literal has.
    """
    encode(value)
    return _render(value)


def render_arguments(arguments: tuple[object, ...]) -> str:
    """Text of positional arguments, as :func:`parse_arguments` reads it."""
    return ", ".join(render(item) for item in arguments)


def equal(a: object, b: object, equality: Equality = "strict") -> bool:
    """Whether two plain values are equal under the named equality.

    Raises:
        SettingError: unknown equality.
    """
    if equality == "strict":
        return encode(a) == encode(b)
    if equality == "python":
        return bool(a == b)
    raise SettingError(f"equality={equality!r} is unknown; choose one of {', '.join(get_args(Equality))}")


def _tree(text: str, before: str = "", after: str = "") -> ast.expr:
    if len(text) > MAX_TEXT:
        raise ValueFormatError(f"{len(text)} characters, at most {MAX_TEXT} are read as a value")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes, "is" with a literal: the text is a model's
            return ast.parse(before + text + after, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        raise ValueFormatError(f"not a Python literal: {_short(text)}") from None


def _value(node: ast.expr) -> object:
    try:
        value = _convert(node, 0)
    except RecursionError:
        raise ValueFormatError("nested too deeply") from None
    except (TypeError, OverflowError) as exc:  # unhashable member or key; a real part too large for a complex number
        raise ValueFormatError(f"not a plain value: {exc}") from None
    encode(value)
    return value


def _convert(node: ast.expr, depth: int) -> object:
    if depth > wire.MAX_DEPTH:
        raise ValueFormatError("nested too deeply")
    depth += 1
    match node:
        case ast.Constant(value=value) if value is not ...:
            return value
        case ast.Tuple(elts=elts):
            return tuple([_convert(item, depth) for item in elts])
        case ast.List(elts=elts):
            return [_convert(item, depth) for item in elts]
        case ast.Set(elts=elts):
            return {_convert(item, depth) for item in elts}
        case ast.Dict(keys=keys, values=items):
            if any(key is None for key in keys):
                raise ValueFormatError("** is an expression, not a value")
            return {_convert(k, depth): _convert(v, depth) for k, v in zip(keys, items, strict=True) if k is not None}
        case ast.Name(id=name) if name in _NAMED:
            return float(name)  # a new NaN each time: `==` of containers takes one object for equal to itself
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            return _signed(node.op, operand)
        case ast.BinOp(op=ast.Add() | ast.Sub(), left=left, right=ast.Constant(value=complex() as imaginary)):
            real = _convert(left, depth)
            if type(real) not in (int, float):
                raise ValueFormatError("an expression, not a value")
            return real + imaginary if isinstance(node.op, ast.Add) else real - imaginary  # type: ignore[operator]
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
            return _call(name, args, depth)
    raise ValueFormatError(f"{type(node).__name__}: an expression, not a value")


def _signed(op: ast.unaryop, operand: ast.expr) -> object:
    negative = isinstance(op, ast.USub)
    if isinstance(operand, ast.Name) and operand.id in _NAMED:
        value: object = float(operand.id)
    elif isinstance(operand, ast.Constant):
        value = operand.value
    else:
        raise ValueFormatError("an expression, not a value")
    if type(value) not in (int, float, complex):
        raise ValueFormatError("a sign before something that is no number")
    return -value if negative else value  # type: ignore[operator]


def _call(name: str, args: list[ast.expr], depth: int) -> object:
    match name, args:
        case "float", [ast.Constant(value=str() as word)] if word.lower() in ("inf", "-inf", "nan"):
            return float(word)
        case "set", []:
            return set()
        case "frozenset", []:
            return frozenset()
        case "frozenset", [ast.Set() | ast.List() | ast.Tuple() as inner]:
            return frozenset(_convert(inner, depth))  # type: ignore[call-overload]
    raise ValueFormatError(f"{_short(name)}(...) is a call, not a value")


def _render(value: object) -> str:
    match value:
        case bool() | None | str() | bytes():
            return repr(value)
        case int():
            return repr(value) if value.bit_length() <= _INT_REPR_BITS else hex(value)
        case float():
            return repr(value) if value - value == 0 else f"float('{value}')"
        case complex():
            return _render_complex(value)
        case list():
            return "[" + ", ".join(map(_render, value)) + "]"
        case tuple():
            return "(" + ", ".join(map(_render, value)) + (",)" if len(value) == 1 else ")")
        case dict():
            return "{" + ", ".join(f"{_render(k)}: {_render(v)}" for k, v in value.items()) + "}"
        case set():
            return "{" + ", ".join(map(_render, sorted(value, key=encode))) + "}" if value else "set()"
        case frozenset():
            inner = ", ".join(map(_render, sorted(value, key=encode)))
            return f"frozenset({{{inner}}})" if value else "frozenset()"
    raise ValueFormatError(f"not a plain value: type {type(value).__name__}")


def _render_complex(value: complex) -> str:
    text = f"{value.real!r}{'+' if repr(value.imag)[0] != '-' else ''}{value.imag!r}j"
    try:
        if encode(_value(_tree(text))) == encode(value):
            return text
    except ValueFormatError:
        pass
    raise ValueFormatError("a complex number with an infinity, a NaN or a negative zero has no literal")


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
