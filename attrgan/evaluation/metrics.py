"""How good a model is on cells whose answer is known: hidden, completed, compared."""

import json
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pandas as pd
import pyarrow as pa

from attrgan.evaluation.calibration import interval
from attrgan.evaluation.hiding import Mask, Missing, at_rate, known_cells
from attrgan.lake.cells import canonical
from attrgan.schema import Attribute, Schema

if TYPE_CHECKING:
    from attrgan.model.completion_model import CompletionModel
    from attrgan.model.prediction import Prediction

PROMISE = ("cells", "needed", "accepted", "errors", "lower_bound", "coverage", "pool", "missing", "under")
"""What `calibration.json` says of a promise and reports repeat."""
MOST_ROWS = 20_000
"""Rows that the promise is measured on under each pattern: more are drawn from."""


def answer_hidden(
    model: "CompletionModel", frame: pd.DataFrame, features: pa.Table, masks: list[Mask]
) -> dict[str, pd.DataFrame]:
    """Completes hidden cells and says which are right.

    Args:
        masks: hidden cells, bool (N, A) each; every known cell of a mask is answered under that mask.

    Returns:
        Attribute → frame with the columns row, truth, value, confidence, right, number, lower, upper.
    """
    inputs = model.inputs(frame, features)
    known = known_cells(frame, model.schema)
    parts: dict[str, list[pd.DataFrame]] = {name: [] for name in model.schema.attributes}
    for mask in masks:
        for name, answer in model.predict(frame, inputs, mask.cells & known, mask).items():
            parts[name].append(scored_cells(answer, frame[name], model.schema.attributes[name]))
    return {name: pd.concat(part, ignore_index=True) for name, part in parts.items() if part}


def scored_cells(answer: "Prediction", cells: pd.Series, attribute: Attribute) -> pd.DataFrame:
    """The answers to some cells of an attribute beside what is true: `cells` holds the column, all rows."""
    truth = cells.iloc[answer.rows].to_numpy()
    value = answer.number if attribute.kind == "numeric" else answer.value
    columns = {"row": answer.rows, "truth": truth, "value": value, "right": is_right(value, truth, attribute)}
    columns |= {k: getattr(answer, k) for k in ("confidence", "number", "lower", "upper")}
    return pd.DataFrame(columns)


def is_right(value: np.ndarray, truth: np.ndarray, attribute: Attribute) -> np.ndarray:
    """bool (n,): the same string, the same set (`multi`), or a number within the relative tolerance of the true one."""
    if attribute.kind == "numeric":
        value, truth = value.astype(float), truth.astype(float)
        return np.abs(value - truth) <= np.where(truth == 0, 1e-9, attribute.tolerance * np.abs(truth) * (1 + 1e-9))
    same = _members if attribute.multi else canonical
    return np.array([same(v) == same(t) for v, t in zip(value, truth, strict=True)], dtype=bool)


def _members(value: object) -> frozenset[str] | None:
    """The members of a set given as a JSON list; None, which is no set, where there is no answer."""
    return frozenset(map(canonical, json.loads(value))) if isinstance(value, str) else None


def not_applicable(value: np.ndarray, truth: np.ndarray, attribute: Attribute) -> dict[str, Any] | None:
    """Precision, recall and F1 of the answer `n/a`, at whatever confidence; None where no true cell is `n/a`.

    Counts: `n` true ones, `answered`, `right`.
    """
    true, said = truth == attribute.not_applicable, value == attribute.not_applicable
    if not true.any():
        return None
    n, answered, right = int(true.sum()), int(said.sum()), int((true & said).sum())
    precision = right / answered if answered else None
    return {"n": n, "answered": answered, "right": right, "precision": precision, "recall": right / n,
            "f1": 2 * right / (n + answered)}  # fmt: skip


def baselines(frame: pd.DataFrame, schema: Schema) -> dict[str, Any]:
    """The mode or median of each attribute's known cells: what one fills without a model."""
    found: dict[str, Any] = {}
    for name, attribute in schema.attributes.items():
        known = frame[name].dropna()
        if attribute.kind == "numeric":
            found[name] = float(known.median()) if len(known) else None
        else:
            found[name] = min(known.mode(), default=None)
    return found


def summarise(answers: dict[str, pd.DataFrame], model: "CompletionModel") -> dict[str, Any]:
    """Figures per attribute (see the documentation of `metrics.json` in docs/model.md) and their means."""
    attributes = {name: _figures(name, answers.get(name), model) for name in model.schema.attributes}
    scored = [f for f in attributes.values() if f["n"]]
    every = pd.concat([cells[["confidence", "right"]] for cells in answers.values()]) if scored else None
    return {
        "model_version": model.config.get("model_version"),
        "schema_hash": model.schema.hash,
        "attributes": attributes,
        "mean_accuracy": _mean([f["accuracy"] for f in scored]),
        "mean_baseline": _mean([f["baseline"] for f in scored]),
        "mean_coverage": _mean([f["coverage"] for f in scored]),
        "na_f1": _na_f1([f["not_applicable"] for f in scored if f["not_applicable"]]),
        "mean_ece": _mean([f["ece"] for f in scored]),
        "mean_ece_expected": _mean([f["ece_expected"] for f in scored]),
    } | ({} if every is None else _calibration_error(every))


def _na_f1(counts: list[dict[str, Any]]) -> float | None:
    """F1 of `n/a` over all cells of the attributes that have any."""
    found = sum(c["n"] + c["answered"] for c in counts)
    return 2 * sum(c["right"] for c in counts) / found if found else None


def _figures(name: str, cells: pd.DataFrame | None, model: "CompletionModel") -> dict[str, Any]:
    attribute = model.schema.attributes[name]
    promise = model.calibration.get(name, {})
    figures: dict[str, Any] = {"kind": attribute.kind, "n": 0 if cells is None else len(cells)}
    figures["promised_precision"] = promise.get("promised_precision")
    figures["reason"] = promise.get("reason")
    figures["promise"] = {key: promise.get(key) for key in PROMISE}
    if cells is None:
        return figures
    right, confidence = cells["right"].to_numpy(bool), cells["confidence"].to_numpy(float)
    baseline = np.full(len(cells), model.config["baseline"][name], dtype=object)
    figures |= {
        "accuracy": float(right.mean()),
        "accuracy_interval": interval(right.sum(), len(right)),
        "baseline": float(is_right(baseline, cells["truth"].to_numpy(), attribute).mean())
        if baseline[0] is not None
        else 0.0,
        "cov95": coverage_at(confidence, right),
        "not_applicable": not_applicable(cells["value"].to_numpy(), cells["truth"].to_numpy(), attribute),
    }
    figures |= _calibration_error(cells) | _realised(cells, promise.get("threshold"))
    if attribute.kind == "numeric":
        truth, number = cells["truth"].to_numpy(float), cells["number"].to_numpy(float)
        cap = 10 * max(float(np.median(np.abs(truth - np.median(truth)))), 1e-9)
        error = np.minimum(np.abs(number - truth), cap).mean()
        against = None if baseline[0] is None else np.minimum(np.abs(float(baseline[0]) - truth), cap).mean()
        inside = (cells["lower"].to_numpy(float) <= truth) & (truth <= cells["upper"].to_numpy(float))
        skill = None if against is None else float(1 - error / max(against, 1e-9))
        figures |= {"mae": float(np.abs(number - truth).mean()), "skill": skill}
        figures["interval_coverage"] = float(inside.mean())
    return figures


def _realised(cells: pd.DataFrame, threshold: float | None) -> dict[str, Any]:
    """What a threshold lets through, and how much of it is right."""
    right, confidence = cells["right"].to_numpy(bool), cells["confidence"].to_numpy(float)
    accepted = confidence >= threshold if threshold is not None else np.zeros(len(cells), bool)
    return {
        "coverage": float(accepted.mean()),
        "realised_precision": float(right[accepted].mean()) if accepted.any() else None,
        "realised_n": int(accepted.sum()),
        "realised_interval": interval(right[accepted].sum(), int(accepted.sum())),
    }


def by_pattern(
    model: "CompletionModel", frame: pd.DataFrame, features: pa.Table, rate: float = 0.3, seed: int = 17
) -> dict[str, dict[str, dict[str, Any]]]:
    """What becomes of the promise where cells are missing in another way than calibration cells were.

    Args:
        rate: the share of the known cells that is hidden, under each pattern; of at most `MOST_ROWS` rows.

    Returns:
        Pattern (`mcar`, `mar`, `mnar`; see `hiding.at_rate`) → attribute → n, accuracy, coverage, realised_precision,
        realised_n, realised_interval; and the same, as `observed`, at the threshold for what is really missing.
    """
    if len(frame) > MOST_ROWS:
        chosen = np.sort(np.random.default_rng(seed).choice(len(frame), MOST_ROWS, replace=False))
        frame, features = frame.iloc[chosen].reset_index(drop=True), features.take(pa.array(chosen))
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for pattern in get_args(Missing):
        mask = at_rate(frame, model.schema, np.random.default_rng(seed), rate, pattern)
        found[pattern] = {}
        for name, cells in answer_hidden(model, frame, features, [mask]).items():
            promise = model.calibration.get(name, {})
            found[pattern][name] = {"n": len(cells), "accuracy": float(cells["right"].mean())}
            found[pattern][name] |= _realised(cells, promise.get("threshold"))
            other = promise.get("under", {}).get("observed", {}).get("threshold")
            found[pattern][name]["observed"] = _realised(cells, other)
    return found


def _calibration_error(cells: pd.DataFrame) -> dict[str, float]:
    """The expected calibration error, and what it would be by chance alone."""
    confidence, right = cells["confidence"].to_numpy(float), cells["right"].to_numpy(bool)
    return {"ece": expected_calibration_error(confidence, right), "ece_expected": calibration_noise(confidence)}


def calibration_noise(confidence: np.ndarray, draws: int = 20) -> float:
    """The mean calibration error of answers that are right exactly as often as they say: what few cells alone cause."""
    rng = np.random.default_rng(0)
    return float(np.mean([expected_calibration_error(confidence, rng.random(len(confidence)) < confidence)
                          for _ in range(draws)]))  # fmt: skip


def expected_calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    """Mean distance of confidence from the share that is right, over bins of equally many cells."""
    order = np.argsort(confidence, kind="stable")
    parts = np.array_split(order, min(bins, len(order)))
    return float(
        sum(len(p) * abs(confidence[p].mean() - right[p].mean()) for p in parts if len(p)) / max(len(order), 1)
    )


def coverage_at(confidence: np.ndarray, right: np.ndarray, precision: float = 0.95) -> float:
    """The largest share of cells, taken from the most confident on, whose running precision is at least `precision`.

    Cells of equal confidence stand or fall together: no threshold tells them apart.
    Searched in hindsight on the scored cells themselves: a figure to compare models by, never a promise.
    """
    order = np.argsort(-confidence, kind="stable")
    running = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    ends = np.append(np.diff(confidence[order]) != 0, True)
    good = np.flatnonzero((running >= precision) & ends[: len(order)])
    return float((good[-1] + 1) / len(order)) if len(good) else 0.0


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


def dump(metrics: dict[str, Any]) -> str:
    """Metrics as JSON text; not-a-number becomes null."""
    return json.dumps(json.loads(json.dumps(metrics), parse_constant=lambda _: None), indent=2, ensure_ascii=False)
