"""Every place a verb reads or writes may be in an object store, by the settings alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from attrgan.lake import landing, manifest, s3, s3_files, storage

SMALLEST = Path(__file__).parents[2] / "examples" / "smallest"
DT = "2017-03-01"


def put(place, content):
    storage.write_text(place, content if isinstance(content, str) else content.decode())


@pytest.fixture
def calls(monkeypatch):
    """The requests that the file system sends, by name."""
    sent = []
    call = s3_files.Files._call_s3

    async def counted(self, method, *args, **kwargs):
        sent.append(method)
        return await call(self, method, *args, **kwargs)

    monkeypatch.setattr(s3_files.Files, "_call_s3", counted)
    return sent


def test_a_folder_is_hashed_by_its_listing_not_file_by_file(bucket, calls):
    import boto3

    client = boto3.client("s3", endpoint_url=s3.endpoint(), region_name="us-east-1")
    for n in range(200):
        client.put_object(Bucket=bucket[5:], Key=f"landing/dt={DT}/{n:04d}.jsonl", Body=b"{}")
    assert len(landing.files_of(f"{bucket}/landing", DT)) == 200
    assert len(manifest.content_hash(f"{bucket}/landing")) == 16
    assert calls == ["list_objects_v2"] * 2


def test_what_another_has_written_since_is_seen(bucket):
    assert storage.files(f"{bucket}/runs") == []
    code = "import sys; from attrgan.lake import storage; storage.write_text(sys.argv[1], 'x')"
    subprocess.run([sys.executable, "-c", code, f"{bucket}/runs/a.txt"], check=True)
    assert storage.exists(f"{bucket}/runs/a.txt")
    assert storage.files(f"{bucket}/runs") == [f"{bucket[5:]}/runs/a.txt"]


def test_the_hash_of_a_place_follows_its_content(bucket):
    place = f"{bucket}/in"
    put(f"{place}/a.csv", "a\n1\n")
    first = manifest.content_hash(place)
    put(f"{place}/a.csv", "a\n2\n")
    second = manifest.content_hash(place)
    put(f"{place}/a.csv", "a\n1\n")
    assert first != second
    assert manifest.content_hash(place) == first


def test_folders_that_a_console_made_are_no_files(bucket):
    import boto3

    client = boto3.client("s3", endpoint_url=s3.endpoint(), region_name="us-east-1")
    client.put_object(Bucket=bucket[5:], Key=f"landing/dt={DT}/", Body=b"")
    assert landing.files_of(f"{bucket}/landing", DT) == []
    assert landing.partitions(f"{bucket}/landing") == []


def test_a_file_in_many_parts_comes_back_as_it_was(bucket, tmp_path, calls):
    content = os.urandom(40 << 20)
    with storage.staged(f"{bucket}/out") as stage:
        (stage / "large.bin").write_bytes(content)
    assert calls.count("upload_part") == 3
    storage.fetch(f"{bucket}/out", tmp_path / "back")
    assert (tmp_path / "back" / "large.bin").read_bytes() == content


def test_an_old_manifest_goes_before_new_outputs_come(bucket, monkeypatch):
    out = f"{bucket}/out"
    for name, text in (("a.txt", "old"), ("manifest.json", "{}")):
        put(f"{out}/{name}", text)

    def fails(self, file, path, size):
        raise RuntimeError("the process ends here")

    def write():
        with storage.staged(out) as stage:
            (stage / "a.txt").write_text("new")
            (stage / "manifest.json").write_text("{}")

    monkeypatch.setattr(s3_files.Files, "upload", fails)
    with pytest.raises(RuntimeError):
        write()
    assert manifest.read(out) is None


@pytest.mark.slow
def test_every_verb_reads_and_writes_places_in_an_object_store(bucket, attrgan, monkeypatch, tmp_path):
    monkeypatch.setenv("ATTRGAN__TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("ATTRGAN__ARTIFACT_ROOT", f"{bucket}/artifacts")
    monkeypatch.setenv("ATTRGAN__CATALOG_SCHEMA", f"{bucket}/schema.yaml")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("landing", "warehouse", "runs"):
        monkeypatch.setenv(f"ATTRGAN__{name.upper()}", f"{bucket}/{name}")

    def run(*words, code=0):
        done = attrgan(*words)
        assert done[0] == code, (words, done)
        return done[1]

    put(f"{bucket}/landing/dt={DT}/catalog.csv", (SMALLEST / "catalog.csv").read_bytes())
    put(f"{bucket}/schema.yaml", (SMALLEST / "schema.yaml").read_bytes())
    schema, runs, warehouse = f"{bucket}/schema.yaml", f"{bucket}/runs", f"{bucket}/warehouse"
    validated, completed, model = f"{runs}/validate", f"{runs}/complete/0-of-1", f"{runs}/train"
    valid, cache = f"{validated}/valid.parquet", f"{warehouse}/features"

    assert "catalog.csv" in run("landing", "--dt", DT)
    run("landing", "--dt", "2017-03-02", code=3)
    run("infer-schema", f"{bucket}/landing/dt={DT}/catalog.csv", "-o", f"{bucket}/guess/schema.yaml")
    assert storage.exists(f"{bucket}/guess/schema.yaml")
    night = ["--run-id", "night"]
    run(
        "validate",
        f"{bucket}/landing",
        "--schema",
        schema,
        "--dt",
        DT,
        "--warehouse",
        warehouse,
        "-o",
        validated,
        *night,
    )
    again = run("validate", f"{bucket}/landing", "--schema", schema, "--dt", DT, "--warehouse", warehouse,
                "-o", validated, *night)  # fmt: skip
    assert "nothing to do" in again
    run("features", valid, "--schema", schema, "-o", cache)
    train = ("train", valid, "--schema", schema, "--features", cache, "--epochs", 1, "--seed", 1, "-o", model)
    assert "colour" in run(*train)
    run("features", valid, "--schema", schema, "-o", cache, "--model", model, "--vectors", f"{runs}/vectors.parquet")
    assert "colour" in run("evaluate", valid, "--model", model, "--features", cache, "-o", f"{runs}/evaluate")
    run("drift", valid, "--model", model, "--features", cache, "-o", f"{runs}/drift")
    assert json.loads(run("shards", validated)) == ["0/1"]
    run("register", model, "--evaluation", f"{runs}/evaluate", "-o", f"{runs}/register")
    run("compare", "models:/attrgan-product@candidate", valid, "-o", f"{runs}/compare")
    run("promote", "--comparison", f"{runs}/compare")
    champion = "models:/attrgan-product@champion"
    run(
        "complete", valid, "--model", champion, "--features", cache, "--drift", f"{runs}/drift", "-o", completed, *night
    )
    run("audit", completed, "--validation", validated, "-o", f"{runs}/audit", *night)
    run("publish", completed, "--validation", validated, "--warehouse", warehouse, "--dt", DT, "-o", f"{runs}/publish",
        *night)  # fmt: skip
    run("report", validated, f"{runs}/drift", completed, f"{runs}/audit", "-o", f"{runs}/report/report.html")
    run("review", "export", "--warehouse", warehouse, "-o", f"{bucket}/review.csv")
    run("review", "import", f"{bucket}/review.csv", "--warehouse", warehouse)
    run("review", "stats", "--warehouse", warehouse)
    run("undo", "--warehouse", warehouse, *night, "-o", f"{runs}/undo")
    run("vacuum", "--warehouse", warehouse)
    run("doctor", "--json")
    written = {f.removeprefix(f"{bucket[5:]}/") for f in storage.files(bucket)}
    made = (
        "validate",
        "train",
        "evaluate",
        "drift",
        "register",
        "compare",
        "complete/0-of-1",
        "audit",
        "publish",
        "undo",
    )
    assert {f"runs/{name}/manifest.json" for name in made} <= written
    assert {"runs/report/report.html", "runs/vectors.parquet", "review.csv"} <= written
    assert any(f.startswith("artifacts/attrgan-product/") and f.endswith("model.safetensors") for f in written)
    assert not list(tmp_path.glob("s3:*"))
