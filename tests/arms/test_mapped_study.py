"""Arms trained from a file of events, whose images are mapped, are those that memory gives, bit for bit."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from shiftlab.arms import arms
from shiftlab.arms.admitted import under_contract
from shiftlab.arms.images.store import TrainingFile
from shiftlab.arms.images.store_making import store_images
from shiftlab.arms.public.point_contract import PointContract
from shiftlab.arms.training.ahead import Ahead
from shiftlab.arms.training.sample import described
from shiftlab.arms.training.study import train_study
from shiftlab.arms.training_set import training_set
from shiftlab.config import detector_config
from shiftlab.detector import Detector
from shiftlab.detector.recorder import recorder
from shiftlab.errors import ConfigError, DataError, RunError
from shiftlab.events import concatenate, read
from shiftlab.events.sample import SampleWriter
from shiftlab.events.splits import make_manifest
from shiftlab.tasks import named_tasks

TASKS = named_tasks(["segmentation", "flavour"])
NAMES = ("foundation", "finetuned", "scratch", "multitask", "classic", "random")


def write(path, deposits):
    """Write a sample of deposits bit for bit."""
    with SampleWriter(path, exact=True) as writer:
        writer.append(deposits)
    return path


@pytest.fixture(scope="module")
def brief(recipe):
    """A few steps for every arm, judged on held-out vertices, with few labels."""
    return replace(
        recipe, body=24, head=24, scratch=24, finetune=24, multitask=16, frozen=0.5, validation=0.2, labels=14
    )


@pytest.fixture(scope="module")
def file(draw, tmp_path_factory):
    """60 events on disk, one of which has no deposits."""
    deposits = draw(60, 4)
    kept = deposits.keep(deposits.event_index != 7)
    return TrainingFile(write(tmp_path_factory.mktemp("sample") / "train.h5", kept))


def trained(sample, pixel, folder, brief, names=NAMES, **given):
    """Train into a folder and return it."""
    given = {"names": names, "seeds": (0,), "recipe": brief, "progress": False, **given}
    return train_study(sample, pixel, folder, arms(), TASKS, **given)


@pytest.fixture(scope="module")
def mapped(file, pixel, brief, tmp_path_factory):
    """All arms from the file, with how many batches were cut ahead."""
    with pytest.MonkeyPatch.context() as patch:
        hits, leave = [], Ahead.__exit__
        patch.setattr(Ahead, "__exit__", lambda self, *why: (hits.append(self.hits), leave(self, *why))[1])
        return trained([file], pixel, tmp_path_factory.mktemp("mapped"), brief), hits


def contents(folder):
    """Bytes of every file of a checkpoint folder; of records and curves all but times."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.suffix == ".json":
            found[name] = timeless(json.loads(path.read_text(encoding="utf-8")))
        elif path.is_file() and path.suffix != ".csv":
            found[name] = path.read_bytes()
    return found


def timeless(value):
    """The value without wall times."""
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key != "wall_s"}
    return value


def test_every_file_of_every_arm_is_what_memory_gives(mapped, file, pixel, brief, tmp_path):
    one, other = contents(mapped[0]), contents(trained(read(file.path), pixel, tmp_path / "memory", brief))
    assert sum(name.endswith("weights.safetensors") for name in one) == 5
    assert sorted(one) == sorted(other)
    assert [name for name in one if one[name] != other[name]] == []


def test_every_batch_of_every_network_was_cut_ahead(mapped):
    # Steps of pre-training, of two heads of A, of head and rest of two tasks of B, of two of C, of D, of two of R.
    assert len(mapped[1]) == 1 + 2 + 4 + 2 + 1 + 2
    assert all(hits > 0 for hits in mapped[1])
    assert sum(mapped[1]) == 3 + 2 * 3 + 2 * (2 + 2) + 2 * 3 + 2 + 2 * 3


def test_nothing_of_the_work_is_left_and_what_is_there_is_left_alone(mapped, file, pixel, brief):
    before = {path: path.stat().st_mtime_ns for path in mapped[0].rglob("*")}
    assert not (mapped[0] / ".training").exists()
    trained([file], pixel, mapped[0], brief)
    trained(read(file.path), pixel, mapped[0], brief)  # the same sample
    assert {path: path.stat().st_mtime_ns for path in mapped[0].rglob("*")} == before
    with pytest.raises(RunError, match="another recipe, sample"):
        trained([file], pixel, mapped[0], replace(brief, body=32))


def test_one_that_was_stopped_goes_on_with_its_images_and_ends_the_same(
    mapped, file, pixel, brief, tmp_path, monkeypatch
):
    with pytest.raises(RunError, match="the same command goes on from here"):
        trained([file], pixel, tmp_path, brief, minutes=1e-9)
    (store,) = (tmp_path / ".training").glob("images-*.h5")
    made = store.stat().st_mtime_ns
    with monkeypatch.context() as patch:
        patch.setattr("shiftlab.arms.training.networks.task_loss", lambda *given: _raise(RunError("disk full")))
        with pytest.raises(RunError, match="disk full"):
            trained([file], pixel, tmp_path, brief)
    assert store.stat().st_mtime_ns == made
    assert contents(trained([file], pixel, tmp_path, brief)) == contents(mapped[0])


def _raise(error):
    raise error


def test_a_sample_is_described_alike_in_memory_and_in_files(file, draw, tmp_path):
    second = TrainingFile(write(tmp_path / "second.h5", draw(9, 5)))
    both = concatenate([read(file.path), read(second.path)])
    assert described([file, second]) == described(both)
    manifest = make_manifest([file.path], {"train": 0.4, "test": 0.6}, seed=1)
    part = TrainingFile(file.path, manifest, "train")
    assert described([part]) == described(manifest.select(read(file.path), "train"))
    assert described([part])["events"] == len(manifest.part("train"))


def test_a_file_that_cannot_be_trained_on_is_refused(file, draw, pixel, brief, tmp_path):
    store = store_images([file], pixel, tmp_path, TASKS)
    with pytest.raises(DataError, match="holds no deposits"):
        trained([TrainingFile(store.path)], pixel, tmp_path / "arms", brief)
    others = make_manifest([file.path, write(tmp_path / "b.h5", draw(5, 9))], {"train": 0.5, "test": 0.5}, seed=1)
    alone = replace(others, parts={"train": np.array([9001]), "test": np.arange(4000, 4060)})
    with pytest.raises(DataError, match="no event is in part 'train'"):
        trained([TrainingFile(file.path, alone)], pixel, tmp_path / "arms", brief)
    with pytest.raises(ConfigError, match="gives tokens"):
        train_study(
            [file], recorder(detector_config("minerva_like")), tmp_path / "arms", arms(), TASKS, names=("classic",)
        )


def test_a_contract_hides_the_same_voxels_of_mapped_images(file, pixel, tmp_path):
    memory = training_set(read(file.path), pixel, TASKS, lambda events: None)
    whole = store_images([file], pixel, tmp_path, TASKS).training_set(TASKS)
    contract = PointContract(above=float(memory.image.energy.median()))
    one, other = (under_contract(data, contract, TASKS) for data in (memory, whole))
    assert other.mapped
    assert other.contract == contract == other.store.open().contract
    assert len(other.label) < len(memory.label)
    for name in ("offsets", "cell", "charge", "energy"):
        assert torch.equal(getattr(one.image, name), getattr(other.image, name))
    assert torch.equal(one.label, other.label)
    assert all(torch.equal(one.rows[task.name], other.rows[task.name]) for task in TASKS)
    assert torch.equal(one.targets["flavour"].nan_to_num(-1), other.targets["flavour"].nan_to_num(-1))
    made = other.store.path.stat().st_mtime_ns
    assert under_contract(whole, contract, TASKS).store.path.stat().st_mtime_ns == made
    assert under_contract(whole, whole.contract, TASKS) is whole


def test_trees_on_planes_of_wires_grow_alike_from_a_file(file, brief, tmp_path):
    wires, tasks = Detector.from_config(detector_config("wire_lar")), named_tasks(["energy"])
    given = {"names": ("classic",), "seeds": (0,), "recipe": replace(brief, labels=0), "progress": False}
    for sample, name in (([file], "mapped"), (read(file.path), "memory")):
        train_study(sample, wires, tmp_path / name, arms(), tasks, **given)
    assert contents(tmp_path / "mapped") == contents(tmp_path / "memory")
