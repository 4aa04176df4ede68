"""One channel: its share of the events, its bins, its histograms in every universe, and its held-out spectra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from shiftlab.errors import ConfigError, DataError
from shiftlab.templates.binning import bin_number, check_edges, merge_bins, quantile_edges
from shiftlab.templates.histogram import ChannelEvents, Shift, channel_weights, shift
from shiftlab.templates.partition import Partition
from shiftlab.templates.processing.closure import closure_covariance
from shiftlab.templates.settings import TemplateSettings
from shiftlab.templates.variations import Far, Variation

__all__ = ["ChannelTemplates", "HeldOut", "Plan", "channel_templates"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Plan:
    """What all channels share.

    Attributes:
        exposure: expected events per sample in the whole data set, before the selection.
        partition: the channel of each vertex, and which vertices are held out.
        variations: the pairs of universes that become nuisances.
        nominal: position of the nominal universe.
        injected: position of the universe to inject; None for none.
        settings: bins and the policy for thin ones.
        far: universes beyond one sigma, to check the variations with.
    """

    exposure: Mapping[str, float]
    partition: Partition
    variations: tuple[Variation, ...]
    nominal: int
    injected: int | None
    settings: TemplateSettings
    far: tuple[Far, ...] = ()


@dataclass(frozen=True)
class HeldOut:
    """Spectra of the held-out events of one channel, scaled to the exposure; all (bin,).

    Attributes:
        nominal: in the nominal universe.
        nominal_variance: its Monte Carlo variance.
        injected: in the injected universe.
        injected_variance: its Monte Carlo variance.
        shift_variance: paired variance of injected - nominal.
    """

    nominal: Floats
    nominal_variance: Floats
    injected: Floats
    injected_variance: Floats
    shift_variance: Floats


@dataclass(frozen=True)
class ChannelTemplates:
    """Histograms of one channel.

    Attributes:
        edges: (bin + 1,).
        nominal: (sample, bin) expected events.
        variance: (sample, bin) sum of squared weights.
        events: (sample, bin) simulated events.
        shifts: one list over samples per variation.
        far: by far universe and sample, (bin,) shift from the nominal, and (bin, bin) paired covariance of its
            difference to the linear prediction.
        held_out: spectra of events in no template; None when a sample has none of them.
        record: edges rule, merges and event numbers as plain values.
    """

    edges: Floats
    nominal: Floats
    variance: Floats
    events: Floats
    shifts: tuple[tuple[Shift, ...], ...]
    far: tuple[tuple[tuple[Floats, Floats], ...], ...]
    held_out: HeldOut | None
    record: Mapping[str, Any]


def channel_templates(
    task: str, data: xr.Dataset, plan: Plan, edges: Sequence[float] | Floats | None
) -> ChannelTemplates:
    """Return the templates of one channel, from the dataset of one task for one arm and seed.

    Raises:
        DataError: a sample has no events in the channel, none is selected, or a bin is refused.
        ConfigError: edges that do not increase, or weights that are negative.
    """
    position = plan.partition.channels.index(task)
    vertex = data["vertex_uid"].values.astype(np.int64)
    mine = plan.partition.looks(task, vertex)
    held = plan.partition.held_out(vertex)
    share = plan.partition.shares[position]
    inside = _part(task, data, mine & ~held, plan.exposure, share)
    bins, record = _edges(task, inside, plan, edges)
    histograms = [inside.histogram(plan.nominal, sample, bins) for sample in plan.exposure]
    chosen = inside.selected[plan.nominal]
    number = bin_number(inside.observable[plan.nominal], bins)
    return ChannelTemplates(
        edges=bins,
        nominal=np.stack([x.sum(axis=0) for x in histograms]),
        variance=np.stack([(x**2).sum(axis=0) for x in histograms]),
        events=np.stack(
            [
                np.bincount(number[chosen & (inside.sample == sample)], minlength=len(bins) - 1).astype(np.float64)
                for sample in plan.exposure
            ]
        ),
        shifts=tuple(
            tuple(
                shift(x, inside.histogram(v.up, sample, bins), inside.histogram(v.down, sample, bins), v)
                for sample, x in zip(plan.exposure, histograms, strict=True)
            )
            for v in plan.variations
        ),
        far=tuple(
            tuple(_far(inside, sample, bins, plan, far, x) for sample, x in zip(plan.exposure, histograms, strict=True))
            for far in plan.far
        ),
        held_out=_held_out(data, mine & held, plan, share, bins),
        record=record | {"simulated": {s: int((inside.sample == s).sum()) for s in plan.exposure}},
    )


def _far(
    events: ChannelEvents, sample: str, bins: Floats, plan: Plan, far: Far, nominal: Floats
) -> tuple[Floats, Floats]:
    """Return the shift of one sample in a far universe, and the covariance of what is left of it."""
    own = plan.variations[far.variation]
    near = events.histogram(own.up if far.strength > 0.0 else own.down, sample, bins)
    there = events.histogram(far.universe, sample, bins)
    covariance = closure_covariance(nominal, near, there, far.strength)
    return own.scale * (there - nominal).sum(axis=0), own.scale**2 * covariance


def _part(task: str, data: xr.Dataset, part: Bools, exposure: Mapping[str, float], share: float) -> ChannelEvents:
    """Take a part of the events, each sample scaled to its share of the exposure."""
    sample = data["sample"].values.astype(np.str_)
    generator = data["weight"].values.astype(np.float64)
    if (generator < 0.0).any():
        raise ConfigError(f"channel '{task}': event weights are negative, which templates cannot hold.")
    weight, sums = channel_weights(generator, sample, part, exposure, share)
    for name, total in sums.items():
        if exposure[name] > 0.0 and not total > 0.0:
            have = int((sample == name).sum())
            raise DataError(
                f"channel '{task}': no event of sample '{name}' in its part ({have} in all of the task's responses). "
                "Every arm must respond to every neutrino candidate; else simulate more."
            )
    return ChannelEvents.of(data, part & np.isin(sample, list(exposure)), weight)


def _edges(
    task: str, events: ChannelEvents, plan: Plan, given: Sequence[float] | Floats | None
) -> tuple[Floats, dict[str, Any]]:
    """Return the bin edges, after merging, and how they came about."""
    chosen = events.selected[plan.nominal]
    values, weights = events.observable[plan.nominal, chosen], events.weight[chosen]
    if not weights.sum() > 0.0:
        raise DataError(
            f"channel '{task}': the selection is empty, none of {len(chosen)} events passes in the nominal universe."
        )
    if given is None:
        start, rule = quantile_edges(values, weights, plan.settings.bins), "quantiles of the summed expectation"
    else:
        start, rule = check_edges(given, task), "given"
    settings = plan.settings
    bins, merges = merge_bins(values, weights, start, settings.minimum_effective, settings.empty, task)
    removed = [{"removed_edge": merge.edge, "effective_events": merge.effective} for merge in merges]
    return bins, {"edges_rule": rule, "first_edges": start.tolist(), "merges": removed}


def _held_out(data: xr.Dataset, part: Bools, plan: Plan, share: float, bins: Floats) -> HeldOut | None:
    """Return the held-out spectra, or None when a sample of the exposure has no held-out event."""
    sample = data["sample"].values.astype(np.str_)
    weight, sums = channel_weights(data["weight"].values.astype(np.float64), sample, part, plan.exposure, share)
    if any(plan.exposure[name] > 0.0 and not total > 0.0 for name, total in sums.items()):
        return None
    events = ChannelEvents.of(data, part & np.isin(sample, list(plan.exposure)), weight)
    other = plan.nominal if plan.injected is None else plan.injected
    nominal = np.concatenate([events.histogram(plan.nominal, name, bins) for name in plan.exposure])
    injected = np.concatenate([events.histogram(other, name, bins) for name in plan.exposure])
    return HeldOut(
        nominal=nominal.sum(axis=0),
        nominal_variance=(nominal**2).sum(axis=0),
        injected=injected.sum(axis=0),
        injected_variance=(injected**2).sum(axis=0),
        shift_variance=((injected - nominal) ** 2).sum(axis=0),
    )
