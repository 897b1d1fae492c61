"""Where number tokens start in embedding space: on circles, so that sums and quotients are turns.

From random embeddings a model of this size spends most of its warm-up on learning tables of
sums by heart. Here the embedding of n begins as sines and cosines of n at several periods, and
of log |n|; a difference is then a difference of angles. Training is free to change them.
"""

import math
import re

import torch

_PERIODS = (2, 3, 4, 5, 7, 9, 10, 11, 13, 20, 25, 50, 100, 200, 400)
_LOG_PERIODS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
_NUMBER = re.compile(r"(?:\)?(?:\*|//|[+\-%, .]))(-?\d+)\)?")
FEATURES = 2 * (len(_PERIODS) + len(_LOG_PERIODS)) + 1


def features(n: int) -> torch.Tensor:
    """(FEATURES,): sines and cosines of n, of log |n|, and the sign of n; each at most 1 in size."""
    angles = [2 * math.pi * n / period for period in _PERIODS]
    angles += [2 * math.pi * math.log(max(abs(n), 0.5)) / period for period in _LOG_PERIODS]
    waves = [wave(angle) for angle in angles for wave in (math.sin, math.cos)]
    return torch.tensor([*waves, float(n > 0) - float(n < 0)])


def number(token: str) -> int | None:
    """The number in a token such as ` 17`, `+4`, `)//2`, `,3)` or `.05`; None without one."""
    found = _NUMBER.fullmatch(token)
    return int(found[1]) if found else None


def seed_embedding(weight: torch.Tensor, tokens: dict[str, int], scale: float) -> None:
    """Draws an embedding (V, D) anew, in place; the first columns of numbers are their features.

    Args:
        tokens: the vocabulary.
        scale: the size of an entry; large beside the learning rate, so that the circles last.
    """
    with torch.no_grad():
        torch.nn.init.normal_(weight, std=scale)
        for token, index in tokens.items():
            n = number(token)
            if n is not None:
                weight[index, :FEATURES] = features(n) * scale * math.sqrt(2)
