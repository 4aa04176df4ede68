"""Order, aggregates, globals and files after a shift of tokens: what follows from the tokens follows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from shiftlab.config import detector_config
from shiftlab.detector import NOMINAL, Stream, TokenDetector, Universe, effects, unisim
from shiftlab.detector.scintillator import ScintillatorDetector, Toy
from shiftlab.detector.scintillator import tokens as toy_tokens
from shiftlab.detector.scintillator.objects import Objects, Remainder
from shiftlab.detector.scintillator.rederive import rederived
from shiftlab.detector.scintillator.token_kinematics import (
    FourMomentum,
    four_momentum,
    is_kind,
    with_columns,
    with_four_momentum,
)
from shiftlab.detector.scintillator.tokens import tokens_of
from shiftlab.errors import DataError
from shiftlab.events import read, read_tokens
from shiftlab.events.deposits import EventTable
from shiftlab.events.minerva_ml import write_minerva_ml
from shiftlab.events.minerva_ml.columns import GLOBALS
from shiftlab.events.omnilearned import write_omnilearned
from shiftlab.events.sample import SampleWriter
from shiftlab.events.tokens import Tokens, in_units


@pytest.fixture(scope="module")
def sample() -> Tokens:
    """The first 250 events of the shipped sample of MINERvA-like tokens."""
    return read_tokens(Path(__file__).parents[2] / "studies" / "samples" / "minerva_like_tokens.h5").take(range(250))


@pytest.fixture(scope="module")
def every() -> TokenDetector:
    """All token effects with their priors, as the configuration has them."""
    return TokenDetector.from_config(detector_config("minerva_tokens"))


def crowd(blobs: int, prongs: int) -> Tokens:
    """One event with a muon, ``blobs`` blobs and ``prongs`` prongs, as the reconstruction makes it."""
    count = 1 + blobs + prongs
    generator = torch.Generator().manual_seed(blobs + 100 * prongs)
    kind = torch.tensor([0] + [2] * blobs + [4] * prongs)
    energy = 10.0 + 500.0 * torch.rand(count, generator=generator, dtype=torch.float64)
    direction = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    direction /= direction.norm(dim=1, keepdim=True)
    mass = torch.where(kind == 4, 139.57, 0.0)
    position = torch.where((kind > 0)[:, None], 1000.0 * direction, torch.nan)
    order = torch.argsort(energy, descending=True)
    order = order[torch.argsort(kind[order], stable=True)]
    objects = Objects(
        event=torch.zeros(count, dtype=torch.int64),
        kind=kind[order],
        momentum=torch.cat([direction * (energy * (energy + 2 * mass)).sqrt()[:, None], (energy + mass)[:, None]], 1)[
            order
        ],
        dedx=torch.where(kind == 4, 3.0, torch.nan)[order],
        position=position[order],
        time=torch.full((count,), 5000.0, dtype=torch.float64),
    )
    nought = torch.zeros(1, dtype=torch.float64)
    beyond = Remainder(nought, nought, nought, nought, nought, nought, nought)
    one = torch.ones(1, dtype=torch.int64)
    return tokens_of(objects, beyond, EventTable(one, one, nought + 1, ("toy",), {}, one.bool()))


@pytest.mark.parametrize(("blobs", "prongs"), [(20, 10), (21, 3), (35, 14)])
def test_too_many_tokens_are_summed_as_the_reconstruction_does(monkeypatch, blobs, prongs):
    """19 blobs or 9 prongs of most energy and the sum of the rest: the same tokens as those made so at once."""
    expected = crowd(blobs, prongs)
    monkeypatch.setattr(toy_tokens, "MOST", {**toy_tokens.MOST, "blob": 99, "prong": 99})
    whole = crowd(blobs, prongs)
    assert len(whole.particle) == 1 + blobs + prongs
    found = rederived(whole, whole)
    assert torch.equal(found.particle, expected.particle)
    assert torch.equal(found.valid, expected.valid)
    torch.testing.assert_close(found.features, expected.features, rtol=1e-5, atol=2e-5)
    torch.testing.assert_close(found.globals, expected.globals, rtol=1e-4, atol=1e-4)
    again = rederived(found, found)
    assert torch.equal(again.features, found.features)


def test_tokens_go_where_their_energy_puts_them(sample):
    """A blob that becomes the most energetic is the first of its event's blobs; truth and validity go with it."""
    blobs = torch.nonzero(is_kind(sample, "blob") & (sample.event_index == 3)).squeeze(1)
    tagged = replace(sample, truth={"row": torch.arange(len(sample.particle), dtype=torch.float64)})
    rows = torch.zeros(len(sample.particle), dtype=torch.bool)
    rows[blobs[-1]] = True
    bright = with_columns(tagged, rows, {"log_E": sample.column("log_E").double() + 12.0})
    found = rederived(tagged, bright)
    order = torch.arange(len(sample.particle))
    order[blobs] = torch.cat([blobs[-1:], blobs[:-1]])
    assert torch.equal(found.truth["row"].long(), order)
    assert torch.equal(found.features, bright.features[order])


def test_a_file_in_another_order_keeps_it(sample):
    """Blobs that were not by falling energy are left where they are."""
    blobs = torch.nonzero(is_kind(sample, "blob") & (sample.event_index == 3)).squeeze(1)
    order = torch.arange(len(sample.particle))
    order[blobs] = blobs.flip(0)
    odd = replace(sample, features=sample.features[order])
    assert torch.equal(rederived(odd, odd).features, odd.features)


def test_what_does_not_change_keeps_its_bits_in_any_file(sample):
    """Globals that are not the sums of their tokens, as in a real file, stay so; a blanked recoil stays blanked."""
    numbers = sample.globals.clone()
    numbers[:, 2] += 0.37
    numbers[::2, 2] = 0.0
    numbers[:, 10:] += 1e-4
    odd = replace(sample, globals=numbers)
    assert torch.equal(rederived(odd, odd).globals, numbers)
    after = effects().get("em_response")()
    values = {parameter.name: parameter.nominal for parameter in after.parameters} | {"scale": 1.1}
    found = after.apply(odd, values, Stream(1, "em_response"))
    assert bool((found.globals[::2, 2] == 0).all())
    assert int((found.globals[1::2, 2] > numbers[1::2, 2]).sum()) > 20
    assert torch.equal(found.globals[:, [0, 1, 4, 6, 7, 9, 11, 12, 13]], numbers[:, [0, 1, 4, 6, 7, 9, 11, 12, 13]])


def test_other_globals_are_refused(sample):
    """What may follow from the energies in a way that is not known is not left inconsistent."""
    odd = replace(sample, global_columns=tuple(f"g{i}" for i in range(16)))
    with pytest.raises(DataError, match=r"globals g0, g1.*sixteen of minerva-ml"):
        rederived(odd, odd)
    bare = replace(
        sample,
        globals=sample.globals[:, :0],
        global_columns=(),
        global_units=(),
        global_valid=sample.global_valid[:, :0],
    )
    assert rederived(bare, bare).globals.shape == (250, 0)


def test_a_higher_threshold_is_that_of_the_reconstruction():
    """Raising it on tokens, and finding blobs anew with the higher cut: the same tokens, recoil and sums.

    Exact where nothing was summed into an aggregate. Isolated blobs, near the muon, are no function of the tokens.
    """
    deposits = read(Path(__file__).parents[1] / "data" / "ch_neutrino.h5")
    low, high = ScintillatorDetector(), ScintillatorDetector(toy=Toy(blob_energy=4.0))
    cut = TokenDetector((effects().get("blob_threshold")(),))
    found = cut.record(low.tokens(deposits), Universe("up", (("blob_threshold_energy", 20.0),)))
    again = high.tokens(deposits)
    assert len(found.particle) < len(low.tokens(deposits).particle)
    whole = [i for i in range(16) if not bool((low.tokens(deposits).take([i]).particle >= 6).any())]
    assert len(whole) > 10
    one, other = found.take(whole), again.take(whole)
    assert torch.equal(one.particle, other.particle)
    assert torch.equal(one.features, other.features)
    columns = [i for i in range(16) if GLOBALS[i] != "log_isolated_blobs"]
    torch.testing.assert_close(one.globals[:, columns], other.globals[:, columns], rtol=2e-5, atol=2e-5)


def test_every_effect_of_the_catalogue_is_in_the_configuration(every):
    """Their order is that of the chain: blobs, responses, muon, dE/dx, frames, then weights."""
    names = [effect.name for effect in every.effects]
    known = {kind.name for kind in effects() if kind.stage in ("token", "weigh")}
    assert set(names) == known
    stages = [(effect.stage, effect.order) for effect in every.effects]
    assert stages == sorted(stages)
    numbers = {number for effect in every.effects for number in effect.catalogue}
    assert numbers >= {f"M{i}" for i in (1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)}


def test_nominal_is_the_file(every, sample):
    found = every.record(sample, NOMINAL)
    assert torch.equal(found.features, sample.features)
    assert torch.equal(found.globals, sample.globals)
    assert torch.equal(found.events.weight, sample.events.weight)


def test_all_shifts_at_once_can_be_written_and_read_in_every_format(every, sample, tmp_path):
    """One joint universe of all nuisances at one sigma: checked, written three times, read back bit for bit."""
    joint = Universe("joint", tuple((nuisance.name, 1.0) for nuisance in every.nuisances))
    found = every.record(sample, joint)
    found.check("joint")
    assert not torch.equal(found.features[: found.offsets[5]], sample.features[: found.offsets[5]])
    with SampleWriter(tmp_path / "sample.h5", holds="tokens") as writer:
        writer.append(found)
    write_minerva_ml(tmp_path / "sample.pb", found)
    for name in ("sample.h5", "sample.pb"):
        same(read_tokens(tmp_path / name), found)
    write_omnilearned(tmp_path / "omni.h5", found, label="topology_class")
    same(read_tokens(tmp_path / "omni.h5"), in_units(found, "GeV"))


def same(one: Tokens, other: Tokens) -> None:
    for name in ("offsets", "features", "valid", "particle", "globals", "global_valid"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    assert torch.equal(one.events.weight, other.events.weight)
    assert torch.equal(one.events.key, other.events.key)


def test_one_sigma_of_every_nuisance_moves_the_sample(every, sample):
    """Forty universes: each is valid, and differs from the nominal in tokens, globals or weights."""
    universes = unisim(every)
    assert len(universes) >= 40
    for universe in universes:
        found = every.record(sample, universe)
        found.check(universe.name)
        equal = len(found.particle) == len(sample.particle) and torch.equal(found.features, sample.features)
        assert not (equal and torch.equal(found.events.weight, sample.events.weight)), universe.name


def test_four_momenta_survive_the_way_there_and_back(sample):
    """exp and log with the floors of the format: E and p to single precision."""
    momentum, energy = four_momentum(sample)
    rows = torch.ones(len(energy), dtype=torch.bool)
    back = with_four_momentum(sample, rows, FourMomentum(momentum, energy))
    torch.testing.assert_close(back.features, sample.features, rtol=2e-6, atol=2e-6)
    along = with_four_momentum(sample, rows, FourMomentum(torch.tensor([[0.0, 0.0, -5.0]]).expand_as(momentum), energy))
    assert float(along.column("eta").max()) == -10.0
