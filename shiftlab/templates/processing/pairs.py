"""The variations of a set of templates one by one, to be processed and put together again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from shiftlab.errors import DataError
from shiftlab.templates.processing.split import NormShape, norm_shape, yield_ratios
from shiftlab.templates.processing.symmetrise import Sides

if TYPE_CHECKING:
    from shiftlab.templates.templates import Templates

__all__ = ["Block", "Pair", "Sketch", "block_split", "blocks", "channel_numbers", "repack", "unpack"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Pair:
    """Both templates of one nuisance.

    Attributes:
        name: of the nuisance.
        origin: of the variation that it comes from.
        nuisance: of the detector, which several throws of a frozen map share.
        up: (sample, bin) at +1 sigma.
        down: (sample, bin) at -1 sigma.
        covariance: by channel, (sample, side, bin, side, bin) paired covariance of the shifts.
        truth: what the nuisance is where the variation's own value is z: ``odd`` z, ``linear`` |z|, ``quadratic``
            z^2 / sqrt(3); times ``loading``.
        loading: see ``truth``.
        says: what the sidecar says of it beyond what it says of the variation.
    """

    name: str
    origin: str
    nuisance: str
    up: Floats
    down: Floats
    covariance: Mapping[str, Floats]
    truth: str = "odd"
    loading: float = 1.0
    says: Mapping[str, Any] = field(default_factory=dict)

    def value(self, z: float) -> float:
        """Return the nuisance where the variation's own is z."""
        curve = {"odd": z, "linear": abs(z), "quadratic": z * z / np.sqrt(3.0)}[self.truth]
        return float(self.loading * curve)


@dataclass(frozen=True)
class Block:
    """One sample in one channel.

    Attributes:
        channel: name.
        sample: name.
        s: number of the sample.
        part: where the channel's bins lie.
    """

    channel: str
    sample: str
    s: int
    part: slice

    def take(self, t: Templates, pair: Pair) -> tuple[Floats, Floats, Floats, Floats]:
        """Return (bin,) nominal, up and down, and the covariance (side, bin, side, bin)."""
        nominal = t.nominal[self.s, self.part]
        return nominal, pair.up[self.s, self.part], pair.down[self.s, self.part], pair.covariance[self.channel][self.s]


class Sketch:
    """Templates of one pair that are replaced block by block."""

    def __init__(self, pair: Pair, start: Floats | None = None) -> None:
        """Start with the pair itself, or with ``start`` (sample, bin) on both sides and no variance."""
        self._pair = pair
        self._up, self._down = (pair.up.copy(), pair.down.copy()) if start is None else (start.copy(), start.copy())
        keep = 1.0 if start is None else 0.0
        self._covariance = {channel: keep * array for channel, array in pair.covariance.items()}

    def put(self, block: Block, sides: Sides) -> float:
        """Replace one block, and return what was cut."""
        self._up[block.s, block.part], self._down[block.s, block.part] = sides.up, sides.down
        self._covariance[block.channel][block.s] = sides.covariance
        return sides.cut

    def pair(self) -> Pair:
        """Return the pair as it is now."""
        return replace(self._pair, up=self._up, down=self._down, covariance=self._covariance)


def blocks(t: Templates) -> Iterator[Block]:
    """Yield every sample of every channel."""
    for channel in t.channels:
        for s, sample in enumerate(t.samples):
            yield Block(channel, sample, s, t.slice(channel))


def channel_numbers(t: Templates) -> Ints:
    """Return int64 (bin,): number of each bin's channel."""
    return np.repeat(np.arange(len(t.channels)), [len(t.edges[channel]) - 1 for channel in t.channels])


def unpack(t: Templates) -> list[Pair]:
    """Return one pair per nuisance."""
    known = t.record.get("variations", {})
    return [
        Pair(
            name,
            name,
            str(known.get(name, {}).get("nuisance", name)),
            t.up[k],
            t.down[k],
            {channel: t.covariance[channel][k] for channel in t.channels},
        )
        for k, name in enumerate(t.nuisances)
    ]


def repack(t: Templates, pairs: Sequence[Pair]) -> Templates:
    """Return ``t`` with these nuisances.

    Raises:
        DataError: two nuisances would have one name.
    """
    names = [pair.name for pair in pairs]
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"templates {t.name}: after processing two nuisances are called '{name}'; rename one.")
    given = t.record.get("variations", {})
    observations = {
        key: replace(
            one, nuisances={p.name: p.value(one.nuisances[p.origin]) for p in pairs if p.origin in one.nuisances}
        )
        for key, one in t.observations.items()
    }
    empty = np.empty((0, *t.nominal.shape))
    return replace(
        t,
        nuisances=tuple(names),
        up=np.stack([pair.up for pair in pairs]) if pairs else empty,
        down=np.stack([pair.down for pair in pairs]) if pairs else empty,
        covariance={c: np.stack([p.covariance[c] for p in pairs]) if pairs else t.covariance[c] for c in t.channels},
        observations=observations,
        record={**t.record, "variations": {p.name: {**given.get(p.origin, {}), **p.says} for p in pairs}},
    )


def block_split(t: Templates, k: int, block: Block) -> NormShape:
    """Return norm and shape of one nuisance in one block, as the workspace has them (``ProcessingSettings``)."""
    rows = t.nominal[block.s, block.part], t.up[k, block.s, block.part], t.down[k, block.s, block.part]
    norms = None
    if t.processing.norm_scope != "channel":
        number, c = channel_numbers(t), t.channels.index(block.channel)
        ratios = [yield_ratios(t.nominal, side[k], t.processing.norm_scope, number) for side in (t.up, t.down)]
        norms = (float(ratios[0][block.s, c]), float(ratios[1][block.s, c]))
    return norm_shape(*rows, norms=norms, minimum=t.processing.norm_minimum)
