"""The sequence level: price histories, events, reviews; aligned groups of numeric, time, categorical and text steps.

Kept per item are the last steps (times as distances to the last one) and, per numeric column, a few statistics of the
whole sequence, since "the last price" and "the usual price" say more than any single step.
"""

import hashlib
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from attrgan.features.text import hash32, normalise, ragged
from attrgan.schema import Schema, StepKind

VERSION = 3
"""Raised whenever `encode` changes what it returns."""
MAX_STEPS = 24
STATISTICS = ("last", "median", "min", "max", "mean", "count")


def numeric_columns(columns: dict[str, StepKind]) -> list[str]:
    """The columns of a group whose steps are numbers (times included)."""
    return [name for name, kind in columns.items() if kind in ("numeric", "time")]


def hashed_columns(columns: dict[str, StepKind]) -> list[str]:
    """The columns of a group whose steps are strings."""
    return [name for name, kind in columns.items() if kind in ("categorical", "text")]


def columns(schema: Schema) -> list[str]:
    """The columns of all groups."""
    return list(schema.sequence_columns)


def version(schema: Schema) -> str:
    """The version of `encode` and of the groups read."""
    read = {name: group.columns for name, group in schema.sequences.items()}
    return f"{VERSION}-{hashlib.sha256(repr(read).encode()).hexdigest()[:10]}"


def encode(frame: pd.DataFrame, schema: Schema) -> dict[str, pa.Array]:
    """Encodes the sequence groups.

    Returns:
        Per item and group g with n numeric and h hashed columns: `sequence.g.number` list<float32> of s · n values
        (NaN where unknown), `sequence.g.hash` list<uint32> of s · h, `sequence.g.statistic` list<float32> of
        n · len(STATISTICS), empty where the item has no such sequence.
    """
    encoded: dict[str, pa.Array] = {}
    for name, group in schema.sequences.items():
        numbers, hashes, statistics = [], [], []
        for cells in zip(*(frame[c] for c in group.columns), strict=True):
            item = _encode_item(dict(zip(group.columns, cells, strict=True)), group.columns)
            numbers.append(item[0])
            hashes.append(item[1])
            statistics.append(item[2])
        encoded[f"sequence.{name}.number"] = ragged(numbers, pa.float32())
        encoded[f"sequence.{name}.hash"] = ragged(hashes, pa.uint32())
        encoded[f"sequence.{name}.statistic"] = ragged(statistics, pa.float32())
    return encoded


def _encode_item(cells: dict[str, Any], columns: dict[str, StepKind]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    lengths = [len(cell) for cell in cells.values() if isinstance(cell, list | np.ndarray)]
    steps = max(lengths, default=0)
    empty = np.empty(0, np.float32)
    if not steps:
        return empty, np.empty(0, np.uint32), empty
    numeric, hashed = numeric_columns(columns), hashed_columns(columns)
    numbers = np.stack([_numbers(cells[c], steps) for c in numeric], 1) if numeric else np.empty((steps, 0))
    statistics = np.concatenate([_statistics(numbers[:, i]) for i in range(len(numeric))] or [empty])
    for i, column in enumerate(numeric):
        if columns[column] == "time":
            numbers[:, i] -= numbers[-1, i]
            statistics[i * len(STATISTICS) : (i + 1) * len(STATISTICS) - 1] = np.nan  # a date says nothing by itself
    codes = np.zeros((steps, len(hashed)), np.uint32)
    for i, column in enumerate(hashed):
        values = cells[column] if isinstance(cells[column], list | np.ndarray) else []
        codes[: len(values), i] = [0 if v is None else hash32("s" + normalise(str(v))) for v in values]
    return numbers[-MAX_STEPS:].astype(np.float32).ravel(), codes[-MAX_STEPS:].ravel(), statistics.astype(np.float32)


def _numbers(cell: Any, steps: int) -> np.ndarray:
    result = np.full(steps, np.nan)
    if isinstance(cell, list | np.ndarray):
        values = pd.Series(cell)
        if values.dtype.kind in "iufb":
            result[: len(values)] = values.to_numpy(float)
        elif values.dtype.kind == "M" or values.map(lambda v: hasattr(v, "year") or isinstance(v, str)).any():
            dates = pd.to_datetime(values, errors="coerce", format="ISO8601", utc=True)
            numbers = (
                pd.to_numeric(values, errors="coerce") if values.dtype.kind != "M" else pd.Series(np.nan, values.index)
            )
            days = (dates - pd.Timestamp(0, tz="UTC").as_unit("s")) / pd.Timedelta(days=1)  # not in nanoseconds: 9999
            result[: len(values)] = numbers.where(numbers.notna(), days).to_numpy(float)
        else:
            small = values.map(lambda v: None if isinstance(v, int) and v.bit_length() > 1023 else v)
            result[: len(values)] = pd.to_numeric(small, errors="coerce").to_numpy(float)
    result[~(np.abs(result) <= np.finfo(np.float32).max)] = np.nan  # what float32 cannot hold is not known
    return result


def _statistics(values: np.ndarray) -> np.ndarray:
    known = values[~np.isnan(values)]
    if not len(known):
        return np.array([np.nan] * (len(STATISTICS) - 1) + [0.0])
    return np.array([known[-1], np.median(known), known.min(), known.max(), known.mean(), len(known)])
