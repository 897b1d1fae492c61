"""The critic of PPO: values of states from the policy's own last hidden state.

The value head is a linear layer beside the model and not in it. So checkpoints, exports and vLLM, which take every
parameter of the model, see a plain causal language model, whole or with adapters; the head has an optimiser and a file
of its own. The gradient of the value loss goes on into the model.

Sources: PPO, arXiv 1707.06347; the clipped value loss as in OpenAI's baselines, ppo2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from azr_agents.advantages import Floats, Gather, explained_variance, gae, whitened

VALUE_COEFFICIENT: Final = 0.1
"""Weight of the value loss beside the policy's."""

VALUE_CLIP: Final = 0.2
"""How far a value may move from the old one within a round before its loss stops to fall."""

CRITIC_FILE: Final = "critic.pt"
"""Head and optimiser, beside each checkpoint."""


class Critic:
    """V(state before each token of a completion), by a linear head that begins at 0.

    Args:
        trunk: the model below the language-model head; its output has ``last_hidden_state`` (B, S, H).
        size: H.
        device: of the head.
    """

    def __init__(self, trunk: Any, size: int, device: torch.device) -> None:
        self.head = torch.nn.Linear(size, 1, device=device, dtype=torch.float32)
        torch.nn.init.zeros_(self.head.weight)
        torch.nn.init.zeros_(self.head.bias)
        self._optimizer = torch.optim.Adam(self.head.parameters())
        self._caught: list[torch.Tensor] | None = None
        self._keep = 0
        trunk.register_forward_hook(self._hear)

    @contextmanager
    def listening(self, keep: int) -> Iterator[list[torch.Tensor]]:
        """Collects the values (b, keep) of every pass through the trunk.

        Args:
            keep: the last positions that are completions, as in TRL's ``logits_to_keep``.
        """
        self._caught, self._keep = [], keep
        try:
            yield self._caught
        finally:
            self._caught = None

    def _hear(self, trunk: Any, args: Any, output: Any) -> None:
        if self._caught is None:
            return
        # The token at position t is written in the state at position t - 1.
        states = output.last_hidden_state[:, -self._keep - 1 : -1]
        with torch.autocast(states.device.type, enabled=False):
            self._caught.append(self.head(states.float()).squeeze(-1))

    def step(self, lr: float, most: float, mean: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """One step of the head's optimiser.

        Args:
            lr: learning rate.
            most: norm that the gradient is clipped to; 0 for no clipping.
            mean: mean of a tensor over all processes.
        """
        for parameter in self.head.parameters():
            if parameter.grad is not None:
                parameter.grad = mean(parameter.grad)
        if most > 0:
            torch.nn.utils.clip_grad_norm_(self.head.parameters(), most)
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        self._optimizer.step()
        self._optimizer.zero_grad()

    def save(self, folder: Path) -> None:
        """Writes the file of a checkpoint."""
        torch.save({"head": self.head.state_dict(), "optimizer": self._optimizer.state_dict()}, folder / CRITIC_FILE)

    def load(self, folder: Path) -> None:
        """Reads the file of a checkpoint."""
        state = torch.load(folder / CRITIC_FILE, map_location=self.head.weight.device, weights_only=True)
        self.head.load_state_dict(state["head"])
        self._optimizer.load_state_dict(state["optimizer"])


@dataclass(frozen=True)
class Judgement:
    """What a critic makes of a generation batch.

    Attributes:
        tensors: what the loss reads: ``advantages``, ``old_values``, ``returns`` and ``value_mask`` (B, T), and
            ``value_tokens`` (), the tokens of the mask on all processes.
        means: (B,) mean advantage of each row's tokens.
        explained: share of the variance of the rewards that the values explain, NaN where there is none.
    """

    tensors: dict[str, torch.Tensor]
    means: Floats
    explained: float


def judge(rewards: Sequence[float | None], old: torch.Tensor, tokens: torch.Tensor, gather: Gather) -> Judgement:
    """Generalised advantages, whitened over the tokens of all graded rows; a row without reward takes no part.

    Args:
        rewards: B rewards of this process.
        old: (B, T) values by the policy that wrote the completions.
        tokens: (B, T), 1 for the tokens of a completion.
        gather: concatenates the lists of all processes.
    """
    graded = np.array([reward is not None for reward in rewards])
    mask = tokens.cpu().numpy().astype(bool) & graded[:, None]
    values = old.cpu().numpy().astype(np.float64)
    raw, returns = gae(rewards, values, mask)
    advantages = whitened(raw, mask, gather)
    tensors = {"advantages": advantages, "returns": returns, "value_mask": mask}
    return Judgement(
        {name: torch.from_numpy(array).to(old) for name, array in tensors.items()}
        | {"old_values": old, "value_tokens": torch.tensor(sum(gather([int(mask.sum())])), device=old.device)},
        advantages.sum(1) / np.maximum(mask.sum(1), 1),
        explained_variance(rewards, values, mask, gather),
    )


def value_loss(values: torch.Tensor, inputs: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum of the clipped loss of (B, T) values over the tokens of ``value_mask``, and the number of those tokens."""
    each = clipped_value_loss(values, inputs["old_values"], inputs["returns"])
    return (each * inputs["value_mask"]).sum(), inputs["value_mask"].sum()


def clipped_value_loss(
    values: torch.Tensor, old: torch.Tensor, returns: torch.Tensor, clip: float = VALUE_CLIP
) -> torch.Tensor:
    """max((V - R)^2, (clip(V, old - clip, old + clip) - R)^2) / 2 for each token; all shapes (B, T)."""
    near = torch.clamp(values, old - clip, old + clip)
    return torch.maximum((values - returns) ** 2, (near - returns) ** 2) / 2
