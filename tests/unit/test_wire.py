"""The canonical text: every form of it, and everything that only looks like it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given

from azr_env import wire
from azr_env.testing.strategies import plain_values, wild_text

FORMS: list[tuple[object, str]] = [
    (None, "N"),
    (True, "T"),
    (False, "F"),
    (0, "i0;"),
    (255, "iff;"),
    (-255, "i-ff;"),
    ("", "s0:"),
    ("a:b;", "s4:a:b;"),
    ("\U0001f600\ud800", "s2:\U0001f600\ud800"),
    (b"\x00\xff", "b00ff;"),
    (1.0, "f0x1.0000000000000p+0;"),
    (-0.0, "f-0x0.0p+0;"),
    (float("inf"), "finf;"),
    (float("-inf"), "f-inf;"),
    (float("nan"), "fnan;"),
    (complex(0, float("nan")), "c0x0.0p+0,nan;"),
    ([], "[]"),
    ([None, [True]], "[N[T]]"),
    ((1,), "(i1;)"),
    ({}, "{}"),
    ({"b": 1, "a": 2}, "{s1:ai2;s1:bi1;}"),
    ({2, 1}, "<i1;i2;>"),
    (set(), "<>"),
    (frozenset({"x"}), "/s1:x\\"),
    ({"]": (">", b"")}, "{s1:](s1:>b;)}"),
]


@pytest.mark.parametrize(("value", "text"), FORMS)
def test_forms(value: object, text: str) -> None:
    assert wire.encode(value) == text
    back = wire.decode(text)
    assert type(back) is type(value)
    assert wire.encode(back) == text


def test_ordered_keeps_the_order_of_pairs_and_of_nothing_else() -> None:
    value = [{"b": {2, 1}, "a": 0}]
    text = wire.encode(value, ordered=True)
    assert text == "[{s1:b<i1;i2;>s1:ai0;}]"
    assert list(wire.decode(text)[0]) == ["b", "a"]  # type: ignore[index]
    assert wire.encode(wire.decode(text)) == "[{s1:ai0;s1:b<i1;i2;>}]"


FORGED = [
    "", "X", "n", "t", "i;", "i", "i1", "i01;", "i+1;", "i 1;", "i1_0;", "i0x1;", "i1;;", "i1; ", " i1;", "iFF;",
    "i-0;", "i--1;", "ig;", "s", "s1", "s1:", "s2:a", "s0:a", "s-1:a", "s+1:a", "s01:a", "s1_0:aaaaaaaaaa", "s 1:a",
    "s999999999999:a", "s\u0661:a", "s1;a", "f;", "f1;", "f1.0;", "f0x1p0;", "fNaN;", "fNAN;", "f-nan;", "finfinity;",
    "f+inf;", "f0x1.0000000000000p+0", "f0x1p99999;", "fx;", "b", "b0;", "bFF;", "b 00;", "b00 ;", "bzz;", "c",
    "c0x0.0p+0;", "c0x0.0p+0,;", "c1,1;", "c,;", "[", "]", "[N", "N]", "[N)", "(", ")", "(N]", "[N,N]", "[ N]", "{",
    "}", "{N}", "{NNN}", "{NTNF}", "{[]N}", "{{}N}", "<", ">", "<[]>", "<<>>", "<TT>", "<TF>", "<i2;i1;>", "<NN>", "/",
    "\\", "/N", "/N>", "/TF\\", "NN", "TF", "i1;i2;", "[]]", "[[]", "N\n", "N\0", "\0", "{i1;Ni1;T}", "<i1;T>",
    "<f0x1.0000000000000p+0;i1;>", "[" * 65 + "]" * 65, "[" * 100_000, "(" * 100_000 + ")" * 100_000,
    "i" + "f" * 16_385 + ";", "i" + "f" * 1_000_000, "s" * 100_000, "[" + "N" * 100_000 + "]", "<" + "i1;" * 1000 + ">",
]  # fmt: skip


@pytest.mark.parametrize("text", FORGED, ids=[str(k) for k in range(len(FORGED))])
def test_forgeries_are_refused(text: str) -> None:
    with pytest.raises(wire.NotPlain):
        wire.decode(text)


@given(plain_values)
def test_no_prefix_and_no_suffix_of_a_text_is_a_text(value: object) -> None:
    text = wire.encode(value)
    for changed in (text[:-1], text + "N", text + text):
        with pytest.raises(wire.NotPlain):
            wire.decode(changed)


@given(plain_values, plain_values)
def test_texts_are_self_delimiting(a: object, b: object) -> None:
    """No separator can be forged by a value: the pair is read back as the pair."""
    assert [wire.encode(item) for item in wire.decode(wire.encode([a, b]))] == [wire.encode(a), wire.encode(b)]  # type: ignore[union-attr]


@given(wild_text)
def test_total(text: str) -> None:
    try:
        value = wire.decode(text)
    except wire.NotPlain:
        return
    assert wire.encode(value, ordered=True) == text


def test_same_text_under_any_hash_seed() -> None:
    """In interpreters that load the file by its path, with no package around it, as the sandbox does."""
    code = (
        "import sys, importlib.util as u; spec = u.spec_from_file_location('wire', sys.argv[1]); "
        "wire = u.module_from_spec(spec); spec.loader.exec_module(wire); "
        "print(wire.encode([{c: {c, c * 2} for c in 'abcdefgh'}]))"
    )
    texts = set()
    for seed in ("0", "1", "4242"):
        command = [sys.executable, "-S", "-c", code, wire.__file__]
        done = subprocess.run(command, env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True)
        texts.add(done.stdout)
    assert texts == {wire.encode([{c: {c, c * 2} for c in "abcdefgh"}]) + "\n"}
