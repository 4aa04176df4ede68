"""Event bootstrap of templates: nominal and all variations redrawn with the same weight of each vertex everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr
from tqdm import tqdm

from shiftlab.bias.bootstrap import poisson_weights
from shiftlab.errors import ConfigError, DataError, UnknownNameError
from shiftlab.responses import Responses
from shiftlab.templates.binning import bin_number
from shiftlab.templates.build import templates as build
from shiftlab.templates.histogram import ChannelEvents, channel_weights
from shiftlab.templates.partition import Partition
from shiftlab.templates.processing import ProcessingSettings
from shiftlab.templates.processing.apply import process
from shiftlab.templates.replicate import REPLICAS_AT_ONCE, Migrations, migrations
from shiftlab.templates.settings import TemplateSettings
from shiftlab.templates.templates import Templates
from shiftlab.templates.variations import Variation, nominal_universe, variations

__all__ = ["Replicas", "bootstrap"]

Floats = npt.NDArray[np.float64]


_AS_SIMULATED: Final = ProcessingSettings(same_side="keep")
"""Leaves the variations as they are."""


@dataclass(frozen=True, eq=False)
class Replicas:
    """Templates as other simulations of the same size would have given them.

    Attributes:
        templates: the original, before the processing of the variations.
        processing: what is done to the variations of each replica.
        floor: whether bins that expect nothing are raised.
        numbers: number of each replica; that number of the bias's bootstrap draws the same vertices.
        nominal: (replica, sample, bin) expected events.
        variance: (replica, sample, bin) sum of squared weights, as that simulation would estimate it.
        events: (replica, sample, bin) simulated events.
        up: (replica, nuisance, sample, bin) expected events at +1 sigma, before the processing.
        down: (replica, nuisance, sample, bin) expected events at -1 sigma, before the processing.
    """

    templates: Templates
    processing: ProcessingSettings
    floor: bool
    numbers: range
    nominal: Floats
    variance: Floats
    events: Floats
    up: Floats
    down: Floats

    def __len__(self) -> int:
        """Return the number of replicas."""
        return len(self.numbers)

    def __iter__(self) -> Iterator[Templates]:
        """Yield the templates of each replica, processed as the original's."""
        return (process(self.one(i), self.processing, floor=self.floor) for i in range(len(self)))

    def one(self, position: int) -> Templates:
        """Return the templates of one replica before the processing.

        Bins, paired covariances and spectra to fit are the original's.
        """
        own = {name: getattr(self, name)[position] for name in ("nominal", "variance", "events", "up", "down")}
        return replace(self.templates, evaluated=(), **own)

    def covariance(self, up: float = 0.5, down: float = -0.5) -> Floats:
        """Return (nuisance, bin, bin): covariance of up * (up - nominal) + down * (down - nominal), all samples.

        The closed form is ``covariance.variation_covariance`` of ``templates``. The relative error of a variance is
        sqrt(2 / (replicas - 1)), where many events migrate.
        """
        middle = self.nominal[:, None]
        shift = (up * (self.up - middle) + down * (self.down - middle)).sum(axis=2)
        shift -= shift.mean(axis=0)
        return np.asarray(np.einsum("rkb,rkc->kbc", shift, shift, optimize=True) / (len(self) - 1))


def bootstrap(
    responses: Responses,
    templates: Templates,
    *,
    replicas: int | range = 200,
    seed: int = 0,
    renormalise: bool = True,
    progress: bool = False,
) -> Replicas:
    """Return bootstrap replicas of templates, from the responses that the templates were made of.

    Each generator vertex gets a Poisson(1) weight per replica, a function of (seed, replica, vertex_uid) alone
    (``bias.bootstrap.poisson_weights``): the same in every channel, sample and universe, and in the bias of the same
    seed. Bin edges stay; so does the exposure, by which each replica is normalised as the templates were.

    Args:
        responses: what ``templates`` was called with.
        templates: its result for one arm and seed.
        replicas: how many, or the numbers of those wanted, so that many can be worked through in parts.
        seed: of the bootstrap.
        renormalise: divide each sample by its own sum of generator weights, as a new simulation would be. Without,
            the scale of the original stays, and the spread of the nominal is that of sums of squared weights.
        progress: show a progress bar.

    Raises:
        ConfigError: ``replicas`` is not positive.
        UnknownNameError: responses without the arm, seed or a channel of the templates.
        DataError: the templates are not those of these responses, or a replica draws no event of a sample and so
            cannot be normalised.
    """
    numbers = range(replicas) if isinstance(replicas, int) else replicas
    if not len(numbers):
        raise ConfigError(f"bootstrap: replicas = {replicas}; at least one is needed.")
    floor = templates.record["empty_bins"]["policy"] == "floor"
    raw = _as_simulated(responses, templates, floor)
    pairs = variations(_dataset(responses, raw, raw.channels[0]), raw.recalibrate)
    count = len(raw.channels) * -(-len(numbers) // REPLICAS_AT_ONCE)
    with tqdm(total=count, desc="template bootstrap", unit="block", disable=not progress, leave=False) as bar:
        parts = []
        for channel in raw.channels:
            events = _events(_dataset(responses, raw, channel), raw, channel, pairs)
            blocks = []
            for start in range(0, len(numbers), REPLICAS_AT_ONCE):
                blocks.append(_replicate(events, pairs, numbers[start : start + REPLICAS_AT_ONCE], seed, renormalise))
                bar.update()
            parts.append({name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]})
    joined = {name: np.concatenate([part[name] for part in parts], axis=-1) for name in parts[0]}
    return Replicas(raw, templates.processing, floor, numbers, **joined)


def _as_simulated(responses: Responses, templates: Templates, floor: bool) -> Templates:
    """Return the templates before the processing, made again by their own record.

    Raises:
        DataError: they cannot be made again of these responses.
    """
    record, rule = templates.record, templates.record["partition"]
    apart = record["overlap"] == "partition"
    settings = TemplateSettings(
        shares=rule["shares"] if apart else None,
        overlap=record["overlap"],
        holdout=rule["held_out_fraction"],
        partition_seed=rule["seed"],
        minimum_effective=0.0,  # the edges are already those of the joined bins
        signal=templates.signal,
        processing=_AS_SIMULATED,
    )
    made = build(
        responses,
        arm=templates.arm,
        seed=templates.seed,
        recalibrate=templates.recalibrate,
        exposure=record["exposure"],
        edges=templates.edges,
        settings=settings,
    )[templates.arm, templates.seed]
    again = process(made, templates.processing, floor=floor)
    for name in ("nominal", "up", "down"):
        wanted, found = getattr(templates, name), getattr(again, name)
        if wanted.shape != found.shape or not np.allclose(found, wanted, rtol=1e-9, atol=1e-9 * wanted.max(initial=0)):
            raise DataError(
                f"templates {templates.name}: '{name}' is not that of the responses; give the responses that they "
                "were made of, and templates as they were made."
            )
    return made


def _dataset(responses: Responses, templates: Templates, channel: str) -> xr.Dataset:
    if channel not in responses.datasets:
        raise UnknownNameError("channel of the templates", channel, responses.datasets)
    if templates.arm not in responses.arms:
        raise UnknownNameError("arm of the templates", templates.arm, responses.arms)
    if templates.seed not in responses.seeds:
        raise UnknownNameError("seed of the templates", str(templates.seed), map(str, responses.seeds))
    return responses.datasets[channel].sel(arm=templates.arm, seed=templates.seed)


class _Events(NamedTuple):
    """One channel: its histograms as matrices, its samples' weights, and which universe is which.

    Attributes:
        where: for messages.
        samples: names.
        vertex: (vertex,) uids.
        yields: histograms of expected events, cell = sample * bins + bin.
        counts: histogram of simulated events.
        totals: (sample, vertex) expected events before the selection.
        position: number in ``yields`` of each universe.
    """

    where: str
    samples: tuple[str, ...]
    vertex: npt.NDArray[np.int64]
    yields: Migrations
    counts: Migrations
    totals: Floats
    position: dict[int, int]


def _events(data: xr.Dataset, templates: Templates, channel: str, pairs: tuple[Variation, ...]) -> _Events:
    """Return the events that are in the templates of one channel, by the templates' own record."""
    rule = templates.record["partition"]
    names, shares = tuple(rule["shares"]), tuple(rule["shares"].values())
    overlap = templates.record["overlap"] == "propagation"
    partition = Partition(names, shares, rule["held_out_fraction"], rule["seed"], overlap=overlap)
    uid, sample = data["vertex_uid"].values.astype(np.int64), data["sample"].values.astype(np.str_)
    part = partition.looks(channel, uid) & ~partition.held_out(uid)
    generator = data["weight"].values.astype(np.float64)
    exposure, share = templates.record["exposure"], shares[names.index(channel)]
    weight, _ = channel_weights(generator, sample, part, exposure, share)
    events = ChannelEvents.of(data, part & np.isin(sample, templates.samples), weight)
    vertex, index = np.unique(events.vertex, return_inverse=True)
    number = np.array([templates.samples.index(name) for name in events.sample.tolist()], dtype=np.int32)
    nominal = nominal_universe(data, templates.recalibrate)
    chosen = list(dict.fromkeys((nominal, *(u for v in pairs for u in (v.up, v.down)))))
    edges, bins = templates.edges[channel], len(templates.edges[channel]) - 1

    def cells(u: int, some: slice) -> npt.NDArray[np.int32]:
        inside = bin_number(events.observable[chosen[u], some], edges) + number[some] * bins
        return np.where(events.selected[chosen[u], some], inside, -1).astype(np.int32)

    shape, column = (len(templates.samples) * bins, len(vertex)), index.astype(np.int32)
    totals = np.zeros((len(templates.samples), len(vertex)))
    np.add.at(totals, (number, column), events.weight)
    return _Events(
        where=f"templates {templates.name}, channel '{channel}'",
        samples=templates.samples,
        vertex=vertex,
        yields=migrations(cells, len(chosen) - 1, events.weight, column, shape),
        counts=migrations(cells, 0, np.ones(len(column)), column, shape),
        totals=totals,
        position={universe: i for i, universe in enumerate(chosen)},
    )


def _replicate(
    events: _Events, pairs: tuple[Variation, ...], numbers: range, seed: int, renormalise: bool
) -> dict[str, Floats]:
    """Return the arrays of ``Replicas`` in one channel for some replicas."""
    drawn = np.ascontiguousarray(poisson_weights(events.vertex, numbers, seed).T, dtype=np.float32)
    factor = _factors(events, drawn, numbers) if renormalise else np.ones((len(numbers), len(events.samples)))

    def by_replica(values: Floats) -> Floats:
        """(…, cell, replica) to (replica, …, sample, bin)."""
        last = np.moveaxis(values, -1, 0)
        return last.reshape(*last.shape[:-1], len(events.samples), -1)

    scale = factor[:, :, None]
    universes = by_replica(events.yields.replicas(drawn)) * scale[:, None]
    nominal = universes[:, 0]
    up, down = (np.empty((len(numbers), len(pairs), *nominal.shape[1:])) for _ in range(2))
    for k, one in enumerate(pairs):
        plus, minus = (one.scale * (universes[:, events.position[u]] - nominal) for u in (one.up, one.down))
        up[:, k] = nominal + plus
        # The mirror image is cut at no events, as in histogram.shift.
        down[:, k] = np.maximum(nominal - plus, 0.0) if one.mirrored else nominal + minus
    return {
        "nominal": nominal,
        "variance": by_replica(events.yields.variance(drawn)) * scale**2,
        "events": by_replica(events.counts.replicas(drawn)[0]),
        "up": up,
        "down": down,
    }


def _factors(events: _Events, drawn: npt.NDArray[np.float32], numbers: range) -> Floats:
    """Return (replica, sample): expected events of the original over those drawn, before the selection."""
    found = (events.totals @ drawn.astype(np.float64)).T
    total = events.totals.sum(axis=1)
    for r, s in np.argwhere((found <= 0.0) & (total > 0.0))[:1]:
        raise DataError(
            f"{events.where}: replica {numbers[r]} draws no event of sample '{events.samples[s]}' "
            f"({int((events.totals[s] > 0.0).sum())} vertices are simulated), so it cannot be normalised. Simulate "
            "more, or give renormalise=False."
        )
    return np.asarray(np.divide(total, found, out=np.ones_like(found), where=found > 0.0))
