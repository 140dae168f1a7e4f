"""Answers by people in training: the queue's are learned from, an audit's set thresholds and nothing else."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_catalog import OPTIONS, SCHEMA, catalog, with_gaps

from attrgan.evaluation import missingness
from attrgan.evaluation.splits import split
from attrgan.features import cache
from attrgan.lake.cells import to_frame
from attrgan.training.gold import Gold
from attrgan.training.train import train

FRAME = to_frame(with_gaps(catalog(120), share=0.3), SCHEMA)
TRUTH = to_frame(catalog(120), SCHEMA)
EASY = SCHEMA.model_copy(update={"target_precision": 0.5})  # five cells are enough to promise that
PARTS = split(FRAME["sku"])
FEATURES = cache.encode(FRAME, EASY)


def empty(attribute: str, rows: np.ndarray | None = None) -> list[int]:
    """Rows whose cell of an attribute is empty."""
    found = np.flatnonzero(FRAME[attribute].isna())
    return (found if rows is None else np.intersect1d(found, rows)).tolist()


def answers(attribute: str, rows: list[int], purpose: str = "queue", answer: str | None = None, **more) -> pd.DataFrame:
    """True answers to these cells, or the given one, as `attrgan.review.answers.current` has them."""
    numeric = SCHEMA.attributes[attribute].kind == "numeric"
    given = [TRUTH[attribute][row] if answer is None else answer for row in rows]
    found = pd.DataFrame({"key": FRAME["sku"].iloc[rows].to_numpy(object), "attribute": attribute}, dtype=object)
    found["answer"] = [str(value) for value in given]
    found["number"] = [value if numeric and answer is None else None for value in given]
    return found.assign(purpose=purpose, queued=purpose == "queue", **more)


def test_answers_of_the_queue_fill_empty_cells_of_training_rows_only():
    gold = Gold.of(FRAME, SCHEMA, answers("colour", empty("colour")))
    filled = np.flatnonzero(gold.frame["colour"].notna() & FRAME["colour"].isna())
    assert filled.tolist() == empty("colour", PARTS.train)
    assert gold.frame["colour"].iloc[filled].tolist() == TRUTH["colour"].iloc[filled].tolist()
    others = len(empty("colour")) - len(filled)
    assert (gold.counts["trained"], gold.counts["set_aside"]) == (len(filled), others)
    pd.testing.assert_frame_equal(gold.frame.drop(columns="colour"), FRAME.drop(columns="colour"))
    gold = Gold.of(FRAME, SCHEMA, answers("colour", empty("colour")), holdout=0.3)
    assert not gold.frame["colour"].iloc[empty("colour", split(FRAME["sku"], 0.3).holdout)].notna().any()


def test_a_sellers_own_value_wins_and_what_contradicts_it_is_counted():
    known = np.intersect1d(np.flatnonzero(FRAME["colour"].notna()), PARTS.train)[:3].tolist()
    given = pd.concat([answers("colour", known[:2], answer="mauve"), answers("colour", known[2:])])
    gold = Gold.of(FRAME, SCHEMA, given)
    pd.testing.assert_frame_equal(gold.frame, FRAME)
    assert (gold.counts["against_seller"], gold.counts["agrees_with_seller"]) == (2, 1)


def test_audited_cells_stay_empty_in_whatever_part_their_row_is():
    gold = Gold.of(FRAME, SCHEMA, answers("price", empty("price"), "audit"))
    pd.testing.assert_frame_equal(gold.frame, FRAME)
    column = list(SCHEMA.attributes).index("price")
    assert np.flatnonzero(gold.asked[:, column]).tolist() == empty("price")
    assert gold.truth["price"].dropna().tolist() == TRUTH["price"].iloc[empty("price")].tolist()


def test_answers_that_a_catalog_cannot_use_are_counted():
    price = empty("price", PARTS.train)[:2]
    stranger = answers("colour", empty("colour")[:1]).assign(key="who?")
    gold = Gold.of(FRAME, SCHEMA, pd.concat([answers("price", price, answer="n/a"), stranger]))
    pd.testing.assert_frame_equal(gold.frame, FRAME)
    assert (gold.counts["not_trainable"], gold.counts["unknown"]) == (2, 1)


# --- models --------------------------------------------------------------------------------------------------------


def run(folder: Path, reviews: pd.DataFrame | None) -> Path:
    folder.mkdir()
    options = dataclasses.replace(OPTIONS, epochs=2)
    train(EASY, FRAME, FEATURES, options, folder, say=lambda _: None, reviews=reviews)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    """The same training without answers, with an audit, and with answers of the queue."""
    place = tmp_path_factory.mktemp("gold")
    audit = pd.concat([answers("neckline", empty("neckline"), "audit"), answers("tags", empty("tags")[:3], "audit")])
    return {
        "none": run(place / "none", None),
        "audit": run(place / "audit", audit),
        "queue": run(place / "queue", answers("neckline", empty("neckline"))),
    }


def read(folder: Path, name: str) -> dict:
    return json.loads((folder / name).read_text())


def test_an_audit_changes_no_weight_and_answers_of_the_queue_do(models):
    weights = {name: (folder / "model.safetensors").read_bytes() for name, folder in models.items()}
    assert weights["audit"] == weights["none"]
    assert weights["queue"] != weights["none"]


def test_thresholds_rest_on_an_audit_where_it_has_enough_cells_else_on_hidden_ones(models):
    promises = read(models["audit"], "calibration.json")
    without = read(models["none"], "calibration.json")
    audited = promises["neckline"]
    assert (audited["labels"], audited["label_counts"]["reviews"]) == ("reviews", len(empty("neckline")))
    assert audited["cells"] == len(empty("neckline"))
    assert audited["label_counts"]["hidden"] == without["neckline"]["cells"]
    assert (promises["tags"]["labels"], promises["tags"]["label_counts"]["reviews"]) == ("hidden", 3)
    for name in set(promises) - {"neckline", "tags"}:  # confidences are drawn towards a common map, so they may move
        same = ("temperature", "cells", "known_cells", "labels", "label_counts")
        assert {key: promises[name][key] for key in same} == {key: without[name][key] for key in same}


def test_what_is_missing_is_learned_from_the_catalog_as_received(tmp_path, monkeypatch):
    learned = []
    monkeypatch.setattr(missingness, "weights", lambda frame, *_: learned.append(frame) or np.ones(len(_[-1])))
    run(tmp_path / "queue", answers("neckline", empty("neckline")))
    assert learned
    for frame in learned:
        pd.testing.assert_frame_equal(frame, FRAME)


def test_answers_of_the_queue_set_no_threshold(models):
    promises = read(models["queue"], "calibration.json")
    assert {p["labels"] for p in promises.values()} == {"hidden"}
    assert promises["neckline"]["cells"] == read(models["none"], "calibration.json")["neckline"]["cells"]


def test_a_model_says_what_became_of_the_answers(models):
    assert read(models["audit"], "config.json")["reviews"]["audited"] == len(empty("neckline")) + 3
    assert "reviews" not in read(models["none"], "config.json")


def test_audited_cells_are_answered_as_completing_the_catalog_answers_them(models):
    from attrgan.model import CompletionModel

    model = CompletionModel.load(models["audit"])
    gold = Gold.of(FRAME, EASY, answers("neckline", empty("neckline"), "audit"))
    scored = gold.cells(model, FEATURES)["neckline"].set_index("row").sort_index()
    completed = model.complete(FRAME, FEATURES)
    completed = completed[completed["attribute"] == "neckline"].set_index("sku")
    keys = FRAME["sku"].iloc[empty("neckline")]
    assert scored["truth"].tolist() == TRUTH["neckline"].iloc[empty("neckline")].tolist()
    assert scored["value"].tolist() == completed["value"].fillna("n/a").loc[keys].tolist()
    assert scored["confidence"].tolist() == pytest.approx(completed.loc[keys, "confidence"].tolist(), abs=1e-5)


def test_a_model_that_started_from_one_of_the_same_catalog_does_not_trust_labels_the_queue_had_first(models):
    from attrgan.model import CompletionModel

    model = CompletionModel.load(models["none"])
    given = answers("neckline", empty("neckline"), "audit").assign(queued=True)
    gold = Gold.of(FRAME, EASY, given)
    assert gold.calibration_cells(model, FEATURES, {})[1]["neckline"]["labels"] == "reviews"
    assert gold.calibration_cells(model, FEATURES, {}, same_catalog=True)[1]["neckline"]["labels"] == "hidden"
