"""Responses do not depend on how the work is cut, ordered, interrupted or shared; what cannot be run is refused."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from shiftlab.bias.design import read_design
from shiftlab.detector import Universe, multisim
from shiftlab.errors import ConfigError, DataError, RunError
from shiftlab.events import read
from shiftlab.responses import AnalysisSelection, Responses, respond
from shiftlab.responses import shards as shard_room
from shiftlab.responses.shards import Shards, Unit
from shiftlab.tasks import named_tasks

TASKS = ("electron_gamma", "energy", "flavour")


@pytest.fixture(scope="module")
def run(events, muons, pixel_lar, universes, arm):
    """Respond with the simple arm, two seeds, and whatever is asked otherwise."""

    def call(**named):
        given = {"events": events, "universes": universes, "arms": [arm("sums")(0), arm("sums")(1)]} | named
        first = (given.pop("events"), pixel_lar, given.pop("universes"), given.pop("arms"))
        return respond(*first, **({"tasks": named_tasks(TASKS), "muons": muons, "chunk": 10} | given))

    return call


@pytest.fixture(scope="module")
def reference(run):
    return run()


def same(a: Responses, b: Responses) -> None:
    for task in a.tasks:
        xr.testing.assert_identical(a.task(task), b.task(task))


def test_outputs_have_the_promised_dimensions_and_types(reference, events):
    data = reference.task("energy")
    assert data["output"].dims == ("arm", "seed", "universe", "event", "output")
    assert data["output"].shape == (1, 2, 4, 24, 1)
    assert data["output"].dtype == np.float32
    assert data["event"].values.tolist() == events.events.key.tolist()
    assert reference.universes == ("nominal", "gain_scale+1", "noise_enc+1", "gain_scale+1_mip")
    assert not data["evaluated"].values[2]  # photon + protons
    assert data.attrs["statistic"] == "mean(reco/true - 1)"


def test_the_store_keeps_scramblings_and_the_prior(run, pixel_lar, reference):
    """And says nothing of a prior where nuisances are independent, so that older plans stay the same."""
    pairs = {"gain_scale+lifetime_tau": 0.5}
    joint = multisim(pixel_lar, 16, seed=1, scramblings=8, correlations=pairs)[:3]
    responses = run(universes=joint, correlations=pairs)
    design = read_design(responses.datasets)
    assert design.scrambling.tolist() == [0, 1, 1, 2]
    assert design.prior_among(["lifetime_tau", "gain_scale"]).tolist() == [[1.0, 0.5], [0.5, 1.0]]
    assert np.count_nonzero(design.prior) == len(design.nuisances) + 2
    assert responses.attrs["correlations"] == pairs
    assert "correlations" not in reference.attrs
    assert "prior_correlation" not in reference.task("energy").coords
    assert not reference.task("energy")["scrambling"].values.any()
    with pytest.raises(ConfigError, match="Did you mean 'gain_scale'"):
        run(correlations={"gain_scal+lifetime_tau": 0.5})


def test_a_larger_gain_gives_more_energy_and_the_muon_calibration_takes_it_back(reference):
    energy = reference.task("energy")["observable"].values[0, 0, :, 1:].sum(axis=1)
    assert 1.0 < energy[1] / energy[0] < 1.06
    assert abs(energy[3] / energy[0] - 1.0) < 0.5 * abs(energy[1] / energy[0] - 1.0)


def test_exact_constants_need_no_muons_and_take_the_gain_back(run, reference):
    """The gain is divided out again: what is left is what the threshold lets in, below one percent."""
    exact = Universe("gain_scale+1_exact", (("gain_scale", 1.0),), recalibrate="exact", group="unisim")
    data = run(universes=(exact,), muons=None).task("energy")
    assert list(data["recalibrate"].values) == ["none", "exact"]
    energy = data["observable"].values[0, 0, :, 1:].sum(axis=1)
    nominal = reference.task("energy")["observable"].values[0, 0, 0, 1:]
    np.testing.assert_array_equal(data["observable"].values[0, 0, 0, 1:], nominal)
    assert abs(energy[1] / energy[0] - 1.0) < 0.01
    assert energy[1] < 0.5 * energy[0] + 0.5 * reference.task("energy")["observable"].values[0, 0, 1, 1:].sum()


def test_an_event_outside_the_volume_keeps_its_place_and_is_counted_as_empty_or_noise(reference):
    data = reference.task("energy")
    assert (data["output"].values[0, 0, :, 0, 0] < 10.0).all()
    assert not data["selected"].values[0, 0, :, 0].any()
    assert (data["empty"].values <= 1).all()


def test_the_analysis_selection_is_run_again_in_every_universe(run, reference):
    threshold = float(np.median(reference.task("energy")["observable"].values[0, 0, 0]))
    strict = run(selection=AnalysisSelection(energy=threshold)).task("energy")
    energy = strict["observable"].values
    assert (strict["selected"].values == (energy >= threshold)).mean() > 0.95
    assert strict["selected"].values[0, 0, 1].sum() >= strict["selected"].values[0, 0, 0].sum()


@pytest.mark.parametrize("chunk", [1, 7, 256])
def test_responses_do_not_depend_on_the_size_of_the_chunks(run, reference, chunk):
    same(run(chunk=chunk), reference)


def test_responses_do_not_depend_on_the_order_of_the_events(run, reference, events):
    order = list(reversed(range(len(events))))
    turned = run(events=events.take(order))
    for task in TASKS:
        data = turned.task(task).sel(event=reference.task(task)["event"])
        xr.testing.assert_identical(data.drop_vars("empty"), reference.task(task).drop_vars("empty"))


def test_nothing_changes_when_nothing_is_reused(run, reference):
    same(run(reuse=False), reference)


def test_a_stopped_run_goes_on_where_it_was_and_gives_the_same_bytes(run, tmp_path, monkeypatch):
    run(folder=tmp_path / "whole")
    written = []
    write = Shards.write

    def stop(self, unit, arrays):
        if len(written) == 5:
            raise KeyboardInterrupt
        written.append(unit)
        write(self, unit, arrays)

    with monkeypatch.context() as patch:
        patch.setattr(Shards, "write", stop)
        with pytest.raises(KeyboardInterrupt):
            run(folder=tmp_path / "stopped")
    assert len(list((tmp_path / "stopped" / "shards").glob("chunk*.npz"))) == 5
    again = []

    def count(self, unit, arrays):
        again.append(unit)
        write(self, unit, arrays)

    with monkeypatch.context() as patch:
        patch.setattr(Shards, "write", count)
        run(folder=tmp_path / "stopped")
    assert len(again) == 12 - 5
    assert not set(again) & set(written)
    whole, stopped = (tmp_path / name / "responses.h5" for name in ("whole", "stopped"))
    assert whole.read_bytes() == stopped.read_bytes()
    assert not (tmp_path / "stopped" / "shards").exists()


def test_a_finished_run_is_read_and_not_run_again(run, tmp_path, monkeypatch, reference):
    run(folder=tmp_path)
    monkeypatch.setattr(Shards, "write", None)
    same(run(folder=tmp_path), reference)


def test_a_broken_shard_and_one_of_another_plan_do_not_count(tmp_path):
    shards = Shards(tmp_path, "a" * 64)
    unit = Unit(0, 0)
    assert unit not in shards
    shards.write(unit, {"x": np.arange(1000.0)})
    assert unit in shards
    assert unit not in Shards(tmp_path, "b" * 64)
    shards.path(unit).write_bytes(shards.path(unit).read_bytes()[:-200])
    assert unit not in shards


def test_deposits_survive_the_file_that_workers_open(events, tmp_path):
    shard_room.save_events(tmp_path / "events.h5", events)
    again = read(tmp_path / "events.h5")
    for name in ("offsets", "position", "energy", "length", "semantic", "particle"):
        assert (getattr(again, name) == getattr(events, name)).all()
    assert again.events.sample == events.events.sample
    assert (again.events.key == events.events.key).all()
    assert set(again.events.truth) == set(events.events.truth)


def test_an_output_that_is_not_finite_names_unit_arm_task_and_event(run, arm, events):
    message = r"chunk 1 of 24 in universe 'nominal' failed: arm 'broken', seed 0, task 'energy': .* event 7932 "
    with pytest.raises(RunError, match=message):
        run(arms=[arm("broken")(0)], events=events, chunk=1, tasks=named_tasks(["energy"]))


def test_a_failure_in_a_worker_process_names_the_unit(run, arm):
    with pytest.raises(RunError, match=r"chunk 0 of 3 in universe '.*' failed: arm 'broken', seed 0, task 'energy'"):
        run(arms=[arm("broken")(0)], workers=2)


def test_events_that_an_arm_was_trained_on_are_refused(run, arm, events):
    trained = arm("sums")(0, events.events.vertex[:4].numpy())
    with pytest.raises(DataError, match="was trained on the vertices of 4"):
        run(arms=[trained])


def test_tasks_may_be_given_by_name(run, reference):
    same(run(tasks=TASKS), reference)


def test_no_events_are_refused(run, events):
    with pytest.raises(DataError, match="no events"):
        run(events=events.take([]))


def test_two_universes_of_one_name_are_refused(run, universes):
    with pytest.raises(ConfigError, match="'gain_scale\\+1' is given more than once"):
        run(universes=(*universes, Universe("gain_scale+1", (("gain_scale", 2.0),), group="unisim")))


def test_the_nominal_universe_is_added_when_it_is_left_out(run, universes, reference):
    same(run(universes=universes[1:]), reference)


def test_arms_with_unequal_seeds_are_refused(run, arm):
    with pytest.raises(ConfigError, match="missing: copies seed 1"):
        run(arms=[arm("sums")(0), arm("sums")(1), arm("copies")(0)])


def test_recalibration_without_muons_is_refused(run):
    with pytest.raises(DataError, match="calibration muons"):
        run(muons=None)


@pytest.mark.parametrize("key", ["workers", "chunk"])
def test_a_count_below_one_is_refused(run, key):
    with pytest.raises(ConfigError, match=f"{key} = 0"):
        run(**{key: 0})


def test_the_budget_is_said_before_the_work_starts(run, capsys):
    run(progress=True)
    words = capsys.readouterr().err
    assert "2 bodies x 4 universes x 24 events = 192 passes" in words
    assert "events/s" in words
