"""How a command speaks: results on standard output, as lines or as JSON; progress on standard error, at a terminal."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table


def say(result: Any, as_json: bool, *lines: str) -> None:
    """Prints a result: as JSON, or as the given lines."""
    if as_json:
        typer.echo(json.dumps(result, indent=2, ensure_ascii=False, default=str))
    else:
        for line in lines:
            typer.echo(line)


@contextmanager
def working(on: str, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Shows on a terminal that something is going on; yields what to call with (done, total) where that is known."""
    if quiet or not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(on, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def say_done(manifest: dict[str, Any], out: str, as_json: bool) -> None:
    """Prints a finished step: its counts and where its outputs are."""
    counts = ", ".join(f"{k} {v:,}" for k, v in manifest.get("counts", {}).items() if isinstance(v, int))
    skipped = " (finished before: nothing to do)" if manifest.get("skipped") else ""
    say(manifest, as_json, f"{manifest.get('verb', 'done')}: {counts or 'done'}{skipped}", f"→ {out}")


def show(table: "Table") -> None:
    """Prints a table, as wide as the terminal."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 150).print(table)


def percent(value: float | None) -> str:
    """A share as a table shows it; a dash where there is none."""
    return "–" if value is None else f"{value:.1%}"
