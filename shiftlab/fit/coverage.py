"""How often intervals cover when the simulation behind the templates is drawn anew with every toy of the data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import pandas as pd
from tqdm import tqdm

from shiftlab.errors import DataError
from shiftlab.fit.likelihood.model import Likelihood
from shiftlab.fit.likelihood.toys import Toys, template_toys, toys
from shiftlab.fit.measurement import likelihood
from shiftlab.templates import Templates

__all__ = ["LEVELS", "coverage_rows", "template_coverage", "without_gammas"]

LEVELS: Final = (0.6827, 0.95)


def template_coverage(
    templates: Templates,
    redrawn: Iterable[Templates],
    seed: int,
    *,
    number: int = 1000,
    levels: Sequence[float] = LEVELS,
    progress: bool = False,
) -> pd.DataFrame:
    """Return the coverage of intervals of mu, templates fixed and templates redrawn.

    Nature is the likelihood of ``templates`` at its nominal parameters. Four kinds of pseudo-experiments:

    - ``parameters``: data and auxiliary measurements drawn, the templates of every fit are nature's own;
    - ``nominal redrawn``: the nominal of every fit is that of another simulation, its relative variations are nature's;
    - ``templates redrawn``: nominal and all variations of every fit are those of another simulation;
    - ``templates redrawn, no gammas``: the same without factors for the Monte Carlo errors in the fit.

    The last three fit the same data. Profiling finite Monte Carlo does not cover (Alexe et al., arXiv:2401.10542):
    gammas know of the nominal's error, not of the variations'.

    Args:
        templates: what ``templates`` returned.
        redrawn: templates of other simulations of the same size, ``bootstrap.bootstrap(...)`` for example.
        seed: of the data.
        number: toys of the parameters; the others are as many as ``redrawn``.
        levels: nominal coverages.
        progress: show progress bars.

    Returns:
        One row per kind, interval and level; see ``coverage_rows``.
    """
    nature = likelihood(templates)
    full: list[Likelihood | DataError] = []
    nominal: list[Likelihood | DataError] = []
    for one in tqdm(redrawn, desc="redrawn templates", unit="set", disable=not progress, leave=False):
        full.append(_likelihood(one))
        nominal.append(_likelihood(_nominal_only(templates, one)))
    bare = [model if isinstance(model, DataError) else without_gammas(model) for model in full]
    found = {
        "parameters": toys(nature, number, seed, ratio=True, progress=progress),
        "nominal redrawn": template_toys(nominal, nature, seed, ratio=True),
        "templates redrawn": template_toys(full, nature, seed, ratio=True),
        "templates redrawn, no gammas": template_toys(bare, nature, seed, ratio=True),
    }
    return pd.concat([coverage_rows(kind, one, levels) for kind, one in found.items()], ignore_index=True)


def coverage_rows(kind: str, found: Toys, levels: Sequence[float] = LEVELS) -> pd.DataFrame:
    """Return how often the intervals of toys cover, one row per interval and level.

    Columns: toys (``kind``); interval, ``error`` for best fit ± z errors or ``ratio`` for the likelihood ratio;
    level; coverage; error, its binomial one; counted; failed, toys without a fit or an interval, which are not
    counted; spread, half the central 68.3% of the estimates; claimed, the median of their errors.
    """
    rows = []
    low, high = np.nanquantile(found.estimates, [0.158655, 0.841345])
    for interval, by in (("error", "error"), ("ratio", "rise")):
        for level in levels:
            share = found.coverage(level, by=by)
            rows.append(
                {
                    "toys": kind,
                    "interval": interval,
                    "level": level,
                    "coverage": share.value,
                    "error": share.error,
                    "counted": share.counted,
                    "failed": len(found.status) - share.counted,
                    "spread": 0.5 * float(high - low),
                    "claimed": float(np.nanmedian(found.error)),
                }
            )
    return pd.DataFrame(rows)


def without_gammas(model: Likelihood) -> Likelihood:
    """Return the likelihood with the factors of the Monte Carlo errors fixed at 1."""
    fixed = model.parameters.fixed.copy()
    fixed[model.parameters.of_kind("staterror", "shapesys")] = True
    return replace(model, parameters=replace(model.parameters, fixed=fixed))


def _likelihood(templates: Templates) -> Likelihood | DataError:
    """Return the likelihood of redrawn templates, or why they make none: a bin that no event is left in, say."""
    try:
        return likelihood(templates)
    except DataError as error:
        return error


def _nominal_only(templates: Templates, one: Templates) -> Templates:
    """Return ``templates`` with the nominal of ``one``, its errors, and the relative variations that they had."""
    ratio = np.divide(one.nominal, templates.nominal, out=np.zeros_like(one.nominal), where=templates.nominal > 0.0)
    up, down = templates.up * ratio, templates.down * ratio
    return replace(templates, nominal=one.nominal, variance=one.variance, events=one.events, up=up, down=down)
