"""The assignment against all permutations, and a loss that does not care how queries are numbered."""

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftlab.tasks.particle_task import KINDS
from shiftlab.tasks.particle_truth import BACKGROUND, VOID, TrueParticles
from shiftlab.tasks.set_loss import SetAnswer, SetTarget, assign, set_loss

OWNER = torch.tensor([0] * 6 + [1] * 8 + [BACKGROUND] * 3 + [VOID] * 2 + [0] * 7)
OFFSETS = torch.tensor([0, 19, 26])
PARTICLES = TrueParticles(torch.tensor([0, 2, 3]), torch.tensor([2, 4, 1]), torch.tensor([6, 8, 9]))
TARGET = SetTarget(OWNER, PARTICLES)


def drawn(seed: int, queries: int = 5) -> SetAnswer:
    rng = torch.Generator().manual_seed(seed)
    kinds = torch.randn(2, queries, len(KINDS) + 1, generator=rng)
    return SetAnswer(torch.randn(len(OWNER), queries, generator=rng), kinds, OFFSETS)


def perfect(queries: int = 5, sure: float = 12.0) -> SetAnswer:
    """Queries 0 and 1 are the particles of each event in their order, the others find nothing."""
    mask = torch.full((len(OWNER), queries), -sure)
    held = OWNER >= 0
    mask[torch.nonzero(held).squeeze(1), OWNER[held]] = sure
    kind = torch.zeros(2, queries, len(KINDS) + 1)
    kind[:, :, -1] = sure
    for event, query, of in ((0, 0, 2), (0, 1, 4), (1, 0, 1)):
        kind[event, query] = torch.nn.functional.one_hot(torch.tensor(of), len(KINDS) + 1) * sure
    return SetAnswer(mask, kind, OFFSETS)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 4), st.integers(1, 3))
def test_no_permutation_costs_less_than_the_assignment(seed, queries, count):
    rng = torch.Generator().manual_seed(seed)
    logits, kinds = torch.randn(12, queries, generator=rng), torch.randn(queries, 6, generator=rng)
    owner = torch.randint(0, count, (12,), generator=rng)
    truth = (owner[:, None] == torch.arange(count)).float()
    kind = torch.randint(0, 5, (count,), generator=rng)

    def cost(query: int, true: int) -> float:
        p = logits[:, query].sigmoid().double().numpy()
        t = truth[:, true].double().numpy()
        hit = t * p + (1 - t) * (1 - p)
        focal = ((0.25 * t + 0.75 * (1 - t)) * (1 - hit) ** 2 * -np.log(hit)).mean()
        dice = 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)
        return 2 * focal + 5 * dice - 2 * float(kinds[query].softmax(0)[kind[true]])

    found = sum(cost(int(q), int(t)) for q, t in zip(*assign(logits, truth, kinds, kind), strict=True))
    few, many = sorted((queries, count))
    orders = permutations(range(many), few)
    pairs = ([(o, i) if queries > count else (i, o) for i, o in enumerate(order)] for order in orders)
    assert found == pytest.approx(min(sum(cost(q, t) for q, t in one) for one in pairs), abs=1e-5)


def test_the_perfect_answer_costs_next_to_nothing_and_a_wrong_kind_costs():
    best = float(set_loss(perfect(), TARGET))
    assert best < 0.01
    wrong = perfect()
    wrong.kind[0, 0] = wrong.kind[0, 1]
    assert float(set_loss(wrong, TARGET)) > best + 0.5
    assert float(set_loss(drawn(1), TARGET)) > best + 1.0


def test_how_queries_and_particles_are_numbered_does_not_matter():
    answer = drawn(2)
    order = torch.tensor([3, 1, 4, 0, 2])
    turned = SetAnswer(answer.mask[:, order], answer.kind[:, order], OFFSETS)
    assert float(set_loss(turned, TARGET)) == pytest.approx(float(set_loss(answer, TARGET)), rel=1e-6)
    swapped = OWNER.clone()
    swapped[:19][OWNER[:19] == 0], swapped[:19][OWNER[:19] == 1] = 1, 0
    other = TrueParticles(PARTICLES.offsets, torch.tensor([4, 2, 1]), torch.tensor([8, 6, 9]))
    assert float(set_loss(answer, SetTarget(swapped, other))) == pytest.approx(float(set_loss(answer, TARGET)))


def test_void_voxels_teach_nothing():
    answer = drawn(3)
    moved = answer.mask.clone()
    moved[OWNER == VOID] += 9.0
    assert torch.equal(set_loss(SetAnswer(moved, answer.kind, OFFSETS), TARGET), set_loss(answer, TARGET))


def test_events_that_do_not_count_teach_nothing():
    answer = drawn(4)
    moved = SetAnswer(answer.mask.clone(), answer.kind.clone(), OFFSETS)
    moved.mask[19:] += 5.0
    moved.kind[1] -= 3.0 * torch.arange(6)
    asked = SetTarget(OWNER, PARTICLES, torch.tensor([True, False]))
    assert torch.equal(set_loss(moved, asked), set_loss(answer, asked))


def test_an_event_with_more_particles_than_queries_is_trained_on_what_fits():
    answer = drawn(5, queries=1)
    assert torch.isfinite(set_loss(answer, TARGET))


def test_a_loss_falls_along_its_gradient():
    answer = drawn(6)
    answer.mask.requires_grad_(True)
    answer.kind.requires_grad_(True)
    before = set_loss(answer, TARGET)
    gradients = torch.autograd.grad(before, [answer.mask, answer.kind])
    after = SetAnswer(answer.mask.detach() - 0.1 * gradients[0], answer.kind.detach() - 0.1 * gradients[1], OFFSETS)
    assert float(set_loss(after, TARGET)) < float(before.detach())
