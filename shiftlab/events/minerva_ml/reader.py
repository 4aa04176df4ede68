"""Reader and writer of minerva-ml's token files: ``torch.save`` of jagged tokens, 16 globals and 15 truth columns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import torch
from torch import Tensor

from shiftlab.errors import DataError
from shiftlab.events.content import content_name, ends, row_keys
from shiftlab.events.deposits import EventTable
from shiftlab.events.minerva_ml.archive import Jagged, archive_words, cut_archive, load_archive
from shiftlab.events.minerva_ml.columns import (
    COLUMNS,
    FILE_COLUMNS,
    GLOBAL_UNITS,
    GLOBALS,
    KIND_COLUMN,
    KINDS,
    TRUTH,
    TRUTH_UNITS,
    UNITS,
    blank_globals,
    blank_tokens,
)
from shiftlab.events.reader import Description, Origin, Reader, Source
from shiftlab.events.tokens import Tokens
from shiftlab.events.units_check import energy_reading

__all__ = ["MinervaMLReader"]

_KEYS: Final = ("data", "truth_labels", "global_features")
_TABLE: Final = {
    "event_key": torch.int64,
    "vertex_uid": torch.int64,
    "weight": torch.float64,
    "selected": torch.bool,
}
"""What files of ``write_minerva_ml`` say of their events beside the format's own entries."""

_FLOATS: Final = (torch.float32, torch.float64)


class MinervaMLReader(Reader):
    """Tokens in MeV; whatever the format leaves blank is not valid."""

    name: ClassVar[str] = "minerva_ml"
    summary: ClassVar[str] = "torch archive (.pb) of data (jagged, 10 columns), truth_labels, global_features"

    def accepts(self, path: Path) -> bool:
        """Say whether the file is a torch archive, whole or cut short, with the format's three keys; runs nothing."""
        return set(_KEYS) <= archive_words(path) or cut_archive(path, _KEYS)

    @contextmanager
    def open(self, path: Path, origin: Origin = (0.0, 0.0, 0.0)) -> Iterator[Source]:
        """Open a file; places stay in its frame, so ``origin`` must be zero.

        Raises:
            DataError: the archive is damaged or asks for code, or keys, widths, types or lengths are not the format's.
        """
        if any(origin):
            raise DataError(f"{path}: tokens keep the file's frame; an origin cannot be given.")
        yield MinervaMLSource(path, load_archive(path))


class MinervaMLSource(Source):
    """An open file; its tensors stay on disk, slices are copied."""

    holds = "tokens"

    def __init__(self, path: Path, content: dict[str, Any]) -> None:
        """Check keys, widths, types and lengths."""
        super().__init__(path)
        self._jagged = _jagged(path, content)
        self._offsets: Tensor = self._jagged.offsets
        self._truth = _matrix(path, content, "truth_labels", len(TRUTH), len(self))
        self._globals = _matrix(path, content, "global_features", len(GLOBALS), len(self))
        self._ours = _own_entries(path, content, len(self)) if set(_TABLE) <= set(content) else {}
        self._valid = _mask(path, content, "valid", (len(self._jagged.values), len(COLUMNS)))
        self._global_valid = _mask(path, content, "global_valid", (len(self), len(GLOBALS)))
        self._name = "" if self._ours else self._content_name()

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self._offsets) - 1

    def describe(self) -> Description:
        """Return what is in the file; the units are the format's, checked against the energies of the first events."""
        first = slice(0, min(1000, len(self)))
        values = self._jagged.values[: int(self._offsets[first.stop])]
        types = (self._jagged.values.dtype, self._globals.dtype, self._truth.dtype)
        return Description(
            format="minerva_ml",
            dialect="",
            holds="tokens",
            events=len(self),
            rows={"tokens": len(self._jagged.values), "global_features": len(self), "truth_labels": len(self)},
            units=dict(zip((*COLUMNS, *GLOBALS, *TRUTH), (*UNITS, *GLOBAL_UNITS, *TRUTH_UNITS), strict=True)),
            missing=() if self._ours else ("event_key", "vertex_uid", "weight"),
            dataset=str(self._ours.get("dataset", "")),
            attributes={
                "energy unit": "MeV (the format's convention; the file does not say)",
                "units check": energy_reading(values[:, 3], "MeV"),
                "kinds": ", ".join(f"{i} {kind}" for i, kind in enumerate(KINDS)),
                "number types": "data {}, global_features {}, truth_labels {}".format(*(str(t)[6:] for t in types)),
                "unusable": "truth cc_pion_label_unusable: the code that made it never leaves the label of pi+",
            },
        )

    def read(self, events: slice) -> Tokens:
        """Return the events; float64 becomes float32, as in minerva-ml's own loader.

        Raises:
            DataError: a kind is not 0 to 7, or a number is NaN or infinite.
        """
        first, last = int(self._offsets[events.start]), int(self._offsets[events.stop])
        rows = self._jagged.values[first:last].to(torch.float32)
        offsets = self._offsets[events.start : events.stop + 1].to(torch.int64) - first
        self._refuse_not_finite("data", self._jagged.values[first:last], rows, FILE_COLUMNS, events.start, offsets)
        features = torch.cat([rows[:, :KIND_COLUMN], rows[:, KIND_COLUMN + 1 :]], dim=1)
        particle = self._kinds(rows[:, KIND_COLUMN], events.start, offsets)
        stored = self._globals[events]
        numbers = stored.to(torch.float32, copy=True)
        self._refuse_not_finite("global_features", stored, numbers, GLOBALS, events.start)
        truth = self._truth[events].to(torch.float64, copy=True)
        self._refuse_not_finite("truth_labels", truth, truth, TRUTH, events.start)
        valid, global_valid = ~blank_tokens(features, particle), ~blank_globals(numbers)
        if self._valid is not None:
            valid = self._valid[first:last].clone()
        if self._global_valid is not None:
            global_valid = self._global_valid[events].clone()
        return Tokens(
            offsets=offsets,
            features=torch.where(valid, features, 0.0),
            columns=COLUMNS,
            units=UNITS,
            valid=valid,
            particle=particle,
            kinds=KINDS,
            globals=torch.where(global_valid, numbers, 0.0),
            global_columns=GLOBALS,
            global_units=GLOBAL_UNITS,
            global_valid=global_valid,
            events=self._table(events, truth),
        )

    def _content_name(self) -> str:
        """Return a name of the file's content: the ends of its offsets, tokens and truth."""
        head, tail = ends(len(self))
        rows = [slice(int(self._offsets[part.start]), int(self._offsets[part.stop])) for part in (head, tail)]
        pieces = [self._offsets[head], self._offsets[tail], self._truth[head], self._truth[tail]]
        pieces += [self._jagged.values[part] for part in rows]
        return content_name("minerva_ml", [np.array([len(self)]), *(piece.numpy() for piece in pieces)])

    def _kinds(self, column: Tensor, first: int, offsets: Tensor) -> Tensor:
        """Return int64 (token,): the kinds."""
        particle = column.to(torch.int64)
        bad = torch.nonzero((particle != column) | (particle < 0) | (particle >= len(KINDS)))
        if len(bad):
            row = int(bad[0])
            raise DataError(
                f"{self.path}: 'data', {_token(row, first, offsets)}: kind {float(column[row]):g}; allowed: "
                f"0 to {len(KINDS) - 1}."
            )
        return particle

    def _refuse_not_finite(
        self,
        name: str,
        stored: Tensor,
        read: Tensor,
        columns: tuple[str, ...],
        first: int,
        offsets: Tensor | None = None,
    ) -> None:
        if bool(torch.isfinite(read.sum())) or len(bad := torch.nonzero(~torch.isfinite(read))) == 0:
            return
        row, column = bad[0].tolist()
        where = f"event {first + row}" if offsets is None else _token(row, first, offsets)
        raise DataError(
            f"{self.path}: '{name}', {where}: column '{columns[column]}' is {float(stored[row, column])}; it must be a "
            "finite number of float32."
        )

    def _table(self, events: slice, truth: Tensor) -> EventTable:
        """Return the table of events; sentinels of the truth are NaN."""
        columns = dict(zip(TRUTH, truth.unbind(dim=1), strict=True))
        ratio = columns["neutrino_over_muon_energy"]
        columns["neutrino_over_muon_energy"] = torch.where(ratio == -1, torch.nan, ratio)
        no_pion = (truth[:, -4:] == 0).all(dim=1)
        for name in TRUTH[-4:]:
            columns[name] = torch.where(no_pion, torch.nan, columns[name])
        count = events.stop - events.start
        if not self._ours:
            key = row_keys(self._name, np.arange(events.start, events.stop))
            weight, selected = torch.ones(count, dtype=torch.float64), torch.ones(count, dtype=torch.bool)
            return EventTable(key, key, weight, ("minerva_ml",) * count, columns, selected)
        more = {name: column[events].clone() for name, column in self._ours["more_truth"].items()}
        return EventTable(
            key=self._ours["event_key"][events].clone(),
            vertex=self._ours["vertex_uid"][events].clone(),
            weight=self._ours["weight"][events].clone(),
            sample=tuple(self._ours["sample"][events]),
            truth={name: column.contiguous() for name, column in columns.items()} | more,
            selected=self._ours["selected"][events].clone(),
            dataset=self._ours["dataset"],
        )


def _token(row: int, first: int, offsets: Tensor) -> str:
    event = int(torch.searchsorted(offsets, row, right=True)) - 1
    return f"event {first + event}, token {row - int(offsets[event])}"


def _matrix(path: Path, content: dict[str, Any], name: str, width: int, events: int) -> Tensor:
    """Return a dense entry (event, column).

    Raises:
        DataError: it has another shape, type or length.
    """
    value = content[name]
    if not isinstance(value, Tensor) or value.is_nested or value.layout != torch.strided or value.dtype not in _FLOATS:
        raise DataError(f"{path}: '{name}' is {_kind_of(value)}; it must be a float32 or float64 tensor.")
    if value.ndim != 2 or value.shape[1] != width:
        raise DataError(f"{path}: '{name}' has shape {tuple(value.shape)}; it must be (events, {width}).")
    if len(value) != events:
        raise DataError(f"{path}: '{name}' has {len(value)} rows, 'data' has {events} events.")
    return value


def _own_entries(path: Path, content: dict[str, Any], events: int) -> dict[str, Any]:
    """Return what ``write_minerva_ml`` adds of the events.

    Raises:
        DataError: an entry has another type or length.
    """
    ours: dict[str, Any] = {key: content[key] for key in _TABLE}
    more = content.get("more_truth", {})
    names, dataset = content.get("sample"), content.get("dataset", "")
    if (
        not isinstance(more, dict)
        or not isinstance(names, list)
        or not isinstance(dataset, str)
        or len(names) != events
    ):
        raise DataError(
            f"{path}: 'sample', 'dataset' or 'more_truth' is not a list, a name and a dictionary of columns."
        )
    wanted = {**_TABLE, **dict.fromkeys(more, torch.float64)}
    for key, column in {**ours, **more}.items():
        if not isinstance(column, Tensor) or column.dtype != wanted[key] or column.shape != (events,):
            raise DataError(f"{path}: '{key}' is {_kind_of(column)}; it must be {str(wanted[key])[6:]}, one an event.")
    return ours | {"sample": [str(name) for name in names], "dataset": dataset, "more_truth": more}


def _mask(path: Path, content: dict[str, Any], name: str, shape: tuple[int, int]) -> Tensor | None:
    mask = content.get(name)
    if mask is not None and (not isinstance(mask, Tensor) or mask.dtype != torch.bool or tuple(mask.shape) != shape):
        raise DataError(f"{path}: '{name}' is {_kind_of(mask)}; it must be bool of shape {shape}.")
    return mask


def _jagged(path: Path, content: dict[str, Any]) -> Jagged:
    """Return the tokens.

    Raises:
        DataError: a key is missing, or they are not jagged, of 10 columns, of floats, or their offsets do not add up.
    """
    missing = [key for key in _KEYS if key not in content]
    if missing:
        raise DataError(f"{path}: no entry '{missing[0]}'; it has {', '.join(content) or 'nothing'}.")
    data = content["data"]
    if not isinstance(data, Jagged) or not isinstance(data.values, Tensor) or not isinstance(data.offsets, Tensor):
        raise DataError(f"{path}: 'data' is {_kind_of(data)}; it must be a jagged nested tensor (events, tokens, 10).")
    width = len(FILE_COLUMNS)
    if data.values.ndim != 2 or data.values.shape[1] != width or data.ragged != 1:
        hint = " Files of 5 columns and 'data_additional_info' are of an older revision." if width != 5 else ""
        raise DataError(
            f"{path}: 'data' has rows of shape {tuple(data.values.shape[1:])}; they must have {width}.{hint}"
        )
    if data.values.dtype not in _FLOATS:
        raise DataError(f"{path}: 'data' is {_kind_of(data.values)}; it must be float32 or float64.")
    _check_offsets(path, data)
    return data


def _check_offsets(path: Path, data: Jagged, piece: int = 1 << 20) -> None:
    offsets = data.offsets
    if offsets.dtype not in (torch.int64, torch.int32) or offsets.ndim != 1 or len(offsets) < 1:
        raise DataError(
            f"{path}: the offsets of 'data' are {_kind_of(offsets)}; they must be whole numbers, one an event."
        )
    for first in range(0, len(offsets) - 1, piece):
        counts = offsets[first : first + piece + 1].diff()
        if bool((counts < 0).any()):
            row = first + int(torch.nonzero(counts < 0)[0])
            pair = f"{int(offsets[row])} and then {int(offsets[row + 1])}"
            raise DataError(f"{path}: the offsets of 'data' are {pair} at row {row}; they must ascend.")
        if data.lengths is not None and not torch.equal(data.lengths[first : first + piece], counts):
            raise DataError(f"{path}: lengths of 'data' and its offsets do not agree in rows {first} and on.")
    if int(offsets[0]) != 0 or int(offsets[-1]) != len(data.values):
        have = f"{int(offsets[0])} to {int(offsets[-1])}"
        raise DataError(f"{path}: the offsets of 'data' run from {have}; they must run from 0 to {len(data.values)}.")


def _kind_of(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype)[6:]} of shape {tuple(value.shape)}" if not value.is_nested else "a nested tensor"
    return "jagged" if isinstance(value, Jagged) else f"a {type(value).__name__}"
