"""The generator: levels → tokens → fusion → one distribution over candidates per attribute.

Choices:
- every level becomes tokens of one width D: text tokens, pooled sequence tokens, one token per attribute (known: its
  value; unknown: a mask embedding and the noise z); a small pre-norm transformer fuses them;
- a value's embedding is made of its string (the same words and 3-grams as the text) plus a learned part, so values
  never seen have one too;
- candidates of one attribute share one softmax: known values (`n/a` among them), and for open attributes every span of
  the item's own text; a span that spells a known value counts for that value;
- beside the deep part stands a linear one over sparse features (words, characters, values of other attributes), as in
  Wide & Deep (Cheng et al., 2016): it learns from few rows what the deep part learns from many;
- z enters through a projection that starts at zero: it costs nothing until the adversarial loss asks for it.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn import functional as F

from attrgan.features import sequence, text
from attrgan.model.inputs import Batch, Layout, tensor
from attrgan.model.vocabulary import MAX_PHRASE, Values, Vocabulary
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


@dataclass
class Hidden:
    """What a pass must not see.

    Attributes:
        cells: bool (B, A) in the schema's order of attributes.
        groups: sequence group → bool (B,).
        text: bool (B,), items without their text.
        unlisted: open attribute → bool (B,): known values that stand in the item's text count as unknown ones, so that
            the span has to be found (in training: this is how copying is learned).
    """

    cells: torch.Tensor
    groups: dict[str, torch.Tensor] = field(default_factory=dict)
    text: torch.Tensor | None = None
    unlisted: dict[str, torch.Tensor] = field(default_factory=dict)


@dataclass
class Output:
    """Scores and what the discriminator reads.

    Attributes:
        logits: attribute → float32 (B, V), for open attributes (B, V + T · MAX_PHRASE): spans by start, then length.
        context: float32 (B, D): the fused vector of each item.
        values: float32 (ΣV, D): the embeddings of the known values, attribute by attribute.
        spans: float32 (B, T · MAX_PHRASE, D): the embeddings of the spans' strings, where an attribute is open.
    """

    logits: dict[str, torch.Tensor]
    context: torch.Tensor
    values: torch.Tensor
    spans: torch.Tensor | None = None


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


class SequenceLevel(nn.Module):
    """A group of aligned sequences → TOKENS tokens: attention-pooled steps and the statistics of the whole."""

    TOKENS = 3
    edges: torch.Tensor

    def __init__(self, edges: torch.Tensor, hashes: int, columns: int, width: int) -> None:
        super().__init__()
        numeric = max(len(edges) // len(sequence.STATISTICS), 1)
        self.step = nn.Sequential(nn.Linear(2 * numeric, width), nn.GELU(), nn.Linear(width, width))
        self.code = nn.Embedding(hashes + 1, width, padding_idx=0) if columns else None
        self.position = nn.Parameter(torch.randn(sequence.MAX_STEPS, width) * 0.02)
        self.query = nn.Parameter(torch.randn(self.TOKENS - 1, width) * 0.1)
        self.register_buffer("edges", edges.clone())  # its own, or a loaded model shares memory with its vocabulary
        self.statistic = nn.Linear(edges.shape[0] * edges.shape[1], width)

    def forward(
        self, numbers: torch.Tensor, codes: torch.Tensor, mask: torch.Tensor, statistics: torch.Tensor
    ) -> torch.Tensor:
        """Numbers (B, S, n), codes (B, S, h), mask (B, S), statistics (B, w) → (B, TOKENS, D)."""
        known = ~numbers.isnan()
        step = self.step(torch.cat([numbers.nan_to_num(), known.float()], -1))
        if self.code is not None and codes.shape[-1]:
            step = step + self.code(codes).mean(2)
        recency = (
            mask.sum(1, keepdim=True) - 1 - torch.arange(mask.shape[1])
        )  # 0 is the last step, however many there are
        step = step + self.position[recency.clamp(min=0)]
        score = (step @ self.query.T / math.sqrt(step.shape[-1])).masked_fill(~mask[..., None], -1e4)
        pooled = score.softmax(1).transpose(1, 2) @ step
        return torch.cat([pooled, self.statistic(piecewise(statistics, self.edges).flatten(1))[:, None]], 1)


def piecewise(numbers: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
    """Piecewise-linear encoding (Gorishniy et al., 2022): numbers (B, M), edges (M, E) → (B, M, E); NaN → zeros.

    The last place says that the number is known.
    """
    low, high = edges[:, :-1], edges[:, 1:]
    inside = (numbers[..., None] - low) / (high - low).clamp(min=1e-6)
    known = (~numbers.isnan()).float()[..., None]
    return torch.cat([inside.nan_to_num().clamp(0, 1) * known, known], -1)


class Generator(nn.Module):
    """G(z | features, known attributes)."""

    size: Size
    sequences: nn.ModuleList
    string_words: torch.Tensor
    string_grams: torch.Tensor
    string_counts: torch.Tensor
    edges: torch.Tensor

    def __init__(self, schema: Schema, vocabulary: Vocabulary, size: Size) -> None:
        super().__init__()
        self.schema, self.size, self.layout = schema, size, Layout.of(vocabulary)
        self.attributes = list(schema.attributes)
        self.categorical = list(vocabulary.values)
        self.numeric = list(vocabulary.numbers)
        self.open = [n for n in self.categorical if schema.attributes[n].kind == "open" and schema.text]
        known = vocabulary.values | vocabulary.conditions
        self.value_sizes = [len(v.values) for v in known.values()]
        width = size.width
        self.text = TextEmbedding(len(vocabulary.words.known), len(vocabulary.grams.known), width)
        self.column = nn.Parameter(torch.randn(max(len(schema.text), 1), width) * 0.02)
        self.position = nn.Parameter(torch.randn(text.MAX_TOKENS * max(len(schema.text), 1), width) * 0.02)
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
        self.name = nn.Parameter(torch.randn(len(self.attributes) + len(vocabulary.conditions), width) * 0.1)
        self.mask = nn.Parameter(torch.randn(len(self.name), width) * 0.05)
        self.item = nn.Parameter(torch.randn(width) * 0.05)
        self.noise = nn.Linear(size.noise, width, bias=False)
        nn.init.zeros_(self.noise.weight)
        layer = nn.TransformerEncoderLayer(
            width, size.heads, size.feed_forward, size.dropout, "gelu", batch_first=True, norm_first=True
        )
        self.fusion = nn.TransformerEncoder(layer, size.layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.query = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        self.match = nn.Parameter(torch.ones(max(len(self.categorical), 1), MAX_PHRASE))
        self.span_start = nn.Linear(width, width)
        self.span_end = nn.Linear(width, width, bias=False)
        self.span_words = nn.Linear(width, width, bias=False)
        self.span_length = nn.Parameter(torch.zeros(max(len(self.open), 1), MAX_PHRASE))
        self.wide = nn.EmbeddingBag(self.layout.rows, max(self.layout.columns, 1), mode="sum", sparse=True)
        nn.init.zeros_(self.wide.weight)

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
        self.bins = nn.ModuleList(nn.Linear(width, len(n.value)) for n in numbers)

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
    ) -> Output:
        """One pass.

        Args:
            batch: B items.
            hidden: known cells and sequences that must not be seen.
            z: float32 (B, A, noise): the noise of each attribute; zeros for the most typical completion.
            strangers: float32 (K, D): embeddings of known cells' values outside the vocabulary.
            values: what `values()` returned, where the caller has it already.
        """
        values = self.values() if values is None else values
        attribute_tokens, visible = self._attribute_tokens(batch, hidden, z, values, strangers)
        strings = self.text(batch.word, batch.gram)
        words = strings + self.column[batch.column] + self.position[: batch.word.shape[1]]
        token_mask = batch.token_mask if hidden.text is None else batch.token_mask & ~hidden.text[:, None]
        tokens, masks = [self.item.expand(len(batch), 1, -1), words], [token_mask.new_ones(len(batch), 1), token_mask]
        for level, (name, group) in zip(self.sequences, batch.steps.items(), strict=True):
            present = group[2].any(1) & ~hidden.groups.get(name, torch.zeros(len(batch), dtype=torch.bool))
            tokens.append(level(*group))
            masks.append(present[:, None].expand(-1, SequenceLevel.TOKENS))
        tokens.append(attribute_tokens)
        masks.append(token_mask.new_ones(attribute_tokens.shape[:2]))
        fused = self.fusion(torch.cat(tokens, 1), src_key_padding_mask=~torch.cat(masks, 1))
        queries = self.query(fused[:, -attribute_tokens.shape[1] :])
        wide = self._wide(batch, hidden, visible, token_mask)
        spans = self._spans(fused[:, 1 : 1 + words.shape[1]], strings, token_mask, batch) if self.open else None
        logits = self._logits(batch, hidden, queries, values, wide, spans, token_mask)
        return Output(logits, fused[:, 0], values, _means(strings) if self.open and self.training else None)

    def _attribute_tokens(
        self, batch: Batch, hidden: Hidden, z: torch.Tensor, values: torch.Tensor, strangers: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens (B, A + conditions, D) in the schema's order, and which show a value: bool (B, A + conditions)."""
        table = values if strangers is None else torch.cat([values, strangers])
        known, tokens = {}, {}
        start, total = 0, sum(self.value_sizes)
        conditions = [f"condition {i}" for i in range(batch.codes.shape[1] - len(self.categorical))]
        for i, (name, size) in enumerate(zip([*self.categorical, *conditions], self.value_sizes, strict=True)):
            code = batch.codes[:, i]
            index = torch.where(code < size, code + start, code - size + total).clamp(min=0)
            nothing = torch.zeros_like(self.name[:1]).expand(len(code), -1)
            known[name], tokens[name] = code >= 0, table[index] if len(table) else nothing
            start += size
        pieces = torch.einsum("bme,med->bmd", piecewise(batch.numbers, self.edges), self.number)
        for i, name in enumerate(self.numeric):
            known[name], tokens[name] = batch.bins[:, i] >= 0, pieces[:, i]
        order = [*self.attributes, *conditions]
        seen = torch.stack([known[n] for n in order], 1)
        unhidden = F.pad(~hidden.cells, (0, len(conditions)), value=True)
        visible = seen & unhidden
        noise = F.pad(self.noise(z), (0, 0, 0, len(conditions)))
        stacked = torch.stack([tokens[n] for n in order], 1)
        return self.name + torch.where(visible[..., None], stacked, self.mask + noise), visible

    def _wide(self, batch: Batch, hidden: Hidden, visible: torch.Tensor, token_mask: torch.Tensor) -> torch.Tensor:
        """The linear part: (B, columns of the layout)."""
        rows = [torch.repeat_interleave(torch.arange(len(batch)), batch.wide_offsets.diff())]
        index = [batch.wide]
        weight = [batch.wide_weight * token_mask.any(1)[rows[0]]]
        order = {name: i for i, name in enumerate(self.attributes)}
        codes = {n: batch.codes[:, i] for i, n in enumerate(self.categorical)}
        codes |= {n: batch.bins[:, i] for i, n in enumerate(self.numeric)}
        names = [n for n in self.layout.inputs if not n.startswith("sequence.") and n not in order]
        for i, name in enumerate(names):  # conditions
            codes[name] = batch.codes[:, len(self.categorical) + i]
            order[name] = len(self.attributes) + i
        for name, code in codes.items():
            start, size = self.layout.inputs[name]
            at = torch.nonzero(visible[:, order[name]] & (code >= 0) & (code < size)).squeeze(1)
            rows.append(at)
            index.append(start + code[at])
            weight.append(torch.ones(len(at)))
        for level, (name, group) in zip(self.sequences, batch.steps.items(), strict=True):
            present = ~group[3].isnan()
            if name in hidden.groups:
                present = present & ~hidden.groups[name][:, None]
            at, column = torch.nonzero(present, as_tuple=True)
            edges: torch.Tensor = level.edges  # type: ignore[assignment]
            knot = (group[3][at, column][:, None] > edges[column]).sum(1)
            rows.append(at)
            index.append(self.layout.inputs[f"sequence.{name}"][0] + column * (edges.shape[1] + 1) + knot)
            weight.append(torch.full((len(at),), 0.5))
        row, all_index, all_weight = torch.cat(rows), torch.cat(index), torch.cat(weight)
        if self.training and self.size.wide_dropout:
            keep = torch.rand(len(all_weight)) >= self.size.wide_dropout
            all_weight = all_weight * keep / (1 - self.size.wide_dropout)
        order_by_row = torch.argsort(row, stable=True)
        starts = torch.searchsorted(row[order_by_row], torch.arange(len(batch)))
        return self.wide(all_index[order_by_row], starts, per_sample_weights=all_weight[order_by_row])

    def _spans(
        self, fused: torch.Tensor, strings: torch.Tensor, token_mask: torch.Tensor, batch: Batch
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the spans' scores are made of, (3, B, T, D) for start, end and words; which spans are one, (B, T, L).

        A span's embedding is linear in its first token, its last one and the mean of its words, so its score against a
        query is a sum of three numbers per token: no span ever gets a vector of its own.
        """
        parts = torch.stack([self.span_start(fused), self.span_end(fused), self.span_words(strings)])
        valid = torch.zeros(*token_mask.shape, MAX_PHRASE, dtype=torch.bool)
        for n in range(min(MAX_PHRASE, token_mask.shape[1])):
            same = batch.column[:, n:] == batch.column[:, : token_mask.shape[1] - n]
            valid[..., n] = token_mask & F.pad(token_mask[:, n:] & same, (0, n))
        return parts, valid

    def _logits(
        self, batch: Batch, hidden: Hidden, queries: torch.Tensor, values: torch.Tensor, wide: torch.Tensor,
        spans: tuple[torch.Tensor, torch.Tensor] | None, token_mask: torch.Tensor,
    ) -> dict[str, torch.Tensor]:  # fmt: skip
        scale = 1 / math.sqrt(queries.shape[-1])
        visible_text = token_mask.any(1)[batch.match_row]
        logits: dict[str, torch.Tensor] = {}
        start = 0
        for i, name in enumerate(self.categorical):
            size = self.value_sizes[i]
            query = queries[:, self.attributes.index(name)]
            score = query @ values[start : start + size].T * scale * 4 + self.value_bias[start : start + size]
            score = score + self._wide_of(name, wide, size)
            at = torch.nonzero((batch.match_attribute == i) & visible_text).squeeze(1)
            unlisted = hidden.unlisted[name][batch.match_row[at]] if name in hidden.unlisted else None
            bonus = self.match[i, batch.match_length[at] - 1]
            if unlisted is not None:
                bonus = bonus.masked_fill(unlisted, -1e4)
                at, bonus = torch.cat([at[unlisted], at[~unlisted]]), torch.cat([bonus[unlisted], bonus[~unlisted]])
            matched = torch.zeros_like(score).index_put((batch.match_row[at], batch.match_value[at]), bonus)
            score = score + matched
            if name in self.open and spans is not None:
                start_of, end_of, words_of = torch.einsum("bd,pbtd->pbt", query, spans[0]) * scale
                span = (
                    start_of[..., None]
                    + _shifted(end_of)
                    + _means(words_of[..., None]).unflatten(1, (-1, MAX_PHRASE))[..., 0]
                )
                span = span + self.span_length[self.open.index(name)] - 2
                if unlisted is not None:
                    at = at[int(unlisted.sum()) :]
                free = spans[1].index_put(
                    (batch.match_row[at], batch.match_token[at], batch.match_length[at] - 1), torch.tensor(False)
                )
                score = torch.cat([score, span.masked_fill(~free, -1e4).flatten(1)], 1)
            logits[name] = score
            start += size
        for i, name in enumerate(self.numeric):
            score = self.bins[i](queries[:, self.attributes.index(name)])
            logits[name] = score + self._wide_of(name, wide, score.shape[1])
        return logits

    def _wide_of(self, name: str, wide: torch.Tensor, size: int) -> torch.Tensor:
        start, columns = self.layout.outputs[name]
        return F.pad(wide[:, start : start + columns], (0, size - columns))


def _shifted(ends: torch.Tensor) -> torch.Tensor:
    """Scores of last tokens (B, T) by start token and length: (B, T, L), zero past the end."""
    length = ends.shape[1]
    return torch.stack([F.pad(ends, (0, n))[:, n : n + length] for n in range(MAX_PHRASE)], 2)


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
    words = [tensor(vocabulary.words.index(word)) for word, _ in encoded]
    grams = [tensor(vocabulary.grams.index(gram)) for _, gram in encoded]
    empty = torch.zeros(0, dtype=torch.int64)
    return (
        torch.cat([empty, *words]),
        torch.cat([empty.reshape(0, text.GRAMS), *grams]),
        torch.tensor([len(w) for w in words], dtype=torch.int64),
    )
