"""Marks beside a bias: q-values of a whole table, significance, and what is limited by simulation."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from shiftlab.bias import Mean, bias
from shiftlab.bias.significance import holm, p_values, q_values


def test_a_null_effect_is_marked_as_limited_by_simulation(toys: Any) -> None:
    """Migration with mean zero: two thirds of such cells are MC-limited, hardly any survive multiplicity."""
    names = [f"n{k}" for k in range(60)]
    rows = [toys.nominal, *toys.unisims(names)]
    outputs = np.random.default_rng(0).standard_normal((1, 1, 121, 200))
    outputs[:, :, 1:] = outputs[:, :, :1] + 0.1 * outputs[:, :, 1:]
    result = bias(SimpleNamespace(datasets={"t": toys.dataset(outputs[..., None], rows)}), tasks={"t": Mean()})
    assert 0.55 < result.table["mc_limited"].mean() < 0.8
    assert result.table["significance"].mean() < 0.12
    assert (result.table["q_value"] < 0.05).mean() < 0.03
    assert not (result.table["mc_limited"] & result.table["significance"]).any()


def test_families_are_the_cells_of_one_arm_seed_and_group(toys: Any) -> None:
    """p-values of a normal, as the errors are from influence values; q and Holm within each group of universes."""
    rows = [toys.nominal, *toys.unisims(["a", "b"]), *toys.joints(["a", "b"], 2, 0)]
    outputs = np.random.default_rng(1).standard_normal((2, 1, 1, len(rows), 100))
    datasets = {f"t{i}": toys.dataset(one[..., None], rows) for i, one in enumerate(outputs)}
    table = bias(SimpleNamespace(datasets=datasets), tasks={"t0": Mean(), "t1": Mean()}, replicas=12).table
    np.testing.assert_allclose(table["p_value"], p_values((table["bias"] / table["bias_error"]).to_numpy()))
    for _, cells in table.groupby("group"):
        assert len(cells) == 8
        np.testing.assert_allclose(cells["q_value"], q_values(cells["p_value"].to_numpy()))
        np.testing.assert_allclose(cells["holm"], holm(cells["p_value"].to_numpy()))


def test_what_pairing_gains_stands_in_every_row(toys: Any) -> None:
    """Independent noise of a tenth: V(bias) = 0.01 against 2.01, so the gain is 201 and rho_pair 0.995."""
    rows = [toys.nominal, *toys.unisims(["a"]), toys.row("identity", "control")]
    base, noise = np.random.default_rng(0).standard_normal((2, 20_000))
    outputs = np.stack([base, base + 0.1 * noise, base - 0.1 * noise, base])[None, None, ..., None]
    found = bias(SimpleNamespace(datasets={"t": toys.dataset(outputs, rows)}), tasks={"t": Mean()}).table
    assert found["pair_gain"].iloc[0] == pytest.approx(201.0, rel=0.3)
    np.testing.assert_allclose(found["rho_pair"], 1.0 - 1.0 / found["pair_gain"])
    assert found["rho_pair"].iloc[2] == 1.0
    assert np.isinf(found["pair_gain"].iloc[2])
