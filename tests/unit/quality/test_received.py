"""A catalog that is judged as it is read comes out as one that is in memory."""

import dataclasses

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from quality_catalogs import LENIENT, Outcome, sound

from attrgan.errors import CatalogError
from attrgan.lake import storage
from attrgan.lake.catalog import read_catalog
from attrgan.quality import frames, received
from attrgan.quality.received import Streamed, Whole, receive
from attrgan.quality.validation import validate


@pytest.fixture
def place(tmp_path) -> str:
    """Two files of 23 rows: some come twice, remove an item, or break a rule each in its own way."""
    columns = {name: pa.array(cells) for name, cells in sound().items()}
    table = pa.concat_tables([pa.table(columns)] * 6).slice(0, 23)
    cells = {
        "id": [*[f"p{i % 19}" for i in range(21)], None, "  "],
        "price": [0.5 if i % 5 == 0 else None if i == 7 else float("inf") if i == 8 else 2.0 for i in range(23)],
        "colour": ["pink" if i == 11 else "red" for i in range(23)],
        "prices": [[1.0] if i == 13 else [] for i in range(23)],
        "weeks": [[1] if i in (13, 14) else [] for i in range(23)],
        "_deleted": [{3: "true", 4: "perhaps"}.get(i) for i in range(23)],
    }
    for name, values in cells.items():
        column = pa.array(values, table.schema.field(name).type if name in table.column_names else pa.string())
        at = table.column_names.index(name) if name in table.column_names else table.num_columns
        table = table.set_column(at, name, column) if at < table.num_columns else table.append_column(name, column)
    folder = tmp_path / "catalog"
    folder.mkdir()
    pq.write_table(table.slice(0, 10), folder / "a.parquet", row_group_size=3)
    pq.write_table(table.slice(10), folder / "b.parquet")
    return str(folder)


@pytest.mark.parametrize(("rows", "ids"), [(1000, 1000), (4, 5), (7, 1)])
def test_rows_reasons_and_report_are_those_of_the_whole(place, schema, tmp_path, monkeypatch, rows, ids):
    (tmp_path / "whole").mkdir()
    (tmp_path / "streamed").mkdir()
    expected = Outcome(validate(read_catalog(place), schema, tmp_path / "whole", LENIENT), tmp_path / "whole")
    monkeypatch.setattr(frames, "ROWS_PER_BATCH", rows)
    monkeypatch.setattr(received, "IDS_AT_ONCE", ids)
    catalog = receive(place, schema)
    assert isinstance(catalog, Streamed)
    found = Outcome(validate(catalog, schema, tmp_path / "streamed", LENIENT), tmp_path / "streamed")
    assert dataclasses.asdict(found.result) == dataclasses.asdict(expected.result)
    assert len(expected.result.counts["reasons"]) >= 7
    for name in ("valid", "quarantine"):
        tables = [pq.read_table(outcome.folder / f"{name}.parquet") for outcome in (found, expected)]
        assert tables[0].equals(tables[1], check_metadata=True), name
    assert without_examples(found.report) == without_examples(expected.report)


def without_examples(report: dict) -> dict:
    """Which offending cells are quoted depends on the batches."""
    expectations = [{k: v for k, v in e.items() if k != "examples"} for e in report["expectations"]]
    return report | {"expectations": expectations}


def test_a_partition_is_read_as_it_is_judged(place, schema, tmp_path):
    (tmp_path / "landing").mkdir()
    (tmp_path / "catalog").rename(tmp_path / "landing" / "dt=2026-01-02")
    found = receive(str(tmp_path / "landing"), schema, dt="2026-01-02")
    assert isinstance(found, Streamed)
    assert found.num_rows == 23
    assert isinstance(receive(str(tmp_path / "landing"), schema, until="2026-01-03"), Whole)


def test_a_column_of_another_kind_is_said_before_anything_is_judged(schema, tmp_path):
    table = pa.table(sound() | {"price": [True, False, True, None]})
    pq.write_table(table, tmp_path / "c.parquet")
    with pytest.raises(CatalogError) as whole:
        Whole(read_catalog(str(tmp_path / "c.parquet")), schema)
    with pytest.raises(CatalogError) as found:
        receive(str(tmp_path / "c.parquet"), schema)
    assert str(found.value) == str(whole.value)
    assert "none of the 3 cells of column 'price' is a number" in str(found.value)


def test_valid_rows_are_written_in_groups_that_can_be_read_by_themselves(place, schema, tmp_path, monkeypatch):
    monkeypatch.setattr("attrgan.quality.validation.CHUNK_ROWS", 4)
    validate(receive(place, schema), schema, tmp_path, LENIENT)
    written = pq.read_metadata(storage.join(tmp_path, "valid.parquet"))
    assert max(written.row_group(i).num_rows for i in range(written.num_row_groups)) == 4
