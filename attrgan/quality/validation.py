"""`attrgan validate`: which rows may go on, which are set aside and why, and whether the whole may go on.

Great Expectations does the judging (`attrgan.quality.judge`): every reason in the quarantine is the `meta` of an
expectation, every row in it stands in that expectation's `unexpected_index_list`. Two things are decided here: of the
rows that share an id the last in file order stays, and a row that removes an item (`_deleted`) needs only its id.

Rows in = valid + quarantined, always; rows that could not be parsed are in the quarantine with their text.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from attrgan.config import Quality
from attrgan.lake import storage
from attrgan.lake.catalog import DELETED, Catalog, Unreadable
from attrgan.lake.manifest import Result
from attrgan.lake.rows import CHUNK_ROWS, Files
from attrgan.quality import frames, suite
from attrgan.quality.judge import Judge, Verdict
from attrgan.quality.received import Chunk, Received, Whole, id_frames
from attrgan.schema import Schema

OWN_COLUMNS = ("source_file", "source_row", "reasons", "source_text")


def validate(
    catalog: Catalog | Received,
    schema: Schema,
    stage: Path,
    quality: Quality,
    past_null_rates: dict[str, float] | None = None,
) -> Result:
    """Splits a catalog into valid and quarantined rows and judges the whole.

    Args:
        catalog: the rows as received, in memory or from `receive`.
        schema: their schema.
        stage: folder for `valid.parquet` (typed, columns in the order received), `quarantine.parquet` (as received,
            with `source_file`, `source_row`, `reasons`, and `source_text` for rows that could not be parsed),
            `validation.json` and `data_docs/index.html`.
        quality: the limits of the gate.
        past_null_rates: column → share of null cells so far; None when there is no past.

    Returns:
        Counts (`rows_in`, `valid`, `quarantined`, `superseded`, `deleted`, `reasons`), and in `refused` why the
        quality gate says no.

    Raises:
        CatalogError: the catalog does not fit its schema at all (see `coerce`).
    """
    received = Whole(catalog, schema) if isinstance(catalog, Catalog) else catalog
    judge = Judge()
    reasons = _row_reasons(judge, received, schema)
    if received.unclear.any():
        reasons[f"wrong_type:{DELETED}"] = np.flatnonzero(received.unclear)

    quarantined = np.zeros(received.num_rows, dtype=bool)
    for rows in reasons.values():
        quarantined[rows] = True
    null_rates = _write_rows(received, reasons, quarantined, stage)
    counts = _counts(received, int((~quarantined).sum()), reasons, int((received.removes & ~quarantined).sum()))
    refused = _gate(judge, counts, null_rates, quality, past_null_rates or {})
    _write_reports(judge, stage, schema, counts, null_rates, past_null_rates, quality, refused)
    return Result(counts, {"null_rates": null_rates}, refused)


def _row_reasons(judge: Judge, received: Received, schema: Schema) -> dict[str, np.ndarray]:
    """Reason → numbers of the rows that it quarantines, as Great Expectations finds them."""
    if not received.num_rows:
        return {}
    found: dict[str, np.ndarray] = {}
    for verdict in judge.judge(suite.id_suite(schema), id_frames(received, schema)):
        if verdict.reason == suite.DUPLICATE_ID:
            found[suite.DUPLICATE_ID] = _all_but_the_last(received, verdict)
        elif verdict.reason:
            found[verdict.reason] = np.array(verdict.rows, dtype=np.int64)
    for verdict in judge.judge(suite.row_suite(schema), _row_frames(received, schema)):
        assert verdict.reason
        before = found.get(verdict.reason, np.array([], dtype=np.int64))
        found[verdict.reason] = np.union1d(before, np.array(verdict.rows, dtype=np.int64))
    return {reason: rows for reason, rows in found.items() if len(rows)}


def _row_frames(received: Received, schema: Schema) -> Iterator[pd.DataFrame]:
    """The rows that do not remove an item."""
    for chunk in received.chunks():
        live = np.flatnonzero(~received.removes[chunk.first : chunk.first + chunk.typed.num_rows])
        yield from frames.batches(chunk.received.table, chunk.typed, schema, chunk.wrong, live, chunk.first)


def _all_but_the_last(received: Received, verdict: Verdict) -> np.ndarray:
    if not verdict.rows:
        return np.array([], dtype=np.int64)
    shared = pd.concat([ids[ids.index.isin(verdict.rows)] for ids in received.ids()])
    return shared.index[shared.duplicated(keep="last")].to_numpy(np.int64)


def _write_rows(
    received: Received, reasons: dict[str, np.ndarray], quarantined: np.ndarray, stage: Path
) -> dict[str, float]:
    """Writes valid and quarantined rows; returns the null rates of the former."""
    why: dict[int, list[str]] = {int(row): [] for row in np.flatnonzero(quarantined)}
    for reason, rows in reasons.items():
        for row in rows:
            why[int(row)].append(reason)
    nulls: Counter[str] = Counter()
    with Files(stage, CHUNK_ROWS) as files:
        for chunk in received.chunks():
            here = slice(chunk.first, chunk.first + chunk.typed.num_rows)
            aside, removes = quarantined[here], received.removes[here]
            valid = _typed_rows(chunk.typed, chunk.wrong, ~aside)
            files.write("valid", valid)
            files.write("quarantine", _quarantine(chunk, aside, why))
            nulls.update(_nulls(valid.filter(pa.array(~removes[~aside]))))
        if received.unreadable:
            files.write("quarantine", _unreadable(received.unreadable, files.schema("quarantine")))
    rows_judged = int((~quarantined & ~received.removes).sum())
    return {name: round(n / rows_judged, 6) for name, n in nulls.items() if name != DELETED} if rows_judged else {}


def _typed_rows(typed: pa.Table, wrong: dict[str, np.ndarray], keep: np.ndarray) -> pa.Table:
    """The valid rows. Only rows that remove an item still have cells of a wrong type: these become null."""
    for name, bad in wrong.items():
        place = typed.column_names.index(name)
        column = typed[name].combine_chunks()
        cleared = pc.if_else(pa.array(bad), pa.scalar(None, column.type), column)
        typed = typed.set_column(place, typed.schema.field(name), cleared)
    return typed.filter(pa.array(keep))


def _quarantine(chunk: Chunk, aside: np.ndarray, why: dict[int, list[str]]) -> pa.Table:
    """The quarantined rows of a chunk as received, and why."""
    rows = chunk.received.take(aside)
    table = rows.table.replace_schema_metadata(None)
    names = [f"received_{name}" if name in OWN_COLUMNS else name for name in table.column_names]
    reasons = [why[int(row)] for row in np.flatnonzero(aside) + chunk.first]
    own = (rows.source_file, rows.source_row, reasons, [None] * len(reasons))
    return _with_own(table.rename_columns(names), own)


def _unreadable(rows: list[Unreadable], schema: pa.Schema) -> pa.Table:
    """The rows that could not be parsed, with the columns of the quarantine."""
    received = pa.schema([field for field in schema if field.name not in OWN_COLUMNS])
    table = pa.table({field.name: pa.nulls(len(rows), field.type) for field in received}, received)
    files, numbers, texts = [row.file for row in rows], [row.row for row in rows], [row.text for row in rows]
    return _with_own(table, (files, numbers, [[suite.UNREADABLE]] * len(rows), texts))


def _with_own(table: pa.Table, own: tuple[Any, ...]) -> pa.Table:
    types = (pa.string(), pa.int64(), pa.list_(pa.string()), pa.string())
    for name, kind, cells in zip(OWN_COLUMNS, types, own, strict=True):
        table = table.append_column(name, pa.array(cells, kind) if isinstance(cells, list) else cells)
    return table


def _counts(catalog: Received, valid: int, reasons: dict[str, np.ndarray], removed: int) -> dict[str, Any]:
    rows_in = catalog.num_rows + len(catalog.unreadable)
    by_reason = Counter({reason: len(rows) for reason, rows in reasons.items()})
    if catalog.unreadable:
        by_reason[suite.UNREADABLE] = len(catalog.unreadable)
    return {
        "rows_in": rows_in,
        "valid": valid,
        "quarantined": rows_in - valid,
        "superseded": catalog.superseded,
        "deleted": removed,
        "reasons": dict(by_reason.most_common()),
    }


def _nulls(valid: pa.Table) -> dict[str, int]:
    """Column → null cells."""
    return {name: valid[name].null_count for name in valid.column_names}


def _gate(
    judge: Judge, counts: dict[str, Any], null_rates: dict[str, float], quality: Quality, past: dict[str, float]
) -> str | None:
    """Why the catalog as a whole may not go on, in one sentence, or None."""
    share = counts["quarantined"] / counts["rows_in"] if counts["rows_in"] else 0.0
    figures = frames.figures(counts["valid"], share, null_rates)
    broken = [v for v in judge.judge(suite.gate_suite(quality, null_rates, past), [figures]) if not v.success]
    if not broken:
        return None
    return "the quality gate says no: " + "; ".join(
        _defect(verdict, counts, share, null_rates, quality) for verdict in broken
    )


def _defect(
    verdict: Verdict, counts: dict[str, Any], share: float, null_rates: dict[str, float], quality: Quality
) -> str:
    figure = verdict.configuration.kwargs["column"]
    if figure == suite.VALID_ROWS:
        return f"{counts['valid']} valid rows, at least {quality.min_valid_rows} expected (quality.min_valid_rows)"
    if figure == suite.QUARANTINED:
        first = next(iter(counts["reasons"]))
        return (
            f"{counts['quarantined']} of {counts['rows_in']} rows ({share:.1%}) are quarantined, mostly {first}, "
            f"at most {quality.max_quarantine_rate:.1%} may be (quality.max_quarantine_rate); see quarantine.parquet"
        )
    column, past = verdict.configuration.meta["column"], verdict.configuration.meta["past"]
    return (
        f"{null_rates[column]:.1%} of {column!r} is null, {past:.1%} was so far, and it may rise by "
        f"{quality.null_rate_tolerance:.1%} (quality.null_rate_tolerance)"
    )


def _write_reports(
    judge: Judge,
    stage: Path,
    schema: Schema,
    counts: dict[str, Any],
    null_rates: dict[str, float],
    past: dict[str, float] | None,
    quality: Quality,
    refused: str | None,
) -> None:
    report = {
        "rows": {name: count for name, count in counts.items() if name != "reasons"},
        "reasons": counts["reasons"],
        "gate": {"passed": refused is None, "refused": refused, "limits": quality.model_dump()},
        "null_rates": null_rates,
        "past_null_rates": past,
        "expectations": [verdict.as_dict() for verdict in judge.verdicts],
    }
    storage.write_json(stage / "validation.json", report)
    facts = {
        "Rows in": counts["rows_in"],
        "Valid": counts["valid"],
        "Quarantined": counts["quarantined"],
        "Reasons": json.dumps(counts["reasons"], ensure_ascii=False) if counts["reasons"] else "none",
        "Quality gate": refused or "passed",
    }
    judge.write_data_docs(stage / "data_docs" / "index.html", schema.entity, facts)
