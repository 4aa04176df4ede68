"""A foundation model: a pre-trained body with its card and the vertices it has seen, in a folder of its own.

The folder holds ``foundation.safetensors`` (weights in half precision), ``foundation.json`` (the card) and
``pretraining_vertices.safetensors``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays

from shiftlab.arms.bodies import bodies
from shiftlab.arms.body import Body
from shiftlab.arms.checkpoint import (
    half_weights,
    load_weights,
    round_weights,
    save_weights,
)
from shiftlab.arms.vertex_uids import packed, uids_digest, unpacked
from shiftlab.errors import ConfigError
from shiftlab.provenance import digest_json, write_json, write_whole

__all__ = [
    "FoundationModel",
    "contract_from_plain",
    "is_foundation",
    "load_foundation",
    "save_foundation",
]

_WEIGHTS: Final = "foundation.safetensors"
_CARD: Final = "foundation.json"
_VERTICES: Final = "pretraining_vertices.safetensors"


@dataclass(frozen=True)
class FoundationModel:
    """What pre-training gives; heads on the frozen body make arm A, copies that learn on make arm B.

    Attributes:
        body: The body, frozen, its weights rounded to half precision.
        card: Plain values: objective, augmentations, recipe, events, data, curves, licence, versions.
        vertices: int64 (vertex,), ascending uids of all vertices that pre-training was given.
    """

    body: Body
    card: Mapping[str, Any]
    vertices: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Round and freeze the body: what is stored is what is evaluated."""
        self.body.eval().requires_grad_(False)
        round_weights(self.body)

    @property
    def dataset(self) -> str:
        """``EventTable.dataset`` of the events that it was pre-trained on; empty where the card does not say."""
        return str(self.card.get("dataset", ""))

    @cached_property
    def digest(self) -> str:
        """SHA-256 hex digest of weights, size, contract and vertices: equal digests give equal features."""
        total = hashlib.sha256()
        for name, value in sorted(half_weights(self.body).items()):
            total.update(f"{name} {tuple(value.shape)}\n".encode())
            total.update(value.numpy().tobytes())
        return digest_json([total.hexdigest(), self.described, uids_digest(self.vertices)])

    @property
    def described(self) -> dict[str, Any]:
        """Name and size of the body and its input contract, as JSON values."""
        return {"body": {"name": self.body.name, **self.body.plain()}, "contract": self.body.contract.plain()}


def save_foundation(folder: Path, model: FoundationModel) -> None:
    """Write a foundation model; the same one always gives the same bytes. The card is written last.

    Raises:
        ConfigError: the folder holds another foundation model.
    """
    if is_foundation(folder):
        there = _card(folder).get("digest")
        if there != model.digest:
            raise ConfigError(f"'{folder}' holds another foundation model ({str(there)[:12]}). Choose another folder.")
    with write_whole(folder / _VERTICES) as path:
        save_arrays(packed(model.vertices), path)
    save_weights(folder, model.body, name=_WEIGHTS)
    vertices = {"count": len(model.vertices), "sha256": uids_digest(model.vertices)}
    write_json(
        folder / _CARD, {**model.card, **model.described, "pretraining_vertices": vertices, "digest": model.digest}
    )


def load_foundation(
    folder: Path | str, contract: Any = None, device: torch.device | str = "cpu", *, asked_by: str = "arms.foundation"
) -> FoundationModel:
    """Return the foundation model of a folder.

    Args:
        folder: What ``save_foundation`` wrote, as ``shiftlab pretrain`` and ``shiftlab adopt`` do.
        contract: Input contract of the images at hand; not checked when None.
        device: Where the body goes.
        asked_by: What needs it, for messages.

    Raises:
        ConfigError: there is none, a file is damaged or was changed, or it was pre-trained on other input.
    """
    folder = Path(folder)
    card = _card(folder, asked_by)
    try:
        size = dict(card.pop("body"))
        kind = bodies().get(str(size.pop("name")))
        body = kind.fresh(size, contract_from_plain(kind, card.pop("contract")))
        digest, told = card.pop("digest"), card.pop("pretraining_vertices")["sha256"]
    except KeyError as error:
        raise ConfigError(f"{asked_by}: '{folder / _CARD}' has no key {error}.") from error
    if contract is not None:
        body.contract.require(contract, f"{asked_by}: foundation model '{folder}'")
    load_weights(folder, body, name=_WEIGHTS)
    try:
        vertices = unpacked(load_arrays(folder / _VERTICES))
    except (OSError, SafetensorError, ConfigError) as error:
        raise ConfigError(
            f"{asked_by}: '{folder / _VERTICES}' cannot be read: {error}. No arm is judged without it."
        ) from error
    model = FoundationModel(body, card, vertices)
    if uids_digest(vertices) != told or model.digest != digest:
        raise ConfigError(f"{asked_by}: the files in '{folder}' are not those that its card describes.")
    body.to(device)
    return model


def is_foundation(folder: Path) -> bool:
    """Return whether the folder holds a finished foundation model."""
    return (folder / _CARD).is_file()


def contract_from_plain(kind: type[Body], plain: Mapping[str, Any]) -> Any:
    """Return the input contract of a kind of body from its JSON value.

    Raises:
        ConfigError: a key is missing or unknown.
    """
    return kind.contract_type.from_plain(plain)


def _card(folder: Path, asked_by: str = "arms.foundation") -> dict[str, Any]:
    path = folder / _CARD
    if not path.is_file():
        raise ConfigError(f"{asked_by}: no foundation model in '{folder}'; `shiftlab pretrain out={folder}` makes one.")
    try:
        card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{asked_by}: '{path}' is not JSON: {error}.") from error
    return card
