"""Object stores that are busy, break off, answer nothing or say no: survived, or said in one sentence."""

import os
from pathlib import Path

import completed_catalog as made
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import s3_server

from attrgan.completion.publish import publish
from attrgan.config import settings
from attrgan.lake import s3, storage, tables

DT = "2017-03-01"
NEVER = 10**9
SMALLEST = Path(__file__).parents[2] / "examples" / "smallest"


@pytest.fixture
def through(monkeypatch, s3_url):
    """Leads this process to another URL, by the settings."""

    def lead(url, **others):
        for name, value in {"ENDPOINT_URL": url, **others}.items():
            monkeypatch.setenv(f"ATTRGAN__S3__{name}", str(value))
        settings.cache_clear()

    return lead


def read(place):
    with storage.filesystem(place)[0].open(place) as file:
        return pq.read_table(file).drop_columns(["completed_at"] if "completions" in place else [])


@pytest.mark.slow
def test_a_night_with_faults_leaves_what_an_undisturbed_one_does(bucket, s3_url, attrgan, tiny_model, through):
    catalog, schema = SMALLEST / "catalog.csv", SMALLEST / "schema.yaml"

    def night(place):
        validated, completed = f"{place}/validate", f"{place}/complete"
        valid, cache = f"{validated}/valid.parquet", f"{place}/features"
        for words in (
            ("validate", catalog, "--schema", schema, "--warehouse", f"{place}/warehouse", "-o", validated),
            ("features", valid, "--schema", schema, "-o", cache),
            ("complete", valid, "--model", tiny_model, "--features", cache, "-o", completed),
            ("publish", completed, "--validation", validated, "--warehouse", f"{place}/warehouse", "--dt", DT),
        ):
            code, _, said = attrgan(*words, "--run-id", "night")
            assert code == 0, said

    night(f"{bucket}/calm")
    with s3_server.with_faults(s3_url, 6) as url:
        through(url, TIMEOUT_SECONDS=2)
        night(f"{bucket}/rough")
        met = s3_server.met(url)
    through(s3_url)
    assert {kind for kind in s3_server.KINDS if met.get(kind)} == set(s3_server.KINDS), met
    for name in ("validate/valid.parquet", "complete/completed.parquet", "complete/completions.parquet"):
        assert read(f"{bucket}/rough/{name}").equals(read(f"{bucket}/calm/{name}")), name
    for name in ("products", "completions", "completed"):
        calm, rough = (tables.read(f"{bucket}/{night}/warehouse", name) for night in ("calm", "rough"))
        left = [c for c in ("completed_at",) if c in calm.column_names]
        assert rough.drop_columns(left).equals(calm.drop_columns(left)), name


def test_a_commit_whose_answer_was_lost_is_not_made_twice(bucket, s3_url, through, tmp_path):
    valid = made.catalog()
    shard, validation = made.completed(tmp_path / "complete", valid), made.validated(tmp_path / "validate", valid)
    with s3_server.with_faults(s3_url, 2, "commit") as url:  # the sixth commit is that of `completed`
        through(url)
        publish([shard], validation, f"{bucket}/warehouse", DT, "r", tmp_path)
        assert s3_server.met(url)["commit"] == 3
    through(s3_url)
    commits = tables.open_table(f"{bucket}/warehouse", "completed").history()
    assert [c.get("run_id") for c in commits] == ["r", None]
    again = publish([shard], validation, f"{bucket}/warehouse", DT, "r", tmp_path)
    assert again.details["unchanged"]
    assert tables.read(f"{bucket}/warehouse", "completed").num_rows == valid.num_rows


@pytest.mark.parametrize("verb", ["landing", "undo"], ids=["files", "tables"])
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("bucket", "there is no bucket"),
        ("unreachable", "cannot be reached"),
        ("denied", "the access key is not known"),
        ("credentials", "no credentials"),
    ],
)
def test_what_settings_must_mend_is_said_in_one_sentence(
    bucket, s3_url, attrgan, through, monkeypatch, verb, fault, said
):
    place = "s3://no-such-bucket/lake" if fault == "bucket" else f"{bucket}/lake"
    words = ("landing", place, "--dt", DT) if verb == "landing" else ("undo", "--warehouse", place, "--run-id", "r")
    if fault == "credentials":
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
        through(s3_url.replace("127.0.0.1", "localhost"))  # no client of before, which has credentials
        done = attrgan(*words)
    elif fault == "denied":
        with s3_server.with_faults(s3_url, 1, "denied") as url:
            through(url)
            done = attrgan(*words)
    else:
        through("http://127.0.0.1:9" if fault == "unreachable" else s3_url, ATTEMPTS=2)
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
        done = attrgan(*words)
    assert done[0] == 2
    assert said in done[2]
    assert len(done[2].strip().splitlines()) == 1


def test_a_store_that_stays_busy_is_worth_another_run(bucket, s3_url, attrgan, through, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    with s3_server.with_faults(s3_url, 1, "busy") as url:
        through(url, ATTEMPTS=2)
        code, _, said = attrgan("landing", f"{bucket}/landing", "--dt", DT)
        assert s3_server.met(url)["busy"] >= 2
    assert code == 1
    assert "did not answer in 2 attempts" in said
    assert "a fault of ours" not in said


def use(bucket):
    storage.write_text(f"{bucket}/a.txt", "a")
    tables.replace_partition(f"{bucket}/warehouse", "products", pa.table({"id": ["a"]}), DT, {})


def test_session_tokens_of_the_environment_go_with_every_request(bucket, s3_url, through, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ASIATEMPORARY")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-token")
    with s3_server.with_faults(s3_url, NEVER) as url:
        through(url)
        use(bucket)
        met = s3_server.met(url)
    assert set(met) == {"key ASIATEMPORARY", "token a-token"}
    assert met["key ASIATEMPORARY"] == met["token a-token"] > 3


def test_a_profile_is_found_by_both_clients(bucket, s3_url, through, monkeypatch, tmp_path):
    file = tmp_path / "credentials"
    file.write_text("[lake]\naws_access_key_id = AKIAOFTHEPROFILE\naws_secret_access_key = secret\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_PROFILE", "lake")
    with s3_server.with_faults(s3_url, NEVER) as url:
        through(url)
        use(bucket)
        met = s3_server.met(url)
    assert set(met) == {"key AKIAOFTHEPROFILE"}


def test_no_credential_stands_among_the_settings_or_storage_options(bucket, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    assert "very-secret" not in str(s3.table_options())
    assert "very-secret" not in settings().model_dump_json()
