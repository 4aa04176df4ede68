"""A campaign: a recipe carried by one Geant4 set-up into a sample, in parallel, resumable, the same every time."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from shiftlab.errors import RunError
from shiftlab.events.deposits import Deposits
from shiftlab.events.sample.writer import SampleWriter
from shiftlab.events.simulation.composition import compose_batch
from shiftlab.events.simulation.placement import ARGON_CUBE, SCINTILLATOR_BOX, Placement
from shiftlab.events.simulation.production import Names, carry
from shiftlab.events.simulation.recipe import Recipe
from shiftlab.events.simulation.shards import Shards
from shiftlab.events.simulation.tables import find_tables
from shiftlab.events.simulation.transport import Transport
from shiftlab.events.simulation.workers import work_through
from shiftlab.provenance import claim_folder, digest_file, digest_json

__all__ = ["ACKNOWLEDGEMENT", "PLACEMENTS", "SIDES", "Campaign", "Outcome", "simulate"]

ACKNOWLEDGEMENT: Final = (
    "This product includes software developed by Members of the Geant4 Collaboration ( http://cern.ch/geant4 )"
)
"""What Geant4's licence asks for."""

PLACEMENTS: Final = {"G4_lAr": ARGON_CUBE, "G4_POLYSTYRENE": SCINTILLATOR_BOX}
"""Virtual detector of each medium."""

SIDES: Final = {"G4_lAr": 1000.0, "G4_POLYSTYRENE": 1200.0}
"""Side of the transport cube by medium, cm: from its centre to a face is farther than through the detector."""

_LIMITS: Final = (
    "Geant4 11.4 transport; with the reduced tables neutron and nuclear-photon cross-sections are approximate, so "
    "far, faint deposits are not to be trusted; steps of one track in one cell of 0.3 cm are merged; composed events "
    "are no generator's, and no physics result follows from them"
)


@dataclass(frozen=True)
class Campaign:
    """What is simulated; it fixes every byte of the sample, whatever the number of workers.

    Attributes:
        recipe: What starts each event.
        transport: How Geant4 carries it.
        seed: With the recipe it fixes primaries, vertices and placement; a campaign that differs in the
            transport alone has the same ones, event by event.
        count: Number of events.
        batch: Events a shard.
    """

    recipe: Recipe
    transport: Transport
    seed: int
    count: int
    batch: int = 200

    @property
    def vertices(self) -> str:
        """Name of the vertices: the same for campaigns that differ in the transport alone."""
        return f"{self.recipe.dataset}/{self.seed}"

    @property
    def uid(self) -> str:
        """Name of the sample, transport included: the prefix of the events' keys."""
        digest = digest_json([_plain(self.recipe), *self._carriers()])
        return f"{self.vertices}/{digest[:16]}"

    @property
    def placement(self) -> Placement:
        """Where the events are put."""
        return PLACEMENTS[self.recipe.medium]

    @property
    def batches(self) -> int:
        """Number of batches."""
        return -(-self.count // self.batch)

    def _carriers(self) -> tuple[dict[str, Any], dict[str, Any]]:
        transport = asdict(self.transport)
        del transport["tables"]
        return transport, asdict(self.placement)

    def identity(self) -> dict[str, Any]:
        """Return what decides the numbers, plain values: with another one, shards are not gone on from."""
        transport, placement = self._carriers()
        return {
            "recipe": _plain(self.recipe),
            "transport": transport,
            "placement": json.loads(json.dumps(placement)),
            "tables": _listing(self.transport.tables),
            "seed": self.seed,
            "count": self.count,
            "batch": self.batch,
            "calzone": importlib.metadata.version("calzone"),
            "source": _source(),
        }

    def make(self, simulation: Any, batch: int) -> Deposits:
        """Return the events of one batch; each depends on its number, and on no other event.

        Args:
            simulation: What ``transport.open`` gave.
            batch: Number of the batch.
        """
        start, stop = batch * self.batch, min((batch + 1) * self.batch, self.count)
        primaries = compose_batch(self.recipe, self.seed, start, stop)
        names = Names(self.vertices, self.uid, self.recipe.dataset)
        return carry(primaries, start, names, self.transport, simulation, self.placement)


@dataclass(frozen=True)
class Outcome:
    """What a run did.

    Attributes:
        path: The sample.
        events: Its events.
        simulated: Those that this run simulated; the others were there.
        seconds: Wall time.
        workers: Processes that simulated.
    """

    path: Path
    events: int
    simulated: int
    seconds: float
    workers: int


def simulate(
    campaign: Campaign,
    out: Path,
    *,
    workers: int = 1,
    fresh: bool = False,
    command: str = "",
    progress: Callable[[int], None] = lambda events: None,
) -> Outcome:
    """Make the sample of a campaign, or go on from the batches that an earlier run finished.

    Batches are kept in ``<out>.parts`` until the sample is whole, and appended to it in order as they come.

    Args:
        campaign: What is simulated.
        out: The sample's file.
        workers: Processes; they change no byte of the sample.
        fresh: Discard a sample or batches that are there.
        command: Command that makes the sample; stored in its attributes.
        progress: Called with the number of events that were just finished.

    Raises:
        ConfigError: calzone or the tables are missing, or the recipe has not that many events.
        RunError: another run is at work on ``out``, what is there is of another identity, or a worker failed.
    """
    began = time.monotonic()
    find_tables(campaign.transport.tables)
    compose_batch(campaign.recipe, campaign.seed, campaign.count - 1, campaign.count)
    identity = campaign.identity()
    digest = digest_json(identity)
    folder = out.with_name(f"{out.name}.parts")
    if out.exists() and not fresh:
        _check_finished(out, digest)
        return Outcome(out, campaign.count, 0, time.monotonic() - began, 0)
    with claim_folder(folder, identity, fresh=fresh):
        shards = Shards(folder, digest)
        done = {batch for batch in range(campaign.batches) if shards.holds(batch)}
        missing = [batch for batch in range(campaign.batches) if batch not in done]
        workers = min(workers, len(missing))
        kept = sum(min(campaign.batch, campaign.count - batch * campaign.batch) for batch in done)
        progress(kept)
        finished = work_through(_Maker(campaign, shards), missing, workers) if missing else iter(())
        whole = folder / "whole.h5"
        _assemble(whole, campaign, shards, done, finished, progress, command)
        os.replace(whole, out)
        shutil.rmtree(folder)
    return Outcome(out, campaign.count, campaign.count - kept, time.monotonic() - began, workers)


def _assemble(
    path: Path,
    campaign: Campaign,
    shards: Shards,
    done: set[int],
    finished: Iterator[tuple[int, int]],
    progress: Callable[[int], None],
    command: str,
) -> None:
    """Append the batches in order, each as soon as it and all before it are there."""
    while 0 not in done:
        batch, events = next(finished)
        done.add(batch)
        progress(events)
    box = ((0.0, 0.0, 0.0), campaign.placement.box)
    attributes = _attributes(campaign, shards, command)
    with SampleWriter(path, holds="deposits", attributes=attributes, box=box) as writer:
        for batch in range(campaign.batches):
            while batch not in done:
                other, events = next(finished)
                done.add(other)
                progress(events)
            writer.append(shards.read(batch))


def _check_finished(out: Path, digest: str) -> None:
    from shiftlab.events.sample.reader import read_attributes

    found = str(read_attributes(out).get("identity", ""))
    if found != digest:
        raise RunError(
            f"{out} is there, and was made by another recipe, transport, seed, number of events or version. "
            "Name another out=FILE, or discard it with --fresh."
        )


def _attributes(campaign: Campaign, shards: Shards, command: str) -> dict[str, str | float | int]:
    recipe = campaign.recipe
    sizes = [path.stat().st_size for path in campaign.transport.tables.rglob("*") if path.is_file()]
    return {
        "uid": campaign.uid,
        "identity": shards.identity,
        "recipe": json.dumps({key: value for key, value in _plain(recipe).items() if key != "sources"}),
        "sources": json.dumps(dict(recipe.sources)),
        "seed": campaign.seed,
        "command": command,
        **shards.notes(0),
        **campaign.transport.settings(),
        "tables": f"{len(sizes)} files, {sum(sizes) / 1e6:.1f} MB, listing {_listing(campaign.transport.tables)[:16]}",
        **campaign.placement.describe(),
        "instance": "number of the particle in particles/number: primaries first, then the other particles that own a "
        "deposit; a shower belongs to the particle that began it, a soft knock-on electron to its parent",
        "limits": _LIMITS,
        "acknowledgement": ACKNOWLEDGEMENT,
    }


@dataclass(frozen=True)
class _Maker:
    """What a worker needs to make batches."""

    campaign: Campaign
    shards: Shards

    def open(self) -> Callable[[int], int]:
        """Open Geant4; return what makes one batch and writes its shard."""
        import torch

        torch.set_num_threads(1)
        simulation = self.campaign.transport.open()
        simulator = self.campaign.transport.simulator()

        def make(batch: int) -> int:
            deposits = self.campaign.make(simulation, batch)
            self.shards.write(batch, deposits, {"simulator": simulator})
            return len(deposits)

        return make


def _plain(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as plain values; a file of vertices by its name and digest."""
    values = asdict(recipe)
    if recipe.vertices is not None:
        values["vertices"] = f"{recipe.vertices.name}, sha256 {digest_file(recipe.vertices)}"
    plain: dict[str, Any] = json.loads(json.dumps(values))
    return plain


def _listing(folder: Path) -> str:
    """Return a digest of the names and sizes of all files below a folder."""
    files = sorted((str(path.relative_to(folder)), path.stat().st_size) for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()


def _source() -> str:
    """Return a digest of the source that decides an event: that of the package ``shiftlab.events``."""
    total, root = hashlib.sha256(), Path(__file__).resolve().parents[1]
    for path in sorted(root.rglob("*.py")):
        total.update(f"{path.relative_to(root).as_posix()}\n".encode())
        total.update(path.read_bytes())
    return total.hexdigest()
