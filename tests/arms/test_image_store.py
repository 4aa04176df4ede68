"""A store of images depends on its events alone, not on who made it in how many goes; what does not fit is refused."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

from shiftlab.arms.images.store import ImageStore, TrainingFile, _held, _mapped, made_of
from shiftlab.arms.images.store_making import store_images
from shiftlab.arms.training_set import training_set
from shiftlab.detector import NOMINAL, detector
from shiftlab.errors import ConfigError, DataError, RunError
from shiftlab.events import open_events
from shiftlab.events.sample import SampleWriter, check_digest
from shiftlab.events.splits import make_manifest
from shiftlab.tasks import match, named_tasks, truth_in

TASKS = named_tasks(["segmentation", "energy"])


@pytest.fixture(autouse=True, scope="module")
def one_source():
    """Keep the digest of the source, which a file carries, should the source be edited while this runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shiftlab.provenance.digest_source", lambda: "0" * 64)
        yield


def write(path, deposits):
    """Write a sample of deposits bit for bit."""
    with SampleWriter(path, exact=True) as writer:
        writer.append(deposits)
    return path


def emptied(deposits, events):
    """The same events, of which some lose every deposit."""
    return deposits.keep(~torch.isin(deposits.event_index, torch.tensor(events)))


@pytest.fixture(scope="module")
def sample(draw, tmp_path_factory):
    """60 events on disk, three of them without deposits, one of those the last of a chunk."""
    return write(tmp_path_factory.mktemp("sample") / "events.h5", emptied(draw(60), [0, 15, 59]))


@pytest.fixture(scope="module")
def store(sample, pixel, tmp_path_factory):
    """Their store."""
    return store_images([sample], pixel, tmp_path_factory.mktemp("store"), TASKS, chunk=16)


@pytest.mark.parametrize(("workers", "chunk"), [pytest.param(2, 7, marks=pytest.mark.slow), (1, 7), (1, 1000)])
def test_workers_and_chunks_change_no_byte(sample, pixel, store, tmp_path, workers, chunk):
    other = store_images([sample], pixel, tmp_path, TASKS, workers=workers, chunk=chunk)
    assert other.path.name == store.path.name
    assert other.path.read_bytes() == store.path.read_bytes()
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".h5", ".lock"]


KILLED = """
import sys
from pathlib import Path
from shiftlab.arms.images.store_making import store_images
from shiftlab.detector import detector
from shiftlab.tasks import named_tasks
if __name__ == "__main__":
    tasks = named_tasks(["segmentation", "energy"])
    store_images([Path(sys.argv[1])], detector("pixel_lar"), Path(sys.argv[2]), tasks, chunk=2)
"""


def test_making_that_was_killed_goes_on_to_the_same_bytes(sample, pixel, store, tmp_path):
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(sample), str(tmp_path)])
    chunks = []
    until = time.monotonic() + 60
    while len(chunks) < 3 and time.monotonic() < until and process.poll() is None:
        time.sleep(0.002)
        chunks = list(tmp_path.glob("*.chunks2/chunk*.safetensors"))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert 3 <= len(chunks) < 30
    assert not list(tmp_path.glob("*.h5"))
    chunks[0].write_bytes(chunks[0].read_bytes()[:100])  # as a disk leaves it that lost its last writes
    (chunks[0].parent / ".chunk000029.safetensors.x.part").write_bytes(b"half")
    done = []
    again = store_images([sample], pixel, tmp_path, TASKS, chunk=2, advance=done.append)
    assert again.path.read_bytes() == store.path.read_bytes()
    assert sum(done) == 60


def test_chunks_that_are_there_are_not_made_again(sample, pixel, store, tmp_path, monkeypatch):
    made = []
    from shiftlab.arms.images import store_making as making

    whole = making.write_chunk
    monkeypatch.setattr(making, "write_chunk", lambda path, *rest: (made.append(path.name), whole(path, *rest)))
    monkeypatch.setattr(making, "write_store", lambda *given: (_ for _ in ()).throw(RunError("disk full")))
    with pytest.raises(RunError, match="disk full"):
        store_images([sample], pixel, tmp_path, TASKS, chunk=20)
    monkeypatch.undo()
    monkeypatch.setattr(making, "write_chunk", lambda path, *rest: made.append(path.name))
    assert store_images([sample], pixel, tmp_path, TASKS, chunk=20).path.read_bytes() == store.path.read_bytes()
    assert made == ["chunk000000.safetensors", "chunk000001.safetensors", "chunk000002.safetensors"]


def test_labels_are_those_of_matching_and_empty_events_keep_their_place(sample, pixel, store):
    with open_events(sample) as source:
        prepared = pixel.prepare(source.read(slice(0, 60)))
    image = pixel.image(prepared)
    found = store.imaged
    assert torch.equal(found.label.long(), match(image, truth_in(pixel, prepared, NOMINAL)).label)
    for name in ("offsets", "cell", "charge", "energy"):
        assert torch.equal(getattr(found.image, name), getattr(image, name))
    empty = {0, 15}  # event 59 has a voxel of noise
    assert found.image.offsets.diff()[[0, 15, 59]].tolist() == [0, 0, 1]
    data = store.training_set(TASKS)
    assert not set(data.seen.tolist()) & empty
    assert all(not set(rows.tolist()) & empty for rows in data.rows.values())


def test_others_read_it_as_a_sample_of_images(store):
    assert check_digest(store.path).holds
    with open_events(store.path) as source:
        assert source.holds == "images"
        assert len(source) == 60
        part = source.read(slice(10, 20))
    image = store.imaged.image.take(range(10, 20))
    assert torch.equal(part.cell, image.cell)
    assert torch.equal(part.charge, image.charge)
    with h5py.File(store.path) as file:
        assert all(file[f"images/{name}"].chunks is None for name in ("cell", "charge", "energy", "label"))
        assert file["images/energy"].attrs["unit"] == "MeV"
        assert all(file[f"images/{name}"].id.get_offset() % 64 == 0 for name in file["images"])


def test_what_is_written_to_mapped_rows_never_reaches_the_file(store):
    before = hashlib.sha256(store.path.read_bytes()).hexdigest()
    other = ImageStore.open(store.path)
    other.imaged.image.energy.add_(1.0)
    assert hashlib.sha256(store.path.read_bytes()).hexdigest() == before


def test_a_store_may_be_larger_than_memory(tmp_path):
    cells = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4  # of 8 bytes each: twice the memory
    with h5py.File(tmp_path / "large.h5", "w") as file:  # a file of holes takes no room
        room = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        room.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        file.create_dataset("images/cell", shape=(cells,), dtype="<i8", dcpl=room)[-1] = 7
    with h5py.File(tmp_path / "large.h5") as file:
        column = _mapped(tmp_path / "large.h5", file, "images/cell", _held(tmp_path / "large.h5"))
    assert column[[0, cells - 1]].tolist() == [0, 7]


@pytest.fixture(scope="module")
def named(draw):
    """40 drawn events whose deposits say which particle made them: two a event, cut in the middle."""
    deposits = draw(40, seed=3)
    place = torch.arange(len(deposits.semantic)) - deposits.offsets[:-1][deposits.event_index]
    return replace(deposits, instance=(place > 40).to(torch.int32))


def test_particles_of_voxels_are_the_same_from_the_store_and_from_memory(named, pixel, tmp_path):
    tasks = named_tasks(["segmentation", "particles"])
    memory = training_set(named, pixel, tasks, lambda events: None)
    store = store_images([write(tmp_path / "events.h5", named)], pixel, tmp_path, tasks, chunk=9)
    mapped = store.training_set(tasks)
    assert torch.equal(memory.owner, mapped.owner)
    assert memory.owner.dtype == mapped.owner.dtype
    assert int(mapped.owner.max()) == 1
    rows = torch.tensor([3, 30, 0])
    one, other = (data.batch(rows, torch.Generator().manual_seed(4)) for data in (memory, mapped))
    assert torch.equal(one.owner, other.owner)
    assert torch.equal(one.particles.cells, other.particles.cells)
    assert torch.equal(one.particles.offsets, other.particles.offsets)


def test_a_store_without_particles_is_refused_by_a_task_about_them(store):
    with pytest.raises(DataError, match="is about particles"):
        store.training_set(named_tasks(["particles"]))


def test_several_files_follow_one_another(draw, pixel, tmp_path):
    first, second = draw(10, seed=1), draw(12, seed=2)
    files = [write(tmp_path / f"{name}.h5", part) for name, part in (("b", first), ("a", second))]
    store = store_images(files, pixel, tmp_path, TASKS, chunk=4)
    keys = torch.cat([first.events.key, second.events.key])
    assert torch.equal(store.imaged.image.events.key, keys)
    assert torch.equal(store.imaged.image.take(range(10, 22)).cell, pixel.image(second).cell)


def test_truth_that_one_file_lacks_is_unknown_for_its_events(draw, pixel, tmp_path):
    first, second = draw(10, seed=1), draw(10, seed=2)
    bare = {"visible_energy": second.events.truth["visible_energy"]}
    second = replace(second, events=replace(second.events, truth=bare))
    files = [write(tmp_path / "a.h5", first), write(tmp_path / "b.h5", second)]
    truth = store_images(files, pixel, tmp_path, TASKS).imaged.image.events.truth
    assert torch.equal(truth["neutrino_pdg"][:10], first.events.truth["neutrino_pdg"])
    assert bool(truth["neutrino_pdg"][10:].isnan().all())


def test_one_event_in_two_files_is_refused(draw, pixel, tmp_path):
    files = [write(tmp_path / "a.h5", draw(10, seed=1)), write(tmp_path / "b.h5", draw(6, seed=1))]
    with pytest.raises(DataError, match=r"b\.h5: event 0 has the key of an earlier event"):
        store_images(files, pixel, tmp_path, TASKS)
    assert not list(tmp_path.glob("images-*.h5"))


def test_only_the_part_that_is_trained_on_is_imaged(sample, pixel, draw, tmp_path):
    manifest = make_manifest([sample], {"train": 0.3, "test": 0.7}, seed=1)
    store = store_images([TrainingFile(sample, manifest)], pixel, tmp_path, TASKS, chunk=2)
    vertex = store.imaged.image.events.vertex.numpy()
    assert np.array_equal(np.sort(vertex), manifest.part("train"))
    other = write(tmp_path / "other.h5", draw(6, seed=8))
    with pytest.raises(DataError, match="vertices that the manifest does not have"):
        store_images([TrainingFile(other, manifest)], pixel, tmp_path, TASKS)


def test_a_store_of_something_else_is_refused_and_the_difference_named(sample, pixel, store, tmp_path):
    colder = replace(detector("pixel_lar"), seed=2)
    with pytest.raises(RunError, match="it differs in detector"):
        ImageStore.open(store.path, made_of([TrainingFile(sample)], colder, TASKS))
    other = store_images([sample], colder, tmp_path, TASKS)
    assert other.path.name != store.path.name


def test_a_file_that_is_no_store_or_breaks_off_is_refused(sample, store, tmp_path):
    with pytest.raises(DataError, match="no store of training images"):
        ImageStore.open(sample)
    torn = tmp_path / "torn.h5"
    torn.write_bytes(store.path.read_bytes()[:-4000])
    with pytest.raises(DataError, match="torn"):
        ImageStore.open(torn)


def test_a_folder_that_cannot_be_written_is_told(sample, pixel, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RunError, match="cannot keep training images"):
        store_images([sample], pixel, tmp_path / "file", TASKS)


def test_who_comes_second_waits_and_takes_what_the_first_made(sample, pixel, store, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(store_images, [sample], pixel, tmp_path, TASKS, chunk=30) for _ in range(2)]
    assert [one.result().path.read_bytes() == store.path.read_bytes() for one in both] == [True, True]


def test_nothing_to_image_is_refused(sample, pixel, store, tmp_path):
    with pytest.raises(ConfigError, match="0 files"):
        store_images([], pixel, tmp_path, TASKS)
    with pytest.raises(ConfigError, match="workers=0"):
        store_images([sample], pixel, tmp_path, TASKS, workers=0)
    with pytest.raises(DataError, match="holds images"):
        store_images([store.path], pixel, tmp_path, TASKS)
