"""The simulation behind the promise: what it counts is what it says, and the promise is kept in it."""

import numpy as np
import pytest

from benchmarks.promise_simulated import (
    TARGET,
    World,
    broken_and_coverage,
    broken_of_many,
    empirical,
    pool_broken,
    shift_broken,
    worlds,
)

REPETITIONS = 150
AT_MOST = 0.05 + 3 * np.sqrt(0.05 * 0.95 / REPETITIONS)


def test_precision_and_coverage_above_a_threshold_are_those_of_the_world():
    world = World(np.array([0.2, 0.5, 0.5, 0.9]), np.array([0.0, 0.6, 0.8, 1.0]))
    assert world.above(0.5) == (pytest.approx(0.8), 0.75)
    assert world.above(0.9) == (1.0, 0.25)
    assert world.oracle == 0.25


def test_the_empirical_threshold_is_the_largest_prefix_that_looks_good_enough():
    right = np.array([True] * 19 + [False] + [True] * 20 + [False] * 10)
    confidence = np.linspace(0.99, 0.5, 50)
    assert empirical(confidence, right) == confidence[40], "39 of 41"
    assert empirical(confidence, np.zeros(50, bool)) is None


@pytest.mark.parametrize("name", worlds())
@pytest.mark.parametrize("n", [59, 600])
def test_in_no_world_is_the_promise_broken_in_more_than_five_percent(name, n):
    found = broken_and_coverage(worlds()[name], n, REPETITIONS)
    assert found["walk"][0] <= AT_MOST
    assert found["empirical"][0] > 0.3, "the peer on the same draws"


def test_the_surer_a_world_the_more_is_filled_and_never_more_than_an_oracle_would():
    sure, less = (worlds()[f"calibrated, {name} sure"] for name in ("most are", "few are"))
    coverage = [broken_and_coverage(world, 1000, 50)["walk"][1] for world in (sure, less)]
    assert coverage[0] > coverage[1] > 0
    assert coverage[0] < sure.oracle
    assert sure.above(1 - sure.oracle)[1] <= 1


def test_of_many_attributes_no_more_promises_fail_than_their_number_times_five_percent():
    made, broken, most = broken_of_many(40)
    assert 1 < made < 20
    assert broken <= 20 * 0.05
    assert most <= 5, "six of twenty by chance: once in three thousand catalogs"


def test_the_promise_of_a_pool_is_kept_though_a_member_may_be_below_it():
    broken, coverage, member = pool_broken(230, REPETITIONS)
    assert broken <= AT_MOST
    assert coverage > 0.1
    assert member < TARGET


def test_shifted_data_break_the_promise_unless_the_cells_are_weighted():
    found = shift_broken(1000, REPETITIONS)
    assert found["equal weights"] > 0.3
    assert found["weighted"] <= AT_MOST
