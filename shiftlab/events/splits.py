"""Split manifests: which vertices are trained on and which are judged, fixed once and checked by digest."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from shiftlab.errors import ConfigError, DataError, UnknownNameError
from shiftlab.events.deposits import Deposits, EventTable, dataset_names, joint_dataset
from shiftlab.events.image import Image
from shiftlab.events.reader import BadEvent, stream
from shiftlab.events.sample.digest import refuse_changed
from shiftlab.events.strata import Strata, assign
from shiftlab.events.tokens import Tokens
from shiftlab.provenance import digest_file, digest_json, write_json

__all__ = ["Manifest", "SplitFile", "make_manifest"]

FORMAT: Final = "shiftlab split manifest 1"

E = TypeVar("E", Deposits, Image, Tokens)


@dataclass(frozen=True)
class SplitFile:
    """A file whose vertices were divided.

    Attributes:
        name: Its name, without the folder.
        sha256: Digest of its bytes.
        events: Number of its events.
        dataset: What the file says of its data set, ``name/revision``; empty where it says nothing.
    """

    name: str
    sha256: str
    events: int
    dataset: str = ""


@dataclass(frozen=True, eq=False)
class Manifest:
    """Parts of a data set by vertex; every event of a vertex is in the part of the vertex.

    Attributes:
        fractions: Share of each part, by name.
        seed: What the division was drawn from.
        stratify: What the strata are made of: ``sample``, names of truth columns; empty for one stratum.
        revision: Revision of the data set, as given or as the files say; empty where unknown.
        files: The files, in order of their digests.
        counts: Vertices of each stratum, by part and stratum.
        parts: int64 (vertex,), ascending uids, by part.
        version: The shiftlab that made it.
    """

    fractions: Mapping[str, float]
    seed: int
    stratify: tuple[str, ...]
    revision: str
    files: tuple[SplitFile, ...]
    counts: Mapping[str, Mapping[str, int]]
    parts: Mapping[str, NDArray[np.int64]]
    version: str

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that the manifest says."""
        return digest_json(self.plain())

    @property
    def dataset(self) -> str:
        """What the files say of their data set, ``name/revision``; several are joined by `` + ``."""
        return joint_dataset([file.dataset for file in self.files], mix_revisions=True)

    def plain(self) -> dict[str, Any]:
        """Return the manifest as JSON values, without its digest."""
        return {
            "format": FORMAT,
            "fractions": dict(self.fractions),
            "seed": self.seed,
            "stratify": list(self.stratify),
            "revision": self.revision,
            "files": [asdict(file) for file in self.files],
            "counts": {part: dict(strata) for part, strata in self.counts.items()},
            "vertex_uid": {part: uids.tolist() for part, uids in self.parts.items()},
            "shiftlab": self.version,
        }

    def same_as(self, other: Manifest) -> bool:
        """Say whether both divide the same files in the same way, whichever version of shiftlab made them."""
        return {**self.plain(), "shiftlab": ""} == {**other.plain(), "shiftlab": ""}

    def part(self, name: str) -> NDArray[np.int64]:
        """Return int64 (vertex,): the uids of a part, ascending.

        Raises:
            UnknownNameError: there is no such part.
        """
        if name not in self.parts:
            raise UnknownNameError("part of the manifest", name, self.parts)
        return self.parts[name]

    def select(self, events: E, part: str) -> E:
        """Return the events of a part, in their order.

        Raises:
            UnknownNameError: there is no such part.
            DataError: an event's vertex is in no part, the events are of another revision of the
                data set, or none of them is in the part.
        """
        mine = self.part(part)
        vertex = self._known(events.events)
        rows = np.flatnonzero(np.isin(vertex, mine))
        if len(rows) == 0:
            raise DataError(f"none of these {len(events)} events is in part '{part}' of the manifest.")
        return events.take(torch.from_numpy(rows))

    def require(self, events: Deposits | Image | Tokens, part: str) -> None:
        """Refuse events that are not of a part.

        Raises:
            UnknownNameError: there is no such part.
            DataError: some are of another part, of none, or of another revision of the data set.
        """
        mine = self.part(part)
        vertex = self._known(events.events)
        foreign = np.flatnonzero(~np.isin(vertex, mine))
        if len(foreign):
            first = int(foreign[0])
            where = next(name for name, uids in self.parts.items() if vertex[first] in uids)
            raise DataError(
                f"{len(foreign)} of these {len(events)} events are not in part '{part}' of the manifest, the first "
                f"being event {first} (vertex {vertex[first]}, part '{where}')."
            )

    def _known(self, table: EventTable) -> NDArray[np.int64]:
        """Return the vertices of the events, all of which are in the manifest."""
        families = {name.partition("/")[0] for name in dataset_names(self.dataset)}
        for name in set(dataset_names(table.dataset)) - set(dataset_names(self.dataset)):
            if name.partition("/")[0] in families:
                raise DataError(f"these events are of {name}, and the manifest divides {self.dataset}.")
        vertex = table.vertex.cpu().numpy()
        unknown = np.flatnonzero(~np.isin(vertex, np.concatenate(list(self.parts.values()))))
        if len(unknown):
            first = int(unknown[0])
            raise DataError(
                f"{len(unknown)} of these {len(table)} events are of vertices that the manifest does not have, the "
                f"first being event {first} (vertex {vertex[first]}, sample {table.sample[first]}). It was made from "
                f"{', '.join(file.name for file in self.files)}; make one from all files with `shiftlab split`."
            )
        return vertex

    def save(self, path: Path) -> None:
        """Write the manifest; a file that holds the same one is left alone.

        Raises:
            ConfigError: the file holds another manifest, or something else; it is never written over.
            RunError: the file cannot be written.
        """
        if path.exists():
            other = Manifest.load(path)
            if not self.same_as(other):
                raise ConfigError(
                    f"'{path}' holds another manifest, with digest {other.digest}; this one has {self.digest}. "
                    "A manifest is never changed, for results hang on it; give the new one another name."
                )
            return
        write_json(path, {**self.plain(), "digest": self.digest})

    @classmethod
    def load(cls, path: Path) -> Manifest:
        """Read a manifest.

        Raises:
            ConfigError: there is no such file, it is no split manifest, or was changed after it was made.
        """
        record = _parsed(path)
        if record.get("format") != FORMAT:
            hint = " It records how shipped samples were made." if "made_with" in record and "samples" in record else ""
            raise ConfigError(f"'{path}' is no split manifest.{hint} `shiftlab split` makes one.")
        stated = record.pop("digest", None)
        found = digest_json(record)
        if stated != found:
            raise ConfigError(
                f"'{path}' was changed after it was made: it states the digest {stated}, and its content has {found}. "
                "Take the file as it was, or make a new one with `shiftlab split`."
            )
        try:
            manifest = cls(
                fractions={str(name): float(share) for name, share in record["fractions"].items()},
                seed=int(record["seed"]),
                stratify=tuple(record["stratify"]),
                revision=str(record["revision"]),
                files=tuple(SplitFile(**file) for file in record["files"]),
                counts=record["counts"],
                parts={name: np.array(uids, dtype=np.int64) for name, uids in record["vertex_uid"].items()},
                version=str(record["shiftlab"]),
            )
            _refuse_overlap(manifest.parts)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise ConfigError(f"'{path}' is a split manifest that cannot be used: {error}.") from error
        return manifest


def make_manifest(
    files: Sequence[str | Path],
    fractions: Mapping[str, float],
    *,
    seed: int,
    stratify: Sequence[str] = ("sample",),
    revision: str = "",
    mix_revisions: bool = False,
    skipped: list[BadEvent] | None = None,
) -> Manifest:
    """Divide the vertices of some files into parts; only uids and strata are kept in memory.

    The parts depend on the vertices, their strata, the fractions and the seed; not on the order of
    files, events or parts, nor on how many events a vertex has.

    Args:
        files: Event files of any format that a reader knows.
        fractions: Share of each part, by name, say ``{"train": 0.8, "test": 0.2}``.
        seed: What the division is drawn from.
        stratify: ``sample``, or names of truth columns that are labels; none makes one stratum.
        revision: Revision of the data set; needed only where the files do not say.
        mix_revisions: Whether the files may be of two revisions of one data set.
        skipped: None refuses bad events; a list gets those that were left out, which are in no part.

    Raises:
        ConfigError: fractions, seed or strata that cannot be, one file given twice, or a part without vertices.
        DataError: a file cannot be read, or the files are of two revisions of one data set.
    """
    from shiftlab import __version__

    _check_fractions(fractions)
    fractions = {name: float(share) for name, share in sorted(fractions.items())}
    strata = Strata(tuple(stratify))
    found = sorted((_scan(Path(file), strata, skipped) for file in files), key=lambda file: file.sha256)
    for one, other in pairwise(found):
        if one.sha256 == other.sha256:
            raise ConfigError(f"'{one.name}' and '{other.name}' have the same content; give it once.")
    dataset = joint_dataset([file.dataset for file in found], mix_revisions=mix_revisions)
    vertex, stratum, names = strata.result()
    if len(vertex) == 0:
        raise DataError("no events to divide: every one was left out, or no file is given.")
    part = assign(vertex, stratum, names, fractions, seed)
    for i, name in enumerate(fractions):
        if not np.any(part == i):
            raise ConfigError(f"{name}={fractions[name]:g}: no vertex is left for it; there are {len(vertex)} in all.")
    return Manifest(
        fractions=fractions,
        seed=seed,
        stratify=tuple(stratify),
        revision=_revision(revision, dataset),
        files=tuple(found),
        counts={
            name: dict(zip(names, np.bincount(stratum[part == i], minlength=len(names)).tolist(), strict=True))
            for i, name in enumerate(fractions)
        },
        parts={name: vertex[part == i] for i, name in enumerate(fractions)},
        version=__version__,
    )


def _scan(path: Path, strata: Strata, skipped: list[BadEvent] | None) -> SplitFile:
    """Add the vertices of a file to the strata and return what is recorded of the file."""
    refuse_changed(path)
    events, dataset = 0, ""
    with tqdm(unit="event", desc=path.name, disable=None) as bar:
        for piece in stream(path, skipped=skipped):
            strata.add(piece.events, path.name)
            events, dataset = events + len(piece), piece.events.dataset
            bar.update(len(piece))
    return SplitFile(path.name, digest_file(path), events, dataset)


def _check_fractions(fractions: Mapping[str, float]) -> None:
    given = ", ".join(f"{name}={share:g}" for name, share in fractions.items()) or "none"
    if len(fractions) < 2:
        raise ConfigError(f"parts: {given}; give two or more, as train=0.8 test=0.2.")
    for name, share in fractions.items():
        if not name or not 0.0 < share < 1.0:
            raise ConfigError(f"{name}={share:g}: the share of a part lies between 0 and 1.")
    if not math.isclose(sum(fractions.values()), 1.0, abs_tol=1e-9):
        raise ConfigError(f"parts: {given} sum to {sum(fractions.values()):g}; they must sum to 1.")


def _revision(given: str, dataset: str) -> str:
    """Return the revision of the data set, which the files, where they say it, must agree with."""
    stated = sorted({name.partition("/")[2] for name in dataset_names(dataset)})
    if given and stated and stated != [given]:
        raise DataError(f"revision={given}: the files say that they are of {dataset}.")
    return given or " + ".join(stated)


def _parsed(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"manifest '{path}' cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"manifest '{path}' is not JSON: {error}.") from error
    return record if isinstance(record, dict) else {}


def _refuse_overlap(parts: Mapping[str, NDArray[np.int64]]) -> None:
    uids = np.concatenate(list(parts.values()))
    if len(np.unique(uids)) < len(uids):
        raise ValueError("a vertex is in it twice")
