"""What the adversarial part adds: the same rows, seeds and cells, trained with different weights and losses.

    .venv/bin/python benchmarks/joint.py --catalog items.parquet --schema schema.yaml [--rows 300] [--seeds 3]

Trains a model per variant and seed (kept in var/benchmarks, so that a run that was cut short goes on), and scores it on
rows of the catalog that none was trained on: accuracy of cells hidden once, and joint completions of up to 1,000 rows
with 40 % of their cells hidden, five samples each. With several seeds: mean ± standard deviation, without which no
difference between variants means anything. Figures are those of `attrgan evaluate`, except the seconds.
"""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from attrgan import api
from attrgan.lake.catalog import read_catalog

VARIANTS: dict[str, dict[str, Any]] = {
    "weight 0": {"adversarial_weight": 0.0},
    "weight 0.1 (default)": {"adversarial_weight": 0.1},
    "weight 1": {"adversarial_weight": 1.0},
    "relativistic 0.1": {"adversarial_weight": 0.1, "adversarial_loss": "relativistic"},
    "relativistic 0.3": {"adversarial_weight": 0.3, "adversarial_loss": "relativistic"},
}
COLUMNS = {
    "accuracy": lambda m: m["mean_accuracy"],
    "energy score": lambda m: m["joint"]["energy_score"]["one_by_one"],
    "… alone": lambda m: m["joint"]["energy_score"]["alone"],
    "C2ST": lambda m: m["joint"]["two_sample"]["one_by_one"],
    "… alone ": lambda m: m["joint"]["two_sample"]["alone"],
    "JS": lambda m: m["joint"]["jensen_shannon"]["one_by_one"],
    "pairs": lambda m: m["joint"]["pairs"]["one_by_one"],
    "… alone  ": lambda m: m["joint"]["pairs"]["alone"],
    "… real": lambda m: m["joint"]["pairs"]["real"],
    "triples": lambda m: m["joint"]["triples"]["one_by_one"],
    "D right": lambda m: m["discriminator_accuracy"],
    "train s": lambda m: m["training_seconds"],
}


def measure(
    catalog: str, subset: Path, schema: str, folder: Path, seed: int, options: dict[str, Any]
) -> dict[str, Any]:
    """Trains and evaluates one variant, or reads what an earlier run left."""
    done = folder / "result.json"
    if done.is_file():
        return json.loads(done.read_text())
    model = folder / "model"
    api.train(str(subset), schema, str(model), seed=seed, say=lambda _: None, device="cpu", **options)
    api.evaluate(catalog, str(model), str(folder / "evaluation"))
    trained = json.loads((model / "metrics.json").read_text())
    measured = json.loads((folder / "evaluation" / "metrics.json").read_text())
    measured |= {"training_seconds": trained["training_seconds"]}
    measured |= {"discriminator_accuracy": trained["adversarial"]["discriminator_accuracy"]}
    done.write_text(json.dumps(measured))
    return measured


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--catalog", required=True)
    arguments.add_argument("--schema", required=True)
    arguments.add_argument(
        "--rows", type=int, help="rows to train on, before validation rows are set aside; default: all"
    )
    arguments.add_argument("--seeds", type=int, default=1)
    given = arguments.parse_args()
    table = read_catalog(given.catalog).table
    rows = min(given.rows or table.num_rows, table.num_rows)
    text = Path(given.schema).read_text()
    name = hashlib.sha256(f"{table.num_rows} {rows} {text}".encode()).hexdigest()[:8]
    place = Path("var/benchmarks/joint") / f"{Path(given.catalog).stem}-{rows}-{name}"
    place.mkdir(parents=True, exist_ok=True)
    subset = place / "rows.parquet"
    if not subset.is_file():
        pq.write_table(table.take(np.sort(np.random.default_rng(0).permutation(table.num_rows)[:rows])), subset)
    shown = Table("variant", *COLUMNS)
    for variant, options in VARIANTS.items():
        measured = [
            measure(given.catalog, subset, given.schema, place / f"{variant}-{seed}".replace(" ", "-"), seed, options)
            for seed in range(given.seeds)
        ]
        shown.add_row(variant, *(figure([read(m) for m in measured]) for read in COLUMNS.values()))
    Console(width=190).print(shown)
    completed = measured[0]["joint"]["rows"]
    print(f"{given.catalog}: {rows} rows to train from, {given.seeds} seeds; {completed} rows completed")


def figure(values: list[float | None]) -> str:
    """Mean ± standard deviation over the seeds."""
    known = [v for v in values if v is not None]
    if not known:
        return "–"
    spread = f" ±{np.std(known, ddof=1):.3f}" if len(known) > 1 else ""
    return f"{np.mean(known):.3f}{spread}"


if __name__ == "__main__":
    main()
