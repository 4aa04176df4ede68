"""How universes are emulated, and how well that must agree with directly simulated ones."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final, Literal

from shiftlab.errors import ConfigError

__all__ = ["EmulationSettings"]

_FIRST: Final = 1.0
_SECOND: Final = 2.0


@dataclass(frozen=True)
class EmulationSettings:
    """Form of the response to a nuisance, and the limits of closure.

    Attributes:
        form: ``quadratic``: odd z + even z^2 through one strength on both sides; ``interpolated``: piecewise linear
            through all ``anchors``. The first suits responses that bend smoothly; the second those that change side by
            side or in jumps (noise against a threshold, trees), where a squared jump would be carried too far.
            ``auto``: interpolated through one and two sigma where the responses hold unisims at two sigma, and joint
            universes that still test it, else quadratic through one.
        anchors: Strengths, in sigma, of the one-nuisance universes that the response is made from; universes of other
            strengths test it. None: one sigma, and for ``interpolated`` also two where it is there.
        pairs: Whether universes that displace two nuisances (of another group than multisim, say injected) give a term
            z_j z_k; else they test its absence.
        limit: Largest closure error of a task's statistic, relative to the size of its shift. Within 0.15 the variance
            of a shift is known to about 30%, like the prior of a detector parameter (a choice).
        event_limit: Largest closure error of outputs event by event, relative to the size of their displacements; None
            reports without a limit, since much of what single events do is chaotic and averages out.
        floor: Part of the statistical error of a task's statistic on these events below which the size of a shift does
            not matter: a smaller shift is compared with it in place of itself.
        memory: Most bytes of the responses that are held at once.

    Raises:
        ConfigError: a number that means nothing, or several anchors for a quadratic form.
    """

    form: Literal["auto", "quadratic", "interpolated"] = "auto"
    anchors: tuple[float, ...] | None = None
    pairs: bool = False
    limit: float = 0.15
    event_limit: float | None = None
    floor: float = 0.5
    memory: float = 2e9

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        if self.form not in ("auto", "quadratic", "interpolated"):
            raise ConfigError(f"emulation.form = '{self.form}'; allowed: auto, quadratic, interpolated.")
        if self.anchors is not None:
            self._check_anchors(self.anchors)
        for key in ("limit", "event_limit", "memory"):
            value = getattr(self, key)
            if value is not None and not value > 0:
                raise ConfigError(f"emulation.{key} = {value}; it must be above 0.")
        if not self.floor >= 0:
            raise ConfigError(f"emulation.floor = {self.floor}; it must not be negative.")

    def _check_anchors(self, anchors: tuple[float, ...]) -> None:
        given = f"emulation.anchors = {list(anchors)}"
        if not anchors or any(not one > 0 for one in anchors) or len(set(anchors)) < len(anchors):
            raise ConfigError(f"{given}; they are different strengths above 0.")
        if self.form != "interpolated" and len(anchors) > 1:
            raise ConfigError(
                f"{given}: a quadratic response goes through one strength; take form 'interpolated' for several."
            )

    def settled(self, strengths: Collection[float], joint: bool) -> EmulationSettings:
        """Return the settings with form and anchors chosen for responses that hold unisims of these strengths.

        Args:
            strengths: Sizes of the displacements of the one-nuisance universes, sigma.
            joint: Whether they hold universes that displace several nuisances.
        """
        both, form = {_FIRST, _SECOND} <= set(strengths), self.form
        if form == "auto":
            form = "interpolated" if both and joint and self.anchors is None else "quadratic"
        twice = form == "interpolated" and both
        return replace(self, form=form, anchors=self.anchors or ((_FIRST, _SECOND) if twice else (_FIRST,)))

    @property
    def strengths(self) -> tuple[float, ...]:
        """The anchors, one sigma where they are still open."""
        return self.anchors or (_FIRST,)
