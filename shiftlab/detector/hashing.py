"""Random bits as a hash of whole numbers, and standard normals made of them: the same on every device."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from scipy import special
from torch import Tensor

__all__ = ["COMPILE", "hashed", "hashed_normal", "hashed_uniform", "mix"]

COMPILE: Final = "SHIFTLAB_COMPILE"
"""Environment variable: 1 lets torch compile large draws, which needs a C++ compiler (Triton on a GPU)."""

COMPILE_FROM: Final = 1 << 15
"""Fewer draws are not worth a compiled call."""

GOLDEN: Final = 0x9E3779B97F4A7C15
_FIRST: Final = 0xBF58476D1CE4E5B9
_SECOND: Final = 0x94D049BB133111EB

_MASK: Final = (1 << 64) - 1

_BLOCK: Final = 1 << 15
"""Draws made at a time: 256 KiB a buffer, which stays in the cache."""

Ids: TypeAlias = Sequence[Tensor | int]
"""int64 tensors of one shape (or that broadcast to one), or whole numbers."""

Bits: TypeAlias = npt.NDArray[np.uint64]
Kernel: TypeAlias = Callable[[Tensor, Tensor, list[Tensor]], Tensor]


# Arrays without dimensions: what NumPy would make of plain numbers anew in every call.
_GOLDENS, _FIRSTS, _SECONDS, _30, _27, _31 = (
    np.array(number, dtype=np.uint64) for number in (GOLDEN, _FIRST, _SECOND, 30, 27, 31)
)


def signed(value: int) -> int:
    """Return the int64 that has the lowest 64 bits of ``value``."""
    value &= _MASK
    return value - (1 << 64) if value >> 63 else value


def mix(bits: Tensor) -> Tensor:
    """Return the 64-bit finaliser of splitmix64 (Steele, Lea, Flood 2014) of int64 ``bits``, any shape.

    Torch's int64 wraps and shifts right arithmetically; masks make the shifts logical.
    """
    bits = bits ^ ((bits >> 30) & ((1 << 34) - 1))
    bits = bits * signed(_FIRST)
    bits = bits ^ ((bits >> 27) & ((1 << 37) - 1))
    bits = bits * signed(_SECOND)
    return bits ^ ((bits >> 31) & ((1 << 33) - 1))


def hashed(start: int, ids: Ids) -> Tensor:
    """Return int64 of the ids' shape with 64 mixed bits of ``start`` and the ids."""
    if not _on_cpu(ids):
        return _rounds(_start(start, ids), ids)
    bits = np.empty(_shape(ids).numel(), dtype=np.uint64)
    for rows, block in _blocks(start, ids):
        bits[rows] = block
    return torch.from_numpy(bits.view(np.int64)).view(_shape(ids))


def hashed_uniform(start: int, ids: Ids) -> Tensor:
    """Return float64 of the ids' shape, uniform in [0, 1), multiples of 2^-53."""
    if not _on_cpu(ids):
        return ((hashed(start, ids) >> 11) & ((1 << 53) - 1)).to(torch.float64) * 2.0**-53
    drawn = np.empty(_shape(ids).numel(), dtype=np.float64)
    for rows, block in _blocks(start, ids):
        np.multiply(np.right_shift(block, 11, out=block), 2.0**-53, out=drawn[rows])
    return torch.from_numpy(drawn).view(_shape(ids))


def hashed_normal(start: int, ids: Ids) -> Tensor:
    """Return float32 of the ids' shape, standard normals: one addition of two table entries, |z| <= 6.14.

    The table holds quantiles over sqrt 2, so that the sum has variance one; a single IEEE addition gives the same
    bits on every device, compiled or not.
    """
    shape = _shape(ids)
    device = _device(ids)
    kernel = _compiled(device.type) if shape.numel() >= COMPILE_FROM and os.environ.get(COMPILE) == "1" else None
    if kernel is not None and all(isinstance(one, Tensor) for one in ids):
        return kernel(_start(start, ids), normal_table(str(device)), [one for one in ids if isinstance(one, Tensor)])
    if not _on_cpu(ids):
        return _normals(_start(start, ids), normal_table(str(device)), ids)
    table = normal_table("cpu").numpy()
    drawn = np.empty(shape.numel(), dtype=np.float32)
    for rows, block in _blocks(start, ids):
        bits = block.view(np.int64)
        np.take(table, bits & 65535, out=drawn[rows], mode="clip")
        np.right_shift(bits, 16, out=bits)
        drawn[rows] += table.take(np.bitwise_and(bits, 65535, out=bits), mode="clip")
    return torch.from_numpy(drawn).view(shape)


@lru_cache(maxsize=4)
def normal_table(device: str) -> Tensor:
    """Return float32 (65536,): standard-normal quantiles at (i + 1/2) / 65536, divided by sqrt 2."""
    quantile = special.ndtri((np.arange(65536, dtype=np.float64) + 0.5) / 65536.0) / np.sqrt(2.0)
    return torch.from_numpy(quantile.astype(np.float32)).to(device)


def _rounds(state: Tensor, ids: Ids) -> Tensor:
    for one in ids:
        step = signed(one * GOLDEN) if isinstance(one, int) else one * signed(GOLDEN)
        state = mix(state + step)
    return mix(state + signed(GOLDEN))


def _normals(state: Tensor, table: Tensor, ids: Ids) -> Tensor:
    bits = _rounds(state, ids)
    return table[bits & 65535] + table[(bits >> 16) & 65535]


def _blocks(start: int, ids: Ids) -> Iterator[tuple[slice, Bits]]:
    """Give rows and their 64 mixed bits, block by block; a block is overwritten by the next.

    The same arithmetic as ``_rounds``, in place: in buffers that stay in the cache it is ten times as fast.
    """
    shape = _shape(ids)
    count = shape.numel()
    columns = [_column(one, shape) for one in (*ids, 1)]
    state, spare = np.empty((2, min(count, _BLOCK)), dtype=np.uint64)
    for first in range(0, count, _BLOCK):
        rows = slice(first, min(first + _BLOCK, count))
        block, other = state[: rows.stop - first], spare[: rows.stop - first]
        block.fill(start)
        for one in columns:
            step = one if one.ndim == 0 else np.multiply(one[rows], _GOLDENS, other)
            np.add(block, step, block)
            _mix_in_place(block, other)
        yield rows, block


def _column(one: Tensor | int, shape: torch.Size) -> Bits:
    """Return a whole number's step of the hash (no dimension), or the ids themselves, uint64 (draw,)."""
    if isinstance(one, int):
        return np.array(one * GOLDEN & _MASK, dtype=np.uint64)
    ids: Bits = one.to(torch.int64).expand(shape).reshape(-1).numpy().view(np.uint64)
    return ids


def _mix_in_place(bits: Bits, spare: Bits) -> None:
    """Do what ``mix`` does to uint64 ``bits``, whose shifts are logical."""
    np.bitwise_xor(bits, np.right_shift(bits, _30, spare), bits)
    np.multiply(bits, _FIRSTS, bits)
    np.bitwise_xor(bits, np.right_shift(bits, _27, spare), bits)
    np.multiply(bits, _SECONDS, bits)
    np.bitwise_xor(bits, np.right_shift(bits, _31, spare), bits)


@lru_cache(maxsize=2)
def _compiled(device: str) -> Kernel | None:
    """Return the compiled draw, or None, said once, where there is nothing to compile with."""
    kernel: Kernel = torch.compile(_normals, dynamic=True)
    ids = torch.arange(COMPILE_FROM, device=device)
    try:
        kernel(torch.zeros((), dtype=torch.int64, device=device), normal_table(device), [ids])
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        warnings.warn(
            f"{COMPILE}=1 asks for compiled random draws, but torch cannot compile here ({reason}). "
            "The draws are the same numbers without it, only slower.",
            stacklevel=2,
        )
        return None
    return kernel


def _on_cpu(ids: Ids) -> bool:
    return _device(ids).type == "cpu"


def _device(ids: Ids) -> torch.device:
    return next((one.device for one in ids if isinstance(one, Tensor)), torch.device("cpu"))


def _shape(ids: Ids) -> torch.Size:
    shapes = {one.shape for one in ids if isinstance(one, Tensor)}
    return shapes.pop() if len(shapes) == 1 else torch.Size(np.broadcast_shapes(*shapes))


def _start(start: int, ids: Ids) -> Tensor:
    return torch.full((), signed(start), dtype=torch.int64, device=_device(ids))
