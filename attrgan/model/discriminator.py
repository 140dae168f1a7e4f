"""The discriminator: judges cells, not rows, because complete real rows are rare.

It reads the fused context of an item, the values of its other cells and the value under judgement, and is told which
cells are judged. As the hint of GAIN (Yoon et al., 2018), only some of the hidden cells are judged in a pass: the
others show their true values, so that D must look at how a value fits its neighbours.
"""

import torch
from torch import nn


class Discriminator(nn.Module):
    """D(x | context): one logit per cell, that its value is real."""

    def __init__(self, attributes: int, width: int) -> None:
        super().__init__()
        self.name = nn.Parameter(torch.randn(attributes, width) * 0.1)
        self.judged = nn.Parameter(torch.randn(width) * 0.1)
        self.unknown = nn.Parameter(torch.zeros(width))
        self.context = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        self.value = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        self.others = nn.Linear(width, width)
        self.score = nn.Sequential(
            nn.Linear(3 * width, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, 1),
        )

    def forward(
        self, context: torch.Tensor, values: torch.Tensor, known: torch.Tensor, judged: torch.Tensor
    ) -> torch.Tensor:
        """Scores every cell.

        Args:
            context: float32 (B, D), the generator's fused vector.
            values: float32 (B, A, D), embedding of each cell's value, real or generated.
            known: bool (B, A), cells that have a value.
            judged: bool (B, A), cells under judgement.

        Returns:
            Logits float32 (B, A); only those of judged cells mean anything.
        """
        cells = self.name + torch.where(known[..., None], self.value(values), self.unknown)
        cells = cells + judged[..., None] * self.judged
        shown = known[..., None].float()
        others = (cells * shown).sum(1, keepdim=True) - cells * shown
        others = others / (shown.sum(1, keepdim=True) - shown).clamp(min=1)
        context = self.context(context)[:, None].expand_as(cells)
        return self.score(torch.cat([cells, self.others(others), context], -1)).squeeze(-1)
