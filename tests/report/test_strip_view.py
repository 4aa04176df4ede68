"""The picture of an event in strips: every hit once, and what it became named in the legend."""

from pathlib import Path

import pytest
import torch

from shiftlab.detector import scintillator_detector
from shiftlab.errors import DataError
from shiftlab.events import read
from shiftlab.report.strip_view import show_strips, strip_figure

DETECTOR = scintillator_detector()
EVENTS = Path(__file__).parents[1] / "data" / "ch_neutrino.h5"


def test_every_hit_is_drawn_once_in_its_view():
    deposits = read(EVENTS)
    for event in (1, 5):
        recorded = DETECTOR.record(deposits.take(torch.tensor([event])))
        figure = strip_figure(recorded, DETECTOR)
        drawn = [len(axes.collections[0].get_offsets()) for axes in figure.axes]
        views = [DETECTOR.geometry.views[int(plane) % 4] for plane in recorded.hits.plane]
        assert drawn == [views.count(letter) for letter in "XUV"]
        names = [text.get_text() for text in figure.legends[0].get_texts()]
        assert sum(name.startswith(("prong", "photon", "matched")) for name in names) == len(
            recorded.reconstruction.group[recorded.reconstruction.role > 0].unique()
        )


def test_the_file_is_a_png(tmp_path):
    path = show_strips(read(EVENTS), 1, tmp_path / "event.png", detector=DETECTOR)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_an_event_that_is_not_there_or_is_dark_is_refused(tmp_path):
    deposits = read(EVENTS)
    with pytest.raises(DataError, match="events 0 to 15"):
        show_strips(deposits, 16, tmp_path / "event.png", detector=DETECTOR)
    dark = deposits.keep(torch.zeros(len(deposits.energy), dtype=torch.bool))
    with pytest.raises(DataError, match="no strip"):
        show_strips(dark, 0, tmp_path / "event.png", detector=DETECTOR)
    assert list(tmp_path.iterdir()) == []
