"""Spans of an item's own text as candidates: where a value begins, where it ends, what lies inside, how long it is.

Choices:
- a network of its own over the words (their strings and pretrained vectors), apart from the words that the fusion
  reads: where a value begins and ends is another question than what an item is;
- every word gets three numbers per attribute, and a span's score is their sum: start of its first word, end of its last
  one, inside of all of them, as in span-based extraction (Seo et al., 2017), without a vector per span;
- besides its string and its pretrained vector a word has a look: what stands before it and behind it (a comma, a
  bracket, the end), and whether it has capitals or digits (`features/text.py`);
- convolutions see seven words to each side; a recurrent network (BiLSTM) was no better and slower;
- a string that stands in the text several times is one candidate: the log-sum of its places is the score of the first.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from attrgan.features import text
from attrgan.model.inputs import Batch
from attrgan.model.levels import WordContext
from attrgan.model.sets import NEVER
from attrgan.model.vocabulary import MAX_PHRASE

WIDTH, LOOK = 256, 16
LAYERS = 3
DROPOUT = 0.3


class SpanScores(nn.Module):
    """Scores every span of up to MAX_PHRASE words, for each of O open attributes."""

    def __init__(self, attributes: int, width: int, vector: int) -> None:
        super().__init__()
        self.vector = nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(vector, width)) if vector else None
        self.look = nn.ModuleList(nn.Embedding(n, LOOK) for n in (text.GAPS, text.GAPS, text.SHAPES))
        self.enter = nn.Linear(width * (2 if vector else 1) + LOOK * text.LOOKS, WIDTH)
        self.context = WordContext(WIDTH, LAYERS, 0.1)
        self.dropout = nn.Dropout(DROPOUT)
        self.head = nn.Parameter(torch.randn(attributes, 3, WIDTH) / math.sqrt(WIDTH))
        self.asked = nn.Linear(WIDTH, 2 * width, bias=False)
        self.length = nn.Parameter(torch.zeros(attributes, MAX_PHRASE))

    def forward(
        self, batch: Batch, strings: torch.Tensor, mask: torch.Tensor, queries: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores float32 (B, O, T · MAX_PHRASE) by start, then length, and which spans are candidates, bool (B, T · …).

        Args:
            batch: B items of T words.
            strings: float32 (B, T, D): the words' own embeddings.
            mask: bool (B, T): words that may be read.
            queries: float32 (B, O, D): what the rest of the item says about each attribute.
        """
        words = [strings, *(look(kind) for look, kind in zip(self.look, batch.look.unbind(-1), strict=True))]
        if self.vector is not None and batch.word_vector is not None:
            words.append(self.vector(batch.word_vector))
        seen = self.dropout(self.context(self.enter(self.dropout(torch.cat(words, -1))), mask)) * mask[..., None]
        start, end, inside = torch.einsum("btw,opw->pbot", seen, self.head)
        starts, ends = self.asked(seen).chunk(2, -1)
        start = start + queries @ starts.transpose(1, 2) / math.sqrt(queries.shape[-1])
        end = end + queries @ ends.transpose(1, 2) / math.sqrt(queries.shape[-1])
        total, size = F.pad(inside.cumsum(-1), (1, MAX_PHRASE)), mask.shape[1]
        total[..., size + 1 :] = total[..., size : size + 1]
        scores = torch.stack(
            [start + F.pad(end, (0, n))[..., n:] + total[..., n + 1 : n + 1 + size] - total[..., :size]
             for n in range(MAX_PHRASE)], -1,
        )  # fmt: skip
        scores = scores + self.length[:, None]
        there = candidates(batch, mask).flatten(1)
        return _fold(scores.flatten(2).masked_fill(~there[:, None], NEVER), there, batch)


def candidates(batch: Batch, mask: torch.Tensor) -> torch.Tensor:
    """bool (B, T, MAX_PHRASE): the spans, by first word and length, that lie within one text column."""
    there = torch.zeros(*mask.shape, MAX_PHRASE, dtype=torch.bool)
    for n in range(min(MAX_PHRASE, mask.shape[1])):
        same = batch.column[:, n:] == batch.column[:, : mask.shape[1] - n]
        there[..., n] = mask & F.pad(mask[:, n:] & same, (0, n))
    return there


def _fold(scores: torch.Tensor, there: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Makes spans that spell the same string one candidate, the first of them."""
    if not len(batch.repeat_row):
        return scores, there
    there = there.index_put((batch.repeat_row, batch.repeat_span), torch.tensor(False))
    first = batch.repeat_row * scores.shape[2] + batch.repeat_first
    firsts, group = first.unique(return_inverse=True)
    flat = scores.transpose(1, 2).flatten(0, 1)  # (B · spans, O)
    again = flat[batch.repeat_row * scores.shape[2] + batch.repeat_span]
    most = flat[firsts].detach().scatter_reduce(0, group[:, None].expand_as(again), again.detach(), "amax")
    mass = (flat[firsts] - most).exp().index_add(0, group, (again - most[group]).exp())
    flat = flat.index_put((firsts,), mass.log() + most)
    folded = flat.unflatten(0, (len(scores), -1)).transpose(1, 2)
    return folded.masked_fill(~there[:, None], NEVER), there
