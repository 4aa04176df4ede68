"""Made-up and lost voxels: binomial numbers, nested in their fraction."""

from __future__ import annotations

import pytest
import torch

from shiftlab.detector import ConfigError, Detector, Stream
from shifts.pathology.ghost_voxels import GhostVoxels, LostVoxels


@pytest.fixture
def sparse(small, lattice):
    """Cells far from each other and from the edges: 60 events of 5 x 5 in 8 layers."""
    step = torch.arange(20, 150, 26)
    channel = (step[:, None] * 160 + step).flatten()
    cell = (torch.arange(8)[:, None] * small.channels + channel).flatten()
    return lattice(small, cell, torch.arange(1.0, len(cell) + 1.0), events=60)


def ghosts(cells, fraction, reach=10.0):
    return GhostVoxels().apply(cells, {"fraction": fraction, "reach": reach}, Stream(1, "ghost_voxels"))


def lost(cells, fraction):
    return LostVoxels().apply(cells, {"fraction": fraction}, Stream(1, "lost_voxels"))


@pytest.mark.parametrize("fraction", [0.01, 0.3])
def test_numbers_are_binomial(sparse, fraction):
    """Mean n f and variance n f (1 - f) over events; a ghost is missing only where it falls on its own cell."""
    count = 200
    kept = torch.bincount(lost(sparse, fraction).event, minlength=60).double()
    made = torch.bincount(ghosts(sparse, fraction).event, minlength=60).double() - count
    for number, chance in ((count - kept, fraction), (made, fraction * (1 - 1 / 21**2))):
        variance = count * chance * (1 - chance)
        assert float(number.mean()) == pytest.approx(count * chance, abs=4 * (variance / 60) ** 0.5)
        assert float(number.var()) == pytest.approx(variance, rel=4 * (2 / 60) ** 0.5)


def test_a_ghost_has_the_charge_of_a_cell_nearby_in_its_layer(sparse):
    """All cells stay as they were; each ghost has one cell of the same charge, layer and event within reach."""
    after = ghosts(sparse, 0.2)
    old = torch.isin(after.address, sparse.address)
    assert torch.equal(after.electrons[old], sparse.electrons)
    number = after.electrons[~old].to(torch.int64) - 1
    parent = sparse.cell[:200][number]
    assert torch.equal(parent // 25600, after.layer[~old])
    for stride in (1, 160):
        away = after.cell[~old] // stride % 160 - parent // stride % 160
        assert int(away.abs().max()) == 10
        assert abs(float(away.double().mean())) < 4 * 6.1 / len(away) ** 0.5


def test_fractions_nest(sparse):
    few, many = (ghosts(sparse, fraction) for fraction in (0.05, 0.2))
    assert bool(torch.isin(few.address, many.address).all())
    assert bool(torch.isin(lost(sparse, 0.2).address, lost(sparse, 0.05).address).all())
    assert len(lost(sparse, 1.0).cell) == 0


def test_ghosts_stay_on_the_anode_and_off_recorded_cells(small, lattice):
    """A full layer has no room for a ghost; at a corner a quarter of the places is left."""
    full = lattice(small, torch.arange(small.channels), 1.0)
    assert len(ghosts(full, 1.0).cell) == small.channels
    corner = lattice(small, torch.tensor([0]), 1.0, events=400)
    after = ghosts(corner, 1.0)
    assert bool((after.layer == 0).all())
    assert len(after.cell) - 400 == pytest.approx(400 * 120 / 441, abs=40)


def test_reach_is_a_whole_number_of_pixels():
    with pytest.raises(ConfigError, match=r"reach = 2\.5"):
        Detector.from_config({"effects": {"ghost_voxels": {"reach": 2.5}}})
