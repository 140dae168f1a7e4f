"""Words that stand where a value should: found, explained, and read as what they say."""

import pyarrow as pa
import pytest
import yaml

from attrgan.errors import SchemaError
from attrgan.lake.catalog import Catalog
from attrgan.lake.cells import coerce, to_frame
from attrgan.quality.inference import infer_schema, to_yaml
from attrgan.quality.sentinels import find
from attrgan.schema import Schema

DRESS = [i % 2 == 1 for i in range(200)]
KINDS = pa.chunked_array([["Dress" if d else "Bag" for d in DRESS]])


def column(bag: str, dress: str = "V") -> pa.ChunkedArray:
    """One word for all bags, another for all dresses."""
    return pa.chunked_array([[dress if d else bag for d in DRESS]])


def catalog(**columns: list[str | None]) -> Catalog:
    rows = len(next(iter(columns.values())))
    table = pa.table(
        {"sku": [f"s{i}" for i in range(rows)], "title": [f"a fine thing {i}" for i in range(rows)]} | columns
    )
    return Catalog(table, pa.array([""] * rows), pa.array(range(rows)))


@pytest.mark.parametrize("word", ["N/A", "Not applicable", "does not apply", "不适用", "n.v.t.", " entfällt "])
def test_a_word_that_says_does_not_apply_is_taken_for_it(word):
    assert find(column(word)).not_applicable == {word.strip(): 100}


@pytest.mark.parametrize("word", ["Unknown", "?", "k.A.", "keine Angabe", "未知", "not specified", "TBD"])
def test_a_word_that_says_nobody_knows_is_taken_for_it(word):
    assert find(column(word), KINDS).unknown == {word: 100}


@pytest.mark.parametrize("word", ["-", "--", "—", ".", "/"])
def test_a_sign_is_never_a_value_and_says_does_not_apply_where_it_fills_whole_categories(word):
    assert find(column(word), KINDS).not_applicable == {word: 100}
    scattered = pa.chunked_array([[word if i % 3 == 0 else "V" for i in range(200)]])
    assert find(scattered, KINDS).unknown == {word: 67}
    assert find(column(word)).unknown == {word: 100}, "without categories nobody can tell"


@pytest.mark.parametrize("word", ["none", "None", "无", "keine"])
def test_none_may_be_a_value_unless_it_fills_whole_categories(word):
    scattered = pa.chunked_array([[word if i % 3 == 0 else "dotted" for i in range(200)]])
    assert find(scattered, KINDS).perhaps == {word: 67}
    assert find(scattered, KINDS).taken == []
    assert find(column(word), KINDS).not_applicable == {word: 100}


@pytest.mark.parametrize("value", ["red", "★★★", "+", "C", "0", "no", "XL", "unknown pleasures"])
def test_values_are_left_alone(value):
    assert find(column(value), KINDS).taken == []


def test_the_guessed_schema_lists_every_spelling_and_says_why():
    colours = ["red", "blue", "N/A", "n/a", "Unknown", "unknown", None, "red", "blue", "green"] * 20
    schema, comments = infer_schema(catalog(colour=colours))
    attribute = schema.attributes["colour"]
    assert attribute.not_applicable_as == ["N/A"], "`n/a` says so everywhere"
    assert sorted(attribute.unknown_as) == ["Unknown", "unknown"]
    assert "3 values in 100 cells" in comments["colour"]
    assert "'N/A' (20 cells)" in comments["colour"]
    assert Schema.parse(yaml.safe_load(to_yaml(schema, comments))) == schema


def test_numbers_among_which_sentinels_stand_are_numbers():
    cells = [str(8 * (i % 9 + 1)) if i % 4 else "N/A" for i in range(200)]
    schema, _ = infer_schema(catalog(ram=cells))
    assert schema.attributes["ram"].kind == "numeric"
    table, wrong = coerce(catalog(ram=cells).table, schema)
    assert not wrong, "nothing is quarantined"
    assert table["ram"].to_pylist() == cells, "what the seller wrote stays"
    assert to_frame(table, schema)["ram"].isna().sum() == 50


def described(**attribute: object) -> Schema:
    return Schema.parse({"id": "sku", "attributes": {"v": {"kind": "categorical"} | attribute}})


def test_sentinels_are_read_as_what_they_stand_for():
    schema = described(not_applicable_as=["-"], unknown_as=["?"])
    table = pa.table({"sku": ["a", "b", "c", "d"], "v": ["-", " ? ", "red", "n/a"]})
    assert to_frame(table, schema)["v"].tolist() == ["n/a", None, "red", "n/a"]


def test_members_of_a_set_are_read_so_too():
    schema = described(multi=True, not_applicable_as=["-"], unknown_as=["?"])
    table = pa.table({"sku": ["a", "b", "c"], "v": [["-"], ["?"], ["red", "?", "-"]]})
    assert to_frame(table, schema)["v"].tolist() == ['["n/a"]', None, '["red"]']


def test_a_word_cannot_say_both():
    with pytest.raises(SchemaError, match="'-' cannot both say"):
        described(not_applicable_as=["-"], unknown_as=["-"])


def test_the_guess_names_the_categories_that_never_have_an_attribute():
    rows = 300
    bag = [i % 3 == 0 for i in range(rows)]
    schema, comments = infer_schema(catalog(
        category=["Bag" if b else "Dress" for b in bag],
        neckline=[None if b else ["V", "crew"][i % 2] for i, b in enumerate(bag)],
        colour=[["red", "blue", None][i % 7 % 3] for i in range(rows)],
        material=[["silk", "wool", "linen", None][i % 11 % 4] for i in range(rows)],
    ))  # fmt: skip
    assert schema.category == "category"
    assert "hardly ever known for Bag (0 of 100 rows)" in comments["neckline"]
    assert "hardly ever" not in comments["colour"]
    assert schema.attributes["neckline"].applies_to == {}, "people decide"
