"""The real verbs as pods: a training and a night on the smallest catalog; the cluster is on loopback."""

import json
import re
import shutil
import sys

import airflow_runs
import pytest
from kubernetes_server import KubernetesServer

SMALLEST = airflow_runs.ROOT / "examples" / "smallest"
DT = "2017-03-01"
IMAGE = "registry/attrgan-worker@sha256:abc"
pytestmark = pytest.mark.slow


class Lake:
    """What the pods left behind."""

    def __init__(self, folder, cluster, runs, log):
        self.folder, self.cluster, self.runs, self.log = folder, cluster, runs, log

    def manifests(self, dag_id, run):
        """Task → its manifest, of one run."""
        run_id = re.sub(r"[^A-Za-z0-9._-]", "_", self.runs[run]["run_id"])
        place = self.folder / "runs" / dag_id / DT / run_id
        return {str(f.parent.relative_to(place)): json.loads(f.read_text()) for f in place.rglob("manifest.json")}


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """A lake, seen alike by pods and worker, after a training and a night with the new model."""
    folder = tmp_path_factory.mktemp("lake")
    landed = folder / "landing" / f"dt={DT}"
    landed.mkdir(parents=True)
    shutil.copy(SMALLEST / "catalog.csv", landed)
    model = folder / "runs" / "train_model" / DT / "manual__2017-03-02T00_00_00_00_00" / "train"
    runs = {
        "train": {"dag_id": "train_model", "conf": {"dt": DT}, "run_after": "2017-03-02T00:00:00+00:00"},
        "night": {"dag_id": "nightly_completion", "conf": {"dt": DT, "model": str(model)}},
    }
    in_the_image = {"HOME": str(folder / "home"), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(airflow_runs.ROOT)}
    images = {IMAGE: {"attrgan": [sys.executable, "-m", "attrgan"]}}
    store = {"mlflow": {"ATTRGAN__TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}}
    settings = {"image": IMAGE, "in_cluster": False, "namespace": "catalog", "env_from_secrets": list(store)}
    with KubernetesServer(images, namespaces=("catalog",), variables=in_the_image, secrets=store) as cluster:
        answers, log = airflow_runs.run_dags(
            list(runs.values()),
            KUBECONFIG=str(cluster.kubeconfig(folder / "kubeconfig")),
            ATTRGAN__RUNNER="kubernetes",
            ATTRGAN__KUBERNETES=json.dumps(settings),
            ATTRGAN__CATALOG_SCHEMA=str(SMALLEST / "schema.yaml"),
            ATTRGAN__LANDING=str(folder / "landing"),
            ATTRGAN__WAREHOUSE=str(folder / "warehouse"),
            ATTRGAN__RUNS=str(folder / "runs"),
            ATTRGAN__ARTIFACT_ROOT=str(folder / "artifacts"),
            ATTRGAN__TRAIN_ARGUMENTS='["--epochs", "2", "--seed", "1"]',
        )
        yield Lake(folder, cluster, dict(zip(runs, answers, strict=True)), log)


def test_a_training_and_a_night_succeed_as_pods_at_the_first_try(lake):
    assert {name: run["state"] for name, run in lake.runs.items()} == dict.fromkeys(lake.runs, "success"), lake.log[
        -5000:
    ]
    assert {task["tries"] for run in lake.runs.values() for task in run["tasks"].values()} <= {0, 1}
    assert [pod.exit_code for pod in lake.cluster.created] == [0] * 13


def test_every_pod_left_the_manifest_of_its_run(lake):
    night = lake.manifests("nightly_completion", "night")
    assert night.keys() == {"validate", "drift", "audit", "publish", "complete/0-of-1"}
    assert lake.manifests("train_model", "train").keys() == {"validate", "train", "evaluate", "register"}
    assert {m["run_id"] for m in night.values()} == {lake.runs["night"]["run_id"]}


def test_the_night_is_published_by_the_model_that_was_trained_in_a_pod(lake):
    from deltalake import DeltaTable

    trained = lake.manifests("train_model", "train")["train"]["model_version"]
    tables = {name: DeltaTable(lake.folder / "warehouse" / name) for name in ("completed", "completions")}
    assert tables["completed"].to_pyarrow_table().num_rows == 100
    assert set(tables["completions"].to_pyarrow_table()["model_version"].to_pylist()) == {trained}


def test_the_log_of_the_training_came_through_the_api(lake):
    assert "Loss_D: " in lake.log


def test_no_pod_is_left(lake):
    assert lake.cluster.pods == {}
