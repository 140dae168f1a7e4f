"""How a verb becomes a pod, and what becomes of it: what every default of the pod is for.

Imported only where `settings().runner` is `kubernetes` (and kept out of Airflow's plugin loading by `.airflowignore`):
importing the provider takes a second.

The provider's operator starts the pod, follows its log and finds it again (`durable`). What is added here is the end:
a task whose pod has ended 0 succeeds only with the verb's manifest; a pod that nobody waits for any more is deleted;
a failure says in one sentence what became of the pod. `docs/adr/0012-pods.md` has the reasons.
"""

import json
import sys
from collections.abc import Sequence
from typing import Any

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.utils.container import get_container_status
from airflow.providers.cncf.kubernetes.utils.pod_manager import OnFinishAction, PodPhase
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from attrgan_lineage import LineageMixin
from attrgan_tasks import FINAL, LOG_FIELDS, check_result, debugging, flat
from kubernetes.client import ApiException
from kubernetes.client import models as k8s

from attrgan.config import Kubernetes, Settings, VerbPod, settings
from attrgan.errors import SettingsError
from attrgan.logs import FIELDS

LIGHT = {"cpu": "500m", "memory": "2Gi"}
"""What a verb without a model asks for (manifests, MLflow, `audit`); the heavy ones take the size in the settings."""

DEADLINE_SECONDS = 600
"""How long a pod may outlive its task's time before its node ends it: for a pod that Airflow could not reach to end."""


class AttrganPodOperator(LineageMixin, KubernetesPodOperator):
    """A pod that runs one `attrgan` verb; its exit code means what it means for a local process.

    Args:
        out: of a mapped task, the folder this one writes to: `{{ task.out }}` in `arguments`.
    """

    def __init__(self, *, out: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.out = out
        if self.execution_timeout:
            self.active_deadline_seconds = int(self.execution_timeout.total_seconds()) + DEADLINE_SECONDS

    def build_pod_request_obj(self, context: Context | None = None, *, dry_run: bool = False) -> k8s.V1Pod:
        """The pod, with nested lists among the arguments made flat."""
        self.arguments = flat(self.arguments)
        return super().build_pod_request_obj(context, dry_run=dry_run)

    def get_or_create_pod(self, pod_request_obj: k8s.V1Pod, context: Context) -> k8s.V1Pod:
        """As the provider's; a pod that is there already, because the answer to its creation got lost, is taken."""
        try:
            return super().get_or_create_pod(pod_request_obj, context)
        except ApiException as refused:
            if refused.status != 409 or not (found := self.find_pod(pod_request_obj.metadata.namespace, context)):
                raise
            return found

    def find_pod(self, namespace: str, context: Context, *, exclude_checked: bool = True) -> k8s.V1Pod | None:
        """As the provider's; a pod that is being deleted is nobody's to wait for."""
        return _lasting(super().find_pod(namespace, context, exclude_checked=exclude_checked))

    def _get_pod_from_task_state_store(self, context: Context) -> k8s.V1Pod | None:
        return _lasting(super()._get_pod_from_task_state_store(context))

    def trigger_reentry(self, context: Context, event: dict[str, Any]) -> None:
        """As the provider's, which takes the trigger's word for a pod that has gone since; the manifest is asked."""
        super().trigger_reentry(context, event)
        check_result(self.arguments)

    def on_kill(self) -> None:
        """Deletes the pod, marked, so that no retry waits for it while it ends."""
        if self.pod:
            self.patch_already_checked(self.pod, reraise=False)
        super().on_kill()

    def cleanup(
        self, pod: k8s.V1Pod, remote_pod: k8s.V1Pod, xcom_result: Any = None, context: Context | None = None
    ) -> None:
        """Raises what became of the pod, and leaves none running.

        Raises:
            AirflowSkipException: an exit code that means "nothing to do" for this task.
            AirflowFailException: bad input or a gate that says no: a retry would not help.
            AirflowException: anything else, a missing manifest among it: tried again.
        """
        seen = remote_pod or pod  # the provider has no remote pod where it met a 404
        if self._killed or not seen:
            return
        now = self._as_it_is(seen)
        if now is None or now.status.phase not in PodPhase.terminal_states:
            self._read_pod_events(seen, reraise=False)
            if now:
                self.patch_already_checked(now, reraise=False)
                self.pod_manager.delete_pod(now)
            raise AirflowException(story(now, seen.metadata.name, self.base_container_name, sys.exception()))
        lacking: AirflowException | None = None
        if now.status.phase == PodPhase.SUCCEEDED:
            try:
                check_result(self.arguments)
            except AirflowException as missing:
                lacking, self.on_finish_action = missing, OnFinishAction.KEEP_POD
        try:
            super().cleanup(pod, now, xcom_result, context)
        except AirflowException as failure:
            kind: type[AirflowException] = AirflowException
            if isinstance(failure, AirflowSkipException):
                kind = AirflowSkipException
            elif exit_code(now, self.base_container_name) in FINAL:
                kind = AirflowFailException
            raise kind(story(now, now.metadata.name, self.base_container_name)) from failure
        if lacking:
            raise lacking

    def _as_it_is(self, pod: k8s.V1Pod) -> k8s.V1Pod | None:
        """The pod as the cluster has it now; None where it has it no more."""
        try:
            return self.pod_manager.read_pod(pod)
        except ApiException as error:
            if error.status == 404:
                return None
            raise


def _lasting(pod: k8s.V1Pod | None) -> k8s.V1Pod | None:
    return None if pod is None or pod.metadata.deletion_timestamp else pod


def exit_code(pod: k8s.V1Pod, container: str) -> int | None:
    """Of the container; None while it has not ended."""
    status = get_container_status(pod, container)
    return int(status.state.terminated.exit_code) if status and status.state and status.state.terminated else None


def story(pod: k8s.V1Pod | None, name: str, container: str, cause: BaseException | None = None) -> str:
    """What became of a pod that has not succeeded, in one sentence, with the last line that its command said.

    Args:
        pod: as the cluster has it; None where it has it no more.
        cause: what ended the waiting for it.
    """
    if pod is None:
        return f"pod {name} is gone before its end was seen: it was deleted, or its node was lost"
    status = get_container_status(pod, container)
    state = status.state if status and status.state else k8s.V1ContainerState()
    causes = [_named(c.reason, c.message) for c in pod.status.conditions or [] if c.type == "DisruptionTarget"]
    if state.terminated:
        ended = f"ended with exit code {state.terminated.exit_code}"
        causes.insert(0, state.terminated.reason if state.terminated.reason not in ("Error", "Completed") else None)
    elif pod.status.phase in PodPhase.terminal_states:
        ended = "failed before its container started"
    else:
        ended = f"was deleted while {pod.status.phase}, since the task ended"
        waits = [c for c in pod.status.conditions or [] if c.type == "PodScheduled" and c.status == "False"]
        causes += [_named(w.reason, w.message) for w in [*waits, *([state.waiting] if state.waiting else [])]]
        causes.append(str(cause).strip().splitlines()[0] if cause and str(cause).strip() else None)
    causes.append(_named(pod.status.reason, pod.status.message))
    if "OOMKilled" in causes:
        causes.append("raise its memory in kubernetes.memory or kubernetes.verbs")
    why = "; ".join(dict.fromkeys(c for c in causes if c))
    said = ((state.terminated.message or "").strip().splitlines() or [""])[-1] if state.terminated else ""
    return f"pod {name} {ended}" + (f" ({why})" if why else "") + (f": {said}" if said else "")


def _named(reason: str | None, message: str | None) -> str | None:
    return ": ".join(part for part in (reason, message) if part) or None


def environment(of: Settings) -> dict[str, str]:
    """The variables that give a pod the settings in force here, and `kubernetes.env` on top.

    They stand in the pod's manifest for everybody to read, so a tracking URI with a password in it is not among them.

    Raises:
        SettingsError: such a URI, and no secret from which the pod could take it.
    """
    from attrgan.tracking import masked

    given = of.model_dump(mode="json", exclude_unset=True, exclude={"runner", "kubernetes"})
    if masked(of.tracking_uri) != of.tracking_uri:
        del given["tracking_uri"]
        if not of.kubernetes.env_from_secrets:
            raise SettingsError(
                f"tracking_uri {masked(of.tracking_uri)} carries a password, which everybody could read in a pod's "
                "manifest: put ATTRGAN__TRACKING_URI into a secret and name that in kubernetes.env_from_secrets"
            )
    plain = {f"ATTRGAN__{name.upper()}": v if isinstance(v, str) else json.dumps(v) for name, v in given.items()}
    return plain | debugging() | of.kubernetes.env


def resources(of: Kubernetes, verb: str, *, heavy: bool, gpu: bool) -> k8s.V1ResourceRequirements:
    """Requests, and limits for memory and GPUs. No CPU limit: throttling would only make a verb slower."""
    own = of.verbs.get(verb, VerbPod())
    usual = {"cpu": of.cpu, "memory": of.memory} if heavy or gpu else LIGHT
    asked = {"cpu": own.cpu or usual["cpu"], "memory": own.memory or usual["memory"]}
    limits = {"memory": asked["memory"]} | ({of.gpu_resource: str(of.gpu)} if gpu and of.gpu else {})
    return k8s.V1ResourceRequirements(requests=asked, limits=limits)


def placement(of: Kubernetes, verb: str, *, gpu: bool) -> dict[str, Any]:
    """Where a pod may run: the GPU nodes for training, anywhere else for the others, unless the verb has its own."""
    own = of.verbs.get(verb, VerbPod())
    usual = (of.node_selector, of.tolerations) if gpu else ({}, [])
    selector = usual[0] if own.node_selector is None else own.node_selector
    return {"node_selector": selector, "tolerations": usual[1] if own.tolerations is None else own.tolerations}


def security(user: int | None) -> dict[str, Any]:
    """What the Pod Security Standard `restricted` asks of a pod; nothing where the image decides who runs it."""
    if user is None:
        return {}
    seccomp = k8s.V1SeccompProfile(type="RuntimeDefault")
    nobody_else = k8s.V1PodSecurityContext(run_as_non_root=True, run_as_user=user, seccomp_profile=seccomp)
    least = k8s.V1SecurityContext(allow_privilege_escalation=False, capabilities=k8s.V1Capabilities(drop=["ALL"]))
    return {"security_context": nobody_else, "container_security_context": least}


def template(given: dict[str, Any]) -> dict[str, Any] | None:
    """The pod that every pod starts from, with the container that the client asks for in every pod."""
    spec = {"containers": [{"name": KubernetesPodOperator.BASE_CONTAINER_NAME}]} | (given.get("spec") or {})
    return given | {"spec": spec} if given else None


def pod_options(task_id: str, verb: str, *, heavy: bool, gpu: bool, skip_on: Sequence[int]) -> dict[str, Any]:
    """The arguments of the pod operator that do not depend on the verb's arguments.

    - `name` gets a random suffix: two runs, or a pod and its retry, never share a name.
    - Settings come as variables, secrets as names of Kubernetes secrets; no token of the API is mounted.
    - `do_xcom_push=False`: a manifest is the result, no sidecar.
    - `delete_succeeded_pod`: a failed pod stays for `kubectl describe`; the end of its log is its termination message,
      which is where the verb's one clear sentence is. The pod's specification is not poured into the log.
    - `durable`: a worker that died finds its running pod again instead of starting a second one.
    - `deferrable` for training only: hours in which no worker slot is held; for a verb of a minute the hand-over costs
      more than it saves. Its log is fetched once a minute meanwhile, its state read every ten seconds. The GPU pool
      must be made with `--include-deferred`, or deferred pods do not count.
    - A pod that waits for its node is looked at every two seconds: the API server is not worn out by 64 shards.
    - 60 s from SIGTERM to SIGKILL, time to finish a checkpoint; the autoscaler does not move a pod that works.
    - GPU limit, node selector and tolerations only for training: everything else stays off the GPU nodes.
    """
    of = settings()
    cluster = of.kubernetes
    return {
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
        "container_resources": resources(cluster, verb, heavy=heavy, gpu=gpu),
        "labels": cluster.labels | {"app.kubernetes.io/name": "attrgan", "app.kubernetes.io/component": task_id},
        "annotations": cluster.annotations
        | {
            "attrgan/dt": "{{ dt() }}",
            "attrgan/run-id": "{{ run_id }}",
            "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
        },
        "pod_template_dict": template(cluster.template),
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
        "startup_check_interval_seconds": 2,
        "durable": True,
        "deferrable": gpu,
        "poll_interval": 10,
        "logging_interval": 60,
        "pool": cluster.gpu_pool if gpu else cluster.pool,
        **placement(cluster, verb, gpu=gpu),
        **security(cluster.run_as_user),
    }
