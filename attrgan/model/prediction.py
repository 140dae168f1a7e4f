"""Answers to cells: what a model says of them, and what is done to answers whatever they are about."""

from dataclasses import dataclass, field, replace

import numpy as np

from attrgan.evaluation.recalibration import Recalibration
from attrgan.model.attribution import Carried


@dataclass
class Prediction:
    """The answers to some cells of one attribute.

    Attributes:
        rows: int64 (n,): the items asked about.
        value: object (n,): the best value as a string.
        confidence: float64 (n,): the calibrated probability that it is right.
        number, lower, upper: float64 (n,), for numeric attributes; expected: the mean of the distribution, the best
            guess where squared errors count.
        span: int64 (n, 2): first token and number of tokens where the value stands in the item's text, −1 where not;
            of a `multi` attribute where its first member stands, if all of them do.
        copied: bool (n,): the value is a span that no known value spells.
        runners_up: the other best candidates, [(value, probability), …] per cell; of a `multi` attribute members that
            are not in the set, with the probability that they belong to it.
        neighbours: the similar training items that have this value, [(id, cosine), …] per cell.
        voted: bool (n,): without the neighbours another value would have been chosen.
        member_spans: of a `multi` attribute the places, as `span`, of all members that stand in the text, per cell.
        best: the candidates, int64 (n, k): the one chosen and those next to it; of a `multi` attribute the members, −1
            where there are no more; of a number its bin.
        carried: what carried the answers, where that was asked for.
    """

    rows: np.ndarray
    value: np.ndarray
    confidence: np.ndarray
    number: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    expected: np.ndarray
    span: np.ndarray
    copied: np.ndarray
    voted: np.ndarray
    runners_up: list[list[tuple[str, float]]] = field(default_factory=list)
    neighbours: list[list[tuple[str, float]]] = field(default_factory=list)
    member_spans: list[list[tuple[int, int]]] = field(default_factory=list)
    best: np.ndarray | None = None
    carried: Carried | None = None


def no_answer(rows: np.ndarray) -> Prediction:
    """Cells of an attribute whose values nobody knows: no value, no confidence."""
    n, unknown = len(rows), np.full(len(rows), np.nan)
    return Prediction(
        rows=rows, value=np.full(n, None, dtype=object), confidence=np.zeros(n), number=unknown, lower=unknown,
        upper=unknown, expected=unknown, span=np.full((n, 2), -1), copied=np.zeros(n, bool), voted=np.zeros(n, bool),
        runners_up=[[] for _ in range(n)], neighbours=[[] for _ in range(n)],
    )  # fmt: skip


def recalibrated(answer: Prediction, to: Recalibration) -> Prediction:
    """The answers with the confidence that is reported; other candidates keep their order and never exceed it."""
    before = answer.confidence
    if to == Recalibration() or not before.any():
        return answer
    after = to(before)
    if answer.member_spans:  # the runners-up of a set are members, whose chances are not those of the whole set
        return replace(answer, confidence=after)
    share = np.minimum(after / before, (1 - after) / np.maximum(1 - before, 1e-12))
    each = zip(answer.runners_up, share.tolist(), strict=True)
    others = [[(v, round(p * s, 4)) for v, p in some] for some, s in each]
    return replace(answer, confidence=after, runners_up=others)


def join(parts: list[Prediction]) -> Prediction:
    """Batches as one prediction, in the order of the rows."""
    arrays = {
        name: np.concatenate([getattr(p, name) for p in parts])
        for name in ("rows", "value", "confidence", "number", "lower", "upper", "expected", "span", "copied", "voted")
    }
    order = np.argsort(arrays["rows"], kind="stable")
    runners_up, neighbours = ([r for p in parts for r in getattr(p, name)] for name in ("runners_up", "neighbours"))
    member_spans = [s for p in parts for s in p.member_spans]
    carried = [p.carried or Carried.nothing(len(p.rows)) for p in parts]
    shares, by = [s for c in carried for s in c.shares], [b for c in carried for b in c.by]
    return Prediction(
        **{k: v[order] for k, v in arrays.items()},
        runners_up=[runners_up[i] for i in order], neighbours=[neighbours[i] for i in order],
        member_spans=[member_spans[i] for i in order] if member_spans else [],
        carried=Carried([shares[i] for i in order], [by[i] for i in order]),
    )  # fmt: skip
