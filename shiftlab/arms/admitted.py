"""Training events as a body with an input contract of its own sees them: its threshold, its grid, its targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from shiftlab.arms.images.imaged import Imaged
from shiftlab.arms.images.summary import image_summary
from shiftlab.arms.tokens.set import TokenSet
from shiftlab.arms.training_set import TrainingSet, with_targets
from shiftlab.tasks.task import Task

__all__ = ["under_contract"]


def under_contract(data: TrainingSet, contract: Any, tasks: Sequence[Task]) -> TrainingSet:
    """Return the training set under another input contract; the same set where it is its own.

    Voxels that the contract does not admit are taken away, and targets are those of what is left.

    Raises:
        ConfigError: the contract is of another lattice or unit.
    """
    if contract == data.contract:
        return data
    if isinstance(data, TokenSet):
        return data.under(contract)
    contract.require(data.contract, "training events")
    cells = data.image.shape[0] * data.image.shape[1] * data.image.shape[2]
    image = contract.admit(data.image)
    kept = torch.isin(data.image.event_index * cells + data.image.cell, image.event_index * cells + image.cell)
    owner = None if data.owner is None else data.owner[kept]
    images = Imaged(image, data.label[kept], image_summary(image, data.contract), owner, data.particles)
    return with_targets(images, tasks, contract).to(data.device)
