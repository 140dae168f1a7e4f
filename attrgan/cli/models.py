"""Commands about what a model learns and how good it is."""

import logging
from typing import Annotated

import typer

from attrgan import logs
from attrgan.cli.options import (
    CatalogArgument,
    FeaturesOption,
    JsonOption,
    ModelOption,
    OutOption,
    RunOption,
    SchemaOption,
)
from attrgan.cli.output import percent, say_done, show, working

_log = logging.getLogger("attrgan.cli")  # the name in JSON lines is that of the command line, not of this module


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
    holdout: Annotated[
        float, typer.Option(help="Share of the rows that nothing learns from; they score the model. 0.01 to 0.5.")
    ] = 0.1,
    refit: Annotated[
        bool, typer.Option(help="Once calibrated, train again, also on the rows set aside for that.")
    ] = True,
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
        start_from=start_from, reviews=reviews, calibrate_for=calibrate_for, holdout=holdout, refit=refit,
        run_id=run_id, say=_to_stderr if json else typer.echo,
    )  # fmt: skip
    if done["status"] == "followed":  # the first of several processes speaks
        return
    say_done(done, out, json)
    if not json:
        _table_of_metrics(out)


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

    with working("evaluating", json):
        done = api.evaluate(catalog, model, out, missing=missing, rate=rate, features=features, run_id=run_id)
    say_done(done, out, json)
    if not json:
        _table_of_metrics(out)


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

    with working("comparing with training", json):
        done = api.drift(catalog, model, out, features=features, run_id=run_id)
    say_done(done, out, json)
    for name, why in () if json else done["suspended"].items():
        typer.echo(f"{name} is not to be filled: {why}")


def _to_stderr(line: str) -> None:
    if logs.in_json():
        _log.info(line)
    else:
        typer.echo(line, err=True)


def _table_of_metrics(out: str) -> None:
    """A table of the figures per attribute."""
    from rich.table import Table

    from attrgan.lake import storage

    attributes = storage.read_json(storage.join(out, "metrics.json"))["attributes"]
    headings = ("attribute", "cells", "right", "mode/median", "promised", "realised", "coverage")
    table = Table(*headings, "what is not filled, and why")
    for name, f in attributes.items():
        row = [
            percent(f.get(k)) for k in ("accuracy", "baseline", "promised_precision", "realised_precision", "coverage")
        ]
        table.add_row(name, str(f["n"]), *row, f.get("reason") or "")
    show(table)
