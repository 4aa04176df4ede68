"""Label-free columns of every event around any universe, from its own responses to one-sigma universes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shiftlab.bias.covariance import Part, odd_even
from shiftlab.bias.design import Design, Term
from shiftlab.bias.statistic import Floats

__all__ = ["Around", "around"]

Columns = Mapping[str, Floats]


@dataclass(frozen=True)
class Around:
    """Columns at a centre and one sigma to either side of it, each name to (event,).

    Attributes:
        centre: At the centre.
        plus: Per nuisance and throw, one sigma up.
        minus: The same one sigma down.
    """

    centre: Columns
    plus: Sequence[Sequence[Columns]]
    minus: Sequence[Sequence[Columns]]


def around(columns: Columns, design: Design, terms: Sequence[Term], centre: Floats) -> Around:
    """Return the columns that events would have, x(z) = x + sum over nuisances of odd z + even z^2 per event.

    Bins of these columns hold what bins of responses of sums do not: two nuisances that move the same column move it
    together, and a shift by many bins is no parabola. Around nominal these are the simulated universes themselves. One
    sigma to either side and not less: the noise of an even response grows as the distance shrinks. The throws of a
    frozen map are kept apart where its own nuisance moves, and averaged in the centre.

    Args:
        columns: Name to (universe, event).
        design: The universes.
        terms: Its one-sigma universes.
        centre: (nuisance,), in sigma.
    """
    names = list(columns)
    value = np.stack([np.asarray(columns[name], dtype=np.float64) for name in names], axis=2)
    nominal = value[design.nominal]
    # Events stand where replicas do, columns where tasks do.
    parts = odd_even((value - nominal).transpose(1, 0, 2), terms)
    base = nominal + sum(_moved(part, float(z)).mean(axis=1) for part, z in zip(parts, centre, strict=True))
    sides: tuple[list[list[Columns]], list[list[Columns]]] = ([], [])
    for part, z in zip(parts, centre.tolist(), strict=True):
        own = _moved(part, z).mean(axis=1)
        for side, shifted in zip(sides, (z + 1.0, z - 1.0), strict=True):
            moved = (base - own)[:, None] + _moved(part, shifted)
            side.append([_named(names, moved[:, throw]) for throw in range(moved.shape[1])])
    return Around(_named(names, base), *sides)


def _moved(part: Part, z: float) -> Floats:
    """Return odd z + even z^2, (event, throw, column); a one-sided nuisance is linear, also below its bound."""
    return part.odd * z if part.one_sided else part.odd * z + part.even * z**2


def _named(names: Sequence[str], values: Floats) -> Columns:
    return {name: np.ascontiguousarray(values[:, number]) for number, name in enumerate(names)}
