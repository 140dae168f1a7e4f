"""A small made-up catalog, validated and completed: the folders that the verbs `validate` and `complete` leave."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from attrgan.lake.numbers import learn

SCHEMA: dict[str, Any] = {
    "entity": "product",
    "id": "sku",
    "category": "department",
    "text": ["title"],
    "attributes": {
        "brand": {"kind": "open"},
        "price": {"kind": "numeric", "unit": "USD"},
        "tags": {"kind": "categorical", "multi": True},
        "neckline": {"kind": "categorical", "applies_to": {"department": ["Tops"]}},
        "colour": {"kind": "categorical", "mode": "suggest"},
        "shelf": {"kind": "categorical", "mode": "off"},
    },
}
ANSWERS: dict[str, tuple[Any, str]] = {
    "brand": ("Acme", "filled"),
    "price": (9.5, "filled"),
    "tags": (["new", "sale"], "filled"),
    "neckline": ("V", "review"),
    "colour": ("red", "review"),
}
CALIBRATION = {name: {"threshold": 0.8, "promised_precision": 0.95} for name in ("brand", "price", "tags")}


def catalog(n: int = 6, dt: str = "2026-01-01") -> pa.Table:
    """n items; of every three the first is whole, the second has no brand and price, the third no tags and neckline."""
    rows = range(n)
    return pa.table({
        "sku": [f"{dt}/{i:05d}" for i in rows],
        "title": [f"<b>thing</b> {i}" for i in rows],
        "department": ["Tops" if i % 2 else "Shoes" for i in rows],
        "brand": pa.array([None if i % 3 == 1 else f"brand {i}" for i in rows], pa.string()),
        "price": pa.array([None if i % 3 == 1 else i + 0.25 for i in rows], pa.float64()),
        "tags": pa.array([None if i % 3 == 2 else ["old"] for i in rows], pa.list_(pa.string())),
        "neckline": pa.array([None if i % 3 == 2 else "crew" for i in rows], pa.string()),
        "colour": pa.array([None if i % 3 == 1 else "blue" for i in rows], pa.string()),
        "shelf": pa.array([None] * n, pa.string()),
        "note": pa.array([None if i % 2 else "as the seller wrote it" for i in rows], pa.string()),
    })  # fmt: skip


def validated(folder: Path, valid: pa.Table, quarantine: pa.Table | None = None, **manifest: Any) -> str:
    """Writes what `attrgan validate` leaves."""
    folder.mkdir(parents=True)
    pq.write_table(valid, folder / "valid.parquet")
    aside = quarantine if quarantine is not None else quarantined(0)
    pq.write_table(aside, folder / "quarantine.parquet")
    reasons = {"wrong_type:price": aside.num_rows} if aside.num_rows else {}
    counts = {"rows_in": valid.num_rows + aside.num_rows, "valid": valid.num_rows, "quarantined": aside.num_rows,
              "superseded": 0, "reasons": reasons}  # fmt: skip
    _manifest(folder, "validate", counts=counts, **manifest)
    return str(folder)


def quarantined(n: int) -> pa.Table:
    """n rows as `validate` sets them aside; their price is text."""
    return pa.table({
        "sku": pa.array([f"bad{i}" for i in range(n)], pa.string()),
        "price": pa.array(["<script>alert(1)</script>"] * n, pa.string()),
        "tags": pa.array([["x"]] * n, pa.list_(pa.string())),
        "source_file": pa.array(["landing.csv"] * n, pa.string()),
        "source_row": pa.array(range(1, n + 1), pa.int64()),
        "reasons": pa.array([["wrong_type:price"]] * n, pa.list_(pa.string())),
        "source_text": pa.array([None] * n, pa.string()),
    })  # fmt: skip


def completions_of(valid: pa.Table, answers: dict[str, tuple[Any, str]] | None = None) -> list[dict[str, Any]]:
    """The completions rows of the contract for the null cells of a catalog."""
    answers = ANSWERS | (answers or {})
    rows = []
    for item in valid.to_pylist():
        for name, (value, status) in answers.items():
            ruled_out = name == "neckline" and item["department"] not in (None, "Tops")
            if item[name] is not None or ruled_out or item.get("_deleted"):
                continue
            number = learn([]).read(str(value)) if name == "price" else None
            text = json.dumps(value) if isinstance(value, list) else str(value)
            rows.append({
                "sku": item["sku"], "attribute": name, "value": None if status == "not_applicable" else text,
                "number": number, "lower": number, "upper": number, "confidence": 0.9, "status": status,
                "source": "vocabulary", "evidence": "{}", "model_version": "7", "run_id": "of complete",
                "completed_at": "2026-01-02T00:00:00+00:00",
            })  # fmt: skip
    return rows


def filled(valid: pa.Table, completions: list[dict[str, Any]]) -> pa.Table:
    """The catalog with what was accepted."""
    accepted = {(r["sku"], r["attribute"]): r for r in completions if r["status"] == "filled"}
    items = valid.to_pylist()
    for item in items:
        for name in SCHEMA["attributes"]:
            if row := accepted.get((item["sku"], name)):
                kind = valid.schema.field(name).type
                item[name] = json.loads(row["value"]) if name == "tags" else pa.scalar(row["value"]).cast(kind).as_py()
    return pa.Table.from_pylist(items, valid.schema)


def completed(
    folder: Path, valid: pa.Table, shard: str = "0/1", *, table: pa.Table | None = None,
    completions: list[dict[str, Any]] | None = None, **manifest: Any,
) -> str:  # fmt: skip
    """Writes what `attrgan complete` leaves for these rows; `table` and `completions` stand in for what is right."""
    folder.mkdir(parents=True)
    rows = completions_of(valid) if completions is None else completions
    pq.write_table(filled(valid, rows) if table is None else table, folder / "completed.parquet")
    pq.write_table(pa.Table.from_pylist(rows, completions_schema(valid)), folder / "completions.parquet")
    counts: dict[str, Any] = {"rows": valid.num_rows, "cells": len(rows), "attributes": {}}
    statuses = ("filled", "review", "abstained", "not_applicable")
    for name in SCHEMA["attributes"]:
        mine = [r for r in rows if r["attribute"] == name]
        of = {s: sum(r["status"] == s for r in mine) for s in statuses}
        counts["attributes"][name] = {"missing_before": valid[name].null_count, **of}
    counts |= {s: sum(a[s] for a in counts["attributes"].values()) for s in statuses}
    details = {"schema": SCHEMA, "model_version": "7", "schema_hash": "abc", "shard": shard, "calibration": CALIBRATION}
    _manifest(folder, "complete", counts=counts, **(details | manifest))
    return str(folder)


def completions_schema(valid: pa.Table) -> pa.Schema:
    names = ("value", "number", "lower", "upper", "confidence", "status", "source", "evidence", "model_version",
             "run_id", "completed_at")  # fmt: skip
    numbers = {"number", "lower", "upper", "confidence"}
    fields = [pa.field(n, pa.float64() if n in numbers else pa.string()) for n in names]
    return pa.schema([valid.schema.field("sku"), pa.field("attribute", pa.string()), *fields])


def _manifest(folder: Path, verb: str, **fields: Any) -> None:
    written = {"verb": verb, "status": "finished", "run_id": "r1", "refused": None, "inputs": {},
               "finished_at": datetime.now(UTC).isoformat(timespec="seconds"), **fields}  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(written))
