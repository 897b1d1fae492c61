"""The gate of shared processes: what it lets pass, and what it never does."""

from __future__ import annotations

import builtins
import importlib
import json
from pathlib import Path

import pytest
from contaminators import HARMLESS, REFUSED
from hypothesis import given
from hypothesis import strategies as st

from azr_env.executors.zygote import plain as gate
from azr_env.executors.zygote.plain import plain, why_not

DATA = Path(__file__).parents[4] / "shared" / "data"

PLAIN = [
    "def f(x): return x",
    '"""Text."""\nLIMIT = (1, -2.5, "a", (None, True))\ndef f(x): return x in LIMIT',
    "LIMIT: int = 3\ndef f(x, n=-1, *a, k='s', **b): return x + LIMIT",
    "import math\nfrom math import gcd, sqrt as root\ndef f(x): return math.floor(root(x)) + gcd(4, 6)",
    "from typing import Optional, Tuple\ndef f(x: Optional[Tuple[int, ...]] = None) -> None: return x",
    "from itertools import chain\ndef f(x): return list(chain.from_iterable(x))",
    "def f(x):\n try: return int(x)\n except (ValueError, TypeError) as e: return str(e)\n else: return 0",
    "def f(x):\n y: int = 0\n for i, c in enumerate(x): y += i; x[i] = c\n del x[0]\n return f'{y!r:>{4}}'",
    "def f(x):\n def g(a, seen=[]): return seen\n return g(x)",
    "def f(x): return [y for y in x if (z := y) is not None and type(z) is int]",
    "def f(x): return x if isinstance(x, (int, str)) else '{} {a:>4}'.format(x, a=1) + '%s' % x",
]


@pytest.mark.parametrize("program", PLAIN)
def test_ordinary_programs_are_plain(program: str) -> None:
    assert why_not(program) == ""
    assert plain(program)


@pytest.mark.parametrize("name", REFUSED)
def test_contaminators_are_refused(name: str) -> None:
    assert why_not(REFUSED[name])
    assert not plain(REFUSED[name])


@pytest.mark.parametrize("name", HARMLESS)
def test_the_harmless_are_plain(name: str) -> None:
    """Otherwise the test that runs them in a chunk shows nothing."""
    assert why_not(HARMLESS[name]) == ""


def test_there_are_enough_of_both() -> None:
    assert len(REFUSED) >= 40
    assert len(HARMLESS) >= 40
    assert not REFUSED.keys() & HARMLESS.keys()


@given(st.text() | st.text("def f(x):\n rtun{}[]'._+=1").map(lambda text: "def f(x): return " + text))
def test_total(program: str) -> None:
    assert plain(program) in (True, False)


def test_no_module_shows_more_than_is_listed() -> None:
    """An attribute that is allowed for one thing must not name another thing in a module."""
    for name, listed in gate.MODULES.items():
        module = importlib.import_module(name)
        seen = {attribute for attribute in gate.ATTRIBUTES if attribute in dir(module)}
        assert seen <= set(listed.split()), name


def test_no_listed_attribute_leads_to_the_interpreter() -> None:
    """Frames, code, functions, modules and types must show none of the listed attributes but harmless ones."""

    def function() -> None: ...

    generator = (n for n in [1])
    try:
        raise ValueError("x")
    except ValueError as exc:
        things = [function, function.__code__, generator, generator.gi_frame, exc, exc.__traceback__, type, object]
    shown = {attribute for thing in things for attribute in dir(thing) if attribute in gate.ATTRIBUTES}
    assert shown <= {"replace", "clear"}, "replace of code objects, clear of frames: of things that no program gets"


def test_the_lists_name_what_exists() -> None:
    assert all(name in dir(builtins) for name in gate.BUILTINS)
    kinds = (str, bytes, bytearray, list, dict, set, frozenset, tuple, int, float, complex, range, slice)
    assert all(any(name in dir(kind) for kind in kinds) for name in gate.METHODS)


@pytest.mark.parametrize(
    ("file", "key", "least"),
    [
        ("cruxeval.jsonl", "code", 0.97),
        ("azr_tasks_3b_coder.jsonl", "snippet", 0.90),
        ("azr_induction_3b_coder.jsonl", "snippet", 0.92),
    ],
)
def test_share_of_real_programs(file: str, key: str, least: float) -> None:
    path = DATA / file
    if not path.is_file():
        pytest.skip(f"no {path}")
    programs = [json.loads(line)[key] for line in path.read_text(encoding="utf-8").splitlines()]
    assert sum(map(plain, programs)) / len(programs) >= least
