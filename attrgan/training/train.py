"""Trains a model on a catalog: fit the vocabulary, train G against D, calibrate, promise, train again, score on rows
never seen."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from attrgan.completion.complete import wanted_cells
from attrgan.errors import ModelError
from attrgan.evaluation import calibration, hiding, joint_score, metrics, missingness, promise
from attrgan.evaluation.splits import Split, id_hashes
from attrgan.model import applicability
from attrgan.model.completion_model import CompletionModel
from attrgan.quality.reference import write_reference
from attrgan.schema import Schema
from attrgan.training import refit, validation
from attrgan.training.distributed import ALONE, Workers
from attrgan.training.gold import Gold
from attrgan.training.run import Checkpoints, Run
from attrgan.training.trainer import Data, Options, Trainer, prepare
from attrgan.training.transfer import Origin

_PARTS = ("train", "validation", "calibration", "holdout")
CALIBRATION_CELLS, HOLDOUT_CELLS = 5, 13
"""Beside the seed, what decides in which order cells are hidden."""


@dataclass
class Trained:
    """A finished training: the model, what `metrics.json` says, the scored holdout cells per attribute, and samples."""

    model: CompletionModel
    metrics: dict[str, Any]
    cells: dict[str, pd.DataFrame]
    joint: joint_score.Joint


def train(
    schema: Schema,
    frame: pd.DataFrame,
    features: pa.Table,
    options: Options,
    stage: Path,
    *,
    say: Callable[[str], None] = print,
    checkpoints: Checkpoints | None = None,
    device: str = "cpu",
    origin: Origin | None = None,
    reviews: pd.DataFrame | None = None,
    workers: Workers = ALONE,
) -> Trained:
    """Trains, calibrates and scores a model, and writes its folder (all but plots) into `stage`.

    Args:
        frame: all rows of the catalog, from `to_frame`; features: of the same rows.
        say: gets the training log's lines.
        checkpoints: where they lie, and whether to go on from the last one.
        device: `cpu` or `cuda`; on the CPU a seed decides every bit of the result.
        origin: the model to start from (`transfer.py`), from `load_origin`; None starts fresh.
        reviews: what people answered, from `attrgan.review.answers.current`; see `gold.py`.
        workers: the processes that train together; the others call `follow`.

    Raises:
        Interrupted: SIGTERM came while steps were made.
    """
    with _on(device):
        return _train(schema, frame, features, options, stage, say, checkpoints, origin, reviews, workers)


def follow(
    schema: Schema,
    frame: pd.DataFrame,
    encode: Callable[[pd.DataFrame], pa.Table],
    options: Options,
    workers: Workers,
    *,
    origin: Origin | None = None,
    reviews: pd.DataFrame | None = None,
) -> None:
    """Makes the steps of a training whose first process called `train`, and writes nothing.

    Args:
        encode: gives the features of some rows of the frame: only those that this process computes are asked for.
    """
    with _on(workers.device):
        gold = Gold.of(frame, schema, reviews, options.holdout)
        parts, options = prepare(schema, gold.frame, options, origin)
        features = encode(frame.iloc[workers.own(parts.train)].reset_index(drop=True))
        first = Trainer(schema, gold.frame, features, options, origin, workers)
        outcome = Run(first, _nothing, _nothing).to_the_end()
        if refit.is_worth_it(first, outcome):
            rows = workers.own(refit.together(parts).train)
            refit.refit(first, outcome, encode(frame.iloc[rows].reset_index(drop=True)), _nothing, _nothing)


@contextmanager
def _on(device: str) -> Iterator[None]:
    """Deterministic algorithms, and tensors on a device by default."""
    torch.use_deterministic_algorithms(True, warn_only=device != "cpu")
    # no tensor is read before it is written, so filling them first buys nothing and costs a seventh of the time
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.sparse.check_sparse_tensor_invariants.disable()  # said aloud, or every run warns that it was not said
    # on the CPU no default device is set: looking it up at every call costs a tenth of the time
    with torch.device(device) if device != "cpu" else nullcontext():
        yield


def _train(
    schema: Schema, frame: pd.DataFrame, features: pa.Table, options: Options, stage: Path,
    say: Callable[[str], None], checkpoints: Checkpoints | None, origin: Origin | None,
    reviews: pd.DataFrame | None, workers: Workers,
) -> Trained:  # fmt: skip
    started = time.monotonic()
    gold = Gold.of(frame, schema, reviews, options.holdout)
    first = Trainer(schema, gold.frame, features, options, origin, workers)
    trainer, outcome = _fit(first, gold, stage / "training_log.jsonl", say, checkpoints)
    parts, model = trainer.data.parts, trainer.model
    model.config = {
        "options": asdict(first.options) | {"batch_size": first.batch_size, "epochs": first.epochs},
        "outcome": outcome,
        "baseline": metrics.baselines(frame.iloc[parts.train], schema),
        "rows": {name: len(getattr(first.data.parts, name)) for name in _PARTS},
        "refit": None if trainer is first else {"rows": len(parts.train), "epochs": trainer.epochs},
        "parameters": sum(p.numel() for p in model.generator.parameters()),
    }
    if origin:
        model.config["started_from"] = {"model_version": origin.model.version, "carried": first.carried}
    if gold.counts:
        model.config["reviews"] = gold.counts
    named = applicability.named_in_text(trainer.data.inputs, parts.train, list(model.vocabulary.values))
    model.applicability = applicability.learn(frame.iloc[parts.train].reset_index(drop=True), schema, named)
    model.save(stage)
    save_used(stage, id_hashes(frame[schema.id]), parts, origin if origin and origin.knows(schema) else None)
    write_reference(model, frame, features, parts, stage)
    scored = _score(model, trainer.data, parts.holdout, [options.seed, HOLDOUT_CELLS])
    holdout, known = frame.iloc[parts.holdout].reset_index(drop=True), frame.iloc[parts.train]
    joint = joint_score.score(model, holdout, features.take(pa.array(parts.holdout)), known)
    result = metrics.summarise(scored, model) | {
        "seed": options.seed,
        "rows": model.config["rows"],
        "refit": model.config["refit"],
        "adversarial": {
            "weight": options.adversarial_weight,
            "loss": options.adversarial_loss,
            "discriminator_accuracy": validation.discriminator_accuracy(first),
        },
        "joint": joint.metrics,
        "applicability": applicability.contradicted(model.applicability, holdout, schema),
        "patterns": metrics.by_pattern(model, holdout, features.take(pa.array(parts.holdout))),
        "training_seconds": round(time.monotonic() - started, 1),
    }
    (stage / "metrics.json").write_text(metrics.dump(result), encoding="utf-8")
    return Trained(model, result, scored, joint)


def _fit(
    first: Trainer, gold: Gold, path: Path, say: Callable[[str], None], checkpoints: Checkpoints | None
) -> tuple[Trainer, dict[str, Any]]:
    """The first training, calibrated, then the second where it is worth it; the one to keep, and how the first ended.

    Args:
        path: of the log of both.
    """
    started, limit = time.monotonic(), first.options.max_minutes
    with path.open("w", encoding="utf-8") as file:

        def log(record: dict[str, Any]) -> None:
            file.write(json.dumps(record) + "\n")
            if "step" in record:
                say(
                    "Epoch [{epoch}/{epochs}], Step [{step}/{steps}], Loss_D: {loss_d:.4f}, Loss_G: {loss_g:.4f}, "
                    "Supervised: {supervised:.4f}".format(**record)
                )

        outcome = Run(first, log, say, checkpoints).to_the_end()
        _calibrate(first, gold)
        if not refit.is_worth_it(first, outcome):
            return first, outcome
        left = None if limit is None else max(limit - (time.monotonic() - started) / 60, 0.0)
        kept = refit.refit(first, outcome, first.data.features, log, say, checkpoints, left)
    if kept is not first:
        data, seed = kept.data, [first.options.seed, HOLDOUT_CELLS]
        refit.take_over(first.model, kept.model, lambda of: _score(of, data, data.parts.holdout, seed))
    return kept, outcome


def _nothing(_: Any) -> None:
    """What the other processes write and say."""


def _calibrate(trainer: Trainer, gold: Gold) -> None:
    """Temperatures and estimates from validation rows, confidences and thresholds from calibration rows or audits."""
    model, schema = trainer.model, trainer.schema
    scores = validation.scores(trainer)
    model.temperature = calibration.fit_temperatures(scores, partial(validation.cost, trainer))
    for name, (logits, right) in scores.items():
        if name in model.estimate and right:
            at = np.concatenate(logits) / model.temperature[name]
            numbers = model.vocabulary.numbers[name]
            model.estimate[name] = calibration.choose_estimate(at, np.concatenate(right), numbers)
    data, seed = trainer.data, [trainer.options.seed, CALIBRATION_CELLS]
    cells = _weighed(trainer, gold.received, _score(model, data, data.parts.calibration, seed))
    options, same_catalog = trainer.options, trainer.origin is not None and trainer.origin.knows(schema)
    cells, labels = gold.calibration_cells(model, trainer.data.features, cells, same_catalog)
    model.recalibration, promises = promise.calibrate(cells, schema, options.seed, options.calibrate_for)
    for name, promised in promises.items():
        fitted = {"temperature": model.temperature[name], "estimate": model.estimate.get(name)}
        model.calibration[name] = fitted | promised | labels[name]


def _weighed(trainer: Trainer, received: pd.DataFrame, cells: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Calibration cells with the column `weight`: how like the empty cells of the catalog, as received, each is.

    What people answered is still empty there: it is completed like the others.
    """
    data, schema = trainer.data, trainer.schema
    wanted = wanted_cells(received, schema)
    learn = np.concatenate([data.parts.train, data.parts.validation])
    found = {}
    for i, name in enumerate(schema.attributes):
        if name in cells:
            ask = data.parts.calibration[cells[name]["row"].to_numpy()]
            weight = missingness.weights(received, schema, name, wanted[:, i], learn, ask)
            found[name] = cells[name].assign(weight=weight)
    return found


def _score(model: CompletionModel, data: Data, rows: np.ndarray, seed: list[int]) -> dict[str, pd.DataFrame]:
    """Every known cell of the rows, hidden once, answered and compared."""
    frame = data.frame.iloc[rows].reset_index(drop=True)
    masks = list(hiding.each_once(data.known[rows], model.schema, np.random.default_rng(seed)))
    return metrics.answer_hidden(model, frame, data.features.take(pa.array(rows)), masks)


def save_used(folder: Path, hashes: np.ndarray, parts: Split, origin: Origin | None) -> None:
    """Writes which rows a model has used: `trained`, `validated`, and `ids`, all of them, calibrated ones too.

    Args:
        hashes: uint64 (N,), of the ids of all rows.
        parts: which row served what.
        origin: the model it started from, whose rows have moved its weights too.
    """
    from safetensors.numpy import save_file

    used = {"trained": hashes[parts.train], "validated": hashes[parts.validation]}
    if origin:
        used = {"trained": np.union1d(used["trained"], origin.trained),
                "validated": np.union1d(used["validated"], origin.validated)}  # fmt: skip
    used["ids"] = np.concatenate([*used.values(), hashes[parts.calibration]])
    save_file({name: np.unique(ids).view(np.int64) for name, ids in used.items()}, folder / "used_rows.safetensors")


def load_origin(folder: Path, model: CompletionModel | None = None) -> Origin:
    """A model folder to start from; raises ModelError when it is not one."""
    used = _used(folder)
    everything = used["ids"]  # a folder written before the parts were told apart
    model = model or CompletionModel.load(folder)
    return Origin(model, used.get("trained", everything), used.get("validated", everything))


def was_used(folder: Path, ids: pd.Series) -> np.ndarray:
    """bool (N,): the rows that a model was trained, validated or calibrated on."""
    return np.isin(id_hashes(ids), _used(folder)["ids"])


def _used(folder: Path) -> dict[str, np.ndarray]:
    """Hashes of ids, uint64, by what their rows served."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        used = {name: ids.view(np.uint64) for name, ids in load_file(folder / "used_rows.safetensors").items()}
        if "ids" in used:
            return used
    except (OSError, ValueError, SafetensorError):
        pass
    raise ModelError(
        f"{folder} does not say which rows it was trained on (used_rows.safetensors): train or fetch it again"
    )
