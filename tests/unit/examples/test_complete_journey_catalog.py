"""What lands on which date: a few hundred real products and all their sales."""

from datetime import date

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from attrgan.schema import Schema
from examples.complete_journey import catalog
from examples.complete_journey.places import SCHEMA

DATES = (date(2017, 10, 31), date(2017, 11, 1), date(2017, 11, 30))
PRODUCTS = 600


@pytest.fixture(scope="module")
def sales() -> pd.DataFrame:
    return catalog.read_sales(catalog.read_products(PRODUCTS)["product_id"])


@pytest.fixture(scope="module")
def landed(tmp_path_factory) -> dict[date, pd.DataFrame]:
    landing = tmp_path_factory.mktemp("landing")
    rows = catalog.build(landing, DATES, PRODUCTS)
    frames = {dt: pq.read_table(landing / f"dt={dt}" / "products.parquet").to_pandas() for dt in DATES}
    assert rows == {str(dt): len(frame) for dt, frame in frames.items()}
    return frames


def test_every_product_arrives_and_only_those_of_the_sample(landed):
    arrived = set().union(*(frame["product_id"] for frame in landed.values()))
    sampled = set(catalog.read_products(PRODUCTS)["product_id"])
    assert arrived <= sampled
    assert len(arrived) > 0.95 * PRODUCTS  # the rest is first sold after the last date


def test_later_partitions_bring_new_and_changed_products(landed):
    first, last = set(landed[DATES[0]]["product_id"]), set(landed[DATES[-1]]["product_id"])
    assert last - first, "no new product"
    assert last & first, "no changed product"
    both = sorted(last & first)
    before = landed[DATES[0]].set_index("product_id").loc[both, "seq_week"].map(len)
    after = landed[DATES[-1]].set_index("product_id").loc[both, "seq_week"]
    assert not before.equals(after.map(len))


def test_a_later_partition_holds_exactly_the_products_sold_since_the_one_before(landed, sales):
    since = sales[(sales["day"] > pd.Timestamp(DATES[1])) & (sales["day"] <= pd.Timestamp(DATES[2]))]
    assert set(landed[DATES[2]]["product_id"]) == set(since["product_id"])


@pytest.mark.parametrize("dt", DATES)
def test_nothing_after_the_date_leaks_into_a_partition(landed, sales, dt):
    frame = landed[dt].set_index("product_id")
    known = sales[sales["day"] <= pd.Timestamp(dt)].groupby("product_id")
    for product, rows in known:
        if product in frame.index:
            assert list(frame.loc[product, "seq_price"]) == list(rows["price"].tail(catalog.STEPS))
            assert list(frame.loc[product, "seq_week"]) == list(rows["week"].tail(catalog.STEPS))
    unsold = frame.loc[~frame.index.isin(known.groups)]
    assert unsold["list_price"].isna().all()
    assert unsold["seq_price"].isna().all()


def test_price_and_sequences_are_known_together_and_aligned(landed):
    for frame in landed.values():
        known = frame["list_price"].notna()
        assert (known == frame["seq_price"].notna()).all()
        steps = frame.loc[known, ["seq_week", "seq_price", "seq_qty"]].map(len)
        assert (steps.nunique(axis=1) == 1).all()
        assert steps["seq_week"].between(1, catalog.STEPS).all()


@pytest.mark.parametrize(
    ("prices", "price"), [([2.0, 1.0, 1.0], 1.0), ([1.0, 2.0, 2.0, 1.0], 1.0), ([1.0, 2.0], 2.0), ([3.0], 3.0)]
)
def test_the_list_price_is_the_most_frequent_one_and_of_a_tie_the_most_recent(prices, price):
    assert catalog.usual(prices) == price


def test_shelf_prices_are_before_discounts_and_of_one_piece(sales):
    row = pq.read_table(
        catalog._source("transactions"), filters=[("basket_id", "=", 31198705046), ("product_id", "=", 1053875)]
    ).to_pylist()[0]
    assert (row["quantity"], row["sales_value"], row["retail_disc"]) == (2, 2.78, 0.8)
    found = catalog.read_sales(pd.Series([1053875]))
    assert found.iloc[0]["price"] == 1.79
    assert (found["quantity"] > 0).all()


def test_what_the_source_has_wrong_arrives_as_it_is():
    products = catalog.read_products(catalog.PRODUCTS)
    assert (products["package_qty"] > 900_000).sum() > 10


def test_partitions_have_the_columns_of_the_schema():
    schema = Schema.load(SCHEMA)
    assert set(schema.columns) == set(catalog.SCHEMA.names)
    assert catalog.SCHEMA.field("product_id").type == pa.int64()
    assert set(schema.hidden_together["package_unit"]) == {"package_unit", "package_qty"}


def test_the_demo_lands_at_least_twenty_thousand_products():
    assert catalog.PRODUCTS >= 20_000
    assert len(catalog.read_products(catalog.PRODUCTS)) == catalog.PRODUCTS
