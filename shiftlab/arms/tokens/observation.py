"""What all arms see of one chunk of token events: their numbers in the contract's units, and globals for the trees."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shiftlab.arms.contract import InputContract
from shiftlab.arms.observation import Observation
from shiftlab.arms.summaries import Summaries
from shiftlab.arms.token_limit import TokenLimit
from shiftlab.arms.tokens.batch import TokenBatch
from shiftlab.arms.tokens.contract import TokenContract
from shiftlab.errors import ConfigError, DataError
from shiftlab.events.image import Image
from shiftlab.events.tokens import Tokens
from shiftlab.tasks.event_summary import EventSummary
from shiftlab.tasks.voxel_truth import MatchedTruth, VoxelTruth

__all__ = ["TokenObservation", "contract_of", "global_quantities", "observe"]


class TokenObservation(Observation):
    """One chunk of token events in one universe; arms ask it as they ask an ``Observation`` of images.

    Attributes:
        image: The ``Tokens``, energies in the contract's unit.
        contract: A ``TokenContract``.
    """

    image: Any
    contract: Any

    def __init__(self, tokens: Tokens, contract: TokenContract, limit: TokenLimit | None = None) -> None:
        """Bring energies to the contract's unit; the tokens' own units say from which.

        Raises:
            ConfigError: a column, kind or global is missing, or a unit cannot be brought to the contract's.
        """
        self.image = contract.converted(tokens)
        self.contract = contract
        self._limit = limit or TokenLimit()

    @cached_property
    def patches(self) -> Any:
        """``TokenBatch`` of all events in their order."""
        return TokenBatch.of(self.image, self.contract)

    @property
    def too_long(self) -> Tensor:
        """Bool (event,): events of more tokens than the contract's maximum; they are answered whole."""
        found: Tensor = self.contract.too_long(self.image)
        return found

    @cached_property
    def summed_energy(self) -> Tensor:
        """float32 (event,): sum of the tokens' energies, MeV."""
        summed: Tensor = self.patches.summed_energy
        return summed

    @cached_property
    def event_summary(self) -> EventSummary:
        """Summed energy of each event, and the origin as its centre."""
        return EventSummary(self.summed_energy, self.patches.centroid)

    @cached_property
    def matched(self) -> MatchedTruth:
        """Refused: tokens have no voxels.

        Raises:
            DataError: always.
        """
        raise DataError("labels of voxels are asked for, but these events are tokens.")

    @cached_property
    def summaries(self) -> Summaries:
        """Globals of the events, for the classic arm; there are no blocks."""
        return Summaries(
            event=global_quantities(self.image, self.contract),
            block=np.zeros((0, 0), dtype=np.float32),
            voxel_block=np.zeros(0, dtype=np.int64),
        )


def global_quantities(tokens: Tokens, contract: TokenContract) -> NDArray[np.float32]:
    """Return float32 (event, global): globals in the contract's order, NaN where one is blank.

    minerva-ml's trees see these 16 numbers as well (arXiv:2604.12364).
    """
    columns = [tokens.global_columns.index(name) for name in contract.global_columns]
    values = torch.where(tokens.global_valid[:, columns], tokens.globals[:, columns], torch.nan)
    found: NDArray[np.float32] = values.cpu().numpy().astype(np.float32)
    return found


def observe(
    recorded: Image | Tokens, truth: VoxelTruth | None, contract: Any, limit: TokenLimit | None = None
) -> Observation:
    """Return what arms of a contract see of images or tokens.

    Raises:
        ConfigError: the contract is for the other kind, or for another lattice or other columns.
    """
    if isinstance(recorded, Tokens) != isinstance(contract, TokenContract):
        wanted, given = ("images", "tokens") if isinstance(recorded, Tokens) else ("tokens", "images")
        raise ConfigError(f"arms: trained on {wanted}, but the detector gives {given}. Choose arms that fit it.")
    if isinstance(recorded, Tokens):
        return TokenObservation(recorded, contract, limit)
    return Observation(recorded, truth, contract, limit)


def contract_of(plain: Any) -> Any:
    """Return the input contract, of images or of tokens, that a record holds.

    Raises:
        ConfigError: a key is missing or unknown.
    """
    kind: Any = TokenContract if plain.get("input") == "tokens" else InputContract
    return kind.from_plain(plain)
