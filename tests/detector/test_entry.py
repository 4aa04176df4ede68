"""Entering the chain at the level that a file has: without path lengths, or with electrons of the file's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftlab.detector import NOMINAL, ConfigError, Detector, Effect, Geometry, Parameter, Stream, Universe, unisim
from shiftlab.detector.state import Charge
from shiftlab.errors import DataError
from shiftlab.events import concatenate, read
from shiftlab.units import ELECTRONS_PER_MEV, MIP_DEDX
from shifts.charge.recombination import Recombination, modified_box

ROOT = Path(__file__).parents[2]
EVENT = ROOT / "tests/data/pilarnet_event.h5"


def box(dedx: torch.Tensor, alpha: float) -> torch.Tensor:
    """The modified box at 0.5 kV/cm and 1.396 g/cm3; faint steps and points are taken as 1 MeV/cm."""
    return modified_box(dedx.clamp(min=1.0), alpha, 0.212, 0.5, 1.396)


def declared(*without: str) -> Detector:
    """The virtual detector that is declared for PILArNet-M, without some of its effects."""
    config: dict[str, Any] = yaml.safe_load((ROOT / "configs/detector/pilarnet.yaml").read_text())
    kept = {name: values for name, values in config["effects"].items() if name not in without}
    return Detector.from_config({**config, "effects": kept})


def recombined(detector: Detector, deposits: Any, universe: Universe = NOMINAL) -> torch.Tensor:
    """Electrons of each deposit right after the stage ``recombine``."""
    effect = next(e for e in detector.effects if e.stage == "recombine")
    charge = detector.prepare(deposits).charge
    return effect.apply(charge, detector.values(universe)[effect.name], Stream(1, effect.name)).electrons


@pytest.fixture
def own(deposits):
    """Deposits in the cube with electrons of another law: some points, one without charge, one without energy."""
    kept = deposits.keep(Geometry(size=(48.0, 48.0, 48.0)).inside(deposits.position))
    length, energy = kept.length.clone(), kept.energy.clone()
    length[::7] = 0.0
    electrons = 0.6 * energy * ELECTRONS_PER_MEV
    electrons[5], energy[11] = 0.0, 0.0
    return replace(kept, length=length, energy=energy, electrons=electrons)


def test_the_electrons_of_the_file_are_those_of_the_nominal_detector(chamber, own):
    """Right after recombination the nominal charge is the file's, to 1e-6; in points and steps without energy too."""
    torch.testing.assert_close(recombined(chamber, own), own.electrons.double(), rtol=1e-6, atol=0.0)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.tuples(st.floats(0, 20), st.floats(0, 0.5), st.floats(0, 1e6)), min_size=1, max_size=30),
    alpha=st.floats(0.8, 1.2),
)
def test_any_electrons_come_back(tracks, rows, alpha):
    """Whatever energy, length and electrons a file has, and whatever nominal recombination is declared."""
    energy, length, electrons = torch.tensor(rows, dtype=torch.float32).T
    position = torch.full((len(rows), 3), 20.0)
    deposits = replace(
        tracks((len(rows),)), position=position, energy=energy, length=length, electrons=electrons.contiguous()
    )
    effect = Recombination({"alpha": replace(Recombination.parameters[0], nominal=alpha)})
    detector = Detector("one", Geometry(size=(48.0, 48.0, 48.0)), (effect,))
    torch.testing.assert_close(recombined(detector, deposits), electrons.double(), rtol=1e-6, atol=0.0)


def test_a_shift_of_recombination_acts_relative_to_the_file(chamber, own):
    """One sigma of alpha multiplies each deposit's own electrons by R(0.95) / R(0.93) at its dE/dx."""
    up = Universe("up", (("recombination_alpha", 1.0),))
    dedx = torch.where(own.length > 0, own.energy / own.length.clamp(min=1e-6), 0.0).double()
    wanted = own.electrons.double() * box(dedx, 0.95) / box(dedx, 0.93)
    torch.testing.assert_close(recombined(chamber, own, up), wanted, rtol=1e-6, atol=0.0)
    assert float(wanted.sum() / own.electrons.double().sum()) == pytest.approx(1.03, abs=0.01)


def test_recombination_and_lifetime_move_the_image_as_their_formulas_say(own):
    """In the detector declared for PILArNet-M, without noise and threshold: 1e-6 of the charge of every cell."""
    position = 0.3 * torch.floor(own.position / 0.3) + 0.15
    deposits = replace(own, position=position)
    detector = declared("noise", "threshold", "dead_channels", "dead_chips")
    time = position[:, 0].double() / 0.1563
    dedx = torch.where(own.length > 0, own.energy / own.length.clamp(min=1e-6), 0.0).double()
    for shift, alpha, tau in (
        ((), 0.93, 6000.0),
        (("recombination_alpha",), 0.95, 6000.0),
        (("lifetime_tau",), 0.93, 6300.0),
    ):
        image = detector.image(deposits, Universe("u", tuple((name, 1.0) for name in shift)))
        charge = own.electrons.double() * box(dedx, alpha) / box(dedx, 0.93) * torch.exp(-time / tau)
        wanted = torch.zeros(len(own), dtype=torch.float64).index_add(0, own.event_index, charge)
        found = torch.zeros(len(own), dtype=torch.float64).index_add(0, image.event_index, image.charge.double())
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-3)


def test_where_nothing_escapes_only_no_electrons_are_understood(own):
    """In a field so high that the box gives 0 at 1 MeV/cm: no electrons stay none, some are refused by name."""
    detector = Detector("high", Geometry(size=(48.0, 48.0, 48.0), efield=5.0), (Recombination(),))
    none = replace(own, length=own.energy, electrons=torch.zeros_like(own.energy))
    assert float(recombined(detector, none).sum()) == 0.0
    some = none.electrons.clone()
    some[300] = 7.0
    with pytest.raises(DataError, match=r"deposit 300 \(event 5\): 7 electrons escaped .* none do at"):
        detector.prepare(replace(none, electrons=some))


def test_electrons_that_are_none_are_named(chamber, own):
    bad = own.electrons.clone()
    bad[3] = -1.0
    with pytest.raises(DataError, match=r"deposit 3 \(event 0, .*electrons = -1"):
        chamber.prepare(replace(own, electrons=bad))


def test_without_recombination_the_electrons_are_taken_as_they_are(own):
    detector = Detector("bare", Geometry(size=(48.0, 48.0, 48.0)), ())
    assert torch.equal(detector.prepare(own).charge.electrons, own.electrons.double())


def test_events_traced_back_through_another_recombination_are_refused(chamber, own, deposits):
    """Their charge depends on the nominal values; that of deposits without electrons does not."""
    other = Recombination({"alpha": replace(Recombination.parameters[0], nominal=0.9)})
    others = tuple(e for e in chamber.effects if e.name != "recombination")
    detector = Detector("other", chamber.geometry, (other, *others), allow_double_counting=True)
    with pytest.raises(ConfigError, match="another nominal recombination"):
        detector.image(chamber.prepare(own))
    assert len(detector.image(chamber.prepare(deposits))) == len(deposits)


class Pedestal(Effect[Charge]):
    """Ten electrons more in every deposit."""

    name = "pedestal"
    stage = "recombine"
    needs = ("electrons",)
    changes = ("electrons",)
    parameters = (Parameter("height", 10.0, 0.0, "1", (0.0, 20.0)),)

    def apply(self, events, values, stream):
        return events.with_electrons(events.electrons + values["height"])


def test_an_effect_that_adds_charge_cannot_be_traced_back(own):
    detector = Detector("adds", Geometry(size=(48.0, 48.0, 48.0)), (Pedestal(),))
    with pytest.raises(ConfigError, match="more than multiply"):
        detector.prepare(own)


@pytest.fixture
def bare(own):
    """The same deposits without lengths and electrons."""
    return replace(own, length=torch.zeros_like(own.length), electrons=None, missing=("electrons", "length", "time"))


def test_without_lengths_steps_are_minimum_ionising_and_keep_their_energy(bare):
    """dE/dx is 2.1 MeV/cm for all, at which calibration returns the energy of each deposit."""
    position = 0.3 * torch.floor(bare.position / 0.3) + 0.15
    detector = declared("noise", "threshold", "dead_channels", "dead_chips")
    prepared = detector.prepare(replace(bare, position=position))
    assert set(prepared.charge.dedx.tolist()) == {MIP_DEDX}
    recorded = float(detector.image(prepared).energy.double().sum())
    assert recorded == pytest.approx(float(bare.energy.double().sum()), rel=1e-6)


def test_what_needs_the_length_is_refused_by_name(chamber, bare, own):
    """Only nuisances of recombination; the list makes a set of universes that all run."""
    refused = chamber.refused(bare)
    assert refused == ("recombination_alpha", "recombination_beta")
    assert chamber.refused(chamber.prepare(bare)) == refused
    assert chamber.refused(own) == ()
    for name in (*refused, "recombination_model"):
        with pytest.raises(ConfigError, match=rf"'u' displaces {name}, but effect recombination needs dedx"):
            chamber.image(bare, Universe("u", ((name, 1.0), ("gain_scale", 1.0))))
    prepared = chamber.prepare(bare)
    assert len(chamber.image(prepared, Universe("zero", (("recombination_alpha", 0.0),)))) == len(bare)
    for universe in unisim(chamber, only=[n.name for n in chamber.nuisances if n.name not in refused]):
        assert len(chamber.image(prepared, universe)) == len(bare)


def test_what_one_part_lacks_the_whole_lacks(chamber, bare, own, tracks):
    """Files with and without lengths, joined: no dE/dx is made up for one and kept for the other."""
    both = concatenate([bare, tracks((50,), seed=9)])
    assert chamber.refused(both) == ("recombination_alpha", "recombination_beta")
    assert set(chamber.prepare(both).charge.dedx.tolist()) == {MIP_DEDX}


def test_the_declared_detector_keeps_the_voxels_of_a_real_event():
    """PILArNet-M's own voxels, all above 0.13 MeV: every one is kept where the channel lives, the energy to 1%."""
    deposits = read(EVENT)
    total = float(deposits.energy.double().sum())
    cells = declared().geometry.cell(deposits.position)
    assert float(deposits.energy.min()) > 0.13

    silent = declared("noise", "dead_channels", "dead_chips").image(deposits)
    assert sorted(silent.cell.tolist()) == sorted(cells.tolist())
    assert float(silent.energy.double().sum()) == pytest.approx(total, rel=1e-6)

    noisy = declared("dead_channels", "dead_chips").image(deposits)
    assert set(cells.tolist()) <= set(noisy.cell.tolist())
    assert float(noisy.energy.double().sum()) == pytest.approx(total, rel=0.005)

    nominal = declared().image(deposits)
    assert len(set(cells.tolist()) - set(nominal.cell.tolist())) < 0.05 * len(cells)
    assert float(nominal.energy.double().sum()) == pytest.approx(total, rel=0.03)
