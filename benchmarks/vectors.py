"""Are an item's vectors good for search? Nearest neighbours by `attrgan features --vectors`, beside TF-IDF neighbours.

    .venv/bin/python -m benchmarks.vectors --data DIR [--sets jd_laptops …] [--rows 2000]

A model is trained on `--rows` items; TEST items that it never saw look for their neighbours among one another. Per
label: the share of the ten nearest that have the same one, with the label (and what gives it away) hidden from both;
*chance* is the share of all pairs. *duplicate*: the share of the items whose title begins with the same 25 characters
as another's that find such a one first, with every attribute visible. TF-IDF reads the text (character 2- to 4-grams
within words) and the values of the known attributes, as words.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from sklearn.feature_extraction.text import TfidfVectorizer

from attrgan.features import cache
from attrgan.lake.catalog import read_catalog
from attrgan.lake.cells import to_frame
from attrgan.model import CompletionModel
from attrgan.schema import Schema
from attrgan.training.train import train
from attrgan.training.trainer import Options
from benchmarks.transfer import CATEGORICAL, FASHION, JOURNEY, Slice

TEST, NEAREST = 1000, 10
LAPTOPS = {
    "entity": "product", "id": "id", "text": ["title"], "encoders": {"language": None},
    "attributes": {
        **dict.fromkeys(["brand", "category", "cpu", "gpu", "colour", "shop_type"], CATEGORICAL),
        **{name: {"kind": "numeric"} for name in ("ram_gb", "storage_gb", "screen_inch", "price")},
    },
}  # fmt: skip
SETS = {
    "jd_laptops": (Slice("jd_laptops", LAPTOPS, {}), ["brand", "category", "cpu"]),
    "complete_journey": (
        Slice("complete_journey_products", JOURNEY, {}, lambda t: t["department"].isin(["GROCERY", "DRUG GM"])),
        ["product_category", "brand"],
    ),
    "livostyle": (Slice("livostyle", FASHION, {"price_min_usd": "price"}), ["category", "pattern", "sleeve"]),
}


def read(piece: Slice, data: Path) -> tuple[Schema, pd.DataFrame]:
    schema = Schema.parse({"encoders": {"image": None}} | piece.schema)
    with tempfile.TemporaryDirectory() as folder:
        piece.read(data).to_parquet(f"{folder}/items.parquet", index=False)
        return schema, to_frame(read_catalog(f"{folder}/items.parquet").table, schema)


def model_of(name: str, schema: Schema, frame: pd.DataFrame, epochs: int | None, out: Path) -> CompletionModel:
    folder = out / f"{name}-{len(frame)}-{epochs}"
    if not (folder / "metrics.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        features = cache.lookup(frame, schema, str(out / "features" / name))
        train(schema, frame, features, Options(epochs=epochs), folder, say=lambda _: None)
    return CompletionModel.load(folder)


def without(frame: pd.DataFrame, schema: Schema, label: str) -> pd.DataFrame:
    """The items without a label and all that gives it away."""
    return frame.assign(**{
        name: np.nan if name in schema.attributes and schema.attributes[name].kind == "numeric" else None
        for name in schema.hidden_together[label]
    })  # fmt: skip


def tfidf(frame: pd.DataFrame, schema: Schema) -> Any:
    values = [c + "=" + frame[c].astype(str).where(frame[c].notna(), "") for c in schema.attributes]
    text = frame[schema.text].fillna("").agg(" ".join, axis=1)
    for column, value in zip(schema.attributes, values, strict=True):
        text = text + " " + value.where(frame[column].notna(), "").str.replace(" ", "_")
    vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True).fit_transform(text)
    return (vectors @ vectors.T).toarray()


def nearest(similarity: np.ndarray) -> np.ndarray:
    """int64 (N, NEAREST): the most similar other items."""
    similarity = similarity.copy()
    np.fill_diagonal(similarity, -np.inf)
    return np.argsort(-similarity, axis=1, kind="stable")[:, :NEAREST]


def same(neighbours: np.ndarray, labels: pd.Series) -> float:
    known, of = labels.notna().to_numpy(), labels.to_numpy(object)
    return float(np.mean([(of[neighbours[i]] == of[i]).mean() for i in np.flatnonzero(known)]))


def chance(labels: pd.Series) -> float:
    counts = labels.value_counts().to_numpy()
    return float((counts * (counts - 1)).sum() / counts.sum() / (len(labels) - 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("ATTRGAN_BENCHMARK_DATA"), help="folder of the Parquet files")
    parser.add_argument("--out", default="var/benchmarks/vectors")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--epochs", type=int, help="default: from the number of rows")
    given = parser.parse_args()
    if not given.data or not Path(given.data).is_dir():
        sys.exit("no data: name the folder with --data or in ATTRGAN_BENCHMARK_DATA")
    table = Table("set", "label", "chance", "TF-IDF", "attrgan", "attrgan / TF-IDF")
    for name in given.sets:
        piece, labels = SETS[name]
        schema, frame = read(piece, Path(given.data))
        model = model_of(name, schema, frame[: given.rows], given.epochs, Path(given.out))
        test = frame[given.rows : given.rows + TEST].reset_index(drop=True)
        features = cache.lookup(test, schema, str(Path(given.out) / "features" / name))
        for label in labels:
            hidden = without(test, schema, label)
            vectors = model.vectors(hidden, features)
            shares = [same(nearest(s), test[label]) for s in (tfidf(hidden, schema), vectors @ vectors.T)]
            table.add_row(
                name, label, *(f"{x:.3f}" for x in (chance(test[label]), *shares)), f"{shares[1] / shares[0]:.2f}"
            )
        begins = test[schema.text[0]].str[:25]
        begins = begins.where(begins.duplicated(keep=False) & begins.notna())
        vectors = model.vectors(test, features)
        shares = [same(nearest(s)[:, :1], begins) for s in (tfidf(test, schema), vectors @ vectors.T)]
        row = (chance(begins), *shares)
        table.add_row(
            name, f"duplicate ({begins.notna().sum()})", *(f"{x:.3f}" for x in row), f"{shares[1] / shares[0]:.2f}"
        )
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
