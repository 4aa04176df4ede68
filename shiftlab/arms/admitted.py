"""Training events as a body with an input contract of its own sees them: its threshold, its grid, its targets."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from shiftlab.arms.images.imaged import CHUNK, Imaged
from shiftlab.arms.images.store import ImageStore, described, store_path
from shiftlab.arms.images.store_making import alone
from shiftlab.arms.images.store_writing import write_chunk, write_store
from shiftlab.arms.images.summary import image_summary
from shiftlab.arms.tokens.set import TokenSet
from shiftlab.arms.training_set import Stored, TrainingSet, with_targets
from shiftlab.events.ragged import ragged_rows
from shiftlab.provenance import digest_json, provenance_record
from shiftlab.tasks.task import Task

__all__ = ["under_contract"]


def under_contract(data: TrainingSet, contract: Any, tasks: Sequence[Task]) -> TrainingSet:
    """Return the training set under another input contract; the same set where it is its own.

    Voxels that the contract does not admit are taken away, and targets are those of what is left. Of a mapped set
    they are written to a store beside the first one, unless they are there.

    Raises:
        ConfigError: the contract is of another lattice or unit.
        RunError: the store cannot be written.
    """
    if contract == data.contract:
        return data
    if isinstance(data, TokenSet):
        return data.under(contract)
    contract.require(data.contract, "training events")
    if data.store is not None:
        return _stored(data, data.store, contract).open().to(data.device)
    here = data.to("cpu")
    return with_targets(_admitted(here, contract, torch.arange(len(data.image))), tasks, contract).to(data.device)


def _admitted(data: TrainingSet, contract: Any, rows: Tensor) -> Imaged:
    """Return the events at ``rows``, int64 (event,), with the voxels that the contract admits."""
    whole, (voxels, _) = data.image.take(rows), ragged_rows(data.image.offsets, rows)
    image, cells = contract.admit(whole), math.prod(whole.shape)
    voxels = voxels[torch.isin(whole.event_index * cells + whole.cell, image.event_index * cells + image.cell)]
    owner = None if data.owner is None else data.owner[voxels]
    particles = None if data.particles is None else data.particles.take(rows)
    return Imaged(image, data.label[voxels], image_summary(image, data.contract), owner, particles)


def _stored(data: TrainingSet, store: Stored, contract: Any) -> Stored:
    """Return the store of the admitted voxels, made chunk by chunk if it is not there."""
    identity = {**ImageStore.open(store.path).identity, "admitted": contract.plain()}
    path, digest = store_path(store.path.parent, identity), digest_json(identity)
    with alone(path):
        if not path.exists():
            folder = path.with_suffix(".chunks")
            chunks: list[tuple[Path, Path, int]] = []
            for rows in torch.split(torch.arange(len(data.image)), CHUNK):
                chunks.append((folder / f"{len(chunks)}.safetensors", store.path, int(rows[0])))
                write_chunk(chunks[-1][0], _admitted(data, contract, rows), digest)
            record = provenance_record({"images": digest})
            write_store(path, chunks, contract.shape, described(identity, data.contract), record)
            shutil.rmtree(folder)
    return Stored(path, store.tasks, contract)
