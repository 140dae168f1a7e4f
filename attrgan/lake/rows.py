"""The rows of a catalog, so many at a time: what bounds the memory of the verbs that go through all of them.

`open_rows` gives Parquet rows that are read as they are asked for where every chunk can be typed by itself: all files
have the same columns and types, lists are lists, and numbers in strings carry the form they are written in. That holds
of every `valid.parquet`. Everything else (CSV, JSON Lines, files that differ) is read and typed as a whole, since the
type or form of a cell may then depend on all the others. Either way rows, order, types and errors are the same.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from attrgan.lake import storage
from attrgan.lake.catalog import plain
from attrgan.lake.cells import check_cells, check_ids, check_kind, fit, ids_of, kind_of, typed
from attrgan.lake.numbers import carries_form, is_text
from attrgan.schema import Schema

CHUNK_ROWS = 20_000
"""Rows worked on at a time. Tables are written in row groups of as many, so that a chunk can be read by itself."""
_BATCH_ROWS = 8192


class Rows(Protocol):
    """Typed rows that can be read from anywhere to anywhere."""

    @property
    def num_rows(self) -> int:
        """How many there are."""

    @property
    def schema(self) -> pa.Schema:
        """Their columns, typed."""

    def chunks(self, first: int = 0, last: int | None = None, size: int = CHUNK_ROWS) -> Iterator[pa.Table]:
        """The rows `first` … `last` in tables of `size` rows, the last one shorter; one empty table of no rows."""


@dataclass(frozen=True)
class TableRows:
    """Rows that are in memory, from `typed`."""

    table: pa.Table

    @property
    def num_rows(self) -> int:
        """How many there are."""
        return int(self.table.num_rows)

    @property
    def schema(self) -> pa.Schema:
        """Their columns, typed."""
        return self.table.schema

    def chunks(self, first: int = 0, last: int | None = None, size: int = CHUNK_ROWS) -> Iterator[pa.Table]:
        """See `Rows`."""
        last = self.num_rows if last is None else last
        for start in range(first, max(last, first + 1), size):
            yield self.table.slice(start, min(size, last - start))


@dataclass(frozen=True)
class ParquetRows:
    """Rows in Parquet files of one schema, read as they are asked for.

    Attributes:
        files: path and number of rows of each file.
        place: where they are, which says how they are reached.
        columns: the schema of the catalog.
        schema: the columns of the files, typed.
    """

    files: tuple[tuple[str, int], ...]
    place: str
    columns: Schema
    schema: pa.Schema = field(repr=False)

    @property
    def num_rows(self) -> int:
        """How many there are."""
        return sum(rows for _, rows in self.files)

    def chunks(self, first: int = 0, last: int | None = None, size: int = CHUNK_ROWS) -> Iterator[pa.Table]:
        """See `Rows`."""
        last = self.num_rows if last is None else last
        if last <= first:
            yield self.schema.empty_table()
            return
        for part in _resized(self._batches(first, last), size):
            yield self._typed(part)

    def check(self) -> None:
        """Reads all rows once: raises CatalogError, as `typed`, for cells that do not fit and ids that are not unique.

        Media are not looked at, and lists are lists already. Memory holds eight bytes for each id.
        """
        seen, nulls = [], 0

        def see(part: pa.Table) -> None:
            nonlocal nulls
            ids = ids_of(part, self.columns)
            nulls += int(ids.isna().sum())
            seen.append(hashed(ids))

        check_cells(self.check_kinds(see))
        self._check_ids(np.concatenate(seen), nulls)

    def check_kinds(self, see: Callable[[pa.Table], None], besides: tuple[str, ...] = ()) -> dict[str, int]:
        """Reads all rows once, but for media, and gives them to `see` as they were received, part by part.

        Args:
            see: gets the columns of the schema and those that are named in `besides`.

        Returns:
            Column → how many cells are of a wrong type.

        Raises:
            CatalogError: none of a column's cells fits its kind.
        """
        looked_at = [n for n, role in self.columns.columns.items() if kind_of(self.columns, n, role) != "media"]
        wrong: Counter[str] = Counter()
        known: Counter[str] = Counter()
        for part in self.received([*looked_at, *besides]):
            see(part)
            wrong.update({name: int(bad.sum()) for name, bad in fit(part, self.columns)[1].items()})
            known.update({name: part.num_rows - part[name].null_count for name in looked_at})
        for name in (n for n in looked_at if wrong[n]):
            check_kind(name, wrong[name], known[name], self.schema.field(name).type, self.columns)
        return dict(wrong)

    def received(self, columns: list[str] | None = None, size: int = CHUNK_ROWS) -> Iterator[pa.Table]:
        """All rows, or some of their columns, as they are in the files."""
        yield from map(self._with_forms, _resized(self._batches(0, self.num_rows, columns), size))

    def _check_ids(self, hashes: np.ndarray, nulls: int) -> None:
        """Looks at those ids themselves whose hash comes twice, or that are null."""
        sorted_hashes = np.sort(hashes)
        twice = np.unique(sorted_hashes[1:][sorted_hashes[1:] == sorted_hashes[:-1]])
        if not len(twice) and not nulls:
            return
        suspects = [pd.Series([], name=self.columns.id, dtype=object)]
        for part in self.received([self.columns.id]):
            ids = ids_of(part, self.columns)
            suspects.append(ids[np.isin(hashed(ids), twice) | ids.isna().to_numpy()])
        check_ids(pd.concat(suspects, ignore_index=True))

    def _batches(self, first: int, last: int, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """The rows first … last as they stand in the files; row groups before them are passed over."""
        fs, _ = storage.filesystem(self.place)
        start = 0
        for path, rows in self.files:
            if start < last and start + rows > first:
                with fs.open(path, "rb") as file:
                    yield from _read(pq.ParquetFile(file), max(first - start, 0), min(last - start, rows), columns)
            start += rows

    def _typed(self, part: pa.Table) -> pa.Table:
        table, wrong = fit(self._with_forms(part), self.columns)
        check_cells({name: int(bad.sum()) for name, bad in wrong.items()})
        return table

    def _with_forms(self, part: pa.Table) -> pa.Table:
        """The columns with what the fields of the whole carry, which is what is known of how numbers are written."""
        part = plain(part)
        fields = [f.with_metadata(self.schema.field(f.name).metadata) for f in part.schema]
        return pa.Table.from_arrays(part.columns, schema=pa.schema(fields))


def open_rows(catalog: str, schema: Schema, read: Callable[[], pa.Table]) -> Rows:
    """The rows of a catalog, all of them looked at once.

    Args:
        catalog: file, folder or fsspec URL.
        schema: its schema.
        read: reads it as a whole, where it cannot be read chunk by chunk, and says what is wrong with it.

    Raises:
        CatalogError: as `typed`.
    """
    rows = open_parquet(catalog, schema)
    if rows is None:
        return TableRows(typed(read(), schema))
    rows.check()
    return rows


def open_parquet(catalog: str, schema: Schema, paths: list[str] | None = None) -> ParquetRows | None:
    """The rows of Parquet files that can be read chunk by chunk; None for anything else.

    `paths`: of those of the catalog's files that are meant; None: all.
    """
    paths = storage.files(catalog) if paths is None else paths
    if not paths or not all(path.lower().endswith((".parquet", ".pq")) for path in paths):
        return None
    fs, _ = storage.filesystem(catalog)
    files, fields = [], []
    try:
        for path in paths:
            with fs.open(path, "rb") as file:
                parquet = pq.ParquetFile(file)
                files.append((path, parquet.metadata.num_rows))
                fields.append(plain(parquet.schema_arrow.empty_table()).schema.remove_metadata())
    except (pa.ArrowException, OSError, EOFError):  # reading it as a whole says what is wrong
        return None
    same = all(f.equals(fields[0], check_metadata=True) for f in fields)
    if not same or not sum(n for _, n in files) or not _typed_by_itself(fields[0], schema):
        return None
    columns = fit(fields[0].empty_table(), schema)[0].schema
    return ParquetRows(tuple(files), catalog, schema, columns)


def hashed(ids: "pd.Series[Any]") -> np.ndarray:
    """uint64 (rows,): equal ids have equal hashes."""
    return pd.util.hash_pandas_object(ids, index=False, categorize=False).to_numpy()


def among(asked: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """bool, of the shape of `asked`: which of the numbers are among the keys, which are in order."""
    if not len(keys):
        return np.zeros(asked.shape, bool)
    return np.asarray(keys[np.minimum(np.searchsorted(keys, asked), len(keys) - 1)] == asked)


def _typed_by_itself(fields: pa.Schema, schema: Schema) -> bool:
    """Whether the type and the meaning of a cell depend on its column's field alone."""
    if len(set(fields.names)) != len(fields.names) or not set(schema.columns) <= set(fields.names):
        return False
    for name, role in schema.columns.items():
        found, kind = fields.field(name), kind_of(schema, name, role)
        if is_text(found.type) and kind == "list":
            return False
        if is_text(found.type) and kind == "numeric" and not carries_form(found, schema.attributes[name]):
            return False
    return True


def _read(parquet: pq.ParquetFile, first: int, last: int, columns: list[str] | None) -> Iterator[pa.Table]:
    """The rows first … last of a file, batch by batch."""
    groups, start, skipped = [], 0, None
    for group in range(parquet.num_row_groups):
        rows = parquet.metadata.row_group(group).num_rows
        if start < last and start + rows > first:
            skipped = start if skipped is None else skipped
            groups.append(group)
        start += rows
    at = skipped or 0
    for batch in parquet.iter_batches(_BATCH_ROWS, row_groups=groups, columns=columns):
        table = pa.Table.from_batches([batch]).slice(max(first - at, 0))
        at += batch.num_rows
        if table.num_rows:
            yield table.slice(0, max(table.num_rows - max(at - last, 0), 0))
        if at >= last:
            return


def _resized(parts: Iterator[pa.Table], size: int) -> Iterator[pa.Table]:
    """The same rows in tables of `size` rows, the last one shorter."""
    waiting: list[pa.Table] = []
    held = 0
    for part in parts:
        while held + part.num_rows >= size:
            yield pa.concat_tables([*waiting, part.slice(0, size - held)])
            part, waiting, held = part.slice(size - held), [], 0
        waiting.append(part)
        held += part.num_rows
    if held:
        yield pa.concat_tables(waiting)


class Files(AbstractContextManager["Files"]):
    """Parquet files in a folder, written to bit by bit.

    Args:
        folder: the folder.
        row_group: rows of a row group; None: those that are written at once.
    """

    def __init__(self, folder: Path, row_group: int | None = None):
        self._folder, self._row_group = folder, row_group
        self._writers: dict[str, pq.ParquetWriter] = {}

    def write(self, name: str, rows: pa.Table) -> None:
        """Adds rows to `<name>.parquet`."""
        if name not in self._writers:
            self._writers[name] = pq.ParquetWriter(self._folder / f"{name}.parquet", rows.schema)
        self._writers[name].write_table(rows, self._row_group)

    def schema(self, name: str) -> pa.Schema:
        """The columns of a file that has been written to."""
        return self._writers[name].schema

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for writer in self._writers.values():
            writer.close()


def keys_of(ids: pa.ChunkedArray) -> list[str]:
    """Ids as they are compared: text without the blanks around it."""
    return [str(i).strip() for i in ids.to_pylist()]


class Cursor:
    """Hands out the rows of a Parquet file in order, as many as asked for."""

    def __init__(self, file: Any):
        parquet = pq.ParquetFile(file)
        self._batches = parquet.iter_batches(batch_size=_BATCH_ROWS)
        self._ahead = parquet.schema_arrow.empty_table()

    def take(self, n: int | None) -> pa.Table:
        """The next n rows, fewer where the file ends; None: all that are left."""
        while (n is None or self._ahead.num_rows < n) and self._read():
            pass
        table = self._ahead
        n = table.num_rows if n is None else n
        self._ahead = table.slice(n)
        return table.slice(0, n)

    def take_of(self, column: str, ids: pa.ChunkedArray) -> pa.Table:
        """The next rows, for as long as they are of one of these items."""
        items = pa.array(keys_of(ids), pa.string())
        parts = [self._ahead.slice(0, 0)]
        while self._ahead.num_rows or self._read():
            mine = pc.is_in(pa.array(keys_of(self._ahead[column]), pa.string()), items)
            n = pc.index(mine, False).as_py()
            parts.append(self.take(self._ahead.num_rows if n < 0 else n))
            if self._ahead.num_rows:
                break
        return pa.concat_tables(parts)

    def skip(self, n: int) -> None:
        """Passes over the next n rows."""
        while n > 0 and (passed := self.take(min(n, CHUNK_ROWS)).num_rows):
            n -= passed

    def left(self) -> int:
        """The number of rows not handed out."""
        return int(self._ahead.num_rows + sum(batch.num_rows for batch in self._batches))

    def _read(self) -> bool:
        batch = next(self._batches, None)
        if batch is not None:
            self._ahead = pa.concat_tables([self._ahead, pa.Table.from_batches([batch])])
        return batch is not None
