"""Packed attention is attention inside each event: the same as event by event, and as padded with a mask."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from shiftlab.arms.ragged import Ragged, buckets
from shiftlab.arms.token_limit import TokenLimit
from shiftlab.errors import ConfigError, DataError

HEADS, WIDE = 2, 6
LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=12)
# Jagged tensors are for CUDA; on the CPU torch computes the same by another way, and says once that it may change.
JAGGED = pytest.param(True, marks=pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors"), id="jagged")
LAYOUTS = pytest.mark.parametrize("jagged", [pytest.param(False, id="buckets"), JAGGED])


def columns(lengths, seed=0):
    """Query, key and value of a ragged batch, and the key that no query likes: its last column is far below."""
    generator = torch.Generator().manual_seed(seed)
    query, key, value = (torch.randn(sum(lengths), HEADS, WIDE, generator=generator) for _ in range(3))
    query[..., -1], key[..., -1] = 1.0, 0.0
    nothing = functional.pad(torch.full((1,), -1e12), (WIDE - 1, 0))
    return query, key, value, nothing


def offsets_of(lengths):
    return torch.tensor([0, *lengths]).cumsum(0)


def one_by_one(query, key, value, lengths):
    """Plain attention of each event alone."""
    answers = []
    for q, k, v in zip(*(one.split(lengths) for one in (query, key, value)), strict=True):
        weight = torch.softmax(torch.einsum("ihc,jhc->hij", q, k), dim=-1)
        answers.append(torch.einsum("hij,jhc->ihc", weight, v))
    return torch.cat(answers)


def padded(query, key, value, lengths):
    """Attention of all events in one block with a mask, as a model without packing computes it."""
    longest = max(lengths)
    there = torch.arange(longest) < torch.tensor(lengths)[:, None]
    blocks = []
    for one in (query, key, value):
        block = one.new_zeros(len(lengths), longest, HEADS, WIDE)
        block[there] = one
        blocks.append(block.transpose(1, 2))
    seen = functional.scaled_dot_product_attention(*blocks, attn_mask=there[:, None, None, :], scale=1.0)
    return seen.transpose(1, 2)[there]


@LAYOUTS
@settings(max_examples=25, deadline=None)
@given(lengths=LENGTHS)
def test_packed_is_event_by_event_is_padded(jagged, lengths):
    query, key, value, nothing = columns(lengths)
    packed = Ragged.of(offsets_of(lengths), jagged=jagged).attend(query, key, value, nothing)
    torch.testing.assert_close(packed, one_by_one(query, key, value, lengths), atol=1e-5, rtol=0.0)
    torch.testing.assert_close(packed, padded(query, key, value, lengths), atol=1e-5, rtol=0.0)


@LAYOUTS
def test_gradients_are_those_of_event_by_event(jagged):
    lengths = [5, 1, 33, 2, 30, 30, 31]
    query, key, value, nothing = columns(lengths)
    inputs = [one.requires_grad_() for one in (query, key, value)]
    ragged = Ragged.of(offsets_of(lengths), jagged=jagged)
    packed = torch.autograd.grad(ragged.attend(query, key, value, nothing).square().sum(), inputs)
    plain = torch.autograd.grad(one_by_one(query, key, value, lengths).square().sum(), inputs)

    for mine, theirs in zip(packed, plain, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)


@settings(max_examples=60, deadline=None)
@given(lengths=st.lists(st.integers(1, 400), min_size=1, max_size=64))
def test_every_event_is_in_one_bucket_and_few_places_are_empty(lengths):
    found = buckets(lengths)
    assert sorted(event for bucket in found for event in bucket) == list(range(len(lengths)))
    for bucket in found:
        rest = [lengths[event] for event in bucket[4:]]
        assert all(length >= 0.75 * lengths[bucket[0]] for length in rest)
    ragged = Ragged.of(offsets_of(lengths), jagged=False)
    assert ragged.padded == sum(len(bucket) * lengths[bucket[0]] for bucket in found)
    assert ragged.padded <= len(lengths) * max(lengths)


def test_events_of_like_length_share_a_product_and_a_long_one_does_not_fill_up_the_others():
    ragged = Ragged.of(offsets_of([20] * 30 + [200]), jagged=False)
    assert len(ragged.rows) == 2
    assert ragged.padded == 27 * 20 + 4 * 200


def test_no_other_event_of_the_batch_has_a_say():
    lengths = [7, 30, 3]
    query, key, value, nothing = columns(lengths)
    ragged = Ragged.of(offsets_of(lengths), jagged=False)
    before = ragged.attend(query, key, value, nothing)
    key[7:37], value[7:37] = 1e3, -1e3
    after = ragged.attend(query, key, value, nothing)
    assert torch.equal(before[:7], after[:7])
    assert torch.equal(before[37:], after[37:])


def test_squared_distances_keep_their_precision_under_autocast():
    """Scores x y - y y / 2 of places 300 units away cancel to order one; in bfloat16 they are wrong by hundreds."""
    place = 300.0 + torch.rand(20, HEADS, 1, generator=torch.Generator().manual_seed(1))
    flat = torch.zeros_like(place)
    query = torch.cat([place, torch.ones_like(place), flat], dim=2)
    key = torch.cat([place, -place.square() / 2, flat], dim=2)
    value = torch.rand(20, HEADS, 3, generator=torch.Generator().manual_seed(2))
    nothing = torch.tensor([0.0, -1e12, 0.0])
    ragged = Ragged.of(torch.tensor([0, 20]), jagged=False)
    whole = ragged.attend(query, key, value, nothing)
    with torch.autocast("cpu", torch.bfloat16):
        half = ragged.attend(query, key, value, nothing)
    assert torch.equal(whole, half)
    rounded = ragged.attend(query.bfloat16(), key.bfloat16(), value.bfloat16(), nothing).float()
    assert float((rounded - whole).abs().max()) > 0.05  # of values from 0 to 1


def test_events_above_the_token_limit_are_counted_and_named_but_not_cut():
    lengths, keys = torch.tensor([3, 12, 7, 30]), torch.tensor([50, 51, 52, 53])
    limit = TokenLimit(10)
    assert limit.fits(lengths).tolist() == [True, False, True, False]
    found = limit.count(lengths, keys)
    assert (found.events, found.of, found.longest, found.keys) == (2, 4, 30, (51, 53))
    assert (found + limit.count(lengths[:1], keys[:1])).of == 5
    with pytest.raises(DataError, match=r"pre-training: 2 of 4 events have more than 10 tokens .* keys \[51, 53\]"):
        limit.require(lengths, keys, "pre-training")
    limit.require(lengths[:1], keys[:1], "pre-training")


def test_without_a_limit_all_events_fit():
    lengths = torch.tensor([3, 10**6])
    assert TokenLimit().fits(lengths).all()
    TokenLimit().require(lengths, lengths, "pre-training")
    with pytest.raises(ConfigError, match="0 tokens"):
        TokenLimit(0)
