"""Flat event tensors: taking, keeping and joining events moves no energy to another event."""

from __future__ import annotations

from collections.abc import Callable

import torch
from hypothesis import given
from hypothesis import strategies as st

from shiftlab.events import Deposits, concatenate
from shiftlab.events.particles import ParticleTable, concatenate_particles

counts_of_events = st.lists(st.integers(0, 5), min_size=1, max_size=8)


def energy_by_key(deposits: Deposits) -> dict[int, list[float]]:
    pairs = zip(deposits.events.key.tolist(), deposits.offsets.tolist(), deposits.offsets.tolist()[1:], strict=False)
    return {key: deposits.energy[start:stop].tolist() for key, start, stop in pairs}


@given(counts_of_events, st.data())
def test_take_moves_every_event_with_its_own_deposits(
    deposits_of: Callable[..., Deposits], counts: list[int], data: st.DataObject
) -> None:
    deposits = deposits_of(counts)
    index = data.draw(st.lists(st.integers(0, len(counts) - 1), unique=True))
    taken = deposits.take(index)
    whole = energy_by_key(deposits)
    assert taken.events.key.tolist() == index
    assert energy_by_key(taken) == {key: whole[key] for key in index}
    assert taken.events.sample == tuple(deposits.events.sample[i] for i in index)


@given(counts_of_events, st.data())
def test_keep_drops_deposits_but_no_event(
    deposits_of: Callable[..., Deposits], counts: list[int], data: st.DataObject
) -> None:
    deposits = deposits_of(counts)
    mask = torch.tensor(
        data.draw(st.lists(st.booleans(), min_size=sum(counts), max_size=sum(counts))), dtype=torch.bool
    )
    kept = deposits.keep(mask)
    assert torch.equal(kept.events.key, deposits.events.key)
    assert kept.energy.tolist() == deposits.energy[mask].tolist()
    assert torch.equal(kept.event_index, deposits.event_index[mask])


@given(counts_of_events, counts_of_events)
def test_concatenation_then_take_gives_the_parts_back(
    deposits_of: Callable[..., Deposits], first: list[int], second: list[int]
) -> None:
    one, two = deposits_of(first), deposits_of(second, first_key=len(first))
    both = concatenate([one, two])
    again = both.take(range(len(first), len(first) + len(second)))
    for name in ("offsets", "position", "energy", "length", "semantic", "particle"):
        assert torch.equal(getattr(again, name), getattr(two, name)), name
    assert energy_by_key(both) == energy_by_key(one) | energy_by_key(two)


def test_a_truth_column_that_one_part_lacks_is_nan_there(small: Deposits, deposits_of: Callable[..., Deposits]) -> None:
    other = deposits_of([1], first_key=9)
    other.events.truth["em_class"] = torch.ones(1, dtype=torch.float64)  # type: ignore[index]
    joined = concatenate([small, other]).events.truth["em_class"]
    assert torch.isnan(joined[:3]).all()
    assert joined[3] == 1.0


def test_a_column_of_particles_that_no_reader_knows_is_kept_and_nan_where_a_part_lacks_it() -> None:
    one = ParticleTable(torch.tensor([0, 1]), {"number": torch.ones(1).double(), "charge": torch.full((1,), -1.0)})
    other = ParticleTable(torch.tensor([0, 2]), {"number": torch.ones(2).double()})
    joined = concatenate_particles([one, other]).columns
    assert list(joined) == ["number", "charge"]
    assert joined["charge"][0] == -1.0
    assert torch.isnan(joined["charge"][1:]).all()


def test_an_event_without_deposits_keeps_its_place(small: Deposits) -> None:
    assert small.event_index.tolist() == [0, 0, 0, 2, 2]
    assert len(small.take([1]).energy) == 0
    assert len(small.take([1])) == 1
