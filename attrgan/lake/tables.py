"""The warehouse: Delta Lake tables under one URL (a path, `file://` or `s3://`), partitioned by `dt`.

Choices:
- A partition is replaced as a whole in one commit (overwrite with a predicate on `dt`), so writing it twice is the same
  as writing it once. An empty frame is refused: it would silently delete the partition; `remove_partition` says so.
- Delta keeps no order of rows. Every row carries its place in the frame it came with (`_position`); reading sorts by
  it, so two publications of the same rows can be compared row by row. It is not part of what `read` returns.
- Types are fixed by the first commit of a column (`column_types`). New columns are added, missing ones become null.
- A concurrent commit on the same partition fails (optimistic concurrency) and is tried again on the new state.
- How long old states stay (log entries, replaced files) is written into the table itself, so that every tool that
  cleans Delta tables obeys it; `attrgan.lake.history` removes what is older.

Object stores take their credentials from the environment (`AWS_*`, as boto3 does).
"""

import logging
import re
import time
from collections.abc import Callable, Iterator
from secrets import SystemRandom
from typing import Any, TypeAlias, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from attrgan.errors import AttrGANError, InputError
from attrgan.lake import s3, storage
from attrgan.lake.catalog import DELETED, deleted
from attrgan.lake.column_types import cast, stored
from attrgan.lake.landing import check_date
from attrgan.lake.rows import among, hashed

_log = logging.getLogger(__name__)
DT = "dt"
POSITION = "_position"
_ATTEMPTS = 12
_BATCH_ROWS = 8192
_HISTORY = 100
_UNFIT = re.compile(r"[\[\]|^\\\x00-\x1f\x7f]|%[0-9A-Fa-f]{2}")
"""What a path may not have in it: delta-rs makes a URL of it, without escaping these."""
T = TypeVar("T")
Rows: TypeAlias = pa.Table | Callable[[], pa.RecordBatchReader]
"""Rows to write: a table, or a function that opens a stream of them."""
Change: TypeAlias = Callable[[pa.RecordBatch], pa.RecordBatch]
"""Rows → the same rows, with other cells or more columns."""


class ConflictError(AttrGANError):
    """Another writer committed the same partition first."""


def open_table(warehouse: str, name: str, version: int | None = None) -> DeltaTable | None:
    """The table, or None when there is none; raises InputError for a version that it does not have."""
    uri, options = _address(warehouse, name)
    try:
        return s3.patiently(lambda: DeltaTable(uri, version=version, storage_options=options))
    except TableNotFoundError:
        return None
    except DeltaError as error:
        if version is None:
            raise
        raise InputError(f"table {name} in {warehouse} has no version {version} ({error})") from None


def begin(warehouse: str, name: str, schema: pa.Schema, retention_days: int | None = None) -> DeltaTable:
    """The table as it is now, created empty when there is none: what `replace_partition` takes as its `base`.

    Args:
        retention_days: for how long the table keeps its history; None: as the table says, or Delta's default.
    """
    _check_columns(schema, name)

    def attempt() -> DeltaTable:
        if table := open_table(warehouse, name):
            return table if retention_days is None else keep(table, retention_days)
        uri, options = _address(warehouse, name)
        columns = pa.schema([*stored(schema, None), pa.field(POSITION, pa.int64()), pa.field(DT, pa.string())])
        return DeltaTable.create(
            uri,
            columns,
            mode="ignore",
            partition_by=[DT],
            configuration=_retention(retention_days) if retention_days else None,
            storage_options=options,
        )

    return retried(attempt, name)


def keep(table: DeltaTable, retention_days: int) -> DeltaTable:
    """Makes a table keep its history for so long; gives it back."""
    wanted = _retention(retention_days)
    if wanted.items() - table.metadata().configuration.items():
        table.alter.set_table_properties(wanted)
    return table


def _retention(days: int) -> dict[str, str]:
    kept = f"interval {days} days"
    return {"delta.logRetentionDuration": kept, "delta.deletedFileRetentionDuration": kept}


def replace_partition(
    warehouse: str,
    name: str,
    data: Rows,
    dt: str,
    metadata: dict[str, Any],
    *,
    base: DeltaTable | None = None,
    retention_days: int | None = None,
) -> int:
    """Replaces the rows of one `dt`, in one commit.

    Args:
        warehouse: URL of the warehouse.
        name: name of the table.
        data: the new rows, in order: a table, or a function that opens a stream of them (anew for every attempt).
        dt: the partition, YYYY-MM-DD.
        metadata: goes into the commit (run_id, model_version, …): plain data, no key of Delta's own.
        base: the state of the table that this commit builds on, from `begin`. None: whatever it is, with retries.
        retention_days: as in `begin`, where `base` is None.

    Returns:
        The version of the table that this commit made.

    Raises:
        InputError: no rows, no date, a reserved column name, or a column whose type does not fit the table's.
        ConflictError: `base` was given and another writer has changed the partition since; or twelve attempts failed.
    """
    source = data.to_reader if isinstance(data, pa.Table) else data
    schema = _check(source(), name, check_date(dt))
    if base is not None:
        return _overwrite(base, source(), name, dt, metadata)

    def attempt() -> int:
        return _overwrite(begin(warehouse, name, schema, retention_days), source(), name, dt, metadata)

    return retried(attempt, name)


def rewrite_partition(
    warehouse: str,
    name: str,
    source: DeltaTable,
    change: Change,
    dt: str,
    metadata: dict[str, Any],
    *,
    base: DeltaTable | None = None,
) -> int:
    """Replaces the rows of one `dt` by what `change` makes of those in `source`, a state of the same table.

    Rows keep their places and are streamed; `base`, the returned version and ConflictError are as in
    `replace_partition`. Raises InputError when `source` has no rows of that `dt`.
    """
    if dt not in dates(source):
        raise InputError(f"table {name}: version {source.version()} has no rows for dt={dt}: nothing to rewrite")

    def rows() -> pa.RecordBatchReader:
        dataset = source.to_pyarrow_dataset(partitions=[(DT, "=", dt)])
        names = [n for n in dataset.schema.names if n != DT]
        schema = pa.schema([dataset.schema.field(n) for n in names])
        empty = pa.record_batch([pa.array([], f.type) for f in schema], schema=schema)
        batches = dataset.to_batches(columns=names, batch_size=_BATCH_ROWS, batch_readahead=2, fragment_readahead=1)
        return pa.RecordBatchReader.from_batches(change(empty).schema, map(change, batches))

    if base is not None:
        return _overwrite(base, rows(), name, dt, metadata)
    return retried(lambda: _overwrite(existing(warehouse, name), rows(), name, dt, metadata), name)


def remove_partition(warehouse: str, name: str, dt: str, metadata: dict[str, Any]) -> int | None:
    """Deletes the rows of one `dt`; the version afterwards, or None when there is no such table."""
    predicate = f"{DT} = '{check_date(dt)}'"

    def attempt() -> int | None:
        table = open_table(warehouse, name)
        if table is None:
            return None
        if dt in dates(table):
            table.delete(predicate, commit_properties=_commit(dt, metadata))
        return int(table.version())

    return retried(attempt, name)


def read(warehouse: str, name: str, dt: str | None = None, version: int | None = None) -> pa.Table:
    """The rows of a table, or of one `dt`, ordered by `dt` and then as they were written.

    Raises:
        InputError: no such table, or no such version of it.
    """
    table = existing(warehouse, name, version)
    return _rows(table, [check_date(dt)] if dt else sorted(dates(table)))


def version(warehouse: str, name: str) -> int | None:
    """The newest version of a table, or None when there is none."""
    table = open_table(warehouse, name)
    return None if table is None else int(table.version())


def current(warehouse: str, name: str, id_column: str, version: int | None = None) -> pa.Table:
    """The newest row of each id over all dates, without ids whose newest row removes them (`_deleted`).

    Dates are read one at a time from the newest on, so memory holds the result and one partition.
    """
    table = existing(warehouse, name, version)
    parts: list[pa.Table] = []
    seen = pa.chunked_array([], type_of(table, id_column))
    for dt in sorted(dates(table), reverse=True):
        rows = _rows(table, [dt])
        rows = rows.filter(pc.invert(pc.is_in(rows[id_column], seen)))
        seen = pa.chunked_array([*seen.chunks, *rows[id_column].chunks], seen.type)
        parts.append(_kept(rows))
    return pa.concat_tables(parts[::-1]) if parts else _rows(table, [])


def past_null_rates(warehouse: str, before: str, id_column: str) -> dict[str, float] | None:
    """Column → share of nulls among the items of `products` as they were before a date; None when there were none.

    Of each item the newest version counts, so that the whole catalog and an increment of it are measured by the same;
    items that have been removed do not count.
    """
    table = open_table(warehouse, "products")
    earlier = [dt for dt in dates(table) if dt < check_date(before)] if table else []
    if table is None or not earlier:
        return None
    dataset = table.to_pyarrow_dataset()
    names = [n for n in dataset.schema.names if n not in (DT, POSITION)]
    nulls, rows = dict.fromkeys(names, 0), 0
    type_of(table, id_column)  # that it is there
    seen = np.empty(0, np.uint64)  # eight bytes per id, sorted
    for dt in sorted(earlier, reverse=True):
        ids: list[np.ndarray] = []
        for batch in dataset.to_batches(columns=names, filter=ds.field(DT) == dt, batch_size=_BATCH_ROWS):
            ids.append(hashed(pd.Series(batch[id_column].to_pylist(), dtype=object)))
            kept = _kept(pa.Table.from_batches([batch]).filter(pa.array(~among(ids[-1], seen))))
            rows += kept.num_rows
            nulls = {n: nulls[n] + kept[n].null_count for n in names}
        seen = np.sort(np.concatenate([seen, *ids]))
    return {n: count / rows for n, count in nulls.items() if n != DELETED} if rows else None


def last_commit(table: DeltaTable, dt: str) -> dict[str, Any] | None:
    """The newest commit on a partition (its `version` and the metadata it was given); None: older than the log."""
    if dt not in dates(table):
        return None
    for limit in (_HISTORY, None):  # most often it is a recent one, and every commit is a file to be read
        if found := next((dict(commit) for commit in table.history(limit) if commit.get(DT) == dt), None):
            return found
    return None


def last_commits(table: DeltaTable) -> dict[str, dict[str, Any]]:
    """As `last_commit`, of every partition: dt → commit."""
    return {commit[DT]: dict(commit) for commit in reversed(table.history()) if DT in commit}


def scan(table: DeltaTable, dt: str, columns: list[str], where: ds.Expression | None = None) -> pa.Table:
    """Some columns of one `dt`, in no order; `where` is pushed down to the files."""
    return table.to_pyarrow_dataset(partitions=[(DT, "=", dt)]).to_table(columns=columns, filter=where)


def _check(reader: pa.RecordBatchReader, name: str, dt: str) -> pa.Schema:
    """The schema of the rows, once it is clear that they can be written."""
    _check_columns(reader.schema, name)
    if not any(batch.num_rows for batch in reader):
        raise InputError(f"table {name}: no rows for dt={dt}, which would delete the partition: expected at least one")
    return reader.schema


def _check_columns(schema: pa.Schema, name: str) -> None:
    columns = schema.names
    if reserved := {DT, POSITION} & {c.lower() for c in columns}:
        raise InputError(f"table {name}: the column name {min(reserved)!r} is reserved: rename the column")
    twins = sorted(c for c in columns if [x.lower() for x in columns].count(c.lower()) > 1)
    if twins:
        raise InputError(f"table {name}: the columns {', '.join(twins)} differ in case only: rename one")


def _overwrite(table: DeltaTable, rows: pa.RecordBatchReader, name: str, dt: str, metadata: dict[str, Any]) -> int:
    schema = [f for f in kept(table, rows.schema) if f.name != POSITION]
    columns = pa.schema([*schema, pa.field(POSITION, pa.int64()), pa.field(DT, pa.string())])
    failed: list[InputError] = []
    reader = pa.RecordBatchReader.from_batches(columns, _batches(rows, columns, name, dt, failed))
    try:
        write_deltalake(
            table, reader, mode="overwrite", schema_mode="merge", predicate=f"{DT} = '{dt}'",
            commit_properties=_commit(dt, metadata),
        )  # fmt: skip
    except CommitFailedError as error:
        raise ConflictError(f"table {name}: another writer changed dt={dt} at the same time ({error})") from error
    except DeltaError:
        if failed:  # what went wrong inside the stream of batches comes out of Rust as a generic error
            raise failed[0] from None
        raise
    return int(table.version())


def _batches(
    rows: pa.RecordBatchReader, columns: pa.Schema, name: str, dt: str, failed: list[InputError]
) -> Iterator[pa.RecordBatch]:
    start = 0
    try:
        for batch in rows:
            arrays = []
            for field in columns:
                if field.name == POSITION and POSITION not in batch.schema.names:
                    arrays.append(pa.array(range(start, start + batch.num_rows), pa.int64()))
                elif field.name == DT:
                    arrays.append(pa.repeat(pa.scalar(dt), batch.num_rows))
                else:
                    arrays.append(fitted(batch.column(field.name), field, name))
            start += batch.num_rows
            yield pa.record_batch(arrays, schema=columns)
    except InputError as error:
        failed.append(error)
        raise


def _rows(table: DeltaTable, dates: list[str]) -> pa.Table:
    """The rows of these dates in their order, without the column that keeps the order."""
    dataset = table.to_pyarrow_dataset()
    parts = [dataset.to_table(filter=ds.field(DT) == dt).sort_by(POSITION) for dt in dates]
    rows = pa.concat_tables(parts) if parts else dataset.schema.empty_table()
    return rows.drop_columns([POSITION])


def _kept(rows: pa.Table) -> pa.Table:
    """The rows that do not remove an item."""
    return rows.filter(pa.array(~deleted(rows)[0]))


def type_of(table: DeltaTable, column: str) -> pa.DataType:
    """The type in which a table keeps a column; raises InputError when it has no such column."""
    schema = pa.schema(table.schema().to_arrow())
    if column not in schema.names:
        raise InputError(f"the table has no column {column!r}, only {', '.join(schema.names[:20])}")
    return schema.field(column).type


def kept(table: DeltaTable, schema: pa.Schema) -> pa.Schema:
    """The schema in which a table keeps rows of another one."""
    return pa.schema(stored(schema, pa.schema(table.schema().to_arrow())))


def fitted(column: pa.Array, field: pa.Field, name: str) -> pa.Array:
    """The column in the type that its field has in table `name`; raises InputError where a cell does not fit."""
    try:
        return cast(column, field.type)
    except pa.ArrowException as error:
        raise InputError(
            f"table {name}: column {field.name!r} holds {column.type}, the table {field.type}, and a cell does not fit "
            f"({str(error).splitlines()[0]}): give the column the table's type"
        ) from None


def dates(table: DeltaTable) -> set[str]:
    """The partitions of a table."""
    return {str(partition[DT]) for partition in table.partitions()}


def existing(warehouse: str, name: str, version: int | None = None) -> DeltaTable:
    """The table; raises InputError when there is none, or no such version of it."""
    if table := open_table(warehouse, name, version):
        return table
    raise InputError(f"no table {name} in {warehouse}: `attrgan publish … --warehouse {warehouse}` makes it")


def _commit(dt: str, metadata: dict[str, Any]) -> CommitProperties:
    return CommitProperties(custom_metadata={**metadata, DT: dt})


def retried(attempt: Callable[[], T], name: str, attempts: int = _ATTEMPTS) -> T:
    """Tries again on conflicts, waiting a random time that doubles up to four seconds; raises ConflictError at last."""
    random = SystemRandom()
    for n in range(attempts):
        try:
            return s3.patiently(attempt)
        except (ConflictError, CommitFailedError) as error:
            last = error
        _log.warning("table %s: attempt %d of %d met another writer (%s)", name, n + 1, attempts, last)
        time.sleep(random.uniform(0, min(4.0, 0.05 * 2**n)))
    raise ConflictError(f"table {name}: {attempts} attempts met other writers each time ({last}): run it again later")


def _address(warehouse: str, name: str) -> tuple[str, dict[str, str]]:
    """URI and storage options; raises InputError for a path on a disk that delta-rs does not read back as it stands."""
    if s3.is_s3(warehouse):
        return storage.join(warehouse, name), s3.table_options()
    if local := storage.local_path(warehouse) if "://" not in warehouse or warehouse.startswith("file:") else None:
        if unfit := _UNFIT.search(str(local)):
            raise InputError(
                f"the path of the warehouse {warehouse} has {unfit.group()!r} in it: expected none of [ ] | ^ \\, no "
                "control character and no % before two hexadecimal digits; choose another folder"
            )
        return str(local / name), {}
    return storage.join(warehouse, name), {}
