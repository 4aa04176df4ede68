"""Efficiency of matching a muon to the spectrometer behind the tracker: a weight that depends on its angle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from shiftlab.detector import Effect, Parameter, Stream, Value
from shiftlab.detector.scintillator.clusters import total
from shiftlab.detector.scintillator.token_kinematics import is_kind, require_tokens
from shiftlab.events.tokens import Tokens
from shifts.tokens.identity import idle
from shifts.tokens.weighting import weighted

__all__ = ["TrackingEfficiency", "matching_error"]


def matching_error(theta: Tensor) -> Tensor:
    """Return the relative error of the matching efficiency at ``theta``, degrees from the beam, any shape.

    sqrt(0.01^2 + (1 - e)^2) with e = 0.99079 + 4.24729e-4 theta - 7.20874e-5 theta^2 between 0 and 40 degrees
    (MinervaExpt/MAT-MINERvA weighters/MinosMuonEfficiencyCorrection.cxx, ``GetCorrectionErr``, neutrino mode).
    """
    theta = theta.clamp(0.0, 40.0)
    efficiency = 0.99079 + 4.24729e-4 * theta - 7.20874e-5 * theta**2
    return (0.01**2 + (1.0 - efficiency) ** 2).sqrt()


class TrackingEfficiency(Effect[Tokens]):
    """Weight times 1 + ``matching`` err(theta) for events with a muon token, err from 1.4% at 0 to 11% at 40 degrees.

    The angle is that of the token, after all shifts of the tokens.
    """

    name: ClassVar[str] = "tracking_efficiency"
    stage: ClassVar[str] = "weigh"
    catalogue: ClassVar[tuple[str, ...]] = ("M12",)
    needs: ClassVar[tuple[str, ...]] = ("features", "particle", "weight")
    changes: ClassVar[tuple[str, ...]] = ("weight",)
    parameters = (
        Parameter(
            "matching",
            0.0,
            1.0,
            "1",
            (-5.0, 5.0),
            identity=0.0,
            algebra="none",
            source="GetCorrectionErr (MinervaExpt/MAT-MINERvA weighters/MinosMuonEfficiencyCorrection.cxx)",
            confidence="A",
            doc="Efficiency of the muon's match, in units of its own error at the muon's angle.",
        ),
    )

    def apply(self, events: Tokens, values: Mapping[str, Value], stream: Stream) -> Tokens:
        """Weigh the events that have a muon token."""
        if idle(self, values):
            return events
        require_tokens(events, self.name, "eta")
        muon = is_kind(events, "muon")
        theta = torch.rad2deg(2.0 * (-events.column("eta").double()).exp().atan())
        error = total(matching_error(theta) * muon, events.event_index, len(events))
        return weighted(events, 1.0 + values["matching"] * error)
