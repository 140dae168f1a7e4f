"""What ordering the review queue by worth gains: cells filled and answered rightly per label, against other orders.

    .venv/bin/python -m benchmarks.review [--rows 1500] [--hide 0.3] [--labels 300] [--orders …] [--seeds 0 1]

Products of the demo's catalog (text and five attributes) lose a share of their known cells at random. A model is
trained and completes them; of the cells that it puts into review, `--labels` are answered with what was hidden, chosen
by lot, by doubt alone, or by worth (`attrgan.review.queue`); the model is trained again with these answers, from the
same seed, and completes once more. `audit` asks by lot among all hidden cells, as many of
each attribute, for labels that set thresholds. All orders are scored on the same cells: those that none has asked for.
Figures are means over seeds, ± the standard deviation of the difference to *no labels*, seed by seed.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from attrgan.completion.complete import completions
from attrgan.evaluation.splits import split
from attrgan.features import cache
from attrgan.lake.cells import to_frame
from attrgan.model import CompletionModel
from attrgan.review.queue import entropy, worth
from attrgan.schema import Schema
from attrgan.training.train import train
from attrgan.training.trainer import Options
from examples.complete_journey.catalog import SCHEMA as COLUMNS
from examples.complete_journey.catalog import pa, read_products

NAMES = ["department", "brand", "manufacturer_id", "product_category", "package_unit"]
SCHEMA = Schema.parse(
    {
        "entity": "product", "id": "product_id", "text": ["product_type"], "encoders": {"language": None},
        "attributes": {name: {"kind": "categorical"} for name in NAMES},
    }
)  # fmt: skip
ORDERS = ("lot", "doubt", "worth", "audit")
CELL = ["product_id", "attribute"]


def catalog(rows: int, share: float, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The products with holes, and what was hidden: product_id, attribute, truth."""
    products = read_products(rows)
    columns = {
        name: [None if pd.isna(v) else v for v in products[name]] for name in ["product_id", "product_type", *NAMES]
    }
    frame = to_frame(pa.table(columns, schema=pa.schema([COLUMNS.field(name) for name in columns])), SCHEMA)
    hidden, rng = [], np.random.default_rng(seed)
    for name in NAMES:
        chosen = frame[name].notna().to_numpy() & (rng.random(len(frame)) < share)
        hidden.append(
            pd.DataFrame({"product_id": frame["product_id"][chosen], "attribute": name, "truth": frame[name][chosen]})
        )
        frame.loc[chosen, name] = None
    return frame, pd.concat(hidden, ignore_index=True)


def complete(frame: pd.DataFrame, hidden: pd.DataFrame, seed: int, answers: pd.DataFrame | None = None) -> pd.DataFrame:
    """The hidden cells as a model trained with these answers completes them."""
    features = cache.encode(frame, SCHEMA)
    with tempfile.TemporaryDirectory() as folder:
        train(SCHEMA, frame, features, Options(seed=seed), Path(folder), say=lambda _: None, reviews=answers)
        done = completions(CompletionModel.load(Path(folder)), frame, features)
    return hidden.merge(done, on=CELL)


def chosen(cells: pd.DataFrame, frame: pd.DataFrame, order: str, labels: int, seed: int) -> pd.DataFrame:
    """The cells that are answered first in an order: of those in review, or for an audit of all."""
    cells = cells.rename(columns={"product_id": "key"})
    if order == "audit":
        drawn = cells.sample(frac=1, random_state=seed).groupby("attribute").head(labels // len(NAMES))
        return drawn.assign(purpose="audit")
    waiting = cells[cells["status"] == "review"].assign(purpose="queue").reset_index(drop=True)
    nobody = pd.DataFrame({"attribute": [], "proposed": []}, dtype=object)
    trains = pd.Index(frame["product_id"].iloc[split(frame["product_id"]).train])
    value = {
        "lot": lambda: np.random.default_rng(seed).random(len(waiting)),
        "doubt": lambda: entropy(waiting["confidence"].to_numpy(float)),
        "worth": lambda: worth(waiting, nobody, trains),
    }[order]()
    return waiting.iloc[np.argsort(-value, kind="stable")[:labels]]


def as_answers(cells: pd.DataFrame) -> pd.DataFrame:
    """True answers to cells, as `attrgan.review.answers.current` has them."""
    found = cells[["key", "attribute", "purpose"]].assign(answer=cells["truth"], number=None)
    return found.astype(object).assign(queued=cells["purpose"] == "queue")


def measure(rows: int, share: float, labels: int, orders: list[str], seed: int) -> dict[str, dict[str, float]]:
    """Order → filled, precision, right, on the cells that no order asked for."""
    frame, hidden = catalog(rows, share, seed)
    done = {"no labels": complete(frame, hidden, seed)}
    asked = {order: chosen(done["no labels"], frame, order, labels, seed) for order in orders}
    for order, cells in asked.items():
        done[order] = complete(frame, hidden, seed, as_answers(cells))
    taken = pd.concat(asked.values())[["key", "attribute"]].drop_duplicates().rename(columns={"key": "product_id"})
    found = {}
    for order, cells in done.items():
        left = cells.merge(taken, on=CELL, how="left", indicator=True)
        left = left[left["_merge"] == "left_only"]
        filled, right = left["status"] == "filled", left["value"] == left["truth"]
        found[order] = {"cells": len(left), "filled": int(filled.sum()), "right": float(right.mean())}
        found[order]["precision"] = float(right[filled].mean()) if filled.any() else float("nan")
    return found


def main() -> None:
    """Prints the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rows", type=int, default=1500)
    arguments.add_argument("--hide", type=float, default=0.3)
    arguments.add_argument("--orders", nargs="+", choices=ORDERS, default=list(ORDERS))
    arguments.add_argument("--labels", type=int, default=300)
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    options = arguments.parse_args()
    runs = []
    for seed in options.seeds:
        runs.append(measure(options.rows, options.hide, options.labels, options.orders, seed))
        print(json.dumps({"seed": seed, **runs[-1]}), flush=True)
    table = Table("order", "cells", "filled", "gained per label", "precision of filled", "right")
    base = pd.DataFrame([run["no labels"] for run in runs])
    for order in ("no labels", *options.orders):
        found = pd.DataFrame([run[order] for run in runs])
        more, better = (found["filled"] - base["filled"]) / options.labels, found["right"] - base["right"]
        gained = f"{more.mean():+.2f} ± {more.std():.2f}"
        right = f"{found['right'].mean():.4f} ({better.mean():+.4f} ± {better.std():.4f})"
        sizes = [f"{found[name].mean():.0f}" for name in ("cells", "filled")]
        table.add_row(order, *sizes, gained, f"{found['precision'].mean():.3f}", right)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
