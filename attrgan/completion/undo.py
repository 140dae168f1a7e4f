"""Undo: takes back what a run or a model version wrote, cell by cell, in new commits; never a table restore.

Choices (see `docs/adr/0006-undo.md`):
- A cell is emptied only while it still holds the value that was filled. What a seller has given, a later run has
  written or a person has changed since stays, and is counted as `kept`.
- Per date, `completions` is committed first and `completed` last, on the state that was looked at, as in a publish:
  when a publisher was faster, the date is looked at again. Killed in between, readers of `completed` see nothing of it,
  and running it again does the rest.
- An undo is a run itself. Undoing it fills the cells again that are still empty, with the very values that were there.
- Dates are done one after the other; rows are streamed, and memory holds the cells of one date.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from deltalake import DeltaTable

from attrgan.completion import undone
from attrgan.completion.audit import changed_cells
from attrgan.completion.complete import cell_of
from attrgan.errors import InputError
from attrgan.lake import tables
from attrgan.lake.column_types import cast
from attrgan.lake.landing import check_date
from attrgan.lake.manifest import Result

_CARRIED = ("model_version", "schema_hash", "products_version", "quarantine_version")
_CHANGING = ("emptied", "refilled")
_RUNS_NAMED = 8
_SLACK = 1e-6


@dataclass(frozen=True)
class Selection:
    """What is to be taken back.

    Attributes:
        run_id: a run, or an undo; or
        model_version: a version of the model, whatever run it wrote in.
        attribute: only this one.
        first, last: only dates from `first` to `last`, both included.
    """

    run_id: str | None = None
    model_version: str | None = None
    attribute: str | None = None
    first: str | None = None
    last: str | None = None

    def __post_init__(self) -> None:
        if (self.run_id is None) == (self.model_version is None):
            given = "both" if self.run_id is not None else "neither"
            raise InputError(f"{given} of --run-id and --model-version was given: say with one of them what to undo")
        for date in (self.first, self.last):
            if date is not None:
                check_date(date)
        if self.first and self.last and self.first > self.last:
            raise InputError(f"--from {self.first} is after --to {self.last}: expected the earlier date first")

    @property
    def what(self) -> str:
        """The column of `completions` that says which rows are meant."""
        return "model_version" if self.run_id is None else "run_id"

    @property
    def undo_id(self) -> str:
        """The id of an undo that was given none: of one day and one selection the same, so that it can be run again."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
        return f"undo-{datetime.now(UTC):%Y-%m-%d}-{digest[:8]}"

    def within(self, dates: set[str]) -> list[str]:
        """The dates of the selection in order."""
        return sorted(dt for dt in dates if (self.first or dt) <= dt <= (self.last or dt))

    def rows(self, completions: DeltaTable) -> ds.Expression:
        """The rows of `completions` that are meant: written by the run or version, or taken back by the undo."""
        where = ds.field(self.what) == (self.run_id or self.model_version)
        if self.run_id and "undone_by" in _columns(completions):
            where |= ds.field("undone_by") == self.run_id
        return where & (ds.field("attribute") == self.attribute) if self.attribute else where

    def __str__(self) -> str:
        dates = f" from {self.first}" * bool(self.first) + f" to {self.last}" * bool(self.last)
        of = f"attribute {self.attribute!r} of " if self.attribute else ""
        return f"{of}{self.what.replace('_', ' ')} {self.run_id or self.model_version!r}{dates}"


@dataclass
class _Found:
    """The cells of one attribute and one date that are meant, and what becomes of them."""

    cells: pa.Table
    held: pa.Array
    expected: pa.Array
    outcome: np.ndarray
    """object (n,): emptied, refilled, kept (holds another value by now), already (undone before); None: not filled."""


class _Account:
    """Counts what became of the cells, and lists them in a file."""

    def __init__(self, stage: Path):
        self._place, self._totals = stage / "cells.parquet", Counter[str]()
        self._writer: pq.ParquetWriter | None = None
        self.changes: dict[str, dict[str, int]] = {}
        self.examples: list[dict[str, Any]] = []

    def add(self, dt: str, attribute: str, found: _Found) -> None:
        listed = _listed(found, dt, attribute)
        self._writer = self._writer or pq.ParquetWriter(self._place, listed.schema)
        self._writer.write_table(listed)
        self._totals.update(listed["outcome"].to_pylist())
        changing = listed.filter(pc.is_in(listed["outcome"], pa.array(_CHANGING)))
        if changing.num_rows:
            self.changes.setdefault(dt, {})[attribute] = changing.num_rows
            item, value = changing.column(1)[0].as_py(), changing["value"][0].as_py()
            self.examples.append({"dt": dt, "attribute": attribute, "id": item, "value": value})

    def counts(self) -> dict[str, int]:
        return {name: self._totals[name] for name in (*_CHANGING, "kept", "already")} | {"dates": len(self.changes)}

    def close(self) -> bool:
        """Whether anything was added."""
        if self._writer:
            self._writer.close()
        return self._writer is not None


def undo(
    warehouse: str, selection: Selection, stage: Path, *, undo_id: str | None = None, dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Result:  # fmt: skip
    """Takes back what a run or a version wrote, or brings back what an undo took; doing it again changes nothing.

    Args:
        stage: folder for `cells.parquet`: one row for every cell that is meant, with its outcome.
        undo_id: the run id of this undo; None: `Selection.undo_id`.
        dry_run: only says what would change.
        progress: gets (dates done, dates).

    Returns:
        Counts `emptied`, `refilled`, `kept` (hold another value by now, left as they are), `already` (undone before),
        `dates`; details `undo`, `changes` (dt → attribute → cells), `examples` (the first cell of each), `dry_run`.

    Raises:
        InputError: nothing in the tables is of the run or version, or there are no tables.
        ConflictError: publishers of the same date were faster twelve times.
    """
    undo_id = undo_id or selection.undo_id
    if undo_id == selection.run_id:
        raise InputError(f"the undo was given the id of the run that it takes back, {undo_id!r}: give it another")
    dates, account = _dates(warehouse, selection), _Account(stage)
    for n, dt in enumerate(dates):
        for name, found in _undo_date(warehouse, selection, dt, undo_id, dry_run).items():
            account.add(dt, name, found)
        if progress:
            progress(n + 1, len(dates))
    if not account.close():
        raise InputError(_nothing(warehouse, selection))
    details = {"undo": undo_id, "warehouse": warehouse, "selection": asdict(selection), "dry_run": dry_run}
    return Result(account.counts(), {**details, "changes": account.changes, "examples": account.examples})


def _dates(warehouse: str, selection: Selection) -> list[str]:
    """The dates on which there may be something to do."""
    completed = tables.existing(warehouse, "completed")
    completions = tables.open_table(warehouse, "completions")
    if completions is None:
        return []
    done, answered = tables.last_commits(completed), tables.last_commits(completions)
    where, found = selection.rows(completions), []
    for dt in selection.within(tables.dates(completed)):
        unfinished = undone.is_unfinished(done.get(dt, {}), answered.get(dt))
        if unfinished or tables.scan(completions, dt, ["attribute"], where).num_rows:
            found.append(dt)
    return found


def _undo_date(warehouse: str, selection: Selection, dt: str, undo_id: str, dry_run: bool) -> dict[str, _Found]:
    """Undoes one date; attribute → what became of its cells."""
    tries = count()

    def attempt() -> dict[str, _Found]:
        completed = tables.existing(warehouse, "completed")
        completions, commit = undone.seen(warehouse, completed, dt)
        beaten = next(tries) > 0
        found = dict(_find(selection, completed, completions, dt)) if completions else {}
        cells = {name: _cells(f, selection, undo_id) for name, f in found.items()}
        cells = {name: changing for name, changing in cells.items() if len(changing.ids)}
        if not dry_run and (cells or beaten):  # an attempt that was beaten has left its rows in `completions`
            metadata = {name: commit[name] for name in _CARRIED if name in commit}
            metadata |= {"run_id": undo_id, "undo_of": str(selection)}
            _commit(warehouse, completed, completions, cells, dt, metadata)
        return found

    return tables.retried(attempt, "completed")


def _commit(
    warehouse: str, completed: DeltaTable, completions: DeltaTable | None, cells: undone.ByAttribute, dt: str,
    metadata: dict[str, Any],
) -> None:  # fmt: skip
    if completions is None:
        tables.remove_partition(warehouse, "completions", dt, metadata)
        return
    key = undone.id_column(completions)
    version = tables.rewrite_partition(
        warehouse, "completions", completions, undone.in_completions(cells, key), dt, metadata
    )
    change, metadata = undone.in_completed(cells, key), {**metadata, "completions_version": version}
    tables.rewrite_partition(warehouse, "completed", completed, change, dt, metadata, base=completed)


def _find(
    selection: Selection, completed: DeltaTable, completions: DeltaTable, dt: str
) -> Iterator[tuple[str, _Found]]:
    """The cells that are meant, attribute by attribute, and what becomes of them."""
    key, there = undone.id_column(completions), _columns(completions)
    columns = [c for c in (key, "attribute", "value", "number", undone.STORED, *undone.MARKS) if c in there]
    rows = tables.scan(completions, dt, columns, selection.rows(completions))
    rows = rows.set_column(0, key, cast(rows[key], tables.type_of(completed, key)))
    for name in pc.unique(rows["attribute"]).to_pylist():
        cells = rows.filter(pc.equal(rows["attribute"], name)).combine_chunks()
        if name not in _columns(completed):
            raise InputError(f"table completed has no column {name!r}, which {selection} has filled: was it renamed?")
        items = tables.scan(completed, dt, [key, name])
        place = pc.index_in(cells[key], value_set=items[key].combine_chunks())
        held = items[name].take(place).combine_chunks()
        yield name, _judge(cells, held, selection)


def _judge(cells: pa.Table, held: pa.Array, selection: Selection) -> _Found:
    """What becomes of cells that now hold `held`."""
    by = cells["undone_by"].to_pylist() if "undone_by" in cells.column_names else [None] * len(cells)
    is_filled = np.asarray(pc.equal(cells["status"], "filled"), dtype=bool)
    taken = np.array([b is not None for b in by], dtype=bool)
    ours = taken & np.array([b == selection.run_id for b in by], dtype=bool)
    expected = _as_filled(cells, held, is_filled | ours)
    outcome = np.full(len(cells), None, dtype=object)
    outcome[is_filled] = np.where(_is_same(held, expected)[is_filled], "emptied", "kept")
    outcome[taken] = "already"
    outcome[ours] = np.where(np.asarray(held.is_null())[ours], "refilled", "kept")
    return _Found(cells, held, expected, outcome)


def _as_filled(cells: pa.Table, held: pa.Array, wanted: np.ndarray) -> pa.Array:
    """The cells as they were filled, in the type of `completed` or as numbers; null where it is not asked."""
    if _is_numeric(cells):
        numbers = pc.if_else(pa.array(wanted), cells["number"].combine_chunks(), None)
        return numbers if _holds_numbers(held) else cast(numbers, held.type)
    values = cells["value"].combine_chunks()
    if undone.STORED in cells.column_names:
        values = pc.coalesce(cells[undone.STORED].combine_chunks(), values)
    values = pc.if_else(pa.array(wanted), values, None)
    return values if pa.types.is_string(held.type) else pa.array(_cells_of(values, held.type), held.type)


def _cells_of(values: pa.Array, kind: pa.DataType) -> list[Any]:
    """Values as cells of a column; None also where it could not hold them (filled before `stored` was written)."""
    found: list[Any] = []
    for value in values.to_pylist():
        try:
            found.append(None if value is None else pa.scalar(cell_of(value, kind), kind).as_py())
        except (ValueError, KeyError, ArithmeticError, pa.ArrowException):
            found.append(None)
    return found


def _is_numeric(cells: pa.Table) -> bool:
    """Whether the attribute is numeric; a category may be written in numbers too, but has no `number`."""
    return bool(cells["number"].null_count < len(cells))


def _holds_numbers(held: pa.Array) -> bool:
    """Whether cells are numbers, and no text, truth value or the like that a number was turned into."""
    kind = held.type
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind))


def _is_same(held: pa.Array, expected: pa.Array) -> np.ndarray:
    """bool (n,): cells that hold what was filled; numbers within what a column of float32 loses."""
    same = ~changed_cells(pa.chunked_array([expected]), pa.chunked_array([held])) & np.asarray(held.is_valid())
    if not pa.types.is_floating(held.type):
        return same
    found, number = (np.asarray(a.to_numpy(zero_copy_only=False), dtype=float) for a in (held, expected))
    return same | np.isclose(found, number, rtol=_SLACK, atol=0)


def _cells(found: _Found, selection: Selection, undo_id: str) -> undone.Cells:
    """The changes of one attribute."""
    change = pa.array(np.isin(found.outcome.astype(str), _CHANGING))
    cells, held, expected = found.cells.filter(change), found.held.filter(change), found.expected.filter(change)
    back = pa.array(found.outcome[np.asarray(change)] == "refilled", pa.bool_())
    now = datetime.now(UTC).isoformat(timespec="seconds")
    marks = {
        "status": pc.if_else(back, "filled", undone.OPENED),
        **{
            name: pc.if_else(back, pa.scalar(None, pa.string()), value)
            for name, value in (("undone_by", undo_id), ("undone_at", now), ("undone_for", selection.what))
        },
    }
    if _is_numeric(cells) and _holds_numbers(held):  # the very number, so that it can be brought back
        marks["number"] = pc.coalesce(held, cells["number"].combine_chunks())
    values = pc.if_else(back, expected, pa.scalar(None, expected.type))
    return undone.Cells(undone.index(cells.column(0)), cells.column(0).type, values, pa.table(marks))


def _listed(found: _Found, dt: str, attribute: str) -> pa.Table:
    """The cells of an attribute as `cells.parquet` lists them."""
    n, key = len(found.cells), found.cells.column_names[0]
    return pa.table({
        "dt": pa.repeat(pa.scalar(dt), n), key: found.cells[key], "attribute": pa.repeat(pa.scalar(attribute), n),
        "value": found.cells["value"], "outcome": pa.array(found.outcome.tolist(), pa.string()),
    }).filter(pa.array(found.outcome != None))  # noqa: E711  # fmt: skip


def _columns(table: DeltaTable) -> list[str]:
    return [str(field.name) for field in table.schema().fields]


def _nothing(warehouse: str, selection: Selection) -> str:
    completed = tables.existing(warehouse, "completed")
    commits = tables.last_commits(completed)
    ids = dict.fromkeys(str(commits[dt].get(selection.what)) for dt in sorted(commits, reverse=True))
    named = ", ".join(list(ids)[:_RUNS_NAMED]) + ", …" * (len(ids) > _RUNS_NAMED)
    return (
        f"nothing in {warehouse} is of {selection}: it wrote nothing there, or later runs have replaced it; "
        f"the newest there: {named}"
    )
