"""Who made a number: digests of source, data and config, versions, and writes that are whole or absent."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from shiftlab.errors import RunError

__all__ = [
    "canonical_json",
    "digest_file",
    "digest_json",
    "digest_source",
    "versions",
    "write_json",
    "write_text",
    "write_whole",
]

_LIBRARIES = ("torch", "numpy", "scipy", "pandas", "xarray", "pyhf", "iminuit", "lightgbm", "h5py")


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

    total = hashlib.sha256()
    for package in (shiftlab, shifts, studies):
        root = Path(str(package.__file__)).parent
        for file in sorted(root.rglob("*.py")):
            total.update(f"{package.__name__}/{file.relative_to(root).as_posix()}\n".encode())
            total.update(file.read_bytes())
    return total.hexdigest()


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
        raise RunError(f"cannot write {path}: {error.strerror or error}. The previous file stays.") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` as a whole."""
    with write_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Mapping[str, Any] | list[Any]) -> None:
    """Write a plain value as indented, key-sorted JSON."""
    write_text(path, json.dumps(value, sort_keys=True, indent=1, allow_nan=False) + "\n")
