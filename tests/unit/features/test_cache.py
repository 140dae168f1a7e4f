"""The cache gives the features that encoding anew gives, and encodes only what is new or changed."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from small_catalog import SCHEMA, frame

from attrgan.features import cache
from attrgan.model.vocabulary import flat, offsets
from attrgan.schema import Schema


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path / "features")


def same(one: pa.Table, other: pa.Table) -> bool:
    """The same columns and values, bit by bit (a step that is not a number equals another one)."""
    return one.column_names == other.column_names and all(
        flat(one[name]).tobytes() == flat(other[name]).tobytes() and (offsets(one[name]) == offsets(other[name])).all()
        for name in one.column_names
    )


def test_only_new_and_changed_items_are_encoded(place):
    rows = frame(30)
    first = cache.update(rows, SCHEMA, place)
    assert (first.items, first.encoded, first.reused) == (30, 30, 0)
    again = cache.update(rows, SCHEMA, place)
    assert (again.encoded, again.reused) == (0, 30)
    rows.loc[3, "title"] = "something else"
    rows.at[int(rows["paid"].notna().to_numpy()[4:].argmax()) + 4, "paid"] = None
    more = pd.concat([rows, frame(5, seed=99, prefix="N")], ignore_index=True)
    assert cache.update(more, SCHEMA, place).encoded == 7


def test_an_attribute_that_changes_changes_no_feature(place):
    rows = frame(10)
    cache.update(rows, SCHEMA, place)
    assert cache.update(rows.assign(colour="pink", price=1.0), SCHEMA, place).encoded == 0


def test_items_of_the_same_content_are_encoded_once(place):
    rows = pd.concat([frame(4), frame(4).assign(sku=["a", "b", "c", "d"])], ignore_index=True)
    assert cache.update(rows, SCHEMA, place).encoded == 4


def test_features_are_the_same_from_the_cache_without_it_and_partly_from_it(place):
    rows = frame(40)
    anew = cache.encode(rows, SCHEMA)
    assert same(cache.lookup(rows, SCHEMA, None), anew)
    assert same(cache.lookup(rows, SCHEMA, place), anew), "an empty cache"
    cache.update(rows.iloc[5:20].reset_index(drop=True), SCHEMA, place)
    assert same(cache.lookup(rows, SCHEMA, place), anew), "half of them known"
    cache.update(rows, SCHEMA, place)
    shuffled = rows.sample(frac=1, random_state=3).reset_index(drop=True)
    assert same(cache.lookup(shuffled, SCHEMA, place), cache.encode(shuffled, SCHEMA))
    assert cache.lookup(rows.iloc[:0], SCHEMA, place).num_rows == 0


def test_two_updates_at_once_do_no_harm(place):
    rows = frame(60)
    parts = [rows, rows.iloc[:40], rows.iloc[20:].reset_index(drop=True), rows]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda part: cache.update(part, SCHEMA, place), parts))
    assert same(cache.lookup(rows, SCHEMA, place), cache.encode(rows, SCHEMA))
    assert cache.update(rows, SCHEMA, place).encoded == 0


def test_a_part_that_an_update_left_half_written_is_never_read(place):
    rows = frame(5)
    cache.update(rows, SCHEMA, place)
    folder = next(Path(place).iterdir())
    (folder / "_abc.parquet").write_bytes(b"PAR1 half")
    assert cache.lookup(rows, SCHEMA, place).num_rows == 5


def test_other_columns_or_encoders_are_another_version():
    fewer = Schema.parse(SCHEMA.dump() | {"text": ["title"]})
    assert cache.encoder_version(fewer) != cache.encoder_version(SCHEMA)
    promise = Schema.parse(SCHEMA.dump() | {"target_precision": 0.9})
    assert cache.encoder_version(promise) == cache.encoder_version(SCHEMA)


def test_a_catalog_without_text_and_sequences_has_features_too(place):
    schema = Schema.parse({"id": "sku", "attributes": {"colour": {"kind": "categorical"}}})
    rows = frame(7)
    assert cache.update(rows, schema, place).encoded == 0
    assert cache.lookup(rows, schema, place).num_rows == 7
