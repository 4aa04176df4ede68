"""Emulated universes: joint universes made of the responses to single nuisances, without a pass of any network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import numpy as np
import xarray as xr

from shiftlab.detector import Universe
from shiftlab.errors import ConfigError, DataError, RunError
from shiftlab.provenance import digest_json
from shiftlab.responses.emulation.closure import Closure, refuse_open
from shiftlab.responses.emulation.compare import anchors, check_points, head_closure
from shiftlab.responses.emulation.curves import weights
from shiftlab.responses.emulation.gradient import Gradients
from shiftlab.responses.emulation.heads import Floats, Judge, judges, read_head
from shiftlab.responses.emulation.points import Points
from shiftlab.responses.emulation.sample import Sample
from shiftlab.responses.emulation.settings import EmulationSettings
from shiftlab.responses.emulation.slopes import Agreement, Slopes, by_arm, slopes_of
from shiftlab.responses.responses import Responses

__all__ = ["PREFIX", "Emulator", "emulate", "emulator"]

PREFIX: Final = "emulated_"
"""How the names of emulated universes begin."""

_PER_EVENT: Final = ("truth", "evaluated")
_UNKNOWN: Final = ("empty", "left_out")
"""Counts of a universe that only a simulation tells; a store with emulated universes has none."""


@dataclass(frozen=True)
class Emulator:
    """Responses whose universes may be combined to others, with the measured closure.

    Attributes:
        responses: The directly simulated universes.
        judges: The tasks that are emulated, by name.
        settings: Form of the response and limits.
        points: The universes of ``responses``.
        closures: Closure of every arm, seed and task.
        slopes: By arm, seed and task, derivatives that are used in place of some finite responses.
    """

    responses: Responses
    judges: Mapping[str, Judge]
    settings: EmulationSettings
    points: Points
    closures: tuple[Closure, ...]
    slopes: Mapping[tuple[str, int, str], Slopes] = field(default_factory=dict)

    @property
    def agreements(self) -> tuple[Agreement, ...]:
        """Every derivative beside the finite response to the same nuisance."""
        return tuple(one for slopes in self.slopes.values() for one in slopes.agreements)

    def bytes_per_universe(self) -> int:
        """Return the memory that one universe takes, over all arms, seeds and tasks."""
        total = 0
        for name in self.judges:
            size = self.responses.task(name).sizes
            total += size["arm"] * size["seed"] * size["event"] * (4 * size["output"] + 4 + 1)
        return total

    def blocks(self, universes: Sequence[Universe], size: int | None = None) -> Iterator[Responses]:
        """Give emulated universes in stores of ``size`` each, behind the nominal one; every event is in every store.

        Args:
            universes: What to emulate.
            size: Universes a store; as many as ``settings.memory`` allows when None.

        Raises:
            UnknownNameError: a universe displaces a nuisance that the responses do not have.
            DataError: a universe displaces a nuisance without unisims, or one that no closure was measured for.
        """
        asked = self._asked(universes)
        step = size or max(1, int(self.settings.memory / 4) // max(self.bytes_per_universe(), 1))
        for first in range(0, len(asked), step):
            rows = range(first, min(first + step, len(asked)))
            yield self._store(asked.take(list(rows)), (self.points.nominal,))

    def store(self, universes: Sequence[Universe], *, unisims: bool = True) -> Responses:
        """Return one store of all emulated universes, behind the nominal and, if wanted, the unisims they are made of.

        Raises:
            RunError: it would take more than ``settings.memory``; use ``blocks``.
            UnknownNameError: as for ``blocks``.
            DataError: as for ``blocks``, or a universe is among the unisims.
        """
        asked = self._asked(universes)
        words = sorted({"none", *asked.recalibrate})
        made_of = {u for word in words for u in anchors(self.points, self.settings, word)} if unisims else set()
        kept = (self.points.nominal, *sorted(made_of))
        needed = (len(asked) + len(kept)) * self.bytes_per_universe()
        if needed > self.settings.memory:
            raise RunError(
                f"{len(asked)} emulated universes take {needed / 1e9:.1f} GB, more than emulation.memory = "
                f"{self.settings.memory / 1e9:.1f} GB; take them in blocks (Emulator.blocks) or raise the limit."
            )
        self._refuse_kept(asked, kept)
        return self._store(asked, kept)

    def _asked(self, universes: Sequence[Universe]) -> Points:
        """Return the universes to emulate, whose nuisances all have been tested."""
        asked = self.points.asked(universes)
        tested = check_points(self.points, self.settings)
        covered = self.points.take(tested).value.any(axis=0)
        for i in np.flatnonzero(asked.value.any(axis=0) & ~covered):
            raise DataError(
                f"universe '{asked.names[int(np.flatnonzero(asked.value[:, i])[0])]}' displaces "
                f"'{asked.nuisances[i]}', but no universe that tests closure does; add it to a joint universe."
            )
        return asked

    def _refuse_kept(self, asked: Points, kept: Sequence[int]) -> None:
        """Refuse a universe that is in the store, directly simulated."""
        here = {(self.points.value[u].tobytes(), self.points.throw[u], self.points.recalibrate[u]): u for u in kept}
        for i in range(len(asked)):
            known = here.get((asked.value[i].tobytes(), asked.throw[i], asked.recalibrate[i]))
            if known is not None:
                raise DataError(
                    f"universe '{asked.names[i]}' is directly simulated: '{self.points.names[known]}'; leave it out."
                )

    def _store(self, asked: Points, kept: Sequence[int]) -> Responses:
        factors = weights(self.points, asked, self.settings)
        datasets = {name: self._dataset(name, asked, factors, kept) for name in self.judges}
        return Responses(datasets, self._attributes(asked))

    def _dataset(self, name: str, asked: Points, factors: Floats, kept: Sequence[int]) -> xr.Dataset:
        data, judge = self.responses.task(name), self.judges[name]
        grid = (data.sizes["arm"], data.sizes["seed"], len(kept) + len(asked), data.sizes["event"])
        output = np.empty((*grid, data.sizes["output"]), dtype=np.float32)
        observable = np.empty(grid, dtype=np.float32)
        nominal = self.points.nominal
        made_of = np.array(sorted({u for w in set(self.points.recalibrate) for u in self._anchors(w)}), dtype=np.int64)
        first = len(kept)
        for arm, seed in np.ndindex(grid[:2]):
            head = read_head(data, name, judge, arm, seed, nominal, made_of)
            output[arm, seed, :first] = head.direct[list(kept)]
            key = str(data["arm"].values[arm]), int(data["seed"].values[seed]), name
            head = replace(head, slopes=self.slopes.get(key))
            output[arm, seed, first:] = head.outputs(factors, asked)
            observable[arm, seed, first:] = _observable(judge, output[arm, seed, first:])
        rows = [*kept, *([nominal] * len(asked))]
        observable[:, :, :first] = data["observable"].values[:, :, list(kept)]
        over_events = ("arm", "seed", "universe", "event")
        return xr.Dataset(
            {
                "output": ((*over_events, "output"), output),
                "observable": (over_events, observable),
                "selected": (over_events, data["selected"].values[:, :, rows]),
                **{key: data[key].variable for key in _PER_EVENT},
            },
            coords=self._coordinates(data, asked, kept),
            attrs=data.attrs,
        )

    def _anchors(self, recalibrate: str) -> tuple[int, ...]:
        return anchors(self.points, self.settings, recalibrate)

    def _coordinates(self, data: xr.Dataset, asked: Points, kept: Sequence[int]) -> dict[str, Any]:
        points, rows = self.points, list(kept)
        own = {
            str(key): one.variable
            for key, one in data.coords.items()
            if "universe" not in one.dims and key not in _UNKNOWN
        }
        value = np.concatenate([data["nuisance_value"].values[rows], asked.value])
        group = [*(points.group[u] for u in rows), *asked.group]
        recalibrate = [*(points.recalibrate[u] for u in rows), *asked.recalibrate]
        throw = [*(points.throw[u] for u in rows), *asked.throw]
        scrambling = [*(points.scrambling[u] for u in rows), *asked.scrambling]
        return own | {
            "universe": [*(points.names[u] for u in rows), *(PREFIX + name for name in asked.names)],
            "group": ("universe", group),
            "throw": ("universe", np.array(throw, dtype=np.int64)),
            "scrambling": ("universe", np.array(scrambling, dtype=np.int64)),
            "recalibrate": ("universe", recalibrate),
            "nuisance_value": (("universe", "nuisance"), value),
            "emulated": ("universe", np.arange(len(rows) + len(asked)) >= len(rows)),
        }

    def _attributes(self, asked: Points) -> dict[str, Any]:
        """Return the identity of a store with emulated universes; it never is that of its source."""
        source = dict(self.responses.attrs)
        made = {
            "source_plan": source.pop("plan", None),
            "settings": {**asdict(self.settings), "anchors": list(self.settings.strengths)},
            "universes": list(asked.names),
            "values": digest_json([asked.nuisances, asked.value.tolist(), asked.throw, asked.recalibrate]),
            "beyond_tested": self._beyond(asked),
            "closure": [one.to_dict() for one in self.closures],
            **({"gradients": [one.to_dict() for one in self.agreements]} if self.slopes else {}),
        }
        return {**source, "emulated": made, "plan": digest_json({"emulated": made})}

    def _beyond(self, asked: Points) -> dict[str, int]:
        """Return, by nuisance, how many universes displace it by more than any directly simulated universe does."""
        count = (np.abs(asked.value) > self.points.largest() + 1e-9).sum(axis=0)
        return {name: int(n) for name, n in zip(self.points.nuisances, count, strict=True) if n}


def emulator(
    responses: Responses,
    *,
    tasks: Mapping[str, Judge] | Iterable[str] | None = None,
    settings: EmulationSettings | None = None,
    gradients: Sequence[Gradients] = (),
    refuse: bool = True,
) -> Emulator:
    """Return what emulates universes of ``responses``, after its closure was measured.

    Args:
        responses: Directly simulated universes: nominal, unisims, and universes that test them.
        tasks: Which tasks, by name, or name to task for a synthetic store; all by default.
        settings: Form of the response and limits; None for the defaults.
        gradients: Derivatives of some arms and seeds (``gradient.differentiate``), used where their mean over events
            is within 10% of the finite response. They take nothing in of how a response bends.
        refuse: False measures only; what it gives must then be judged by ``closures``.

    Raises:
        UnknownNameError: there is no such task.
        ConfigError: derivatives are given together with ``pairs``.
        DataError: no universes to make responses from or to test them with, or they do not agree.
    """
    settings = settings or EmulationSettings()
    if gradients and settings.pairs:
        raise ConfigError(
            "emulation.pairs = True: the terms of pairs are beyond finite responses; leave gradients out."
        )
    known = judges(responses.datasets, tasks)
    if not known:
        raise DataError("no task to emulate.")
    points = Points.of_store(responses.task(next(iter(known))))
    settings = settings.settled(points.unisim_strengths(), points.joint)
    check_points(points, settings)
    made_of = sorted({u for word in set(points.recalibrate) for u in anchors(points, settings, word)})
    closures, slopes, known_gradients = [], {}, by_arm(gradients)
    for name, judge in known.items():
        data = responses.task(name)
        columns = (data[key].values for key in ("evaluated", "truth", "weight", "vertex_uid"))
        sample = Sample.of_events(*columns)
        for arm, seed in np.ndindex(data.sizes["arm"], data.sizes["seed"]):
            head = read_head(data, name, judge, arm, seed, points.nominal, np.array(made_of, dtype=np.int64))
            names = str(data["arm"].values[arm]), int(data["seed"].values[seed]), name
            own = known_gradients.get(names[:2])
            if own is not None and name in own.value:
                slopes[names] = slopes_of(head, own, name, data["event"].values, sample, points, settings)
                head = replace(head, slopes=slopes[names])
            closures.append(head_closure(head, judge, sample, names, points, settings))
    if refuse:
        refuse_open(closures, settings)
    return Emulator(responses, known, settings, points, tuple(closures), slopes)


def emulate(
    responses: Responses,
    universes: Sequence[Universe],
    *,
    tasks: Mapping[str, Judge] | Iterable[str] | None = None,
    settings: EmulationSettings | None = None,
    gradients: Sequence[Gradients] = (),
    unisims: bool = True,
) -> Responses:
    """Return responses in universes that no network was run in, marked as emulated.

    The store holds the nominal universe, the unisims that the responses are made of (if wanted), and the emulated
    universes. These have names that begin with ``emulated_``, a coordinate ``emulated`` that is True, and a record in
    ``attrs["emulated"]`` with the measured closure. The analysis selection cannot be emulated: it is the nominal one
    in emulated universes, which therefore give biases, not templates.

    Args:
        responses: Directly simulated universes: nominal, unisims, and universes that test them.
        universes: What to emulate, say ``multisim(detector, 1000, seed=2)``.
        tasks: Which tasks, by name, or name to task for a synthetic store; all by default.
        settings: Form of the response and limits; None for the defaults.
        gradients: As for ``emulator``.
        unisims: Whether the unisims stay in the store, as the paired bias needs them.

    Raises:
        UnknownNameError: there is no such task or nuisance.
        DataError: closure cannot be measured, or the universes do not close.
        RunError: the store would take too much memory.
    """
    return emulator(responses, tasks=tasks, settings=settings, gradients=gradients).store(universes, unisims=unisims)


def _observable(judge: Judge, outputs: np.ndarray[Any, np.dtype[np.float32]]) -> Floats:
    """Return the observable of outputs (universe, event, output), universe by universe; parts of sums end at 0 here."""
    least = 0.0 if judge.output_scale == "sum" else None
    return np.stack([judge.observable(np.clip(one.astype(np.float64), least, None)) for one in outputs])
