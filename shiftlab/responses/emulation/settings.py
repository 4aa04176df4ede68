"""How universes are emulated, and how well that must agree with directly simulated ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shiftlab.errors import ConfigError

__all__ = ["EmulationSettings"]


@dataclass(frozen=True)
class EmulationSettings:
    """Form of the response to a nuisance, and the limits of closure.

    Attributes:
        form: ``quadratic``: odd z + even z^2 through one strength on both sides; ``interpolated``: piecewise linear
            through all ``anchors``. The first suits responses that bend smoothly; the second those that change side by
            side or in jumps (noise against a threshold, trees), where a squared jump would be carried too far.
        anchors: Strengths, in sigma, of the one-nuisance universes that the response is made from; universes of other
            strengths test it.
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

    form: Literal["quadratic", "interpolated"] = "quadratic"
    anchors: tuple[float, ...] = (1.0,)
    pairs: bool = False
    limit: float = 0.15
    event_limit: float | None = None
    floor: float = 0.5
    memory: float = 2e9

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        if self.form not in ("quadratic", "interpolated"):
            raise ConfigError(f"emulation.form = '{self.form}'; allowed: quadratic, interpolated.")
        if not self.anchors or any(not one > 0 for one in self.anchors) or len(set(self.anchors)) < len(self.anchors):
            raise ConfigError(f"emulation.anchors = {list(self.anchors)}; they are different strengths above 0.")
        if self.form == "quadratic" and len(self.anchors) > 1:
            raise ConfigError(
                f"emulation.anchors = {list(self.anchors)}: a quadratic response goes through one strength; take "
                "form 'interpolated' for several."
            )
        for key in ("limit", "event_limit", "memory"):
            value = getattr(self, key)
            if value is not None and not value > 0:
                raise ConfigError(f"emulation.{key} = {value}; it must be above 0.")
        if not self.floor >= 0:
            raise ConfigError(f"emulation.floor = {self.floor}; it must not be negative.")
