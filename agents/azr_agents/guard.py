"""Acts on the monitors while a run is under way: warns, freezes the proposer, or stops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import Console
from transformers import TrainerCallback

from azr_agents.monitors import ACTIONS, Watch
from azr_agents.run import Run
from azr_agents.trainer import SelfPlayTrainer, round_steps
from azr_env.errors import SettingError

MONITORS_FILE = "monitors.jsonl"
FROZEN_FILE = "frozen-proposer.pt"
"""Weights of the proposer from the round on in which it was frozen."""


class Guard(TrainerCallback):  # type: ignore[misc]
    """Looks at the figures after each round.

    Args:
        run: takes one line a round in ``monitors.jsonl``: the figures that were judged, and the warnings.
        console: where warnings go.
        action: one of :data:`azr_agents.monitors.ACTIONS`; what follows the first warning.
        heldout: measures the gain of held-out accuracy over the base's, in [-1, 1].
        every: rounds between two such measurements; 0 for none.

    Raises:
        SettingError: an unknown action.
    """

    def __init__(
        self,
        run: Run,
        console: Console,
        action: str = "warn",
        heldout: Callable[[], float] | None = None,
        every: int = 0,
    ) -> None:
        if action not in ACTIONS:
            raise SettingError(f"on_collapse={action!r} is unknown; choose one of {', '.join(ACTIONS)}")
        self._run = run
        self._console = console
        self._action = action
        self._heldout = heldout
        self._every = every
        self._watch = Watch()
        self._trainer: SelfPlayTrainer | None = None
        self.stopped = ""
        """Why it stopped the run, if it did."""

    def begin(self, trainer: SelfPlayTrainer) -> None:
        """Takes the trainer to watch; with rounds behind it, what was seen of them is taken in again.

        Raises:
            SettingError: it could not do what is to follow a warning.
        """
        if self._action == "freeze-proposer":
            trainer.check_freezable()
        self._trainer = trainer
        trainer.ranks.first(lambda: self._run.cut(MONITORS_FILE, trainer.rounds_done))
        last: list[str] = []
        for line in self._run.lines(MONITORS_FILE):
            self._watch.round(line["figures"])
            last = line["warnings"]
            if line["frozen"]:
                trainer.freeze_proposer(self._run.path / FROZEN_FILE)
        if last and self._action == "stop":
            self._console.print(
                f"[yellow]going on behind a stop by on_collapse ({last[0]}); this figure stops it again only when "
                "it has been within its bound in between[/yellow]",
                soft_wrap=True,
            )

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Judges the round that has ended with this step, if one has."""
        trainer = self._trainer
        if trainer is None or state.global_step % round_steps(args):
            return
        figures = self._figures(trainer, args)
        warnings = self._watch.round(figures)
        freezes = bool(warnings) and self._action == "freeze-proposer" and not trainer.proposer_frozen
        if state.is_world_process_zero:
            for words in warnings:
                self._console.print(f"[yellow]round {trainer.rounds_done}: {words}[/yellow]", soft_wrap=True)
        if freezes:
            trainer.freeze_proposer()
            trainer.save_frozen(self._run.path / FROZEN_FILE)
            self._console.print("[yellow]the proposer is frozen from here on (on_collapse)[/yellow]", soft_wrap=True)
        if warnings and self._action == "stop":
            self.stopped = warnings[0]
            control.should_training_stop = control.should_save = True
        if state.is_world_process_zero:
            line = {"step": trainer.rounds_done - 1, "figures": figures, "warnings": warnings, "frozen": freezes}
            self._run.append(MONITORS_FILE, [line])

    def _figures(self, trainer: SelfPlayTrainer, args: Any) -> dict[str, float]:
        figures = dict(trainer.selfplay.metrics)
        if "length/solver" in figures:
            figures["length/limit"] = figures["length/solver"] / int(args.max_completion_length)
        figures |= trainer.entropies()
        if self._heldout is not None and self._every and trainer.rounds_done % self._every == 0:
            figures["heldout/gain"] = self._heldout()
        return figures
