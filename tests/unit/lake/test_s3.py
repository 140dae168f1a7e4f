"""How settings reach the clients of an object store, and what its failures mean."""

import os

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from attrgan.lake import s3

VARIABLES = (
    "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_RETRY_MODE", "AWS_MAX_ATTEMPTS",
)  # fmt: skip


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in VARIABLES:  # set first, so that what the settings make of them goes again
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def answered(code):
    return ClientError({"Error": {"Code": code, "Message": "as asked"}}, "GetObject")


def test_settings_become_what_every_client_reads_and_override_it(monkeypatch):
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("ATTRGAN__S3__ENDPOINT_URL", "https://minio:9000")
    monkeypatch.setenv("ATTRGAN__S3__REGION", "eu-central-1")
    monkeypatch.setenv("ATTRGAN__S3__ATTEMPTS", "9")
    s3.prepare()
    found = [os.environ[name] for name in VARIABLES[1:]]
    assert found == ["https://minio:9000", "eu-central-1", "eu-central-1", "standard", "9"]


def test_without_settings_the_environment_stays_and_tables_follow_it(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://minio:9000")
    options = s3.table_options()
    assert "AWS_ENDPOINT_URL_S3" not in os.environ
    assert (options["AWS_ENDPOINT_URL"], options["AWS_ALLOW_HTTP"]) == ("http://minio:9000", "true")


@pytest.mark.parametrize(("url", "allowed"), [("https://minio:9000", "false"), (None, None)])
def test_plain_http_is_allowed_only_where_the_endpoint_says_so(monkeypatch, url, allowed):
    if url:
        monkeypatch.setenv("ATTRGAN__S3__ENDPOINT_URL", url)
    assert s3.table_options().get("AWS_ALLOW_HTTP") == allowed


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (answered("AccessDenied"), 2, "access is denied at s3://lake"),
        (answered("SignatureDoesNotMatch"), 2, "secret key"),
        (answered("NoSuchBucket"), 2, "no bucket"),
        (answered("PermanentRedirect"), 2, "another region"),
        (answered("ExpiredToken"), 1, "expired"),
        (answered("SlowDown"), 1, "run it again"),
        (NoCredentialsError(), 2, "no credentials"),
        (EndpointConnectionError(endpoint_url="http://x", error=None), 2, "cannot be reached"),
        (EndpointConnectionError(endpoint_url="http://x", error=ConnectionResetError()), 1, "run it again"),
        (OSError("Generic S3 error\n Error performing GET http://x in 1s - HTTP error\n reset"), 1, "run it again"),
    ],
)
def test_a_failure_is_one_sentence_and_an_exit_code(error, code, said):
    told = s3.explained(error, "lake")
    assert told.exit_code == code
    assert said in str(told)
    assert "\n" not in str(told)


@pytest.mark.parametrize("error", [OSError("disk full"), PermissionError(13, "no"), ValueError("x"), answered("Other")])
def test_what_is_about_something_else_is_not_explained(error):
    assert s3.explained(error) is None


def test_the_password_of_an_endpoint_is_not_shown(monkeypatch):
    monkeypatch.setenv("ATTRGAN__S3__ENDPOINT_URL", "https://user:secret@minio:9000")
    assert "secret" not in str(s3.explained(answered("AccessDenied"), "lake"))
