"""Drift: how often a night like the training rows is flagged, and whether shifts made on purpose are seen.

    python -m benchmarks.drift --data DIR [--sets livostyle complete_journey] [--rows 50 200 1000] [--repeats 100]

Attribute, category and text level, which need no model: half of a set's rows, chosen at random, are the training
catalog, the others are the nights. A shift is made on nights of the other half; what it concerns must be flagged, and
every attribute that is suspended besides is printed too.
"""

import argparse
import dataclasses
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from attrgan.config import Drift
from attrgan.errors import AttrGANError
from attrgan.lake.cells import to_frame
from attrgan.quality.drift import Check, distribution_checks, flag
from attrgan.quality.reference import Reference, sampled
from attrgan.schema import Schema
from benchmarks import tasks
from benchmarks.catalogs import DATA, data_folder

CATEGORY = {"livostyle": "category", "complete_journey": "product_category"}
BRAND = {"livostyle": "brand", "complete_journey": "manufacturer_id"}
PRICE = {"livostyle": "price_min_usd", "complete_journey": "list_price"}
SWAPPED = {"livostyle": ("colour", "pattern"), "complete_journey": ("department", "package_unit")}
Shift = Callable[[pd.DataFrame], pd.DataFrame]


def load(name: str, data: Path) -> tuple[Schema, pd.DataFrame]:
    """A set's rows, holes as in the other benchmarks, without pictures; compared within its categories."""
    task = tasks.load(name, data, 0)
    described = dataclasses.replace(task.set, images=(), category=CATEGORY[name])
    rows = pd.concat([task.train, task.test], ignore_index=True).drop(columns=list(task.set.images))
    schema = Schema.parse(described.schema())
    return schema, to_frame(pa.Table.from_pandas(rows, preserve_index=False), schema)


def halves(frame: pd.DataFrame, schema: Schema, repeat: int) -> tuple[Reference, pd.DataFrame]:
    """The reference of a random half, and the other half in random order."""
    order = np.random.default_rng(repeat).permutation(len(frame))
    there, new = np.array_split(order, 2)
    return Reference.fit(frame.iloc[there].reset_index(drop=True), schema, {}), frame.iloc[new].reset_index(drop=True)


def judged(reference: Reference, schema: Schema, night: pd.DataFrame, limits: Drift) -> list[Check]:
    """The checks of a night."""
    night = night.reset_index(drop=True)
    checks = distribution_checks(reference, night, schema, sampled(len(night), limits.sample_rows, 0), {}, limits)
    flag(checks, limits)
    return checks


def shifts(name: str, frame: pd.DataFrame, schema: Schema, data: Path) -> Iterator[tuple[str, Shift, str]]:
    """What is done to a night, and the check that must see it."""
    category, brand, price, swapped = CATEGORY[name], BRAND[name], PRICE[name], list(SWAPPED[name])
    one, largest, text = frame[category].mode()[0], frame[brand].mode()[0], schema.text[0]
    chinese, english = (
        pd.read_parquet(tasks.path_of(data, s), columns=["title"])["title"] for s in ("jd_laptops", "home_improvement")
    )

    def titles(other: "pd.Series[str]") -> Shift:
        return lambda night: night.assign(**{text: np.resize(other.to_numpy(), len(night))})

    yield "one category only", lambda night: night[night[category] == one], f"{category}: mix"
    yield (
        "largest brand renamed",
        lambda n: n.assign(**{brand: n[brand].replace(largest, "New Name")}),
        f"{brand}: values",
    )
    yield "prices × 100", lambda night: night.assign(**{price: night[price] * 100}), f"{price}: values"
    yield "Chinese titles of laptops", titles(chinese), f"{text}: script"
    yield "English titles of hardware", titles(english), f"{text}: unknown words"
    yield "emptied texts", lambda night: night.assign(**{schema.text[-1]: None}), f"{schema.text[-1]}: missing"
    yield (
        "two columns swapped",
        lambda n: n.assign(**{a: n[b] for a, b in zip(swapped, swapped[::-1], strict=True)}),
        f"{swapped[0]}: values",
    )


def false_alarms(name: str, data: Path, sizes: list[int], repeats: int, console: Console) -> None:
    """Prints the share of nights on which anything was flagged though nothing had changed."""
    limits, (schema, frame) = Drift(), load(name, data)
    table = Table("rows", "nights", "flagged", "significant", "judged", title=f"{name}: nothing has changed")
    nights: dict[int, list[list[Check]]] = {size: [] for size in sizes}
    for repeat in range(repeats):
        reference, others = halves(frame, schema, repeat)
        for size in sizes:
            nights[size].append(judged(reference, schema, others.iloc[:size], limits))
    for size, found in nights.items():
        flagged = sum(any(c.flagged for c in checks) for checks in found)
        significant = sum(
            any(c.adjusted is not None and c.adjusted <= limits.false_alarm_rate for c in checks) for checks in found
        )
        mean = np.mean([sum(c.judged for c in checks) for checks in found])
        table.add_row(f"{size:,}", str(len(found)), str(flagged), str(significant), f"{mean:.0f}")
    console.print(table)


def detection(name: str, data: Path, sizes: list[int], repeats: int, console: Console) -> None:
    """Prints on how many nights each shift was seen, and what else was suspended."""
    limits, (schema, frame) = Drift(), load(name, data)
    table = Table("shift", "rows", "seen", "suspended, on how many nights", title=f"{name}: shifted on purpose")
    prepared = [halves(frame, schema, repeat) for repeat in range(repeats)]
    for what, shift, check in shifts(name, frame, schema, data):
        for size in sizes:
            found = [judged(r, schema, shift(others).iloc[:size], limits) for r, others in prepared]
            seen = sum(any(c.flagged and c.name == check for c in checks) for checks in found)
            suspended = Counter(a for checks in found for a in {a for c in checks if c.flagged for a in c.suspends})
            named = ", ".join(f"{a} {n}" for a, n in suspended.most_common())
            every = len(suspended) == len(schema.attributes) and len(set(suspended.values())) == 1
            table.add_row(
                what, f"{size:,}", f"{seen} of {repeats}", f"all {max(suspended.values())}" if every else named
            )
    console.print(table)


def main(argv: list[str] | None = None) -> int:
    """Prints the tables; returns the exit code."""
    parser = argparse.ArgumentParser("python -m benchmarks.drift", description=__doc__.splitlines()[0])
    parser.add_argument("--data", help=f"folder with the Parquet files; default: the variable {DATA}")
    parser.add_argument("--sets", nargs="+", choices=list(CATEGORY), default=list(CATEGORY))
    parser.add_argument("--rows", nargs="+", type=int, default=[50, 200, 1000], help="sizes of the nights")
    parser.add_argument(
        "--repeats", type=int, default=100, help="nights of each size; a fifth of it, of the last size, for each shift"
    )
    given = parser.parse_args(argv)
    console = Console(width=None if sys.stdout.isatty() else 200)
    try:
        data = data_folder(given.data)
        for name in given.sets:
            false_alarms(name, data, given.rows, given.repeats, console)
            detection(name, data, given.rows[-1:], max(given.repeats // 5, 1), console)
    except AttrGANError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
