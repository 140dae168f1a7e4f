"""What texts say of numbers: right for new items, and of a training row only what the others know."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from attrgan.features import cache
from attrgan.model import regression
from attrgan.model.regression import TextRegression
from attrgan.schema import Schema

SCHEMA = Schema.parse(
    {"id": "i", "text": ["t"], "encoders": {"language": None}, "attributes": {"n": {"kind": "numeric"}}}
)
WORDS = {"alpha": 2.0, "bravo": -1.0, "charlie": 0.5, "delta": -2.0, "echo": 1.0, "golf": 0.0}


def items(rows: int, seed: int) -> tuple[pa.Table, np.ndarray]:
    """Features of titles of three words, and the sum of what the words are worth."""
    rng = np.random.default_rng(seed)
    chosen = [rng.choice(list(WORDS), 3, replace=False) for _ in range(rows)]
    frame = pd.DataFrame({"i": range(rows), "t": [" ".join(words) for words in chosen]}).astype(object)
    return cache.encode(frame, SCHEMA), np.array([[sum(WORDS[w] for w in words)] for words in chosen])


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def test_new_items_are_said_rightly_and_about_standard_normal():
    features, numbers = items(400, seed=0)
    found, said = TextRegression.fit(features, numbers / numbers.std())
    new, truth = items(100, seed=1)
    assert correlation(found.say(new), truth) > 0.98
    assert correlation(said, numbers) > 0.98
    assert found.say(new).std() == pytest.approx(1, abs=0.2)


def test_of_noise_a_training_row_hears_nothing():
    features, numbers = items(400, seed=0)
    noise = np.random.default_rng(2).normal(size=numbers.shape)
    _, said = TextRegression.fit(features, noise)
    assert abs(correlation(said, noise)) < 0.15 if said.std() else True


def test_its_own_number_never_reaches_a_row():
    features, numbers = items(60, seed=0)
    changed = numbers.copy()
    changed[0] += 5
    said, other = (TextRegression.fit(features, scores)[1] for scores in (numbers, changed))
    same_fold = np.arange(60) % regression.FOLDS == 0
    # what the others say of row 0 differs by a common factor at most: the number of steps and the scale
    assert correlation(said[same_fold], other[same_fold]) > 0.9
    assert other[0] < said[0] + 1


def test_items_without_text_are_not_spoken_of_and_company_changes_nothing():
    features, numbers = items(80, seed=0)
    found, _ = TextRegression.fit(features, numbers)
    frame = pd.DataFrame({"i": ["1", "2"], "t": [None, "alpha golf"]}, dtype=object)
    said = found.say(cache.encode(frame, SCHEMA))
    assert np.isnan(said[0, 0])
    assert said[1, 0] == found.say(cache.encode(frame.tail(1), SCHEMA))[0, 0]


def test_numbers_that_nobody_knows_and_no_rows_at_all_are_said_nothing_of():
    features, _ = items(30, seed=0)
    found, said = TextRegression.fit(features, np.full((30, 1), np.nan))
    assert not found.weight.any()
    assert not said.any()
    assert TextRegression.empty(2).say(features).shape == (30, 2)


def test_of_many_rows_evenly_spread_ones_are_learned_from(monkeypatch):
    monkeypatch.setattr(regression, "MOST_ROWS", 100)
    features, numbers = items(400, seed=0)
    _, said = TextRegression.fit(features, numbers)
    assert correlation(said, numbers) > 0.95


def test_a_regression_is_what_it_was_after_a_round_through_arrays():
    features, numbers = items(80, seed=0)
    found, _ = TextRegression.fit(features, numbers)
    assert np.array_equal(TextRegression(**found.arrays()).say(features), found.say(features))
