"""A Kubernetes API server on loopback with one node, which runs the command of a pod as a process of this machine.

It speaks what clients use of core/v1: pods (list, create, read, patch, delete), their log and their events, with a
token, the rights of a role, and the error bodies of the real one. A container gets the variables of its manifest and
nothing of this process, works in an empty folder, and finds on its PATH what its image has: `images` says which. What
clusters do to pods is done on demand: see `Fault`.
"""

import json
import re
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from kubernetes_pod import ApiError, Pod, stamp

ROLE = {
    ("pods", "create"), ("pods", "get"), ("pods", "list"), ("pods", "patch"), ("pods", "delete"),
    ("pods/log", "get"), ("events", "list"), ("events", "watch"),
}  # fmt: skip
"""What the account may do; `docs/runbooks/kubernetes.md` has the same rules."""

_PATH = re.compile(r"/api/v1/namespaces/(?P<namespace>[^/]+)/(?P<kind>pods|events)(/(?P<name>[^/]+)(/(?P<sub>log))?)?")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")


@dataclass
class Fault:
    """What goes wrong, for pods that have these labels, this many times.

    `what` is something that happens to a pod when it has said its first line (`vanish`, `oom`, `evict`, `preempt`),
    that keeps it from starting (`unschedulable`, `no image`, `no secret`, `evicted early`), or that happens to calls:
    `500` (calls of `verb` on `resource` fail), `lost answer` (a pod is created, the answer is 500), `cut` (the log ends
    too early).
    """

    what: str
    labels: dict[str, str] = field(default_factory=dict)
    times: int = 1
    verb: str = ""
    resource: str = "pods"

    def fits(self, labels: dict[str, str]) -> bool:
        return self.times > 0 and self.labels.items() <= labels.items()


class KubernetesServer:
    """The cluster: `with KubernetesServer(images) as cluster`, then `cluster.kubeconfig(file)`.

    Args:
        images: image → name on the PATH of its containers → command line that it stands for.
        variables: of the images, for every container: what a real one has in its file system and `ENV` lines.
        secrets: name → keys and values.
        prompt: the creation of a pod is answered when its container runs, so that no client waits for its next look.
    """

    def __init__(
        self, images: dict[str, dict[str, list[str]]], *, namespaces: tuple[str, ...] = ("default",),
        variables: dict[str, str] | None = None, secrets: dict[str, dict[str, str]] | None = None, prompt: bool = False,
    ) -> None:  # fmt: skip
        self.images, self.namespaces, self.secrets = images, namespaces, secrets or {}
        self.variables, self.prompt = variables or {}, prompt
        self.token = uuid.uuid4().hex
        self.faults: list[Fault] = []
        self.pods: dict[tuple[str, str], Pod] = {}
        self.events: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str, int]] = []
        """(verb, resource, answer) of every call."""
        self.created: list[Pod] = []
        """Every pod there ever was."""
        self.lock = threading.RLock()
        self.folder = Path(tempfile.mkdtemp(prefix="attrgan-node-"))
        self._version = 0
        handler = type("Handler", (_Handler,), {"cluster": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> "KubernetesServer":
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for pod in list(self.created):
            pod.kill()
        self._http.shutdown()
        self._http.server_close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def kubeconfig(self, file: Path) -> Path:
        """Writes what a client needs to know."""
        name = "loopback"
        context = {"name": name, "context": {"cluster": name, "user": name}}
        config = {
            "apiVersion": "v1", "kind": "Config", "current-context": name, "contexts": [context],
            "clusters": [{"name": name, "cluster": {"server": self.url}}],
            "users": [{"name": name, "user": {"token": self.token}}],
        }  # fmt: skip
        file.write_text(json.dumps(config))
        file.chmod(0o600)
        return file

    def used(self) -> set[tuple[str, str]]:
        """The rights that calls have made use of: (resource, verb)."""
        return {(resource, verb) for verb, resource, _ in self.requests}

    def running(self) -> list[str]:
        """The names of pods that are there and have not ended."""
        with self.lock:
            return [p.name for p in self.pods.values() if p.phase in ("Pending", "Running")]

    def of(self, **labels: str) -> list[Pod]:
        """Every pod there ever was with these labels, in the order of creation."""
        return [p for p in self.created if labels.items() <= p.labels.items()]

    def version(self) -> str:
        """A resource version, larger than all before."""
        with self.lock:
            self._version += 1
            return str(self._version)

    def tell(self, pod: Pod, reason: str, message: str, kind: str = "Normal") -> None:
        """Makes an event about a pod."""
        about = {"kind": "Pod", "namespace": pod.namespace, "name": pod.name, "uid": pod.uid}
        uid, now = uuid.uuid4().hex, stamp()
        meta = {"name": f"{pod.name}.{uid[:8]}", "namespace": pod.namespace, "uid": uid}
        meta["resourceVersion"] = self.version()
        event = {"apiVersion": "v1", "kind": "Event", "metadata": meta, "involvedObject": about, "reason": reason}
        self.events.append(event | {"message": message, "type": kind, "firstTimestamp": now, "lastTimestamp": now})

    def fault(self, labels: dict[str, str], *what: str, verb: str = "", resource: str = "pods") -> str | None:
        """The fault that strikes now, if any; it is used up."""
        with self.lock:
            for fault in self.faults:
                if fault.what in what and (fault.verb, fault.resource) == (verb, resource) and fault.fits(labels):
                    fault.times -= 1
                    return fault.what
        return None

    # --- what calls do --------------------------------------------------------------------------------------------

    def create(self, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        _check(body, namespace)
        with self.lock:
            name = body["metadata"]["name"]
            if (namespace, name) in self.pods:
                raise ApiError(409, f'pods "{name}" already exists')
            pod = Pod(self, namespace, body)
            self.pods[namespace, name] = pod
            self.created.append(pod)
        threading.Thread(target=pod.live, daemon=True).start()
        if self.prompt:
            pod.settled.wait(5)
        if self.fault(pod.labels, "lost answer"):
            raise ApiError(500, "etcdserver: request timed out")
        return pod.manifest()

    def get(self, namespace: str, name: str) -> Pod:
        with self.lock:
            if (namespace, name) not in self.pods:
                raise ApiError(404, f'pods "{name}" not found')
            return self.pods[namespace, name]

    def listing(self, namespace: str, selector: str) -> dict[str, Any]:
        with self.lock:
            found = [p for p in self.pods.values() if p.namespace == namespace and selects(selector, p.labels)]
            return self._listed("PodList", [p.manifest() for p in found])

    def events_of(self, namespace: str, field_selector: str, after: str) -> dict[str, Any]:
        about = {"namespace": namespace, "name": field_selector.removeprefix("involvedObject.name=")}
        with self.lock:
            found = [e for e in self.events if about.items() <= e["involvedObject"].items()]
            new = [e for e in found if int(e["metadata"]["resourceVersion"]) > int(after or 0)]
            return self._listed("EventList", new)

    def _listed(self, kind: str, items: list[dict[str, Any]]) -> dict[str, Any]:
        return {"apiVersion": "v1", "kind": kind, "metadata": {"resourceVersion": str(self._version)}, "items": items}


def _check(body: dict[str, Any], namespace: str) -> None:
    """What the real server refuses in a pod, as far as a client could get it wrong."""
    meta, spec = body["metadata"], body["spec"]
    wrong = []
    if not _NAME.fullmatch(meta["name"]) or len(meta["name"]) > 63:
        wrong.append(f"metadata.name: Invalid value: {meta['name']!r}")
    if meta.get("namespace", namespace) != namespace:
        wrong.append(f"metadata.namespace: {meta['namespace']!r} is not that of the request, {namespace!r}")
    labels, annotations = (list((meta.get(kind) or {}).values()) for kind in ("labels", "annotations"))
    wrong += [f"metadata.labels: {value!r}" for value in labels if not _LABEL.fullmatch(value) or len(value) > 63]
    wrong += [f"metadata.annotations: {value!r}" for value in annotations if not isinstance(value, str)]
    for container in spec["containers"]:
        wrong += [f"env: {e!r}" for e in container.get("env") or [] if not isinstance(e.get("value", ""), str)]
        wrong += [f"args: {a!r}" for a in container.get("args") or [] if not isinstance(a, str)]
        amounts = container.get("resources") or {}
        for name, limit in (amounts.get("limits") or {}).items():
            if name.count("/") and (amounts.get("requests") or {}).get(name, limit) != limit:
                wrong.append(f"resources.requests: {name} must equal its limit")
    if wrong:
        raise ApiError(422, f"Pod {meta['name']!r} is invalid: {'; '.join(wrong)}")


def selects(selector: str, labels: dict[str, str]) -> bool:
    """Whether labels meet a selector: `a=b,c!=d,!e,f`."""
    for part in filter(None, selector.split(",")):
        if "!=" in part:
            key, value = part.split("!=")
            met = labels.get(key) != value
        elif "=" in part:
            key, value = part.split("=", 1)
            met = labels.get(key) == value
        else:
            met = (part.lstrip("!") in labels) != part.startswith("!")
        if not met:
            return False
    return True


def merged(base: Any, change: Any) -> Any:
    """A merge patch, applied: null takes away."""
    if not (isinstance(base, dict) and isinstance(change, dict)):
        return change
    kept = {k: v for k, v in base.items() if change.get(k, v) is not None}
    return kept | {k: merged(base.get(k), v) for k, v in change.items() if v is not None}


class _Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    cluster: KubernetesServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer("get")

    def do_POST(self) -> None:
        self._answer("create")

    def do_PATCH(self) -> None:
        self._answer("patch")

    def do_DELETE(self) -> None:
        self._answer("delete")

    def _answer(self, verb: str) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")
        url = urlsplit(self.path)
        query = {k: v[0] for k, v in parse_qs(url.query).items()}
        found = _PATH.fullmatch(url.path)
        resource = "unknown"
        try:
            if not found:
                raise ApiError(404, f"the server could not find the requested resource ({url.path})")
            resource = "/".join(filter(None, (found["kind"], found["sub"])))
            verb = ("watch" if query.get("watch") else "list") if verb == "get" and not found["name"] else verb
            self._admit(verb, resource, found, body)
            done = self._done(verb, resource, found, query, body)
            code = 201 if verb == "create" else 200
        except ApiError as error:
            code, status = error.code, {"apiVersion": "v1", "kind": "Status", "status": "Failure"}
            done = status | {"message": str(error), "reason": error.reason, "code": error.code}
        self.cluster.requests.append((verb, resource, code))
        self._send(code, done)

    def _admit(self, verb: str, resource: str, found: re.Match[str], body: dict[str, Any]) -> None:
        """Who may do what, and whether the server is well."""
        if self.headers.get("Authorization") != f"Bearer {self.cluster.token}":
            raise ApiError(401, "Unauthorized")
        if (resource, verb) not in ROLE or found["namespace"] not in self.cluster.namespaces:
            raise ApiError(403, f'{resource} is forbidden: the account cannot {verb} it in "{found["namespace"]}"')
        pod = self.cluster.pods.get((found["namespace"], found["name"] or ""))
        labels = pod.labels if pod else (body.get("metadata") or {}).get("labels") or {}
        if self.cluster.fault(labels, "500", verb=verb, resource=resource):
            raise ApiError(500, "etcdserver: leader changed")

    def _done(
        self, verb: str, resource: str, found: re.Match[str], query: dict[str, str], body: dict[str, Any]
    ) -> dict[str, Any] | Iterator[bytes]:
        cluster, namespace, name = self.cluster, found["namespace"], found["name"]
        if resource == "events":
            about = (namespace, query.get("fieldSelector", ""), query.get("resourceVersion", ""))
            if verb == "watch":
                return self._watched(*about, time.monotonic() + int(query.get("timeoutSeconds", 60)))
            return cluster.events_of(*about)
        if verb == "list":
            return cluster.listing(namespace, query.get("labelSelector", ""))
        if verb == "create":
            return cluster.create(namespace, body)
        pod = cluster.get(namespace, name)
        if resource == "pods/log":
            return pod.log(query)
        if verb == "delete":
            given = query.get("gracePeriodSeconds", body.get("gracePeriodSeconds"))
            pod.delete(None if given is None else int(given))
        elif verb == "patch":
            pod.patch(merged(pod.metadata, body.get("metadata") or {}))
        return pod.manifest()

    def _watched(self, namespace: str, selector: str, after: str, end: float) -> Iterator[bytes]:
        while time.monotonic() < end:
            for event in self.cluster.events_of(namespace, selector, after)["items"]:
                after = event["metadata"]["resourceVersion"]
                yield (json.dumps({"type": "ADDED", "object": event}) + "\n").encode()
            time.sleep(0.1)

    def _send(self, code: int, done: dict[str, Any] | Iterator[bytes]) -> None:
        self.send_response(code)
        if isinstance(done, dict):
            text = json.dumps(done).encode()
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)
            return
        self.send_header("Content-Type", "text/plain")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        with suppress(ConnectionError):  # a client that has seen enough
            for part in done:
                if not part:  # the connection breaks in the middle
                    return
                self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")
