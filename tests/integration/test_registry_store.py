"""The registry on a real MLflow store (SQLite): register, resolve, promote, roll back; and what goes wrong there."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from mlflow import MlflowClient

from attrgan import config, registry, tracking
from attrgan.errors import GateError, InputError, ModelError, SettingsError
from attrgan.evaluation.compare import compare
from attrgan.schema import Schema

Variant = Callable[[str], Path]


@pytest.fixture(autouse=True)
def fresh_settings() -> Iterator[None]:
    """Settings are read once per process: each test reads its own."""
    config.settings.cache_clear()
    yield
    config.settings.cache_clear()


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without anything in it: making one takes seconds, copying it none."""
    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{file}", f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def client(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowClient]:
    """The client of a store of this test's own, which the settings name."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    monkeypatch.setenv("ATTRGAN__TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("ATTRGAN__ARTIFACT_ROOT", str(tmp_path / "artifacts"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with tracking.store() as found:
        yield found


@pytest.fixture
def variant(tiny_model: Path, tmp_path: Path) -> Variant:
    """Makes a copy of the trained model that has another model version."""

    def make(model_version: str) -> Path:
        folder = tmp_path / "models" / model_version
        shutil.copytree(tiny_model, folder)
        for name in ("config.json", "metrics.json"):
            content = json.loads((folder / name).read_text()) | {"model_version": model_version}
            (folder / name).write_text(json.dumps(content))
        return folder

    return make


@pytest.fixture
def entity(tiny_model: Path) -> str:
    return Schema.load(tiny_model / "schema.yaml").entity


def register(model: Path, **more: Any) -> dict[str, Any]:
    return registry.register(model, **({"evaluation": None, "run_id": "run-1", "data": {}} | more))


def champion(client: MlflowClient, name: str) -> str:
    return str(client.get_registered_model(name).aliases["champion"])


# --- registering ---------------------------------------------------------------------------------------------------


def test_a_registered_model_is_the_candidate_with_all_that_is_known_about_it(
    client: MlflowClient, variant: Variant, entity: str, tmp_path: Path
) -> None:
    evaluation = tmp_path / "evaluation"
    evaluation.mkdir()
    measured = {"model_version": "v1", "mean_accuracy": 0.25, "attributes": {}}
    (evaluation / "metrics.json").write_text(json.dumps(measured))
    model = variant("v1")
    (model / "plots").mkdir(exist_ok=True)
    (model / "plots" / "loss.png").write_bytes(b"a picture")
    found = register(model, evaluation=evaluation, data={"place": "s3://me:secret@lake/x", "hash": "abc"})

    name = f"attrgan-{entity}"
    assert {k: found[k] for k in ("name", "version", "alias", "model_version")} == {
        "name": name, "version": "1", "alias": "candidate", "model_version": "v1",
    }  # fmt: skip
    version = client.get_model_version_by_alias(name, "candidate")
    schema = Schema.load(model / "schema.yaml")
    assert version.tags == {
        "attrgan.model_version": "v1", "attrgan.schema_hash": schema.hash, "attrgan.run_id": "run-1",
        "attrgan.data.place": "s3://***@lake/x", "attrgan.data.hash": "abc",
    }  # fmt: skip
    run = client.get_run(found["mlflow_run_id"])
    assert run.data.params["model_version"] == "v1"
    assert run.data.metrics["evaluation/mean_accuracy"] == 0.25
    assert any(metric.startswith("accuracy/") for metric in run.data.metrics)
    curve = next(metric for metric in run.data.metrics if metric.startswith("training/"))
    steps = [point.step for point in client.get_metric_history(run.info.run_id, curve)]
    assert len(steps) > 1
    assert steps == sorted(steps)
    assert {a.path for a in client.list_artifacts(run.info.run_id)} >= {"plots", "evaluation"}
    assert run.info.status == "FINISHED"


def test_registering_the_same_model_again_keeps_its_version_and_makes_it_the_candidate(
    client: MlflowClient, variant: Variant
) -> None:
    first, second = variant("v1"), variant("v2")
    assert [register(first)["version"], register(second)["version"]] == ["1", "2"]
    again = register(first, run_id="run-2")
    assert again["version"] == "1"
    assert str(client.get_model_version_by_alias(again["name"], "candidate").version) == "1"
    assert len(client.search_model_versions(f"name = '{again['name']}'")) == 2


def test_an_evaluation_of_another_model_is_refused(client: MlflowClient, variant: Variant, tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text('{"model_version": "other", "attributes": {}}')
    with pytest.raises(InputError, match="is of model other, not of v1"):
        register(variant("v1"), evaluation=tmp_path)
    with pytest.raises(InputError, match=r"no metrics.json in .*nowhere"):
        register(variant("v3"), evaluation=tmp_path / "nowhere")


def test_a_model_that_cannot_complete_is_not_registered(client: MlflowClient, variant: Variant, entity: str) -> None:
    folder = variant("v1")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ModelError, match="cannot complete its own example"):
        register(folder)
    assert not registry.has_alias(f"models:/attrgan-{entity}@candidate")


# --- serving -------------------------------------------------------------------------------------------------------


def test_the_champion_completes_rows_in_a_fresh_process_without_a_word(
    client: MlflowClient, variant: Variant, entity: str, tmp_path: Path
) -> None:
    schema = Schema.load(variant("v1") / "schema.yaml")
    rows: dict[str, list[Any]] = {schema.id: [1, 2], "not_in_the_schema": ["x", "y"]}
    rows |= {column: ["a text", None] for column in schema.text}
    numeric = {name for name, a in schema.attributes.items() if a.kind == "numeric"}
    rows |= {name: [3, 4] for name in numeric}
    rows |= {name: [None, None] for name in list(set(schema.attributes) - numeric)[:1]}
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    register_and_promote = (
        "import pathlib, sys; from attrgan import registry\n"
        "registry.register(pathlib.Path(sys.argv[1]), evaluation=None, run_id='r', data={})\n"
        f"registry.promote({entity!r})\n"
    )
    complete = (
        "import json, pathlib, sys, mlflow, pandas as pd; from attrgan import config\n"
        "mlflow.set_tracking_uri(config.settings().tracking_uri)\n"
        f"model = mlflow.pyfunc.load_model('models:/attrgan-{entity}@champion')\n"
        "print(model.predict(pd.DataFrame(json.loads(pathlib.Path(sys.argv[1]).read_text()))).to_json(orient='records'))"
    )
    quiet = run_python(register_and_promote, str(tmp_path / "models" / "v1"))
    assert (quiet.stdout, quiet.stderr) == ("", "")
    completions = json.loads(run_python(complete, str(tmp_path / "rows.json")).stdout)
    completed = {c["attribute"] for c in completions}
    assert completed
    assert completed <= set(schema.attributes) - numeric
    assert {c["model_version"] for c in completions} == {"v1"}
    assert {c[schema.id] for c in completions} == {1, 2}


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


# --- finding -------------------------------------------------------------------------------------------------------


def test_a_version_is_downloaded_whole_and_once(client: MlflowClient, variant: Variant, tmp_path: Path) -> None:
    folder = variant("v1")
    name = register(folder)["name"]
    found = registry.resolve(f"models:/{name}@candidate")
    assert {f.relative_to(found): f.read_bytes() for f in found.rglob("*") if f.is_file()} == {
        f.relative_to(folder): f.read_bytes() for f in folder.rglob("*") if f.is_file()
    }
    shutil.rmtree(tmp_path / "artifacts")
    assert registry.resolve(f"models:/{name}/1") == found


def test_a_download_that_fails_leaves_nothing(client: MlflowClient, variant: Variant, tmp_path: Path) -> None:
    name = register(variant("v1"))["name"]
    for file in (tmp_path / "artifacts").rglob("calibration.json"):
        file.unlink()
    with pytest.raises(ModelError, match=r"calibration.json missing"):
        registry.resolve(f"models:/{name}/1")
    shutil.rmtree(tmp_path / "artifacts")
    with pytest.raises(ModelError, match="holds no model of attrgan"):
        registry.resolve(f"models:/{name}/1")
    assert list((tmp_path / "cache" / "attrgan" / "models").iterdir()) == []


def test_a_folder_in_an_object_store_is_downloaded_and_fetched_again_when_it_changes(
    client: MlflowClient, variant: Variant
) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(variant("v1")) + "/", "/runs/model/", recursive=True)
    first = registry.resolve("memory://runs/model")
    assert json.loads((first / "config.json").read_text())["model_version"] == "v1"
    memory.pipe("/runs/model/config.json", b'{"model_version": "much newer"}')
    second = registry.resolve("memory://runs/model")
    assert json.loads((second / "config.json").read_text())["model_version"] == "much newer"
    with pytest.raises(ModelError, match="no model folder at memory://runs/nowhere"):
        registry.resolve("memory://runs/nowhere")


def test_an_alias_is_pinned_to_the_version_it_points_at(client: MlflowClient, variant: Variant, entity: str) -> None:
    name = register(variant("v1"))["name"]
    registry.promote(entity)
    assert registry.pinned(f"models:/{name}@champion") == f"models:/{name}/1"
    register(variant("v2"))
    registry.promote(entity)
    assert registry.pinned(f"models:/{name}@champion") == f"models:/{name}/2"
    assert registry.pinned(f"models:/{name}/1") == f"models:/{name}/1"
    assert registry.pinned("runs/model") == "runs/model"
    with pytest.raises(ModelError, match="has no version 3"):
        registry.pinned(f"models:/{name}/3")


def test_what_is_not_there_is_said_in_a_sentence(client: MlflowClient, variant: Variant, entity: str) -> None:
    name = f"attrgan-{entity}"
    with pytest.raises(ModelError, match="no registered model attrgan-"):
        registry.resolve(f"models:/{name}@champion")
    assert not registry.has_alias(f"models:/{name}@champion")
    register(variant("v1"))
    with pytest.raises(ModelError, match=r"no champion yet: .* `attrgan promote` sets it"):
        registry.resolve(f"models:/{name}@champion")
    assert not registry.has_alias(f"models:/{name}@champion")
    assert registry.has_alias(f"models:/{name}@candidate")
    assert registry.has_alias(f"models:/{name}/7")
    with pytest.raises(ModelError, match="has no version 7"):
        registry.resolve(f"models:/{name}/7")
    client.delete_model_version(name, "1")
    with pytest.raises(ModelError, match="no candidate yet"):
        registry.promote(entity)


def test_a_version_that_somebody_else_registered_is_no_model_of_ours(client: MlflowClient, tmp_path: Path) -> None:
    client.create_registered_model("attrgan-product")
    (tmp_path / "elsewhere").mkdir()
    client.create_model_version("attrgan-product", str(tmp_path / "elsewhere"))
    with pytest.raises(ModelError, match="models:/attrgan-product/1 holds no model of attrgan"):
        registry.resolve("models:/attrgan-product/1")


# --- promoting -----------------------------------------------------------------------------------------------------


def test_promotion_moves_the_alias_once_and_keeps_the_history(
    client: MlflowClient, variant: Variant, entity: str
) -> None:
    name = register(variant("v1"))["name"]
    first = registry.promote(entity)
    assert (first["version"], first["previous"], first["changed"]) == ("1", None, True)
    register(variant("v2"))
    assert champion(client, name) == "1"
    second = registry.promote(entity)
    assert (second["version"], second["previous"], second["changed"]) == ("2", "1", True)
    tags = client.get_model_version(name, "2").tags
    assert tags["attrgan.previous_champion"] == "1"
    again = registry.promote(entity)
    assert (again["version"], again["changed"]) == ("2", False)
    assert client.get_model_version(name, "2").tags == tags
    assert champion(client, name) == "2"


def test_rollback_goes_back_one_champion_at_a_time_until_none_is_left(
    client: MlflowClient, variant: Variant, entity: str
) -> None:
    with pytest.raises(InputError, match="nothing to roll back"):
        registry.rollback(entity)
    for model_version in ("v1", "v2", "v3"):
        name = register(variant(model_version))["name"]
        registry.promote(entity)
    registry.promote(entity, version=1)  # champions in order: 1, 2, 3, 1
    for version, previous in (("3", "1"), ("2", "3"), ("1", "2")):
        found = registry.rollback(entity)
        assert (found["version"], found["previous"]) == (version, previous)
        assert champion(client, name) == version
    with pytest.raises(InputError, match=r"no champion of .* before version 1"):
        registry.rollback(entity)
    assert champion(client, name) == "1"


def test_rollback_passes_over_a_version_that_was_deleted(client: MlflowClient, variant: Variant, entity: str) -> None:
    for model_version in ("v1", "v2", "v3"):
        name = register(variant(model_version))["name"]
        registry.promote(entity)
    client.delete_model_version(name, "2")
    assert registry.rollback(entity)["version"] == "1"


def test_a_promotion_or_rollback_that_was_killed_half_way_is_mended(
    client: MlflowClient, variant: Variant, entity: str
) -> None:
    for model_version in ("v1", "v2", "v3"):
        name = register(variant(model_version))["name"]
        if model_version != "v3":
            registry.promote(entity)
    client.set_registered_model_tag(name, "attrgan.champions", '["1", "2", "3"]')  # the alias is still at 2
    assert registry.promote(entity)["previous"] == "2"
    client.set_registered_model_alias(name, "champion", "2")  # a rollback that died before it shortened the list
    assert registry.rollback(entity)["version"] == "1"


def test_a_champion_chosen_by_hand_in_mlflow_takes_its_place_in_the_history(
    client: MlflowClient, variant: Variant, entity: str
) -> None:
    for model_version in ("v1", "v2"):
        name = register(variant(model_version))["name"]
        if model_version == "v1":
            registry.promote(entity)
    client.set_registered_model_alias(name, "champion", "2")
    assert registry.rollback(entity)["version"] == "1"


def comparison(folder: Path, candidate: str, against: str | None, accuracy: float = 0.8) -> Path:
    """What `attrgan compare` finds for a candidate of this accuracy and a champion of 0.8."""
    folder.mkdir(exist_ok=True)
    ours, theirs = (
        {"model_version": version, "attributes": {"brand": {"n": 1000, "accuracy": right, "baseline": 0.3}}}
        for version, right in ((candidate, accuracy), (against, 0.8))
    )
    content = compare(ours, theirs if against else None, config.Promotion())
    (folder / "comparison.json").write_text(json.dumps(content))
    return folder


def test_a_comparison_is_checked_again_before_the_alias_moves(
    client: MlflowClient, variant: Variant, entity: str, tmp_path: Path
) -> None:
    name = register(variant("v1"))["name"]
    with pytest.raises(InputError, match=r"no comparison.json"):
        registry.promote(entity, comparison=tmp_path / "nowhere")
    with pytest.raises(GateError, match=r"the comparison said no \(brand: accuracy 0.100 is worse"):
        registry.promote(entity, comparison=comparison(tmp_path / "no", "v1", None, 0.1))
    with pytest.raises(GateError, match="is of model v9, but version 1 is model v1"):
        registry.promote(entity, comparison=comparison(tmp_path / "other", "v9", None))
    with pytest.raises(GateError, match="was with v0, but the champion is now none"):
        registry.promote(entity, comparison=comparison(tmp_path / "gone", "v1", "v0"))
    assert not registry.has_alias(f"models:/{name}@champion")
    passed = comparison(tmp_path / "yes", "v1", None)
    assert registry.promote(entity, comparison=passed)["changed"]
    assert not registry.promote(entity, comparison=passed)["changed"]

    register(variant("v2"))
    with pytest.raises(GateError, match="was with no champion, but the champion is now v1"):
        registry.promote(entity, comparison=comparison(tmp_path / "early", "v2", None))
    assert registry.promote(entity, comparison=comparison(tmp_path / "now", "v2", "v1"))["version"] == "2"


# --- the store itself ----------------------------------------------------------------------------------------------


def test_a_store_that_cannot_be_reached_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("ATTRGAN__TRACKING_URI", "http://me:secret@127.0.0.1:9")
    with pytest.raises(SettingsError, match=r"http://\*\*\*@127.0.0.1:9 failed") as caught:
        registry.has_alias("models:/attrgan-product@champion")
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notes.txt").write_text("not a database " * 100)
    monkeypatch.setenv("ATTRGAN__TRACKING_URI", f"sqlite:///{tmp_path}/notes.txt")
    with pytest.raises(SettingsError, match="file is not a database"):
        registry.rollback("product")


def test_a_deleted_experiment_is_not_revived_in_silence(client: MlflowClient, variant: Variant, entity: str) -> None:
    client.delete_experiment(client.create_experiment(f"attrgan-{entity}"))
    with pytest.raises(SettingsError, match="was deleted: restore it"):
        register(variant("v1"))
