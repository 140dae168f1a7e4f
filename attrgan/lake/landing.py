"""Where catalogs arrive: `<landing>/dt=YYYY-MM-DD/*`.

Imports nothing heavy: the nightly DAG asks here whether a date has anything to do before it starts anything.
"""

import re
from datetime import date
from pathlib import Path

from attrgan.errors import InputError
from attrgan.lake import storage

_PARTITION = re.compile(r"dt=(\d{4}-\d{2}-\d{2})")


def partitions(landing: str | Path) -> list[str]:
    """The dates that have files, oldest first; folders whose name is no date are ignored."""
    inside = len(storage.filesystem(landing)[1].rstrip("/")) + 1
    found = {path[inside:].split("/")[0] for path in storage.files(landing) if "/" in path[inside:]}
    named = (match.group(1) for name in found if (match := _PARTITION.fullmatch(name)))
    return sorted(dt for dt in named if _is_date(dt))


def files_of(landing: str | Path, dt: str) -> list[str]:
    """The files of a date, sorted, as paths in the file system of `landing`; none: [].

    Raises:
        InputError: `dt` is not a date.
    """
    return storage.files(storage.join(landing, f"dt={check_date(dt)}"))


def check_date(dt: str) -> str:
    """Gives `dt` back where it is a date; raises InputError where it is not."""
    if not isinstance(dt, str) or not _PARTITION.fullmatch(f"dt={dt}") or not _is_date(dt):
        raise InputError(f"dt is {dt!r}: expected a date as YYYY-MM-DD, such as 2026-01-31")
    return dt


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
