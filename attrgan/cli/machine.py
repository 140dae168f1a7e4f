"""Commands about this machine: what is missing on it, how fresh its warehouse is, which settings are in force."""

from typing import Annotated

import typer

from attrgan.cli.options import JsonOption
from attrgan.cli.output import say


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
    say([asdict(c) for c in checks], json, *lines)
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
        say(found, as_json, sentence)
    if not found["fresh"]:
        raise GateError(sentence)


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
    say(found, json, source, yaml.safe_dump(found, sort_keys=False, allow_unicode=True).rstrip())
