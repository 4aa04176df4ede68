"""Checkpoint files: half-precision safetensors for weights, JSON for the record, one file of training vertices."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file
from torch import nn

from shiftlab.errors import ConfigError
from shiftlab.provenance import write_json, write_whole

__all__ = [
    "arm_folder",
    "has_record",
    "load_record",
    "load_vertices",
    "load_weights",
    "round_weights",
    "save_record",
    "save_vertices",
    "save_weights",
]

_RECORD = "record.json"
_WEIGHTS = "weights.safetensors"
_VERTICES = "training_vertices.safetensors"


def arm_folder(folder: Path, name: str, seed: int) -> Path:
    """Return the folder of one arm and seed."""
    return folder / name / f"seed{seed}"


def save_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write ``record.json``."""
    write_json(folder / _RECORD, record)


def has_record(folder: Path) -> bool:
    """Return whether the folder holds a finished arm: the record is written last."""
    return (folder / _RECORD).is_file()


def load_record(folder: Path) -> dict[str, Any]:
    """Return ``record.json``.

    Raises:
        ConfigError: there is none, or it is not JSON.
    """
    path = folder / _RECORD
    if not path.is_file():
        raise ConfigError(f"no checkpoint in '{folder}': {_RECORD} is missing. `shiftlab train` makes it.")
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"checkpoint '{path}' is not JSON: {error}.") from error
    return record


def round_weights(module: nn.Module) -> None:
    """Round every learned number to half precision in place: what is stored is what is evaluated."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(parameter.half().float())


def save_weights(folder: Path, module: nn.Module) -> None:
    """Write the learned numbers of ``module``, float16."""
    state = {name: value.detach().half().cpu().contiguous() for name, value in module.state_dict().items()}
    with write_whole(folder / _WEIGHTS) as path:
        save_file(state, path)


def load_weights(folder: Path, module: nn.Module) -> None:
    """Fill ``module`` from its file.

    Raises:
        ConfigError: the file is missing, damaged, or of another network.
    """
    path = folder / _WEIGHTS
    try:
        state = load_file(path)
        module.load_state_dict({name: value.float() for name, value in state.items()})
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ConfigError(f"checkpoint '{path}' cannot be used: {error}") from error


def save_vertices(folder: Path, vertices: NDArray[np.int64]) -> None:
    """Write the uids of the training vertices, ascending.

    Raises:
        ConfigError: the folder already holds arms trained on other vertices.
    """
    path = folder / _VERTICES
    if path.is_file():
        if not np.array_equal(load_vertices(folder), vertices):
            raise ConfigError(f"'{folder}' holds arms trained on other vertices ({path.name}). Choose another folder.")
        return
    with write_whole(path) as temporary:
        save_arrays({"vertex_uid": np.ascontiguousarray(vertices)}, temporary)


def load_vertices(folder: Path) -> NDArray[np.int64]:
    """Return the uids of the training vertices, ascending.

    Raises:
        ConfigError: the file is missing or damaged.
    """
    path = folder / _VERTICES
    try:
        vertices: NDArray[np.int64] = load_arrays(path)["vertex_uid"]
    except (OSError, SafetensorError, KeyError) as error:
        raise ConfigError(
            f"training vertices '{path}' cannot be read: {error}. No arm is judged without them."
        ) from error
    return vertices
