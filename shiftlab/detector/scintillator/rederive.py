"""Everything that follows from a set of tokens, made again after a shift: order, aggregates and globals."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Literal

import torch
from torch import Tensor

from shiftlab.detector.medium import Value
from shiftlab.detector.scintillator.clusters import total
from shiftlab.detector.scintillator.event_globals import RECOIL, globals_of, remainder_of
from shiftlab.detector.scintillator.objects import rank
from shiftlab.detector.scintillator.token_kinematics import FourMomentum, four_momentum, with_four_momentum
from shiftlab.detector.scintillator.tokens import MOST
from shiftlab.errors import DataError
from shiftlab.events.minerva_ml.columns import COLUMNS, GLOBALS, KINDS
from shiftlab.events.tokens import Tokens, in_units

__all__ = ["keep_tokens", "rederived"]

_GROUP: Final = (0, 1, 2, 4, 4, 4, 3, 5)
"""Place in an event of each kind: muon, photons, blobs, their sum, prongs of all hypotheses, their sum."""

_GROUPS: Final = 6
_SUMS: Final = ((2, 3, MOST["blob"], 6), (4, 5, MOST["prong"], 7))
"""Group, group of its sum, most tokens, kind of the sum."""

_MASS: Final = GLOBALS.index("photon_pair_mass")
_RECOIL: Final = GLOBALS.index("log_hadron_recoil")


def rederived(before: Tokens, after: Tokens, recoil: Value = 1.0) -> Tokens:
    """Return ``after`` in order, aggregated and with globals that follow from its tokens.

    - Order (tokens of minerva-ml's kinds): photons, blobs and prongs by falling energy, each kind in the places that
      it had. An event whose file has them in another order keeps that order.
    - Aggregates: more than 20 blobs or 10 prongs become 19 or 9 and their sum, as the reconstruction does.
    - Globals: recoil and passive recoil are those of ``before`` times ``recoil``; the photon pair's mass, the sums
      by kind and the count of pion prongs follow from the tokens. The muon's fuzz, isolated blobs, outer detector and
      Michel electrons are no function of the tokens and stay. A global that does not change keeps its bits, and so
      does a recoil of exactly log 1, by which a file says that it left the column out.

    Args:
        before: Tokens before the shift, with the globals that belong to them.
        after: The same events after it.
        recoil: Factor on the hadronic recoil, one number or float64 (event,).

    Raises:
        DataError: the tokens have globals of another layout, which might follow from them in another way.
    """
    if before.kinds == KINDS:
        after = _within_limits(_in_order(before, after))
    if not before.global_columns:
        return after
    if before.global_columns != GLOBALS or before.columns != COLUMNS or before.kinds != KINDS:
        raise DataError(
            f"globals {', '.join(before.global_columns)} of these tokens may follow from their energies; known are the "
            "sixteen of minerva-ml. Leave the globals out, or shift the energy deposits instead."
        )
    return _with_globals(before, after, recoil)


def keep_tokens(tokens: Tokens, mask: Tensor) -> Tokens:
    """Return the tokens where ``mask``, bool (token,), is True; every event keeps its place, the globals stay."""
    counts = torch.bincount(tokens.event_index[mask], minlength=len(tokens))
    offsets = torch.zeros_like(tokens.offsets)
    torch.cumsum(counts, 0, out=offsets[1:])
    return replace(_rows(tokens, torch.nonzero(mask).squeeze(1)), offsets=offsets)


def _rows(tokens: Tokens, rows: Tensor) -> Tokens:
    return replace(
        tokens,
        features=tokens.features[rows],
        valid=tokens.valid[rows],
        particle=tokens.particle[rows],
        truth={name: value[rows] for name, value in tokens.truth.items()},
    )


def _slot(tokens: Tokens) -> Tensor:
    """Return int64 (token,): event and group in one number."""
    group = torch.tensor(_GROUP, device=tokens.particle.device)
    return tokens.event_index * _GROUPS + group[tokens.particle]


def _in_order(before: Tokens, after: Tokens) -> Tokens:
    """Return the tokens with those of each slot by falling energy, where they were so before."""
    ordered, slot = _falling(before), _slot(after)
    energy = torch.where(ordered[slot], after.column("log_E").detach(), 0.0)
    order = torch.argsort(energy, descending=True, stable=True)
    order = order[torch.argsort(slot[order], stable=True)]
    place = torch.argsort(slot, stable=True)
    rows = torch.empty_like(order)
    rows[place] = order
    return after if torch.equal(order, place) else _rows(after, rows)


def _falling(tokens: Tokens) -> Tensor:
    """Return bool (event * groups,): slots whose tokens are in order of falling energy."""
    slot, energy = _slot(tokens), tokens.column("log_E").detach()
    order = torch.argsort(slot, stable=True)
    slot, energy = slot[order], energy[order]
    rises = (energy[1:] > energy[:-1]) & (slot[1:] == slot[:-1])
    falling = torch.ones(len(tokens) * _GROUPS, dtype=torch.bool, device=slot.device)
    falling[slot[1:][rises]] = False
    return falling


def _within_limits(tokens: Tokens) -> Tokens:
    """Return the tokens with too many blobs or prongs of an event summed as the reconstruction sums them."""
    for group, summed, most, kind in _SUMS:
        slot = _slot(tokens)
        own = (slot % _GROUPS == group) | (slot % _GROUPS == summed)
        event = tokens.event_index
        crowded = own & (torch.bincount(event[own], minlength=len(tokens)) > most)[event]
        if bool(crowded.any()):
            tokens = _summed(tokens, crowded, most, kind)
    return tokens


def _summed(tokens: Tokens, crowded: Tensor, most: int, kind: int) -> Tokens:
    """Return the tokens with those of ``crowded``, bool (token,), kept or summed; an old sum counts as least."""
    rows = torch.nonzero(crowded).squeeze(1)
    momentum, energy = four_momentum(tokens)
    event, old = tokens.event_index[rows], tokens.particle[rows] == kind
    place = rank(event, torch.where(old, -1.0, energy[rows]))
    spare = rows[place >= most - 1]
    events, group = torch.unique(tokens.event_index[spare], return_inverse=True)
    # The sum takes the place and the other columns of the first that it swallows, then its own numbers.
    first = torch.full((len(events),), len(crowded), dtype=torch.int64, device=rows.device)
    first = first.scatter_reduce(0, group, spare, "amin")
    count = torch.bincount(group, minlength=len(events))[:, None]
    complete = total(tokens.valid[spare], group, len(events)) == count
    mean = total(tokens.features[spare], group, len(events)) / count
    features, valid, particle = tokens.features.clone(), tokens.valid.clone(), tokens.particle.clone()
    features[first], valid[first] = torch.where(complete, mean, 0.0).float(), complete
    particle[first] = kind
    momentum[first] = total(momentum[spare], group, len(events))
    energy[first] = total(energy[spare], group, len(events))
    changed = torch.zeros_like(crowded)
    changed[first] = True
    gone = torch.zeros_like(crowded)
    gone[spare] = True
    whole = with_four_momentum(
        replace(tokens, features=features, valid=valid, particle=particle), changed, FourMomentum(momentum, energy)
    )
    return keep_tokens(whole, changed | ~gone)


def _with_globals(before: Tokens, after: Tokens, recoil: Value) -> Tokens:
    old, new = in_units(before, "MeV"), in_units(after, "MeV")
    beyond, seen, left = remainder_of(old), _counted(old), _counted(new)
    shifted = replace(
        beyond,
        recoil=(beyond.recoil + seen) * recoil - left,
        passive=(beyond.passive + seen) * recoil - left,
    )
    first, known = globals_of(old.features, old.particle, old.event_index, beyond)
    second, then = globals_of(new.features, new.particle, new.event_index, shifted)
    changed = ~torch.isclose(first, second, rtol=2.5e-7, atol=0.0)
    changed[:, _RECOIL] &= before.globals[:, _RECOIL] != 0
    valid = before.global_valid.clone()
    appears = known[:, _MASS] != then[:, _MASS]
    valid[:, _MASS] = torch.where(appears, then[:, _MASS], valid[:, _MASS])
    changed[:, _MASS] |= appears
    unit: Literal["MeV", "GeV"] = "GeV" if "log(GeV)" in before.units else "MeV"
    numbers = in_units(replace(new, globals=second, global_valid=valid), unit).globals
    return replace(after, globals=torch.where(changed & valid, numbers, before.globals), global_valid=valid)


def _counted(tokens: Tokens) -> Tensor:
    """Return float64 (event,), MeV: energy of the tokens that the globals count into the recoil."""
    energy = tokens.column("log_E").double().exp()
    counted = torch.isin(tokens.particle, torch.tensor(RECOIL, device=energy.device))
    return total(energy * counted, tokens.event_index, len(tokens))
