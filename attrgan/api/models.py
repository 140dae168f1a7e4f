"""What a model learns and how good it is: training, scores on hidden cells, new rows held against those of training."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrgan import reading
from attrgan.config import settings
from attrgan.errors import InputError
from attrgan.lake import storage
from attrgan.lake.manifest import Manifest, Result, step
from attrgan.schema import Schema

if TYPE_CHECKING:
    import pandas as pd

    from attrgan.evaluation.joint_score import Joint
    from attrgan.model import CompletionModel


def train(
    catalog: str,
    schema: str,
    out: str,
    *,
    features: str | None = None,
    seed: int | None = None,
    adversarial_weight: float | None = None,
    adversarial_loss: str = "standard",
    epochs: int | None = None,
    batch_size: int | None = None,
    accumulate: int = 1,
    mixed_precision: str = "no",
    device: str = "auto",
    max_minutes: float | None = None,
    resume: bool = False,
    start_from: str | None = None,
    reviews: str | None = None,
    calibrate_for: str = "mcar",
    holdout: float = 0.1,
    refit: bool = True,
    say: Callable[[str], None] = print,
    run_id: str | None = None,
) -> Manifest:
    """Trains a model, writes its folder with metrics, plots and report; see `attrgan.training.train`.

    Under `torchrun` all processes call it alike; the first one writes, the others return the status `followed`.

    Args:
        adversarial_loss: `standard` or `relativistic`; see `attrgan.training.losses`.
        batch_size: rows of a step, of all processes together; None: from the number of rows.
        accumulate: pieces in which a process computes its part of a batch, one after the other.
        mixed_precision: `no` or `bf16`.
        resume: go on from the last checkpoint in `<out>/.checkpoints`, which may be on an object store.
        start_from: folder or URI of a model, of any catalog and schema, whose weights are the start.
        reviews: URL of a warehouse whose `reviews` are learned from; see `attrgan.training.gold`.
        calibrate_for: `mcar` or `observed`: what promises are made for; see `attrgan.evaluation.promise`.
        holdout: share of the rows that nothing learns from: they score the model, and are what models are compared on.
        refit: train again on all rows but the holdout, once calibrated; see `attrgan.training.refit`.

    Raises:
        Interrupted: SIGTERM came; what was learned so far is in a checkpoint.
    """
    from attrgan.evaluation.promise import as_missing
    from attrgan.evaluation.splits import as_holdout
    from attrgan.features import cache
    from attrgan.training import checkpoint, distributed
    from attrgan.training.losses import ADVERSARIAL
    from attrgan.training.run import Checkpoints
    from attrgan.training.train import follow, load_origin
    from attrgan.training.train import train as run
    from attrgan.training.trainer import Options

    parsed, device = Schema.load(schema), _device(device)
    if adversarial_loss not in ADVERSARIAL:
        raise InputError(f"--adversarial-loss {adversarial_loss} is not known: expected {' or '.join(ADVERSARIAL)}")
    if mixed_precision not in distributed.MIXED_PRECISION:
        known = " or ".join(distributed.MIXED_PRECISION)
        raise InputError(f"--mixed-precision {mixed_precision} is not known: expected {known}")
    options = Options(
        seed=settings().seed if seed is None else seed, epochs=epochs, max_minutes=max_minutes, batch_size=batch_size,
        accumulate=accumulate, mixed_precision=mixed_precision, adversarial_loss=adversarial_loss,
        calibrate_for=as_missing(calibrate_for), holdout=as_holdout(holdout), refit=refit,
    )  # fmt: skip
    if adversarial_weight is not None:
        options = replace(options, adversarial_weight=adversarial_weight)
    origin = load_origin(*reading.load_model(start_from)) if start_from else None
    answers = _answers(reviews, parsed, say) if reviews else None
    checkpoints = Checkpoints(storage.join(out, ".checkpoints"), resume, settings().checkpoint_minutes)
    workers = distributed.connect(device, mixed_precision)

    def encode(frame: "pd.DataFrame") -> Any:
        return cache.lookup(frame, parsed, features)

    def work(stage: Path) -> Result:
        workers.tell(True)  # that there is something to do
        _name_unread(parsed, say)
        _, frame = reading.read_frame(catalog, parsed, keep_deleted=False)
        trained = run(
            parsed, frame, encode(frame), options, stage, say=say, checkpoints=checkpoints, device=workers.device,
            origin=origin, reviews=answers, workers=workers,
        )  # fmt: skip
        log = stage / "training_log.jsonl"
        _picture(trained.model, trained.metrics, trained.cells, trained.joint, stage, log)
        attributes = trained.metrics["attributes"]
        details = {"model_version": trained.model.version, "schema_hash": parsed.hash, "seed": options.seed}
        details["training"] = _ended_with(log, trained.model.config["outcome"])
        if origin:
            details["started_from"] = trained.model.config["started_from"]
        return Result(trained.metrics["rows"] | {"attributes": len(attributes)}, details)

    if not workers.first:
        if workers.tell():
            _, frame = reading.read_frame(catalog, parsed, keep_deleted=False)
            follow(parsed, frame, encode, options, workers, origin=origin, reviews=answers)
        workers.close()
        return {"verb": "train", "status": "followed", "process": workers.rank}
    arguments = {k: v for k, v in vars(options).items() if k != "size"} | {"device": device}
    arguments |= {"from": origin.model.version} if origin else {}
    arguments |= {} if answers is None else {"reviews": answers.attrs["hash"]}
    arguments |= {"processes": workers.count} if workers.count > 1 else {}
    done = step("train", out, work, inputs={"catalog": catalog, "schema": schema}, arguments=arguments, run_id=run_id)
    if done.get("skipped"):
        workers.tell(False)
    workers.close()
    checkpoint.clear(checkpoints.place)
    return done


def evaluate(
    catalog: str,
    model: str,
    out: str,
    *,
    missing: str = "mcar",
    rate: float | None = None,
    features: str | None = None,
    run_id: str | None = None,
) -> Manifest:
    """Hides known cells of rows that the model never used, completes and scores them.

    Args:
        missing: how cells are chosen (`mcar`, `mar`, `mnar`).
        rate: share of the known cells to hide; None: each once with `mcar`, 0.3 otherwise.
    """
    folder, loaded = reading.load_model(model)

    def work(stage: Path) -> Result:
        from attrgan.evaluation import joint_score, metrics

        frame, left_out = reading.unused_rows(catalog, loaded, [folder])
        hidden = reading.masks(frame, loaded.schema, missing, rate)
        encoded = reading.features_of(frame, loaded.schema, features)
        cells = metrics.answer_hidden(loaded, frame, encoded, hidden)
        joint = joint_score.score(loaded, frame, encoded, left_out)
        measured = metrics.summarise(cells, loaded) | {"missing": missing, "rate": rate, "joint": joint.metrics}
        measured["patterns"] = metrics.by_pattern(loaded, frame, encoded, rate or 0.3)
        measured["rows"] = {"evaluated": len(frame), "left_out": len(left_out)}
        (stage / "metrics.json").write_text(metrics.dump(measured), encoding="utf-8")
        _picture(loaded, measured, cells, joint, stage)
        return Result(measured["rows"], {"model_version": loaded.version, "schema_hash": loaded.schema.hash})

    arguments = {"missing": missing, "rate": rate, "model_version": loaded.version}
    return step("evaluate", out, work, inputs={"catalog": catalog}, arguments=arguments, run_id=run_id)


def drift(catalog: str, model: str, out: str, *, features: str | None = None, run_id: str | None = None) -> Manifest:
    """Holds a catalog against the rows that the model was trained on; says which attributes are not to be filled.

    The manifest names the model, an alias as the version it points at: what completes after this should be the same.
    """
    from attrgan import registry

    model = registry.pinned(model)
    folder, loaded = reading.load_model(model)
    limits, seed = settings().drift, settings().seed

    def work(stage: Path) -> Result:
        from attrgan.quality.drift import judge, rows_to_judge

        frame = rows_to_judge(reading.open_rows(catalog, loaded.schema, loaded), loaded.schema, seed)
        result = judge(loaded, folder, frame, stage, limits, features, seed)
        result.details |= {"model": model}
        return result

    arguments = {"model_version": loaded.version, "seed": seed, **limits.model_dump()}
    return step("drift", out, work, inputs={"catalog": catalog}, arguments=arguments, run_id=run_id)


def _picture(
    model: "CompletionModel",
    measured: dict[str, Any],
    cells: "dict[str, pd.DataFrame]",
    joint: "Joint",
    stage: Path,
    log: Path | None = None,
) -> None:
    """Plots and the report of scored cells and joint completions."""
    from attrgan.evaluation import plots
    from attrgan.evaluation.report import evaluation_report

    folder, schema = stage / "plots", model.schema
    names = ("coverage_precision", "reliability", "distributions", "pair_consistency")
    drawn = [folder / f"{name}.png" for name in names]
    plots.coverage_precision(cells, {name: schema.target(name) for name in schema.attributes}, drawn[0])
    plots.reliability(cells, drawn[1])
    plots.distributions(cells | joint.cells, schema, drawn[2])
    plots.pair_consistency(joint.pairs, list(schema.attributes), drawn[3])
    if log:
        drawn.insert(0, folder / "losses.png")
        plots.training_curves(log, drawn[0])
    evaluation_report(measured, stage / "report.html", drawn)


def _ended_with(log: Path, outcome: dict[str, Any]) -> dict[str, float]:
    """The figures a training ended with: its last losses, the best validation loss, its epochs."""
    steps = [record for line in log.read_text(encoding="utf-8").splitlines() if "step" in (record := json.loads(line))]
    losses = {name: steps[-1][name] for name in ("loss_d", "loss_g")} if steps else {}
    return losses | {n: outcome[n] for n in ("validation_loss", "epochs") if outcome[n] is not None}


def _name_unread(schema: Schema, say: Callable[[str], None]) -> None:
    if schema.audio:
        say(f"No level reads recordings yet: {', '.join(schema.audio)} will not help to complete anything.")


def _answers(warehouse: str, schema: Schema, say: Callable[[str], None]) -> "pd.DataFrame":
    """What people answered, `attrs["hash"]` over what training takes from it; says how much there is."""
    from attrgan.review import answers
    from attrgan.review.cells import Warehouse

    found = answers.current(Warehouse(warehouse, schema))
    say(f"reviews: {len(found)} answers in {warehouse}, {int((found['purpose'] == 'audit').sum())} of an audit")
    return found


def _device(device: str) -> str:
    import torch

    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"--device {device} is not known: expected auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "--device cuda was asked for, but torch finds no GPU: use --device auto or a CUDA build of torch"
        )
    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
