"""The seven steps of one study, from events to report, in one folder that can be stopped and gone on from."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from shiftlab.arms import Arm, foundations, load_arms
from shiftlab.arms.coverage import seen_by
from shiftlab.arms.tokens.contract import TokenContract
from shiftlab.bias import Bias, bias
from shiftlab.bias.currency import in_parameter
from shiftlab.detector import Detector
from shiftlab.detector.recorder import Recorder, recorder
from shiftlab.fit import FitResult, fit_all
from shiftlab.fit.parameter import parameter_shifts
from shiftlab.plan import StudyConfig
from shiftlab.provenance import write_json
from shiftlab.report import report, report_from_folder
from shiftlab.responses import RESPONSES, Responses, open_responses, respond
from shiftlab.run.drift import measure_drift
from shiftlab.run.folder import RunFolder, open_run
from shiftlab.run.ingredients import (
    choose_device,
    choose_workers,
    identity,
    make_universes,
    read_events,
    read_variations,
    refuse_universes,
    sample_summary,
)
from shiftlab.run.study import Study, studies
from shiftlab.run.training import retrained
from shiftlab.tasks import named_tasks
from shiftlab.templates import Templates
from shiftlab.templates import templates as templates_all

__all__ = ["report_folder", "run_study"]

REPORT: Final = "report.html"

Fits = Mapping[tuple[str, int], FitResult]


def run_study(
    config: StudyConfig, *, root: Path = Path("outputs"), fresh: bool = False, progress: bool | None = True
) -> Path:
    """Run one study in ``<root>/<study>/<identity>/`` and return the path of its report.

    A run that was stopped goes on where it was; one that is done is left alone. ``latest`` beside
    the folder points to the run that finished or was asked for last.

    Args:
        config: the ingredients.
        root: folder of all runs.
        fresh: discard what the run's folder holds.
        progress: show budget, bars and steps on stderr; None shows them on a terminal only.

    Raises:
        ShiftlabError: something is wrong with the ingredients or the folder; the message says what.
    """
    device = choose_device(config.device)
    with open_run(root, config.name, identity(config, device), fresh=fresh) as folder:
        if not folder.done:
            _seven_steps(config, folder, device, sys.stderr.isatty() if progress is None else progress)
            folder.finish()
        folder.point_latest()
        return folder.path / REPORT


def report_folder(folder: Path) -> Path:
    """Write the report of a finished run again, from the tables in its folder, and return its path.

    Raises:
        RunError: the folder is not that of a finished run.
    """
    return report_from_folder(folder)


def _seven_steps(config: StudyConfig, folder: RunFolder, device: str, progress: bool) -> None:
    study = studies().get(config.name)() if config.name in studies().names() else None
    events, muons = read_events(config)
    variations = read_variations(config, events)
    detector = recorder(config.detector, config.seed)
    recorded = sample_summary(detector, events)
    _say(_kept(recorded), progress)
    universes = make_universes(config, detector)
    refuse_universes(detector, universes, events, muons)
    checkpoints = retrained(config, folder.path, device) if config.retrain else config.arms.checkpoints
    arms = load_arms(checkpoints, config.arms.names, config.arms.seeds)
    recorded |= _over_limit(detector, events, arms)
    responses = respond(
        events,
        detector,
        universes,
        arms,
        tasks=named_tasks(config.tasks),
        muons=muons,
        variations=variations,
        selection=config.selection,
        folder=folder.path,
        workers=choose_workers(config, device),
        chunk=config.chunk,
        device=device,
        progress=progress,
        mix_revisions=config.data.mix_revisions,
        most_tokens=config.most_tokens,
        correlations=config.universes.correlations,
    )
    if config.most_tokens is not None:
        recorded |= _left_out(responses, config.most_tokens)
        _say(f"{recorded['events_left_out']:.0f} events have more than {config.most_tokens} tokens", progress)
    del responses  # bias reads the file piece by piece: no step holds all events where it needs few
    _say("bias, covariance and correlation", progress)
    with open_responses(folder.path / RESPONSES) as stored:
        biases = bias(stored, replicas=config.replicas, seed=config.seed, exposure=config.exposure)
    biases.save(folder.path)
    for line in _unquoted(biases.summary()["not_quoted"]):
        _say(line, progress)
    if config.drift.events:
        _say("drift of the features", progress)
        measure_drift(
            config, folder.path, events, variations, detector, universes, arms, device=device, progress=progress
        )
    _say("templates and fits", progress)
    templates = _templates(config, Responses.load(folder.path / RESPONSES))
    results = {calibration: fit_all(each) for calibration, each in templates.items()}
    both = [(one, results[how][which]) for how, each in templates.items() for which, one in each.items()]
    biases = replace(biases, table=in_parameter(biases.table, parameter_shifts(*zip(*both, strict=True))))
    biases.save(folder.path)
    _save_workspaces(templates, folder.path)
    _save_summary(config, study, biases, results, recorded, folder)
    _say("report", progress)
    report(
        biases,
        [one for each in templates.values() for one in each.values()],
        [one for each in results.values() for one in each.values()],
        folder.path / REPORT,
        study=config.name,
        provenance={
            "identity": folder.digest,
            **folder.identity,
            "detector": recorded,
            "foundations": foundations(arms),
        },
        notes=study.samples if study else (),
        detector=detector,
        seen=seen_by(arms, detector.nuisances),
    )


def _kept(recorded: Mapping[str, float]) -> str:
    if "charge_kept" in recorded:
        return f"detector: {recorded['charge_kept']:.1%} of the charge is above threshold"
    return (
        f"detector: {recorded['tokens_per_event']:.1f} tokens an event, at most {recorded['most_tokens']:.0f}; "
        f"{recorded['empty_events']:.0f} of {recorded['events']:.0f} events have none"
    )


def _over_limit(detector: Recorder, events: Any, arms: Sequence[Arm]) -> dict[str, float]:
    """Return the fewest tokens that an arm was made for, and how many events have more; nothing for images."""
    contracts: list[Any] = [arm.contract for arm in arms]
    limits = [contract.maximum for contract in contracts if isinstance(contract, TokenContract)]
    if isinstance(detector, Detector) or not limits:
        return {}
    counts = detector.image(detector.prepare(events)).counts
    return {"token_limit": min(limits), "events_over_token_limit": int((counts > min(limits)).sum())}


def _unquoted(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return one line per task and reason, with the nuisances whose biases are not quoted."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        found.setdefault((row["task"], row["not_quoted"]), []).append(row["nuisance"] or "joint universes")
    return [f"task {task}, {', '.join(names)}: {reason}" for (task, reason), names in found.items()]


def _left_out(responses: Responses, most: int) -> dict[str, float]:
    """Return how many events at most, over universes, no network was shown because they have too many tokens."""
    counted = next(iter(responses.datasets.values()))["left_out"].to_numpy()
    return {"most_tokens_shown": most, "events_left_out": int(counted.max())}


def _say(step: str, progress: bool) -> None:
    if progress:
        sys.stderr.write(f"{step}\n")


def _templates(config: StudyConfig, responses: Responses) -> dict[str, dict[tuple[str, int], Templates]]:
    """Return templates by recalibration, then by (arm, seed)."""
    settings = replace(config.templates, partition_seed=config.seed)
    calibrations = ("none", *config.universes.recalibrations)
    return {
        calibration: templates_all(responses, recalibrate=calibration, exposure=config.exposure, settings=settings)
        for calibration in calibrations
    }


def _save_workspaces(templates: Mapping[str, Mapping[tuple[str, int], Templates]], folder: Path) -> None:
    """Write ``<arm>-<seed>/workspace.json`` and its sidecar; the recalibrated ones in ``mip/`` or ``exact/`` there."""
    for calibration, each in templates.items():
        for one in each.values():
            place = folder / one.name
            one.save(place if calibration == "none" else place / calibration)


def _save_summary(
    config: StudyConfig,
    study: Study | None,
    biases: Bias,
    results: Mapping[str, Fits],
    recorded: Mapping[str, float],
    folder: RunFolder,
) -> None:
    summary: dict[str, Any] = {
        "study": config.name,
        "question": study.question if study else config.title,
        "headline": list(study.headline(biases, results["none"])) if study else [],
        "identity": folder.digest,
        "detector": dict(recorded),
        "bias": biases.summary(),
        "fit": {calibration: _fit_summaries(each) for calibration, each in results.items()},
    }
    write_json(folder.path / "summary.json", summary)


def _fit_summaries(results: Fits) -> dict[str, Any]:
    return {result.name: dict(result.summary) for result in results.values()}
