"""Which events a public model was trained on, as far as whoever adopts it knows: no arm on it may be judged on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shiftlab.errors import ConfigError
from shiftlab.events.deposits import dataset_names, joint_dataset
from shiftlab.events.reader import stream
from shiftlab.events.sample.digest import refuse_changed
from shiftlab.provenance import digest_file

__all__ = ["Seen", "seen_events"]


@dataclass(frozen=True)
class Seen:
    """What a public model has seen.

    Attributes:
        dataset: ``name/revision`` of its data set, several joined by `` + ``; empty where unknown.
        vertices: int64 (vertex,), ascending uids of the vertices that are known.
        files: Name and SHA-256 of the files that they are of.
    """

    dataset: str
    vertices: NDArray[np.int64]
    files: tuple[dict[str, str], ...]


def seen_events(dataset: str, files: Sequence[Path]) -> Seen:
    """Return what was seen: a data set, and all vertices of some files of any format that a reader knows.

    Args:
        dataset: ``name/revision``; several joined by `` + ``; empty where unknown. That of the files is added.
        files: Files that the model was trained on; none where it is not known which.

    Raises:
        ConfigError: the data set is not written as name and revision.
        DataError: a file cannot be read.
    """
    for name in dataset_names(dataset):
        if not all(part.strip() for part in name.partition("/")):
            raise ConfigError(f"dataset '{name}': name/revision is wanted, say pilarnet-m/v1.")
    uids, datasets, described = [np.empty(0, dtype=np.int64)], [dataset], []
    for path in files:
        refuse_changed(path)
        for piece in stream(path):
            uids.append(np.unique(piece.events.vertex.numpy()))
            datasets.append(piece.events.dataset)
        described.append({"name": path.name, "sha256": digest_file(path)})
    known = [name for name in datasets if name]
    joined = joint_dataset(known, mix_revisions=True) if known else ""
    return Seen(joined, np.unique(np.concatenate(uids)), tuple(described))
