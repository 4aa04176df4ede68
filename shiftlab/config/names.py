"""Names and values of a study against what is registered and what lies on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from shiftlab import arms, events, tasks
from shiftlab.arms.bodies import bodies
from shiftlab.arms.foundation_model import is_foundation
from shiftlab.arms.network_arm import NetworkArm
from shiftlab.arms.objectives import objectives
from shiftlab.arms.public.point_contract import PointContract
from shiftlab.arms.training.recipe import NETWORKS, OBJECTIVES
from shiftlab.detector import effects
from shiftlab.detector.prior import correlation_matrix
from shiftlab.detector.recorder import Recorder, recorder
from shiftlab.detector.scintillator.token_chain import TokenChain
from shiftlab.detector.universe import check_joint
from shiftlab.detector.variation import missing_variation
from shiftlab.errors import ConfigError, ShiftlabError, UnknownNameError
from shiftlab.events.splits import Manifest
from shiftlab.plan import ArmPlan, StudyConfig, UniversePlan
from shiftlab.registry import Registry
from shiftlab.tasks import CANDIDATES
from shiftlab.tasks.task import family

__all__ = ["check_files", "check_names", "network_mistakes", "registry"]

_EXPOSED: Final = (*CANDIDATES, "nc")
"""Samples of which data may have events, alone or by the pions of their interaction."""

_REGISTRIES: Final[Mapping[str, Callable[[], Registry[Any]]]] = {
    "arms": arms.arms,
    "bodies": bodies,
    "effects": effects,
    "objectives": objectives,
    "readers": events.readers,
    "tasks": tasks.tasks,
}


def registry(kind: str, plugins: Sequence[Path] = ()) -> Registry[Any]:
    """Return what can be plugged in, by the word that ``shiftlab list`` uses.

    Args:
        kind: ``arms``, ``bodies``, ``effects``, ``objectives``, ``readers`` or ``tasks``.
        plugins: Loose Python files whose classes are added.

    Raises:
        ConfigError: a file is missing or cannot be imported.
    """
    found: Registry[Any] = _REGISTRIES[kind]()
    for path in plugins:
        found.add_file(path)
    return found


def check_names(study: StudyConfig, mistakes: list[str]) -> None:
    """Add one message for each arm, task, nuisance or sample that does not exist, or value out of its bounds."""
    try:
        known = {kind: registry(kind, study.plugins) for kind in _REGISTRIES}
    except ShiftlabError as error:
        mistakes.append(str(error))
        return
    _check_list("arms.names", "arm", study.arms.names, known["arms"].names(), mistakes)
    _check_list("tasks.names", "task", study.tasks, known["tasks"].names(), mistakes)
    families = [name for name in study.exposure if family(name) not in _EXPOSED]
    mistakes += [f"exposure: {UnknownNameError('sample', name, _EXPOSED)}" for name in families]
    if not study.exposure:
        mistakes.append(f"exposure: empty; name at least one of {', '.join(_EXPOSED)}.")
    if not study.arms.seeds:
        mistakes.append("arms.seeds: empty; name at least one.")
    _check_drift(study, known["arms"], mistakes)
    _check_universes(study.universes, mistakes)
    detector: Recorder | None = None
    try:
        detector = recorder(study.detector)
    except ShiftlabError as error:
        mistakes.append(f"detector: {error}")
    given = "tokens" if isinstance(detector, TokenChain) else "images"
    mistakes += network_mistakes(study.arms.body, study.arms.size, study.arms.objective, known, given)
    if detector is None:
        return
    _check_inputs(study, detector.name, given, known, mistakes)
    _check_nuisances(study, detector, mistakes)
    _check_correlations(study.universes, detector, mistakes)
    _check_views(study, detector, known, mistakes)
    _check_variations(study, detector, mistakes)


def check_files(study: StudyConfig, purpose: Literal["run", "train"], mistakes: list[str]) -> None:
    """Add one message for each file that the study needs and that is not there."""
    data = study.data
    for key in ("evaluation", "muons", "train", "manifest"):
        path = getattr(data, key)
        if path is not None and not path.is_file():
            mistakes.append(f"data.{key}: no file '{path}'.")
    for name, path in data.variations.items():
        if not path.is_file():
            mistakes.append(f"data.variations.{name}: no file '{path}'.")
    _check_parts(study, purpose, mistakes)
    if (purpose == "train" or study.retrain) and data.train is None:
        mistakes.append("data.train: missing; training needs a sample, which `make samples` makes.")
    if purpose == "train" or study.retrain:
        _check_foundation(study.arms, mistakes)
    else:
        _check_not_trained(study.arms, mistakes)
    if purpose == "run" and not study.retrain and not study.arms.checkpoints.is_dir():
        mistakes.append(
            f"arms.checkpoints: no folder '{study.arms.checkpoints}'; `shiftlab train study={study.name}` makes it."
        )


def network_mistakes(
    body: str | None, size: str | None, objective: str | None, known: Mapping[str, Registry[Any]], given: str = "images"
) -> list[str]:
    """Return one message for each of body, size and objective that does not exist or does not fit what is given."""
    found = []
    objective = objective or OBJECTIVES[given]
    if objective not in known["objectives"].names():
        found.append(f"arms.objective: {UnknownNameError('objective', objective, known['objectives'].names())}")
    name = body or NETWORKS[given]
    if name not in known["bodies"].names():
        return [*found, f"arms.body: {UnknownNameError('body', name, known['bodies'].names())}"]
    kind = known["bodies"].get(name)
    if kind.contract_type is PointContract:  # nothing here teaches it
        return [
            *found,
            f"arms.body: '{name}' is a public model; `shiftlab adopt {name} CHECKPOINT FOLDER` takes it over, and "
            "arms.foundation=FOLDER puts heads on it.",
        ]
    if size is not None and size not in kind.sizes:
        found.append(f"arms.size: {UnknownNameError(f'size of body {name}', size, kind.sizes)}")
    if kind.input != given:
        found.append(f"arms.body: '{name}' takes {kind.input}; the detector gives {given}.")
    elif not found and known["objectives"].get(objective).input != kind.input:
        found.append(f"arms.objective: '{objective}' is about {known['objectives'].get(objective).input}, not {given}.")
    return found


def _check_foundation(plan: ArmPlan, mistakes: list[str]) -> None:
    """Add one message where the foundation model is not there, or is named beside another network."""
    if plan.foundation is None:
        return
    if not is_foundation(plan.foundation):
        mistakes.append(
            f"arms.foundation: no foundation model in '{plan.foundation}'; `shiftlab pretrain out={plan.foundation}` "
            "makes one, or `shiftlab adopt`."
        )
    for key in ("body", "size"):
        if getattr(plan, key) is not None:
            mistakes.append(f"arms.{key}: '{getattr(plan, key)}' is given; arms.foundation has its own. Leave one out.")


def _check_not_trained(plan: ArmPlan, mistakes: list[str]) -> None:
    """Add one message for each key about networks that a run of trained arms would silently leave aside."""
    for key in ("body", "size", "foundation"):
        if getattr(plan, key) is not None:
            mistakes.append(
                f"arms.{key}: '{getattr(plan, key)}' is given; this run judges trained arms as they are (those in "
                f"'{plan.checkpoints}'). Leave it out, or train such arms (`shiftlab train`, or retrain=true)."
            )


def _check_parts(study: StudyConfig, purpose: Literal["run", "train"], mistakes: list[str]) -> None:
    """Add one message for each part of the manifest that is missing, does not exist or is trained on."""
    data = study.data
    if data.manifest is None or not data.manifest.is_file():
        if data.manifest is None and data.part is not None:
            mistakes.append(f"data.part: '{data.part}' is given; it needs data.manifest, which `shiftlab split` makes.")
        return
    try:
        parts = Manifest.load(data.manifest).parts
    except ConfigError as error:
        mistakes.append(f"data.manifest: {error}")
        return
    wanted = {"part": data.part} if purpose == "run" else {}
    if purpose == "train" or study.retrain:
        wanted["train_part"] = data.train_part
    for key, part in wanted.items():
        if part is None:
            mistakes.append(f"data.{key}: missing; the manifest has {', '.join(parts)}.")
        elif part not in parts:
            mistakes.append(f"data.{key}: {UnknownNameError('part', part, parts)}")
    if purpose == "run" and data.part == data.train_part:
        mistakes.append(f"data.part: '{data.part}' is the part that is trained on (data.train_part).")


def _check_inputs(
    study: StudyConfig, detector: str, given: str, known: Mapping[str, Registry[Any]], mistakes: list[str]
) -> None:
    """Add one message for each task that is asked of images where there are tokens, or the other way round."""
    for name in study.tasks:
        if name in known["tasks"].names() and known["tasks"].get(name).input != given:
            asked = known["tasks"].get(name).input
            mistakes.append(f"tasks.names: '{name}' is asked of {asked}; detector '{detector}' gives {given}.")


def _check_views(
    study: StudyConfig, detector: Recorder, known: Mapping[str, Registry[Any]], mistakes: list[str]
) -> None:
    """Add one message for each task or arm that needs voxels where wire planes see projections."""
    if detector.geometry is None or detector.geometry.views == 1:
        return
    for name in study.tasks:
        if name in known["tasks"].names() and known["tasks"].get(name).level != "event":
            mistakes.append(f"tasks.names: '{name}' labels voxels, which detector '{detector.name}' of wires has not.")
    for name in study.arms.names:
        if name in known["arms"].names() and not known["arms"].get(name).views:
            mistakes.append(f"arms.names: '{name}' takes images of voxels; detector '{detector.name}' is one of wires.")


def _check_list(key: str, what: str, given: Sequence[str], allowed: Sequence[str], mistakes: list[str]) -> None:
    if not given:
        mistakes.append(f"{key}: empty; name at least one of {', '.join(allowed)}.")
    mistakes += [f"{key}: {UnknownNameError(what, name, allowed)}" for name in given if name not in allowed]


def _check_drift(study: StudyConfig, known: Registry[Any], mistakes: list[str]) -> None:
    """Add one message for each arm whose drift is asked for and that is not run, or has no network."""
    for name in study.drift.arms or ():
        if name not in study.arms.names:
            mistakes.append(f"drift.arms: {UnknownNameError('arm of this study', name, study.arms.names)}")
        elif name in known.names() and not issubclass(known.get(name), NetworkArm):
            mistakes.append(f"drift.arms: arm '{name}' has no network, so it has no features; leave it out.")


def _check_universes(plan: UniversePlan, mistakes: list[str]) -> None:
    """Add one message where joint universes cannot be shared out, or strengths are not what the covariance needs."""
    problem = check_joint(plan.joint, plan.draws, plan.scramblings) if plan.joint else ""
    if problem:
        mistakes.append(f"universes.joint: {problem}")
    if 0.0 in plan.strengths:
        mistakes.append("universes.strengths: 0 is given; that is the nominal universe, which is there in any case.")
    elif plan.strengths and not {-1.0, 1.0} & set(plan.strengths):
        listed = ", ".join(f"{strength:g}" for strength in plan.strengths)
        mistakes.append(
            f"universes.strengths: [{listed}] is given; the covariance of the tasks is made of universes at one sigma, "
            "so 1 and -1 must be among them (or none at all: [])."
        )


def _check_correlations(plan: UniversePlan, detector: Recorder, mistakes: list[str]) -> None:
    """Add one message where the correlations of the prior contradict each other or name no nuisance."""
    try:
        correlation_matrix([nuisance.name for nuisance in detector.nuisances], plan.correlations)
    except ConfigError as error:
        mistakes.append(f"universes.correlations: {str(error).removeprefix('correlations: ')}")


def _check_nuisances(study: StudyConfig, detector: Recorder, mistakes: list[str]) -> None:
    parameters = {nuisance.name: nuisance.parameter for nuisance in detector.nuisances}
    universes = study.universes
    wanted: list[tuple[str, str, tuple[float, ...]]] = [
        *(("universes.only", name, ()) for name in universes.only or ()),
        *(("universes.throws", name, ()) for name in universes.throws),
        *((f"universes.{key}", name, ()) for key, names in universes.recalibrations.items() for name in names),
        *(("injected", name, (value,)) for name, value in study.injected.items()),
        *(("templates.processing.shape_only", name, ()) for name in study.templates.processing.shape_only),
        *(("templates.processing.correlate", name, ()) for name in study.templates.processing.correlate),
        *(
            ("universes.strengths", name, tuple(s for s in universes.strengths if parameter.two_sided or s > 0))
            for name, parameter in parameters.items()
            if universes.unphysical == "error"
        ),
    ]
    for key, name, strengths in wanted:
        if name not in parameters:
            mistakes.append(f"{key}: {UnknownNameError('nuisance', name, parameters)}")
            continue
        for strength in strengths:
            try:
                parameters[name].value(strength)
            except ConfigError as error:
                mistakes.append(f"{key}: {name} at {strength:+g} sigma: {error}")


def _check_variations(study: StudyConfig, detector: Recorder, mistakes: list[str]) -> None:
    """Add one message for each paired file without its effect, and each such effect without its file."""
    given = study.data.variations
    uncertain = {nuisance.effect for nuisance in detector.nuisances}
    for name in given:
        if name not in detector.generators:
            problem = UnknownNameError("effect of the stage generate", name, detector.generators)
            mistakes.append(f"data.variations.{name}: {problem} detector.effects.{name}={{}} adds it.")
    for name in detector.generators:
        if name in uncertain and name not in given:
            mistakes.append(f"data.variations.{name}: missing; {missing_variation(name)}")
