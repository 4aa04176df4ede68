"""Configurations that public checkpoints carry: the model in them, and what they state of its input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from shiftlab.arms.public.point_contract import PointContract
from shiftlab.errors import ConfigError

__all__ = ["nested", "stated"]

_BARE: Final = {"PT-v3m2": "enc_channels"}
"""A configuration without ``type`` is told by a key of its own; the inference code saves such ones."""

_CENTRED: Final = "PoLArMAE-SemSeg"
"""This model centres and scales inside; its ``scale`` is the inverse."""

_PARTS: Final = ("test", "val", "train")


def nested(config: Mapping[str, Any], types: Sequence[str]) -> dict[str, Any] | None:
    """Return the first part of a configuration, itself or inside, of one of the registry types; None if none is.

    Args:
        config: The configuration of a run, of a model, or of a backbone alone.
        types: Values of its key ``type``.
    """
    for part in _tables(config):
        known = part.get("type")
        if known in types or (known is None and any(_BARE.get(one, one) in part for one in types)):
            return dict(part)
    return None


def stated(config: Mapping[str, Any], contract: PointContract) -> PointContract:
    """Return the contract with what a run's own configuration states of the input of its evaluation.

    Exports of a model alone state nothing; those of a whole run keep the data section with its transforms.

    Raises:
        ConfigError: a number is of another form than the public transforms have.
    """
    data = config.get("data")
    section: Mapping[str, Any] = (
        next((data[part] for part in _PARTS if part in data), {}) if isinstance(data, Mapping) else {}
    )
    given: dict[str, Any] = {}
    for table in _tables(config):
        if table.get("type") == _CENTRED and {"center", "scale"} <= table.keys():
            given |= _coordinates({"center": table["center"], "scale": 1 / table["scale"]}, contract)
    for ours, theirs in (("above", "energy_threshold"), ("min_points", "min_points")):
        if theirs in section:
            given[ours] = section[theirs]
    for step in section.get("transform") or ():
        kind = step.get("type")
        if kind == "LogTransform":
            given |= {"e0": step.get("min_val", 0.01), "e_max": step.get("max_val", 20.0)}
        elif kind == "NormalizeCoord":
            given |= _coordinates(step, contract)
        elif kind == "GridSample":
            given["cell"] = step.get("grid_size", 0.05)
    try:
        return replace(contract, **given)
    except TypeError as error:
        raise ConfigError(f"the configuration states an input that is not understood ({error}): {given}.") from error


def _coordinates(step: Mapping[str, Any], contract: PointContract) -> dict[str, Any]:
    """Return centre and scale; a scale written with fewer digits, as 665.1076, is the same one."""
    centre, scale = step.get("center"), step.get("scale")
    if not isinstance(centre, Sequence) or len(set(centre)) != 1 or not isinstance(scale, int | float):
        raise ConfigError(f"the configuration moves each event by itself ({dict(step)}); the contract has one centre.")
    same = abs(scale / contract.scale - 1) < 1e-6
    return {"centre": float(centre[0]), "scale": contract.scale if same else float(scale)}


def _tables(config: Any) -> Iterator[Mapping[str, Any]]:
    """Give a table and all tables inside it, the outer ones first; the data section holds no model."""
    if isinstance(config, Mapping):
        yield config
        for name, value in config.items():
            if name != "data":
                yield from _tables(value)
    elif isinstance(config, list | tuple):
        for value in config:
            yield from _tables(value)
