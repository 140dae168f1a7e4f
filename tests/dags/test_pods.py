"""The same tasks as pods: what Kubernetes is asked for."""

import json
import os
import re
from types import SimpleNamespace

import airflow_runs
import pendulum
import pytest
from kubernetes_server import ROLE

from attrgan.config import Settings, settings
from attrgan.errors import SettingsError

DAGS = ["nightly_completion", "promote_model", "train_model"]
SHARDS = ["/lake/runs/complete/0-of-2", "/lake/runs/complete/1-of-2"]
RUNBOOK = airflow_runs.ROOT / "docs" / "runbooks" / "kubernetes.md"
CLUSTER = {
    "image": "registry/attrgan@sha256:abc",
    "namespace": "catalog",
    "service_account": "attrgan-writer",
    "cpu": "4",
    "memory": "16Gi",
    "gpu": 2,
    "node_selector": {"pool": "gpu"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
    "verbs": {
        "complete": {"memory": "24Gi", "node_selector": {"pool": "spot"}},
        "train": {"cpu": "8", "tolerations": []},
        "report": {"memory": "1Gi"},
    },
    "run_as_user": 50000,
    "labels": {"cost-centre": "42"},
    "annotations": {"sidecar.istio.io/inject": "false"},
    "template": {
        "spec": {
            "imagePullSecrets": [{"name": "registry"}],
            "containers": [{"name": "base", "volumeMounts": [{"name": "lake", "mountPath": "/lake"}]}],
            "volumes": [{"name": "lake", "persistentVolumeClaim": {"claimName": "lake"}}],
        }
    },
    "env": {"AWS_REGION": "eu-west-1", "ATTRGAN__SEED": "5"},
    "env_from_secrets": ["lake-credentials", "mlflow-credentials"],
    "gpu_pool": "gpu",
    "pool": "pods",
    "startup_timeout_seconds": 900,
}


@pytest.fixture
def pods(parse):
    """All DAGs with the Kubernetes runner."""
    return parse(
        RUNNER="kubernetes",
        KUBERNETES=json.dumps(CLUSTER),
        WAREHOUSE="s3://lake/warehouse",
        QUALITY='{"min_valid_rows": 7}',
    )


def context(dag):
    run = SimpleNamespace(dag_id=dag.dag_id, run_id="manual__1", data_interval_start=pendulum.datetime(2017, 3, 1))
    ti = SimpleNamespace(
        dag_id=dag.dag_id, task_id="t", run_id="manual__1", map_index=-1, try_number=1, xcom_pull=lambda **_: SHARDS
    )
    return {"params": {"dt": None, "model": None}, "dag_run": run, "run_id": "manual__1", "ti": ti, "dag": dag}


def environment(of):
    from attrgan_pods import environment

    return environment(of)


def rendered(dag, task_id):
    """A task as it is when it runs; of a mapped one, the first instance."""
    task = dag.get_task(task_id)
    if task.is_mapped:
        task = task.unmap({"out": SHARDS[0]})
    about = context(dag) | {"task": task}
    task.render_template_fields(about, dag.get_template_env())
    return task, about


def pod_of(dag, task_id):
    task, about = rendered(dag, task_id)
    return task, task.build_pod_request_obj(about, dry_run=True)


def verbs(dag):
    return [t.task_id for t in dag.tasks if t.task_id not in ("shards", "approval")]


def test_pods_get_the_very_arguments_that_local_processes_get(parse, pods):
    from attrgan_tasks import flat

    expected = {}
    for dag_id, dag in parse(RUNNER="local").items():
        expected |= {(dag_id, t): flat(rendered(dag, t)[0].arguments) for t in verbs(dag)}
    assert len(expected) == 16
    for (dag_id, task_id), arguments in expected.items():
        container = pod_of(pods[dag_id], task_id)[1].spec.containers[0]
        assert (container.command, container.args) == (["attrgan"], arguments)


def test_only_training_asks_for_gpus_and_goes_to_their_nodes(pods):
    for dag in pods.values():
        for task_id in verbs(dag):
            task, pod = pod_of(dag, task_id)
            limits = pod.spec.containers[0].resources.limits
            if task_id == "train":
                assert limits == {"memory": "16Gi", "nvidia.com/gpu": "2"}
                assert pod.spec.node_selector == {"pool": "gpu"}
                assert (task.deferrable, task.pool) == (True, "gpu")
            else:
                assert "nvidia.com/gpu" not in limits
                assert pod.spec.node_selector == ({"pool": "spot"} if task_id == "complete" else {})
                assert not pod.spec.tolerations
                assert (task.deferrable, task.pool) == (False, "pods")


def test_training_tolerates_the_taints_of_its_nodes(parse):
    dags = parse(RUNNER="kubernetes", KUBERNETES=json.dumps(CLUSTER | {"verbs": {}}))
    assert [t.key for t in pod_of(dags["train_model"], "train")[1].spec.tolerations] == ["nvidia.com/gpu"]


def test_heavy_verbs_get_the_size_in_the_settings_and_no_cpu_limit(pods):
    nightly = pods["nightly_completion"]
    sizes = {t: pod_of(nightly, t)[1].spec.containers[0].resources for t in ("features", "audit")}
    assert sizes["features"].requests == {"cpu": "4", "memory": "16Gi"}
    assert sizes["features"].limits == {"memory": "16Gi"}
    assert sizes["audit"].requests == {"cpu": "500m", "memory": "2Gi"}


def test_a_verb_may_have_a_size_and_a_place_of_its_own(pods):
    complete = pod_of(pods["nightly_completion"], "complete")[1].spec
    assert complete.containers[0].resources.requests == {"cpu": "4", "memory": "24Gi"}
    assert complete.containers[0].resources.limits == {"memory": "24Gi"}
    train, report = pod_of(pods["train_model"], "train")[1], pod_of(pods["nightly_completion"], "report")[1]
    assert train.spec.containers[0].resources.requests == {"cpu": "8", "memory": "16Gi"}
    assert not train.spec.tolerations
    assert report.spec.containers[0].resources.requests == {"cpu": "500m", "memory": "1Gi"}


@pytest.mark.parametrize("wrong", [{"verbs": {"trian": {}}}, {"memory": "6GB"}, {"verbs": {"train": {"cpu": "two"}}}])
def test_a_verb_that_is_none_and_an_amount_that_is_none_are_named(monkeypatch, wrong):
    monkeypatch.setenv("ATTRGAN__KUBERNETES", json.dumps(wrong))
    with pytest.raises(SettingsError, match=r"kubernetes\.(verbs\.tr|memory)"):
        settings()


def test_every_pod_starts_from_the_template(pods):
    for dag in pods.values():
        for task_id in verbs(dag):
            spec = pod_of(dag, task_id)[1].spec
            assert [s.name for s in spec.image_pull_secrets] == ["registry"]
            assert [v.persistent_volume_claim.claim_name for v in spec.volumes] == ["lake"]
            assert [m.mount_path for m in spec.containers[0].volume_mounts] == ["/lake"]
            assert (spec.containers[0].name, spec.containers[0].command) == ("base", ["attrgan"])


def test_a_template_need_not_name_a_container(parse):
    template = {"apiVersion": "v1", "kind": "Pod", "spec": {"priorityClassName": "batch"}}
    dags = parse(RUNNER="kubernetes", KUBERNETES=json.dumps({"template": template}))
    spec = pod_of(dags["nightly_completion"], "audit")[1].spec
    assert (spec.priority_class_name, [c.name for c in spec.containers]) == ("batch", ["base"])


def test_with_a_user_a_pod_meets_the_standard_restricted(pods):
    spec = pod_of(pods["nightly_completion"], "validate")[1].spec
    of_pod, of_container = spec.security_context, spec.containers[0].security_context
    assert (of_pod.run_as_non_root, of_pod.run_as_user, of_pod.seccomp_profile.type) == (True, 50000, "RuntimeDefault")
    assert (of_container.allow_privilege_escalation, of_container.capabilities.drop) == (False, ["ALL"])


def test_a_pod_ends_itself_some_minutes_after_the_time_of_its_task(pods):
    for task_id, hours in (("landing", 1), ("validate", 6)):
        assert pod_of(pods["nightly_completion"], task_id)[1].spec.active_deadline_seconds == hours * 3600 + 600
    assert pod_of(pods["train_model"], "train")[1].spec.active_deadline_seconds == 12 * 3600 + 600


def test_a_pod_runs_the_image_as_the_account_in_the_namespace_of_the_settings(pods):
    task, pod = pod_of(pods["nightly_completion"], "validate")
    assert pod.spec.containers[0].image == "registry/attrgan@sha256:abc"
    assert (pod.metadata.namespace, pod.spec.service_account_name) == ("catalog", "attrgan-writer")
    assert pod.spec.automount_service_account_token is False
    assert task.startup_timeout_seconds == 900


def test_no_two_pods_share_a_name(pods):
    names = {pod_of(pods["nightly_completion"], "validate")[1].metadata.name for _ in range(5)}
    assert len(names) == 5
    assert all(name.startswith("attrgan-validate-") for name in names)


def test_a_pod_works_under_the_settings_of_the_machine_that_parsed_the_dag(pods, monkeypatch):
    here = settings()
    pod = pod_of(pods["nightly_completion"], "complete")[1]
    given = {e.name: e.value for e in pod.spec.containers[0].env}
    for name in [n for n in os.environ if n.startswith("ATTRGAN")]:
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    there = Settings()
    assert there.model_dump(exclude={"kubernetes", "runner", "seed"}) == here.model_dump(
        exclude={"kubernetes", "runner", "seed"}
    )
    assert (there.runner, there.seed) == ("local", 5)
    assert given["AWS_REGION"] == "eu-west-1"


def test_the_log_of_a_verb_says_which_task_it_is_of_in_a_pod_as_in_a_process(parse, pods):
    about = {"task_id": "complete", "dt": "2017-03-01", "run_id": "manual__1", "map_index": -1, "try_number": 1}
    env = {e.name: e.value for e in pod_of(pods["nightly_completion"], "complete")[1].spec.containers[0].env}
    assert json.loads(env["ATTRGAN_LOG_FIELDS"]) == about | {"dag_id": "nightly_completion"}
    process = rendered(parse(RUNNER="local")["nightly_completion"], "complete")[0]
    assert json.loads(process.log_fields) == about | {"dag_id": "nightly_completion"}


def test_secrets_come_by_reference_only(pods):
    for task_id in verbs(pods["train_model"]):
        container = pod_of(pods["train_model"], task_id)[1].spec.containers[0]
        assert [source.secret_ref.name for source in container.env_from] == ["lake-credentials", "mlflow-credentials"]
        assert all(e.value_from is None for e in container.env)
        assert {e.name for e in container.env} == {
            *("ATTRGAN__CATALOG_SCHEMA", "ATTRGAN__WAREHOUSE", "ATTRGAN__QUALITY", "ATTRGAN__SEED", "AWS_REGION"),
            "ATTRGAN_LOG_FIELDS",
        }


def test_a_tracking_uri_with_a_password_comes_by_secret_or_not_at_all(parse, monkeypatch):
    uri = "postgresql://attrgan:hunter2@db/mlflow"
    dags = parse(RUNNER="kubernetes", KUBERNETES=json.dumps(CLUSTER), TRACKING_URI=uri)
    assert "hunter2" not in str(pod_of(dags["train_model"], "register")[1])
    monkeypatch.setenv("ATTRGAN__KUBERNETES", "{}")
    settings.cache_clear()
    with pytest.raises(SettingsError, match=r"\*\*\*@db/mlflow carries a password.*env_from_secrets"):
        environment(settings())


def test_nothing_goes_through_xcom_and_failed_pods_stay(pods):
    for dag in pods.values():
        for task_id in verbs(dag):
            task, pod = pod_of(dag, task_id)
            assert task.do_xcom_push is False
            assert len(pod.spec.containers) == 1
            assert task.on_finish_action == "delete_succeeded_pod"
            assert task.durable is True
            assert task.log_pod_spec_on_failure is False


def test_a_pod_says_what_it_is_for(pods):
    pod = pod_of(pods["nightly_completion"], "validate")[1]
    assert pod.metadata.annotations["attrgan/dt"] == "2017-03-01"
    assert pod.metadata.annotations["attrgan/run-id"] == "manual__1"
    assert pod.metadata.annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
    assert pod.metadata.annotations["sidecar.istio.io/inject"] == "false"
    assert pod.metadata.labels["app.kubernetes.io/component"] == "validate"
    assert pod.metadata.labels["cost-centre"] == "42"


def test_only_a_date_without_landing_files_skips(pods):
    nightly = pods["nightly_completion"]
    skipping = {t: pod_of(nightly, t)[0].skip_on_exit_code for t in verbs(nightly)}
    assert {t: codes for t, codes in skipping.items() if codes} == {"landing": [3]}


def test_the_runbook_names_the_rights_that_the_operator_needs():
    rows = re.findall(r"^\s*\| (`[a-z/]+`) \| (`[a-z` ]+) \|", RUNBOOK.read_text(), re.M)
    named = {(resource.strip("`"), verb) for resource, verbs in rows for verb in re.findall(r"[a-z]+", verbs)}
    assert named == ROLE


def test_the_runbook_makes_a_pool_for_training_that_counts_deferred_tasks(parse):
    made = re.findall(r"airflow pools set (\w+) .*--include-deferred", RUNBOOK.read_text())
    train = parse(RUNNER="kubernetes")["train_model"].get_task("train")
    assert (train.deferrable, [train.pool]) == (True, made)
