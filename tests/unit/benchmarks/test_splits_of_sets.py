"""What is asked: the split and the holes of the published protocol, and what each protocol may not give away."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import tasks
from benchmarks.sets import SETS
from benchmarks.tasks import ID

ROWS = pd.DataFrame({ID: [f"i{n}" for n in range(2000)], "colour": (["red", "blue", None, "grey"] * 500)})


def test_a_fifth_of_the_rows_are_test_rows_and_another_salt_chooses_others() -> None:
    train, test = tasks.split(ROWS, "h1")
    assert len(train) + len(test) == 2000
    assert 0.17 < len(test) / 2000 < 0.23
    assert set(test[ID]) != set(tasks.split(ROWS, "h1-1")[1][ID])


def test_hidden_cells_are_gone_from_the_rows_and_nothing_else_is() -> None:
    holed, truth = tasks.hide(ROWS, ["colour"], np.random.default_rng(7))
    hidden = ROWS.set_index(ID)["colour"][truth[ID]]
    assert (hidden.to_numpy() == truth["value"].to_numpy()).all()
    assert holed.set_index(ID)["colour"][truth[ID]].isna().all()
    assert holed["colour"].notna().sum() == ROWS["colour"].notna().sum() - len(truth)


def reference(frame: pd.DataFrame, id_column: str, attributes: list[str]) -> tuple[set[str], dict[str, int]]:
    """The protocol in its own words: test ids, hidden test cells per attribute (train rows draw first)."""
    ids = frame[id_column].astype(str)
    share = np.array([int(hashlib.sha1(("h1" + i).encode()).hexdigest()[:8], 16) / 0xFFFFFFFF for i in ids])
    rng = np.random.default_rng(7)
    for _ in attributes:
        rng.random(int((share >= 0.2).sum()))
    test = frame[share < 0.2]
    hidden = {a: int((test[a].notna().to_numpy() & (rng.random(len(test)) < 0.3)).sum()) for a in attributes}
    return set(ids[share < 0.2]), hidden


@pytest.mark.parametrize("name", ["livostyle", "complete_journey", "jd_laptops"])
def test_the_split_and_the_hidden_cells_are_those_of_the_protocol(name: str, data: Path) -> None:
    described = SETS[name]
    frame = pd.read_parquet(data / f"{described.file}.parquet")
    if described.rows and len(frame) > described.rows:
        frame = frame.sample(described.rows, random_state=0)
    ids, hidden = reference(frame, described.id, [*described.categorical, *described.numeric])
    found = tasks.load(name, data, 0)
    assert set(found.test[ID]) == ids
    assert found.truth["attribute"].value_counts().to_dict() == hidden


@pytest.mark.parametrize("name", list(SETS))
def test_no_asked_cell_is_in_the_rows_that_are_given(name: str, data: Path) -> None:
    task = tasks.load(name, data, 1)
    given = task.test.set_index(ID)
    for attribute, cells in task.truth.groupby("attribute"):
        assert given.loc[cells[ID], attribute].isna().all()
    if task.set.protocol != "mcar":
        assert not set(task.test[ID]) & set(task.train[ID])


@pytest.mark.parametrize("name", ["ae_110k-na", "oa_mine-na"])
def test_not_listed_is_n_a_in_training_rows_whose_category_has_the_attribute(name: str, data: Path) -> None:
    task, unknown = tasks.load(name, data, 0), tasks.load(name.removesuffix("-na"), data, 0)
    added = task.train[list(task.set.open)].eq("n/a")
    assert added.any(axis=None)
    assert (unknown.train[list(task.set.open)].isna() | ~added).all(axis=None)
    for category, rows in task.train.groupby("category"):
        of_category = unknown.train[unknown.train["category"] == category]
        for attribute in task.set.open:
            if of_category[attribute].notna().any():
                assert rows[attribute].notna().all()


def test_numeric_tables_are_scaled_and_a_fifth_is_missing(data: Path) -> None:
    task = tasks.load("gain/breast_wdbc", data, 0)
    cells = task.test[list(task.set.numeric)].to_numpy()
    assert np.nanmin(cells) == 0
    assert np.nanmax(cells) == 1
    assert 0.18 < np.isnan(cells).mean() < 0.22
