"""How well boosted trees answer the token tasks: ``python tests/benchmarks/token_tasks.py FILE``.

FILE holds deposits in polystyrene (``shiftlab simulate data=ch_neutrino``) or the tokens that ``shiftlab record`` made
of them. Vertices are divided three to one by their uid. The trees are the reference that published work on MINERvA
tokens has too (arXiv:2604.12364, trees on the sixteen globals); errors are those of 500 Poisson bootstraps of the
test vertices, for these trees. Settings are fixed, nothing is tuned on the test vertices.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import torch
from numpy.typing import NDArray

from shiftlab.detector import Stream, scintillator_detector
from shiftlab.events import Tokens, concatenate_tokens, open_events, read_tokens, stream
from shiftlab.tasks import EventSummary, Task, named_tasks

Array = NDArray[np.float64]
TREES = {"num_leaves": 15, "learning_rate": 0.05, "min_data_in_leaf": 20, "verbosity": -1, "seed": 1, "num_threads": 1}
ROUNDS = 150


def load(path: Path) -> Tokens:
    """Return the tokens of a file, made from its deposits if need be."""
    with open_events(path) as source:
        holds = source.holds
    if holds == "tokens":
        return read_tokens(path)
    detector = scintillator_detector()
    return concatenate_tokens([detector.tokens(piece) for piece in stream(path, chunk=256)])


def features(tokens: Tokens) -> Array:
    """Return float64 (event, feature): globals, and per kind of token the number and three leading ones' columns."""
    columns = [tokens.globals.double().numpy()]
    events, kinds = len(tokens), len(tokens.kinds)
    counts = np.bincount((tokens.event_index * kinds + tokens.particle).numpy(), minlength=events * kinds)
    columns.append(counts.reshape(events, kinds).astype(np.float64))
    values = torch.where(tokens.valid, tokens.features, torch.nan).double().numpy()
    group = (tokens.event_index * kinds + tokens.particle).numpy()
    # Tokens of one kind stand in falling energy, so their place in the group is their rank.
    order = np.argsort(group, kind="stable")
    place = np.empty(len(group), dtype=np.int64)
    place[order] = np.arange(len(group)) - np.searchsorted(group[order], group[order])
    for kind, most in ((0, 1), (1, 2), (2, 3), (3, 2), (4, 3), (5, 3)):
        for rank in range(most):
            block = np.full((events, values.shape[1]), np.nan)
            rows = (tokens.particle.numpy() == kind) & (place == rank)
            block[tokens.event_index.numpy()[rows]] = values[rows]
            columns.append(block)
    return np.concatenate(columns, axis=1)


def answers(task: Task, given: Array, target: Array, train: NDArray[np.bool_]) -> Array:
    """Return the task's outputs (event, output) of trees fitted to the training events."""
    usable = train & np.isfinite(target)
    classes = task.kind == "classes"
    settings: dict[str, Any] = {**TREES, "objective": "multiclass" if classes else "huber"}
    if classes:
        settings["num_class"] = task.raw
    model = lightgbm.train(settings, lightgbm.Dataset(given[usable], target[usable]), ROUNDS)
    raw = np.asarray(model.predict(given, raw_score=True)).reshape(len(given), -1)
    return task.decode(torch.from_numpy(raw), EventSummary.of_energy(torch.ones(len(raw)))).numpy()


def judged(task: Task, outputs: Array, truth: Array, weights: Array) -> Mapping[str, Array]:
    """Return every statistic of the task, (replica,)."""
    return {task.statistic: task.score(outputs, truth, weights), **task.further(outputs, truth, weights)}


def lines(tokens: Tokens) -> Iterator[str]:
    """Give one line per statistic: value, error, and the value of a predictor without information."""
    given = features(tokens)
    uid = tokens.events.vertex
    test = (Stream(1, "token_tasks").uniform("split", uid) < 0.25).numpy()
    yield f"{int((~test).sum())} events to train on, {int(test.sum())} to test on, {given.shape[1]} features"
    for task in named_tasks(["available_energy", "pion_topology"]):
        truth = task.truth(tokens.events)
        outputs = answers(task, given, task.target(truth, EventSummary.of_energy(torch.ones(len(truth)))), ~test)
        rows = test & task.evaluated(tokens.events)
        boot = [Stream(1, "bootstrap").poisson(str(i), uid[rows], rate=1.0).numpy() for i in range(500)]
        every = np.vstack([np.ones(int(rows.sum())), *boot]).astype(np.float64)
        none = task.references(outputs[rows], truth[rows], every[0])
        for name, values in judged(task, outputs[rows], truth[rows], every).items():
            label, reference = none[name]
            error = np.nanstd(values[1:])
            yield f"{task.name:18s} {name:38s} {values[0]:.3f} +- {error:.3f}  ({label}: {reference:.3f})"


if __name__ == "__main__":
    started = time.perf_counter()
    for line in lines(load(Path(sys.argv[1]))):
        print(line)
    print(f"{time.perf_counter() - started:.0f} s")
