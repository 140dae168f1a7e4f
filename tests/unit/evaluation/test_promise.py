"""Promises of thin attributes together and of cells that do not count alike: kept as often as they say."""

import numpy as np
import pandas as pd
import pytest

from attrgan.errors import InputError
from attrgan.evaluation.promise import LEAST_CELLS, as_missing, calibrate, kept, one_per_row, promises
from attrgan.schema import Schema

REPETITIONS = 200
AT_MOST = 0.05 + 3 * np.sqrt(0.05 * 0.95 / REPETITIONS)
"""Five percent of the repetitions, and the noise of counting them."""


def schema(**attributes: dict) -> Schema:
    return Schema.parse({"id": "sku", "attributes": {n: {"kind": "categorical"} | a for n, a in attributes.items()}})


def cells(n: int, rng: np.random.Generator, right: float = 1.0, **columns) -> pd.DataFrame:
    confidence = rng.uniform(0.5, 1, n)
    return pd.DataFrame({"row": np.arange(n), "confidence": confidence, "right": rng.random(n) < right} | columns)


def test_thin_attributes_that_are_right_are_promised_together_and_say_so():
    rng = np.random.default_rng(0)
    thin = {name: cells(40, rng).assign(row=np.arange(40) + 40 * i) for i, name in enumerate("abc")}
    made = promises(thin, schema(a={}, b={}, c={}), rng)
    assert {p.threshold for p in made.values()} == {made["a"].threshold} != {None}
    assert made["b"].pool == ["a", "b", "c"]
    assert (made["b"].cells, made["b"].promised_precision) == (120, 0.95)


def test_an_attribute_with_enough_cells_is_promised_alone():
    rng = np.random.default_rng(0)
    made = promises({"a": cells(80, rng), "b": cells(40, rng), "c": cells(40, rng)}, schema(a={}, b={}, c={}), rng)
    assert made["a"].pool is None
    assert made["a"].threshold is not None
    assert made["b"].pool == ["b", "c"]


@pytest.mark.parametrize(
    "other",
    [{"target_precision": 0.9}, {"mode": "suggest"}, {"mode": "off"}],
    ids=["another target", "suggestions only", "switched off"],
)
def test_only_attributes_of_one_target_that_may_be_filled_are_pooled(other):
    rng = np.random.default_rng(0)
    few = 25  # fewer than the 29 that a target of .9 needs
    thin = {name: cells(few, rng).assign(row=np.arange(few) + few * i) for i, name in enumerate("abc")}
    made = promises(thin, schema(a={}, b={}, c=other), rng)
    assert made["a"].pool == ["a", "b"]
    assert made["c"].pool is None
    assert made["c"].threshold is None


def test_an_attribute_of_which_hardly_anything_is_known_joins_no_pool():
    rng = np.random.default_rng(0)
    made = promises({"a": cells(50, rng), "b": cells(50, rng), "c": cells(LEAST_CELLS - 1, rng)},
                    schema(a={}, b={}, c={}, d={}), rng)  # fmt: skip
    assert made["a"].pool == ["a", "b"]
    assert made["c"].reason == f"needs 59 calibration cells, has {LEAST_CELLS - 1}"
    assert made["d"].reason == "needs 59 calibration cells, has 0"


def test_a_pool_that_is_thin_itself_fills_nothing_and_says_why():
    rng = np.random.default_rng(0)
    made = promises({"a": cells(30, rng), "b": cells(25, rng)}, schema(a={}, b={}), rng)
    assert made["b"].threshold is None
    assert made["b"].reason.startswith("needs 59 calibration cells, has 25; all 2 thin attributes have ")


def test_a_pool_takes_at_most_one_cell_of_an_item_and_every_cell_as_often():
    rows = np.array([0, 0, 0, 1, 1, 2, 3, 3, 3, 4, 4, 4])
    rng = np.random.default_rng(1)
    draws = np.array([one_per_row(rows, rng) for _ in range(1500)])
    assert all(np.bincount(rows[draw], minlength=5).max() <= 1 for draw in draws)
    assert np.abs(draws.mean(0) - 1 / 3).max() < 0.05
    assert not len(one_per_row(np.array([], int), rng))


def test_cells_are_kept_in_proportion_to_their_weight_and_the_heaviest_alike():
    rng = np.random.default_rng(2)
    weight = np.repeat([0.5, 1.0, 2.0, 40.0], [30, 30, 38, 2])
    share = np.mean([kept(weight, rng) for _ in range(2000)], axis=0)
    assert np.abs(share - np.minimum(weight / 2, 1)).max() < 0.06
    assert kept(np.ones(5), rng).all()
    assert not len(kept(np.zeros(0), rng))


def shifted(rng: np.random.Generator, n: int) -> pd.DataFrame:
    """Known cells are mostly of easy items, empty ones of hard items, where the same confidence is less right."""
    hard = rng.random(n) < 0.15
    confidence = rng.uniform(0.6, 1, n)
    right = rng.random(n) < np.where(hard, 0.88, 0.998) - 0.1 * (1 - confidence)
    return pd.DataFrame(
        {
            "row": np.arange(n),
            "confidence": confidence,
            "right": right,
            "weight": np.where(hard, 0.65 / 0.15, 0.35 / 0.85),
        }
    )


def precision_of_empty(threshold: float) -> float:
    """True precision of empty cells, two thirds of them hard, at or above a threshold."""
    return 0.65 * 0.88 + 0.35 * 0.998 - 0.1 * (1 - (threshold + 1) / 2)


def test_weighted_cells_keep_the_promise_of_what_is_missing_where_equal_ones_break_it():
    rng = np.random.default_rng(4)
    broken = {True: 0, False: 0}
    for _ in range(REPETITIONS):
        found = shifted(rng, 900)
        for weighted in broken:
            promise = promises({"a": found}, schema(a={}), rng, weighted=weighted)["a"]
            broken[weighted] += promise.threshold is not None and precision_of_empty(promise.threshold) < 0.95
    assert broken[True] / REPETITIONS <= AT_MOST
    assert broken[False] / REPETITIONS > 0.5


def test_weights_cost_cells_and_the_promise_says_how_many_are_left():
    rng = np.random.default_rng(5)
    _, found = calibrate({"a": shifted(rng, 900)}, schema(a={}), seed=0, missing="observed")
    assert found["a"]["known_cells"] == 900
    assert 100 < found["a"]["cells"] < 400
    assert found["a"]["under"]["mcar"]["cells"] == 900
    assert found["a"]["under"]["observed"]["accepted"] == found["a"]["accepted"]
    assert found["a"]["missing"] == "observed"


def test_the_cells_accepted_are_those_of_the_walk_whatever_the_confidences_are_mapped_to():
    rng = np.random.default_rng(6)
    confidence = np.round(rng.beta(8, 1, 900), 2)
    right = rng.random(900) < confidence**0.2
    found = {"a": pd.DataFrame({"row": np.arange(900), "confidence": confidence, "right": right})}
    alone = promises(found, schema(a={}), rng)["a"]
    maps, told = calibrate(found, schema(a={}), seed=0)
    reported = maps["a"](confidence)
    assert alone.threshold is not None
    assert np.array_equal(reported >= told["a"]["threshold"], confidence >= alone.threshold)
    assert (reported >= told["a"]["threshold"]).sum() == told["a"]["accepted"]
    assert told["a"]["coverage"] == pytest.approx(told["a"]["accepted"] / 900)


def test_what_a_promise_is_for_is_one_of_two_words():
    assert as_missing("observed") == "observed"
    with pytest.raises(InputError, match="--calibrate-for real is not known: expected mcar or observed"):
        as_missing("real")
