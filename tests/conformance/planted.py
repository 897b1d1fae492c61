"""Runs the kit on plug-ins with planted defects, in a pytest of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest


def defects(module: ModuleType) -> list[Any]:
    """The kit classes of a module that name the check which must fail them, as parameters of a test."""
    classes = [value for value in vars(module).values() if isinstance(value, type) and "caught_by" in vars(value)]
    return [pytest.param(found, id=found.__name__) for found in classes]


def run(module: ModuleType, folder: Path) -> dict[str, tuple[str, str]]:
    """For each such class: how the named check ended (passed, failed, skipped, error), and its message."""
    report = folder / "report.xml"
    wanted = [f"{module.__file__}::{p.values[0].__name__}::{p.values[0].caught_by}" for p in defects(module)]
    command = [sys.executable, "-m", "pytest", "-q", "-o", "addopts=", "-p", "no:cacheprovider", f"--junitxml={report}"]
    done = subprocess.run([*command, *wanted], capture_output=True, text=True, check=False)
    assert report.is_file(), done.stdout + done.stderr
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):
        ends = [(child.tag, child.get("message", "")) for child in case if child.tag in ("failure", "error", "skipped")]
        kind, message = ends[0] if ends else ("passed", "")
        found[case.get("classname", "").rpartition(".")[2]] = ("failed" if kind == "failure" else kind, message)
    return found
