"""Reader of OmniLearned's token files: zero-padded HDF5 arrays, alone or in the order of a folder's file index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from shiftlab.errors import ConfigError, DataError
from shiftlab.events.hdf5.file import reading, recognised
from shiftlab.events.omnilearned.file import OmniLearnedFile, open_file
from shiftlab.events.omnilearned.index import index_files, is_index, read_index, runs
from shiftlab.events.omnilearned.layout import Choices, attributes
from shiftlab.events.omnilearned.padding import LOG_PT
from shiftlab.events.reader import Description, Origin, Reader, Source
from shiftlab.events.tokens import Tokens, concatenate_tokens
from shiftlab.events.units_check import energy_reading

__all__ = ["OmniLearnedReader"]

_COUNTED: Final = 64 * 2**20
"""Up to this many bytes of ``data`` are read to count the particles; beyond, the first events give their mean."""


class OmniLearnedReader(Reader):
    """Files ``.h5`` of the format, or the ``file_index.npy`` of a folder of them.

    The format states neither units nor the meaning of columns beyond the fourth. What is stated here holds and is
    told by ``describe``; else what the file's attributes say (those that ``write_omnilearned`` gives); else the
    format's convention: GeV, and column 4 is the particle id if the first thousand events have whole numbers there.

    Args:
        energy_unit: Unit of pT and E inside the logarithms.
        particle_id: Whether column 4 is the particle id.
        kinds: Names of the particle ids, from 0.
    """

    name: ClassVar[str] = "omnilearned"
    summary: ClassVar[str] = "HDF5 arrays data (event, slot, column) and pid, or a folder's file_index.npy"

    def __init__(
        self,
        *,
        energy_unit: Literal["GeV", "MeV"] | None = None,
        particle_id: bool | None = None,
        kinds: Sequence[str] | None = None,
    ) -> None:
        """Keep what is stated."""
        if energy_unit not in (None, "GeV", "MeV"):
            raise ConfigError(f"energy_unit = '{energy_unit}'; allowed: GeV, MeV.")
        self._choices = Choices(energy_unit, particle_id, None if kinds is None else tuple(kinds))

    def accepts(self, path: Path) -> bool:
        """Say whether the file is HDF5 with a three-dimensional ``data`` and a ``pid``, or an index of such files."""
        try:
            if is_index(path):
                return any(self.accepts(file) for file in index_files(path.parent))
            return recognised(path, self.accepts_hdf5)
        except (DataError, OSError):
            return False

    def accepts_hdf5(self, file: Any) -> bool:
        """Say the same of an open file."""
        try:
            with reading(str(file.filename)):
                return "pid" in file and getattr(file.get("data"), "ndim", 0) == 3
        except DataError:
            return False

    @contextmanager
    def open(self, path: Path, origin: Origin = (0.0, 0.0, 0.0)) -> Iterator[Source]:
        """Open a file, or the files of an index; tokens have no place in a detector, so ``origin`` must be zero.

        Raises:
            DataError: a file is not whole, or a dataset is missing or of another shape, type or length; an index
                points at rows that no file has; files of an index differ in their columns.
        """
        if any(origin):
            raise DataError(f"{path}: tokens keep the file's frame; an origin cannot be given.")
        with ExitStack() as stack:
            if not is_index(path):
                yield OmniLearnedSource(path, [stack.enter_context(open_file(path, self._choices))], None)
                return
            names = index_files(path.parent)
            files = [stack.enter_context(open_file(name, self._choices)) for name in names]
            yield OmniLearnedSource(path, files, read_index(path, [(file.path, len(file)) for file in files]))


class OmniLearnedSource(Source):
    """Open files; the events are the rows of the one file, or those of the index in its order."""

    holds = "tokens"

    def __init__(self, path: Path, files: list[OmniLearnedFile], index: NDArray[Any] | None) -> None:
        """Keep the open files and the index (event, 2) of file and row."""
        super().__init__(path)
        self._files, self._index = files, index
        for file in files[1:]:
            if (file.layout.columns, file.layout.kinds) != (files[0].layout.columns, files[0].layout.kinds):
                raise DataError(f"{path}: {files[0].path.name} and {file.path.name} differ in their columns or kinds.")

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self._files[0]) if self._index is None else len(self._index)

    def read(self, events: slice) -> Tokens:
        """Return the events.

        Raises:
            DataError: naming file, dataset and row: padding inside an event, NaN, a negative label or particle id.
        """
        if self._index is None:
            return self._files[0].read(events.start, events.stop)
        pieces = runs(self._index[events])
        return concatenate_tokens([self._files[file].read(first, last) for file, first, last in pieces])

    def describe(self) -> Description:
        """Return what is in the files; the unit of the energies is checked on the first thousand events."""
        first = self._files[0]
        block = first.block(0, min(1000, len(first)))
        log_energy = torch.from_numpy(block[:, :, LOG_PT + 1][block[:, :, LOG_PT] != 0])
        unit = first.layout.units[LOG_PT].removeprefix("log(").removesuffix(")")
        notes = {
            "energy unit": first.layout.energy_source,
            "units check": energy_reading(log_energy, unit),
            "particle id": f"{'column 4' if first.layout.has_id else 'none'} ({first.layout.id_source})",
            "number types": ", ".join(f"{name} {kind}" for name, kind in first.types.items()),
            "slots an event": str(first.shape[1]),
        }
        rows = {"data": sum(len(file) for file in self._files)}
        if sum(int(np.prod(file.shape)) * 4 for file in self._files) <= _COUNTED:
            rows["tokens"] = sum(_particles(file) for file in self._files)
        else:
            notes["particles an event"] = f"{len(log_energy) / max(len(block), 1):.1f} (first {len(block)} events)"
        if self._index is not None:
            rows["file_index"] = len(self._index)
            notes["files"] = ", ".join(f"{i} {file.path.name} ({len(file)})" for i, file in enumerate(self._files))
        with reading(first.path):
            said = attributes(first.file)
        return Description(
            format="omnilearned",
            dialect="" if self._index is None else "file index",
            holds="tokens",
            events=len(self),
            rows=rows,
            units=dict(
                zip(
                    (*first.layout.columns, *first.layout.global_columns),
                    (*first.layout.units, *first.layout.global_units),
                    strict=True,
                )
            ),
            missing=_missing(first),
            dataset=first.own.get("dataset", ""),
            attributes=notes | said,
        )


def _missing(file: OmniLearnedFile) -> tuple[str, ...]:
    absent = {
        "event_key": not file.own,
        "vertex_uid": not file.own,
        "weight": not file.own,
        "particle": not file.layout.has_id,
        "globals": "global" not in file.types,
        "data_pid": "data_pid" not in file.types,
    }
    return tuple(name for name, gone in absent.items() if gone)


def _particles(file: OmniLearnedFile, chunk: int = 4096) -> int:
    """Return how many particles a file has by OmniLearned's own rule."""
    starts = range(0, len(file), chunk)
    return sum(int(np.count_nonzero(file.block(i, min(i + chunk, len(file)))[:, :, LOG_PT])) for i in starts)
