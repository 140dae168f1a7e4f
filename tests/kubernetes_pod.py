"""A pod on the one node of `kubernetes_server`: a process with the phases, states and conditions of a real one."""

import os
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import deepcopy
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kubernetes_server import KubernetesServer

_REASONS = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "AlreadyExists",
    422: "Invalid",
    500: "InternalError",
}
_MESSAGE_BYTES = 2048
"""Of the end of a log, as the termination message."""


class ApiError(Exception):
    """An answer that is not a success."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.reason = code, _REASONS.get(code, "InternalError" if code >= 500 else "BadRequest")


def stamp(of: float | None = None) -> str:
    """A time as the API writes it."""
    return datetime.fromtimestamp(of or time.time(), UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class Pod:
    """One pod; `live` is its life, everything else is what others see of it or do to it."""

    def __init__(self, cluster: "KubernetesServer", namespace: str, body: dict[str, Any]) -> None:
        self.cluster, self.namespace = cluster, namespace
        self.name, self.uid = body["metadata"]["name"], str(uuid.uuid4())
        own = {
            "namespace": namespace,
            "uid": self.uid,
            "creationTimestamp": stamp(),
            "resourceVersion": cluster.version(),
        }
        self.metadata = body["metadata"] | own
        self.spec = body["spec"]
        self.container = self.spec["containers"][0]
        self.phase, self.reason, self.message = "Pending", None, None
        self.state: dict[str, Any] | None = None
        self.conditions: list[dict[str, Any]] = []
        self.followers = 0
        """How often its log was asked for."""
        self.lines: list[tuple[float, str]] = []
        self.born, self.started, self.ended = time.time(), None, None
        self.process: subprocess.Popen[bytes] | None = None
        self.settled = threading.Event()
        """Its container runs, or will not."""
        self._killed_as: tuple[int, str] | None = None
        self._changed = threading.Condition(cluster.lock)

    @property
    def labels(self) -> dict[str, str]:
        return self.metadata.get("labels") or {}

    @property
    def exit_code(self) -> int | None:
        """Of the container; None while it has not ended."""
        return (self.state or {}).get("terminated", {}).get("exitCode")

    def manifest(self) -> dict[str, Any]:
        """As the API shows it."""
        with self.cluster.lock:
            status: dict[str, Any] = {"phase": self.phase, "conditions": self.conditions, "startTime": stamp(self.born)}
            status |= {k: v for k, v in (("reason", self.reason), ("message", self.message)) if v}
            if self.state:
                ready = "running" in self.state
                status["containerStatuses"] = [{
                    "name": self.container["name"], "image": self.container["image"], "imageID": "", "ready": ready,
                    "restartCount": 0, "started": ready, "state": self.state,
                }]  # fmt: skip
            shown = {"apiVersion": "v1", "kind": "Pod", "metadata": self.metadata, "spec": self.spec, "status": status}
            return deepcopy(shown)

    # --- its life -------------------------------------------------------------------------------------------------

    def live(self) -> None:
        """From Pending to the end."""
        try:
            self._live()
        finally:
            self.settled.set()

    def _live(self) -> None:
        fate = self.cluster.fault(self.labels, "unschedulable", "no image", "no secret", "evicted early")
        if fate == "unschedulable":
            self._condition(
                "PodScheduled", "False", "Unschedulable", "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
            )
            self.cluster.tell(self, "FailedScheduling", self.conditions[-1]["message"], "Warning")
            return
        self._condition("PodScheduled", "True")
        self.cluster.tell(self, "Scheduled", f"Successfully assigned {self.namespace}/{self.name} to loopback")
        if fate == "evicted early":
            self._end_as("Failed", "Evicted", "The node was low on resource: memory.")
            return
        if trouble := self._trouble(fate):
            self._set(waiting={"reason": trouble[0], "message": trouble[1]})
            self.cluster.tell(self, "Failed", trouble[1], "Warning")
            return
        self._set(waiting={"reason": "ContainerCreating"})
        self._run()

    def _trouble(self, fate: str | None) -> tuple[str, str] | None:
        """Why the container cannot be made."""
        image = self.container["image"]
        if fate == "no image" or image not in self.cluster.images:
            return "ErrImagePull", f'failed to pull and unpack image "{image}": not found'
        for source in self.container.get("envFrom") or []:
            if (name := source["secretRef"]["name"]) not in self.cluster.secrets or fate == "no secret":
                return "CreateContainerConfigError", f'secret "{name}" not found'
        return None

    def _run(self) -> None:
        words = [*(self.container.get("command") or []), *(self.container.get("args") or [])]
        program = self.cluster.images[self.container["image"]].get(words[0])
        if program is None:
            self._end(128, "StartError", f'exec: "{words[0]}": executable file not found in $PATH')
            return
        folder = self.cluster.folder / self.uid
        folder.mkdir()
        with self.cluster.lock:
            if self.metadata.get("deletionTimestamp"):
                return
            self.process = subprocess.Popen(
                [*program, *words[1:]], env=self._environment(), cwd=folder, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
            self.phase, self.started = "Running", time.time()
            self._set(running={"startedAt": stamp(self.started)})
        self.settled.set()
        self.cluster.tell(self, "Started", f"Started container {self.container['name']}")
        if limit := self.spec.get("activeDeadlineSeconds"):
            self._later(limit, self._too_long)
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.lines.append((time.time(), line.decode("utf-8", errors="replace").rstrip("\n")))
                self._changed.notify_all()
            if fate := self.cluster.fault(self.labels, "vanish", "oom", "evict", "preempt"):
                threading.Thread(target=self.strike, args=(fate,), daemon=True).start()
        code = self.process.wait()
        killed_as = self._killed_as or (128 - code if code < 0 else code, "Error" if code else "Completed")
        self._end(*killed_as)

    def _environment(self) -> dict[str, str]:
        found = {"PATH": os.defpath, "HOSTNAME": self.name, **self.cluster.variables}
        for source in self.container.get("envFrom") or []:
            found |= self.cluster.secrets[source["secretRef"]["name"]]
        return found | {e["name"]: e.get("value") or "" for e in self.container.get("env") or []}

    def _end(self, code: int, reason: str, message: str = "") -> None:
        if code and not message and self.container.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            message = "\n".join(line for _, line in self.lines)[-_MESSAGE_BYTES:]
        self.ended = time.time()
        ended = {"exitCode": code, "reason": reason, "finishedAt": stamp(self.ended), "startedAt": stamp(self.started)}
        with self.cluster.lock:
            self._set(terminated=ended | ({"message": message} if message else {}))
            self._end_as("Failed" if code else "Succeeded", self.reason, self.message)

    def _end_as(self, phase: str, reason: str | None = None, message: str | None = None) -> None:
        with self._changed:
            self.phase, self.reason, self.message = phase, reason, message
            self._touch()
            if self.metadata.get("deletionTimestamp"):
                self.cluster.pods.pop((self.namespace, self.name), None)

    def _set(self, **state: dict[str, Any]) -> None:
        with self._changed:
            self.state = state
            self._touch()

    def _condition(self, kind: str, status: str, reason: str | None = None, message: str | None = None) -> None:
        with self._changed:
            told = {"reason": reason, "message": message, "lastTransitionTime": stamp()}
            self.conditions.append({"type": kind, "status": status} | {k: v for k, v in told.items() if v})
            self._touch()

    def _touch(self) -> None:
        self.metadata["resourceVersion"] = self.cluster.version()
        self._changed.notify_all()

    # --- what others do to it -------------------------------------------------------------------------------------

    def strike(self, fate: str) -> None:
        """Does to a running pod what clusters do."""
        if fate == "vanish":  # its node is lost and the controller cleans up
            with self.cluster.lock:
                self.cluster.pods.pop((self.namespace, self.name), None)
            self.kill()
        elif fate == "oom":
            self._killed_as = (137, "OOMKilled")
            self.kill()
        elif fate == "evict":
            self.reason, self.message = "Evicted", "The node was low on resource: memory."
            self._condition("DisruptionTarget", "True", "TerminationByKubelet", self.message)
            self.kill()
        elif fate == "preempt":
            self._condition(
                "DisruptionTarget", "True", "PreemptionByScheduler", "preempting to accommodate a higher priority pod"
            )
            self.delete(None)

    def _later(self, seconds: float, what: Callable[[], None]) -> None:
        timer = threading.Timer(seconds, what)
        timer.daemon = True
        timer.start()

    def _too_long(self) -> None:
        if self.ended:
            return
        self.reason, self.message = "DeadlineExceeded", "Pod was active on the node longer than the specified deadline"
        self.kill()

    def patch(self, metadata: dict[str, Any]) -> None:
        """Takes other labels and annotations."""
        with self._changed:
            self.metadata = metadata
            self._touch()

    def delete(self, grace: int | None) -> None:
        """SIGTERM, and SIGKILL when the grace period is over; the pod goes when its process has ended."""
        grace = self.spec.get("terminationGracePeriodSeconds", 30) if grace is None else grace
        with self._changed:
            already = "deletionTimestamp" in self.metadata
            self.metadata |= {"deletionTimestamp": stamp(), "deletionGracePeriodSeconds": grace}
            self._touch()
            if self.process is None or self.process.poll() is not None or grace == 0:
                self.cluster.pods.pop((self.namespace, self.name), None)
        if not already and self.process and self.process.poll() is None:
            self.cluster.tell(self, "Killing", f"Stopping container {self.container['name']}")
            self.kill(signal.SIGTERM if grace else signal.SIGKILL)
            self._later(grace, self.kill)

    def kill(self, with_signal: int = signal.SIGKILL) -> None:
        """Signals the process and all it has started."""
        if self.process and self.process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, with_signal)

    # --- its log --------------------------------------------------------------------------------------------------

    def log(self, query: dict[str, str]) -> Iterator[bytes]:
        """The lines so far, and with `follow` those to come."""
        if not self.state or "waiting" in self.state:
            why = (self.state or {"waiting": {"reason": "Pending"}})["waiting"]["reason"]
            raise ApiError(400, f'container "{self.container["name"]}" in pod "{self.name}" is waiting to start: {why}')
        self.followers += 1
        return self._lines(query)

    def _lines(self, query: dict[str, str]) -> Iterator[bytes]:
        since = time.time() - int(query["sinceSeconds"]) if "sinceSeconds" in query else 0.0
        sent, timestamps, follow = 0, query.get("timestamps") == "true", query.get("follow") == "true"
        while True:
            with self._changed:
                new, over = self.lines[sent:], not follow or "running" not in (self.state or {})
                if not new and not over:
                    self._changed.wait(1)
                    continue
            sent += len(new)
            for at, line in new:
                if at >= since:
                    yield (f"{stamp(at)} {line}\n" if timestamps else f"{line}\n").encode()
            if new and follow and self.cluster.fault(self.labels, "cut"):
                yield b""  # for the server: break the connection
            if over and not new:
                return
