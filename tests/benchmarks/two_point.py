"""Paired differences of two files of the same vertices, NOMINAL TWIN, in the nominal detector."""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from shiftlab.bias.two_point import PairedDifference, paired_difference
from shiftlab.config import detector_config
from shiftlab.detector import NOMINAL, Detector, Universe
from shiftlab.events import Deposits, read_pair
from shiftlab.tasks import match, truth_in
from shiftlab.units import SEMANTIC

VARIED = Universe("hadronic_model_model+1", (("hadronic_model_model", 1.0),))
STEPS = (0.0, 4.0, 15.0, 100.0, np.inf)
SIDE = 200


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("nominal", type=Path)
    given.add_argument("twin", type=Path)
    given.add_argument("--replicas", type=int, default=1000)
    given.add_argument("--seed", type=int, default=4)
    words = given.parse_args()
    nominal, twin = read_pair(words.nominal, words.twin, common=True)
    config = detector_config("pixel_lar")
    config["effects"]["hadronic_model"] = {}
    one, other = recorded(Detector.from_config(config), nominal, twin)
    vertex, weight = nominal.events.vertex.numpy(), nominal.events.weight.numpy()
    found = paired_difference(one, other, vertex, weight=weight, replicas=words.replicas, seed=words.seed)
    same = int((one == other).all(axis=1).sum())
    print(f"{found.vertices} vertices, {same} of them with the same numbers in both. {found.verdict}")
    show(found, np.sqrt((one.var(axis=0) + other.var(axis=0)) / len(one)))


def recorded(detector: Detector, nominal: Deposits, twin: Deposits) -> tuple[np.ndarray, np.ndarray]:
    """Per-event numbers of both files, as named in ``show``, chunk by chunk."""
    sides: dict[str, list[np.ndarray]] = {NOMINAL.name: [], VARIED.name: []}
    for first in range(0, len(nominal), SIDE):
        rows = list(range(first, min(first + SIDE, len(nominal))))
        prepared = detector.prepare(nominal.take(rows), {"hadronic_model": twin.take(rows)})
        for universe in (NOMINAL, VARIED):
            image = detector.image(prepared, universe)
            label = match(image, truth_in(detector, prepared, universe), threshold=0.0).label
            generated = detector.generated(prepared, universe)
            n, event = len(image), image.event_index
            kinds = len(SEMANTIC) + 1
            charge = torch.zeros(n * kinds, dtype=torch.float64)
            charge.index_add_(0, event * kinds + label, image.charge.double())
            energy = torch.zeros(n, dtype=torch.float64).index_add_(0, event, image.energy.double())
            voxels = torch.bincount(event, minlength=n).double()
            columns = [energy[:, None], voxels[:, None], charge.view(n, kinds), charge.view(n, kinds).sum(1)[:, None]]
            sides[universe.name].append(torch.cat([*columns, *deposited(generated.deposits)], dim=1).numpy())
    first_side, second_side = (np.concatenate(side) for side in sides.values())
    return first_side, second_side


def deposited(events: Deposits) -> list[torch.Tensor]:
    """Energy in the volume, and its parts by dE/dx (point deposits are in the first)."""
    length, energy = events.length.double(), events.energy.double()
    dedx = torch.where(length > 1e-6, energy / length.clamp(min=1e-6), 0.0)
    parts = []
    for low, high in [(0.0, np.inf), *pairwise(STEPS)]:
        inside = (dedx >= low) & (dedx < high)
        total = torch.zeros(len(events), dtype=torch.float64)
        parts.append(total.index_add_(0, events.event_index[inside], energy[inside])[:, None])
    return parts


def show(found: PairedDifference, unpaired: np.ndarray) -> None:
    """Print a line for each number: nominal, difference with its error, relative, and the error without pairing."""
    names = ["calibrated energy, MeV", "voxels", *(f"charge, {name}, ke" for name in (*SEMANTIC, "none")), "charge, ke"]
    names += ["deposited, MeV", *(f"deposited, {a:g}-{b:g} MeV/cm" for a, b in pairwise(STEPS))]
    print(f"{'per event':32s} {'nominal':>10s} {'difference':>20s} {'%':>16s} {'unpaired':>9s}")
    for i, name in enumerate(names):
        unit = 1e-3 if name.endswith("ke") else 1.0
        mean, value, error = unit * found.nominal[i], unit * found.value[i], unit * found.error[i]
        relative = f"{100 * value / mean:+.2f} ± {100 * error / mean:.2f}"
        print(f"{name:32s} {mean:10.2f} {value:+10.3f} ± {error:7.3f} {relative:>16s} {unit * unpaired[i]:9.3f}")


if __name__ == "__main__":
    main()
