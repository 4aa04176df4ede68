"""Files of public checkpoints: torch, safetensors or an export, read without running anything that is in them."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from shiftlab.errors import ConfigError

__all__ = ["PublicCheckpoint", "read_public", "read_safetensors", "read_torch"]

_WRAPPERS: Final = ("module.", "_orig_mod.")


@dataclass(frozen=True)
class PublicCheckpoint:
    """A public checkpoint as it was read.

    Attributes:
        file: File of the weights.
        state: Its tensors by name, without the wrappers of parallel or compiled training.
        config: Its configuration; None where it carries none.
    """

    file: Path
    state: Mapping[str, Tensor]
    config: Mapping[str, Any] | None


def read_public(path: Path | str, config: Path | str | None = None) -> PublicCheckpoint:
    """Return the tensors and the configuration of a public checkpoint.

    Args:
        path: A ``.pth``, ``.pt``, ``.ckpt`` or ``.bin`` file of torch, a ``.safetensors`` file, or the folder of an
            export with ``model.safetensors`` (or ``model.bin``) and ``config.json``.
        config: JSON file with the configuration, in place of the one that the checkpoint carries.

    Raises:
        ConfigError: there is no such file, it holds more than tensors and plain values, or it is damaged.
    """
    file = _weight_file(Path(path))
    held: Any = read_safetensors(file) if file.suffix == ".safetensors" else read_torch(file)
    own = held.get("config") if isinstance(held, Mapping) else None
    beside = file.parent / "config.json"
    if config is not None:
        own = _json(Path(config))
    elif own is None and beside.is_file():
        own = _json(beside)
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(held, Mapping) and isinstance(held.get(key), Mapping):
            held = held[key]
    named = held.items() if isinstance(held, Mapping) else ()
    state = {_bare(str(name)): value for name, value in named if isinstance(value, Tensor)}
    if not state:
        raise ConfigError(f"public checkpoint '{file}' holds no tensors by name.")
    if own is not None and not isinstance(own, Mapping):
        raise ConfigError(f"public checkpoint '{file}': its configuration is {type(own).__name__}, not a table.")
    return PublicCheckpoint(file, state, own)


def _weight_file(path: Path) -> Path:
    if path.is_dir():
        for name in ("model.safetensors", "model.bin"):
            if (path / name).is_file():
                return path / name
        raise ConfigError(f"no public checkpoint in '{path}': neither model.safetensors nor model.bin.")
    if not path.is_file():
        raise ConfigError(f"no public checkpoint '{path}'.")
    return path


def read_safetensors(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file.

    Raises:
        ConfigError: it is none, or damaged.
    """
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"'{file}' is no readable safetensors file: {error}.") from error


def read_torch(file: Path) -> Any:
    """Return what a file of torch holds; tensors and plain values only, nothing in it is run.

    Raises:
        ConfigError: it holds other objects, is no file of torch, or is damaged.
    """
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        asked = ", ".join(_objects(file))
        if not asked:  # torch's own words are about its options, not about the file
            raise ConfigError(f"'{file}' cannot be read: it is no file of torch, or damaged.") from error
        raise ConfigError(
            f"'{file}' holds more than tensors and plain values ({asked}), and loading such objects would run their "
            "code. Save its state dict as safetensors, with its configuration as config.json, where you trust it."
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        raise ConfigError(f"'{file}' cannot be read as a file of torch: {str(error).splitlines()[0]}") from error


def _objects(file: Path) -> list[str]:
    """Return the objects that a file asks for besides tensors, as far as torch lists them."""
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(file))
    except (ValueError, RuntimeError, pickle.UnpicklingError):
        return []


def _json(path: Path) -> Mapping[str, Any]:
    try:
        value: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"the configuration '{path}' cannot be read: {error}.") from error
    return value


def _bare(name: str) -> str:
    while name.startswith(_WRAPPERS):
        name = name.removeprefix("module.").removeprefix("_orig_mod.")
    return name
