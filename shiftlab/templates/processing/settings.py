"""Choices of the processing; the defaults change templates only where the simulation asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from shiftlab.errors import ConfigError

__all__ = ["Correlation", "NormScope", "ProcessingSettings"]

NormScope = Literal["channel", "sample", "all"]
"""Where the yields are summed whose ratio is the norm: one channel and sample, one sample in all channels, all."""


def _fraction(key: str, value: float, *, low: float = 0.0, high: float = 1.0) -> None:
    if not low <= value <= high:
        raise ConfigError(f"templates.processing.{key} = {value}; it must be from {low:g} to {high:g}.")


def _one_of(key: str, value: str, *allowed: str) -> None:
    if value not in allowed:
        raise ConfigError(f"templates.processing.{key} = '{value}'; allowed: {', '.join(allowed)}.")


@dataclass(frozen=True)
class Correlation:
    """How one nuisance is correlated between channels, or between samples.

    Attributes:
        scheme: ``shared``: one parameter everywhere; ``per_channel``, ``per_sample``: independent ones; ``partial``:
            every two channels (or samples) have correlation ``rho``; ``group``: one parameter per group.
        rho: correlation of the scheme ``partial``.
        over: what ``partial`` and ``group`` divide: ``channel`` or ``sample``.
        groups: by name of a group its channels or samples; each must be in one group.

    Raises:
        ConfigError: a value that is not allowed.
    """

    scheme: Literal["shared", "per_channel", "per_sample", "partial", "group"] = "shared"
    rho: float = 1.0
    over: Literal["channel", "sample"] = "channel"
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what is not allowed."""
        _one_of("correlate.*.scheme", self.scheme, "shared", "per_channel", "per_sample", "partial", "group")
        _one_of("correlate.*.over", self.over, "channel", "sample")
        _fraction("correlate.*.rho", self.rho, low=-1.0)


@dataclass(frozen=True)
class ProcessingSettings:
    """What is done to the variations between the simulation and the workspace.

    Attributes:
        two_sided: ``keep`` leaves both sides as simulated; ``symmetrise`` makes both (up - down) / 2.
        same_side: what becomes of a variation whose sides move the same way by more than their errors, and whose even
            part is not noise: ``odd_even`` gives the even part a nuisance of its own, ``keep`` leaves it.
        same_side_p: probability of the even part's chi2 without an effect, below which it is not noise.
        even_response: what the even part is of: ``linear``, a response R z + Q |z|, or ``quadratic``, R z + Q z^2.
        one_sided: ``mirror``: the parameter that exists on one side only gets the mirror image, flagged;
            ``half_gaussian``: both signs of the nuisance give the simulated side.
        smooth: ``none``, ``penalised`` (with the variation's own covariance) or ``353qh`` (twice, blind to errors).
            A variation that is not significant is never smoothed.
        significance: probability of a variation's chi2 without an effect, below which it counts as significant.
        norm_scope: where the yield is split from the shape.
        norm_minimum: smallest relative change of the yield that is split off, on either side.
        shape_only: nuisances whose change of the yield, in ``norm_scope``, is dropped.
        prune: ``none``, or ``information``: drop a nuisance from a channel and sample where the fit does not notice.
        prune_each: largest relative change of sigma of mu, and of the bias in units of that sigma, of one that is
            dropped.
        prune_total: largest sum over all that are dropped.
        correlate: by nuisance, how it is correlated; the others are shared. Here and in ``shape_only`` the name of a
            frozen map's nuisance stands for all its throws.

    Raises:
        ConfigError: a value that is not allowed.
    """

    two_sided: Literal["keep", "symmetrise"] = "keep"
    same_side: Literal["odd_even", "keep"] = "odd_even"
    same_side_p: float = 0.01
    even_response: Literal["linear", "quadratic"] = "linear"
    one_sided: Literal["mirror", "half_gaussian"] = "mirror"
    smooth: Literal["none", "penalised", "353qh"] = "none"
    significance: float = 0.05
    norm_scope: NormScope = "channel"
    norm_minimum: float = 0.005
    shape_only: tuple[str, ...] = ()
    prune: Literal["none", "information"] = "none"
    prune_each: float = 1e-3
    prune_total: float = 1e-2
    correlate: Mapping[str, Correlation] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what is not allowed."""
        _one_of("two_sided", self.two_sided, "keep", "symmetrise")
        _one_of("same_side", self.same_side, "odd_even", "keep")
        _one_of("even_response", self.even_response, "linear", "quadratic")
        _one_of("one_sided", self.one_sided, "mirror", "half_gaussian")
        _one_of("smooth", self.smooth, "none", "penalised", "353qh")
        _one_of("norm_scope", self.norm_scope, "channel", "sample", "all")
        _one_of("prune", self.prune, "none", "information")
        for key in ("same_side_p", "significance", "norm_minimum", "prune_each", "prune_total"):
            _fraction(key, getattr(self, key))
