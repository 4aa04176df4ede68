"""A study looks at the universes, events and device that its plan names; its identity is what decides its numbers."""

from dataclasses import replace

import pytest

from shiftlab.detector import Detector, Geometry
from shiftlab.errors import ConfigError, DataError, UnknownNameError
from shiftlab.events.sample import write_sample
from shiftlab.run.ingredients import choose_device, choose_workers, identity, make_universes, read_events


@pytest.fixture
def pixels(plan):
    return Detector.from_config(plan.detector)


def test_universes_are_nominal_unisims_joint_injected_and_the_recalibrated_ones(plan, pixels):
    universes = make_universes(plan, pixels)
    assert [universe.name for universe in universes] == [
        "nominal",
        *("lifetime_tau-1", "lifetime_tau+1", "gain_scale-1", "gain_scale+1"),
        *("joint_00", "joint_01", "injected"),
        *("lifetime_tau-1_mip", "lifetime_tau+1_mip", "gain_scale-1_mip", "gain_scale+1_mip", "injected_mip"),
    ]
    assert {universe.group for universe in universes} == {"nominal", "unisim", "multisim", "injected"}


def test_a_nuisance_can_be_looked_at_again_with_exact_constants(plan, pixels):
    """Those universes need no muons, and their names and recalibration say what they are."""
    again = replace(plan.universes, joint=0, mip=("gain_scale",), exact=("lifetime_tau",))
    found = {u.name: u.recalibrate for u in make_universes(replace(plan, universes=again), pixels)}
    assert {name: how for name, how in found.items() if how == "exact"} == dict.fromkeys(
        ("lifetime_tau-1_exact", "lifetime_tau+1_exact", "injected_exact"), "exact"
    )
    assert [name for name, how in found.items() if how == "mip"] == [
        *("gain_scale-1_mip", "gain_scale+1_mip", "injected_mip")
    ]


def test_the_two_joint_universes_of_a_pair_are_opposite(plan, pixels):
    one, other = (u for u in make_universes(plan, pixels) if u.group == "multisim")
    assert [value for _, value in one.nuisances] == [-value for _, value in other.nuisances]
    assert one.throw == other.throw


def test_joint_universes_are_drawn_as_the_plan_says(plan, pixels):
    wider = replace(plan.universes, joint=16, scramblings=8, correlations={"gain_scale+lifetime_tau": 0.9})
    joint = [u for u in make_universes(replace(plan, universes=wider), pixels) if u.group == "multisim"]
    assert [u.scrambling for u in joint] == [number for number in range(1, 9) for _ in range(2)]
    assert sum(u.value("gain_scale") * u.value("lifetime_tau") > 0 for u in joint) > 8
    alone = replace(plan.universes, joint=3, draws="independent")
    throws = [u.throw for u in make_universes(replace(plan, universes=alone), pixels) if u.group == "multisim"]
    assert len(set(throws)) == 3


def test_strengths_beyond_physics_are_left_out_where_the_plan_says_so(plan, pixels):
    wide = replace(plan.universes, strengths=(-30.0, 1.0), only=("gain_scale",), joint=0, mip=("gain_scale",))
    with pytest.raises(ConfigError, match="scale"):
        make_universes(replace(plan, universes=wide), pixels)
    less = replace(wide, unphysical="leave_out")
    assert [u.name for u in make_universes(replace(plan, universes=less), pixels)] == [
        *("nominal", "gain_scale+1", "injected", "gain_scale+1_mip", "injected_mip")
    ]


def test_frozen_maps_get_their_throws_in_pairs(plan, pixels):
    wider = replace(plan.universes, only=("gain_spread",), throws={"gain_spread": 4}, mip=())
    universes = [u for u in make_universes(replace(plan, universes=wider), pixels) if u.group == "unisim"]
    assert [(u.throw, u.value("gain_spread")) for u in universes] == [(t, s) for t in range(4) for s in (-1.0, 1.0)]


def test_an_injected_nuisance_that_does_not_exist_gets_the_nearest_name(plan, pixels):
    with pytest.raises(UnknownNameError, match="Did you mean 'gain_scale'"):
        make_universes(replace(plan, injected={"gain_scal": 1.0}), pixels)


def test_an_injected_value_outside_its_bounds_is_refused(plan, pixels):
    with pytest.raises(ConfigError, match="recombination"):
        make_universes(replace(plan, injected={"recombination_alpha": 1e6}), pixels)


def test_calibration_muons_are_taken_out_of_the_evaluation(plan):
    events, muons = read_events(plan)
    assert set(muons.events.sample) == {"calibration_muon"}
    assert set(events.events.sample) == {"numu_cc", "nue_cc", "photon_protons"}
    assert len(events) == 90
    assert not set(events.events.vertex.tolist()) & set(muons.events.vertex.tolist())


def test_a_limit_takes_the_first_events_of_each_sample(plan):
    events, muons = read_events(replace(plan, data=replace(plan.data, limit=3)))
    assert sorted(events.events.sample) == ["nue_cc"] * 3 + ["numu_cc"] * 3 + ["photon_protons"] * 3
    assert len(muons) == 20


def test_a_sample_without_evaluation_events_is_refused(plan, tracks, tmp_path):
    muons = tracks(4, sample="calibration_muon")
    write_sample(tmp_path / "muons.h5", muons.keep(Geometry().inside(muons.position)), {"made_by": "tests"})
    with pytest.raises(DataError, match="no event is left"):
        read_events(replace(plan, data=replace(plan.data, evaluation=tmp_path / "muons.h5")))


def test_identity_follows_what_decides_numbers_and_not_the_number_of_workers(plan, ingredients, tmp_path):
    first = identity(plan, "cpu")
    assert identity(replace(plan, workers=2), "cpu") == first
    assert identity(replace(plan, seed=2), "cpu") != first
    assert identity(replace(plan, chunk=33), "cpu") != first
    assert identity(plan, "cuda") != first
    copy = tmp_path / "elsewhere.h5"
    copy.write_bytes(plan.data.evaluation.read_bytes())
    assert identity(replace(plan, data=replace(plan.data, evaluation=copy)), "cpu") == first
    copy.write_bytes(copy.read_bytes() + b"\0")
    assert identity(replace(plan, data=replace(plan.data, evaluation=copy)), "cpu") != first


def test_the_device_auto_is_written_out(plan):
    assert choose_device("auto") in ("cpu", "cuda")
    assert identity(replace(plan, device="auto"), "cpu") == identity(plan, "cpu")


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="device = cuda:99"):
        choose_device("cuda:99")


def test_a_gpu_is_driven_by_one_process_and_a_processor_by_one_per_core(plan):
    assert choose_workers(plan, "cpu") == 1
    assert choose_workers(replace(plan, workers=0), "cpu") >= 1
    assert choose_workers(replace(plan, workers=0), "cuda") == 1
