"""From files to a verdict: real CSV, JSON Lines and Parquet files, in a process that has no network and a bare home."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from attrgan.config import Quality
from attrgan.lake.catalog import read_catalog
from attrgan.quality.inference import infer_schema
from attrgan.quality.validation import validate
from attrgan.schema import Schema

SCHEMA = {
    "id": "sku",
    "text": ["title"],
    "attributes": {"price": {"kind": "numeric", "min": 0}, "colour": {"kind": "categorical"}},
}
CSV = """sku,title,price,colour
1,"a red shirt, large",9.5,red
2,blue shirt,-1,blue
2,blue shirt,8,
3,too,many,cells,here
,no id,1,NA
"=1+1","<script>alert(1)</script>",cheap,n/a
"""


def validated(path: Path, stage: Path):
    stage.mkdir()
    return validate(read_catalog(str(path)), Schema.parse(SCHEMA), stage, Quality(max_quarantine_rate=1))


def test_a_csv_file_with_every_kind_of_defect(tmp_path):
    (tmp_path / "c.csv").write_text(CSV, encoding="utf-8")
    counts = validated(tmp_path / "c.csv", tmp_path / "out").counts
    assert (counts["rows_in"], counts["valid"], counts["quarantined"]) == (6, 2, 4)
    assert counts["reasons"] == {
        "null_id": 1, "duplicate_id": 1, "wrong_type:price": 1, "below_min:price": 1, "unreadable": 1,
    }  # fmt: skip
    valid = pq.read_table(tmp_path / "out" / "valid.parquet")
    assert valid.to_pylist() == [
        {"sku": "1", "title": "a red shirt, large", "price": 9.5, "colour": "red"},
        {"sku": "2", "title": "blue shirt", "price": 8.0, "colour": None},
    ]
    aside = {row["source_row"]: row for row in pq.read_table(tmp_path / "out" / "quarantine.parquet").to_pylist()}
    assert sorted(aside) == [2, 4, 5, 6]
    assert aside[4]["source_text"] == "3,too,many,cells,here"
    assert (aside[6]["sku"], aside[6]["price"]) == ("=1+1", "cheap")


def test_json_lines_with_a_broken_line_and_mixed_types(tmp_path):
    lines = ['{"sku": "1", "title": "t", "price": 1, "colour": "red"}', "{broken", '{"sku": "2", "price": "cheap"}']
    (tmp_path / "c.jsonl").write_text("\n".join(lines), encoding="utf-8")
    counts = validated(tmp_path / "c.jsonl", tmp_path / "out").counts
    assert counts["rows_in"] == 3
    assert counts["reasons"] == {"wrong_type:price": 1, "unreadable": 1}


def test_rows_in_are_counted_over_all_files_of_a_folder_and_the_last_file_wins(tmp_path):
    folder = tmp_path / "landing"
    folder.mkdir()
    for number, price in enumerate((1.0, 2.0)):
        table = pa.table(
            {"sku": ["1", f"only{number}"], "title": ["t", "t"], "price": [price, 5.0], "colour": ["r", "r"]}
        )
        pq.write_table(table, folder / f"{number}.parquet")
    counts = validated(folder, tmp_path / "out").counts
    assert (counts["rows_in"], counts["valid"]) == (4, 3)
    prices = {row["sku"]: row["price"] for row in pq.read_table(tmp_path / "out" / "valid.parquet").to_pylist()}
    assert prices["1"] == 2.0
    (aside,) = pq.read_table(tmp_path / "out" / "quarantine.parquet").to_pylist()
    assert aside["source_file"].endswith("0.parquet")


def test_valid_rows_validate_again_without_loss(tmp_path):
    (tmp_path / "c.csv").write_text(CSV, encoding="utf-8")
    validated(tmp_path / "c.csv", tmp_path / "first")
    counts = validated(tmp_path / "first" / "valid.parquet", tmp_path / "second").counts
    assert (counts["rows_in"], counts["valid"]) == (2, 2)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_schema_guessed_from_a_file_fits_the_file(tmp_path, kind):
    path = tmp_path / f"c.{kind}"
    rows = [
        {"sku": i, "title": f"coat number {i} of wool in red", "price": i + 0.5, "tags": ["new", "sale"][: i % 3]}
        for i in range(60)
    ]
    if kind == "jsonl":
        path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        cells = [
            f'{r["sku"]},{r["title"]},{r["price"]},"{json.dumps(r["tags"]).replace(chr(34), chr(34) * 2)}"'
            for r in rows
        ]
        path.write_text("\n".join(["sku,title,price,tags", *cells]), encoding="utf-8")
    catalog = read_catalog(str(path))
    schema, _ = infer_schema(catalog)
    assert schema.attributes["tags"].multi
    assert schema.attributes["price"].kind == "numeric"
    (tmp_path / "out").mkdir()
    assert validate(catalog, schema, tmp_path / "out", Quality()).counts["valid"] == 60


OFFLINE = """
import logging, socket, sys
from pathlib import Path
logging.basicConfig(level=logging.INFO)
def refuse(*arguments, **options): raise SystemExit(f"a network call: {arguments}")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
from attrgan.config import Quality
from attrgan.lake.catalog import read_catalog
from attrgan.quality.validation import validate
from attrgan.schema import Schema
Path("out").mkdir()
result = validate(read_catalog("c.csv"), Schema.load("s.yaml"), Path("out"), Quality(max_quarantine_rate=1))
print(result.counts["valid"])
"""


def test_validation_works_offline_says_nothing_and_writes_nothing_but_its_outputs(tmp_path):
    (tmp_path / "c.csv").write_text(CSV, encoding="utf-8")
    Schema.parse(SCHEMA).save(tmp_path / "s.yaml")
    environment = os.environ | {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp")}
    (tmp_path / "home").mkdir()
    (tmp_path / "tmp").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "2\n", "")
    made = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    outputs = {"valid.parquet", "quarantine.parquet", "validation.json", "data_docs/index.html"}
    assert made == {"c.csv", "s.yaml"} | {f"out/{name}" for name in outputs}
