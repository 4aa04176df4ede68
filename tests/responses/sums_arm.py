"""A real, simple arm for tests, loaded as a loose plug-in: outputs from the image's energy and size."""

from __future__ import annotations

import numpy as np
import torch

from shiftlab.arms import Arm, InputContract
from shiftlab.arms.checkpoint import arm_folder, load_record, save_record
from shiftlab.tasks.energy import Energy

NO_VERTEX = np.zeros(0, dtype=np.int64)


class SumsArm(Arm):
    """Energy is the summed energy; logits are linear in the mean energy of a voxel and the number of voxels.

    It answers only where torch adds in a fixed order, in this process and in any other.
    """

    name = "sums"
    letter = "S"
    tasks = ("electron_gamma", "energy", "flavour")
    bodies = 1

    def __init__(self, seed, training_vertices=NO_VERTEX):
        super().__init__(seed, InputContract(), {"recipe": "none"}, training_vertices)

    @classmethod
    def train(cls, data, tasks, seed, recipe, workshop):
        return cls(seed, data.image.events.vertex.numpy())

    def answer(self, observation, tasks):
        if not torch.are_deterministic_algorithms_enabled():
            raise RuntimeError("sums have no fixed order")
        image = observation.image
        energy = np.bincount(image.event_index.numpy(), image.energy.double().numpy(), minlength=len(image))
        count = np.diff(image.offsets.numpy())
        logit = energy / np.maximum(count, 1) + (self.seed + 1) * count / 1000.0
        values = {"energy": energy, "electron_gamma": logit, "flavour": energy / 1000.0}
        return {task.name: values[task.name][task.scored(image.events), None].astype(np.float32) for task in tasks}

    def save(self, folder):
        save_record(
            arm_folder(folder, self.name, self.seed), self.record | {"vertices": self.training_vertices.tolist()}
        )

    @classmethod
    def load(cls, folder, seed, device="cpu"):
        record = load_record(arm_folder(folder, cls.name, seed))
        return cls(seed, np.array(record["vertices"], dtype=np.int64))


class EnergyCopy(Energy):
    """Visible energy a second time, for a head that is a copy of the first."""

    name = "energy_copy"


class CopiesArm(SumsArm):
    """Two heads that are copies of each other, each in a file of its own."""

    name = "copies"
    tasks = ("energy", "energy_copy")

    def __init__(self, seed, heads=None):
        super().__init__(seed)
        self.heads = heads or dict.fromkeys(self.tasks, 1.1)

    def answer(self, observation, tasks):
        image = observation.image
        energy = np.bincount(image.event_index.numpy(), image.energy.double().numpy(), minlength=len(image))
        return {
            task.name: (self.heads[task.name] * energy[task.scored(image.events), None]).astype(np.float32)
            for task in tasks
        }

    def save(self, folder):
        for task, scale in self.heads.items():
            save_record(arm_folder(folder, self.name, self.seed) / task, {"scale": scale})

    @classmethod
    def load(cls, folder, seed, device="cpu"):
        place = arm_folder(folder, cls.name, seed)
        return cls(seed, {task: load_record(place / task)["scale"] for task in cls.tasks})


class BrokenArm(SumsArm):
    """An arm whose energy is NaN where the image has more than 20 MeV."""

    name = "broken"

    def answer(self, observation, tasks):
        answers = super().answer(observation, tasks)
        return {name: np.where(values > 20.0, np.nan, values) for name, values in answers.items()}
