"""Training over several pods, against a Kubernetes API on loopback that runs the pods of a Job as processes."""

import asyncio
import json
import sys
import time
from pathlib import Path

import airflow_runs
import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred
from kubernetes_jobs import JobServer
from rendering import rendered

HERE = Path(__file__).parent
IMAGE = "attrgan-worker:latest"


@pytest.fixture
def training(parse, monkeypatch, tmp_path):
    """Makes a cluster of one image and the `train` task of a run on it, with two pods."""
    clusters = []

    def made(program, verb=None, nodes=None, exits=None, try_number=1):
        if not clusters:
            variables = {"PYTHONPATH": str(airflow_runs.ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
            variables |= {"FAKE_NODES": json.dumps(nodes), "FAKE_EXIT": json.dumps(exits or {})}
            clusters.append(JobServer({IMAGE: {"python": program}}, variables=variables, verb=verb).__enter__())
            extra = {"kube_config_path": str(clusters[0].kubeconfig(tmp_path / "kubeconfig")), "in_cluster": False}
            monkeypatch.setenv("AIRFLOW_CONN_LOOPBACK", json.dumps({"conn_type": "kubernetes", "extra": extra}))
        dag = parse(
            RUNNER="kubernetes", RUNS=str(tmp_path / "runs"), KUBERNETES__KUBERNETES_CONN_ID="loopback",
            KUBERNETES__TRAINING_PODS="2", KUBERNETES__GPU="0",
        )["train_model"]  # fmt: skip
        task, about = rendered(dag, "train", try_number)
        task.job_poll_interval = 0.2
        return clusters[0], task, about

    yield made
    for cluster in clusters:
        cluster.__exit__()


def node(**nodes):
    """The program and what its nodes do."""
    return {"program": [sys.executable, str(HERE / "node_attrgan.py")], "nodes": nodes}


def started(task, about):
    """The trigger to which the task hands the waiting."""
    with pytest.raises(TaskDeferred) as handed_over:
        task.execute(about)
    assert handed_over.value.method_name == "execute_complete"
    return handed_over.value.trigger


def ended(trigger):
    """What the trigger tells the task when the Job has ended; the trigger is made anew, as the triggerer does."""
    from airflow.sdk.module_loading import import_string

    where, arguments = trigger.serialize()
    again = import_string(where)(**arguments)

    async def first():
        return (await anext(again.run())).payload

    return asyncio.run(asyncio.wait_for(first(), 300))


def until(true):
    for _ in range(1200):
        if true():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come true within two minutes")


@pytest.mark.slow
def test_the_pods_of_a_job_are_one_process_group_and_the_first_leaves_the_manifest(training, tmp_path, capfd):
    cluster, task, about = training([sys.executable], verb=[str(HERE / "gloo_attrgan.py")])
    event = ended(started(task, about))
    task.execute_complete(about, event)
    log = capfd.readouterr().out
    for rank in (0, 1):
        assert f"process {rank} of 2: the ranks add up to 1" in log
    manifest = tmp_path / "runs/train_model/2017-03-01/manual__1/train/manifest.json"
    assert json.loads(manifest.read_text())["run_id"] == "manual__1"
    assert cluster.running() == []


@pytest.mark.slow
def test_bad_input_ends_the_job_and_is_not_tried_again(training):
    _, task, about = training([sys.executable], verb=[str(HERE / "gloo_attrgan.py")], exits={"0": 2, "1": 2})
    event = ended(started(task, about))
    assert event["status"] == "error"
    with pytest.raises(AirflowFailException, match="ended with exit code 2: error: the catalog is not one"):
        task.execute_complete(about, event)


def test_one_lost_pod_ends_the_others_and_the_attempt(training):
    cluster, task, about = training(**node(**{"1": [137]}))
    event = ended(started(task, about))
    with pytest.raises(AirflowException, match=r"job \S+ failed; pod \S+ ended with exit code 137") as e:
        task.execute_complete(about, event)
    assert not isinstance(e.value, AirflowFailException)
    until(lambda: cluster.running() == [])


def test_a_job_that_failed_after_the_manifest_was_there_is_a_success(training):
    _, task, about = training(**node(**{"0": ["manifest", 0], "1": [1]}))
    event = ended(started(task, about))
    assert event["status"] == "error"
    task.execute_complete(about, event)


def test_a_job_that_succeeded_without_a_manifest_is_tried_again(training):
    _, task, about = training(**node(**{"0": [0], "1": [0]}))
    event = ended(started(task, about))
    assert event["status"] == "success"
    with pytest.raises(AirflowException, match="there is no manifest") as e:
        task.execute_complete(about, event)
    assert not isinstance(e.value, AirflowFailException)


def test_a_try_after_a_worker_died_finds_the_job_that_runs(training):
    cluster, task, about = training(**node())
    first = started(task, about)
    _, again, about = training(**node(), try_number=2)
    assert started(again, about).job_name == first.job_name
    assert len(cluster.jobs) == 1


def test_a_try_after_a_failed_job_starts_another(training):
    cluster, task, about = training(**node(**{"0": [1]}))
    first = started(task, about)
    ended(first)
    _, again, about = training(**node(), try_number=2)
    assert started(again, about).job_name != first.job_name
    assert len(cluster.jobs) == 2


def test_a_person_who_ends_the_task_ends_the_job_while_it_is_deferred(training):
    cluster, task, about = training(**node())
    trigger = started(task, about)
    until(lambda: len(cluster.running()) == 2)
    asyncio.run(trigger.on_kill())
    assert cluster.jobs == {}
    until(lambda: cluster.running() == [])


def test_a_worker_that_is_told_to_end_ends_the_job(training):
    cluster, task, about = training(**node())
    started(task, about)
    task.on_kill()
    assert cluster.jobs == {}
