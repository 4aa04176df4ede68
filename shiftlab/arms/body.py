"""A body: the network part that all heads of a model share, with the contract of its input."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from torch import nn

from shiftlab.arms.contract import InputContract
from shiftlab.arms.encoded import Encoded
from shiftlab.errors import ConfigError, UnknownNameError

__all__ = ["Body"]


class Body(nn.Module, ABC):
    """Events in, features out; one file in ``arms/bodies`` each.

    Attributes:
        name: Name in configs and checkpoints.
        input: What it looks at.
        sizes: Named sizes, each the keyword arguments of the constructor besides the contract.
        features: Numbers per token of ``Encoded.tokens``.
        overall_features: Numbers per event of ``Encoded.overall``.
        voxel_features: Numbers per voxel of ``Encoded.voxels``; 0 if it has none.
        places: Places that are told apart inside a token.
        contract_type: Class of its contract; its ``from_plain`` reads what a checkpoint holds.
        contract: What its input must be.
    """

    name: ClassVar[str]
    input: ClassVar[Literal["images", "tokens"]] = "images"
    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    features: int
    overall_features: int
    voxel_features: int = 0
    places: int = 1
    contract_type: ClassVar[Any] = InputContract
    contract: Any

    @abstractmethod
    def forward(self, batch: Any) -> Encoded:
        """Return the features of a batch of events, none of which is empty."""

    @abstractmethod
    def plain(self) -> dict[str, Any]:
        """Return the size, the constructor's keyword arguments besides the contract, as a JSON value."""

    @classmethod
    def fresh(cls, size: str | Mapping[str, Any], contract: Any) -> Self:
        """Return an untrained body of a named size, or of the size that ``plain`` described.

        Raises:
            UnknownNameError: there is no such size.
            ConfigError: the numbers do not make a body.
        """
        if isinstance(size, str):
            if size not in cls.sizes:
                raise UnknownNameError(f"size of body '{cls.name}'", size, cls.sizes)
            size = cls.sizes[size]
        try:
            return cls(contract=contract, **size)
        except TypeError as error:
            raise ConfigError(f"body '{cls.name}' cannot be made of {dict(size)}: {error}.") from error
