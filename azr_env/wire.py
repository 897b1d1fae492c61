"""Canonical text of plain values: the form in which they cross the sandbox's border (floor 0).

Two values are strictly equal exactly when their canonical texts are equal, so sets and dicts are
written in the order of their members' texts. Arguments of a call are the exception: a function can see the order of a
dict, so there its pairs keep their order (``ordered``). Runs inside the sandbox too: standard library only, no imports
from this package, and no recursion that depends on the interpreter's limit beyond ``MAX_DEPTH``.

Grammar: ``N`` None, ``T`` ``F`` booleans, ``i<hex>;`` int, ``f<float.hex>;`` or ``fnan;``, ``c<hex>,<hex>;`` complex,
``s<code points>:<text>`` str, ``b<hex>;`` bytes, and ``[..]`` list, ``(..)`` tuple, ``{kv..}`` dict, ``<..>`` set,
``/..\\`` frozenset.
"""

from __future__ import annotations

MAX_DEPTH = 64
"""Deepest nesting of containers."""
MAX_NODES = 100_000
"""Most values in one canonical text."""
MAX_INT_BITS = 65_536
"""Longest integer."""


class NotPlain(ValueError):
    """A value, or a text, outside the canonical forms. The message says which."""


def _float(value: float) -> str:
    return "nan" if value != value else value.hex()


def encode(value: object, ordered: bool = False) -> str:
    """Canonical text of a plain value.

    Only exact built-in types count: a subclass of ``int`` or ``list`` is not plain.

    Args:
        ordered: keep the order of dicts instead of sorting their pairs. Texts are then equal only for values whose
            dicts agree in order too.

    Raises:
        NotPlain: another type, deeper than ``MAX_DEPTH``, more than ``MAX_NODES`` values, or an
            integer over ``MAX_INT_BITS`` bits.
    """
    budget = [MAX_NODES]
    return _encode(value, 0, budget, ordered)


def _encode(value: object, depth: int, budget: list[int], ordered: bool) -> str:
    budget[0] -= 1
    if budget[0] < 0:
        raise NotPlain("too many values")
    if value is None:
        return "N"
    if value is True:
        return "T"
    if value is False:
        return "F"
    kind = type(value)
    if kind is int:
        if value.bit_length() > MAX_INT_BITS:  # type: ignore[attr-defined]
            raise NotPlain("integer too long")
        return f"i{value:x};"
    if kind is str:
        return f"s{len(value)}:{value}"  # type: ignore[arg-type]
    if kind is float:
        return f"f{_float(value)};"  # type: ignore[arg-type]
    if kind is bytes:
        return f"b{value.hex()};"  # type: ignore[attr-defined]
    if kind is complex:
        return f"c{_float(value.real)},{_float(value.imag)};"  # type: ignore[attr-defined]
    if depth >= MAX_DEPTH:
        raise NotPlain("nested too deeply")
    depth += 1
    if kind is list:
        return "[" + "".join([_encode(item, depth, budget, ordered) for item in value]) + "]"  # type: ignore[attr-defined]
    if kind is tuple:
        return "(" + "".join([_encode(item, depth, budget, ordered) for item in value]) + ")"  # type: ignore[attr-defined]
    if kind is dict:
        pairs = [
            _encode(key, depth, budget, ordered) + _encode(item, depth, budget, ordered)
            for key, item in value.items()  # type: ignore[attr-defined]
        ]
        if not ordered:
            pairs.sort()
        return "{" + "".join(pairs) + "}"
    if kind is set:
        return "<" + "".join(sorted([_encode(item, depth, budget, ordered) for item in value])) + ">"  # type: ignore[attr-defined]
    if kind is frozenset:
        return "/" + "".join(sorted([_encode(item, depth, budget, ordered) for item in value])) + "\\"  # type: ignore[attr-defined]
    raise NotPlain(f"type {kind.__name__}")


def decode(text: str) -> object:
    """The value of a canonical text, ordered or not, its dicts in the order of the text; total on any text.

    Raises:
        NotPlain: ``text`` is not exactly what :func:`encode` writes for some value.
    """
    reader = _Reader(text)
    try:
        value = reader.value(0)
    except (ValueError, OverflowError, TypeError) as exc:
        raise NotPlain(f"not canonical: {exc}") from None
    if reader.at != len(text):
        raise NotPlain("text after the value")
    if encode(value, ordered=True) != text:
        raise NotPlain("not the canonical text of its value")
    return value


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.nodes = 0

    def until(self, mark: str, most: int) -> str:
        end = self.text.find(mark, self.at, self.at + most)
        if end < 0:
            raise NotPlain(f"no {mark!r}")
        token = self.text[self.at : end]
        self.at = end + 1
        return token

    def number(self, token: str) -> float:
        return float("nan") if token == "nan" else float.fromhex(token)

    def members(self, close: str, depth: int) -> list[object]:
        if depth >= MAX_DEPTH:
            raise NotPlain("nested too deeply")
        items = []
        while self.text[self.at : self.at + 1] != close:
            items.append(self.value(depth + 1))
        self.at += 1
        return items

    def value(self, depth: int) -> object:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise NotPlain("too many values")
        tag = self.text[self.at : self.at + 1]
        self.at += 1
        if tag == "N":
            return None
        if tag == "T":
            return True
        if tag == "F":
            return False
        if tag == "i":
            return int(self.until(";", MAX_INT_BITS // 4 + 3), 16)
        if tag == "s":
            size = int(self.until(":", 12))
            if size < 0 or self.at + size > len(self.text):
                raise NotPlain("string shorter than it says")
            self.at += size
            return self.text[self.at - size : self.at]
        if tag == "f":
            return self.number(self.until(";", 40))
        if tag == "c":
            real = self.number(self.until(",", 40))
            return complex(real, self.number(self.until(";", 40)))
        if tag == "b":
            return bytes.fromhex(self.until(";", len(self.text)))
        if tag == "[":
            return self.members("]", depth)
        if tag == "(":
            return tuple(self.members(")", depth))
        if tag == "{":
            flat = self.members("}", depth)
            if len(flat) % 2:
                raise NotPlain("key without a value")
            return dict(zip(flat[::2], flat[1::2], strict=True))
        if tag == "<":
            return set(self.members(">", depth))
        if tag == "/":
            return frozenset(self.members("\\", depth))
        raise NotPlain(f"unknown tag {tag!r}")
