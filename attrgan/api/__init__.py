"""Every operation as a function: what the commands, the DAGs and other programs call.

Each function that writes a folder runs as one step (`attrgan.lake.manifest.step`): its files appear together or not at
all, and running it again for the same run and the same inputs does nothing. Heavy libraries are imported inside.
"""

import json
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from attrgan import reading
from attrgan.config import settings
from attrgan.errors import GateError, InputError, SettingsError
from attrgan.lake import landing as landing_places
from attrgan.lake import manifest, storage
from attrgan.lake.manifest import Result, step
from attrgan.schema import Schema

if TYPE_CHECKING:
    import pandas as pd

    from attrgan.evaluation.joint_score import Joint
    from attrgan.model import CompletionModel

Manifest = dict[str, Any]


# --- catalogs ------------------------------------------------------------------------------------------------------


def infer_schema(catalog: str, out: str) -> dict[str, str]:
    """Guesses the schema of a catalog, writes it as YAML with a comment for each guess; returns the comments."""
    from attrgan.lake.catalog import read_catalog
    from attrgan.quality import inference

    schema, comments = inference.infer_schema(read_catalog(catalog))
    storage.write_text(out, inference.to_yaml(schema, comments))
    return comments


def landing(place: str | None, dt: str) -> list[str]:
    """The landing files of a date; raises GateError where there are none."""
    place = place or settings().landing
    files = landing_places.files_of(place, dt)
    if not files:
        raise GateError(f"no landing files for dt={dt} in {place}: nothing to do")
    return files


def validate(
    catalog: str,
    schema: str,
    out: str,
    *,
    dt: str | None = None,
    until: str | None = None,
    warehouse: str | None = None,
    run_id: str | None = None,
) -> Manifest:
    """Splits a catalog into valid and quarantined rows; raises GateError when the quality gate says no.

    Args:
        catalog: a catalog, or with `dt` or `until` a landing place.
        dt: only this partition; until: the newest version of each item up to this date.
        warehouse: where the null rates of the past are read from.
    """
    from attrgan.lake import tables
    from attrgan.quality.received import receive
    from attrgan.quality.validation import validate as judge

    parsed, quality = Schema.load(schema), settings().quality
    past = tables.past_null_rates(warehouse, dt or until or "9999-12-31", parsed.id) if warehouse else None

    def work(stage: Path) -> Result:
        result = judge(receive(catalog, parsed, dt, until), parsed, stage, quality, past)
        result.details |= {"schema_hash": parsed.hash, "dt": dt or until}
        return result

    read = storage.join(catalog, f"dt={dt}") if dt else catalog
    arguments = {"dt": dt, "until": until, "quality": quality.model_dump(), "past": past}
    return step("validate", out, work, inputs={"catalog": read, "schema": schema}, arguments=arguments, run_id=run_id)


def features(
    catalog: str,
    schema: str,
    out: str,
    *,
    vectors: str | None = None,
    model: str | None = None,
    run_id: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Manifest:
    """Encodes new and changed items into the feature cache `out`.

    Args:
        vectors: also write one vector per item to this Parquet file (`attrgan.completion.vectors`);
        model: the model, folder or URI, whose vectors they are.
        progress: gets (vectors done, items).
    """
    from attrgan.features import cache
    from attrgan.lake.catalog import to_frame

    if (vectors is None) != (model is None):
        given, lacking = ("--model", "--vectors FILE.parquet") if model else ("--vectors", "--model MODEL")
        raise InputError(f"{given} was given without {lacking}: vectors are a model's; give both or neither")
    parsed = Schema.load(schema)
    loaded = reading.load_model(model)[1] if model else None

    def work(_: Path) -> Result:
        chunks = reading.open_rows(catalog, parsed).chunks()
        updated = cache.update_all((to_frame(chunk, parsed) for chunk in chunks), parsed, out)
        counts = {"items": updated.items, "encoded": updated.encoded, "reused": updated.reused}
        details = {"encoder_version": updated.encoder_version}
        if loaded and vectors:
            counts["dimensions"] = _write_vectors(loaded, catalog, vectors, parsed.id, out, progress)
            details |= {"vectors": vectors, "model_version": loaded.version}
        return Result(counts, details)

    arguments = {"vectors": vectors, "model_version": loaded.version} if loaded else None
    inputs = {"catalog": catalog, "schema": schema}
    return step("features", out, work, inputs=inputs, arguments=arguments, run_id=run_id)


def _write_vectors(
    model: "CompletionModel", catalog: str, place: str, id_column: str, cache_place: str,
    progress: Callable[[int, int], None] | None,
) -> int:  # fmt: skip
    """Writes the items' vectors to a place, whole or not at all; returns their length."""
    from attrgan.completion.vectors import write_vectors

    rows = reading.open_rows(catalog, model.schema, model)
    folder, name = place.rpartition("/")[::2]
    with storage.staged(folder or ".") as stage:
        return write_vectors(model, rows, stage / name, id_column=id_column, cache_place=cache_place, progress=progress)


# --- models --------------------------------------------------------------------------------------------------------


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

    Raises:
        Interrupted: SIGTERM came; what was learned so far is in a checkpoint.
    """
    from attrgan.evaluation.promise import as_missing
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
        calibrate_for=as_missing(calibrate_for),
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


def compare(
    candidate: str, catalog: str, out: str, *, champion: str | None = None, run_id: str | None = None
) -> Manifest:
    """Both models on the same held-out rows; raises GateError when the candidate may not become champion."""
    from attrgan import registry

    if champion and champion.startswith("models:/") and not registry.has_alias(champion):
        champion = None
    folder, ours = reading.load_model(candidate)
    other = reading.load_model(champion) if champion else None

    def work(stage: Path) -> Result:
        from attrgan.evaluation import metrics
        from attrgan.evaluation.compare import compare as judge

        frame, left_out = reading.unused_rows(catalog, ours, [folder] + ([other[0]] if other else []))
        if other:
            reading.read_frame(
                catalog, other[1].schema, model=other[1]
            )  # the champion's schema must fit the catalog too
        measured = []
        for one in [ours] + ([other[1]] if other else []):
            hidden = reading.masks(frame, ours.schema, "mcar", None)
            cells = metrics.answer_hidden(one, frame, reading.features_of(frame, one.schema, None), hidden)
            summary = metrics.summarise(cells, one)
            for name, answered in cells.items():
                summary["attributes"][name]["right"] = answered["right"].tolist()
            measured.append(summary)
        verdict = judge(measured[0], measured[1] if other else None, settings().promotion)
        verdict |= {"rows": {"compared": len(frame), "left_out": len(left_out)}}
        verdict |= {"candidate_uri": candidate, "champion_uri": champion}
        storage.write_json(stage / "comparison.json", verdict)
        details = {"gate": verdict["gate"], "model_version": ours.version}
        return Result(verdict["rows"], details, refused=verdict["gate"]["refused"])

    arguments = {"candidate": ours.version, "champion": other[1].version if other else None}
    arguments |= settings().promotion.model_dump()
    return step("compare", out, work, inputs={"catalog": catalog}, arguments=arguments, run_id=run_id)


def register(
    model: str, *, evaluation: str | None = None, out: str | None = None, run_id: str | None = None
) -> dict[str, Any]:
    """Registers a model folder in MLflow as `candidate`; with `out`, as a step with a manifest."""
    from attrgan import registry

    run_id = run_id or str(uuid.uuid4())
    folder = registry.model_folder(registry.resolve(model))
    trained = manifest.read(folder) or {}
    data = {"catalog": trained.get("inputs", {}).get("catalog", {}).get("place", "unknown")}
    data["hash"] = trained.get("inputs", {}).get("catalog", {}).get("hash", "unknown")

    def work(_: Path) -> Result:
        done = registry.register(folder, evaluation=evaluation, run_id=run_id, data=data)
        return Result(details=done)

    if out is None:
        return work(folder).details
    inputs = {"model": model} | ({"evaluation": evaluation} if evaluation else {})
    return step("register", out, work, inputs=inputs, run_id=run_id)


def promote(*, version: int | None = None, comparison: str | None = None, entity: str | None = None) -> dict[str, Any]:
    """Moves the alias `champion` to a version (default: the candidate)."""
    from attrgan import registry

    return registry.promote(_entity(entity), version, comparison)


def rollback(*, entity: str | None = None) -> dict[str, Any]:
    """Moves the alias `champion` back to the champion before."""
    from attrgan import registry

    return registry.rollback(_entity(entity))


# --- completion ----------------------------------------------------------------------------------------------------


def shards(validated: str) -> list[str]:
    """How many tasks complete the valid rows of a `validate` output: `i/n` for each."""
    found = manifest.read(validated)
    if not found or found["verb"] != "validate":
        raise InputError(f"{validated} holds no output of `attrgan validate`: expected its folder with manifest.json")
    limits = settings().completion
    n = min(max(-(-found["counts"]["valid"] // limits.shard_rows), 1), limits.max_shards)
    return [f"{i}/{n}" for i in range(n)]


def drift(catalog: str, model: str, out: str, *, features: str | None = None, run_id: str | None = None) -> Manifest:
    """Holds a catalog against the rows that the model was trained on; says which attributes are not to be filled."""
    folder, loaded = reading.load_model(model)
    limits, seed = settings().drift, settings().seed

    def work(stage: Path) -> Result:
        from attrgan.quality.drift import judge, rows_to_judge

        frame = rows_to_judge(reading.read_table(catalog, loaded), loaded.schema, seed)
        return judge(loaded, folder, frame, stage, limits, features, seed)

    arguments = {"model_version": loaded.version, "seed": seed, **limits.model_dump()}
    return step("drift", out, work, inputs={"catalog": catalog}, arguments=arguments, run_id=run_id)


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


def _without_manifest(work: Callable[[Path], Result]) -> Manifest:
    """Runs a step whose outputs nobody asked for."""
    with TemporaryDirectory() as stage:
        result = work(Path(stage))
    if result.refused:
        raise GateError(result.refused)
    return {"counts": result.counts, **result.details}


# --- review --------------------------------------------------------------------------------------------------------


def review_export(
    warehouse: str, out: str, *, schema: str | None = None, purpose: str = "queue", dt: str | None = None,
    attribute: str | None = None, limit: int = 200, seed: int | None = None,
) -> Manifest:  # fmt: skip
    """Writes the sheet of what people are asked; see `attrgan.review.queue` for which cells and in which order.

    Args:
        schema: file; None: the schema that the warehouse was published with.
        purpose: `queue` or `audit`.
        dt: only items whose newest version is of this date; attribute: only this one.
        limit: rows of the queue, or cells of each attribute that the audit's sample is to have.
        seed: of the audit's sample; None: the setting.
    """
    from attrgan.review import answers, queue, sheet
    from attrgan.review.cells import Warehouse

    opened = Warehouse.open(warehouse, schema)
    sheet.check_place(out, opened.schema.id, answers.current(opened)[["key", "attribute"]])
    cells = queue.choose(opened, purpose, dt, attribute, limit, settings().seed if seed is None else seed)
    sheet.write(sheet.build(opened, cells, purpose), out)
    counts = {"rows": len(cells), "attributes": int(cells["attribute"].nunique())}
    return {"verb": "review export", "purpose": purpose, "outputs": [out], "counts": counts}


def review_import(
    file: str, warehouse: str, *, schema: str | None = None, replace: bool = False, new_values: bool = False,
    reviewer: str | None = None,
) -> Manifest:  # fmt: skip
    """Adds a sheet's answers to the table `reviews`; raises GateError when rows were refused (`<file>.refused.csv`).

    Args:
        replace: answers that differ from earlier ones take their place.
        new_values: categorical values that stand nowhere in the catalog are answers too.
        reviewer: who answered, where the sheet does not say.
    """
    from attrgan.review import answers, sheet
    from attrgan.review.cells import Warehouse

    opened = Warehouse.open(warehouse, schema)
    rows, given = sheet.read(file, opened.schema.id)
    options = {"replace": replace, "new_values": new_values}
    done = answers.import_answers(opened, given, manifest.content_hash(file), reviewer=reviewer, **options)
    counts, refused = done.counts(len(rows)), sheet.write_refused(rows, done.refused, file)
    if refused:
        raise GateError(f"review import: {answers.sentence(counts)}; mend {refused} and import it")
    return {
        "verb": "review import",
        "said": answers.sentence(counts),
        "outputs": [storage.join(warehouse, answers.TABLE)],
        "counts": counts,
    }


def review_stats(warehouse: str, *, schema: str | None = None) -> dict[str, dict[str, Any]]:
    """Per attribute: the queue, the answers, how often the model was right, audit labels there are and are needed."""
    from attrgan.review.cells import Warehouse
    from attrgan.review.stats import stats

    return stats(Warehouse.open(warehouse, schema))


# --- shared -------------------------------------------------------------------------------------------------------


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
    return losses | {name: outcome[name] for name in ("validation_loss", "epochs")}


def _promises(model: "CompletionModel") -> dict[str, Any]:
    """Per attribute what was promised, and what came true on rows that nothing else touched."""
    measured = model.metrics.get("attributes", {})
    keys = ("realised_precision", "realised_n", "realised_interval", "coverage", "accuracy", "baseline", "n")
    return {
        name: {key: promise.get(key) for key in ("promised_precision", "reason", "cells", "accepted", "errors", "pool")}
        | {key: measured.get(name, {}).get(key) for key in keys}
        for name, promise in model.calibration.items()
    }


def _answers(warehouse: str, schema: Schema, say: Callable[[str], None]) -> "pd.DataFrame":
    """What people answered, `attrs["hash"]` over what training takes from it; says how much there is."""
    from attrgan.review import answers
    from attrgan.review.cells import Warehouse

    found = answers.current(Warehouse(warehouse, schema))
    say(f"reviews: {len(found)} answers in {warehouse}, {int((found['purpose'] == 'audit').sum())} of an audit")
    return found


def _entity(entity: str | None) -> str:
    return entity or Schema.load(settings().catalog_schema).entity


def _device(device: str) -> str:
    import torch

    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"--device {device} is not known: expected auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "--device cuda was asked for, but torch finds no GPU: use --device auto or a CUDA build of torch"
        )
    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"


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
