"""Derivatives of a real network and detector are those of the same smooth chain, and near those of one sigma."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from shiftlab.arms.bodies.voxel_transformer import VoxelTransformer
from shiftlab.arms.contract import InputContract
from shiftlab.arms.foundation import Foundation
from shiftlab.arms.training.networks import seeded
from shiftlab.detector import Universe, detector, unisim
from shiftlab.detector.smooth import SmoothChain, why_not_smooth
from shiftlab.errors import ConfigError, DataError
from shiftlab.responses import respond
from shiftlab.responses.emulation import EmulationSettings, Gradients, differentiate, emulator
from shiftlab.responses.emulation.gradient import smooth_outputs
from shiftlab.tasks import named_tasks


def loose(path):
    """Import a file that belongs to no package."""
    spec = importlib.util.spec_from_file_location("arms_conftest", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ARMS = loose(Path(__file__).parents[2] / "arms" / "conftest.py")
TASKS = named_tasks(["electron_gamma", "energy"])
EVENTS = 24


@pytest.fixture(scope="module")
def chamber():
    return detector("pixel_lar")


@pytest.fixture(scope="module")
def drawn():
    return ARMS.drawn_deposits(EVENTS)


def fresh():
    with seeded(5):
        networks = Foundation.fresh(TASKS, lambda: VoxelTransformer.fresh(ARMS.SMALL, InputContract()))
    return Foundation(0, networks, {}, np.array([1007, 1005], dtype=np.int64))


@pytest.fixture(scope="module")
def found(drawn, chamber):
    return differentiate(drawn, chamber, fresh(), TASKS)


def test_derivatives_are_those_of_central_differences_of_the_same_smooth_chain(drawn, chamber):
    """To 1e-3 of the largest derivative of an event, by every smooth nuisance, in double precision."""
    arm, few = fresh(), drawn.take([0, 1, 2, 5])
    arm.networks.double()
    chain = SmoothChain(chamber, chamber.prepare(few))
    smooth = [one for one in chamber.nuisances if not why_not_smooth(chamber, one)]
    assert {one.name for one in smooth} >= {"gain_scale", "lifetime_tau", "noise_enc", "threshold_level"}

    def outputs(number, by):
        z = [torch.full((4,), by if i == number else 0.0, dtype=torch.float64, requires_grad=True) for i in range(7)]
        return torch.cat([y for _, y in smooth_outputs(chain, arm, TASKS, smooth, z, torch.float64)], dim=1).detach()

    slopes = differentiate(few, chamber, arm, TASKS, dtype=torch.float64)
    given = np.concatenate([slopes.value[task.name] for task in TASKS], axis=1)
    for number, one in enumerate(smooth):
        finite = ((outputs(number, 1e-4) - outputs(number, -1e-4)) / 2e-4).numpy()
        largest = np.abs(finite).max(axis=0)
        assert (np.abs(given[:, :, number] - finite) < 1e-3 * largest).all(), one.name


def test_the_batch_does_not_matter_and_an_event_of_another_task_has_no_derivative(drawn, chamber, found):
    alone = differentiate(drawn.take([17]), chamber, fresh(), TASKS)
    np.testing.assert_allclose(alone.value["energy"][0], found.value["energy"][17], rtol=2e-3, atol=1e-4)
    scored = TASKS[1].scored(drawn.events)
    assert not scored.all()
    assert (np.isfinite(found.value["energy"]).all(axis=(1, 2)) == scored).all()


@pytest.fixture(scope="module")
def responses(drawn, chamber):
    """Direct responses to single nuisances and a joint universe."""
    names = ("recombination_alpha", "lifetime_tau", "gain_scale", "dead_channels_fraction")
    both = Universe("both", tuple((name, 0.5) for name in names), group="multisim")
    return respond(drawn, chamber, [*unisim(chamber, only=names), both], [fresh()], tasks=TASKS, progress=False)


def test_gain_like_effects_agree_with_one_sigma_and_others_take_the_finite_response(responses, found):
    maker = emulator(responses, gradients=[found], settings=EmulationSettings(form="quadratic"), refuse=False)
    rows = {(one.task, one.nuisance): one for one in maker.agreements}
    assert len(rows) == len(maker.agreements) == 2 * 4
    for name in ("recombination_alpha", "lifetime_tau"):
        one = rows["energy", name]
        assert one.relative < 0.1
        assert abs(one.autodiff - one.finite) < 3 * one.error
        assert abs(one.autodiff) > 1e-3
        assert (one.used, one.reason) == ("autodiff", "")
    dead = rows["energy", "dead_channels_fraction"]
    assert (dead.autodiff, dead.used) == (None, "finite")
    assert "not charge alone" in dead.reason
    for one in maker.agreements:
        assert (one.used == "autodiff") == (one.relative is not None and one.relative <= 0.1)
    store = maker.store(list(unisim(detector("pixel_lar"), (2.0,), only=("lifetime_tau",))))
    kept = store.attrs["emulated"]["gradients"]
    assert {(one["task"], one["nuisance"], one["used"]) for one in kept} == {
        (one.task, one.nuisance, one.used) for one in maker.agreements
    }
    twice = store.task("energy")["output"].sel(universe="emulated_lifetime_tau+2").values[0, 0, :, 0]
    nominal = store.task("energy")["output"].sel(universe="nominal").values[0, 0, :, 0]
    place = {int(key): row for row, key in enumerate(found.events)}
    rows_of = [place[int(key)] for key in store.task("energy")["event"].values]
    slope = found.value["energy"][rows_of, 0, found.nuisances.index("lifetime_tau")]
    np.testing.assert_allclose(twice, nominal * np.exp(2 * slope / nominal), rtol=1e-4)


def toy_gradients(toys, factor):
    """Derivatives of ``toys``' linear responses: exact, but for those by gain, which are ``factor`` times too large."""
    value = np.ones((toys.events, 1, 2), dtype=np.float32)
    value[:, :, 0] = factor
    return Gradients("a", 0, ("gain", "lifetime"), np.arange(toys.events), {"energy": value}, {"noise": "it is a jump"})


@pytest.mark.parametrize(("factor", "used"), [(1.05, "autodiff"), (1.2, "finite"), (-1.0, "finite")])
def test_beyond_ten_percent_the_finite_response_is_used(toys, factor, used):
    source = toys.store(
        lambda z, throw: np.full((toys.events, 1), 5.0) + sum(z.values()), toys.unisims() + toys.joints(2)
    )
    maker = emulator(source, tasks=toys.tasks, gradients=[toy_gradients(toys, factor)], refuse=False)
    rows = {one.nuisance: one for one in maker.agreements}
    assert rows["gain"].used == used
    assert rows["gain"].relative == pytest.approx(abs(factor - 1), rel=1e-5)
    assert (rows["lifetime"].used, rows["noise"].used, rows["noise"].reason) == ("autodiff", "finite", "it is a jump")
    asked = [toys.universe({"gain": 2.0, "lifetime": 1.0, "noise": -1.0})]
    moved = maker.store(asked).task("energy")["output"].values[0, 0, -1, :, 0]
    np.testing.assert_allclose(moved, 5.0 + (factor if used == "autodiff" else 1.0) * 2.0, atol=1e-5)


def test_events_without_a_derivative_arms_of_trees_and_pairs_are_refused(toys, drawn, chamber):
    source = toys.store(lambda z, throw: np.ones((toys.events, 1)) + sum(z.values()), toys.unisims() + toys.joints(2))
    known = toy_gradients(toys, 1.0)
    fewer = Gradients("a", 0, known.nuisances, known.events[5:], {"energy": known.value["energy"][5:]}, {})
    with pytest.raises(DataError, match=r"3 of 90 evaluated events have no derivative"):
        emulator(source, tasks=toys.tasks, gradients=[fewer])
    with pytest.raises(DataError, match="given twice"):
        emulator(source, tasks=toys.tasks, gradients=[known, known])
    with pytest.raises(ConfigError, match="leave gradients out"):
        emulator(source, tasks=toys.tasks, gradients=[known], settings=EmulationSettings(pairs=True))
    with pytest.raises(ConfigError, match="counts of parts"):
        differentiate(drawn, chamber, fresh(), named_tasks(["segmentation"]))
