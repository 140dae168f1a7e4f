"""Whole DAG runs as pods: Airflow's operator and Kubernetes' clients, real ones, against an API server on loopback.

The pods run a stand-in for the `attrgan` command. Each case is a run of its own, told apart by a label on its pods.
"""

import json
import signal
import subprocess
import sys
import threading
import time

import airflow_runs
import pytest
from kubernetes_server import ROLE, Fault, KubernetesServer

FAKE = [sys.executable, str(airflow_runs.HERE / "fake_attrgan.py")]
IMAGE = "registry/attrgan-worker@sha256:abc"
NIGHTLY = ["landing", "validate", "features", "drift", "complete", "complete", "audit", "publish", "report"]
DT = {"dt": "2017-03-05"}
AT = "2017-03-07T00:00:00+00:00"
QUICK = {"AIRFLOW__WORKERS__API_RETRY_WAIT_MIN": "0.05", "AIRFLOW__WORKERS__API_RETRY_WAIT_MAX": "0.05"}
"""Between the calls that the operator repeats; the defaults are seconds."""

CASES = {
    "night": {"logical_date": "2017-03-02T00:00:00+00:00"},
    "rough night": {
        "conf": DT,
        "faults": [
            Fault("lost answer", {"component": "landing"}),
            Fault("vanish", {"component": "validate"}),
            Fault("oom", {"component": "features"}),
            Fault("evict", {"component": "drift"}),
            Fault("preempt", {"component": "complete", "map_index": "0"}),
            Fault("500", {"component": "audit"}, times=2, verb="get"),
            Fault("500", {"component": "audit"}, times=2, verb="get", resource="pods/log"),
            Fault("cut", {"component": "publish"}),
            Fault("evicted early", {"component": "report"}),
        ],
        "seconds": {"validate": [5, 0], "features": [5, 0], "drift": [5, 0], "complete": [5, 0], "publish": 1},
    },
    "nothing landed": {"conf": DT, "exits": {"landing": 3}},
    "bad landing": {"conf": DT, "exits": {"validate": 2}},
    "gate says no": {"dag_id": "promote_model", "conf": DT, "exits": {"compare": 3}},
    "no manifest": {"conf": DT, "manifests": {"validate": None}},
    "no image": {"conf": DT, "faults": [Fault("no image", {"component": "landing"}, times=9)]},
    "no secret": {"conf": DT, "startup": 1, "faults": [Fault("no secret", {"component": "landing"})]},
    "too slow": {"conf": DT, "seconds": {"landing": [60, 0]}, "timeouts": {"landing": 6}},
    "training": {"dag_id": "train_model", "conf": DT},
    "rough training": {
        "dag_id": "train_model",
        "conf": DT,
        "startup": 2,
        "faults": [Fault("unschedulable", {"component": "train"}), Fault("vanish", {"component": "train"})],
        "seconds": {"train": [4, 0]},
    },
    "bad training": {"dag_id": "train_model", "conf": DT, "exits": {"train": 2}},
    "approved": {"dag_id": "promote_model", "conf": DT, "approve": "Approve"},
}


class Run:
    """What became of one case: of the run, its tasks, its pods, and the calls of the command."""

    def __init__(self, answer, log, pods, calls):
        self.state, self.shown, self.log, self.pods = answer["state"], answer["shown"], log, pods
        self.tasks = {name: task["state"] for name, task in answer["tasks"].items()}
        self.tries = {name: task["tries"] for name, task in answer["tasks"].items()}
        self.calls = [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []

    def pods_of(self, task_id):
        return [p for p in self.pods if p.labels["app.kubernetes.io/component"] == task_id]


def labels_of(fault, case):
    """A fault's labels in full: `component` is short for the label that says which task."""
    named = {"app.kubernetes.io/component" if k == "component" else k: v for k, v in fault.labels.items()}
    return Fault(fault.what, named | {"case": case}, fault.times, fault.verb, fault.resource)


def settings_of(case, **more):
    """The settings of a run: nothing in them says that it is not a cluster."""
    return {
        "image": IMAGE,
        "namespace": "catalog",
        "in_cluster": False,
        "labels": {"case": case},
        "env_from_secrets": [case],
        "run_as_user": 50000,
        **more,
    }


def spec_of(case, asked):
    startup = {"startup_timeout_seconds": asked["startup"]} if "startup" in asked else {}
    told = {"FAKE_EXIT": "exits", "FAKE_MANIFEST": "manifests", "FAKE_SECONDS": "seconds", "FAKE_UNTIL": "until"}
    variables = {name: json.dumps(asked.get(key, {})) for name, key in told.items()}
    cluster = settings_of(case, env=variables, **startup)
    run = {k: asked[k] for k in ("logical_date", "conf", "approve", "timeouts") if k in asked}
    return run | {
        "dag_id": asked.get("dag_id", "nightly_completion"),
        "env": {"ATTRGAN__KUBERNETES": json.dumps(cluster), "FAKE_CALLS": "/dev/null"},
    }


def slug(case):
    return case.replace(" ", "-")


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pods")
    (folder / "schema.yaml").write_text("entity: product\nid: i\ntext: [t]\nattributes: {c: {kind: categorical}}\n")
    return folder


@pytest.fixture(scope="module")
def cluster(lake):
    """A cluster whose secrets hold what the command cannot do without: where to note its calls."""
    secrets = {slug(case): {"FAKE_CALLS": str(lake / slug(case))} for case in [*CASES, "worker died"]}
    images = {IMAGE: {"attrgan": FAKE}}
    with KubernetesServer(images, namespaces=("catalog",), secrets=secrets, prompt=True) as server:
        yield server


def variables(cluster, lake):
    return QUICK | {
        "KUBECONFIG": str(cluster.kubeconfig(lake / "kubeconfig")),
        "ATTRGAN__RUNNER": "kubernetes",
        "ATTRGAN__CATALOG_SCHEMA": str(lake / "schema.yaml"),
        "ATTRGAN__RUNS": str(lake / "runs"),
        "ATTRGAN__LANDING": str(lake / "landing"),
        "ATTRGAN__WAREHOUSE": str(lake / "warehouse"),
    }


@pytest.fixture(scope="module")
def runs(cluster, lake):
    """All cases, one after the other in one Airflow process."""
    for case, asked in CASES.items():
        cluster.faults += [labels_of(fault, slug(case)) for fault in asked.get("faults", [])]
    specs = [spec_of(slug(case), asked) for case, asked in CASES.items()]
    answers, log = airflow_runs.run_dags(specs, command=FAKE, **variables(cluster, lake))
    logs = log.split("\n=== ")[1:]
    return {
        case: Run(answer, part, cluster.of(case=slug(case)), lake / slug(case))
        for case, answer, part in zip(CASES, answers, logs, strict=True)
    }


def test_a_night_is_a_pod_for_every_verb(runs):
    run = runs["night"]
    assert run.state == "success", run.log[-5000:]
    assert set(run.tasks.values()) == {"success"}
    assert [call[0] for call in run.calls] == NIGHTLY
    assert [pod.exit_code for pod in run.pods] == [0] * len(NIGHTLY)


def test_the_log_of_a_pod_is_in_the_log_of_its_task(runs):
    assert all(f"{verb}: at work" in runs["night"].log for verb in NIGHTLY)


def test_pods_that_succeeded_are_gone_and_pods_that_failed_stay(runs, cluster):
    left = {p.name for p in cluster.pods.values()}
    assert not any(pod.name in left for pod in runs["night"].pods)
    assert [pod.name in left for pod in runs["bad landing"].pods_of("validate")] == [True]


def test_training_is_deferred_and_followed_to_its_end(runs):
    run = runs["training"]
    assert run.state == "success", run.log[-5000:]
    assert [call[0] for call in run.calls] == ["validate", "features", "train", "evaluate", "register"]
    assert "running trigger in line" in run.log
    assert "train: at work" in run.log


def test_a_person_approves_between_two_pods(runs):
    run = runs["approved"]
    assert run.state == "success", run.log[-5000:]
    assert [call[0] for call in run.calls] == ["validate", "compare", "promote"]
    assert "Candidate **m2**, champion **m1**" in run.shown["body"]


def test_a_date_without_landing_files_is_skipped_and_says_why(runs):
    run = runs["nothing landed"]
    assert run.state == "success"
    assert set(run.tasks.values()) == {"skipped"}
    assert "ended with exit code 3: the landing said no for a reason" in run.log


@pytest.mark.parametrize(
    ("case", "task"), [("bad landing", "validate"), ("gate says no", "compare"), ("bad training", "train")]
)
def test_bad_input_and_a_gate_that_says_no_fail_at_once_with_the_sentence_of_the_verb(runs, case, task):
    run = runs[case]
    assert (run.state, run.tasks[task], run.tries[task]) == ("failed", "failed", 1)
    assert len(run.pods_of(task)) == 1
    assert f": the {task} said no for a reason" in run.log


def test_exit_code_0_without_a_manifest_is_no_success_and_the_pods_stay(runs, cluster):
    run = runs["no manifest"]
    assert (run.state, run.tasks["validate"], run.tries["validate"]) == ("failed", "failed", 3)
    assert "validate ended with exit code 0, but there is no manifest in " in run.log
    assert {pod.name for pod in run.pods_of("validate")} <= {p.name for p in cluster.pods.values()}


def test_a_rough_night_ends_well(runs):
    run = runs["rough night"]
    assert run.state == "success", run.log[-5000:]
    twice = {"validate", "features", "drift", "complete[0]", "report"}
    assert run.tries == {task: 2 if task in twice else 1 for task in run.tries}


@pytest.mark.parametrize(
    "said",
    [
        " is gone before its end was seen: it was deleted, or its node was lost",
        " ended with exit code 137 (OOMKilled; raise its memory in kubernetes.memory or kubernetes.verbs)",
        " ended with exit code 137 (TerminationByKubelet: The node was low on resource: memory.; Evicted: The node ",
        " failed before its container started (Evicted: The node was low on resource: memory.)",
    ],
)
def test_a_pod_that_was_lost_is_tried_again_and_the_log_says_what_happened(runs, said):
    log = runs["rough night"].log
    assert said in log, "\n".join(line for line in log.splitlines() if "pod" in line.lower() and "fail" in line.lower())


def test_a_pod_whose_creation_was_not_answered_is_taken_and_not_made_twice(runs, cluster):
    assert len(runs["rough night"].pods_of("landing")) == 1
    assert ("create", "pods", 409) in cluster.requests


def test_an_image_that_cannot_be_pulled_fails_soon_and_leaves_no_pod_waiting(runs):
    run = runs["no image"]
    assert (run.tasks["landing"], run.tries["landing"], len(run.pods)) == ("failed", 3, 3)
    assert "was deleted while Pending, since the task ended (ErrImagePull: failed to pull" in run.log


def test_a_secret_that_is_missing_is_named(runs):
    run = runs["no secret"]
    assert (run.state, run.tries["landing"]) == ("success", 2)
    assert 'CreateContainerConfigError: secret "no-secret" not found' in run.log


def test_a_pod_that_takes_longer_than_its_task_may_is_ended_with_it(runs):
    run = runs["too slow"]
    assert run.state == "success"
    assert run.tries["landing"] > 1
    assert "was deleted while Running, since the task ended" in run.log
    assert [pod.exit_code for pod in run.pods_of("landing")] == [128 + signal.SIGTERM, 0]


def test_a_training_pod_that_finds_no_node_or_loses_it_is_tried_again(runs):
    run = runs["rough training"]
    assert run.state == "success", run.log[-5000:]
    assert (run.tries["train"], len(run.pods_of("train"))) == (3, 3)
    assert "(Unschedulable: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu.; " in run.log


def test_a_worker_that_died_finds_its_pod_again(cluster, lake):
    go_on = lake / "go-on"
    case = {"dag_id": "promote_model", "conf": DT, "exits": {"compare": 3}, "until": {"validate": str(go_on)}}
    asked = spec_of("worker-died", case | {"logical_date": AT}) | {"run_after": AT}  # so that the run has its id again
    here = {"case": "worker-died", "app.kubernetes.io/component": "validate"}
    airflow_runs.migrated()
    worker = subprocess.Popen(
        [sys.executable, str(airflow_runs.HERE / "run_dag.py")],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True,
        env=airflow_runs.environment(**variables(cluster, lake)),
    )  # fmt: skip
    worker.stdin.write(json.dumps({"command": FAKE, "runs": [asked], "answer": str(lake / "never")}))
    worker.stdin.close()
    until(lambda: any(pod.followers for pod in cluster.of(**here)), worker)
    worker.kill()
    worker.wait()
    (pod,) = cluster.of(**here)
    again = lambda: sum(pod.followers for pod in cluster.of(**here)) > 1  # noqa: E731
    threading.Thread(target=lambda: (until(again), go_on.touch()), daemon=True).start()
    (answer,), log = airflow_runs.run_dags([asked], command=FAKE, **variables(cluster, lake))
    assert answer["tasks"]["validate"]["state"] == "success", log[-5000:]
    assert cluster.of(**here) == [pod]
    assert f"Reusing existing pod '{pod.name}'" in log


def until(true, process=None):
    while not true():
        assert process is None or process.poll() is None
        time.sleep(0.1)


def test_nothing_is_left_running(runs, cluster):
    assert cluster.running() == []


def test_the_operator_needs_the_rights_of_the_role_and_no_others(runs, cluster):
    assert cluster.used() == ROLE
    assert {code for _, _, code in cluster.requests} & {401, 403, 422} == set()
