"""Which columns belong together: attributes that give each other away, lists that run step by step.

Choices: both questions are answered from the sampled cells alone, and only where enough cells speak; a pair that is
missed can be added to the schema by hand, which is what the file is for.
"""

import re
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from attrgan.quality.profile import Profile, word_count

_TIME = re.compile(r"time|date|week|month|year|day|hour|(^|_)(ts|dt|at)(_|$)|日期|时间", re.IGNORECASE)
_UNIT = re.compile(r"unit|uom|measure|单位", re.IGNORECASE)
ENOUGH = 30
"""Rows in which both columns are known that a dependence must hold in."""
EXCEPTIONS = 0.01
TOGETHER = 0.8
"""Of the rows where one of two columns is null, the share where both are, from which they are missing together."""


def derived(columns: dict[str, Profile]) -> dict[str, tuple[list[str], str]]:
    """Attribute → the attributes that give it away and are missing with it, and why."""
    found: dict[str, tuple[list[str], str]] = {}
    codes = {name: _codes(profile) for name, profile in columns.items() if profile.distinct}
    for first, second in combinations(codes, 2):
        if not _missing_together(columns[first].nulls, columns[second].nulls):
            continue
        for giver, given in ((first, second), (second, first)):
            if (why := _gives_away(columns[giver], columns[given], codes)) and given not in found.get(giver, ([],))[0]:
                others, reasons = found.get(given, ([], ""))
                found[given] = ([*others, giver], f"{reasons}, and {why}" if reasons else why)
                break
    return found


def _codes(profile: Profile) -> np.ndarray:
    return pd.factorize(pd.Series([None if c is None else str(c) for c in profile.cells], dtype=object))[0]


def _missing_together(first: np.ndarray, second: np.ndarray) -> bool:
    either = first | second
    return not either.any() or (first & second).sum() >= TOGETHER * either.sum()


def _gives_away(giver: Profile, given: Profile, codes: dict[str, np.ndarray]) -> str | None:
    if given.shape == "number" and giver.shape != "number" and _is_unit_of(giver, given):
        return f"it is the quantity of {giver.name}"
    if giver.shape == "number" and given.shape == "number":
        return f"it is in proportion to {giver.name}" if _proportional(giver.numbers, given.numbers) else None
    a, b = codes[giver.name], codes[given.name]
    both = (a >= 0) & (b >= 0)
    if giver.shape == "number" or both.sum() < ENOUGH:
        return None
    a, b = a[both], b[both]
    values = len(np.unique(a))
    pairs = np.unique(a.astype(np.int64) * (b.max() + 1) + b)
    if values > 0.5 * len(a) or len(np.unique(b)) < 2 or np.bincount(b).max() > 0.95 * len(b):
        return None
    return f"{giver.name} determines it" if len(pairs) - values <= EXCEPTIONS * values else None


def _is_unit_of(unit: Profile, quantity: Profile) -> bool:
    """A column of few words named like a unit, and a number with the same beginning or exactly the same gaps."""
    if not _UNIT.search(unit.name):
        return False
    stem = _UNIT.split(unit.name)[0].rstrip("_-. ").lower()
    alike = bool(stem) and quantity.name.lower().startswith(stem)
    return alike or (bool(unit.nulls.any()) and np.array_equal(unit.nulls, quantity.nulls))


def _proportional(first: np.ndarray, second: np.ndarray) -> bool:
    both = np.isfinite(first) & np.isfinite(second) & (second != 0)
    if both.sum() < ENOUGH or len(np.unique(second[both])) < 3:
        return False
    ratio = first[both] / second[both]
    middle = np.median(ratio)
    return bool(np.mean(np.abs(ratio - middle) <= 0.005 * abs(middle)) >= 0.99)


def sequence_groups(lists: list[Profile]) -> tuple[dict[str, tuple[dict[str, str], str]], list[Profile]]:
    """Lists that have the same number of steps in every row, as groups; and the lists that stand alone as sets.

    Returns:
        Group → (column → kind of its steps, why), and the profiles of the remaining lists.
    """
    groups: list[list[Profile]] = []
    alone: list[Profile] = []
    for profile in lists:
        members = [m for cell in profile.values for m in cell if m is not None]
        if not members or not all(_scalar(m) for m in members):
            alone.append(profile)
            continue
        fitting = next((g for g in groups if _aligned(g[0], profile)), None)
        if fitting:
            fitting.append(profile)
        else:
            groups.append([profile])
    found: dict[str, tuple[dict[str, str], str]] = {}
    for group in groups:
        kinds = {p.name: _step_kind(p) for p in group}
        if set(kinds.values()) == {"categorical"}:
            alone += group
            continue
        found[_group_name(list(kinds), found)] = (kinds, _why(kinds))
    return found, alone


def _why(kinds: dict[str, str]) -> str:
    return "sequence: the lists have as many steps as each other in every row" if len(kinds) > 1 else "sequence: a list"


def _scalar(member: Any) -> bool:
    return not isinstance(member, (list, dict, bytes))


def _aligned(first: Profile, second: Profile) -> bool:
    lengths = [
        (len(a), len(b)) for a, b in zip(first.cells, second.cells, strict=True) if a is not None and b is not None
    ]
    return bool(lengths) and all(a == b for a, b in lengths) and _missing_together(first.nulls, second.nulls)


def _step_kind(profile: Profile) -> str:
    members = [m for cell in profile.values[:2000] for m in cell if m is not None]
    numeric = all(isinstance(m, (int, float)) and not isinstance(m, bool) for m in members)
    if not all(isinstance(m, (int, float, str)) for m in members) or (_TIME.search(profile.name)):
        return "time"
    if numeric:
        return "numeric"
    texts = [str(m) for m in members]
    words = float(np.mean([word_count(t) for t in texts]))
    return "text" if words >= 4 and len(set(texts)) > 0.5 * len(texts) else "categorical"


def _group_name(columns: list[str], taken: dict[str, Any]) -> str:
    """What the names begin with, else the first name."""
    stems = {re.split(r"[_\-. ]", name)[0] for name in columns}
    name = stems.pop() if len(stems) == 1 and len(columns) > 1 else columns[0] if len(columns) == 1 else "sequence"
    while name in taken:
        name += "_2"
    return name
