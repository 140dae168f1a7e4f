"""The language level: what a pretrained language model makes of an item's text, as a sentence and word by word.

Choices, each measured by `benchmarks/encoders.py` on two cores:
- Texts of one length make a batch, so nothing is padded and nothing that shares a batch with an item changes it.
- bfloat16 where the CPU has it: three times as fast as float32 at a cosine of .9999 (minimum over titles). int8 was
  faster still, but dynamic ranges make an item depend on its batch, and a quarter of the nearest neighbours changed.
- At most MAX_PIECES word pieces, the first text column (the title) first: the default model was trained on 128.
- Text of which a tenth is unknown to the model's vocabulary is not its language: the level is missing for that item,
  and characters and words carry it (`text.py`). Seven English columns tried had no unknown piece at the 99th
  percentile; of Chinese titles full of Latin brand names, 99 % have at least 23 % of them.

The same item gives the same vectors up to the rounding of bfloat16: cosine at least .999 in any batch, on any machine.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from attrgan.features import pretrained, text
from attrgan.schema import Schema

if TYPE_CHECKING:
    import torch

VERSION = 3
"""Raised whenever `encode` changes what it returns."""
MAX_PIECES = 128
MAX_CHARACTERS = 4000
"""More text than this is never among the first MAX_PIECES pieces."""
MAX_UNKNOWN = 0.1
BATCH_PIECES = 4096

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Encoder:
    """A language model and its tokenizer."""

    tokenizer: Any
    model: Any
    max_pieces: int

    @property
    def width(self) -> int:
        """Values of one vector."""
        return int(self.model.config.hidden_size)


@dataclass
class _Item:
    """One text: its pieces, the word each belongs to (−1: none), and how many words it has."""

    pieces: list[int]
    word: np.ndarray
    words: int
    sentence: np.ndarray
    token: np.ndarray


def columns(schema: Schema) -> list[str]:
    """The text columns, unless the schema switches the level off."""
    return schema.text if schema.encoders.language else []


def version(schema: Schema) -> str:
    """The version of `encode`, of the model, of the columns read and whether words are wanted."""
    if not columns(schema):
        return str(VERSION)
    read = (pretrained.source(str(schema.encoders.language)).identity, schema.text, wants_words(schema))
    return f"{VERSION}-{hashlib.sha256(repr(read).encode()).hexdigest()[:10]}"


def wants_words(schema: Schema) -> bool:
    """Whether single words are worth their vectors: where values are copied out of the text."""
    return any(attribute.kind == "open" for attribute in schema.attributes.values())


@lru_cache(maxsize=2)
def load(name: str) -> Encoder:
    """The language model, by package, folder or Hugging Face name; raises SettingsError where it cannot be loaded."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer = pretrained.load(name, AutoTokenizer.from_pretrained)
    model = pretrained.load(
        name, AutoModel.from_pretrained, use_safetensors=True, dtype=pretrained.precision(), attn_implementation="eager"
    )
    positions = getattr(model.config, "max_position_embeddings", MAX_PIECES)
    return Encoder(tokenizer, model.eval(), min(MAX_PIECES, positions, tokenizer.model_max_length))


def encode(frame: pd.DataFrame, schema: Schema) -> dict[str, pa.Array]:
    """Encodes all text columns of an item as one text.

    Returns:
        Per item, both large_list<float16>, empty where the item has no text that the model knows:
        `language.sentence` of w values (384 for the default model), the mean of the last layer's vectors, of length 1;
        `language.token` of t · 2 w values where the schema has an open attribute (else empty), for the t words of
        `text.encode` in their order: the mean over a word's pieces of the hidden layer a third of the way up, and of
        the last one, zeros for words after the first MAX_PIECES pieces. (OA-Mine, row F1 on rows kept back from
        training: one after the other .758, their mean .749.)
    """
    words = wants_words(schema)
    empty = np.empty(0, np.float16)
    items: list[_Item | None] = [None] * len(frame)
    if columns(schema):
        texts = text.texts_of(frame, schema)
        encoded = _encode(list(dict.fromkeys(texts)), load(str(schema.encoders.language)), words)
        items = [encoded[item] for item in texts]
    return {
        "language.sentence": text.ragged([i.sentence if i else empty for i in items], pa.float16()),
        "language.token": text.ragged([i.token if i else empty for i in items], pa.float16()),
    }


def _encode(
    texts: list[tuple[str | None, ...]], encoder: Encoder, words: bool
) -> dict[tuple[str | None, ...], _Item | None]:
    items = dict(zip(texts, _tokenize(texts, encoder, words), strict=True))
    for batch in _batches([item for item in items.values() if item]):
        _forward(batch, encoder, words)
    return items


def _tokenize(texts: list[tuple[str | None, ...]], encoder: Encoder, words: bool) -> list[_Item | None]:
    """The pieces of every text; None where there is none or the model does not know the language."""
    joined = ["\n".join(_known(cells))[:MAX_CHARACTERS] for cells in texts]
    if not joined:
        return []
    found = encoder.tokenizer(
        [_SURROGATE.sub("\ufffd", t) for t in joined],
        truncation=True, max_length=encoder.max_pieces, return_offsets_mapping=words, return_special_tokens_mask=True,
    )  # fmt: skip
    unknown = encoder.tokenizer.unk_token_id
    items: list[_Item | None] = []
    for i, cells in enumerate(texts):
        pieces = found["input_ids"][i]
        real = len(pieces) - sum(found["special_tokens_mask"][i])
        unknowns = pieces.count(unknown) if unknown is not None else 0
        if not joined[i].strip() or not real or unknowns > MAX_UNKNOWN * real:
            items.append(None)
            continue
        places = _places(cells) if words else np.empty((0, 2), np.int64)
        word = _word_of(np.array(found["offset_mapping"][i]), places) if words else np.empty(0, np.int64)
        items.append(_Item(pieces, word, len(places), np.empty(0), np.empty(0)))
    return items


def _known(cells: tuple[str | None, ...]) -> list[str]:
    return [cell for cell in cells if isinstance(cell, str)]


def _places(cells: tuple[str | None, ...]) -> np.ndarray:
    """int64 (t, 2): start and end, in the joined text, of the words of `text.encode`."""
    places, shift = [], 0
    for cell in _known(cells):
        places += [(shift + start, shift + end) for _, start, end in text.read(text.tokenize(cell))]
        shift += len(cell) + 1
    return np.array(places, np.int64).reshape(-1, 2)


def _word_of(offsets: np.ndarray, places: np.ndarray) -> np.ndarray:
    """int64 (pieces,): the word in which each piece's last character lies, −1 for none."""
    last = offsets[:, 1] - 1
    word = np.searchsorted(places[:, 0], last, side="right") - 1
    inside = (word >= 0) & (offsets[:, 1] > offsets[:, 0])
    inside[inside] &= last[inside] < places[word[inside], 1]
    return np.where(inside, word, -1)


def _batches(items: list[_Item]) -> Iterator[list[_Item]]:
    """Items of one length, at most BATCH_PIECES pieces together."""
    for length, same in groupby(sorted(items, key=lambda item: len(item.pieces)), key=lambda item: len(item.pieces)):
        group, size = list(same), max(BATCH_PIECES // length, 1)
        yield from (group[start : start + size] for start in range(0, len(group), size))


def _forward(batch: list[_Item], encoder: Encoder, words: bool) -> None:
    """Sets the vectors of items that have the same number of pieces."""
    import torch

    ids = torch.tensor([item.pieces for item in batch], device="cpu")
    with torch.inference_mode():
        found = encoder.model(input_ids=ids, attention_mask=torch.ones_like(ids), output_hidden_states=words)
        mean = found.last_hidden_state.float().mean(1)
        sentences = torch.nn.functional.normalize(mean, dim=1).numpy().astype(np.float16)
        tokens = _word_means(batch, found.hidden_states) if words else None
    start = 0
    for item, sentence in zip(batch, sentences, strict=True):
        item.sentence = sentence
        if tokens is not None:
            item.token = tokens[start : start + item.words].ravel()
            start += item.words


def _word_means(batch: list[_Item], hidden: "tuple[torch.Tensor, ...]") -> np.ndarray:
    """float16 (words of the batch, 2 w): the mean of each word's pieces, in two layers."""
    import torch

    vectors = torch.cat([hidden[(len(hidden) - 1) // 3].float(), hidden[-1].float()], -1).flatten(0, 1)
    firsts = np.cumsum([0, *(item.words for item in batch)])
    word = np.concatenate([np.where(i.word >= 0, i.word + f, -1) for i, f in zip(batch, firsts, strict=False)])
    pieces = np.flatnonzero(word >= 0)
    at = torch.from_numpy(word[pieces])
    total = torch.zeros(int(firsts[-1]), vectors.shape[1]).index_add_(0, at, vectors[torch.from_numpy(pieces)])
    count = torch.bincount(at, minlength=len(total)).clamp(min=1)
    return (total / count[:, None]).numpy().astype(np.float16)
