"""What a report shows of run directories. Reading is tolerant: a file that is missing, torn or foreign costs its own
part of the report, and a notice says so."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from azr_agents.evaluate import Result, gain, restored, summary
from azr_agents.monitors import MONITORS
from azr_agents.report_rollouts import Rollouts, gather
from azr_agents.report_text import cut, number, records, texts
from azr_agents.run import SCHEMA_VERSION
from azr_env.errors import SettingError
from azr_env.types import Mode

FILES: Final = ("run.json", "recipe.yaml", "metrics.jsonl", "rollouts.jsonl", "base.json", "evaluation.json")
"""Any of these makes a folder a run directory, for a report."""
MOST_ROUNDS: Final = 2_000
"""Points of a curve. Of a longer run each point is the mean of several rounds."""
SETS: Final = {
    "heldout": "Held-out tasks: training never sees them",
    "in_domain": "In-domain tasks: the range that training draws from",
}


@dataclass(frozen=True)
class Panel:
    """A row of curves: what it shows, the name and unit of its axis, and the figure of each of its places.

    ``share`` says that values lie in [0, 1], and ``smooth`` that they may be averaged over rounds.
    """

    title: str
    axis: str
    places: Mapping[str, str]
    share: bool = False
    smooth: bool = True


def _cells(figure: str) -> dict[str, str]:
    return {str(mode): f"{figure}/{mode}" for mode in Mode}


PANELS: Final = (
    Panel("Accuracy of the solver", "share of answers right", _cells("accuracy"), share=True),
    Panel("Reward of the solver", "mean reward", _cells("reward/solver")),
    Panel("Reward of the proposer", "mean reward", _cells("reward/proposer")),
    Panel("Learnability of admitted proposals", "mean learnability", _cells("learnability"), share=True),
    Panel("Validity of proposals", "share of proposals valid", _cells("proposals/valid"), share=True),
    Panel("Worked answers of the solver", "share of answers worked", _cells("worked"), share=True),
    Panel("Length of the solver's completions", "tokens a completion", _cells("length/solver")),
    Panel("Length of the proposer's completions", "tokens a completion", _cells("length/proposer")),
    Panel("Growth of the buffer", "live tasks", _cells("buffer"), smooth=False),
    Panel("Entropy of the solver", "nats a token", _cells("entropy/solver")),
    Panel("Entropy of the proposer", "nats a token", _cells("entropy/proposer")),
    Panel("Entropy of the policy", "nats a token", {"all cells together": "entropy"}),
    Panel("New tasks", "tasks a round", {"all modes": "proposals/new"}),
    Panel("Held-out gain on the way", "accuracy less the base's", {"all modes": "heldout/gain"}),
)


@dataclass(frozen=True)
class RunReport:
    """What a report shows of one run: plain JSON data.

    Attributes:
        name: as the page calls it.
        control: whether it is a control of another run.
        made: arguments, versions and recipe, and how far the run came.
        results: accuracies before and after, a row per set, decoding and mode.
        steps: numbers of the rounds.
        figures: values of each figure, one per round; ``None`` where a round lacks it.
        warnings: of the monitors: step and text.
        frozen: the round after which the proposer was frozen.
        rollouts: the sample that the page shows, and what all of them give.
        notices: what is missing or was left out, a sentence each.
    """

    name: str
    control: bool
    made: dict[str, Any]
    results: list[dict[str, Any]]
    steps: list[float]
    figures: dict[str, list[float | None]]
    warnings: list[dict[str, Any]]
    frozen: int | None
    rollouts: Rollouts
    notices: list[str] = field(default_factory=list)


def directories(paths: Sequence[str | Path]) -> dict[str, Path]:
    """Run directories by the name that the page gives them; each is followed by its controls.

    Raises:
        SettingError: a path that holds no run.
    """
    found: list[Path] = []
    for given in paths:
        path = Path(given).resolve()
        if not _is_run(path):
            raise SettingError(
                f"{given} is no run directory: it holds none of {', '.join(FILES)}. "
                "Give the folder that azr train named when it ended, or its --output_dir."
            )
        found += [path, *(control for control in sorted(path.glob("controls/*")) if _is_run(control))]
    found = list(dict.fromkeys(found))
    return {_name(path, found): path for path in found}


def _is_run(path: Path) -> bool:
    try:
        return any((path / name).is_file() for name in FILES)
    except OSError:  # a folder that may not be entered, or a name that is too long
        return False


def _name(path: Path, among: Sequence[Path]) -> str:
    """The last parts of a path, as many as it takes to tell it from the others."""
    for depth in range(1, len(path.parts)):
        if sum(other.parts[-depth:] == path.parts[-depth:] for other in among) == 1:
            return "/".join(path.parts[-depth:])
    return str(path)


def read(name: str, path: Path, most: int) -> RunReport:
    """All that a page shows of the run, from beginning to end.

    Args:
        name: of the run on the page.
        path: the run directory.
        most: rollouts that the page may show of it.
    """
    notices: list[str] = []
    evaluation = _dict(_json(path / "evaluation.json", notices))
    results = headline(path, evaluation, notices)
    rounds = {line["step"]: line for _, line in records(path / "metrics.jsonl", notices)}
    watched = [line for _, line in records(path / "monitors.jsonl", notices)]
    rollouts = gather(path, most, notices)
    steps, figures = _figures(rounds, watched, rollouts, notices)
    made = _made(path, evaluation, len(rounds), notices)
    return RunReport(
        name,
        path.parent.name == "controls",
        made,
        results,
        steps,
        figures,
        [{"step": line["step"], "text": cut(text)} for line in watched for text in texts(line.get("warnings"))],
        next((line["step"] for line in watched if line.get("frozen") is True), None),
        rollouts,
        notices,
    )


def _json(path: Path, notices: list[str], lacks: str = "") -> Any:
    """The content of a JSON file; ``None`` where there is none, and a notice where that ``lacks`` something."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        if lacks:
            notices.append(f"{path.name} is missing: {lacks}")
    except (OSError, ValueError, RecursionError) as exc:
        notices.append(f"{path.name} cannot be read: {type(exc).__name__}")
    return None


def _made(path: Path, evaluation: Mapping[str, Any], rounds: int, notices: list[str]) -> dict[str, Any]:
    """How the run was begun, and how far it came."""
    head = _dict(_json(path / "run.json", notices, "how the run was begun is not known"))
    if head and head.get("schema") != SCHEMA_VERSION:
        notices.append(f"run.json has schema {head.get('schema')!r}, this version reads {SCHEMA_VERSION}")
    recipe = ""
    try:
        recipe = (path / "recipe.yaml").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        notices.append("recipe.yaml is missing")
    except OSError as exc:
        notices.append(f"recipe.yaml cannot be read: {exc.strerror}")
    if not (path / "evaluation.json").is_file():
        notices.append(
            f"the run is under way or was broken off: {rounds} round(s) so far, and nothing is measured after "
            "training. Where it has stopped, azr train --resume goes on with it."
        )
    return {
        "arguments": texts(head.get("argv")),
        "versions": {name: str(value) for name, value in _dict(head.get("versions")).items()},
        "recipe": cut(recipe, 20_000),
        "rounds": rounds,
        "steps": number(evaluation.get("steps")),
        "train_seconds": number(evaluation.get("train_seconds")),
    }


def headline(path: Path, evaluation: Mapping[str, Any], notices: list[str]) -> list[dict[str, Any]]:
    """Accuracies before and after, and the gain paired by task: a row per set, decoding and mode.

    They are those of ``evaluation.json``; gains come from ``base.json`` and ``after.json``, as in the table that
    ``azr train`` prints. Without ``evaluation.json`` the base alone stands there.
    """
    paired = "gains cannot be paired by task" if evaluation else ""
    before = _results(_json(path / "base.json", notices, paired or "no accuracy before training"), "base.json", notices)
    after = _results(_json(path / "after.json", notices, paired), "after.json", notices)
    bases = _dict(evaluation.get("base"))
    if not bases:
        bases = {place: {key: summary(one) for key, one in each.items()} for place, each in before.items()}
    rows = []
    for place, each in bases.items():
        for decoding, modes in _dict(each).items():
            for mode in (*map(str, Mode), "all"):
                base = _dict(modes).get(mode)
                if isinstance(base, dict):
                    end = _dict(_dict(_dict(evaluation.get("after")).get(place)).get(decoding)).get(mode)
                    pair = before.get(place, {}).get(decoding), after.get(place, {}).get(decoding)
                    rows.append(
                        {
                            "set": place,
                            "decoding": decoding,
                            "mode": mode,
                            "base": _accuracy(base),
                            "after": _accuracy(end) if isinstance(end, dict) else None,
                            "gain": _gain(*pair, None if mode == "all" else Mode(mode)),
                        }
                    )
    order = {name: k for k, name in enumerate(SETS)}
    return sorted(rows, key=lambda row: order.get(row["set"], len(order)))


def _results(data: Any, name: str, notices: list[str]) -> dict[str, dict[str, Result]]:
    if data is None:
        return {}
    try:
        return {place: {key: restored(one) for key, one in each.items()} for place, each in data.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        notices.append(f"{name} is not what azr train writes ({type(exc).__name__}): left out")
        return {}


def _accuracy(row: Mapping[str, Any]) -> dict[str, float | None]:
    return {name: number(row.get(name)) for name in ("accuracy", "low", "high", "worked", "tasks", "samples")}


def _gain(before: Result | None, after: Result | None, mode: Mode | None) -> dict[str, float] | None:
    if before is None or after is None or before.ids != after.ids or not before.rows(mode).any():
        return None
    found = gain(before, after, mode)
    return None if math.isnan(found.mean) else {"mean": found.mean, "low": found.low, "high": found.high}


def _figures(
    rounds: Mapping[int, Mapping[str, Any]],
    watched: Sequence[Mapping[str, Any]],
    rollouts: Rollouts,
    notices: list[str],
) -> tuple[list[float], dict[str, list[float | None]]]:
    """The figures of the rounds: of ``metrics.jsonl``, then what the monitors saw besides, then what is computed."""
    by_step: dict[int, dict[str, float]] = {}
    sources = (rounds, {line["step"]: _dict(line.get("figures")) for line in watched}, rollouts.cells)
    for source in sources:
        for step, line in source.items():
            mine = by_step.setdefault(step, {})
            for name, value in line.items():
                found = number(value)
                if found is not None and name != "step":
                    mine.setdefault(name, found)
    steps = sorted(by_step)
    names = sorted({name for line in by_step.values() for name in line})
    figures: dict[str, list[float | None]] = {name: [by_step[step].get(name) for step in steps] for name in names}
    for monitor in MONITORS:
        if monitor.figure in figures:
            figures[f"judged/{monitor.figure}"] = judged(figures[monitor.figure], monitor.window)
    size = -(-len(steps) // MOST_ROUNDS)
    if size <= 1:
        return list(map(float, steps)), figures
    notices.append(f"{len(steps):,} rounds: each point of a curve is the mean of {size} rounds")
    return _means(list(steps), size), {name: _thinned(values, size) for name, values in figures.items()}


def judged(values: Sequence[float | None], window: int) -> list[float | None]:
    """What a monitor judges in each round: the mean over the last ``window`` values that there are."""
    last: deque[float] = deque(maxlen=window)
    found: list[float | None] = []
    for value in values:
        if value is not None:
            last.append(value)
        full = len(last) == window and value is not None
        found.append(sum(last) / window if full else None)
    return found


def _thinned(values: Sequence[float | None], size: int) -> list[float | None]:
    parts = ([v for v in values[k : k + size] if v is not None] for k in range(0, len(values), size))
    return [sum(part) / len(part) if part else None for part in parts]


def _means(values: Sequence[float], size: int) -> list[float]:
    return [sum(values[k : k + size]) / len(values[k : k + size]) for k in range(0, len(values), size)]


def watch(runs: Sequence[RunReport]) -> Iterator[dict[str, Any]]:
    """Each monitor, what it watches for, and how each run stands with it."""
    for monitor in MONITORS:
        stands = []
        for run in runs:
            values = run.figures.get(f"judged/{monitor.figure}", [])
            last = next((value for value in reversed(values) if value is not None), None)
            told = [line["step"] for line in run.warnings if line["text"].startswith(f"{monitor.says}: ")]
            stands.append({"last": last, "beyond": last is not None and monitor.crossed(last), "warned": told})
        yield {
            "name": monitor.name,
            "figure": monitor.figure,
            "bound": monitor.bound,
            "at_most": monitor.at_most,
            "window": monitor.window,
            "says": monitor.says,
            "runs": stands,
        }


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
