"""The detector with every effect that pixels can have: nominally the usual one, and each effect does something."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from shiftlab.detector import Detector, Prepared, Universe, detector, unisim
from shiftlab.events import read

ROOT = Path(__file__).parents[2]
FIELDS = ("offsets", "cell", "charge", "energy")


@pytest.fixture(scope="module")
def everything() -> Detector:
    file = ROOT / "configs" / "detector" / "pixel_lar_all.yaml"
    return Detector.from_config(OmegaConf.to_container(OmegaConf.load(file)))


@pytest.fixture(scope="module")
def some(everything) -> Prepared:
    """Neutrino events, a photon, a proton and muons."""
    events = read(ROOT / "studies" / "samples" / "lar_evaluation.h5")
    return everything.prepare(events.take(range(0, len(events), len(events) // 6)))


def test_nominally_it_is_the_usual_detector_bit_for_bit(everything, some):
    """Every effect that pixel_lar lacks is absent at its nominal value; what both have is the same."""
    usual = detector("pixel_lar")
    events = read(ROOT / "studies" / "samples" / "lar_evaluation.h5")
    one, other = everything.image(some), usual.image(events.take(range(0, len(events), len(events) // 6)))
    assert len(one.cell) > 1000
    for name in FIELDS:
        assert torch.equal(getattr(one, name), getattr(other, name))
    priors = {nuisance.name: nuisance.parameter for nuisance in everything.nuisances}
    for nuisance in usual.nuisances:
        mine, theirs = priors[nuisance.name], nuisance.parameter
        assert (mine.nominal, mine.sigma, mine.two_sided) == (theirs.nominal, theirs.sigma, theirs.two_sided)


def test_every_nuisance_moves_the_image_and_comes_back(everything, some):
    """One sigma to either side changes energies by less than 15%, and zero changes no bit."""
    nominal = everything.image(some)
    total = float(nominal.energy.double().sum())
    quiet = []
    for universe in unisim(everything, throws={}):
        image = everything.image(some, universe)
        assert bool(torch.isfinite(image.energy).all())
        assert abs(float(image.energy.double().sum()) / total - 1) < 0.15, universe.name
        if all(torch.equal(getattr(image, name), getattr(nominal, name)) for name in FIELDS):
            quiet.append(universe.name)
    # A chip in a thousand may well be none that these six events reach.
    assert set(quiet) <= {"dead_chips_fraction-1", "dead_chips_fraction+1", "sticky_codes_probability+1"}
    assert torch.equal(everything.image(some, Universe("again", throw=5)).energy, nominal.energy)


def test_what_cannot_be_less_than_absent_is_one_sided(everything):
    one_sided = {nuisance.name for nuisance in everything.nuisances if not nuisance.parameter.two_sided}
    assert one_sided >= {
        *("crosstalk_fraction", "noisy_channels_fraction", "coherent_noise_rms", "quantisation_step"),
        *("sticky_codes_probability", "dead_region_width", "lost_voxels_fraction", "ghost_voxels_fraction"),
        "voxel_threshold_level",
    }
    assert not one_sided & {"gain_scale", "noise_enc", "dead_channels_fraction", "residual_gain_scale"}


def test_rounding_to_codes_moves_no_cell_across_the_threshold(everything, some):
    """The threshold lies midway between two codes: the same cells are recorded, each within half a code."""
    nominal, rounded = everything.image(some), everything.image(some, Universe("codes", (("quantisation_step", 1.0),)))
    assert torch.equal(rounded.cell, nominal.cell)
    largest = (255 - 24) * 857.14
    inside = nominal.charge < largest
    assert float((rounded.charge - nominal.charge)[inside].abs().max()) <= 0.5 * 857.14 + 0.1
    assert bool((rounded.charge[~inside] < largest + 1.0).all())
    assert not torch.equal(rounded.charge, nominal.charge)


def test_noisy_channels_are_few_enough_not_to_be_masked(everything, some):
    """59 channels of 768 layers, above 3000 e with 800 e of noise: about 4 more hits an event."""
    shift = (("noisy_channels_fraction", 1.0),)
    more = [len(everything.image(some, Universe("loud", shift, throw=throw)).cell) for throw in range(3)]
    added = (sum(more) / 3 - len(everything.image(some).cell)) / len(some)
    assert 2.0 < added < 7.0
