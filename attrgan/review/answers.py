"""The table `reviews`: what people answered, one row per answer, never changed; of each cell the last row counts.

Choices:
- A row of a sheet is imported, unchanged (the same answer is there), skipped (nobody answered) or refused with a
  reason; the four add up to the rows there are. Fine rows are imported beside refused ones, as `validate` keeps valid
  rows beside quarantined ones: 497 answers need not wait for three ids that are gone.
- Two answers to one cell are a disagreement of people, which no rule may settle: both are refused where they stand in
  one file, the later one where the table has the earlier, whoever gave it. `replace` is how a person settles it.
- A categorical value that stands nowhere in the catalog is refused, for it is a slip of the pen more often than a new
  value; `new_values` lets it in. Open attributes take any value.
- What the model proposed, and how sure it was, is read from the warehouse, never from the sheet.
- Importing is one commit on the state it was checked against; where another import was faster, all is checked again.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from attrgan.errors import InputError
from attrgan.evaluation.metrics import is_right
from attrgan.lake import tables
from attrgan.lake.cells import canonical, canonical_list
from attrgan.lake.numbers import Form, learn, read_numbers
from attrgan.review.cells import Warehouse, own_value
from attrgan.schema import NOT_APPLICABLE, Attribute

TABLE = "reviews"
COLUMNS = {
    "attribute": pa.string(),
    "answer": pa.string(),
    "number": pa.float64(),
    "proposed": pa.string(),
    "proposed_number": pa.float64(),
    "confidence": pa.float64(),
    "purpose": pa.string(),
    "reviewer": pa.string(),
    "reviewed_at": pa.string(),
    "model_version": pa.string(),
    "run_id": pa.string(),
    "source_hash": pa.string(),
}
"""The columns of `reviews` beside the id: `answer` as `value` in `completions`, `n/a`: does not apply; `number`: the
answer as a number; `proposed` … `run_id`: what the model said at that time; `source_hash`: of the file."""
LONGEST = 1000
"""Characters of an answer."""
_ATTEMPTS = 12


@dataclass
class Import:
    """What became of the rows of a sheet: `refused` has the sheet's row number (from 0) and the reason."""

    new: list[dict[str, Any]] = field(default_factory=list)
    replaced: int = 0
    unchanged: int = 0
    skipped: int = 0
    audit_skipped: int = 0
    refused: dict[int, str] = field(default_factory=dict)

    def counts(self, rows: int) -> dict[str, Any]:
        """As plain data; the reasons without what differs from row to row."""
        reasons = Counter(reason.partition(":")[0] for reason in self.refused.values())
        return {
            "rows": rows, "imported": len(self.new), "replaced": self.replaced, "unchanged": self.unchanged,
            "skipped": self.skipped, "audit_skipped": self.audit_skipped, "refused": len(self.refused),
            "reasons": dict(reasons.most_common()),
        }  # fmt: skip


def history(warehouse: Warehouse, version: int | None = None) -> pd.DataFrame:
    """All answers, oldest first: key and `COLUMNS`; no rows where nobody has answered yet."""
    if tables.open_table(warehouse.url, TABLE) is None:
        return pd.DataFrame({name: pd.Series(dtype=object) for name in ("key", *COLUMNS)})
    rows = tables.read(warehouse.url, TABLE, version=version)
    if warehouse.schema.id not in rows.column_names:
        raise InputError(
            f"table {TABLE} in {warehouse.url} has no column {warehouse.schema.id!r}, which the schema names as id: "
            "give the schema and the warehouse of one catalog"
        )
    found = pd.DataFrame({name: pd.Series(rows[name].to_pylist(), dtype=object) for name in COLUMNS})
    found.insert(0, "key", pd.Series([str(i).strip() for i in rows[warehouse.schema.id].to_pylist()], dtype=object))
    return found


def current(warehouse: Warehouse) -> pd.DataFrame:
    """The answer of each cell that counts; `queued`: whether the review queue has asked for it at any time.

    `attrs["hash"]` is a hash of what training takes from them.
    """
    found = history(warehouse)
    cell = [found["key"], found["attribute"]]
    found["queued"] = (found["purpose"] == "queue").groupby(cell).transform("any").astype(bool)
    found = found.drop_duplicates(["key", "attribute"], keep="last").reset_index(drop=True)
    told = found[["key", "attribute", "answer", "purpose", "queued"]].sort_values(["key", "attribute"])
    found.attrs["hash"] = hashlib.sha256(told.to_json(orient="values").encode()).hexdigest()[:16]
    return found


def sentence(counts: dict[str, Any]) -> str:
    """What an import did, in words."""
    reasons = ", ".join(f"{n:,} {reason}" for reason, n in counts["reasons"].items())
    words = [f"{counts['refused']:,} of {counts['rows']:,} rows refused" + (f" ({reasons})" if reasons else "")]
    words.append(f"{counts['imported']:,} imported")
    words += [f"{counts['replaced']:,} of them in place of another answer"] if counts["replaced"] else []
    words += [f"{counts['unchanged']:,} there already, {counts['skipped']:,} without an answer"]
    words += [f"{counts['audit_skipped']:,} of these of an audit"] if counts["audit_skipped"] else []
    return ", ".join(words)


def import_answers(
    warehouse: Warehouse,
    sheet: pd.DataFrame,
    source_hash: str,
    *,
    replace: bool = False,
    new_values: bool = False,
    reviewer: str | None = None,
) -> Import:
    """Adds the answers of a sheet to the table `reviews`.

    Args:
        sheet: key, attribute, answer, purpose, reviewer, from `attrgan.review.sheet.read`; None: empty.
        source_hash: of the file.
        replace: answers that differ from those in the table take their place instead of being refused.
        new_values: categorical values that stand nowhere in the catalog are answers too.
        reviewer: who answered, where the sheet does not say.

    Raises:
        ConflictError: other imports were faster twelve times.
    """
    id_type = pa.array(warehouse.newest["id"].tolist()).type
    empty = pa.schema([pa.field(warehouse.schema.id, id_type), *(pa.field(n, t) for n, t in COLUMNS.items())])
    now = datetime.now(UTC)
    today = now.date().isoformat()
    for attempt in range(_ATTEMPTS):
        base = tables.begin(warehouse.url, TABLE, empty)
        done = _check(warehouse, sheet, replace, new_values)
        if not done.new:
            return done
        stamps = {"reviewed_at": now.isoformat(timespec="seconds"), "source_hash": source_hash}
        rows = [row | stamps | {"reviewer": row["reviewer"] or reviewer} for row in done.new]
        there = tables.read(warehouse.url, TABLE, today, version=int(base.version())).drop_columns([tables.DT])
        data = pa.concat_tables(
            [there.select(empty.names), pa.Table.from_pylist(rows, there.select(empty.names).schema)]
        )
        try:
            tables.replace_partition(warehouse.url, TABLE, data, today, {"source_hash": source_hash}, base=base)
            return done
        except tables.ConflictError:
            if attempt == _ATTEMPTS - 1:
                raise
    return done


def unsaved(warehouse: Warehouse, sheet: pd.DataFrame) -> int:
    """How many answers of a sheet an import would add or refuse: all that the table does not hold as they stand."""
    done = _check(warehouse, sheet, replace=False, new_values=True)
    return len(done.new) + len(done.refused)


def _check(warehouse: Warehouse, sheet: pd.DataFrame, replace: bool, new_values: bool) -> Import:
    """Sorts the rows of a sheet into those to add, and those that are unchanged, skipped or refused."""
    done = Import()
    known = _Known(warehouse, sheet, new_values)
    asked: dict[tuple[str, str], list[int]] = {}
    read: dict[int, _Answer] = {}
    for i, row in enumerate(sheet.to_dict("records")):
        if not str(row["answer"] or "").strip():
            done.skipped += 1
            done.audit_skipped += row["purpose"] == "audit"
            continue
        answer = known.read(row)
        if isinstance(answer, str):
            done.refused[i] = answer
            continue
        read[i] = answer
        asked.setdefault((answer.key, answer.attribute), []).append(i)
    for numbers in asked.values():
        _settle(done, [(i, read[i]) for i in numbers], known, replace)
    return done


def _settle(done: Import, given: "list[tuple[int, _Answer]]", known: "_Known", replace: bool) -> None:
    """Decides on the answers that one sheet gives to one cell."""
    answer = given[0][1]
    before = known.before.get((answer.key, answer.attribute))
    if reason := _contradiction([a for _, a in given], before, known, replace):
        done.refused |= dict.fromkeys([i for i, _ in given], reason)
        return
    audit = any(a.purpose == "audit" for a in [before, *(a for _, a in given)] if a)
    stands = before is not None and known.same(answer, before) and (before.purpose == "audit" or not audit)
    if before and stands and not (replace and answer.text != before.text):
        done.unchanged += len(given)
        return
    done.unchanged += len(given) - 1
    done.replaced += before is not None and not known.same(answer, before)
    done.new.append(known.row(answer, "audit" if audit else "queue"))


def _contradiction(given: "list[_Answer]", before: "_Answer | None", known: "_Known", replace: bool) -> str | None:
    """What the answers to one cell contradict: one another, an earlier one, or the seller; None: nothing."""
    answer = given[0]
    if others := sorted({a.text for a in given if not known.same(answer, a)}):
        return f"two answers in this file: {answer.text!r} and {others[0]!r}; leave the one that is right"
    if before is None:
        return known.taken(answer)
    if replace or known.same(answer, before):
        return None
    by = f" by {before.reviewer}" if before.reviewer else ""
    return f"another answer is there: {before.text!r}{by}; --replace puts {answer.text!r} in its place"


@dataclass(frozen=True)
class _Answer:
    """An answer in its canonical form; `number` is NaN where it is none."""

    key: str
    attribute: str
    text: str
    number: float
    purpose: str
    reviewer: str | None


class _Known:
    """What a sheet is checked against: the items, what the model said of them, and earlier answers."""

    def __init__(self, warehouse: Warehouse, sheet: pd.DataFrame, new_values: bool) -> None:
        self.schema, self.newest = warehouse.schema, warehouse.newest
        keys = sheet.loc[sheet["answer"].notna(), "key"]
        self.items = warehouse.items(keys)
        columns = ["value", "number", "confidence", "status", "model_version", "run_id"]
        said = warehouse.completions(columns, keys).to_dict("records")
        self.said = {(row["key"], row["attribute"]): row for row in said}
        self.before = {(row["key"], row["attribute"]): _of_table(row) for row in current(warehouse).to_dict("records")}
        self.forms: dict[str, Form] = {}
        self.values: dict[str, set[str]] = {}
        self.new_values = new_values
        self._warehouse = warehouse

    def read(self, row: Mapping[Any, Any]) -> "_Answer | str":
        """The answer of a row, or the reason why it is none."""
        key, name, purpose = (str(row[c] or "").strip() for c in ("key", "attribute", "purpose"))
        if name not in self.schema.attributes:
            return f"unknown attribute: {name!r} is not in the schema, which has {', '.join(self.schema.attributes)}"
        if key not in self.newest.index:
            return f"unknown id: no item {key!r} in the warehouse; it was never published, or has been removed"
        if purpose not in ("", "queue", "audit"):
            return f"unknown purpose: {purpose!r}; expected queue or audit"
        text = canonical(row["answer"])
        if len(text) > LONGEST:
            return f"too long: {len(text):,} characters; expected a value of at most {LONGEST:,}"
        attribute = self.schema.attributes[name]
        if attribute.kind == "numeric" and text != NOT_APPLICABLE:
            number, reason = self._number(name, attribute, text)
        else:
            number = math.nan
            text, reason = _value(attribute, text)
            reason = reason or self._strange(name, attribute, text)
        if reason:
            return reason
        who = str(row["reviewer"] or "").strip()[:LONGEST] or None
        return _Answer(key, name, text, number, purpose or "queue", who)

    def _number(self, name: str, attribute: Attribute, text: str) -> tuple[float, str | None]:
        if name not in self.forms:
            self.forms[name] = learn(self._written(name), attribute.unit, attribute.format)
        number = float(read_numbers(pa.array([text], pa.string()), self.forms[name])[0])
        if not math.isfinite(number):
            unit = f" in {attribute.unit}" if attribute.unit else ""
            return number, f"not a number: {text[:60]!r}; expected one{unit}, written as in the catalog, or n/a"
        if number < (-math.inf if attribute.min is None else attribute.min) or number > (
            math.inf if attribute.max is None else attribute.max
        ):
            return number, f"out of range: {text!r}; the schema says {attribute.min} to {attribute.max}"
        return number, None

    def _strange(self, name: str, attribute: Attribute, text: str) -> str | None:
        """Why a categorical value is none of the catalog's."""
        if attribute.kind != "categorical" or (self.new_values and not attribute.values):
            return None
        if name not in self.values:
            listed = {canonical(value) for value in attribute.values or []}
            self.values[name] = listed or self._warehouse.values(name)
        members = json.loads(text) if attribute.multi else [text]
        unseen = next((m for m in members if m not in {*self.values[name], NOT_APPLICABLE}), None)
        if unseen is None:
            return None
        if attribute.values:
            return f"not a value of this attribute: {unseen[:60]!r}; the schema lists {', '.join(attribute.values)}"
        close = get_close_matches(unseen, sorted(self.values[name]), 1, 0.7)
        hint = f"; {close[0]!r} does" if close else ""
        return f"new value: {unseen[:60]!r} stands nowhere in the catalog{hint}; --new-values lets new ones in"

    def _written(self, name: str) -> list[str | None]:
        """How the catalog writes the numbers of an attribute, as the completions show it."""
        cells = self._warehouse.completions(["value"])
        return list(cells.loc[cells["attribute"] == name, "value"])

    def taken(self, answer: _Answer) -> str | None:
        """Why the cell cannot be answered: the seller has."""
        own = own_value(self.items.at[answer.key, answer.attribute], self.schema.attributes[answer.attribute])
        return None if own is None else f"the seller's own value is there: {str(own)[:60]!r}, which nothing overwrites"

    def same(self, one: _Answer, other: _Answer) -> bool:
        """Whether two answers to a cell are one (see `is_right`)."""
        if one.text == other.text:
            return True
        attribute = self.schema.attributes[one.attribute]
        numeric = attribute.kind == "numeric"
        a, b = (np.array([x.number if numeric else x.text], dtype=object) for x in (one, other))
        return bool(is_right(a, b, attribute)[0])

    def row(self, answer: _Answer, purpose: str) -> dict[str, Any]:
        """The answer as a row of the table."""
        said = self.said.get((answer.key, answer.attribute), {})
        proposed = said.get("value")
        if said.get("status") == "not_applicable":
            proposed = self.schema.attributes[answer.attribute].not_applicable
        return {
            self.schema.id: self.newest.at[answer.key, "id"], "attribute": answer.attribute, "answer": answer.text,
            "number": None if math.isnan(answer.number) else answer.number, "proposed": proposed,
            "proposed_number": said.get("number"), "confidence": said.get("confidence"),
            "purpose": purpose, "reviewer": answer.reviewer,
            "model_version": said.get("model_version"), "run_id": said.get("run_id"),
        }  # fmt: skip


def _of_table(row: Mapping[Any, Any]) -> _Answer:
    number = math.nan if row["number"] is None else float(row["number"])
    return _Answer(row["key"], row["attribute"], row["answer"], number, row["purpose"], row["reviewer"])


def _value(attribute: Attribute, text: str) -> tuple[str, str | None]:
    """The canonical form of a categorical or open answer, and why it is none."""
    if text == NOT_APPLICABLE:
        return attribute.not_applicable, None
    members = _members(text) if attribute.multi else [text]
    if members is None:
        return text, f'not a list: {text[:60]!r}; expected a JSON list such as ["new", "sale"], or n/a'
    return (canonical_list(members) or text) if attribute.multi else text, None


def _members(text: str) -> list[str] | None:
    """The members that a JSON list of strings names; None where the text is no such list."""
    try:
        members = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(members, list) or not all(isinstance(m, str) and m.strip() for m in members):
        return None
    return [canonical(m) for m in members]
