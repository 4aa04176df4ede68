"""The public PILArNet-M event as an image, packages that only share a name, and random weights that matter."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from shiftlab.arms.contract import InputContract
from shiftlab.arms.patches import Patches, group
from shiftlab.events import Image, read

FILE = Path(__file__).parents[1] / "data" / "pilarnet_event.h5"


def public_image(copies: int = 1) -> Image:
    """Voxels of the event as the public readers take them; a second copy has each third voxel only."""
    deposits = read(FILE)
    index = torch.floor(deposits.position / 0.3).long()
    cell, order = ((index[:, 0] * 768 + index[:, 1]) * 768 + index[:, 2]).sort()
    energy = deposits.energy[order]
    rows = [torch.arange(len(cell)), torch.arange(0, len(cell), 3)][:copies]
    chosen = torch.cat(rows)
    offsets = torch.tensor([0, *[len(one) for one in rows]]).cumsum(0)
    events = deposits.events.take(torch.zeros(copies, dtype=torch.int64))
    return Image(offsets, cell[chosen], energy[chosen] * 4e4, energy[chosen], (768, 768, 768), events)


def public_patches(contract: InputContract, copies: int = 1) -> Patches:
    """The same, grouped by a contract after its threshold."""
    return group(contract.admit(public_image(copies)), contract)


def name_only(monkeypatch: pytest.MonkeyPatch, folder: Path, package: str) -> None:
    """Install a package that has nothing but the name."""
    hide(monkeypatch, package)
    monkeypatch.delitem(sys.modules, package)
    (folder / package).mkdir()
    (folder / package / "__init__.py").write_text("'''Another project.'''\n")
    monkeypatch.syspath_prepend(str(folder))


def hide(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Make a package look absent, its modules too."""
    for name in list(sys.modules):
        if name.startswith(f"{package}."):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)


def randomise(network: nn.Module, seed: int) -> None:
    """Give every tensor random numbers, scales of residual branches among them, so that each part is heard."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            drawn = torch.randn(value.shape, generator=generator)
            wide = value.ndim > 1
            value.copy_(drawn * (0.5 / value[0].numel() ** 0.5 if wide else 0.2) + (0 if wide else 0.6))
            if "running_var" in name:
                value.abs_().add_(0.5)
