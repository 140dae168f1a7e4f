"""From columns to the cells that a model works on: types, written numbers, lists, strings as they are compared.

Columns keep the types they came with, so that what was received can be given back unchanged; columns of an untyped file
(CSV) get those of the schema. A cell that does not fit its kind is marked, not dropped: `validate` sets its row aside.
"""

import json
import unicodedata
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from attrgan.errors import CatalogError
from attrgan.lake.numbers import form_of, is_text, numbers_of, parse_numbers, read_numbers, with_form
from attrgan.schema import NOT_APPLICABLE, Attribute, Schema

UNTYPED = {b"attrgan": b"untyped"}
"""What marks the schema of a table whose columns are strings because nobody has typed them."""


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
    untyped = table.schema.metadata == UNTYPED
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
    if is_list and pa.types.is_null(column.type.value_type):  # every list is empty
        column = pc.cast(column, pa.list_(pa.string()))
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
    return json_column(values), bad


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

    Ids and text are strings, text with the blanks around it, so that offsets are those of the cell; categorical and
    open cells are strings, stripped (`multi`: a sorted JSON list); numeric cells are float64; sequences are lists;
    unknown is None or NaN. What stands for no value (`unknown_as`, `not_applicable_as`) is unknown or `n/a`; in
    numbers, which have no `n/a`, unknown.

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
            cells, stand_for = _as_given(column) if role == "text" else _strings(column, nfc=role == "attribute"), {}
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
    """The cells as text without the blanks around it; `nfc`: one spelling per value."""
    texts = (None if v is None else str(v).strip() for v in column.to_pylist())
    return [(unicodedata.normalize("NFC", text) if nfc and text else text) or None for text in texts]


def _as_given(column: pa.Array) -> list[str | None]:
    """The cells as text, None where there is nothing but blanks."""
    return [text if text.strip() else None for text in ("" if v is None else str(v) for v in column.to_pylist())]


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


def json_column(values: list[Any]) -> pa.Array:
    """Values that JSON knows, in the type that holds them all; as strings where there is none."""
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, UnicodeError):  # as text, for validation to judge cell by cell
        return text_column(values)


def text_column(values: list[Any]) -> pa.Array:
    """Values of any type as strings: what is no string as JSON."""
    texts = (v if v is None or isinstance(v, str) else json.dumps(v, ensure_ascii=False, default=str) for v in values)
    # half of a surrogate pair is no character
    return pa.array([t and t.encode("utf-8", "replace").decode() for t in texts], pa.string())
