"""Random Python functions of one parameter, for warm-up corpora, seeds and controls.

Two shapes:

- a *chain*: one `return` in which operations are applied to `x` one after the other, as in
  `def f(x): return (x+4-2)//2+1`. A chain keeps its operations, so `values` follows it
  without running it;
- *statements*: assignments, if/else, a loop with an accumulator and a nested helper function,
  each over short chains.

`difficulty` is the number of operations. Everything is drawn from the generator that is passed
in, so equal seeds give equal programs. Nothing here runs Python source.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

Type = Literal["int", "str", "list"]
Family = Literal["chain", "affine"]
TYPES: tuple[Type, ...] = ("int", "str", "list")
INPUTS = range(0, 10)
"""Integers that `random_input` draws."""
SLOPES = (1, 2, 3, 4, 5, -1, -2)
"""Of affine programs."""
OFFSETS = range(-6, 13)
"""Of affine programs."""

Value = int | str | list[int]
_ATOM, _PRODUCT, _SUM = 3, 2, 1
"""How tightly an expression holds together; an operand that is looser gets brackets."""


@dataclass(frozen=True)
class Kind:
    """A kind of operation: its types, its text, and what it does to a value.

    Attributes:
        text: with `{x}` for the operand and `{c}` for the constant.
        needs: the least binding of an operand that stands without brackets; 0 within a call.
        binds: the binding of the result.
    """

    takes: Type
    gives: Type
    text: str
    needs: int
    binds: int
    act: Callable[..., Value]


@dataclass(frozen=True)
class Step:
    """One operation of a chain: a key of `KINDS` and its constant, None where it has none."""

    kind: str
    constant: int | str | None = None


@dataclass(frozen=True)
class Program:
    """A function `f` of one parameter.

    Attributes:
        parameter: the type of its parameter.
        steps: of a chain, in the order they are applied; None for statements.
    """

    source: str
    parameter: Type
    steps: tuple[Step, ...] | None


KINDS: dict[str, Kind] = {
    "+": Kind("int", "int", "{x}+{c}", _SUM, _SUM, lambda x, c: x + c),
    "-": Kind("int", "int", "{x}-{c}", _SUM, _SUM, lambda x, c: x - c),
    "*": Kind("int", "int", "{x}*{c}", _PRODUCT, _PRODUCT, lambda x, c: x * c),
    "//": Kind("int", "int", "{x}//{c}", _PRODUCT, _PRODUCT, lambda x, c: x // c),
    "%": Kind("int", "int", "{x}%{c}", _PRODUCT, _PRODUCT, lambda x, c: x % c),
    "max": Kind("int", "int", "max({x},{c})", 0, _ATOM, max),
    "min": Kind("int", "int", "min({x},{c})", 0, _ATOM, min),
    "str": Kind("int", "str", "str({x})", 0, _ATOM, lambda x, c: str(x)),
    "append text": Kind("str", "str", "{x}+{c}", _SUM, _SUM, lambda x, c: x + c),
    "prepend text": Kind("str", "str", "{c}+{x}", _PRODUCT, _SUM, lambda x, c: c + x),
    "repeat": Kind("str", "str", "{x}*{c}", _PRODUCT, _PRODUCT, lambda x, c: x * c),
    "reverse text": Kind("str", "str", "{x}[::-1]", _ATOM, _ATOM, lambda x, c: x[::-1]),
    "upper": Kind("str", "str", "{x}.upper()", _ATOM, _ATOM, lambda x, c: x.upper()),
    "take text": Kind("str", "str", "{x}[:{c}]", _ATOM, _ATOM, lambda x, c: x[:c]),
    "drop text": Kind("str", "str", "{x}[{c}:]", _ATOM, _ATOM, lambda x, c: x[c:]),
    "length of text": Kind("str", "int", "len({x})", 0, _ATOM, lambda x, c: len(x)),
    "count": Kind("str", "int", "{x}.count({c})", _ATOM, _ATOM, lambda x, c: x.count(c)),
    "append": Kind("list", "list", "{x}+[{c}]", _SUM, _SUM, lambda x, c: [*x, c]),
    "prepend": Kind("list", "list", "[{c}]+{x}", _PRODUCT, _SUM, lambda x, c: [c, *x]),
    "reverse": Kind("list", "list", "{x}[::-1]", _ATOM, _ATOM, lambda x, c: x[::-1]),
    "sort": Kind("list", "list", "sorted({x})", 0, _ATOM, lambda x, c: sorted(x)),
    "take": Kind("list", "list", "{x}[:{c}]", _ATOM, _ATOM, lambda x, c: x[:c]),
    "drop": Kind("list", "list", "{x}[{c}:]", _ATOM, _ATOM, lambda x, c: x[c:]),
    "sum": Kind("list", "int", "sum({x})", 0, _ATOM, lambda x, c: sum(x)),
    "length": Kind("list", "int", "len({x})", 0, _ATOM, lambda x, c: len(x)),
    "largest": Kind("list", "int", "max({x})", 0, _ATOM, lambda x, c: max(x)),
    "smallest": Kind("list", "int", "min({x})", 0, _ATOM, lambda x, c: min(x)),
    "first": Kind("list", "int", "{x}[0]", _ATOM, _ATOM, lambda x, c: x[0]),
    "last": Kind("list", "int", "{x}[-1]", _ATOM, _ATOM, lambda x, c: x[-1]),
}
_LETTERS = ("a", "b", "c")
_CONSTANTS: dict[str, tuple[int | str, ...]] = {
    **dict.fromkeys(("+", "-", "max", "append", "prepend"), tuple(range(1, 6))),
    **dict.fromkeys(("*", "//"), (2, 3)),
    "%": tuple(range(3, 8)),
    **dict.fromkeys(("append text", "prepend text", "count"), _LETTERS),
    "repeat": (2,),
    **dict.fromkeys(("take text", "drop text", "take", "drop"), (1, 2)),
}
_CHAIN_KINDS: dict[Type, tuple[str, ...]] = {
    "int": ("+", "+", "-", "-", "*", "*", "%", "//", "max"),
    "str": tuple(name for name, kind in KINDS.items() if kind.takes == "str"),
    "list": tuple(name for name, kind in KINDS.items() if kind.takes == "list"),
}
"""What a chain draws from at each type; a kind that is listed twice is drawn twice as often."""
INNER: tuple[Step | None, ...] = (
    None,
    *(Step("//", c) for c in (2, 3)),
    *(Step("%", c) for c in (3, 4, 5)),
    *(Step("max", c) for c in (3, 4, 5)),
    *(Step("min", c) for c in (4, 5, 6)),
)
"""The g of affine programs `g(x) * a + b`; None is x itself."""


def expression(steps: tuple[Step, ...], operand: str = "x") -> str:
    """The source of the steps applied to `operand`, a name.

    >>> expression((Step("+", 4), Step("*", 3), Step("max", 5)))
    'max((x+4)*3,5)'
    """
    text, binding = operand, _ATOM
    for step in steps:
        kind = KINDS[step.kind]
        inner = text if binding >= kind.needs else f"({text})"
        constant = repr(step.constant) if isinstance(step.constant, str) else step.constant
        text, binding = kind.text.format(x=inner, c=constant), kind.binds
    return text


def values(steps: tuple[Step, ...], start: Value) -> list[Value]:
    """`start` and the value after each step, as CPython would compute them.

    Raises:
        IndexError, ValueError: a step fails on its value, such as the largest of an empty list.

    >>> values((Step("+", 4), Step("*", 3)), 2)
    [2, 6, 18]
    """
    result = [start]
    for step in steps:
        result.append(KINDS[step.kind].act(result[-1], step.constant))
    return result


def chain(steps: tuple[Step, ...], parameter: Type) -> Program:
    """The one-line program of these steps."""
    return Program(f"def f(x): return {expression(steps)}", parameter, steps)


def affine(inner: Step | None, slope: int, offset: int) -> Program:
    """`g(x) * slope + offset` in its shortest form: no `*1`, no `+0`.

    >>> affine(Step("//", 3), 2, -7).source
    'def f(x): return x//3*2-7'
    """
    steps = [inner] if inner else []
    if slope != 1:
        steps.append(Step("*", slope))
    if offset:
        steps.append(Step("+", offset) if offset > 0 else Step("-", -offset))
    return chain(tuple(steps), "int")


def random_program(
    rng: np.random.Generator,
    types: tuple[str, ...] = TYPES,
    difficulty: int = 3,
    statements: bool = False,
    family: Family = "chain",
) -> Program:
    """A program of exactly `difficulty` operations (at least 1).

    Args:
        types: of the parameter and of every value in between; out of `TYPES`.
        statements: several statements instead of a chain, from difficulty 2 on.
        family: "affine" gives `g(x) * a + b` on integers and ignores the other arguments.

    Raises:
        ValueError: no types, an unknown type, or a difficulty under 1.
    """
    if family == "affine":
        return affine(_pick(rng, INNER), _pick(rng, SLOPES), _pick(rng, OFFSETS))
    if not types or difficulty < 1 or not set(types) <= set(TYPES):
        raise ValueError(f"need types out of {TYPES} and a difficulty of at least 1; got {types}, {difficulty}")
    allowed = tuple(name for name in TYPES if name in types)
    parameter = _pick(rng, allowed)
    if statements and difficulty > 1:
        return Program(_statements(rng, parameter, allowed, difficulty), parameter, None)
    return chain(_random_steps(rng, parameter, allowed, difficulty), parameter)


def random_input(rng: np.random.Generator, type: Type) -> Value:
    """An argument: an integer of `INPUTS`, 1 to 4 letters of "abc", or 2 to 4 integers from 0 to 5."""
    if type == "int":
        return int(rng.integers(INPUTS.start, INPUTS.stop))
    if type == "str":
        return "".join(_pick(rng, _LETTERS) for _ in range(int(rng.integers(1, 5))))
    return [int(item) for item in rng.integers(0, 6, size=int(rng.integers(2, 5)))]


def _pick(rng: np.random.Generator, items):  # type: ignore[no-untyped-def]
    return items[int(rng.integers(len(items)))]


def _random_steps(
    rng: np.random.Generator, start: Type, allowed: tuple[Type, ...], count: int, end: Type | None = None
) -> tuple[Step, ...]:
    """`count` steps from `start`; those that would leave `allowed` or miss `end` are not drawn."""
    steps: list[Step] = []
    current = start
    for left in range(count - 1, -1, -1):
        names = [name for name in _CHAIN_KINDS[current] if KINDS[name].gives in allowed]
        if left == 0 and end:
            names = [name for name in names if KINDS[name].gives == end]
        name = _pick(rng, names)
        constants = _CONSTANTS.get(name)
        steps.append(Step(name, _pick(rng, constants) if constants else None))
        current = KINDS[name].gives
    return tuple(steps)


def _result(steps: tuple[Step, ...]) -> Type:
    return KINDS[steps[-1].kind].gives


def _statements(rng: np.random.Generator, start: Type, allowed: tuple[Type, ...], difficulty: int) -> str:
    """A function body that spends `difficulty` operations on several statements."""
    helper: list[str] = []
    lines: list[str] = []
    name, current, left = "x", start, difficulty
    while left:
        form = _pick(rng, ("assign", "branch", "loop", "helper"))
        if form == "branch" and current == "int" and left >= 2:
            # The comparison is free; each branch costs what it computes.
            yes, no = (_random_steps(rng, "int", ("int",), 1) for _ in range(2))
            lines += [f"if {name} > {int(rng.integers(2, 9))}:", f"    y = {expression(yes, name)}"]
            lines += ["else:", f"    y = {expression(no, name)}"]
            left -= 2
        elif form == "loop" and current in ("int", "list") and left >= 2:
            lines += _loop(rng, name, current)
            current = "int"
            left -= 2
        elif form == "helper" and not helper:
            steps = _random_steps(rng, current, (current,), 1)
            helper = ["def g(a):", f"    return {expression(steps, 'a')}"]
            lines.append(f"y = g({name})")
            left -= 1
        else:
            steps = _random_steps(rng, current, allowed, min(left, int(rng.integers(1, 3))))
            lines.append(f"y = {expression(steps, name)}")
            current = _result(steps)
            left -= len(steps)
        name = "y"
    return "\n".join(["def f(x):", *(f"    {line}" for line in [*helper, *lines, "return y"])])


def _loop(rng: np.random.Generator, name: str, type: Type) -> list[str]:
    """A loop that adds up a chain of its item: two operations."""
    over = name if type == "list" else f"range({name} % {int(rng.integers(3, 7))})"
    steps = _random_steps(rng, "int", ("int",), 1)
    return ["total = 0", f"for item in {over}:", f"    total += {expression(steps, 'item')}", "y = total"]
