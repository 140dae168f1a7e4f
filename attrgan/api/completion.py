"""What is filled: completion, its audit, the Delta tables it is published to and taken back from, the page of a run."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from attrgan import reading
from attrgan.config import settings
from attrgan.errors import GateError, InputError, SettingsError
from attrgan.lake import storage
from attrgan.lake.manifest import Manifest, Result, step

if TYPE_CHECKING:
    from attrgan.model import CompletionModel


def complete(
    catalog: str,
    model: str,
    out: str,
    *,
    shard: str = "0/1",
    features: str | None = None,
    drift: str | None = None,
    engine: str = "local",
    samples: int | None = None,
    seed: int | None = None,
    run_id: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Manifest:
    """Completes a catalog, or the i-th of n slices of it (`shard="i/n"`); `progress` gets (rows done, rows).

    Args:
        drift: output folder of `drift`: the attributes that it suspends are not filled.
        features: the feature cache; what the same model, schema and thresholds decided before is taken from it too, and
            what is decided now is kept in it (`attrgan.completion.decisions`).
        engine: `local`, or `ray`: on the cluster that `RAY_ADDRESS` names (`attrgan.completion.on_ray`), the same rows.
        samples: joint completions of each item to draw besides, into `samples.parquet`; seed: of their random numbers.
    """
    from attrgan.completion.engines import ENGINES

    if engine not in ENGINES:
        raise SettingsError(f"engine {engine!r} is not there: expected {' or '.join(ENGINES)}")
    number, of = _shard(shard)
    drawn = _samples(samples, seed)
    if features and storage.is_file(features):
        raise InputError(f"--features {features} is a file: expected the folder that `attrgan features -o` writes")
    folder, loaded = reading.load_model(model)
    suspended = _suspended(drift, loaded)
    run_id = run_id or str(uuid.uuid4())

    def work(stage: Path) -> Result:
        from attrgan.completion import engines

        rows = reading.open_rows(catalog, loaded.schema, loaded)  # all slices have the types of the whole
        first, last = rows.num_rows * number // of, rows.num_rows * (number + 1) // of
        limits = settings().completion
        job = engines.Job(
            run_id, datetime.now(UTC).isoformat(timespec="seconds"), features, limits.review_confidence,
            limits.keep_decisions, suspended=suspended, **drawn,
        )  # fmt: skip
        if engine == "ray":
            from attrgan.completion.on_ray import on_ray

            counts = on_ray(loaded, folder, rows, first, last, job, stage, out, progress)
        else:
            counts = engines.local(loaded, rows, first, last, job, stage, progress)
        details = {
            "model_version": loaded.version, "schema_hash": loaded.schema.hash, "shard": shard,
            "schema": loaded.schema.dump(), "calibration": loaded.calibration, "promise": _promises(loaded),
            "suspended": suspended,
        }  # fmt: skip
        return Result(counts, details)

    arguments = {"model_version": loaded.version, "shard": shard, **settings().completion.model_dump(), **drawn}
    arguments |= {"suspended": suspended} if suspended else {}
    return step("complete", out, work, inputs={"catalog": catalog}, arguments=arguments, run_id=run_id)


def audit(completed: list[str], validated: str, out: str, *, run_id: str | None = None) -> Manifest:
    """Checks completed shards against the valid rows before they are published; raises GateError when it says no."""
    from attrgan.completion import publish as publishing

    inputs = {f"complete-{i}": place for i, place in enumerate(completed)} | {"validate": validated}
    return step("audit", out, lambda stage: publishing.audit(completed, validated, stage), inputs=inputs, run_id=run_id)


def publish(
    completed: list[str], warehouse: str, dt: str, run_id: str, *, validated: str | None = None, out: str | None = None
) -> Manifest:
    """Writes a date into the Delta tables: `completions` first, `completed` last."""
    from attrgan.completion import publish as publishing

    def work(stage: Path) -> Result:
        days = settings().tables.retention_days
        return publishing.publish(completed, validated, warehouse, dt, run_id, stage, retention_days=days)

    if out is None:
        return _without_manifest(work)
    inputs = {f"complete-{i}": place for i, place in enumerate(completed)}
    inputs |= {"validate": validated} if validated else {}
    return step("publish", out, work, inputs=inputs, arguments={"warehouse": warehouse, "dt": dt}, run_id=run_id)


def undo(
    warehouse: str, *, run_id: str | None = None, model_version: str | None = None, attribute: str | None = None,
    first: str | None = None, last: str | None = None, dry_run: bool = False, undo_id: str | None = None,
    out: str | None = None, progress: Callable[[int, int], None] | None = None,
) -> Manifest:  # fmt: skip
    """Takes back what a run or a model version wrote (dates `first` to `last`); see `attrgan.completion.undo`."""
    from attrgan.completion import undo as undoing
    from attrgan.lake import tables

    selection = undoing.Selection(run_id, model_version, attribute, first, last)
    undo_id = undo_id or selection.undo_id

    def work(stage: Path) -> Result:
        return undoing.undo(warehouse, selection, stage, undo_id=undo_id, dry_run=dry_run, progress=progress)

    if out is None:
        return _without_manifest(work)
    arguments = {"warehouse": warehouse, "dry_run": dry_run, **vars(selection)}
    arguments["completed_version"] = tables.version(warehouse, "completed")  # once undone, it may be done again later
    return step("undo", out, work, inputs={}, arguments=arguments, run_id=undo_id)


def vacuum(warehouse: str, *, dry_run: bool = False) -> Manifest:
    """Deletes files that no state of the tables within the retention needs."""
    from attrgan.lake import history

    return history.vacuum(warehouse, settings().tables.retention_days, dry_run=dry_run)


def report(outputs: list[str], out: str, *, run_id: str | None = None) -> dict[str, Any]:
    """Writes the HTML page of a run from the outputs of its steps."""
    from attrgan.evaluation.report import nightly_report

    ui = settings().ui_url
    links = {"MLflow": ui} if ui else {}
    folder, name = str(out).rpartition("/")[::2]
    with storage.staged(folder or ".") as stage:
        result = nightly_report(outputs, stage / name, links)
    return {"verb": "report", "run_id": run_id, "outputs": [out], "counts": result.counts, **result.details}


def _shard(shard: str) -> tuple[int, int]:
    number, _, of = shard.partition("/")
    if not (number.isdigit() and of.isdigit() and int(number) < int(of)):
        raise InputError(f"--shard {shard} is not a shard: expected i/n with 0 <= i < n, for instance 0/4")
    return int(number), int(of)


def _samples(samples: int | None, seed: int | None) -> dict[str, int]:
    """What is asked for besides the completions: nothing, or K samples with a seed."""
    from attrgan.completion.complete import MOST_SAMPLES

    seed = settings().seed if seed is None else seed
    if samples is None:
        return {}
    if not 1 <= samples <= MOST_SAMPLES:
        raise InputError(f"--samples {samples} cannot be drawn: expected 1 to {MOST_SAMPLES} completions of each item")
    if seed < 0:
        raise InputError(f"--seed {seed} is not a seed: expected 0 or more")
    return {"samples": samples, "seed": seed}


def _suspended(drift: str | None, model: "CompletionModel") -> dict[str, str]:
    """Attribute → why it is not to be filled."""
    if drift is None:
        return {}
    from attrgan.quality.drift import read_suspended

    return read_suspended(drift, model.version)


def _promises(model: "CompletionModel") -> dict[str, Any]:
    """Per attribute what was promised, and what came true on rows that nothing else touched."""
    measured = model.metrics.get("attributes", {})
    keys = ("realised_precision", "realised_n", "realised_interval", "coverage", "accuracy", "baseline", "n")
    return {
        name: {key: promise.get(key) for key in ("promised_precision", "reason", "cells", "accepted", "errors", "pool")}
        | {key: measured.get(name, {}).get(key) for key in keys}
        for name, promise in model.calibration.items()
    }


def _without_manifest(work: Callable[[Path], Result]) -> Manifest:
    """Runs a step whose outputs nobody asked for."""
    with TemporaryDirectory() as stage:
        result = work(Path(stage))
    if result.refused:
        raise GateError(result.refused)
    return {"counts": result.counts, **result.details}
