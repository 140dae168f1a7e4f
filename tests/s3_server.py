"""An S3 server on loopback for tests: moto's, and in front of it, where a test asks for them, faults.

Both are processes of their own: `DeltaTable.history` waits for an answer with Python's lock held. Run as a script, this
is the proxy: `s3_server.py URL EVERY KIND…` prints its URL and passes requests on to URL, but every EVERY-th request
meets the next of the KINDs. `GET /-/met` says how often each was met, and whose requests they were.
"""

import itertools
import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import ClassVar
from urllib.parse import urlsplit
from urllib.request import urlopen

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}
KINDS = ("busy", "error", "broken", "lost", "stalled")
"""503 SlowDown · 500 · reset in the middle of a body · done, but reset before the answer · no answer at all.

`denied` is 403; `commit` is `lost`, and only commits of tables are counted."""


def environment(url: str) -> dict[str, str]:
    """The variables of a process that works on the server by its settings alone."""
    return CREDENTIALS | {"ATTRGAN__S3__ENDPOINT_URL": url, "ATTRGAN__S3__REGION": "us-east-1"}


@contextmanager
def running():
    """Yields the URL of moto's server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert server.poll() is None
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)


class Bucket:
    """A bucket of a server, for tests whose own process knows nothing of it."""

    def __init__(self, url, name):
        import boto3

        keys = {name.lower(): CREDENTIALS[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
        server = boto3.resource("s3", endpoint_url=url, region_name="us-east-1", **keys)
        self.objects = server.create_bucket(Bucket=name)
        self.url = f"s3://{name}"

    def upload(self, file, key):
        self.objects.upload_file(str(file), key)

    def download(self, folder):
        """Copies all objects below a folder."""
        for found in self.objects.objects.all():
            target = folder / found.key
            target.parent.mkdir(parents=True, exist_ok=True)
            self.objects.download_file(found.key, str(target))


@contextmanager
def with_faults(url: str, every: int, *kinds: str):
    """Yields the URL of a proxy in front of a server."""
    command = [sys.executable, __file__, url, str(every), *kinds]
    proxy = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield proxy.stdout.readline().strip()
    finally:
        proxy.kill()
        proxy.wait(30)
        proxy.stdout.close()


def met(url: str) -> dict[str, int]:
    """How often each kind was met; `key <access key>` and `token <session token>`: requests that carried them."""
    with urlopen(f"{url}/-/met") as answer:
        return json.load(answer)


# --- the proxy -----------------------------------------------------------------------------------------------------

_ERRORS = {"busy": (503, "SlowDown"), "error": (500, "InternalError"), "denied": (403, "InvalidAccessKeyId")}


class Proxy(BaseHTTPRequestHandler):
    """Passes a request on, or lets it meet a fault."""

    protocol_version = "HTTP/1.1"
    upstream = ""
    every = 1
    commits = False
    kinds = itertools.cycle(KINDS)
    seen = itertools.count(1)
    met: ClassVar[Counter] = Counter()
    lock = Lock()

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except (ConnectionError, BrokenPipeError):
            self.close_connection = True

    def do_GET(self):
        if self.path == "/-/met":
            return self.answer(200, json.dumps(self.met).encode())
        body = self.body()
        with self.lock:
            counts = not self.commits or (self.command == "PUT" and "/_delta_log/" in self.path)
            kind = next(self.kinds) if counts and next(self.seen) % self.every == 0 else None
            if kind == "broken" and self.command != "GET":  # there is no body to break off
                kind = "lost"
            self.met.update([kind] if kind else [])
            key = self.headers.get("Authorization", "").partition("Credential=")[2].partition("/")[0]
            token = self.headers.get("x-amz-security-token")
            self.met.update([f"key {key}", f"token {token}"] if token else [f"key {key}"])
        if kind in _ERRORS:
            status, code = _ERRORS[kind]
            text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>as asked</Message></Error>"
            return self.answer(status, b"" if self.command == "HEAD" else text.encode())
        if kind == "stalled":
            self.rfile.read(1)  # until the client has had enough
            return self.reset()
        upstream = HTTPConnection(self.upstream, timeout=60)
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in ("transfer-encoding", "content-length", "expect", "connection"):
                upstream.putheader(name, value)
        upstream.putheader("Content-Length", str(len(body)))
        upstream.endheaders(body)
        found = upstream.getresponse()
        content = found.read()
        headers = [(n, v) for n, v in found.getheaders() if n.lower() not in ("connection", "transfer-encoding")]
        upstream.close()
        if kind in ("lost", "commit"):
            return self.reset()
        return self.answer(found.status, content, headers, broken=kind == "broken")

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815

    def body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def answer(self, status, content, headers=(), broken=False):
        self.send_response_only(status)
        given = {name.lower() for name, _ in headers}
        for name, value in headers:
            self.send_header(name, value)
        if "content-length" not in given:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if broken else content)
        self.wfile.flush()
        if broken:
            self.reset()

    def reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        os.close(self.connection.detach())

    def finish(self):
        if self.connection.fileno() >= 0:
            super().finish()

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    Proxy.upstream = urlsplit(sys.argv[1]).netloc
    Proxy.every, Proxy.kinds = int(sys.argv[2]), itertools.cycle(sys.argv[3:] or KINDS)
    Proxy.commits = "commit" in sys.argv
    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()
