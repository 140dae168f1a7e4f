"""attrgan against mode/median and a linear model per column, on the demo's catalog: the same rows, the same cells.

    make demo && .venv/bin/python -m benchmarks.complete_journey

The peer (`benchmarks/linear.py`) sees the text and the other attributes, a third of them hidden. It learns from every
row that is not held out; so does attrgan's second training, after a first one has set thresholds (ADR 18). Scored are
all known cells of the rows that neither has seen, each hidden once, together with what gives it away; intervals are
95 % (Clopper–Pearson for shares, over cells). Nothing is tuned on these rows.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from attrgan import reading
from attrgan.evaluation import hiding, metrics
from attrgan.evaluation.calibration import interval
from attrgan.features import cache
from attrgan.lake.catalog import read_catalog
from attrgan.lake.cells import to_frame
from attrgan.model import CompletionModel
from attrgan.schema import Schema
from attrgan.training.train import was_used
from benchmarks.linear import LinearPeer, Text


def with_gaps(frame: pd.DataFrame, schema: Schema, name: str, rng: np.random.Generator) -> pd.DataFrame:
    """The rows with a third of the cells of the other columns hidden, as where the column is asked."""
    holed = frame.copy()
    for other in schema.attributes:
        if other not in schema.hidden_together[name]:
            holed.loc[rng.random(len(holed)) < 1 / 3, other] = None
    return holed


def peer_right(
    schema: Schema, train: pd.DataFrame, test: pd.DataFrame, masks: list[hiding.Mask]
) -> dict[str, np.ndarray]:
    """Attribute → right or wrong for every scored cell, in the order of `metrics.answer_hidden`."""
    known = hiding.known_cells(test, schema)
    text = Text(schema.text).fit(train)
    train_text, test_text = text.transform(train), text.transform(test)
    found: dict[str, list[np.ndarray]] = {}
    for i, name in enumerate(schema.attributes):
        holed = with_gaps(train, schema, name, np.random.default_rng(i))
        peer = LinearPeer(schema, name).fit(holed, train_text)
        for mask in masks:
            rows = np.flatnonzero(mask.cells[:, i] & known[:, i])
            seen = test.iloc[rows].copy()
            for j, other in enumerate(schema.attributes):
                seen.loc[mask.cells[rows, j], other] = np.nan if schema.attributes[other].kind == "numeric" else None
            truth = test[name].iloc[rows].to_numpy()
            predicted, _ = peer.predict(seen, test_text[rows])
            found.setdefault(name, []).append(metrics.is_right(predicted, truth, schema.attributes[name]))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--catalog", help="valid.parquet; default: that of the demo's training run")
    arguments.add_argument("--model", help="model folder; default: that of the demo's training run")
    given = arguments.parse_args()
    runs = sorted(Path("var/demo/runs/train_model").glob("*/*/train"))
    model_folder = Path(given.model or runs[-1])
    catalog = given.catalog or str(model_folder.parent / "validate" / "valid.parquet")
    model = CompletionModel.load(model_folder)
    schema = model.schema
    frame = to_frame(read_catalog(catalog).table, schema)
    used = was_used(model_folder, frame[schema.id])
    train, test = frame[used].reset_index(drop=True), frame[~used].reset_index(drop=True)
    masks = reading.masks(test, schema, "mcar", None)
    answers = metrics.answer_hidden(model, test, cache.encode(test, schema), masks)
    ours = metrics.summarise(answers, model)["attributes"]
    started = time.perf_counter()
    peer = peer_right(schema, train, test, masks)
    seconds = time.perf_counter() - started
    table = Table(
        "attribute", "cells", "mode/median", "linear", "attrgan", "attrgan / linear", "promised", "realised (n, 95 %)"
    )
    for name, right in peer.items():
        f = ours[name]
        low, high = interval(right.sum(), len(right))
        a, b = f["accuracy_interval"]
        row = [
            f"{f['baseline']:.3f}",
            f"{right.mean():.3f} ({low:.3f}–{high:.3f})",
            f"{f['accuracy']:.3f} ({a:.3f}–{b:.3f})",
        ]
        row += [f"{f['accuracy'] / max(right.mean(), 1e-9):.2f}", "–", "nothing filled"]
        if f["realised_precision"] is not None:
            a, b = f["realised_interval"]
            row[-2:] = [
                f"{f['promised_precision']:.2f}",
                f"{f['realised_precision']:.3f} ({f['realised_n']}, {a:.3f}–{b:.3f})",
            ]
        table.add_row(name, str(f["n"]), *row)
    means = [np.mean([r.mean() for r in peer.values()]), np.mean([ours[n]["accuracy"] for n in peer])]
    Console(width=150).print(table)
    trained = json.loads((model_folder / "metrics.json").read_text())["training_seconds"]
    print(f"mean accuracy: linear {means[0]:.3f}, attrgan {means[1]:.3f}, ratio {means[1] / means[0]:.3f}")
    print(
        f"rows: {len(train)} to learn from, {len(test)} held out; seconds: linear {seconds:.0f}, attrgan {trained:.0f}"
    )


if __name__ == "__main__":
    main()
