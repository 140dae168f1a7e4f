"""What is fitted before training: codes that lead back to their values, and shares that mean what *right* means."""

import unicodedata

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_catalog import SCHEMA, frame

from attrgan.evaluation.metrics import is_right
from attrgan.features import cache
from attrgan.model.inputs import build
from attrgan.model.vocabulary import (
    BINS,
    FARTHEST,
    MOST_BINS,
    Hashes,
    Numbers,
    Values,
    Vocabulary,
    _fit_vectors,
    fitted_vectors,
)
from attrgan.schema import Attribute, Schema

numbers = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e9, max_value=1e9)


@settings(max_examples=60, deadline=None)
@given(st.lists(numbers, min_size=1, max_size=80))
def test_few_numbers_are_atoms_and_their_codes_lead_back_to_them(cells):
    cells = np.array(cells)
    fitted = Numbers.fit(cells, 0.05)
    assert fitted.atom.all()
    np.testing.assert_array_equal(fitted.value[fitted.codes(cells)], cells)
    assert fitted.count.sum() == len(cells)


@pytest.mark.parametrize("seed", range(4))
def test_many_numbers_fall_into_the_bin_that_holds_them_and_frequent_ones_are_atoms(seed):
    rng = np.random.default_rng(seed)
    often = np.repeat([9.99, 19.99, 0.0, -5.0], 60)
    cells = np.concatenate([often, rng.lognormal(3, 1.2, 900)])
    fitted = Numbers.fit(cells, 0.05)
    codes = fitted.codes(cells)
    assert len(fitted.value) <= BINS + 16
    assert ((fitted.low[codes] <= cells) & (cells <= fitted.high[codes])).all()
    np.testing.assert_array_equal(np.bincount(codes, minlength=len(fitted.value)), fitted.count)
    assert set(fitted.value[fitted.codes(often)]) == {9.99, 19.99, 0.0, -5.0}
    assert np.isin(fitted.value, cells).all(), "what is written is a number of the catalog"
    assert (np.diff(fitted.value) >= 0).all()


def test_numbers_outside_the_range_get_the_outermost_code_and_unknown_ones_none():
    fitted = Numbers.fit(np.linspace(1, 100, 1000), 0.05)
    assert fitted.codes(np.array([-50.0, 1e9, np.nan])).tolist() == [0, len(fitted.value) - 1, -1]


@settings(max_examples=60, deadline=None)
@given(st.lists(numbers, min_size=1, max_size=40), st.sampled_from([0.0, 0.01, 0.05, 0.5]))
def test_within_is_the_definition_of_right(cells, tolerance):
    fitted = Numbers.fit(np.array(cells), tolerance)
    attribute = Attribute(kind="numeric", tolerance=tolerance)
    for j, truth in enumerate(fitted.value):
        right = is_right(fitted.value, np.full(len(fitted.value), truth), attribute)
        np.testing.assert_array_equal(fitted.within[:, j], right.astype(np.float32))


def test_within_is_a_share_for_bins():
    cells = np.linspace(1, 1000, 5000)
    fitted = Numbers.fit(cells, 0.01)
    codes, attribute = fitted.codes(cells), Attribute(kind="numeric", tolerance=0.01)
    for j in (0, 3, len(fitted.value) // 2, len(fitted.value) - 1):
        truth = cells[codes == j]
        for i in (max(j - 1, 0), j, min(j + 1, len(fitted.value) - 1)):
            share = is_right(np.full(len(truth), fitted.value[i]), truth, attribute).mean()
            assert fitted.within[i, j] == pytest.approx(share, abs=0.02)


def test_values_are_ordered_by_frequency_then_name_whatever_the_order_of_rows():
    cells = pd.Series(["b", "a", None, "c", "b", "a", "c", "c"], dtype=object)
    fitted = Values.fit(cells, None)
    assert fitted.values == ["c", "a", "b"]
    assert fitted.counts.tolist() == [3, 2, 2]
    assert Values.fit(cells[::-1], None).values == fitted.values
    assert fitted.codes(pd.Series(["b", None, "z", "c"], dtype=object)).tolist() == [2, -1, -1, 0]


def test_a_given_vocabulary_is_closed_but_for_what_does_not_apply():
    cells = pd.Series(["S", "XXL", "S", "n/a"], dtype=object)
    assert Values.fit(cells, ["S", "M"]).values == ["S", "n/a", "M"]
    assert Values.fit(cells[:3], ["S", "M"]).values == ["S", "M"]


def test_hashes_that_were_not_seen_have_index_zero():
    seen = Hashes.fit(np.array([7, 7, 3, 0, 9], np.uint32), limit=2)
    index = seen.index(np.array([[7, 3], [9, 5]], np.uint32))
    assert index[0, 0] > 0
    assert index[1, 1] == 0
    assert len(seen.known) == 2
    assert Hashes(np.empty(0, np.uint32)).index(np.array([1, 2], np.uint32)).tolist() == [0, 0]


def test_restore_is_the_inverse_of_strings_and_arrays():
    rows = frame(60)
    fitted = Vocabulary.fit(rows, cache.encode(rows, SCHEMA), SCHEMA)
    again = Vocabulary.restore(fitted.strings(), fitted.arrays())
    assert again.strings() == fitted.strings()
    assert set(fitted.strings()["conditions"]["department"]) == {"Kitchen", "Clothes"}
    before, after = fitted.arrays(), again.arrays()
    assert before.keys() == after.keys()
    for name in before:
        np.testing.assert_array_equal(before[name], after[name])
        assert before[name].dtype == after[name].dtype


def test_a_column_without_a_known_cell_has_no_values():
    rows = frame(40).assign(colour=None, price=np.nan)
    fitted = Vocabulary.fit(rows, cache.encode(rows, SCHEMA), SCHEMA)
    assert fitted.values["colour"].values == []


def test_a_column_that_copies_its_texts_is_told_from_one_with_a_form_of_its_own():
    titles = ["RED shirt", "Red shirt", "red shirt", "blue hat", "Blue hat"]
    schema = Schema.parse({"id": "i", "text": ["t"], "attributes": {n: {"kind": "open"} for n in ("copied", "normal")}})
    rows = pd.DataFrame({"i": [*"abcde"], "t": titles}, dtype=object)
    rows["copied"] = [t.split()[0] for t in titles]
    rows["normal"] = rows["copied"].str.lower()
    vocabulary = Vocabulary.fit(rows, cache.encode(rows, schema), schema)
    assert [n for n, s in vocabulary.spelling.items() if s.verbatim] == ["copied"]
    assert Vocabulary.restore(vocabulary.strings(), vocabulary.arrays()).spelling == vocabulary.spelling


def test_values_spelled_with_the_same_words_share_the_most_frequent_of_them():
    schema = Schema.parse({"id": "i", "text": ["t"], "attributes": {"v": {"kind": "open"}}})
    rows = pd.DataFrame({"i": [*"abcd"], "t": "x", "v": ["Red", "RED", "Red", "Blue"]}, dtype=object)
    vocabulary = Vocabulary.fit(rows, cache.encode(rows, schema), schema)
    values = vocabulary.values["v"].values
    assert [values[i] for i in vocabulary.alike("v")] == ["Red" if v == "RED" else v for v in values]


def test_a_value_longer_than_any_phrase_stands_nowhere():
    schema = Schema.parse({"id": "i", "text": ["t"], "attributes": {"v": {"kind": "open"}}})
    long = "one two three four five six seven eight nine"
    texts = [f"{long} {end}" for end in "abc"]
    rows = pd.DataFrame({"i": [*"abc"], "t": texts, "v": [long, long, long.removesuffix(" nine")]}, dtype=object)
    vocabulary = Vocabulary.fit(rows, cache.encode(rows, schema), schema)
    found = build(rows, cache.encode(rows, schema), vocabulary, ("v",), ("t",)).matches
    standing = {vocabulary.values["v"].values[value] for value in found.value[found.loose == 0]}
    assert standing == {long.removesuffix(" nine")}


def test_of_values_that_are_right_about_as_often_the_very_one_is_written():
    numbers = Numbers.fit(np.repeat([15.0, 15.6, 17.3], [10, 200, 10]), 0.05)
    mostly = np.array([[0.004, 0.99, 0.006], [0.5, 0.1, 0.4]])
    assert numbers.value[numbers.likeliest(mostly)].tolist() == [15.6, 15.0]


def test_of_many_known_numbers_there_are_more_bins():
    few, many = (Numbers.fit(np.random.default_rng(0).normal(size=n), 0.05) for n in (3_000, 20_000))
    assert len(few.value) == BINS
    assert len(many.value) == MOST_BINS
    assert many.count.min() >= 32


def test_listed_values_are_counted_however_the_schema_spells_them():
    cells = pd.Series(["caf\u00e9"] * 5 + ["tea"] * 2, dtype=object)
    found = Values.fit(cells, [unicodedata.normalize("NFD", "caf\u00e9"), " tea ", "milk"])
    assert dict(zip(found.values, found.counts, strict=True)) == {"caf\u00e9": 5, "tea": 2, "milk": 0}


def test_the_knots_of_numbers_beyond_single_precision_are_finite():
    numbers = Numbers.fit(np.array([1.0, 2.0, 3.0, 1e300, -1e300] * 20), 0.05)
    assert np.isfinite(numbers.edges.astype(np.float32)).all()
    assert set(numbers.value) == {1.0, 2.0, 3.0, 1e300, -1e300}


def test_what_no_training_picture_shows_moves_no_component_and_nothing_moves_one_without_end():
    def features(vectors: np.ndarray) -> pa.Table:
        return pa.table({"language.sentence": pa.array(list(vectors), pa.large_list(pa.float32()))})

    trained = np.random.default_rng(0).normal(size=(50, 5)).astype(np.float32)
    trained[:, 4] = 0
    fitted = _fit_vectors(features(trained), "language")["language"]
    new = trained[:1].repeat(2, 0)
    new[1, 4] = 0.3
    plain, unseen = fitted_vectors(features(new), "language", fitted)[0]
    np.testing.assert_array_equal(plain, unseen)
    new[1, 0] = 1e6
    assert np.abs(fitted_vectors(features(new), "language", fitted)[0]).max() == FARTHEST
