"""Which model is in production: candidate against champion, and the aliases of both in MLflow's registry."""

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrgan import reading
from attrgan.config import settings
from attrgan.errors import ModelError
from attrgan.lake import manifest, storage
from attrgan.lake.manifest import Manifest, Result, step
from attrgan.schema import Schema

if TYPE_CHECKING:
    import pandas as pd

    from attrgan.model import CompletionModel


def compare(
    candidate: str, catalog: str, out: str, *, champion: str | None = None, run_id: str | None = None
) -> Manifest:
    """Both models on the same held-out rows; raises GateError when the candidate may not become champion."""
    from attrgan import registry

    if champion and champion.startswith("models:/") and not registry.has_alias(champion):
        champion = None
    folder, ours = reading.load_model(candidate)
    other = reading.load_model(champion) if champion else None
    if other and other[1].schema.id != ours.schema.id:
        raise ModelError(
            f"the candidate knows items by {ours.schema.id!r} and the champion by {other[1].schema.id!r}: which rows "
            "the champion has learned from cannot be told; a champion of another schema gives way by "
            "`attrgan promote --version N`"
        )

    def work(stage: Path) -> Result:
        from attrgan.evaluation import hiding, metrics
        from attrgan.evaluation.compare import compare as judge

        frame, left_out = reading.unused_rows(catalog, ours, [folder] + ([other[0]] if other else []))
        hidden = reading.masks(frame, ours.schema, "mcar", None)
        measured = []
        for one in [ours] + ([other[1]] if other else []):
            rows = frame if one is ours else _same_rows(catalog, frame[ours.schema.id], one)
            masks = [hiding.for_schema(mask, ours.schema, one.schema) for mask in hidden]
            cells = metrics.answer_hidden(one, rows, reading.features_of(rows, one.schema, None), masks)
            summary = metrics.summarise(cells, one)
            for name, answered in cells.items():
                summary["attributes"][name]["right"] = answered["right"].tolist()
            measured.append(summary)
        verdict = judge(measured[0], measured[1] if other else None, settings().promotion)
        verdict |= {"rows": {"compared": len(frame), "left_out": len(left_out)}}
        verdict |= {"candidate_uri": candidate, "champion_uri": champion}
        storage.write_json(stage / "comparison.json", verdict)
        details = {"gate": verdict["gate"], "model_version": ours.version}
        return Result(verdict["rows"], details, refused=verdict["gate"]["refused"])

    arguments = {"candidate": ours.version, "champion": other[1].version if other else None}
    arguments |= settings().promotion.model_dump()
    return step("compare", out, work, inputs={"catalog": catalog}, arguments=arguments, run_id=run_id)


def _same_rows(catalog: str, ids: "pd.Series", model: "CompletionModel") -> "pd.DataFrame":
    """The items as a model of another schema reads them, which must fit the catalog too."""
    _, frame = reading.read_frame(catalog, model.schema, keep_deleted=False, model=model)
    return frame.set_index(model.schema.id, drop=False).loc[ids].reset_index(drop=True)


def register(
    model: str, *, evaluation: str | None = None, out: str | None = None, run_id: str | None = None
) -> dict[str, Any]:
    """Registers a model folder in MLflow as `candidate`; with `out`, as a step with a manifest."""
    from attrgan import registry

    run_id = run_id or str(uuid.uuid4())
    folder = registry.model_folder(registry.resolve(model))
    trained = manifest.read(folder) or {}
    data = {"catalog": trained.get("inputs", {}).get("catalog", {}).get("place", "unknown")}
    data["hash"] = trained.get("inputs", {}).get("catalog", {}).get("hash", "unknown")

    def work(_: Path) -> Result:
        done = registry.register(folder, evaluation=evaluation, run_id=run_id, data=data)
        return Result(details=done)

    if out is None:
        return work(folder).details
    inputs = {"model": model} | ({"evaluation": evaluation} if evaluation else {})
    return step("register", out, work, inputs=inputs, run_id=run_id)


def promote(*, version: int | None = None, comparison: str | None = None, entity: str | None = None) -> dict[str, Any]:
    """Moves the alias `champion` to a version (default: the candidate)."""
    from attrgan import registry

    return registry.promote(_entity(entity), version, comparison)


def rollback(*, entity: str | None = None) -> dict[str, Any]:
    """Moves the alias `champion` back to the champion before."""
    from attrgan import registry

    return registry.rollback(_entity(entity))


def _entity(entity: str | None) -> str:
    return entity or Schema.load(settings().catalog_schema).entity
