"""What arrives: the schema of a catalog, landing files, valid and quarantined rows, shards, the feature cache."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from attrgan import reading
from attrgan.config import settings
from attrgan.errors import GateError, InputError
from attrgan.lake import landing as landing_places
from attrgan.lake import manifest, storage
from attrgan.lake.manifest import Manifest, Result, step
from attrgan.schema import Schema

if TYPE_CHECKING:
    from attrgan.model import CompletionModel


def infer_schema(catalog: str, out: str) -> dict[str, str]:
    """Guesses the schema of a catalog, writes it as YAML with a comment for each guess; returns the comments."""
    from attrgan.lake.catalog import read_catalog
    from attrgan.quality import inference

    schema, comments = inference.infer_schema(read_catalog(catalog))
    storage.write_text(out, inference.to_yaml(schema, comments))
    return comments


def landing(place: str | None, dt: str) -> list[str]:
    """The landing files of a date; raises GateError where there are none."""
    place = place or settings().landing
    files = landing_places.files_of(place, dt)
    if not files:
        raise GateError(f"no landing files for dt={dt} in {place}: nothing to do")
    return files


def validate(
    catalog: str,
    schema: str,
    out: str,
    *,
    dt: str | None = None,
    until: str | None = None,
    warehouse: str | None = None,
    run_id: str | None = None,
) -> Manifest:
    """Splits a catalog into valid and quarantined rows; raises GateError when the quality gate says no.

    Args:
        catalog: a catalog, or with `dt` or `until` a landing place.
        dt: only this partition; until: the newest version of each item up to this date.
        warehouse: where the null rates of the past are read from.
    """
    from attrgan.lake import tables
    from attrgan.quality.received import receive
    from attrgan.quality.validation import validate as judge

    parsed, quality = Schema.load(schema), settings().quality
    past = tables.past_null_rates(warehouse, dt or until or "9999-12-31", parsed.id) if warehouse else None

    def work(stage: Path) -> Result:
        result = judge(receive(catalog, parsed, dt, until), parsed, stage, quality, past)
        result.details |= {"schema_hash": parsed.hash, "dt": dt or until, "personal": parsed.personal}
        return result

    read = storage.join(catalog, f"dt={dt}") if dt else catalog
    arguments = {"dt": dt, "until": until, "quality": quality.model_dump(), "past": past}
    return step("validate", out, work, inputs={"catalog": read, "schema": schema}, arguments=arguments, run_id=run_id)


def shards(validated: str) -> list[str]:
    """How many tasks complete the valid rows of a `validate` output: `i/n` for each."""
    found = manifest.read(validated)
    if not found or found["verb"] != "validate":
        raise InputError(f"{validated} holds no output of `attrgan validate`: expected its folder with manifest.json")
    limits = settings().completion
    n = min(max(-(-found["counts"]["valid"] // limits.shard_rows), 1), limits.max_shards)
    return [f"{i}/{n}" for i in range(n)]


def features(
    catalog: str,
    schema: str,
    out: str,
    *,
    vectors: str | None = None,
    model: str | None = None,
    run_id: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Manifest:
    """Encodes new and changed items into the feature cache `out`.

    Args:
        vectors: also write one vector per item to this Parquet file (`attrgan.completion.vectors`);
        model: the model, folder or URI, whose vectors they are.
        progress: gets (vectors done, items).
    """
    from attrgan.features import cache
    from attrgan.lake.cells import to_frame

    if (vectors is None) != (model is None):
        given, lacking = ("--model", "--vectors FILE.parquet") if model else ("--vectors", "--model MODEL")
        raise InputError(f"{given} was given without {lacking}: vectors are a model's; give both or neither")
    parsed = Schema.load(schema)
    loaded = reading.load_model(model)[1] if model else None

    def work(_: Path) -> Result:
        chunks = reading.open_rows(catalog, parsed).chunks()
        updated = cache.update_all((to_frame(chunk, parsed) for chunk in chunks), parsed, out)
        counts = {"items": updated.items, "encoded": updated.encoded, "reused": updated.reused}
        details = {"encoder_version": updated.encoder_version}
        if loaded and vectors:
            counts["dimensions"] = _write_vectors(loaded, catalog, vectors, parsed.id, out, progress)
            details |= {"vectors": vectors, "model_version": loaded.version}
        return Result(counts, details)

    arguments = {"vectors": vectors, "model_version": loaded.version} if loaded else None
    inputs = {"catalog": catalog, "schema": schema}
    return step("features", out, work, inputs=inputs, arguments=arguments, run_id=run_id)


def _write_vectors(
    model: "CompletionModel", catalog: str, place: str, id_column: str, cache_place: str,
    progress: Callable[[int, int], None] | None,
) -> int:  # fmt: skip
    """Writes the items' vectors to a place, whole or not at all; returns their length."""
    from attrgan.completion.vectors import write_vectors

    rows = reading.open_rows(catalog, model.schema, model)
    folder, name = place.rpartition("/")[::2]
    with storage.staged(folder or ".") as stage:
        return write_vectors(model, rows, stage / name, id_column=id_column, cache_place=cache_place, progress=progress)
