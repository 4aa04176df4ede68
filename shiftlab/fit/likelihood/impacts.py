"""How far each nuisance moves the parameter of interest: from the covariance at once, and by refitting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from shiftlab.errors import ConfigError
from shiftlab.fit.likelihood.fitting import Fitted
from shiftlab.fit.likelihood.model import Likelihood
from shiftlab.fit.likelihood.rates import expected
from shiftlab.fit.likelihood.starts import fit_many

__all__ = ["Impacts", "fixed_rows", "impacts", "one_sided", "refit_impacts", "target_of"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Impacts:
    """Closed-form impacts of the constrained parameters on one parameter.

    Impacts are not parts of an uncertainty: their squares do not add up to it. The components do, with
    those of the data (Pinto et al., arXiv:2307.04007); see ``components``.

    Attributes:
        names: constrained parameters that were free.
        postfit: change for +1 post-fit sigma, C_mk / sqrt(C_kk) (Xia, arXiv:1805.03961).
        prefit: change for +1 prior sigma, s_k C_mk / C_kk.
        component: change when the auxiliary measurement shifts by its sigma, C_mk / s_k.
        one_sided: the slope at the best fit says little, for the templates' even part outweighs the odd one.
    """

    names: tuple[str, ...]
    postfit: Floats
    prefit: Floats
    component: Floats
    one_sided: npt.NDArray[np.bool_]

    def table(self) -> pd.DataFrame:
        """Return one row per parameter, the largest post-fit impact first."""
        columns = ["postfit", "prefit", "component", "one_sided"]
        table = pd.DataFrame({"name": self.names, **{column: getattr(self, column) for column in columns}})
        return table.sort_values("postfit", key=np.abs, ascending=False, kind="stable", ignore_index=True)


def impacts(fitted: Fitted, poi: str | None = None) -> Impacts:
    """Return the closed-form impacts on a parameter, of the gammas too.

    Args:
        fitted: a fit.
        poi: the parameter; the likelihood's parameter of interest if None.

    Raises:
        FitError: the covariance does not exist.
        ConfigError: there is no parameter of interest, or it is a profiled gamma.
    """
    model, p = fitted.model, fitted.model.parameters
    target = target_of(model, poi)
    row, variance = fitted.covariance_row(target)
    use = np.flatnonzero(p.constrained & ~fitted.held & (variance > 0.0))
    use = use[use != target]
    shared, spread, prior = row[use], variance[use], p.prior[use]
    even = np.isin(use, p.indices(one_sided(model)))
    names = tuple(p.names[i] for i in use)
    return Impacts(names, shared / np.sqrt(spread), prior * shared / spread, shared / prior, even)


def refit_impacts(
    fitted: Fitted, names: Sequence[str] | None = None, *, poi: str | None = None, size: str = "postfit"
) -> pd.DataFrame:
    """Refit with each parameter fixed one sigma up and down; all refits are one batch.

    Args:
        fitted: a fit.
        names: parameters; all constrained ones that were free if None.
        poi: the parameter whose change is wanted; the parameter of interest if None.
        size: ``postfit`` or ``prefit`` sigma.

    Returns:
        Columns name, up, down (change of ``poi``, NaN where a refit failed), status (of both, the worse).
    """
    if size not in ("postfit", "prefit"):
        raise ConfigError(f"size = '{size}'; allowed: postfit, prefit.")
    model, p = fitted.model, fitted.model.parameters
    target = target_of(model, poi)
    variance = fitted.covariance_row(target)[1]
    free = p.constrained & ~fitted.held & (variance > 0.0)
    use = np.flatnonzero(free) if names is None else p.indices(names)
    use = use[use != target]
    step = np.sqrt(variance[use]) if size == "postfit" else p.prior[use]
    index, shift = np.concatenate([use, use]), np.concatenate([step, -step])
    start, held = fixed_rows(fitted, index, shift)
    found = fit_many(model, fitted.data.repeat(len(index)), start, held)
    change = np.where(found.good, found.parameters[:, target] - fitted.parameters[target], np.nan)
    count = len(use)
    status = [
        next((s for s in ("failed", "at bound") if s in pair), "converged")
        for pair in zip(found.status[:count], found.status[count:], strict=True)
    ]
    return pd.DataFrame(
        {"name": [p.names[i] for i in use], "up": change[:count], "down": change[count:], "status": status}
    )


def one_sided(model: Likelihood) -> list[str]:
    """Return the nuisances whose even part outweighs the odd part, in units of each bin's statistical error.

    Such a nuisance (noise, dead channels: both variations on one side) has no slope to speak of at
    nominal; its effect is seen by a refit at +1 sigma only.
    """
    return [model.parameters.names[i] for i in np.flatnonzero(model.even_share > 1.0 + 1e-9)]


def fixed_rows(fitted: Fitted, index: npt.NDArray[np.int64], shift: Floats) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return starts and what is held when parameter ``index`` of each row is fixed ``shift`` away; the rest follows."""
    model, rows = fitted.model, np.arange(len(index))
    start = np.tile(fitted.parameters, (len(index), 1))
    held = np.tile(fitted.held, (len(index), 1))
    place = model.row[index]
    outer = place >= 0
    if outer.any():
        spread = np.diag(fitted.covariance)[place[outer]]
        follow = fitted.covariance[place[outer]] * (shift[outer] / spread)[:, None]
        start[np.ix_(outer, model.outer)] += follow
        start = np.clip(start, model.parameters.lower, model.parameters.upper)
    start[rows, index], held[rows, index] = fitted.parameters[index] + shift, True
    unsafe = (expected(model, start) <= 0.0).any(axis=1)
    start[unsafe] = fitted.parameters
    start[rows, index] = fitted.parameters[index] + shift
    return start, held


def target_of(model: Likelihood, poi: str | None) -> int:
    """Return the position of ``poi``, or of the parameter of interest.

    Raises:
        ConfigError: there is none, or it is a profiled gamma.
    """
    index = model.poi if poi is None else model.parameters.index(poi)
    if index is None:
        raise ConfigError(f"likelihood {model.name} has no parameter of interest; name one.")
    if model.row[index] < 0:
        raise ConfigError(f"'{model.parameters.names[index]}' is profiled in closed form; use model.unprofiled().")
    return index
