"""Rows in = valid + quarantined, whatever comes in."""

import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from quality_catalogs import catalog_of

from attrgan.config import Quality
from attrgan.errors import CatalogError
from attrgan.lake.catalog import Unreadable
from attrgan.quality.validation import validate
from attrgan.schema import Schema

SCHEMA = Schema.parse(
    {
        "id": "id",
        "sequences": {"s": {"columns": {"x": "time", "y": "numeric"}}},
        "attributes": {
            "price": {"kind": "numeric", "min": 0, "max": 100},
            "colour": {"kind": "categorical", "values": ["red", "blue"]},
        },
    }
)
words = st.one_of(
    st.none(), st.sampled_from(["a", "b", "red", "blue", " red", "n/a", "", "=1+1", "<b>"]), st.text(max_size=4)
)
prices = st.one_of(st.none(), st.floats(), st.sampled_from([0.0, 100.0, -0.0, 1e308]))
lists = st.one_of(st.none(), st.lists(st.integers(0, 3), max_size=2))
rows = st.tuples(words, prices, words, lists, lists, st.one_of(st.none(), st.booleans()))


@settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(rows, min_size=1, max_size=12), st.integers(0, 3))
def test_rows_in_are_valid_plus_quarantined_and_no_row_is_in_both(data, unreadable):
    names = ("id", "price", "colour", "x", "y", "_deleted")
    types = (pa.string(), pa.float64(), pa.string(), pa.list_(pa.int64()), pa.list_(pa.int64()), pa.bool_())
    columns = {n: pa.array(c, t) for n, c, t in zip(names, zip(*data, strict=True), types, strict=True)}
    columns["row"] = pa.array(range(1, len(data) + 1))
    catalog = catalog_of(columns, [Unreadable("u", i, "?") for i in range(unreadable)])
    with tempfile.TemporaryDirectory() as folder:
        try:
            counts = validate(catalog, SCHEMA, Path(folder), Quality()).counts
        except CatalogError:  # a column none of whose cells fits: nothing is written
            assert list(Path(folder).iterdir()) == []
            return
        valid = pq.read_table(Path(folder, "valid.parquet"))
        quarantine = pq.read_table(Path(folder, "quarantine.parquet"))
    assert counts["rows_in"] == len(data) + unreadable == valid.num_rows + quarantine.num_rows
    assert (counts["valid"], counts["quarantined"]) == (valid.num_rows, quarantine.num_rows)
    kept, aside = valid["row"].to_pylist(), [r for r in quarantine["row"].to_pylist() if r is not None]
    assert sorted(kept + aside) == list(range(1, len(data) + 1))
    assert all(quarantine["reasons"].to_pylist())
    ids = [i.strip() for i in valid["id"].to_pylist()]
    assert all(ids)
    assert len(set(ids)) == len(ids)
