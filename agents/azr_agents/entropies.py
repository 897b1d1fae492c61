"""Entropy of the policy's tokens in each cell, over the batches of a round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import torch

ALL: Final = "all"
"""Stands for the cells together."""


class CellEntropies:
    """Sums what the passes of a round give, so that one that comes in several batches counts as one.

    Args:
        cells: names, in one order on all processes.
        device: of the sums.
        total: sums a tensor over all processes.
    """

    def __init__(
        self, cells: Sequence[str], device: torch.device, total: Callable[[torch.Tensor], torch.Tensor]
    ) -> None:
        self.cells = tuple(cells)
        self._total = total
        self._sums = torch.zeros(len(self.cells), 2, device=device)

    def places(self, cells: Sequence[str]) -> torch.Tensor:
        """The place (B,) of each row's cell, for :meth:`add`.

        Raises:
            ValueError: a cell that was not named at the beginning.
        """
        unknown = sorted(set(cells) - set(self.cells))
        if unknown:
            raise ValueError(f"no cell {unknown[0]!r}; the cells are {', '.join(self.cells)}")
        return torch.tensor([self.cells.index(cell) for cell in cells], device=self._sums.device)

    def add(self, places: torch.Tensor, entropies: torch.Tensor, mask: torch.Tensor) -> None:
        """Takes in a batch.

        Args:
            places: (B,) of :meth:`places`.
            entropies: (B, T) in nats.
            mask: (B, T), 1 for tokens of the completion.
        """
        rows = torch.stack([(entropies.detach() * mask).sum(1), mask.sum(1)], 1)
        self._sums.index_add_(0, places, rows.to(self._sums))

    def take(self) -> dict[str, float]:
        """Mean entropy of a token since the last call, in nats, of :data:`ALL` and of each cell that had one.

        Every process calls it.
        """
        sums = self._total(self._sums).tolist()
        self._sums.zero_()
        whole = [sum(column) for column in zip(*sums, strict=True)]
        return {
            cell: total / count
            for cell, (total, count) in zip((ALL, *self.cells), [whole, *sums], strict=True)
            if count
        }
