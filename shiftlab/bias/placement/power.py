"""How likely the goodness of fit rejects a change that the catalogue lacks, against the number of events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.stats import chi2 as chi2_law
from scipy.stats import ncx2

from shiftlab.bias.placement.model import Model
from shiftlab.bias.placement.search import search
from shiftlab.bias.placement.shrink import shrunk
from shiftlab.bias.statistic import Floats
from shiftlab.errors import ConfigError, DataError, UnknownNameError

__all__ = ["power", "power_left_out", "without"]

_COLUMNS = ["change", "events", "noncentrality", "summaries", "power"]


def power(model: Model, changes: Mapping[str, Floats], events: Sequence[float], *, level: float = 0.01) -> pd.DataFrame:
    """Return how likely the goodness of fit rejects a change outside the catalogue, against the number of events.

    The statistic of the changed sample without fluctuations is the noncentrality of its chi2 law: what nuisances,
    composition and flux can imitate of the change is fitted away. (The linear theory d^T (V + J J^T)^-1 d came out
    twice as large for a change that a product of two parameters imitates.) The simulation stays as it is, so power
    saturates with the data.

    Args:
        model: The model of the data.
        changes: Change to displacement of the summaries (sample, summary) in the units of ``Library.total``.
        events: Numbers of data events.
        level: Probability of rejecting a sample inside the catalogue.

    Returns:
        One row per change and number of events: change, events, noncentrality, summaries, power.

    Raises:
        ConfigError: a level or a number of events that is not allowed.
        DataError: a displacement of another shape.
    """
    if not 0.0 < level < 1.0 or any(not number > 0 for number in events):
        raise ConfigError(f"level = {level}, events = {list(events)}: a level in (0, 1), positive numbers of events.")
    shape = (len(model.library.samples), len(model.library.summaries.names))
    for name, shift in changes.items():
        if np.shape(shift) != shape:
            raise DataError(f"change '{name}' has shape {np.shape(shift)}; (sample, summary) = {shape} is needed.")
    whole = float((model.exposure * model.library.weight).sum())
    rows = []
    for number in events:
        factor = number / whole
        scaled = replace(model, exposure=model.exposure * factor, extra=model.extra * factor**2)
        for name, shift in changes.items():
            nominal = scaled.expected(model.centre[None])[0]
            white, _, fitted = search(scaled, nominal + scaled.exposure @ shift)
            critical = float(chi2_law.isf(level, white.size))
            noncentrality = float(fitted.objective[0])
            chance = float(ncx2.sf(critical, white.size, noncentrality)) if noncentrality > 0.0 else level
            rows.append((name, float(number), noncentrality, white.size, chance))
    return pd.DataFrame(rows, columns=_COLUMNS)


def power_left_out(
    model: Model, events: Sequence[float], strengths: Sequence[float] = (1.0, 3.0), *, level: float = 0.01
) -> pd.DataFrame:
    """Return the power to see each nuisance of the catalogue, had it not been in there.

    A change that nobody thought of cannot be simulated; what the catalogue holds is the nearest thing. Each nuisance
    is taken out in turn, and a sample displaced by it is compared with all that the others can explain. Its response
    is freed of event noise first (``shrunk``): three sigma of noise would be seen as well.

    Args:
        model: The model of the data.
        events: Numbers of data events.
        strengths: Displacements, in sigma.
        level: Probability of rejecting a sample inside the catalogue.

    Returns:
        As ``power``, with the columns nuisance and strength for change.
    """
    library = shrunk(model).library
    found = []
    for k, name in enumerate(library.nuisances):
        odd, even = library.total[:, 0, 1 + 2 * k], library.total[:, 0, 2 + 2 * k]
        changes = {f"{strength:+g}": strength * odd + strength**2 * even for strength in strengths}
        rows = power(without(model, name), changes, events, level=level)
        found.append(rows.assign(nuisance=name, strength=rows["change"].astype(float)))
    return pd.concat(found, ignore_index=True)[["nuisance", "strength", *_COLUMNS[1:]]]


def without(model: Model, nuisance: str) -> Model:
    """Return the model of a catalogue that lacks one nuisance.

    Raises:
        UnknownNameError: there is no such nuisance.
    """
    library = model.library
    if nuisance not in library.nuisances:
        raise UnknownNameError("nuisance", nuisance, library.nuisances)
    k = library.nuisances.index(nuisance)
    terms = [1 + 2 * k, 2 + 2 * k]
    moment = np.delete(np.delete(library.moment, terms, axis=1), terms, axis=3)
    less = replace(
        library,
        nuisances=tuple(name for name in library.nuisances if name != nuisance),
        one_sided=np.delete(library.one_sided, k),
        total=np.delete(library.total, terms, axis=2),
        moment=moment,
        spread=np.delete(library.spread, terms, axis=2),
        maps={name: odd for name, odd in library.maps.items() if name != nuisance},
        centre=np.delete(library.centre, k),
    )
    return replace(model, library=less, prior=np.delete(np.delete(model.prior, k, axis=0), k, axis=1))
