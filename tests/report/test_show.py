"""Pictures of events: written whole, of the event asked for, with the change that the effect makes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from shiftlab.detector import Detector, detector
from shiftlab.errors import DataError, UnknownNameError
from shiftlab.events import Deposits, EventTable
from shiftlab.report.show import event_figure, show_event
from shiftlab.report.show_effect import displacements, effect_figure, show_effect, with_effect


@pytest.fixture(scope="module")
def pixels() -> Detector:
    return detector("pixel_lar")


@pytest.fixture
def deposits() -> Deposits:
    """Two straight tracks of 20 cm at 2.1 MeV/cm, and an event without deposits."""
    steps = 67
    along = torch.arange(steps) * 0.3
    one = torch.stack([40 + along, torch.full((steps,), 100.0), 60 + along], dim=1)
    count = 2 * steps
    events = EventTable(
        key=torch.tensor([11, 22, 33]),
        vertex=torch.tensor([1, 2, 3]),
        weight=torch.ones(3, dtype=torch.float64),
        sample=("numu_cc", "nue_cc", "numu_cc"),
        truth={"visible_energy": torch.full((3,), 42.0, dtype=torch.float64)},
        selected=torch.ones(3, dtype=torch.bool),
    )
    return Deposits(
        offsets=torch.tensor([0, steps, count, count]),
        position=torch.cat([one, one + 50]).float(),
        energy=torch.full((count,), 0.63),
        length=torch.full((count,), 0.3),
        semantic=torch.ones(count, dtype=torch.int8),
        particle=torch.full((count,), 2, dtype=torch.int8),
        events=events,
    )


def test_an_event_is_shown_in_three_projections(deposits: Deposits, pixels: Detector, tmp_path: Path) -> None:
    path = show_event(deposits, 0, tmp_path / "event.png", detector=pixels)
    assert path.read_bytes().startswith(b"\x89PNG")
    one = deposits.take([0])
    figure = event_figure(one, pixels.image(one), pixels)
    labels = [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes[:6]]
    assert labels[:3] == labels[3:]
    assert labels[:3] == [
        ("z (beam) / cm", "x (drift) / cm"),
        ("z (beam) / cm", "y / cm"),
        ("y / cm", "x (drift) / cm"),
    ]


def test_the_energy_in_each_view_is_that_of_the_image(deposits: Deposits, pixels: Detector) -> None:
    one = deposits.take([1])
    image = pixels.image(one)
    for axes in event_figure(one, image, pixels).axes[3:6]:
        (marks,) = axes.collections
        values = marks.get_array()
        assert values is not None
        assert float(values.sum()) == pytest.approx(float(image.energy.sum()), rel=1e-5)


def test_more_gain_reddens_every_pixel_and_its_response_is_a_straight_line(
    deposits: Deposits, pixels: Detector
) -> None:
    """Third panel: the difference is positive everywhere; fourth: +2% gain is +2% energy, nominal in the middle."""
    (gain,) = (one for one in displacements(pixels, "gain") if one.name == "gain_scale")
    figure = effect_figure(deposits.take([0]), pixels, [gain])
    change = figure.axes[2].collections[0].get_array()
    assert change is not None
    assert float(change.min()) > 0
    curve, dots = figure.axes[3].get_lines()[:2]
    assert list(dots.get_xdata()) == [0.98, 1.02]
    x, y = (np.asarray(values, dtype=float) for values in (curve.get_xdata(), curve.get_ydata()))
    assert (np.diff(y) > 0).all()
    assert float(np.interp(1.02, x, y)) == pytest.approx(2.0, abs=0.3)


def test_a_choice_of_model_is_drawn_beside_the_nuisances(deposits: Deposits, pixels: Detector) -> None:
    """Birks is another law for recombination: nominal and shifted panels name the laws."""
    shown = displacements(pixels, "recombination")
    birks = next(one for one in shown if one.parameter.choices and one.label == "birks")
    titles = [axes.get_title() for axes in effect_figure(deposits.take([0]), pixels, [birks]).axes[:2]]
    assert titles[0].startswith("nominal: modified_box")
    assert titles[1].startswith("birks")


def test_an_effect_that_the_detector_lacks_is_added_at_its_default(deposits: Deposits, pixels: Detector) -> None:
    """W is no effect of pixel_lar, and double counts with its gain: a picture of it alone is wanted all the same."""
    assert [one.name for one in displacements(with_effect(pixels, "w_value"), "w_value")] == ["w_value_w"]
    assert with_effect(pixels, "gain") is pixels


def test_show_effect_takes_the_first_nue_event(deposits: Deposits, pixels: Detector, tmp_path: Path) -> None:
    asked, default = (tmp_path / name for name in ("asked.png", "default.png"))
    show_effect(pixels, deposits, "lifetime", asked, n=1)
    show_effect(pixels, deposits, "lifetime", default)
    assert asked.read_bytes() == default.read_bytes()


def test_an_unknown_effect_or_event_is_refused(deposits: Deposits, pixels: Detector, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'gain'"):
        show_effect(pixels, deposits, "gian", tmp_path / "x.png")
    with pytest.raises(DataError, match="events 0 to 2"):
        show_event(deposits, 3, tmp_path / "x.png", detector=pixels)
    with pytest.raises(DataError, match="no deposits"):
        show_event(deposits, 2, tmp_path / "x.png", detector=pixels)
    assert not list(tmp_path.iterdir())
