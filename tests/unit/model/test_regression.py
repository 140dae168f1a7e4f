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


def titles(rows: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Titles of three words, and the sum of what the words are worth."""
    rng = np.random.default_rng(seed)
    chosen = [rng.choice(list(WORDS), 3, replace=False) for _ in range(rows)]
    frame = pd.DataFrame({"i": range(rows), "t": [" ".join(words) for words in chosen]}).astype(object)
    return frame, np.array([[sum(WORDS[w] for w in words)] for words in chosen])


def items(rows: int, seed: int) -> tuple[pa.Table, np.ndarray]:
    """Features of such titles, and their numbers."""
    frame, numbers = titles(rows, seed)
    return cache.encode(frame, SCHEMA), numbers


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
    found, said = TextRegression.fit(features, noise)
    assert not found.weight.any()
    assert not said.any()


def test_its_own_number_never_reaches_a_row():
    frame, numbers = titles(300, seed=0)
    frame.loc[[0, 7], "t"] += " qqqqvvvv"  # a word that no row but these two has, of which one knows its number
    numbers[7] = np.nan
    features, changed = cache.encode(frame, SCHEMA), numbers.copy()
    changed[0] += 6
    (before, left_out), (after, left_out_after) = (TextRegression.fit(features, of) for of in (numbers, changed))
    assert after.say(features)[0, 0] > before.say(features)[0, 0] + 1
    assert left_out_after[0, 0] == pytest.approx(left_out[0, 0], abs=0.1)


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
    assert found.say(features.slice(0, 0)).shape == (0, 1)
    for rows in (0, 30):
        found, said = TextRegression.fit(features.slice(0, rows), np.zeros((rows, 0)))
        assert said.shape == (rows, 0)
        assert found.say(features).shape == (30, 0)


def test_of_many_rows_evenly_spread_ones_are_learned_from(monkeypatch):
    features, numbers = items(400, seed=0)
    whole, _ = TextRegression.fit(features, numbers)
    monkeypatch.setattr(regression, "MOST_ROWS", 100)
    monkeypatch.setattr(regression, "CHUNK", 64)
    found, said = TextRegression.fit(features, numbers)
    assert not np.allclose(found.weight, whole.weight)
    unused = np.setdiff1d(np.arange(400), np.linspace(0, 399, 100).astype(int))
    assert np.array_equal(said[unused], found.say(features)[unused])
    assert correlation(said, numbers) > 0.95


def test_a_regression_is_what_it_was_after_a_round_through_arrays():
    features, numbers = items(80, seed=0)
    found, _ = TextRegression.fit(features, numbers)
    assert np.array_equal(TextRegression(**found.arrays()).say(features), found.say(features))
