"""Encodes items once: per level, features are keyed by the hash of the cells they were made of.

A cache is a folder per level and version, `<level>-<version>`, of Parquet parts. An update encodes the items whose
cells of that level are not there yet (a changed price never encodes a picture again) and adds one part per CHUNK items,
so that memory stays bounded and a killed update keeps what it has done. Nothing is ever changed in place, so two
updates at once do no harm. A path or URL stands for its content: a picture that changes needs another name.
"""

import hashlib
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from attrgan.features import image, language, sequence, text
from attrgan.features.level import Level
from attrgan.lake import storage
from attrgan.lake.rows import among
from attrgan.schema import Schema

LEVELS: dict[str, Level] = {"text": text, "sequence": sequence, "language": language, "image": image}
CHUNK = 2000
"""Items encoded at once: the tokens of as many long descriptions in a language model take about 150 MB."""


@dataclass(frozen=True)
class LevelUpdate:
    """What an update did for one level: `missing` of the `encoded` items could not be read this time."""

    encoded: int
    missing: int


@dataclass(frozen=True)
class Update:
    """What an update of the cache did: an item counts as encoded where any level was."""

    encoder_version: str
    items: int
    encoded: int
    reused: int
    levels: dict[str, LevelUpdate] = field(default_factory=dict)

    def __add__(self, other: "Update") -> "Update":
        """Both, one after the other."""
        nothing = LevelUpdate(0, 0)
        pairs = {n: (self.levels.get(n, nothing), other.levels.get(n, nothing)) for n in self.levels | other.levels}
        levels = {n: LevelUpdate(a.encoded + b.encoded, a.missing + b.missing) for n, (a, b) in pairs.items()}
        return Update(
            self.encoder_version, self.items + other.items, self.encoded + other.encoded, self.reused + other.reused,
            levels,
        )  # fmt: skip


def present(schema: Schema) -> dict[str, Level]:
    """The levels that this catalog has."""
    return {name: level for name, level in LEVELS.items() if level.columns(schema)}


def encoder_version(schema: Schema) -> str:
    """What features depend on besides the item: the versions of the levels, as 10 hex digits."""
    versions = [f"{name}-{level.version(schema)}" for name, level in present(schema).items()]
    return hashlib.sha256(";".join(versions).encode()).hexdigest()[:10]


def content_hashes(frame: pd.DataFrame, columns: list[str], besides: np.ndarray | None = None) -> np.ndarray:
    """Per item 32 hex digits: the hash of the cells of these columns, as an object array (rows,).

    Args:
        frame: the items.
        columns: those that are hashed.
        besides: what else is hashed, uint8 (rows, n).
    """
    cells = [frame[c].tolist() for c in columns] + ([] if besides is None else [map(bytes, besides)])
    items = zip(*map(_contents, cells), strict=True)
    return np.array([hashlib.blake2b(b"".join(item), digest_size=16).hexdigest() for item in items], dtype=object)


def _contents(cells: Iterable[Any]) -> Iterator[bytes]:
    """The cells of a column as bytes, each with its type and length before it."""
    strings: dict[str, bytes] = {}  # most columns say the same few strings again and again
    for cell in cells:
        if type(cell) is str:
            if cell not in strings:
                strings[cell] = _content(cell)
            yield strings[cell]
        else:
            yield _content(cell)


def _content(cell: Any) -> bytes:
    if isinstance(cell, bytes | bytearray | memoryview):
        content = bytes(cell)
    else:  # numpy's repr leaves the middle out
        content = repr(cell.tolist() if isinstance(cell, np.ndarray) else cell).encode()
    return f"{type(cell).__name__}{len(content)}:".encode() + content


def encode(frame: pd.DataFrame, schema: Schema) -> pa.Table:
    """Encodes every row: one row per item, in order; the columns of every level's `encode`, without nulls."""
    return lookup(frame, schema, None)


def update_all(chunks: Iterable[pd.DataFrame], schema: Schema, cache: str) -> Update:
    """As `update`, of items that come chunk by chunk: what several chunks hold is encoded once."""
    total = Update(encoder_version(schema), 0, 0, 0)
    tried: dict[str, set[str]] = {}
    for frame in chunks:
        total += update(frame, schema, cache, tried)
    return total


def update(frame: pd.DataFrame, schema: Schema, cache: str, tried: dict[str, set[str]] | None = None) -> Update:
    """Adds the features of new and changed items to the cache.

    Args:
        frame: the items.
        schema: their schema.
        cache: the folder.
        tried: level → hashes of what could not be read before in this run, which is not tried again; grows.
    """
    encoded = np.zeros(len(frame), bool)
    levels = {}
    for name, level in present(schema).items():
        place = storage.join(cache, f"{name}-{level.version(schema)}")
        hashes = content_hashes(frame, level.columns(schema))
        new = pd.Series(hashes, dtype=object).drop_duplicates()
        unreadable = (tried if tried is not None else {}).setdefault(name, set())
        known = _known(place, pa.array(new.tolist(), pa.string())) | unreadable
        rows = new.index[~new.isin(known)].to_numpy()
        missing = 0
        for start in range(0, len(rows), CHUNK):
            chunk = rows[start : start + CHUNK]
            table = pa.table(level.encode(frame.iloc[chunk], schema)).append_column(
                "content_hash", pa.array(hashes[chunk].tolist(), pa.string())
            )
            kept = table.drop_null()
            missing += table.num_rows - kept.num_rows
            unreadable.update(hashes[chunk[~readable(table)]])
            if kept.num_rows:
                add(kept, place)
        encoded[rows] = True
        levels[name] = LevelUpdate(len(rows), missing)
    count = int(encoded.sum())
    return Update(encoder_version(schema), len(frame), count, len(frame) - count, levels)


def lookup(frame: pd.DataFrame, schema: Schema, cache: str | None) -> pa.Table:
    """The features of every row, in order: from the cache where they are there, encoded now where they are not."""
    return settled(find(frame, schema, cache))


def find(frame: pd.DataFrame, schema: Schema, cache: str | None) -> pa.Table:
    """As `lookup`, with null for what could not be read this time."""
    columns: dict[str, pa.ChunkedArray] = {}
    for name, level in LEVELS.items():
        found = (
            _find(frame, schema, level, storage.join(cache, f"{name}-{level.version(schema)}"))
            if cache is not None and level.columns(schema) and len(frame)
            else pa.table(level.encode(frame, schema))
        )
        columns |= dict(zip(found.column_names, found.columns, strict=True))
    return pa.table(columns)


def settled(table: pa.Table) -> pa.Table:
    """The table with an empty list for what could not be read this time."""
    for i, name in enumerate(table.column_names):
        if table[name].null_count:
            empty = pa.scalar([], table[name].type)
            table = table.set_column(i, name, pc.fill_null(table[name], empty))
    return table


def readable(table: pa.Table) -> np.ndarray:
    """bool (rows,): the items of which everything could be read."""
    there = np.ones(table.num_rows, bool)
    for column in table.columns:
        if column.null_count:
            there &= column.is_valid().to_numpy()
    return there


def _find(frame: pd.DataFrame, schema: Schema, level: Level, place: str) -> pa.Table:
    hashes = pd.Series(content_hashes(frame, level.columns(schema)))
    tables = parts(place, pa.array(hashes.unique().tolist(), pa.string()))
    known = [h for table in tables for h in table["content_hash"].to_pylist()]
    absent = hashes[~hashes.isin(known)].drop_duplicates()
    if len(absent):
        encoded = pa.table(level.encode(frame.iloc[absent.index], schema))
        tables.append(encoded.append_column("content_hash", pa.array(absent.tolist(), pa.string())))
    positions = {h: i for i, h in enumerate([*known, *absent])}
    rows = pa.array([positions[h] for h in hashes], pa.int64())
    return pa.concat_tables(tables).take(rows).drop_columns("content_hash")


def add(table: pa.Table, place: str, writer: str = "") -> None:
    """Adds a part to a folder of parts: whole, or not at all; its name begins with that of the writer."""
    with storage.staged(place) as stage:
        pq.write_table(table, stage / f"part-{writer}{uuid.uuid4().hex}.parquet", compression="zstd")


def parts(place: str, wanted: pa.Array, columns: list[str] | None = None, but: str = "") -> list[pa.Table]:
    """The lines whose hash is wanted, part by part; of a part without any only the hashes are read.

    Parts of the writer `but` are passed over. A part that has gone meanwhile, or is none, counts as not there: what it
    held is made anew.
    """
    fs, _ = storage.filesystem(place)
    found = []
    shortened = np.sort(_shortened(wanted.to_pylist()))
    for path in storage.files(place):
        if but and path.rsplit("/", 1)[-1].startswith(f"part-{but}"):
            continue
        with suppress(FileNotFoundError, pa.ArrowInvalid):
            if not among(_hashes_in(place, path), shortened).any():
                continue
            with fs.open(path, "rb") as file:
                part = pq.read_table(file, columns=columns)
            found.append(part.filter(pc.is_in(part["content_hash"], wanted)))
    return [part for part in found if part.num_rows]


@lru_cache(maxsize=16_384)
def _hashes_in(place: str, path: str) -> np.ndarray:
    """The first 64 bits of the hashes in a part, uint64: a part never changes, so a run reads them once."""
    fs, _ = storage.filesystem(place)
    with fs.open(path, "rb") as file:
        return _shortened(pq.read_table(file, columns=["content_hash"])["content_hash"].to_pylist())


def _shortened(hashes: list[str]) -> np.ndarray:
    return np.frombuffer(bytes.fromhex("".join(h[:16] for h in hashes)), dtype=">u8").astype(np.uint64)


def _known(place: str, wanted: pa.Array) -> set[str]:
    """Those of the hashes that are there."""
    tables = parts(place, wanted, ["content_hash"])
    return {h for table in tables for h in table["content_hash"].to_pylist()}
