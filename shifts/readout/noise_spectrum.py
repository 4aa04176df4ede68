"""Electronic noise of wires as measured: it grows with the wire's length and has the spectrum of the preamplifier."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shiftlab.detector import (
    Cells,
    ConfigError,
    Effect,
    Oracle,
    Parameter,
    Stream,
    Taps,
    Value,
    WireGeometry,
    cold_electronics,
    filtered,
    in_groups,
    numbers,
    regions,
)

__all__ = ["NoiseLength", "NoiseSpectrum", "noise_rms", "series_taps"]

Floats = npt.NDArray[np.float64]

ELECTRONS_PER_ADC: Final = 182.0
"""MicroBooNE's calibration of its induction planes (arXiv:1705.07341)."""


def noise_rms(length: Floats, white: float, series: float, slope: float) -> Floats:
    """Return sqrt(white^2 + (series + slope L)^2), arXiv:1705.07341 eq. 3.6, in the unit of its constants.

    Args:
        length: L, m, any shape.
        white: part that no wire adds to.
        series: part of the preamplifier's input without a wire.
        slope: per metre, of the wire's capacitance.
    """
    result: Floats = np.hypot(white, series + slope * length)
    return result


@lru_cache(maxsize=8)
def series_taps(tick: float, shaping: float) -> Taps:
    """Return the filter that gives white noise the spectrum of series noise: f H(f), H the shaper; unit power.

    A step of voltage at the preamplifier's input is a spike of current through the wire's capacitance, so that white
    voltage noise comes out as the derivative of the shaper's response. The spectrum vanishes at 0, peaks near
    0.2 / shaping and falls towards high frequencies, as MicroBooNE measured (arXiv:1705.07341 fig. 9).
    """
    time = tick * np.arange(int(10.0 / tick), dtype=np.float64)
    step = 1e-3
    after, before = (cold_electronics(time + sign * step, 1.0, shaping) for sign in (1.0, -1.0))
    slope: Floats = (after - before) / (2 * step)
    last = int(np.flatnonzero(np.abs(slope) > 1e-3 * np.abs(slope).max())[-1]) + 1
    kept = slope[:last] - slope[:last].mean()
    return Taps(0, kept / np.sqrt(np.sum(kept**2)))


class NoiseSpectrum(Effect[Cells]):
    """Noise of standard deviation ``scale sqrt(white^2 + (series + slope L)^2)`` on a wire of length L.

    The white part is one keyed draw a sample, the series part a filter over keyed draws of the samples before it, so
    that a sample's noise is the same whatever region it is recorded in. Away from charge no sample is made.
    """

    name: ClassVar[str] = "noise_spectrum"
    stage: ClassVar[str] = "add_noise"
    catalogue: ClassVar[tuple[str, ...]] = ("E7", "E8")
    readout = "wires"
    double_counts: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("scale", "noise_enc", "both are the noise of the same amplifiers"),
    )
    needs: ClassVar[tuple[str, ...]] = ("event", "key", "cell", "electrons")
    changes: ClassVar[tuple[str, ...]] = ("electrons",)
    parameters = (
        Parameter(
            "scale",
            1.0,
            0.0376,
            "1",
            (0.0, 3.0),
            identity=0.0,
            algebra="linear",
            source="ICARUS (icaruscode, detsim_2d_TPCnoise intm1 and intp1)",
            confidence="A",
            doc="Factor on all noise; 0 takes it away.",
        ),
        Parameter(
            "white",
            0.9 * ELECTRONS_PER_ADC,
            0.0,
            "e",
            (0.0, 2000.0),
            source="0.9 ADC in MicroBooNE (arXiv:1705.07341; constants as in JAXTPC)",
            confidence="A",
            doc="Part of the noise with a flat spectrum.",
        ),
        Parameter(
            "series",
            0.79 * ELECTRONS_PER_ADC,
            0.0,
            "e",
            (0.0, 2000.0),
            source="0.79 ADC in MicroBooNE (arXiv:1705.07341; constants as in JAXTPC)",
            confidence="A",
            doc="Part of the preamplifier's input without a wire.",
        ),
        Parameter(
            "slope",
            0.22 * ELECTRONS_PER_ADC,
            0.0,
            "e/m",
            (0.0, 1000.0),
            source="0.22 ADC/m in MicroBooNE (arXiv:1705.07341; constants as in JAXTPC)",
            confidence="A",
            doc="What each metre of wire adds to the series part.",
        ),
    )

    def apply(self, events: Cells, values: Mapping[str, Value], stream: Stream) -> Cells:
        """Add each sample's noise."""
        scale = values["scale"]
        if not isinstance(scale, Tensor) and scale == 0:
            return events

        geometry = _geometry(events)
        lengths = geometry.wire_length(torch.arange(geometry.channels, device=events.cell.device)) / 100.0

        def noisy(part: Cells) -> Cells:
            white, coloured = _draws(part, stream)
            metres = lengths.index_select(0, part.channel)
            series = part.per_row(values["series"]) + part.per_row(values["slope"]) * metres
            noise = part.per_row(values["white"]) * white + series * coloured
            return part.with_electrons(part.electrons + part.per_row(scale) * noise)

        return in_groups(events, noisy)


def _geometry(cells: Cells) -> WireGeometry:
    if not isinstance(cells.geometry, WireGeometry):
        raise ConfigError("noise_spectrum: the detector is not read out by wires.")
    return cells.geometry


def _draws(cells: Cells, stream: Stream) -> tuple[Tensor, Tensor]:
    """Return float64 (row,) draws of unit variance: white, and with the spectrum of series noise."""
    geometry = _geometry(cells)
    taps = series_taps(geometry.tick, geometry.shaping)
    runs = regions(cells, gap=taps.last)
    wire = stream.bits("wire", cells.table.key[runs.event], runs.channel)
    run = runs.run_of()
    place = torch.arange(runs.size, device=run.device)
    # Within a run, each sample's number is that of its wire and event plus its tick: one word that no other has.
    sample = (wire + runs.first - runs.start).index_select(0, run) + place if len(wire) else place
    series = filtered(stream.normal("series", sample).to(torch.float64), taps)
    white = stream.normal("white", runs.taken(sample)).to(torch.float64)
    return white, runs.taken(series)


class NoiseLength(Oracle):
    """Noise against the length of the wire: the formula, and what a generator of MicroBooNE's noise measured."""

    name: ClassVar[str] = "noise_enc_vs_length"
    inputs: ClassVar[tuple[str, ...]] = ("wire_length_m", "x_ADC", "y_ADC", "z_ADC_per_m")
    expected: ClassVar[Mapping[str, tuple[float, float]]] = {
        "expected_rms_ADC": (1e-6, 0.0),
        "ENC_e": (1e-6, 0.0),
        "measured_rms_ADC": (2e-3, 0.0),  # of 64 x 9600 samples there: 0.1% statistical error
    }

    def compute(self, table: Mapping[str, npt.NDArray[np.str_]]) -> dict[str, Floats]:
        """Return the noise in ADC counts (twice, beside the formula and the measurement) and in electrons."""
        length, white, series, slope = (numbers(table[name]) for name in self.inputs)
        found = np.array(
            [float(noise_rms(np.array(a), b, c, d)) for a, b, c, d in zip(length, white, series, slope, strict=True)]
        )
        return {"expected_rms_ADC": found, "ENC_e": found * ELECTRONS_PER_ADC, "measured_rms_ADC": found}
