"""The project's own sample format: deposits, images or tokens in HDF5 that plain h5py reads.

Version 1 holds deposits in a cube of 230.4 cm, packed in integers: group ``deposits`` with x, y, z (uint16,
differences within the event), energy and length (uint16, logarithmic), semantic and particle (uint8; 255 is
unknown); group ``events`` with offsets, key, vertex, weight, sample (index into the file attribute ``samples``)
and the group ``truth``. Version 2 (``SampleWriter``) holds any level in any volume, packed or exact. The file's
attributes say how the integers decode and how the sample was made; docs/pages/formats/shiftlab.md has it all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final

from shiftlab.errors import DataError
from shiftlab.events.deposits import Deposits
from shiftlab.events.hdf5.file import open_hdf5, reading, recognised
from shiftlab.events.reader import Origin, Reader, Source
from shiftlab.events.sample.deposits import DepositSource
from shiftlab.events.sample.images import ImageSource
from shiftlab.events.sample.packing import POSITION_STEP
from shiftlab.events.sample.source import attributes as plain_attributes
from shiftlab.events.sample.tokens import TokenSource
from shiftlab.events.sample.writer import FORMAT, SampleWriter

__all__ = ["SampleReader", "read_attributes", "write_sample"]

_FORMATS: Final = ("shiftlab sample 1", FORMAT)
_CACHE: Final = 1 << 19
"""Bytes of the largest chunk that either version has; HDF5's own default would let each of 30 datasets keep 8 MB."""

_SIDE: Final = 65536 * POSITION_STEP


class SampleReader(Reader):
    """Reader of the project's own files, versions 1 and 2."""

    name: ClassVar[str] = "sample"
    summary: ClassVar[str] = "the project's own samples of deposits, images or tokens"

    def accepts(self, path: Path) -> bool:
        """Say whether the file's attribute ``format`` is this format's."""
        return recognised(path, self.accepts_hdf5)

    def accepts_hdf5(self, file: Any) -> bool:
        """Say the same of an open file."""
        return str(file.attrs.get("format", "")).startswith("shiftlab sample")

    @contextmanager
    def open(self, path: Path, origin: Origin = (0.0, 0.0, 0.0)) -> Iterator[Source]:
        """Open a file.

        Raises:
            DataError: the format's version is another, or a column is missing.
        """
        with open_hdf5(path, cache=_CACHE) as file:
            with reading(path):
                source = _source(path, file, origin)
            yield source


def _source(path: Path, file: Any, origin: Origin) -> Source:
    version = file.attrs["format"]
    if version not in _FORMATS:
        raise DataError(f"{path}: format '{version}'; this version reads {' and '.join(map(repr, _FORMATS))}.")
    if version != FORMAT:
        return DepositSource(path, file, origin, 1)
    holds = file.attrs.get("holds")
    if holds == "deposits":
        return DepositSource(path, file, origin, 2)
    if holds == "images":
        return ImageSource(path, file)
    if holds == "tokens":
        return TokenSource(path, file)
    raise DataError(f"{path}: attribute 'holds' is {holds!r}; allowed: deposits, images, tokens.")


def read_attributes(path: Path) -> dict[str, Any]:
    """Return the attributes of a sample file: how it was made, and its limits."""
    with open_hdf5(path) as file, reading(path):
        return plain_attributes(file)


def write_sample(path: Path, deposits: Deposits, attributes: Mapping[str, str | float | int]) -> None:
    """Write packed deposits whole or not at all, in version 2; positions must lie in a cube of 230.4 cm at (0, 0, 0).

    Args:
        path: The file.
        deposits: The events.
        attributes: What made them; stored as attributes of the file.

    Raises:
        DataError: a deposit lies outside the cube, or an event is bad.
        RunError: the file cannot be written.
    """
    box = ((0.0, 0.0, 0.0), (_SIDE, _SIDE, _SIDE))
    with SampleWriter(path, attributes=attributes, box=box) as writer:
        writer.append(deposits)
