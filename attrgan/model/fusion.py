"""Fusion: one query per attribute, and one for the item, read the tokens of all levels.

As in Perceiver IO (Jaegle et al., 2022) only queries are transformed; tokens are read, and never read one another. Two
things follow. The cost grows with queries × tokens instead of tokens², and long texts stay cheap. And a query that may
not see its own attribute's token cannot learn its value from any other one, so that in training *every* known cell is
asked about in every pass (the query stream of XLNet, Yang et al., 2019), not only those that were hidden from all.
"""

from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import nn
from torch.nn import functional as F

Keys: TypeAlias = tuple[torch.Tensor, torch.Tensor]
"""Keys and values of the tokens in a layer, float32 (B, heads, K, D / heads) each."""


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int, feed_forward: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query_norm, self.token_norm, self.norm = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, feed_forward), nn.GELU(), nn.Dropout(dropout), nn.Linear(feed_forward, width)
        )
        self.dropout = nn.Dropout(dropout)

    def keys(self, tokens: torch.Tensor) -> Keys:
        k, v = self.key_value(self.token_norm(tokens)).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return k.contiguous(), v.contiguous()

    def forward(self, queries: torch.Tensor, keys: Keys, seen: torch.Tensor) -> torch.Tensor:
        return self._after(queries, self._read(self.query(self.query_norm(queries)), keys, seen))

    def of_cells(self, queries: torch.Tensor, keys: Keys, seen: torch.Tensor, cells: "Cells") -> torch.Tensor:
        """As `forward`, of some cells only: queries (n, D), seen bool (B, slots, K) → (n, D)."""
        asked = queries.new_zeros(*seen.shape[:2], queries.shape[1])
        asked[cells.row, cells.slot] = self.query(self.query_norm(queries))
        return self._after(queries, self._read(asked, keys, seen)[cells.row, cells.slot])

    def _read(self, q: torch.Tensor, keys: Keys, seen: torch.Tensor) -> torch.Tensor:
        q = q.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return F.scaled_dot_product_attention(q, *keys, seen[:, None]).transpose(1, 2).flatten(2)

    def _after(self, queries: torch.Tensor, read: torch.Tensor) -> torch.Tensor:
        queries = queries + self.dropout(self.out(read))
        return queries + self.dropout(self.feed_forward(self.norm(queries)))


@dataclass(frozen=True)
class Cells:
    """Some cells of B items, each of them once or, with other tokens withheld, several times.

    Attributes:
        row: int64 (n,), ascending, the item of each; slot: int64 (n,), the how-manieth of its item it is.
    """

    row: torch.Tensor
    slot: torch.Tensor

    @classmethod
    def of(cls, row: torch.Tensor, rows: int) -> "Cells":
        """The slots of cells of B = `rows` items; row int64 (n,), ascending."""
        counts = torch.bincount(row, minlength=rows)
        return cls(row, torch.arange(len(row)) - (counts.cumsum(0) - counts)[row])

    def spread(self, of_cells: torch.Tensor, rows: int) -> torch.Tensor:
        """What is said of each cell, bool (n, K), item by item: (B, slots, K); where there is no cell all is true."""
        slots = int(self.slot.max()) + 1 if len(self.slot) else 1
        spread = of_cells.new_ones(rows, slots, of_cells.shape[1])
        spread[self.row, self.slot] = of_cells
        return spread


class Fusion(nn.Module):
    """Layers of queries that read tokens."""

    def __init__(self, width: int, layers: int, heads: int, feed_forward: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(width, heads, feed_forward, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def keys(self, tokens: torch.Tensor) -> list[Keys]:
        """What the layers read of tokens (B, K, D)."""
        return [layer.keys(tokens) for layer in self._all()]

    def forward(self, queries: torch.Tensor, keys: list[Keys], seen: torch.Tensor) -> torch.Tensor:
        """queries (B, Q, D), seen bool (B, Q, K) → (B, Q, D); every query sees at least one token."""
        for layer, read in zip(self.layers, keys, strict=True):
            queries = layer(queries, read, seen)
        return self.norm(queries)

    def of_cells(self, queries: torch.Tensor, keys: list[Keys], seen: torch.Tensor, cells: Cells) -> torch.Tensor:
        """As `forward`, of n cells: queries (n, D), seen bool (n, K) → (n, D)."""
        seen = cells.spread(seen, len(keys[0][0]))
        for layer, read in zip(self._all(), keys, strict=True):
            queries = layer.of_cells(queries, read, seen, cells)
        return self.norm(queries)

    def _all(self) -> list[_Layer]:
        return [layer for layer in self.layers if isinstance(layer, _Layer)]
