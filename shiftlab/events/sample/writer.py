"""Writing the project's own sample files piece by piece: memory of one piece, a whole file or none, the same bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from shiftlab.errors import ConfigError, DataError
from shiftlab.events.deposits import Deposits, EventTable
from shiftlab.events.image import Image
from shiftlab.events.reader import Level, validate
from shiftlab.events.sample import deposits as sample_deposits
from shiftlab.events.sample import images as sample_images
from shiftlab.events.sample import packing
from shiftlab.events.sample import tokens as sample_tokens
from shiftlab.events.sample.columns import Rows, json_text
from shiftlab.events.sample.digest import CONTENT, content_digest, dataset_entry
from shiftlab.events.sample.disk import Disk
from shiftlab.events.sample.packing import Box, Lattice
from shiftlab.events.tokens import Tokens
from shiftlab.events.unique import SeenKeys
from shiftlab.provenance import canonical_json, provenance_record, write_whole

__all__ = ["FORMAT", "RESERVED", "SampleWriter"]

FORMAT: Final = "shiftlab sample 2"
_CHUNK: Final = 1 << 17
"""Bytes of a chunk, of which HDF5 keeps two a column; larger ones save 2% of the file, smaller ones make the reading of
single events quicker."""

_FILTERS: Final = {"compression": "gzip", "compression_opts": 4, "shuffle": True}
"""Level 9 saves 1 to 3% of the file and takes six to nine times as long; every HDF5 has these filters."""

_VERSIONS: Final = ("v108", "v110")
"""HDF5 format versions, fixed so that a newer library writes the same bytes."""

RESERVED: Final = frozenset({*CONTENT, "decoding", "provenance", "digest"})
"""Attributes of the file that the format fills in itself."""

_KINDS: Final = {"deposits": Deposits, "images": Image, "tokens": Tokens}
_MAY_LACK: Final = ("events/truth/", "particles/", "tokens/truth/")
"""Columns that a piece may lack; its rows are NaN there."""


class SampleWriter:
    """A sample file that is being written; use it as a context manager.

    The file appears when the block ends without an exception. Until then its rows go to a hidden file
    ``.NAME.*.part`` beside it, which is removed after an exception and is all that a killed process leaves.
    Equal events give equal bytes, however they are cut in pieces.

    Args:
        path: The file.
        holds: What the pieces are: deposits, images or tokens.
        attributes: What made the events; stored as attributes of the file.
        box: Volume that contains every deposit (low and high corner, cm); it decides the quantum of positions.
            None packs positions anywhere in quanta of 35 um.
        exact: Keep every number bit for bit. Else positions, energies, lengths and electrons of deposits and
            charges and energies of images are packed (``packing``); all other columns are exact in any case.
        provenance: What the caller knows of how the file came to be, say its command; added to versions and digests.

    Attributes:
        provenance: The record that the end of the block writes; more may be added to it.

    Raises:
        ConfigError: an attribute has a name of the format's own, or the box is none.
        RunError: the file cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        holds: Level = "deposits",
        attributes: Mapping[str, str | float | int] | None = None,
        box: Box | None = None,
        exact: bool = False,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        """Check what does not depend on events; nothing is written yet."""
        self._path, self._holds, self._box, self._exact = Path(path), holds, box, exact
        self._attributes = dict(attributes or {})
        self.provenance = provenance_record(provenance or {})
        taken = sorted(RESERVED & set(self._attributes))
        if taken:
            raise ConfigError(f"{path}: attributes {', '.join(taken)} are the format's own; choose other names.")
        if holds not in _KINDS:
            raise ConfigError(f"holds = {holds}; allowed: {', '.join(_KINDS)}.")
        self._lattice = None if exact else Lattice.of_box(box)
        self._stack = ExitStack()
        self._columns: dict[str, _Column] = {}
        self._constants: Mapping[str, str | list[int]] | None = None
        self._keys = SeenKeys()
        self._names: dict[str, int] = {}
        self._missing: set[str] = set()
        self._rows: dict[str, int] = {"events": 0}

    def __enter__(self) -> Self:
        """Open the hidden file."""
        temporary = self._stack.enter_context(write_whole(self._path))
        self._disk = self._stack.enter_context(Disk(temporary))
        self._file = self._stack.enter_context(h5py.File(self._disk, "w", libver=_VERSIONS, rdcc_nbytes=2 * _CHUNK))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the file and put it in its place; after an exception leave nothing."""
        if kind is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            self._finish()

    def __len__(self) -> int:
        """Return the number of events so far."""
        return self._rows["events"]

    def append(self, piece: Deposits | Image | Tokens) -> None:
        """Add the events of a piece.

        Raises:
            DataError: bad events (``validate``), a key that an earlier piece has, a deposit outside the box,
                columns, units or a data set other than those of earlier pieces, or nothing to pack a value in.
        """
        if not isinstance(piece, _KINDS[self._holds]):
            raise DataError(f"{self._path}: holds {self._holds}; a piece is of type {type(piece).__name__}.")
        validate(piece, self._path, len(self))
        rows = self._encode(piece)
        if self._constants is None:
            self._constants = rows.constants
        for name, value in rows.constants.items():
            if self._constants[name] != value:
                raise DataError(f"{self._path}: {name} is {value}; that of earlier events is {self._constants[name]}.")
        self._keys.add(piece.events.key.numpy(), len(self), self._path)
        self._missing.update(getattr(piece, "missing", ()))
        self._push(rows, len(piece))

    def _encode(self, piece: Deposits | Image | Tokens) -> Rows:
        """Return the rows of the piece, the table of events and the offsets among them."""
        try:
            if isinstance(piece, Deposits):
                self._refuse_outside(piece)
                rows = sample_deposits.encode_deposits(piece, self._lattice)
            elif isinstance(piece, Image):
                rows = sample_images.encode_images(piece, exact=self._exact)
            else:
                rows = sample_tokens.encode_tokens(piece)
        except DataError as error:
            raise DataError(f"{self._path}: {error}") from None
        table = self._encode_events(piece.events)
        ends: dict[str, NDArray[np.int64]] = {"events": np.arange(1, len(piece) + 1)}
        for name, end in rows.ends.items():
            first = self._rows.setdefault(name, 0)
            offsets = "events/particle_offsets" if name == "particles" else "events/offsets"
            table[offsets] = end + first
            ends[name] = end
        return Rows({**table, **rows.columns}, ends, rows.constants, rows.units)

    def _encode_events(self, events: EventTable) -> dict[str, NDArray[Any]]:
        codes = [self._names.setdefault(name, len(self._names)) for name in events.sample]
        if len(self._names) > 65536:
            raise DataError(f"{self._path}: more than 65536 names of samples.")
        strange = [name for name in events.truth if not name or "/" in name or name == "."]
        if strange:
            raise DataError(f"{self._path}: truth '{strange[0]}': a name must not be empty and has no '/'.")
        return {
            "events/key": events.key.numpy(),
            "events/vertex": events.vertex.numpy(),
            "events/weight": events.weight.numpy().astype(np.float64),
            "events/sample": np.array(codes, dtype=np.uint16),
            "events/selected": events.selected.numpy().view(np.uint8),
            **{f"events/truth/{name}": values.numpy().astype(np.float64) for name, values in events.truth.items()},
        }

    def _refuse_outside(self, deposits: Deposits) -> None:
        if self._lattice is None or self._box is None:
            return
        position = deposits.position.numpy().astype(np.float64)
        outside = (position < self._box[0]) | (position > self._box[1])
        if outside.any():
            row, axis = (int(i) for i in np.argwhere(outside)[0])
            event = int(np.searchsorted(deposits.offsets.numpy(), row, side="right")) - 1
            raise DataError(
                f"event {event}, deposit {row - int(deposits.offsets[event])}: {'xyz'[axis]} = {position[row, axis]:g} "
                f"cm is outside the box {self._box[0][axis]:g} to {self._box[1][axis]:g} cm; crop the events first, "
                "declare a larger box, or write with exact=True."
            )

    def _push(self, rows: Rows, events: int) -> None:
        """Hand the rows to their columns, and write the chunks that they fill in the order of the events."""
        given = dict(rows.columns)
        for name in self._columns.keys() - given.keys():
            if not name.startswith(_MAY_LACK):
                raise DataError(f"{self._path}: events without '{name}', which earlier events have.")
            added = int(rows.ends[name.split("/")[0]][-1]) if events else 0
            given[name] = np.full(added, np.nan)
        for name in sorted(given):
            if name not in self._columns:
                self._columns[name] = self._new(name, given[name], rows.units.get(name, ""))
            self._columns[name].push(given[name])
        full: list[tuple[int, str]] = []
        for name, column in self._columns.items():
            ends = rows.ends[name.split("/")[0]] + column.first
            full += [(int(event), name) for event in np.searchsorted(ends, column.boundaries())]
        for _, name in sorted(full, key=lambda one: one[0]):
            self._columns[name].write_chunk()
            self._disk.check()
        for column in self._columns.values():
            column.first = column.waiting
        for name, end in rows.ends.items():
            self._rows[name] += int(end[-1])

    def _new(self, name: str, rows: NDArray[Any], unit: str) -> _Column:
        """Return a new column; what earlier events lack is NaN, offsets begin with 0."""
        column = _Column(self._file, name, rows.dtype, rows.shape[1:], unit)
        earlier = self._rows[name.split("/")[0]]
        if name.endswith("offsets"):
            column.push(np.zeros(1, dtype=np.int64))
            column.first = 1
        elif self._rows["events"]:
            if not name.startswith(_MAY_LACK):
                raise DataError(f"{self._path}: events with '{name}', which earlier events lack.")
            column.push(np.full(earlier, np.nan))
            column.first = earlier
        return column

    def _finish(self) -> None:
        if len(self) == 0:
            raise DataError(f"{self._path}: no events to write.")
        for name in sorted(self._columns):
            self._columns[name].finish()
        said: dict[str, Any] = {
            "format": FORMAT,
            "holds": self._holds,
            **(self._constants or {}),
            "missing": json_text(sorted(self._missing)),
            "samples": json_text(self._names),
            **self._packing(),
        }
        entries = {name: column.entry() for name, column in self._columns.items()}
        said["digest"] = content_digest(said, entries)
        said["provenance"] = canonical_json(self.provenance)
        for name, value in sorted({**self._attributes, **said}.items()):
            self._file.attrs[name] = value

    def _packing(self) -> dict[str, Any]:
        """Return the attributes that say how the numbers decode."""
        logarithm = {"log_step": packing.LOG_STEP, "smallest": packing.SMALLEST}
        if self._holds == "tokens":
            return {"decoding": sample_tokens.DECODING}
        if self._holds == "images":
            return {"decoding": sample_images.DECODING, **({} if self._exact else logarithm)}
        if self._lattice is None:
            return {"decoding": sample_deposits.DECODING_EXACT}
        places = {"position_origin": list(self._lattice.origin), "position_step": list(self._lattice.step)}
        return {"decoding": sample_deposits.DECODING, **places, **logarithm}


class _Column:
    """One dataset: rows wait until they fill a chunk, so that no chunk is compressed twice."""

    def __init__(self, file: Any, name: str, dtype: Any, tail: tuple[int, ...], unit: str) -> None:
        self._file, self._name, self._unit = file, name, unit
        self._rest: NDArray[Any] = np.zeros((0, *tail), dtype=dtype)
        self._chunk = max(1, _CHUNK // (int(np.prod(tail)) * self._rest.itemsize))
        self._dataset: Any = None
        self._sha256 = hashlib.sha256()
        self.first = 0
        """Rows that waited before the piece that is being added."""

    @property
    def waiting(self) -> int:
        """Rows that wait."""
        return len(self._rest)

    def push(self, rows: NDArray[Any]) -> None:
        """Let rows wait."""
        self._rest = np.concatenate([self._rest, rows.astype(self._rest.dtype, copy=False)])

    def boundaries(self) -> NDArray[np.int64]:
        """Return at which of the waiting rows chunks become full."""
        return np.arange(self._chunk, self.waiting + 1, self._chunk)

    def write_chunk(self) -> None:
        """Write the first chunk of those that wait."""
        self._write(self._rest[: self._chunk], resizable=True)
        self._rest = self._rest[self._chunk :]

    def finish(self) -> None:
        """Write what still waits."""
        if self.waiting or self._dataset is None:
            self._write(self._rest, resizable=self._dataset is not None)

    def entry(self) -> dict[str, Any]:
        """Return what the content digest says of the dataset."""
        return dataset_entry(self._rest.dtype, self._dataset.shape, self._unit, self._sha256.hexdigest())

    def _write(self, rows: NDArray[Any], *, resizable: bool) -> None:
        tail = rows.shape[1:]
        if self._dataset is None:
            form: dict[str, Any] = {"shape": (len(rows), *tail), "dtype": rows.dtype, "track_times": False}
            if len(rows):
                form |= {
                    "chunks": (len(rows), *tail),
                    "maxshape": (None if resizable else len(rows), *tail),
                    **_FILTERS,
                }
            self._dataset = self._file.create_dataset(self._name, **form)
            if self._unit:
                self._dataset.attrs["unit"] = self._unit
        else:
            self._dataset.resize(len(self._dataset) + len(rows), axis=0)
        rows = np.ascontiguousarray(rows)
        if len(rows):
            self._dataset[len(self._dataset) - len(rows) :] = rows
        self._sha256.update(rows.data)
