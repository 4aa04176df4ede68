"""The folder of one run: its identity, its lock, and the marker that says it is done."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from shiftlab.errors import RunError
from shiftlab.provenance import claim_folder, digest_json, write_json

__all__ = ["RunFolder", "open_run"]

_DONE: Final = "done"
_LATEST: Final = "latest"


@dataclass(frozen=True)
class RunFolder:
    """A locked run folder, ``<root>/<study>/<first 12 digits of the identity's digest>``.

    Attributes:
        path: the folder.
        identity: what decides the numbers of this run, plain values.
        digest: SHA-256 of the identity.
    """

    path: Path
    identity: Mapping[str, Any]
    digest: str

    @property
    def done(self) -> bool:
        """Whether the run is finished."""
        return (self.path / _DONE).is_file()

    def finish(self) -> None:
        """Mark the run as finished; the last thing that a run writes."""
        write_json(self.path / _DONE, {"identity": self.digest})

    def point_latest(self) -> None:
        """Let ``latest`` beside the folder point here.

        Raises:
            RunError: something that is not a link is in the way.
        """
        latest = self.path.parent / _LATEST
        if latest.exists() and not latest.is_symlink():
            raise RunError(f"{latest} is not a link; remove or rename it.")
        temporary = self.path.parent / f".{_LATEST}.{os.getpid()}"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(self.path.name, target_is_directory=True)
        temporary.replace(latest)


@contextmanager
def open_run(root: Path, study: str, identity: Mapping[str, Any], *, fresh: bool = False) -> Iterator[RunFolder]:
    """Lock the folder of the run with this identity and give it.

    The lock goes with the process that holds it, so one that was killed leaves none. What a killed
    run left half-written is removed.

    Args:
        root: folder of all runs.
        study: name of the study.
        identity: what decides the numbers, plain values.
        fresh: discard what the folder holds, of whichever identity.

    Raises:
        RunError: another live run holds the folder, the folder is of another identity, or it
            cannot be written.
    """
    digest = digest_json(identity)
    path = root / study / digest[:12]
    with claim_folder(path, identity, fresh=fresh):
        yield RunFolder(path, identity, digest)
