"""What the demo made: reads manifests, tables and the registry, compares the two passes, writes the table at the end.

Figures about cells are counted on what was published: of each product its newest version. Accuracy and precision come
from the evaluation of `train_model`, on hidden cells that neither training nor thresholds ever saw.
"""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table

from attrgan.cli.output import percent
from attrgan.lake import tables
from examples.complete_journey.places import SCHEMA, DemoError, Places

TABLES = ("completions", "completed")


def published(places: Places, dates: list[str]) -> dict[str, pa.Table]:
    """The published rows of these dates, in their order: table → rows. Fails when a date is not there."""
    return {name: pa.concat_tables(_read(places, name, dt) for dt in sorted(dates)) for name in TABLES}


def identical(first: dict[str, pa.Table], second: dict[str, pa.Table], say: Callable[[str], None]) -> bool:
    """Whether the second pass published what the first did, row by row; fails when it published nothing anew."""
    same = True
    for name in TABLES:
        before, after = _comparable(first[name]), _comparable(second[name])
        equal = before.equals(after)
        say(f"{name}: {len(before):,} rows, then {len(after):,}: {'identical' if equal else 'DIFFERENT'}")
        same &= equal
    if not pc.max(first["completions"]["completed_at"]).as_py() < pc.min(second["completions"]["completed_at"]).as_py():
        raise DemoError("the second pass of the backfill did not decide again: its rows are those of the first")
    return same


def summary(
    places: Places,
    trained: dict[str, Any],
    trained_on: str,
    nightly: dict[str, dict[str, Any]],
    runs: list[dict[str, Any]],
) -> dict[str, Any]:
    """The summary, without `backfill_identical`, `seconds` and `peak_memory_mb`; fails when a result is not there."""
    metrics = _json(places.task(trained, trained_on, "evaluate") / "metrics.json")["attributes"]
    validations = [_json(places.task(run, dt, "validate") / "manifest.json") for dt, run in nightly.items()]
    counts = {key: sum(v["counts"][key] for v in validations) for key in ("rows_in", "valid", "quarantined")}
    cells = _cells(places, sorted(nightly))
    attributes = {}
    for name, figures in metrics.items():
        status = cells.get(name, Counter())
        attributes[name] = {
            "missing_before": sum(status.values()),
            **{key: status[key] for key in ("filled", "review", "abstained", "not_applicable")},
            "accuracy_hidden": figures["accuracy"],
            "baseline_hidden": figures["baseline"],
            **{key: figures[key] for key in ("promised_precision", "realised_precision", "realised_n")},
            "realised_interval": figures["realised_interval"],
        }
    newest = max(nightly)
    return {
        "dag_runs": runs,
        "catalog": counts,
        "attributes": attributes,
        "model": _champion(places),
        "links": _links(places, trained, trained_on, nightly[newest], newest),
    }


def show(summary: dict[str, Any], places: Places, console: Console) -> None:
    """Prints the table at the end."""
    table = Table(title="Of each product its newest published version; precision and accuracy on hidden cells")
    columns = ["missing", "filled", "review", "abstained", "n/a", "accuracy", "mode/median", "promised", "realised"]
    table.add_column("attribute")
    for column in columns:
        table.add_column(column, justify="right")
    for name, figures in summary["attributes"].items():
        counts = [f"{figures[k]:,}" for k in ("missing_before", "filled", "review", "abstained", "not_applicable")]
        shares = [percent(figures[k]) for k in ("accuracy_hidden", "baseline_hidden", "promised_precision")]
        table.add_row(name, *counts, *shares, _realised(figures))
    console.print(table)
    rows, model = summary["catalog"], summary["model"]
    green = sum(run["state"] == "success" for run in summary["dag_runs"])
    lines = {
        "DAG runs": f"{green} of {len(summary['dag_runs'])} succeeded",
        "Catalog": f"{rows['rows_in']:,} rows in = {rows['valid']:,} valid + {rows['quarantined']:,} quarantined",
        "Model": f"{model['name']} version {model['version']}, {model['alias']}",
        "Backfill twice": "the same rows" if summary["backfill_identical"] else "DIFFERENT rows",
        "Report": summary["links"]["report"],
        "Data Docs": summary["links"]["data_docs"],
        "MLflow run": f"{summary['links']['mlflow_run']} (`make up` shows it)",
        "Summary": str(places.summary),
        "Took": f"{summary['seconds']:.0f} s, {summary['peak_memory_mb']:,} MB at the peak",
    }
    for name, text in lines.items():
        console.print(f"{name:15} {text}", markup=False, highlight=False)


def _comparable(rows: pa.Table) -> pa.Table:
    """Without the columns that tell one run from another, and with null for NaN, which equals nothing."""
    rows = rows.drop_columns([name for name in ("run_id", "completed_at") if name in rows.column_names])
    for at, field in enumerate(rows.schema):
        if pa.types.is_floating(field.type):
            rows = rows.set_column(at, field, pc.if_else(pc.is_nan(rows[at]), None, rows[at]))
    return rows


def _read(places: Places, table: str, dt: str) -> pa.Table:
    rows = tables.read(str(places.warehouse), table, dt)
    if not rows.num_rows:
        raise DemoError(f"the table {table} in {places.warehouse} has no rows of {dt}")
    return rows


def _cells(places: Places, dates: list[str]) -> dict[str, Counter[str]]:
    """Attribute → status → cells, counting of each product its newest published version."""
    counts: dict[str, Counter[str]] = {}
    seen: set[int] = set()
    for dt in sorted(dates, reverse=True):
        cells = _read(places, "completions", dt).select(["product_id", "attribute", "status"]).to_pylist()
        for cell in cells:
            if cell["product_id"] not in seen:
                counts.setdefault(cell["attribute"], Counter())[cell["status"]] += 1
        seen |= set(_read(places, "completed", dt)["product_id"].to_pylist())
    return counts


def _champion(places: Places) -> dict[str, str]:
    from mlflow import MlflowClient

    from attrgan.schema import Schema

    name = f"attrgan-{Schema.load(SCHEMA).entity}"
    version = MlflowClient(places.tracking_uri, places.tracking_uri).get_model_version_by_alias(name, "champion")
    return {"name": name, "version": str(version.version), "alias": "champion"}


def _links(places: Places, trained: dict[str, Any], trained_on: str, night: dict[str, Any], dt: str) -> dict[str, str]:
    registered = _json(places.task(trained, trained_on, "register") / "manifest.json")
    files = {
        "report": places.task(night, dt, "report") / "report.html",
        "data_docs": places.task(night, dt, "validate") / "data_docs" / "index.html",
        "evaluation": places.task(trained, trained_on, "evaluate") / "report.html",
    }
    for file in files.values():
        if not file.is_file():
            raise DemoError(f"a result is missing: {file}")
    return {name: str(file) for name, file in files.items()} | {
        "mlflow": places.tracking_uri,
        "mlflow_run": str(registered["mlflow_run_id"]),
        "warehouse": str(places.warehouse),
    }


def _json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise DemoError(f"a result is missing: {file}")
    return dict(json.loads(file.read_text(encoding="utf-8")))


def _realised(figures: dict[str, Any]) -> str:
    if figures["realised_precision"] is None:
        return "–"
    low, high = figures["realised_interval"]
    return f"{percent(figures['realised_precision'])} of {figures['realised_n']:,} ({percent(low)}–{percent(high)})"
