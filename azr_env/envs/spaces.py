"""The space of texts: any string up to a length."""

from __future__ import annotations

import string
from typing import Any, NoReturn

import numpy as np
from gymnasium.spaces import Text
from gymnasium.vector.utils import create_shared_memory

_PRINTABLE = string.ascii_letters + string.digits + string.punctuation + " \n"


class AnyText(Text):
    """Every Python string of at most ``max_length`` characters, the empty one included.

    ``gymnasium.spaces.Text`` knows an alphabet, and one of all Unicode costs hundreds of megabytes. This one checks
    the type and the length only, and samples printable ASCII.

    Args:
        max_length: most characters, >= 1.
        seed: seed of :meth:`sample`.
    """

    def __init__(self, max_length: int, *, seed: int | np.random.Generator | None = None) -> None:
        super().__init__(max_length, min_length=0, charset=_PRINTABLE, seed=seed)

    def contains(self, x: Any) -> bool:
        """Whether ``x`` is a string that is not too long; its characters do not matter."""
        return isinstance(x, str) and len(x) <= self.max_length

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """A random printable string of at most 64 characters. Masks are not supported and must be ``None``."""
        if mask is not None or probability is not None:
            raise ValueError("AnyText.sample takes neither mask nor probability")
        size = int(self.np_random.integers(0, min(64, self.max_length) + 1))
        return "".join(_PRINTABLE[int(k)] for k in self.np_random.integers(len(_PRINTABLE), size=size))

    def __repr__(self) -> str:
        return f"AnyText({self.max_length})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AnyText) and self.max_length == other.max_length

    def __hash__(self) -> int:
        return hash((AnyText, self.max_length))


@create_shared_memory.register(AnyText)
def _no_shared_memory(space: AnyText, n: int = 1, ctx: Any = None) -> NoReturn:
    """Shared memory turns text into zeros without a word; refuse instead."""
    raise TypeError(
        "text observations cannot cross shared memory: pass vector_kwargs={'shared_memory': False} to gym.make_vec, "
        "or use vectorization_mode='sync'"
    )
