"""Pre-training as OmniLearned does it: name the generator class of an event, and turn noise back into its particles.

Source: arXiv:2510.24066 and the package's ``utils.get_loss``, mode ``pretrain``: cross entropy of the class weighted by
its inverse frequency in the batch, flow matching of the momenta (``shiftlab.arms.tokens.flow``), and the cross entropy
on the noised view weighted by (1 - t)^2 besides. Kinds, further columns and globals are given without noise, as there.
It uses labels, those of the generator: a body that learned so has seen the truth of its classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from shiftlab.arms.body import Body
from shiftlab.arms.heads import EventHead
from shiftlab.arms.objective import Objective
from shiftlab.arms.tokens.batch import TokenBatch
from shiftlab.arms.tokens.contract import KINEMATICS, TokenContract
from shiftlab.arms.tokens.flow import along, flow_loss, noise, times
from shiftlab.errors import ConfigError
from shiftlab.tasks.pion_topology import CLASSES

__all__ = ["ClassifyAndGenerate", "Parts", "balanced_weights"]

_EPSILON = 1e-6


@dataclass(frozen=True)
class Parts:
    """The three terms of the loss, scalars.

    Attributes:
        classes: Cross entropy of the events as they are, nats.
        flow: Squared error of the velocity, summed over the four momentum columns, in the squares of their units.
        noised: Cross entropy of the noised events, weighted by (1 - t)^2.
    """

    classes: Tensor
    flow: Tensor
    noised: Tensor

    @property
    def total(self) -> Tensor:
        """Their sum."""
        return self.classes + self.flow + self.noised


def balanced_weights(label: Tensor, classes: int) -> Tensor:
    """Return float32 (event,): the inverse frequency of each event's class in the batch, with mean 1."""
    counts = torch.bincount(label, minlength=classes).float()
    weights = (1.0 / (counts + _EPSILON))[label]
    return weights / weights.mean()


class ClassifyAndGenerate(Objective):
    """Classes and flow matching, as OmniLearned does; classifier and generator are thrown away after pre-training.

    Attributes:
        classifier: Names the pion topology, one of ``CLASSES``.
        generator: Gives the velocity of each particle.
    """

    name = "classify_and_generate"
    input: ClassVar[Literal["images", "tokens"]] = "tokens"
    augmentations: ClassVar[Mapping[str, str]] = {
        "momenta": "angles, log pT and log E mixed with noise of the training sample's mean and width, by 0 to 100%",
    }

    def __init__(self, body: Body) -> None:
        """Join a body and fresh heads.

        Raises:
            ConfigError: the body does not take tokens.
        """
        super().__init__(body)
        if body.input != "tokens":
            raise ConfigError(f"pre-training '{self.name}' needs a body for tokens, not '{body.name}'.")
        self.classifier = EventHead(body, len(CLASSES))
        self.generator = nn.Sequential(
            nn.LayerNorm(body.features),
            nn.Linear(body.features, 2 * body.features),
            nn.GELU(),
            nn.Linear(2 * body.features, KINEMATICS),
        )

    def forward(self, batch: TokenBatch, generator: Generator) -> Tensor:
        """Return the loss of a batch; events without a class only take part in the flow."""
        return self.parts(batch, generator).total

    def parts(self, batch: TokenBatch, generator: Generator) -> Parts:
        """Return the three terms of the loss; times and noise are drawn from ``generator``."""
        contract: TokenContract = self.body.contract
        time, drawn = times(batch, generator), noise(batch, contract, generator)
        momenta = along(batch.momenta, drawn, time[batch.token_event][:, None])
        clean, noised = self.body(batch), self.body(batch.noised(momenta, time))
        flow = flow_loss(self.generator(noised.tokens), drawn - batch.momenta, batch)
        labelled = batch.label >= 0
        if not bool(labelled.any()):
            return Parts(flow.new_zeros(()), flow, flow.new_zeros(()))
        label = batch.label[labelled]
        weight = balanced_weights(label, len(CLASSES))
        known, blurred = (
            functional.cross_entropy(self.classifier(encoded)[labelled], label, reduction="none") * weight
            for encoded in (clean, noised)
        )
        return Parts(known.mean(), flow, (blurred * (1 - time[labelled]).square()).mean())
