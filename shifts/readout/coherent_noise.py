"""Coherent noise: a fluctuation that all readout channels of a chip or board share at one time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from shiftlab.detector import Cells, ConfigError, Effect, Parameter, Stream, Value
from shifts.readout.gain import LARGEST_NORMAL

__all__ = ["CoherentNoise"]


class CoherentNoise(Effect[Cells]):
    """Input-referred noise, one normal per event, chip or board, and drift layer, added to all cells of the three.

    A cell without a row is empty and gets a row from the intrinsic noise when that, with the largest coherent one on
    top, can pass the threshold (``least``); so the empty cells that this effect lifts above threshold are all there.
    The intrinsic noise acts first.
    """

    name: ClassVar[str] = "coherent_noise"
    stage: ClassVar[str] = "add_noise"
    order: ClassVar[int] = 1
    catalogue: ClassVar[tuple[str, ...]] = ("E9",)
    needs: ClassVar[tuple[str, ...]] = ("key", "cell", "electrons")
    changes: ClassVar[tuple[str, ...]] = ("electrons",)
    parameters = (
        Parameter(
            "rms",
            100.0,
            4.35,
            "e",
            (0.0, 2000.0),
            identity=0.0,
            algebra="linear",
            source="relative size of the scale: 4.35%, ICARUS (icaruscode detsim_2d_TPCnoise coh variations, grade A); "
            "nominal a judgement",
            confidence="C",
            doc="Standard deviation of the noise that the channels of a chip or board share.",
        ),
    )

    def apply(self, events: Cells, values: Mapping[str, Value], stream: Stream) -> Cells:
        """Add the common fluctuation of its board and layer to each cell."""
        rms = values["rms"]
        if not isinstance(rms, Tensor) and rms == 0:
            return events
        self._refuse_flooding(events.floor, rms)
        board = events.geometry.chip_of(events.channel)
        z = stream.normal("board", events.key, board, events.layer).to(torch.float64)
        return events.with_electrons(events.electrons + events.per_row(rms) * z)

    def check(self, values: Mapping[str, float], floor: float) -> None:
        """Refuse noise that lifts whole boards above threshold."""
        self._refuse_flooding(torch.tensor([floor], dtype=torch.float64), values["rms"])

    def least(self, level: float, values: Mapping[str, float]) -> float:
        """Return the charge that the largest fluctuation brings to ``level``."""
        return level - LARGEST_NORMAL * values["rms"]

    @staticmethod
    def _refuse_flooding(floor: Tensor, rms: Value) -> None:
        if bool(((floor > -math.inf) & (floor <= 0)).any()):
            raise ConfigError(
                f"coherent_noise: rms = {rms} e is so strong that it alone lifts whole boards above threshold; lower "
                f"coherent_noise.rms, or raise threshold.level above {LARGEST_NORMAL:g} times it."
            )
