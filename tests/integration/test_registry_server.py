"""The registry against a real tracking server: the same calls, the artifacts through the server."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from attrgan import config, registry
from attrgan.schema import Schema

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def fresh_settings() -> Iterator[None]:
    """Settings are read once per process: each test reads its own."""
    config.settings.cache_clear()
    yield
    config.settings.cache_clear()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of an `mlflow server` on loopback, with its store and artifacts in a folder of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = ["--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db", "--artifacts-destination", f"{tmp_path}/server"]
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--workers",
            "1",
            *store,
        ],
        env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"},
        stdout=(tmp_path / "server.log").open("w"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(f"{address}/health", process, tmp_path / "server.log")
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def wait_for(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        try:
            with urlopen(url, timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.2)
    pytest.fail(f"mlflow server did not start: {log.read_text()[-2000:]}")


def test_a_model_goes_through_a_tracking_server_and_back(
    server: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ATTRGAN__TRACKING_URI", server)
    monkeypatch.setenv("ATTRGAN__UI_URL", f"{server}/")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    entity = Schema.load(tiny_model / "schema.yaml").entity
    assert not registry.has_alias(f"models:/attrgan-{entity}@champion")
    registered = registry.register(tiny_model, evaluation=None, run_id="run", data={"hash": "abc"})
    assert (registered["version"], registered["alias"]) == ("1", "candidate")
    with urlopen(registered["url"].partition("#")[0], timeout=30) as page:
        assert page.status == 200
    assert registered["url"].endswith(registered["mlflow_run_id"])
    assert registry.promote(entity)["changed"]
    found = registry.resolve(f"models:/attrgan-{entity}@champion")
    for name in ("model.safetensors", "config.json"):
        assert (found / name).read_bytes() == (tiny_model / name).read_bytes()
    assert list((tmp_path / "server").rglob("model.safetensors"))
    assert not (tmp_path / "var").exists()  # the path of the embedded default is not used with a server
