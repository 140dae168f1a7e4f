"""From landing to published tables: real DAG runs of real verbs on the smallest catalog.

Every place is on `s3://`, found by settings and an Airflow connection alone; the demo's test has its places on disk.
"""

import json
import re

import airflow_runs
import pandas as pd
import pytest
import s3_server

SMALLEST = airflow_runs.ROOT / "examples" / "smallest"
DT = "2017-03-01"
KEY, SECRET = "AKIAOFTHECONNECTION", "the-secret-of-the-connection"

pytestmark = pytest.mark.slow


class Lake:
    """What the runs left behind: the bucket, copied to a folder."""

    def __init__(self, folder, runs, log):
        self.folder, self.runs, self.log = folder, runs, log

    def output(self, dag_id, run, task):
        """The folder of a task of a run."""
        run_id = re.sub(r"[^A-Za-z0-9._-]", "_", self.runs[run]["run_id"])
        return self.folder / "runs" / dag_id / DT / run_id / task

    def table(self, name):
        """A published table, with the columns of the catalog and of the publication."""
        from deltalake import DeltaTable

        return DeltaTable(self.folder / "warehouse" / name).to_pyarrow_table().to_pandas()


@pytest.fixture(scope="module")
def lake(tmp_path_factory, s3_url):
    """A lake after training, promotion and two nights, on the second of which nothing has landed."""
    folder = tmp_path_factory.mktemp("lake")
    bucket = s3_server.Bucket(s3_url, "dag-runs")
    bucket.upload(SMALLEST / "catalog.csv", f"landing/dt={DT}/catalog.csv")
    bucket.upload(SMALLEST / "schema.yaml", "schema.yaml")
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
        ATTRGAN__CATALOG_SCHEMA=f"{bucket.url}/schema.yaml",
        ATTRGAN__LANDING=f"{bucket.url}/landing",
        ATTRGAN__WAREHOUSE=f"{bucket.url}/warehouse",
        ATTRGAN__RUNS=f"{bucket.url}/runs",
        ATTRGAN__TRACKING_URI=f"sqlite:///{folder}/mlflow.db",
        ATTRGAN__ARTIFACT_ROOT=f"{bucket.url}/artifacts",
        ATTRGAN__TRAIN_ARGUMENTS='["--epochs", "8", "--seed", "1"]',
        ATTRGAN__COMPLETION__SHARD_ROWS="40",
        XDG_CACHE_HOME=str(folder / "cache"),
    )
    bucket.download(folder)
    return Lake(folder, dict(zip(runs, answers, strict=True)), log)


def test_every_run_is_green(lake):
    assert {name: run["state"] for name, run in lake.runs.items()} == dict.fromkeys(lake.runs, "success"), lake.log[
        -5000:
    ]


def test_no_task_needed_a_second_try(lake):
    tries = {task["tries"] for run in lake.runs.values() for task in run["tasks"].values()}
    assert tries <= {0, 1}


def test_the_credentials_of_the_connection_are_in_no_log(lake):
    assert "conn_id='lake'" in lake.log
    assert SECRET not in lake.log


def test_the_weights_of_the_registered_model_are_among_the_artifacts(lake):
    assert list((lake.folder / "artifacts").rglob("model.safetensors"))


def test_the_person_who_approved_saw_figures_of_every_attribute(lake):
    body = lake.runs["promote"]["shown"]["body"]
    for attribute in ("brand", "colour", "material", "size", "price", "mean"):
        assert f"| {attribute} | " in body


def test_the_promoted_model_is_the_one_that_was_trained_and_completed_the_night(lake):
    trained = json.loads((lake.output("train_model", "train", "train") / "manifest.json").read_text())["model_version"]
    compared = json.loads((lake.output("promote_model", "promote", "compare") / "comparison.json").read_text())
    assert (compared["candidate"], compared["champion"]) == (trained, None)
    assert set(lake.table("completions")["model_version"]) == {trained}
    judged = json.loads((lake.output("nightly_completion", "night", "drift") / "manifest.json").read_text())
    assert judged["model"] == "models:/attrgan-product/1"


def test_each_step_left_a_manifest_that_carries_the_id_of_the_dag_run(lake):
    folder = lake.output("nightly_completion", "night", "validate").parent
    manifests = {str(f.parent.relative_to(folder)): json.loads(f.read_text()) for f in folder.rglob("manifest.json")}
    shards = {f"complete/{i}-of-3" for i in range(3)}
    assert manifests.keys() == {"validate", "drift", "audit", "publish", *shards}
    assert {m["run_id"] for m in manifests.values()} == {lake.runs["night"]["run_id"]}
    assert {m["status"] for m in manifests.values()} == {"finished"}


def test_all_valid_rows_are_published_with_the_given_values_untouched(lake):
    given = pd.read_csv(SMALLEST / "catalog.csv", dtype=str, keep_default_na=False).set_index("id")
    completed = lake.table("completed").set_index("id").loc[given.index]
    assert len(completed) == len(given) == 100
    for column in ("title", "brand", "colour", "material", "size"):
        known = given[column] != ""
        assert known.any()
        assert (completed[column][known] == given[column][known]).all(), column


def test_every_empty_cell_got_one_decision_of_this_run(lake):
    given = pd.read_csv(SMALLEST / "catalog.csv", dtype=str, keep_default_na=False).set_index("id")
    attributes = ["brand", "colour", "material", "size", "price"]
    empty = {(i, a) for a in attributes for i in given.index[given[a] == ""]}
    completions = lake.table("completions")
    assert empty
    assert set(zip(completions["id"], completions["attribute"], strict=True)) == empty
    assert len(completions) == len(empty)
    assert set(completions["run_id"]) == {lake.runs["night"]["run_id"]}


def test_the_report_is_a_page_about_every_attribute(lake):
    page = (lake.output("nightly_completion", "night", "report") / "report.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html")
    assert all(attribute in page for attribute in ("brand", "colour", "material", "size", "price"))


def test_a_night_on_which_nothing_landed_publishes_nothing(lake):
    assert {task["state"] for task in lake.runs["quiet night"]["tasks"].values()} == {"skipped"}
    assert set(lake.table("completed")["dt"].astype(str)) == {DT}
