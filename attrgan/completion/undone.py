"""What an undone cell is in the tables, and how a table's rows are changed cell by cell.

In `completed` the cell is null again. In `completions` its row stays, `abstained` (left empty) in place of `filled`,
with who took it back: `undone_by` (run id of the undo), `undone_at`, and `undone_for`, what was taken back (`run_id` or
`model_version`) and therefore may not fill the cell again when the same date is published once more. Tables in which
nothing has been undone lack these columns.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from deltalake import DeltaTable

from attrgan.lake import tables
from attrgan.lake.column_types import cast

OPENED = "abstained"
"""Status of a cell that was taken back: left empty."""
MARKS = {"status": pa.string(), "undone_by": pa.string(), "undone_at": pa.string(), "undone_for": pa.string()}
"""What an undo writes into a row of `completions`."""
STORED = "stored"
"""Column of `completions`: a filled value as `completed` has it, where its column there has another type than the
night's had (`true`, filled as `True`). Else null, or there is no such column: it stands there as `value` says."""
Stream: TypeAlias = Callable[[], pa.RecordBatchReader]


@dataclass(frozen=True)
class Cells:
    """Cells of one attribute that are to change.

    Attributes:
        ids: the items, each once, as `index` has them.
        kind: the type of the ids: that of `completed`, where the other tables may have another.
        values: their new cells in `completed`, in its type.
        marks: new cells of their rows in `completions`, by column.
    """

    ids: pd.Index
    kind: pa.DataType
    values: pa.Array
    marks: pa.Table

    def find(self, ids: pa.Array) -> np.ndarray:
        """int (n,): where each id stands among the cells, -1 for those that stay as they are."""
        return np.asarray(self.ids.get_indexer(index(cast(ids, self.kind))))


ByAttribute: TypeAlias = dict[str, Cells]


def id_column(completions: DeltaTable) -> str:
    """The name of the id column, which is the first of `completions`."""
    return str(completions.schema().fields[0].name)


def in_completed(cells: ByAttribute, key: str) -> tables.Change:
    """Changes rows of `completed`: the cells get their new values."""

    def change(batch: pa.RecordBatch) -> pa.RecordBatch:
        columns = {name: batch.column(name) for name in batch.schema.names}
        for name, changing in cells.items():
            columns[name] = _replaced(columns[name], changing.values, changing.find(batch.column(key)))
        return pa.record_batch(columns)

    return change


def in_completions(cells: ByAttribute, key: str) -> tables.Change:
    """Changes rows of `completions`: the marks are set, in columns that are added where they are lacking."""

    def change(batch: pa.RecordBatch) -> pa.RecordBatch:
        columns = {name: batch.column(name) for name in batch.schema.names}
        columns |= {name: pa.nulls(len(batch), kind) for name, kind in MARKS.items() if name not in columns}
        for name, changing in cells.items():
            at = np.full(len(batch), -1)
            mine = np.flatnonzero(pc.equal(batch.column("attribute"), name))
            at[mine] = changing.find(batch.column(key).take(pa.array(mine)))
            for mark in changing.marks.column_names:
                columns[mark] = _replaced(columns[mark], changing.marks[mark].combine_chunks(), at)
        return pa.record_batch(columns)

    return change


def _replaced(column: pa.Array, new: pa.Array, at: np.ndarray) -> pa.Array:
    """The column with `new[at]` wherever `at` is not negative."""
    hit = at >= 0
    if not hit.any():
        return column
    return pc.if_else(pa.array(hit), new.take(pa.array(at, mask=~hit)).cast(column.type), column)


def seen(warehouse: str, completed: DeltaTable, dt: str) -> tuple[DeltaTable | None, dict[str, Any]]:
    """`completions` in the state that belongs to `completed` on a date, and the newest commit of `completed` on it.

    That state is the one which the commit names. Where the log no longer goes back to the commit, it is the newest.
    None: there are no completions of that date.
    """
    commit = tables.last_commit(completed, dt) or {}
    table = tables.open_table(warehouse, "completions")
    if table and is_unfinished(commit, tables.last_commit(table, dt)):
        named = commit["completions_version"]
        table = None if named is None else tables.open_table(warehouse, "completions", named)
    return (table if table and dt in tables.dates(table) else None), commit


def is_unfinished(completed: dict[str, Any], completions: dict[str, Any] | None) -> bool:
    """Whether a commit of `completions` is not the one that the commit of `completed` on the same date names."""
    if not completions or "completions_version" not in completed:
        return False
    return bool(completed["completions_version"] != completions["version"])


def kept_open(warehouse: str, completed: DeltaTable, dt: str, run: dict[str, str], rows: Stream) -> ByAttribute:
    """Cells that were taken back from this very run or model version and would be filled again by these completions.

    Args:
        completed: the table that is going to be published to.
        run: `run_id` and `model_version` of the publication.
        rows: its completions.
    """
    table, _ = seen(warehouse, completed, dt)
    if table is None or "undone_for" not in [f.name for f in table.schema().fields]:
        return {}
    key = id_column(table)
    ids = pa.field(key, tables.type_of(completed, key))
    same = [(ds.field("undone_for") == what) & (ds.field(what) == value) for what, value in run.items()]
    undone = tables.scan(table, dt, [key, "attribute", *MARKS], same[0] | same[1])
    if not undone.num_rows:
        return {}
    marked = undone.set_column(undone.column_names.index("status"), "status", pa.array([OPENED] * len(undone)))
    marked = marked.set_column(0, ids, cast(undone[key], ids.type))
    found: ByAttribute = {}
    for name, filled in _filled(rows, key).items():
        earlier = marked.filter(pc.equal(marked["attribute"], name))
        again = earlier.filter(pc.is_in(earlier[key], tables.fitted(filled, ids, "completed")))
        if again.num_rows:
            found[name] = Cells(index(again[key]), ids.type, pa.nulls(len(again)), again.select(list(MARKS)))
    return found


def _filled(rows: Stream, key: str) -> dict[str, pa.ChunkedArray]:
    """Attribute → ids of the filled cells."""
    parts = [
        pa.table({"id": batch[key], "attribute": batch["attribute"]}).filter(pc.equal(batch["status"], "filled"))
        for batch in rows()
    ]
    table = pa.concat_tables(parts) if parts else pa.table({"id": [], "attribute": []})
    return {
        name: table.filter(pc.equal(table["attribute"], name))["id"] for name in table["attribute"].unique().to_pylist()
    }


def index(ids: pa.Array | pa.ChunkedArray) -> pd.Index:
    """Ids as what `Cells` looks them up by."""
    return pd.Index(ids.to_pylist(), dtype=object)


def changed(rows: Stream, change: tables.Change) -> Stream:
    """A stream of changed rows."""

    def reader() -> pa.RecordBatchReader:
        source = rows()
        empty = pa.record_batch([pa.array([], f.type) for f in source.schema], schema=source.schema)
        return pa.RecordBatchReader.from_batches(change(empty).schema, map(change, source))

    return reader
