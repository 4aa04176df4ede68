"""The figure of training curves shows every budget, arm and own best."""

import numpy as np
import pandas as pd
import pytest

from shiftlab.arms.training.curves import Curve
from shiftlab.errors import ConfigError
from shiftlab.report.curve_figures import curve_figure
from shiftlab.report.style import svg


def falling(seed, cost=1.0):
    rng = np.random.default_rng(seed)
    steps = np.arange(1, 21) * 500
    loss = 0.4 + 2.0 / (1 + steps / 800) + 0.03 * rng.normal(size=20) + 0.2 * (steps / 8000) ** 4
    columns = {"step": steps, "samples": 16 * steps, "tokens": np.nan, "flops": 3e9 * cost * steps}
    rest = {"wall_s": 0.05 * cost * steps, "train_loss": loss, "validation_loss": loss, "learning_rate": 1e-3}
    return Curve(pd.DataFrame({**columns, **rest, "epoch": steps / 6000}))


def test_each_budget_has_a_panel_with_every_seeds_best():
    arms = {"foundation": [falling(0), falling(1)], "scratch": [falling(2, 4.0), falling(3, 4.0)]}
    figure = curve_figure(arms)
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert labels == [
        "optimiser steps",
        "presentations of events / 10³",
        "operations / 10¹²",
        "time in steps / s",
    ]
    for axes, by in zip(figure.axes, ("step", "samples", "flops", "wall"), strict=True):
        best = {(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines if len(line.get_xdata()) == 1}
        assert best == {(curve.best_at(by), curve.best) for curves in arms.values() for curve in curves}
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["foundation", "scratch"]
    assert svg(figure) == svg(curve_figure(arms))


def test_a_budget_that_curves_do_not_know_is_refused():
    with pytest.raises(ConfigError, match="no 'tokens'"):
        curve_figure({"a": [falling(0)]}, by=("tokens",))
