"""Templates from responses: events partitioned over the tasks' observables, weighted to an exposure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt
import xarray as xr

from shiftlab.errors import ConfigError, DataError, UnknownNameError
from shiftlab.responses import Responses
from shiftlab.templates.assemble import assemble
from shiftlab.templates.channel import ChannelTemplates, Plan, channel_templates
from shiftlab.templates.findings import Finding, inspect_templates
from shiftlab.templates.partition import partition
from shiftlab.templates.processing.apply import process
from shiftlab.templates.settings import TemplateSettings
from shiftlab.templates.templates import Templates
from shiftlab.templates.variations import far_universes, injected_universe, nominal_universe, variations

__all__ = ["SAMPLES", "templates"]

Floats = npt.NDArray[np.float64]
T = TypeVar("T", str, int)

SAMPLES: Final[tuple[str, ...]] = ("nue_cc", "numu_cc", "photon_protons")
"""Neutrino candidates; the first is the signal."""

DEFAULTS: Final = TemplateSettings()


def templates(
    responses: Responses,
    *,
    arm: str | None = None,
    seed: int | None = None,
    recalibrate: str = "none",
    exposure: Mapping[str, float] | None = None,
    edges: Mapping[str, Sequence[float] | Floats] | None = None,
    settings: TemplateSettings = DEFAULTS,
) -> dict[tuple[str, int], Templates]:
    """Return the templates of every arm and seed, by (arm, seed): one channel per task, on neutrino candidates.

    Each vertex enters one channel (``Partition``, the same for all arms and seeds); a channel predicts its
    share of the exposure, since each data event, too, is looked at in one channel only. An event's
    weight is its generator weight times exposure(sample) times share over the sum of generator weights of
    that sample's events in that part, selected or not, so that efficiency and migration are in the
    templates. All events that the task has responses for count, whether or not its statistic is
    evaluated on them.

    Args:
        responses: from ``respond``; every task needs responses to every neutrino candidate.
        arm: only this arm.
        seed: only this training seed.
        recalibrate: ``none``, ``mip`` or ``exact``: which universes.
        exposure: expected events per sample in the data, before the selection; those of samples that
            are no neutrino candidates (``SAMPLES``) do not matter here, unless ``settings.signal`` names one;
            candidates without are left out. When None, the sums of generator weights of the simulated events.
        edges: bin edges per channel; channels without get quantiles of the summed expectation.
        settings: bins, shares, held-out part, thin bins.

    Raises:
        UnknownNameError: an arm, seed, sample, channel or universe that the responses do not have.
        ConfigError: an exposure, share, edge or policy that is not allowed.
        DataError: emulated universes, no nominal universe, a nuisance without one of its sides, a sample without events
            in a channel, or an empty selection.
    """
    if responses.emulated:
        raise DataError(
            f"{len(responses.emulated)} of the universes are emulated ('{responses.emulated[0]}', say): the cuts on "
            "the image are not run again in them, so that templates cannot be made of them. Give the simulated ones."
        )
    for name in edges or {}:
        if name not in responses.datasets:
            raise UnknownNameError("channel (templates.edges)", name, responses.datasets)
    first = next(iter(responses.datasets.values()))
    pairs = variations(first, recalibrate)
    plan = Plan(
        exposure=_exposure(exposure, responses.datasets, settings.signal),
        partition=partition(
            responses.tasks, settings.shares, settings.holdout, settings.partition_seed, settings.overlap
        ),
        variations=pairs,
        nominal=nominal_universe(first, recalibrate),
        injected=injected_universe(first, recalibrate, settings.inject) if settings.holdout > 0 else None,
        settings=settings,
        far=far_universes(first, pairs),
    )
    return {
        (one, number): _templates(responses, (one, number, recalibrate), plan, edges or {})
        for one in _choose("arm", arm, responses.arms)
        for number in _choose("seed", seed, responses.seeds)
    }


def _templates(
    responses: Responses,
    which: tuple[str, int, str],
    plan: Plan,
    edges: Mapping[str, Sequence[float] | Floats],
) -> Templates:
    """Return the templates of one (arm, seed, recalibrate)."""
    datasets = {task: data.sel(arm=which[0], seed=which[1]) for task, data in responses.datasets.items()}
    channels = {task: channel_templates(task, data, plan, edges.get(task)) for task, data in datasets.items()}
    raw = assemble(channels, plan, next(iter(datasets.values())), which)
    built = process(raw, plan.settings.processing, floor=plan.settings.empty == "floor")
    return replace(
        built,
        labels={task: str(data.attrs.get("observable_label", task)) for task, data in datasets.items()},
        record={**built.record, "provenance": dict(responses.attrs)},
        findings=(*inspect_templates(built), *_remarks(channels, plan)),
    )


def _choose(what: str, given: T | None, allowed: tuple[T, ...]) -> tuple[T, ...]:
    if given is None:
        return allowed
    if given not in allowed:
        raise UnknownNameError(what, str(given), map(str, allowed))
    return (given,)


def _exposure(
    given: Mapping[str, float] | None, datasets: Mapping[str, xr.Dataset], signal: str | None
) -> dict[str, float]:
    """Return expected events per sample, the signal first: of neutrino candidates, or of all where one is named."""
    sums: dict[str, float] = {}
    for data in datasets.values():
        sample, weight = data["sample"].values.astype(np.str_), data["weight"].values
        for name in np.unique(sample):
            sums[str(name)] = max(sums.get(str(name), 0.0), float(weight[sample == name].sum()))
    samples = SAMPLES if signal is None else tuple(dict.fromkeys((signal, *(sums if given is None else given))))
    if given is None:
        found = {name: sums[name] for name in samples if name in sums}
    else:
        for name, events in given.items():
            if name not in sums:
                raise UnknownNameError("sample (templates.exposure)", name, sums)
            if not (np.isfinite(events) and events > 0.0):
                raise ConfigError(f"templates.exposure.{name} = {events}; expected events are positive and finite.")
        found = {name: float(given[name]) for name in samples if name in given}
    if samples[0] not in found:
        have = ", ".join(found) or "none"
        raise ConfigError(f"templates: no events of the signal sample '{samples[0]}' (candidates: {have}).")
    return found


def _remarks(channels: Mapping[str, ChannelTemplates], plan: Plan) -> list[Finding]:
    """Return findings on what was merged, and on why nothing is injected."""
    found: list[Finding] = []
    if plan.partition.overlap:
        found.append(Finding("warning", "overlap", "channels hold the same events: no error of mu may be quoted."))
    for name, part in channels.items():
        merges = part.record["merges"]
        if merges:
            message = f"{len(merges)} edges were removed to join thin bins; {len(part.edges) - 1} bins are left."
            found.append(Finding("note", "merged", message, name))
        if part.held_out is None and plan.settings.holdout > 0.0:
            message = "a sample has no held-out event here, so there is no injected spectrum."
            found.append(Finding("warning", "not_injected", message, name))
    wanted = SAMPLES if plan.settings.signal is None else ()
    missing = [name for name in wanted if name not in plan.exposure]
    if missing:
        found.append(Finding("warning", "missing_sample", f"no events of {', '.join(missing)} are in the templates."))
    for one in plan.variations:
        if one.mirrored:
            mirror = plan.settings.processing.one_sided == "mirror"
            what = "is mirrored, cut at 0" if mirror else "is the same (half-Gaussian)"
            message = f"the parameter exists on one side of its nominal only; the other template {what}."
            found.append(Finding("warning", "mirrored" if mirror else "half_gaussian", message, nuisance=one.name))
    if plan.injected is None and plan.settings.holdout > 0.0:
        message = "responses hold no injected or joint universe of this calibration, so none is injected."
        found.append(Finding("note", "not_injected", message))
    return found
