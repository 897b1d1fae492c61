"""Invent a task, and be paid for how much a solver can learn from it: the proposer's environments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from azr_env import rewards
from azr_env.buffer import TaskBuffer
from azr_env.envs.game import Episode, Parts, Turn, divided, member, parts, whole
from azr_env.envs.single import TextEnv
from azr_env.envs.solvers import Solver, solver_of
from azr_env.envs.vector import TextVectorEnv
from azr_env.errors import SettingError
from azr_env.grading import grade
from azr_env.prompts import gives_program, label, proposer_prompt
from azr_env.proposals import Proposed, admit
from azr_env.protocols import Policy
from azr_env.rewards import REWARD_RANGE, proposer_reward
from azr_env.types import Mode, Rejection, Role, Status, Task

REFERENCES = 6
"""Reference tasks in a proposer's prompt (paper: K = 6)."""
SAMPLES = 8
"""Answers that estimate a proposal's solve rate (paper: n = 8)."""


@dataclass(frozen=True, slots=True)
class _State:
    references: tuple[Task, ...]
    program: str | None
    seed: int


class Propose:
    """The rules: an episode shows reference tasks, and pays a proposal by the solve rate that a solver has on it.

    ``info`` of a new episode: ``mode``, ``role``, ``cell``, ``references`` (their ids). A step adds ``proposal``:
    ``status`` (``admitted``, or the reason of the rejection), ``reason``, and for an admitted one ``task_id`` and,
    where every answer could be graded, ``solve_rate``. A proposal that is one of its references, or is in the
    buffer, is refused as ``duplicate``.

    Args:
        mode: of the tasks to propose.
        parts: domain, verifier, source of the references, and style.
        solver: answers the proposed tasks: a policy, the name of one, or ``scripted``.
        solver_samples: answers per proposal, 1 to 1024.
        learnability: name of the function from solve rate to reward.
        references: reference tasks in a prompt, 0 to 64. Where the mode gives a program to find inputs for, it shows
            that one program instead.
        buffer: collects admitted tasks and, as soon as it has some, gives the references; a buffer, or the path of one.
            Without it every episode is a function of its seed alone. One environment or vector writes to a file.
        max_new_tokens: for the solver.

    Raises:
        UnknownNameError: no policy or learnability of that name.
        SettingError: a number out of range.
    """

    reward_range = REWARD_RANGE

    def __init__(
        self,
        mode: Mode,
        parts: Parts,
        solver: str | Policy = "scripted",
        solver_samples: int = SAMPLES,
        learnability: str = "azr",
        references: int = REFERENCES,
        buffer: str | Path | TaskBuffer | None = None,
        max_new_tokens: int = 1024,
    ) -> None:
        self.mode = mode
        self.parts = parts
        self.solver: Solver = solver_of(solver, parts, whole(max_new_tokens, "max_new_tokens", 1, 1 << 20))
        self.solver_samples = whole(solver_samples, "solver_samples", 1, 1024)
        self.references = whole(references, "references", 0, 64)
        self.buffer = opened(buffer)
        self._pay = rewards.learnability(learnability)

    def deal(self, requests: Sequence[tuple[np.random.Generator, str | None]]) -> list[Episode]:
        """An episode per (generator, id or None); an id asks for that task as the only reference."""
        drawn = iter(self._draw([rng for rng, task_id in requests if task_id is None]))
        episodes = []
        for rng, task_id in requests:
            tasks = next(drawn) if task_id is None else (self.parts.source.get(task_id),)
            episodes.append(self._episode(tasks, int(rng.integers(2**63))))
        return episodes

    def judge(self, moves: Sequence[tuple[Episode, str]]) -> list[Turn]:
        """Admits all proposals in one call of the domain, and grades all answers in one call of the verifier."""
        return [turn for turn, _ in self.admitted(moves)]

    def admitted(self, moves: Sequence[tuple[Episode, str]]) -> list[tuple[Turn, Task | None]]:
        """As :meth:`judge`, with the task of each proposal that became one."""
        found = self._admit(moves)
        rates = self._solve_rates([(task, e.state.seed) for (e, _), task in zip(moves, found, strict=True)])
        turns = []
        for (episode, _), result, rate in zip(moves, found, rates, strict=True):
            refused = result if isinstance(result, Rejection) else None
            reward = proposer_reward(refused, rate, self._pay)
            info = {**episode.info, "proposal": _told(result, rate)}
            turn = Turn(0.0, info, truncated=True) if reward is None else Turn(reward, info)
            turns.append((turn, None if isinstance(result, Rejection) else result))
        self._keep([task for task in found if isinstance(task, Task)])  # last: what is interrupted can be done again
        return turns

    def _draw(self, rngs: list[np.random.Generator]) -> list[tuple[Task, ...]]:
        """The reference tasks of each generator."""
        if not gives_program(self.parts.domain, self.mode):
            flat = self._sample(self.mode, [rng for rng in rngs for _ in range(self.references)])
            return [tuple(flat[k * self.references : (k + 1) * self.references]) for k in range(len(rngs))]
        modes = [(Mode.DEDUCTION, Mode.ABDUCTION)[int(rng.integers(2))] for rng in rngs]
        by_mode = {mode: [rng for rng, its in zip(rngs, modes, strict=True) if its is mode] for mode in set(modes)}
        drawn = {mode: iter(self._sample(mode, its)) for mode, its in by_mode.items()}
        return [(next(drawn[mode]),) for mode in modes]

    def _sample(self, mode: Mode, rngs: list[np.random.Generator]) -> list[Task]:
        if self.buffer is not None and self.buffer.sizes().get(mode):
            tasks = [task for rng in rngs for task in self.buffer.sample(mode, rng, 1)]
            strange = next((task.domain for task in tasks if task.domain != self.parts.domain.name), None)
            if strange is not None:
                raise SettingError(f"buffer {self.buffer.path} holds {strange} tasks: use domain={strange!r}")
            return tasks
        return self.parts.source.draw(mode, rngs) if rngs else []

    def _episode(self, tasks: tuple[Task, ...], seed: int) -> Episode:
        domain = self.parts.domain
        program = tasks[0].program if gives_program(domain, self.mode) else None
        shown = () if program is not None else tasks
        info = {
            "mode": str(self.mode),
            "role": str(Role.PROPOSER),
            "cell": label(self.mode, Role.PROPOSER),
            "references": [task.id for task in tasks],
        }
        prompt = proposer_prompt(domain, self.mode, shown, self.parts.style, program)
        return Episode(prompt, info, _State(tasks, program, seed))

    def _admit(self, moves: Sequence[tuple[Episode, str]]) -> list[Task | Rejection]:
        domain = self.parts.domain
        proposed = [Proposed(self.mode, action, episode.state.program) for episode, action in moves]
        results: list[Task | Rejection] = []
        seen: set[str] = set()
        for (episode, _), proposal in zip(moves, admit(domain, proposed, self.parts.style), strict=True):
            task = proposal.task
            if task is None:
                results.append(proposal.rejection or Rejection("error", "neither a task nor a rejection"))
            else:
                identity = domain.identity(task)
                refused = self._duplicate(identity, episode.state.references, seen)
                results.append(refused or task)
                if refused is None:
                    seen.add(identity)
        return results

    def _duplicate(self, identity: str, references: tuple[Task, ...], seen: set[str]) -> Rejection | None:
        if identity in {self.parts.domain.identity(task) for task in references}:
            return Rejection("duplicate", "the task is one of its references")
        if self.buffer is not None and (identity in seen or self.buffer.has(self.mode, identity)):
            return Rejection("duplicate", "the task is in the buffer")
        return None

    def _keep(self, tasks: list[Task]) -> None:
        if self.buffer is None or not tasks:
            return
        last = self.buffer.last_step()
        number = 0 if last is None else last + 1
        with self.buffer.step(number):
            pairs = [(task, self.parts.domain.identity(task)) for task in tasks]
            self.buffer.add(pairs, np.random.default_rng(np.random.SeedSequence([number])))

    def _solve_rates(self, found: list[tuple[Task | Rejection, int]]) -> list[float | None]:
        """Share of right answers to each task; None for a rejection, and where our machinery failed on an answer.

        To leave such answers out would count those that never reach the verifier, the malformed ones, too often.
        """
        n = self.solver_samples
        asked = [(task, seed) for task, seed in found if isinstance(task, Task)]
        tasks = [task for task, _ in asked for _ in range(n)]
        seeds = [_seed(seed, k) for _, seed in asked for k in range(n)]
        answers = list(zip(tasks, self.solver.answer(tasks, seeds), strict=True)) if tasks else []
        grades = grade(self.parts.domain, self.parts.verifier, answers, self.parts.style)
        groups = iter([grades[k : k + n] for k in range(0, len(grades), n)])
        rates: list[float | None] = []
        for task, _ in found:
            group = next(groups) if isinstance(task, Task) else []
            failed = any(g.reward is None for g in group)
            right = sum(g.verdict.status is Status.CORRECT for g in group)
            rates.append(right / len(group) if group and not failed else None)
        return rates


class ProposeEnv(TextEnv):
    """The proposer's environment of one mode, ``AZR-<Mode>-Propose-v0``: see :class:`Propose` and :class:`TextEnv`.

    The reward is the learnability of an admitted task, and -1 for a proposal that is malformed or refused.

    Args:
        mode: of the tasks to propose; set by the environment's id.
        solver: answers the proposed tasks: a policy, the name of one, or ``scripted``.
        solver_samples: answers per proposal.
        learnability: ``azr``, ``azr-code``, ``variance``, ``nearest`` or ``gaussian``.
        references: reference tasks in a prompt.
        buffer: collects admitted tasks; a buffer, or the path of one.
        max_new_tokens: for the solver.
        render_mode: ``None`` or ``ansi``.
        **settings: ``domain``, ``tasks``, ``verifier``, ``executor``, ``style`` and the domain's own: see
            :func:`azr_env.envs.game.parts`.

    Raises:
        UnknownNameError: a name that no plug-in has; the message lists those that exist.
        SettingError: a setting that cannot work.
    """

    def __init__(self, mode: Mode | str, render_mode: str | None = None, **settings: Any) -> None:
        self.mode: Mode = member(Mode, mode, "mode")
        super().__init__(propose(self.mode, settings), render_mode)


class ProposeVectorEnv(TextVectorEnv):
    """A vector of :class:`ProposeEnv`; arguments as there, and ``num_envs``."""

    def __init__(self, mode: Mode | str, num_envs: int = 1, render_mode: str | None = None, **settings: Any) -> None:
        self.mode: Mode = member(Mode, mode, "mode")
        super().__init__(propose(self.mode, settings), num_envs, render_mode)


OWN = {"solver", "solver_samples", "learnability", "references", "buffer", "max_new_tokens"}
"""Settings of :class:`Propose` itself; the others make its parts."""


def propose(mode: Mode, settings: dict[str, Any]) -> Propose:
    """The game that the settings of an environment describe."""
    own, rest = divided(settings, OWN)
    return Propose(mode, parts(**rest), **own)


def opened(buffer: str | Path | TaskBuffer | None) -> TaskBuffer | None:
    """The buffer itself, or the one at that path."""
    if isinstance(buffer, str | Path):
        return TaskBuffer(buffer)
    if buffer is not None and not isinstance(buffer, TaskBuffer):
        raise SettingError(f"buffer={buffer!r}; give a path, a TaskBuffer or None")
    return buffer


def _seed(seed: int, sample: int) -> int:
    return int(np.random.SeedSequence([seed, sample]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _told(result: Task | Rejection, rate: float | None) -> dict[str, Any]:
    if isinstance(result, Rejection):
        return {"status": result.reason, "reason": result.detail}
    told: dict[str, Any] = {"status": "admitted", "reason": "", "task_id": result.id}
    return told if rate is None else told | {"solve_rate": rate}
