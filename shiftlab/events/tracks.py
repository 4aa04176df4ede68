"""Truth labels of deposits, from the trajectories that made them, their parents and creator processes.

Semantic classes are PILArNet's (arXiv:2006.01993): shower 0, track 1, Michel 2, delta 3, low-energy 4.
The rules, for a particle of kinetic energy T at birth:

- track: muons; charged hadrons that are primary or have T >= 15 MeV (a proton's range is then about
  one 3 mm cell). Softer charged hadrons and nuclear recoils take their parent's class.
- Michel: e+- from the decay of a muon (free, or bound in an argon atom; T >= 1 MeV excludes Auger electrons).
- delta: e- knocked on by a muon, hadron or nucleus with T >= 2 MeV (a range of about three cells);
  softer ones belong to their parent.
- shower: primary e+- and gamma, decay products of mesons, and every charged fragment that a photon of
  theirs makes (Compton or photoelectric electron, or pair) with T >= 5 MeV.
- low-energy: softer fragments, everything that comes from neutrons and nuclei, and photons from nuclei.
  A soft fragment within 1 cm of a shower deposit, not made by a nuclear photon, belongs to the shower.
- e+- knocked on by e+- take their parent's class.

The particle id is that of the topmost electromagnetic ancestor for electrons and photons (so that a
whole shower has its initiator's), of the particle itself for all others; soft deltas take their parent's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from shiftlab.errors import DataError
from shiftlab.events.steps import Steps

__all__ = ["Labels", "Tracks", "attach_fragments", "circle", "label_tracks", "species"]

SHOWER, TRACK, MICHEL, DELTA, LOW_ENERGY = range(5)
INHERIT = -1

TRACK_KINETIC = 15.0
MICHEL_KINETIC = 1.0
DELTA_KINETIC = 2.0
FRAGMENT_KINETIC = 5.0
FRAGMENT_DISTANCE = 1.0

# Process names of Geant4 itself and the shorter ones that calzone gives.
_IONISATION = (b"Ionisation", b"eIoni", b"muIoni", b"hIoni", b"ionIoni")
_CONVERSION = (b"Conversion", b"conv")
_RADIATION = (b"Bremsstrahlung", b"eBrem", b"muBrems", b"hBrems", b"Annihilation", b"annihil", b"Decay")
_PAIRS = (b"PairProduction", b"muPairProd", b"hPairProd", b"ePairProd")
_NAMES = (*_IONISATION, *_CONVERSION, *_RADIATION, *_PAIRS)
_SPECIES = {22: 0, 11: 1, 13: 2, 211: 3, 2212: 4}
_NEUTRALS = (12, 14, 16, 111, 130, 221, 310, 311, 2112, 3122, 3212)


@dataclass(frozen=True)
class Tracks:
    """Particles of many events, one row each, in any order.

    Attributes:
        event: int64 (track,), index of the event.
        number: int64 (track,), unique in its event.
        parent: int64 (track,), number of the parent, 0 for primaries.
        pdg: int64 (track,).
        creator: bytes (track,), name of the Geant4 process.
        kinetic: float64 (track,), MeV at birth.
    """

    event: NDArray[np.int64]
    number: NDArray[np.int64]
    parent: NDArray[np.int64]
    pdg: NDArray[np.int64]
    creator: NDArray[np.bytes_]
    kinetic: NDArray[np.float64]

    def rows(self, event: NDArray[np.int64], number: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the row of each (event, number), or -1 where there is none; int64, like ``event``."""
        if len(self.number) == 0:
            return np.full(len(number), -1, dtype=np.int64)
        width = int(max(self.number.max(initial=0), number.max(initial=0))) + 1
        keys = self.event * width + self.number
        wanted = event * width + number
        # Rows that follow each other mostly name the same track: each run is looked up once.
        run = np.concatenate([[True], wanted[1:] != wanted[:-1]])[: len(wanted)]
        heads = wanted[run]
        if np.all(keys[1:] >= keys[:-1]):
            found = np.searchsorted(keys, heads).clip(max=len(keys) - 1)
        else:
            order = np.argsort(keys, kind="stable")
            found = order[np.searchsorted(keys, heads, sorter=order).clip(max=len(keys) - 1)]
        found = np.where((keys[found] == heads) & (number[run] >= 0), found, -1)
        return np.asarray(found[np.cumsum(run) - 1], dtype=np.int64)


@dataclass(frozen=True)
class Labels:
    """Labels of tracks, one row per track.

    Attributes:
        semantic: int8 (track,).
        particle: int8 (track,).
        fragment: int64 (track,), row of the track that began the particle or fragment.
        soft: bool (track,), True for soft electromagnetic fragments that may belong to a shower nearby.
        owner: int64 (track,), row of the track that ``particle`` is the id of.
    """

    semantic: NDArray[np.int8]
    particle: NDArray[np.int8]
    fragment: NDArray[np.int64]
    soft: NDArray[np.bool_]
    owner: NDArray[np.int64]


def species(pdg: NDArray[np.int64]) -> NDArray[np.int8]:
    """Return the particle ids of ``units.PARTICLES`` (int8) for PDG codes."""
    result = np.full(pdg.shape, 5, dtype=np.int8)
    for code, number in _SPECIES.items():
        result[np.abs(pdg) == code] = number
    return result


def label_tracks(tracks: Tracks) -> Labels:
    """Return the labels of tracks by the rules above; all but the distance rule of ``attach_fragments``.

    Raises:
        DataError: a particle is its own ancestor (``circle`` says which).
    """
    creator = _named(tracks.creator)
    parent = tracks.rows(tracks.event, tracks.parent)
    orphan = (parent < 0) | (tracks.parent == 0)
    parent = np.where(orphan, np.arange(len(parent)), parent)
    shower_like = np.isin(np.abs(tracks.pdg), (11, 22))
    under_shower = shower_like & shower_like[parent] & ~orphan
    nuclear = _nuclear_photons(tracks, creator, parent, orphan, under_shower)
    own = _own_semantic(tracks, creator, parent, orphan, nuclear)
    fragment = _resolve(np.where(own == INHERIT, parent, np.arange(len(parent))))
    semantic = own[fragment]
    knocked = shower_like & _among(creator, _IONISATION + _PAIRS) & (own == INHERIT)
    soft_recoil = ~shower_like & (own == INHERIT) & (semantic == TRACK)
    owner = _resolve(np.where(under_shower | knocked | soft_recoil, parent, np.arange(len(parent))))
    return Labels(
        semantic=semantic.astype(np.int8),
        particle=species(tracks.pdg)[owner],
        fragment=fragment,
        soft=(semantic == LOW_ENERGY) & shower_like[fragment] & ~nuclear[fragment],
        owner=owner,
    )


def attach_fragments(steps: Steps, labels: Labels) -> NDArray[np.int8]:
    """Return the semantic class of each step (int8), soft fragments near a shower counted with it."""
    semantic = labels.semantic[steps.track]
    soft = np.flatnonzero(labels.soft[steps.track])
    core = np.flatnonzero(semantic == SHOWER)
    if len(soft) == 0 or len(core) == 0:
        return semantic
    close = _near(steps, core, soft)
    near = np.zeros(len(labels.semantic), dtype=bool)
    near[labels.fragment[steps.track[soft[close]]]] = True
    attached = soft[near[labels.fragment[steps.track[soft]]]]
    semantic = semantic.copy()
    semantic[attached] = SHOWER
    return semantic


def circle(tracks: Tracks) -> int:
    """Return the row of a track that is its own ancestor, or -1 where there is none, as it must be."""
    parent = tracks.rows(tracks.event, tracks.parent)
    top = (parent < 0) | (tracks.parent == 0)
    pointer = np.where(top, np.arange(len(parent)), parent)
    for _ in range(len(parent).bit_length()):
        pointer = pointer[pointer]
    wrong = np.flatnonzero(~top[pointer])
    return int(wrong[0]) if len(wrong) else -1


def _near(steps: Steps, core: NDArray[np.int64], soft: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return bool (soft,): a ``core`` step of the same event has its midpoint within FRAGMENT_DISTANCE.

    Trees of single events are small and need not be balanced: half the time of one tree for all.
    """
    core = core[np.argsort(steps.event[core], kind="stable")]
    order = np.argsort(steps.event[soft], kind="stable")
    result = np.zeros(len(soft), dtype=bool)
    here, there = (0.5 * (steps.start[rows] + steps.end[rows]) for rows in (soft[order], core))
    events = np.unique(steps.event[core])
    bounds = [np.searchsorted(steps.event[rows], [events, events + 1]).T for rows in (soft[order], core)]
    for (first, last), (begin, end) in zip(*bounds, strict=True):
        if last > first:
            tree = cKDTree(there[begin:end], balanced_tree=False, compact_nodes=False)
            distance, _ = tree.query(here[first:last], distance_upper_bound=FRAGMENT_DISTANCE)
            result[order[first:last]] = np.isfinite(distance)
    return result


def _named(creator: NDArray[np.bytes_]) -> NDArray[np.int8]:
    """Return int8 (track,): the place of each creator in _NAMES, or -1."""
    result = np.full(len(creator), -1, dtype=np.int8)
    for place, name in enumerate(_NAMES):
        result[creator == name] = place
    return result


def _among(creator: NDArray[np.int8], names: tuple[bytes, ...]) -> NDArray[np.bool_]:
    """Return bool (track,): whether each creator (place in _NAMES) is one of ``names``."""
    chosen = np.zeros(len(_NAMES) + 1, dtype=bool)  # the last row is for -1
    chosen[[_NAMES.index(name) for name in names]] = True
    return np.asarray(chosen[creator], dtype=bool)


def _resolve(pointer: NDArray[np.int64]) -> NDArray[np.int64]:
    """Follow pointers until each row points at one that points at itself; each round doubles the way."""
    for _ in range(len(pointer).bit_length() + 1):
        further = pointer[pointer]
        if np.array_equal(further, pointer):
            return pointer
        pointer = further
    raise DataError("a particle is its own ancestor.")


def _nuclear_photons(
    tracks: Tracks,
    creator: NDArray[np.int8],
    parent: NDArray[np.int64],
    orphan: NDArray[np.bool_],
    under_shower: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Return bool (track,): electromagnetic tracks that descend from a nucleus' photon or electron."""
    radiated = _among(creator, _RADIATION + _IONISATION + _PAIRS)
    from_photon = (tracks.pdg == 22) & (tracks.pdg[parent] == 22)
    head = ~under_shower | from_photon
    bound_decay = (np.abs(tracks.pdg) == 11) & (np.abs(tracks.pdg[parent]) == 13) & (tracks.kinetic >= MICHEL_KINETIC)
    own = head & ~radiated & ~orphan & ~bound_decay
    top = _resolve(np.where(head, np.arange(len(parent)), parent))
    return np.asarray(own[top], dtype=bool)


def _own_semantic(
    tracks: Tracks,
    creator: NDArray[np.int8],
    parent: NDArray[np.int64],
    orphan: NDArray[np.bool_],
    nuclear: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """Return int64 (track,): the class that a track begins, or INHERIT."""
    code, above = np.abs(tracks.pdg), np.abs(tracks.pdg)[parent]
    kinetic = tracks.kinetic
    electron, photon = code == 11, code == 22
    knocked = _among(creator, _IONISATION)
    heavy = ~np.isin(above, (11, 22))
    result = np.full(len(code), LOW_ENERGY, dtype=np.int64)
    hadron = ~electron & ~photon & ~np.isin(code, _NEUTRALS)
    result[hadron & ~orphan] = np.where(heavy, INHERIT, LOW_ENERGY)[hadron & ~orphan]
    result[hadron & (code < 10**9) & (orphan | (kinetic >= TRACK_KINETIC))] = TRACK
    result[code == 13] = TRACK
    fragment = electron & (above == 22) & ~nuclear & (_fragment_kinetic(tracks, creator, parent) >= FRAGMENT_KINETIC)
    pair = electron & _among(creator, _PAIRS)
    result[fragment | (pair & (kinetic >= FRAGMENT_KINETIC))] = SHOWER
    result[pair & (kinetic < FRAGMENT_KINETIC)] = INHERIT
    result[electron & _among(creator, (b"Decay",))] = SHOWER
    result[electron & (above == 11) & ~orphan] = INHERIT
    result[electron & knocked & heavy] = np.where(kinetic >= DELTA_KINETIC, DELTA, INHERIT)[electron & knocked & heavy]
    michel = electron & (above == 13) & ~knocked & ~pair & ~orphan
    result[michel] = np.where(kinetic >= MICHEL_KINETIC, MICHEL, LOW_ENERGY)[michel]
    result[electron & orphan] = SHOWER
    return result


def _fragment_kinetic(tracks: Tracks, creator: NDArray[np.int8], parent: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return float64 (track,), MeV: kinetic energy, summed over both legs of a pair."""
    pair = _among(creator, _CONVERSION)
    total = np.bincount(parent[pair], weights=tracks.kinetic[pair], minlength=len(parent))
    return np.where(pair, total[parent], tracks.kinetic)
