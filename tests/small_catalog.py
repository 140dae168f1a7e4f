"""A made-up catalog with every kind of column, in which everything can be known: what a title says is true."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from attrgan.features import image, language, pretrained
from attrgan.lake.cells import to_frame
from attrgan.model.generator import Size
from attrgan.schema import Schema
from attrgan.training.train import Options

SCHEMA = Schema.parse({
    "entity": "product",
    "id": "sku",
    "category": "department",
    "text": ["title", "description"],
    "sequences": {
        "sales": {"columns": {"week": "time", "paid": "numeric"}},
        "reviews": {"columns": {"review": "text"}},
    },
    "attributes": {
        "brand": {"kind": "open"},
        "colour": {"kind": "categorical"},
        "neckline": {"kind": "categorical"},
        "tags": {"kind": "categorical", "multi": True},
        "quantity": {"kind": "numeric", "derived_with": ["unit"]},
        "unit": {"kind": "categorical"},
        "price": {"kind": "numeric", "unit": "USD", "derived_with": ["week", "paid"]},
    },
})  # fmt: skip
TINY = Size(width=32, layers=1, heads=2, feed_forward=64)
OPTIONS = Options(epochs=2, size=TINY, refit=False)
COLOURS, UNITS, THINGS = ["red", "blue", "green", "grey"], ["ml", "g"], ["shirt", "dress", "kettle", "pan"]
_SYLLABLES = ["ka", "lo", "mi", "ru", "te", "zo", "ne", "vi", "sha", "dor", "bel", "fin"]


def brand_names(n: int, rng: np.random.Generator) -> list[str]:
    """n different words that could be brands."""
    names: dict[str, None] = {}
    while len(names) < n:
        names["".join(rng.choice(_SYLLABLES, 3)).capitalize()] = None
    return list(names)


def catalog(rows: int, seed: int = 0, brands: list[str] | None = None, prefix: str = "P") -> pa.Table:
    """Items whose title spells brand, thing, colour and size; clothes have a neckline, the others `n/a`."""
    rng = np.random.default_rng(seed)
    brands = brands or brand_names(60, rng)
    return pa.Table.from_pylist([_item(f"{prefix}{i:04d}", brands, rng) for i in range(rows)], _ARROW)


def _item(sku: str, brands: list[str], rng: np.random.Generator) -> dict[str, Any]:
    brand, colour, thing = (str(rng.choice(v)) for v in (brands, COLOURS, THINGS))
    worn = thing in ("shirt", "dress")
    quantity, unit = int(rng.choice([100, 250, 500, 750])), str(rng.choice(UNITS))
    price = {"shirt": 20.0, "dress": 60.0, "kettle": 35.0, "pan": 45.0}[thing] + int(rng.integers(0, 3))
    steps = int(rng.integers(0, 6))
    return {
        "sku": sku,
        "department": "Clothes" if worn else "Kitchen",
        "title": f"{brand} {thing} {colour} {quantity} {unit}",
        "description": None if rng.random() < 0.3 else f"A {colour} {thing}, made to last",
        "week": list(range(steps)) if steps else None,
        "paid": [price + i for i in range(steps)] if steps else None,
        "review": [f"nice {thing}"] * (steps // 2) or None,
        "brand": brand,
        "colour": colour,
        "neckline": str(rng.choice(["V", "crew"])) if worn else "n/a",
        "tags": ["new", thing] if rng.random() < 0.5 else [thing],
        "quantity": quantity,
        "unit": unit,
        "price": price,
    }


_ARROW = pa.schema([
    ("sku", pa.string()), ("department", pa.string()), ("title", pa.string()), ("description", pa.string()),
    ("week", pa.list_(pa.int64())), ("paid", pa.list_(pa.float64())), ("review", pa.list_(pa.string())),
    ("brand", pa.string()), ("colour", pa.string()), ("neckline", pa.string()), ("tags", pa.list_(pa.string())),
    ("quantity", pa.int64()), ("unit", pa.string()), ("price", pa.float64()),
])  # fmt: skip


def with_gaps(table: pa.Table, share: float = 0.2, seed: int = 1) -> pa.Table:
    """The same items with a share of their attributes unknown."""
    rng = np.random.default_rng(seed)
    for name in SCHEMA.attributes:
        i, gaps = table.column_names.index(name), rng.random(table.num_rows) < share
        cells = [None if gap else cell for gap, cell in zip(gaps, table[name].to_pylist(), strict=True)]
        table = table.set_column(i, table.schema.field(i), pa.array(cells, table.schema.field(i).type))
    return table


def frame(rows: int, seed: int = 0, **arguments: Any) -> pd.DataFrame:
    """The catalog as the model works on it."""
    return to_frame(catalog(rows, seed, **arguments), SCHEMA)


@contextmanager
def float32() -> Iterator[None]:
    """Encoders as on CPUs without bfloat16: what they say then hardly depends on the machine, nor on the batch."""
    import torch

    with pytest.MonkeyPatch.context() as alike:
        alike.setattr(pretrained, "precision", lambda: torch.float32)
        for encoder in (language, image):
            encoder.load.cache_clear()
        yield
    for encoder in (language, image):
        encoder.load.cache_clear()
