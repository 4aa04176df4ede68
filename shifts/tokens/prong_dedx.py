"""Scale of the mean dE/dx of prongs: what tells a stopping proton from a pion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import torch

from shiftlab.detector import Effect, Parameter, Stream, Value
from shiftlab.detector.scintillator.token_kinematics import is_kind, per_token, require_tokens, with_columns
from shiftlab.events.tokens import Tokens
from shifts.tokens.identity import idle

__all__ = ["ProngDedx"]

_FLOOR: Final = 0.1
_CAP: Final = 100.0
"""MeV/cm: minerva-ml stores log(|dE/dx| + 0.1) with dE/dx of at most 100."""


class ProngDedx(Effect[Tokens]):
    """dE/dx of every prong times ``scale``, before logarithm and cap; hypotheses and energies stay.

    Prongs without a dE/dx, which the file marks, keep their mark. A prong at the cap keeps the cap where the scale is
    larger than 1; where it is smaller, the cap is taken for its dE/dx, so that the effect cannot be undone there.
    """

    name: ClassVar[str] = "prong_dedx"
    stage: ClassVar[str] = "token"
    catalogue: ClassVar[tuple[str, ...]] = ("M14",)
    order: ClassVar[int] = 40
    needs: ClassVar[tuple[str, ...]] = ("features", "valid", "particle")
    changes: ClassVar[tuple[str, ...]] = ("features",)
    parameters = (
        Parameter(
            "scale",
            1.0,
            0.024,
            "1",
            (0.5, 1.5),
            identity=1.0,
            source="response to muons 2.4% (MinervaExpt/MAT-MINERvA utilities/ParticleResponseDefaults.h)",
            confidence="A",
            doc="Scale of prongs' dE/dx.",
        ),
    )

    def apply(self, events: Tokens, values: Mapping[str, Value], stream: Stream) -> Tokens:
        """Scale the measured entries of the column."""
        if idle(self, values):
            return events
        require_tokens(events, self.name, "log_dEdx")
        device = events.features.device
        scale = torch.as_tensor(per_token(events, torch.as_tensor(values["scale"], dtype=torch.float64, device=device)))
        dedx = (events.column("log_dEdx").double().exp() - _FLOOR).clamp(min=0.0)
        prong = is_kind(events, "prong_3", "prong_8", "prong_13", "prong_aggregate")
        return with_columns(
            events, prong & (scale != 1.0), {"log_dEdx": ((dedx * scale).clamp(max=_CAP) + _FLOOR).log()}
        )
