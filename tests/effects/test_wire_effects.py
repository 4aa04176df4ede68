"""Effects of wires: noise with the measured spectrum, gains of planes, shaping, field response, wire modification."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftlab.detector import (
    NOMINAL,
    Cells,
    ConfigError,
    Detector,
    Effect,
    Geometry,
    Oracle,
    Parameter,
    Stream,
    Universe,
    WireGeometry,
    effects,
)
from shiftlab.events.deposits import EventTable
from shifts.calibration.wire_modification import (
    LARGEST_RATIO,
    WireModification,
    WireModificationRegion,
    gaussian_ratio,
)
from shifts.readout.coherent_noise import CoherentNoise
from shifts.readout.field_response import FieldResponse
from shifts.readout.noise_spectrum import NoiseLength, NoiseSpectrum, noise_rms, series_taps
from shifts.readout.plane_gain import PlaneGain
from shifts.readout.shaping import ColdElectronics, Shaping

ORACLES = Path(__file__).parent.parent / "oracles"
WIRES = WireGeometry(size=(200.0, 120.0, 120.0), pitch=0.5)
NOISE = {parameter.name: parameter.nominal for parameter in NoiseSpectrum.parameters}


def table(events: int) -> EventTable:
    key = (torch.arange(events) + 2) * 7919**3
    return EventTable(
        key=key, vertex=key, weight=torch.ones(events).double(), sample=("single_muon",) * events,
        truth={"visible_energy": torch.ones(events).double()}, selected=torch.ones(events, dtype=torch.bool),
    )  # fmt: skip


def silent(channels: torch.Tensor, events: int = 2) -> Cells:
    """Whole waveforms of some channels, without charge."""
    ticks = WIRES.shape[0]
    tick, channel = torch.meshgrid(torch.arange(ticks), channels, indexing="ij")
    cell = (tick * WIRES.channels + channel).flatten()
    event = torch.arange(events).repeat_interleave(len(cell))
    rows = table(events)
    return Cells(
        geometry=WIRES, table=rows, event=event, key=rows.key[event], cell=cell.repeat(events),
        electrons=torch.zeros(len(event), dtype=torch.float64),
        floor=torch.full((events,), -torch.inf, dtype=torch.float64),
    )  # fmt: skip


ONE_WIRE = silent(torch.tensor([40]), events=1).rows(torch.arange(400, 521))


def noise(cells: Cells, **values: float) -> torch.Tensor:
    return NoiseSpectrum().apply(cells, {**NOISE, **values}, Stream(1, "noise_spectrum")).electrons


@pytest.mark.parametrize("oracle", [ColdElectronics, NoiseLength, WireModificationRegion])
def test_independent_numbers_are_met(oracle: type[Oracle]) -> None:
    with (ORACLES / f"{oracle.name}.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(line for line in stream if not line.startswith("#")))
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    for difference in oracle().compare(columns):
        assert difference.rows == len(rows)
        assert difference.met, difference


def test_noise_grows_with_the_length_of_the_wire():
    """The rms of whole waveforms meets sqrt(x^2 + (y + z L)^2) wire by wire, to the error of the samples."""
    channels = torch.tensor([10, 150, 400, 900])
    cells = silent(channels, events=4)
    drawn = noise(cells).reshape(4, WIRES.shape[0], 4)
    expected = noise_rms((WIRES.wire_length(channels) / 100).numpy(), NOISE["white"], NOISE["series"], NOISE["slope"])
    assert expected[1] > 1.1 * expected[0]
    np.testing.assert_allclose(drawn.square().mean(dim=(0, 1)).sqrt().numpy(), expected, rtol=0.03)
    assert abs(float(drawn.mean())) < 0.05 * expected.max()


def test_the_spectrum_is_recovered_and_holds_the_power():
    """Mean periodogram: white x^2 plus (y + z L)^2 |A(f)|^2; its sum is the variance (Parseval)."""
    cells = silent(torch.tensor([100, 900]), events=40)
    waves = noise(cells).reshape(40, WIRES.shape[0], 2).permute(0, 2, 1).reshape(80, -1).numpy()
    n = 512
    pieces = waves[:, : waves.shape[1] // n * n].reshape(-1, n)
    power = np.mean(np.abs(np.fft.rfft(pieces)) ** 2, axis=0) / n
    both = np.concatenate([power, power[1:-1]])
    assert both.mean() == pytest.approx(np.mean(pieces**2), rel=1e-9)
    amplitude = NOISE["series"] + NOISE["slope"] * (WIRES.wire_length(torch.tensor([100, 900])) / 100).numpy()
    taps = series_taps(WIRES.tick, WIRES.shaping).weight
    shape = np.abs(np.fft.rfft(taps, n)) ** 2
    expected = NOISE["white"] ** 2 + np.mean(amplitude**2) * shape
    binned = (power / expected)[1:].reshape(-1, 16).mean(axis=1)
    np.testing.assert_allclose(binned, 1.0, atol=6 / np.sqrt(16 * len(pieces)))
    assert shape[0] < 1e-12
    assert 0.05 < np.fft.rfftfreq(n, WIRES.tick)[shape.argmax()] < 0.2  # MHz


def test_the_white_part_alone_is_not_correlated_in_time():
    drawn = noise(silent(torch.tensor([5, 700]), events=8), series=0.0, slope=0.0).reshape(8, -1, 2).numpy()
    for lag in (1, 2, 7):
        assert abs(np.corrcoef(drawn[:, lag:].ravel(), drawn[:, :-lag].ravel())[0, 1]) < 0.02
    assert drawn.std() == pytest.approx(NOISE["white"], rel=0.01)


def test_a_sample_has_the_same_noise_in_every_region():
    """Whatever ticks are recorded beside it: bit for bit."""
    cells = silent(torch.tensor([3, 500, 900]))
    whole = noise(cells)
    generator = torch.Generator().manual_seed(1)
    mask = torch.rand(len(whole), generator=generator) < 0.3
    mask[:3] = True
    assert torch.equal(noise(cells.keep(mask)), whole[mask])


def test_coherent_noise_is_common_to_a_board_of_wires():
    """Covariance inside a board is the variance, between boards and planes it is 0."""
    cells = silent(torch.tensor([0, 63, 64, WIRES.shape[2]]), events=2)
    drawn = CoherentNoise().apply(cells, {"rms": 100.0}, Stream(1, "coherent_noise")).electrons.reshape(-1, 4)
    assert torch.equal(drawn[:, 0], drawn[:, 1])
    assert abs(float(torch.corrcoef(drawn.T)[0, 2])) < 0.05
    assert abs(float(torch.corrcoef(drawn.T)[0, 3])) < 0.05
    assert float(drawn.std()) == pytest.approx(100.0, rel=0.03)


def charged() -> Cells:
    cells = silent(torch.tensor([7, WIRES.shape[2] + 9, 2 * WIRES.shape[2] + 11]), events=1)
    return cells.with_electrons(torch.rand(len(cells.cell), dtype=torch.float64) * 1e4)


@pytest.mark.parametrize(("name", "plane"), [("front", 0), ("middle", 1), ("collection", 2)])
def test_the_gain_of_a_plane_leaves_the_other_planes(name, plane):
    """The plane's sum scales exactly, all other planes keep every bit."""
    cells = charged()
    gains = {"front": 1.0, "middle": 1.0, "collection": 1.0, name: 1.15}
    after = PlaneGain().apply(cells, gains, Stream(1, "plane_gain")).electrons
    mine = cells.channel // WIRES.shape[2] == plane
    assert torch.equal(after[~mine], cells.electrons[~mine])
    assert float(after[mine].sum()) == pytest.approx(1.15 * float(cells.electrons[mine].sum()), rel=1e-14)


def test_calibration_divides_out_the_nominal_gain_of_each_plane(tracks):
    """A plane of nominal gain 0.8 shows the energy of one of gain 1."""
    low = PlaneGain({"front": Parameter("front", 0.8, 0.1, "1", (0.5, 1.5))})
    plain, scaled = (Detector("d", WIRES, chain).image(tracks) for chain in ((), (low,)))
    torch.testing.assert_close(plain.energy, scaled.energy, rtol=1e-5, atol=1e-7)
    front = plain.index[:, 1] == 0
    torch.testing.assert_close(scaled.charge[front], 0.8 * plain.charge[front], rtol=1e-5, atol=1e-3)


@pytest.fixture
def tracks(deposits):
    return deposits


@pytest.mark.parametrize(("effect", "name", "value"), [(Shaping, "stretch", 1.3), (FieldResponse, "mix", 1.0)])
def test_another_response_keeps_the_charge_of_the_collection_plane(tracks, effect: type[Effect], name, value):
    """Signal processing with the nominal response finds the same total to 2%, in other samples."""
    chamber = Detector("d", WIRES, (effect(),))
    own = chamber.nuisances[0]
    sigma = (value - own.parameter.nominal) / own.parameter.sigma
    nominal, shifted = (chamber.image(tracks, one) for one in (NOMINAL, Universe("u", ((own.name, sigma),))))
    last = [float(image.energy[image.index[:, 1] == 2].double().sum()) for image in (nominal, shifted)]
    assert last[1] == pytest.approx(last[0], rel=0.02)
    assert not torch.equal(nominal.energy, shifted.energy[: len(nominal.energy)])


@settings(max_examples=30, deadline=None)
@given(st.floats(0.5, 2.0), st.floats(0.5, 1.15))
def test_a_gaussian_signal_gets_the_charge_and_width_that_are_asked_for(r_charge, r_width):
    """Charge times r_Q, width times r_sigma, peak times r_Q / r_sigma."""
    away = torch.arange(-60, 61).double()
    signal = ONE_WIRE.with_electrons(1e6 * torch.exp(-0.5 * (away / 4.0) ** 2))
    after = WireModification().apply(signal, {"charge": r_charge, "width": r_width}, Stream(1, "w")).electrons
    assert float(after.sum() / signal.electrons.sum()) == pytest.approx(r_charge, rel=2e-3)
    width = float(((after * away**2).sum() / after.sum()).sqrt())
    assert width == pytest.approx(4.0 * r_width, rel=0.01)
    assert float(after.max() / signal.electrons.max()) == pytest.approx(r_charge / r_width, rel=1e-3)


def test_the_ratio_is_capped_where_a_gaussian_would_diverge():
    """At r_sigma > 1 the ratio grows without end in the tails; it stops at the cap and never falls back."""
    away = torch.linspace(0, 60, 200, dtype=torch.float64)
    ratio = gaussian_ratio(away, torch.full_like(away, 4.0), 1.0, 1.5)
    assert float(ratio.max()) == LARGEST_RATIO
    assert bool((ratio.diff() >= 0).all())
    assert float(gaussian_ratio(away[-1:], torch.full((1,), 4.0), 1.0, 1.5, float("inf"))[0]) > 1e20


def test_wire_modification_is_refused_beside_its_causes():
    """Every cause that it names is a nuisance of some effect, and a detector with both is refused."""
    known = {f"{kind.name}_{p.name}" for kind in effects() for p in kind.parameters}
    causes = {other for _, other, _ in WireModification.double_counts}
    assert causes <= known
    with pytest.raises(ConfigError, match="shaping_stretch"):
        Detector("d", WIRES, (Shaping(), WireModification()))
    without = WireModification({n: replace(WireModification().parameter(n), sigma=0.0) for n in ("charge", "width")})
    assert Detector("d", WIRES, (Shaping(), without)).nuisances[0].name == "shaping_stretch"


def test_effects_of_wires_are_refused_by_pixels():
    with pytest.raises(ConfigError, match="wires"):
        Detector("d", Geometry(), (PlaneGain(),))
