"""The scores of a number's atoms and bins: a bell over their ranks, and what departs from it.

Bins have an order, which a softmax does not know: with a few values in each, none would ever learn. So every attribute
has a location and a precision on the scale of its ranks (a discretised Gaussian copula), to which free scores per bin
are added: prices that end in 9, sizes that come in powers of two. The location is also linear in the ranks of the other
numbers, as in chained equations (van Buuren, 2007).
"""

import numpy as np
import torch
from torch import nn

from attrgan.model.levels import piecewise
from attrgan.model.vocabulary import Numbers
from attrgan.schema import Schema


class NumericHead(nn.Module):
    """Scores of the bins of M numeric attributes."""

    may_read: torch.Tensor
    edges: torch.Tensor

    def __init__(self, schema: Schema, numbers: dict[str, Numbers], edges: torch.Tensor, width: int) -> None:
        super().__init__()
        names = list(numbers)
        self.free = nn.ModuleList(nn.Linear(width, len(n.value)) for n in numbers.values())
        self.bell = nn.Linear(width, 2)
        self.start = nn.Parameter(torch.zeros(len(names), 2))
        self.linear = nn.Parameter(torch.zeros(2, len(names), len(names)))
        apart = [[float(other not in schema.hidden_together[name]) for name in names] for other in names]
        self.register_buffer("may_read", torch.tensor(apart).reshape(len(names), len(names)), persistent=False)
        self.register_buffer("edges", edges, persistent=False)
        for i, n in enumerate(numbers.values()):
            self.register_buffer(f"ranks_{i}", torch.from_numpy(ranks(n.count)), persistent=False)

    def forward(self, queries: torch.Tensor, numbers: torch.Tensor, visible: torch.Tensor) -> list[torch.Tensor]:
        """Scores per attribute, float32 (B, bins), of queries float32 (B, M, D); the others as in `shift`."""
        shift = self.shift(numbers, visible)
        return [self.scores(i, queries[:, i], shift[:, i]) for i in range(len(self.free))]

    def shift(self, numbers: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
        """How far the other numbers move each location, float32 (B, M).

        Args:
            numbers: float32 (B, M); visible: bool (B, M), numbers that may be read.
        """
        if not len(self.free):
            return numbers
        inside = piecewise(numbers, self.edges)[..., :-1].mean(-1)  # the share of quantiles below the number
        seen = torch.stack([(inside - 0.5) * 12**0.5 * visible, visible.float()])
        return torch.einsum("kbm,kmn->bn", seen, self.linear * self.may_read)

    def scores(self, i: int, queries: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
        """Scores of the bins of the i-th attribute: queries float32 (…, D), shift (…,) → (…, bins)."""
        location, precision = (self.bell(queries) + self.start[i]).unbind(-1)
        location, precision = location + shift, precision.clamp(-3, 8).exp()
        distance = self.get_buffer(f"ranks_{i}") - location[..., None]
        return self.free[i](queries) - 0.5 * precision[..., None] * distance**2


def ranks(count: np.ndarray) -> np.ndarray:
    """float32 (K,): the middle rank of each bin's training values, of mean 0 and variance 1 over these."""
    total = max(int(count.sum()), 1)
    middle = (np.cumsum(count) - count / 2) / total - 0.5
    return (middle * 12**0.5).astype(np.float32)
