"""Workspaces on disk: with their sidecar, and with the patches of a patch set, as HEPData gives likelihoods."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shiftlab.errors import DataError, UnknownNameError

__all__ = ["Document", "documents", "patched", "workspace_files"]


@dataclass(frozen=True)
class Document:
    """A workspace to check: where it is from, its JSON, and its sidecar's or None."""

    name: str
    spec: Any
    meta: Mapping[str, Any] | None


def workspace_files(path: Path) -> list[Path]:
    """Return the file, or every ``workspace.json`` below the folder.

    Raises:
        DataError: there is none.
    """
    if not path.is_dir():
        return [path]
    found = sorted(path.rglob("workspace.json"))
    if not found:
        raise DataError(f"{path}: no workspace.json in this folder or below it.")
    return found


def documents(path: Path) -> Iterator[Document]:
    """Yield the workspaces of a file or folder; a sidecar is the file of the same name with ``.meta.json``.

    Raises:
        DataError: a file cannot be read, or is no JSON.
    """
    for file in workspace_files(path):
        sidecar = file.with_suffix(".meta.json")
        meta = _load(sidecar) if sidecar.is_file() else None
        if meta is not None and not isinstance(meta, dict):
            raise DataError(f"{sidecar}: the sidecar is no JSON object.")
        yield Document(str(file), _load(file), meta)


def _load(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:  # also text that is not UTF-8
        raise DataError(f"{file} is no JSON: {error}.") from error


def patched(document: Document, file: Path, names: list[str]) -> Iterator[Document]:
    """Yield the workspace with each patch of a pyhf patch set, or with those of the given names.

    Raises:
        DataError: the patch set cannot be read or applied, or was made for another workspace (by its digests).
        UnknownNameError: there is no patch of that name.
    """
    from jsonpatch import JsonPatchException, apply_patch
    from jsonpointer import JsonPointerException

    patchset = _load(file)
    try:
        patches = {one["metadata"]["name"]: one["patch"] for one in patchset["patches"]}
        digests = dict(patchset["metadata"]["digests"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{file} is no patch set of pyhf: {type(error).__name__} {error}.") from error
    # pyhf's digest: of the text with sorted keys (pyhf.utils.digest).
    text = json.dumps(document.spec, sort_keys=True, ensure_ascii=False).encode()
    for kind, digest in digests.items():
        if kind in ("md5", "sha256") and hashlib.new(kind, text, usedforsecurity=False).hexdigest() != digest:
            raise DataError(f"{file} was made for another workspace than {document.name}: the {kind} digests differ.")
    for name in names or patches:
        if name not in patches:
            raise UnknownNameError(f"patch of {file}", name, patches)
        try:
            spec = apply_patch(copy.deepcopy(document.spec), patches[name])
        except (JsonPatchException, JsonPointerException) as error:
            raise DataError(f"{file}: patch '{name}' cannot be applied: {error}.") from error
        yield Document(f"{document.name} [{name}]", spec, document.meta)
