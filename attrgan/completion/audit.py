"""The audit of write–audit–publish: proof, cell by cell, that completion did what it may do and nothing else.

What must hold, or nothing is published:
- the shards together are the valid rows: every row, the same ids, the same order, the same columns and types;
- every given cell is untouched, in every column (compared, not trusted);
- a null cell of an attribute was filled only with the value of its completions row, whose status is `filled`;
- every null cell of an attribute has exactly one completions row, except where `applies_to` rules the attribute out or
  its mode is `off`; no other cell has one;
- nothing was filled where the mode is not `fill`, where nothing is promised, or below the threshold of the promise;
- one model and one schema made all shards.

A shard is read in slices, its completions alongside, since both are in the order of the items. Only a shard in which
something is wrong is read as a whole, to say all of it. Left open on purpose, because the schema does not decide them:
cells whose `applies_to` asks a column that is itself null, blank strings, and rows that remove an item.
"""

import json
import os
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from attrgan.completion.complete import admitted, has_value
from attrgan.errors import InputError
from attrgan.lake import manifest, storage
from attrgan.lake.catalog import deleted
from attrgan.lake.cells import canonical_list, to_frame
from attrgan.lake.manifest import Result
from attrgan.lake.numbers import is_text, parse_numbers
from attrgan.lake.rows import CHUNK_ROWS, Cursor, keys_of
from attrgan.schema import Schema

Mask = np.ndarray
"""bool (rows,)."""

_EXAMPLES = 20
_LISTED = 100_000
_SLACK = 1e-9


@dataclass(frozen=True)
class Shard:
    """An output folder of `attrgan complete`: shard `index` of `of`."""

    place: str
    manifest: dict[str, Any]
    index: int
    of: int


@dataclass
class Findings:
    """What is wrong: how often, the first twenty cases, and a file that lists them all."""

    listing: Path
    counts: Counter[str] = field(default_factory=Counter)
    examples: list[dict[str, Any]] = field(default_factory=list)
    listed: int = 0

    def add(self, defect: str, n: int = 1, **case: Any) -> None:
        """Counts `n` defects of one case."""
        self.counts[defect] += n
        self._list([{"defect": defect, **case}])

    def add_rows(self, defect: str, rows: Mask, ids: list[Any], **columns: Any) -> None:
        """One defect for each row where the mask holds; a column gives its cell of that row to the case."""
        if not rows.any():
            return
        at = np.flatnonzero(rows)
        self.counts[defect] += len(at)
        at = at[: max(_LISTED - self.listed, 0)]
        cells = {
            k: c.take(pa.array(at)).to_pylist() if isinstance(c, pa.ChunkedArray) else [c] * len(at)
            for k, c in columns.items()
        }
        self._list([
            {"defect": defect, "id": ids[row]} | {k: c[i] for k, c in cells.items()} for i, row in enumerate(at)
        ])  # fmt: skip

    def _list(self, cases: list[dict[str, Any]]) -> None:
        self.examples += cases[: _EXAMPLES - len(self.examples)]
        with self.listing.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(case, ensure_ascii=False, default=str) + "\n" for case in cases)
        self.listed += len(cases)

    def sentence(self) -> str | None:
        """All of it in one sentence, or None when nothing is wrong."""
        if not self.counts:
            return None
        kinds = "; ".join(f"{defect} ({n})" for defect, n in self.counts.most_common())
        cases = "; ".join(", ".join(f"{k}={_short(v)}" for k, v in case.items()) for case in self.examples)
        return f"the audit says no: {kinds}. Nothing may be published. First cases: {cases}"


def audit(complete_dirs: list[str], validation_dir: str, stage: Path) -> Result:
    """Compares what was completed with what was validated, and writes `audit.json`.

    Where something is wrong, `defects.jsonl` lists it cell by cell (id, attribute, given, completed), up to 100,000.

    Args:
        complete_dirs: outputs of `attrgan complete` (paths or URLs), all shards, in any order.
        validation_dir: output of `attrgan validate`, which the shards were cut from.
        stage: folder for `audit.json`.

    Returns:
        Counts (`rows`, `cells_compared`, `given`, `filled`, `completions`, `shards`), model version and schema hash; in
        `refused` what is wrong, with up to 20 cases.

    Raises:
        InputError: a folder is not the output of the verb it should be.
    """
    shards, findings = open_shards(complete_dirs), Findings(stage / "defects.jsonl")
    findings.listing.unlink(missing_ok=True)
    validated = _manifest_of(validation_dir, "validate")
    if validated["refused"]:
        findings.add("validation was refused", reason=validated["refused"])
    _check_shards(shards, findings)
    schema = Schema.parse(shards[0].manifest["schema"], f"the manifest of {shards[0].place}")
    counts: Counter[str] = Counter({"shards": len(shards)})
    for shard in shards:
        counts.update(_audit_shard(shard, validation_dir, counts["rows"], schema, findings))
    with _open(validation_dir, "valid.parquet") as file:
        if (missing := pq.ParquetFile(file).metadata.num_rows - counts["rows"]) > 0:
            findings.add("valid rows are missing from the shards", missing)
    suspended = shards[0].manifest.get("suspended")
    details = provenance(shards) | ({"suspended": suspended} if suspended else {})
    result = Result(dict(counts), details, findings.sentence())
    storage.write_json(
        stage / "audit.json",
        {**result.counts, **result.details, "passed": not result.refused, "violations": dict(findings.counts),
         "examples": findings.examples},
    )  # fmt: skip
    return result


def open_shards(complete_dirs: list[str]) -> list[Shard]:
    """The shards in order; raises InputError for a folder that `attrgan complete` did not write."""
    if not complete_dirs:
        raise InputError("no output of `attrgan complete` was given: expected the folder of every shard")
    shards = []
    for place in map(str, complete_dirs):
        written = _manifest_of(place, "complete")
        if "schema" not in written:
            raise InputError(f"the manifest of {place} carries no schema: run `attrgan complete` again")
        index, _, of = str(written.get("shard") or "0/1").partition("/")
        shards.append(Shard(place, written, int(index), int(of)))
    return sorted(shards, key=lambda shard: shard.index)


def provenance(shards: list[Shard]) -> dict[str, Any]:
    """What made the shards: model version and schema hash."""
    return {key: shards[0].manifest.get(key) for key in ("model_version", "schema_hash")}


def _manifest_of(place: str, verb: str) -> dict[str, Any]:
    found = manifest.read(place)
    if not found or found.get("verb") != verb:
        what = f"of `attrgan {found.get('verb')}`" if found else "without a manifest"
        raise InputError(f"{place} is a folder {what}: expected the output of `attrgan {verb}`, finished")
    return found


def _check_shards(shards: list[Shard], findings: Findings) -> None:
    if [(s.index, s.of) for s in shards] != [(i, len(shards)) for i in range(len(shards))]:
        findings.add("the shards are not complete", given=", ".join(f"{s.index}/{s.of}" for s in shards))
    for key in ("model_version", "schema_hash", "suspended"):
        values = sorted({str(s.manifest.get(key)) for s in shards})
        if len(values) > 1:
            findings.add(f"the shards differ in {key}", found=", ".join(values))


def _audit_shard(shard: Shard, validation: str, first: int, schema: Schema, findings: Findings) -> Counter[str]:
    """Audits a shard whose rows are the valid ones from the row `first` on; returns its counts."""
    found = Findings(Path(os.devnull))
    counts = _audit_slices(shard, validation, first, CHUNK_ROWS, schema, found)
    return _audit_slices(shard, validation, first, None, schema, findings) if found.counts else counts


def _audit_slices(
    shard: Shard, validation: str, first: int, size: int | None, schema: Schema, findings: Findings
) -> Counter[str]:
    """Audits so many rows at a time, up to the first slice in which something is wrong; None: all at once."""
    counts: Counter[str] = Counter()
    with (
        _open(validation, "valid.parquet") as valid,
        _open(shard.place, "completed.parquet") as completed,
        _open(shard.place, "completions.parquet") as completions,
    ):
        before, after, answers = Cursor(valid), Cursor(completed), Cursor(completions)
        before.skip(first)
        while True:
            rows = after.take(size)
            cells = answers.take(None) if size is None else answers.take_of(schema.id, rows[schema.id])
            counts.update(_audit_rows(shard, before.take(rows.num_rows), rows, cells, schema, findings))
            if size is None or rows.num_rows < size or findings.counts:
                break
        if size is not None and not findings.counts and answers.left():
            findings.add("completions in another order, or of ids that are not in the shard")
    return counts


def _audit_rows(
    shard: Shard, before: pa.Table, completed: pa.Table, completions: pa.Table, schema: Schema, findings: Findings
) -> Counter[str]:
    counts = Counter(rows=completed.num_rows, completions=completions.num_rows)
    if not _same_shape(before, completed, schema, shard, findings):
        return counts
    versions = {v for v in pc.unique(completions["model_version"]).to_pylist() if v is not None}
    if versions - {shard.manifest.get("model_version")}:
        findings.add("completions of another model", shard=shard.index, found=", ".join(sorted(versions)))
    cells = _Cells(before, completed, completions, schema)
    counts["cells_compared"] = completed.num_rows * completed.num_columns
    for name in completed.column_names:
        given, changed = cells.given(name), changed_cells(before[name], completed[name])
        counts["given"] += int(given.sum())
        untouchable = given if name in schema.attributes else np.ones(len(given), dtype=bool)
        findings.add_rows(
            "a given cell was changed", changed & untouchable, cells.ids,
            attribute=name, given=before[name], completed=completed[name],
        )  # fmt: skip
        if name in schema.attributes:
            counts["filled"] += _audit_attribute(name, cells, cells.filled(name), shard, findings)
    if strangers := set(pc.unique(completions["attribute"]).to_pylist()) - set(schema.attributes):
        findings.add("completions of an attribute that the schema does not have", found=", ".join(map(str, strangers)))
    return counts


def _same_shape(before: pa.Table, completed: pa.Table, schema: Schema, shard: Shard, findings: Findings) -> bool:
    """Whether the rows can be compared cell by cell: same columns, types, ids, in the same order."""
    if not before.schema.equals(completed.schema):
        theirs = {(f.name, str(f.type)) for f in completed.schema} ^ {(f.name, str(f.type)) for f in before.schema}
        named = ", ".join(f"{name}: {kind}" for name, kind in sorted(theirs)) or "their order"
        findings.add("columns or types differ from the valid rows", shard=shard.index, found=named)
        return False
    if before.num_rows != completed.num_rows:
        findings.add("more rows than were validated", completed.num_rows - before.num_rows, shard=shard.index)
        return False
    ids, expected = completed[schema.id].to_pylist(), before[schema.id].to_pylist()
    differ = np.array([a != b for a, b in zip(ids, expected, strict=True)], dtype=bool)
    findings.add_rows("another id stands in this row", differ, ids, expected=before[schema.id], shard=shard.index)
    return not differ.any()


class _Cells:
    """The rows of a shard before and after, and where each completions row belongs."""

    def __init__(self, before: pa.Table, completed: pa.Table, completions: pa.Table, schema: Schema):
        self.before, self.completed, self.schema = before, completed, schema
        self.ids = before[schema.id].to_pylist()
        keys = pa.array(keys_of(before[schema.id]), pa.string())
        place = pc.index_in(pa.array(keys_of(completions[schema.id]), pa.string()), keys)
        self._completions = completions.append_column("row", pc.fill_null(place, -1))
        self.removes = deleted(before)[0]

    @cached_property
    def _read(self) -> pd.DataFrame:
        """The rows as the model reads them, which is how `applies_to` is meant."""
        return to_frame(self.before, self.schema)

    def given(self, name: str) -> Mask:
        """Cells with a value before; NaN is none."""
        return has_value(self.before[name])

    def filled(self, name: str) -> Mask:
        """Cells with a value after, but none before."""
        return has_value(self.completed[name]) & ~self.given(name)

    def completions_of(self, name: str) -> pa.Table:
        return self._completions.filter(pc.equal(self._completions["attribute"], name))

    def expected(self, name: str) -> tuple[Mask, Mask]:
        """Null cells that must have a completions row, and those that may."""
        attribute = self.schema.attributes[name]
        null = ~self.given(name)
        if attribute.mode == "off":
            return np.zeros_like(null), np.zeros_like(null)
        ruled_out, undecided = np.zeros_like(null), self.removes.copy()
        for column, allowed in attribute.applies_to.items():
            cells = self._read[column]
            unknown = cells.isna().to_numpy()
            undecided |= unknown
            ruled_out |= ~unknown & ~admitted(cells, allowed, self.schema.attributes.get(column))
        may = (null & ~ruled_out) | self._blank(name)
        return null & ~ruled_out & ~undecided, may

    def _blank(self, name: str) -> Mask:
        column = self.before[name]
        if not pa.types.is_string(column.type) and not pa.types.is_large_string(column.type):
            return np.zeros(len(column), dtype=bool)
        return np.asarray(pc.fill_null(pc.equal(pc.utf8_trim_whitespace(column), ""), False), dtype=bool)


def _audit_attribute(name: str, cells: _Cells, filled: Mask, shard: Shard, findings: Findings) -> int:
    """Compares the null cells of an attribute with their completions; returns how many were filled."""
    rows = cells.completions_of(name)
    place = rows["row"].to_numpy().astype(np.int64)
    if strangers := int((place < 0).sum()):
        findings.add("completions of an id that is not in the shard", strangers, attribute=name)
    rows = rows.filter(pa.array(place >= 0))
    place = place[place >= 0]
    times = np.bincount(place, minlength=len(cells.ids))
    must, may = cells.expected(name)
    for defect, wrong in (
        ("a null cell has no completions row", must & (times == 0)),
        ("a cell has two completions rows", times > 1),
        ("a completions row of a cell that is not to be completed", (times > 0) & ~may),
        ("a cell was filled without a completions row", filled & (times == 0)),
    ):
        findings.add_rows(defect, wrong, cells.ids, attribute=name)
    written = np.asarray(pc.equal(rows["status"], "filled"), dtype=bool)
    ids = [cells.ids[i] for i in place]
    findings.add_rows("a cell was filled that is not accepted", filled[place] & ~written, ids,
                      attribute=name, status=rows["status"], value=rows["value"])  # fmt: skip
    after = cells.completed[name].take(pa.array(place))
    same = _values_match(after, rows, cells.schema, name)
    findings.add_rows("a filled cell differs from its completions row", written & ~same, ids,
                      attribute=name, value=rows["value"], completed=after)  # fmt: skip
    _check_promise(name, rows, written, ids, cells.schema, shard, findings)
    return int(filled.sum())


def _check_promise(
    name: str, rows: pa.Table, written: Mask, ids: list[Any], schema: Schema, shard: Shard, findings: Findings
) -> None:
    """Nothing is filled without a promise, nor below its threshold."""
    if schema.attributes[name].mode != "fill":
        findings.add_rows("a cell was filled though the mode is not `fill`", written, ids, attribute=name)
    if name in (shard.manifest.get("suspended") or {}):
        findings.add_rows("a cell was filled of an attribute that is suspended", written, ids, attribute=name)
    calibration = shard.manifest.get("calibration")
    if not calibration:
        return
    threshold = calibration.get(name, {}).get("threshold")
    confidence = rows["confidence"].to_numpy().astype(float)
    below = written if threshold is None else written & (confidence < threshold - _SLACK)
    defect = "a cell was filled below the threshold of the promise"
    findings.add_rows(defect, below, ids, attribute=name, confidence=rows["confidence"], threshold=threshold)


def _values_match(after: pa.ChunkedArray, rows: pa.Table, schema: Schema, name: str) -> Mask:
    """Whether the cells hold the values of their completions rows."""
    attribute = schema.attributes[name]
    if attribute.kind == "numeric" and not is_text(after.type):
        found, value = parse_numbers(after.combine_chunks()), parse_numbers(rows["value"].combine_chunks())
        coarse = pa.types.is_decimal(after.type)
        atol, rtol = 10.0**-after.type.scale if coarse else 0.0, 1e-6 if after.type == pa.float32() else _SLACK
        return np.asarray(np.isclose(found, value, rtol=rtol, atol=atol), dtype=bool)
    cells, values = after.to_pylist(), rows["value"].to_pylist()
    if attribute.multi:
        cells = [canonical_list(cell) for cell in cells]
        values = [None if value is None else canonical_list(json.loads(value)) for value in values]
    pairs = zip(cells, values, strict=True)
    return np.array([cell is not None and str(cell) == value for cell, value in pairs], dtype=bool)


def changed_cells(before: pa.ChunkedArray, after: pa.ChunkedArray) -> Mask:
    """bool (rows,): cells of one type that differ; null equals null and NaN equals NaN, in lists and structs too."""
    if before.equals(after):
        return np.zeros(len(before), dtype=bool)
    try:
        differ = np.asarray(pc.fill_null(pc.not_equal(before, after), False), dtype=bool)
    except pa.ArrowNotImplementedError:  # nested and exotic types
        pairs = zip(before.to_pylist(), after.to_pylist(), strict=True)
        return np.array([not _is_equal(a, b) for a, b in pairs], dtype=bool)
    null_before, null_after = (np.asarray(pc.is_null(c), dtype=bool) for c in (before, after))
    nan_before, nan_after = (
        np.asarray(pc.is_null(c, nan_is_null=True), dtype=bool) & c.is_valid() for c in (before, after)
    )
    return np.asarray((differ & ~(nan_before & nan_after)) | (null_before != null_after))


def _is_equal(a: Any, b: Any) -> bool:
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_is_equal, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_is_equal(a[key], b[key]) for key in a)
    return bool(a == b) or bool(a != a and b != b)  # the second holds of NaN


def _open(place: str, name: str) -> Any:
    fs, path = storage.filesystem(storage.join(place, name))
    if not fs.exists(path):
        raise InputError(f"{place} has no {name}: expected the output of the step before, finished")
    return fs.open(path, "rb")


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "…"
