"""Keyed draws: known answers, distributions, and independence of everything but the key."""

from __future__ import annotations

import hashlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from shiftlab.detector import Stream
from shiftlab.detector.stream import Memory, mix

KEYS = torch.arange(200_000) * 104729

KNOWN = {
    "bits": [2180496227, 2710725471, 990195391, 2083936624],
    "map": [-2.685072660446167, 0.505338191986084, -1.2995939254760742, 0.8527750968933105],
    "normal": [0.4397643506526947, 1.698239803314209, 2.202058792114258, 0.25206458568573],
    "poisson": [6, 5, 5, 3],
    "table": "11dc61e1365f94372790524100b375c43fa7f2c7cd469c26f9c98ddfb7d248ac",
    "uniform": [0.5553031384115575, 0.6366816610054173, 0.4930200509233905, 0.9655531156137795],
}


def test_mixing_is_splitmix64():
    """The finaliser on multiples of the golden constant gives splitmix64's published sequence from seed 0."""
    golden = 0x9E3779B97F4A7C15 - (1 << 64)
    bits = mix(torch.arange(1, 4) * golden)
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert [int(value) % (1 << 64) for value in bits] == expected


def test_known_answers():
    """Draws of a fixed key never change: a stored result can be made again by a later version."""
    stream = Stream(seed=7, effect="noise", throw=3)
    ids = torch.tensor([0, 1, -5, 1 << 62])
    assert (stream.bits("cell", ids, 9) % (1 << 32)).tolist() == KNOWN["bits"]
    assert stream.uniform("cell", ids).tolist() == KNOWN["uniform"]
    assert stream.normal("cell", ids).tolist() == KNOWN["normal"]
    assert stream.normal("map", ids, per_throw=True).tolist() == KNOWN["map"]
    assert stream.poisson("count", ids, rate=3.5).tolist() == KNOWN["poisson"]


def test_normal_table_has_known_bytes():
    """The table of quantiles is the same float32 numbers on every machine."""
    from shiftlab.detector.hashing import normal_table

    assert hashlib.sha256(normal_table("cpu").numpy().tobytes()).hexdigest() == KNOWN["table"]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=40), st.data())
def test_batch_and_order_change_no_draw(ids, data):
    """Any subset in any order gives each id its own draw."""
    chosen = torch.tensor(data.draw(st.permutations(range(len(ids))))[: max(1, len(ids) // 2)])
    stream, every = Stream(5, "gain"), torch.tensor(ids)
    assert torch.equal(stream.normal("x", every)[chosen], stream.normal("x", every[chosen]))
    assert torch.equal(stream.uniform("x", every, 3)[chosen], stream.uniform("x", every[chosen], 3))


def test_every_part_of_the_key_matters():
    """Seed, effect, purpose, id and their order give other draws; the throw only where it is asked for."""
    base = Stream(1, "gain").bits("a", KEYS[:100])
    others = [
        Stream(2, "gain").bits("a", KEYS[:100]),
        Stream(1, "noise").bits("a", KEYS[:100]),
        Stream(1, "gain").bits("b", KEYS[:100]),
        Stream(1, "gain").bits("a", KEYS[:100], 0),
        Stream(1, "gain").bits("a", KEYS[:100], per_throw=True),
        Stream(1, "gain", 1).bits("a", KEYS[:100], per_throw=True),
    ]
    for index, one in enumerate(others):
        assert not bool((one == base).any())
        assert all(not bool((one == other).any()) for other in others[:index])
    assert torch.equal(base, Stream(1, "gain", 1).bits("a", KEYS[:100]))
    first, second = torch.tensor([3]), torch.tensor([4])
    assert not torch.equal(Stream(1, "x").bits("a", first, second), Stream(1, "x").bits("a", second, first))


def test_uniforms_and_normals_have_their_distributions():
    """Kolmogorov-Smirnov on 200,000 draws; neighbouring ids are uncorrelated."""
    stream = Stream(11, "test")
    uniform, normal = stream.uniform("u", KEYS), stream.normal("n", KEYS).double()
    assert stats.kstest(uniform.numpy(), "uniform").pvalue > 1e-3
    assert stats.kstest(normal.numpy(), "norm").pvalue > 1e-3
    assert float((normal[1:] * normal[:-1]).mean()) == pytest.approx(0.0, abs=4 / len(KEYS) ** 0.5)
    assert float(normal.abs().max()) < 6.14
    assert bool(((uniform >= 0) & (uniform < 1)).all())


@pytest.mark.parametrize("rate", [0.0, 0.01, 3.5, 400.0])
def test_poisson_has_its_mean_and_variance(rate):
    counts = Stream(11, "test").poisson("k", KEYS, rate=rate).double()
    assert float(counts.mean()) == pytest.approx(rate, abs=5 * (rate / len(KEYS)) ** 0.5)
    assert float(counts.var()) == pytest.approx(rate, rel=0.05, abs=1e-9)


@pytest.mark.parametrize("rate", [-1.0, float("nan"), float("inf")])
def test_impossible_rates_are_refused(rate):
    with pytest.raises(ValueError, match="rate"):
        Stream(1, "test").poisson("k", KEYS[:1], rate=rate)


def test_memory_keeps_lasting_ids_only_and_changes_no_draw():
    """A kept draw is the draw; passing ids, and draws per throw, are not kept."""
    lasting = KEYS[:50].clone()
    memory = Memory(lasting=(lasting,))
    remembering, plain = Stream(1, "noise", 0, memory), Stream(1, "noise")
    first = remembering.normal("cell", lasting)
    assert remembering.normal("cell", lasting) is first
    assert torch.equal(first, plain.normal("cell", lasting))
    assert not torch.equal(remembering.normal("other", lasting), first)
    assert not torch.equal(Stream(2, "noise", 0, memory).normal("cell", lasting), first)
    remembering.normal("cell", lasting.clone())
    remembering.normal("cell", lasting, per_throw=True)
    assert len(memory.drawn) == 3
