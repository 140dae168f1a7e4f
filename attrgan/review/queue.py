"""Which cells people are asked about: the review queue, most valuable first, or a fair sample to audit the model by.

*Worth.* An answer is worth the uncertainty it removes (the entropy, in bits, of *is the proposal right?*) times the
cells it speaks for: the open cells of the attribute with the same proposal, shared among the answers that this
proposal has already. An answer about an item that training sets aside (`attrgan.evaluation.splits`) speaks for its own
cell only.

*Audit.* Cells picked because they are uncertain say nothing about those that are not, so thresholds rest on another
kind of sample: of every attribute the cells with the smallest hashes of seed, attribute and id, whatever became of
them. That is a simple random sample; a larger limit only adds to it, and so does another day.
"""

import numpy as np
import pandas as pd

from attrgan.errors import InputError
from attrgan.evaluation.splits import id_hashes, split
from attrgan.lake.landing import check_date
from attrgan.review import answers
from attrgan.review.cells import Warehouse

PURPOSES = ("queue", "audit")
DETAILS = ["value", "number", "lower", "upper", "confidence", "status", "source", "evidence", "model_version", "run_id"]


def choose(
    warehouse: Warehouse, purpose: str, dt: str | None, attribute: str | None, limit: int, seed: int
) -> pd.DataFrame:
    """The cells of a sheet: `queue` or `audit`; raises InputError for another purpose, a wrong date or limit."""
    if purpose not in PURPOSES:
        raise InputError(f"--purpose {purpose} is not known: expected {' or '.join(PURPOSES)}")
    if limit < 1:
        raise InputError(f"--limit {limit} is no number of cells: expected 1 or more")
    dt = check_date(dt) if dt else None
    if purpose == "audit":
        return audit(warehouse, dt=dt, attribute=attribute, limit=limit, seed=seed)
    return queue(warehouse, dt=dt, attribute=attribute, limit=limit)


def queue(
    warehouse: Warehouse, *, dt: str | None = None, attribute: str | None = None, limit: int = 200
) -> pd.DataFrame:
    """The `limit` cells in review whose answers are worth most, best first.

    Args:
        dt: only items whose newest version is of this partition; attribute: only this one.

    Returns:
        One row per cell: key, attribute, dt, worth, and the completion's columns (`DETAILS`).
    """
    cells = open_cells(warehouse)
    given = answers.current(warehouse)
    cells["worth"] = worth(cells, given, trainable(warehouse))
    cells = cells[cells["attribute"].isin(warehouse.attributes(attribute))]
    cells = cells[cells["dt"] == dt] if dt else cells
    best = cells.sort_values(["worth", "attribute", "key"], ascending=[False, True, True], kind="stable")[:limit]
    return _detailed(warehouse, best[["key", "attribute", "worth"]])


def audit(
    warehouse: Warehouse, *, dt: str | None = None, attribute: str | None = None, limit: int = 200, seed: int = 0
) -> pd.DataFrame:
    """A simple random sample of `limit` answered cells of each attribute, without those that were audited already.

    Returns:
        As `queue`; `worth` is null, `answer` and `reviewer` are those that the queue has brought already.
    """
    cells = warehouse.completions([])
    cells = cells[cells["attribute"].isin(warehouse.attributes(attribute))]
    cells = cells[cells["dt"] == dt] if dt else cells
    cells["chance"] = id_hashes(f"{seed}\x1f" + cells["attribute"].astype(str) + "\x1f" + cells["key"].astype(str))
    drawn = cells.sort_values(["attribute", "chance"], kind="stable").groupby("attribute", sort=True).head(limit)
    given = answers.current(warehouse)[["key", "attribute", "answer", "reviewer", "purpose"]]
    drawn = drawn.merge(given, on=["key", "attribute"], how="left")
    drawn = drawn[drawn["purpose"] != "audit"]
    # item by item, in an order by lot: who stops halfway has answered a sample all the same
    turn = id_hashes(f"{seed}\x1f" + drawn["key"].astype(str))
    drawn = drawn.assign(turn=turn).sort_values(["turn", "attribute"], kind="stable")
    return _detailed(warehouse, drawn[["key", "attribute", "answer", "reviewer"]].assign(worth=None))


def open_cells(warehouse: Warehouse) -> pd.DataFrame:
    """Cells in review that nobody has answered: key, attribute, dt, value, confidence."""
    cells = warehouse.completions(["value", "confidence"], status="review")
    given = answers.current(warehouse)[["key", "attribute"]].assign(given=True)
    cells = cells.merge(given, on=["key", "attribute"], how="left")
    return cells[cells["given"].isna()].drop(columns="given").reset_index(drop=True)


def worth(cells: pd.DataFrame, given: pd.DataFrame, trains: pd.Index) -> np.ndarray:
    """What an answer to each open cell is worth, float64 (n,), in bits: see the module.

    Args:
        cells: attribute, value, confidence, key of the open cells; given: attribute, proposed of the answers there are.
        trains: keys of the items that training learns from.
    """
    if cells.empty:
        return np.zeros(0)
    doubt = entropy(cells["confidence"].to_numpy(float))
    proposals = pd.MultiIndex.from_frame(cells[["attribute", "value"]].astype(str))
    alike = pd.Series(1, proposals).groupby(level=[0, 1]).transform("sum").to_numpy(float)
    learns = cells["key"].isin(trains).to_numpy()
    order = np.lexsort((cells["key"].astype(str), -doubt, ~learns))
    rank = np.empty(len(cells))
    rank[order] = pd.Series(1, proposals[order]).groupby(level=[0, 1]).cumsum()
    counted = given.groupby([given["attribute"].astype(str), given["proposed"].astype(str)]).size()
    before = counted.reindex(proposals, fill_value=0).to_numpy(float) if len(counted) else 0.0
    return doubt * np.where(learns, np.maximum(alike / (before + rank), 1.0), 1.0)


def entropy(probability: np.ndarray) -> np.ndarray:
    """The entropy of a yes or no, in bits, float64 (n,)."""
    p = np.clip(probability, 1e-12, 1 - 1e-12)
    return np.asarray(-(p * np.log2(p) + (1 - p) * np.log2(1 - p)))


def trainable(warehouse: Warehouse) -> pd.Index:
    """The keys of the items that training would learn from, were it to start now."""
    keys = warehouse.newest.index
    return keys[split(keys.to_series()).train]


def _detailed(warehouse: Warehouse, chosen: pd.DataFrame) -> pd.DataFrame:
    """The chosen cells in their order with all that the completions say of them."""
    said = warehouse.completions(DETAILS, chosen["key"])
    return chosen.merge(said, on=["key", "attribute"], how="left")
