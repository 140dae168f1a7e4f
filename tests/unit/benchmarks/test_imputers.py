import dataclasses

import numpy as np
import pandas as pd
import pytest

from benchmarks import gain
from benchmarks.catalogs import PEERS
from benchmarks.scoring import score
from benchmarks.sets import DataSet
from benchmarks.tasks import Task, hide


def table(rows: int = 300) -> np.ndarray:
    """Four columns in [0, 1] that are all functions of one number."""
    x = np.random.default_rng(0).random(rows)
    return np.stack([x, 1 - x, x**2, (x + 1) / 2], 1)


def holed(cells: np.ndarray) -> np.ndarray:
    return np.where(np.random.default_rng(1).random(cells.shape) < 0.2, np.nan, cells)


@pytest.fixture
def task() -> Task:
    rows = pd.DataFrame(table(), columns=list("abcd")).assign(product_id=[str(i) for i in range(300)])
    given, truth = hide(rows, list("abcd"), np.random.default_rng(2), 0.2)
    return Task("made", DataSet("made", "mcar", numeric=tuple("abcd")), 0, given, given.copy(), truth)


def test_gain_leaves_visible_cells_and_fills_the_others_with_numbers_between_0_and_1() -> None:
    given = holed(table())
    filled = gain.impute(given, seed=0, iterations=20)
    there = ~np.isnan(given)
    assert (filled[there] == given[there]).all()
    assert ((filled >= 0) & (filled <= 1)).all()


def test_gain_learns_to_impute_better_than_the_mean() -> None:
    given, truth = holed(table()), table()
    missing = np.isnan(given)
    filled = gain.impute(given, seed=0, iterations=1500)
    mean = np.broadcast_to(np.nanmean(given, 0), given.shape)
    error = [float(np.sqrt(((guess - truth)[missing] ** 2).mean())) for guess in (filled, mean)]
    assert error[0] < 0.7 * error[1]


def test_a_seed_decides_what_gain_fills() -> None:
    given = holed(table(50))
    first, second, other = (gain.impute(given, seed=s, iterations=10) for s in (3, 3, 4))
    assert (first == second).all()
    assert (first != other).any()


@pytest.mark.parametrize("name", ["mean", "iterative-ridge", "iterative-extratrees", "missforest"])
def test_an_imputer_answers_every_missing_cell(name: str, task: Task) -> None:
    answers = PEERS[name].learn(task)()
    asked = task.truth.merge(answers, on=["product_id", "attribute"], suffixes=("", "_answered"))
    assert len(asked) == len(task.truth)
    assert np.isfinite(asked["value_answered"].astype(float)).all()


def test_rmse_is_taken_over_the_missing_cells_alone(task: Task) -> None:
    off = task.truth.assign(value=task.truth["value"].astype(float) + 0.1, confidence=np.nan)
    assert score(task, off)["summary"]["rmse"] == pytest.approx(0.1)
    half = dataclasses.replace(task, truth=task.truth.iloc[:10])
    assert score(half, off)["summary"]["cells"] == 10
