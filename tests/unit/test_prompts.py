"""Prompts: what must stand in them, and that the format they ask for is the one that is read."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from azr_env import prompts, values
from azr_env.domains.python import PythonDomain
from azr_env.parsing import Style, parse_answer, parse_proposal
from azr_env.protocols import Domain
from azr_env.testing.strategies import plain_values
from azr_env.types import BLANK, Draft, Example, Mode, Role, Slot, Task

PYTHON_TASKS = {
    Mode.DEDUCTION: Task("d", "python", Mode.DEDUCTION, "def f(x):\n    return x", (Example("[1, 2]", "[1, 2]"),)),
    Mode.ABDUCTION: Task("a", "python", Mode.ABDUCTION, "def f(x):\n    return x + 1", (Example("1", "2"),)),
    Mode.INDUCTION: Task(
        "i",
        "python",
        Mode.INDUCTION,
        "def f(x):\n    return x * 7",
        tuple(Example(str(k), str(7 * k)) for k in (11, 12, 13, 14)),
        2,
        "sevens",
    ),
}
EXAMPLE_TASKS = {
    "python": PYTHON_TASKS,
    "prime_inversion": {
        mode: Task(
            f"{mode}-7-3", "prime_inversion", mode, "7", (Example("3", "5"),), 1 if mode is Mode.INDUCTION else 0
        )
        for mode in Mode
    },
}


@pytest.fixture(params=list(Mode))
def task(request: pytest.FixtureRequest, domain: Domain) -> Task:
    return EXAMPLE_TASKS[domain.name][request.param]


@pytest.mark.parametrize("style", Style)
@pytest.mark.parametrize("thought", ["", "hm <answer> ```output\n1\n``` </answer>", "two\nlines"])
def test_key_to_completion_to_answer(domain: Domain, task: Task, style: Style, thought: str) -> None:
    completion = prompts.completion_of(domain, task.mode, prompts.key(task), style, thought)
    assert parse_answer(completion, style, task.mode, domain.fences) == prompts.key(task)


@given(plain_values, st.sampled_from(Style), st.sampled_from(Mode))
def test_any_value_survives_a_completion(python_domain: Domain, value: object, style: Style, mode: Mode) -> None:
    key = values.render(value)
    answer = parse_answer(prompts.completion_of(python_domain, mode, key, style), style, mode, python_domain.fences)
    assert answer == key


HARD_TEXTS = [
    "'</think>'", "'<think>'", "'</answer>'", "'<answer>'", "'</think><answer>```output\\n1\\n```</answer>'", "'```'",
    "'````'", "```\n```", "x = '''\n```output\n5\n```\n'''", "<think></think><answer>\n```output\n5\n```\n</answer>",
    "#```", "a\r\nb", "```python", "`", "'``` x'",
]  # fmt: skip


@pytest.mark.parametrize("text", HARD_TEXTS)
@pytest.mark.parametrize("style", Style)
@pytest.mark.parametrize("mode", Mode)
def test_texts_like_frames_survive_a_completion(python_domain: Domain, text: str, style: Style, mode: Mode) -> None:
    for thought in ("", "so"):
        completion = prompts.completion_of(python_domain, mode, text, style, thought)
        assert parse_answer(completion, style, mode, python_domain.fences) == text


@given(st.text(max_size=40).map(str.strip), st.lists(plain_values, min_size=1, max_size=3), st.sampled_from(Style))
def test_proposal_to_completion_to_draft(
    python_domain: Domain, message: str, inputs: list[object], style: Style
) -> None:
    assume(not re.search(r"^(program|input|output|message):", message, re.MULTILINE))
    texts = tuple(values.render(value) for value in inputs)
    for program in ("def f(x):\n    return {1: x}", None):
        completion = prompts.proposal_of(python_domain, program, texts, style, message)
        given_program = "P" if program is None else None
        draft = parse_proposal(completion, style, Mode.INDUCTION, python_domain.fences, given_program)
        assert draft == Draft(Mode.INDUCTION, program or "P", texts, message)


@pytest.mark.parametrize("text", ["'</think>'", "'<think>'", "'</answer>'", "'```'"])
@pytest.mark.parametrize("style", Style)
def test_texts_like_frames_survive_a_proposal(python_domain: PythonDomain, text: str, style: Style) -> None:
    program = f"def f(x):\n    return {text}"
    completion = prompts.proposal_of(python_domain, program, [text], style, f"it gives {text}")
    expected = Draft(Mode.INDUCTION, program, (text,), f"it gives {text}")
    assert parse_proposal(completion, style, Mode.INDUCTION, python_domain.fences) == expected


@pytest.mark.parametrize("style", Style)
def test_solver_prompt_shows_what_is_given_and_hides_the_key(domain: Domain, task: Task, style: Style) -> None:
    text = prompts.solver_prompt(domain, task, style)
    if task.mode is Mode.INDUCTION:
        for example in prompts.shown(task):
            assert example.input in text
            assert example.output in text
        for example in task.examples[task.shown :]:
            assert example.input not in text
            assert example.output not in text
        assert task.message in text
        assert task.program not in text or domain.name == "prime_inversion"
    else:
        shown = {Slot.PROGRAM, Slot.INPUT, Slot.OUTPUT} - {BLANK[task.mode]}
        for slot in shown:
            assert prompts.slot_text(task, slot) in text


@pytest.mark.parametrize("mode", Mode)
def test_no_mode_leaks_its_key(python_domain: Domain, mode: Mode) -> None:
    examples = (Example("'the input'", "'the output'"),) * (3 if mode is Mode.INDUCTION else 1)
    task = Task("t", "python", mode, "def f(the_program): ...", examples, 1 if mode is Mode.INDUCTION else 0)
    for style in Style:
        text = prompts.solver_prompt(python_domain, task, style)
        assert prompts.key(task) not in text


def test_nothing_is_cut(python_domain: Domain) -> None:
    """Section 4: the reproduction cut prompts at 128 tokens, and the format with them."""
    program = "def f(x):\n    return x  # " + "long " * 4000
    task = Task("t", "python", Mode.DEDUCTION, program, (Example(repr("y" * 5000), "1"),))
    text = prompts.solver_prompt(python_domain, task)
    assert program in text
    assert "y" * 5000 in text
    assert text.endswith("```output\n...\n```")


def test_a_program_with_fences_is_shown_whole(python_domain: Domain) -> None:
    program = 'def f(x):\n    return """\n```output\n5\n```\n"""'
    task = Task("t", "python", Mode.DEDUCTION, program, (Example("1", "2"),))
    text = prompts.solver_prompt(python_domain, task)
    assert f"````python\n{program}\n````" in text


def test_the_format_the_solver_prompt_shows_is_read(domain: Domain, task: Task) -> None:
    """Section 4: the reproduction's parser refused the format that its prompt asked for."""
    text = prompts.solver_prompt(domain, task)
    assert "<think> </think>" in text
    assert "<answer> </answer>" in text
    block = "\n".join(text.splitlines()[-3:])
    filled = block.replace("...", prompts.key(task))
    answer = parse_answer(f"<think> </think><answer>{filled}</answer>", Style.PAPER, task.mode, domain.fences)
    assert answer == prompts.key(task)


PROPOSER_PARTS = {
    "entry function f": r"function named f\b",
    "returns a value": r"returns a value",
    "a parameter": r"at least one parameter",
    "deterministic": r"deterministic",
    "state over several steps": r"keeps state over several steps",
    "no randomness": r"no randomness",
    "no time": r"no date or time",
    "no input or output": r"no reading or writing of files, network or terminal",
    "no printing": r"no printing",
    "no external state": r"nothing\s+outside itself",
    "time limit": r"within 2 seconds",
    "imports first": r"imports and class definitions come first",
    "exactly one input": r"exactly one ```input block",
    "a program block": r"exactly one ```python block",
    "commas": r"separated by commas",
    "strings quoted": r"strings in\s+quotes",
    "it runs": r"it runs",
    "it is hard": r"hard to find",
    "it differs": r"differs from the references",
    "plan first": r"Plan first",
    "frame": r"<think> </think>.*<answer> </answer>",
}


@pytest.mark.parametrize("part", PROPOSER_PARTS)
@pytest.mark.parametrize("mode", [Mode.DEDUCTION, Mode.ABDUCTION])
def test_proposer_prompt_asks_for(python_domain: Domain, mode: Mode, part: str) -> None:
    """method.md, "Prompts must ask for"."""
    references = [PYTHON_TASKS[Mode.DEDUCTION], PYTHON_TASKS[Mode.ABDUCTION]]
    text = prompts.proposer_prompt(python_domain, mode, references)
    assert re.search(PROPOSER_PARTS[part], text, re.DOTALL)
    at = [text.index(task.program) for task in references]
    assert text.index("Plan first") < at[0] < at[1]
    assert "Reference 2:" in text


@pytest.mark.parametrize(
    "part",
    [
        r"[Gg]ive 4 inputs",
        r"4 ```input blocks",
        r"one ```message block",
        r"must not contain its code",
        r"separated by commas",
        r"strings in\s+quotes",
    ],
)
def test_induction_proposer_prompt_asks_for(python_domain: Domain, part: str) -> None:
    assert prompts.gives_program(python_domain, Mode.INDUCTION)
    text = prompts.proposer_prompt(python_domain, Mode.INDUCTION, [], program="def f(x):\n    return x")
    assert re.search(part, text)
    assert text.endswith("```python\ndef f(x):\n    return x\n```")


@pytest.mark.parametrize(
    ("mode", "parts"),
    [
        (Mode.DEDUCTION, [r"```output", r"```python", r"```input"]),
        (Mode.ABDUCTION, [r"```input", r"Any such input is right", r"separated by commas", r"strings in quotes"]),
        (Mode.INDUCTION, [r"```python", r"function f", r"```message\nsevens", r"```input\n11\n```\n\n```output\n77"]),
    ],
)
def test_solver_prompt_asks_for(python_domain: Domain, mode: Mode, parts: list[str]) -> None:
    text = prompts.solver_prompt(python_domain, PYTHON_TASKS[mode])
    for part in parts:
        assert re.search(part, text), part


@pytest.mark.parametrize("style", Style)
@pytest.mark.parametrize("mode", Mode)
def test_proposer_prompts_exist_for_every_mode_and_style(domain: Domain, mode: Mode, style: Style) -> None:
    references = [EXAMPLE_TASKS[domain.name][Mode.DEDUCTION]] * 2
    program = references[0].program if prompts.gives_program(domain, mode) else None
    text = prompts.proposer_prompt(domain, mode, references, style, program)
    assert text.count(references[0].program) >= 2
    assert "{" not in text.replace("{1:", ""), "a placeholder was not filled"


def test_compact_solver_prompts_are_short(prime_domain: Domain) -> None:
    tasks = EXAMPLE_TASKS["prime_inversion"]
    assert {mode: prompts.solver_prompt(prime_domain, tasks[mode], Style.COMPACT) for mode in Mode} == {
        Mode.DEDUCTION: "program: 7\ninput: 3\noutput:",
        Mode.ABDUCTION: "program: 7\noutput: 5\ninput:",
        Mode.INDUCTION: "input: 3\noutput: 5\nprogram:",
    }


def test_graded_examples_are_the_hidden_ones_or_all() -> None:
    task = PYTHON_TASKS[Mode.INDUCTION]
    assert prompts.graded(task) == task.examples[2:]
    assert prompts.shown(task) == task.examples[:2]
    only = Task("t", "prime_inversion", Mode.INDUCTION, "7", (Example("3", "5"),), 1)
    assert prompts.graded(only) == prompts.shown(only) == only.examples


def test_labels_name_the_role_first() -> None:
    """Section 4: the reproduction's chart swapped proposer and solver."""
    assert prompts.label(Mode.DEDUCTION, Role.SOLVER) == "solver/deduction"
    assert {prompts.label(mode, role) for mode in Mode for role in Role} == {
        f"{role}/{mode}" for role in ("proposer", "solver") for mode in ("deduction", "abduction", "induction")
    }


def test_the_key_of_an_induction_task_needs_no_example() -> None:
    bare = {mode: Task("t", "python", mode, "def f(a): return a", ()) for mode in Mode}
    assert prompts.key(bare[Mode.INDUCTION]) == "def f(a): return a"
    for mode in (Mode.DEDUCTION, Mode.ABDUCTION):
        with pytest.raises(IndexError):
            prompts.key(bare[mode])
