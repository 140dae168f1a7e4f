"""Bad input, by the real commands: one clear sentence on standard error, exit code 2, nothing half written."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from attrgan.evaluation.splits import split
from attrgan.lake.catalog import read_catalog

SMALLEST = Path(__file__).parents[2] / "examples" / "smallest"
CATALOG, SCHEMA = SMALLEST / "catalog.csv", SMALLEST / "schema.yaml"
HEADER = "id,title,brand,colour,material,size,price\n"
ROW = "A1,White towel,Lumi,,linen,50 x 100 cm,20.35\n"


def refused(result: tuple[int, str, str], *says: str) -> None:
    """Exit code 2 and one sentence that says so."""
    code, out, err = result
    assert code == 2, err
    assert out == ""
    assert err.startswith("attrgan: ")
    assert len(err.splitlines()) == 1
    assert "Traceback" not in err
    for words in says:
        assert words in err


def nothing_written(folder: Path) -> bool:
    return not folder.exists() or not any(folder.iterdir())


BAD_CATALOGS = {
    "no such file": (None, "no file at"),
    "empty file": (b"", "is empty"),
    "header only": (HEADER.encode(), "holds no rows"),
    "not a table": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "is not a table"),
    "NUL bytes": (HEADER.encode() + b"A1,\x00,,,,,1\n", "NUL bytes"),
    "not UTF-8": (HEADER.encode() + "A1,Größe,,,,,1\n".encode("latin-1"), "is not a table"),
    "UTF-16": ((HEADER + ROW).encode("utf-16"), "is not a table"),
    "wrong delimiter": ((HEADER + ROW).replace(",", ";").encode(), "only the columns id;title;brand"),
    "no id column": ((HEADER + ROW).replace("id,", "sku,").encode(), "the schema names 'id'"),
    "a column that is not there": (
        HEADER.replace(",price", ",prize").encode() + ROW.encode(),
        "the schema names 'price'",
    ),
    "no cell of the right type": (HEADER.encode() + b"A1,a,b,c,d,e,cheap\n", "none of the 1 cells of column 'price'"),
    "two columns of one name": (HEADER.replace("title", "id").encode() + ROW.encode(), "two columns of one name"),
}
"""What is wrong → the bytes of the file, and words of the sentence."""


@pytest.mark.parametrize("verb", ["validate", "train", "features"])
@pytest.mark.parametrize("what", BAD_CATALOGS)
def test_a_bad_catalog_is_refused_by_every_verb_that_reads_one(attrgan, tmp_path, verb, what):
    content, says = BAD_CATALOGS[what]
    if content is not None:
        (tmp_path / "c.csv").write_bytes(content)
    refused(attrgan(verb, "c.csv", "--schema", SCHEMA, "-o", "out"), says)
    assert nothing_written(tmp_path / "out")
    assert not list(tmp_path.glob(".attrgan-*"))


@pytest.mark.parametrize("what", BAD_CATALOGS)
def test_a_bad_catalog_is_refused_by_those_that_bring_a_model(attrgan, tmp_path, tiny_model, what):
    content, says = BAD_CATALOGS[what]
    if content is not None:
        (tmp_path / "c.csv").write_bytes(content)
    for verb in ("complete", "evaluate"):
        refused(attrgan(verb, "c.csv", "--model", tiny_model, "-o", "out"), says)
        assert nothing_written(tmp_path / "out")


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (ROW + ROW, "duplicate ids"),
        (ROW + ROW.replace("A1", ""), "rows have no 'id'"),
        (ROW + ROW.replace("A1", "A2").replace("20.35", "cheap"), "wrong type in 'price' (1 cells)"),
        (ROW + "A2,too,few\n", "cannot be read (the first: row 2"),
        (ROW + "A2" + ",x" * 9 + "\n", "cannot be read (the first: row 2"),
    ],
    ids=["duplicate ids", "null id", "wrong type", "ragged", "too many fields"],
)
def test_what_validate_would_set_aside_is_bad_input_elsewhere(attrgan, tmp_path, tiny_model, rows, says):
    (tmp_path / "c.csv").write_text(HEADER + rows)
    refused(attrgan("complete", "c.csv", "--model", tiny_model, "-o", "out"), says, "attrgan validate")
    refused(attrgan("train", "c.csv", "--schema", SCHEMA, "-o", "out"), says, "attrgan validate")
    assert nothing_written(tmp_path / "out")


BAD_SCHEMAS = {
    "no such file": (None, "no schema at"),
    "empty": ("", "expected a mapping"),
    "no YAML": ("id: [", "is not YAML"),
    "binary": ("\x00\x01", "is not YAML"),
    "a list": ("- id", "expected a mapping"),
    "no attributes": ("id: id", "attributes: Field required"),
    "an unknown key": ("id: id\ntexts: [title]\nattributes: {brand: {kind: open}}", "texts: Extra inputs"),
    "an unknown kind": ("id: id\nattributes: {brand: {kind: colour}}", "attributes.brand.kind"),
    "the id as an attribute": ("id: id\nattributes: {id: {kind: open}}", "cannot be an attribute"),
    "a column that is not there": ("id: id\nattributes: {weight: {kind: numeric}}", "the schema names 'weight'"),
    "derived from nothing": (
        "id: id\nattributes: {brand: {kind: open, derived_with: [nothing]}}", "derived_with 'nothing'",
    ),
    "text that is an attribute": (
        "id: id\ntext: [title, brand]\nattributes: {brand: {kind: open}}", "is both text and an attribute",
    ),
    "a condition on nothing": (
        "id: id\nattributes: {brand: {kind: open, applies_to: {shelf: [a]}}}", "applies_to 'shelf'",
    ),
    "personal data as text": (
        "id: id\ntext: [title]\npersonal: [title]\nattributes: {brand: {kind: open}}", "personal",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD_SCHEMAS)
def test_a_bad_schema_is_refused(attrgan, tmp_path, what):
    content, says = BAD_SCHEMAS[what]
    if content is not None:
        (tmp_path / "s.yaml").write_text(content)
    for verb in ("validate", "train"):
        refused(attrgan(verb, CATALOG, "--schema", "s.yaml", "-o", "out"), says)
    assert nothing_written(tmp_path / "out")


def test_a_folder_is_no_schema(attrgan, tmp_path):
    refused(attrgan("train", CATALOG, "--schema", tmp_path, "-o", "out"), "schema")


def test_a_folder_that_is_no_model_is_refused(attrgan, tmp_path, tiny_model):
    (tmp_path / "empty").mkdir()
    shutil.copytree(tiny_model, tmp_path / "damaged")
    (tmp_path / "damaged" / "model.safetensors").write_bytes(b"\x80\x04\x95 a pickle")
    for model, says in (
        ("nowhere", "no model folder at"),
        ("empty", "not a model folder"),
        ("damaged", "damaged model"),
    ):
        for verb in ("complete", "evaluate"):
            refused(attrgan(verb, CATALOG, "--model", model, "-o", "out"), says)
        refused(attrgan("compare", model, CATALOG, "-o", "out"), says)
    assert nothing_written(tmp_path / "out")


def test_a_model_of_another_schema_is_refused(attrgan, tmp_path, tiny_model):
    (tmp_path / "c.csv").write_text("sku,name,weight\n1,a,2\n")
    refused(
        attrgan("complete", "c.csv", "--model", tiny_model, "-o", "out"),
        "is of another schema: the schema names 'id', 'title'",
        "only the columns",
    )
    assert nothing_written(tmp_path / "out")


def test_a_catalog_of_rows_that_were_all_used_cannot_be_evaluated(attrgan, tmp_path, tiny_model):
    table = read_catalog(str(CATALOG)).table
    lines = CATALOG.read_text().splitlines(keepends=True)
    used = split(table["id"].to_pandas()).train
    (tmp_path / "c.csv").write_text(lines[0] + "".join(lines[1 + i] for i in used))
    says = (f"all {len(used)} rows", "were used to train or calibrate", "bring rows")
    refused(attrgan("evaluate", "c.csv", "--model", tiny_model, "-o", "out"), *says)
    refused(attrgan("compare", tiny_model, "c.csv", "-o", "out"), *says)
    assert nothing_written(tmp_path / "out")


def test_a_model_that_does_not_know_what_it_was_trained_on_is_not_evaluated(attrgan, tmp_path, tiny_model):
    shutil.copytree(tiny_model, tmp_path / "m")
    (tmp_path / "m" / "used_rows.safetensors").unlink()
    refused(attrgan("evaluate", CATALOG, "--model", "m", "-o", "out"), "used_rows.safetensors")


def test_too_few_rows_cannot_be_trained_on(attrgan, tmp_path):
    (tmp_path / "c.csv").write_text(HEADER + "".join(ROW.replace("A1", f"A{i}") for i in range(12)))
    refused(attrgan("train", "c.csv", "--schema", SCHEMA, "-o", "out"), "12 rows", "expected at least 20")
    assert nothing_written(tmp_path / "out")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["complete", CATALOG, "--model", "MODEL", "-o", "out", "--shard", "3/3"], "is not a shard"),
        (["complete", CATALOG, "--model", "MODEL", "-o", "out", "--samples", "0"], "expected 1 to 100"),
        (["complete", CATALOG, "--model", "MODEL", "-o", "out", "--samples", "101"], "expected 1 to 100"),
        (["train", CATALOG, "-s", SCHEMA, "-o", "out", "--adversarial-loss", "hinge"], "standard or relativistic"),
        (["complete", CATALOG, "--model", "MODEL", "-o", "out", "--engine", "dask"], "engine 'dask'"),
        (["evaluate", CATALOG, "--model", "MODEL", "-o", "out", "--missing", "often"], "--missing often"),
        (["evaluate", CATALOG, "--model", "MODEL", "-o", "out", "--rate", "1.5"], "--rate 1.5"),
        (["train", CATALOG, "--schema", SCHEMA, "-o", "out", "--device", "tpu"], "--device tpu"),
        (["train", CATALOG, "-s", SCHEMA, "-o", "out", "--holdout", "0"], "--holdout 0.0 is no share to hold out"),
        (["validate", CATALOG, "--schema", SCHEMA, "-o", "out", "--dt", "yesterday"], "YYYY-MM-DD"),
        (["shards", "nowhere"], "holds no output of `attrgan validate`"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(attrgan, tmp_path, tiny_model, words, says):
    refused(attrgan(*[tiny_model if w == "MODEL" else w for w in words]), says)
    assert nothing_written(tmp_path / "out")


@pytest.mark.parametrize(
    "words", [["train"], ["nonsense"], ["train", "c.csv", "--schema", "s", "-o", "o", "--epochs", "0"]]
)
def test_wrong_usage_is_refused(attrgan, words):
    code, _out, err = attrgan(*words)
    assert code == 2
    assert "Usage" in err


def test_a_huge_cell_is_a_cell(attrgan, tmp_path, tiny_model):
    (tmp_path / "c.csv").write_text(HEADER + ROW.replace("White towel", "towel " * 200_000))
    code, _, err = attrgan("complete", "c.csv", "--model", tiny_model, "-o", "out")
    assert code == 0, err


def test_a_failed_run_leaves_the_outputs_of_the_one_before(attrgan, tmp_path, tiny_model):
    shutil.copy(CATALOG, tmp_path / "c.csv")
    assert attrgan("complete", "c.csv", "--model", tiny_model, "-o", "out", "--run-id", "1")[0] == 0
    before = {f.name: f.read_bytes() for f in (tmp_path / "out").iterdir()}
    (tmp_path / "c.csv").write_text(HEADER + ROW + ROW)
    refused(attrgan("complete", "c.csv", "--model", tiny_model, "-o", "out", "--run-id", "1"), "duplicate ids")
    assert {f.name: f.read_bytes() for f in (tmp_path / "out").iterdir()} == before


def test_settings_that_are_none_are_refused(attrgan, monkeypatch):
    monkeypatch.setenv("ATTRGAN__COMPLETION__SHARD_ROWS", "many")
    refused(attrgan("config", "show"), "completion.shard_rows")


def test_the_process_itself_ends_with_the_code_and_the_sentence(tmp_path):
    command = [sys.executable, "-m", "attrgan", "train", "nowhere.csv", "--schema", str(SCHEMA), "-o", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("attrgan: no file at")
    assert len(done.stderr.splitlines()) == 1
    assert nothing_written(tmp_path / "out")


# --- and what is good ----------------------------------------------------------------------------------------------


def test_json_is_all_that_standard_output_holds(attrgan, tmp_path, tiny_model):
    code, out, _ = attrgan("complete", CATALOG, "--model", tiny_model, "-o", "out", "--run-id", "r1", "--json")
    assert code == 0
    manifest = json.loads(out)
    assert (manifest["verb"], manifest["run_id"], manifest["status"]) == ("complete", "r1", "finished")
    assert sorted(manifest["outputs"]) == ["completed.parquet", "completions.parquet"]
    code, out, _ = attrgan("complete", CATALOG, "--model", tiny_model, "-o", "out", "--run-id", "r1", "--json")
    assert json.loads(out)["skipped"] is True


def test_training_says_its_losses_and_json_stays_json(attrgan, tmp_path):
    words = ["train", CATALOG, "--schema", SCHEMA, "-o", "model", "--epochs", "1", "--seed", "3", "--device", "cpu"]
    code, out, err = attrgan(*words, "--json")
    assert code == 0, err
    assert json.loads(out)["seed"] == 3
    assert "Epoch [1/1], Step [" in err
    assert "Loss_D: " in err
    assert {"model.safetensors", "config.json", "schema.yaml", "calibration.json", "metrics.json", "training_log.jsonl",
            "plots", "manifest.json"} <= {f.name for f in (tmp_path / "model").iterdir()}  # fmt: skip
    assert not (tmp_path / "model" / ".checkpoints").exists()


def test_evaluation_scores_only_rows_that_were_not_used(attrgan, tmp_path, tiny_model):
    code, _, err = attrgan("evaluate", CATALOG, "--model", tiny_model, "-o", "out")
    assert code == 0, err
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    holdout = len(split(read_catalog(str(CATALOG)).table["id"].to_pandas()).holdout)
    assert metrics["rows"] == {"evaluated": holdout, "left_out": 100 - holdout}
    assert (tmp_path / "out" / "report.html").is_file()


@pytest.mark.parametrize("missing", ["mar", "mnar"])
def test_evaluation_can_hide_cells_in_other_ways(attrgan, tmp_path, tiny_model, missing):
    code, _, err = attrgan(
        "evaluate", CATALOG, "--model", tiny_model, "-o", "out", "--missing", missing, "--rate", "0.5"
    )
    assert code == 0, err
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["missing"] == missing


def test_every_command_helps_with_an_example(attrgan):
    names = "infer-schema validate features train evaluate complete compare publish report register promote rollback"
    for name in [*names.split(), "doctor", "landing", "shards", "audit"]:
        code, out, _ = attrgan(name, "--help")
        assert code == 0
        assert f"attrgan {name}" in " ".join(out.split()), name
        assert "Example" in out, name
