"""Diffusion: charge is shared exactly, with the width that the drift gives."""

from __future__ import annotations

import csv
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from shiftlab.detector import Geometry
from shiftlab.detector.footprint import CHARGE_UNIT, SMALLEST_SHARE, WEIGHT_UNIT, _groups, _whole_shares
from shiftlab.detector.footprint import footprint as share
from shiftlab.detector.sharing import axis_shares, diffusion_width
from shiftlab.detector.state import Charge
from shiftlab.events.deposits import EventTable

GEOMETRY = Geometry(size=(48.0, 48.0, 48.0))
SBND = (4.0, 8.8)
COORDINATE = st.floats(0.0, 47.96875, width=32)


def footprint(position, event, geometry, diffusion):
    """Return the footprint of deposits at these places in the nominal argon."""
    whole = torch.zeros(1, dtype=torch.int64)
    table = EventTable(whole, whole, whole.double(), ("any",), {}, whole.bool())
    real = torch.zeros(len(position), dtype=torch.float64)
    return share(Charge(geometry, table, event, position, real, real, real, geometry.medium(diffusion)), geometry)


def share_out(points, diffusion=SBND):
    position = torch.tensor(points, dtype=torch.float32).reshape(-1, 3)
    return footprint(position, torch.zeros(len(position), dtype=torch.int64), GEOMETRY, diffusion)


@given(st.lists(st.tuples(COORDINATE, COORDINATE, COORDINATE), min_size=1, max_size=30))
def test_shares_add_up_to_one_exactly(points):
    """Whole units: no charge is lost or made, at the faces of the volume either."""
    shares, event, cell = share_out(points)
    total = torch.zeros(len(points), dtype=torch.int64).index_add_(0, shares.deposit, shares.share)
    assert total.tolist() == [round(1 / WEIGHT_UNIT)] * len(points)
    assert bool((shares.share > 0).all())
    assert bool((cell[1:] > cell[:-1]).all())
    assert bool(((cell >= 0) & (cell < GEOMETRY.cells)).all())
    assert not bool(event.any())


@given(st.floats(0.0, 1.0), st.floats(0.01, 0.5))
def test_one_axis_is_the_integral_of_a_gaussian(fraction, sigma):
    """Shares of three cells are normal probabilities, as scipy gives them."""
    found = axis_shares(torch.tensor([fraction], dtype=torch.float64), torch.tensor([sigma], dtype=torch.float64))[0]
    edges = stats.norm.cdf([-1, 0, 1, 2], loc=fraction, scale=sigma)
    expected = (edges[1:] - edges[:-1]) / (edges[3] - edges[0])
    assert found.tolist() == pytest.approx(expected.tolist(), abs=1e-9)


def test_widths_meet_larndsim():
    """sqrt(2 D t) of 2000 drifts, along and across the field."""
    path = Path(__file__).parent.parent / "data" / "larndsim_quench_drift.csv"
    with path.open(encoding="utf-8") as stream:
        table = list(csv.DictReader(line for line in stream if not line.startswith("#")))
    time = torch.tensor([float(row["drift_distance"]) for row in table], dtype=torch.float64) / 0.1596452482154287
    for name, constant in (("long_diff", 4.0), ("tran_diff", 8.8)):
        expected = torch.tensor([float(row[name]) for row in table], dtype=torch.float64)
        torch.testing.assert_close(diffusion_width(constant, time), expected, rtol=1e-4, atol=1e-6)


def test_a_deposit_at_the_anode_stays_in_its_cell():
    shares, _, cell = share_out([[0.0, 10.05, 10.05]])
    assert cell.tolist() == GEOMETRY.cell(torch.tensor([[0.0, 10.05, 10.05]])).tolist()
    assert shares.share.tolist() == [round(1 / WEIGHT_UNIT)]


def test_more_drift_shares_more():
    """The cell of a deposit keeps less of its charge, the farther it drifts."""
    kept = []
    for x in (0.15, 24.15, 36.15, 47.85):
        shares, _, cell = share_out([[x, 10.05, 10.05]])
        kept.append(int(shares.share[cell == GEOMETRY.cell(torch.tensor([[x, 10.05, 10.05]]))]))
    assert kept == sorted(kept, reverse=True)
    assert len(set(kept)) == 4


def test_charge_is_collected_exactly_and_in_any_order():
    """The sum over cells is the sum over deposits to the bit; deposits in another order give the same bits."""
    generator = torch.Generator().manual_seed(0)
    position = 10 + 3 * torch.rand(500, 3, generator=generator)
    electrons = 1e5 * torch.rand(500, dtype=torch.float64, generator=generator)
    event = torch.zeros(500, dtype=torch.int64)
    shares, _, cell = footprint(position, event, GEOMETRY, SBND)
    total = shares.collect(electrons)
    assert float(total.sum()) == float((torch.round(electrons / CHARGE_UNIT) * CHARGE_UNIT).sum())
    order = torch.randperm(500, generator=generator)
    turned, _, other = footprint(position[order], event, GEOMETRY, SBND)
    assert torch.equal(cell, other)
    assert torch.equal(total, turned.collect(electrons[order]))


def test_gradients_flow_through_the_same_sum():
    """The float path gives the fixed-point numbers to rounding, and each electron counts once."""
    shares, _, _ = share_out([[30.0, 10, 10], [31.0, 10, 10], [31.1, 10, 10]])
    electrons = torch.tensor([1e4, 2e4, 3e4], dtype=torch.float64, requires_grad=True)
    total = shares.collect(electrons)
    torch.testing.assert_close(total.detach(), shares.collect(electrons.detach()), rtol=0, atol=1e-3)
    total.sum().backward()
    assert electrons.grad.tolist() == pytest.approx([1.0, 1.0, 1.0], abs=1e-12)


def test_no_deposits_give_no_cells():
    shares, event, cell = share_out([])
    assert len(event) == len(cell) == len(shares.collect(torch.zeros(0, dtype=torch.float64))) == 0


def in_whole_numbers(cloud: torch.Tensor) -> torch.Tensor:
    """Round shares (n, deposit) to units with integers alone, as the definition says."""
    unit = round(1 / WEIGHT_UNIT)
    found = []
    for shares in cloud.T.tolist():
        whole = [round(share * unit) if share >= SMALLEST_SHARE else 0 for share in shares]
        total = sum(whole)
        scaled = [one * unit // max(total, 1) for one in whole]
        scaled[scaled.index(max(scaled))] += unit - sum(scaled) if total else 0
        found.append(scaled)
    return torch.tensor(found).T


@given(st.lists(st.lists(st.floats(0.0, 1.0), min_size=5, max_size=5), min_size=1, max_size=20))
def test_quotients_in_floating_point_are_those_of_integers(shares):
    """Rounding, scaling and the place of the remainder are exact, equal shares and empty ones included."""
    cloud = torch.tensor(shares, dtype=torch.float64).T
    assert torch.equal(_whole_shares(cloud[None])[0].to(torch.int64), in_whole_numbers(cloud))


@given(st.lists(st.integers(0, 30_000), max_size=30))
def test_groups_hold_whole_events_and_all_of_them(counts):
    """Sorting group by group gives the order of all cells, since no event is in two groups."""
    event = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts, dtype=torch.int64))
    groups = _groups(event)
    assert groups[0][0] == 0
    assert groups[-1][1] == len(event)
    for (_, end), (first, _) in pairwise(groups):
        assert end == first
        assert event[end - 1] != event[first]
