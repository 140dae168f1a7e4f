"""A step is done once for a run and what it reads; its manifest is the proof."""

import json

import pytest

from attrgan.errors import GateError
from attrgan.lake import manifest
from attrgan.lake.manifest import Result, content_hash, step


@pytest.fixture
def work():
    """Work that counts how often it was done."""

    def do(stage):
        do.times += 1
        (stage / "x.txt").write_text("x")
        return Result({"rows": 3}, {"model_version": "m"})

    do.times = 0
    return do


@pytest.fixture
def read(tmp_path):
    (tmp_path / "in.txt").write_text("1")
    return {"catalog": tmp_path / "in.txt"}


def test_a_manifest_says_what_was_read_done_and_written(tmp_path, work, read):
    done = step("complete", tmp_path / "out", work, inputs=read, arguments={"a": 1}, run_id="r1")
    assert json.loads((tmp_path / "out" / "manifest.json").read_text()) == done
    assert (done["verb"], done["status"], done["run_id"], done["counts"]) == ("complete", "finished", "r1", {"rows": 3})
    assert done["model_version"] == "m"
    assert done["outputs"] == ["x.txt"]
    assert done["inputs"]["catalog"]["hash"] == content_hash(tmp_path / "in.txt")


def test_a_finished_step_of_the_same_run_is_not_repeated(tmp_path, work, read):
    step("v", tmp_path / "out", work, inputs=read, run_id="r1")
    assert step("v", tmp_path / "out", work, inputs=read, run_id="r1")["skipped"]
    assert work.times == 1


@pytest.mark.parametrize("change", ["run", "verb", "arguments", "input"])
def test_whatever_decides_the_result_makes_it_another_step(tmp_path, work, read, change):
    step("v", tmp_path / "out", work, inputs=read, arguments={"a": 1}, run_id="r1")
    if change == "input":
        (tmp_path / "in.txt").write_text("2")
    arguments = {"a": 2} if change == "arguments" else {"a": 1}
    verb, run = "w" if change == "verb" else "v", "r2" if change == "run" else "r1"
    assert "skipped" not in step(verb, tmp_path / "out", work, inputs=read, arguments=arguments, run_id=run)
    assert work.times == 2


@pytest.mark.parametrize(("verb", "left"), [("v", ["kept.txt"]), ("w", ["kept.txt", "x.txt"])])
def test_a_step_replaces_all_that_the_verb_left_there_and_nothing_else(tmp_path, work, read, verb, left):
    out = tmp_path / "out"
    step("v", out, work, inputs=read, run_id="r1")
    (out / "kept.txt").write_text("somebody else's")

    def another(stage):
        (stage / "y.txt").write_text("y")
        return Result({})

    step(verb, out, another, inputs=read)
    assert sorted(f.name for f in out.iterdir()) == sorted([*left, "manifest.json", "y.txt"])


def test_an_earlier_manifest_names_nothing_outside_its_folder(tmp_path, work, read):
    out = tmp_path / "out"
    step("v", out, work, inputs=read, run_id="r1")
    before = manifest.read(out) | {"outputs": ["../in.txt", "a/../../in.txt", str(tmp_path / "in.txt"), "gone.txt"]}
    (out / "manifest.json").write_text(json.dumps(before))
    step("v", out, work, inputs=read, run_id="r2")
    assert (tmp_path / "in.txt").exists()


def test_without_a_run_id_every_step_is_a_run_of_its_own(tmp_path, work, read):
    first = step("v", tmp_path / "out", work, inputs=read)
    second = step("v", tmp_path / "out", work, inputs=read)
    assert first["run_id"] != second["run_id"]
    assert work.times == 2


def test_a_gate_that_says_no_leaves_its_outputs_and_is_asked_again(tmp_path, read):
    def refuse(stage):
        (stage / "x.txt").write_text("x")
        return Result(refused="too few rows")

    for _ in range(2):
        with pytest.raises(GateError, match="too few rows"):
            step("validate", tmp_path / "out", refuse, inputs=read, run_id="r1")
    assert (tmp_path / "out" / "x.txt").is_file()
    assert manifest.read(tmp_path / "out")["status"] == "refused"


def test_a_step_that_fails_leaves_no_manifest(tmp_path, read):
    def fail(stage):
        (stage / "x.txt").write_text("x")
        raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        step("v", tmp_path / "out", fail, inputs=read, run_id="r1")
    assert manifest.read(tmp_path / "out") is None
    assert not (tmp_path / "out").exists()


def test_the_hash_of_a_folder_is_of_its_names_and_bytes_wherever_it_stands(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / "x").write_text("1")
    assert content_hash(tmp_path / "a") == content_hash(f"{tmp_path}/b/")
    (tmp_path / "b" / "sub" / "x").rename(tmp_path / "b" / "sub" / "y")
    assert content_hash(tmp_path / "a") != content_hash(tmp_path / "b")
