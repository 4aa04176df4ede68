"""Choices that shape the templates beyond exposure and edges: bins, shares, held-out part, thin bins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from shiftlab.errors import ConfigError
from shiftlab.templates.binning import EmptyPolicy
from shiftlab.templates.partition import Overlap, check_overlap
from shiftlab.templates.processing.settings import ProcessingSettings

__all__ = ["TemplateSettings"]


@dataclass(frozen=True)
class TemplateSettings:
    """How events become templates.

    Attributes:
        bins: quantile bins of a channel whose edges are not given; 2 to 4 are usual.
        shares: share of the exposure per channel; equal when None.
        overlap: ``partition``: each event is in one channel, which a fit needs; ``propagation``: each is in all, to
            see channels move, without a claim on mu. ``joint`` and ``covariance`` are refused.
        holdout: fraction of the vertices that is in no template and serves as injected data.
        inject: universe of the injected data; when None, the first of the group ``injected``, else
            the first joint universe.
        partition_seed: key of the partition over channels and of the held-out part.
        empty: ``merge`` joins bins of fewer than ``minimum_effective`` effective Monte Carlo events
            with a neighbour; ``error`` keeps the edges and refuses bins that expect nothing; ``floor`` keeps the
            edges and raises what a sample expects in a bin to at least 1e-6 events.
        minimum_effective: see ``empty``.
        signal: sample whose strength mu is fitted; all other samples of the exposure are background. None takes the
            neutrino candidates (``build.SAMPLES``) alone, with nue_cc as the signal.
        processing: what is done to the variations.

    Raises:
        ConfigError: a value outside its range.
    """

    bins: int = 3
    shares: Mapping[str, float] | None = None
    overlap: Overlap = "partition"
    holdout: float = 0.2
    inject: str | None = None
    partition_seed: int = 0
    empty: EmptyPolicy = "merge"
    minimum_effective: float = 5.0
    signal: str | None = None
    processing: ProcessingSettings = field(default_factory=ProcessingSettings)

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        if self.bins < 1:
            raise ConfigError(f"templates.bins = {self.bins}; at least 1 is needed (2 to 4 are usual).")
        if not 0.0 <= self.holdout < 1.0:
            raise ConfigError(f"templates.holdout = {self.holdout}; a fraction of the vertices, from 0 to below 1.")
        if self.empty not in ("merge", "error", "floor"):
            raise ConfigError(f"templates.empty = '{self.empty}'; allowed: merge, error, floor.")
        check_overlap(self.overlap, self.shares)
        if not self.minimum_effective >= 0.0:
            raise ConfigError(f"templates.minimum_effective = {self.minimum_effective}; it must not be negative.")
