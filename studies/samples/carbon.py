"""Generator vertices on carbon, a domain-shift sample: ``python -m studies.samples.carbon --tables ... --out ...``."""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
from pathlib import Path

import numpy as np

from shiftlab.errors import ConfigError, ShiftlabError
from shiftlab.events.simulation.vertices import save_vertices
from studies.samples.make import _run_achilles
from studies.samples.recipe import VertexRun

__all__ = ["CARBON_RUN", "main", "make_carbon"]

CARBON_RUN = VertexRun("run_numu_c12_minerva_fhc.yml", 20263, 600)
"""Charged-current quasi-elastic vertices on 12C, MINERvA's low-energy FHC numu flux."""

_KEPT = 500


def make_carbon(tables: Path, out: Path) -> None:
    """Run Achilles in a scratch copy of its tables and write the first 500 vertices to ``out``.

    Raises:
        ConfigError: Achilles is not installed, fails, or gives too few vertices.
    """
    vertices = _run_achilles(tables, "numu_carbon", CARBON_RUN)
    if len(vertices) < _KEPT:
        raise ConfigError(f"{CARBON_RUN.card}: {len(vertices)} vertices came, {_KEPT} are wanted.")
    kept = vertices.take(np.arange(_KEPT))
    kept.attributes.update(
        {
            "generator": f"Achilles, AchillesGen {importlib.metadata.version('AchillesGen')}; "
            "QESpectral with spectral functions (INSPIRE Rocco:2018mwt), nucleon cascade GeantInteraction",
            "runs": f"numu: {CARBON_RUN.card}, seed {CARBON_RUN.seed}, {CARBON_RUN.events} events",
            "flux": "MINERvA low-energy FHC numu (PRD 94, 092005)",
            "target": "12C",
        }
    )
    save_vertices(out, kept)
    print(f"{out}: {len(kept)} vertices, {out.stat().st_size} bytes")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit code, 2 for a user's error."""
    parser = argparse.ArgumentParser(prog="python -m studies.samples.carbon", description=__doc__)
    parser.add_argument("--tables", type=Path, required=True, help="folder of Achilles' inputs")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "vertices_carbon.h5")
    given = parser.parse_args(arguments)
    try:
        make_carbon(given.tables, given.out)
    except ShiftlabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
