"""Tokens in the project's own sample files: features with their units and their validity, always bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import torch
from numpy.typing import NDArray

from shiftlab.errors import DataError
from shiftlab.events.reader import Level
from shiftlab.events.sample.columns import (
    EventColumns,
    Rows,
    column,
    flags,
    json_attribute,
    json_text,
    read_rows,
    same_length,
    truth_columns,
)
from shiftlab.events.sample.source import SampleSource
from shiftlab.events.tokens import Tokens

__all__ = ["DECODING", "TokenSource", "encode_tokens"]

DECODING: Final = (
    "tokens/features: one column per name in the attribute columns, in the unit of the same place in units; 0 where "
    "tokens/valid is 0. tokens/particle: place in kinds. events/globals, events/global_valid: the same with "
    "global_columns and global_units. Lists are JSON."
)
_TEXTS: Final = ("columns", "units", "kinds", "global_columns", "global_units")


def encode_tokens(tokens: Tokens) -> Rows:
    """Return the rows of tokens, bit for bit."""
    rows: dict[str, NDArray[Any]] = {"tokens/particle": tokens.particle.numpy().astype(np.int32)}
    if tokens.columns:
        rows["tokens/features"] = tokens.features.numpy()
        rows["tokens/valid"] = tokens.valid.numpy().view(np.uint8)
    if tokens.global_columns:
        rows["events/globals"] = tokens.globals.numpy()
        rows["events/global_valid"] = tokens.global_valid.numpy().view(np.uint8)
    rows |= {f"tokens/truth/{name}": values.numpy() for name, values in tokens.truth.items()}
    constants: dict[str, str | list[int]] = {name: json_text(getattr(tokens, name)) for name in _TEXTS}
    constants["dataset"] = tokens.events.dataset
    return Rows(rows, {"tokens": tokens.offsets[1:].numpy()}, constants)


class TokenSource(SampleSource):
    """An open sample of tokens; only the rows of a slice are read."""

    holds: ClassVar[Level] = "tokens"

    def __init__(self, path: Path, file: Any) -> None:
        """Look for the columns.

        Raises:
            DataError: one is missing, of another type or of another length, or a list of names does not fit.
        """
        super().__init__(path, file, EventColumns(path, file, 2))
        self._texts = {name: tuple(str(one) for one in json_attribute(path, file, name)) for name in _TEXTS}
        for names, units in (("columns", "units"), ("global_columns", "global_units")):
            if len(self._texts[names]) != len(self._texts[units]):
                raise DataError(f"{path}: attributes '{names}' and '{units}' are of different lengths.")
        self._columns = {"particle": column(path, file, "tokens/particle", ("<i4",))}
        self._columns |= _pair(path, file, "tokens", ("features", "valid"), len(self._texts["columns"]))
        self._globals = _pair(path, file, "events", ("globals", "global_valid"), len(self._texts["global_columns"]))
        same_length(path, self._globals, len(self), "events/key")
        self._truth = truth_columns(path, file, ("<f8",), "tokens/truth") if "tokens/truth" in file else {}
        self._offsets = self._table("events/offsets", {**self._columns, **self._truth})

    def rows(self) -> dict[str, int]:
        """Return the number of tokens."""
        return {"tokens": self._offsets.total}

    def units(self) -> dict[str, str]:
        """Return the unit of each column and global."""
        texts = self._texts
        features = dict(zip(texts["columns"], texts["units"], strict=True))
        return features | dict(zip(texts["global_columns"], texts["global_units"], strict=True))

    def read(self, events: slice) -> Tokens:
        """Return some events."""
        rows, offsets = self._offsets.read(events)
        read = read_rows(self.path, self._columns, rows)
        truth = read_rows(self.path, self._truth, rows)
        features, valid = self._values(read, ("features", "valid"), len(read["particle"]), "tokens")
        per_event = read_rows(self.path, self._globals, events)
        numbers, known = self._values(per_event, ("globals", "global_valid"), len(offsets) - 1, "events")
        return Tokens(
            offsets=torch.from_numpy(offsets),
            features=features,
            columns=self._texts["columns"],
            units=self._texts["units"],
            valid=valid,
            particle=torch.from_numpy(read["particle"].astype(np.int64)),
            kinds=self._texts["kinds"],
            globals=numbers,
            global_columns=self._texts["global_columns"],
            global_units=self._texts["global_units"],
            global_valid=known,
            events=self._events.read(events),
            truth={name: torch.from_numpy(one) for name, one in truth.items()},
        )

    def _values(
        self, read: dict[str, NDArray[Any]], names: tuple[str, str], rows: int, table: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return float32 and bool (row, column); of no columns where the file has none."""
        if names[0] not in read:
            return torch.zeros((rows, 0)), torch.zeros((rows, 0), dtype=torch.bool)
        return torch.from_numpy(read[names[0]]), flags(self.path, f"{table}/{names[1]}", read[names[1]])


def _pair(path: Path, file: Any, table: str, names: tuple[str, str], width: int) -> dict[str, Any]:
    """Return values and their validity; nothing where the file has no such columns."""
    if width == 0:
        return {}
    types = {names[0]: ("<f4",), names[1]: ("|u1",)}
    return {name: column(path, file, f"{table}/{name}", kind, (width,)) for name, kind in types.items()}
