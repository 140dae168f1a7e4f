"""How long the tables of a warehouse keep their past, and the removal of what is older.

Replaced files stay for the retention, so that older versions can be read (`tables.read(…, version=)`) and compared. An
undo needs none of them: it works from the rows of `completions`.
"""

from typing import Any

from attrgan.errors import InputError
from attrgan.lake import tables

NAMES = ("products", "quarantine", "completions", "completed", "reviews")
"""The tables of a warehouse."""


def vacuum(warehouse: str, retention_days: int, *, dry_run: bool = False) -> dict[str, Any]:
    """Deletes files that only states older than the retention need, also those that a killed writer has left.

    What `completed` still refers to in the other tables (a publish that was not finished) is kept, however old it is.

    Args:
        retention_days: becomes the tables' own setting first, so that other tools obey it too.
        dry_run: only counts.

    Returns:
        `counts`: table → files; `retention_days`; `dry_run`.

    Raises:
        InputError: there are no tables.
    """
    found = {name: table for name in NAMES if (table := tables.open_table(warehouse, name))}
    if not found:
        raise InputError(
            f"no tables in {warehouse}: expected the URL of a warehouse that `attrgan publish` has written"
        )
    referred = _referred_to(warehouse)
    counts = {}
    for name, table in found.items():
        if not dry_run:
            tables.keep(table, retention_days)
        files = table.vacuum(
            retention_days * 24, dry_run=dry_run, full=True, keep_versions=referred.get(name) or None,
            enforce_retention_duration=not dry_run,  # the table's own, which a dry run leaves as it is
        )  # fmt: skip
        counts[name] = len(files)
    return {"counts": counts, "retention_days": retention_days, "dry_run": dry_run}


def _referred_to(warehouse: str) -> dict[str, list[int]]:
    """Table → versions that the newest commits of `completed` name though they are not the newest of their dates."""
    completed = tables.open_table(warehouse, "completed")
    commits = tables.last_commits(completed) if completed else {}
    found: dict[str, list[int]] = {}
    for name in NAMES[:3]:
        table = tables.open_table(warehouse, name)
        newest = tables.last_commits(table) if table else {}
        named = {dt: commit.get(f"{name}_version") for dt, commit in commits.items()}
        found[name] = [v for dt, v in named.items() if v is not None and v != newest.get(dt, {}).get("version", v)]
    return found
