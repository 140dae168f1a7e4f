"""A row of `completions` is enough to make its cell again."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_catalog import SCHEMA, catalog, with_gaps

from attrgan import api
from attrgan.lake import tables
from attrgan.lake.cells import to_frame
from attrgan.model import CompletionModel


@pytest.fixture(scope="module")
def items() -> pa.Table:
    return with_gaps(catalog(40, seed=78, prefix="R"), 0.3)


@pytest.fixture(scope="module")
def completions(items, small_folder, tmp_path_factory) -> pa.Table:
    place = tmp_path_factory.mktemp("provenance")
    pq.write_table(items, place / "items.parquet")
    api.complete(str(place / "items.parquet"), str(small_folder), str(place / "out"), run_id="r1")
    return pq.read_table(place / "out" / "completions.parquet")


def test_a_cell_is_made_again_from_its_item_and_the_model_version_of_its_row(items, completions, small_folder):
    row = next(r for r in completions.to_pylist() if r["status"] == "filled" and r["attribute"] == "colour")
    model = CompletionModel.load(small_folder)
    assert model.version == row["model_version"]
    item = items.filter(pa.compute.equal(items["sku"], row["sku"]))
    again = model.complete(to_frame(item, SCHEMA)).query("attribute == @row['attribute']").iloc[0]
    assert (again["value"], again["status"], again["source"]) == (row["value"], row["status"], row["source"])
    assert again["confidence"] == pytest.approx(row["confidence"], abs=1e-6)
    assert again["threshold"] == row["threshold"]
    before, now = json.loads(row["evidence"]), json.loads(again["evidence"])
    assert now.get("span") == before.get("span")
    assert now.get("neighbours") == before.get("neighbours")
    assert now["levels"] == pytest.approx(before["levels"], abs=0.011)


def test_the_threshold_is_that_of_the_attributes_promise_and_null_where_nothing_is_promised(completions, small_model):
    for row in completions.to_pylist():
        assert row["threshold"] == small_model.calibration[row["attribute"]]["threshold"]


def test_the_status_follows_from_confidence_threshold_and_value(completions):
    for row in completions.to_pylist():
        accepted = row["threshold"] is not None and row["confidence"] >= row["threshold"]
        kept = "not_applicable" if row["value"] is None else "filled"
        assert row["status"] == (kept if accepted else "review" if row["confidence"] >= 0.5 else "abstained")


def test_what_people_or_readers_see_says_which_levels_carried_it(completions):
    for row in completions.to_pylist():
        levels = json.loads(row["evidence"]).get("levels")
        assert (levels is not None) == (row["status"] != "abstained"), row


def test_a_table_from_before_there_were_thresholds_takes_new_rows(completions, tmp_path):
    warehouse = str(tmp_path)
    old = completions.drop_columns(["threshold"])
    tables.replace_partition(warehouse, "completions", old, "2026-01-01", {"run_id": "old"})
    tables.replace_partition(warehouse, "completions", completions, "2026-01-02", {"run_id": "new"})
    read = tables.read(warehouse, "completions")
    assert read.schema.field("threshold").type == pa.float64()
    assert read.filter(pa.compute.equal(read["dt"], "2026-01-01"))["threshold"].null_count == old.num_rows
    after = read.filter(pa.compute.equal(read["dt"], "2026-01-02"))
    assert after["threshold"].to_pylist() == completions["threshold"].to_pylist()
