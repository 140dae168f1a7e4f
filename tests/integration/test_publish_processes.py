"""Publishing from several processes, and from processes that are killed."""

import signal
import subprocess
import sys

import completed_catalog as made
import pytest

from attrgan.completion.publish import publish
from attrgan.lake import tables

DT = "2026-01-01"
PUBLISHER = """
import pathlib, sys, time
from attrgan.completion.publish import publish
shard, validation, warehouse, run_id, stage, start = sys.argv[1:]
print("ready", flush=True)
while not pathlib.Path(start).exists():
    time.sleep(0.005)
publish([shard], validation, warehouse, "2026-01-01", run_id, pathlib.Path(stage))
"""
KILLED = """
import os, pathlib, signal, sys
from attrgan.completion import publish as module
from attrgan.lake import tables
shard, validation, warehouse, run_id, stage, last = sys.argv[1:]
replace = tables.replace_partition
def replace_and_die(warehouse, name, *args, **kwargs):
    if name == last:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(warehouse, name, *args, **kwargs)
tables.replace_partition = replace_and_die
module.publish([shard], validation, warehouse, "2026-01-01", run_id, pathlib.Path(stage))
"""


@pytest.fixture
def outputs(tmp_path):
    """Run → (shard, validation) of runs that differ in what they fill, in their rows and in their quarantine."""

    def make(run):
        folder = tmp_path / run
        valid = made.catalog(300 + len(run))
        answers = {"brand": (f"of {run}", "filled")}
        shard = made.completed(folder / "complete", valid, completions=made.completions_of(valid, answers))
        return shard, made.validated(folder / "validate", valid, made.quarantined(len(run)))

    return make


def run(code, arguments, **options):
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], text=True, **options)


def assert_whole(warehouse, run_id):
    """All four tables are of one run, and `completed` carries the versions of the others."""
    commit = tables.last_commit(tables.open_table(warehouse, "completed"), DT)
    assert commit["run_id"] == run_id
    for name in ("products", "quarantine", "completions"):
        assert tables.last_commit(tables.open_table(warehouse, name), DT)["run_id"] == run_id
        assert commit[f"{name}_version"] == tables.version(warehouse, name)
    rows = 300 + len(run_id)
    assert tables.read(warehouse, "products").num_rows == tables.read(warehouse, "completed").num_rows == rows
    assert tables.read(warehouse, "quarantine").num_rows == len(run_id)
    filled = set(tables.read(warehouse, "completed")["brand"].to_pylist()) & {"of a", "of bb", "of ccc"}
    assert filled == {f"of {run_id}"}
    assert set(tables.read(warehouse, "completions")["run_id"].to_pylist()) == {run_id}


@pytest.fixture(params=["disk", "object store"])
def warehouse(request, tmp_path):
    return str(tmp_path / "warehouse") if request.param == "disk" else request.getfixturevalue("bucket") + "/warehouse"


@pytest.mark.parametrize("begun", [False, True], ids=["no table yet", "tables are there"])
def test_publishers_at_once_leave_the_result_of_one_of_them(tmp_path, warehouse, outputs, begun):
    start = tmp_path / "start"
    made_by = {name: outputs(name) for name in ("a", "bb", "ccc")}
    if begun:
        (tmp_path / "stage").mkdir()
        publish([made_by["a"][0]], made_by["a"][1], warehouse, DT, "a", tmp_path / "stage")
    publishers = []
    for name, (shard, validation) in made_by.items():
        stage = tmp_path / f"stage {name}"
        stage.mkdir()
        publishers.append(run(PUBLISHER, [shard, validation, warehouse, name, stage, start], stdout=subprocess.PIPE))
    assert [p.stdout.readline() for p in publishers] == ["ready\n"] * 3
    start.touch()
    assert [p.wait(120) for p in publishers] == [0, 0, 0]
    assert_whole(warehouse, tables.last_commit(tables.open_table(warehouse, "completed"), DT)["run_id"])


@pytest.mark.parametrize("killed_before", ["quarantine", "completions", "completed"])
def test_a_publisher_that_is_killed_and_run_again_leaves_what_an_undisturbed_one_does(tmp_path, outputs, killed_before):
    before, after = outputs("a"), outputs("bb")
    disturbed, undisturbed = str(tmp_path / "disturbed"), str(tmp_path / "undisturbed")
    for place in (disturbed, undisturbed):
        publish([before[0]], before[1], place, DT, "a", tmp_path)
    old = tables.read(disturbed, "completed")

    process = run(KILLED, [*after, disturbed, "bb", tmp_path, killed_before], stderr=subprocess.PIPE)
    assert process.wait(120) == -signal.SIGKILL, process.stderr.read()
    assert tables.read(disturbed, "completed").equals(old)
    carried = tables.last_commit(tables.open_table(disturbed, "completed"), DT)["completions_version"]
    seen = tables.read(disturbed, "completions", version=carried)
    assert set(seen["run_id"].to_pylist()) == {"a"}

    for place in (disturbed, undisturbed):
        publish([after[0]], after[1], place, DT, "bb", tmp_path)
        assert_whole(place, "bb")
    for name in ("products", "quarantine", "completions", "completed"):
        assert tables.read(disturbed, name).equals(tables.read(undisturbed, name))
