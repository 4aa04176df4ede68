"""Universes: names, pairs and physical bounds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shiftlab.detector import (
    NOMINAL,
    ConfigError,
    Detector,
    Geometry,
    Universe,
    detector,
    effects,
    multisim,
    unisim,
)
from shiftlab.errors import UnknownNameError

CHAMBER = detector("pixel_lar")
NAMES = [nuisance.name for nuisance in CHAMBER.nuisances]


def test_the_chamber_has_its_nine_nuisances():
    assert set(NAMES) == {
        "recombination_alpha",
        "recombination_beta",
        "lifetime_tau",
        "noise_enc",
        "gain_scale",
        "gain_spread",
        "dead_channels_fraction",
        "dead_chips_fraction",
        "threshold_level",
    }


def test_one_at_a_time():
    """Every nuisance at plus and minus one sigma, the gain map in four throws."""
    universes = unisim(CHAMBER)
    assert len(universes) == 2 * 8 + 2 * 4
    assert len({universe.name for universe in universes}) == len(universes)
    for universe in universes:
        assert len(universe.nuisances) == 1
        assert universe.group == "unisim"
    by_name = {universe.name: universe for universe in universes}
    assert by_name["gain_scale+1"].nuisances == (("gain_scale", 1.0),)
    assert by_name["gain_spread-1_throw2"].throw == by_name["gain_spread+1_throw2"].throw == 2


def test_choices_of_the_caller():
    universes = unisim(CHAMBER, strengths=(0.5,), throws={}, recalibrate="mip", only=("gain_scale", "gain_spread"))
    assert [universe.name for universe in universes] == ["gain_scale+0.5_mip", "gain_spread+0.5_mip"]
    assert {universe.recalibrate for universe in universes} == {"mip"}
    for wrong in ({"only": ("gain_scal",)}, {"throws": {"gain_scal": 4}}):
        with pytest.raises(UnknownNameError, match="gain_scale"):
            unisim(CHAMBER, **wrong)


def test_joint_universes_come_in_antithetic_pairs():
    """joint_01 is minus joint_00 in the same throw; each pair has its own; a seed gives the same again."""
    universes = multisim(CHAMBER, 8, seed=1)
    assert [universe.name for universe in universes] == [f"joint_{i:02d}" for i in range(8)]
    for up, down in zip(universes[::2], universes[1::2], strict=True):
        assert up.throw == down.throw
        assert [name for name, _ in up.nuisances] == sorted(NAMES)
        assert [(name, -value) for name, value in up.nuisances] == list(down.nuisances)
    assert len({universe.throw for universe in universes}) == 4
    assert universes == multisim(CHAMBER, 8, seed=1)
    assert universes != multisim(CHAMBER, 8, seed=2)


def test_joint_universes_are_standard_normal_inside_the_bounds():
    """Variance one for what the bounds do not clip, and every universe has physical values."""
    universes = multisim(CHAMBER, 512, seed=3)
    for universe in universes:
        CHAMBER.values(universe)
    for name in ("gain_scale", "lifetime_tau", "recombination_alpha"):
        values = np.array([universe.value(name) for universe in universes])
        assert values.mean() == pytest.approx(0.0, abs=1e-12)
        assert values.std() == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("n", [0, 1, 7, -2])
def test_an_odd_number_of_joint_universes_is_refused(n):
    with pytest.raises(ConfigError, match="even"):
        multisim(CHAMBER, n, seed=1)


def test_a_universe_says_what_is_wrong_with_it():
    with pytest.raises(ConfigError, match="twice"):
        Universe("u", (("gain_scale", 1.0), ("gain_scale", 2.0)))
    with pytest.raises(ConfigError, match="not finite"):
        Universe("u", (("gain_scale", float("nan")),))
    with pytest.raises(UnknownNameError, match="mip"):
        Universe("u", recalibrate="mipp")
    with pytest.raises(UnknownNameError, match="gain_scale"):
        CHAMBER.values(Universe("u", (("gain_scal", 1.0),)))
    with pytest.raises(ConfigError, match=r"universe 'u', effect dead_chips: .*takes fraction to -0\.001"):
        CHAMBER.values(Universe("u", (("dead_chips_fraction", -4.0),)))


def test_a_displacement_that_does_nothing_is_refused():
    """Birks' k does not act while the box model is chosen, and acts where Birks is."""
    with pytest.raises(ConfigError, match="acts only"):
        CHAMBER.values(Universe("u", (("recombination_birks_k", 1.0),)))
    both = Universe("u", (("recombination_birks_k", 1.0), ("recombination_model", 1.0)))
    assert CHAMBER.values(both)["recombination"]["birks_k"] == pytest.approx(0.0492)


def test_absent_nuisances_are_zero():
    assert NOMINAL.value("gain_scale") == 0.0
    universe = Universe("u", (("noise_enc", 1.0), ("gain_scale", -1.0)), throw=3)
    assert universe.to_dict()["nuisances"] == {"gain_scale": -1.0, "noise_enc": 1.0}
    assert universe.value("noise_enc") == 1.0


def noisy(nominal: float, sigma: float) -> Detector:
    """A detector with noise of this prior, e, and a threshold of 3000 e."""
    noise, threshold = (effects().get(name)() for name in ("noise", "threshold"))
    prior = replace(noise.parameter("enc"), nominal=nominal, sigma=sigma)
    return Detector("noisy", Geometry(), (type(noise)({"enc": prior}), threshold), allow_double_counting=True)


def test_joint_universes_that_cannot_be_recorded_give_way_to_the_next_of_the_sequence():
    """At 500 +- 150 e one universe in ten has noise above threshold; none of them is taken, and no name is missing."""
    chamber = noisy(500.0, 150.0)
    universes = multisim(chamber, 64, seed=1)
    assert [universe.name for universe in universes] == [f"joint_{i:02d}" for i in range(64)]
    for universe in universes:
        chamber.check(universe)
    with pytest.raises(ConfigError, match="so strong"):
        chamber.check(Universe("far", (("noise_enc", 3.0),)))


def test_priors_that_few_universes_survive_are_refused_with_the_reason():
    with pytest.raises(ConfigError, match=r"fewer than 64 of 256.*so strong"):
        multisim(noisy(700.0, 600.0), 64, seed=1)
