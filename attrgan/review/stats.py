"""Where the review stands, attribute by attribute: what is open, what was answered, how often the model was right."""

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from attrgan.evaluation.calibration import cells_needed, interval
from attrgan.evaluation.metrics import is_right
from attrgan.review import answers
from attrgan.review.cells import Warehouse, own_value
from attrgan.review.queue import open_cells
from attrgan.schema import Attribute

BANDS = (0.0, 0.5, 0.8, 0.95, 1.0)
"""Bounds of the bands of confidence; the last one holds 1 itself."""


def stats(warehouse: Warehouse) -> dict[str, dict[str, Any]]:
    """Attribute → figures.

    Each has `queue` (open cells in review), `answered`, `audited`, `audit_needed` (the fewest audit labels that could
    make the promise), `agreement` (of the audited cells: a fair estimate of the model's precision on empty cells),
    `bands` (the same of all answers by the confidence that the model had), `changed` (cells whose answer was replaced
    by another) and `against_seller` (answers that a seller has contradicted since). Agreements are n, agreed, share and
    a 95 % interval.
    """
    schema = warehouse.schema
    waiting = open_cells(warehouse)["attribute"].value_counts()
    everything, given = answers.history(warehouse), answers.current(warehouse)
    changed = everything.groupby(["attribute", "key"])["answer"].nunique() > 1
    items = warehouse.items(given["key"])
    found = {}
    for name, attribute in schema.attributes.items():
        mine = given[given["attribute"] == name]
        judged, audited = mine["proposed"].notna().to_numpy(bool), (mine["purpose"] == "audit").to_numpy(bool)
        own = [own_value(cell, attribute) for cell in items[name].reindex(mine["key"])]
        right = _agrees(mine, attribute) & judged
        confidence = pd.to_numeric(mine["confidence"]).to_numpy(float)
        found[name] = {
            "queue": int(waiting.get(name, 0)),
            "answered": len(mine),
            "audited": int(audited.sum()),
            "audit_needed": cells_needed(schema.target(name), schema.confidence_level),
            "agreement": _share(right[audited & judged]),
            "bands": [
                {"from": low, "to": high} | _share(right[judged & _between(confidence, low, high)])
                for low, high in pairwise(BANDS)
            ],
            "changed": int(changed[changed.index.get_level_values("attribute") == name].sum()),
            "against_seller": _against_seller(mine, own, attribute),
        }
    return found


def _agrees(given: pd.DataFrame, attribute: Attribute) -> np.ndarray:
    """bool (n,): the answer is what the model proposed."""
    if given.empty:
        return np.zeros(0, bool)
    if attribute.kind == "numeric":
        proposed, answered = (pd.to_numeric(given[c]).to_numpy(float) for c in ("proposed_number", "number"))
        return is_right(proposed, answered, attribute)
    return is_right(given["proposed"].to_numpy(object), given["answer"].to_numpy(object), attribute)


def _against_seller(given: pd.DataFrame, own: "list[Any]", attribute: Attribute) -> int:
    """How many of the items have a value of their own by now that contradicts the answer."""
    column, kind = ("number", float) if attribute.kind == "numeric" else ("answer", str)
    there = np.array([isinstance(value, kind) for value in own], bool)  # what is no number contradicts none
    if not there.any():
        return 0
    truth = np.array(own, dtype=object)[there]
    return int((~is_right(given[column].to_numpy(object)[there], truth, attribute)).sum())


def _between(confidence: np.ndarray, low: float, high: float) -> np.ndarray:
    return (confidence >= low) & ((confidence < high) | (high == BANDS[-1]))


def _share(right: np.ndarray) -> dict[str, Any]:
    n, agreed = len(right), int(right.sum())
    return {"n": n, "agreed": agreed, "share": agreed / n if n else None, "interval": interval(agreed, n)}
