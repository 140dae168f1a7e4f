"""Words and characters of any language, each with its place in the raw text."""

import itertools
import unicodedata

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from attrgan.features import text
from attrgan.features.text import MAX_TOKENS, encode_value, hash32, normalise, phrase_hashes, tokenize
from attrgan.schema import Schema


def encode(frame, columns):
    """The encoding of these text columns."""
    schema = Schema.parse({"id": "id", "text": columns, "attributes": {"a": {"kind": "open"}}})
    return text.encode(frame, schema)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
@example("全新华为手机 Mate-60 Pro，256GB！")
@example("ﬁne Straße ǅ İstanbul 1.234,50 €")
@example("e\u0301cole हिन्दी ไทย 한국어 עִבְרִית")
def test_offsets_cut_exactly_the_token_out_of_the_raw_text(raw):
    tokens = tokenize(raw)
    for word, start, end in tokens:
        assert 0 <= start < end <= len(raw)
        assert normalise(raw[start:end]) == word
    assert all(a[2] <= b[1] for a, b in itertools.pairwise(tokens)), "in order, without overlap"
    outside = "".join(c for i, c in enumerate(raw) if not any(s <= i < e for _, s, e in tokens))
    assert not any(c.isalnum() for c in outside), "nothing that could be a word is lost"


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.none(), st.text(max_size=30)), min_size=1, max_size=4))
def test_the_offsets_that_are_stored_point_into_the_column_they_name(texts):
    frame = pd.DataFrame([texts], columns=[f"c{i}" for i in range(len(texts))], dtype=object)
    row = {name: column[0].as_py() for name, column in encode(frame, list(frame.columns)).items()}
    for word, column, start, end in zip(
        row["text.word"], row["text.column"], row["text.start"], row["text.end"], strict=True
    ):
        assert hash32("w" + normalise(texts[column][start:end])) == word
    assert len(row["text.gram"]) == len(row["text.word"]) * text.GRAMS


def test_chinese_is_cut_into_characters_and_latin_inside_it_into_words():
    assert [w for w, _, _ in tokenize("全新iPhone手机128GB")] == ["全", "新", "iphone", "手", "机", "128gb"]


def test_numbers_with_a_point_or_comma_stay_whole():
    assert [w for w, _, _ in tokenize("5.5oz, 1,000 ml.")] == ["5.5", "oz", "1,000", "ml"]


def test_marks_belong_to_the_letter_they_stand_on():
    """A value that is copied must not lose its accents."""
    for word in ("cafe\u0301", "हिन्दी", "ตู้เย็น", "مُحَمَّد"):
        assert [raw_word for raw_word, _, _ in tokenize(word)] == [normalise(word)]
        assert tokenize(f"«{word}»")[0][1:] == (1, 1 + len(word))


def test_words_are_the_same_in_any_case_and_width():
    assert tokenize("ＡＢＣ")[0][0] == tokenize("abc")[0][0] == "abc"
    assert tokenize("STRASSE")[0][0] == tokenize("Straße")[0][0]


def test_composed_and_decomposed_spellings_are_one_word():
    assert tokenize(unicodedata.normalize("NFD", "Müller"))[0][0] == tokenize("Müller")[0][0]


def test_long_texts_are_cut_for_the_network_and_less_so_for_the_linear_part():
    frame = pd.DataFrame({"t": [" ".join(f"w{i}" for i in range(400))]})
    row = {name: len(column[0].as_py()) for name, column in encode(frame, ["t"]).items()}
    assert row["text.word"] == MAX_TOKENS
    assert row["text.wide"] > text.MAX_WIDE_TOKENS


def test_no_text_is_no_tokens():
    frame = pd.DataFrame({"t": [None, "", "…"]}, dtype=object)
    assert [len(t) for t in encode(frame, ["t"])["text.word"].to_pylist()] == [0, 0, 0]
    assert len(encode(frame, [])["text.word"]) == 3
    assert len(encode(frame.iloc[:0], ["t"])["text.word"]) == 0


def test_a_value_without_any_word_still_has_an_encoding():
    words, grams = encode_value("+++")
    assert words.shape == (1,)
    assert grams.shape == (1, text.GRAMS)
    assert words[0] != encode_value("---")[0][0]


@pytest.mark.parametrize("longest", [1, 3])
def test_phrases_of_the_same_words_have_the_same_hash_wherever_they_stand(longest):
    words = np.array([5, 6, 7, 5, 6, 9], np.uint32)
    hashes = phrase_hashes(words, longest)
    assert [len(h) for h in hashes] == [6, 5, 4][:longest]
    if longest > 1:
        assert hashes[1][0] == hashes[1][3]
        assert len(set(hashes[1].tolist())) == 4


def test_hashes_are_stable_and_never_zero():
    assert hash32("wlumi") == 1244128724
    assert hash32("\ud800") > 0
