"""What people answer becomes labels; what cannot be one is refused with a reason, row by row, and nothing is lost."""

import json
import threading

import completed_catalog as made_catalog
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attrgan import api
from attrgan.errors import GateError
from attrgan.lake import tables
from attrgan.review import answers, sheet
from attrgan.review.cells import Warehouse
from attrgan.review.queue import audit
from attrgan.review.stats import stats
from attrgan.schema import Schema

A, B = f"{made_catalog.catalog()['sku'][1]}", f"{made_catalog.catalog()['sku'][4]}"
"""Items without brand, price and colour."""


def colour(answer: str | None, key: str = A, **more) -> dict:
    return {"key": key, "attribute": "colour", "answer": answer} | more


def test_an_answer_stands_in_the_table_with_what_the_model_had_said(made):
    made.publish()
    done = made.answer(colour(" cafe\u0301 ", reviewer="Ada", purpose="audit"))
    row = tables.read(made.url, "reviews").to_pylist()[0]
    assert {k: row[k] for k in ("sku", "attribute", "answer", "number", "purpose", "reviewer", "source_hash")} == {
        "sku": A, "attribute": "colour", "answer": "caf\u00e9", "number": None, "purpose": "audit", "reviewer": "Ada",
        "source_hash": "hash",
    }  # fmt: skip
    assert (row["proposed"], row["confidence"], row["model_version"], row["run_id"]) == ("red", 0.9, "7", "r1")
    assert done.counts(1)["imported"] == 1


def test_rows_without_an_answer_are_skipped_and_counted_those_of_an_audit_apart(made):
    made.publish()
    done = made.answer(colour(None), colour("  ", B, purpose="audit"))
    assert (done.skipped, done.audit_skipped, done.new) == (2, 1, [])
    assert tables.version(made.url, "reviews") == 0 or tables.version(made.url, "reviews") is None


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (colour("red", "nobody"), "unknown id: no item 'nobody'"),
        ({"key": A, "attribute": "weight", "answer": "3"}, "unknown attribute: 'weight'"),
        ({"key": A, "attribute": "price", "answer": "cheap"}, "not a number: 'cheap'; expected one in USD"),
        ({"key": A, "attribute": "price", "answer": "inf"}, "not a number"),
        ({"key": A, "attribute": "price", "answer": "nan"}, "not a number"),
        ({"key": A.replace("1", "2"), "attribute": "tags", "answer": "new"}, "unknown id"),
        (colour("red", purpose="guess"), "unknown purpose: 'guess'"),
        (colour("x" * 1001), "too long: 1,001 characters"),
        ({"key": f"{A[:-1]}0", "attribute": "brand", "answer": "Acme"}, "the seller's own value is there: 'brand 0'"),
        (colour("red", None), "unknown id: no item ''"),
    ],
)
def test_what_cannot_be_an_answer_is_refused_with_a_reason(made, row, reason):
    made.publish()
    done = made.answer(row, colour("blue", B))
    assert done.refused[0].startswith(reason)
    assert [r["answer"] for r in done.new] == ["blue"]


def test_a_categorical_value_that_stands_nowhere_is_refused_with_the_one_that_was_meant(made):
    made.publish()
    item = f"{A[:-1]}2"
    rows = [colour("bleu"), {"key": item, "attribute": "tags", "answer": '["sale", "nwe"]'}]
    done = made.answer(
        *rows, colour("blue", B), {"key": A, "attribute": "brand", "answer": "Brandnew"}, new_values=False
    )
    assert (
        done.refused[0] == "new value: 'bleu' stands nowhere in the catalog; 'blue' does; --new-values lets new ones in"
    )
    assert done.refused[1].startswith("new value: 'nwe'")
    assert [row["answer"] for row in done.new] == ["blue", "Brandnew"]
    assert len(made.answer(*rows, new_values=True).new) == 2


def test_the_values_that_the_schema_lists_are_the_only_ones(review):
    schema = review.warehouse.schema.dump()
    schema["attributes"]["neckline"]["values"] = ["V", "crew", "n/a"]
    (review.place / "schema.yaml").write_text(json.dumps(schema))
    rows = review.export(attribute="neckline", limit=2).assign(answer=["polo", "V"])
    with pytest.raises(GateError, match="1 not a value of this attribute"):
        review.import_(rows, "f.csv", schema=str(review.place / "schema.yaml"), new_values=True)
    assert list(review.answers().values()) == ["V"]


def test_a_set_is_a_json_list_and_any_order_of_it_is_the_same_answer(made):
    made.publish()
    item = f"{A[:-1]}2"
    done = made.answer({"key": item, "attribute": "tags", "answer": "new, sale"})
    assert done.refused[0].startswith("not a list: 'new, sale'; expected a JSON list")
    made.answer({"key": item, "attribute": "tags", "answer": '["sale", "new", "sale"]'})
    assert answers.current(made.warehouse)["answer"].tolist() == ['["new", "sale"]']
    assert made.answer({"key": item, "attribute": "tags", "answer": '["new","sale"]'}).unchanged == 1


def test_what_does_not_apply_is_an_answer_of_every_kind(made):
    made.publish()
    made.answer(*({"key": A, "attribute": name, "answer": "n/a"} for name in ("brand", "price", "colour")))
    made.answer({"key": f"{A[:-1]}2", "attribute": "tags", "answer": "n/a"})
    given = answers.current(made.warehouse).set_index("attribute")
    assert given["answer"].to_dict() == {"brand": "n/a", "price": "n/a", "colour": "n/a", "tags": '["n/a"]'}
    assert given["number"].isna().all()


def test_text_that_stands_where_numbers_belong_by_now_is_the_sellers_value(made):
    made.publish()
    numeric = Warehouse(made.url, Schema.parse(made_catalog.SCHEMA | {"attributes": {"brand": {"kind": "numeric"}}}))
    given, taken = (
        {"key": key, "attribute": "brand", "answer": "5"} for key in (A, f"{made_catalog.catalog()['sku'][0]}")
    )
    rows = pd.DataFrame([row | {"purpose": None, "reviewer": None} for row in (given, taken)], dtype=object)
    done = answers.import_answers(numeric, rows, "hash")
    assert (len(done.new), list(done.refused)) == (1, [1])
    assert done.refused[1].startswith("the seller's own value is there: 'brand 0'")
    items = made_catalog.catalog().to_pylist()
    items[1] |= {"brand": "M"}
    made.publish("2026-01-02", valid=made_catalog.pa.Table.from_pylist(items, made_catalog.catalog().schema))
    assert stats(Warehouse(made.url, numeric.schema))["brand"]["against_seller"] == 0


def test_numbers_are_read_as_the_catalog_writes_them(made):
    valid = made_catalog.catalog()
    made.publish(valid=valid, answers={"price": ("1.299,50 $", "review")})
    made.answer({"key": A, "attribute": "price", "answer": "2.450,00 $"})
    assert answers.current(made.warehouse)[["answer", "number"]].to_numpy().tolist() == [["2.450,00 $", 2450.0]]


CELLS = st.fixed_dictionaries({
    "key": st.sampled_from([A, B, f"{A[:-1]}0", "nobody", None]),
    "attribute": st.sampled_from(["brand", "price", "colour", "tags", "weight"]),
    "answer": st.sampled_from(["red", "9.5", '["new"]', "n/a", "", None, "x"]),
    "purpose": st.sampled_from(["queue", "audit", None, "exam"]),
})  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10, deadline=None)
@given(rows=st.lists(CELLS, max_size=8), replace=st.booleans())
def test_every_row_is_imported_unchanged_skipped_or_refused(made, rows, replace):
    if not made.number:
        made.publish()
    counts = made.answer(*rows, replace=replace).counts(len(rows))
    assert counts["imported"] + counts["unchanged"] + counts["skipped"] + counts["refused"] == counts["rows"]
    again = made.answer(*rows, replace=replace)
    assert not again.new


def test_importing_the_same_answers_twice_changes_nothing(made):
    made.publish()
    rows = [colour("red"), {"key": A, "attribute": "price", "answer": "9.5"}]
    made.answer(*rows)
    version = tables.version(made.url, "reviews")
    done = made.answer(*rows)
    assert (done.unchanged, done.new, done.refused) == (2, [], {})
    assert tables.version(made.url, "reviews") == version


def test_two_answers_to_one_cell_in_a_file_are_both_refused(made):
    made.publish()
    done = made.answer(colour("red"), colour("blue"), colour("grey", B), colour("grey", B))
    assert set(done.refused) == {0, 1}
    assert "two answers in this file: 'red' and 'blue'" in done.refused[0]
    assert (len(done.new), done.unchanged) == (1, 1)


def test_an_answer_that_contradicts_an_earlier_one_is_refused_unless_it_replaces_it(made):
    made.publish()
    made.answer(colour("red", reviewer="Ada"))
    done = made.answer(colour("blue", reviewer="Bea"))
    assert done.refused[0] == "another answer is there: 'red' by Ada; --replace puts 'blue' in its place"
    assert answers.current(made.warehouse)["answer"].tolist() == ["red"]
    assert made.answer(colour("blue", reviewer="Bea"), replace=True).replaced == 1
    assert answers.current(made.warehouse)["answer"].tolist() == ["blue"]
    assert answers.history(made.warehouse)["answer"].tolist() == ["red", "blue"]


def test_numbers_within_the_tolerance_do_not_contradict_one_another(made):
    made.publish()
    made.answer({"key": A, "attribute": "price", "answer": "10"})
    assert made.answer({"key": A, "attribute": "price", "answer": "10.2"}).unchanged == 1
    assert made.answer({"key": A, "attribute": "price", "answer": "11"}).refused
    assert made.answer({"key": A, "attribute": "price", "answer": "n/a"}).refused


def test_an_audit_that_agrees_with_the_queue_makes_its_answer_an_audit_label_and_never_the_other_way(made):
    made.publish()
    made.answer(colour("red"))
    made.answer(colour("red", purpose="audit"))
    made.answer(colour("red"))
    given = answers.current(made.warehouse)
    assert given[["purpose", "queued"]].to_numpy().tolist() == [["audit", True]]
    made.answer(colour("blue"), replace=True)
    assert answers.current(made.warehouse)[["answer", "purpose"]].to_numpy().tolist() == [["blue", "audit"]]


def test_a_label_stays_when_the_seller_has_answered_since_and_its_file_is_imported_again(made):
    made.publish()
    made.answer(colour("red"))
    items = made_catalog.catalog().to_pylist()
    items[1]["colour"] = "green"
    made.publish("2026-01-02", valid=made_catalog.pa.Table.from_pylist(items, made_catalog.catalog().schema))
    assert made.answer(colour("red")).unchanged == 1
    assert made.answer(colour("green", B)).new
    assert made.answer(colour("red", f"{A[:-1]}3")).refused


def test_imports_at_the_same_time_lose_no_answer(made):
    made.publish(valid=made_catalog.catalog(30))
    keys = made_catalog.catalog(30)["sku"].to_pylist()[1::3]
    failed = []

    def answer(key: str) -> None:
        try:
            made.answer(colour("red", key))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=answer, args=[key]) for key in keys[:4]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert sorted(answers.current(made.warehouse)["key"]) == sorted(keys[:4])


def test_refused_rows_stand_beside_the_file_with_their_reasons_and_can_be_mended_there(review):
    rows = review.export(attribute="neckline").assign(answer="V", reviewer="Ada")
    rows.loc[3, "sku"] = "gone"
    with pytest.raises(GateError, match=f"1 of {len(rows)} rows refused .1 unknown id.*{len(rows) - 1} imported"):
        review.import_(rows, "filled.csv")
    aside = sheet.read(str(review.place / "filled.csv.refused.csv"), "sku")[0]
    assert aside[["sku", "answer", "row"]].to_numpy().tolist() == [["gone", "V", "4"]]
    assert aside["reason"][0].startswith("unknown id: no item 'gone'")
    mended = aside.assign(sku=review.export(attribute="neckline")["sku"][0])
    assert review.import_(mended, "mended.csv")["imported"] == 1
    assert len(review.answers()) == len(rows)


def test_a_mended_file_leaves_no_refusals_behind(review):
    with pytest.raises(GateError):
        review.import_([{"sku": "gone", "attribute": "colour", "answer": "red"}], "f.csv")
    assert (review.place / "f.csv.refused.csv").exists()
    review.import_([{"sku": review.cells("colour")[0], "attribute": "colour", "answer": "red"}], "f.csv")
    assert not (review.place / "f.csv.refused.csv").exists()


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_sheet_goes_to_people_and_comes_back_in_every_format(review, suffix):
    rows = review.export(f"review{suffix}")
    answered = [truth(review, row.sku, row.attribute) for row in rows.itertuples()]
    done = review.import_(rows.assign(answer=answered), f"back{suffix}", reviewer="Ada")
    assert done["imported"] == len(rows) == len(review.answers())
    assert {r["reviewer"] for r in tables.read(review.url, "reviews").to_pylist()} == {"Ada"}
    assert api.review_export(review.url, str(review.place / f"next{suffix}"))["counts"]["rows"] == 0
    assert api.review_export(review.url, str(review.place / f"next{suffix}"))["counts"]["rows"] == 0


def truth(review, key: str, attribute: str) -> str:
    """What a person who knows everything answers."""
    value = review.truth.at[key, attribute]
    return answers.canonical_list(list(value)) if isinstance(value, np.ndarray) else str(value)


def test_stats_say_what_is_open_what_was_answered_and_how_often_the_model_was_right(review):
    drawn = audit(review.warehouse, attribute="colour", limit=20)
    keys = drawn["key"].tolist()
    given = [truth(review, key, "colour") for key in keys]
    review.import_(pd.DataFrame({"sku": keys, "attribute": "colour", "answer": given, "purpose": "audit"}))
    rows = review.export("q.csv", attribute="neckline")
    review.import_(rows.assign(answer="polo")[:5], new_values=True)
    found = api.review_stats(review.url)
    right = sum(v == g for v, g in zip(drawn["value"], given, strict=True))
    assert found["colour"]["agreement"] | {"interval": None} == {
        "n": 20, "agreed": right, "share": right / 20, "interval": None,
    }  # fmt: skip
    assert sum(band["n"] for band in found["colour"]["bands"]) == 20
    assert (found["colour"]["audited"], found["colour"]["audit_needed"]) == (20, 59)
    neckline = found["neckline"]
    assert (neckline["answered"], neckline["queue"], neckline["audited"]) == (5, len(rows) - 5, 0)
    assert sum(band["agreed"] for band in neckline["bands"]) == 0
    assert found["brand"]["answered"] == 0


def test_stats_count_answers_that_were_changed_and_those_that_a_seller_contradicts(made):
    made.publish()
    made.answer(colour("red"), colour("red", B), {"key": A, "attribute": "price", "answer": "9.6"})
    made.answer(colour("blue"), replace=True)
    items = made_catalog.catalog().to_pylist()
    items[1] |= {"colour": "green", "price": 9.6}
    made.publish("2026-01-02", valid=made_catalog.pa.Table.from_pylist(items, made_catalog.catalog().schema))
    found = api.review_stats(made.url)
    assert (found["colour"]["changed"], found["colour"]["against_seller"]) == (1, 1)
    assert (found["price"]["against_seller"], found["price"]["bands"][2]["agreed"]) == (0, 1)
