"""Augmentations are pure functions of event and key, keep what they declare, and say which shifts they cover."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftlab.arms.augmentations import (
    EnergyJitter,
    EnergyScale,
    Grid,
    ImageAugmentation,
    Mirror,
    Turn,
    VoxelJitter,
    augment,
    declared,
)
from shiftlab.arms.contract import InputContract
from shiftlab.arms.coverage import coverage, seen_by
from shiftlab.arms.foundation_model import FoundationModel
from shiftlab.arms.objectives.self_distillation import SelfDistillation
from shiftlab.arms.patches import group
from shiftlab.arms.views import Crops, HiddenBlocks
from shiftlab.detector import effects
from shiftlab.detector.nuisances import Nuisance
from shiftlab.detector.parameter import Parameter
from shiftlab.errors import ConfigError

CONTRACT = InputContract()
ALL = (Turn(), Turn(mirrors=True), Mirror(), VoxelJitter(), EnergyJitter(), EnergyScale())
KEEPING = (Turn(), Turn(mirrors=True), Mirror(), VoxelJitter(0.5))
NAMES = [type(one).__name__ for one in ALL]


def same(one, other):
    return all(
        torch.equal(getattr(one, name), getattr(other, name)) for name in ("offsets", "cell", "charge", "energy")
    )


def per_event(image, values):
    return torch.zeros(len(image), dtype=torch.float64).index_add_(0, image.event_index, values.double())


@pytest.mark.parametrize("augmentation", ALL, ids=NAMES)
def test_an_image_is_a_function_of_the_key_alone(view, augmentation):
    image = view[0]
    before = (image.cell.clone(), image.energy.clone())
    state = torch.random.get_rng_state()
    one, other = augmentation(image, CONTRACT, 3), augmentation(image, CONTRACT, 3)
    assert same(one, other)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(image.cell, before[0])
    assert torch.equal(image.energy, before[1])
    assert not same(one, augmentation(image, CONTRACT, 4))
    assert not same(one, image)


@pytest.mark.parametrize("augmentation", ALL, ids=NAMES)
def test_an_event_is_varied_alike_in_any_batch_and_order(view, augmentation):
    image = view[0]
    order = torch.tensor([17, 2, 3, 9])
    assert same(augmentation(image, CONTRACT, 5).take(order), augmentation(image.take(order), CONTRACT, 5))


@pytest.mark.parametrize("augmentation", ALL, ids=NAMES)
def test_what_comes_out_is_an_image(view, augmentation):
    image = augmentation(view[0], CONTRACT, 1)
    assert image.offsets[-1] == len(image.cell) == len(image.energy) == len(image.charge)
    assert int(image.cell.min()) >= 0
    assert int(image.cell.max()) < 768**3
    inside = image.event_index.diff() == 0
    assert (image.cell.diff()[inside] > 0).all()
    assert group(image, CONTRACT).lengths[[3, 11]].tolist() == [0, 0]


@settings(max_examples=20, deadline=None)
@given(key=st.integers(0, 2**40), which=st.integers(0, len(KEEPING) - 1))
def test_moving_voxels_keeps_the_energy_and_charge_of_each_event(view, key, which):
    image = view[0]
    found = KEEPING[which](image, CONTRACT, key)
    for name in ("energy", "charge"):
        before, after = per_event(image, getattr(image, name)), per_event(found, getattr(found, name))
        torch.testing.assert_close(before, after, rtol=1e-6, atol=0.0)


@pytest.mark.parametrize("augmentation", [Turn(mirrors=True), Mirror()], ids=["turn", "mirror"])
def test_turns_and_mirrors_are_rigid_and_leave_the_drift_alone(view, augmentation):
    image = view[0].take([0, 1, 2, 4, 5, 6, 7, 8])
    found = augmentation.apply(image, CONTRACT, 2)
    assert torch.equal(found.image.energy, image.energy[found.source])
    assert torch.equal(found.source.sort().values, torch.arange(len(image.cell)))
    before, after = image.index[found.source], found.image.index
    assert torch.equal(before[:, 0], after[:, 0])
    for event in range(len(image)):
        own = found.image.event_index == event
        one, other = (place[own].double() for place in (before, after))
        torch.testing.assert_close(torch.cdist(one[:20], one[:20]), torch.cdist(other[:20], other[:20]))


def test_four_quarters_are_all_drawn_and_two_mirrors_too(view):
    image = view[0]
    middle = (torch.tensor(image.shape) - 1) / 2
    kinds = set()
    for key in range(8):
        found = Turn().apply(image, CONTRACT, key)
        first = found.image.offsets[:-1][found.image.offsets.diff() > 0]
        before, after = image.index[found.source[first]] - middle, found.image.index[first] - middle
        cross = before[:, 1] * after[:, 2] - before[:, 2] * after[:, 1]
        dot = before[:, 1] * after[:, 1] + before[:, 2] * after[:, 2]
        kinds |= set((torch.atan2(cross, dot) / (torch.pi / 2)).round().abs().int().tolist())
        torch.testing.assert_close((cross.square() + dot.square()).sqrt(), before[:, 1:].square().sum(dim=1))
    assert kinds == {0, 1, 2}


def test_along_the_drift_nothing_is_mirrored_and_wires_have_no_symmetry(view):
    with pytest.raises(ConfigError, match="allowed are y and z"):
        Mirror(axes=("x",))
    wires = replace(CONTRACT, views=3)
    for augmentation in (Mirror(), Turn()):
        with pytest.raises(ConfigError, match=r"wire image|square pixel anode"):
            augmentation(view[0], wires, 0)


def test_voxel_jitter_moves_the_declared_share_by_one_cell(view):
    image = view[0]
    found = VoxelJitter(0.2).apply(image, CONTRACT, 9)
    away = (found.image.index - image.index[found.source]).abs()
    assert int(away.sum(dim=1).max()) == 1
    moved = 1 - (away.sum(dim=1) == 0).double().mean()
    # Some of the moved voxels met another one, and its place is kept where that had more energy.
    assert 0.12 < float(moved) < 0.22
    assert len(found.image.cell) < len(image.cell)
    met = torch.ones(len(image.cell), dtype=torch.bool)
    met[found.source] = False
    assert int(met.sum()) == len(image.cell) - len(found.image.cell)


def test_energy_jitter_has_the_declared_width_and_limit_in_the_declared_events(view):
    image = view[0]
    found = EnergyJitter(0.05, 0.1, 0.8)(image, CONTRACT, 7)
    ratio = (found.energy / image.energy).double()
    varied = torch.zeros(len(image)).index_add_(0, image.event_index, (ratio != 1).float()) > 0
    assert 0.5 < float(varied.float().mean()) < 0.95
    off = ratio[varied[image.event_index]] - 1
    assert float(off.abs().max()) <= 0.1 + 1e-6
    assert 0.044 < float(off.std()) < 0.053
    assert abs(float(off.mean())) < 0.005
    torch.testing.assert_close(found.charge / image.charge, found.energy / image.energy)


def test_the_energy_scale_is_one_factor_an_event_within_its_reach(view):
    image = view[0]
    found = EnergyScale(0.1)(image, CONTRACT, 7)
    ratio = found.energy / image.energy
    for event in (0, 1, 2):
        own = ratio[image.event_index == event]
        torch.testing.assert_close(own, own[:1].expand_as(own))
    assert 0.9 <= float(ratio.min()) < 0.95 < 1.05 < float(ratio.max()) <= 1.1


def test_sources_of_several_augmentations_lead_back_to_the_first_image(view):
    image = view[0]
    found = augment(image, CONTRACT, (Turn(), VoxelJitter(), EnergyScale()), 4)
    assert len(found.source) == len(found.image.cell)
    assert torch.equal(image.event_index[found.source], found.image.event_index)
    away = (found.image.index[:, 0] - image.index[found.source, 0]).abs()
    assert int(away.max()) <= 1
    nothing = augment(image, CONTRACT, (), 4)
    assert same(nothing.image, image)


@pytest.mark.parametrize(
    "make",
    [lambda: VoxelJitter(1.5), lambda: EnergyJitter(clip=1.0), lambda: EnergyJitter(-0.1), lambda: EnergyScale(1.0)],
)
def test_settings_that_mean_nothing_are_refused(make):
    with pytest.raises(ConfigError, match=r"1\.5|1\.0|-0\.1"):
        make()


def nuisance(name, effect, nominal=1.0, sigma=0.02, **more):
    return Nuisance(name, effect, Parameter(name.removeprefix(f"{effect}_"), nominal, sigma, "1", (0.0, 9.0), **more))


GAIN = nuisance("residual_gain_scale", "residual_gain")
"""Charge times a factor after the threshold."""


def test_a_shift_is_inside_only_up_to_the_range_that_was_seen():
    seen = declared(EnergyScale(0.1))
    assert coverage(seen, [GAIN])[0].verdict == "inside"
    wide = nuisance("residual_gain_scale", "residual_gain", sigma=0.15)
    (found,) = coverage(seen, [wide])
    assert found.verdict == "partly"
    assert "one sigma leaves the range 0.9 to 1.1" in found.why
    zero = nuisance("residual_gain_scale", "residual_gain", nominal=0.0)
    assert coverage(seen, [zero])[0].verdict == "partly"


def test_coherent_shifts_are_outside_what_self_distillation_has_seen(pixel):
    found = {one.nuisance: one.verdict for one in coverage(SelfDistillation.augmentations, pixel.nuisances)}
    assert list(found) == [one.name for one in pixel.nuisances]
    for name in ("gain_scale", "recombination_alpha", "lifetime_tau", "dead_chips_fraction", "threshold_level"):
        assert found[name] == "outside"
    assert found["gain_spread"] == found["noise_enc"] == "partly"
    assert "inside" not in found.values()


def test_a_nuisance_is_looked_up_by_its_own_name_before_that_of_its_effect():
    said = {"residual_gain": "inside: by the effect", "residual_gain_scale": "partly: by the nuisance"}
    assert coverage(said, [GAIN])[0].why == "by the nuisance"
    assert coverage({"residual_gain": said["residual_gain"]}, [GAIN])[0].verdict == "inside"
    assert coverage({"mirror": "y about the middle"}, [GAIN])[0].verdict == "outside"


def test_an_arm_has_seen_what_it_and_its_foundation_model_declare(arm, alone, pixel):
    """Arms are told by name; of two seeds the first one speaks, and silence is no coverage."""
    alone.record["augmentations"] = declared(Mirror(axes=("y",)), Grid())
    rows = seen_by([arm, alone], pixel.nuisances)
    assert [row["arm"] for row in rows] == ["foundation"] * len(pixel.nuisances) + ["scratch"] * len(pixel.nuisances)
    assert {row["verdict"] for row in rows if row["arm"] == "foundation"} == {"not declared"}
    assert {row["verdict"] for row in rows if row["arm"] == "scratch"} == {"outside"}
    assert rows[-1]["declared"].startswith("mirror: y about the middle of the detector; grid: patch grid")
    arm.foundation = FoundationModel(
        arm.networks["shared"].body,
        {"objective": {"name": "self_distillation", "augmentations": dict(SelfDistillation.augmentations)}},
        np.zeros(0, dtype=np.int64),
    )
    found = {row["nuisance"]: row["verdict"] for row in seen_by([arm], pixel.nuisances)}
    assert found["gain_spread"] == "partly"
    assert found["gain_scale"] == "outside"


def test_what_is_said_to_be_covered_are_effects_and_nuisances_of_the_catalogue():
    kinds = effects()
    known = set(kinds.names())
    known |= {f"{name}_{parameter.name}" for name in kinds.names() for parameter in kinds.get(name).parameters}
    for one in (*ALL, Grid(), Crops(), HiddenBlocks()):
        assert set(one.covers) <= known
        assert one.name not in known
        for words in one.covers.values():
            assert coverage({"residual_gain_scale": words}, [GAIN])[0].verdict != "outside"


def test_a_declaration_survives_a_json_file():
    seen = declared(*ALL, Grid(), Crops(), HiddenBlocks())
    again = json.loads(json.dumps(seen))
    assert coverage(again, [GAIN]) == coverage(seen, [GAIN])


def test_an_augmentation_of_ones_own_needs_a_name_words_and_an_image():
    @dataclass(frozen=True)
    class Nothing(ImageAugmentation):
        name = "nothing"

        @property
        def words(self):
            return "nothing at all"

    with pytest.raises(TypeError, match="apply"):
        Nothing()
