"""What a person sees of a run: one line every few rounds, and the final table."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from transformers import TrainerCallback

from azr_agents.evaluate import Result, accuracy, gain, restored
from azr_env.types import Mode

TITLES = {
    "In-domain: the range that training draws from": "in_domain",
    "Held-out: tasks that training never sees": "heldout",
}
"""Title of each evaluation set."""


class Progress(TrainerCallback):  # type: ignore[misc]
    """Prints the state of training, averaged over the rounds since the last line.

    Args:
        console: where to.
        every: rounds per line.
    """

    def __init__(self, console: Console, every: int) -> None:
        self._console = console
        self._every = max(1, every)
        self._window: list[dict[str, float]] = []
        self._begun = time.monotonic()
        self._first = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._begun, self._first = time.monotonic(), state.global_step

    def round(self, metrics: Mapping[str, float]) -> None:
        """Takes the figures of one round."""
        self._window.append(dict(metrics))

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        last = state.global_step >= state.max_steps
        if not self._window or (len(self._window) < self._every and not last):
            return
        done = state.global_step - self._first
        left = (time.monotonic() - self._begun) / max(done, 1) * (state.max_steps - state.global_step)
        self._console.print(
            f"step {state.global_step:>4}/{state.max_steps}  {_clock(left)} left  "
            f"accuracy {self._modes('accuracy')}  admitted {self._mean('proposals/admitted')}  "
            f"new {self._mean('proposals/new', '{:.1f}')}  learnability {self._mean('learnability')}  "
            f"worked {self._mean('worked')}",
            highlight=False,
            soft_wrap=True,
        )
        self._window.clear()

    def _modes(self, name: str) -> str:
        return " ".join(f"{mode[:3]} {self._mean(f'{name}/{mode}')}" for mode in Mode)

    def _mean(self, name: str, form: str = "{:.2f}") -> str:
        values = [metrics[name] for metrics in self._window if name in metrics]
        return form.format(sum(values) / len(values)) if values else "-"


def table(title: str, before: Mapping[str, Result], after: Mapping[str, Result]) -> Table:
    """Base -> after per mode, with 95 % intervals clustered by task.

    Args:
        before: results by decoding, for example ``{"sampled": ..., "greedy": ...}``.
        after: results by the same names.
    """
    found = Table(title=title, title_justify="left", title_style="bold")
    found.add_column("decoding")
    found.add_column("mode")
    for name in ("tasks", "base", "after [95 %]", "gain, points [95 %]", "worked"):
        found.add_column(name, justify="right", no_wrap=True)
    for name, base in before.items():
        for mode in (*Mode, None):
            rows = base.rows(mode)
            if rows.any():
                change = gain(base, after[name], mode)
                found.add_row(
                    name,
                    str(mode or "all"),
                    str(int(rows.sum())),
                    f"{accuracy(base, mode).mean:.3f}",
                    str(accuracy(after[name], mode)),
                    f"{100 * change.mean:+.1f} [{100 * change.low:+.1f}, {100 * change.high:+.1f}]",
                    f"{base.worked[rows].mean():.2f} -> {after[name].worked[rows].mean():.2f}",
                    end_section=mode is None,
                )
    return found


def comparisons(base: dict[str, Any], runs: Mapping[str, dict[str, Any]]) -> list[Table]:
    """The gain over the base of several runs, per set, decoding and mode, paired by task, with 95 % intervals.

    Args:
        base: stored results of the base, by set and decoding; see :func:`azr_agents.evaluate.restored`.
        runs: stored results of each run, by its name.
    """
    tables = []
    for title, name in TITLES.items():
        if name not in base:
            continue
        found = Table(title=f"{title}; gain over the base, points [95 %]", title_justify="left", title_style="bold")
        for column in ("decoding", "mode", "base"):
            found.add_column(column)
        for run in runs:
            found.add_column(run, justify="right", no_wrap=True)
        for decoding in base[name]:
            before = restored(base[name][decoding])
            after = {run: restored(stored[name][decoding]) for run, stored in runs.items()}
            for mode in (*Mode, None):
                if before.rows(mode).any():
                    changes = [gain(before, result, mode) for result in after.values()]
                    texts = [f"{100 * c.mean:+.1f} [{100 * c.low:+.1f}, {100 * c.high:+.1f}]" for c in changes]
                    first = (decoding, str(mode or "all"), f"{accuracy(before, mode).mean:.3f}")
                    found.add_row(*first, *texts, end_section=mode is None)
        tables.append(found)
    return tables


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    return f"{minutes}:{seconds:02d}"
