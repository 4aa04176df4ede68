"""``shiftlab inspect --check`` finds what reading alone does not: content that its digest contradicts, lost heaps."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from shiftlab import cli
from shiftlab.events import read
from shiftlab.events.hdf5 import heaps
from shiftlab.events.sample import SampleWriter

DATA = Path(__file__).parent / "data"


def test_a_sample_that_was_changed_after_it_was_written_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.h5"
    with SampleWriter(path, exact=True) as writer:
        writer.append(read(DATA / "shiftlab_sample_1.h5"))
    assert cli.main(["inspect", str(path), "--check"]) == 0
    with h5py.File(path, "r+") as file:
        file["deposits/energy"][0] += 1.0
    assert cli.main(["inspect", str(path)]) == 0
    capsys.readouterr()
    assert cli.main(["inspect", str(path), "--check"]) == 2
    assert "was changed after it was written: it states the digest sha256:" in capsys.readouterr().err


def test_a_sample_of_the_first_version_has_no_digest_to_check() -> None:
    assert cli.main(["inspect", str(DATA / "shiftlab_sample_1.h5"), "--check"]) == 0


def test_heaps_are_walked_in_files_of_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "large.h5"
    with h5py.File(path, "w") as file:
        column = np.empty(1, dtype=object)
        column[0] = np.arange(20, dtype=np.float32)
        file.create_dataset("point", data=column, dtype=h5py.vlen_dtype(np.float32))
    content = bytearray(path.read_bytes())
    place = content.index(b"GCOL") + 16
    content[place : place + 16] = bytes(16)
    path.write_bytes(content)
    monkeypatch.setattr("shiftlab.events.hdf5.file.ALWAYS", 0)
    assert heaps.ALWAYS > 0
    assert cli.main(["inspect", str(path), "--check"]) == 2
    assert "heap of variable-length values" in capsys.readouterr().err
