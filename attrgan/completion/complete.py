"""Completes a catalog: predicts its empty cells, decides what becomes of each, writes what was accepted.

A cell is *filled* when its confidence reaches the threshold of its attribute's promise, *not_applicable* when the
answer that reaches it is `n/a`, put up for *review* below that, *abstained* from when it is hardly more than a guess.
Where the blanks of its category say that the attribute does not apply (`model/applicability.py`), a cell is
*not_applicable* whatever the model would have answered, unless that stands in the item's own text.
Given values are never touched: the output is the input table with null cells replaced.
"""

import functools
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from attrgan.lake.catalog import deleted
from attrgan.lake.cells import canonical, members_of
from attrgan.lake.numbers import Form
from attrgan.schema import Attribute, Schema

if TYPE_CHECKING:
    from attrgan.model import CompletionModel, Prediction
    from attrgan.model.applicability import Evidence
    from attrgan.model.inputs import Inputs

STATUSES = ("filled", "review", "abstained", "not_applicable")
REVIEW_CONFIDENCE = 0.5
MOST_SAMPLES = 100
"""Joint completions of an item that can be asked for."""
MAX_NEIGHBOURS = 3
"""Neighbours named in the evidence of a cell."""
_JSON = json.JSONEncoder(ensure_ascii=False)  # `json.dumps` would make one for every cell
ANSWER = {
    "attribute": pa.string(),
    "value": pa.string(),
    "number": pa.float64(),
    "lower": pa.float64(),
    "upper": pa.float64(),
    "expected": pa.float64(),
    "confidence": pa.float64(),
    "threshold": pa.float64(),
    "status": pa.string(),
    "source": pa.string(),
    "evidence": pa.string(),
}
"""The columns of an answer between the id and those of the run."""


def left_alone(table: pa.Table, schema: Schema) -> np.ndarray:
    """bool (rows, A): cells that are not completed whatever the model sees: given ones (blanks too), removed items."""
    given = np.stack([has_value(table[name]) for name in schema.attributes], 1)
    return given | deleted(table)[0][:, None]


def has_value(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """bool (rows,): the cells with a value, which not-a-number is none."""
    return ~np.asarray(pc.is_null(column, nan_is_null=True), dtype=bool)


def add(total: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Sums nested counts; {} is zero."""
    if not total:
        return more
    return {k: add(total[k], v) if isinstance(v, dict) else total[k] + v for k, v in more.items()}


def wanted_cells(frame: pd.DataFrame, schema: Schema) -> np.ndarray:
    """bool (N, A): null cells, except those that `applies_to` rules out and attributes whose mode is `off`."""
    wanted = np.stack([frame[name].isna().to_numpy() for name in schema.attributes], 1)
    for i, attribute in enumerate(schema.attributes.values()):
        if attribute.mode == "off":
            wanted[:, i] = False
        for column, allowed in attribute.applies_to.items():
            if column in frame:
                wanted[:, i] &= frame[column].isna() | admitted(frame[column], allowed, schema.attributes.get(column))
    return wanted


def admitted(cells: pd.Series, allowed: list[str], attribute: Attribute | None) -> np.ndarray:
    """bool (n,): cells, as in `to_frame`, that are among the values of an `applies_to`; of sets, any of their members.

    Args:
        attribute: what the cells are of; None: of the category.
    """
    if attribute is not None and attribute.kind == "numeric":
        numbers = pd.to_numeric(pd.Series(allowed, dtype=object), errors="coerce").dropna()
        return cells.astype(float).isin(numbers).to_numpy()
    values = {*map(canonical, allowed)}
    if attribute is not None and attribute.multi:
        return np.array([isinstance(c, str) and not values.isdisjoint(members_of(c)) for c in cells], dtype=bool)
    return np.array([isinstance(c, str) and canonical(c) in values for c in cells], dtype=bool)


def completions(
    model: "CompletionModel", frame: pd.DataFrame, features: pa.Table | None = None,
    *, whole_numbers: set[str] | None = None, forms: dict[str, Form] | None = None,
    review_confidence: float = REVIEW_CONFIDENCE, leave: np.ndarray | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Answers every empty cell.

    What gives a cell away (`derived_with`) is not looked at even where it is known: neither training nor the cells that
    set the thresholds ever saw it, so the promise does not cover answers that use it.

    Args:
        frame: items, from `to_frame`.
        features: their features; None encodes them now.
        whole_numbers: numeric attributes whose column holds integers.
        forms: numeric attributes whose column holds strings, and how these are written.
        review_confidence: below the threshold but at least this confident, a cell goes to review.
        leave: bool (rows, A), cells that are not completed whatever they hold.

    Returns:
        One row per cell in the order of items and attributes: id, attribute, value, number, lower, upper, expected,
        confidence, threshold, status, source, evidence.
    """
    from attrgan.evaluation.hiding import mask_of
    from attrgan.features import cache
    from attrgan.model import applicability

    schema, attributes = model.schema, model.schema.attributes
    features = cache.encode(frame, schema) if features is None else features
    inputs = model.inputs(frame, features)
    wanted = wanted_cells(frame, schema)
    if leave is not None:
        wanted &= ~leave
    parts = []
    explained = {n: _explained_from(a, model.calibration.get(n, {}), review_confidence) for n, a in attributes.items()}
    answers = model.predict(frame, inputs, wanted, mask_of(wanted, schema), explained)
    for order, (name, answer) in enumerate(answers.items()):
        part = pd.DataFrame({"row": answer.rows, "order": order, schema.id: frame[schema.id].to_numpy()[answer.rows]})
        part["attribute"] = name
        number, part["lower"], part["upper"], part["expected"] = _within_limits(answer, schema.attributes[name])
        part["number"] = number
        part["value"] = (
            [number_text(n, name in (whole_numbers or set()), (forms or {}).get(name)) for n in number]
            if schema.attributes[name].kind == "numeric"
            else list(answer.value)
        )
        part["confidence"] = answer.confidence
        threshold = model.calibration.get(name, {}).get("threshold")
        part["threshold"] = np.nan if threshold is None else threshold
        part["status"] = decide(answer, schema.attributes[name], threshold, review_confidence)
        part["source"], part["evidence"] = _provenance(answer, model, name, frame, inputs)
        against = applicability.against(model.applicability, name, frame, schema, answer.rows)
        _rule_out(part, answer, against, schema.attributes[name], schema.category)
        part.loc[part["status"] == "not_applicable", "value"] = None
        parts.append(part)
    columns = [schema.id, *ANSWER]
    if not parts:
        return pd.DataFrame({c: pd.Series(dtype=object) for c in columns})
    return pd.concat(parts).sort_values(["row", "order"], kind="stable")[columns].reset_index(drop=True)


def _explained_from(attribute: Attribute, promise: dict[str, Any], review_confidence: float) -> float:
    """The confidence from which on a cell is filled or reviewed: what nobody will see needs no reason."""
    threshold = promise.get("threshold")
    if attribute.mode == "suggest":
        return 0.0
    return review_confidence if threshold is None else min(threshold, review_confidence)


def decide(
    answer: "Prediction", attribute: Attribute, threshold: float | None, review_confidence: float = REVIEW_CONFIDENCE
) -> np.ndarray:
    """The status of each cell, object (n,)."""
    status = np.where(answer.confidence >= review_confidence, "review", "abstained").astype(object)
    if attribute.mode == "suggest":
        status[:] = "review"
    elif threshold is not None:
        accepted = answer.confidence >= threshold
        status[accepted] = np.where(answer.value[accepted] == attribute.not_applicable, "not_applicable", "filled")
    status[answer.confidence == 0] = "abstained"  # there is nothing to suggest: no training row knew a value
    return status


def suspend(decided: pd.DataFrame, suspended: dict[str, str], schema: Schema) -> tuple[pd.DataFrame, dict[str, int]]:
    """Puts up for review what was accepted of suspended attributes.

    Args:
        decided: from `completions`; it stays as it is.
        suspended: attribute → why it is not filled.

    Returns:
        The same cells, and attribute → how many of them were held back; their evidence says so (`suspended`).
    """
    held = decided["attribute"].isin(list(suspended)) & decided["status"].isin(["filled", "not_applicable"])
    if not held.any():
        return decided, {}
    decided, cells = decided.copy(), decided[held]
    does_not_apply = [schema.attributes[name].not_applicable for name in cells["attribute"]]
    decided.loc[held, "value"] = cells["value"].where(
        cells["status"] == "filled", pd.Series(does_not_apply, cells.index)
    )
    _put_up(decided, held, [{"suspended": "drift"}] * len(cells))
    return decided, {str(name): int(n) for name, n in cells["attribute"].value_counts().items()}


def hold_back(decided: pd.DataFrame, table: pa.Table) -> pd.DataFrame:
    """Puts up for review what was to be filled and cannot be written in tonight's column: `M` among whole numbers.

    Args:
        decided: from `completions`; it stays as it is.
        table: the items as read. The evidence of what is held back names its column's type (`cannot_be_written_as`).
    """
    kinds = {name: table.schema.field(name).type for name in decided["attribute"].unique()}
    fits = functools.cache(lambda name, value: _fits(value, kinds[name]))
    cells = zip(decided["status"], decided["attribute"], decided["value"], strict=True)
    held = np.array([status == "filled" and not fits(name, value) for status, name, value in cells], bool)
    if not held.any():
        return decided
    decided = decided.copy()
    _put_up(decided, held, [{"cannot_be_written_as": str(kinds[name])} for name in decided["attribute"][held]])
    return decided


def _put_up(decided: pd.DataFrame, held: Any, notes: list[dict[str, Any]]) -> None:
    """Puts cells, a mask (rows,), up for review; the evidence of each gets its note."""
    decided.loc[held, "status"] = "review"
    decided.loc[held, "evidence"] = [
        json.dumps(json.loads(evidence) | note, ensure_ascii=False)
        for evidence, note in zip(decided["evidence"][held], notes, strict=True)
    ]


def _fits(value: str, kind: pa.DataType) -> bool:
    """Whether a column of this type can hold a value."""
    try:
        pa.scalar(cell_of(value, kind), kind)
    except (ValueError, KeyError, ArithmeticError, pa.ArrowException):
        return False
    return True


def _rule_out(
    part: pd.DataFrame, answer: "Prediction", against: list["Evidence | None"], attribute: Attribute,
    category: str | None,
) -> None:  # fmt: skip
    """Answers `n/a` where the category speaks against the attribute and the item's own text does not speak for it."""
    cells = {i: why for i, why in enumerate(against) if why and answer.span[i, 0] < 0}
    evidence = []
    for i, why in cells.items():
        found = {"applicability": {"column": category, **asdict(why)}, "levels": {"attributes": 1.0}}
        instead = [[part["value"].iloc[i], round(float(answer.confidence[i]), 4)]]
        evidence.append(json.dumps(found | {"other_candidates": instead}, ensure_ascii=False))
    changed: dict[str, Any] = dict.fromkeys(("number", "lower", "upper", "expected", "threshold"), np.nan) | {
        "value": attribute.not_applicable, "source": "generator", "evidence": evidence,
        "confidence": [why.confidence for why in cells.values()],
        "status": "review" if attribute.mode == "suggest" else "not_applicable",
    }  # fmt: skip
    for column, found in changed.items() if cells else ():
        part.loc[list(cells), column] = found


def _within_limits(answer: "Prediction", attribute: Attribute) -> tuple[np.ndarray, ...]:
    """number, lower, upper and expected, none of them outside `min` … `max`."""
    if attribute.min is None and attribute.max is None:
        return answer.number, answer.lower, answer.upper, answer.expected
    found = (answer.number, answer.lower, answer.upper, answer.expected)
    return tuple(np.clip(n, attribute.min, attribute.max) for n in found)


def number_text(number: float, whole: bool, form: Form | None = None) -> str | None:
    """A number in the catalog's own form; None for NaN."""
    if np.isnan(number):
        return None
    if form:
        return form.write(number)
    return str(round(number)) if whole else str(float(number))


def _provenance(
    answer: "Prediction", model: "CompletionModel", name: str, frame: pd.DataFrame, inputs: "Inputs"
) -> tuple[list[str], list[str]]:
    """Where each value came from, and the evidence as JSON: `span` or, of the members of a set, `spans`."""
    from attrgan.model.attribution import Carried
    from attrgan.model.inputs import place

    def standing(row: int, token: int, length: int) -> dict[str, Any]:
        column, start, end = place(texts, inputs, row, token, length, spelling)
        return {"column": schema.text[column], "start": start, "end": end, "text": str(texts[column][row])[start:end]}

    schema, spelling = model.schema, model.vocabulary.spelling.get(name)
    texts = [frame[c].to_numpy(object) for c in schema.text]
    usual = "generator" if schema.attributes[name].kind == "numeric" else "vocabulary"
    carried = answer.carried or Carried.nothing(len(answer.rows))
    sources, evidence = [], []
    cells = zip(
        answer.rows.tolist(), answer.span.tolist(), answer.runners_up, answer.neighbours, answer.voted.tolist(),
        carried.shares, carried.by, strict=True,
    )  # fmt: skip
    for i, (row, (token, length), others, near, voted, levels, by) in enumerate(cells):
        found: dict[str, Any] = {}
        if answer.member_spans and answer.member_spans[i]:
            found["spans"] = [standing(row, *span) for span in answer.member_spans[i]]
        elif token >= 0:
            found["span"] = standing(row, token, length)
        if near:
            found["neighbours"] = [{"id": i, "cosine": c} for i, c in near[:MAX_NEIGHBOURS]]
        if others:
            found["other_candidates"] = others
        if levels:
            found["levels"] = levels
        level = by if by in ("image", "sequence") else usual
        sources.append("text" if token >= 0 else "neighbour" if voted else level)
        evidence.append(_JSON.encode(found))
    return sources, evidence


def fill(table: pa.Table, decided: pd.DataFrame, schema: Schema) -> pa.Table:
    """The input table with the filled cells in place: the same rows, columns and types.

    Args:
        table: the items as read.
        decided: their completions.
    """
    rows = pd.Series(range(table.num_rows), index=[str(i).strip() for i in table[schema.id].to_pylist()])
    for name, cells in decided[decided["status"] == "filled"].groupby("attribute", sort=False):
        at = table.column_names.index(str(name))
        field = table.schema.field(at)
        values: list[Any] = [None] * table.num_rows
        for row, value in zip(rows[cells[schema.id]], cells["value"], strict=True):
            values[row] = cell_of(value, field.type)
        before, filled = table[at].combine_chunks(), pa.array(values, field.type, from_pandas=False)
        new = pa.array(np.asarray(filled.is_valid()) & ~has_value(before))
        table = table.set_column(at, field, pc.if_else(new, filled, before))
    return table


def cell_of(value: str, kind: pa.DataType) -> Any:
    """A value's string as a cell of an Arrow type; raises ValueError, KeyError, ArithmeticError or ArrowException."""
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return value
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return [cell_of(member, kind.value_type) for member in json.loads(value)]
    if pa.types.is_integer(kind):
        return int(value) if value.lstrip("-").isdigit() else round(float(value))
    if pa.types.is_decimal(kind):
        from decimal import Context, Decimal

        return Decimal(value).quantize(Decimal(1).scaleb(-kind.scale), context=Context(prec=76))
    if pa.types.is_boolean(kind):
        return {"True": True, "False": False}[value]
    return pa.scalar(value).cast(kind).as_py()


def to_table(decided: pd.DataFrame, schema: Schema, ids: pa.ChunkedArray, run: dict[str, Any]) -> pa.Table:
    """Completions as the table of the contract.

    Args:
        decided: from `completions`.
        ids: the id column as received; completions carry ids of that type.
        run: the columns of the run: model_version, run_id, completed_at.
    """
    received = {str(i).strip(): i for i in ids.to_pylist()}
    id_column = pa.array([received[i] for i in decided[schema.id]], ids.type)
    columns = {name: pa.array(decided[name].tolist(), kind, from_pandas=True) for name, kind in ANSWER.items()}
    n = len(decided)
    stamps = {name: pa.array([value] * n, pa.string()) for name, value in run.items()}
    return pa.table({schema.id: id_column} | columns | stamps)


def counts(
    frame: pd.DataFrame, decided: pd.DataFrame, schema: Schema, suspended: dict[str, int] | None = None
) -> dict[str, Any]:
    """How many cells were missing and what became of them, in all and per attribute.

    Args:
        suspended: attribute → how many cells in review would have been accepted, were the attribute not suspended.
    """
    held = suspended or {}
    tally: dict[Any, int] = decided.groupby(["attribute", "status"]).size().to_dict() if len(decided) else {}
    attributes = {
        name: {"missing_before": int(frame[name].isna().sum())}
        | {status: int(tally.get((name, status), 0)) for status in STATUSES}
        | {"suspended": held.get(name, 0)}
        for name in schema.attributes
    }
    total = {status: sum(a[status] for a in attributes.values()) for status in (*STATUSES, "suspended")}
    return {"rows": len(frame), "cells": len(decided), **total, "attributes": attributes}
