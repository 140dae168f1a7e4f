"""The sheet between program and people: nothing is lost on the way, nothing is a formula, nothing personal is in it."""

import csv
import json
from pathlib import Path

import completed_catalog as made_catalog
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attrgan import api
from attrgan.errors import CatalogError, InputError
from attrgan.lake import tables
from attrgan.review import sheet
from attrgan.review.cells import Warehouse
from attrgan.schema import Schema

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
RISKY = st.builds(
    lambda a, b: a + b, st.sampled_from(["=", "+", "-", "@", "'", "'=", "''+", "\t", "\r", "＝", "'\t"]), TEXTS
)


@given(st.one_of(TEXTS, RISKY))
def test_making_a_cell_safe_can_be_undone_and_leaves_no_formula(text):
    assert sheet.unsafe(sheet.safe(text)) == text
    assert not sheet.safe(text).startswith(tuple("=+-@\t\r＝＋－＠"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(*[st.one_of(st.none(), TEXTS, RISKY)] * 3), min_size=1, max_size=5))
@pytest.mark.parametrize("suffix", sheet.SUFFIXES)
def test_a_sheet_is_read_as_it_was_written(tmp_path, suffix, rows):
    rows = [[f"=id{i}", *row] for i, row in enumerate(rows)]
    written = pd.DataFrame(rows, columns=["id", "attribute", "answer", "=title"], dtype=object)
    file = str(tmp_path / f"sheet{suffix}")
    sheet.write(written.where(written.notna(), None), file)
    found = sheet.read(file, "id")[0]
    assert list(found) == list(written)
    empty = {"", None} if suffix == ".csv" else {None}  # in a CSV an empty text is no text
    assert [[None if c in empty else c for c in r] for r in found.to_numpy().tolist()] == [
        [None if c in empty else c for c in r] for r in rows
    ]


def test_no_cell_of_a_csv_is_a_formula_whatever_sellers_wrote(review):
    api.review_export(review.url, str(review.place / "q.csv"))
    with (review.place / "q.csv").open(encoding="utf-8-sig", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert "'=N0116" in cells
    assert not [c for c in cells if c.startswith(("=", "+", "-", "@"))]


@pytest.mark.parametrize("name", ["q.csv", "q.parquet", "q.jsonl"])
def test_a_row_has_the_item_in_words_the_proposal_and_its_reasons(review, name):
    rows = review.export(name, attribute="tags").set_index("sku")
    row = rows.iloc[0]
    said = tables.read(review.url, "completions").to_pandas().set_index(["sku", "attribute"]).loc[(row.name, "tags")]
    item = tables.read(review.url, "products").to_pandas().set_index("sku").loc[row.name]
    assert (row["proposed"], row["model_version"], row["run_id"]) == (
        said["value"],
        said["model_version"],
        "of 2026-01-01",
    )
    assert float(row["confidence"]) == pytest.approx(said["confidence"], abs=1e-4)
    assert (row["title"], row["department"]) == (item["title"], item["department"])
    assert f"brand: {item['brand']}" in row["known"] or pd.isna(item["brand"])
    assert "stands in title at" in row["evidence"]
    other, probability = json.loads(said["evidence"])["other_candidates"][0]
    assert row["candidates"].startswith(f"{other} ({probability:.2f})")
    assert "JSON list" in row["expected"]
    assert rows["answer"].isna().all()
    assert float(row["worth"]) > 0


def test_an_audit_shows_candidates_in_alphabetical_order_and_nothing_of_what_the_model_thinks(review):
    rows = review.export("audit.csv", purpose="audit", attribute="neckline", limit=1000)
    assert rows[["proposed", "confidence", "evidence", "worth"]].isna().all().all()
    listed = rows["candidates"].str.split("; ").tolist()
    assert all(one == sorted(one) for one in listed)
    assert ["V", "crew", "n/a"] in listed


def test_personal_columns_and_others_that_the_schema_does_not_name_stay_in_the_warehouse(made, tmp_path):
    made.publish()
    api.review_export(made.url, str(tmp_path / "q.csv"))
    assert "as the seller wrote it" in str(tables.read(made.url, "products").to_pylist())
    assert "as the seller wrote it" not in (tmp_path / "q.csv").read_text()


def test_a_text_column_may_be_called_as_the_ids_are_here(tmp_path):
    schema = Schema.parse({"id": "sku", "text": ["key"], "attributes": {"colour": {"kind": "categorical"}}})
    rows = pa.table({"sku": [1, 2], "key": ["a word", None], "colour": [None, "red"]})
    tables.replace_partition(str(tmp_path), "products", rows, "2026-01-01", {})
    items = Warehouse(str(tmp_path), schema).items(["2", "1"])
    assert items.loc[["1", "2"], "key"].tolist() == ["a word", None]


def test_an_empty_queue_is_a_sheet_without_rows(made, tmp_path):
    made.publish()
    done = api.review_export(made.url, str(tmp_path / "q.csv"), attribute="brand")
    assert done["counts"]["rows"] == 0
    assert (tmp_path / "q.csv").read_text(encoding="utf-8-sig").startswith("sku,attribute,department,title,known")


def test_the_empty_queue_of_a_program_comes_back_as_nothing(made, tmp_path):
    made.publish()
    out = str(tmp_path / "q.jsonl")
    api.review_export(made.url, out, attribute="brand")
    assert api.review_import(out, made.url)["counts"]["rows"] == 0


def test_where_no_cell_was_ever_empty_there_is_nothing_to_ask(made, tmp_path):
    made.publish(valid=made_catalog.catalog(1))
    for purpose in ("queue", "audit"):
        assert api.review_export(made.url, str(tmp_path / "q.csv"), purpose=purpose)["counts"]["rows"] == 0
    found = api.review_stats(made.url)["brand"]
    assert (found["queue"], found["answered"], found["agreement"]["n"]) == (0, 0, 0)


def test_a_filled_sheet_is_not_overwritten_before_it_was_imported(review):
    rows = review.export(attribute="neckline").assign(answer="V")
    sheet.write(rows, file := str(review.place / "review.csv"))
    with pytest.raises(InputError, match=f"{len(rows)} answers that are not in the warehouse"):
        review.export()
    api.review_import(file, review.url)
    assert len(review.export())


def test_answers_that_differ_from_those_imported_or_confirm_them_in_an_audit_are_not_overwritten(review):
    rows = review.export(attribute="neckline").head(2).assign(answer="V")
    sheet.write(rows, file := str(review.place / "review.csv"))
    api.review_import(file, review.url)
    sheet.write(rows.assign(answer=["V", "crew"]), file)
    with pytest.raises(InputError, match="holds 1 answers that are not in the warehouse"):
        review.export()
    sheet.write(rows.assign(purpose="audit"), file)
    with pytest.raises(InputError, match="holds 2 answers that are not in the warehouse"):
        review.export()
    api.review_import(file, review.url)
    review.export()


def test_a_file_that_is_no_sheet_is_not_overwritten(review):
    (review.place / "notes.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="another file"):
        review.export("notes.csv")
    with pytest.raises(InputError, match=r"\.csv, \.parquet, \.jsonl"):
        review.export("sheet.xlsx")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sku;attribute;answer\na;b;c\n", "separated by commas"),
        ("sku,attribute\na,b\n", "no column 'answer'"),
        ("sku,attribute,answer\na,b,c,d\n", "row 1 of .* cannot be read"),
        ("", "is empty"),
        ("sku,attribute,answer\n", "no rows"),
    ],
)
def test_a_file_that_is_no_sheet_cannot_be_imported(review, text, says):
    file = Path(review.place / "bad.csv")
    file.write_text(text)
    with pytest.raises(CatalogError, match=says):
        api.review_import(str(file), review.url)
