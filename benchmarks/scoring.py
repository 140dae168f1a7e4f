"""Scores answers to a task. The figures are the same for every model; none of them knows who answered.

Answers have one row per cell: `product_id`, `attribute`, `value`, `confidence` (not-a-number: the model has none), and
for extraction, where the model can say it, `instead` and `instead_confidence`: the likeliest value where `value` says
that there is none. A cell without an answer counts as wrong; a number that is missing counts as the median of the
training rows.
"""

from typing import Any

import numpy as np
import pandas as pd

from attrgan.evaluation.metrics import calibration_noise, coverage_at, expected_calibration_error
from attrgan.schema import NOT_APPLICABLE
from benchmarks.tasks import ID, Task

TOLERANCE = 0.05
THRESHOLD = 0.4
"""Confidence from which an extracted value counts in the figures decided for F1: half the F1 to be expected, which
makes it largest (Lipton et al., 2014); not tuned, .25 did better on rows kept back. Without it a value is said where it
is likelier than none."""
RARE = 5
"""Training rows that have a rare value, at most; one that none has is not rare but new."""
Figures = dict[str, float | None]


def score(task: Task, answers: pd.DataFrame) -> dict[str, Any]:
    """Figures per attribute and their summary, by the set's protocol."""
    cells = task.truth.merge(answers, on=[ID, "attribute"], how="left", suffixes=("", "_answered"))
    cells = cells.rename(columns={"value_answered": "answer"})
    if task.set.protocol == "extraction":
        return _extraction(task, cells)
    attributes = {str(name): _figures(task, str(name), group) for name, group in cells.groupby("attribute", sort=False)}
    summary = {"rare": accuracy_of_rare(task, cells)} | {
        key: _mean([f.get(key) for f in attributes.values()])
        for key in ("accuracy", "within5", "cov95", "ece", "ece_expected", "skill")
    }
    if task.set.protocol == "mcar":
        summary["rmse"] = rmse(cells["answer"], cells["value"])
    return {"attributes": attributes, "summary": summary | {"cells": len(cells)}}


def accuracy_of_rare(task: Task, cells: pd.DataFrame) -> float | None:
    """Share right of all cells, but numbers, whose value at least one and at most `RARE` training rows have."""
    right = []
    for name, group in cells.groupby("attribute"):
        if task.set.kinds[name] != "numeric":
            seen = _normal(group["value"]).map(_normal(task.train[name].dropna()).value_counts()).fillna(0)
            right += list(is_right(task, str(name), group)[0][seen.between(1, RARE)])
    return float(np.mean(right)) if right else None


def rmse(answers: pd.Series, truth: pd.Series) -> float:
    """Root of the mean squared error over all missing cells, as in the GAIN paper."""
    return float(np.sqrt(np.mean((answers.astype(float) - truth.astype(float)) ** 2)))


def _figures(task: Task, name: str, cells: pd.DataFrame) -> Figures:
    confidence = cells["confidence"].to_numpy(float, na_value=np.nan)
    figures: Figures = {"n": len(cells)}
    right, skill = is_right(task, name, cells)
    if skill is None:
        figures["accuracy"] = float(right.mean())
    else:
        figures |= {"within5": float(right.mean()), "skill": skill}
    figures["cov95"] = coverage_at(np.nan_to_num(confidence), right)
    sure = ~np.isnan(confidence)
    figures["ece"] = expected_calibration_error(confidence[sure], right[sure]) if sure.any() else None
    figures["ece_expected"] = calibration_noise(confidence[sure]) if sure.any() else None
    return figures


def is_right(task: Task, name: str, cells: pd.DataFrame) -> tuple[np.ndarray, float | None]:
    """Right or not, bool (n,), of the cells of an attribute (columns `answer`, `value`); and of numbers the skill."""
    if task.set.kinds[name] == "numeric":
        return numeric_right(cells["answer"], cells["value"], task.train[name].dropna())
    return (_normal(cells["answer"]) == _normal(cells["value"])).to_numpy(bool), None


def numeric_right(answers: pd.Series, truth: pd.Series, known: pd.Series) -> tuple[np.ndarray, float]:
    """Within 5 % or not, bool (n,), and the skill: 1 − MAE / MAE of the median of the training rows.

    Errors are clipped at ten times the median absolute deviation: one absurd value in the truth decides nothing.
    """
    true, median = truth.to_numpy(float), float(known.median())
    given = pd.to_numeric(answers, errors="coerce").to_numpy(float, na_value=np.nan)
    given = np.where(np.isnan(given), median, given)
    cap = 10 * max(float((known - median).abs().median()), 1e-9)
    error, reference = (np.minimum(np.abs(guess - true), cap).mean() for guess in (given, median))
    return np.abs(given - true) <= TOLERANCE * np.abs(true) + 1e-9, float(1 - error / max(reference, 1e-9))


def _normal(values: pd.Series) -> pd.Series:
    """Strings to compare: what attrgan calls the same value (Unicode NFC, no blanks around it)."""
    return values.where(values.notna(), "").astype(str).str.normalize("NFC").str.strip()


def _mean(values: list[float | None]) -> float | None:
    there = [v for v in values if v is not None]
    return float(np.mean(there)) if there else None


# --- extraction ----------------------------------------------------------------------------------------------------


def _extraction(task: Task, cells: pd.DataFrame) -> dict[str, Any]:
    cells = cells.assign(answer=_normal(cells["answer"]), accepted=cells["accepted"].map(lambda v: [*map(_trim, v)]))
    ruled_out, none = cells["answer"] == NOT_APPLICABLE, ~cells["accepted"].map(bool)
    cells.loc[ruled_out, "answer"] = ""
    decided = _decided_for_f1(cells)
    row, row_decided = (every[cells["listed"].astype(bool)] for every in (cells, decided))
    summary: dict[str, Any] = {"f1_row": micro_f1(row), "f1_strict": micro_f1(cells)}
    summary |= {"f1_row_decided": micro_f1(row_decided), "f1_strict_decided": micro_f1(decided)}
    summary["recall_unseen"] = recall_unseen(task, cells)
    if task.set.not_listed == NOT_APPLICABLE:
        summary["na_f1"] = 2 * int((ruled_out & none).sum()) / max(int(ruled_out.sum() + none.sum()), 1)
    attributes = {
        str(name): {"n": len(group), "f1": micro_f1(group)} for name, group in row.groupby("attribute", sort=False)
    }
    return {"attributes": attributes, "summary": summary | {"cells": len(cells)}}


def _decided_for_f1(cells: pd.DataFrame) -> pd.DataFrame:
    """The likeliest value of every cell, where it is likely enough."""
    answer, chance = cells["answer"], cells["confidence"].astype(float)
    if "instead" in cells:
        none = answer == ""
        answer = answer.mask(none, _normal(cells["instead"]))
        chance = chance.mask(none, cells["instead_confidence"].astype(float))
    return cells.assign(answer=answer.where(chance >= THRESHOLD, ""))


def _trim(value: str) -> str:
    return str(_normal(pd.Series([value])).iloc[0])


def micro_f1(cells: pd.DataFrame) -> float | None:
    """Micro-F1 as ExtractGPT counts it: P = VC / (NV + VC + VW), R = VC / (VN + VC + VW).

    VC: a right value; VW: a wrong one; VN: none although there is one; NV: one although there is none.

    Args:
        cells: with the columns `answer` (a string; empty: none) and `accepted` (list of right values; empty: none).
    """
    there, answered = cells["accepted"].map(bool), cells["answer"] != ""
    right = np.array([a in accepted for a, accepted in zip(cells["answer"], cells["accepted"], strict=True)], bool)
    vc, said, known = int((right & there).sum()), int(answered.sum()), int(there.sum())
    return 2 * vc / (said + known) if said + known else None


def recall_unseen(task: Task, cells: pd.DataFrame) -> float | None:
    """Share right of the cells whose values no training row has in that attribute."""
    seen = {name: set(_normal(task.train[name].dropna())) for name in task.set.kinds}
    new = [
        bool(accepted) and not seen[name] & set(accepted)
        for name, accepted in zip(cells["attribute"], cells["accepted"], strict=True)
    ]
    asked = cells[new]
    right = [answer in accepted for answer, accepted in zip(asked["answer"], asked["accepted"], strict=True)]
    return float(np.mean(right)) if right else None
