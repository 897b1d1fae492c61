"""From the arguments of ``azr train`` to a checked setup, and off."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import torch
import transformers
import yaml
from rich.console import Console
from trl import GRPOConfig, TrlParser

from azr_agents.config import CONTROLS, EMBEDDED, RunConfig, SelfPlayConfig, recipe, round_rows
from azr_agents.progress import comparisons
from azr_agents.run import Run
from azr_agents.train import Setup, prepare, train
from azr_agents.trainer import batch_hint
from azr_env import registry
from azr_env.errors import AzrError, SettingError

WITH_CONTROLS = {"--with-controls", "--with_controls"}


def run(args: list[str], folder: Path, stamp: str) -> int:
    """Trains as the arguments say. Returns the exit code.

    Args:
        args: what stands behind ``azr train``.
        folder: where ``runs/`` is made when no ``--output_dir`` is given.
        stamp: time of the start, for the name of the run directory.

    Raises:
        AzrError: settings that cannot work.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise SettingError(
            f"WORLD_SIZE={os.environ['WORLD_SIZE']}: azr train runs in one process so far; start it without torchrun"
        )
    _quiet()
    console = Console(width=None if sys.stdout.isatty() else 120)
    resume = _value(args, "--resume")
    if resume is not None:
        if args not in (["--resume", resume], [f"--resume={resume}"]):
            raise SettingError("--resume goes alone: a run goes on with the settings that it began with")
        return 0 if _go_on(*Run.open(resume), console) else 130
    chosen = _recipe(args)
    setup = prepare(*_parse(args, chosen))
    _threads(setup)
    out = _value(args, "--output_dir") or _value(args, "--output-dir")
    path = Path(out) if out else folder / "runs" / f"{setup.config.domain}-{stamp}"
    begun = Run.begin(path, args, chosen)
    done = train(setup, begun, console) and _controls(begun, args, console)
    return 0 if done else 130


def _go_on(old: Run, argv: list[str], console: Console) -> bool:
    """Goes on with a run, and with its controls."""
    if old.read("evaluation.json") is None or not _wants_controls(argv):
        checkpoint = old.last_checkpoint()
        setup = prepare(*_parse(argv, old.path / "recipe.yaml"))
        _threads(setup)
        if not train(setup, old, console, checkpoint):
            return False
    return _controls(old, argv, console)


def _controls(main: Run, args: list[str], console: Console) -> bool:
    """The controls of a run, one after the other on the same budget, and all of them in one table.

    Returns:
        Whether all are done; ``True`` where none is wanted.
    """
    if not _wants_controls(args):
        return True
    rest = [arg for arg in args if arg not in WITH_CONTROLS]
    for name in CONTROLS:
        path = main.path / "controls" / name
        if (path / "evaluation.json").is_file():
            continue
        console.print(f"\ncontrol {name}: {CONTROLS[name]}", highlight=False, soft_wrap=True)
        setup = prepare(*_parse([*rest, "--control", name], main.path / "recipe.yaml"))
        if any(path.glob("checkpoint-*/selfplay.json")):
            run = Run(path)
            done = train(setup, run, console, run.last_checkpoint())
        else:
            shutil.rmtree(path, ignore_errors=True)
            done = train(setup, Run.begin(path, [*rest, "--control", name], main.path / "recipe.yaml"), console)
        if not done:
            return False
    runs = {"main": main} | {name: Run(main.path / "controls" / name) for name in CONTROLS}
    for table in comparisons(main.read("base.json"), {name: run.read("after.json") for name, run in runs.items()}):
        console.print(table, soft_wrap=True)
    return True


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
    if not Path(given).is_file():
        raise SettingError(f"--config {given}: no such file")
    return Path(given)


def _parse(args: list[str], chosen: Path) -> tuple[RunConfig, SelfPlayConfig, GRPOConfig]:
    """Flags over the recipe over the defaults, by TRL's own parser."""
    flags = [arg for arg in args if arg not in WITH_CONTROLS]
    if len(flags) < len(args) and _value(flags, "--control") not in (None, "none"):
        raise SettingError("--with-controls runs every control after the main run: leave --control out")
    given = ["--config", str(chosen), *_without(flags, "--config")]
    try:
        if not isinstance(yaml.safe_load(chosen.read_text(encoding="utf-8")), dict):
            raise SettingError(f"{chosen}: a recipe is a mapping of settings to values")
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise SettingError(f"{chosen} is no YAML: {' '.join(str(exc).split())}") from None
    if {"-h", "--help"} & set(given):
        TrlParser((RunConfig, SelfPlayConfig, GRPOConfig), prog="azr train").parse_args_and_config(given)
    play = _checked((SelfPlayConfig,), given)[0]
    given += _batch(args, chosen, round_rows(play))
    try:
        config, play, grpo = _checked((RunConfig, SelfPlayConfig, GRPOConfig), given)
    except SettingError as exc:
        raise SettingError(f"{exc} {batch_hint(round_rows(play))}" if "batch_size" in str(exc) else str(exc)) from None
    return config, play, grpo


def _batch(args: list[str], chosen: Path, rows: int) -> list[str]:
    """The batch size that makes one generation batch one round, where neither flags nor recipe give one."""
    recipe = yaml.safe_load(chosen.read_text(encoding="utf-8"))
    name = "per_device_train_batch_size"
    if name in recipe or _value(args, f"--{name}") is not None:
        return []
    steps = _value(args, "--steps_per_generation") or recipe.get("steps_per_generation", 1)
    parts = int(os.environ.get("WORLD_SIZE", "1")) * (int(steps) if str(steps).isdigit() else 1)
    return [] if rows % parts else [f"--{name}", str(rows // parts)]


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
