"""``azr eval``: accuracy of a model on fixed tasks, or CRUXEval's verdicts on a generation file."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from azr_env import registry, values
from azr_env.errors import SettingError
from azr_env.protocols import Domain, Policy
from azr_env.types import Mode, Task

if TYPE_CHECKING:
    from azr_agents.eval_run import Plan

LIMIT: Final = 200
"""Tasks per mode that are drawn from a source without end, where ``--limit`` says nothing."""
TASKS_SEED: Final = 20_250_503
"""Fixes which tasks are drawn: those of ``azr train``, whatever ``--seed`` is."""
HUB: Final = {"cruxeval": "cruxeval-org/cruxeval", "livecodebench": "livecodebench/execution-v2"}
"""Public ids of the sets that ``NAME:hub`` fetches."""
SPLITS: Final = ("heldout", "in-domain", "all")
_USUAL_MODES: Final = {"cruxeval": (Mode.DEDUCTION, Mode.ABDUCTION)}
_EPILOG = """\
examples:
  azr eval embedded --domain prime_inversion --tasks builtin:primes=3-31 --tasks builtin:primes=37-61
  azr eval PATH_OR_ID --domain python --tasks builtin:difficulty=2 --tasks builtin:difficulty=3 --samples 8
  azr eval --base-url http://localhost:8000/v1 --model-name NAME --tasks cruxeval:cruxeval.jsonl --greedy
  azr eval AFTER --output evals/after --compare evals/before
  azr eval --protocol cruxeval --mode output --data cruxeval.jsonl GENERATIONS.json

A command that was stopped or killed goes on where it was when it is given again. docs/evaluation.md says the rest."""


def run(args: Sequence[str]) -> int:
    """Measures or grades as the arguments say. Returns the exit code.

    Raises:
        AzrError: settings that cannot work, or a server or sandbox that fails.
    """
    parser = _parser()
    options = parser.parse_args(args)
    if options.protocol:
        return _protocol(options)
    return _measure(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="azr eval",
        description="Accuracy of a model on fixed tasks, or CRUXEval's verdicts on a generation file.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "model",
        metavar="MODEL",
        nargs="?",
        help="path or id of a causal LM, 'embedded', or NAME:ARGUMENT of a policy; with --protocol, a generation file",
    )
    add("--base-url", metavar="URL", help="an OpenAI-compatible server instead; its key is read from OPENAI_API_KEY")
    add("--model-name", metavar="NAME", help="what the server calls the model")
    add("--endpoint", default="chat", choices=("chat", "completions"), help="of the server (default: chat)")
    add("--domain", metavar="NAME", help="domain of the tasks (default: that of the run that MODEL lies in, or python)")
    add("--domain-options", metavar="KEY=VALUE,...", help="its settings (default: those that azr train gives it)")
    add("--equality", choices=("strict", "python"), help="of Python values (default: strict; python for --protocol)")
    add(
        "--style",
        choices=("paper", "compact"),
        help="of the prompts (default: that of its run, or of azr train for this model)",
    )
    add(
        "--tasks",
        metavar="SPEC",
        action="append",
        help="builtin:KEY=VALUE,..., buffer:PATH, jsonl:PATH, cruxeval:PATH, livecodebench:PATH; PATH may be 'hub' "
        "or 'hub=ID' for the last two. Given several times, each is a set with a row of its own",
    )
    add("--split", choices=SPLITS, help="part of the tasks (default: heldout of builtin tasks, all of others)")
    add("--modes", metavar="MODE,...", help="default: all that there are; deduction,abduction for cruxeval")
    add("--limit", type=int, metavar="N", help=f"most tasks per mode and set (default: {LIMIT}; all of a file)")
    add("--samples", type=int, default=1, metavar="N", help="answers to each task (default: 1)")
    add("--temperature", type=float, metavar="T", help="of sampling (default: 1)")
    add("--greedy", action="store_true", help="temperature 0")
    add("--max-new-tokens", type=int, metavar="N", help="default: as in azr train for this model")
    add("--batch-size", type=int, metavar="N", help="prompts at once (default: 64; connections of a server: 16)")
    add("--seed", type=int, default=0, metavar="N", help="of the answers; which tasks are drawn does not depend on it")
    add("--output", type=Path, metavar="FOLDER", help="where answers and results go (default: evals/NAME-DIGEST)")
    add("--compare", type=Path, metavar="FOLDER", help="an earlier measurement of the same tasks, compared in pairs")
    add("--json", nargs="?", const="-", metavar="FILE", help="results as JSON, to FILE or else to the terminal")
    add("--protocol", choices=("cruxeval",), help="grade a generation file as CRUXEval does; no model is run")
    add("--mode", choices=("input", "output"), help="with --protocol: what the generations predict")
    add("--data", metavar="FILE", help="with --protocol: CRUXEval's cruxeval.jsonl")
    return parser


def _protocol(options: argparse.Namespace) -> int:
    from azr_agents import cruxeval

    if options.model is None or options.mode is None or options.data is None:
        raise SettingError(
            "--protocol cruxeval needs --mode input or output, --data with CRUXEval's cruxeval.jsonl, and a "
            "generation file"
        )
    rows = cruxeval.read_rows(options.data)
    generations = cruxeval.read_generations(options.model, len(rows))
    equality: values.Equality = options.equality or "python"
    verdicts = cruxeval.grade(rows, generations, options.mode, registry.executor("zygote"), equality)
    found = cruxeval.summary(verdicts)
    data = {
        "mode": options.mode,
        "equality": equality,
        **found,
        "verdicts": {f"sample_{number}": row for number, row in enumerate(verdicts)},
    }
    if options.json != "-":
        shares = "  ".join(f"{name}: {'-' if value is None else f'{100 * value:.1f}'}" for name, value in found.items())
        sys.stdout.write(f"{shares}  ({len(rows)} samples, {sum(map(len, verdicts))} generations)\n")
    _json(options.json, data)
    return 0


def _measure(options: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    from azr_agents import eval_run, eval_table

    domain, settings = _settle(options)
    name = (options.model_name or options.model).rstrip("/").rsplit("/", 1)[-1].replace(":", "-")
    digest = sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    folder = options.output or Path("evals") / f"{name}-{digest}"
    plan = _plan(settings, domain, folder)
    if options.compare:
        eval_run.shared(options.compare, {one.name: one.digest for one in plan.sets})
    told = Console(stderr=True)
    columns = (*Progress.get_default_columns()[:-1], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=told, transient=True, disable=not told.is_terminal) as bar:
        task = bar.add_task(f"answers, into {folder}", total=plan.answers)
        try:
            found = eval_run.measure(
                plan, folder, _policy(settings), lambda answers: bar.update(task, completed=answers)
            )
        except KeyboardInterrupt:
            told.print("the same command goes on from here", highlight=False)
            raise
    data: dict[str, Any] = {"settings": settings, "folder": str(folder), "sets": found}
    if options.compare:
        data["comparison"] = eval_run.compare(folder, options.compare)
    if options.json != "-":
        console = Console(width=None if sys.stdout.isatty() else 160)
        console.print(eval_table.results(found))
        if options.compare:
            console.print(eval_table.comparison(data["comparison"], str(options.compare)))
    _json(options.json, data)
    return 0


def _settle(options: argparse.Namespace) -> tuple[Domain, dict[str, Any]]:
    """The domain, and every setting that the answers depend on: flags over the recipe that ``azr train`` would use."""
    import yaml

    from azr_agents.config import EMBEDDED, RunConfig, recipe
    from azr_agents.config import options as pairs

    if (options.model is None) == (options.base_url is None):
        raise SettingError("give a MODEL, or --base-url and --model-name; azr eval --help has examples")
    if options.base_url and not options.model_name:
        raise SettingError("--base-url needs --model-name: what the server calls the model")
    if options.greedy and (options.temperature or options.samples > 1):
        raise SettingError(
            "--greedy gives one answer to each task, at temperature 0: leave --temperature and --samples out"
        )
    for flag in ("samples", "limit", "max_new_tokens", "batch_size"):
        if getattr(options, flag) is not None and getattr(options, flag) < 1:
            raise SettingError(f"--{flag.replace('_', '-')} {getattr(options, flag)}; it is a whole number from 1 up")
    if options.seed < 0 or (options.temperature is not None and not 0 < options.temperature <= 10):
        raise SettingError("--seed is 0 or more, and --temperature above 0 and at most 10; for 0 say --greedy")
    specs = options.tasks or []
    model, _, of = (options.model or "").partition(":")
    embedded = model == EMBEDDED
    trained = _of_its_run(options.model)
    name = options.domain or (of if embedded else "") or str(trained.get("domain") or RunConfig.domain)
    registry.factory("domain", name)
    usual = trained or yaml.safe_load(recipe(name, EMBEDDED if embedded else "").read_text(encoding="utf-8"))
    if usual.get("domain", name) != name:  # settings for another domain
        usual = {key: usual[key] for key in ("style", "max_completion_length") if key in usual}
    given = usual.get("domain_options", "") if options.domain_options is None else options.domain_options
    found: dict[str, Any] = dict(pairs(given))
    if options.equality:
        found["equality"] = options.equality
    settings = {
        "model": options.model or options.model_name,
        "weights": _weights(options.model),
        "base_url": options.base_url,
        "endpoint": options.endpoint if options.base_url else None,
        "domain": name,
        "domain_options": found,
        "style": options.style or usual.get("style", "paper"),
        "tasks": specs or [usual.get("tasks", "builtin")],
        "split": options.split,
        "modes": _modes(options.modes),
        "limit": options.limit,
        "samples": options.samples,
        "temperature": 0.0 if options.greedy else options.temperature or 1.0,
        "max_new_tokens": options.max_new_tokens or int(usual.get("max_completion_length", 256)),
        "batch_size": options.batch_size or (16 if options.base_url else 64),
        "seed": options.seed,
    }
    if options.model == EMBEDDED:
        settings["model"] = f"{EMBEDDED}:{name}"
    if len(set(settings["tasks"])) < len(settings["tasks"]):
        raise SettingError("--tasks: a set is given twice")
    return registry.domain(name, **found), settings


def _of_its_run(model: str | None) -> dict[str, Any]:
    """The settings of the run that a folder of weights lies in; empty for any other model."""
    from azr_agents.run import Run

    run = Path(model).resolve().parent if model and Path(model).is_dir() else None
    return Run(run).settings() if run and (run / "run.json").is_file() else {}


def _plan(settings: dict[str, Any], domain: Domain, folder: Path) -> Plan:
    from azr_agents.eval_run import Plan, TaskSet
    from azr_env.parsing import Style

    sets = []
    for spec in settings["tasks"]:
        tasks = _tasks(_local(spec, folder), domain, settings)
        if not tasks:
            raise SettingError(f"--tasks {spec} has no task of these modes in this split: see --modes and --split")
        sets.append(TaskSet(spec, tuple(tasks)))
    chunk = max(1, settings["batch_size"] // settings["samples"])
    return Plan(
        domain,
        registry.verifier("relation", domain),
        Style(settings["style"]),
        tuple(sets),
        settings["samples"],
        settings["max_new_tokens"],
        chunk,
        settings["seed"],
        settings,
    )


def _tasks(spec: str, domain: Domain, settings: dict[str, Any]) -> list[Task]:
    """The tasks of a set: all of a file, or a seeded choice; equal for every ``--seed``."""
    import numpy as np

    from azr_agents.evaluate import pick_tasks
    from azr_agents.heldout import is_heldout
    from azr_env.sources.stored import BufferSource, ListSource

    source = registry.source(spec, domain)
    finite = isinstance(source, ListSource | BufferSource)
    split = settings["split"] or ("all" if finite else "heldout")

    def keep(task: Task) -> bool:
        return split == "all" or is_heldout(domain, task) == (split == "heldout")

    name = spec.partition(":")[0]
    modes = [Mode(mode) for mode in settings["modes"]] or list(_USUAL_MODES.get(name, tuple(Mode)))
    if not isinstance(source, ListSource | BufferSource):
        return pick_tasks(domain, source, keep, settings["limit"] or LIMIT, TASKS_SEED, modes)
    chosen: list[Task] = []
    for place, mode in enumerate(modes):
        tasks = [task for task in source.tasks(mode) if keep(task)]
        most = min(len(tasks), settings["limit"] or len(tasks))
        drawn = np.random.default_rng([TASKS_SEED, place]).permutation(len(tasks))[:most]
        chosen += [tasks[number] for number in sorted(drawn)]
    return chosen


def _local(spec: str, folder: Path) -> str:
    """The set itself, or a copy in the folder of one that is fetched from a hub: ``NAME:hub`` or ``NAME:hub=ID``."""
    name, _, argument = spec.partition(":")
    if name not in HUB or argument.partition("=")[0] != "hub":
        return spec
    path = folder.parent / f"{folder.name}.data" / f"{name}.jsonl"
    if not path.is_file():
        _fetch(argument.partition("=")[2] or HUB[name], path)
    return f"{name}:{path}"


def _fetch(dataset: str, path: Path) -> None:
    from datasets import load_dataset

    try:
        rows = load_dataset(dataset, split="test")
    except Exception as exc:  # noqa: BLE001 - the library's errors for an absent hub have no common class
        raise SettingError(
            f"the data set {dataset} cannot be fetched: {type(exc).__name__}. "
            "Is the hub reachable? Else give the path of its file, as in cruxeval:PATH."
        ) from None
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    draft.write_text("".join(json.dumps(row, default=str) + "\n" for row in rows), encoding="utf-8")
    draft.replace(path)


def _policy(settings: dict[str, Any]) -> Callable[[], Policy]:
    """What loads the model, once it is needed."""

    def load() -> Policy:
        temperature, batch = settings["temperature"], settings["batch_size"]
        if settings["base_url"]:
            from azr_agents.server import ServerPolicy

            return ServerPolicy(settings["base_url"], settings["model"], settings["endpoint"], temperature, batch)
        model = settings["model"]
        name, colon, argument = model.partition(":")
        known = bool(colon) and name in registry.names("policy")
        make = registry.factory("policy", name if known else "transformers")
        from azr_agents.policy import embedded, pretrained

        if make in (embedded, pretrained):
            _quiet(name)
            return make(argument if known else model, temperature, batch)  # type: ignore[no-any-return]
        if temperature != 1:
            raise SettingError(f"the policy {name} samples as it does: leave --temperature and --greedy out")
        return registry.policy(model)

    return load


def _quiet(name: str) -> None:
    """Turns off what transformers says about itself, and uses one thread for the small embedded models."""
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    if name == "embedded" and not torch.cuda.is_available():
        torch.set_num_threads(1)


def _weights(model: str | None) -> str | None:
    """Tells other weights at the same path: a digest of the files' names, sizes and times; ``None`` where none are."""
    path = Path((model or "").partition(":")[2] or model or "")
    if model is None or not path.is_dir():
        return None
    files = sorted([*path.glob("*.safetensors"), *path.glob("*.bin")])
    told = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return sha256(repr(told).encode()).hexdigest()[:16]


def _modes(text: str | None) -> list[str]:
    names = [name.strip() for name in text.split(",")] if text is not None else []
    if not set(names) <= set(Mode) or len(set(names)) < len(names):
        raise SettingError(f"--modes {text}: join some of {', '.join(Mode)} by commas, each once")
    return [str(mode) for mode in Mode if mode in names]


def _json(target: str | None, data: object) -> None:
    """Writes JSON to a file, or to the terminal for ``-``."""
    text = json.dumps(data, indent=1) + "\n"
    if target == "-":
        sys.stdout.write(text)
    elif target is not None:
        try:
            Path(target).write_text(text, encoding="utf-8")
        except OSError as exc:
            raise SettingError(f"--json {target} cannot be written: {exc.strerror}") from None
