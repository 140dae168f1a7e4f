"""The pretrained levels against what one would write first: titles and pictures per second, and how far they agree.

    make demo && .venv/bin/python benchmarks/encoders.py
    .venv/bin/python benchmarks/encoders.py --data catalog.parquet --text title --image picture

The peers use the same weights: batches of 32 in the given order, float32, texts padded to the longest of a batch,
pictures decoded whole one after the other. Both take turns on the same distinct items, three times; printed are the
medians of items per second, their ratio, the cosine between the vectors of both, and how often the nearest neighbour is
the same.
"""

import argparse
import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from rich.console import Console
from rich.table import Table

from attrgan.features import image, language, pretrained
from attrgan.schema import Encoders, Schema

BATCH = 32


def language_peer() -> Callable[[pd.DataFrame], np.ndarray]:
    import torch
    from transformers import AutoModel, AutoTokenizer

    place = pretrained.folder(str(Encoders().language))
    tokenizer, model = AutoTokenizer.from_pretrained(place), AutoModel.from_pretrained(place).eval()

    def encode(frame: pd.DataFrame) -> np.ndarray:
        texts = frame.fillna("").agg("\n".join, axis=1).tolist()
        found = []
        for start in range(0, len(texts), BATCH):
            batch = tokenizer(
                texts[start : start + BATCH], padding=True, truncation=True, max_length=128, return_tensors="pt"
            )
            with torch.no_grad():
                vectors = model(**batch).last_hidden_state
            mask = batch["attention_mask"][..., None]
            found.append(torch.nn.functional.normalize((vectors * mask).sum(1) / mask.sum(1), dim=1))
        return torch.cat(found).numpy()

    return encode


def image_peer() -> Callable[[pd.DataFrame], np.ndarray]:
    import torch

    from attrgan.features.efficientnet import SIZE, WEIGHTS, EfficientNetLite0

    network = EfficientNetLite0().eval()
    network.load_state_dict(torch.load(pretrained.folder(str(Encoders().image)) / WEIGHTS, weights_only=True))

    def encode(frame: pd.DataFrame) -> np.ndarray:
        cells, found = frame.iloc[:, 0].tolist(), []
        for start in range(0, len(cells), BATCH):
            pictures = [Image.open(io.BytesIO(cell)).convert("RGB") for cell in cells[start : start + BATCH]]
            squares = [picture.resize((SIZE, SIZE), Image.Resampling.BICUBIC) for picture in pictures]
            pixels = torch.stack([torch.from_numpy(np.array(square)).permute(2, 0, 1) for square in squares])
            with torch.no_grad():
                maps = network((pixels.float() - 127) / 128)
            parts = [maps.mean((2, 3)), maps[:, :, 2:5, 2:5].mean((2, 3))]
            found.append(torch.cat([torch.nn.functional.normalize(part, dim=1) for part in parts], 1))
        return torch.cat(found).numpy()

    return encode


def ours(level: str, schema: Schema) -> Callable[[pd.DataFrame], np.ndarray]:
    module, column = {"language": (language, "language.sentence"), "image": (image, "image.vector")}[level]
    module.load(getattr(schema.encoders, level))

    def encode(frame: pd.DataFrame) -> np.ndarray:
        return np.array(module.encode(frame, schema)[column].to_pylist(), np.float32)

    return encode


def nearest(vectors: np.ndarray) -> np.ndarray:
    centred = vectors - vectors.mean(0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    return (centred @ centred.T - 2 * np.eye(len(centred))).argmax(1)


def compare(level: str, items: pd.DataFrame, schema: Schema, repeats: int) -> list[str]:
    """One row of the table: the peer and ours in turns on the same items."""
    encoders = {"peer": {"language": language_peer, "image": image_peer}[level](), "ours": ours(level, schema)}
    seconds: dict[str, list[float]] = {name: [] for name in encoders}
    vectors = {name: encode(items.iloc[:BATCH]) for name, encode in encoders.items()}
    for _ in range(repeats):
        for name, encode in encoders.items():
            started = time.perf_counter()
            vectors[name] = encode(items)
            seconds[name].append(time.perf_counter() - started)
    exact, found = vectors["peer"], vectors["ours"][:, : vectors["peer"].shape[1]]
    cosine = (exact * found).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(found, axis=1)
    rates = {name: len(items) / np.median(taken) for name, taken in seconds.items()}
    return [
        level, str(len(items)), f"{rates['peer']:.0f}", f"{rates['ours']:.0f}", f"{rates['ours'] / rates['peer']:.2f}",
        f"{cosine.mean():.5f}", f"{cosine.min():.5f}", f"{(nearest(exact) == nearest(found)).mean():.3f}",
    ]  # fmt: skip


def main() -> None:
    import torch

    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", help="a Parquet file; default: valid.parquet of the demo's training run")
    arguments.add_argument("--text", nargs="*", default=[], help="text columns; default: those of the demo")
    arguments.add_argument("--image", help="a column of picture bytes")
    arguments.add_argument("--rows", type=int, default=1000)
    arguments.add_argument("--repeats", type=int, default=3)
    given = arguments.parse_args()
    runs = sorted(Path("var/demo/runs/train_model").glob("*/*"))
    data = given.data or runs[-1] / "validate" / "valid.parquet"
    texts = given.text or ([] if given.data else Schema.load(runs[-1] / "train" / "schema.yaml").text)
    roles = {"text": texts, "images": [given.image] if given.image else []}
    schema = Schema.parse({"id": "id", "attributes": {"any": {"kind": "categorical"}}} | roles)
    frame = pd.read_parquet(data, columns=[*texts, *roles["images"]])
    table = Table(
        "level", "items", "peer / s", "ours / s", "ours / peer", "cosine mean", "min", "same neighbour",
        title=f"{torch.get_num_threads()} threads, {pretrained.precision()}",
    )  # fmt: skip
    for level, columns in {"language": texts, "image": roles["images"]}.items():
        if columns:
            items = frame[columns].dropna(how="any").drop_duplicates().reset_index(drop=True)
            items = items.sample(min(given.rows, len(items)), random_state=0).reset_index(drop=True)
            table.add_row(*compare(level, items, schema, given.repeats))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
