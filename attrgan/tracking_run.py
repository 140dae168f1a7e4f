"""What a training leaves in MLflow: a run with parameters, metrics, curves and plots, and the model as a pyfunc.

Choices: the pyfunc is "models from code" (`pyfunc.py`), its artifact the model folder, so that nothing is pickled; its
requirements are written down, not resolved; the signature names the columns, the types are judged by attrgan.
"""

import json
import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from attrgan.errors import ModelError
from attrgan.lake import storage
from attrgan.schema import Schema

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

MAX_POINTS = 500
"""Points per loss curve."""
_MAX_PARAMETERS = 200
_MAX_LENGTH = 250


def log_run(
    client: "MlflowClient", experiment: str, model: Path, evaluation: Path | None, schema: Schema, tags: dict[str, str]
) -> tuple[str, str]:
    """Logs a model and everything known about it in a new MLflow run.

    Returns:
        The ids of the MLflow run and of the logged model.

    Raises:
        ModelError: the logged model cannot complete its own input example.
    """
    import mlflow

    with mlflow.start_run(experiment_id=experiment, run_name=tags["attrgan.model_version"], tags=tags) as run:
        run_id = run.info.run_id
        mlflow.log_params(parameters(storage.read_json(model / "config.json")), synchronous=True)
        measured = metrics(storage.read_json(model / "metrics.json"))
        if evaluation:
            measured |= metrics(storage.read_json(evaluation / "metrics.json"), "evaluation/")
            mlflow.log_artifacts(str(evaluation), "evaluation")
        mlflow.log_metrics(measured, synchronous=True)
        _log_curves(client, run_id, model / "training_log.jsonl")
        if (model / "plots").is_dir():
            mlflow.log_artifacts(str(model / "plots"), "plots")
        with _validated():
            logged = mlflow.pyfunc.log_model(name="model", **served(model, schema))
        return run_id, str(logged.model_id)


def served(model: Path, schema: Schema) -> dict[str, Any]:
    """What MLflow is told to make a pyfunc of a model folder (arguments of `mlflow.pyfunc.log_model`)."""
    return {
        "python_model": str(Path(__file__).with_name("pyfunc.py")),
        "artifacts": {"model": str(model)},
        "signature": signature(schema),
        "input_example": example(schema),
        "pip_requirements": [f"{p}=={version(p).partition('+')[0]}" for p in ("attrgan", "mlflow", "torch")],
    }


def parameters(config: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """The configuration as flat `a.b` → string, values and their number capped."""
    flat: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat |= parameters(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            flat[_key(prefix + key)] = text if len(text) <= _MAX_LENGTH else text[: _MAX_LENGTH - 1] + "…"
    return dict(list(flat.items())[:_MAX_PARAMETERS])


def metrics(measured: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers of a metrics.json: `accuracy/brand`, `joint/pairs/real`, …; intervals and nulls are left out."""
    flat = {prefix + key: float(v) for key, v in measured.items() if _is_number(v) and key != "seed"}
    for group in ("adversarial", "rows"):
        flat |= {_key(f"{prefix}{group}/{k}"): float(v) for k, v in measured.get(group, {}).items() if _is_number(v)}
    for name, found in measured.get("joint", {}).items():
        each = found if isinstance(found, dict) else {"": found}
        flat |= {_key(f"{prefix}joint/{name}/{k}".rstrip("/")): float(v) for k, v in each.items() if _is_number(v)}
    for name, attribute in measured.get("attributes", {}).items():
        flat |= {_key(f"{prefix}{key}/{name}"): float(v) for key, v in attribute.items() if _is_number(v)}
    return flat


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _key(name: str) -> str:
    """The name with `_` for characters that MLflow does not take in keys."""
    clean = re.sub(r"[^\w\-. :/]", "_", name)
    return "/".join(part if part.strip(".") else "_" for part in clean.split("/"))[:_MAX_LENGTH]


def curves(lines: list[dict[str, Any]]) -> list[tuple[str, float, int]]:
    """The losses of the training log as (name, value, line): at most `MAX_POINTS` points each, the last among them."""
    points: dict[str, list[tuple[str, float, int]]] = {}
    for number, line in enumerate(lines, 1):
        for name, value in line.items():
            if _is_number(value) and name not in ("epoch", "epochs", "step", "steps"):
                points.setdefault(name, []).append((_key(f"training/{name}"), float(value), number))
    strides = {name: max(1, -(-len(curve) // MAX_POINTS)) for name, curve in points.items()}
    return [point for name, curve in points.items() for point in curve[:: -strides[name]][::-1]]


def _log_curves(client: "MlflowClient", run_id: str, log: Path) -> None:
    from mlflow.entities import Metric

    if not log.is_file():
        return
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
    now = int(time.time() * 1000)
    points = [Metric(name, value, now, step) for name, value, step in curves(lines)]
    for start in range(0, len(points), 1000):  # MLflow takes a thousand at a time
        client.log_batch(run_id, metrics=points[start : start + 1000])


def signature(schema: Schema) -> "ModelSignature":
    """The columns of the schema without the personal ones: the id is required, every other may be absent."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType
    from mlflow.types import Schema as Columns
    from mlflow.types.schema import AnyType

    anything = AnyType()  # type: ignore[no-untyped-call]
    inputs: list[Any] = [ColSpec(anything, name, required=name == schema.id) for name in _columns(schema)]
    texts = ("attribute", "value", "status", "source", "evidence", "model_version")
    outputs: list[Any] = [ColSpec(anything, schema.id)]
    outputs += [ColSpec(DataType.string, name, required=False) for name in texts]
    outputs += [
        ColSpec(DataType.double, name, required=False)
        for name in ("number", "lower", "upper", "expected", "confidence")
    ]
    return ModelSignature(inputs=Columns(inputs), outputs=Columns(outputs))


def _columns(schema: Schema) -> dict[str, str]:
    return {name: role for name, role in schema.columns.items() if name not in schema.personal}


def example(schema: Schema) -> pd.DataFrame:
    """Two made-up rows in the form of the schema: nothing in it comes from a catalog."""

    def cell(name: str, role: str, row: int) -> Any:
        attribute = schema.attributes.get(name)
        if role == "id":
            return f"example-{row}"
        if role == "text":
            return f"an example of a {schema.entity}"
        if role == "sequence":
            kind = next(group.columns[name] for group in schema.sequences.values() if name in group.columns)
            return ["example"] if kind in ("text", "categorical") else [1.0, 2.0]
        if attribute is None or row == 1:  # the first row has everything to complete
            return None
        if attribute.kind == "numeric":
            return float(attribute.min if attribute.min is not None else 1.0)
        value = (attribute.values or ["example"])[0]
        return [value] if attribute.multi else value

    rows = [{name: cell(name, role, row) for name, role in _columns(schema).items()} for row in (1, 2)]
    return pd.DataFrame(rows, dtype=object)


@contextmanager
def _validated() -> Iterator[None]:
    """MLflow serves the input example while it logs a model, and only warns where that fails: here it is an error."""
    failed: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "Failed to validate serving input" in record.getMessage():
                failed.append(record.getMessage().partition("Got error:")[2].strip() or record.getMessage())

    logger, collect = logging.getLogger("mlflow.models.model"), Collect(logging.WARNING)
    before = logger.level, logger.propagate
    logger.addHandler(collect)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(collect)
        logger.level, logger.propagate = before
    if failed:
        raise ModelError(f"the model cannot complete its own example ({failed[0].splitlines()[0]}): train it again")
