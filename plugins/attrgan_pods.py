"""How a verb becomes a pod: what every default of the pod is for.

Imported only where `settings().runner` is `kubernetes` (and kept out of Airflow's plugin loading by `.airflowignore`):
importing the provider takes a second.
"""

import json
from collections.abc import Sequence
from typing import Any

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from attrgan_lineage import LineageMixin
from attrgan_tasks import FINAL, LOG_FIELDS, debugging, flat
from kubernetes.client import models as k8s

from attrgan.config import Kubernetes, Settings, settings
from attrgan.logs import FIELDS

LIGHT = {"cpu": "500m", "memory": "2Gi"}
"""What a verb that reads manifests and talks to MLflow asks for; the heavy ones take the size in the settings."""


class AttrganPodOperator(LineageMixin, KubernetesPodOperator):
    """A pod that runs one `attrgan` verb; its exit code means what it means for a local process.

    Args:
        out: of a mapped task, the folder this one writes to: `{{ task.out }}` in `arguments`.
    """

    def __init__(self, *, out: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.out = out

    def build_pod_request_obj(self, context: Context | None = None, *, dry_run: bool = False) -> k8s.V1Pod:
        """The pod, with nested lists among the arguments made flat."""
        self.arguments = flat(self.arguments)
        return super().build_pod_request_obj(context, dry_run=dry_run)

    def cleanup(
        self, pod: k8s.V1Pod, remote_pod: k8s.V1Pod, xcom_result: Any = None, context: Context | None = None
    ) -> None:
        """Raises what became of the pod: bad input and a gate that says no fail the task without retries."""
        try:
            super().cleanup(pod, remote_pod, xcom_result, context)
        except AirflowSkipException:
            raise
        except AirflowException as failure:
            if self._exit_code(remote_pod) in FINAL:
                raise AirflowFailException(str(failure)) from failure
            raise

    def _exit_code(self, remote_pod: k8s.V1Pod) -> int | None:
        for status in (remote_pod.status and remote_pod.status.container_statuses) or []:
            if status.name == self.base_container_name and status.state and status.state.terminated:
                return int(status.state.terminated.exit_code)
        return None


def environment(of: Settings) -> dict[str, str]:
    """The variables that give a pod the settings in force here (they hold no secrets), and `kubernetes.env` on top."""
    given = of.model_dump(mode="json", exclude_unset=True, exclude={"runner", "kubernetes"})
    plain = {f"ATTRGAN__{name.upper()}": v if isinstance(v, str) else json.dumps(v) for name, v in given.items()}
    return plain | debugging() | of.kubernetes.env


def resources(of: Kubernetes, *, heavy: bool, gpu: bool) -> k8s.V1ResourceRequirements:
    """Requests, and limits for memory and GPUs. No CPU limit: throttling would only make a verb slower."""
    asked = {"cpu": of.cpu, "memory": of.memory} if heavy or gpu else LIGHT
    limits = {"memory": asked["memory"]} | ({of.gpu_resource: str(of.gpu)} if gpu and of.gpu else {})
    return k8s.V1ResourceRequirements(requests=asked, limits=limits)


def pod_options(task_id: str, *, heavy: bool, gpu: bool, skip_on: Sequence[int]) -> dict[str, Any]:
    """The arguments of the pod operator that do not depend on the verb.

    - `name` gets a random suffix: two runs, or a pod and its retry, never share a name.
    - Settings come as variables, secrets as names of Kubernetes secrets; no token of the API is mounted.
    - `do_xcom_push=False`: a manifest is the result, no sidecar.
    - `delete_succeeded_pod`: a failed pod stays for `kubectl describe`; the end of its log is its termination message,
      which is where the verb's one clear sentence is. The pod's specification is not poured into the log.
    - `durable`: a worker that died finds its running pod again instead of starting a second one.
    - `deferrable` for training only: hours in which no worker slot is held; for a verb of a minute the hand-over costs
      more than it saves. The GPU pool must be made with `--include-deferred`, or deferred pods do not count.
    - 60 s from SIGTERM to SIGKILL, time to finish a checkpoint; the autoscaler does not move a pod that works.
    - GPU limit, node selector and tolerations only for training: everything else stays off the GPU nodes.
    """
    of = settings()
    cluster = of.kubernetes
    options = {
        "name": f"attrgan-{task_id.replace('_', '-')}",
        "random_name_suffix": True,
        "namespace": cluster.namespace,
        "service_account_name": cluster.service_account,
        "automount_service_account_token": False,
        "in_cluster": cluster.in_cluster if cluster.kubernetes_conn_id is None else None,
        "kubernetes_conn_id": cluster.kubernetes_conn_id,
        "image": cluster.image,
        "cmds": ["attrgan"],
        "env_vars": environment(of) | {FIELDS: LOG_FIELDS},
        "env_from": [k8s.V1EnvFromSource(secret_ref=k8s.V1SecretEnvSource(name=s)) for s in cluster.env_from_secrets],
        "container_resources": resources(cluster, heavy=heavy, gpu=gpu),
        "labels": {"app.kubernetes.io/name": "attrgan", "app.kubernetes.io/component": task_id},
        "annotations": {
            "attrgan/dt": "{{ dt() }}",
            "attrgan/run-id": "{{ run_id }}",
            "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
        },
        "do_xcom_push": False,
        "get_logs": True,
        "container_name_log_prefix_enabled": False,
        "log_events_on_failure": True,
        "log_pod_spec_on_failure": False,
        "termination_message_policy": "FallbackToLogsOnError",
        "termination_grace_period": 60,
        "on_finish_action": "delete_succeeded_pod",
        "skip_on_exit_code": list(skip_on) or None,
        "startup_timeout_seconds": cluster.startup_timeout_seconds,
        "durable": True,
        "deferrable": gpu,
        "pool": cluster.gpu_pool if gpu else cluster.pool,
    }
    if gpu:
        options["node_selector"] = cluster.node_selector
        options["tolerations"] = cluster.tolerations
    return options
