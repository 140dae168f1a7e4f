"""What counts as right, and figures that say what they are called."""

import json
import unicodedata

import numpy as np
import pandas as pd
import pytest
from small_catalog import SCHEMA, frame

from attrgan.evaluation import hiding, metrics
from attrgan.features import cache
from attrgan.schema import Attribute, Schema

OPEN, NUMERIC = Attribute(kind="open"), Attribute(kind="numeric")


def objects(*values: object) -> np.ndarray:
    return np.array(values, dtype=object)


def test_a_number_is_right_within_the_relative_tolerance():
    truth = np.array([100.0, 100.0, 100.0, -10.0, 0.0, 0.0, 20.0])
    value = np.array([105.0, 95.0, 105.01, -10.4, 0.0, 1e-6, 21.0])
    assert metrics.is_right(value, truth, NUMERIC).tolist() == [True, True, False, True, True, False, True]
    exact = Attribute(kind="numeric", tolerance=0)
    assert metrics.is_right(np.array([3.0, 3.0001]), np.array([3.0, 3.0]), exact).tolist() == [True, False]


def test_a_set_is_right_when_it_has_the_same_members_in_any_order():
    several = Attribute(kind="categorical", multi=True)
    value = np.array(['["b", "a"]', '["a"]', "[]", "[]", '["e\u0301"]', None], dtype=object)
    truth = np.array(['["a", "b"]', '["a", "b"]', "[]", '["a"]', '["\u00e9"]', "[]"], dtype=object)
    assert metrics.is_right(value, truth, several).tolist() == [True, False, True, False, True, False]


def test_a_string_is_right_when_it_is_the_same_in_any_unicode_form_and_trimmed():
    value = objects("Café", unicodedata.normalize("NFD", "Café"), " Café ", "CAFÉ", "Cafe")
    truth = objects(*["Café"] * 5)
    assert metrics.is_right(value, truth, OPEN).tolist() == [True, True, True, False, False]


def test_baselines_are_mode_and_median():
    rows = pd.DataFrame({"i": ["1", "2", "3"], "a": ["y", "x", "y"], "b": [1.0, 5.0, np.nan], "c": [None] * 3})
    schema = Schema.parse(
        {"id": "i", "attributes": {"a": {"kind": "open"}, "b": {"kind": "numeric"}, "c": {"kind": "open"}}}
    )
    assert metrics.baselines(rows, schema) == {"a": "y", "b": 3.0, "c": None}


def test_coverage_and_calibration_error_of_a_case_done_by_hand():
    confidence = np.array([0.9, 0.8, 0.7, 0.6])
    right = np.array([True, True, False, True])
    assert metrics.coverage_at(confidence, right, 0.95) == 0.5
    assert metrics.coverage_at(confidence, right, 0.75) == 1.0
    assert metrics.coverage_at(confidence, np.zeros(4, dtype=bool)) == 0.0
    assert metrics.expected_calibration_error(confidence, right) == pytest.approx((0.1 + 0.2 + 0.7 + 0.4) / 4)


@pytest.mark.parametrize("order", [1, -1])
def test_cells_of_one_confidence_are_covered_all_or_none_in_whatever_order(order):
    confidence, right = np.full(100, 0.6), np.arange(100)[::order] < 60
    assert metrics.coverage_at(confidence, right) == 0.0
    assert metrics.coverage_at(confidence, right, 0.6) == 1.0
    assert metrics.coverage_at(np.append(confidence, 0.9), np.append(right, True)) == pytest.approx(1 / 101)
    assert metrics.coverage_at(np.empty(0), np.empty(0, bool)) == 0.0


def test_few_cells_have_a_calibration_error_though_every_confidence_is_right():
    """What chance alone makes of it, against what it is on average over many such samples."""
    rng = np.random.default_rng(0)
    for n, least, most in ((45, 0.1, 0.25), (20_000, 0.0, 0.02)):
        confidence = rng.uniform(0.5, 1, n)
        measured = [metrics.expected_calibration_error(confidence, rng.random(n) < confidence) for _ in range(30)]
        assert least < metrics.calibration_noise(confidence) < most
        assert metrics.calibration_noise(confidence) == pytest.approx(np.mean(measured), rel=0.25)
    assert metrics.calibration_noise(np.ones(50)) == 0


def test_the_promise_is_measured_under_each_pattern_at_the_thresholds_in_force(small_model):
    rows = frame(60, seed=14, prefix="G")
    found = metrics.by_pattern(small_model, rows, cache.encode(rows, SCHEMA))
    assert list(found) == ["mcar", "mar", "mnar"]
    promised = [n for n, p in small_model.calibration.items() if p["threshold"] is not None]
    assert promised
    for pattern in found.values():
        assert set(pattern) <= set(SCHEMA.attributes)
        for name, figures in pattern.items():
            assert 0 < figures["n"] < 60
            assert (figures["realised_n"] > 0) <= (name in promised)
            assert figures["realised_n"] == round(figures["coverage"] * figures["n"])
            assert figures["observed"]["realised_n"] <= figures["n"]
    assert found["mcar"] != found["mnar"]


def test_every_hidden_known_cell_is_answered_once_and_compared_with_what_was_hidden(small_model):
    rows = frame(50, seed=12)
    rows.loc[:9, "colour"] = None
    known = hiding.known_cells(rows, SCHEMA)
    masks = list(hiding.each_once(known, SCHEMA, np.random.default_rng(0)))
    answers = metrics.answer_hidden(small_model, rows, cache.encode(rows, SCHEMA), masks)
    for i, name in enumerate(SCHEMA.attributes):
        cells = answers[name]
        assert sorted(cells["row"]) == np.flatnonzero(known[:, i]).tolist()
        truth = rows[name].iloc[cells["row"]].to_numpy()
        assert (cells["truth"].to_numpy() == truth).all()
        right = metrics.is_right(cells["value"].to_numpy(), truth, SCHEMA.attributes[name])
        np.testing.assert_array_equal(cells["right"], right)


def test_figures_of_an_attribute_are_those_of_its_cells(small_model):
    rows = frame(60, seed=13, prefix="F")
    masks = list(hiding.each_once(hiding.known_cells(rows, SCHEMA), SCHEMA, np.random.default_rng(0)))
    answers = metrics.answer_hidden(small_model, rows, cache.encode(rows, SCHEMA), masks)
    summary = metrics.summarise(answers, small_model)
    for name, figures in summary["attributes"].items():
        cells, promise = answers[name], small_model.calibration[name]
        assert figures["n"] == 60
        assert figures["accuracy"] == pytest.approx(cells["right"].mean())
        assert figures["accuracy_interval"][0] <= figures["accuracy"] <= figures["accuracy_interval"][1]
        if promise["threshold"] is None:
            assert figures["coverage"] == 0
            assert figures["realised_precision"] is None
            assert figures["reason"]
        else:
            accepted = cells[cells["confidence"] >= promise["threshold"]]
            assert figures["coverage"] == pytest.approx(len(accepted) / 60)
            assert figures["realised_n"] == len(accepted)
            assert figures["realised_precision"] == pytest.approx(accepted["right"].mean())
    assert summary["mean_accuracy"] == pytest.approx(np.mean([f["accuracy"] for f in summary["attributes"].values()]))
    every = pd.concat(answers.values())
    whole = metrics.expected_calibration_error(every["confidence"].to_numpy(), every["right"].to_numpy())
    assert summary["ece"] == pytest.approx(whole)
    assert summary["mean_ece"] == pytest.approx(np.mean([f["ece"] for f in summary["attributes"].values()]))
    inside = answers["price"].eval("lower <= truth <= upper").mean()
    assert summary["attributes"]["price"]["interval_coverage"] == pytest.approx(inside)
    json.loads(metrics.dump(summary))


def test_an_attribute_known_only_in_rows_that_were_not_trained_on_has_figures_too(small_model):
    """The median of no training rows is none; cells to score there may be all the same."""
    rows = frame(20, seed=13)
    answers = metrics.answer_hidden(
        small_model, rows, cache.encode(rows, SCHEMA), [hiding.mask_of(hiding.known_cells(rows, SCHEMA), SCHEMA)]
    )
    baseline = small_model.config["baseline"]
    try:
        small_model.config["baseline"] = baseline | {"price": None, "colour": None}
        figures = metrics.summarise(answers, small_model)["attributes"]
    finally:
        small_model.config["baseline"] = baseline
    assert figures["price"]["baseline"] == figures["colour"]["baseline"] == 0.0
    assert figures["price"]["skill"] is None


def test_attributes_without_scored_cells_count_in_no_mean(small_model):
    summary = metrics.summarise({}, small_model)
    assert summary["mean_accuracy"] is None
    assert all(f["n"] == 0 for f in summary["attributes"].values())


def test_what_is_not_a_number_becomes_null():
    assert json.loads(metrics.dump({"a": float("nan"), "b": float("inf"), "c": [1.5]})) == {
        "a": None,
        "b": None,
        "c": [1.5],
    }
