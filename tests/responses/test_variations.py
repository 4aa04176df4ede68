"""Variations of generation through the responses: paired by vertex, the same bits for any workers, resumed, refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from shiftlab.detector import Universe, detector, effects, unisim
from shiftlab.errors import ConfigError, DataError, UnknownNameError
from shiftlab.responses import respond
from shiftlab.tasks import named_tasks

NAME = "hadronic_model_model"
TASKS = ("electron_gamma", "energy", "flavour")


def own_vertices(deposits):
    table = deposits.events
    return replace(deposits, events=replace(table, vertex=table.key + 5))


@pytest.fixture(scope="module")
def nominal(events):
    """Tracks that each have a vertex of their own."""
    return own_vertices(events)


@pytest.fixture(scope="module")
def twin(nominal):
    """The same vertices in another order under other keys; every third track is cut to its first half."""
    first = torch.repeat_interleave(nominal.offsets[:-1], nominal.offsets.diff())
    along = torch.arange(len(nominal.energy)) - first
    half = torch.repeat_interleave(nominal.offsets.diff() // 2, nominal.offsets.diff())
    cut = nominal.keep((nominal.event_index % 3 != 0) | (along < half))
    turned = cut.take(list(reversed(range(len(cut)))))
    return replace(turned, events=replace(turned.events, key=turned.events.key + 1))


@pytest.fixture(scope="module")
def varied():
    base = detector("pixel_lar")
    return replace(base, effects=(*base.effects, effects().get("hadronic_model")()))


@pytest.fixture(scope="module")
def universes(varied):
    only = unisim(varied, only=(NAME, "gain_scale"))
    both = Universe("both", ((NAME, 1.0), ("gain_scale", 1.0)), group="injected")
    return (*only, both, Universe("half", ((NAME, 0.5),), group="injected"))


@pytest.fixture(scope="module")
def run(nominal, twin, varied, universes, arm):
    def call(**named):
        given = {"universes": universes, "arms": [arm("sums")(0)], "chunk": 10} | named
        given = {"variations": {"hadronic_model": twin}, "tasks": named_tasks(TASKS)} | given
        return respond(nominal, varied, given.pop("universes"), given.pop("arms"), **given)

    return call


@pytest.fixture(scope="module")
def reference(run):
    return run()


def energy(responses, universe):
    data = responses.task("energy")
    return data["output"].sel(universe=universe).values[0, 0, :, 0]


def test_cut_tracks_lose_energy_and_all_others_keep_every_bit(reference, nominal):
    """Only vertices that the other model carries differently move; the pairing is by vertex, not by order."""
    before, after = energy(reference, "nominal"), energy(reference, f"{NAME}+1")
    cut = np.arange(len(before)) % 3 == 0
    cut[0] = False  # outside the volume
    assert (after[cut] < 0.8 * before[cut]).all()
    assert np.array_equal(after[~cut], before[~cut])


def test_a_joint_universe_is_the_twin_in_the_displaced_detector(reference):
    up, both = energy(reference, "gain_scale+1"), energy(reference, "both")
    whole = np.arange(len(up)) % 3 != 0
    assert np.array_equal(up[whole], both[whole])
    assert (both[3::3] < 0.8 * up[3::3]).all()


def test_a_mixture_takes_each_event_from_one_side(reference):
    before, after, half = (energy(reference, name) for name in ("nominal", f"{NAME}+1", "half"))
    assert ((half == before) | (half == after)).all()
    assert 0 < (half[3::3] == after[3::3]).sum() < len(half[3::3])


def test_the_size_of_the_chunks_changes_no_bit(run, reference):
    xr.testing.assert_identical(run(chunk=7).task("energy"), reference.task("energy"))


def test_two_workers_give_the_bits_of_one(run, universes, muons, arm):
    """All that workers read from files: events, their pairs, two seeds of an arm, factors of a calibration."""
    mip = Universe("gain_scale+1_mip", (("gain_scale", 1.0),), recalibrate="mip", group="unisim")
    given = {"universes": (*universes, mip), "muons": muons, "arms": [arm("sums")(0), arm("sums")(1)]}
    one, two = run(**given), run(workers=2, **given)
    for task in one.tasks:
        xr.testing.assert_identical(two.task(task), one.task(task))


def test_another_paired_file_is_another_run(run, nominal, tmp_path):
    first = run(folder=tmp_path)
    second = run(folder=tmp_path, variations={"hadronic_model": nominal})
    assert first.attrs["plan"] != second.attrs["plan"]
    assert np.array_equal(energy(second, "nominal"), energy(second, f"{NAME}+1"))


def test_the_nuisance_is_marked_as_one_sided(reference):
    data = reference.task("energy")
    marks = dict(zip(data["nuisance"].values.tolist(), data["one_sided"].values.tolist(), strict=True))
    assert marks[NAME]
    assert not marks["gain_scale"]


def test_what_cannot_be_answered_is_refused_before_anything_is_written(run, twin, varied, nominal, tmp_path):
    with pytest.raises(ConfigError, match=r"data.variations.hadronic_model=FILE"):
        run(folder=tmp_path, variations=None)
    with pytest.raises(DataError, match="1 of 24 vertices of the nominal events"):
        run(folder=tmp_path, variations={"hadronic_model": twin.take(list(range(23)))})
    with pytest.raises(UnknownNameError, match="hadronic_model"):
        run(folder=tmp_path, variations={"hadronic_models": twin})
    assert not list(tmp_path.iterdir())


def test_a_study_without_voxel_tasks_asks_for_no_labels(run, monkeypatch):
    """A wire-plane detector has no voxels: labels are not even looked for."""

    def refuse(*_):
        raise AssertionError("labels were asked for")

    monkeypatch.setattr("shiftlab.responses.workers.truth_in", refuse)
    run(universes=())
