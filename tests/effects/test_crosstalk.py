"""Cross-talk: the kernel [f, 1 - 2f, f], charge kept, and an inverse below f = 1/4."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftlab.detector import ConfigError, Detector, Geometry, Stream, WireGeometry
from shifts.readout.crosstalk import Crosstalk, coupling

STREAM = Stream(1, "crosstalk")
PANEL = Geometry(size=(0.6, 3.0, 4.5))


def dense(cells) -> torch.Tensor:
    full = torch.zeros(cells.geometry.cells, dtype=torch.float64)
    full[cells.cell] = cells.electrons
    return full.reshape(cells.geometry.shape)


def couple(cells, fraction):
    return Crosstalk().apply(cells, {"fraction": fraction}, STREAM)


def test_one_pixel_shows_the_kernel(lattice):
    """Away from edges: f to either neighbour along y and along z, f^2 to the corners, all charge kept."""
    _, ny, nz = PANEL.shape
    cell = torch.tensor([(0 * ny + 5) * nz + 7])
    image = dense(couple(lattice(PANEL, cell, 10_000.0), 0.02))[0]
    kernel = torch.tensor([0.02, 0.96, 0.02], dtype=torch.float64)
    torch.testing.assert_close(image[4:7, 6:9], 10_000.0 * kernel[:, None] * kernel, rtol=1e-12, atol=0)
    assert int((image != 0).sum()) == 9


@settings(max_examples=40, deadline=None)
@given(
    charge=st.lists(st.floats(-5e3, 2e5, allow_subnormal=False), min_size=1, max_size=40),
    fraction=st.floats(1e-4, 0.2),
    seed=st.integers(0, 1000),
)
def test_charge_is_kept_and_the_matrix_gives_the_same(lattice, charge, fraction, seed):
    """Any charge anywhere, edges too: the sum stays, and rows of pixels follow the coupling matrix."""
    cell = torch.randperm(PANEL.cells, generator=torch.Generator().manual_seed(seed))[: len(charge)].sort().values
    cells = lattice(PANEL, cell, torch.tensor(charge, dtype=torch.float64))
    after = couple(cells, fraction)
    scale = max(float(cells.electrons.abs().sum()), 1.0)
    assert float(after.electrons.sum()) == pytest.approx(float(cells.electrons.sum()), abs=1e-12 * scale)
    across, along = (coupling(n, fraction) for n in PANEL.shape[1:])
    torch.testing.assert_close(dense(after), across @ dense(cells) @ along.T, rtol=1e-9, atol=1e-12 * scale)
    assert bool((after.address[1:] > after.address[:-1]).all())


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.2])
def test_it_can_be_undone_below_a_quarter(lattice, fraction):
    """Solving with the matrices gives the collected charge back; at 1/4 the matrix becomes singular."""
    generator = torch.Generator().manual_seed(2)
    cells = lattice(PANEL, torch.arange(PANEL.cells), torch.rand(PANEL.cells, generator=generator) * 1e4)
    across, along = (coupling(n, fraction) for n in PANEL.shape[1:])
    seen = dense(couple(cells, fraction))
    undone = torch.linalg.solve(along, torch.linalg.solve(across, seen).transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(undone, dense(cells), rtol=1e-8, atol=1e-6)
    some = lattice(PANEL, torch.tensor([3, 40, 151, 290]), 500.0, events=3)
    values = {"fraction": torch.tensor([fraction, 0.0, 0.03], dtype=torch.float64)}
    back = Crosstalk().invert(Crosstalk().apply(some, values, STREAM), values, STREAM)
    assert torch.equal(back.address, some.address)
    torch.testing.assert_close(back.electrons, some.electrons, rtol=1e-9, atol=1e-6)
    assert float(torch.linalg.eigvalsh(coupling(60, fraction)).min()) > 1 - 4 * fraction
    assert float(torch.linalg.eigvalsh(coupling(400, 0.25)).min()) < 1e-4


def test_kernels_convolve():
    """f then g is the kernel [fg, f + g - 4fg, ...]: the two commute, and are their product away from the ends."""
    first, second = coupling(9, 0.02), coupling(9, 0.05)
    both = first @ second
    torch.testing.assert_close(both, second @ first, rtol=1e-14, atol=1e-16)
    f, g = 0.02, 0.05
    expected = [f * g, f + g - 4 * f * g, 1 - 2 * (f + g) + 6 * f * g, f + g - 4 * f * g, f * g]
    torch.testing.assert_close(both[4, 2:7], torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=0)
    torch.testing.assert_close(both.sum(dim=0), torch.ones(9, dtype=torch.float64), rtol=1e-14, atol=0)


def test_events_and_drift_layers_do_not_mix(lattice):
    """The last pixel of an anode row, layer or event has no neighbour in the next one."""
    _, ny, nz = PANEL.shape
    last = torch.tensor([nz - 1, ny * nz - 1])
    after = couple(lattice(PANEL, last, 1000.0, events=2), 0.1)
    assert bool((after.layer == 0).all())
    place = torch.stack([after.cell // nz % ny, after.cell % nz], dim=1)
    distance = torch.cdist(place.double(), torch.tensor([[0.0, nz - 1], [ny - 1, nz - 1]], dtype=torch.float64))
    assert bool((distance.min(dim=1).values < 1.5).all())
    assert float(after.electrons.sum()) == pytest.approx(4000.0, rel=1e-12)


def test_wires_couple_within_their_plane(lattice):
    """The last wire that a plane really has couples to the one before only; nothing goes to another plane."""
    geometry = WireGeometry(size=(24.0, 24.0, 36.0))
    wires = geometry.shape[2]
    channel = torch.tensor([plane * wires + count - 1 for plane, count in enumerate(geometry.wires)])
    cell = 3 * geometry.channels + channel
    after = couple(lattice(geometry, cell, 1000.0), 0.1)
    assert torch.equal(after.cell, torch.stack([cell - 1, cell], dim=1).flatten())
    expected = torch.tensor([100.0, 900.0] * geometry.planes, dtype=torch.float64)
    torch.testing.assert_close(after.electrons, expected, rtol=1e-12, atol=0)


def test_a_fraction_that_could_not_be_undone_is_refused():
    with pytest.raises(ConfigError, match=r"fraction.*outside \[0, 0.2\]"):
        Detector.from_config({"effects": {"crosstalk": {"fraction": 0.25}}})
