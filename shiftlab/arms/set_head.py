"""A head for the set of an event's particles: queries look over the tokens and mark their voxels, as in Mask2Former."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from shiftlab.arms.body import Body
from shiftlab.arms.encoded import Encoded
from shiftlab.tasks.set_loss import SetAnswer

__all__ = ["SetHead"]

_WAVELENGTHS = (256.0, 128.0, 64.0, 32.0, 16.0, 8.0)
"""cm; waves of a token's place about the event's centre."""


class _Layer(nn.Module):
    """Queries attend to the tokens of their event, then to one another, then each on its own; pre-norm."""

    def __init__(self, width: int, heads: int) -> None:
        """Make a layer of the given width."""
        super().__init__()
        self.before = nn.LayerNorm(width)
        self.look = nn.MultiheadAttention(width, heads, batch_first=True)
        self.between = nn.LayerNorm(width)
        self.share = nn.MultiheadAttention(width, heads, batch_first=True)
        self.after = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 2 * width)
        self.narrow = nn.Linear(2 * width, width)

    def forward(self, query: Tensor, tokens: Tensor, blank: Tensor) -> Tensor:
        """Return (event, query, width); ``tokens`` (event, length, width) count where ``blank`` is False."""
        asked = self.before(query)
        query = query + self.look(asked, tokens, tokens, key_padding_mask=blank, need_weights=False)[0]
        own = self.between(query)
        query = query + self.share(own, own, own, need_weights=False)[0]
        out: Tensor = query + self.narrow(functional.relu(self.widen(self.after(query))))
        return out


class SetHead(nn.Module):
    """Learned queries; each gives a mask over the voxels of its event and logits of a kind.

    A small relative of Panda's detector (arXiv:2512.01324) and Mask2Former (arXiv:2112.01527): queries attend to all
    tokens, without the restriction to their own mask, and only the last layer is trained on. Voxels are told apart by
    their token, their place in it and their energy, and by what the body says of single voxels where it does.
    """

    def __init__(
        self, body: Body, raw: int, queries: int = 24, width: int = 64, layers: int = 2, heads: int = 4
    ) -> None:
        """Make a head that gives ``raw`` logits (kinds, then no particle) for each of ``queries`` masks."""
        super().__init__()
        self.level = nn.LayerNorm(body.features)
        self.spread = nn.Linear(body.features, width)
        self.locate = nn.Linear(6 * len(_WAVELENGTHS), width)
        self.register_buffer("frequency", 2 * torch.pi / torch.tensor(_WAVELENGTHS), persistent=False)
        self.place = nn.Parameter(torch.randn(body.places, width) * 0.1)
        self.energy = nn.Parameter(torch.randn(width) * 0.1)
        self.single = nn.Linear(body.voxel_features, width) if body.voxel_features else None
        self.mark = nn.Linear(width, width)
        self.query = nn.Parameter(torch.randn(queries, width))
        self.whole = nn.Linear(body.overall_features, width)
        self.layers = nn.ModuleList(_Layer(width, heads) for _ in range(layers))
        self.settle = nn.LayerNorm(width)
        self.mask = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width + 1))
        self.kind = nn.Linear(width, raw)

    def forward(self, encoded: Encoded) -> SetAnswer:
        """Return masks and kinds. No event of the batch may be empty."""
        phase = (encoded.position[:, :, None] * self.get_buffer("frequency")).flatten(1)
        tokens = self.spread(self.level(encoded.tokens)) + self.locate(torch.cat([phase.sin(), phase.cos()], dim=1))
        padded, blank = _padded(tokens, encoded.offsets)
        query = self.query + self.whole(encoded.overall)[:, None]
        for layer in self.layers:
            query = layer(query, padded, blank)
        query = self.settle(query)
        marks, bias = self.mask(query).split([self.mark.out_features, 1], dim=-1)
        voxels = self._voxels(encoded, tokens)
        rows = torch.split(voxels, encoded.voxel_offsets.diff().tolist())
        masks = [one @ mark.T + level.T for one, mark, level in zip(rows, marks, bias, strict=True)]
        return SetAnswer(torch.cat(masks), self.kind(query), encoded.voxel_offsets)

    def _voxels(self, encoded: Encoded, tokens: Tensor) -> Tensor:
        """Return (voxel, width), scaled so that a product with a mark is about 1."""
        hidden = tokens.index_select(0, encoded.voxel_token) + self.place.index_select(0, encoded.place)
        hidden = torch.addcmul(hidden, encoded.value[:, None], self.energy)
        if self.single is not None and encoded.voxels is not None:
            hidden = hidden + self.single(encoded.voxels)
        marked: Tensor = self.mark(functional.relu(hidden)) * self.mark.out_features**-0.5
        return marked


def _padded(tokens: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Return (event, length, width) from (token, width), and bool (event, length), True where there is no token."""
    lengths = offsets.diff()
    padded = nn.utils.rnn.pad_sequence(list(torch.split(tokens, lengths.tolist())), batch_first=True)
    return padded, torch.arange(padded.shape[1], device=tokens.device)[None] >= lengths[:, None]
