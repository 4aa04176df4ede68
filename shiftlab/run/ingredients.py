"""What one study is made of: its events, its universes, and the identity that decides its numbers."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import torch

from shiftlab.arms.images.store import TrainingFile
from shiftlab.detector import NOMINAL, Universe, multisim, unisim
from shiftlab.detector.recorder import Recorder
from shiftlab.errors import ConfigError, DataError
from shiftlab.events import Deposits
from shiftlab.events.pairs import pair, refuse_other_medium
from shiftlab.events.sample import refuse_changed
from shiftlab.events.splits import Manifest
from shiftlab.plan import StudyConfig
from shiftlab.provenance import digest_file, digest_source, versions
from shiftlab.responses.shards import read_events as read_all

__all__ = [
    "choose_device",
    "choose_workers",
    "digest_folder",
    "identity",
    "make_universes",
    "read_events",
    "read_training",
    "read_variations",
    "refuse_universes",
    "sample_summary",
    "training_file",
]

_MUONS: Final = "calibration_muon"
"""The sample that the muon calibration uses; it is never evaluated."""


def read_events(config: StudyConfig) -> tuple[Any, Any]:
    """Return the evaluation events, at most ``data.limit`` of each sample, and the calibration muons.

    With a manifest, both are those of the part ``data.part``; muons of a file of their own are taken whole. With
    paired files and ``data.common_vertices``, the events are those whose vertex is in every file.

    Raises:
        ConfigError: the manifest is broken, or the part is missing or the one that is trained on.
        DataError: a file is broken, an event is not in the manifest, or no events are left.
    """
    everything = _read(config.data.evaluation)
    if config.data.manifest is not None:
        manifest = Manifest.load(config.data.manifest)
        everything = manifest.select(everything, _evaluated_part(config, manifest))
    common = torch.ones(len(everything), dtype=torch.bool)
    if config.data.common_vertices:
        for path in config.data.variations.values():
            both, _ = pair(everything, _read(path), common=True)
            common &= torch.isin(everything.events.key, both.events.key)
    rows: dict[str, list[int]] = defaultdict(list)
    for i, sample in enumerate(everything.events.sample):
        if sample == _MUONS or common[i]:
            rows[sample].append(i)
    muons = everything.take(rows.pop(_MUONS, [])) if config.data.muons is None else _read(config.data.muons)
    kept = sorted(i for group in rows.values() for i in group[: config.data.limit])
    if not kept:
        raise DataError(f"{config.data.evaluation}: no event is left to evaluate.")
    return everything.take(kept), muons


def read_variations(config: StudyConfig, events: Any) -> dict[str, Deposits]:
    """Return the twins of the evaluation events from the paired files, by name of the effect, in their order.

    Raises:
        DataError: a file is broken or of another medium, or lacks vertices of these events.
    """
    found = {}
    for name, path in config.data.variations.items():
        refuse_other_medium(config.data.evaluation, path)
        try:
            twin = _read(path)
            wanted = torch.isin(twin.events.vertex, events.events.vertex)
            found[name] = pair(events, twin.take(torch.nonzero(wanted).squeeze(1)))[1]
        except DataError as error:
            raise DataError(f"data.variations.{name}: {config.data.evaluation} and {path}: {error}") from error
    return found


def _read(path: Path) -> Any:
    """Return the deposits or tokens of a file; a sample that was changed after it was written is refused."""
    refuse_changed(path)
    return read_all(path)


def _evaluated_part(config: StudyConfig, manifest: Manifest) -> str:
    part = config.data.part
    if part is None:
        raise ConfigError(f"data.part: missing; the manifest has {', '.join(manifest.parts)}.")
    if part == config.data.train_part:
        raise ConfigError(
            f"data.part={part}: the arms are trained on this part (data.train_part) and cannot be judged on it."
        )
    return part


def read_training(config: StudyConfig) -> Any:
    """Return the training events: the whole file, or the manifest's part ``data.train_part`` of it.

    Raises:
        ConfigError: no file is given, or the manifest is broken or lacks the part.
        DataError: the file is broken, or an event is not in the manifest.
    """
    file = training_file(config)
    events = _read(file.path)
    return events if file.manifest is None else file.manifest.select(events, file.part)


def training_file(config: StudyConfig) -> TrainingFile:
    """Return the file of the training events, of which nothing is read, and the part that is trained on.

    Raises:
        ConfigError: no file is given, or the manifest is broken.
    """
    if config.data.train is None:
        raise ConfigError("data.train: missing; training needs a sample, which `make samples` makes.")
    manifest = None if config.data.manifest is None else Manifest.load(config.data.manifest)
    return TrainingFile(config.data.train, manifest, config.data.train_part)


def make_universes(config: StudyConfig, detector: Recorder) -> tuple[Universe, ...]:
    """Return nominal, unisims, joint and injected universes, and those that are recalibrated.

    Raises:
        UnknownNameError: the study names no nuisance of the detector.
        ConfigError: a value is outside its bounds.
    """
    plan = config.universes
    found = [NOMINAL, *unisim(detector, plan.strengths, plan.throws, only=plan.only, unphysical=plan.unphysical)]
    if plan.joint:
        found += multisim(
            detector,
            plan.joint,
            seed=config.seed,
            draws=plan.draws,
            scramblings=plan.scramblings,
            correlations=plan.correlations,
        )
    shift = tuple(config.injected.items())
    if shift:
        found.append(Universe("injected", shift, group="injected"))
    for name, again in plan.recalibrations.items():
        throws = {nuisance: count for nuisance, count in plan.throws.items() if nuisance in again}
        found += unisim(detector, plan.strengths, throws, name, again, plan.unphysical)
        if shift:
            found.append(Universe(f"injected_{name}", shift, recalibrate=name, group="injected"))
    for universe in found:
        detector.values(universe)
    return tuple(found)


def refuse_universes(detector: Recorder, universes: Iterable[Universe], events: Any, muons: Any) -> None:
    """Refuse universes that these events cannot answer, before anything is trained or evaluated.

    Raises:
        ConfigError: an effect is displaced that needs what the file lacks; the message gives the keys to leave it out.
    """
    for universe in universes:
        for sample in (events, muons) if universe.recalibrate == "mip" else (events,):
            try:
                detector.refuse(universe, sample)
            except ConfigError as error:
                refused = [n for n in detector.nuisances if n.name in detector.refused(sample)]
                keys = " ".join(f"detector.effects.{n.effect}.{n.parameter.name}.sigma=0" for n in refused)
                raise ConfigError(f"{error} Leave such parameters out of the study with {keys}") from error


def sample_summary(detector: Recorder, events: Any) -> dict[str, float]:
    """Return ``Detector.summary`` of at most 256 events, taken evenly from ``events``."""
    return detector.summary(events.take(list(range(0, len(events), max(1, len(events) // 256)))))


def choose_device(name: str) -> str:
    """Return the torch device that ``name`` means; ``auto`` takes a GPU when there is one.

    Raises:
        ConfigError: there is no such device.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"device = {name}: torch has no such device here. Allowed: auto, cpu, cuda, cuda:N."
        ) from error
    return name


def choose_workers(config: StudyConfig, device: str) -> int:
    """Return the number of worker processes: as asked, else one per core, or one that drives a GPU."""
    if config.workers:
        return config.workers
    return (os.cpu_count() or 1) if device == "cpu" else 1


def identity(config: StudyConfig, device: str) -> dict[str, Any]:
    """Return what decides the numbers of a run: config, source, data, checkpoints, plug-ins, device, versions.

    Raises:
        DataError: a file cannot be read.
    """
    data = config.data
    weights = {} if config.retrain else digest_folder(config.arms.checkpoints)
    try:
        return {
            "study": config.identity() | {"device": device},
            "source": digest_source(),
            "versions": versions(),
            "evaluation": digest_file(data.evaluation),
            "muons": digest_file(data.muons) if data.muons else None,
            "variations": {name: digest_file(path) for name, path in data.variations.items()},
            "train": digest_file(data.train) if data.train and config.retrain else None,
            "foundation": digest_folder(config.arms.foundation) if config.arms.foundation and config.retrain else None,
            "manifest": digest_file(data.manifest) if data.manifest else None,
            "checkpoints": weights,
            "plugins": [digest_file(path) for path in config.plugins],
        }
    except OSError as error:
        raise DataError(f"cannot read '{error.filename}': {error.strerror}.") from error


def digest_folder(folder: Path) -> dict[str, str]:
    """Return the digest of every file of a folder, by its path there."""
    return {str(path.relative_to(folder)): digest_file(path) for path in sorted(folder.rglob("*")) if path.is_file()}
