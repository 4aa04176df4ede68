"""Wire-plane read-out of the same volume: geometry, response, regions of interest and signal processing."""

from shiftlab.detector.wires.geometry import WireGeometry
from shiftlab.detector.wires.regions import Regions, filtered, in_groups, regions
from shiftlab.detector.wires.response import Taps, cold_electronics, field_current, signal_taps

__all__ = [
    "Regions",
    "Taps",
    "WireGeometry",
    "cold_electronics",
    "field_current",
    "filtered",
    "in_groups",
    "regions",
    "signal_taps",
]
