"""The study of label efficiency trains every cell once, and its intervals hold seeds and events."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from shiftlab.arms.training_set import training_set
from shiftlab.detector import detector
from shiftlab.errors import ConfigError
from shiftlab.events import read
from shiftlab.tasks import named_tasks
from studies import label_efficiency
from studies.label_efficiency import ARMS, LABELS, Cell, Ingredients, cells, figure, measure, summary, table

SIZE = {"width": 32, "depth": 1, "heads": 2, "stem": 8, "rounds": 1, "expansion": 2}


def rows_of(values: dict[tuple[str, int, int], float], noise: float) -> pd.DataFrame:
    """A table of one task whose bootstrap replicas scatter by ``noise``, alike for all seeds."""
    replicas = np.random.default_rng(0).normal(0.0, noise, 4000)
    found = [
        {"task": "energy", "arm": arm, "labels": labels, "labelled_events": labels or 900, "seed": seed}
        | {"value": value, "replicas": list(value + replicas)}
        for (arm, labels, seed), value in values.items()
    ]
    return pd.DataFrame(found)


def test_every_training_is_in_one_part_and_only_one():
    whole = list(cells(ARMS, list(LABELS), [0, 1, 2]))
    assert len(whole) == len(set(whole)) == len(ARMS) * len(LABELS) * 3
    parts = [[cell for i, cell in enumerate(whole) if i % 5 == part] for part in range(5)]
    assert sorted(str(cell) for part in parts for cell in part) == sorted(map(str, whole))


def test_events_are_common_to_all_seeds_so_that_their_noise_does_not_average_out():
    found = summary(rows_of({("scratch", 10, seed): 0.5 for seed in range(3)}, noise=0.02)).iloc[0]
    assert found["value"] == pytest.approx(0.5)
    assert found["seed_error"] == 0.0
    assert found["event_error"] == pytest.approx(0.02, rel=0.05)
    assert found["hi"] - found["value"] == pytest.approx(0.02, rel=0.05)


def test_the_spread_of_three_seeds_is_widened_by_students_t():
    found = summary(rows_of({("scratch", 10, seed): 0.5 + 0.03 * (seed - 1) for seed in range(3)}, noise=1e-9)).iloc[0]
    assert found["seed_error"] == pytest.approx(1.32 * 0.03 / math.sqrt(3), rel=1e-2)


def test_a_line_is_drawn_for_each_arm_and_the_axis_of_labels_is_logarithmic():
    values = {(arm, labels, 0): 0.1 for arm in ARMS for labels in LABELS}
    one = summary(rows_of(values, noise=0.01))
    drawn = figure(pd.concat([one, one.assign(task="segmentation")]))
    assert [axes.get_xscale() for axes in drawn.axes] == ["log", "log"]
    assert len(drawn.axes[0].get_legend().get_texts()) == len(ARMS)


def test_without_results_the_command_that_makes_them_is_named(tmp_path):
    with pytest.raises(ConfigError, match="label_efficiency measure"):
        table(tmp_path)


def test_a_cell_is_trained_on_its_labels_judged_and_stored(monkeypatch, tmp_path):
    monkeypatch.setattr(label_efficiency, "LABELS", {4: 8})
    tasks = named_tasks(tuple(label_efficiency.STATISTICS))
    pixel, sample = detector("pixel_lar"), read("studies/samples/lar_evaluation.h5", events=slice(0, 24))
    data = training_set(sample.take(list(range(12))), pixel, tasks, lambda events: None)
    given = Ingredients(data, None, ("voxel_transformer", SIZE), sample.take(list(range(12, 24))), pixel, tmp_path)
    found = measure(Cell("scratch", 4, 0), given)
    assert found["events"] == {"segmentation": 4, "energy": 4}
    assert found["spent"]["total"]["presentations"] == 16
    (tmp_path / "scratch-4-0.json").write_text(json.dumps(found))
    rows = table(tmp_path)
    assert sorted(rows["task"]) == ["energy", "segmentation"]
    assert ((rows["lo"] <= rows["value"] + 1e-6) | rows["value"].isna()).all()
