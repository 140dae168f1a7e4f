"""The warehouse in an object store: moto's S3 server on loopback."""

import completed_catalog as made
import pyarrow as pa
import pytest

from attrgan import freshness
from attrgan.completion.publish import publish
from attrgan.completion.undo import Selection, undo
from attrgan.errors import InputError
from attrgan.lake import tables
from attrgan.lake.history import vacuum

DT = "2026-01-01"


@pytest.fixture
def warehouse(bucket):
    return f"{bucket}/lake/warehouse"


def test_a_partition_is_replaced_in_an_object_store(warehouse):
    for dt, ids in (("2026-01-01", ["a"]), ("2026-01-02", ["b"]), ("2026-01-01", ["c", "d"])):
        tables.replace_partition(warehouse, "products", pa.table({"id": ids}), dt, {"run_id": "r"})
    assert tables.read(warehouse, "products")["id"].to_pylist() == ["c", "d", "b"]
    assert tables.current(warehouse, "products", "id").num_rows == 3


def test_a_conflict_is_noticed_in_an_object_store(warehouse):
    rows = pa.table({"id": ["a"]})
    first, second = (tables.begin(warehouse, "products", rows.schema) for _ in range(2))
    tables.replace_partition(warehouse, "products", rows, DT, {}, base=first)
    with pytest.raises(tables.ConflictError):
        tables.replace_partition(warehouse, "products", rows, DT, {}, base=second)


def test_a_night_is_published_to_an_object_store(warehouse, tmp_path):
    valid = made.catalog()
    shard = made.completed(tmp_path / "complete", valid)
    validation = made.validated(tmp_path / "validate", valid, made.quarantined(1))
    first = publish([shard], validation, warehouse, DT, "r", tmp_path)
    again = publish([shard], validation, warehouse, DT, "r", tmp_path)
    assert again.details["unchanged"]
    assert again.details["tables"] == first.details["tables"]
    assert tables.read(warehouse, "completed")["brand"].to_pylist()[1] == "Acme"
    assert tables.read(warehouse, "quarantine").num_rows == 1


def test_the_freshness_of_an_object_store_is_that_of_the_publish(warehouse, tmp_path):
    assert not freshness.look(warehouse, 3600)["fresh"]
    valid = made.catalog()
    shard = made.completed(tmp_path / "complete", valid)
    publish([shard], made.validated(tmp_path / "validate", valid), warehouse, DT, "r", tmp_path)
    found = freshness.look(warehouse, 3600)
    assert (found["fresh"], found["newest_dt"], found["run_id"]) == (True, DT, "r")


def test_a_bucket_that_is_not_there_cannot_be_told_from_a_wrong_setting(warehouse):
    with pytest.raises(InputError, match="cannot be read"):
        freshness.look("s3://no-such-bucket/warehouse", 3600)


def test_a_run_is_undone_and_brought_back_in_an_object_store(warehouse, tmp_path):
    valid = made.catalog(2_000)
    shard = made.completed(tmp_path / "complete", valid)
    publish([shard], made.validated(tmp_path / "validate", valid), warehouse, DT, "r", tmp_path, retention_days=30)
    before = tables.read(warehouse, "completed")
    done = undo(warehouse, Selection("r"), tmp_path)
    assert done.counts["emptied"] == 2_000
    assert tables.read(warehouse, "completed").equals(tables.read(warehouse, "products"))
    undo(warehouse, Selection(done.details["undo"]), tmp_path)
    assert tables.read(warehouse, "completed").equals(before)
    assert vacuum(warehouse, 30)["counts"] == {"completed": 0, "completions": 0, "products": 0}


def test_a_table_that_is_not_there_is_no_error_of_the_store(warehouse):
    assert tables.version(warehouse, "completed") is None
    assert tables.past_null_rates(warehouse, DT, "id") is None
    with pytest.raises(InputError, match="no table completed"):
        tables.read(warehouse, "completed")
