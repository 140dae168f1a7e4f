"""Sets put together from members against one class per set seen in training: the same rows, the same cells.

    .venv/bin/python benchmarks/sets_of_values.py PROFILES [--rows N] [--test N] [--seeds S]

PROFILES is the table of user profiles of the R package okcupiddata (rudeboybert/okcupiddata, CC0), as Parquet or CSV.
Its columns `speaks` (languages, each with or without a level) and `pets` (what one has, likes or dislikes) are lists
written as text. Both models are attrgan's, trained alike: once these columns are `multi`, once the list is a class.
Scored are cells of rows that neither has seen, each column hidden by itself.
"""

import argparse
import re
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from attrgan.evaluation import hiding, metrics
from attrgan.features import cache
from attrgan.lake.catalog import read_catalog
from attrgan.lake.cells import canonical_list, members_of
from attrgan.schema import Schema
from attrgan.training.train import Options, train

SETS = ("speaks", "pets")
NUMBERS = ("age", "height")
OTHERS = ("body_type", "diet", "drinks", "education", "job", "offspring", "sex", "smokes", "status")


def profiles(path: str) -> pd.DataFrame:
    """The profiles as the model works on them, in an order of chance."""
    table = read_catalog(path).table.to_pandas().sample(frac=1, random_state=0).reset_index(drop=True)
    frame = pd.DataFrame({"id": [str(i) for i in range(len(table))]}, dtype=object)
    for name in NUMBERS:
        frame[name] = pd.to_numeric(table[name], errors="coerce")
    for name in OTHERS:
        frame[name] = table[name].astype(object).where(table[name].notna(), None)
    for name, between in zip(SETS, (", ", " and "), strict=True):
        frame[name] = [None if pd.isna(cell) else canonical_list(re.split(between, cell)) for cell in table[name]]
    return frame


def schema(multi: bool) -> Schema:
    """The same columns; sets as such, or every set a value of its own."""
    attributes = {name: {"kind": "numeric"} for name in NUMBERS} | {name: {"kind": "categorical"} for name in OTHERS}
    return Schema.parse(
        {
            "entity": "user",
            "id": "id",
            "attributes": attributes | {n: {"kind": "categorical", "multi": multi} for n in SETS},
        }
    )


def answers(known: pd.DataFrame, asked: pd.DataFrame, multi: bool, seed: int) -> dict[str, pd.DataFrame]:
    """Trains on the known rows and answers the sets of the others."""
    of = schema(multi)
    with tempfile.TemporaryDirectory() as folder:
        options = Options(seed=seed)
        trained = train(of, known, cache.encode(known, of), options, Path(folder), say=lambda _: None)
    masks = [hiding.mask_of(np.tile([name == n for n in of.attributes], (len(asked), 1)), of) for name in SETS]
    found = metrics.answer_hidden(trained.model, asked, cache.encode(asked, of), masks)
    return {name: found[name].dropna(subset=["value"]) for name in SETS}


def figures(cells: pd.DataFrame, seen: set[str]) -> dict[str, float]:
    """Shares over the scored cells; `unseen`: the exact ones among the sets that no training row has."""
    pairs = [(set(members_of(v)), set(members_of(t))) for v, t in zip(cells["value"], cells["truth"], strict=True)]
    exact = np.array([value == truth for value, truth in pairs])
    new = ~cells["truth"].isin(seen).to_numpy()
    confidence = cells["confidence"].to_numpy(float)
    return {
        "exact": exact.mean(),
        "Jaccard": np.mean([len(value & truth) / max(len(value | truth), 1) for value, truth in pairs]),
        "unseen": exact[new].mean() if new.any() else np.nan,
        "share unseen": new.mean(),
        "calibration error": metrics.expected_calibration_error(confidence, exact),
        "coverage at .8": metrics.coverage_at(confidence, exact, 0.8),
    }


def main() -> None:
    """Prints a line per column and model: the mean over the seeds, and the spread."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("profiles")
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--test", type=int, default=3000)
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    frame = profiles(given.profiles)
    known = frame.iloc[: given.rows].reset_index(drop=True)
    asked = frame.iloc[given.rows : given.rows + given.test].reset_index(drop=True)
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for seed in range(given.seeds):
        for model, multi in (("a class per set", False), ("members", True)):
            for name, cells in answers(known, asked, multi, seed).items():
                found.setdefault((name, model), []).append(figures(cells, set(known[name].dropna())))
    table = Table(title=f"{given.rows} rows, {len(asked)} asked, {given.seeds} seeds: mean (least to most)")
    columns = list(next(iter(found.values()))[0])
    for column in ("attribute", "model", *columns):
        table.add_column(column)
    for (name, model), runs in sorted(found.items()):
        spread = [[run[column] for run in runs] for column in columns]
        table.add_row(name, model, *(f"{np.mean(x):.3f} ({min(x):.3f} to {max(x):.3f})" for x in spread))
    Console(width=200).print(table)


if __name__ == "__main__":
    main()
