"""Fusion: one query per attribute, and one for the item, read the tokens of all levels.

As in Perceiver IO (Jaegle et al., 2022) only queries are transformed; tokens are read, and never read one another. Two
things follow. The cost grows with queries × tokens instead of tokens², and long texts stay cheap. And a query that may
not see its own attribute's token cannot learn its value from any other one, so that in training *every* known cell is
asked about in every pass (the query stream of XLNet, Yang et al., 2019), not only those that were hidden from all.
"""

import torch
from torch import nn
from torch.nn import functional as F


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

    def forward(self, queries: torch.Tensor, tokens: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        q = self.query(self.query_norm(queries)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = self.key_value(self.token_norm(tokens)).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        read = F.scaled_dot_product_attention(q, k, v, seen[:, None]).transpose(1, 2).flatten(2)
        queries = queries + self.dropout(self.out(read))
        return queries + self.dropout(self.feed_forward(self.norm(queries)))


class Fusion(nn.Module):
    """Layers of queries that read tokens."""

    def __init__(self, width: int, layers: int, heads: int, feed_forward: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(width, heads, feed_forward, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, queries: torch.Tensor, tokens: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """queries (B, Q, D), tokens (B, K, D), seen bool (B, Q, K) → (B, Q, D); every query sees at least one token."""
        for layer in self.layers:
            queries = layer(queries, tokens, seen)
        return self.norm(queries)
