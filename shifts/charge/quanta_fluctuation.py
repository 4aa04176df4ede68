"""Fluctuations of the charge of one deposit: of the number of ion pairs (Fano), and of those that recombine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from shiftlab.detector import Charge, Effect, Parameter, Stream, Value
from shiftlab.units import ELECTRONS_PER_MEV

__all__ = ["QuantaFluctuation", "charge_variance"]


def charge_variance(ions: Tensor, fraction: Tensor, fano: Value) -> Tensor:
    """Return the variance of the electrons that escape from ``ions`` pairs: N R (1 - R) + R^2 F N.

    Each pair recombines or not (binomial), and the number of pairs has the variance F N (Fano, Phys. Rev. 72 (1947)
    26).

    Args:
        ions: mean number of ion pairs, any shape.
        fraction: escaping fraction R, 0 to 1.
        fano: Fano factor.
    """
    return ions * fraction * (1.0 - fraction) + fraction * fraction * (fano * ions)


class QuantaFluctuation(Effect[Charge]):
    """Random charge of each deposit, with the mean that recombination gives.

    Two fixed normal draws a deposit, times ``strength``: 0 is no fluctuation, 1 nature's. It starts at 0, since
    images of deposits are larger than it by far (0.4% for 3 mm of a muon), and nominal images are easier to compare
    without; set the nominal strength to 1 to make it a known amount, where the Fano factor is uncertain.
    Deposits of a few electrons are kept from becoming negative by cutting both tails alike.
    """

    name: ClassVar[str] = "quanta_fluctuation"
    stage: ClassVar[str] = "recombine"
    catalogue: ClassVar[tuple[str, ...]] = ("G6",)
    order: ClassVar[int] = 10
    needs: ClassVar[tuple[str, ...]] = ("energy", "electrons")
    changes: ClassVar[tuple[str, ...]] = ("electrons",)
    parameters = (
        Parameter(
            "strength",
            0.0,
            1.0,
            "1",
            (0.0, 3.0),
            identity=0.0,
            two_sided=False,
            algebra="linear",
            source="0 none, 1 that of Fano and binomial statistics",
            confidence="A",
            doc="Size of the fluctuations over nature's; nothing is fluctuated less than not at all.",
        ),
        Parameter(
            "fano",
            0.1115,
            0.0045,
            "1",
            (0.0, 1.0),
            requires=("strength", 1.0),
            source="nestpy 2.1.3 get_fano_er (0.1115); range 0.107 to 0.116 with GAMPixPy physics_config/default.yaml",
            confidence="A",
            doc="Variance of the number of ion pairs over its mean.",
        ),
    )

    def apply(self, events: Charge, values: Mapping[str, Value], stream: Stream) -> Charge:
        """Add the fluctuation of each deposit's electrons; its ion pairs are those of its energy at 23.6 eV."""
        strength = values["strength"]
        if not isinstance(strength, Tensor) and strength == 0:
            return events
        mean = events.electrons
        ions = events.energy * ELECTRONS_PER_MEV
        # A file's own electrons may be more than the mean number of its ion pairs: nothing is left to recombine.
        fraction = torch.clamp(mean / torch.where(ions > 0, ions, 1.0), 0.0, 1.0)
        key, number = events.table.key[events.event], _number_in_event(events.event, len(events.table))
        fano = torch.as_tensor(events.per_row(values["fano"]), dtype=torch.float64, device=mean.device)
        pairs = fraction * torch.sqrt(fano * ions) * stream.normal("ions", key, number)
        escapes = torch.sqrt(ions * fraction * (1.0 - fraction)) * stream.normal("escapes", key, number)
        change = events.per_row(strength) * (pairs + escapes)
        return events.with_electrons(mean + torch.maximum(torch.minimum(change, mean), -mean))


def _number_in_event(event: Tensor, events: int) -> Tensor:
    """Return int64 (deposit,): place of each deposit in its event, from 0; ``event`` is ascending."""
    counts = torch.bincount(event, minlength=events)
    first = torch.cumsum(counts, 0) - counts
    return torch.arange(len(event), device=event.device) - first[event]
