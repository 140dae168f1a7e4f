"""OpenLineage: which datasets a task reads and writes, and what its manifest says about them.

Airflow's OpenLineage provider sends the events (START, COMPLETE, FAIL) where it has a transport; the operators of
attrgan add the datasets through this mixin. At the start they come from the arguments of the verb, at the end also from
the manifests, which know rows, versions, null counts and what a gate said. See `docs/adr/0016-observability.md`.

Choices:
- A dataset has one name for ever: of `<runs>/<dag>/<dt>/<run>/<task>/…` date, run and shard are left out and become its
  version, as `dt` does of the landing, and Delta's own version of the tables. A name per night would be a new node
  in the lineage graph every night.
- Nothing of OpenLineage is imported unless an event is made: without a transport the provider never asks.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrgan.config import settings

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

FILES = {
    "validate": {"valid.parquet": "valid", "quarantine.parquet": "quarantined"},
    "complete": {"completed.parquet": "rows", "completions.parquet": "cells"},
}
"""Verb → the tables that it writes into its folder, each with the count of its manifest that says how many rows."""

TABLES = {"products": "rows", "quarantine": "quarantined", "completions": "completions", "completed": "rows"}
"""What `publish` writes, with the count of its manifest that says how many rows."""

READ = ("--model", "--champion", "--features", "--drift", "--validation", "--evaluation", "--comparison")
"""Options whose value is read, besides the arguments without an option."""

FLAGS = ("--resume", "--json", "--refit", "--no-refit")
"""Options without a value."""

GATES = ("validate", "audit", "compare")
"""Verbs that judge what they read."""

ABOUT = ("verb", "run_id", "model_version", "shard", "dt", "config_hash", "status", "refused", "seconds", "counts")
"""What of a manifest goes into the run facet `attrgan`."""


class LineageMixin:
    """Gives an operator with `arguments` of an `attrgan` verb what OpenLineage asks operators for."""

    arguments: Any

    def get_openlineage_facets_on_start(self) -> "OperatorLineage":
        """The datasets that the arguments name."""
        from attrgan_tasks import flat

        return lineage(flat(self.arguments), done=False)

    def get_openlineage_facets_on_complete(self, ti: Any) -> "OperatorLineage":  # noqa: ARG002
        """The datasets, with what the manifests say; of a failed task, with whatever there is."""
        from attrgan_tasks import flat

        return lineage(flat(self.arguments), done=True)


@dataclass
class Place:
    """A dataset: `place` is a path or URL; `rows`, `version` and `nulls` (column → null cells) where they are known."""

    place: str
    rows: int | None = None
    version: str | None = None
    nulls: dict[str, int] = field(default_factory=dict)

    def named(self) -> tuple[str, str, str | None]:
        """Namespace, name and version."""
        from attrgan.tracking import masked

        if self.place.startswith("models:/"):
            name, _, version = self.place.removeprefix("models:/").replace("@", "/").partition("/")
            return "mlflow", name, self.version or version or None
        place, version = _without_run(self.place)
        scheme, found, rest = place.partition("://")
        if not found or scheme == "file":
            return "file", str(Path(rest if found else place).absolute()), self.version or version
        bucket, _, key = rest.partition("/")
        return masked(f"{scheme}://{bucket}"), key, self.version or version


def lineage(arguments: list[str], *, done: bool) -> "OperatorLineage":
    """What a verb with these arguments reads and writes."""
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.generated.base import RunFacet

    verb, given, options = parsed(arguments)
    manifest = (_manifest(options["-o"]) if done and "-o" in options else None) or {}
    about = {name: manifest[name] for name in ABOUT if manifest.get(name) is not None}
    return OperatorLineage(
        inputs=[_input(place, verb, manifest) for place in _read(verb, given, options, manifest)],
        outputs=[_output(place, done) for place in _written(verb, options, manifest)],
        run_facets={"attrgan": RunFacet().with_additional_properties(**about)} if about else {},
    )


def parsed(arguments: list[str]) -> tuple[str, list[str], dict[str, str]]:
    """The verb, its arguments without an option, and its options with their values."""
    given: list[str] = []
    options: dict[str, str] = {}
    rest = iter(arguments[1:])
    for part in rest:
        if part.startswith("-") and part not in FLAGS:
            options[part] = next(rest, "")
        elif part not in FLAGS:
            given.append(part)
    return arguments[0], given, options


def _read(verb: str, given: list[str], options: dict[str, str], manifest: dict[str, Any]) -> Iterator[Place]:
    if verb in ("landing", "validate"):
        yield Place(given[0], manifest.get("counts", {}).get("rows_in"), options.get("--dt") or options.get("--until"))
        given = []
        if warehouse := options.get("--warehouse"):
            yield Place(f"{warehouse}/products")
    for place in [*given, *(options[name] for name in READ if name in options)]:
        yield from _known(place)
    if warehouse := options.get("--reviews"):
        yield Place(f"{warehouse}/reviews")


def _known(place: str) -> Iterator[Place]:
    """A place that another verb wrote: the tables in it where its manifest says so, else itself."""
    folder, _, name = place.rpartition("/")
    if place.startswith("models:/"):
        yield Place(place)
    elif name.endswith(".parquet"):
        found = _manifest(folder) or {}
        yield Place(place, found.get("counts", {}).get(FILES.get(found.get("verb", ""), {}).get(name)))
    elif (found := _manifest(place)) and found["verb"] in FILES:
        yield from (Place(f"{place}/{f}", found.get("counts", {}).get(n)) for f, n in FILES[found["verb"]].items())
    else:
        yield Place(place)


def _written(verb: str, options: dict[str, str], manifest: dict[str, Any]) -> Iterator[Place]:
    out, counts = options.get("-o"), manifest.get("counts", {})
    if verb == "publish":
        for name, count in TABLES.items():
            version = manifest.get("tables", {}).get(name)
            rows = counts.get(count) if version is not None else None
            yield Place(f"{options['--warehouse']}/{name}", rows, None if version is None else str(version))
    elif verb in ("register", "promote"):
        from attrgan.tracking import model_name

        yield Place(f"models:/{model_name(_entity())}", version=manifest.get("version") and str(manifest["version"]))
    elif verb in FILES and out:
        yield from (Place(f"{out}/{file}", counts.get(count)) for file, count in FILES[verb].items())
    elif out:
        yield Place(out, version=manifest.get("model_version") if verb == "train" else None)


def _entity() -> str:
    """What a row is, by the schema of the settings."""
    from attrgan.schema import Schema

    return Schema.load(settings().catalog_schema).entity


def _input(place: Place, verb: str, manifest: dict[str, Any]) -> Any:
    from openlineage.client import event_v2
    from openlineage.client.generated import data_quality_assertions_dataset as assertions
    from openlineage.client.generated import data_quality_metrics_input_dataset as metrics

    namespace, name, version = place.named()
    facets: dict[str, Any] = {}
    missing = manifest.get("counts", {}).get("attributes", {}) if verb == "complete" else {}
    if name.endswith("valid.parquet") and missing:
        place.rows, place.nulls = manifest["counts"].get("rows"), {n: a["missing_before"] for n, a in missing.items()}
    if place.rows is not None:
        columns = {column: metrics.ColumnMetrics(nullCount=n) for column, n in place.nulls.items()}
        facets["dataQualityMetrics"] = metrics.DataQualityMetricsInputDatasetFacet(columns, rowCount=place.rows)
    if verb in GATES and manifest and not namespace.startswith("mlflow"):
        refused = manifest.get("refused")
        said = assertions.Assertion(f"attrgan {verb}", not refused, description=refused)
        facets["dataQualityAssertions"] = assertions.DataQualityAssertionsDatasetFacet([said])
    return event_v2.InputDataset(namespace, name, facets=_versioned(version), inputFacets=facets)


def _output(place: Place, done: bool) -> Any:
    from openlineage.client import event_v2
    from openlineage.client.generated import output_statistics_output_dataset as statistics

    namespace, name, version = place.named()
    facets, of_output = _versioned(version), {}
    if place.rows is not None:
        of_output["outputStatistics"] = statistics.OutputStatisticsOutputDatasetFacet(rowCount=place.rows)
    if done and place.rows is not None and (columns := _columns(place.place)):
        facets["schema"] = columns
    return event_v2.OutputDataset(namespace, name, facets=facets, outputFacets=of_output)


def _versioned(version: str | None) -> dict[str, Any]:
    from openlineage.client.generated.dataset_version_dataset import DatasetVersionDatasetFacet

    return {"version": DatasetVersionDatasetFacet(version)} if version else {}


def _columns(place: str) -> Any:
    """The columns of a Parquet file or a Delta table, as they really are."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from openlineage.client.generated.schema_dataset import SchemaDatasetFacet, SchemaDatasetFacetFields

    from attrgan.lake import storage, tables

    if place.endswith(".parquet"):
        fs, path = storage.filesystem(place)
        with fs.open(path, "rb") as file:
            found = pq.read_schema(file)
    else:
        found = pa.schema(tables.existing(*place.rsplit("/", 1)).schema().to_arrow())
    return SchemaDatasetFacet([SchemaDatasetFacetFields(name=f.name, type=str(f.type)) for f in found])


def _manifest(folder: str) -> dict[str, Any] | None:
    from attrgan.lake import manifest

    return manifest.read(folder)


def _without_run(place: str) -> tuple[str, str | None]:
    """A place below `runs` without date, run and shard, and these as its version; any other place as it is."""
    root = settings().runs.rstrip("/")
    parts = place.removeprefix(f"{root}/").split("/")
    if not place.startswith(f"{root}/") or len(parts) < 4:
        return place, None
    dag, dt, run, *rest = parts
    return "/".join([root, dag, *(p for p in rest if not re.fullmatch(r"\d+-of-\d+", p))]), f"{dt}/{run}"
