"""The shipped sample: its size, splits, placement, truth and physics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from scipy.stats import kstest, rankdata

from shiftlab.events import Deposits, read, read_tokens
from shiftlab.events.sample import read_attributes
from shiftlab.provenance import digest_file

FIDUCIAL = {"first_x": (0.0, 230.4), "first_y": (30.0, 200.4), "first_z": (20.0, 150.0)}


@pytest.fixture(scope="module")
def evaluation(samples: Path) -> Deposits:
    return read(samples / "lar_evaluation.h5")


@pytest.fixture(scope="module")
def manifest(samples: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((samples / "manifest.json").read_text(encoding="utf-8"))
    return record


def of(deposits: Deposits, *names: str) -> Deposits:
    return deposits.take([i for i, name in enumerate(deposits.events.sample) if name in names])


def total(deposits: Deposits) -> torch.Tensor:
    zero = torch.zeros(len(deposits), dtype=torch.float64)
    return zero.index_add(0, deposits.event_index, deposits.energy.double())


def test_sizes(evaluation: Deposits, samples: Path) -> None:
    names = evaluation.events.sample
    wanted = {"numu_cc": 500, "nue_cc": 250, "photon_protons": 250, "multi_particle": 40, "calibration_muon": 60}
    assert all(names.count(name) >= count for name, count in wanted.items())
    assert sum(name.startswith("single_") for name in names) >= 300
    assert sum(path.stat().st_size for path in samples.iterdir() if path.is_file()) < 17e6


def test_the_shipped_tokens_have_every_class_of_the_pion_task_and_say_what_they_are(samples: Path) -> None:
    path = samples / "minerva_like_tokens.h5"
    tokens = read_tokens(path)
    classes = tokens.events.truth["topology_class"]
    assert {int(one) for one in classes} == {0, 1, 2, 3, 4}
    assert int(tokens.counts.max()) <= 33
    assert 0.85 < float((tokens.events.truth["current"] == 1).double().mean()) < 0.95
    said = read_attributes(path)
    assert "composed" in said["limits"]
    assert "Geant4" in said["acknowledgement"]


def test_each_vertex_is_thrown_once_and_the_splits_share_none(evaluation: Deposits, manifest: dict[str, Any]) -> None:
    lists = {(s, k): v for s, entry in manifest["samples"].items() for k, v in entry["vertex_uid"].items()}
    every = [uid for uids in lists.values() for uid in uids]
    assert len(set(every)) == len(every)
    assert {sample for sample, _ in lists} == {"evaluation", "calibration", "training"}
    for (sample, kind), uids in lists.items():
        if sample != "training":
            assert sorted(of(evaluation, kind).events.vertex.tolist()) == uids, kind


def test_the_manifest_is_of_the_shipped_files(samples: Path, manifest: dict[str, Any]) -> None:
    assert manifest["samples"]["evaluation"]["sha256"] == digest_file(samples / "lar_evaluation.h5")
    assert manifest["vertices"]["sha256"] == digest_file(samples / "vertices_evaluation.h5")


def test_visible_energy_is_the_energy_in_the_volume(evaluation: Deposits) -> None:
    visible = evaluation.events.truth["visible_energy"]
    np.testing.assert_allclose(total(evaluation), visible, rtol=1.01e-3)
    assert (visible > 0).all()
    assert total(evaluation).sum() == pytest.approx(float(visible.sum()), rel=1e-5)
    assert float(evaluation.position.min()) >= 0.0
    assert float(evaluation.position.max()) <= 230.4


@pytest.mark.parametrize(("column", "limits"), FIDUCIAL.items())
@pytest.mark.parametrize(
    "name", ["numu_cc", "nue_cc", "photon_protons", "single_electron", "single_gamma", "calibration_muon"]
)
def test_the_first_visible_deposit_is_uniform(
    evaluation: Deposits, name: str, column: str, limits: tuple[float, float]
) -> None:
    values = of(evaluation, name).events.truth[column]
    assert kstest((values - limits[0]) / (limits[1] - limits[0]), "uniform").pvalue > 1e-3


def test_a_deposit_lies_where_the_truth_says_that_the_first_one_does(evaluation: Deposits) -> None:
    first = torch.stack([evaluation.events.truth[f"first_{axis}"] for axis in "xyz"], dim=1)
    distance = (evaluation.position - first[evaluation.event_index]).norm(dim=1)
    nearest = torch.full((len(evaluation),), torch.inf).scatter_reduce(
        0, evaluation.event_index, distance.float(), "amin"
    )
    assert nearest.max() < 0.3 * 3**0.5
    assert nearest.median() < 0.1


def test_position_alone_does_not_tell_electrons_from_photons(evaluation: Deposits) -> None:
    events = of(evaluation, "nue_cc", "photon_protons", "single_electron", "single_gamma").events
    where = torch.stack([events.truth[f"first_{axis}"] for axis in "xyz"], dim=1).numpy()
    electron = events.truth["em_class"].numpy() == 1.0
    # Leave-one-out fraction of electrons among the 25 nearest neighbours, with the event's own class
    # taken out of the prior: leaving one out otherwise pulls every score away from its own class.
    _, near = cKDTree(where).query(where, k=26)
    prior = (electron.sum() - electron) / (len(electron) - 1)
    score = electron[near[:, 1:]].mean(axis=1) - prior
    ranks = rankdata(score)
    positive, negative = electron.sum(), (~electron).sum()
    auc = (ranks[electron].sum() - positive * (positive + 1) / 2) / (positive * negative)
    error = np.sqrt((positive + negative + 1) / (12 * positive * negative))
    assert abs(auc - 0.5) < 4 * error


def test_truth_columns_fit_the_kinds(evaluation: Deposits) -> None:
    wanted = {
        "nue_cc": (1.0, 12.0),
        "numu_cc": (np.nan, 14.0),
        "photon_protons": (0.0, 0.0),
        "single_gamma": (0.0, 0.0),
    }
    for name, (em_class, pdg) in wanted.items():
        truth = of(evaluation, name).events.truth
        np.testing.assert_array_equal(truth["em_class"], np.full(len(truth["em_class"]), em_class))
        assert (truth["neutrino_pdg"] == pdg).all()
        assert torch.isfinite(truth["neutrino_energy"]).all() == (pdg != 0)


def test_composed_photons_have_the_spectrum_of_the_electrons_that_they_replace(evaluation: Deposits) -> None:
    full = {}
    for name, code in (("nue_cc", 1), ("photon_protons", 0)):
        part = of(evaluation, name)
        em = part.keep((part.particle == code) & ((part.semantic == 0) | (part.semantic == 4)))
        energy = total(em)
        full[name] = (float(energy.mean()), float(energy.std()) / len(energy) ** 0.5)
    difference = full["nue_cc"][0] - full["photon_protons"][0]
    # Photons travel a little before they shower, so that they lose a little more of it outside.
    assert abs(difference) < 5 * np.hypot(full["nue_cc"][1], full["photon_protons"][1])


def test_muons_lose_what_liquid_argon_takes(evaluation: Deposits) -> None:
    """Restricted mean dE/dx (cut 0.7 mm) of minimum-ionising muons: 1.8 to 2.0 MeV/cm, edep-sim's muons have 1.89."""
    muons = of(evaluation, "calibration_muon")
    track = (muons.semantic == 1) & (muons.particle == 2) & (muons.length > 0.05)
    assert 1.8 < float(muons.energy[track].sum() / muons.length[track].sum()) < 2.0


def test_point_deposits_are_a_small_part_of_the_energy(evaluation: Deposits) -> None:
    points = evaluation.length == 0
    assert 0.01 < float(points.float().mean()) < 0.4
    assert float(evaluation.energy[points].sum() / evaluation.energy.sum()) < 0.02


def test_every_semantic_class_is_there_and_photon_showers_start_away_from_the_vertex(evaluation: Deposits) -> None:
    assert set(evaluation.semantic.unique().tolist()) == {0, 1, 2, 3, 4}
    truth = of(evaluation, "single_gamma").events.truth
    gap = torch.stack([truth[f"first_{axis}"] - truth[f"vertex_{axis}"] for axis in "xyz"], dim=1).norm(dim=1)
    # 9/7 radiation lengths are 18 cm in liquid argon; Compton scattering shortens the mean free path.
    assert 10.0 < float(gap.mean()) < 25.0


def test_attributes_say_how_it_was_made(samples: Path) -> None:
    attributes = read_attributes(samples / "lar_evaluation.h5")
    assert "Geant4 11.4" in attributes["simulator"]
    assert attributes["hadronic_list"] == "FTFP_BERT"
    assert "Achilles" in attributes["vertices_generator"]
    assert "composed" in attributes["limits"]
    assert "CC-BY-4.0" in attributes["licence"]
    assert "Geant4 Collaboration" in attributes["acknowledgement"]
