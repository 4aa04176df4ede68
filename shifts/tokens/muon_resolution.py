"""Resolution of the matched muon's momentum: the reconstructed value moves towards the true one, or away from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch

from shiftlab.detector import Effect, Parameter, Stream, Value
from shiftlab.detector.scintillator.token_kinematics import four_momentum, per_token, require_tokens
from shiftlab.events.tokens import Tokens
from shifts.tokens.identity import idle
from shifts.tokens.muon import true_momentum, with_size

__all__ = ["MuonResolution"]


class MuonResolution(Effect[Tokens]):
    """|p| becomes p + ``fraction`` (p_true - p); a fraction of 1 gives the truth. Needs the muon's true momentum."""

    name: ClassVar[str] = "muon_resolution"
    stage: ClassVar[str] = "token"
    catalogue: ClassVar[tuple[str, ...]] = ("M9",)
    order: ClassVar[int] = 31
    needs: ClassVar[tuple[str, ...]] = ("features", "particle", "truth")
    changes: ClassVar[tuple[str, ...]] = ("features", "valid", "particle", "globals", "global_valid", "truth")
    parameters = (
        Parameter(
            "fraction",
            0.0,
            0.004,
            "1",
            (-0.5, 1.0),
            identity=0.0,
            source="muonResolution_Err (MinervaExpt/MAT-MINERvA utilities/NSFDefaults.h)",
            confidence="A",
            doc="Part of the error of the muon's momentum that is taken away.",
        ),
    )

    def apply(self, events: Tokens, values: Mapping[str, Value], stream: Stream) -> Tokens:
        """Change the muon token and the muon-like prong that repeats it."""
        if idle(self, values):
            return events
        require_tokens(events, self.name, "eta", "phi", "log_pT", "log_E")
        device = events.features.device
        fraction = per_token(events, torch.as_tensor(values["fraction"], dtype=torch.float64, device=device))
        true = true_momentum(events, self.name).norm(dim=1)
        size = four_momentum(events).momentum.norm(dim=1)
        return with_size(events, torch.where(true.isfinite(), size + fraction * (true - size), size), self.name)
