"""Reads catalogs: Parquet, CSV or JSON Lines; a file, a folder or an fsspec URL.

Choices: rows are held as an Arrow table with the types of the file, so that what was received can be given back
unchanged; CSV is read as strings (only an empty field is null) and typed by the schema in `cells.py`; a row that cannot
be parsed is kept aside with its file and row number instead of stopping the run.
"""

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from attrgan.errors import CatalogError
from attrgan.lake import landing, storage
from attrgan.lake.cells import UNTYPED, json_column, text_column

DELETED = "_deleted"
"""Column of an increment that removes an item."""


@dataclass(frozen=True)
class Unreadable:
    """A row that could not be parsed at all."""

    file: str
    row: int
    text: str


@dataclass
class Catalog:
    """A catalog as received.

    Attributes:
        table: the rows, with the columns and types of the files (CSV: strings).
        source_file: string array (rows,): the file each row came from.
        source_row: int64 array (rows,): its number in that file, from 1, the header not counted.
        unreadable: rows that could not be parsed.
        superseded: rows of older landing partitions that a newer one replaced (snapshots only).
    """

    table: pa.Table
    source_file: pa.Array
    source_row: pa.Array
    unreadable: list[Unreadable] = field(default_factory=list)
    superseded: int = 0

    def slice(self, start: int, rows: int) -> "Catalog":
        """So many rows from a row on, as views."""
        parts = (self.table.slice(start, rows), self.source_file.slice(start, rows), self.source_row.slice(start, rows))
        return Catalog(*parts, self.unreadable, self.superseded)

    def take(self, keep: np.ndarray) -> "Catalog":
        """The rows where the boolean mask `keep` (rows,) holds."""
        mask = pa.array(keep)
        rows = (self.table.filter(mask), self.source_file.filter(mask), self.source_row.filter(mask))
        return Catalog(*rows, self.unreadable, self.superseded)


def read_catalog(
    place: str, *, dt: str | None = None, until: str | None = None, id_column: str | None = None
) -> Catalog:
    """Reads a catalog.

    Args:
        place: file, folder or fsspec URL.
        dt: only this landing partition.
        until: the newest version of each id over the landing partitions up to this date; needs `id_column`.
        id_column: the id, for `until`.

    Raises:
        CatalogError: nothing is there, it is empty, it is not a table, or it has no rows.
    """
    if until:
        return _snapshot(place, until, id_column)
    paths = landing.files_of(place, dt) if dt else storage.files(place)
    if not paths:
        where = f"{place} for dt={dt}" if dt else str(place)
        raise CatalogError(f"no file at {where}: expected a Parquet, CSV or JSON Lines file, or a folder of them")
    fs, _ = storage.filesystem(place)
    parts = [_read_file(fs, path) for path in paths]
    catalog = _concatenate(parts)
    if not catalog.table.num_rows and not catalog.unreadable:
        raise CatalogError(f"{place} holds no rows: expected a table with one row per item")
    return catalog


def _snapshot(place: str, until: str, id_column: str | None) -> Catalog:
    """The newest version of each id over the landing partitions up to a date; deleted ids are left out."""
    dates = [date for date in landing.partitions(place) if date <= until]
    if not dates:
        raise CatalogError(f"no landing partition up to {until} in {place}: expected folders dt=YYYY-MM-DD with files")
    seen: set[Any] = set()
    parts, superseded = [], 0
    for date in reversed(dates):
        part = read_catalog(place, dt=date)
        if id_column not in part.table.column_names:
            raise CatalogError(f"{place}/dt={date} has no column {id_column!r}, which the schema names as id")
        ids = [_id_over_dates(i) for i in part.table[id_column].to_pylist()]
        newest = np.array([i is None or i not in seen for i in ids], dtype=bool)
        superseded += int((~newest).sum())
        seen.update(i for i in ids if i is not None)
        removes = deleted(part.table)[0]
        last = dict(zip(ids, removes, strict=True))  # within a date the last row of an item decides
        gone = np.array([i is not None and last[i] for i in ids], dtype=bool)
        parts.append(part.take(newest & ~gone & ~removes))
    catalog = _concatenate(parts[::-1])
    catalog.superseded = superseded
    return catalog


def _id_over_dates(value: Any) -> str | None:
    """An id as it is compared with those of other dates, which may hold 1 where this one holds 1.0."""
    if isinstance(value, float | Decimal) and value == value // 1:
        value = int(value)
    return None if value is None else str(value).strip()


def deleted(table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Boolean masks (rows,): the rows that remove an item, and the cells that are neither true nor false."""
    if DELETED not in table.column_names:
        return np.zeros(table.num_rows, dtype=bool), np.zeros(table.num_rows, dtype=bool)
    words = pc.utf8_lower(pc.utf8_trim_whitespace(pc.cast(table[DELETED], pa.string())))
    true, false = (pc.is_in(words, pa.array(w)) for w in (["true", "1", "yes"], ["false", "0", "no", ""]))
    return np.asarray(true), ~np.asarray(pc.or_(true, pc.or_(false, pc.is_null(words))))


def _concatenate(parts: list[Catalog]) -> Catalog:
    untyped = all(p.table.schema.metadata == UNTYPED for p in parts)
    tables = [p.table.replace_schema_metadata(None) for p in parts]
    try:
        table = pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # one file has numbers where another has strings
        table = pa.concat_tables([_as_strings(t, tables) for t in tables], promote_options="permissive")
    return Catalog(
        table.replace_schema_metadata(UNTYPED if untyped else None),
        pa.concat_arrays([p.source_file for p in parts]),
        pa.concat_arrays([p.source_row for p in parts]),
        [row for p in parts for row in p.unreadable],
    )


def _as_strings(table: pa.Table, tables: list[pa.Table]) -> pa.Table:
    """The table with those columns as strings whose types cannot be merged."""
    for i, name in enumerate(table.column_names):
        types = {t.schema.field(name).type for t in tables if name in t.column_names} - {pa.null()}
        if len(types) > 1 and not all(pa.types.is_integer(t) or pa.types.is_floating(t) for t in types):
            table = table.set_column(i, name, text_column(table[name].to_pylist()))
    return table


def _read_file(fs: fsspec.AbstractFileSystem, path: str) -> Catalog:
    if fs.size(path) == 0:
        raise CatalogError(f"{path} is empty (0 bytes): expected a table with one row per item")
    readers: dict[str, Callable[[Any, str], tuple[pa.Table, list[Unreadable]]]] = {
        ".parquet": _read_parquet, ".pq": _read_parquet, ".csv": _read_csv, ".tsv": _read_csv,
        ".jsonl": _read_json_lines, ".ndjson": _read_json_lines, ".json": _read_json_lines,
    }  # fmt: skip
    name = path.lower().removesuffix(".gz")
    reader = next((reader for suffix, reader in readers.items() if name.endswith(suffix)), None)
    if reader is None:
        raise CatalogError(f"{path} is not a table: expected a file named .parquet, .csv, .tsv, .jsonl or .ndjson")
    try:
        with fs.open(path, "rb", compression="infer") as file:
            table, unreadable = reader(file, path)
    except (pa.ArrowException, UnicodeError, OSError, EOFError, zlib.error) as error:
        reason = str(error).splitlines()[0]
        raise CatalogError(f"{path} is not a table ({reason}): expected Parquet, CSV or JSON Lines") from None
    return Catalog(
        table, pa.array([path] * table.num_rows, pa.string()), _row_numbers(table.num_rows, unreadable), unreadable
    )


def _row_numbers(rows: int, unreadable: list[Unreadable]) -> pa.Array:
    """The numbers 1 … of the parsed rows, leaving out those of the unreadable ones."""
    skipped = [row.row for row in unreadable]
    return pa.array(np.setdiff1d(np.arange(1, rows + len(skipped) + 1), skipped), pa.int64())


def _read_parquet(file: Any, path: str) -> tuple[pa.Table, list[Unreadable]]:
    table = pq.read_table(file)
    names = table.column_names
    if len(set(names)) != len(names):
        raise CatalogError(f"{path} has two columns of one name: expected distinct column names")
    return plain(table), []


def plain(table: pa.Table) -> pa.Table:
    """The table in types that every later step knows: no dictionaries, extension types, views or lists of one size.

    The values are the same, but for UUIDs, which are text.
    """
    for i, column in enumerate(table.schema):
        found, kind = table[i], column.type
        if isinstance(kind, pa.UuidType):
            found = pa.chunked_array([[v and str(v) for v in found.to_pylist()]], pa.string())
        elif isinstance(kind, pa.BaseExtensionType):
            found = pa.chunked_array([chunk.storage for chunk in found.chunks], kind.storage_type)
        if (known := _known(found.type)) != kind:
            table = table.set_column(i, column.name, pc.cast(found, known))
    return table


def _known(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return kind.value_type
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(kind.value_type)
    return {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}.get(kind, kind)


def _read_csv(file: Any, path: str) -> tuple[pa.Table, list[Unreadable]]:
    delimiter = "\t" if path.lower().removesuffix(".gz").endswith(".tsv") else ","
    data = file.read()
    if b"\0" in data:
        raise CatalogError(f"{path} is not a table (it holds NUL bytes): expected comma-separated text in UTF-8")
    unreadable: list[Unreadable] = []

    def keep_aside(row: Any) -> str:
        unreadable.append(Unreadable(path, (row.number or 0) - 1, row.text[:1000]))
        return "skip"

    parse = pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=keep_aside)
    options = pa.csv.ReadOptions(use_threads=False, block_size=1 << 24)
    header = pa.csv.open_csv(pa.BufferReader(data), read_options=options, parse_options=parse).schema.names
    if len(set(header)) != len(header):
        raise CatalogError(f"{path} has two columns of one name: expected distinct column names")
    unreadable.clear()
    convert = pa.csv.ConvertOptions(
        column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=True, null_values=[""]
    )
    table = pa.csv.read_csv(pa.BufferReader(data), options, parse, convert)
    return table.replace_schema_metadata(UNTYPED), unreadable


def _read_json_lines(file: Any, path: str) -> tuple[pa.Table, list[Unreadable]]:
    rows: list[dict[str, Any]] = []
    unreadable: list[Unreadable] = []
    number = 0
    for line in file:
        if not line.strip():
            continue
        number += 1
        if number == 1 and line.lstrip().startswith((b"[\n", b"[\r", b"[{")):
            raise CatalogError(f"{path} holds a JSON array: expected one JSON object per line, no brackets around them")
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            rows.append(row)
        else:
            unreadable.append(Unreadable(path, number, line.decode(errors="replace")[:1000].rstrip("\n")))
    if not rows:
        raise CatalogError(f"{path} is not a table: expected one JSON object per line, found none")
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.table({name: json_column([row.get(name) for row in rows]) for name in names}), unreadable
