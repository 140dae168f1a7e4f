"""The cache gives the features that encoding anew gives, and encodes only what is new or changed."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_catalog import SCHEMA, frame

from attrgan.features import cache
from attrgan.model.vocabulary import flat, offsets
from attrgan.schema import Schema


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path / "features")


def same(one: pa.Table, other: pa.Table) -> bool:
    """The same columns and values, bit by bit; vectors of pretrained models up to the rounding of bfloat16."""
    return one.column_names == other.column_names and all(
        _same_values(flat(one[name]), flat(other[name])) and (offsets(one[name]) == offsets(other[name])).all()
        for name in one.column_names
    )


def _same_values(one: np.ndarray, other: np.ndarray) -> bool:
    if one.dtype == np.float16:
        return np.allclose(one, other, atol=0.05)
    return one.tobytes() == other.tobytes()


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


def test_a_change_encodes_only_the_level_that_reads_it(place):
    rows = frame(10)
    cache.update(rows, SCHEMA, place)
    rows.at[int(rows["paid"].notna().to_numpy().argmax()), "paid"] = [99.5]
    update = cache.update(rows, SCHEMA, place)
    assert {name: level.encoded for name, level in update.levels.items()} == {"text": 0, "sequence": 1, "language": 0}
    assert (update.encoded, update.reused) == (1, 9)


def test_many_new_items_are_encoded_and_written_a_chunk_at_a_time(place, monkeypatch):
    monkeypatch.setattr(cache, "CHUNK", 7)
    sizes = []
    monkeypatch.setattr(cache.text, "encode", lambda part, schema, do=cache.text.encode: (
        sizes.append(len(part)), do(part, schema))[1])  # fmt: skip
    rows = frame(20)
    cache.update(rows, SCHEMA, place)
    assert sizes == [7, 7, 6]
    folder = next(Path(place).glob("text-*"))
    assert sorted(pq.read_metadata(part).num_rows for part in folder.iterdir()) == [6, 7, 7]


def test_an_update_that_was_killed_goes_on_where_it_was(place, monkeypatch):
    monkeypatch.setattr(cache, "CHUNK", 8)
    rows, encode = frame(20), cache.text.encode
    monkeypatch.setattr(cache.text, "encode", lambda part, schema: encode(part, schema) if len(part) == 8 else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cache.update(rows, SCHEMA, place)
    monkeypatch.setattr(cache.text, "encode", encode)
    assert cache.update(rows, SCHEMA, place).levels["text"].encoded == 4


def test_what_could_not_be_read_is_missing_now_and_asked_again_later(place, tmp_path, monkeypatch):
    from PIL import Image

    monkeypatch.setenv("ATTRGAN__MEDIA_ROOT", str(tmp_path))
    schema = Schema.parse({"id": "sku", "images": ["image"], "attributes": {"colour": {"kind": "categorical"}}})
    rows = pd.DataFrame({"sku": ["a", "b"], "image": ["late.png", b"never a picture"]}, dtype=object)
    first = cache.update(rows, schema, place)
    assert (first.encoded, first.levels["image"].missing) == (2, 1)
    assert cache.lookup(rows, schema, place)["image.vector"].to_pylist() == [[], []]
    Image.new("RGB", (8, 8), "red").save(tmp_path / "late.png")
    assert cache.update(rows, schema, place).encoded == 1
    assert [len(v) > 0 for v in cache.lookup(rows, schema, place)["image.vector"].to_pylist()] == [True, False]


def test_pictures_that_differ_anywhere_are_different_content():
    start = bytes(5000)
    cells = [start, start + b"1", start[:4000] + b"1" + start[4001:], np.frombuffer(start, np.uint8), "0" * 5000, None]
    hashes = cache.content_hashes(pd.DataFrame({"image": pd.Series(cells, dtype=object)}), ["image"])
    assert len(set(hashes)) == len(cells)


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
    for folder in Path(place).iterdir():
        (folder / "_abc.parquet").write_bytes(b"PAR1 half")
    assert cache.lookup(rows, SCHEMA, place).num_rows == 5


def test_other_columns_or_encoders_are_another_version():
    fewer = Schema.parse(SCHEMA.dump() | {"text": ["title"]})
    assert cache.encoder_version(fewer) != cache.encoder_version(SCHEMA)
    silent = Schema.parse(SCHEMA.dump() | {"encoders": {"language": None}})
    assert cache.encoder_version(silent) != cache.encoder_version(SCHEMA)
    promise = Schema.parse(SCHEMA.dump() | {"target_precision": 0.9})
    assert cache.encoder_version(promise) == cache.encoder_version(SCHEMA)


def test_a_catalog_without_text_and_sequences_has_features_too(place):
    schema = Schema.parse({"id": "sku", "attributes": {"colour": {"kind": "categorical"}}})
    rows = frame(7)
    assert cache.update(rows, schema, place).encoded == 0
    assert cache.lookup(rows, schema, place).num_rows == 7


def test_items_that_come_chunk_by_chunk_are_encoded_once(place):
    rows = frame(30)
    twice = [rows.iloc[:20], rows.iloc[10:].reset_index(drop=True)]
    found = cache.update_all(twice, SCHEMA, place)
    assert (found.items, found.encoded, found.reused) == (40, 30, 10)
    assert found.levels == cache.update(rows, SCHEMA, place + "-at-once").levels
    assert same(cache.lookup(rows, SCHEMA, place), cache.encode(rows, SCHEMA))


def test_what_could_not_be_read_is_not_tried_again_by_the_next_chunk(place, tmp_path, monkeypatch):
    monkeypatch.setenv("ATTRGAN__MEDIA_ROOT", str(tmp_path))
    schema = Schema.parse({"id": "sku", "images": ["photo"], "attributes": {"a": {"kind": "categorical"}}})
    rows = pd.DataFrame({"sku": ["1", "2"], "photo": ["gone.png", None], "a": ["x", "y"]})
    found = cache.update_all([rows, rows], schema, place)
    assert found.levels["image"] == cache.update(rows, schema, place + "-at-once").levels["image"]
    assert found.levels["image"].missing == 1


def test_the_hashes_of_a_part_are_read_once(place, monkeypatch):
    rows = frame(10)
    cache.update(rows, SCHEMA, place)
    cache.lookup(rows, SCHEMA, place)
    read = []
    monkeypatch.setattr(cache.pq, "read_table", lambda *a, **k: read.append(a) or pq.ParquetFile(a[0]).read(**k))
    sold = {"week": [[i] for i in range(10)], "paid": [[1000.0 + i] for i in range(10)], "review": [None] * 10}
    cache.lookup(frame(10).assign(title=[f"unheard of {i}" for i in range(10)], **sold), SCHEMA, place)
    assert not read, "nothing of these items is there, which the hashes say that were read before"


def test_an_item_has_the_hash_that_it_always_had():
    cells = pd.Series([[1, 2.5], None, b"\x00y"], dtype=object)
    items = pd.DataFrame({"a": ["x", "x", None], "b": [1.5, np.nan, 2.0], "c": cells})
    found = cache.content_hashes(items, ["a", "b", "c"], np.array([[1, 2], [1, 2], [3, 4]], np.uint8))
    expected = ["c7c767ab865be88db160989414cbe0f0", "466ee9fbdd3e64c902aaeb31e7392d41"]
    assert [*found] == [*expected, "bb725134ff3668b67752b2250cfeca3e"], "another one would encode every catalog again"
