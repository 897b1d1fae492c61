"""What a corpus for a tiny base is made of: rows to learn from and questions to examine with.

Every corpus draws its rows from the same four kinds, by `draw_kind`:

- `worked`: a prompt behind the marker line `worked`, answered in steps inside <think>...</think>;
- `plain`: the prompt alone, answered at once, except for a small share in steps;
- `drill`: a few steps from a random middle of a worked answer, since chains memorise their start; more of
  them early on;
- `propose`: a proposal, with one reference or none.

Only plain and proposal prompts are used after the warm-up.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

import numpy as np

from azr_agents.tiny.tokenizer import END_THINK, THINK

MODES = ("deduction", "abduction", "induction")
MARKER = "worked\n"
DRILL = "drill\n"

Kind = Literal["worked", "plain", "drill", "propose"]
_THOUGHT = re.compile(re.escape(THINK) + r".*?" + re.escape(END_THINK) + r"(.*)", re.DOTALL)
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Row:
    """One row of a corpus; the loss is taken over `completion` and the end-of-text token."""

    prompt: str
    completion: str


@dataclass(frozen=True)
class Question:
    """A held-out task in one mode; `accepts` grades the bare answer."""

    mode: str
    prompt: str
    accepts: Callable[[str], bool]


class Corpus(Protocol):
    """What the warm-up needs to know of a domain.

    Attributes:
        name: of the domain, and of the folder of its base.
        longest: new tokens that the longest worked completion may take.
    """

    name: str
    longest: int

    def row(self, rng: np.random.Generator, progress: float) -> Row:
        """The next row; `progress` runs from 0 to 1 over the warm-up, for a curriculum."""
        ...

    def questions(self, mode: str, count: int, seed: int) -> list[Question]:
        """Up to `count` different held-out questions."""
        ...

    def proposer_prompts(self, mode: str, count: int, seed: int) -> list[str]:
        """`count` prompts with one reference each."""
        ...

    def proposes(self, mode: str, completion: str) -> bool:
        """Whether a proposal is well formed and a task of the domain."""
        ...


def pick(rng: np.random.Generator, items: "list[_Item] | tuple[_Item, ...]") -> _Item:
    """One item, uniformly. `Generator.choice` would turn it into a NumPy value, slowly."""
    return items[int(rng.integers(len(items)))]


def draw_kind(rng: np.random.Generator, progress: float) -> Kind:
    """The kind of the next row: 8 % proposals, 20 % drills (at first 30 %), 18 % plain, the rest worked."""
    draw = rng.random()
    if draw < 0.08:
        return "propose"
    if draw < (0.38 if progress < 0.15 else 0.28):
        return "drill"
    return "plain" if draw > 0.82 else "worked"


def worked(steps: str, answer: str) -> str:
    """A completion that shows its steps."""
    return f"{THINK}{steps}{END_THINK}{answer}"


def bare(completion: str) -> str | None:
    """The answer of a completion without its thinking; None when the thinking never ends."""
    if THINK not in completion and END_THINK not in completion:
        return completion
    found = _THOUGHT.fullmatch(completion)
    return found[1] if found else None
