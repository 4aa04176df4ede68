"""A study: the question it asks, and its answer in a few lines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from shiftlab.registry import Registry

if TYPE_CHECKING:
    from shiftlab.bias import Bias
    from shiftlab.fit import FitResult

__all__ = ["Study", "studies"]


class Study(ABC):
    """The question of one study; its ingredients are in ``configs/study/<name>.yaml``.

    Attributes:
        name: name of the study.
        question: the question in one sentence.
        samples: what the simulated samples are and are not, a sentence each.
    """

    name: ClassVar[str]
    question: ClassVar[str]
    samples: ClassVar[tuple[str, ...]]

    @abstractmethod
    def headline(self, bias: Bias, results: Mapping[tuple[str, int], FitResult]) -> tuple[str, ...]:
        """Return the answer, a sentence each.

        Args:
            bias: biases and correlations of all arms and seeds.
            results: fits by (arm, seed), without recalibration.
        """


def studies() -> Registry[Study]:
    """Return the register of studies, filled from the entry-point group ``shiftlab.studies``."""
    return Registry("shiftlab.studies", Study, "study")  # type: ignore[type-abstract]
