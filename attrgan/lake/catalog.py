"""Reads catalogs: Parquet, CSV or JSON Lines; a file, a folder or an fsspec URL.

Choices: rows are held as an Arrow table with the types of the file, so that what was received can be given back
unchanged; CSV is read as strings (only an empty field is null) and typed by the schema in `coerce`; a row that cannot
be parsed is kept aside with its file and row number instead of stopping the run.
"""

import json
import unicodedata
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from attrgan.errors import CatalogError
from attrgan.lake import landing, storage
from attrgan.lake.numbers import form_of, is_text, numbers_of, parse_numbers, read_numbers, with_form
from attrgan.schema import NOT_APPLICABLE, Attribute, Schema

DELETED = "_deleted"
"""Column of an increment that removes an item."""
_UNTYPED = {b"attrgan": b"untyped"}


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
        ids = [None if i is None else str(i).strip() for i in part.table[id_column].to_pylist()]
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


def deleted(table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Boolean masks (rows,): the rows that remove an item, and the cells that are neither true nor false."""
    if DELETED not in table.column_names:
        return np.zeros(table.num_rows, dtype=bool), np.zeros(table.num_rows, dtype=bool)
    words = pc.utf8_lower(pc.utf8_trim_whitespace(pc.cast(table[DELETED], pa.string())))
    true, false = (pc.is_in(words, pa.array(w)) for w in (["true", "1", "yes"], ["false", "0", "no", ""]))
    return np.asarray(true), ~np.asarray(pc.or_(true, pc.or_(false, pc.is_null(words))))


def _concatenate(parts: list[Catalog]) -> Catalog:
    untyped = all(p.table.schema.metadata == _UNTYPED for p in parts)
    tables = [p.table.replace_schema_metadata(None) for p in parts]
    try:
        table = pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # one file has numbers where another has strings
        table = pa.concat_tables([_as_strings(t, tables) for t in tables], promote_options="permissive")
    return Catalog(
        table.replace_schema_metadata(_UNTYPED if untyped else None),
        pa.concat_arrays([p.source_file for p in parts]),
        pa.concat_arrays([p.source_row for p in parts]),
        [row for p in parts for row in p.unreadable],
    )


def _as_strings(table: pa.Table, tables: list[pa.Table]) -> pa.Table:
    """The table with those columns as strings whose types cannot be merged."""
    for i, name in enumerate(table.column_names):
        types = {t.schema.field(name).type for t in tables if name in t.column_names} - {pa.null()}
        if len(types) > 1 and not all(pa.types.is_integer(t) or pa.types.is_floating(t) for t in types):
            table = table.set_column(i, name, _text_column(table[name].to_pylist()))
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
    return without_dictionaries(table), []


def without_dictionaries(table: pa.Table) -> pa.Table:
    """The table with the values themselves in columns that were encoded by a dictionary."""
    for i, column in enumerate(table.schema):
        if pa.types.is_dictionary(column.type):
            table = table.set_column(i, column.name, pc.cast(table[i], column.type.value_type))
    return table


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
    return table.replace_schema_metadata(_UNTYPED), unreadable


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
    return pa.table({name: _json_column([row.get(name) for row in rows]) for name in names}), unreadable


def _json_column(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, UnicodeError):  # as text, for validation to judge cell by cell
        return _text_column(values)


def _text_column(values: list[Any]) -> pa.Array:
    """Values of any type as strings: what is no string as JSON."""
    texts = (v if v is None or isinstance(v, str) else json.dumps(v, ensure_ascii=False, default=str) for v in values)
    # half of a surrogate pair is no character
    return pa.array([t and t.encode("utf-8", "replace").decode() for t in texts], pa.string())


# --- from columns to cells -----------------------------------------------------------------------------------------


def coerce(table: pa.Table, schema: Schema) -> tuple[pa.Table, dict[str, np.ndarray]]:
    """Gives every column of the schema its type, and finds the cells that do not fit.

    Untyped tables (CSV) get the type of their kind; a column that is all null takes the type of its kind; other columns
    keep the type they came with, and so do numbers that are not written as a program writes them (`1.299,00 €`): the
    form they are written in (`attrgan.lake.numbers`) then goes with the field.

    Returns:
        The table, and column → boolean mask (rows,) of the cells whose type is wrong (only columns that have any).

    Raises:
        CatalogError: the schema names a column that is not there, or none of a column's cells fits its kind.
    """
    missing = [column for column in schema.columns if column not in table.column_names]
    if missing:
        found = ", ".join(table.column_names[:20])
        raise CatalogError(
            f"the schema names {', '.join(map(repr, missing))}, but the catalog has only the columns {found}: "
            "correct the schema or the catalog"
        )
    typed, wrong = fit(table, schema)
    for name, bad in wrong.items():
        check_kind(name, int(bad.sum()), table.num_rows - table[name].null_count, table.schema.field(name).type, schema)
    return typed, wrong


def fit(table: pa.Table, schema: Schema) -> tuple[pa.Table, dict[str, np.ndarray]]:
    """As `coerce`, of those columns of the schema that are there, and without an opinion on what was found."""
    untyped = table.schema.metadata == _UNTYPED
    wrong: dict[str, np.ndarray] = {}
    for name, role in schema.columns.items():
        if name not in table.column_names:
            continue
        field, column = table.schema.field(name), table[name].combine_chunks()
        if kind_of(schema, name, role) == "numeric" and is_text(column.type):
            field, column, bad = _fit_written(field, column, schema.attributes[name], untyped)
        else:
            column, bad = _fit(column, kind_of(schema, name, role))
            field = field.with_type(column.type)
        if bad.any():
            wrong[name] = bad
        table = table.set_column(table.column_names.index(name), field, column)
    return table.replace_schema_metadata(None), wrong


def check_kind(name: str, wrong: int, known: int, found: pa.DataType, schema: Schema) -> None:
    """Raises CatalogError where no known cell of a column fits its kind."""
    if wrong and wrong == known:
        expected = _EXPECTED[kind_of(schema, name, schema.columns[name])]
        raise CatalogError(
            f"none of the {known} cells of column {name!r} is {expected}, as the schema says (found {found}): "
            "correct the schema or the catalog"
        )


_EXPECTED = {
    "numeric": "a number", "value": "a single value", "list": "a list", "media": "bytes, a path or a URL",
}  # fmt: skip


def kind_of(schema: Schema, name: str, role: str) -> str:
    """What the cells of a column must be: `numeric`, `value`, `list` or `media`."""
    if role == "sequence" or (role == "attribute" and schema.attributes[name].multi):
        return "list"
    if role in ("image", "audio"):
        return "media"
    return "numeric" if role == "attribute" and schema.attributes[name].kind == "numeric" else "value"


def _fit_written(
    field: pa.Field, column: pa.Array, attribute: Attribute, untyped: bool
) -> tuple[pa.Field, pa.Array, np.ndarray]:
    """As `_fit`, of numbers in a column of strings; the field carries the form that they are written in."""
    form = form_of(field, column, attribute)
    plain, numbers = parse_numbers(column), read_numbers(column, form)
    found = np.isfinite(numbers)
    none = np.asarray(pc.is_in(pc.utf8_trim_whitespace(column), pa.array(list(attribute.sentinels), column.type)))
    bad = np.asarray(column.is_valid()) & ~found & ~none
    if untyped and not none.any() and np.array_equal(plain[found], numbers[found]):
        typed = _typed_numbers(column, numbers, bad)
        return field.with_type(typed.type), typed, bad
    return with_form(field, form, attribute), column, bad


def _fit(column: pa.Array, kind: str) -> tuple[pa.Array, np.ndarray]:
    """The column in the type of its kind, and the mask of its cells that do not fit."""
    fits = np.zeros(len(column), dtype=bool)
    is_list = pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
    if pa.types.is_null(column.type):
        empty = {"numeric": pa.float64(), "list": pa.list_(pa.string())}.get(kind, pa.string())
        return pc.cast(column, empty), fits
    if pa.types.is_floating(column.type):  # not-a-number is how pandas and Spark write that there is none
        column = pc.if_else(pc.is_nan(column), None, column)
    known = np.asarray(column.is_valid())
    if kind == "numeric":
        if pa.types.is_floating(column.type):
            return column, np.asarray(pc.fill_null(pc.is_inf(column), False))
        if pa.types.is_integer(column.type) or pa.types.is_decimal(column.type):
            return column, fits
        return column, known
    if kind == "list":
        return _fit_lists(column, known, is_text(column.type)) if not is_list else (column, fits)
    if kind == "value" and (is_list or pa.types.is_struct(column.type) or pa.types.is_binary(column.type)):
        return column, known
    return column, fits


def _typed_numbers(column: pa.Array, numbers: np.ndarray, bad: np.ndarray) -> pa.Array:
    whole = all(
        t is None or b or t.strip().lstrip("+-").isdigit() for t, b in zip(column.to_pylist(), bad, strict=True)
    )
    safe = np.isfinite(numbers) & (np.abs(numbers) < 2**53)
    if whole and safe.any() and safe.sum() == np.isfinite(numbers).sum():
        return pa.array(np.where(safe, numbers, 0).astype("int64"), pa.int64(), mask=~safe)
    return pa.array(numbers, pa.float64(), mask=~np.isfinite(numbers))


def _fit_lists(column: pa.Array, known: np.ndarray, is_string: bool) -> tuple[pa.Array, np.ndarray]:
    if not is_string:
        return column, known
    values: list[Any] = []
    bad = np.zeros(len(column), dtype=bool)
    for i, text in enumerate(column.to_pylist()):
        try:
            value = None if text is None else json.loads(text)
        except ValueError:
            value = text
        bad[i] = value is not None and not isinstance(value, list)
        values.append(None if bad[i] else value)
    return _json_column(values), bad


def typed(table: pa.Table, schema: Schema) -> pa.Table:
    """As `coerce`, where every cell must fit and every id be there once: raises CatalogError where one does not."""
    table, wrong = coerce(table, schema)
    check_cells({name: int(mask.sum()) for name, mask in wrong.items()})
    check_ids(ids_of(table, schema))
    return table


def check_cells(wrong: dict[str, int]) -> None:
    """Raises CatalogError for cells of a wrong type: column → how many."""
    if wrong:
        defects = ", ".join(f"{name!r} ({n} cells)" for name, n in wrong.items())
        raise CatalogError(f"cells of a wrong type in {defects}: run `attrgan validate` and use its valid.parquet")


def ids_of(table: pa.Table, schema: Schema) -> "pd.Series[str]":
    """The ids as they are compared."""
    return pd.Series(_strings(table[schema.id].combine_chunks(), nfc=False), name=schema.id, dtype=object)


def to_frame(table: pa.Table, schema: Schema) -> pd.DataFrame:
    """The columns of the schema as the model works on them, one row per item in the table's order.

    Ids and text are strings; categorical and open cells are strings, stripped (`multi`: a sorted JSON list); numeric
    cells are float64; sequences are lists; unknown is None or NaN. What stands for no value (`unknown_as`,
    `not_applicable_as`) is unknown or `n/a`; in numbers, which have no `n/a`, unknown.

    Raises:
        CatalogError: as `coerce`; also for cells of a wrong type, and ids that are null or not unique.
    """
    table = typed(table, schema)
    frame: dict[str, Any] = {}
    for name, role in schema.columns.items():
        column, kind = table[name].combine_chunks(), kind_of(schema, name, role)
        if kind == "numeric":
            frame[name] = numbers_of(table.schema.field(name), column, schema.attributes[name])
        elif role == "attribute" and kind == "list":
            stand_for = schema.attributes[name].sentinels
            frame[name] = pd.Series([canonical_list(v, stand_for) for v in lists_of(column)], dtype=object)
        elif kind == "value":
            cells, stand_for = _strings(column, nfc=role == "attribute"), {}
            if role == "attribute":
                stand_for = schema.attributes[name].sentinels
            frame[name] = pd.Series([stand_for.get(c, c) if c else c for c in cells], dtype=object)
        else:
            frame[name] = pd.Series(lists_of(column) if kind == "list" else column.to_pylist(), dtype=object)
    return pd.DataFrame(frame)


def lists_of(column: pa.Array) -> list[list[Any] | None]:
    """The cells of a column of lists; those that Arrow cannot hold in one type (`["new", 2]`) are JSON in it."""
    cells = column.to_pylist()
    return [None if c is None else json.loads(c) for c in cells] if is_text(column.type) else cells


def check_ids(ids: "pd.Series[str]") -> None:
    """Raises CatalogError for ids that are null or not unique."""
    if ids.isna().any():
        raise CatalogError(f"{int(ids.isna().sum())} rows have no {ids.name!r}: `attrgan validate` sets them aside")
    if twice := int(ids.duplicated().sum()):
        raise CatalogError(
            f"{twice} duplicate ids in column {ids.name!r} (the first: {ids[ids.duplicated()].iloc[0]}): expected each "
            "id once; `attrgan validate` keeps the last row of each"
        )


def _strings(column: pa.Array, nfc: bool) -> list[str | None]:
    """The cells as text without the blanks around it; `nfc`: one spelling per value (not for text: offsets)."""
    texts = (None if v is None else str(v).strip() for v in column.to_pylist())
    return [(unicodedata.normalize("NFC", text) if nfc and text else text) or None for text in texts]


def canonical_list(values: list[Any] | None, stand_for: dict[str, str | None] | None = None) -> str | None:
    """A `multi` cell as one string: the sorted JSON list of its distinct members.

    `stand_for`: members that are none → `n/a`, or None for unknown.

    An empty list says that there is none, which is known; one of nothing but nulls and blanks says nothing. Beside
    other members `n/a` is a contradiction, and they prevail.
    """
    if values is None:
        return None
    written = {canonical(v) for v in values if v is not None} - {""}
    members = {m for m in ((stand_for or {}).get(w, w) for w in written) if m is not None}
    if values and not members:
        return None
    return json.dumps(sorted(members - {NOT_APPLICABLE} or members), ensure_ascii=False)


def canonical(value: object) -> str:
    """A value as it is compared and kept: NFC, trimmed."""
    return unicodedata.normalize("NFC", str(value)).strip()


def members_of(cell: str) -> list[str]:
    """The members of a `multi` cell, as `canonical_list` writes it."""
    return [str(member) for member in json.loads(cell)]
