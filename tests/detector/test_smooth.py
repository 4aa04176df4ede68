"""The smooth chain records what the plain one does, and its derivatives are those of the mean over the noise."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from shiftlab.detector import NOMINAL, Universe, effects
from shiftlab.detector.smooth import SmoothChain, displaced_value, why_not_smooth, why_not_smooth_chain
from shiftlab.errors import ConfigError


@pytest.fixture(scope="module")
def many(tracks):
    """Sixty tracks that stay inside."""
    return tracks((150,) * 60, margin=15.0, seed=3)


@pytest.fixture(scope="module")
def nuisances(chamber):
    return {one.name: one for one in chamber.nuisances}


def summed(image, energy):
    return torch.zeros(len(image), dtype=torch.float64).index_add(0, image.event_index, energy)


def test_at_nominal_the_recorded_cells_are_those_of_the_plain_chain_and_candidates_count_nothing(chamber, deposits):
    prepared = chamber.prepare(deposits)
    plain, smooth = chamber.image(prepared), SmoothChain(chamber, prepared).image({})
    there = smooth.there
    assert torch.equal(smooth.image.cell[there], plain.cell)
    assert torch.equal(smooth.image.event_index[there], plain.event_index)
    torch.testing.assert_close(smooth.energy[there].float(), plain.energy, rtol=1e-6, atol=0)
    assert float(smooth.moved.abs().max()) == 0.0
    assert int((~there).sum()) > 10  # there are candidates


@pytest.mark.parametrize(
    "name", ["gain_scale", "recombination_alpha", "lifetime_tau", "threshold_level", "gain_spread"]
)
def test_derivatives_of_energy_and_voxels_are_those_of_one_sigma_shifts(chamber, many, nuisances, name):
    """In the mean over events, in which the noise of the cells near the threshold averages out (4 standard errors)."""
    prepared, one = chamber.prepare(many), nuisances[name]
    z = torch.zeros(len(many), dtype=torch.float64, requires_grad=True)
    smooth = SmoothChain(chamber, prepared).image({one.effect: {one.parameter.name: displaced_value(one, z)}})
    seen = {"energy": smooth.energy * smooth.there + smooth.moved * smooth.edge, "voxels": smooth.moved}
    slopes = {
        key: torch.autograd.grad(rows.sum(), z, retain_graph=True)[0]
        for key, rows in seen.items()
    }  # fmt: skip
    up, down = (chamber.image(prepared, Universe("", ((name, by),), group="unisim")) for by in (1.0, -1.0))
    finite = {
        "energy": (summed(up, up.energy.double()) - summed(down, down.energy.double())) / 2,
        "voxels": (up.offsets.diff() - down.offsets.diff()).double() / 2,
    }
    for key, slope in slopes.items():
        apart = finite[key] - slope
        assert abs(float(apart.mean())) < 4 * float(apart.std()) / len(many) ** 0.5, key
    if name not in ("gain_spread", "threshold_level"):  # whose mean hangs on few cells
        assert float(slopes["energy"].mean()) == pytest.approx(float(finite["energy"].mean()), rel=0.05)
        assert float(slopes["energy"].mean().abs()) > 0.01


def test_each_event_has_its_own_derivative(chamber, tracks, nuisances):
    """Differentiated alone, an event gives the same number as among others."""
    one = nuisances["gain_scale"]

    def slopes(deposits):
        z = torch.zeros(len(deposits), dtype=torch.float64, requires_grad=True)
        smooth = SmoothChain(chamber, chamber.prepare(deposits)).image({"gain": {"scale": displaced_value(one, z)}})
        return torch.autograd.grad((smooth.energy + smooth.moved).sum(), z)[0]

    both = tracks((100, 60), margin=15.0)
    torch.testing.assert_close(slopes(both)[1:], slopes(both.take([1])), rtol=1e-12, atol=0)


def test_what_is_not_smooth_is_declared_with_its_reason(chamber, nuisances):
    assert "not charge alone" in why_not_smooth(chamber, nuisances["dead_channels_fraction"])
    assert why_not_smooth(chamber, nuisances["noise_enc"]) == ""
    coded = replace(chamber, effects=(*chamber.effects, effects().get("quantisation")()))
    step = next(one for one in coded.nuisances if one.name == "quantisation_step")
    assert why_not_smooth(coded, step) == "charge is no smooth function of it"
    assert "quantisation" in why_not_smooth_chain(coded)
    moving = replace(chamber, effects=(*chamber.effects, effects().get("drift_velocity")()))
    for one in moving.nuisances:
        if one.effect == "drift_velocity":
            assert "not charge alone" in why_not_smooth(moving, one)


def test_a_threshold_without_noise_is_refused(chamber, deposits):
    silent = replace(chamber, effects=tuple(one for one in chamber.effects if one.name != "noise"))
    with pytest.raises(ConfigError, match="no noise that would smooth the threshold"):
        SmoothChain(silent, silent.prepare(deposits))


def test_values_of_displaced_nuisances_are_those_of_universes(chamber, nuisances):
    for name in ("lifetime_tau", "gain_scale"):
        one = nuisances[name]
        value = displaced_value(one, torch.tensor([0.0, 1.5], dtype=torch.float64))
        assert value.tolist() == pytest.approx([one.parameter.value(0.0), one.parameter.value(1.5)], rel=1e-12)
    assert chamber.values(NOMINAL)["gain"]["scale"] == 1.0
