"""Voxel threshold: a cut on calibrated energy, whatever the calibration and whatever was computed before."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from shiftlab.detector import ConfigError, Detector, Stream, Universe
from shifts.calibration.voxel_threshold import VoxelThreshold

EFFECTS = {"recombination": {}, "lifetime": {}, "noise": {}, "gain": {}, "threshold": {}}


@pytest.fixture
def made(small):
    def build(level, **more):
        effects = {**EFFECTS, **more, "voxel_threshold": {"level": {"nominal": level, "sigma": 0.02}}}
        return Detector.from_config({"geometry": small.to_dict(), "effects": effects, "allow_double_counting": True})

    return build


def same(one, other):
    return all(
        torch.equal(getattr(one, name), getattr(other, name)) for name in ("offsets", "cell", "charge", "energy")
    )


def test_nothing_below_the_level_and_all_else_as_it_was(made, deposits):
    """Kept energies are those of the image without the cut, bit for bit; hits fall with the level."""
    whole = made(0.0).image(deposits)
    last = len(whole.cell)
    for level in (0.13, 0.2, 0.4):
        cut = made(level).image(deposits)
        expected = whole.energy >= level
        assert torch.equal(cut.energy, whole.energy[expected])
        assert torch.equal(cut.cell, whole.cell[expected])
        assert len(cut.cell) < last
        last = len(cut.cell)


def test_the_cut_is_on_the_energy_of_each_universe(made, deposits):
    """With the gain 2% up voxels cross the level; with exact constants the energies that are cut are the nominal's."""
    chamber = made(0.2)
    up = Universe("up", (("gain_scale", 1.0),))
    free = made(0.0)
    for universe in (up, replace(up, recalibrate="exact"), Universe("more", (("voxel_threshold_level", 1.0),))):
        level = 0.22 if universe.name == "more" else 0.2
        shifted = free.image(
            deposits, replace(universe, nuisances=tuple(n for n in universe.nuisances if "gain" in n[0]))
        )
        image = chamber.image(deposits, universe)
        assert torch.equal(image.cell, shifted.cell[shifted.energy >= level])
    crossed = len(chamber.image(deposits, up).cell) - len(chamber.image(deposits).cell)
    assert crossed > 0


def test_events_kept_between_universes_and_scales_change_no_bit(made, deposits):
    """Prepared events that other universes and another energy scale went through give what fresh ones give."""
    chamber = made(0.2)
    prepared = chamber.prepare(deposits)
    asked = [
        *((Universe("nominal"), scale) for scale in (1.0, 1.1, 1.0)),
        *((Universe("up", (("gain_scale", 1.0),), recalibrate=how), 1.0) for how in ("none", "exact")),
        (Universe("cut", (("voxel_threshold_level", 1.0),)), 0.9),
        (Universe("nominal"), 1.0),
    ]
    for universe, scale in asked:
        kept = chamber.image(prepared, universe, scale=scale)
        assert same(kept, chamber.image(deposits, universe, scale=scale))
        assert bool((kept.energy >= 0.2 * (1 - 1e-6)).all())


def test_a_cell_at_the_level_is_kept(small, lattice):
    mev = torch.full((160,), 2.0**-15, dtype=torch.float64)
    cells = replace(lattice(small, torch.arange(3), torch.tensor([8191.0, 8192.0, 8193.0])), mev=mev)
    after = VoxelThreshold().apply(cells, {"level": 0.25}, Stream(1, "voxel_threshold"))
    assert after.electrons.tolist() == [8192.0, 8193.0]


def test_energies_without_a_calibration_are_refused(small, lattice):
    with pytest.raises(ConfigError, match="no calibration"):
        _ = lattice(small, torch.arange(3), 1.0).energy


def test_two_thresholds_are_one_too_many(small):
    with pytest.raises(ConfigError, match="voxel_threshold_level and threshold_level are both uncertain"):
        Detector.from_config({"effects": {"threshold": {}, "voxel_threshold": {}}})
