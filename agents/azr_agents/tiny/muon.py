"""Muon: momentum whose matrix is replaced by the nearest orthogonal one (Jordan et al., 2024).

https://kellerjordan.github.io/posts/muon/. PyTorch's own rounds to bfloat16, which
is slow on many processors; this one stays in float32 and treats all matrices of one shape at once.
"""

from collections.abc import Iterable

import torch

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic that drives all singular values towards 1, from the source above."""


def orthogonalise(matrices: torch.Tensor, rounds: int = 5) -> torch.Tensor:
    """(N, R, C) -> (N, R, C) with singular values of about 1, by Newton-Schulz iterations."""
    a, b, c = _COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(rounds):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):  # type: ignore[misc]
    """For the inner matrices of a network; embeddings and vectors belong to AdamW.

    Args:
        parameters: matrices only.
        lr: the typical size of a change, relative to an orthogonal matrix.
        momentum: Nesterov momentum.
        weight_decay: decoupled, scaled by lr.
    """

    def __init__(
        self, parameters: Iterable[torch.Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    def step(self) -> None:
        """One update of every matrix that has a gradient."""
        with torch.no_grad():
            for group in self.param_groups:
                by_shape: dict[torch.Size, list[torch.Tensor]] = {}
                for matrix in group["params"]:
                    if matrix.grad is not None:
                        by_shape.setdefault(matrix.shape, []).append(matrix)
                for same in by_shape.values():
                    self._update(same, group["lr"], group["momentum"], group["weight_decay"])

    def _update(self, same: list[torch.Tensor], lr: float, momentum: float, weight_decay: float) -> None:
        rows, columns = same[0].shape
        changes = orthogonalise(torch.stack([self._direction(matrix, momentum) for matrix in same]))
        for matrix, change in zip(same, changes, strict=True):
            matrix.mul_(1 - lr * weight_decay).add_(change, alpha=-lr * max(1.0, rows / columns) ** 0.5)

    def _direction(self, matrix: torch.Tensor, momentum: float) -> torch.Tensor:
        state = self.state[matrix]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(matrix)
        average = state["momentum"]
        average.lerp_(matrix.grad, 1 - momentum)
        return matrix.grad.lerp(average, momentum)
