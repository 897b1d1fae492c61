"""Computes `def f(x): return ...` over integers, from its syntax tree: model text is never run."""

import ast
import operator
from collections.abc import Callable

LARGEST = 10**6
"""Results beyond this size, and programs beyond `LONGEST`, count as failures."""
LONGEST = 120

_BINARY: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_CALLS: dict[str, Callable[..., int]] = {"max": max, "min": min}


def evaluate(source: str, x: int) -> int | None:
    """f(x); None where the source is anything but a sum, product, quotient, maximum ... of integers and x.

    >>> evaluate("def f(x): return max(x//2,3)*-2", 9)
    -8
    """
    if len(source) > LONGEST:
        return None
    try:
        match ast.parse(source).body:
            case [
                ast.FunctionDef(name="f", args=ast.arguments(args=[ast.arg(arg="x")]), body=[ast.Return(value=value)])
            ]:
                return _value(value, x)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError):
        return None
    return None


def _value(node: ast.expr | None, x: int) -> int:
    match node:
        case ast.Name(id="x"):
            return x
        case ast.Constant(value=int() as constant) if not isinstance(constant, bool):
            return _bounded(constant)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, x)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _bounded(_BINARY[type(op)](_value(left, x), _value(right, x)))
        case ast.Call(func=ast.Name(id=name), args=[_, _, *_] as operands, keywords=[]) if name in _CALLS:
            return _CALLS[name](*(_value(operand, x) for operand in operands))
    raise ValueError("not an integer expression")


def _bounded(value: int) -> int:
    if abs(value) > LARGEST:
        raise ValueError("too large")
    return value
