"""Which tasks are kept out of what: one hash decides, for every domain.

Three parts: ``heldout`` is for measuring only, ``train`` and ``corpus`` are what self-play may train on, and
``corpus`` alone is what an embedded base was warmed up on. A task is placed by its facts
(:meth:`azr_env.protocols.Domain.facts`): what solving it gives away.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final, Literal

from azr_env.protocols import Domain
from azr_env.types import Task

Part = Literal["heldout", "train", "corpus"]

WHOLE_PRIMES: Final = (53, 83)
"""Primes all of whose pairs are held out, to see whether a skill carries over to a modulus never met."""


def bucket(fact: str) -> int:
    """The bucket of a fact, from 0 to 9, equal on every machine and in every process."""
    return int(sha256(fact.encode("utf-8", "surrogatepass")).hexdigest(), 16) % 10


def part(fact: str) -> Part:
    """The part that a fact belongs to: buckets 0 and 1 held out; 2, 3, 4 train; the rest corpus.

    >>> part("61:17:18")
    'train'
    """
    if fact.startswith(tuple(f"{p}:" for p in WHOLE_PRIMES)):
        return "heldout"
    drawn = bucket(fact)
    if drawn < 2:
        return "heldout"
    return "train" if drawn < 5 else "corpus"


def is_heldout(domain: Domain, task: Task) -> bool:
    """Whether any fact of the task is held out."""
    return any(part(fact) == "heldout" for fact in domain.facts(task))
