"""Pooled features belong to each event alone, whatever the batch, and a null shift leaves them as they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from shiftlab.arms.features import EventFeatures, event_features, same_events
from shiftlab.arms.tokens.observation import observe
from shiftlab.errors import DataError


def test_layers_are_means_over_the_tokens_of_each_event(arm, view):
    """Against one event at a time; the two empty images have no features."""
    image, truth = view
    found = event_features(arm.network, observe(image, truth, arm.contract))
    assert found.events.tolist() == [event for event in range(20) if event not in (3, 11)]
    assert {name: values.shape for name, values in found.layers.items()} == {
        "layer 0": (18, 32),
        "layer 1": (18, 32),
        "voxels": (18, 8),
    }
    for row, event in ((0, 0), (7, 8), (17, 19)):
        index = torch.tensor([event])
        alone = observe(image.take(index), truth.take(index), arm.contract)
        with torch.inference_mode():
            encoded = arm.network.body(alone.patches)
        tokens, voxels = encoded.tokens.mean(dim=0).numpy(), encoded.voxels.mean(dim=0).numpy()
        both = np.concatenate([found.layers["layer 0"][row], found.layers["layer 1"][row]])
        np.testing.assert_allclose(both, tokens, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.layers["voxels"][row], voxels, rtol=1e-4, atol=1e-5)


def test_a_null_shift_moves_nothing_bit_for_bit(arm, view):
    image, truth = view
    one, two = (event_features(arm.network, observe(image, truth, arm.contract)) for _ in range(2))
    first, second, lost = same_events(one, two)
    assert lost == 0
    for name in first.layers:
        np.testing.assert_array_equal(first.layers[name], second.layers[name])


def test_events_of_one_universe_only_are_counted_and_left_out():
    layers = np.arange(6.0, dtype=np.float32).reshape(3, 2)
    nominal = EventFeatures(np.array([0, 2, 5]), {"tokens": layers})
    shifted = EventFeatures(np.array([2, 4, 5]), {"tokens": layers})
    first, second, lost = same_events(nominal, shifted)
    assert lost == 2
    assert first.events.tolist() == second.events.tolist() == [2, 5]
    np.testing.assert_array_equal(first.layers["tokens"], layers[1:])
    np.testing.assert_array_equal(second.layers["tokens"], layers[[0, 2]])
    with pytest.raises(DataError, match="no event has features in both"):
        same_events(nominal, EventFeatures(np.array([1, 3]), {"tokens": layers[:2]}))


def test_a_chunk_of_empty_images_has_no_features(arm, view):
    image, truth = view
    index = torch.tensor([3, 11])
    with pytest.raises(DataError, match="no event of this chunk"):
        event_features(arm.network, observe(image.take(index), truth.take(index), arm.contract))
