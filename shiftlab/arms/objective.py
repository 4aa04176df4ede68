"""A pre-training objective: the loss that teaches a body without labels, and what its augmentations show it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from torch import Generator, Tensor, nn

from shiftlab.arms.body import Body

__all__ = ["Objective"]


class Objective(nn.Module, ABC):
    """A body with whatever its pre-training needs besides and throws away afterwards.

    Attributes:
        name: Name in configs and checkpoints.
        input: What its body looks at.
        augmentations: What is varied in pre-training, in words by name, and by nuisance or effect what of it that
            covers, say ``{"noise": "partly: voxels vary by 5%"}`` (``shiftlab.arms.augmentations.declared``); what is
            not named lies outside what the model has seen.
        body: What is taught.
    """

    name: ClassVar[str]
    input: ClassVar[Literal["images", "tokens"]] = "images"
    augmentations: ClassVar[Mapping[str, str]] = {}

    def __init__(self, body: Body) -> None:
        """Take the body to teach."""
        super().__init__()
        self.body = body

    @abstractmethod
    def forward(self, batch: Any, generator: Generator) -> Tensor:
        """Return the scalar loss of a batch of events, none of them empty; draws only from ``generator``."""

    def after_step(self, step: int, steps: int) -> None:
        """Follow the body after step ``step`` (from 0) of ``steps``, as an averaged teacher does."""
        del step, steps
