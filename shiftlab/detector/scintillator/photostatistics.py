"""From energy deposits to calibrated strips: quenching, light, attenuation, photoelectrons, threshold.

Every step is a function of its own, so that a detector effect can act between any two of them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Final

import torch
from torch import Tensor

from shiftlab.detector.medium import Value
from shiftlab.detector.scintillator.response import Response
from shiftlab.detector.scintillator.strips import StripGeometry
from shiftlab.detector.stream import Stream
from shiftlab.events.deposits import Deposits
from shiftlab.units import PARTICLES

__all__ = ["Hits", "Light", "calibrate", "collect", "count", "illuminate", "poisson", "quench", "quenching"]

_FIXED: Final = 2.0**20
"""Light is summed in whole millionths of a photoelectron, so that no sum depends on its order."""


@dataclass(frozen=True)
class Light:
    """Light that reaches the photocathode, one row per deposit inside the detector.

    Attributes:
        event: int64 (row,).
        channel: int64 (row,), plane * strips + strip.
        owner: int64 (row,), the visible particle that made it.
        photoelectrons: float64 (row,), expected.
        along: float64 (row,), cm, place along the strip.
    """

    event: Tensor
    channel: Tensor
    owner: Tensor
    photoelectrons: Tensor
    along: Tensor


@dataclass(frozen=True)
class Hits:
    """Strips with light, sorted by event, plane and strip; what the effects of stage ``couple`` work on.

    Attributes:
        geometry: Planes and strips.
        key: int64 (event,), the events' keys, for draws.
        event: int64 (hit,).
        plane: int64 (hit,).
        strip: int64 (hit,).
        owner: int64 (hit,), the visible particle with most of the light; -1 where no particle left it.
        expected: float64 (hit,), expected photoelectrons.
        count: float64 (hit,), photoelectrons; 0 before ``count``.
        energy: float64 (hit,), MeV, calibrated; 0 before ``calibrate``.
        along: float64 (hit,), cm, mean place of the light along the strip.
    """

    geometry: StripGeometry
    key: Tensor
    event: Tensor
    plane: Tensor
    strip: Tensor
    owner: Tensor
    expected: Tensor
    count: Tensor
    energy: Tensor
    along: Tensor

    def __len__(self) -> int:
        """Return the number of hits."""
        return len(self.event)

    @property
    def channel(self) -> Tensor:
        """int64 (hit,): readout channel, plane * strips + strip."""
        return self.plane * self.geometry.strips + self.strip

    def per_row(self, value: Value) -> Value:
        """Return a value per hit where ``value`` is per event, else the one number."""
        return value[self.event] if isinstance(value, Tensor) and value.dim() == 1 else value

    def where(self, mask: Tensor) -> Hits:
        """Return the hits where ``mask`` (hit,) is True; every event keeps its place."""
        rows = [field.name for field in fields(self) if field.name not in ("geometry", "key")]
        return replace(self, **{name: getattr(self, name)[mask] for name in rows})


def quenching(dedx: Tensor, birks: Value) -> Tensor:
    """Return 1 / (1 + kB dE/dx), the share of the energy that gives light, of the shape of ``dedx``.

    J. B. Birks, Proc. Phys. Soc. A64 (1951) 874. ``birks`` is kB; the units of ``dedx`` are the inverse of kB's.
    """
    return torch.as_tensor(1.0, dtype=dedx.dtype, device=dedx.device) / (1.0 + birks * dedx)


def quench(energy: Tensor, length: Tensor, particle: Tensor, response: Response) -> Tensor:
    """Return float64 (deposit,), MeV: energy seen, on the scale where a minimum-ionising particle is seen whole.

    Birks: E / (1 + kB dE/dx), over the same factor at the dE/dx of a MIP; J. B. Birks, Proc. Phys. Soc. A64
    (1951) 874. dE/dx is the step's own. A deposit without length is taken at the dE/dx of a MIP where an
    electron, photon or muon left it, and at ``response.point_dedx`` where anything else did (nuclear recoils).
    The constants are numbers, or tensors (deposit,) of ``response.rows``.
    """
    light = torch.tensor([PARTICLES.index(name) for name in ("gamma", "electron", "muon")], device=energy.device)
    point = torch.where(torch.isin(particle.long(), light), response.mip_dedx, response.point_dedx)
    length = length.double()
    dedx = torch.where(length > 0, energy.double() / length.clamp(min=1e-9), point)
    return energy.double() * (1 + response.birks * response.mip_dedx) / (1 + response.birks * dedx)


def illuminate(deposits: Deposits, owner: Tensor, geometry: StripGeometry, response: Response) -> Light:
    """Return the light of the deposits inside the detector; those outside are dropped, in every universe alike."""
    rows = torch.nonzero(geometry.inside(deposits.position) & (deposits.energy > 0)).squeeze(1)
    position = deposits.position[rows]
    plane = geometry.plane(position)
    strip = geometry.strip(position, plane)
    _, along = geometry.coordinates(position, plane)
    event = deposits.event_index[rows]
    here = response.rows(event)
    seen = quench(deposits.energy[rows], deposits.length[rows], deposits.particle[rows], here)
    arriving = seen * here.light_yield * torch.exp(along / here.attenuation_length)
    return Light(event, plane * geometry.strips + strip, owner[rows], arriving, along)


def collect(light: Light, keys: Tensor, geometry: StripGeometry) -> Hits:
    """Return the strips with light and the photoelectrons to be expected in each.

    Args:
        light: Light of the deposits.
        keys: int64 (event,), the events' keys.
        geometry: Strips.
    """
    channels = geometry.planes * geometry.strips
    amount = torch.round(light.photoelectrons * _FIXED).long()
    moment = torch.round(light.photoelectrons * light.along * _FIXED).long()
    cell, inverse = torch.unique(light.event * channels + light.channel, return_inverse=True)
    total = torch.zeros(len(cell), dtype=torch.int64, device=cell.device).index_add_(0, inverse, amount)
    moments = torch.zeros_like(total).index_add_(0, inverse, moment)
    expected = total.double() / _FIXED
    event, channel = cell // channels, cell % channels
    return Hits(
        geometry=geometry,
        key=keys,
        event=event,
        plane=channel // geometry.strips,
        strip=channel % geometry.strips,
        owner=_brightest(inverse, light.owner, amount, len(cell)),
        expected=expected,
        count=torch.zeros_like(expected),
        energy=torch.zeros_like(expected),
        along=moments.double() / total.clamp(min=1).double(),
    )


def count(hits: Hits, response: Response, stream: Stream) -> Hits:
    """Return the hits with photoelectrons drawn about the expected number.

    Poisson's law for ``response.statistics`` times the expected number, the draw divided by it: the mean is kept,
    the variance is expected / statistics. A draw depends on its event's key and its channel only; the same
    uniform number serves every universe.
    """
    uniform = stream.uniform("photoelectrons", hits.key[hits.event], hits.channel)
    share = hits.per_row(response.statistics)
    return replace(hits, count=poisson(hits.expected * share, uniform).double() / share)


def calibrate(hits: Hits, response: Response) -> Hits:
    """Return the hits at or above threshold with their energy, MeV.

    The discriminator lies half a photoelectron below the threshold, between the peaks of whole photoelectrons, so
    that it does not cut into one when ``response.statistics`` moves them. The energy is the number of photoelectrons
    over the light yield, corrected for the attenuation at the mean place of the light along the strip: that place is
    true, in place of one found from the other views.
    """
    kept = hits.where(hits.count > response.threshold - 0.5)
    here = response.rows(kept.event)
    energy = kept.count / here.light_yield * torch.exp(-kept.along / here.attenuation_length)
    return replace(kept, energy=energy)


def poisson(mean: Tensor, uniform: Tensor) -> Tensor:
    """Return int64 Poisson draws of each ``mean`` by inversion: the smallest k with P(N <= k) > uniform.

    P(N <= k) = Q(k + 1, mean), the regularised upper incomplete gamma function; k is found by bisection.

    Args:
        mean: float64 (...), not negative.
        uniform: float64 (...), in [0, 1).
    """
    spread = 12.0 * mean.sqrt() + 24.0
    low = (mean - spread).floor().clamp(min=-1.0)  # P(N <= low) is not above uniform
    high = (mean + spread).ceil()
    while bool((high - low > 1).any()):
        middle = ((low + high) / 2).floor()
        above = torch.special.gammaincc(middle + 1.0, mean) > uniform
        wide = high - low > 1
        high = torch.where(wide & above, middle, high)
        low = torch.where(wide & ~above, middle, low)
    return high.long()


def _brightest(cell: Tensor, owner: Tensor, amount: Tensor, cells: int) -> Tensor:
    """Return int64 (cell,): the owner with most light in each cell; of equals, the first."""
    if len(cell) == 0:
        return torch.zeros(0, dtype=torch.int64, device=cell.device)
    owners = int(owner.max()) + 1
    pair, inverse = torch.unique(cell * owners + owner, return_inverse=True)
    sums = torch.zeros(len(pair), dtype=torch.int64, device=cell.device).index_add_(0, inverse, amount)
    order = torch.argsort(sums, descending=True, stable=True)
    order = order[torch.argsort(pair[order] // owners, stable=True)]
    place = pair[order] // owners
    first = torch.ones(len(order), dtype=torch.bool, device=cell.device)
    first[1:] = place[1:] != place[:-1]
    found: Tensor = pair[order[first]] % owners
    return found
