"""How far new items are from those of training, and whether by chance: tables of counts, compared within categories.

*By chance*: the generalised Cochran–Mantel–Haenszel test (Landis, Heyman and Koch, International Statistical Review,
1978), which for a single category is Pearson's test of homogeneity. *How far*: the Jensen–Shannon distance (base 2,
0 to 1) from the training items reweighted to the new items' categories. A test alone finds a trifle in a million rows,
and a distance alone finds one in any fifty.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.spatial.distance import jensenshannon

EXPECTED = 5.0
"""Items that a bin, or a group of them, must be expected to hold for the test's large-sample law."""


@dataclass(frozen=True)
class Difference:
    """Two tables of counts, compared within categories: shares of each bin, counts, p-value, distance."""

    expected: np.ndarray
    found: np.ndarray
    n: int
    reference_n: int
    p_value: float
    distance: float


def compare(reference: np.ndarray, found: np.ndarray, rare: int | None = None) -> Difference:
    """Compares new items with those of training, within categories.

    Bins that are expected to hold fewer than `EXPECTED` items are counted together, as the test's large-sample law
    asks. One bin may stay alone nevertheless, with an exact test of its own: otherwise a handful of items with a value
    that training never saw would be lost among others.

    Args:
        reference, found: int64 (categories, bins), the items counted; a category without items on one side is left out.
        rare: the bin of what was rare at training, for labels; None: bins are in order, and neighbours join.

    Returns:
        Shares (bins,): found, and expected of training items in the same mix of categories; counts, p-value, distance.
    """
    both = (reference.sum(1) > 0) & (found.sum(1) > 0)
    reference, found = reference[both].astype(float), found[both].astype(float)
    there, new = reference.sum(1), found.sum(1)
    if not both.any():
        nothing = np.zeros(reference.shape[1])
        return Difference(nothing, nothing, 0, 0, 1.0, 0.0)
    expected = new @ (reference / there[:, None]) / new.sum()
    alike = new / (there + new) @ (reference + found)  # found, were all items alike: decided by the margins alone
    alone = int(alike.argmin()) if rare is None else rare
    groups = _groups(alike, alone if alike[alone] < EXPECTED else None, in_order=rare is None)
    before, now = (np.stack([table[:, group].sum(1) for group in groups], 1) for table in (reference, found))
    p_value, distance = _test(before, now, float(alike[groups[0]].sum())), _distance(before, now)
    return Difference(expected, found.sum(0) / new.sum(), int(new.sum()), int(there.sum()), p_value, distance)


def _groups(expected: np.ndarray, alone: int | None, in_order: bool) -> list[list[int]]:
    """Bins that are counted together: first the one that stands alone, if any; each other group holds `EXPECTED`."""
    order = range(len(expected)) if in_order else np.argsort(expected, kind="stable")
    groups: list[list[int]] = [[]]
    for i in (int(i) for i in order if i != alone):
        if groups[-1] and expected[groups[-1]].sum() >= EXPECTED:
            groups.append([])
        groups[-1].append(i)
    if len(groups) > 1 and expected[groups[-1]].sum() < EXPECTED:
        last = groups.pop()
        groups[-1] += last
    return groups if alone is None else [g for g in ([alone], *groups) if g]


def _test(reference: np.ndarray, found: np.ndarray, first: float) -> float:
    """p-value of groups of bins; `first`: items expected in the first group, tested exactly where they are few.

    Given the margins, the items of a group are a sum of hypergeometric counts, hence of independent Bernoulli trials,
    whose upper tail is at most that of the binomial law of the same mean (Hoeffding, 1956).
    """
    if found.shape[1] < 2:
        return 1.0
    if first >= EXPECTED:
        return _mantel_haenszel(reference, found)
    n, k = found.sum(), found[:, 0].sum()
    tail = float(stats.binom.sf(k - 1, n, first / n)) if k >= first + 1 else 1.0
    rest = _mantel_haenszel(reference[:, 1:], found[:, 1:])
    return min(2 * min(tail, rest), 1.0)


def _mantel_haenszel(reference: np.ndarray, found: np.ndarray) -> float:
    """p-value of the generalised Cochran–Mantel–Haenszel test of two tables (categories, bins)."""
    both = (reference.sum(1) > 0) & (found.sum(1) > 0)
    reference, found = reference[both], found[both]
    new, there = found.sum(1), reference.sum(1)
    total = new + there
    share = (reference + found) / total[:, None]
    off = (found - new[:, None] * share).sum(0)[:-1]
    weight = new * there / np.maximum(total - 1, 1)
    covariance = (np.diag(weight @ share) - (share * weight[:, None]).T @ share)[:-1, :-1]
    freedom = int(np.linalg.matrix_rank(covariance, hermitian=True)) if len(off) else 0
    if not freedom:
        return 1.0
    return float(stats.chi2.sf(off @ np.linalg.pinv(covariance, hermitian=True) @ off, freedom))


def _distance(reference: np.ndarray, found: np.ndarray) -> float:
    expected = found.sum(1) @ (reference / reference.sum(1, keepdims=True))
    with np.errstate(invalid="ignore"):  # equal shares: the root of a rounding error below 0
        return float(np.nan_to_num(jensenshannon(expected, found.sum(0), base=2)))
