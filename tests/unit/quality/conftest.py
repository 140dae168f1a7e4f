"""The schema of the sound catalog, and `validate` on a folder of the test."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from quality_catalogs import LENIENT, Outcome, catalog_of

from attrgan.config import Quality
from attrgan.lake.catalog import Catalog
from attrgan.quality.validation import validate
from attrgan.schema import Schema


@pytest.fixture
def schema() -> Schema:
    return Schema.parse(
        {
            "id": "id",
            "text": ["title"],
            "sequences": {"history": {"columns": {"weeks": "time", "prices": "numeric"}}},
            "attributes": {
                "price": {"kind": "numeric", "min": 1, "max": 10},
                "colour": {"kind": "categorical", "values": ["red", "blue"]},
                "tags": {"kind": "categorical", "multi": True, "values": ["new", "sale"]},
            },
        }
    )


@pytest.fixture
def run(schema: Schema, tmp_path: Path) -> Callable[..., Outcome]:
    """Validates columns (or a catalog) by the schema of the fixture, or by another."""

    def validated(
        data: dict[str, Any] | Catalog,
        quality: Quality = LENIENT,
        past: dict[str, float] | None = None,
        by: Schema | None = None,
    ) -> Outcome:
        catalog = data if isinstance(data, Catalog) else catalog_of(data)
        return Outcome(validate(catalog, by or schema, tmp_path, quality, past), tmp_path)

    return validated
