"""Voxel threshold: voxels with less energy than a level are left out of the image after calibration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from shiftlab.detector import Cells, Effect, Parameter, Stream, Value

__all__ = ["VoxelThreshold"]


class VoxelThreshold(Effect[Cells]):
    """Keep voxels of at least a level of calibrated energy; what is kept is left as it is.

    Unlike the read-out's threshold it cuts on energy, so that an error of the energy scale moves voxels across it.
    """

    name: ClassVar[str] = "voxel_threshold"
    stage: ClassVar[str] = "calibrate"
    order: ClassVar[int] = 10
    catalogue: ClassVar[tuple[str, ...]] = ("C2",)
    double_counts: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("level", "threshold_level", "the higher of the two thresholds hides the other"),
    )
    needs: ClassVar[tuple[str, ...]] = ("electrons", "mev")
    changes: ClassVar[tuple[str, ...]] = ("event", "key", "cell", "electrons")
    parameters = (
        Parameter(
            "level",
            0.13,
            0.013,
            "MeV",
            (0.0, 10.0),
            identity=0.0,
            algebra="nest",
            source="cut of PILArNet-M's models (PoLAr-MAE DATASET.md); the size is a judgement",
            confidence="C",
            doc="Smallest energy of a voxel; 0 keeps every voxel.",
        ),
    )

    def apply(self, events: Cells, values: Mapping[str, Value], stream: Stream) -> Cells:
        """Keep the voxels at or above the level."""
        level = events.per_row(values["level"])
        energy = events.energy
        return events.keep((energy >= level) | (energy * 0 + level == 0))
