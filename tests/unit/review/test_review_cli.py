"""The review by its commands: what they say, and the exit code they end with."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from attrgan import api
from attrgan.lake import tables
from attrgan.review import answers, sheet

SMALLEST = Path(__file__).parents[3] / "examples" / "smallest"


def test_a_sheet_goes_out_and_comes_back_by_three_commands(made, attrgan, tmp_path):
    made.publish()
    code, out, _ = attrgan("review", "export", "--warehouse", made.url, "-o", "q.csv", "--attribute", "colour")
    assert (code, out.splitlines()) == (0, ["review export: rows 2, attributes 1", "→ q.csv"])
    rows = sheet.read("q.csv", "sku")[0].assign(answer=["blue", None])
    sheet.write(rows, "q.csv")
    code, out, _ = attrgan("review", "import", "q.csv", "--warehouse", made.url, "--reviewer", "Ada")
    assert code == 0
    assert "1 imported, 0 there already, 1 without an answer" in out
    code, out, _ = attrgan("review", "stats", "--warehouse", made.url, "--json")
    assert json.loads(out)["colour"]["answered"] == 1
    code, out, _ = attrgan("review", "stats", "--warehouse", made.url)
    assert "0.0% of 1" in out


def test_refused_rows_end_in_exit_code_3_with_the_reasons_counted(made, attrgan):
    made.publish()
    sheet.write(sheet.pd.DataFrame({"sku": ["who?"], "attribute": ["colour"], "answer": ["red"]}), "f.csv")
    code, out, err = attrgan("review", "import", "f.csv", "--warehouse", made.url)
    assert (code, out) == (3, "")
    assert err == (
        "attrgan: review import: 1 of 1 rows refused (1 unknown id), 0 imported, 0 there already, 0 without an answer; "
        "mend f.csv.refused.csv and import it\n"
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["export", "-o", "q.csv", "--warehouse", "nowhere"], "no table completed in nowhere"),
        (["export", "-o", "q.xlsx"], "expected a file named .csv, .parquet, .jsonl"),
        (["export", "-o", "q.csv", "--purpose", "exam"], "expected queue or audit"),
        (["import", "gone.csv"], "no file at gone.csv"),
        (["stats", "--schema", "gone.yaml"], "no schema at gone.yaml"),
    ],
)
def test_bad_input_ends_in_one_sentence_and_exit_code_2(made, attrgan, words, says):
    made.publish()
    place = [] if "--warehouse" in words else ["--warehouse", made.url]
    code, _, err = attrgan("review", *words, *place)
    assert code == 2
    assert says in err
    assert len(err.splitlines()) == 1


def test_new_answers_make_a_new_training_of_the_same_run(tmp_path):
    catalog, schema, warehouse = str(SMALLEST / "catalog.csv"), str(SMALLEST / "schema.yaml"), str(tmp_path / "w")

    def train() -> dict:
        return api.train(
            catalog, schema, str(tmp_path / "m"), epochs=1, seed=1, reviews=warehouse, run_id="r", say=said.append
        )

    said: list[str] = []
    assert "skipped" not in train()
    assert said[0] == f"reviews: 0 answers in {warehouse}, 0 of an audit"
    assert train()["skipped"]
    row = dict.fromkeys(answers.COLUMNS) | {"attribute": "colour", "answer": "white", "purpose": "audit"}
    columns = pa.schema([pa.field("id", pa.string()), *(pa.field(n, t) for n, t in answers.COLUMNS.items())])
    tables.replace_partition(
        warehouse, "reviews", pa.Table.from_pylist([row | {"id": "A1"}], columns), "2026-01-01", {}
    )
    assert "skipped" not in train()
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    assert sum(config["reviews"].values()) == 1
