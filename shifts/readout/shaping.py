"""Shaping of the cold electronics: a stretch of the impulse response in time that keeps its area."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from shiftlab.detector import Cells, Effect, Electronics, Oracle, Parameter, Stream, Value, cold_electronics, numbers

__all__ = ["ColdElectronics", "Shaping"]

Floats = npt.NDArray[np.float64]


class Shaping(Effect[Cells]):
    """Impulse response h(t) to h(t / s) / s: same area, peak over s, peak time times s.

    Signal processing goes on to assume the nominal response, as in ICARUS's ``signalstretch`` samples, which divide
    the gain by s to keep the charge.
    """

    name: ClassVar[str] = "shaping"
    stage: ClassVar[str] = "shape"
    catalogue: ClassVar[tuple[str, ...]] = ("E5",)
    readout = "wires"
    needs: ClassVar[tuple[str, ...]] = ("electronics",)
    changes: ClassVar[tuple[str, ...]] = ("electronics",)
    parameters = (
        Parameter(
            "stretch",
            1.0,
            0.3,
            "1",
            (0.5, 2.0),
            identity=1.0,
            source="envelope of ICARUS (icaruscode signalstretch_up and signalstretch_down, 0.7 and 1.3)",
            confidence="A",
            doc="Factor on all times of the electronics' impulse response.",
        ),
    )

    def apply(self, events: Cells, values: Mapping[str, Value], stream: Stream) -> Cells:
        """Stretch the response with which signals will be formed."""
        record = events.electronics or Electronics()
        return replace(events, electronics=replace(record, stretch=record.stretch * values["stretch"]))


class ColdElectronics(Oracle):
    """Impulse response of the LArASIC in 16 settings, from wire-cell-python."""

    name: ClassVar[str] = "cold_electronics_response"
    inputs: ClassVar[tuple[str, ...]] = ("gain_mV_fC", "shaping_us", "t_us")
    expected: ClassVar[Mapping[str, tuple[float, float]]] = {
        "h_mV_per_fC": (1e-6, 1e-9),
        "peak_mV_per_fC": (1e-6, 0.0),
        "peak_time_us": (0.0, 1e-3),  # given on a grid of 1 ns
        "area_mV_us_per_fC": (1e-6, 0.0),
    }

    def compute(self, table: Mapping[str, npt.NDArray[np.str_]]) -> dict[str, Floats]:
        """Return the response at each time, and peak, peak time and area (0 to 10 us) of each setting."""
        gain, shaping, time = (numbers(table[name]) for name in self.inputs)
        grid = np.arange(0.0, 10.0, 1e-3)
        curves = [cold_electronics(grid, g, s) for g, s in zip(gain, shaping, strict=True)]
        here = [float(cold_electronics(np.array([t]), g, s)[0]) for t, g, s in zip(time, gain, shaping, strict=True)]
        return {
            "h_mV_per_fC": np.array(here),
            "peak_mV_per_fC": np.array([curve.max() for curve in curves]),
            "peak_time_us": np.array([grid[curve.argmax()] for curve in curves]),
            "area_mV_us_per_fC": np.array([curve.sum() * 1e-3 for curve in curves]),
        }
