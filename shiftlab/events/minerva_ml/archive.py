"""Files of ``torch.save`` opened as data alone: tensors stay on disk until they are sliced, and no code is run."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.serialization import add_safe_globals, clear_safe_globals, get_safe_globals

from shiftlab.errors import DataError
from shiftlab.events.pickles import PickleContent, pickle_content

__all__ = ["Jagged", "archive_words", "cut_archive", "load_archive"]

_ALLOWED = frozenset(
    {
        "__builtin__.set",
        "_codecs.encode",
        "builtins.set",
        "collections.OrderedDict",
        "numpy._core.multiarray._reconstruct",
        "numpy.core.multiarray._reconstruct",
        "numpy.dtype",
        "numpy.ndarray",
        "torch.Tensor",
        "torch._dynamo.decorators._DimRange",
        "torch._tensor._rebuild_from_type_v2",
        "torch._utils._rebuild_tensor_v2",
        "torch.nested._internal.nested_tensor.NestedTensor",
        "torch.nested._internal.nested_tensor._rebuild_njt",
        *(f"torch.{kind}Storage" for kind in ("Bool", "Byte", "Double", "Float", "Half", "Int", "Long", "Short")),
    }
)
"""All that tensors, jagged nested tensors and NumPy arrays ask for in their pickles."""

_HEAD = 1 << 16
"""Bytes from the beginning of a file in which the pickle's keys are looked for."""


class Jagged:
    """A jagged nested tensor (event, ragged, column) as its parts; the real class would import half of torch.

    Attributes:
        values: (row, column).
        offsets: (event + 1,).
        lengths: (event,) or None; None where the events fill the rows without gaps.
        ragged: Which dimension is ragged; 1 for (event, ragged, column).
    """

    def __init__(self, state: Mapping[str, Any]) -> None:
        """Take the parts from the state of a nested tensor."""
        self.values, self.offsets = state["values"], state["offsets"]
        self.lengths, self.ragged = state.get("lengths"), state.get("_ragged_idx", 1)

    def __setstate__(self, state: object) -> None:
        """Ignore the cache that torch keeps with the tensor."""


class _Ignored:
    """A mark that torch's compiler leaves on tensors."""

    def __setstate__(self, state: object) -> None:
        """Ignore it."""


class _Dtype:
    """A NumPy number type of a pickle, by its code, say ``f8``; only its byte order is taken from the state."""

    def __init__(self, code: str, *_: object) -> None:
        self.code, self.order = code, "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = str(state[1])


class _Array:
    """A NumPy array of a pickle as its parts. NumPy's own loader trusts flags in the file, so it is not used."""

    def __init__(self, *_: object) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def tensor(self) -> Tensor:
        """Return the numbers.

        Raises:
            ValueError: they are no plain numbers, or shape and size differ.
        """
        _, shape, dtype, fortran, data = self.state
        if dtype.code not in ("f2", "f4", "f8", "i4", "i8") or dtype.order == ">":
            raise ValueError(f"array of type {dtype.order}{dtype.code}")
        flat = np.frombuffer(data, dtype=dtype.code)
        return torch.from_numpy(flat.reshape(shape, order="F" if fortran else "C").copy())


_INERT: Mapping[str, Any] = {
    "torch.nested._internal.nested_tensor._rebuild_njt": Jagged,
    "torch.nested._internal.nested_tensor.NestedTensor": Jagged,
    "torch._dynamo.decorators._DimRange": _Ignored,
    "numpy._core.multiarray._reconstruct": _Array,
    "numpy.core.multiarray._reconstruct": _Array,
    "numpy.ndarray": _Array,
    "numpy.dtype": _Dtype,
}
"""What stands in for each class that is not a plain tensor."""


def archive_words(path: Path) -> frozenset[str]:
    """Return the short strings of the archive's pickle, among them the keys; empty if it is no such archive."""
    try:
        with _unpacking(path):
            if not zipfile.is_zipfile(path):
                return frozenset()
        return _content(path)[1].words
    except (DataError, OSError):
        return frozenset()


def cut_archive(path: Path, words: Iterable[str]) -> bool:
    """Say whether a file begins as an archive of ``torch.save`` with these words in its pickle and has lost its end."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
        # Bytes 26 and 27 of a zip record are the length of its name, which begins at byte 30; the pickle comes first.
        name = head[30 : 30 + int.from_bytes(head[26:28], "little")]
        begun = head.startswith(b"PK\x03\x04") and name.endswith(b"/data.pkl")
        return begun and all(word.encode() in head for word in words) and not _whole_zip(path)
    except OSError:
        return False


def _whole_zip(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # an end record that is there and says what cannot be; older Pythons raise here
        return False


def load_archive(path: Path) -> dict[str, Any]:
    """Return the dictionary of an archive: tensors are mapped from disk, NumPy arrays are in memory.

    Only what tensors need is built (``torch.load`` with ``weights_only=True``); a pickle that asks for anything
    else is refused before it is opened.

    Raises:
        DataError: the archive is truncated or damaged, compressed, of another byte order, asks for anything but
            tensors and arrays, or holds no dictionary.
    """
    folder, content = _content(path)
    foreign = sorted(content.globals - _ALLOWED)
    if foreign:
        raise DataError(
            f"{path}: refused: its pickle asks to import {', '.join(foreign)}. Only tensors and arrays are loaded; "
            "nothing of it was run."
        )
    _check_records(path, folder)
    try:
        with _sandbox(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        if not isinstance(loaded, dict):
            raise ValueError(f"holds a {type(loaded).__name__}, not a dictionary")
        return {str(key): value.tensor() if isinstance(value, _Array) else value for key, value in loaded.items()}
    except Exception as error:  # Bytes of a foreign file can fail in any way inside torch; none of it is ours to name.
        reason = str(error).strip().splitlines()
        raise DataError(f"{path}: damaged archive ({reason[0] if reason else type(error).__name__}).") from error


@contextmanager
def _sandbox() -> Iterator[None]:
    """Let ``torch.load`` build the inert stand-ins and nothing that another package has allowed."""
    before = get_safe_globals()
    clear_safe_globals()
    add_safe_globals([(stand_in, name) for name, stand_in in _INERT.items()])
    try:
        yield
    finally:
        clear_safe_globals()
        add_safe_globals(before)


@contextmanager
def _unpacking(path: Path) -> Iterator[None]:
    """Guard what reads the archive's records."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # zipfile and zlib raise many kinds for damaged bytes.
        raise DataError(f"{path}: truncated or damaged archive ({error}).") from error


def _content(path: Path) -> tuple[str, PickleContent]:
    """Return the archive's folder and what its pickle refers to."""
    with _unpacking(path), zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(names) != 1:
            raise DataError(f"{path}: no archive of torch.save: it has no record data.pkl.")
        return names[0].partition("/")[0], pickle_content(archive.read(names[0]))


def _check_records(path: Path, folder: str) -> None:
    """Refuse records that cannot be mapped as they lie in the file."""
    with _unpacking(path), zipfile.ZipFile(path) as archive:
        size = path.stat().st_size
        for record in archive.infolist():
            if record.compress_type != zipfile.ZIP_STORED:
                raise DataError(
                    f"{path}: record {record.filename} is compressed; torch.save stores records as they are."
                )
            if record.header_offset + record.file_size > size:
                raise DataError(f"{path}: truncated: record {record.filename} ends beyond the file's {size} bytes.")
        order = f"{folder}/byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise DataError(f"{path}: numbers are not little-endian.")
