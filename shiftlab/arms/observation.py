"""What all arms see of one chunk of images: voxels grouped into patches and laid beside the truth, once."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from shiftlab.arms.contract import InputContract
from shiftlab.arms.parts import Parts
from shiftlab.arms.patches import Patches, group
from shiftlab.arms.summaries import Summaries, summarise
from shiftlab.arms.token_limit import TokenLimit
from shiftlab.errors import DataError
from shiftlab.events.image import Image
from shiftlab.tasks.event_summary import EventSummary
from shiftlab.tasks.voxel_truth import MatchedTruth, VoxelTruth, match

__all__ = ["Observation"]


class Observation:
    """One chunk of images in one universe; everything that arms share is computed on first use.

    Attributes:
        image: The images, without the voxels that the contract keeps from its model.
        contract: How voxels are grouped and transformed.
    """

    def __init__(
        self, image: Image, truth: VoxelTruth | None, contract: InputContract, limit: TokenLimit | None = None
    ) -> None:
        """Join images and the truth of the same events; without truth, no task may ask for labels of voxels.

        Events of more tokens than ``limit`` get the answers of empty images, and are counted (``left_out``).

        Raises:
            ConfigError: the lattice is not the contract's.
            DataError: images and truth differ in their number of events.
        """
        contract.require_shape(image.shape, "arms")
        if truth is not None and len(image) != len(truth):
            raise DataError(
                f"images of {len(image)} events, but the truth of {len(truth)}; they must be the same events."
            )
        self.image = contract.admit(image)
        self.contract = contract
        self._truth = truth
        self._limit = limit or TokenLimit()

    @cached_property
    def patches(self) -> Patches:
        """Patches of all events in their order."""
        return group(self.image, self.contract)

    @cached_property
    def ascending(self) -> Tensor:
        """int64 (event,): events by ascending number of patches; empty ones and too long ones are left out."""
        lengths = self.patches.lengths
        order = torch.argsort(lengths, stable=True)
        return order[(lengths[order] > 0) & ~self.left_out[order]]

    @cached_property
    def left_out(self) -> Tensor:
        """Bool (event,): events of more tokens than the limit; no network looks at them."""
        return ~self._limit.fits(self.patches.lengths)

    @cached_property
    def sorted_patches(self) -> Patches:
        """Patches of the events of ``ascending``."""
        return self.patches.take(self.ascending)

    def parts(self, chosen: Tensor) -> Parts:
        """Return the batches of some events, bool (event of ``ascending``,); the same ones for every network."""
        key = chosen.cpu().numpy().tobytes()
        if key not in self._parts:
            whole = bool(chosen.all())
            self._parts[key] = Parts.of(self.sorted_patches if whole else self.patches.take(self.ascending[chosen]))
        return self._parts[key]

    @cached_property
    def _parts(self) -> dict[bytes, Parts]:
        return {}

    @cached_property
    def matched(self) -> MatchedTruth:
        """Class of each observed voxel and lost truth cells.

        Raises:
            DataError: the events came without truth.
        """
        if self._truth is None:
            raise DataError(
                "labels of voxels are asked for, but these events came without them. Leave tasks of voxels "
                "out, or take events with truth."
            )
        return match(self.image, self._truth)

    @cached_property
    def summed_energy(self) -> Tensor:
        """float32 (event,): summed calibrated energy, MeV; of wires the sum of all planes."""
        if self.contract.views == 1:
            return self.patches.summed_energy
        total = torch.zeros(len(self.image), dtype=torch.float64, device=self.image.energy.device)
        return total.index_add_(0, self.event_index, self.image.energy.double()).float()

    @cached_property
    def event_summary(self) -> EventSummary:
        """Summed energy and centre of each event."""
        if self.contract.views == 1:
            return EventSummary(self.patches.summed_energy, self.patches.centroid)
        return EventSummary.of_energy(self.summed_energy)

    @cached_property
    def event_index(self) -> Tensor:
        """int64 (voxel,): the event of each voxel."""
        return self.image.event_index

    @cached_property
    def summaries(self) -> Summaries:
        """Summary quantities of events and blocks, for the classic arm."""
        return summarise(self.image, self.patches if self.contract.views == 1 else None, self.contract)
