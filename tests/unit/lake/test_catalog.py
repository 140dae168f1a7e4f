"""Catalogs as they are received: every reader, what cannot be read, and the newest version of each item."""

import gzip
import uuid

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from catalog_files import lines, write

from attrgan.errors import CatalogError
from attrgan.lake.catalog import plain, read_catalog
from attrgan.lake.rows import open_parquet
from attrgan.schema import Schema

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


def test_columns_of_an_extension_type_are_what_they_store_and_uuids_are_text(tmp_path):
    ids = [uuid.UUID(int=i) for i in range(3)]
    table = pa.table({
        "id": pa.array([i.bytes for i in ids], pa.uuid()),
        "c": ["red", "red", None],
        "vector": pa.ExtensionArray.from_storage(
            pa.fixed_shape_tensor(pa.float32(), [2]), pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(pa.float32(), 2))
        ),
    })  # fmt: skip
    pq.write_table(table, tmp_path / "c.parquet")
    read = read_catalog(str(tmp_path / "c.parquet")).table
    assert read["id"].to_pylist() == [str(i) for i in ids]
    assert read.schema.field("vector").type == pa.list_(pa.float32())
    rows = open_parquet(
        str(tmp_path / "c.parquet"), Schema.parse({"id": "id", "attributes": {"c": {"kind": "categorical"}}})
    )
    assert rows is not None
    assert next(rows.chunks())["id"].to_pylist() == [str(i) for i in ids]


def test_views_are_read_as_what_they_view(tmp_path):
    views = pa.table({"id": pa.array(["a", None], pa.string_view()), "b": pa.array([b"x", None], pa.binary_view())})
    pq.write_table(views, tmp_path / "c.parquet", store_schema=True)
    read = read_catalog(str(tmp_path / "c.parquet")).table
    assert plain(views).schema.types == read.schema.types == [pa.string(), pa.binary()]
    assert plain(views).to_pydict() == views.to_pydict()


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


@pytest.mark.parametrize("later", [pa.array([1.0, 3.0]), pa.array([1, 3], pa.decimal128(5, 2)), pa.array(["1", "3 "])])
def test_an_id_is_the_same_item_in_whatever_type_a_date_has_it(tmp_path, later):
    days = {"2024-01-01": pa.table({"id": [1, 2, 3], "v": ["old", "kept", "removed"]}),
            "2024-01-02": pa.table({"id": later, "v": ["new", None], "_deleted": [False, True]})}  # fmt: skip
    for date, rows in days.items():
        (tmp_path / f"dt={date}").mkdir()
        pq.write_table(rows, tmp_path / f"dt={date}" / "a.parquet")
    found = read_catalog(str(tmp_path), until="2024-01-02", id_column="id")
    assert sorted(found.table["v"].to_pylist()) == ["kept", "new"]
    assert found.superseded == 2


def test_rows_without_an_id_stay_for_validation_to_set_aside(tmp_path):
    write(tmp_path, "dt=2024-01-01/a.csv", "id,v\n,x\n,y\n")
    write(tmp_path, "dt=2024-01-02/a.csv", "id,v\n,z\n")
    assert read_catalog(str(tmp_path), until="2024-01-02", id_column="id").table.num_rows == 3


def test_a_snapshot_before_the_first_date_or_without_the_id_is_bad_input(landing):
    with pytest.raises(CatalogError, match="no landing partition up to 2023-12-31"):
        read_catalog(landing, until="2023-12-31", id_column="id")
    with pytest.raises(CatalogError, match="has no column 'sku'"):
        read_catalog(landing, until="2024-01-03", id_column="sku")
