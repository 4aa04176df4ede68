"""What every effect of an argon detector promises on events that nobody chose, on every device that is at hand."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from shiftlab.detector import Cells, Charge, Detector, Effect, Stream
from shiftlab.errors import DataError
from shiftlab.events.deposits import Deposits, EventTable

DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
PLACE = st.floats(0.0, 47.9375, width=32)
DEPOSIT = st.tuples(PLACE, PLACE, PLACE, st.floats(0.0, 30.0, width=32), st.sampled_from([0.0, 0.01, 0.15, 0.3]))
EVENTS = st.lists(st.lists(DEPOSIT, max_size=12), min_size=1, max_size=4)
UNHURRIED = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def deposits_of(events: list[list[tuple[float, ...]]]) -> Deposits:
    """Deposits (x, y, z, energy, length) of a few events, empty ones among them."""
    rows = torch.tensor([row for event in events for row in event], dtype=torch.float32).reshape(-1, 5)
    offsets = torch.zeros(len(events) + 1, dtype=torch.int64)
    offsets[1:] = torch.cumsum(torch.tensor([len(event) for event in events]), 0)
    key = torch.arange(1, len(events) + 1) * 104729**2
    real = torch.ones(len(events), dtype=torch.float64)
    table = EventTable(key, key, real, ("any",) * len(events), {"visible_energy": 0 * real}, real.bool())
    kinds = torch.ones(len(rows), dtype=torch.int8)
    return Deposits(offsets, rows[:, :3], rows[:, 3], rows[:, 4], kinds, kinds, table)


def values(effect: Effect[Any], side: float) -> dict[str, float]:
    """All uncertain parameters one sigma to a side at once (upwards where there is one side only)."""
    found = {}
    for parameter in effect.parameters:
        uncertain = parameter.sigma > 0 and not parameter.choices
        strength = side if parameter.two_sided else abs(side)
        found[parameter.name] = parameter.value(strength) if uncertain else parameter.nominal
    return found


def tensors(events: Charge | Cells) -> dict[str, Tensor]:
    return {f.name: v for f in fields(events) if isinstance(v := getattr(events, f.name), Tensor)}


@pytest.mark.parametrize("device", DEVICES)
@UNHURRIED
@given(events=EVENTS, side=st.sampled_from([-1.0, 1.0]))
def test_any_events_keep_their_table_their_order_and_finite_charge(effect, bare, state, device, events, side):
    before = state(effect, bare.prepare(deposits_of(events).to(device)))
    after = effect.apply(before, values(effect, side), Stream(3, effect.name, 2))
    assert after.table is before.table
    assert bool((after.event[1:] >= after.event[:-1]).all())
    assert bool(torch.isfinite(after.electrons).all())
    for name, tensor in tensors(after).items():
        assert tensor.device.type == device
        old = getattr(before, name)
        assert name in effect.changes or torch.equal(tensor, old), name


@pytest.mark.parametrize("device", DEVICES)
@UNHURRIED
@given(events=EVENTS, side=st.sampled_from([-1.0, 1.0]))
def test_an_event_alone_is_what_it_is_among_others(effect, bare, state, device, events, side):
    """Rows of the last event, alone and behind the others: the same bits on one device."""
    every = deposits_of(events).to(device)
    last = len(events) - 1
    chosen, stream = values(effect, side), Stream(3, effect.name, 2)
    together = effect.apply(state(effect, bare.prepare(every)), chosen, stream)
    alone = effect.apply(state(effect, bare.prepare(every.take([last]))), chosen, stream)
    rows = together.event == last
    names = ("electrons", "position") if isinstance(together, Charge) else ("electrons", "cell", "key")
    for name in names:
        assert torch.equal(getattr(together, name)[rows], getattr(alone, name)), name


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_gives_what_the_cpu_gives(effect, bare, state, deposits):
    """The same rows, and charge to rounding: draws are the same bits, sums and functions may round."""
    chosen, stream = values(effect, 1.0), Stream(3, effect.name, 2)
    here, there = (
        effect.apply(state(effect, bare.prepare(deposits.to(device))), chosen, stream) for device in ("cpu", "cuda")
    )
    torch.testing.assert_close(there.electrons.cpu(), here.electrons, rtol=1e-9, atol=1e-6)
    assert torch.equal(there.event.cpu(), here.event)


def test_what_an_effect_undoes_is_undone(effect, events, stream):
    """invert(apply(x)) is x to rounding, for every effect that says it can be undone."""
    if type(effect).invert is Effect.invert:
        pytest.skip("cannot be undone, and says so")
    for side in (-1.0, 1.0):
        chosen = values(effect, side)
        back = effect.invert(effect.apply(events, chosen, stream), chosen, stream)
        for name in effect.changes:
            now, old = getattr(back, name), getattr(events, name)
            if isinstance(old, Tensor):
                torch.testing.assert_close(now, old, rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("column", ["position", "energy", "length"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_bad_numbers_never_reach_an_effect(small, deposits, column, value):
    """A NaN, infinite or negative energy or length, or a NaN place, is refused with event and deposit."""
    if column == "position" and value == -1.0:
        pytest.skip("outside the detector, which is allowed and counted")
    numbers = getattr(deposits, column).clone()
    numbers[7] = value
    with pytest.raises(DataError, match=rf"deposit 7 \(event 0.*{column}"):
        Detector("bare", small, ()).prepare(replace(deposits, **{column: numbers}))
