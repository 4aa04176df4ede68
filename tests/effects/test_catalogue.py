"""The catalogue as a whole: which shifts of the field it covers, and what its users may rely on."""

from __future__ import annotations

from shiftlab.detector import effects
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


def test_every_effect_has_a_stage_and_a_prior_with_source_and_grade():
    for kind in effects():
        assert kind.stage in (*STAGES, *SCINTILLATOR_STAGES)
        assert kind.catalogue, kind.name
        for parameter in kind.parameters:
            assert parameter.source
            assert parameter.confidence in "ABC"
            assert parameter.scope in ("run", "event", "readout channel")
