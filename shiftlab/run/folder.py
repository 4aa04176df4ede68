"""The folder of one run: its identity, its lock, and the marker that says it is done."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from shiftlab.errors import RunError
from shiftlab.provenance import digest_json, write_json

__all__ = ["RunFolder", "open_run"]

_IDENTITY: Final = "identity.json"
_DONE: Final = "done"
_LOCK: Final = ".lock"
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
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make the run folder {path}: {error.strerror}.") from error
    with _locked(path):
        if fresh:
            _clear(path)
        _check_identity(path, digest)
        for part in path.rglob(".*.part"):
            part.unlink()
        if not (path / _IDENTITY).exists():
            write_json(path / _IDENTITY, {"digest": digest, "identity": dict(identity)})
        yield RunFolder(path, identity, digest)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on the folder; the kernel drops it when the process ends."""
    with (path / _LOCK).open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            stream.seek(0)
            holder = stream.read().strip() or "unknown"
            raise RunError(f"{path} is in use by a run with process id {holder}; wait for it or stop it.") from error
        except OSError as error:
            raise RunError(f"cannot lock {path}: {error.strerror}. Choose a root on a local disk.") from error
        stream.truncate(0)
        stream.write(f"{os.getpid()}\n")
        stream.flush()
        yield


def _check_identity(path: Path, digest: str) -> None:
    file = path / _IDENTITY
    try:
        found = json.loads(file.read_text(encoding="utf-8"))["digest"]
    except FileNotFoundError:
        if any(item.name != _LOCK for item in path.iterdir()):
            raise RunError(f"{path} holds files but no {_IDENTITY}; --fresh discards them.") from None
        return
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{file} is not readable; --fresh discards the run.") from error
    if found != digest:
        raise RunError(
            f"{path} is a run of another identity ({str(found)[:12]}, this one is {digest[:12]}): its config, source, "
            "data or device differs. --fresh discards it."
        )


def _clear(path: Path) -> None:
    for item in path.iterdir():
        if item.name == _LOCK:
            continue
        if item.is_dir() and not item.is_symlink():
            shutil.rmtree(item)
        else:
            item.unlink()
