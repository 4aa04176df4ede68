"""Soft presence: to first order, what is pooled moves by exactly what one voxel that comes or goes changes."""

from __future__ import annotations

import pytest
import torch

from shiftlab.arms.presence import Presence

OWNER = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2, 3])
THERE = torch.tensor([1, 1, 1, 0, 1, 0, 1, 1, 1], dtype=torch.bool)
OF_OTHERS = (0, 1, 2, 3, 5, 6, 7)
"""Members that do not take their owner with them."""


def drawn():
    generator = torch.Generator().manual_seed(4)
    rows = torch.rand(len(OWNER), 3, dtype=torch.float64, generator=generator)
    return rows, rows[:, 0] + 0.1


def pooled(presence, rows, mass):
    return {
        "total": presence.total(mass, mass),
        "log_total": presence.log_total(mass, mass),
        "log_number": presence.log_number(),
        "mean": presence.mean(rows),
        "weighted_mean": presence.weighted_mean(rows, mass, mass),
        "largest": presence.largest(rows),
    }


def direct(there, rows, mass):
    """The same of the members that are there, by definition."""
    found = {name: [] for name in ("total", "log_total", "log_number", "mean", "weighted_mean", "largest")}
    for owner in range(4):
        own = there & OWNER.eq(owner)
        r, m = rows[own], mass[own]
        found["total"].append(m.sum())
        found["log_total"].append(m.sum().log())
        found["log_number"].append(torch.tensor(float(len(m))).log().double())
        found["mean"].append(r.mean(0))
        found["weighted_mean"].append((r * m[:, None]).sum(0) / m.sum())
        found["largest"].append(r.amax(0))
    return {name: torch.stack(each) for name, each in found.items()}


def test_without_motion_candidates_count_nothing():
    rows, mass = drawn()
    found = pooled(Presence(THERE, torch.zeros(len(OWNER), dtype=torch.float64), OWNER, 4), rows, mass)
    for name, each in direct(THERE, rows, mass).items():
        torch.testing.assert_close(found[name], each, msg=name)


@pytest.mark.parametrize("member", OF_OTHERS)
def test_one_member_that_comes_or_goes_changes_what_its_coming_or_going_changes(member):
    rows, mass = drawn()
    moved = torch.zeros(len(OWNER), dtype=torch.float64)
    moved[member] = -1.0 if THERE[member] else 1.0
    other = THERE.clone()
    other[member] = ~other[member]
    found = pooled(Presence(THERE, moved, OWNER, 4), rows, mass)
    for name, each in direct(other, rows, mass).items():
        torch.testing.assert_close(found[name], each, msg=name)


def test_an_owner_goes_with_its_last_member_and_comes_with_its_first():
    moved = torch.linspace(0.1, 0.9, len(OWNER), dtype=torch.float64)
    there = THERE.clone()
    there[4] = False  # owner 1 is not there, and has two candidates
    tokens = Presence(there, moved, OWNER, 4).of_owners(torch.zeros(4, dtype=torch.int64), 1)
    assert tokens.there.tolist() == [True, False, True, True]
    torch.testing.assert_close(tokens.moved, torch.stack([moved[0] * 0, moved[4] + moved[5], moved[0] * 0, moved[8]]))
