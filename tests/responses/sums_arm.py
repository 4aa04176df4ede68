"""A real, simple arm for tests, loaded as a loose plug-in: outputs from the image's energy and size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from shiftlab.arms import Arm
from shiftlab.arms.contract import InputContract

NO_VERTEX = np.zeros(0, dtype=np.int64)


class SumsArm(Arm):
    """Energy is the summed energy; logits are linear in the mean energy of a voxel and the number of voxels."""

    name = "sums"
    letter = "S"
    copies = False

    def __init__(self, seed, training_vertices=NO_VERTEX):
        super().__init__(seed, InputContract(), {"recipe": "none"}, training_vertices)

    @property
    def tasks(self):
        return ("electron_gamma", "energy", "flavour")

    @property
    def bodies(self):
        return 1

    def answer(self, observation, tasks):
        image = observation.image
        energy = np.bincount(image.event_index.numpy(), image.energy.double().numpy(), minlength=len(image))
        count = np.diff(image.offsets.numpy())
        logit = energy / np.maximum(count, 1) + (self.seed + 1) * count / 1000.0
        values = {"energy": energy, "electron_gamma": logit, "flavour": logit if self.copies else energy / 1000.0}
        return {task.name: values[task.name][task.scored(image.events), None].astype(np.float32) for task in tasks}

    def save(self, folder: Path):
        path = folder / f"{self.name}-{self.seed}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"seed": self.seed, "vertices": self.training_vertices.tolist()}))

    @classmethod
    def load(cls, folder, seed, device="cpu"):
        record = json.loads((folder / f"{cls.name}-{seed}.json").read_text())
        return cls(record["seed"], np.array(record["vertices"], dtype=np.int64))


class CopiesArm(SumsArm):
    """The same, but the heads of electron_gamma and flavour are copies of each other."""

    name = "copies"
    copies = True


class BrokenArm(SumsArm):
    """An arm whose energy is NaN where the image has more than 20 MeV."""

    name = "broken"

    def answer(self, observation, tasks):
        answers = super().answer(observation, tasks)
        return {name: np.where(values > 20.0, np.nan, values) for name, values in answers.items()}
