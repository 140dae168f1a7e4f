"""The levels inside the network: what turns text, vectors, sequences and numbers into tokens of one width D."""

import math
import warnings

import torch
from torch import nn
from torch.nn import functional as F

from attrgan.features import sequence


class TextEmbedding(nn.Module):
    """Word + mean of its character 3-grams → (…, D)."""

    def __init__(self, words: int, grams: int, width: int) -> None:
        super().__init__()
        self.word = nn.Embedding(words + 1, width, padding_idx=0)
        self.gram = nn.Embedding(grams + 1, width, padding_idx=0)
        nn.init.normal_(self.word.weight, std=0.05)
        nn.init.normal_(self.gram.weight, std=0.05)

    def forward(self, word: torch.Tensor, gram: torch.Tensor) -> torch.Tensor:
        """Embeds tokens: word int64 (…,), gram int64 (…, GRAMS) → float32 (…, D)."""
        shape = word.shape
        weight = (gram != 0).float().reshape(-1, gram.shape[-1])
        weight = weight / weight.sum(-1, keepdim=True).clamp(min=1)
        bag = F.embedding_bag(gram.reshape(-1, gram.shape[-1]), self.gram.weight, per_sample_weights=weight, mode="sum")
        return self.word(word) + bag.reshape(*shape, -1)


class WordContext(nn.Module):
    """Lets every word see its neighbours: pre-norm gated convolutions (Dauphin et al., 2017), (B, T, D) → (B, T, D).

    A convolution costs a tenth of self-attention over the words, and what lies further apart meets in the fusion.
    """

    def __init__(self, width: int, layers: int, dropout: float, reach: int = 5) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.near = nn.ModuleList(
            nn.Conv1d(width, width, reach, padding=reach // 2, groups=width) for _ in range(layers)
        )
        self.mix = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)

    def forward(self, words: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """words float32 (B, T, D), mask bool (B, T) of real words."""
        for norm, near, mix in zip(self.norms, self.near, self.mix, strict=True):
            seen = near((norm(words) * mask[..., None]).transpose(1, 2)).transpose(1, 2)
            words = words + self.dropout(F.glu(mix(seen), -1))
        return words


class VectorLevel(nn.Module):
    """A pretrained encoder's vector of the whole item → one token: (B, K) → (B, 1, D)."""

    def __init__(self, size: int, width: int, dropout: float) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.Dropout(dropout), nn.Linear(size, width), nn.LayerNorm(width))

    def forward(self, vector: torch.Tensor) -> torch.Tensor:
        """vector float32 (B, K), whitened in scale by the vocabulary."""
        return self.project(vector)[:, None]


class SequenceLevel(nn.Module):
    """A group of aligned sequences → TOKENS tokens: attention-pooled steps and the statistics of the whole."""

    TOKENS = 3
    edges: torch.Tensor

    def __init__(self, edges: torch.Tensor, hashes: int, columns: int, width: int) -> None:
        super().__init__()
        numeric = max(len(edges) // len(sequence.STATISTICS), 1)
        self.step = nn.Sequential(_linear(2 * numeric, width), nn.GELU(), nn.Linear(width, width))
        self.code = nn.Embedding(hashes + 1, width, padding_idx=0) if columns else None
        self.position = nn.Parameter(torch.randn(sequence.MAX_STEPS, width) * 0.02)
        self.query = nn.Parameter(torch.randn(self.TOKENS - 1, width) * 0.1)
        self.register_buffer("edges", edges.clone())  # its own, or a loaded model shares memory with its vocabulary
        self.statistic = _linear(edges.shape[0] * edges.shape[1], width)

    def forward(
        self, numbers: torch.Tensor, codes: torch.Tensor, mask: torch.Tensor, statistics: torch.Tensor
    ) -> torch.Tensor:
        """Numbers (B, S, n), codes (B, S, h), mask (B, S), statistics (B, w) → (B, TOKENS, D)."""
        item, at = torch.nonzero(mask, as_tuple=True)  # sequences are of many lengths, and many items have none
        numbers = numbers[item, at]
        there = self.step(torch.cat([numbers.nan_to_num(), (~numbers.isnan()).float()], -1))
        if self.code is not None and codes.shape[-1]:
            there = there + self.code(codes[item, at]).mean(1)
        there = there + self.position[mask.sum(1)[item] - 1 - at]  # 0 is the last step, however many there are
        step = there.new_zeros(*mask.shape, there.shape[1]).index_put((item, at), there)
        score = (step @ self.query.T / math.sqrt(step.shape[-1])).masked_fill(~mask[..., None], -1e4)
        pooled = score.softmax(1).transpose(1, 2) @ step
        return torch.cat([pooled, self.statistic(piecewise(statistics, self.edges).flatten(1))[:, None]], 1)


def _linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer; one without inputs is its bias, and PyTorch warns of that."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Initializing zero-element tensors")
        return nn.Linear(inputs, outputs)


def piecewise(numbers: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
    """Piecewise-linear encoding (Gorishniy et al., 2022): numbers (B, M), edges (M, E) → (B, M, E); NaN → zeros.

    The last place says that the number is known. Between edges that are equal it is a step, as narrow in small units.
    """
    low, high = edges[:, :-1], edges[:, 1:]
    step = 1e-6 * (edges[:, -1:] - edges[:, :1]).clamp(1e-30, 1)
    inside = (numbers[..., None] - low) / torch.maximum(high - low, step)
    known = (~numbers.isnan()).float()[..., None]
    return torch.cat([inside.nan_to_num().clamp(0, 1) * known, known], -1)
