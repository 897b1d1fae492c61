"""Hypothesis strategies that several files share."""

from __future__ import annotations

import math

from hypothesis import strategies as st

wild_text = st.text(st.characters(exclude_categories=()), max_size=200)
"""Any text at all: NUL, lone surrogates, unassigned code points."""


def _has_literal(z: complex) -> bool:
    """Whether a finite complex number can be written as `a+bj`: a negative zero cannot."""
    return all(part != 0 or math.copysign(1, part) > 0 for part in (z.real, z.imag))


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-10, 10),
    st.integers(-(2**300), 2**300),
    st.floats(),
    st.complex_numbers(allow_nan=False, allow_infinity=False).filter(_has_literal),
    st.text(st.characters(exclude_categories=()), max_size=12),
    st.binary(max_size=8),
)
hashables = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3).map(tuple), st.frozensets(inner, max_size=3)),
    max_leaves=6,
)
plain_values = st.recursive(
    st.one_of(scalars, hashables, st.sets(hashables, max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(hashables, inner, max_size=4),
    ),
    max_leaves=12,
)
"""Plain values of every kind, nested; complex ones only where they have a literal."""

literals = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-20, 20),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(exclude_categories=()), max_size=6),
        st.binary(max_size=3),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.one_of(st.integers(-5, 5), st.text(max_size=3)), inner, max_size=3),
        st.sets(st.integers(-5, 5), min_size=1, max_size=4),
    ),
    max_leaves=6,
)
"""Plain values that `ast.literal_eval` reads too, so that it can serve as an independent judge."""


@st.composite
def edited(draw: st.DrawFn, text: str) -> str:
    """`text` after one to three small edits: the near misses of an answer."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        kind = draw(st.sampled_from(["insert", "delete", "replace", "append", "double"]))
        piece = draw(st.one_of(st.sampled_from(list("0123456789-+.,:;()[]{}'\"#*_ejxX \n\t\\`")), st.characters()))
        if kind == "insert":
            text = text[:at] + piece + text[at:]
        elif kind == "delete":
            text = text[:at] + text[at + 1 :]
        elif kind == "replace":
            text = text[:at] + piece + text[at + 1 :]
        elif kind == "append":
            text += piece
        else:
            text = text[:at] + text[at : at + 2] * 2 + text[at + 2 :]
    return text
