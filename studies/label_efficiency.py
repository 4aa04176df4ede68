"""How many labels does a foundation model save? ``python -m studies.label_efficiency measure|report``.

Arms A, B and C and the control of frozen random weights are trained on 10, 100, 1,000 and all labelled events, and
judged on the evaluation sample at nominal. Each trained network is a file of its own, so that any number of processes
(``--part``) can share the work and a stopped one goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from shiftlab.errors import ConfigError, ShiftlabError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from shiftlab.arms.arm import Arm
    from shiftlab.arms.foundation_model import FoundationModel
    from shiftlab.arms.training_set import TrainingSet
    from shiftlab.detector import Detector
    from shiftlab.events.deposits import Deposits

__all__ = ["ARMS", "LABELS", "Cell", "cells", "figure", "main", "measure", "summary", "table"]

ARMS: Final = ("foundation", "finetuned", "scratch", "random")
LABELS: Final = {10: 3_000, 100: 5_000, 1_000: 8_000, 0: 16_000}
"""Event presentations of each training by its number of labelled events (0 for all): the same for every arm."""

STATISTICS: Final = {"segmentation": "macro-F1", "energy": "resolution"}
"""Tasks, and the statistic of each that is shown."""

_REPLICAS: Final = 200
_SEED: Final = 1
_STUDENT: Final = {2: 1.84, 3: 1.32, 4: 1.20, 5: 1.14}
"""Quantiles of Student's t for 68.3% between -t and t, by number of seeds."""


@dataclass(frozen=True)
class Cell:
    """One training: an arm on some labelled events, with one seed.

    Attributes:
        arm: Name of the arm.
        labels: Labelled events of each task; 0 for all.
        seed: Training seed; it also chooses which events are labelled.
    """

    arm: str
    labels: int
    seed: int

    def file(self, folder: Path) -> Path:
        """Return where the result lies."""
        return folder / f"{self.arm}-{self.labels or 'all'}-{self.seed}.json"


def cells(arms: Sequence[str], labels: Sequence[int], seeds: Sequence[int]) -> Iterator[Cell]:
    """Give the trainings seed by seed, those of few labels first."""
    for seed in seeds:
        for count in sorted(labels, key=lambda one: one or math.inf):
            for arm in arms:
                yield Cell(arm, count, seed)


@dataclass(frozen=True)
class Ingredients:
    """What all trainings share.

    Attributes:
        data: Labelled events.
        foundation: The foundation model; None where no arm of this process rests on it.
        body: Name and size of all networks.
        evaluation: Events that are judged.
        detector: Their detector.
        folder: Where results and unfinished trainings lie.
    """

    data: TrainingSet
    foundation: FoundationModel | None
    body: tuple[str, str | dict[str, Any]]
    evaluation: Deposits
    detector: Detector
    folder: Path


def measure(cell: Cell, given: Ingredients) -> dict[str, Any]:
    """Train one cell and return its statistics with their bootstrap replicas, and what it cost.

    Raises:
        DataError: a loss is not finite, or the arm has seen events that it is judged on.
    """
    from shiftlab.arms import arms
    from shiftlab.arms.training import Workshop
    from shiftlab.arms.training.recipe import Recipe
    from shiftlab.arms.training.study import with_labels
    from shiftlab.provenance import digest_json
    from shiftlab.tasks import named_tasks

    kind = arms().get(cell.arm)
    tasks = named_tasks(tuple(STATISTICS))
    shown = LABELS[cell.labels]
    network, size = given.body
    recipe = Recipe(head=shown, scratch=shown, finetune=shown, labels=cell.labels, network=network, size=size)
    foundation = given.foundation if kind.pretrained else None
    rests = foundation.digest if foundation is not None else ""
    identity = digest_json([recipe.plain(), rests, cell.arm, cell.seed])
    workshop = Workshop(given.folder / "state", identity, curves=given.folder / "curves", foundation=foundation)
    taught = with_labels(given.data, cell.labels, cell.seed)
    arm = kind.train(taught, tasks, cell.seed, recipe, workshop)
    arm.refuse_training_vertices(given.evaluation.events)
    found = {"identity": identity, **vars(cell), "presentations": shown, "spent": arm.record["spent"]}
    found["events"] = {task.name: len(taught.rows[task.name]) for task in tasks}
    found["values"] = judged(arm, given)
    for state in workshop.folder.glob(f"{cell.arm}-seed{cell.seed}-*"):
        state.unlink()
    return found


def judged(arm: Arm, given: Ingredients) -> dict[str, list[float]]:
    """Return each statistic at nominal, the sample itself first and then its bootstrap replicas over vertices."""
    import numpy as np

    from shiftlab.bias.bootstrap import poisson_weights
    from shiftlab.detector import NOMINAL
    from shiftlab.tasks import named_tasks, truth_in

    tasks = named_tasks(tuple(STATISTICS))
    answers: dict[str, list[Any]] = {task.name: [] for task in tasks}
    for start in range(0, len(given.evaluation), 256):
        chunk = given.evaluation.take(list(range(start, min(start + 256, len(given.evaluation)))))
        prepared = given.detector.prepare(chunk)
        labels = truth_in(given.detector, prepared, NOMINAL)
        for name, found in arm.predict(given.detector.image(prepared), labels, tasks).items():
            answers[name].append(found)
    events = given.evaluation.events
    values = {}
    for task in tasks:
        scored, own = task.scored(events), task.evaluated(events)
        outputs = np.concatenate(answers[task.name])[own[scored]].astype(np.float64)
        weights = poisson_weights(events.vertex.numpy()[own], range(1 + _REPLICAS), _SEED)
        weights[0] = 1.0
        truth = task.truth(events)[own]
        wanted = STATISTICS[task.name]
        whole = {task.statistic: task.score(outputs, truth, weights), **task.further(outputs, truth, weights)}
        values[task.name] = [round(float(value), 6) for value in whole[wanted]]
    return values


def table(folder: Path) -> pd.DataFrame:
    """Return one row for each training and task: value, 68% bootstrap interval, presentations and operations.

    Raises:
        ConfigError: there are no results.
    """
    import numpy as np
    import pandas as pd

    rows = []
    for file in sorted(folder.glob("*.json")):
        one = json.loads(file.read_text(encoding="utf-8"))
        for task, values in one["values"].items():
            low, high = np.quantile(values[1:], [0.1587, 0.8413])
            row = {name: one[name] for name in ("arm", "labels", "seed")}
            row |= {"labelled_events": one["events"][task], "task": task, "statistic": STATISTICS[task]}
            row |= {
                "value": values[0],
                "lo": round(low, 6),
                "hi": round(high, 6),
                "presentations": one["presentations"],
            }
            rows.append({**row, "replicas": values[1:]})
    if not rows:
        raise ConfigError(f"'{folder}' has no results; `python -m studies.label_efficiency measure` makes them.")
    return pd.DataFrame(rows).sort_values(["task", "arm", "labelled_events", "seed"], ignore_index=True)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the mean over seeds with a 68% interval: Student's t over seeds and the bootstrap of the mean over events.

    The same events are judged for all seeds, so that their noise does not average out: both parts are added in
    quadrature. With one seed the first part is unknown, and the interval is that of the events alone.
    """
    import numpy as np
    import pandas as pd

    found = []
    for (task, arm, labels), part in rows.groupby(["task", "arm", "labels"], sort=False):
        seeds = len(part)
        value = part["value"].mean()
        events = np.mean(np.stack(part["replicas"].to_list()), axis=0).std(ddof=1)
        spread = part["value"].std(ddof=1) / math.sqrt(seeds) * _STUDENT.get(seeds, 1.0) if seeds > 1 else 0.0
        error = math.hypot(events, spread)
        row = {"task": task, "statistic": STATISTICS[str(task)], "arm": arm, "labels": labels or "all"}
        row |= {"labelled_events": int(part["labelled_events"].iloc[0]), "seeds": seeds, "value": round(value, 4)}
        row |= {"lo": round(value - error, 4), "hi": round(value + error, 4)}
        found.append({**row, "seed_error": round(spread, 4), "event_error": round(float(events), 4)})
    return pd.DataFrame(found).sort_values(["task", "arm", "labelled_events"], ignore_index=True)


def figure(found: pd.DataFrame) -> Figure:
    """Draw each statistic against the number of labelled events, an arm a line, with the 68% intervals."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

    from shiftlab.report.style import WIDTH, arm_colours, arm_markers, drawn

    @drawn
    def draw() -> Figure:
        arms = [arm for arm in ARMS if arm in set(found["arm"])]
        colours, markers = arm_colours(arms), arm_markers(arms)
        whole = Figure(figsize=(WIDTH, 3.6))
        labels = {"macro-F1": "semantic macro-F1", "resolution": "energy resolution (RMS of reco/true)"}
        for axes, (task, statistic) in zip(whole.subplots(1, 2), STATISTICS.items(), strict=True):
            for arm in arms:
                part = found[(found["task"] == task) & (found["arm"] == arm)].sort_values("labelled_events")
                errors = [part["value"] - part["lo"], part["hi"] - part["value"]]
                axes.errorbar(
                    *(part["labelled_events"], part["value"]),
                    yerr=errors,
                    color=colours[arm],
                    marker=markers[arm],
                    label=_WORDS[arm],
                    capsize=2,
                )
            axes.set_xscale("log")
            if statistic == "resolution":
                axes.set_yscale("log")
                axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 3.0, 5.0, 7.0)))
                axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
                axes.yaxis.set_minor_formatter(NullFormatter())
            axes.set_xlabel("labelled events")
            axes.set_ylabel(labels[statistic])
            axes.set_title(task, fontweight="bold")
        whole.axes[0].legend(loc="best")
        return whole

    return draw()


_WORDS: Final = {
    "foundation": "A: foundation model, frozen",
    "finetuned": "B: foundation model, fine-tuned",
    "scratch": "C: from scratch",
    "random": "control: random body, frozen",
}


def _measure(given: argparse.Namespace) -> int:
    from tqdm import tqdm

    from shiftlab.arms import arms
    from shiftlab.arms.foundation_model import load_foundation
    from shiftlab.arms.training_set import input_contract, training_set
    from shiftlab.detector import detector
    from shiftlab.events import read
    from shiftlab.provenance import write_json
    from shiftlab.tasks import named_tasks

    number, parts = (int(word) for word in given.part.split("/"))
    wanted = [cell for i, cell in enumerate(cells(given.arms, given.labels, given.seeds)) if i % parts == number - 1]
    missing = [cell for cell in wanted if not cell.file(given.out).is_file()]
    if not missing:
        return 0
    pixel = detector("pixel_lar")
    foundation, body = None, ("voxel_transformer", given.size)
    if any(arms().get(cell.arm).pretrained for cell in missing):
        foundation = load_foundation(given.foundation, input_contract(pixel))
        body = (foundation.body.name, foundation.body.plain())
    evaluation = read(given.evaluation)
    judged_events = [i for i, name in enumerate(evaluation.events.sample) if name != "calibration_muon"]
    events = read(given.train)
    with tqdm(total=len(events), desc="images", unit="event") as bar:
        data = training_set(events, pixel, named_tasks(tuple(STATISTICS)), bar.update)
    given_all = Ingredients(data, foundation, body, evaluation.take(judged_events), pixel, given.out)
    for cell in tqdm(missing, unit="training"):
        folder = given.out / ".training" / f"{number}of{parts}"
        write_json(cell.file(given.out), measure(cell, replace(given_all, folder=folder)))
    return 0


def _report(given: argparse.Namespace) -> int:
    rows = table(given.out)
    found = summary(rows)
    given.csv.parent.mkdir(parents=True, exist_ok=True)
    found.to_csv(given.csv, index=False)
    figure(found).savefig(given.figure)
    sys.stdout.write(found.to_string(index=False) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m studies.label_efficiency", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("measure", help="train and judge; every result is a file")
    measuring.add_argument("--train", type=Path, required=True, help="sample of labelled events")
    measuring.add_argument("--evaluation", type=Path, default=Path("studies/samples/lar_evaluation.h5"))
    measuring.add_argument("--foundation", type=Path, default=Path("studies/checkpoints/foundation"))
    measuring.add_argument("--size", default="tiny", help="of the networks, where no arm rests on the foundation model")
    measuring.add_argument("--out", type=Path, default=Path("outputs/label_efficiency"))
    measuring.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    measuring.add_argument("--labels", nargs="+", type=int, default=list(LABELS), choices=list(LABELS), help="0: all")
    measuring.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    measuring.add_argument("--part", default="1/1", help="I/N: the I-th of N processes that share the work")
    reporting = commands.add_parser("report", help="write table and figure")
    reporting.add_argument("--out", type=Path, default=Path("outputs/label_efficiency"))
    reporting.add_argument("--csv", type=Path, required=True)
    reporting.add_argument("--figure", type=Path, required=True)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit code, 2 for a user's error."""
    given = _parser().parse_args(arguments)
    try:
        return _measure(given) if given.command == "measure" else _report(given)
    except ShiftlabError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
