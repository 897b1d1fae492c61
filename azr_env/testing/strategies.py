"""Hypothesis strategies: tasks, programs, completions, near misses of an answer, any text, plain values (floor 7)."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

from azr_env import prompts
from azr_env.domains.python.generator import random_program
from azr_env.errors import SettingError
from azr_env.parsing import Style
from azr_env.protocols import Domain
from azr_env.types import Mode, Rejection, Task

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
"""Plain values that hold no other."""
hashables = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3).map(tuple), st.frozensets(inner, max_size=3)),
    max_leaves=6,
)
"""Plain values that may be keys of a dict."""
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
def near_misses(draw: st.DrawFn, key: str) -> str:
    """``key`` after one to three small edits. Now and then it is right all the same: ask a judge."""
    text = key
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


ODD_PROGRAMS: tuple[str, ...] = (
    "def f(*x):\n    return x",
    "def f(x, /, y=1, *, z=2):\n    return x, y, z",
    "def f(x):\n    return",
    "def f(x):\n    yield x",
    "def f(x):\n    return f",
    "def f(x):\n    return x.nothing",
    "def f(x): raise ValueError('\ud800')",
    "def f(x): return [f(x - 1)] if x > 0 else []",
    "def f(x): return {k: {k} for k in 'abc'}",
    "def f(input): return input",
    "def f(x):\n    class A:\n        y = x\n    return A.y",
    "import math\ndef f(x): return math.pi",
    "from collections import Counter\ndef f(x): return Counter(x)",
    "g = lambda x: x\ndef f(x): return g(x)",
    "def f(x): return float('nan')",
    "def f(x): return 10 ** 5000",
    "def f(ñ): return ñ",
    "def f(x):\n\treturn x  # \x0c tabs and a form feed",
    "",
    "f = 1",
    "def g(x): return x",
    "def f(x): return (",
)
"""Python programs off the beaten track; some are refused, some fail, some work."""

UNSTABLE_PROGRAMS: dict[str, str] = {
    "order of a set": "def f(x): return list({'a', 'b', 'c', 'd', 'e', 'f', 'g', str(x)})",
    "hash of a text": "def f(x): return hash('azr' + str(x))",
    "a mutable default": "def f(x, seen=[]):\n    seen.append(1)\n    return len(seen)",
    "a global counter": "calls = [0]\ndef f(x):\n    calls[0] += 1\n    return calls[0]",
    "an attribute of f": "def f(x):\n    f.calls = getattr(f, 'calls', 0) + 1\n    return f.calls",
    "an address": "def f(x): return str(object())",
    "random": "import random\ndef f(x): return random.random()",
    "numpy's random": "import numpy\ndef f(x): return float(numpy.random.default_rng().random())",
    "the clock": "import time\ndef f(x): return time.perf_counter_ns()",
    "a uuid": "import uuid\ndef f(x): return str(uuid.uuid4())",
}
"""Python programs that do not give the same output for the same input: no domain of Python programs may admit one."""


@st.composite
def programs(draw: st.DrawFn) -> str:
    """Python programs: of the built-in generator in all its families, and :data:`ODD_PROGRAMS`."""
    if draw(st.integers(0, 3)) == 0:
        return draw(st.sampled_from(ODD_PROGRAMS))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.sampled_from(["chain", "affine", "statements"]))
    return random_program(
        rng,
        difficulty=draw(st.integers(1, 6)),
        statements=shape == "statements",
        family="affine" if shape == "affine" else "chain",
    ).source


def task_of(domain: Domain, mode: Mode, seed: int) -> Task:
    """A task that ``domain`` generates from ``seed`` and admits; the same one for the same seed.

    Raises:
        SettingError: fifty drafts in a row were refused; the message gives the last reason.
    """
    refused = Rejection("none")
    for attempt in range(50):
        draft = domain.generate(mode, np.random.default_rng([seed, attempt]), {})
        (result,) = domain.admit([draft])
        if not isinstance(result, Rejection):
            return result
        refused = result
    raise SettingError(
        f"domain {domain.name!r} admitted none of 50 {mode} drafts that it generated itself; the last was refused "
        f"as {refused.reason!r}: {refused.detail}"
    )


def tasks(domain: Domain, mode: Mode | None = None) -> st.SearchStrategy[Task]:
    """Tasks that ``domain`` generates and admits, of ``mode`` or of all modes."""
    modes = st.sampled_from(Mode) if mode is None else st.just(mode)
    return st.builds(task_of, st.just(domain), modes, st.integers(0, 2**32 - 1))


@st.composite
def completions(draw: st.DrawFn, task: Task, domain: Domain, style: Style = Style.PAPER) -> str:
    """What a model might write for ``task``: the key, a near miss, a frame out of shape, or any text at all."""
    key = prompts.key(task)
    kind = draw(st.sampled_from(["right", "wrong", "malformed", "wild"]))
    if kind == "wild":
        return draw(wild_text)
    if kind == "wrong":
        return prompts.completion_of(domain, task.mode, draw(near_misses(key)), style)
    right = prompts.completion_of(domain, task.mode, key, style)
    if kind == "right":
        return right
    mark = draw(st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", "```", "\n"]))
    cut = draw(st.integers(0, len(right)))
    return draw(st.sampled_from([right.replace(mark, ""), right.replace(mark, mark * 2), right[:cut], right[cut:]]))
