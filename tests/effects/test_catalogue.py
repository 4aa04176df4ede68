"""The catalogue as a whole: which shifts of the field it covers, and what its users may rely on."""

from __future__ import annotations

import pytest

from shiftlab.detector import ConfigError, effects
from shiftlab.detector.double_counting import refuse_double_counting
from shiftlab.detector.effect import SCINTILLATOR_STAGES, STAGES

REQUIRED = (
    *("G1", "G2", "G3", "G4", "G5", "G6", "G7"),  # charge generation
    *("T1", "T2", "T3", "T4", "T5", "T6"),  # transport
    *("E1", "E2", "E3", "E4", "E5", "E6", "E7", "E8", "E9", "E10", "E11", "E12", "E13", "E14", "E15"),  # read-out
    *("P1", "P2", "P4", "P5", "C5", "C7"),  # pathology and calibration
    *("S1", "S2", "S3", "S4"),  # scintillator
    *("M1", "M2", "M3", "M4", "M5", "M7", "M8", "M10", "M11", "M13", "M14", "M15", "M16"),  # tokens
)


ELSEWHERE = {"crosstalk_response_scale", "hadron_reinteraction_neutron"}
"""Nuisances of MINERvA's toolkit that need what no event file here has; a user's own effect would bring them."""


def test_the_shifts_that_the_field_varies_are_covered():
    covered = {shift for kind in effects() for shift in kind.catalogue}
    assert not [shift for shift in REQUIRED if shift not in covered]
    assert len(list(effects())) >= 48


def test_every_double_count_names_a_nuisance_that_exists_and_its_reason():
    """A name that no effect has would silently allow what it should refuse."""
    known = {f"{kind.name}_{one.name}" for kind in effects() for one in kind.parameters}
    for kind in effects():
        own = {one.name for one in kind.parameters}
        for parameter, other, reason in kind.double_counts:
            assert parameter in own, (kind.name, parameter)
            assert other in known | ELSEWHERE, (kind.name, other)
            assert other != f"{kind.name}_{parameter}"
            assert len(reason.split()) > 3


def test_every_double_count_is_refused_until_it_is_allowed():
    """Argon, strips and tokens alike: both uncertain is an error that names both, and the pair in any order helps."""
    owner = {f"{kind.name}_{one.name}": kind for kind in effects() for one in kind.parameters}
    pairs = [
        (f"{kind.name}_{parameter}", other)
        for kind in effects()
        for parameter, other, _ in kind.double_counts
        if other not in ELSEWHERE
    ]
    for one, other in pairs:
        chain = [kind() for kind in {owner[one], owner[other]}]
        with pytest.raises(ConfigError, match=rf"{one} and {other} are both uncertain|{other} and {one} are both"):
            refuse_double_counting("d", chain, (one, other), ())
        refuse_double_counting("d", chain, (one, other), (f"{other}+{one}",))
        refuse_double_counting("d", chain, (one,), ())
    assert {("light_yield_scale", "proton_response_scale"), ("threshold_level", "noise_enc")} <= set(pairs)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        # One cause, in the argon and in what calibration assumes of it.
        *(("drift_field_scale", "drift_velocity_scale"), ("drift_field_scale", "residual_field_scale")),
        *(("lifetime_tau", "residual_lifetime_rate"), ("charge_yield_amplitude", "residual_yz_amplitude")),
        # One factor on the charge of muons.
        *(("w_value_w", "gain_scale"), ("w_value_w", "residual_gain_scale"), ("gain_scale", "residual_gain_scale")),
        *(("recombination_alpha", "gain_scale"), ("recombination_emb_alpha", "residual_gain_scale")),
        *(("recombination_birks_a", "w_value_w"), ("threshold_level", "noise_enc")),
        # An effective variation beside its causes.
        *(("wire_modification_charge", "lifetime_tau"), ("wire_modification_width", "diffusion_longitudinal_scale")),
        *(("wire_modification_charge", "plane_gain_collection"), ("wire_modification_width", "shaping_stretch")),
        # Strips and tokens.
        *(("light_yield_scale", "em_response_scale"), ("scintillator_birks_kb", "proton_response_scale")),
        *(("pmt_crosstalk_fraction", "crosstalk_response_scale"),),
        *(("neutron_response_scale", "hadron_reinteraction_neutron"),),
    ],
)
def test_the_pairs_that_analyses_have_counted_twice_are_known(one, other):
    declared = {
        frozenset((f"{kind.name}_{parameter}", second))
        for kind in effects()
        for parameter, second, _ in kind.double_counts
    }
    assert frozenset((one, other)) in declared


def test_every_effect_has_a_stage_and_a_prior_with_source_and_grade():
    for kind in effects():
        assert kind.stage in (*STAGES, *SCINTILLATOR_STAGES)
        assert kind.catalogue, kind.name
        for parameter in kind.parameters:
            assert parameter.source
            assert parameter.confidence in "ABC"
            assert parameter.scope in ("run", "event", "readout channel")
