"""The ingredients of one study: events, detector, universes, arms, tasks and exposure, as plain records."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from shiftlab.errors import ConfigError
from shiftlab.responses.emulation.settings import EmulationSettings
from shiftlab.responses.selection import AnalysisSelection
from shiftlab.templates.processing.settings import ProcessingSettings
from shiftlab.templates.settings import TemplateSettings

if TYPE_CHECKING:
    from shiftlab.detector.universe import Recalibrate

__all__ = [
    "ArmPlan",
    "DataPlan",
    "DriftPlan",
    "EmulationPlan",
    "PretrainingArms",
    "PretrainingData",
    "PretrainingPlan",
    "StudyConfig",
    "TrainPlan",
    "UniversePlan",
]


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
        unphysical: What is done where a strength takes a parameter beyond what the detector can record: an error, or
            the universe is left out.
        only: Nuisances that are displaced; None displaces all.
        throws: How many realisations of a frozen random map, by nuisance.
        joint: How many universes displace all nuisances together; in antithetic pairs where ``draws`` is ``sobol``.
        draws: How those are drawn from the prior: ``sobol``, scrambled and in antithetic pairs, or ``independent``.
        scramblings: Independent Sobol scramblings that they are shared out to: 1, or at least 8, from whose spread an
            interval over universes is made.
        correlations: Of nuisances in the prior, by pair, say ``gain_scale+lifetime_tau``; others are independent.
        mip: Nuisances that are looked at a second time after the muon recalibration.
        exact: Nuisances that are looked at once more with the calibration constants of the shifted detector itself.
    """

    strengths: tuple[float, ...] = field(default=(-1.0, 1.0), metadata=_within(-5.0, 5.0))
    unphysical: Literal["error", "leave_out"] = "error"
    only: tuple[str, ...] | None = None
    throws: Mapping[str, int] = field(default_factory=dict, metadata=_within(1, 64))
    joint: int = field(default=8, metadata=_within(0, 4096))
    draws: Literal["sobol", "independent"] = "sobol"
    scramblings: int = field(default=1, metadata=_within(1, 2048))
    correlations: Mapping[str, float] = field(default_factory=dict, metadata=_within(-1.0, 1.0))
    mip: tuple[str, ...] = ()
    exact: tuple[str, ...] = ()

    @property
    def recalibrations(self) -> dict[Recalibrate, tuple[str, ...]]:
        """Nuisances that are looked at again, by the recalibration with which."""
        again: dict[Recalibrate, tuple[str, ...]] = {"mip": self.mip, "exact": self.exact}
        return {name: nuisances for name, nuisances in again.items() if nuisances}


@dataclass(frozen=True)
class TrainPlan:
    """How the arms are trained; one presentation is one event shown to the network once.

    All but ``minutes`` are the fields of the same name of ``shiftlab.arms.training.recipe.Recipe``, which says more.

    Attributes:
        body: Event presentations of the pre-training of the shared body.
        head: Event presentations of each head on the frozen body.
        scratch: Event presentations of each network that is trained from scratch for one task.
        finetune: Event presentations of each network that starts from the foundation model.
        multitask: Event presentations, for each task, of the network that learns all tasks from scratch.
        labels: Labelled events of each task; 0 uses all. Fewer are among more, and all arms of a seed get the same.
        batch: Events per step.
        body_rate: Peak learning rate of the pre-training.
        head_rate: The same of heads.
        scratch_rate: The same of bodies from scratch.
        finetune_rate: The same of bodies that start from the foundation model.
        frozen: Share of the fine-tuning in which the body stays frozen.
        decay: Weight decay.
        warm_up: Share of the steps in which the rate climbs.
        clip: Largest norm of the gradient.
        ema: Decay per step of the running average of the weights; 0 for none.
        validation: Share of the training vertices that judges the training; 0 for none.
        validate_every: Steps between two validations; 0 takes a twentieth of the training.
        patience: Validations without a lower loss after which a training ends; 0 for never.
        precision: Of matrix products.
        compile: Compile the blocks of networks.
        pieces: Parts of each step that processes share; a multiple of their number.
        event_trees: Trees of each of the classic arm's models of events.
        minutes: Wall-clock limit of the whole training; it stops cleanly and says so.
    """

    body: int = field(default=25_000, metadata=_within(1))
    head: int = field(default=32_000, metadata=_within(1))
    scratch: int = field(default=25_000, metadata=_within(1))
    finetune: int = field(default=25_000, metadata=_within(1))
    multitask: int = field(default=25_000, metadata=_within(1))
    labels: int = field(default=0, metadata=_within(0))
    batch: int = field(default=16, metadata=_within(1))
    body_rate: float = field(default=1.5e-3, metadata=_within(above=0.0))
    head_rate: float = field(default=3e-3, metadata=_within(above=0.0))
    scratch_rate: float = field(default=1e-3, metadata=_within(above=0.0))
    finetune_rate: float = field(default=3e-4, metadata=_within(above=0.0))
    frozen: float = field(default=0.2, metadata=_within(0.0, 0.9))
    decay: float = field(default=0.05, metadata=_within(0.0))
    warm_up: float = field(default=0.05, metadata=_within(0.0, 1.0))
    clip: float = field(default=1.0, metadata=_within(above=0.0))
    ema: float = field(default=0.0, metadata=_within(0.0, 0.99999))
    validation: float = field(default=0.0, metadata=_within(0.0, 0.9))
    validate_every: int = field(default=0, metadata=_within(0))
    patience: int = field(default=0, metadata=_within(0))
    precision: Literal["float32", "bf16"] = "float32"
    compile: bool = False
    pieces: int = field(default=1, metadata=_within(1))
    event_trees: int = field(default=200, metadata=_within(1))
    minutes: float = field(default=60.0, metadata=_within(above=0.0))

    def __post_init__(self) -> None:
        """Refuse a fine-tuning that moves the body as fast as the head.

        Raises:
            ConfigError: the body's rate is not below the head's.
        """
        if self.finetune_rate >= self.head_rate:
            raise ConfigError(
                f"arms.train.finetune_rate: {self.finetune_rate:g} is given; a body that starts from a foundation "
                f"model learns more slowly than its head (arms.train.head_rate = {self.head_rate:g})."
            )


@dataclass(frozen=True)
class ArmPlan:
    """Which ways of producing the outputs are compared.

    Attributes:
        names: Arms, in the order of the report.
        seeds: Training seeds; each has its own checkpoint.
        checkpoints: Folder with the trained arms.
        train: How long they are trained.
        body: Network of all arms that have one; None takes the foundation model's, else ``voxel_transformer``, or
            ``token_transformer`` for tokens.
        size: Its size; None takes the foundation model's, else ``tiny``.
        objective: Objective of the pre-training.
        foundation: Folder of the foundation model of all seeds; None pre-trains one for each seed.
    """

    names: tuple[str, ...]
    seeds: tuple[int, ...] = field(default=(0, 1), metadata=_within(0))
    checkpoints: Path = Path("studies/checkpoints/demo")
    train: TrainPlan = field(default_factory=TrainPlan)
    body: str | None = None
    size: str | None = None
    objective: str = "masked_modelling"
    foundation: Path | None = None


@dataclass(frozen=True)
class DriftPlan:
    """How far shifts move what networks make of an event, and whether that tells of the biases.

    Attributes:
        events: Evaluated events whose features are compared, taken evenly; 0 measures no drift.
        arms: Whose features; None takes the arms with one body for all tasks. The mechanism is theirs alone.
        trees: Layers in which trees are taught to tell shifted from nominal features, which takes longest: the last
            one, all or none. It takes 100 vertices; fewer have no such test.
    """

    events: int = field(default=0, metadata=_within(0))
    arms: tuple[str, ...] | None = None
    trees: Literal["last", "all", "none"] = "last"


@dataclass(frozen=True)
class PretrainingData:
    """What a foundation model learns from; labels are not looked at.

    Attributes:
        train: Files of deposits, or of tokens where the detector takes them, in order.
        manifest: Split manifest of these files; None uses all events of each.
        train_part: Part of the manifest that is learned from.
    """

    train: tuple[Path, ...]
    manifest: Path | None = None
    train_part: str = "train"


@dataclass(frozen=True)
class PretrainingArms:
    """Which network learns, and how; fields as of ``ArmPlan``.

    Attributes:
        body: Network; None takes ``voxel_transformer``, or ``token_transformer`` for tokens.
        size: Its size.
        objective: Objective of the pre-training; None takes ``masked_modelling``, or ``classify_and_generate`` for
            tokens.
        seed: Training seed.
        train: How long; only what concerns the pre-training is used.
    """

    body: str | None = None
    size: str = "tiny"
    objective: str | None = None
    seed: int = field(default=0, metadata=_within(0))
    train: TrainPlan = field(default_factory=TrainPlan)


@dataclass(frozen=True)
class PretrainingPlan:
    """One pre-training, whole.

    Attributes:
        data: Which events.
        out: Folder of the foundation model.
        detector: What ``recorder`` takes; its nominal images or tokens are learned from.
        arms: Which network, and how.
        licence: Licence of the weights, for the card.
        seed: Seed of the detector's draws.
        workers: Processes that make images; 0 takes one per core.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    """

    data: PretrainingData
    out: Path
    detector: Mapping[str, Any]
    arms: PretrainingArms = field(default_factory=PretrainingArms)
    licence: str = "CC-BY-4.0"
    seed: int = field(default=1, metadata=_within(0, 2**31 - 1))
    workers: int = field(default=0, metadata=_within(0, 1024))
    device: str = "auto"


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
        drift: Whether and how the drift of features is measured.
        replicas: Bootstrap replicas over vertices.
        seed: Seed of every keyed draw of the detector, the universes and the bootstrap.
        chunk: Events per unit of work.
        workers: Processes that work at once; 0 takes one per core.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        most_tokens: Tokens of an event that a network is shown; an event with more is counted and answered as an empty
            image is; None for no limit.
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
    drift: DriftPlan = field(default_factory=DriftPlan)
    replicas: int = field(default=200, metadata=_within(2, 100_000))
    seed: int = field(default=1, metadata=_within(0, 2**31 - 1))
    chunk: int = field(default=256, metadata=_within(1, 100_000))
    workers: int = field(default=0, metadata=_within(0, 1024))
    device: str = "auto"
    most_tokens: int | None = field(default=None, metadata=_within(1))
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
        del plain["workers"], plain["arms"]["checkpoints"], plain["arms"]["foundation"], plain["plugins"]
        usual = UniversePlan()
        for key in ("unphysical", "draws", "scramblings", "correlations"):
            # Left out where it says nothing new, so that a study from before these keys has the same identity.
            if plain["universes"][key] == getattr(usual, key):
                del plain["universes"][key]
        if not self.drift.events:
            del plain["drift"]
        for key, value in (("processing", ProcessingSettings()), ("overlap", "partition")):
            if getattr(self.templates, key) == value:
                del plain["templates"][key]
        return plain


@dataclass(frozen=True)
class EmulationPlan:
    """Which universes are emulated from the responses of a finished run.

    Attributes:
        universes: Its ``joint`` universes are emulated, drawn as ``draws``, ``scramblings`` and ``only`` say; the prior
            is that of the run.
        emulation: Form of the response, and limits of closure.
        tasks: Which tasks; None takes all of the run.
        seed: Of the draws; None takes another one than the run's, whose joint universes test the closure.
        replicas: Bootstrap replicas of the biases; None takes the run's.
        out: Folder of what is written; None takes ``emulated`` in the run's folder.
        gradients: Whether responses are also found by automatic differentiation, and used where these agree with the
            finite ones; needs ``evaluation`` and ``checkpoints``.
        evaluation: Sample file that the run evaluated.
        checkpoints: Folder of the arms that it evaluated.
        plugins: Loose Python files that the run used.
    """

    universes: UniversePlan = field(default_factory=UniversePlan)
    emulation: EmulationSettings = field(default_factory=EmulationSettings)
    tasks: tuple[str, ...] | None = None
    seed: int | None = field(default=None, metadata=_within(0, 2**31 - 1))
    replicas: int | None = field(default=None, metadata=_within(2, 100_000))
    out: Path | None = None
    gradients: bool = False
    evaluation: Path | None = None
    checkpoints: Path | None = None
    plugins: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        """Refuse gradients of unknown events or networks.

        Raises:
            ConfigError: ``gradients`` without ``evaluation`` or ``checkpoints``.
        """
        for key in ("evaluation", "checkpoints"):
            if self.gradients and getattr(self, key) is None:
                raise ConfigError(f"{key}: missing; gradients=true differentiates what the run evaluated.")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and math.isinf(value):
        return str(value)  # JSON has no infinity; a detector reads the word, say of a ceiling that is not there
    return str(value) if isinstance(value, Path) else value
