"""The whole pipeline as DAG runs with every place on `s3://`, by settings and an Airflow connection alone."""

import json
import re

import airflow_runs
import pytest

from attrgan.lake import manifest, storage, tables

SMALLEST = airflow_runs.ROOT / "examples" / "smallest"
DT = "2017-03-01"
KEY, SECRET = "AKIAOFTHECONNECTION", "the-secret-of-the-connection"

pytestmark = pytest.mark.slow


def test_landing_tables_manifests_models_and_reports_may_all_be_in_an_object_store(
    bucket, s3_url, monkeypatch, tmp_path
):
    storage.write_text(f"{bucket}/landing/dt={DT}/catalog.csv", (SMALLEST / "catalog.csv").read_text())
    storage.write_text(f"{bucket}/schema.yaml", (SMALLEST / "schema.yaml").read_text())
    monkeypatch.setattr(
        airflow_runs.os, "environ", {k: v for k, v in airflow_runs.os.environ.items() if "AWS_" not in k}
    )
    runs = {
        "train": {"dag_id": "train_model", "conf": {"dt": DT}},
        "promote": {"dag_id": "promote_model", "conf": {"dt": DT}, "approve": "Approve"},
        "night": {"dag_id": "nightly_completion", "logical_date": "2017-03-02T00:00:00+00:00"},
        "quiet night": {"dag_id": "nightly_completion", "logical_date": "2017-03-03T00:00:00+00:00"},
    }
    answers, log = airflow_runs.run_dags(
        list(runs.values()),
        ATTRGAN__S3__ENDPOINT_URL=s3_url,
        ATTRGAN__S3__REGION="us-east-1",
        ATTRGAN__S3__AIRFLOW_CONN_ID="lake",
        AIRFLOW_CONN_LAKE=json.dumps({"conn_type": "aws", "login": KEY, "password": SECRET}),
        AWS_EC2_METADATA_DISABLED="true",
        AWS_SHARED_CREDENTIALS_FILE="/dev/null",
        ATTRGAN__CATALOG_SCHEMA=f"{bucket}/schema.yaml",
        ATTRGAN__LANDING=f"{bucket}/landing",
        ATTRGAN__WAREHOUSE=f"{bucket}/warehouse",
        ATTRGAN__RUNS=f"{bucket}/runs",
        ATTRGAN__TRACKING_URI=f"sqlite:///{tmp_path}/mlflow.db",
        ATTRGAN__ARTIFACT_ROOT=f"{bucket}/artifacts",
        ATTRGAN__TRAIN_ARGUMENTS='["--epochs", "2", "--seed", "1"]',
        XDG_CACHE_HOME=str(tmp_path / "cache"),
    )
    done = dict(zip(runs, answers, strict=True))
    assert {name: run["state"] for name, run in done.items()} == dict.fromkeys(runs, "success"), log[-5000:]
    assert {task["tries"] for run in answers for task in run["tasks"].values()} <= {0, 1}
    assert SECRET not in log
    assert "| colour | " in done["promote"]["shown"]["body"]

    def place(dag_id, run):
        return f"{bucket}/runs/{dag_id}/{DT}/{re.sub(r'[^A-Za-z0-9._-]', '_', done[run]['run_id'])}"

    night, trained = place("nightly_completion", "night"), manifest.read(place("train_model", "train") + "/train")
    for task in ("validate", "drift", "complete/0-of-1", "audit", "publish"):
        assert manifest.read(f"{night}/{task}")["status"] == "finished", task
    assert b"<html" in storage.read_bytes(f"{night}/report/report.html")
    assert tables.read(f"{bucket}/warehouse", "completed").num_rows == 100
    assert set(tables.read(f"{bucket}/warehouse", "completions")["model_version"].to_pylist()) == {
        trained["model_version"]
    }
    assert [f for f in storage.files(f"{bucket}/artifacts") if f.endswith("model.safetensors")]
    assert {task["state"] for task in done["quiet night"]["tasks"].values()} == {"skipped"}
