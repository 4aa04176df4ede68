"""Which universes give each template variation: ± pairs per nuisance, and per throw of a frozen map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from shiftlab.errors import DataError, UnknownNameError

__all__ = ["Far", "Variation", "far_universes", "injected_universe", "nominal_universe", "variations"]


@dataclass(frozen=True)
class Variation:
    """One pair of universes at -1 and +1 sigma that becomes one pyhf nuisance.

    A parameter that exists on one side of its nominal only has a universe at +1 sigma alone. Its template at -1 sigma
    is the mirror image, nominal - (up - nominal), which stands for no detector that could exist; it is flagged.

    A run-frozen random map (gains of all readout channels, say) has an unknown realisation. Its n
    throws become n nuisances; throw t, with shifts d_t of the templates, enters as nominal + d_t / sqrt(n).
    The covariance of the nuisances, sum_t d_t d_t^T / n, is then the average over realisations, for
    odd and even parts alike; and a mean of non-negative templates stays non-negative.

    Attributes:
        name: name of the pyhf modifier: the nuisance, with ``_<throw>`` when there are several.
        nuisance: name of the detector nuisance.
        up: position of the universe at +1 sigma.
        down: position of the universe at -1 sigma; that at +1 sigma where it is mirrored.
        throw: realisation of the frozen maps, 0 without.
        throws: number n of realisations.
        mirrored: the parameter is one-sided, and the side at -1 sigma is the mirror image of the other.
    """

    name: str
    nuisance: str
    up: int
    down: int
    throw: int
    throws: int
    mirrored: bool = False

    @property
    def scale(self) -> float:
        """Factor 1/sqrt(n) of both shifts."""
        return float(self.throws**-0.5)

    def describe(self, universes: tuple[str, ...]) -> dict[str, Any]:
        """Return the variation as plain values for the sidecar."""
        return {
            "nuisance": self.nuisance,
            "up": universes[self.up],
            "down": None if self.mirrored else universes[self.down],
            "mirrored": self.mirrored,
            "throw": self.throw,
            "throws": self.throws,
            "scale": self.scale,
            "prior": {"type": "normal", "mean": 0.0, "sigma": 1.0, "unit": "prior standard deviations"},
        }


@dataclass(frozen=True)
class Far:
    """One universe beyond one sigma of a single nuisance, to check the templates with.

    Attributes:
        variation: position of the variation among all.
        strength: displacement in sigma, beyond 1 in size.
        universe: position of the universe.
    """

    variation: int
    strength: float
    universe: int


def far_universes(data: xr.Dataset, given: tuple[Variation, ...]) -> tuple[Far, ...]:
    """Return the universes that displace one of the variations alone by more than one sigma, to either simulated side.

    They have the calibration, and the throw of the frozen maps, of the variation's own.
    """
    value, names = data["nuisance_value"].values, [str(name) for name in data["nuisance"].values]
    found = []
    for position, one in enumerate(given):
        k = names.index(one.nuisance)
        alone = (np.abs(value[:, k]) > 1.0) & (np.delete(value, k, axis=1) == 0.0).all(axis=1)
        alone &= (data["group"].values == "unisim") & (data["throw"].values == one.throw)
        alone &= data["recalibrate"].values == data["recalibrate"].values[one.up]
        if one.mirrored:
            alone &= value[:, k] > 0.0
        found += [Far(position, float(value[u, k]), int(u)) for u in np.flatnonzero(alone)]
    return tuple(found)


def nominal_universe(data: xr.Dataset, recalibrate: str) -> int:
    """Return the position of the nominal universe; recalibrating the nominal changes nothing.

    Raises:
        DataError: there is no universe of the group ``nominal``.
    """
    nominal = np.flatnonzero(data["group"].values == "nominal")
    if not len(nominal):
        raise DataError("responses have no nominal universe, so there is nothing to compare with.")
    same = nominal[data["recalibrate"].values[nominal] == recalibrate]
    return int(same[0] if len(same) else nominal[0])


def injected_universe(data: xr.Dataset, recalibrate: str, name: str | None) -> int | None:
    """Return the position of the universe to inject, or None when responses hold none.

    Without a name it is the first of the group ``injected``, else the first joint universe.

    Raises:
        UnknownNameError: no universe has the name.
        DataError: the named universe was calibrated in another way.
    """
    names = [str(universe) for universe in data["universe"].values]
    if name is not None:
        if name not in names:
            raise UnknownNameError("universe (templates.inject)", name, names)
        found = names.index(name)
        given = str(data["recalibrate"].values[found])
        if given != recalibrate and str(data["group"].values[found]) != "nominal":
            raise DataError(f"universe '{name}' has recalibrate '{given}', the templates '{recalibrate}'.")
        return found
    same = data["recalibrate"].values == recalibrate
    for group in ("injected", "multisim"):
        candidates = np.flatnonzero(same & (data["group"].values == group))
        if len(candidates):
            return int(candidates[0])
    return None


def variations(data: xr.Dataset, recalibrate: str) -> tuple[Variation, ...]:
    """Return the ±1 sigma pairs of every nuisance, in the order of the coordinate ``nuisance``.

    Universes at other strengths are left to closure tests (``far_universes``). Of a nuisance that was not looked at
    after the recalibration the plain pair is taken, as the bias does, so that both fits hold the same nuisances.

    Raises:
        UnknownNameError: no universe has this recalibration.
        DataError: a two-sided nuisance has a universe at one sign but not at the other, a nuisance has twice the
            same one, or two modifiers would have one name.
    """
    calibrations = {str(name) for name in data["recalibrate"].values}
    if recalibrate not in calibrations:
        raise UnknownNameError("recalibration of the universes", recalibrate, calibrations)
    unisim = data["group"].values == "unisim"
    value = data["nuisance_value"].values
    throw = data["throw"].values
    one_sided = data["one_sided"].values if "one_sided" in data.coords else np.zeros(value.shape[1], dtype=bool)
    found: list[Variation] = []
    for k, nuisance in enumerate(str(name) for name in data["nuisance"].values):
        others = np.delete(value, k, axis=1)
        alone = unisim & (np.abs(value[:, k]) == 1.0) & (others == 0.0).all(axis=1)
        same = alone & (data["recalibrate"].values == recalibrate)
        alone = same if same.any() else alone & (data["recalibrate"].values == "none")
        throws = [int(t) for t in np.unique(throw[alone])]
        for t in throws:
            sides = [np.flatnonzero(alone & (throw == t) & (value[:, k] == sign)) for sign in (1.0, -1.0)]
            if one_sided[k]:
                sides[1] = sides[0]
            for sign, side in zip(("+1", "-1"), sides, strict=True):
                if len(side) != 1:
                    have = "no universe" if not len(side) else f"{len(side)} universes"
                    where = f"throw {t}, recalibrate '{recalibrate}'"
                    raise DataError(f"nuisance '{nuisance}' has {have} at {sign} sigma ({where}); one is needed.")
            name = nuisance if len(throws) == 1 else f"{nuisance}_{t}"
            up, down = (int(side[0]) for side in sides)
            found.append(Variation(name, nuisance, up, down, t, len(throws), bool(one_sided[k])))
    names = [variation.name for variation in found]
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"two nuisances would be called '{name}'; rename one.")
    return tuple(found)
