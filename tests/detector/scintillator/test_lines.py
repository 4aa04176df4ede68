"""Clusters and the lines through them: a straight track is found where it was."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftlab.detector import Stream
from shiftlab.detector.scintillator import Response, StripGeometry
from shiftlab.detector.scintillator.clusters import clusters
from shiftlab.detector.scintillator.lines import fit_lines
from shiftlab.detector.scintillator.photostatistics import calibrate, collect, count, illuminate

STACK, RESPONSE = StripGeometry(), Response(light_yield=500.0)


def clusters_of(deposits):
    light = illuminate(deposits, deposits.instance.long(), STACK, RESPONSE)
    return clusters(
        calibrate(count(collect(light, deposits.events.key, STACK), RESPONSE, Stream(1, "t")), RESPONSE), STACK
    )


@settings(deadline=None, max_examples=25)
@given(st.floats(-0.8, 0.8), st.floats(-0.8, 0.8), st.floats(95.0, 135.0), st.floats(95.0, 135.0))
def test_a_straight_track_gives_its_line_back(drawn, ray, a, b, x, y):
    length = 60.0 * (1 + a * a + b * b) ** 0.5
    found = clusters_of(drawn([[ray(13, 3000.0, start=(x, y, 100.0), way=(a, b, 1.0), length=length)]]))
    line = fit_lines(found, torch.zeros(len(found), dtype=torch.int64), 1, STACK)
    assert line.slope[0].tolist() == pytest.approx([a, b], abs=0.02)
    middle = line.at(torch.tensor([130.0]).double())[0]
    assert middle.tolist() == pytest.approx([x + 30 * a, y + 30 * b, 130.0], abs=0.4)
    assert 35 <= int(line.planes[0]) <= 37


def test_a_cluster_is_a_run_of_neighbouring_strips_of_one_plane_event_and_particle(drawn, ray):
    deposits = drawn([[ray(13, 3000.0), ray(211, 300.0, start=(140.3, 114.6, 100.0))], [ray(13, 3000.0)]])
    found = clusters_of(deposits)
    assert (found.strips <= 2).all()  # a track along z lights two neighbours at most
    for event, tracks in ((0, 2), (1, 1)):
        planes = found.plane[found.event == event].unique()
        assert int((found.event == event).sum()) == tracks * len(planes)
    order = (found.event * STACK.planes + found.plane) * STACK.strips + found.first
    assert (order.diff() > 0).all()


def test_a_group_in_one_plane_still_has_a_finite_line(drawn, ray):
    found = clusters_of(drawn([[ray(2212, 300.0, start=(115.3, 114.6, 100.6), length=0.5)]]))
    line = fit_lines(found, torch.zeros(len(found), dtype=torch.int64), 1, STACK)
    assert torch.isfinite(line.point).all()
    assert torch.isfinite(line.direction).all()
    assert int(line.planes[0]) == 1
