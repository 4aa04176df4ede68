"""Scale of the matched muon's momentum: energy lost in the tracker, and range in the spectrometer behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch

from shiftlab.detector import Effect, Parameter, Stream, Value
from shiftlab.detector.scintillator.token_kinematics import four_momentum, per_token, require_tokens
from shiftlab.events.tokens import Tokens
from shifts.tokens.identity import idle
from shifts.tokens.muon import with_size

__all__ = ["MuonMomentum"]


class MuonMomentum(Effect[Tokens]):
    """|p| of the matched muon becomes ``scale`` |p| + ``offset``; direction kept, E on the mass shell.

    MAT-MINERvA scales only the part of p that the spectrometer measures; a token holds the whole, so ``scale`` moves
    somewhat more than it does there.
    """

    name: ClassVar[str] = "muon_momentum"
    stage: ClassVar[str] = "token"
    catalogue: ClassVar[tuple[str, ...]] = ("M7", "M8")
    order: ClassVar[int] = 30
    needs: ClassVar[tuple[str, ...]] = ("features", "particle")
    changes: ClassVar[tuple[str, ...]] = ("features", "valid", "particle", "globals", "global_valid", "truth")
    parameters = (
        Parameter(
            "offset",
            0.0,
            31.95,
            "MeV",
            (-200.0, 200.0),
            identity=0.0,
            source="tracker: 30 MeV of dE/dx and 11 MeV of mass in quadrature (MinervaExpt/MAT-MINERvA "
            "utilities/NSFDefaults.h; nuclear targets 43.5)",
            confidence="A",
            doc="Momentum lost in the tracker, added to the muon's.",
        ),
        Parameter(
            "scale",
            1.0,
            0.00984,
            "1",
            (0.8, 1.2),
            identity=1.0,
            source="MINOS range 0.984% (MinervaExpt/MAT-MINERvA utilities/NSFDefaults.h; curvature adds 0.6% above "
            "1 GeV, 2.5% below)",
            confidence="A",
            doc="Scale of the momentum by range in the spectrometer.",
        ),
    )

    def apply(self, events: Tokens, values: Mapping[str, Value], stream: Stream) -> Tokens:
        """Change the muon token and the muon-like prong that repeats it."""
        if idle(self, values):
            return events
        require_tokens(events, self.name, "eta", "phi", "log_pT", "log_E")
        scale, offset = (
            per_token(events, torch.as_tensor(values[name], dtype=torch.float64, device=events.features.device))
            for name in ("scale", "offset")
        )
        size = four_momentum(events).momentum.norm(dim=1)
        return with_size(events, size * scale + offset, self.name)
