"""Coherent noise: one fluctuation for all members of a board and layer, none in common between boards."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import special

from shiftlab.detector import ConfigError, Detector, Geometry, Stream, effects
from shifts.readout.coherent_noise import CoherentNoise
from shifts.readout.noise import Noise

STREAM = Stream(1, "coherent_noise")


@pytest.fixture(scope="module")
def panel() -> Geometry:
    """An anode of 4 x 4 chips and 16 layers."""
    return Geometry(size=(4.8, 9.6, 9.6))


def by_board(cells, electrons):
    """Return (event, layer, board, member)."""
    board = cells.geometry.chip_of(cells.channel)
    order = torch.argsort((cells.event * cells.geometry.shape[0] + cells.layer) * 16 + board, stable=True)
    return electrons[order].reshape(len(cells.table), cells.geometry.shape[0], 16, 64)


@pytest.fixture(scope="module")
def added(panel, lattice):
    cells = lattice(panel, torch.arange(panel.cells), 0.0, events=400)
    after = CoherentNoise().apply(cells, {"rms": 100.0}, STREAM)
    return by_board(cells, after.electrons)


def test_covariance_is_the_variance_within_a_board_and_nothing_between_boards(added):
    """Over 6400 draws: cov of two members of a board = sigma^2; of two boards, layers or events 0, within 4 errors."""
    draws = added.reshape(-1, 16, 64)
    error = 100.0**2 / len(draws) ** 0.5
    covariance = torch.cov(torch.cat([draws[:, 3, [0, 63]], draws[:, [4, 7, 11], 5]], dim=1).T)
    expected = torch.diag(torch.full((5,), 1e4, dtype=torch.float64))
    expected[0, 1] = expected[1, 0] = 1e4
    assert float((covariance - expected).abs().max()) < 4 * math.sqrt(2) * error
    times = added[:, :, 0, 0]
    assert float((times[:, 1:] * times[:, :-1]).mean().abs()) < 4 * 1e4 / times[:, 1:].numel() ** 0.5
    assert float((added[1:, :, 0, 0] * added[:-1, :, 0, 0]).mean().abs()) < 4 * 1e4 / times.numel() ** 0.5
    assert abs(float(draws[:, :, 0].mean())) < 4 * 100.0 / draws[:, :, 0].numel() ** 0.5


def test_median_subtraction_removes_it(added):
    """Every member of a board has the same fluctuation, so that the median of the members is the noise itself."""
    assert float((added - added.median(dim=3, keepdim=True).values).abs().max()) == 0.0


def test_median_subtraction_leaves_the_intrinsic_noise(panel, lattice):
    """With 500 e of intrinsic noise, the variance that coherent noise adds is gone after the subtraction."""
    cells = lattice(panel, torch.arange(panel.cells), 0.0, events=40)
    quiet = Noise().apply(cells, {"enc": 500.0}, Stream(1, "noise"))
    loud = CoherentNoise().apply(quiet, {"rms": 400.0}, STREAM)
    spread = float(loud.electrons.std())
    assert spread == pytest.approx(math.hypot(500.0, 400.0), rel=0.05)
    left = [by_board(cells, part.electrons) for part in (quiet, loud)]
    left = [part - part.median(dim=3, keepdim=True).values for part in left]
    torch.testing.assert_close(left[1], left[0], rtol=0, atol=1e-9)


def test_it_is_the_same_for_any_charge_and_grows_with_its_size(panel, lattice):
    """The fluctuation belongs to board, layer and event; variances of two independent ones would add."""
    cells = lattice(panel, torch.arange(0, panel.cells, 7), 0.0)
    charged = cells.with_electrons(torch.arange(len(cells.cell), dtype=torch.float64))
    one, two = (CoherentNoise().apply(part, {"rms": 100.0}, STREAM) for part in (cells, charged))
    torch.testing.assert_close(two.electrons - charged.electrons, one.electrons, rtol=0, atol=1e-9)
    double = CoherentNoise().apply(cells, {"rms": 200.0}, STREAM)
    torch.testing.assert_close(double.electrons, 2 * one.electrons, rtol=1e-12, atol=0)


def test_empty_cells_that_the_two_noises_lift_above_threshold_are_all_there(small, lattice):
    """Occupancy of empty events is that of one normal of the summed variance: no lifted cell is forgotten."""
    names = ("noise", "coherent_noise", "threshold")
    level, rms, enc = 2500.0, 300.0, 500.0
    made = {"noise": {"enc": enc}, "coherent_noise": {"rms": rms}, "threshold": {"level": level}}
    with pytest.raises(ConfigError, match="below 4 times the noise"):
        Detector.from_config({"effects": made, "allow_double_counting": True})
    cells = lattice(small, torch.arange(0), 0.0, events=30)
    chain = [effects().get(name)() for name in names]
    floor = chain[1].least(level, {"rms": rms})
    cells = lattice(small, torch.arange(0), 0.0, events=60, floor=max(floor, 3.5 * enc + 1.0))
    after = chain[0].apply(cells, {"enc": enc}, Stream(1, "noise"))
    after = chain[1].apply(after, {"rms": rms}, STREAM)
    count = int((after.electrons >= level).sum())
    # Cells with less than 3.5 sigma of intrinsic noise are not listed: integrate over the coherent part.
    z = torch.linspace(-6, 6, 4001, dtype=torch.float64)
    lowest = torch.clamp((level - rms * z) / enc, min=3.5 + 1.0 / enc)
    tail = torch.from_numpy(special.ndtr(-lowest.numpy())) * torch.exp(-0.5 * z * z)
    expected = 60 * small.cells * float(tail.sum() * (z[1] - z[0]) / math.sqrt(2 * math.pi))
    assert expected > 1000
    # Members of a board rise together, so that counts spread more than a Poisson number does.
    assert count == pytest.approx(expected, abs=10 * expected**0.5)
    alone = float(60 * small.cells * special.ndtr(-level / enc))
    assert count > 3 * alone


def test_order_in_the_configuration_does_not_matter():
    """Intrinsic noise comes first, however the two are listed."""
    listed = {"coherent_noise": {"rms": 20.0}, "noise": {}, "threshold": {}}
    for names in (list(listed), list(reversed(listed))):
        made = Detector.from_config({"effects": {n: listed[n] for n in names}, "allow_double_counting": True})
        assert [effect.name for effect in made.effects] == ["noise", "coherent_noise", "threshold"]


def test_noise_that_lifts_whole_boards_is_refused(panel, lattice):
    with pytest.raises(ConfigError, match="coherent_noise: rms = 500"):
        Detector.from_config({"effects": {"coherent_noise": {"rms": 500.0}, "threshold": {}}})
    cells = lattice(panel, torch.arange(9), 0.0, floor=-10.0)
    with pytest.raises(ConfigError, match="lifts whole boards"):
        CoherentNoise().apply(cells, {"rms": 500.0}, STREAM)


def test_a_nominal_of_nothing_is_one_sided():
    """A known amount can be more or less; none at all can only be more."""
    known = Detector.from_config({"effects": {"coherent_noise": {}}}).nuisances[0].parameter
    none = Detector.from_config({"effects": {"coherent_noise": {"rms": {"nominal": 0.0}}}}).nuisances[0].parameter
    assert (known.two_sided, none.two_sided) == (True, False)
