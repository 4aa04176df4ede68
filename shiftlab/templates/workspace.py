"""A pyhf workspace from templates, and the sidecar with what the workspace has no place for."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from shiftlab.errors import DataError, RunError, UnknownNameError
from shiftlab.provenance import versions, write_json
from shiftlab.templates.partition import OVERLAPS
from shiftlab.templates.processing.pairs import Block, block_split, blocks

if TYPE_CHECKING:
    from shiftlab.templates.templates import Templates

__all__ = [
    "INTERPOLATION",
    "MEASUREMENT",
    "POI",
    "POI_BOUNDS",
    "check_schema",
    "save",
    "sidecar",
    "staterror_name",
    "workspace",
]

POI: Final = "mu"
"""The parameter of interest: scales the yield of the signal sample."""

POI_BOUNDS: Final = (0.0, 10.0)
"""Allowed range of ``mu``; a negative yield has no Poisson likelihood."""

MEASUREMENT: Final = "detector_systematics"
"""Name of the workspace's one measurement."""

INTERPOLATION: Final = {"normsys": {"interpcode": "code4"}, "histosys": {"interpcode": "code4p"}}
"""pyhf ``modifier_settings`` that the fit uses; pyhf's JSON cannot hold them, and they change results."""


def staterror_name(channel: str) -> str:
    """Return the name of a channel's Monte Carlo statistics modifier."""
    return f"mcstat_{channel}"


def workspace(templates: Templates, observation: str = "asimov") -> dict[str, Any]:
    """Return a workspace of pyhf's schema 1.0.0: one measurement, ``mu`` on the signal.

    Per channel and sample each nuisance is a normsys (yield) and a histosys (shape) of one name, or one of the
    two (``processing.norm_shape``), shared by all channels and samples; ``mcstat_<channel>`` is the staterror
    from sums of squared weights.

    Args:
        templates: what to write.
        observation: name of the spectrum in ``observations``.

    Raises:
        UnknownNameError: there is no such observation.
        DataError: a template has a negative bin, or a channel expects no events.
    """
    if observation not in templates.observations:
        raise UnknownNameError("observation", observation, templates.observations)
    _refuse(templates)
    counts = templates.observations[observation].counts
    return {
        "version": "1.0.0",
        "channels": [{"name": channel, "samples": _samples(templates, channel)} for channel in templates.channels],
        "observations": [
            {"name": channel, "data": counts[templates.slice(channel)].tolist()} for channel in templates.channels
        ],
        "measurements": [
            {
                "name": MEASUREMENT,
                "config": {"poi": POI, "parameters": [{"name": POI, "inits": [1.0], "bounds": [list(POI_BOUNDS)]}]},
            }
        ],
    }


def _refuse(templates: Templates) -> None:
    for name in ("nominal", "up", "down"):
        below = np.argwhere(getattr(templates, name) < 0.0)
        if len(below):
            where = templates.bins.iloc[int(below[0][-1])]
            sample = templates.samples[int(below[0][-2])]
            nuisance = "" if name == "nominal" else f", nuisance '{templates.nuisances[int(below[0][0])]}'"
            raise DataError(
                f"templates {templates.name}: {name} is negative in channel '{where.channel}', sample '{sample}', "
                f"bin {where.bin}{nuisance}. Merge bins or give the channel more events."
            )
    for channel in templates.channels:
        empty = np.flatnonzero(~(templates.expected[templates.slice(channel)] > 0.0))
        if len(empty):
            raise DataError(f"templates {templates.name}: channel '{channel}', bin {empty[0]} expects no events.")


def _samples(templates: Templates, channel: str) -> list[dict[str, Any]]:
    part = templates.slice(channel)
    samples = []
    for s, sample in enumerate(templates.samples):
        modifiers: list[dict[str, Any]] = []
        if sample == templates.signal:
            modifiers.append({"name": POI, "type": "normfactor", "data": None})
        for k, nuisance in enumerate(templates.nuisances):
            modifiers.extend(_modifiers(templates, nuisance, k, Block(channel, sample, s, part)))
        error = np.sqrt(templates.variance[s, part]).tolist()
        modifiers.append({"name": staterror_name(channel), "type": "staterror", "data": error})
        samples.append({"name": sample, "data": templates.nominal[s, part].tolist(), "modifiers": modifiers})
    return samples


def _modifiers(templates: Templates, nuisance: str, k: int, block: Block) -> list[dict[str, Any]]:
    split = block_split(templates, k, block)
    found: list[dict[str, Any]] = []
    if split.norm_up is not None and split.norm_down is not None and (split.norm_up, split.norm_down) != (1.0, 1.0):
        found.append({"name": nuisance, "type": "normsys", "data": {"hi": split.norm_up, "lo": split.norm_down}})
    if split.shape_up is not None and split.shape_down is not None:
        data = {"hi_data": split.shape_up.tolist(), "lo_data": split.shape_down.tolist()}
        found.append({"name": nuisance, "type": "histosys", "data": data})
    return found


def sidecar(templates: Templates) -> dict[str, Any]:
    """Return plain values: interpolation, priors, seeds, partition, processing, findings, spectra, provenance."""
    variations = dict(templates.record.get("variations", {}))
    return {
        "arm": templates.arm,
        "seed": templates.seed,
        "recalibrate": templates.recalibrate,
        "signal": templates.signal,
        "interpolation": INTERPOLATION,
        "poi": {"name": POI, "bounds": list(POI_BOUNDS), "prior": None},
        "nuisances": {name: variations.get(name, {}) for name in templates.nuisances},
        "mc_statistics": {"modifier": "staterror", "constraint": "normal", "variance": "sum of squared weights"},
        "overlap": templates.record.get("overlap"),
        "event_overlap": OVERLAPS.get(str(templates.record.get("overlap")), "not known"),
        "edges": {channel: templates.edges[channel].tolist() for channel in templates.channels},
        "labels": dict(templates.labels),
        "record": {name: value for name, value in templates.record.items() if name != "variations"},
        "processing": _processing(templates),
        "monte_carlo_limits": {
            row.nuisance: {
                "information": row.information,
                "fake_information": row.fake_information,
                "fake_sigma": row.fake_sigma,
                "mc_limited": bool(row.mc_limited),
            }
            for row in templates.constraints().itertuples()
        },
        "variation_errors": _variation_errors(templates),
        "findings": [finding.as_dict() for finding in templates.findings],
        "observations": {
            name: {
                "universe": o.universe,
                "counts": o.counts.tolist(),
                "mc_variance": o.variance.tolist(),
                "nuisances": dict(o.nuisances),
            }
            for name, o in templates.observations.items()
        },
        "versions": versions(),
    }


def _variation_errors(templates: Templates) -> dict[str, Any]:
    """Return by nuisance, channel and side, (bin,): paired Monte Carlo error of the shift, summed over samples."""
    sides = {"up": templates.up_variance, "down": templates.down_variance}
    return {
        nuisance: {
            channel: {
                side: np.sqrt(variance[k, :, templates.slice(channel)].sum(axis=0)).tolist()
                for side, variance in sides.items()
            }
            for channel in templates.channels
        }
        for k, nuisance in enumerate(templates.nuisances)
    }


def _processing(templates: Templates) -> dict[str, Any]:
    """Return the settings, what the steps did, and how each variation stands in the workspace."""
    done: dict[tuple[str, str, str], dict[str, list[str]]] = {}
    for entry in templates.steps:
        place = done.setdefault((entry.nuisance, entry.channel, entry.sample), {})
        place.setdefault(entry.step, []).append(entry.done)
    entries: list[dict[str, Any]] = []
    for k, nuisance in enumerate(templates.nuisances):
        for block in blocks(templates):
            split = block_split(templates, k, block)
            kinds = {m["type"] for m in _modifiers(templates, nuisance, k, block)}
            steps = done.get((nuisance, block.channel, block.sample), {})
            entries.append(
                {
                    "nuisance": nuisance,
                    "channel": block.channel,
                    "sample": block.sample,
                    "modifiers": sorted(kinds),
                    "norm_up": split.norm_up,
                    "norm_down": split.norm_down,
                    "symmetrised": any(not said.startswith("kept") for said in steps.get("symmetrise", ())),
                    "smoothed": any("not smoothed" not in said for said in steps.get("smooth", ())),
                    "pruned": "prune" in steps,
                }
            )
    return {
        "settings": asdict(templates.processing),
        "variations": entries,
        "steps": [entry.as_dict() for entry in templates.steps],
    }


def check_schema(spec: Mapping[str, Any], name: str) -> None:
    """Check a workspace by pyhf's own schema, version 1.0.0.

    Raises:
        DataError: the workspace breaks the schema.
    """
    import pyhf

    with warnings.catch_warnings():
        # pyhf 0.7.6 asks jsonschema for a class that is to go; nothing that a user could act on.
        warnings.filterwarnings("ignore", message=r"jsonschema\.RefResolver is deprecated", category=DeprecationWarning)
        try:
            pyhf.schema.validate(spec, "workspace.json")
        except pyhf.exceptions.InvalidSpecification as error:
            raise DataError(f"templates {name}: the workspace breaks pyhf's schema: {error}") from error


def save(templates: Templates, folder: Path) -> None:
    """Write ``workspace.json`` (Asimov data, checked against pyhf's schema), its sidecar and its HS3 form.

    Raises:
        DataError: the workspace breaks pyhf's schema, or the templates cannot make one.
        RunError: a file cannot be written; the previous one stays.
    """
    from shiftlab.templates.hs3 import hs3

    spec = workspace(templates)
    check_schema(spec, templates.name)
    if folder.exists() and not folder.is_dir():
        raise RunError(f"cannot write templates: '{folder}' is a file, not a folder.")
    write_json(folder / "workspace.json", spec)
    write_json(folder / "workspace.meta.json", sidecar(templates))
    write_json(
        folder / "workspace.hs3.json",
        hs3(spec, edges={name: edges.tolist() for name, edges in templates.edges.items()}),
    )
