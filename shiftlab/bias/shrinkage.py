"""Shrinkage of a correlation matrix towards independent tasks, for inverses where universes are few."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shiftlab.bias.covariance import correlation, nearest_psd
from shiftlab.bias.joint_moments import Moments
from shiftlab.bias.statistic import Floats
from shiftlab.errors import ConfigError, DataError

__all__ = ["Shrunk", "advised", "ledoit_wolf", "schaefer_strimmer", "shrink", "shrink_moments"]


@dataclass(frozen=True)
class Shrunk:
    """Correlations drawn towards zero.

    Attributes:
        correlation: (task, task), (1 - intensity) rho + intensity 1; positive definite when intensity > 0.
        intensity: Between 0 (as measured) and 1 (independent tasks).
    """

    correlation: Floats
    intensity: float

    def covariance(self, variance: Floats) -> Floats:
        """Return the covariance of tasks with these variances (task,); variances are not shrunk."""
        root = np.sqrt(variance)
        return np.asarray(self.correlation * root[:, None] * root, dtype=np.float64)


def advised(universes: int, tasks: int) -> bool:
    """Return whether to shrink: fewer than 5 universes per task, or more than 10 tasks (convention)."""
    return universes < 5 * tasks or tasks > 10


def schaefer_strimmer(displacement: Floats) -> Shrunk:
    """Return the correlation of independent universes, shrunk with the estimated best intensity.

    Intensity = sum Var(r_ij) / sum r_ij^2 over i != j, with Var(r_ij) = n / (n - 1)^3 times the sum of squares of
    the products of standardised biases about their mean (Schaefer and Strimmer 2005, Stat. Appl. Genet. Mol.
    Biol. 4, 32, target D of table 2 on correlations). It takes the scales for known, so for strongly correlated tasks
    it overstates Var(r_ij) and shrinks too much; ``shrink_moments`` does not.

    Args:
        displacement: (universe, task), event noise included.

    Raises:
        DataError: fewer than 3 universes, or a task that does not move.
    """
    scaled, number = _standardised(displacement), len(displacement)
    products = scaled[:, :, None] * scaled[:, None, :]
    spread = ((products - products.mean(axis=0)) ** 2).sum(axis=0) * number / (number - 1.0) ** 3
    return shrink(scaled.T @ scaled / (number - 1.0), spread)


def ledoit_wolf(displacement: Floats) -> Shrunk:
    """Return the correlation of independent universes with the intensity of Ledoit and Wolf (2004).

    J. Multivar. Anal. 88, 365: the target is mu 1, mu the mean variance, which is 1 once the tasks are standardised.
    For strongly correlated tasks it shrinks too much.

    Args:
        displacement: (universe, task), event noise included.

    Raises:
        DataError: fewer than 3 universes, or a task that does not move.
    """
    number = len(displacement)
    scaled = _standardised(displacement) * np.sqrt(number / (number - 1.0))
    rho = scaled.T @ scaled / number
    distance = float(((rho - np.eye(len(rho))) ** 2).sum())
    noise = float(((scaled**2).sum(axis=1) ** 2).mean() - (rho**2).sum()) / number
    return _towards_identity(rho, 1.0 if distance == 0.0 else noise / distance)


def shrink(rho: Floats, variance: Floats) -> Shrunk:
    """Return correlations shrunk with intensity sum variance / sum rho^2 over pairs of tasks, cut off at 0 and 1.

    Args:
        rho: (task, task), unit diagonal.
        variance: (task, task), sampling variance of each correlation.
    """
    pairs = np.triu_indices(len(rho), 1)
    size = float((rho[pairs] ** 2).sum())
    return _towards_identity(rho, 1.0 if size == 0.0 else float(variance[pairs].sum()) / size)


def shrink_moments(moments: Moments) -> Shrunk:
    """Return the debiased correlation of joint universes, shrunk with the jackknife variance of each rho.

    Right for antithetic pairs and scramblings too, where the closed forms take universes for independent; seeds
    are averaged. The debiased matrix is made positive semi-definite first.

    Raises:
        ConfigError: the moments have no blocks of universes, so there is no sampling variance to shrink by.
        DataError: a task has no variance left once freed of event noise.
    """
    if not moments.blocks:
        raise ConfigError("one-nuisance universes are a catalogue and not a sample: shrinkage is for joint universes.")
    matrix, left_out = moments.estimate.mean(axis=0), moments.left_out.mean(axis=0)
    still = np.flatnonzero(np.diag(matrix) <= 0.0)
    if len(still):
        raise DataError(f"{_named(still)}: no variance over universes beyond event noise; leave them out.")
    scale = np.diag(moments.raw.mean(axis=0))
    each = correlation(nearest_psd(left_out, scale))
    return shrink(correlation(nearest_psd(matrix, scale)), (len(each) - 1.0) * each.var(axis=0))


def _towards_identity(rho: Floats, intensity: float) -> Shrunk:
    share = min(1.0, max(0.0, intensity))
    return Shrunk((1.0 - share) * rho + share * np.eye(len(rho)), share)


def _standardised(displacement: Floats) -> Floats:
    """Return biases (universe, task) with mean 0 and variance 1 over 1 / (n - 1)."""
    if len(displacement) < 3:
        raise DataError(f"{len(displacement)} joint universes: a shrunk correlation needs 3 or more.")
    centred = displacement - displacement.mean(axis=0)
    spread = centred.std(axis=0, ddof=1)
    still = np.flatnonzero(~(spread > 0.0))
    if len(still):
        raise DataError(f"{_named(still)}: the bias is the same in every universe, so it correlates with nothing.")
    return np.asarray(centred / spread, dtype=np.float64)


def _named(tasks: npt.NDArray[np.intp]) -> str:
    return "task number " + ", ".join(str(task) for task in tasks)
