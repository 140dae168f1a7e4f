"""The generator: levels → tokens → fusion → one distribution over candidates per attribute.

Choices:
- every level becomes tokens of one width D (`levels.py`): words with their character 3-grams, pretrained vectors,
  pooled sequences, one token per attribute (known: its value; unknown: a mask embedding); one query per attribute reads
  them (`fusion.py`), never its own value, with the noise z in it;
- a value's embedding is made of its string (the same words and 3-grams as the text) plus a learned part, so values
  never seen have one too;
- candidates of one attribute share one softmax: known values (`n/a` among them), and for open attributes every span of
  the item's own text; a span that spells a known value counts for that value;
- the candidates of a `multi` attribute are the members of its sets, and a distribution over sets stands in the place of
  the softmax (`sets.py`): members are scored as values are, sizes by the same query; listed sets have a bias each;
- beside the deep part stands a linear one (`wide.py`);
- z enters through a projection that starts at zero: it costs nothing until the adversarial loss asks for it.
"""

import math
from dataclasses import dataclass, field
from functools import reduce
from typing import TypeAlias

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from attrgan.features import sequence, text
from attrgan.model.fusion import Cells, Fusion, Keys
from attrgan.model.inputs import Batch, tensor
from attrgan.model.levels import SequenceLevel, TextEmbedding, VectorLevel, WordContext, piecewise
from attrgan.model.numeric import NumericHead
from attrgan.model.sets import NEVER, SetScores
from attrgan.model.spans import SpanScores
from attrgan.model.vocabulary import MAX_PHRASE, Values, Vocabulary
from attrgan.model.wide import Wide
from attrgan.schema import Schema


@dataclass(frozen=True)
class Size:
    """The size of the networks."""

    width: int = 128
    layers: int = 2
    heads: int = 4
    feed_forward: int = 256
    noise: int = 16
    dropout: float = 0.1
    wide_dropout: float = 0.2
    vector_dropout: float = 0.3


Rows: TypeAlias = torch.Tensor | slice
"""Which of B items: their numbers, int64 (n,), or all."""


@dataclass
class Hidden:
    """What a pass must not see.

    Attributes:
        cells: bool (B, A) in the schema's order of attributes.
        groups: sequence group → bool (B,).
        text: bool (B,), items without their text.
        levels: pretrained level → bool (B,), items without its vector.
        unlisted: open attribute → bool (B,): known values that stand in the item's text count as unknown ones, so that
            the span has to be found (in training: this is how copying is learned).
    """

    cells: torch.Tensor
    groups: dict[str, torch.Tensor] = field(default_factory=dict)
    text: torch.Tensor | None = None
    levels: dict[str, torch.Tensor] = field(default_factory=dict)
    unlisted: dict[str, torch.Tensor] = field(default_factory=dict)


@dataclass
class Reading:
    """What a pass read, and may be withheld from it afterwards (`attribution.py`).

    Attributes:
        keys: of the K tokens in each layer: the item, words, pretrained vectors, sequences, attributes, conditions.
        seen: bool (B, A + 1, K): the tokens that each query reads.
        queries: float32 (B, A, D): the queries as they score candidates; zeros where a cell was not asked.
        shown, groups, levels: attribute or condition, sequence group, pretrained level → bool (B,), read or not.
        text: bool (B,), items whose text was read.
        wide: level → its part of the linear scores, float32 (B, columns): together they are all of them.
    """

    keys: list[Keys]
    seen: torch.Tensor
    queries: torch.Tensor
    shown: dict[str, torch.Tensor]
    groups: dict[str, torch.Tensor]
    levels: dict[str, torch.Tensor]
    text: torch.Tensor
    wide: dict[str, torch.Tensor]


@dataclass
class Output:
    """Scores and what the discriminator reads, of B items or, where only some cells were asked, of those that ask.

    Attributes:
        logits: attribute → float32 (B, V), for open attributes (B, V + T · MAX_PHRASE): spans by start, then length;
            for `multi` ones (B, V + K + 1 + L): members, then sizes, then listed sets.
        context: float32 (B, D): the fused vector of each item; (0, D) where only some cells were asked.
        values: float32 (ΣV, D): the embeddings of the known values, attribute by attribute.
        votes: categorical attribute → float32 (B, V): what neighbours added to the scores of its known values.
        spans: float32 (B, T · MAX_PHRASE, D): the embeddings of the spans' strings, where an attribute is open.
        reading: what was read.
    """

    logits: dict[str, torch.Tensor]
    context: torch.Tensor
    values: torch.Tensor
    votes: dict[str, torch.Tensor]
    spans: torch.Tensor | None = None
    reading: Reading | None = None


class Generator(nn.Module):
    """G(z | features, known attributes)."""

    size: Size
    sequences: nn.ModuleList
    set_scores: nn.ModuleList
    string_words: torch.Tensor
    string_grams: torch.Tensor
    string_counts: torch.Tensor
    edges: torch.Tensor
    may_read: torch.Tensor

    def __init__(self, schema: Schema, vocabulary: Vocabulary, size: Size) -> None:
        super().__init__()
        self.schema, self.size = schema, size
        self.attributes = list(schema.attributes)
        self.categorical = list(vocabulary.values)
        self.numeric = list(vocabulary.numbers)
        self.conditions = list(vocabulary.conditions)
        self.sets = {n: s for n, s in vocabulary.sets.items() if s.candidates}
        self.open = [
            n for n, a in schema.attributes.items() if a.kind == "open" and schema.text and n not in vocabulary.sets
        ]
        known = vocabulary.values | vocabulary.conditions
        self.value_sizes = [len(v.values) for v in known.values()]
        width = size.width
        self.text = TextEmbedding(len(vocabulary.words.known), len(vocabulary.grams.known), width)
        self.column = nn.Parameter(torch.randn(max(len(schema.text), 1), width) * 0.02)
        self.position = nn.Parameter(torch.randn(text.MAX_TOKENS * max(len(schema.text), 1), width) * 0.02)
        self.context = WordContext(width, 1, size.dropout)
        self.word_vector = nn.Linear(vocabulary.word_vector, width) if vocabulary.word_vector else None
        self.vectors = nn.ModuleDict(
            {n: VectorLevel(len(f["components"]), width, size.vector_dropout) for n, f in vocabulary.vectors.items()}
        )
        self.sequences = nn.ModuleList(
            SequenceLevel(
                tensor(fitted["edges"]),
                len(fitted["hashed"]),
                len(sequence.hashed_columns(schema.sequences[name].columns)),
                width,
            )
            for name, fitted in vocabulary.sequences.items()
        )
        self._value_strings(known, vocabulary)
        total = sum(self.value_sizes)
        self.value = nn.Embedding(max(total, 1), width)
        nn.init.normal_(self.value.weight, std=0.05)
        self.value_bias = nn.Parameter(torch.zeros(max(total, 1)))
        self._numeric_parts(vocabulary, width)
        self._set_parts(vocabulary, width)
        self.name = nn.Parameter(torch.randn(len(self.attributes) + len(vocabulary.conditions), width) * 0.1)
        self.mask = nn.Parameter(torch.randn(len(self.name), width) * 0.05)
        self.item = nn.Parameter(torch.randn(width) * 0.05)
        self.noise = nn.Linear(size.noise, width, bias=False)
        nn.init.zeros_(self.noise.weight)
        self.fusion = Fusion(width, size.layers, size.heads, size.feed_forward, size.dropout)
        self.query = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        self.match = nn.Parameter(torch.ones(max(len(self.categorical), 1), MAX_PHRASE + 1))
        nn.init.zeros_(self.match[:, MAX_PHRASE:])  # where a value stands loosely
        self.alike = {n: tensor(vocabulary.alike(n)) for n in self.open}
        self.spans = SpanScores(len(self.open), width, vocabulary.word_vector) if self.open else None
        self.wide = Wide(schema, vocabulary, size.wide_dropout, size.vector_dropout)
        self.register_buffer("may_read", self._may_read(vocabulary), persistent=False)

    def _value_strings(self, known: dict[str, Values], vocabulary: Vocabulary) -> None:
        strings = [v for values in known.values() for v in values.values]
        words, grams, counts = encode_strings(strings, vocabulary)
        self.register_buffer("string_words", words, persistent=False)
        self.register_buffer("string_grams", grams, persistent=False)
        self.register_buffer("string_counts", counts, persistent=False)

    def _numeric_parts(self, vocabulary: Vocabulary, width: int) -> None:
        numbers = list(vocabulary.numbers.values())
        longest = max((len(n.edges) for n in numbers), default=1)
        edges = torch.zeros(len(numbers), max(longest, 2))
        for row, n in zip(edges, numbers, strict=True):  # short edges repeat their last knot
            row[: len(n.edges)] = tensor(n.edges)
            row[len(n.edges) :] = float(n.edges[-1])
        self.register_buffer("edges", edges, persistent=False)
        self.number = nn.Parameter(torch.randn(len(numbers), edges.shape[1], width) * 0.1)
        self.numbers = NumericHead(self.schema, vocabulary.numbers, edges, width)

    def _set_parts(self, vocabulary: Vocabulary, width: int) -> None:
        self.set_scores = nn.ModuleList()
        for name, rule in self.sets.items():
            start, prior = self._start(name), rule.prior(vocabulary.values[name].counts)
            with torch.no_grad():  # hundreds of members that are rare must not begin as probable as not
                self.value_bias[start : start + rule.candidates] = prior[: rule.candidates]
            self.set_scores.append(SetScores(rule, prior[rule.candidates :], width))

    def _start(self, name: str) -> int:
        """Where the values of a categorical attribute begin in `values()`."""
        return sum(self.value_sizes[: self.categorical.index(name)])

    def embed_strings(self, words: torch.Tensor, grams: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """The mean of each string's tokens: words (t,), grams (t, GRAMS), counts (V,) → (V, D)."""
        tokens = self.text(words, grams)
        starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)[:-1]])
        return F.embedding_bag(torch.arange(len(words)), tokens, starts, mode="mean")

    def values(self) -> torch.Tensor:
        """The embedding of every known value, attribute by attribute, conditions last: (ΣV, D)."""
        if not len(self.string_counts):
            return self.value.weight[:0]
        strings = self.embed_strings(self.string_words, self.string_grams, self.string_counts)
        return strings + self.value.weight

    def forward(
        self,
        batch: Batch,
        hidden: Hidden,
        z: torch.Tensor,
        strangers: torch.Tensor | None = None,
        values: torch.Tensor | None = None,
        asked: torch.Tensor | None = None,
    ) -> Output:
        """One pass.

        Args:
            batch: B items.
            hidden: known cells and sequences that must not be seen.
            z: float32 (B, A, noise): the noise of each attribute; zeros for the most typical completion.
            strangers: float32 (K, D): embeddings of known cells' values outside the vocabulary.
            values: what `values()` returned, where the caller has it already.
            asked: bool (B, A), the only cells that are scored, at the cost of these; None: every cell, and the items.
        """
        values = self.values() if values is None else values
        visible = self._visible(batch, hidden)
        text_mask = batch.token_mask if hidden.text is None else batch.token_mask & ~hidden.text[:, None]
        groups = {n: steps[2].any(1) & ~hidden.groups.get(n, no(batch)) for n, steps in batch.steps.items()}
        levels = {n: present & ~hidden.levels.get(n, no(batch)) for n, present in batch.vector_mask.items()}
        strings = self.text(batch.word, batch.gram)
        words = self._words(batch, strings, text_mask)
        tokens = [self.item.expand(len(batch), 1, -1), words]
        masks = [text_mask.new_ones(len(batch), 1), text_mask]
        for name, level in self.vectors.items():
            tokens.append(level(batch.vectors[name]))
            masks.append(levels[name][:, None])
        for level, (name, steps) in zip(self.sequences, batch.steps.items(), strict=True):
            tokens.append(level(*steps))
            masks.append(groups[name][:, None].expand(-1, SequenceLevel.TOKENS))
        tokens.append(self._attribute_tokens(batch, visible, values, strangers))
        masks.append(text_mask.new_ones(tokens[-1].shape[:2]))
        keys, seen = self.fusion.keys(torch.cat(tokens, 1)), self._seen(torch.cat(masks, 1), words.shape[1])
        queries, context = self._read(keys, seen, z, asked)
        shown = dict(zip([*self.attributes, *self.conditions], visible.unbind(1), strict=True))
        parts = self.wide(batch, shown, groups, text_mask.any(1), levels)
        reading = Reading(keys, seen, queries, shown, groups, levels, text_mask.any(1), parts)
        wide = reduce(torch.add, parts.values())
        rows = {n: _rows(asked, i) for i, n in enumerate(self.attributes)}
        sizes = zip(self.categorical, self.value_sizes, strict=False)
        votes = {n: self.wide.votes(batch, n, size, reading.text, rows[n]) for n, size in sizes}
        logits = self._logits(batch, hidden, queries, values, wide, votes, strings, text_mask, rows)
        logits |= self._numeric_logits(batch, queries, visible, reading.text, wide, rows)
        means = _means(strings) if self.open and self.training else None
        return Output(logits, context, values, votes, means, reading)

    def _read(
        self, keys: list[Keys], seen: torch.Tensor, z: torch.Tensor, asked: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The queries as they score candidates, (B, A, D), and the items' fused vectors (B, D)."""
        if asked is None:
            fused = self.fusion(self._queries(z), keys, seen)
            return self.query(fused[:, :-1]), fused[:, -1]
        row, attribute = torch.nonzero(asked, as_tuple=True)
        start = self.name[attribute] + self.noise(z[row, attribute])
        fused = self.fusion.of_cells(start, keys, seen[row, attribute], Cells.of(row, len(asked)))
        queries = fused.new_zeros(*asked.shape, fused.shape[1])
        queries[row, attribute] = self.query(fused)
        return queries, fused[:0]

    def _words(self, batch: Batch, strings: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Words (B, T, D) that have seen their neighbours."""
        words = strings + self.column[batch.column] + self.position[: batch.word.shape[1]]
        if self.word_vector is not None:
            words = words + self.word_vector(batch.word_vector)
        return self.context(words, mask)

    def _queries(self, z: torch.Tensor) -> torch.Tensor:
        """One query per attribute, with its noise, and the item's: (B, A + 1, D)."""
        attributes = self.name[: len(self.attributes)] + self.noise(z)
        return torch.cat([attributes, self.item.expand(len(z), 1, -1)], 1)

    def _may_read(self, vocabulary: Vocabulary) -> torch.Tensor:
        """bool (A + 1, K without words): which tokens a query may ever read: not its own value, nor what gives it away.

        The tokens: item, pretrained vectors, sequences, attributes, conditions.
        """
        names = [None, *self.vectors]
        for name in vocabulary.sequences:
            names += [name] * SequenceLevel.TOKENS
        readable = []
        for attribute in self.attributes:
            together = set(self.schema.hidden_together[attribute])
            gives_away = {n for n, g in self.schema.sequences.items() if together & set(g.columns)}
            row = [n not in gives_away for n in names]
            row += [n not in together for n in [*self.attributes, *self.conditions]]
            readable.append(row)
        return torch.tensor([*readable, [True] * len(readable[0])])

    def _seen(self, present: torch.Tensor, words: int) -> torch.Tensor:
        """bool (B, A + 1, K): the tokens that each query reads; present bool (B, K), the words after the item."""
        may = self.may_read
        may = torch.cat([may[:, :1], may.new_ones(len(may), words), may[:, 1:]], 1)
        return present[:, None] & may

    def _visible(self, batch: Batch, hidden: Hidden) -> torch.Tensor:
        """bool (B, A + conditions), in the schema's order: cells that have a value and are not hidden."""
        known = dict(zip([*self.categorical, *self.conditions], (batch.codes >= 0).unbind(1), strict=True))
        known |= dict(zip(self.numeric, (batch.bins >= 0).unbind(1), strict=True))
        seen = torch.stack([known[n] for n in [*self.attributes, *self.conditions]], 1)
        return seen & F.pad(~hidden.cells, (0, len(self.conditions)), value=True)

    def _attribute_tokens(
        self, batch: Batch, visible: torch.Tensor, values: torch.Tensor, strangers: torch.Tensor | None
    ) -> torch.Tensor:
        """Tokens (B, A + conditions, D) in the schema's order: the value where it is visible, else a mask embedding."""
        table = values if strangers is None else torch.cat([values, strangers])
        tokens, start, total = {}, 0, sum(self.value_sizes)
        for i, (name, size) in enumerate(zip([*self.categorical, *self.conditions], self.value_sizes, strict=True)):
            code = batch.codes[:, i]
            code = batch.sets.get(name, code[:, None])
            index = torch.where(code < size, code + start, code - size + total).clamp(min=0)
            nothing = torch.zeros_like(self.name[:1]).expand(len(code), -1)
            tokens[name] = mean_of(table[index], code >= 0) if len(table) else nothing
            start += size
        pieces = torch.einsum("bme,med->bmd", piecewise(batch.numbers, self.edges), self.number)
        tokens |= dict(zip(self.numeric, pieces.unbind(1), strict=True))
        stacked = torch.stack([tokens[n] for n in [*self.attributes, *self.conditions]], 1)
        return self.name + torch.where(visible[..., None], stacked, self.mask)

    def _logits(
        self, batch: Batch, hidden: Hidden, queries: torch.Tensor, values: torch.Tensor, wide: torch.Tensor,
        votes: dict[str, torch.Tensor], strings: torch.Tensor, text_mask: torch.Tensor, rows: dict[str, Rows],
    ) -> dict[str, torch.Tensor]:  # fmt: skip
        """The scores of every candidate of categorical attributes, for the rows that ask them."""
        scale = 4 / math.sqrt(queries.shape[-1])
        asked = {name: queries[:, self.attributes.index(name)] for name in self.categorical}
        spans: dict[str, torch.Tensor] = {}
        free = text_mask.new_zeros(0)
        if self.spans is not None and any(_some(rows[n]) for n in self.open):
            scores, free = self.spans(batch, strings, text_mask, torch.stack([asked[n] for n in self.open], 1))
            spans = dict(zip(self.open, scores.unbind(1), strict=True))
        visible_text = text_mask.any(1)[batch.match_row]
        logits: dict[str, torch.Tensor] = {}
        start = 0
        for i, name in enumerate(self.categorical):
            size, which = self.value_sizes[i], rows[name]
            score = asked[name][which] @ values[start : start + size].T * scale + self.value_bias[start : start + size]
            score = score + self.wide.of(name, wide[which], size) + votes[name]
            at = torch.nonzero((batch.match_attribute == i) & visible_text).squeeze(1)
            at, row = _among(which, batch.match_row, at, len(batch))
            if name in self.open:
                votes[name] = votes[name].index_put((row, batch.match_value[at]), torch.tensor(0.0))
            of_spans = (spans[name][which], free[which]) if name in spans else None
            logits[name] = self._with_matches(i, score, batch, at, row, hidden.unlisted.get(name), of_spans)
            if name in self.sets:
                of_sets = self.set_scores[list(self.sets).index(name)](asked[name][which])
                logits[name] = torch.cat([logits[name], of_sets], 1)
            start += size
        return logits

    def _with_matches(
        self, i: int, score: torch.Tensor, batch: Batch, at: torch.Tensor, row: torch.Tensor,
        unlisted: torch.Tensor | None, of_spans: tuple[torch.Tensor, torch.Tensor] | None,
    ) -> torch.Tensor:  # fmt: skip
        """Known values' scores (B, V) with what the text adds to those that stand in it, and behind them the spans.

        Args:
            i: which categorical attribute.
            at: the matches of the attribute in texts that may be read; row: to which of the B scores each belongs.
            unlisted: bool (B,): known values that stand in the text count as unknown.
            of_spans: of an open attribute, the spans' scores (B, T · MAX_PHRASE), and which are candidates, bool.
        """
        value, length, loose = batch.match_value[at], batch.match_length[at] - 1, batch.match_loose[at]
        bonus = self.match[i, torch.where(loose, MAX_PHRASE, length)]
        span = batch.match_token[at] * MAX_PHRASE + length
        spans, free = of_spans or (None, None)
        if spans is not None:
            bonus = bonus + spans[row, span]
        if unlisted is not None:
            bonus = bonus.masked_fill(unlisted[row], NEVER)
            loose = loose | unlisted[row]
        if spans is None or free is None:
            return score.index_put((row, value), score[row, value] + bonus)
        # what the rest of the item says for a value does not count beside what its text says: training rows' own values
        # would be learned by heart (OA-Mine, row F1 .717 without, .703 with)
        score = score.index_put((row, value), bonus)
        # what spells a known value counts for that value
        free = free.index_put((row[~loose], span[~loose]), torch.tensor(False))
        return torch.cat([score, spans.masked_fill(~free, NEVER)], 1)

    def _numeric_logits(
        self, batch: Batch, queries: torch.Tensor, visible: torch.Tensor, text: torch.Tensor, wide: torch.Tensor,
        rows: dict[str, Rows],
    ) -> dict[str, torch.Tensor]:  # fmt: skip
        at = [self.attributes.index(name) for name in self.numeric]
        expected = self.numbers.expected(batch.numbers, visible[:, at], batch.said, text)
        logits = {}
        for i, name in enumerate(self.numeric):
            which = rows[name]
            score = self.numbers.scores(i, queries[which, at[i]], expected[which, i])
            logits[name] = score + self.wide.of(name, wide[which], score.shape[1])
        return logits


def mean_of(embeddings: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """The mean of the embeddings (B, S, D) that are there, bool (B, S) → (B, D); zeros where none is."""
    weight = there / there.sum(1, keepdim=True).clamp(min=1)
    return torch.einsum("bs,bsd->bd", weight, embeddings)


def _rows(asked: torch.Tensor | None, attribute: int) -> Rows:
    """The items that ask an attribute: int64 (n,); all of them where `asked` is None."""
    return slice(None) if asked is None else torch.nonzero(asked[:, attribute]).squeeze(1)


def _some(rows: Rows) -> bool:
    return isinstance(rows, slice) or len(rows) > 0


def _among(rows: Rows, row: torch.Tensor, at: torch.Tensor, total: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Those of the entries `at` whose item, of `total`, is among `rows`, and the place of their item there."""
    if isinstance(rows, slice):
        return at, row[at]
    place = torch.full((total,), -1)
    place[rows] = torch.arange(len(rows))
    at = at[place[row[at]] >= 0]
    return at, place[row[at]]


def no(batch: Batch) -> torch.Tensor:
    """bool (B,): none of the items."""
    return torch.zeros(len(batch), dtype=torch.bool)


def _means(tokens: torch.Tensor) -> torch.Tensor:
    """The mean of each span's tokens, (B, T, D) → (B, T · L, D) by start token and length."""
    length = tokens.shape[1]
    total = F.pad(tokens.cumsum(1), (0, 0, 1, 0))
    total = torch.cat([total, total[:, -1:].expand(-1, MAX_PHRASE, -1)], 1)
    means = [(total[:, n + 1 : n + 1 + length] - total[:, :length]) / (n + 1) for n in range(MAX_PHRASE)]
    return torch.stack(means, 2).flatten(1, 2)


def encode_strings(strings: list[str], vocabulary: Vocabulary) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Strings as word indices (t,), 3-gram indices (t, GRAMS) and tokens per string (V,)."""
    encoded = [text.encode_value(string) for string in strings]
    words = np.concatenate([np.empty(0, np.uint32), *(word for word, _ in encoded)])
    grams = np.concatenate([np.empty((0, text.GRAMS), np.uint32), *(gram for _, gram in encoded)])
    return (
        tensor(vocabulary.words.index(words)),
        tensor(vocabulary.grams.index(grams)),
        torch.tensor([len(word) for word, _ in encoded], dtype=torch.int64),
    )
