"""A catalog of four sound products, and what `validate` makes of a catalog."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from attrgan.config import Quality
from attrgan.lake import storage
from attrgan.lake.catalog import Catalog, Unreadable
from attrgan.lake.manifest import Result

LENIENT = Quality(max_quarantine_rate=1.0)


def catalog_of(columns: dict[str, Any], unreadable: list[Unreadable] | None = None) -> Catalog:
    table = pa.table(columns)
    rows = range(1, table.num_rows + 1)
    files = pa.array(["c.parquet"] * table.num_rows, pa.string())
    return Catalog(table, files, pa.array(rows, pa.int64()), unreadable or [])


def sound() -> dict[str, Any]:
    """Columns of four rows that no rule refuses."""
    return {
        "id": ["a", "b", "c", "d"],
        "title": ["red shirt", "blue shirt", None, "green coat"],
        "price": pa.array([1.5, None, 3.0, 4.0]),
        "colour": ["red", "blue", None, "n/a"],
        "tags": [["new"], None, ["new", "sale"], []],
        "weeks": [[1, 2], [1], None, []],
        "prices": [[1.0, 2.0], [1.0], None, []],
    }


@dataclass
class Outcome:
    """What `validate` returned and wrote."""

    result: Result
    folder: Path

    @property
    def valid(self) -> list[dict[str, Any]]:
        return list(pq.read_table(self.folder / "valid.parquet").to_pylist())

    @property
    def quarantine(self) -> list[dict[str, Any]]:
        return list(pq.read_table(self.folder / "quarantine.parquet").to_pylist())

    @property
    def report(self) -> dict[str, Any]:
        return dict(storage.read_json(self.folder / "validation.json"))

    @property
    def data_docs(self) -> str:
        return (self.folder / "data_docs" / "index.html").read_text(encoding="utf-8")
