"""OmniLearned's own PET2 with random weights, its batches, and checkpoints written by its own function."""

import types
from pathlib import Path

import pytest
import torch
from torch import Tensor

from shiftlab.arms.tokens.batch import TokenBatch
from shiftlab.arms.tokens.contract import TokenContract

network = pytest.importorskip("omnilearned.network", reason="needs shiftlab[peers]")

SIZE = {"width": 32, "layers": 3, "head_layers": 2, "heads": 4, "class_tokens": 4}


def public(contract: TokenContract, mode: str, *, classes: int = 7, seed: int = 3) -> torch.nn.Module:
    """Return OmniLearned's own model with random weights, one and all."""
    globals_, kinds, columns = len(contract.global_columns), len(contract.kinds), len(contract.columns)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = network.PET2(
            4,
            conditional=globals_ > 0,
            cond_dim=max(globals_, 1),
            pid=kinds > 1,
            pid_dim=kinds + 1,
            add_info=columns > 4,
            add_dim=max(columns - 4, 1),
            mode=mode,
            num_classes=classes,
            base_dim=SIZE["width"],
            num_transformers=SIZE["layers"],
            num_transformers_head=SIZE["head_layers"],
            num_tokens=SIZE["class_tokens"],
            num_heads=SIZE["heads"],
            K=10,
            num_coord=2,
        )
        for parameter in model.parameters():  # biases and norms start at constants, which hide mistakes
            parameter.data += 0.05 * torch.randn_like(parameter)
        return model.eval()


def as_the_package_reads(batch: TokenBatch) -> dict[str, Tensor]:
    """Return zero-padded tensors as ``omnilearned.dataloader`` makes them, one event after another."""
    longest = max(int(batch.lengths.max()), 33)
    x, add, pid = (
        torch.zeros(len(batch), longest, 4),
        torch.zeros(len(batch), longest, batch.values.shape[1] - 4),
        torch.zeros(len(batch), longest, dtype=torch.int64),
    )
    for event, (first, last) in enumerate(zip(batch.offsets[:-1], batch.offsets[1:], strict=True)):
        rows = slice(int(first), int(last))
        x[event, : last - first] = batch.values[rows, :4]
        add[event, : last - first] = batch.values[rows, 4:]
        pid[event, : last - first] = batch.kind[rows] + 1
    return {"x": x, "cond": batch.numbers, "pid": pid, "add_info": add}


def save_publicly(model: torch.nn.Module, folder: Path) -> Path:
    """Write a checkpoint by the package's own function, with the state of its own optimiser and schedule."""
    utils, train = pytest.importorskip("omnilearned.utils"), pytest.importorskip("pytorch_optimizer")
    from diffusers.optimization import get_cosine_schedule_with_warmup

    optimiser = train.Lion(utils.get_param_groups(model, 0.3, 1e-3))
    schedule = get_cosine_schedule_with_warmup(optimiser, 2, 10)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    average = utils.shadow_copy(model)
    for value in average.parameters():
        value.data *= 0.5
    name = utils.get_checkpoint_name("test")
    utils.save_checkpoint(types.SimpleNamespace(module=model), average, 4, optimiser, 0.25, schedule, str(folder), name)
    return folder / name
