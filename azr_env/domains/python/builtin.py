"""Settings of the built-in generator, and drafts made with it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from azr_env import values
from azr_env.domains.python.generator import random_input, random_program
from azr_env.errors import SettingError
from azr_env.types import Draft, Mode

TYPES = ("int", "str", "list")
MAX_DIFFICULTY = 12
FAMILIES = ("chain", "affine", "statements")
_KNOWN = "types=int+str+list, difficulty=LOW-HIGH (1 to 12), family=chain|affine|statements, induction=FAMILY"


def draft(mode: Mode, rng: np.random.Generator, settings: Mapping[str, str], inputs: int) -> Draft:
    """A random program with one input, or with ``inputs`` different ones in induction.

    Args:
        settings: ``types`` (joined by +, default all), ``difficulty`` (number of operations, one number or a range,
            default 2-4), ``family`` (default ``chain``; ``affine`` for f = g(x)*a+b, ``statements`` for several
            statements) and ``induction``, the family of induction tasks (default: ``family``).

    Raises:
        SettingError: an unknown or impossible setting; the message lists those that exist.
    """
    unknown = sorted(set(settings) - {"types", "difficulty", "family", "induction"})
    if unknown:
        raise SettingError(f"builtin setting {unknown[0]!r} is unknown; there are {_KNOWN}")
    types = _types(settings.get("types", "+".join(TYPES)))
    low, high = _range(settings.get("difficulty", "2-4"))
    usual = _family(settings.get("family", "chain"))
    of_induction = _family(settings.get("induction", usual))
    family = of_induction if mode is Mode.INDUCTION else usual
    program = random_program(
        rng,
        types=types,
        difficulty=int(rng.integers(low, high + 1)),
        statements=family == "statements",
        family="affine" if family == "affine" else "chain",
    )
    wanted = inputs if mode is Mode.INDUCTION else 1
    texts: dict[str, None] = {}
    for _ in range(200 * wanted):
        texts[values.render(random_input(rng, program.parameter))] = None
        if len(texts) == wanted:
            break
    return Draft(mode, program.source, tuple(texts))


def _family(text: str) -> str:
    if text not in FAMILIES:
        raise SettingError(f"family={text!r} is unknown; there are {_KNOWN}")
    return text


def _types(text: str) -> tuple[str, ...]:
    types = tuple(text.split("+"))
    if not set(types) <= set(TYPES):
        raise SettingError(f"types={text!r}: join some of {', '.join(TYPES)} by +")
    return types


def _range(text: str) -> tuple[int, int]:
    low, _, high = text.partition("-")
    try:
        bounds = int(low), int(high or low)
    except ValueError:
        bounds = 0, 0
    if not 1 <= bounds[0] <= bounds[1] <= MAX_DIFFICULTY:
        raise SettingError(f"difficulty={text!r}: give a number or LOW-HIGH within 1 to {MAX_DIFFICULTY}")
    return bounds
