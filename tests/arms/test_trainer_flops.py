"""Operations are those that ran: two a multiplication, none for gradients that nobody needs."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from shiftlab.arms.training import Measured, Run, presentations, train
from shiftlab.arms.training.curves import Curve
from shiftlab.arms.training.flops import metered
from shiftlab.arms.training.recipe import Recipe

sizes = st.integers(1, 12)


@given(st.lists(sizes, min_size=2, max_size=5), sizes, st.data())
@settings(max_examples=25, deadline=None)
def test_a_stack_of_linear_layers_takes_what_counting_by_hand_gives(widths, batch, data):
    """Forward: 2 batch in out a layer. Backward: as much for weights that learn, and for input that those made."""
    layers = [nn.Linear(*pair, bias=False) for pair in pairwise(widths)]
    learns = [data.draw(st.booleans()) for _ in layers]
    for layer, own in zip(layers, learns, strict=True):
        layer.requires_grad_(own)
    with metered() as meter:
        value = nn.Sequential(*layers)(torch.randn(batch, widths[0])).sum()
        if any(learns):
            value.backward()
    forward = [2 * batch * layer.in_features * layer.out_features for layer in layers]
    weights = sum(cost for cost, own in zip(forward, learns, strict=True) if own)
    inputs = sum(cost for i, cost in enumerate(forward) if any(learns[:i]))
    assert meter.flops == sum(forward) + weights + inputs


@given(st.integers(1, 3), st.integers(1, 4), st.integers(2, 20), st.integers(1, 16))
@settings(max_examples=20, deadline=None)
def test_attention_is_counted_on_the_cpu(batch, heads, tokens, width):
    """Scores and the weighted sum are 2 products forward and 4 backward; the fused form makes the scores anew."""
    query = torch.randn(batch, heads, tokens, width)
    product = 2 * batch * heads * tokens * tokens * width
    with metered() as meter:
        functional.scaled_dot_product_attention(query, query, query)
    assert meter.flops == 2 * product
    with metered() as meter:
        functional.scaled_dot_product_attention(*(query.clone().requires_grad_() for _ in range(3))).sum().backward()
    assert meter.flops in (6 * product, 7 * product)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("learns", [False, True])
def test_attention_over_jagged_tensors_takes_what_the_events_take(learns):
    """Each event attends within itself: 2 products forward and 4 backward, whatever the lengths of the others."""
    lengths = torch.tensor([5, 9, 3, 17])
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    packed = [torch.randn(34, 2, 8, requires_grad=learns) for _ in range(3)]
    with metered() as meter:
        parts = [torch.nested.nested_tensor_from_jagged(one, offsets).transpose(1, 2) for one in packed]
        seen = functional.scaled_dot_product_attention(*parts).transpose(1, 2).values().sum()
        if learns:
            seen.backward()
    product = int((2 * 2 * 8 * lengths.square()).sum())
    assert meter.flops == (6 if learns else 2) * product


def test_products_are_counted_in_inference_mode_as_well():
    left, right = torch.randn(3, 4, 5), torch.randn(5, 6)
    with torch.inference_mode(), metered() as meter:
        torch.matmul(left, right)
    assert meter.flops == 2 * 3 * 4 * 5 * 6


def test_nothing_is_counted_when_off():
    with metered(enabled=False) as meter:
        nn.Linear(3, 4)(torch.randn(2, 3))
    assert meter.flops == 0


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("tokens", [False, True])
def test_the_curve_holds_the_operations_of_all_steps(tmp_path, frozen, tokens):
    """With one layer, operations are proportional to the rows; those of unmeasured steps follow from the size."""
    module = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 3))
    module[0].requires_grad_(not frozen)
    shown = []

    def loss(rows, generator):
        x = torch.randn(2 * len(rows), 6, generator=generator)
        shown.append(len(x))
        value = module(x).square().mean()
        return Measured(value, len(rows), len(x)) if tokens else value

    run = Run("count", 0, tmp_path / "state", "x", curve=tmp_path / "curve.csv")
    batches = presentations(torch.arange(30), torch.arange(30), 1006, 10, 0)
    train(run, module, batches, loss, Recipe(), peak=1e-3, keys=torch.arange(30))
    points = Curve.load(tmp_path / "curve.csv").points
    each = 2 * 6 * 8 * (1 if frozen else 2) + 2 * 8 * 3 * (2 if frozen else 3)
    assert points["flops"].iloc[-1] == pytest.approx(each * sum(shown))
    assert points["step"].iloc[-1] == len(shown) == 101
    assert points["samples"].iloc[-1] == 1006
    assert points["epoch"].iloc[-1] == pytest.approx(1006 / 30)
    assert points["tokens"].isna().all() if not tokens else points["tokens"].iloc[-1] == 2012


def test_measuring_changes_no_weight(tmp_path):
    found = []
    for curve in (None, tmp_path / "curve.csv"):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 3))
        run = Run("bits", 0, tmp_path / f"state{curve is None}", "x", curve=curve)

        def loss(rows, generator, module=module):
            return module(torch.randn(len(rows), 6, generator=generator)).square().mean()

        batches = presentations(torch.arange(30), torch.arange(30), 300, 10, 0)
        train(run, module, batches, loss, Recipe(), peak=1e-2, keys=torch.arange(30))
        found.append(torch.cat([value.detach().flatten() for value in module.parameters()]))
    assert torch.equal(*found)
