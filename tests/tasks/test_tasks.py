"""Which events a task runs on, what it is trained towards, and its statistic against independent formulas."""

import numpy as np
import pytest
import torch

from shiftlab.errors import UnknownNameError
from shiftlab.tasks import CANDIDATES, EventSummary, named_tasks

ALL = ("numu_cc", "nue_cc", "photon_protons", "single_electron", "single_gamma", "single_muon")
TASKS = {task.name: task for task in named_tasks()}


def chosen(mask):
    return {name for name, one in zip(ALL, mask, strict=True) if one}


def test_a_typo_gets_the_nearest_name():
    with pytest.raises(UnknownNameError, match="Did you mean 'flavour'"):
        named_tasks(["flavor"])


def test_evaluation_sets(table):
    events = table(ALL)
    assert chosen(TASKS["flavour"].evaluated(events)) == {"numu_cc", "nue_cc"}
    assert chosen(TASKS["energy"].evaluated(events)) == {"numu_cc", "nue_cc"}
    electrons = {"nue_cc", "photon_protons", "single_electron", "single_gamma"}
    assert chosen(TASKS["electron_gamma"].evaluated(events)) == electrons
    assert chosen(TASKS["electron_gamma"].scored(events)) == electrons | {"numu_cc"}
    assert TASKS["segmentation"].evaluated(events).all()
    assert all(set(CANDIDATES) <= chosen(task.scored(events)) for task in TASKS.values())


def test_energy_statistic_is_the_weighted_mean_of_the_relative_error():
    rng = np.random.default_rng(0)
    reco, true, weights = rng.uniform(80, 120, (2, 6, 1)), np.full((6, 1), 100.0), rng.poisson(1.0, (4, 6)) + 0.5
    found = TASKS["energy"].score(reco, true, weights)
    assert found.shape == (2, 4)
    assert found[1, 2] == pytest.approx(np.average(reco[1, :, 0] / 100.0 - 1, weights=weights[2]))
    spread = TASKS["energy"].further(reco[0], true, weights)["resolution"]
    mean = np.average(reco[0, :, 0] / 100, weights=weights[1])
    assert spread[1] == pytest.approx(np.sqrt(np.average((reco[0, :, 0] / 100 - mean) ** 2, weights=weights[1])))


def test_energy_is_decoded_from_the_ratio_to_the_summed_energy():
    task = TASKS["energy"]
    true, summed = np.array([[200.0], [50.0], [1.0]]), np.array([160.0, 50.0, 0.0])
    target = task.target(true, EventSummary.of_energy(torch.from_numpy(summed)))
    assert np.isnan(target[2])
    raw = torch.from_numpy(target[:2, None])
    np.testing.assert_allclose(task.decode(raw, EventSummary.of_energy(torch.from_numpy(summed[:2]))).numpy(), true[:2])
    assert float(task.loss(raw, torch.from_numpy(target[:2]))) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("name", ["flavour", "electron_gamma"])
def test_logits_become_probabilities_and_a_coin_is_the_reference(name):
    task = TASKS[name]
    np.testing.assert_allclose(task.observable(np.array([[0.0], [50.0], [-50.0]])), [0.5, 1.0, 0.0], atol=1e-12)
    assert task.empty == (0.0,)  # an empty image says nothing: probability one half
    references = task.references(np.zeros((4, 1)), np.array([[0.0], [0.0], [0.0], [1.0]]), np.ones(4))
    assert references["AUC"] == ("chance", 0.5)
    assert references["accuracy"][1] == 0.75  # the larger class, always
