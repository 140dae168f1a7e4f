"""A promise holds with the confidence it is made with, and is not made where too little is known."""

import numpy as np
import pytest
from scipy import stats

from attrgan.evaluation.calibration import (
    cells_needed,
    cross_entropy,
    fit_temperatures,
    interval,
    lower_bound,
    walk,
)


@pytest.mark.parametrize(("target", "cells"), [(0.95, 59), (0.97, 99), (0.99, 299)])
def test_the_fewest_cells_that_can_promise(target, cells):
    assert cells_needed(target, 0.95) == cells
    assert lower_bound(cells, cells, 0.95) >= target > lower_bound(cells - 1, cells - 1, 0.95)


def test_two_errors_need_124_cells():
    assert cells_needed(0.95, 0.95, errors=2) == 124
    assert lower_bound(122, 124, 0.95) >= 0.95 > lower_bound(121, 123, 0.95)


def test_the_bound_is_clopper_pearsons():
    for right, n in ((59, 59), (90, 100), (1, 3)):
        expected = stats.binomtest(right, n).proportion_ci(0.90, "exact").low  # two-sided 90 % = one-sided 95 %
        assert lower_bound(right, n, 0.95) == pytest.approx(expected)
    assert lower_bound(0, 10, 0.95) == 0
    both = stats.binomtest(7, 20).proportion_ci(0.95, "exact")
    assert interval(7, 20) == pytest.approx([both.low, both.high])
    assert interval(0, 5)[0] == 0
    assert interval(5, 5)[1] == 1
    assert interval(0, 0) is None


def cells(right: list[bool]) -> tuple[np.ndarray, np.ndarray]:
    """Cells in the order of falling confidence."""
    return np.linspace(0.99, 0.5, len(right)), np.array(right)


def test_too_few_cells_promise_nothing_and_say_so():
    promise = walk(*cells([True] * 20), 0.95, 0.95)
    assert promise.threshold is None
    assert promise.promised_precision is None
    assert promise.reason == "needs 59 calibration cells, has 20"


def test_fifty_eight_right_answers_are_not_enough_and_fifty_nine_are():
    assert walk(*cells([True] * 58), 0.95, 0.95).threshold is None
    promise = walk(*cells([True] * 59), 0.95, 0.95)
    assert (promise.accepted, promise.errors, promise.threshold) == (59, 0, 0.5)
    assert promise.promised_precision == 0.95
    assert promise.lower_bound >= 0.95
    assert promise.reason is None


def test_no_cells_at_all_promise_nothing():
    assert walk(np.array([]), np.array([], dtype=bool), 0.95, 0.95).reason == "needs 59 calibration cells, has 0"


def test_the_walk_stops_at_the_first_failure_and_never_looks_further():
    """After 59 right ones four errors break the bound; 2,000 right ones behind them would mend it."""
    right = [True] * 300 + [False] * 12 + [True] * 3000
    confidence, right = cells(right)
    assert lower_bound(int(right.sum()), len(right), 0.95) > 0.95, "the whole would pass"
    promise = walk(confidence, right, 0.95, 0.95)
    assert promise.accepted < 312
    assert promise.lower_bound >= 0.95
    assert lower_bound(promise.accepted - promise.errors, promise.accepted + 1, 0.95) < 0.95


def test_a_failure_at_the_start_promises_nothing_and_says_why():
    right = [False] * 4 + [True] * 3000
    promise = walk(*cells(right), 0.95, 0.95)
    assert promise.threshold is None
    assert promise.reason == "of the 153 most confident calibration cells 4 are wrong: too many to promise 0.95"


@pytest.mark.parametrize(
    ("n", "start"), [(59, 59), (278, 59), (279, 93), (371, 93), (372, 124), (458, 124), (459, 153), (5000, 153)]
)
def test_the_walk_starts_at_a_size_that_depends_on_the_number_of_cells_alone(n, start):
    assert [cells_needed(0.95, 0.95, errors) for errors in (1, 2, 3)] == [93, 124, 153]
    promise = walk(*cells([False] * 10 + [True] * (n - 10)), 0.95, 0.95)
    assert promise.reason.startswith(f"of the {start} most confident")


def test_ties_stand_or_fall_together():
    confidence = np.repeat([0.9, 0.8], [40, 60])
    all_right = walk(confidence, np.ones(100, dtype=bool), 0.95, 0.95)
    assert (all_right.accepted, all_right.threshold) == (100, 0.8), (
        "40 are too few to start with, so the tie joins them"
    )
    right = np.ones(200, dtype=bool)
    right[150] = right[170] = right[171] = right[180] = right[190] = False
    confidence = np.repeat([0.9, 0.8], [100, 100])
    promise = walk(confidence, right, 0.95, 0.95)
    assert (promise.accepted, promise.threshold) == (100, 0.9)
    assert (confidence >= promise.threshold).sum() == promise.accepted


def test_a_promise_does_not_depend_on_the_order_of_the_cells():
    rng = np.random.default_rng(1)
    confidence = rng.integers(50, 100, 800) / 100
    right = rng.random(800) < confidence**0.1
    order = rng.permutation(800)
    assert walk(confidence, right, 0.9, 0.95) == walk(confidence[order], right[order], 0.9, 0.95)


def precision_above(confidence: np.ndarray) -> np.ndarray:
    """The chance of being right at each confidence in the simulations below: sinks slowly through the target."""
    return 1.0 - 0.2 * (1 - confidence)


AT_MOST = 0.05 + 3 * np.sqrt(0.05 * 0.95 / 600)
"""Five percent of 600 repetitions, and the noise of counting them."""


@pytest.mark.parametrize("levels", [None, 12], ids=["all different", "with ties"])
@pytest.mark.parametrize("n", [400, 1500])
def test_the_promise_is_broken_in_at_most_five_percent_of_repetitions(n, levels):
    """True precision above the chosen threshold, known by construction, against the target promised with 95 %."""
    rng = np.random.default_rng([n, levels or 0])
    grid = (np.arange(200_000) + 0.5) / 200_000 if levels is None else (np.arange(levels) + 1) / levels
    above = np.cumsum(precision_above(grid)[::-1])[::-1] / np.arange(len(grid), 0, -1)  # mean at or above each
    broken = made = 0
    for _ in range(600):
        confidence = grid[rng.integers(0, len(grid), n)]
        promise = walk(confidence, rng.random(n) < precision_above(confidence), 0.95, 0.95)
        if promise.threshold is not None:
            made += 1
            broken += above[np.searchsorted(grid, promise.threshold)] < 0.95
    assert made > 60, "promising nothing would keep every promise"
    assert broken / 600 <= AT_MOST


@pytest.mark.parametrize(("n", "levels"), [(59, 1), (150, 6), (700, 1), (700, 6), (700, 1000)])
def test_a_precision_just_below_the_target_is_promised_in_at_most_five_percent(n, levels):
    """The hardest case: confidence says nothing, so whatever is promised is broken."""
    rng = np.random.default_rng([n, levels])
    made = sum(
        walk(rng.integers(0, levels, n) / levels, rng.random(n) < 0.9499, 0.95, 0.95).threshold is not None
        for _ in range(600)
    )
    assert made / 600 <= AT_MOST


def test_searching_for_the_best_prefix_would_break_it_more_often():
    """Why the walk stops: the same simulation, with the longest prefix that passes."""
    rng = np.random.default_rng(3)
    repetitions, n = 300, 600
    broken = walked = 0
    for _ in range(repetitions):
        confidence = np.sort(rng.random(n))[::-1]
        right = rng.random(n) < precision_above(confidence)
        k = np.arange(59, n + 1)
        passing = k[stats.beta.ppf(0.05, np.cumsum(right)[58:], k - np.cumsum(right)[58:] + 1) >= 0.95]
        promise = walk(confidence, right, 0.95, 0.95)
        broken += len(passing) > 0 and precision_above(np.linspace(confidence[passing[-1] - 1], 1, 1000)).mean() < 0.95
        walked += (
            promise.threshold is not None and precision_above(np.linspace(promise.threshold, 1, 1000)).mean() < 0.95
        )
    assert broken > walked


def temperature(logits: list[np.ndarray], right: list[np.ndarray]) -> float:
    return fit_temperatures({"brand": (logits, right)}, lambda _: cross_entropy)["brand"]


def answers(rows: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Logits (rows, 5) whose softmax is the truth, and right answers drawn from it."""
    logits = rng.normal(0, 1, (rows, 5)) * 2
    chance = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return logits, (chance.cumsum(1) > rng.random((rows, 1))).argmax(1)


def test_temperature_cools_the_overconfident_and_warms_the_timid():
    logits, right = answers(4000, np.random.default_rng(0))
    assert temperature([logits.astype(np.float32)], [right]) == pytest.approx(1, abs=0.1)
    assert temperature([3 * logits.astype(np.float32)], [right]) == pytest.approx(3, abs=0.3)
    assert temperature([logits.astype(np.float32) / 2], [right]) == pytest.approx(0.5, abs=0.05)


def test_temperature_moves_little_where_hardly_anything_is_known():
    assert temperature([np.array([[5.0, 0.0]] * 2)], [np.ones(2, dtype=int)]) < 2
    assert temperature([], []) == pytest.approx(1, abs=0.01)


def test_an_attribute_of_few_cells_has_nearly_the_temperature_of_all_and_one_of_many_its_own():
    rng = np.random.default_rng(1)
    much, few, other = answers(3000, rng), answers(4, rng), answers(1500, rng)
    scores = {name: ([scale * logits], [right]) for name, (logits, right), scale in
              (("much", much, 2.0), ("few", few, 2.0), ("other", other, 1.0))}  # fmt: skip
    scores["none"] = ([], [])
    found = fit_temperatures(scores, lambda _: cross_entropy)
    assert found["much"] == pytest.approx(2, abs=0.2)
    assert found["other"] == pytest.approx(1, abs=0.15)
    assert found["other"] < found["none"] < found["much"]
    assert found["few"] == pytest.approx(found["none"], rel=0.2)
