"""The confidence that is reported: a map of the model's own, fitted on calibration cells, that keeps their order.

A temperature (`calibration.py`) has only the few validation cells to go by. Calibration cells are three times as many,
but may touch nothing except thresholds, or the promise would be one about cells the model was fitted to. A strictly
increasing map of the confidences is such a touch: the walk uses the order of the cells alone, the threshold moves with
the map, and so exactly the same cells are accepted as without it. It is Platt's (1999), in log odds,
g(c) = σ(e^s · logit c + b), fitted by maximum a posteriori: each attribute is drawn towards what all attributes
together say, and these towards the identity: an attribute of twenty cells moves hardly, one of a thousand freely.

The map is of the probability that the *chosen* value is right. Distributions over all values (`complete --samples`, the
generator's losses) stay those of the temperature.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

SPREAD = np.array([0.2, 0.3])
"""Standard deviations of the prior on (s, b), between attributes and of all attributes around the identity."""
ALIKE = 20
"""Cells with which an attribute decides as much as all attributes together about how sure two models are."""
MOST = (0.5, 2.0)
"""How far two models of one catalog can be apart in (s, b): more is a matter of cells that both are certain of."""
EDGE = 1e-9
"""Confidences are kept this far from 0 and 1, whose log odds are infinite."""


@dataclass(frozen=True)
class Recalibration:
    """g(c) = σ(e^s · logit c + b); the identity by default."""

    s: float = 0.0
    b: float = 0.0

    def __call__(self, confidence: np.ndarray) -> np.ndarray:
        """float64 (n,): strictly increasing in the given confidences, float (n,), within 0 … 1."""
        return np.asarray(special.expit(np.exp(self.s) * _log_odds(confidence) + self.b))


def fit(cells: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, Recalibration]:
    """The map of each attribute.

    Args:
        cells: attribute → confidence, float (n,), and right, bool (n,), of its calibration cells; n may be 0. At least
            one attribute.
    """
    odds = {name: (_log_odds(confidence), right.astype(bool)) for name, (confidence, right) in cells.items()}
    everything, right = (np.concatenate(part) for part in zip(*odds.values(), strict=True))
    pooled = _most_probable(everything, right, np.zeros(2))
    return {name: Recalibration(*map(float, _most_probable(x, y, pooled))) for name, (x, y) in odds.items()}


def _most_probable(x: np.ndarray, right: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """(s, b) that maximise likelihood times prior: float64 (2,)."""
    sign = np.where(right, 1.0, -1.0)

    def loss(at: np.ndarray) -> tuple[float, np.ndarray]:
        slope = np.exp(at[0])
        margin = sign * (slope * x + at[1])
        towards = -sign * special.expit(-margin)
        away = (at - centre) / SPREAD
        value = np.logaddexp(0, -margin).sum() + (away**2).sum() / 2
        return float(value), np.array([(towards * slope * x).sum(), towards.sum()]) + away / SPREAD

    bounds = [(-2.0, 2.0), (-5.0, 5.0)]  # a slope that is not so flat that different confidences become one
    return np.asarray(optimize.minimize(loss, centre, jac=True, method="L-BFGS-B", bounds=bounds).x)


def as_sure_as(
    maps: Mapping[str, Recalibration], theirs: Mapping[str, np.ndarray], ours: Mapping[str, np.ndarray]
) -> dict[str, Recalibration]:
    """Maps under which one model is on the whole as sure as another one, of the same cells; no answer is looked at.

    The log odds of both are made alike in mean and standard deviation, an attribute with n cells by itself to the share
    n / (n + `ALIKE`) and as all attributes together to the rest; then comes the map of the other model.

    Args:
        maps: of the other model.
        theirs, ours: attribute → the confidences of the other model, before its map, and of this one: float (n,), of
            the same cells in the same order. Cells that one of them had no answer to (0) do not count.
    """
    pairs = {}
    for name in maps:
        if name in theirs and ((both := (theirs[name] > 0) & (ours[name] > 0)).any()):
            pairs[name] = (_moderate(theirs[name][both]), _moderate(ours[name][both]))
    if not pairs:
        return dict(maps)
    pooled = _alike(*(np.concatenate(part) for part in zip(*pairs.values(), strict=True)))
    found = {}
    for name, to in maps.items():
        x, y = pairs.get(name, (np.empty(0), np.empty(0)))
        share = len(x) / (len(x) + ALIKE)
        own = _alike(x, y) if len(x) > 1 else pooled
        s, b = share * own + (1 - share) * pooled
        found[name] = Recalibration(float(to.s + s), float(np.exp(to.s) * b + to.b))
    return found


def _alike(theirs: np.ndarray, ours: np.ndarray) -> np.ndarray:
    """(s, b) with which e^s · ours + b has mean and standard deviation of theirs, within `MOST`: float64 (2,)."""
    spread = max(float(theirs.std()), 1e-6) / max(float(ours.std()), 1e-6)
    s = float(np.clip(np.log(spread), -MOST[0], MOST[0]))
    return np.array([s, np.clip(theirs.mean() - np.exp(s) * ours.mean(), -MOST[1], MOST[1])])


def _moderate(confidence: np.ndarray) -> np.ndarray:
    """Log odds of which no single one decides a mean."""
    return np.clip(_log_odds(confidence), -9, 9)


def _log_odds(confidence: np.ndarray) -> np.ndarray:
    return np.asarray(special.logit(np.clip(np.asarray(confidence, float), EDGE, 1 - EDGE)))
