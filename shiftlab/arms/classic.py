"""Arm E: gradient-boosted trees on summary quantities, a model per task or number, stored as LightGBM's text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import lightgbm
import numpy as np
import torch
from numpy.typing import NDArray

from shiftlab.arms.arm import Arm, Outputs
from shiftlab.arms.checkpoint import arm_folder, load_record, load_vertices, save_record, save_vertices
from shiftlab.arms.contract import InputContract
from shiftlab.arms.observation import Observation
from shiftlab.arms.tokens.observation import contract_of
from shiftlab.arms.training import Workshop, keyed
from shiftlab.arms.training.recipe import Recipe
from shiftlab.arms.training_set import TrainingSet
from shiftlab.errors import ConfigError, DataError
from shiftlab.provenance import write_text
from shiftlab.tasks.task import Task, VoxelTask
from shiftlab.tasks.voxel_truth import NONE

_OBJECTIVES = {"binary": "binary", "regression": "regression", "classes": "multiclass"}

__all__ = ["Classic"]


class Classic(Arm):
    """The baseline without a network.

    Attributes:
        models: LightGBM's text of each task's model; a task of several numbers has one for each, ``vertex.0`` say.
    """

    name = "classic"
    letter = "E"

    def __init__(
        self,
        seed: int,
        contract: InputContract,
        models: Mapping[str, str],
        record: Mapping[str, Any],
        training_vertices: NDArray[np.int64],
    ) -> None:
        """Take trained models as text.

        Raises:
            ConfigError: a text is not a LightGBM model.
        """
        super().__init__(seed, contract, record, training_vertices)
        self.models = dict(models)
        self._boosters: dict[str, lightgbm.Booster] = {}
        for task, text in self.models.items():
            try:
                self._boosters[task] = lightgbm.Booster(model_str=text)
            except lightgbm.basic.LightGBMError as error:
                raise ConfigError(
                    f"arm 'classic' seed {seed}: the model of task '{task}' is damaged: {error}"
                ) from error

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks that have a model."""
        return tuple(dict.fromkeys(name.partition(".")[0] for name in self.models))

    @property
    def bodies(self) -> int:
        """None: there is no network."""
        return 0

    def answer(self, observation: Observation, tasks: Sequence[Task]) -> Outputs:
        """Return float32 (scored event, output) for each task."""
        self.require_tasks(tasks)
        found: Outputs = {}
        for task in tasks:
            scored = task.scored(observation.image.events)
            if isinstance(task, VoxelTask):
                found[task.name] = self._voxels(observation, task)[scored]
            else:
                found[task.name] = self._events(observation, task, scored)
        return found

    def _predict(self, task: Task, quantities: NDArray[np.float32]) -> NDArray[np.float64]:
        if not len(quantities):
            return np.zeros((0, task.raw))
        columns = [
            np.asarray(booster.predict(quantities, raw_score=True, num_threads=torch.get_num_threads()))
            for booster in (self._boosters[name] for name in _models_of(task))
        ]
        return np.concatenate([column.reshape(len(quantities), -1) for column in columns], axis=1, dtype=np.float64)

    def _events(self, observation: Observation, task: Task, scored: NDArray[np.bool_]) -> NDArray[np.float32]:
        seen = observation.image.offsets.diff().cpu().numpy() > 0
        outputs = np.tile(np.asarray(task.empty, dtype=np.float32), (len(scored), 1))
        chosen = scored & seen
        raw = torch.from_numpy(self._predict(task, observation.summaries.event[chosen])).float()
        outputs[chosen] = task.decode(raw, observation.event_summary.to("cpu").take(torch.from_numpy(chosen))).numpy()
        return outputs[scored]

    def _voxels(self, observation: Observation, task: VoxelTask) -> NDArray[np.float32]:
        summaries = observation.summaries
        image = observation.image
        raw = torch.from_numpy(self._predict(task, summaries.block)).to(image.cell.device)
        called, stated = (of[torch.from_numpy(summaries.voxel_block).to(of.device)] for of in task.call(raw))
        outputs = task.count(called, stated, image.energy, observation.event_index, observation.matched)
        return outputs.cpu().numpy()

    def save(self, folder: Path) -> None:
        """Write record, models and, once per ``folder``, the training vertices."""
        own = arm_folder(folder, self.name, self.seed)
        described = {
            "arm": self.name,
            "seed": self.seed,
            "tasks": list(self.tasks),
            "contract": self.contract.plain(),
        }
        save_vertices(folder, self.training_vertices)
        for task, text in self.models.items():
            write_text(own / f"{task}.txt", text)
        save_record(own, {**self.record, **described})

    @classmethod
    def load(cls, folder: Path, seed: int, device: torch.device | str = "cpu") -> Self:
        """Return the arm that ``save`` wrote; trees are always evaluated on the CPU."""
        own = arm_folder(folder, cls.name, seed)
        record = load_record(own, ("contract", "tasks"))
        models: dict[str, str] = {}
        for task in record["tasks"]:
            names = [task] if (own / f"{task}.txt").is_file() else sorted(p.stem for p in own.glob(f"{task}.*.txt"))
            if not names:
                raise ConfigError(f"checkpoint '{own}' has no model '{task}.txt', though its record names that task.")
            models |= {name: (own / f"{name}.txt").read_text(encoding="utf-8") for name in names}
        return cls(seed, contract_of(record["contract"]), models, record, load_vertices(folder))

    @classmethod
    def train(cls, data: TrainingSet, tasks: Sequence[Task], seed: int, recipe: Recipe, workshop: Workshop) -> Self:
        """Grow the trees of each task on the summary quantities of its own events (some events' blocks).

        There are no state files: a training that was stopped begins anew.
        """
        models: dict[str, str] = {}
        sizes: dict[str, int] = {}
        for task in tasks:
            if task.level == "particle":
                raise ConfigError(
                    f"arm 'classic' has no model of sets, which task '{task.name}' asks for. Leave one of them out."
                )
            if isinstance(task, VoxelTask):
                quantities, target, weight = _block_rows(data, task, seed, recipe)
                rounds = recipe.voxel_trees
            else:
                rows = data.rows[task.name].numpy()
                quantities, weight = data.event_summaries[rows], None
                target = data.targets[task.name].cpu().numpy()[rows]
                # Of several classes each round grows one tree a class.
                rounds = math.ceil(recipe.event_trees / task.raw) if task.kind == "classes" else recipe.event_trees
            if not len(target):
                raise DataError(f"training: no event has the truth of task '{task.name}'. Choose another sample.")
            sizes[task.name] = len(target)
            names = _models_of(task)
            for name, column in zip(names, target.reshape(len(target), len(names)).T, strict=True):
                dataset = lightgbm.Dataset(quantities, np.ascontiguousarray(column), weight=weight)
                models[name] = lightgbm.train(_settings(task, seed), dataset, rounds).model_to_string()
                workshop.deadline.check(f"{cls.name} seed{seed} {name}")
        return cls(seed, data.contract, models, {"rows": sizes}, data.image.events.vertex.cpu().numpy())


def _models_of(task: Task) -> tuple[str, ...]:
    """Return the names of a task's models: trees for regression give one number each."""
    if task.kind != "regression" or task.raw == 1:
        return (task.name,)
    return tuple(f"{task.name}.{number}" for number in range(task.raw))


def _settings(task: Task, seed: int) -> dict[str, Any]:
    voxels = isinstance(task, VoxelTask)
    return {
        "objective": _OBJECTIVES[task.kind],
        "num_class": task.raw if task.kind == "classes" else 1,
        # Of several classes there are fewer rounds, since each grows a tree for every class.
        "learning_rate": 0.3 if voxels else 0.15 if task.kind == "classes" else 0.05,
        "num_leaves": 31 if voxels else 15,
        "min_data_in_leaf": 30,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "feature_fraction": 0.6,
        "seed": keyed(seed, task.name) % 2**31,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": torch.get_num_threads(),
        "verbose": -1,
    }


def _block_rows(
    data: TrainingSet, task: VoxelTask, seed: int, recipe: Recipe
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float64]]:
    """Return quantities, class and weight (voxels times class weight), one row per block and class in it."""
    generator = torch.Generator().manual_seed(keyed(seed, "blocks"))
    own = data.rows[task.name]
    rows = own[torch.randperm(len(own), generator=generator)[: recipe.voxel_events]]
    quantities, classes, weights = [], [], []
    for chunk in torch.split(rows.sort().values, 256):
        summaries, label = data.summaries(chunk)
        counts = np.zeros((len(summaries.block), NONE + 1))
        np.add.at(counts, (summaries.voxel_block, label.cpu().numpy()), 1.0)
        block, kind = np.nonzero(counts[:, :NONE])
        quantities.append(summaries.block[block])
        classes.append(kind)
        weights.append(counts[block, kind] * np.asarray(task.class_weight)[kind])
    return np.concatenate(quantities), np.concatenate(classes), np.concatenate(weights)
