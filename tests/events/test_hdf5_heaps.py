"""A heap of variable-length values that lost its bytes is refused; the HDF5 library would never come back from it."""

from __future__ import annotations

import struct
from pathlib import Path

import h5py
import numpy as np
import pytest

from shiftlab.errors import DataError
from shiftlab.events import open_events
from shiftlab.events.hdf5.heaps import refuse_broken_heaps

ROWS = [np.arange(n, dtype=np.float32) for n in (3, 0, 40, 7)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with arrays of variable length and a text."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        column = np.empty(len(ROWS), dtype=object)
        column[:] = ROWS
        file.create_dataset("point", data=column, dtype=h5py.vlen_dtype(np.float32))
        file.attrs["title"] = "neutrinos"
    return tmp_path / "a.h5"


def first_object(content: bytes) -> int:
    """The place of the first object of the first heap."""
    return content.index(b"GCOL") + 16


def test_a_whole_file_is_let_through(file: Path) -> None:
    refuse_broken_heaps(file)


@pytest.mark.parametrize("length", [16, 64, 500])
def test_zeros_over_a_heap_are_refused_with_their_place(file: Path, length: int) -> None:
    content = bytearray(file.read_bytes())
    place = first_object(content)
    content[place : place + length] = bytes(length)
    file.write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.h5: truncated or damaged HDF5 file \(heap .* at byte {place - 16}\)"):
        open_events(file).__enter__()


def test_a_size_that_wraps_to_nothing_is_refused(file: Path) -> None:
    content = bytearray(file.read_bytes())
    struct.pack_into("<Q", content, first_object(content) + 8, 2**64 - 16)
    file.write_bytes(content)
    with pytest.raises(DataError, match="heap of variable-length values"):
        refuse_broken_heaps(file)


def test_the_verdict_follows_the_content_of_the_file(file: Path) -> None:
    whole = file.read_bytes()
    broken = bytearray(whole)
    place = first_object(whole)
    broken[place : place + 32] = bytes(32)
    file.write_bytes(broken)
    with pytest.raises(DataError):
        refuse_broken_heaps(file)
    file.write_bytes(whole + b"\0")
    refuse_broken_heaps(file)


def test_the_word_alone_makes_no_heap(tmp_path: Path) -> None:
    (tmp_path / "b.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"GCOL\x01\0\0\0" + bytes(2))
    refuse_broken_heaps(tmp_path / "b.h5")
