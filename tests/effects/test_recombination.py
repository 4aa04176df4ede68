"""Recombination: numbers of independent codes, limits, and the declared rule for faint and point-like steps."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from shiftlab.detector import Geometry, Stream, Universe, detector
from shifts.charge.recombination import Recombination, birks, modified_box

TESTS = Path(__file__).parent.parent


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(line for line in stream if not line.startswith("#")))


def column(table: list[dict[str, str]], name: str) -> torch.Tensor:
    return torch.tensor([float(row[name]) for row in table], dtype=torch.float64)


@pytest.mark.parametrize("row", rows(TESTS / "oracles" / "recombination.csv"), ids=lambda row: row["model"])
def test_fraction_meets_public_codes(row):
    """Escaping fraction and electrons per MeV agree with four public codes to 1e-6."""
    law = birks if row["model"].startswith("birks") else modified_box
    dedx = torch.tensor([float(row["dEdx_MeV_cm"])], dtype=torch.float64)
    medium = (float(row["efield_kV_cm"]), float(row["density_g_cm3"]))
    fraction = float(law(dedx, float(row["A_or_alpha"]), float(row["k_or_beta"]), *medium))
    assert fraction == pytest.approx(float(row["R"]), rel=1e-6, abs=1e-12)
    assert fraction * 1e6 / 23.6 == pytest.approx(float(row["electrons_per_MeV"]), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(
    ("law", "constants", "name"),
    [(modified_box, (0.93, 0.207), "n_electrons_box"), (birks, (0.8, 0.0486), "n_electrons_birks")],
)
def test_electrons_meet_larndsim(law, constants, name):
    """2000 steps of a real sample: within the one electron that larnd-sim's truncation takes."""
    table = rows(TESTS / "data" / "larndsim_quench_drift.csv")
    electrons = column(table, "dE") * 1e6 / 23.6 * law(column(table, "dEdx"), *constants, 0.5, 1.38)
    lost = electrons - column(table, name)
    # larnd-sim works in float32, which moves the point of truncation a little.
    assert float(lost.min()) > -0.2
    assert float(lost.max()) < 1.02


def test_minimum_ionising_point():
    """R(2.1 MeV/cm, 0.5 kV/cm) is 0.705 by the box and 0.698 by Birks: catches every unit mistake."""
    dedx = torch.tensor([2.1], dtype=torch.float64)
    assert float(modified_box(dedx, 0.93, 0.212, 0.5, 1.396)) == pytest.approx(0.70504, abs=5e-6)
    assert float(birks(dedx, 0.8, 0.0486, 0.5, 1.396)) == pytest.approx(0.69795, abs=5e-6)
    geometry = Geometry()
    nominal = {p.name: p.nominal for p in Recombination.parameters}
    response = Recombination().response(geometry.medium((4.0, 8.8)), geometry.layer_times(), nominal)
    assert torch.allclose(response, torch.tensor(0.70504, dtype=torch.float64), atol=5e-6)


def test_box_is_never_negative():
    """Below (1 - alpha) rho E / beta the bare law would be negative; it is zero."""
    dedx = torch.tensor([1e-6, 0.1, 0.22, 0.24], dtype=torch.float64)
    fraction = modified_box(dedx, 0.93, 0.212, 0.5, 1.396)
    assert (fraction[:3] == 0).all()
    assert fraction[3] > 0


def test_points_and_faint_steps_recombine_like_one_mev_per_cm(bare, deposits):
    """Declared rule: dE/dx below 1 MeV/cm, and dx = 0, take the fraction at 1 MeV/cm."""
    charge = bare.prepare(deposits).charge
    effect = Recombination()
    values = {p.name: p.nominal for p in effect.parameters}
    after = effect.apply(charge, values, Stream(1, "recombination"))
    fraction = after.electrons / charge.electrons
    faint = charge.dedx <= 1.0
    expected = modified_box(torch.tensor([1.0], dtype=torch.float64), 0.93, 0.212, 0.5, 1.396)
    assert bool((charge.dedx == 0).any())
    torch.testing.assert_close(fraction[faint], expected.expand(int(faint.sum())), rtol=1e-12, atol=0)


def test_more_alpha_moves_muons_more_than_protons():
    """One sigma of alpha is +2.8% at 2.1 MeV/cm and +0.4% at 10 MeV/cm; beta is the other way round."""
    dedx = torch.tensor([2.1, 10.0], dtype=torch.float64)
    nominal = modified_box(dedx, 0.93, 0.212, 0.5, 1.396)
    alpha = modified_box(dedx, 0.95, 0.212, 0.5, 1.396) / nominal - 1
    beta = modified_box(dedx, 0.93, 0.214, 0.5, 1.396) / nominal - 1
    assert alpha.tolist() == pytest.approx([0.028, 0.0037], abs=5e-4)
    assert abs(float(beta[0])) < abs(float(beta[1]))


def test_the_other_model_is_one_discrete_step(deposits):
    """The universe with ``recombination_model`` = 1 recombines by Birks' law, 1% below the box for muons."""
    chamber = detector("pixel_lar")
    other = Universe("birks", (("recombination_model", 1.0),))
    ratio = chamber.image(deposits, other).charge.sum() / chamber.image(deposits).charge.sum()
    assert 0.9 < float(ratio) < 1.1
    assert float(ratio) != 1.0
