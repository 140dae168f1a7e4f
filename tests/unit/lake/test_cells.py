"""From columns to cells: types, written numbers, lists, ids."""

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from catalog_files import lines, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attrgan.errors import CatalogError
from attrgan.lake.catalog import read_catalog
from attrgan.lake.cells import canonical_list, coerce, to_frame
from attrgan.lake.numbers import parse_numbers
from attrgan.schema import Schema

SCHEMA = Schema.parse({
    "id": "id",
    "text": ["title"],
    "sequences": {"s": {"columns": {"prices": "numeric"}}},
    "attributes": {
        "brand": {"kind": "open"},
        "price": {"kind": "numeric"},
        "tags": {"kind": "categorical", "multi": True},
    },
})  # fmt: skip
HEADER = "id,title,prices,brand,price,tags\n"


def test_lists_that_are_all_empty_are_lists_of_strings():
    tags = pa.array([[], None], pa.list_(pa.null()))
    rest = {name: pa.nulls(2, pa.string()) for name in ("title", "brand", "prices", "price")}
    table, wrong = coerce(pa.table({"id": ["1", "2"], "tags": tags, **rest}), SCHEMA)
    assert (table["tags"].type, table["tags"].to_pylist(), wrong) == (pa.list_(pa.string()), [[], None], {})


def test_a_text_keeps_the_blanks_around_it_and_one_of_blanks_is_none():
    rows = {name: pa.nulls(3, pa.string()) for name in ("prices", "brand", "price", "tags")}
    texts = pa.array(["  Bolt shirt ", " \u3000", None])
    frame = to_frame(coerce(pa.table({"id": [" 1 ", "2", "3"], "title": texts, **rows}), SCHEMA)[0], SCHEMA)
    assert frame["title"].tolist() == ["  Bolt shirt ", None, None]
    assert frame["id"].tolist() == ["1", "2", "3"]


def test_csv_cells_get_the_type_of_their_kind(tmp_path):
    text = HEADER + '1,one,"[1, 2.5]",Lumi,5,"[""new"", ""sale""]"\n2,,,,,\n3,three,[],n/a,-7,[]\n'
    table, wrong = coerce(read_catalog(write(tmp_path, "c.csv", text)).table, SCHEMA)
    assert wrong == {}
    assert table["price"].type == pa.int64()
    assert table["price"].to_pylist() == [5, None, -7]
    assert table["prices"].to_pylist() == [[1, 2.5], None, []]
    assert table["tags"].to_pylist() == [["new", "sale"], None, []]
    assert table["brand"].to_pylist() == ["Lumi", None, "n/a"]


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "2"], pa.int64()),
        (["1", "2.0"], pa.float64()),
        (["1e3"], pa.float64()),
        (["99999999999999999999"], pa.float64()),
    ],
)
def test_csv_numbers_are_integers_only_when_all_are_written_so(tmp_path, cells, kind):
    text = HEADER + "".join(f"{i},,,,{c},\n" for i, c in enumerate(cells))
    table, _ = coerce(read_catalog(write(tmp_path, "c.csv", text)).table, SCHEMA)
    assert table["price"].type == kind
    assert table["price"].to_pylist() == [float(c) for c in cells]


def test_cells_that_do_not_fit_are_marked_one_by_one(tmp_path):
    rows = ["1,a,[1],x,5,[]", "2,a,[1],x,five,[]", "3,a,oops,x,inf,[]", '4,a,[1],x,nan,"{""a"": 1}"', "5,a,,x,,"]
    _table, wrong = coerce(read_catalog(write(tmp_path, "c.csv", HEADER + "\n".join(rows) + "\n")).table, SCHEMA)
    assert {name: np.flatnonzero(mask).tolist() for name, mask in wrong.items()} == {
        "price": [1, 2, 3], "prices": [2], "tags": [3],
    }  # fmt: skip
    with pytest.raises(CatalogError, match="run `attrgan validate`"):
        to_frame(read_catalog(write(tmp_path, "c.csv", HEADER + "\n".join(rows) + "\n")).table, SCHEMA)


def test_a_column_none_of_whose_cells_fits_is_bad_input(tmp_path):
    text = HEADER + "1,a,,x,cheap,\n2,a,,x,dear,\n3,a,,x,,\n"
    with pytest.raises(CatalogError, match=r"none of the 2 cells of column 'price' is a number.*string"):
        coerce(read_catalog(write(tmp_path, "c.csv", text)).table, SCHEMA)


def test_a_column_that_is_all_null_takes_the_type_of_its_kind(tmp_path):
    table, wrong = coerce(read_catalog(write(tmp_path, "c.csv", HEADER + "1,,,,,\n")).table, SCHEMA)
    assert wrong == {}
    assert [table[n].null_count for n in ("brand", "price", "tags", "prices")] == [1] * 4
    empty, _ = coerce(pa.table({n: pa.nulls(2) for n in HEADER.strip().split(",")}), SCHEMA)
    assert (empty["price"].type, empty["brand"].type) == (pa.float64(), pa.string())
    assert pa.types.is_list(empty["tags"].type)


def test_a_column_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(CatalogError, match=r"names 'prices', 'price', 'tags'.*only the columns id, title, brand"):
        coerce(pa.table({"id": ["1"], "title": ["a"], "brand": ["b"]}), SCHEMA)


def test_typed_columns_keep_their_type():
    types = [pa.int8(), pa.int64(), pa.float32(), pa.decimal128(8, 2)]
    for kind in types:
        price = pa.array([Decimal(3) if pa.types.is_decimal(kind) else 3, None], kind)
        table = pa.table({"id": ["1", "2"], "title": ["a", None], "prices": [[1], None], "brand": ["x", None],
                          "price": price, "tags": [["a"], None]})  # fmt: skip
        coerced, wrong = coerce(table, SCHEMA)
        assert coerced.schema == table.schema
        assert wrong == {}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(), st.integers(-(2**60), 2**60)), min_size=1))
def test_numbers_are_parsed_as_written(numbers):
    cells = pa.array([None if n is None else repr(n) for n in numbers], pa.string())
    expected = [np.nan if n is None else float(n) for n in numbers]
    np.testing.assert_allclose(parse_numbers(cells), expected, rtol=1e-15)


@pytest.mark.parametrize("text", ["True", "0x10", "1_000", "1,5", "$5", "five", "--1", "１２", ""])
def test_what_is_not_plainly_a_number_is_none(text):
    assert np.isnan(parse_numbers(pa.array([text])))[0]


def test_a_frame_holds_what_the_model_works_on():
    table = pa.table({"id": [10, 11], "title": [" padded ", "  "], "prices": [[1.0], None], "brand": [" Lumi ", ""],
                      "price": pa.array(["1.50", None]).cast(pa.decimal128(5, 2)), "tags": [["b", "a", "b"], None],
                      "else": [1, 2]})  # fmt: skip
    frame = to_frame(table, SCHEMA)
    assert list(frame.columns) == ["id", "title", "prices", "brand", "price", "tags"]
    assert frame["id"].tolist() == ["10", "11"]
    assert frame["brand"].tolist() == ["Lumi", None]
    assert frame["title"].tolist()[1] is None
    assert frame["tags"].tolist() == ['["a", "b"]', None]
    assert frame["price"].tolist()[0] == 1.5


def test_values_of_one_spelling_in_two_unicode_forms_are_one_value():
    table = pa.table({"id": ["1", "2"], "title": ["Cafe\u0301", "Café"], "prices": [[1.0], None], "price": [1.0, 2.0],
                      "brand": ["Cafe\u0301", "Café"], "tags": [["Cafe\u0301"], ["Café"]]})  # fmt: skip
    frame = to_frame(table, SCHEMA)
    assert frame["brand"].nunique() == frame["tags"].nunique() == 1
    assert frame["title"].tolist() == ["Cafe\u0301", "Café"], "offsets point into the text as it was received"


def test_lists_are_compared_as_sets():
    assert canonical_list(["b", "a", "b", None, " a "]) == canonical_list(["a", "b"]) == '["a", "b"]'
    assert canonical_list([]) == "[]", "known: there is none"
    assert canonical_list(None) is None
    assert canonical_list([None, " "]) is None, "nothing is said"
    assert canonical_list(["n/a"]) == '["n/a"]'
    assert canonical_list(["n/a", "a"]) == '["a"]', "it has one, so it applies"


@pytest.mark.parametrize(
    ("ids", "says"),
    [
        (["1", None], "1 rows have no 'id'"),
        (["7", "8", "7"], r"1 duplicate ids.*the first: 7"),
        (["a", "a "], "duplicate"),
    ],
)
def test_ids_must_be_there_and_unique(ids, says):
    n = len(ids)
    table = pa.table({"id": ids, "title": ["t"] * n, "prices": [[1.0]] * n, "brand": ["b"] * n, "price": [1.0] * n,
                      "tags": [["a"]] * n})  # fmt: skip
    with pytest.raises(CatalogError, match=says):
        to_frame(table, SCHEMA)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(*[st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)] * 2),
        min_size=1,
        max_size=8,
    )
)
def test_csv_cells_are_read_as_they_were_written(tmp_path, rows):
    import csv

    path = tmp_path / "any.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("id", "v"), *rows])
    found = read_catalog(str(path))
    assert found.unreadable == []
    assert found.table.num_rows == len(rows)
    got = [(a or "", b or "") for a, b in zip(found.table["id"].to_pylist(), found.table["v"].to_pylist(), strict=True)]
    assert got == rows


# --- numbers in strings --------------------------------------------------------------------------------------------


def priced(tmp_path, cells: list[str], **attribute) -> tuple[pa.Table, dict, Schema]:
    """The price column of a CSV file after `coerce`, and the cells that do not fit."""
    schema = Schema.parse({"id": "id", "attributes": {"price": {"kind": "numeric", **attribute}}})
    rows = "".join(f'{i},"{cell}"\n' for i, cell in enumerate(cells))
    table, wrong = coerce(read_catalog(write(tmp_path, "c.csv", "id,price\n" + rows)).table, schema)
    return table, wrong, schema


def test_numbers_that_no_program_writes_stay_as_they_were_received_and_are_read(tmp_path):
    cells = ["1.299,00 €", "", "19,90 €"]
    table, wrong, schema = priced(tmp_path, cells, unit="EUR")
    assert wrong == {}
    assert table["price"].to_pylist() == ["1.299,00 €", None, "19,90 €"]
    np.testing.assert_equal(to_frame(table, schema)["price"].tolist(), [1299, np.nan, 19.9])


def test_a_slice_is_read_in_the_form_of_the_whole(tmp_path):
    table, _, schema = priced(tmp_path, ["1.299", "19,90"])
    assert to_frame(table.slice(0, 1), schema)["price"].tolist() == [1299]


def test_ranges_and_dimensions_are_of_a_wrong_type(tmp_path):
    _, wrong, _ = priced(tmp_path, ["10 cm", "10–12 cm", "10 x 20 x 5 cm", "1 m", "5 kg"], unit="cm")
    assert np.flatnonzero(wrong["price"]).tolist() == [1, 2, 4]


def test_a_column_in_another_unit_altogether_is_bad_input(tmp_path):
    with pytest.raises(CatalogError, match="none of the 2 cells of column 'price' is a number"):
        priced(tmp_path, ["5 €", "7 €"], unit="USD")


def test_an_example_in_the_schema_says_how_a_doubtful_column_is_read(tmp_path):
    table, _, schema = priced(tmp_path, ["1.299", "2.499"], format="1.299,00")
    assert table["price"].type == pa.string(), "as numbers they would no longer be what was received"
    assert to_frame(table, schema)["price"].tolist() == [1299, 2499]


def test_a_member_that_is_no_string_makes_no_set_of_letters(tmp_path):
    rows = ({"id": "1", "tags": ["sale", "new"], "prices": [1, 2]}, {"id": "2", "tags": ["new", 2], "prices": [1, "x"]})
    place = write(tmp_path, "c.jsonl", lines(*(r | {"title": "t", "brand": "b", "price": 1} for r in rows)))
    frame = to_frame(read_catalog(place).table, SCHEMA)
    assert frame["tags"].tolist() == ['["new", "sale"]', '["2", "new"]']
    assert frame["prices"].tolist() == [[1, 2], [1, "x"]]


def test_not_a_number_is_no_value_of_a_category():
    schema = Schema.parse({"id": "id", "attributes": {"size": {"kind": "categorical"}}})
    table = pa.table({"id": ["1", "2", "3"], "size": pa.array([38.5, float("nan"), None])})
    assert to_frame(table, schema)["size"].tolist() == ["38.5", None, None]
