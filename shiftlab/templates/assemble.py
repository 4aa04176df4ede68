"""Joining the channels: arrays over all bins, spectra to fit, and the record of how they came about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from shiftlab.templates.channel import ChannelTemplates, Plan
from shiftlab.templates.templates import Evaluated, Observation, Templates

__all__ = ["assemble"]

Floats = npt.NDArray[np.float64]


def assemble(
    channels: Mapping[str, ChannelTemplates], plan: Plan, data: xr.Dataset, which: tuple[str, int, str]
) -> Templates:
    """Join the channels along the bins; channels of a partition hold different vertices, so they are independent.

    Args:
        channels: by name, in order.
        plan: what they share.
        data: any task's dataset, for the names of universes and nuisances.
        which: arm, seed and recalibration.
    """
    parts = list(channels.values())
    nominal = np.concatenate([part.nominal for part in parts], axis=1)
    return Templates(
        arm=which[0],
        seed=which[1],
        recalibrate=which[2],
        channels=tuple(channels),
        samples=tuple(plan.exposure),
        nuisances=tuple(v.name for v in plan.variations),
        signal=next(iter(plan.exposure)),
        edges={name: part.edges for name, part in channels.items()},
        labels={name: name for name in channels},
        nominal=nominal,
        variance=np.concatenate([part.variance for part in parts], axis=1),
        events=np.concatenate([part.events for part in parts], axis=1),
        up=nominal + _over_bins(parts, plan, "up"),
        down=nominal + _over_bins(parts, plan, "down"),
        covariance={name: _covariance(part, plan) for name, part in channels.items()},
        evaluated=_evaluated(nominal, parts, plan, data),
        observations=_observations(nominal.sum(axis=0), parts, plan, data),
        record=_record(channels, plan, data),
    )


def _over_bins(parts: Sequence[ChannelTemplates], plan: Plan, name: str) -> Floats:
    """Return (variation, sample, bin) of one (bin,) attribute of the shifts."""
    values = np.zeros((len(plan.variations), len(plan.exposure), sum(part.nominal.shape[1] for part in parts)))
    for k in range(values.shape[0]):
        for s in range(values.shape[1]):
            values[k, s] = np.concatenate([getattr(part.shifts[k][s], name) for part in parts])
    return values


def _covariance(part: ChannelTemplates, plan: Plan) -> Floats:
    """Return (variation, sample, side, bin, side, bin) of one channel."""
    bins = part.nominal.shape[1]
    found = [shift.covariance for samples in part.shifts for shift in samples]
    return np.array(found).reshape(len(plan.variations), len(plan.exposure), 2, bins, 2, bins)


def _evaluated(
    nominal: Floats, parts: Sequence[ChannelTemplates], plan: Plan, data: xr.Dataset
) -> tuple[Evaluated, ...]:
    """Return the templates of the universes beyond one sigma."""
    return tuple(
        Evaluated(
            nuisance=plan.variations[far.variation].name,
            strength=far.strength,
            universe=str(data["universe"].values[far.universe]),
            counts=nominal + np.concatenate([np.stack([shift for shift, _ in part.far[i]]) for part in parts], axis=1),
            covariance={
                name: np.stack([rest for _, rest in part.far[i]])
                for name, part in zip(plan.partition.channels, parts, strict=True)
            },
        )
        for i, far in enumerate(plan.far)
    )


def _observations(
    expected: Floats, parts: Sequence[ChannelTemplates], plan: Plan, data: xr.Dataset
) -> dict[str, Observation]:
    """Return Asimov data and, when every channel has held-out events, their two spectra."""
    names = [str(name) for name in data["universe"].values]
    zero, none = np.zeros_like(expected), {v.name: 0.0 for v in plan.variations}
    found = {"asimov": Observation("asimov", names[plan.nominal], expected, zero, zero, none)}
    held = [part.held_out for part in parts if part.held_out is not None]
    if len(held) < len(parts):
        return found

    def joined(name: str) -> Floats:
        return np.concatenate([getattr(part, name) for part in held])

    found["held_out"] = Observation(
        "held_out", names[plan.nominal], joined("nominal"), joined("nominal_variance"), zero, none
    )
    if plan.injected is not None:
        row = data["nuisance_value"].values[plan.injected]
        values = dict(zip((str(n) for n in data["nuisance"].values), row.tolist(), strict=True))
        true = {v.name: float(values[v.nuisance]) for v in plan.variations if v.throws == 1}
        found["injected"] = Observation(
            "injected",
            names[plan.injected],
            joined("injected"),
            joined("injected_variance"),
            joined("shift_variance"),
            true,
        )
    return found


def _record(channels: Mapping[str, ChannelTemplates], plan: Plan, data: xr.Dataset) -> dict[str, Any]:
    universes = tuple(str(name) for name in data["universe"].values)
    shares = dict(zip(plan.partition.channels, plan.partition.shares, strict=True))
    return {
        "exposure": dict(plan.exposure),
        "exposure_events": {
            channel: {sample: events * shares[channel] for sample, events in plan.exposure.items()}
            for channel in channels
        },
        "partition": plan.partition.describe(),
        "overlap": plan.settings.overlap,
        "channels": {name: dict(part.record) for name, part in channels.items()},
        "variations": {v.name: v.describe(universes) for v in plan.variations},
        "nominal_universe": universes[plan.nominal],
        "injected_universe": None if plan.injected is None else universes[plan.injected],
        "empty_bins": {"policy": plan.settings.empty, "minimum_effective": plan.settings.minimum_effective},
        "injected_spectrum": "weighted expectation of held-out events, not integers; Monte Carlo variance given",
    }
