"""Real events with all effects of transport: moved, delayed and widened alike in any batch, order and process."""

from __future__ import annotations

import multiprocessing
import pickle
from importlib import resources

import numpy as np
import pytest
import torch

from shiftlab.detector import NOMINAL, Detector, Geometry, Universe, effects, multisim
from shiftlab.events import read

NAMES = (
    *("drift_field", "diffusion_longitudinal", "diffusion_transverse", "time_offset"),
    *("space_charge", "field_cage", "misalignment", "recombination", "lifetime"),
)
CHOSEN = torch.tensor([3, 400, 800, 1200, 1600, 2000])


@pytest.fixture(scope="module")
def events():
    """Six events of the shipped evaluation sample."""
    with resources.as_file(resources.files("studies") / "samples" / "lar_evaluation.h5") as path:
        return read(path).take(CHOSEN)


@pytest.fixture(scope="module")
def detector():
    """The pixel chamber's volume with everything that acts on drifting charge."""
    return Detector("drift", Geometry(), tuple(effects().get(name)() for name in NAMES))


@pytest.fixture(scope="module")
def universe(detector):
    """A throw of all nuisances together, with wide clouds."""
    drawn = dict(multisim(detector, 2, seed=3)[0].nuisances)
    return Universe("all", tuple({**drawn, "diffusion_transverse_scale": 1.5, "space_charge_scale": 2.0}.items()))


def bytes_of(image):
    return [getattr(image, name).numpy().tobytes() for name in ("offsets", "cell", "charge", "energy")]


def test_batch_and_order_change_no_bit(detector, universe, events):
    """Alone or in reverse, each event has the same voxels, though places, fields, widths and times all differ."""
    together = detector.image(events, universe)
    turned = detector.image(events.take(torch.arange(5, -1, -1)), universe)
    assert bytes_of(together.take(torch.arange(5, -1, -1))) == bytes_of(turned)
    for index in range(6):
        chosen = torch.tensor([index])
        assert bytes_of(together.take(chosen)) == bytes_of(detector.image(events.take(chosen), universe))
    assert bytes_of(together) != bytes_of(detector.image(events))


def _record(content):
    detector, universe, events = pickle.loads(content)
    torch.set_num_threads(2)
    return bytes_of(detector.image(events, universe))


def test_another_process_makes_the_same_bytes(detector, universe, events):
    """A spawned worker with other threads."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(_record, (pickle.dumps((detector, universe, events)),))
    assert found == bytes_of(detector.image(events, universe))


def test_the_nominal_image_is_that_of_the_plain_chain(detector, events):
    """At nominal the effects of transport change no bit: nothing moves, drifts faster or spreads."""
    plain = Detector("plain", Geometry(), tuple(effects().get(name)() for name in ("recombination", "lifetime")))
    assert bytes_of(detector.image(events)) == bytes_of(plain.image(events))


@pytest.mark.parametrize(
    "name", [n for n in NAMES if n not in ("recombination", "lifetime", "space_charge", "drift_field")]
)
def test_what_is_not_recombination_or_loss_keeps_the_charge(detector, events, name):
    """Widths, times and places of real events: all charge is collected, but what leaves the read-out."""
    prepared = detector.prepare(events)
    for effect, nuisance in ((n.effect, n.name) for n in detector.nuisances):
        if effect != name:
            continue
        for displacement in (-1.0, 1.0):
            shift = Universe("u", ((nuisance, displacement),))
            seen = detector.positions(prepared, shift)
            arriving = detector._arriving(prepared, shift, detector.values(shift)).electrons
            inside = float(arriving[detector.geometry.inside(seen)].sum())
            found = float(detector.image(prepared, shift).charge.double().sum())
            edge = float(arriving.sum()) - inside
            # Clouds at the faces are collected whole or, beyond them, not at all; some are up to half outside.
            assert found == pytest.approx(inside, abs=1e-6 * inside + 2 * edge)
            assert edge < 0.01 * inside


def test_the_labels_of_deposits_go_where_their_charge_goes(detector, universe, events):
    """The cell of a deposit's apparent place holds charge, for nearly all charge that is not lost."""
    prepared = detector.prepare(events)
    seen = detector.positions(prepared, universe)
    inside = detector.geometry.inside(seen)
    cells = detector.geometry.cell(seen[inside]) + prepared.charge.event[inside] * detector.geometry.cells
    image = detector.image(prepared, universe)
    there = image.event_index * detector.geometry.cells + image.cell
    assert bool(torch.isin(cells, there).all())
    assert not bool(torch.isin(detector.geometry.cell(prepared.charge.position[inside]), image.cell).all())


@pytest.mark.parametrize(
    ("nuisance", "expected"),
    [("time_offset_offset", 0.078), ("misalignment_x", 0.22), ("misalignment_y", 0.0)],
)
def test_one_sigma_moves_the_drift_coordinate_by_its_size(detector, events, nuisance, expected):
    prepared = detector.prepare(events)
    nominal, shifted = (detector.positions(prepared, u) for u in (NOMINAL, Universe("u", ((nuisance, 1.0),))))
    moved = (shifted - nominal)[:, 0].numpy()
    np.testing.assert_allclose(moved, expected, atol=2e-3 if expected else 1e-9)
