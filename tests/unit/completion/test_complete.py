"""What becomes of a catalog: null cells answered, accepted ones filled, everything else as it was received."""

import csv
import datetime
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nearly import nearly
from small_catalog import SCHEMA, catalog, with_gaps

from attrgan import api
from attrgan.completion.complete import ANSWER, decide, fill, hold_back, to_table, wanted_cells
from attrgan.errors import CatalogError, InputError
from attrgan.lake.cells import to_frame
from attrgan.model import CompletionModel, Prediction
from attrgan.schema import NOT_APPLICABLE, Attribute, Schema

COLUMNS = [
    ("sku", pa.string()), ("attribute", pa.string()), ("value", pa.string()), ("number", pa.float64()),
    ("lower", pa.float64()), ("upper", pa.float64()), ("expected", pa.float64()), ("confidence", pa.float64()),
    ("threshold", pa.float64()), ("status", pa.string()), ("source", pa.string()), ("evidence", pa.string()),
    ("model_version", pa.string()), ("run_id", pa.string()), ("completed_at", pa.string()),
]  # fmt: skip


@pytest.fixture(scope="module")
def table() -> pa.Table:
    """New items with gaps and a column that no schema knows."""
    items = with_gaps(catalog(90, seed=77, prefix="Q"), 0.3)
    return items.append_column("note", pa.array([None if i % 3 else f"note {i}" for i in range(90)], pa.string()))


def run(place: Path, model: Path, out: Path, **arguments) -> tuple[pa.Table, pa.Table]:
    """completed and completions of a catalog."""
    api.complete(str(place), str(model), str(out), **arguments)
    return pq.read_table(out / "completed.parquet"), pq.read_table(out / "completions.parquet")


@pytest.fixture(scope="module")
def place(table, tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("catalog") / "items.parquet"
    pq.write_table(table, place)
    return place


@pytest.fixture(scope="module")
def results(place, small_folder, tmp_path_factory) -> tuple[pa.Table, pa.Table, dict]:
    out = tmp_path_factory.mktemp("completed")
    completed, completions = run(place, small_folder, out, run_id="r1")
    return completed, completions, json.loads((out / "manifest.json").read_text())


def test_completions_have_the_columns_of_the_contract_and_a_row_per_null_cell(table, results, small_model):
    _, completions, _ = results
    assert list(zip(completions.column_names, completions.schema.types, strict=True)) == COLUMNS
    got = list(zip(completions["sku"].to_pylist(), completions["attribute"].to_pylist(), strict=True))
    nulls = [(row["sku"], name) for row in table.to_pylist() for name in SCHEMA.attributes if row[name] is None]
    assert got == nulls, "in the order of items and attributes"
    assert set(completions["model_version"].to_pylist()) == {small_model.version}
    assert set(completions["run_id"].to_pylist()) == {"r1"}
    confidence = completions["confidence"].to_numpy()
    assert ((confidence >= 0) & (confidence <= 1)).all()
    for row in completions.to_pylist():
        assert isinstance(json.loads(row["evidence"]), dict)
        assert (row["value"] is None) == (row["status"] == "not_applicable")
        assert (row["number"] is not None) == (row["attribute"] in ("quantity", "price"))
        assert row["source"] in ("text", "vocabulary", "neighbour", "image", "sequence", "generator")


def test_every_status_occurs(results):
    assert {"filled", "review", "abstained", "not_applicable"} == set(results[1]["status"].to_pylist())


def test_completed_is_the_catalog_with_accepted_cells_in_place_of_nulls_and_nothing_else(table, results):
    completed, completions, _ = results
    assert completed.schema.equals(table.schema)
    filled = {(r["sku"], r["attribute"]): r for r in completions.to_pylist() if r["status"] == "filled"}
    assert filled
    for before, after in zip(table.to_pylist(), completed.to_pylist(), strict=True):
        for name in table.column_names:
            if answer := filled.get((before["sku"], name)):
                expected = json.loads(answer["value"]) if name == "tags" else answer["value"]
                assert before[name] is None
                assert str(after[name]) == str(expected)
                if name in ("quantity", "price"):
                    assert after[name] == answer["number"]
            else:
                assert after[name] == before[name]


def test_numbers_are_written_in_the_catalogs_own_format(results):
    rows = results[1].to_pylist()
    assert all(r["value"].isdigit() for r in rows if r["attribute"] == "quantity")
    assert all("." in r["value"] for r in rows if r["attribute"] == "price")


def as_a_german_seller_writes(table: pa.Table) -> pa.Table:
    """The same items, their prices as strings such as `1.299,90 $`."""
    at = table.column_names.index("price")
    cells = [None if p is None else german(p) for p in table["price"].to_pylist()]
    return table.set_column(at, "price", pa.array(cells, pa.string()))


def german(price: float) -> str:
    return f"{price:,.2f} $".translate(str.maketrans(",.", ".,"))


def test_prices_in_strings_are_read_and_written_in_the_columns_own_form(table, results, small_folder, tmp_path):
    pq.write_table(as_a_german_seller_writes(table), tmp_path / "items.parquet")
    completed, completions = run(tmp_path / "items.parquet", small_folder, tmp_path / "out")
    answers = [r for r in completions.to_pylist() if r["attribute"] == "price"]
    assert answers
    assert all(r["value"] == german(r["number"]) for r in answers)
    as_numbers = [r for r in results[1].to_pylist() if r["attribute"] == "price"]
    np.testing.assert_allclose([r["number"] for r in answers], [r["number"] for r in as_numbers])
    assert completed["price"].null_count == results[0]["price"].null_count
    assert all(cell is None or cell == german(float(cell[:-2].replace(".", "").replace(",", "."))) for cell in
               completed["price"].to_pylist())  # fmt: skip


def test_shards_of_prices_in_strings_are_written_as_the_whole(table, small_folder, tmp_path):
    whole = as_a_german_seller_writes(table)
    few = [None if i > 60 else cell for i, cell in enumerate(whole["price"].to_pylist())]
    whole = whole.set_column(whole.column_names.index("price"), "price", pa.array(few, pa.string()))
    pq.write_table(whole, tmp_path / "items.parquet")
    _, expected = run(tmp_path / "items.parquet", small_folder, tmp_path / "out", run_id="r")
    parts = [run(tmp_path / "items.parquet", small_folder, tmp_path / f"s{i}", run_id="r", shard=f"{i}/3")[1]
             for i in range(3)]  # fmt: skip
    assert nearly(without_times(pa.concat_tables(parts)), without_times(expected))


def test_no_number_is_outside_the_limits_of_the_schema(small_model, table):
    price = SCHEMA.attributes["price"].model_copy(update={"min": 20.0, "max": 30.0})
    schema = SCHEMA.model_copy(update={"attributes": SCHEMA.attributes | {"price": price}})
    limited = CompletionModel(schema, small_model.vocabulary, small_model.generator)
    answers = limited.complete(to_frame(table, SCHEMA)).query("attribute == 'price'")
    assert answers[["number", "lower", "upper", "expected"]].to_numpy().min() == 20
    assert answers[["number", "lower", "upper", "expected"]].to_numpy().max() == 30
    assert answers["value"].astype(float).between(20, 30).all()


def test_what_does_not_apply_stays_null(results):
    completed, completions, _ = results
    items = {row["sku"]: row for row in completed.to_pylist()}
    none = [r for r in completions.to_pylist() if r["status"] == "not_applicable"]
    assert none
    assert all(items[r["sku"]][r["attribute"]] is None for r in none)


def test_what_is_filled_is_at_or_above_the_threshold_and_nothing_else_is(results, small_model):
    for row in results[1].to_pylist():
        threshold = small_model.calibration[row["attribute"]]["threshold"]
        accepted = threshold is not None and row["confidence"] >= threshold
        assert (row["status"] in ("filled", "not_applicable")) == accepted
        if not accepted:
            assert row["status"] == ("review" if row["confidence"] >= 0.5 else "abstained")


def test_the_manifest_counts_what_is_there(table, results, small_model):
    _, completions, manifest = results
    counts, rows = manifest["counts"], completions.to_pylist()
    assert (counts["rows"], counts["cells"]) == (90, len(rows))
    for status in ("filled", "review", "abstained", "not_applicable"):
        assert counts[status] == sum(r["status"] == status for r in rows)
        for name in SCHEMA.attributes:
            mine = sum(r["status"] == status and r["attribute"] == name for r in rows)
            assert counts["attributes"][name][status] == mine
            assert counts["attributes"][name]["missing_before"] == table[name].null_count
    assert (manifest["model_version"], manifest["schema_hash"]) == (small_model.version, SCHEMA.hash)


def without_times(completions: pa.Table) -> list[dict]:
    rows = completions.drop_columns(["completed_at", "run_id"]).to_pylist()
    # other company in a batch has moved a confidence by 1.2e-5
    return [row | {"confidence": pytest.approx(row["confidence"], abs=1e-4)} for row in rows]


@pytest.mark.parametrize("n", [2, 5, 97])
def test_shards_together_are_the_whole(place, small_folder, results, tmp_path, n):
    parts = (
        [run(place, small_folder, tmp_path / str(i), shard=f"{i}/{n}", run_id="r1") for i in range(n)]
        if n < 9
        else [run(place, small_folder, tmp_path / str(i), shard=f"{i}/{n}", run_id="r1") for i in (0, 1, 2, 96)]
    )
    if n == 97:  # more shards than rows: some are empty, and have the same columns
        assert {part[0].num_rows for part in parts} == {0, 1}
        assert all(part[0].schema.equals(results[0].schema) for part in parts)
        assert all(part[1].schema.equals(results[1].schema) for part in parts)
        return
    assert pa.concat_tables([part[0] for part in parts]).equals(results[0])
    together = pa.concat_tables([part[1] for part in parts]).drop_columns(["completed_at", "run_id"])
    for a, b in zip(together.to_pylist(), without_times(results[1]), strict=True):
        assert nearly(a, b), [(k, a[k], b[k]) for k in a if not nearly(a[k], b[k])]


def as_csv(table: pa.Table, place: Path) -> Path:
    with place.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(table.column_names)
        for row in table.to_pylist():
            writer.writerow([json.dumps(v) if isinstance(v, list) else "" if v is None else v for v in row.values()])
    return place


def test_csv_and_json_lines_are_completed_alike(table, small_folder, results, tmp_path):
    lines = tmp_path / "items.jsonl"
    lines.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    for place in (lines, as_csv(table, tmp_path / "items.csv")):
        completed, completions = run(place, small_folder, tmp_path / place.suffix, run_id="r1")
        assert completed.to_pylist() == results[0].to_pylist()
        assert without_times(completions) == without_times(results[1])


def test_shards_of_a_csv_have_the_types_of_the_whole(table, small_folder, tmp_path):
    """Whole numbers in one half, broken ones in the other."""
    price = [None if p is None else p + 0.5 * (i >= 45) for i, p in enumerate(table["price"].to_pylist())]
    mixed = table.set_column(table.column_names.index("price"), "price", pa.array(price))
    text = as_csv(mixed, tmp_path / "items.csv").read_text()
    (tmp_path / "items.csv").write_text(text.replace(".0,", ","))
    parts = [run(tmp_path / "items.csv", small_folder, tmp_path / str(i), shard=f"{i}/2")[0] for i in (0, 1)]
    assert parts[0].schema.equals(parts[1].schema)
    assert parts[0].schema.field("price").type == pa.float64()


def test_a_catalog_that_lacks_nothing_is_given_back(small_folder, tmp_path):
    whole = catalog(12, seed=3)
    pq.write_table(whole, tmp_path / "c.parquet")
    completed, completions = run(tmp_path / "c.parquet", small_folder, tmp_path / "out")
    assert completed.equals(whole)
    assert completions.num_rows == 0
    assert list(zip(completions.column_names, completions.schema.types, strict=True)) == COLUMNS


def test_a_finished_run_is_not_repeated_and_another_run_is(place, small_folder, tmp_path):
    first = api.complete(str(place), str(small_folder), str(tmp_path), run_id="r1")
    stamp = (tmp_path / "completions.parquet").stat().st_mtime_ns
    again = api.complete(str(place), str(small_folder), str(tmp_path), run_id="r1")
    assert again["skipped"]
    assert again["finished_at"] == first["finished_at"]
    assert (tmp_path / "completions.parquet").stat().st_mtime_ns == stamp
    assert "skipped" not in api.complete(str(place), str(small_folder), str(tmp_path), run_id="r2")


def test_duplicate_ids_are_bad_input_wherever_the_shards_are_cut(small_folder, tmp_path):
    twice = pa.concat_tables([catalog(4), catalog(4)])
    pq.write_table(twice, tmp_path / "c.parquet")
    for shard in ("0/1", "0/2"):
        with pytest.raises(CatalogError, match="duplicate ids"):
            api.complete(str(tmp_path / "c.parquet"), str(small_folder), str(tmp_path / "out"), shard=shard)
    assert not (tmp_path / "out").exists()


def test_a_cell_of_a_wrong_type_is_bad_input_and_not_overwritten(small_folder, table, tmp_path):
    text = as_csv(table, tmp_path / "items.csv").read_text()
    price = next(p for p in table["price"].to_pylist() if p)
    (tmp_path / "items.csv").write_text(text.replace(f",{price},", f",{price} or so,", 1))
    with pytest.raises(CatalogError, match=r"wrong type in 'price' \(1 cells\)"):
        api.complete(str(tmp_path / "items.csv"), str(small_folder), str(tmp_path / "out"))


@pytest.mark.parametrize("shard", ["3/3", "-1/3", "1", "a/b", "0/0", "1/2/3"])
def test_a_shard_that_is_none_is_bad_input(place, small_folder, tmp_path, shard):
    with pytest.raises(InputError, match="is not a shard"):
        api.complete(str(place), str(small_folder), str(tmp_path), shard=shard)


def test_ids_keep_their_type_and_blanks(small_folder, table, tmp_path):
    for ids in (pa.array(range(90), pa.int64()), pa.array([f" {i} " for i in range(90)])):
        numbered = table.set_column(0, "sku", ids)
        pq.write_table(numbered, tmp_path / "c.parquet")
        completed, completions = run(tmp_path / "c.parquet", small_folder, tmp_path / str(ids.type))
        assert completions.schema.field("sku").type == ids.type
        assert set(completions["sku"].to_pylist()) <= set(ids.to_pylist())
        assert completed["sku"].to_pylist() == ids.to_pylist()


# --- one cell ------------------------------------------------------------------------------------------------------


def answer(*cells: tuple[str, float]) -> Prediction:
    n = len(cells)
    values, confidence = np.array([c[0] for c in cells], dtype=object), np.array([c[1] for c in cells])
    nothing = np.full(n, np.nan)
    span = np.full((n, 2), -1)
    return Prediction(
        np.arange(n),
        values,
        confidence,
        nothing,
        nothing,
        nothing,
        span,
        np.zeros(n, bool),
        np.zeros(n, bool),
        [[]] * n,
        [[]] * n,
    )


def test_a_cell_is_filled_reviewed_abstained_from_or_not_applicable():
    cells = answer(("red", 0.9), ("red", 0.8), ("red", 0.79), ("red", 0.49), ("n/a", 0.95), ("n/a", 0.6))
    fill_mode = Attribute(kind="categorical")
    assert decide(cells, fill_mode, 0.8).tolist() == [
        "filled", "filled", "review", "abstained", "not_applicable", "review",
    ]  # fmt: skip
    assert decide(cells, fill_mode, None).tolist() == ["review"] * 3 + ["abstained"] + ["review"] * 2
    assert decide(cells, fill_mode, 0.8, review_confidence=0.3).tolist()[3] == "review"


def test_a_suggestion_is_always_reviewed_and_never_written():
    cells = answer(("red", 0.99), ("red", 0.1), ("n/a", 0.99))
    assert decide(cells, Attribute(kind="categorical", mode="suggest"), 0.5).tolist() == ["review"] * 3


def test_what_applies_to_rules_out_and_what_is_off_is_not_asked():
    schema = Schema.parse({
        "id": "i", "category": "c",
        "attributes": {
            "neck": {"kind": "categorical", "applies_to": {"c": ["Tops", "Dresses"]}},
            "off": {"kind": "categorical", "mode": "off"},
            "size": {"kind": "numeric"},
        },
    })  # fmt: skip
    frame = pd.DataFrame({
        "i": ["1", "2", "3", "4"], "c": ["Tops", "Pans", None, "Dresses"],
        "neck": [None, None, None, "V"], "off": None, "size": [np.nan, 1.0, np.nan, np.nan],
    })  # fmt: skip
    assert wanted_cells(frame, schema).tolist() == [
        [True, False, True], [False, False, False], [True, False, True], [False, False, True],
    ]  # fmt: skip


def completion(value: str, column: pa.Array, kind: str = "categorical", multi: bool = False) -> object:
    """The cell that a filled value becomes in a column of some type, whose second row is null."""
    schema = Schema.parse({"id": "i", "attributes": {"v": {"kind": kind, "multi": multi}}})
    table = pa.table({"i": ["a", "b"], "v": column})
    decided = pd.DataFrame({"i": ["b"], "attribute": ["v"], "value": [value], "status": ["filled"]})
    result = fill(table, decided, schema)
    assert result.schema.equals(table.schema)
    assert result["v"][0].equals(table["v"][0])
    return result["v"][1].as_py()


@pytest.mark.parametrize(
    ("first", "value", "kind"),
    [
        ("x", "red", pa.string()),
        ("x", "red", pa.large_string()),
        (3, "7", pa.int16()),
        (3, "9007199254740993", pa.int64()),
        (3, "18446744073709551615", pa.uint64()),
        (1.5, "2.25", pa.float32()),
        (True, "False", pa.bool_()),
        (datetime.date(2024, 1, 31), "2023-12-01", pa.date32()),
        (datetime.datetime(2024, 1, 31), "2023-12-01 10:30:00", pa.timestamp("us")),
        (["a"], '["b", "c"]', pa.list_(pa.string())),
        ([1], '["2", "3"]', pa.list_(pa.int64())),
        ([1.5], '["2.5"]', pa.large_list(pa.float64())),
    ],
    ids=str,
)
def test_a_value_becomes_a_cell_of_the_columns_own_type(first, value, kind):
    cell = completion(value, pa.array([first, None], kind), multi=isinstance(first, list))
    expected = [str(v) for v in cell] if isinstance(cell, list) else str(cell)
    assert expected == (json.loads(value) if isinstance(cell, list) else value)


@pytest.mark.parametrize(
    ("value", "held", "kind"),
    [
        ("M", True, pa.int64()),
        ("40", False, pa.int64()),
        ("300", True, pa.int8()),
        ("v0", True, pa.bool_()),
        ("1234567", True, pa.decimal128(5, 2)),
        ("1 day", True, pa.duration("s")),
        ("soon", True, pa.date32()),
        ('["1", "x"]', True, pa.list_(pa.int64())),
        ("red", False, pa.string()),
    ],
    ids=str,
)
def test_what_tonights_column_cannot_hold_goes_to_review_and_says_so(value, held, kind):
    decided = pd.DataFrame({
        "i": ["a", "b"], "attribute": "v", "value": [value, value], "status": ["filled", "abstained"],
        "evidence": "{}",
    })  # fmt: skip
    found = hold_back(decided, pa.table({"i": ["a", "b"], "v": pa.nulls(2, kind)}))
    assert found["status"].tolist() == ["review" if held else "filled", "abstained"]
    assert json.loads(found["evidence"][0]) == ({"cannot_be_written_as": str(kind)} if held else {})
    assert decided["status"].tolist() == ["filled", "abstained"]


def test_a_decimal_is_filled_at_its_own_scale():
    from decimal import Decimal

    column = pa.array([Decimal("1.50"), None], pa.decimal128(8, 2))
    assert completion("12.5", column, "numeric") == Decimal("12.50")


def test_an_empty_shard_has_the_columns_of_the_contract():
    schema = Schema.parse({"id": "i", "attributes": {"v": {"kind": "open"}}})
    names = ["i", *ANSWER]
    decided = pd.DataFrame({name: pd.Series(dtype=object) for name in names})
    table = to_table(decided, schema, pa.chunked_array([pa.array([], pa.int32())]), {"run_id": "r"})
    assert table.schema.field("i").type == pa.int32()
    assert table.num_rows == 0


# --- the law -------------------------------------------------------------------------------------------------------

words = st.one_of(st.none(), st.text(max_size=12), st.sampled_from(["red", "n/a", "Kalomi shirt", "", " ", "=1+1"]))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            words, words, words, words,
            st.one_of(st.none(), st.lists(words, max_size=3)),
            st.one_of(st.none(), st.integers(-(2**53), 2**53)),
            st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)),
        ),
        min_size=1, max_size=5,
    )
)  # fmt: skip
def test_sellers_values_are_never_changed_whatever_they_are(small_folder, tmp_path, cells):
    blank = dict.fromkeys(catalog(1).column_names)
    names = ("title", "department", "brand", "colour", "tags", "quantity", "price")
    rows = [blank | {"sku": f"s{i}"} | dict(zip(names, cell, strict=True)) for i, cell in enumerate(cells)]
    rows = [{k: v.encode("utf-8", "replace").decode() if isinstance(v, str) else v for k, v in r.items()} for r in rows]
    for row in rows:
        if row["tags"]:
            row["tags"] = [t and t.encode("utf-8", "replace").decode() for t in row["tags"]]
    table = pa.Table.from_pylist(rows, catalog(1).schema)
    pq.write_table(table, tmp_path / "any.parquet")
    completed, completions = run(tmp_path / "any.parquet", small_folder, tmp_path / "out")
    assert completed.schema.equals(table.schema)
    for before, after in zip(table.to_pylist(), completed.to_pylist(), strict=True):
        assert all(after[name] == value for name, value in before.items() if value is not None)
    nulls = sum(row[name] is None for row in table.to_pylist() for name in SCHEMA.attributes)
    assert completions.num_rows == nulls
    changed = sum(
        before[n] != after[n]
        for before, after in zip(table.to_pylist(), completed.to_pylist(), strict=True)
        for n in before
    )
    assert changed == completions["status"].to_pylist().count("filled")


def test_the_model_answers_a_frame_as_complete_does(small_model, table, results):
    assert NOT_APPLICABLE == "n/a"
    done = small_model.complete(to_frame(table, SCHEMA))
    completions = results[1].to_pandas()
    assert done["status"].tolist() == completions["status"].tolist()
    np.testing.assert_allclose(done["confidence"].astype(float), completions["confidence"], atol=1e-5)
