"""Where is the data? A finished run's universes as the library in which an unlabelled sample is placed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import numpy.typing as npt
import xarray as xr

from shiftlab.arms import load_arms
from shiftlab.bias.design import read_design
from shiftlab.bias.placement.answer import answer, biases, measure_heads
from shiftlab.bias.placement.power import power_left_out
from shiftlab.bias.placement.record import PlacementRecord
from shiftlab.bias.placement.store import (
    Simulated,
    alternate_halves,
    catalogue,
    label_free,
    of_universes,
    read_simulated,
)
from shiftlab.bias.statistic import Floats
from shiftlab.errors import ConfigError, DataError, RunError, UnknownNameError
from shiftlab.provenance import digest_file, provenance_record, write_text
from shiftlab.report.placement_figure import placement_figure
from shiftlab.report.style import svg
from shiftlab.responses import RESPONSES, open_responses
from shiftlab.responses.unlabelled import observables
from shiftlab.tasks import named_tasks

__all__ = ["Placing", "place_run"]

_ENERGIES: Final = ("neutrino_energy", "visible_energy")
"""Truth columns that flux modes are made of, the better one first."""

_EVENTS: Final = (100.0, 300.0, 1000.0, 3000.0, 10_000.0, 30_000.0)
"""Numbers of data events for which power is quoted."""

Datasets = Mapping[str, xr.Dataset]
Columns = Mapping[str, Floats]


@dataclass(frozen=True)
class Placing:
    """What is placed, and how.

    Attributes:
        universe: Name of a hidden universe: of the run's own store, on the half of its events that the library then
            does without; of ``sample`` where that is a store, nominal by default.
        sample: A store of responses to other events, or a file of images or tokens as a detector recorded them.
        arms: Arms whose observables are looked at; all that the run has when None.
        tasks: Tasks whose observables are looked at; all that can be when None.
        exposure: Expected events per simulated sample, of which only the proportions count; for a sample of its own
            those of the run when empty, for a hidden universe those of the simulation.
        composition: Prior relative width of the normalisation of each simulated sample.
        flux: Whether the shape of the energy spectrum floats.
        checkpoints: Folder of the run's arms, for a file of images or tokens; when None those in the run's folder, or
            those of its study in ``shipped``.
        shipped: Folder with the arms of each study in a folder of its name.
        level: p-value below which the catalogue is rejected.
        toys: Toys behind the p-value.
        seed: Of halves, bootstrap, toys and draws.
        out: Folder of what is written; ``placement/NAME`` in the run's folder when None.
    """

    universe: str = ""
    sample: Path | None = None
    arms: tuple[str, ...] | None = None
    tasks: tuple[str, ...] | None = None
    exposure: Mapping[str, float] = field(default_factory=dict)
    composition: float = 0.2
    flux: bool = True
    checkpoints: Path | None = None
    shipped: Path = Path("studies/checkpoints")
    level: float = 0.01
    toys: int = 500
    seed: int = 1
    out: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what says nothing, or nonsense."""
        if not self.universe and self.sample is None:
            raise ConfigError("nothing to place: give --universe NAME, --sample FILE or both.")
        if self.toys < 0 or not 0.0 < self.level < 1.0:
            raise ConfigError(f"toys = {self.toys}, level = {self.level}: toys from 0, a level between 0 and 1.")


def place_run(folder: Path, placing: Placing) -> tuple[PlacementRecord, Path]:
    """Place a sample in a finished run, write the answer, and return it with the folder that it is in.

    Raises:
        RunError: the folder is not that of a finished run, or its arms are not found.
        ConfigError: an exposure, a width or a number that is not allowed.
        DataError: the sample has other arms or tasks, events of the run, or too few events.
        UnknownNameError: there is no such universe, arm, task or simulated sample.
    """
    identity = _identity(folder)
    with ExitStack() as stack:
        responses = stack.enter_context(open_responses(folder / RESPONSES))
        store: Datasets = responses.datasets
        if placing.sample is None:
            record = _hidden(store, identity, placing)
        else:
            if _is_store(placing.sample):
                other = stack.enter_context(open_responses(placing.sample))
                _refuse_other_arms(responses.attrs, other.attrs, placing.sample)
                record = _of_store(other.datasets, store, identity, placing, placing.sample)
            else:
                record = _of_file(folder, store, identity, placing, placing.sample)
    name = placing.universe if placing.sample is None else placing.sample.stem
    out = placing.out or folder / "placement" / name
    record.save(out)
    write_text(out / "placement.svg", svg(placement_figure(record)))
    return record, out


def _hidden(store: Datasets, identity: Mapping[str, Any], placing: Placing) -> PlacementRecord:
    """Place a universe of the run itself, its events cut into two disjoint halves.

    Data have no generator weights: every event of either half counts once.
    """
    design = read_design(store)
    if placing.universe not in design.names:
        raise UnknownNameError("universe", placing.universe, design.names)
    simulated, arms, tasks = _library(store, placing, hidden=placing.universe)
    simulated = replace(simulated, weight=np.ones(len(simulated.key)))
    library, data = alternate_halves(simulated.vertex, simulated.sample, placing.seed)
    _, columns = label_free(of_universes({task: store[task] for task in tasks}, [placing.universe]), arms)
    seen = {name: values[0, data] for name, values in columns.items()}
    row = design.value[design.names.index(placing.universe)]
    injected = dict(zip(design.nuisances, row.tolist(), strict=True))
    about = f"universe '{placing.universe}' on half of the events"
    return _record(
        about, simulated.take(library), seen, store, identity, placing, hidden=placing.universe, injected=injected
    )


def _of_store(
    other: Datasets, store: Datasets, identity: Mapping[str, Any], placing: Placing, path: Path
) -> PlacementRecord:
    """Place a universe of another store, by default nominal, which holds other events."""
    universe, design = placing.universe or "nominal", read_design(other)
    if universe not in design.names:
        raise UnknownNameError(f"universe of {path}", universe, design.names)
    simulated, arms, tasks = _library({task: data for task, data in store.items() if task in other}, placing)
    key, columns = label_free(of_universes({task: other[task] for task in tasks}, [universe]), arms)
    first = other[tasks[0]]
    _refuse_shared(simulated, first["vertex_uid"].values[np.isin(first["event"].values, key)], path)
    seen = {name: values[0] for name, values in columns.items()}
    exposure = placing.exposure or identity["study"]["exposure"]
    if universe == "nominal":
        return _record(path.name, simulated, seen, store, identity, placing, exposure=exposure, injected={})
    row = design.value[design.names.index(universe)]
    injected = dict(zip(design.nuisances, row.tolist(), strict=True))
    about = f"{path.name}, universe '{universe}'"
    return _record(about, simulated, seen, store, identity, placing, exposure=exposure, injected=injected)


def _of_file(
    folder: Path, store: Datasets, identity: Mapping[str, Any], placing: Placing, path: Path
) -> PlacementRecord:
    """Place images or tokens as a detector recorded them: the run's arms are run on them."""
    if placing.universe:
        raise ConfigError(f"--universe {placing.universe}: {path} is no store of responses, which has universes.")
    blind = [task.name for task in named_tasks(list(store)) if task.level == "event"]
    simulated, arms, tasks = _library({task: store[task] for task in blind}, placing)
    seen, vertex = observables(path, _arms(folder, identity, arms, store, placing), named_tasks(tasks))
    _refuse_shared(simulated, vertex, path)
    exposure = placing.exposure or identity["study"]["exposure"]
    return _record(path.name, simulated, seen, store, identity, placing, exposure=exposure, injected={})


def _library(store: Datasets, placing: Placing, hidden: str = "") -> tuple[Simulated, tuple[str, ...], list[str]]:
    """Return the simulated events, and the arms and tasks that are looked at."""
    for task in placing.tasks or ():
        if task not in store:
            raise UnknownNameError("task", task, store)
    tasks = list(placing.tasks or store)
    chosen = {task: store[task] for task in tasks}
    if not chosen:
        raise DataError("run and sample have no task in common that can be asked without truth.")
    arms = placing.arms or tuple(str(name) for name in chosen[tasks[0]]["arm"].values)
    names = [name for name in catalogue(read_design(chosen)) if name != hidden or name == "nominal"]
    energy = _energy(store, label_free(of_universes(chosen, ["nominal"]), arms)[0]) if placing.flux else None
    return read_simulated(of_universes(chosen, names), arms, energy), arms, tasks


def _record(
    about: str,
    simulated: Simulated,
    seen: Columns,
    store: Datasets,
    identity: Mapping[str, Any],
    placing: Placing,
    *,
    exposure: Mapping[str, float] | None = None,
    hidden: str = "",
    injected: Mapping[str, float],
) -> PlacementRecord:
    study, samples = identity["study"], set(simulated.sample.tolist())
    wanted = dict(placing.exposure or exposure or {})
    for name in placing.exposure:
        if name not in samples:
            raise UnknownNameError("sample in exposure", name, samples)
    everything = of_universes(store, {*catalogue(read_design(store)), *([hidden] if hidden else [])})
    declared = {name: events for name, events in study["exposure"].items() if name in _samples(store)}
    statistics = dict(zip(store, named_tasks(list(store)), strict=True))
    heads = measure_heads(everything, statistics, hidden=hidden, exposure=declared, seed=placing.seed)
    placed, model = answer(
        simulated,
        seen,
        heads,
        exposure={name: events for name, events in wanted.items() if name in samples},
        composition=placing.composition,
        level=placing.level,
        toys=placing.toys,
        seed=placing.seed,
    )
    return PlacementRecord(
        sample=about,
        events=len(next(iter(seen.values()))),
        simulated=len(simulated.key),
        placement=placed,
        biases=biases(placed, heads),
        power=power_left_out(model, _EVENTS, level=placing.level),
        injected=injected,
        provenance=_provenance(identity, placing, seen),
    )


def _provenance(identity: Mapping[str, Any], placing: Placing, seen: Columns) -> dict[str, Any]:
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(placing).items()}
    for name in ("out", "shipped"):
        settings.pop(name)
    given = {"run": identity["digest"], "placing": settings, "observables": list(seen)}
    if placing.sample is not None:
        given["sample"] = {"file": placing.sample.name, "digest": digest_file(placing.sample)}
        settings["sample"], settings["checkpoints"] = placing.sample.name, None
    return provenance_record(given)


def _identity(folder: Path) -> Mapping[str, Any]:
    """Return what a finished run was made of, with its digest."""
    if not (folder / "done").is_file():
        raise RunError(f"'{folder}' is not the folder of a finished run; `shiftlab run study=NAME` makes one.")
    try:
        plain = json.loads((folder / "identity.json").read_text(encoding="utf-8"))
        return {"checkpoints": {}, **plain["identity"], "digest": plain.get("digest", "")}
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"'{folder}/identity.json' does not say what the run was made of: {error}.") from error


def _arms(
    folder: Path, identity: Mapping[str, Any], names: Sequence[str], store: Datasets, placing: Placing
) -> tuple[Any, ...]:
    """Return the arms of the run, from its own folder, the given one or that of its study, and make sure of them."""
    own, shipped = folder / "checkpoints", placing.shipped / str(identity["study"]["name"])
    place = placing.checkpoints or (own if own.is_dir() else shipped)
    for name, digest in identity["checkpoints"].items():
        if name.split("/")[0] in names and (not (place / name).is_file() or digest_file(place / name) != digest):
            raise RunError(f"'{place}' does not hold the arms of this run ({name}); give their folder: --checkpoints.")
    first = next(iter(store.values()))
    return tuple(load_arms(place, list(names), [int(seed) for seed in first["seed"].values]))


def _energy(store: Datasets, key: npt.NDArray[np.int64]) -> Floats | None:
    """Return the true energy of some events, from a task that holds it; NaN where it does not, None without one."""
    columns = {task.name: task.truth_columns for task in named_tasks(list(store))}
    for wanted in _ENERGIES:
        for task, names in columns.items():
            if wanted in names:
                data = store[task]
                known = dict(
                    zip(
                        data["event"].values.tolist(),
                        data["truth"].values[:, names.index(wanted)].tolist(),
                        strict=True,
                    )
                )
                return np.array([known.get(one, np.nan) for one in key.tolist()])
    return None


def _refuse_shared(simulated: Simulated, vertex: npt.NDArray[np.int64], path: Path) -> None:
    shared = np.isin(vertex, simulated.vertex)
    if shared.any():
        raise DataError(
            f"{path}: {int(shared.sum())} of {len(vertex)} events are of vertices that the run has simulated; their "
            "noise is not independent. Place other events, or a universe of the run: --universe NAME."
        )


def _refuse_other_arms(own: Mapping[str, Any], other: Mapping[str, Any], path: Path) -> None:
    """Refuse a store whose arms have other weights; a store that does not say is taken at its word."""
    mine, theirs = own.get("arms", {}), other.get("arms", {})
    unequal = [name for name in mine if name in theirs and mine[name] != theirs[name]]
    if unequal:
        raise DataError(f"{path}: its arms are not those of the run ({unequal[0]} differs); use one set of arms.")


def _is_store(path: Path) -> bool:
    """Return whether a file is a store of responses."""
    if not path.is_file():
        raise DataError(f"{path}: no such file.")
    if not h5py.is_hdf5(path):
        return False
    with h5py.File(path, "r") as file:
        return "tasks" in file.attrs and "shiftlab" in file.attrs


def _samples(store: Datasets) -> set[str]:
    return {str(name) for data in store.values() for name in data["sample"].values}
