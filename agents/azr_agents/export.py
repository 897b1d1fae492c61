"""``azr export``: a checkpoint of a run as a folder that the Hugging Face libraries load, with a model card."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import transformers
from transformers import AutoTokenizer, GenerationConfig

from azr_agents.adapters import merged
from azr_agents.config import EMBEDDED, RunConfig, options
from azr_agents.run import Run, step_of
from azr_env import registry
from azr_env.errors import SettingError
from azr_env.parsing import Style
from azr_env.prompts import completion_of, key, solver_prompt
from azr_env.types import Mode, Task

CARD = "README.md"
_HEAD = """\
---
library_name: transformers
pipeline_tag: text-generation
tags: [absolute-zero, self-play, azr-env]
{base}---"""
_LOADING = """\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("FOLDER")  # this folder, or where you put it
tokenizer = AutoTokenizer.from_pretrained("FOLDER")
```"""


def run(args: Sequence[str]) -> int:
    """Exports as the arguments say. Returns the exit code.

    Raises:
        SettingError: no run, no such checkpoint, or an output folder that holds something.
    """
    parser = argparse.ArgumentParser(
        prog="azr export",
        description="Writes a checkpoint of a run as a folder that the Hugging Face libraries load, with a model card.",
    )
    parser.add_argument("run", metavar="RUN", help="a run directory")
    parser.add_argument("--step", type=int, metavar="N", help="of the checkpoint; default: the final weights")
    parser.add_argument("--output", metavar="FOLDER", help="default: RUN/export, or RUN/export-N")
    asked = parser.parse_args(args)
    transformers.utils.logging.disable_progress_bar()
    out = export(asked.run, asked.step, asked.output)
    sys.stdout.write(f"{out}: load it with AutoModelForCausalLM.from_pretrained({str(out)!r})\n")
    return 0


def export(path: str | Path, step: int | None = None, output: str | Path | None = None) -> Path:
    """Writes weights, adapters merged into them, tokenizer, generation settings and a model card.

    The generation settings name no length: a ``max_new_tokens`` there would overrule the ``max_length`` that
    lm-evaluation-harness gives, and cut its completions at the length of training.

    Args:
        path: the run directory.
        step: of the checkpoint; ``None`` for the final weights.
        output: a folder that is absent or empty.

    Returns:
        The folder.

    Raises:
        SettingError: no run, no such checkpoint, or an output folder that holds something.
    """
    found, argv = Run.open(path)
    source = _source(found, step)
    out = Path(output) if output else found.path / ("export" if step is None else f"export-{step}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingError(f"{out} holds something already: give another --output")
    recipe = found.settings()
    model, tokenizer = merged(source), AutoTokenizer.from_pretrained(source)
    model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=float(recipe.get("temperature", 1.0)),
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id,
    )
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    (out / CARD).write_text(_card(found, recipe, argv, step), encoding="utf-8")
    return out


def _source(run: Run, step: int | None) -> Path:
    steps = sorted(step_of(path) for path in run.whole_checkpoints())
    source = run.path / ("model" if step is None else f"checkpoint-{step}")
    if step not in steps and not (step is None and source.is_dir()):
        have = ", ".join(map(str, steps)) or "none"
        what = "no final weights yet" if step is None else f"no checkpoint of step {step}"
        raise SettingError(f"{run.path} has {what}; checkpoints there are: {have}. Give one with --step.")
    return source


def _card(run: Run, recipe: dict[str, Any], argv: Sequence[str], step: int | None) -> str:
    versions = run.read("run.json")["versions"]
    settings = "\n".join(f"{name}: {value}" for name, value in recipe.items() if name != "output_dir")
    weights = "the final weights" if step is None else f"checkpoint {step}"
    parts = [
        _HEAD.format(base=_base(recipe)),
        f"# {run.path.name}",
        "A causal language model trained by self-play in the manner of Absolute Zero (arXiv 2505.03335) with azr-env: "
        f"domain `{recipe.get('domain')}`, from `{recipe.get('model')}`; {weights} of the run.",
        "## What it learned",
        _table(run.read("evaluation.json"), step),
        "## How to ask it",
        _LOADING,
        f"Prompts are in the `{recipe.get('style', 'paper')}` style, and completions had at most "
        f"{recipe.get('max_completion_length', 256)} tokens: give `generate` your own `max_new_tokens`. "
        "This one is a deduction task:",
        _example(recipe),
        "## How it was made",
        f"`azr train {' '.join(argv)}`" if argv else "`azr train`",
        f"```yaml\n{settings}\n```",
        ", ".join(f"{name} {version}" for name, version in versions.items()),
        "## What it is not",
        "A research artefact: trained to earn a verifier's reward on one domain, and measured on that domain alone.",
    ]
    return "\n\n".join(parts) + "\n"


def _base(recipe: dict[str, Any]) -> str:
    """The line of the head that names the model this one began as, where it has a public id."""
    model = str(recipe.get("model", EMBEDDED))
    return "" if model == EMBEDDED or Path(model).exists() else f"base_model: {json.dumps(model)}\n"


def _table(found: dict[str, Any] | None, step: int | None) -> str:
    if found is None or not found.get("after"):
        return "The run has not measured it."
    rows = ["| tasks | decoding | mode | base | after (95 % interval) |", "|---|---|---|---|---|"]
    for name, decodings in found["after"].items():
        for decoding, modes in decodings.items():
            for mode, value in modes.items():
                base = found["base"][name][decoding][mode]["accuracy"]
                rows.append(f"| {name} | {decoding} | {mode} | {_share(base)} | {_interval(value)} |")
    note = "" if step is None else "\n\nMeasured at the end of the run, not at this checkpoint."
    return "\n".join(rows) + note


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _interval(value: dict[str, Any]) -> str:
    if value["accuracy"] is None:
        return "-"
    return f"{value['accuracy']:.3f} ({value['low']:.3f} to {value['high']:.3f}), {value['tasks']} tasks"


def _example(recipe: dict[str, Any]) -> str:
    """A prompt and a completion of the run's domain and style."""
    settings: dict[str, Any] = options(str(recipe.get("domain_options", "")))
    domain = registry.domain(str(recipe.get("domain", RunConfig.domain)), **settings)
    style = Style(recipe.get("style", "paper"))
    task = next(task for task in domain.admit(domain.seeds(Mode.DEDUCTION)) if isinstance(task, Task))
    asked = {"prompt": solver_prompt(domain, task, style), "right": completion_of(domain, task.mode, key(task), style)}
    return f"```json\n{json.dumps(asked, indent=1)}\n```"
