"""A binned likelihood as arrays: templates, how each parameter moves them, and constraints (HistFactory)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from shiftlab.fit.likelihood.interpolation import polynomial
from shiftlab.fit.likelihood.parameters import Parameters

__all__ = ["Channel", "Likelihood"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Channel:
    """A spectrum: its name, the samples stacked in it, and its number of bins."""

    name: str
    samples: tuple[str, ...]
    bins: int


@dataclass(frozen=True, eq=False)
class Likelihood:
    """Poisson terms of all bins times the constraints; data come with each call.

    The rate of a cell (one sample in one bin) is ``product of factors x (nominal + sum of shifts)``; a bin
    sums its cells. Cells lie on a grid of slots and bins: the samples of a channel take its slots from 0,
    and slots that a channel does not need are zero. A process is one sample in one channel, ``channel x
    slots + slot``; cells are flattened as ``slot x bins + bin``.

    At most one parameter of a bin, the Monte Carlo ``gamma`` that scales it, is profiled in closed form;
    all others are *outer* parameters of the minimiser.

    Attributes:
        name: what is fitted, for messages.
        channels: the spectra in bin order.
        parameters: all parameters, gammas included.
        poi: position of the parameter of interest, or None.
        nominal: (slot, bin).
        shape_index: (shape,) parameter of each additive nuisance.
        odd: (shape, cell) half difference of the varied templates.
        even: (shape, cell) half sum of the varied templates minus nominal.
        shape_code: interpolation of the additive nuisances.
        norm_index: (norm,) parameter of each multiplicative nuisance.
        log_up: (norm, process) ln of the yield factor at +1 sigma, 0 where the nuisance does not act.
        log_down: (norm, process) the same at -1 sigma.
        norm_code: interpolation of the multiplicative nuisances.
        scale_index: (scale,) parameter of each free factor of whole processes.
        scale_mask: (scale, process) whether it acts.
        layers: (layer, cell) parameter that multiplies the cell, or the number of parameters for none.
        gamma_index: (bin,) parameter profiled in closed form, or -1.
        gamma_mask: (slot, bin) cells that it scales.
    """

    name: str
    channels: tuple[Channel, ...]
    parameters: Parameters
    poi: int | None
    nominal: Floats
    shape_index: Ints
    odd: Floats
    even: Floats
    shape_code: str
    norm_index: Ints
    log_up: Floats
    log_down: Floats
    norm_code: str
    scale_index: Ints
    scale_mask: npt.NDArray[np.bool_]
    layers: Ints
    gamma_index: Ints
    gamma_mask: npt.NDArray[np.bool_]

    @property
    def bins(self) -> int:
        """Number of bins of all channels."""
        return int(self.nominal.shape[1])

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Bins of each channel."""
        ends = np.cumsum([0, *(channel.bins for channel in self.channels)])
        return {c.name: slice(int(a), int(b)) for c, a, b in zip(self.channels, ends, ends[1:], strict=False)}

    @property
    def slots(self) -> int:
        """Most samples that a channel has."""
        return int(self.nominal.shape[0])

    @cached_property
    def process_of_cell(self) -> Ints:
        """(cell,) process of each cell."""
        channel = np.repeat(np.arange(len(self.channels)), [c.bins for c in self.channels])
        return np.asarray((np.arange(self.slots)[:, None] + channel * self.slots).ravel(), dtype=np.int64)

    @cached_property
    def templates(self) -> Floats:
        """(2 shape, cell) odd then even parts: the shifts are ``[theta, h(theta)] @ templates``."""
        return np.concatenate([self.odd, self.even])

    @cached_property
    def by_bin(self) -> Floats:
        """(bin, slot, 2 shape): the templates, bins first."""
        return np.ascontiguousarray(self.templates.T.reshape(self.slots, self.bins, -1).swapaxes(0, 1))

    @cached_property
    def by_slot(self) -> Floats:
        """(slot, bin, 2 shape): the templates, slots first."""
        return np.ascontiguousarray(self.templates.T.reshape(self.slots, self.bins, -1))

    @cached_property
    def layered(self) -> Ints:
        """Positions of the outer parameters that scale single bins."""
        return np.unique(self.layers[self.layers < len(self.parameters)])

    @cached_property
    def whole(self) -> bool:
        """Whether every gamma scales its whole bin."""
        return bool(self.scaled.all())

    @cached_property
    def sixth(self) -> Floats:
        """(6, norm, process) polynomial of code 4."""
        return polynomial(self.log_up, self.log_down)

    @cached_property
    def outer(self) -> Ints:
        """Positions of the parameters that the minimiser moves: all but the profiled gammas."""
        profiled = np.zeros(len(self.parameters), dtype=np.bool_)
        profiled[self.gamma_index[self.gamma_index >= 0]] = True
        return np.flatnonzero(~profiled)

    @cached_property
    def row(self) -> Ints:
        """(parameter,) position among the outer parameters; -1 for a profiled gamma."""
        rows = np.full(len(self.parameters), -1)
        rows[self.outer] = np.arange(len(self.outer))
        return rows

    @cached_property
    def gammas(self) -> Ints:
        """Bins with a profiled gamma."""
        return np.flatnonzero(self.gamma_index >= 0)

    @cached_property
    def scaled(self) -> npt.NDArray[np.bool_]:
        """(cell,) cells that the bin's gamma scales; all of a bin without one, where it stands at 1."""
        return (self.gamma_mask | (self.gamma_index < 0)).ravel()

    @cached_property
    def even_share(self) -> Floats:
        """(parameter,) squared even over squared odd effect of one sigma, each bin in its statistical error."""
        total = self.nominal.sum(axis=0)
        weight = 1.0 / np.where(total > 0.0, total, np.inf)
        odd, even = np.zeros((2, len(self.parameters), self.bins))
        up, down = (np.exp(log)[:, self.process_of_cell] * self.nominal.ravel() for log in (self.log_up, self.log_down))
        parts = ((odd, self.odd, 0.5 * (up - down)), (even, self.even, 0.5 * (up + down) - self.nominal.ravel()))
        for whole, shape, norm in parts:
            for index, cells in ((self.shape_index, shape), (self.norm_index, norm)):
                np.add.at(whole, index, cells.reshape(len(cells), self.slots, self.bins).sum(axis=1))
        squares = odd**2 @ weight, even**2 @ weight
        return np.where(squares[1] > 0.0, squares[1] / np.where(squares[0] > 0.0, squares[0], 1e-300), 0.0)

    def bin_name(self, position: int) -> str:
        """Return ``channel 'x', bin 3`` of a bin."""
        for channel, part in self.slices.items():
            if part.start <= position < part.stop:
                return f"channel '{channel}', bin {position - part.start}"
        raise IndexError(position)

    def unprofiled(self) -> Likelihood:
        """Return the same likelihood with every gamma an outer parameter: slower, for checks."""
        layer = np.where(self.gamma_mask & (self.gamma_index >= 0), self.gamma_index, len(self.parameters))
        return replace(
            self,
            layers=np.concatenate([self.layers, layer.reshape(1, -1)]),
            gamma_index=np.full(self.bins, -1),
            gamma_mask=np.zeros_like(self.gamma_mask),
        )
