"""What is promised of each attribute: by itself, or, where it is thin, together with others.

Choices:
- An attribute with as many calibration cells as its promise needs without an error (59 at .95/.95) is walked alone.
- Thinner ones are *pooled* by a rule that looks at no answer: those of one target that may be filled and have at least
  `LEAST_CELLS` cells. They are walked together on the model's own confidence. The promise is then one about the pool:
  of what is filled in these attributes together, the target is right. A member that makes up the share m of what is
  filled may be right in as little as 1 − (1 − target) / m, if the others make no error.
- Cells of one item share what is strange about it, and the exact bound needs independent cells: a pool takes at most
  one cell of an item, and an item with k of them in proportion to k, so that every cell has the same chance.
- *Weighted* cells (`missingness.py`) are thinned by rejection: a cell is kept with the probability w / W, where W is
  the `CLIP` quantile of the weights, heavier cells counting as W; the walk over those that are left is the exact one.
  A bound that uses all cells with their weights would need fewer of them, but is exact only as n grows.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from attrgan.errors import InputError
from attrgan.evaluation import recalibration
from attrgan.evaluation.calibration import Promise, walk
from attrgan.evaluation.recalibration import EDGE, Recalibration
from attrgan.schema import Schema

Missing = Literal["mcar", "observed"]
MISSING: tuple[Missing, ...] = ("mcar", "observed")
"""What the calibration cells stand for: cells missing completely at random (all known cells count alike), or cells
missing as they are seen to be (weighted by a model of what is missing)."""

LEAST_CELLS = 20
"""Calibration cells of a member of a pool: of an attribute with fewer hardly anything is known."""
CLIP = 0.95
Cells = Mapping[str, pd.DataFrame]
"""Attribute → one row per calibration cell: `row`, `confidence`, `right`, and `weight` where not all count alike."""


def as_missing(given: str) -> Missing:
    """The given word, where it is one of `MISSING`; raises InputError."""
    for missing in MISSING:
        if given == missing:
            return missing
    raise InputError(f"--calibrate-for {given} is not known: expected {' or '.join(MISSING)}")


def calibrate(
    cells: Cells, schema: Schema, seed: int, missing: Missing = "mcar"
) -> tuple[dict[str, Recalibration], dict[str, dict[str, Any]]]:
    """The map of each attribute's confidence, and what `calibration.json` says of its promise.

    Thresholds are on the scale of the confidence that is reported: the walk itself is on that of the model, whose order
    no calibration cell has touched.

    Args:
        cells: as in `promises`.
        missing: which promise is in force; what would be promised under either stands beside it, as `under`.
    """
    columns = {name: cells.get(name, _NO_CELLS) for name in schema.attributes}
    answers = {name: (c["confidence"].to_numpy(float), c["right"].to_numpy(bool)) for name, c in columns.items()}
    maps = recalibration.fit(answers)
    under = {m: promises(cells, schema, np.random.default_rng([seed, 19]), weighted=m == "observed") for m in MISSING}
    found: dict[str, dict[str, Any]] = {}
    for name, to in maps.items():
        each = {m: _reported(made[name], to) for m, made in under.items()}
        brief = {m: {key: one[key] for key in _BRIEF} for m, one in each.items()}
        known = {"known_cells": len(columns[name]), "recalibration": [to.s, to.b], "missing": missing}
        found[name] = each[missing] | known | {"under": brief}
    return maps, found


_BRIEF = ("threshold", "promised_precision", "cells", "accepted", "errors", "coverage", "reason")


def _reported(promise: Promise, to: Recalibration) -> dict[str, Any]:
    """A promise as plain data, its threshold as a reported confidence."""
    threshold = None if promise.threshold is None else float(to(np.array([promise.threshold]))[0])
    return promise.as_dict() | {"threshold": threshold}


def promises(cells: Cells, schema: Schema, rng: np.random.Generator, *, weighted: bool = False) -> dict[str, Promise]:
    """The promise of every attribute of the schema.

    Args:
        cells: scored calibration cells, with the model's own confidence; an attribute without any may be absent.
        rng: draws which cells of an item, or of a weight, take part.
        weighted: whether the column `weight` counts; a frame without it holds cells that all count alike.
    """
    made: dict[str, Promise] = {}
    thin: dict[float, dict[str, pd.DataFrame]] = {}
    for name, attribute in schema.attributes.items():
        target, own = schema.target(name), cells.get(name, _NO_CELLS)
        if weighted and "weight" in own:
            own = own[kept(own["weight"].to_numpy(float), rng)]
        made[name] = _walk(own, target, schema.confidence_level)
        if LEAST_CELLS <= len(own) < made[name].needed and attribute.mode == "fill":
            thin.setdefault(target, {})[name] = own
    for target, members in thin.items():
        if len(members) > 1:
            made |= pooled(members, target, schema.confidence_level, rng)
    return made


_NO_CELLS = pd.DataFrame({"row": [], "confidence": [], "right": []})


def pooled(members: Cells, target: float, confidence_level: float, rng: np.random.Generator) -> dict[str, Promise]:
    """The promise of thin attributes together, the same for each.

    Args:
        members: attribute → its cells, of which `row` is the item.
    """
    everything = pd.concat(list(members.values()), ignore_index=True)
    promise = _walk(everything[one_per_row(everything["row"].to_numpy(), rng)], target, confidence_level)
    made = {name: replace(promise, pool=list(members)) for name in members}
    if promise.threshold is not None:
        return made
    reason = promise.reason
    if promise.cells < promise.needed:
        reason = f"needs {promise.needed} calibration cells, has {{}}; all {len(members)} thin attributes have "
        reason += f"{promise.cells} together, one of an item"
        return {name: replace(one, reason=reason.format(len(members[name]))) for name, one in made.items()}
    return {
        name: replace(one, reason=f"{reason} of {len(members)} thin attributes together") for name, one in made.items()
    }


def kept(weight: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """bool (n,): a draw in which each cell is kept in proportion to its weight, float (n,), clipped at a quantile."""
    if not len(weight):
        return np.zeros(0, bool)
    most = np.quantile(weight, CLIP, method="higher")
    return np.asarray(rng.random(len(weight)) * most < weight)


def one_per_row(row: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """bool (n,): a draw of at most one cell of each row, int (n,), in which every cell has the same chance.

    A row with k cells takes part with the probability k / K, K being the most that a row has, clipped at a quantile.
    """
    _, group, size = np.unique(row, return_inverse=True, return_counts=True)
    first = np.zeros(len(row), bool)
    order = rng.permutation(len(row))
    first[order[np.unique(group[order], return_index=True)[1]]] = True
    return np.asarray(first & kept(size.astype(float), rng)[group])


def _walk(cells: pd.DataFrame, target: float, confidence_level: float) -> Promise:
    """The walk over cells, whose confidences are told apart as finely as reported ones are."""
    confidence = np.clip(cells["confidence"].to_numpy(float), EDGE, 1 - EDGE)
    return walk(confidence, cells["right"].to_numpy(bool), target, confidence_level)
