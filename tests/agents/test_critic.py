"""PPO's critic: values of the right states, its losses by hand, and what it keeps."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from azr_agents.advantages import gae, whitened
from azr_agents.critic import CRITIC_FILE, Critic, clipped_value_loss, judge, value_loss

Load = Callable[[], tuple[Any, Any]]


def alone(items: list[Any]) -> list[Any]:
    return items


@pytest.fixture
def model(loaded: Load) -> Any:
    return loaded()[0]


@pytest.fixture
def critic(model: Any) -> Critic:
    """A critic of the model with random weights."""
    critic = Critic(model.base_model, model.config.hidden_size, torch.device("cpu"))
    torch.manual_seed(1)
    torch.nn.init.normal_(critic.head.weight)
    torch.nn.init.normal_(critic.head.bias)
    return critic


def padded(lengths: list[tuple[int, int]]) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Rows of random tokens: prompts padded on the left, completions on the right."""
    generator = torch.Generator().manual_seed(0)
    before, after = max(p for p, _ in lengths), max(c for _, c in lengths)
    ids = torch.randint(3, 40, (len(lengths), before + after), generator=generator)
    mask = torch.zeros_like(ids)
    for row, (prompt, completion) in enumerate(lengths):
        mask[row, before - prompt : before + completion] = 1
    return ids * mask, mask, after


# Values


def test_values_begin_at_zero(model: Any) -> None:
    critic = Critic(model.base_model, model.config.hidden_size, torch.device("cpu"))
    ids, mask, keep = padded([(3, 4), (2, 2)])
    with critic.listening(keep) as caught:
        model(input_ids=ids, attention_mask=mask)
    assert torch.equal(caught[0], torch.zeros(2, 4))


def test_a_value_is_of_the_state_before_its_token(model: Any, critic: Critic) -> None:
    lengths = [(3, 4), (5, 2), (1, 6)]
    ids, mask, keep = padded(lengths)
    with critic.listening(keep) as caught, torch.no_grad():
        model(input_ids=ids, attention_mask=mask)
    (values,) = caught
    assert values.shape == (3, keep)
    for row, (prompt, completion) in enumerate(lengths):
        whole = ids[row][mask[row].bool()]
        for t in range(completion):
            with torch.no_grad():
                state = model.base_model(input_ids=whole[None, : prompt + t]).last_hidden_state[0, -1]
            assert values[row, t].item() == pytest.approx(critic.head(state).item(), abs=1e-4)


def test_only_passes_in_between_are_heard(model: Any, critic: Critic) -> None:
    ids, mask, keep = padded([(3, 4)])
    model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=3)
    with critic.listening(keep) as caught:
        assert caught == []
        model(input_ids=ids, attention_mask=mask)
        model(input_ids=ids, attention_mask=mask)
    model(input_ids=ids, attention_mask=mask)
    assert len(caught) == 2
    with pytest.raises(RuntimeError), critic.listening(keep):
        raise RuntimeError
    model(input_ids=ids, attention_mask=mask)
    with critic.listening(keep) as again:
        pass
    assert again == []


def test_the_head_is_no_part_of_the_model(model: Any, loaded: Load, critic: Critic) -> None:
    assert model.state_dict().keys() == loaded()[0].state_dict().keys()
    heads = {id(parameter) for parameter in critic.head.parameters()}
    assert not heads & {id(parameter) for parameter in model.parameters()}


def test_half_precision_models_have_whole_values(loaded: Load) -> None:
    model = loaded()[0].to(torch.bfloat16)
    critic = Critic(model.base_model, model.config.hidden_size, torch.device("cpu"))
    torch.nn.init.normal_(critic.head.weight)
    ids, mask, keep = padded([(3, 4)])
    with critic.listening(keep) as caught, torch.autocast("cpu", dtype=torch.bfloat16):
        model(input_ids=ids, attention_mask=mask)
    assert caught[0].dtype is torch.float32
    caught[0].sum().backward()
    assert next(model.parameters()).grad is not None, "the value loss trains the model too"


# Losses

number = st.floats(-3, 3, width=32)


@given(st.lists(st.tuples(number, number, number), min_size=1, max_size=20), st.sampled_from([0.1, 0.2, 1.0]))
def test_the_value_loss_by_hand(rows: list[tuple[float, float, float]], clip: float) -> None:
    values, old, returns = (torch.tensor(column, dtype=torch.float64)[None] for column in zip(*rows, strict=True))
    found = clipped_value_loss(values, old, returns, clip)[0].tolist()
    for (v, o, r), loss in zip(rows, found, strict=True):
        near = min(max(v, o - clip), o + clip)
        assert loss == pytest.approx(0.5 * max((v - r) ** 2, (near - r) ** 2), abs=1e-9)


@pytest.mark.parametrize(("value", "moves"), [(0.0, True), (0.15, True), (0.3, False), (-0.3, True), (1.5, True)])
def test_a_value_that_has_moved_far_towards_its_return_stays(value: float, moves: bool) -> None:
    """Old value 0, return 1, clip 0.2. Beyond 1 it overshoots, and that is not clipped where it costs more."""
    v = torch.tensor([[value]], requires_grad=True)
    loss = clipped_value_loss(v, torch.zeros(1, 1), torch.ones(1, 1), 0.2)
    loss.sum().backward()
    assert v.grad is not None
    assert (v.grad.item() != 0) == (moves and abs(value - 1) >= 0.8)


def test_the_sum_is_over_the_mask() -> None:
    inputs = {
        "old_values": torch.zeros(2, 2),
        "returns": torch.tensor([[1.0, 2.0], [3.0, 9.0]]),
        "value_mask": torch.tensor([[1.0, 1.0], [1.0, 0.0]]),
    }
    total, count = value_loss(torch.zeros(2, 2), inputs)
    assert (total.item(), count.item()) == (0.5 * (1 + 4 + 9), 3)


# Judging a batch


def test_judging_by_hand() -> None:
    tokens = torch.tensor([[1, 1, 1], [1, 0, 0], [1, 1, 0], [0, 0, 0]])
    old = torch.tensor([[0.1, 0.2, 0.3], [0.5, 7.0, 7.0], [0.4, 0.4, 7.0], [7.0, 7.0, 7.0]])
    rewards = [1.0, -0.5, None, 1.0]
    found = judge(rewards, old, tokens, alone)
    mask = np.array([[1, 1, 1], [1, 0, 0], [0, 0, 0], [0, 0, 0]], dtype=bool)
    advantages, returns = gae(rewards, old.numpy().astype(float), mask)
    expected = whitened(advantages, mask)
    assert found.tensors["advantages"].numpy() == pytest.approx(expected, abs=1e-6)
    assert found.tensors["returns"].numpy() == pytest.approx(returns, abs=1e-6)
    assert found.tensors["value_mask"].tolist() == mask.astype(float).tolist()
    assert torch.equal(found.tensors["old_values"], old)
    assert found.tensors["value_tokens"].shape == ()
    assert found.tensors["value_tokens"].item() == 4
    assert found.means.tolist() == pytest.approx([expected[0].mean(), expected[1, 0], 0, 0])
    assert all(tensor.dtype is torch.float32 for name, tensor in found.tensors.items() if name != "value_tokens")


def test_a_row_without_reward_takes_no_part() -> None:
    generator = torch.Generator().manual_seed(0)
    old, tokens = torch.randn(4, 5, generator=generator), torch.ones(4, 5, dtype=torch.long)
    with_it = judge([1.0, None, -1.0, 0.5], old, tokens, alone)
    graded = [0, 2, 3]
    without = judge([1.0, -1.0, 0.5], old[graded], tokens[graded], alone)
    for name in ("advantages", "returns", "value_mask"):
        assert torch.equal(with_it.tensors[name][graded], without.tensors[name])
        assert not with_it.tensors[name][1].any()
    assert with_it.explained == without.explained


def test_a_batch_without_any_reward() -> None:
    found = judge([None, None], torch.randn(2, 3), torch.ones(2, 3), alone)
    assert not found.tensors["advantages"].any()
    assert found.means.tolist() == [0, 0]
    assert np.isnan(found.explained)


# The optimiser


def test_steps_follow_the_mean_over_processes_and_the_clipped_norm(critic: Critic) -> None:
    asked: list[torch.Size] = []

    def mean(gradient: torch.Tensor) -> torch.Tensor:
        asked.append(gradient.shape)
        return gradient / 2

    twin = copy.deepcopy(critic.head)
    optimizer = torch.optim.Adam(twin.parameters(), lr=0.1)
    states = torch.randn(7, twin.in_features)
    (critic.head(states) * 100).sum().backward()
    (twin(states) * 50).sum().backward()
    norm = torch.nn.utils.clip_grad_norm_(twin.parameters(), 0.5)
    assert norm > 0.5
    optimizer.step()
    critic.step(0.1, 0.5, mean)
    assert asked == [critic.head.weight.shape, critic.head.bias.shape]
    assert torch.equal(critic.head.weight, twin.weight)
    assert torch.equal(critic.head.bias, twin.bias)
    assert all(parameter.grad is None for parameter in critic.head.parameters())


def test_what_is_kept_goes_on_to_the_bit(model: Any, critic: Critic, tmp_path: Path) -> None:
    def train(one: Critic, steps: range) -> None:
        for step in steps:
            states = torch.randn(5, one.head.in_features, generator=torch.Generator().manual_seed(step))
            one.head(states).square().sum().backward()
            one.step(0.01, 1.0, lambda gradient: gradient)

    train(critic, range(3))
    critic.save(tmp_path)
    assert (tmp_path / CRITIC_FILE).is_file()
    other = Critic(model.base_model, model.config.hidden_size, torch.device("cpu"))
    other.load(tmp_path)
    for one in (critic, other):
        train(one, range(3, 6))
    assert torch.equal(critic.head.weight, other.head.weight)
    assert torch.equal(critic.head.bias, other.head.bias)
