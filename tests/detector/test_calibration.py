"""The muon peak: what it measures and how it moves."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from shiftlab.detector import Detector, effects
from shiftlab.detector.calibration import muon_peak, track_dedx


@pytest.fixture(scope="module")
def image(small, tracks):
    """Muons seen without threshold, noise or dead channels."""
    names = ("recombination", "lifetime", "gain")
    plain = Detector("plain", small, tuple(effects().get(name)() for name in names), allow_double_counting=True)
    return plain.image(tracks((220,) * 40, seed=3))


def test_the_peak_is_the_muons_dedx(image):
    """2.1 MeV/cm on average, from energy and direction alone."""
    assert muon_peak(image, 0.3) == pytest.approx(2.1, rel=0.05)


@pytest.mark.parametrize("factor", [0.9, 0.98, 1.001, 1.02, 1.1])
def test_a_factor_on_the_energy_moves_the_peak_by_that_factor(image, factor):
    moved = replace(image, energy=image.energy * factor)
    assert muon_peak(moved, 0.3) / muon_peak(image, 0.3) == pytest.approx(factor, rel=3e-4)


def test_pieces_of_track_hold_all_the_energy(image):
    """Summed over pieces, dE/dx times length is the energy, whatever the direction."""
    direction = track_dedx(image, 0.3)
    assert bool((torch.from_numpy(direction) > 0).all())
    straight = replace(image.take([0]))
    assert track_dedx(straight, 0.3).sum() * 3.0 >= float(straight.energy.sum()) * 3**-0.5 * (1 - 1e-6)


def test_event_order_does_not_matter(image):
    turned = image.take(list(range(len(image) - 1, -1, -1)))
    assert muon_peak(turned, 0.3) == pytest.approx(muon_peak(image, 0.3), rel=1e-12)
