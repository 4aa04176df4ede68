"""Resolution of the matched muon's angles: each projection moves towards the true one, or away from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from shiftlab.detector import Effect, Parameter, Stream, Value
from shiftlab.detector.scintillator.token_kinematics import four_momentum, matched_muons, per_token, require_tokens
from shiftlab.events.tokens import Tokens
from shifts.tokens.identity import idle
from shifts.tokens.muon import true_momentum, with_direction

__all__ = ["MuonAngle"]

_SOURCE = "muon_angle_frac_res 2% (MinervaExpt/MAT-MINERvA utilities/NSFDefaults.h)"


class MuonAngle(Effect[Tokens]):
    """theta_x and theta_y become theta + fraction (theta_true - theta); |p| and E stay. Needs the true momentum.

    theta_x = atan2(px, pz) and theta_y = atan2(py, pz), as in MAT-MINERvA's ``MuonResolutionSystematics.cxx``. Muons
    that go backward stay.
    """

    name: ClassVar[str] = "muon_angle"
    stage: ClassVar[str] = "token"
    catalogue: ClassVar[tuple[str, ...]] = ("M10",)
    order: ClassVar[int] = 32
    needs: ClassVar[tuple[str, ...]] = ("features", "particle", "truth")
    changes: ClassVar[tuple[str, ...]] = ("features", "globals", "global_valid")
    parameters = tuple(
        Parameter(
            axis,
            0.0,
            0.02,
            "1",
            (-0.5, 1.0),
            identity=0.0,
            source=_SOURCE,
            confidence="A",
            doc=f"Part of the error of the muon's angle in {axis} that is taken away.",
        )
        for axis in "xy"
    )

    def apply(self, events: Tokens, values: Mapping[str, Value], stream: Stream) -> Tokens:
        """Turn the muon token and the muon-like prong that repeats it."""
        if idle(self, values):
            return events
        require_tokens(events, self.name, "eta", "phi", "log_pT", "log_E")
        parts = [torch.as_tensor(values[axis], dtype=torch.float64, device=events.features.device) for axis in "xy"]
        fraction = [torch.as_tensor(per_token(events, part)) for part in parts]
        true, reconstructed = true_momentum(events, self.name), four_momentum(events).momentum
        old, aim = _angles(reconstructed), _angles(true)
        new = torch.stack([old[:, i] + part * (aim[:, i] - old[:, i]) for i, part in enumerate(fraction)], dim=1)
        moved = sum((part != 0).expand(len(old)) for part in fraction) > 0
        forward = (reconstructed[:, 2] > 0) & (true[:, 2] > 0)
        return with_direction(events, new.tan(), matched_muons(events) & forward & moved)


def _angles(momentum: Tensor) -> Tensor:
    """Return float64 (token, 2), rad: the two projected angles to the beam."""
    return torch.stack([torch.atan2(momentum[:, axis], momentum[:, 2]) for axis in (0, 1)], dim=1)
