"""Synthetic responses with known truth: outputs of made-up heads in made-up universes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

from shiftlab.responses import Responses

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """One universe of a synthetic store."""

    name: str
    group: str
    value: Mapping[str, float] = field(default_factory=dict)
    throw: int = 0
    recalibrate: str = "none"


NOMINAL = Row("nominal", "nominal")


def unisims(nuisances: Sequence[str], throws: Mapping[str, int] | None = None, recalibrate: str = "none") -> list[Row]:
    """Return the +1 and -1 sigma universes of each nuisance."""
    suffix = "" if recalibrate == "none" else f"_{recalibrate}"
    return [
        Row(f"{name}{sign:+d}_throw{throw}{suffix}", "unisim", {name: float(sign)}, throw, recalibrate)
        for name in nuisances
        for throw in range((throws or {}).get(name, 1))
        for sign in (1, -1)
    ]


def joints(nuisances: Sequence[str], pairs: int, seed: int) -> list[Row]:
    """Return antithetic pairs of joint universes, normal in every nuisance."""
    z = np.random.default_rng(seed).standard_normal((pairs, len(nuisances)))
    both = [side for pair in z for side in (pair, -pair)]
    return [
        Row(f"joint_{i:02d}", "multisim", dict(zip(nuisances, values.tolist(), strict=True)), throw=1000 + i // 2)
        for i, values in enumerate(both)
    ]


def dataset(
    outputs: Floats,
    rows: Sequence[Row],
    *,
    arms: Sequence[str] = ("foundation",),
    seeds: Sequence[int] = (0,),
    truth: Floats | None = None,
    vertex: npt.NDArray[np.int64] | None = None,
    weight: Floats | None = None,
    sample: Sequence[str] | None = None,
    evaluated: npt.NDArray[np.bool_] | None = None,
    key: npt.NDArray[np.int64] | None = None,
) -> xr.Dataset:
    """Return one task's dataset from outputs (arm, seed, universe, event, output)."""
    events = outputs.shape[3]
    nuisances = sorted({name for row in rows for name in row.value})
    count = np.arange(events, dtype=np.int64)
    return xr.Dataset(
        {
            "output": (("arm", "seed", "universe", "event", "output"), outputs),
            "observable": (("arm", "seed", "universe", "event"), outputs[..., 0]),
            "selected": (("arm", "seed", "universe", "event"), np.ones(outputs.shape[:4], dtype=np.bool_)),
            "truth": (("event", "truth_column"), np.zeros((events, 1)) if truth is None else truth),
            "evaluated": (("event",), np.ones(events, dtype=np.bool_) if evaluated is None else evaluated),
        },
        coords={
            "arm": list(arms),
            "seed": np.array(seeds, dtype=np.int64),
            "universe": [row.name for row in rows],
            "event": 10_000 + count if key is None else key,
            "nuisance": nuisances,
            "vertex_uid": (("event",), 7 * count if vertex is None else vertex),
            "weight": (("event",), np.ones(events) if weight is None else weight),
            "sample": (("event",), ["numu_cc"] * events if sample is None else list(sample)),
            "group": (("universe",), [row.group for row in rows]),
            "throw": (("universe",), np.array([row.throw for row in rows], dtype=np.int64)),
            "recalibrate": (("universe",), [row.recalibrate for row in rows]),
            "nuisance_value": (
                ("universe", "nuisance"),
                np.array([[row.value.get(name, 0.0) for name in nuisances] for row in rows]).reshape(len(rows), -1),
            ),
        },
        attrs={"statistic": "mean", "unit": "", "observable_label": "output"},
    )


@dataclass(frozen=True)
class Linear:
    """Heads whose output moves by R z + Q z^2, event by event with a known spread.

    Attributes:
        rows: The universes.
        odd: (nuisance, task), mean response R, in units of the nominal per-event spread.
        even: (nuisance, task), Q.
        events: Number of events.
        spread: Relative spread of the response from event to event, common to the tasks.
        jitter: Spread of the response that each task has of its own, around R.
    """

    rows: Sequence[Row]
    odd: Floats
    even: Floats
    events: int = 2000
    spread: float = 0.3
    jitter: float = 0.0

    def outputs(self, seed: int) -> Floats:
        """Return (task, universe, event); all tasks see the same events."""
        rng = np.random.default_rng(seed)
        nuisances = sorted({name for row in self.rows for name in row.value})
        base = rng.standard_normal((self.odd.shape[1], 1, self.events))
        factor = 1.0 + self.spread * rng.standard_normal((len(nuisances), 1, self.events))
        z = np.array([[row.value.get(name, 0.0) for name in nuisances] for row in self.rows])
        response = self.odd[:, :, None] * factor
        if self.jitter:
            response = response + self.jitter * rng.standard_normal(response.shape)
        linear = np.einsum("uk,kte->tue", z, response)
        square = np.einsum("uk,kt->tu", z**2, self.even)
        return np.asarray(base + linear + square[:, :, None], dtype=np.float64)

    def responses(self, seed: int) -> Responses:
        """Return a store of tasks t0, t1, ... with one arm and one seed."""
        outputs = self.outputs(seed)
        return Responses(
            {f"t{t}": dataset(one[None, None, :, :, None], self.rows) for t, one in enumerate(outputs)}, {}
        )


@dataclass(frozen=True)
class Toys:
    """What the tests of this room make synthetic stores of."""

    nominal: Row = NOMINAL
    row: type[Row] = Row
    linear: type[Linear] = Linear
    unisims: Callable[..., list[Row]] = unisims
    joints: Callable[..., list[Row]] = joints
    dataset: Callable[..., xr.Dataset] = dataset


@pytest.fixture(scope="session")
def toys() -> Toys:
    """The makers of synthetic stores."""
    return Toys()
