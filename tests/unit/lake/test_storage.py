"""What is written appears whole or not at all."""

import contextlib
import stat
from pathlib import Path
from uuid import uuid4

import pytest

from attrgan.lake import storage


def test_a_staged_folder_appears_when_the_block_ends_well(tmp_path):
    out = tmp_path / "a" / "out"
    with storage.staged(out) as stage:
        (stage / "sub").mkdir()
        (stage / "sub" / "x.txt").write_text("x")
        (stage / "manifest.json").write_text("{}")
        assert not out.exists()
    assert (out / "sub" / "x.txt").read_text() == "x"
    assert not list(out.parent.glob(".attrgan-*"))
    assert stat.S_IMODE((out / "manifest.json").stat().st_mode) == 0o644


def test_nothing_appears_and_nothing_changes_when_the_block_fails(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x.txt").write_text("before")
    with contextlib.suppress(RuntimeError), storage.staged(tmp_path / "out") as stage:
        (stage / "x.txt").write_text("after")
        raise RuntimeError
    assert [f.name for f in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "x.txt").read_text() == "before"


def test_the_manifest_is_moved_last(tmp_path, monkeypatch):
    moved = []
    monkeypatch.setattr(storage.os, "replace", lambda a, b: moved.append(a.name))
    with storage.staged(tmp_path / "out") as stage:
        for name in ("manifest.json", "zzz.parquet", "a.parquet"):
            (stage / name).write_text("")
    assert moved == ["a.parquet", "zzz.parquet", "manifest.json"]


def test_an_object_store_works_alike():
    out = "memory://bucket/run"
    with storage.staged(out) as stage:
        (stage / "x.txt").write_text("x")
        (stage / "manifest.json").write_text("{}")
    assert [f.rsplit("/", 1)[1] for f in storage.files(out)] == ["manifest.json", "x.txt"]
    storage.write_json("memory://bucket/y.json", {"a": "ü"})
    assert storage.read_json("memory://bucket/y.json") == {"a": "ü"}
    assert storage.local_path(out) is None


def test_hidden_files_and_those_being_written_are_no_files_of_a_place(tmp_path):
    for name in ("b", "a", ".c", "_d", "_tmp/e", ".x/f", "sub/g"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    inside = len(str(tmp_path)) + 1
    assert [f[inside:] for f in storage.files(tmp_path)] == ["a", "b", "sub/g"]
    assert storage.files(tmp_path / "nowhere") == []
    assert storage.files(tmp_path / "_d") == [str(tmp_path / "_d")], "named outright, it is the file that is meant"


def test_a_folder_whose_own_name_is_hidden_has_files(tmp_path):
    (tmp_path / "_runs").mkdir()
    (tmp_path / "_runs" / "a").write_text("")
    assert len(storage.files(tmp_path / "_runs")) == 1


def test_places_are_joined_with_one_slash():
    assert storage.join("s3://b/c/", "d", "e") == "s3://b/c/d/e"
    assert storage.join("a", "b") == "a/b"


@pytest.mark.skipif(not Path("/dev/shm").is_mount(), reason="there is no volume of its own here")
def test_a_folder_that_is_a_volume_of_its_own_can_be_written_to():
    name = f"attrgan-{uuid4()}.txt"
    try:
        with storage.staged("/dev/shm") as stage:
            (stage / name).write_text("x")
        assert (Path("/dev/shm") / name).read_text() == "x"
    finally:
        (Path("/dev/shm") / name).unlink(missing_ok=True)


def test_a_block_that_fails_leaves_no_folder_that_was_not_there(tmp_path):
    (tmp_path / "there").mkdir()
    for name in ("there", "new"):
        with pytest.raises(ValueError, match="x"), storage.staged(tmp_path / name):
            raise ValueError("x")
    assert [p.name for p in tmp_path.iterdir()] == ["there"]
