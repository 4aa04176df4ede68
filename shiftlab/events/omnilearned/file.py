"""One open OmniLearned HDF5 file: its datasets checked, any range of its rows read as tokens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shiftlab.errors import DataError
from shiftlab.events.content import content_name, ends, row_keys
from shiftlab.events.deposits import EventTable
from shiftlab.events.hdf5.file import open_hdf5, reading
from shiftlab.events.omnilearned.layout import ID_COLUMN, Choices, layout, text
from shiftlab.events.omnilearned.padding import KINEMATICS, LOG_PT, gather, unpad
from shiftlab.events.tokens import Tokens

__all__ = ["OWN_GROUP", "OmniLearnedFile", "open_file"]

OWN_GROUP: Final = "shiftlab"
"""Group with what the format has no place for; OmniLearned does not look at it."""

_TABLE: Final = {"event_key": "<i8", "vertex_uid": "<i8", "weight": "<f8", "selected": "|b1"}
_MOST_COMPRESSED: Final = 2000
"""A deflate stream gives back at most 1032 bytes for one (zlib's documentation); no table is packed more tightly."""


@contextmanager
def open_file(path: Path, choices: Choices) -> Iterator[OmniLearnedFile]:
    """Open a file.

    Raises:
        DataError: it is not whole, or a dataset is missing or of another shape, type or length.
    """
    with open_hdf5(path) as file:
        yield OmniLearnedFile(path, file, choices)


class OmniLearnedFile:
    """Datasets ``data`` (event, slot, column), ``pid`` (event,), and where present ``global``, ``data_pid``.

    Attributes:
        path: The file.
        file: The open file.
        shape: (event, slot, column) of ``data``.
        types: Number type of each dataset.
        layout: What the columns are.
        own: What ``write_omnilearned`` adds; empty in files of others.
    """

    def __init__(self, path: Path, file: Any, choices: Choices) -> None:
        """Check shapes, types and lengths."""
        self.path, self.file = path, file
        with reading(path):
            self._data = _dataset(path, file, "data", "f", (3,))
            self._pid = _dataset(path, file, "pid", "iuf", (1, 2))
            self._global = _dataset(path, file, "global", "f", (2,)) if "global" in file else None
            self._data_pid = _dataset(path, file, "data_pid", "iuf", (2, 3)) if "data_pid" in file else None
            events, slots, columns = self._data.shape
            self.shape = (int(events), int(slots), int(columns))
            if self.shape[2] < KINEMATICS:
                raise DataError(f"{path}: 'data' has {self.shape[2]} columns; at least {KINEMATICS} are wanted.")
            named = {"data": self._data, "pid": self._pid, "global": self._global, "data_pid": self._data_pid}
            self.types = {name: str(dataset.dtype) for name, dataset in named.items() if dataset is not None}
            for name in self.types:
                if len(named[name]) != len(self):
                    raise DataError(f"{path}: '{name}' has {len(named[name])} rows, 'data' has {len(self)}.")
            if self._data_pid is not None and self._data_pid.shape[1] != self.shape[1]:
                given = f"{self._data_pid.shape[1]} slots, 'data' has {self.shape[1]}"
                raise DataError(f"{path}: 'data_pid' has {given}.")
            self.layout = layout(file, choices)
            self.own = _own_group(path, file, len(self))
        self._scratch = np.empty((0, *self.shape[1:]), dtype=np.float32)

    def __len__(self) -> int:
        """Return the number of events."""
        return self.shape[0]

    def block(self, first: int, last: int) -> NDArray[np.float32]:
        """Return rows ``first:last`` of ``data`` as float32; the array is filled anew by the next call.

        Raises:
            DataError: the file breaks off.
        """
        count = last - first
        if len(self._scratch) < count:
            self._scratch = np.empty((count, *self.shape[1:]), dtype=np.float32)
        block = self._scratch[:count]
        with reading(self.path):
            self._data.read_direct(block, np.s_[first:last], np.s_[0:count])
        return block

    def read(self, first: int, last: int) -> Tokens:
        """Return the events of rows ``first:last``.

        Raises:
            DataError: naming dataset and row: padding inside an event, NaN, a negative label or particle id.
        """
        counts, features, particle, usual = self._particles(first, last)
        offsets = torch.zeros(last - first + 1, dtype=torch.int64)
        torch.cumsum(torch.from_numpy(counts), 0, out=offsets[1:])
        numbers = torch.zeros((last - first, 0))
        if self._global is not None:
            with reading(self.path):
                numbers = torch.from_numpy(self._global[first:last].astype(np.float32, copy=False))
            self._refuse_not_finite("global", numbers, first)
        return Tokens(
            offsets=offsets,
            features=features,
            columns=self.layout.columns,
            units=self.layout.units,
            valid=self._mask("valid", features.shape[1], first, last, offsets, usual),
            particle=particle,
            kinds=self.layout.kinds,
            globals=numbers,
            global_columns=self.layout.global_columns,
            global_units=self.layout.global_units,
            global_valid=self._global_mask(first, last, numbers),
            events=self._table(first, last),
            truth=self._token_truth(first, last, counts),
        )

    def _particles(self, first: int, last: int) -> tuple[NDArray[np.int64], Tensor, Tensor, Tensor]:
        """Return int64 (event,) counts, the features, int64 (particle,) ids and which features are there."""
        part = ID_COLUMN if self.layout.has_id else None
        block = self.block(first, last)
        quick = gather(block, part)
        if quick is not None and quick.finite:
            features = torch.from_numpy(quick.features)
            particle = None if quick.parted is None else _whole_ids(torch.from_numpy(quick.parted), self.layout.kinds)
            if quick.parted is None or particle is not None:
                ids = torch.zeros(len(features), dtype=torch.int64) if particle is None else particle
                return quick.counts, features, ids, torch.ones_like(features, dtype=torch.bool)
        return self._with_care(block, first)

    def _with_care(self, block: NDArray[np.float32], first: int) -> tuple[NDArray[np.int64], Tensor, Tensor, Tensor]:
        """Return what ``_particles`` does, looking at each number.

        Raises:
            DataError: naming dataset, row and particle.
        """
        counts, rows = unpad(block, f"{self.path}: 'data'", first)
        offsets = torch.from_numpy(np.concatenate([[0], np.cumsum(counts)]))
        everything = torch.from_numpy(rows)
        self._refuse_not_finite("data", everything, first, offsets)
        features, particle = everything, torch.zeros(len(rows), dtype=torch.int64)
        if self.layout.has_id:
            particle = self._ids(everything[:, ID_COLUMN], first, offsets)
            features = torch.cat([everything[:, :ID_COLUMN], everything[:, ID_COLUMN + 1 :]], dim=1)
        valid = torch.ones_like(features, dtype=torch.bool)
        valid[:, LOG_PT] = features[:, LOG_PT] != 0
        return counts, features, particle, valid

    @cached_property
    def _name(self) -> str:
        """A name of the content: the ends of ``data`` and ``pid``."""
        head, tail = ends(len(self))
        with reading(self.path):
            pieces = [self._pid[head], self._pid[tail], self._data[head], self._data[tail]]
        return content_name("omnilearned", [np.array(self.shape), *pieces])

    def _ids(self, column: Tensor, first: int, offsets: Tensor) -> Tensor:
        column = column.contiguous()
        known = _whole_ids(column, self.layout.kinds)
        if known is not None:
            return known
        particle = column.to(torch.int64)
        bad = torch.nonzero((particle != column) | (particle < 0) | (particle >= len(self.layout.kinds)))
        if len(bad):
            row = int(bad[0])
            allowed = f"whole numbers 0 to {len(self.layout.kinds) - 1} ({self.layout.id_source})"
            where = self._place("data", row, first, offsets)
            raise DataError(
                f"{where}: particle id {float(column[row]):g}; allowed: {allowed}. Other ids, or none, are stated with "
                "OmniLearnedReader(particle_id=..., kinds=...)."
            )
        return particle

    def _refuse_not_finite(self, name: str, values: Tensor, first: int, offsets: Tensor | None = None) -> None:
        if bool(torch.isfinite(values.sum())) or len(bad := torch.nonzero(~torch.isfinite(values))) == 0:
            return
        row, column = bad[0].tolist()
        where = self._place(name, row, first, offsets)
        raise DataError(
            f"{where}: column {column} is {float(values[row, column])}; it must be a finite number of float32."
        )

    def _place(self, name: str, row: int, first: int, offsets: Tensor | None) -> str:
        if offsets is None:
            return f"{self.path}: '{name}', row {first + row}"
        event = int(torch.searchsorted(offsets, row, right=True)) - 1
        return f"{self.path}: '{name}', row {first + event}, particle {row - int(offsets[event])}"

    def _labels(self, first: int, last: int) -> dict[str, Tensor]:
        """Return the truth that ``pid`` holds, one column or several."""
        with reading(self.path):
            values = self._pid[first:last]
        wrong = values < 0 if values.dtype.kind in "iu" else ~np.isfinite(values)
        if wrong.any():
            row = int(np.argwhere(wrong)[0, 0])
            allowed = "a class from 0" if values.dtype.kind in "iu" else "a finite number"
            raise DataError(f"{self.path}: 'pid', row {first + row}: {values[row]}; it must be {allowed}.")
        return _columns("label", values)

    def _token_truth(self, first: int, last: int, counts: NDArray[np.int64]) -> dict[str, Tensor]:
        """Return what ``data_pid`` says of each particle; of whole numbers -1, OmniLearned's "none", is NaN."""
        if self._data_pid is None:
            return {}
        with reading(self.path):
            values = self._data_pid[first:last]
        inside = np.arange(self.shape[1]) < counts[:, None]
        kept = values[inside].astype(np.float64)
        if values.dtype.kind in "iu":
            kept[kept == -1] = np.nan
        elif not np.isfinite(kept).all():
            row = int(np.argwhere(~np.isfinite(values) & (inside if values.ndim == 2 else inside[:, :, None]))[0, 0])
            raise DataError(f"{self.path}: 'data_pid', row {first + row}: NaN or infinite.")
        return _columns("label", kept)

    def _mask(self, name: str, width: int, first: int, last: int, offsets: Tensor, usual: Tensor) -> Tensor:
        """Return the mask that the file has, else the usual one."""
        if name not in self.own:
            return usual
        with reading(self.path):
            given = self.own[name][first:last]
        slots = self.shape[1]
        if given.shape[1:] != (slots, width):
            raise DataError(
                f"{self.path}: '{OWN_GROUP}/{name}' has shape {given.shape}; it must be (events, {slots}, {width})."
            )
        return torch.from_numpy(given[np.arange(slots) < offsets.diff().numpy()[:, None]])

    def _global_mask(self, first: int, last: int, numbers: Tensor) -> Tensor:
        if "global_valid" not in self.own:
            return torch.ones_like(numbers, dtype=torch.bool)
        with reading(self.path):
            given = torch.from_numpy(self.own["global_valid"][first:last])
        if given.shape != numbers.shape:
            raise DataError(f"{self.path}: '{OWN_GROUP}/global_valid' and 'global' differ in shape.")
        return given

    def _table(self, first: int, last: int) -> EventTable:
        """Return the table of events."""
        count, truth = last - first, self._labels(first, last)
        if "event_key" not in self.own:
            key = row_keys(self._name, np.arange(first, last))
            weight, selected = torch.ones(count, dtype=torch.float64), torch.ones(count, dtype=torch.bool)
            return EventTable(key, key, weight, ("omnilearned",) * count, truth, selected)
        with reading(self.path):
            own = {name: torch.from_numpy(self.own[name][first:last]) for name in _TABLE}
            sample = tuple(text(name) for name in self.own["sample"][first:last])
            truth |= {name: torch.from_numpy(more[first:last]) for name, more in self.own["truth"].items()}
        return EventTable(
            own["event_key"], own["vertex_uid"], own["weight"], sample, truth, own["selected"], self.own["dataset"]
        )


def _whole_ids(column: Tensor, kinds: tuple[str, ...]) -> Tensor | None:
    """Return ids as int64 if all are whole numbers that a kind has, else None."""
    particle = column.to(torch.int64)
    if len(column) == 0:
        return particle
    low, high = torch.aminmax(particle)
    return particle if low >= 0 and high < len(kinds) and torch.equal(particle.to(column.dtype), column) else None


def _columns(name: str, values: NDArray[Any]) -> dict[str, Tensor]:
    """Return float64 columns: ``name``, or ``name_0`` and on where there are several."""
    table = torch.from_numpy(values.astype(np.float64))
    if table.ndim == 1:
        return {name: table}
    return {f"{name}_{i}": column.contiguous() for i, column in enumerate(table.unbind(dim=1))}


def _dataset(path: Path, file: Any, name: str, kinds: str, dimensions: tuple[int, ...]) -> Any:
    """Return a dataset of plain numbers.

    Raises:
        DataError: there is none, or it has another type or number of dimensions, or claims more than the file holds.
    """
    dataset = file.get(name)
    if not isinstance(dataset, h5py.Dataset):
        raise DataError(f"{path}: no dataset '{name}'; it has {', '.join(sorted(file)) or 'nothing'}.")
    kind, size = dataset.dtype.kind, dataset.dtype.itemsize
    if kind not in kinds or (kind == "f" and size not in (4, 8)):
        allowed = "float32 or float64" + (" or whole numbers" if "i" in kinds else "")
        raise DataError(f"{path}: '{name}' is {dataset.dtype}; it must be {allowed}.")
    if dataset.ndim not in dimensions:
        wanted = " or ".join(str(number) for number in dimensions)
        raise DataError(f"{path}: '{name}' has shape {dataset.shape}; it must have {wanted} dimensions.")
    if dataset.size * size > _MOST_COMPRESSED * dataset.id.get_storage_size():
        raise DataError(f"{path}: '{name}' claims shape {dataset.shape}, which its bytes in the file cannot hold.")
    return dataset


def _own_group(path: Path, file: Any, events: int) -> dict[str, Any]:
    """Return the datasets of the group that ``write_omnilearned`` adds, its truth and the data set's name, or nothing.

    Raises:
        DataError: it is there and not whole.
    """
    group = file.get(OWN_GROUP)
    if not isinstance(group, h5py.Group) or "event_key" not in group:
        return {}
    truth, sample = group.get("truth"), group.get("sample")
    if not isinstance(truth, h5py.Group) or getattr(sample, "shape", None) != (events,) or sample.dtype.kind != "S":
        raise DataError(f"{path}: '{OWN_GROUP}' has no 'truth', or no name (fixed length) in 'sample' for each event.")
    wanted = {**_TABLE, **{f"truth/{name}": "<f8" for name in truth}}
    for name, kind in wanted.items():
        dataset = group.get(name)
        if not isinstance(dataset, h5py.Dataset) or dataset.dtype != np.dtype(kind) or dataset.shape != (events,):
            given = f"{getattr(dataset, 'dtype', 'nothing')} of shape {getattr(dataset, 'shape', ())}"
            raise DataError(f"{path}: '{OWN_GROUP}/{name}' is {given}; it must be {np.dtype(kind)} of ({events},).")
    masks = {name: group[name] for name in ("valid", "global_valid") if name in group}
    for name, mask in masks.items():
        if not isinstance(mask, h5py.Dataset) or mask.dtype != np.dtype(bool) or mask.shape[:1] != (events,):
            raise DataError(f"{path}: '{OWN_GROUP}/{name}' must be booleans, a row an event.")
    return {
        **{name: group[name] for name in _TABLE},
        **masks,
        "sample": sample,
        "truth": {name: truth[name] for name in truth},
        "dataset": text(group.attrs.get("dataset", "")),
    }
