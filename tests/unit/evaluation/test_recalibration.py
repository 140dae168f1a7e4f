"""Reported confidences: nearer to the truth, in the same order."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from attrgan.evaluation.metrics import expected_calibration_error
from attrgan.evaluation.recalibration import Recalibration, as_sure_as, fit


def overconfident(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Confidences that say too much, and whether the answers were right."""
    rng = np.random.default_rng(seed)
    truth = rng.beta(3, 1, n)
    odds = np.log(truth / (1 - truth))
    return 1 / (1 + np.exp(-(1.6 * odds + 0.5))), rng.random(n) < truth


def test_a_map_fitted_on_some_cells_lowers_the_calibration_error_of_others():
    to = fit({"brand": overconfident(1000, 0)})["brand"]
    confidence, right = overconfident(20_000, 1)
    before = expected_calibration_error(confidence, right)
    after = expected_calibration_error(to(confidence), right)
    assert before > 0.05
    assert after < before / 2


def test_an_attribute_of_few_cells_is_mapped_as_all_are():
    found = fit({"much": overconfident(2000, 0), "few": overconfident(5, 1), "none": (np.zeros(0), np.zeros(0, bool))})
    at = np.linspace(0.05, 0.95, 10)
    assert np.abs(found["none"](at) - found["much"](at)).max() < 0.02
    assert np.abs(found["few"](at) - found["much"](at)).max() < 0.1
    own = fit({"few": overconfident(5, 1)})["few"]
    assert np.abs(own(at) - at).max() < np.abs(found["few"](at) - at).max(), "five cells alone say little"


def test_confidences_that_are_right_stay_what_they_are():
    rng = np.random.default_rng(2)
    confidence = rng.beta(3, 1, 20_000)
    at = np.linspace(0.05, 0.95, 10)
    assert np.abs(fit({"brand": (confidence, rng.random(20_000) < confidence)})["brand"](at) - at).max() < 0.02


def test_answers_that_are_all_right_do_not_make_certain():
    to = fit({"brand": (np.full(30, 0.9), np.ones(30, bool))})["brand"]
    assert 0.9 < to(np.array([0.9]))[0] < 1


@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=30),
    st.floats(-2, 2),
    st.floats(-5, 5),
)
def test_no_map_changes_the_order_of_confidences(confidences, s, b):
    given_ones = np.sort(np.array(confidences))
    mapped = Recalibration(s, b)(given_ones)
    assert (np.diff(mapped) >= 0).all()
    apart = np.diff(np.clip(given_ones, 1e-6, 1 - 1e-6)) > 1e-6
    assert (np.diff(mapped)[apart] > 0).all()


def test_a_model_that_is_surer_of_the_same_cells_is_mapped_to_report_what_the_other_one_did():
    odds = np.random.default_rng(0).normal(0.5, 1.5, 500)
    theirs, ours = 1 / (1 + np.exp(-odds)), 1 / (1 + np.exp(-(1.4 * odds + 0.7)))
    maps = {"brand": Recalibration(-0.1, 0.2), "never asked": Recalibration(0.3, 0.1)}
    found = as_sure_as(maps, {"brand": theirs}, {"brand": ours})
    assert np.allclose(found["brand"](ours), maps["brand"](theirs), atol=1e-3)
    again = as_sure_as(maps, {"brand": theirs}, {"brand": theirs})
    assert np.allclose(again["never asked"](theirs), maps["never asked"](theirs))


def test_one_cell_of_an_attribute_says_little_of_how_sure_a_model_is():
    many = np.linspace(0.1, 0.9, 200)
    maps = {"much": Recalibration(), "one": Recalibration()}
    theirs, ours = {"much": many, "one": np.array([0.2])}, {"much": many, "one": np.array([0.9999])}
    assert abs(float(as_sure_as(maps, theirs, ours)["one"](np.array([0.5]))[0]) - 0.5) < 0.03


def test_without_a_cell_to_compare_the_maps_stay():
    maps = {"brand": Recalibration(0.1, 0.2)}
    assert as_sure_as(maps, {}, {}) == maps
    assert as_sure_as(maps, {"brand": np.zeros(0)}, {"brand": np.zeros(0)}) == maps


def test_cells_that_one_of_the_models_cannot_answer_say_nothing_of_the_others():
    many = np.linspace(0.1, 0.9, 20)
    maps = {"known": Recalibration(), "new": Recalibration()}
    found = as_sure_as(maps, {"known": many, "new": np.zeros(5)}, {"known": many, "new": np.full(5, 0.8)})
    assert np.allclose(found["known"](many), many)
