"""A likelihood from a pyhf workspace and, where one lies beside it, the interpolation codes of its sidecar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from shiftlab.errors import ConfigError, DataError, UnknownNameError
from shiftlab.fit.likelihood.build import GAMMA_BOUNDS, NUISANCE_BOUNDS, Collected, place_gammas, stack_layers
from shiftlab.fit.likelihood.interpolation import NORM_CODES, SHAPE_CODES
from shiftlab.fit.likelihood.model import Channel, Likelihood

__all__ = ["from_workspace", "observed"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_TYPES: Final = ("histosys", "lumi", "normfactor", "normsys", "shapefactor", "shapesys", "staterror")
"""Modifier types in pyhf's order, which is also the order of the parameters."""

_KINDS: Final = {"histosys": "nuisance", "normsys": "nuisance"}

_DEFAULTS: Final[dict[str, dict[str, Any]]] = {
    "nuisance": {"initial": 0.0, "bounds": NUISANCE_BOUNDS, "width": 1.0},
    "lumi": {"initial": 1.0, "bounds": (0.0, 10.0)},
    "normfactor": {"initial": 1.0, "bounds": (0.0, 10.0)},
    "shapefactor": {"initial": 1.0, "bounds": (0.0, 10.0)},
    "shapesys": {"initial": 1.0, "bounds": GAMMA_BOUNDS, "centre": 1.0},
    "staterror": {"initial": 1.0, "bounds": GAMMA_BOUNDS, "centre": 1.0},
}


@dataclass(frozen=True)
class _Use:
    """One modifier on one sample of one channel."""

    channel: str
    sample: str
    kind: str
    process: int
    cells: Ints
    nominal: Floats
    data: Any

    @property
    def where(self) -> str:
        return f"channel '{self.channel}', sample '{self.sample}'"


def from_workspace(
    spec: Mapping[str, Any],
    *,
    measurement: str | None = None,
    codes: Mapping[str, str] | None = None,
    channels: Sequence[str] | None = None,
) -> Likelihood:
    """Return the likelihood of a workspace; parameters and bins come in pyhf's order.

    Args:
        spec: the workspace of pyhf's schema 1.0.0, read from its JSON.
        measurement: name of the measurement; None for the first.
        codes: interpolation code of ``normsys`` and of ``histosys``, which the workspace itself cannot hold;
            pyhf's defaults, code4 and code4p, where not given.
        channels: all channels in the order in which bins are wanted; by name, as in pyhf, if None.

    Raises:
        DataError: something in the workspace is not finite, negative, of the wrong length, given twice, or
            of a type that is not supported; the message names channel, sample and modifier.
        UnknownNameError: there is no such measurement or parameter of interest.
        ConfigError: an interpolation code is unknown.
    """
    chosen = {"normsys": "code4", "histosys": "code4p"} | dict(codes or {})
    for kind, code in chosen.items():
        allowed = {"normsys": NORM_CODES, "histosys": SHAPE_CODES}.get(kind, ())
        if code not in allowed:
            raise ConfigError(f"interpolation of {kind} = '{code}'; allowed: {', '.join(allowed) or 'none'}.")
    config = _measurement(spec, measurement)
    layout, nominal = _layout(spec, channels)
    uses = _uses(spec, layout, nominal)
    settings = _settings(config)
    found, places = _parameters(uses, settings)
    cells, none = nominal.size, len(found.names)
    gammas, mask, rest = place_gammas(nominal.shape[1], len(nominal), _binwise(uses, places, "staterror", "shapesys"))
    mask |= _padding(layout, nominal) & (gammas >= 0)
    free = _binwise(uses, places, "shapefactor")
    shape_index, odd, even = _shapes(uses, places, cells)
    norm_index, log_up, log_down = _norms(uses, places, len(nominal) * len(layout))
    scale_index, scale_mask = _scales(uses, places, len(nominal) * len(layout))
    poi = str(config.get("poi", ""))
    if poi and poi not in places:
        raise UnknownNameError("parameter of interest", poi, (n for _, n in uses))
    return Likelihood(
        name=str(config["name"]),
        channels=layout,
        parameters=found.freeze(),
        poi=int(places[poi][0]) if poi else None,
        nominal=nominal,
        shape_index=shape_index,
        odd=odd,
        even=even,
        shape_code=chosen["histosys"],
        norm_index=norm_index,
        log_up=log_up,
        log_down=log_down,
        norm_code=chosen["normsys"],
        scale_index=scale_index,
        scale_mask=scale_mask,
        layers=stack_layers(cells, none, [*rest, *free]),
        gamma_index=gammas,
        gamma_mask=mask,
    )


def observed(spec: Mapping[str, Any], model: Likelihood) -> Floats:
    """Return (bin,): the workspace's observations in the likelihood's bin order.

    Raises:
        DataError: a channel has none, or a count is negative, not finite, or one of too many or too few.
    """
    given = {entry["name"]: entry["data"] for entry in spec.get("observations", ())}
    parts = []
    for channel in model.channels:
        if channel.name not in given:
            raise DataError(f"workspace: channel '{channel.name}' has no observation.")
        parts.append(_finite(given[channel.name], channel.bins, f"observation of channel '{channel.name}'"))
    return np.concatenate(parts)


def _measurement(spec: Mapping[str, Any], name: str | None) -> dict[str, Any]:
    entries = {str(entry["name"]): entry["config"] for entry in spec.get("measurements", ())}
    if not entries:
        raise DataError("workspace: it has no measurement.")
    if name is None:
        name = next(iter(entries))
    if name not in entries:
        raise UnknownNameError("measurement", name, entries)
    return {"name": name, **entries[name]}


def _settings(config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for entry in config.get("parameters", ()):
        if entry["name"] in found:
            raise DataError(f"workspace: parameter '{entry['name']}' is configured twice.")
        found[entry["name"]] = entry
    return found


def _layout(spec: Mapping[str, Any], order: Sequence[str] | None) -> tuple[tuple[Channel, ...], Floats]:
    """Return the channels, by name or in a given order, and (slot, bin) nominal events."""
    entries = sorted(spec["channels"], key=lambda channel: str(channel["name"]))
    if order is not None and sorted(order) != [str(entry["name"]) for entry in entries]:
        raise DataError(f"workspace: its channels are not {', '.join(order)}.")
    layout = []
    for before, entry in zip([None, *entries], entries, strict=False):
        if before is not None and before["name"] == entry["name"]:
            raise DataError(f"workspace: there are two channels '{entry['name']}'.")
        names = sorted(str(sample["name"]) for sample in entry["samples"])
        if len(set(names)) < len(names):
            raise DataError(f"workspace: channel '{entry['name']}' has two samples of one name.")
        layout.append(Channel(str(entry["name"]), tuple(names), len(entry["samples"][0]["data"])))
    if order is not None:
        entries.sort(key=lambda entry: order.index(str(entry["name"])))
        layout.sort(key=lambda channel: order.index(channel.name))
    nominal = np.zeros((max(len(c.samples) for c in layout), sum(c.bins for c in layout)))
    first = 0
    for channel, entry in zip(layout, entries, strict=True):
        for sample in entry["samples"]:
            what = f"channel '{channel.name}', sample '{sample['name']}'"
            slot = channel.samples.index(sample["name"])
            nominal[slot, first : first + channel.bins] = _finite(sample["data"], channel.bins, what)
        first += channel.bins
    return tuple(layout), nominal


def _padding(layout: Sequence[Channel], nominal: Floats) -> npt.NDArray[np.bool_]:
    used = np.repeat([len(c.samples) for c in layout], [c.bins for c in layout])
    return np.asarray(np.arange(len(nominal))[:, None] >= used, dtype=np.bool_)


def _uses(spec: Mapping[str, Any], layout: Sequence[Channel], nominal: Floats) -> dict[tuple[str, str], list[_Use]]:
    """Return what each (type, name) acts on, in the order in which pyhf meets it."""
    samples = {(c["name"], s["name"]): s for c in spec["channels"] for s in c["samples"]}
    found: dict[tuple[str, str], list[_Use]] = {}
    bins, first = nominal.shape[1], 0
    for number, channel in enumerate(layout):
        for slot, sample in enumerate(channel.samples):
            entries = samples[channel.name, sample]["modifiers"]
            at = np.arange(first, first + channel.bins) + slot * bins
            seen = set()
            for entry in sorted(entries, key=lambda m: (str(m["name"]), str(m["type"]))):
                key = (str(entry["type"]), str(entry["name"]))
                use = _Use(
                    channel.name, sample, key[0], number * len(nominal) + slot, at, nominal.ravel()[at], entry["data"]
                )
                if key[0] not in _TYPES:
                    raise DataError(
                        f"workspace: {use.where}: modifier '{key[1]}' of type '{key[0]}' is not supported; "
                        f"supported: {', '.join(_TYPES)}."
                    )
                if key in seen:
                    raise DataError(f"workspace: {use.where}: {key[0]} '{key[1]}' is there twice.")
                seen.add(key)
                found.setdefault(key, []).append(use)
        first += channel.bins
    return found


def _parameters(
    uses: Mapping[tuple[str, str], list[_Use]], settings: Mapping[str, Mapping[str, Any]]
) -> tuple[Collected, dict[str, Ints]]:
    """Return the parameters in pyhf's order, and the positions of each name's parameters."""
    found = Collected()
    places: dict[str, Ints] = {}
    owner: dict[str, str] = {}
    for kind in _TYPES:
        names = [name for which, name in uses if which == kind]
        for name in sorted(names) if kind == "staterror" else names:
            word = _KINDS.get(kind, kind)
            if name in places:
                if owner[name] != word:
                    raise DataError(f"workspace: '{name}' is a {owner[name]} and a {word}; rename one of them.")
                continue
            owner[name] = word
            places[name] = _add(found, name, word, uses[kind, name], settings.get(name, {}))
    return found, places


def _add(found: Collected, name: str, kind: str, uses: list[_Use], given: Mapping[str, Any]) -> Ints:
    binned = kind in ("shapefactor", "shapesys", "staterror")
    rows = _rows(name, kind, uses)
    for key in ("inits", "bounds", "auxdata", "sigmas", "factors"):
        if key in given and len(given[key]) != len(rows):
            raise DataError(f"workspace: parameter '{name}' has {len(given[key])} {key}; {len(rows)} are needed.")
    if kind == "lumi" and not {"auxdata", "sigmas"} <= set(given):
        raise DataError(f"workspace: the measurement gives no auxdata and sigmas of '{name}'.")
    positions = []
    for i, row in enumerate(rows):
        if "inits" in given:
            row["initial"] = float(given["inits"][i])
        if "bounds" in given:
            row["bounds"] = tuple(map(float, given["bounds"][i]))
        if "fixed" in given:
            row["fixed"] = bool(given["fixed"])
        constrained = "width" in row or "tau" in row or kind == "lumi"
        for key in ("auxdata", "sigmas", "factors"):
            if key in given and not constrained:
                raise DataError(f"workspace: parameter '{name}' is not constrained; it can have no {key}.")
        if "sigmas" in given and "tau" not in row:
            row["width"] = float(given["sigmas"][i])
        if "factors" in given and "tau" in row:
            row["tau"] = float(given["factors"][i])
        if "auxdata" in given:
            row["centre"] = float(given["auxdata"][i]) / row.get("tau", 1.0)
        elif "tau" not in row and kind == "nuisance":
            row["centre"] = 0.0
        positions.append(found.add(f"{name}[{i}]" if binned else name, kind, **row))
    return np.array(positions, dtype=np.int64)


def _rows(name: str, kind: str, uses: list[_Use]) -> list[dict[str, Any]]:
    """Return the settings of each of a name's parameters before what the measurement changes."""
    default = _DEFAULTS[kind]
    if kind == "shapefactor":
        return [dict(default) for _ in range(max(len(use.cells) for use in uses))]
    if kind == "shapesys":
        if len(uses) > 1:
            raise DataError(f"workspace: shapesys '{name}' is on {uses[0].where} and on {uses[1].where}.")
        error = _finite(uses[0].data, len(uses[0].cells), f"{uses[0].where}, shapesys '{name}'")
        valid = (uses[0].nominal > 0.0) & (error > 0.0)
        tau = np.where(valid, uses[0].nominal, 1.0) ** 2 / np.where(valid, error, 1.0) ** 2
        return [{**default, "tau": float(t), "fixed": not ok} for t, ok in zip(tau, valid, strict=True)]
    if kind == "staterror":
        return [row for channel in dict.fromkeys(u.channel for u in uses) for row in _staterror(name, channel, uses)]
    return [dict(default)]


def _staterror(name: str, channel: str, uses: list[_Use]) -> list[dict[str, Any]]:
    inside = [use for use in uses if use.channel == channel]
    total = np.sum([use.nominal for use in inside], axis=0)
    errors = [_finite(u.data, len(u.cells), f"{u.where}, staterror '{name}'") for u in inside]
    relative = np.sqrt(np.square(errors).sum(axis=0)) / np.where(total > 0.0, total, np.inf)
    return [{**_DEFAULTS["staterror"], "width": float(r) if r > 0.0 else 1.0, "fixed": not r > 0.0} for r in relative]


def _binwise(
    uses: Mapping[tuple[str, str], list[_Use]], places: Mapping[str, Ints], *kinds: str
) -> list[tuple[Ints, Ints]]:
    """Return per modifier and channel (parameter, cell) of each cell that it scales."""
    found = []
    for wanted in kinds:
        for (kind, name), entries in uses.items():
            if kind != wanted:
                continue
            first = 0
            for channel in dict.fromkeys(use.channel for use in entries):
                cells = [use.cells for use in entries if use.channel == channel]
                positions = places[name][first : first + len(cells[0])]
                found.append((np.tile(positions, len(cells)), np.concatenate(cells)))
                if kind == "staterror":
                    first += len(cells[0])
    return found


def _shapes(
    uses: Mapping[tuple[str, str], list[_Use]], places: Mapping[str, Ints], cells: int
) -> tuple[Ints, Floats, Floats]:
    names = sorted((name for kind, name in uses if kind == "histosys"), key=lambda n: int(places[n][0]))
    acting = [(k, use) for k, name in enumerate(names) for use in uses["histosys", name]]
    whats = [f"{use.where}, histosys '{names[k]}'" for k, use in acting]
    up = _joined([use.data["hi_data"] for _, use in acting], acting, whats, "hi_data")
    down = _joined([use.data["lo_data"] for _, use in acting], acting, whats, "lo_data")
    odd, even = np.zeros((len(names), cells)), np.zeros((len(names), cells))
    if acting:
        rows = np.repeat([k for k, _ in acting], [len(use.cells) for _, use in acting])
        at = np.concatenate([use.cells for _, use in acting])
        odd[rows, at] = 0.5 * (up - down)
        even[rows, at] = 0.5 * (up + down) - np.concatenate([use.nominal for _, use in acting])
    return np.array([places[name][0] for name in names], dtype=np.int64), odd, even


def _norms(
    uses: Mapping[tuple[str, str], list[_Use]], places: Mapping[str, Ints], processes: int
) -> tuple[Ints, Floats, Floats]:
    names = sorted((name for kind, name in uses if kind == "normsys"), key=lambda n: int(places[n][0]))
    up, down = np.zeros((len(names), processes)), np.zeros((len(names), processes))
    for k, name in enumerate(names):
        for use in uses["normsys", name]:
            high, low = float(use.data["hi"]), float(use.data["lo"])
            if not (0.0 < high < np.inf and 0.0 < low < np.inf):
                raise DataError(
                    f"workspace: {use.where}, normsys '{name}': lo = {low}, hi = {high}; both must be positive."
                )
            up[k, use.process], down[k, use.process] = np.log(high), np.log(low)
    return np.array([places[name][0] for name in names], dtype=np.int64), up, down


def _scales(
    uses: Mapping[tuple[str, str], list[_Use]], places: Mapping[str, Ints], processes: int
) -> tuple[Ints, npt.NDArray[np.bool_]]:
    keys = [key for key in uses if key[0] in ("lumi", "normfactor")]
    mask = np.zeros((len(keys), processes), dtype=np.bool_)
    for k, key in enumerate(keys):
        mask[k, [use.process for use in uses[key]]] = True
    return np.array([places[name][0] for _, name in keys], dtype=np.int64), mask


def _joined(
    values: Sequence[Sequence[float]], acting: Sequence[tuple[int, _Use]], whats: Sequence[str], side: str
) -> Floats:
    """Return all templates one after the other: one conversion for all of them, the check of each only if it fails."""
    if all(len(v) == len(use.cells) for v, (_, use) in zip(values, acting, strict=True)):
        array = np.array(list(chain.from_iterable(values)), dtype=np.float64)
        if np.isfinite(array).all() and (array >= 0.0).all():
            return array
    for what, v, (_, use) in zip(whats, values, acting, strict=True):
        _finite(v, len(use.cells), f"{what} {side}")
    raise AssertionError("one of them is bad")


def _finite(values: Sequence[float], bins: int, what: str) -> Floats:
    array = np.array(values, dtype=np.float64)
    if array.shape != (bins,):
        raise DataError(f"workspace: {what} has {len(array)} entries; {bins} are needed.")
    bad = np.flatnonzero(~(np.isfinite(array) & (array >= 0.0)))
    if len(bad):
        raise DataError(f"workspace: {what}, bin {bad[0]} = {array[bad[0]]}; it must be finite and not negative.")
    return array
