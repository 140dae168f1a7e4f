"""Encodes items once: features are keyed by the hash of what they were made of and by the encoder's version.

A cache is a folder of Parquet parts below the encoder's version; an update encodes only items that are not there and
adds one part. Nothing is ever changed in place, so two updates at once do no harm.
"""

import hashlib
import uuid
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from attrgan.features import sequence, text
from attrgan.lake import storage
from attrgan.schema import Schema

ENCODER = 3
"""Raised whenever an encoder of any level changes what it returns."""


@dataclass(frozen=True)
class Update:
    """What an update of the cache did."""

    encoder_version: str
    items: int
    encoded: int
    reused: int


def encoder_version(schema: Schema) -> str:
    """What features depend on besides the item: encoders and the columns they read."""
    read = [schema.text, {name: group.columns for name, group in schema.sequences.items()}]
    return f"{ENCODER}-{hashlib.sha256(repr(read).encode()).hexdigest()[:10]}"


def content_hashes(frame: pd.DataFrame, schema: Schema) -> np.ndarray:
    """Per item 32 hex digits: the hash of the cells that its features are made of, as an object array (rows,)."""
    columns = [*schema.text, *schema.sequence_columns]
    if not columns:
        return np.array([hashlib.blake2b(b"", digest_size=16).hexdigest()] * len(frame), dtype=object)
    cells = zip(*(frame[c] for c in columns), strict=True)
    return np.array([hashlib.blake2b(repr(item).encode(), digest_size=16).hexdigest() for item in cells], dtype=object)


def encode(frame: pd.DataFrame, schema: Schema) -> pa.Table:
    """Encodes every row: one row per item, in order; the columns of `text.encode` and `sequence.encode`."""
    return pa.table(text.encode(frame, schema.text) | sequence.encode(frame, schema))


def update(frame: pd.DataFrame, schema: Schema, cache: str) -> Update:
    """Adds the features of new and changed items to the cache."""
    version = encoder_version(schema)
    hashes = content_hashes(frame, schema)
    known = _known(cache, version)
    new = pd.Series(hashes).drop_duplicates()
    new = new[~new.isin(known)]
    if len(new):
        table = encode(frame.iloc[new.index], schema).append_column("content_hash", pa.array(new.tolist()))
        fs, folder = storage.filesystem(storage.join(cache, version))
        fs.makedirs(folder, exist_ok=True)
        hidden, part = (f"{folder}/{name}{uuid.uuid4().hex}.parquet" for name in ("_", "part-"))
        with fs.open(hidden, "wb") as file:
            pq.write_table(table, file, compression="zstd")
        fs.mv(hidden, part)
    return Update(version, len(frame), len(new), len(frame) - len(new))


def lookup(frame: pd.DataFrame, schema: Schema, cache: str | None) -> pa.Table:
    """The features of every row, in order: from the cache where they are there, encoded now where they are not."""
    if cache is None:
        return encode(frame, schema)
    hashes = pd.Series(content_hashes(frame, schema))
    wanted = pa.array(hashes.unique().tolist(), pa.string())
    fs, _ = storage.filesystem(cache)
    parts = []
    for path in storage.files(storage.join(cache, encoder_version(schema))):
        with fs.open(path, "rb") as file:
            part = pq.read_table(file)
        parts.append(part.filter(pc.is_in(part["content_hash"], wanted)))
    found = pa.concat_tables(parts) if parts else None
    positions = dict(zip(found["content_hash"].to_pylist(), range(found.num_rows), strict=True)) if found else {}
    absent = hashes[~hashes.isin(positions.keys())].drop_duplicates()
    if len(absent):
        encoded = encode(frame.iloc[absent.index], schema).append_column("content_hash", pa.array(absent.tolist()))
        start = found.num_rows if found else 0
        found = pa.concat_tables([found, encoded]) if found else encoded
        positions |= dict(zip(absent.tolist(), range(start, start + len(absent)), strict=True))
    assert found is not None or not len(frame)
    if found is None:
        return encode(frame, schema)
    return found.take(pa.array([positions[h] for h in hashes], pa.int64())).drop_columns("content_hash")


def _known(cache: str, version: str) -> set[str]:
    fs, _ = storage.filesystem(cache)
    known: set[str] = set()
    for path in storage.files(storage.join(cache, version)):
        with fs.open(path, "rb") as file:
            known.update(pq.read_table(file, columns=["content_hash"])["content_hash"].to_pylist())
    return known
