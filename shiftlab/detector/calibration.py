"""The energy scale: nominal constants for every voxel, and the muon peak that a recalibration restores."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from torch import Tensor

from shiftlab.detector.state import Cells
from shiftlab.errors import DataError
from shiftlab.events.image import Image
from shiftlab.units import ELECTRONS_PER_MEV

__all__ = ["calibrate", "muon_peak"]

_LOW: Final = 0.1
_HIGH: Final = 3.0
_STEP: Final = 0.0025
_WIDTH: Final = 0.10
_FEWEST: Final = 1000


def calibrate(cells: Cells, response: Tensor, scale: float) -> Image:
    """Return the image of cells with ``E = scale q W0 / response``, the response per drift layer.

    Args:
        cells: what passed the threshold.
        response: float64 (layer,), the nominal g0 R0 exp(-t / tau0) at each layer's centre.
        scale: recalibration factor on the energy.
    """
    energy = cells.electrons * (scale / (ELECTRONS_PER_MEV * response))[cells.layer]
    offsets = torch.zeros(len(cells.table) + 1, dtype=torch.int64, device=cells.cell.device)
    torch.cumsum(torch.bincount(cells.event, minlength=len(cells.table)), 0, out=offsets[1:])
    return Image(
        offsets=offsets,
        cell=cells.cell,
        charge=cells.electrons.to(torch.float32),
        energy=energy.to(torch.float32),
        shape=cells.geometry.shape,
        events=cells.table,
    )


def muon_peak(image: Image) -> float:
    """Return the most probable voxel energy of a muon sample in MeV.

    The maximum of the density of ln E (bins of 0.25%, filled linearly, smoothed with a Gaussian of 10%,
    interpolated with a parabola), between 0.1 and 3 MeV. The wide kernel makes the peak's statistical
    error small and its motion smooth; a factor on all energies moves it by exactly that factor, apart
    from the interpolation (below 1e-4).

    Raises:
        DataError: fewer than 1000 voxels lie in the range.
    """
    log = np.log(image.energy.detach().cpu().numpy().astype(np.float64))
    place = (log - np.log(_LOW)) / _STEP
    bins = int(np.ceil(np.log(_HIGH / _LOW) / _STEP))
    place = place[(place >= 0) & (place < bins - 1)]
    if len(place) < _FEWEST:
        raise DataError(
            f"the muon sample has {len(place)} voxels between {_LOW} and {_HIGH} MeV; the peak needs {_FEWEST}."
        )
    left = np.floor(place).astype(np.int64)
    share = place - left
    density = np.bincount(left, 1.0 - share, bins) + np.bincount(left + 1, share, bins)
    reach = np.arange(-4 * _WIDTH, 4 * _WIDTH + _STEP / 2, _STEP)
    smooth = np.convolve(density, np.exp(-0.5 * (reach / _WIDTH) ** 2), mode="same")
    top = int(np.clip(np.argmax(smooth), 1, bins - 2))
    below, here, above = smooth[top - 1 : top + 2]
    curve = below - 2.0 * here + above
    shift = 0.5 * (below - above) / curve if curve < 0 else 0.0
    return float(_LOW * np.exp((top + shift) * _STEP))
