"""The command line: one verb per step of the pipeline, the entry point of every task and every pod.

A command says what it did on standard output (with `--json`: as JSON, and nothing else), and what went wrong in one
sentence on standard error. Exit codes: 0 done, 2 bad input, 3 a gate says no, 1 a fault of ours.
"""

import json as json_library
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Annotated, Any

import typer

from attrgan import logs
from attrgan.errors import AttrGANError

app = typer.Typer(
    name="attrgan",
    help="Completes the missing attributes of catalogs, and says how sure it is.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="rich",
)
config_app = typer.Typer(help="The settings in force.", no_args_is_help=True)
app.add_typer(config_app, name="config")
review_app = typer.Typer(help="What people are asked, and what they answered.", no_args_is_help=True)
app.add_typer(review_app, name="review")

CatalogArgument = Annotated[
    str, typer.Argument(metavar="CATALOG", help="Parquet, CSV or JSON Lines; file, folder or URL.")
]
SchemaOption = Annotated[str, typer.Option("--schema", "-s", help="The schema, a YAML file.")]
OutOption = Annotated[str, typer.Option("--out", "-o", help="Folder (or URL) to write to.")]
OptionalOut = Annotated[str | None, typer.Option("--out", "-o", help="Folder (or URL) for the manifest.")]
ModelOption = Annotated[
    str, typer.Option("--model", "-m", help="Model folder or URI (models:/attrgan-product@champion).")
]
FeaturesOption = Annotated[str | None, typer.Option(help="Feature cache; without it features are computed anew.")]
RunOption = Annotated[str | None, typer.Option(help="Id of the run; a finished step of the same run is not repeated.")]
EntityOption = Annotated[
    str | None, typer.Option(help="What a row is; default: the entity of the schema in the settings.")
]
WarehouseOption = Annotated[str, typer.Option(help="URL of the Delta tables.")]
OptionalSchema = Annotated[
    str | None, typer.Option("--schema", "-s", help="Default: the schema that the warehouse was published with.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
_log = logging.getLogger(__name__)
_LINES = 40
"""Lines of a listing; `--json` has all of it."""


@app.callback()
def _begin(context: typer.Context) -> None:
    if "--help" not in sys.argv:  # help needs no settings
        logs.begin(context.invoked_subcommand or "")


def _say(result: Any, as_json: bool, *lines: str) -> None:
    """Prints a result: as JSON, or as the given lines."""
    if as_json:
        typer.echo(json_library.dumps(result, indent=2, ensure_ascii=False, default=str))
    else:
        for line in lines:
            typer.echo(line)


@contextmanager
def _working(on: str, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Shows on a terminal that something is going on; yields what to call with (done, total) where that is known."""
    if quiet or not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(on, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _done(manifest: dict[str, Any], out: str, as_json: bool) -> None:
    """Prints a finished step: its counts and where its outputs are."""
    counts = ", ".join(f"{k} {v:,}" for k, v in manifest.get("counts", {}).items() if isinstance(v, int))
    skipped = " (finished before: nothing to do)" if manifest.get("skipped") else ""
    _say(manifest, as_json, f"{manifest.get('verb', 'done')}: {counts or 'done'}{skipped}", f"→ {out}")


@app.command("infer-schema")
def infer_schema(
    catalog: CatalogArgument,
    out: Annotated[str, typer.Option("--out", "-o", help="YAML file to write.")] = "schema.yaml",
    json: JsonOption = False,
) -> None:
    """Guess the schema of a catalog, with a comment for each guess.

    Example: attrgan infer-schema products.csv -o schema.yaml
    """
    from attrgan import api

    comments = api.infer_schema(catalog, out)
    _say(
        comments,
        json,
        f"infer-schema: {len(comments)} guesses, each with its reason: read them before you train",
        f"→ {out}",
    )


@app.command()
def landing(
    place: Annotated[str | None, typer.Argument(help="Landing place; default: the one in the settings.")] = None,
    dt: Annotated[str, typer.Option(help="Partition date, YYYY-MM-DD.")] = "",
    json: JsonOption = False,
) -> None:
    """List the landing files of a date; exit 3 where there are none.

    Example: attrgan landing var/landing --dt 2017-12-01
    """
    from attrgan import api

    files = api.landing(place, dt)
    _say(files, json, *files)


@app.command()
def validate(
    catalog: CatalogArgument,
    schema: SchemaOption,
    out: OutOption,
    dt: Annotated[str | None, typer.Option(help="Only this landing partition.")] = None,
    until: Annotated[
        str | None, typer.Option(help="Newest version of each item over the partitions up to this date.")
    ] = None,
    warehouse: Annotated[str | None, typer.Option(help="Where the null rates of the past are.")] = None,
    run_id: RunOption = None,
    json: JsonOption = False,
) -> None:
    """Split a catalog into valid and quarantined rows, and judge it; exit 3 when the quality gate fails.

    Example: attrgan validate products.csv --schema schema.yaml -o out/validated
    """
    from attrgan import api

    with _working("validating", json):
        done = api.validate(catalog, schema, out, dt=dt, until=until, warehouse=warehouse, run_id=run_id)
    _done(done, out, json)


@app.command()
def features(
    catalog: CatalogArgument,
    schema: SchemaOption,
    out: OutOption,
    vectors: Annotated[
        str | None, typer.Option(help="Also write one vector per item to this Parquet file; needs --model.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help="Model folder or URI, for --vectors.")] = None,
    run_id: RunOption = None,
    json: JsonOption = False,
) -> None:
    """Encode new and changed items into a feature cache; with a model, also one vector per item.

    Example: attrgan features out/validated/valid.parquet --schema schema.yaml -o cache
    """
    from attrgan import api

    with _working("encoding", json) as progress:
        done = api.features(catalog, schema, out, vectors=vectors, model=model, run_id=run_id, progress=progress)
    _done(done, out, json)


@app.command()
def train(
    catalog: CatalogArgument,
    schema: SchemaOption,
    out: OutOption,
    features: FeaturesOption = None,
    seed: Annotated[int | None, typer.Option(help="Decides every random number; default: the setting.")] = None,
    adversarial_weight: Annotated[
        float | None, typer.Option(min=0, help="Weight of L_G beside the supervised loss; 0 switches it off.")
    ] = None,
    adversarial_loss: Annotated[
        str, typer.Option(help="standard (real or generated), or relativistic (which of the two is real).")
    ] = "standard",
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the training rows; default: from their number.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=2, help="Rows of a step, of all processes together; default: from their number.")
    ] = None,
    accumulate: Annotated[
        int, typer.Option(min=1, help="Pieces a batch goes through in, one after the other: less memory.")
    ] = 1,
    mixed_precision: Annotated[str, typer.Option(help="no, or bf16 in forward and backward passes.")] = "no",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    max_minutes: Annotated[float | None, typer.Option(min=0.01, help="Stop training after this long.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint in the model folder, local or s3://.")
    ] = False,
    start_from: Annotated[
        str | None, typer.Option("--from", help="Model folder or URI, of any catalog, whose weights are the start.")
    ] = None,
    reviews: Annotated[str | None, typer.Option(help="Warehouse whose reviews are learned from.")] = None,
    calibrate_for: Annotated[
        str, typer.Option(help="Promise for cells missing at random (mcar), or as they are missing (observed).")
    ] = "mcar",
    run_id: RunOption = None,
    json: JsonOption = False,
) -> None:
    """Train a model: generator against discriminator, calibrated, scored on rows never seen.

    Several GPUs or pods: torchrun --nproc-per-node 8 -m attrgan train … (docs/runbooks/training.md)

    Example: attrgan train out/validated/valid.parquet --schema schema.yaml -o model --seed 7
    """
    from attrgan import api

    done = api.train(
        catalog, schema, out, features=features, seed=seed, adversarial_weight=adversarial_weight,
        adversarial_loss=adversarial_loss, epochs=epochs, batch_size=batch_size, accumulate=accumulate,
        mixed_precision=mixed_precision, device=device, max_minutes=max_minutes, resume=resume,
        start_from=start_from, reviews=reviews, calibrate_for=calibrate_for, run_id=run_id,
        say=_to_stderr if json else typer.echo,
    )  # fmt: skip
    if done["status"] == "followed":  # the first of several processes speaks
        return
    _done(done, out, json)
    if not json:
        _table_of_metrics(out)


@app.command()
def evaluate(
    catalog: CatalogArgument,
    model: ModelOption,
    out: OutOption,
    missing: Annotated[str, typer.Option(help="How cells are hidden: mcar, mar or mnar.")] = "mcar",
    rate: Annotated[float | None, typer.Option(help="Share of known cells to hide; default: each once.")] = None,
    features: FeaturesOption = None,
    run_id: RunOption = None,
    json: JsonOption = False,
) -> None:
    """Hide known cells of rows the model never used, complete and score them.

    Example: attrgan evaluate products.csv --model model -o out/evaluation
    """
    from attrgan import api

    with _working("evaluating", json):
        done = api.evaluate(catalog, model, out, missing=missing, rate=rate, features=features, run_id=run_id)
    _done(done, out, json)
    if not json:
        _table_of_metrics(out)


@app.command()
def drift(
    catalog: CatalogArgument,
    model: ModelOption,
    out: OutOption,
    features: FeaturesOption = None,
    run_id: RunOption = None,
    json: JsonOption = False,
) -> None:
    """Hold new rows against those of training, and say which attributes are not to be filled; exit 0 either way.

    Example: attrgan drift new.parquet --model model -o out/drift
    """
    from attrgan import api

    with _working("comparing with training", json):
        done = api.drift(catalog, model, out, features=features, run_id=run_id)
    _done(done, out, json)
    for name, why in () if json else done["suspended"].items():
        typer.echo(f"{name} is not to be filled: {why}")


@app.command()
def complete(
    catalog: CatalogArgument,
    model: ModelOption,
    out: OutOption,
    shard: Annotated[str, typer.Option(help="Complete only slice i of n: i/n.")] = "0/1",
    features: FeaturesOption = None,
    drift: Annotated[
        str | None, typer.Option(help="Output folder of `attrgan drift`: what it suspends is not filled.")
    ] = None,
    engine: Annotated[
        str, typer.Option(help="local, or ray: on the cluster that RAY_ADDRESS names, or on one of this machine.")
    ] = "local",
    samples: Annotated[
        int | None, typer.Option(help="Joint completions of each item to draw into samples.parquet, 1 to 100.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the samples' random numbers; default: the setting.")] = None,
    run_id: RunOption = None,
    json: JsonOption = False,
) -> None:
    """Fill the empty cells of a catalog where the promise allows it.

    Example: attrgan complete products.csv --model models:/attrgan-product@champion -o out/completed
    """
    from attrgan import api

    with _working("completing", json) as progress:
        done = api.complete(
            catalog, model, out, shard=shard, features=features, drift=drift, engine=engine, samples=samples, seed=seed,
            run_id=run_id, progress=progress,
        )  # fmt: skip
    _done(done, out, json)


@app.command()
def compare(
    candidate: Annotated[str, typer.Argument(help="Model folder or URI.")],
    catalog: CatalogArgument,
    out: OutOption,
    champion: Annotated[str | None, typer.Option(help="Model folder or URI to compare with.")] = None,
    run_id: RunOption = None,
    json: JsonOption = False,
) -> None:
    """Put the same held-out rows through candidate and champion; exit 3 when the gate says no.

    Example: attrgan compare model-b --champion model-a products.csv -o out/comparison
    """
    from attrgan import api

    with _working("comparing", json):
        done = api.compare(candidate, catalog, out, champion=champion, run_id=run_id)
    _done(done, out, json)


@app.command()
def shards(
    validated: Annotated[str, typer.Argument(help="Output folder of `attrgan validate`.")],
    json: JsonOption = False,  # noqa: ARG001  (the answer is a JSON list either way)
) -> None:
    """Print how many tasks complete the valid rows, as a JSON list of i/n.

    Example: attrgan shards out/validated
    """
    from attrgan import api

    typer.echo(json_library.dumps(api.shards(validated)))


@app.command()
def audit(
    completed: Annotated[
        list[str], typer.Argument(help="Output folders of `attrgan complete`, in the order of shards.")
    ],
    validation: Annotated[str, typer.Option(help="Output folder of `attrgan validate`.")],
    out: OutOption,
    run_id: RunOption = None,
    json: JsonOption = False,
) -> None:
    """Check completed shards before they are published; exit 3 when one given value was touched or a row is missing.

    Example: attrgan audit out/completed --validation out/validated -o out/audit
    """
    from attrgan import api

    with _working("auditing", json):
        done = api.audit(completed, validation, out, run_id=run_id)
    _done(done, out, json)


@app.command()
def publish(
    completed: Annotated[
        list[str], typer.Argument(help="Output folders of `attrgan complete`, in the order of shards.")
    ],
    warehouse: Annotated[str, typer.Option(help="URL of the Delta tables.")],
    dt: Annotated[str, typer.Option(help="Partition date, YYYY-MM-DD.")],
    run_id: Annotated[str, typer.Option(help="Id of the run.")],
    validation: Annotated[
        str | None, typer.Option(help="Output folder of `attrgan validate`: products and quarantine.")
    ] = None,
    out: OptionalOut = None,
    json: JsonOption = False,
) -> None:
    """Write a date into the Delta tables: completions first, completed last.

    Example: attrgan publish out/completed --warehouse var/warehouse --dt 2017-12-01 --run-id manual-1
    """
    from attrgan import api

    with _working("publishing", json):
        done = api.publish(completed, warehouse, dt, run_id, validated=validation, out=out)
    _done(done, out or warehouse, json)


@app.command()
def undo(
    warehouse: Annotated[str, typer.Option(help="URL of the Delta tables.")],
    run_id: Annotated[str | None, typer.Option(help="The run to take back; of an undo: brings back.")] = None,
    model_version: Annotated[str | None, typer.Option(help="The model version whose values are taken back.")] = None,
    attribute: Annotated[str | None, typer.Option(help="Only this attribute.")] = None,
    first: Annotated[str | None, typer.Option("--from", help="Only this date and later ones, YYYY-MM-DD.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Only this date and earlier ones, YYYY-MM-DD.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    undo_id: Annotated[
        str | None, typer.Option(help="Id of this undo; default: from the day and what is undone.")
    ] = None,
    out: OptionalOut = None,
    json: JsonOption = False,
) -> None:
    """Take back what a run or a model version wrote; values given or written since stay.

    Example: attrgan undo --warehouse var/warehouse --run-id manual-1 --attribute brand --dry-run
    """
    from attrgan import api

    with _working("undoing", json) as progress:
        done = api.undo(
            warehouse, run_id=run_id, model_version=model_version, attribute=attribute, first=first, last=last,
            dry_run=dry_run, undo_id=undo_id, out=out, progress=progress,
        )  # fmt: skip
    _say(done, json, *_undone(done))


def _undone(done: dict[str, Any]) -> list[str]:
    """What an undo did, in lines."""
    counts = ", ".join(f"{k} {v:,}" for k, v in done["counts"].items())
    lines = [f"undo: {counts}"]
    for case in done["examples"][:_LINES]:
        n = done["changes"][case["dt"]][case["attribute"]]
        lines.append(f"  {case['dt']} {case['attribute']}: {n:,}, such as {case['value']!r:.60} of {case['id']!r:.60}")
    if (more := len(done["examples"]) - _LINES) > 0:
        lines.append(f"  and {more:,} more: --json names them")
    if done["dry_run"]:
        return [*lines, "→ a dry run: nothing was changed"]
    back = f"; --run-id {done['undo']} brings them back" if done["counts"]["emptied"] else ""
    return [*lines, f"→ {done['warehouse']}{back}"]


@app.command()
def vacuum(
    warehouse: Annotated[str, typer.Option(help="URL of the Delta tables.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    json: JsonOption = False,
) -> None:
    """Delete files of the tables that have been replaced for longer than `tables.retention_days`.

    Example: attrgan vacuum --warehouse var/warehouse --dry-run
    """
    from attrgan import api

    with _working("deleting", json):
        done = api.vacuum(warehouse, dry_run=dry_run)
    lines = [f"  {name}: {n:,}" for name, n in done["counts"].items()]
    _say(done, json, f"vacuum: files {'that would be ' * dry_run}deleted, by table", *lines)


@app.command()
def report(
    outputs: Annotated[list[str], typer.Argument(help="Output folders of the steps of a run.")],
    out: Annotated[str, typer.Option("--out", "-o", help="HTML file to write.")] = "report.html",
    run_id: RunOption = None,
    json: JsonOption = False,
) -> None:
    """Write the page of a run.

    Example: attrgan report out/validated out/completed out/audit -o report.html
    """
    from attrgan import api

    with _working("drawing", json):
        done = api.report(outputs, out, run_id=run_id)
    _done(done, out, json)


@app.command()
def register(
    model: Annotated[str, typer.Argument(help="Model folder.")],
    evaluation: Annotated[str | None, typer.Option(help="Output folder of `attrgan evaluate`.")] = None,
    out: OptionalOut = None,
    run_id: RunOption = None,
    json: JsonOption = False,
) -> None:
    """Register a model in MLflow; it gets the alias `candidate`.

    Example: attrgan register model --evaluation out/evaluation
    """
    from attrgan import api

    with _working("registering", json):
        done = api.register(model, evaluation=evaluation, out=out, run_id=run_id)
    _say(done, json, f"register: {done['name']} version {done['version']} is the {done['alias']}")


@app.command()
def promote(
    version: Annotated[int | None, typer.Option(help="Version to promote; default: the candidate.")] = None,
    comparison: Annotated[str | None, typer.Option(help="Output folder of `attrgan compare`, checked again.")] = None,
    entity: EntityOption = None,
    json: JsonOption = False,
) -> None:
    """Make a version the champion.

    Example: attrgan promote --version 3 --entity product
    """
    from attrgan import api

    done = api.promote(version=version, comparison=comparison, entity=entity)
    _say(done, json, f"promote: {done['name']} version {done['version']} is the champion")


@app.command()
def rollback(entity: EntityOption = None, json: JsonOption = False) -> None:
    """Make the champion before this one the champion again.

    Example: attrgan rollback --entity product
    """
    from attrgan import api

    done = api.rollback(entity=entity)
    _say(done, json, f"rollback: {done['name']} version {done['version']} is the champion")


@app.command()
def doctor(
    freshness: Annotated[
        str | None,
        typer.Option(help="Only this: exit 3 when the warehouse got its newest date longer ago, such as 26h or 2d."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Say what is missing on this machine and what to do about it; exit 3 when something is.

    Example: attrgan doctor --freshness 26h
    """
    from dataclasses import asdict

    if freshness is not None:
        _freshness(freshness, json)
        return
    from attrgan import doctor as machine

    checks = machine.doctor()
    lines = [
        f"{'ok  ' if c.ok else 'FAIL'} {c.name}: {c.found}" + (f" → {c.advice}" if c.advice else "") for c in checks
    ]
    _say([asdict(c) for c in checks], json, *lines)
    if not all(c.ok for c in checks):
        raise typer.Exit(3)


def _freshness(limit: str, as_json: bool) -> None:
    """Says how old the newest data is; raises GateError when it is older than the limit."""
    from attrgan import freshness, telemetry
    from attrgan.config import settings
    from attrgan.errors import GateError

    found = freshness.look(settings().warehouse, freshness.seconds(limit))
    if found["age_seconds"] is not None:
        telemetry.age(found["age_seconds"])
    sentence = freshness.sentence(found)
    if found["fresh"] or as_json:
        _say(found, as_json, sentence)
    if not found["fresh"]:
        raise GateError(sentence)


@review_app.command("export")
def review_export(
    warehouse: WarehouseOption,
    out: Annotated[str, typer.Option("--out", "-o", help="Sheet to write: .csv, .parquet or .jsonl.")],
    purpose: Annotated[
        str, typer.Option(help="queue: best worth asking first; audit: a fair sample, which sets thresholds.")
    ] = "queue",
    attribute: Annotated[str | None, typer.Option(help="Only this attribute.")] = None,
    dt: Annotated[str | None, typer.Option(help="Only items whose newest version is of this date.")] = None,
    limit: Annotated[int, typer.Option(help="Rows of the queue; of an audit: cells of each attribute.")] = 200,
    seed: Annotated[int | None, typer.Option(help="Of the audit's sample; default: the setting.")] = None,
    schema: OptionalSchema = None,
    json: JsonOption = False,
) -> None:
    """Write a sheet of cells for people to answer, with candidates and evidence.

    Example: attrgan review export --warehouse var/warehouse --limit 100 -o review.csv
    """
    from attrgan import api

    done = api.review_export(
        warehouse, out, schema=schema, purpose=purpose, dt=dt, attribute=attribute, limit=limit, seed=seed
    )
    _done(done, out, json)


@review_app.command("import")
def review_import(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A sheet of `review export`, filled in.")],
    warehouse: WarehouseOption,
    replace: Annotated[bool, typer.Option("--replace", help="Answers that differ take the place of earlier ones.")] = (
        False
    ),
    new_values: Annotated[
        bool, typer.Option("--new-values", help="Take categorical values that stand nowhere in the catalog.")
    ] = False,
    reviewer: Annotated[str | None, typer.Option(help="Who answered, where the sheet does not say.")] = None,
    schema: OptionalSchema = None,
    json: JsonOption = False,
) -> None:
    """Keep people's answers as labels; exit 3 when rows were refused, which stand in FILE.refused.csv with reasons.

    Example: attrgan review import review.csv --warehouse var/warehouse
    """
    from attrgan import api

    done = api.review_import(file, warehouse, schema=schema, replace=replace, new_values=new_values, reviewer=reviewer)
    _say(done, json, f"review import: {done['said']}", f"→ {done['outputs'][0]}")


@review_app.command("stats")
def review_stats(warehouse: WarehouseOption, schema: OptionalSchema = None, json: JsonOption = False) -> None:
    """Say per attribute what is open, what was answered, and how often the model was right.

    Example: attrgan review stats --warehouse var/warehouse
    """
    from attrgan import api

    found = api.review_stats(warehouse, schema=schema)
    if json:
        _say(found, json)
    else:
        _table_of_reviews(found)


@config_app.command("show")
def config_show(json: JsonOption = False) -> None:
    """Print the effective settings and where they come from.

    Example: ATTRGAN__COMPLETION__SHARD_ROWS=5000 attrgan config show
    """
    import yaml

    from attrgan.config import config_file, settings
    from attrgan.tracking import masked

    found = settings().model_dump()
    found["tracking_uri"] = masked(found["tracking_uri"])
    source = f"# {config_file() or 'no settings file'} under ATTRGAN__… variables"
    _say(found, json, source, yaml.safe_dump(found, sort_keys=False, allow_unicode=True).rstrip())


def _to_stderr(line: str) -> None:
    if logs.in_json():
        _log.info(line)
    else:
        typer.echo(line, err=True)


def _table_of_metrics(out: str) -> None:
    """A table of the figures per attribute."""
    from rich.console import Console
    from rich.table import Table

    from attrgan.lake import storage

    attributes = storage.read_json(storage.join(out, "metrics.json"))["attributes"]
    table = Table(
        "attribute",
        *(("cells", "right", "mode/median", "promised", "realised", "coverage", "what is not filled, and why")),
    )
    for name, f in attributes.items():
        row = [
            _percent(f.get(k)) for k in ("accuracy", "baseline", "promised_precision", "realised_precision", "coverage")
        ]
        table.add_row(name, str(f["n"]), *row, f.get("reason") or "")
    Console(width=None if sys.stdout.isatty() else 150).print(table)


def _table_of_reviews(found: dict[str, dict[str, Any]]) -> None:
    """A table of where the review stands; agreement is that of the audit, then that of each band of confidence."""
    from rich.console import Console
    from rich.table import Table

    bands = [f"{b['from']:g}–{b['to']:g}" for b in next(iter(found.values()))["bands"]]
    table = Table(
        "attribute", "queue", "answered", "audit (needed)", "right in the audit", *bands, "changed", "against seller"
    )
    for name, f in found.items():
        shares = [_agreement(share) for share in (f["agreement"], *f["bands"])]
        audit = f"{f['audited']} ({f['audit_needed']})"
        table.add_row(
            name, str(f["queue"]), str(f["answered"]), audit, *shares, str(f["changed"]), str(f["against_seller"])
        )
    Console(width=None if sys.stdout.isatty() else 150).print(table)


def _agreement(share: dict[str, Any]) -> str:
    """A share with its interval."""
    if not share["n"]:
        return "–"
    low, high = share["interval"]
    return f"{_percent(share['share'])} of {share['n']} ({low:.0%}–{high:.0%})"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def main() -> None:
    """Runs the command line; turns errors into one sentence and an exit code."""
    started = perf_counter()
    code, sentence = _run()
    if verb := logs.fields().get("verb"):
        from attrgan import telemetry

        telemetry.ended(verb, code, perf_counter() - started)
    if sentence and logs.in_json():
        _log.error(sentence, extra={"fields": {"exit_code": code}})
    elif sentence:
        typer.echo(f"attrgan: {sentence}", err=True)
    sys.exit(code)


def _run() -> tuple[int, str | None]:
    """Runs the command line; its exit code, and the sentence that says what went wrong."""
    try:
        app()
    except SystemExit as end:
        return (end.code if isinstance(end.code, int) else 0), None
    except AttrGANError as error:
        return error.exit_code, str(error)
    except KeyboardInterrupt:
        return 130, "interrupted; nothing half written"
    except MemoryError:
        return 1, "out of memory: complete the catalog in slices (--shard i/n) or train on fewer rows"
    except Exception as error:
        from attrgan.lake import s3

        if told := s3.explained(error):
            return told.exit_code, str(told)
        if os.environ.get("ATTRGAN_DEBUG"):
            _log.exception("a fault of ours")
        return 1, f"a fault of ours ({type(error).__name__}: {error}); ATTRGAN_DEBUG=1 shows where"
    return 0, None
