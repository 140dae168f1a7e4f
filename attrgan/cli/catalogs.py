"""Commands about what arrives."""

import json as json_library
from typing import Annotated

import typer

from attrgan.cli.options import CatalogArgument, JsonOption, OutOption, RunOption, SchemaOption
from attrgan.cli.output import say, say_done, working


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
    say(
        comments,
        json,
        f"infer-schema: {len(comments)} guesses, each with its reason: read them before you train",
        f"→ {out}",
    )


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
    say(files, json, *files)


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

    with working("validating", json):
        done = api.validate(catalog, schema, out, dt=dt, until=until, warehouse=warehouse, run_id=run_id)
    say_done(done, out, json)


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

    with working("encoding", json) as progress:
        done = api.features(catalog, schema, out, vectors=vectors, model=model, run_id=run_id, progress=progress)
    say_done(done, out, json)


def shards(
    validated: Annotated[str, typer.Argument(help="Output folder of `attrgan validate`.")],
    json: JsonOption = False,  # noqa: ARG001  (the answer is a JSON list either way)
) -> None:
    """Print how many tasks complete the valid rows, as a JSON list of i/n.

    Example: attrgan shards out/validated
    """
    from attrgan import api

    typer.echo(json_library.dumps(api.shards(validated)))
