"""The end of the demo: what it compares, what it counts, what it says, on small tables and manifests that look real."""

import io
import json
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from rich.console import Console

from attrgan.lake import tables
from examples.complete_journey import results
from examples.complete_journey.places import DemoError, Places

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
CELLS = [(1, "list_price", "filled"), (1, "package_qty", "review"), (2, "package_qty", "abstained")]
TRAINED = {"dag_id": "train_model", "dag_run_id": "manual__2026-01-01T00:00:00+00:00"}
NIGHT = {"dag_id": "nightly_completion", "dag_run_id": "manual__2026-01-02T00:00:00+00:00"}
KEYS = {
    "missing_before",
    "filled",
    "review",
    "abstained",
    "not_applicable",
    "accuracy_hidden",
    "promised_precision",
    "realised_precision",
    "realised_n",
}


def completions(at: datetime, *, run_id: str = "one", cells=CELLS, number: float = float("nan")) -> pa.Table:
    rows = [{"product_id": i, "attribute": a, "status": s, "number": number} for i, a, s in cells]
    return pa.Table.from_pylist([row | {"run_id": run_id, "completed_at": at} for row in rows])


def publish(places: Places, dt: str, at: datetime, **changes) -> None:
    cells = completions(at, **changes)
    tables.replace_partition(str(places.warehouse), "completions", cells, dt, {})
    products = pa.table({"product_id": sorted(set(cells["product_id"].to_pylist()))})
    tables.replace_partition(str(places.warehouse), "completed", products, dt, {})


@pytest.fixture
def places(tmp_path) -> Places:
    places = Places(tmp_path / "demo")
    publish(places, "2017-10-31", FIRST)
    return places


def compared(places: Places, **second) -> bool:
    """First pass, second pass, the verdict."""
    first = results.published(places, ["2017-10-31"])
    publish(places, "2017-10-31", second.pop("at", FIRST + timedelta(minutes=1)), **second)
    return results.identical(first, results.published(places, ["2017-10-31"]), lambda _: None)


def test_a_second_pass_that_differs_in_run_and_time_only_is_identical(places):
    assert compared(places, run_id="two")


@pytest.mark.parametrize(
    "change", [{"number": 1.0}, {"cells": CELLS[::-1]}, {"cells": CELLS[:2]}, {"cells": [(9, *c[1:]) for c in CELLS]}]
)
def test_a_second_pass_that_differs_in_a_cell_a_row_or_their_order_is_not_identical(places, change):
    assert not compared(places, **change)


def test_a_second_pass_that_published_nothing_anew_fails(places):
    with pytest.raises(DemoError, match="did not decide again"):
        compared(places, at=FIRST)


def test_a_date_that_was_not_published_fails(places):
    with pytest.raises(DemoError, match="no rows of 2017-11-01"):
        results.published(places, ["2017-10-31", "2017-11-01"])


def test_a_product_counts_once_with_its_newest_version(places):
    publish(places, "2017-11-01", FIRST, cells=[(2, "package_qty", "filled"), (3, "list_price", "review")])
    found = results._cells(places, ["2017-10-31", "2017-11-01"])
    assert found == {"list_price": {"filled": 1, "review": 1}, "package_qty": {"review": 1, "filled": 1}}


def write(file, data) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(data if isinstance(data, str) else json.dumps(data))


@pytest.fixture
def made(places, monkeypatch) -> dict:
    """The summary of a demo that has left everything behind."""
    figures = {"accuracy": 0.5, "baseline": 0.25, "promised_precision": 0.95, "realised_precision": 0.96}
    figures |= {"realised_n": 123, "realised_interval": [0.9, 0.99]}
    nothing = dict.fromkeys(figures) | {"accuracy": 0.1, "baseline": 0.1, "realised_n": 0}
    metrics = {"attributes": {"list_price": figures, "brand": nothing}}
    write(places.task(TRAINED, "2017-10-31", "evaluate") / "metrics.json", metrics)
    write(places.task(TRAINED, "2017-10-31", "evaluate") / "report.html", "<p>")
    write(places.task(TRAINED, "2017-10-31", "register") / "manifest.json", {"mlflow_run_id": "abc"})
    validated = places.task(NIGHT, "2017-10-31", "validate")
    write(validated / "manifest.json", {"counts": {"rows_in": 5, "valid": 4, "quarantined": 1}})
    write(validated / "data_docs" / "index.html", "<p>")
    write(places.task(NIGHT, "2017-10-31", "report") / "report.html", "<p>")
    champion = {"name": "attrgan-product", "version": "1", "alias": "champion"}
    monkeypatch.setattr(results, "_champion", lambda _: champion)
    runs = [{"dag_id": "train_model", "run_id": "manual", "state": "success", "seconds": 1.0}]
    made = results.summary(places, TRAINED, "2017-10-31", {"2017-10-31": NIGHT}, runs)
    return made | {"backfill_identical": True, "seconds": 1.0, "peak_memory_mb": 2}


def test_the_summary_has_the_keys_that_others_read(made):
    assert set(made) == {
        "dag_runs",
        "catalog",
        "attributes",
        "model",
        "backfill_identical",
        "links",
        "seconds",
        "peak_memory_mb",
    }
    assert made["catalog"] == {"rows_in": 5, "valid": 4, "quarantined": 1}
    assert all(set(figures) >= KEYS for figures in made["attributes"].values())
    assert made["attributes"]["list_price"]["missing_before"] == 1
    assert made["attributes"]["brand"]["missing_before"] == 0
    assert json.loads(json.dumps(made)) == made


def test_a_missing_report_fails(places, made):
    (places.task(NIGHT, "2017-10-31", "report") / "report.html").unlink()
    with pytest.raises(DemoError, match=r"a result is missing: .*report\.html"):
        results._links(places, TRAINED, "2017-10-31", NIGHT, "2017-10-31")


def test_the_table_shows_every_attribute_and_where_things_are(places, made):
    console = Console(file=io.StringIO(), width=200)
    results.show(made, places, console)
    said = console.file.getvalue()
    for text in ("list_price", "brand", "96.0% of 123 (90.0%–99.0%)", "50.0%", "25.0%", "report.html", "the same rows"):
        assert text in said


def test_run_ids_become_folder_names_as_the_dags_write_them(tmp_path):
    folder = Places(tmp_path).task(TRAINED, "2017-10-31", "train")
    assert folder == tmp_path / "runs/train_model/2017-10-31/manual__2026-01-01T00_00_00_00_00/train"
