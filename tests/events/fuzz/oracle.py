"""What a damaged file may lead to: one clear error, or sound events, each of which is read or listed as left out."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor

from shiftlab.errors import ShiftlabError
from shiftlab.events import BadEvent, open_events, stream
from shiftlab.events.sample import check_digest

__all__ = ["WrongError", "fingerprint", "marks_of", "judge"]


class WrongError(Exception):
    """A reader did what no reader may do."""


def judge(path: Path, whole: str) -> str:
    """Read a file in every way and return the outcome: refused, left out, changed, or the same.

    Args:
        path: The damaged file.
        whole: Fingerprint of the events before the damage.

    Raises:
        WrongError: events were lost, are unsound, or differ between two ways of reading.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with open_events(path) as source:
                claimed = len(source)
                described = source.describe().events
        except ShiftlabError as error:
            return _refused(error, path)
        if described != claimed or claimed < 0:
            raise WrongError(f"the description has {described} events, the source {claimed}")
        strict = _strict(path)
        return _lenient(path, claimed, strict, whole)


def _refused(error: ShiftlabError, path: Path) -> str:
    if path.name not in str(error):
        raise WrongError(f"the error does not name the file: {error}")
    return "refused"


def _strict(path: Path) -> list[str] | None:
    """Return the fingerprint of every event, or None where the file is refused."""
    try:
        pieces = list(stream(path, chunk=3))
    except ShiftlabError as error:
        _refused(error, path)
        return None
    keys = [key for piece in pieces for key in piece.events.key.tolist()]
    if len(set(keys)) < len(keys):
        raise WrongError("two events of the file have one key")
    return [mark for piece in pieces for mark in marks_of(piece)]


def _lenient(path: Path, claimed: int, strict: list[str] | None, whole: str) -> str:
    """Read again with bad events left out, and compare."""
    skipped: list[BadEvent] = []
    try:
        marks = [mark for piece in stream(path, chunk=2, skipped=skipped) for mark in marks_of(piece)]
    except ShiftlabError as error:
        _refused(error, path)
        if strict is not None:
            raise WrongError(f"read whole, but not event by event: {error}") from error
        return "refused"
    numbers = [bad.number for bad in skipped]
    if len(set(numbers)) < len(numbers) or any(not 0 <= number < claimed for number in numbers):
        raise WrongError(f"left out events {numbers} of {claimed}")
    if len(marks) + len(numbers) != claimed:
        raise WrongError(f"{claimed} events are claimed, {len(marks)} were read and {len(numbers)} left out")
    if strict is not None and (numbers or marks != strict):
        raise WrongError(f"two ways of reading differ; {numbers} left out")
    if numbers:
        return "left out"
    if strict is None:
        return "refused"  # what no single event shows, say one key twice
    if fingerprint(marks) == whole:
        return "same"
    if path.name.endswith(".h5") and _digest_holds(path):
        raise WrongError("the events changed, and the file's digest of its content did not show it")
    return "changed"


def _digest_holds(path: Path) -> bool:
    """Say whether the file is a sample of the project that states a digest, and still has it."""
    with h5py.File(path) as file:
        if "digest" not in file.attrs:
            return False
    try:
        return check_digest(path).holds
    except ShiftlabError:
        return False


def fingerprint(marks: list[str]) -> str:
    """Return one digest of the fingerprints of events."""
    return hashlib.sha256("".join(marks).encode()).hexdigest()


def marks_of(piece: Any) -> list[str]:
    """Return a digest of each event, which must be sound."""
    _sound(piece)
    return [_mark(piece.take(torch.tensor([i]))) for i in range(len(piece))]


def _mark(event: Any) -> str:
    total = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, Tensor):
            total.update(str((value.dtype, tuple(value.shape))).encode())
            total.update(value.contiguous().numpy().tobytes())
        elif is_dataclass(value):
            for field in fields(value):
                add(getattr(value, field.name))
        elif hasattr(value, "items"):
            for name in sorted(value):
                total.update(name.encode())
                add(value[name])
        else:
            total.update(repr(value).encode())

    add(event)
    return total.hexdigest()


def _sound(piece: Any) -> None:
    """Check what later steps take for granted; independently of ``shiftlab.events.validate``."""
    count = len(piece)
    offsets = piece.offsets.numpy()
    rows = next(len(getattr(piece, name)) for name in ("energy", "features", "cell") if hasattr(piece, name))
    _is(offsets.dtype == np.int64 and len(offsets) == count + 1 and offsets[0] == 0, "offsets do not begin at 0")
    _is(bool((np.diff(offsets) >= 0).all()) and offsets[-1] == rows, "offsets do not end at the number of rows")
    table = piece.events
    for name in ("key", "vertex", "weight", "selected"):
        _is(getattr(table, name).shape == (count,), f"{name} has another length")
    _is(len(table.sample) == count, "sample has another length")
    _is(all(column.shape == (count,) for column in table.truth.values()), "a truth column has another length")
    _is(len(np.unique(table.key.numpy())) == count, "two events have one key")
    _is(bool(torch.isfinite(table.weight).all()), "a weight is not finite")
    for name in ("position", "energy", "length", "features", "globals", "charge"):
        value = getattr(piece, name, None)
        if isinstance(value, Tensor):
            _is(bool(torch.isfinite(value).all()), f"{name} is not finite")
    for name in ("energy", "length", "electrons"):
        value = getattr(piece, name, None)
        if isinstance(value, Tensor) and type(piece).__name__ == "Deposits":
            _is(len(value) == rows and bool((value >= 0).all()), f"{name} is negative, or of another length")
    for name, top in (("semantic", 5), ("particle", 6)):
        value = getattr(piece, name, None)
        if isinstance(value, Tensor) and type(piece).__name__ == "Deposits":
            _is(bool(((value >= -1) & (value < top)).all()), f"{name} is out of range")


def _is(right: bool, what: str) -> None:
    if not right:
        raise WrongError(f"events are unsound: {what}")
