"""Converting a readable file of events to a format that is written here, piece by piece where the format allows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from shiftlab.errors import ConfigError, RunError, UnknownNameError
from shiftlab.events.minerva_ml.write import write_minerva_ml
from shiftlab.events.omnilearned.write import write_omnilearned
from shiftlab.events.reader import BadEvent, Description, Origin, open_events, read_tokens, stream
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
    with open_events(path, origin=origin) as source:
        described, holds = source.describe(), source.holds
    bad: list[BadEvent] = []
    if to != "sample":
        if holds != "tokens":
            raise ConfigError(f"{path}: holds {holds}; {to} holds tokens.")
        tokens = read_tokens(path, skipped=bad if skip_bad else None)
        progress(described.events, described.events)
        {"omnilearned": write_omnilearned, "minerva_ml": write_minerva_ml}[to](out, tokens)
        return Converted(holds, len(tokens), tuple(bad))
    record = {"command": command, "input": _input(path, described, origin)}
    with SampleWriter(out, holds=holds, attributes=_attributes(described), exact=exact, provenance=record) as writer:
        for piece in stream(path, origin=origin, chunk=chunk, skipped=bad if skip_bad else None):
            writer.append(piece)
            progress(len(writer) + len(bad), described.events)
        writer.provenance["left_out"] = [one.number for one in bad]
    return Converted(holds, len(writer), tuple(bad))


def _input(path: Path, described: Description, origin: Origin) -> dict[str, Any]:
    """Return what the provenance says of the file that was read."""
    return {
        "file": path.name,
        "format": described.format,
        "dialect": described.dialect,
        "sha256": digest_file(path),
        "origin": list(origin),
    }


def _attributes(described: Description) -> dict[str, str]:
    """Return what the file says of itself, its licence say, but for what the format itself fills in."""
    return {name: value for name, value in described.attributes.items() if name not in RESERVED}
