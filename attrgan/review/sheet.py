"""The sheet that people fill in: CSV for spreadsheets, JSON Lines or Parquet for programs.

Choices:
- A cell of a CSV that a spreadsheet could take for a formula (it starts with `=`, `+`, `-`, `@`, a tab, a carriage
  return, or a full-width form of these) gets an apostrophe in front, and so does one that starts with an apostrophe
  before such a character; reading takes exactly one away again. So reading a sheet gives back what was written, and
  what a person types in (`-5`) is read as it stands.
- An audit shows no proposal, confidence or evidence: whoever sees an answer tends to agree with it, and the promise
  would rest on that. The candidates are listed in alphabetical order, so that values are spelled as the catalog spells
  them.
- Long texts are cut: a spreadsheet holds 32,767 characters in a cell, and nobody reads more than the beginning.
"""

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from attrgan.errors import CatalogError, InputError
from attrgan.lake import storage
from attrgan.lake.catalog import read_catalog
from attrgan.review.cells import Warehouse
from attrgan.schema import Attribute

ASKED = ["proposed", "confidence", "candidates", "evidence", "worth", "expected", "purpose", "model_version", "run_id"]
FILLED_IN = ["answer", "reviewer"]
ANSWERED = ["key", "attribute", "answer", "purpose", "reviewer"]
LONGEST = 2000
"""Characters shown of a text."""
SUFFIXES = (".csv", ".parquet", ".jsonl")
_RISKY = tuple("=+-@\t\r＝＋－＠")


def build(warehouse: Warehouse, cells: pd.DataFrame, purpose: str) -> pd.DataFrame:
    """The sheet of some cells, in their order.

    Args:
        cells: from `attrgan.review.queue`.

    Returns:
        id, attribute, the item's text columns, `known` (its own attributes in words), `ASKED` and `FILLED_IN`.

    Raises:
        InputError: the id column has the name of a column of the sheet.
    """
    schema = warehouse.schema
    if schema.id in (own := ["attribute", "known", *ASKED, *FILLED_IN]):
        raise InputError(f"the id column is called {schema.id!r}, as a column of the sheet: rename it in the catalog")
    items = warehouse.items(cells["key"]).reindex(cells["key"])
    ids = warehouse.newest["id"].reindex(cells["key"]).tolist()
    sheet = pd.DataFrame({schema.id: pd.Series(ids, dtype=object), "attribute": list(cells["attribute"])}, dtype=object)
    shown = [c for c in (schema.category, *schema.text) if c and c not in schema.attributes]
    for column in shown:
        sheet[f"item_{column}" if column in own else column] = [_cut(v) for v in items[column]]
    names = [n for n in schema.attributes if n in items]
    sheet["known"] = [
        "; ".join(f"{n}: {_cut(v)}" for n, v in row.items() if _given(v)) for row in items[names].to_dict("records")
    ]
    blind = purpose == "audit"
    records = [row | {"attribute_": schema.attributes[row["attribute"]]} for row in cells.to_dict("records")]
    sheet["proposed"] = [None if blind else row["value"] for row in records]
    sheet["confidence"] = [None if blind else round(float(row["confidence"]), 4) for row in records]
    sheet["candidates"] = [_alphabetical(row) if blind else _others(row) for row in records]
    sheet["evidence"] = [None if blind else in_words(row) for row in records]
    sheet["worth"] = [None if row["worth"] is None else round(float(row["worth"]), 4) for row in records]
    sheet["expected"] = [expected(row["attribute_"]) for row in records]
    sheet["purpose"] = purpose
    for column in ("model_version", "run_id"):
        sheet[column] = list(cells[column])
    for column in FILLED_IN:
        sheet[column] = [v if isinstance(v, str) else None for v in cells.get(column, pd.Series([None] * len(cells)))]
    return sheet.astype(object).where(sheet.notna(), None)


def in_words(row: Mapping[Any, Any]) -> str:
    """Why the model proposes this: `lower`, `upper`, `source` and `evidence` of a cell."""
    found = _evidence(row)
    spans = found.get("spans") or ([found["span"]] if "span" in found else [])
    said = [f"“{s['text']}” stands in {s['column']} at {s['start']}–{s['end']}" for s in spans]
    near = [f"{n['id']} ({n['cosine']:.2f})" for n in found.get("neighbours", [])]
    if near:
        said.append(f"similar items have it: {', '.join(near)}")
    if pd.notna(row["lower"]) and pd.notna(row["upper"]):
        said.append(f"between {row['lower']:g} and {row['upper']:g} in nine of ten cases")
    return "; ".join(said) or {"vocabulary": "a known value", "generator": "estimated"}.get(
        row["source"], str(row["source"])
    )


def expected(attribute: Attribute) -> str:
    """What an answer looks like."""
    if attribute.kind == "numeric":
        return f"a number in {attribute.unit}, or n/a" if attribute.unit else "a number, or n/a"
    if attribute.multi:
        return 'a JSON list such as ["new", "sale"], or n/a'
    return f"one of {', '.join(attribute.values)}, or n/a" if attribute.values else "one value, or n/a"


def _others(row: Mapping[Any, Any]) -> str:
    return "; ".join(f"{value} ({p:.2f})" for value, p in _evidence(row).get("other_candidates", []))


def _alphabetical(row: Mapping[Any, Any]) -> str:
    """The candidates without a word on which is likelier; of numbers none, since there is one only."""
    if row["attribute_"].kind == "numeric":
        return ""
    return "; ".join(sorted({str(row["value"] or "n/a"), *(v for v, _ in _evidence(row).get("other_candidates", []))}))


def _evidence(row: Mapping[Any, Any]) -> dict[str, Any]:
    return json.loads(row["evidence"]) if isinstance(row["evidence"], str) else {}


def _given(value: Any) -> bool:
    return value is not None and value == value and value != ""


def _cut(value: Any) -> str | None:
    if not _given(value):
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)  # numbers are floats in the tables: 250 is written 250
    text = json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, list) else str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


# --- files ---------------------------------------------------------------------------------------------------------


def check_place(place: str, id_column: str, unsaved: Callable[[pd.DataFrame], int]) -> None:
    """Raises InputError where writing a sheet to a place would lose something, or its name says no format.

    Args:
        unsaved: counts what the warehouse does not hold of a sheet's answers, from `read`.
    """
    _check_suffix(place)
    if not storage.exists(place) or _has_no_rows(place):
        return
    try:
        there = read(place, id_column)[1]
    except CatalogError as error:
        raise InputError(f"there is another file, which is not overwritten: {error}; choose another name") from None
    if lost := unsaved(there):
        raise InputError(
            f"{place} holds {lost} answers that are not in the warehouse: import it (`attrgan review import {place}`), "
            "or choose another name"
        )


def _check_suffix(place: str) -> None:
    if not place.lower().endswith(SUFFIXES):
        raise InputError(f"{place} is no name of a sheet: expected a file named {', '.join(SUFFIXES)}")


def _has_no_rows(place: str) -> bool:
    """Whether a file is the sheet of an empty queue."""
    fs, path = storage.filesystem(place)
    with fs.open(path, "rb") as file:
        if place.lower().endswith(".parquet"):
            try:
                return bool(pq.read_metadata(file).num_rows == 0)
            except pa.ArrowException:
                return False
        start = file.read(1 << 16)
    return b"\n" not in start.rstrip() if place.lower().endswith(".csv") else not start


def write(sheet: pd.DataFrame, place: str) -> None:
    """Writes a sheet, whole or not at all; the name says in which format."""
    _check_suffix(place)
    folder, name = place.rpartition("/")[::2]
    with storage.staged(folder or ".") as stage:
        if name.lower().endswith(".csv"):
            _write_csv(sheet, stage / name)
        elif name.lower().endswith(".jsonl"):
            lines = (json.dumps(row, ensure_ascii=False, default=str) for row in sheet.to_dict("records"))
            (stage / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        else:
            arrays = {c: pa.array(sheet[c].tolist(), from_pandas=True) for c in sheet}
            texts = {c: a.cast(pa.string()) if pa.types.is_null(a.type) else a for c, a in arrays.items()}
            pq.write_table(pa.table(texts), stage / name)


def _write_csv(sheet: pd.DataFrame, path: Path) -> None:
    with path.open("w", encoding="utf-8-sig", newline="") as file:  # the mark tells spreadsheets that it is UTF-8
        writer = csv.writer(file, lineterminator="\r\n")
        writer.writerow([safe(str(column)) for column in sheet])
        for row in sheet.itertuples(index=False):
            writer.writerow([_csv_cell(cell) for cell in row])


def _csv_cell(cell: Any) -> Any:
    if cell is None or cell != cell:
        return ""
    if isinstance(cell, list | dict):
        cell = json.dumps(cell, ensure_ascii=False)
    return safe(cell) if isinstance(cell, str) else cell


def safe(text: str) -> str:
    """A cell that no spreadsheet takes for a formula; `unsafe` is its inverse."""
    text = text.replace("\0", "\ufffd")
    return f"'{text}" if text.lstrip("'").startswith(_RISKY) else text


def unsafe(text: str) -> str:
    """What `safe` was given; anything else as it stands."""
    return text[1:] if text.startswith("'") and text.lstrip("'").startswith(_RISKY) else text


def read(place: str, id_column: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A sheet that was filled in.

    Returns:
        The rows as they stand, and what they answer: key, attribute, answer, purpose, reviewer (None: empty).

    Raises:
        CatalogError: no such file, or no sheet.
    """
    if storage.files(place) and len(storage.files(place)) != 1:
        raise CatalogError(f"{place} is a folder: expected one sheet of `attrgan review export`")
    if storage.is_file(place) and place.lower().endswith(".jsonl") and _has_no_rows(place):  # it has no header either
        return pd.DataFrame(), pd.DataFrame(columns=ANSWERED, dtype=object)
    found = read_catalog(place)
    if found.unreadable:
        first = found.unreadable[0]
        raise CatalogError(
            f"row {first.row} of {place} cannot be read ({len(found.unreadable)} such rows): expected as many cells as "
            "the header has, separated by commas"
        )
    typed_in = place.lower().removesuffix(".gz").endswith((".csv", ".tsv"))
    rows = pd.DataFrame(
        {unsafe(c) if typed_in else c: _cells(found.table[c].to_pylist(), typed_in) for c in found.table.column_names}
    )
    needed = [id_column, "attribute", "answer"]
    if missing := [c for c in needed if c not in rows]:
        raise CatalogError(
            f"{place} has no column {', '.join(map(repr, missing))}, only {', '.join(map(str, rows))[:200]}: "
            f"expected a sheet of `attrgan review export` ({', '.join(needed)}), separated by commas"
        )
    given = {"key": rows[id_column]} | {c: rows.get(c) for c in ANSWERED[1:]}
    return rows, pd.DataFrame({c: _texts(column, len(rows)) for c, column in given.items()}, dtype=object)


def write_refused(rows: pd.DataFrame, refused: dict[int, str], file: str) -> str | None:
    """Writes the refused rows beside a sheet, each with its `reason`, ready to be mended and imported; returns where.

    Where none was refused, such a file of an earlier import goes.
    """
    place = f"{file}.refused.csv"
    if not refused:
        fs, path = storage.filesystem(place)
        if fs.exists(path):
            fs.rm(path)
        return None
    numbers = sorted(refused)
    aside = rows.iloc[numbers].drop(columns=["reason", "row"], errors="ignore")
    aside = aside.assign(reason=[refused[n] for n in numbers], row=[n + 1 for n in numbers])
    write(aside, place)
    return place


def _cells(column: list[Any], typed_in: bool) -> "pd.Series[Any]":
    return pd.Series([unsafe(c) if typed_in and isinstance(c, str) else c for c in column], dtype=object)


def _texts(column: "pd.Series[Any] | None", n: int) -> list[str | None]:
    """Cells as stripped text; lists, which JSON Lines and Parquet may hold, as JSON."""
    cells = [None] * n if column is None else column.tolist()
    texts = [json.dumps(c, ensure_ascii=False) if isinstance(c, list | dict) else c for c in cells]
    return [None if c is None or (isinstance(c, float) and np.isnan(c)) else str(c).strip() for c in texts]
