"""`attrgan undo` and `attrgan vacuum` by the real command line."""

import json

import completed_catalog as made
import pyarrow.parquet as pq
import pytest

from attrgan.lake import tables

DT = "2026-01-01"


@pytest.fixture
def attrgan(attrgan, tmp_path):
    """The command line, in a folder with a warehouse."""
    valid = made.catalog()
    shard, validation = made.completed(tmp_path / "c", valid), made.validated(tmp_path / "v", valid)
    published = attrgan(
        "publish", shard, "--validation", validation, "--warehouse", "w", "--dt", DT, "--run-id", "night"
    )
    assert published[0] == 0, published[2]
    return attrgan


def empty_brands():
    return tables.read("w", "completed")["brand"].null_count


def test_an_undo_says_what_it_did_and_how_it_is_taken_back(attrgan):
    code, out, _ = attrgan("undo", "--warehouse", "w", "--run-id", "night")
    assert code == 0
    assert out.startswith("undo: emptied 6,")
    assert f"{DT} brand: 2, such as 'Acme' of '{DT}/00001'" in out
    assert empty_brands() == 2
    undo_id = out.split("--run-id ")[1].split()[0]
    code, out, _ = attrgan("undo", "--warehouse", "w", "--run-id", undo_id)
    assert (code, empty_brands()) == (0, 0)
    assert "refilled 6" in out


def test_a_dry_run_changes_nothing_and_says_so(attrgan):
    code, out, _ = attrgan("undo", "--warehouse", "w", "--model-version", "7", "--attribute", "brand", "--dry-run")
    assert (code, empty_brands()) == (0, 0)
    assert "emptied 2," in out
    assert out.rstrip().endswith("a dry run: nothing was changed")


def test_json_is_all_that_is_printed(attrgan):
    code, out, _ = attrgan("undo", "--warehouse", "w", "--run-id", "night", "--from", DT, "--to", DT, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["counts"]["emptied"] == 6
    assert found["changes"] == {DT: {"brand": 2, "price": 2, "tags": 2}}


def test_with_a_folder_the_cells_and_a_manifest_are_left_there(attrgan, tmp_path):
    words = ["undo", "--warehouse", "w", "--run-id", "night", "--undo-id", "mine", "-o", "out"]
    assert attrgan(*words)[0] == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["verb"], manifest["run_id"], manifest["outputs"]) == ("undo", "mine", ["cells.parquet"])
    assert pq.read_table("out/cells.parquet")["outcome"].to_pylist() == ["emptied"] * 6
    assert attrgan("undo", "--warehouse", "w", "--run-id", "mine")[0] == 0
    assert attrgan(*words)[0] == 0  # the same once more is done once more, because it has been taken back
    assert empty_brands() == 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--run-id", "nobody"], "nothing in w is of run id 'nobody'"),
        (["--run-id", "night", "--attribute", "taste"], "is of attribute 'taste'"),
        ([], "neither of --run-id and --model-version"),
        (["--run-id", "night", "--model-version", "7"], "both of --run-id and --model-version"),
        (["--run-id", "night", "--from", "2026-1-1"], "YYYY-MM-DD"),
        (["--run-id", "night", "--from", "2026-01-02", "--to", "2026-01-01"], "is after"),
    ],
)
def test_bad_input_is_one_sentence_and_changes_nothing(attrgan, words, sentence):
    version = tables.version("w", "completed")
    code, out, err = attrgan("undo", "--warehouse", "w", *words)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert sentence in err
    assert tables.version("w", "completed") == version


@pytest.mark.parametrize("verb", ["undo --run-id night", "vacuum"])
def test_a_place_without_tables_is_bad_input(attrgan, verb):
    code, out, err = attrgan(*verb.split(), "--warehouse", "nowhere")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "in nowhere" in err


def test_the_setting_decides_how_long_tables_keep_their_history(attrgan, monkeypatch):
    from attrgan.config import settings

    kept = tables.existing("w", "completed").metadata().configuration["delta.logRetentionDuration"]
    assert kept == "interval 30 days"
    monkeypatch.setenv("ATTRGAN__TABLES__RETENTION_DAYS", "90")
    settings.cache_clear()
    code, out, _ = attrgan("vacuum", "--warehouse", "w", "--json")
    assert (code, json.loads(out)["counts"]) == (0, {"products": 0, "completions": 0, "completed": 0})
    kept = tables.existing("w", "completed").metadata().configuration["delta.logRetentionDuration"]
    assert kept == "interval 90 days"


@pytest.mark.parametrize("verb", ["undo", "vacuum"])
def test_the_command_helps_with_an_example(attrgan, verb):
    code, out, _ = attrgan(verb, "--help")
    assert code == 0
    assert f"Example: attrgan {verb}" in " ".join(out.split())
