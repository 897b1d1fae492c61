"""From the runs of ``learning.py`` to ``results.json``, tables and figures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import transformers
from _harness import Report, machine
from _learning_figures import draw
from numpy.typing import NDArray
from scipy.stats import t as student

from azr_agents import tiny
from azr_agents.config import RunConfig, options
from azr_agents.evaluate import Interval, Result, accuracy, evaluate, gain, pick_tasks, restored
from azr_agents.heldout import WHOLE_PRIMES, is_heldout
from azr_agents.policy import pretrained
from azr_agents.run import Run
from azr_agents.train import EVALUATION_SEED
from azr_env import registry
from azr_env.parsing import Style
from azr_env.protocols import Domain
from azr_env.types import Mode, Task

HELDOUT = "heldout"
PASSK = "passk.json"
MODES: tuple[Mode | None, ...] = (*Mode, None)
EDGE = 10
"""Rounds at the beginning and at the end that 'first' and 'last' are means over."""
KS = (1, 2, 4, 8, 16, 32, 64)
CURVES = (
    "accuracy/deduction",
    "accuracy/abduction",
    "accuracy/induction",
    "worked",
    "length/solver",
    "entropy",
    "reward/solver/deduction",
    "reward/solver/abduction",
    "reward/solver/induction",
    "learnability",
    "proposals/new",
    "heldout/gain",
)
"""Figures of the rounds that are kept for the curves, where a run has them."""

Runs = dict[str, dict[str, dict[int, "Measured"]]]
"""Runs by domain, arm and seed."""


class Measured:
    """What a run left: results before and after by set and decoding, and the figures of its rounds."""

    def __init__(self, path: Path) -> None:
        run = Run(path)
        self.path = path
        self.before = _results(run.read("base.json"))
        self.after = _results(run.read("after.json"))
        self.seconds = float(run.read("evaluation.json")["train_seconds"])
        self.steps = int(run.read("evaluation.json")["steps"])
        self.rounds = [dict(line) for line in run.lines("metrics.jsonl")]
        watched = {line["step"]: line["figures"] for line in run.lines("monitors.jsonl")}
        for line in self.rounds:
            line.update(watched.get(line["step"], {}))

    def curve(self, name: str) -> list[tuple[int, float]]:
        """(round, value) of a figure, of the rounds that have it."""
        return [(int(line["step"]), float(line[name])) for line in self.rounds if name in line]

    def edges(self, name: str) -> tuple[float, float]:
        """The mean of a figure over the first rounds and over the last; NaN where there is none."""
        values = [value for _, value in self.curve(name)]
        return (_mean(values[:EDGE]), _mean(values[-EDGE:]))


def report(every: Iterable[Any], docs: Path) -> Report:
    """Reads all runs, writes ``docs``, and gives the figures that have bars.

    Args:
        every: the :class:`learning.Arm` of each whole run.
        docs: folder of the results.
    """
    from learning import minutes

    runs: Runs = {}
    took: dict[str, float] = {}
    for one in every:
        runs.setdefault(one.domain, {}).setdefault(one.arm, {})[one.seed] = Measured(one.path)
        took[one.name] = minutes(one)
    found = Report(["domain", "arm", "seed", "minutes", *(f"{mode or 'all'} [95 %]" for mode in MODES)])
    docs.mkdir(parents=True, exist_ok=True)
    data: dict[str, Any] = {"machine": machine(), "domains": {}}
    texts: dict[str, str] = {}
    for domain, by_arm in runs.items():
        data["domains"][domain] = _domain(domain, by_arm, took)
        texts |= _tables(domain, by_arm, took)
        for arm, by_seed in by_arm.items():
            for seed, run in by_seed.items():
                cells = [_gain(run.before[HELDOUT]["sampled"], run.after[HELDOUT]["sampled"], mode) for mode in MODES]
                found.rows.append([domain, arm, seed, f"{took[f'{domain}/{arm}/{seed}']:.1f}", *map(points, cells)])
        found.figures |= figures(domain, by_arm, took)
    passk = _passk(runs)
    if passk:
        data["passk"] = passk
        texts |= {f"{domain}-passk": _passk_table(table) for domain, table in passk.items()}
    (docs / "results.json").write_text(
        json.dumps(data, separators=(",", ":"), allow_nan=False) + "\n", encoding="utf-8"
    )
    fill(docs / "README.md", texts)
    for domain, by_arm in runs.items():
        draw(docs, domain, data["domains"][domain], passk.get(domain, {}), list(by_arm))
    found.notes.append("points gained over the base on held-out tasks, sampled at temperature 1; tasks resampled whole")
    found.notes.append(f"figures and tables are in {docs}")
    return found


def figures(domain: str, by_arm: Mapping[str, Mapping[int, Measured]], took: Mapping[str, float]) -> dict[str, float]:
    """The figures of a domain that have bars, as far as there are runs for them."""
    found: dict[str, float] = {}
    gains = {
        mode: [_gain(run.before[HELDOUT]["sampled"], run.after[HELDOUT]["sampled"], mode) for run in mine.values()]
        for mode in Mode
        if (mine := by_arm.get("main"))
    }
    if gains:
        found[f"{domain}_slowest_minutes"] = max(took[f"{domain}/main/{seed}"] for seed in by_arm["main"])
        found[f"{domain}_smallest_lower_end"] = min(100 * g.low for each in gains.values() for g in each)
        for mode, each in gains.items():
            found[f"{domain}_smallest_{mode}_gain"] = min(100 * g.mean for g in each)
    if noise := by_arm.get("random-reward"):
        found[f"{domain}_random_reward_beyond_noise"] = max(
            100 * max(0.0, spread.low, -spread.high)
            for spread in (pooled(list(noise.values()), HELDOUT, "sampled", mode) for mode in MODES)
        )
    return found


def pooled(
    runs: Sequence[Measured],
    name: str,
    decoding: str,
    mode: Mode | None,
    over: Sequence[Measured] | None = None,
    only: NDArray[np.bool_] | None = None,
) -> Interval:
    """Mean gain of several seeds, with a 95 % interval for other seeds and other tasks.

    Args:
        runs: one arm's, a seed each.
        over: what is compared with, run by run as far as both go; ``None`` for the base.
        only: (T,) mask of the tasks that count; ``None`` for all.
    """
    pairs = zip(runs, runs if over is None else over, strict=over is None)
    rows = []
    for run, other in pairs:
        start = (run.before if over is None else other.after)[name][decoding]
        end = run.after[name][decoding]
        if start.ids != end.ids:
            raise ValueError(f"{run.path} and {other.path} were measured on different tasks")
        kept = end.rows(mode) if only is None else end.rows(mode) & only
        rows.append(np.nanmean(end.correct[kept], axis=1) - np.nanmean(start.correct[kept], axis=1))
    return crossed(np.array(rows))


def crossed(values: NDArray[np.float64]) -> Interval:
    """The mean of (S, T) values of seeds by tasks, both drawn at random, with its 95 % interval.

    The variances of the mean over seeds and over tasks are added, and Student's t has Satterthwaite's (1946) degrees of
    freedom. What is left of seed and task together counts twice, which makes it a little too wide; for two seeds it
    is too narrow. One seed has no variance: its interval is for other tasks alone. How often it covers, and how often
    a bootstrap would, ``tests/benchmarks/test_learning.py`` simulates.
    """
    means = [np.nanmean(values, axis=axis) for axis in (1, 0)]
    sizes = [len(each) for each in means]
    variances = [np.var(each, ddof=1) / len(each) if len(each) > 1 else 0.0 for each in means]
    below = sum(v**2 / (size - 1) for v, size in zip(variances, sizes, strict=True) if size > 1)
    half = student.ppf(0.975, sum(variances) ** 2 / below) * np.sqrt(sum(variances)) if below else 0.0
    mean = float(np.nanmean(values))
    return Interval(mean, mean - float(half), mean + float(half))


def styles(results: Sequence[Result], mode: Mode | None) -> dict[str, float | None]:
    """Share of worked answers, and accuracy of direct and of worked ones, over all results together."""
    correct = np.concatenate([result.correct[result.rows(mode)].ravel() for result in results])
    worked = np.concatenate([result.worked[result.rows(mode)].ravel() for result in results]) > 0
    return {
        "share_worked": float(worked.mean()),
        "direct": _of(correct[~worked]),
        "worked": _of(correct[worked]),
        "answers": float(len(correct)),
    }


def pass_at(samples: int, right: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """pass@k of each task from ``samples`` answers of which ``right`` are correct, without bias (Chen et al. 2021).

    >>> pass_at(4, np.array([0, 1, 2, 4]), 2).round(3).tolist()
    [0.0, 0.5, 0.833, 1.0]
    """
    wrong = samples - np.asarray(right)
    missed = np.ones(len(wrong))
    for j in range(k):
        missed *= np.maximum(wrong - j, 0) / (samples - j)
    return 1.0 - missed


def pass_at_k(every: Iterable[Any], tasks: int, samples: int) -> None:
    """Lets the bases and the models of the main runs answer held-out tasks many times; keeps how many were right.

    Args:
        every: the :class:`learning.Arm` of each whole run.
        tasks: held-out tasks of each mode.
        samples: answers to each.
    """
    transformers.utils.logging.disable_progress_bar()
    for one in every:
        if one.arm != "main":
            continue
        recipe = Run(one.path).settings()  # --flags over the recipe
        base = Path(tiny.path(one.domain) if recipe["model"] == "embedded" else recipe["model"])
        for model, out in ((base, one.path.parent / f"base-{PASSK}"), (one.path / "model", one.path / PASSK)):
            digest = sha256((model / "model.safetensors").read_bytes()).hexdigest()
            wanted = {"weights": digest, "samples": samples, "tasks_per_mode": tasks}
            if out.is_file() and wanted.items() <= json.loads(out.read_text(encoding="utf-8")).items():
                continue
            result = _answers(recipe, model, tasks, samples)
            counts = np.nansum(result.correct, axis=1).astype(int).tolist()
            print(f"{model}: {len(counts)} tasks, {samples} answers each", flush=True)
            modes = [str(mode) for mode in result.modes]
            out.write_text(json.dumps({**wanted, "ids": list(result.ids), "modes": modes, "right": counts}) + "\n")


def fill(path: Path, texts: Mapping[str, str]) -> None:
    """Puts each text between its marks in a Markdown file; marks that are missing are added at the end."""
    page = path.read_text(encoding="utf-8") if path.is_file() else "# What was learned\n"
    for name, text in texts.items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        if begin not in page:
            page = f"{page.rstrip()}\n\n{begin}\n{end}\n"
        head, _, rest = page.partition(begin)
        page = f"{head}{begin}\n\n{text}\n\n{end}{rest.partition(end)[2]}"
    path.write_text(page, encoding="utf-8")


def points(change: Interval) -> str:
    """A gain in points with its interval."""
    return f"{100 * change.mean:+.1f} [{100 * change.low:.1f}, {100 * change.high:.1f}]"


def _gain(before: Result, after: Result, mode: Mode | None) -> Interval:
    return gain(before, after, mode) if before.rows(mode).any() else Interval(np.nan, np.nan, np.nan)


def _answers(recipe: Mapping[str, Any], model: Path, tasks: int, samples: int) -> Result:
    domain, chosen = _heldout_tasks(recipe, tasks)
    verifier, policy = registry.verifier("relation", domain), pretrained(str(model))
    policy.model.float()  # the bases are stored in half precision, and trained in full
    most = int(recipe["max_completion_length"])
    return evaluate(policy, domain, verifier, chosen, Style(recipe["style"]), most, samples, EVALUATION_SEED)


def _heldout_tasks(recipe: Mapping[str, Any], per_mode: int) -> tuple[Domain, list[Task]]:
    domain = registry.domain(recipe["domain"], **options(recipe.get("domain_options", "")))
    source = registry.source(recipe["tasks"], domain)
    return domain, pick_tasks(domain, source, lambda task: is_heldout(domain, task), per_mode, EVALUATION_SEED)


def _domain(domain: str, by_arm: Mapping[str, Mapping[int, Measured]], took: Mapping[str, float]) -> dict[str, Any]:
    """All that the figures and the text need of a domain, as plain JSON data."""
    data: dict[str, Any] = {"runs": {}, "pooled": {}, "against_main": {}, "curves": {}}
    for arm, by_seed in by_arm.items():
        mine = list(by_seed.values())
        data["runs"][arm] = {
            str(seed): {
                "minutes": round(took[f"{domain}/{arm}/{seed}"], 2),
                "train_seconds": run.seconds,
                "steps": run.steps,
                "sets": _sets(run),
                "first_and_last": {name: _plain(run.edges(name)) for name in CURVES if run.curve(name)},
            }
            for seed, run in by_seed.items()
        }
        data["pooled"][arm] = _each(mine[0], lambda *at, mine=mine: _json(pooled(mine, *at)))
        data["curves"][arm] = {
            str(seed): {name: run.curve(name) for name in CURVES if run.curve(name)} for seed, run in by_seed.items()
        }
        both = _matched(by_arm, arm)
        if arm != "main" and both:
            main, other = both
            data["against_main"][arm] = _each(
                main[0], lambda *at, main=main, other=other: _json(pooled(main, *at, over=other))
            )
    return data


def _matched(by_arm: Mapping[str, Mapping[int, Measured]], arm: str) -> tuple[list[Measured], list[Measured]] | None:
    """The main runs and an arm's runs of the seeds that both have."""
    main = by_arm.get("main", {})
    seeds = [seed for seed in main if seed in by_arm[arm]]
    return ([main[seed] for seed in seeds], [by_arm[arm][seed] for seed in seeds]) if seeds else None


def _each(run: Measured, of: Any) -> dict[str, Any]:
    return {
        name: {
            decoding: {str(mode or "all"): of(name, decoding, mode) for mode in MODES if result.rows(mode).any()}
            for decoding, result in by_decoding.items()
        }
        for name, by_decoding in run.after.items()
    }


def _sets(run: Measured) -> dict[str, Any]:
    def one(name: str, decoding: str, mode: Mode | None) -> dict[str, Any]:
        before, after = run.before[name][decoding], run.after[name][decoding]
        return {
            "tasks": int(after.rows(mode).sum()),
            "samples": int(after.correct.shape[1]),
            "base": _json(accuracy(before, mode)),
            "after": _json(accuracy(after, mode)),
            "gain": _json(gain(before, after, mode)),
            "base_styles": styles([before], mode),
            "after_styles": styles([after], mode),
        }

    return _each(run, one)


def _tables(domain: str, by_arm: Mapping[str, Mapping[int, Measured]], took: Mapping[str, float]) -> dict[str, str]:
    """Tables in Markdown, by the name of their place."""
    some = next(iter(next(iter(by_arm.values())).values()))
    texts = {}
    for decoding in some.after[HELDOUT]:
        base = some.before[HELDOUT][decoding]
        heads = [f"{mode or 'all'}: base {accuracy(base, mode).mean:.3f}" for mode in MODES if base.rows(mode).any()]
        lines = [
            [arm, str(seed), f"{took[f'{domain}/{arm}/{seed}']:.1f}", *_cells(run, decoding)]
            for arm, by_seed in by_arm.items()
            for seed, run in by_seed.items()
        ]
        texts[f"{domain}-{decoding}"] = markdown(["run", "seed", "minutes", *heads], lines)
    texts[f"{domain}-pooled"] = _pooled_table(by_arm)
    texts[f"{domain}-worked"] = _worked_table(by_arm)
    texts[f"{domain}-rounds"] = _rounds_table(by_arm)
    if "main" in by_arm and (carried := _carried_table(list(by_arm["main"].values()))):
        texts[f"{domain}-carried"] = carried
    return texts


def _cells(run: Measured, decoding: str) -> list[str]:
    before, after = run.before[HELDOUT][decoding], run.after[HELDOUT][decoding]
    return [
        f"{accuracy(after, mode).mean:.3f}: {points(gain(before, after, mode))}"
        for mode in MODES
        if after.rows(mode).any()
    ]


def _pooled_table(by_arm: Mapping[str, Mapping[int, Measured]]) -> str:
    lines = []
    some = next(iter(next(iter(by_arm.values())).values()))
    for name in some.after:
        modes = [mode for mode in MODES if some.after[name]["sampled"].rows(mode).any()]
        for arm, by_seed in by_arm.items():
            cells = [points(pooled(list(by_seed.values()), name, "sampled", mode)) for mode in modes]
            lines.append([name, f"{arm} less the base", str(len(by_seed)), *cells])
        for arm in by_arm:
            both = _matched(by_arm, arm)
            if arm != "main" and both:
                cells = [points(pooled(both[0], name, "sampled", mode, over=both[1])) for mode in modes]
                lines.append([name, f"main less {arm}", str(len(both[0])), *cells])
    return markdown(["tasks", "what", "seeds", *(str(mode or "all") for mode in MODES)], lines)


def _carried_table(runs: Sequence[Measured]) -> str:
    """The main runs on primes all of whose pairs are held out, beside the rest.

    Empty for a domain without primes, and where this version would draw other tasks than the runs were measured on.
    """
    recipe = Run(runs[0].path).settings()
    if recipe["domain"] != "prime_inversion":
        return ""
    domain, tasks = _heldout_tasks(recipe, int(recipe.get("eval_tasks", RunConfig.eval_tasks)))
    results = [(run.before[HELDOUT]["sampled"], run.after[HELDOUT]["sampled"]) for run in runs]
    base = results[0][0]
    starts = tuple(f"{p}:" for p in WHOLE_PRIMES)
    whole = np.array([any(fact.startswith(starts) for fact in domain.facts(task)) for task in tasks], dtype=bool)
    if tuple(task.id for task in tasks) != base.ids or not whole.any():
        return ""
    lines = []
    for name, only in (("never seen", whole), ("seen with other pairs", ~whole)):
        for mode in MODES:
            kept = base.rows(mode) & only
            before = np.mean([np.nanmean(start.correct[kept]) for start, _ in results])
            after = np.mean([np.nanmean(end.correct[kept]) for _, end in results])
            gained = points(pooled(runs, HELDOUT, "sampled", mode, only=only))
            lines.append([name, str(mode or "all"), str(kept.sum()), f"{before:.3f}", f"{after:.3f}", gained])
    return markdown(["prime", "mode", "tasks", "base", "after", "points gained"], lines)


def _worked_table(by_arm: Mapping[str, Mapping[int, Measured]]) -> str:
    lines = []
    for arm, by_seed in by_arm.items():
        runs = list(by_seed.values())
        for mode in Mode:
            before = styles([run.before[HELDOUT]["sampled"] for run in runs[:1]], mode)
            after = styles([run.after[HELDOUT]["sampled"] for run in runs], mode)
            pairs = [f"{_two(before[name])} → {_two(after[name])}" for name in ("share_worked", "direct", "worked")]
            lines.append([arm, str(mode), *pairs, _explained(before, after)])
    heads = ["share worked", "accuracy of direct answers", "accuracy of worked answers", "points from the share alone"]
    return markdown(["run", "mode", *heads], lines)


def _explained(before: Mapping[str, float | None], after: Mapping[str, float | None]) -> str:
    """Points that the change of the share would give if both kinds of answers stayed as right as the base's."""
    direct, worked = before["direct"], before["worked"]
    if direct is None or worked is None:
        return "-"
    return f"{100 * ((after['share_worked'] or 0) - (before['share_worked'] or 0)) * (worked - direct):+.1f}"


def _rounds_table(by_arm: Mapping[str, Mapping[int, Measured]]) -> str:
    names = {
        "tokens an answer": "length/solver",
        "entropy, nats": "entropy",
        "learnability": "learnability",
        "new tasks a round": "proposals/new",
    }
    lines = []
    for arm, by_seed in by_arm.items():
        cells = []
        for name in names.values():
            first, last = np.array([run.edges(name) for run in by_seed.values()]).mean(axis=0)
            cells.append("-" if np.isnan(first) else f"{first:.2f} → {last:.2f}")
        steps = ", ".join(str(run.steps) for run in by_seed.values())
        seconds = ", ".join(f"{run.seconds:.0f}" for run in by_seed.values())
        lines.append([arm, steps, seconds, *cells])
    return markdown(["run", "steps", "seconds of training", *names], lines)


def _passk(runs: Runs) -> dict[str, Any]:
    """pass@k by domain, ``base`` or ``trained``, mode and k; a trained one is the mean over its seeds."""
    found: dict[str, Any] = {}
    for domain, by_arm in runs.items():
        paths = [run.path / PASSK for run in by_arm.get("main", {}).values() if (run.path / PASSK).is_file()]
        if not paths:
            continue
        base = paths[0].parent.parent / f"base-{PASSK}"
        trained = [_curve(path) for path in paths]
        mean = {mode: {k: _mean([one[mode][k] for one in trained]) for k in of} for mode, of in trained[0].items()}
        data = json.loads(base.read_text(encoding="utf-8"))
        found[domain] = {
            "base": _curve(base),
            "trained": mean,
            "seeds": len(paths),
            "samples": data["samples"],
            "tasks": {mode: data["modes"].count(mode) for mode in dict.fromkeys(data["modes"])},
        }
    return found


def _curve(path: Path) -> dict[str, dict[str, float]]:
    data = json.loads(path.read_text(encoding="utf-8"))
    modes, right = np.array(data["modes"]), np.array(data["right"])
    return {
        mode: {str(k): float(pass_at(data["samples"], right[modes == mode], k).mean()) for k in KS}
        for mode in dict.fromkeys(data["modes"])
    }


def _passk_table(table: Mapping[str, Any]) -> str:
    lines = [
        [mode, f"{who}, {table['tasks'][mode]} tasks", *(f"{table[who][mode][str(k)]:.3f}" for k in KS)]
        for mode in table["base"]
        for who in ("base", "trained")
    ]
    return markdown(["mode", "model", *(f"k={k}" for k in KS)], lines)


def markdown(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    rows = [heads, ["---"] * len(heads), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _results(data: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Result]]:
    return {name: {key: restored(result) for key, result in row.items()} for name, row in data.items()}


def _json(found: Interval) -> dict[str, float]:
    return {"mean": found.mean, "low": found.low, "high": found.high}


def _plain(values: Sequence[float]) -> list[float | None]:
    return [None if np.isnan(value) else value for value in values]


def _of(values: NDArray[np.float64]) -> float | None:
    return None if np.isnan(values).all() else float(np.nanmean(values))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def _two(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
