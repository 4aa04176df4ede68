"""The energy scale: nominal constants for every voxel, and the muon peak that a recalibration restores."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shiftlab.detector.state import Cells
from shiftlab.errors import DataError
from shiftlab.events.image import Image
from shiftlab.units import ELECTRONS_PER_MEV

__all__ = ["calibrate", "mev_per_electron", "muon_peak"]

LAYERS: Final = 10
"""Lattice layers across the track whose energy is summed to one dE/dx."""

_LOW: Final = 0.7
_HIGH: Final = 7.0
_STEP: Final = 0.0025
_WIDTH: Final = 0.2
_FEWEST: Final = 100


def mev_per_electron(response: Tensor, scale: float) -> Tensor:
    """Return the constants scale W0 / response, of the response's shape; arguments as in ``calibrate``."""
    return scale / (ELECTRONS_PER_MEV * response)


def calibrate(cells: Cells, response: Tensor, scale: float) -> Image:
    """Return the image of cells with ``E = scale q W0 / response``, the response per drift layer.

    Args:
        cells: what passed the threshold.
        response: float64 (layer,), the nominal g0 R0 exp(-t / tau0) at each layer's centre, or (plane, layer).
        scale: recalibration factor on the energy.
    """
    energy = replace(cells, mev=mev_per_electron(response, scale)).energy
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


def muon_peak(image: Image, edges: float | tuple[float, float, float]) -> float:
    """Return the most probable dE/dx of a muon sample in MeV/cm, as the image shows it.

    The maximum of the density of ln dE/dx (bins of 0.25%, filled linearly, smoothed with a Gaussian of
    20%, interpolated with a parabola) between 0.7 and 7 MeV/cm, over all pieces of track (``track_dedx``).
    The wide kernel keeps the motion of the peak between universes smooth (60 muons fix it to 0.1%); a factor on all
    energies moves it by that factor, apart from the interpolation (below 1e-4).

    Args:
        image: muon events.
        edges: of a lattice cell, cm; one number for cubes; 0 along the index of wire planes, of which the last is used.

    Raises:
        DataError: fewer than 100 pieces of track lie in the range.
    """
    dedx = track_dedx(image, edges)
    dedx = dedx[(dedx > _LOW) & (dedx < _HIGH)]
    if len(dedx) < _FEWEST:
        raise DataError(
            f"the muon sample has {len(dedx)} pieces of track with {_LOW:g} to {_HIGH:g} MeV/cm; "
            f"recalibration needs {_FEWEST}."
        )
    bins = int(np.ceil(np.log(_HIGH / _LOW) / _STEP)) + 1
    place = np.log(dedx / _LOW) / _STEP
    left = np.floor(place).astype(np.int64)
    share = place - left
    density = np.bincount(left, 1.0 - share, bins + 1) + np.bincount(left + 1, share, bins + 1)
    reach = round(4 * _WIDTH / _STEP)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * _STEP / _WIDTH) ** 2)
    smooth = np.convolve(density, kernel, mode="same")
    top = int(np.clip(np.argmax(smooth), 1, bins - 1))
    below, here, above = smooth[top - 1 : top + 2]
    curve = below - 2.0 * here + above
    shift = 0.5 * (below - above) / curve if curve < 0 else 0.0
    return float(_LOW * np.exp((top + shift) * _STEP))


def track_dedx(image: Image, edges: float | tuple[float, float, float]) -> npt.NDArray[np.float64]:
    """Return dE/dx in MeV/cm of the pieces of straight tracks, one track per event.

    A piece is what lies in ten neighbouring lattice layers (of wires: as many as are as long) along the axis that is
    closest to the track, so that pieces are the same cells in every universe; its length follows from the direction
    of the track, the principal axis of the event's energy. A wire plane shows the direction in projection only, so
    that dE/dx is too large there, by a factor of each track that no universe changes.
    """
    edges = (edges, edges, edges) if isinstance(edges, float | int) else edges
    if min(edges) == 0:
        image = image.keep(image.index[:, 1] == image.shape[1] - 1)
    energy = image.energy.detach().cpu().numpy().astype(np.float64)
    index = image.index.cpu().numpy()
    event = image.event_index.cpu().numpy()
    pitch = max(edges)
    scale = np.array([edge / pitch for edge in edges])
    layers = np.array([round(LAYERS * pitch / edge) if edge else LAYERS for edge in edges])
    direction = np.abs(_principal_axis(index * scale, energy, event, len(image)))
    axis = np.argmax(direction, axis=1)
    piece = index[np.arange(len(event)), axis[event]] // layers[axis[event]]
    pieces = -(-max(image.shape) // LAYERS)
    total = np.bincount(event * pieces + piece, energy, len(image) * pieces).reshape(len(image), pieces)
    along = direction[np.arange(len(image)), axis]
    length = (layers * np.array(edges))[axis]
    dedx: npt.NDArray[np.float64] = (total * (along / length)[:, None])[total > 0]
    return dedx


def _principal_axis(
    point: npt.NDArray[np.float64], weight: npt.NDArray[np.float64], event: npt.NDArray[np.int64], events: int
) -> npt.NDArray[np.float64]:
    """Return the unit vector (event, 3) along which each event's weighted points (point, 3) spread most."""
    total = np.maximum(np.bincount(event, weight, events), np.finfo(np.float64).tiny)
    centre = np.stack([np.bincount(event, weight * point[:, i], events) for i in range(3)], axis=1) / total[:, None]
    away = point - centre[event]
    moments = np.zeros((events, 3, 3))
    for i in range(3):
        for j in range(3):
            moments[:, i, j] = np.bincount(event, weight * away[:, i] * away[:, j], events) / total
    return np.asarray(np.linalg.eigh(moments).eigenvectors[:, :, 2])
