"""W value: the energy that an ion pair costs, so the number of electrons that a deposit sets free."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from shiftlab.detector import Charge, Effect, Medium, Parameter, Stream, Value
from shiftlab.units import W_ION_EV

__all__ = ["WValue"]


class WValue(Effect[Charge]):
    """Electrons per deposited energy, 1 / W.

    It moves all charge by one factor, as the gain does: a fit cannot tell the two apart in one detector. Light is not
    simulated; were it, charge and light would scale together, N_e + N_ph = 1.21 E / W.
    """

    name: ClassVar[str] = "w_value"
    stage: ClassVar[str] = "recombine"
    catalogue: ClassVar[tuple[str, ...]] = ("G5",)
    double_counts: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("w", "gain_scale", "both move all charge by one factor"),
    )
    needs: ClassVar[tuple[str, ...]] = ("electrons",)
    changes: ClassVar[tuple[str, ...]] = ("electrons",)
    parameters = (
        Parameter(
            "w",
            W_ION_EV,
            0.4,
            "eV",
            (19.5, 28.7),
            identity=W_ION_EV,
            source="Miyajima et al., PRA 9 (1974) 1438: 23.6 +0.5 -0.3, taken as 0.4 on both sides; bounds from "
            "larnd-sim-jax optimize/ranges.py",
            confidence="C",
            doc="Energy per ion pair; +1 sigma is 1.7% less charge.",
        ),
    )

    def apply(self, events: Charge, values: Mapping[str, Value], stream: Stream) -> Charge:
        """Multiply each deposit's charge by the nominal over the given energy per pair."""
        w = torch.as_tensor(events.per_row(values["w"]), dtype=torch.float64, device=events.electrons.device)
        return events.with_electrons(events.electrons * (W_ION_EV / w))

    def invert(self, events: Charge, values: Mapping[str, Value], stream: Stream) -> Charge:
        """Multiply each deposit's charge by the given over the nominal energy per pair."""
        w = torch.as_tensor(events.per_row(values["w"]), dtype=torch.float64, device=events.electrons.device)
        return events.with_electrons(events.electrons * (w / W_ION_EV))

    def response(self, medium: Medium, drift_time: Tensor, values: Mapping[str, float]) -> Tensor:
        """Return the same factor for every layer."""
        return torch.full_like(drift_time, W_ION_EV / values["w"])
