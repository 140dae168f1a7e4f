"""`attrgan drift`: whether new rows still look like those the model was trained on, and what may not be filled if not.

The promise of a precision holds for items like those it was made on. Every measure of `attrgan.quality.reference` is
one expectation; where it is not met, the attributes it concerns are *suspended*: `attrgan complete --drift` puts their
cells up for review instead of filling them.

| level | expectation | suspends |
|---|---|---|
| attribute | its values are distributed as at training | the attribute |
| attribute | no more of its cells are missing than at training | nothing: to fill them is what completion is for |
| text | so are length, script, unknown words and missing texts of each text column | all attributes |
| category | no more items than at training are of a category that it did not know | all attributes |
| category | the categories are mixed as at training | nothing: a night of one department is an everyday event |
| score | the confidences of an attribute's missing cells are distributed as at training | the attribute |
| score | known cells, hidden and answered, are right as often as promised where they would be filled | the attribute |

Choices
- A difference must be significant and large (`attrgan.quality.difference`), both within categories, so that a night of
  one department is no drift in its colours. Holm's correction over all checks makes an alarm on a night like the
  training catalog at most as probable as `false_alarm_rate`; `limit` keeps a million rows from alarms for a trifle.
- Fewer missing cells are no drift. A precision is held against the promise itself (exact binomial test), not against
  training: it sees what no distribution shows, a value that now means something else.
- Few cells are said to be too few to judge, and suspend nothing: the promise was made for single cells as well.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy import stats

from attrgan.config import Drift
from attrgan.errors import InputError
from attrgan.lake import storage
from attrgan.lake.catalog import deleted
from attrgan.lake.cells import to_frame
from attrgan.lake.manifest import Result
from attrgan.lake.rows import Rows
from attrgan.quality.difference import Difference, compare
from attrgan.quality.reference import FILE, Fitted, Reference, confidences, sampled
from attrgan.schema import Schema

if TYPE_CHECKING:
    from attrgan.model import CompletionModel
    from attrgan.quality.judge import Judge

REPORT = "drift.json"
MOST_ROWS = 50_000
"""Rows that are looked at, of a larger catalog a random sample: a share is known to half a percent then."""
CHANGES = 3
"""Bins named in the reason of a check."""


@dataclass
class Check:
    """What was expected of one measure, and what was found.

    Attributes:
        level, column, of: the measure.
        suspends: the attributes that are not filled when it is flagged.
        n, reference_n: items judged, and those at training that they are held against.
        value: Jensen–Shannon distance, or the precision of hidden cells; limit: how far it may go.
        p_value: chance of a difference like this in rows like those of training; adjusted: for the number of checks.
        judged: whether there was enough to judge; flagged: drift.
        ignored: flagged, but the settings say that it suspends nothing.
        reason: what differs, or why it was not judged, in words.
    """

    level: str
    column: str
    of: str
    suspends: list[str]
    limit: float
    n: int = 0
    reference_n: int = 0
    value: float | None = None
    p_value: float | None = None
    adjusted: float | None = None
    judged: bool = False
    flagged: bool = False
    ignored: bool = False
    reason: str | None = None
    changes: list[dict[str, Any]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What reasons and the setting `drift.ignore` call it."""
        return f"{self.column}: {self.of}"

    @property
    def figure(self) -> str:
        """The column of the `figures` frame."""
        return f"{self.name}, {'precision' if self.of == 'precision' else 'distance from training'}"


def rows_to_judge(rows: Rows, schema: Schema, seed: int = 0) -> pd.DataFrame:
    """The rows of a catalog as the model works on them: all, or `MOST_ROWS` chosen at random, but for removed items."""
    chosen, start, parts = sampled(rows.num_rows, MOST_ROWS, seed), 0, []
    for chunk in rows.chunks():
        first, last = np.searchsorted(chosen, [start, start + chunk.num_rows])
        some = chunk.take(chosen[first:last] - start)
        parts.append(some.filter(pa.array(~deleted(some)[0])))
        start += chunk.num_rows
    return to_frame(pa.concat_tables(parts), schema)


def judge(
    model: "CompletionModel", folder: Path, frame: pd.DataFrame, stage: Path, limits: Drift,
    features: str | None = None, seed: int = 0,
) -> Result:  # fmt: skip
    """Holds new rows against a model's training rows; writes `drift.json` and `data_docs/index.html` into `stage`.

    Args:
        folder: the model's.
        frame: the new rows, from `to_frame`.
        features: the feature cache; None encodes the sampled rows now.

    Returns:
        Counts (`rows`, `sampled`, `checks`, `judged`, `flagged`, `suspended`), and in the details `suspended`:
        attribute → why, in words.
    """
    reference = Reference.read(folder)
    checks = checks_of(model, folder, reference, frame, limits, features, seed) if reference else []
    docs = flag(checks, limits)
    judged = [check for check in checks if check.judged]
    facts = {"Rows": len(frame), "Model version": model.version, "Judged": len(judged)}
    facts |= {"Flagged": sum(check.flagged for check in checks)}
    docs.write_data_docs(stage / "data_docs" / "index.html", f"{model.schema.entity}: drift", facts)
    suspended = _suspended(checks) if limits.suspend else {}
    said = None if reference else f"the model has no {FILE}: it was trained by a version that did not keep one"
    attributes = {
        name: {"suspended": name in suspended, "reason": suspended.get(name)} for name in model.schema.attributes
    }
    counts = {
        "rows": len(frame), "checks": len(checks), "judged": len(judged),
        "flagged": sum(check.flagged for check in checks), "suspended": len(suspended),
    }  # fmt: skip
    details = {"model_version": model.version, "schema_hash": model.schema.hash, "suspended": suspended}
    details |= {"not_judged": said} if said else {}
    report = details | {"counts": counts, "limits": limits.model_dump(), "attributes": attributes}
    storage.write_json(stage / REPORT, report | {"checks": [asdict(check) for check in checks]})
    return Result(counts, details)


def checks_of(
    model: "CompletionModel", folder: Path, reference: Reference, frame: pd.DataFrame, limits: Drift,
    features: str | None, seed: int,
) -> list[Check]:  # fmt: skip
    """Every check of the new rows against the reference; those of scores on rows that the model has not seen."""
    from attrgan.features import cache
    from attrgan.training.train import was_used

    sample = sampled(len(frame), limits.sample_rows, seed)
    unseen = np.flatnonzero(~was_used(folder, frame[model.schema.id])) if len(frame) else sample
    unseen = unseen[sampled(len(unseen), limits.sample_rows, seed)]
    rows = frame.iloc[unseen].reset_index(drop=True)
    found: dict[str, pd.Series[Any]] = {}
    checks = []
    if len(rows):
        encoded = cache.lookup(rows, model.schema, features)
        found = {n: c.set_axis(unseen[c.index]) for n, c in confidences(model, rows, encoded).items()}
        checks = list(_precisions(model, rows, encoded, limits))
    return distribution_checks(reference, frame, model.schema, sample, found, limits) + checks


def distribution_checks(
    reference: Reference, frame: pd.DataFrame, schema: Schema, sample: np.ndarray,
    confidence: "dict[str, pd.Series[Any]]", limits: Drift,
) -> list[Check]:  # fmt: skip
    """The checks of distributions.

    Args:
        sample: int64, numbers of the rows whose text is read; confidence: attribute → confidences, by row number.
    """
    categories, checks = reference.categories_of(frame, schema), []
    for measure in reference.measure(frame, schema, sample, confidence):
        check = Check(
            measure.level,
            measure.column,
            measure.of,
            _concerned(measure.level, measure.column, measure.of, schema),
            limits.limit,
        )
        checks.append(check)
        fitted = reference.measures.get(measure.name)
        if fitted is None:
            check.n, check.reason = len(measure.cells), "nothing like it at training"
            continue
        _judge(check, fitted, compare(fitted.counts, fitted.count(measure.cells, categories), fitted.rare), limits)
    return checks


def _concerned(level: str, column: str, of: str, schema: Schema) -> list[str]:
    if of == "mix" or (level, of) == ("attribute", "missing"):
        return []
    if level in ("attribute", "score"):
        return [column]
    return [n for n, a in schema.attributes.items() if a.mode != "off"]


def _judge(check: Check, fitted: Fitted, found: Difference, limits: Drift) -> None:
    """Fills in what was found."""
    check.n, check.reference_n = found.n, found.reference_n
    if min(check.n, check.reference_n) < limits.min_cells:
        which = "items" if check.n < limits.min_cells else "items like them at training"
        check.reason = f"too few to judge: {min(check.n, check.reference_n)} {which}, {limits.min_cells} needed"
        return
    check.judged, check.value, check.p_value = True, found.distance, found.p_value
    names = fitted.bins.names
    if fitted.worse and found.found[fitted.rare] <= found.expected[fitted.rare]:
        check.p_value = 1.0
    moved = np.argsort(-np.abs(found.found - found.expected), kind="stable")[:CHANGES]
    check.changes = [
        {"of": names[i], "expected": float(found.expected[i]), "found": float(found.found[i])}
        for i in moved
        if found.found[i] != found.expected[i]
    ]
    changed = ", ".join(f"{c['of']!r} {_percent(c['expected'])} → {_percent(c['found'])}" for c in check.changes)
    check.reason = f"{check.name} differ from training by {found.distance:.2f} (limit {limits.limit:g}): {changed}"


def _precisions(model: "CompletionModel", rows: pd.DataFrame, encoded: Any, limits: Drift) -> Iterator[Check]:
    """Known cells, hidden and answered as those that set the thresholds were: as often right as promised?

    A promise that was made for several attributes together is held by them together.
    """
    from attrgan.evaluation import hiding, metrics

    known = hiding.known_cells(rows, model.schema)
    masks = list(hiding.each_once(known, model.schema, np.random.default_rng(29)))
    answered = metrics.answer_hidden(model, rows, encoded, masks)
    filled: dict[tuple[str, ...], list[np.ndarray]] = {}
    for name, promise in model.calibration.items():
        threshold, cells = promise.get("threshold"), answered.get(name)
        if threshold is not None and cells is not None:
            accepted = cells["confidence"].to_numpy(float) >= threshold
            filled.setdefault(tuple(promise.get("pool") or [name]), []).append(cells["right"].to_numpy(bool)[accepted])
    for names, parts in filled.items():
        right, promise = np.concatenate(parts), model.calibration[names[0]]
        target = float(promise["promised_precision"])
        check = Check("score", ", ".join(names), "precision", list(names), target, len(right), int(promise["accepted"]))
        if len(right) < limits.min_cells:
            check.reason = f"too few to judge: {len(right)} cells that would be filled, {limits.min_cells} needed"
        else:
            check.judged, check.value = True, float(right.mean())
            check.p_value = float(stats.binom.cdf(right.sum(), len(right), target))
            check.reason = (
                f"of {len(right)} known cells, hidden, that would be filled {_percent(check.value)} are right, "
                f"{_percent(target)} is promised"
            )
        yield check


def _adjust(checks: list[Check]) -> None:
    """Holm's step-down correction of the p-values of what was judged."""
    judged = sorted((c for c in checks if c.p_value is not None), key=lambda check: check.p_value or 0.0)
    so_far = 0.0
    for i, check in enumerate(judged):
        so_far = max(so_far, min((len(judged) - i) * (check.p_value or 0.0), 1.0))
        check.adjusted = so_far


def flag(checks: list[Check], limits: Drift) -> "Judge":
    """Says which checks are drift, as Great Expectations judges one row of their figures.

    What is not significant is as good as no difference.
    """
    from attrgan.quality.judge import Judge
    from attrgan.quality.suite import drift_suite

    _adjust(checks)
    judges, judged = Judge(), [check for check in checks if check.judged]
    if judged:
        row = {c.figure: c.value if _is_significant(c, limits) else _at_rest(c) for c in judged}
        bounds = {c.figure: (c.limit, None) if c.of == "precision" else (None, c.limit) for c in judged}
        for check, verdict in zip(judged, judges.judge(drift_suite(bounds), [pd.DataFrame([row])]), strict=True):
            check.flagged = not verdict.success
            check.ignored = check.flagged and check.name in limits.ignore
    return judges


def _is_significant(check: Check, limits: Drift) -> bool:
    return check.adjusted is not None and check.adjusted <= limits.false_alarm_rate


def _at_rest(check: Check) -> float:
    return check.limit if check.of == "precision" else 0.0


def _suspended(checks: list[Check]) -> dict[str, str]:
    """Attribute → why it is not filled."""
    reasons: dict[str, list[str]] = {}
    for check in checks:
        if check.flagged and not check.ignored:
            for name in check.suspends:
                reasons.setdefault(name, []).append(str(check.reason))
    return {name: "; ".join(why) for name, why in reasons.items()}


def read_suspended(place: str, model_version: str) -> dict[str, str]:
    """Attribute → why it is suspended, from an output of `attrgan drift`.

    Raises:
        InputError: there is none, it cannot be read, or it is about another model.
    """
    report = storage.join(place, REPORT)
    if not storage.exists(report):
        raise InputError(f"{place} holds no {REPORT}: expected the output folder of `attrgan drift`, finished")
    try:
        found = storage.read_json(report)
        judged_by, suspended = str(found["model_version"]), dict(found["suspended"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{report} is damaged ({error}): run `attrgan drift` again") from None
    if judged_by != model_version:
        raise InputError(
            f"{place} judges the drift of model {judged_by}, and {model_version} is to complete: "
            "run `attrgan drift` with the same --model"
        )
    return suspended


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
