"""Training batches: the same bits from memory and from disk, cut now or ahead, and labelled events that are nested."""

from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftlab.arms.images.store_making import store_images
from shiftlab.arms.training import Run, train
from shiftlab.arms.training.ahead import draws
from shiftlab.arms.training.labelled import labelled
from shiftlab.arms.training.presentation import presentations
from shiftlab.arms.training.recipe import Recipe
from shiftlab.arms.training_set import training_set
from shiftlab.errors import ConfigError, RunError
from shiftlab.events import EventTable
from shiftlab.events.sample import SampleWriter
from shiftlab.tasks import named_tasks
from shiftlab.tasks.task import family

TASKS = named_tasks(["segmentation", "energy", "electron_gamma"])


def identical(one, other):
    """Whether two batches are the same bits."""
    names = [f.name for f in fields(one.patches) if f.name != "near"]
    pairs = [(getattr(one.patches, name), getattr(other.patches, name)) for name in names]
    near = (one.patches.near, other.patches.near)
    pairs += [tuple(getattr(side, f.name) for side in near) for f in fields(near[0])]
    pairs += [(one.label, other.label)]
    pairs += [(one.targets[name], other.targets[name]) for name in one.targets]
    return all(a.dtype == b.dtype and torch.equal(a.nan_to_num(-7), b.nan_to_num(-7)) for a, b in pairs)


def drawn(data, rows, seed):
    """A batch with draws of its own, and what the generator gives next."""
    generator = torch.Generator().manual_seed(seed)
    return data.batch(rows, generator), torch.rand(3, generator=generator)


@pytest.fixture(scope="module")
def sets(draw, pixel, tmp_path_factory):
    """The same 60 events in memory and mapped from a store."""
    folder = tmp_path_factory.mktemp("sets")
    deposits = draw(60)
    with SampleWriter(folder / "events.h5", exact=True) as writer:
        writer.append(deposits)
    store = store_images([folder / "events.h5"], pixel, folder, TASKS, chunk=16)
    return training_set(deposits, pixel, TASKS, lambda events: None), store.training_set(TASKS)


@settings(max_examples=30, deadline=None)
@given(rows=st.lists(st.integers(0, 59), min_size=1, max_size=12), seed=st.integers(0, 2**40))
def test_batches_are_the_same_bits_from_the_store_and_from_memory(sets, rows, seed):
    rows = torch.tensor(rows)
    (one, after), (other, after_other) = (drawn(data, rows, seed) for data in sets)
    assert identical(one, other)
    assert torch.equal(after, after_other)


def test_a_mapped_set_has_what_a_set_in_memory_has(sets):
    memory, mapped = sets
    assert torch.equal(memory.size, mapped.size)
    assert torch.equal(memory.seen, mapped.seen)
    assert memory.contract == mapped.contract
    assert memory.odd == mapped.odd
    assert all(torch.equal(memory.rows[task.name], mapped.rows[task.name]) for task in TASKS)
    for name, values in memory.targets.items():
        assert torch.equal(values.nan_to_num(-7), mapped.targets[name].nan_to_num(-7))
    assert np.array_equal(memory.event_summaries, mapped.event_summaries)
    ours, theirs = memory.image.events, mapped.image.events
    assert ours.sample == theirs.sample
    assert torch.equal(ours.key, theirs.key)
    assert torch.equal(ours.selected, theirs.selected)
    assert theirs.selected.dtype == torch.bool


def test_a_mapped_set_is_never_moved_as_a_whole(sets):
    moved = sets[1].to("meta")
    assert moved.image.cell.device.type == "cpu"
    assert moved.batch(torch.arange(3), torch.Generator().manual_seed(1)).label.device.type == "meta"


@pytest.mark.parametrize("depth", [1, 4])
def test_batches_cut_ahead_are_the_same_bits_in_any_order_of_asking(sets, depth):
    data = sets[1]
    plan = [(torch.arange(place, place + 8), 1000 + place) for place in range(20)]
    asked = [0, 1, 2, 7, 8, 3, 3, 19, 0, 18]  # a training that goes on in the middle, and one that comes back
    with data.cutting(plan, depth=depth) as ahead:
        for place in asked:
            (one, after), (other, after_other) = drawn(data, *plan[place]), drawn(ahead, *plan[place])
            assert identical(one, other)
            assert torch.equal(after, after_other)
        assert ahead.ahead.hits == len(asked)
        assert ahead.ahead.misses == 0


def test_what_was_not_foreseen_is_cut_when_it_is_asked_for(sets):
    data = sets[1]
    with data.cutting([(torch.arange(8), 5)]) as ahead:
        for rows, seed in ((torch.arange(8), 6), (torch.arange(7), 5)):
            assert identical(drawn(data, rows, seed)[0], drawn(ahead, rows, seed)[0])
        used = torch.Generator().manual_seed(5)
        torch.rand(1, generator=used)
        ahead.batch(torch.arange(8), used)
        assert ahead.ahead.misses == 3
        assert ahead.ahead.hits == 0


def test_an_error_while_cutting_reaches_who_asks_for_the_batch(sets):
    with sets[1].cutting([(torch.tensor([3, 400]), 1)]) as ahead, pytest.raises(IndexError):
        ahead.batch(torch.tensor([3, 400]), torch.Generator().manual_seed(1))


@pytest.mark.slow
def test_processes_cut_the_same_bits_and_one_that_dies_is_told(sets):
    data = sets[1]
    plan = [(torch.arange(place, place + 8), 1000 + place) for place in range(12)]
    with data.cutting(plan, processes=2) as ahead:
        for place in (0, 1, 2, 6, 7, 3):
            (one, after), (other, after_other) = drawn(data, *plan[place]), drawn(ahead, *plan[place])
            assert identical(one, other)
            assert torch.equal(after, after_other)
        for process in ahead.ahead._workers.executor._processes.values():
            process.kill()
        with pytest.raises(RunError, match="died"):
            [drawn(ahead, *plan[place]) for place in (9, 10, 11)]


def test_processes_need_a_store(sets):
    with pytest.raises(ConfigError, match="need a store"), sets[0].cutting([], processes=1):
        pass


@pytest.mark.parametrize("pieces", [1, 2])
def test_every_batch_of_a_training_is_foreseen_and_the_network_is_the_same(sets, tmp_path, pieces):
    data, recipe = sets[1], Recipe(batch=8, pieces=pieces)
    batches = presentations(data.seen, data.size, 80, 8, 3)

    def weights(data, name):
        module = torch.nn.Linear(2, 1, bias=False)
        torch.nn.init.constant_(module.weight, 0.1)

        def loss(rows, generator):
            batch = data.batch(rows, generator)
            noise = torch.randn(len(rows), generator=generator)
            return (module(batch.patches.overall[:, :2]).squeeze(1) - noise).square().mean()

        train(run(name), module, batches, loss, recipe, peak=0.01, keys=data.image.events.key)
        return module.weight.detach()

    def run(name):
        return Run("same", 7, tmp_path / name, "x")

    plain = weights(data, "plain")
    with data.cutting(draws(run("ahead"), batches, pieces, range(pieces))) as ahead:
        assert torch.equal(weights(ahead, "ahead"), plain)
        assert ahead.ahead.hits == len(batches) * pieces
        assert ahead.ahead.misses == 0


@pytest.mark.parametrize("fraction", [0.0, 0.2, 0.5])
def test_no_vertex_is_trained_on_and_validated_on(sets, fraction):
    memory = sets[0]
    table = memory.image.events
    twice = replace(memory, image=replace(memory.image, events=replace(table, vertex=table.vertex // 2)))
    ours, held = twice.split(fraction, 5)
    vertex = twice.image.events.vertex
    assert not set(vertex[ours.seen].tolist()) & set(vertex[held.seen].tolist())
    assert sorted([*ours.seen.tolist(), *held.seen.tolist()]) == twice.seen.tolist()
    for task in TASKS:
        assert (
            sorted([*ours.rows[task.name].tolist(), *held.rows[task.name].tolist()]) == twice.rows[task.name].tolist()
        )
    assert torch.equal(ours.only(np.ones(60)).seen, ours.seen)


def table(samples, vertices):
    """A table of events of these samples and vertices."""
    count = len(samples)
    return EventTable(
        key=torch.arange(count),
        vertex=torch.as_tensor(vertices),
        weight=torch.ones(count, dtype=torch.float64),
        sample=tuple(samples),
        truth={"visible_energy": torch.ones(count, dtype=torch.float64)},
        selected=torch.ones(count, dtype=torch.bool),
    )


NAMES = ["numu_cc_0pi", "numu_cc_1pi", "nue_cc_0pi", "single_electron", "single_gamma"]


@settings(max_examples=50, deadline=None)
@given(
    samples=st.lists(st.sampled_from(NAMES), min_size=1, max_size=80),
    shared=st.integers(1, 3),
    counts=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    seed=st.integers(0, 1000),
)
def test_fewer_labelled_events_are_among_more_whatever_the_order_of_rows(samples, shared, counts, seed):
    events = table(samples, torch.arange(len(samples)) // shared)
    rows = torch.arange(len(samples))[:: 1 + seed % 2]
    few, many = (labelled(events, rows, count, seed) for count in sorted(counts))
    assert len(few) == min(min(counts), len(rows))
    assert len(few.unique()) == len(few)
    assert set(few.tolist()) <= set(many.tolist()) <= set(rows.tolist())
    assert torch.equal(labelled(events, rows.flip(0), max(counts), seed), many)
    families = {family(samples[row]) for row in rows.tolist()}
    vertices = {family(samples[row]): int(events.vertex[row]) for row in rows.tolist()}
    if shared == 1 and len(many) >= len(vertices):
        assert {family(samples[row]) for row in many.tolist()} == families


def test_labels_go_to_families_in_proportion_once_each_has_one():
    samples = ["numu_cc_0pi"] * 700 + ["numu_cc_1pi"] * 200 + ["single_gamma"] * 90 + ["nc_0pi"] * 10
    events = table(samples, torch.arange(1000))
    found = Counter(family(samples[row]) for row in labelled(events, torch.arange(1000), 100, 1).tolist())
    assert sum(found.values()) == 100
    assert abs(found["numu_cc"] - 90) <= 2
    assert abs(found["single_gamma"] - 9) <= 2
    assert 1 <= found["nc"] <= 3
    other = labelled(events, torch.arange(1000), 100, 2)
    assert not torch.equal(other, labelled(events, torch.arange(1000), 100, 1))


def test_all_are_labelled_where_none_are_counted_and_a_negative_count_is_refused(sets):
    rows = torch.tensor([5, 2, 9])
    assert sets[1].labelled(rows, 0, 1).tolist() == [2, 5, 9]
    assert sets[1].labelled(rows, 7, 1).tolist() == [2, 5, 9]
    with pytest.raises(ConfigError, match="-1 events"):
        sets[1].labelled(rows, -1, 1)
