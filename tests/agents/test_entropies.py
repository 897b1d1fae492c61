"""Entropies by cell: means over tokens, however the rows of a round are cut into batches and spread over processes."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from azr_agents.entropies import ALL, CellEntropies

CELLS = ("proposer/deduction", "solver/deduction", "solver/induction")
CPU = torch.device("cpu")


def alone(sums: torch.Tensor) -> torch.Tensor:
    return sums


@given(st.data())
def test_the_mean_of_a_cell_is_that_of_its_tokens(data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.tuples(st.sampled_from(CELLS), st.integers(0, 4)), min_size=1, max_size=12))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    entropies = torch.rand(len(rows), 4, generator=generator)
    mask = torch.tensor([[1] * length + [0] * (4 - length) for _, length in rows])
    cells = [cell for cell, _ in rows]
    found = CellEntropies(CELLS, CPU, alone)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(rows)), max_size=3)) | {0, len(rows)})
    for begin, end in pairwise(cuts):
        found.add(found.places(cells[begin:end]), entropies[begin:end], mask[begin:end])
    tokens: dict[str, list[float]] = {}
    for cell, values, length in zip(cells, entropies.tolist(), (n for _, n in rows), strict=True):
        tokens.setdefault(cell, []).extend(values[:length])
    tokens[ALL] = [value for values in tokens.values() for value in values]
    due = {cell: sum(values) / len(values) for cell, values in tokens.items() if values}
    assert found.take() == pytest.approx(due, abs=1e-5)
    assert found.take() == {}


def test_processes_are_summed_and_no_graph_is_kept() -> None:
    found = CellEntropies(CELLS, CPU, lambda sums: sums + torch.tensor([[0.0, 0.0], [3.0, 1.0], [0.0, 0.0]]))
    values = torch.tensor([[1.0, 9.0]], requires_grad=True)
    found.add(found.places(["solver/deduction"]), values, torch.tensor([[1, 0]]))
    assert found.take() == {ALL: 2.0, "solver/deduction": 2.0}


def test_an_unknown_cell_is_refused() -> None:
    with pytest.raises(ValueError, match="solver/abduction"):
        CellEntropies(CELLS, CPU, alone).places(["solver/abduction"])
