"""Two-point variations of generation: the same vertices carried by another model, read and prepared when asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

from shiftlab.errors import ConfigError, DataError
from shiftlab.events.deposits import Deposits, concatenate

if TYPE_CHECKING:
    from shiftlab.detector.prepared import Prepared

__all__ = ["Twin", "Variations", "missing_variation"]

Twin: TypeAlias = Deposits | Callable[[], Deposits]
"""Deposits of the same events by another model (``shiftlab.events.pairs``), or what reads them when they are needed."""


@dataclass(frozen=True, eq=False)
class Variations(Mapping[str, "Prepared"]):
    """Twins of a batch of events, by the name of the effect that asks for them; each is prepared when first asked for.

    Attributes:
        nominal: the deposits that they are twins of; None where there is no twin.
        twins: by name of the effect.
        prepare: makes deposits ready for the detector.
        made: what was prepared so far.
        last: the last mixture, by name and choice of events, so that its image and its labels share it.
    """

    nominal: Deposits | None = None
    twins: Mapping[str, Twin] = field(default_factory=dict)
    prepare: Callable[[Deposits], Prepared] | None = None
    made: dict[str, tuple[Deposits, Prepared]] = field(default_factory=dict)
    last: dict[tuple[str, bytes], Prepared] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of twins."""
        return len(self.twins)

    def __iter__(self) -> Iterator[str]:
        """Give the names of the twins."""
        return iter(self.twins)

    def __getitem__(self, name: str) -> Prepared:
        """Return the twin events made ready.

        Raises:
            ConfigError: there is no twin of that name; the message says which key gives it.
            DataError: the twin is not of the same events.
        """
        return self._made(name)[1]

    def mixture(self, name: str, taken: Tensor) -> Prepared:
        """Return the events, those where ``taken`` (event,) is True from the twin, the others nominal.

        Raises:
            ConfigError: there is no twin of that name.
            DataError: the twin is not of the same events.
        """
        twin, prepared = self._made(name)
        if bool(taken.all()):
            return prepared
        key = (name, taken.cpu().numpy().tobytes())
        if key not in self.last:
            assert self.nominal is not None
            assert self.prepare is not None
            both = concatenate([self.nominal.to("cpu"), twin.to("cpu")], mix_revisions=True)
            row = torch.arange(len(taken)) + len(taken) * taken.cpu().to(torch.int64)
            self.last.clear()
            self.last[key] = self.prepare(both.take(row).to(taken.device))
        return self.last[key]

    def _made(self, name: str) -> tuple[Deposits, Prepared]:
        if name not in self.made:
            if name not in self.twins or self.nominal is None or self.prepare is None:
                raise missing_variation(name)
            given = self.twins[name]
            twin = given if isinstance(given, Deposits) else given()
            _refuse_other_events(name, self.nominal, twin)
            self.made[name] = twin, self.prepare(twin)
        return self.made[name]


def missing_variation(name: str) -> ConfigError:
    """Return the error of a universe that takes events from a paired file that is not given."""
    return ConfigError(
        f"effect {name} takes its events from a paired file, and none is given: set data.variations.{name}=FILE "
        f"(respond and Detector.prepare: variations={{'{name}': deposits}}), or leave the effect out."
    )


def _refuse_other_events(name: str, nominal: Deposits, twin: Deposits) -> None:
    """Refuse a twin whose events do not stand beside the nominal ones, one by one."""
    if not torch.equal(nominal.events.key, twin.events.key):
        raise DataError(
            f"variation {name}: its {len(twin)} events are not the {len(nominal)} nominal ones in their order; "
            "shiftlab.events.pair makes them so."
        )
    if nominal.missing != twin.missing or (nominal.electrons is None) != (twin.electrons is None):
        raise DataError(
            f"variation {name}: its file lacks {', '.join(twin.missing) or 'nothing'}, the nominal one "
            f"{', '.join(nominal.missing) or 'nothing'}; a difference in detail would look like one of models."
        )
