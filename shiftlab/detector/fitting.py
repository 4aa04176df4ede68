"""Which state each stage works on, and whether an effect can work there in a given detector."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from shiftlab.detector.effect import DEPOSIT_STAGES, LATTICE_STAGES, Effect
from shiftlab.detector.geometry import Geometry
from shiftlab.detector.prepared import Prepared
from shiftlab.detector.state import Cells, Charge
from shiftlab.errors import ConfigError

__all__ = ["refuse_unfit"]


def refuse_unfit(effect: Effect[Any], geometry: Geometry) -> None:
    """Raise ConfigError where an effect is of another read-out, or its stage takes none or lacks what it needs."""
    if effect.readout not in ("any", geometry.readout):
        raise ConfigError(
            f"effect {effect.name} is one of {effect.readout}, but the detector is read out by {geometry.readout}."
        )
    state: type[Prepared] | type[Charge] | type[Cells]
    if effect.stage == "generate":
        state = Prepared
    elif effect.stage in DEPOSIT_STAGES:
        state = Charge
    elif effect.stage in LATTICE_STAGES:
        state = Cells
    else:
        raise ConfigError(
            f"effect {effect.name}: stage '{effect.stage}' takes no effects; allowed: "
            f"{', '.join(('generate', *DEPOSIT_STAGES, *LATTICE_STAGES))}."
        )
    missing = [name for name in effect.needs if name not in {field.name for field in fields(state)}]
    if missing:
        raise ConfigError(f"effect {effect.name} needs {', '.join(missing)}, which stage {effect.stage} does not have.")
