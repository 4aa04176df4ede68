"""Compiled blocks train the same network, and their operations are still counted."""

import pytest
import torch
from torch import nn

from shiftlab.arms.training import Run, train
from shiftlab.arms.training.curves import Curve
from shiftlab.arms.training.recipe import Recipe


class Stack(nn.Module):
    """Two equal blocks, for any number of tokens."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.GELU()) for _ in range(2))

    def forward(self, x):
        for block in self.blocks:
            x = x + block(x)
        return x.square().mean()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler itself
def test_compiled_blocks_train_the_same_network(tmp_path):
    found = {}
    for compiled in (False, True):
        torch.manual_seed(0)
        module, folder = Stack(), tmp_path / str(compiled)

        def loss(rows, generator, module=module):
            return module(torch.randn(3 * int(rows.sum()), 8, generator=generator))

        run = Run("blocks", 0, folder / "state", "x", curve=folder / "curve.csv")
        batches = [torch.tensor([2 + step % 5, 4]) for step in range(8)]
        losses = train(run, module, batches, loss, Recipe(compile=compiled), peak=1e-2, keys=torch.arange(9))
        found[compiled] = (losses, Curve.load(run.curve).points["flops"].tolist(), module.state_dict())
    assert found[True][0] == pytest.approx(found[False][0], rel=1e-4)
    assert found[True][1] == found[False][1]
    assert found[True][2].keys() == found[False][2].keys()
