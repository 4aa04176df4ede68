"""The file of a store of training images, put together from its chunks: the same bytes whatever the chunks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor

from shiftlab.arms.images.imaged import Imaged
from shiftlab.events.deposits import joint_dataset
from shiftlab.events.sample.columns import json_text
from shiftlab.events.sample.digest import content_digest, dataset_entry
from shiftlab.events.sample.disk import Disk
from shiftlab.events.sample.images import DECODING
from shiftlab.events.sample.writer import FORMAT
from shiftlab.events.unique import SeenKeys
from shiftlab.provenance import canonical_json, write_whole

__all__ = ["holds_chunk", "write_chunk", "write_store"]

Arrays = Mapping[str, NDArray[Any]]

_VERSIONS: Final = ("v108", "v110")
"""HDF5 format versions, fixed so that a newer library writes the same bytes."""

_ALIGNED: Final = {"alignment_threshold": 1, "alignment_interval": 64}
"""Columns begin at multiples of 64 bytes, so that mapped rows are where a processor wants them."""

_UNITS: Final = {
    "images/charge": "electrons",
    "images/energy": "MeV",
    "events/summed_energy": "MeV",
    "events/centroid": "cm",
}
_COUNTS: Final = {"events/offsets": "images", "events/particle_offsets": "particles"}
"""Column of offsets -> the table whose rows it counts; a chunk has the counts of its events instead."""


def write_chunk(path: Path, images: Imaged, identity: str) -> None:
    """Write the images of one chunk whole or not at all, as safetensors.

    Raises:
        RunError: the disk is full or the folder cannot be written.
    """
    events = images.image.events
    names = list(dict.fromkeys(events.sample))
    codes = {name: code for code, name in enumerate(names)}
    columns: dict[str, Any] = {
        "events/key": events.key,
        "events/vertex": events.vertex,
        "events/weight": events.weight.double(),
        "events/selected": events.selected.to(torch.uint8),
        "events/sample": np.array([codes[name] for name in events.sample], dtype=np.uint16),
        "events/offsets": images.image.offsets.diff(),
        "events/summed_energy": images.summary.summed_energy,
        "events/centroid": images.summary.centroid,
        **{f"events/truth/{name}": values.double() for name, values in events.truth.items()},
        **{f"images/{name}": getattr(images.image, name) for name in ("cell", "charge", "energy")},
        "images/label": images.label,
    }
    if images.owner is not None and images.particles is not None:
        columns["images/owner"] = images.owner
        columns["events/particle_offsets"] = images.particles.offsets.diff()
        columns |= {"particles/kind": images.particles.kind, "particles/cells": images.particles.cells}
    about = {"identity": identity, "samples": json.dumps(names), "dataset": events.dataset}
    arrays = {name: one.numpy(force=True) if isinstance(one, Tensor) else one for name, one in columns.items()}
    with write_whole(path) as temporary:
        save_file({name: np.ascontiguousarray(one) for name, one in arrays.items()}, temporary, about)


def holds_chunk(path: Path, identity: str) -> bool:
    """Say whether a chunk is there, whole, and of this store."""
    try:
        with safe_open(path, framework="np") as file:
            return (file.metadata() or {}).get("identity") == identity
    except (OSError, SafetensorError):
        return False


@dataclass
class _Plan:
    """What the file will have, as the heads of all chunks tell.

    Attributes:
        rows: Rows of each table.
        columns: Type and shape of a row of each column.
        names: Code of each name of a sample, in the order of the events.
        datasets: Data sets of the chunks.
    """

    rows: dict[str, int] = field(default_factory=lambda: {"events": 0, "images": 0, "particles": 0})
    columns: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    datasets: set[str] = field(default_factory=set)


def write_store(
    path: Path,
    chunks: Sequence[tuple[Path, Path, int]],
    shape: tuple[int, int, int],
    attributes: Mapping[str, str],
    provenance: Mapping[str, Any],
) -> None:
    """Write the file whole or not at all; memory holds one chunk.

    Args:
        path: The file.
        chunks: Of each chunk its file, the file of its events, and the number of the first of them there.
        shape: Lattice cells of the images.
        attributes: What made the images, as text.
        provenance: The record of who made them.

    Raises:
        DataError: two events have one key, or the chunks are of two revisions of one data set.
        RunError: the file cannot be written.
    """
    plan = _planned(chunks)
    said: dict[str, Any] = {
        "format": FORMAT,
        "holds": "images",
        "dataset": joint_dataset(sorted(plan.datasets)),
        "shape": list(shape),
        "missing": json_text([]),
        "samples": json_text(plan.names),
        "decoding": DECODING,
    }
    with ExitStack() as stack:
        disk = stack.enter_context(Disk(stack.enter_context(write_whole(path))))
        file = stack.enter_context(h5py.File(disk, "w", libver=_VERSIONS, **_ALIGNED))
        columns = {name: _Column(file, name, plan) for name in sorted(plan.columns)}
        for chunk, _, _ in chunks:
            _append(columns, chunk, plan)
            disk.check()
        said["digest"] = content_digest(said, {name: column.entry() for name, column in columns.items()})
        said["provenance"] = canonical_json(dict(provenance))
        for name, value in sorted({**attributes, **said}.items()):
            file.attrs[name] = value


def _planned(chunks: Sequence[tuple[Path, Path, int]]) -> _Plan:
    plan, seen = _Plan(), SeenKeys()
    for chunk, source, first in chunks:
        with safe_open(chunk, framework="np") as file:
            about = file.metadata()
            keys = file.get_tensor("events/key")
            shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 - no mapping
            types = {name: file.get_tensor(name).dtype for name in shapes if name not in plan.columns}
        if len(keys):
            seen.add(keys, first, source)
        for name, dtype in types.items():
            plan.columns[name] = (dtype, tuple(shapes[name][1:]))
        for table, name in (("events", "events/key"), ("images", "images/cell"), ("particles", "particles/kind")):
            plan.rows[table] += shapes[name][0] if name in shapes else 0
        for name in json.loads(about["samples"]):
            plan.names.setdefault(name, len(plan.names))
        if len(keys):
            plan.datasets.add(about["dataset"])
    return plan


def _append(columns: Mapping[str, _Column], chunk: Path, plan: _Plan) -> None:
    with safe_open(chunk, framework="np") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        names = json.loads(file.metadata()["samples"])
    codes = np.array([plan.names[name] for name in names], dtype=np.uint16)
    arrays["events/sample"] = codes[arrays["events/sample"]] if len(names) else arrays["events/sample"]
    events = len(arrays["events/key"])
    for name, column in columns.items():
        # Only truth may be missing in some files.
        column.append(arrays[name] if name in arrays else np.full(events, np.nan))


class _Column:
    """One contiguous dataset, filled from its beginning on."""

    def __init__(self, file: Any, name: str, plan: _Plan) -> None:
        dtype, tail = plan.columns[name]
        self._counts, self._filled, self._sha256 = name in _COUNTS, 0, hashlib.sha256()
        rows = plan.rows[name.split("/", maxsplit=1)[0]] + self._counts
        # All room is taken at once, in the order of the columns, so that places do not depend on the chunks.
        room = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        room.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        room.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        self._dataset = file.create_dataset(name, shape=(rows, *tail), dtype=dtype, dcpl=room, track_times=False)
        self._unit = _UNITS.get(name, "")
        if self._unit:
            self._dataset.attrs["unit"] = self._unit
        if self._counts:
            self._end = 0
            self._write(np.zeros(1, dtype=dtype))

    def append(self, rows: NDArray[Any]) -> None:
        """Write the rows of the next chunk; counts of rows become where they end."""
        if self._counts:
            ends = np.cumsum(rows) + self._end
            self._end = int(ends[-1]) if len(ends) else self._end
            rows = ends
        self._write(np.ascontiguousarray(rows, dtype=self._dataset.dtype))

    def entry(self) -> dict[str, Any]:
        """Return what the content digest says of the dataset."""
        return dataset_entry(self._dataset.dtype, self._dataset.shape, self._unit, self._sha256.hexdigest())

    def _write(self, rows: NDArray[Any]) -> None:
        if rows.size:
            self._dataset[self._filled : self._filled + len(rows)] = rows
        self._filled += len(rows)
        self._sha256.update(rows.data)
