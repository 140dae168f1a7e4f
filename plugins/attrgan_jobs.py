"""Training over several pods: an Indexed Job, each of its pods one node of a torch process group.

Imported only where `kubernetes.training_pods` is above 1, and kept out of Airflow's plugin loading by `.airflowignore`.

The pods are those of `attrgan_pods`, times N; all of them run the verb, and rank 0 alone writes. They find pod 0 by its
name: pod i of the Job J has the host name `J-i`, and the headless service (setting `training_service`) makes that a
name in the cluster. One lost pod ends the attempt (a process group cannot go on without a member), the Job ends the
others, and Airflow's next try resumes from the checkpoint in the lake. What a Job says of itself is not the result: the
manifest is, as for every other verb. `docs/adr/0014-several-training-pods.md` has the reasons.

Of the provider's operator are kept: how the Job is built, and its deletion when the task is killed. It does not find a
running Job again, lists the pods before the controller has made them, reads no log of a Job that failed, and leaves a
deferred task's Job running when a person ends the task.
"""

from contextlib import suppress
from typing import Any

from airflow.providers.cncf.kubernetes.operators.job import KubernetesJobOperator
from airflow.providers.cncf.kubernetes.triggers.job import KubernetesJobTrigger
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from attrgan_lineage import LineageMixin
from attrgan_pods import DEADLINE_SECONDS, exit_code, story
from attrgan_tasks import FINAL, check_result, flat
from kubernetes.client import ApiException
from kubernetes.client import models as k8s
from kubernetes_asyncio import client as async_client

from attrgan.config import settings

PORT = 29500
"""Where pod 0 waits for the others: torch's usual port."""

KEPT_SECONDS = 24 * 3600
"""How long a Job that has ended stays for `kubectl describe`, with its pods; the cluster then deletes both."""

INDEX = "batch.kubernetes.io/job-completion-index"
JOB = "batch.kubernetes.io/job-name"


class AttrganJobOperator(LineageMixin, KubernetesJobOperator):
    """A Job that runs one `attrgan` verb in several pods as one torch process group.

    Args:
        arguments: the verb and its arguments, templated.
        options: what `attrgan_pods.pod_options` gives a pod.

    - `completions = parallelism = N`, `Indexed`: pod i is node i. `backoff_limit=0`: the Job never replaces a pod, as
      the others cannot take a new one in; its pods are not restarted in place either (`restartPolicy: Never`).
    - Deferred while the Job runs; no worker slot is held.
    - `active_deadline_seconds`: the Job ends itself when its task's time is over, also where Airflow is gone. It counts
      the time in which pods wait for GPUs.
    """

    def __init__(self, **options: Any) -> None:
        of = settings().kubernetes
        super().__init__(
            completion_mode="Indexed",
            completions=of.training_pods,
            parallelism=of.training_pods,
            backoff_limit=0,
            ttl_seconds_after_finished=KEPT_SECONDS,
            wait_until_job_complete=True,
            subdomain=of.training_service,
            **options,
        )
        self.processes = max(of.gpu, 1)
        if self.execution_timeout:
            self.active_deadline_seconds = int(self.execution_timeout.total_seconds()) + DEADLINE_SECONDS

    def build_job_request_obj(self, context: Context | None = None) -> k8s.V1Job:
        """The Job: its pods' command is `launch`, which starts the verb once for each GPU of a pod."""
        self.arguments = flat(self.arguments)
        job = super().build_job_request_obj(context)
        template = job.spec.template
        template.metadata.name = None  # the Job names its pods
        job.metadata.labels = template.metadata.labels
        container = template.spec.containers[0]
        container.command = ["python", "-m", "attrgan.training.launch"]
        container.args = [
            f"--nnodes={self.completions}",
            "--node-rank=$(JOB_COMPLETION_INDEX)",  # a variable of every pod of an Indexed Job
            f"--nproc-per-node={self.processes}",
            f"--master-addr={job.metadata.name}-0.{self.subdomain}",
            f"--master-port={PORT}",
            # The first pod waits while the last one finds its node, and while it is started there.
            f"--rdzv-conf=timeout={2 * self.startup_timeout_seconds}",
            f"--shutdown-timeout={self.termination_grace_period - 10}",
            "-m",
            "attrgan",
            *self.arguments,
        ]
        return job

    def execute(self, context: Context) -> None:
        """Starts the Job, or finds the one that a worker left when it died; hands the waiting to the triggerer."""
        self.name = self._set_name(self.name)
        asked = self.build_job_request_obj(context)
        self.job = self._running(asked.metadata.namespace, context) or self.create_job(asked)
        self.log.info("Waiting for job %s of %d pods", self.job.metadata.name, self.completions)
        self.defer(
            trigger=AttrganJobTrigger(
                job_name=self.job.metadata.name,
                job_namespace=self.job.metadata.namespace,
                pod_names=[],
                pod_namespace=self.job.metadata.namespace,
                base_container_name=self.base_container_name,
                kubernetes_conn_id=self.kubernetes_conn_id,
                cluster_context=self.cluster_context,
                config_file=self.config_file,
                in_cluster=self.in_cluster,
                poll_interval=self.job_poll_interval,
            ),
            method_name="execute_complete",
        )

    def execute_complete(self, context: Context, event: dict[str, Any], **_: Any) -> None:  # noqa: ARG002
        """Logs what the pods said and raises what became of the Job.

        Raises:
            AirflowFailException: bad input or a gate that says no: a retry would not help.
            AirflowException: anything else, a missing manifest among it: tried again.
        """
        pods = self._pods(event["namespace"], event["name"])
        for pod in pods:
            self.log.info("Log of pod %s", pod.metadata.name)
            with suppress(ApiException):  # it never started, or its node is gone
                self._write_logs(pod)
        try:
            check_result(self.arguments)
        except AirflowException as lacking:
            if event["status"] == "success":
                raise
            failed = [pod for pod in pods if pod.status.phase == "Failed"]
            stories = [story(pod, pod.metadata.name, self.base_container_name) for pod in failed]
            said = "; ".join([f"job {event['name']} failed", *(stories or [event["message"]])])
            final = any(exit_code(pod, self.base_container_name) in FINAL for pod in failed)
            raise (AirflowFailException if final else AirflowException)(said) from lacking

    def _running(self, namespace: str, context: Context) -> k8s.V1Job | None:
        """The Job of an earlier try of this task that still runs."""
        selector = self._build_find_pod_label_selector(context)
        jobs = self.job_client.list_namespaced_job(namespace, label_selector=selector).items
        running = [j for j in jobs if not (j.metadata.deletion_timestamp or self.hook.is_job_complete(j))]
        return running[-1] if running else None

    def _pods(self, namespace: str, job: str) -> list[k8s.V1Pod]:
        """The pods that are left of a Job, pod 0 first."""
        pods = self.client.list_namespaced_pod(namespace, label_selector=f"{JOB}={job}").items
        return sorted(pods, key=lambda pod: int(pod.metadata.annotations[INDEX]))


class AttrganJobTrigger(KubernetesJobTrigger):
    """The provider's, and a Job whose task a person ends is deleted, with its pods."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Where the triggerer finds this class."""
        return f"{__name__}.{type(self).__name__}", super().serialize()[1]

    async def on_kill(self) -> None:
        """Deletes the Job; its pods have their grace period to finish a checkpoint."""
        async with self.hook.get_conn() as connection:
            with suppress(async_client.ApiException):  # it is gone already
                await async_client.BatchV1Api(connection).delete_namespaced_job(
                    self.job_name, self.job_namespace, propagation_policy="Background"
                )
