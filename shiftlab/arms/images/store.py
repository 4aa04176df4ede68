"""Nominal images of any number of training events on disk: an HDF5 file that is mapped, so that memory holds a batch.

The file is a sample of images (``shiftlab.events.sample``, version 2, exact) whose datasets are neither
compressed nor chunked, so that any row lies at a known place. Beside the columns of every such sample it has
``images/label`` (int8), ``images/owner`` (int16, where particles are asked for), ``particles/kind`` and
``particles/cells`` with ``events/particle_offsets``, and ``events/summed_energy`` and ``events/centroid``. Its
attribute ``made_of`` says what decided its content.
"""

from __future__ import annotations

import inspect
import json
import mmap
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import torch
from torch import Tensor

from shiftlab.arms.contract import InputContract
from shiftlab.arms.images.imaged import Imaged
from shiftlab.arms.training_set import Stored, TrainingSet, asked_of_voxels, with_targets
from shiftlab.detector import Detector
from shiftlab.errors import DataError, RunError
from shiftlab.events.deposits import Deposits, EventTable
from shiftlab.events.hdf5.file import open_hdf5, reading
from shiftlab.events.image import Image
from shiftlab.events.splits import Manifest
from shiftlab.provenance import canonical_json, catalogue_version, digest_file, digest_json
from shiftlab.tasks.event_summary import EventSummary
from shiftlab.tasks.particle_truth import TrueParticles
from shiftlab.tasks.task import Task

__all__ = ["ImageStore", "TrainingFile", "made_of", "store_path"]

LAYOUT: Final = "1"

_NORESERVE: Final[int] = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)
"""Python 3.11 does not name the flag; the number is that of Linux (asm-generic/mman.h)."""


@dataclass(frozen=True)
class TrainingFile:
    """A file of deposits to train on.

    Attributes:
        path: The file, of any format that a reader knows.
        manifest: Which vertices belong to which part; None takes all.
        part: The part that is trained on.
    """

    path: Path
    manifest: Manifest | None = None
    part: str = "train"

    def plain(self) -> dict[str, Any]:
        """Return what decides its events, as JSON values; where the file lies and how it is called does not."""
        part = None if self.manifest is None else [self.manifest.digest, self.part]
        return {"sha256": digest_file(self.path), "part": part}

    def chosen(self, deposits: Deposits) -> Deposits:
        """Return those of some events of the file that are of the part, which may be none.

        Raises:
            DataError: the manifest does not know one, or divides another revision.
        """
        if self.manifest is None:
            return deposits
        vertex = deposits.events.vertex.numpy()
        known = np.concatenate(list(self.manifest.parts.values()))
        if np.isin(vertex, self.manifest.part(self.part)).any() or not np.isin(vertex, known).all():
            return self.manifest.select(deposits, self.part)
        return deposits.take([])


def made_of(files: Sequence[TrainingFile], detector: Detector, tasks: Sequence[Task]) -> dict[str, Any]:
    """Return what decides the content of a store, as JSON values.

    Of the tasks that is the truth that they derive from particles, and whether they ask for the particle of voxels.

    Raises:
        DataError: a file cannot be read.
    """
    try:
        given = [file.plain() for file in files]
    except OSError as error:
        raise DataError(f"cannot read '{error.filename}': {error.strerror}.") from error
    derived = sorted(task.name for task in tasks if type(task).with_truth is not Task.with_truth)
    return {
        "layout": LAYOUT,
        "files": given,
        "detector": detector.to_dict(),
        "truth": derived,
        "particles": asked_of_voxels(tasks)[1],
        "source": _source(detector, tasks),
    }


def _source(detector: Detector, tasks: Sequence[Task]) -> str:
    """Return one digest of all source that images depend on: events, detector, tasks, effects, and their plug-ins."""
    import shiftlab

    root = Path(str(shiftlab.__file__)).parent
    files = [file for room in ("events", "detector", "tasks") for file in sorted((root / room).rglob("*.py"))]
    images = root / "arms" / "images"
    files += [root / "units.py", images / "imaged.py", images / "summary.py"]
    plugged = {Path(inspect.getfile(type(one))) for one in (*detector.effects, *tasks)}
    files += sorted(plugged - set(files), key=str)
    return digest_json([catalogue_version(), *(digest_file(file) for file in files)])


def store_path(folder: Path, identity: Mapping[str, Any]) -> Path:
    """Return where a store of this identity lies in a folder."""
    return folder / f"images-{digest_json(dict(identity))[:16]}.h5"


@dataclass(frozen=True)
class ImageStore:
    """An open store; its tensors are mapped, and only the rows that are taken are read.

    Attributes:
        path: The file.
        identity: What decided its content (``made_of``).
        imaged: All events.
        contract: Input contract of the images.
    """

    path: Path
    identity: Mapping[str, Any]
    imaged: Imaged = field(repr=False)
    contract: InputContract

    @classmethod
    def open(cls, path: Path, identity: Mapping[str, Any] | None = None) -> ImageStore:
        """Map a store.

        Args:
            path: The file.
            identity: What it must be made of; not checked when None.

        Raises:
            RunError: it is made of something else; the message says what.
            DataError: it is no store, or is damaged.
        """
        with open_hdf5(path) as file, reading(path):
            found = _identity(path, file)
            if identity is not None and digest_json(found) != digest_json(dict(identity)):
                differ = sorted(key for key in {*found, *identity} if found.get(key) != identity.get(key))
                raise RunError(
                    f"'{path}' has the images of other events or of another detector: it differs in "
                    f"{', '.join(differ)}. Choose another folder, or remove it."
                )
            contract = InputContract.from_plain(json.loads(file.attrs["contract"]))
            return cls(path, found, _imaged(path, file), contract)

    def training_set(self, tasks: Sequence[Task]) -> TrainingSet:
        """Return the events with what the tasks are trained towards.

        Raises:
            DataError: a task needs truth that the store does not have.
        """
        return with_targets(self.imaged, tasks, self.contract, store=Stored(self.path, tuple(tasks), self.contract))


def _identity(path: Path, file: Any) -> dict[str, Any]:
    try:
        found = json.loads(file.attrs["made_of"])
    except (KeyError, ValueError, TypeError):
        found = None
    if not isinstance(found, dict) or found.get("layout") != LAYOUT:
        raise DataError(f"'{path}' is no store of training images of this version of shiftlab. Remove it.")
    return found


def _imaged(path: Path, file: Any) -> Imaged:
    """Return the mapped columns of a store."""
    held = _held(path)

    def column(name: str) -> Tensor:
        return _mapped(path, file, name, held)

    names = json.loads(file.attrs["samples"])
    codes = file["events/sample"][:]
    events = EventTable(
        key=column("events/key"),
        vertex=column("events/vertex"),
        weight=column("events/weight"),
        sample=tuple(np.array(names, dtype=object)[codes].tolist()),
        truth={name: column(f"events/truth/{name}") for name in file["events/truth"]},
        selected=column("events/selected").view(torch.bool),
        dataset=str(file.attrs["dataset"]),
    )
    nx, ny, nz = (int(cells) for cells in file.attrs["shape"])
    columns = {name: column(f"images/{name}") for name in ("cell", "charge", "energy")}
    image = Image(offsets=column("events/offsets"), **columns, shape=(nx, ny, nz), events=events)
    summary = EventSummary(column("events/summed_energy"), column("events/centroid"))
    if "owner" not in file["images"]:
        return Imaged(image, column("images/label"), summary)
    particles = TrueParticles(column("events/particle_offsets"), column("particles/kind"), column("particles/cells"))
    return Imaged(image, column("images/label"), summary, column("images/owner"), particles)


def _mapped(path: Path, file: Any, name: str, held: mmap.mmap) -> Tensor:
    """Return a dataset as a tensor on the file's own bytes; what is written to it stays in this process."""
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.chunks is not None:
        raise DataError(f"'{path}': '{name}' is no contiguous dataset, and so cannot be mapped.")
    if not dataset.size:
        return torch.from_numpy(np.zeros(dataset.shape, dtype=dataset.dtype))
    start = dataset.id.get_offset()
    if len(held) < start + dataset.nbytes:
        raise DataError(f"'{path}': breaks off before the end of '{name}'. Remove it; it is made again.")
    flat = np.frombuffer(held, dataset.dtype, dataset.size, start)
    return torch.from_numpy(flat.reshape(dataset.shape))


def _held(path: Path) -> mmap.mmap:
    """Return the bytes of a file, of any size, without taking memory for what may be written to them.

    A private mapping would have to fit into memory as a whole, were it not for MAP_NORESERVE.
    """
    with path.open("rb") as stream:
        return mmap.mmap(stream.fileno(), 0, mmap.MAP_PRIVATE | _NORESERVE, mmap.PROT_READ | mmap.PROT_WRITE)


def described(identity: Mapping[str, Any], contract: InputContract) -> dict[str, str]:
    """Return the attributes by which ``ImageStore.open`` knows a store."""
    return {"made_of": canonical_json(dict(identity)), "contract": canonical_json(contract.plain())}
