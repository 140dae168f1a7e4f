"""Weights say how like the empty cells of an attribute its known ones are."""

import numpy as np
import pandas as pd
import pytest

from attrgan.evaluation.missingness import LEAST_EMPTY, weights
from attrgan.schema import Schema

SCHEMA = Schema.parse({
    "id": "sku", "category": "shop", "text": ["title"],
    "sequences": {"sales": {"columns": {"week": "time"}}},
    "attributes": {
        "brand": {"kind": "categorical"}, "colour": {"kind": "categorical"},
        "size": {"kind": "numeric", "derived_with": ["unit"]}, "unit": {"kind": "categorical"},
    },
})  # fmt: skip
ROWS = 2000


def catalog(rng: np.random.Generator) -> pd.DataFrame:
    return pd.DataFrame({
        "sku": [f"p{i}" for i in range(ROWS)], "shop": rng.choice(["old", "new"], ROWS),
        "title": [None if rng.random() < 0.1 else "x" * int(rng.integers(1, 60)) for _ in range(ROWS)],
        "week": [None if rng.random() < 0.3 else list(range(int(rng.integers(1, 9)))) for _ in range(ROWS)],
        "brand": pd.Series(["Acme"] * ROWS, dtype=object), "colour": pd.Series(["red"] * ROWS, dtype=object),
        "size": 1.0, "unit": pd.Series(["g"] * ROWS, dtype=object),
    })  # fmt: skip


def weighed(frame: pd.DataFrame, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The known rows of an attribute and their weights."""
    ask = np.flatnonzero(frame[name].notna())
    empty = frame[name].isna().to_numpy()
    return ask, weights(frame, SCHEMA, name, empty, np.arange(ROWS), ask)


def test_known_cells_of_items_like_those_with_empty_cells_weigh_more():
    rng = np.random.default_rng(0)
    frame = catalog(rng)
    frame.loc[rng.random(ROWS) < np.where(frame["shop"] == "old", 0.6, 0.1), "brand"] = None
    ask, weight = weighed(frame, "brand")
    old = (frame["shop"] == "old").to_numpy()[ask]
    assert weight.mean() == pytest.approx(1)
    assert weight[old].mean() / weight[~old].mean() == pytest.approx((0.6 / 0.4) / (0.1 / 0.9), rel=0.25)


def test_weighted_known_cells_have_the_shares_of_the_empty_ones():
    rng = np.random.default_rng(1)
    frame = catalog(rng)
    frame.loc[rng.random(ROWS) < 0.5, "colour"] = None
    frame.loc[rng.random(ROWS) < np.where(frame["colour"].isna(), 0.5, 0.15), "brand"] = None
    ask, weight = weighed(frame, "brand")
    without = frame["colour"].isna().to_numpy()
    among_empty = without[frame["brand"].isna()].mean()
    assert abs(without[ask].mean() - among_empty) > 0.2
    assert (weight * without[ask]).sum() / weight.sum() == pytest.approx(among_empty, abs=0.05)


def test_cells_missing_completely_at_random_weigh_about_alike():
    rng = np.random.default_rng(2)
    frame = catalog(rng)
    frame.loc[rng.random(ROWS) < 0.3, "brand"] = None
    assert weighed(frame, "brand")[1].std() < 0.25


def test_what_is_hidden_with_an_attribute_tells_nothing_of_it():
    rng = np.random.default_rng(3)
    frame = catalog(rng)
    gone = rng.random(ROWS) < 0.4
    frame.loc[gone, "size"] = np.nan
    frame.loc[gone, "unit"] = None
    assert weighed(frame, "size")[1].std() < 0.25, "the unit would have told which sizes are missing"


def test_where_hardly_anything_is_missing_all_cells_weigh_alike():
    frame = catalog(np.random.default_rng(4))
    frame.loc[: LEAST_EMPTY - 2, "brand"] = None
    assert (weighed(frame, "brand")[1] == 1).all()


def test_rows_where_the_attribute_does_not_apply_are_neither_known_nor_empty():
    rng = np.random.default_rng(5)
    frame = catalog(rng)
    old = (frame["shop"] == "old").to_numpy()
    frame.loc[old, "brand"] = None  # the old shop has no brands: nothing to complete there
    frame.loc[~old & (rng.random(ROWS) < 0.3), "brand"] = None
    ask = np.flatnonzero(frame["brand"].notna())
    weight = weights(frame, SCHEMA, "brand", frame["brand"].isna().to_numpy() & ~old, np.arange(ROWS), ask)
    assert weight.std() < 0.25
