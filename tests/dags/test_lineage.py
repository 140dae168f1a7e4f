"""OpenLineage: what the operators say about their datasets, and the events that a real DAG run sends over HTTP."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import airflow_runs
import completed_catalog as made
import pyarrow.parquet as pq
import pytest
from attrgan_lineage import lineage

from attrgan.completion.publish import publish
from attrgan.lake.manifest import step

FAKE = [sys.executable, str(airflow_runs.HERE / "fake_attrgan.py")]
RUN = "nightly_completion/2017-03-01/scheduled__1"


class Endpoint:
    """An HTTP server that keeps the events it is sent."""

    def __init__(self):
        events = self.events = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                events.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(201)
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self._server.serve_forever, daemon=True).start()
        self.transport = json.dumps(
            {"type": "http", "url": f"http://127.0.0.1:{self._server.server_port}", "endpoint": "api/v1/lineage"}
        )

    def of(self, task):
        """The events of a task, in the order they were sent."""
        return [e for e in self.events if e["job"]["name"] == task]

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def lake(tmp_path, monkeypatch, schema):
    """A night's folders and tables, as the verbs leave them; returns the run's folder."""
    from attrgan.config import settings

    monkeypatch.setenv("ATTRGAN__CATALOG_SCHEMA", str(schema))
    monkeypatch.setenv("ATTRGAN__RUNS", str(tmp_path / "runs"))
    settings.cache_clear()
    run, valid = tmp_path / "runs" / RUN, made.catalog(6)
    made.validated(run / "validate", valid, made.quarantined(2))
    for i in range(2):
        made.completed(run / "complete" / f"{i}-of-2", valid.slice(3 * i, 3), f"{i}/2")
    return run


def names(datasets):
    return [f"{d.namespace} {d.name}" for d in datasets]


def test_names_stay_the_same_night_after_night_and_the_date_is_the_version(lake, tmp_path):
    valid = f"{lake}/validate/valid.parquet"
    arguments = ["complete", valid, "--model", "models:/attrgan-product@champion", "--shard", "0/2", "-o"]
    told = lineage([*arguments, f"{lake}/complete/0-of-2"], done=False)
    root = tmp_path / "runs" / "nightly_completion"
    assert names(told.inputs) == [f"file {root}/validate/valid.parquet", "mlflow attrgan-product"]
    assert names(told.outputs) == [
        f"file {root}/complete/completed.parquet",
        f"file {root}/complete/completions.parquet",
    ]
    assert told.outputs[0].facets["version"].datasetVersion == "2017-03-01/scheduled__1"
    assert told.inputs[1].facets["version"].datasetVersion == "champion"


def test_objects_in_a_store_are_named_by_bucket_and_key():
    told = lineage(["landing", "s3://lake/landing", "--dt", "2017-03-01"], done=False)
    assert names(told.inputs) == ["s3://lake landing"]
    assert told.inputs[0].facets["version"].datasetVersion == "2017-03-01"


def test_at_the_end_rows_columns_and_null_counts_come_from_the_manifest(lake):
    out = f"{lake}/complete/1-of-2"
    told = lineage(["complete", f"{lake}/validate/valid.parquet", "--shard", "1/2", "-o", out], done=True)
    completed, completions = told.outputs
    assert completed.outputFacets["outputStatistics"].rowCount == 3
    assert (
        completions.outputFacets["outputStatistics"].rowCount == pq.read_metadata(f"{out}/completions.parquet").num_rows
    )
    assert {f.name: f.type for f in completed.facets["schema"].fields}["tags"] == "list<element: string>"
    quality = told.inputs[0].inputFacets["dataQualityMetrics"]
    assert (quality.rowCount, quality.columnMetrics["brand"].nullCount) == (3, 1)
    about = told.run_facets["attrgan"]
    assert (about.model_version, about.shard, about.counts["rows"]) == ("7", "1/2", 3)


def test_a_folder_that_is_read_stands_for_the_tables_in_it(lake):
    shards = [f"{lake}/complete/{i}-of-2" for i in range(2)]
    told = lineage(["audit", *shards, "--validation", f"{lake}/validate", "-o", f"{lake}/audit"], done=False)
    tables = ["completed", "completions", "completed", "completions", "valid", "quarantine"]
    assert [Path(d.name).stem for d in told.inputs] == tables


def test_a_publish_writes_tables_with_the_versions_it_committed(lake, tmp_path):
    shards, warehouse, out = [f"{lake}/complete/{i}-of-2" for i in range(2)], f"{tmp_path}/warehouse", f"{lake}/publish"
    validation = f"{lake}/validate"
    step(
        "publish", out, lambda stage: publish(shards, validation, warehouse, "2017-03-01", "r", stage),
        inputs={}, run_id="r",
    )  # fmt: skip
    arguments = [
        "publish",
        *shards,
        "--validation",
        validation,
        "--warehouse",
        warehouse,
        "--dt",
        "2017-03-01",
        "-o",
        out,
    ]
    told = {Path(d.name).name: d for d in lineage(arguments, done=True).outputs}
    rows = {name: d.outputFacets["outputStatistics"].rowCount for name, d in told.items()}
    assert rows == {"products": 6, "quarantine": 2, "completions": pytest.approx(rows["completions"]), "completed": 6}
    assert told["completed"].facets["version"].datasetVersion == "1"
    assert "dt" in [f.name for f in told["completed"].facets["schema"].fields]


def test_a_gate_that_said_no_is_an_assertion_that_failed(lake):
    file = lake / "validate" / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"status": "refused", "refused": "2 of 8 rows"}))
    told = lineage(["validate", "/landing", "--dt", "2017-03-01", "-o", f"{lake}/validate"], done=True)
    (said,) = told.inputs[0].inputFacets["dataQualityAssertions"].assertions
    assert (said.success, said.description) == (False, "2 of 8 rows")


def test_a_task_that_failed_before_it_wrote_anything_still_names_its_datasets(lake):
    told = lineage(["drift", f"{lake}/validate/valid.parquet", "-o", f"{lake}/drift"], done=True)
    assert (len(told.inputs), len(told.outputs), told.run_facets) == (1, 1, {})


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """The events of two nights around a stand-in for the command; on the second validate fails."""
    folder = tmp_path_factory.mktemp("night")
    (folder / "schema.yaml").write_text("entity: product\nid: i\ntext: [t]\nattributes: {c: {kind: categorical}}\n")
    endpoint = Endpoint()
    runs = [
        {
            "dag_id": "nightly_completion",
            "logical_date": f"2017-03-0{day}T00:00:00+00:00",
            "env": {"FAKE_CALLS": str(folder / f"calls{day}"), "FAKE_EXIT": json.dumps(exits)},
        }
        for day, exits in ((2, {}), (3, {"validate": 2}))
    ]
    answers, log = airflow_runs.run_dags(
        runs,
        command=FAKE,
        AIRFLOW__OPENLINEAGE__TRANSPORT=endpoint.transport,
        AIRFLOW__OPENLINEAGE__NAMESPACE="shop",
        ATTRGAN__CATALOG_SCHEMA=str(folder / "schema.yaml"),
        ATTRGAN__LANDING="s3://lake/landing",
        ATTRGAN__WAREHOUSE=str(folder / "warehouse"),
        ATTRGAN__RUNS=str(folder / "runs"),
    )
    endpoint.close()
    assert [a["state"] for a in answers] == ["success", "failed"], log[-3000:]
    return endpoint


def test_each_task_of_a_real_run_sends_its_start_and_its_end_with_datasets(night):
    for task in ("landing", "validate", "features", "drift", "audit", "publish", "report"):
        first, last = night.of(f"nightly_completion.{task}")[:2]
        assert (first["eventType"], last["eventType"], first["job"]["namespace"]) == ("START", "COMPLETE", "shop")
        for event in (first, last):
            assert event["inputs"], task
            assert event["outputs"] or task == "landing", task
    complete = [e["eventType"] for e in night.of("nightly_completion.complete")]
    assert (complete.count("START"), complete.count("COMPLETE")) == (2, 2)


def test_the_datasets_of_a_run_join_from_the_landing_to_the_tables(night):
    def ends(task, side):
        return {(d["namespace"], d["name"]) for d in night.of(f"nightly_completion.{task}")[1][side]}

    assert ("s3://lake", "landing") in ends("validate", "inputs")
    valid = next(d for d in ends("validate", "outputs") if d[1].endswith("valid.parquet"))
    assert valid in ends("features", "inputs") & ends("drift", "inputs") & ends("complete", "inputs")
    assert {Path(name).name for _, name in ends("publish", "outputs")} == {
        *("products", "quarantine", "completions", "completed")
    }


def test_a_task_that_fails_sends_a_failure_with_its_datasets(night):
    failed = [e for e in night.of("nightly_completion.validate") if e["eventType"] == "FAIL"]
    assert len(failed) == 1
    assert failed[0]["inputs"][0]["name"] == "landing"
