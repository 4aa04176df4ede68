"""Universes: names, pairs and physical bounds."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch

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


def test_every_pair_of_joint_universes_and_every_independent_one_has_a_new_map(chamber, deposits):
    """The gain map at one size: as many images as throws, none that of a one-nuisance universe or of another seed."""
    thrown = [
        *(universe.throw for universe in multisim(chamber, 6, seed=1)),
        *(universe.throw for universe in multisim(chamber, 3, seed=2, draws="independent")),
        *(universe.throw for universe in unisim(chamber, only=("gain_spread",))),
    ]
    throws = list(dict.fromkeys(thrown))
    assert len(throws) == 3 + 3 + 4
    prepared = chamber.prepare(deposits)
    images = [chamber.image(prepared, Universe("u", (("gain_spread", 1.0),), throw)).energy for throw in throws]
    assert not any(torch.equal(a, b) for a, b in combinations(images, 2) if a.shape == b.shape)


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


def test_unisims_at_any_strength():
    """A response curve: eight strengths for each nuisance, four for the one that only exists on one side."""
    strengths = (-3.0, -2.0, -1.0, -0.5, 0.5, 1.0, 2.0, 3.0)
    universes = unisim(CHAMBER, strengths, throws={"gain_spread": 2}, unphysical="leave_out")
    found = {name: [u.value(name) for u in universes if u.value(name) and u.throw == 0] for name in NAMES}
    assert found["gain_scale"] == list(strengths)
    assert found["dead_channels_fraction"] == list(strengths[1:]), "3 sigma below would be a negative fraction"
    assert len([u for u in universes if u.value("gain_spread")]) == 2 * len(strengths)
    for universe in universes:
        CHAMBER.check(universe)
    refused = [u.name for u in unisim(CHAMBER, strengths, throws={}) if u.name not in {v.name for v in universes}]
    assert [name for name in refused if "spread" not in name] == ["dead_channels_fraction-3"]


@pytest.mark.parametrize(("strengths", "message"), [((0.0,), "strength 0"), ((1.0, 1.0), "twice"), ((np.inf,), "inf")])
def test_strengths_that_make_no_universe_of_their_own_are_refused(strengths, message):
    with pytest.raises(ConfigError, match=message):
        unisim(CHAMBER, strengths)


def test_independent_universes_have_a_throw_each_and_no_partner():
    universes = multisim(CHAMBER, 7, seed=1, draws="independent")
    assert [universe.name for universe in universes] == [f"joint_{i:02d}" for i in range(7)]
    assert len({universe.throw for universe in universes}) == 7
    assert {universe.scrambling for universe in universes} == {0}
    gains = [universe.value("gain_scale") for universe in universes]
    assert len({abs(gain) for gain in gains}) == 7


def test_scramblings_know_their_number_and_share_universes_evenly():
    universes = multisim(CHAMBER, 32, seed=1, scramblings=8)
    assert [universe.scrambling for universe in universes] == [number for number in range(1, 9) for _ in range(4)]
    assert [universe.name for universe in universes] == [f"joint_{i:02d}" for i in range(32)]
    assert len({universe.throw for universe in universes}) == 16
    for up, down in zip(universes[::2], universes[1::2], strict=True):
        assert up.throw == down.throw
        assert [(name, -value) for name, value in up.nuisances] == list(down.nuisances)
    assert universes[0].to_dict()["scrambling"] == 1


@pytest.mark.parametrize(
    ("n", "more", "message"),
    [
        (32, {"scramblings": 4}, "1, or at least 8, is wanted"),
        (30, {"scramblings": 8}, "a multiple of 16 .*say 32"),
        (8, {"scramblings": 8}, "at least 16, is wanted, say 16"),
        (8, {"scramblings": 8, "draws": "independent"}, "independent draws have none"),
        (0, {"draws": "independent"}, "at least 1"),
        (8, {"draws": "sobl"}, "Did you mean 'sobol'"),
    ],
)
def test_universes_that_cannot_be_shared_out_are_refused_with_the_number_that_can(n, more, message):
    with pytest.raises(ConfigError, match=message):
        multisim(CHAMBER, n, seed=1, **more)


@pytest.mark.parametrize("draws", ["sobol", "independent"])
def test_joint_universes_have_the_correlations_of_the_prior(draws):
    """The correlations that were given, zero elsewhere, variance one: within four errors of independent draws."""
    pairs = {"gain_scale+lifetime_tau": 0.6, "lifetime_tau, recombination_alpha": -0.5}
    universes = multisim(CHAMBER, 512, seed=3, draws=draws, correlations=pairs)
    chosen = ("gain_scale", "lifetime_tau", "recombination_alpha", "recombination_beta")
    values = np.array([[universe.value(name) for name in chosen] for universe in universes])
    wanted = np.array([[1, 0.6, 0, 0], [0.6, 1, -0.5, 0], [0, -0.5, 1, 0], [0, 0, 0, 1.0]])
    assert np.cov(values.T) == pytest.approx(wanted, abs=4 * np.sqrt(2 / 512))
    for universe in universes[:64]:
        CHAMBER.check(universe)


def test_no_correlations_are_the_same_universes_as_before():
    assert multisim(CHAMBER, 8, seed=1, correlations={}) == multisim(CHAMBER, 8, seed=1)


def test_one_sided_nuisances_keep_their_side_when_correlated():
    gain = effects().get("gain")()
    sided = type(gain)({"spread": replace(gain.parameter("spread"), two_sided=False)})
    chamber, name = Detector("sided", Geometry(), (sided,)), "gain_spread"
    universes = multisim(chamber, 64, seed=1, correlations={f"gain_scale+{name}": 0.9})
    assert min(universe.value(name) for universe in universes) >= 0.0
    sizes = np.array([[abs(universe.value("gain_scale")), universe.value(name)] for universe in universes])
    assert np.corrcoef(sizes.T)[0, 1] > 0.5


def test_pairs_of_one_sided_nuisances_alone_would_be_the_same_universe_twice():
    gain = effects().get("gain")()
    sided = {name: replace(gain.parameter(name), two_sided=False) for name in ("scale", "spread")}
    chamber = Detector("sided", Geometry(), (type(gain)(sided),))
    with pytest.raises(ConfigError, match="both universes of an antithetic pair would be the same; draws=independent"):
        multisim(chamber, 4, seed=1)
    universes = multisim(chamber, 5, seed=1, draws="independent")
    assert min(value for universe in universes for _, value in universe.nuisances) > 0.0


def test_universes_of_before_there_were_scramblings_have_the_same_record():
    """Runs are resumed by the digest of these records."""
    joint = [universe.to_dict() for universe in multisim(CHAMBER, 8, seed=1)]
    assert set(joint[0]) == {"name", "nuisances", "throw", "recalibrate", "group"}
    assert NOMINAL.to_dict() == {
        "name": "nominal",
        "nuisances": {},
        "throw": 0,
        "recalibrate": "none",
        "group": "nominal",
    }
    assert joint[0]["throw"] == 2000
    assert joint[1]["nuisances"]["gain_scale"] == pytest.approx(-0.02926430903895927, abs=1e-12)
    with pytest.raises(ConfigError, match="scrambling = -1"):
        Universe("u", scrambling=-1)
