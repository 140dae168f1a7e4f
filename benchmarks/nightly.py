"""What a night costs on which 1 % of the catalog changed, beside a full run over the same rows.

    .venv/bin/python -m benchmarks.nightly --data DIR [--rows 10000 100000] [--language]

The shop lands its whole catalog every night. *full*: `features` and `complete` with an empty cache; *1 % changed*: the
same two verbs on the catalog in which every hundredth product has another text, or other sales and price, with the
cache of the night before; *nothing changed*: the night after. The rows of the second are compared with those of a full
run over the same catalog: all columns but `run_id` and `completed_at`.

Products are those of the Complete Journey, each with a word of its own in its text, so that no two are alike (a product
of the same content as another is decided with it); with more rows than there are products they come again. Seconds are
those of the processor, so that what else runs on the machine does not matter: of the verbs in a running process, the
model's loading included, Python's start and imports (once per task) not.
The language level is off unless `--language` is given: encoding as many texts would only make the full run longer.
"""

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from attrgan import api
from attrgan.schema import Schema
from benchmarks.transfer import JOURNEY

TRAIN = 6000
CHANGED = 100
"""Of as many products one is changed."""


def products(data: Path, rows: int) -> pd.DataFrame:
    """Products in a mixed order, their text with a word of its own; what comes again has another id and word."""
    table = pd.read_parquet(data / "complete_journey_products.parquet", columns=list(Schema.parse(JOURNEY).columns))
    order = np.random.default_rng(0).permutation(len(table))
    table = table.iloc[np.resize(order, rows)].reset_index(drop=True)
    table["product_id"] = np.arange(rows)
    table["product_type"] = table["product_type"].fillna("") + [f" no{i:06d}" for i in range(rows)]
    table["manufacturer_id"] = table["manufacturer_id"].astype(str)
    return table


def changed(table: pd.DataFrame) -> pd.DataFrame:
    """The night after: of every hundred products one has a new text, or one more sale and another price."""
    table, rows = table.copy(), np.arange(0, len(table), CHANGED)
    renamed, sold = rows[::2], rows[1::2]
    table.loc[renamed, "product_type"] += " new"
    table.loc[sold, "list_price"] = table.loc[sold, "list_price"].fillna(1.0) * 1.05
    for column, value in (("seq_week", 53), ("seq_price", 1.05), ("seq_qty", 1)):
        cells = [[*(cell if cell is not None else []), value] for cell in table.loc[sold, column]]
        table.loc[sold, column] = pd.Series(cells, index=sold)
    return table


def model_of(data: Path, out: Path, schema: Path, epochs: int | None) -> Path:
    """A model of other products than the benchmark's first; trained once."""
    folder = out / f"model-{schema.stem}-{epochs}"
    if not (folder / "manifest.json").is_file():
        pq.write_table(pa.Table.from_pandas(products(data, TRAIN), preserve_index=False), out / "train.parquet")
        api.train(str(out / "train.parquet"), str(schema), str(folder), epochs=epochs, say=lambda _: None)
    return folder


def night(catalog: Path, schema: Path, model: Path, out: Path, cache: Path) -> dict[str, Any]:
    """Both verbs on a catalog: seconds of each, what they counted, and where the completions are."""
    features, encoding = timed(lambda: api.features(str(catalog), str(schema), str(cache)))
    done, deciding = timed(lambda: api.complete(str(catalog), str(model), str(out), features=str(cache)))
    seconds = {"features": encoding, "complete": deciding}
    return seconds | {"encoded": features["counts"]["encoded"], "counts": done["counts"], "out": out}


def timed(verb: Callable[[], dict[str, Any]]) -> tuple[dict[str, Any], float]:
    started = time.process_time()
    return verb(), time.process_time() - started


def differing(one: dict[str, Any], other: dict[str, Any]) -> str:
    """How many completions of two runs differ, and by how much their confidences do."""
    a, b = (pd.read_parquet(run["out"] / "completions.parquet") for run in (one, other))
    a, b = (t.drop(columns=["run_id", "completed_at"]) for t in (a, b))
    if len(a) != len(b):
        return f"{len(a)} against {len(b)} rows"
    exact = (a.eq(b) | (a.isna() & b.isna())).all(axis=1)
    decisions = [c for c in a if c not in ("confidence", "evidence")]
    same = (a[decisions].eq(b[decisions]) | (a[decisions].isna() & b[decisions].isna())).all(axis=1)
    furthest = (a["confidence"] - b["confidence"]).abs().max()
    return f"{len(a)} cells: {(~same).sum()} decided otherwise, {(~exact).sum()} not equal to the last digit " + (
        f"(confidences differ by at most {furthest:.1e})"
    )


def measure(rows: int, data: Path, out: Path, schema: Path, model: Path) -> tuple[list[list[str]], str]:
    """The lines of the table for a catalog of so many rows, and what the comparison found."""
    here = out / str(rows)
    shutil.rmtree(here, ignore_errors=True)
    here.mkdir(parents=True)
    first = products(data, rows)
    for name, table in (("first", first), ("second", changed(first))):
        pq.write_table(pa.Table.from_pandas(table, preserve_index=False), here / f"{name}.parquet")

    def run(name: str, catalog: str, cache: str) -> dict[str, Any]:
        return night(here / f"{catalog}.parquet", schema, model, here / name, here / cache)

    full = run("full", "first", "cache")
    partly, again = run("partly", "second", "cache"), run("again", "second", "cache")
    shutil.copytree(here / "cache", here / "control", ignore=shutil.ignore_patterns("decisions-*"))
    control = run("anew", "second", "control")
    lines, whole = [], full["features"] + full["complete"]
    for name, r in (("full", full), ("1 % changed", partly), ("nothing changed", again)):
        seconds, counts = r["features"] + r["complete"], r["counts"]
        lines.append([
            f"{rows:,}", name, f"{r['encoded']:,}", f"{counts['decided']:,}", f"{counts['cells']:,}",
            f"{counts['decided_cells']:,}", f"{r['features']:.1f}", f"{r['complete']:.1f}", f"{seconds:.1f}",
            f"{seconds / whole:.3f}",
        ])  # fmt: skip
    return lines, differing(partly, control)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("ATTRGAN_BENCHMARK_DATA"), help="folder of the Parquet files")
    parser.add_argument("--out", default="var/benchmarks/nightly")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--epochs", type=int, help="of the model's training; default: from the number of rows")
    parser.add_argument("--language", action="store_true", help="with the language level")
    given = parser.parse_args()
    if not given.data or not Path(given.data).is_dir():
        sys.exit("no data: name the folder with --data or in ATTRGAN_BENCHMARK_DATA")
    out = Path(given.out)
    out.mkdir(parents=True, exist_ok=True)
    schema = out / ("language.yaml" if given.language else "words.yaml")
    Schema.parse(JOURNEY | ({} if given.language else {"encoders": {"language": None}})).save(schema)
    model = model_of(Path(given.data), out, schema, given.epochs)
    table = Table(
        "rows", "night", "encoded", "rows decided", "cells", "decided", "features s", "complete s", "both", "ratio"
    )
    compared = []
    for rows in given.rows:
        lines, said = measure(rows, Path(given.data), out, schema, model)
        for line in lines:
            table.add_row(*line)
        compared.append(f"{rows:,} rows, 1 % changed against a full run over the same catalog: {said}")
    Console(width=150).print(table)
    print("\n".join(compared))


if __name__ == "__main__":
    main()
