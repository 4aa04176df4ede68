"""Events of a muon and a proton from one vertex, and an arm that is told the truth and forgets a part of it."""

from __future__ import annotations

import numpy as np
import torch

from shiftlab.arms import Arm, InputContract
from shiftlab.arms.checkpoint import arm_folder, load_record, save_record
from shiftlab.events import Deposits, EventTable
from shiftlab.events.particles import ParticleTable
from shiftlab.tasks.particle_task import KINDS, Found

CELL = 0.3
KIND = (2, 4)


def crossings(count: int, seed: int = 0) -> Deposits:
    """Events of two straight tracks each, the muon of 30 to 60 cells and the proton of 12 to 25."""
    rng = np.random.default_rng(seed)
    sizes = np.stack([rng.integers(30, 60, count), rng.integers(12, 25, count)], axis=1)
    vertex = rng.uniform(60, 170, (count, 3))
    direction = rng.normal(size=(count, 2, 3))
    direction /= np.linalg.norm(direction, axis=2, keepdims=True)
    track = np.repeat(np.arange(2 * count), sizes.ravel())
    along = np.arange(len(track)) - np.repeat(np.cumsum(sizes.ravel()) - sizes.ravel(), sizes.ravel())
    position = vertex[track // 2] + CELL * (along[:, None] + 0.5) * direction[track // 2, track % 2]
    energy = np.where(track % 2 == 0, 0.63, 2.5) * rng.uniform(0.8, 1.2, len(track))
    key = torch.arange(count) + 10_000 * seed
    kinetic = energy.sum() / count
    momentum = direction.reshape(-1, 3) * np.tile([400.0, 300.0], count)[:, None]
    names = [("numu_cc", "nue_cc", "photon_protons")[i % 3] for i in range(count)]
    visible = torch.from_numpy(np.bincount(track // 2, energy, count))
    truth = {
        "visible_energy": visible,
        "neutrino_energy": 2.0 * visible + 100.0,
        "neutrino_pdg": torch.tensor([{"numu_cc": 14.0, "nue_cc": 12.0}.get(name, 0.0) for name in names]).double(),
        "em_class": torch.tensor([{"nue_cc": 1.0, "photon_protons": 0.0}.get(n, np.nan) for n in names]).double(),
        **{f"vertex_{axis}": torch.from_numpy(vertex[:, i].copy()) for i, axis in enumerate("xyz")},
    }
    columns = {
        "number": np.tile([0.0, 1.0], count),
        "primary": np.ones(2 * count),
        "pdg": np.tile([13.0, 2212.0], count),
        "kinetic": np.full(2 * count, kinetic),
        **{f"momentum_{axis}": momentum[:, i] for i, axis in enumerate("xyz")},
    }
    number = torch.from_numpy(track % 2)
    kind = torch.tensor(KIND)[number].to(torch.int8)
    return Deposits(
        offsets=torch.from_numpy(np.concatenate([[0], np.cumsum(sizes.sum(axis=1))])),
        position=torch.from_numpy(position).float(),
        energy=torch.from_numpy(energy).float(),
        length=torch.full((len(track),), CELL),
        semantic=torch.ones(len(track), dtype=torch.int8),
        particle=kind,
        events=EventTable(
            key, key, torch.ones(count, dtype=torch.float64), tuple(names), truth, torch.ones(count, dtype=torch.bool)
        ),
        instance=number.int(),
        particles=ParticleTable(
            2 * torch.arange(count + 1), {name: torch.from_numpy(column.copy()) for name, column in columns.items()}
        ),
    )


class Knowing(Arm):
    """Groups voxels by the truth but for every fifth event, in which all are one pion; vertex and direction by sums."""

    name = "knowing"
    letter = "K"
    tasks = ("direction", "neutrino_energy", "particle_id", "particles", "vertex")
    bodies = 0

    def __init__(self, seed):
        super().__init__(seed, InputContract(), {}, np.zeros(0, dtype=np.int64))

    @classmethod
    def train(cls, data, tasks, seed, recipe, workshop):
        return cls(seed)

    def answer(self, observation, tasks):
        image, seen = observation.image, observation.event_summary
        away = seen.centroid - 115.2
        raw = {"vertex": 0.01 * away, "direction": away, "neutrino_energy": torch.full((len(image), 1), 0.7)}
        found = {}
        for task in tasks:
            if task.level == "particle":
                outputs = task.count(
                    self._found(observation, task.queries), observation.event_index, observation.matched
                )
            else:
                outputs = task.decode(raw[task.name], seen)
            found[task.name] = outputs[torch.from_numpy(task.scored(image.events))].float().numpy()
        return found

    def _found(self, observation, queries):
        owner, particles = observation.matched.particle_truth()
        odd = observation.image.events.key % 5 == 0
        kind = torch.full((len(particles), queries), len(KINDS))
        kind[particles.event_index, particles.place] = particles.kind
        kind[odd, 0] = KINDS.index("pion")
        query = torch.where(odd[observation.event_index], 0, owner.clamp(min=-1))
        return Found(query, 0.8 * torch.nn.functional.one_hot(kind, len(KINDS) + 1) + 0.2 / 6)

    def save(self, folder):
        save_record(arm_folder(folder, self.name, self.seed), {})

    @classmethod
    def load(cls, folder, seed, device="cpu"):
        load_record(arm_folder(folder, cls.name, seed))
        return cls(seed)
