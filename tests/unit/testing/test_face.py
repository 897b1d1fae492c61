"""`azr_env.testing` gives its names when they are asked for, and loads nothing before."""

from __future__ import annotations

import subprocess
import sys

import pytest

from azr_env import testing


@pytest.mark.parametrize("name", testing.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(testing, name).__module__.startswith("azr_env.testing.")
    assert getattr(testing, name).__doc__


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        testing.Nothing  # noqa: B018


def test_importing_it_needs_neither_pytest_nor_hypothesis() -> None:
    code = "import sys, azr_env.testing; print({'pytest', 'hypothesis'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
