"""Commands about what is filled: completed, checked, published, taken back."""

from typing import Annotated, Any

import typer

from attrgan.cli.options import (
    CatalogArgument,
    FeaturesOption,
    JsonOption,
    ModelOption,
    OptionalOut,
    OutOption,
    RunOption,
    WarehouseOption,
)
from attrgan.cli.output import say, say_done, working

_LINES = 40
"""Lines of a listing; `--json` has all of it."""


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

    with working("completing", json) as progress:
        done = api.complete(
            catalog, model, out, shard=shard, features=features, drift=drift, engine=engine, samples=samples, seed=seed,
            run_id=run_id, progress=progress,
        )  # fmt: skip
    say_done(done, out, json)


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

    with working("auditing", json):
        done = api.audit(completed, validation, out, run_id=run_id)
    say_done(done, out, json)


def publish(
    completed: Annotated[
        list[str], typer.Argument(help="Output folders of `attrgan complete`, in the order of shards.")
    ],
    warehouse: WarehouseOption,
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

    with working("publishing", json):
        done = api.publish(completed, warehouse, dt, run_id, validated=validation, out=out)
    say_done(done, out or warehouse, json)


def undo(
    warehouse: WarehouseOption,
    run_id: Annotated[str | None, typer.Option(help="The run to take back; of an undo: brings back.")] = None,
    model_version: Annotated[
        str | None,
        typer.Option(help="The model version whose values are taken back: 12 hex digits, as in `completions`."),
    ] = None,
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

    with working("undoing", json) as progress:
        done = api.undo(
            warehouse, run_id=run_id, model_version=model_version, attribute=attribute, first=first, last=last,
            dry_run=dry_run, undo_id=undo_id, out=out, progress=progress,
        )  # fmt: skip
    say(done, json, *_undone(done))


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


def vacuum(
    warehouse: WarehouseOption,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    json: JsonOption = False,
) -> None:
    """Delete files of the tables that have been replaced for longer than `tables.retention_days`.

    Example: attrgan vacuum --warehouse var/warehouse --dry-run
    """
    from attrgan import api

    with working("deleting", json):
        done = api.vacuum(warehouse, dry_run=dry_run)
    lines = [f"  {name}: {n:,}" for name, n in done["counts"].items()]
    say(done, json, f"vacuum: files {'that would be ' * dry_run}deleted, by table", *lines)


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

    with working("drawing", json):
        done = api.report(outputs, out, run_id=run_id)
    say_done(done, out, json)
