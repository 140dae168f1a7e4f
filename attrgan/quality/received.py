"""The catalog that `validate` judges, as received and typed, chunk by chunk.

Parquet files whose rows can be typed by themselves are read as they are needed (`attrgan.lake.rows`), so that memory
does not grow with the catalog; any other catalog is in memory as a whole. What is judged is the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from attrgan.lake import landing
from attrgan.lake.catalog import DELETED, Catalog, Unreadable, deleted, read_catalog
from attrgan.lake.cells import coerce, fit
from attrgan.lake.rows import ParquetRows, hashed, open_parquet
from attrgan.quality import frames
from attrgan.schema import Schema

IDS_AT_ONCE = 250_000
"""Ids that are compared at a time; equal ids are always compared with each other."""
Mask = np.ndarray
"""bool (rows,)."""


@dataclass(frozen=True)
class Chunk:
    """Rows of a catalog from the row `first` on: as received, typed, and column → mask of cells of a wrong type."""

    first: int
    received: Catalog
    typed: pa.Table
    wrong: dict[str, Mask]


class Whole:
    """A catalog in memory.

    Attributes:
        num_rows: how many rows could be parsed.
        unreadable: those that could not.
        superseded: see `Catalog`.
        removes, unclear: bool (rows,): rows that remove an item; cells that do not say whether they do.
    """

    def __init__(self, catalog: Catalog, schema: Schema):
        self._catalog, self._schema = catalog, schema
        typed, wrong = coerce(catalog.table, schema)
        self._typed, odd_steps = frames.typed_lists(typed, schema)
        self._wrong = wrong | {name: bad | wrong.get(name, False) for name, bad in odd_steps.items()}
        self.num_rows, self.superseded = int(typed.num_rows), catalog.superseded
        self.unreadable: list[Unreadable] = catalog.unreadable
        self.removes, self.unclear = deleted(self._typed)

    def chunks(self) -> Iterator[Chunk]:
        """The rows, `ROWS_PER_BATCH` at a time; at least one chunk."""
        for start in range(0, max(self.num_rows, 1), frames.ROWS_PER_BATCH):
            end = start + frames.ROWS_PER_BATCH
            wrong = {name: mask[start:end] for name, mask in self._wrong.items()}
            received = self._catalog.slice(start, frames.ROWS_PER_BATCH)
            yield Chunk(start, received, self._typed.slice(start, frames.ROWS_PER_BATCH), wrong)

    def ids(self) -> "Iterator[pd.Series[Any]]":
        """The ids, chunk by chunk, the row's number as index."""
        yield frames.ids(self._typed, self._schema)


class Streamed:
    """A catalog in Parquet files; attributes and methods are those of `Whole`."""

    def __init__(self, rows: ParquetRows, schema: Schema):
        self._rows, self._schema = rows, schema
        self.num_rows, self.superseded = rows.num_rows, 0
        self.unreadable: list[Unreadable] = []
        found: list[tuple[Mask, Mask]] = []
        besides = (DELETED,) if DELETED in rows.schema.names else ()
        rows.check_kinds(lambda part: found.append(deleted(part)), besides)
        self.removes, self.unclear = (np.concatenate(masks) for masks in zip(*found, strict=True))

    def chunks(self) -> Iterator[Chunk]:
        """The rows, `ROWS_PER_BATCH` at a time."""
        first = 0
        for part in self._rows.received(size=frames.ROWS_PER_BATCH):
            typed, wrong = fit(part, self._schema)
            typed, odd_steps = frames.typed_lists(typed, self._schema)
            wrong |= {name: bad | wrong.get(name, False) for name, bad in odd_steps.items()}
            yield Chunk(first, Catalog(part, *self._sources(first, part.num_rows)), typed, wrong)
            first += part.num_rows

    def ids(self) -> "Iterator[pd.Series[Any]]":
        """The ids, chunk by chunk, the row's number as index."""
        first = 0
        for part in self._rows.received([self._schema.id], frames.ROWS_PER_BATCH):
            ids = frames.ids(part, self._schema)
            yield ids.set_axis(range(first, first + len(ids)))
            first += len(ids)

    def _sources(self, first: int, rows: int) -> tuple[pa.Array, pa.Array]:
        """The file of each row and its number in it."""
        paths, lengths = zip(*self._rows.files, strict=True)
        ends, at = np.cumsum(lengths), np.arange(first, first + rows)
        which = np.searchsorted(ends, at, "right")
        return pa.array(paths, pa.string()).take(pa.array(which)), pa.array(
            at - (ends - lengths)[which] + 1, pa.int64()
        )


Received = Whole | Streamed


def receive(place: str, schema: Schema, dt: str | None = None, until: str | None = None) -> Received:
    """A catalog, or a landing place with `dt` or `until`; arguments and errors are those of `read_catalog`."""
    if not until:
        rows = open_parquet(place, schema, landing.files_of(place, dt) if dt else None)
        if rows is not None:
            return Streamed(rows, schema)
    return Whole(read_catalog(place, dt=dt, until=until, id_column=schema.id), schema)


def id_frames(received: Received, schema: Schema) -> Iterator[pd.DataFrame]:
    """The ids as frames of one column, about `IDS_AT_ONCE` at a time, equal ids in the same frame."""
    of = -(-received.num_rows // IDS_AT_ONCE)
    for share in range(of):
        parts = [ids if of == 1 else ids[hashed(ids) % of == share] for ids in received.ids()]
        yield pd.concat(parts).to_frame(schema.id)
