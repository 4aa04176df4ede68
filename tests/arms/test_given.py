"""What heads are given belongs to each event alone; first-order answers are exact for a head that is linear."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from shiftlab.arms.given import Given, given, moved
from shiftlab.arms.head_slopes import first_order, head_slopes, why_not
from shiftlab.arms.heads import EventHead
from shiftlab.arms.tokens.observation import observe
from shiftlab.detector import Universe
from shiftlab.tasks import named_tasks

LOST = (3, 11)
ENERGY = named_tasks(["energy"])[0]


def seen(arm, view, events=None) -> Given | None:
    image, truth = view
    if events is not None:
        image, truth = image.take(torch.tensor(events)), truth.take(torch.tensor(events))
    return given(arm.network.body, observe(image, truth, arm.contract))


def places(one: Given) -> set[tuple[int, ...]]:
    """Event and place, in tenths of a centimetre, of every token."""
    event = one.encoded.token_event
    there = (one.encoded.position + one.encoded.centroid[event]).double().numpy()
    return {(int(e), *np.rint(10 * p).astype(int).tolist()) for e, p in zip(event, there, strict=True)}


def answered(head: EventHead, one: Given) -> torch.Tensor:
    """What the head says of all events of a chunk."""
    with torch.no_grad():
        return ENERGY.decode(head(one.encoded), one.summary)


def test_layers_are_means_over_the_tokens_of_each_event(arm, view):
    """Against one event at a time; the two empty images have no features."""
    found = seen(arm, view)
    assert found.events.tolist() == [event for event in range(20) if event not in LOST]
    assert {name: values.shape for name, values in found.layers.items()} == {
        "layer 0": (18, 32),
        "layer 1": (18, 32),
        "voxels": (18, 8),
    }
    for row, event in ((0, 0), (7, 8), (17, 19)):
        image, truth = view
        alone = observe(image.take(torch.tensor([event])), truth.take(torch.tensor([event])), arm.contract)
        with torch.inference_mode():
            encoded = arm.network.body(alone.patches)
        tokens, voxels = encoded.tokens.mean(dim=0).numpy(), encoded.voxels.mean(dim=0).numpy()
        both = np.concatenate([found.layers["layer 0"][row], found.layers["layer 1"][row]])
        np.testing.assert_allclose(both, tokens, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.layers["voxels"][row], voxels, rtol=1e-4, atol=1e-5)


def test_the_joined_chunk_is_answered_as_the_arm_answers(arm, view):
    one = seen(arm, view)
    scored = ENERGY.scored(view[0].events)
    expected = arm.predict(*view, [ENERGY])["energy"]
    looked_at = np.flatnonzero(scored)
    kept = np.isin(looked_at, one.events)
    found = answered(arm.network.heads["energy"], one).numpy()[np.isin(one.events, looked_at)]
    np.testing.assert_allclose(found, expected[kept], rtol=1e-4)


def test_a_null_shift_moves_nothing_bit_for_bit(arm, view):
    one, two = seen(arm, view), seen(arm, view)
    for name in one.layers:
        np.testing.assert_array_equal(one.layers[name], two.layers[name])
    change = moved(one, two)
    assert change.found.all()
    assert not change.tokens.any()
    assert not change.overall.any()
    head = arm.network.heads["energy"]
    for route in first_order(ENERGY, head_slopes(head, one), one, change):
        torch.testing.assert_close(route, answered(head, one), rtol=0, atol=0)


def test_empty_images_are_given_nothing_and_have_no_displacement(arm, view):
    assert seen(arm, view, LOST) is None
    one = seen(arm, view)
    assert not moved(one, None).found.any()
    fewer = seen(arm, view, [0, 1, 2])
    change = moved(replace(one), fewer)
    rows = one.encoded.token_event
    assert change.found[rows < 3].all()
    assert not change.found[rows >= 3].any()


def test_tokens_are_matched_by_place_and_vanished_ones_are_counted(arm, view, pixel, draw):
    """A gain shift moves energies and a few voxels across the threshold; most patches stay where they are."""
    prepared = pixel.prepare(draw(20, seed=1))
    images = [pixel.image(prepared, u) for u in (Universe("a"), Universe("b", (("gain_scale", 3.0),), group="unisim"))]
    one, two = (given(arm.network.body, observe(image, None, arm.contract)) for image in images)
    change = moved(one, two)
    first, second = places(one), places(two)
    assert int(change.found.sum()) == len(first & second) > 0.8 * len(first)
    assert not change.tokens[~change.found].any()


def test_tokens_without_a_place_are_matched_in_order_where_there_are_as_many(arm, view):
    one = seen(arm, view, [0, 1, 2])
    blank = replace(one, encoded=replace(one.encoded, position=torch.zeros_like(one.encoded.position)))
    sizes = one.encoded.offsets.diff()
    keep = torch.ones(len(one.encoded.tokens), dtype=torch.bool)
    keep[0] = False
    short = torch.cat([sizes[:1] - 1, sizes[1:]])
    shifted = replace(
        blank,
        encoded=replace(
            blank.encoded,
            tokens=blank.encoded.tokens[keep] + 1.0,
            position=blank.encoded.position[keep],
            offsets=torch.cat([short.new_zeros(1), short.cumsum(0)]),
        ),
    )
    change = moved(blank, shifted)
    rows = blank.encoded.token_event
    assert not change.found[rows == 0].any()
    assert change.found[rows > 0].all()
    torch.testing.assert_close(change.tokens[rows > 0], torch.ones_like(change.tokens[rows > 0]))


class MeanHead(EventHead):
    """A head that is linear in its tokens and in the event's overall quantities."""

    def forward(self, encoded):
        tokens = torch.segment_reduce(encoded.tokens, "mean", lengths=encoded.offsets.diff(), axis=0)
        return 0.01 * (tokens[:, :1] - 2.0 * tokens[:, 1:2]) + 0.02 * encoded.overall[:, :1]


def test_the_first_order_of_a_linear_head_is_its_answer(arm, view):
    """Features alone where nothing else moves; with the inputs beside them where they do."""
    head, one = MeanHead(arm.network.body, 1), seen(arm, view)
    step = torch.randn(one.encoded.tokens.shape, generator=torch.Generator().manual_seed(2))
    tokens = one.encoded.tokens + step
    other = replace(one, encoded=replace(one.encoded, tokens=tokens))
    slopes = head_slopes(head, one)
    torch.testing.assert_close(
        first_order(ENERGY, slopes, one, moved(one, other))[0], answered(head, other), rtol=1e-4, atol=1e-3
    )
    beside = replace(
        other,
        encoded=replace(other.encoded, overall=one.encoded.overall + 0.5),
        summary=replace(one.summary, summed_energy=1.1 * one.summary.summed_energy),
    )
    routes = first_order(ENERGY, slopes, one, moved(one, beside))
    torch.testing.assert_close(routes[1], answered(head, beside), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(routes[0], answered(head, other), rtol=1e-4, atol=1e-3)


def test_slopes_are_those_of_small_steps(arm, view):
    """A real head, pooled by attention and maximum: against a small step along a drawn direction."""
    head, one = arm.network.heads["flavour"], seen(arm, view, [0, 1, 2, 4])
    direction = torch.randn(one.encoded.tokens.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    double = head.double()
    wide = replace(
        one.encoded,
        **{name: getattr(one.encoded, name).double() for name in ("tokens", "position", "overall", "centroid")},
    )
    slopes = head_slopes(double, replace(one, encoded=wide))
    with torch.no_grad():
        ends = [double(replace(wide, tokens=wide.tokens + sign * 1e-7 * direction)) for sign in (1.0, -1.0)]
    numeric = (ends[0] - ends[1])[:, 0] / 2e-7
    rows = wide.token_event
    predicted = torch.zeros(len(one.events), dtype=torch.float64).index_add(
        0, rows, (slopes.tokens[0] * direction).sum(dim=1)
    )
    head.float()
    torch.testing.assert_close(predicted, numeric, rtol=1e-3, atol=1e-6)


def test_only_heads_of_whole_events_have_a_first_order(arm):
    reasons = {task.name: why_not(task, arm.network.heads[task.name]) for task in named_tasks()}
    assert reasons["energy"] == reasons["flavour"] == ""
    assert "voxels come and go" in reasons["segmentation"]


def test_gradients_are_not_left_behind(arm, view):
    one = seen(arm, view)
    head_slopes(arm.network.heads["energy"], one)
    assert not any(part.requires_grad for part in (one.encoded.tokens, one.encoded.overall))
    assert all(weight.grad is None for weight in arm.network.parameters())
    assert pytest.approx(one.summary.summed_energy.sum().item(), rel=1e-6) == float(
        observe(view[0], None, arm.contract).summed_energy.sum()
    )
