"""Damage done to files: to their bytes, to what HDF5 holds, and to the members of a zip archive."""

from __future__ import annotations

import io
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.lib import recfunctions

__all__ = ["damage"]

Random = np.random.Generator

_INTEGERS = (0, 1, -1, 2, 7, 127, 255, 256, 32767, 65535, 2**31 - 1, -(2**31), 2**32 - 1, 2**40, 2**63 - 1, -(2**63))
_REALS = (np.nan, np.inf, -np.inf, -1.0, 0.0, 1e-320, -999.0, 1e38, 1e300)


def damage(source: Path, target: Path, random: Random) -> str:
    """Write a damaged copy of a file and return in words what was done to it."""
    content = source.read_bytes()
    ways: list[Callable[[], tuple[bytes | None, str]]] = [lambda: _bytes(content, random)]
    if content.startswith(b"\x89HDF"):
        ways.append(lambda: (None, _hdf5(source, target, random)))
    if content.startswith(b"PK"):
        ways.append(lambda: _archive(content, random))
    # Structure and bytes in equal numbers.
    changed, what = ways[int(random.integers(len(ways)))]()
    if changed is not None:
        target.write_bytes(changed)
    return what


# ---------------------------------------------------------------------------------------------- bytes


def _place(size: int, random: Random) -> int:
    """Return a place in a file; every second one in its first bytes, where formats keep their structure."""
    return int(random.integers(min(size, 4096) if random.random() < 0.5 else size))


def _bytes(content: bytes, random: Random) -> tuple[bytes, str]:
    data = bytearray(content)
    size = len(data)
    way = ("flip", "flip", "truncate", "zero", "swap", "integer", "integer", "insert", "delete", "append")[
        int(random.integers(10))
    ]
    at = _place(size, random)
    length = int(2 ** random.uniform(0, 12))
    if way == "flip":
        places = [at, *(_place(size, random) for _ in range(int(random.integers(8))))]
        for place in places:
            data[place] ^= 1 << int(random.integers(8))
    elif way == "truncate":
        del data[at:]
    elif way == "zero":
        data[at : at + length] = bytes(len(data[at : at + length]))
    elif way == "swap":
        other = _place(size, random)
        length = min(length, size - at, size - other)
        one, two = bytes(data[at : at + length]), bytes(data[other : other + length])
        data[at : at + length], data[other : other + length] = two, one
    elif way == "integer":
        width = int(random.choice([1, 2, 4, 8]))
        number = int(random.choice(np.array(_INTEGERS, dtype=object))) % 256**width
        at -= at % width
        data[at : at + width] = number.to_bytes(width, "little")
    elif way == "insert":
        data[at:at] = random.bytes(length)
    elif way == "delete":
        del data[at : at + length]
    else:
        data += random.bytes(length)
    return bytes(data), f"bytes: {way} at {at}, length {length}"


# ---------------------------------------------------------------------------------------------- zip


def _archive(content: bytes, random: Random) -> tuple[bytes, str]:
    """Change one member of the archive, whose checksums are right again afterwards."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    names = sorted(members)
    name = names[int(random.integers(len(names)))]
    way = ("bytes", "bytes", "bytes", "drop", "rename", "other", "empty")[int(random.integers(7))]
    if way == "bytes" and members[name]:
        members[name], way = _bytes(members[name], random)
    elif way == "drop":
        del members[name]
    elif way == "rename":
        members[f"{name}x"] = members.pop(name)
    elif way == "other":
        members[name] = members[names[int(random.integers(len(names)))]]
    else:
        members[name] = b""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    return out.getvalue(), f"archive: {name}: {way}"


# ---------------------------------------------------------------------------------------------- HDF5


def _hdf5(source: Path, target: Path, random: Random) -> str:
    target.write_bytes(source.read_bytes())
    with warnings.catch_warnings(), h5py.File(target, "r+") as file:
        warnings.simplefilter("ignore")
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        way = _HDF5[int(random.integers(len(_HDF5)))]
        if way is _attribute:
            return f"attribute: {_attribute(file, random)}"
        name = sorted(names)[int(random.integers(len(names)))]
        return f"{name}: {way(file, name, random)}"


def _replace(file: Any, name: str, rows: Any, **options: Any) -> None:
    attributes = dict(file[name].attrs)
    del file[name]
    file.create_dataset(name, data=rows, **options)
    for key, value in attributes.items():
        file[name].attrs[key] = value


def _drop(file: Any, name: str, random: Random) -> str:
    del file[name]
    return "dropped"


def _rename(file: Any, name: str, random: Random) -> str:
    file.move(name, f"{name}_")
    return "renamed"


def _scalar(file: Any, name: str, random: Random) -> str:
    _replace(file, name, 7)
    return "a scalar"


def _shape(file: Any, name: str, random: Random) -> str:
    rows = file[name][...]
    _replace(file, name, rows[..., None] if random.random() < 0.5 else rows.reshape(-1)[:1], **_vlen(file[name]))
    return "of another shape"


def _vlen(dataset: Any) -> dict[str, Any]:
    return {"dtype": dataset.dtype} if dataset.dtype.hasobject else {}


def _column(file: Any, name: str, random: Random) -> str:
    """Drop, rename or retype a column of a table, or the whole array."""
    rows = file[name][...]
    names = rows.dtype.names
    rows = recfunctions.repack_fields(rows) if names else rows
    if not names:
        return _retype(file, name, random)
    column = names[int(random.integers(len(names)))]
    way = 0 if rows.ndim == 0 else int(random.integers(3))
    if way == 0:
        _replace(file, name, recfunctions.drop_fields(rows, column))
        return f"column {column} dropped"
    if way == 1:
        _replace(file, name, recfunctions.rename_fields(rows, {column: f"{column}_"}))
        return f"column {column} renamed"
    new = [(n, _other_type(rows.dtype[n], random) if n == column else rows.dtype[n]) for n in names]
    out = np.zeros(len(rows), dtype=new)
    for n in names:
        try:
            out[n] = rows[n]
        except (TypeError, ValueError):  # text that is no number: the column is zero
            continue
    _replace(file, name, out)
    return f"column {column} of type {out.dtype[column]}"


def _other_type(dtype: Any, random: Random) -> Any:
    kinds = [np.float32, np.float64, np.int32, np.int64, np.uint8, np.bool_, np.dtype("S4"), np.complex64, ">f8", ">i4"]
    return np.dtype(kinds[int(random.integers(len(kinds)))])


def _retype(file: Any, name: str, random: Random) -> str:
    rows = file[name][...]
    if rows.dtype.hasobject:
        base = h5py.check_vlen_dtype(file[name].dtype)
        if base is None or base in (str, bytes):
            return _drop(file, name, random)
        other = _other_type(base, random)
        out = np.empty(rows.shape, dtype=object)
        for i in np.ndindex(rows.shape):
            out[i] = np.asarray(rows[i]).astype(other)
        _replace(file, name, out, dtype=h5py.vlen_dtype(other))
        return f"vlen of type {other}"
    other = _other_type(rows.dtype, random)
    try:
        _replace(file, name, rows.astype(other))
    except (TypeError, ValueError):  # text that is no number
        return _drop(file, name, random)
    return f"of type {other}"


def _value(file: Any, name: str, random: Random) -> str:
    """Set one number to one that is unlikely, or move an integer by one."""
    rows = file[name][...]
    if rows.size == 0:
        return "nothing to change"
    at = tuple(int(random.integers(n)) for n in rows.shape)
    column = None
    if rows.dtype.hasobject:
        row = np.array(rows[at])
        if row.ndim != 1 or len(row) == 0 or row.dtype.kind not in "iuf":
            return "nothing to change"
        place = int(random.integers(len(row)))
        row[place] = _odd(row.dtype, row[place], random)
        rows[at] = row
        _replace(file, name, rows, dtype=file[name].dtype)
        return f"row {at}, element {place} = {row[place]}"
    target = rows
    if rows.dtype.names:
        column = rows.dtype.names[int(random.integers(len(rows.dtype.names)))]
        target = rows[column]
        at = tuple(int(random.integers(n)) for n in target.shape)
    if target.dtype.kind not in "iuf":
        return "nothing to change"
    target[at] = _odd(target.dtype, target[at], random)
    file[name][...] = rows
    return f"{column or 'value'} at {at} = {target[at]}"


def _odd(dtype: Any, old: Any, random: Random) -> Any:
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return dtype.type(_REALS[int(random.integers(len(_REALS)))])
    if random.random() < 0.5:
        new = int(old) + int(random.choice([-1, 1]))
    else:
        new = _INTEGERS[int(random.integers(len(_INTEGERS)))]
    bits = 8 * dtype.itemsize
    new %= 2**bits
    return dtype.type(new - 2**bits if dtype.kind == "i" and new >= 2 ** (bits - 1) else new)


def _order(file: Any, name: str, random: Random) -> str:
    """Shuffle, repeat, cut or add rows."""
    rows = file[name][...]
    if rows.ndim == 0 or len(rows) == 0:
        return "nothing to change"
    way = (
        "shuffled",
        "reversed",
        "first row repeated",
        "last row dropped",
        "emptied",
        "two rows swapped",
        "row copied",
    )[int(random.integers(7))]
    one, two = (int(i) for i in random.integers(len(rows), size=2))
    index = np.arange(len(rows))
    if way == "shuffled":
        index = random.permutation(index)
    elif way == "reversed":
        index = index[::-1]
    elif way == "first row repeated":
        index = np.concatenate([[0], index])
    elif way == "last row dropped":
        index = index[:-1]
    elif way == "emptied":
        index = index[:0]
    elif way == "two rows swapped":
        index[[one, two]] = index[[two, one]]
    else:
        index[one] = two
    _replace(file, name, rows[index], **_vlen(file[name]))
    return f"{way} ({one}, {two})"


def _length(file: Any, name: str, random: Random) -> str:
    """Make a row of variable length longer or shorter by one element, or empty."""
    if h5py.check_vlen_dtype(file[name].dtype) in (None, str, bytes):
        return _order(file, name, random)
    rows = file[name][...]
    if rows.size == 0 or rows.ndim == 0:
        return "nothing to change"
    at = tuple(int(random.integers(n)) for n in rows.shape)
    row, way = np.array(rows[at]), int(random.integers(3))
    rows[at] = [row[:-1], np.concatenate([row, row[-1:]]), row[:0]][way]
    _replace(file, name, rows, dtype=file[name].dtype)
    return f"row {at} {('shorter', 'longer', 'empty')[way]}"


def _attribute(file: Any, random: Random) -> str:
    """Drop, change or add an attribute; some are pickles that would run code if they were loaded."""
    names = sorted(file.attrs)
    way = int(random.integers(4))
    if way == 0 or not names:
        file.attrs["payload"] = np.void(pickle.dumps(_Payload()))
        return "a pickle added"
    name = names[int(random.integers(len(names)))]
    if way == 1:
        del file.attrs[name]
        return f"{name} dropped"
    if way == 2:
        del file.attrs[name]
        file.attrs[name] = np.void(pickle.dumps(_Payload()))
        return f"{name} is a pickle"
    others: list[Any] = [b"\xff\xfe", "", "[", "[]", "{}", 7, -1.0, np.zeros(0), np.arange(3), "x" * 5000]
    file.attrs[name] = others[int(random.integers(len(others)))]
    return f"{name} = {str(file.attrs[name])[:20]!r}"


class _Payload:
    """A pickle that, if it were ever loaded, would end the process with code 77."""

    def __reduce__(self) -> tuple[Any, tuple[int]]:
        import os

        return os._exit, (77,)


_HDF5 = (
    _drop,
    _rename,
    _scalar,
    _shape,
    _column,
    _column,
    _value,
    _value,
    _value,
    _order,
    _order,
    _length,
    _length,
    _attribute,
)
