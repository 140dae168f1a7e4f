"""attrgan as a user runs it: two files, `attrgan.api.train`, then the holed test rows completed.

Variants switch one part off, for ablations; each changes the schema, an option of the training or, of neighbours, how
many rows are looked up.
"""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import pandas as pd
import pyarrow as pa
import yaml

import attrgan
from attrgan.errors import InputError
from attrgan.schema import NOT_APPLICABLE, Schema
from benchmarks.tasks import ID, Task

Roles = dict[str, Any]
DECIDE = ("features", "model", "training", "evaluation", "completion", "schema.py", "lake/cells.py")
"""The parts of the package that an answer depends on."""


def _without(role: str) -> Callable[[Roles], Roles]:
    return lambda roles: {k: v for k, v in roles.items() if k != role}


def _no_spans(roles: Roles) -> Roles:
    attributes = {
        n: a | ({"kind": "categorical"} if a["kind"] == "open" else {}) for n, a in roles["attributes"].items()
    }
    return roles | {"attributes": attributes}


SCHEMAS: dict[str, Callable[[Roles], Roles]] = {
    "no-text": _without("text"),
    "no-sequences": _without("sequences"),
    "no-images": _without("images"),
    "no-language": lambda roles: roles | {"encoders": {"language": None}},
    "no-spans": _no_spans,
}
"""Variant → what it changes in the schema."""
OPTIONS = {"weight-0": {"adversarial_weight": 0.0}, "weight-1": {"adversarial_weight": 1.0}}
"""Variant → what it changes in the training."""
NO_NEIGHBOURS = "no-neighbours"
HOLDOUT = 0.03
"""Share that attrgan holds out of the rows it is given: the test rows of a set score it, as they do the peers."""
TYPES = {"seed": int, "epochs": int, "adversarial_weight": float, "holdout": float, "max_minutes": float, "device": str}
"""Options of `attrgan.api.train` that may be given, and their types."""


@dataclass(frozen=True)
class Answered:
    """What a model answered, how long each part took (seconds), and what attrgan's folder says about it."""

    answers: pd.DataFrame
    seconds: dict[str, float]
    details: dict[str, Any]


def variants() -> list[str]:
    """The variants that this version of the package can run."""
    every = [*SCHEMAS, *OPTIONS, NO_NEIGHBOURS]
    return [v for v in every if v != "no-language" or "encoders" in Schema.model_fields]


def parse_options(pairs: list[str]) -> dict[str, Any]:
    """`KEY=VALUE` of `--attrgan` as arguments of `attrgan.api.train`, beside the holdout of all comparisons.

    Raises:
        InputError: one of them is no option.
    """
    found: dict[str, Any] = {"holdout": HOLDOUT}
    for pair in pairs:
        key, _, value = pair.partition("=")
        try:
            found[key] = TYPES[key](value)
        except (KeyError, ValueError):
            expected = ", ".join(f"{k}={t.__name__}" for k, t in TYPES.items())
            raise InputError(f"--attrgan {pair} is not an option of the training: expected one of {expected}") from None
    return found


def source_hash(*parts: str) -> str:
    """16 hex digits over the package's source files that decide an answer: all of them, or those named."""
    root = Path(attrgan.__file__).parent
    digest = hashlib.sha256()
    for part in parts or DECIDE:
        for path in sorted((root / part).rglob("*.py")) or [root / part]:
            digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def run(task: Task, variant: str | None, options: dict[str, Any], cache: Path) -> Answered:
    """Trains on the task's training rows and completes its test rows.

    Args:
        options: arguments of `attrgan.api.train`; the task's seed is the default.
        cache: folder of the feature cache, shared by all runs of a set. Encoding is timed apart.
    """
    if variant == NO_NEIGHBOURS:
        with patch("attrgan.model.neighbours.MOST_ROWS", 0):  # an index of nothing
            return run(task, None, options, cache)
    from attrgan import api

    roles = task.set.schema()
    if variant in SCHEMAS:
        roles = SCHEMAS[variant](roles)
    arguments = {"seed": task.seed} | OPTIONS.get(variant or "", {}) | options
    features = str(cache / source_hash("features"))
    with TemporaryDirectory(prefix="attrgan-benchmark-") as folder:
        place = Path(folder)
        catalog, schema, model = (str(place / name) for name in ("train.parquet", "schema.yaml", "model"))
        task.train.to_parquet(catalog)
        Path(schema).write_text(yaml.safe_dump(roles, sort_keys=False, allow_unicode=True), encoding="utf-8")
        started = time.perf_counter()
        encoded = api.features(catalog, schema, features)["counts"]
        seconds = {"features": time.perf_counter() - started}
        started = time.perf_counter()
        api.train(catalog, schema, model, features=features, say=lambda _: None, **arguments)
        seconds["train"] = time.perf_counter() - started
        answers = _complete(task, Path(model), features, seconds)
        details = json.loads((Path(model) / "metrics.json").read_text())
        calibration = json.loads((Path(model) / "calibration.json").read_text())
    kept = {k: details.get(k) for k in ("model_version", "adversarial", "rows", "training_seconds")}
    kept["calibration"] = calibration
    return Answered(answers, seconds, kept | {"encoded": encoded})


def _complete(task: Task, folder: Path, features: str, seconds: dict[str, float]) -> pd.DataFrame:
    """Answers of the scored attributes; adds to `seconds` what encoding and completing the test rows took."""
    from attrgan.completion.complete import completions
    from attrgan.features import cache
    from attrgan.lake.cells import to_frame
    from attrgan.model import CompletionModel

    model = CompletionModel.load(folder)
    frame = to_frame(pa.Table.from_pandas(task.test, preserve_index=False), model.schema)
    started = time.perf_counter()
    encoded = cache.lookup(frame, model.schema, features)
    seconds["features_test"] = time.perf_counter() - started
    started = time.perf_counter()
    found = completions(model, frame, encoded)
    seconds["complete"] = time.perf_counter() - started
    numeric = found["attribute"].map(task.set.kinds) == "numeric"
    value = (
        found["value"].astype(object).where(~numeric, found["expected" if task.set.protocol == "mcar" else "number"])
    )
    answers = pd.DataFrame({ID: found[ID], "attribute": found["attribute"], "value": value})
    answers["confidence"] = found["confidence"].astype(float)
    if task.set.protocol == "extraction":
        others = [json.loads(evidence).get("other_candidates", []) for evidence in found["evidence"]]
        values = [next((o for o in some if o[0] != NOT_APPLICABLE), (None, 0.0)) for some in others]
        answers["instead"], answers["instead_confidence"] = [v for v, _ in values], [p for _, p in values]
    return answers
