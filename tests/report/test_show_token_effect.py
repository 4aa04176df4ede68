"""Pictures of effects on tokens: the event that changes, by how much, and the response of the whole sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shiftlab.config import locate
from shiftlab.detector import NOMINAL
from shiftlab.errors import DataError, UnknownNameError
from shiftlab.events import Tokens, read, read_tokens
from shiftlab.report.show_token_effect import recorder, show_token_effect, token_effect_figure


@pytest.fixture(scope="module")
def tokens() -> Tokens:
    return read_tokens(locate("studies/samples/minerva_like_tokens.h5")).take(range(100))


def test_a_scale_of_energies_is_a_straight_line_through_nominal(tokens: Tokens) -> None:
    """Fourth panel: energy grows in proportion to the scale; the number of tokens and the weights stay: no lines."""
    figure = token_effect_figure(recorder("em_response", tokens))
    legend = figure.axes[3].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["energy", "nominal"]
    energy = figure.axes[3].get_lines()[0]
    x, y = (np.asarray(values, dtype=float) for values in (energy.get_xdata(), energy.get_ydata()))
    np.testing.assert_allclose(y, np.interp(1.03, x, y) / 0.03 * (x - 1.0), atol=1e-4)
    assert np.interp(1.03, x, y) > 0


def test_the_difference_is_that_of_the_two_events_drawn(tokens: Tokens) -> None:
    figure = token_effect_figure(recorder("em_response", tokens))
    heights = [[bar.get_height() for bar in axes.patches] for axes in figure.axes[:3]]
    np.testing.assert_allclose(heights[2], np.subtract(heights[1], heights[0]), atol=1e-9)
    assert sum(heights[2]) > 0


def test_where_energies_stay_what_changes_is_drawn(tokens: Tokens) -> None:
    """An offset of the clock by 1 sigma moves every token's time by it, and by nothing else."""
    given = recorder("token_time_offset", tokens)
    figure = token_effect_figure(given)
    assert figure.axes[2].get_ylabel() == "difference of t / ns"
    (offset,) = given.shown
    curve = figure.axes[3].get_lines()[0]
    x, y = (np.asarray(values, dtype=float) for values in (curve.get_xdata(), curve.get_ydata()))
    timed = float(tokens.valid[:, tokens.columns.index("t")].double().mean())
    np.testing.assert_allclose(y, timed * x, atol=2e-3)
    heights = [bar.get_height() for bar in figure.axes[2].patches]
    assert max(heights) == pytest.approx(offset.parameter.value(1.0), abs=2e-3)


def test_an_angle_changes_the_short_way_round(tokens: Tokens) -> None:
    """A turn of the beam by a milliradian across the cut of phi is no change by a whole turn."""
    figure = token_effect_figure(recorder("beam_angle", tokens))
    for axes in (figure.axes[2], figure.axes[6]):
        assert max(abs(bar.get_height()) for bar in axes.patches) < np.pi


def test_of_weights_the_ratio_is_drawn_over_the_events(tokens: Tokens) -> None:
    """A target mass of one sigma more is a weight of one sigma more in each event."""
    figure = token_effect_figure(recorder("target_mass", tokens))
    assert figure.axes[2].get_xlabel() == "weight, shifted over nominal"
    assert sum(bar.get_height() for bar in figure.axes[2].patches) == len(tokens)


def test_an_effect_before_tokens_is_drawn_from_deposits(tmp_path: Path, tokens: Tokens) -> None:
    deposits = read(locate("studies/samples/ch_neutrino.h5")).take(range(4))
    path = show_token_effect("light_yield", deposits, tmp_path / "x.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert len(recorder("light_yield", deposits).tokens(NOMINAL)) == 4
    with pytest.raises(DataError, match="needs deposits"):
        recorder("light_yield", tokens)
    with pytest.raises(UnknownNameError):
        recorder("light_yeild", tokens)
