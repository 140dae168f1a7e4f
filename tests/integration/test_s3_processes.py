"""Writers of an object store that are killed in the middle of an upload."""

import signal
import subprocess
import sys

import pytest

from attrgan.lake import manifest, storage
from attrgan.lake.manifest import Result, step

WRITER = """
import itertools, os, signal, sys
from attrgan.lake import s3_files
from attrgan.lake.manifest import Result, step
out, request, number = sys.argv[1:]
s3_files.PART = 5 << 20
sent, call = itertools.count(1), s3_files.Files._call_s3
async def dies(self, method, *args, **kwargs):
    if method == request and next(sent) == int(number):
        os.kill(os.getpid(), signal.SIGKILL)
    return await call(self, method, *args, **kwargs)
s3_files.Files._call_s3 = dies
"""
WORK = """
def work(stage):
    (stage / "a.txt").write_text("new")
    (stage / "b.bin").write_bytes(bytes(range(256)) * (12 << 12))
    (stage / "c.txt").write_text("new")
    return Result({"rows": 1})
"""


@pytest.fixture
def work():
    made = {"Result": Result}
    exec(WORK, made)
    return made["work"]


@pytest.mark.parametrize(
    ("request_", "number"),
    [("upload_part", 2), ("put_object", 2), ("put_object", 3)],
    ids=["between two parts of a file", "between two files", "before the manifest"],
)
def test_a_writer_killed_in_the_middle_leaves_no_manifest_and_a_second_run_the_whole(bucket, work, request_, number):
    out, undisturbed = f"{bucket}/out", f"{bucket}/undisturbed"
    step("test", out, lambda stage: Result({"rows": (stage / "a.txt").write_text("old")}), inputs={}, run_id="before")
    code = WRITER + WORK + "step('test', out, work, inputs={}, run_id='r')"
    killed = subprocess.run([sys.executable, "-c", code, out, request_, str(number)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert manifest.read(out) is None
    for place in (out, undisturbed):
        step("test", place, work, inputs={}, run_id="r")
    for name in ("a.txt", "b.bin", "c.txt"):
        assert storage.read_bytes(f"{out}/{name}") == storage.read_bytes(f"{undisturbed}/{name}")
    timed = ("finished_at", "seconds")
    left, right = ({k: v for k, v in manifest.read(p).items() if k not in timed} for p in (out, undisturbed))
    assert left == right
