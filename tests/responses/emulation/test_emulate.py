"""Emulated universes are what the responses to single nuisances say, and nothing passes for simulated that is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftlab.detector import Universe
from shiftlab.errors import ConfigError, DataError, RunError, UnknownNameError
from shiftlab.responses import Responses
from shiftlab.responses.emulation import EmulationSettings, emulate, emulator
from shiftlab.responses.emulation.curves import weights
from shiftlab.responses.emulation.points import Points
from shiftlab.templates import templates


def test_a_quadratic_response_is_emulated_exactly_in_any_joint_universe(toys):
    answer, asked = toys.quadratic(), toys.joints(30, seed=9)
    found = emulate(toys.store(answer, toys.unisims() + toys.joints(2)), asked, tasks=toys.tasks)
    for one in asked:
        outputs = found.task("energy")["output"].sel(universe=f"emulated_{one.name}").values[0, 0]
        truth = answer({name: one.value(name) for name in toys.nuisances}, 0)
        np.testing.assert_allclose(outputs, truth, atol=5e-6)


def test_the_unisims_that_the_response_is_made_of_are_met_and_others_are_as_the_parabola_says(toys):
    rng = np.random.default_rng(2)
    jumps = rng.normal(size=(5, toys.events, 1))
    places = {0.0: 0, 1.0: 1, -1.0: 2, 2.0: 3, -2.0: 4}
    source = toys.store(lambda z, throw: jumps[places[z["gain"]]], toys.unisims((-2.0, -1.0, 1.0, 2.0), ["gain"]))
    maker = emulator(source, tasks=toys.tasks, refuse=False)
    same = maker.store([toys.universe({"gain": z}, name=f"{z:g}") for z in (1.0, -1.0, 2.0)], unisims=False)
    nominal, up, down, twice = same.task("energy")["output"].values[0, 0].astype(np.float64)
    direct = source.task("energy")["output"].sel(universe=["gain+1", "gain-1"]).values[0, 0]
    np.testing.assert_allclose(np.stack([up, down]), direct, atol=1e-6)
    odd, even = (up - down) / 2, (up + down) / 2 - nominal
    np.testing.assert_allclose(twice, nominal + 2 * odd + 4 * even, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(z=st.floats(-4, 4), form=st.sampled_from(["quadratic", "interpolated"]), strength=st.sampled_from([0.5, 1.0]))
def test_weights_meet_the_anchors_and_a_linear_response_is_kept_linear(toys, z, form, strength):
    rows = [Universe("nominal"), *toys.unisims((-strength, strength), ["gain"])]
    source = toys.store(lambda z, throw: np.ones((4, 1)), rows[1:], names=["gain"])
    points = Points.of_store(source.task("energy"))
    rule = EmulationSettings(form=form, anchors=(strength,))
    asked = points.asked([toys.universe({"gain": one}, name=str(i)) for i, one in enumerate((z, strength, -strength))])
    found = weights(points, asked, rule)
    assert found[0] @ points.value[:, 0] == pytest.approx(z, abs=1e-12)
    np.testing.assert_allclose(found[1:], [[0, 0, 1], [0, 1, 0]], atol=1e-12)


def test_an_interpolated_response_goes_through_every_anchor_and_on_from_the_last_two(toys):
    rng = np.random.default_rng(3)
    places = {0.0: 0, 1.0: 1, -1.0: 2, 2.0: 3, -2.0: 4}
    points = rng.normal(size=(5, toys.events, 1)) * 0.1

    def answer(z, throw):
        return 3.0 + points[places[z["gain"]]] + 0.1 * z["noise"]

    rows = [*toys.unisims((-2.0, -1.0, 1.0, 2.0), ["gain", "noise"]), toys.universe({"gain": 2.0, "noise": 1.0})]
    rule = EmulationSettings(form="interpolated", anchors=(1.0, 2.0))
    maker = emulator(toys.store(answer, rows), tasks=toys.tasks, settings=rule)
    asked = [toys.universe({"gain": z}, name=f"{z:g}") for z in (1.5, -0.5, 3.0)]
    nominal, between, half, beyond = maker.store(asked, unisims=False).task("energy")["output"].values[0, 0]
    np.testing.assert_allclose(between, 3.0 + (points[1] + points[3]) / 2, atol=1e-6)
    np.testing.assert_allclose(half, (nominal + 3.0 + points[2]) / 2, atol=1e-6)
    np.testing.assert_allclose(beyond, 3.0 + 2 * points[3] - points[1], atol=1e-6)


def test_pairs_give_the_term_that_the_sum_of_two_nuisances_lacks(toys):
    rng = np.random.default_rng(4)
    mixed = rng.normal(size=(toys.events, 1))

    def answer(z, throw):
        return 4.0 + 0.2 * z["gain"] - 0.1 * z["noise"] + mixed * z["gain"] * z["noise"]

    corners = ((1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0))
    pairs = [toys.universe({"gain": a, "noise": b}, group="injected") for a, b in corners]
    source = toys.store(answer, toys.unisims() + pairs + toys.joints(2))
    asked = toys.universe({"gain": 1.5, "noise": -2.0})
    found = emulate(source, [asked], tasks=toys.tasks, settings=EmulationSettings(pairs=True))
    wanted = answer({"gain": 1.5, "noise": -2.0}, 0)
    np.testing.assert_allclose(found.task("energy")["output"].values[0, 0, -1], wanted, atol=1e-5)


def test_a_one_sided_nuisance_moves_by_the_size_of_its_displacement(toys):
    source = toys.store(
        lambda z, throw: np.full((toys.events, 1), 1.0 + 0.5 * abs(z["gain"])),
        [toys.universe({"gain": 1.0}, group="unisim"), toys.universe({"gain": 2.0}, group="unisim")],
        names=["gain"],
        one_sided=["gain"],
    )
    found = emulate(
        source, [toys.universe({"gain": 1.5}), toys.universe({"gain": -1.5})], tasks=toys.tasks, unisims=False
    )
    np.testing.assert_allclose(found.task("energy")["output"].values[0, 0, 1:, 0, 0], [1.75, 1.75], atol=1e-6)


def test_a_side_that_was_not_run_is_the_mirror_image_of_the_other(toys):
    rows = [toys.universe({"gain": z}, group="unisim") for z in (-1.0, -2.0)]
    source = toys.store(lambda z, throw: np.full((toys.events, 1), 1.0 + 0.5 * z["gain"]), rows, names=["gain"])
    found = emulate(
        source, [toys.universe({"gain": z}, name=f"{z:g}") for z in (2.0, -0.5)], tasks=toys.tasks, unisims=False
    )
    np.testing.assert_allclose(found.task("energy")["output"].values[0, 0, 1:, 0, 0], [2.0, 0.75], atol=1e-6)


def maps(toys, throws: Sequence[int]):
    """A frozen map: each throw moves each event by its own amount; gain moves all alike."""
    shape = {throw: np.random.default_rng(throw).normal(size=(toys.events, 1)) for throw in throws}

    def answer(z, throw):
        return 10.0 + 2.0 * z["gain"] + shape[throw] * z["noise"]

    rows = [toys.universe({"noise": z}, group="unisim", throw=t) for t in throws[:3] for z in (-1.0, 1.0)]
    return (
        answer,
        shape,
        [*toys.unisims(names=["gain"]), *rows, toys.universe({"gain": 1.0, "noise": 1.0}, throw=throws[0])],
    )


def test_a_frozen_map_is_that_of_the_throw_where_it_was_run_and_one_of_the_others_elsewhere(toys):
    answer, shape, rows = maps(toys, [0, 1, 2])
    names = ["gain", "noise"]
    asked = [toys.universe({"noise": 0.5}, throw=2), *(toys.universe({"noise": 1.0}, throw=100 + i) for i in range(40))]
    asked += [toys.universe({"noise": -1.0}, name=f"opposite_{i}", throw=100 + i) for i in range(40)]
    found = emulate(toys.store(answer, rows, names=names), asked, tasks=toys.tasks, unisims=False)
    moved = found.task("energy")["output"].values[0, 0, 1:, :, 0] - 10.0
    np.testing.assert_allclose(moved[0], 0.5 * shape[2][:, 0], atol=1e-5)
    which = [int(np.argmin([np.abs(one - shape[t][:, 0]).max() for t in range(3)])) for one in moved[1:41]]
    assert set(which) == {0, 1, 2}, "every map is drawn"
    assert len(set(which[:6])) > 1
    np.testing.assert_allclose(moved[41:], -moved[1:41], atol=1e-5)
    # 40 draws of three maps: each is expected 13.3 times, with a binomial spread of 3.0.
    assert max(which.count(t) for t in range(3)) < 13.3 + 4 * 3.0


def test_positive_outputs_multiply_and_never_become_negative(toys):
    def answer(z, throw):
        energy = np.full((toys.events, 1), 500.0)
        energy[0] = 0.0
        energy[1] = 5.0 if z["gain"] >= 0 else 0.0  # jumps to nothing on one side
        return energy * 1.05 ** z["gain"] * 0.97 ** z["noise"]

    rows = [*toys.unisims(names=["gain", "noise"]), toys.universe({"gain": 1.0, "noise": -1.0}, name="both")]
    asked = [
        toys.universe({"gain": 2.0, "noise": 1.5}, name="up"),
        toys.universe({"gain": -3.0, "noise": 1.0}, name="down"),
    ]
    found = emulate(
        toys.store(answer, rows, names=["gain", "noise"]),
        asked,
        tasks={"energy": toys.mean_of("positive")},
        unisims=False,
    )
    up, down = found.task("energy")["output"].values[0, 0, 1:, :, 0]
    np.testing.assert_allclose(up[2:], 500.0 * 1.05**2 * 0.97**1.5, rtol=1e-6)
    assert up[0] == 0.0
    assert (down >= 0.0).all()
    assert down[1] == 0.0


def test_negative_outputs_of_a_task_that_declares_positive_ones_are_refused(toys):
    source = toys.store(lambda z, throw: np.full((toys.events, 1), -1.0 + z["gain"]), toys.unisims() + toys.joints(1))
    with pytest.raises(DataError, match=r"task 'energy': 120 events have negative outputs"):
        emulate(source, toys.joints(1), tasks={"energy": toys.mean_of("positive")})


def test_unit_vectors_keep_their_length(toys):
    def answer(z, throw):
        angle = 0.1 * z["gain"] + np.linspace(0, 3, toys.events)
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)

    rows = [*toys.unisims(names=["gain", "noise"]), toys.universe({"gain": 1.0, "noise": 1.0})]
    source = toys.store(answer, rows, names=["gain", "noise"])
    asked = [toys.universe({"gain": 2.5, "noise": 1.0})]
    found = emulate(source, asked, tasks={"energy": toys.mean_of("unit")}, settings=EmulationSettings(limit=0.5))
    outputs = found.task("energy")["output"].values[0, 0, -1]
    np.testing.assert_allclose(np.linalg.norm(outputs, axis=-1), 1.0, atol=1e-6)
    np.testing.assert_allclose(outputs, answer({"gain": 2.5}, 0), atol=0.01)


def test_sums_over_events_keep_their_total_where_single_counts_go_below_zero(toys):
    """True cells of a class are not made or lost by emulation: odd and even parts of their sum vanish."""
    rng = np.random.default_rng(5)
    right = rng.integers(0, 3, size=(7, toys.events)).astype(float)
    places = {
        name: i for i, name in enumerate(["nominal", *(f"{n}{z:+g}" for n in toys.nuisances for z in (-1.0, 1.0))])
    }

    def answer(z, throw):
        moved = [f"{name}{z[name]:+g}" for name in toys.nuisances if z[name]]
        hit = right[places.get(moved[0] if len(moved) == 1 else "nominal", 0)]
        return np.stack([hit, 4.0 - hit], axis=1)

    source = toys.store(answer, toys.unisims() + toys.joints(1))
    maker = emulator(source, tasks={"energy": toys.mean_of("sum")}, refuse=False)
    outputs = maker.store(toys.joints(20, seed=7), unisims=False).task("energy")["output"].values[0, 0, 1:]
    assert (outputs < 0).any()
    np.testing.assert_allclose(outputs.sum(axis=-1), 4.0, atol=1e-5)


def test_an_emulated_store_says_so_in_names_coordinate_and_provenance_also_after_saving(toys, tmp_path: Path):
    source = toys.store(toys.quadratic(), toys.unisims() + toys.joints(2))
    found = emulate(source, toys.joints(3, seed=9), tasks=toys.tasks)
    found.save(tmp_path / "emulated.h5")
    again = Responses.load(tmp_path / "emulated.h5")
    assert again.emulated == ("emulated_joint_0", "emulated_joint_1", "emulated_joint_2")
    assert again.universes[:7] == source.universes[:7]
    assert source.emulated == ()
    record = again.attrs["emulated"]
    assert record["source_plan"] == "direct"
    assert again.attrs["plan"] not in ("direct", None)
    assert {check["universe"] for check in record["closure"][0]["checks"]} == {"joint_0", "joint_1"}
    xr.testing.assert_identical(again.task("energy"), found.task("energy"))
    other = emulate(source, toys.joints(3, seed=10), tasks=toys.tasks)
    assert other.attrs["plan"] != found.attrs["plan"]


def test_templates_of_emulated_universes_are_refused(toys):
    """The cuts on the image were not run again in them: their yields would not move."""
    source = toys.store(toys.quadratic(), toys.unisims() + toys.joints(2))
    found = emulate(source, toys.joints(3, seed=9), tasks=toys.tasks)
    with pytest.raises(DataError, match=r"3 of the universes are emulated .* templates cannot be made of them"):
        templates(found)


def test_emulated_universes_are_no_source_of_others(toys):
    found = emulate(
        toys.store(toys.quadratic(), toys.unisims() + toys.joints(2)), toys.joints(3, seed=9), tasks=toys.tasks
    )
    with pytest.raises(DataError, match="3 universes of these responses are emulated themselves"):
        emulate(found, toys.joints(1), tasks=toys.tasks)


def test_the_selection_of_an_emulated_universe_is_the_nominal_one_and_its_observable_its_own(toys):
    found = emulate(
        toys.store(toys.quadratic(), toys.unisims() + toys.joints(2)), toys.joints(3, seed=9), tasks=toys.tasks
    ).task("energy")
    np.testing.assert_array_equal(found["selected"].values[:, :, -1], found["selected"].values[:, :, 0])
    np.testing.assert_array_equal(found["observable"].values[0, 0, -1], found["output"].values[0, 0, -1, :, 0])


def test_blocks_give_the_same_numbers_as_one_store_and_hold_the_memory_that_is_allowed(toys):
    source = toys.store(toys.quadratic(), toys.unisims() + toys.joints(2))
    asked = toys.joints(25, seed=9)
    whole = emulate(source, asked, tasks=toys.tasks, unisims=False).task("energy")["output"].values[:, :, 1:]
    one = emulator(source, tasks=toys.tasks)
    room = replace(one.settings, memory=4 * 10 * one.bytes_per_universe())
    parts = list(replace(one, settings=room).blocks(asked))
    assert [len(part.emulated) for part in parts] == [10, 10, 5]
    joined = np.concatenate([part.task("energy")["output"].values[:, :, 1:] for part in parts], axis=2)
    np.testing.assert_allclose(joined, whole, rtol=1e-6, atol=1e-6)
    with pytest.raises(RunError, match="take them in blocks"):
        replace(one, settings=replace(room, memory=one.bytes_per_universe())).store(asked)


def test_displacements_beyond_what_was_simulated_are_counted(toys):
    source = toys.store(toys.quadratic(), toys.unisims() + toys.joints(2))
    asked = [toys.universe({"gain": 6.0}), toys.universe({"gain": -7.0, "noise": 0.1})]
    assert emulate(source, asked, tasks=toys.tasks).attrs["emulated"]["beyond_tested"] == {"gain": 2}


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ([("far", "gian", 1.0)], UnknownNameError, "Did you mean 'gain'"),
        ([], DataError, "no universes to emulate"),
        ([("far", "gain", 2.0), ("far", "gain", 3.0)], DataError, "'far' is to be emulated twice"),
        ([("again", "gain", 1.0)], DataError, r"'again' is directly simulated: 'gain\+1'"),
    ],
)
def test_universes_that_cannot_be_meant_are_refused(toys, asked, error, message):
    source = toys.store(toys.quadratic(), toys.unisims() + toys.joints(2))
    with pytest.raises(error, match=message):
        emulate(source, [Universe(name, ((key, z),)) for name, key, z in asked], tasks=toys.tasks)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"form": "cubic"}, "allowed: auto, quadratic, interpolated"),
        ({"anchors": (1.0, 2.0)}, "goes through one strength"),
        ({"anchors": ()}, "different strengths above 0"),
        ({"anchors": (1.0, -1.0)}, "different strengths above 0"),
        ({"limit": 0.0}, r"limit = 0.0; it must be above 0"),
        ({"limit": float("nan")}, "limit = nan"),
        ({"floor": -1.0}, "must not be negative"),
    ],
)
def test_settings_that_mean_nothing_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        EmulationSettings(**changes)
