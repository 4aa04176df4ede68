"""Who made a number: digests of source, data and config, versions, folders of one identity, writes that are whole."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from shiftlab.errors import ConfigError, RunError

__all__ = [
    "canonical_json",
    "catalogue_version",
    "claim_folder",
    "digest_file",
    "digest_json",
    "digest_source",
    "provenance_record",
    "versions",
    "write_json",
    "write_text",
    "write_whole",
]

_IDENTITY: Final = "identity.json"
_LOCK: Final = ".lock"
_LIBRARIES = ("torch", "numpy", "scipy", "pandas", "xarray", "pyhf", "lightgbm", "h5py")


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys and no spaces, so that equal values have equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest_json(value: Any) -> str:
    """Return the SHA-256 hex digest of a plain value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def digest_file(path: Path) -> str:
    """Return the SHA-256 hex digest of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_source() -> str:
    """Return one digest over every source file of the packages shiftlab, shifts and studies."""
    import shiftlab
    import shifts
    import studies

    return _digest_packages(shiftlab, shifts, studies)


def catalogue_version() -> str:
    """Return the digest over the source of every effect that comes with shiftlab (the package ``shifts``)."""
    import shifts

    return _digest_packages(shifts)


def _digest_packages(*packages: ModuleType) -> str:
    total = hashlib.sha256()
    for package in packages:
        root = Path(str(package.__file__)).parent
        for file in sorted(root.rglob("*.py")):
            total.update(f"{package.__name__}/{file.relative_to(root).as_posix()}\n".encode())
            total.update(file.read_bytes())
    return total.hexdigest()


def provenance_record(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file says of its making: versions, digests of source and catalogue, and what the caller gives.

    Raises:
        ConfigError: the caller gives a key that is filled here.
    """
    known = {"versions": versions(), "source": digest_source(), "catalogue": catalogue_version()}
    taken = sorted(known.keys() & given.keys())
    if taken:
        raise ConfigError(f"provenance: {', '.join(taken)} cannot be given; they are found out.")
    return {**given, **known}


def versions() -> dict[str, str]:
    """Return the versions of Python, shiftlab and the libraries that numbers depend on."""
    import shiftlab

    found = {"python": platform.python_version(), "shiftlab": shiftlab.__version__}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@contextmanager
def write_whole(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on success it replaces ``path``, else it is removed.

    Raises:
        RunError: the disk is full or the folder cannot be written; the previous file stays.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}. The previous file stays.") from error
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise RunError(f"cannot write {path}: {_reason(error)}. The previous file stays.") from error
    finally:
        temporary.unlink(missing_ok=True)


def _reason(error: OSError) -> str:
    """Return what went wrong; HDF5 gives the system's words among many others."""
    found = re.search(r"error message = '([^']*)'", str(error))
    return found.group(1) if found else error.strerror or str(error)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` as a whole."""
    with write_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Mapping[str, Any] | list[Any]) -> None:
    """Write a plain value as indented, key-sorted JSON."""
    write_text(path, json.dumps(value, sort_keys=True, indent=1, allow_nan=False) + "\n")


@contextmanager
def claim_folder(path: Path, identity: Mapping[str, Any], *, fresh: bool = False) -> Iterator[None]:
    """Hold a folder, and hold it to one identity: what decides the numbers that are written there, plain values.

    The lock goes with the process that holds it, so one that was killed leaves none. What a killed
    process left half-written is removed.

    Args:
        path: The folder; made if it is not there.
        identity: What decides the numbers.
        fresh: Discard what the folder holds, of whichever identity.

    Raises:
        RunError: another live process holds the folder, the folder is of another identity, or it
            cannot be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make the run folder {path}: {error.strerror}.") from error
    with _locked(path):
        if fresh:
            _clear(path)
        _check_identity(path, identity)
        for part in path.rglob(".*.part"):
            part.unlink()
        if not (path / _IDENTITY).exists():
            write_json(path / _IDENTITY, {"digest": digest_json(identity), "identity": dict(identity)})
        yield


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


def _check_identity(path: Path, identity: Mapping[str, Any]) -> None:
    file, digest = path / _IDENTITY, digest_json(identity)
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        found, stored = record["digest"], dict(record["identity"])
    except FileNotFoundError:
        if any(item.name != _LOCK for item in path.iterdir()):
            raise RunError(f"{path} holds files but no {_IDENTITY}; --fresh discards them.") from None
        return
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{file} is not readable; --fresh discards the run.") from error
    if found != digest:
        differ = sorted(key for key in {*stored, *identity} if stored.get(key) != identity.get(key))
        raise RunError(
            f"{path} is a run of another identity ({str(found)[:12]}, this one is {digest[:12]}): it differs in "
            f"{', '.join(differ) or 'its digest'}. --fresh discards it."
        )


def _clear(path: Path) -> None:
    for item in path.iterdir():
        if item.name == _LOCK:
            continue
        if item.is_dir() and not item.is_symlink():
            shutil.rmtree(item)
        else:
            item.unlink()
