"""Which tasks are kept out of what: one hash decides, for every domain.

A task is named by a *key*, a string that is equal for two tasks exactly when solving one
gives the other away:

- prime inversion: `f"{p}:{min(x, y)}:{max(x, y)}"`, because `(p, x)` in deduction and
  `(p, y)` in abduction are the same fact;
- python: the program after `ast.unparse(ast.parse(source))`.

Three parts: `heldout` is for measuring only, `train` is what self-play trains on, and
`corpus` is what a base was warmed up on.
"""

from hashlib import sha256
from typing import Literal

Part = Literal["heldout", "train", "corpus"]


def bucket(key: str) -> int:
    """The bucket of `key`, from 0 to 9, equal on every machine and in every process."""
    return int(sha256(key.encode()).hexdigest(), 16) % 10


def part(key: str) -> Part:
    """The part that `key` belongs to: buckets 0, 1 held out; 2, 3, 4 train; the rest corpus.

    >>> part("61:17:18")
    'corpus'
    """
    drawn = bucket(key)
    if drawn < 2:
        return "heldout"
    return "train" if drawn < 5 else "corpus"
