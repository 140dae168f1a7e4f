"""From cells to arrays: where known values stand in the texts, and batches that hold what the rows hold."""

import itertools

import numpy as np
import pandas as pd
import pytest
from small_catalog import SCHEMA, frame

from attrgan.features import cache
from attrgan.model import CompletionModel
from attrgan.model.generator import Generator, Size
from attrgan.model.inputs import Inputs, batch, build
from attrgan.model.vocabulary import MAX_PHRASE, Vocabulary
from attrgan.model.wide import Layout
from attrgan.schema import Schema


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return frame(50)


@pytest.fixture(scope="module")
def vocabulary(rows) -> Vocabulary:
    return Vocabulary.fit(rows, cache.encode(rows, SCHEMA), SCHEMA)


def found(schema: Schema, values: list[str], *texts: str) -> set[tuple[int, str, str]]:
    """(row, value, what stands at its place) of every known value found in texts."""
    vocabulary, inputs = looked_up(schema, values, *texts)
    m, result = inputs.matches, set()
    for row, value, token, length in zip(m.row, m.value, m.token, m.length, strict=True):
        first = inputs.token_offsets[row] + token
        place = slice(inputs.tokens["start"][first], inputs.tokens["end"][first + length - 1])
        result.add((int(row), vocabulary.values["v"].values[value], texts[row][place]))
    return result


def looked_up(schema: Schema, values: list[str], *texts: str, loosely: bool = False) -> tuple[Vocabulary, Inputs]:
    """A vocabulary of values, and texts looked up in it."""
    known = pd.DataFrame({"i": [str(i) for i in range(len(values))], "t": values, "v": values}, dtype=object)
    vocabulary = Vocabulary.fit(known, cache.encode(known, schema), schema)
    items = pd.DataFrame({"i": [str(i) for i in range(len(texts))], "t": list(texts), "v": None}, dtype=object)
    return vocabulary, build(items, cache.encode(items, schema), vocabulary, texts=("t",) if loosely else ())


ONE_TEXT = Schema.parse({"id": "i", "text": ["t"], "attributes": {"v": {"kind": "open"}}})


def test_known_values_are_found_whatever_their_case_and_punctuation():
    assert found(ONE_TEXT, ["Black & Decker", "Lumi"], "A BLACK-decker drill", "lumi!", "Lumix") == {
        (0, "Black & Decker", "BLACK-decker"),
        (1, "Lumi", "lumi"),
    }


def test_chinese_values_are_found_character_by_character():
    assert found(ONE_TEXT, ["华为"], "全新华为手机") == {(0, "华为", "华为")}


def test_a_value_stands_loosely_where_only_the_ending_of_its_last_word_differs():
    known, texts = ["Floral Print", "Dresses", "Men", "Red", "RX500"], ("Floral printed dress", "MENS reduced RX5000")
    vocabulary, inputs = looked_up(ONE_TEXT, known, *texts, loosely=True)
    m = inputs.matches
    named = [
        (int(r), vocabulary.values["v"].values[v], int(t), int(n))
        for r, v, t, n in zip(m.row, m.value, m.token, m.length, strict=True)
    ]
    assert sorted(named) == [(0, "Dresses", 2, 1), (0, "Floral Print", 0, 2), (1, "Men", 0, 1)]
    assert m.loose.all()


def test_a_value_that_stands_word_for_word_stands_there_and_not_loosely():
    _, inputs = looked_up(ONE_TEXT, ["print"], "printed, a print", loosely=True)
    assert (inputs.matches.token.tolist(), inputs.matches.loose.tolist()) == ([2], [0])


def test_a_value_is_not_found_across_two_items_or_two_columns():
    assert found(ONE_TEXT, ["new york"], "all new", "york city") == set()
    two = Schema.parse({"id": "i", "text": ["t", "u"], "attributes": {"v": {"kind": "open"}}})
    known = pd.DataFrame({"i": ["0"], "t": ["new york"], "u": [None], "v": ["new york"]}, dtype=object)
    vocabulary = Vocabulary.fit(known, cache.encode(known, two), two)
    item = pd.DataFrame({"i": ["1"], "t": ["all new"], "u": ["york city"], "v": [None]}, dtype=object)
    assert not len(build(item, cache.encode(item, two), vocabulary).matches.row)


def test_a_batch_holds_the_rows_in_the_order_asked_for(rows, vocabulary):
    inputs = build(rows, cache.encode(rows, SCHEMA), vocabulary)
    chosen = np.array([9, 0, 31])
    tensors = batch(inputs, chosen, vocabulary)
    np.testing.assert_array_equal(tensors.codes, inputs.codes[chosen])
    for i, row in enumerate(chosen):
        n = inputs.token_offsets[row + 1] - inputs.token_offsets[row]
        assert tensors.token_mask[i].sum() == n
        here = slice(inputs.token_offsets[row], inputs.token_offsets[row + 1])
        np.testing.assert_array_equal(tensors.word[i, :n], inputs.tokens["word"][here])
        wide = slice(tensors.wide_offsets[i], tensors.wide_offsets[i + 1])
        expected = inputs.wide[inputs.wide_offsets[row] : inputs.wide_offsets[row + 1]]
        np.testing.assert_array_equal(tensors.wide[wide], expected)
        assert float((tensors.wide_weight[wide] ** 2).sum()) == pytest.approx(1, abs=1e-5)
        at = tensors.match_row == i
        np.testing.assert_array_equal(tensors.match_value[at], inputs.matches.value[inputs.matches.row == row])


def test_a_value_outside_the_vocabulary_is_a_stranger_with_an_index_of_its_own(rows, vocabulary):
    changed = rows.assign(colour="ultraviolet")
    changed.loc[0, "colour"] = "infra-red"
    inputs = build(changed, cache.encode(changed, SCHEMA), vocabulary)
    column = list(vocabulary.values).index("colour")
    size = len(vocabulary.values["colour"].values)
    assert [inputs.strangers[c - size] for c in inputs.codes[:3, column]] == ["infra-red", "ultraviolet", "ultraviolet"]


def test_the_linear_part_has_a_place_for_every_input_and_output(vocabulary):
    layout = Layout.of(vocabulary)
    taken = sorted(layout.inputs.values())
    assert taken[0][0] == len(vocabulary.wide.known) + 1
    assert all(a + n == b for (a, n), (b, _) in itertools.pairwise(taken))
    assert sum(n for _, n in layout.outputs.values()) == layout.columns
    assert layout.rows == taken[-1][0] + taken[-1][1]


def test_steps_of_several_hashed_columns_and_no_number_are_counted_once():
    columns = {"a": "categorical", "b": "text"}
    schema = Schema.parse({"id": "i", "sequences": {"s": {"columns": columns}}, "attributes": {"v": {"kind": "open"}}})
    items = pd.DataFrame({
        "i": ["0", "1", "2"], "a": [["x", "y", "x"], [], ["y"]], "b": [["one", "two", "one"], [], ["two"]],
        "v": ["r", "r", "g"],
    })  # fmt: skip
    features = cache.encode(items, schema)
    vocabulary = Vocabulary.fit(items, features, schema)
    _, codes, steps, _ = build(items, features, vocabulary, hashed={"s": 2}).sequences["s"]
    assert steps.tolist() == [0, 3, 3, 4]
    assert codes.shape == (4, 2)
    assert codes[0].tolist() == codes[2].tolist() != codes[1].tolist() == codes[3].tolist()
    inputs = CompletionModel(schema, vocabulary, Generator(schema, vocabulary, Size())).inputs(items, features)
    np.testing.assert_array_equal(inputs.sequences["s"][2], steps)


def test_no_rows_make_empty_inputs(rows, vocabulary):
    none = rows.iloc[:0]
    inputs = build(none, cache.encode(none, SCHEMA), vocabulary)
    assert len(inputs) == 0
    assert inputs.token_offsets.tolist() == [0]


def test_a_phrase_that_stands_twice_counts_as_its_first_place():
    known = pd.DataFrame({"i": ["0"], "t": ["x"], "v": ["x"]}, dtype=object)
    vocabulary = Vocabulary.fit(known, cache.encode(known, ONE_TEXT), ONE_TEXT)
    items = pd.DataFrame({"i": ["1", "2"], "t": ["green tea, GREEN tea", "green"], "v": None}, dtype=object)
    inputs = build(items, cache.encode(items, ONE_TEXT), vocabulary, ("v",))
    spans = {(int(r), divmod(int(a), MAX_PHRASE), divmod(int(b), MAX_PHRASE)) for r, a, b in inputs.repeats.T}
    assert spans == {(0, (2, 0), (0, 0)), (0, (3, 0), (1, 0)), (0, (2, 1), (0, 1))}, "(first token, length − 1)"


def test_a_cells_own_unknown_value_is_found_in_its_own_text_only():
    known = pd.DataFrame({"i": ["0"], "t": ["x"], "v": ["x"]}, dtype=object)
    vocabulary = Vocabulary.fit(known, cache.encode(known, ONE_TEXT), ONE_TEXT)
    items = pd.DataFrame(
        {"i": ["1", "2", "3"], "t": ["the new Quexar", "Quexar", "nothing"], "v": ["QUEXAR", "Lumi", "Quexar"]},
        dtype=object,
    )
    copies = build(items, cache.encode(items, ONE_TEXT), vocabulary, ("v",)).copies
    assert (copies.row.tolist(), copies.token.tolist(), copies.length.tolist()) == ([0], [2], [1])
