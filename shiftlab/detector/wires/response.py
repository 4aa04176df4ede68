"""What one electron that drifts past the wire planes makes of the waveform: field response times electronics."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Taps", "charge_taps", "cold_electronics", "field_current", "signal_taps"]

Floats = npt.NDArray[np.float64]

_FINE: Final = 0.02
"""Step in us of the grid on which field and electronics are folded."""

_LAST: Final = 10.0
"""us; the electronics' response is zero from there on (wire-cell-python)."""

_NEGLIGIBLE: Final = 3e-3
"""Taps below this part of the largest one are left out at both ends; what is left is rescaled to keep the charge."""

_SLOW: Final = 1.2
_FAST: Final = 0.8

_SMOOTHING: Final = 0.14
"""MHz: width of the Gaussian low-pass of signal processing, 1.1 us in time, as wide as what MicroBooNE uses
(arXiv:1802.08709 has 0.1 to 0.2 MHz)."""

_DAMPING: Final = 0.02
"""Frequencies at which the response is below this part of its largest are not enhanced: there it has zeros."""

_WINDOW: Final = 1024


class Taps(NamedTuple):
    """A finite filter: ``out[t] = sum_k weight[k] in[t - first - k]``, in ticks.

    Attributes:
        first: delay of the first tap, negative where the output comes before the input.
        weight: float64 (tap,).
    """

    first: int
    weight: Floats

    @property
    def last(self) -> int:
        """Delay of the last tap."""
        return self.first + len(self.weight) - 1


def cold_electronics(time: Floats, gain: float, shaping: float) -> Floats:
    """Return the impulse response of BNL's cold preamplifier and shaper (LArASIC), in the unit of ``gain``.

    A semi-Gaussian filter of fifth order (arXiv:1804.02583; poles as in its SPICE model, which wire-cell-python's
    ``electronics`` uses too), normalised to peak at ``gain``. The peak is at 1.17 ``shaping``.

    Args:
        time: us, any shape; the response is 0 outside (0, 10) us.
        gain: peak, say 4.7, 7.8, 14 or 25 mV/fC.
        shaping: us, say 0.5, 1, 2 or 3.
    """
    scale = next((norm for longest, norm in _NORMS if shaping <= longest), _NORMS[-1][1])
    t = np.clip(time, 0.0, _LAST) / shaping
    one, two, three, four = (np.exp(-2.82833 * t), np.exp(-2.40318 * t), 1.19361 * t, 2.5928 * t)
    cosine, sine, wide, broad = np.cos(three), np.sin(three), np.cos(2 * three), np.sin(2 * three)
    other, under, double, twice = np.cos(four), np.sin(four), np.cos(5.18561 * t), np.sin(5.18561 * t)
    result: Floats = (
        gain
        * scale
        * (
            4.31054 * np.exp(-2.94809 * t)
            + one
            * (-2.6202 * (cosine + cosine * wide + sine * broad) + 0.762456 * (sine - wide * sine + cosine * broad))
            + two
            * (
                0.464924 * (other + other * double + under * twice)
                - 0.327684 * (under - double * under + other * twice)
            )
        )
    )
    return np.where((time > 0) & (time < _LAST), result, 0.0)


_NORMS: Final = ((0.5, 10.146826), (1.0, 10.146828), (2.0, 10.122374), (np.inf, 10.120179))
"""Largest shaping time in us and the factor that brings the peak to the gain (wire-cell-python, sigproc.response)."""


def field_current(time: Floats, transit: float, collection: bool, mix: float = 0.0) -> Floats:
    """Return the current in e/us that one electron induces on the wire that it passes or ends on.

    A one-dimensional model after Ramo's theorem. The weighting potential of an induction wire rises along a cosine
    from 0 to 1 while the electron crosses the gap in front, and falls to 0 in the gap behind: the current is bipolar
    and its integral 0. A collection wire's current rises linearly through the last gap: unipolar, integral 1 e.

    Args:
        time: us since the electron is at the wire, any shape.
        transit: us that it takes through one gap between planes.
        collection: whether the wire collects it.
        mix: 0 the nominal field, 1 an alternative: slower in front (1.2 transits), faster behind (0.8), in between
            and beyond the linear interpolation of both currents. The integrals stay.
    """
    if collection:
        nominal, other = (np.where((time > -T) & (time <= 0), 2 * (time + T) / T**2, 0.0) for T in _times(transit)[:2])
    else:
        nominal, other = (_bipolar(time, *pair) for pair in ((transit, transit), _times(transit)[1:]))
    return nominal + mix * (other - nominal)


def _times(transit: float) -> tuple[float, float, float]:
    return transit, _SLOW * transit, _FAST * transit


def _bipolar(time: Floats, rise: float, fall: float) -> Floats:
    up = np.where((time > -rise) & (time <= 0), -0.5 * np.pi / rise * np.sin(np.pi * time / rise), 0.0)
    down = np.where((time > 0) & (time < fall), -0.5 * np.pi / fall * np.sin(np.pi * time / fall), 0.0)
    return up + down


@lru_cache(maxsize=256)
def signal_taps(
    tick: float, transit: float, shaping: float, collection: bool, stretch: float = 1.0, mix: float = 0.0
) -> Taps:
    """Return the waveform of one electron, in units of the peak that a sudden electron makes at nominal shaping.

    So noise is added in electrons (ENC), and a pulse much shorter than the shaping time peaks at its charge.

    Args:
        tick: us between samples.
        transit: us through one gap between planes.
        shaping: us.
        collection: whether the wire collects.
        stretch: of the electronics' response, h(t) to h(t / stretch) / stretch: its area stays.
        mix: of the field response, see ``field_current``.
    """
    reach = round(2.0 * transit / _FINE)
    # Both are taken in the middles of the steps, so that integrals are exact to second order.
    field = field_current(_FINE * (np.arange(-reach, reach, dtype=np.float64) + 0.5), transit, collection, mix)
    length = round(_LAST * stretch / _FINE)
    electronics = cold_electronics(
        _FINE * (np.arange(length, dtype=np.float64) + 0.5) / stretch, 1.0 / stretch, shaping
    )
    folded = np.convolve(field, electronics) * _FINE
    ticks = np.arange(-int(reach * _FINE / tick), int((reach + length) * _FINE / tick) + 1)
    sampled = np.interp(ticks * tick, _FINE * (np.arange(len(folded)) + 1 - reach), folded, 0.0, 0.0)
    taps = _trimmed(int(ticks[0]), sampled, _NEGLIGIBLE)
    # What is cut off must not leave charge: the sum is that of the whole response, 0 where the electron passes.
    excess = taps.weight.sum() - (sampled.sum() if collection else 0.0)
    size = np.abs(taps.weight)
    return Taps(taps.first, taps.weight - excess * size / size.sum())


@lru_cache(maxsize=16)
def charge_taps(tick: float, transit: float, shaping: float, collection: bool) -> Taps:
    """Return the filter of signal processing: it finds electrons per tick with the nominal response.

    In frequency F R* / (|R|^2 + c^2 |R(0)|^2), with F a Gaussian low-pass, R the nominal ``signal_taps`` and c = 0.02;
    of an induction plane R is that of the running sum of the waveform, which is unipolar. The sum of what it finds is
    the charge.
    """
    first, weight = signal_taps(tick, transit, shaping, collection)
    signal = weight if collection else np.cumsum(weight)
    window = np.zeros(_WINDOW)
    window[(first + np.arange(len(signal))) % _WINDOW] = signal
    frequency = np.fft.rfftfreq(_WINDOW, tick)
    low_pass = np.exp(-0.5 * (frequency / _SMOOTHING) ** 2)
    response = np.fft.rfft(window)
    damped = np.abs(response) ** 2 + (_DAMPING * np.abs(response[0])) ** 2
    inverse = np.fft.irfft(low_pass * np.conj(response) / damped, _WINDOW)
    taps = _trimmed(-(_WINDOW // 2), np.roll(inverse, _WINDOW // 2), _NEGLIGIBLE)
    return Taps(taps.first, taps.weight / (taps.weight.sum() * signal.sum()))


def _trimmed(first: int, weight: Floats, least: float) -> Taps:
    """Return the taps without what is negligible at both ends."""
    large = np.flatnonzero(np.abs(weight) > least * np.abs(weight).max())
    return Taps(first + int(large[0]), weight[large[0] : large[-1] + 1].copy())
