"""Commands about which model is in production."""

from typing import Annotated

import typer

from attrgan.cli.options import CatalogArgument, EntityOption, JsonOption, OptionalOut, OutOption, RunOption
from attrgan.cli.output import say, say_done, working


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

    with working("comparing", json):
        done = api.compare(candidate, catalog, out, champion=champion, run_id=run_id)
    say_done(done, out, json)


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

    with working("registering", json):
        done = api.register(model, evaluation=evaluation, out=out, run_id=run_id)
    say(done, json, f"register: {done['name']} version {done['version']} is the {done['alias']}")


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
    say(done, json, f"promote: {done['name']} version {done['version']} is the champion")


def rollback(entity: EntityOption = None, json: JsonOption = False) -> None:
    """Make the champion before this one the champion again.

    Example: attrgan rollback --entity product
    """
    from attrgan import api

    done = api.rollback(entity=entity)
    say(done, json, f"rollback: {done['name']} version {done['version']} is the champion")
