"""One round of self-play: propose -> admit -> bind -> solve -> pay -> keep. Knows no TRL and no torch.

Where this differs from the paper's Algorithm 1:

1. The solver's rows are the learnability estimate. The paper draws n more answers to each proposal and throws
   them away; here the answers that are trained on are the n answers (same policy, same temperature).
2. Solver prompts are bound after this round's proposals exist (the authors' code binds them a step earlier).
3. A proposal that nobody's answer could grade is paid nothing at all (``None``), not zero.
4. A proposal that belongs to the held-out part is refused and paid nothing at all.
5. A proposal that repeats a task of the buffer, or an earlier one of the round, is refused like an invalid one
   (``duplicates``).

Two controls change a round: tasks of a source in the place of proposals (``source``), and another writer of the
proposals than the policy under training (``proposer``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from azr_agents.ranks import Gather, agree
from azr_env.buffer import Conditioning, TaskBuffer
from azr_env.grading import grade
from azr_env.parsing import Style
from azr_env.prompts import gives_program, label, proposer_prompt, solver_prompt
from azr_env.proposals import Proposal, Proposed, admit
from azr_env.protocols import Domain, TaskSource, Verifier
from azr_env.rewards import learnability, proposer_reward, solve_rate_interval
from azr_env.types import Mode, Rejection, Role, Status, Task


@dataclass(frozen=True, slots=True)
class Row:
    """One place of the plan: its global number, which cell it belongs to, and its group.

    Rows of one group are bound to the same task, or shown the same references.
    """

    number: int
    mode: Mode
    role: Role
    group: int

    @property
    def cell(self) -> str:
        """Name of the cell."""
        return label(self.mode, self.role)


@dataclass(frozen=True, slots=True)
class Completion:
    """What the policy wrote for one prompt, with the token ids that training uses."""

    text: str
    prompt_ids: list[int]
    completion_ids: list[int]
    logprobs: list[float] | None = None


@dataclass(slots=True)
class Rollout:
    """One row of a round, all of it: what was asked, written, found and paid.

    ``reward`` is ``None`` when the row could not be graded. ``advantage`` is filled in by the trainer;
    with PPO it is the mean over the completion's tokens. Of a proposal, ``answers`` is how many its solve rate comes
    from, and ``blocks`` on how many programs of the buffer it was to build.
    """

    round: int
    row: Row
    prompt: str
    completion: Completion
    task: Task | None = None
    status: str = ""
    reason: str = ""
    reward: float | None = None
    solve_rate: float | None = None
    answers: int = 0
    references: tuple[str, ...] = ()
    blocks: int = 0
    fresh: bool = False
    advantage: float = 0.0

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the solve rate; ``None`` without one."""
        return None if self.solve_rate is None else solve_rate_interval(self.solve_rate, self.answers)

    def record(self) -> dict[str, Any]:
        """The rollout as plain JSON data."""
        return {
            "step": self.round,
            "row": self.row.number,
            "mode": str(self.row.mode),
            "role": str(self.row.role),
            "task_id": self.task.id if self.task else None,
            "fresh": self.fresh,
            "references": list(self.references),
            "blocks": self.blocks,
            "prompt": self.prompt,
            "completion": self.completion.text,
            "tokens": len(self.completion.completion_ids),
            "status": self.status,
            "reason": self.reason,
            "reward": self.reward,
            "solve_rate": self.solve_rate,
            "answers": self.answers,
            "solve_rate_interval": None if self.interval is None else list(self.interval),
            "advantage": self.advantage,
        }


class Composer(Protocol):
    """Composite functions of a domain, as :mod:`azr_env.domains.python.composite` gives them."""

    def block(self, program: str, number: int) -> str | None:
        """The program as a function to build on; ``None`` where it is not fit for it."""
        ...

    def composed(self, blocks: Sequence[str], program: str) -> str | Rejection:
        """The program on top of its blocks, or why it is refused."""
        ...


@dataclass(frozen=True, slots=True)
class Given:
    """What a proposer is shown: a program to find inputs for, or reference tasks and blocks to build on."""

    program: str | None = None
    references: tuple[Task, ...] = ()
    blocks: tuple[str, ...] = ()

    def less(self) -> Given:
        """The same with one reference less; without any, without the blocks."""
        if self.references:
            return replace(self, references=self.references[:-1])
        return replace(self, blocks=())


MOST_BLOCKS = 3
"""Most programs that a composite proposal is to build on; their number is drawn uniformly from 1 up (paper)."""


class Generate(Protocol):
    """Completes prompts with the policy under training, one completion each, in order."""

    def __call__(self, prompts: list[str]) -> list[Completion]: ...


DUPLICATES = ("refuse", "share")
"""What becomes of a proposal that is a task of the buffer or equals an earlier one of its round: it is refused and paid
as an invalid one; or it is tried and paid like any other, and equal ones share a task."""

SOURCES = (Mode.DEDUCTION, Mode.ABDUCTION)
"""Modes whose programs an induction proposer may be given; not deduction where its programs may raise."""

DRAWS = 32
"""How often tasks are drawn, at most, until enough of them are different."""

SEED_PATIENCE = 5
"""Rounds without a new task after which growing the seed buffer is given up."""


@dataclass(frozen=True)
class Settings:
    """What a round is made of.

    Attributes:
        proposer_rows: proposals per mode and round; 0 for none.
        solver_rows: answers per mode and round.
        buffer_share: share of the solver's rows bound to tasks of the buffer, in [0, 1]; the rest go to this round's
            proposals in turn.
        references: different tasks shown to a proposer (paper: 6), all where there are fewer; 0 for none.
        conditioning: how they are drawn from the buffer.
        duplicates: one of :data:`DUPLICATES`.
        composite: share of the proposals of deduction and abduction that are to build on programs of the buffer.
        learnability: name of the learnability function.
        style: prompt style.
        seed: keys all random draws, with the round and the row's group.
        group: consecutive rows of a cell that share one prompt. It divides both numbers of rows, and ``buffer_share``
            is rounded to whole groups.
    """

    proposer_rows: int
    solver_rows: int
    buffer_share: float = 0.5
    references: int = 6
    conditioning: Conditioning = "uniform"
    duplicates: str = "refuse"
    composite: float = 0.0
    learnability: str = "azr"
    style: Style = Style.PAPER
    seed: int = 0
    group: int = 1

    @property
    def fresh_groups(self) -> int:
        """Groups of a mode's solver rows that are bound to this round's new tasks."""
        return round(self.solver_rows // self.group * (1 - self.buffer_share))

    @property
    def most_answers(self) -> int:
        """Most groups of answers to one new task.

        Where repeats are refused, a task's part if every proposal became one; what is left goes to the buffer's tasks.
        """
        if self.duplicates == "share" or not self.proposer_rows:
            return self.fresh_groups
        return -(-self.fresh_groups // self.proposer_rows)


@dataclass
class SelfPlay:
    """Self-play over one domain and one buffer.

    Args:
        domain: the relation and its prompts.
        verifier: grades answers.
        buffer: admitted tasks; changed by one transaction a round, the same on every process.
        settings: what a round is made of.
        excluded: tasks that may never be trained on.
        fits: whether a prompt leaves the model room to answer.
        gather: see :data:`azr_agents.ranks.Gather`; the identity for one process.
        share: this process's part of a list of rows; all of it for one process.
        source: the source of a round, by its number, of new tasks in the place of proposals, as many as there are
            places for them.
        proposer: writes the proposals; ``None`` for the policy itself.
        modes: those that are played.
        composer: makes composite functions; needed where ``settings.composite`` is not 0.
    """

    domain: Domain
    verifier: Verifier
    buffer: TaskBuffer
    settings: Settings
    excluded: Callable[[Task], bool] = lambda task: False
    fits: Callable[[str], bool] = lambda prompt: True
    gather: Gather = lambda items: items
    share: Callable[[Sequence[Row]], list[Row]] = list
    source: Callable[[int], TaskSource] | None = None
    proposer: Generate | None = None
    modes: tuple[Mode, ...] = tuple(Mode)
    composer: Composer | None = None
    metrics: dict[str, float] = field(default_factory=dict)

    def plan(self) -> list[Row]:
        """The rows of a round, proposers first, each cell's rows together."""
        cells = [(mode, Role.PROPOSER) for mode in self.modes for _ in range(self.settings.proposer_rows)]
        cells += [(mode, Role.SOLVER) for mode in self.modes for _ in range(self.settings.solver_rows)]
        return [Row(number, mode, role, number // self.settings.group) for number, (mode, role) in enumerate(cells)]

    def round(self, number: int, rows: Sequence[Row], generate: Generate) -> list[Rollout]:
        """Plays one round and keeps what it found.

        Args:
            number: of the round, larger than any before.
            rows: this process's rows of the plan.
            generate: the policy. Called twice, with the proposers' and then the solvers' prompts.

        Returns:
            One rollout per row, in order.
        """
        proposers = [row for row in rows if row.role is Role.PROPOSER]
        solvers = [row for row in rows if row.role is Role.SOLVER]
        proposed = self._propose(number, proposers, self.proposer or generate)
        if self.source is None:
            tasks, repeats = self._gated(proposed)
        else:
            tasks, repeats = self._drawn(number, self.source(number)), 0
        solved = self._solve(number, solvers, tasks, generate)
        rates = self._solve_rates(solved)
        for rollout in proposed:
            self._pay(rollout, rates)
        kept = self._keep(number, tasks)
        agree(self.gather, self.buffer.digest(number), f"buffers after round {number}")
        self.metrics = self._metrics(proposed, solved, len(tasks), len(kept), repeats)
        by_number = {rollout.row.number: rollout for rollout in [*proposed, *solved]}
        return [by_number[row.number] for row in rows]

    def seed(self, generate: Generate, wanted: int, rounds: int, batch: int) -> int:
        """Grows an empty buffer from the domain's seed drafts by proposals alone, without any update.

        The paper begins the same way (identity task, base model, 4 x B tasks). Gives up after ``SEED_PATIENCE`` rounds
        that brought nothing new.

        Args:
            wanted: live tasks per mode to reach.
            rounds: most rounds of proposals.
            batch: proposals per mode and round.

        Returns:
            The number of the last round used; negative, rounds count up to -1.
        """
        seeded = self._seeded
        self._seed_drafts(-rounds - 1, seeded)
        idle = 0
        before: dict[str, int] = {}
        for number in range(-rounds, 0):
            sizes = self.buffer.sizes()
            idle = idle + 1 if sizes == before else 0
            if idle == SEED_PATIENCE:
                return number - 1
            before = sizes
            modes = [mode for mode in seeded if sizes.get(mode, 0) < wanted]
            if not modes:
                return number - 1
            cells = [(mode, Role.PROPOSER) for mode in modes for _ in range(batch)]
            rows = [Row(place, mode, role, place) for place, (mode, role) in enumerate(cells)]
            tasks, _ = self._gated(self._propose(number, self.share(rows), generate))
            self._keep(number, tasks)
        return -1

    @property
    def _seeded(self) -> tuple[Mode, ...]:
        """The modes that are played; with induction alone also deduction, where induction is given its programs."""
        lacks = self.modes == (Mode.INDUCTION,) and gives_program(self.domain, Mode.INDUCTION)
        return (Mode.DEDUCTION, *self.modes) if lacks else self.modes

    def _seed_drafts(self, number: int, modes: Sequence[Mode]) -> None:
        drafts = [draft for mode in modes for draft in self.domain.seeds(mode)]
        tasks = [task for task in self.domain.admit(drafts) if isinstance(task, Task) and not self.excluded(task)]
        self._keep(number, tasks)

    def _propose(self, number: int, rows: Sequence[Row], generate: Generate) -> list[Rollout]:
        prompts, shown = [], []
        for row in rows:
            given = self._given(number, row)
            prompt = self._proposer_prompt(row.mode, given)
            while (given.references or given.blocks) and not self.fits(prompt):
                given = given.less()
                prompt = self._proposer_prompt(row.mode, given)
            prompts.append(prompt)
            shown.append(given)
        completions = generate(prompts)
        items = [
            Proposed(row.mode, completion.text, given.program, given.blocks)
            for row, completion, given in zip(rows, completions, shown, strict=True)
        ]
        proposals = admit(self.domain, items, self.settings.style, self.composer.composed if self.composer else None)
        rollouts = []
        for row, prompt, completion, given, proposal in zip(rows, prompts, completions, shown, proposals, strict=True):
            names = tuple(task.id for task in given.references)
            rollout = Rollout(number, row, prompt, completion, references=names, blocks=len(given.blocks))
            self._receive(rollout, proposal)
            rollouts.append(rollout)
        return rollouts

    def _proposer_prompt(self, mode: Mode, given: Given) -> str:
        return proposer_prompt(
            self.domain, mode, given.references, self.settings.style, given.program, blocks=given.blocks
        )

    def _given(self, number: int, row: Row) -> Given:
        """What a proposer is shown of the buffer."""
        rng = self._rng(number, row.group)
        sizes = self.buffer.sizes()
        if gives_program(self.domain, row.mode):
            others = (Mode.ABDUCTION,) if getattr(self.domain, "predicts_errors", False) else SOURCES
            pools = [mode for mode in others if sizes.get(mode)]
            mode = pools[int(rng.integers(len(pools)))] if pools else row.mode
            return Given(self.buffer.sample(mode, rng, 1, self.settings.conditioning)[0].program)
        if not sizes.get(row.mode):
            return Given()
        return Given(None, self._references(row.mode, rng, sizes[row.mode]), self._blocks(row.mode, rng))

    def _references(self, mode: Mode, rng: np.random.Generator, live: int) -> tuple[Task, ...]:
        """Different tasks of the buffer, as many as are wanted; fewer where so many draws give no more."""
        wanted = min(self.settings.references, live)
        found: dict[Task, None] = {}
        for _ in range(DRAWS):
            if len(found) >= wanted:
                break
            drawn = self.buffer.sample(mode, rng, self.settings.references, self.settings.conditioning)
            found |= dict.fromkeys(drawn)
        return tuple(found)[:wanted]

    def _blocks(self, mode: Mode, rng: np.random.Generator) -> tuple[str, ...]:
        """What a composite proposal is to build on; empty for an ordinary one, and where no program drawn is fit."""
        if self.composer is None or mode is Mode.INDUCTION or rng.random() >= self.settings.composite:
            return ()
        drawn = self.buffer.sample(mode, rng, int(rng.integers(1, MOST_BLOCKS + 1)))
        blocks: list[str] = []
        for program in dict.fromkeys(task.program for task in drawn):
            block = self.composer.block(program, len(blocks))
            if block is not None:
                blocks.append(block)
        return tuple(blocks)

    def _receive(self, rollout: Rollout, proposal: Proposal) -> None:
        rejection = proposal.rejection
        task = proposal.task
        if task is not None:
            if self.excluded(task):
                rejection = Rejection("heldout", "belongs to the held-out part")
            elif not self.fits(solver_prompt(self.domain, task, self.settings.style)):
                rejection = Rejection("size", "the solver's prompt would be too long for the model")
        if rejection is None:
            rollout.task, rollout.status = task, "admitted"
        else:
            rollout.status, rollout.reason = rejection.reason, rejection.detail

    def _gated(self, proposed: Sequence[Rollout]) -> tuple[list[Task], int]:
        """This round's distinct new tasks in the order of rows, and how many proposals repeat one or the buffer's.

        The same on every process. Refused repeats lose their task.
        """
        found = [(rollout.row.number, rollout.task) for rollout in proposed if rollout.task is not None]
        distinct: dict[str, Task] = {}
        repeats: dict[int, str] = {}
        refuse = self.settings.duplicates == "refuse"
        for number, task in sorted(self.gather(found), key=lambda item: item[0]):
            identity = self.domain.identity(task)
            if identity in distinct:
                repeats[number] = "an earlier proposal of this round is the same task"
            elif self.buffer.has(task.mode, identity):
                repeats[number] = "the buffer has this task"
            if number not in repeats or not refuse:
                distinct.setdefault(identity, task)
        for rollout in proposed if refuse else ():
            if rollout.row.number in repeats:
                rollout.task, rollout.status, rollout.reason = None, "duplicate", repeats[rollout.row.number]
        return list(distinct.values()), len(repeats)

    def _drawn(self, number: int, source: TaskSource) -> list[Task]:
        """New tasks of the source, the same on every process; those that may not be trained on are left out."""
        distinct: dict[str, Task] = {}
        for place, mode in enumerate(self.modes):
            rngs = [self._rng(number, 2**30 + place)] * self.settings.fresh_groups
            for task in source.draw(mode, rngs):
                if not self.excluded(task) and self.fits(solver_prompt(self.domain, task, self.settings.style)):
                    distinct.setdefault(self.domain.identity(task), task)
        return list(distinct.values())

    def _solve(self, number: int, rows: Sequence[Row], tasks: Sequence[Task], generate: Generate) -> list[Rollout]:
        fresh = {mode: [task for task in tasks if task.mode is mode] for mode in self.modes}
        bound = [self._bind(number, row, fresh[row.mode]) for row in rows]
        prompts = [solver_prompt(self.domain, task, self.settings.style) for task, _ in bound]
        completions = generate(prompts)
        attempts = [(task, completion.text) for (task, _), completion in zip(bound, completions, strict=True)]
        grades = grade(self.domain, self.verifier, attempts, self.settings.style)
        return [
            Rollout(
                number,
                row,
                prompt,
                completion,
                task,
                str(result.verdict.status),
                result.verdict.reason,
                result.reward,
                fresh=new,
            )
            for row, (task, new), prompt, completion, result in zip(
                rows, bound, prompts, completions, grades, strict=True
            )
        ]

    def _bind(self, number: int, row: Row, fresh: Sequence[Task]) -> tuple[Task, bool]:
        """The task of a solver's row, and whether it is one of this round."""
        place = (row.number - len(self.modes) * self.settings.proposer_rows) % self.settings.solver_rows
        group = place // self.settings.group
        if group < min(self.settings.fresh_groups, len(fresh) * self.settings.most_answers):
            return fresh[group % len(fresh)], True
        return self.buffer.sample(row.mode, self._rng(number, row.group), 1)[0], False

    def _solve_rates(self, solved: Sequence[Rollout]) -> dict[str, tuple[float, int]]:
        """Share of correct answers by task identity, and how many answers that is, over all processes.

        Tasks of which an answer could not be graded are left out: those answers that never reach the verifier, the
        malformed ones, would count too often.
        """
        mine = [
            (self.domain.identity(rollout.task), rollout.status == Status.CORRECT, rollout.reward is None)
            for rollout in solved
            if rollout.task is not None and rollout.fresh
        ]
        tried, right, failed = Counter[str](), Counter[str](), set[str]()
        for identity, correct, ungraded in self.gather(mine):
            tried[identity] += 1
            right[identity] += correct
            if ungraded:
                failed.add(identity)
        return {identity: (right[identity] / tried[identity], tried[identity]) for identity in tried.keys() - failed}

    def _pay(self, rollout: Rollout, rates: dict[str, tuple[float, int]]) -> None:
        if rollout.task is None:
            refusal = Rejection("error" if rollout.status == "heldout" else rollout.status, rollout.reason)
            rollout.reward = proposer_reward(refusal, None, learnability(self.settings.learnability))
            return
        rollout.solve_rate, rollout.answers = rates.get(self.domain.identity(rollout.task), (None, 0))
        rollout.reward = proposer_reward(None, rollout.solve_rate, learnability(self.settings.learnability))

    def _keep(self, number: int, tasks: Iterable[Task]) -> list[Task]:
        with self.buffer.step(number):
            return self.buffer.add([(task, self.domain.identity(task)) for task in tasks], self._rng(number, 2**31))

    def _rng(self, number: int, row: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence([self.settings.seed, number + 2**31, row]))

    def _metrics(
        self, proposed: Sequence[Rollout], solved: Sequence[Rollout], distinct: int, kept: int, repeats: int
    ) -> dict[str, float]:
        everyone = self._everyones(proposed), self._everyones(solved)
        return round_metrics(*everyone, distinct, kept, repeats) | {
            f"buffer/{mode}": float(size) for mode, size in self.buffer.sizes().items()
        }

    def _everyones(self, rollouts: Sequence[Rollout]) -> list[Rollout]:
        return sorted(self.gather(list(rollouts)), key=lambda rollout: rollout.row.number)


def round_metrics(
    proposed: Sequence[Rollout], solved: Sequence[Rollout], distinct: int, kept: int, repeats: int
) -> dict[str, float]:
    """Figures of one round under stable names; shares are in [0, 1], lengths in tokens.

    A share of no rows is left out.

    Args:
        distinct: tasks of the round.
        kept: those that the buffer took.
        repeats: valid proposals that were tasks of the round or of the buffer already.
    """
    found: dict[str, float] = {"proposals/distinct": float(distinct), "proposals/new": float(kept)}
    _share(found, "proposals/admitted", [r.task is not None for r in proposed])
    valid = [r.task is not None or r.status in ("duplicate", "heldout") for r in proposed]
    _share(found, "proposals/valid", valid)
    _share(found, "proposals/composite", [r.task is not None for r in proposed if r.blocks])
    known = sum(r.task is not None or r.status == "duplicate" for r in proposed)
    if known:
        found["proposals/duplicate"] = repeats / known
    intervals = [r.interval for r in proposed if r.interval is not None]
    _share(found, "solve_rate/answers", [r.answers for r in proposed if r.interval is not None])
    _share(found, "solve_rate/interval", [high - low for low, high in intervals])
    _share(found, "proposals/learnable", [(r.reward or 0) > 0 for r in proposed if r.task is not None])
    _share(found, "learnability", [r.reward for r in proposed if r.task is not None and r.reward is not None])
    for reason, count in Counter(r.status for r in proposed if r.task is None).items():
        found[f"rejected/{reason}"] = float(count)
    graded = [r for r in solved if r.reward is not None]
    _share(found, "accuracy/all", [r.status == Status.CORRECT for r in graded])
    for mode in Mode:
        _share(found, f"accuracy/{mode}", [r.status == Status.CORRECT for r in graded if r.row.mode is mode])
    _share(found, "accuracy/fresh", [r.status == Status.CORRECT for r in graded if r.fresh])
    _share(found, "accuracy/buffer", [r.status == Status.CORRECT for r in graded if not r.fresh])
    _share(found, "malformed", [r.status == Status.MALFORMED for r in graded])
    _share(found, "worked", ["</think>" in r.completion.text for r in solved])
    _share(found, "length/solver", [len(r.completion.completion_ids) for r in solved])
    _share(found, "length/proposer", [len(r.completion.completion_ids) for r in proposed])
    cells: dict[str, list[float | None]] = {}
    for rollout in [*proposed, *solved]:
        cells.setdefault(rollout.row.cell, []).append(rollout.reward)
    for cell, rewards in cells.items():
        _share(found, f"reward/{cell}", [reward for reward in rewards if reward is not None])
    _share(found, "zero_spread_cells", [len({r for r in rewards if r is not None}) < 2 for rewards in cells.values()])
    return found


def _share(found: dict[str, float], name: str, values: Iterable[float]) -> None:
    values = list(values)
    if values:
        found[name] = float(sum(values)) / len(values)
