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

_ALLOWED: Final[Mapping[str, tuple[str, ...]]] = {
    # Each pair is two independent residuals: noise is measured with pulser triggers, the threshold with injected
    # charge; the gain has the residual of its pulser calibration, recombination that of its model.
    "pixel_lar": (
        "noise_enc+threshold_level",
        "gain_scale+recombination_alpha",
        "gain_scale+recombination_birks_a",
        "gain_scale+recombination_emb_alpha",
    ),
}


def detector(name: str = "pixel_lar") -> Detector:
    """Return a detector with default values: ``pixel_lar``, a 2.3 m cube of argon read by 3 mm pixels.

    Raises:
        UnknownNameError: there is no such detector; those of ``configs/detector`` are made by
            ``Detector.from_config(shiftlab.config.detector_config(name))``.
    """
    if name not in _EFFECTS:
        raise UnknownNameError("detector", name, _EFFECTS)
    made = tuple(effects().get(effect)() for effect in _EFFECTS[name])
    return Detector(name, Geometry(), made, allow_double_counting=_ALLOWED[name])
