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
@example("LG전자 ตู้เย็น น้ำ ທີ່ ទូរទឹកកក ရေခဲ ﾊﾟﾅ كـــتاب ﷺ ـــ")
@example("soft\u00adhyphen zero\u200bwidth \ufeffbom\u200d 葛\U000e0100 👩\u200d🔬 1\ufe0f\u20e3")
@example("XPS-13/9310 5,6L 1.5-inch x² ½ Ⅻ ıİ ١٢٨")
@example("z" + "\u0301\u0327" * 40 + "algo" + "\u200b" * 9 + "x")
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
    for word in ("cafe\u0301", "हिन्दी", "ตู้", "مُحَمَّد"):
        assert [raw_word for raw_word, _, _ in tokenize(word)] == [normalise(word)]
        assert tokenize(f"«{word}»")[0][1:] == (1, 1 + len(word))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("ตู้เย็นสีดำ", ["ตู้", "เย็", "น", "สี", "ดํา"]),
        ("ຕູ້ເຢັນ", ["ຕູ້", "ເຢັ", "ນ"]),
        ("ទូរទឹក", ["ទូ", "រ", "ទឹ", "ក"]),
        ("ရေခဲ", ["ရေ", "ခဲ"]),
        ("日本のｶﾞｽ", ["日", "本", "の", "ガ", "ス"]),
        ("삼성전자 LG전자의 S23울트라", ["삼성전자", "lg", "전자의", "s23", "울트라"]),
        (unicodedata.normalize("NFD", "삼성 전자"), ["삼성", "전자"]),
    ],
)
def test_where_words_are_not_spaced_a_token_is_a_character_with_its_marks(text, tokens):
    """Else a value could only be copied together with the sentence around it."""
    assert [word for word, _, _ in tokenize(text)] == tokens


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("كتاب", "كـــتاب"),
        ("محمد", "مُحَمَّد"),
        ("كتاب", "ﻛﺘﺎب"),
        ("עברית", "עִבְרִית"),
        ("שלום", "שָׁלוֹם"),
        ("می\u200cخواهم", "میخواهم"),
        ("क्\u200dष", "क्ष"),
        ("Điện", unicodedata.normalize("NFD", "ĐIỆN")),
        ("softhyphen", "soft\u00adhyphen"),
        ("zerowidth", "zero\u200bwidth"),
        ("İSTANBUL", "istanbul"),
        ("ISPARTA", "ısparta"),
        ("１２８", "١٢٨"),
        ("ﬁne", "FINE"),
        ("naïve", "nai\u0308ve"),
    ],
)
def test_spellings_that_look_alike_are_one_word(one, other):
    assert len(tokenize(one)) == len(tokenize(other)) == 1
    assert tokenize(one)[0][0] == tokenize(other)[0][0]


@pytest.mark.parametrize(("one", "other"), [("schon", "schön"), ("cote", "côté"), ("कम", "काम"), ("5.6", "56")])
def test_spellings_that_mean_something_else_are_two_words(one, other):
    assert tokenize(one)[0][0] != tokenize(other)[0][0]


def test_an_invisible_character_around_a_word_is_not_copied_with_it():
    assert tokenize("\u200b\u200eabc\u00ad\u200b é\u200d") == [("abc", 2, 5), ("é", 8, 9)]


def test_model_numbers_are_copied_as_they_are_written():
    raw = "Dell XPS-13/9310, 5,6L, 1.5-inch"
    tokens = tokenize(raw)
    assert [w for w, _, _ in tokens] == ["dell", "xps", "13", "9310", "5,6", "l", "1.5", "inch"]
    assert raw[tokens[1][1] : tokens[3][2]] == "XPS-13/9310"
    assert raw[tokens[6][1] : tokens[7][2]] == "1.5-inch"


@pytest.mark.parametrize(
    "hostile",
    ["a" + "\u0301\u0327" * 200_000, "a" * 500_000,
     "가" * 200_000, "\u200b" * 500_000, "a\u200b" * 100_000, "ก็" * 100_000],
    ids=["marks", "letters", "syllables", "invisible", "alternating", "thai"],
)  # fmt: skip
def test_a_token_is_bounded_whatever_the_text(hostile):
    tokens = tokenize(hostile)
    assert all(len(word) <= 200 for word, _, _ in tokens)
    assert len(encode(pd.DataFrame({"t": [hostile]}), ["t"])["text.word"][0].as_py()) <= MAX_TOKENS


def test_words_are_the_same_in_any_case_and_width():
    assert tokenize("ＡＢＣ")[0][0] == tokenize("abc")[0][0] == "abc"
    assert tokenize("STRASSE")[0][0] == tokenize("Straße")[0][0]


def test_composed_and_decomposed_spellings_are_one_word():
    assert tokenize(unicodedata.normalize("NFD", "Müller"))[0][0] == tokenize("Müller")[0][0]


def test_long_texts_are_cut_for_the_network_and_less_so_for_the_linear_part():
    frame = pd.DataFrame({"t": [" ".join(f"w{i}" for i in range(400)), "字" * 400]})
    latin, chinese = ({name: len(column[i].as_py()) for name, column in encode(frame, ["t"]).items()} for i in (0, 1))
    assert latin["text.word"] == 74 < MAX_TOKENS, "the words that end within 288 characters"
    assert chinese["text.word"] == MAX_TOKENS
    assert latin["text.wide"] > text.MAX_WIDE_TOKENS
    assert latin["text.look"] == latin["text.word"] * text.LOOKS


def looks(cell: str) -> list[tuple[int, int, int]]:
    """What stands before each token, what behind it, and how it is written."""
    found = encode(pd.DataFrame({"t": [cell]}), ["t"])["text.look"][0].as_py()
    return list(zip(*(found[i :: text.LOOKS] for i in range(text.LOOKS)), strict=True))


def test_a_token_knows_what_stands_beside_it_in_any_number_of_blanks():
    (start, comma, _), (same, bracket, _), (_, end, _) = looks("red,  blue (green")
    assert comma == same == looks("a,\tb")[0][1]
    assert start == end, "nothing"
    assert len({start, comma, bracket}) == 3
    assert looks("red (")[-1][1] != looks("red")[-1][1]


def test_the_last_token_that_is_read_does_not_see_the_words_behind_it():
    of = [looks("字" * MAX_TOKENS + ", " + rest)[-1][1] for rest in ("alpha beta", "gamma")]
    assert of[0] == of[1] == looks("a, b")[0][1]


def test_a_token_knows_how_it_is_written():
    shapes = [shape for _, _, shape in looks("12 7g 红 RED red Red iPhone ÉTÉ")]
    assert shapes[:7] == [1, 2, 3, 4, 5, 6, 7]
    assert shapes[7] == 4
    assert looks("हिन्दी")[0][2] == looks("红")[0][2]


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
