"""Nominal tokens of the training events with their targets and generator classes, and the batches cut from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from shiftlab.arms.summaries import Summaries
from shiftlab.arms.tokens.batch import TokenBatch
from shiftlab.arms.tokens.contract import TokenContract
from shiftlab.arms.tokens.observation import TokenObservation, global_quantities
from shiftlab.arms.training_set import Batch, TrainingSet
from shiftlab.errors import ConfigError, DataError
from shiftlab.events.tokens import Tokens
from shiftlab.tasks.pion_topology import PionTopology
from shiftlab.tasks.task import Task

__all__ = ["TokenSet", "generator_class", "token_set"]


@dataclass(frozen=True)
class TokenSet(TrainingSet):
    """Nominal tokens with targets; rows, splits and labels are those of a ``TrainingSet``.

    Attributes:
        image: The ``Tokens`` of all events, energies in the contract's unit.
        label: int64 (event,), generator class, -1 where there is none; pre-training looks at it.
        contract: A ``TokenContract``.
    """

    image: Any
    contract: Any

    @property
    def augmentations(self) -> dict[str, str]:
        """Nothing: tokens are shown as they are."""
        return {}

    @property
    def too_long(self) -> Tensor:
        """Bool (event,): events of more tokens than the contract's maximum; they are trained on whole."""
        found: Tensor = self.contract.too_long(self.image)
        return found

    @cached_property
    def all_events(self) -> TokenBatch:
        """All events with their class."""
        return replace(TokenBatch.of(self.image, self.contract, "training tokens"), label=self.label)

    @cached_property
    def event_summaries(self) -> NDArray[np.float32]:
        """float32 (event, global): the globals of all events, for the classic arm."""
        return global_quantities(self.image, self.contract)

    def summaries(self, rows: Tensor) -> tuple[Summaries, Tensor]:
        """Refused: tokens have no voxels to summarise.

        Raises:
            DataError: always.
        """
        raise DataError("labels of voxels are asked for, but the training events are tokens.")

    def cut(self, rows: Tensor, generator: Generator) -> Batch:
        """Return the events at ``rows`` as they are; ``generator`` is not asked."""
        rows = rows.to(self.image.offsets.device)
        batch: Any = self.all_events.take(rows)
        return Batch(batch, self.label[rows], {name: values[rows] for name, values in self.targets.items()})

    def to(self, device: torch.device | str) -> TokenSet:
        """Return the same set on ``device``."""
        device = torch.device(device)
        return replace(
            self,
            image=self.image.to(device),
            label=self.label.to(device),
            targets={name: values.to(device) for name, values in self.targets.items()},
            device=device,
        )

    def under(self, contract: Any) -> TokenSet:
        """Return the same events as a model with another contract sees them.

        Raises:
            ConfigError: the contract is not for such tokens.
        """
        if not isinstance(contract, TokenContract):
            raise ConfigError("training events: they are tokens, but the foundation model was trained on images.")
        return replace(self, image=contract.converted(self.image, "training tokens"), contract=contract)


def token_set(
    tokens: Tokens,
    tasks: Sequence[Task],
    contract: TokenContract | None = None,
    *,
    energy_unit: Literal["MeV", "GeV"] = "GeV",
) -> TokenSet:
    """Return the training set of nominal tokens.

    Args:
        tokens: Training events; no vertex of them may be judged later.
        tasks: What will be trained.
        contract: What the model's tokens are; when None that of these tokens, with their means and widths.
        energy_unit: Unit of the energies of that contract.

    Raises:
        ConfigError: a task asks for voxels or particles, or the tokens do not fit the contract.
        DataError: there are no tokens, or the events lack a task's truth.
    """
    for task in tasks:
        if task.level != "event":
            raise ConfigError(f"task '{task.name}' is asked of each {task.level}; tokens answer for events only.")
    contract = contract or TokenContract.of(tokens, energy_unit=energy_unit)
    observed = TokenObservation(tokens, contract)
    events, filled = tokens.events, tokens.counts > 0
    targets, rows = {}, {}
    for task in tasks:
        own = torch.from_numpy(task.evaluated(events)) & filled.cpu()
        target = torch.from_numpy(task.target(task.truth(events), observed.event_summary)).float()
        own &= torch.isfinite(target).reshape(len(target), -1).all(dim=1)
        targets[task.name] = torch.where(own[:, None] if target.ndim > 1 else own, target, torch.nan)
        rows[task.name] = torch.nonzero(own).squeeze(1)
    return TokenSet(observed.image, generator_class(tokens), targets, rows, contract)


def generator_class(tokens: Tokens) -> Tensor:
    """Return int64 (event,): the pion topology that the generator made, -1 where the events do not say."""
    task = PionTopology()
    try:
        truth = task.truth(tokens.events)[:, 0]
    except DataError:
        return torch.full((len(tokens),), -1, dtype=torch.int64)
    return torch.from_numpy(np.where(np.isfinite(truth), truth, -1.0).astype(np.int64))
