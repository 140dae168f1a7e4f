"""The frames that Great Expectations judges, built column by column from a typed catalog.

Choices: only what an expectation of `attrgan.quality.suite` looks at is turned into pandas, in batches, so that a
million rows with pictures in them never become one frame; the index of every frame is the row's number in the catalog,
which is how a result finds its way back to the row.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from attrgan.lake.cells import canonical, lists_of
from attrgan.lake.numbers import numbers_of, parse_numbers
from attrgan.quality import suite
from attrgan.schema import NOT_APPLICABLE, Attribute, Schema

ROWS_PER_BATCH = 50_000
SHOWN = 200
"""Characters of an offending cell that are shown; quarantine.parquet has all of it."""


def ids(table: pa.Table, schema: Schema) -> "pd.Series[Any]":
    """The id of every row as the rest of attrgan compares ids: text without the blanks around it."""
    column = table[schema.id].combine_chunks()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        values = [None if v is None else v.strip() or None for v in column.to_pylist()]
        return pd.Series(values, name=schema.id, dtype=object)
    return pd.Series(column.to_pylist(), name=schema.id, dtype=object)


def typed_lists(table: pa.Table, schema: Schema) -> tuple[pa.Table, dict[str, np.ndarray]]:
    """The typed table with every list column as lists, and the cells in which a numeric step is not a number.

    A single odd step makes a column of lists in a text file a column of text; without it the others are lists again.

    Returns:
        The table, and column → mask (rows,) of the cells of a wrong type (only columns that have any).
    """
    numeric = {n for group in schema.sequences.values() for n, kind in group.columns.items() if kind == "numeric"}
    names = {n for n, role in schema.columns.items() if role == "sequence"}
    names |= {n for n, attribute in schema.attributes.items() if attribute.multi}
    wrong: dict[str, np.ndarray] = {}
    for name in sorted(names):
        column = table[name].combine_chunks()
        cells = None if _is_list(column.type) else lists_of(column)
        if name in numeric:
            bad = _non_numeric_lists(column) if cells is None else np.array([_odd_step(c) for c in cells], dtype=bool)
            if bad.any():
                wrong[name] = bad
            cells = cells and [None if b else c for c, b in zip(cells, bad, strict=True)]
        if cells is not None:
            plain, kind = (float, pa.float64()) if name in numeric else (str, pa.string())
            lists = [None if c is None else [None if m is None else plain(m) for m in c] for c in cells]
            table = table.set_column(table.column_names.index(name), name, pa.array(lists, pa.list_(kind)))
    return table, wrong


def _odd_step(steps: list[Any] | None) -> bool:
    """Whether a step is no number, or one that no computer counts with."""
    return any(
        not isinstance(s, (int, float)) or isinstance(s, bool) or abs(s) > sys.float_info.max
        for s in steps or [] if s is not None
    )  # fmt: skip


def batches(
    received: pa.Table, typed: pa.Table, schema: Schema, wrong: dict[str, np.ndarray], rows: np.ndarray, first: int = 0
) -> Iterator[pd.DataFrame]:
    """The columns that `suite.row_suite` judges, `ROWS_PER_BATCH` rows at a time.

    Args:
        received, typed: the catalog before and after `coerce`.
        schema: the schema.
        wrong: column → mask (rows,) of the cells of a wrong type.
        rows: int64 numbers of the rows to judge.
        first: number in the catalog of the tables' first row.
    """
    for start in range(0, len(rows), ROWS_PER_BATCH):
        chosen = rows[start : start + ROWS_PER_BATCH]
        before, after = received.take(pa.array(chosen)), typed.take(pa.array(chosen))
        bad = {name: mask[chosen] for name, mask in wrong.items()}
        frame: dict[str, Any] = {
            suite.misfits(name): _cells(before[name], bad.get(name, np.zeros(len(chosen), dtype=bool)))
            for name in schema.columns
        }
        for name, attribute in schema.attributes.items():
            column = after[name].combine_chunks()
            frame |= _attribute(after.schema.field(name), attribute, column, bad.get(name))
        for name, group in schema.sequences.items():
            frame |= _steps(name, {c: after[c].combine_chunks() for c in group.columns})
        yield pd.DataFrame(frame, index=pd.Index(chosen + first))


def figures(valid: int, quarantined_share: float, null_rates: dict[str, float]) -> pd.DataFrame:
    """One row: what the quality gate judges."""
    row = {suite.VALID_ROWS: valid, suite.QUARANTINED: quarantined_share}
    return pd.DataFrame([row | {suite.null_rate(column): rate for column, rate in null_rates.items()}])


def _attribute(field: pa.Field, attribute: Attribute, column: pa.Array, bad: np.ndarray | None) -> dict[str, Any]:
    name = field.name
    if attribute.min is not None or attribute.max is not None:
        numbers = numbers_of(field, column, attribute)
        return {name: numbers if bad is None else np.where(bad, np.nan, numbers)}
    if not attribute.values:
        return {}
    values = column.to_pylist()
    if attribute.multi:
        allowed = {*map(canonical, attribute.values), NOT_APPLICABLE, *attribute.sentinels}
        return {suite.forbidden(name): pd.Series([_outside(v, allowed) for v in values], dtype=object).to_numpy()}
    spelling = {canonical(value): value for value in attribute.values}
    cells = [None if v is None else spelling.get(canonical(v), canonical(v)) for v in values]
    return {name: np.array(cells, dtype=object)}


def _outside(values: Any, allowed: set[str]) -> str | None:
    if not isinstance(values, list):
        return None
    outside = [v for v in values if v is not None and canonical(v) not in allowed]
    return json.dumps(outside, ensure_ascii=False, default=str)[:SHOWN] if outside else None


def _steps(group: str, columns: dict[str, pa.Array]) -> dict[str, np.ndarray]:
    """The number of steps of each list, NaN where it is unknown, and the most of any list of the group."""
    counts = {
        name: pc.cast(pc.list_value_length(column), pa.float64()).to_numpy(zero_copy_only=False)
        if _is_list(column.type)
        else np.full(len(column), np.nan)
        for name, column in columns.items()
    }
    most = np.fmax.reduce(list(counts.values()))
    return {suite.steps(name): count for name, count in counts.items()} | {suite.most_steps(group): most}


def _cells(column: pa.ChunkedArray, mask: np.ndarray) -> np.ndarray:
    """The cells under the mask as text, None elsewhere."""
    cells = np.full(len(column), None, dtype=object)
    for row in np.flatnonzero(mask):
        cells[row] = str(column[int(row)].as_py())[:SHOWN]
    return cells


def _non_numeric_lists(column: pa.Array) -> np.ndarray:
    bad = np.zeros(len(column), dtype=bool)
    element = column.type.value_type
    if pa.types.is_integer(element) or pa.types.is_null(element):
        return bad
    parents, values = np.asarray(pc.list_parent_indices(column)), pc.list_flatten(column)
    known = np.asarray(values.is_valid())
    if pa.types.is_floating(element):
        known &= np.isinf(values.to_numpy(zero_copy_only=False))
    elif pa.types.is_string(element) or pa.types.is_large_string(element):
        known &= ~np.isfinite(parse_numbers(values))
    elif pa.types.is_decimal(element):
        return bad
    bad[parents[known]] = True
    return bad


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))
