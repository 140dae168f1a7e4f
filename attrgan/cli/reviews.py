"""Commands about what people are asked and what they answered."""

from typing import Annotated, Any

import typer

from attrgan.cli.options import JsonOption, OptionalSchema, WarehouseOption
from attrgan.cli.output import percent, say, say_done, show


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
    say_done(done, out, json)


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
    say(done, json, f"review import: {done['said']}", f"→ {done['outputs'][0]}")


def review_stats(warehouse: WarehouseOption, schema: OptionalSchema = None, json: JsonOption = False) -> None:
    """Say per attribute what is open, what was answered, and how often the model was right.

    Example: attrgan review stats --warehouse var/warehouse
    """
    from attrgan import api

    found = api.review_stats(warehouse, schema=schema)
    if json:
        say(found, json)
    else:
        _table_of_reviews(found)


def _table_of_reviews(found: dict[str, dict[str, Any]]) -> None:
    """A table of where the review stands; agreement is that of the audit, then that of each band of confidence."""
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
    show(table)


def _agreement(share: dict[str, Any]) -> str:
    """A share with its interval."""
    if not share["n"]:
        return "–"
    low, high = share["interval"]
    return f"{percent(share['share'])} of {share['n']} ({low:.0%}–{high:.0%})"
