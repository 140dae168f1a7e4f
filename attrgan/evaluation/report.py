"""The pages that people read: of a nightly run, and of an evaluation.

One self-contained file each: inline style and pictures, no script, nothing loaded from anywhere, so that it can be
mailed and archived. Everything from a catalog is escaped by Jinja2; a Content Security Policy forbids scripts
besides. Figures are taken from manifests and `metrics.json`; nothing is computed anew but shares.
"""

import base64
import json
import os
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined

from attrgan import __version__
from attrgan.errors import InputError
from attrgan.lake import manifest, storage
from attrgan.lake.manifest import Manifest, Result

_STATUSES = ("filled", "review", "abstained", "not_applicable")
_VERBS = ("validate", "drift", "complete", "audit", "publish")
_SAMPLES, _EXAMPLES, _CELLS = 12, 6, 6


def nightly_report(dirs: list[str], out: Path, links: dict[str, str] | None = None) -> Result:
    """Writes the page of a nightly run.

    Args:
        dirs: outputs of `validate`, `drift`, `complete` (all shards), `audit`, `publish`, in any order; recognised by
            their manifests, and each may be missing.
        out: the HTML file.
        links: name → URL or relative path, shown at the top. The Data Docs of `validate` are linked by themselves where
            both are on this machine's disk.

    Returns:
        Counts `rows_in`, `valid`, `quarantined`, `rows`, `cells`, `filled`, `review`, `abstained`, `not_applicable`,
        and details `attributes`: name → the figures of its line.

    Raises:
        InputError: a folder has no manifest, or none is of a nightly run.
    """
    runs = _by_verb(dirs)
    validated = runs["validate"][0][1] if runs["validate"] else None
    shards = [found for _, found in runs["complete"]]
    attributes = _attributes(shards)
    counts = _totals(validated, shards)
    promises = [a for a in attributes if a["promised"] is not None]
    level = _confidence_level(shards)
    page = _environment().get_template("nightly.html.j2").render(
        title=_title(runs),
        status=_status(runs),
        model_version=shards[0].get("model_version") if shards else None,
        links=_links(runs, out, links or {}),
        refusals=[{"step": m["verb"].capitalize(), "text": m["refused"]} for m in _all(runs) if m.get("refused")],
        tiles=_tiles(counts),
        attributes=attributes,
        promises=len(promises),
        confidence_level=level,
        may_fail=_may_fail(len(promises), level),
        drift=_drift(*runs["drift"][0]) if runs["drift"] else None,
        samples=_samples(*runs["complete"][0]) if runs["complete"] else [],
        quarantine=_quarantine(*runs["validate"][0]) if runs["validate"] else None,
        facts=_facts(runs),
        steps=[_step(found) for found in _all(runs)],
        attrgan=__version__,
    )  # fmt: skip
    out.write_text(page, encoding="utf-8")
    return Result(counts, {"attributes": {a.pop("name"): a for a in attributes}})


def evaluation_report(metrics: dict[str, Any], out: Path, plots: list[Path]) -> None:
    """Writes the page of an evaluation.

    Args:
        metrics: as in `metrics.json`.
        out: the HTML file.
        plots: pictures (PNG or SVG) to show; those that are not there are left out.
    """
    attributes = [_scored(name, figures) for name, figures in metrics["attributes"].items()]
    rows = metrics.get("rows") or {}
    tiles = [
        {"value": _share(metrics.get(key)), "text": text, "main": key == "mean_accuracy"}
        for key, text in (("mean_accuracy", "mean accuracy"), ("mean_baseline", "mean of mode and median"),
                          ("mean_coverage", "mean coverage"))
        if metrics.get(key) is not None
    ]  # fmt: skip
    tiles.append({"value": _count(sum(a["n"] for a in attributes)), "text": "hidden cells scored", "main": False})
    version = metrics.get("model_version")
    facts = {f"Rows: {name.replace('_', ' ')}": _count(n) for name, n in rows.items() if isinstance(n, int)}
    facts |= {
        name: metrics[key]
        for name, key in (("Missing", "missing"), ("Rate", "rate"), ("Seed", "seed"), ("Schema", "schema_hash"))
        if metrics.get(key) is not None
    }
    page = _environment().get_template("evaluation.html.j2").render(
        version=version if version is not None else "without a version",
        subtitle=f"{len(attributes)} attributes",
        tiles=tiles, attributes=attributes, plots=[_plot(path) for path in plots if path.is_file()],
        patterns=_patterns(metrics), joint=_joint(metrics.get("joint") or {}), facts=facts, attrgan=__version__,
    )  # fmt: skip
    out.write_text(page, encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("attrgan.evaluation"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"count": _count, "share": _share, "short": _short, "decimal": _decimal}
    return environment


def _by_verb(dirs: list[str]) -> dict[str, list[tuple[str, Manifest]]]:
    """Verb → (place, manifest) of its outputs; shards in their order."""
    runs: dict[str, list[tuple[str, Manifest]]] = {verb: [] for verb in _VERBS}
    for place in map(str, dirs):
        found = manifest.read(place)
        if not found:
            raise InputError(f"{place} has no manifest.json: expected the output of a finished `attrgan` step")
        if found.get("verb") in runs:
            runs[found["verb"]].append((place, found))
    if not any(runs.values()):
        raise InputError("nothing to report: expected outputs of `attrgan` validate, drift, complete, audit or publish")
    runs["complete"].sort(key=lambda run: int(str(run[1].get("shard") or "0").partition("/")[0]))
    return runs


def _all(runs: dict[str, list[tuple[str, Manifest]]]) -> list[Manifest]:
    return [found for verb in _VERBS for _, found in runs[verb]]


def _totals(validated: Manifest | None, shards: list[Manifest]) -> dict[str, int]:
    counts = {key: int(validated["counts"][key]) for key in ("rows_in", "valid", "quarantined")} if validated else {}
    for key in ("rows", "cells", *_STATUSES) if shards else ():
        counts[key] = sum(int(shard["counts"][key]) for shard in shards)
    return counts


def _attributes(shards: list[Manifest]) -> list[dict[str, Any]]:
    """A line for each attribute, summed over the shards."""
    if not shards:
        return []
    rows = sum(shard["counts"]["rows"] for shard in shards)
    promises, schema = shards[0].get("promise") or {}, shards[0].get("schema") or {}
    return [
        _attribute(name, rows, shards, promises.get(name) or {}, schema.get("attributes", {}).get(name) or {})
        for name in shards[0]["counts"]["attributes"]
    ]


def _attribute(
    name: str, rows: int, shards: list[Manifest], promise: dict[str, Any], described: dict[str, Any]
) -> dict[str, Any]:
    line: dict[str, Any] = {"name": name, "kind": _kind(described)}
    for key in ("missing_before", *_STATUSES):
        line[key] = sum(shard["counts"]["attributes"][name].get(key, 0) for shard in shards)
    line["known"] = rows - line["missing_before"]
    line["known_after"] = line["known"] + line["filled"]
    line["before"], line["after"] = line["known"] / max(rows, 1), line["known_after"] / max(rows, 1)
    line["na_share"] = line["not_applicable"] / max(rows, 1)
    line["of_empty"] = line["filled"] / line["missing_before"] if line["missing_before"] else None
    line |= _precision(promise)
    mode = described.get("mode", "fill")
    line["reason"] = promise.get("reason")
    if mode != "fill":
        line["reason"] = {"suggest": "suggestions only, by the schema", "off": "switched off in the schema"}[mode]
    if line["filled"]:
        line["reason"] = None
    line["suspended"] = sum(shard["counts"]["attributes"][name].get("suspended", 0) for shard in shards)
    if why := (shards[0].get("suspended") or {}).get(name):
        line["reason"] = f"suspended, {_count(line['suspended'])} cells go to review instead ({why})"
    return line


def _precision(figures: dict[str, Any]) -> dict[str, Any]:
    """Promised and realised precision, and whether the latter is below the former."""
    promised, realised = figures.get("promised_precision"), figures.get("realised_precision")
    return {
        "promised": promised,
        "realised": realised,
        "realised_n": figures.get("realised_n") or 0,
        "realised_interval": figures.get("realised_interval"),
        "below": promised is not None and realised is not None and realised < promised,
        "promised_on": _promised_on(figures.get("promise") or figures) if promised is not None else None,
    }


def _promised_on(promise: dict[str, Any]) -> str | None:
    """On how many cells a promise rests, and for whom it is made."""
    if promise.get("accepted") is None:
        return None
    said = f"{_count(promise['errors'])} of {_count(promise['accepted'])} calibration cells wrong"
    return f"{said}; for {', '.join(promise['pool'])} together" if promise.get("pool") else said


def _patterns(metrics: dict[str, Any]) -> dict[str, Any] | None:
    """The lines on the promise under each pattern: of every attribute, and of each pattern what came true."""
    measured = metrics.get("patterns") or {}
    names = {"mcar": "at random", "mar": "where more is missing", "mnar": "where the value is rare or large"}
    lines = []
    for name, figures in metrics["attributes"].items():
        under = (figures.get("promise") or {}).get("under") or {}
        if any(one.get("threshold") is not None for one in under.values()):
            promised = figures["promised_precision"]
            found = [{"promised_precision": promised, "coverage": None} | measured[p].get(name, {}) for p in measured]
            cells = [_precision(one) | {"coverage": one["coverage"]} for one in found]
            lines.append({"name": name, "under": under, "patterns": cells, "promised": promised})
    return {"names": [names[p] for p in measured], "lines": lines} if measured else None


def _kind(described: dict[str, Any]) -> str:
    parts = [described.get("kind", "")]
    parts += ["several values"] if described.get("multi") else []
    parts += [described["unit"]] if described.get("unit") else []
    parts += ["suggestions only"] if described.get("mode") == "suggest" else []
    return ", ".join(part for part in parts if part)


def _scored(name: str, figures: dict[str, Any]) -> dict[str, Any]:
    """A line of the evaluation."""
    line = {"name": name, "kind": figures.get("kind", ""), "n": figures.get("n") or 0, **_precision(figures)}
    line |= {key: figures.get(key) for key in ("accuracy", "baseline", "ece", "ece_expected", "coverage", "reason")}
    line["interval"] = figures.get("accuracy_interval")
    line["worse"] = bool(line["n"]) and line["accuracy"] <= line["baseline"]
    numeric = (("mae", "mean error {:.4g}"), ("skill", "skill {:.2f}"), ("interval_coverage", "{:.0%} in the interval"))
    said = [text.format(figures[key]) for key, text in numeric if figures.get(key) is not None]
    if na := figures.get("not_applicable"):
        said.append(f"n/a: F1 {na['f1']:.2f} on {_count(na['n'])} cells")
    line["numeric"] = ", ".join(said)
    return line


def _joint(measured: dict[str, Any]) -> dict[str, Any] | None:
    """The lines on completed items as wholes: a measure, its two figures, and that of real rows."""
    if not measured.get("rows"):
        return None
    names = {
        "energy_score": "Energy score (lower is better)",
        "two_sample": "Completed told from real by a classifier",
        "jensen_shannon": "Distance of the distributions of values",
        "pairs": "Pairs of values that occur in real rows",
        "triples": "Triples of values that occur in real rows",
    }
    real = {"two_sample": 0.5, "jensen_shannon": 0.0}
    lines = [{"name": name, "real": real.get(key), **measured[key]} for key, name in names.items()]
    return {"lines": lines, **{k: measured.get(k) for k in ("rows", "samples", "inside_samples", "inside_expected")}}


def _drift(place: str, judged: Manifest) -> dict[str, Any]:
    """What has changed since training, and what is not filled for it."""
    found = storage.read_json(storage.join(place, "drift.json"))
    flagged = [c | {"name": f"{c['column']}: {c['of']}", "concerns": ", ".join(c["suspends"])} for c in found["checks"]]
    return {
        "counts": judged["counts"],
        "not_judged": judged.get("not_judged"),
        "suspended": judged["suspended"],
        "lifted": not found["limits"]["suspend"],
        "flagged": [check for check in flagged if check["flagged"]],
    }


def _confidence_level(shards: list[Manifest]) -> float:
    calibration = (shards[0].get("calibration") or {}) if shards else {}
    return float(next((c["confidence_level"] for c in calibration.values() if c.get("confidence_level")), 0.95))


def _may_fail(promises: int, level: float) -> str:
    expected = promises * (1 - level)
    return "less than one" if expected < 0.95 else f"about {expected:.0f}"


def _title(runs: dict[str, list[tuple[str, Manifest]]]) -> str:
    shard = next((found for _, found in runs["complete"]), {})
    entity = str((shard.get("schema") or {}).get("entity", "catalog")).capitalize()
    dt = _dt(runs)
    return f"{entity} catalog, {dt}" if dt else f"{entity} catalog"


def _dt(runs: dict[str, list[tuple[str, Manifest]]]) -> str | None:
    found = [m.get("dt") or (m.get("arguments") or {}).get("dt") for m in _all(runs)]
    return next((str(dt) for dt in reversed(found) if dt), None)


def _status(runs: dict[str, list[tuple[str, Manifest]]]) -> dict[str, str]:
    refused = next((m["verb"] for m in _all(runs) if m.get("refused")), None)
    if refused:
        return {"tone": "bad", "text": f"Not published: {refused} said no"}
    if runs["publish"]:
        return {"tone": "good", "text": "Published"}
    return {"tone": "plain", "text": "Not published"}


def _tiles(counts: dict[str, int]) -> list[dict[str, Any]]:
    tiles: list[dict[str, Any]] = []

    def tile(key: str, text: str, main: bool = False) -> None:
        if key in counts:
            tiles.append({"value": _count(counts[key]), "text": text, "main": main})

    tile("rows_in", "rows received")
    tile("quarantined", "rows set aside")
    tile("cells", "empty cells looked at")
    of = f"cells filled ({_share(counts['filled'] / counts['cells'])})" if counts.get("cells") else "cells filled"
    tile("filled", of, main=True)
    tile("review", "for people to review")
    tile("abstained", "left empty")
    tile("not_applicable", "do not apply")
    return tiles


def _samples(place: str, shard: Manifest) -> list[dict[str, Any]]:
    """The first filled cells of a shard, two of each attribute."""
    import pyarrow.parquet as pq

    fs, path = storage.filesystem(storage.join(place, "completions.parquet"))
    if not fs.exists(path):
        return []
    taken: Counter[str] = Counter()
    rows: list[dict[str, Any]] = []
    with fs.open(path, "rb") as file:
        for batch in pq.ParquetFile(file).iter_batches(4096):
            for row in batch.to_pylist():
                if row["status"] == "filled" and taken[row["attribute"]] < 2 and len(rows) < _SAMPLES:
                    taken[row["attribute"]] += 1
                    rows.append({**row, "id": next(iter(row.values())), "value": _plain(row, shard)})
            if len(rows) == _SAMPLES:
                break
    order = list(taken)
    return sorted(rows, key=lambda row: order.index(row["attribute"]))


def _plain(row: dict[str, Any], shard: Manifest) -> str:
    """A value as people write it: several values as a list with commas."""
    described = (shard.get("schema") or {}).get("attributes", {}).get(row["attribute"]) or {}
    return ", ".join(map(str, json.loads(row["value"]))) if described.get("multi") else row["value"]


def _quarantine(place: str, validated: Manifest) -> dict[str, Any]:
    counts = validated["counts"]
    reasons = sorted(counts.get("reasons", {}).items(), key=lambda item: -item[1])
    most, rows_in = max((n for _, n in reasons), default=1), max(counts["rows_in"], 1)
    lines = [{"name": name, "rows": n, "width": 100 * n / most, "share": n / rows_in} for name, n in reasons]
    return {"rows": counts["quarantined"], "rows_in": counts["rows_in"], "reasons": lines,
            "examples": _examples(place, validated.get("personal", [])) if counts["quarantined"] else []}  # fmt: skip


def _examples(place: str, personal: list[str]) -> list[dict[str, Any]]:
    """Quarantined rows, of different reasons as far as there are, without the columns that are personal."""
    import pyarrow.parquet as pq

    fs, path = storage.filesystem(storage.join(place, "quarantine.parquet"))
    if not fs.exists(path):
        return []
    with fs.open(path, "rb") as file:
        batch = next(pq.ParquetFile(file).iter_batches(2000), None)
    rows = batch.to_pylist() if batch is not None else []
    times: Counter[tuple[str, ...]] = Counter()
    for row in rows:
        row["_rank"] = times[tuple(row["reasons"])]
        times[tuple(row["reasons"])] += 1
    return [_example(row, personal) for row in sorted(rows, key=lambda row: row["_rank"])[:_EXAMPLES]]


def _example(row: dict[str, Any], personal: list[str]) -> dict[str, Any]:
    """Where a row came from, why it was set aside, and the cells that tell most: the offending ones first."""
    own = {"source_file", "source_row", "reasons", "source_text", "_rank", *personal}
    named = [reason.partition(":")[2] for reason in row["reasons"]]
    cells = [(name, value) for name, value in row.items() if (name not in own and value is not None) or name in named]
    cells.sort(key=lambda cell: cell[0] not in named)
    if row.get("source_text") and not personal:  # a line that nobody could read may hold anything
        cells = [("text", row["source_text"])]
    return {"file": str(row["source_file"]).rpartition("/")[2], "row": row["source_row"], "reasons": row["reasons"],
            "cells": cells[:_CELLS]}  # fmt: skip


def _facts(runs: dict[str, list[tuple[str, Manifest]]]) -> dict[str, Any]:
    """What made this run, as far as the manifests say."""
    shard = next((found for _, found in runs["complete"]), {})
    published = next((found for _, found in runs["publish"]), {})
    versions = {name: v for name, v in (published.get("tables") or {}).items() if v is not None}
    last = _all(runs)[-1]
    facts = {
        "Date (dt)": _dt(runs),
        "Run": last.get("run_id"),
        "Model version": shard.get("model_version"),
        "Schema": shard.get("schema_hash"),
        "Shards": len(runs["complete"]) or None,
        "Warehouse": published.get("warehouse"),
        "Table versions": ", ".join(f"{name} {v}" for name, v in sorted(versions.items())) or None,
        "Content hash": published.get("content_hash"),
    }
    return {name: value for name, value in facts.items() if value is not None}


def _step(found: Manifest) -> dict[str, Any]:
    counts, verb, shard = found.get("counts") or {}, found["verb"], found.get("shard")
    if verb == "validate":
        said = f"{_count(counts['valid'])} valid, {_count(counts['quarantined'])} set aside"
    elif verb == "drift":
        said = f"{_count(counts['flagged'])} of {_count(counts['judged'])} checks flagged"
    elif verb == "complete":
        said = f"{_count(counts['filled'])} of {_count(counts['cells'])} cells filled"
    elif verb == "audit":
        said = f"{_count(counts.get('given', 0))} given cells compared"
    else:
        said = "was there already" if found.get("unchanged") else f"{_count(counts.get('rows', 0))} rows"
    name = f"{verb} {shard}" if shard and shard != "0/1" else verb
    return {"name": name, "said": said, "refused": found.get("refused"), "seconds": found.get("seconds", ""),
            "finished_at": str(found.get("finished_at", "")).replace("T", " ").removesuffix("+00:00")}  # fmt: skip


def _links(runs: dict[str, list[tuple[str, Manifest]]], out: Path, links: dict[str, str]) -> dict[str, str]:
    """The links that lead somewhere: web addresses, files and relative paths; no scripts."""
    found = {}
    for name, verb in (("Data Docs", "validate"), ("Drift", "drift")):
        place = next((place for place, _ in runs[verb]), "")
        local = storage.local_path(place) if "://" not in place or place.startswith("file:") else None
        if place and local and (docs := local / "data_docs" / "index.html").is_file():
            found[name] = Path(os.path.relpath(docs, out.parent)).as_posix()
    safe = ("", "http", "https", "file")
    given = {name: href for name, href in links.items() if href and urlsplit(href).scheme in safe}
    return found | given


def _plot(path: Path) -> dict[str, str]:
    kind = "svg+xml" if path.suffix == ".svg" else path.suffix.lstrip(".")
    data = base64.b64encode(path.read_bytes()).decode()
    return {"name": path.stem.replace("_", " ").capitalize(), "type": kind, "data": data}


def _count(n: int) -> str:
    return f"{n:,}"


def _share(share: float | None, digits: int = 1) -> str:
    """A share in percent; never rounded up to 100 % nor down to 0 % when it is not."""
    if share is None:
        return "–"
    smallest = 10.0**-digits
    percent = share * 100
    if 0 < percent < smallest / 2:
        return f"< {smallest:.{digits}f}%"
    if 100 - smallest / 2 <= percent < 100:
        percent = 100 - smallest
    return f"{percent:.{digits}f}%"


def _decimal(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _short(value: Any, length: int = 90) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= length else text[: length - 1] + "…"
