"""Publishing: the last step of write–audit–publish, and the only one that readers of the warehouse see.

Tables, each partition `dt` replaced as a whole: `products` (valid rows), `quarantine`, `completions`, and last
`completed`, whose commit carries the versions of the others. A reader that takes `completions` at the version which the
newest commit of `completed` names never sees half a publish.

Choices:
- The audit runs here once more: nothing is committed that was not compared with the seller's own values.
- Two publishers of one date: each builds on the state of `completed` from before its first commit. Who commits
  `completed` second meets a conflict and starts over, so all four tables end up from one publisher.
- Numeric attributes are float64 in the tables, because a file with whole prices today may bring fractions tomorrow.
  Quarantined rows are text, column by column: what was wrong with them may have been their type.
- `run_id` of `completions` is the publishing run's, so that one id finds everything a run wrote. `number` of a filled
  cell is the number that stands in `completed` (rounded as its column is), so that an undo can tell and bring it back.
  Of other values `stored` is what stands there, where that is not what was filled (see `undone.STORED`).
- Ids are in one type in all tables: that of `completed`, whatever night was the first with anything to complete.
- What was taken back (`attrgan undo`) from this run or from this model version stays empty when it is published again.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable

from attrgan.completion import undone
from attrgan.completion.audit import Shard, audit, open_shards, provenance
from attrgan.completion.complete import cell_of
from attrgan.errors import InputError
from attrgan.lake import manifest, storage, tables
from attrgan.lake.landing import check_date
from attrgan.lake.manifest import Result
from attrgan.lake.numbers import numbers_of
from attrgan.schema import Schema

__all__ = ["audit", "publish"]

_ATTEMPTS = 20
_BATCH_ROWS = 8192
_OWN = {"source_file", "source_row", "reasons", "source_text"}
_Change = Callable[[str, pa.Array], pa.Array]
"""(name of a column, its cells) → the cells as they are stored."""


def publish(
    complete_dirs: list[str], validation_dir: str | None, warehouse: str, dt: str, run_id: str, stage: Path,
    *, retention_days: int | None = None,
) -> Result:  # fmt: skip
    """Publishes a completed date; doing it again changes nothing.

    Args:
        complete_dirs: outputs of `attrgan complete`, all shards.
        validation_dir: output of `attrgan validate`; None: the folder that the shards' manifests name.
        warehouse: URL of the warehouse.
        dt: the date, YYYY-MM-DD.
        run_id: stands in every commit and in `completions`.
        stage: folder for `audit.json`.
        retention_days: for how long the tables keep their history; None: as they are set.

    Returns:
        Counts of the audit, `quarantined` and `kept_open` (cells that were taken back); details `tables` (name →
        version, None: has no such rows), `unchanged` (everything was there already). `refused` is the audit's
        sentence; nothing has been committed then.

    Raises:
        InputError: a folder is not the output of its verb, `dt` is no date, or a column does not fit its table.
        ConflictError: other publishers were faster twenty times.
    """
    shards = open_shards(complete_dirs)
    validation_dir = validation_dir or _validation_of(shards[0])
    checked = audit(complete_dirs, validation_dir, stage)
    if checked.refused:
        return checked
    load = _Load(shards, validation_dir, warehouse, check_date(dt), run_id, retention_days)
    versions, unchanged = _publish_whole(load)
    checked.counts |= {"quarantined": load.quarantined, "kept_open": load.kept_open}
    checked.details |= {"dt": dt, "warehouse": warehouse, "tables": versions, "unchanged": unchanged,
                        "content_hash": load.metadata["content_hash"]}  # fmt: skip
    return checked


@dataclass
class _Load:
    """What is to be published, and where."""

    shards: list[Shard]
    validation: str
    warehouse: str
    dt: str
    run_id: str
    retention_days: int | None
    kept_open: int = 0

    def __post_init__(self) -> None:
        schema = Schema.parse(self.shards[0].manifest["schema"])
        self._attributes = schema.attributes
        self._numeric = {name: a for name, a in schema.attributes.items() if a.kind == "numeric"}
        fs, valid = storage.filesystem(storage.join(self.validation, "valid.parquet"))
        with fs.open(valid, "rb") as file:
            self._fields = pq.read_schema(file)
        folders = [shard.place for shard in self.shards]
        self.completed = _stream([storage.join(f, "completed.parquet") for f in folders], self._typed)
        answers = _stream([storage.join(f, "completions.parquet") for f in folders], self._stamped)
        self.completions = undone.changed(answers, self._with_numbers)
        self.products = _stream([storage.join(self.validation, "valid.parquet")], self._typed)
        quarantine = storage.join(self.validation, "quarantine.parquet")
        self.quarantine = _stream([quarantine], _as_text)
        self.quarantined = sum(batch.num_rows for batch in self.quarantine())
        self.metadata = {"run_id": self.run_id, **{k: str(v) for k, v in provenance(self.shards).items()}}
        self.metadata["schema"] = json.dumps(schema.dump())  # so that readers know the columns' roles
        self.metadata["content_hash"] = _hash([*folders, self.validation])

    def _typed(self, name: str, column: pa.Array) -> pa.Array:
        if name not in self._numeric or pa.types.is_float64(column.type):
            return column
        numbers = numbers_of(self._fields.field(name), column, self._numeric[name])
        return pa.array(numbers, pa.float64(), from_pandas=True)

    def _with_numbers(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """`number` of the filled cells as it stands in `completed`."""
        names = [name for name in self._numeric if name in self._fields.names]
        for name in names:
            mine, cells = self._filled(batch, name)
            numbers = self._typed(name, cells)
            at = batch.schema.get_field_index("number")
            batch = batch.set_column(at, batch.schema.field(at), pc.replace_with_mask(batch["number"], mine, numbers))
        return batch

    def stored_in(self, completed: pa.Schema) -> undone.Stream:
        """The completions, with `stored` where `completed` keeps what is filled in another type than tonight's."""
        names = [n for n in self._attributes if n in self._fields.names and n not in self._numeric]
        other = [n for n in names if completed.field(n).type != self._fields.field(n).type]

        def with_stored(batch: pa.RecordBatch) -> pa.RecordBatch:
            stored = pa.nulls(len(batch), pa.string())
            for name in other:
                mine, cells = self._filled(batch, name)
                kept = tables.fitted(cells, completed.field(name), "completed")
                stored = pc.replace_with_mask(stored, mine, pa.array(map(_text, kept.to_pylist()), pa.string()))
            return batch.append_column(undone.STORED, stored)

        return undone.changed(self.completions, with_stored) if other else self.completions

    def _filled(self, batch: pa.RecordBatch, name: str) -> tuple[pa.Array, pa.Array]:
        """Which completions of a batch, bool (n,), are filled cells of an attribute, and these cells as they are."""
        mine = pc.and_(pc.equal(batch["attribute"], name), pc.equal(batch["status"], "filled"))
        kind = self._fields.field(name).type
        return mine, pa.array([cell_of(v, kind) for v in batch["value"].filter(mine).to_pylist()], kind)

    def _stamped(self, name: str, column: pa.Array) -> pa.Array:
        return pa.repeat(pa.scalar(self.run_id), len(column)) if name == "run_id" else column


def _publish_whole(load: _Load) -> tuple[dict[str, int | None], bool]:
    """Commits all tables on one state of `completed`, starting over when another publisher was faster."""
    schema = load.completed().schema

    def attempt() -> tuple[dict[str, int | None], bool]:
        base = tables.begin(load.warehouse, "completed", schema, load.retention_days)
        there = _already_there(base, load)
        return (there, True) if there else (_commit(base, load), False)

    return tables.retried(attempt, "completed", _ATTEMPTS)


def _commit(base: DeltaTable, load: _Load) -> dict[str, int | None]:
    replace = partial(tables.replace_partition, load.warehouse, dt=load.dt, retention_days=load.retention_days)
    kept = tables.kept(base, load.completed().schema)
    completed, completions = _open(base, load, kept)
    versions: dict[str, int | None] = {"products": replace("products", load.products, metadata=load.metadata)}
    for name, rows in (("quarantine", load.quarantine), ("completions", completions)):
        if any(batch.num_rows for batch in rows()):
            if name == "completions":
                fields = rows().schema
                fields = fields.set(0, kept.field(fields.names[0]))  # the ids
                tables.begin(load.warehouse, name, fields, load.retention_days)
            versions[name] = replace(name, rows, metadata=load.metadata)
        else:  # an earlier run of this date may have left some
            tables.remove_partition(load.warehouse, name, load.dt, load.metadata)
            versions[name] = None
    carried = {f"{name}_version": version for name, version in versions.items()}
    versions["completed"] = replace("completed", completed, metadata={**load.metadata, **carried}, base=base)
    return versions


def _open(base: DeltaTable, load: _Load, kept: pa.Schema) -> tuple[undone.Stream, undone.Stream]:
    """`completed` and `completions` without the values that were taken back from this run or this model version."""
    run = {name: load.metadata[name] for name in ("run_id", "model_version")}
    completions = load.stored_in(kept)
    cells = undone.kept_open(load.warehouse, base, load.dt, run, completions)
    load.kept_open = sum(len(changing.ids) for changing in cells.values())
    key = completions().schema.names[0]
    return (
        (
            undone.changed(load.completed, undone.in_completed(cells, key)),
            undone.changed(completions, undone.in_completions(cells, key)),
        )
        if cells
        else (load.completed, completions)
    )


def _already_there(base: DeltaTable, load: _Load) -> dict[str, int | None] | None:
    """The versions of the tables when the newest commits on this date are this very publish."""
    last = tables.last_commit(base, load.dt)
    if not last or any(last.get(key) != load.metadata[key] for key in ("run_id", "content_hash")):
        return None
    versions: dict[str, int | None] = {"completed": last["version"]}
    for name in ("products", "quarantine", "completions"):
        versions[name] = last.get(f"{name}_version")
        table = tables.open_table(load.warehouse, name)
        newest = tables.last_commit(table, load.dt) if table else None
        if versions[name] != (newest and newest["version"]):
            return None
    return versions


def _stream(places: list[str], change: _Change) -> Callable[[], pa.RecordBatchReader]:
    """Opens the rows of Parquet files, one after the other and batch by batch, each column changed on the way."""

    def changed(batch: pa.RecordBatch) -> pa.RecordBatch:
        columns = {name: change(name, batch.column(name)) for name in batch.schema.names}
        return pa.record_batch(columns) if columns else batch

    def batches() -> Iterator[pa.RecordBatch]:
        for place in places:
            fs, path = storage.filesystem(place)
            with fs.open(path, "rb") as file:
                yield from (changed(batch) for batch in pq.ParquetFile(file).iter_batches(_BATCH_ROWS))

    def reader() -> pa.RecordBatchReader:
        fs, path = storage.filesystem(places[0])
        with fs.open(path, "rb") as file:
            schema = pq.read_schema(file)
        empty = pa.record_batch([pa.array([], field.type) for field in schema], schema=schema)
        return pa.RecordBatchReader.from_batches(changed(empty).schema, batches())

    return reader


def _text(cell: Any) -> str:
    """A cell as `value` would say it: what `cell_of` makes a cell of."""
    return json.dumps(list(map(_text, cell)), ensure_ascii=False) if isinstance(cell, list) else str(cell)


_BYTES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_binary_view)


def _as_text(name: str, column: pa.Array) -> pa.Array:
    """A received column as strings: lists and structs as JSON, bytes as base64; `validate`'s own as they are."""
    if name in _OWN or pa.types.is_string(column.type):
        return column
    if pa.types.is_nested(column.type):
        cells = [None if c is None else json.dumps(c, ensure_ascii=False, default=str) for c in column.to_pylist()]
        return pa.array(cells, pa.string())
    if any(of(column.type) for of in _BYTES):
        return pa.array([None if c is None else base64.b64encode(c).decode() for c in column.to_pylist()], pa.string())
    return pc.cast(column, pa.string())


def _hash(folders: list[str]) -> str:
    """A hash of the files that are published."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in ("completed.parquet", "completions.parquet", "valid.parquet", "quarantine.parquet"):
            place = storage.join(folder, path)
            if storage.exists(place):
                digest.update(f"{path} {manifest.content_hash(place)};".encode())
    return digest.hexdigest()[:16]


def _validation_of(shard: Shard) -> str:
    """The folder of `attrgan validate` that a shard was cut from, as its manifest says."""
    for source in shard.manifest["inputs"].values():
        folder, _, name = str(source["place"]).rpartition("/")
        if name == "valid.parquet" and manifest.read(folder):
            return folder
    raise InputError(
        f"{shard.place} was not completed from a valid.parquet of `attrgan validate`: name its folder with --validation"
    )
