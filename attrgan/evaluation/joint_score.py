"""Scores a model's joint completions on rows it never saw: what `joint` in metrics.json and two of the plots show."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from attrgan.completion import sample
from attrgan.evaluation import hiding, joint
from attrgan.model.completion_model import CompletionModel
from attrgan.schema import Schema

ROWS, SAMPLES, RATE = 1000, 5, 0.4
"""Rows, completions of each, and the share of known cells that is hidden: enough to compare models, seconds to do."""
CELLS = 20_000
"""Rows × attributes at most: the passes grow with the attributes."""
REFERENCE_ROWS = 20_000


@dataclass
class Joint:
    """Scored joint completions.

    Attributes:
        metrics: the section `joint` of metrics.json.
        cells: attribute → frame with the columns truth, value, number: each hidden cell once for each sample.
        pairs: from `joint.consistency`.
    """

    metrics: dict[str, Any]
    cells: dict[str, pd.DataFrame]
    pairs: pd.DataFrame


def score(
    model: CompletionModel, frame: pd.DataFrame, features: pa.Table, reference: pd.DataFrame, seed: int = 17
) -> Joint:
    """Hides a share of the known cells of up to `ROWS` rows, completes them `SAMPLES` times, and compares.

    Args:
        frame: rows that the model never used; features: of the same rows.
        reference: other real rows, in which pairs of values are looked up; rows that are not scored join them, at
            least half of the frame where there are no others.
        seed: chooses rows and cells: the same for every model.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(frame))
    others = len(reference) >= len(frame)
    scored = min(ROWS, max(CELLS // len(model.schema.attributes), 1), len(frame) if others else -(-len(frame) // 2))
    reference = pd.concat([reference, frame.iloc[order[scored:]]])
    reference = reference.iloc[np.sort(rng.permutation(len(reference))[:REFERENCE_ROWS])]
    rows = np.sort(order[:scored])
    frame = frame.iloc[rows].reset_index(drop=True)
    inputs = model.inputs(frame, features.take(pa.array(rows)))
    asked = hiding.at_rate(frame, model.schema, rng, RATE).cells & hiding.known_cells(frame, model.schema)
    drawn = {
        name: sample.draw(model, frame, inputs, asked, samples=SAMPLES, seed=seed, one_by_one=name == "one_by_one")
        for name in ("one_by_one", "alone")
    }
    space = joint.Space(model.schema, reference)
    seen, truth = space.labels(space.points(reference)), space.points(frame)
    made = {
        name: [space.points(completed(frame, found, asked, k, model.schema)) for k in range(SAMPLES)]
        for name, found in drawn.items()
    }
    stacked = {name: _stack(points) for name, points in made.items()}
    real, labels = space.labels(truth), {name: space.labels(points) for name, points in stacked.items()}
    pairs = {name: joint.consistency(seen, real, found, asked) for name, found in labels.items()}
    triples = {name: joint.consistency(seen, real, found, asked, 3) for name, found in labels.items()}
    some = asked.any(1)
    energy = {name: joint.energy_score(points, truth)[some] for name, points in stacked.items()}
    difference = energy["one_by_one"] - energy["alone"]
    uncertain = float(difference.std() / len(difference) ** 0.5) if len(difference) else 0.0
    measured = {
        "rows": int(some.sum()), "cells": int(asked.sum()), "samples": SAMPLES, "rate": RATE,
        "energy_score": {n: _mean(e) for n, e in energy.items()}
        | {"standard_error_of_difference": uncertain},
        "two_sample": {n: joint.classifier_two_sample(real[some], p[0][some], paired=True) for n, p in labels.items()},
        "jensen_shannon": {n: _mean(np.array(_divergences(real, p, asked))) for n, p in labels.items()},
        "pairs": _shares(pairs), "triples": _shares(triples),
        **_coverage(drawn["one_by_one"], frame, asked, model.schema),
    }  # fmt: skip
    return Joint(measured, cells(drawn["one_by_one"], frame, asked, model.schema), pairs["one_by_one"])


def completed(frame: pd.DataFrame, drawn: sample.Samples, asked: np.ndarray, k: int, schema: Schema) -> pd.DataFrame:
    """The k-th sample as a frame: what is known, and what was drawn in place of the asked cells, bool (N, A)."""
    filled = frame.copy()
    for i, (name, attribute) in enumerate(schema.attributes.items()):
        values = drawn.number[k, :, i] if attribute.kind == "numeric" else drawn.value[k, :, i]
        filled[name] = pd.Series(np.where(asked[:, i], values, frame[name]), frame.index, frame[name].dtype)
    return filled


def cells(drawn: sample.Samples, frame: pd.DataFrame, asked: np.ndarray, schema: Schema) -> dict[str, pd.DataFrame]:
    """Attribute → the truth of its asked cells beside each of the values drawn."""
    found = {}
    for i, name in enumerate(schema.attributes):
        rows = np.flatnonzero(asked[:, i])
        if len(rows):
            values, numbers = drawn.value[:, rows, i].ravel(), drawn.number[:, rows, i].ravel()
            truth = np.tile(frame[name].iloc[rows].to_numpy(), len(drawn.value))
            found[name] = pd.DataFrame({"truth": truth, "value": values, "number": numbers})
            found[name].attrs["n"] = len(rows)
    return found


def _stack(points: list[joint.Points]) -> joint.Points:
    return joint.Points(*(np.stack([getattr(p, name) for p in points]) for name in ("codes", "numbers", "bins")))


def _divergences(real: np.ndarray, made: np.ndarray, asked: np.ndarray) -> list[float]:
    """The Jensen–Shannon distance of each attribute's asked cells, real against drawn."""
    attributes = np.flatnonzero(asked.any(0))
    return [joint.jensen_shannon(real[asked[:, i], i], made[:, asked[:, i], i].ravel()) for i in attributes]


def _shares(sets: dict[str, pd.DataFrame]) -> dict[str, float | None]:
    found = {name: joint.mean_consistency(each) for name, each in sets.items()}
    return {name: each["made"] for name, each in found.items()} | {"real": found["one_by_one"]["real"]}


def _coverage(drawn: sample.Samples, frame: pd.DataFrame, asked: np.ndarray, schema: Schema) -> dict[str, float | None]:
    """Share of true numbers between the least and the largest sample, over all numeric attributes."""
    at = [i for i, a in enumerate(schema.attributes.values()) if a.kind == "numeric"]
    if not at:
        return {}
    names = list(schema.attributes)
    truth = np.concatenate([frame[names[i]].to_numpy(float)[asked[:, i]] for i in at])
    samples = np.concatenate([drawn.number[:, asked[:, i], i] for i in at], 1)
    inside, expected = joint.within_samples(samples, truth)
    return {"inside_samples": inside, "inside_expected": expected}


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None
