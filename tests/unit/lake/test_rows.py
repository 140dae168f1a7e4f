"""Rows that are read chunk by chunk are those that are read as a whole; so are the sentences about what is wrong."""

from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_catalog import SCHEMA, catalog

from attrgan import reading
from attrgan.errors import CatalogError
from attrgan.lake import rows as rows_module
from attrgan.lake.cells import typed
from attrgan.lake.rows import Cursor, Files, ParquetRows, TableRows, open_parquet, open_rows
from attrgan.schema import Schema


def written(tmp_path, *tables: pa.Table, row_group: int = 7) -> str:
    folder = tmp_path / "catalog"
    folder.mkdir()
    for i, table in enumerate(tables):
        pq.write_table(table, folder / f"{i}.parquet", row_group_size=row_group)
    return str(folder)


def opened(place: str, schema: Schema = SCHEMA):
    return open_rows(place, schema, partial(reading.read_table, place))


@pytest.mark.parametrize(("first", "last", "size"), [(0, 50, 50), (0, 50, 8), (13, 41, 8), (20, 21, 8), (29, 31, 1)])
def test_chunks_are_slices_of_the_whole_over_files_and_row_groups(tmp_path, first, last, size):
    place = written(tmp_path, catalog(30), catalog(20, prefix="Q"))
    found = opened(place)
    assert isinstance(found, ParquetRows)
    whole = typed(reading.read_table(place), SCHEMA)
    assert found.num_rows == 50
    assert found.schema.equals(whole.schema, check_metadata=True)
    chunks = list(found.chunks(first, last, size))
    assert [c.num_rows for c in chunks] == [min(size, last - at) for at in range(first, last, size)]
    assert pa.concat_tables(chunks).equals(whole.slice(first, last - first))


def test_no_rows_are_one_empty_chunk(tmp_path):
    table = catalog(10)
    for found in (opened(written(tmp_path, table)), TableRows(typed(table, SCHEMA))):
        chunks = list(found.chunks(4, 4))
        assert [c.num_rows for c in chunks] == [0]
        assert chunks[0].schema.equals(found.schema)


def test_what_depends_on_the_whole_column_is_read_as_a_whole(tmp_path):
    table = catalog(20)
    for name, cells in {
        "price": [f"{n:.2f} $" for n in table["price"].to_pylist()],
        "tags": ['["new"]'] * 20,
    }.items():
        text = table.set_column(table.column_names.index(name), name, pa.array(cells))
        place = str(tmp_path / f"{name}.parquet")
        pq.write_table(text, place)
        assert isinstance(opened(place), TableRows)
    assert open_parquet(str(tmp_path / "none.parquet"), SCHEMA) is None


def test_numbers_in_strings_are_read_by_the_form_that_their_column_carries(tmp_path):
    table = catalog(20)
    prices = pa.array([f"{n:.2f} $".replace(".", ",") for n in table["price"].to_pylist()])
    whole = typed(table.set_column(table.column_names.index("price"), "price", prices), SCHEMA)
    found = opened(written(tmp_path, whole))
    assert isinstance(found, ParquetRows)
    assert found.schema.field("price").metadata == whole.schema.field("price").metadata
    assert pa.concat_tables(found.chunks(size=3)).equals(whole)


@pytest.mark.parametrize("defect", ["twice", "null id", "infinite", "no number"])
def test_what_is_wrong_is_said_as_of_the_whole(tmp_path, monkeypatch, defect):
    monkeypatch.setattr(rows_module, "CHUNK_ROWS", 8)
    table = catalog(30)

    def with_cells(name: str, cells: list, kind: pa.DataType | None = None) -> pa.Table:
        field = table.schema.field(name)
        return table.set_column(
            table.column_names.index(name), field.with_type(kind or field.type), pa.array(cells, kind or field.type)
        )

    ids = table["sku"].to_pylist()
    wrong = {
        "twice": lambda: with_cells("sku", [*ids[:28], ids[3], f" {ids[1]} "]),
        "null id": lambda: with_cells("sku", [*ids[:28], None, None]),
        "infinite": lambda: with_cells("price", [*[1.0] * 26, np.inf, np.inf, None, 2.0]),
        "no number": lambda: with_cells("price", [True] * 30, pa.bool_()),
    }[defect]()
    with pytest.raises(CatalogError) as whole:
        typed(wrong, SCHEMA)
    with pytest.raises(CatalogError) as found:
        opened(written(tmp_path, wrong))
    assert str(found.value) == str(whole.value)


def test_a_cursor_takes_what_belongs_to_the_next_items(tmp_path):
    table = pa.table({"sku": [f"P{i // 3}" for i in range(30_000)]})
    with Files(tmp_path) as files:
        files.write("answers", table)
    with (tmp_path / "answers.parquet").open("rb") as file:
        cursor = Cursor(file)
        cursor.skip(3)
        assert cursor.take_of("sku", pa.chunked_array([["P1", "P3"]])).num_rows == 3, "P2 stands between"
        items = pa.chunked_array([[f" P{i} " for i in range(2, 9_000)]])
        assert cursor.take_of("sku", items).num_rows == 3 * 8_998
        assert cursor.take(None).num_rows == 3_000
        assert cursor.left() == 0
