"""Which known cells are hidden: to train on, to calibrate on, to score on.

Columns that give one another away (`derived_with`) are always hidden together, sequences included.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from attrgan.schema import Schema

Missing = Literal["mcar", "mar", "mnar"]
MOST_ROUNDS = 100
"""In which chances are brought to their mean rate."""


@dataclass(frozen=True)
class Mask:
    """Hidden cells of N items: `cells` bool (N, A) in the schema's order; `groups`: sequence group → bool (N,)."""

    cells: np.ndarray
    groups: dict[str, np.ndarray]


def known_cells(frame: pd.DataFrame, schema: Schema) -> np.ndarray:
    """bool (N, A): the cells that have a value."""
    return np.stack([frame[name].notna().to_numpy() for name in schema.attributes], 1)


def together(schema: Schema) -> np.ndarray:
    """bool (A, A): row a marks the attributes that are hidden when attribute a is."""
    names = list(schema.attributes)
    return np.array([[other in schema.hidden_together[name] for other in names] for name in names])


def mask_of(cells: np.ndarray, schema: Schema) -> Mask:
    """Adds to hidden cells, bool (N, A), what has to be hidden with them."""
    cells = (cells.astype(np.float32) @ together(schema).astype(np.float32)) > 0
    groups: dict[str, np.ndarray] = {}
    for name, group in schema.sequences.items():
        gives_away = [bool(set(schema.hidden_together[a]) & set(group.columns)) for a in schema.attributes]
        groups[name] = np.asarray(cells[:, gives_away].any(1))
    return Mask(cells, groups)


def for_schema(mask: Mask, of: Schema, to: Schema) -> Mask:
    """The same cells of the same items as another schema orders them, hidden with what gives them away there."""
    nothing = np.zeros(len(mask.cells), bool)
    cells = dict(zip(of.attributes, mask.cells.T, strict=True))
    return mask_of(np.stack([cells.get(name, nothing) for name in to.attributes], 1), to)


def each_once(known: np.ndarray, schema: Schema, rng: np.random.Generator, passes: int = 3) -> Iterator[Mask]:
    """Hides every known cell exactly once, over `passes` masks; in each about 1 / passes of an item's cells are hidden.

    Yields masks whose `cells` are the cells to score; cells hidden with them for what they give away are scored too.
    """
    leader = together(schema).argmax(1)  # attributes hidden together share the first one's turn
    turn = rng.random((known.shape[0], known.shape[1])).argsort(1)[:, leader] % passes
    for number in range(min(passes, known.shape[1])):
        yield mask_of(known & (turn == number), schema)


def at_rate(
    frame: pd.DataFrame, schema: Schema, rng: np.random.Generator, rate: float, missing: Missing = "mcar"
) -> Mask:
    """Hides a share of the known cells.

    Args:
        missing: `mcar`: each with the same chance; `mar`: more often in items whose other cells are missing; `mnar`:
            more often where the value itself is rare (or, for numbers, large). The mean rate is the same.
    """
    known = known_cells(frame, schema)
    weight = np.ones(known.shape)
    if missing == "mar":
        weight *= 0.25 + 1.5 * pd.Series(known.mean(1)).rank(pct=True, ascending=False).to_numpy()[:, None]
    elif missing == "mnar":
        for i, (name, attribute) in enumerate(schema.attributes.items()):
            cells = frame[name]
            rare = cells if attribute.kind == "numeric" else -cells.map(cells.value_counts())
            weight[:, i] = 0.25 + 1.5 * rare.rank(pct=True).fillna(0.5).to_numpy(float)
    weight *= known.sum(0) / np.maximum((weight * known).sum(0), 1e-9)  # a mean of 1 over the known cells of each
    chance = rate * weight
    for _ in range(MOST_ROUNDS):  # what a chance cannot have beyond 1 the others of the attribute get
        if (chance <= 1).all():
            break
        chance = np.minimum(chance, 1)
        chance *= rate * known.sum(0) / np.maximum((chance * known).sum(0), 1e-9)
    return mask_of(known & (rng.random(known.shape) < chance), schema)


def for_training(known: np.ndarray, schema: Schema, rng: np.random.Generator) -> Mask:
    """Hides cells of a training batch: of some items about 15 % of the cells, of others what another item misses
    (missing as it really happens), of the rest all of them (the levels must carry it): half, a quarter, a quarter.

    Values that are copied out of texts are often all asked for at once: where all attributes are `open`, 60 % of the
    items lose all cells (OA-Mine, rows kept back from training: F1 by row .786 with a quarter, .796 so).
    """
    copied = float(np.mean([a.kind == "open" and not a.multi for a in schema.attributes.values()]))
    some, others = 0.5 - 0.3 * copied, 0.75 - 0.35 * copied
    chance = rng.random(len(known))
    cells = rng.random(known.shape) < 0.15
    other = ~known[rng.permutation(len(known))]
    as_other = (chance >= some) & (chance < others)
    cells[as_other] = other[as_other]
    cells[chance >= others] = True
    nothing = ~(cells & known).any(1)
    cells[nothing, rng.integers(0, known.shape[1], int(nothing.sum()))] = True
    mask = mask_of(cells & known, schema)
    return Mask(mask.cells & known, mask.groups)
