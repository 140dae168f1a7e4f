"""`attrgan doctor --freshness 26h`: whether new data still arrives in the warehouse, asked from outside of Airflow.

What is measured: the time since the table `completed` got its newest date *for the first time*. Choices:
- A date that was skipped because nothing landed publishes nothing, so the age goes on growing: that is what this check
  is there to notice, since the run itself is green.
- Only a date newer than all others counts. A backfill of old dates, a repetition of the newest one and an undo write to
  the table as well, but bring consumers nothing new: none of them may hide that the nights have stopped.
- The clock of the commit counts, not the date: a warehouse whose landing lags by days is judged by its own rhythm.
  `dt_age_seconds`, since the end of the newest date (UTC), stands beside it.
- Exit codes: 3 too old or never published, 2 it could not be told (the limit is no duration, the warehouse cannot be
  read). Nothing else of this machine is checked: whoever is woken should know what it is about.
"""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

from attrgan.errors import InputError
from attrgan.lake import tables
from attrgan.tracking import in_one_line, masked

_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_PUBLISH = "content_hash"
"""In the metadata of every commit of a publish, and of no other."""


def seconds(limit: str) -> float:
    """A duration such as `26h` in seconds; raises InputError where it is not one."""
    if match := _DURATION.fullmatch(limit.strip()):
        return float(match[1]) * _SECONDS[match[2]]
    raise InputError(
        f"--freshness {limit} is not a duration: expected a number with s, m, h or d, such as 26h (a nightly run and "
        "two hours of slack)"
    )


def look(warehouse: str, limit: float, now: datetime | None = None) -> dict[str, Any]:
    """How old the newest data of a warehouse is.

    Args:
        warehouse: URL of the Delta tables.
        limit: seconds.
        now: the moment to judge at, with a time zone; None: this one.

    Returns:
        `fresh`, `limit_seconds`, `warehouse`; `newest_dt`, `published_at` (the first publish of that date), `run_id`,
        `age_seconds`, `dt_age_seconds`, and `last_commit_at` (the last one of whatever kind); null where nothing has
        been published, or the log of the table no longer says when.

    Raises:
        InputError: the warehouse cannot be read.
    """
    now = now or datetime.now(UTC)
    found: dict[str, Any] = dict.fromkeys(
        ("newest_dt", "published_at", "run_id", "age_seconds", "dt_age_seconds", "last_commit_at")
    )
    found |= {"fresh": False, "limit_seconds": limit, "warehouse": masked(warehouse)}
    newest, commits = _history(warehouse)
    if newest is None:
        return found
    first = next((c for c in reversed(commits) if c.get(tables.DT) == newest and _PUBLISH in c), None)
    ended = datetime.combine(date.fromisoformat(newest), datetime.min.time(), UTC) + timedelta(days=1)
    found |= {"newest_dt": newest, "dt_age_seconds": round((now - ended).total_seconds(), 1)}
    found["last_commit_at"] = _moment(commits[0]).isoformat(timespec="seconds")
    if first:
        at = _moment(first)
        age = max((now - at).total_seconds(), 0.0)
        found |= {"published_at": at.isoformat(timespec="seconds"), "run_id": first.get("run_id")}
        found |= {"age_seconds": round(age, 1), "fresh": age <= limit}
    return found


def sentence(found: dict[str, Any]) -> str:
    """What `look` has found, in one sentence; of data that is not fresh, with what to do."""
    newest, limit = found["newest_dt"], _said(found["limit_seconds"])
    what_to_do = "see docs/runbooks/freshness.md"
    if newest is None:
        return (
            f"nothing has ever been published to {found['warehouse']}, expected data of the last {limit}: {what_to_do}"
        )
    if found["published_at"] is None:
        return (
            f"the newest date, {newest}, is older than the log of the table, expected one within {limit}: {what_to_do}"
        )
    since = f"the newest date, {newest}, was first published {_said(found['age_seconds'])} ago ({found['published_at']}"
    if found["fresh"]:
        return f"fresh: {since}, run {found['run_id']})"
    return f"{since}, run {found['run_id']}), expected a newer one within {limit}: {what_to_do}"


def _history(warehouse: str) -> tuple[str | None, list[dict[str, Any]]]:
    """The newest date of `completed` and the commits of the table, newest first; None where there is no such date."""
    try:
        table = tables.open_table(warehouse, "completed")
        dates = tables.dates(table) if table else set()
        return (max(dates), [dict(c) for c in table.history()]) if table and dates else (None, [])
    except Exception as error:  # whatever the client of the object store raises
        raise InputError(
            f"the warehouse {masked(warehouse)} cannot be read ({in_one_line(error)}): give this machine access to it, "
            "or correct the setting `warehouse`"
        ) from None


def _moment(commit: dict[str, Any]) -> datetime:
    return datetime.fromtimestamp(commit["timestamp"] / 1000, UTC)


def _said(seconds: float) -> str:
    """A duration in its usual unit: 45 s, 12 min, 26 h, 4 d."""
    for unit, size, most in (("s", 1, 120), ("min", 60, 120), ("h", 3600, 72)):
        if seconds < most * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 86400:,.3g} d" if seconds < 1000 * 86400 else f"{seconds / 86400:,.0f} d"
