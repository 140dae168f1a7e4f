"""Undo beside publishers, and undo that is killed."""

import signal
import subprocess
import sys
import threading

import completed_catalog as made
import pyarrow.compute as pc
import pytest

from attrgan.completion.publish import publish
from attrgan.completion.undo import Selection, undo
from attrgan.errors import InputError
from attrgan.lake import tables

DT = "2026-01-01"
KILLED = """
import os, pathlib, signal, sys
from attrgan.completion.undo import Selection, undo
from attrgan.lake import tables
warehouse, stage, last = sys.argv[1:]
rewrite = tables.rewrite_partition
def rewrite_and_die(warehouse, name, *args, **kwargs):
    if name == last:
        os.kill(os.getpid(), signal.SIGKILL)
    return rewrite(warehouse, name, *args, **kwargs)
tables.rewrite_partition = rewrite_and_die
undo(warehouse, Selection("mine"), pathlib.Path(stage), undo_id="undo-1")
"""


@pytest.fixture
def night(tmp_path):
    """Publishes the date: what every run fills is named after it."""

    def make(run_id, warehouse, valid=None):
        folder = tmp_path / run_id / str(len(list(tmp_path.iterdir())))
        valid = made.catalog(60) if valid is None else valid
        rows = made.completions_of(valid, {"brand": (f"of {run_id}", "filled")})
        shard = made.completed(folder / "complete", valid, completions=rows)
        return publish([shard], made.validated(folder / "validate", valid), warehouse, DT, run_id, folder)

    return make


def assert_one_state(warehouse):
    """`completed` names the newest completions, and they say of every cell what stands there."""
    commit = tables.last_commit(tables.existing(warehouse, "completed"), DT)
    newest = tables.last_commit(tables.existing(warehouse, "completions"), DT)
    assert commit["completions_version"] == (newest and newest["version"])
    rows, items = tables.read(warehouse, "completions"), tables.read(warehouse, "completed")
    filled = rows.filter(pc.and_(pc.equal(rows["attribute"], "brand"), pc.equal(rows["status"], "filled")))
    held = dict(zip(items["sku"].to_pylist(), items["brand"].to_pylist(), strict=True))
    assert [held[sku] for sku in filled["sku"].to_pylist()] == filled["value"].to_pylist()
    given = tables.read(warehouse, "products")["brand"].null_count
    assert items["brand"].null_count == given - filled.num_rows


def interfere(monkeypatch, function, act):
    """Calls `act` once, right before `completed` is committed by that function of `tables`."""
    commit, left = getattr(tables, function), [act]

    def interfered(warehouse, name, *args, **kwargs):
        if name == "completed" and left:
            left.pop()()
        return commit(warehouse, name, *args, **kwargs)

    monkeypatch.setattr(tables, function, interfered)


def test_an_undo_that_is_killed_and_run_again_leaves_what_an_undisturbed_one_does(tmp_path, night):
    disturbed, undisturbed = str(tmp_path / "disturbed"), str(tmp_path / "undisturbed")
    for place in (disturbed, undisturbed):
        night("mine", place)
    before = tables.read(disturbed, "completed")
    arguments = [sys.executable, "-c", KILLED, disturbed, str(tmp_path), "completed"]
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    assert process.wait(120) == -signal.SIGKILL, process.stderr.read()
    assert tables.read(disturbed, "completed").equals(before)
    for place in (disturbed, undisturbed):
        undo(place, Selection("mine"), tmp_path, undo_id="undo-1")
        assert_one_state(place)
    for name in ("completions", "completed"):
        ours, theirs = (tables.read(place, name) for place in (disturbed, undisturbed))
        volatile = [n for n in ours.column_names if n == "undone_at"]
        assert ours.drop_columns(volatile).equals(theirs.drop_columns(volatile))


def test_an_undo_that_a_publisher_overtakes_leaves_what_the_publisher_wrote(tmp_path, night, monkeypatch):
    warehouse = str(tmp_path / "warehouse")
    night("mine", warehouse)
    interfere(monkeypatch, "rewrite_partition", lambda: night("other", warehouse))
    with pytest.raises(InputError, match="later runs have replaced it"):
        undo(warehouse, Selection("mine"), tmp_path)
    assert_one_state(warehouse)
    assert set(tables.read(warehouse, "completions")["run_id"].to_pylist()) == {"other"}
    assert "of other" in tables.read(warehouse, "completed")["brand"].to_pylist()


def test_an_undo_between_the_commits_of_a_publisher_leaves_what_the_publisher_wrote(tmp_path, night, monkeypatch):
    warehouse = str(tmp_path / "warehouse")
    night("mine", warehouse)
    reached, go_on = threading.Event(), threading.Event()
    publisher = threading.Thread(target=night, args=("other", warehouse))

    def wait_before_completed():
        reached.set()
        assert go_on.wait(60)

    def let_the_publisher_end():
        go_on.set()
        publisher.join(60)

    interfere(monkeypatch, "replace_partition", wait_before_completed)
    interfere(monkeypatch, "rewrite_partition", let_the_publisher_end)
    publisher.start()
    assert reached.wait(60)
    with pytest.raises(InputError, match="later runs have replaced it"):
        undo(warehouse, Selection("mine"), tmp_path)
    assert_one_state(warehouse)
    assert set(tables.read(warehouse, "completions")["run_id"].to_pylist()) == {"other"}


def test_an_undo_of_the_version_takes_back_what_an_overtaking_publisher_wrote_too(tmp_path, night, monkeypatch):
    warehouse = str(tmp_path / "warehouse")
    night("mine", warehouse)
    interfere(monkeypatch, "rewrite_partition", lambda: night("other", warehouse))
    undo(warehouse, Selection(model_version="7"), tmp_path)
    assert_one_state(warehouse)
    assert tables.read(warehouse, "completed").equals(tables.read(warehouse, "products"))


def test_an_undo_that_is_overtaken_by_a_date_without_completions_leaves_none(tmp_path, night, monkeypatch):
    warehouse = str(tmp_path / "warehouse")
    night("mine", warehouse)
    whole = made.catalog(1)
    interfere(monkeypatch, "rewrite_partition", lambda: night("other", warehouse, whole))
    with pytest.raises(InputError, match="later runs have replaced it"):
        undo(warehouse, Selection("mine"), tmp_path)
    assert tables.read(warehouse, "completions").num_rows == 0
    assert tables.read(warehouse, "completed").num_rows == 1


def test_a_publisher_that_an_undo_overtakes_publishes_itself_whole(tmp_path, night, monkeypatch):
    warehouse = str(tmp_path / "warehouse")
    night("mine", warehouse)
    interfere(monkeypatch, "replace_partition", lambda: undo(warehouse, Selection("mine"), tmp_path))
    night("other", warehouse)
    assert_one_state(warehouse)
    assert set(tables.read(warehouse, "completions")["run_id"].to_pylist()) == {"other"}
