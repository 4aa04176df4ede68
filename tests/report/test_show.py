"""Pictures of events: written whole, of the event asked for, with the change that the effect makes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from shiftlab.detector import Detector, detector
from shiftlab.errors import DataError, UnknownNameError
from shiftlab.events import Deposits, EventTable
from shiftlab.report.show import effect_figure, event_figure, show_effect, show_event


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


def test_more_gain_reddens_and_less_gain_blues_every_pixel(deposits: Deposits, pixels: Detector) -> None:
    gain = [nuisance for nuisance in pixels.nuisances if nuisance.name == "gain_scale"]
    figure = effect_figure(deposits.take([0]), pixels, gain)
    plus, minus = (axes.collections[0].get_array() for axes in figure.axes[2:4])
    assert plus is not None
    assert minus is not None
    assert float(plus.sum()) > 0 > float(minus.sum())


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
