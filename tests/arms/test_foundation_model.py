"""A foundation model is stored whole, known by its digest, held to its input, and remembers what it has seen."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shiftlab.arms.bodies.voxel_transformer import VoxelTransformer
from shiftlab.arms.contract import InputContract
from shiftlab.arms.foundation_model import FoundationModel, load_foundation, save_foundation
from shiftlab.arms.training import Workshop
from shiftlab.arms.training.networks import seeded
from shiftlab.arms.training.pretraining import pretrain
from shiftlab.arms.vertex_uids import packed, uids_digest, unpacked
from shiftlab.errors import ConfigError, UnknownNameError

UIDS = st.lists(st.integers(-(2**63), 2**63 - 1), unique=True, max_size=50)


@given(UIDS)
def test_uids_come_back_exactly_in_no_more_bytes_than_the_widest_gap_needs(uids):
    ascending = np.array(sorted(uids), dtype=np.int64)
    arrays = packed(ascending)
    np.testing.assert_array_equal(unpacked(arrays), ascending)
    gaps = [b - a for a, b in zip(sorted(uids), sorted(uids)[1:], strict=False)]
    assert arrays["gap"].shape == (len(gaps), max(1, -(-max(gaps, default=0).bit_length() // 8)))


def test_hashes_of_many_vertices_take_seven_bytes_each():
    uids = np.unique(np.random.default_rng(0).integers(-(2**63), 2**63 - 1, 100_000))
    arrays = packed(uids)
    assert arrays["gap"].nbytes == 7 * (len(uids) - 1)
    np.testing.assert_array_equal(unpacked(arrays), uids)


def test_arrays_that_are_no_uids_are_refused():
    good = packed(np.array([1, 5, 9], dtype=np.int64))
    for bad in (
        {"first": good["first"]},
        {**good, "gap": good["gap"].astype(np.int64)},
        {**good, "first": good["first"][:0]},
    ):
        with pytest.raises(ConfigError, match="uids of vertices"):
            unpacked(bad)


@pytest.fixture(scope="module")
def model(lesson, recipe, tmp_path_factory):
    return pretrain(lesson, 3, recipe, Workshop(tmp_path_factory.mktemp("state"), "x"), {"files": ["a.h5"]})


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_loaded_model_saves_the_same_bytes_and_gives_the_same_features(model, lesson, tmp_path):
    save_foundation(tmp_path / "one", model)
    again = load_foundation(tmp_path / "one", lesson.contract)
    save_foundation(tmp_path / "two", again)
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert again.digest == model.digest
    np.testing.assert_array_equal(again.vertices, np.unique(lesson.image.events.vertex.numpy()))
    patches = lesson.batch(torch.arange(4), torch.Generator().manual_seed(0)).patches
    with torch.no_grad():
        assert torch.equal(again.body(patches).tokens, model.body(patches).tokens)


def test_the_card_tells_recipe_objective_events_curve_and_licence(model, recipe, tmp_path):
    save_foundation(tmp_path, model)
    card = json.loads((tmp_path / "foundation.json").read_text(encoding="utf-8"))
    assert card["objective"]["name"] == "masked_modelling"
    assert {"mirror", "grid"} <= set(card["objective"]["augmentations"])
    assert card["recipe"]["body"] == recipe.body
    assert (card["events"], card["seed"], card["files"]) == (40, 3, ["a.h5"])
    assert card["licence"] == "CC-BY-4.0"
    assert card["curves"]["body"]
    assert card["versions"]["torch"] == torch.__version__.split("+")[0] or card["versions"]["torch"]
    assert card["pretraining_vertices"] == {"count": 40, "sha256": uids_digest(model.vertices)}


def test_equal_training_gives_equal_digests_and_any_change_another(model, lesson, recipe, tmp_path):
    again = pretrain(lesson, 3, recipe, Workshop(tmp_path, "x"))
    assert again.digest == model.digest
    other = pretrain(lesson, 4, recipe, Workshop(tmp_path, "x"))
    fewer = FoundationModel(model.body, {}, model.vertices[:-1])
    assert len({model.digest, other.digest, fewer.digest}) == 3


def test_images_of_another_threshold_or_lattice_are_refused(model, lesson, tmp_path):
    save_foundation(tmp_path, model)
    for changed in ({"threshold": 2000.0}, {"pitch": 0.4}):
        with pytest.raises(ConfigError, match=f"foundation model.*trained with {next(iter(changed))}"):
            load_foundation(tmp_path, replace(lesson.contract, **changed))


def test_what_is_missing_damaged_or_swapped_is_named(model, tmp_path):
    with pytest.raises(ConfigError, match=r"arms\.foundation: no foundation model in .*shiftlab pretrain"):
        load_foundation(tmp_path / "nowhere")
    save_foundation(tmp_path / "a", model)
    with seeded(9):
        other = FoundationModel(VoxelTransformer.fresh(model.body.plain(), InputContract()), {}, model.vertices)
    save_foundation(tmp_path / "b", other)
    with pytest.raises(ConfigError, match="holds another foundation model"):
        save_foundation(tmp_path / "a", other)
    for name in ("foundation.safetensors", "pretraining_vertices.safetensors"):
        shutil.copytree(tmp_path / "a", tmp_path / name)
        damaged = tmp_path / name / name
        damaged.write_bytes(damaged.read_bytes()[:-5])
        with pytest.raises(ConfigError, match=name.replace(".", r"\.")):
            load_foundation(tmp_path / name)
    shutil.copy(tmp_path / "b" / "foundation.safetensors", tmp_path / "a" / "foundation.safetensors")
    with pytest.raises(ConfigError, match="not those that its card describes"):
        load_foundation(tmp_path / "a")


def test_a_body_that_is_not_registered_is_named(model, tmp_path):
    save_foundation(tmp_path, model)
    path = tmp_path / "foundation.json"
    card = json.loads(path.read_text(encoding="utf-8"))
    card["body"]["name"] = "voxel_transformr"
    path.write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(UnknownNameError, match="Did you mean 'voxel_transformer'"):
        load_foundation(tmp_path)
