"""What a run tells the outside while it works: the lines and the StatsD metrics of each step and each command.

Metrics (`statsd.host` switches them on), below `statsd.prefix`; `docker/statsd_mapping.yaml` turns them into labels:

    duration.<verb>           timer, ms        of a step that was done, the gate's no included
    counts.<verb>.<count>     counter          the whole numbers among the manifest's `counts`: rows_in, valid,
                                               quarantined, filled, review, abstained, not_applicable, encoded, reused …
    skipped.<verb>            counter          steps that a finished manifest made a no-op
    training.<name>           gauge            what a training ended with: loss_d, loss_g, validation_loss, epochs
    exits.<verb>.<code>       counter          commands, by exit code
    freshness.age_seconds     gauge            `doctor --freshness`

Choices: counts are counters, so that shards and dates add up; plain names without tags, since every StatsD server reads
those; datagrams without an answer, so that a metrics server which is away, slow or misnamed never fails a verb.
"""

import logging
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrgan import logs
from attrgan.errors import AttrGANError

if TYPE_CHECKING:
    from statsd.client.udp import Pipeline

_log = logging.getLogger(__name__)
_NAMED = ("dt", "shard", "model_version")


def begins(verb: str, run_id: str, arguments: dict[str, Any], out: str) -> None:
    """A step begins: what the lines from here on are about."""
    logs.about(verb=verb, run_id=run_id, **{name: arguments.get(name) for name in _NAMED})
    _log.info("started", extra={"fields": {"out": out}})


def skipped(verb: str, manifest: dict[str, Any]) -> None:
    """A step had been finished before."""
    logs.about(verb=verb, run_id=manifest["run_id"], **{name: manifest.get(name) for name in _NAMED})
    _log.info("finished before, at %s: nothing to do", manifest["finished_at"])
    _send(lambda metrics: metrics.incr(f"skipped.{_name(verb)}"))


def finished(manifest: dict[str, Any]) -> None:
    """A step is done, or its gate has said no."""
    verb, counts, seconds = _name(manifest["verb"]), whole(manifest["counts"]), manifest["seconds"]
    logs.about(**{name: manifest.get(name) for name in ("verb", "run_id", *_NAMED)})
    said = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    end = f"refused ({manifest['refused']})" if manifest["refused"] else "finished"
    fields = {"seconds": seconds, "counts": manifest["counts"], "status": manifest["status"]}
    level = logging.WARNING if manifest["refused"] else logging.INFO
    _log.log(level, "%s after %.1f s: %s", end, seconds, said or "done", extra={"fields": fields})

    def metrics(send: "Pipeline") -> None:
        send.timing(f"duration.{verb}", seconds * 1000)
        for name, count in counts.items():
            send.incr(f"counts.{verb}.{_name(name)}", count)
        for name, figure in manifest.get("training", {}).items():
            send.gauge(f"training.{_name(name)}", figure)

    _send(metrics)


def ended(verb: str, code: int, seconds: float) -> None:
    """A command has ended."""
    fields = {"exit_code": code, "seconds": round(seconds, 2)}
    _log.info("ended with exit code %d after %.1f s", code, seconds, extra={"fields": fields})
    _send(lambda metrics: metrics.incr(f"exits.{_name(verb)}.{code}"))


def age(seconds: float) -> None:
    """How old the newest data is."""
    _send(lambda metrics: metrics.gauge("freshness.age_seconds", round(seconds, 3)))


def whole(counts: dict[str, Any]) -> dict[str, int]:
    """The whole numbers among the counts of a manifest."""
    return {name: count for name, count in counts.items() if isinstance(count, int) and not isinstance(count, bool)}


def _name(text: str) -> str:
    """A part of a metric's name: nothing in it that StatsD or a mapping takes for a sign of its own."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", text)


def _send(what: "Callable[[Pipeline], Any]") -> None:
    """Sends metrics where the settings name a server."""
    from attrgan.config import settings

    try:
        of = settings().statsd
    except AttrGANError:  # the verb says so if it needs the settings
        return
    if of.host is None:
        return
    from statsd import StatsClient

    try:
        client = StatsClient(of.host, of.port, prefix=of.prefix)
    except OSError as error:
        _log.warning("no metrics: the StatsD server %s cannot be found (%s)", of.host, error)
        return
    with client.pipeline() as pipeline:
        what(pipeline)
    client.close()
