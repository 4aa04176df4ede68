"""Flow matching of tokens against closed forms: a point, a Gaussian, and the package's own noise and loss."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from shiftlab.arms.bodies.token_transformer import TokenTransformer
from shiftlab.arms.objectives import objectives
from shiftlab.arms.objectives.classify_and_generate import ClassifyAndGenerate, balanced_weights
from shiftlab.arms.tokens.batch import TokenBatch
from shiftlab.arms.tokens.contract import OMNILEARNED, TokenContract
from shiftlab.arms.tokens.flow import along, flow_loss, noise, times

CONTRACT = dataclasses.replace(OMNILEARNED, kinds=("particle",))


def batch(momenta: Tensor, lengths: list[int], valid: Tensor | None = None) -> TokenBatch:
    count = len(lengths)
    return TokenBatch(
        offsets=torch.tensor([0, *np.cumsum(lengths).tolist()]),
        values=momenta,
        valid=torch.ones_like(momenta, dtype=torch.bool) if valid is None else valid,
        kind=torch.zeros(len(momenta), dtype=torch.int64),
        numbers=torch.zeros(count, 0),
        numbers_valid=torch.ones(count, 0, dtype=torch.bool),
        summed_energy=torch.ones(count),
        label=torch.full((count,), -1),
        time=torch.zeros(count),
    )


def drawn(events: TokenBatch, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the noise, the time of each token (token, 1) and the noised momenta."""
    generator = torch.Generator().manual_seed(seed)
    time = times(events, generator)[events.token_event][:, None]
    made = noise(events, CONTRACT, generator)
    return made, time, along(events.momenta, made, time)


def test_the_exact_velocity_of_a_point_has_no_loss():
    point = torch.tensor([0.3, -0.2, 2.0, 2.5])
    events = batch(point.repeat(300, 1), [3] * 100)
    made, time, z = drawn(events, 1)
    exact = (z - point) / time  # all that ends in one point came from it on a straight line
    assert float(flow_loss(exact.double(), (made - events.momenta).double(), events)) < 1e-5
    assert float(flow_loss(exact + 0.1, made - events.momenta, events)) == pytest.approx(0.04, rel=1e-2)


def test_the_exact_velocity_of_a_gaussian_reaches_the_loss_that_theory_gives_and_no_other_does_better():
    """For x ~ N(m, s^2) and e ~ N(n, r^2), E[e - x | z] is linear in z; left is s^2 r^2 / ((1-t)^2 s^2 + t^2 r^2)."""
    m, s = torch.tensor([1.0, 0.5, 2.0, 0.0]), torch.tensor([0.5, 0.1, 1.0, 2.0])
    n, r = torch.tensor(CONTRACT.centre), torch.tensor(CONTRACT.spread)
    generator = torch.Generator().manual_seed(3)
    events = batch(torch.randn(60_000, 4, generator=generator) * s + m, [1] * 60_000)
    made, t, z = drawn(events, 2)
    w2 = ((1 - t) * s) ** 2 + (t * r) ** 2
    exact = n - m + (t * r**2 - (1 - t) * s**2) / w2 * (z - (1 - t) * m - t * n)
    grid = np.linspace(0.0, 1.0, 20_001)[:, None]
    left = (s.numpy() * r.numpy()) ** 2 / (((1 - grid) * s.numpy()) ** 2 + (grid * r.numpy()) ** 2)
    wanted = float(left.mean(axis=0).sum())
    found = float(flow_loss(exact, made - events.momenta, events))
    assert found == pytest.approx(wanted, rel=0.02)
    for worse in (exact * 1.05, exact + 0.2):
        assert float(flow_loss(worse, made - events.momenta, events)) > found


def test_the_exact_velocity_carries_noise_into_the_data():
    """Solving dz/dt = v from t = 1 to 0 turns draws of the noise into draws of the data's law."""
    m, s = np.array([1.0, 0.5, 2.0, 0.0]), np.array([0.5, 0.1, 1.0, 2.0])
    n, r = np.array(CONTRACT.centre), np.array(CONTRACT.spread)
    z = noise(batch(torch.zeros(20_000, 4), [1] * 20_000), CONTRACT, torch.Generator().manual_seed(4)).double().numpy()
    np.testing.assert_allclose(z.mean(axis=0), n, atol=0.03)
    steps = 400
    for step in range(steps):
        t = 1 - (step + 0.5) / steps
        w2 = ((1 - t) * s) ** 2 + (t * r) ** 2
        z = z - (n - m + (t * r**2 - (1 - t) * s**2) / w2 * (z - (1 - t) * m - t * n)) / steps
    np.testing.assert_allclose(z.mean(axis=0), m, atol=0.04)
    np.testing.assert_allclose(z.std(axis=0), s, rtol=0.03)


def test_path_noise_and_loss_are_those_of_the_package():
    diffusion = pytest.importorskip("omnilearned.diffusion", reason="needs shiftlab[peers]")
    utils = pytest.importorskip("omnilearned.utils")
    generator = torch.Generator().manual_seed(6)
    lengths = [3, 1, 5]
    events = batch(torch.randn(9, 4, generator=generator), lengths)
    dense = torch.zeros(3, 5, 4)
    there = torch.arange(5) < torch.tensor(lengths)[:, None]
    dense[there] = events.momenta
    with torch.random.fork_rng():
        torch.manual_seed(7)
        eps = torch.randn_like(dense)
        torch.manual_seed(7)
        time = torch.tensor([0.2, 0.5, 0.9])
        z, v, weight = diffusion.perturb(dense, time)
    ours = eps[there] * torch.tensor(CONTRACT.spread) + torch.tensor(CONTRACT.centre)
    torch.testing.assert_close(along(events.momenta, ours, time[events.token_event][:, None]), z[there])
    torch.testing.assert_close(ours - events.momenta, v[there])
    predicted = torch.randn(9, 4, generator=generator)
    given = torch.zeros_like(dense)
    given[there] = predicted
    logs = {"loss_gen": torch.zeros(()), "loss": torch.zeros(())}
    outputs = {"y_pred": None, "z_pred": given, "v": v, "v_weight": weight, "y_perturb": None, "z_body": None}
    theirs = utils.get_loss(
        outputs, None, "generator", None, torch.nn.MSELoss(reduction="none"), False, False, None, logs
    )
    assert float(flow_loss(predicted, ours - events.momenta, events)) == pytest.approx(float(theirs), rel=1e-5)


def test_noise_is_in_the_units_of_the_contract():
    events = batch(torch.zeros(5000, 4), [5] * 1000)
    gev = noise(events, CONTRACT, torch.Generator().manual_seed(8))
    shifted = (*CONTRACT.centre[:2], *(one + math.log(1000) for one in CONTRACT.centre[2:]))
    mev = dataclasses.replace(CONTRACT, units=("1", "rad", "log(MeV)", "log(MeV)"), centre=shifted)
    found = noise(events, mev, torch.Generator().manual_seed(8)) - gev
    torch.testing.assert_close(found[:, 2:], torch.full((5000, 2), math.log(1000)), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(gev.mean(dim=0), CONTRACT.centre, atol=0.06)


def test_blank_momenta_do_not_count_and_events_count_alike():
    valid = torch.ones(4, 4, dtype=torch.bool)
    valid[0, 1] = False
    events = batch(torch.zeros(4, 4), [1, 3], valid)
    error = torch.ones(4, 4)
    assert float(flow_loss(error, torch.zeros(4, 4), events)) == pytest.approx((3 + 4) / 2)


def test_rare_classes_weigh_more_and_the_mean_weight_is_one():
    label = torch.tensor([0, 0, 0, 2])
    found = balanced_weights(label, 5)
    torch.testing.assert_close(found, torch.tensor([2 / 3, 2 / 3, 2 / 3, 2.0]))


def labelled(events: int) -> TokenBatch:
    """Return events whose class is the size of their energies."""
    generator = torch.Generator().manual_seed(9)
    lengths = torch.randint(1, 7, (events,), generator=generator).tolist()
    made = batch(torch.randn(sum(lengths), 4, generator=generator), lengths)
    label = torch.randint(0, 3, (events,), generator=generator)
    values = made.values.clone()
    values[:, 2:] += 2.0 * label[made.token_event][:, None]
    return dataclasses.replace(made, values=values, label=label)


def objective(name: str) -> ClassifyAndGenerate:
    if name == "pet2":
        pytest.importorskip("omnilearned.network", reason="needs shiftlab[peers]")
    from shiftlab.arms.bodies import bodies

    with torch.random.fork_rng():
        torch.manual_seed(10)
        return ClassifyAndGenerate(bodies().get(name).fresh("tiny", CONTRACT))


@pytest.mark.parametrize("name", ["token_transformer", "pet2"])
def test_a_short_pre_training_lowers_every_term(name):
    model, events = objective(name), labelled(192)
    optimiser = torch.optim.AdamW(model.parameters(), lr=4e-3)
    with torch.no_grad():
        before = model.parts(events, torch.Generator().manual_seed(0))
    for step in range(40):
        optimiser.zero_grad()
        rows = torch.randperm(len(events), generator=torch.Generator().manual_seed(step))[:48]
        model(events.take(rows), torch.Generator().manual_seed(100 + step)).backward()
        optimiser.step()
    with torch.no_grad():
        after = model.parts(events, torch.Generator().manual_seed(0))
    assert float(after.classes) < 0.7 * float(before.classes)
    assert float(after.noised) < 0.9 * float(before.noised)
    assert float(after.flow) < 0.9 * float(before.flow)
    assert float(after.total) == pytest.approx(float(after.classes + after.flow + after.noised))


def test_the_loss_is_a_function_of_the_generator():
    model, events = objective("token_transformer"), labelled(16)
    first, again, other = (float(model(events, torch.Generator().manual_seed(seed)).detach()) for seed in (1, 1, 2))
    assert first == again != other


def test_events_without_a_class_take_part_in_the_flow_alone():
    model, events = objective("token_transformer"), labelled(16)
    with torch.no_grad():
        found = model.parts(dataclasses.replace(events, label=torch.full((16,), -1)), torch.Generator().manual_seed(1))
    assert float(found.classes) == float(found.noised) == 0.0
    assert float(found.flow) > 0


def test_the_objective_is_registered_and_declares_what_it_varies():
    assert objectives().get("classify_and_generate") is ClassifyAndGenerate
    assert ClassifyAndGenerate.input == TokenTransformer.input == "tokens"
    assert "momenta" in ClassifyAndGenerate.augmentations


def test_a_contract_made_of_tokens_sets_the_noise():
    """The noise of a sample is as wide as the sample: no jet's width is assumed."""
    contract = TokenContract(
        columns=CONTRACT.columns, units=CONTRACT.units, centre=(2.0, 0.0, -5.0, -3.0), spread=(1.0, 1.8, 3.0, 2.5)
    )
    found = noise(batch(torch.zeros(8000, 4), [8] * 1000), contract, torch.Generator().manual_seed(11))
    np.testing.assert_allclose(found.mean(dim=0), contract.centre, atol=0.12)
    np.testing.assert_allclose(found.std(dim=0), contract.spread, rtol=0.04)
