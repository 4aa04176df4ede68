"""The Point-Edge Transformer of OmniLearned (PET2), run by its own package, as a body for tokens.

Source: arXiv:2510.24066; package ``omnilearned`` 0.2.0. Its body embeds each particle with its K nearest ones in the
first two columns, joins learned class tokens, the globals and the noise level, and runs a transformer; its classifier
lets the class tokens look at the particles once more. Both are kept here, without the last matrix, which is a head's.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any, ClassVar, Final, Literal

import torch
from torch import Tensor, nn

from shiftlab.arms.body import Body
from shiftlab.arms.encoded import Encoded
from shiftlab.arms.tokens.batch import TokenBatch
from shiftlab.arms.tokens.contract import KINEMATICS, TokenContract
from shiftlab.arms.tokens.features import encoded_tokens, standard_numbers
from shiftlab.errors import ConfigError

__all__ = ["Pet2", "Pet2Size", "padded"]

_PT: Final = 2
_STEP: Final = 2.0**-23
"""What a log pT of exactly 0 becomes, a change of pT by 1e-7: the package takes 0 for a particle that is not there."""


def padded(values: Tensor, offsets: Tensor, length: int) -> Tensor:
    """Return (event, length, column): packed rows (token, column) with zeros after each event's last token."""
    lengths = offsets.diff()
    event = torch.repeat_interleave(torch.arange(len(lengths), device=values.device), lengths)
    place = torch.arange(len(values), device=values.device) - offsets[:-1][event]
    return values.new_zeros(len(lengths), length, *values.shape[1:]).index_put((event, place), values)


@dataclass(frozen=True)
class Pet2Size:
    """Numbers of the network; the names in brackets are the package's.

    Attributes:
        width: Numbers per token (``base_dim``).
        layers: Transformer layers of the body (``num_transformers``).
        head_layers: Layers of the neighbourhood embedding and of the classifier (``num_transformers_head``).
        heads: Attention heads (``num_heads``).
        class_tokens: Learned tokens that speak for the event (``num_tokens``).
        expansion: Hidden over outer width (``mlp_ratio``).
        neighbours: Nearest particles that the embedding of each looks at (``K``).
        coordinates: How many columns a distance is worked out of (``num_coord``).
        interaction: Pairs' log m^2, log dR and log kT as a bias of attention (``use_int``).
        local_interaction: The same inside neighbourhoods (``local_int``).
        first_kind: Number of the contract's first kind.
        dropout: In training, of attention and hidden layers (``attn_drop``, ``mlp_drop``).

    Raises:
        ConfigError: no network has such numbers.
    """

    width: int
    layers: int
    head_layers: int
    heads: int
    class_tokens: int = 4
    expansion: int = 2
    neighbours: int = 10
    coordinates: int = 2
    interaction: bool = True
    local_interaction: bool = True
    first_kind: int = 1
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what the package would stumble over."""
        counts = ("width", "layers", "head_layers", "heads", "class_tokens", "expansion", "neighbours", "coordinates")
        for name in counts:
            if getattr(self, name) < 1:
                raise ConfigError(f"body 'pet2': {name} is {getattr(self, name)}; it is 1 or more.")
        if self.width % self.heads:
            raise ConfigError(f"body 'pet2': width {self.width} cannot be shared by {self.heads} heads.")
        if self.coordinates > KINEMATICS or self.first_kind < 0 or not 0 <= self.dropout < 1:
            raise ConfigError(
                f"body 'pet2': coordinates {self.coordinates}, first_kind {self.first_kind}, dropout {self.dropout:g}; "
                f"allowed: at most {KINEMATICS}, at least 0, and [0, 1)."
            )

    def network(self, contract: TokenContract) -> nn.ModuleDict:
        """Return the package's untrained body and classifier, without its last matrix, for tokens of a contract.

        Raises:
            ConfigError: the package ``omnilearned`` is not installed.
        """
        extra, numbers = len(contract.columns) - KINEMATICS, len(contract.global_columns)
        whole = _package().PET2(
            KINEMATICS,
            use_int=self.interaction,
            local_int=self.local_interaction,
            conditional=numbers > 0,
            cond_dim=max(numbers, 1),
            pid=len(contract.kinds) > 1,
            pid_dim=len(contract.kinds) + self.first_kind,
            add_info=extra > 0,
            add_dim=max(extra, 1),
            mode="pretrain",
            num_classes=1,
            base_dim=self.width,
            num_transformers=self.layers,
            num_transformers_head=self.head_layers,
            num_tokens=self.class_tokens,
            num_heads=self.heads,
            mlp_ratio=self.expansion,
            mlp_drop=self.dropout,
            attn_drop=self.dropout,
            K=self.neighbours,
            num_coord=self.coordinates,
        )
        whole.classifier.out = nn.Identity()
        return nn.ModuleDict({"body": whole.body, "classifier": whole.classifier})


class Pet2(Body):
    """OmniLearned's body and classifier; one feature vector per particle, and the class tokens beside the globals.

    Blank entries are as the contract says, without a mark. Angles are not periodic in it. Kinds are numbered from
    ``first_kind``, since the package's embedding of 0 is fixed at zero. Dropout is that of the package's own trainer
    when asked for. Sizes small, medium and large are the package's own.

    Attributes:
        size: Its numbers.
        network: ``body`` and ``classifier`` of the package; parameter names are those of public checkpoints.
    """

    name = "pet2"
    input: ClassVar[Literal["images", "tokens"]] = "tokens"
    contract_type: ClassVar[Any] = TokenContract
    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {"width": 16, "layers": 2, "head_layers": 1, "heads": 2},
        "small": {"width": 128, "layers": 8, "head_layers": 2, "heads": 8},
        "medium": {"width": 512, "layers": 12, "head_layers": 2, "heads": 16},
        "large": {"width": 1024, "layers": 28, "head_layers": 4, "heads": 32},
    }

    def __init__(self, contract: TokenContract, **size: Any) -> None:
        """Make an untrained network for tokens of ``contract``; ``size`` is what ``Pet2Size`` takes.

        Raises:
            ConfigError: the package ``omnilearned`` is not installed, or no network has such numbers.
        """
        super().__init__()
        self.contract: TokenContract = contract
        self.size = Pet2Size(**size)
        self.features = self.size.width
        self.overall_features = len(contract.global_columns) + 1 + self.size.class_tokens * self.size.width
        self.network = self.size.network(contract)

    def plain(self) -> dict[str, Any]:
        """Return the constructor's keyword arguments."""
        return asdict(self.size)

    def forward(self, batch: TokenBatch) -> Encoded:
        """Return the body's particles, and beside the globals what the classifier makes of its class tokens."""
        latent, pooled = self.layers(batch)
        skipped = latent.shape[1] - self._length(batch)
        place = torch.arange(latent.shape[1] - skipped, device=batch.device)
        rows = latent[:, skipped:][place < batch.lengths[:, None]]
        return encoded_tokens(rows, batch, torch.cat([standard_numbers(batch, self.contract), pooled], dim=1))

    def layers(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        """Return what the package's body gives, and its classifier without the last matrix.

        Returns:
            (event, class tokens + noise level + globals + places, width), and (event, class tokens x width).
        """
        length = self._length(batch)
        momenta = torch.cat(
            [
                batch.momenta[:, :_PT],
                torch.where(batch.momenta[:, _PT : _PT + 1] == 0, _STEP, batch.momenta[:, _PT : _PT + 1]),
                batch.momenta[:, _PT + 1 :],
            ],
            dim=1,
        )
        latent: Tensor = self.network["body"](
            padded(momenta, batch.offsets, length),
            batch.numbers if self.contract.global_columns else None,
            padded(batch.kind + self.size.first_kind, batch.offsets, length),
            padded(batch.values[:, KINEMATICS:], batch.offsets, length) if self.contract.columns[KINEMATICS:] else None,
            batch.time,
        )
        pooled: Tensor = self.network["classifier"](latent)
        return latent, pooled

    def _length(self, batch: TokenBatch) -> int:
        """Places of an event: enough for the longest, and for the package to find its neighbours."""
        return max(int(batch.lengths.max()), self.size.neighbours + 1)


def _package() -> Any:
    """Return the module ``omnilearned.network``.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return import_module("omnilearned.network")
    except ImportError as error:
        raise ConfigError(
            f"body 'pet2' needs the package omnilearned ({error}). Install it: pip install 'shiftlab[peers]'."
        ) from error
