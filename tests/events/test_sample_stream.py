"""Sample files written and read piece by piece: nothing lost, nothing twice, nothing half, the same bytes."""

from __future__ import annotations

import importlib.util
import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftlab.errors import ConfigError, DataError, RunError
from shiftlab.events import Deposits, concatenate, open_events, read, read_tokens, stream
from shiftlab.events.sample import SampleWriter, check_digest

HERE = Path(__file__).parent
BOX = ((0.0, 0.0, 0.0), (230.4, 230.4, 230.4))


def _load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


made, in_workers = _load("sample_pieces"), _load("read_in_workers")


def written(path: Path, *pieces: Any, **options: Any) -> Path:
    with SampleWriter(path, **options) as writer:
        for piece in pieces:
            writer.append(piece)
    return path


@pytest.mark.parametrize("side", [230.0, 1e5])
def test_exact_deposits_come_back_bit_for_bit_from_any_volume(tmp_path: Path, side: float) -> None:
    events = made.deposits(30, side=side)
    path = written(tmp_path / "a.h5", events, exact=True)
    assert made.differences(events, read(path)) == []


@pytest.mark.parametrize("box", [BOX, ((-10.0, -10.0, -10.0), (1000.0, 300.0, 300.0)), None])
def test_packed_deposits_are_as_precise_as_declared_and_all_else_is_exact(tmp_path: Path, box: Any) -> None:
    events = made.deposits(30)
    again = read(written(tmp_path / "a.h5", events, box=box))
    assert set(made.differences(events, again)) == {".position", ".energy", ".length", ".electrons"}
    assert float((again.position - events.position).abs().max()) <= 0.0078
    for name in ("energy", "length", "electrons"):
        np.testing.assert_allclose(getattr(again, name), getattr(events, name), rtol=1.01e-3, atol=1e-6)
    rewritten = read(written(tmp_path / "b.h5", again, box=box))
    assert made.differences(again, rewritten) == []


@pytest.mark.parametrize("shape", [(70, 60, 50), (2048, 2048, 2048)])
def test_exact_images_come_back_bit_for_bit_and_packed_ones_to_a_thousandth(
    tmp_path: Path, shape: tuple[int, int, int]
) -> None:
    images = replace(made.images(20), shape=shape)
    path = written(tmp_path / "a.h5", images, holds="images", exact=True)
    with open_events(path) as source:
        assert source.holds == "images"
        assert made.differences(images, source.read(slice(0, 20))) == []
        assert made.differences(images.take(range(3, 9)), source.read(slice(3, 9))) == []
    (packed,) = stream(written(tmp_path / "b.h5", images, holds="images"))
    assert made.differences(images, packed) == [".charge", ".energy"]
    np.testing.assert_allclose(packed.charge, images.charge, rtol=1.01e-3)


@pytest.mark.parametrize(("features", "numbers"), [(3, 2), (1, 0), (0, 1)])
def test_tokens_come_back_bit_for_bit(tmp_path: Path, features: int, numbers: int) -> None:
    tokens = made.tokens(25, features=features, numbers=numbers)
    path = written(tmp_path / "a.h5", tokens, holds="tokens")
    assert made.differences(tokens, read_tokens(path)) == []
    assert made.differences(tokens.take(range(4, 11)), read_tokens(path, events=slice(4, 11))) == []
    with open_events(path) as source:
        assert source.describe().units == dict(
            zip(tokens.columns + tokens.global_columns, tokens.units + tokens.global_units, strict=True)
        )


@settings(max_examples=12, deadline=None)
@given(cuts=st.lists(st.integers(1, 2499), max_size=6, unique=True), chunk=st.integers(300, 3000))
def test_how_events_are_cut_in_pieces_changes_no_byte(
    cuts: list[int], chunk: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # 75 000 deposits are more than one chunk of 128 kB in every column but those of one byte.
    folder = tmp_path_factory.mktemp("cut")
    whole = made.deposits(2500, mean=30.0)
    edges = [0, *sorted(cuts), 2500]
    pieces = [whole.take(range(first, last)) for first, last in pairwise(edges)]
    one = written(folder / "one.h5", whole, box=BOX)
    many = written(folder / "many.h5", *pieces, box=BOX)
    assert one.read_bytes() == many.read_bytes()
    assert made.differences(read(one), concatenate(list(stream(many, chunk=chunk)))) == []


def test_more_events_than_a_chunk_has_rows_keep_their_order(tmp_path: Path) -> None:
    pieces = [made.deposits(7000, first=first, mean=0.5) for first in (0, 7000, 14000)]
    path = written(tmp_path / "a.h5", *pieces, exact=True)
    assert made.differences(concatenate(pieces), read(path)) == []
    assert check_digest(path).holds


def test_the_same_events_give_the_same_bytes_later(tmp_path: Path) -> None:
    one = written(tmp_path / "one.h5", made.deposits(9), attributes={"uid": "x"})
    time.sleep(1.1)  # HDF5 keeps times in whole seconds
    other = written(tmp_path / "other.h5", made.deposits(9), attributes={"uid": "x"})
    assert one.read_bytes() == other.read_bytes()


def test_plain_h5py_finds_units_provenance_and_digest(tmp_path: Path) -> None:
    path = written(tmp_path / "a.h5", made.deposits(5), provenance={"command": "made by a test"}, attributes={"n": 3})
    with h5py.File(path) as file:
        assert (file.attrs["format"], file.attrs["holds"], file.attrs["n"]) == ("shiftlab sample 2", "deposits", 3)
        assert file.attrs["dataset"] == "made-up/r1"
        assert json.loads(file.attrs["missing"]) == ["semantic"]
        assert file["deposits/energy"].attrs["unit"] == "MeV"
        assert file["particles/kinetic"].attrs["unit"] == "MeV"
        record = json.loads(file.attrs["provenance"])
        assert file.attrs["digest"].startswith("sha256:")
        assert {dataset.compression for dataset in file["deposits"].values()} == {"gzip"}
    assert record["command"] == "made by a test"
    assert {"shiftlab", "torch", "h5py"} <= record["versions"].keys()
    assert len(record["catalogue"]) == len(record["source"]) == 64


def test_what_a_piece_lacks_of_truth_is_nan_and_what_the_others_lack_too(tmp_path: Path) -> None:
    first, second, third = (made.deposits(6, first=start) for start in (0, 6, 12))
    extra = {**second.events.truth, "vertex_x": torch.arange(6, dtype=torch.float64)}
    second = replace(second, events=replace(second.events, truth=extra))
    again = read(written(tmp_path / "a.h5", first, second, third, exact=True))
    assert made.differences(concatenate([first, second, third]), again) == []
    assert again.events.truth["vertex_x"].isnan().tolist() == [True] * 6 + [False] * 6 + [True] * 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda one: replace(one, electrons=None), "without 'deposits/electrons', which earlier events have"),
        (
            lambda one: replace(one, events=replace(one.events, dataset="made-up/r2")),
            "dataset is made-up/r2; that of earlier events is made-up/r1",
        ),
        (lambda one: made.deposits(5), "event 5 has the key of an earlier event"),
        (lambda one: made.tokens(5, first=5), "holds deposits; a piece is of type Tokens"),
        (lambda one: replace(one, position=one.position + 231), r"x = .* cm is outside the box 0 to 230.4 cm"),
        (lambda one: replace(one, energy=-one.energy), "energy is negative"),
        (lambda one: replace(one, electrons=-one.electrons), "electrons: only finite values that are not negative"),
    ],
)
def test_a_piece_that_does_not_fit_is_refused_and_nothing_stays(
    tmp_path: Path, change: Callable[[Deposits], Any], message: str
) -> None:
    (tmp_path / "a.h5").write_bytes(b"before")
    with pytest.raises(DataError, match=message):
        written(tmp_path / "a.h5", made.deposits(5), change(made.deposits(5, first=5)), box=BOX)
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]
    assert (tmp_path / "a.h5").read_bytes() == b"before"


def test_keys_are_compared_over_all_pieces(tmp_path: Path) -> None:
    pieces = [made.deposits(3, first=3 * i) for i in range(40)]
    with SampleWriter(tmp_path / "a.h5") as writer:
        for piece in pieces:
            writer.append(piece)
        for i in (0, 17, 39):
            with pytest.raises(DataError, match="key of an earlier event"):
                writer.append(made.deposits(1, first=3 * i + 1))
    assert made.differences(read(tmp_path / "a.h5"), read(written(tmp_path / "b.h5", *pieces))) == []


def test_no_events_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no events to write"):
        written(tmp_path / "a.h5")
    with pytest.raises(ConfigError, match="attributes digest are the format's own"):
        SampleWriter(tmp_path / "a.h5", attributes={"digest": "mine"})
    with pytest.raises(ConfigError, match="provenance: versions cannot be given"):
        SampleWriter(tmp_path / "a.h5", provenance={"versions": "mine"})
    assert list(tmp_path.iterdir()) == []


def test_an_exception_of_any_kind_leaves_nothing(tmp_path: Path) -> None:
    def stopped() -> None:
        with SampleWriter(tmp_path / "a.h5") as writer:
            writer.append(made.deposits(5))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert list(tmp_path.iterdir()) == []


KILLED = """
import sys
sys.path.insert(0, sys.argv[1])
import sample_pieces as made
from shiftlab.events.sample import SampleWriter
with SampleWriter(sys.argv[2]) as writer:
    for i in range(10**6):
        writer.append(made.deposits(2000, first=2000 * i))
        print(i, flush=True)
"""


def test_a_killed_writer_leaves_a_hidden_part_and_no_file(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(HERE), str(tmp_path / "a.h5")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while process.stdout.readline() != "4\n":
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".a.h5.")
    assert left.suffix == ".part"


def test_a_full_disk_is_one_clear_error(tmp_path: Path) -> None:
    # Python ignores the signal that goes with the limit, so that writing beyond it is an error as on a full disk.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    events = made.deposits(3000, mean=30.0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
    try:
        with pytest.raises(RunError, match=r"cannot write .*a\.h5.*The previous file stays"):
            written(tmp_path / "a.h5", events, exact=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_the_shares_of_workers_are_all_events_once_with_the_same_bits(tmp_path: Path, workers: int) -> None:
    events = made.deposits(100)
    path = written(tmp_path / "a.h5", events, exact=True)
    shares = [concatenate(list(stream(path, chunk=9, part=(i, workers)))) for i in range(workers)]
    together = concatenate(shares)
    assert made.differences(events, together.take(torch.argsort(together.events.key))) == []


@pytest.mark.slow
@pytest.mark.parametrize("how", ["spawn", "loader"])
def test_worker_processes_give_every_event_once_with_the_same_bits(tmp_path: Path, how: str) -> None:
    path = written(tmp_path / "a.h5", made.deposits(1000, mean=10.0), box=BOX)
    done = subprocess.run(
        [sys.executable, str(HERE / "read_in_workers.py"), how, str(path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    events = read(path)
    wanted = [in_workers.digest(events, i) for i in range(len(events))]
    assert [len(part) for part in found] == [512, 488]
    assert sorted(one for part in found for one in part) == sorted(wanted)


MEMORY = """
import resource, sys
from shiftlab.events import stream
def used():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
events = 0
for piece in stream(sys.argv[1], chunk=256):
    events += len(piece)
    if events == 1024:
        before = used()
print(events, used() - before)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_events(tmp_path: Path) -> None:
    # 24 000 events hold 24 MB when decoded; a chunk of 256 holds 0.3 MB.
    path = written(tmp_path / "a.h5", *(made.deposits(2000, first=2000 * i, mean=30.0) for i in range(12)), box=BOX)
    done = subprocess.run([sys.executable, "-c", MEMORY, str(path)], capture_output=True, text=True)
    events, growth = done.stdout.split()
    assert int(events) == 24_000
    assert float(growth) < 8.0
