"""Options of the method: the gate, conditioning, modes, curriculum, composite functions; alone and in `azr train`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from azr_agents import cli
from azr_agents.config import SelfPlayConfig, round_rows
from azr_agents.curriculum import growing, grown
from azr_agents.selfplay import MOST_BLOCKS, Completion, Rollout, SelfPlay, Settings
from azr_env.buffer import TaskBuffer
from azr_env.domains.prime_inversion import PrimeInversionDomain
from azr_env.domains.python import PythonDomain, composite
from azr_env.errors import SettingError
from azr_env.parsing import Style
from azr_env.prompts import proposal_of
from azr_env.types import Draft, Mode, Role, Task
from azr_env.verifiers.relation import RelationVerifier

Recipe = Callable[..., Path]


def train(*args: str | Path) -> int:
    return cli.main(["train", *map(str, args)])


def rollouts(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "rollouts.jsonl").read_text(encoding="utf-8").splitlines()]


# Settings


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"duplicates": "drop"}, "duplicates='drop' is unknown; choose one of refuse, share"),
        ({"conditioning": "newest"}, "conditioning='newest' is unknown; choose one of uniform, recency"),
        ({"conditioning": "recency", "eviction": "reservoir"}, "conditioning=recency needs eviction=fifo"),
        ({"modes": "deduction,adduction"}, "modes='deduction,adduction'; join some of deduction, abduction, induction"),
        ({"modes": "deduction,deduction"}, "each once"),
        ({"modes": ""}, "modes=''"),
        ({"curriculum": 5}, "curriculum=5 is for control=random-tasks"),
        ({"curriculum": -1}, "curriculum=-1; it is a whole number from 0 up"),
        ({"composite": 1.5}, "composite=1.5; it is a share from 0 to 1"),
        ({"composite": 0.5, "modes": "induction"}, "composite=0.5 is of deduction and abduction"),
    ],
)
def test_settings_that_cannot_work(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingError) as caught:
        SelfPlayConfig(**settings)
    assert says in str(caught.value)


def test_rows_of_a_round_follow_the_modes() -> None:
    sizes = {"proposer_rows": 4, "solver_rows": 8}
    assert round_rows(SelfPlayConfig(**sizes)) == 36
    assert round_rows(SelfPlayConfig(modes="abduction", **sizes)) == 12
    assert SelfPlayConfig(modes="induction, deduction").played == (Mode.DEDUCTION, Mode.INDUCTION)


# Curriculum


def test_ranges_grow_evenly_and_stay() -> None:
    tasks = "builtin:types=int,difficulty=2-6,induction=affine"
    highs = [grown(tasks, number, 8).partition("difficulty=2-")[2][0] for number in range(11)]
    assert highs == list("22334455666")
    assert grown(tasks, 3, 0) == tasks
    assert grown("builtin:primes=3-61", 1, 2) == "builtin:primes=3-32"


def test_the_source_of_a_round() -> None:
    domain = PrimeInversionDomain(61)
    source = growing("builtin:primes=3-61", domain, 10)
    rngs = [np.random.default_rng(number) for number in range(200)]
    largest = [max(int(task.program) for task in source(number).draw(Mode.DEDUCTION, rngs)) for number in (0, 5, 10)]
    assert largest == [3, 31, 61]
    assert source(20) is source(10)
    for tasks in ("builtin", "builtin:types=int", "jsonl:tasks=1-2"):
        with pytest.raises(SettingError, match="curriculum=10 needs a range in tasks="):
            growing(tasks, domain, 10)
    assert growing("builtin", domain, 0)(3) is not None


def test_a_curriculum_in_training(recipe: Recipe, tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = recipe(max_steps=5, tasks="builtin:primes=3-13", per_device_train_batch_size=None)
    flags = ("--control", "random-tasks", "--curriculum", "4")
    assert train("--config", settings, "--output_dir", run, *flags) == 0
    given = [r for r in rollouts(run) if r["fresh"] and r["mode"] != Mode.INDUCTION]
    fresh = [(r["step"], int(r["prompt"].partition("\n")[0].removeprefix("program: "))) for r in given]
    largest = {step: max(p for s, p in fresh if s == step) for step, _ in fresh}
    assert all(p <= 3 + 10 * min(step, 4) // 4 for step, p in largest.items())
    assert largest[4] > largest[min(largest)]


# Modes


@pytest.mark.parametrize("mode", list(Mode))
def test_a_single_mode_trains(recipe: Recipe, tmp_path: Path, mode: Mode) -> None:
    run = tmp_path / "run"
    settings = recipe(max_steps=2, per_device_train_batch_size=None)
    assert train("--config", settings, "--output_dir", run, "--modes", mode) == 0
    found = rollouts(run)
    assert Counter(r["mode"] for r in found) == {mode: 24}
    assert {r["role"] for r in found} == set(Role)
    measured = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    assert set(Mode) <= set(measured["after"]["heldout"]["sampled"]), "all modes are measured all the same"


class Proposer:
    """Writes one proposal per prompt, from functions of the row's number."""

    def __init__(self, write: Callable[[str, int], str]) -> None:
        self.write = write
        self.prompts: list[str] = []

    def __call__(self, prompts: list[str]) -> list[Completion]:
        first = len(self.prompts)
        self.prompts += prompts
        return [Completion(self.write(prompt, first + k), [1], [1]) for k, prompt in enumerate(prompts)]


def game(domain: PythonDomain, programs: int = 0, **options: Any) -> SelfPlay:
    """Self-play in the Python domain, deduction's buffer holding some programs."""
    settings = {"proposer_rows": 8, "solver_rows": 2, "references": 1, "buffer_share": 1.0} | options.pop(
        "settings", {}
    )
    found = SelfPlay(domain, RelationVerifier(domain), TaskBuffer(), Settings(**settings), **options)
    drafts = [Draft(Mode.DEDUCTION, f"def f(x): return x+{k}", ("1",)) for k in range(programs)]
    tasks = [task for task in domain.admit(drafts) if isinstance(task, Task)] if drafts else []
    with found.buffer.step(-100):
        found.buffer.add([(task, domain.identity(task)) for task in tasks], np.random.default_rng(0))
    return found


def test_induction_alone_grows_the_programs_it_is_given(python_domain: PythonDomain) -> None:
    """Else its proposers would be given the identity function for ever."""

    def write(prompt: str, k: int) -> str:
        if "The program:" in prompt:
            return proposal_of(python_domain, None, [str(k), str(k + 1), str(k + 2), str(k + 3)])
        return proposal_of(python_domain, f"def f(x):\n    return [x, {k}]", ["1"])

    alone = game(python_domain, modes=(Mode.INDUCTION,))
    alone.seed(Proposer(write), wanted=10, rounds=4, batch=6)
    assert alone.buffer.sizes()[Mode.DEDUCTION] >= 10
    assert len({task.program for task in alone.buffer.tasks(Mode.INDUCTION)}) > 2
    assert {row.mode for row in alone.plan()} == {Mode.INDUCTION}
    both = game(python_domain, modes=(Mode.ABDUCTION, Mode.INDUCTION))
    both.seed(Proposer(write), wanted=2, rounds=2, batch=2)
    assert Mode.DEDUCTION not in both.buffer.sizes()


# Conditioning


def test_recency_shows_proposers_what_came_last(python_domain: PythonDomain) -> None:
    shown: dict[str, list[int]] = {}
    for conditioning in ("uniform", "recency"):
        sizes = {"proposer_rows": 400, "references": 2, "conditioning": conditioning}
        play = game(python_domain, 40, settings=sizes, modes=(Mode.DEDUCTION,))
        places = {task.id: place for place, task in enumerate(play.buffer.tasks(Mode.DEDUCTION))}
        proposed = play._propose(
            0, [row for row in play.plan() if row.role is Role.PROPOSER], Proposer(lambda p, k: "")
        )
        shown[conditioning] = [places[name] for rollout in proposed for name in rollout.references]
        assert len(shown[conditioning]) == 800
    assert np.mean(shown["uniform"]) == pytest.approx(19.5, abs=1.5)
    assert np.mean(shown["recency"]) == pytest.approx(26.3, abs=1.5)  # two thirds of the way


# Composite functions


def composites(domain: PythonDomain, share: float, write: Callable[[str, int], str], **options: Any) -> list[Rollout]:
    sizes = {"proposer_rows": 120, "references": 0, "composite": share, "style": Style.COMPACT}
    play = game(domain, 12, settings=sizes, modes=(Mode.DEDUCTION,), composer=composite, **options)
    return play._propose(0, [row for row in play.plan() if row.role is Role.PROPOSER], Proposer(write))


def calling(domain: PythonDomain) -> Callable[[str, int], str]:
    """Calls every block of the prompt."""

    def write(prompt: str, k: int) -> str:
        calls = "".join(f"g_{n}(" for n in range(prompt.count("function:")))
        return proposal_of(domain, f"def f(x): return {calls}x*{k}{')' * calls.count('(')}", ["2"], Style.COMPACT)

    return write


def test_composite_proposals_build_on_the_buffer(python_domain: PythonDomain) -> None:
    found = composites(python_domain, 1.0, calling(python_domain))
    assert {r.status for r in found} == {"admitted"}
    assert {r.blocks for r in found} == set(range(1, MOST_BLOCKS + 1))
    for rollout in found:
        assert rollout.task is not None
        assert rollout.task.program.count("def g_") == rollout.blocks == rollout.record()["blocks"]
        assert rollout.prompt.count("function:\ndef g_") == rollout.blocks


def test_the_share_of_composite_proposals(python_domain: PythonDomain) -> None:
    assert not any(r.blocks for r in composites(python_domain, 0.0, calling(python_domain)))
    found = composites(python_domain, 0.5, calling(python_domain))
    assert sum(r.blocks > 0 for r in found) / len(found) == pytest.approx(0.5, abs=0.15)


def test_a_composite_proposal_that_ignores_its_blocks_is_refused(python_domain: PythonDomain) -> None:
    def write(prompt: str, k: int) -> str:
        return proposal_of(python_domain, f"def f(x): return x*{k}", ["2"], Style.COMPACT)

    found = composites(python_domain, 1.0, write)
    assert {(r.status, r.reason) for r in found} == {("composite", "g_0 is never called")}


def test_blocks_that_do_not_fit_are_dropped(python_domain: PythonDomain) -> None:
    found = composites(python_domain, 1.0, calling(python_domain), fits=lambda prompt: "function:" not in prompt)
    assert {r.blocks for r in found} == {0}


def test_composite_functions_are_pythons(recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("--config", recipe(), "--composite", "0.5", "--output_dir", tmp_path / "run") == 2
    assert "composite=0.5 is for domain=python; prime_inversion composes no functions" in capsys.readouterr().err


# The gate


def test_the_gate_in_training(recipe: Recipe, tmp_path: Path) -> None:
    """The range is finite and mostly known before training: rounds go on with the buffer's tasks."""
    for policy in ("refuse", "share"):
        run = tmp_path / policy
        flags = ("--config", recipe(max_steps=4), "--duplicates", policy)
        assert train(*flags, "--output_dir", run) == 0
        found = rollouts(run)
        repeats = [r for r in found if r["status"] == "duplicate"]
        assert bool(repeats) == (policy == "refuse")
        assert all(r["reward"] == -1.0 and r["task_id"] is None for r in repeats)
        assert all(r["task_id"] for r in found if r["role"] == "solver")
        metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
        assert any(m.get("proposals/duplicate", 0) > 0 for m in metrics)
        assert sum(m.get("rejected/duplicate", 0) for m in metrics) == len(repeats)
