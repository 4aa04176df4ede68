"""Expected events of every bin, and their exact first and second derivatives."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shiftlab.fit.likelihood.interpolation import Even, Factor, even, factor
from shiftlab.fit.likelihood.model import Likelihood

__all__ = ["Cells", "cells", "curvature", "expected", "expected_by_sample", "jacobian", "sum_cells"]

Floats = npt.NDArray[np.float64]

_ZERO = 1e-100
"""Stands in for a factor of exactly zero, so that logarithmic derivatives exist and their products are exact."""


class Cells(NamedTuple):
    """Rates of the cells without the profiled gammas, and what their derivatives need.

    Attributes:
        rate: (fit, cell) factors x shifted template.
        factors: (fit, cell) product of all factors.
        parameters: (fit, parameter) where this is, zero factors replaced.
        theta: the shape nuisances' even basis functions.
        kappa: the norm nuisances' yield factors.
    """

    rate: Floats
    factors: Floats
    parameters: Floats
    theta: Even
    kappa: Factor


def cells(model: Likelihood, parameters: Floats) -> Cells:
    """Return the rates of all cells at ``parameters`` (fit, parameter)."""
    values = parameters.copy()
    for index in (*model.scale_index, *model.layered):
        column = values[:, index]
        column[column == 0.0] = _ZERO
    theta = even(model.shape_code, values[:, model.shape_index])
    kappa = factor(model.norm_code, values[:, model.norm_index], model.log_up, model.log_down, model.sixth)
    process = np.multiply.reduce(kappa.value, axis=1)
    for index, mask in zip(model.scale_index, model.scale_mask, strict=True):
        process = process * np.where(mask, values[:, index, None], 1.0)
    factors = process[:, model.process_of_cell]
    if len(model.layers):
        extended = np.concatenate([values, np.ones((len(values), 1))], axis=1)
        for layer in model.layers:
            factors = factors * extended[:, layer]
    features = np.concatenate([values[:, model.shape_index], theta.value], axis=1)
    shifted = features @ model.templates + model.nominal.ravel()
    return Cells(factors * shifted, factors, values, theta, kappa)


def jacobian(model: Likelihood, at: Cells, weight: Floats) -> Floats:
    """Return (fit, outer, bin): derivatives of ``sum over samples of weight x rate`` by the outer parameters.

    Args:
        model: the likelihood.
        at: the rates.
        weight: (fit, cell), held constant.
    """
    count, shapes = len(weight), len(model.shape_index)
    found = np.zeros((count, len(model.outer), model.bins))
    if shapes:
        grid = (weight * at.factors).reshape(count, model.slots, model.bins).transpose(2, 0, 1)
        both = grid @ model.by_bin
        moved = both[:, :, :shapes] + at.theta.slope * both[:, :, shapes:]
        found[:, _rows(model.row[model.shape_index])] = moved.transpose(1, 2, 0)
    rated = weight * at.rate
    logs, rows = _logs(model, at)
    if logs.shape[1]:
        grid = rated.reshape(count, model.slots, model.bins)
        for c, part in enumerate(model.slices.values()):
            found[:, rows, part] += logs[:, :, c * model.slots : (c + 1) * model.slots] @ grid[:, :, part]
    for layer in model.layers:
        for slot, cells_of in enumerate(layer.reshape(model.slots, model.bins)):
            where = np.flatnonzero(cells_of < len(model.parameters))
            index = cells_of[where]
            found[:, model.row[index], where] += rated[:, slot * model.bins + where] / at.parameters[:, index]
    return found


def curvature(model: Likelihood, at: Cells, weight: Floats) -> Floats:
    """Return (fit, outer, outer): second derivatives of ``sum over cells of weight x rate``.

    With F the factors, a their logarithmic derivatives and M the shifted template, the rate F M has
    d2 = F (M a_x a_y + a_x M_y + a_y M_x), on the diagonal F (M F_xx / F + 2 a_x M_x + M_xx).

    Args:
        model: the likelihood.
        at: the rates.
        weight: (fit, cell).
    """
    summed = _by_process(model, weight * at.rate)
    logs, rows = _logs(model, at)
    found = _mixed_dense(model, at, weight) if len(model.layers) else _mixed(model, at, weight, summed)
    # On the diagonal the factors' squared slope gives way to their own second derivative; a free factor has none.
    diagonal = np.zeros(found.shape[:2])
    diagonal[:, rows] = -((logs * logs) @ summed[:, :, None])[:, :, 0]
    if len(model.norm_index):
        diagonal[:, model.row[model.norm_index]] += (at.kappa.curvature @ summed[:, :, None])[:, :, 0]
    if len(model.shape_index):
        diagonal[:, model.row[model.shape_index]] += at.theta.curvature * ((weight * at.factors) @ model.even.T)
    outer = np.arange(found.shape[1])
    found[:, outer, outer] += diagonal
    linear = model.row[np.concatenate([model.scale_index, model.layered])]
    found[:, linear, linear] = 0.0
    return found


def _mixed(model: Likelihood, at: Cells, weight: Floats, summed: Floats) -> Floats:
    """Return (fit, outer, outer): sum of F (M a_x a_y + a_x M_y + a_y M_x), with one a for all bins of a process."""
    shapes, (logs, rows) = len(model.shape_index), _logs(model, at)
    shape = (len(weight), len(model.outer), summed.shape[1])
    log, shift = np.zeros(shape), np.zeros(shape)
    log[:, rows] = logs
    if shapes:
        grid = (weight * at.factors).reshape(len(weight), model.slots, model.bins)
        shape_rows = _rows(model.row[model.shape_index])
        for c, part in enumerate(model.slices.values()):
            for slot in range(model.slots):
                both = grid[:, slot, part] @ model.by_slot[slot, part]
                shift[:, shape_rows, c * model.slots + slot] = both[:, :shapes] + at.theta.slope * both[:, shapes:]
    cross = log @ shift.swapaxes(1, 2)
    return (log * summed[:, None, :]) @ log.swapaxes(1, 2) + cross + cross.swapaxes(1, 2)


def _mixed_dense(model: Likelihood, at: Cells, weight: Floats) -> Floats:
    """Return the same as ``_mixed`` with every derivative cell by cell, for factors of single bins."""
    shape = (len(weight), len(model.outer), weight.shape[1])
    log, shift = np.zeros(shape), np.zeros(shape)
    logs, rows = _logs(model, at)
    log[:, rows] = logs[:, :, model.process_of_cell]
    for layer in model.layers:
        where = np.flatnonzero(layer < len(model.parameters))
        log[:, model.row[layer[where]], where] = 1.0 / at.parameters[:, layer[where]]
    if len(model.shape_index):
        moved = at.theta.slope[:, :, None] * model.even + model.odd
        shift[:, model.row[model.shape_index]] = moved * (weight * at.factors)[:, None, :]
    cross = log @ shift.swapaxes(1, 2)
    return (log * (weight * at.rate)[:, None, :]) @ log.swapaxes(1, 2) + cross + cross.swapaxes(1, 2)


def _logs(model: Likelihood, at: Cells) -> tuple[Floats, npt.NDArray[np.int64] | slice]:
    """Return (fit, row, process): logarithmic derivatives of the processes' factors, and of which outer rows."""
    free = [
        mask / at.parameters[:, index, None] for index, mask in zip(model.scale_index, model.scale_mask, strict=True)
    ]
    logs = np.concatenate([at.kappa.slope, *(part[:, None, :] for part in free)], axis=1)
    return logs, _rows(model.row[np.concatenate([model.norm_index, model.scale_index])])


def sum_cells(model: Likelihood, values: Floats) -> Floats:
    """Return (..., bin): the sum over samples of (..., cell)."""
    grid = values.reshape(*values.shape[:-1], model.slots, model.bins)
    return np.asarray(np.add.reduce(grid, axis=-2), dtype=np.float64)


def expected_by_sample(model: Likelihood, parameters: Floats) -> Floats:
    """Return (fit, slot, bin): expected events at ``parameters`` (fit, parameter), gammas included."""
    at = cells(model, parameters).rate.reshape(len(parameters), model.slots, model.bins)
    gamma = np.ones((len(parameters), model.bins))
    gamma[:, model.gammas] = parameters[:, model.gamma_index[model.gammas]]
    return np.where(model.gamma_mask, at * gamma[:, None, :], at)


def expected(model: Likelihood, parameters: Floats) -> Floats:
    """Return (fit, bin), or (bin,): expected events at ``parameters`` (fit, parameter), or (parameter,)."""
    rates = expected_by_sample(model, np.atleast_2d(parameters)).sum(axis=1)
    return np.asarray(rates[0] if parameters.ndim == 1 else rates, dtype=np.float64)


def _by_process(model: Likelihood, values: Floats) -> Floats:
    """Return (fit, process): sums over the bins of (fit, cell)."""
    starts = [part.start for part in model.slices.values()]
    parts = np.add.reduceat(values.reshape(len(values), model.slots, model.bins), starts, axis=2)
    return np.ascontiguousarray(parts.swapaxes(1, 2)).reshape(len(values), -1)


def _rows(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64] | slice:
    """Return the rows as a slice where they are consecutive: numpy then copies nothing."""
    if not len(rows):
        return slice(0, 0)
    consecutive = bool((rows[1:] - rows[:-1] == 1).all())
    return slice(int(rows[0]), int(rows[-1]) + 1) if consecutive else rows
