"""Completion to answer and to proposal, in both styles: frames, fences, totality, cost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azr_env.parsing import Malformed, Style, parse_answer, parse_proposal
from azr_env.testing.probes import lines_run
from azr_env.testing.strategies import wild_text
from azr_env.types import Draft, Mode, Slot

FENCES = {Slot.PROGRAM: "python", Slot.INPUT: "input", Slot.OUTPUT: "output"}


def paper(body: str, mode: Mode = Mode.DEDUCTION) -> str | Malformed:
    return parse_answer(body, Style.PAPER, mode, FENCES)


def compact(body: str, mode: Mode = Mode.DEDUCTION) -> str | Malformed:
    return parse_answer(body, Style.COMPACT, mode, FENCES)


def framed(inside: str) -> str:
    return f"<think>so</think><answer>{inside}</answer>"


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        (framed("```output\n5\n```"), "5"),
        (framed("\n```output\n5\n```\n"), "5"),
        (framed("\n  ```output\n5\n  ```  \n"), "5"),
        (framed("```OUTPUT\n5\n```"), "5"),
        (framed("``` Output \n5\n```"), "5"),
        (framed("```output\n5```"), "5"),
        (framed("```output\r\n5\r\n```\r\n"), "5\r"),
        (framed("```output\n[1,\n2]\n```"), "[1,\n2]"),
        (framed("```output\n\n5\n\n```"), "5"),
        (framed("```output\n```"), ""),
        (framed("````output\n```\n````"), "```"),
        (framed("````output\n'''```'''\n````"), "'''```'''"),
        (framed("```output\n5\n`````"), "5"),
        (framed("```output\n1\n```\n```output\n2\n```"), "2"),
        (framed("```output\n2\n```\n```input\n1\n```"), "2"),
        (framed("```python\nx\n```\ntext ```output\n9\n```output\n2\n```"), "2"),
        (framed("```foo``` is code\n```output\n5\n```"), "5"),
        (framed("Sure:\n```output\n5\n```\nDone."), "5"),
        (framed("```output\n'</think>'\n```"), "'</think>'"),
        (framed("```output\n'</answer>'\n```"), "'</answer>'"),
        (framed("```output\n'<answer>'\n```"), "'<answer>'"),
        (framed("```output\n'<think>'\n```"), "'<think>'"),
        ("I will use <think> </think> and <answer> </answer>.\n" + framed("```output\n5\n```"), "5"),
        ("First <think> </think>, then <answer> </answer>: " + framed("\n```output\n5\n```\n"), "5"),
        ("no opening tag </think> <answer>```output\n5\n```</answer>", "5"),
        (framed("```output\n5\n```") + " <- my answer", "5"),
        ("<think></think>\n\nThe answer is\n<answer>\n```output\n5\n```\n</answer>\n", "5"),
        ("<think>a</think><think>b</think><answer>```output\n5\n```</answer>", "5"),
        ("<think><answer>```output\n1\n```</answer></think><answer>```output\n2\n```</answer>", "2"),
        ("<think></think><answer>\n```output\n1\n```\n</answer><answer>```output\n2\n```</answer>", "2"),
    ],
)
def test_paper_answers(completion: str, answer: str) -> None:
    assert paper(completion) == answer


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        ("", "no <think>"),
        ("5", "no <think>"),
        ("```output\n5\n```", "no <think>"),
        ("<answer>```output\n5\n```</answer>", "no <think>"),
        ("<think><answer>```output\n5\n```</answer>", "no <think>"),
        ("<think></think>```output\n5\n```", "no <answer>"),
        ("<answer>```output\n5\n```</answer><think></think>", "no <answer>"),
        ("<think></think><answer>```output\n5\n```", "never closed"),
        ("<THINK></THINK><ANSWER>```output\n5\n```</ANSWER>", "no <think>"),
        (framed(""), "no ```output block"),
        (framed("5"), "no ```output block"),
        (framed("```\n5\n```"), "no ```output block"),
        (framed("```output\n5"), "no ```output block"),
        (framed("``output\n5\n``"), "no ```output block"),
        (framed("```outputs\n5\n```"), "no ```output block"),
        (framed("```output 5\n```"), "no ```output block"),
        (framed("```output 5```"), "no ```output block"),
        (framed("```input\n5\n```"), "no ```output block"),
        (framed("```python\n```output\n5\n```"), "no ```output block"),
        (framed("~~~output\n5\n~~~"), "no ```output block"),
    ],
)
def test_paper_refusals_name_what_is_missing(completion: str, reason: str) -> None:
    result = paper(completion)
    assert isinstance(result, Malformed)
    assert reason in result.reason


@pytest.mark.parametrize(
    ("mode", "label"), [(Mode.DEDUCTION, "output"), (Mode.ABDUCTION, "input"), (Mode.INDUCTION, "python")]
)
def test_each_mode_reads_its_own_slot(mode: Mode, label: str) -> None:
    completion = framed("".join(f"```{name}\nthe {name}\n```\n" for name in ("output", "python", "input", "message")))
    assert paper(completion, mode) == f"the {label}"


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("5", "5"),
        (" 5\n", "5"),
        ("<think>so</think> 5", "5"),
        ("<think>so</think>\n[1,\n2]\n", "[1,\n2]"),
        ("so </think> 5", "5"),
        ("Well. <think>so</think>5", "5"),
        ("<think>so</think> '</think>'", "'</think>'"),
        ("<think></think> '<think>'", "'<think>'"),
        ("def f(x):\n    return x", "def f(x):\n    return x"),
    ],
)
def test_compact_answers(completion: str, answer: str) -> None:
    assert compact(completion) == answer


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        ("", "empty"),
        (" \n\t", "empty"),
        ("<think>so</think>", "empty"),
        ("<think>5", "never closed"),
        ("5 <think>so", "never closed"),
    ],
)
def test_compact_refusals(completion: str, reason: str) -> None:
    result = compact(completion)
    assert isinstance(result, Malformed)
    assert reason in result.reason


def test_paper_proposal() -> None:
    body = framed("```python\ndef f(x):\n    return x\n```\n```input\n1\n```")
    for mode in (Mode.DEDUCTION, Mode.ABDUCTION):
        assert parse_proposal(body, Style.PAPER, mode, FENCES) == Draft(mode, "def f(x):\n    return x", ("1",))


def test_paper_induction_proposal_for_a_given_program() -> None:
    body = framed(
        "```input\n1\n```\n```message\nhalf\n```\n```python\nignored\n```\n```input\n2\n```\n```message\ndouble it\n```"
    )
    assert parse_proposal(body, Style.PAPER, Mode.INDUCTION, FENCES, "P") == Draft(
        Mode.INDUCTION, "P", ("1", "2"), "double it"
    )


def test_compact_proposal() -> None:
    text = "\ndef f(x):\n    return {1: x}\ninput: 1\nmessage: as a: dict\nsecond line\n"
    expected = Draft(Mode.INDUCTION, "def f(x):\n    return {1: x}", ("1",), "as a: dict\nsecond line")
    assert parse_proposal(text, Style.COMPACT, Mode.INDUCTION, FENCES) == expected
    assert parse_proposal("7\ninput: 8\nmessage: m", Style.COMPACT, Mode.INDUCTION, FENCES, "P") == Draft(
        Mode.INDUCTION, "P", ("7", "8"), "m"
    )


@pytest.mark.parametrize("mode", [Mode.DEDUCTION, Mode.ABDUCTION])
@pytest.mark.parametrize(
    ("inside", "reason"),
    [
        ("```input\n1\n```", "no python block"),
        ("```python\nP\n```", "no input block"),
        ("```python\nP\n```\n```input\n1\n```\n```input\n2\n```", "2 input blocks"),
        ("", "no python block"),
    ],
)
def test_proposal_refusals(mode: Mode, inside: str, reason: str) -> None:
    result = parse_proposal(framed(inside), Style.PAPER, mode, FENCES)
    assert isinstance(result, Malformed)
    assert reason in result.reason


@given(wild_text, st.sampled_from(Style), st.sampled_from(Mode), st.sampled_from([None, "P"]))
def test_total(text: str, style: Style, mode: Mode, program: str | None) -> None:
    pieces = ["<think>", "</think>", "<answer>", "</answer>", "```output\n", "\n```", "```"]
    for completion in (text, text.join(pieces), framed(f"```output\n{text}\n```"), framed(text)):
        answer = parse_answer(completion, style, mode, FENCES)
        assert isinstance(answer, str | Malformed)
        draft = parse_proposal(completion, style, mode, FENCES, program)
        assert isinstance(draft, Draft | Malformed)
        if isinstance(answer, Malformed):
            assert answer.reason


@given(wild_text, st.sampled_from(Mode))
def test_what_is_read_stands_in_the_text(text: str, mode: Mode) -> None:
    """Nothing is invented: an answer is a part of the completion."""
    for style, completion in ((Style.COMPACT, text), (Style.PAPER, framed(f"```output\n{text}\n```"))):
        answer = parse_answer(completion, style, mode, FENCES)
        if isinstance(answer, str):
            assert answer in completion


BULK = {
    "lines": "a\n",
    "fences": "```\n",
    "opened fences": "```output\n5\n",
    "growing fences": "```````\n`output\n",
    "tags": "</think>",
    "answers": "<answer></answer>",
    "labels": "input: 1\n",
    "brackets": "[",
    "NUL": "\0",
    "surrogates": "\ud800\n",
    "backticks": "`",
    "blanks": " ",
    "carriage returns": "\r",
}


@pytest.mark.parametrize("piece", BULK.values(), ids=list(BULK))
@pytest.mark.parametrize("style", Style)
def test_cost_is_linear(piece: str, style: Style) -> None:
    def cost(times: int) -> int:
        body = piece * times
        return sum(
            lines_run(
                lambda c=c: (
                    parse_answer(c, style, Mode.DEDUCTION, FENCES),
                    parse_proposal(c, style, Mode.INDUCTION, FENCES),
                )
            )
            for c in (body, framed(body), framed(f"```output\n{body}\n```"))
        )

    assert cost(2000) < 4.5 * cost(500)


@pytest.mark.parametrize("piece", BULK.values(), ids=list(BULK))
def test_a_megabyte_is_read(piece: str) -> None:
    body = framed("```output\n" + piece * (1_048_576 // len(piece)) + "\n```")
    for style in Style:
        assert isinstance(parse_answer(body, style, Mode.DEDUCTION, FENCES), str | Malformed)
