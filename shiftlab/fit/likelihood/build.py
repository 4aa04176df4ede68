"""A likelihood from arrays of templates, all samples in every channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from shiftlab.errors import ConfigError, DataError
from shiftlab.fit.likelihood.interpolation import NORM_CODES, SHAPE_CODES
from shiftlab.fit.likelihood.model import Channel, Likelihood
from shiftlab.fit.likelihood.parameters import Parameters

__all__ = ["GAMMA_BOUNDS", "NUISANCE_BOUNDS", "Collected", "from_arrays", "place_gammas", "stack_layers"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Binwise = tuple[Ints, Ints]
"""(parameter, cell) of each cell that a modifier of single bins scales."""

NUISANCE_BOUNDS: Final = (-5.0, 5.0)
GAMMA_BOUNDS: Final = (1e-10, 10.0)
"""pyhf's bounds of nuisances and of Monte Carlo scale factors."""


@dataclass(eq=False)
class Collected:
    """Parameters in the order in which they are found."""

    names: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    columns: list[tuple[float, float, float, bool, float, float, float]] = field(default_factory=list)

    def add(
        self,
        name: str,
        kind: str,
        *,
        initial: float = 0.0,
        bounds: Sequence[float] = NUISANCE_BOUNDS,
        fixed: bool = False,
        centre: float | None = None,
        width: float = np.inf,
        tau: float = 0.0,
    ) -> int:
        """Append a parameter and return its position."""
        middle = initial if centre is None else centre
        self.names.append(name)
        self.kinds.append(kind)
        self.columns.append((initial, bounds[0], bounds[1], fixed, middle, width, tau))
        return len(self.names) - 1

    def freeze(self) -> Parameters:
        """Return the parameters as arrays."""
        table = np.array(self.columns, dtype=np.float64).reshape(len(self.names), 7).T
        initial, lower, upper, fixed, centre, width, tau = table
        names, kinds = tuple(self.names), tuple(self.kinds)
        return Parameters(names, kinds, initial, lower, upper, fixed > 0.0, centre, width, tau)


def from_arrays(
    name: str,
    channels: Mapping[str, int],
    samples: Sequence[str],
    nominal: npt.ArrayLike,
    *,
    nuisances: Sequence[str] = (),
    up: npt.ArrayLike | None = None,
    down: npt.ArrayLike | None = None,
    norm_up: npt.ArrayLike | None = None,
    norm_down: npt.ArrayLike | None = None,
    variance: npt.ArrayLike | None = None,
    mc: str = "normal",
    signal: str | None = None,
    poi: str = "mu",
    poi_bounds: tuple[float, float] = (0.0, 10.0),
    shape_code: str = "code4p",
    norm_code: str = "code4",
) -> Likelihood:
    """Return the likelihood of one free signal strength, shared nuisances and one gamma per bin.

    Args:
        name: what is fitted, for messages.
        channels: number of bins of each channel, in bin order.
        samples: names; every channel stacks all of them.
        nominal: (sample, bin) expected events.
        nuisances: names of the nuisances, unit Gaussian constraints.
        up: (nuisance, sample, bin) templates at +1 sigma; None for no change of shape.
        down: (nuisance, sample, bin) templates at -1 sigma.
        norm_up: (nuisance, sample, channel) yield factors at +1 sigma; None for 1.
        norm_down: (nuisance, sample, channel) yield factors at -1 sigma.
        variance: (sample, bin) Monte Carlo variance of ``nominal``; None for no gammas.
        mc: constraint of the gammas, ``normal`` or ``poisson`` with as many equivalent events.
        signal: sample that ``poi`` scales; None for none.
        poi: name of the signal strength.
        poi_bounds: its allowed range.
        shape_code: interpolation of ``up`` and ``down``.
        norm_code: interpolation of ``norm_up`` and ``norm_down``.

    Raises:
        DataError: shapes disagree, or a number is not finite, negative or, for a yield factor, zero.
        ConfigError: an interpolation code or the gammas' constraint is unknown.
    """
    _allowed("shape_code", shape_code, SHAPE_CODES)
    _allowed("norm_code", norm_code, NORM_CODES)
    _allowed("mc", mc, ("normal", "poisson"))
    bins, size, count = sum(channels.values()), len(samples), len(nuisances)
    middle = _array(name, "nominal", nominal, (size, bins))
    layout = tuple(Channel(channel, tuple(samples), length) for channel, length in channels.items())
    found = Collected()
    index = np.array([found.add(nuisance, "nuisance", width=1.0) for nuisance in nuisances], dtype=np.int64)
    shapes = _pair(name, ("up", "down"), up, down, (count, size, bins))
    norms = _pair(name, ("norm_up", "norm_down"), norm_up, norm_down, (count, size, len(channels)))
    scale = np.zeros((int(signal is not None), size, len(channels)))
    if signal is not None:
        if signal not in samples:
            raise DataError(f"likelihood {name}: signal '{signal}' is not among the samples {', '.join(samples)}.")
        found.add(poi, "normfactor", initial=1.0, bounds=poi_bounds)
        scale[0, list(samples).index(signal)] = 1.0
    gamma = np.full(bins, -1)
    if variance is not None:
        gamma = _gammas(found, layout, middle, _array(name, "variance", variance, (size, bins)), mc)
    odd, even = (np.zeros((0, size * bins)),) * 2
    if shapes is not None:
        odd = (0.5 * (shapes[0] - shapes[1])).reshape(count, -1)
        even = (0.5 * (shapes[0] + shapes[1]) - middle).reshape(count, -1)
    logs = (np.zeros((0, size * len(channels))),) * 2
    if norms is not None:
        if min(norms[0].min(initial=1.0), norms[1].min(initial=1.0)) <= 0.0:
            raise DataError(f"likelihood {name}: a yield factor is not positive; it has no exponential.")
        logs = (_by_process(np.log(norms[0])), _by_process(np.log(norms[1])))
    none = np.zeros(0, dtype=np.int64)
    return Likelihood(
        name=name,
        channels=layout,
        parameters=found.freeze(),
        poi=count if signal is not None else None,
        nominal=middle,
        shape_index=none if shapes is None else index,
        odd=odd,
        even=even,
        shape_code=shape_code,
        norm_index=none if norms is None else index,
        log_up=logs[0],
        log_down=logs[1],
        norm_code=norm_code,
        scale_index=np.full(len(scale), count),
        scale_mask=_by_process(scale) > 0.0,
        layers=np.zeros((0, size * bins), dtype=np.int64),
        gamma_index=gamma,
        gamma_mask=np.broadcast_to(gamma >= 0, (size, bins)).copy(),
    )


def _by_process(values: Floats) -> Floats:
    """Return (row, process) of (row, sample, channel)."""
    rows, samples, channels = values.shape
    return np.ascontiguousarray(values.swapaxes(1, 2)).reshape(rows, samples * channels)


def _gammas(found: Collected, layout: Sequence[Channel], nominal: Floats, variance: Floats, mc: str) -> Ints:
    """Append one gamma per bin, relative width sqrt(sum of variances) / sum of nominal, and return (bin,) positions."""
    total = nominal.sum(axis=0)
    square = np.divide(variance.sum(axis=0), total**2, out=np.zeros_like(total), where=total > 0.0)
    names = [f"mcstat_{channel.name}[{i}]" for channel in layout for i in range(channel.bins)]
    positions = []
    for name, relative in zip(names, square.tolist(), strict=True):
        constraint = {"tau": 1.0 / relative} if mc == "poisson" and relative > 0.0 else {"width": relative**0.5 or 1.0}
        gap = relative == 0.0
        positions.append(
            found.add(name, "staterror", initial=1.0, bounds=GAMMA_BOUNDS, fixed=gap, centre=1.0, **constraint)
        )
    return np.array(positions, dtype=np.int64)


def place_gammas(bins: int, slots: int, binwise: Sequence[Binwise]) -> tuple[Ints, Bools, list[Binwise]]:
    """Choose the parameter of each bin that is profiled; the others stay outer.

    Args:
        bins: number of bins.
        slots: number of slots.
        binwise: per modifier (parameters, cells), one entry per cell; each parameter acts in one bin only.

    Returns:
        (bin,) parameter or -1, (slot, bin) the cells that it scales, and what was not taken.
    """
    index, mask = np.full(bins, -1), np.zeros(slots * bins, dtype=np.bool_)
    rest = []
    for positions, cells in binwise:
        at = cells % bins
        if (index[at] < 0).all():
            index[at] = positions
            mask[cells] = True
        else:
            rest.append((positions, cells))
    return index, mask.reshape(slots, bins), rest


def stack_layers(cells: int, none: int, binwise: Sequence[Binwise]) -> Ints:
    """Return (layer, cell): parameters that multiply cells, ``none`` for none, in as few layers as fit."""
    layers: list[Ints] = []
    for positions, at in binwise:
        for layer in layers:
            if (layer[at] == none).all():
                break
        else:
            layer = np.full(cells, none)
            layers.append(layer)
        layer[at] = positions
    return np.array(layers, dtype=np.int64).reshape(len(layers), cells)


def _pair(
    name: str, words: tuple[str, str], up: npt.ArrayLike | None, down: npt.ArrayLike | None, shape: tuple[int, ...]
) -> tuple[Floats, Floats] | None:
    if up is None and down is None:
        return None
    if up is None or down is None:
        raise DataError(f"likelihood {name}: give both {words[0]} and {words[1]}, or neither.")
    return _array(name, words[0], up, shape), _array(name, words[1], down, shape)


def _array(name: str, what: str, values: npt.ArrayLike, shape: tuple[int, ...]) -> Floats:
    array = np.array(values, dtype=np.float64)
    if array.shape != shape:
        raise DataError(f"likelihood {name}: {what} has shape {array.shape}; {shape} is needed.")
    bad = np.argwhere(~(np.isfinite(array) & (array >= 0.0)))
    if len(bad):
        where = tuple(int(i) for i in bad[0])
        raise DataError(f"likelihood {name}: {what}{list(where)} = {array[where]}; it must be finite and not negative.")
    return array


def _allowed(what: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ConfigError(f"{what} = '{value}'; allowed: {', '.join(allowed)}.")
