"""The text level: words and characters, hashed, in any language.

Text is cut into words (one token per character in Chinese, Japanese and Korean), normalised (NFKC, case-folded), and
every token keeps its place in the raw text, so that a copied value can point at where it stands. Nothing here depends
on a vocabulary: a token is the hash of its word and of its character 3-grams, so encodings can be cached per item.
"""

import hashlib
import re
import unicodedata
from functools import lru_cache
from itertools import pairwise
from zlib import crc32

import numpy as np
import pandas as pd
import pyarrow as pa

from attrgan.schema import Schema

VERSION = 2
"""Raised whenever `encode` changes what it returns."""
MAX_TOKENS = 48
"""Tokens of one column that become tokens of the network; the linear part sees more."""
MAX_WIDE_TOKENS = 256
GRAMS = 8
"""Character 3-grams kept per word."""
SHORT = 96
"""Texts up to this many characters also give character 2- to 4-grams to the linear part."""

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af"
# accents and vowel signs belong to the letter before them; `re` has no class for them
_MARK = "".join(c for c in map(chr, range(0x300, 0x10000)) if unicodedata.category(c) in ("Mn", "Mc"))
_TOKEN = re.compile(rf"[{_CJK}][{_MARK}]*|\d+(?:[.,]\d+)+|(?:(?![{_CJK}])[^\W_][{_MARK}]*)+")


def hash32(text: str) -> int:
    """A stable 32-bit hash that is never 0 (0 pads)."""
    return crc32(text.encode("utf-8", "surrogatepass")) or 1


def tokenize(text: str) -> list[tuple[str, int, int]]:
    """The words of a text as (normalised word, start, end), offsets into the raw text."""
    return [(normalise(m.group()), m.start(), m.end()) for m in _TOKEN.finditer(text)]


@lru_cache(maxsize=1 << 18)
def normalise(word: str) -> str:
    """NFKC and case-folded."""
    return unicodedata.normalize("NFKC", word).casefold()


@lru_cache(maxsize=1 << 18)
def encode_word(word: str) -> tuple[int, np.ndarray, np.ndarray]:
    """A word as its hash, uint32 (GRAMS,) 3-gram hashes padded with 0, and uint32 (n,) 2- to 4-gram hashes."""
    padded = f"<{word}>"
    grams = np.zeros(GRAMS, np.uint32)
    found = [hash32("g" + padded[i : i + 3]) for i in range(max(len(padded) - 2, 1))][:GRAMS]
    grams[: len(found)] = found
    wide = {padded[i : i + n] for n in (2, 3, 4) for i in range(len(padded) - n + 1)}
    return hash32("w" + word), grams, np.fromiter((hash32("c" + g) for g in sorted(wide)), np.uint32)


@lru_cache(maxsize=1 << 18)
def _pair(first: str, second: str) -> int:
    return hash32(f"p{first} {second}")


def encode_value(text: str) -> tuple[np.ndarray, np.ndarray]:
    """A value's string as uint32 (n,) word hashes and uint32 (n, GRAMS) 3-gram hashes."""
    words = [encode_word(word) for word, _, _ in tokenize(text)[:8]] or [encode_word(normalise(text))]
    return np.array([w[0] for w in words], np.uint32), np.stack([w[1] for w in words])


def phrase_hashes(words: np.ndarray, longest: int) -> list[np.ndarray]:
    """For n = 1 … longest: uint64 (len(words) − n + 1,) hashes of the n consecutive words from each position."""
    hashes = [words.astype(np.uint64)]
    for n in range(2, longest + 1):
        if len(words) < n:
            break
        hashes.append(hashes[-1][:-1] * np.uint64(0x9E3779B97F4A7C15) + words[n - 1 :].astype(np.uint64))
    return hashes


def columns(schema: Schema) -> list[str]:
    """The text columns, in the schema's order."""
    return schema.text


def version(schema: Schema) -> str:
    """The version of `encode` and of the columns read."""
    return f"{VERSION}-{hashlib.sha256(repr(schema.text).encode()).hexdigest()[:10]}"


def encode(frame: pd.DataFrame, schema: Schema) -> dict[str, pa.Array]:
    """Encodes the text columns.

    Returns:
        Per item: `text.word` list<uint32> of t tokens; `text.gram` of t · GRAMS; `text.column` list<uint8>,
        `text.start` and `text.end` list<int32> of t; `text.wide` list<uint32> of the linear part's features.
    """
    rows = [_encode_item(texts) for texts in texts_of(frame, schema)]
    types = {"word": pa.uint32(), "gram": pa.uint32(), "column": pa.uint8(), "start": pa.int32(), "end": pa.int32()}
    types["wide"] = pa.uint32()
    return {f"text.{name}": ragged([row[i] for row in rows], t) for i, (name, t) in enumerate(types.items())}


def texts_of(frame: pd.DataFrame, schema: Schema) -> list[tuple[str | None, ...]]:
    """Per item its cells of the text columns."""
    if not schema.text:
        return [()] * len(frame)
    return list(zip(*(frame[c] for c in schema.text), strict=True))


def _encode_item(texts: tuple[str | None, ...]) -> list[np.ndarray]:
    words: list[int] = []
    grams: list[np.ndarray] = []
    places: list[tuple[int, int, int]] = []
    wide: list[np.ndarray] = []
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            continue
        tokens = tokenize(text)[:MAX_WIDE_TOKENS]
        encoded = [encode_word(word) for word, _, _ in tokens]
        words += [e[0] for e in encoded[:MAX_TOKENS]]
        grams += [e[1] for e in encoded[:MAX_TOKENS]]
        places += [(number, start, end) for _, start, end in tokens[:MAX_TOKENS]]
        wide.append(np.array([e[0] for e in encoded], np.uint32))
        pairs = pairwise(tokens)
        wide.append(np.fromiter((_pair(a[0], b[0]) for a, b in pairs), np.uint32))
        if len(text) <= SHORT:
            wide += [e[2] for e in encoded]
    place = np.array(places, np.int32).reshape(-1, 3)
    return [
        np.array(words, np.uint32),
        np.concatenate(grams) if grams else np.empty(0, np.uint32),
        place[:, 0], place[:, 1], place[:, 2],
        np.unique(np.concatenate(wide)) if wide else np.empty(0, np.uint32),
    ]  # fmt: skip


def ragged(rows: list[np.ndarray], value_type: pa.DataType) -> pa.Array:
    """A list array from one numpy array per row."""
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    flat = np.concatenate(rows) if rows else np.empty(0)
    return pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(flat.astype(value_type.to_pandas_dtype())))
