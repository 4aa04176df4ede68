"""Light yield of the strips: the number of photoelectrons for a MeV of a minimum-ionising particle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Final

from shiftlab.detector import Effect, Parameter, Response, Stream, Value

__all__ = ["LightYield"]

_TOKENS: Final = ("em", "proton", "meson", "neutron", "other", "crosstalk")
_REASON: Final = "the light yield is part of every response to energy, which is uncertain as a whole"


class LightYield(Effect[Response]):
    """Photoelectrons times ``scale``: energies move by it, and their relative width by 1 / sqrt(scale)."""

    name: ClassVar[str] = "light_yield"
    stage: ClassVar[str] = "respond"
    catalogue: ClassVar[tuple[str, ...]] = ("S2",)
    needs: ClassVar[tuple[str, ...]] = ("light_yield",)
    changes: ClassVar[tuple[str, ...]] = ("light_yield",)
    double_counts: ClassVar[tuple[tuple[str, str, str], ...]] = tuple(
        ("scale", f"{one}_response_scale", _REASON) for one in _TOKENS
    )
    parameters = (
        Parameter(
            "scale",
            1.0,
            0.02,
            "1",
            (0.5, 1.5),
            identity=1.0,
            algebra="multiply",
            source="size of what calibration with muons leaves; the yield itself is 6.5 photoelectrons per MeV "
            "(vertical slice test, J. Chvojka and H. Budd)",
            confidence="C",
            doc="Light yield relative to nominal, while energies are worked out with the nominal one.",
        ),
    )

    def apply(self, events: Response, values: Mapping[str, Value], stream: Stream) -> Response:
        """Scale the light yield."""
        return replace(events, light_yield=events.light_yield * values["scale"])
