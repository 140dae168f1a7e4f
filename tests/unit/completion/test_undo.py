"""Undo, on tables that were really published: 6 items a date, of which a run fills 2 brands, 2 prices and 2 tags."""

import os
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import completed_catalog as made
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attrgan.completion.publish import publish
from attrgan.completion.undo import Selection, undo
from attrgan.errors import InputError
from attrgan.lake import tables

JAN1, JAN2, JAN3 = "2026-01-01", "2026-01-02", "2026-01-03"


class Lake:
    """A warehouse, published to and undone in."""

    def __init__(self, folder):
        self.folder, self.warehouse, self.number = folder, str(folder / "warehouse"), 0

    def publish(self, dt=JAN1, run_id="r1", *, valid=None, answers=None, model="7", table=None, schema=made.SCHEMA):
        self.number += 1
        place = self.folder / f"night{self.number}"
        valid = made.catalog(dt=dt) if valid is None else valid
        rows = [r | {"model_version": model} for r in made.completions_of(valid, answers)]
        run = {"model_version": model, "schema": schema}
        shard = made.completed(place / "complete", valid, table=table, completions=rows, **run)
        result = publish([shard], made.validated(place / "validate", valid), self.warehouse, dt, run_id, place)
        assert not result.refused
        return result

    def undo(self, run_id=None, **options):
        selects = {k: options.pop(k) for k in ("model_version", "attribute", "first", "last") if k in options}
        stage = self.folder / "stage"
        stage.mkdir(exist_ok=True)
        return undo(self.warehouse, Selection(run_id, **selects), stage, **options)

    def completed(self, dt=None):
        return tables.read(self.warehouse, "completed", dt)

    def completions(self, dt=None):
        """The rows; without the columns of undos where nothing is undone."""
        rows = tables.read(self.warehouse, "completions", dt)
        empty = [n for n in rows.column_names if n.startswith("undone") and rows[n].null_count == rows.num_rows]
        return rows.drop_columns(empty)

    def state(self, dt=None):
        return {name: getattr(self, name)(dt).to_pylist() for name in ("completed", "completions")}

    def versions(self):
        return {n: tables.version(self.warehouse, n) for n in ("products", "completions", "completed")}

    def products(self):
        return tables.read(self.warehouse, "products")


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path)


def filled(rows):
    return rows.filter(pc.equal(rows["status"], "filled")).num_rows


def test_a_run_is_taken_back_and_its_cells_are_as_the_sellers_left_them(lake):
    lake.publish()
    result = lake.undo("r1")
    assert result.counts == {"emptied": 6, "refilled": 0, "kept": 0, "already": 0, "dates": 1}
    assert lake.completed().to_pylist() == lake.products().to_pylist()


def test_the_completions_row_of_an_undone_cell_says_by_whom_and_of_what(lake):
    lake.publish()
    before = lake.completions()
    undo_id = lake.undo("r1").details["undo"]
    after = lake.completions()
    rows = after.filter(pc.is_valid(after["undone_by"])).to_pylist()
    assert {(r["undone_by"], r["undone_for"], r["status"]) for r in rows} == {(undo_id, "run_id", "abstained")}
    assert all(r["undone_at"] for r in rows)
    assert len(rows) == filled(before) == 6
    for name in set(before.column_names) - {"status"}:
        assert after[name].equals(before[name])


def test_later_runs_and_other_dates_stay(lake):
    lake.publish(JAN1, "first")
    lake.publish(JAN1, "second", answers={"brand": ("Better", "filled")})
    lake.publish(JAN2, "first")
    before = lake.state(JAN1)
    lake.undo("first")
    assert lake.state(JAN1) == before
    assert lake.completed(JAN2)["brand"].null_count == 2


def test_a_model_version_is_taken_back_over_all_its_runs(lake):
    for dt, run, model in ((JAN1, "a", "7"), (JAN2, "b", "8"), (JAN3, "c", "7")):
        lake.publish(dt, run, model=model)
    result = lake.undo(model_version="7")
    assert set(result.details["changes"]) == {JAN1, JAN3}
    assert [lake.completed(dt)["brand"].null_count for dt in (JAN1, JAN2, JAN3)] == [2, 0, 2]


def test_an_attribute_is_taken_back_alone(lake):
    lake.publish()
    assert lake.undo("r1", attribute="tags").details["changes"] == {JAN1: {"tags": 2}}
    assert [lake.completed()[name].null_count for name in ("tags", "brand", "price")] == [2, 0, 0]


@pytest.mark.parametrize(
    ("between", "expected"),
    [({"first": JAN2}, {JAN2, JAN3}), ({"last": JAN1}, {JAN1}), ({"first": JAN2, "last": JAN2}, {JAN2})],
)
def test_dates_are_taken_back_from_and_to(lake, between, expected):
    for dt in (JAN1, JAN2, JAN3):
        lake.publish(dt)
    assert set(lake.undo("r1", dry_run=True, **between).details["changes"]) == expected


def test_a_dry_run_says_what_would_change_and_changes_nothing(lake):
    lake.publish()
    before, versions = lake.state(), lake.versions()
    dry = lake.undo("r1", dry_run=True)
    listed = pq.read_table(lake.folder / "stage" / "cells.parquet").to_pylist()
    assert (lake.state(), lake.versions()) == (before, versions)
    wet = lake.undo("r1")
    assert dry.counts == wet.counts
    assert dry.details["changes"] == wet.details["changes"] == {JAN1: {"brand": 2, "price": 2, "tags": 2}}
    assert {(r["sku"], r["attribute"]) for r in listed} == {
        (r["sku"], r["attribute"]) for r in before["completions"] if r["status"] == "filled"
    }
    assert {r["outcome"] for r in listed} == {"emptied"}


def test_undoing_an_undo_brings_the_rows_back_as_they_were(lake):
    lake.publish()
    before = lake.state()
    undo_id = lake.undo("r1").details["undo"]
    result = lake.undo(undo_id)
    assert result.counts["refilled"] == 6
    assert lake.state() == before


def test_an_undo_can_be_undone_in_part(lake):
    lake.publish()
    undo_id = lake.undo("r1").details["undo"]
    lake.undo(undo_id, attribute="price")
    assert [lake.completed()[name].null_count for name in ("price", "brand")] == [0, 2]
    lake.undo(undo_id)
    assert lake.completed()["brand"].null_count == 0


def test_doing_it_again_changes_nothing(lake):
    lake.publish()
    lake.undo("r1")
    before, versions = lake.state(), lake.versions()
    assert lake.undo("r1").counts == {"emptied": 0, "refilled": 0, "kept": 0, "already": 6, "dates": 0}
    assert (lake.state(), lake.versions()) == (before, versions)


def test_a_cell_that_holds_another_value_by_now_stays(lake):
    lake.publish()

    def corrected(batch):
        columns = {name: batch[name] for name in batch.schema.names}
        columns["brand"] = pc.if_else(pc.equal(batch["brand"], "Acme"), "Acme Corp.", batch["brand"])
        columns["price"] = pc.if_else(pc.equal(batch["price"], 9.5), 9.51, batch["price"])
        return pa.record_batch(columns)

    table = tables.existing(lake.warehouse, "completed")
    tables.rewrite_partition(lake.warehouse, "completed", table, corrected, JAN1, {"run_id": "by hand"})
    result = lake.undo("r1")
    assert (result.counts["emptied"], result.counts["kept"]) == (2, 4)
    assert lake.completed()["brand"].to_pylist().count("Acme Corp.") == 2
    assert lake.completed()["price"].to_pylist().count(9.51) == 2
    rows = lake.completions().to_pylist()
    assert {r["status"] for r in rows if r["attribute"] in ("brand", "price")} == {"filled"}


def test_a_cell_that_has_a_value_again_is_not_refilled(lake):
    lake.publish()
    undo_id = lake.undo("r1", attribute="brand").details["undo"]

    def given_now(batch):
        brand = pc.fill_null(batch["brand"], "the seller's")
        return batch.set_column(batch.schema.get_field_index("brand"), "brand", brand)

    table = tables.existing(lake.warehouse, "completed")
    tables.rewrite_partition(lake.warehouse, "completed", table, given_now, JAN1, {})
    assert lake.undo(undo_id).counts["kept"] == 2
    assert lake.completed()["brand"].to_pylist().count("the seller's") == 2


def test_the_commits_are_the_undos_and_completed_carries_the_version_of_completions(lake):
    lake.publish()
    was = tables.last_commit(tables.existing(lake.warehouse, "completed"), JAN1)
    lake.undo("r1", undo_id="mine")
    commit = tables.last_commit(tables.existing(lake.warehouse, "completed"), JAN1)
    assert (commit["run_id"], commit["undo_of"]) == ("mine", "run id 'r1'")
    assert commit["completions_version"] == tables.version(lake.warehouse, "completions")
    assert commit["products_version"] == was["products_version"] == tables.version(lake.warehouse, "products")


@pytest.mark.parametrize("kind", [pa.float32(), pa.decimal128(10, 1), pa.int64()])
def test_numbers_come_back_in_the_precision_of_their_column(lake, kind):
    valid = made.catalog()
    at = valid.column_names.index("price")
    valid = valid.set_column(at, "price", pc.cast(pc.floor(valid["price"]), kind))
    lake.publish(valid=valid, answers={"price": ("9" if kind == pa.int64() else "9.1", "filled")})
    before = lake.completed()
    undo_id = lake.undo("r1", attribute="price").details["undo"]
    assert lake.completed()["price"].null_count == 2
    lake.undo(undo_id)
    assert lake.completed().equals(before)


def test_numbers_in_strings_are_taken_back_and_brought_back(lake):
    valid = made.catalog()
    at = valid.column_names.index("price")
    cells = [None if p is None else f"{p:.2f} $".replace(".", ",") for p in valid["price"].to_pylist()]
    strings = valid.set_column(at, "price", pa.array(cells, pa.string()))
    lake.publish(valid=strings, answers={"price": ("9,50 $", "filled")})
    before = lake.completed()
    undo_id = lake.undo("r1").details["undo"]
    assert lake.completed()["price"].null_count == 2
    lake.undo(undo_id)
    assert lake.completed().equals(before)


@pytest.mark.parametrize(
    ("cells", "value"),
    [(pa.array([True, False]), "True"), (pa.array([date(2026, 1, 1), date(2026, 1, 2)]), "2026-01-01"),
     (pa.array([1.5, 2.5]), "1.5"), (pa.array([Decimal("1.50"), Decimal("2.50")]), "1.50"),
     (pa.array([[3, 4], [5]]), '["3", "4"]'), (pa.array([["日本", "n/a"], []]), '["日本", "n/a"]')],
    ids=["boolean", "date", "float that is a category", "decimal", "list of numbers", "list of strings"],
)  # fmt: skip
def test_values_of_any_type_are_taken_back_and_brought_back(lake, cells, value):
    items = pa.table({"sku": ["a", "b"], "mark": cells})
    row = {"sku": "a", "attribute": "mark", "value": value, "number": None, "status": "filled", "run_id": "r1"}
    rows = pa.Table.from_pylist([row], made.completions_schema(items))
    version = tables.replace_partition(lake.warehouse, "completions", rows, JAN1, {})
    tables.replace_partition(lake.warehouse, "completed", items, JAN1, {"completions_version": version})
    before = lake.state()
    undo_id = lake.undo("r1").details["undo"]
    assert lake.completed()["mark"].to_pylist() == [None, cells[1].as_py()]
    lake.undo(undo_id)
    assert lake.state() == before


NOON = datetime(2026, 1, 2, 12)
NAIVE, AWARE = pa.timestamp("us"), pa.timestamp("us", "UTC")


def with_column(table, name, cells):
    return table.set_column(table.column_names.index(name), name, cells)


def with_brand(cell, dt=JAN2):
    """The catalog, in which a cell stands for every brand that is there."""
    valid = made.catalog(dt=dt)
    return with_column(valid, "brand", pc.if_else(pc.is_valid(valid["brand"]), cell, pa.scalar(None, cell.type)))


def assert_taken_back_and_brought_back(lake, attribute):
    before = lake.state(JAN2)
    undo_id = lake.undo("r2", attribute=attribute).details["undo"]
    assert lake.completed(JAN2)[attribute].null_count == 2
    lake.undo(undo_id)
    assert str(lake.state(JAN2)) == str(before)  # as text, since a bound may be not-a-number


@pytest.mark.parametrize(
    ("first", "later", "value"),
    [(pa.scalar("M"), pa.scalar(True), "False"), (pa.scalar("M"), pa.scalar(1.5), "5.0"),
     (pa.scalar("M"), pa.scalar(NOON), "2026-01-02 12:00:00"), (pa.scalar(1), pa.scalar(True), "False"),
     (pa.scalar(1.5), pa.scalar(True), "False"), (pa.scalar(True), pa.scalar(0), "1"),
     (pa.scalar(NOON.date()), pa.scalar(NOON), "2026-01-02 00:00:00"),
     (pa.scalar(NOON), pa.scalar(NOON, AWARE), "2026-01-02 00:00:00+00:00")],
    ids=["boolean in text", "float in text", "instant in text", "boolean in whole numbers", "boolean in floats",
         "whole number in booleans", "instant in dates", "instant with a zone in those without"],
)  # fmt: skip
def test_values_that_the_table_keeps_in_another_type_are_taken_back_and_brought_back(lake, first, later, value):
    lake.publish(JAN1, "r1", valid=with_column(made.catalog(1), "brand", pa.array([first])))
    lake.publish(JAN2, "r2", valid=with_brand(later), answers={"brand": (value, "filled")})
    assert_taken_back_and_brought_back(lake, "brand")


def test_lists_that_the_table_keeps_in_another_type_are_taken_back_and_brought_back(lake):
    lake.publish(JAN1, "r1", valid=made.catalog(1))
    valid = made.catalog(dt=JAN2)
    tags = [tags and [True] for tags in valid["tags"].to_pylist()]
    given, full = (with_column(valid, "tags", pa.array(t)) for t in (tags, [t or [False, True] for t in tags]))
    answers = {"tags": (["False", "True"], "filled"), "brand": ("Acme", "review"), "price": (9.5, "review")}
    lake.publish(JAN2, "r2", valid=given, table=full, answers=answers)
    assert_taken_back_and_brought_back(lake, "tags")


@pytest.mark.parametrize(("kind", "written"), [(pa.float64(), "9.5"), (pa.int64(), "9"), (pa.string(), "9.50 $")])
def test_numbers_in_a_column_that_held_text_before_are_taken_back_and_brought_back(lake, kind, written):
    categorical = made.SCHEMA | {"attributes": made.SCHEMA["attributes"] | {"price": {"kind": "categorical"}}}
    lake.publish(JAN1, "r1", valid=with_column(made.catalog(1), "price", pa.array(["M"])), schema=categorical)
    valid = made.catalog(dt=JAN2)
    cells = [None if price is None else "7.00 $" if kind == pa.string() else 7 for price in valid["price"].to_pylist()]
    valid = with_column(valid, "price", pa.array(cells, kind))
    lake.publish(JAN2, "r2", valid=valid, answers={"price": (written, "filled")})
    assert_taken_back_and_brought_back(lake, "price")


def test_a_value_in_another_type_that_was_changed_since_stays(lake):
    lake.publish(JAN1, "r1")
    lake.publish(JAN2, "r2", valid=with_brand(pa.scalar(True)), answers={"brand": ("False", "filled")})

    def changed(batch):
        brand = pc.if_else(pc.equal(batch["brand"], "false"), "False", batch["brand"])
        return batch.set_column(batch.schema.get_field_index("brand"), "brand", brand)

    tables.rewrite_partition(
        lake.warehouse, "completed", tables.existing(lake.warehouse, "completed"), changed, JAN2, {}
    )
    counts = lake.undo("r2", attribute="brand").counts
    assert (counts["emptied"], counts["kept"]) == (0, 2)


def test_what_was_filled_before_its_other_type_was_noted_stays(lake):
    row = {"sku": "a", "attribute": "mark", "value": "False", "status": "filled", "run_id": "r1"}
    items = pa.table({"sku": ["a"], "mark": [0]})
    rows = pa.Table.from_pylist([row], made.completions_schema(items))
    version = tables.replace_partition(lake.warehouse, "completions", rows, JAN1, {})
    tables.replace_partition(lake.warehouse, "completed", items, JAN1, {"completions_version": version})
    assert lake.undo("r1").counts["kept"] == 1


@pytest.mark.parametrize(
    ("first", "later"),
    [(pa.array(["a"]), pa.array(range(6))), (pa.array([9]), pa.array([float(i) for i in range(6)])),
     (pa.array([NOON]), pa.array([NOON.replace(hour=i) for i in range(6)], AWARE)),
     (pa.array([NOON], AWARE), pa.array([NOON.replace(hour=i) for i in range(6)], NAIVE))],
    ids=["text, whole numbers", "whole numbers, floats", "without a zone, with", "with a zone, without"],
)  # fmt: skip
def test_ids_have_the_type_of_the_first_night_though_nothing_was_empty_then(lake, first, later):
    lake.publish(JAN1, "r1", valid=with_column(made.catalog(1), "sku", first))
    lake.publish(JAN2, "r2", valid=with_column(made.catalog(dt=JAN2), "sku", later))
    assert lake.completions().schema.field("sku").type == first.type
    assert_taken_back_and_brought_back(lake, "brand")


def test_ids_are_found_in_tables_that_keep_them_in_two_types(lake):
    items = pa.table({"sku": [2, 3], "mark": ["x", "y"]})
    row = {"sku": 3, "attribute": "mark", "value": "y", "status": "filled", "run_id": "r2"}
    rows = pa.Table.from_pylist([row], made.completions_schema(items))
    version = tables.replace_partition(lake.warehouse, "completions", rows, JAN2, {})
    texts = with_column(items, "sku", items["sku"].cast(pa.string()))
    tables.replace_partition(lake.warehouse, "completed", texts, JAN2, {"completions_version": version})
    undo_id = lake.undo("r2").details["undo"]
    assert lake.completed()["mark"].to_pylist() == ["x", None]
    lake.undo(undo_id)
    assert lake.completed()["mark"].to_pylist() == ["x", "y"]


def test_what_was_undone_stays_open_when_its_ids_come_in_another_type(lake):
    lake.publish(valid=with_column(made.catalog(), "sku", pa.array([str(i) for i in range(6)])))
    lake.undo("r1")
    assert lake.publish(valid=with_column(made.catalog(), "sku", pa.array(range(6)))).counts["kept_open"] == 6
    assert lake.completed().to_pylist() == lake.products().to_pylist()


def test_whole_number_ids_are_found(lake):
    valid = made.catalog()
    lake.publish(valid=valid.set_column(0, "sku", pa.array(range(6), pa.int64())))
    assert lake.undo("r1").counts["emptied"] == 6


def test_what_was_undone_of_a_version_stays_open_when_the_version_is_published_again(lake):
    lake.publish(run_id="monday")
    lake.undo(model_version="7", attribute="brand")
    result = lake.publish(run_id="tuesday")
    assert result.counts["kept_open"] == 2
    assert [lake.completed()[name].null_count for name in ("brand", "price")] == [2, 0]
    assert lake.publish(run_id="wednesday", model="8").counts["kept_open"] == 0
    assert lake.completed()["brand"].null_count == 0


def test_what_was_undone_of_a_run_stays_open_for_that_run_only(lake):
    lake.publish(run_id="monday")
    undo_id = lake.undo("monday").details["undo"]
    assert lake.publish(run_id="monday").counts["kept_open"] == 6
    assert lake.completed().to_pylist() == lake.products().to_pylist()
    assert lake.undo(undo_id).counts["refilled"] == 6
    lake.undo("monday")
    assert lake.publish(run_id="tuesday").counts["kept_open"] == 0
    assert lake.completed()["brand"].null_count == 0


def test_a_value_that_the_seller_gives_after_the_undo_is_published(lake):
    lake.publish()
    lake.undo("r1")
    given_now = made.catalog()["brand"].to_pylist()
    assert given_now[1] is given_now[4] is None
    given_now[1] = "the seller's"
    valid = made.catalog()
    lake.publish(valid=valid.set_column(valid.column_names.index("brand"), "brand", pa.array(given_now)))
    assert lake.completed()["brand"].to_pylist() == given_now
    assert lake.completed()["price"].null_count == 2


def test_half_a_publish_is_not_taken_for_what_readers_see(lake, monkeypatch):
    lake.publish(run_id="whole")
    replace = tables.replace_partition

    def killed(warehouse, name, *rest, **options):
        if name == "completed":
            raise KeyboardInterrupt
        return replace(warehouse, name, *rest, **options)

    monkeypatch.setattr(tables, "replace_partition", killed)
    with pytest.raises(KeyboardInterrupt):
        lake.publish(run_id="half", answers={"brand": ("Half", "filled")})
    with pytest.raises(InputError, match="nothing in"):
        lake.undo("half")
    assert lake.undo("whole").counts["emptied"] == 6
    assert lake.completed().to_pylist() == tables.read(lake.warehouse, "products").to_pylist()
    assert set(lake.completions()["run_id"].to_pylist()) == {"whole"}


def test_a_run_whose_commits_have_left_the_log_is_taken_back_and_brought_back(lake):
    lake.publish(JAN1, "r1")
    lake.publish(JAN2, "r2")
    before = lake.state()
    for name in ("completions", "completed"):
        tables.existing(lake.warehouse, name).create_checkpoint()
        for entry in Path(lake.warehouse, name, "_delta_log").glob("*.json"):
            os.utime(entry, (0, 0))
        tables.existing(lake.warehouse, name).cleanup_metadata()
        assert tables.last_commit(tables.existing(lake.warehouse, name), JAN1) is None
    undo_id = lake.undo("r1").details["undo"]
    assert [lake.completed(dt)["brand"].null_count for dt in (JAN1, JAN2)] == [2, 0]
    lake.undo(undo_id)
    assert lake.state() == before


def test_nothing_to_undo_says_what_is_there(lake):
    lake.publish(run_id="scheduled__1")
    with pytest.raises(InputError, match=r"is of run id 'nobody'.* the newest there: scheduled__1"):
        lake.undo("nobody")
    with pytest.raises(InputError, match="is of attribute 'taste' of model version '7'"):
        lake.undo(model_version="7", attribute="taste")
    with pytest.raises(InputError, match=f"from {JAN2}"):
        lake.undo("scheduled__1", first=JAN2)


def test_a_selection_that_makes_no_sense_is_refused(lake):
    for wrong, sentence in (
        ({}, "neither of --run-id and --model-version"),
        ({"run_id": "r", "model_version": "7"}, "both of"),
        ({"run_id": "r", "first": "yesterday"}, "YYYY-MM-DD"),
        ({"run_id": "r", "first": JAN2, "last": JAN1}, "is after"),
    ):
        with pytest.raises(InputError, match=sentence):
            Selection(**wrong)
    with pytest.raises(InputError, match="no table completed"):
        lake.undo("r1")
    with pytest.raises(InputError, match="give it another"):
        lake.undo("r1", undo_id="r1")


def test_an_id_full_of_quotes_selects_itself_only(lake):
    hostile = "x' OR '1'='1 -- \"日本\""
    lake.publish(JAN1, hostile)
    lake.publish(JAN2, "r1")
    assert set(lake.undo(hostile).details["changes"]) == {JAN1}
    assert lake.completed(JAN2)["brand"].null_count == 0


STEPS = st.lists(
    st.tuples(st.sampled_from(["publish", "publish", "undo a run", "undo a version"]), st.sampled_from([JAN1, JAN2]),
              st.integers(0, 5)),
    min_size=2, max_size=5,
)  # fmt: skip


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_whatever_is_published_and_undone_sellers_and_later_runs_stay_and_every_undo_can_be_undone(
    tmp_path_factory, steps
):
    lake = Lake(tmp_path_factory.mktemp("lake"))
    lake.publish(JAN1, "r0")
    for n, (step, dt, i) in enumerate(steps):
        if step == "publish":
            lake.publish(dt, f"r{n + 1}", valid=with_given_brands(dt, i), model=str(7 + i % 2))
        else:
            selects = {"run_id": f"r{i}"} if step == "undo a run" else {"model_version": str(7 + i % 2)}
            assert_undone_and_brought_back(lake, selects, f"undo {n}", for_good=i % 3 == 0)
        assert_given_values_stand(lake)


def with_given_brands(dt, n):
    """The catalog, in which sellers have given the brand of every n-th item that had none."""
    valid = made.catalog(dt=dt)
    brands = [b or ("the seller's" if n and row % n == 0 else None) for row, b in enumerate(valid["brand"].to_pylist())]
    return valid.set_column(valid.column_names.index("brand"), "brand", pa.array(brands, pa.string()))


def assert_undone_and_brought_back(lake, selects, undo_id, for_good):
    before = lake.state()
    (what, which), *_ = selects.items()
    meant = {row["dt"] for row in before["completions"] if row[what] == which}
    if not meant:
        with pytest.raises(InputError, match="nothing in"):
            lake.undo(**selects)
        return
    done = lake.undo(**selects, undo_id=undo_id)
    after = lake.state()
    for name, rows in before.items():
        others = [row for row in rows if row["dt"] not in meant]
        assert [{k: row[k] for k in rows[0]} for row in after[name] if row["dt"] not in meant] == others
    assert not [r for r in after["completions"] if r[what] == which and r["status"] == "filled"]
    if done.counts["emptied"] and not for_good:
        lake.undo(undo_id)
        assert lake.state() == before


def assert_given_values_stand(lake):
    for now, landed in zip(lake.completed().to_pylist(), lake.products().to_pylist(), strict=True):
        given_cells = {k: v for k, v in landed.items() if v is not None}
        assert now | given_cells == now
