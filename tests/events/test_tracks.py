"""Truth labels follow from parents and creator processes by the stated rules."""

from __future__ import annotations

import numpy as np
import pytest

from shiftlab.events.steps import Steps
from shiftlab.events.tracks import Labels, Tracks, attach_fragments, label_tracks

SHOWER, TRACK, MICHEL, DELTA, LOW_ENERGY = range(5)
GAMMA, ELECTRON, MUON, PION, PROTON, OTHER = range(6)
Row = tuple[int, int, str, float]


def label(*rows: Row) -> Labels:
    """Label one event; row i is track i + 1: (parent, pdg, creator, kinetic energy)."""
    parent, pdg, creator, kinetic = zip(*rows, strict=True)
    count = len(rows)
    return label_tracks(
        Tracks(
            event=np.zeros(count, dtype=np.int64),
            number=np.arange(1, count + 1),
            parent=np.array(parent, dtype=np.int64),
            pdg=np.array(pdg, dtype=np.int64),
            creator=np.array(creator, dtype="S16"),
            kinetic=np.array(kinetic, dtype=np.float64),
        )
    )


MUON_ROW: Row = (0, 13, "Primary", 300.0)
NEUTRON_ROW: Row = (0, 2112, "Primary", 80.0)


@pytest.mark.parametrize("ionisation", ["muIoni", "Ionisation"])
def test_hard_knock_on_electrons_are_deltas_and_soft_ones_belong_to_the_track(ionisation: str) -> None:
    labels = label(MUON_ROW, (1, 11, ionisation, 12.0), (1, 11, ionisation, 0.6), (2, 11, "eIoni", 3.0))
    assert labels.semantic.tolist() == [TRACK, DELTA, TRACK, DELTA]
    assert labels.particle.tolist() == [MUON, ELECTRON, MUON, ELECTRON]


@pytest.mark.parametrize(
    ("muon", "electron", "creator"), [(-13, -11, "Decay"), (13, 11, "Decay"), (13, 11, "muMinusCaptureAt")]
)
def test_electrons_of_muon_decay_are_michel_and_their_photons_are_not(muon: int, electron: int, creator: str) -> None:
    labels = label(
        (0, muon, "Primary", 100.0),
        (1, electron, creator, 35.0),
        (2, 22, "eBrem", 9.0),
        (3, 11, "compt", 7.0),
        (2, 22, "eBrem", 1.0),
        (5, 11, "compt", 0.8),
    )
    assert labels.semantic.tolist() == [TRACK, MICHEL, LOW_ENERGY, SHOWER, LOW_ENERGY, LOW_ENERGY]
    assert labels.particle.tolist() == [MUON, ELECTRON, ELECTRON, ELECTRON, ELECTRON, ELECTRON]


def test_auger_electrons_of_muon_capture_are_low_energy() -> None:
    assert label(MUON_ROW, (1, 11, "Capture", 0.05)).semantic[1] == LOW_ENERGY


def test_a_photon_shower_is_shower_and_carries_the_photons_identity() -> None:
    labels = label(
        (0, 22, "Primary", 400.0),
        (1, 11, "Conversion", 200.0),
        (1, -11, "Conversion", 199.0),
        (2, 22, "eBrem", 50.0),
        (4, 11, "Conversion", 4.0),
        (4, -11, "Conversion", 44.0),
        (2, 11, "Ionisation", 3.0),
    )
    assert labels.semantic[[1, 2, 4, 5, 6]].tolist() == [SHOWER] * 5
    assert (labels.particle == GAMMA).all()


def test_photons_of_a_neutral_pion_make_showers() -> None:
    labels = label((0, 111, "Primary", 200.0), (1, 22, "Decay", 150.0), (2, 11, "conv", 80.0), (2, -11, "conv", 69.0))
    assert labels.semantic[2:].tolist() == [SHOWER, SHOWER]
    assert labels.particle[2] == GAMMA


def test_what_neutrons_and_nuclei_leave_is_low_energy_except_hard_protons() -> None:
    labels = label(
        NEUTRON_ROW,
        (1, 2212, "neutronInelastic", 30.0),
        (1, 2212, "neutronInelastic", 6.0),
        (1, 1000180400, "hadElastic", 0.4),
        (1, 22, "nCapture", 6.1),
        (5, 11, "compt", 5.8),
    )
    assert labels.semantic.tolist() == [LOW_ENERGY, TRACK, LOW_ENERGY, LOW_ENERGY, LOW_ENERGY, LOW_ENERGY]
    assert labels.particle.tolist() == [OTHER, PROTON, PROTON, OTHER, GAMMA, GAMMA]
    assert not labels.soft[5]


def test_a_pion_its_muon_and_the_michel_electron_are_told_apart() -> None:
    labels = label((0, 211, "Primary", 120.0), (1, -13, "Decay", 4.1), (2, -11, "Decay", 40.0))
    assert labels.semantic.tolist() == [TRACK, TRACK, MICHEL]
    assert labels.particle.tolist() == [PION, MUON, ELECTRON]


def test_soft_recoils_of_a_track_belong_to_it() -> None:
    labels = label((0, 211, "Primary", 300.0), (1, 2212, "pi+Inelastic", 8.0), (1, 1000170350, "pi+Inelastic", 1.0))
    assert labels.semantic.tolist() == [TRACK, TRACK, TRACK]
    assert labels.particle.tolist() == [PION, PION, PION]


def test_soft_fragments_join_a_shower_only_within_a_centimetre() -> None:
    labels = label(
        (0, 11, "Primary", 300.0),
        (1, 22, "eBrem", 2.0),
        (2, 11, "compt", 1.5),
        (1, 22, "eBrem", 2.0),
        (4, 11, "compt", 1.5),
    )
    where = np.array([[0.0, 0, 0], [0.5, 0, 0], [9.0, 0, 0]])
    steps = Steps(
        event=np.zeros(3, dtype=np.int64),
        track=np.array([0, 2, 4]),
        start=where,
        end=where,
        energy=np.ones(3),
        time=np.zeros(3),
    )
    assert attach_fragments(steps, labels).tolist() == [SHOWER, SHOWER, LOW_ENERGY]


def test_showers_of_other_events_attract_nothing() -> None:
    labels = label((0, 11, "Primary", 300.0), (1, 22, "eBrem", 2.0), (2, 11, "compt", 1.5))
    where = np.zeros((2, 3))
    steps = Steps(
        event=np.array([0, 1]), track=np.array([0, 2]), start=where, end=where, energy=np.ones(2), time=np.zeros(2)
    )
    assert attach_fragments(steps, labels).tolist() == [SHOWER, LOW_ENERGY]


def test_labels_do_not_depend_on_the_order_of_tracks() -> None:
    rows: list[Row] = [
        MUON_ROW,
        (1, 11, "muIoni", 12.0),
        (1, -11, "Decay", 30.0),
        (3, 22, "eBrem", 8.0),
        (4, 11, "compt", 6.0),
    ]
    parent, pdg, creator, kinetic = (np.array(column) for column in zip(*rows, strict=True))
    order = np.array([4, 2, 0, 3, 1])
    zero, number = np.zeros(5, dtype=np.int64), np.arange(1, 6)
    shuffled = label_tracks(
        Tracks(zero, number[order], parent[order], pdg[order], creator.astype("S16")[order], kinetic[order])
    )
    assert shuffled.semantic.tolist() == label(*rows).semantic[order].tolist()
    assert shuffled.particle.tolist() == label(*rows).particle[order].tolist()
