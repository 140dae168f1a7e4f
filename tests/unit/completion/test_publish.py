import completed_catalog as made
import pyarrow as pa
import pytest

from attrgan.completion import undone
from attrgan.completion.publish import _as_text, publish
from attrgan.errors import InputError
from attrgan.lake import tables

JAN1, JAN2 = "2026-01-01", "2026-01-02"


@pytest.fixture
def night(tmp_path):
    """Publishes a night: makes the outputs of validate and complete, unless they are given."""

    class Night:
        warehouse = str(tmp_path / "warehouse")
        number = 0

        def outputs(self, dt=JAN1, *, valid=None, quarantine=None, answers=None):
            self.number += 1
            valid = made.catalog(dt=dt) if valid is None else valid
            folder = tmp_path / f"night{self.number}"
            half = valid.num_rows // 2
            shards = [
                made.completed(folder / f"s{i}", part, f"{i}/2", completions=made.completions_of(part, answers))
                for i, part in enumerate([valid.slice(0, half), valid.slice(half)])
            ]
            return shards, made.validated(folder / "validate", valid, quarantine)

        def publish(self, dt=JAN1, run_id="r1", outputs=None, **made_of):
            shards, validation = outputs or self.outputs(dt, **made_of)
            stage = tmp_path / "stage"
            stage.mkdir(exist_ok=True)
            return publish(shards, validation, self.warehouse, dt, run_id, stage)

        def read(self, name, dt=None):
            return tables.read(self.warehouse, name, dt)

    return Night()


def test_the_tables_hold_what_the_shards_hold_in_the_order_of_the_shards(night):
    valid = made.catalog()
    result = night.publish(valid=valid)
    rows = made.completions_of(valid)
    dt = pa.array([JAN1] * 6)
    assert night.read("products").to_pylist() == valid.append_column("dt", dt).to_pylist()
    assert night.read("completed").to_pylist() == made.filled(valid, rows).append_column("dt", dt).to_pylist()
    assert night.read("completions").to_pylist() == [r | {"run_id": "r1", "dt": JAN1} for r in rows]
    assert result.counts["filled"] == 6
    assert result.details["tables"]["quarantine"] is None


def test_numbers_in_strings_are_published_as_numbers(night):
    valid = made.catalog()
    at = valid.column_names.index("price")
    cells = [None if p is None else f"{p:.2f} $".replace(".", ",") for p in valid["price"].to_pylist()]
    strings = valid.set_column(at, "price", pa.array(cells, pa.string()))
    night.publish(valid=strings, answers={**made.ANSWERS, "price": ("9,50 $", "filled")})
    assert night.read("products")["price"].to_pylist() == valid["price"].to_pylist()
    assert 9.5 in night.read("completed")["price"].to_pylist()


def test_the_number_of_a_filled_cell_is_the_one_that_stands_in_completed(night, tmp_path):
    valid = made.catalog()
    at = valid.column_names.index("price")
    valid = valid.set_column(at, "price", pa.array([0, None, 2, 3, None, 5], pa.int64()))
    rows = made.completions_of(valid, {"price": ("9", "filled")})
    for row in rows:
        if row["attribute"] == "price":
            row["number"] = 9.3
    shard = made.completed(tmp_path / "complete", valid, completions=rows)
    night.publish(outputs=([shard], made.validated(tmp_path / "validate", valid)))
    published = {(r["sku"], r["attribute"]): r["number"] for r in night.read("completions").to_pylist()}
    assert [published[f"{JAN1}/{i:05d}", "price"] for i in (1, 4)] == [9.0, 9.0]
    assert night.read("completed")["price"].to_pylist() == [0, 9, 2, 3, 9, 5]


def test_completed_is_committed_last_and_carries_the_versions_of_the_others(night):
    night.publish(JAN2)
    result = night.publish(JAN1, quarantine=made.quarantined(2))
    commit = tables.last_commit(tables.open_table(night.warehouse, "completed"), JAN1)
    for name in ("products", "quarantine", "completions"):
        version = tables.version(night.warehouse, name)
        assert commit[f"{name}_version"] == version == result.details["tables"][name]
        other = tables.last_commit(tables.open_table(night.warehouse, name), JAN1)
        assert other["timestamp"] <= commit["timestamp"]
    assert (commit["run_id"], commit["model_version"]) == ("r1", "7")


def test_publishing_the_same_again_commits_nothing(night):
    outputs = night.outputs(quarantine=made.quarantined(1))
    first = night.publish(outputs=outputs)
    second = night.publish(outputs=outputs)
    assert (first.details["unchanged"], second.details["unchanged"]) == (False, True)
    assert second.details["tables"] == first.details["tables"]
    assert tables.version(night.warehouse, "completed") == first.details["tables"]["completed"]


def test_another_run_of_the_same_rows_commits_anew_and_changes_only_the_run_id(night):
    outputs = night.outputs()
    night.publish(outputs=outputs, run_id="r1")
    before = {name: night.read(name) for name in ("products", "completions", "completed")}
    assert night.publish(outputs=outputs, run_id="r2").details["unchanged"] is False
    assert night.read("products").equals(before["products"])
    assert night.read("completed").equals(before["completed"])
    after = night.read("completions")
    assert after.drop_columns(["run_id"]).equals(before["completions"].drop_columns(["run_id"]))
    assert set(after["run_id"].to_pylist()) == {"r2"}


def test_the_same_run_publishes_again_when_another_has_published_the_date_in_between(night):
    mine, other = night.outputs(), night.outputs(answers={"brand": ("Other", "filled")})
    night.publish(outputs=mine, run_id="mine")
    night.publish(outputs=other, run_id="other")
    assert night.publish(outputs=mine, run_id="mine").details["unchanged"] is False
    assert night.read("completed")["brand"].to_pylist()[1] == "Acme"


def test_a_backfill_of_an_old_date_leaves_newer_dates_as_they_are(night):
    night.publish(JAN1)
    night.publish(JAN2)
    newer = {name: night.read(name, JAN2) for name in ("products", "completions", "completed")}
    night.publish(JAN1, "backfill", answers={"brand": ("Backfilled", "filled")})
    assert "Backfilled" in night.read("completed", JAN1)["brand"].to_pylist()
    for name, table in newer.items():
        assert night.read(name, JAN2).equals(table)


def test_quarantined_rows_are_kept_as_text_and_go_when_a_run_has_none(night):
    night.publish(JAN2, quarantine=made.quarantined(1))
    night.publish(JAN1, quarantine=made.quarantined(2))
    rows = night.read("quarantine", JAN1)
    assert rows["price"].to_pylist() == ["<script>alert(1)</script>"] * 2
    assert rows["tags"].to_pylist() == ['["x"]'] * 2
    assert rows["reasons"].to_pylist() == [["wrong_type:price"]] * 2
    night.publish(JAN1, "r2")
    assert set(night.read("quarantine")["dt"].to_pylist()) == {JAN2}


def test_a_quarantine_whose_columns_change_type_from_day_to_day_still_fits(night):
    night.publish(JAN1, quarantine=made.quarantined(1))
    numbers = made.quarantined(1).set_column(1, "price", pa.array([-5.5]))
    blobs = numbers.append_column("picture", pa.array([b"\xff\x00"]))
    night.publish(JAN2, quarantine=blobs)
    row = night.read("quarantine", JAN2).to_pylist()[0]
    assert (row["price"], row["picture"]) == ("-5.5", "/wA=")


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary(2), pa.binary_view()])
def test_bytes_of_any_type_are_base64_in_the_quarantine(kind):
    assert _as_text("picture", pa.array([b"\xff\x00", b"ab", None], kind)).to_pylist() == ["/wA=", "YWI=", None]


def test_whole_prices_one_day_and_fractions_the_next_fit_one_column(night):
    whole = made.catalog().set_column(4, "price", pa.array([1, 2, 3, 4, 5, 6]))
    night.publish(JAN1, valid=whole)
    night.publish(JAN2)
    assert night.read("completed", JAN1)["price"].to_pylist() == [1, 2, 3, 4, 5, 6]
    assert night.read("completed", JAN2)["price"].to_pylist() == [0.25, 9.5, 2.25, 3.25, 9.5, 5.25]


def test_nothing_that_was_taken_back_is_filled_again_where_nothing_is_completed():
    schema = pa.schema([(name, pa.string()) for name in ("sku", "attribute", "status")])
    assert undone._filled(lambda: pa.RecordBatchReader.from_batches(schema, []), "sku") == {}


def test_a_date_on_which_nothing_was_missing_has_no_completions(night):
    whole = made.catalog(1)
    night.publish(JAN1)
    result = night.publish(JAN1, "r2", valid=whole)
    assert result.details["tables"]["completions"] is None
    assert night.read("completions").num_rows == 0
    assert night.read("completed").num_rows == 1


def test_what_the_audit_refuses_is_not_published(night, tmp_path):
    night.publish(JAN1)
    version = tables.version(night.warehouse, "products")
    valid = made.catalog()
    changed = valid.set_column(1, "title", pa.array(["mine now"] * 6))
    shard = made.completed(tmp_path / "bad", valid, table=made.filled(changed, made.completions_of(valid)))
    result = night.publish(JAN1, "r2", outputs=([shard], made.validated(tmp_path / "v", valid)))
    assert "a given cell was changed (6)" in result.refused
    assert tables.version(night.warehouse, "products") == version


def test_without_a_validation_folder_the_one_that_was_completed_is_found(night, tmp_path):
    valid = made.catalog()
    validation = made.validated(tmp_path / "v", valid, made.quarantined(1))
    inputs = {"catalog": {"place": f"{validation}/valid.parquet", "hash": "0"}}
    shard = made.completed(tmp_path / "c", valid, inputs=inputs)
    assert night.publish(outputs=([shard], None)).counts["quarantined"] == 1
    lost = made.completed(tmp_path / "lost", valid)
    with pytest.raises(InputError, match="--validation"):
        night.publish(outputs=([lost], None))


def test_a_removed_item_is_no_longer_current(night):
    night.publish(JAN1)
    gone = made.catalog(2, JAN1).append_column("_deleted", pa.array([True, False]))
    night.publish(JAN2, valid=gone)
    ids = tables.current(night.warehouse, "completed", "sku")["sku"].to_pylist()
    assert ids == [f"{JAN1}/{i:05d}" for i in (2, 3, 4, 5, 1)]


def test_a_catalog_with_a_column_named_dt_is_refused_before_anything_is_written(night):
    valid = made.catalog().append_column("dt", pa.array(["x"] * 6))
    with pytest.raises(InputError, match="'dt' is reserved"):
        night.publish(valid=valid)
    assert tables.version(night.warehouse, "products") is None


def test_a_dt_that_is_no_date_is_refused(night):
    with pytest.raises(InputError, match="YYYY-MM-DD"):
        night.publish("tomorrow")
