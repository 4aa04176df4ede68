"""Member-wise vectors of ROOT are decoded byte for byte, and damage in them is refused."""

from __future__ import annotations

import contextlib
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shiftlab.errors import DataError
from shiftlab.events.edepsim.root_members import first_of_lists, four_vectors, members

HIT = [
    ("TObject", "TObject"),
    ("Contrib", "vector<int>"),
    ("PrimaryId", "int"),
    ("EnergyDeposit", "float"),
    ("Start", "TLorentzVector"),
]
OBJECT = struct.pack(">HII", 1, 0, 0x02000000)


def four_vector(values: tuple[float, float, float, float]) -> bytes:
    x, y, z, e = values
    three = struct.pack(">IH", 0x40000000 | 36, 3) + OBJECT + struct.pack(">3d", x, y, z)
    return struct.pack(">IH", 0x40000000 | 60, 4) + OBJECT + three + struct.pack(">d", e)


def encoded(vectors: list[list[tuple[list[int], int, float, tuple[float, float, float, float]]]]) -> bytes:
    """Write vectors of hits as ROOT's TBranchElement does."""
    content = struct.pack(">HH", 0x4009, 1)
    for hits in vectors:
        content += struct.pack(">I", len(hits))
        if not hits:
            continue
        lists = b"".join(struct.pack(f">{len(one[0]) + 1}i", len(one[0]), *one[0]) for one in hits)
        content += OBJECT * len(hits)
        content += struct.pack(">IH", 0x40000000 | (len(lists) + 2), 9) + lists
        content += b"".join(struct.pack(">i", one[1]) for one in hits)
        content += b"".join(struct.pack(">f", one[2]) for one in hits)
        content += b"".join(four_vector(one[3]) for one in hits)
    return struct.pack(">I", 0x40000000 | len(content)) + content


def array(content: bytes) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.frombuffer(content, dtype=np.uint8)


number = st.integers(-(2**31), 2**31 - 1)
real = st.floats(-1e6, 1e6)
hits = st.lists(
    st.tuples(
        st.lists(number, min_size=1, max_size=4), number, st.floats(0, 1e3, width=32), st.tuples(real, real, real, real)
    ),
    max_size=6,
)


@given(st.lists(hits, max_size=4))
def test_what_root_writes_is_what_is_read(vectors: list[list[tuple[list[int], int, float, tuple[float, ...]]]]) -> None:
    found = members(array(encoded(vectors)), len(vectors), HIT, "here")  # type: ignore[arg-type]
    assert len(found) == len(vectors)
    for columns, wanted in zip(found, vectors, strict=True):
        assert columns["PrimaryId"].tolist() == [one[1] for one in wanted]
        assert columns["EnergyDeposit"].tolist() == [one[2] for one in wanted]
        start = [tuple(float(row[name]) for name in "xyze") for row in columns["Start"]]
        assert start == [one[3] for one in wanted]
        firsts = first_of_lists(columns["Contrib"], len(wanted), "here")
        assert firsts.tolist() == [one[0][0] for one in wanted]


ONE = [[([4, 7], 1, 2.5, (1.0, 2.0, 3.0, 4.0)), ([5], 1, 0.5, (0.0, 0.0, 0.0, 1.0))]]


@given(st.data())
def test_damaged_bytes_are_refused_or_read_and_never_crash(data: st.DataObject) -> None:
    content = bytearray(encoded(ONE))  # type: ignore[arg-type]
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    with contextlib.suppress(DataError):
        for columns in members(array(bytes(content[:cut])), 1, HIT, "here"):
            first_of_lists(columns["Contrib"], len(columns["PrimaryId"]), "here")


def test_other_layouts_are_named() -> None:
    content = encoded(ONE)  # type: ignore[arg-type]
    object_wise = content[:4] + struct.pack(">H", 9) + content[6:]
    with pytest.raises(DataError, match="here: not stored member by member"):
        members(array(object_wise), 1, HIT, "here")
    with pytest.raises(DataError, match="here: member 'Colour' is of type TColor; known are TObject"):
        members(array(content), 1, [*HIT, ("Colour", "TColor")], "here")
    with pytest.raises(DataError, match="here: its length is not what it says"):
        members(array(content[:-1]), 1, HIT, "here")
    with pytest.raises(DataError, match="bytes too many for 0 vectors"):
        members(array(content), 0, HIT, "here")
    with pytest.raises(DataError, match="without a contributing particle"):
        first_of_lists(np.array([0, 1, 2], dtype=np.int32), 2, "here")
    with pytest.raises(DataError, match="do not add up"):
        first_of_lists(np.array([1, 2, 9], dtype=np.int32), 1, "here")


def test_rows_of_four_vectors() -> None:
    content = four_vector((1.0, -2.0, 3.0, 4.0)) + four_vector((0.0, 0.0, 0.0, 9.0))
    assert four_vectors(array(content), "here").tolist() == [[1.0, -2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 9.0]]
    assert four_vectors(array(b""), "here").shape == (0, 4)
    with pytest.raises(DataError, match="here: not a row of TLorentzVectors"):
        four_vectors(array(content[:-1]), "here")
