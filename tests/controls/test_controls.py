"""Controls of the whole chain from deposits to correlation, with answers that are known beforehand."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from shiftlab.arms import arms
from shiftlab.bias import bias
from shiftlab.detector import NOMINAL, Universe, multisim, unisim
from shiftlab.responses import Responses, respond
from shiftlab.tasks import named_tasks

PAIRS = 16
"""Independent directions of the joint universes."""


@pytest.fixture(scope="module")
def events(tracks):
    return tracks(60)


def test_the_identity_universe_by_its_own_pass_has_a_bias_of_exactly_zero(events, pixel_lar, plugin):
    """Nothing is reused between universes, so that zero is computed and not copied."""
    identity = Universe("identity", tuple((n.name, 0.0) for n in pixel_lar.nuisances), group="control")
    universes = (NOMINAL, identity, *unisim(pixel_lar, only=("gain_scale", "lifetime_tau", "noise_enc")))
    arm = arms().get("sums")(0)
    responses = respond(
        events, pixel_lar, universes, [arm], tasks=named_tasks(["energy", "flavour"]), reuse=False, chunk=40
    )
    for task in responses.tasks:
        data = responses.task(task)
        for name in ("output", "observable", "selected"):
            values = data[name].sel(universe="identity").values
            assert values.tobytes() == data[name].sel(universe="nominal").values.tobytes()
    table = bias(responses, replicas=20).table
    rows = table[table["universe"] == "identity"]
    assert len(rows) == 2
    assert (rows["bias"] == 0.0).all()
    assert (rows["bias_error"] == 0.0).all()
    assert (table[table["group"] == "unisim"]["bias"] != 0.0).any()


def test_two_heads_that_are_copies_in_two_files_correlate_to_one(events, pixel_lar, plugin, tmp_path):
    kind = arms().get("copies")
    kind(0).save(tmp_path)
    files = sorted(path.read_bytes() for path in tmp_path.rglob("record.json"))
    assert len(files) == 2
    assert files[0] == files[1]
    responses = respond(
        events,
        pixel_lar,
        unisim(pixel_lar, only=("gain_scale", "recombination_alpha", "lifetime_tau")),
        [kind.load(tmp_path, 0)],
        tasks=named_tasks(["energy", "energy_copy"]),
    )
    found = bias(responses, replicas=50)
    (row,) = found.correlation.to_dict("records")
    assert row["rho"] == pytest.approx(1.0, abs=1e-12)
    assert row["lo"] == pytest.approx(1.0, abs=1e-12)


def relabelled(responses: Responses, task: str, rows: slice) -> xr.Dataset:
    """One task on some events, each pair of joint universes as the two signs of a direction without a name."""
    data = responses.task(task).isel(event=rows)
    names = [f"direction{k:02d}{sign}1" for k in range(PAIRS) for sign in "+-"]
    value = np.zeros((2 * PAIRS + 1, PAIRS))
    for k in range(PAIRS):
        value[1 + 2 * k, k], value[2 + 2 * k, k] = 1.0, -1.0
    return data.drop_vars(["nuisance", "nuisance_value", "one_sided"]).assign_coords(
        universe=["nominal", *names],
        group=("universe", ["nominal", *["unisim"] * (2 * PAIRS)]),
        throw=("universe", np.zeros(2 * PAIRS + 1, dtype=np.int64)),
        nuisance=[f"direction{k:02d}" for k in range(PAIRS)],
        nuisance_value=(("universe", "nuisance"), value),
    )


def test_heads_in_independent_universes_on_disjoint_vertices_do_not_correlate(tracks, pixel_lar, plugin):
    """With n independent directions rho scatters by about 1 / sqrt(n); in the same universes it is near one."""
    events = tracks(60)
    shifts = []
    for seed in (1, 2):
        universes = [replace(one, throw=0) for one in multisim(pixel_lar, 2 * PAIRS, seed=seed)]
        arm = arms().get("copies")(0)
        shifts.append(
            respond(events, pixel_lar, universes, [arm], tasks=named_tasks(["energy", "energy_copy"]), chunk=60)
        )
    first, second = slice(0, 30), slice(30, 60)
    strangers = Responses(
        {"energy": relabelled(shifts[0], "energy", first), "energy_copy": relabelled(shifts[1], "energy_copy", second)}
    )
    vertices = [set(data["vertex_uid"].values.tolist()) for data in strangers.datasets.values()]
    assert not vertices[0] & vertices[1]
    relatives = Responses(
        {"energy": relabelled(shifts[0], "energy", first), "energy_copy": relabelled(shifts[0], "energy_copy", second)}
    )
    apart, together = (bias(one, replicas=50).correlation["rho"].iloc[0] for one in (strangers, relatives))
    assert abs(apart) < 3.0 / np.sqrt(PAIRS)
    assert together > 0.9
