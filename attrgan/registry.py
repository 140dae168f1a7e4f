"""The model registry: registers models as versions of `attrgan-<entity>`, moves the aliases, finds models again.

Choices: aliases and not stages: `candidate` is the version registered last, `champion` the one in production. The tag
`attrgan.champions` of the registered model lists the champions in order, the present one last; `promote` writes it
before it moves the alias and `rollback` after, so that a process killed between the two leaves a list that is cut back
to the alias. Models are downloaded into `$XDG_CACHE_HOME/attrgan` (else `~/.cache/attrgan`), which may be emptied.
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrgan import tracking
from attrgan.config import settings
from attrgan.errors import GateError, InputError, ModelError
from attrgan.lake import manifest, storage
from attrgan.schema import Schema

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

MODEL_FILES = ("model.safetensors", "vocabulary.json", "config.json", "schema.yaml", "calibration.json", "metrics.json")
"""What `attrgan train` leaves; without the metrics a model can be loaded (`model/folder.py`), but not registered."""
_URI = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[\w.-]+)|/(?P<version>\d+))")
_CHAMPIONS = "attrgan.champions"


def model_folder(folder: Path) -> Path:
    """The folder itself, if it holds a trained model; raises ModelError naming the files that are missing."""
    if not folder.is_dir():
        raise ModelError(f"no model folder at {folder}: expected what `attrgan train … -o {folder}` writes")
    if missing := [name for name in MODEL_FILES if not (folder / name).is_file()]:
        raise ModelError(
            f"{folder} is not a model folder ({', '.join(missing)} missing): expected what `attrgan train` writes"
        )
    return folder


# --- registering ---------------------------------------------------------------------------------------------------


def register(model: Path, *, evaluation: str | Path | None, run_id: str, data: dict[str, Any]) -> dict[str, Any]:
    """Logs a trained model to MLflow and makes it the `candidate` version of `attrgan-<entity>`.

    A model that is registered already (same `model_version`) keeps its version and becomes the candidate.

    Args:
        model: a model folder on this machine.
        evaluation: the folder (path or URL) that `attrgan evaluate` wrote for this model, or None.
        run_id: the run this belongs to, kept as a tag.
        data: what the model was trained on (place, hash, …), kept as tags.

    Returns:
        name, version (string), alias, mlflow_run_id, model_version, url (of the MLflow run; None without `ui_url`).

    Raises:
        ModelError: not a model folder, or MLflow cannot serve it. InputError: the evaluation is of another model.
        SettingsError: the MLflow store cannot be used.
    """
    from attrgan.tracking_run import log_run

    config = storage.read_json(model_folder(model) / "config.json")
    schema = Schema.load(model / "schema.yaml")
    name, model_version = tracking.model_name(schema.entity), str(config["model_version"])
    _check_evaluation(evaluation, model_version)
    tags = {"attrgan.model_version": model_version, "attrgan.schema_hash": schema.hash, "attrgan.run_id": run_id}
    with tracking.store() as client:
        version = _registered(client, name, model_version)
        if version is None:
            experiment = tracking.experiment(client, name)
            tags |= {f"attrgan.data.{key}": tracking.masked(str(value)) for key, value in data.items()}
            with storage.on_disk(evaluation) if evaluation else nullcontext() as scored:
                mlflow_run, model_id = log_run(client, experiment, model, scored, schema, tags)
            if tracking.found(client.get_registered_model, name) is None:
                client.create_registered_model(name)
            source = f"models:/{model_id}"
            version = client.create_model_version(name, source, run_id=mlflow_run, tags=tags, model_id=model_id)
        client.set_registered_model_alias(name, "candidate", str(version.version))
        return _described(client, version, "candidate")


def _check_evaluation(evaluation: str | Path | None, model_version: str) -> None:
    if evaluation is None:
        return
    file = storage.join(evaluation, "metrics.json")
    if not storage.exists(file):
        raise InputError(f"no metrics.json in {evaluation}: expected the folder that `attrgan evaluate` wrote")
    evaluated = storage.read_json(file).get("model_version")
    if evaluated != model_version:
        raise InputError(
            f"the evaluation in {evaluation} is of model {evaluated}, not of {model_version}: evaluate this model first"
        )


def _registered(client: "MlflowClient", name: str, model_version: str) -> "ModelVersion | None":
    """The newest version that holds this very model, or None."""
    wanted = f"name = '{name}' and tags.`attrgan.model_version` = '{model_version}'"
    versions: list[ModelVersion] = list(client.search_model_versions(wanted))
    return max(versions, key=lambda v: int(v.version), default=None)


def _described(client: "MlflowClient", version: "ModelVersion", alias: str) -> dict[str, Any]:
    ui, url = settings().ui_url, None
    if ui and version.run_id and (run := tracking.found(client.get_run, version.run_id)):
        url = f"{ui.rstrip('/')}/#/experiments/{run.info.experiment_id}/runs/{version.run_id}"
    return {
        "name": version.name,
        "version": str(version.version),
        "alias": alias,
        "mlflow_run_id": version.run_id,
        "model_version": version.tags.get("attrgan.model_version"),
        "url": url,
    }


# --- finding -------------------------------------------------------------------------------------------------------


def has_alias(uri: str) -> bool:
    """Whether `models:/name@alias` points at a version. A folder or a numbered version has no alias to lack: True."""
    match = _URI.fullmatch(uri)
    if not match or not match["alias"]:
        return True
    with tracking.store() as client:
        registered = tracking.found(client.get_registered_model, match["name"])
    return registered is not None and match["alias"] in registered.aliases


def pinned(model: str) -> str:
    """`models:/name@alias` as the version it points at now, `models:/name/3`; any other place as it is.

    Raises:
        ModelError: there is no such model.
    """
    if not model.startswith("models:"):
        return model
    with tracking.store() as client:
        version = _version(client, model)
    return f"models:/{version.name}/{version.version}"


def resolve(model: str) -> Path:
    """The local folder of a model: a folder, its URL, `models:/name@alias` or `models:/name/3`.

    What is not on this machine's disk is downloaded into the cache, once per version, whole or not at all.

    Raises:
        ModelError: there is no such model, or what is there is not one.
    """
    if not model.startswith("models:"):
        if folder := storage.local_path(model):
            return model_folder(folder)
        key = hashlib.sha256(f"{model} {manifest.content_hash(model)}".encode()).hexdigest()[:16]
        return _cached(key, lambda stage: _fetch_folder(model, stage))
    with tracking.store() as client:
        version = _version(client, model)
        origin = f"{settings().tracking_uri} {version.source} {version.creation_timestamp}"
        key = f"{version.name}-{version.version}-{hashlib.sha256(origin.encode()).hexdigest()[:12]}"
        folder = _cached(key, lambda stage: _fetch_version(version, stage))
    expected = version.tags.get("attrgan.model_version")
    if expected not in (None, str(storage.read_json(folder / "config.json").get("model_version"))):
        raise ModelError(f"{model} does not hold the model {expected} that was registered: register it again")
    return folder


def _version(client: "MlflowClient", uri: str) -> "ModelVersion":
    match = _URI.fullmatch(uri)
    if not match:
        raise ModelError(f"{uri} is not a model URI: expected models:/attrgan-product@champion or …/3 (a version)")
    name, alias = match["name"], match["alias"]
    registered = tracking.found(client.get_registered_model, name)
    if registered is None:
        raise ModelError(f"no registered model {name}: register one (`attrgan register MODEL`) or correct the name")
    number = registered.aliases.get(alias) if alias else match["version"]
    if number is None:
        todo = "`attrgan promote` sets it" if alias == "champion" else "`attrgan register MODEL` sets `candidate`"
        raise ModelError(f"no {alias} yet: no version of {name} has the alias {alias!r}; {todo}")
    version: ModelVersion | None = tracking.found(client.get_model_version, name, str(number))
    if version is None:
        raise ModelError(f"{name} has no version {number}: it was never registered, or it was deleted")
    return version


def _fetch_version(version: "ModelVersion", stage: Path) -> None:
    import mlflow

    uri = f"models:/{version.name}/{version.version}"
    try:
        mlflow.artifacts.download_artifacts(artifact_uri=f"{uri}/artifacts", dst_path=str(stage))
    except (mlflow.exceptions.MlflowException, OSError) as error:
        reason = tracking.in_one_line(error)
        raise ModelError(f"{uri} holds no model of attrgan ({reason}): register one with `attrgan register`") from None


def _fetch_folder(place: str, stage: Path) -> None:
    if storage.files(place) in ([], [storage.filesystem(place)[1]]):
        raise ModelError(f"no model folder at {place}: expected what `attrgan train … -o {place}` writes")
    storage.fetch(place, stage / "model")


def _cached(key: str, fetch: Callable[[Path], None]) -> Path:
    """The model folder in the cache under this key; `fetch` fills an empty folder with it where it is not there yet."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "attrgan" / "models"
    folder = cache / key
    if not folder.is_dir():
        try:
            cache.mkdir(parents=True, exist_ok=True)
            stage = Path(tempfile.mkdtemp(prefix=".part-", dir=cache))
        except OSError as error:
            raise ModelError(f"cannot write to {cache} ({error}): set XDG_CACHE_HOME to a folder that can") from None
        try:
            fetch(stage)
            file = next(stage.rglob(MODEL_FILES[0]), stage / "model" / MODEL_FILES[0])
            model_folder(file.parent)
            try:
                file.parent.replace(folder)
            except OSError:  # another process was first
                model_folder(folder)
        finally:
            shutil.rmtree(stage, ignore_errors=True)
    return model_folder(folder)


# --- promoting -----------------------------------------------------------------------------------------------------


def promote(entity: str, version: str | int | None = None, comparison: str | Path | None = None) -> dict[str, Any]:
    """Moves the alias `champion` to a version: the candidate, unless one is named. A second call changes nothing.

    Args:
        entity: what the schema calls a row.
        version: number of the version; None means the candidate.
        comparison: what `attrgan compare` wrote (folder, URL); it is checked again before the alias moves.

    Returns:
        as `register`, with `previous` (the champion before this call, or None) and `changed`.

    Raises:
        ModelError: no such version or no candidate. GateError: the comparison said no, or is not about these models.
    """
    name = tracking.model_name(entity)
    with tracking.store() as client:
        chosen = _version(client, f"models:/{name}/{int(version)}" if version else f"models:/{name}@candidate")
        number = str(chosen.version)
        champions = _champions(client, name)
        previous = champions[-1] if champions else None
        if previous == number:
            return _described(client, chosen, "champion") | {"previous": number, "changed": False}
        if comparison:
            _recheck(client, comparison, chosen, previous)
        _remember(client, name, [*champions, number])
        client.set_model_version_tag(name, number, "attrgan.champion_from", _now())
        client.set_model_version_tag(name, number, "attrgan.previous_champion", previous or "")
        client.set_registered_model_alias(name, "champion", number)
        return _described(client, chosen, "champion") | {"previous": previous, "changed": True}


def _recheck(client: "MlflowClient", comparison: str | Path, chosen: "ModelVersion", champion: str | None) -> None:
    """Raises GateError unless the comparison passed and was made between this version and the present champion."""
    file = storage.join(comparison, "comparison.json")
    if not storage.exists(file):
        raise InputError(f"no comparison.json at {comparison}: expected what `attrgan compare … -o {comparison}` wrote")
    found = storage.read_json(file)
    if not found["gate"]["passed"]:
        raise GateError(f"not promoted: the comparison said no ({'; '.join(found['gate']['reasons'])})")
    candidate = chosen.tags.get("attrgan.model_version")
    if found["candidate"] != candidate:
        raise GateError(
            f"not promoted: the comparison is of model {found['candidate']}, but version {chosen.version} is model "
            f"{candidate}: compare this version first"
        )
    now = None
    if champion:
        now = client.get_model_version(chosen.name, champion).tags.get("attrgan.model_version")
    if found["champion"] != now:
        raise GateError(
            f"not promoted: the comparison was with {found['champion'] or 'no champion'}, but the champion is now "
            f"{now or 'none'}: compare again"
        )


def rollback(entity: str) -> dict[str, Any]:
    """Moves the alias `champion` back to the champion before; called again, it goes further back.

    Returns:
        as `register`, with `previous` (the version that is champion no longer) and `changed`.

    Raises:
        InputError: there is no champion, or none before it that still exists.
    """
    name = tracking.model_name(entity)
    with tracking.store() as client:
        champions = _champions(client, name)
        if not champions:
            raise InputError(f"nothing to roll back: no version of {name} is champion yet; `attrgan promote` makes one")
        left = champions[:-1]
        while left and (version := tracking.found(client.get_model_version, name, left[-1])) is None:
            left.pop()
        if not left:
            raise InputError(
                f"nothing to roll back to: no champion of {name} before version {champions[-1]} still exists; "
                "`attrgan promote --version N` makes another version champion"
            )
        client.set_registered_model_alias(name, "champion", left[-1])
        client.set_model_version_tag(name, left[-1], "attrgan.champion_from", _now())
        _remember(client, name, left)
        return _described(client, version, "champion") | {"previous": champions[-1], "changed": True}


def _champions(client: "MlflowClient", name: str) -> list[str]:
    """The versions that were champion, the present one last, brought in line with where the alias points."""
    registered = tracking.found(client.get_registered_model, name)
    if registered is None or "champion" not in registered.aliases:
        return []
    history: list[str] = json.loads(registered.tags.get(_CHAMPIONS, "[]"))
    champion = str(registered.aliases["champion"])
    if champion not in history:  # moved by hand in MLflow
        return [*history, champion]
    last = len(history) - history[::-1].index(champion)
    return history[:last]


def _remember(client: "MlflowClient", name: str, champions: list[str]) -> None:
    client.set_registered_model_tag(name, _CHAMPIONS, json.dumps(champions[-100:]))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
