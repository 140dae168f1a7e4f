import json
from datetime import datetime
from decimal import Decimal

import completed_catalog as made
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attrgan.completion.audit import _Cells, audit
from attrgan.completion.complete import wanted_cells
from attrgan.errors import InputError
from attrgan.lake.cells import to_frame
from attrgan.schema import Schema


@pytest.fixture
def check(tmp_path):
    """Audits `valid` against one shard; `table` and `completions` stand in for what is right."""

    def run(valid=None, **wrong):
        valid = made.catalog() if valid is None else valid
        validation = made.validated(tmp_path / "validate", valid)
        shard = made.completed(tmp_path / "complete", valid, **wrong)
        return audit([shard], validation, tmp_path)

    return run


def with_cell(table, column, row, value):
    cells = table[column].to_pylist()
    cells[row] = value
    at = table.column_names.index(column)
    return table.set_column(at, table.schema.field(column), pa.array(cells, table.schema.field(column).type))


def test_a_right_completion_passes_and_the_figures_are_written(check, tmp_path):
    result = check()
    assert result.refused is None
    assert result.counts == {
        "shards": 1, "rows": 6, "completions": 9, "cells_compared": 60, "given": 41, "filled": 6,
    }  # fmt: skip
    assert result.details == {"model_version": "7", "schema_hash": "abc"}
    written = json.loads((tmp_path / "audit.json").read_text())
    assert written["passed"]
    assert written["given"] == 41


def test_shards_are_put_together_in_their_own_order(tmp_path):
    valid = made.catalog(30_000)
    cuts = [valid.slice(0, 9_000), valid.slice(9_000, 12_000), valid.slice(21_000)]
    shards = [made.completed(tmp_path / f"s{i}", part, f"{i}/3") for i, part in enumerate(cuts)]
    validation = made.validated(tmp_path / "validate", valid)
    result = audit([shards[2], shards[0], shards[1]], validation, tmp_path)
    assert result.refused is None
    assert result.counts["rows"] == 30_000


@pytest.mark.parametrize(
    ("column", "row", "value"),
    [("brand", 0, "Brand 0"), ("price", 0, 0.26), ("price", 0, None), ("tags", 0, ["old", "new"]), ("title", 3, ""),
     ("note", 1, "filled, though no attribute"), ("neckline", 1, None)],
)  # fmt: skip
def test_a_single_changed_cell_refuses_and_is_named(check, column, row, value):
    valid = made.catalog()
    table = with_cell(made.filled(valid, made.completions_of(valid)), column, row, value)
    result = check(valid, table=table)
    assert "a given cell was changed (1)" in result.refused
    assert f"id=2026-01-01/{row:05d}" in result.refused
    assert f"attribute={column}" in result.refused


def test_every_changed_cell_is_listed_with_what_was_given_and_what_stands_there(check, tmp_path):
    valid = made.catalog(90)
    table = made.filled(valid, made.completions_of(valid))
    table = with_cell(table, "tags", 0, ["new"])
    table = table.set_column(1, "title", pc.utf8_upper(table["title"]))
    assert "a given cell was changed (91)" in check(valid, table=table).refused
    listed = [json.loads(line) for line in (tmp_path / "defects.jsonl").read_text().splitlines()]
    titles = [case for case in listed if case["attribute"] == "title"]
    assert [(c["id"], c["given"], c["completed"]) for c in titles] == [
        (f"2026-01-01/{i:05d}", f"<b>thing</b> {i}", f"<B>THING</B> {i}") for i in range(90)
    ]
    assert [(c["given"], c["completed"]) for c in listed if c["attribute"] == "tags"] == [(["old"], ["new"])]
    assert len(json.loads((tmp_path / "audit.json").read_text())["examples"]) == 20


def test_where_nothing_is_wrong_no_defects_are_listed(check, tmp_path):
    check()
    assert not (tmp_path / "defects.jsonl").exists()


COLUMNS = {
    "float16": (pa.array([1.5, float("nan"), None], pa.float16()), 2.5),
    "float64 with NaN": (pa.array([1.5, float("nan"), None]), float("nan")),
    "NaN for null": (pa.array([None, float("nan"), 1.0]), float("nan")),
    "list with NaN": (pa.array([[1.0, float("nan")], [], None]), [1.0, 2.0]),
    "empty list for null": (pa.array([None, ["a"], []]), []),
    "struct with NaN": (pa.array([{"a": float("nan"), "b": ["x"]}, None, {"a": 1.0, "b": []}]), {"a": 1.0, "b": ["x"]}),
    "map": (pa.array([[("a", 1)], None, []], pa.map_(pa.string(), pa.int64())), [("a", 2)]),
    "binary": (pa.array([b"\xff", b"", None]), b"\x00"),
    "timestamp": (pa.array([0, 1, None], pa.timestamp("us")), datetime(2026, 1, 1)),
    "uuid": (pa.array([b"a" * 16, None, b"b" * 16], pa.uuid()), b"c" * 16),
    "decimal": (pa.array([Decimal("1.10"), None, Decimal("2.00")]), Decimal("1.11")),
    "string": (pa.array(["é", "", None]), "e\u0301"),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_of_any_type_is_compared_cell_by_cell(check, name, tmp_path):
    before, other = COLUMNS[name]
    extra = pa.concat_arrays([before, before])
    valid = made.catalog().append_column("extra", extra)
    assert check(valid).refused is None
    cells = [*pa.array([other], before.type), *list(extra)[1:]]
    changed = made.filled(valid, made.completions_of(valid)).set_column(
        valid.num_columns - 1, "extra", pa.array([c.as_py() for c in cells], before.type)
    )
    validation, shard = made.validated(tmp_path / "v", valid), made.completed(tmp_path / "c", valid, table=changed)
    assert "a given cell was changed (1)" in audit([shard], validation, tmp_path).refused


def test_a_filled_cell_needs_a_completions_row_that_says_filled(check):
    valid = made.catalog()
    table = with_cell(made.filled(valid, made.completions_of(valid)), "colour", 1, "red")
    assert "a cell was filled that is not accepted (1)" in check(valid, table=table).refused


def test_a_cell_of_an_attribute_switched_off_may_not_be_filled(check):
    valid = made.catalog()
    table = with_cell(made.filled(valid, made.completions_of(valid)), "shelf", 1, "A1")
    assert "a cell was filled without a completions row (1)" in check(valid, table=table).refused


@pytest.mark.parametrize(("column", "row", "value"), [("brand", 1, "Acme "), ("price", 1, 9.51), ("tags", 2, ["new"]),
                                                      ("brand", 4, None)])  # fmt: skip
def test_a_filled_cell_holds_the_value_of_its_completions_row(check, column, row, value):
    valid = made.catalog()
    table = with_cell(made.filled(valid, made.completions_of(valid)), column, row, value)
    assert "a filled cell differs from its completions row (1)" in check(valid, table=table).refused


def test_every_null_cell_has_its_completions_row(check):
    valid = made.catalog()
    rows = [r for r in made.completions_of(valid) if r["attribute"] != "colour"]
    assert "a null cell has no completions row (2)" in check(valid, completions=rows).refused


def test_a_cell_has_only_one_completions_row(check):
    rows = made.completions_of(made.catalog())
    assert "a cell has two completions rows (1)" in check(completions=[*rows, rows[0]]).refused


@pytest.mark.parametrize(
    ("attribute", "row"),
    [("brand", 0), ("shelf", 0), ("neckline", 2)],
    ids=["given cell", "mode off", "ruled out by applies_to"],
)
def test_no_other_cell_has_a_completions_row(check, attribute, row):
    rows = made.completions_of(made.catalog())
    extra = rows[0] | {"sku": f"2026-01-01/{row:05d}", "attribute": attribute, "status": "review", "number": None}
    assert "a cell that is not to be completed (1)" in check(completions=[*rows, extra]).refused


def test_completions_of_strange_ids_and_attributes_are_refused(check):
    rows = made.completions_of(made.catalog())
    result = check(completions=[*rows, rows[0] | {"sku": "nobody"}, rows[0] | {"attribute": "taste"}])
    assert "an id that is not in the shard (1)" in result.refused
    assert "an attribute that the schema does not have (1)" in result.refused


def test_where_applies_to_asks_an_unknown_column_a_completions_row_may_but_need_not_be(tmp_path):
    valid = with_cell(made.catalog(), "department", 5, None)
    rows = made.completions_of(valid)
    asked = [r for r in rows if (r["sku"], r["attribute"]) == ("2026-01-01/00005", "neckline")]
    assert len(asked) == 1
    for i, given_rows in enumerate((rows, [r for r in rows if r not in asked])):
        validation = made.validated(tmp_path / f"v{i}", valid)
        shard = made.completed(tmp_path / f"c{i}", valid, completions=given_rows)
        assert audit([shard], validation, tmp_path).refused is None


def test_a_removed_item_needs_no_completions(check):
    valid = made.catalog().append_column("_deleted", pa.array([False, True, False, False, False, None]))
    assert check(valid).refused is None


def test_a_mode_other_than_fill_is_never_filled(check):
    rows = made.completions_of(made.catalog(), {"colour": ("red", "filled")})
    assert "the mode is not `fill` (2)" in check(completions=rows).refused


def test_nothing_is_filled_below_the_threshold_of_the_promise_or_without_one(check):
    rows = made.completions_of(made.catalog(), {"neckline": ("V", "filled")})
    rows[0]["confidence"] = 0.79
    assert "below the threshold of the promise (2)" in check(completions=rows).refused


def test_not_a_number_counts_as_unknown(check):
    valid = with_cell(made.catalog(), "price", 0, float("nan"))
    rows = made.completions_of(valid)
    rows.append(rows[1] | {"sku": "2026-01-01/00000"})
    table = with_cell(made.filled(valid, rows), "price", 0, 9.5)
    assert check(valid, table=table, completions=rows).refused is None


@pytest.mark.parametrize("kind", [pa.float32(), pa.decimal128(10, 2), pa.int64()])
def test_numbers_are_compared_in_the_precision_of_their_column(check, kind):
    valid = made.catalog()
    whole = pc.cast(pc.floor(valid["price"]), kind)
    valid = valid.set_column(valid.column_names.index("price"), "price", whole)
    value = {"int64": 9.0, "float": 9.1}.get(str(kind), 9.25)
    rows = made.completions_of(valid, {"price": (value, "filled")})
    table = valid
    for row in (1, 4):
        table = with_cell(table, "price", row, pa.scalar(value).cast(kind).as_py())
    for row in rows:
        if row["status"] == "filled" and row["attribute"] != "price":
            at = int(row["sku"][-5:])
            table = with_cell(table, row["attribute"], at, ["new", "sale"] if row["attribute"] == "tags" else "Acme")
    assert check(valid, table=table, completions=rows).refused is None


def test_whole_number_ids_stay_whole_numbers(check):
    valid = made.catalog()
    valid = valid.set_column(0, "sku", pa.array(range(6), pa.int64()))
    assert check(valid).refused is None


def test_rows_that_are_missing_added_or_in_another_order_are_refused(tmp_path):
    valid = made.catalog()
    validation = made.validated(tmp_path / "validate", valid)
    cases = {
        "valid rows are missing from the shards (1)": valid.slice(0, 5),
        "more rows than were validated (1)": pa.concat_tables([valid, made.catalog(1, "2026-01-02")]),
        "another id stands in this row (6)": valid.take(list(range(5, -1, -1))),
    }
    for i, (sentence, rows) in enumerate(cases.items()):
        shard = made.completed(tmp_path / f"c{i}", rows)
        assert sentence in audit([shard], validation, tmp_path).refused


def test_a_column_that_changed_its_type_or_is_missing_is_refused(tmp_path):
    valid = made.catalog()
    validation = made.validated(tmp_path / "validate", valid)
    price = valid.column_names.index("price")
    narrow = valid.set_column(price, "price", valid["price"].cast(pa.float32()))
    for i, table in enumerate((narrow, valid.drop_columns(["price"]))):
        shard = made.completed(tmp_path / f"c{i}", valid, table=table)
        assert "columns or types differ from the valid rows (1)" in audit([shard], validation, tmp_path).refused


def test_a_missing_shard_and_a_second_model_are_refused(tmp_path):
    valid = made.catalog()
    validation = made.validated(tmp_path / "validate", valid)
    first = made.completed(tmp_path / "a", valid.slice(0, 3), "0/3")
    other = made.completed(tmp_path / "b", valid.slice(3), "2/3", model_version="8")
    refused = audit([first, other], validation, tmp_path).refused
    assert "the shards are not complete (1)" in refused
    assert "the shards differ in model_version (1)" in refused
    assert "completions of another model (1)" in refused


def test_a_refused_validation_refuses_the_audit(tmp_path):
    valid = made.catalog()
    validation = made.validated(tmp_path / "validate", valid, refused="the quality gate says no", status="refused")
    shard = made.completed(tmp_path / "complete", valid)
    assert "validation was refused (1)" in audit([shard], validation, tmp_path).refused


def test_folders_that_are_not_what_they_should_be_are_bad_input(tmp_path):
    valid = made.catalog()
    validation, shard = made.validated(tmp_path / "validate", valid), made.completed(tmp_path / "complete", valid)
    with pytest.raises(InputError, match="expected the output of `attrgan complete`"):
        audit([validation], validation, tmp_path)
    with pytest.raises(InputError, match="without a manifest: expected the output of `attrgan validate`"):
        audit([shard], str(tmp_path / "nowhere"), tmp_path)
    with pytest.raises(InputError, match="expected the folder of every shard"):
        audit([], validation, tmp_path)
    (tmp_path / "complete" / "completions.parquet").unlink()
    with pytest.raises(InputError, match=r"has no completions\.parquet"):
        audit([shard], validation, tmp_path)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_given_cell_is_changed_the_audit_notices(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("audit")
    valid = made.catalog(9)
    known = [(c, r) for c in valid.column_names for r in range(9) if c != "sku" and valid[c][r].is_valid]
    column, row = data.draw(st.sampled_from(known))
    kinds = {"price": st.floats(allow_nan=False), "tags": st.lists(st.text(max_size=3))}
    other = kinds.get(column, st.text(max_size=5))
    value = data.draw(st.one_of(st.none(), other).filter(lambda v: v != valid[column][row].as_py()))
    table = with_cell(made.filled(valid, made.completions_of(valid)), column, row, value)
    validation = made.validated(folder / "validate", valid)
    result = audit([made.completed(folder / "complete", valid, table=table)], validation, folder)
    assert "a given cell was changed (1)" in result.refused


def test_slices_give_the_figures_of_the_whole(tmp_path, monkeypatch):
    valid = made.catalog(30)
    validation = made.validated(tmp_path / "validate", valid)
    shards = [made.completed(tmp_path / f"c{i}", valid.slice(17 * i, 17), f"{i}/2") for i in range(2)]
    whole = audit(shards, validation, tmp_path)
    monkeypatch.setattr("attrgan.completion.audit.CHUNK_ROWS", 4)
    assert audit(shards, validation, tmp_path) == whole
    assert whole.refused is None
    assert whole.counts["rows"] == 30


def test_a_defect_in_a_slice_is_listed_with_all_of_the_shard(tmp_path, monkeypatch):
    valid = made.catalog(30)
    validation = made.validated(tmp_path / "validate", valid)
    changed = made.filled(valid, made.completions_of(valid))
    for row in (6, 18):
        changed = with_cell(changed, "note", row, "somebody else wrote it")
    shard = made.completed(tmp_path / "c", valid, table=changed)
    whole = audit([shard], validation, tmp_path)
    monkeypatch.setattr("attrgan.completion.audit.CHUNK_ROWS", 4)
    assert audit([shard], validation, tmp_path) == whole
    assert "a given cell was changed (2)" in whole.refused


def test_completions_in_another_order_are_audited_as_a_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("attrgan.completion.audit.CHUNK_ROWS", 4)
    valid = made.catalog(30)
    validation = made.validated(tmp_path / "validate", valid)
    shard = made.completed(tmp_path / "c", valid, completions=made.completions_of(valid)[::-1])
    assert audit([shard], validation, tmp_path).refused is None


@pytest.mark.parametrize("mark", ["yes", " TRUE ", "1"])
def test_an_item_may_be_removed_in_words(check, mark):
    valid = made.catalog().append_column("_deleted", pa.array(["no", mark, "", None, "false", "0"]))
    assert check(valid, completions=made.completions_of(made.catalog())).refused is None


CONDITIONS = {
    "shelf": ({"kind": "categorical", "unknown_as": ["-"]}, ["A", " A", "-", "  ", None, "Cafe\u0301"], ["A", "Café"]),
    "rooms": (
        {"kind": "categorical", "multi": True},
        [["Kitchen"], ["Bath"], [], None, ["Bath", "Kitchen"]],
        ["Kitchen"],
    ),
    "doors": ({"kind": "numeric"}, [2.0, 3.0, None, float("nan")], ["2"]),
    "fits": ({"kind": "categorical", "not_applicable_as": ["none"]}, ["none", "n/a", "yes"], ["n/a"]),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_what_applies_to_rules_out_is_the_same_for_the_one_who_completes_and_the_one_who_checks(name):
    described, cells, allowed = CONDITIONS[name]
    schema = Schema.parse({
        "id": "id", "attributes": {name: described, "asked": {"kind": "categorical", "applies_to": {name: allowed}}},
    })  # fmt: skip
    ids = [str(i) for i in range(len(cells))]
    table = pa.table({"id": ids, name: pa.array(cells), "asked": pa.nulls(len(cells), pa.string())})
    wanted = wanted_cells(to_frame(table, schema), schema)[:, 1]
    nothing = pa.table({"id": pa.array([], pa.string()), "attribute": pa.array([], pa.string())})
    must, may = _Cells(table, table, nothing, schema).expected("asked")
    assert wanted.any()
    assert (must <= wanted).all()
    assert (wanted <= may).all()
