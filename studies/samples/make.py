"""Commands that make the samples: ``python -m studies.samples.make vertices|evaluation|training|manifest``."""

from __future__ import annotations

import argparse
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from shiftlab.errors import ConfigError, ShiftlabError
from shiftlab.events import concatenate, read
from shiftlab.events.sample import read_attributes, write_sample
from shiftlab.events.simulation.composition import NEUTRINO_KINDS, compose
from shiftlab.events.simulation.placement import FIDUCIAL, VISIBLE_ENERGY
from shiftlab.events.simulation.production import produce
from shiftlab.events.simulation.transport import Transport
from shiftlab.events.simulation.vertices import (
    Vertices,
    join_vertices,
    load_vertices,
    read_nuhepmc,
    save_vertices,
)
from shiftlab.provenance import digest_file, write_json
from studies.samples.recipe import RECIPES, VERTEX_RUNS, Recipe, VertexRun

__all__ = ["main", "make_manifest", "make_sample", "make_vertices"]

HERE = Path(__file__).parent
_LICENCE = "CC-BY-4.0, The shiftlab authors"
_ACKNOWLEDGEMENT = (
    "This product includes software developed by Members of the Geant4 Collaboration ( http://cern.ch/geant4 )"
)
_LIMITS = (
    "Geant4 11.4 transport with reduced tables; charged-current quasi-elastic vertices only; nue vertices use the "
    "shape of the numu flux; photon_protons is composed (nue CC vertices with the electron replaced by a photon of "
    "equal energy); neutron and nuclear-photon cross-sections are approximate, so far, faint deposits are not to be "
    "trusted; steps of one track in one cell are merged."
)
_COMMANDS = [
    "python -m studies.samples.make vertices --tables ACHILLES_TABLES --out data",
    "python -m studies.samples.make evaluation --tables tests/data/geant4_tables "
    "--vertices data/vertices_evaluation.h5 --out studies/samples/lar_evaluation.h5",
    "python -m studies.samples.make training --tables tests/data/geant4_tables "
    "--vertices data/vertices_training.h5 --out data/lar_training.h5",
    "python -m studies.samples.make manifest --training data/lar_training.h5",
]


def make_vertices(tables: Path, folder: Path) -> None:
    """Run Achilles in a scratch copy of its tables and write the vertices of each sample into ``folder``.

    The evaluation sample takes the first vertices of each run, the training sample the next ones.
    """
    runs = {name: _run_achilles(tables, name, run) for name, run in VERTEX_RUNS.items()}
    used = dict.fromkeys(runs, 0)
    for sample, recipe in RECIPES.items():
        parts = []
        for name, vertices in runs.items():
            stop = used[name] + recipe.vertices(name)
            if stop > len(vertices):
                raise ConfigError(f"{name}: the samples take {stop} vertices, the run has {len(vertices)}.")
            parts.append(vertices.take(np.arange(used[name], stop)))
            used[name] = stop
        joined = join_vertices(parts)
        joined.attributes.update(_vertex_attributes())
        save_vertices(folder / f"vertices_{sample}.h5", joined)
        print(f"{folder / f'vertices_{sample}.h5'}: {len(joined)} vertices")


def _run_achilles(tables: Path, name: str, run: VertexRun) -> Vertices:
    program = shutil.which("achilles", path=str(Path(sys.executable).parent)) or shutil.which("achilles")
    if program is None:
        raise ConfigError("vertices need the program achilles: pip install 'shiftlab[sim]'.")
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch) / "achilles"
        shutil.copytree(tables, work, copy_function=shutil.copyfile)
        card = (work / run.card).read_text(encoding="utf-8")
        card = re.sub(r"NEvents: .*", f"NEvents: {run.events}", card)
        card = re.sub(r"Seed: .*", f"Seed: {run.seed}", card)
        card = re.sub(r"Name: .*\.hepmc", "Name: vertices.hepmc", card)
        (work / "shiftlab.yml").write_text(card, encoding="utf-8")
        done = subprocess.run(
            [program, "-b", "shiftlab.yml"],
            cwd=work,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0 or not (work / "vertices.hepmc").is_file():
            raise ConfigError(f"achilles failed on {run.card}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return read_nuhepmc(work / "vertices.hepmc", f"achilles/{name}/seed-{run.seed}")


def _vertex_attributes() -> dict[str, str]:
    runs = "; ".join(f"{name}: {run.card}, seed {run.seed}, {run.events} events" for name, run in VERTEX_RUNS.items())
    return {
        "generator": f"Achilles, AchillesGen {importlib.metadata.version('AchillesGen')}; "
        "QESpectral with spectral functions (INSPIRE Rocco:2018mwt), nucleon cascade GeantInteraction",
        "runs": runs,
        "flux": "MicroBooNE BNB numu; the same shape for nue",
        "target": "40Ar",
    }


def make_sample(name: str, tables: Path, vertices: Path, out: Path) -> None:
    """Make a sample from its vertices and write it to ``out``."""
    recipe = RECIPES[name]
    pool = load_vertices(vertices)
    transport = Transport(tables)
    parts = []
    taken: Counter[int] = Counter()
    with tqdm(total=sum(recipe.counts.values()), unit="event", desc=name) as bar:
        for kind, count in recipe.counts.items():
            mine = None
            if kind in NEUTRINO_KINDS:
                neutrino = NEUTRINO_KINDS[kind]
                rows = np.flatnonzero(pool.neutrino_pdg == neutrino)
                mine = pool.take(rows[taken[neutrino] : taken[neutrino] + count])
                taken[neutrino] += count
            for part in produce(compose(kind, count, recipe.uid, mine), transport, recipe.uid):
                parts.append(part)
                bar.update(len(part))
    deposits = concatenate(parts)
    write_sample(out, deposits, _attributes(recipe, transport, pool))
    print(f"{out}: {len(deposits)} events, {out.stat().st_size} bytes")


def _attributes(recipe: Recipe, transport: Transport, pool: Vertices) -> dict[str, str | float]:
    return {
        "uid": recipe.uid,
        **transport.describe(),
        **{f"vertices_{name}": value for name, value in pool.attributes.items()},
        "placement": f"first visible deposit (step of at most 0.3 cm above {VISIBLE_ENERGY} MeV) uniform in "
        f"x {FIDUCIAL.low[0]}-{FIDUCIAL.high[0]}, y {FIDUCIAL.low[1]}-{FIDUCIAL.high[1]}, "
        f"z {FIDUCIAL.low[2]}-{FIDUCIAL.high[2]} cm of a cube of 230.4 cm; the rest is dropped (truth/outside_energy)",
        "frame": "cm, MeV; x is the distance to the anode (drift), the beam runs along z",
        "limits": _LIMITS,
        "licence": _LICENCE,
        "acknowledgement": _ACKNOWLEDGEMENT,
    }


def make_manifest(evaluation: Path, training: Path, vertices: Path, out: Path) -> None:
    """Write which vertices each sample holds, with digests, counts and sizes.

    Raises:
        ConfigError: two samples share a vertex.
    """
    samples: dict[str, Any] = {}
    for name, path in (("evaluation", evaluation), ("training", training)):
        events = read(path).events
        uids = events.vertex.tolist()
        by_kind = {
            kind: [u for u, s in zip(uids, events.sample, strict=True) if s == kind] for kind in RECIPES[name].counts
        }
        calibration = by_kind.pop("calibration_muon", [])
        samples[name] = _entry(path, by_kind)
        if calibration:
            samples["calibration"] = _entry(path, {"calibration_muon": calibration})
    all_uids = [uid for entry in samples.values() for kind in entry["vertex_uid"].values() for uid in kind]
    if len(set(all_uids)) != len(all_uids):
        raise ConfigError("two samples share a vertex; the manifest is not written.")
    record = {
        "splits": "by vertex_uid; stratified by kind; each vertex is thrown once",
        "commands": _COMMANDS,
        "made_with": {name: read_attributes(evaluation)[name] for name in ("simulator", "vertices_generator")},
        "vertices": {"file": vertices.name, "sha256": digest_file(vertices)},
        "samples": samples,
    }
    write_json(out, record)


def _entry(path: Path, by_kind: dict[str, list[int]]) -> dict[str, Any]:
    return {
        "file": path.name,
        "sha256": digest_file(path),
        "bytes": path.stat().st_size,
        "counts": {kind: len(uids) for kind, uids in by_kind.items()},
        "vertex_uid": {kind: sorted(uids) for kind, uids in by_kind.items()},
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m studies.samples.make", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    vertices = commands.add_parser(
        "vertices", help="run Achilles; write vertices_evaluation.h5 and vertices_training.h5"
    )
    vertices.add_argument("--tables", type=Path, required=True, help="folder of Achilles' inputs")
    vertices.add_argument("--out", type=Path, required=True, help="folder for the vertex files")
    for name in RECIPES:
        sample = commands.add_parser(name, help=f"make the {name} sample")
        sample.add_argument("--tables", type=Path, required=True, help="folder of Geant4 tables")
        sample.add_argument("--vertices", type=Path, default=HERE / f"vertices_{name}.h5")
        sample.add_argument("--out", type=Path, required=True)
    manifest = commands.add_parser("manifest", help="write the manifest of both samples")
    manifest.add_argument("--evaluation", type=Path, default=HERE / "lar_evaluation.h5")
    manifest.add_argument("--training", type=Path, required=True)
    manifest.add_argument("--vertices", type=Path, default=HERE / "vertices_evaluation.h5")
    manifest.add_argument("--out", type=Path, default=HERE / "manifest.json")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit code, 2 for a user's error."""
    given = _parser().parse_args(arguments)
    try:
        if given.command == "vertices":
            make_vertices(given.tables, given.out)
        elif given.command == "manifest":
            make_manifest(given.evaluation, given.training, given.vertices, given.out)
        else:
            make_sample(given.command, given.tables, given.vertices, given.out)
    except ShiftlabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
