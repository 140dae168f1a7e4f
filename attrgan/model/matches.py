"""Where values stand in the items' own texts, word by word.

Found by the hashes of phrases: values of the vocabulary, cells' own values that the vocabulary does not have, and spans
that spell what an earlier span of the same text does.

A value also stands *loosely* where a word of the text begins with its last word, or the other way round: `Print` in
`Printed`, `Dresses` in `Dress` (7 % of the values of AE-110K). No language is asked (`text.beginnings`). A loose match
is another reason to choose the value, with a bonus of its own; it spells nothing.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np

from attrgan.features import text
from attrgan.model.vocabulary import MAX_PHRASE, Vocabulary

Phrases: TypeAlias = list[tuple[np.ndarray, np.ndarray, np.ndarray]]
"""For 1, 2, … words: the hash of each phrase, its first token over all items, and its row."""


@dataclass
class Matches:
    """Where values stand in the items' own texts, sorted by row, attribute and value; all int64 (m,).

    `token` and `length`: the words that they stand in; `loose`: 1 where these only begin as the value does, or it as
    they do.
    """

    row: np.ndarray
    attribute: np.ndarray
    value: np.ndarray
    loose: np.ndarray
    token: np.ndarray
    length: np.ndarray

    def find(self, row: np.ndarray, attribute: int, value: np.ndarray) -> np.ndarray:
        """int64 of the shape of row: which match is the one of this row's attribute and value, −1 where none is."""
        attributes, values, keys = self._keys
        if not len(keys) or attribute >= attributes:
            return np.full(row.shape, -1)
        asked = (row * attributes + attribute) * values + value
        at = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
        return np.where((keys[at] == asked) & (value >= 0) & (value < values), at, -1)

    @cached_property
    def _keys(self) -> tuple[int, int, np.ndarray]:
        """How many attributes and values there are at most; row, attribute and value of each match as one number."""
        attributes, values = int(self.attribute.max(initial=0)) + 1, int(self.value.max(initial=0)) + 1
        return attributes, values, (self.row * attributes + self.attribute) * values + self.value


def phrases(tokens: dict[str, np.ndarray], token_offsets: np.ndarray) -> Phrases:
    """All phrases of up to MAX_PHRASE words within one text column; tokens as in `Inputs`."""
    row = np.repeat(np.arange(len(token_offsets) - 1), np.diff(token_offsets))
    found = []
    for n, phrase in enumerate(text.phrase_hashes(tokens["hash"][: len(row)], MAX_PHRASE), start=1):
        last = np.arange(n - 1, len(row))
        first = last - n + 1
        inside = (row[first] == row[last]) & (tokens["column"][first] == tokens["column"][last])
        found.append((phrase[inside], first[inside], row[first[inside]]))
    return found


def find_values(
    of_texts: Phrases, tokens: dict[str, np.ndarray], token_offsets: np.ndarray, vocabulary: Vocabulary,
    texts: list[np.ndarray],
) -> Matches:  # fmt: skip
    """Finds every value of the vocabulary, up to MAX_PHRASE words long, in the items' texts.

    Args:
        texts: the text columns, object (N,) each; without them nothing is found loosely.
    """
    found = [np.empty((6, 0), np.int64)]
    for loose, some in enumerate((of_texts, _inflected(of_texts, tokens, vocabulary, texts))):
        for attribute, known in enumerate(vocabulary.phrases):
            for length, (phrase, first, row) in enumerate(some, start=1):
                if length not in known:
                    continue
                hashes, values = known[length]
                position = np.minimum(np.searchsorted(hashes, phrase), len(hashes) - 1)
                hit = np.flatnonzero(hashes[position] == phrase)
                found.append(_table(row[hit], attribute, values[position[hit]], loose, first[hit], length))
    return _first_places(np.concatenate(found, 1), token_offsets)


def _inflected(
    of_texts: Phrases, tokens: dict[str, np.ndarray], vocabulary: Vocabulary, texts: list[np.ndarray]
) -> Phrases:
    """The phrases of the texts with another ending to their last word, where the vocabulary has such a word."""
    if not texts or not of_texts:
        return []
    hashes, first, row = of_texts[0]
    once, at = np.unique(hashes, return_index=True)
    words = {}
    for word, token, item in zip(once.tolist(), first[at].tolist(), row[at].tolist(), strict=True):
        cell = str(texts[tokens["column"][token]][item])
        words[word] = text.normalise(cell[tokens["start"][token] : tokens["end"][token]])
    others = _other_endings(words, vocabulary)
    if not others:
        return []
    word, ending = (np.array(part, np.uint64) for part in zip(*others, strict=True))
    found: Phrases = []
    lengths = {length for known in vocabulary.phrases for length in known}
    for n, (phrase, start, item) in enumerate(of_texts, start=1):
        if n not in lengths:
            found.append((phrase[:0], start[:0], item[:0]))
            continue
        at, other = pairs(tokens["hash"][start + n - 1].astype(np.uint64), word)
        phrase = ending[other]
        if n > 1:
            shorter, begins, _ = of_texts[n - 2]
            phrase = text.longer(shorter[np.searchsorted(begins, start[at])], phrase)
        found.append((phrase, start[at], item[at]))
    return found


def _other_endings(words: dict[int, str], vocabulary: Vocabulary) -> list[tuple[int, int]]:
    """(hash of a word of the texts, hash of a known one that begins as it does, or the other way round), sorted."""
    known, longer = vocabulary.last_words, vocabulary.longer_words
    found = []
    for code, word in words.items():
        found += [(code, other) for other in longer.get(word, ())]
        found += [(code, known[shorter]) for shorter in text.beginnings(word) if shorter in known]
    return sorted(found)


def pairs(asked: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of positions at which `asked` and `keys`, sorted, are the same, in the order of `asked`."""
    start, end = (np.searchsorted(keys, asked, side=side) for side in ("left", "right"))
    counts = end - start
    at = np.repeat(np.arange(len(asked)), counts)
    return at, np.repeat(start - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())


def _table(*columns: np.ndarray | int) -> np.ndarray:
    """int64 (columns, m): a number stands in all rows."""
    return np.stack(np.broadcast_arrays(*columns)).astype(np.int64)


def _first_places(table: np.ndarray, token_offsets: np.ndarray) -> Matches:
    """Places (6, m) as in `Matches`, but with tokens counted over all items, sorted and each value once per row."""
    table = table[:, np.lexsort(table[[4, 3, 2, 1, 0]])].astype(np.int64)
    new = np.ones(table.shape[1], bool)
    new[1:] = (table[:3, 1:] != table[:3, :-1]).any(0)
    table = table[:, new]
    table[4] -= token_offsets[table[0]]
    return Matches(*table)


def copies(
    codes: list[np.ndarray], strangers: list[str], of_texts: Phrases,
    token_offsets: np.ndarray, vocabulary: Vocabulary, spelled: tuple[str, ...],
) -> Matches:  # fmt: skip
    """Where cells' own values that the vocabulary does not have stand in the text."""
    words = [text.encode_value(value)[0] for value in strangers]
    length = np.array([len(w) for w in words], np.int64)
    spelt = np.array([text.phrase_hashes(w, len(w))[-1][0] for w in words], np.uint64)
    found = [np.empty((6, 0), np.int64)]
    for attribute, (name, known) in enumerate(vocabulary.values.items()):
        own = codes[attribute] - len(known.values)
        if name not in spelled or not (own >= 0).any():
            continue
        for n, (phrase, first, row) in enumerate(of_texts, start=1):
            at = np.flatnonzero(own[row] >= 0)
            at = at[(length[own[row[at]]] == n) & (spelt[own[row[at]]] == phrase[at])]
            found.append(_table(row[at], attribute, codes[attribute][row[at]], 0, first[at], n))
    return _first_places(np.concatenate(found, 1), token_offsets)


def repeats(of_texts: Phrases, token_offsets: np.ndarray) -> np.ndarray:
    """`Inputs.repeats`."""
    found = [np.empty((3, 0), np.int64)]
    for n, (phrase, token, row) in enumerate(of_texts, start=1):
        key = phrase * np.uint64(0x9E3779B97F4A7C15) ^ (row.astype(np.uint64) + np.uint64(1)) * np.uint64(
            0xC2B2AE3D27D4EB4F
        )
        _, first, group = np.unique(key, return_index=True, return_inverse=True)
        again = np.flatnonzero(first[group] != np.arange(len(key)))
        places = [(token[at] - token_offsets[row[again]]) * MAX_PHRASE + n - 1 for at in (again, first[group[again]])]
        found.append(np.stack([row[again], *places]))
    table = np.concatenate(found, 1)
    return table[:, np.argsort(table[0], kind="stable")]
