"""Efficiency of tagging the electron of a stopped muon's decay: a weight of the events that have such a tag."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch

from shiftlab.detector import DataError, Effect, Parameter, Stream, Value
from shiftlab.events.tokens import Tokens
from shifts.tokens.identity import idle
from shifts.tokens.weighting import weighted

__all__ = ["MichelEfficiency"]

_COUNT = "n_michel"


class MichelEfficiency(Effect[Tokens]):
    """Weight times ``scale`` for events with at least one tagged Michel electron; the others keep theirs.

    MAT-MINERvA gives this weight to all events of a selection by Michel electrons (``MichelSystematics.cxx``). The
    energy of the electron is part of the efficiency, so ``em_response`` leaves Michel electrons alone.
    """

    name: ClassVar[str] = "michel_efficiency"
    stage: ClassVar[str] = "weigh"
    catalogue: ClassVar[tuple[str, ...]] = ("M13",)
    needs: ClassVar[tuple[str, ...]] = ("globals", "weight")
    changes: ClassVar[tuple[str, ...]] = ("weight",)
    parameters = (
        Parameter(
            "scale",
            1.0,
            0.025,
            "1",
            (0.5, 1.5),
            identity=1.0,
            algebra="multiply",
            source="MichelTagEfficiency_Err (MinervaExpt/MAT-MINERvA utilities/NSFDefaults.h, docdb 27916)",
            confidence="A",
            doc="Efficiency of the Michel tag relative to nominal.",
        ),
    )

    def apply(self, events: Tokens, values: Mapping[str, Value], stream: Stream) -> Tokens:
        """Weigh the events with a tag.

        Raises:
            DataError: the tokens have no global ``n_michel``.
        """
        if idle(self, values):
            return events
        if _COUNT not in events.global_columns:
            raise DataError(f"effect {self.name} needs the global {_COUNT}; these tokens do not have it.")
        tagged = events.globals[:, events.global_columns.index(_COUNT)] > 0
        scale = torch.as_tensor(values["scale"], dtype=torch.float64, device=tagged.device)
        return weighted(events, torch.where(tagged, scale, 1.0))
