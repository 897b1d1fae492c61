"""Text to value and back, and the two equalities.

Not covered: other Python versions' parsers; what the sandbox sends (tests of the executors).
"""

from __future__ import annotations

import ast
import itertools
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from azr_env import values, wire
from azr_env.errors import SettingError, ValueFormatError
from azr_env.testing.answers import VALUES
from azr_env.testing.probes import lines_run
from azr_env.testing.strategies import literals, near_misses, plain_values, wild_text

NAN = float("nan")

# One value of every strict class; members of one group below are equal under `python`.
CLASSES: list[object] = [
    None,
    True,
    False,
    1,
    1.0,
    1 + 0j,
    0,
    0.0,
    -0.0,
    0j,
    -1,
    10**30,
    1e30,
    float("inf"),
    float("-inf"),
    "",
    "1",
    "a",
    "A",
    "\ud800",
    b"",
    b"a",
    [],
    [1],
    [True],
    [1.0],
    [1, 2],
    [2, 1],
    [[1]],
    (),
    (1,),
    (1, 2),
    {},
    {1: 2},
    {True: 2},
    {1: 2.0},
    {"a": 1, "b": 2},
    {"a": 2, "b": 1},
    set(),
    {1},
    {1, 2},
    {"a"},
    frozenset(),
    frozenset({1}),
    frozenset({frozenset()}),
    {(): {0: [()]}},
]
LOOSELY_EQUAL = [
    [True, 1, 1.0, 1 + 0j],
    [False, 0, 0.0, -0.0, 0j],
    [[1], [True], [1.0]],
    [{1: 2}, {True: 2}, {1: 2.0}],
    [set(), frozenset()],
    [{1}, frozenset({1})],
]


def index(value: object) -> int:
    """Where exactly this value stands in `CLASSES`."""
    return next(k for k, other in enumerate(CLASSES) if repr(other) == repr(value) and type(other) is type(value))


GROUPS = [frozenset(map(index, group)) for group in LOOSELY_EQUAL]


@pytest.mark.parametrize("i", range(len(CLASSES)))
def test_strict_equality_separates_every_class(i: int) -> None:
    assert [k for k, other in enumerate(CLASSES) if values.equal(CLASSES[i], other)] == [i]


@pytest.mark.parametrize("i", range(len(CLASSES)))
def test_python_equality_joins_what_python_joins(i: int) -> None:
    expected = sorted({i}.union(*(group for group in GROUPS if i in group)))
    assert [k for k, other in enumerate(CLASSES) if values.equal(CLASSES[i], other, "python")] == expected


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [x], lambda x: {"k": (x,)}])
def test_nan(wrap) -> None:
    assert values.equal(wrap(NAN), wrap(float("nan")))
    assert not values.equal(wrap(NAN), wrap(float("nan")), "python")
    assert not values.equal(wrap(NAN), wrap(0.0))


def test_order_matters_in_lists_and_tuples_only() -> None:
    assert values.equal({"a": 1, "b": 2}, {"b": 2, "a": 1})
    assert values.equal({3, 1, 2}, {2, 3, 1})
    assert values.equal([{"a": [{1: 1, 2: 2}]}], [{"a": [{2: 2, 1: 1}]}])
    assert not values.equal([1, 2], [2, 1])
    assert not values.equal((1, 2), (2, 1))


def test_unknown_equality_lists_the_known() -> None:
    with pytest.raises(SettingError, match=r"'loose' is unknown; choose one of strict, python"):
        values.equal(1, 1, "loose")  # type: ignore[arg-type]


@given(plain_values, plain_values)
def test_strict_equality_is_equality_of_canonical_texts_and_implies_the_loose_one(a: object, b: object) -> None:
    assert values.equal(a, a)
    assert values.equal(a, b) == (values.encode(a) == values.encode(b))
    if values.equal(a, b) and "nan" not in values.encode(a):
        assert values.equal(a, b, "python")


@given(plain_values)
def test_render_and_parse_are_inverse(value: object) -> None:
    text = values.render(value)
    assert "\n" not in text
    assert values.equal(values.parse(text), value)
    assert values.render(values.parse(text)) == text


@given(st.lists(plain_values, max_size=4).map(tuple))
def test_arguments_are_inverse(arguments: tuple[object, ...]) -> None:
    text = values.render_arguments(arguments)
    read = values.parse_arguments(text)
    assert values.encode(read, ordered=True) == values.encode(arguments, ordered=True)


@given(
    st.lists(plain_values, min_size=1, max_size=3).map(tuple),
    st.sampled_from(["\n", " \\\n", " # note, )\n", "\r\n", "\t"]),
)
def test_layout_between_arguments_does_not_matter(arguments: tuple[object, ...], gap: str) -> None:
    text = f",{gap}".join(values.render(item) for item in arguments)
    assert values.encode(values.parse_arguments(text), ordered=True) == values.encode(arguments, ordered=True)
    assert values.encode(values.parse_arguments(f"{text},{gap}"), ordered=True) == values.encode(
        arguments, ordered=True
    )


@given(literals)
def test_agrees_with_literal_eval(value: object) -> None:
    text = repr(value)
    assert values.equal(values.parse(text), ast.literal_eval(text))


@given(plain_values)
def test_decode_undoes_encode(value: object) -> None:
    for ordered in (False, True):
        text = values.encode(value, ordered)
        assert values.equal(values.decode(text), value)
        assert values.encode(values.decode(text), ordered) == text


def test_arguments_keep_the_order_of_dicts() -> None:
    """A function sees the order of a dict; seven of CRUXEval's golds were wrong when it was lost."""
    arguments = values.parse_arguments("{'b': 1, 'a': {2: 0, 1: 0}}, {'z': 1, 'y': 2}")
    there = values.decode(values.encode(arguments, ordered=True))
    assert repr(there) == "({'b': 1, 'a': {2: 0, 1: 0}}, {'z': 1, 'y': 2})"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("+1", 1),
        ("1,", (1,)),
        ("-1", -1),
        ("0x1F", 31),
        ("1_000", 1000),
        ("1e999", math.inf),
        ("inf", math.inf),
        ("-inf", -math.inf),
        ("float('-inf')", -math.inf),
        ('float("NaN")', NAN),
        ("nan", NAN),
        ("2j", 2j),
        ("1-2j", 1 - 2j),
        ("-1.5+2j", -1.5 + 2j),
        ("set()", set()),
        ("frozenset()", frozenset()),
        ("frozenset({1, 2})", frozenset({1, 2})),
        ("frozenset([(1,)])", frozenset({(1,)})),
        ("'a' 'b'", "ab"),
        ("b'\\x00'", b"\0"),
        ("r'\\d'", "\\d"),
        ("u'x'", "x"),
        ("{1: 2, 1: 3}", {1: 3}),
        ("(((1)))", 1),
        ("[1,\n2,\n]", [1, 2]),
        ("  [1]\t\n", [1]),
        ("1 # a comment", 1),
        ("'''a\nb'''", "a\nb"),
    ],
)
def test_parse(text: str, value: object) -> None:
    assert values.equal(values.parse(text), value)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "...", "x", "f(1)", "1+1", "1 if 1 else 1", "not 1", "~1", "--1", "-'a'", "-True", "-[1]", "1j+1",
        "[*[1]]", "{**{}}", "{[1]: 2}", "{{1}}", "{{}: 1}", "lambda: 1", "(x:=1)", "f'1'", "f'{1}'", "dict()",
        "set([1])", "float('1')", "float('1e999')", "float(inf)", "float(b'inf')", "int('1')", "frozenset(1)",
        "frozenset('ab')", "frozenset({1: 2})", "frozenset([1], [2])", "set(*[])", "frozenset(x=1)", "1;1", "1\n2",
        "x=1", "None()", "'a", "(1", "1)", "[1 for _ in (1,)]", "await 1", "yield", "print", "True.real", "'a'.upper",
        "1[0]", "*1", "**1", "@", "01", "1__0", "\\", "١", "\u202e1", "1\0", "\0", "\ud800", "# only a comment",
        "nan()", "inf.real", "1 2", "1, *2", "0b2", "1_",
    ],
)  # fmt: skip
def test_parse_refuses(text: str) -> None:
    with pytest.raises(ValueFormatError):
        values.parse(text)


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("", ()),
        ("1", (1,)),
        ("1,", (1,)),
        ("1, 2", (1, 2)),
        ("(1, 2)", ((1, 2),)),
        ("(1, 2) # one pair", ((1, 2),)),
        ("(1, 2)\n# one pair", ((1, 2),)),
        ("(1, 2),", ((1, 2),)),
        ("(1,), [2]", ((1,), [2])),
        ("1,\n2", (1, 2)),
        ("1, \\\n2 \\", (1, 2)),
        ("[1,\n 2],\n{3}", ([1, 2], {3})),
        ("'a, b', 'c'", ("a, b", "c")),
        ("')', '('", (")", "(")),
        ("# nothing", ()),
    ],
)
def test_parse_arguments(text: str, arguments: tuple[object, ...]) -> None:
    assert values.equal(values.parse_arguments(text), arguments)


@pytest.mark.parametrize(
    "text",
    [
        ",", ",1", "1,,", "1 2", "x=1", "*[1]", "**{}", "1)(2", "1), (2", "1) or f(2", "1)\nf(2", "1)#", "1) # \n",
        "(x for x in y)", "x for x in [1]", "1; 2", "(1", "1))", ")(", ")", "(", "f(1)", "1).real", "1)[0]",
        "1) if 1 else (2", "1):\n pass\n(2", "1\n2", "lambda: 1", "x:=1", "*args", "1)\nraise SystemExit\n(", "'",
        "'''", "1) == (1", ") + f(",
    ],
)  # fmt: skip
def test_parse_arguments_refuses(text: str) -> None:
    with pytest.raises(ValueFormatError):
        values.parse_arguments(text)


TOTAL = [
    *VALUES.values(),
    "\udc80",
    "\0" * 1000,
    "[" * 1_000_000,
    "(\n" * 500_000,
    "'''" + "\n" * 1_000_000,
    "#" * 1_000_000,
    "\\\n" * 9000,
]


@pytest.mark.parametrize("text", TOTAL, ids=[*VALUES, *(f"more {k}" for k in range(len(TOTAL) - len(VALUES)))])
@pytest.mark.parametrize("read", [values.parse, values.parse_arguments, values.decode])
def test_total_on_attacks(read, text: str) -> None:
    _reads_or_refuses(read, text)


@given(wild_text)
@example("\ud800")
@example("1" + "0" * 400 + "+1j")
def test_total_on_any_text(text: str) -> None:
    for read in (values.parse, values.parse_arguments, values.decode):
        _reads_or_refuses(read, text)


@given(plain_values.flatmap(lambda value: near_misses(values.render(value))))
def test_total_on_near_misses(text: str) -> None:
    for read in (values.parse, values.parse_arguments):
        _reads_or_refuses(read, text)


@given(plain_values.flatmap(lambda value: near_misses(values.encode(value))))
def test_what_decodes_is_canonical(text: str) -> None:
    try:
        value = values.decode(text)
    except ValueFormatError:
        return
    assert values.encode(value, ordered=True) == text


def _reads_or_refuses(read, text: str) -> None:
    """Either a plain value or ValueFormatError with a short message; any other exception fails the test."""
    try:
        value = read(text)
    except ValueFormatError as exc:
        message = str(exc)
    else:
        message = "a value"
        assert values.equal(value, values.decode(values.encode(value)))
    assert 0 < len(message) < 500


@pytest.mark.parametrize(
    "make", [lambda n: "[" * n, lambda n: "[1,\n" * n, lambda n: "'" + "a" * n + "'", lambda n: "1," * n]
)
def test_cost_stops_at_the_cap(make) -> None:
    """A text beyond MAX_TEXT is refused by its length alone: the same few lines run for any length."""
    for read in (values.parse, values.parse_arguments):
        short, long = (lines_run(lambda n=n, read=read: _reads_or_refuses(read, make(n))) for n in (40_000, 400_000))
        assert short == long < 100


@pytest.mark.parametrize(
    "make", [lambda n: list(range(n)), lambda n: {k: str(k) for k in range(n)}, lambda n: set(range(n))]
)
def test_cost_is_linear(make) -> None:
    small, large = make(500), make(2000)
    for work in (
        lambda v: values.parse(values.render(v)),
        lambda v: values.decode(values.encode(v)),
        lambda v: values.equal(v, v),
    ):
        assert lines_run(lambda w=work: w(large)) < 4.5 * lines_run(lambda w=work: w(small))


def test_caps() -> None:
    def nest(depth: int) -> object:
        value: object = 1
        for _ in range(depth):
            value = [value]
        return value

    deepest = nest(wire.MAX_DEPTH)
    assert values.equal(values.parse(values.render(deepest)), deepest)
    assert values.equal(values.decode(values.encode(deepest)), deepest)
    for refused in (nest(wire.MAX_DEPTH + 1), 1 << wire.MAX_INT_BITS, -(1 << wire.MAX_INT_BITS), [0] * wire.MAX_NODES):
        with pytest.raises(ValueFormatError):
            values.encode(refused)
        with pytest.raises(ValueFormatError):
            values.render(refused)
    with pytest.raises(ValueFormatError, match="nested too deeply"):
        values.parse("[" * 65 + "]" * 65)
    with pytest.raises(ValueFormatError, match="at most 32768"):
        values.parse("'" + "a" * values.MAX_TEXT + "'")


@pytest.mark.parametrize("bits", [0, 1, 11_999, 12_000, 12_001, 14_000, 14_290, 20_000, wire.MAX_INT_BITS - 1])
@pytest.mark.parametrize("sign", [1, -1])
def test_long_integers(bits: int, sign: int) -> None:
    """On both sides of the 4,300 digits beyond which `repr` of an int raises."""
    value = sign * (1 << bits)
    assert values.parse(values.render(value)) == value
    assert values.decode(values.encode(value)) == value


class SubInt(int):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


class SubStr(str):
    __slots__ = ()


class SubList(list[int]):
    pass


class SubDict(dict[str, int]):
    pass


class Anything:
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = object.__hash__


WRAPS = [lambda v: v, lambda v: [v], lambda v: ({"k": v},)]
HOSTILE = [
    SubInt(1),
    SubStr("a"),
    SubList(),
    SubDict(),
    Anything(),
    object(),
    ...,
    NotImplemented,
    int,
    len,
    bytearray(b"a"),
    range(3),
]


@pytest.mark.parametrize(("value", "wrap"), list(itertools.product(HOSTILE, WRAPS)))
def test_other_types_are_not_plain(value: object, wrap) -> None:
    with pytest.raises(ValueFormatError, match="not a plain value"):
        values.encode(wrap(value))
    with pytest.raises(ValueFormatError, match="not a plain value"):
        values.render(wrap(value))


@pytest.mark.parametrize("z", [complex(1, math.inf), complex(1, NAN), complex(-0.0, 1), complex(1, -0.0)])
def test_complex_without_a_literal_is_refused_not_changed(z: complex) -> None:
    assert values.equal(values.decode(values.encode(z)), z)
    with pytest.raises(ValueFormatError, match="has no literal"):
        values.render(z)


@given(st.complex_numbers())
def test_complex_is_rendered_exactly_or_not_at_all(z: complex) -> None:
    try:
        text = values.render(z)
    except ValueFormatError:
        return
    assert values.equal(values.parse(text), z)


def test_no_warning_escapes_from_a_text(recwarn: pytest.WarningsRecorder) -> None:
    assert values.parse(r"'\d'") == r"\d"
    with pytest.raises(ValueFormatError):
        values.parse("1 is 1")
    assert list(recwarn) == []
