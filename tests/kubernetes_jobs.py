"""Indexed Jobs for `kubernetes_server`: what the job controller and the node do for their pods, on loopback.

Pod i of the Job J gets the labels, the annotation and the variable of its index, and `$(JOB_COMPLETION_INDEX)` in its
arguments becomes i. All pods are on this machine, so the name `J-0.<service>` becomes 127.0.0.1, and the port one that
is free. A pod that fails ends the Job (`backoffLimit: 0`), and the Job deletes those that still run.
"""

import json
import re
import socket
import threading
import time
import uuid
from copy import deepcopy
from typing import Any
from urllib.parse import parse_qs, urlsplit

from kubernetes_pod import ApiError, Pod, stamp
from kubernetes_server import KubernetesServer, _Handler, selects

ROLE = {("jobs", "create"), ("jobs", "list"), ("jobs", "delete"), ("jobs/status", "get")}
"""What the account may do with Jobs: the rules of `docker/kubernetes/launcher-role.yaml`."""

INDEX, JOB = "batch.kubernetes.io/job-completion-index", "batch.kubernetes.io/job-name"
_PATH = re.compile(r"/apis/batch/v1/namespaces/(?P<namespace>[^/]+)/jobs(/(?P<name>[^/]+)(/(?P<sub>status))?)?")


class JobServer(KubernetesServer):
    """The cluster, with a job controller.

    Args:
        verb: what stands in for `-m attrgan` in the arguments of a pod.
    """

    def __init__(self, *args: Any, verb: list[str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.verb = verb
        self.jobs: dict[str, dict[str, Any]] = {}
        self._http.RequestHandlerClass = type("Handler", (_JobHandler,), {"cluster": self})

    def __exit__(self, *how: object) -> None:
        self.jobs.clear()
        super().__exit__(*how)

    def create_job(self, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        if body["metadata"]["name"] in self.jobs:
            raise ApiError(409, f'jobs.batch "{body["metadata"]["name"]}" already exists')
        job = deepcopy(body) | {"status": {"startTime": stamp()}}
        job["metadata"] |= {"uid": str(uuid.uuid4()), "creationTimestamp": stamp(), "namespace": namespace}
        self.jobs[job["metadata"]["name"]] = job
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        # Later, as the controller does: no client may count on pods as soon as the Job is there.
        threading.Timer(0.5, self._start, (namespace, job, port)).start()
        return job

    def delete_job(self, name: str) -> dict[str, Any]:
        job = self.jobs.pop(name)
        for pod in self.pods_of(name):
            pod.delete(None)
        return job

    def pods_of(self, job: str) -> list[Pod]:
        return self.of(**{JOB: job})

    def _start(self, namespace: str, job: dict[str, Any], port: int) -> None:
        if self.jobs.get(job["metadata"]["name"]) is not job:  # deleted meanwhile
            return
        names = [self._create_pod(namespace, job, index, port) for index in range(job["spec"]["completions"])]
        threading.Thread(target=self._control, args=(job, names), daemon=True).start()

    def _create_pod(self, namespace: str, job: dict[str, Any], index: int, port: int) -> str:
        template, name = deepcopy(job["spec"]["template"]), job["metadata"]["name"]
        about, container = template["metadata"], template["spec"]["containers"][0]
        about["name"] = f"{name}-{index}-{uuid.uuid4().hex[:5]}"
        about["labels"] |= {JOB: name, INDEX: str(index)}
        about["annotations"] |= {INDEX: str(index)}
        template["spec"]["hostname"] = f"{name}-{index}"
        container["env"] = [*container["env"], {"name": "JOB_COMPLETION_INDEX", "value": str(index)}]
        here = {
            "$(JOB_COMPLETION_INDEX)": str(index),
            f"{name}-0.{template['spec']['subdomain']}": "127.0.0.1",
            "--master-port=29500": f"--master-port={port}",
        }
        for given, meant in here.items():
            assert any(given in word for word in container["args"]), given
            container["args"] = [word.replace(given, meant) for word in container["args"]]
        if self.verb:
            at = container["args"].index("-m")
            container["args"][at : at + 2] = self.verb
        self.create(namespace, {"apiVersion": "v1", "kind": "Pod"} | template)
        return about["name"]

    def _control(self, job: dict[str, Any], names: list[str]) -> None:
        pods = [pod for pod in self.created if pod.name in names]
        while not (any(pod.phase == "Failed" for pod in pods) or all(pod.ended for pod in pods)):
            time.sleep(0.05)
        failed = [pod for pod in pods if pod.phase == "Failed"]
        for pod in pods:
            if not pod.ended:
                pod.delete(None)
        kind, reason = ("Failed", "BackoffLimitExceeded") if failed else ("Complete", "CompletionsReached")
        condition = {"type": kind, "status": "True", "reason": reason, "lastTransitionTime": stamp()}
        job["status"] |= {"conditions": [condition], "succeeded": len(pods) - len(failed), "failed": len(failed)}


class _JobHandler(_Handler):
    cluster: JobServer

    def _answer(self, verb: str) -> None:
        url = urlsplit(self.path)
        if not (found := _PATH.fullmatch(url.path)):
            return super()._answer(verb)
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")
        verb = "list" if verb == "get" and not found["name"] else verb
        resource = "jobs/status" if found["sub"] else "jobs"
        try:
            if self.headers.get("Authorization") != f"Bearer {self.cluster.token}":
                raise ApiError(401, "Unauthorized")
            if (resource, verb) not in ROLE:
                raise ApiError(403, f"{resource} is forbidden: the account cannot {verb} it")
            if found["name"] and found["name"] not in self.cluster.jobs:
                raise ApiError(404, f'jobs.batch "{found["name"]}" not found')
            done = self._job(verb, found, parse_qs(url.query).get("labelSelector", [""])[0], body)
            code = 201 if verb == "create" else 200
        except ApiError as error:
            code = error.code
            done = {"apiVersion": "v1", "kind": "Status", "status": "Failure", "message": str(error), "code": code}
        self.cluster.requests.append((verb, resource, code))
        return self._send(code, done)

    def _job(self, verb: str, found: re.Match[str], selector: str, body: dict[str, Any]) -> dict[str, Any]:
        if verb == "create":
            return self.cluster.create_job(found["namespace"], body)
        if verb == "list":
            jobs = [j for j in self.cluster.jobs.values() if selects(selector, j["metadata"]["labels"])]
            return {"apiVersion": "batch/v1", "kind": "JobList", "metadata": {}, "items": jobs}
        return self.cluster.delete_job(found["name"]) if verb == "delete" else self.cluster.jobs[found["name"]]
