"""Catalogs as they are received: every reader, what cannot be read, and the newest version of each item."""

import gzip
import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attrgan.errors import CatalogError
from attrgan.lake.catalog import canonical_list, coerce, read_catalog, to_frame
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


def write(folder: Path, name: str, content: str | bytes) -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def lines(*rows: object) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


# --- readers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["c.csv", "c.csv.gz", "c.tsv", "c.jsonl", "c.ndjson", "c.json", "c.jsonl.gz", "c.parquet", "c.PQ"]
)
def test_every_format_gives_the_same_items(tmp_path, name):
    rows = [{"id": "1", "title": "a, b", "brand": None}, {"id": "2", "title": "Größe", "brand": "Lumi"}]
    if ".csv" in name or ".tsv" in name:
        d = "\t" if ".tsv" in name else ","
        text = (
            "\n".join(d.join(r) for r in (["id", "title", "brand"], ["1", '"a, b"', ""], ["2", "Größe", "Lumi"])) + "\n"
        )
    else:
        text = lines(*rows)
    content = text.encode()
    if name.endswith(".gz"):
        content = gzip.compress(content)
    if name.lower().endswith((".parquet", ".pq")):
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / name)
        place = str(tmp_path / name)
    else:
        place = write(tmp_path, name, content)
    found = read_catalog(place)
    assert found.table.to_pylist() == rows
    assert found.source_row.to_pylist() == [1, 2]
    assert found.source_file.to_pylist() == [place, place]
    assert found.unreadable == []


def test_only_an_empty_field_of_a_csv_is_null(tmp_path):
    place = write(tmp_path, "c.csv", 'id,v\n1,NA\n2,None\n3,n/a\n4,null\n5,NaN\n6,\n7,""\n8,0\n9, \n')
    cells = read_catalog(place).table["v"].to_pylist()
    assert cells[:5] == ["NA", "None", "n/a", "null", "NaN"]
    assert cells[5] is None
    assert cells[7:] == ["0", " "]


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    assert read_catalog(write(tmp_path, "c.csv", b"\xef\xbb\xbfid,v\n1,2\n")).table.column_names == ["id", "v"]
    assert read_catalog(write(tmp_path, "c.jsonl", b'\xef\xbb\xbf{"id": 1}\n')).table.column_names == ["id"]


def test_ragged_rows_are_kept_aside_with_their_numbers_and_the_others_keep_theirs(tmp_path):
    place = write(tmp_path, "c.csv", 'id,v\n1,a\n2,b,too many\n3,"two\nlines"\n4\n5,e\n')
    found = read_catalog(place)
    assert found.table["id"].to_pylist() == ["1", "3", "5"]
    assert found.source_row.to_pylist() == [1, 3, 5]
    assert [(row.file, row.row) for row in found.unreadable] == [(place, 2), (place, 4)]
    assert "too many" in found.unreadable[0].text


def test_blank_lines_of_a_csv_are_no_rows(tmp_path):
    found = read_catalog(write(tmp_path, "c.csv", "id,v\n\n1,a\n\n\n2,b,c\n3,d\n\n"))
    assert found.table["id"].to_pylist() == ["1", "3"]
    assert found.source_row.to_pylist() == [1, 3]
    assert [row.row for row in found.unreadable] == [2]


def test_broken_lines_are_kept_aside_with_their_numbers(tmp_path):
    hostile = ["{broken", "[1, 2]", '"text"', "[" * 100_000, '{"id": ' + "9" * 5000 + "}"]
    place = write(tmp_path, "c.jsonl", "\n".join(['{"id": "a"}', *hostile, '{"id": "b"}']) + "\n")
    found = read_catalog(place)
    assert found.table["id"].to_pylist() == ["a", "b"]
    assert found.source_row.to_pylist() == [1, 7]
    assert [row.row for row in found.unreadable] == [2, 3, 4, 5, 6]


def test_json_lines_of_mixed_types_become_text(tmp_path):
    place = write(tmp_path, "c.jsonl", lines({"id": 1, "p": 5}, {"id": "x", "p": "five"}, {"id": 2.5, "p": [1]}))
    table = read_catalog(place).table
    assert table["id"].to_pylist() == ["1", "x", "2.5"]
    assert table["p"].to_pylist() == ["5", "five", "[1]"]


def test_json_numbers_and_text_that_arrow_cannot_hold_become_text(tmp_path):
    place = write(
        tmp_path, "c.jsonl", '{"id": 123456789012345678901234567890, "t": "a\\ud800b"}\n{"id": 1, "t": "c"}\n'
    )
    table = read_catalog(place).table
    assert table["id"].to_pylist() == ["123456789012345678901234567890", "1"]
    assert table["t"].to_pylist()[1] == "c"


def test_a_key_that_some_lines_lack_is_null_there(tmp_path):
    table = read_catalog(write(tmp_path, "c.jsonl", lines({"id": 1}, {"id": 2, "v": "x"}))).table
    assert table["v"].to_pylist() == [None, "x"]


# --- folders -------------------------------------------------------------------------------------------------------


def test_a_folder_is_the_rows_of_all_its_files_in_the_order_of_names(tmp_path):
    write(tmp_path, "b.csv", "id,v\n3,z\n")
    write(tmp_path, "a.csv", "id,v\n1,x\n2,y\n")
    write(tmp_path, ".hidden.csv", "nothing")
    write(tmp_path, "_SUCCESS", "")
    found = read_catalog(str(tmp_path))
    assert found.table["id"].to_pylist() == ["1", "2", "3"]
    assert found.source_row.to_pylist() == [1, 2, 1]


def test_files_of_different_types_and_columns_fit_together(tmp_path):
    write(tmp_path, "a.csv", "id,v\n1,x\n")
    pq.write_table(pa.table({"id": pa.array([2], pa.int64()), "w": [1.5]}), tmp_path / "b.parquet")
    write(tmp_path, "c.jsonl", lines({"id": 3, "v": ["l", "m"], "w": True}))
    pq.write_table(pa.table({"id": pa.array([4], pa.int32()), "w": [{"a": 1}]}), tmp_path / "d.parquet")
    table = read_catalog(str(tmp_path)).table
    assert table["id"].to_pylist() == ["1", "2", "3", "4"]
    assert table["v"].to_pylist() == ["x", None, '["l", "m"]', None]
    assert table["w"].to_pylist() == [None, "1.5", "true", '{"a": 1}']


def test_whole_and_broken_numbers_of_two_files_are_numbers(tmp_path):
    pq.write_table(pa.table({"id": ["a"], "p": pa.array([1], pa.int64())}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"id": ["b"], "p": pa.array([1.5], pa.float32())}), tmp_path / "b.parquet")
    assert read_catalog(str(tmp_path)).table["p"].to_pylist() == [1, 1.5]


def test_a_tsv_in_the_name_of_a_folder_does_not_make_a_csv_one(tmp_path):
    assert read_catalog(write(tmp_path, "old.tsv.d/c.csv", "id,v\n1,2\n")).table.column_names == ["id", "v"]


# --- what is not a catalog -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("c.csv", b"", "is empty"),
        ("c.parquet", b"", "is empty"),
        ("c.csv", b"id,v\n", "holds no rows"),
        ("c.csv", b"id,v\n1,\xff\xfe\n", "is not a table"),
        ("c.csv", b"\xffid,v\n1,2\n", "is not a table"),
        ("c.csv", "id,v\n1,2\n".encode("utf-16"), "is not a table"),
        ("c.csv", b"id,v\n1,a\x00b\n", "NUL"),
        ("c.csv", b"id,v\n" + b"1,aaaaaaaa\n" * 10_000 + b"2,a\x00b\n", "NUL"),
        ("c.csv", b"id,id\n1,2\n", "two columns of one name"),
        ("c.parquet", b"PAR1 not really", "is not a table"),
        ("c.jsonl", b"hello\nworld\n", "one JSON object per line"),
        ("c.json", b'[\n  {"id": 1},\n  {"id": 2}\n]\n', "one JSON object per line"),
        ("c.csv.gz", b"not gzip", "is not a table"),
        ("c.csv.gz", gzip.compress(b"id,v\n1,2\n" * 1000, mtime=0)[:40], "is not a table"),
        ("c.xlsx", b"PK", "is not a table"),
        ("c.txt", b"id\n1\n", "is not a table"),
    ],
)  # fmt: skip
def test_what_is_not_a_table_is_said_to_be_none(tmp_path, name, content, says):
    with pytest.raises(CatalogError, match=says) as told:
        read_catalog(write(tmp_path, name, content))
    assert name in str(told.value)
    assert "\n" not in str(told.value)


def test_a_cell_of_many_megabytes_is_read(tmp_path):
    place = write(tmp_path, "c.csv", "id,v\n1," + "x" * (20 << 20) + "\n2,y\n")
    table = read_catalog(place).table
    assert [len(v) for v in table["v"].to_pylist()] == [20 << 20, 1]


def test_nothing_there_is_said(tmp_path):
    for place in (tmp_path / "nowhere.csv", tmp_path):
        with pytest.raises(CatalogError, match="no file at"):
            read_catalog(str(place))


# --- landing -------------------------------------------------------------------------------------------------------


@pytest.fixture
def landing(tmp_path) -> str:
    write(tmp_path, "dt=2024-01-01/a.csv", "id,v,_deleted\n1,old,\n2,kept,\n3,gone later,\n4,old,\n")
    write(tmp_path, "dt=2024-01-02/a.csv", "id,v,_deleted\n1,new,\n3,,true\n")
    write(tmp_path, "dt=2024-01-03/a.csv", "id,v,_deleted\n4,newest,false\n3,back again,\n")
    write(tmp_path, "dt=not-a-date/a.csv", "id,v\n9,x\n")
    return str(tmp_path)


def test_a_date_is_only_its_own_files(landing):
    assert read_catalog(landing, dt="2024-01-02").table["v"].to_pylist() == ["new", None]
    with pytest.raises(CatalogError, match="dt=2024-02-01"):
        read_catalog(landing, dt="2024-02-01")


@pytest.mark.parametrize(
    ("until", "items", "superseded"),
    [
        ("2024-01-01", {"1": "old", "2": "kept", "3": "gone later", "4": "old"}, 0),
        ("2024-01-02", {"1": "new", "2": "kept", "4": "old"}, 2),
        ("2024-01-03", {"1": "new", "2": "kept", "4": "newest", "3": "back again"}, 4),
        ("2030-01-01", {"1": "new", "2": "kept", "4": "newest", "3": "back again"}, 4),
    ],
)
def test_a_snapshot_is_the_newest_version_of_each_item_without_the_removed_ones(landing, until, items, superseded):
    found = read_catalog(landing, until=until, id_column="id")
    assert dict(zip(found.table["id"].to_pylist(), found.table["v"].to_pylist(), strict=True)) == items
    assert found.superseded == superseded
    assert len(found.source_file) == len(found.source_row) == len(items)


def test_within_a_date_the_last_row_decides_whether_an_item_is_removed(tmp_path):
    write(tmp_path, "dt=2024-01-01/a.csv", "id,v,_deleted\n1,x,\n1,,true\n2,,true\n2,y,\n3,z,\n")
    found = read_catalog(str(tmp_path), until="2024-01-01", id_column="id")
    assert found.table["id"].to_pylist() == ["2", "3"]


def test_an_id_is_the_same_item_as_text_and_as_a_number(tmp_path):
    (tmp_path / "dt=2024-01-01").mkdir()
    pq.write_table(pa.table({"id": [1, 2], "v": ["old", "kept"]}), tmp_path / "dt=2024-01-01" / "a.parquet")
    write(tmp_path, "dt=2024-01-02/a.csv", "id,v\n 1,new\n")
    found = read_catalog(str(tmp_path), until="2024-01-02", id_column="id")
    assert sorted(found.table["v"].to_pylist()) == ["kept", "new"]


def test_rows_without_an_id_stay_for_validation_to_set_aside(tmp_path):
    write(tmp_path, "dt=2024-01-01/a.csv", "id,v\n,x\n,y\n")
    write(tmp_path, "dt=2024-01-02/a.csv", "id,v\n,z\n")
    assert read_catalog(str(tmp_path), until="2024-01-02", id_column="id").table.num_rows == 3


def test_a_snapshot_before_the_first_date_or_without_the_id_is_bad_input(landing):
    with pytest.raises(CatalogError, match="no landing partition up to 2023-12-31"):
        read_catalog(landing, until="2023-12-31", id_column="id")
    with pytest.raises(CatalogError, match="has no column 'sku'"):
        read_catalog(landing, until="2024-01-03", id_column="sku")


# --- types ---------------------------------------------------------------------------------------------------------


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
