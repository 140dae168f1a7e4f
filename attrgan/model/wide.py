"""The linear part: sparse features (words, characters, values of other attributes) and pretrained vectors → scores.

It stands beside the deep part as in Wide & Deep (Cheng et al., 2016): it learns from few rows what the deep part learns
from many. A cell's own value, and what gives it away, never scores it: those blocks of the weights stay zero.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from attrgan.model.inputs import Batch
from attrgan.model.vocabulary import Vocabulary
from attrgan.schema import Schema

WIDE_VALUES = 300
"""The most frequent values of an attribute that the linear part reads and scores."""


@dataclass(frozen=True)
class Layout:
    """Where each attribute's inputs and outputs lie in the linear part.

    `inputs`: name → (first row of the weight, number of rows). `outputs`: name → (first column, number of columns).
    Inputs are, in this order: words of the text; values of attributes and conditions; bins of sequence statistics.
    """

    inputs: dict[str, tuple[int, int]]
    outputs: dict[str, tuple[int, int]]
    rows: int
    columns: int

    @classmethod
    def of(cls, vocabulary: Vocabulary) -> "Layout":
        """The layout for a vocabulary; input row 0 is for words that were not seen."""
        sizes = {n: len(v.values) for n, v in vocabulary.values.items()}
        sizes |= {n: len(v.value) for n, v in vocabulary.numbers.items()}
        outputs, column = {}, 0
        for name, size in sizes.items():
            outputs[name] = (column, min(size, WIDE_VALUES))
            column += outputs[name][1]
        inputs, row = {}, len(vocabulary.wide.known) + 1
        for name, size in (sizes | {n: len(v.values) for n, v in vocabulary.conditions.items()}).items():
            inputs[name] = (row, min(size, WIDE_VALUES))
            row += inputs[name][1]
        for name, fitted in vocabulary.sequences.items():
            size = fitted["edges"].shape[0] * (fitted["edges"].shape[1] + 1)
            inputs[f"sequence.{name}"] = (row, size)
            row += size
        return cls(inputs, outputs, row, column)


class Wide(nn.Module):
    """One linear layer over everything that is known of an item."""

    def __init__(self, schema: Schema, vocabulary: Vocabulary, dropout: float, vector_dropout: float) -> None:
        super().__init__()
        self.layout = Layout.of(vocabulary)
        self.columns = [*vocabulary.values, *vocabulary.conditions]
        self.numeric = list(vocabulary.numbers)
        self.edges = {n: torch.from_numpy(fitted["edges"].copy()) for n, fitted in vocabulary.sequences.items()}
        self.dropout, self.vector_dropout = dropout, vector_dropout
        width = max(self.layout.columns, 1)
        self.sparse = nn.EmbeddingBag(self.layout.rows, width, mode="sum", sparse=True)
        nn.init.zeros_(self.sparse.weight)
        self.vectors = nn.ModuleDict(
            {
                name: nn.Linear(len(fitted["components"]), width, bias=False)
                for name, fitted in vocabulary.vectors.items()
            }
        )
        for parameter in self.vectors.parameters():
            nn.init.zeros_(parameter)
        self.categorical = list(vocabulary.values)
        self.vote = nn.Parameter(torch.zeros(max(len(self.categorical), 1)))
        self.sharpness = nn.Parameter(torch.full((max(len(self.categorical), 1),), 8.0))
        self.own = [  # rows and columns of the weight that say what a cell's own value says
            (*self.layout.inputs[column], *self.layout.outputs[name])
            for name, together in schema.hidden_together.items()
            for column in (*together, *_groups(schema, together))
            if column in self.layout.inputs
        ]

    def forward(
        self, batch: Batch, visible: dict[str, torch.Tensor], groups: dict[str, torch.Tensor], text: torch.Tensor,
        levels: dict[str, torch.Tensor],
    ) -> dict[str, torch.Tensor]:  # fmt: skip
        """Scores by level (`attribution.py`; in training not), each float32 (B, columns of the layout), to be summed.

        Args:
            batch: B items.
            visible: attribute or condition → bool (B,): its value may be read.
            groups: sequence group → bool (B,): it may be read.
            text: bool (B,): items whose text may be read.
            levels: pretrained level → bool (B,): its vector may be read.
        """
        features = self._features(batch, visible, groups, text)
        first = len(features) - len(self.edges)
        sparse = {"text": features[:1], "attributes": features[1:first], "sequence": features[first:]}
        if self.training:  # nobody asks which level said what, and one sum costs less than three
            sparse = {"all": features}
        score = {level: self._sum_of(features, len(batch)) for level, features in sparse.items() if features}
        for name, linear in self.vectors.items():
            level, vector = name.split()[0], F.dropout(batch.vectors[name], self.vector_dropout, self.training)
            # of length 1 on average: a step of Adam then moves a score as little as it moves it through the words
            part = linear(vector * levels[name][:, None] / vector.shape[1] ** 0.5)
            score[level] = score[level] + part if level in score else part
        return score

    def _sum_of(self, features: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]], rows: int) -> torch.Tensor:
        """The part of the scores that some sparse features make, float32 (rows, columns)."""
        row, index, weight = map(torch.cat, zip(*features, strict=True))
        if self.training and self.dropout:
            weight = weight * (torch.rand(len(weight)) >= self.dropout) / (1 - self.dropout)
        by_row = torch.argsort(row, stable=True)
        starts = torch.searchsorted(row[by_row], torch.arange(rows))
        return self.sparse(index[by_row], starts, per_sample_weights=weight[by_row])

    def _features(
        self, batch: Batch, visible: dict[str, torch.Tensor], groups: dict[str, torch.Tensor], text: torch.Tensor
    ) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Sparse features as (row of the batch, row of the weight, value)."""
        row = torch.repeat_interleave(torch.arange(len(batch)), batch.wide_offsets.diff())
        features = [(row, batch.wide, batch.wide_weight * text[row])]
        codes = {n: batch.codes[:, i] for i, n in enumerate(self.columns)}
        codes |= {n: batch.bins[:, i] for i, n in enumerate(self.numeric)} | batch.sets
        for name, code in codes.items():
            start, size = self.layout.inputs[name]
            code = code.reshape(len(batch), -1)  # the members of a set share a length of 1
            at, place = torch.nonzero(visible[name][:, None] & (code >= 0) & (code < size), as_tuple=True)
            share = (code >= 0).sum(1).clamp(min=1).rsqrt()
            features.append((at, start + code[at, place], share[at]))
        for name, edges in self.edges.items():
            statistics = batch.steps[name][3]
            at, column = torch.nonzero(~statistics.isnan() & groups[name][:, None], as_tuple=True)
            edges = edges.to(statistics.device)
            knot = (statistics[at, column][:, None] > edges[column]).sum(1)
            start = self.layout.inputs[f"sequence.{name}"][0]
            features.append((at, start + column * (edges.shape[1] + 1) + knot, torch.full((len(at),), 0.5)))
        return features

    def votes(self, batch: Batch, name: str, size: int, text: torch.Tensor, rows: torch.Tensor | slice) -> torch.Tensor:
        """What the neighbours of some rows add to the scores of a categorical attribute's values, float32 (n, size).

        A softmax over the cosines of the neighbours that know the attribute, times a weight learned per attribute that
        starts at zero.
        """
        i = self.categorical.index(name)
        code, cosine = batch.neighbour_codes[rows, :, i], batch.neighbour_cosines[rows]
        if not size:
            return cosine[:, :0]
        knows = (code >= 0) & (cosine > 0) & text[rows, None]
        share = (cosine * self.sharpness[i]).masked_fill(~knows, -1e4).softmax(1) * knows
        votes = torch.zeros(len(code), size).scatter_add(1, code.clamp(min=0), share)
        return self.vote[i] * votes

    @torch.no_grad()
    def forget_own(self) -> None:
        """Puts the blocks back to zero through which a cell would be scored by itself (after every step)."""
        for row, rows, column, columns in self.own:
            self.sparse.weight[row : row + rows, column : column + columns] = 0

    def of(self, name: str, score: torch.Tensor, size: int) -> torch.Tensor:
        """An attribute's part of the scores, float32 (B, size), zeros past the values that are scored."""
        start, columns = self.layout.outputs[name]
        return F.pad(score[:, start : start + columns], (0, size - columns))


def _groups(schema: Schema, together: tuple[str, ...]) -> list[str]:
    """The sequence groups, as the layout calls them, that hold one of the columns."""
    return [f"sequence.{n}" for n, group in schema.sequences.items() if set(group.columns) & set(together)]
