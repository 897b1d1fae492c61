"""What a person sees: the line every few rounds and the table at the end."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console
from transformers import TrainerControl, TrainerState

from azr_agents.evaluate import Result
from azr_agents.progress import Progress, table
from azr_env.domains.prime_inversion import PrimeInversionDomain
from azr_env.types import Mode

DOMAIN = PrimeInversionDomain(13)


def printed(every: int, steps: int, steps_per_round: int = 1) -> list[str]:
    console = Console(file=io.StringIO(), width=200)
    progress = Progress(console, every)
    state, control = TrainerState(max_steps=steps), TrainerControl()
    progress.on_train_begin(None, state, control)
    for step in range(1, steps + 1):
        if (step - 1) % steps_per_round == 0:
            progress.round({"accuracy/deduction": step % 2, "proposals/new": 3.0})
        state.global_step = step
        progress.on_step_end(None, state, control)
    text = console.file
    assert isinstance(text, io.StringIO)
    return text.getvalue().splitlines()


def test_a_line_every_few_rounds_and_at_the_end() -> None:
    assert [line.split()[1] for line in printed(2, 5)] == ["2/5", "4/5", "5/5"]
    assert [line.split()[1] for line in printed(1, 6, steps_per_round=3)] == ["1/6", "4/6"]


def test_a_line_averages_the_rounds_since_the_last_and_marks_what_is_missing() -> None:
    first, last = printed(2, 3)
    assert "accuracy ded 0.50 abd - ind -" in first
    assert "new 3.0" in first
    assert "accuracy ded 1.00" in last
    assert "learnability -" in last


def test_nothing_is_said_twice() -> None:
    assert len(printed(1, 4)) == 4


def test_the_table_has_a_row_for_each_mode_and_decoding() -> None:
    tasks = tuple(DOMAIN.task(mode, 11, x) for mode in (Mode.DEDUCTION, Mode.INDUCTION) for x in range(2, 8))
    before = Result.of(tasks, np.zeros((12, 1)), np.zeros((12, 1)))
    after = Result.of(tasks, np.array([[1.0]] * 6 + [[0.0]] * 6), np.ones((12, 1)))
    console = Console(file=io.StringIO(), width=160)
    console.print(table("Held-out", {"greedy": before}, {"greedy": after}))
    text = console.file
    assert isinstance(text, io.StringIO)
    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in text.getvalue().splitlines()
        if line.startswith("│")
    ]
    assert rows == [
        ["greedy", "deduction", "6", "0.000", "1.000 [1.000, 1.000]", "+100.0 [+100.0, +100.0]", "0.00 -> 1.00"],
        ["greedy", "induction", "6", "0.000", "0.000 [0.000, 0.000]", "+0.0 [+0.0, +0.0]", "0.00 -> 1.00"],
        ["greedy", "all", "12", "0.000", rows[2][4], rows[2][5], "0.00 -> 1.00"],
    ]
    assert rows[2][4].startswith("0.500 [")
    assert rows[2][5].startswith("+50.0 [")


@pytest.mark.parametrize("every", [0, -3])
def test_every_round_at_least(every: int) -> None:
    assert len(printed(every, 3)) == 3
