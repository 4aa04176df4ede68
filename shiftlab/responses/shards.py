"""Shards: what one event chunk gave in one universe, kept on disk until the responses are assembled."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shiftlab.events import open_events, read, read_tokens
from shiftlab.events.deposits import Deposits
from shiftlab.events.sample import SampleWriter, read_attributes
from shiftlab.events.tokens import Tokens
from shiftlab.provenance import write_whole

__all__ = ["Shards", "Unit", "chunks", "read_events", "save_events"]

Arrays = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, order=True)
class Unit:
    """A unit of work: the events of one chunk in one universe (positions in the plan)."""

    chunk: int
    universe: int


def chunks(events: int, size: int) -> tuple[range, ...]:
    """Return contiguous ranges of at most ``size`` events that cover ``events``; fixed by the two numbers."""
    return tuple(range(start, min(start + size, events)) for start in range(0, events, size))


@dataclass(frozen=True)
class Shards:
    """The shard files of one plan.

    Attributes:
        folder: where they lie.
        plan: digest of the plan, written into each shard; a shard of another plan does not count.
    """

    folder: Path
    plan: str

    def path(self, unit: Unit) -> Path:
        """Return where the shard of ``unit`` lies."""
        return self.folder / f"chunk{unit.chunk:05d}_universe{unit.universe:05d}.npz"

    def write(self, unit: Unit, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Write the arrays of one unit as a whole.

        Raises:
            RunError: the disk is full or the folder cannot be written.
        """
        with write_whole(self.path(unit)) as temporary:
            _write(temporary, {**arrays, "plan": np.frombuffer(self.plan.encode(), dtype=np.uint8)})

    def read(self, unit: Unit) -> Arrays | None:
        """Return the arrays of one unit; None when there is no whole shard of this plan."""
        try:
            arrays = _read(self.path(unit))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        plan = arrays.pop("plan", np.zeros(0, dtype=np.uint8))
        return arrays if plan.tobytes() == self.plan.encode() else None

    def __contains__(self, unit: Unit) -> bool:
        """Whether the shard of ``unit`` is there, whole and of this plan."""
        return self.read(unit) is not None


def save_events(path: Path, events: Deposits | Tokens) -> str:
    """Write deposits or tokens bit for bit, so that each worker opens them by itself and reads a chunk at a time.

    Returns:
        The digest of their content.
    """
    with SampleWriter(path, holds="tokens" if isinstance(events, Tokens) else "deposits", exact=True) as writer:
        writer.append(events.to("cpu"))
    return str(read_attributes(path)["digest"])


def read_events(path: Path, rows: slice | None = None) -> Deposits | Tokens:
    """Return the deposits or tokens of a file, or some of its events."""
    with open_events(path) as source:
        holds = source.holds
    return read_tokens(path, events=rows) if holds == "tokens" else read(path, events=rows)


def _write(path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    with path.open("wb") as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(arrays[name]), allow_pickle=False)


def _read(path: Path) -> Arrays:
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
