"""Rand index against the counting of all pairs, and what matches of found with true particles are."""

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftlab.tasks.particle_truth import BACKGROUND, VOID, TrueParticles
from shiftlab.tasks.partition import adjusted_rand, overlap

LABELS = st.integers(2, 14).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(0, 4), min_size=n, max_size=n) for _ in range(2)])
)


def table(first, second):
    counts = torch.zeros(5, 5)
    for i, j in zip(first, second, strict=True):
        counts[i, j] += 1
    return counts


def by_pairs(first, second):
    """ARI from the four kinds of pairs: 2 (ad - bc) / ((a + b)(b + d) + (a + c)(c + d)) (Steinley 2004, eq. 9)."""
    both = one = other = neither = 0
    for i, j in combinations(range(len(first)), 2):
        same, like = first[i] == first[j], second[i] == second[j]
        both, one = both + (same and like), one + (same and not like)
        other, neither = other + (like and not same), neither + (not same and not like)
    below = (both + one) * (one + neither) + (both + other) * (other + neither)
    return 2 * (both * neither - one * other) / below if below else 1.0


@settings(max_examples=150)
@given(LABELS)
def test_the_index_is_that_of_counting_all_pairs(labels):
    assert float(adjusted_rand(table(*labels))) == pytest.approx(by_pairs(*labels), abs=1e-12)


@given(LABELS, st.permutations(range(5)))
def test_names_of_parts_do_not_matter_and_the_index_is_symmetric(labels, names):
    first, second = labels
    value = float(adjusted_rand(table(first, second)))
    assert float(adjusted_rand(table([names[i] for i in first], second))) == pytest.approx(value, abs=1e-12)
    assert float(adjusted_rand(table(second, first))) == pytest.approx(value, abs=1e-12)
    assert float(adjusted_rand(table(first, [names[i] for i in first]))) == 1.0


def test_fewer_than_two_cells_have_no_index():
    assert torch.isnan(adjusted_rand(torch.zeros(3, 2))).item()
    assert torch.isnan(adjusted_rand(torch.tensor([[1.0]]))).item()


def test_random_partitions_have_index_zero_in_the_mean():
    rng = np.random.default_rng(0)
    tables = torch.stack([table(rng.integers(0, 4, 60), rng.integers(0, 5, 60)) for _ in range(400)])
    index = adjusted_rand(tables)
    assert abs(float(index.mean())) < 4 * float(index.std()) / 20


def two_events():
    """Event 0 has particles of 6 cells (one lost) and 5, 2 of background, 1 void; in event 1 nothing is found."""
    owner = torch.tensor([0] * 5 + [1] * 5 + [BACKGROUND] * 2 + [VOID] + [0] * 5)
    event = torch.tensor([0] * 13 + [1] * 5)
    particles = TrueParticles(torch.tensor([0, 2, 3]), torch.tensor([2, 4, 1]), torch.tensor([6, 5, 5]))
    query = torch.tensor([7] * 5 + [3] * 4 + [-1] + [3, -1] + [7] + [-1] * 5)
    return overlap(query, 9, owner, event, particles)


def test_shared_cells_by_hand():
    shares = two_events()
    assert shares.true_cells.tolist() == [[6, 5], [5, 0]]
    assert shares.found_cells[0, [7, 3]].tolist() == [5, 5]  # the void cell counts for nobody
    assert float(shares.union_share[0, 0, 7]) == pytest.approx(5 / 6)
    assert float(shares.union_share[0, 1, 3]) == pytest.approx(4 / 6)
    assert shares.matched.sum(dim=(1, 2)).tolist() == [2, 0]
    assert shares.purity().tolist() == pytest.approx([1 + 4 / 5, 0])
    assert shares.efficiency().tolist() == pytest.approx([5 / 6 + 4 / 5, 0])
    assert shares.kind.tolist() == [[2, 4], [1, -1]]


def test_lost_cells_are_given_to_no_particle():
    assert two_events().shared[:, :, 0].tolist() == [[1, 1, 1], [0, 5, 0]]


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(-2, 3), st.integers(-1, 3)), min_size=1, max_size=40))
def test_a_true_and_a_found_particle_match_at_most_once(cells):
    owner, query = (torch.tensor(column) for column in zip(*cells, strict=True))
    count = torch.tensor([int((owner == t).sum()) for t in range(4)])
    particles = TrueParticles(torch.tensor([0, 4]), torch.zeros(4, dtype=torch.int64), count)
    shares = overlap(query, 4, owner, torch.zeros_like(owner), particles)
    assert int(shares.matched.sum(dim=2).max()) <= 1
    assert int(shares.matched.sum(dim=1).max()) <= 1
    for t in range(4):
        for q in range(4):
            true, found = owner == t, (query == q) & (owner != VOID)
            union = int((true | found).sum())
            share = int((true & found).sum()) / union if union else 0.0
            assert float(shares.union_share[0, t, q]) == pytest.approx(share)


def test_no_events_and_no_particles():
    none = TrueParticles(torch.tensor([0, 0]), torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))
    empty = torch.zeros(0, dtype=torch.int64)
    shares = overlap(empty, 3, empty, empty, none)
    assert shares.purity().tolist() == [0]
    assert shares.found_cells.sum() == 0
