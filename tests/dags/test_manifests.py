"""What a cluster is given, held against the schemas of Kubernetes, and against the pods that the DAGs build for it."""

import re
from pathlib import Path
from types import SimpleNamespace

import kubernetes_jobs
import kubernetes_server
import kubernetes_validate
import pytest
import yaml
from kubernetes.client import ApiClient
from rendering import rendered

ROOT = Path(__file__).parent.parent.parent
MANIFESTS = ROOT / "docker" / "kubernetes"
VERSIONS = ["1.32", kubernetes_validate.latest_version()]


def documents(name):
    return [d for d in yaml.safe_load_all((MANIFESTS / name).read_text()) if d]


def kustomized():
    """Every manifest that `kubectl apply -k` sends, by kind and name."""
    found = [d for name in documents("kustomization.yaml")[0]["resources"] for d in documents(name)]
    return {(d["kind"], d["metadata"]["name"]): d for d in found}


def check(manifest):
    for version in VERSIONS:
        kubernetes_validate.validate(manifest, version, strict=True)


def values():
    return yaml.safe_load((ROOT / "docker" / "helm" / "values.yaml").read_text())


@pytest.fixture
def dags(parse, monkeypatch):
    """All DAGs under the settings that the chart's values give them; more settings may be given."""

    def parsed(**more):
        for variable in values()["env"]:
            monkeypatch.setenv(variable["name"], variable["value"])
        return parse(**more)

    return parsed


def within(dag, task_id):
    task, about = rendered(dag, task_id)
    task.hook = SimpleNamespace(is_in_cluster=True)
    return task, about


def pod(dag, task_id):
    task, about = within(dag, task_id)
    return ApiClient().sanitize_for_serialization(task.build_pod_request_obj(about))


def job(dag):
    task, about = within(dag, "train")
    return ApiClient().sanitize_for_serialization(task.build_job_request_obj(about))


def pods(dags):
    verbs = [(dag, t.task_id) for dag in dags.values() for t in dag.tasks if t.task_id not in ("shards", "approval")]
    return {(dag.dag_id, task_id): pod(dag, task_id) for dag, task_id in verbs}


def selects(policy, labels):
    return policy["podSelector"].get("matchLabels", {}).items() <= labels.items()


@pytest.mark.parametrize("file", sorted(MANIFESTS.glob("*.yaml")), ids=lambda f: f.name)
def test_every_manifest_is_one_that_kubernetes_knows(file):
    for manifest in documents(file.name):
        if manifest["kind"] != "Kustomization":
            check(manifest)


def test_every_manifest_is_applied_but_the_volume_in_place_of_a_bucket():
    resources = set(documents("kustomization.yaml")[0]["resources"])
    assert {f.name for f in MANIFESTS.glob("*.yaml")} - resources == {"kustomization.yaml", "lake-volume.yaml"}


@pytest.mark.parametrize(
    ("key", "wrong"),
    [(("spec", "publishNotReadyAdresses"), True), (("spec", "ports"), [{"port": "29500"}]), (("spec", "selector"), [])],
)
def test_a_wrong_field_is_refused(key, wrong):
    service = kustomized()["Service", "attrgan-training"]
    service[key[0]][key[1]] = wrong
    with pytest.raises(kubernetes_validate.ValidationError):
        check(service)


def test_every_pod_that_the_dags_build_is_one_that_kubernetes_knows(dags):
    built = pods(dags())
    assert len(built) == 16
    every = {"apiVersion": "v1", "kind": "PodList", "items": list(built.values())}
    check(every)
    every["items"][-1]["spec"]["containers"][0]["resource"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        check(every)


def test_training_over_several_pods_is_an_indexed_job_whose_pods_find_the_first(dags):
    built = job(dags(KUBERNETES__TRAINING_PODS="3", KUBERNETES__GPU="2")["train_model"])
    check(built)
    spec, template = built["spec"], built["spec"]["template"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 3, 3)
    assert (spec["backoffLimit"], template["spec"]["restartPolicy"]) == (0, "Never")
    assert spec["activeDeadlineSeconds"] > 12 * 3600
    container = template["spec"]["containers"][0]
    assert container["command"] == ["python", "-m", "attrgan.training.launch"]
    name, service = built["metadata"]["name"], kustomized()["Service", template["spec"]["subdomain"]]
    assert container["args"][:10] == [
        "--nnodes=3",
        "--node-rank=$(JOB_COMPLETION_INDEX)",
        "--nproc-per-node=2",
        f"--master-addr={name}-0.{service['metadata']['name']}",
        f"--master-port={service['spec']['ports'][0]['port']}",
        "--rdzv-conf=timeout=1200",
        "--shutdown-timeout=50",
        "-m",
        "attrgan",
        "train",
    ]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert len(f"{name}-2") <= 63
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    assert service["spec"]["clusterIP"] == "None"


def test_one_training_pod_is_a_pod_and_no_job(dags):
    from attrgan_pods import AttrganPodOperator

    assert isinstance(dags()["train_model"].get_task("train"), AttrganPodOperator)


def test_pods_meet_what_their_namespace_enforces(dags):
    namespace = kustomized()["Namespace", "attrgan"]["metadata"]
    assert namespace["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for manifest in pods(dags()).values():
        spec, container = manifest["spec"], manifest["spec"]["containers"][0]
        assert manifest["metadata"]["namespace"] == namespace["name"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_pods_cannot_call_the_api_and_only_airflow_has_a_role(dags):
    given = kustomized()
    for manifest in pods(dags()).values():
        account = given["ServiceAccount", manifest["spec"]["serviceAccountName"]]
        assert account["metadata"]["namespace"] == "attrgan"
        assert manifest["spec"]["automountServiceAccountToken"] is False
    binding = given["RoleBinding", "attrgan-launcher"]
    assert [s["name"] for s in binding["subjects"]] == ["airflow-launcher"]
    assert [d for d in given if d[0] in ("RoleBinding", "ClusterRoleBinding")] == [("RoleBinding", "attrgan-launcher")]


def test_airflow_may_do_what_the_operators_call_and_nothing_else():
    rules = kustomized()["Role", "attrgan-launcher"]["rules"]
    allowed = {(resource, verb) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}
    # The loopback servers refuse every other call, so the tests of runs show that these are enough.
    assert allowed == kubernetes_server.ROLE | kubernetes_jobs.ROLE


def test_the_scheduler_and_the_triggerer_run_as_the_account_that_may_start_pods():
    of = values()
    for component in ("scheduler", "triggerer"):
        assert of[component]["serviceAccount"] == {"create": False, "name": "airflow-launcher"}
    assert of["executor"] == "LocalExecutor"  # with another, tasks run under another account


def test_only_training_pods_may_talk_to_each_other_and_nobody_else_may_call_a_pod(dags):
    policies = [d["spec"] for (kind, _), d in kustomized().items() if kind == "NetworkPolicy"]
    assert {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} in policies
    for (_, task_id), manifest in pods(dags()).items():
        labels = manifest["metadata"]["labels"]
        mine = [p for p in policies if selects(p, labels)]
        callers = [peer for p in mine for rule in p.get("ingress", []) for peer in rule["from"]]
        if task_id == "train":
            assert [selects(peer, labels) for peer in callers] == [True]
        else:
            assert callers == []
        ports = {port["port"] for p in mine for rule in p.get("egress", []) for port in rule.get("ports", [])}
        assert {53, 443, 5000} <= ports


def test_the_quota_allows_the_pools_and_the_limits_allow_every_pod(dags):
    hard = kustomized()["ResourceQuota", "attrgan"]["spec"]["hard"]
    pools = dict(re.findall(r"pools set (\w+) (\d+)", values()["migrateDatabaseJob"]["command"][-1]))
    assert int(hard["pods"]) > sum(map(int, pools.values()))
    assert int(pools["pods"]) < int(values()["config"]["core"]["parallelism"])
    for manifest in pods(dags()).values():
        resources = manifest["spec"]["containers"][0]["resources"]
        assert {"cpu", "memory"} <= resources["requests"].keys()
        assert int(resources["limits"].get("nvidia.com/gpu", 0)) <= int(hard["requests.nvidia.com/gpu"])


def test_every_setting_in_the_values_is_one_that_attrgan_has(dags):
    from attrgan.config import settings

    dags()
    given = settings().model_dump(mode="json", exclude_unset=True)
    for variable in values()["env"]:
        if variable["name"].startswith("ATTRGAN__"):
            found = given
            for part in variable["name"].lower().split("__")[1:]:
                assert part in found, variable["name"]
                found = found[part]


def test_nothing_secret_is_in_the_values():
    of = values()
    assert of["data"] == {"metadataSecretName": "airflow-metadata"}
    assert [s["secretName"] for s in of["secret"]] == ["airflow-metadata"]
    named = [of["fernetKeySecretName"], of["apiSecretKeySecretName"], of["jwtSecretName"], "airflow-passwords"]
    runbook = (ROOT / "docs" / "runbooks" / "helm.md").read_text()
    for secret in [*named, "airflow-metadata", "attrgan-lake"]:
        assert f"create secret generic {secret} " in runbook
    text = (ROOT / "docker" / "helm" / "values.yaml").read_text()
    assert not re.search(r"(?i)(password|fernet_?key|jwt_?secret|access_?key): *[^~{\s]", text)
