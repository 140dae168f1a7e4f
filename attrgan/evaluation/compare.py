"""The gate of `attrgan compare`: may this candidate become champion?

Choices, with a champion (both models scored on the same held-out cells):
- an attribute refuses only if it is worse by more than `max_accuracy_loss` *beyond noise*: the one-sided upper bound,
  at `CONFIDENCE`, of the difference in accuracy lies below the loss that is allowed;
- the mean over the attributes must not be worse beyond noise;
- the promise must hold: the interval of the realised precision reaches the promised one.
Without a champion the mode or median of the training rows takes its place: the candidate must be better than it on
average, and on no attribute worse beyond noise. An attribute that the champion does not have is judged in the same way.

The bound is that of Newcombe (1998, method 10: Wilson intervals of both accuracies). It takes the two as independent,
which errs on the side of letting a candidate pass, as both models are scored on the same cells. Where the metrics carry
`right` (one boolean per cell, cells in the same order in both), the paired bound is used instead: given the cells on
which the two differ, the exact binomial bound of the share that the candidate wins (Clopper and Pearson, 1934).
"""

import math
from typing import Any

from attrgan.config import Promotion
from attrgan.evaluation import calibration

CONFIDENCE = 0.95
"""Of each one-sided bound."""


def compare(candidate: dict[str, Any], champion: dict[str, Any] | None, promotion: Promotion) -> dict[str, Any]:
    """Judges a candidate by its metrics and those of the champion on the same held-out rows.

    Args:
        candidate: what `attrgan evaluate` measured (`metrics.json`).
        champion: the same of the champion, or None where there is none.
        promotion: how much an attribute may lose.

    Returns:
        `candidate` and `champion` (model versions, None without a champion), `gate` (passed, reasons, refused: one
        sentence or None), `attributes` (name → n, candidate, champion, baseline, difference, difference_bound, coverage
        of both, promised and realised precision), `mean` (candidate, champion, baseline, difference, its bound).
    """
    theirs = champion["attributes"] if champion else {}
    attributes = {
        name: _attribute(found, theirs.get(name)) for name, found in candidate["attributes"].items() if found.get("n")
    }
    mean = _mean(attributes, against_champion=champion is not None)
    reasons = [*_structure(candidate, champion, attributes), *_worse(attributes, mean, champion is not None, promotion)]
    reasons += _broken_promises(candidate["attributes"])
    against = f"model {champion['model_version']}" if champion else "mode and median"
    refused = f"model {candidate['model_version']} is refused against {against}: {'; '.join(reasons)}"
    return {
        "candidate": candidate["model_version"],
        "champion": champion["model_version"] if champion else None,
        "gate": {"passed": not reasons, "reasons": reasons, "refused": refused if reasons else None},
        "attributes": attributes,
        "mean": mean,
    }


def _attribute(ours: dict[str, Any], theirs: dict[str, Any] | None) -> dict[str, Any]:
    """One attribute: the accuracies and the upper bound of their difference (to the baseline without a champion)."""
    n, accuracy = int(ours["n"]), float(ours["accuracy"])
    scored = theirs if theirs and theirs.get("n") else None
    other = float(scored["accuracy"] if scored else ours.get("baseline") or 0.0)
    pair = (ours.get("right"), scored.get("right")) if scored else (None, None)
    if pair[0] is not None and pair[1] is not None and len(pair[0]) == len(pair[1]):
        bound = _paired_bound(pair[0], pair[1])
    else:
        bound = _newcombe_bound(accuracy, n, other, int(scored["n"]) if scored else n)
    return {
        "n": n,
        "candidate": accuracy,
        "champion": float(scored["accuracy"]) if scored else None,
        "baseline": ours.get("baseline"),
        "difference": accuracy - other,
        "difference_bound": bound,
        "candidate_coverage": ours.get("coverage"),
        "champion_coverage": scored.get("coverage") if scored else None,
        "promised_precision": ours.get("promised_precision"),
        "realised_precision": ours.get("realised_precision"),
    }


def _mean(attributes: dict[str, dict[str, Any]], *, against_champion: bool) -> dict[str, Any]:
    """The means over the attributes that both have, and the bound of their difference.

    The distances of the attributes' bounds are combined as independent errors (method of variance estimates recovery).
    """
    if against_champion:
        attributes = {name: a for name, a in attributes.items() if a["champion"] is not None}
    if not attributes:
        return {"candidate": None, "champion": None, "baseline": None, "difference": None, "difference_bound": None}
    size = len(attributes)
    rows = list(attributes.values())
    difference = sum(a["difference"] for a in rows) / size
    distance = math.sqrt(sum((a["difference_bound"] - a["difference"]) ** 2 for a in rows)) / size
    return {
        "candidate": sum(a["candidate"] for a in rows) / size,
        "champion": sum(a["champion"] for a in rows) / size if against_champion else None,
        "baseline": sum(a["baseline"] or 0.0 for a in rows) / size,
        "difference": difference,
        "difference_bound": difference + distance,
    }


def _structure(
    candidate: dict[str, Any], champion: dict[str, Any] | None, attributes: dict[str, dict[str, Any]]
) -> list[str]:
    """What makes the two not comparable."""
    if not attributes:
        return ["no held-out cell was scored"]
    reasons = []
    for name, theirs in (champion["attributes"] if champion else {}).items():
        if not theirs.get("n"):
            continue
        n = candidate["attributes"].get(name, {}).get("n") or 0
        if n != theirs["n"]:
            reasons.append(
                f"{name}: not scored on the same cells ({n} of the candidate, {theirs['n']} of the champion)"
            )
    return reasons


def _worse(
    attributes: dict[str, dict[str, Any]], mean: dict[str, Any], against_champion: bool, promotion: Promotion
) -> list[str]:
    reasons = []
    for name, a in attributes.items():
        with_champion = a["champion"] is not None
        allowed = promotion.max_accuracy_loss if with_champion else 0.0
        if a["difference_bound"] < -allowed:
            than = "the champion" if with_champion else "mode or median"
            other = a["champion"] if with_champion else a["baseline"]
            reasons.append(
                f"{name}: accuracy {a['candidate']:.3f} is worse than the {other:.3f} of {than}, beyond noise"
                + (f" and the loss of {allowed:g} that is allowed" if allowed else "")
            )
    if mean["difference"] is None:
        return reasons
    if against_champion and mean["difference_bound"] < 0:
        reasons.append(f"the mean accuracy {mean['candidate']:.3f} is worse than the champion's {mean['champion']:.3f}")
    if not against_champion and mean["difference"] <= 0:
        reasons.append(
            f"the mean accuracy {mean['candidate']:.3f} is not better than {mean['baseline']:.3f} of mode and median"
        )
    return reasons


def _broken_promises(attributes: dict[str, dict[str, Any]]) -> list[str]:
    """Attributes, and pools of them, whose realised precision is significantly below what is promised."""
    reasons = []
    for name, found in _promised_together(attributes).items():
        promised, interval = found.get("promised_precision"), found.get("realised_interval")
        if promised is not None and interval and interval[1] is not None and interval[1] < promised:
            reasons.append(
                f"{name}: the promise is broken, {found['realised_precision']:.3f} of {found['realised_n']} filled "
                f"cells are right (at most {interval[1]:.3f}), promised {promised:.3f}"
            )
    return reasons


def _promised_together(attributes: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Names → figures: attributes that are promised as a pool (`promise.py`) are judged as one."""
    found: dict[str, dict[str, Any]] = {}
    for name, figures in attributes.items():
        pool = (figures.get("promise") or {}).get("pool")
        if not pool:
            found[name] = figures
        elif name == pool[0]:
            members = [attributes[member] for member in pool if attributes.get(member, {}).get("realised_n")]
            n = sum(member["realised_n"] for member in members)
            right = sum(round(member["realised_precision"] * member["realised_n"]) for member in members)
            realised = {"realised_precision": right / n if n else None, "realised_n": n}
            found[" and ".join(pool)] = figures | realised | {"realised_interval": calibration.interval(right, n)}
    return found


def _newcombe_bound(p: float, n: int, q: float, m: int) -> float:
    """Upper bound of p − q for two independent proportions of n and m cells."""
    from scipy.stats import binomtest

    def wilson(share: float, size: int) -> tuple[float, float]:
        interval = binomtest(round(share * size), size).proportion_ci(2 * CONFIDENCE - 1, method="wilson")
        return float(interval.low), float(interval.high)

    return min(1.0, p - q + math.hypot(wilson(p, n)[1] - p, q - wilson(q, m)[0]))


def _paired_bound(ours: list[bool], theirs: list[bool]) -> float:
    """Upper bound of the difference in accuracy on the same cells: lists of equal length, one entry per cell."""
    from scipy.stats import binomtest

    won = sum(bool(a) and not b for a, b in zip(ours, theirs, strict=True))
    differ = won + sum(bool(b) and not a for a, b in zip(ours, theirs, strict=True))
    if not differ:
        return 0.0
    share = binomtest(won, differ).proportion_ci(2 * CONFIDENCE - 1, method="exact").high
    return float(differ / len(ours) * (2 * share - 1))
