"""Detectors by name, with the default priors of their effects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from shiftlab.detector.chain import Detector
from shiftlab.detector.effect import effects
from shiftlab.detector.geometry import Geometry
from shiftlab.errors import UnknownNameError

__all__ = ["detector"]

_EFFECTS: Final[Mapping[str, tuple[str, ...]]] = {
    "pixel_lar": ("recombination", "lifetime", "noise", "gain", "dead_channels", "dead_chips", "threshold"),
}


def detector(name: str = "pixel_lar") -> Detector:
    """Return a detector with default values: ``pixel_lar``, a 2.3 m cube of argon read by 3 mm pixels.

    Raises:
        UnknownNameError: there is no such detector; those of ``configs/detector`` are made by
            ``Detector.from_config(shiftlab.config.detector_config(name))``.
    """
    if name not in _EFFECTS:
        raise UnknownNameError("detector", name, _EFFECTS)
    return Detector(name, Geometry(), tuple(effects().get(effect)() for effect in _EFFECTS[name]))
