"""What `train --from` gains: a small catalog learned alone, and started from a model of another, bigger one.

    .venv/bin/python -m benchmarks.transfer --data DIR [--pairs home-fashion …] [--rows 200 500] [--seeds 0 1 2]

Per pair a source model is trained once. Per seed the target's rows are shuffled: the first `--rows` are the small
catalog (attrgan sets aside four in ten of them itself), the next TEST are held out. Both models are trained on the same
rows and scored on the same cells, every known cell of the held-out rows hidden once together with what gives it away.
Columns that mean the same carry the same name in both catalogs, as a user's schema would have it. Figures are means
over attributes (numbers within 5 %), then over seeds, with the standard deviation over seeds; the gain is the mean of
the differences seed by seed. Models, features and results are kept in `--out` and used again.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from attrgan import reading
from attrgan.evaluation import metrics
from attrgan.features import cache
from attrgan.lake.catalog import read_catalog
from attrgan.lake.cells import to_frame
from attrgan.schema import Schema
from attrgan.training.train import load_origin, train
from attrgan.training.trainer import Options
from benchmarks.ours import source_hash

TEST = 1000
DECIDES = ("features", "model", "training", "evaluation", "lake/cells.py")
CATEGORICAL = {"kind": "categorical"}
JOURNEY = {
    "entity": "product", "id": "product_id", "text": ["product_type"],
    "sequences": {"sales": {"columns": {"seq_week": "time", "seq_price": "numeric", "seq_qty": "numeric"}}},
    "attributes": {
        **dict.fromkeys(["brand", "manufacturer_id", "product_category"], CATEGORICAL),
        "package_unit": {"kind": "categorical", "derived_with": ["package_qty"]},
        "package_qty": {"kind": "numeric"},
        "list_price": {"kind": "numeric", "derived_with": ["seq_price"]},
    },
}  # fmt: skip
FASHION = {
    "entity": "product", "id": "id", "text": ["title", "description"],
    "attributes": {
        "brand": {"kind": "open"},
        **dict.fromkeys(["category", "department", "colour", "pattern", "neckline", "sleeve", "length", "material",
                         "season", "occasion", "fit"], CATEGORICAL),
        "price": {"kind": "numeric"},
    },
}  # fmt: skip
HOME = {
    "entity": "product", "id": "id", "text": ["title"],
    "attributes": {
        "brand": {"kind": "open"}, "category": CATEGORICAL, "colour": CATEGORICAL, "price": {"kind": "numeric"},
    },
}  # fmt: skip
IMPLICIT = {
    "entity": "product", "id": "id", "text": ["title"],
    "attributes": dict.fromkeys(
        ["category", "domain", "length", "material", "neckline", "occasion", "pattern", "season", "sleeve", "form"],
        CATEGORICAL,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Slice:
    """A catalog: its file, its schema, and which of its rows."""

    file: str
    schema: dict[str, Any]
    rename: dict[str, str]
    keep: Callable[[pd.DataFrame], pd.Series] | None = None
    most: int = 10_000

    def read(self, data: Path) -> pd.DataFrame:
        table = pd.read_parquet(data / f"{self.file}.parquet")
        table = table if self.keep is None else table[self.keep(table)]
        table = table.rename(columns=self.rename)
        for name in self.schema["attributes"]:
            if self.schema["attributes"][name]["kind"] != "numeric":
                table[name] = table[name].where(table[name].isna(), table[name].astype(str))
        columns = [c for c in Schema.parse(self.schema).columns if c in table]
        return table[columns].sample(frac=1, random_state=0)[: self.most].reset_index(drop=True)


_FASHION = Slice("livostyle", FASHION, {"price_min_usd": "price"})
PAIRS = {
    "grocery-others": (
        Slice("complete_journey_products", JOURNEY, {}, lambda t: t["department"] == "GROCERY", 6000),
        Slice("complete_journey_products", JOURNEY, {}, lambda t: t["department"] == "DRUG GM", 6000),
    ),
    "home-fashion": (Slice("home_improvement", HOME, {}), _FASHION),
    "implicit-fashion": (
        Slice(
            "implicit_ave_train", IMPLICIT,
            {n: n.lower() for n in ("Length", "Material", "Neckline", "Occasion", "Pattern", "Season", "Form")}
            | {"Sleeve Style": "sleeve"},
        ),
        _FASHION,
    ),
}  # fmt: skip


class Bench:
    """Where things are kept, and what is done once."""

    def __init__(self, data: Path, out: Path, epochs: int | None) -> None:
        self.data, self.out, self.epochs, self.code = data, out, epochs, source_hash(*DECIDES)

    def frame(self, piece: Slice, rows: slice = slice(None), seed: int | None = None) -> tuple[Schema, pd.DataFrame]:
        """The rows of a catalog as the model works on them, shuffled by a seed."""
        schema = Schema.parse(piece.schema | {"encoders": {"image": None}})
        table = piece.read(self.data)
        if seed is not None:
            table = table.sample(frac=1, random_state=seed)
        place = self.out / f"{os.getpid()}.parquet"
        place.parent.mkdir(parents=True, exist_ok=True)
        table[rows].to_parquet(place, index=False)
        frame = to_frame(read_catalog(str(place)).table, schema)
        place.unlink()
        return schema, frame

    def features(self, piece: Slice, frame: pd.DataFrame, schema: Schema) -> Any:
        place = str(self.out / "features" / piece.file)
        cache.update(frame, schema, place)
        return cache.lookup(frame, schema, place)

    def source(self, pair: str) -> Path:
        """The folder of the pair's source model."""
        folder = self.out / f"{pair}--source--{self.code}"
        if (folder / "metrics.json").is_file():
            return folder
        piece, started = PAIRS[pair][0], time.perf_counter()
        schema, frame = self.frame(piece)
        features = self.features(piece, frame, schema)
        folder.mkdir(parents=True, exist_ok=True)
        train(schema, frame, features, Options(epochs=self.epochs), folder, say=lambda _: None)
        print(f"{pair}: source of {len(frame)} rows, {time.perf_counter() - started:.0f} s", flush=True)
        return folder

    def target(self, pair: str, rows: int, seed: int, carried: bool) -> dict[str, Any]:
        """The figures of one training on the small catalog."""
        path = self.out / f"{pair}--{rows}--seed{seed}--{'from' if carried else 'alone'}--{self.code}.json"
        if path.is_file():
            return json.loads(path.read_text())
        piece = PAIRS[pair][1]
        schema, small = self.frame(piece, slice(rows), seed)
        _, test = self.frame(piece, slice(rows, rows + TEST), seed)
        origin = load_origin(self.source(pair)) if carried else None
        stage = self.out / f"{path.stem}.model"
        stage.mkdir(exist_ok=True)
        started = time.perf_counter()
        trained = train(
            schema, small, self.features(piece, small, schema), Options(seed=seed), stage,
            say=lambda _: None, origin=origin,
        )  # fmt: skip
        seconds = time.perf_counter() - started
        masks = reading.masks(test, schema, "mcar", None)
        cells = metrics.answer_hidden(trained.model, test, self.features(piece, test, schema), masks)
        measured = metrics.summarise(cells, trained.model)["attributes"]
        figures = {n: {k: m[k] for k in ("accuracy", "cov95", "n")} for n, m in measured.items()}
        done = {"attributes": figures, "seconds": seconds, "started_from": trained.model.config.get("started_from")}
        done["outcome"] = trained.model.config["outcome"]
        path.write_text(json.dumps(done, indent=1))
        for file in stage.iterdir():
            file.unlink()
        stage.rmdir()
        print(f"{path.stem}: accuracy {mean(done, 'accuracy'):.3f}, {seconds:.0f} s", flush=True)
        return done


def mean(result: dict[str, Any], key: str) -> float:
    return float(np.mean([f[key] for f in result["attributes"].values() if f["n"]]))


def figures(alone: list[dict[str, Any]], started: list[dict[str, Any]], key: str) -> list[str]:
    a, b = (np.array([mean(r, key) for r in results]) for results in (alone, started))
    cells = [f"{v.mean():.3f} ± {v.std(ddof=1) if len(v) > 1 else 0:.3f}" for v in (a, b)]
    d = b - a
    return [*cells, f"{d.mean():+.3f} ({d.min():+.3f} … {d.max():+.3f})"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("ATTRGAN_BENCHMARK_DATA"), help="folder of the Parquet files")
    parser.add_argument("--out", default="var/benchmarks/transfer")
    parser.add_argument("--pairs", nargs="+", default=list(PAIRS), choices=list(PAIRS))
    parser.add_argument("--rows", nargs="+", type=int, default=[200, 500])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--source-epochs", type=int, help="default: from the number of rows")
    parser.add_argument("--attributes", action="store_true", help="attribute by attribute")
    given = parser.parse_args()
    if not given.data or not Path(given.data).is_dir():
        parser.error("no data: name the folder with --data or in ATTRGAN_BENCHMARK_DATA")
    bench = Bench(Path(given.data), Path(given.out), given.source_epochs)
    table = Table("pair", "rows", "accuracy alone", "--from", "gain (seeds)", "cov95 alone", "--from", "gain (seeds)")
    for pair in given.pairs:
        for rows in given.rows:
            runs = [[bench.target(pair, rows, seed, carried) for seed in given.seeds] for carried in (False, True)]
            table.add_row(pair, str(rows), *figures(*runs, "accuracy"), *figures(*runs, "cov95"))
            for name in runs[0][0]["attributes"] if given.attributes else ():
                one = [[r | {"attributes": {name: r["attributes"][name]}} for r in results] for results in runs]
                table.add_row(f"  {name}", "", *figures(*one, "accuracy"), *figures(*one, "cov95"))
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
