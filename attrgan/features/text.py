"""The text level: words and characters, hashed, in any language.

Text is cut into tokens, normalised, and every token keeps its place in the raw text, so that a copied value can point
at where it stands. Nothing here depends on a vocabulary: a token is the hash of its word and of its character 3-grams,
so encodings can be cached per item.

*Tokens.* Where a script spaces its words, a token is a word (Korean too: its words are spaced, and eight tokens, the
longest span that is copied, would else be eight syllables; Hangul beside Latin is cut apart: `LG전자`). Where it does
not, a token is a character with its marks: Chinese, Japanese, Thai and Lao (with the vowels before and behind it),
Khmer, Burmese. Numbers keep their point or comma. Emoji and punctuation only separate.

*Normal form.* NFKC (width, ligatures, presentation forms, composed or not), case-folded, digits of all scripts as
ASCII. Invisible characters (soft hyphens, joiners, direction marks), the tatweel and the vowel points of Arabic and
Hebrew are dropped: they neither split nor change a word. I, İ, ı and i are one letter: in a catalog of many languages
nobody knows which of them a capital I is. Accents of other scripts stay, for they make other words.

*Hostile text.* Marks are bounded per letter and letters per token, so that neither costs more than linear time.
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

VERSION = 4
"""Raised whenever `encode` changes what it returns."""
MAX_TOKENS, MAX_CHARACTERS = 96, 288
"""So many tokens of one column, of its first characters, become tokens of the network; the linear part sees more. In
Latin letters that are some 48 words. (Laptops, whose Chinese titles have 42 to 69 tokens: accuracy .976 when 48 were
read, .980 when all were, prices within 5 % .356 and .376. 128 words of English descriptions instead of 48: no gain.)"""
MAX_WIDE_TOKENS = 256
GRAMS = 8
"""Character 3-grams kept per word."""
LOOKS = 3
"""What is kept of a token's look: what stands before it, what behind it, and how it is written."""
GAPS, SHAPES = 256, 8
"""How many kinds of each there are; 0 pads."""
SHORT = 96
"""Texts up to this many characters also give character 2- to 4-grams to the linear part."""

STEM, ENDING = 3, 3
VALUE_WORDS = 9
"""Words of a value that are seen: one more than a phrase may have, so that no longer value is taken for one."""

_LETTERS = 64
"""Letters of the longest token; a longer run is cut."""
_MARKS = 8
"""Marks on one letter that count; a text may pile up thousands."""


def _class(*categories: str) -> str:
    """The characters of some Unicode categories, as the inside of a class of `re`, which has no name for them."""
    codes = [c for c in range(0x300, 0x30000) if unicodedata.category(chr(c)) in categories]
    starts = [c for c, before in zip(codes, [-1, *codes], strict=False) if c != before + 1]
    ends = [c for c, after in zip(codes, [*codes[1:], -1], strict=True) if c + 1 != after]
    return "".join(f"{chr(a)}-{chr(b)}" for a, b in zip(starts, ends, strict=True))


# accents and vowel signs belong to the letter before them
_MARK = _class("Mn", "Mc", "Me")
_HIDDEN = "\u00ad\U000e0000-\U000e0fff" + _class("Cf")
_HANGUL = "\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff\uffa0-\uffdc"
_THAI = "\u0e00-\u0eff"
_UNSPACED = (
    f"{_THAI}\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\ua9e0-\ua9ff\uaa60-\uaadf\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
_LETTER = rf"[^\W_](?:[{_MARK}{_HIDDEN}]*[{_MARK}])?"
_THAI_BEFORE, _THAI_BEHIND = "\u0e40-\u0e44\u0ec0-\u0ec4", "\u0e30\u0e32\u0e33\u0e45\u0eb0\u0eb2\u0eb3"
# most tokens, quickly: letters before a character that is neither a mark nor a letter of the same word
_PLAIN = (
    "A-Za-z0-9\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02af\u0400-\u0481\u048a-\u052f\u05d0-\u05ea\u0620-\u063f\u0641-\u064a"
)
_TOKEN = re.compile(
    rf"""[\u4e00-\u9fff](?=[\u4e00-\u9fff\x00-\x7f\u3000-\u3029\uff01-\uff60]|$)
    | \d+(?:[.,]\d+)+
    | [{_PLAIN}]{{1,{_LETTERS}}}+(?![^\x00-\x7f\u3000-\u3020\u4e00-\u9fff])
    | (?=[^\W_])(?:
        (?=[{_THAI}])[{_THAI_BEFORE}]?{_LETTER}(?:(?=[{_THAI_BEHIND}]){_LETTER})?
      | (?=[{_UNSPACED}]){_LETTER}[\uff9e\uff9f]?
      | (?=[{_HANGUL}])(?:[{_HIDDEN}]*(?=[{_HANGUL}]){_LETTER}){{1,{_LETTERS}}}
      | (?![{_UNSPACED}{_HANGUL}]){_LETTER}(?:[{_HIDDEN}]*(?![{_UNSPACED}{_HANGUL}]){_LETTER}){{0,{_LETTERS - 1}}}
    )""",
    re.VERBOSE,
)
_ASCII_TOKEN = re.compile(rf"\d+(?:[.,]\d+)+|[A-Za-z0-9]{{1,{_LETTERS}}}")
_TOO_MANY = re.compile(rf"([{_MARK}{_HIDDEN}]{{{_MARKS}}})[{_MARK}{_HIDDEN}]+")
_POINTS = (  # of Arabic and Hebrew, and the tatweel
    "\u0610-\u061a\u0640\u064b-\u0652\u0656-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed"
    "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"
)
_DROPPED = re.compile(f"[{_HIDDEN}\ufe00-\ufe0f{_POINTS}]")
_DIGIT = re.compile(r"[^\D0-9]")


def hash32(text: str) -> int:
    """A stable 32-bit hash that is never 0 (0 pads)."""
    return crc32(text.encode("utf-8", "surrogatepass")) or 1


def tokenize(text: str) -> list[tuple[str, int, int]]:
    """The words of a text as (normalised word, start, end), offsets into the raw text."""
    if text.isascii():
        return [(m.group().lower(), m.start(), m.end()) for m in _ASCII_TOKEN.finditer(text)]
    return [(normalise(m.group()), m.start(), m.end()) for m in _TOKEN.finditer(text)]


def read(tokens: list[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    """Those tokens of one column that become tokens of the network."""
    return [token for token in tokens[:MAX_TOKENS] if token[2] <= MAX_CHARACTERS]


@lru_cache(maxsize=1 << 18)
def normalise(word: str) -> str:
    """The normal form of a word: see the module."""
    if word.isascii():
        return word.lower()
    if len(word) > _MARKS:
        word = _TOO_MANY.sub(r"\1", word)
    whole = unicodedata.normalize("NFKC", word).casefold()
    if (seen := _DROPPED.sub("", whole)) != whole:
        seen = unicodedata.normalize("NFKC", seen)
    seen = seen.replace("i\u0307", "i").replace("\u0131", "i")
    return _DIGIT.sub(lambda digit: str(unicodedata.decimal(digit.group())), seen)


def beginnings(word: str) -> list[str]:
    """What a word may be with another ending: without its last letters, at most ENDING of them and fewer the less is
    left, never less than STEM letters; of what has other characters than letters nothing."""
    if not word.isalpha():
        return []
    return [word[:end] for end in range(STEM, len(word)) if len(word) - end <= min(ENDING, end - 2)]


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


@lru_cache(maxsize=1 << 14)
def encode_value(text: str) -> tuple[np.ndarray, np.ndarray]:
    """A value's string as uint32 (n,) word hashes and uint32 (n, GRAMS) 3-gram hashes; not to be changed."""
    words = [encode_word(word) for word, _, _ in tokenize(text)[:VALUE_WORDS]] or [encode_word(normalise(text))]
    return np.array([w[0] for w in words], np.uint32), np.stack([w[1] for w in words])


def phrase_hashes(words: np.ndarray, longest: int) -> list[np.ndarray]:
    """For n = 1 … longest: uint64 (len(words) − n + 1,) hashes of the n consecutive words from each position."""
    hashes = [words.astype(np.uint64)]
    for n in range(2, longest + 1):
        if len(words) < n:
            break
        hashes.append(longer(hashes[-1][:-1], words[n - 1 :].astype(np.uint64)))
    return hashes


def longer(phrase: np.ndarray, word: np.ndarray) -> np.ndarray:
    """The hashes of phrases, uint64 (n,), with one more word each, uint64 (n,)."""
    return phrase * np.uint64(0x9E3779B97F4A7C15) + word


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
        `text.start` and `text.end` list<int32> of t; `text.look` list<uint8> of t · LOOKS; `text.wide` list<uint32> of
        the linear part's features.
    """
    rows = [_encode_item(texts) for texts in texts_of(frame, schema)]
    types = {"word": pa.uint32(), "gram": pa.uint32(), "column": pa.uint8(), "start": pa.int32(), "end": pa.int32()}
    types |= {"look": pa.uint8(), "wide": pa.uint32()}
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
    looks: list[int] = []
    wide: list[np.ndarray] = []
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            continue
        tokens = tokenize(text)[:MAX_WIDE_TOKENS]
        encoded = [encode_word(word) for word, _, _ in tokens]
        near = [(start, end) for _, start, end in read(tokens)]
        words += [e[0] for e in encoded[: len(near)]]
        grams += [e[1] for e in encoded[: len(near)]]
        places += [(number, *place) for place in near]
        following = tokens[len(near)][1] if len(near) < len(tokens) else len(text)
        looks += _looks(text, near, following)
        wide.append(np.array([e[0] for e in encoded], np.uint32))
        pairs = pairwise(tokens)
        wide.append(np.fromiter((_pair(a[0], b[0]) for a, b in pairs), np.uint32))
        if len(text) <= SHORT:
            wide += [e[2] for e in encoded]
    place = np.array(places, np.int32).reshape(-1, 3)
    return [
        np.array(words, np.uint32),
        np.concatenate(grams) if grams else np.empty(0, np.uint32),
        place[:, 0], place[:, 1], place[:, 2], np.array(looks, np.uint8),
        np.unique(np.concatenate(wide)) if wide else np.empty(0, np.uint32),
    ]  # fmt: skip


def _looks(text: str, places: list[tuple[int, int]], following: int) -> list[int]:
    """What stands before each token, what behind it, and how it is written, one token after the other.

    Args:
        following: where the next token starts that is not among them, or the text ends.
    """
    ends = pairwise([(0, 0), *places, (following, 0)])
    gaps = [_gap(text[end : min(start, end + 16)]) for (_, end), (start, _) in ends]
    each = zip(pairwise(gaps), places, strict=True)
    return [kind for (before, after), (start, end) in each for kind in (before, after, _shape(text[start:end]))]


@lru_cache(maxsize=1 << 14)
def _gap(between: str) -> int:
    """The kind of what stands between two tokens, or beside the first or last, blanks made one: 1 … GAPS − 1."""
    return 1 + hash32("b" + " ".join(f"|{between}|".split())) % (GAPS - 1)


@lru_cache(maxsize=1 << 16)
def _shape(word: str) -> int:
    """How a word is written: digits, digits and letters, letters without case, upper, lower, Capital, mixed: 1 … 7."""
    if not any(c.isalpha() for c in word):
        return 1
    if any(c.isdecimal() for c in word):
        return 2
    of_case = (word.upper() == word.lower(), word.isupper(), word.islower(), word.istitle(), True)
    return 3 + of_case.index(True)


def ragged(rows: list[np.ndarray], value_type: pa.DataType) -> pa.Array:
    """A list array from one numpy array per row."""
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    flat = np.concatenate(rows) if rows else np.empty(0)
    return pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(flat.astype(value_type.to_pandas_dtype())))
