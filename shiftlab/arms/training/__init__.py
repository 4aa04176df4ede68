"""Training: one resumable trainer, its budget and curves, and what is taught with it."""

from __future__ import annotations

from shiftlab.arms.training.presentation import held_out, keyed, presentations
from shiftlab.arms.training.run import Deadline, Loss, Measured, Run, Workshop
from shiftlab.arms.training.trainer import train

__all__ = ["Deadline", "Loss", "Measured", "Run", "Workshop", "held_out", "keyed", "presentations", "train"]
