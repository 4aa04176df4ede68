"""Sticky codes: the six lowest bits of a digitiser's code stick to all zeros or all ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Final

import torch

from shiftlab.detector import Cells, ConfigError, Effect, Parameter, Stream, Value

__all__ = ["StickyCodes", "stick"]

BLOCK: Final = 64
"""Codes whose lower six bits run once through all values."""


def stick(code: torch.Tensor) -> torch.Tensor:
    """Return whole codes (float64, any shape) with their six lowest bits at 0 or 63, whichever is nearer."""
    start = torch.floor(code / BLOCK) * BLOCK
    return torch.where(code - start < BLOCK // 2, start, start + (BLOCK - 1))


class StickyCodes(Effect[Cells]):
    """A cell's code ``round(charge / step)`` sticks with a probability; what does not stick is left as it is.

    The code is counted from the pedestal, which is a multiple of 64; so an empty cell stays empty when it sticks. The
    step is that of the digitiser: where the effect ``quantisation`` is in the chain, its step should be the same.
    """

    name: ClassVar[str] = "sticky_codes"
    stage: ClassVar[str] = "saturate"
    order: ClassVar[int] = 4
    catalogue: ClassVar[tuple[str, ...]] = ("P5",)
    needs: ClassVar[tuple[str, ...]] = ("key", "cell", "electrons")
    changes: ClassVar[tuple[str, ...]] = ("electrons",)
    smooth: ClassVar[bool] = False  # codes are whole numbers
    parameters = (
        Parameter(
            "probability",
            0.001,
            0.0005,
            "1",
            (0.0, 1.0),
            identity=0.0,
            scope="event",
            source="seen in ProtoDUNE-SP, arXiv:2007.06722; the size is a judgement",
            confidence="C",
            doc="Probability that a code sticks.",
        ),
        Parameter(
            "step",
            182.0,
            0.0,
            "e",
            (1.0, 20_000.0),
            source="182 electrons per code of a 12-bit digitiser of wires (MicroBooNE, arXiv:1705.07341, by way of "
            "JAXTPC's noise model)",
            confidence="B",
            doc="Charge of one code, at nominal gain.",
        ),
    )

    def apply(self, events: Cells, values: Mapping[str, Value], stream: Stream) -> Cells:
        """Let the codes of some cells stick."""
        probability = events.per_row(values["probability"])
        device = events.electrons.device
        step = torch.as_tensor(events.per_row(values["step"]), dtype=torch.float64, device=device)
        stuck = stick(torch.round(events.electrons / step)) * step
        draw = stream.uniform("cell", events.key, events.cell)
        return events.with_electrons(torch.where(draw < probability, stuck, events.electrons))

    def check(self, values: Mapping[str, float], floor: float) -> None:
        """Refuse a threshold that an empty cell could pass."""
        if -math.inf < floor <= 0:
            raise ConfigError("sticky_codes: cells without charge pass the threshold; raise threshold.level.")

    def least(self, level: float, values: Mapping[str, float]) -> float:
        """Return the smallest charge whose code sticks at ``level`` or above, or ``level`` itself."""
        if values["probability"] == 0 or math.isinf(level):
            return level
        step = values["step"]
        start = math.floor(level / step / BLOCK) * BLOCK
        if level <= start * step:
            return min(level, (start - 0.5) * step)
        # Codes from 32 on stick at 63; where that is below the level, the next block's first code is needed.
        enough = level <= (start + BLOCK - 1) * step
        return min(level, (start + BLOCK // 2 - 0.5 if enough else start + BLOCK - 0.5) * step)
