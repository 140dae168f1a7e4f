"""The log: one line for each thing a verb does, on standard error, as text or as JSON (`log.format`).

Choices:
- Standard output belongs to results (`--json`), so the log never goes there. A formatter of the standard library is all
  that this takes; programs that call `attrgan.api` keep their own set-up, since only the command line calls `begin`.
- At a terminal a command ends with its result on standard output, or one sentence on standard error, beside warnings:
  the level is then `warning`. It is `info` where somebody collects the lines: with `log.format` json, or where the
  scheduler says what the run is about in `ATTRGAN_LOG_FIELDS` (the task factory does). `log.level` decides otherwise.
- Fields (verb, run_id, dt, shard, model_version …) stand in every line. They stay in force until the next step names
  its own, so that the line which reports a failure carries them too.
- Warnings of libraries take the same way; their chatter below `warning` does not. Credentials in URLs are masked.
"""

import json
import logging
import os
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from attrgan.errors import AttrGANError

FIELDS = "ATTRGAN_LOG_FIELDS"
"""Variable with a JSON object that goes into every line: dag_id, task_id, dt, try_number, or whatever is known."""

_SHOWN = ("run_id", "dt", "shard", "model_version")
_about: ContextVar[dict[str, Any] | None] = ContextVar("attrgan_log_fields", default=None)
_given: dict[str, Any] = {}


def begin(verb: str) -> None:
    """Sets the log of this process up for a verb."""
    from attrgan.config import Log, settings

    forget()
    _given.update({"verb": verb, **_of_the_scheduler()})
    try:
        chosen = settings().log
    except AttrGANError:  # the verb says so if it needs the settings
        chosen = Log()
    handler = ToStandardError()
    handler.setFormatter(_Json() if chosen.format == "json" else _Text())
    handler.addFilter(_is_heard)
    root = logging.getLogger()
    for other in [h for h in root.handlers if isinstance(h, ToStandardError)]:
        root.removeHandler(other)
    root.addHandler(handler)
    collected = chosen.format == "json" or len(_given) > 1
    logging.getLogger("attrgan").setLevel((chosen.level or ("info" if collected else "warning")).upper())
    logging.captureWarnings(True)


def forget() -> None:
    """Forgets what the lines were about."""
    _given.clear()
    _about.set(None)


def about(**fields: Any) -> None:
    """Names what the lines from here on are about, in place of what they were about before; None is left out."""
    _about.set({name: value for name, value in fields.items() if value is not None})


def fields() -> dict[str, Any]:
    """What the lines are about."""
    return _given | (_about.get() or {})


def in_json() -> bool:
    """Whether the log is one of JSON lines."""
    return any(isinstance(h.formatter, _Json) for h in logging.getLogger().handlers)


def _is_heard(record: logging.LogRecord) -> bool:
    """Whether a line is ours or a warning, whatever levels a library has set."""
    return record.levelno >= logging.WARNING or record.name.split(".")[0] == "attrgan"


def _of_the_scheduler() -> dict[str, Any]:
    """What the environment says about the run; anything that is no JSON object says nothing."""
    try:
        found = json.loads(os.environ.get(FIELDS, "{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


class ToStandardError(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to standard error as it is when a line is written."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:
        """Standard error at this moment: tests and progress bars put another in its place."""
        return sys.stderr


class _Text(logging.Formatter):
    """`2017-03-02T00:10:00Z INFO complete: started [run_id=… shard=0/4 model_version=7]`."""

    def format(self, record: logging.LogRecord) -> str:
        known = fields()
        shown = " ".join(f"{name}={known[name]}" for name in _SHOWN if name in known)
        who = known["verb"] if record.name.startswith("attrgan") and "verb" in known else record.name
        line = f"{_time(record)} {record.levelname} {who}: {_message(record)}" + (f" [{shown}]" if shown else "")
        return line + (f"\n{_masked(self.formatException(record.exc_info))}" if record.exc_info else "")


class _Json(logging.Formatter):
    """One JSON object a line: time, level, logger, message, what the lines are about, and the record's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"time": _time(record), "level": record.levelname.lower(), "logger": record.name}
        line |= {"message": _message(record), **fields(), **getattr(record, "fields", {})}
        if record.exc_info:
            line["exception"] = _masked(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False, default=str)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _message(record: logging.LogRecord) -> str:
    return _masked(" ".join(record.getMessage().split()))


def _masked(text: str) -> str:
    from attrgan.tracking import masked

    return masked(text)
