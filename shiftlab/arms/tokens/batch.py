"""Token events as a body takes them: packed, in the units of its contract, with the noise level of each event."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from shiftlab.arms.packed import Packed
from shiftlab.arms.tokens.contract import KINEMATICS, TokenContract, order_of
from shiftlab.events.tokens import Tokens

__all__ = ["TokenBatch"]

_MEV = {"MeV": 1.0, "GeV": 1000.0}


@dataclass(frozen=True)
class TokenBatch(Packed):
    """Packed tokens of some events.

    Attributes:
        values: float32 (token, column), in the contract's order and units; blank entries as the contract says.
        valid: bool (token, column), False where an entry is blank.
        kind: int64 (token,), place of the token's kind in the contract.
        numbers: float32 (event, global), in the contract's order and units; blank entries as the contract says.
        numbers_valid: bool (event, global).
        summed_energy: float32 (event,), sum of the tokens' energies, MeV; particle mass included, and a muon that
            the file has twice counts twice.
        label: int64 (event,), generator class; -1 where there is none or it was not asked for.
        time: float32 (event,), how much of the momenta is noise, 0 to 1: 0 for events as they are.
    """

    of_tokens = ("values", "valid", "kind")
    of_events = ("numbers", "numbers_valid", "summed_energy", "label", "time")
    values: Tensor
    valid: Tensor
    kind: Tensor
    numbers: Tensor
    numbers_valid: Tensor
    summed_energy: Tensor
    label: Tensor
    time: Tensor

    @classmethod
    def of(cls, tokens: Tokens, contract: TokenContract, where: str = "arms") -> TokenBatch:
        """Return the events of ``tokens``, which must be in the contract's own units.

        Raises:
            ConfigError: they are not (``TokenContract.converted`` makes them so), or something is missing.
        """
        contract.require(tokens, where)
        columns = order_of(contract.columns, tokens.columns)
        globals_ = order_of(contract.global_columns, tokens.global_columns)
        valid, numbers_valid = tokens.valid[:, columns], tokens.global_valid[:, globals_]
        device, count = tokens.offsets.device, len(tokens)
        kind = tokens.particle
        if contract.kinds:
            kind = torch.tensor(order_of(tokens.kinds, contract.kinds) or [0], device=device)[kind]
        energy = torch.where(valid[:, 3], tokens.features[:, columns[3]].double().exp(), 0.0)
        summed = torch.zeros(count, dtype=torch.float64, device=device).index_add_(0, tokens.event_index, energy)
        return cls(
            offsets=tokens.offsets,
            values=_filled(tokens.features[:, columns], valid, contract.blank, contract.centre),
            valid=valid,
            kind=kind,
            numbers=_filled(tokens.globals[:, globals_], numbers_valid, contract.blank, contract.global_centre),
            numbers_valid=numbers_valid,
            summed_energy=(summed * _MEV[contract.energy_unit]).float(),
            label=torch.full((count,), -1, dtype=torch.int64, device=device),
            time=torch.zeros(count, device=device),
        )

    @property
    def device(self) -> torch.device:
        """Where the numbers are."""
        return self.values.device

    @property
    def centroid(self) -> Tensor:
        """float32 (event, 3): the origin, since tokens have no common place."""
        return torch.zeros(len(self), 3, device=self.device)

    @property
    def order(self) -> Tensor:
        """int64 (token,): the row of each token."""
        return torch.arange(len(self.values), device=self.device)

    @property
    def momenta(self) -> Tensor:
        """float32 (token, 4): two angles, log pT and log E; what flow matching makes noise of."""
        return self.values[:, :KINEMATICS]

    def noised(self, momenta: Tensor, time: Tensor) -> TokenBatch:
        """Return the same events with other ``momenta`` (token, 4) at noise level ``time`` (event,)."""
        return replace(self, values=torch.cat([momenta, self.values[:, KINEMATICS:]], dim=1), time=time)


def _filled(values: Tensor, valid: Tensor, blank: str, centre: tuple[float, ...]) -> Tensor:
    """Return float32 (row, column) with 0 or the column's centre where an entry is blank."""
    fill = values.new_zeros(values.shape[1]) if blank == "zero" else values.new_tensor(centre)
    return torch.where(valid, values, fill)
