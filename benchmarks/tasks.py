"""What a model is given and what it is asked: a set, split and holed by its protocol, for one seed.

The seed of a run moves the split (the salt of the hash) and the holes (the generator of random numbers), besides
whatever a model does with it. Where a split is published, it stays.
"""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd

from attrgan.errors import InputError
from attrgan.evaluation.hiding import Missing, at_rate
from attrgan.schema import NOT_APPLICABLE, Schema
from benchmarks.sets import SETS, DataSet

VERSION = 3
"""Raised when a split, the holes or the scoring change: results of other versions are computed anew."""
ID = "product_id"
Parts = tuple[DataSet, pd.DataFrame, pd.DataFrame, pd.DataFrame]
"""A set's description, training rows, test rows and truth."""
TEST_SHARE, HIDDEN_SHARE, MISSING_SHARE = 0.2, 0.3, 0.2


@dataclasses.dataclass(frozen=True)
class Task:
    """One set, ready to be learned and asked.

    Attributes:
        train: rows to learn from, with holes; columns: the id, what the schema names.
        test: rows to complete; the same columns.
        truth: one row per asked cell: `product_id`, `attribute`, `value` (a string; None: there is none). Extraction
            adds `listed` (the row itself lists the attribute) and `accepted` (the right answers).
    """

    name: str
    set: DataSet
    seed: int
    train: pd.DataFrame
    test: pd.DataFrame
    truth: pd.DataFrame

    @property
    def schema(self) -> Schema:
        return Schema.parse(self.set.schema())


def split(frame: pd.DataFrame, salt: str, share: float = TEST_SHARE) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train and test rows, by a salted hash of the id."""
    digests = frame[ID].astype(str).map(lambda i: hashlib.sha1((salt + i).encode()).hexdigest())
    drawn = digests.map(lambda d: int(d[:8], 16) / 0xFFFFFFFF)
    return frame[drawn >= share].reset_index(drop=True), frame[drawn < share].reset_index(drop=True)


def hide(
    frame: pd.DataFrame, attributes: list[str], rng: np.random.Generator, share: float = HIDDEN_SHARE
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Hides each known cell with the given probability; returns the holed rows and what was hidden."""
    holed, cells = frame.copy(), []
    for name in attributes:
        chosen = (frame[name].notna() & (rng.random(len(frame)) < share)).to_numpy()
        cells.append(_cells(frame[chosen], name))
        holed[name] = holed[name].mask(chosen)
    return holed, pd.concat(cells, ignore_index=True)


def _cells(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    values = frame[name].astype(str).to_numpy(dtype=object)
    return pd.DataFrame({ID: frame[ID].to_numpy(), "attribute": name, "value": values})


def path_of(data: Path, file: str) -> Path:
    """A file of the data folder; raises InputError where it is not there."""
    path = data / f"{file}.parquet"
    if not path.is_file():
        raise InputError(f"no file {path}: expected the folder with the benchmark's Parquet files; name it with --data")
    return path


def load(name: str, data: Path, seed: int, missing: Missing = "mcar") -> Task:
    """The task of a set for a seed.

    Args:
        missing: how cells are hidden by the protocol `hidden`, in training and in test rows (`hiding.at_rate`).
    """
    described = SETS[name]
    frame = pd.read_parquet(path_of(data, described.file))
    if described.rows and len(frame) > described.rows:
        frame = frame.sample(described.rows, random_state=0)
    frame = frame.reset_index(drop=True)
    if described.asked:
        parts = _labels(described, frame, pd.read_parquet(path_of(data, described.asked)))
    elif described.protocol == "hidden":
        parts = _hidden(described, frame, seed, missing)
    elif described.protocol == "mcar":
        parts = _mcar(described, frame, seed)
    else:
        parts = {"published": _published, "extraction": _extraction}[described.protocol](described, frame)
    return Task(name, parts[0], seed, *parts[1:])


def subsample(task: Task, percent: float) -> Task:
    """The same task with so many per cent of the rows to learn from."""
    return dataclasses.replace(
        task, train=task.train.sample(frac=percent / 100, random_state=task.seed).reset_index(drop=True)
    )


def _columns(described: DataSet, frame: pd.DataFrame) -> pd.DataFrame:
    """The columns of the schema: the id as a string, values as strings, numbers as numbers."""
    ids = frame[described.id] if described.id else pd.Series(range(len(frame)))
    kept = [*described.text, *described.images, *(c for c, _ in described.sequences), *described.kinds]
    if described.category and described.category not in kept:
        kept.append(described.category)
    found = pd.DataFrame({ID: ids.astype(str).to_numpy(dtype=object)})
    for column in kept:
        cells = frame[column].reset_index(drop=True)
        if described.kinds.get(column) == "numeric":
            found[column] = _numbers(cells)
        elif column in described.kinds:
            found[column] = cells.astype(str).astype(object).where(cells.notna().astype(bool), None)
        else:
            found[column] = cells
    return found


def _numbers(cells: pd.Series) -> pd.Series:
    if not pd.api.types.is_numeric_dtype(cells):
        cells = cells.astype(str).str.replace("[$,]", "", regex=True)
    return pd.to_numeric(cells, errors="coerce").astype(float)


def _hidden(described: DataSet, frame: pd.DataFrame, seed: int, missing: Missing) -> Parts:
    train, test = split(_columns(described, frame), f"h1-{seed}" if seed else "h1")
    rng = np.random.default_rng(7 + seed)
    if missing != "mcar":
        train, _ = _hide_as(described, train, rng, missing)
        return described, train, *_hide_as(described, test, rng, missing)
    train, _ = hide(train, described.scored, rng)
    return described, train, *hide(test, described.scored, rng)


def _hide_as(
    described: DataSet, frame: pd.DataFrame, rng: np.random.Generator, missing: Missing
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Hides three in ten known cells by a pattern; returns the holed rows and what was hidden."""
    schema = Schema.parse(described.schema())
    cells = at_rate(frame, schema, rng, HIDDEN_SHARE, missing).cells
    holed, truth = frame.copy(), []
    for i, name in enumerate(schema.attributes):
        if name in described.scored:
            chosen = cells[:, i] & frame[name].notna().to_numpy()
            truth.append(_cells(frame[chosen], name))
            holed[name] = holed[name].mask(chosen)
    return holed, pd.concat(truth, ignore_index=True)


def _published(described: DataSet, frame: pd.DataFrame) -> Parts:
    rows, is_test = _columns(described, frame), (frame["split"] == "test").to_numpy()
    test = rows[is_test].reset_index(drop=True)
    return (
        described,
        rows[~is_test].reset_index(drop=True),
        *hide(test, described.scored, np.random.default_rng(0), 1.0),
    )


def _labels(described: DataSet, frame: pd.DataFrame, asked: pd.DataFrame) -> Parts:
    train = _columns(described, frame)
    truth = asked.rename(columns={described.id: ID})[[ID, "attribute", "value"]].astype(object)
    blank = asked.assign(**dict.fromkeys(described.scored))
    return described, train, _columns(described, blank), truth


def _extraction(described: DataSet, frame: pd.DataFrame) -> Parts:
    columns = [c for c in frame if c.startswith("attr:")]
    frame = frame.rename(columns={c: c.removeprefix("attr:") for c in columns})
    described = dataclasses.replace(described, open=tuple(c.removeprefix("attr:") for c in columns))
    rows, is_test = _columns(described, frame), (frame["split"] == "test").to_numpy()
    train, test = rows[~is_test].reset_index(drop=True), rows[is_test].reset_index(drop=True)
    if described.not_listed == "n/a":
        for category, names in _listed(frame[~is_test]).items():
            of_category = train["category"] == category
            for name in names:
                train.loc[of_category & train[name].isna(), name] = NOT_APPLICABLE
    truth = _extraction_truth(frame[is_test], _listed(frame))
    return described, train, test.assign(**dict.fromkeys(described.open)), truth


def _listed(frame: pd.DataFrame) -> dict[str, list[str]]:
    """Category → the attributes that any of its rows lists."""
    return {
        str(category): sorted({name for names in lists for name in names})
        for category, lists in frame.groupby("category")["schema"]
    }


def _extraction_truth(frame: pd.DataFrame, listed: dict[str, list[str]]) -> pd.DataFrame:
    """Every attribute of the row's category, with the values that count as right."""
    cells = []
    for row_id, category, names, attributes in zip(
        frame["id"], frame["category"], frame["schema"], frame["attrs"], strict=True
    ):
        values = json.loads(attributes)
        for name in listed[category]:
            accepted = values.get(name, [])
            cells.append((row_id, name, accepted[0] if accepted else None, name in set(names), accepted))
    return pd.DataFrame(cells, columns=[ID, "attribute", "value", "listed", "accepted"], dtype=object)


def _mcar(described: DataSet, frame: pd.DataFrame, seed: int) -> Parts:
    described = dataclasses.replace(described, numeric=tuple(map(str, frame)))
    rows = _columns(described, frame)
    table = rows[list(described.numeric)]
    spread = (table.max() - table.min()).replace(0, 1)
    rows[list(described.numeric)] = (table - table.min()) / spread
    holed, truth = hide(rows, described.scored, np.random.default_rng(7 + seed), MISSING_SHARE)
    return described, holed, holed.copy(), truth
