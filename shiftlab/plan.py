"""The ingredients of one study: events, detector, universes, arms, tasks and exposure, as plain records."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shiftlab.responses.selection import AnalysisSelection
from shiftlab.templates.settings import TemplateSettings

if TYPE_CHECKING:
    from shiftlab.detector.universe import Recalibrate

__all__ = ["ArmPlan", "DataPlan", "StudyConfig", "TrainPlan", "UniversePlan"]


def _within(low: float | None = None, high: float | None = None, *, above: float | None = None) -> dict[str, Any]:
    """Return the metadata of a number that must lie in [low, high], or be greater than ``above``."""
    return {"low": low, "high": high, "above": above}


@dataclass(frozen=True)
class DataPlan:
    """Which events are looked at.

    Attributes:
        evaluation: Sample file that every arm is judged on.
        muons: Sample file of the calibration muons; None takes the sample ``calibration_muon`` of
            the evaluation file.
        train: Sample file for training; needed only when something is trained.
        variations: By name of an effect of the stage ``generate``, file of the same vertices as ``evaluation``,
            carried by another model.
        common_vertices: Whether vertices that only one file of a pair has are left out; otherwise they are an error.
        manifest: Split manifest of these files; None uses all events of each.
        part: Part of the manifest that the arms are judged on; needed with a manifest.
        train_part: Part of the manifest that is trained on; no arm is judged on it.
        mix_revisions: Whether arms may be judged on another revision of the data set that they were trained on.
        limit: How many events of each sample are used, from the start; None uses all.
    """

    evaluation: Path
    muons: Path | None = None
    train: Path | None = None
    variations: Mapping[str, Path] = field(default_factory=dict)
    common_vertices: bool = False
    manifest: Path | None = None
    part: str | None = None
    train_part: str = "train"
    mix_revisions: bool = False
    limit: int | None = field(default=None, metadata=_within(1))


@dataclass(frozen=True)
class UniversePlan:
    """Which displaced detectors are looked at, besides the nominal one.

    Attributes:
        strengths: Displacements of each nuisance in its sigma, one universe each.
        only: Nuisances that are displaced; None displaces all.
        throws: How many realisations of a frozen random map, by nuisance.
        joint: How many universes displace all nuisances together; even, for they come in pairs.
        mip: Nuisances that are looked at a second time after the muon recalibration.
        exact: Nuisances that are looked at once more with the calibration constants of the shifted detector itself.
    """

    strengths: tuple[float, ...] = field(default=(-1.0, 1.0), metadata=_within(-5.0, 5.0))
    only: tuple[str, ...] | None = None
    throws: Mapping[str, int] = field(default_factory=dict, metadata=_within(1, 64))
    joint: int = field(default=8, metadata=_within(0, 4096))
    mip: tuple[str, ...] = ()
    exact: tuple[str, ...] = ()

    @property
    def recalibrations(self) -> dict[Recalibrate, tuple[str, ...]]:
        """Nuisances that are looked at again, by the recalibration with which."""
        again: dict[Recalibrate, tuple[str, ...]] = {"mip": self.mip, "exact": self.exact}
        return {name: nuisances for name, nuisances in again.items() if nuisances}


@dataclass(frozen=True)
class TrainPlan:
    """How long the arms are trained; one presentation is one event shown to the network once.

    Attributes:
        body: Event presentations of the pre-training of the shared body.
        head: Event presentations of each head on the frozen body.
        scratch: Event presentations of each network that is trained from scratch for one task.
        minutes: Wall-clock limit of the whole training; it stops cleanly and says so.
    """

    body: int = field(default=25_000, metadata=_within(1))
    head: int = field(default=32_000, metadata=_within(1))
    scratch: int = field(default=25_000, metadata=_within(1))
    minutes: float = field(default=60.0, metadata=_within(above=0.0))


@dataclass(frozen=True)
class ArmPlan:
    """Which ways of producing the outputs are compared.

    Attributes:
        names: Arms, in the order of the report.
        seeds: Training seeds; each has its own checkpoint.
        checkpoints: Folder with the trained arms.
        train: How long they are trained.
    """

    names: tuple[str, ...]
    seeds: tuple[int, ...] = field(default=(0, 1), metadata=_within(0))
    checkpoints: Path = Path("studies/checkpoints/demo")
    train: TrainPlan = field(default_factory=TrainPlan)


@dataclass(frozen=True)
class StudyConfig:
    """One study, whole: two equal records give equal numbers (``workers`` apart, which changes none).

    Attributes:
        name: Name of the study; its runs live in ``outputs/<name>/``.
        title: The question in one line, for the report.
        data: Which events.
        detector: What ``Detector.from_config`` takes.
        universes: Which displaced detectors.
        arms: Which ways of producing the outputs.
        tasks: Which results, in the order of the report.
        exposure: Declared number of expected events of each sample in data.
        selection: Cuts of the analysis, run again in every universe.
        templates: Bins, thin bins, and the share of events that stands in for data.
        injected: Nuisances, in their sigma, of the universe that stands in for data in the fit.
        replicas: Bootstrap replicas over vertices.
        seed: Seed of every keyed draw of the detector, the universes and the bootstrap.
        chunk: Events per unit of work.
        workers: Processes that work at once; 0 takes one per core.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        retrain: Train afresh before evaluating, instead of loading the checkpoints.
        plugins: Loose Python files with effects, readers, tasks, arms or studies.
    """

    name: str
    title: str
    data: DataPlan
    detector: Mapping[str, Any]
    universes: UniversePlan
    arms: ArmPlan
    tasks: tuple[str, ...]
    exposure: Mapping[str, float] = field(metadata=_within(above=0.0))
    selection: AnalysisSelection = field(default_factory=AnalysisSelection)
    templates: TemplateSettings = field(default_factory=TemplateSettings)
    injected: Mapping[str, float] = field(default_factory=dict, metadata=_within(-5.0, 5.0))
    replicas: int = field(default=200, metadata=_within(2, 100_000))
    seed: int = field(default=1, metadata=_within(0, 2**31 - 1))
    chunk: int = field(default=256, metadata=_within(1, 100_000))
    workers: int = field(default=0, metadata=_within(0, 1024))
    device: str = "auto"
    retrain: bool = False
    plugins: tuple[Path, ...] = ()

    def plain(self) -> dict[str, Any]:
        """Return the study as JSON values (paths as text), for the record of a run."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain

    def identity(self) -> dict[str, Any]:
        """Return what decides the numbers: all but the number of workers and where files lie.

        The content of data, checkpoints and source enters a run's identity by digest.
        """
        plain = self.plain()
        for key in ("evaluation", "muons", "train", "manifest"):
            del plain["data"][key]
        plain["data"]["variations"] = sorted(plain["data"]["variations"])
        del plain["workers"], plain["arms"]["checkpoints"], plain["plugins"]
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and math.isinf(value):
        return str(value)  # JSON has no infinity; a detector reads the word, say of a ceiling that is not there
    return str(value) if isinstance(value, Path) else value
