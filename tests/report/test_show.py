"""Pictures of events: written whole, of the event asked for, with the change that the effect makes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from shiftlab.config import detector_config
from shiftlab.detector import Detector, Universe, detector
from shiftlab.errors import DataError, UnknownNameError
from shiftlab.events import Deposits, EventTable
from shiftlab.report.effect_event import changes, telling_event
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
    assert titles[0].startswith("recombination_model\nnominal: modified_box")
    assert titles[1].startswith("birks")


def test_an_effect_that_the_detector_lacks_is_added_at_its_default(deposits: Deposits, pixels: Detector) -> None:
    """W is no effect of pixel_lar, and double counts with its gain: a picture of it alone is wanted all the same."""
    assert [one.name for one in displacements(with_effect(pixels, "w_value"), "w_value")] == ["w_value_w"]
    assert with_effect(pixels, "gain") is pixels


def test_a_choice_that_means_nothing_alone_is_drawn_beside_a_shift(deposits: Deposits, pixels: Detector) -> None:
    """Whether the energies of the file follow the argon's density makes no difference while the density is nominal."""
    dense = with_effect(pixels, "argon_density")
    figure = effect_figure(deposits.take([0]), dense, displacements(dense, "argon_density"))
    choice = next(axes for axes in figure.axes if axes.get_title().startswith("argon_density_energy_loss"))
    assert "with argon_density_shift at +1σ" in choice.get_title()
    assert all("nothing changes" not in text.get_text() for axes in figure.axes for text in axes.texts)


def test_where_charge_moves_the_curve_says_how_far(deposits: Deposits, pixels: Detector) -> None:
    """A rigid shift of 0.22 cm moves the mean place of energy by as much, up to the pitch of the lattice."""
    moved = with_effect(pixels, "misalignment")
    (along_z,) = (one for one in displacements(moved, "misalignment") if one.name == "misalignment_z")
    figure = effect_figure(deposits.take([0]), moved, [along_z])
    (axes,) = (axes for axes in figure.axes if "mean z of energy" in axes.get_ylabel())
    (line,) = axes.get_lines()
    x, y = (np.asarray(values, dtype=float) for values in (line.get_xdata(), line.get_ydata()))
    np.testing.assert_allclose(y, x, atol=0.2)


def test_an_event_that_changes_is_drawn_though_the_first_does_not(deposits: Deposits, pixels: Detector) -> None:
    """A dead strip through the second event alone: it is drawn, and not the nue CC one before the search."""
    twins = replace(deposits, events=replace(deposits.events, sample=("nue_cc", "numu_cc", "numu_cc")))
    dead = with_effect(pixels, "dead_region")
    (width,) = (one for one in displacements(dead, "dead_region") if one.name == "dead_region_width")
    images = [dead.image(twins, width.universe(strength)) for strength in (0.0, 1.0)]
    changed = [changes(*(image.take([n]) for image in images)) for n in range(2)]
    assert changed == [False, True]
    assert telling_event(dead, twins, [width.universe(1.0)]) == 1
    assert telling_event(pixels, twins, [Universe("gain", (("gain_scale", 1.0),))]) == 0
    with pytest.raises(DataError, match="nothing to show"):
        telling_event(pixels, twins.take([2]), [])


def test_a_line_that_stays_at_zero_is_left_out(deposits: Deposits, pixels: Detector) -> None:
    """A residual gain takes no voxel away: its curve is of the energy alone."""
    residual = with_effect(pixels, "residual_gain")
    figure = effect_figure(deposits.take([0]), residual, displacements(residual, "residual_gain"))
    legend = figure.axes[3].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["energy", "nominal"]


def test_of_wires_the_plane_that_changes_is_drawn(deposits: Deposits) -> None:
    """The gain of the middle plane changes no other: the second of three is drawn, and its energy follows the gain."""
    chamber = Detector.from_config(detector_config("wire_lar"))
    (middle,) = (one for one in displacements(chamber, "plane_gain") if one.name == "plane_gain_middle")
    figure = effect_figure(deposits.take([0]), chamber, [middle])
    assert figure.axes[0].get_xlabel() == "wire of plane 2 of 3"
    curve = figure.axes[3].get_lines()[0]
    x, y = (np.asarray(values, dtype=float) for values in (curve.get_xdata(), curve.get_ydata()))
    assert float(np.interp(1.013, x, y)) == pytest.approx(1.3, abs=0.1)


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
