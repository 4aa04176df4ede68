"""Patches of a smooth image: bodies and heads see what they see of the plain image, and derivatives are true."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from shiftlab.arms.patches import group
from shiftlab.arms.ragged import Ragged
from shiftlab.arms.smooth_patches import smooth_patches
from shiftlab.detector.smooth import SmoothChain


@pytest.fixture(scope="module")
def prepared(pixel, draw):
    return pixel.prepare(draw(6))


@pytest.fixture(scope="module")
def chain(pixel, prepared):
    return SmoothChain(pixel, prepared)


def test_at_nominal_patches_are_those_of_the_plain_image(pixel, prepared, chain, arm):
    plain, smooth = group(pixel.image(prepared), arm.contract), smooth_patches(chain.image({}), arm.contract)
    there = smooth.presence.number > 0
    for name in ("position", "summary"):
        torch.testing.assert_close(getattr(smooth.patches, name)[there], getattr(plain, name), rtol=1e-5, atol=1e-5)
    for name in ("overall", "centroid", "summed_energy"):
        torch.testing.assert_close(getattr(smooth.patches, name), getattr(plain, name), rtol=1e-5, atol=2e-5)
    assert int((~there).sum()) > 0  # patches of candidates alone


def test_at_nominal_networks_say_what_they_say_of_the_plain_image(pixel, prepared, chain, arm):
    plain, smooth = group(pixel.image(prepared), arm.contract), smooth_patches(chain.image({}), arm.contract)
    with torch.no_grad():
        expected, found = arm.network.body(plain), arm.network.body(smooth.patches, smooth.presence)
        there = smooth.presence.number > 0
        torch.testing.assert_close(found.tokens[there], expected.tokens, rtol=1e-4, atol=1e-4)
        for name in ("energy", "flavour", "electron_gamma"):
            head = arm.network.heads[name]
            torch.testing.assert_close(head(found), head(expected), rtol=1e-4, atol=1e-5)


def test_attention_with_all_tokens_there_is_plain_attention():
    generator = torch.Generator().manual_seed(2)
    offsets = torch.tensor([0, 5, 6, 14])
    query, key, value = (torch.randn(14, 2, 7, generator=generator) for _ in range(3))
    key[..., -1], query[..., -1] = 0.0, 1.0
    nothing = torch.tensor([0.0] * 6 + [-1e12])
    ragged = Ragged.of(offsets, jagged=False)
    found = ragged.attend_present(query, key, value, nothing, torch.ones(14))
    torch.testing.assert_close(found, ragged.attend(query, key, value, nothing), rtol=1e-5, atol=1e-6)


def test_a_token_that_is_not_there_is_not_seen_but_sees():
    generator = torch.Generator().manual_seed(3)
    query, key, value = (torch.randn(6, 1, 5, generator=generator) for _ in range(3))
    key[..., -1], query[..., -1] = 0.0, 1.0
    nothing = torch.tensor([0.0] * 4 + [-1e12])
    weight = torch.tensor([1.0, 1.0, 0.0, 1.0, 1.0, 1.0])
    found = Ragged.of(torch.tensor([0, 6]), jagged=False).attend_present(query, key, value, nothing, weight)
    kept = torch.tensor([0, 1, 3, 4, 5])
    without = Ragged.of(torch.tensor([0, 5]), jagged=False)
    expected = without.attend(query[kept], key[kept], value[kept], nothing)
    torch.testing.assert_close(found[kept], expected, rtol=1e-5, atol=1e-6)
    scores = torch.softmax(query[2, 0] @ key[:, 0].T, dim=0)
    np.testing.assert_allclose(found[2, 0], scores @ value[:, 0], rtol=1e-4, atol=1e-5)
