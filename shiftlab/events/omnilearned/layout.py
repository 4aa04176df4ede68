"""What the columns of an OmniLearned file are: from what the file says, else from the format's convention."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from shiftlab.errors import DataError
from shiftlab.events.omnilearned.padding import KINEMATICS, LOG_PT
from shiftlab.events.pickles import is_pickle

__all__ = ["ID_COLUMN", "KINDS", "Choices", "Layout", "attributes", "layout", "text"]

ID_COLUMN: Final = 4
"""Column of ``data`` with the particle id, where there is one (``--pid-idx`` of the command omnilearned)."""

KINDS: Final = tuple(f"id_{i}" for i in range(9))
"""Particle ids 0 to 8 (``--pid-dim`` is 9); what each means is the data set's own choice: they have no other name."""

_KINEMATIC_COLUMNS: Final = ("delta_eta", "delta_phi", "log_pT", "log_E")
_NOT_STATED: Final = "not stated"


@dataclass(frozen=True)
class Choices:
    """What a caller states of a file that does not say it itself.

    Attributes:
        energy_unit: Unit of pT and E inside the logarithms; None takes the file's word, else GeV.
        particle_id: Whether column 4 is the particle id; None takes the file's word, else looks at its values.
        kinds: Names of the particle ids from 0; None takes the file's word, else nine nameless ones.
    """

    energy_unit: Literal["GeV", "MeV"] | None = None
    particle_id: bool | None = None
    kinds: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Layout:
    """Names and units of a file's columns.

    Attributes:
        columns: Columns of ``data`` without the particle id.
        units: Their units.
        kinds: Names of the particle ids; one only where the file has none.
        has_id: Whether column ID_COLUMN of ``data`` is the particle id.
        global_columns: Columns of ``global``.
        global_units: Their units.
        energy_source: Who says what the energy unit is.
        id_source: Who says whether there is a particle id.
    """

    columns: tuple[str, ...]
    units: tuple[str, ...]
    kinds: tuple[str, ...]
    has_id: bool
    global_columns: tuple[str, ...]
    global_units: tuple[str, ...]
    energy_source: str
    id_source: str


def layout(file: Any, choices: Choices) -> Layout:
    """Return the layout of an open file whose shapes have been checked.

    Raises:
        DataError: what the file says of its columns does not fit them.
    """
    data, width = file["data"], file["data"].shape[2]
    has_id, id_source = _has_id(data, width, choices)
    extra = width - KINEMATICS - has_id
    columns = _words(data, "columns", KINEMATICS + extra) or (
        *_KINEMATIC_COLUMNS,
        *(f"added_{i}" for i in range(extra)),
    )
    units = _words(data, "units", KINEMATICS + extra)
    source = "stated in the file"
    if units is None:
        units = ("1", "rad", "log(GeV)", "log(GeV)", *(_NOT_STATED,) * extra)
        source = "the format's convention; the file does not say"
    if choices.energy_unit is not None:
        unit = f"log({choices.energy_unit})"
        units = (*units[:LOG_PT], unit, unit, *units[KINEMATICS:])
        source = "stated by the caller"
    kinds = choices.kinds or _words(data, "kinds", None) or KINDS
    width = file["global"].shape[1] if "global" in file else 0
    names = _words(file["global"], "columns", width) if width else None
    global_units = _words(file["global"], "units", width) if width else None
    return Layout(
        columns=columns,
        units=units,
        kinds=kinds if has_id else ("particle",),
        has_id=has_id,
        global_columns=names or tuple(f"global_{i}" for i in range(width)),
        global_units=global_units or (_NOT_STATED,) * width,
        energy_source=f"{units[LOG_PT].removeprefix('log(').removesuffix(')')} ({source})",
        id_source=id_source,
    )


def attributes(file: Any) -> dict[str, str]:
    """Return what the file and its datasets say of themselves; a pickle is named, not loaded."""
    found: dict[str, str] = {}
    for owner, item in (("", file), *((f"{name}.", file[name]) for name in ("data", "pid", "global") if name in file)):
        for key in item.attrs:
            try:
                value = item.attrs[key]
            except (OSError, TypeError, ValueError, RuntimeError, KeyError):
                found[f"{owner}{key}"] = "of a type that cannot be read"
                continue
            found[f"{owner}{key}"] = "a pickle, not loaded" if is_pickle(value) else text(value)[:200]
    return found


def text(value: Any) -> str:
    """Return a name of the file, stored with a fixed length or not, as text."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _has_id(data: Any, width: int, choices: Choices) -> tuple[bool, str]:
    """Return whether column 4 is the particle id, and who says so."""
    if choices.particle_id is not None:
        if choices.particle_id and width <= ID_COLUMN:
            raise DataError(f"{data.file.filename}: 'data' has {width} columns: no column 4 for a particle id.")
        return choices.particle_id, "stated by the caller"
    if "kinds" in data.attrs:
        return True, "stated in the file"
    if "columns" in data.attrs or width == KINEMATICS:
        return False, "stated in the file" if "columns" in data.attrs else "there are four columns"
    # Ids are whole numbers; an added feature (a tanh, an error) is not, over a thousand events.
    column = data[:1000, :, ID_COLUMN].astype(np.float32)
    whole = bool(np.all((column == np.floor(column)) | ~np.isfinite(column)))
    return (
        whole,
        f"column 4 of the first {len(column)} events has {'only whole' if whole else 'not only whole'} numbers",
    )


def _words(item: Any, name: str, length: int | None) -> tuple[str, ...] | None:
    """Return the names in an attribute, a JSON list; None where there is no such attribute."""
    if name not in item.attrs:
        return None
    given = item.attrs[name]
    try:
        words = json.loads(text(given))
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words) or not words:
            raise ValueError("no list of names")
    except (TypeError, ValueError) as error:
        said = "a pickle" if is_pickle(given) else text(given)[:80]
        raise DataError(f"{_place(item)}: attribute '{name}' is {said}; it must be a JSON list of names.") from error
    if length is not None and len(words) != length:
        raise DataError(f"{_place(item)}: attribute '{name}' has {len(words)} names for {length} columns.")
    return tuple(words)


def _place(item: Any) -> str:
    return f"{item.file.filename}: '{item.name.lstrip('/')}'"
