"""Emulated universes of a finished run: closure first, then a store of joint universes and its biases."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shiftlab.arms import load_arms
from shiftlab.bias import bias
from shiftlab.detector import Universe, multisim
from shiftlab.detector.recorder import recorder
from shiftlab.errors import ConfigError, DataError, RunError
from shiftlab.events import Deposits
from shiftlab.plan import EmulationPlan
from shiftlab.provenance import digest_file, write_json, write_text
from shiftlab.responses import Responses
from shiftlab.responses.emulation import Closure, Gradients, differentiate, emulator
from shiftlab.responses.emulation.closure import refuse_open
from shiftlab.responses.emulation.gradient import why_not_differentiable
from shiftlab.responses.respond import RESPONSES
from shiftlab.responses.shards import read_events
from shiftlab.run.ingredients import digest_folder
from shiftlab.tasks import named_tasks

__all__ = ["EmulatedRun", "closure_table", "emulate_run"]


@dataclass(frozen=True)
class EmulatedRun:
    """What was written.

    Attributes:
        path: The store of the emulated universes; the tables of its biases lie beside it.
        universes: How many were emulated.
        compared: Responses, by head, nuisance and output, that derivatives were compared with.
        derivatives: Of these, where the derivative is used.
    """

    path: Path
    universes: int
    compared: int = 0
    derivatives: int = 0


def emulate_run(
    folder: Path, plan: EmulationPlan, *, tell: Callable[[pd.DataFrame], object] | None = None, progress: bool = False
) -> EmulatedRun:
    """Emulate joint universes from the responses of a finished run, and write store, closure and biases.

    Args:
        folder: Folder of the run.
        plan: Which universes, from which form of the response.
        progress: Show a bar on stderr.
        tell: Called with the table of closure (``closure_table``), also where it is then refused.

    Raises:
        RunError: the folder is not that of a finished run, the events or arms to differentiate are not those of the
            run, or the store would take too much memory.
        ConfigError: the detector of the run cannot be made, say without its plug-ins.
        UnknownNameError: there is no such task or nuisance.
        DataError: closure cannot be measured, or the universes do not close; nothing but the table of closure is
            written.
    """
    study = _study(folder)
    out = plan.out or folder / "emulated"
    if out.resolve() == folder.resolve():
        raise RunError(f"out: '{out}' is the folder of the run itself; emulated universes go to another one.")
    responses = Responses.load(folder / RESPONSES)
    known = _gradients(folder, study, plan, responses, progress) if plan.gradients else ()
    maker = emulator(responses, tasks=plan.tasks, settings=plan.emulation, gradients=known, refuse=False)
    table = closure_table(maker.closures, maker.settings.limit)
    write_text(out / "csv" / "emulation.csv", table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    if plan.gradients:
        rows = pd.DataFrame([one.to_dict() for one in maker.agreements])
        write_text(out / "csv" / "gradients.csv", rows.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    if tell is not None:
        tell(table)
    refuse_open(maker.closures, maker.settings)
    emulated = maker.store(_universes(study, plan, maker.points.nuisances))
    emulated.save(out / RESPONSES)
    replicas = plan.replicas or int(study["replicas"])
    exposure = {name: events for name, events in study["exposure"].items() if name in _samples(emulated)}
    biases = bias(emulated, replicas=replicas, seed=int(study["seed"]), exposure=exposure or None)
    biases.save(out)
    write_json(out / "summary.json", {"emulated": emulated.attrs["emulated"], "bias": biases.summary()})
    used = sum(one.used == "autodiff" for one in maker.agreements)
    return EmulatedRun(out / RESPONSES, len(emulated.emulated), len(maker.agreements), used)


def closure_table(closures: Sequence[Closure], limit: float) -> pd.DataFrame:
    """Return one row per arm, seed and task: how far emulated universes are from direct ones, and the verdict.

    ``joint`` is relative to the shifts of the joint universes, ``noise`` what event noise alone would make of it, and
    ``alone`` the largest error of a universe of one or two nuisances, ``universe``, that tests the responses.
    """
    rows = [
        {
            "arm": one.arm,
            "seed": one.seed,
            "task": one.task,
            "joint": one.joint,
            "noise": one.noise,
            "alone": one.relative(one.worst) if one.worst is not None else float("nan"),
            "universe": one.worst.universe if one.worst is not None else "",
            "bent": one.bent,
            "limit": limit,
            "closes": one.largest <= limit,
        }
        for one in closures
    ]
    return pd.DataFrame(rows)


def _gradients(
    folder: Path, study: Mapping[str, Any], plan: EmulationPlan, responses: Responses, progress: bool
) -> list[Gradients]:
    """Return the derivatives of all arms, seeds and tasks of a run that have any.

    Raises:
        RunError: the events or the arms are not those of the run.
        ConfigError: the detector has no derivatives, or no arm and task has.
    """
    assert plan.evaluation is not None
    assert plan.checkpoints is not None
    identity = json.loads((folder / "identity.json").read_text(encoding="utf-8"))["identity"]
    for key, digest in (("evaluation", digest_file(plan.evaluation)), ("checkpoints", digest_folder(plan.checkpoints))):
        if identity.get(key) != digest:
            raise RunError(f"{key}: '{getattr(plan, key)}' is not what the run in '{folder}' evaluated.")
    chamber = recorder(study["detector"], int(study["seed"]))
    names = [name for name in responses.tasks if plan.tasks is None or name in plan.tasks]
    keys = np.unique(np.concatenate([responses.task(name)["event"].values for name in names]))
    events = read_events(plan.evaluation)
    if not isinstance(events, Deposits):
        raise ConfigError(f"gradients: '{plan.evaluation}' holds tokens; images of deposits can be differentiated.")
    events = events.take(np.flatnonzero(np.isin(events.events.key.numpy(), keys)).tolist())
    found, reasons = [], []
    for arm in load_arms(plan.checkpoints, responses.arms, responses.seeds):
        why_not = {task.name: why_not_differentiable(arm, task) for task in named_tasks(names)}
        reasons += [reason for reason in why_not.values() if reason]
        asked = [task for task in named_tasks(names) if not why_not[task.name]]
        if asked:
            found.append(differentiate(events, chamber, arm, asked, progress=progress))
    if not found:
        raise ConfigError(f"gradients: no arm and task of the run can be differentiated: {reasons[0]}.")
    return found


def _study(folder: Path) -> Mapping[str, Any]:
    """Return the plain values of the study that a run was made of."""
    if not (folder / "done").is_file():
        raise RunError(f"'{folder}' is not the folder of a finished run; `shiftlab run study=NAME` makes one.")
    try:
        plain = json.loads((folder / "identity.json").read_text(encoding="utf-8"))
        study: Mapping[str, Any] = plain["identity"]["study"]
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"'{folder}/identity.json' does not say what the run was made of: {error}.") from error
    return study


def _universes(study: Mapping[str, Any], plan: EmulationPlan, known: Sequence[str]) -> list[Universe]:
    """Return the joint universes of the plan, from the prior of the run.

    Raises:
        DataError: ``universes.only`` names a nuisance that the run does not have.
    """
    chamber = recorder(study["detector"], int(study["seed"]))
    joint = multisim(
        chamber,
        plan.universes.joint,
        seed=int(study["seed"]) + 1 if plan.seed is None else plan.seed,
        draws=plan.universes.draws,
        scramblings=plan.universes.scramblings,
        correlations=study["universes"].get("correlations", {}),
    )
    only = known if plan.universes.only is None else plan.universes.only
    for name in only:
        if name not in known:
            raise DataError(f"universes.only: the run has no nuisance '{name}'; it has {', '.join(known)}.")
    return [replace(one, nuisances=tuple(pair for pair in one.nuisances if pair[0] in only)) for one in joint]


def _samples(responses: Responses) -> set[str]:
    return {str(name) for data in responses.datasets.values() for name in data["sample"].values}
