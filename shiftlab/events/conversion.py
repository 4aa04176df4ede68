"""Converting a readable file of events to a format that is written here, piece by piece where the format allows it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from shiftlab.errors import ConfigError, RunError, UnknownNameError
from shiftlab.events.hdf5.sorting import sort_events
from shiftlab.events.minerva_ml.write import write_minerva_ml
from shiftlab.events.omnilearned.write import write_omnilearned
from shiftlab.events.reader import BadEvent, Description, Origin, open_events, read_tokens, stream
from shiftlab.events.sample.deposits import DepositSource
from shiftlab.events.sample.digest import refuse_changed
from shiftlab.events.sample.writer import RESERVED, SampleWriter
from shiftlab.provenance import digest_file

__all__ = ["FORMATS", "Converted", "convert"]

FORMATS: Final = ("sample", "omnilearned", "minerva_ml")
"""What can be written; the last two hold tokens only, and are written from memory."""


@dataclass(frozen=True)
class Converted:
    """What a conversion did.

    Attributes:
        holds: What the events are.
        events: How many were written.
        left_out: Bad events, which the caller asked to leave out.
    """

    holds: str
    events: int
    left_out: tuple[BadEvent, ...]


def convert(
    path: Path,
    out: Path,
    *,
    to: str = "sample",
    label: str = "label",
    sort: bool = False,
    origin: Origin = (0.0, 0.0, 0.0),
    exact: bool = False,
    skip_bad: bool = False,
    overwrite: bool = False,
    chunk: int = 1024,
    command: str = "",
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Converted:
    """Write the events of ``path`` to ``out``, whole or not at all.

    Args:
        path: A file that a reader knows.
        out: The file to write.
        to: One of ``FORMATS``.
        label: Truth column that becomes OmniLearned's class ``pid``.
        sort: Put the rows of unsorted event tables in order first (``sort_events``, one table at a time in memory).
        origin: Position in the file's frame (cm) that becomes (0, 0, 0); only deposits have positions.
        exact: Keep deposits and images bit for bit; else they are packed (``SampleWriter``). Tokens always are exact.
        skip_bad: Leave bad events out, and say which; else the first one ends the conversion.
        overwrite: Whether ``out`` may be there already.
        chunk: Events that are held at a time.
        command: What the user typed, for the provenance.
        progress: Called with the events read so far and those of the file.

    Raises:
        ConfigError: an unknown format, or one that cannot hold such events.
        RunError: ``out`` is there, or cannot be written.
        DataError: the file cannot be read, an event is bad, or no event is left.
    """
    if to not in FORMATS:
        raise UnknownNameError("format to write", to, FORMATS)
    if out.exists() and (not overwrite or out.samefile(path)):
        hint = "it is what is read." if path.exists() and out.samefile(path) else "--force overwrites it."
        raise RunError(f"{out}: is there already; {hint}")
    if path.is_file():
        refuse_changed(path)
    bad: list[BadEvent] = []
    skipped = bad if skip_bad else None
    with _ordered(path, sort=sort) as ordered:
        with open_events(ordered, origin=origin) as source:
            described = source.describe()
            # Positions that are packed already are packed alike, so that none moves.
            box = source.box() if isinstance(source, DepositSource) and not any(origin) else None
        if to != "sample":
            count = _write_tokens(ordered, out, to, label, skipped)
            progress(described.events, described.events)
            return Converted(described.holds, count, tuple(bad))
        record = {"command": command, "input": _input(path, described, origin)}
        attributes = {name: value for name, value in described.attributes.items() if name not in RESERVED}
        with SampleWriter(
            out, holds=described.holds, attributes=attributes, box=box, exact=exact, provenance=record
        ) as writer:
            for piece in stream(ordered, origin=origin, chunk=chunk, skipped=skipped):
                writer.append(piece)
                progress(len(writer) + len(bad), described.events)
            writer.provenance["left_out"] = [one.number for one in bad]
        return Converted(described.holds, len(writer), tuple(bad))


@contextmanager
def _ordered(path: Path, *, sort: bool) -> Iterator[Path]:
    """Give the file itself, or a sorted copy of it for the time of the conversion."""
    if not sort:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="shiftlab-") as scratch:
        sort_events(path, Path(scratch) / path.name)
        yield Path(scratch) / path.name


def _write_tokens(path: Path, out: Path, to: str, label: str, skipped: list[BadEvent] | None) -> int:
    """Write a format of tokens and return how many events it has."""
    with open_events(path) as source:
        if source.holds != "tokens":
            raise ConfigError(f"{path}: holds {source.holds}; {to} holds tokens.")
    tokens = read_tokens(path, skipped=skipped)
    if to == "omnilearned":
        write_omnilearned(out, tokens, label=label)
    else:
        write_minerva_ml(out, tokens)
    return len(tokens)


def _input(path: Path, described: Description, origin: Origin) -> dict[str, Any]:
    """Return what the provenance says of the file that was given."""
    return {
        "file": path.name,
        "format": described.format,
        "dialect": described.dialect,
        "sha256": digest_file(path),
        "origin": list(origin),
    }
