"""The content digest of a sample file: one SHA-256 over what its datasets decode to, whatever their compression."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from shiftlab.errors import DataError
from shiftlab.events.hdf5.file import open_hdf5, reading
from shiftlab.provenance import digest_json

__all__ = ["CONTENT", "DigestCheck", "check_digest", "content_digest", "dataset_entry", "refuse_changed"]

CONTENT: Final = (
    "format",
    "holds",
    "dataset",
    "missing",
    "samples",
    "position_origin",
    "position_step",
    "log_step",
    "smallest",
    "shape",
    "columns",
    "units",
    "kinds",
    "global_columns",
    "global_units",
)
"""Attributes of the file that are content: what the numbers mean. Provenance is not, and not what a user adds."""

_BLOCK: Final = 1 << 18
"""Rows that are hashed at a time."""


@dataclass(frozen=True)
class DigestCheck:
    """Digest that a file states, empty where it states none, and the digest of its content."""

    stated: str
    found: str

    @property
    def holds(self) -> bool:
        """Whether they are one."""
        return self.stated == self.found


def content_digest(attributes: Mapping[str, Any], datasets: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the digest of the attributes of ``CONTENT`` and of the entries of all datasets."""
    said = {name: attributes[name] for name in CONTENT if name in attributes}
    return "sha256:" + digest_json({"attributes": said, "datasets": dict(datasets)})


def dataset_entry(dtype: Any, shape: tuple[int, ...], unit: str, sha256: str) -> dict[str, Any]:
    """Return what is said of one dataset; ``sha256`` is over its bytes in row order, little endian."""
    return {"dtype": np.dtype(dtype).str, "shape": list(shape), "unit": unit, "sha256": sha256}


def check_digest(path: Path) -> DigestCheck:
    """Read every dataset of a sample file and compare with the digest that it states.

    Raises:
        DataError: the file cannot be read.
    """
    with open_hdf5(path) as file, reading(path):
        datasets: dict[str, dict[str, Any]] = {}

        def add(name: str, found: Any) -> None:
            if isinstance(found, h5py.Dataset):
                unit = str(found.attrs.get("unit", ""))
                datasets[name] = dataset_entry(found.dtype, found.shape, unit, _sha256(path, name, found))

        file.visititems(add)
        attributes = {name: value.tolist() if hasattr(value, "tolist") else value for name, value in file.attrs.items()}
        return DigestCheck(str(attributes.get("digest", "")), content_digest(attributes, datasets))


def refuse_changed(path: Path) -> bool:
    """Refuse a sample whose content is not what its digest says.

    Returns:
        Whether there was a digest to hold it to; files of other formats, and samples of version 1, have none.

    Raises:
        DataError: the file was changed after it was written.
    """
    if not h5py.is_hdf5(path):
        return False
    with open_hdf5(path) as file, reading(path):
        if "digest" not in file.attrs or not str(file.attrs.get("format", "")).startswith("shiftlab sample"):
            return False
    digest = check_digest(path)
    if not digest.holds:
        raise DataError(
            f"{path}: was changed after it was written: it states the digest {digest.stated}, and its content has "
            f"{digest.found}. Take the file from where it was made, or make it again."
        )
    return True


def _sha256(path: Path, name: str, dataset: Any) -> str:
    if dataset.dtype.hasobject or not dataset.shape:
        raise DataError(f"{path}: '{name}' is no column of numbers; a sample file has no other datasets.")
    total = hashlib.sha256()
    for start in range(0, len(dataset), _BLOCK):
        total.update(np.ascontiguousarray(dataset[start : start + _BLOCK]).data)
    return total.hexdigest()
