"""Writer of OmniLearned's HDF5 files, which its own loader reads; energies go to GeV and the file says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import shiftlab
from shiftlab.errors import DataError
from shiftlab.events.omnilearned.file import OWN_GROUP
from shiftlab.events.omnilearned.padding import KINEMATICS, LOG_PT, pad
from shiftlab.events.tokens import Tokens, in_units
from shiftlab.provenance import write_whole

__all__ = ["write_omnilearned"]

_KINEMATICS: Final = (("delta_eta", "eta"), ("delta_phi", "phi"), ("log_pT",), ("log_E",))
_BLOCK: Final = 4096


def write_omnilearned(
    path: str | Path, tokens: Tokens, *, label: str = "label", regression: bool = False, slots: int | None = None
) -> None:
    """Write tokens as ``data``, ``pid``, ``global`` and ``data_pid``, whole or not at all.

    Energies go to GeV (``in_units``), which the attributes of ``data`` record together with names and units of all
    columns. The particle's kind is column 4 where there is more than one. Entries that are not valid are 0. A group
    that OmniLearned does not look at keeps keys, vertices, weights, samples, selection, truth and masks, so that
    reading returns the same bits (after the conversion, if there was one).

    Args:
        path: The file.
        tokens: Columns 0 to 3 must be delta_eta or eta, delta_phi or phi, log_pT, log_E.
        label: Truth that becomes ``pid``: the class, or the target of a regression.
        regression: Whether ``pid`` is a real number; classes are whole numbers from 0.
        slots: Particles that each event has room for; None takes the most that one has.

    Raises:
        DataError: columns or units are others; the truth is missing, NaN or no class; an event has more particles than
            slots; a particle that OmniLearned would take for padding (log pT of exactly 0 in GeV); kinematics that
            are not valid.
        RunError: the file cannot be written.
    """
    path = Path(path)
    if len(tokens) == 0:
        raise DataError(f"{path}: no events.")
    _refuse_other_columns(path, tokens)
    tokens.check(path)
    converted = in_units(tokens, "GeV")
    _refuse_lost(path, converted)
    most = int(tokens.counts.max())
    slots = max(most, 1) if slots is None else slots
    if most > slots:
        event = int(torch.argmax((tokens.counts > slots).to(torch.int8)))
        raise DataError(f"{path}: event {event} has {int(tokens.counts[event])} particles; there are {slots} slots.")
    labels = _labels(path, tokens, label, regression)
    with write_whole(path) as temporary, h5py.File(temporary, "w") as file:
        _write_data(
            file, converted, slots, "; ".join(f"{c} [{u}]" for c, u in zip(tokens.columns, tokens.units, strict=True))
        )
        file["pid"] = labels
        file["pid"].attrs["truth"] = np.bytes_(label.encode())
        if converted.global_columns:
            file["global"] = torch.where(converted.global_valid, converted.globals, 0.0).numpy()
            file["global"].attrs["columns"] = _fixed(converted.global_columns)
            file["global"].attrs["units"] = _fixed(converted.global_units)
        if tokens.truth:
            file["data_pid"] = _token_labels(path, tokens, slots)
        _write_own(file, converted, slots, {name: t for name, t in tokens.events.truth.items() if name != "label"})


def _refuse_other_columns(path: Path, tokens: Tokens) -> None:
    for i, names in enumerate(_KINEMATICS):
        given = tokens.columns[i] if i < len(tokens.columns) else "nothing"
        if given not in names:
            raise DataError(f"{path}: column {i} of the tokens is {given}; it must be {' or '.join(names)}.")
    for unit in tokens.units[LOG_PT:KINEMATICS]:
        if unit not in ("log(GeV)", "log(MeV)"):
            raise DataError(f"{path}: log_pT or log_E is in '{unit}'; allowed: log(GeV), log(MeV).")


def _refuse_lost(path: Path, tokens: Tokens) -> None:
    """Refuse particles that the format cannot hold."""
    valid = tokens.valid[:, :KINEMATICS]
    bare = (torch.where(valid, tokens.features[:, :KINEMATICS], 0.0) == 0).all(dim=1)
    reasons = (
        (valid[:, LOG_PT] & (tokens.features[:, LOG_PT] == 0), "pT is exactly 1 GeV, log pT 0: taken for padding"),
        (bare, "kinematics are all 0: taken for padding"),
        (~valid[:, [0, 1, 3]].all(dim=1), "kinematics are not valid; the format has no sign for that"),
    )
    for bad, reason in reasons:
        if bool(bad.any()):
            row = int(torch.nonzero(bad)[0])
            event = int(torch.searchsorted(tokens.offsets, row, right=True)) - 1
            raise DataError(f"{path}: event {event}, token {row - int(tokens.offsets[event])}: {reason}.")


def _labels(path: Path, tokens: Tokens, label: str, regression: bool) -> NDArray[Any]:
    """Return the dataset ``pid``."""
    truth = tokens.events.truth
    if label not in truth:
        raise DataError(
            f"{path}: the events have no truth '{label}' to be their class; they have "
            f"{', '.join(truth) or 'none'}. Say which with --label or label=."
        )
    if label != "label" and "label" in truth:
        raise DataError(f"{path}: the events have a truth 'label', which a reader takes from 'pid', not '{label}'.")
    values = truth[label].numpy()
    allowed = "a finite number" if regression else "a class: a whole number from 0 (or regression=True)"
    wrong = ~np.isfinite(values) if regression else ~((values >= 0) & (values == np.floor(values)) & (values < 2**53))
    if wrong.any():
        event = int(np.flatnonzero(wrong)[0])
        raise DataError(f"{path}: event {event}: truth '{label}' is {values[event]}; it must be {allowed}.")
    return values if regression else values.astype(np.int64)


def _token_labels(path: Path, tokens: Tokens, slots: int) -> NDArray[Any]:
    """Return the dataset ``data_pid``: classes with -1 for none and for padding, or several real numbers."""
    names = ["label"] if set(tokens.truth) == {"label"} else [f"label_{i}" for i in range(len(tokens.truth))]
    if set(names) != set(tokens.truth):
        raise DataError(f"{path}: truth of tokens {', '.join(tokens.truth)}; allowed: label, or label_0, label_1, ...")
    offsets = tokens.offsets.numpy()
    table = torch.stack([tokens.truth[name] for name in names], dim=1).numpy()
    if names != ["label"]:
        if not np.isfinite(table).all():
            raise DataError(f"{path}: truth of tokens is NaN or infinite; several labels have no sign for that.")
        return pad(offsets, table, slots)
    classes = np.where(np.isnan(table[:, 0]), -1.0, table[:, 0])
    if not np.all((classes == np.floor(classes)) & (classes >= -1)):
        raise DataError(f"{path}: truth 'label' of tokens must be a class: a whole number from 0, or NaN.")
    if (table[:, 0] == -1).any():
        raise DataError(f"{path}: truth 'label' of tokens is -1, which the format takes for none.")
    return pad(offsets, classes.astype(np.int64), slots, fill=-1)


def _write_data(file: Any, tokens: Tokens, slots: int, source: str) -> None:
    """Write ``data`` block by block; the padded array is never whole in memory."""
    has_id = len(tokens.kinds) > 1
    width = tokens.features.shape[1] + has_id
    rows = max(1, min(len(tokens), 2**20 // (4 * slots * width)))
    data = file.create_dataset("data", (len(tokens), slots, width), "f4", chunks=(rows, slots, width))
    for first in range(0, len(tokens), _BLOCK):
        last = min(first + _BLOCK, len(tokens))
        data[first:last] = _padded(tokens, _rows(tokens, has_id, first, last), first, last, slots)
    data.attrs["columns"] = _fixed(tokens.columns)
    data.attrs["units"] = _fixed(tokens.units)
    data.attrs["written_from"] = np.bytes_(source.encode())
    if has_id:
        data.attrs["kinds"] = _fixed(tokens.kinds)


def _rows(tokens: Tokens, has_id: bool, first: int, last: int) -> Tensor:
    mine = slice(int(tokens.offsets[first]), int(tokens.offsets[last]))
    features = torch.where(tokens.valid[mine], tokens.features[mine], 0.0)
    if not has_id:
        return features
    kind = tokens.particle[mine].to(torch.float32)[:, None]
    return torch.cat([features[:, :KINEMATICS], kind, features[:, KINEMATICS:]], dim=1)


def _padded(tokens: Tokens, rows: Tensor, first: int, last: int, slots: int) -> NDArray[Any]:
    offsets = (tokens.offsets[first : last + 1] - tokens.offsets[first]).numpy()
    return pad(offsets, rows.numpy(), slots)


def _write_own(file: Any, tokens: Tokens, slots: int, truth: dict[str, Tensor]) -> None:
    """Write what the format has no place for."""
    table, group = tokens.events, file.create_group(OWN_GROUP)
    group["event_key"], group["vertex_uid"] = table.key.numpy(), table.vertex.numpy()
    group["weight"], group["selected"] = table.weight.numpy(), table.selected.numpy()
    group["sample"] = np.array([name.encode() for name in table.sample])
    if table.dataset:
        group.attrs["dataset"] = np.bytes_(table.dataset.encode())
    group.attrs["shiftlab"] = np.bytes_(shiftlab.__version__.encode())
    columns = group.create_group("truth")
    for name, values in truth.items():
        columns[name] = values.numpy()
    usual = torch.ones_like(tokens.valid)
    usual[:, LOG_PT] = tokens.features[:, LOG_PT] != 0
    if not torch.equal(tokens.valid, usual):
        group["valid"] = pad(tokens.offsets.numpy(), tokens.valid.numpy(), slots, fill=False)
    if not bool(tokens.global_valid.all()):
        group["global_valid"] = tokens.global_valid.numpy()


def _fixed(words: tuple[str, ...]) -> np.bytes_:
    """Return names as JSON of fixed length, which needs no heap in the file: damaged heaps can crash HDF5."""
    return np.bytes_(json.dumps(words).encode())
