"""How like real items completed ones are: not cell by cell (`metrics`), but as a whole.

Four measures, each against something that says what its figure is worth:
- the energy score, a proper score of joint distributions: filled one by one against each cell by itself;
- the classifier two-sample test: 0.5 means that nobody can tell completed from real;
- the Jensen–Shannon distance of each attribute's values: 0 means the same distribution;
- pairs and triples of values: the share that occurs in real rows, against that of held-out real ones.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.spatial.distance import jensenshannon

from attrgan.schema import Schema

TENTHS = 10
"""Quantile bins that numbers fall into where values are compared as such."""
FEW = 20
"""Numbers of no more different values than this are compared by value."""
MOST_SETS = 400
"""Pairs or triples of attributes that are looked at; more are chosen at random."""
FOLDS = 5
FEWEST = 50
"""Rows below which a classifier learns nothing."""


@dataclass(frozen=True)
class Points:
    """Rows as points of the space that distances are measured in.

    Attributes:
        codes: int64 (…, C): the value of each categorical or open attribute, −1 unknown.
        numbers: float64 (…, M): standardised numbers, NaN unknown.
        bins: int64 (…, M): their tenths, −1 unknown.
    """

    codes: np.ndarray
    numbers: np.ndarray
    bins: np.ndarray

    def __getitem__(self, at: int | np.ndarray) -> "Points":
        return Points(self.codes[at], self.numbers[at], self.bins[at])


class Space:
    """The space of a schema's attributes: codes of values, and numbers standardised by real rows.

    Numbers are centred at the median, scaled by the quartile distance (as that of a standard normal) and cut at ±5:
    one absurd package size would otherwise be all of the distance.
    """

    def __init__(self, schema: Schema, reference: pd.DataFrame) -> None:
        self.names = list(schema.attributes)
        self.categorical = [n for n, a in schema.attributes.items() if a.kind != "numeric"]
        self.numeric = [n for n, a in schema.attributes.items() if a.kind == "numeric"]
        self.codes: dict[str, dict[str, int]] = {name: {} for name in self.categorical}
        self.scale, self.edges = {}, {}
        for name in self.numeric:
            known = reference[name].dropna().to_numpy(float)
            known = known if len(known) else np.zeros(1)
            low, middle, high = np.quantile(known, [0.25, 0.5, 0.75])
            self.scale[name] = (middle, (high - low) / 1.349 or known.std() or 1.0)
            values = np.unique(known)
            tenths = np.quantile(known, np.linspace(0, 1, TENTHS + 1)[1:-1])
            self.edges[name] = (values[1:] + values[:-1]) / 2 if len(values) <= FEW else np.unique(tenths)

    def points(self, frame: pd.DataFrame) -> Points:
        """The rows of a frame as points; a value that no frame had before gets a code of its own."""
        codes = np.full((len(frame), len(self.categorical)), -1, np.int64)
        for i, name in enumerate(self.categorical):
            known = self.codes[name]
            at, values = pd.factorize(frame[name])
            coded = np.array([known.setdefault(str(v), len(known)) for v in values], np.int64)
            codes[:, i] = np.append(coded, -1)[at]
        numbers = np.full((len(frame), len(self.numeric)), np.nan)
        bins = np.full(numbers.shape, -1, np.int64)
        for i, name in enumerate(self.numeric):
            column = frame[name].to_numpy(float)
            numbers[:, i] = ((column - self.scale[name][0]) / self.scale[name][1]).clip(-5, 5)
            bins[:, i] = np.where(np.isnan(column), -1, np.searchsorted(self.edges[name], column, side="right"))
        return Points(codes, numbers, bins)

    def labels(self, points: Points) -> np.ndarray:
        """int64 (…, A): codes and tenths in the schema's order, −1 unknown."""
        columns = {n: points.codes[..., i] for i, n in enumerate(self.categorical)}
        columns |= {n: points.bins[..., i] for i, n in enumerate(self.numeric)}
        return np.stack([columns[name] for name in self.names], -1)


def distance(a: Points, b: Points) -> np.ndarray:
    """float64: Euclidean distance of standardised numbers and one-hot values, of which two different ones are 1 apart.

    A number is 1 apart from none.
    """
    different = (a.codes != b.codes).sum(-1)
    gap = np.where(np.isnan(a.numbers) & np.isnan(b.numbers), 0.0, a.numbers - b.numbers)
    gap = np.where(np.isnan(gap), 1.0, gap)
    return np.asarray(np.sqrt(different + (gap**2).sum(-1)))


def energy_score(samples: Points, truth: Points) -> np.ndarray:
    """The energy score of each item, float64 (N,): the lower, the better (Gneiting and Raftery, 2007).

    ES = 1/K Σ_k ‖x_k − y‖ − 1/(2K(K−1)) Σ_k,l ‖x_k − x_l‖, the unbiased form for K draws: its expectation is least
    where the draws come from the distribution of the truth.

    Args:
        samples: (K, N, ·), K ≥ 2 joint completions of N items.
        truth: (N, ·), what they really are.
    """
    k = len(samples.codes)
    near = np.mean([distance(samples[i], truth) for i in range(k)], 0)
    spread = np.sum([distance(samples[i], samples[j]) for i, j in combinations(range(k), 2)], 0)
    return np.asarray(near - spread / (k * (k - 1)))


def classifier_two_sample(real: np.ndarray, made: np.ndarray, paired: bool = False, seed: int = 0) -> float | None:
    """Accuracy with which a classifier tells made rows from real ones: 0.5 where it cannot, 1 where it always can.

    The classifier two-sample test (Lopez-Paz and Oquab, 2017): boosted trees, cross-validated over five folds.

    Args:
        real, made: int64 (N, A), labels of `Space.labels`; as many rows each.
        paired: row i of both is the same item; both then lie in the same fold, or the twin gives the answer away.

    Returns:
        None with fewer than 50 rows.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import GroupKFold, cross_val_score

    if len(real) < FEWEST:
        return None
    rows = _frequent(np.concatenate([real, made]))
    item = np.concatenate([np.arange(len(real)), np.arange(len(made)) + (0 if paired else len(real))])
    order = np.random.default_rng(seed).permutation(len(rows))  # the same items in a fold, whatever their order
    model = HistGradientBoostingClassifier(
        max_iter=60, max_leaf_nodes=15, categorical_features=[True] * rows.shape[1], early_stopping=False,
        random_state=seed,
    )  # fmt: skip
    is_made = np.repeat([0, 1], [len(real), len(made)])
    return float(cross_val_score(model, rows[order], is_made[order], groups=item[order], cv=GroupKFold(FOLDS)).mean())


def _frequent(labels: np.ndarray, most: int = 200) -> np.ndarray:
    """Labels by frequency, as what a tree takes as categories; rare ones share one."""
    ranked = np.empty(labels.shape)
    for i in range(labels.shape[1]):
        _, at, counts = np.unique(labels[:, i], return_inverse=True, return_counts=True)
        ranked[:, i] = np.minimum(np.argsort(np.argsort(-counts, kind="stable"), kind="stable")[at], most)
    return ranked


def jensen_shannon(real: np.ndarray, made: np.ndarray) -> float:
    """Jensen–Shannon distance of two samples of labels, int64 (n,), (m,): 0 the same shares, 1 no value in common."""
    values = np.unique(np.concatenate([real, made]))
    p, q = (np.bincount(np.searchsorted(values, labels), minlength=len(values)) for labels in (real, made))
    return float(np.nan_to_num(jensenshannon(p, q, base=2)))


def consistency(
    reference: np.ndarray, real: np.ndarray, made: np.ndarray, asked: np.ndarray, size: int = 2
) -> pd.DataFrame:
    """Pairs (triples) of values: how many of the made ones occur in real rows, against those of held-out real rows.

    Args:
        reference: int64 (R, A), labels of real rows.
        real: int64 (N, A), of held-out rows; made: int64 (K, N, A), of the same rows completed K times.
        asked: bool (N, A), the cells that were completed: sets without one are not looked at, nor those with an
            unknown value.
        size: 2 for pairs, 3 for triples.

    Returns:
        A row per set of attributes: `attributes` (their numbers), `n` (made sets), `made`, `real` (shares).
    """
    sets = list(combinations(range(real.shape[1]), size))
    if len(sets) > MOST_SETS:
        chosen = np.random.default_rng(0).choice(len(sets), MOST_SETS, replace=False)
        sets = [sets[i] for i in sorted(chosen)]
    rows = []
    for columns in sets:
        at = list(columns)
        touched = asked[:, at].any(1)
        radix = [int(max(part[..., c].max(initial=0) for part in (reference, real, made))) + 2 for c in at]
        seen = np.unique(_keys(reference[:, at], radix))
        shares = []
        for part in (real[touched][:, at], made[:, touched][..., at].reshape(-1, size)):
            keys = _keys(part, radix)
            shares.append((len(keys), float(np.isin(keys, seen).mean()) if len(keys) else np.nan))
        rows.append({"attributes": columns, "n": shares[1][0], "made": shares[1][1], "real": shares[0][1]})
    return pd.DataFrame(rows, columns=["attributes", "n", "made", "real"])


def _keys(labels: np.ndarray, radix: list[int]) -> np.ndarray:
    """int64: each row of labels without an unknown one as a single number."""
    known = labels[(labels >= 0).all(1)]
    return np.asarray(np.ravel_multi_index(tuple(known.T), tuple(radix))) if len(known) else np.empty(0, np.int64)


def mean_consistency(sets: pd.DataFrame) -> dict[str, float | None]:
    """The shares over all sets, each made or real set counting alike within its set of attributes."""
    scored = sets[(sets["n"] > 0) & sets["real"].notna()]
    if not len(scored):
        return {"made": None, "real": None}
    return {k: float(np.average(scored[k], weights=scored["n"])) for k in ("made", "real")}


def within_samples(samples: np.ndarray, truth: np.ndarray) -> tuple[float | None, float]:
    """Share of true numbers between the least and the largest of K samples, and what it should be.

    Truth and draws of one distribution are exchangeable: a continuous truth lies inside in (K − 1) / (K + 1) of cases.

    Args:
        samples: float64 (K, n); truth: float64 (n,); cells with a NaN among them are left out.
    """
    k = len(samples)
    whole = ~np.isnan(samples).any(0) & ~np.isnan(truth)
    inside = (samples.min(0)[whole] <= truth[whole]) & (truth[whole] <= samples.max(0)[whole])
    return (float(inside.mean()) if whole.any() else None), (k - 1) / (k + 1)
