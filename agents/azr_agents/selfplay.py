"""One round of self-play: propose -> admit -> bind -> solve -> pay -> keep. Knows no TRL and no torch.

Where this differs from the paper's Algorithm 1:

1. The solver's rows are the learnability estimate. The paper draws n more answers to each proposal and throws
   them away; here the answers that are trained on are the n answers (same policy, same temperature).
2. Solver prompts are bound after this round's proposals exist (the authors' code binds them a step earlier).
3. A proposal that nobody's answer could grade is paid nothing at all (``None``), not zero.
4. A proposal that belongs to the held-out part is refused and paid nothing at all.

Two controls change a round: tasks of a source in the place of proposals (``source``), and another writer of the
proposals than the policy under training (``proposer``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from azr_env.buffer import TaskBuffer
from azr_env.grading import grade
from azr_env.parsing import Style
from azr_env.prompts import gives_program, label, proposer_prompt, solver_prompt
from azr_env.proposals import Proposal, Proposed, admit
from azr_env.protocols import Domain, TaskSource, Verifier
from azr_env.rewards import learnability, proposer_reward
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
    with PPO it is the mean over the completion's tokens.
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
    references: tuple[str, ...] = ()
    fresh: bool = False
    advantage: float = 0.0

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
            "prompt": self.prompt,
            "completion": self.completion.text,
            "tokens": len(self.completion.completion_ids),
            "status": self.status,
            "reason": self.reason,
            "reward": self.reward,
            "solve_rate": self.solve_rate,
            "advantage": self.advantage,
        }


class Generate(Protocol):
    """Completes prompts with the policy under training, one completion each, in order."""

    def __call__(self, prompts: list[str]) -> list[Completion]: ...


SEED_PATIENCE = 5
"""Rounds without a new task after which growing the seed buffer is given up."""

Gather = Callable[[list[Any]], list[Any]]
"""Concatenates the lists of all processes, in rank order, and gives the whole to each."""


@dataclass(frozen=True)
class Settings:
    """What a round is made of.

    Attributes:
        proposer_rows: proposals per mode and round; 0 for none.
        solver_rows: answers per mode and round.
        buffer_share: share of the solver's rows bound to tasks of the buffer, in [0, 1]; the rest go to this round's
            proposals in turn.
        references: tasks shown to a proposer (paper: 6).
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
    learnability: str = "azr"
    style: Style = Style.PAPER
    seed: int = 0
    group: int = 1

    @property
    def fresh_groups(self) -> int:
        """Groups of a mode's solver rows that are bound to this round's new tasks."""
        return round(self.solver_rows // self.group * (1 - self.buffer_share))


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
        gather: see :data:`Gather`; the identity for one process.
        source: gives the new tasks of a round in the place of proposals, as many as there are places for them.
        proposer: writes the proposals; ``None`` for the policy itself.
    """

    domain: Domain
    verifier: Verifier
    buffer: TaskBuffer
    settings: Settings
    excluded: Callable[[Task], bool] = lambda task: False
    fits: Callable[[str], bool] = lambda prompt: True
    gather: Gather = lambda items: items
    source: TaskSource | None = None
    proposer: Generate | None = None
    modes: tuple[Mode, ...] = tuple(Mode)
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
        fresh, tasks = self._fresh(proposed) if self.source is None else self._drawn(number, self.source)
        solved = self._solve(number, solvers, fresh, generate)
        rates = self._solve_rates(solved)
        for rollout in proposed:
            self._pay(rollout, rates)
        kept = self._keep(number, tasks)
        self.metrics = self._metrics(proposed, solved, tasks, kept)
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
        self._seed_drafts(-rounds - 1)
        idle = 0
        before: dict[str, int] = {}
        for number in range(-rounds, 0):
            sizes = self.buffer.sizes()
            idle = idle + 1 if sizes == before else 0
            if idle == SEED_PATIENCE:
                return number - 1
            before = sizes
            modes = [mode for mode in self.modes if sizes.get(mode, 0) < wanted]
            if not modes:
                return number - 1
            cells = [(mode, Role.PROPOSER) for mode in modes for _ in range(batch)]
            rows = [Row(place, mode, role, place) for place, (mode, role) in enumerate(cells)]
            _, tasks = self._fresh(self._propose(number, rows, generate))
            self._keep(number, tasks)
        return -1

    def _seed_drafts(self, number: int) -> None:
        drafts = [draft for mode in self.modes for draft in self.domain.seeds(mode)]
        tasks = [task for task in self.domain.admit(drafts) if isinstance(task, Task) and not self.excluded(task)]
        self._keep(number, tasks)

    def _propose(self, number: int, rows: Sequence[Row], generate: Generate) -> list[Rollout]:
        prompts, given, shown = [], [], []
        for row in rows:
            program, references = self._references(number, row)
            prompt = proposer_prompt(self.domain, row.mode, references, self.settings.style, program)
            while references and not self.fits(prompt):
                references = references[:-1]
                prompt = proposer_prompt(self.domain, row.mode, references, self.settings.style, program)
            prompts.append(prompt)
            given.append(program)
            shown.append(tuple(task.id for task in references))
        completions = generate(prompts)
        items = [
            Proposed(row.mode, completion.text, program)
            for row, completion, program in zip(rows, completions, given, strict=True)
        ]
        rollouts = []
        for row, prompt, completion, refs, proposal in zip(
            rows, prompts, completions, shown, admit(self.domain, items, self.settings.style), strict=True
        ):
            rollout = Rollout(number, row, prompt, completion, references=refs)
            self._receive(rollout, proposal)
            rollouts.append(rollout)
        return rollouts

    def _references(self, number: int, row: Row) -> tuple[str | None, list[Task]]:
        """The program to propose inputs for, if the mode gives one, and the reference tasks."""
        rng = self._rng(number, row.group)
        sizes = self.buffer.sizes()
        if gives_program(self.domain, row.mode):
            pools = [mode for mode in (Mode.DEDUCTION, Mode.ABDUCTION) if sizes.get(mode)]
            mode = pools[int(rng.integers(len(pools)))] if pools else row.mode
            return self.buffer.sample(mode, rng, 1)[0].program, []
        if not sizes.get(row.mode) or not self.settings.references:
            return None, []
        return None, self.buffer.sample(row.mode, rng, self.settings.references)

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

    def _fresh(self, proposed: Sequence[Rollout]) -> tuple[dict[Mode, list[Task]], list[Task]]:
        """This round's distinct admitted tasks, by mode and in the order of rows, the same on every process."""
        found = [(rollout.row.number, rollout.task) for rollout in proposed if rollout.task is not None]
        distinct: dict[str, Task] = {}
        for _, task in sorted(self.gather(found), key=lambda item: item[0]):
            distinct.setdefault(self.domain.identity(task), task)
        tasks = list(distinct.values())
        return {mode: [task for task in tasks if task.mode is mode] for mode in self.modes}, tasks

    def _drawn(self, number: int, source: TaskSource) -> tuple[dict[Mode, list[Task]], list[Task]]:
        """New tasks of the source, the same on every process; those that may not be trained on are left out."""
        distinct: dict[str, Task] = {}
        for place, mode in enumerate(self.modes):
            rngs = [self._rng(number, 2**30 + place)] * self.settings.fresh_groups
            for task in source.draw(mode, rngs):
                if not self.excluded(task) and self.fits(solver_prompt(self.domain, task, self.settings.style)):
                    distinct.setdefault(self.domain.identity(task), task)
        tasks = list(distinct.values())
        return {mode: [task for task in tasks if task.mode is mode] for mode in self.modes}, tasks

    def _solve(
        self, number: int, rows: Sequence[Row], fresh: dict[Mode, list[Task]], generate: Generate
    ) -> list[Rollout]:
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
        if fresh and group < self.settings.fresh_groups:
            return fresh[group % len(fresh)], True
        return self.buffer.sample(row.mode, self._rng(number, row.group), 1)[0], False

    def _solve_rates(self, solved: Sequence[Rollout]) -> dict[str, float]:
        """Share of correct answers by task identity, over all processes.

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
        return {identity: right[identity] / tried[identity] for identity in tried.keys() - failed}

    def _pay(self, rollout: Rollout, rates: dict[str, float]) -> None:
        if rollout.task is None:
            refusal = Rejection("error" if rollout.status == "heldout" else rollout.status, rollout.reason)
            rollout.reward = proposer_reward(refusal, None, learnability(self.settings.learnability))
            return
        rollout.solve_rate = rates.get(self.domain.identity(rollout.task))
        rollout.reward = proposer_reward(None, rollout.solve_rate, learnability(self.settings.learnability))

    def _keep(self, number: int, tasks: Iterable[Task]) -> list[Task]:
        with self.buffer.step(number):
            return self.buffer.add([(task, self.domain.identity(task)) for task in tasks], self._rng(number, 2**31))

    def _rng(self, number: int, row: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence([self.settings.seed, number + 2**31, row]))

    def _metrics(
        self, proposed: Sequence[Rollout], solved: Sequence[Rollout], tasks: Sequence[Task], kept: Sequence[Task]
    ) -> dict[str, float]:
        return round_metrics(self.gather(list(proposed)), self.gather(list(solved)), len(tasks), len(kept)) | {
            f"buffer/{mode}": float(size) for mode, size in self.buffer.sizes().items()
        }


def round_metrics(proposed: Sequence[Rollout], solved: Sequence[Rollout], distinct: int, kept: int) -> dict[str, float]:
    """Figures of one round under stable names; shares are in [0, 1], lengths in tokens.

    A share of no rows is left out.
    """
    found: dict[str, float] = {"proposals/distinct": float(distinct), "proposals/new": float(kept)}
    _share(found, "proposals/admitted", [r.task is not None for r in proposed])
    admitted = sum(r.task is not None for r in proposed)
    if admitted:
        found["proposals/duplicate"] = 1.0 - min(kept, admitted) / admitted
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
