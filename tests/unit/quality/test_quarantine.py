"""Which rows are set aside, and why."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from quality_catalogs import catalog_of, sound

from attrgan.errors import AttrGANError, CatalogError
from attrgan.lake.catalog import Catalog, Unreadable
from attrgan.lake.cells import UNTYPED
from attrgan.quality import frames, suite
from attrgan.quality.judge import Judge
from attrgan.schema import Schema


def reasons(outcome: Any) -> dict[Any, list[str]]:
    return {row["source_row"]: row["reasons"] for row in outcome.quarantine}


def broken(**changes: Any) -> dict[str, Any]:
    """The sound columns, with other values in the second row."""
    columns = sound()
    for name, value in changes.items():
        cells = columns[name].to_pylist() if isinstance(columns[name], pa.Array) else list(columns[name])
        cells[1] = value
        columns[name] = cells
    return columns


def test_a_sound_catalog_passes_whole(run):
    outcome = run(sound())
    assert [row["id"] for row in outcome.valid] == ["a", "b", "c", "d"]
    assert outcome.quarantine == []
    assert outcome.result.refused is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"id": None}, "null_id"),
        ({"id": "  "}, "null_id"),
        ({"price": 0.99}, "below_min:price"),
        ({"price": 10.01}, "above_max:price"),
        ({"price": float("inf")}, "wrong_type:price"),
        ({"colour": "mauve"}, "not_allowed:colour"),
        ({"tags": ["new", "mauve"]}, "not_allowed:tags"),
        ({"weeks": [1, 2, 3]}, "unaligned:history"),
        ({"prices": []}, "unaligned:history"),
    ],
)
def test_each_broken_rule_gives_its_reason(run, changes, reason):
    outcome = run(broken(**changes))
    assert reasons(outcome) == {2: [reason]}
    assert outcome.result.counts["reasons"] == {reason: 1}
    assert [row["id"] for row in outcome.valid] == ["a", "c", "d"]


@pytest.mark.parametrize(
    "changes",
    [
        {"price": 1},
        {"price": 10},
        {"price": None},
        {"colour": " red "},
        {"colour": "n/a"},
        {"tags": [" new"]},
        {"weeks": None},
    ],
)
def test_limits_blanks_around_a_value_and_unknown_cells_are_allowed(run, changes):
    assert run(broken(**changes)).quarantine == []


def test_a_value_in_another_unicode_form_is_the_same_value(run, schema):
    accented = Schema.parse(
        {**schema.dump(), "attributes": {"colour": {"kind": "categorical", "values": ["caf\u00e9"]}}}
    )
    columns = sound() | {"colour": ["cafe\u0301", "caf\u00e9", "cafe", None]}
    assert reasons(run(columns, by=accented)) == {3: ["not_allowed:colour"]}


def test_the_last_row_of_an_id_stays_even_when_blanks_hide_that_it_is_the_same(run):
    outcome = run(sound() | {"id": ["a", "b", "a ", "b"]})
    assert reasons(outcome) == {1: ["duplicate_id"], 2: ["duplicate_id"]}
    assert [row["id"] for row in outcome.valid] == ["a ", "b"]


def test_several_null_ids_are_not_duplicates_of_each_other(run):
    assert reasons(run(sound() | {"id": ["a", None, None, "d"]})) == {2: ["null_id"], 3: ["null_id"]}


def test_a_row_carries_all_its_reasons(run):
    outcome = run(broken(id="d", price=-1, colour="mauve"))
    assert reasons(outcome) == {2: ["duplicate_id", "below_min:price", "not_allowed:colour"]}


def test_text_columns_are_typed_and_their_misfits_set_aside_as_received(run, schema):
    columns = {name: [None] * 4 for name in sound()} | {
        "id": ["1", "2", "3", "4"],
        "price": ["2", "two", "0.5", None],
        "prices": ["[1, 2]", "[1]", None, "no list"],
        "weeks": ["[1, 2]", "[1]", None, None],
    }
    table = pa.table({n: pa.array(c, pa.string()) for n, c in columns.items()}).replace_schema_metadata(UNTYPED)
    catalog = Catalog(table, pa.array(["c.csv"] * 4), pa.array([1, 2, 3, 4]))
    outcome = run(catalog)
    assert reasons(outcome) == {2: ["wrong_type:price"], 3: ["below_min:price"], 4: ["wrong_type:prices"]}
    assert [row["price"] for row in outcome.quarantine] == ["two", "0.5", None]
    assert outcome.valid == [dict.fromkeys(sound()) | {"id": "1", "price": 2.0, "weeks": [1, 2], "prices": [1, 2]}]


def test_steps_that_are_not_numbers_are_of_a_wrong_type(run):
    columns = sound() | {"prices": [["1", "2"], ["x"], None, []]}
    assert reasons(run(columns)) == {2: ["wrong_type:prices"]}


def test_one_odd_step_in_a_text_file_leaves_the_other_lists_lists(run):
    columns = {name: [None] * 5 for name in sound()} | {
        "id": ["1", "2", "3", "4", "5"],
        "weeks": ["[1]", "[2]", "[3]", "[4, 5]", None],
        "prices": ["[1.5]", '["x"]', "[2, 3]", "[null, 4]", "none"],
        "tags": ['["new"]', '["sale", 1]', "[]", None, None],
    }
    table = pa.table({n: pa.array(c, pa.string()) for n, c in columns.items()}).replace_schema_metadata(UNTYPED)
    outcome = run(Catalog(table, pa.array(["c.csv"] * 5), pa.array([1, 2, 3, 4, 5])))
    assert reasons(outcome) == {
        2: ["wrong_type:prices", "not_allowed:tags"], 3: ["unaligned:history"], 5: ["wrong_type:prices"],
    }  # fmt: skip
    assert [(row["prices"], row["tags"]) for row in outcome.valid] == [([1.5], ["new"]), ([None, 4.0], None)]


def test_a_column_none_of_whose_cells_fits_is_bad_input(run):
    with pytest.raises(CatalogError, match="none of the 4 cells of column 'price' is a number"):
        run(sound() | {"price": ["a", "b", "c", "d"]})


def test_a_column_that_is_not_there_is_bad_input(run):
    columns = sound()
    del columns["colour"]
    with pytest.raises(CatalogError, match="names 'colour'"):
        run(columns)


def test_a_row_that_removes_an_item_needs_only_its_id(run):
    columns = broken(price=-1, colour="mauve", weeks=[1, 2, 3]) | {"_deleted": [None, True, False, None]}
    outcome = run(columns)
    assert outcome.quarantine == []
    assert outcome.result.counts["deleted"] == 1
    assert outcome.result.counts["valid"] == 4


def test_a_row_that_removes_an_item_still_needs_an_id_and_wins_as_the_last(run):
    columns = sound() | {"id": ["a", None, "c", "a"], "_deleted": [False, True, False, True]}
    assert reasons(run(columns)) == {1: ["duplicate_id"], 2: ["null_id"]}


def test_a_cell_of_a_wrong_type_in_a_row_that_removes_an_item_becomes_null(run):
    columns = sound() | {"price": ["2", "two", "3", "4"], "_deleted": ["false", "true", "no", ""]}
    outcome = run(columns)
    assert [row["price"] for row in outcome.valid] == ["2", None, "3", "4"]


def test_a_mark_of_removal_that_is_neither_true_nor_false_is_quarantined(run):
    assert reasons(run(sound() | {"_deleted": ["false", "maybe", "1", None]})) == {2: ["wrong_type:_deleted"]}


def test_the_quarantine_keeps_the_row_as_received_with_where_it_came_from(run):
    hostile = '=HYPERLINK("http://x","<b>")'
    outcome = run(broken(title=hostile, price=-1.0) | {"extra": pa.array([1, 2, 3, 4], pa.int32())})
    (row,) = outcome.quarantine
    assert row["title"] == hostile
    assert (row["price"], row["extra"], row["tags"]) == (-1.0, 2, None)
    assert (row["source_file"], row["source_row"], row["reasons"]) == ("c.parquet", 2, ["below_min:price"])


def test_a_quarantined_table_can_be_validated_again(run):
    outcome = run(broken(price=-1.0) | {"reasons": [["old"]] * 4})
    (row,) = outcome.quarantine
    assert row["reasons"] == ["below_min:price"]
    assert row["received_reasons"] == ["old"]


def test_unreadable_rows_are_quarantined_with_their_text(run):
    outcome = run(catalog_of(sound(), [Unreadable("bad.csv", 7, "1,2,<b>,")]))
    (row,) = outcome.quarantine
    assert (row["source_file"], row["source_row"], row["source_text"]) == ("bad.csv", 7, "1,2,<b>,")
    assert row["reasons"] == ["unreadable"]
    assert row["id"] is None
    assert outcome.result.counts["rows_in"] == 5


def test_a_catalog_of_nothing_but_unreadable_rows_is_quarantined_whole(run):
    empty = {name: pa.array([], getattr(pa.array(cells), "type", None)) for name, cells in sound().items()}
    outcome = run(catalog_of(empty, [Unreadable("bad.csv", 1, "x")]))
    assert outcome.result.counts["quarantined"] == outcome.result.counts["rows_in"] == 1
    assert "0 valid rows" in outcome.result.refused


def test_valid_rows_keep_the_columns_and_types_they_came_with(run):
    columns = {"extra": pa.array([1, 2, 3, 4], pa.int8()), **sound(), "more": pa.array([b"\x00"] * 4)}
    outcome = run(columns)
    received = pa.table(columns).schema
    assert pq.read_schema(outcome.folder / "valid.parquet").equals(received)
    assert pq.read_schema(outcome.folder / "quarantine.parquet").names == [
        *received.names, "source_file", "source_row", "reasons", "source_text",
    ]  # fmt: skip


def test_rules_hold_across_batches(run, monkeypatch):
    monkeypatch.setattr(frames, "ROWS_PER_BATCH", 3)
    ids = ["x", "b", "c", "d", "e", "f", "g", "x"]
    prices = [2.0, 2.0, -1.0, 2.0, 11.0, 2.0, 2.0, 2.0]
    columns = {name: [None] * 8 for name in sound()} | {"id": ids, "price": prices}
    outcome = run(columns)
    assert reasons(outcome) == {1: ["duplicate_id"], 3: ["below_min:price"], 5: ["above_max:price"]}
    ranges = [e for e in outcome.report["expectations"] if e["reason"] == "below_min:price"]
    assert (ranges[0]["cells"], ranges[0]["unexpected"], ranges[0]["examples"]) == (8, 1, ["-1"])


def test_column_names_and_values_with_signs_that_mean_something_to_the_judge_are_judged_as_text(run):
    odd = Schema.parse(
        {
            "id": "the $id",
            "attributes": {
                "$price.x": {"kind": "numeric", "min": 0},
                "a|b <i>": {"kind": "categorical", "values": ["$5", "$PARAMETER", "{{x}}"]},
            },
        }
    )
    columns = {"the $id": [1, 2, 3, 4], "$price.x": [1, -1, 2, 3], "a|b <i>": ["$5", "$PARAMETER", "$6", "{{x}}"]}
    assert reasons(run(columns, by=odd)) == {2: ["below_min:$price.x"], 3: ["not_allowed:a|b <i>"]}


def test_an_expectation_that_cannot_be_judged_is_an_error_and_not_a_pass(schema):
    import pandas as pd

    from attrgan.quality import suite

    with pytest.raises(AttrGANError, match="could not be judged"):
        Judge().judge(suite.row_suite(schema), [pd.DataFrame({"unrelated": np.zeros(2)})])


@pytest.mark.parametrize("steps", [[1.0, float("inf")], [-float("inf")]])
def test_an_infinite_step_is_of_a_wrong_type(run, steps):
    columns = sound() | {
        "weeks": [[1, 2], [1] * len(steps), None, []],
        "prices": [[1.0, float("nan")], steps, None, []],
    }
    assert reasons(run(columns)) == {2: ["wrong_type:prices"]}


def test_names_of_columns_are_no_markup_in_the_data_docs(run):
    name = "<img src=x onerror=alert(1)>"
    odd = Schema.parse({"id": "id", "entity": "<b>e</b>", "attributes": {name: {"kind": "numeric", "min": 0}}})
    outcome = run({"id": ["1", "2"], name: [1.0, -1.0]}, by=odd)
    page = outcome.data_docs
    assert "<img" not in page
    assert "<b>e" not in page
    assert "&lt;img src=x" in page
    assert "&amp;lt;img" not in page, "escaped once"


def test_a_group_of_sequences_may_have_the_name_of_a_column():
    lists = pa.array([[1.0, 2.0], [1.0], None])
    found = frames._steps("price", {"price": lists, "price_week": pa.array([["a", "b"], ["a", "b"], ["a"]])})
    np.testing.assert_array_equal(found[suite.steps("price")], [2, 1, np.nan])
    np.testing.assert_array_equal(found[suite.most_steps("price")], [2, 2, 1])
