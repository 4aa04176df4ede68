"""What the figures draw: the values of the tables, at the right place, with the marks that the captions promise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Polygon, Rectangle

from shiftlab.report.bias_figures import heat_map, heat_table
from shiftlab.report.correlation_figures import correlation_matrices
from shiftlab.report.fit_figures import parts_figure
from shiftlab.report.record import Record
from shiftlab.report.style import signed_norm, svg
from shiftlab.report.summary_figures import recalibration_figure, recalibration_table
from shiftlab.report.template_figures import ranked_nuisances, template_figure


def test_cells_of_the_heat_map_average_the_seeds(record: Record) -> None:
    cells = heat_table(record).set_index(["arm", "task", "nuisance", "direction"])
    table = record.of("bias")
    one = table[(table.arm == "classic") & (table.task == "energy") & (table.nuisance == "gain_scale")]
    expected = one[one.direction == 1]["bias_over_sigma_data"].mean()
    assert cells.loc[("classic", "energy", "gain_scale", 1), "size"] == pytest.approx(expected)


def test_a_random_map_has_a_root_mean_square_and_no_sign(record: Record) -> None:
    cells = heat_table(record)
    assert set(cells[cells["random"]]["nuisance"]) == {"gain_spread"}
    assert (cells[cells["random"]]["size"] >= 0).all()
    figure = heat_map(cells, record.tasks, record.arms)
    triangles = [p for axes in figure.axes[:3] for p in axes.patches if type(p) is Polygon]
    assert len(triangles) == len(cells[cells["random"]])


def test_mc_limited_cells_are_hatched_and_significant_ones_dotted(record: Record) -> None:
    cells = heat_table(record)
    panels = heat_map(cells, record.tasks, record.arms).axes[:3]
    hatched = [p for axes in panels for p in axes.patches if isinstance(p, Rectangle) and p.get_hatch()]
    assert len(hatched) == cells["mc_limited"].sum() > 0
    dots = [line for axes in panels for line in axes.lines if line.get_marker() == "o"]
    assert len(dots) == cells["significant"].sum() > 0


def test_the_colour_scale_is_centred_on_zero() -> None:
    norm = signed_norm(7.0)
    assert norm(0.0) == pytest.approx(0.5)
    assert norm(3.0) - 0.5 == pytest.approx(0.5 - norm(-3.0))


def test_two_seeds_lie_below_and_above_the_diagonal(record: Record) -> None:
    rows = record.of("correlation")
    panel = correlation_matrices(rows, record.tasks, record.arms).axes[0]
    texts = {
        tuple(np.round(text.get_position())): text.get_text() for text in panel.texts if "," not in text.get_text()
    }
    first = rows[(rows.arm == "foundation") & (rows.task_a == "segmentation") & (rows.task_b == "energy")]
    below, above = (f"{rho:+.2f}".replace("-", "−") for rho in first.sort_values("seed")["rho"])
    assert texts[(0, 3)] == below
    assert texts[(3, 0)] == above


def test_an_unreliable_correlation_is_not_given_a_value(record: Record) -> None:
    panel = correlation_matrices(record.of("correlation"), record.tasks, record.arms).axes[2]
    assert sum("not" in text.get_text() for text in panel.texts) == 6


def test_ratio_panels_show_up_over_nominal_with_the_error_of_the_variation(record: Record) -> None:
    rows = record.of("templates", arm="foundation")
    rows = rows[rows["seed"] == 0]
    nuisance = ranked_nuisances(rows)[0]
    figure = template_figure(rows, [nuisance], record.labels)
    ratio = figure.axes[len(record.tasks) + record.tasks.index("energy")]
    part = rows[(rows.channel == "energy") & (rows.nuisance == nuisance) & (rows["sample"] == "total")]
    drawn = [patch.get_data() for patch in ratio.patches]
    up, band = (part["up"] / part["nominal"]).to_numpy(), (part["up_error"] / part["nominal"]).to_numpy()
    assert any(np.allclose(data.values, up) for data in drawn)
    assert any(np.allclose(data.values, up + band) and np.allclose(data.baseline, up - band) for data in drawn)
    assert ratio.get_xlabel() == "visible energy [MeV]"


def test_an_empty_bin_leaves_a_gap(record: Record) -> None:
    rows = record.of("templates", arm="foundation")
    rows = rows[rows["seed"] == 0].copy()
    empty = (rows["bin"] == 0) & (rows["channel"] == "energy")
    rows.loc[empty, ["nominal", "nominal_error", "up", "down", "up_error", "down_error"]] = 0.0
    assert "nan" not in svg(template_figure(rows, ranked_nuisances(rows)[:1]))


def test_the_parts_of_the_variance_are_drawn_end_to_end(record: Record) -> None:
    rows = record.of("components")
    (axes,) = parts_figure(rows, record.arms).axes
    first = [patch for patch in axes.patches if abs(patch.get_y() + patch.get_height() / 2) < 0.1]
    total = rows[rows["component"] == "total"]["sigma"].iloc[0]
    assert max(patch.get_x() + patch.get_width() for patch in first) == pytest.approx(total**2)


def test_recalibration_compares_the_same_nuisance_task_arm_and_seed(record: Record) -> None:
    table = recalibration_table(record)
    keys = ["arm", "seed", "task", "nuisance"]
    size = record["unisims"].assign(size=lambda t: np.sqrt(t["contribution"]))
    for mode in ("none", "mip"):
        expected = size[size["recalibrate"] == mode].set_index(keys)["size"]
        pd.testing.assert_series_equal(
            table.set_index(keys)[mode].sort_index(), expected.sort_index(), check_names=False
        )


def test_exact_recalibration_is_a_third_mark_where_a_study_has_it(record: Record) -> None:
    """One nuisance with both recalibrations, the others without the exact one: no mark is made up."""
    rows = record["unisims"]
    again = rows[(rows["recalibrate"] == "mip") & (rows["nuisance"] == "gain_scale")].assign(recalibrate="exact")
    tables = {**record.tables, "unisims": pd.concat([rows, again], ignore_index=True)}
    table = recalibration_table(replace(record, tables=tables))
    assert list(table.columns[-3:]) == ["none", "mip", "exact"]
    with_exact = table.dropna(subset=["exact"])
    assert set(with_exact["nuisance"]) == {"gain_scale"}
    assert (with_exact["exact"] == with_exact["mip"]).all()
    figure = recalibration_figure(table, record.tasks, record.arms)
    marks = [line for line in figure.axes[0].lines if line.get_marker() not in ("None", "")]
    own = table[table["task"] == record.tasks[0]]
    assert len(marks) == int(own[["none", "mip", "exact"]].notna().sum().sum())
    assert "recalibrated exactly" in {text.get_text() for text in figure.legends[0].get_texts()}


def test_equal_figures_give_equal_bytes(record: Record) -> None:
    one, other = (svg(parts_figure(record.of("components"), record.arms)) for _ in range(2))
    assert one == other
    assert "<dc:date>" not in one
