"""What it costs to treat a shared detector nuisance as an independent one in every channel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from shiftlab.fit.likelihood.build import Collected
from shiftlab.fit.likelihood.components import components
from shiftlab.fit.likelihood.fitting import asimov
from shiftlab.fit.likelihood.model import Likelihood
from shiftlab.fit.likelihood.objective import evaluate
from shiftlab.fit.likelihood.rates import jacobian

__all__ = ["decorrelate", "sandwich"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def decorrelate(model: Likelihood, names: Sequence[str] | None = None) -> Likelihood:
    """Return the likelihood with nuisances cut into one per channel, ``<nuisance>__<channel>``.

    Args:
        model: the likelihood.
        names: the nuisances; all of them if None.
    """
    p = model.parameters
    cut = p.of_kind("nuisance") if names is None else p.indices(names)
    acts = _acts(model)
    found, first = Collected(), np.zeros(len(p) + 1, dtype=np.int64)
    parts: dict[int, Ints] = {}
    for i, name in enumerate(p.names):
        channels = np.flatnonzero(acts[i]) if i in cut else np.zeros(1, dtype=np.int64)
        parts[i] = channels
        for c in channels:
            settings = (p.initial[i], p.lower[i], p.upper[i], p.fixed[i], p.centre[i], p.width[i], p.tau[i])
            found.names.append(f"{name}__{model.channels[c].name}" if i in cut else name)
            found.kinds.append(p.kinds[i])
            found.columns.append(settings)
        first[i + 1] = len(found.names)
    channel_of_cell = model.process_of_cell // model.slots
    channel_of_process = np.arange(model.log_up.shape[1]) // model.slots
    shape_index, shapes = _cut(model.shape_index, cut, parts, first, (model.odd, model.even), channel_of_cell)
    norm_index, norms = _cut(model.norm_index, cut, parts, first, (model.log_up, model.log_down), channel_of_process)
    return replace(
        model,
        parameters=found.freeze(),
        poi=None if model.poi is None else int(first[model.poi]),
        shape_index=shape_index,
        odd=shapes[0],
        even=shapes[1],
        norm_index=norm_index,
        log_up=norms[0],
        log_down=norms[1],
        scale_index=first[model.scale_index],
        layers=first[model.layers],
        gamma_index=np.where(model.gamma_index >= 0, first[model.gamma_index], -1),
    )


def _acts(model: Likelihood) -> npt.NDArray[np.bool_]:
    """Return (parameter, channel): whether a nuisance moves the channel's templates or yields."""
    found = np.zeros((len(model.parameters), len(model.channels)), dtype=np.bool_)
    channel = model.process_of_cell // model.slots
    for c in range(len(model.channels)):
        for index, rows in ((model.shape_index, np.abs(model.odd) + np.abs(model.even)),):
            found[index, c] |= rows[:, channel == c].any(axis=1)
        logs = np.abs(model.log_up) + np.abs(model.log_down)
        found[model.norm_index, c] |= logs[:, c * model.slots : (c + 1) * model.slots].any(axis=1)
    return found


def _cut(
    index: Ints, cut: Ints, parts: dict[int, Ints], first: Ints, rows: tuple[Floats, Floats], channel: Ints
) -> tuple[Ints, list[Floats]]:
    """Return the new parameter of each row, and the rows, those of nuisances that are cut once per channel."""
    positions: list[int] = []
    found: list[list[Floats]] = [[], []]
    for k, i in enumerate(index):
        for place, c in enumerate(parts[int(i)]):
            inside = channel == c if i in cut else np.ones(len(channel), dtype=np.bool_)
            if i in cut and not (rows[0][k, inside].any() or rows[1][k, inside].any()):
                continue
            positions.append(int(first[i]) + place)
            for side in range(2):
                found[side].append(np.where(inside, rows[side][k], 0.0))
    empty = np.zeros((0, len(channel)))
    return np.array(positions, dtype=np.int64), [np.stack(side) if side else empty for side in found]


def sandwich(correlated: Likelihood, fitted: Likelihood, values: Floats | None = None) -> pd.DataFrame:
    """Return claimed and true uncertainty of the parameter of interest when nature is ``correlated``.

    claimed is what each likelihood says of itself. The true spread lets data and Monte Carlo fluctuate as
    the fit thinks, and moves each nuisance of nature in all channels at once by its column J_k of the
    correlated likelihood: true^2 = sum_b (d mu/d n_b)^2 lambda_b + MC + sum_k s_k^2 (d mu/d n . J_k)^2.

    Args:
        correlated: nature.
        fitted: what is fitted to it, for example ``decorrelate(correlated)``; the same bins.
        values: (parameter,) of ``correlated`` where both are linearised; nominal if None.

    Returns:
        Columns scheme (``correlated``, ``decorrelated``), claimed, true, coverage of claimed 68.3% intervals.
    """
    p = correlated.parameters
    at = p.initial if values is None else values
    other = fitted.parameters.initial.copy()
    shared = [name for name in fitted.parameters.names if name in p.names]
    other[fitted.parameters.indices(shared)] = at[p.indices(shared)]
    moving = np.flatnonzero(p.constrained & np.isin(p.kinds, ("nuisance", "lumi")) & ~p.fixed)
    shifts = _columns(correlated, at)[correlated.row[moving]] * p.prior[moving, None]
    rows = []
    for scheme, model, point in (("correlated", correlated, at), ("decorrelated", fitted, other)):
        parts = components(model, point)
        gammas = model.parameters.of_kind("staterror", "shapesys")
        variance = (parts.data**2).sum() + (parts.auxiliary[gammas] ** 2).sum() + ((shifts @ parts.response) ** 2).sum()
        claimed, true = math.sqrt(parts.variance), math.sqrt(float(variance))
        rows.append((scheme, claimed, true, math.erf(claimed / true / math.sqrt(2.0))))
    return pd.DataFrame(rows, columns=["scheme", "claimed", "true", "coverage"])


def _columns(model: Likelihood, values: Floats) -> Floats:
    """Return (outer, bin): derivatives of the expected events at ``values`` (parameter,)."""
    held = np.ones((1, len(values)), dtype=np.bool_)
    at = evaluate(model, asimov(model, values), values[None], held)
    weight = np.where(model.scaled, np.tile(at.gammas.value, (1, model.slots)), 1.0)
    return np.asarray(jacobian(model, at.cells, weight)[0], dtype=np.float64)
