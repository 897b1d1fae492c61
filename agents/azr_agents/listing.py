"""``azr list``: what is installed, and what is not."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from textwrap import fill
from typing import Any, Final, cast

import gymnasium as gym

from azr_agents.config import recipes
from azr_env import registry
from azr_env.errors import AzrError

DISTRIBUTION: Final = "azr-env"
PREFIX: Final = "AZR-"
"""What the environments' ids begin with, a plug-in's too."""
EXTRAS: Final[Mapping[str, str]] = {
    "train": "azr train, eval, export, watch and rescore; the policies transformers and embedded",
    "report": "azr report",
    "lora": "LoRA adapters in azr train and azr export",
    "sb3": "the example that learns with Stable-Baselines3",
    "torchrl": "the example that collects rollouts with TorchRL",
    "fuzz": "coverage-guided fuzzing of the parsers",
    "monty": "the executor monty",
    "ray": "the executor ray",
    "verifiers": "the bridge to verifiers",
    "openenv": "the bridge to OpenEnv",
    "test": "azr check, and the conformance kit under pytest",
    "docs": "the documentation site, and running its tour",
    "dev": "the project's own tests, types and formatting",
}
"""What each extra brings."""
_WIDTH = 100


def run(args: Sequence[str]) -> int:
    """Prints what is installed. Returns the exit code.

    Raises:
        DuplicateNameError: two distributions claim one name; the message names both.
    """
    parser = argparse.ArgumentParser(
        prog="azr list",
        description="Lists environments, plug-ins by kind, and recipes, and what a missing extra would bring.",
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object in place of the list")
    asked = parser.parse_args(args)
    found = inventory()
    sys.stdout.write(json.dumps(found, indent=2) + "\n" if asked.json else _text(found))
    return 0


def inventory() -> dict[str, Any]:
    """All of it as JSON data: a list of names per kind, and the extras with the packages that each lacks.

    No plug-in is imported, so one that cannot be imported is listed too.
    """
    found: dict[str, Any] = {"environments": sorted(name for name in gym.registry if name.startswith(PREFIX))}
    for kind in registry.GROUPS:
        plural = "policies" if kind == "policy" else f"{kind}s"
        found[plural] = registry.names(cast(registry.Kind, kind))
    found["recipes"] = list(recipes())
    found["extras"] = extras()
    return found


def extras() -> list[dict[str, Any]]:
    """Every extra that the installed distribution declares: what it brings, what it lacks, and how to get it.

    Raises:
        AzrError: azr-env is not installed, only importable.
    """
    try:
        needs = requires(DISTRIBUTION) or []
    except PackageNotFoundError:
        raise AzrError(f"{DISTRIBUTION} is not installed: python -m pip install -c constraints.txt -e .") from None
    packages: dict[str, list[str]] = {}
    for need in needs:
        extra = re.search(r"""extra\s*==\s*["']([\w.-]+)["']""", need)
        name = re.match(r"[\w.-]+", need)
        if extra and name:
            packages.setdefault(extra[1], []).append(name[0])
    return [
        {
            "name": name,
            "brings": EXTRAS.get(name, ", ".join(its)),
            "missing": [package for package in its if not _installed(package)],
            "install": f"python -m pip install -c constraints.txt -e '.[{name}]'",
        }
        for name, its in sorted(packages.items())
    ]


def _installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def _text(found: Mapping[str, Any]) -> str:
    lines = []
    for kind, names in found.items():
        if kind != "extras":
            lines.append(_row(kind, ", ".join(names) or "none"))
    lines.append(_row("extras", ", ".join(one["name"] for one in found["extras"] if not one["missing"]) or "none"))
    missing = [one for one in found["extras"] if one["missing"]]
    if missing:
        lines += ["", "Extras that are not installed, or not whole:"]
    for one in missing:
        lines += [f"  {one['name']}: {one['brings']} (lacks {', '.join(one['missing'])})", f"    {one['install']}"]
    return "\n".join(lines) + "\n"


def _row(kind: str, text: str) -> str:
    return fill(text, _WIDTH, initial_indent=f"{kind:<14}", subsequent_indent=" " * 14, break_on_hyphens=False)
