"""Input contract of tokens: units, columns, kinds and transform constants that a particle-level model understands."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal

from torch import Tensor

from shiftlab.errors import ConfigError, DataError
from shiftlab.events.tokens import Tokens, in_units

__all__ = ["KINEMATICS", "OMNILEARNED", "TokenContract"]

KINEMATICS: Final = 4
"""How many columns, from the first on, are a token's momentum: two angles, log pT, log E."""

_ENERGY: Final = {"log(MeV)": "MeV", "MeV": "MeV", "log(GeV)": "GeV", "GeV": "GeV"}
_DIGITS: Final = 5
_LEAST_SPREAD: Final = 1e-3


@dataclass(frozen=True)
class TokenContract:
    """What the numbers are that a model of tokens was trained on; saved with it and checked when it is used.

    Attributes:
        columns: Names of the token columns, in the model's order; the first four are the momentum, log pT the third.
        units: Unit of each column. Energies are all in MeV or all in GeV, the unit is part of the column.
        kinds: Names of the kinds of tokens, in the model's order.
        global_columns: Names of the numbers of an event that the model sees.
        global_units: Unit of each.
        centre: Mean of each column over the valid entries of the training tokens, in its unit. The first four are
            also the mean of the noise of flow matching.
        spread: Standard deviation of each column likewise.
        global_centre: Mean of each global.
        global_spread: Standard deviation of each global.
        maximum: Most tokens of an event that the model was made for. A longer event is not cut: it is taken whole,
            and counted (``too_long``).
        blank: What stands for an entry without a value: ``zero`` of the column's unit, or the column's ``centre``.

    Raises:
        ConfigError: the columns are no momentum, lengths differ, or energies are in mixed or unknown units.
    """

    columns: tuple[str, ...]
    units: tuple[str, ...]
    kinds: tuple[str, ...] = ()
    global_columns: tuple[str, ...] = ()
    global_units: tuple[str, ...] = ()
    centre: tuple[float, ...] = ()
    spread: tuple[float, ...] = ()
    global_centre: tuple[float, ...] = ()
    global_spread: tuple[float, ...] = ()
    maximum: int = 33
    blank: Literal["zero", "centre"] = "zero"

    def __post_init__(self) -> None:
        """Refuse what no model could be made for."""
        for mine, names in ((self.columns, ("units", "centre", "spread")), (self.global_columns, _OF_GLOBALS)):
            for name in names:
                if len(getattr(self, name)) != len(mine):
                    raise ConfigError(f"token contract: {name} has {len(getattr(self, name))} entries for {len(mine)}.")
        third = self.columns[2] if len(self.columns) >= KINEMATICS else None
        if third != "log_pT" or not self.columns[3].startswith("log_E"):
            raise ConfigError(
                f"token contract: the first columns are {self.columns[:KINEMATICS]}; they must be two angles, log_pT "
                "and log_E."
            )
        if min((*self.spread, *self.global_spread), default=1.0) <= 0 or self.maximum < 1:
            raise ConfigError("token contract: spreads and maximum must be positive.")
        if self.blank not in ("zero", "centre"):
            raise ConfigError(f"token contract: blank = {self.blank!r}; allowed: zero, centre.")
        if len(set(self._energies)) != 1:
            raise ConfigError(f"token contract: energies in {sorted(set(self._energies))}; one of MeV, GeV is wanted.")

    @property
    def _energies(self) -> list[str]:
        return [_ENERGY[unit] for unit in (*self.units, *self.global_units) if unit in _ENERGY]

    @property
    def energy_unit(self) -> Literal["MeV", "GeV"]:
        """Unit of all energies."""
        return "GeV" if self._energies[0] == "GeV" else "MeV"

    @classmethod
    def of(
        cls, tokens: Tokens, *, energy_unit: Literal["MeV", "GeV"] = "GeV", maximum: int = 33, blank: str = "zero"
    ) -> TokenContract:
        """Return the contract of training tokens, with their means and standard deviations.

        Raises:
            ConfigError: their columns are no momentum.
            DataError: there are no tokens.
        """
        if not len(tokens.features):
            raise DataError("training tokens: there is not one, so that they have no mean.")
        there = in_units(tokens, energy_unit)
        centre, spread = _moments(there.features, there.valid)
        global_centre, global_spread = _moments(there.globals, there.global_valid)
        return cls(
            columns=there.columns,
            units=there.units,
            kinds=there.kinds,
            global_columns=there.global_columns,
            global_units=there.global_units,
            centre=centre,
            spread=spread,
            global_centre=global_centre,
            global_spread=global_spread,
            maximum=maximum,
            blank="centre" if blank == "centre" else "zero",
        )

    def plain(self) -> dict[str, Any]:
        """Return the contract as a JSON value."""
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return {"input": "tokens", **values}

    @classmethod
    def from_plain(cls, value: Mapping[str, Any]) -> TokenContract:
        """Return the contract that ``plain`` described.

        Raises:
            ConfigError: a key is missing or unknown, or it is of another input.
        """
        names = {"input", *(field.name for field in fields(cls))}
        if set(value) != names or value["input"] != "tokens":
            odd = sorted(names.symmetric_difference(value)) or ["input"]
            raise ConfigError(
                f"token contract: keys {odd} are missing, unknown or wrong; it has exactly {sorted(names)}."
            )
        plain: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in value.items()}
        plain.pop("input")
        return cls(**plain)

    def require(self, tokens: Tokens | TokenContract, where: str) -> None:
        """Check that tokens, or those of a contract, are in this one's units and have its columns, kinds and globals.

        Raises:
            ConfigError: they are not, or are images; the message names what, both sides and ``where``.
        """
        if not isinstance(tokens, Tokens | TokenContract):
            raise ConfigError(f"{where}: trained on tokens, but the detector gives images.")
        self._require_names(tokens, where)
        pairs = (
            (self.columns, self.units, tokens.columns, tokens.units),
            (self.global_columns, self.global_units, tokens.global_columns, tokens.global_units),
        )
        for columns, units, given_columns, given_units in pairs:
            for name, unit in zip(columns, units, strict=True):
                given = given_units[given_columns.index(name)]
                if given != unit:
                    hint = ""
                    if given in _ENERGY and unit in _ENERGY:
                        hint = f" Convert them: shiftlab.events.tokens.in_units(tokens, '{self.energy_unit}')."
                    raise ConfigError(f"{where}: trained with {name} in {unit}, but the tokens have {given}.{hint}")

    def converted(self, tokens: Tokens, where: str = "arms") -> Tokens:
        """Return the tokens with their energies in this contract's unit, which the tokens' own units make known.

        Raises:
            ConfigError: a column, kind or global is missing, or a unit differs otherwise than MeV from GeV.
        """
        self._require_names(tokens, where)
        there = in_units(tokens, self.energy_unit)
        self.require(there, where)
        return there

    def too_long(self, tokens: Tokens) -> Tensor:
        """Return bool (event,): events of more than ``maximum`` tokens."""
        return tokens.counts > self.maximum

    def _require_names(self, tokens: Tokens | TokenContract, where: str) -> None:
        wanted = (
            ("column", self.columns, tokens.columns),
            ("global", self.global_columns, tokens.global_columns),
        )
        for what, mine, given in wanted:
            missing = [name for name in mine if name not in given]
            if missing:
                raise ConfigError(f"{where}: trained with the {what} {missing[0]}, which the tokens lack.")
        if self.kinds:
            strange = [name for name in tokens.kinds if name not in self.kinds]
            if strange:
                raise ConfigError(
                    f"{where}: trained without tokens of kind {strange[0]}; known: {', '.join(self.kinds)}."
                )


_OF_GLOBALS: Final = ("global_units", "global_centre", "global_spread")

OMNILEARNED: Final = TokenContract(
    columns=("eta", "phi", "log_pT", "log_E"),
    units=("1", "rad", "log(GeV)", "log(GeV)"),
    centre=(0.0, 0.0, 1.11398, 1.43384),
    spread=(0.270949, 0.27426, 1.30273, 1.33559),
    maximum=150,
)
"""Jet constituents as OmniLearned was pre-trained on: angles about the jet's axis, GeV (``diffusion.get_ad_eps``)."""


def _moments(values: Tensor, valid: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of the valid entries of each column, to five digits."""
    chosen: list[tuple[float, float]] = []
    for column in range(values.shape[1]):
        kept = values[:, column][valid[:, column]].double()
        mean = float(kept.mean()) if len(kept) else 0.0
        width = float(kept.std(correction=0)) if len(kept) else 0.0
        chosen.append((_rounded(mean), _rounded(width) if width > _LEAST_SPREAD else 1.0))
    return tuple(mean for mean, _ in chosen), tuple(width for _, width in chosen)


def _rounded(value: float) -> float:
    if value == 0.0 or not math.isfinite(value):
        return value
    return round(value, _DIGITS - 1 - math.floor(math.log10(abs(value))))


def order_of(names: Sequence[str], given: Sequence[str]) -> list[int]:
    """Return where each of ``names`` lies in ``given``."""
    return [given.index(name) for name in names]
