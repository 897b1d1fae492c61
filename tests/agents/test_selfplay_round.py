"""One round of self-play with scripted policies: what is bound to what, who is paid what, and what is kept."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threads import Threads

from azr_agents.heldout import is_heldout
from azr_agents.ranks import Gather
from azr_agents.selfplay import DUPLICATES, SOURCES, Completion, Rollout, Row, SelfPlay, Settings
from azr_env.buffer import TaskBuffer
from azr_env.domains.prime_inversion import PrimeInversionDomain
from azr_env.domains.prime_inversion.arithmetic import primes
from azr_env.domains.python import PythonDomain
from azr_env.executors.scripted import ScriptedExecutor
from azr_env.parsing import Style
from azr_env.prompts import completion_of, key, proposal_of, solver_prompt
from azr_env.rewards import LEARNABILITY, REWARD_RANGE, solve_rate_interval
from azr_env.types import Draft, Example, Mode, Rejection, Role, Status, Task, Verdict
from azr_env.verifiers.relation import RelationVerifier

DOMAIN = PrimeInversionDomain(61)
SIZES = Settings(proposer_rows=4, solver_rows=8, buffer_share=0.5, references=1, style=Style.COMPACT)
RIGHT, WRONG, MUTE = "right", "wrong", "mute"


def tasks_of(mode: Mode, number: int, start: int = 0) -> list[Task]:
    """Distinct tasks on the primes from 5 up."""
    pairs = ((p, x) for p in primes(61) if p > 3 for x in range(2, p))
    return [DOMAIN.task(mode, p, x) for p, x in list(pairs)[start : start + number]]


def proposal(task: Task, style: Style = Style.COMPACT) -> str:
    return proposal_of(DOMAIN, task.program, [task.examples[0].input], style)


def answer(task: Task, how: str, style: Style = Style.COMPACT) -> str:
    text = {RIGHT: key(task), WRONG: "0", MUTE: ""}[how]
    return completion_of(DOMAIN, task.mode, text, style) if how != MUTE else "<think>never closed"


Propose = Callable[[Row], str]
Solve = Callable[[Row, Task], str]


@dataclass
class Script:
    """A policy of two functions that knows which row it answers, and remembers what it was asked.

    ``task_of`` finds the task behind a solver's prompt; the proposers' prompts come in the first of the two calls.
    """

    rows: Sequence[Row]
    propose: Propose
    solve: Callable[[Row, str], str]
    calls: list[list[str]] = field(default_factory=list)

    def __call__(self, prompts: list[str]) -> list[Completion]:
        role = Role.PROPOSER if not self.calls else Role.SOLVER
        rows = [row for row in self.rows if row.role is role]
        self.calls.append(list(prompts))
        write = self.propose if role is Role.PROPOSER else None
        texts = [write(row) if write else self.solve(row, prompt) for row, prompt in zip(rows, prompts, strict=True)]
        return [
            Completion(text, [1, 2], list(range(1, 2 + row.number % 3))) for text, row in zip(texts, rows, strict=True)
        ]


def reader(style: Style = Style.COMPACT) -> dict[str, Task]:
    """Every task of the range by its solver's prompt."""
    tasks = (DOMAIN.task(mode, p, x) for mode in Mode for p in primes(61) if p > 2 for x in range(1, p))
    return {solver_prompt(DOMAIN, task, style): task for task in tasks}


BY_PROMPT = {style: reader(style) for style in Style}


def new(sizes: Settings = SIZES, seeded: int = 3, **options: Any) -> SelfPlay:
    """Self-play over a buffer with some tasks of each mode."""
    buffer = TaskBuffer(capacity=options.pop("capacity", 1000), eviction=options.pop("eviction", "fifo"))
    game = SelfPlay(DOMAIN, options.pop("verifier", RelationVerifier(DOMAIN)), buffer, sizes, **options)
    with buffer.step(-1):
        seeds = [task for mode in Mode for task in tasks_of(mode, seeded, 400)]
        buffer.add([(task, DOMAIN.identity(task)) for task in seeds], np.random.default_rng(0))
    return game


def play(game: SelfPlay, propose: Propose, solve: Solve, number: int = 0) -> tuple[list[Rollout], Script]:
    rows = game.plan()
    style = game.settings.style

    def by_prompt(row: Row, prompt: str) -> str:
        return solve(row, BY_PROMPT[style][prompt])

    script = Script(rows, propose, by_prompt)
    return game.round(number, rows, script), script


def nth(row: Row, sizes: Settings = SIZES) -> int:
    """The place of a proposer's row in its cell."""
    return row.number % sizes.proposer_rows


def distinct(row: Row) -> str:
    return proposal(tasks_of(row.mode, 1, nth(row))[0])


def always(how: str) -> Solve:
    return lambda row, task: answer(task, how)


def proposers(rollouts: Sequence[Rollout]) -> list[Rollout]:
    return [r for r in rollouts if r.row.role is Role.PROPOSER]


def solvers(rollouts: Sequence[Rollout]) -> list[Rollout]:
    return [r for r in rollouts if r.row.role is Role.SOLVER]


# Binding


def test_plan_is_six_whole_cells_numbered_in_order() -> None:
    rows = new().plan()
    assert [row.number for row in rows] == list(range(36))
    assert Counter(row.cell for row in rows) == {
        **{f"proposer/{mode}": 4 for mode in Mode},
        **{f"solver/{mode}": 8 for mode in Mode},
    }
    assert all(rows[k].cell == rows[k - k % 4].cell for k in range(36))


def test_solver_prompts_are_bound_after_this_rounds_proposals() -> None:
    """AZR defect 11: their solvers train on the proposals of the step before."""
    game = new(replace(SIZES, buffer_share=0.0))
    rollouts, script = play(game, distinct, always(RIGHT))
    assert len(script.calls) == 2
    assert all("propose" in prompt for prompt in script.calls[0])
    proposed = {r.task.id for r in proposers(rollouts) if r.task}
    assert len(proposed) == 12
    assert {r.task.id for r in solvers(rollouts) if r.task} == proposed
    assert {BY_PROMPT[Style.COMPACT][prompt].id for prompt in script.calls[1]} == proposed


@pytest.mark.parametrize(("share", "fresh"), [(0.0, 8), (0.25, 6), (0.5, 4), (0.75, 2), (1.0, 0)])
def test_shares_of_fresh_and_buffer_rows(share: float, fresh: int) -> None:
    game = new(replace(SIZES, buffer_share=share))
    before = {task.id for mode in Mode for task in game.buffer.tasks(mode)}
    rollouts, _ = play(game, distinct, always(RIGHT))
    for mode in Mode:
        cell = [r for r in solvers(rollouts) if r.row.mode is mode]
        assert sum(r.fresh for r in cell) == fresh
        assert all((r.task.id in before) != r.fresh for r in cell if r.task)
        tried = Counter(r.task.id for r in cell if r.task and r.fresh)
        assert max(tried.values(), default=0) - min(tried.values(), default=0) <= 1  # proposals share the rows evenly


def test_without_proposals_all_rows_come_from_the_buffer() -> None:
    for sizes in (SIZES, replace(SIZES, proposer_rows=0)):
        game = new(sizes)
        rollouts, _ = play(game, lambda row: "no proposal", always(RIGHT))
        assert not any(r.fresh for r in rollouts)
        assert all(r.task and r.reward == 1.0 for r in solvers(rollouts))


def test_buffer_rows_are_drawn_from_the_whole_buffer() -> None:
    game = new(replace(SIZES, buffer_share=1.0, proposer_rows=0, solver_rows=64), seeded=4)
    rollouts, _ = play(game, lambda row: "", always(RIGHT))
    seen = Counter(r.task.id for r in rollouts if r.task)
    assert len(seen) == 12
    assert min(seen.values()) >= 4


@pytest.mark.parametrize("wanted", [0, 1, 3])
def test_references_come_from_the_buffer_of_the_mode_and_are_recorded(wanted: int) -> None:
    game = new(replace(SIZES, references=wanted))
    rollouts, script = play(game, distinct, always(RIGHT))
    for rollout, prompt in zip(proposers(rollouts), script.calls[0], strict=True):
        assert len(rollout.references) == wanted
        have = {task.id: task for task in game.buffer.tasks(rollout.row.mode)}
        assert prompt == rollout.prompt
        for name in rollout.references:
            assert f"program: {have[name].program}\ninput: {have[name].examples[0].input}\n" in prompt


@pytest.mark.parametrize(("seeded", "conditioning"), [(1, "uniform"), (2, "recency"), (6, "uniform"), (20, "recency")])
def test_no_reference_is_shown_twice(seeded: int, conditioning: Any) -> None:
    """As it was while the buffer held little more than the seed task, and a prompt showed it six times."""
    game = new(replace(SIZES, references=6, conditioning=conditioning), seeded=seeded)
    rollouts, _ = play(game, distinct, always(RIGHT))
    assert {len(set(r.references)) for r in proposers(rollouts)} == {min(6, seeded)}
    assert {len(r.references) for r in proposers(rollouts)} == {min(6, seeded)}


@pytest.mark.parametrize("errors", ["refuse", "predict"])
def test_induction_builds_on_no_program_that_may_raise(errors: str) -> None:
    domain = PythonDomain(ScriptedExecutor({}), errors=errors)
    game = SelfPlay(domain, RelationVerifier(domain), TaskBuffer(), replace(SIZES, proposer_rows=24))
    example = (Example("1", "1"),)
    kept = {mode: Task(mode, "python", mode, f"def f(x): return x # {mode}", example) for mode in SOURCES}
    with game.buffer.step(0):
        game.buffer.add([(task, task.id) for task in kept.values()], np.random.default_rng(0))
    rows = [row for row in game.plan() if row.mode is Mode.INDUCTION and row.role is Role.PROPOSER]
    drawn = {game._given(number, row).program for number in range(4) for row in rows}
    due = set(kept) - ({Mode.DEDUCTION} if errors == "predict" else set())
    assert drawn == {kept[mode].program for mode in due}


def test_references_that_do_not_fit_are_dropped() -> None:
    game = new(replace(SIZES, references=3), fits=lambda prompt: prompt.count("program:") <= 2)
    rollouts, _ = play(game, distinct, always(RIGHT))
    assert {len(r.references) for r in proposers(rollouts)} == {1}


def test_a_proposal_too_long_to_be_solved_is_refused() -> None:
    game = new(fits=lambda prompt: "program: 5\n" not in prompt or "propose" in prompt)
    rollouts, _ = play(game, distinct, always(RIGHT))
    refused = [r for r in proposers(rollouts) if r.status == "size"]
    assert refused
    assert all(r.reward == -1.0 and r.task is None for r in refused)
    assert not any(r.task and r.task.program == "5" and r.row.mode is not Mode.INDUCTION for r in solvers(rollouts))


# Grading


def test_each_solver_row_is_graded_in_its_own_mode() -> None:
    """Reproduction defect: solver slots mixed task types and graded the wrong unknown."""
    chosen = {mode: DOMAIN.task(mode, 11, 4) for mode in Mode}  # 4 * 3 = 1 (mod 11)
    unknown = {Mode.DEDUCTION: "3", Mode.ABDUCTION: "4", Mode.INDUCTION: "11"}
    for asked, text in unknown.items():
        game = new(replace(SIZES, buffer_share=0.0, duplicates="share"))
        rollouts, _ = play(game, lambda row: proposal(chosen[row.mode]), lambda row, task, text=text: text)
        for rollout in solvers(rollouts):
            assert rollout.task is not None
            assert rollout.task.mode is rollout.row.mode
            assert rollout.prompt == solver_prompt(DOMAIN, rollout.task, Style.COMPACT)
            assert rollout.prompt.endswith(
                {"deduction": "output:", "abduction": "input:", "induction": "program:"}[rollout.row.mode]
            )
            assert (rollout.status == "correct") == (rollout.row.mode is asked)


def test_any_right_prime_is_right_in_induction() -> None:
    task = DOMAIN.task(Mode.INDUCTION, 5, 1)  # 1 * 1 = 1 modulo every prime
    game = new(replace(SIZES, buffer_share=0.0))
    rollouts, _ = play(game, lambda row: proposal(task), lambda row, task: "7")
    found = [
        r for r in solvers(rollouts) if r.row.mode is Mode.INDUCTION and r.task and r.task.examples == task.examples
    ]
    assert found
    assert all(r.reward == 1.0 for r in found)


@pytest.mark.parametrize(
    ("how", "status", "reward"), [(RIGHT, "correct", 1.0), (WRONG, "incorrect", -0.5), (MUTE, "malformed", -1.0)]
)
@pytest.mark.parametrize("style", list(Style))
def test_solver_rewards(how: str, status: str, reward: float, style: Style) -> None:
    game = new(replace(SIZES, style=style))
    rollouts, _ = play(
        game,
        lambda row: proposal(tasks_of(row.mode, 1, nth(row))[0], style),
        lambda row, task: answer(task, how, style),
    )
    assert {r.status for r in proposers(rollouts)} == {"admitted"}
    assert {(r.status, r.reward) for r in solvers(rollouts)} == {(status, reward)}


# Pay


def some(right: int) -> Solve:
    """The first ``right`` answers to a task of this round are right, all others wrong."""
    tried: Counter[str] = Counter()

    def solve(row: Row, task: Task) -> str:
        tried[task.id] += 1
        return answer(task, RIGHT if tried[task.id] <= right else WRONG)

    return solve


def test_learnability_is_measured_on_the_answers_that_are_trained_on() -> None:
    """AZR defects 10 and 12: no further answers, no greedy ones; the policy is called exactly twice a round."""
    game = new(replace(SIZES, buffer_share=0.0, proposer_rows=2))
    rollouts, script = play(game, lambda row: proposal(tasks_of(row.mode, 1, row.number % 2)[0]), some(1))
    assert len(script.calls) == 2
    assert len(script.calls[1]) == len(solvers(rollouts)) == 24
    for rollout in proposers(rollouts):
        answers = [r for r in solvers(rollouts) if r.task == rollout.task]
        assert len(answers) == 4
        assert rollout.solve_rate == 1 / 4
        assert rollout.reward == 1 - 1 / 4
        assert rollout.record()["answers"] == 4
        assert rollout.record()["solve_rate_interval"] == [*solve_rate_interval(1 / 4, 4)]
    low, high = solve_rate_interval(1 / 4, 4)
    assert game.metrics["solve_rate/interval"] == pytest.approx(high - low)
    assert game.metrics["solve_rate/answers"] == 4


def test_a_proposal_is_paid_for_its_own_task_only() -> None:
    """Reproduction defect: the proposer's reward averaged unrelated tasks."""

    hard = some(1)

    def solve(row: Row, task: Task) -> str:
        easy = tasks_of(task.mode, 1, 0)[0]
        return answer(task, RIGHT) if task.id == easy.id else hard(row, task)

    game = new(replace(SIZES, buffer_share=0.0, proposer_rows=2))
    rollouts, _ = play(game, lambda row: proposal(tasks_of(row.mode, 1, row.number % 2)[0]), solve)
    for rollout in proposers(rollouts):
        easy = rollout.row.number % 2 == 0
        assert (rollout.solve_rate, rollout.reward) == ((1.0, 0.0) if easy else (0.25, 0.75))


@pytest.mark.parametrize("name", list(LEARNABILITY))
@pytest.mark.parametrize("how", [RIGHT, WRONG, MUTE])
def test_rewards_stay_in_their_range_and_extremes_pay_least(name: str, how: str) -> None:
    game = new(replace(SIZES, learnability=name))
    rollouts, _ = play(game, distinct, always(how))
    low, high = REWARD_RANGE
    assert all(r.reward is None or low <= r.reward <= high for r in rollouts)
    for rollout in proposers(rollouts):
        assert rollout.reward is not None
        assert rollout.reward <= 0


def test_proposals_that_nobody_tried_are_not_paid() -> None:
    game = new(replace(SIZES, buffer_share=1.0))
    rollouts, _ = play(game, distinct, always(RIGHT))
    assert all(r.task and r.reward is None and r.solve_rate is None for r in proposers(rollouts))
    assert game.buffer.sizes() == dict.fromkeys(Mode, 7)  # admitted all the same


def test_more_proposals_than_rows_leaves_the_rest_unpaid() -> None:
    game = new(Settings(proposer_rows=6, solver_rows=4, buffer_share=0.5, references=0, style=Style.COMPACT))
    rollouts, _ = play(game, lambda row: proposal(tasks_of(row.mode, 1, row.number % 6)[0]), always(WRONG))
    for mode in Mode:
        paid = [r.reward for r in proposers(rollouts) if r.row.mode is mode]
        assert paid == [0.0, 0.0, None, None, None, None]


@dataclass
class Flaky:
    """A verifier of which our machinery fails for every n-th answer."""

    every: int

    def verify(self, answers: Sequence[tuple[Task, str]]) -> list[Verdict]:
        verdicts = RelationVerifier(DOMAIN).verify(answers)
        return [Verdict(Status.ERROR, "died") if k % self.every == 0 else v for k, v in enumerate(verdicts)]


def test_our_own_failures_pay_and_blame_nobody() -> None:
    game = new(verifier=Flaky(1))
    rollouts, _ = play(game, distinct, always(RIGHT))
    assert all(r.reward is None for r in rollouts)
    assert {r.status for r in solvers(rollouts)} == {"error"}
    assert all(r.solve_rate is None for r in proposers(rollouts))
    assert not any(name.startswith(("accuracy", "malformed", "reward", "learnability")) for name in game.metrics)


def test_a_task_with_a_failed_answer_has_no_solve_rate() -> None:
    """Else the malformed answers, which never reach the verifier that fails, would count too often."""
    game = new(replace(SIZES, buffer_share=0.0, proposer_rows=2), verifier=Flaky(2))
    rollouts, _ = play(game, lambda row: proposal(tasks_of(row.mode, 1, row.number % 2)[0]), always(RIGHT))
    graded = [r for r in solvers(rollouts) if r.reward is not None]
    assert len(graded) == 12
    for rollout in proposers(rollouts):
        failed = [r for r in solvers(rollouts) if r.task == rollout.task and r.reward is None]
        assert rollout.solve_rate == (None if failed else 1.0)
    assert game.metrics["accuracy/all"] == 1.0


class Broken(PrimeInversionDomain):
    """A domain whose executor fails on the prime 5."""

    def admit(self, drafts: Sequence[Draft]) -> list[Task | Rejection]:
        found = super().admit(drafts)
        return [
            Rejection("error", "executor died") if d.program == "5" else f for d, f in zip(drafts, found, strict=True)
        ]


def test_a_proposal_that_our_machinery_failed_to_run_is_not_paid() -> None:
    game = new()
    game.domain = Broken(61)
    rollouts, _ = play(game, distinct, always(RIGHT))
    failed = [r for r in proposers(rollouts) if r.status == "error"]
    assert len(failed) == 9  # x = 2, 3, 4 modulo 5, in three modes
    assert all(r.reward is None and r.task is None for r in failed)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (" 4\ninput: 3", "invalid"),
        (" 7\ninput: 7", "invalid"),
        (" 7\ninput: 0", "invalid"),
        (" 67\ninput: 2", "size"),
        (" seven\ninput: 2", "syntax"),
        (" 7", "malformed"),
        ("", "malformed"),
        ("<think>", "malformed"),
        (" 7\ninput: 2\ninput: 3", None),
    ],
)
def test_refused_proposals_cost_one(text: str, status: str | None) -> None:
    game = new()
    before = game.buffer.digest()
    rollouts, _ = play(game, lambda row: text, always(RIGHT))
    for rollout in proposers(rollouts):
        assert rollout.reward == -1.0
        assert rollout.status == (status or ("inputs" if rollout.row.mode is Mode.INDUCTION else "malformed"))
        assert rollout.task is None
        assert rollout.solve_rate is None
    assert game.buffer.digest() == before
    assert not any(r.fresh for r in rollouts)


# Held-out


def test_held_out_proposals_are_refused_unpaid_and_never_kept() -> None:
    held = [t for t in tasks_of(Mode.DEDUCTION, 400) if is_heldout(DOMAIN, t)]
    assert len(held) > 40
    game = new(excluded=lambda task: is_heldout(DOMAIN, task))
    before = game.buffer.digest()
    rollouts, _ = play(game, lambda row: proposal(held[row.number]), always(RIGHT))
    for rollout in proposers(rollouts):
        assert (rollout.status, rollout.reward, rollout.task) == ("heldout", None, None)
    assert game.buffer.digest() == before
    assert not any(r.fresh for r in rollouts)
    assert game.metrics["rejected/heldout"] == 12


# Duplicates and the buffer


def test_a_repeat_is_refused_and_paid_like_an_invalid_proposal() -> None:
    """The first of a round's equal proposals stands, by its row; none that the buffer has."""
    game = new(replace(SIZES, buffer_share=0.0))
    known = {mode: game.buffer.tasks(mode)[0] for mode in Mode}
    written = {0: None, 1: 0, 2: 1, 3: 1}  # the buffer's task, a new one, another, and that once more
    rollouts, _ = play(
        game,
        lambda row: proposal(
            known[row.mode] if written[nth(row)] is None else tasks_of(row.mode, 1, written[nth(row)])[0]
        ),
        some(1),
    )
    for mode in Mode:
        cell = [r for r in proposers(rollouts) if r.row.mode is mode]
        assert [r.status for r in cell] == ["duplicate", "admitted", "admitted", "duplicate"]
        assert [r.reward for r in cell] == [-1.0, 0.5, 0.5, -1.0]
        assert cell[0].reason == "the buffer has this task"
        assert "earlier proposal" in cell[3].reason
        assert cell[0].task is cell[3].task is None
    assert game.buffer.sizes() == dict.fromkeys(Mode, 5)
    assert game.metrics["rejected/duplicate"] == 6
    assert game.metrics["proposals/duplicate"] == game.metrics["proposals/admitted"] == 0.5
    assert game.metrics["proposals/valid"] == 1.0


def test_few_new_tasks_do_not_take_all_the_rows() -> None:
    """A finite domain runs out of new tasks: what proposals leave goes to the buffer's tasks."""
    game = new(replace(SIZES, buffer_share=0.0))
    rollouts, _ = play(game, lambda row: proposal(tasks_of(row.mode, 1)[0]), always(RIGHT))
    for mode in Mode:
        cell = [r for r in solvers(rollouts) if r.row.mode is mode]
        assert sum(r.fresh for r in cell) == 2  # 8 answers to 4 proposals
        assert len({r.task.id for r in cell if r.task and not r.fresh}) > 1
    everything_known = play(game, lambda row: proposal(tasks_of(row.mode, 1)[0]), always(RIGHT), 1)[0]
    assert not any(r.fresh for r in solvers(everything_known))
    assert {r.reward for r in proposers(everything_known)} == {-1.0}


def test_duplicates_of_a_round_share_one_task() -> None:
    game = new(replace(SIZES, buffer_share=0.0, duplicates="share"))
    rollouts, _ = play(game, lambda row: proposal(tasks_of(row.mode, 1, row.number % 2)[0]), some(1))
    assert game.buffer.sizes() == dict.fromkeys(Mode, 5)
    assert game.metrics["proposals/distinct"] == game.metrics["proposals/new"] == 6
    for mode in Mode:
        cell = [r for r in proposers(rollouts) if r.row.mode is mode]
        assert cell[0].reward == cell[2].reward == 1 - 1 / 4
        assert cell[1].reward == cell[3].reward == 1 - 1 / 4


def test_a_task_of_the_buffer_proposed_again_is_tried_and_paid_but_not_added_twice() -> None:
    game = new(replace(SIZES, duplicates="share"))
    known = {mode: game.buffer.tasks(mode)[0] for mode in Mode}
    rollouts, _ = play(game, lambda row: proposal(known[row.mode]), some(1))
    assert game.buffer.sizes() == dict.fromkeys(Mode, 3)
    assert game.metrics["proposals/new"] == 0
    assert all(r.solve_rate is not None and 0 < r.solve_rate < 1 for r in proposers(rollouts))


def test_answers_of_buffer_rows_do_not_count_in_the_solve_rate() -> None:
    game = new(replace(SIZES, proposer_rows=4, buffer_share=0.5, duplicates="share"), seeded=1)
    known = {mode: game.buffer.tasks(mode)[0] for mode in Mode}  # the buffer's only task is proposed too
    rollouts, _ = play(
        game,
        lambda row: proposal(known[row.mode]),
        lambda row, task: answer(task, RIGHT if row.number % 8 >= 4 else WRONG),
    )
    for rollout in proposers(rollouts):
        fresh = [r.status == "correct" for r in solvers(rollouts) if r.fresh and r.row.mode is rollout.row.mode]
        assert len(fresh) == 4
        assert rollout.solve_rate == np.mean(fresh)


def test_a_full_buffer_keeps_the_newest() -> None:
    """AZR defect 8: theirs keeps its oldest tasks and drops every new one."""
    game = new(capacity=6, seeded=3)
    for number in range(3):
        play(
            game,
            lambda row, number=number: proposal(tasks_of(row.mode, 1, 4 * number + nth(row))[0]),
            always(RIGHT),
            number,
        )
    for mode in Mode:
        assert [t.id for t in game.buffer.tasks(mode)] == [t.id for t in tasks_of(mode, 6, 6)]


def test_a_round_is_one_step_of_the_buffer() -> None:
    game = new()
    for number in (0, 1, 5):
        play(game, distinct, always(RIGHT), number)
        assert game.buffer.last_step() == number


# Anything at all


texts = st.one_of(
    st.builds(lambda p, x: f" {p}\ninput: {x}", st.integers(0, 70), st.integers(0, 61)),
    st.builds(lambda p, x: f" {p}\ninput: {x}", st.sampled_from([5, 7, 11]), st.integers(1, 5)),
    st.sampled_from(["", " 7", "<think>", " 7\ninput: 2\nmessage: hint", " 7\ninput: 2\ninput: 3", "\x00\ud800"]),
)
hows = st.sampled_from([RIGHT, RIGHT, WRONG, MUTE])


@given(
    proposals=st.lists(texts, min_size=12, max_size=12),
    answers=st.lists(hows, min_size=24, max_size=24),
    share=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    duplicates=st.sampled_from(DUPLICATES),
    name=st.sampled_from(list(LEARNABILITY)),
)
@settings(max_examples=40)
def test_the_books_balance(proposals: list[str], answers: list[str], share: float, duplicates: str, name: str) -> None:
    sizes = replace(SIZES, buffer_share=share, duplicates=duplicates, learnability=name)
    game = new(sizes, excluded=lambda task: is_heldout(DOMAIN, task))
    before = {task.id for mode in Mode for task in game.buffer.tasks(mode)}
    rollouts, script = play(
        game, lambda row: proposals[row.number], lambda row, task: answer(task, answers[row.number - 12])
    )
    assert [r.row for r in rollouts] == game.plan()
    assert [r.prompt for r in rollouts] == script.calls[0] + script.calls[1]
    for rollout in solvers(rollouts):
        expected = {RIGHT: 1.0, WRONG: -0.5, MUTE: -1.0}[answers[rollout.row.number - 12]]
        assert rollout.reward == expected
    admitted = [r for r in proposers(rollouts) if r.status == "admitted"]
    for rollout in admitted:
        assert rollout.task is not None
        assert not is_heldout(DOMAIN, rollout.task)
        tried = [r.reward == 1.0 for r in solvers(rollouts) if r.fresh and r.task and r.task.id == rollout.task.id]
        assert rollout.solve_rate == (float(np.mean(tried)) if tried else None)
        assert rollout.answers == len(tried)
        assert rollout.reward == (LEARNABILITY[name](float(np.mean(tried))) if tried else None)
    for rollout in proposers(rollouts):
        if rollout.status != "admitted":
            assert rollout.task is None
            assert rollout.reward == (None if rollout.status == "heldout" else -1.0)
    after = {task.id for mode in Mode for task in game.buffer.tasks(mode)}
    assert after == before | {r.task.id for r in admitted if r.task}
    assert_metrics(game, rollouts)


def assert_metrics(game: SelfPlay, rollouts: Sequence[Rollout]) -> None:
    found = game.metrics
    assert all(isinstance(v, float) and math.isfinite(v) for v in found.values())
    json.dumps(found, allow_nan=False)
    solved, proposed = solvers(rollouts), proposers(rollouts)
    assert found["accuracy/all"] == pytest.approx(np.mean([r.status == "correct" for r in solved]))
    assert found["malformed"] == pytest.approx(np.mean([r.status == "malformed" for r in solved]))
    assert found["proposals/admitted"] == pytest.approx(np.mean([r.status == "admitted" for r in proposed]))
    assert found["length/solver"] == pytest.approx(np.mean([len(r.completion.completion_ids) for r in solved]))
    refused = Counter(f"rejected/{r.status}" for r in proposed if r.status != "admitted")
    assert {k: v for k, v in found.items() if k.startswith("rejected/")} == refused
    cells = {row.cell: [r.reward for r in rollouts if r.row.cell == row.cell] for row in game.plan()}
    assert found["zero_spread_cells"] == pytest.approx(
        np.mean([len({x for x in rewards if x is not None}) < 2 for rewards in cells.values()])
    )
    for cell, rewards in cells.items():
        paid = [x for x in rewards if x is not None]
        assert (f"reward/{cell}" in found) == bool(paid)
        if paid:
            assert found[f"reward/{cell}"] == pytest.approx(np.mean(paid))
    for mode, size in game.buffer.sizes().items():
        assert found[f"buffer/{mode}"] == size


def test_metrics_of_a_full_round_have_these_names() -> None:
    game = new()
    play(game, distinct, some(1))
    modes, cells = list(Mode), {row.cell for row in game.plan()}
    assert set(game.metrics) == {
        "proposals/distinct",
        "proposals/duplicate",
        "proposals/valid",
        "proposals/new",
        "proposals/admitted",
        "proposals/learnable",
        "learnability",
        "solve_rate/answers",
        "solve_rate/interval",
        "accuracy/all",
        "accuracy/fresh",
        "accuracy/buffer",
        *(f"accuracy/{mode}" for mode in modes),
        "malformed",
        "worked",
        "length/solver",
        "length/proposer",
        *(f"reward/{cell}" for cell in cells),
        "zero_spread_cells",
        *(f"buffer/{mode}" for mode in modes),
    }


def test_records_are_plain_json() -> None:
    rollouts, _ = play(new(), distinct, some(1))
    for rollout in rollouts:
        record = json.loads(json.dumps(rollout.record(), allow_nan=False))
        assert record["step"] == 0
        assert record["row"] == rollout.row.number
        assert record["reward"] == rollout.reward
        assert record["completion"] == rollout.completion.text
        assert record["tokens"] == len(rollout.completion.completion_ids)


# Seeds


def test_equal_seeds_give_equal_rounds() -> None:
    def run(seed: int) -> tuple[list[dict[str, Any]], str]:
        game = new(replace(SIZES, seed=seed, references=2), seeded=12)
        rollouts = [r for number in range(3) for r in play(game, distinct_in(number), some(1), number)[0]]
        return [r.record() for r in rollouts], game.buffer.digest()

    assert run(7) == run(7)
    assert run(7)[0] != run(8)[0]


def distinct_in(number: int) -> Propose:
    return lambda row: proposal(tasks_of(row.mode, 1, 4 * number + nth(row))[0])


def test_rounds_draw_anew() -> None:
    game = new(replace(SIZES, references=1), seeded=12)
    shown = [tuple(r.references for r in proposers(play(game, lambda row: "", always(RIGHT), n)[0])) for n in range(3)]
    assert len(set(shown)) == 3


def test_global_random_state_is_left_alone() -> None:
    np.random.seed(5)  # noqa: NPY002
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    play(new(), distinct, some(1))
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


# Several processes


def by_number(row: Row) -> str:
    """Mostly admitted, some of it held out, refused or proposed twice."""
    pool = tasks_of(row.mode, 30)
    return {0: "", 1: " 4\ninput: 3"}.get(row.number % 5, proposal(pool[(7 * row.number) % 11]))


def half(row: Row, task: Task) -> str:
    return answer(task, [RIGHT, WRONG, MUTE, RIGHT, WRONG][row.number % 5])


def rounds_of(share: Callable[[list[Row]], list[Row]], gather: Gather = list) -> dict[str, Any]:
    game = new(excluded=lambda task: is_heldout(DOMAIN, task))
    game.gather = gather
    records, metrics = [], []
    for number in range(3):
        rows = share(game.plan())
        script = Script(rows, by_number, lambda row, prompt: half(row, BY_PROMPT[Style.COMPACT][prompt]))
        rollouts = game.round(number, rows, script)
        assert [r.row for r in rollouts] == rows
        records += [r.record() for r in rollouts]
        metrics.append(game.metrics)
    return {"records": records, "metrics": metrics, "buffer": game.buffer.digest()}


@pytest.mark.parametrize("interleaved", [False, True])
def test_two_processes_find_what_one_finds(interleaved: bool) -> None:
    """Blocks of the plan, as TRL hands them out, leave one rank without a proposer; interleaved rows do not."""
    alone = rounds_of(list)

    def share(rank: int) -> Callable[[list[Row]], list[Row]]:
        if interleaved:
            return lambda rows: rows[1 - rank :: 2]
        return lambda rows: rows[rank * 18 : rank * 18 + 18]

    found = Threads(2).run(lambda ranks: rounds_of(share(ranks.rank), ranks.gather))
    assert found[0]["buffer"] == found[1]["buffer"] == alone["buffer"]
    for mine, other, whole in zip(found[0]["metrics"], found[1]["metrics"], alone["metrics"], strict=True):
        assert mine == other
        assert mine == pytest.approx(whole)
    place = lambda record: (record["step"], record["row"])  # noqa: E731
    assert sorted(found[0]["records"] + found[1]["records"], key=place) == alone["records"]


# Before training


def climbing() -> Iterator[Task]:
    while True:
        yield from (task for task in tasks_of(Mode.DEDUCTION, 800))


def grow(game: SelfPlay, wanted: int, rounds: int = 20, batch: int = 4) -> tuple[int, list[list[str]]]:
    calls: list[list[str]] = []
    pool = climbing()

    def generate(prompts: list[str]) -> list[Completion]:
        calls.append(prompts)
        return [Completion(proposal(next(pool)), [1], [1]) for _ in prompts]

    return game.seed(generate, wanted, rounds, batch), calls


def empty(**options: Any) -> SelfPlay:
    return SelfPlay(DOMAIN, RelationVerifier(DOMAIN), TaskBuffer(), SIZES, **options)


def test_seeding_grows_from_the_seed_drafts_by_proposals_alone() -> None:
    game = empty()
    last, calls = grow(game, wanted=10)
    assert all(size >= 10 for size in game.buffer.sizes().values())
    assert set(game.buffer.sizes()) == set(Mode)
    for mode in Mode:
        assert game.buffer.tasks(mode)[0].id == f"{mode}-3-2"
    assert all("propose" in prompt for prompts in calls for prompt in prompts)
    assert all("program: 3\ninput: 2\n" in prompt for prompt in calls[0])  # the identity task is the first reference
    assert last < 0
    assert game.buffer.last_step() == last
    play(game, distinct, always(RIGHT), 0)


def test_seeding_stops_when_it_has_enough_and_when_rounds_run_out() -> None:
    game = empty()
    assert grow(game, wanted=1)[1] == []
    game = empty()
    last, calls = grow(game, wanted=1000, rounds=5)
    assert len(calls) == 5
    assert last == -1
    assert game.buffer.last_step() == -1


def test_seeding_asks_only_for_modes_that_lack_tasks() -> None:
    game = empty()
    with game.buffer.step(-100):
        full = [(task, DOMAIN.identity(task)) for task in tasks_of(Mode.DEDUCTION, 20)]
        game.buffer.add(full, np.random.default_rng(0))
    _, calls = grow(game, wanted=10)
    assert not any("propose deduction" in prompt for prompts in calls for prompt in prompts)


def test_seeding_keeps_nothing_held_out() -> None:
    game = empty(excluded=lambda task: is_heldout(DOMAIN, task))
    grow(game, wanted=60, rounds=60)
    assert all(size >= 60 for size in game.buffer.sizes().values())
    assert not any(is_heldout(DOMAIN, task) for mode in Mode for task in game.buffer.tasks(mode))


def test_seeding_with_a_policy_that_cannot_propose_still_leaves_the_seed() -> None:
    game = empty()
    game.seed(lambda prompts: [Completion("nothing", [1], [1]) for _ in prompts], 10, 3, 2)
    assert game.buffer.sizes() == dict.fromkeys(Mode, 1)


# Induction over several inputs


def test_in_the_python_domain_an_induction_proposer_is_given_a_program(python_domain: PythonDomain) -> None:
    """One of the deduction or abduction buffer; it proposes inputs and a message."""
    sizes = Settings(proposer_rows=8, solver_rows=2, buffer_share=0.0, style=Style.PAPER, duplicates="share")
    game = SelfPlay(python_domain, RelationVerifier(python_domain), TaskBuffer(), sizes, modes=(Mode.INDUCTION,))
    programs = {mode: f"def f(a):\n    return [a] * {k}" for k, mode in enumerate(Mode, 2)}
    drafts = [Draft(mode, programs[mode], ("1",)) for mode in (Mode.DEDUCTION, Mode.ABDUCTION)]
    drafts.append(Draft(Mode.INDUCTION, programs[Mode.INDUCTION], ("1", "2", "3", "4")))
    tasks = [task for task in python_domain.admit(drafts) if isinstance(task, Task)]
    with game.buffer.step(0):
        game.buffer.add([(task, python_domain.identity(task)) for task in tasks], np.random.default_rng(0))
    inputs = ["1", "'b'", "None", "[2]"]

    def write(prompt: str) -> str:
        if python_domain.instructions["propose-induction"] in prompt:
            return proposal_of(python_domain, None, inputs, message="some of them")
        return completion_of(python_domain, Mode.INDUCTION, programs[Mode.DEDUCTION])

    rollouts = game.round(1, game.plan(), lambda prompts: [Completion(write(p), [1], [1]) for p in prompts])
    given = set()
    for rollout in proposers(rollouts):
        assert rollout.status == "admitted", rollout
        assert rollout.task is not None
        assert rollout.task.program in rollout.prompt
        assert rollout.references == ()
        assert [example.input for example in rollout.task.examples] == inputs
        assert rollout.task.shown == 2
        given.add(rollout.task.program)
    assert len(tasks) == 3
    assert given == {programs[Mode.DEDUCTION], programs[Mode.ABDUCTION]}
    for rollout in solvers(rollouts):
        assert rollout.task is not None
        assert "some of them" in rollout.prompt
        assert rollout.task.program not in rollout.prompt
        assert (rollout.reward == 1.0) == (rollout.task.program == programs[Mode.DEDUCTION])
