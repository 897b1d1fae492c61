"""From the arguments of ``azr train`` to a checked setup, and off."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import sqlite3
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import torch
import transformers
import yaml
from rich.console import Console
from safetensors import SafetensorError
from trl import GRPOConfig, TrlParser

from azr_agents.config import CONTROLS, EMBEDDED, RunConfig, SelfPlayConfig, recipe, recipes, round_rows
from azr_agents.plan import plan, show
from azr_agents.progress import comparisons
from azr_agents.run import Run, step_of, versions
from azr_agents.train import Setup, check_batch, prepare, train
from azr_agents.trainer import batch_hint, ranks_of
from azr_env import registry
from azr_env.errors import AzrError, SettingError

WITH_CONTROLS = {"--with-controls", "--with_controls"}
DRY_RUN = {"--dry-run", "--dry_run"}
_USAGE = """azr train [--config FILE_OR_NAME] [--SETTING VALUE ...]
       azr train --with-controls ...             every control after the main run, in one table
       azr train --dry-run [--processes N] ...   the plan for N processes; starts nothing
       azr train --resume RUN                    goes on with a run from its last checkpoint

--config is a recipe, a YAML file or the name of a shipped one (azr list); other settings win over it.
The settings of azr-env come first below, then those of TRL's GRPOConfig."""
CHANGEABLE = ("max_steps", "save_steps", "save_total_limit", "logging_steps")
"""Settings that may differ when a run goes on: how far, and how often it tells and saves."""
NO_ROOM = ("no space left", "disk is full", "disk quota", "file too large", "file write failed", "unexpected pos")
"""What the writers of files, the buffer, weights and optimiser say of a full disk."""


def run(args: list[str], folder: Path, stamp: str) -> int:
    """Trains as the arguments say. Returns the exit code.

    Args:
        args: what stands behind ``azr train``.
        folder: where ``runs/`` is made when no ``--output_dir`` is given.
        stamp: time of the start, for the name of the run directory.

    Raises:
        AzrError: settings that cannot work.
    """
    _quiet()
    console = Console(width=None if sys.stdout.isatty() else 120, quiet=os.environ.get("RANK", "0") != "0")
    if DRY_RUN & set(args):
        return _dry(args, console)
    resume = _value(args, "--resume")
    if resume is not None:
        return 0 if _go_on(resume, _without(args, "--resume"), console) else 130
    chosen = _recipe(args)
    setup = prepare(*_parse(args, chosen))
    _check_controls(args, chosen)
    _threads(setup)
    out = _value(args, "--output_dir") or _value(args, "--output-dir")
    path = Path(out) if out else folder / "runs" / f"{setup.config.domain}-{stamp}"
    begun = _begun(setup, path, args, chosen)
    with _alone(begun, setup), _full_disk_told(begun):
        done = train(setup, begun, console) and _controls(begun, args, console)
    return 0 if done else 130


def _dry(args: list[str], console: Console) -> int:
    """Prints what a run would do, on any machine and for any number of processes. Returns the exit code."""
    rest = [arg for arg in _without(args, "--processes") if arg not in DRY_RUN]
    asked = _value(args, "--processes") or "1"
    processes = int(asked) if asked.isdigit() else 0
    if processes < 1:
        raise SettingError(f"--processes {asked}: it is the number of processes to plan for, 1 or more")
    if _value(rest, "--resume") is not None:
        raise SettingError("--dry-run plans a new run: give its settings in the place of --resume")
    rest, chosen = [*rest, "--use_cpu", "true"], _recipe(rest)
    settings = _parse(rest, chosen, processes)
    _check_controls(rest, chosen, processes)
    show(plan(prepare(*settings, dry=processes), processes), console)
    return 0


def _begun(setup: Setup, path: Path, args: list[str], chosen: Path) -> Run:
    """The run directory that the first process makes, as each process uses it."""
    ranks = ranks_of(setup.args)
    made = ranks.first(lambda: str(Run.begin(path, args, chosen, ranks.size).path))
    return Run(made, writes=ranks.rank == 0)


def _go_on(path: str, changes: list[str], console: Console) -> bool:
    """Goes on with a run, and with its controls."""
    old, argv = Run.open(path)
    begun, now = old.read("run.json").get("processes", 1), int(os.environ.get("WORLD_SIZE", "1"))
    if begun != now:
        raise SettingError(
            f"{old.path} was begun with {begun} as the number of processes, and now it is {now}: each has random "
            "numbers of its own, so go on with as many as before"
        )
    recipe = old.path / "recipe.yaml"
    checkpoint = None
    if old.read("evaluation.json") is None or not _wants_controls(argv):
        checkpoint = old.last_checkpoint()
    setup = prepare(*_parse([*argv, *changes], recipe))
    ranks = ranks_of(setup.args)
    run = Run(old.path, writes=ranks.rank == 0)
    _told(run, argv, changes, console)
    if checkpoint is not None and setup.args.max_steps < step_of(checkpoint):
        raise SettingError(
            f"max_steps={setup.args.max_steps} lies behind {run.path}, which has done {step_of(checkpoint)}: give more "
            f"to go on, or take an earlier checkpoint out with azr export {run.path} --step N"
        )
    _threads(setup)
    with _alone(run, setup), _full_disk_told(run):
        if checkpoint is not None:
            if changes:
                ranks.first(lambda: run.write("run.json", run.read("run.json") | {"argv": [*argv, *changes]}))
            if not train(setup, run, console, checkpoint):
                return False
        return _controls(run, argv, console)


def _told(run: Run, argv: list[str], changes: list[str], console: Console) -> None:
    """Names what differs from the run as it was begun.

    Raises:
        SettingError: a setting that a run cannot change.
    """
    head = run.read("run.json")
    if changes and _wants_controls([*argv, *changes]):
        raise SettingError(
            f"--resume {run.path} takes no further settings: its controls must train as the main run did. "
            "Begin a new run for other settings."
        )
    recipe = run.path / "recipe.yaml"
    old, new = (_values(_parse(args, recipe)) for args in (argv, [*argv, *changes]))
    differ = {name: (value, new[name]) for name, value in old.items() if new[name] != value}
    refused = [f"{name} ({was} then, {now} now)" for name, (was, now) in differ.items() if name not in CHANGEABLE]
    if refused:
        raise SettingError(
            f"a run goes on with the settings that it began with, and these differ: {', '.join(refused)}. Leave them "
            f"out, or begin a new run; only {', '.join(CHANGEABLE)} may change"
        )
    now = versions()
    differ |= {name: (was, now[name]) for name, was in head.get("versions", {}).items() if now.get(name, was) != was}
    for name, (was, is_now) in differ.items():
        console.print(f"differs from the run as it began: {name} {was} -> {is_now}", highlight=False, soft_wrap=True)


def _values(settings: Iterable[Any]) -> dict[str, Any]:
    """The values of several dataclasses of settings, by name."""
    return {field.name: getattr(part, field.name) for part in settings for field in fields(part)}


@contextmanager
def _alone(run: Run, setup: Setup) -> Iterator[None]:
    """Keeps others from going on with a run that is under way; the end of the process, however it comes, lets go.

    Raises:
        SettingError: another process is at it.
    """

    def take() -> int:
        folder = os.open(run.path, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(folder)
            raise SettingError(f"{run.path} is being trained by another process: wait for it, or stop it") from None
        except OSError:  # a file system without locks
            pass
        return folder

    ranks = ranks_of(setup.args)
    folder = ranks.first(take)
    try:
        yield
    finally:
        if ranks.rank == 0:
            os.close(folder)


@contextmanager
def _full_disk_told(run: Run) -> Iterator[None]:
    """Says of a write that found no room where it was and how to go on; what was committed before it stays.

    Raises:
        SettingError: there was no room.
    """
    try:
        yield
    except (OSError, RuntimeError, sqlite3.Error, SafetensorError) as exc:
        if not any(words in str(exc).lower() for words in NO_ROOM):
            raise
        whole = any(run.path.glob("checkpoint-*/selfplay.json"))
        raise SettingError(
            f"no room is left for writing into {run.path} ({' '.join(str(exc).split())[:200]}). Make room there, "
            + (f"then go on from the last checkpoint: azr train --resume {run.path}" if whole else "and begin anew")
        ) from exc


def _controls(main: Run, args: list[str], console: Console) -> bool:
    """The controls of a run, one after the other on the same budget, and all of them in one table.

    Returns:
        Whether all are done; ``True`` where none is wanted.
    """
    if not _wants_controls(args):
        return True
    rest = _plain(args)
    for name in CONTROLS:
        path = main.path / "controls" / name
        if (path / "evaluation.json").is_file():
            continue
        console.print(f"\ncontrol {name}: {CONTROLS[name]}", highlight=False, soft_wrap=True)
        setup = prepare(*_parse([*rest, "--control", name], main.path / "recipe.yaml"))
        checkpoint = Run(path).last_checkpoint() if any(path.glob("checkpoint-*/selfplay.json")) else None
        if checkpoint is None:
            ranks_of(setup.args).first(lambda old=path: shutil.rmtree(old, ignore_errors=True))  # type: ignore[misc]
            run = _begun(setup, path, [*rest, "--control", name], main.path / "recipe.yaml")
        else:
            run = Run(path, writes=ranks_of(setup.args).rank == 0)
        if not train(setup, run, console, checkpoint):
            return False
    if console.quiet:
        return True
    runs = {"main": main} | {name: Run(main.path / "controls" / name) for name in CONTROLS}
    for table in comparisons(main.read("base.json"), {name: run.read("after.json") for name, run in runs.items()}):
        console.print(table, soft_wrap=True)
    return True


def _check_controls(args: list[str], chosen: Path, processes: int | None = None) -> None:
    """Refuses before the main run what would stop its controls after it: their rounds have fewer rows.

    Args:
        processes: those of a dry run.

    Raises:
        SettingError: names the control, the setting and the values that would do.
    """
    for name in CONTROLS if _wants_controls(args) else ():
        try:
            _, play, settings = _parse([*_plain(args), "--control", name], chosen, processes)
            check_batch(play, settings, processes or int(os.environ.get("WORLD_SIZE", "1")))
        except SettingError as exc:
            raise SettingError(
                f"--with-controls: the control {name} cannot run with the settings of the main run: {exc} Where recipe "
                "and flags give no per_device_train_batch_size, each run takes its own, if steps_per_generation "
                "divides the rows of all."
            ) from None


def _plain(args: list[str]) -> list[str]:
    return [arg for arg in args if arg not in WITH_CONTROLS]


def _wants_controls(args: list[str]) -> bool:
    return bool(WITH_CONTROLS & set(args))


def _quiet() -> None:
    """Turns off what the libraries say about themselves; their errors stay."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("trl").setLevel(logging.ERROR)  # one warning for every ungraded row
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", message=".*pin_memory.*")


def _threads(setup: Setup) -> None:
    """One thread for the embedded model on a processor.

    Its matrices are so small that a second thread gains little, and costs a factor of twenty when something else
    runs on that core; and with one, equal seeds give equal results on machines of any size.
    """
    if setup.config.model == EMBEDDED and not torch.cuda.is_available():
        torch.set_num_threads(1)


def _recipe(args: list[str]) -> Path:
    given = _value(args, "--config")
    if given is None:
        domain = _value(args, "--domain") or RunConfig.domain
        registry.factory("domain", domain)  # a misspelt domain is told before a missing recipe
        return recipe(domain, _value(args, "--model") or EMBEDDED)
    if Path(given).is_file():
        return Path(given)
    shipped = recipes()
    if given not in shipped:
        raise SettingError(f"--config {given}: no such file, and no recipe of that name; recipes: {', '.join(shipped)}")
    return shipped[given]


def _parse(args: list[str], chosen: Path, processes: int | None = None) -> tuple[RunConfig, SelfPlayConfig, GRPOConfig]:
    """Flags over the recipe over the defaults, by TRL's own parser.

    Args:
        processes: those of a dry run; ``None`` for those that the launcher has started.
    """
    flags = _plain(args)
    if len(flags) < len(args) and _value(flags, "--control") not in (None, "none"):
        raise SettingError("--with-controls runs every control after the main run: leave --control out")
    given = ["--config", str(chosen), *_without(flags, "--config")]
    try:
        if not isinstance(yaml.safe_load(chosen.read_text(encoding="utf-8")), dict):
            raise SettingError(f"{chosen}: a recipe is a mapping of settings to values")
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise SettingError(f"{chosen} is no YAML: {' '.join(str(exc).split())}") from None
    if {"-h", "--help"} & set(given):
        TrlParser((RunConfig, SelfPlayConfig, GRPOConfig), usage=_USAGE).parse_args_and_config(given)
    play = _checked((SelfPlayConfig,), given)[0]
    given += _batch(args, chosen, round_rows(play), processes)
    try:
        config, play, grpo = _checked((RunConfig, SelfPlayConfig, GRPOConfig), given)
    except SettingError as exc:
        raise SettingError(f"{exc} {batch_hint(round_rows(play))}" if "batch_size" in str(exc) else str(exc)) from None
    return config, play, grpo


def _batch(args: list[str], chosen: Path, rows: int, processes: int | None = None) -> list[str]:
    """The batch size that makes one generation batch one round, where neither flags nor recipe give one.

    A dry run is one process in the place of all, with a batch as large as all of theirs.
    """
    recipe = yaml.safe_load(chosen.read_text(encoding="utf-8"))
    name = "per_device_train_batch_size"
    given = _value(args, f"--{name}") or recipe.get(name)
    steps = _value(args, "--steps_per_generation") or recipe.get("steps_per_generation", 1)
    parts = (processes or int(os.environ.get("WORLD_SIZE", "1"))) * (int(steps) if str(steps).isdigit() else 1)
    each = None if given is not None or rows % parts else rows // parts
    if processes is None:
        return [] if each is None else [f"--{name}", str(each)]
    size = str(given or each or GRPOConfig.per_device_train_batch_size)
    return [f"--{name}", str(int(size) * processes)] if size.isdigit() else []


def _checked(kinds: tuple[type, ...], given: list[str]) -> tuple[Any, ...]:
    parser = TrlParser(kinds, prog="azr train", allow_abbrev=False)  # --seed is not short for --seed_tasks
    try:
        if len(kinds) == 1:
            return tuple(parser.parse_args_and_config(given, return_remaining_strings=True))
        return tuple(parser.parse_args_and_config(given))
    except AzrError:
        raise
    except ValueError as exc:
        raise SettingError(str(exc)) from None


def _value(args: list[str], flag: str) -> str | None:
    for place, arg in enumerate(args):
        if arg == flag:
            if place + 1 == len(args):
                raise SettingError(f"{flag} needs a value")
            return args[place + 1]
        if arg.startswith(f"{flag}="):
            return arg.partition("=")[2]
    return None


def _without(args: list[str], flag: str) -> list[str]:
    kept, skip = [], False
    for arg in args:
        if skip:
            skip = False
        elif arg == flag:
            skip = True
        elif not arg.startswith(f"{flag}="):
            kept.append(arg)
    return kept
