"""Which cells people are asked about: those in review whose answers are worth most, or a sample by lot."""

import shutil

import completed_catalog as made_catalog
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from attrgan.errors import InputError
from attrgan.lake import tables
from attrgan.review.queue import audit, choose, entropy, queue, worth

JAN2 = "2026-01-02"


def cells(*rows: tuple[str, str, float]) -> pd.DataFrame:
    """Open cells of one attribute: key, proposal, confidence."""
    found = pd.DataFrame(rows, columns=["key", "value", "confidence"]).astype({"key": object, "value": object})
    return found.assign(attribute="brand")


NOBODY = pd.DataFrame({"attribute": [], "proposed": []}, dtype=object)
EVERYBODY = pd.Index(["a", "b", "c", "d"])


def test_an_answer_is_worth_its_doubt_times_the_cells_with_the_same_proposal():
    found = worth(cells(("a", "Acme", 0.6), ("b", "Acme", 0.9), ("c", "Bolt", 0.6)), NOBODY, EVERYBODY)
    assert found[0] == pytest.approx(2 * entropy(np.array([0.6]))[0])
    assert found[2] == pytest.approx(entropy(np.array([0.6]))[0])


def test_a_second_answer_about_one_proposal_is_worth_half_of_it():
    found = worth(cells(*((key, "Acme", 0.6) for key in "abcd")), NOBODY, EVERYBODY)
    assert sorted(found / found.min()) == pytest.approx([1, 4 / 3, 2, 4])


def test_answers_that_a_proposal_has_already_count_as_those_before():
    given = pd.DataFrame({"attribute": ["brand"] * 3, "proposed": ["Acme", "Acme", "Bolt"]})
    one, two = (worth(cells(("a", "Acme", 0.6), ("b", "Acme", 0.7)), g, EVERYBODY) for g in (NOBODY, given[2:]))
    assert (one == two).all()
    assert (worth(cells(("a", "Acme", 0.6), ("b", "Acme", 0.6)), given, EVERYBODY) <= 1).all()


def test_an_answer_about_an_item_that_training_sets_aside_decides_its_own_cell_only():
    found = worth(cells(("a", "Acme", 0.6), ("b", "Acme", 0.6), ("z", "Acme", 0.5)), NOBODY, EVERYBODY)
    assert found[2] == pytest.approx(1.0)
    assert found[0] == pytest.approx(3 * entropy(np.array([0.6]))[0])


def test_there_is_no_doubt_about_what_is_certain():
    assert entropy(np.array([0.0, 0.5, 1.0])) == pytest.approx([0, 1, 0], abs=1e-9)


def test_the_queue_holds_the_cells_in_review_and_no_others_best_first(review):
    found = queue(review.warehouse, limit=10_000)
    rows = tables.read(review.url, "completions").to_pandas()
    open_ones = rows[rows["status"] == "review"]
    assert set(zip(found["key"], found["attribute"], strict=True)) == set(
        zip(open_ones["sku"], open_ones["attribute"], strict=True)
    )
    assert found["worth"].is_monotonic_decreasing
    assert len(found) > 20
    assert queue(review.warehouse, limit=7)["key"].tolist() == found["key"].tolist()[:7]


def test_a_queue_can_be_of_one_attribute_or_of_one_date(review):
    assert set(queue(review.warehouse, attribute="tags")["attribute"]) == {"tags"}
    assert len(queue(review.warehouse, dt="2026-01-01")) == len(queue(review.warehouse))
    assert queue(review.warehouse, dt=JAN2).empty


def test_a_cell_that_was_answered_is_asked_about_no_more(made):
    made.publish()
    before = queue(made.warehouse)
    first = before.iloc[0]
    made.answer({"key": first["key"], "attribute": first["attribute"], "answer": "n/a"})
    after = queue(made.warehouse)
    assert len(after) == len(before) - 1
    assert (first["key"], first["attribute"]) not in set(zip(after["key"], after["attribute"], strict=True))


def test_an_item_is_asked_about_as_it_is_now(made):
    valid = made_catalog.catalog()
    made.publish(valid=valid)
    asked = queue(made.warehouse, attribute="colour")["key"].tolist()
    assert len(asked) == 2
    items = valid.filter(pa.array([i in asked for i in valid["sku"].to_pylist()])).to_pylist()
    items[0]["colour"] = "green"  # the seller has answered
    removed = pa.Table.from_pylist(items, valid.schema).append_column("_deleted", pa.array([False, True]))
    made.publish(dt=JAN2, valid=removed, run_id="r2")
    assert queue(made.warehouse, attribute="colour").empty


def test_items_are_found_whose_completions_keep_ids_in_another_type(made):
    valid = made_catalog.catalog()
    made.publish(valid=valid.set_column(0, "sku", pa.array([str(i) for i in range(6)])))
    rows = tables.read(made.url, "completions", "2026-01-01").drop_columns(["dt"])
    shutil.rmtree(f"{made.url}/completions")
    rows = rows.set_column(0, "sku", pa.array([int(i) for i in rows["sku"].to_pylist()]))
    tables.replace_partition(made.url, "completions", rows, "2026-01-01", {})
    assert set(queue(made.warehouse, attribute="colour")["key"]) == {"1", "4"}
    assert made.answer({"key": "1", "attribute": "colour", "answer": "red"}).new[0]["proposed"] == "red"


def test_an_audit_is_drawn_from_all_answered_cells_whatever_became_of_them(review):
    found = audit(review.warehouse, limit=10_000)
    assert len(found) == tables.read(review.url, "completions").num_rows
    assert {"filled", "review"} <= set(found["status"])


def test_an_audit_has_as_many_cells_of_each_attribute_and_a_larger_one_only_adds_some(review):
    def drawn(**options) -> set[tuple[str, str]]:
        found = audit(review.warehouse, **options)
        return set(zip(found["key"], found["attribute"], strict=True))

    small, large, other = drawn(limit=5), drawn(limit=9), drawn(limit=5, seed=1)
    assert pd.Series([a for _, a in small]).value_counts().tolist() == [5] * 7
    assert small < large
    assert small == drawn(limit=5)
    assert small != other


def test_every_cell_has_the_same_chance_to_be_audited():
    """The share of drawn cells that are in review is the share of all that are, over many seeds."""
    from attrgan.evaluation.splits import id_hashes

    keys = pd.Series([f"P{i}" for i in range(400)])
    in_review = np.arange(400) < 100
    drawn = [np.argsort(id_hashes(f"{seed}\x1fbrand\x1f" + keys))[:40] for seed in range(200)]
    assert np.mean([in_review[d].mean() for d in drawn]) == pytest.approx(0.25, abs=0.015)


def test_an_audit_leaves_out_what_was_audited_and_shows_what_the_queue_has_brought(made):
    made.publish()
    first, second = audit(made.warehouse, attribute="colour")["key"]
    made.answer({"key": first, "attribute": "colour", "answer": "red", "purpose": "audit"})
    made.answer({"key": second, "attribute": "colour", "answer": "blue", "purpose": "queue", "reviewer": "Ada"})
    left = audit(made.warehouse, attribute="colour")
    assert left[["key", "answer", "reviewer"]].to_numpy().tolist() == [[second, "blue", "Ada"]]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"purpose": "test"}, "expected queue or audit"),
        ({"limit": 0}, "expected 1 or more"),
        ({"dt": "1 May"}, "expected a date"),
        ({"attribute": "colr"}, "expected one of brand, price"),
    ],
)
def test_what_cannot_be_exported_is_refused_in_one_sentence(made, wrong, says):
    made.publish()
    options = {"purpose": "queue", "dt": None, "attribute": None, "limit": 5, "seed": 0} | wrong
    with pytest.raises(InputError, match=says):
        choose(made.warehouse, **options)
