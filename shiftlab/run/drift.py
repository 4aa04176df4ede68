"""Drift of the features in a run: the pass over the bodies, the tables, and the same for a run that is finished."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pandas as pd
import xarray as xr
from tqdm import tqdm

from shiftlab.arms import Arm, load_arms
from shiftlab.arms.network_arm import OneBody
from shiftlab.bias.drift.paired import FEWEST_VERTICES
from shiftlab.bias.drift.tables import BodyFeatures, drift_table, harm_table
from shiftlab.bias.first_order import LinearHeads, first_order_tables
from shiftlab.detector import Universe
from shiftlab.detector.recorder import Recorder, recorder
from shiftlab.errors import ConfigError, RunError
from shiftlab.events.deposits import Deposits
from shiftlab.plan import StudyConfig
from shiftlab.provenance import claim_folder
from shiftlab.report import report_from_folder
from shiftlab.report.record import table_path, write_table
from shiftlab.responses import RESPONSES, open_responses
from shiftlab.responses.features import (
    FEATURES,
    Features,
    feature_universes,
    first_order_of,
    layers_of,
    run_bodies,
)
from shiftlab.run.ingredients import (
    choose_device,
    choose_workers,
    identity,
    make_universes,
    read_events,
    read_variations,
)
from shiftlab.tasks import named_tasks

__all__ = ["drift_of_run", "measure_drift", "recorded_study"]

_CARDS: Final = (".json", ".csv")
"""Files of a checkpoint folder that describe and hold no weight."""

_FREE: Final = ("drift", "title")
"""Parts of a study that drift may be measured with whatever the run had."""


def measure_drift(
    config: StudyConfig,
    folder: Path,
    events: Any,
    variations: Mapping[str, Deposits],
    detector: Recorder,
    universes: Sequence[Universe],
    arms: Sequence[Arm],
    *,
    device: str,
    progress: bool,
) -> Path | None:
    """Write ``features.nc`` and the tables of drift, harm and mechanism.

    Args:
        config: The study; ``drift`` says how.
        folder: The run's folder, which holds the responses and ``bias.csv``.
        events: The evaluation events.
        variations: Twins of the events by another model.
        detector: The detector.
        universes: All of the study; those that displace one nuisance, not recalibrated, are looked at.
        arms: All of the study.
        device: torch device.
        progress: Show bars on stderr.

    Returns:
        The file of features; None where no arm of networks, no nuisance alone or too few vertices are there.

    Raises:
        DataError: the features are not of the networks of the responses, or too few events.
        RunError: a file cannot be written.
    """
    chosen, looked_at = _chosen(config, arms), feature_universes(universes)
    if not config.drift.events or not chosen or len(looked_at) < 2:
        return None
    if len(set(events.events.vertex.tolist())) < FEWEST_VERTICES:
        sys.stderr.write(f"drift: not measured, as it needs {FEWEST_VERTICES} vertices or more\n")
        return None
    features = run_bodies(
        events,
        detector,
        looked_at,
        chosen,
        named_tasks(config.tasks),
        most=config.drift.events,
        variations=variations,
        most_tokens=config.most_tokens,
        workers=choose_workers(config, device),
        device=device,
        progress=progress,
    )
    features.save(folder / FEATURES)
    for name, table in _tables(config, folder, features, progress).items():
        write_table(folder / table_path(name), table)
    return folder / FEATURES


def _chosen(config: StudyConfig, arms: Sequence[Arm]) -> list[Arm]:
    names = config.drift.arms
    return [arm for arm in arms if (isinstance(arm, OneBody) if names is None else arm.name in names)]


def _tables(config: StudyConfig, folder: Path, features: Features, progress: bool) -> dict[str, pd.DataFrame]:
    bodies = [_body(data) for data in features.bodies.values()]
    total = sum(len(body.universes) - 1 for body in bodies)
    interval = 0.1 if sys.stderr.isatty() else 15.0
    with tqdm(desc="drift", total=total, unit="universe", mininterval=interval, disable=not progress) as bar:
        drift = drift_table(bodies, trees=config.drift.trees, seed=config.seed, step=bar.update)
    biases = _biases(folder)
    heads = [head for data in features.bodies.values() for head in _linear_heads(data)]
    statistics = dict(zip(config.tasks, named_tasks(config.tasks), strict=True))
    with open_responses(folder / RESPONSES) as stored:
        explained, points = first_order_tables(
            heads, stored.datasets, statistics, biases, replicas=config.replicas, seed=config.seed
        )
    tables = {"drift": drift, "drift_harm": harm_table(drift, biases)}
    return {**tables, "mechanism": explained, "mechanism_points": points}


def _body(data: xr.Dataset) -> BodyFeatures:
    return BodyFeatures(
        arm=str(data.attrs["arm"]),
        task=str(data.attrs["task"]),
        seeds=tuple(int(seed) for seed in data["seed"].values),
        universes=tuple(str(name) for name in data["universe"].values),
        nuisance=tuple(str(name) for name in data["nuisance"].values),
        strength=data["strength"].values,
        throw=data["throw"].values,
        vertex=data["vertex_uid"].values,
        layers={name: layer.values for name, layer in layers_of(data).items()},
        matched=data["matched"].values,
        new=data["new"].values,
    )


def _linear_heads(data: xr.Dataset) -> list[LinearHeads]:
    """Return the heads of each seed on a body that all tasks share; none on a body of one task."""
    if data.attrs["task"]:
        return []
    answers = first_order_of(data)
    return [
        LinearHeads(
            arm=str(data.attrs["arm"]),
            seed=int(seed),
            universes=tuple(str(name) for name in data["universe"].values),
            routes=tuple(str(name) for name in data["route"].values),
            key=data["event"].values,
            outputs={task: values.values[number] for task, values in answers.items()},
            reasons=json.loads(data.attrs["not_linear"]),
        )
        for number, seed in enumerate(data["seed"].values)
    ]


def recorded_study(folder: Path) -> dict[str, Any]:
    """Return what a finished run says of its study, and the digests of its data and checkpoints.

    Raises:
        RunError: the folder is not that of a finished run.
    """
    try:
        known: dict[str, Any] = json.loads((folder / "identity.json").read_text(encoding="utf-8"))["identity"]
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise RunError(
            f"{folder} holds no identity.json of a study: it is not the folder of a finished run."
        ) from error
    if not (folder / "done").is_file() or not (folder / RESPONSES).is_file() or "study" not in known:
        raise RunError(f"{folder} is not the folder of a finished run; `shiftlab run` goes on with it.")
    return known


def drift_of_run(config: StudyConfig, folder: Path, *, progress: bool | None = True) -> Path:
    """Measure the drift of a finished run, write its report again and return the report's path.

    Args:
        config: The study of the run; only ``drift`` may differ.
        folder: The run's folder.
        progress: Show bars on stderr; None shows them on a terminal only.

    Raises:
        ConfigError: the study is another one, its data or checkpoints are, or no arm has features.
        RunError: the folder is not that of a finished run, or is in use.
        DataError: from ``measure_drift``.
    """
    known = recorded_study(folder)
    if not config.drift.events:
        config = replace(config, drift=replace(config.drift, events=256))
    device = choose_device(config.device)
    _refuse_other_study(known, identity(config, device))
    shown = sys.stderr.isatty() if progress is None else progress
    with claim_folder(folder, known):
        checkpoints = folder / "checkpoints" if config.retrain else config.arms.checkpoints
        events, _ = read_events(config)
        detector = recorder(config.detector, config.seed)
        made = measure_drift(
            config,
            folder,
            events,
            read_variations(config, events),
            detector,
            make_universes(config, detector),
            load_arms(checkpoints, config.arms.names, config.arms.seeds),
            device=device,
            progress=shown,
        )
        if made is None:
            raise ConfigError(
                f"drift.arms: none of {', '.join(config.arms.names)} has one body for all tasks (name arms of "
                f"networks), or the run displaces no nuisance alone, or has fewer than {FEWEST_VERTICES} vertices."
            )
        return report_from_folder(folder)


def _biases(folder: Path) -> pd.DataFrame:
    """Return the run's table of biases; a run from before ``not_quoted`` quotes all."""
    table = pd.read_csv(folder / "bias.csv", keep_default_na=False, na_values=[""], dtype={"not_quoted": "str"})
    return table.assign(not_quoted=table["not_quoted"].fillna("") if "not_quoted" in table else "")


def _refuse_other_study(known: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Refuse a study that is not that of the run; another source or version is no other study, nor is another card."""
    keys = [key for key in ("study", "evaluation", "variations", "manifest") if key in known]
    wrong = [line for key in keys for line in _differences(known[key], given.get(key), key)]
    weights = [{n: d for n, d in one["checkpoints"].items() if not n.endswith(_CARDS)} for one in (known, given)]
    wrong += _differences(weights[0], weights[1], "checkpoints")
    if wrong:
        raise ConfigError("this is not the study of the run: " + "; ".join(wrong[:5]) + ".")


def _differences(known: Any, given: Any, where: str) -> list[str]:
    """Return one line for each value that differs; keys that only one side has are of another version."""
    if isinstance(known, Mapping) and isinstance(given, Mapping):
        common = [key for key in known if key in given and not (where == "study" and key in _FREE)]
        return [line for key in common for line in _differences(known[key], given[key], f"{where}.{key}")]
    return [] if known == given else [f"{where} was {known}, and {given} is given"]
