"""Credentials out of an Airflow connection reach the verb's process, and nothing else."""

import json
import os
import sys

import attrgan_s3
import attrgan_tasks
import pytest
from airflow.sdk.exceptions import AirflowFailException
from attrgan_tasks import AttrganProcessOperator

from attrgan.config import settings
from attrgan.errors import SettingsError

SAY = "import os; print([os.environ.get(n) for n in ('AWS_ACCESS_KEY_ID', 'AWS_SESSION_TOKEN', 'AWS_REGION')])"


@pytest.fixture
def connection(monkeypatch):
    """Names a connection `lake`, and makes it what it is given."""

    def made(**fields):
        for name in ("AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("ATTRGAN__S3__AIRFLOW_CONN_ID", "lake")
        monkeypatch.setenv("AWS_SESSION_TOKEN", "of-other-credentials")
        if fields:
            monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps({"conn_type": "aws", **fields}))

    return made


def test_a_local_task_runs_with_the_credentials_of_the_connection(connection, monkeypatch, caplog):
    connection(login="AKIAOFTHECONNECTION", password="its-secret", extra={"region_name": "eu-central-1"})
    monkeypatch.setattr(attrgan_tasks, "COMMAND", [sys.executable, "-c", SAY])
    said = []
    monkeypatch.setattr(attrgan_tasks, "judge", lambda code, line, skip_on: said.append(line))
    AttrganProcessOperator(task_id="validate", arguments=["validate"]).execute({})
    assert said == ["['AKIAOFTHECONNECTION', None, 'eu-central-1']"]
    assert os.environ.get("AWS_ACCESS_KEY_ID") != "AKIAOFTHECONNECTION"
    assert "its-secret" not in caplog.text


def test_a_connection_may_name_the_server(connection):
    connection(login="k", password="s", extra={"endpoint_url": "http://minio:9000", "aws_session_token": "t"})
    found = attrgan_s3.environment()
    assert found["AWS_ENDPOINT_URL_S3"] == "http://minio:9000"
    assert found["AWS_SESSION_TOKEN"] == "t"


def test_this_process_is_signed_in_only_as_long_as_it_reads(connection):
    connection(login="k", password="s")
    before = dict(os.environ)
    with attrgan_s3.signed_in():
        assert (os.environ["AWS_ACCESS_KEY_ID"], "AWS_SESSION_TOKEN" in os.environ) == ("k", False)
    assert dict(os.environ) == before


def test_a_connection_that_is_not_there_fails_without_retries(connection):
    connection()
    with pytest.raises(AirflowFailException, match=r"s3\.airflow_conn_id names lake"):
        attrgan_s3.environment()


def test_without_the_setting_the_environment_stays_as_it_is():
    assert attrgan_s3.environment() == dict(os.environ)


def test_pods_get_their_credentials_from_kubernetes_alone(connection, monkeypatch):
    connection()
    monkeypatch.setenv("ATTRGAN__RUNNER", "kubernetes")
    with pytest.raises(SettingsError, match=r"env_from_secrets.*service account"):
        settings()
