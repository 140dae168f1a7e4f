"""Which cells are hidden, and what is hidden with them."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_catalog import SCHEMA, catalog, with_gaps

from attrgan.evaluation import hiding
from attrgan.lake.cells import to_frame
from attrgan.schema import Schema

NAMES = list(SCHEMA.attributes)
QUANTITY, UNIT, PRICE = (NAMES.index(n) for n in ("quantity", "unit", "price"))


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return to_frame(with_gaps(catalog(300), 0.3), SCHEMA)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("passes", [1, 2, 3, 5])
def test_every_known_cell_is_hidden_exactly_once_and_nothing_unknown_is_scored(rows, seed, passes):
    known = hiding.known_cells(rows, SCHEMA)
    masks = list(hiding.each_once(known, SCHEMA, np.random.default_rng(seed), passes))
    np.testing.assert_array_equal(sum((m.cells & known).astype(int) for m in masks), known.astype(int))


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_that_holds_for_any_schema_and_any_known_cells(data):
    n = data.draw(st.integers(1, 6))
    names = [f"a{i}" for i in range(n)]
    ties = {name: data.draw(st.lists(st.sampled_from(names), max_size=2)) for name in names}
    schema = Schema.parse(
        {
            "id": "i",
            "attributes": {k: {"kind": "categorical", "derived_with": sorted({*v} - {k})} for k, v in ties.items()},
        }
    )
    known = np.array(data.draw(st.lists(st.lists(st.booleans(), min_size=n, max_size=n), min_size=1, max_size=8)))
    masks = list(hiding.each_once(known, schema, np.random.default_rng(data.draw(st.integers(0, 99)))))
    np.testing.assert_array_equal(sum((m.cells & known).astype(int) for m in masks), known.astype(int))
    for mask in masks:
        for a, name in enumerate(names):
            for other in schema.hidden_together[name]:
                np.testing.assert_array_equal(mask.cells[:, a], mask.cells[:, names.index(other)])


def masks_of_every_kind(rows: pd.DataFrame, known: np.ndarray):
    rng = np.random.default_rng(4)
    yield from hiding.each_once(known, SCHEMA, rng)
    for missing in ("mcar", "mar", "mnar"):
        yield hiding.at_rate(rows, SCHEMA, rng, 0.3, missing)


def test_columns_that_give_one_another_away_are_hidden_together(rows):
    known = hiding.known_cells(rows, SCHEMA)
    for mask in masks_of_every_kind(rows, known):
        np.testing.assert_array_equal(mask.cells[:, QUANTITY], mask.cells[:, UNIT])
        np.testing.assert_array_equal(mask.groups["sales"], mask.cells[:, PRICE])
        assert not mask.groups["reviews"].any()
        assert mask.cells.any()
    for seed in range(5):
        mask = hiding.for_training(known, SCHEMA, np.random.default_rng(seed))
        both = known[:, QUANTITY] & known[:, UNIT]
        np.testing.assert_array_equal(mask.cells[both, QUANTITY], mask.cells[both, UNIT])
        assert mask.groups["sales"][mask.cells[:, PRICE]].all()
        assert not (mask.cells & ~known).any()


def test_a_tie_holds_both_ways_and_through_others_with_their_sequences():
    schema = Schema.parse({
        "id": "i",
        "sequences": {"s": {"columns": {"t": "numeric"}}},
        "attributes": {
            "a": {"kind": "numeric", "derived_with": ["b"]},
            "b": {"kind": "numeric", "derived_with": ["t"]},
            "c": {"kind": "numeric", "derived_with": ["b"]},
            "d": {"kind": "numeric"},
        },
    })  # fmt: skip
    for hidden in range(3):
        mask = hiding.mask_of(np.eye(4, dtype=bool)[[hidden]], schema)
        assert mask.cells.tolist() == [[True, True, True, False]]
        assert mask.groups["s"].tolist() == [True]
    mask = hiding.mask_of(np.array([[False, False, False, True]]), schema)
    assert mask.cells.tolist() == [[False, False, False, True]]
    assert mask.groups["s"].tolist() == [False]


@pytest.mark.parametrize("missing", ["mcar", "mar", "mnar"])
@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.9])
def test_however_cells_go_missing_the_mean_rate_is_the_same(missing, rate):
    rng = np.random.default_rng(7)
    n = 20_000
    frame = pd.DataFrame({
        "i": [str(i) for i in range(n)],
        "a": pd.Series(rng.choice(["x", "y", "z"], n, p=[0.8, 0.15, 0.05]), dtype=object).where(rng.random(n) > 0.3),
        "b": np.where(rng.random(n) > 0.5, rng.random(n), np.nan),
        "c": pd.Series(rng.choice([f"v{i}" for i in range(300)], n), dtype=object),
    })  # fmt: skip
    kinds = {"a": "categorical", "b": "numeric", "c": "open"}
    schema = Schema.parse({"id": "i", "attributes": {k: {"kind": v} for k, v in kinds.items()}})
    known = hiding.known_cells(frame, schema)
    hidden = hiding.at_rate(frame, schema, np.random.default_rng(1), rate, missing).cells
    assert not (hidden & ~known).any()
    for column in range(3):
        share = hidden[:, column].sum() / known[:, column].sum()
        assert share == pytest.approx(rate, rel=0.05), (missing, column)


def test_missing_at_random_prefers_items_that_miss_others_and_not_at_random_prefers_rare_and_large_values():
    rng = np.random.default_rng(7)
    n = 20_000
    frame = pd.DataFrame({
        "i": [str(i) for i in range(n)],
        "a": pd.Series(rng.choice(["x", "y"], n, p=[0.9, 0.1]), dtype=object),
        "b": np.where(rng.random(n) > 0.5, rng.random(n), np.nan),
    })  # fmt: skip
    schema = Schema.parse({"id": "i", "attributes": {"a": {"kind": "categorical"}, "b": {"kind": "numeric"}}})
    mar = hiding.at_rate(frame, schema, np.random.default_rng(1), 0.3, "mar").cells[:, 0]
    assert mar[frame["b"].isna()].mean() > 1.5 * mar[frame["b"].notna()].mean()
    mnar = hiding.at_rate(frame, schema, np.random.default_rng(1), 0.3, "mnar").cells
    assert mnar[frame["a"] == "y", 0].mean() > 1.5 * mnar[frame["a"] == "x", 0].mean()
    large = frame["b"] > 0.8
    assert mnar[large, 1].mean() > 1.5 * mnar[frame["b"] < 0.2, 1].mean()


def test_training_hides_something_known_in_every_item_that_knows_anything(rows):
    known = hiding.known_cells(rows, SCHEMA)
    hidden = hiding.for_training(known, SCHEMA, np.random.default_rng(0)).cells
    some = (hidden & known).any(1).sum() / known.any(1).sum()
    everything = ((hidden == known).all(1) & known.any(1)).mean()
    assert some > 0.9
    assert 0.2 < everything < 0.4
