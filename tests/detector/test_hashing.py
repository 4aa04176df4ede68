"""Hashed draws have the same bits however they are computed: block by block, at once, or compiled."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shiftlab.detector.hashing import (
    _BLOCK,
    COMPILE,
    _normals,
    _rounds,
    hashed,
    hashed_normal,
    hashed_uniform,
    normal_table,
    signed,
)

WHOLE = st.integers(-(2**63), 2**63 - 1)
STARTS = st.integers(0, 2**64 - 1)

COMPILED = """
import torch, warnings
from shiftlab.detector.hashing import hashed_normal, normal_table, _normals, signed
ids = [torch.randint(-2**63, 2**63 - 1, (300_001,)), torch.arange(300_001) * 104729]
for start in (0, 2**64 - 1, 1234567890123456789):
    for some in (ids, ids[:1]):
        plain = _normals(torch.tensor(signed(start)), normal_table("cpu"), some)
        for size in (300_001, 65_536, 40_000, 5):
            assert torch.equal(hashed_normal(start, [one[:size] for one in some]), plain[:size]), (start, size)
print("equal")
"""


@given(STARTS, st.lists(WHOLE, min_size=1, max_size=50), WHOLE)
def test_blocks_and_tensors_have_the_same_bits(start, ids, other):
    """The arithmetic in place is the one that graphics cards do, for any 64-bit ids."""
    column = torch.tensor(ids)
    chosen = [column, other, column.flip(0)]
    eager = _rounds(torch.tensor(signed(start)), chosen)
    assert torch.equal(hashed(start, chosen), eager)
    uniform = ((eager >> 11) & ((1 << 53) - 1)).double() * 2.0**-53
    assert torch.equal(hashed_uniform(start, chosen), uniform)
    assert torch.equal(hashed_normal(start, chosen), _normals(torch.tensor(signed(start)), normal_table("cpu"), chosen))


@pytest.mark.parametrize("count", [0, 1, _BLOCK - 1, _BLOCK, _BLOCK + 1, 3 * _BLOCK + 7])
def test_no_block_repeats_or_misses_a_draw(count):
    """Where a block ends changes nothing."""
    ids = torch.arange(count) * 104729
    whole = hashed(3, [ids])
    assert torch.equal(whole, _rounds(torch.tensor(3), [ids]))
    assert len(torch.unique(whole)) == count


def test_ids_of_any_layout_are_taken():
    """Expanded, transposed and smaller whole numbers give the draws of their values."""
    keys, cells = torch.arange(6), torch.arange(4)
    table = hashed(3, [keys[:, None], cells])
    assert table.shape == (6, 4)
    assert torch.equal(table, hashed(3, [keys[:, None].expand(6, 4), cells.expand(6, 4)]))
    assert torch.equal(hashed(3, [keys[:, None].expand(6, 4).T, cells[:, None].expand(4, 6)]), table.T)
    assert torch.equal(hashed(3, [keys.to(torch.int32)]), hashed(3, [keys]))
    assert hashed(3, [1, 2]).shape == ()


@pytest.mark.slow
def test_compiled_draws_have_the_same_bits(monkeypatch):
    """With a compiler the same numbers come out, and without one too, said once in plain words."""
    monkeypatch.setenv(COMPILE, "1")
    found = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, check=True)
    assert found.stdout == "equal\n"
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("TORCHINDUCTOR_FORCE_DISABLE_CACHES", "1")
    found = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, check=True)
    assert found.stdout == "equal\n"
    assert found.stderr.count("torch cannot compile here") == 1
