"""The sub-command that sends events through a detector, in any universe: ``shiftlab record``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from shiftlab.errors import ConfigError, DataError, UnknownNameError

if TYPE_CHECKING:
    from shiftlab.detector import Detector, ScintillatorDetector, TokenDetector, Universe
    from shiftlab.events import BadEvent, Image, Tokens

__all__ = ["add"]

_DESCRIPTION = """\
Send the deposits of a file through a detector and write what it records: detector=minerva_like reconstructs tokens,
detector=pixel_lar or wire_lar gives images; with detector=minerva_tokens FILE holds tokens already, which are shifted.
OUT is a sample file of this project, which names the universe; tokens go to a file of minerva-ml where OUT ends in .pb
(held in memory until it is written). The same events, detector, seed and universe give the same for any batch."""

_STRIPS: Final = ("G4_POLYSTYRENE",)
_ARGON: Final = ("G4_lAr", "LAr")
"""Names of what a detector is made of; files that do not name their medium are taken at the user's word."""

_HANDED_ON = ("acknowledgement", "command", "licence", "limits", "recipe", "simulator", "sources")
"""What a sample of deposits says of itself that holds for its tokens as well."""

_OWN = ("detector", "batch", "origin", "nuisances", "throw", "recalibrate")


@dataclass(frozen=True)
class _Recording:
    """What the words on the command line ask for.

    Attributes:
        detector: that records.
        settings: its configuration as plain values.
        universe: in which it does.
        batch: events at a time.
        origin: subtracted from places, cm.
    """

    detector: Detector | ScintillatorDetector | TokenDetector
    settings: dict[str, Any]
    universe: Universe
    batch: int
    origin: tuple[float, float, float]


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the sub-command to the parser."""
    record = commands.add_parser(
        "record", parents=[common], help="send events through a detector, in any universe", description=_DESCRIPTION
    )
    record.add_argument("file", type=Path, help="deposits that say which particle made them (minerva_tokens: tokens)")
    record.add_argument("out", type=Path, help="images: NAME.h5; tokens: NAME.pb or NAME.h5")
    record.add_argument(
        "words",
        nargs="*",
        metavar="KEY=VALUE",
        help="detector=minerva_like batch=256 origin=[x,y,z] (cm, subtracted from places) seed=2 "
        "response.light_yield=6 toy.blob_energy=2 effects.pmt_crosstalk={}: keys of the detector's configuration; "
        "nuisances.light_yield_scale=1 (sigma) throw=0 recalibrate=none|mip|exact: the universe",
    )
    record.add_argument("--skip-bad", action="store_true", help="leave bad events out, and count and list them")
    record.set_defaults(action=_record)


def _record(given: argparse.Namespace) -> int:
    """Record a file and say how fast."""
    asked = _asked(given.words)
    from shiftlab.detector import Detector, TokenDetector
    from shiftlab.events import open_events

    images = isinstance(asked.detector, Detector)
    if images and given.out.suffix == ".pb":
        raise ConfigError(f"{given.out}: detector '{asked.detector.name}' gives images, which go to NAME.h5.")
    wanted = "tokens" if isinstance(asked.detector, TokenDetector) else "deposits"
    with open_events(given.file) as source:
        events = len(source)
        if source.holds != wanted:
            raise DataError(f"{given.file}: holds {source.holds}; detector '{asked.detector.name}' takes {wanted}.")
        said = source.describe().attributes
    made_of = _ARGON if images else _STRIPS
    material = said.get("material", made_of[0])
    if not material.startswith(made_of):
        raise DataError(f"{given.file}: deposits in {material}; this detector is made of {made_of[0]}.")
    bad: list[BadEvent] | None = [] if given.skip_bad else None
    started = time.monotonic()
    energy = {"all": 0.0, "outside": 0.0}
    pieces = _recorded(given.file, asked, events, bad, energy)
    made = {"detector": asked.settings, wanted: given.file.name, "universe": asked.universe.to_dict()}
    handed = {name: said[name] for name in _HANDED_ON if name in said}
    if given.out.suffix == ".pb":
        count, rows = _write_archive(given.out, pieces)
    else:
        count, rows = _write_sample(given.out, pieces, "images" if images else "tokens", made, handed)
    seconds = max(time.monotonic() - started, 1e-9)
    print(f"{given.out}: {count} events, {rows} {'cells' if images else 'tokens'}; {count / seconds:.0f} events/s")
    if wanted == "deposits":
        lost = energy["outside"] / max(energy["all"], 1e-9)
        where = "detector" if images else "strips"
        hint = "; is origin=[x,y,z] right?" if lost > 0.5 else ""
        print(f"{lost:.1%} of the energy lies outside the {where}{hint}")
    for one in bad or ():
        print(f"  left out event {one.number}: {one.reason}")
    return 0


def _asked(words: Sequence[str]) -> _Recording:
    """Return what the words ask for, every one of them checked."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from shiftlab.config import config_dir, options
    from shiftlab.detector import Detector, ScintillatorDetector, TokenDetector

    for word in words:
        if "=" not in word:
            raise ConfigError(f"'{word}' is given; key=value is wanted.")
    try:
        typed: Any = OmegaConf.to_container(OmegaConf.from_dotlist(list(words)))
    except (OmegaConfBaseException, ValueError) as error:
        raise ConfigError(f"{' '.join(words)}: {error}") from error
    own = {key: typed.pop(key) for key in _OWN if key in typed}
    name = str(own.get("detector", "minerva_like"))
    if name not in options("detector"):
        raise UnknownNameError("detector", name, options("detector"))
    declared = OmegaConf.load(config_dir() / "detector" / f"{name}.yaml")
    settings: Any = OmegaConf.to_container(OmegaConf.merge(declared, typed))
    batch = own.get("batch", 256)
    if not isinstance(batch, int) or batch < 1:
        raise ConfigError(f"batch={batch}: a whole number of events of at least 1 is wanted.")
    kind = ScintillatorDetector if "toy" in declared else Detector if "geometry" in declared else TokenDetector
    detector, universe = kind.from_config(settings), _universe(own)
    detector.check(universe)
    if kind is Detector and universe.recalibrate == "mip":
        raise ConfigError("recalibrate=mip: images need a muon sample for it, which `shiftlab run` takes; here: exact.")
    return _Recording(detector, settings, universe, batch, _origin(own.get("origin", [0.0, 0.0, 0.0])))


def _universe(own: Mapping[str, Any]) -> Universe:
    """Return the universe of the words ``nuisances``, ``throw`` and ``recalibrate``, named by what it displaces."""
    from shiftlab.detector import Universe

    shifts, throw = own.get("nuisances", {}), own.get("throw", 0)
    if not isinstance(shifts, dict) or not all(
        isinstance(one, int | float) and not isinstance(one, bool) for one in shifts.values()
    ):
        raise ConfigError(
            f"nuisances={shifts}: numbers of sigma by name are wanted, say nuisances.light_yield_scale=1."
        )
    if not isinstance(throw, int) or isinstance(throw, bool) or throw < 0:
        raise ConfigError(f"throw={throw}: a whole number of at least 0 is wanted.")
    recalibrate: Any = own.get("recalibrate", "none")
    name = ",".join(f"{one}{float(shifts[one]):+g}" for one in sorted(shifts)) or "nominal"
    name += (f"_throw{throw}" if throw else "") + ("" if recalibrate == "none" else f"_{recalibrate}")
    group: Any = "nominal" if not shifts else "unisim" if len(shifts) == 1 else "multisim"
    return Universe(name, tuple(shifts.items()), throw, recalibrate, group)


def _origin(value: Any) -> tuple[float, float, float]:
    if not isinstance(value, list) or len(value) != 3 or not all(isinstance(one, int | float) for one in value):
        raise ConfigError(f"origin={value}: three numbers are wanted, say origin=[-115,-115,-298] (cm).")
    x, y, z = (float(one) for one in value)
    return x, y, z


def _recorded(
    file: Path,
    asked: _Recording,
    events: int,
    bad: list[BadEvent] | None,
    energy: dict[str, float],
) -> Iterator[Tokens | Image]:
    """Give what is recorded batch by batch, with a bar on a terminal; ``energy`` gets all, and what lies outside."""
    from tqdm import tqdm

    from shiftlab.detector import Detector, TokenDetector
    from shiftlab.events import stream

    with tqdm(total=events, unit="event", desc=file.name, disable=not sys.stderr.isatty()) as bar:
        for piece in stream(file, origin=asked.origin, chunk=asked.batch, skipped=bad):
            if isinstance(asked.detector, TokenDetector):
                yield asked.detector.record(piece, asked.universe)
            else:
                if isinstance(asked.detector, Detector):
                    yield asked.detector.image(piece, asked.universe)
                else:
                    yield asked.detector.tokens(piece, asked.universe)
                inside = asked.detector.geometry.inside(piece.position)
                energy["all"] += float(piece.energy.double().sum())
                energy["outside"] += float(piece.energy[~inside].double().sum())
            bar.update(len(piece))


def _write_archive(out: Path, pieces: Iterator[Any]) -> tuple[int, int]:
    from shiftlab.events import concatenate_tokens
    from shiftlab.events.minerva_ml import write_minerva_ml

    tokens = concatenate_tokens(list(pieces))
    write_minerva_ml(out, tokens)
    return len(tokens), len(tokens.particle)


def _write_sample(
    out: Path,
    pieces: Iterator[Tokens | Image],
    holds: Literal["images", "tokens"],
    made: dict[str, Any],
    handed: dict[str, str],
) -> tuple[int, int]:
    """Write piece after piece; return the number of events, and of cells or tokens."""
    from shiftlab.events.sample import SampleWriter
    from shiftlab.provenance import canonical_json

    count = 0
    taken: dict[str, str | float | int] = {one: made[one] for one in ("deposits", "tokens") if one in made}
    said = {"detector": canonical_json(made["detector"]), "universe": canonical_json(made["universe"])}
    attributes: dict[str, str | float | int] = {**handed, **taken, **said}
    with SampleWriter(out, holds=holds, attributes=attributes, provenance={"recorded": made}) as writer:
        for piece in pieces:
            writer.append(piece)
            count += int(piece.offsets[-1])
        return len(writer), count
