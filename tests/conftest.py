"""Real models for every test that needs one, trained once per session."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import s3_server

os.environ.setdefault("OMP_NUM_THREADS", "1")  # with more, what shares a batch with an item moves its last bits
SMALLEST = Path(__file__).parent.parent / "examples" / "smallest"


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of the smallest example: two epochs, so it knows little, but it is a real one."""
    from attrgan import api

    folder = tmp_path_factory.mktemp("models") / "tiny"
    catalog, schema = str(SMALLEST / "catalog.csv"), str(SMALLEST / "schema.yaml")
    api.train(catalog, schema, str(folder), seed=1, epochs=2, say=lambda _: None)
    return folder


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    """An S3 server on loopback, for the whole session."""
    with s3_server.running() as url:
        yield url


@pytest.fixture
def bucket(s3_url: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A bucket of this test's own, `s3://…`, and the settings that lead to its server."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ALLOW_HTTP"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_RETRY_MODE", "AWS_MAX_ATTEMPTS"):  # go again after the test
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    for name, value in s3_server.environment(s3_url).items():
        monkeypatch.setenv(name, value)
    name = "".join(c if c.isalnum() else "-" for c in request.node.name.lower())[:50].strip("-")
    name = f"{name}-{abs(hash(request.node.nodeid)) % 10**8}"
    return s3_server.Bucket(s3_url, name).url


@pytest.fixture(autouse=True)
def fresh_settings() -> object:
    """Settings are read once per process; a test that sets variables gets its own."""
    from attrgan.config import settings

    settings.cache_clear()
    yield
    settings.cache_clear()
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):  # set by MLflow
        os.environ.pop(name, None)


@pytest.fixture(autouse=True)
def fresh_log() -> object:
    """A command sets the log of its process up; a test that ran one leaves it as it was."""
    from attrgan import logs

    yield
    root = logging.getLogger()
    root.handlers[:] = [h for h in root.handlers if not isinstance(h, logs.ToStandardError)]
    logging.getLogger("attrgan").setLevel(logging.NOTSET)
    logging.captureWarnings(False)
    logs.forget()


@pytest.fixture
def attrgan(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """Runs a command line in this process, in a folder of its own; returns exit code, standard output and error."""
    from attrgan import cli

    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["attrgan", *map(str, words)])
        capsys.readouterr()
        code = cli.run()
        said = capsys.readouterr()
        return code, said.out, said.err

    return run
