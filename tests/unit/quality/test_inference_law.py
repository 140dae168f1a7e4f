"""Whatever the columns hold, the guess is a schema that the catalog fits, or a clear sentence."""

import pyarrow as pa
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from quality_catalogs import catalog_of

from attrgan.errors import CatalogError
from attrgan.lake.cells import coerce
from attrgan.quality.inference import infer_schema, to_yaml
from attrgan.schema import Schema

SIZE = 12
cells = st.sampled_from(
    [
        st.none(),
        st.booleans(),
        st.integers(-5, 5),
        st.floats(),
        st.sampled_from(["a", "b", "007", "[1]", "{}", "2026-01-01", "x@y.org", "http://x/y.jpg", "红 色", "n/a", ""]),
        st.text(max_size=8),
        st.binary(max_size=6),
        st.lists(st.integers(0, 3), max_size=2),
        st.lists(st.text(max_size=3), max_size=2),
        st.lists(st.lists(st.integers(0, 1), max_size=1), max_size=2),
        st.dictionaries(st.just("k"), st.integers(0, 3), min_size=1),
        st.dates(),
    ]
)


def column(kind):
    return st.lists(st.one_of(st.none(), kind), min_size=SIZE, max_size=SIZE)


@settings(max_examples=80, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.text(min_size=1, max_size=6), cells.flatmap(column), max_size=6))
def test_a_guess_fits_its_catalog_and_survives_being_written(columns):
    catalog = catalog_of({"item_id": list(range(SIZE))} | {n: pa.array(c) for n, c in columns.items()})
    try:
        schema, comments = infer_schema(catalog)
    except CatalogError:
        return
    assert Schema.parse(yaml.safe_load(to_yaml(schema, comments))) == schema
    assert set(comments) >= set(catalog.table.column_names) - {"(category)"} - {
        c for group in schema.sequences.values() for c in group.columns
    }
    coerce(catalog.table, schema)
