"""Second moments of the biases over joint universes, freed of event noise, whole and with one block left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from shiftlab.bias.covariance import Systematic
from shiftlab.bias.multiway import CROSSED
from shiftlab.bias.statistic import Floats
from shiftlab.errors import ConfigError, DataError

__all__ = ["FEWEST_BLOCKS", "About", "Moments", "Sampling", "event_moments", "joint_moments", "loose_correlation"]

Sampling: TypeAlias = Literal["independent", "pairs", "scramblings"]
"""How joint universes were drawn: one by one, in antithetic pairs, or as independent scramblings of one Sobol set."""

About: TypeAlias = Literal["nominal", "mean"]
"""What the biases are measured from: the nominal universe, or their mean over universes."""

FEWEST_BLOCKS: Final[dict[Sampling, int]] = {"independent": 16, "pairs": 8, "scramblings": 8}
"""Fewest independent blocks that an interval over universes is made of: draws, pairs, scramblings."""

_BLOCK: Final[dict[Sampling, str]] = {
    "independent": "independent universe",
    "pairs": "antithetic pair",
    "scramblings": "independent Sobol scrambling",
}


@dataclass(frozen=True)
class Moments:
    """Debiased second moments of the tasks, with what their errors are made of.

    Attributes:
        estimate: (seed, task, task), freed of event noise; not yet positive semi-definite.
        raw: (seed, task, task), event noise included.
        left_out: (seed, block, task, task), the estimate without one block of universes; no block where the universes
            are a catalogue and not a sample (unisims).
        replicas: (seed, replica, task, task), event replicas, freed of event noise twice.
        crossed: (seed, some replicas, block, task, task), the first replicas without one block of universes: what
            events and universes share is measured on them, so that it counts once.
        draws: Number of independent draws of the nuisances, up to their sign: universes, or pairs; 0 without blocks.
        about: What the biases are measured from.
    """

    estimate: Floats
    raw: Floats
    left_out: Floats
    replicas: Floats
    crossed: Floats
    draws: int = 0
    about: About = "nominal"

    @property
    def blocks(self) -> int:
        """Number of independent blocks of universes; 0 where there is no sample of universes."""
        return int(self.left_out.shape[1])

    @property
    def reliability(self) -> Floats:
        """(task,): share of the raw variance that is not event noise, the least over seeds; 0 where nothing moves."""
        raw = np.diagonal(self.raw, axis1=-2, axis2=-1)
        debiased = np.diagonal(self.estimate, axis1=-2, axis2=-1)
        share: Floats = np.divide(debiased, raw, out=np.zeros_like(raw), where=raw > 0.0)
        return np.asarray(share.min(axis=0), dtype=np.float64)


def loose_correlation(matrices: Floats) -> Floats:
    """Return correlations of (..., task, task) not made positive semi-definite, so that they may exceed 1.

    0 where a variance is not positive.
    """
    root = np.sqrt(np.clip(np.diagonal(matrices, axis1=-2, axis2=-1), 0.0, None))
    norm = root[..., :, None] * root[..., None, :]
    return np.asarray(np.divide(matrices, norm, out=np.zeros_like(matrices), where=norm > 0.0), dtype=np.float64)


def event_moments(systematics: Sequence[Systematic]) -> Moments:
    """Return the moments of one-nuisance universes, one ``Systematic`` per seed; they have no blocks of universes."""
    estimate = np.stack([part.debiased for part in systematics])
    return Moments(
        estimate=estimate,
        raw=np.stack([part.raw for part in systematics]),
        left_out=np.empty((len(estimate), 0, *estimate.shape[1:])),
        crossed=np.empty((len(estimate), 0, 0, *estimate.shape[1:])),
        replicas=np.stack([part.replicas for part in systematics]),
    )


def joint_moments(
    displacement: Floats, blocks: Sequence[Sequence[int]], sampling: Sampling, about: About = "nominal"
) -> Moments:
    """Return the second moments of joint universes and their jackknife over blocks.

    About nominal the moment is the mean of b b^T. About the mean it is the mean covariance within blocks plus the
    covariance of the blocks' means over 1 / (n - 1), which is unbiased for single draws (the usual estimate), for
    antithetic pairs (odd part within, even part between) and for scramblings. Both are freed of event noise as
    2 S - mean S(replica), block by block, so that leaving a block out needs no second pass over the events.

    Args:
        displacement: (1 + replica, universe, task) or (seed, 1 + replica, universe, task); replica 0 the sample
            itself. Without replicas nothing is debiased.
        blocks: Numbers of the joint universes, block by block; all blocks are of one size.
        sampling: How they were drawn.
        about: What biases are measured from.

    Raises:
        ConfigError: ``sampling`` or ``about`` is not one of the known ones.
        DataError: there are too few blocks, they differ in size, a universe is in two, or a bias is not finite.
    """
    order = _checked(blocks, sampling, about)
    data = displacement[None] if displacement.ndim == 3 else displacement
    joint = np.ascontiguousarray(data[:, :, order])
    _refuse_not_finite(joint, order)
    tasks, (number, size) = joint.shape[-1], (len(blocks), len(blocks[0]))
    grouped = joint.reshape(*joint.shape[:2], number, size, tasks)
    if about == "nominal":
        total = _per_replica(grouped.reshape(*joint.shape[:2], number * size, tasks)) / (number * size)
        each = _per_block(grouped)
        debiased = each[:, 0].mean(axis=1)
        left_out = (each.sum(axis=2, keepdims=True) - each) / (number - 1)
    else:
        means = grouped.mean(axis=3)
        within, centred = grouped - means[:, :, :, None], means - means.mean(axis=2, keepdims=True)
        total = _per_replica(within.reshape(*joint.shape[:2], number * size, tasks)) / (number * size)
        total += _per_replica(centred) / (number - 1)
        inside, between = _per_block(within), _per_block(centred[:, :, :, None])
        debiased = inside[:, 0].mean(axis=1) + between[:, 0].sum(axis=1) / (number - 1)
        left_out = (inside.sum(axis=2, keepdims=True) - inside) / (number - 1)
        left_out += (between.sum(axis=2, keepdims=True) - between * (number / (number - 1))) / (number - 2)
    offset = total[:, 0] - debiased
    draws = number * size if sampling == "scramblings" else number
    freed = total[:, 1:] - 2.0 * offset[:, None]
    return Moments(debiased, total[:, 0], left_out[:, 0], freed, left_out[:, 1:], draws, about)


def _per_replica(values: Floats) -> Floats:
    """Return the sum over universes of b b^T, (seed, replica, task, task), of (seed, replica, universe, task)."""
    return np.asarray(np.swapaxes(values, -1, -2) @ values, dtype=np.float64)


def _per_block(grouped: Floats) -> Floats:
    """Return each block's mean of b b^T less event noise, and that of some replicas less twice the noise.

    Args:
        grouped: (seed, 1 + replica, block, universe of the block, task).

    Returns:
        (seed, 1 + some replicas, block, task, task).
    """
    seeds, replicas, number, size, tasks = grouped.shape
    few = grouped[:, : 1 + CROSSED]
    product: Floats = np.swapaxes(few, -1, -2) @ few / size
    if replicas == 1:
        return product
    columns = grouped[:, 1:].transpose(0, 2, 4, 1, 3).reshape(seeds, number, tasks, (replicas - 1) * size)
    replicated = columns @ np.swapaxes(columns, -1, -2) / ((replicas - 1) * size)
    noise = replicated - product[:, 0]
    product[:, 0] -= noise
    product[:, 1:] -= 2.0 * noise[:, None]
    return product


def _checked(blocks: Sequence[Sequence[int]], sampling: Sampling, about: About) -> npt.NDArray[np.int64]:
    """Return the universes in the order of their blocks, or say what is wrong with them."""
    if sampling not in FEWEST_BLOCKS:
        raise ConfigError(f"sampling '{sampling}' of joint universes is unknown; allowed: {', '.join(FEWEST_BLOCKS)}.")
    if about not in ("nominal", "mean"):
        raise ConfigError(f"biases about '{about}' are unknown; allowed: nominal, mean.")
    needed = FEWEST_BLOCKS[sampling]
    if len(blocks) < needed:
        raise DataError(
            f"{len(blocks)} {_BLOCK[sampling]}(s) of joint universes are too few for an interval over universes: "
            f"{needed} are needed. Draw {needed - len(blocks)} more."
        )
    sizes = sorted({len(block) for block in blocks})
    allowed = {"independent": sizes == [1], "pairs": sizes == [2], "scramblings": len(sizes) == 1 and sizes[0] > 1}
    if not allowed[sampling]:
        raise DataError(
            f"blocks of {', '.join(map(str, sizes))} joint universes cannot be of sampling '{sampling}': independent "
            "universes come alone, antithetic pairs by two, scramblings by one number above 1. Is a partner missing?"
        )
    order = np.array([universe for block in blocks for universe in block], dtype=np.int64)
    if len(np.unique(order)) != len(order):
        raise DataError("a joint universe is in two blocks; every universe may be counted once.")
    return order


def _refuse_not_finite(joint: Floats, order: npt.NDArray[np.int64]) -> None:
    bad = ~np.isfinite(joint)
    if bad.any():
        universe, task = (int(axis[0]) for axis in np.nonzero(bad.any(axis=(0, 1))))
        raise DataError(
            f"{int(bad[:, 0].sum())} biases over joint universes are not finite ({int(bad.sum())} with replicas); the "
            f"first is of universe number {int(order[universe])}, task number {task}."
        )
