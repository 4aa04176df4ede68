"""Closure finds what does not add up, names it, and refuses it; what adds up passes."""

from __future__ import annotations

import numpy as np
import pytest

from shiftlab.errors import DataError
from shiftlab.responses.emulation import EmulationSettings, emulate, emulator


def bent(toys, gain: float = 0.0, crossed: float = 0.0, spread: float = 0.1):
    """Responses that are linear but for a cubic term of ``gain`` and a product of gain and noise."""
    own = spread * np.random.default_rng(11).normal(size=(3, toys.events, 1))

    def answer(z, throw):
        linear = sum((1.0 + own[i]) * z[name] for i, name in enumerate(toys.nuisances))
        return 20.0 + linear + gain * z["gain"] ** 3 + crossed * z["gain"] * z["noise"]

    return answer


def closure_of(toys, answer, rows, **changes):
    changes = {"form": "quadratic"} | changes
    maker = emulator(toys.store(answer, rows), tasks=toys.tasks, settings=EmulationSettings(**changes), refuse=False)
    (one,) = maker.closures
    return one


def test_a_response_that_adds_up_closes_to_rounding(toys):
    one = closure_of(toys, bent(toys), toys.unisims((-2.0, -1.0, 1.0, 2.0)) + toys.joints(4))
    assert one.joint < 1e-5
    assert max(check.events for check in one.checks) < 1e-4
    assert max(one.relative(check) for check in one.checks) < 1e-5
    assert {check.kind for check in one.checks} == {"strength", "joint"}
    assert len(one.checks) == 6 + 4


def test_the_closure_error_of_a_cubic_response_is_the_one_that_algebra_gives(toys):
    """A cube c z^3 enters the odd part as c z: at 2 sigma the difference is 2 c - 8 c = -6 c of a shift 2 + 8 c."""
    c = 0.1
    one = closure_of(toys, bent(toys, gain=c, spread=0.0), toys.unisims((-2.0, -1.0, 1.0, 2.0)) + toys.joints(2))
    up = next(check for check in one.checks if check.universe == "gain+2")
    assert up.difference == pytest.approx(-6 * c, abs=1e-4)
    assert up.shift == pytest.approx(2 + 8 * c, abs=1e-4)
    assert one.relative(up) == pytest.approx(6 * c / (2 + 8 * c), rel=1e-3)
    assert up.events == pytest.approx(6 * c / (2 + 8 * c), rel=1e-3)
    assert one.expected == pytest.approx(np.sqrt((1 + c) ** 2 + 1 + 1), rel=1e-3)


def test_a_nuisance_that_does_not_close_is_named_and_refused(toys):
    source = toys.store(
        bent(toys, gain=0.1), [*toys.unisims((-2.0, -1.0, 1.0, 2.0)), toys.universe(dict.fromkeys(toys.nuisances, 0.5))]
    )
    with pytest.raises(
        DataError, match=r"arm 'a', seed 0, task 'energy', universe 'gain\+2' \(gain\): 21% of the shift"
    ):
        emulate(source, toys.joints(1), tasks=toys.tasks, settings=EmulationSettings(form="quadratic"))
    wider = EmulationSettings(form="quadratic", limit=0.25)
    assert emulate(source, toys.joints(1), tasks=toys.tasks, settings=wider).emulated


def test_nuisances_that_do_not_add_up_are_refused_by_the_joint_universes_and_by_the_pair(toys):
    pair = toys.universe({"gain": 1.0, "noise": 1.0}, group="injected")
    source = toys.store(bent(toys, crossed=1.0), [*toys.unisims(), pair, *toys.joints(6)])
    with pytest.raises(DataError, match="joint universes differ by") as caught:
        emulate(source, toys.joints(1), tasks=toys.tasks)
    assert r"universe 'gain+1_noise+1' (gain, noise): 33% of the shift" in str(caught.value)
    assert emulate(source, toys.joints(1), tasks=toys.tasks, settings=EmulationSettings(pairs=True)).emulated


def test_a_task_that_hardly_moves_is_compared_with_its_statistical_error(toys):
    """Shifts of 1e-4 of the spread of events: their closure is noise of no consequence."""
    rng = np.random.default_rng(12)
    base = rng.normal(size=(toys.events, 1))
    rows = toys.unisims() + toys.joints(4)
    chaos = {one.name: 1e-4 * rng.normal(size=(toys.events, 1)) for one in rows}
    lookup = {tuple(one.value(name) for name in toys.nuisances): chaos[one.name] for one in rows}
    answer = lambda z, throw: base + lookup.get(tuple(z.values()), 0.0)  # noqa: E731
    assert emulate(toys.store(answer, rows), toys.joints(1, seed=4), tasks=toys.tasks).emulated
    with pytest.raises(DataError, match="joint universes differ"):
        emulate(
            toys.store(answer, rows), toys.joints(1, seed=4), tasks=toys.tasks, settings=EmulationSettings(floor=0.0)
        )


def test_single_events_have_a_limit_of_their_own_where_one_is_set(toys):
    """Chaotic events average out in the mean: closure of the statistic holds, that of events does not."""
    rng = np.random.default_rng(13)
    rows = toys.unisims() + toys.joints(4)
    lookup = {tuple(u.value(name) for name in toys.nuisances): rng.normal(size=(toys.events, 1)) for u in rows}

    def answer(z, throw):
        noise = lookup.get(tuple(z.values()), np.zeros((toys.events, 1)))
        return 50.0 + 10.0 * sum(z.values()) + 3.0 * (noise - noise.mean())

    assert emulate(toys.store(answer, rows), toys.joints(1, seed=4), tasks=toys.tasks).emulated
    with pytest.raises(DataError, match="single events differ by"):
        emulate(
            toys.store(answer, rows),
            toys.joints(1, seed=4),
            tasks=toys.tasks,
            settings=EmulationSettings(event_limit=0.1),
        )


def test_the_error_of_the_statistic_is_that_of_a_mean_over_vertices():
    """Jackknife over 20 blocks against s / sqrt(n) of 2,000 independent vertices: 16% by construction, 3 of them."""
    rng = np.random.default_rng(14)
    x = rng.normal(size=2000)
    from shiftlab.responses.emulation.sample import Sample

    sample = Sample.of_events(np.ones(2000, dtype=bool), np.ones((2000, 1)), np.ones(2000), np.arange(2000))
    statistic = (sample.weights @ x) / sample.weights.sum(axis=1)
    assert sample.error(statistic) == pytest.approx(x.std() / np.sqrt(2000), rel=0.48)
    twins = Sample.of_events(np.ones(4000, dtype=bool), np.ones((4000, 1)), np.ones(4000), np.arange(4000) // 2)
    doubled = twins.weights @ np.repeat(x, 2) / twins.weights.sum(axis=1)
    assert twins.error(doubled) == pytest.approx(sample.error(statistic), rel=1e-6), "two events of a vertex are one"


def test_a_store_that_cannot_show_whether_nuisances_add_up_is_refused(toys):
    with pytest.raises(DataError, match="add joint universes"):
        emulate(toys.store(bent(toys), toys.unisims((-2.0, -1.0, 1.0, 2.0))), toys.joints(1), tasks=toys.tasks)
    with pytest.raises(DataError, match="hold no unisim at 1 sigma"):
        emulate(toys.store(bent(toys), toys.unisims((-2.0, 2.0)) + toys.joints(2)), toys.joints(1), tasks=toys.tasks)


def test_a_nuisance_without_unisims_or_without_a_test_is_refused_by_name(toys):
    two = ["gain", "lifetime"]
    source = toys.store(bent(toys), toys.unisims(names=two) + toys.joints(2, names=two))
    with pytest.raises(DataError, match="displaces 'noise', but no universe that tests closure does"):
        emulate(source, [toys.universe({"noise": 1.0})], tasks=toys.tasks)
    tested = toys.store(bent(toys), [*toys.unisims(), toys.universe({"gain": 1.0, "lifetime": 1.0})])
    with pytest.raises(DataError, match="displaces 'noise', but no universe that tests closure does"):
        emulate(tested, [toys.universe({"noise": 1.5})], tasks=toys.tasks)


def test_throws_of_one_map_at_different_strengths_are_refused(toys):
    rows = [
        *toys.unisims(names=["gain"]),
        toys.universe({"noise": 1.0}, group="unisim"),
        toys.universe({"noise": -1.0}, group="unisim", throw=1),
        toys.universe({"noise": 1.0, "gain": 1.0}),
    ]
    with pytest.raises(DataError, match="nuisance 'noise': throw 1 was run at"):
        emulate(toys.store(bent(toys), rows), [toys.universe({"noise": 2.0})], tasks=toys.tasks)


def test_draws_of_a_prior_with_two_nuisances_are_joint_universes_and_give_no_product_term(toys):
    two = ["gain", "noise"]
    rows = toys.unisims(names=two) + toys.joints(4, names=two)
    one = closure_of(toys, bent(toys, crossed=1.0), rows, pairs=True)
    assert [check.kind for check in one.checks] == ["joint"] * 4
    assert one.joint > 0.2


def test_a_statistic_without_a_value_is_refused_and_not_passed_over(toys):
    """Not a number is larger than no limit, so that it would pass a comparison."""

    class Undefined(toys.mean_of):
        def score(self, outputs, truth, weights):
            value = super().score(outputs, truth, weights)
            return np.where(value > 20.0, value, np.nan)

    source = toys.store(bent(toys), toys.unisims() + toys.joints(4))
    with pytest.raises(DataError, match="inf% of"):
        emulate(source, toys.joints(1), tasks={"energy": Undefined()})
