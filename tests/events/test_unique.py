"""A key that comes twice is found however far apart its events are, and in whatever pieces they are read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shiftlab.errors import DataError
from shiftlab.events.unique import SeenKeys


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=60), st.integers(1, 7))
def test_the_first_repeated_key_is_found(keys: list[int], chunk: int) -> None:
    seen, known = SeenKeys(), set()
    for first in range(0, len(keys), chunk):
        piece = list(dict.fromkeys(keys[first : first + chunk]))
        repeated = [key for key in piece if key in known]
        if repeated:
            with pytest.raises(DataError, match=r"a\.h5: event \d+ has the key of an earlier event"):
                seen.add(np.array(piece), first, Path("a.h5"))
        else:
            seen.add(np.array(piece), first, Path("a.h5"))
            known.update(piece)


def test_the_event_is_named_by_its_place_in_the_file() -> None:
    seen = SeenKeys()
    seen.add(np.array([5, 3, 9]), 0, Path("a.h5"))
    with pytest.raises(DataError, match="event 4 has the key"):
        seen.add(np.array([7, 3, 8]), 3, Path("a.h5"))
    seen.add(np.array([7, 8]), 3, Path("a.h5"))  # nothing of the refused piece was taken


def test_a_key_in_two_chunks_of_a_file_is_refused_or_left_out(tmp_path, monkeypatch, deposits_of) -> None:
    from shiftlab.events import BadEvent, stream
    from shiftlab.events.sample import write_sample
    from shiftlab.events.sample.deposits import DepositSource

    write_sample(tmp_path / "a.h5", deposits_of([2] * 9), {})
    whole = DepositSource.read

    def twice(self: DepositSource, events: slice):
        piece = whole(self, events)
        return replace(piece, events=replace(piece.events, key=torch.where(piece.events.key == 7, 1, piece.events.key)))

    monkeypatch.setattr(DepositSource, "read", twice)
    with pytest.raises(DataError, match=r"a\.h5: event 7 has the key of an earlier event"):
        list(stream(tmp_path / "a.h5", chunk=2))
    skipped: list[BadEvent] = []
    assert sum(len(piece) for piece in stream(tmp_path / "a.h5", chunk=2, skipped=skipped)) == 8
    assert [bad.number for bad in skipped] == [7]


def test_a_bad_event_is_named_by_its_place_in_the_file(tmp_path, monkeypatch, deposits_of) -> None:
    from shiftlab.events import stream
    from shiftlab.events.sample import write_sample
    from shiftlab.events.sample.deposits import DepositSource

    write_sample(tmp_path / "a.h5", deposits_of([2] * 9), {})
    whole = DepositSource.read

    def spoilt(self: DepositSource, events: slice):
        piece = whole(self, events)
        semantic = torch.where(piece.events.key[piece.event_index] == 5, 9, piece.semantic.long()).to(torch.int8)
        return replace(piece, semantic=semantic)

    monkeypatch.setattr(DepositSource, "read", spoilt)
    with pytest.raises(DataError, match=r"a\.h5: event 5, deposit 0: semantic is none of -1 to 4"):
        list(stream(tmp_path / "a.h5", chunk=2))
