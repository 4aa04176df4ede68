"""How far one sigma of each token shift moves an event's numbers: `python tests/benchmarks/token_shifts.py [FILE]`."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping

import torch
from torch import Tensor

from shiftlab.config import detector_config, locate
from shiftlab.detector import TokenDetector, Universe
from shiftlab.detector.scintillator.token_kinematics import four_momentum, is_kind
from shiftlab.events import read_tokens
from shiftlab.events.minerva_ml.columns import GLOBALS
from shiftlab.events.tokens import Tokens

RELATIVE = ("recoil", "blob energy", "photon pair mass", "muon momentum", "dE/dx of prongs")


def quantities(tokens: Tokens) -> Mapping[str, Tensor]:
    """Return float64 (event,), NaN where an event has no such quantity."""
    numbers = tokens.globals.double()
    event, events = tokens.event_index, len(tokens)

    def mean(value: Tensor, rows: Tensor) -> Tensor:
        summed = torch.zeros(events, dtype=torch.float64).index_add_(0, event[rows], value[rows])
        return summed / torch.bincount(event[rows], minlength=events)

    momentum, _ = four_momentum(tokens)
    muon = is_kind(tokens, "muon")
    angle = torch.atan2(momentum[:, :2].norm(dim=1), momentum[:, 2]) * 1000.0
    mass = GLOBALS.index("photon_pair_mass")
    prong = is_kind(tokens, "prong_3", "prong_8", "prong_13")
    return {
        "recoil": numbers[:, GLOBALS.index("log_hadron_recoil")].exp(),
        "blobs": torch.bincount(event[is_kind(tokens, "blob")], minlength=events).double(),
        "blob energy": numbers[:, GLOBALS.index("log_E_blob")].exp(),
        "pion prongs": numbers[:, GLOBALS.index("n_charged_pion_prongs")],
        "photon pair mass": torch.where(tokens.global_valid[:, mass], numbers[:, mass], torch.nan),
        "muon momentum": mean(momentum.norm(dim=1), muon),
        "muon angle, mrad": mean(angle, muon),
        "dE/dx of prongs": mean(tokens.column("log_dEdx").double().exp() - 0.1, prong),
    }


def influence(value: Tensor, weight: Tensor) -> tuple[float, Tensor]:
    """Return the weighted mean and, float64 (event,), what each event adds to its error."""
    known = torch.isfinite(value)
    weight = weight * known
    centre = float((weight * value.nan_to_num()).sum() / weight.sum())
    return centre, torch.where(known, weight * (value.nan_to_num() - centre) / weight.sum(), 0.0)


def cell(name: str, nominal: Tokens, shifted: Tokens) -> str:
    """Return the shift of a mean with its paired error, in per cent where the quantity is a scale."""
    before, one = influence(quantities(nominal)[name], nominal.events.weight)
    after, two = influence(quantities(shifted)[name], shifted.events.weight)
    relative = name in RELATIVE
    shift = 100.0 * (after / before - 1.0) if relative else after - before
    # Paired: an event that moves with the mean adds nothing to the error.
    change = 100.0 * (two - one * after / before) / before if relative else two - one
    error = float(change.square().sum().sqrt())
    if abs(shift) < 5e-5:
        return "0"
    digits = min(max(1 - math.floor(math.log10(max(error, 1e-9))), 1), 4)
    return f"{shift:+.{digits}f} +- {error:.{digits}f}"


def main() -> None:
    """Print one line per nuisance."""
    tokens = read_tokens(sys.argv[1] if len(sys.argv) > 1 else locate("studies/samples/minerva_like_tokens.h5"))
    detector = TokenDetector.from_config(detector_config("minerva_tokens"))
    nominal, names = detector.record(tokens), list(quantities(tokens))
    started = time.perf_counter()
    print("| one sigma of | yield, % |", " | ".join(f"{n}, %" if n in RELATIVE else n for n in names), "|")
    print("| --- " * (2 + len(names)) + "|")
    means = [f"{influence(value, nominal.events.weight)[0]:.4g}" for value in quantities(nominal).values()]
    print("| nominal, mean | |", " | ".join(means), "|")
    spent = 0.0
    for nuisance in detector.nuisances:
        started = time.perf_counter()
        shifted = detector.record(tokens, Universe(nuisance.name, ((nuisance.name, 1.0),)))
        spent += time.perf_counter() - started
        weights = nominal.events.weight
        ratio = 100.0 * float(shifted.events.weight.sum() / weights.sum() - 1.0)
        excess = (shifted.events.weight / shifted.events.weight.sum() - weights / weights.sum()).square().sum().sqrt()
        grown = "0" if ratio == 0 else f"{ratio:+.2f} +- {100 * float(excess) * (1 + ratio / 100):.2f}"
        print(f"| `{nuisance.name}` | {grown} |", " | ".join(cell(n, nominal, shifted) for n in names), "|")
    print(f"\n{len(tokens)} events, {1000 * spent / len(detector.nuisances):.0f} ms a universe")


if __name__ == "__main__":
    main()
