"""Checkpoint files: half-precision safetensors for weights, JSON for the record, one file of training vertices."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from shiftlab.errors import ConfigError, DataError
from shiftlab.provenance import write_json, write_whole

__all__ = [
    "arm_folder",
    "half_weights",
    "has_record",
    "load_record",
    "load_vertices",
    "load_weights",
    "require_vertices",
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


def load_record(folder: Path, needed: Sequence[str] = ()) -> dict[str, Any]:
    """Return ``record.json``.

    Args:
        folder: Where it lies.
        needed: Keys that it must have.

    Raises:
        ConfigError: there is none, it is not JSON, or it lacks a key.
    """
    path = folder / _RECORD
    if not path.is_file():
        raise ConfigError(f"no checkpoint in '{folder}': {_RECORD} is missing. `shiftlab train` makes it.")
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"checkpoint '{path}' is not JSON: {error}.") from error
    missing = [key for key in needed if key not in record]
    if missing:
        raise ConfigError(f"checkpoint '{path}' is of another kind or damaged: it lacks {', '.join(missing)}.")
    return record


def round_weights(module: nn.Module) -> None:
    """Round every stored number to half precision in place: what is stored is what is evaluated.

    Raises:
        DataError: a number is above 65504, the largest of half precision; the message names the tensor.
    """
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                rounded = value.half()
                if bool((torch.isinf(rounded) & torch.isfinite(value)).any()):
                    raise DataError(
                        f"weights '{name}' cannot be kept in half precision: one is above 65504. Train "
                        "with a lower learning rate, or adopt other weights."
                    )
                value.copy_(rounded.float())


def half_weights(module: nn.Module) -> dict[str, Tensor]:
    """Return the numbers of ``module`` as they are stored: float16 (counts as they are), on the CPU, by name."""
    state = {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
    return {name: value.half() if value.is_floating_point() else value for name, value in state.items()}


def save_weights(folder: Path, module: nn.Module, *, name: str = _WEIGHTS, without: Sequence[str] = ()) -> None:
    """Write the learned numbers of ``module``, float16, but for those whose name starts with one of ``without``."""
    state = {key: value for key, value in half_weights(module).items() if not key.startswith(tuple(without))}
    with write_whole(folder / name) as path:
        save_file(state, path)


def load_weights(folder: Path, module: nn.Module, *, name: str = _WEIGHTS, without: Sequence[str] = ()) -> None:
    """Fill ``module`` from its file; numbers whose name starts with one of ``without`` stay as they are.

    Raises:
        ConfigError: the file is missing, damaged, or of another network.
    """
    path = folder / name
    kept = {key: value for key, value in module.state_dict().items() if key.startswith(tuple(without))}
    try:
        state = {key: value.float() for key, value in load_file(path).items()}
        module.load_state_dict({**kept, **state})
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ConfigError(f"checkpoint '{path}' cannot be used: {error}") from error


def save_vertices(folder: Path, vertices: NDArray[np.int64]) -> None:
    """Write the uids of the training vertices, ascending.

    Raises:
        ConfigError: the folder already holds arms trained on other vertices.
    """
    require_vertices(folder, vertices)
    path = folder / _VERTICES
    if not path.is_file():
        with write_whole(path) as temporary:
            save_arrays({"vertex_uid": np.ascontiguousarray(vertices)}, temporary)


def require_vertices(folder: Path, vertices: NDArray[np.int64]) -> None:
    """Check that a folder holds no arms, or arms that were trained on these vertices, ascending.

    Raises:
        ConfigError: they were trained on others.
    """
    path = folder / _VERTICES
    if path.is_file() and not np.array_equal(load_vertices(folder), vertices):
        raise ConfigError(f"'{folder}' holds arms trained on other vertices ({path.name}). Choose another folder.")


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
