"""Confidence that means something, and the threshold above which a precision is promised.

Temperatures (Guo et al., 2017) are fitted on validation rows, each drawn towards that of all attributes, since small
catalogs leave few cells of each. The threshold is set on calibration rows,
which touched nothing else: walking from the most confident cell on, a prefix is accepted while the exact binomial
(Clopper–Pearson) lower bound of its precision at `confidence_level` is at least the target; the walk starts at a size
fixed beforehand and stops at the first failure (fixed-sequence testing, so nothing is searched and the promise holds
with the stated confidence, attribute by attribute).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import optimize, special, stats

if TYPE_CHECKING:
    from attrgan.model.vocabulary import Numbers

Cost = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Logits (n, V) and right candidates → negative log-likelihood of each cell, float64 (n,)."""
Scores = tuple[list[np.ndarray], list[np.ndarray]]
"""Logits, float32 (n, V), and right candidates, int64 (n,) or what the cost takes, batch by batch; V may differ."""
SPREAD = 0.2
"""Standard deviation of an attribute's log temperature around that of all attributes."""


@dataclass(frozen=True)
class Promise:
    """The threshold of an attribute and what is promised above it.

    Attributes:
        threshold: cells at least this confident are filled; None: nothing is.
        promised_precision: the target, where something is filled.
        cells: calibration cells there were; needed: the fewest that could make the promise, without an error.
        accepted, errors: cells at or above the threshold, and how many of them were wrong.
        lower_bound: the bound on their precision at `confidence_level`.
        coverage: the share of the calibration cells that is accepted: precision means nothing without it.
        reason: why nothing is filled, in words.
        pool: the attributes that the promise is made for together, itself among them (`promise.py`), whose cells are
            then counted; None: it is made for this attribute alone.
    """

    target_precision: float
    confidence_level: float
    threshold: float | None
    promised_precision: float | None
    cells: int
    needed: int
    accepted: int
    errors: int
    lower_bound: float | None
    coverage: float
    reason: str | None
    pool: list[str] | None = None

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def lower_bound(right: int, n: int, confidence_level: float) -> float:
    """The one-sided Clopper–Pearson lower bound of a proportion."""
    return float(stats.beta.ppf(1 - confidence_level, right, n - right + 1)) if right else 0.0


def interval(right: float, n: int, level: float = 0.95) -> list[float] | None:
    """The two-sided Clopper–Pearson interval of a proportion, or None without cells."""
    if not n:
        return None
    k = round(right)
    low = stats.beta.ppf((1 - level) / 2, k, n - k + 1) if k else 0.0
    high = stats.beta.ppf((1 + level) / 2, k + 1, n - k) if k < n else 1.0
    return [float(low), float(high)]


@cache
def cells_needed(target: float, confidence_level: float, errors: int = 0) -> int:
    """The fewest cells, of which `errors` are wrong, that prove the target: 59 for .95 at .95 without an error."""
    n = math.ceil(math.log(1 - confidence_level) / math.log(target)) + errors
    while lower_bound(n - errors, n, confidence_level) < target:
        n += 1
    return n


def walk(confidence: np.ndarray, right: np.ndarray, target: float, confidence_level: float) -> Promise:
    """Finds the threshold of one attribute.

    Args:
        confidence: float (n,), of the calibration cells.
        right: bool (n,), whether each was answered rightly.

    The walk starts with the most confident cells, as many as allow three errors where there are at least three times as
    many, else two, else one, else none: a size that depends on n, target and confidence level only.
    """
    n = len(confidence)
    needed = cells_needed(target, confidence_level)

    def nothing(reason: str) -> Promise:
        return Promise(target, confidence_level, None, None, n, needed, 0, 0, None, 0.0, reason)

    if n < needed:
        return nothing(f"needs {needed} calibration cells, has {n}")
    allowed = next((e for e in (3, 2, 1) if n >= 3 * cells_needed(target, confidence_level, e)), 0)
    start = cells_needed(target, confidence_level, allowed)
    order = np.argsort(-confidence, kind="stable")
    sorted_confidence, wrong = confidence[order], np.cumsum(~right[order].astype(bool))
    ends = np.flatnonzero(np.append(np.diff(sorted_confidence) != 0, True)) + 1  # ties stand or fall together
    ends = ends[ends >= start]
    right_ones = ends - wrong[ends - 1]
    bounds = np.where(right_ones > 0, stats.beta.ppf(1 - confidence_level, right_ones, ends - right_ones + 1), 0.0)
    passed = int(np.argmin(np.append(bounds >= target, False)))  # how many sizes pass before the first failure
    if not passed:
        first = int(ends[0])
        return nothing(
            f"of the {first} most confident calibration cells {int(wrong[first - 1])} are wrong: "
            f"too many to promise {target:g}"
        )
    accepted, bound = int(ends[passed - 1]), float(bounds[passed - 1])
    threshold, errors = float(sorted_confidence[accepted - 1]), int(wrong[accepted - 1])
    return Promise(target, confidence_level, threshold, target, n, needed, accepted, errors, bound, accepted / n, None)


def cross_entropy(logits: np.ndarray, right: np.ndarray) -> np.ndarray:
    """float64 (n,): −log softmax of the right candidates, int64 (n,), at most 20: one absurd cell decides nothing."""
    top = logits.max(1, keepdims=True)
    normaliser = np.log(np.exp(logits - top).sum(1)) + top[:, 0]
    return np.asarray(np.minimum(normaliser - logits[np.arange(len(right)), right], 20))


def fit_temperatures(scores: Mapping[str, Scores], cost: Callable[[str], Cost]) -> dict[str, float]:
    """The temperature of each attribute: the most probable one, given its validation cells and the other attributes.

    log T of an attribute is drawn towards that of all attributes together, and this towards 0, each with the standard
    deviation `SPREAD`: without a single cell an attribute has the common temperature.

    Args:
        scores: attribute → its validation cells.
        cost: attribute → its negative log-likelihood.
    """

    def loss(name: str, log_temperature: float) -> float:
        batches = zip(*scores[name], strict=True)
        costs = (cost(name)(score.astype(np.float64) / math.exp(log_temperature), right) for score, right in batches)
        return sum(float(c.sum()) for c in costs)

    common = _least(lambda t: sum(loss(name, t) for name in scores), 0.0)
    return {name: math.exp(_least(partial(loss, name), common)) for name in scores}


def _least(loss: Callable[[float], float], centre: float) -> float:
    """The log temperature of the least loss, with its prior."""
    found = optimize.minimize_scalar(
        lambda t: loss(t) + ((t - centre) / SPREAD) ** 2 / 2,
        bounds=(math.log(0.25), math.log(8)), method="bounded", options={"xatol": 0.01},
    )  # fmt: skip
    return float(found.x)


def choose_estimate(logits: np.ndarray, right: np.ndarray, numbers: "Numbers") -> str:
    """Which number of a distribution is written: the `likeliest` within tolerance, or the `median`.

    The one that is right more often on validation cells; where neither is so by more than a standard error, the one
    with the smaller absolute error (clipped at ten median absolute deviations: one absurd cell decides nothing).

    Args:
        logits: float32 (n, bins), divided by the temperature; right: int64 (n,), the true bins.
    """
    probability = special.softmax(logits.astype(np.float64), axis=1)
    likeliest = numbers.likeliest(probability)
    median = (probability.cumsum(1) >= 0.5 - 1e-9).argmax(1)
    shares = numbers.within[likeliest, right], numbers.within[median, right]
    difference = shares[0] - shares[1]
    if abs(difference.mean()) > difference.std() / math.sqrt(len(right)):
        return "likeliest" if difference.mean() > 0 else "median"
    truth = numbers.value[right]
    most = 10 * max(float(np.median(np.abs(truth - np.median(truth)))), 1e-9)
    errors = [np.minimum(np.abs(numbers.value[chosen] - truth), most).mean() for chosen in (likeliest, median)]
    return "likeliest" if errors[0] <= errors[1] else "median"
