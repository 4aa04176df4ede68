"""A physical quantity of a detector effect with its prior: nominal, one-sigma size, bounds and source."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from shiftlab.errors import ConfigError

__all__ = ["Parameter"]


@dataclass(frozen=True)
class Parameter:
    """One parameter of an effect; a nuisance is its displacement in units of ``sigma``.

    Attributes:
        name: The field's noun, say ``alpha``.
        nominal: Value in the nominal detector.
        sigma: One-sigma size after calibration; relative where ``scale`` is ``log``; 0 for a constant.
        unit: Unit of the value.
        bounds: Smallest and largest physical value, both allowed.
        identity: Value at which the effect leaves its input untouched, None when there is none.
        scope: ``run`` (one value for all events) or ``event``.
        two_sided: False when only positive nuisances mean something; always so where the nominal value is the
            smallest that is allowed, say no cross-talk at all.
        scale: ``linear``: nominal + n sigma; ``log``: nominal (1 + sigma)^n.
        source: Where nominal and sigma come from.
        confidence: A read or computed, B quoted, C judgement (to be confirmed).
        choices: Names of the models that a discrete parameter chooses among; its value is their index.
        algebra: How two values combine, which the contract tests check: ``multiply`` (applying a then b is a b),
            ``rate`` (inverses add), ``linear`` (the change of charge is proportional to the value),
            ``nest`` (what a larger value keeps, a smaller one keeps too) or ``none``.
        requires: (parameter, value) of the same effect at which this one acts; None when it always does.
        doc: One sentence for a newcomer.
    """

    name: str
    nominal: float
    sigma: float
    unit: str
    bounds: tuple[float, float]
    identity: float | None = None
    scope: Literal["run", "event"] = "run"
    two_sided: bool = True
    scale: Literal["linear", "log"] = "linear"
    source: str = ""
    confidence: Literal["A", "B", "C"] = "C"
    choices: tuple[str, ...] = ()
    algebra: Literal["none", "multiply", "rate", "linear", "nest"] = "none"
    requires: tuple[str, float] | None = None
    doc: str = ""

    def __post_init__(self) -> None:
        """Refuse a prior that contradicts itself."""
        low, high = self.bounds
        if not low <= self.nominal <= high:
            raise ConfigError(f"{self.name}: nominal {self._with_unit(self.nominal)} is outside [{low:g}, {high:g}].")
        if not (self.sigma >= 0 and math.isfinite(self.sigma)):
            raise ConfigError(f"{self.name}: sigma {self.sigma} must be a number that is not negative.")
        if self.scale not in ("linear", "log"):
            raise ConfigError(f"{self.name}: scale '{self.scale}' must be 'linear' or 'log'.")
        if self.sigma > 0 and self.nominal == low:
            object.__setattr__(self, "two_sided", False)

    def value(self, nuisance: float) -> float:
        """Return the physical value at a displacement of ``nuisance`` sigma.

        A discrete parameter takes the displacement as a step from its nominal choice.

        Raises:
            ConfigError: the value is outside the bounds, or a discrete step is not whole.
        """
        if nuisance == 0:
            return self.nominal
        if self.choices:
            value = self.nominal + nuisance
            if value != int(value):
                raise ConfigError(f"{self.name}: {value:g} is no choice; allowed are 0 to {len(self.choices) - 1}.")
        elif self.scale == "log":
            value = self.nominal * math.pow(1.0 + self.sigma, nuisance)
        else:
            value = self.nominal + nuisance * self.sigma
        low, high = self.bounds
        if self.choices:
            self.check(value)
        elif not low <= value <= high:
            down, up = self._reach()
            raise ConfigError(
                f"a displacement of {nuisance:g} sigma takes {self.name} to {self._with_unit(value)}, outside "
                f"[{low:g}, {high:g}]; allowed: {-down:.4g} to {up:.4g} sigma."
            )
        return value

    def check(self, value: float, context: str = "") -> None:
        """Raise ConfigError when a physical ``value`` is outside the bounds (NaN included)."""
        low, high = self.bounds
        if not low <= value <= high:
            raise ConfigError(f"{context}{self.name} = {self._with_unit(value)} is outside [{low:g}, {high:g}].")

    def limit(self) -> float:
        """Return the largest |nuisance| for which both signs stay within the bounds (infinite for sigma 0)."""
        if self.sigma == 0 or self.choices:
            return math.inf
        down, up = self._reach()
        # A hair inside, so that rounding in value() cannot step over the bound.
        return (1.0 - 1e-9) * (min(down, up) if self.two_sided else up)

    def _reach(self) -> tuple[float, float]:
        """Return how many sigma the lower and the upper bound are away from nominal."""
        low, high = self.bounds
        if self.sigma == 0:
            return math.inf, math.inf
        if self.scale == "log":
            step = math.log1p(self.sigma)
            down = math.log(self.nominal / low) / step if low > 0 else math.inf
            return down, math.log(high / self.nominal) / step if math.isfinite(high) else math.inf
        return (self.nominal - low) / self.sigma, (high - self.nominal) / self.sigma

    def _with_unit(self, value: float) -> str:
        return f"{value:g}" if self.unit in ("", "1") else f"{value:g} {self.unit}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; an infinite bound or identity becomes the text ``inf``."""
        return {
            "nominal": _plain(self.nominal),
            "sigma": self.sigma,
            "unit": self.unit,
            "bounds": [_plain(bound) for bound in self.bounds],
            "identity": None if self.identity is None else _plain(self.identity),
            "scope": self.scope,
            "two_sided": self.two_sided,
            "scale": self.scale,
            "source": self.source,
            "confidence": self.confidence,
            "choices": list(self.choices),
            "algebra": self.algebra,
            "doc": self.doc,
        }


def _plain(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
