"""Our own particle-level body: a plain pre-norm transformer over the tokens of an event, the control of PET2.

It knows nothing of neighbours or pairs: what PET2 gains over it at equal size is due to those or to its pre-training.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from shiftlab.arms.body import Body
from shiftlab.arms.encoded import Encoded
from shiftlab.arms.ragged import Ragged
from shiftlab.arms.tokens.batch import TokenBatch
from shiftlab.arms.tokens.contract import TokenContract
from shiftlab.arms.tokens.features import encoded_tokens, standard_numbers, standard_values
from shiftlab.errors import ConfigError

__all__ = ["TokenTransformer"]

_FAR = 1e12
_WAVES = 16


class _Layer(nn.Module):
    """One pre-norm transformer layer; the last column of query and key tells tokens from places without one."""

    def __init__(self, width: int, heads: int, expansion: int) -> None:
        super().__init__()
        self.heads, self.head = heads, width // heads
        self.before = nn.LayerNorm(width)
        self.project = nn.Linear(width, heads * (3 * self.head - 2))
        self.join = nn.Linear(width, width)
        self.between = nn.LayerNorm(width)
        self.widen = nn.Linear(width, expansion * width)
        self.narrow = nn.Linear(expansion * width, width)

    def forward(self, x: Tensor, ragged: Ragged) -> Tensor:
        """Return (token, width) from the same shape."""
        columns = self.head - 1
        mixed = self.project(self.before(x)).unflatten(1, (self.heads, -1))
        query, key, value = mixed.split([columns, columns, self.head], dim=-1)
        query = functional.pad(query * columns**-0.5, (0, 1), value=1.0)
        nothing = functional.pad(x.new_full((1,), -_FAR), (columns, 0))
        seen = ragged.attend(query, functional.pad(key, (0, 1)), value, nothing)
        x = x + self.join(seen.flatten(1))
        out: Tensor = x + self.narrow(functional.gelu(self.widen(self.between(x))))
        return out


class TokenTransformer(Body):
    """The control of PET2: standardised columns, kinds and globals in; one feature vector per token out.

    Blank entries are marked, angles enter with their sine and cosine.
    """

    name = "token_transformer"
    input: ClassVar[Literal["images", "tokens"]] = "tokens"
    contract_type: ClassVar[Any] = TokenContract
    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {"width": 32, "depth": 2, "heads": 4, "expansion": 2},
        "small": {"width": 192, "depth": 9, "heads": 8, "expansion": 2},
    }

    def __init__(self, contract: TokenContract, *, width: int, depth: int, heads: int, expansion: int) -> None:
        """Make a body for tokens of the given contract.

        Args:
            contract: Units, columns and kinds of the tokens.
            width: Numbers per token.
            depth: Transformer layers.
            heads: Attention heads, a divisor of ``width``.
            expansion: Hidden over outer width of the feed-forward part.

        Raises:
            ConfigError: the heads do not divide the width.
        """
        super().__init__()
        if width % heads or width < 2 * heads:
            raise ConfigError(f"body '{self.name}': {heads} heads do not fit the width {width}.")
        self.contract: TokenContract = contract
        self._size = {"width": width, "depth": depth, "heads": heads, "expansion": expansion}
        self._angles = [i for i, unit in enumerate(contract.units) if unit == "rad"]
        numbers = len(contract.global_columns) + 1
        self.features = width
        self.overall_features = numbers
        self.register_buffer("frequency", torch.pi * 2.0 ** torch.linspace(-1, 5, _WAVES), persistent=False)
        self.enter = nn.Linear(2 * len(contract.columns) + 2 * len(self._angles), expansion * width)
        self.embed = nn.Linear(expansion * width, width)
        self.kind = nn.Embedding(max(len(contract.kinds), 1), width)
        self.event = nn.Linear(numbers, expansion * width)
        self.share = nn.Linear(expansion * width, width)
        self.noise = nn.Linear(2 * _WAVES, width, bias=False)
        self.layers = nn.ModuleList(_Layer(width, heads, expansion) for _ in range(depth))
        self.level = nn.LayerNorm(width)

    def plain(self) -> dict[str, Any]:
        """Return the constructor's keyword arguments."""
        return dict(self._size)

    def forward(self, batch: TokenBatch) -> Encoded:
        """Return the last layer of every token, and the standardised globals."""
        numbers = standard_numbers(batch, self.contract)
        x, ragged = self.embedded(batch, numbers), Ragged.of(batch.offsets)
        for layer in self.layers:
            x = layer(x, ragged)
        return encoded_tokens(self.level(x), batch, numbers)

    def embedded(self, batch: TokenBatch, numbers: Tensor) -> Tensor:
        """Return (token, width): tokens with their kind, their event's globals (event, global + 1) and its noise."""
        angle = batch.values[:, self._angles]
        columns = [standard_values(batch, self.contract), batch.valid.float(), angle.sin(), angle.cos()]
        own = self.embed(functional.gelu(self.enter(torch.cat(columns, dim=1)))) + self.kind(batch.kind)
        phase = batch.time[:, None] * self.get_buffer("frequency")
        shared = self.share(functional.gelu(self.event(numbers)))
        shared = shared + self.noise(torch.cat([phase.sin(), phase.cos() - 1], dim=1))
        total: Tensor = own + shared[batch.token_event]
        return total
